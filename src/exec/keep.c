/* SPDX-License-Identifier: MIT
 * Blocks from templates and templates from blocks: see keep.h. */
#include "exec/keep.h"
#include "translate/targets.h"
#include "x86/emit.h"

#define FOLLOWED 8 /* blocks of which the targets come too */

struct keep_stats keep_stats;

/* The parts of a template. */
struct parts {
	struct insn_record *records;
	struct tx_fix *fixes;
	u8 *guest, *hot;
};

static u64 parts_size(const struct template *t)
{
	return ALIGN_UP(sizeof *t + t->n_records * sizeof(struct insn_record) + t->n_fixes * sizeof(struct tx_fix) + t->guest_len + t->hot_len, 16ull);
}

static struct parts parts_of(const struct template *t)
{
	struct parts p;

	p.records = (struct insn_record *)(u64)(t + 1);
	p.fixes = (struct tx_fix *)(p.records + t->n_records);
	p.guest = (u8 *)(p.fixes + t->n_fixes);
	p.hot = p.guest + t->guest_len;
	return p;
}

/* ---- from blocks ---- */

/* Code that nobody can change behind our back but through its file. */
static bool steady(u64 pc, u64 len)
{
	const struct exec_range *r = memory_find(pc);

	return r && !(r->prot & PROT_WRITE) && !r->shared && pc + len <= r->end && pc + len <= LOW_END;
}

static u8 mode_of(bool pairs, u64 pc) { return (u8)((pairs ? KEEP_PAIRS : 0) | (env_killed_inside(pc) ? KEEP_PADDED : 0)); }

void env_keep(const struct tx *t)
{
	const struct block *b = t->b;
	struct template head = {
		.pc = b->pc, .host = b->host, .guest_len = b->guest_len, .hot_len = (u16)(b->host_end - b->host),
		.n_records = b->n_records, .n_fixes = (u16)t->n_fixes, .n_insns = (u16)t->n,
		.mode = mode_of(env_pairs(t), b->pc), .spans = !!(b->flags & BLOCK_SPANS),
	};
	struct template *out;
	struct parts p;

	if (t->unkept || b->mode != TM_USER || b->n_records > TEMPLATE_RECORDS || !keep_wanted(b->pc, &head.at) || !steady(b->pc, b->guest_len))
		return;
	head.size = (u32)parts_size(&head);
	out = keep_room(head.size);
	if (!out)
		return;
	*out = head;
	p = parts_of(out);
	__builtin_memcpy(p.records, &t->k->records[b->records], b->n_records * sizeof *p.records);
	__builtin_memcpy(p.fixes, t->fixes, (size_t)t->n_fixes * sizeof *p.fixes);
	/* As they were decoded. */
	for (int i = 0; i < t->n; p.guest += t->insns[i++].in.len)
		__builtin_memcpy(p.guest, t->insns[i].raw, t->insns[i].in.len);
	__builtin_memcpy(p.hot, CODE_BASE + b->host, head.hot_len);
	keep_put(b->pc, out);
	keep_stats.captured++;
}

/* ---- to blocks ---- */

static bool sane(const struct template *t)
{
	struct parts p = parts_of(t);

	if (!t->n_records || t->n_records > TEMPLATE_RECORDS || t->n_fixes > FIXES_MAX || !t->guest_len || t->guest_len > BLOCK_INSNS * INSN_MAX ||
	    t->hot_len < ENTRY_BYTES || t->hot_len > TEMPLATE_HOT || t->size != parts_size(t))
		return false;
	for (u32 i = 0; i < t->n_fixes; i++)
		if (p.fixes[i].at + 4 > t->hot_len || p.fixes[i].kind >= FIX_KINDS)
			return false;
	return true;
}

/* A file may end before its mapping does. */
static bool readable(u64 address)
{
	u8 byte;

	return !guest_copy(&byte, (const void *)address, 1);
}

/* K1; and nothing in it is of another kind now than it was then. */
static bool fits(const struct template *t, u64 pc)
{
	struct parts p = parts_of(t);

	if (((t->pc ^ pc) & ~PAGE_MASK) || !steady(pc, t->guest_len) || !readable(pc) || !readable(pc + t->guest_len - 1) ||
	    !same_bytes(p.guest, (const u8 *)pc, t->guest_len))
		return false;
	/* An indirect branch that has to be made otherwise since. */
	for (u32 i = 0; code_has_far_sites(pc) && i < t->n_records; i++)
		if (site_is_both(CACHE, pc + p.records[i].guest))
			return false;
	return true;
}

/* A way out, as tx_exit() makes it. */
static u8 *way_out(struct block *b, struct emit *cold, enum exit_kind kind, u64 target, u32 patch)
{
	struct cache *k = CACHE;
	u32 n = k->n_exits++;
	u8 *stub = cold->p;

	k->exits[n] = (struct exit_record){ .target = target, .block = (u32)(b - k->blocks), .patch = patch, .kind = (u8)kind };
	e_store_gs_imm32(cold, SPILL_U_DISP + SP_EXIT, n);
	e_jmp(cold, k->targets.exit_user);
	return stub;
}

static bool add32(u8 *at, s64 delta, bool is_signed)
{
	u32 v;

	__builtin_memcpy(&v, at, sizeof v);
	s64 sum = (is_signed ? (s64)(s32)v : (s64)v) + delta;

	v = (u32)sum;
	__builtin_memcpy(at, &v, sizeof v);
	return is_signed ? sum == (s32)sum : sum == (s64)(u32)sum;
}

static bool apply(struct block *b, const struct template *t, const struct tx_fix *f, struct emit *cold)
{
	u8 *at = CODE_BASE + b->host + f->at;
	s64 moved = (s64)(b->pc - t->pc);
	u64 target = b->pc + (u64)(s64)f->target;
	const u8 *to;

	switch (f->kind) {
	case FIX_ADDRESS:
		return add32(at, moved, false);
	case FIX_NEAR:
		return add32(at, moved - ((s64)b->host - (s64)t->host), true);
	case FIX_BRANCH:
		to = code_find(target);
		e_patch(at, to ? to : way_out(b, cold, X_LINK, target, (u32)(at - CODE_BASE)));
		return true;
	default:
		e_patch(at, way_out(b, cold, X_INSN, target, 0));
		return true;
	}
}

/* Writes the block behind all others, as translate_block() does; false: it cannot lie here. */
static bool place(struct block *b, const struct template *t, u64 pc)
{
	struct cache *k = CACHE;
	struct parts p = parts_of(t);
	struct emit cold;

	k->cold = ALIGN_UP(k->cold, 8u);
	*b = (struct block){
		.pc = pc, .pa = pc, .cold = k->cold, .mode = TM_USER, .records = k->n_records, .exits = k->n_exits,
		.guest_len = t->guest_len, .n_records = t->n_records, .flags = t->spans ? BLOCK_SPANS : 0,
		.pa2 = t->spans ? (pc & PAGE_MASK) + PAGE_SIZE : 0,
	};
	block_place(k, b, t->host, false);
	cold.p = CODE_BASE + k->cold;
	way_out(b, &cold, X_DEAD, pc, 0);
	__builtin_memcpy(CODE_BASE + b->host, p.hot, t->hot_len);
	__builtin_memcpy(&k->records[b->records], p.records, t->n_records * sizeof *p.records);
	for (u32 i = 0; i < t->n_fixes; i++)
		if (!apply(b, t, &p.fixes[i], &cold)) {
			k->n_exits = b->exits;
			return false;
		}
	k->n_records += b->n_records;
	b->n_exits = (u16)(k->n_exits - b->exits);
	b->host_end = k->hot = b->host + t->hot_len;
	b->cold_end = b->own_cold_end = k->cold = (u32)(cold.p - CODE_BASE);
	return true;
}

static struct block *adopt(u64 pc)
{
	struct cache *k = CACHE;
	struct block *b = &k->blocks[k->n_blocks];
	const struct template *t = cache_full(k) ? NULL : keep_find(pc, mode_of(env_pairs_on(pc), pc));

	if (!t)
		return NULL;
	if (!sane(t) || !fits(t, pc) || !place(b, t, pc)) {
		keep_stats.refused++;
		return NULL;
	}
	__atomic_store_n(&k->n_blocks, k->n_blocks + 1, __ATOMIC_RELEASE);
	k->stats.restored++;
	k->stats.guest_insns += t->n_insns;
	k->stats.code_bytes += b->host_end - b->host + b->cold_end - b->cold;
	block_publish(k, b);
	keep_stats.adopted++;
	return b;
}

/* What it branches to was wanted in an earlier run, and will be. */
static void follow(struct block *b)
{
	struct cache *k = CACHE;

	for (u32 i = b->exits; i < b->exits + b->n_exits; i++) {
		struct exit_record *x = &k->exits[i];
		const struct block *to;
		const u8 *host;

		if (x->kind != X_LINK || !code_has_room(2) || cache_full(k))
			continue;
		host = code_find(x->target);
		to = host ? NULL : adopt(x->target);
		if (to)
			host = CODE_BASE + to->host;
		if (host)
			code_patch(CODE_BASE + x->patch, host);
	}
}

struct block *keep_adopt(u64 pc)
{
	struct cache *k = CACHE;
	struct block *b = adopt(pc);

	for (u32 n = k->n_blocks - 1; b && n < k->n_blocks && &k->blocks[n] - b < FOLLOWED; n++)
		follow(&k->blocks[n]);
	return b;
}
