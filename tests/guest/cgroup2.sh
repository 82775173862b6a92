#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs in the guest, whose kernel has every controller of version 2 to itself: limits of each kind, written by the
# runtime and read inside the container; freezing, killing, devices, updates, statistics; the hardened run with Landlock.
# /t holds a configuration NAME.json for each case, made on the host.
PATH=/bin
export PATH
# the initial file system cannot be pivoted away from: go on in a tmpfs on top of it
if [ ! -e /moved ]; then
	mkdir /new && mount -t tmpfs tmpfs /new && mkdir /new/root /new/run /new/tmp || exit 1
	cp -a /bin /etc /lib /t /new/ && : >/new/moved
	for d in dev proc sys; do mkdir /new/$d && mount -o move /$d /new/$d || exit 1; done
	cd /new && mount -o move . / && exec chroot . /bin/cgroup2
fi
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
modprobe -q loop
mkdir -p /b/rootfs/bin /b/rootfs/proc /b/rootfs/sys /b/rootfs/dev /b/rootfs/tmp /b/rootfs/run /b/rootfs/etc
cp /bin/busybox /b/rootfs/bin/busybox
for a in sh cat sleep echo grep mknod head true dd id touch; do ln -s busybox /b/rootfs/bin/$a; done
oci="penumbra-oci --root /run/oci"
say() { # wanted got name
	if [ "$1" = "$2" ]; then echo "ok $3"; else echo "not ok $3: got \"$2\", wanted \"$1\""; fi
}
run() { cp "/t/$1.json" /b/config.json && $oci run --bundle /b "$1" 2>&1 </dev/null; }

say "67108864 33554432 16777216" "$(run memory | tr '\n' ' ' | sed 's/ $//')" memory
say "33" "$(run pids)" pids
say "50000 100000 1732 1000" "$(run cpu | tr '\n' ' ' | sed 's/ $//')" cpu
say "0 0" "$(run cpuset | tr '\n' ' ' | sed 's/ $//')" cpuset
say "7:0 rbps=1048576 wbps=2097152 riops=100 wiops=200" "$(run io)" io
say "4194304" "$(run hugetlb)" hugetlb
say "5 1000000" "$(run unified | tr '\n' ' ' | sed 's/ $//')" unified
case $(run rdma) in *"linux.resources.rdma: write"*nodev0*) echo ok rdma ;; *) echo "not ok rdma: $(run rdma)" ;; esac
say "null refused" "$(run device-closed | tr '\n' ' ' | sed 's/ $//')" device-closed
say "null opened" "$(run device-open | tr '\n' ' ' | sed 's/ $//')" device-open
say "0::/" "$(run path)" namespace

# the limit holds: more processes than allowed, more memory than allowed
case $(run fork) in *"can't fork"*) echo ok pids-hold ;; *) echo "not ok pids-hold: $(run fork)" ;; esac
dmesg -n 1 # the kernel describes who was killed
run oom >/dev/null; say 137 $? memory-holds

cp /t/sleep.json /b/config.json
$oci create --bundle /b --pid-file /run/pid s </dev/null >/dev/null 2>&1 && $oci start s
say running "$($oci state s | sed -n 's/.*"status": "\(.*\)",/\1/p')" start
$oci pause s
say "1 paused" "$(cat /sys/fs/cgroup/s/cgroup.freeze) $($oci state s | sed -n 's/.*"status": "\(.*\)",/\1/p')" pause
$oci resume s
say "0 running" "$(cat /sys/fs/cgroup/s/cgroup.freeze) $($oci state s | sed -n 's/.*"status": "\(.*\)",/\1/p')" resume
$oci update --memory 50331648 --pids-limit 20 --cpu-quota 20000 --cpu-period 50000 s
say "50331648 20 20000 50000" "$(cat /sys/fs/cgroup/s/memory.max /sys/fs/cgroup/s/pids.max /sys/fs/cgroup/s/cpu.max | tr '\n' ' ' | sed 's/ $//')" update
case $($oci events --stats s) in *'"pids"'*'"limit":20'*) echo ok stats ;; *) echo "not ok stats: $($oci events --stats s)" ;; esac
say 0 "$($oci exec s /bin/grep -c s /proc/self/cgroup)" exec
$oci exec -d s /bin/sleep 1000
say 2 "$(wc -l </sys/fs/cgroup/s/cgroup.procs)" members
$oci pause s
$oci delete --force s
say "no" "$([ -e /sys/fs/cgroup/s ] && echo yes || echo no)" "delete-frozen"

# a tmpfs takes no id-mapped mounts before Linux 6.3
say "landlock-root" "$($oci hardened-run --no-user-namespace --name h /b/rootfs /bin/sh -c 'touch /etc/x 2>/dev/null || echo landlock-root' 2>/dev/null)" hardened
case $($oci explain) in *"version "*" of Landlock"*) echo ok landlock ;; *) echo "not ok landlock: none here" ;; esac
say "" "$(ls /run/oci; ls -d /sys/fs/cgroup/*/ | grep -v init)" nothing-left
