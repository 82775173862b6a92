/* SPDX-License-Identifier: MIT
 * The invariants of shadow.h and tables.c, looked at in what a carrier has noted of its mappings.  Tests ask for it by the
 * knob `check`; with several vCPUs entries change while this looks, so that it is for one.
 *
 * Keys (S3, S5) are those that the host was asked for: what it has mapped cannot be read back by a carrier; programs that
 * attack them are the test of that (tests/system/hostile.sh).
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"

static _Noreturn void broken(const char *which, const struct leaf *l, int page)
{
	monitor_fail("invariant %s does not hold: page %lx, entry as mapped %lx, leaf %s", which,
		     (u64)(l->va + (u64)page * PAGE_SIZE), l->snap[page], l->watched ? "watched" : "loose");
}

/* Entry `i` is still what permitted the mapping. */
static bool permits(const struct leaf *l, const u64 *table, int i)
{
	u64 now = table[i];

	return !((now ^ l->snap[i]) & PTE_COMPARE) && ((now & PTE_D) || !BITTEST(l->writable, i));
}

/* The key that a page must carry: enum world_key + 1, 0: none. */
static u8 key_wanted(u64 va, u64 length, bool supervisor)
{
	if (is_kernel_half(va) || supervisor)
		return KEY_KERNEL + 1;
	return space_contested(va, length) ? KEY_CONTESTED + 1 : 0;
}

static void check_key(const struct leaf *l, int i)
{
	u64 length = l->large ? LEAF_SIZE : PAGE_SIZE, va = l->va + (u64)i * PAGE_SIZE;
	bool supervisor = !(l->snap[i] & (l->large ? ~0ull : l->pde) & PTE_U);
	u8 has = BITTEST(l->keyed[0], i) ? KEY_KERNEL + 1 : BITTEST(l->keyed[1], i) ? KEY_CONTESTED + 1 : 0;
	u8 wanted = key_wanted(va, length, supervisor);

	/* A kernel page may have been folded near it and be gone again: nothing takes the key back. */
	if (has == wanted || (!wanted && has == KEY_CONTESTED + 1))
		return;
	broken(wanted == KEY_CONTESTED + 1 ? "S5" : "S3", l, i);
}

static void check_run(const struct run *r)
{
	/* User pages of 1 GiB are runs; all others are the kernel's. */
	u8 wanted = key_wanted(r->va, r->length, !(r->rights & PTE_U));

	if (r->key != wanted && (wanted || r->key != KEY_CONTESTED + 1))
		monitor_fail("invariant %s does not hold: run at %lx", wanted == KEY_CONTESTED + 1 ? "S5" : "S3", r->va);
	if (space_reserved(r->va) || space_reserved(r->va + r->length - 1))
		monitor_fail("invariant S4 does not hold: run at %lx", r->va);
}

/* What a loose leaf has mapped is permitted after a flush only, what a watched one has at any time but for what is
 * still to be compared. */
static void check_leaf(struct cpu *c, const struct leaf *l, bool flushed, bool whole)
{
	u64 pde = mmu_peek_table(leaf_root(c, l), l->va);
	const u64 *table = ram_pointer(pde & PTE_ADDR);
	bool moved = (pde & PTE_COMPARE) != l->pde;

	if (l->large) {
		if (!l->mapped[0])
			return;
		if (space_reserved(l->va + (l->va ? 0 : PAGE_SIZE)) || space_reserved(l->va + LEAF_SIZE - PAGE_SIZE))
			broken("S4", l, 0);
		check_key(l, 0);
		return;
	}
	if (moved && (flushed || (l->watched && !l->low && whole && !S->upper_written)))
		broken(flushed ? "S1" : "T2", l, 0);
	for (int i = 0; i < 512; i++) {
		if (BITTEST(l->writable, i) && !BITTEST(l->mapped, i))
			broken("S2 (a page that is not mapped is noted as writable)", l, i);
		if (!BITTEST(l->mapped, i))
			continue;
		if (BITTEST(l->writable, i) && frame_flags(ram_offset(l->snap[i] & PTE_ADDR) >> PAGE_SHIFT))
			broken("S2", l, i);
		if (space_reserved(l->va + (u64)i * PAGE_SIZE))
			broken("S4", l, i);
		check_key(l, i);
		if (moved || permits(l, table, i))
			continue;
		if (flushed)
			broken("S1", l, i);
		if (l->watched && whole && !BITTEST(l->pending, i))
			broken("T2", l, i);
	}
}

void space_check(struct cpu *c, bool user_flushed)
{
	/* What was written meanwhile is noted in the leaves, to be compared at the next flush. */
	bool whole = tables_read() && !S->log_lost;

	for (u32 i = 0; i < S->n_leaves; i++) {
		const struct leaf *l = &S->leaves[i];

		if (l->va == ~0ull)
			continue;
		if (l->watched && !l->large && whole && !(frame_flags(l->table) & FRAME_TABLE))
			broken("T1", l, 0);
		if (l->watched && !l->large && !*frame_watchers(l->table))
			broken("T3", l, 0);
		if (BITTEST(S->loose[l->kernel], i) == l->watched)
			broken("T3 (neither watched nor loose)", l, 0);
		check_leaf(c, l, user_flushed && !l->kernel, whole);
	}
	for (u32 i = 0; i < S->n_runs; i++)
		check_run(&S->runs[i]);
	if (user_flushed)
		soft_check();
}
