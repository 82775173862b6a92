#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The processor time that --stats tells of is that of all processes of the machine: compared with what the host's scheduler
# counted for them while they were there, at the end of a loop next to which carriers that have ended since count for little.
# TIMEOUT: 120
set -u
. tests/lib/guest.sh

cat >"$tmp/loop.sh" <<'E'
i=0
while [ $i -lt 2000000 ]; do i=$((i + 1)); done
echo "loop done"
sleep 3
E
guest/build.sh overlay "$initrd" "$tmp/loop.img" "root/loop.sh=$tmp/loop.sh"
"$PENUMBRA" run --accel "$ACCEL" --kernel "$vmlinuz" --initrd "$tmp/loop.img" --append "$quiet penumbra.exec=sh,/root/loop.sh" \
	--stats "$tmp/stats" --timeout 90 </dev/null >"$tmp/log" 2>&1 &
machine=$!
until grep -q 'loop done' "$tmp/log" || ! kill -0 $machine 2>/dev/null; do sleep 0.1; done

# Time on a processor, ns, of a process and all below it.
family_time() { # pid
	local sum child
	read -r sum _ <"/proc/$1/schedstat"
	for child in $(ps -o pid= --ppid "$1"); do sum=$((sum + $(family_time "$child"))); done
	echo "$sum"
}
counted=$(family_time $machine)
wait $machine
result $? "the machine ends well" "$(tail -n 3 "$tmp/log")"
figure() { sed -n "s/^ *\"$1\":\([0-9]*\),\?$/\1/p" "$tmp/stats"; }
told=$(($(figure user_ns) + $(figure system_ns)))
result "$([ "$counted" -gt 500000000 ] && [ $told -ge $((counted * 95 / 100)) ] && [ $told -le $((counted * 13 / 10 + 300000000)) ]; echo $?)" \
	"user_ns and system_ns are those of all its processes" "$told ns told, $counted ns counted before the end"
result "$([ "$(figure user_ns)" -ge $((told / 2)) ]; echo $?)" "a loop of the guest's is time in user mode" "$(figure user_ns) of $told ns"
