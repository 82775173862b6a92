/* SPDX-License-Identifier: MIT
 * Control flow of a region: entry, edges between nodes, exits, calls and returns, and the order of the nodes.
 *
 * A node with one way in starts with the values as they are where that way leaves; one with several starts
 * with every value in its home, save what is a known distance from RSP, and each way there arranges that.
 * Freestanding; owner as ir.h. */
#include "optimise/ir.h"

/* Instructions in a stretch of our own code. */
static u32 instructions(const u8 *p, const u8 *end)
{
	u32 n = 0;

	while (p < end) {
		struct insn in;

		if (insn_decode(&in, p, (size_t)MIN(end - p, (s64)INSN_MAX), MODE_64) || !in.len)
			break;
		p += in.len;
		n++;
	}
	return n;
}

/* What was emitted since the last call runs o->weight times along the trace; what follows, `weight` times. */
void flow_weigh(struct optimiser *o, u64 weight)
{
	o->host_insns += o->weight * instructions(o->weighed, o->hot.p);
	o->weighed = o->hot.p;
	o->weight = weight;
}

void flow_swap(struct optimiser *o)
{
	struct emit t = o->hot;

	o->hot = o->cold;
	o->cold = t;
}

/* A jump for the caller to direct; its displacement lies in eight aligned bytes. */
static void jump_out(struct optimiser *o, struct emit *e, u64 pc, bool plain)
{
	if (o->n_exits == MAX_EXITS_REGION) {
		o->failed = true;
		return;
	}
	while ((((u64)(uintptr_t)e->p + 1) & 7) > 4)
		e8(e, 0x90);
	o->exits[o->n_exits++] = (struct opt_exit){ e_jmp(e, e->p + 5), pc, plain };
}

/* Makes the guest's state and goes on at pc, in the hot stream. */
void flow_leave(struct optimiser *o, u64 pc)
{
	const u8 *start = o->hot.p;

	flags_home(o);
	for (int i = 0; i < 16; i++)
		if (i != RSP)
			bring_home(o, i);
	bring_home(o, RSP);
	for (int i = 0; i < 16; i++) {
		if (o->r->kept & ~o->pool & BIT(i))
			e_store_gs(&o->hot, o->r->spill + 8 * i, i);
		if (o->pool & ~o->r->kept & BIT(i))
			e_load_gs(&o->hot, i, o->r->spill + 8 * i);
	}
	o->exit_insns += instructions(start, o->hot.p);
	/* At its own head it would come straight back, having done nothing. */
	jump_out(o, &o->hot, pc, pc == o->r->head);
}

/* The same in the cold stream; the values stay as they are. */
void emit_exit(struct optimiser *o, u64 pc)
{
	struct state s = o->s;

	flow_swap(o);
	flow_leave(o, pc);
	flow_swap(o);
	o->s = s;
}

/* ---- edges ---- */

static void fix_to(struct optimiser *o, u8 *at, u16 node)
{
	if (o->n_fixups == MAX_FIXUPS) {
		o->failed = true;
		return;
	}
	o->fixups[o->n_fixups++] = (struct fixup){ at, node };
}

static void jump_to(struct optimiser *o, u16 node)
{
	fix_to(o, e_jmp(&o->hot, o->hot.p + 5), node);
}

static bool distances(const struct optimiser *o) { return ON(o, stack) && ON(o, copies); }

/* Host RSP at the head of a merge, relative to RSP at entry. */
static s32 merge_rsp(const struct optimiser *o, const struct node *n)
{
	return distances(o) ? 0 : n->in.frame[RSP];
}

/* Saves the values for a node with this one way in. */
bool flow_save(struct optimiser *o, u16 node)
{
	for (u32 i = 0; i < MAX_STATES; i++) {
		if (o->states_used[i / 32] >> (i % 32) & 1)
			continue;
		o->states_used[i / 32] |= 1u << (i % 32);
		o->states[i].s = o->s;
		o->nodes[node].state = i + 1;
		return true;
	}
	return false;
}

/* Whether the values can be what the merge expects of known distances. */
static bool merge_agrees(const struct optimiser *o, const struct node *n)
{
	s32 at;

	if (!(n->in.regs & BIT(RSP)))
		return true;
	if (!o->s.rsp_known || !val_frame(o, val_of(o, RSP), &at) || at != n->in.frame[RSP])
		return false;
	for (int i = 0; i < 16 && distances(o); i++)
		if ((n->in.regs & BIT(i)) && (!val_frame(o, val_of(o, i), &at) || at != n->in.frame[i]))
			return false;
	return true;
}

static void merge_slots(struct optimiser *o, const struct node *n)
{
	for (u32 i = 0; i < o->n_slots; i++) {
		struct slot *s = &o->slots[i];
		struct rm rm = { .mem = true, .base = RSP, .index = REG_NONE, .seg = SEG_NONE, .disp = s->off - o->s.rsp_host };

		if (!(n->valid >> i & 1)) {
			o->s.v[16 + i].kind = VAL_NONE;
			continue;
		}
		if (o->s.v[16 + i].kind == VAL_NONE) {
			record(o);
			encode_rm(&o->hot, 0x8b, s->size, s->home, &rm, 0);
			set_home(o, 16 + (int)i, s->size == 4);
		}
		bring_home(o, 16 + (int)i);
	}
}

static bool same_recipe(const struct flags_val *a, const struct flags_val *b)
{
	return a->op == b->op && a->size == b->size && val_same(a->x, b->x) && val_same(a->y, b->y);
}

/* A variable that has the value and will be in its home at the merge; -1: none.  Slots first: they are what a
 * loop's compare is about, whatever register it read them into. */
static int holder(const struct optimiser *o, const struct node *n, struct val v, unsigned size, u16 keep)
{
	if (size == 4)
		v = val_narrow(o, v);
	for (int k = 0; k < 16 + (int)o->n_slots; k++) {
		int i = k < (int)o->n_slots ? 16 + k : k - (int)o->n_slots;
		struct val w = val_of(o, i);

		if (i >= 16 ? !(n->valid >> (i - 16) & 1) || o->slots[i - 16].size < size : i == RSP || ((keep | n->dead) & BIT(i)))
			continue;
		if (val_same(size == 4 ? val_narrow(o, w) : w, v))
			return i;
	}
	return -1;
}

/* What is known of the flags on all ways to a merge; one that comes later and disagrees spoils the region. */
static void merge_flags(struct optimiser *o, struct node *n)
{
	if (n == o->nodes && !o->head_check) {
		if (o->head_ways++ && !same_recipe(&o->head_fl, &o->s.fl))
			o->s.fl.op = FLG_NONE;
		o->head_fl = o->s.fl;
	}
	if (!n->fl_set) {
		n->fl = o->s.fl;
		n->fl_set = true;
	} else if (n->fl.op != FLG_NONE && !same_recipe(&n->fl, &o->s.fl)) {
		o->recipes_failed |= n->placed;
		n->fl.op = FLG_NONE;
	}
}

/* Arranges the values for a merge.  False: cannot be; the edge leaves the region. */
static bool merge_enter(struct optimiser *o, u16 node)
{
	struct node *n = &o->nodes[node];
	struct op at = { .pc = n->pc };
	const struct op *op = o->op;
	u16 keep = distances(o) && (n->in.regs & BIT(RSP)) ? n->in.regs : 0;

	if (!merge_agrees(o, n))
		return false;
	int x = -1, y = -1;
	struct flags_val f;

	o->op = &at;
	f = o->s.fl;
	if (!n->hard_in && f.op != FLG_NONE) {
		x = holder(o, n, f.x, f.size, keep);
		y = holder(o, n, f.y, f.size, keep);
	}
	if (!n->hard_in)
		flags_home(o);
	else
		o->s.fl = (struct flags_val){ .kind = FL_LAZY };
	for (u32 i = 0; i < o->n_slots; i++)
		if (!(n->valid >> i & 1))
			o->s.v[16 + i].kind = VAL_NONE;
	for (int i = 0; i < 16; i++)
		if (i != RSP && !(keep & BIT(i)) && !(n->dead & BIT(i)))
			bring_home(o, i);
	for (u32 i = 0; i < o->n_slots; i++)
		bring_home(o, 16 + (int)i);
	if (n->in.regs & BIT(RSP)) {
		s32 to = merge_rsp(o, n);

		if (o->s.rsp_host != to) {
			e_lea_bd(&o->hot, RSP, RSP, to - o->s.rsp_host);
			for (int i = 0; i < VARS; i++)
				if (o->s.v[i].kind == VAL_EXPR && o->s.v[i].base == RSP)
					o->s.v[i].disp -= to - o->s.rsp_host;
			if (val_names(o->s.fl.x, RSP) || val_names(o->s.fl.y, RSP))
				o->s.fl.op = FLG_NONE;
			if (o->s.v[RSP].kind == VAL_HOME)
				o->s.v[RSP] = val_expr(RSP, o->s.rsp_host - to, true);
			if (!o->s.v[RSP].disp)
				o->s.v[RSP].kind = VAL_HOME;
			o->s.rsp_host = to;
		}
		merge_slots(o, n);
	} else {
		bring_home(o, RSP);
	}
	if (x >= 0 && y >= 0) {
		o->s.fl = (struct flags_val){ .kind = FL_HOST, .op = f.op, .size = f.size, .x = val_of(o, x), .y = val_of(o, y) };
		if (f.size == 4) {
			o->s.fl.x = val_narrow(o, o->s.fl.x);
			o->s.fl.y = val_narrow(o, o->s.fl.y);
		}
		o->s.fl.x.wide = o->s.fl.y.wide = f.size == 8;
	}
	merge_flags(o, n);
	o->op = op;
	return true;
}

/* The values with which a merge begins. */
static void merge_state(struct optimiser *o, struct node *n)
{
	bool sp = n->in.regs & BIT(RSP);

	o->s.rsp_known = sp;
	o->s.rsp_host = sp ? merge_rsp(o, n) : 0;
	o->s.zx = 0;
	for (int i = 0; i < 16; i++) {
		o->s.v[i] = (struct val){ .kind = o->pool & BIT(i) ? VAL_SPILL : n->dead & BIT(i) ? VAL_NONE : VAL_HOME, .disp = i };
		if (sp && distances(o) && (n->in.regs & BIT(i)) && (i != RSP || n->in.frame[i] != 0))
			o->s.v[i] = val_expr(RSP, n->in.frame[i], true);
	}
	for (u32 i = 0; i < o->n_slots; i++) {
		bool valid = n->valid >> i & 1;

		o->s.v[16 + i].kind = valid ? VAL_HOME : VAL_NONE;
		if (valid && o->slots[i].size == 4)
			o->s.zx |= (u16)BIT(o->slots[i].home);
	}
	o->s.fl = (struct flags_val){ .kind = n->hard_in ? FL_LAZY : FL_HOST };
	if (!n->hard_in && n->fl_set && o->recipes)
		o->s.fl = n->fl;
	__builtin_memset(o->s.sx, REG_NONE, sizeof(o->s.sx));
}

/* Goes to a node from here; `next`: it is placed right behind. */
void flow_edge(struct optimiser *o, u16 node, bool next)
{
	struct node *n = &o->nodes[node];

	if (!n->merge) {
		if (!flow_save(o, node)) {
			flow_leave(o, n->pc);
			n->reached = false;
			return;
		}
	} else if (!merge_enter(o, node)) {
		flow_leave(o, n->pc);
		return;
	}
	if (!next)
		jump_to(o, node);
}

/* A conditional jump to a node, with what the edge needs in the cold stream. */
static void edge_if(struct optimiser *o, int cond, u16 node, u32 times)
{
	struct state s = o->s;
	u8 *where = e_jcc(&o->hot, cond, o->hot.p + 6), *stub;
	u32 records = o->n_records;

	if (!o->nodes[node].merge && flow_save(o, node)) {
		fix_to(o, where, node);
		return;
	}
	flow_swap(o);
	stub = o->hot.p;
	if (o->nodes[node].merge && merge_enter(o, node)) {
		if (o->hot.p == stub)
			fix_to(o, where, node);
		else
			jump_to(o, node);
	} else {
		flow_leave(o, o->nodes[node].pc);
		if (!o->nodes[node].merge)
			o->nodes[node].reached = false;
	}
	if (o->hot.p != stub)
		e_patch(where, stub);
	o->host_insns += (u64)times * instructions(stub, o->hot.p);
	flow_swap(o);
	/* Records are in the order of hot addresses; a reload in a cold edge has none, and needs none: the word
	 * was accessed on every way here. */
	if (o->n_records > records)
		o->n_records = records;
	o->s = s;
}

static void exit_if(struct optimiser *o, int cond, u64 pc)
{
	e_jcc(&o->hot, cond, o->cold.p);
	emit_exit(o, pc);
}

/* ---- ends of nodes ---- */

/* Whether a successor can be placed right behind. */
bool flow_placeable(const struct optimiser *o, u16 node)
{
	return node != NO_NODE && !o->nodes[node].placed && ON(o, layout);
}

/* A branch back whose edge needs no load: what it needs comes before the branch, which then goes straight there. */
static bool end_loop(struct optimiser *o, struct node *n, int back, int cond)
{
	struct node *t = &o->nodes[n->succ[back]];
	u16 other = n->succ[!back];

	if (!t->merge || !t->placed || !merge_agrees(o, t))
		return false;
	for (u32 i = 0; i < o->n_slots; i++)
		if ((t->valid >> i & 1) && o->s.v[16 + i].kind == VAL_NONE)
			return false;
	flags_home(o);
	if (!merge_enter(o, n->succ[back]))
		return false;
	fix_to(o, e_jcc(&o->hot, cond, o->hot.p + 6), n->succ[back]);
	flow_weigh(o, n->count - MIN(n->count, n->taken[back]));
	o->s.fl = (struct flags_val){ .kind = FL_HOST };
	if (other == NO_NODE)
		flow_leave(o, n->target[!back]);
	else
		flow_edge(o, other, flow_placeable(o, other));
	return true;
}

static u16 end_jcc(struct optimiser *o, struct node *n)
{
	const struct op *op = o->op;
	int cond = op->in.op & 15, hot = n->taken[0] > n->taken[1] ? 0 : 1;
	u16 a, b;

	flags_home(o);
	if (n->succ[hot] == NO_NODE || (!flow_placeable(o, n->succ[hot]) && flow_placeable(o, n->succ[!hot])))
		hot = !hot;
	if (n->succ[hot] != NO_NODE && end_loop(o, n, hot, hot ? cond ^ 1 : cond))
		return flow_placeable(o, n->succ[!hot]) ? n->succ[!hot] : NO_NODE;
	a = n->succ[hot];
	b = n->succ[!hot];
	/* `hot` falls through: the condition that leads to the other way. */
	if (hot == 0)
		cond ^= 1;
	if (b == NO_NODE)
		exit_if(o, cond, n->target[!hot]);
	else
		edge_if(o, cond, b, n->taken[!hot]);
	flow_weigh(o, n->count - MIN(n->count, n->taken[!hot]));
	if (a == NO_NODE) {
		flow_leave(o, n->target[hot]);
		return NO_NODE;
	}
	flow_edge(o, a, flow_placeable(o, a));
	return flow_placeable(o, a) ? a : NO_NODE;
}

/* Pushes a return address. */
void flow_push_return(struct optimiser *o, u64 ret)
{
	struct val sp, v = val_const((s64)ret);
	struct rm at = { .mem = true, .index = REG_NONE, .seg = SEG_NONE };
	s32 off;
	int slot;

	if (!ON(o, stack))
		bring_home(o, RSP);
	sp = val_of(o, RSP);
	at.base = sp.base;
	at.disp = sp.disp - 8;
	emit_store_reg(o, at, 8, v);
	sp.disp -= 8;
	slot = val_frame(o, sp, &off) ? slot_find(o, off, 8) : -1;
	if (val_frame(o, sp, &off))
		slots_stored(o, true, off, 8, slot);
	else
		slots_stored(o, false, 0, 8, -1);
	set_val(o, RSP, sp, ON(o, stack));
	if (slot >= 0)
		set_val(o, 16 + slot, v, true);
}

/* cmp reg, constant */
void flow_compare(struct optimiser *o, int reg, u64 c, u16 avoid)
{
	struct rm rm = rm_reg(reg);
	int t;

	if ((s64)c == (s32)c) {
		encode_alu_imm(&o->hot, ALU_CMP, 8, &rm, (s32)c);
		return;
	}
	t = scratch_get(o, (u16)(avoid | BIT(reg)));
	e_mov_imm(&o->hot, t, c);
	encode_rm(&o->hot, 0x39, 8, t, &rm, 0);
	scratch_put(o, t);
}

/* Flags that a guard would spoil and that cannot be had again go to RAX, and RAX to a word of its own. */
void flow_guard_save(struct optimiser *o, bool save)
{
	if (!save)
		return;
	o->saves += o->count;
	e_store_gs(&o->hot, o->r->spill + 8 * RSP, RAX);
	e8(&o->hot, 0x9f);
	e8(&o->hot, 0x0f); e8(&o->hot, 0x90); e8(&o->hot, 0xc0);
}

void flow_guard_restore(struct optimiser *o, bool save)
{
	if (!save)
		return;
	e8(&o->hot, 0x04); e8(&o->hot, 0x7f);
	e8(&o->hot, 0x9e);
	e_load_gs(&o->hot, RAX, o->r->spill + 8 * RSP);
}

static void guard_exit(struct optimiser *o, bool save, u64 pc)
{
	struct state s = o->s;

	e_jcc(&o->hot, 5, o->cold.p);
	flow_swap(o);
	flow_guard_restore(o, save);
	flow_leave(o, pc);
	flow_swap(o);
	o->s = s;
	flow_guard_restore(o, save);
}

static u16 end_ret(struct optimiser *o, struct node *n)
{
	const struct op *op = o->op;
	u16 to = n->succ[0];
	u64 ret = n->target[0];
	struct val sp, v = { .kind = VAL_NONE };
	struct rm at = { .mem = true, .index = REG_NONE, .seg = SEG_NONE };
	s32 off;
	int slot, t;

	if (to == NO_NODE) {
		flow_leave(o, op->pc);
		return NO_NODE;
	}
	sp = val_of(o, RSP);
	slot = val_frame(o, sp, &off) ? slot_find(o, off, 8) : -1;
	if (slot >= 0)
		v = o->s.v[16 + slot];
	const struct context *c = &o->contexts[n->context];
	bool kept = n->context && c->kept && val_frame(o, sp, &off) && off == c->word;

	if (!kept && (!ON(o, returns) || v.kind != VAL_CONST || (u64)v.disp != ret)) {
		bool save = !flags_release(o, false);

		at.base = sp.base;
		at.disp = sp.disp;
		t = scratch_get(o, BIT(sp.base) | BIT(RAX));
		record(o);
		encode_rm(&o->hot, 0x8b, 8, t, &at, 0);
		flow_guard_save(o, save);
		flow_compare(o, t, ret, BIT(RAX));
		scratch_put(o, t);
		guard_exit(o, save, op->pc);
	}
	sp.disp += 8 + (u16)op->in.imm;
	set_val(o, RSP, sp, ON(o, stack));
	flow_edge(o, to, flow_placeable(o, to));
	return flow_placeable(o, to) ? to : NO_NODE;
}

/* The end of a node; returns the one to place next, or NO_NODE. */
static u16 node_end(struct optimiser *o, struct node *n)
{
	const struct op *last = &o->ops[n->first + n->n - 1];
	u16 to = n->n_succ ? n->succ[0] : NO_NODE;

	o->op = last;
	if (n->end != OP_NOP)
		record(o);
	switch (n->end) {
	case OP_JCC: {
		/* never taken either way in the trace: it ended here */
		if (!n->n_succ) {
			flow_leave(o, last->pc);
			return NO_NODE;
		}
		return end_jcc(o, n);
	}
	case OP_RET:
		return end_ret(o, n);
	case OP_IJMP: case OP_ICALL:
		return indirect_end(o, n);
	case OP_CALL:
		if (to == NO_NODE) {
			flow_leave(o, last->pc);
			return NO_NODE;
		}
		flow_push_return(o, n->next_pc);
		o->n_calls++;
		break;
	case OP_STOP:
		flow_leave(o, last->pc);
		return NO_NODE;
	default:
		if (to == NO_NODE) {
			flow_leave(o, n->end == OP_JMP ? last->pc : n->next_pc);
			return NO_NODE;
		}
		break;
	}
	flow_edge(o, to, flow_placeable(o, to));
	return flow_placeable(o, to) ? to : NO_NODE;
}

/* ---- the whole ---- */

static void align(struct optimiser *o, const struct node *n)
{
	static const u8 nops[9][9] = { { 0 }, { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0 }, { 0x0f, 0x1f, 0x40, 0 },
		{ 0x0f, 0x1f, 0x44, 0, 0 }, { 0x66, 0x0f, 0x1f, 0x44, 0, 0 }, { 0x0f, 0x1f, 0x80, 0, 0, 0, 0 },
		{ 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 } };
	unsigned pad = (unsigned)-(uintptr_t)o->hot.p & 31;

	if (!ON(o, align) || !n->loop || pad > 16)
		return;
	while (pad) {
		unsigned k = MIN(pad, 8u);

		e_bytes(&o->hot, nops[k], k);
		pad -= k;
	}
}

#define TRANSFER_BYTES 16 /* what a plain translation has for a return or an indirect branch */
#define TRANSFER_INSNS 2  /* the same in instructions, as they weigh: a jump that may be mispredicted; */
#define JUMP_INSNS 1      /* one that stays in the region as well */

static u16 emit_node(struct optimiser *o, u16 id)
{
	struct node *n = &o->nodes[id];
	u32 ops = n->end == OP_NOP ? n->n : n->n - 1u;
	u8 *start;

	n->placed = true;
	o->count = n->count;
	o->ops_end = &o->ops[n->first + n->n];
	if (n->merge)
		align(o, n);
	n->host = start = o->hot.p;
	o->weighed = start;
	o->weight = n->count;
	if (n->merge || id == 0) {
		merge_state(o, n);
	} else {
		u32 i = n->state - 1;

		o->s = o->states[i].s;
		o->states_used[i / 32] &= ~(1u << (i % 32));
		if (n->landing.entry)
			indirect_land(o, n);
	}
	for (u32 i = 0; i < ops; i++) {
		if (o->hot.end - o->hot.p < 2048 || o->cold.end - o->cold.p < 4096)
			o->failed = true;
		if (o->failed)
			return NO_NODE;
		emit_op(o, &o->ops[n->first + i]);
		if (o->busy || o->spilled)
			o->failed = true;
	}
	u16 next = node_end(o, n);

	flow_weigh(o, 0);
	o->guest_insns += (u64)n->count * (n->n + (n->end == OP_IJMP ? JUMP_INSNS : n->end == OP_RET || n->end == OP_ICALL ? TRANSFER_INSNS : 0));
	o->host_weight += (u64)n->count * (u64)(o->hot.p - start);
	o->guest_weight += (u64)n->count * (n->next_pc - n->pc + (n->end == OP_RET || n->end >= OP_IJMP ? TRANSFER_BYTES : 0));
	return next;
}

/* Borrows registers, checks the frame, loads slots.  Guest registers stay what they are. */
static void pool_borrow(struct optimiser *o)
{
	struct emit *e = &o->hot;
	s32 spill = o->r->spill;

	for (int i = 0; i < 16; i++)
		if (o->pool & BIT(i)) {
			if (!(o->r->kept & BIT(i)))
				e_store_gs(e, spill + 8 * i, i);
			o->s.v[i] = (struct val){ .kind = VAL_SPILL, .disp = i };
		} else if (o->r->kept & BIT(i)) {
			e_load_gs(e, i, spill + 8 * i);
		}
}

static void flags_image(struct emit *e)
{
	e8(e, 0x9f);                           /* lahf */
	e8(e, 0x0f); e8(e, 0x90); e8(e, 0xc0); /* seto al */
}

/* The loop finds its flags to be those of a compare that can be done again, on all ways back; so they have to be at
 * entry, or this entry is not for the region:
 *
 *	t = image of the flags;  the compare;  its image against t;  the compare
 */
static void entry_check(struct optimiser *o)
{
	struct emit *e = &o->hot, *c = &o->cold;
	const struct flags_val f = o->nodes[0].fl;
	u16 not = val_mask(f.x) | val_mask(f.y) | BIT(RAX) | BIT(RSP) | o->pool | o->r->kept;
	s32 rax = o->r->spill + 8 * RSP;
	int t = __builtin_ctz((u16)~not | 0x10000);

	if (t > 15) {
		o->recipes_failed = true;
		return;
	}
	e_store_gs(e, rax, RAX);
	e_store_gs(e, o->r->spill + 8 * t, t);
	flags_image(e);
	e_mov_rr(e, t, RAX);
	e_load_gs(e, RAX, rax);
	o->s.fl = f;
	o->s.fl.kind = FL_LAZY;
	o->busy = (u16)(BIT(RAX) | BIT(t));
	flags_home(o);
	o->busy = 0;
	flags_image(e);
	struct rm ax = rm_reg(RAX);

	encode_rm(e, 0x39, 2, t, &ax, 0); /* cmp ax, t */
	e_jcc(e, 5, c->p);
	e_load_gs(e, RAX, rax);
	e_load_gs(e, t, o->r->spill + 8 * t);
	o->s.fl = f;
	o->s.fl.kind = FL_LAZY;
	flags_home(o);
	e_mov_rr(c, RAX, t);
	e8(c, 0x04); e8(c, 0x7f); /* add al, 127; sahf */
	e8(c, 0x9e);
	e_load_gs(c, RAX, rax);
	e_load_gs(c, t, o->r->spill + 8 * t);
	for (int i = 0; i < 16; i++)
		if (o->pool & ~o->r->kept & BIT(i))
			e_load_gs(c, i, o->r->spill + 8 * i);
	jump_out(o, c, o->r->head, true);
}

static void emit_entry(struct optimiser *o)
{
	struct op at = { .pc = o->r->head };
	struct emit *e = &o->hot;
	s32 spill = o->r->spill;

	o->op = &at;
	e_bytes(e, (const u8 *)"\x0f\x1f\x84\0\0\0\0", 8);
	for (int i = 0; i < 16; i++)
		o->s.v[i] = (struct val){ .kind = VAL_HOME };
	o->s.fl = (struct flags_val){ .kind = FL_HOST };
	if (o->frame_check && o->r->frame) {
		/* rcx = ~rsp + rbp + 1 - frame, without flags */
		struct rm sum = { .mem = true, .base = RCX, .index = RBP, .seg = SEG_NONE, .disp = 1 - o->r->frame };
		u8 *ok, *miss;

		e_store_gs(e, spill + 8 * RSP, RCX);
		e_mov_rr(e, RCX, RSP);
		e_not(e, RCX);
		encode_rm(e, 0x8d, 8, RCX, &sum, 0);
		e8(e, 0xe3);
		ok = e->p;
		e8(e, 0);
		miss = e_jmp(e, o->cold.p);
		(void)miss;
		*ok = (u8)(e->p - ok - 1);
		e_load_gs(e, RCX, spill + 8 * RSP);
		e_load_gs(&o->cold, RCX, spill + 8 * RSP);
		jump_out(o, &o->cold, o->r->head, true);
	} else if (o->frame_check) {
		o->frame_check = false;
	}
	pool_borrow(o);
	for (u32 i = 0; i < o->n_slots; i++) {
		const struct slot *s = &o->slots[i];
		struct rm rm = { .mem = true, .base = RSP, .index = REG_NONE, .seg = SEG_NONE, .disp = s->off };

		if (!(o->preload >> i & 1))
			continue;
		record(o);
		encode_rm(e, 0x8b, s->size, s->home, &rm, 0);
		set_home(o, 16 + (int)i, s->size == 4);
	}
	if (o->head_check)
		entry_check(o);
}

static void place_all(struct optimiser *o)
{
	u16 next = 0;

	while (!o->failed && next != NO_NODE) {
		next = emit_node(o, next);
		if (next != NO_NODE)
			continue;
		for (u16 i = 0; i < o->n_nodes; i++) {
			const struct node *n = &o->nodes[i];

			if (n->reached && !n->placed && (n->merge ? true : n->state != 0) && (next == NO_NODE || n->count > o->nodes[next].count))
				next = i;
		}
	}
}

static bool patch_all(struct optimiser *o)
{
	for (u32 i = 0; i < o->n_fixups; i++) {
		u8 *to = o->nodes[o->fixups[i].node].host;

		if (!to)
			return false;
		e_patch(o->fixups[i].at, to);
	}
	return true;
}

int emit_region(struct optimiser *o, struct opt_region *out)
{
	o->hot = (struct emit){ o->r->hot, o->r->hot_end };
	o->cold = (struct emit){ o->r->cold, o->r->cold_end };
	o->n_records = o->n_snapshot_bytes = o->last_snapshot = o->n_fixups = o->n_exits = o->n_calls = 0;
	o->failed = false;
	o->busy = o->spilled = 0;
	o->host_weight = o->guest_weight = o->host_insns = o->guest_insns = o->exit_insns = o->saves = 0;
	o->s = (struct state){ .rsp_known = true };
	__builtin_memset(o->states_used, 0, sizeof(o->states_used));
	o->recipes_failed = false;
	for (u32 i = 0; i < o->n_nodes; i++) {
		o->nodes[i].placed = o->nodes[i].fl_set = false;
		o->nodes[i].host = NULL;
		o->nodes[i].state = 0;
		o->nodes[i].landing.entry = NULL;
	}
	o->nodes[0].fl_set = true;
	o->nodes[0].fl = (struct flags_val){ 0 }; /* nothing is known at entry, if it is not checked */
	if (o->head_check)
		o->nodes[0].fl = o->head_fl;
	o->head_ways = 0;
	__builtin_memset(o->s.sx, REG_NONE, sizeof(o->s.sx));
	for (u32 i = 0; i < MAX_SLOTS; i++)
		o->s.v[16 + i].kind = VAL_NONE;
	o->weight = o->entries;
	o->weighed = o->hot.p;
	emit_entry(o);
	flow_weigh(o, 0);
	place_all(o);
	if (o->recipes_failed && (o->recipes || o->head_check)) {
		o->recipes &= o->head_check;
		o->head_check = false;
		return emit_region(o, out);
	}
	if (!o->failed && !o->head_tried && o->recipes && o->saves && o->head_ways && o->head_fl.op != FLG_NONE) {
		o->head_check = o->head_tried = true;
		return emit_region(o, out);
	}
	if (o->failed || !patch_all(o))
		return -2;
	/* It is left as often as it is entered, through any of the exits. */
	o->host_insns += o->n_exits ? (u64)o->entries * o->exit_insns / o->n_exits : 0;
	*out = (struct opt_region){
		.head = o->r->head, .code = o->r->hot, .code_end = o->hot.p, .cold = o->r->cold, .cold_end = o->cold.p,
		.borrowed = o->pool, .records = o->records, .snapshots = o->snapshots, .n_records = o->n_records,
		.n_snapshot_bytes = o->n_snapshot_bytes, .sources = o->sources, .n_sources = o->n_sources,
		.n_insns = o->n_ops, .exits = o->exits, .n_exits = o->n_exits, .n_nodes = o->n_nodes, .n_calls = o->n_calls, .seen = o->seen, .covered = o->covered,
		.saves = o->saves, .host_weight = o->host_weight, .guest_weight = o->guest_weight, .host_insns = o->host_insns, .guest_insns = o->guest_insns, .entries = o->entries, .loop = o->nodes[0].host,
	};
	return 0;
}
