#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Differential test of the translator: the instruction forms of real programs, and random ones, with random
# operands, natively and in the guest; then the same in adverse conditions.  A fresh seed each time (SEED=N repeats one);
# DIFF_SECONDS=N is the time of each part.
# TIMEOUT: 200
set -u
seconds=${DIFF_SECONDS:-5}
seed=${SEED:-0x$(od -An -N6 -tx8 /dev/urandom | tr -d ' ')}
harness=$BUILD/tests/diff/harness
binaries=(/bin/busybox /lib/x86_64-linux-gnu/libc.so.6 /usr/lib/x86_64-linux-gnu/libcrypto.so.3 /usr/bin/perl
	/usr/bin/python3 "$BUILD/guest/vmlinuz")
present=()
for b in "${binaries[@]}"; do [ -r "$b" ] && present+=("$b"); done

part() { # name, seconds, options...
	local name=$1 time=$2
	shift 2
	"$harness" --penumbra "$PENUMBRA" --guest "$BUILD/tests/diff/guest" --tmp "$TEST_TMP" --seed "$seed" \
		--seconds "$time" --name "$name" "$@" "${present[@]}"
}
part "user code computes as the processor does" "$seconds" --world user
part "kernel code computes as the processor does" "$seconds" --world kernel
part "sequences of instructions" "$seconds" --sequences 80 --random 10
part "random encodings" "$seconds" --random 100 --sequences 0
part "single-stepped by the guest" $((seconds / 2)) --step
part "with a code cache that is always full" $((seconds / 2)) --knobs hot=0x20000,cold=0x20000
part "with blocks of one instruction" $((seconds / 2)) --knobs insns=1 --sequences 60
part "with blocks invalidated at random" $((seconds / 2)) --knobs kill=8,seed=$((seed & 0xffffff)) --sequences 60
part "through the software TLB" $((seconds / 2)) --knobs soft=1000 --world user --random 10
part "with signals at every host instruction" "$seconds" --knobs storm=24,from=0x81000000,to=0x81100000,seed=$((seed & 0xffffff)) --cases 2000
exit 0
