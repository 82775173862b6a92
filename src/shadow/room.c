/* SPDX-License-Identifier: MIT
 * Room for mappings: a host process has a limited number of them (vm.max_map_count), and a carrier a limited number of
 * leaves.
 *
 * Mappings are counted as they are made, which is too many, and exactly when the budget seems to be spent.  Leaves then
 * give way by chance: nothing tells which ones are in use, and where a guest goes through more memory than there is room for
 * again and again, the oldest is the very one that it needs next.
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"

#define EVICT_PART 16 /* of the budget is made free at once */
#define LEAVES_LEAST 8 /* stay: an instruction needs several pages at one time, and nothing else would run again and again */

static u32 leaf_vmas(const struct leaf *l)
{
	u64 next = ~0ull; /* entry that would go on with the mapping */
	u32 n = 0;

	if (l->large)
		return l->mapped[0] != 0;
	for (int word = 0; word < 8; word++) {
		if (!l->mapped[word]) {
			next = ~0ull;
			continue;
		}
		for (int at = word * 64; at < word * 64 + 64; at++) {
			u64 e = (l->snap[at] & PTE_ADDR) | BITTEST(l->writable, at);

			n += BITTEST(l->mapped, at) && e != next;
			next = BITTEST(l->mapped, at) ? e + PAGE_SIZE : ~0ull;
		}
	}
	return n;
}

/* A run is split where flagged pages begin and end. */
static u32 run_vmas(const struct run *r)
{
	u64 f = ram_offset(r->pa) >> PAGE_SHIFT, pages = r->length >> PAGE_SHIFT;
	bool before = frame_flags(f);
	u32 n = 1;

	for (u64 i = 1; r->writable && i < pages; i++) {
		bool flagged = frame_flags(f + i);

		n += flagged != before;
		before = flagged;
		/* Most of memory has no code, and no tables. */
		while (!flagged && !((f + i + 1) & 7) && i + 8 < pages && !frame_flags_of_8(f + i + 1))
			i += 8;
	}
	return n;
}

static u32 count(void)
{
	u32 n = 0;

	for (u32 i = 0; i < S->n_runs; i++)
		n += run_vmas(&S->runs[i]);
	for (u32 i = 0; i < S->n_leaves; i++) {
		struct leaf *l = &S->leaves[i];

		if (l->va == ~0ull)
			continue;
		l->vmas = (u16)leaf_vmas(l);
		n += l->vmas;
	}
	return n;
}

u32 space_vmas(void) { return count(); }

static bool holds_code(const struct leaf *l)
{
	u64 any = 0;

	for (int i = 0; i < 8; i++)
		any |= l->exec[i];
	return any;
}

/* xorshift, over the leaves that there are */
static struct leaf *any_leaf(void)
{
	S->dice ^= S->dice << 13;
	S->dice ^= S->dice >> 17;
	S->dice ^= S->dice << 5;
	return &S->leaves[S->dice % S->n_leaves];
}

#define TRIES 64
#define TRIES_CODE 48 /* of them that spare code */

void room_evict(void)
{
	S->dice |= 1;
	for (int i = 0; i < TRIES; i++) {
		struct leaf *l = any_leaf();

		if (l->va == ~0ull || (holds_code(l) && i < TRIES_CODE))
			continue;
		leaf_unmap(l);
		leaf_drop(l);
		SHADOW_COUNT->evicted++;
		S->soft_pressed = SHADOW_COUNT->fills + SHADOW->vma_budget;
		return;
	}
}

bool space_pressed(void) { return SHADOW_COUNT->fills < S->soft_pressed; }

void room_make(void)
{
	u32 budget = SHADOW->vma_budget, least = budget - budget / EVICT_PART, leaves = 0;

	if (S->vmas < budget)
		return;
	S->vmas = count();
	for (u32 i = 0; i < S->n_leaves; i++)
		leaves += S->leaves[i].va != ~0ull;
	for (; leaves > LEAVES_LEAST && S->vmas > least; leaves--)
		room_evict();
}
