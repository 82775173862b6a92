# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The guest that compares address translation with a model: starting it, judging what it prints.
# Sourced from the top of the tree; needs $PENUMBRA and $BUILD.
tlb_guest=$BUILD/tests/tlb/guest
tmp=${TEST_TMP:-$(mktemp -d)}
tlb_random() { echo "0x$(od -An -N6 -tx8 /dev/urandom | tr -d ' 0' | head -c 12)"; }

# One result.  name, "options of the guest", options of `penumbra run`...
tlb_run() {
	local name=$1 append=$2 status
	shift 2
	"$PENUMBRA" run --boot pvh --kernel "$tlb_guest" --memory 1G --debug-exit --timeout "${TLB_TIMEOUT:-100}" --append "$append" "$@" \
		</dev/null >"$tmp/tlb.log" 2>&1
	status=$?
	tlb_judge "$name" $status "penumbra run $* --append '$append'"
}

# The same for TCG, whose flaws are overlooked.
tlb_run_tcg() { # name "options"
	local status
	timeout "${TLB_TIMEOUT:-100}" qemu-system-x86_64 -accel tcg -cpu max -m 1G -display none -no-reboot -serial stdio -monitor none \
		-device isa-debug-exit,iobase=0xf4 -kernel "$tlb_guest" -append "$2 lenient=1" </dev/null >"$tmp/tlb.log" 2>&1
	status=$?
	tlb_judge "$1" $status "qemu --append '$2 lenient=1'"
}

tlb_judge() { # name status how
	if [ "$2" = 1 ] && grep -q '^TLB ok' "$tmp/tlb.log"; then
		echo "ok - $1: $(tr -d '\r' <"$tmp/tlb.log" | grep '^TLB ok' | cut -d ' ' -f 3-)"
	else
		echo "not ok - $1: status $2, $3: $(tail -n 12 "$tmp/tlb.log" | tr -d '\r' | tr '\n' '|')"
	fi
}
