/* SPDX-License-Identifier: MIT
 * Steps of two processors: at once, and one for the other (shootdown).  See program.h.
 *
 * What is done at once is chosen such that its result is one of a few: an access meets what the tables, or its TLB, were
 * before or after what the other processor does, as it is a single store or a single order (Intel SDM vol. 3A, 4.10.4 and
 * 8.2).  Which of these it is depends on when each processor gets there, so that a failure may not come again. */
#include "program.h"

#include "other.h"

#define TRIES 12
#define DELAY 3000

static struct query before[2][2], after[2], both;

/* What each may see: one question of one page for each processor. */
static bool answers_once(const struct access_plan *p)
{
	return p->parts == 1 && !p->seal && !(kinds[p->a.kind].what & IS_STEPWISE);
}

/* An access that reaches nothing but data, to be made while the other processor does something. */
static bool plan_access(struct access_plan *p, struct query q[2], u64 page)
{
	for (int i = 0; i < TRIES; i++, page = hot[below(HOT)])
		if (access_plan(p, q, page) && answers_once(p) && !p->reach.tables && !p->reach.foreign)
			return true;
	return false;
}

/* Stores of one go to one entry. */
static bool plan_write(struct table_write *w, u64 va)
{
	static const u8 good[] = { KIND_store1, KIND_store2, KIND_store4, KIND_store8, KIND_store_push, KIND_store_string,
				   KIND_xchg, KIND_or, KIND_and, KIND_bts, KIND_btr };

	for (int i = 0; i < TRIES; i++) {
		if (!write_plan(w, va) || w->bytes > 8 || (w->a.va ^ w->pa) & 0xff8)
			continue;
		for (u32 k = 0; k < sizeof good; k++)
			if (w->a.kind == (enum kind)good[k] && (w->a.va & 7) + w->bytes <= 8)
				return true;
	}
	return false;
}

static struct order write_ask(int processor, const struct table_write *w)
{
	const struct access *a = &w->a;

	return access_order(processor, kinds[a->kind].function, a->va, a->operand, a->expected, a->user, a->ac);
}

static void delay(void)
{
	for (u32 i = chance(30) ? 0 : below(DELAY); i; i--)
		__asm__ volatile("" : : : "memory");
}

static void say_access(int processor, const struct access_plan *p)
{
	act((u32)processor);
	if (!say_who())
		return;
	text(" meanwhile access ");
	access_print(&p->a);
	text("\n");
}

/* The orders of both processors. */
static void run_both(const struct order *first, const struct order *second)
{
	counts[COUNT_RACES]++;
	other_post(WAY_POLLED, second);
	delay();
	order_do(first);
	other_wait(WAY_POLLED);
}

/* ---- an access, and a write to a table ---- */

static u64 written_entry(const struct table_write *w)
{
	u64 e = w->old;

	__builtin_memcpy((u8 *)&e + (w->a.va & 7), w->want, w->bytes);
	return e;
}

/* Accessed and dirty bits that the access's walk set before the write are gone where it stored over them. */
static bool keeps_bits(const struct table_write *w)
{
	return (w->a.va & 7) || w->a.kind == KIND_or || w->a.kind == KIND_and || w->a.kind == KIND_bts || w->a.kind == KIND_btr;
}

static bool entry_right(const struct table_write *w, u64 want, u8 bits)
{
	u64 is = table_word(w->frame, w->slot);

	if (!((is ^ want) & ~((u64)bits & ~want)))
		return true;
	text("WRONG entry written meanwhile at ");
	number(w->pa);
	text(": was ");
	number(w->old);
	text(", is ");
	number(is);
	text(", wanted ");
	number(want);
	text("\n");
	return false;
}

/* What the model says of the access with either entry.  False: with the new one, it is none to be made. */
static bool query_both(struct access_plan *p, struct query *q, const struct table_write *w, u64 want, u8 *bits)
{
	bool twice = slot_twice(p->a.va, w->frame, w->slot);
	u8 old_bits = model_may_touch(q, 1, w->frame, w->slot);

	*bits = keeps_bits(w) ? old_bits : 0;
	model_set(w->frame, w->slot, w->old | old_bits);
	model_set(w->frame, w->slot, want);
	access_query(&p->a, after);
	reach_add(&p->reach, after);
	*bits |= model_may_touch(after, 1, w->frame, w->slot);
	model_merge(q, after);
	model_excuse(q, w->frame, w->slot);
	return !twice && !slot_twice(p->a.va, w->frame, w->slot) && !q->too_many && !p->reach.tables && !p->reach.foreign;
}

static bool race_write(int accessing)
{
	struct query *q = before[0];
	struct access_plan p;
	struct table_write w;
	struct order orders[2];
	u64 page = hot[below(HOT)], want;
	u8 bits;

	act((u32)accessing);
	if (!plan_access(&p, q, page) || !plan_write(&w, p.a.va))
		return true;
	want = written_entry(&w);
	if (!query_both(&p, q, &w, want, &bits)) {
		act(1 - (u32)accessing);
		return write_run(&w);
	}
	act(1 - (u32)accessing);
	write_say(&w);
	say_access(accessing, &p);
	access_prepare(accessing, &p.a, q, 1);
	orders[accessing] = access_ask(accessing);
	orders[1 - accessing] = write_ask(1 - accessing, &w);
	run_both(&orders[0], &orders[1]);
	access_result(1 - accessing);
	if (trapped[0] != NO_TRAP)
		return write_wrong(&w);
	return access_judge(accessing) && entry_right(&w, want, bits) && access_conclude(accessing, q, 1);
}

/* ---- an access of the second processor, and an interrupt in which it invalidates something ---- */

static bool race_invalidation(void)
{
	struct query *q = before[0];
	struct access_plan p;
	struct order list[ORDERS], o;
	bool at_once;
	u32 n;

	act(1);
	if (!plan_access(&p, q, hot[below(HOT)]))
		return true;
	say_access(1, &p);
	orders_note();
	invalidate_any(p.a.va);
	n = orders_noted(list);
	access_query(&p.a, after);
	reach_add(&p.reach, after);
	model_merge(q, after);
	at_once = !q->too_many && !p.reach.tables && !p.reach.foreign;
	if (at_once) {
		counts[COUNT_RACES]++;
		access_prepare(1, &p.a, q, 1);
		o = access_ask(1);
		other_post(WAY_POLLED, &o);
		delay();
	}
	for (u32 i = 0; i < n; i++) {
		other_post(WAY_INTERRUPT, &list[i]);
		other_wait(WAY_INTERRUPT);
	}
	if (!at_once)
		return true;
	other_wait(WAY_POLLED);
	return access_judge(1) && access_conclude(1, q, 1);
}

/* ---- two accesses ---- */

/* The first one's data lies in the lower part of a page, the second's in the upper: neither touches what the other does. */
static bool apart(const struct access_plan *p, int processor)
{
	return processor ? (p->a.va & 0xfff) >= 0x7c8 : (p->a.va & 0xfff) < 0x780;
}

static bool race_access(void)
{
	struct access_plan p[2];
	struct order orders[2];
	bool same = chance(50);

	for (int n = 0; n < 2; n++) {
		u64 page = hot[below(HOT)];

		act((u32)n);
		if (!plan_access(&p[n], before[n], n && same ? p[0].a.va & ~0xfffull : page) || !apart(&p[n], n))
			return true;
	}
	both = before[0][0];
	model_merge(&both, &before[1][0]);
	if (both.too_many)
		return true;
	for (int n = 0; n < 2; n++) {
		say_access(n, &p[n]);
		access_prepare(n, &p[n].a, before[n], 1);
		orders[n] = access_ask(n);
	}
	run_both(&orders[0], &orders[1]);
	for (int n = 0; n < 2; n++)
		if (!access_judge(n))
			return false;
	if (!access_conclude(0, &both, 1) || !access_conclude(1, &both, 1))
		return false;
	access_invalidated(0);
	access_invalidated(1);
	return true;
}

/* ---- two writes to tables ---- */

static bool race_writes(void)
{
	struct table_write w[2];
	struct order orders[2];

	for (int n = 0; n < 2; n++) {
		act((u32)n);
		if (!plan_write(&w[n], 0))
			return true;
	}
	if (w[0].pa == w[1].pa)
		return true;
	for (int n = 0; n < 2; n++) {
		act((u32)n);
		write_say(&w[n]);
		orders[n] = write_ask(n, &w[n]);
	}
	run_both(&orders[0], &orders[1]);
	for (int n = 0; n < 2; n++) {
		act((u32)n);
		counts[COUNT_WRITES]++;
		access_result(n);
		if (trapped[0] != NO_TRAP || !entry_right(&w[n], written_entry(&w[n]), 0))
			return write_wrong(&w[n]);
		write_learn(&w[n]);
	}
	return tables_check(NULL, 0);
}

bool race_one(void)
{
	switch (below(5)) {
	case 0: return race_invalidation();
	case 1: return race_access();
	case 2: return race_writes();
	default: return race_write((int)below(2));
	}
}

/* ---- shootdown ---- */

/* As operating systems do it: one processor changes an entry, and each invalidates it, the other one by interrupt; when both
 * have, neither may use what was there before. */
bool shootdown_one(void)
{
	u32 writer = (u32)acting, user = below(2);
	u64 va = hot[below(HOT)];
	struct access_plan p;
	struct table_write w;

	counts[COUNT_SHOOTDOWNS]++;
	/* Both have it in their TLB. */
	for (u32 n = 0; n < 2; n++) {
		act(n);
		if (chance(80) && access_plan(&p, before[0], va) && !access_go(&p, before[0]))
			return false;
	}
	act(writer);
	if (write_plan(&w, va) && !write_run(&w))
		return false;
	for (u32 n = 0; n < 2; n++) {
		act(n);
		acting_way = chance(80) ? WAY_INTERRUPT : WAY_POLLED;
		if (chance(95))
			invalidate_for(va);
	}
	act(user);
	if (access_plan(&p, before[0], va) && !access_go(&p, before[0]))
		return false;
	act(1 - user);
	return !access_plan(&p, before[0], va) || access_go(&p, before[0]);
}
