/* SPDX-License-Identifier: MIT */
#include "translate/block.h"
#include "translate/store.h"

#include "x86/layout.h"
#include "translate/targets.h"
#include "x86/emit.h"

#define INDIRECT_STUB 64

/* As long as a jump; where others may run it, within eight aligned bytes and at once (B4).  It crosses them where nobody does:
 * env_killed_inside(). */
static void put_head(const struct cache *k, u8 *at, const u8 *head)
{
	u64 *word = (u64 *)((u64)at & ~7ull), v = *word;

	if (!cache_shared(k) || (EXEC && ((u64)at & 7) > 8 - ENTRY_JUMP)) {
		__builtin_memcpy(at, head, ENTRY_JUMP);
		return;
	}
	__builtin_memcpy((u8 *)&v + ((u64)at & 7), head, ENTRY_JUMP);
	__atomic_store_n(word, v, __ATOMIC_RELEASE);
}

static void put_jump(const struct cache *k, u8 *at, const u8 *target)
{
	s32 d = (s32)(target - (at + ENTRY_JUMP));
	u8 jump[ENTRY_JUMP] = { 0xe9 };

	__builtin_memcpy(jump + 1, &d, sizeof d);
	put_head(k, at, jump);
}

/* Not by virtual address: a block that moves stays in its chain. */
static u32 hash_key(u64 pa, u8 mode)
{
	u64 h = (pa ^ (u64)mode << 40) * 0xff51afd7ed558ccdull;

	return (u32)(h >> 40) & (HASH_SIZE - 1);
}

struct block *block_find(struct cache *k, u64 pa, u64 pc, u8 mode)
{
	u32 n = k->hash[hash_key(pa, mode)];

	while (n) {
		struct block *b = &k->blocks[n - 1];

		if (b->pa == pa && b->pc == pc && b->mode == mode)
			return b;
		n = b->hash_next;
	}
	return NULL;
}

void block_register(struct cache *k, struct block *b)
{
	u32 h = hash_key(b->pa, b->mode);

	b->hash_next = k->hash[h];
	/* Whoever finds it sees all of it. */
	__atomic_store_n(&k->hash[h], (u32)(b - k->blocks) + 1, __ATOMIC_RELEASE);
}

void block_unhash(struct cache *k, struct block *b)
{
	u32 *link = &k->hash[hash_key(b->pa, b->mode)];

	while (*link) {
		if (&k->blocks[*link - 1] == b) {
			*link = b->hash_next;
			return;
		}
		link = &k->blocks[*link - 1].hash_next;
	}
}

/* Blocks are made in the order of their host addresses, hot and cold parts alike. */
struct block *block_at_host(struct cache *k, u64 host)
{
	u64 off = host - (u64)CODE_BASE;
	bool cold = off >= CODE_SIZE / 2;
	u32 lo = 0, hi = k->n_blocks;

	if (off >= CODE_SIZE)
		return NULL;
	while (lo < hi) {
		u32 mid = (lo + hi) / 2;
		struct block *b = &k->blocks[mid];

		if (off >= (cold ? b->cold_end : b->host_end))
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == k->n_blocks)
		return NULL;
	if (off < (cold ? k->blocks[lo].cold : k->blocks[lo].host))
		return NULL;
	return &k->blocks[lo];
}

struct insn_record *block_record(struct cache *k, struct block *b, u64 host)
{
	u64 off = host - (u64)CODE_BASE - b->host;
	struct insn_record *r = &k->records[b->records];
	u32 lo = 0, hi = b->n_records;

	if (off >= b->host_end - b->host)
		return NULL;
	while (hi - lo > 1) {
		u32 mid = (lo + hi) / 2;

		if (r[mid].host <= off)
			lo = mid;
		else
			hi = mid;
	}
	return &r[lo];
}

void block_redirect(struct cache *k, struct block *from, const struct block *to)
{
	put_jump(k, CODE_BASE + from->host, CODE_BASE + to->host);
}

void block_kill(struct cache *k, struct block *b)
{
	if (b->flags & BLOCK_DEAD)
		return;
	block_unhash(k, b);
	b->flags |= BLOCK_DEAD;
	k->stats.killed++;
	/* The dead stub is the first thing in the cold part. */
	if (!(b->flags & BLOCK_COVERED))
		__builtin_memcpy(b->entry, CODE_BASE + b->host, sizeof b->entry);
	b->flags &= (u8)~BLOCK_COVERED;
	put_jump(k, CODE_BASE + b->host, CODE_BASE + b->cold);
}

void block_entry_restore(struct cache *k, struct block *b) { put_head(k, CODE_BASE + b->host, b->entry); }

void block_entry_kill(struct cache *k, struct block *b)
{
	if (b->flags & BLOCK_DEAD)
		put_jump(k, CODE_BASE + b->host, CODE_BASE + b->cold);
}

/* The same with other threads in mind: five bytes within eight aligned ones, or eight aligned ones (B4). */
void block_restore(struct cache *k, struct block *b)
{
	struct emit e = { NULL, NULL };
	u8 stub[16];
	u64 v;

	e.p = stub;
	e_store_gs_imm32(&e, (b->mode & TM_USER ? SPILL_U_DISP : SPILL_K_DISP) + SP_EXIT, b->exits);
	__builtin_memcpy(&v, stub, sizeof v);
	__atomic_store_n((u64 *)(CODE_BASE + b->cold), v, __ATOMIC_RELEASE);
	put_head(k, CODE_BASE + b->host, b->entry);
}

void block_kill_frame(struct cache *k, u64 frame)
{
	u32 n = frame_blocks(frame);

	frame_set_blocks(frame, 0);
	instance_drop_frame(k, frame);
	while (n) {
		struct frame_node *node = frame_node(n);
		struct block *b = &k->blocks[node->block];

		bool dormant = !EXEC && b->origin && !(b->flags & BLOCK_DEAD) && !(b->mode & TM_USER);

		block_kill(k, b);
		if (dormant)
			dormant_add(k, b);
		n = node->next;
		frame_node_free(node);
	}
}

void block_kill_site(struct cache *k, u64 frame, u64 pa)
{
	for (u32 n = frame_blocks(frame); n; n = frame_node(n)->next) {
		struct block *b = &k->blocks[frame_node(n)->block];

		if (pa - b->pa < b->guest_len || (b->flags & BLOCK_SPANS)) {
			block_kill(k, b);
			b->origin = 0; /* T4 */
		}
	}
}

void block_kill_page(struct cache *k, u64 frame, u64 page)
{
	for (u32 n = frame_blocks(frame); n; n = frame_node(n)->next) {
		struct block *b = &k->blocks[frame_node(n)->block];

		if (((b->pc ^ page) & PAGE_MASK) == 0 ||
		    ((b->flags & BLOCK_SPANS) && (((b->pc + PAGE_SIZE) ^ page) & PAGE_MASK) == 0))
			block_kill(k, b);
	}
}

/* Entered with the target of a branch in RCX, guest RCX and RDX in the spill page. */
static void kernel_entry(const struct cache *k, struct emit *e, u64 pc)
{
	u8 *over;

	e_mov_imm(e, RDX, -pc);
	e_lea_bi(e, RCX, RCX, RDX);
	e8(e, 0xe3); /* jrcxz */
	over = e->p;
	e8(e, 0);
	e_mov_imm(e, RDX, pc);
	e_lea_bi(e, RCX, RCX, RDX);
	/* block_entry_chain() changes where it leads (B4).  An entry is as long wherever it lies. */
	u8 *from = e->p;

	while (k->targets.smp && ((u64)e->p + 1) % 8 > 4)
		e8(e, 0x90);
	e_jmp(e, k->targets.lookup_miss_kernel);
	while (k->targets.smp && e->p < from + 8)
		e8(e, 0x90);
	*over = (u8)(e->p - over - 1);
	e_load_gs(e, RDX, SPILL_K_DISP + SP_REG + 8 * RDX);
	e_load_gs(e, RCX, SPILL_K_DISP + SP_REG + 8 * RCX);
}

/* Entered with the target in R11 and the guest's RCX in R10.  A match falls through where LOOP is fast, which
 * jumps where RCX is not one: a jump less in each return. */
static u8 *user_entry(const struct cache *k, struct emit *e, u64 key, const u8 *other)
{
	u8 *miss = e->p, *start, *over;

	if (k->targets.loop_is_fast)
		e_jmp(e, other);
	start = e->p;
	e_mov_imm(e, RCX, k->targets.loop_is_fast - key);
	e_lea_bi(e, RCX, RCX, R11);
	e8(e, k->targets.loop_is_fast ? 0xe2 : 0xe3);
	over = e->p;
	e8(e, (u8)(miss - over - 1));
	if (!k->targets.loop_is_fast) {
		e_jmp(e, other);
		*over = (u8)(e->p - over - 1);
	}
	e_mov_rr(e, RCX, R10);
	return start;
}

u8 *block_emit_entry(const struct cache *k, struct emit *e, const struct block *b)
{
	const u8 *other = b->mode & TM_GUARDED ? k->targets.lookup_miss_user : k->targets.lookup_second;
	u8 *start = e->p;

	if (b->mode & TM_USER)
		return user_entry(k, e, b->pc | (b->mode & TM_COMPAT ? COMPAT_KEY : 0), other);
	kernel_entry(k, e, b->pc);
	return start;
}

u64 block_indirect_entry(struct cache *k, struct block *b)
{
	struct emit e = { CODE_BASE + k->cold, NULL };

	if (b->indirect)
		return (u64)CODE_BASE + b->indirect;
	if (k->cold + INDIRECT_STUB > k->limit_cold)
		return 0;
	u32 start = (u32)(block_emit_entry(k, &e, b) - CODE_BASE);

	e_jmp(&e, CODE_BASE + b->host);
	k->cold = (u32)(e.p - CODE_BASE);
	b->indirect = start; /* others may jump there from now on */
	/* The stub belongs to the cold part of the newest block, which keeps those parts contiguous. */
	k->blocks[k->n_blocks - 1].cold_end = k->cold;
	return (u64)CODE_BASE + b->indirect;
}

/* Branches of one instance to one target share a slot: in every carrier they lead to the same block. */
u32 *slot_owner(struct cache *k, const struct block *b, u64 target)
{
	u64 h = (target ^ (b->pc & PAGE_MASK) << 17 ^ (b->pa & PAGE_MASK)) * 0x9e3779b97f4a7c15ull;
	u32 *at = &k->slot_owners[h >> 40 & (SLOT_OWNERS - 1)];

	if (!*at || *at > k->n_exits)
		return *at = 0, at;
	const struct exit_record *x = &k->exits[*at - 1];
	const struct block *owner = &k->blocks[x->block];

	if (x->kind != X_SLOT || x->target != target || ((owner->pc ^ b->pc) & PAGE_MASK) || ((owner->pa ^ b->pa) & PAGE_MASK) ||
	    owner->mode != b->mode || (owner->flags & BLOCK_DEAD))
		*at = 0;
	return at;
}

/* Bytes of a mov rdx, imm of e_mov_imm(). */
static int imm_length(const u8 *p) { return *p == 0xba ? 5 : p[1] == 0xba ? 10 : 7; }

/* The displacement of the jump that an entry of a kernel block takes for another target. */
static u8 *entry_miss(u64 entry)
{
	u8 *p = (u8 *)entry;

	p += imm_length(p) + 5 + 2; /* lea rcx, [rcx + rdx]; jrcxz */
	p += imm_length(p) + 5;
	while (*p == 0x90)
		p++;
	return p + 1;
}

static u64 entry_next(u64 entry)
{
	s32 d;

	__builtin_memcpy(&d, entry_miss(entry), sizeof d);
	return (u64)(entry_miss(entry) + 4) + (u64)(s64)d;
}

#define CHAIN_MAX 4 /* entries with one place in the table */

u64 block_entry_chain(struct cache *k, u64 entry, u64 others)
{
	u64 none = (u64)k->targets.lookup_miss_kernel;
	int n = 1;

	for (u64 at = others; at != none; at = entry_next(at), n++)
		if (at == entry)
			return others;
	if (n > CHAIN_MAX)
		others = none;
	e_patch(entry_miss(entry), (const u8 *)others);
	return entry;
}

/* A jump through a slot of its own, for a link that may not be direct (B1). */
static const u8 *slot_jump(struct cache *k, const struct exit_record *x)
{
	struct emit e = { CODE_BASE + k->cold, NULL };
	u32 slot, n;

	if (cache_full(k))
		return NULL;
	slot = k->n_slots++;
	n = k->n_exits++;
	e_jmp_gs(&e, SLOT_DISP + 8 * (s32)slot);
	k->slot_stub[slot] = (u32)(e.p - CODE_BASE);
	k->exits[n] = (struct exit_record){ .target = x->target, .block = x->block, .patch = slot, .kind = X_SLOT };
	e_store_gs_imm32(&e, SPILL_U_DISP + SP_EXIT, n);
	e_jmp(&e, k->targets.exit_user);
	/* The first use fills it, and lists it as filled. */
	SLOTS[slot] = (u64)CODE_BASE + k->slot_stub[slot];
	const u8 *start = CODE_BASE + k->cold;

	k->cold = (u32)(e.p - CODE_BASE);
	k->blocks[k->n_blocks - 1].cold_end = k->cold;
	return start;
}

void block_link(struct cache *k, u32 exit, struct block *to)
{
	struct exit_record *x = &k->exits[exit];
	struct block *from = &k->blocks[x->block];
	const u8 *target = CODE_BASE + to->host;

	if (from->flags & BLOCK_DEAD)
		return;
	if (!EXEC && (to->mode & TM_USER) && (to->flags & BLOCK_SPANS))
		target = slot_jump(k, x);
	if (!target)
		return;
	e_patch(CODE_BASE + x->patch, target);
	x->linked = (to->mode & TM_USER) && (to->flags & BLOCK_SPANS) ? LINKED_BY_SLOT : (u32)(to - k->blocks) + 1;
}

bool block_begins_with_swapgs(const struct block *b) { return b->flags & BLOCK_SWAPGS; }

void block_forward(struct cache *k, struct block *from, struct block *to)
{
	/* A user block stands for its own physical page only; a kernel page is the same everywhere. */
	if (from == to || !(from->flags & BLOCK_DEAD) || from->mode != to->mode || from->pc != to->pc || (to->flags & BLOCK_DEAD) ||
	    (!EXEC && (to->mode & TM_USER) && (from->pa != to->pa || (to->flags & BLOCK_SPANS))))
		return;
	put_jump(k, CODE_BASE + from->cold, CODE_BASE + to->host);
}

bool cache_full(const struct cache *k)
{
	return k->n_blocks + 2 > MAX_BLOCKS || k->n_records + 4 * BLOCK_INSNS > MAX_RECORDS ||
	       k->n_exits + 4 * BLOCK_INSNS > MAX_EXITS ||
	       k->n_relocs + 8 * BLOCK_INSNS > MAX_RELOCS || k->n_moves + 4 * BLOCK_INSNS > MAX_MOVES || k->n_instances + 2 > MAX_INSTANCES || k->n_slots + 2 * BLOCK_INSNS > SLOT_MAX ||
	       k->hot + BLOCK_INSNS * 256 > k->limit_hot || k->cold + BLOCK_INSNS * 256 > k->limit_cold;
}

void cache_flush(struct cache *k)
{
	__builtin_memset(k->hash, 0, sizeof k->hash);
	k->n_blocks = k->n_records = k->n_exits = k->n_slots = k->n_relocs = k->n_moves = 0;
	k->n_instances = k->free_instances = 0;
	__builtin_memset(k->dormant, 0, sizeof k->dormant);
	__builtin_memset(k->page_last, 0, sizeof k->page_last);
	k->n_sources = 0;
	k->hot = 0;
	k->cold = CODE_SIZE / 2;
	k->generation++;
	k->stats.flushes++;
}

void cache_init(struct cache *k)
{
	cache_flush(k);
	k->stats.flushes = 0;
	k->limit_hot = CODE_SIZE / 2;
	k->limit_cold = CODE_SIZE;
	k->max_insns = BLOCK_INSNS;
}

bool site_is_both(struct cache *k, u64 pa)
{
	u32 h = (u32)(pa * 0x9e3779b97f4a7c15ull >> 48);

	for (u32 i = 0; i < 16; i++) {
		u64 s = k->sites[(h + i) & (SITE_SIZE - 1)];

		if (s == pa + 1)
			return true;
		if (!s)
			return false;
	}
	return false;
}

#define SITE_NONE (~0ull) /* was one */

void site_clear(struct cache *k, u64 pa)
{
	u32 h = (u32)(pa * 0x9e3779b97f4a7c15ull >> 48);

	for (u32 i = 0; i < 16; i++)
		if (k->sites[(h + i) & (SITE_SIZE - 1)] == pa + 1)
			k->sites[(h + i) & (SITE_SIZE - 1)] = SITE_NONE;
}

void site_set_both(struct cache *k, u64 pa)
{
	u32 h = (u32)(pa * 0x9e3779b97f4a7c15ull >> 48);

	if (site_is_both(k, pa))
		return;
	for (u32 i = 0; i < 16; i++) {
		u64 *s = &k->sites[(h + i) & (SITE_SIZE - 1)];

		if (!*s || *s == SITE_NONE) {
			*s = pa + 1;
			return;
		}
	}
	/* The neighbourhood is full: forget an old site; it will fault once and come back. */
	k->sites[h & (SITE_SIZE - 1)] = pa + 1;
}
