/* SPDX-License-Identifier: MIT
 * Comparing what is mapped with the guest's entries: what a flush of the guest's comes to.
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"
#include "shadow/paging.h"

static const struct paging *const maintainers[PAGING_COUNT] = {
#define PAGING_ROW(symbol, name) [PAGING_##symbol] = &paging_##name,
	PAGING_KINDS(PAGING_ROW)
#undef PAGING_ROW
};

const struct paging *paging_chosen(void) { return maintainers[SHADOW->paging < PAGING_COUNT ? SHADOW->paging : PAGING_LAZY]; }

/* The entry that leads here has changed, or a large page has to set its dirty bit anew. */
static bool leaf_stale(const struct leaf *l, u64 pde)
{
	return (pde & PTE_COMPARE) != l->pde || (l->large && l->writable[0] && !(pde & PTE_D));
}

/* Something of the leaf is mapped at [from, to). */
static bool any_mapped(const struct leaf *l, int from, int to)
{
	for (int i = from; i < to; i = (i | 63) + 1)
		if (l->mapped[i >> 6] >> (i & 63) << (to - i < 64 ? 64 - (to - i) : 0))
			return true;
	return false;
}

static void unmap_pages(const struct leaf *l, int from, int to)
{
	unmap(l->va + (u64)from * PAGE_SIZE, (u64)(to - from) * PAGE_SIZE);
	S->vmas++; /* what was one may be two */
}

/* Whether all 64 entries are as they were, but for bits outside of the mask. */
static inline bool same_64(const volatile u64 *e, const u64 *snap, u64 mask)
{
	u64 a = 0, b = 0;

	for (int i = 0; i < 64; i += 4) {
		a |= (e[i] ^ snap[i]) | (e[i + 1] ^ snap[i + 1]);
		b |= (e[i + 2] ^ snap[i + 2]) | (e[i + 3] ^ snap[i + 3]);
	}
	return !((a | b) & mask);
}

/* Of the pages in `m`, those whose entries differ in a bit of `mask` from what was mapped. */
static inline u64 differing(const volatile u64 *e, const u64 *snap, u64 m, u64 mask)
{
	u64 found = 0;

	if (!~m && same_64(e, snap, mask))
		return 0;
	for (; m; m &= m - 1) {
		int i = __builtin_ctzll(m);

		if ((e[i] ^ snap[i]) & mask)
			found |= BIT(i);
	}
	return found;
}

/* Pages of one word of the maps, of those in `m`, whose entries are no longer what permitted them.  What is mapped
 * writable was dirty. */
static u64 changed(const struct leaf *l, const u64 *table, int word, u64 m)
{
	const u64 *snap = l->snap + word * 64, w = l->writable[word];

	return differing(table + word * 64, snap, m & w, PTE_COMPARE | PTE_D) | differing(table + word * 64, snap, m & ~w, PTE_COMPARE);
}

#define WINDOW_STARTS 0x0001000100010001ull
_Static_assert(WINDOW == 16, "WINDOW_STARTS");

/* How many stretches [from, to) of changed pages have to be unmapped (nothing mapped lies between two), and in how many
 * pieces what stays mapped would come back if it went too. */
struct stretches { u32 n, kept; };

/* By stretches, not by pages: most often one page has changed. */
static struct stretches stretches_of(const struct leaf *l, const u64 *gone)
{
	struct stretches r = { 0, 0 };
	bool apart = true; /* a page that stays lies before, since the last one that goes; or none goes before */

	for (int word = 0; word < 8; word++) {
		u64 goes = gone[word], stay = l->mapped[word] & ~goes, done = 0;

		r.kept += (u32)__builtin_popcountll(stay & (~(stay << 1) | WINDOW_STARTS));
		for (u64 from = goes & ~(goes << 1); from; from &= from - 1) {
			int first = __builtin_ctzll(from);
			u64 above = ~goes & ~(BIT(first) - 1); /* the first of these ends the stretch */

			r.n += apart || (stay & (BIT(first) - 1) & ~done);
			apart = false;
			done = above ? (above & -above) - 1 : ~0ull;
		}
		apart |= (stay & ~done) != 0;
	}
	return r;
}

/* Unmaps the pages, neighbours at once. */
static void unmap_stretches(struct leaf *l, const u64 *gone)
{
	int start = -1, last = -1;

	for (int word = 0; word < 8; word++) {
		l->mapped[word] &= ~gone[word];
		l->writable[word] &= ~gone[word];
	}
	for (int word = 0; word < 8; word++)
		for (u64 m = gone[word]; m; m &= m - 1) {
			int i = word * 64 + __builtin_ctzll(m);

			if (start >= 0 && any_mapped(l, last + 1, i)) {
				unmap_pages(l, start, last + 1);
				start = -1;
			}
			if (start < 0)
				start = i;
			last = i;
		}
	if (start >= 0)
		unmap_pages(l, start, last + 1);
}

/* Compares the pages of a leaf with the table's entries and unmaps what changed; or all of it, if the maintainer says that
 * this is cheaper. */
static void leaf_compare(struct leaf *l, const u64 *table, const u64 *only)
{
	const struct paging *p = paging_chosen();
	u64 gone[8], any = 0;

	for (int word = 0; word < 8; word++) {
		u64 m = (l->mapped[word] | l->exec[word]) & (only ? only[word] : ~0ull);

		gone[word] = 0;
		if (!m)
			continue;
		SHADOW_COUNT->compared += (u64)__builtin_popcountll(m);
		m = changed(l, table, word, m);
		S->code_changed |= !!(m & l->exec[word]);
		l->exec[word] &= ~m;
		gone[word] = m & l->mapped[word];
		any |= gone[word];
	}
	if (!any)
		return;
	if (p->drop_whole) {
		struct stretches s = stretches_of(l, gone);

		if (p->drop_whole(l, gone, s.n, s.kept)) {
			leaf_unmap(l);
			return;
		}
	}
	unmap_stretches(l, gone);
}

bool leaf_check(struct cpu *c, struct leaf *l, const u64 *only)
{
	u64 pde = mmu_peek_table(leaf_root(c, l), l->va);

	if (leaf_stale(l, pde)) {
		leaf_unmap(l);
		leaf_drop(l);
		return false;
	}
	if (!l->large)
		leaf_compare(l, ram_pointer(pde & PTE_ADDR), only);
	SHADOW_COUNT->leaves_kept += !l->watched;
	return true;
}

/* The leaves that nobody watches. */
static void compare_loose(struct cpu *c, bool kernel)
{
	for (u32 word = 0; word < ARRAY_SIZE(S->loose[0]); word++)
		for (u64 m = S->loose[kernel][word]; m; m &= m - 1) {
			struct leaf *l = &S->leaves[word * 64 + (u32)__builtin_ctzll(m)];

			if (leaf_check(c, l, NULL) && paging_chosen()->watch && paging_chosen()->watch(l) && table_watch(c, l))
				leaf_check(c, l, NULL);
		}
}

/* The way to a leaf of which its own table alone is watched. */
static void check_way(struct cpu *c, struct leaf *l)
{
	if (!leaf_stale(l, mmu_peek_table(leaf_root(c, l), l->va)))
		return;
	leaf_unmap(l);
	leaf_drop(l);
}

static void check_ways(struct cpu *c, bool kernel)
{
	for (u32 word = 0; word < ARRAY_SIZE(S->low[0]) && S->n_low; word++)
		for (u64 m = S->low[kernel][word]; m; m &= m - 1)
			check_way(c, &S->leaves[word * 64 + (u32)__builtin_ctzll(m)]);
}

/* `which`: RUNS_LOCAL: those that are not global. */
enum runs { RUNS_ALL, RUNS_LOCAL };

static void check_runs(struct cpu *c, enum runs which)
{
	for (u32 i = 0; i < S->n_runs; i++) {
		struct run *r = &S->runs[i];
		u64 at = r->va, size, e, bad;
		bool good = true;

		if (which == RUNS_LOCAL && !r->local)
			continue;
		for (; at < r->va + r->length; at = (at | (size - 1)) + 1) {
			int level = mmu_peek(c, at, &e);

			size = level ? 1ull << (12 + 9 * (level - 1)) : 1;
			good = level >= 2 && (e & PTE_ADDR & ~(size - 1)) + (at & (size - 1)) == r->pa + (at - r->va) &&
			       (e & RUN_COMPARE) == r->rights && (!r->writable || (e & PTE_D));
			if (!good)
				break;
		}
		if (good)
			continue;
		/* Keep what lies before the change; the rest comes back on demand. */
		bad = at - r->va;
		unmap(r->va + bad, r->length - bad);
		S->gate.length = 0;
		if (bad)
			r->length = bad;
		else
			run_forget(i--);
	}
}

/* Code that no leaf has a note of may be what the guest has flushed. */
static void forget_unnoted(void)
{
	S->code_changed |= S->code_unnoted;
	S->code_unnoted = false;
}

void space_invalidate(struct cpu *c, u64 va)
{
	struct leaf *l = leaf_find(va);

	soft_invalidate(va);
	if (l && l->watched) {
		tables_drain(c);
		l = leaf_find(va); /* which may have lost its watch by that, unseen */
		if (l && l->low)
			check_way(c, l);
		l = leaf_find(va);
	}
	if (l && !l->watched) {
		u64 pde = mmu_peek_table(leaf_root(c, l), va);
		int i = (int)(va >> PAGE_SHIFT & 511);

		if (leaf_stale(l, pde)) {
			leaf_unmap(l);
			leaf_drop(l);
		} else if (!l->large) {
			u64 only[8] = { 0 };

			BITSET(only, i);
			leaf_compare(l, ram_pointer(pde & PTE_ADDR), only);
		}
	}
	for (u32 i = 0; i < S->n_runs; i++)
		if (va - S->runs[i].va < S->runs[i].length) {
			check_runs(c, RUNS_ALL);
			break;
		}
	forget_unnoted();
	settle();
}

void leaves_compare_user(struct cpu *c)
{
	bool low_runs = false;

	if (S->n_watched)
		tables_drain(c);
	check_ways(c, false);
	SHADOW_COUNT->leaves_kept += S->n_watched;
	compare_loose(c, false);
	for (u32 i = 0; i < S->n_runs; i++)
		low_runs |= !is_kernel_half(S->runs[i].va);
	if (low_runs)
		check_runs(c, RUNS_ALL);
}

void leaves_drop_user(void)
{
	for (u32 i = 0; i < S->n_leaves; i++) {
		struct leaf *l = &S->leaves[i];

		if (l->va == ~0ull || l->kernel)
			continue;
		leaf_unmap(l);
		leaf_drop(l);
	}
	for (u32 i = 0; i < S->n_runs; i++)
		if (!is_kernel_half(S->runs[i].va)) {
			unmap(S->runs[i].va, S->runs[i].length);
			run_forget(i--);
		}
}

void space_flush_user(struct cpu *c)
{
	soft_flush();
	paging_chosen()->flush_user(c);
	forget_unnoted();
	space_flush_local(c);
}

void space_flush_local(struct cpu *c)
{
	if (S->local) {
		S->local = false;
		for (u32 i = 0; i < S->n_leaves; i++) {
			struct leaf *l = &S->leaves[i];

			if (l->va != ~0ull && l->kernel && l->local && leaf_check(c, l, NULL))
				S->local = true;
		}
		check_runs(c, RUNS_LOCAL);
		for (u32 i = 0; i < S->n_runs; i++)
			S->local |= S->runs[i].local && is_kernel_half(S->runs[i].va);
	}
	settle();
}

void space_flush_all(struct cpu *c)
{
	soft_flush();
	paging_chosen()->flush_user(c);
	forget_unnoted();
	check_ways(c, true);
	compare_loose(c, true);
	check_runs(c, RUNS_ALL);
	settle();
}

/* Roots most often share their kernel half. */
void space_recycle(struct cpu *c)
{
	soft_flush();
	leaves_drop_user();
	tables_forget();
	S->low_supervisor = false;
	compare_loose(c, true);
	check_runs(c, RUNS_ALL);
	S->code_changed = true;
	settle();
}
