#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Disks of a guest: file systems on raw and qcow2 images, checked from both sides; read-only disks, errors of the
# host, drivers that come and go, and processes that are killed while the guest writes.
# TIMEOUT: 400
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
. tests/lib/devices.sh
command -v qemu-img qemu-io mkfs.ext4 e2fsck >/dev/null || { echo "# SKIP needs qemu-utils and e2fsprogs"; exit 0; }

# ext4 is a module of Debian's kernel; with all that it asks for.
modules=() names=
add_module() {
	local path dep name=${1//-/_}
	path=$(find "$BUILD/guest/cloud/modules" -name "$name.ko*" -o -name "${name//_/-}.ko*" | head -n 1)
	[ -n "$path" ] && [[ " $names " != *" $name "* ]] || return 0
	case $path in
	*.xz) xz -dc "$path" ;;
	*) cat "$path" ;;
	esac >"$tmp/$name.ko"
	for dep in $(tr '\0' '\n' <"$tmp/$name.ko" | sed -n 's/^depends=//p' | tr ',' ' '); do add_module "$dep"; done
	names="$names $name"
	modules+=("m/$name.ko=$tmp/$name.ko")
}
add_module crc32c_generic
add_module ext4

cat >"$tmp/prelude" <<END
pass() { if [ "\$1" = 0 ]; then echo "ok \$2"; else echo "not ok \$2: \$3"; fi; }
for m in $names; do insmod /m/\$m.ko; done
mkdir -p /mnt
END
with() { # name: makes $initrd of the script on standard input
	{ echo '#!/bin/sh'; cat "$tmp/prelude" -; } >"$tmp/script"
	chmod +x "$tmp/script"
	initrd=$tmp/$1.initrd
	guest/build.sh overlay "$BUILD/guest/initrd" "$initrd" "script=$tmp/script" "${modules[@]}"
}

# ---- a file system, on each kind of image ----
with fs <<'END'
mount -t ext4 /dev/vda /mnt; pass $? mount
[ "$(cat /mnt/hello)" = host ]; pass $? read
mkdir /mnt/d
n=0
while [ $n -lt 40 ]; do
	dd if=/dev/urandom of=/mnt/d/$n bs=$((n * 777 + 1)) count=17 2>/dev/null
	n=$((n + 1))
done
dd if=/dev/zero of=/mnt/d/big bs=1M count=24 2>/dev/null
rm /mnt/d/3 /mnt/d/5
cp -r /mnt/d /mnt/e
(cd /mnt && find d e -type f -exec sha256sum {} +) >/tmp/sums
cp /tmp/sums /mnt/sums
umount /mnt && echo 3 >/proc/sys/vm/drop_caches
mount -t ext4 -o discard /dev/vda /mnt
(cd /mnt && sha256sum -c sums >/tmp/check 2>&1); pass $? checksums "$(grep -v OK /tmp/check | head -n 3)"
# A device that goes away and comes back.
umount /mnt
for i in 1 2 3 4 5; do
	echo virtio0 >/sys/bus/virtio/drivers/virtio_blk/unbind
	echo virtio0 >/sys/bus/virtio/drivers/virtio_blk/bind
done
mount -t ext4 /dev/vda /mnt && (cd /mnt && sha256sum -c sums >/tmp/check 2>&1); pass $? rebound "$(grep -v OK /tmp/check | head -n 3)"
rm -rf /mnt/d/big /mnt/e
fstrim /mnt; pass $? trim
[ "$(cat /sys/block/vda/serial)" = number-7 ]; pass $? serial "$(cat /sys/block/vda/serial)"
dd if=/dev/vda of=/dev/null bs=64k skip=40 count=1000 iflag=direct 2>/dev/null; pass $? direct
umount /mnt; pass $? unmount
END

mkdir "$tmp/root"
echo host >"$tmp/root/hello"
base() { # file
	truncate -s 96M "$1"
	mkfs.ext4 -q -F -d "$tmp/root" "$1"
}
base "$tmp/raw"
base "$tmp/lower"
cp "$tmp/lower" "$tmp/lower.before"
qemu-img convert -O qcow2 "$tmp/lower" "$tmp/plain"
qemu-img convert -c -O qcow2 "$tmp/lower" "$tmp/packed"
qemu-img create -q -f qcow2 -b "$tmp/lower" -F raw "$tmp/over"
for kind in raw plain packed over; do
	cpus=1
	[ $kind != over ] || cpus=2
	guest_run "$kind" "$quiet penumbra.run=/script" --disk "$tmp/$kind,serial=number-7,queues=2" --cpus $cpus --timeout 90
	guest_clean "a guest on $kind"
	guest_results "$kind:" mount read checksums rebound trim serial direct unmount
	format=qcow2
	[ $kind != raw ] || format=raw
	[ $kind = raw ] || qemu-img check -q -f qcow2 "$tmp/$kind" >"$tmp/check" 2>&1
	result $? "$kind: qemu-img check finds it sound" "$(head -n 3 "$tmp/check")"
	qemu-img convert -f $format -O raw "$tmp/$kind" "$tmp/out" && e2fsck -fn "$tmp/out" >"$tmp/check" 2>&1
	result $? "$kind: its file system is sound" "$(tail -n 3 "$tmp/check")"
done
cmp -s "$tmp/lower" "$tmp/lower.before"
result $? "a backing file is not written"

# ---- code that a disk writes over code that has run ----
gcc -D_GNU_SOURCE -static -O1 -o "$tmp/dmacode" tests/guest/dmacode.c
result $? "the program is built" "gcc failed"
modules+=("dmacode=$tmp/dmacode")
with code <<'END'
/dmacode /dev/vda 50
END
truncate -s 4M "$tmp/code"
for cpus in 1 2; do
	guest_run code "$quiet penumbra.run=/script" --disk "$tmp/code" --cpus $cpus --timeout 60
	guest_clean "a guest that runs code from a disk, $cpus processors"
	guest_results "$cpus:" fresh
done

# ---- what cannot be written ----
with refuse <<'END'
dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync 2>/dev/null
[ $? != 0 ] && [ "$(cat /sys/block/vda/ro)" = 1 ]; pass $? readonly
dd if=/dev/vda of=/dev/null bs=1M count=8 2>/dev/null; pass $? readable
# More than the host has room for: an error, and then it goes on.
dd if=/dev/zero of=/dev/vdb bs=1M count=30 oflag=direct 2>/tmp/full
[ $? != 0 ]; pass $? full "$(cat /tmp/full)"
dd if=/dev/zero of=/dev/vdb bs=64k count=4 oflag=direct 2>/dev/null; pass $? goes-on
END
mkdir "$tmp/small"
if mount -t tmpfs -o size=9m none "$tmp/small" 2>/dev/null; then
	qemu-img create -q -f qcow2 "$tmp/small/disk" 64M
	guest_run refuse "$quiet loglevel=1 penumbra.run=/script" --disk "$tmp/raw,readonly" --disk "$tmp/small/disk" --timeout 60
	guest_results "" readonly readable full goes-on
	[ "$guest_status" = 0 ]
	result $? "the machine outlives a full host" "status $guest_status: $(guest_tail)"
	qemu-img check -q -f qcow2 "$tmp/small/disk" >"$tmp/check" 2>&1
	case $? in 0 | 3) true ;; *) false ;; esac # 3: leaks, since there was no room for a table either
	result $? "the image on a full host is sound" "$(head -n 3 "$tmp/check")"
	umount "$tmp/small"
else
	echo "ok - a full host # SKIP no tmpfs can be mounted"
fi

# ---- killed at any moment: what was flushed is there ----
with kill <<'END'
n=0
while [ $n -lt 400 ]; do
	printf 'record %04d' $n | dd of=/dev/vda bs=20k seek=$n conv=sync,fsync,notrunc 2>/dev/null || break
	echo "synced $n"
	n=$((n + 1))
done
sleep 60
END
# Whom to kill: the front-end, the disk's process, the zygote of the monitor.  A helper that was forked has the front-end's name
# and arguments too until it takes others; the zygote is the front-end's own child.
victim() { # name: process number
	local pid zygote
	for pid in $(pgrep -f -- "--disk $tmp/killed "); do
		case $1:$(cat "/proc/$pid/comm" 2>/dev/null) in
		front:penumbra | monitor:penumbra)
			zygote=$(pgrep -P "$pid" -x penumbra-guest) || continue
			[ "$1" = front ] && echo "$pid" || echo "$zygote"
			return
			;;
		disk:penumbra-blk | keeper:keeper-blk) echo "$pid" && return ;;
		esac
	done
}
for who in front disk monitor; do
	for after in 3 17 60; do
		qemu-img create -q -f qcow2 -o cluster_size=4096 "$tmp/killed" 64M
		log=$tmp/kill.log
		: >"$log"
		"$PENUMBRA" run --accel "$ACCEL" --kernel "$vmlinuz" --initrd "$initrd" --append "$quiet loglevel=1 penumbra.run=/script" \
			--disk "$tmp/killed" --timeout 60 </dev/null >"$log" 2>&1 &
		front=$!
		n=0
		until grep -aq "synced $after" "$log" || [ $((n += 1)) = 600 ]; do sleep 0.05; done
		pid=$(victim $who)
		[[ $pid =~ ^[0-9]+$ ]] && [ "$pid" -gt 1 ] && kill -KILL "$pid" 2>"$tmp/err"
		result $? "there is a $who process to kill" "'$pid' $(cat "$tmp/err" 2>/dev/null); $(tail -n 2 "$log")"
		# The machine outlives its disk's process, and ends with a line without its keeper; else it is over.
		if [ $who = disk ]; then
			device_await "$log" "synced $((after + 3))"
			result $? "the machine outlives its disk" "$(tail -n 1 "$log")"
			pid=$(victim keeper)
			[[ $pid =~ ^[0-9]+$ ]] && [ "$pid" -gt 1 ] && kill -KILL "$pid"
		fi
		wait $front 2>/dev/null
		status=$?
		if [ $who = disk ]; then
			[ $status = 1 ] && grep -aq 'process of the device "blk" was ended' "$log"
			result $? "the machine ends with a line where its disk cannot go on" "status $status: $(tail -n 1 "$log")"
		fi
		# The disk's process closes the image when its machine is gone, and the image is free again.
		n=0
		until qemu-io -f qcow2 -r -c 'read 0 512' "$tmp/killed" >/dev/null 2>&1 || [ $((n += 1)) = 100 ]; do sleep 0.05; done
		last=$(grep -ao 'synced [0-9]*' "$log" | tail -n 1 | cut -d ' ' -f 2)
		qemu-img convert -f qcow2 -O raw "$tmp/killed" "$tmp/out"
		lost=
		for ((i = 0; i <= last; i++)); do
			[ "$(dd if="$tmp/out" bs=1 skip=$((i * 20480)) count=11 2>/dev/null)" = "$(printf 'record %04d' "$i")" ] || lost="$lost $i"
		done
		[ -n "$last" ] && [ -z "$lost" ]
		result $? "nothing flushed is lost when the $who process is killed after $after" "of ${last:-none} lost:$lost; $(tail -n 3 "$log")"
		qemu-img check -f qcow2 "$tmp/killed" >"$tmp/check" 2>&1
		case $? in 0 | 3) true ;; *) false ;; esac
		result $? "the image has leaks at most ($who, $after)" "$(head -n 3 "$tmp/check")"
	done
done
