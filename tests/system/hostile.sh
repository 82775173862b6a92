#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A hostile user program in a Linux guest: each attempt must end as it does on the host's own processor.
# PLANT=1 also builds copies of the translator with holes, and shows that they are noticed.
set -u
tmp=${TEST_TMP:-$(mktemp -d)}
guest=${GUEST:-${BUILD:-build}/guest}
failed=0
result() { # good? name reason
	if [ "$1" = 0 ]; then
		echo "ok - hostile: $2"
	else
		echo "not ok - hostile: $2: ${3//$'\n'/ | }"
		failed=1
	fi
}
# ---- a hostile kernel ----
if ${CC:-gcc} -std=gnu11 -O1 -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
	-fcf-protection=none -fno-asynchronous-unwind-tables -Wall -Wextra -Isrc -nostdlib -static -no-pie \
	-Wl,-Ttext=0x1000000,--build-id=none,-z,noexecstack,-N,--no-warn-rwx-segments \
	-o "$tmp/kernel" tests/guest/hostile/entry.S tests/guest/hostile/kernel.c 2>"$tmp/err"; then
	accels=translate
	"$PENUMBRA" host --json | grep -q '"kvm_state":"\(real\|emulated\)"' && accels+=" kvm"
	for accel in $accels; do
		"$PENUMBRA" run --accel "$accel" --kernel "$tmp/kernel" --memory 128M --timeout 100 --append x \
			>"$tmp/kernel.out" 2>&1 </dev/null
		result "$([ $? = 0 ] && [ "$(tail -1 "$tmp/kernel.out")" = "all right" ]; echo $?)" \
			"a kernel at every address, under $accel" "$(head -4 "$tmp/kernel.out") ... $(tail -1 "$tmp/kernel.out")"
	done
else
	result 1 "the hostile kernel is built" "$(cat "$tmp/err")"
fi

if [ ! -e "$guest/initrd" ]; then
	echo "1..0 # SKIP there is no guest; make guest"
	exit 0
fi
if ! ${CC:-gcc} -O1 -g -static -Isrc -Wall -Wextra -o "$tmp/user" tests/guest/hostile/user.c 2>"$tmp/err" ||
	! guest/build.sh overlay "$guest/initrd" "$tmp/initrd" bin/hostile="$tmp/user" 2>"$tmp/err"; then
	result 1 "the program is built" "$(cat "$tmp/err")"
	exit 1
fi

# Folded addresses of the guest kernel's direct map (its page 256 and its last), text, vmalloc and fixed map.
secrets=48000100000,4801fff0000,7bff81000000,450000000000,7bffff5fd000,7a0000000000
# Where the translator's own ranges begin and end, only integer and string instructions are executed in C;
# the others are an invalid opcode there.  What a scratch page shows is the translator's.
ranges='gap|fold offset|monitor|shared|code|private|signal stack|folds|memory|inside memory'
# What a hypervisor under the host may intercept is hidden too.
hidden='^(spill|lookup): |^(wrpkru|rdpkru|xgetbv|xsaves|xrstors|vmcall|vmmcall|vmrun|sysexit)'
compare() { # native guest
	awk -v ranges="^($ranges): " -v hidden="$hidden" -v FS='\n' '
		FNR == NR { want[FNR] = $1; n = FNR; next }
		{ lines = FNR }
		$1 == want[FNR] || $1 ~ hidden { next }
		$1 ~ ranges && $1 ~ /: signal 4 trap 6 error 0$/ { next }
		{ print want[FNR] " <> " $1; bad = 1 }
		END { if (lines != n) { print lines " lines instead of " n; bad = 1 } exit bad }' "$1" "$2"
}
boot() { # program out
	"$1" run --accel translate --kernel "$guest/vmlinuz" --initrd "$tmp/initrd" --memory 512M --timeout 200 \
		--append "console=ttyS0 quiet nokaslr norandmaps penumbra.exec=hostile,$secrets" </dev/null >"$2.raw" 2>"$2.err"
	tr -d '\r' <"$2.raw" | sed -n '/^hostile: begin/,/^hostile: end/p' >"$2"
}
noticed() { [ "$(tail -1 "$1")" != "hostile: end" ] || grep -q WRONG "$1" || ! compare "$tmp/native" "$1" >/dev/null; }

setarch -R "$tmp/user" >"$tmp/native" 2>"$tmp/err"
result "$([ "$(tail -1 "$tmp/native")" = "hostile: end" ] && ! grep -q WRONG "$tmp/native"; echo $?)" \
	"the program judges the host right" "$(grep WRONG "$tmp/native" | head -3) $(tail -1 "$tmp/native")"
boot "$PENUMBRA" "$tmp/guest"
result "$([ "$(tail -1 "$tmp/guest")" = "hostile: end" ]; echo $?)" "the machine survives" \
	"$(tail -2 "$tmp/guest") $(tail -2 "$tmp/guest.raw") $(cat "$tmp/guest.err")"
result "$(grep -q WRONG "$tmp/guest"; [ $? = 1 ]; echo $?)" "nothing of the translator's or the kernel's can be reached" \
	"$(grep WRONG "$tmp/guest" | head -5)"
difference=$(compare "$tmp/native" "$tmp/guest")
result $? "each attempt ends as on the host" "$(head -5 <<<"$difference")"
result "$(grep -c '^\(wrpkru\|rdpkru\) with .*: signal 4 trap 6' "$tmp/guest" | grep -qx 20; echo $?)" \
	"protection keys are no instruction of the guest's" "$(grep pkru "$tmp/guest" | head -3)"
PENUMBRA_OPEN_STACK=1 boot "$PENUMBRA" "$tmp/open"
result "$([ "$(tail -1 "$tmp/open")" = "hostile: end" ]; echo $?)" "the machine survives with an open signal stack" \
	"$(tail -2 "$tmp/open.raw") $(cat "$tmp/open.err")"
result "$(grep WRONG "$tmp/open" | grep -qv 'to 7c00600[4-7]\|from 7c00600[4-7]\|at 7c00600[4-7]'; [ $? = 1 ]; echo $?)" \
	"only that stack is open then" "$(grep WRONG "$tmp/open" | grep -v '7c00600[4-7]' | head -3)"

[ -n "${PLANT:-}" ] || exit $failed
plant() { # name file sed-expression
	rm -rf "$tmp/plant"
	mkdir "$tmp/plant"
	cp -r Makefile mk src guest bench "$tmp/plant"
	sed -i "$3" "$tmp/plant/$2"
	if cmp -s "$2" "$tmp/plant/$2" || ! make -s -C "$tmp/plant" BUILD="$tmp/plant/b" "$tmp/plant/b/penumbra" >"$tmp/err" 2>&1; then
		result 1 "planted: $1" "it cannot be planted: $(tail -3 "$tmp/err")"
		return
	fi
	boot "$tmp/plant/b/penumbra" "$tmp/planted"
	result "$(noticed "$tmp/planted"; echo $?)" "planted: $1 is noticed" "everything looks right"
}
plant "a lookup table that anyone may write" src/monitor/main.c 's/protect(SLOT_DISP, \(.*\), rw, .*/protect(SLOT_DISP, \1, rw, 0);/'
plant "the kernel's lookup table readable" src/monitor/main.c 's/protect(KLOOKUP_DISP, \(.*\), rw, .*/protect(KLOOKUP_DISP, \1, rw, (int)k[KEY_TABLE]);/'
plant "a code cache without a key" src/monitor/main.c '/protect(CODE_DISP/d'
plant "guest memory's alias without a key" src/monitor/main.c '/protect(RAM_DISP/d'
plant "kernel pages without a key" src/shadow/space.c 's/S->key = KEY_KERNEL + 1/S->key = 0/'
plant "folds that are not claimed" src/shadow/space.c 's/FOLDS\[FOLD_INDEX(at + FOLD_OFF)\] = FOLD_BAD/(void)0/'
plant "a signal stack that the guest can stand on" src/monitor/signal.c 's/HOST(ALTSTACK_DISP), SS_AUTODISARM,/HOST(ALTSTACK_DISP), 0,/'
exit $failed
