#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Several processors without an operating system, under each accelerator: start-up from real mode, locks, interrupts
# between processors, topology, and the end of a machine in which all have halted.
set -u
. tests/lib/guest.sh

guest_kernel tests/guest/processors/start.S tests/guest/processors/kernel.c

run() { # accelerator processors suffix
	printf '%s' "$2$3" >"$tmp/module"
	"$PENUMBRA" run --accel "$1" --cpus "$2" --kernel "$tmp/kernel" --boot pvh --initrd "$tmp/module" --debug-exit --timeout 60 --memory 128M \
		</dev/null >"$tmp/out" 2>"$tmp/err"
	status=$?
}

accelerators=translate
"$PENUMBRA" host --json | grep -q '"kvm_state":"\(real\|emulated\)"' && accelerators+=" kvm"
for accel in $accelerators; do
	for n in 1 2 4; do
		run $accel $n ""
		tr -d '\r' <"$tmp/out" | grep -aE '^(not )?ok ' | sed "s/^\(not ok\|ok\) /\1 - $accel, $n: /"
		result "$([ $status = 43 ] && [ "$(grep -ac '^ok' "$tmp/out")" = 9 ]; echo $?)" "$accel, $n: all is done" "status $status, $(tail -n 2 "$tmp/out" "$tmp/err")"
	done
	run $accel 2 h
	result "$([ $status = 3 ] && grep -q 'halted with interrupts off' "$tmp/err"; echo $?)" "$accel: all processors halted is the end" "status $status, $(cat "$tmp/err")"
done
# Asked to end, each vCPU stops where its state is whole, also with interrupts off: the post-mortem shows registers that nobody has
# stored since the loops began.
for n in 1 3; do
	printf '%s' ${n}s >"$tmp/module"
	PENUMBRA_DEBUG=1 "$PENUMBRA" run --accel translate --cpus $n --kernel "$tmp/kernel" --boot pvh --initrd "$tmp/module" --timeout 3 \
		--memory 128M </dev/null >"$tmp/out" 2>"$tmp/err"
	whole=$(awk '/^vCPU /{ n = $2 } $1 == "r0" && $8 == "00000000005eed0" n { id = 1 } $1 == "r12" { if (id && $2 "" > "0000000000100000") print n; id = 0 }' \
		"$tmp/err" | wc -l)
	result "$([ "$whole" = $n ]; echo $?)" "translate, $n: asked to end, each is at rest with its registers stored" \
		"$whole of $n, $(grep -aE '^vCPU|^r0|^r12' "$tmp/err")"
done
[[ $accelerators == *kvm ]] || echo "ok - kvm # SKIP no /dev/kvm here"
exit 0
