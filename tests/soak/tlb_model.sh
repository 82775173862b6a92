#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The TLB model for long: TLB_STEPS=N steps under each way of keeping shadow page tables (default 1,000,000), with the
# translator's adverse knobs, and under QEMU's TCG and kvm, which stand for other readings of the manual.
# TIMEOUT: 4000
set -u
. tests/lib/tlb.sh
TLB_TIMEOUT=900
steps=${TLB_STEPS:-1000000}
for paging in flush lazy writeprotect intercept auto; do
	tlb_run "paging $paging" "seed=$(tlb_random) steps=$steps" --accel translate --paging "$paging"
done
for knobs in check=1 insns=1 kill=8,seed=9 hot=0x20000,cold=0x20000; do
	PENUMBRA_TEST_KNOBS=$knobs tlb_run "with $knobs" "seed=$(tlb_random) steps=$((steps / 10))" --accel translate --paging intercept
done
if command -v qemu-system-x86_64 >/dev/null; then
	tlb_run_tcg "TCG, the model's oracle" "seed=1 steps=30000"
fi
"$PENUMBRA" host --json | grep -q '"kvm_state":"\(real\|emulated\)"' && tlb_run "kvm, the model's oracle" "kvm=1 seed=1 steps=${TLB_KVM_STEPS:-60}" --accel kvm
exit 0
