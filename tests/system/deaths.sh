#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Workers of two disks, a network card, a shared directory and a source of random numbers are killed again and again while a
# guest with two processors uses them all: every request is answered, no byte is lost.  DEATHS_KILLS sets how often.
# TIMEOUT: 300
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
. tests/lib/devices.sh
command -v qemu-img >/dev/null || { echo "# SKIP needs qemu-utils"; exit 0; }
kills=${DEATHS_KILLS:-80} classes=(blk net fs rng blk)

device_script "$tmp/work.sh" <<'END'
mkdir -p /mnt && mount -t virtiofs data /mnt || echo "not ok mount"
ip link set eth0 up && ip addr add 10.0.2.15/24 dev eth0
(while [ ! -e /tmp/end ]; do dd if=/dev/hwrng of=/tmp/random bs=256 count=4 2>/dev/null; done) &
(while [ ! -e /tmp/end ]; do ping -c 1 -W 1 10.0.2.2 >/dev/null 2>&1 && echo >>/tmp/pings; done) &
(while [ ! -e /tmp/end ]; do dd if=/dev/vda of=/dev/null bs=1M count=16 2>/dev/null || echo >>/tmp/errors; done) &
# A request that was under way may be answered with an error: then it is done again.
put() { local i=0; until cp "$1" "$2" 2>/dev/null && cmp -s "$1" "$2"; do i=$((i + 1)); [ $i -lt 100 ] || return 1; usleep 50000; done; }
echo "work begins"
n=0 bad=
while [ ! -e /mnt/enough ]; do
	slot=$((n % 40))
	dd if=/dev/urandom of=/tmp/x bs=4k count=$((1 + n * 7 % 300)) 2>/dev/null
	for d in vda vdb; do
		dd if=/tmp/x of=/dev/$d bs=4k seek=$((slot * 300)) conv=notrunc 2>/dev/null || bad="$bad write-$d-$n"
		[ $((n % 4)) != 0 ] || dd if=/dev/null of=/dev/$d conv=notrunc,fsync 2>/dev/null || bad="$bad flush-$d-$n"
	done
	[ $((n % 9)) != 5 ] || blkdiscard -o $((slot * 300 * 4096)) -l 40960 /dev/vdb 2>/dev/null || :
	[ $((n % 9)) != 5 ] || dd if=/tmp/x of=/dev/vdb bs=4k seek=$((slot * 300)) count=10 conv=notrunc 2>/dev/null || bad="$bad again-$n"
	[ $((n % 8)) != 0 ] || echo 3 >/proc/sys/vm/drop_caches
	echo "$((1 + n * 7 % 300)) $(sha1sum </tmp/x)" >/tmp/sum.$slot
	put /tmp/x /mnt/file.$slot || bad="$bad share-$n"
	n=$((n + 1))
done
echo "work done"
: >/tmp/end
wait
sync
echo 3 >/proc/sys/vm/drop_caches
for file in /tmp/sum.*; do
	slot=${file##*.}
	read -r pages sum <$file
	for d in vda vdb; do
		[ "$(dd if=/dev/$d bs=4k skip=$((slot * 300)) count=$pages 2>/dev/null | sha1sum)" = "$sum" ] || bad="$bad disk-$d-$slot"
	done
	[ "$(sha1sum </mnt/file.$slot)" = "$sum" ] || bad="$bad file-$slot"
done
echo "rounds $n"
[ -z "$bad" ]; pass $? data "$bad"
[ ! -e /tmp/errors ]; pass $? reads "$(wc -l </tmp/errors) errors"
[ -s /tmp/random ]; pass $? random
ping -c 3 -i 0.2 -W 5 10.0.2.2 >/dev/null; pass $? network
echo "pings $(wc -l </tmp/pings)"
END
mkdir "$tmp/shared"
truncate -s 64M "$tmp/disk"
qemu-img create -q -f qcow2 -o cluster_size=4096 "$tmp/disk.qcow2" 64M || exit 1
device_guest test.sh="$tmp/work.sh"
: >"$tmp/deaths.log"
seed=${DEATHS_SEED:-$RANDOM} RANDOM=${DEATHS_SEED:-$RANDOM}
guest_run deaths "$quiet penumbra.run=/test.sh" --timeout $((100 + kills * 2)) --cpus 2 --memory 512M --disk "$tmp/disk,queues=2" --disk "$tmp/disk.qcow2" \
	--net user --share "tag=data,path=$tmp/shared" --rng on &
machine=$!
device_await "$tmp/deaths.log" 'work begins'
done=0
while [ $done -lt "$kills" ] && kill -0 $machine 2>/dev/null; do
	sleep "0.0$((RANDOM % 100 + 10))"
	device_kill "${classes[RANDOM % 5]}" && done=$((done + 1))
done
: >"$tmp/shared/enough"
wait $machine
guest_log=$tmp/deaths.log
tr -d '\r' <"$guest_log" >"$guest_log.text" && mv "$guest_log.text" "$guest_log"
echo "# $done workers killed, seed $seed, $(grep -aE '^(pings|rounds)' "$guest_log" | tr '\n\r' '  ')"
[ $done = "$kills" ]
result $? "workers were killed" "$done: $(tail -n 5 "$guest_log")"
guest_results "after many deaths:" data reads random network
found=$(grep -aE -m 3 "$guest_trouble" "$guest_log")
result "$([ -z "$found" ]; echo $?)" "the guest saw no trouble" "$found"
qemu-img check -q -f qcow2 "$tmp/disk.qcow2" >"$tmp/check" 2>&1
result $? "QEMU finds the qcow2 image sound" "$(head -n 3 "$tmp/check")"
