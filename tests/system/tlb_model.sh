#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Random programs of page table writes, invalidations and accesses, each access held against a model of the TLB's rules
# (tests/guest/tlb/model.c), under each way of keeping shadow page tables.  A fresh seed each time; SEED=N repeats one,
# TLB_STEPS=N says how many steps each.  tests/guest/tlb/shrink.py makes a failing case small.
# TIMEOUT: 280
set -u
. tests/lib/tlb.sh
seed=${SEED:-$(tlb_random)}
steps=${TLB_STEPS:-20000}
for paging in flush lazy writeprotect intercept auto; do
	tlb_run "paging $paging" "seed=$seed steps=$steps" --accel translate --paging "$paging"
done
