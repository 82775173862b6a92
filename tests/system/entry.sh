#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Kernels that are entered in 32-bit protected mode, by each protocol, and what such code does there; the debug
# exit port; a distribution's kernel by PVH.
# TIMEOUT: 120
set -u
. tests/lib/guest.sh

build() { # protocol-number output [flags]
	gcc -m32 -DPROTOCOL="$1" -O2 -ffreestanding -fno-pic -fno-pie -mgeneral-regs-only -fno-stack-protector -fcf-protection=none \
		-fno-asynchronous-unwind-tables -Wall -Wextra -Werror -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,--no-warn-rwx-segments \
		-T tests/guest/entry/link.ld -o "$2" tests/guest/entry/start.S tests/guest/entry/kernel.c
}

printf 'a module' >"$tmp/module"
run_entry() { # name kernel [options]
	local name=$1 kernel=$2
	shift 2
	"$PENUMBRA" run --accel "$ACCEL" --kernel "$kernel" --initrd "$tmp/module" --append "one two" --debug-exit --timeout 20 --memory 128M "$@" \
		</dev/null >"$tmp/$name.log" 2>&1
	guest_status=$?
	tr -d '\r' <"$tmp/$name.log" | grep -aE '^(not )?ok ' | sed "s/^\(not ok\|ok\) /\1 - $name: /"
	result "$([ "$guest_status" = 43 ]; echo $?)" "$name: the status is the debug exit's" "status $guest_status, $(tail -n 3 "$tmp/$name.log")"
}

n=1
for name in multiboot multiboot2 pvh; do
	build $((n++)) "$tmp/$name.elf" || result 1 "$name: the kernel builds" "gcc -m32"
	run_entry "$name" "$tmp/$name.elf"
done

# Refusals are clear.
refuse() { # name expected-text options...
	local name=$1 text=$2 out
	shift 2
	out=$("$PENUMBRA" run --accel "$ACCEL" --append x --timeout 20 --memory 128M "$@" </dev/null 2>&1)
	result "$([ $? = 1 ] && [[ $out == *"$text"* ]]; echo $?)" "$name" "$out"
}
refuse "a protocol that the kernel does not offer is refused" "cannot be booted by PVH" --kernel "$tmp/multiboot.elf" --boot pvh
refuse "a 32-bit kernel has no 64-bit entry" "cannot be booted by the 64-bit Linux boot protocol" --kernel "$tmp/pvh.elf" --boot linux64
head -c 4096 /dev/zero >"$tmp/zeros"
refuse "a file that is no kernel is refused" "without a Multiboot header" --kernel "$tmp/zeros"
"$PENUMBRA" run --accel "$ACCEL" --kernel "$tmp/pvh.elf" --append "one two" --timeout 20 --memory 128M </dev/null >"$tmp/noexit.log" 2>&1
result "$([ $? != 43 ] && grep -q 'not ok the debug exit' "$tmp/noexit.log"; echo $?)" "without the option the port does nothing" "$(tail -n 2 "$tmp/noexit.log")"

guest_run linux-pvh "$quiet penumbra.exec=true" --boot pvh --timeout 60
guest_clean "Linux boots by PVH"
guest_has "it reaches its first program" 'reached init'
