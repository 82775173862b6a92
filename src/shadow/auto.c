/* SPDX-License-Identifier: MIT
 * Maintainer `auto`: chooses for each of the guest's tables whether its writes are recorded.
 *
 *   loose --(compared for longer than watching it costs)--> watched
 *     ^ \------(written so often that comparing is cheaper)---/
 *
 * A loose leaf costs each flush about PAGE cycles a page that it maps.  To watch a table costs each carrier that runs again
 * PROTECT cycles, once, for taking write permission from it, and each write STORE cycles; a flush then costs nothing.
 * What comparing a leaf has cost is summed up, and when it has cost as much as watching would have, it is watched: so it never
 * costs more than twice what the better choice in hindsight would have.  A table that was given up because of its
 * writes has to earn it twice as long the next time, up to 2^UNREST_MAX times; each time that it pays takes one back.
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"
#include "shadow/paging.h"

#define LEAF 100      /* cycles: finding the table of a leaf */
#define PAGE 6
#define PROTECT 9000
#define STORE 150
#define UNREST_MAX 6

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

	l->score += cost(l);
	if (l->score < (PROTECT * SHADOW->roots) << unrest)
		return false;
	l->score = 0;
	return true;
}

static bool unwatch(struct leaf *l, u32 writes)
{
	u8 *unrest = frame_unrest(l->table);

	if (writes * STORE < 2 * cost(l)) {
		if (*unrest && writes * STORE < cost(l) / 4)
			--*unrest;
		return false;
	}
	if (*unrest < UNREST_MAX)
		++*unrest;
	l->score = 0;
	return true;
}

const struct paging paging_auto = {
	.flush_user = leaves_compare_user, .watch = watch, .unwatch = unwatch, .intercepts = true,
};
