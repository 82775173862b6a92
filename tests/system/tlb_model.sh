#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Random programs of page table writes, invalidations and accesses, each access held against a model of the TLB's rules
# (tests/guest/tlb/model.h), under each way of keeping shadow page tables.  A fresh seed each time; SEED=N repeats one,
# TLB_STEPS=N says how many steps each.  tests/guest/tlb/shrink.py makes a failing case small.
# PLANT=1 also builds copies with one bug each and shows that it is noticed: they are named at the end, PLANT=WORDS takes
# those with the words in their names.
# TIMEOUT: 280
set -u
. tests/lib/tlb.sh
seed=${SEED:-$(tlb_random)}
steps=${TLB_STEPS:-20000}
for paging in flush lazy writeprotect intercept auto; do
	tlb_run "paging $paging" "seed=$seed steps=$steps" --accel translate --paging "$paging"
done
for paging in lazy intercept auto; do
	PENUMBRA_TEST_KNOBS=check=1 tlb_run "the invariants hold, $paging" "seed=$seed steps=4096" --accel translate --paging $paging
done
PENUMBRA_TEST_KNOBS=contrary=3,check=1 tlb_run "auto changes its mind" "seed=$seed steps=$steps" --accel translate --paging auto
# Few host mappings, and fewer carriers than roots: leaves give way, carriers are made anew.
PENUMBRA_TEST_KNOBS=vmas=24,check=1 tlb_run "24 mappings" "seed=$seed steps=4096" --accel translate
PENUMBRA_TEST_KNOBS=carriers=6,check=1 tlb_run "2 carriers for 4 roots" "seed=$seed steps=4096" --accel translate
# A second processor with a TLB, tables and rights of its own: it accesses, writes tables and invalidates, in turn with the
# first, at the same time, and when it is interrupted for that.
for paging in flush lazy writeprotect intercept auto; do
	tlb_run "2 processors, $paging" "seed=$seed steps=$((steps / 4)) cpus=2" --cpus 2 --accel translate --paging "$paging"
done
PENUMBRA_TEST_KNOBS=contrary=3 tlb_run "2 processors, auto changes its mind" "seed=$seed steps=4096 cpus=2" --cpus 2 --accel translate
PENUMBRA_TEST_KNOBS=vmas=24 tlb_run "2 processors, 24 mappings" "seed=$seed steps=4096 cpus=2" --cpus 2 --accel translate
PENUMBRA_TEST_KNOBS=carriers=6 tlb_run "2 processors, 2 carriers for 4 roots" "seed=$seed steps=4096 cpus=2" --cpus 2 --accel translate
# User code goes through the software TLB; a page is mapped after so many accesses.
for paging in flush intercept auto; do
	PENUMBRA_TEST_KNOBS=soft=3,check=1 tlb_run "software TLB, $paging" "seed=$seed steps=8000" --accel translate --paging $paging
done
PENUMBRA_TEST_KNOBS=soft=1000,vmas=24,check=1 tlb_run "software TLB, 24 mappings" "seed=$seed steps=4096" --accel translate
PENUMBRA_TEST_KNOBS=soft=1000,carriers=6,smp=1 tlb_run "software TLB, 2 carriers for 4 roots" "seed=$seed steps=4096" --accel translate
PENUMBRA_TEST_KNOBS=soft=1000 tlb_run "software TLB, 2 processors" "seed=$seed steps=4096 cpus=2" --cpus 2 --accel translate
# A disk writes tables while the guest keeps interrupts off.
truncate -s 4096 "$tmp/disk"
for paging in lazy intercept auto; do
	PENUMBRA_TEST_KNOBS=contrary=3 tlb_run "tables written by a device, $paging" "seed=$seed steps=6000 disk=1" --accel translate --paging $paging \
		--disk "$tmp/disk"
done
[ -n "${PLANT:-}" ] || exit 0

mkdir "$tmp/plant" && cp -a Makefile mk src guest bench tests "$tmp/plant" || exit 1
plant() { # what, paging, file, sed-expression, knobs, "disk" or "two"
	local options=() append="seed=$seed steps=100000"
	[ "${6:-}" != disk ] || options=(--disk "$tmp/disk") append+=" disk=1"
	[ "${6:-}" != two ] || options=(--cpus 2) append="seed=$seed steps=40000 cpus=2"
	[ "$PLANT" = 1 ] || [[ $1 == *$PLANT* ]] || return
	sed -i "$4" "$tmp/plant/$3"
	if cmp -s "$3" "$tmp/plant/$3" || ! make -s -C "$tmp/plant" BUILD="$tmp/plant/b" "$tmp/plant/b/penumbra" >"$tmp/err" 2>&1; then
		echo "not ok - planted: $1: it cannot be planted: $(tail -n 3 "$tmp/err" | tr '\n' '|')"
	elif PENUMBRA_TEST_KNOBS=${5:-} PENUMBRA=$tmp/plant/b/penumbra tlb_run planted "$append" --accel translate --paging "$2" "${options[@]}" | grep -q '^not ok'; then
		echo "ok - planted: $1, after $(grep -o 'TLB failed.* step [0-9]*' "$tmp/tlb.log" | grep -o 'step.*'; grep -o 'invariant S[0-9]' "$tmp/tlb.log")"
	else
		echo "not ok - planted: $1: nobody notices"
	fi
	cp "$3" "$tmp/plant/$3"
}
space=src/shadow/space.c room=src/shadow/room.c compare=src/shadow/compare.c walk=src/shadow/walk.c mmu=src/monitor/mmu.c
plant "S1: an entry's address may change" lazy src/shadow/internal.h 's/PTE_NX | PTE_ADDR | PTE_A | PTE_PS)/PTE_NX | PTE_A | PTE_PS)/'
plant "S2: code stays writable" lazy src/monitor/frames.c 's/space_protect_frames(&frame, 1);//'
plant "S3: kernel pages without a key" lazy $space 's/S->key = KEY_KERNEL + 1/S->key = 0/'
plant "S5: user pages where kernel pages are folded keep no key" lazy $space 's/S->key = contested ? KEY_CONTESTED + 1 : 0/S->key = 0/'
plant "S3: kernel pages without a key, and the invariant is checked" lazy $space 's/S->key = KEY_KERNEL + 1/S->key = 0/' check=1
plant "S5: as above, checked" lazy $space 's/S->key = contested ? KEY_CONTESTED + 1 : 0/S->key = 0/' check=1
plant "S4: a page where the monitor is" lazy $space 's/if (reserved(fold(first), length))/if (0)/' check=1
plant "S4: a large page where the monitor is" lazy $space 's/ || reserved(fold(l->va) + skip, LEAF_SIZE - skip))/)/' check=1
plant "S4: a stretch of large pages where the monitor is" lazy $space 's/if (reserved(fold(start), end - start))/if (0)/' check=1
plant "leaves that give way stay mapped" lazy $room '/^void room_evict/,/^}/s/leaf_unmap(l);//' vmas=24
plant "a carrier keeps the mappings of the root that it had" lazy $compare '/^void space_recycle/,/^}/s/leaves_drop_user();//' carriers=6
plant "a table that goes as a whole stays mapped" auto $compare '/p->drop_whole(l, gone/,/return/s/leaf_unmap(l);//' contrary=3
plant "what a device writes to tables goes unseen" intercept src/device/dma.c 's/#define FRAME_FLAGGED 3/#define FRAME_FLAGGED 1/' "" disk
plant "roots with another upper half run the kernel's translations" lazy src/monitor/home.c 's/^\t\t\treturn false;/\t\t\tbreak;/'
plant "what another processor writes to tables goes unseen" intercept src/shadow/tables.c 's/take_entry(log->entry/if (log == TABLE_LOG) take_entry(log->entry/' "" two
plant "INVPCID of the other processor is missed" lazy $mmu '/^void mmu_invpcid/,/^}/s/^	if (type == 2) {/	if (c->apic_id) return; else if (type == 2) {/' "" two
plant "INVLPG of the other processor is missed" lazy $mmu '/^void mmu_invlpg/,/^}/s/	space_invalidate(c, address.v);/	if (!c->apic_id) space_invalidate(c, address.v);/' "" two
plant "INVLPG is missed" lazy $mmu '/^void mmu_invlpg/,/^}/s/space_invalidate(c, address.v);//'
plant "a #PF invalidates nothing" lazy $mmu '/^void mmu_page_fault/,/^}/s/space_invalidate(c, va);//'
plant "a flush of everything is missed" lazy $mmu 's/	space_flush_all(c);//'
plant "the dirty bit is not set" lazy $walk 's/ | (i == n - 1 \&\& (access \& PF_W) ? PTE_D : 0)//'
plant "a flush spares the software TLB" lazy $compare '/^void space_flush_user/,/^}/s/soft_flush();//' soft=1000
plant "a flush spares the software TLB, and the invariant is checked" lazy $compare '/^void space_flush_user/,/^}/s/soft_flush();//' soft=1000,check=1
plant "INVLPG spares the software TLB" lazy $compare '/^void space_invalidate/,/^}/s/soft_invalidate(va);//' soft=1000
plant "a carrier keeps the software TLB of the root that it had" lazy $compare '/^void space_recycle/,/^}/s/soft_flush();//' soft=1000,carriers=6
plant "the software TLB lets read-only pages be written" lazy src/shadow/soft.c 's/write ? frame | SOFT_WRITE : frame, left/write ? frame | SOFT_WRITE : SOFT_WRITE | frame, left/' soft=1000
plant "the software TLB takes any age" lazy src/monitor/entry.S 's/or	%gs:CARRIER_DISP + SG_SOFT, %rax/or	$1, %rax/' soft=1000
plant "no-execute is ignored after a change" lazy src/shadow/internal.h 's/PTE_U | PTE_NX | PTE_ADDR/PTE_U | PTE_ADDR/'
plant "the user bit of an upper level is ignored" lazy $walk 's/w->user &= !!(e & PTE_U);/w->user = e \& PTE_U;/'
plant "PCIDs are confused" lazy $mmu 's/flush || s->pcid != pcid/flush/'
plant "what is not global outlives a load of CR3" lazy $compare 's/^	if (S->local) {/	if (0) {/'
plant "CR0.WP changes nothing that is mapped" lazy $mmu 's/^		space_drop_all();//'
plant "reserved bits are ignored" lazy $walk 's/if (e & reserved_in(unknown, level, e))/if ((e \& reserved_in(unknown, level, e)) == 1)/'
plant "writes to tables are missed" writeprotect src/shadow/tables.c 's/^		log_add(at);//'
plant "writes to upper tables are missed" intercept src/shadow/tables.c 's/S->upper_written = true;/S->upper_written = false;/'
exit 0
