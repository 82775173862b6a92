/* SPDX-License-Identifier: MIT
 * See access.h. */
#include "access.h"

#include "world.h"

#define VEC_PF 14
#define MOST 64 /* bytes of an access */

#define K(name, bytes, what) extern u8 access_##name[];
KINDS(K)
#undef K
const struct kind_row kinds[KINDS_N] = {
#define K(name, bytes, what) { #name, access_##name, bytes, what },
	KINDS(K)
#undef K
};

static u8 *memory(u64 pa) { return DIRECT(pa); }

static u64 get64(const u8 *p)
{
	u64 v;

	__builtin_memcpy(&v, p, 8);
	return v;
}

void frame_seal(int frame, u32 id)
{
	u8 *p = memory(frame_pa(frame));

	p[CODE_AT] = 0xb8; /* mov $id, %eax; ret */
	__builtin_memcpy(p + CODE_AT + 1, &id, 4);
	p[CODE_AT + 5] = 0xc3;
	p[CODE_ACROSS] = 0xb8;
	__builtin_memcpy(p + CODE_ACROSS + 1, &id, 2);
	__builtin_memcpy(p, (u8 *)&id + 2, 2);
	p[2] = 0xc3;
}

/* ---- output ---- */

void access_print(const struct access *a)
{
	text(kinds[a->kind].name);
	text(a->user ? " user " : a->ac ? " kernel+ac " : " kernel ");
	number(a->va);
	text(" operand ");
	number(a->operand);
	text(" root ");
	decimal((u64)control->root);
	text(" pcid ");
	decimal(pcids[control->pcid]);
	text(control->wp ? " wp" : " -");
	text(control->nxe ? " nxe" : " -");
	text(control->smep ? " smep" : " -");
	text(control->smap ? " smap" : " -");
	text(control->pge ? " pge" : " -");
	text(control->pcide ? " pcide" : " -");
}

static void print_outcome(const struct outcome *o)
{
	text(o->cached ? "  cached: " : "  walk: ");
	text(o->fault ? "#PF error " : "page ");
	number(o->fault ? o->error : o->pa);
	for (u32 k = 0; k < o->needs; k++) {
		text(" sets ");
		number(o->need[k].bits);
		text(" in ");
		number(frame_pa(o->need[k].frame) + 8 * slot_index[o->need[k].slot]);
	}
	text("\n");
}

/* ---- what it does to memory ---- */

void access_effect(const struct access *a, const u8 *old, u8 *now)
{
	u32 n = kinds[a->kind].bytes;
	u64 v = a->operand, o = n >= 8 ? get64(old) : 0;

	__builtin_memcpy(now, old, n);
	switch (a->kind) {
	case KIND_store16: case KIND_fill8:
		for (u32 i = 0; i < n; i += 8)
			__builtin_memcpy(now + i, &v, 8);
		return;
	case KIND_xadd: case KIND_add:
		v += o;
		break;
	case KIND_or:
		v |= o;
		break;
	case KIND_and:
		v &= o;
		break;
	case KIND_or1:
		v |= old[0];
		break;
	case KIND_and1:
		v &= old[0];
		break;
	case KIND_bts:
		v = o | 1ull << (v & 63);
		break;
	case KIND_btr:
		v = o & ~(1ull << (v & 63));
		break;
	case KIND_cmpxchg:
		v = o == a->expected ? v : o;
		break;
	case KIND_cmpxchg16:
		if (o == a->expected && get64(old + 8) == a->expected)
			__builtin_memcpy(now + 8, &v, 8);
		else
			v = o;
		n = 8;
		break;
	default:
		break;
	}
	__builtin_memcpy(now, &v, n);
}

/* ---- the model's answer ---- */

int access_query(const struct access *a, struct query q[2])
{
	const struct kind_row *k = &kinds[a->kind];
	u32 how = (k->what & IS_WRITE ? ACC_W : 0) | (k->what & IS_EXEC ? ACC_X : 0) | (a->user ? ACC_U : 0) |
		  (a->ac ? ACC_AC : 0);
	u64 last = a->va + k->bytes - 1;

	model_query(&q[0], a->va, how);
	if (!((a->va ^ last) >> 12))
		return 1;
	model_query(&q[1], last & ~0xfffull, how);
	return 2;
}

/* The access, its bytes on each page, and what they were in each place that may be meant. */
struct trial {
	const struct access *a;
	const struct query *q;
	u16 what;
	u32 parts, length[2], choice[2];
	u64 value;
	u8 before[2][OUTCOMES][MOST];
};
static struct trial trials[PROCESSORS];

/* Accessed and dirty bits of entries that walks use may change under an access. */
static u8 unsure(const struct trial *t, u64 pa)
{
	int f = frame_at(pa), s = slot_of(pa >> 3 & 511);

	return f >= 0 && frame_is_table[f] && !(pa & 7) && s >= 0 ? model_may_touch(t->q, (int)t->parts, f, s) : 0;
}

static bool same(const struct trial *t, u64 pa, const u8 *a, const u8 *b, u32 n)
{
	for (u32 i = 0; i < n; i++)
		if ((a[i] ^ b[i]) & ~unsure(t, pa + i))
			return false;
	return true;
}

static void trial_begin(struct trial *t, const struct access *a, const struct query *q, int n)
{
	u32 bytes = kinds[a->kind].bytes;

	t->a = a;
	t->q = q;
	t->what = kinds[a->kind].what;
	t->parts = (u32)n;
	t->length[0] = n == 1 ? bytes : (u32)(0x1000 - (a->va & 0xfff));
	t->length[1] = bytes - t->length[0];
	t->choice[0] = t->choice[1] = 0;
	for (u32 part = 0; part < t->parts; part++)
		for (u32 i = 0; i < q[part].n; i++)
			if (!q[part].out[i].fault)
				__builtin_memcpy(t->before[part][i], memory(q[part].out[i].pa), t->length[part]);
}

/* The bits are set that a walk for this result sets, but where the access itself then wrote. */
static bool marked(const struct outcome *o, u64 pa, u32 length)
{
	for (u32 i = 0; i < o->needs; i++) {
		u64 at = frame_pa(o->need[i].frame) + 8 * slot_index[o->need[i].slot];

		if (at - pa >= length && pa - at >= 8 && (~*memory(at) & o->need[i].bits))
			return false;
	}
	return true;
}

/* Nothing was written there: walks set bits and clear none. */
static bool untouched(const struct trial *t, u64 pa, const u8 *before, u32 n)
{
	const u8 *now = memory(pa);

	for (u32 i = 0; i < n; i++)
		if (((now[i] ^ before[i]) & ~unsure(t, pa + i)) || (before[i] & ~now[i]))
			return false;
	return true;
}

/* No place that could have been reached, but the one at pa, was written to. */
static bool others_same(const struct trial *t, u32 part, u64 pa)
{
	u32 n = t->length[part];

	for (u32 i = 0; i < t->q[part].n; i++) {
		const struct outcome *o = &t->q[part].out[i];

		if (!o->fault && o->pa - pa >= n && pa - o->pa >= n && !untouched(t, o->pa, t->before[part][i], n))
			return false;
	}
	return true;
}

/* Whether the choice of one outcome for each part explains a result without a fault. */
static bool explains(const struct trial *t)
{
	u8 old[MOST], now[MOST], got[16];
	u32 at = 0;

	for (u32 part = 0; part < t->parts; at += t->length[part++])
		__builtin_memcpy(old + at, t->before[part][t->choice[part]], t->length[part]);
	access_effect(t->a, old, now);
	__builtin_memcpy(got, &t->value, 8);
	__builtin_memcpy(got + 8, &access_high, 8);
	if ((t->what & IS_EXEC) && __builtin_memcmp(got, old + 1, 4))
		return false;
	at = 0;
	for (u32 part = 0; part < t->parts; at += t->length[part++]) {
		const struct outcome *o = &t->q[part].out[t->choice[part]];
		u32 n = t->length[part];

		if ((t->what & IS_READ) && !same(t, o->pa, got + at, old + at, n))
			return false;
		if (!(t->what & IS_WRITE)) {
			if (!marked(o, 0, 0))
				return false;
			continue;
		}
		if (!same(t, o->pa, memory(o->pa), now + at, n) || !marked(o, o->pa, n) || !others_same(t, part, o->pa))
			return false;
	}
	return true;
}

/* Finds the choice. */
static bool good_result(struct trial *t)
{
	const struct query *q = t->q;

	for (t->choice[0] = 0; t->choice[0] < q[0].n; t->choice[0]++) {
		if (q[0].out[t->choice[0]].fault)
			continue;
		t->choice[1] = 0;
		if (t->parts == 1) {
			if (explains(t))
				return true;
			continue;
		}
		for (; t->choice[1] < q[1].n; t->choice[1]++)
			if (!q[1].out[t->choice[1]].fault && explains(t))
				return true;
	}
	return false;
}

/* A string instruction wrote to the first page and met a fault on the second. */
static bool half_done(const struct trial *t)
{
	return t->parts == 2 && trapped[2] != t->a->va && (t->what & IS_STEPWISE) && (t->what & IS_WRITE);
}

/* An oracle reads first, where an instruction reads and writes one operand, and says that the read failed; and with a
 * reserved bit it does not say that the entry was present. */
static bool near(const struct trial *t, u32 part, u32 i)
{
	if (control->lenient && (trapped[1] & 9) == 8)
		trapped[1] |= 1;
	if (t->q[part].out[i].error == trapped[1])
		return true;
	return control->lenient && t->q[part].out[i].error == (trapped[1] | 2) && t->a->kind >= KIND_xchg && t->a->kind <= KIND_cmpxchg16;
}

/* A fault on a page of the access: of the right kind, and nothing else was done. */
static bool good_fault(struct trial *t)
{
	u32 part = (trapped[2] ^ t->a->va) >> 12 ? 1 : 0;
	bool known = false;

	if (trapped[0] != VEC_PF || part >= t->parts)
		return false;
	/* The second instruction of what is called may find its translation gone. */
	if (trapped[2] != (part ? t->q[1].va : t->a->va) && !((t->what & IS_EXEC) && trapped[2] == t->a->va + 5))
		return false;
	for (u32 i = 0; i < t->q[part].n; i++)
		known |= t->q[part].out[i].fault && near(t, part, i);
	if (!known)
		return false;
	if (!(t->what & IS_WRITE))
		return true;
	if (half_done(t)) {
		bool good;

		t->parts = 1;
		good = good_result(t);
		t->parts = 2;
		return good && others_same(t, 1, 0);
	}
	for (u32 i = 0; i < t->parts; i++)
		if (!others_same(t, i, 0))
			return false;
	return true;
}

/* The entry of the address in a table; the table that follows in *table, 0: none. */
static u64 path_step(u64 va, int level, u64 *table)
{
	u64 e = *(u64 *)(memory(*table) + (va >> (12 + 9 * (level - 1)) & 511) * 8);
	bool last = !(e & PTE_P) || (level < 4 && (e & PTE_PS)) || level == 1 || frame_at(e & PTE_ADDR) < 0;

	*table = last ? 0 : e & PTE_ADDR;
	return e;
}

/* The entries that lead to the address now. */
static void print_path(u64 va)
{
	u64 table = frame_pa(table_frame[control->root]);

	text("  entries of ");
	number(va);
	text(":");
	for (int level = 4; table; level--) {
		text(" ");
		number(table);
		text(":");
		number(path_step(va, level, &table));
	}
	text("\n");
}

bool access_severs_itself(const struct access *a, const struct query *q, int parts)
{
	u64 last = a->va + kinds[a->kind].bytes - 1;

	if (!(kinds[a->kind].what & IS_WRITE) || (parts == 1 && !(kinds[a->kind].what & IS_STEPWISE)))
		return false;
	for (int end = 0; end < 2; end++) {
		u64 va = end ? last : a->va, table = frame_pa(table_frame[control->root]);

		for (int level = 4; table; path_step(va, level--, &table))
			for (int part = 0; part < parts; part++)
				for (u32 i = 0; i < q[part].n; i++)
					if (!q[part].out[i].fault && (q[part].out[i].pa ^ table) < PAGE_SIZE)
						return true;
	}
	return false;
}

void trap_print(const u64 *t)
{
	text(": vector ");
	number(t[0]);
	text(" error ");
	number(t[1]);
	text(" address ");
	number(t[2]);
}

static void complain(const struct trial *t)
{
	text("WRONG ");
	access_print(t->a);
	if (trapped[0] == NO_TRAP) {
		text(": result ");
		number(t->value);
	} else {
		trap_print(trapped);
	}
	text("; allowed:\n");
	for (u32 part = 0; part < t->parts; part++)
		for (u32 k = 0; k < t->q[part].n; k++) {
			const struct outcome *o = &t->q[part].out[k];

			print_outcome(o);
			if (o->fault)
				continue;
			text("    before ");
			number(get64(t->before[part][k]));
			text(" after ");
			number(get64(memory(o->pa)));
			text("\n");
		}
	for (u32 part = 0; part < t->parts; part++)
		print_path(t->q[part].va);
	for (int f = 0; f < FRAMES && trapped[0] == NO_TRAP && t->parts == 1; f++)
		if (!__builtin_memcmp(memory(frame_pa(f) + (t->a->va & 0xfff)), &t->value, MIN(8u, t->length[0]))) {
			text("  the result is in ");
			number(frame_pa(f));
			text("\n");
		}
}

/* ---- the tables afterwards ---- */

u64 table_word(int frame, int slot) { return *(volatile u64 *)(memory(frame_pa(frame)) + 8 * slot_index[slot]); }

/* Takes over bits that a walk may have set. */
static bool entry_check(const struct query *q, int n, int frame, int slot)
{
	u64 is = table_word(frame, slot), was = model_get(frame, slot);

	if (is == was)
		return true;
	if ((is ^ was) & ~((u64)model_may_touch(q, n, frame, slot) & ~was)) {
		text("WRONG entry at ");
		number(frame_pa(frame) + 8 * slot_index[slot]);
		text(": was ");
		number(was);
		text(", is ");
		number(is);
		text("\n");
		return false;
	}
	model_set(frame, slot, is);
	return true;
}

bool tables_check(const struct query *q, int n)
{
	for (int t = 0; t < TABLES; t++)
		for (int s = 0; s < SLOTS; s++)
			if (!entry_check(q, n, table_frame[t], s))
				return false;
	return true;
}

/* What the access wrote to entries, the model learns; before it, what its walk may have marked there and cached. */
static void learn(const struct trial *t, u32 parts)
{
	for (u32 part = 0; part < parts; part++) {
		u64 pa = t->q[part].out[t->choice[part]].pa;

		for (u64 at = pa & ~7ull; at < pa + t->length[part]; at += 8) {
			int f = frame_at(at), s = slot_of(at >> 3 & 511);

			if (f < 0 || !frame_is_table[f] || s < 0)
				continue;
			model_set(f, s, model_get(f, s) | model_may_touch(t->q, (int)t->parts, f, s));
			model_set(f, s, table_word(f, s));
		}
	}
}

void access_prepare(int processor, const struct access *a, const struct query *q, int parts)
{
	trial_begin(&trials[processor], a, q, parts);
}

struct order access_ask(int processor)
{
	const struct access *a = trials[processor].a;

	return access_order(processor, kinds[a->kind].function, a->va, a->operand, a->expected, a->user, a->ac);
}

bool access_judge(int processor)
{
	struct trial *t = &trials[processor];

	model_on(processor);
	t->value = access_result(processor);
	if (!(trapped[0] == NO_TRAP ? good_result(t) : good_fault(t))) {
		complain(t);
		return false;
	}
	if (t->what & IS_WRITE)
		learn(t, trapped[0] == NO_TRAP ? t->parts : half_done(t));
	return true;
}

bool access_conclude(int processor, const struct query *q, int n)
{
	const struct trial *t = &trials[processor];

	model_on(processor);
	access_result(processor);
	if (!tables_check(q, n)) {
		complain(t);
		return false;
	}
	return true;
}

void access_invalidated(int processor)
{
	model_on(processor);
	access_result(processor);
	if (trapped[0] != NO_TRAP && !control->lenient)
		model_invalidate(INV_FAULT, control->pcid, trapped[2]);
}

bool access_check(const struct access *a, struct query q[2])
{
	int n = access_query(a, q);

	access_prepare(acting, a, q, n);
	access_run(kinds[a->kind].function, a->va, a->operand, a->expected, a->user, a->ac);
	if (!access_judge(acting) || !access_conclude(acting, q, n))
		return false;
	access_invalidated(acting);
	return true;
}
