# SPDX-License-Identifier: MIT
# ROW containers in a row and ATONCE at once leave nothing behind.
# shellcheck shell=bash
# In a mount namespace of its own, so that what others of this host mount meanwhile is not counted.
[ -n "${MANY_INSIDE:-}" ] || MANY_INSIDE=1 exec unshare -m --propagation private bash "$0"
. tests/container/lib.sh
id=$CONTAINER_TEST_ID
b=$tmp/bundle
make_bundle "$b" '.process.args=["/bin/true"] | .linux.seccomp={defaultAction:"SCMP_ACT_ALLOW"}'
# Mount points by identity: a mount that others of the host had when the namespace was made goes when they remove
# its directory, so one that is missing counts only if its place is still there.
mounts() { awk '{ print $1, $5 }' /proc/self/mountinfo | sort; }
changed() {
	local place
	comm -13 "$tmp/mounts" <(mounts)
	comm -23 "$tmp/mounts" <(mounts) | while read -r _ place; do [ ! -e "$(printf %b "$place")" ] || echo "lost $place"; done
}
descriptors() { ls /proc/self/fd | wc -l; }
run_oci run --bundle "$b" "$id" </dev/null
mounts >"$tmp/mounts"
before=$(descriptors)
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
same "$(changed) $(descriptors)" " $before" "the mounts and as many descriptors as before"
