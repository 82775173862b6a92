/* SPDX-License-Identifier: MIT */
#include "translate/store.h"

#include "translate/targets.h"
#include "x86/emit.h"

static u8 state_of(const struct translate_request *r)
{
	return (u8)((r->fsgsbase ? STORE_FSGSBASE : 0) | (r->rdtsc_exits ? STORE_RDTSC_EXITS : 0));
}

static const u8 *source(const struct cache *k, const struct block *b) { return k->sources + b->origin; }

/* Blocks of one page form a ring, newest last. */
static void ring_add(struct cache *k, struct block *b)
{
	u32 n = (u32)(b - k->blocks) + 1, *last = &k->page_last[(b->pc >> PAGE_SHIFT) % ARRAY_SIZE(k->page_last)];
	struct block *before = *last ? &k->blocks[*last - 1] : NULL;

	b->ring = n;
	if (before && before->mode == b->mode && !((before->pc ^ b->pc) & PAGE_MASK)) {
		b->ring = before->ring;
		before->ring = n;
	}
	*last = n;
}

u8 *store_note(struct cache *k, struct block *b, const struct translate_request *r)
{
	u32 at = k->n_sources, n = 1u + b->guest_len;

	if (!store_mode(b->mode) || (b->flags & BLOCK_SPANS) || n > STORE_SOURCES - at)
		return NULL;
	k->sources[at] = state_of(r);
	b->origin = at + 1;
	k->n_sources = at + n;
	if (!(b->mode & TM_USER))
		ring_add(k, b);
	return k->sources + at + 1;
}

static u32 *chain_of(struct cache *k, const struct block *b)
{
	return &k->dormant[dormant_chain(b->pc, b->mode, *source(k, b))];
}

void dormant_add(struct cache *k, struct block *b)
{
	u32 *head = chain_of(k, b);

	b->hash_next = *head;
	*head = (u32)(b - k->blocks) + 1;
	b->rest |= REST_DORMANT;
}

static void dormant_remove(struct cache *k, const struct block *b)
{
	u32 *link = chain_of(k, b);

	while (&k->blocks[*link - 1] != b)
		link = &k->blocks[*link - 1].hash_next;
	*link = b->hash_next;
}

/* Whether the block, dormant, may stand for the code at `pc`, whose bytes are at `bytes` (T1 to T3). */
static bool fits(const struct cache *k, const struct block *b, const struct translate_request *r, u64 pc, const u8 *bytes)
{
	u64 pa = (r->pa & PAGE_MASK) | (pc & ~PAGE_MASK);

	if (!(b->rest & REST_DORMANT) || b->mode != r->mode || source(k, b)[-1] != state_of(r))
		return false;
	if (((b->pc ^ pc) & ~PAGE_MASK) || b->guest_len > PAGE_SIZE - (pc & ~PAGE_MASK))
		return false;
	if (!(b->rest & REST_FRESH) && (b->pa != pa || (b->mode & TM_USER)))
		return false;
	if (b->pc != pc && ((b->flags & BLOCK_FIXED) || !instance_can_move(b->pc & PAGE_MASK, pc & PAGE_MASK)))
		return false;
	return same_bytes(source(k, b), bytes, b->guest_len);
}

static void revive(struct cache *k, struct block *b, u64 pc, u64 pa)
{
	bool fresh = b->rest & REST_FRESH;

	dormant_remove(k, b);
	block_restore(k, b);
	b->flags &= (u8)~BLOCK_DEAD;
	b->rest = 0;
	if (b->pc != pc)
		block_move(k, b, pc - b->pc);
	b->pa = pa;
	if (b->mode & TM_USER)
		block_own_slots(k, b);
	block_publish(k, b);
	if (fresh && b->indirect)
		block_known(b);
	k->stats.revived++;
}

/* What else of the page is as it was comes with it: most of it will run. */
static void revive_page(struct cache *k, const struct block *first, const struct translate_request *r)
{
	const u8 *page = r->bytes - (r->pc & ~PAGE_MASK);
	u64 pa = r->pa & PAGE_MASK;

	for (struct block *b = &k->blocks[first->ring - 1]; b != first; b = &k->blocks[b->ring - 1]) {
		u64 at = b->pc & ~PAGE_MASK;

		if (fits(k, b, r, b->pc, page + at))
			revive(k, b, b->pc, pa | at);
	}
}

struct block *dormant_find(struct cache *k, const struct translate_request *r)
{
	if (!k->sources || !store_mode(r->mode) || cache_full(k))
		return NULL;
	for (u32 n = k->dormant[dormant_chain(r->pc, r->mode, *r->bytes)]; n; n = k->blocks[n - 1].hash_next) {
		struct block *b = &k->blocks[n - 1];

		if ((!(r->mode & TM_USER) && b->pc != r->pc) || !fits(k, b, r, r->pc, r->bytes))
			continue;
		revive(k, b, r->pc, r->pa);
		if (!(r->mode & TM_USER))
			revive_page(k, b, r);
		return b;
	}
	return NULL;
}

void cache_restore(struct cache *k, const struct store_head *h)
{
	if (!same_targets(&h->targets, &k->targets) || h->max_insns != k->max_insns ||
	    h->used[STORE_hot] > k->limit_hot || CODE_SIZE / 2 + h->used[STORE_cold] > k->limit_cold)
		return;
	k->n_blocks = h->used[STORE_blocks];
	k->n_records = h->used[STORE_records];
	k->n_exits = h->used[STORE_exits];
	k->n_relocs = h->used[STORE_relocs];
	k->n_moves = h->used[STORE_moves];
	k->n_sources = h->used[STORE_sources];
	k->hot = h->used[STORE_hot];
	k->cold = CODE_SIZE / 2 + h->used[STORE_cold];
	for (u32 n = 0; n < k->n_blocks; n++) {
		struct block *b = &k->blocks[n];

		if (!b->origin)
			continue;
		dormant_add(k, b);
		if (!(b->mode & TM_USER))
			ring_add(k, b);
	}
	k->stats.restored = k->n_blocks;
}
