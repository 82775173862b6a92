#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# 32-bit programs in the guest leave what they leave on the processor: random instructions, then all that programs
# do beyond them, linked statically and dynamically, and a program that changes between 64 and 32 bits.
# ACCEL chooses the accelerator, SEEDS and BLOCKS the random instructions.
set -u
ACCEL=${ACCEL:-translate}
SEEDS=${SEEDS:-"1 2 3"} BLOCKS=${BLOCKS:-200}
tmp=${TEST_TMP:-$(mktemp -d)}
source=tests/guest/compat
kernel=$BUILD/guest/vmlinuz initrd=$BUILD/guest/initrd
failed=0

result() { # status name reason
	if [ "$1" = 0 ]; then
		echo "ok - $ACCEL: $2"
	else
		echo "not ok - $ACCEL: $2: ${3//$'\n'/ | }"
		failed=1
	fi
}
skip() {
	echo "1..0 # SKIP $1"
	exit 0
}

flags=(-O2 -Wall -Wextra -Werror -fno-pie -no-pie)
echo 'int main(void) { return 0; }' >"$tmp/probe.c"
gcc -m32 -static -o "$tmp/probe" "$tmp/probe.c" 2>/dev/null || skip "gcc -m32 does not work here"
"$tmp/probe" 2>/dev/null || skip "this system does not run 32-bit programs"
if [ ! -e "$kernel" ] || [ ! -e "$initrd" ]; then skip "no guest: make guest"; fi

build() { # name, compiler arguments
	local name=$1
	shift
	gcc "${flags[@]}" -o "$tmp/$name" "$@" 2>"$tmp/err" && return
	result 1 "$name is built" "$(cat "$tmp/err")"
	exit 1
}
build random -m32 -static $source/random.c
build features -m32 -static $source/features.c $source/flow.S -lm -lpthread
build dynamic -m32 $source/features.c $source/flow.S -lm -lpthread
build mixed -static -mno-red-zone $source/mixed.c -lpthread

# One guest runs everything; a line that begins with @ says what follows.
tests=()
for seed in $SEEDS; do tests+=("random $seed $BLOCKS"); done
tests+=(features dynamic mixed)
{
	echo '#!/bin/sh'
	echo 'export LD_LIBRARY_PATH=/root/lib32'
	for t in "${tests[@]}"; do echo "echo '@ $t'; /root/$t; echo \"@ status \$?\""; done
} >"$tmp/all"
chmod +x "$tmp/all"
library() { realpath "$(gcc -m32 -print-file-name="$1")"; }
guest/build.sh overlay "$initrd" "$tmp/initrd" root/all="$tmp/all" root/random="$tmp/random" \
	root/features="$tmp/features" root/dynamic="$tmp/dynamic" root/mixed="$tmp/mixed" \
	lib/ld-linux.so.2="$(library ld-linux.so.2)" root/lib32/libc.so.6="$(library libc.so.6)" \
	root/lib32/libm.so.6="$(library libm.so.6)" 2>"$tmp/err" || { result 1 "the initrd is made" "$(cat "$tmp/err")"; exit 1; }
"$PENUMBRA" run --accel "$ACCEL" --kernel "$kernel" --initrd "$tmp/initrd" --timeout 120 \
	--append "console=ttyS0 quiet penumbra.run=/root/all" </dev/null >"$tmp/raw" 2>"$tmp/err"
status=$?
tr -d '\r' <"$tmp/raw" >"$tmp/console"
result $status "the guest runs to its end" "status $status, $(cat "$tmp/err")"

for t in "${tests[@]}"; do
	# What was written between this test's marks, without messages of the kernel.
	awk -v name="@ $t" '$0 == name { on = 1; next } on && /^@ status/ { print; exit } on && !/^\[ *[0-9]+\.[0-9]+\]/' \
		"$tmp/console" >"$tmp/guest"
	command=$t
	# The guest may offer less than the processor has.
	features=$(sed -n 's/^features //p' "$tmp/guest")
	[ -z "$features" ] || command="$t $features"
	{ eval "$tmp/$command"; echo "@ status $?"; } >"$tmp/native" 2>/dev/null </dev/null
	cmp -s "$tmp/native" "$tmp/guest"
	result $? "$t" "$(diff "$tmp/native" "$tmp/guest" | head -n 6)"
done
exit $failed
