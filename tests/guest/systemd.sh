#!/bin/sh
# SPDX-License-Identifier: MIT
# Process 1 of a guest that becomes systemd, and the one service that systemd then starts: containers whose cgroups
# are scopes.
PATH=/bin
export PATH
if [ $$ = 1 ]; then
	mkdir -p /proc /new && busybox mount -t proc proc /proc && busybox mount -t tmpfs tmpfs /new || exit 1
	mkdir -p /new/dev /new/proc /new/sys /new/run /new/tmp /new/root
	busybox cp -a /bin /etc /lib /lib64 /usr /t /new/
	busybox umount /proc
	echo 0123456789abcdef0123456789abcdef >/new/etc/machine-id
	cd /new && busybox mount -o move . / && exec busybox chroot . /usr/lib/systemd/systemd
fi
exec >/dev/console 2>&1
mkdir -p /b/rootfs/bin /b/rootfs/proc /b/rootfs/sys /b/rootfs/dev
cp /bin/busybox /b/rootfs/bin/busybox
for a in sh cat sleep echo; do ln -s busybox /b/rootfs/bin/$a; done
oci="penumbra-oci --systemd-cgroup --root /run/oci"
say() { # wanted got name
	if [ "$1" = "$2" ]; then echo "ok $3"; else echo "not ok $3: got \"$2\", wanted \"$1\""; fi
}
cg=/sys/fs/cgroup
cp /t/run.json /b/config.json
say "67108864 33 50000 100000" "$($oci run --bundle /b r 2>&1 </dev/null | tr '\n' ' ' | sed 's/ $//')" run
say "" "$(ls $cg/mine.slice/mine-web.slice 2>/dev/null | grep scope)" gone
cp /t/sleep.json /b/config.json
$oci create --bundle /b s </dev/null || echo "not ok create"
$oci start s
scope=$cg/mine.slice/mine-web.slice/pre-s.scope
say 1 "$(wc -l <$scope/cgroup.procs)" place
say "67108864" "$(cat $scope/memory.max)" limit
systemctl=/usr/bin/systemctl
show() { $systemctl show -p "$1" --value pre-s.scope; }
say "67108864 33 active yes" "$(show MemoryMax) $(show TasksMax) $(show ActiveState) $(show Delegate)" properties
$oci update --memory 50331648 --pids-limit 44 s
say "50331648 44 50331648 44" "$(show MemoryMax) $(show TasksMax) $(cat $scope/memory.max) $(cat $scope/pids.max)" update
$systemctl daemon-reload
say "50331648 44" "$(cat $scope/memory.max) $(cat $scope/pids.max)" reload
$oci pause s; say 1 "$(cat $scope/cgroup.freeze)" pause; $oci resume s
say "/bin/sleep" "$($oci exec s /bin/cat /proc/1/cmdline | tr '\0' '\n' | head -1)" exec
cp /t/sleep.json /b/config.json
case $($oci run --bundle /b t 2>&1 </dev/null) in *"already"*) echo ok twice ;; *) echo "not ok twice" ;; esac
say "1 active" "$(wc -l <$scope/cgroup.procs) $(show ActiveState)" untouched
$oci delete --force s
say "inactive" "$(show ActiveState)" stopped
# killed right after the scope was made: delete still knows it
cp /t/hang.json /b/config.json
$oci create --bundle /b k </dev/null & runtime=$!
while [ ! -s /run/hook ]; do sleep 0.05; done
kill -9 $runtime; wait $runtime
$oci delete --force k; say 0 $? killed
say "no" "$([ -e $cg/system.slice/penumbra-k.scope ] && echo yes || echo no)" cleaned
busybox sync
busybox poweroff -f
