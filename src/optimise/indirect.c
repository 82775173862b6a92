/* SPDX-License-Identifier: MIT
 * Indirect jumps and calls of a region: the target is compared with those that the trace saw, one after the other, or
 * a few bits of it lead through a table to the compare with the one that they leave.
 * Freestanding; owner as ir.h. */
#include "optimise/ir.h"

/* The target of an indirect branch in a register; *got is to be put back. */
static int branch_target(struct optimiser *o, u16 avoid, int *got)
{
	const struct op *op = o->op;
	struct val v;
	struct rm rm;

	*got = -1;
	if (!op->in.has_mem) {
		v = val_of(o, op->in.rm);
		if (val_is_reg(v) && v.wide && v.base != RSP)
			return v.base;
		bring_home(o, op->in.rm);
		return op->in.rm;
	}
	rm = operand_mem(o, op, got);
	if (*got < 0)
		*got = scratch_get(o, op->in.reg_touch | avoid);
	record(o);
	encode_rm(&o->hot, 0x8b, 8, *got, &rm, 0);
	if (!o->r->own_memory)
		slots_stored(o, false, 0, 0, -1);
	return *got;
}

/* Where an indirect branch may go, while its ways are emitted. */
struct fan {
	u8 order[MAX_SUCC];  /* successors, the likely ones last */
	int n;
	int got, index;      /* scratch registers, or -1 */
	u64 mask;            /* of the target: these bits tell the targets apart */
	struct state s;
	u16 busy, spilled;
	bool save;           /* the guest's flags are in RAX */
	u8 *miss;
};

static void fan_restore(struct optimiser *o, const struct fan *f)
{
	o->s = f->s;
	o->busy = f->busy;
	o->spilled = f->spilled;
}

static void fan_put(struct optimiser *o, const struct fan *f)
{
	if (f->index >= 0)
		scratch_put(o, f->index);
	if (f->got >= 0)
		scratch_put(o, f->got);
}

static void fan_order(struct fan *f, const struct node *n)
{
	f->n = 0;
	for (int i = 0; i < n->n_succ; i++) {
		int k = f->n;

		if (n->succ[i] == NO_NODE)
			continue;
		for (; k > 0 && n->taken[f->order[k - 1]] > n->taken[i]; k--)
			f->order[k] = f->order[k - 1];
		f->order[k] = (u8)i;
		f->n++;
	}
}

static unsigned classes(const struct fan *f, const struct node *n, u64 mask)
{
	unsigned distinct = 0;

	for (int i = 0; i < f->n; i++) {
		int k = 0;

		while (k < i && ((n->target[f->order[k]] ^ n->target[f->order[i]]) & mask))
			k++;
		distinct += k == i;
	}
	return distinct;
}

#define FAN_BITS 6
#define TABLE_INSNS 3 /* what a jump through a table weighs beyond its instructions */

/* A few bits in which all targets differ; 0: there are none. */
static u64 fan_mask(const struct fan *f, const struct node *n)
{
	u64 mask = 0;

	for (int bits = 0; bits < FAN_BITS; bits++) {
		u64 best = 0;
		unsigned most = 0;

		for (int b = 0; b < 47; b++) {
			unsigned c = classes(f, n, mask | 1ull << b);

			if (c > most) {
				most = c;
				best = 1ull << b;
			}
		}
		mask |= best;
		if (most == (unsigned)f->n)
			return mask;
	}
	return 0;
}

static u64 extract(u64 v, u64 mask)
{
	u64 r = 0;

	for (int at = 0; mask; mask &= mask - 1)
		r |= (v >> __builtin_ctzll(mask) & 1) << at++;
	return r;
}

/* index = bits of the target;  jmp [table + index * 8].  The table, in the cold stream; mask and table lie there. */
static u64 *fan_jump(struct optimiser *o, struct fan *f, int reg)
{
	struct emit *e = &o->hot, *c = &o->cold;
	u64 *table;
	u8 *mask;

	while ((u64)(uintptr_t)c->p & 7)
		e8(c, 0x90);
	mask = c->p;
	e64(c, f->mask);
	table = (u64 *)c->p;
	c->p += 8u << __builtin_popcountll(f->mask);
	/* pext index, reg, [rip + mask] */
	e8(e, 0xc4); e8(e, (u8)((f->index < 8 ? 0x80 : 0) | 0x62)); e8(e, (u8)(0x80 | (~reg & 15) << 3 | 2)); e8(e, 0xf5);
	e8(e, (u8)(0x05 | (f->index & 7) << 3));
	e32(e, (u32)(mask - (e->p + 4)));
	/* jmp [index * 8 + table] */
	if (f->index >= 8)
		e8(e, 0x42);
	e8(e, 0xff); e8(e, 0x24); e8(e, (u8)(0xc5 | (f->index & 7) << 3));
	e32(e, (u32)(uintptr_t)table);
	return table;
}

static void fan_miss(struct optimiser *o, struct fan *f)
{
	flow_swap(o);
	f->miss = o->hot.p;
	flow_guard_restore(o, f->save);
	fan_put(o, f);
	flow_leave(o, o->op->pc);
	flow_swap(o);
	fan_restore(o, f);
}

/* The way through the table's entry for target i begins right before the node itself, which has no other. */
static bool fan_land(struct optimiser *o, const struct fan *f, const struct node *n, int i, int reg, u64 *entry)
{
	struct node *t = &o->nodes[n->succ[i]];

	if (t->merge || t->placed || !flow_save(o, n->succ[i]))
		return false;
	t->landing = (struct landing){ entry, f->miss, (s8)f->got, (s8)f->index, (u8)reg, f->save, f->busy, f->spilled, (u16)(n - o->nodes) };
	return true;
}

void indirect_land(struct optimiser *o, const struct node *n)
{
	const struct landing *l = &n->landing;
	const struct node *from = &o->nodes[l->from];
	struct fan f = { .got = l->got, .index = l->index };

	o->op = &o->ops[from->first + from->n - 1];
	o->busy = l->busy;
	o->spilled = l->spilled;
	*l->entry = (u64)(uintptr_t)o->hot.p;
	flow_compare(o, l->reg, n->pc, (u16)(o->op->in.reg_touch | BIT(RAX)));
	e_jcc(&o->hot, 5, l->miss);
	flow_guard_restore(o, l->save);
	fan_put(o, &f);
	if (o->op->kind == OP_ICALL)
		flow_push_return(o, from->next_pc);
}

u16 indirect_end(struct optimiser *o, struct node *n)
{
	const struct op *op = o->op;
	struct fan f = { .index = -1 };
	u64 *table = NULL;
	u16 to = NO_NODE;
	u32 left = n->count;
	int reg;

	fan_order(&f, n);
	if (!f.n) {
		flow_leave(o, op->pc);
		return NO_NODE;
	}
	reg = branch_target(o, BIT(RAX), &f.got);
	/* Not before: what comes home there may need the flags. */
	f.save = !flags_release(o, false);
	if (f.save && reg == RAX) {
		f.got = scratch_get(o, (u16)(op->in.reg_touch | BIT(RAX)));
		e_mov_rr(&o->hot, f.got, RAX);
		reg = f.got;
	}
	if (f.n > 2 && (u64)(uintptr_t)o->cold.end < 0x7fffffff)
		f.mask = fan_mask(&f, n);
	if (f.mask) {
		f.index = scratch_get(o, (u16)(op->in.reg_touch | BIT(reg) | (f.save ? BIT(RAX) : 0)));
		flow_guard_save(o, f.save);
		table = fan_jump(o, &f, reg);
		o->host_insns += (u64)n->count * TABLE_INSNS;
	} else if (f.n > 3) { /* a chain of compares: the likeliest three */
		for (int i = 0; i < 3; i++)
			f.order[i] = f.order[f.n - 3 + i];
		f.n = 3;
	}
	if (!f.mask)
		flow_guard_save(o, f.save);
	f.s = o->s;
	f.busy = o->busy;
	f.spilled = o->spilled;
	fan_miss(o, &f);
	for (u32 i = 0; table && i < 1u << __builtin_popcountll(f.mask); i++)
		table[i] = (u64)(uintptr_t)f.miss;
	for (int k = 0; k < f.n; k++) {
		int i = f.order[k];
		bool last = k == f.n - 1;
		u8 *over;

		if (table && fan_land(o, &f, n, i, reg, &table[extract(n->target[i], f.mask)])) {
			o->n_calls += op->kind == OP_ICALL;
			to = n->succ[i];
			continue;
		}
		if (table) {
			table[extract(n->target[i], f.mask)] = (u64)(uintptr_t)o->hot.p;
			flow_weigh(o, n->taken[i]);
		}
		flow_compare(o, reg, n->target[i], (u16)(op->in.reg_touch | BIT(RAX)));
		over = e_jcc(&o->hot, 5, f.miss);
		flow_weigh(o, n->taken[i]);
		flow_guard_restore(o, f.save);
		fan_put(o, &f);
		if (op->kind == OP_ICALL)
			flow_push_return(o, n->next_pc);
		o->n_calls += op->kind == OP_ICALL;
		to = n->succ[i];
		flow_edge(o, to, last && !table && flow_placeable(o, to));
		left -= MIN(left, n->taken[i]);
		flow_weigh(o, left);
		if (!last && !table)
			e_patch(over, o->hot.p);
		if (!last)
			fan_restore(o, &f);
	}
	o->busy = o->spilled = 0;
	return !table && flow_placeable(o, to) ? to : NO_NODE;
}
