# SPDX-License-Identifier: MIT
# ROW containers in a row and ATONCE at once leave nothing behind.
# shellcheck shell=bash
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
b=$tmp/bundle
make_bundle "$b" '.process.args=["/bin/true"] | .linux.seccomp={defaultAction:"SCMP_ACT_ALLOW"}'
count() { echo "$(find /sys/fs/cgroup -type d | wc -l) $(wc -l </proc/self/mountinfo) $(ls /proc/self/fd | wc -l) $(lsns -n 2>/dev/null | wc -l)"; }
run_oci run --bundle "$b" "$id" </dev/null
before=$(count)
bad=0
for ((i = 0; i < ROW; i++)); do run_oci run --bundle "$b" "$id" </dev/null || bad=$((bad + 1)); done
same "$bad" 0 "$ROW containers in a row"
for ((i = 0; i < ATONCE; i++)); do run_oci run --bundle "$b" "$id-$i" </dev/null & done
bad=0
for p in $(jobs -p); do wait "$p" || bad=$((bad + 1)); done
same "$bad" 0 "$ATONCE containers at once"
for ((i = 0; i < ATONCE / 4; i++)); do
	run_oci hardened-run --name "$id-$i" --events /dev/null "$b/rootfs" /bin/true </dev/null &
done
bad=0
for p in $(jobs -p); do wait "$p" || bad=$((bad + 1)); done
same "$bad" 0 "$((ATONCE / 4)) hardened ones at once"
same "$(leftovers "$id")" "" "no cgroup, mount or state is left"
same "$(pgrep -f -- "--root $state" | wc -l)" 0 "no process is left"
read -r c m f n <<<"$(count)"; read -r c0 m0 f0 n0 <<<"$before"
[ "$c" -le "$c0" ] && [ "$m" -le "$m0" ] && [ "$f" -le "$f0" ]
result $? "as many cgroups, mounts and descriptors as before" "$c $m $f $n, before $c0 $m0 $f0 $n0"
