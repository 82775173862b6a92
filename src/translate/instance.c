/* SPDX-License-Identifier: MIT
 * Instances of user code pages: translations follow the bytes, not the address they are mapped at. */
#include "translate/targets.h"

#include "x86/layout.h"
#include "x86/emit.h"

bool instance_used(const struct instance *i, u32 user)
{
	for (u32 n = 0; n < MAX_USERS / 64; n++)
		if (n == user / 64 ? i->users[n] & ~BIT(user % 64) : i->users[n])
			return true;
	return false;
}

static struct instance *find(struct cache *k, u64 frame, u64 vp, u8 mode)
{
	for (u32 n = *frame_instances(frame); n; n = k->instances[n - 1].next)
		if (k->instances[n - 1].vp == vp && k->instances[n - 1].mode == mode)
			return &k->instances[n - 1];
	return NULL;
}

static struct instance *make(struct cache *k, u64 frame, u64 vp, u64 pa, u8 mode)
{
	u32 n = k->free_instances;
	struct instance *i;

	if (n)
		k->free_instances = k->instances[n - 1].next;
	else
		n = ++k->n_instances;
	i = &k->instances[n - 1];
	*i = (struct instance){ .vp = vp, .pa = pa & PAGE_MASK, .mode = mode, .next = *frame_instances(frame) };
	*frame_instances(frame) = n;
	return i;
}

static void insert(struct cache *k, struct instance *i, struct block *b)
{
	b->instance = (u32)(i - k->instances) + 1;
	b->instance_next = i->blocks;
	i->blocks = (u32)(b - k->blocks) + 1;
}

void instance_add(struct cache *k, struct block *b)
{
	u64 frame = frame_of(b->pa), vp = b->pc & PAGE_MASK;
	struct instance *i = find(k, frame, vp, b->mode);

	insert(k, i ? i : make(k, frame, vp, b->pa, b->mode), b);
}

/* Nobody leads to an instance that goes. */
static void forget_incoming(struct cache *k, struct instance *i)
{
	for (u32 n = i->incoming, next; n; n = next) {
		next = k->exits[n - 1].incoming;
		k->exits[n - 1].incoming = k->exits[n - 1].listed = 0;
	}
	i->incoming = 0;
}

/* It may have been in the list of another: a predicted target changes, a page is made anew. */
void instance_lead(struct cache *k, u32 exit, const struct block *to)
{
	struct exit_record *x = &k->exits[exit];
	u32 *link = x->listed ? &k->instances[x->listed - 1].incoming : NULL;

	x->linked = (u32)(to - k->blocks) + 1;
	k->blocks[x->block].flags |= BLOCK_LEADS;
	if (x->listed == to->instance)
		return;
	while (link && *link && *link != exit + 1)
		link = &k->exits[*link - 1].incoming;
	if (link && *link)
		*link = x->incoming;
	x->listed = to->instance;
	x->incoming = k->instances[to->instance - 1].incoming;
	k->instances[to->instance - 1].incoming = exit + 1;
}

void instance_drop_frame(struct cache *k, u64 frame)
{
	u32 n = *frame_instances(frame);

	*frame_instances(frame) = 0;
	while (n) {
		struct instance *i = &k->instances[n - 1];
		u32 next = i->next;

		for (u32 b = i->blocks; b; b = k->blocks[b - 1].instance_next)
			k->blocks[b - 1].instance = 0;
		i->vp = ~0ull;
		i->blocks = 0;
		forget_incoming(k, i);
		i->next = k->free_instances;
		k->free_instances = n;
		n = next;
	}
}

/* Above this every address that a page's code can name relative to itself takes the 64-bit encoding. */
#define MOVE_MIN 0x200000000ull

bool instance_can_move(u64 from, u64 to) { return from >= MOVE_MIN && to >= MOVE_MIN; }

static void add64(u8 *p, u64 delta)
{
	u64 v;

	__builtin_memcpy(&v, p, 8);
	v += delta;
	__builtin_memcpy(p, &v, 8);
}

/* The entry begins with the address (block_emit_entry()). */
static void move_stub(struct block *b, u64 delta)
{
	u8 *p = CODE_BASE + b->indirect;

	if (!b->indirect)
		return;
	if (p[1] != 0xb9) { /* not the 64-bit form: make another when needed */
		b->indirect = 0;
		return;
	}
	add64(p + 2, -delta);
}

/* Lets a link lead to its stub again. */
static void unlink_exit(struct cache *k, const struct block *b, struct exit_record *x)
{
	const struct reloc *r = &k->relocs[b->relocs];

	for (int i = 0; i < b->n_relocs; i++)
		if (r[i].kind == RL_HOT_COLD && b->host + r[i].at == x->patch)
			e_patch(CODE_BASE + x->patch, CODE_BASE + b->cold + r[i].target);
	x->linked = 0;
}

void block_move(struct cache *k, struct block *b, u64 delta)
{
	const struct reloc *r = &k->moves[b->moves];
	bool runs = !(b->flags & BLOCK_DEAD); /* else its head is a jump, and what lies behind it is never reached */

	b->pc += delta;
	if (!runs)
		b->origin = 0;
	for (int i = 0; runs && i < b->n_moves; i++)
		add64(CODE_BASE + b->host + r[i].at, delta);
	for (int i = 0; i < b->n_exits; i++) {
		struct exit_record *x = &k->exits[b->exits + (u32)i];

		x->target += delta;
		if (runs && x->linked == LINKED_BY_SLOT)
			unlink_exit(k, b, x);
	}
	move_stub(b, delta);
}

/* Moving pages is waiting for memory: the block after `b` is fetched, and what belongs to `b`. */
static void look_ahead(const struct cache *k, u32 b)
{
	const struct block *at = &k->blocks[b ? b - 1 : 0];

	__builtin_prefetch(&k->exits[at->exits]);
	__builtin_prefetch(&k->moves[at->moves]);
	__builtin_prefetch(CODE_BASE + at->host);
	if (at->instance_next) {
		__builtin_prefetch(&k->blocks[at->instance_next - 1]);
		__builtin_prefetch((const u8 *)&k->blocks[at->instance_next - 1] + 64);
	}
}

static bool move(struct cache *k, struct instance *i, u64 vp)
{
	u64 delta = vp - i->vp;

	for (u32 n = i->blocks; n; n = k->blocks[n - 1].instance_next) {
		struct block *b = &k->blocks[n - 1];

		look_ahead(k, b->instance_next);
		if (b->flags & BLOCK_FIXED)
			block_kill(k, b);
		block_move(k, b, delta);
	}
	i->vp = vp;
	k->stats.moved++;
	return true;
}

static void put32(u8 *p, u32 v) { __builtin_memcpy(p, &v, 4); }

/* The copy's exit gets a slot of the copied instance, which others of it may have. */
static void copy_slot(struct cache *k, const struct block *b, struct exit_record *x)
{
	u32 *known = slot_owner(k, b, x->target);

	if (*known) {
		x->patch = k->exits[*known - 1].patch;
		return;
	}
	*known = (u32)(x - k->exits) + 1;
	x->patch = k->n_slots++;
	k->slot_stub[x->patch] = 0;
}

#define STUB_NUMBER 8 /* bytes of a stub before the exit's number */

/* The stub of an exit: it is that of its slot as well, unless the slot has one. */
static void copy_stub(struct cache *k, const struct exit_record *x, const u8 *stub)
{
	if (x->kind != X_SLOT || k->slot_stub[x->patch])
		return;
	k->slot_stub[x->patch] = (u32)(stub - CODE_BASE);
	SLOTS[x->patch] = (u64)stub;
}

void block_own_slots(struct cache *k, struct block *b)
{
	const struct reloc *r = &k->relocs[b->relocs];

	for (int i = 0; i < b->n_exits; i++)
		if (k->exits[b->exits + (u32)i].kind == X_SLOT)
			copy_slot(k, b, &k->exits[b->exits + (u32)i]);
	for (int i = 0; i < b->n_relocs; i++) {
		u8 *p = CODE_BASE + (r[i].kind >= RL_COLD_FAR ? b->cold : b->host) + r[i].at;
		const struct exit_record *x = &k->exits[b->exits + r[i].exit];

		if (r[i].kind == RL_COLD_EXIT)
			copy_stub(k, x, p - STUB_NUMBER);
		else if (r[i].kind == RL_HOT_SLOT || r[i].kind == RL_COLD_SLOT)
			put32(p, (u32)(SLOT_DISP + 8 * (s32)x->patch));
	}
}

static struct block *copy_block(struct cache *k, const struct block *from, u64 delta)
{
	struct block *b = &k->blocks[k->n_blocks];
	u32 hot = from->host_end - from->host, cold = from->own_cold_end - from->cold;
	const struct reloc *r = &k->relocs[from->relocs];

	k->cold += (from->cold - k->cold) & 7;
	*b = *from;
	b->pc = from->pc + delta;
	b->indirect = 0;
	/* Where indirect branches went, they will. */
	block_place(k, b, from->host, from->indirect);
	b->host_end = b->host + hot;
	b->cold = k->cold;
	b->cold_end = b->own_cold_end = k->cold + cold;
	b->exits = k->n_exits;
	u8 *h = CODE_BASE + b->host, *c = CODE_BASE + b->cold;
	u32 hot_shift = b->host - from->host, cold_shift = b->cold - from->cold;

	__builtin_memcpy(h, CODE_BASE + from->host, hot);
	__builtin_memcpy(c, CODE_BASE + from->cold, cold);
	/* The dead stub may have been made a jump to a successor. */
	for (int i = 0; i < from->n_exits; i++) {
		struct exit_record *x = &k->exits[k->n_exits++];

		*x = k->exits[from->exits + (u32)i];
		x->target += delta;
		x->block = (u32)(b - k->blocks);
		x->linked = x->kind == X_LINK ? 0 : x->linked;
		x->listed = 0;
		if (x->kind == X_LINK) {
			x->patch += hot_shift;
		} else if (x->kind == X_SLOT) {
			copy_slot(k, b, x);
		}
	}
	for (int i = 0; i < from->n_relocs; i++) {
		u8 *p = (r[i].kind >= RL_COLD_FAR ? c : h) + r[i].at;
		u32 v, x = b->exits + r[i].exit;

		__builtin_memcpy(&v, p, 4);
		switch (r[i].kind) {
		/* Links may have been patched: a fresh one leads to its stub. */
		case RL_HOT_COLD: put32(p, (u32)(b->cold + r[i].target - (u32)(p - CODE_BASE) - 4)); break;
		case RL_HOT_FAR: put32(p, v - hot_shift); break;
		case RL_COLD_FAR: put32(p, v - cold_shift); break;
		case RL_COLD_EXIT: copy_stub(k, &k->exits[x], p - STUB_NUMBER); /* fall through */
		case RL_HOT_EXIT: put32(p, x); break;
		case RL_HOT_SLOT: case RL_COLD_SLOT: put32(p, (u32)(SLOT_DISP + 8 * (s32)k->exits[x].patch)); break;
		default: break;
		}
	}
	for (int i = 0; i < from->n_moves; i++)
		add64(h + k->moves[from->moves + (u32)i].at, delta);
	k->hot = b->host_end;
	k->cold = b->cold_end;
	__atomic_store_n(&k->n_blocks, k->n_blocks + 1, __ATOMIC_RELEASE);
	return b;
}

static bool copy(struct cache *k, struct instance *i, u64 vp)
{
	u64 delta = vp - i->vp;
	struct instance *to = make(k, frame_of(i->pa), vp, i->pa, i->mode);
	u32 first = k->n_blocks;

	i = find(k, frame_of(i->pa), vp - delta, to->mode);
	for (u32 n = i->blocks; n; n = k->blocks[n - 1].instance_next) {
		struct block *from = &k->blocks[n - 1], *b;

		from->copy = 0;
		if ((from->flags & (BLOCK_DEAD | BLOCK_SPANS | BLOCK_FIXED)) || cache_full(k))
			continue;
		b = copy_block(k, from, delta);
		from->copy = (u32)(b - k->blocks) + 1;
		b->copy = n;
	}
	for (u32 n = first; n < k->n_blocks; n++) {
		struct block *b = &k->blocks[n];
		const struct block *from = &k->blocks[b->copy - 1];

		for (u32 x = 0; x < b->n_exits; x++) {
			u32 linked = k->exits[from->exits + x].linked;

			if (k->exits[b->exits + x].kind != X_LINK || !linked || linked == LINKED_BY_SLOT || k->blocks[linked - 1].instance != from->instance || !k->blocks[linked - 1].copy ||
			    k->blocks[linked - 1].copy - 1 < first)
				continue;
			k->exits[b->exits + x].linked = k->blocks[linked - 1].copy;
			e_patch(CODE_BASE + k->exits[b->exits + x].patch,
				CODE_BASE + k->blocks[k->blocks[linked - 1].copy - 1].host);
		}
	}
	for (u32 n = first; n < k->n_blocks; n++) {
		struct block *b = &k->blocks[n];

		b->copy = 0;
		insert(k, to, b);
		block_register(k, b);
		frame_add_block(k, b);
	}
	k->stats.copied++;
	return k->n_blocks > first;
}

bool instance_adopt(struct cache *k, u64 pa, u64 pc, u8 mode)
{
	u64 frame = frame_of(pa), vp = pc & PAGE_MASK;
	struct instance *some = NULL;

	if (find(k, frame, vp, mode))
		return false;
	for (u32 n = *frame_instances(frame); n; n = k->instances[n - 1].next) {
		struct instance *i = &k->instances[n - 1];

		if (i->mode != mode || !i->blocks || !instance_can_move(i->vp, vp))
			continue;
		if (!instance_used(i, ~0u))
			return move(k, i, vp);
		some = i;
	}
	return some && copy(k, some, vp);
}
