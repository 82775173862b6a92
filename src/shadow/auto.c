/* SPDX-License-Identifier: MIT
 * Maintainer `auto`: chooses for each of the guest's tables whether its writes are recorded.
 *
 *   loose --(compared for longer than watching it costs)--> watched
 *     ^ \------(written so often that comparing is cheaper)---/
 *
 * A loose leaf costs each flush about PAGE cycles a page that it maps.  To watch its table costs each carrier that runs again
 * PROTECT cycles, once, for taking write permission from it, the first time the traps of the SITES that write to tables, and each
 * write STORE cycles; a flush then looks at the way to the table only.
 * What comparing a leaf has cost is summed up, and when it has cost as much as watching would have, it is watched: so it never
 * costs more than twice what the better choice in hindsight would have.  A table that was given up because of its
 * writes has to earn it twice as long the next time, up to 2^UNREST_MAX times; each time that it pays takes one back.
 *
 * Where a flush finds that many single stretches of a leaf have changed, each costs UNMAP cycles; to unmap the leaf as a whole
 * costs little more than one of them, but each piece of what had not changed costs FAULT cycles if the guest comes back to
 * it.  How likely that is, is taken from the leaf's past: how many of the pieces that went came back before the next such flush.
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"
#include "shadow/paging.h"

#define LEAF 60       /* cycles: finding the table of a leaf */
#define PAGE 2
#define PROTECT 9000
#define SITES 20000
#define STORE 100
#define UNREST_MAX 6
#define UNMAP 4000
#define FAULT 7000
#define STRETCHES_MIN 4
#define REUSE_UNKNOWN 64 /* of 256 */

/* Test: tables as small as its are would never be watched, nor given up. */
static bool contrary(void) { return SHADOW->contrary && ++S->decisions % SHADOW->contrary == 0; }

/* What comparing it costs. */
static u32 cost(const struct leaf *l)
{
	u32 pages = 0;

	for (int i = 0; i < 8; i++)
		pages += (u32)__builtin_popcountll(l->mapped[i]);
	return LEAF + PAGE * pages;
}

static bool watch(struct leaf *l)
{
	u64 off = ram_offset(l->pde & PTE_ADDR);
	u32 unrest = off == ~0ull || l->large ? 0 : *frame_unrest((u32)(off >> PAGE_SHIFT));

	/* The entry that leads to a large page is all that there is to compare. */
	if (l->large)
		return false;
	l->score += cost(l);
	if (!contrary() && l->score < (PROTECT * SHADOW->roots + (SHADOW_COUNT->table_stores ? 0 : SITES)) << unrest)
		return false;
	l->score = 0;
	return true;
}

static bool unwatch(struct leaf *l, u32 writes)
{
	u8 *unrest = frame_unrest(l->table);

	if (!contrary() && writes * STORE < 2 * cost(l)) {
		if (*unrest && writes * STORE < cost(l) / 4)
			--*unrest;
		return false;
	}
	if (*unrest < UNREST_MAX)
		++*unrest;
	l->score = 0;
	return true;
}

/* The share of what went that came back, of 256: the mean of what was seen and what was believed before. */
static u32 reuse(struct leaf *l)
{
	u32 believed = l->reuse ? l->reuse : REUSE_UNKNOWN;

	if (!l->pieces)
		return believed;
	believed = (believed + MIN(256u * l->back / l->pieces, 255u)) / 2;
	l->reuse = (u8)MAX(believed, 1u);
	return believed;
}

static bool drop_whole(struct leaf *l, const u64 *gone, u32 n, u32 kept)
{
	bool whole = contrary();

	if (n < STRETCHES_MIN && !whole)
		return false;
	whole |= (u64)(n - 1) * UNMAP > (u64)kept * FAULT * reuse(l) / 256;
	l->pieces = (u16)(n + (whole ? kept : 0));
	l->back = 0;
	for (int i = 0; i < 8; i++)
		l->gone[i] = whole ? l->mapped[i] : gone[i];
	return whole;
}

const struct paging paging_auto = {
	.flush_user = leaves_compare_user, .watch = watch, .unwatch = unwatch, .drop_whole = drop_whole, .low = true, .intercepts = true,
};
