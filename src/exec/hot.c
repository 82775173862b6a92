/* SPDX-License-Identifier: MIT
 * The hot tier in `penumbra exec`: finds what is hot, records how it runs, and puts regions (src/optimise) in
 * the place of blocks.
 *
 *	branch back or exit of a region --linked--> counting stub --many times--> hot_promote()
 *	    --> the thread runs in blocks of one instruction, hot_step() notes each address
 *	    --> build(): the block at the head becomes a jump to the region
 *
 * A region is a block with BLOCK_REGION: found, linked, killed and forwarded like any other; records of its host
 * code are the optimiser's.  Everything here needs code_lock. */
#include "exec/exec.h"
#include "exec/hot.h"
#include "optimise/optimise.h"
#include "translate/internal.h"
#include "translate/targets.h"
#include "x86/emit.h"

#define COUNTERS 32768
#define COUNT_FULL 0x10000u /* the count runs down to just below this: its third byte says so, 1 or 0 */
#define COUNT_MAX 0xffffu
#define TRACE 1500
/* By then the head was seen so often, or few addresses all the time; else it is no loop that would pay. */
#define TRACE_LOOK 300
#define TRACE_VISITS 3
#define TRACE_DISTINCT 130
#define GAIN 130 /* bytes of host code for 100 of guest code along the trace, at most */
#define SAVES 30 /* instructions for each time that flags are saved, at least */
#define SMALL 64 /* instructions for which room does not matter */
#define HOT_ROOM 0x20000
#define COLD_ROOM 0x20000
#define MAX_REGIONS 8192
#define ARENA (256ull << 20)

/* On data pages, away from code: the processor would take a write for a change of code. */
struct counter { u32 count, stub; u64 to[2]; u32 exits; /* first that leads to the stub, number + 1 */ };
static struct counter counters[COUNTERS];
static u32 n_counters;

static struct {
	struct thread *owner;
	u64 head;
	s64 frame;
	u32 n, visits, distinct;
	u64 seen[64];        /* one bit for the hash of each address */
	u64 pcs[TRACE];
} recorder;

static struct hot_region regions[MAX_REGIONS];
static u32 n_regions;
static struct optimiser *optimiser;
static u8 *arena;
static u64 arena_used;
struct hot_stats hot_stats;

/* ---- counting ---- */

static void cold_done(struct emit *e)
{
	struct cache *k = CACHE;

	k->cold = k->blocks[k->n_blocks - 1].cold_end = (u32)(e->p - CODE_BASE);
}

static u32 exit_stub(struct emit *e, enum exit_kind kind, u64 target, u32 block, u32 patch)
{
	struct cache *k = CACHE;
	u32 n = k->n_exits++;

	k->exits[n] = (struct exit_record){ .target = target, .block = block, .patch = patch, .kind = (u8)kind };
	e_store_gs_imm32(e, SPILL_U_DISP + SP_EXIT, n);
	e_jmp(e, exit_user);
	return n;
}

/* mov [absolute], r11d, or the other way */
static void counter_move(struct emit *e, u8 op, const void *at)
{
	e8(e, 0x44); e8(e, op); e8(e, 0x1c); e8(e, 0x25);
	e32(e, (u32)(u64)at);
}

/* A stub that counts the ways to b and leaves for hot_promote() at the last one.  Flags are kept:
 *
 *	count--;  r11 = third byte of count;  jmp [to + r11 * 8]
 */
static bool counter_make(struct block *b)
{
	struct cache *k = CACHE;
	struct emit e = { CODE_BASE + k->cold, NULL };
	struct counter *c = &counters[n_counters];

	if (n_counters == COUNTERS || k->cold + 4096 > k->limit_cold || k->n_exits + 64 > MAX_EXITS)
		return false;
	c->to[1] = block_host(b);
	c->to[0] = (u64)e.p;
	exit_stub(&e, X_GO, b->pc, (u32)(b - k->blocks), 0);
	while ((u64)e.p & 7)
		e8(&e, 0x90);
	c->stub = (u32)(e.p - CODE_BASE);
	counter_move(&e, 0x8b, &c->count);
	e8(&e, 0x45); e8(&e, 0x8d); e8(&e, 0x5b); e8(&e, 0xff); /* lea r11d, [r11 - 1] */
	counter_move(&e, 0x89, &c->count);
	e8(&e, 0x44); e8(&e, 0x0f); e8(&e, 0xb6); e8(&e, 0x1c); e8(&e, 0x25); /* movzx r11d, byte [count + 2] */
	e32(&e, (u32)(u64)&c->count + 2);
	e8(&e, 0x42); e8(&e, 0xff); e8(&e, 0x24); e8(&e, 0xdd); /* jmp [to + r11 * 8] */
	e32(&e, (u32)(u64)c->to);
	c->count = COUNT_FULL + MIN(options.count, COUNT_MAX);
	c->exits = 0;
	cold_done(&e);
	b->instance = ++n_counters;
	return true;
}

/* The stub becomes a jump, and what was linked to it leads straight on. */
static void counter_end(struct block *b, const struct block *to)
{
	struct counter *c;

	if (!b->instance)
		return;
	c = &counters[b->instance - 1];
	c->count = COUNT_FULL + COUNT_MAX;
	code_put_jump(c->stub, CODE_BASE + to->host);
	c->to[1] = block_host(to);
	for (u32 n = c->exits; n; n = CACHE->exits[n - 1].incoming) {
		const struct exit_record *x = &CACHE->exits[n - 1];

		if (!(CACHE->blocks[x->block].flags & BLOCK_DEAD))
			e_patch(CODE_BASE + x->patch, CODE_BASE + to->host);
	}
	c->exits = 0;
}

static bool counted(const struct block *b)
{
	return options.tier >= 2 && b->mode == TM_USER && !(b->flags & (BLOCK_REGION | BLOCK_COOL));
}

void hot_linked(u32 exit, struct block *b)
{
	struct exit_record *x = &CACHE->exits[exit];
	const struct block *from = &CACHE->blocks[x->block];

	if (!counted(b) || !x->linked || (from->mode & TM_STEP))
		return;
	if (!(from->flags & BLOCK_REGION) && b->pc >= from->pc + from->guest_len)
		return;
	if (!b->instance && !counter_make(b))
		return;
	struct counter *c = &counters[b->instance - 1];

	e_patch(CODE_BASE + x->patch, CODE_BASE + c->stub);
	if (!x->listed) {
		x->listed = true;
		x->incoming = c->exits;
		c->exits = exit + 1;
	}
}

/* Whether the bytes before pc are a call: then an indirect branch to it is a return, and no new beginning. */
static bool after_call(u64 pc)
{
	u8 b[7];

	if (guest_copy(b, (const void *)(pc - 7), 7))
		return false;
	if (b[2] == 0xe8 || (b[5] == 0xff && (b[6] & 0xf8) == 0xd0) || (b[1] == 0xff && (b[2] == 0x15 || (b[2] & 0xf8) == 0x90)))
		return true;
	return (b[4] == 0xff && (b[5] & 0xf8) == 0x50) || (b[3] == 0xff && b[4] == 0x54) || (b[0] == 0xff && b[1] == 0x94) ||
	       (b[5] == 0xff && (b[6] & 0xf8) == 0x10);
}

u64 hot_target(struct block *b)
{
	if (!counted(b) || after_call(b->pc) || (!b->instance && !counter_make(b)))
		return block_host(b);
	return (u64)CODE_BASE + counters[b->instance - 1].stub;
}

/* ---- recording ---- */

void hot_promote(struct thread *th, u32 block)
{
	struct block *b = &CACHE->blocks[block];

	if (!b->instance)
		return;
	if (b->flags & BLOCK_DEAD) { /* to its successor, from now on without counting; a count must not run on */
		struct siginfo info;
		u32 generation = CACHE->generation;
		struct block *next = code_lookup_mode(b->pc, TM_USER, &info);

		if (next && generation == CACHE->generation)
			counter_end(b, next);
		return;
	}
	if (recorder.owner || n_regions == MAX_REGIONS) {
		counters[b->instance - 1].count = COUNT_FULL + MIN(options.count, COUNT_MAX);
		return;
	}
	counters[b->instance - 1].count = COUNT_FULL + MIN(3 * options.count, COUNT_MAX);
	recorder.owner = th;
	recorder.head = th->rip;
	recorder.frame = (s64)(th->gpr[RBP] - th->gpr[RSP]);
	recorder.n = recorder.visits = recorder.distinct = 0;
	__builtin_memset(recorder.seen, 0, sizeof recorder.seen);
	hot_stats.recorded++;
}

bool hot_recording(const struct thread *th) { return unlikely(recorder.owner == th); }

void hot_forget(const struct thread *th, bool only)
{
	if ((recorder.owner == th) == only)
		recorder.owner = NULL;
}

/* ---- building ---- */

static const u8 *fetch(void *ctx, u64 pc, size_t *have)
{
	(void)ctx;
	if (!memory_find(pc & PAGE_MASK))
		return NULL;
	memory_watch(pc & PAGE_MASK); /* before the bytes are read */
	*have = PAGE_SIZE - (pc & ~PAGE_MASK);
	return (const u8 *)pc;
}

static bool prepare(void)
{
	s64 a, b;

	if (arena)
		return true;
	a = host_mmap(0, ALIGN_UP(optimiser_size(), PAGE_SIZE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b = host_mmap(0, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a < 0 || b < 0)
		return false;
	optimiser = (struct optimiser *)a;
	arena = (u8 *)b;
	return true;
}

/* What a region is good for: it follows calls, or stays inside for long. */
static bool worth(const struct opt_region *g)
{
	u32 stay = g->covered / MAX(g->entries, 1u);

	if (g->n_insns > SMALL && g->host_weight * 100 > g->guest_weight * GAIN)
		return false;
	if (g->saves * SAVES > g->covered)
		return false;
	return g->covered > 3 * g->n_insns && (stay >= 60 || (g->n_calls && stay >= 12));
}

/* The optimiser's exits become links, and its way out for another frame a jump to a plain translation. */
static void direct_exits(struct block *b, const struct opt_region *g, const struct block *plain, struct emit *cold)
{
	u32 number = (u32)(b - CACHE->blocks);

	for (u32 i = 0; i < g->n_exits; i++) {
		u8 *at = g->exits[i].at;

		if (g->exits[i].plain) {
			e_patch(at, CODE_BASE + plain->host);
			continue;
		}
		e_patch(at, cold->p);
		exit_stub(cold, X_LINK, g->exits[i].pc, number, (u32)(at - CODE_BASE));
	}
}

static void note_pages(struct block *b, const struct opt_region *g)
{
	u64 last = ~0ull;

	for (u32 i = 0; i < g->n_sources; i++)
		for (u64 p = g->sources[i].start & PAGE_MASK; p < g->sources[i].end; p += PAGE_SIZE)
			if (p != last) {
				frame_add(p >> PAGE_SHIFT, (u32)(b - CACHE->blocks));
				last = p;
			}
}

static void install(struct block *old, struct block *b, struct opt_region *g, const struct block *plain, struct emit *cold)
{
	struct cache *k = CACHE;

	region_keep(g, arena + arena_used);
	arena_used += ALIGN_UP(region_size(g), 64);
	direct_exits(b, g, plain, cold);
	b->records = n_regions;
	regions[n_regions++] = (struct hot_region){ .region = *g };
	k->n_blocks++;
	b->n_exits = (u16)(k->n_exits - b->exits);
	b->host_end = k->hot = (u32)(g->code_end - CODE_BASE);
	b->cold_end = b->own_cold_end = k->cold = (u32)(cold->p - CODE_BASE);
	block_kill(k, old);
	block_redirect(old, b);
	block_register(k, b);
	note_pages(b, g);
	counter_end(old, b);
	if (code_is_target(b->pc))
		code_enter_target(b->pc, block_host(b));
	hot_stats.regions++;
	hot_stats.guest_insns += g->n_insns;
	hot_stats.bytes += (u64)(g->code_end - g->code);
}

static void decline(struct block *b)
{
	hot_stats.declined++;
	b->flags |= BLOCK_COOL;
	counter_end(b, b);
}

static void build(void)
{
	struct cache *k = CACHE;
	u32 generation = k->generation;
	struct siginfo info;
	struct block *old = code_lookup_mode(recorder.head, TM_USER, &info), *plain;
	struct opt_region g;
	struct emit cold;

	if (!old || (old->flags & BLOCK_REGION) || !prepare())
		return;
	plain = code_lookup_mode(recorder.head, TM_USER | TM_PLAIN, &info);
	if (!plain || generation != k->generation || k->hot + HOT_ROOM + 64 > k->limit_hot || k->cold + COLD_ROOM + 32768 > k->limit_cold ||
	    k->n_exits + 2048 > MAX_EXITS || arena_used + (1 << 20) > ARENA || k->n_blocks + 2 > MAX_BLOCKS || !code_has_room(2048))
		return;
	struct block *b = &k->blocks[k->n_blocks];
	u32 exits = k->n_exits;

	k->cold = ALIGN_UP(k->cold, 8u);
	*b = (struct block){
		.pc = recorder.head, .pa = recorder.head, .host = (u32)ALIGN_UP(k->hot, 64), .cold = k->cold, .mode = TM_USER,
		.flags = BLOCK_REGION, .exits = exits, .guest_len = 1,
	};
	cold.p = CODE_BASE + k->cold;
	exit_stub(&cold, X_DEAD, recorder.head, k->n_blocks, 0);
	struct opt_request r = {
		.head = recorder.head, .trace = recorder.pcs, .n_trace = recorder.n, .frame = recorder.frame,
		.passes = options.passes, .own_memory = threads_running() == 1, .hot = CODE_BASE + b->host,
		.hot_end = CODE_BASE + b->host + HOT_ROOM, .cold = cold.p, .cold_end = cold.p + COLD_ROOM,
		.spill = SPILL_U_DISP + SP_REG, .kept = BIT(TX_KEPT), .max_insns = 400, .fetch = fetch,
	};
	int rc = region_make(optimiser, &r, &g);

	if (rc || !worth(&g)) {
		k->n_exits = exits;
		decline(old);
		return;
	}
	cold.p = g.cold_end;
	install(old, b, &g, plain, &cold);
}

struct block *hot_step(struct thread *th, struct siginfo *info)
{
	if (recorder.n == TRACE) {
		build();
		recorder.owner = NULL;
		return code_lookup_mode(th->rip, TM_USER, info);
	}
	u32 h = (u32)(th->rip * 0x9e3779b97f4a7c15ull >> 52);

	recorder.visits += th->rip == recorder.head;
	recorder.distinct += !(recorder.seen[h / 64] >> (h % 64) & 1);
	recorder.seen[h / 64] |= BIT(h % 64);
	if (recorder.n == TRACE_LOOK && recorder.visits < TRACE_VISITS && recorder.distinct > TRACE_DISTINCT) {
		struct block *b = block_find(CACHE, recorder.head, recorder.head, TM_USER);

		if (b && !(b->flags & BLOCK_REGION))
			decline(b);
		recorder.owner = NULL;
		return code_lookup_mode(th->rip, TM_USER, info);
	}
	recorder.pcs[recorder.n++] = th->rip;
	return code_lookup_mode(th->rip, TM_USER | TM_STEP, info);
}

/* ---- the rest ---- */

void hot_unshare(void)
{
	for (u32 i = 0; i < CACHE->n_blocks; i++)
		if (CACHE->blocks[i].flags & BLOCK_REGION)
			block_kill(CACHE, &CACHE->blocks[i]);
}

void hot_reset(void)
{
	n_counters = n_regions = 0;
	arena_used = 0;
	recorder.owner = NULL;
}

const struct hot_region *hot_regions(u32 *n)
{
	*n = n_regions;
	return regions;
}

bool hot_state(const struct block *b, struct opt_regs *regs, const u64 *spill, bool fault, bool *entry)
{
	const struct opt_region *g = &regions[b->records].region;

	if (regs->rip < (u64)g->code)
		return false;
	*entry = regs->rip < (u64)g->loop;
	return region_recover(g, regs, spill, fault);
}
