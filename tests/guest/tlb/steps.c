/* SPDX-License-Identifier: MIT
 * The steps of one processor: writes to tables, accesses, invalidations, control registers.  See program.h. */
#include "program.h"

#include "disk.h"
#include "x86/cpu.h"

static struct query query[2];
u64 counts[COUNTS];


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

bool slot_twice(u64 va, int frame, int slot)
{
	int f, s, n = 0;

	for (int level = 4, before = -1; level > 0; level--) {
		/* Above its end a walk gives the same entry again. */
		bool there = slot_on_path(va, control->root, level, &f, &s) && f == frame && s == slot;

		n += there && before != level + 1;
		before = there ? level : -1;
	}
	return n > 1;
}

static int level_of_frame(int frame)
{
	for (int t = 0; t < TABLES; t++)
		if (table_frame[t] == frame)
			return level_of(t);
	return 1;
}

/* On the way to va, if it is not 0, else to any hot page. */
static void choose_slot(u64 va, int *frame, int *slot)
{
	u64 page = va ? va : hot[below(HOT)];
	int root = (int)(va || chance(70) ? (u32)control->root : below(ROOTS));

	if (chance(va ? 95 : 75) && slot_on_path(page, root, (int)below(7) % 4 + 1, frame, slot))
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

bool say_who(void)
{
	if (!options.verbose)
		return false;
	decimal(step);
	if (options.cpus > 1)
		text(acting ? " second" : " first");
	return true;
}

static void say(const char *what, u64 a, u64 b)
{
	if (!say_who())
		return;
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
		if (options.kvm || (a->va & 0xfff) > 0xff0 || (a->kind == KIND_cmpxchg16 && (a->va & 15)))
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

bool write_plan(struct table_write *w, u64 va)
{
	static const u64 bases[] = { VIRT, ALIAS_UPPER, ALIAS_USER, ALIAS_USER, ALIAS_LOWER };
	struct access *a = &w->a;
	u32 alias = below(profile.low_is_user ? 4 : 5);
	u8 before[64];
	u64 base;

	*a = (struct access){ 0 };
	choose_slot(va, &w->frame, &w->slot);
	if (fixed_slot(w->frame, w->slot))
		return false;
	w->old = model_get(w->frame, w->slot);
	w->pa = frame_pa(w->frame) + 8 * slot_index[w->slot];
	base = bases[alias];
	if (base == ALIAS_LOWER && !*((u64 *)DIRECT(frame_pa(table_frame[0])) + (ALIAS_LOWER >> 39)))
		base = VIRT;
	a->va = base == VIRT ? VIRT + w->pa : base + ((u64)w->frame << 12) + (w->pa & 0xfff);
	a->user = base == ALIAS_USER && alias == 2;
	a->ac = base == ALIAS_USER && !a->user;
	choose_store(a, w->old, varied(w->old, level_of_frame(w->frame), level_of_frame(w->frame) < 4 || w->slot < UPPER), w->frame);
	w->bytes = kinds[a->kind].bytes;
	w->at = (u8 *)DIRECT(frame_pa(w->frame)) + (a->va & 0xfff);
	__builtin_memcpy(before, w->at, w->bytes);
	access_effect(a, before, w->want);
	return true;
}

void write_say(const struct table_write *w)
{
	if (!say_who())
		return;
	text(" write ");
	access_print(&w->a);
	text(" at ");
	number(w->pa);
	text(" old ");
	number(w->old);
	text("\n");
}

bool write_wrong(const struct table_write *w)
{
	text("WRONG write ");
	access_print(&w->a);
	trap_print(trapped);
	text("\n");
	return false;
}

void write_learn(const struct table_write *w)
{
	for (int s = 0; s < SLOTS; s++)
		model_set(w->frame, s, table_word(w->frame, s));
}

bool write_run(struct table_write *w)
{
	const struct access *a = &w->a;

	write_say(w);
	access_run(kinds[a->kind].function, a->va, a->operand, a->expected, a->user, a->ac);
	counts[COUNT_WRITES]++;
	if (trapped[0] != NO_TRAP || __builtin_memcmp(w->at, w->want, w->bytes))
		return write_wrong(w);
	write_learn(w);
	return tables_check(NULL, 0);
}

static bool write_entry(void)
{
	struct table_write w;

	return !write_plan(&w, 0) || write_run(&w);
}

/* The same by a device. */
static bool write_by_device(void)
{
	int frame, slot;
	u64 e, pa;

	choose_slot(0, &frame, &slot);
	if (fixed_slot(frame, slot))
		return true;
	e = varied(model_get(frame, slot), level_of_frame(frame), level_of_frame(frame) < 4 || slot < UPPER);
	pa = frame_pa(frame) + 8 * slot_index[slot];
	say("disk writes at", pa, e);
	counts[COUNT_WRITES]++;
	if (!disk_write_memory(pa, e) || *(volatile u64 *)DIRECT(pa) != e) {
		text("WRONG disk\n");
		return false;
	}
	for (int s = 0; s < SLOTS; s++)
		model_set(frame, s, table_word(frame, s));
	return tables_check(NULL, 0);
}

void reach_add(struct reach *r, const struct query *q)
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
static bool aim_entry(struct access *a, const struct query *q, u64 page)
{
	int slot = (int)below(SLOTS), frame = -1;
	bool sure = true;
	u64 old, e;

	for (u32 i = 0; i < q->n; i++) {
		if (q->out[i].fault)
			continue;
		sure &= frame < 0 || frame == frame_at(q->out[i].pa);
		frame = frame_at(q->out[i].pa);
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

/* Which, and at what of the page; `across`: over its end. */
static void access_aim(struct access_plan *p, struct query q[2], u64 page, bool *across)
{
	struct access *a = &p->a;
	enum kind kind = a->kind;
	u32 what = kinds[kind].what;

	a->va = page;
	*across = ((what & IS_EXEC) || (!(what & IS_LOCKED) && kinds[kind].bytes > 1 && kinds[kind].bytes < 64)) && chance(20) &&
		  in_world(page + 0x1000);
	access_query(a, q);
	reach_add(&p->reach, &q[0]);
	if ((what & IS_WRITE) && p->reach.tables && !p->reach.data && !p->reach.foreign && chance(50) && aim_entry(a, q, page)) {
		*across = false;
		a->va = page + (a->va & 0xfff);
		return;
	}
	a->kind = kind;
	aim(a, page);
	if (a->kind == KIND_store4 && !p->reach.tables && chance(50))
		a->va = page + CODE_AT + 1; /* what the code there returns */
	if (*across)
		aim_across(a, page);
	if (a->kind == KIND_call)
		a->va = page + (*across ? CODE_ACROSS : CODE_AT);
}

bool access_plan(struct access_plan *p, struct query q[2], u64 page)
{
	bool across;
	u32 what;

	*p = (struct access_plan){ .a = { .kind = (enum kind)below(KINDS_N), .user = chance(50), .ac = chance(50) } };
	if (chance(30))
		p->a.kind = chance(80) ? KIND_call : KIND_store4;
	p->a.ac &= !(options.kvm && p->a.user); /* alignment is checked there whatever CR0.AM says */
	avoid_vectors(&p->a, page);
	access_aim(p, q, page, &across);
	p->parts = access_query(&p->a, q);
	if (p->parts == 2)
		reach_add(&p->reach, &q[1]);
	if (q[0].too_many || (across && q[1].too_many)) {
		flush_all();
		return false;
	}
	what = kinds[p->a.kind].what;
	/* See docs/shadow-paging.md: processors that differ in what the kernel, or anybody in its half, executes there. */
	if (options.cpus > 1 && !options.calls && (what & IS_EXEC) && (!p->a.user || (s64)p->a.va < 0))
		return false;
	if (options.lenient && ambiguous(&p->a, q))
		return false;
	if (p->reach.foreign && (what & (IS_WRITE | IS_EXEC)))
		return false;
	if (p->reach.tables && ((what & IS_EXEC) || (across && (what & IS_WRITE) && profile.same_upper)))
		return false;
	if (p->reach.tables && access_severs_itself(&p->a, q, p->parts))
		return false;
	p->seal = across && (what & IS_WRITE) && p->reach.data;
	return true;
}

bool access_go(const struct access_plan *p, struct query q[2])
{
	if (say_who()) {
		text(" access ");
		access_print(&p->a);
		text("\n");
	}
	counts[COUNT_ACCESSES]++;
	if (!access_check(&p->a, q))
		return false;
	if (trapped[0] != NO_TRAP)
		say("  fault", trapped[1], trapped[2]);
	if (p->seal)
		seal_again();
	return true;
}

static bool access_one(void)
{
	struct access_plan p;

	return !access_plan(&p, query, hot[below(HOT)]) || access_go(&p, query);
}

static void load_root(void)
{
	int root = (int)below(ROOTS), pcid = control->pcide ? (int)below(PCIDS) : 0;
	bool keep = control->pcide && chance(60);

	if (skipped(OP_CR3))
		return;
	say("cr3 root, pcid + keep", (u64)root, pcids[pcid] | (u64)keep << 63);
	set_cr3(frame_pa(table_frame[root]) | pcids[pcid] | (u64)keep << 63);
	model_loaded_root(root, pcid, !keep);
}

static void invalidate_context(u64 type, int pcid, u64 va)
{

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

static u64 random_type(void) { return below(100) < profile.flush ? 2 + below(2) : below(2); }

static void invalidate_page(u64 va)
{
	say("invlpg", va, 0);
	invlpg(va);
	model_invalidate(INV_PAGE, control->pcid, va);
}

void invalidate_for(u64 va)
{
	counts[COUNT_INVALIDATIONS]++;
	switch (below(features.invpcid ? 5 : 2)) {
	case 0: default:
		invalidate_page(va);
		break;
	case 1:
		say("cr3 again", 0, 0);
		set_cr3(frame_pa(table_frame[control->root]) | pcids[control->pcid]);
		model_loaded_root(control->root, control->pcid, true);
		break;
	case 2:
		invalidate_context(0, control->pcid, va);
		break;
	case 3:
		invalidate_context(1, control->pcid, 0);
		break;
	case 4:
		invalidate_context(2 + below(2), 0, 0);
	}
}

static void toggle_pcide(void)
{
	if (control->pcide) {
		control->pcide = false;
		say("pcide", 0, 0);
		/* As the manual wants it the other way, with number 0. */
		set_cr3(frame_pa(table_frame[control->root]) | 1ull << 63);
		set_cr4(CR4_PCIDE, false);
		control->pcid = 0;
		model_flush_all();
		return;
	}
	say("pcide", 1, 0);
	control->pcide = true;
	set_cr4(CR4_PCIDE, true);
}

/* `which`: below 6 it is one order, and concerns this processor alone. */
static void control_one(u32 which)
{
	switch (which) {
	case 0:
		if (skipped(OP_PGE) || !features.pge || !chance(profile.flush * 2u))
			break;
		control->pge = !control->pge;
		say("pge", control->pge, 0);
		set_cr4(CR4_PGE, control->pge);
		model_flush_all();
		break;
	case 1: case 2:
		if (skipped(OP_WP))
			break;
		control->wp = !control->wp;
		say("wp", control->wp, 0);
		set_wp(control->wp);
		break;
	case 3:
		if (skipped(OP_SMEP) || !features.smep)
			break;
		control->smep = !control->smep;
		say("smep", control->smep, 0);
		set_cr4(CR4_SMEP, control->smep);
		break;
	case 4: case 5:
		if (skipped(OP_SMAP) || !features.smap)
			break;
		control->smap = !control->smap;
		say("smap", control->smap, 0);
		set_cr4(CR4_SMAP, control->smap);
		break;
	case 6:
		if (skipped(OP_NXE) || !features.nx || !chance(30))
			break;
		control->nxe = !control->nxe;
		say("nxe", control->nxe, 0);
		set_nxe(control->nxe);
		flush_all();
		break;
	default:
		if (!skipped(OP_PCIDE) && features.pcid && chance(20))
			toggle_pcide();
	}
}

void invalidate_any(u64 va)
{
	u32 r = below(100);

	if (r < 50 && !skipped(OP_INVLPG))
		invalidate_page(va);
	else if (r < 65 && features.invpcid && !skipped(OP_INVPCID))
		invalidate_context(random_type(), control->pcide ? (int)below(PCIDS) : 0, va);
	else if (r < 80)
		load_root();
	else
		control_one(below(6));
}

static bool invalidate_one(void)
{
	u32 r = below(100);

	counts[COUNT_INVALIDATIONS]++;
	if (r < 45 && !skipped(OP_INVLPG)) {
		u64 va = hot[below(HOT)] + (chance(20) ? below(0x400000) : below(4096));

		invalidate_page(va);
	} else if (r < 60 && features.invpcid && !skipped(OP_INVPCID)) {
		invalidate_context(random_type(), control->pcide ? (int)below(PCIDS) : 0, hot[below(HOT)] + below(4096));
	} else if (r < 80) {
		load_root();
	} else if (r < 85 && !skipped(OP_CODE)) {
		int f = (int)below(FRAMES);

		if (!frame_is_table[f])
			frame_seal(f, (u32)rnd() & ~0x10000u);
	} else {
		control_one(below(8));
	}
	return true;
}

bool one_step(void)
{
	u32 r;

	if (options.cpus > 1) {
		act(below(2));
		acting_way = chance(50) ? WAY_POLLED : WAY_INTERRUPT;
	}
	if (model_crowded())
		flush_all();
	r = below(100);
	if (options.cpus > 1 && r < 12)
		return skipped(OP_RACE) || race_one();
	if (options.cpus > 1 && r < 24)
		return skipped(OP_SHOOTDOWN) || shootdown_one();
	r = below(100);
	if (r < profile.accesses)
		return skipped(OP_ACCESS) || access_one();
	if (r < profile.accesses + profile.writes)
		return skipped(OP_WRITE) || (options.disk && chance(5) ? write_by_device() : write_entry());
	return invalidate_one();
}
