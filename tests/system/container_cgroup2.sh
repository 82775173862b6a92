#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A host with only the version 2 hierarchy, made in a mount namespace: device program, freezing, killing,
# limits that the controllers at hand offer, and a clear error for those they do not.
# TIMEOUT: 60
set -u
# shellcheck disable=SC2154
before=$(cat /sys/fs/cgroup/unified/cgroup.subtree_control /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null)
if [ -z "${CGROUP2_INSIDE:-}" ]; then
	CGROUP2_INSIDE=1 exec unshare -m sh -c 'umount -R /sys/fs/cgroup 2>/dev/null; umount -l /sys/fs/cgroup 2>/dev/null
	mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec bash "$0"' "$0"
fi
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
b=$tmp/bundle
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || skip_all "no version 2 hierarchy"
caps='.process.capabilities.bounding += ["CAP_MKNOD","CAP_SYS_ADMIN"] | .process.capabilities.effective=.process.capabilities.bounding | .process.capabilities.permitted=.process.capabilities.bounding'
node=$(stat -c '%t %T' /dev/net/tun 2>/dev/null || stat -c '%t %T' /dev/fuse 2>/dev/null || stat -c '%t %T' /dev/loop-control 2>/dev/null)
if [ -n "$node" ]; then
	major=$((0x${node% *})) minor=$((0x${node#* }))
	make_bundle "$b" "$caps | .process.args=[\"/bin/sh\",\"-c\",\"echo a >/dev/null && echo null; mknod /dev/k c $major $minor; head -c 0 </dev/k && echo opened\"]"
	same "$(run_oci run --bundle "$b" "$id" 2>/dev/null </dev/null | tr '\n' ' ')" "null " "a device that no rule allows is closed, the standard ones are open"
	jq ".linux.resources.devices += [{allow:true,type:\"c\",major:$major,minor:$minor,access:\"rw\"}]" "$b/config.json" >"$b/n" && mv "$b/n" "$b/config.json"
	same "$(run_oci run --bundle "$b" "$id" 2>/dev/null </dev/null | tr '\n' ' ')" "null opened " "a rule opens it"
else
	echo "ok - device rules # SKIP no device to try"
fi
make_bundle "$b" '.process.args=["/bin/sleep","1000"]'
run_oci create --bundle "$b" --pid-file "$tmp/pid" "$id" </dev/null >/dev/null 2>&1 && run_oci start "$id"; result $? "create and start"
run_oci pause "$id" && same "$(run_oci state "$id" | jq -r .status)" paused "pause"
run_oci resume "$id" && same "$(run_oci state "$id" | jq -r .status)" running "resume"
same "$(run_oci exec "$id" /bin/grep ^0: /proc/self/cgroup)" "0::/" "exec is in the container's group"
run_oci kill --all "$id" KILL; tail --pid="$(cat "$tmp/pid")" -f /dev/null
run_oci delete "$id"; result $? "delete"
for c in memory pids cpu hugetlb; do
	case $c in
	memory) r='{memory:{limit:67108864}}' f=memory.max v=67108864 ;;
	pids) r='{pids:{limit:33}}' f=pids.max v=33 ;;
	cpu) r='{cpu:{quota:50000,period:100000}}' f=cpu.max v='50000 100000' ;;
	hugetlb) r='{hugepageLimits:[{pageSize:"2MB",limit:4194304}]}' f=hugetlb.2MB.max v=4194304 ;;
	esac
	make_bundle "$b" ".process.args=[\"/bin/cat\",\"/sys/fs/cgroup/$f\"] | .linux.resources += $r"
	out=$(run_oci run --bundle "$b" "$id" 2>&1 </dev/null)
	if grep -qw $c /sys/fs/cgroup/cgroup.controllers; then
		same "$out" "$v" "the $c limit holds"
	else
		has "$out" "no $c controller here" "a limit without its controller is an error that says so"
	fi
done
# what the limits switched on for the whole hierarchy is switched off again
for c in $(cat /sys/fs/cgroup/cgroup.subtree_control); do
	grep -qw "$c" <<<"$before" || echo "-$c" >/sys/fs/cgroup/cgroup.subtree_control
done
same "$(leftovers "$id")" "" "nothing is left behind"
