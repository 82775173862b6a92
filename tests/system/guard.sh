#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# CR0.TS, EM and MP: a kernel without an operating system under each accelerator, judged by the manual's tables and by
# what QEMU and /dev/kvm do.
# TIMEOUT: 200
set -u
. tests/lib/guest.sh

guest_kernel tests/guest/processors/start.S tests/guest/guard/kernel.c
: >"$tmp/module"

run() { # name accelerator options...
	local name=$1 accel=$2
	shift 2
	"$PENUMBRA" run --accel "$accel" --kernel "$tmp/kernel" --boot pvh --initrd "$tmp/module" --debug-exit --timeout 60 --memory 128M "$@" \
		</dev/null >"$tmp/$name" 2>"$tmp/err"
	status=$?
	tr -d '\r' <"$tmp/$name" >"$tmp/text" && mv "$tmp/text" "$tmp/$name"
	grep -aE '^(not )?ok ' "$tmp/$name" | sed "s/^\(not ok\|ok\) /\1 - $name: /"
	grep -a ' wants ' "$tmp/$name"
	result "$([ $status = 43 ]; echo $?)" "$name: the kernel comes to its end" "status $status, $(tail -n 2 "$tmp/$name" "$tmp/err")"
}

run translate translate
run "translate, several processors" translate --cpus 2
PENUMBRA_TEST_KNOBS=insns=1 run "translate, blocks of one instruction" translate
PENUMBRA_TEST_KNOBS=hot=0x8000,cold=0x8000,kill=3 run "translate, a small cache" translate

# Figures without those for EM and TS together, where QEMU puts #NM before #UD.
figures() { # log
	tr -d '\r' <"$1" | grep -a '^#' | sed 's/ \[[^]]* wants [^]]*\]//g' |
		awk -F ': ' '{ n = split($2, v, " "); out = $1; for (i = 0; i < n; i++) if (i % 8 != 3 && i % 8 != 6) out = out " " v[i + 1]; print out }' | sort
}

# What QEMU prints, which knows no AVX-512, lets EMMS, XSAVE and XRSTOR pass, and EM stop AVX.  A kvm that emulates heeds TS in no program, and knows few of these instructions.
if command -v qemu-system-x86_64 >/dev/null; then
	timeout 60 qemu-system-x86_64 -accel tcg -cpu max -m 128 -nic none -display none -serial stdio -no-reboot -kernel "$tmp/kernel" \
		-initrd "$tmp/module" -device isa-debug-exit,iobase=0xf4,iosize=1 </dev/null >"$tmp/qemu.log" 2>"$tmp/err"
	figures "$tmp/qemu.log" | grep -Ev '^# (emms|v|xsave|xrstor)' >"$tmp/qemu"
	unlike=$(figures "$tmp/translate" | comm -13 - "$tmp/qemu")
	result "$([ -z "$unlike" ] && [ "$(wc -l <"$tmp/qemu")" -ge 33 ]; echo $?)" "QEMU prints the same" "$(wc -l <"$tmp/qemu") lines; $unlike"
else
	echo "ok - QEMU prints the same # SKIP qemu-system-x86_64 is not installed"
fi
if "$PENUMBRA" host --json | grep -q '"kvm_state":"real"'; then
	run kvm kvm
	cmp -s "$tmp/translate" "$tmp/kvm"
	result $? "kvm prints the same" "$(diff "$tmp/translate" "$tmp/kvm" | head -n 5)"
else
	echo "ok - kvm prints the same # SKIP no /dev/kvm with processor virtualization here"
fi
