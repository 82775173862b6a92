/* SPDX-License-Identifier: MIT
 * The TLB test's guest: a random program of page table writes, invalidations, control register writes and accesses,
 * each access compared with the model.
 *
 * Command line, all optional: seed=N steps=N; from=N begins at that step (a multiple of EPOCH), skip=MASK leaves out
 * classes of operations, drop=A-B (several times) steps, verbose=1 prints each, lenient=1 is for a processor that keeps
 * translations over a #PF, and has other flaws that access.c names; kvm=1 for one that
 * emulates kernel code without SYSCALL and vector instructions; wide=0 gives no
 * root an upper half of its own; disk=1 has a virtio disk write some entries.  Each step's random numbers depend on the seed and its number alone, and every EPOCH
 * steps all begins anew: what fails can be repeated from there, with steps left out.
 * Prints `TLB ok ...` and ends with status 0, or `WRONG ...`, `TLB failed seed S step N` and status 1. */
#include "access.h"
#include "disk.h"
#include "world.h"

#include "x86/cpu.h"

#define EPOCH 4096
#define HOT 28
#define DROPS 256
#define UPPER 7 /* slots from there on belong to the upper half, in a root */

/* Called by start.S. */
_Noreturn void tlb_main(u32 start_info);
_Noreturn void tlb_panic(void);

/* ---- command line ---- */
static u64 seed = 1, steps = 100000, first_step, skip, verbose, lenient, wide = 1, kvm, disk;
static struct { u64 from, to; } drops[DROPS];
static u32 n_drops;

/* ---- random numbers, of the step ---- */
static u64 state;

static u64 mix(u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static u64 rnd(void) { return mix(state += 0x9e3779b97f4a7c15ull); }
static u32 below(u32 n) { return (u32)((rnd() >> 32) * n >> 32); }
static bool chance(u32 percent) { return below(100) < percent; }

/* ---- what an epoch is like ---- */
static struct profile {
	bool same_upper;        /* the upper half is the same under each root */
	bool low_is_user;       /* nothing of the supervisor's in the lower half, as in an operating system */
	u8 aliases;             /* of 100 last-level entries, how many lead to tables */
	u8 large, odd, global, wild, accessed; /* of 100: large pages, reserved bits, global, wrong level, accessed */
	u8 accesses, writes;    /* of 100 steps; the rest are invalidations and control registers */
	u8 flush;               /* of 100 invalidations, how many are of everything */
} profile;
static u64 hot[HOT];
static u64 safe_root[512] __attribute__((aligned(4096)));
static struct query query[2];
static u64 step, counts[3];

enum operation { OP_ACCESS, OP_WRITE, OP_INVLPG, OP_INVPCID, OP_CR3, OP_PGE, OP_WP, OP_SMEP, OP_SMAP, OP_NXE, OP_PCIDE,
		 OP_CODE };

static bool skipped(enum operation op) { return skip >> op & 1; }

static u64 kernel_half(u64 va) { return (u64)((s64)(va << 16) >> 16); }

static u64 va_of(u32 a, u32 b, u32 c, u32 d)
{
	return kernel_half((u64)slot_index[a] << 39 | (u64)slot_index[b] << 30 | (u64)slot_index[c] << 21 | (u64)slot_index[d] << 12);
}

/* Whether each index of the address is one of those that are used.  A translator may keep scratch memory of its own in
 * the last 2 MiB, and at the lower half's addresses that it folds them to. */
static bool in_world(u64 va)
{
	if (kernel_half(va) != va || va >= 0xffffffffffe00000 || (va >= 0x7bffffe00000 && va < 0x7c0000000000))
		return false;
	for (int shift = 12; shift < 48; shift += 9)
		if (slot_of(va >> shift & 511) < 0)
			return false;
	return true;
}

static int level_of(int table)
{
	if (table < ROOTS)
		return 4;
	if (table < ROOTS + PDPTS)
		return 3;
	return table < ROOTS + PDPTS + PDS ? 2 : 1;
}

static int random_table(int level)
{
	switch (level) {
	case 4: return (int)below(ROOTS);
	case 3: return ROOTS + (int)below(PDPTS);
	case 2: return ROOTS + PDPTS + (int)below(PDS);
	default: return ROOTS + PDPTS + PDS + (int)below(PTS);
	}
}

static u64 random_flags(int level, bool low)
{
	u32 r = below(100);
	u64 e = PTE_P;

	if (chance(level == 1 ? 75 : 92))
		e |= PTE_W;
	if (chance(level == 1 ? 65 : 88) || (low && profile.low_is_user))
		e |= PTE_U;
	if (chance(profile.accessed))
		e |= PTE_A;
	if (chance(60))
		e |= PTE_D;
	if (chance(profile.global))
		e |= PTE_G;
	if (features.nx && chance(level == 1 ? 25 : 6))
		e |= PTE_NX;
	if (r < 20)
		e |= (rnd() & 7) << 9 | (rnd() & 0x7f) << 52; /* bits that processors ignore */
	return e;
}

/* An entry for a table of that level. */
static u64 random_entry(int level, bool low)
{
	u64 e = random_flags(level, low), reserved = control.reserved & -control.reserved;
	int t;

	if (chance(level == 1 ? 12 : 6))
		return frame_pa((int)below(FRAMES)) | (rnd() & 0xe7e); /* not present */
	if (level > 1 && chance(level == 3 ? profile.large / 3u : level == 2 ? profile.large : 0u) && (level == 2 || features.gigabyte)) {
		e |= PTE_PS;
		if (level == 2)
			e |= (u64)block_number[below(BLOCKS)] << 21;
		if (chance(profile.odd))
			e |= 1ull << (14 + below(5)); /* memory there is empty, as another level would see */
		return e;
	}
	if (chance(profile.odd)) {
		if (level == 4 && chance(50))
			e |= PTE_PS;
		else
			e |= reserved;
	}
	if (level == 1 && !chance(profile.aliases))
		return e | frame_pa((int)below(FRAMES));
	t = random_table(level == 1 || chance(profile.wild) ? (int)below(4) + 1 : level - 1);
	return e | frame_pa(table_frame[t]);
}

/* ---- an epoch ---- */

static void flush_all(void)
{
	set_cr4(CR4_PGE, !control.pge);
	set_cr4(CR4_PGE, control.pge);
	model_flush_all();
}

static void choose_profile(void)
{
	profile.same_upper = !wide || chance(50);
	profile.low_is_user = chance(50);
	profile.aliases = (u8)(chance(30) ? 0 : 5 + below(40));
	profile.large = (u8)(chance(30) ? 0 : below(40));
	profile.odd = (u8)(chance(60) ? 0 : 2);
	profile.global = (u8)(chance(40) ? 0 : below(50));
	profile.wild = (u8)(chance(50) ? 0 : below(8));
	profile.accessed = (u8)(chance(20) ? 20 : 60 + below(41));
	profile.accesses = (u8)(30 + below(40));
	profile.writes = (u8)(10 + below(85u - profile.accesses));
	profile.flush = (u8)(chance(50) ? 1 : below(30));
}

static void choose_hot(void)
{
	u32 a[2] = { below(UPPER), UPPER + below(SLOTS - UPPER) }, b = below(SLOTS), c = below(SLOTS);

	for (u32 i = 0; i < HOT; i++) {
		u32 d = below(SLOTS);

		if (chance(10))
			a[i & 1] = i & 1 ? UPPER + below(SLOTS - UPPER) : below(UPPER);
		if (chance(15))
			b = below(SLOTS);
		if (chance(20))
			c = below(SLOTS);
		hot[i] = va_of(a[chance(40)], b, c, d);
		if (!in_world(hot[i]))
			hot[i] = va_of(0, b, c, d);
		/* Neighbours, that accesses may run over to. */
		if (i && chance(40) && in_world(hot[i - 1] + 0x1000))
			hot[i] = hot[i - 1] + 0x1000;
	}
}

static void choose_frames(void)
{
	u8 all[FRAMES];

	for (int i = 0; i < FRAMES; i++) {
		u32 j = below((u32)i + 1);

		all[i] = all[j];
		all[j] = (u8)i;
		frame_is_table[i] = false;
	}
	for (int i = 0; i < TABLES; i++) {
		table_frame[i] = all[i];
		frame_is_table[all[i]] = true;
	}
}

static void fill_frames(void)
{
	for (int f = 0; f < FRAMES; f++) {
		u64 *p = DIRECT(frame_pa(f));

		for (int i = 0; i < 512; i++)
			p[i] = frame_is_table[f] && slot_of((u64)i) >= 0 ? 0 : rnd() & ~1ull;
		if (!frame_is_table[f])
			frame_seal(f, (u32)rnd() & ~0x10000u);
	}
}

static void epoch_begin(void)
{
	u64 pa[ROOTS + 1];
	bool lower;

	/* Away from the tables that are made anew. */
	if (control.pcide)
		set_cr3(PHYS(safe_root) | pcids[0]);
	set_cr4(CR4_PCIDE, false);
	set_cr3(PHYS(safe_root));
	choose_profile();
	lower = !profile.low_is_user && chance(50);
	choose_frames();
	choose_hot();
	fill_frames();
	control.root = control.pcid = 0;
	control.pcide = features.pcid && !skipped(OP_PCIDE) && chance(60);
	if (features.pge && !skipped(OP_PGE))
		control.pge = chance(80);
	for (int i = 0; i < ROOTS; i++)
		pa[i] = frame_pa(table_frame[i]);
	pa[ROOTS] = PHYS(safe_root);
	world_roots(pa, ROOTS + 1, lower);
	model_begin();
	for (int t = 0; t < TABLES; t++)
		for (int s = 0; s < SLOTS; s++) {
			u64 *at = (u64 *)DIRECT(frame_pa(table_frame[t])) + slot_index[s];

			*at = random_entry(level_of(t), level_of(t) < 4 || s < UPPER);
			if (profile.same_upper && t && level_of(t) == 4 && s >= UPPER)
				*at = model_get(table_frame[0], s);
			model_set(table_frame[t], s, *at);
		}
	set_cr3(pa[0]);
	set_cr4(CR4_PCIDE, control.pcide);
	flush_all();
}

/* ---- operations ---- */

/* The slot of a table that a walk for the address comes by at the level, as the tables are now. */
static bool slot_on_path(u64 va, int root, int level, int *frame, int *slot)
{
	*frame = table_frame[root];
	for (int l = 4;; l--) {
		u64 e;

		*slot = slot_of(va >> (12 + 9 * (l - 1)) & 511);
		if (*slot < 0 || *frame < 0 || !frame_is_table[*frame])
			return false;
		if (l == level)
			return true;
		e = model_get(*frame, *slot);
		if (!(e & PTE_P) || (l < 4 && (e & PTE_PS)))
			return true;
		*frame = frame_at(e & PTE_ADDR);
	}
}

static int level_of_frame(int frame)
{
	for (int t = 0; t < TABLES; t++)
		if (table_frame[t] == frame)
			return level_of(t);
	return 1;
}

static void choose_slot(int *frame, int *slot)
{
	if (chance(75) && slot_on_path(hot[below(HOT)], (int)(chance(70) ? (u32)control.root : below(ROOTS)), (int)below(7) % 4 + 1, frame, slot))
		return;
	*frame = table_frame[below(TABLES)];
	*slot = (int)below(SLOTS);
}

/* It has to stay the same under each root. */
static bool fixed_slot(int frame, int slot) { return profile.same_upper && slot >= UPPER && level_of_frame(frame) == 4; }

static u64 varied(u64 old, int level, bool low)
{
	static const u64 bits[] = { PTE_P, PTE_W, PTE_U, PTE_A, PTE_D, PTE_G, PTE_NX, PTE_A | PTE_D };
	u64 e;

	if (!(old & PTE_P) || chance(50))
		return random_entry(level, low);
	e = old ^ bits[below(features.nx ? 8 : 6)];
	return low && profile.low_is_user ? e | PTE_U : e;
}

static void say(const char *what, u64 a, u64 b)
{
	if (!verbose)
		return;
	decimal(step);
	text(" ");
	text(what);
	text(" ");
	number(a);
	text(" ");
	number(b);
	text("\n");
}

/* Offsets and sizes of parts of an entry that keep it one that the world has. */
static const struct { u8 kind, offset; } pieces[] = {
	{ KIND_store1, 0 }, { KIND_store1, 1 }, { KIND_store1, 7 }, { KIND_store2, 0 }, { KIND_store2, 2 },
	{ KIND_store2, 6 }, { KIND_store4, 0 }, { KIND_store4, 4 },
};
static const u8 whole[] = {
	KIND_store8, KIND_store16, KIND_store_push, KIND_store_string, KIND_store_nt, KIND_store_moves, KIND_xchg,
	KIND_xadd, KIND_add, KIND_cmpxchg, KIND_cmpxchg16, KIND_fill8,
};
static const u8 flag_kinds[] = { KIND_or, KIND_and, KIND_or1, KIND_and1, KIND_bts, KIND_btr };

/* How to make the entry at the offset in its table `e`, or something like it. */
static void choose_store(struct access *a, u64 old, u64 e, int frame)
{
	static const u8 toggles[] = { 0, 1, 2, 5, 6, 8, 63 };
	u32 how = below(100);

	a->operand = e;
	a->expected = old;
	if (how < 25) {
		u32 i = below(sizeof pieces / sizeof pieces[0]);

		a->kind = (enum kind)pieces[i].kind;
		a->va += pieces[i].offset;
		a->operand = e >> 8 * pieces[i].offset;
		return;
	}
	if (how < 45) {
		u64 flags = PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | (features.nx ? PTE_NX : 0);
		bool user = profile.low_is_user;

		a->kind = (enum kind)flag_kinds[below(sizeof flag_kinds)];
		a->operand = a->kind == KIND_or ? rnd() & flags & ~PTE_P : ~(rnd() & flags & (user ? ~PTE_U : ~0ull));
		if (a->kind == KIND_or1)
			a->operand = rnd() & (PTE_W | PTE_U | PTE_A | PTE_D);
		if (a->kind == KIND_bts || a->kind == KIND_btr)
			a->operand = toggles[below(features.nx ? 7 : 6)];
		if (a->kind == KIND_bts && !a->operand)
			a->operand = 1; /* what a word not present holds is no address */
		if (a->kind == KIND_btr && user && a->operand == 2)
			a->operand = 0;
		return;
	}
	a->kind = (enum kind)whole[below(sizeof whole)];
	switch (a->kind) {
	case KIND_xadd: case KIND_add:
		a->operand = e - old;
		break;
	case KIND_store16: case KIND_cmpxchg16:
		if (kvm || (a->va & 0xfff) > 0xff0 || (a->kind == KIND_cmpxchg16 && (a->va & 15)))
			a->kind = KIND_store8;
		break;
	case KIND_fill8:
		a->va &= ~63ull;
		if (level_of_frame(frame) == 4) /* what lies between is ours */
			a->kind = KIND_store_string;
		break;
	case KIND_store8:
		/* Across two entries: the upper half of this one, the lower half of the next. */
		if (chance(20) && (a->va & 0xfff) <= 0xff0) {
			a->va += 4;
			a->operand = e >> 32 | random_entry(level_of_frame(frame), true) << 32;
		}
		break;
	default:
		break;
	}
}

/* Writes to an entry through one of the aliases that never change. */
static bool write_entry(void)
{
	static const u64 bases[] = { VIRT, ALIAS_UPPER, ALIAS_USER, ALIAS_USER, ALIAS_LOWER };
	struct access a = { 0 };
	u8 before[64], want[64], *at;
	u32 alias = below(profile.low_is_user ? 4 : 5), n;
	int frame, slot;
	u64 pa, old, base;

	choose_slot(&frame, &slot);
	if (fixed_slot(frame, slot))
		return true;
	old = model_get(frame, slot);
	pa = frame_pa(frame) + 8 * slot_index[slot];
	base = bases[alias];
	if (base == ALIAS_LOWER && !*((u64 *)DIRECT(frame_pa(table_frame[0])) + (ALIAS_LOWER >> 39)))
		base = VIRT;
	a.va = base == VIRT ? VIRT + pa : base + ((u64)frame << 12) + (pa & 0xfff);
	a.user = base == ALIAS_USER && alias == 2;
	a.ac = base == ALIAS_USER && !a.user;
	choose_store(&a, old, varied(old, level_of_frame(frame), level_of_frame(frame) < 4 || slot < UPPER), frame);
	n = kinds[a.kind].bytes;
	at = (u8 *)DIRECT(frame_pa(frame)) + (a.va & 0xfff);
	__builtin_memcpy(before, at, n);
	access_effect(&a, before, want);
	if (verbose) {
		decimal(step);
		text(" write ");
		access_print(&a);
		text(" at ");
		number(pa);
		text(" old ");
		number(old);
		text("\n");
	}
	access_run(kinds[a.kind].function, a.va, a.operand, a.expected, a.user, a.ac);
	counts[1]++;
	if (trapped[0] != NO_TRAP || __builtin_memcmp(at, want, n)) {
		text("WRONG write ");
		access_print(&a);
		trap_print();
		text("\n");
		return false;
	}
	for (int s = 0; s < SLOTS; s++)
		model_set(frame, s, table_word(frame, s));
	return tables_check(NULL, 0);
}

/* The same by a device. */
static bool write_by_device(void)
{
	int frame, slot;
	u64 e, pa;

	choose_slot(&frame, &slot);
	if (fixed_slot(frame, slot))
		return true;
	e = varied(model_get(frame, slot), level_of_frame(frame), level_of_frame(frame) < 4 || slot < UPPER);
	pa = frame_pa(frame) + 8 * slot_index[slot];
	say("disk writes at", pa, e);
	counts[1]++;
	if (!disk_write_memory(pa, e) || *(volatile u64 *)DIRECT(pa) != e) {
		text("WRONG disk\n");
		return false;
	}
	for (int s = 0; s < SLOTS; s++)
		model_set(frame, s, table_word(frame, s));
	return tables_check(NULL, 0);
}

/* What an access may reach: tables, data, or places that are not ours. */
struct reach { bool tables, data, foreign, any; };

static void reach_add(struct reach *r, const struct query *q)
{
	for (u32 i = 0; i < q->n; i++) {
		int f = q->out[i].fault ? -1 : frame_at(q->out[i].pa);

		if (q->out[i].fault)
			continue;
		r->any = true;
		if (f < 0)
			r->foreign = true;
		else if (frame_is_table[f])
			r->tables = true;
		else
			r->data = true;
	}
}

/* The oracle may read one page and write another, where its translation for reading is older. */
static bool ambiguous(const struct access *a, const struct query *q)
{
	u64 pa = 0;

	for (u32 i = 0; i < q->n && a->kind >= KIND_xchg; i++) {
		if (q->out[i].fault)
			continue;
		if (pa && pa != q->out[i].pa)
			return true;
		pa = q->out[i].pa;
	}
	return false;
}

/* Where in a page, so that code and what may be read as entries stays as it is. */
static u64 data_offset(void) { return chance(50) ? 0x100 + below(0x680 - 64) : 0x7c8 + below(0x730 - 64); }

static void aim(struct access *a, u64 page)
{
	const struct kind_row *k = &kinds[a->kind];

	a->va = page + data_offset();
	if (k->what & (IS_LOCKED | IS_ALIGNED))
		a->va &= ~(u64)(k->bytes - 1);
	a->operand = rnd();
	a->expected = chance(50) ? a->operand : rnd();
	if (a->kind == KIND_bts || a->kind == KIND_btr)
		a->operand &= 63;
	if (a->kind == KIND_load_compare)
		a->expected = 0;
}

/* Runs over into the next page.  What is written is no present entry, and the code goes back afterwards. */
static void aim_across(struct access *a, u64 page)
{
	const struct kind_row *k = &kinds[a->kind];

	a->va = page + 0x1000 - (k->bytes == 2 ? 1 : 1 + below(k->bytes < 8 ? k->bytes - 1u : 7));
	if (k->what & IS_WRITE) {
		/* Entry 511 keeps all but its upper half, entry 0 is given a value that is not present. */
		if (a->kind == KIND_xadd || a->kind == KIND_add) /* a sum would be any entry at all */
			a->kind = KIND_store8;
		a->va = page + 0xffc;
		a->operand = (frame_pa((int)below(FRAMES)) | (rnd() & 0xe7e)) << 32 | (u32)(rnd() & 0x80000000u);
	}
}

/* At an entry of a table. */
static bool aim_entry(struct access *a, u64 page)
{
	int slot = (int)below(SLOTS), frame = -1;
	bool sure = true;
	u64 old, e;

	for (u32 i = 0; i < query[0].n; i++) {
		if (query[0].out[i].fault)
			continue;
		sure &= frame < 0 || frame == frame_at(query[0].out[i].pa);
		frame = frame_at(query[0].out[i].pa);
	}
	if (frame < 0 || !frame_is_table[frame] || fixed_slot(frame, slot))
		return false;
	a->va = page + 8 * slot_index[slot];
	old = model_get(frame, slot);
	e = varied(old, level_of_frame(frame), level_of_frame(frame) < 4 || slot < UPPER);
	choose_store(a, old, e, frame);
	/* A difference, added to another table's entry, would make one that leads out of the world. */
	if (!sure && (a->kind == KIND_xadd || a->kind == KIND_add)) {
		a->kind = KIND_store8;
		a->operand = e;
	}
	return kinds[a->kind].what & IS_FIT;
}

static void seal_again(void)
{
	for (int f = 0; f < FRAMES; f++)
		if (!frame_is_table[f])
			frame_seal(f, (u32)rnd() & ~0x10000u);
}

/* Vector operands where a translator can map the page: elsewhere only integer instructions are known to it. */
static void avoid_vectors(struct access *a, u64 page)
{
	if (a->user && page >= 0x1000 && page < 0x7b0000000000)
		return;
	if (a->kind == KIND_load16)
		a->kind = KIND_load8;
	if (a->kind == KIND_store16)
		a->kind = KIND_store8;
}

static bool access_one(void)
{
	struct access a = { .kind = (enum kind)below(KINDS_N), .user = chance(50), .ac = chance(50) };
	u64 page = hot[below(HOT)];
	struct reach reach = { 0 };
	bool across = false, entry = false;
	enum kind kind;
	u32 what;

	if (chance(30))
		a.kind = chance(80) ? KIND_call : KIND_store4;
	a.ac &= !(kvm && a.user); /* alignment is checked there whatever CR0.AM says */
	avoid_vectors(&a, page);
	kind = a.kind;
	what = kinds[a.kind].what;
	a.va = page;
	if ((what & IS_EXEC) || (!(what & IS_LOCKED) && kinds[a.kind].bytes > 1 && kinds[a.kind].bytes < 64))
		across = chance(20) && in_world(page + 0x1000);
	access_query(&a, query);
	reach_add(&reach, &query[0]);
	entry = (what & IS_WRITE) && reach.tables && !reach.data && !reach.foreign && chance(50) && aim_entry(&a, page);
	if (!entry)
		a.kind = kind;
	if (entry) {
		across = false;
		a.va = page + (a.va & 0xfff);
	} else {
		aim(&a, page);
		if (a.kind == KIND_store4 && !reach.tables && chance(50))
			a.va = page + CODE_AT + 1; /* what the code there returns */
		if (across)
			aim_across(&a, page);
		if (a.kind == KIND_call)
			a.va = page + (across ? CODE_ACROSS : CODE_AT);
	}
	int parts = access_query(&a, query);

	if (parts == 2)
		reach_add(&reach, &query[1]);
	if (query[0].too_many || (across && query[1].too_many)) {
		flush_all();
		return true;
	}
	what = kinds[a.kind].what;
	if (lenient && ambiguous(&a, query))
		return true;
	if (reach.foreign && (what & (IS_WRITE | IS_EXEC)))
		return true;
	if (reach.tables && ((what & IS_EXEC) || (across && (what & IS_WRITE) && profile.same_upper)))
		return true;
	if (reach.tables && access_severs_itself(&a, query, parts))
		return true;
	if (verbose) {
		decimal(step);
		text(" access ");
		access_print(&a);
		text("\n");
	}
	counts[0]++;
	if (!access_check(&a, query))
		return false;
	if (verbose && trapped[0] != NO_TRAP)
		say("  fault", trapped[1], trapped[2]);
	if (across && (what & IS_WRITE) && reach.data)
		seal_again();
	return true;
}

static bool load_root(void)
{
	int root = (int)below(ROOTS), pcid = control.pcide ? (int)below(PCIDS) : 0;
	bool keep = control.pcide && chance(60);

	if (skipped(OP_CR3))
		return true;
	say("cr3 root, pcid + keep", (u64)root, pcids[pcid] | (u64)keep << 63);
	set_cr3(frame_pa(table_frame[root]) | pcids[pcid] | (u64)keep << 63);
	model_loaded_root(root, pcid, !keep);
	return true;
}

static void invalidate_context(void)
{
	u64 type = below(100) < profile.flush ? 2 + below(2) : below(2), va = hot[below(HOT)] + below(4096);
	int pcid = control.pcide ? (int)below(PCIDS) : 0;

	say("invpcid", type, type < 2 ? pcids[pcid] : 0);
	say(" of", va, 0);
	invpcid(type, type < 2 ? pcids[pcid] : 0, type ? 0 : va);
	if (type == 0)
		model_invalidate(INV_CONTEXT_PAGE, pcid, va);
	else if (type == 1)
		model_flush_pcid(pcid);
	else if (type == 2)
		model_flush_all();
	else
		model_flush_contexts();
}

static void toggle_pcide(void)
{
	if (control.pcide) {
		control.pcide = false;
		say("pcide", 0, 0);
		/* As the manual wants it the other way, with number 0. */
		set_cr3(frame_pa(table_frame[control.root]) | 1ull << 63);
		set_cr4(CR4_PCIDE, false);
		control.pcid = 0;
		model_flush_all();
		return;
	}
	say("pcide", 1, 0);
	control.pcide = true;
	set_cr4(CR4_PCIDE, true);
}

static void control_one(void)
{
	switch (below(8)) {
	case 0:
		if (skipped(OP_PGE) || !features.pge || !chance(profile.flush * 2u))
			break;
		control.pge = !control.pge;
		say("pge", control.pge, 0);
		set_cr4(CR4_PGE, control.pge);
		model_flush_all();
		break;
	case 1: case 2:
		if (skipped(OP_WP))
			break;
		control.wp = !control.wp;
		say("wp", control.wp, 0);
		set_wp(control.wp);
		break;
	case 3:
		if (skipped(OP_SMEP) || !features.smep)
			break;
		control.smep = !control.smep;
		say("smep", control.smep, 0);
		set_cr4(CR4_SMEP, control.smep);
		break;
	case 4: case 5:
		if (skipped(OP_SMAP) || !features.smap)
			break;
		control.smap = !control.smap;
		say("smap", control.smap, 0);
		set_cr4(CR4_SMAP, control.smap);
		break;
	case 6:
		if (skipped(OP_NXE) || !features.nx || !chance(30))
			break;
		control.nxe = !control.nxe;
		say("nxe", control.nxe, 0);
		set_nxe(control.nxe);
		flush_all();
		break;
	default:
		if (!skipped(OP_PCIDE) && features.pcid && chance(20))
			toggle_pcide();
	}
}

static bool invalidate_one(void)
{
	u32 r = below(100);

	counts[2]++;
	if (r < 45 && !skipped(OP_INVLPG)) {
		u64 va = hot[below(HOT)] + (chance(20) ? below(0x400000) : below(4096));

		say("invlpg", va, 0);
		invlpg(va);
		model_invalidate(INV_PAGE, control.pcid, va);
	} else if (r < 60 && features.invpcid && !skipped(OP_INVPCID)) {
		invalidate_context();
	} else if (r < 80) {
		load_root();
	} else if (r < 85 && !skipped(OP_CODE)) {
		int f = (int)below(FRAMES);

		if (!frame_is_table[f])
			frame_seal(f, (u32)rnd() & ~0x10000u);
	} else {
		control_one();
	}
	return true;
}

static bool one_step(void)
{
	u32 r = below(100);

	if (model_crowded())
		flush_all();
	if (r < profile.accesses)
		return skipped(OP_ACCESS) || access_one();
	if (r < profile.accesses + profile.writes)
		return skipped(OP_WRITE) || (disk && chance(5) ? write_by_device() : write_entry());
	return invalidate_one();
}

/* ---- the whole ---- */

static bool dropped(u64 n)
{
	for (u32 i = 0; i < n_drops; i++)
		if (n >= drops[i].from && n <= drops[i].to)
			return true;
	return false;
}

static const char *parse_number(const char *s, u64 *v)
{
	u32 base = 10;

	*v = 0;
	if (s[0] == '0' && s[1] == 'x') {
		base = 16;
		s += 2;
	}
	for (;; s++) {
		u32 d = *s >= '0' && *s <= '9' ? (u32)(*s - '0') : *s >= 'a' && *s <= 'f' ? (u32)(*s - 'a' + 10) : 16;

		if (d >= base)
			return s;
		*v = *v * base + d;
	}
}

static void parse(const char *s)
{
	static const struct { const char *name; u64 *value; } options[] = {
		{ "seed=", &seed }, { "steps=", &steps }, { "from=", &first_step }, { "skip=", &skip },
		{ "verbose=", &verbose }, { "lenient=", &lenient }, { "wide=", &wide }, { "kvm=", &kvm }, { "disk=", &disk },
	};

	while (*s) {
		for (u32 i = 0; i < sizeof options / sizeof options[0]; i++) {
			const char *n = options[i].name, *p = s;

			while (*n && *n == *p)
				n++, p++;
			if (!*n)
				s = parse_number(p, options[i].value);
		}
		if (s[0] == 'd' && s[1] == 'r' && s[4] == '=' && n_drops < DROPS) {
			s = parse_number(s + 5, &drops[n_drops].from);
			drops[n_drops].to = drops[n_drops].from;
			if (*s == '-')
				s = parse_number(s + 1, &drops[n_drops].to);
			n_drops++;
		}
		while (*s && *s != ' ')
			s++;
		while (*s == ' ')
			s++;
	}
}

static void set_control(void)
{
	control = (struct control){ .wp = true, .lenient = lenient };
	control.reserved = PTE_ADDR & ~((1ull << features.physical_bits) - 1);
	set_cr4(CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PCIDE, false);
	if (features.nx) {
		control.nxe = true;
		set_nxe(true);
	}
}

static void print_end(bool good)
{
	text(good ? "TLB ok seed 0x" : "TLB failed seed 0x");
	number(seed);
	text(" step ");
	decimal(step);
	text(" accesses ");
	decimal(counts[0]);
	text(" writes ");
	decimal(counts[1]);
	text(" invalidations ");
	decimal(counts[2]);
	text(features.pcid ? " pcid" : "");
	text(features.invpcid ? " invpcid" : "");
	text(features.smep ? " smep" : "");
	text(features.smap ? " smap" : "");
	text(features.gigabyte ? " gigabyte" : "");
	text("\n");
}

/* An exception outside of an access. */
_Noreturn void tlb_panic(void)
{
	text("PANIC vector ");
	number(trapped[0]);
	text(" error ");
	number(trapped[1]);
	text(" address ");
	number(trapped[2]);
	text(" rip ");
	number(trapped[3]);
	text("\n");
	print_end(false);
	machine_end(2);
}

_Noreturn void tlb_main(u32 start_info)
{
	bool good = true;

	parse(DIRECT(*(const u64 *)DIRECT((u64)start_info + 24)));
	world_begin();
	if (kvm)
		access_end_by_trap();
	set_control();
	world_roots(&(u64){ PHYS(safe_root) }, 1, false);
	set_cr3(PHYS(safe_root));
	if (disk && !disk_begin()) {
		text("WRONG there is no disk\n");
		good = false;
	}
	for (step = first_step / EPOCH * EPOCH; step < steps && good; step++) {
		if (step % EPOCH == 0) {
			state = mix(seed) ^ mix(step + 0x5bd1e995);
			epoch_begin();
		}
		state = mix(seed + 0x51ed270b) ^ mix(step * 0x2545f4914f6cdd1dull + 1);
		if (!dropped(step))
			good = one_step();
	}
	step -= !good;
	print_end(good);
	machine_end(!good);
}
