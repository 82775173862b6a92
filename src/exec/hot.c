/* SPDX-License-Identifier: MIT
 * The hot tier in `penumbra exec`: records how the program runs where it spends its time, and puts regions
 * (src/optimise) in the place of blocks.
 *
 *	a sample in plain translated code (sample.c) --> hot_sampled(): the thread records (trace.c), hot_step() each run
 *	    --> build(): what led to the head leads to the region
 *
 * A region is a block with BLOCK_REGION: found, linked, killed and forwarded like any other; records of its host
 * code are the optimiser's.  Everything here needs code_lock. */
#include "exec/exec.h"
#include "exec/hot.h"
#include "exec/trace.h"
#include "optimise/optimise.h"
#include "translate/internal.h"
#include "translate/targets.h"
#include "x86/emit.h"

#define GAIN 130 /* bytes of host code for 100 of guest code along the trace, at most */
#define INSNS 97 /* instructions of the region for 100 of the plain translation, at most */
#define SMALL 64 /* instructions for which room does not matter */
#define SHARE 50 /* one part of the time is for recording and building */
#define START 50000000ull /* nanoseconds that count as run before the first sample */
#define HEADS_TRIED 3
#define HOT_ROOM 0x20000
#define COLD_ROOM 0x20000
#define MAX_REGIONS 8192
#define ARENA (256ull << 20)
#define DULL 65536
#define DULL_AGAIN 16 /* of the samples where nothing was found before, one is looked at */

static u64 began, spent; /* nanoseconds of the process's processor time */
static struct hot_region regions[MAX_REGIONS];
static u32 n_regions;
static struct optimiser *optimiser;
static u8 *arena;
static u64 arena_used;
struct hot_stats hot_stats;

/* ---- recording ---- */

/* Addresses of which nothing came: a bit for the hash of each. */
static u64 dull[DULL / 64];
static u32 dull_samples;

static u32 dull_at(u64 pc) { return (u32)(pc * 0x9e3779b97f4a7c15ull >> 48); }

static void dull_note(void)
{
	for (u32 i = 0; i < trace.n; i++)
		dull[dull_at(trace.pcs[i]) / 64] |= BIT(dull_at(trace.pcs[i]) % 64);
}

#define CLOCK_PROCESS_CPUTIME 2

static u64 used(void)
{
	struct host_timespec t = { 0, 0 };

	sys2(__NR_clock_gettime, CLOCK_PROCESS_CPUTIME, &t);
	return (u64)t.sec * 1000000000u + (u64)t.nsec;
}

/* Recording and building are paid from what ran before. */
static bool affordable(void)
{
	return options.count || spent * SHARE < used() + START;
}

bool hot_wanted(u64 pc)
{
	bool seen = dull[dull_at(pc) / 64] >> (dull_at(pc) % 64) & 1;

	hot_stats.samples++;
	return !seen || ++dull_samples % DULL_AGAIN == 0;
}

void hot_begin(struct thread *th)
{
	if (trace.owner || n_regions == MAX_REGIONS || !affordable() || !memory_find(th->rip))
		return;
	began = used();
	trace_begin(th);
	hot_stats.recorded++;
}

bool hot_recording(const struct thread *th) { return unlikely(trace.owner == th); }

void hot_forget(const struct thread *th, bool only)
{
	if ((trace.owner == th) == only)
		trace.owner = NULL;
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

	if (options.count) /* a test of regions, good or bad */
		return true;
	if (g->n_insns > SMALL && g->host_weight * 100 > g->guest_weight * GAIN)
		return false;
	if (g->host_insns * 100 > g->guest_insns * INSNS)
		return false;
	return g->covered > 3 * g->n_insns && (stay >= 60 || (g->n_calls && stay >= 12));
}

static void way_out(struct emit *e, enum exit_kind kind, u64 target, u32 block, u32 patch)
{
	struct cache *k = CACHE;
	u32 n = k->n_exits++;

	k->exits[n] = (struct exit_record){ .target = target, .block = block, .patch = patch, .kind = (u8)kind };
	e_store_gs_imm32(e, SPILL_U_DISP + SP_EXIT, n);
	e_jmp(e, exit_user);
}

/* The optimiser's exits become links. */
static void direct_exits(struct block *b, const struct opt_region *g, struct emit *cold)
{
	u32 number = (u32)(b - CACHE->blocks);

	for (u32 i = 0; i < g->n_exits; i++) {
		u8 *at = g->exits[i].at;

		if (g->exits[i].plain)
			continue;
		e_patch(at, cold->p);
		way_out(cold, X_LINK, g->exits[i].pc, number, (u32)(at - CODE_BASE));
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

/* The ways out for another frame, which would come straight back, lead to a translation that never becomes a region. */
static void plain_exits(const struct block *b, const struct opt_region *g)
{
	struct siginfo info;
	const struct block *plain = NULL;

	for (u32 i = 0; i < g->n_exits; i++) {
		if (!g->exits[i].plain)
			continue;
		/* There is room: build() has seen to it. */
		if (!plain)
			plain = code_lookup_mode(b->pc, TM_USER | TM_PLAIN, &info);
		code_patch(g->exits[i].at, CODE_BASE + plain->host);
	}
}

/* The head of the plain block leads to the region; its middle is as before. */
static void lead(struct block *old, const struct block *b)
{
	__builtin_memcpy(old->entry, CODE_BASE + old->host, sizeof old->entry);
	block_unhash(CACHE, old);
	old->flags |= BLOCK_COVERED;
	block_redirect(CACHE, old, b);
}

/* Whether host code at `to` is the translation of pc. */
static bool translates(const u8 *to, u64 pc)
{
	struct block *b = block_at_host(CACHE, (u64)to);
	const struct insn_record *r;

	if (!b || (b->flags & BLOCK_REGION) || b->mode != TM_USER)
		return false;
	if ((u64)to == block_host(b))
		return b->pc == pc;
	r = block_record(CACHE, b, (u64)to);
	return r && b->pc + r->guest == pc && block_host(b) + r->host == (u64)to;
}

/* The direct branch at the end of the instruction's translation, if it leads to the region's head, leads to the region. */
static void redirect(struct block *from, u32 record, const struct block *b)
{
	const struct insn_record *r = &CACHE->records[from->records + record];
	u32 end = record + 1 < from->n_records ? r[1].host : from->host_end - from->host;
	u8 *at = CODE_BASE + from->host + end;
	s32 d;

	if (end < r->host + 5u || !(at[-5] == 0xe9 || (end >= r->host + 6u && at[-6] == 0x0f && (at[-5] & 0xf0) == 0x80)))
		return;
	__builtin_memcpy(&d, at - 4, 4);
	if (translates(at + d, b->pc))
		code_patch(at - 4, CODE_BASE + b->host);
}

static void redirect_from(u64 source, const struct block *b)
{
	for (u32 n = frame_blocks(source >> PAGE_SHIFT); n; n = frame_node(n)->next) {
		struct block *from = &CACHE->blocks[frame_node(n)->block];

		if ((from->flags & (BLOCK_DEAD | BLOCK_REGION)) || from->mode != TM_USER || source - from->pc >= from->guest_len)
			continue;
		for (u32 i = 0; i < from->n_records; i++)
			if (CACHE->records[from->records + i].guest == source - from->pc)
				redirect(from, i, b);
	}
}

/* Plain code may branch to the middle of a block, where no jump fits: the branches that the trace saw are changed. */
static void redirect_all(const struct block *b)
{
	u64 last = 0;

	for (u32 i = 1; i < trace.n_runs; i++) {
		u32 at = trace.runs[i].at;

		if (at >= trace.n || trace.pcs[at] != b->pc || trace.pcs[at - 1] == last)
			continue;
		last = trace.pcs[at - 1];
		redirect_from(last, b);
	}
}

static void install(struct block *old, struct block *b, struct opt_region *g, struct emit *cold)
{
	struct cache *k = CACHE;

	region_keep(g, arena + arena_used);
	arena_used += ALIGN_UP(region_size(g), 64);
	direct_exits(b, g, cold);
	b->records = n_regions;
	regions[n_regions].region = *g;
	regions[n_regions].old = old ? (u32)(old - k->blocks) + 1 : 0;
	regions[n_regions++].samples = 0;
	b->n_exits = (u16)(k->n_exits - b->exits);
	b->host_end = k->hot = (u32)(g->code_end - CODE_BASE);
	b->cold_end = b->own_cold_end = k->cold = (u32)(cold->p - CODE_BASE);
	/* Others may now look for it by its host addresses, without the lock. */
	__atomic_store_n(&k->n_blocks, k->n_blocks + 1, __ATOMIC_RELEASE);
	if (old)
		lead(old, b);
	plain_exits(b, g);
	block_register(k, b);
	note_pages(b, g);
	if (code_is_target(b->pc))
		code_enter_target(b->pc, block_host(b));
	redirect_all(b);
	hot_stats.regions++;
	hot_stats.guest_insns += g->n_insns;
	hot_stats.bytes += (u64)(g->code_end - g->code);
}

static bool room(void)
{
	const struct cache *k = CACHE;

	return k->hot + HOT_ROOM + 64 <= k->limit_hot && k->cold + COLD_ROOM + 32768 <= k->limit_cold && k->n_exits + 2048 <= MAX_EXITS &&
		arena_used + (1 << 20) <= ARENA && k->n_blocks + 3 <= MAX_BLOCKS && code_has_room(2048);
}

/* How many instructions fewer the region saves without each pass. */
static void gains(const struct opt_request *r, s32 *gain)
{
	struct opt_request without = *r;
	struct opt_region g;
	s64 with;

	if (region_make(optimiser, r, &g))
		return;
	with = (s64)(g.guest_insns - g.host_insns);
	for (unsigned p = 0; p < OPT_PASS_COUNT; p++) {
		without.passes = r->passes & ~(1u << p);
		gain[p] = without.passes == r->passes || region_make(optimiser, &without, &g) ? 0 : (s32)(with - (s64)(g.guest_insns - g.host_insns));
	}
}

/* Makes a region with this head; false: none that would pay. */
static bool make(const struct head *h)
{
	struct cache *k = CACHE;
	struct block *old = block_find(k, h->pc, h->pc, TM_USER), *b = &k->blocks[k->n_blocks];
	struct opt_region g;
	struct emit cold;
	u32 exits = k->n_exits;

	if ((old && (old->flags & BLOCK_REGION)) || !prepare() || !room())
		return false;
	k->cold = ALIGN_UP(k->cold, 8u);
	*b = (struct block){
		.pc = h->pc, .pa = h->pc, .host = (u32)ALIGN_UP(k->hot, 64), .cold = k->cold, .mode = TM_USER,
		.flags = BLOCK_REGION, .exits = exits, .guest_len = 1,
	};
	cold.p = CODE_BASE + k->cold;
	way_out(&cold, X_DEAD, h->pc, k->n_blocks, 0);
	struct opt_request r = {
		.head = h->pc, .trace = trace.pcs, .n_trace = trace.n, .frame = h->frame,
		.passes = options.passes, .own_memory = threads_running() == 1, .hot = CODE_BASE + b->host,
		.hot_end = CODE_BASE + b->host + HOT_ROOM, .cold = cold.p, .cold_end = cold.p + COLD_ROOM,
		.spill = SPILL_U_DISP + SP_REG, .kept = TX_KEPT, .max_insns = 400, .fetch = fetch,
	};
	if (options.report[0])
		gains(&r, regions[n_regions].gain);
	if (region_make(optimiser, &r, &g) || !worth(&g)) {
		k->n_exits = exits;
		hot_stats.declined++;
		return false;
	}
	cold.p = g.cold_end;
	install(old, b, &g, &cold);
	return true;
}

static bool build(void)
{
	struct head *h;

	trace_heads();
	for (int i = 0; i < HEADS_TRIED && (h = trace_best()); i++) {
		if (make(h))
			return true;
		h->tried = true;
	}
	dull_note();
	return false;
}

u64 hot_step(struct thread *th, struct siginfo *info)
{
	struct block *b;

	if (trace_done()) {
		sample_count(th, build());
		spent += used() - began;
		trace.owner = NULL;
		return code_lookup(th->rip, info);
	}
	b = code_lookup_mode(th->rip, TM_USER | TM_STEP, info);
	if (!b)
		return 0;
	trace_run(th, b);
	return block_host(b);
}

/* ---- the rest ---- */

void hot_drop(struct block *b)
{
	struct block *old = regions[b->records].old ? &CACHE->blocks[regions[b->records].old - 1] : NULL;

	if (b->flags & BLOCK_DEAD)
		return;
	block_kill(CACHE, b);
	if (old && (old->flags & BLOCK_COVERED)) {
		old->flags &= (u8)~BLOCK_COVERED;
		block_entry_restore(CACHE, old);
		block_register(CACHE, old);
	}
}

void hot_unshare(void)
{
	for (u32 i = 0; i < CACHE->n_blocks; i++) {
		struct block *b = &CACHE->blocks[i];

		if (!(b->flags & BLOCK_REGION) || (b->flags & BLOCK_DEAD))
			continue;
		hot_drop(b);
	}
	__builtin_memset(dull, 0, sizeof dull);
}

void hot_reset(void)
{
	n_regions = 0;
	__builtin_memset(dull, 0, sizeof dull);
	arena_used = 0;
	trace.owner = NULL;
}

void hot_hit(const struct block *b)
{
	hot_stats.samples++;
	hot_stats.inside++;
	regions[b->records].samples++;
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
