#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A host that lets a machine stand still: the guest's watchdogs are told, and do not take it for a lockup of its own.
# TIMEOUT: 120
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/guest.sh
. tests/lib/devices.sh

cat >"$tmp/starved.sh" <<'END'
#!/bin/sh
echo 2 >/proc/sys/kernel/watchdog_thresh # a lockup after 4 s
(while :; do :; done) &
(while :; do :; done) &
# Grace periods of RCU, for which each processor has to say something.
(while :; do cat /proc/self/stat >/dev/null; done) &
echo "busy now"
read -r line
sleep 3
echo "after the pause"
END
guest/build.sh overlay "$initrd" "$tmp/initrd" starved.sh="$tmp/starved.sh"
initrd=$tmp/initrd
# The processes that have run most, one for each processor that is to stand still.
busiest() { # count pid...
	local n=$1 pid
	shift
	for pid; do echo "$(awk '{ print $14 + $15 }' "/proc/$pid/stat" 2>/dev/null) $pid"; done | sort -rn | head -n "$n" | cut -d' ' -f2
}
# Of one, of two, and one of two, of which the other looks on.
for case in "1 all" "2 all" "2 one"; do
	read -r cpus which <<<"$case"
	terminal_start "$quiet rcupdate.rcu_cpu_stall_timeout=4 penumbra.run=/starved.sh" --cpus $cpus --timeout 60 --stats "$tmp/stats"
	terminal_await "busy now"
	# The processes of the guest, and nobody else's.
	family=()
	for pid in $(pgrep -f -- "--initrd $initrd "); do
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = penumbra ] || continue
		for zygote in $(pgrep -P "$pid" -x penumbra-guest); do mapfile -t family < <(echo "$zygote"; pgrep -P "$zygote"); done
	done
	sleep 2
	[ "$which" = all ] || mapfile -t family < <(busiest 1 "${family[@]}")
	[ ${#family[@]} -gt 0 ] && kill -STOP "${family[@]}"
	result $? "the machine stands still, $cpus processors, $which" "${family[*]}"
	sleep 9 # longer than the guest's watchdogs wait
	kill -CONT "${family[@]}" 2>/dev/null
	terminal_type '\n'
	terminal_await "after the pause"
	result $? "it goes on, $cpus processors, $which" "${seen: -300}"
	terminal_finish
	guest_clean "no lockup and no stall is reported, $cpus processors, $which"
	starved=$(sed -n 's/.*"starved": *\([0-9]*\).*/\1/p' "$tmp/stats")
	[ "${starved:-0}" -gt 0 ]
	result $? "the guest was told, $cpus processors, $which" "$starved times"
done
