#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What remains reachable after root inside: the probes of tests/container/probe.c in a hardened container,
# in ordinary ones of penumbra-oci, crun and runc (the same config.json), as a table in Markdown.
# Run as root at the top of the tree after `make`.  Nothing of it stays on the host.
set -eu
TEST_TMP=$(mktemp -d /tmp/container-damage.XXXXXX) PENUMBRA=$PWD/penumbra
export TEST_TMP PENUMBRA
chmod 755 "$TEST_TMP"
. tests/container/lib.sh
gcc -O1 -static -o "$tmp/probe" tests/container/probe.c
if [ -z "${DAMAGE_INSIDE:-}" ]; then # crun refuses hybrid hosts whose version 2 hierarchy has controllers
	DAMAGE_INSIDE=1 exec unshare -m sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0"' "$0"
fi
socat ABSTRACT-LISTEN:damage-host,fork /dev/null & listener=$!
sleep 1000 & victim=$!
gcc -O1 -o "$tmp/peer-program" tests/container/peer.c
coproc peer { exec "$tmp/peer-program" damage; }
read -r port key <&"${peer[0]}"
trap 'kill $listener $victim; rm -rf "$tmp"' EXIT
b=$tmp/b
make_bundle "$b" .
cp "$tmp/probe" "$b/rootfs/bin/probe"
disk=$(findmnt -no MAJ:MIN / | tr -d ' ')
ordinary() { # args as JSON
	make_bundle "$b" ".ociVersion=\"1.0.0\" | .process.args=$1 | .linux.seccomp=$(engine_seccomp)
	| .process.env=[\"PROBE_DISK=$disk\",\"PROBE_ABSTRACT=damage-host\",\"PROBE_PID=$victim\",\"PROBE_PORT=$port\",\"PROBE_SHM=$key\",\"PROBE_QUEUE=damage\"]
	| .linux.resources={devices:[{allow:false,access:\"rwm\"}]}"
}
run_one() { # runtime args...
	local r=$1; shift
	case $r in
	hardened) run_oci hardened-run --events /dev/null --env "PROBE_DISK=$disk" --env PROBE_ABSTRACT=damage-host \
		--env "PROBE_PID=$victim" --env "PROBE_PORT=$port" --env "PROBE_SHM=$key" --env PROBE_QUEUE=damage "$b/rootfs" /bin/probe "$@" ;;
	*) ordinary "[\"/bin/probe\"$([ $# = 0 ] || printf ',"%s"' "$@")]"
		"$r" --root "$tmp/st-$(basename "$r")" run --bundle "$b" damage ;;
	esac </dev/null 2>/dev/null
}
runtimes=(hardened "$oci" crun runc)
for r in "${runtimes[@]}"; do run_one "$r" >"$tmp/$(basename "$r").out" || true; done
echo "| tried by root inside | penumbra hardened | penumbra-oci | crun | runc |"
echo "|---|---|---|---|---|"
while read -r name _; do
	printf '| %s |' "$name"
	for r in "${runtimes[@]}"; do printf ' %s |' "$(awk -v n="$name" '$1 == n { print $2 }' "$tmp/$(basename "$r").out")"; done
	echo
done <"$tmp/hardened.out"
printf '| system calls that answer |'
for r in "${runtimes[@]}"; do printf ' %s |' "$(run_one "$r" --calls | awk '{print $2}')"; done
echo
printf '| files readable below /proc and /sys |'
for r in "${runtimes[@]}"; do
	case $r in
	hardened) n=$(run_oci hardened-run --events /dev/null "$b/rootfs" /bin/busybox sh -c 'busybox find /proc/[a-z]* /sys -type f -perm -4 2>/dev/null | busybox grep -v "/proc/self\|/proc/thread" | busybox wc -l' </dev/null 2>/dev/null) ;;
	*) ordinary '["/bin/busybox","sh","-c","busybox find /proc/[a-z]* /sys -type f -perm -4 2>/dev/null | busybox grep -v \"/proc/self\\|/proc/thread\" | busybox wc -l"]'
		n=$("$r" --root "$tmp/st-$(basename "$r")" run --bundle "$b" damage </dev/null 2>/dev/null) ;;
	esac
	printf ' %s |' "$n"
done
echo
# A peer's lateness, in five rounds: idle, then beside a flood in each, all on processor 0.  A round's figures are
# divided by its own idle one, so that what else the machine does meets both; the medians are shown.
make_root "$tmp/peer" && cp "$tmp/probe" "$tmp/peer/bin/probe"
late() { run_oci hardened-run --events /dev/null "$tmp/peer" /bin/probe --latency </dev/null 2>/dev/null | awk '{ print $2 }'; }
for round in 1 2 3 4 5; do
	idle=$(late)
	echo "idle $idle 1" >>"$tmp/late"
	for r in "${runtimes[@]}"; do
		mkfifo "$tmp/fifo"
		run_one "$r" --spin 40 >"$tmp/fifo" & flood=$!
		exec 8<"$tmp/fifo"
		read -r _ <&8
		us=$(late)
		echo "$r $us $(awk -v a="$us" -v b="$idle" 'BEGIN { print a / b }')" >>"$tmp/late"
		exec 8<&-
		wait $flood || true
		rm "$tmp/fifo"
	done
done
median() { awk -v r="$1" -v f="$2" '$1 == r { print $f }' "$tmp/late" | sort -g | sed -n 3p; }
printf '| peer sleep lateness p99 while 40 processes compute, times that when idle (%s us) |' "$(median idle 2)"
for r in "${runtimes[@]}"; do printf ' %.2f (%s us) |' "$(median "$r" 3)" "$(median "$r" 2)"; done
echo
