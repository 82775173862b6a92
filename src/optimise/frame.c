/* SPDX-License-Identifier: MIT
 * The stack frame of a region: which registers are a known distance from RSP at entry, which memory operands are
 * stack slots, which slots get a copy in a register, where these are up to date; and which flags are dead.
 * Plain data flow over the graph, to a fixed point.  Freestanding; owner as ir.h. */
#include "optimise/ir.h"

/* ---- known distances ---- */

static bool known(const struct known *k, unsigned r) { return r < 16 && (k->regs & BIT(r)); }

static void forget(struct known *k, unsigned r) { k->regs &= (u16)~BIT(r); }

static void set_known(struct known *k, unsigned r, bool is, s64 value)
{
	forget(k, r);
	if (is && value == (s32)value && value > -(1 << 20) && value < 1 << 20) {
		k->regs |= (u16)BIT(r);
		k->frame[r] = (s32)value;
	}
}

static void saved_drop(struct known *k, s32 at, unsigned size)
{
	for (unsigned i = 0; i < k->n_saved;) {
		if (k->saved[i].at < at + (s32)size && at < k->saved[i].at + 8)
			k->saved[i] = k->saved[--k->n_saved];
		else
			i++;
	}
}

static void saved_set(struct known *k, s32 at, s32 value)
{
	if (k->n_saved == MAX_SAVED)
		return;
	k->saved[k->n_saved].at = at;
	k->saved[k->n_saved++].value = value;
}

static bool saved_get(const struct known *k, s32 at, s32 *value)
{
	for (unsigned i = 0; i < k->n_saved; i++)
		if (k->saved[i].at == at) {
			*value = k->saved[i].value;
			return true;
		}
	return false;
}

static bool framed(const struct known *k, const struct op *op, s32 *off)
{
	const struct insn *in = &op->in;
	s64 at;

	if (!in->has_mem || in->asize != 8 || in->seg != SEG_NONE || in->index != REG_NONE || in->vsib || !known(k, in->base))
		return false;
	at = k->frame[in->base] + in->disp;
	*off = (s32)at;
	return at > -(1 << 21) && at < 1 << 21;
}

static bool writes_memory(const struct op *op)
{
	u8 k = op->in.klass;

	return op->in.mem_write || (op->kind == OP_OPAQUE && (k == IC_MOVS || k == IC_STOS || op->in.lock));
}

/* A store that is no stack operation. */
static void step_store(struct optimiser *o, struct known *k, const struct op *op)
{
	s32 at, size = op->in.mem_size;

	if (framed(k, op, &at) && size) {
		saved_drop(k, at, (unsigned)size);
		if (op->kind == OP_STORE && !op->has_imm && op->in.osize == 8 && known(k, op->in.reg))
			saved_set(k, at, k->frame[op->in.reg]);
	} else if (!o->guards || op->kind == OP_OPAQUE) {
		k->n_saved = 0;
	}
}

static void step_stack(struct known *k, const struct op *op)
{
	bool rsp = known(k, RSP);
	s32 value = 0, sp = k->frame[RSP];
	bool have;

	switch (op->kind) {
	case OP_PUSH: case OP_CALL: case OP_ICALL:
		if (!rsp)
			break;
		saved_drop(k, sp - 8, 8);
		if (op->kind == OP_PUSH && op->e_role && known(k, op->in.rm))
			saved_set(k, sp - 8, k->frame[op->in.rm]);
		set_known(k, RSP, true, (s64)sp - 8);
		break;
	case OP_POP:
		have = rsp && saved_get(k, sp, &value);
		if (rsp)
			set_known(k, RSP, true, (s64)sp + 8);
		set_known(k, op->in.rm, have, value);
		break;
	case OP_LEAVE:
		if (!known(k, RBP)) {
			forget(k, RSP);
			break;
		}
		sp = k->frame[RBP];
		have = saved_get(k, sp, &value);
		set_known(k, RSP, true, (s64)sp + 8);
		set_known(k, RBP, have, value);
		break;
	case OP_RET:
		if (rsp)
			set_known(k, RSP, true, (s64)sp + 8 + (u16)op->in.imm);
		break;
	default:
		break;
	}
}

static void step(struct optimiser *o, struct known *k, const struct op *op)
{
	const struct insn *in = &op->in;
	unsigned d = op->alu_g || op->kind == OP_LEA || op->kind == OP_LOAD ? in->reg : in->rm;
	s32 at, value = 0;

	switch (op->kind) {
	case OP_MOV:
		if (!op->has_imm)
			d = op->g_role & ROLE_WRITE ? in->reg : in->rm;
		set_known(k, d, !op->has_imm && in->osize == 8 && known(k, d == in->reg && (op->g_role & ROLE_WRITE) ? in->rm : in->reg),
			k->frame[(op->g_role & ROLE_WRITE ? in->rm : in->reg) & 15]);
		return;
	case OP_LEA:
		set_known(k, d, in->osize == 8 && known(k, in->base) && in->index == REG_NONE, k->frame[in->base & 15] + in->disp);
		return;
	case OP_LOAD:
		set_known(k, d, in->osize == 8 && framed(k, op, &at) && saved_get(k, at, &value), value);
		return;
	case OP_ALU:
		if (op->alu == ALU_CMP || op->alu == ALU_TEST)
			return;
		if (in->has_mem && !op->alu_g) {
			step_store(o, k, op);
			return;
		}
		set_known(k, d, in->osize == 8 && op->has_imm && known(k, d) && (op->alu == ALU_ADD || op->alu == ALU_SUB),
			k->frame[d & 15] + (op->alu == ALU_ADD ? in->imm : -in->imm));
		return;
	case OP_PUSH: case OP_POP: case OP_LEAVE: case OP_CALL: case OP_ICALL: case OP_RET:
		step_stack(k, op);
		return;
	case OP_OPAQUE:
		k->regs &= (u16)~in->reg_touch;
		break;
	case OP_PLAIN:
		if (op->e_role & ROLE_WRITE)
			forget(k, in->rm);
		if (op->g_role & ROLE_WRITE)
			forget(k, in->reg);
		k->regs &= (u16)~op->imp_write;
		break;
	default:
		break;
	}
	if (writes_memory(op))
		step_store(o, k, op);
}

static bool meet(struct known *a, const struct known *b)
{
	u16 regs = a->regs & b->regs;
	unsigned n = 0;
	bool changed;

	for (unsigned r = 0; r < 16; r++)
		if ((regs & BIT(r)) && a->frame[r] != b->frame[r])
			regs &= (u16)~BIT(r);
	for (unsigned i = 0; i < a->n_saved; i++) {
		s32 value;

		if (saved_get(b, a->saved[i].at, &value) && value == a->saved[i].value)
			a->saved[n++] = a->saved[i];
	}
	changed = regs != a->regs || n != a->n_saved;
	a->regs = regs;
	a->n_saved = (u8)n;
	return changed;
}

static void known_analyse(struct optimiser *o)
{
	bool changed = true;

	for (u32 i = 0; i < o->n_nodes; i++)
		o->nodes[i].known_set = false;
	o->nodes[0].in = (struct known){ .regs = BIT(RSP) };
	if (o->frame_check)
		set_known(&o->nodes[0].in, RBP, true, o->r->frame);
	o->nodes[0].known_set = true;
	while (changed) {
		changed = false;
		for (u32 i = 0; i < o->n_nodes; i++) {
			struct node *n = &o->nodes[i];
			struct known k = n->in;

			if (!n->reached || !n->known_set)
				continue;
			for (u32 j = 0; j < n->n; j++)
				step(o, &k, &o->ops[n->first + j]);
			for (int j = 0; j < n->n_succ; j++) {
				struct node *t = n->succ[j] == NO_NODE ? NULL : &o->nodes[n->succ[j]];

				if (t && !t->known_set) {
					t->in = k;
					t->known_set = changed = true;
				} else if (t) {
					changed |= meet(&t->in, &k);
				}
			}
		}
	}
}

/* ---- slots ---- */

struct candidate { s32 off; u8 size; u32 reads, writes; };
#define MAX_CANDIDATES 160

static void candidate_note(struct candidate *c, u32 *n, s32 off, unsigned size, u32 reads, u32 writes)
{
	u32 i;

	if (size != 4 && size != 8)
		return;
	for (i = 0; i < *n; i++)
		if (c[i].off == off && c[i].size == size)
			break;
	if (i == MAX_CANDIDATES)
		return;
	if (i == *n)
		c[(*n)++] = (struct candidate){ .off = off, .size = (u8)size };
	c[i].reads += reads;
	c[i].writes += writes;
}

/* The stack word that a stack operation reads or writes, by what is known before it. */
static bool stack_word(const struct known *k, const struct op *op, s32 *off, bool *write)
{
	*write = op->kind == OP_PUSH || op->kind == OP_CALL || op->kind == OP_ICALL;
	if (op->kind == OP_LEAVE) {
		*off = k->frame[RBP];
		return known(k, RBP);
	}
	if (!*write && op->kind != OP_POP && op->kind != OP_RET)
		return false;
	*off = *write ? k->frame[RSP] - 8 : k->frame[RSP];
	return known(k, RSP);
}

/* One more walk: operands of each op, candidates, and what stores to unknown addresses cost. */
static void find_candidates(struct optimiser *o, struct candidate *c, u32 *n, u32 *unknown, u32 *returns)
{
	*n = *unknown = *returns = 0;
	o->frame_low = o->frame_high = 0;
	for (u32 i = 0; i < o->n_nodes; i++) {
		struct node *node = &o->nodes[i];
		struct known k = node->in;

		if (!node->reached)
			continue;
		for (u32 j = 0; j < node->n; j++) {
			struct op *op = &o->ops[node->first + j];
			bool stores = writes_memory(op), word, push = false;
			s32 off = 0;

			op->framed = framed(&k, op, &op->frame);
			word = stack_word(&k, op, &off, &push);
			if (word)
				candidate_note(c, n, off, 8, push ? 0 : node->count, push ? node->count : 0);
			else if (op->framed)
				candidate_note(c, n, off = op->frame, op->kind == OP_LEA ? 0 : op->in.mem_size,
					op->in.mem_read ? node->count : 0, stores ? node->count : 0);
			if ((word || op->framed) && off < o->frame_low)
				o->frame_low = off;
			if ((word || op->framed) && off + 8 > o->frame_high)
				o->frame_high = off + 8;
			if (op->kind == OP_RET && node->n_succ)
				*returns += node->count;
			if (stores && !op->framed)
				*unknown += node->count;
			step(o, &k, op);
		}
	}
}

static bool overlap(const struct candidate *a, const struct slot *b)
{
	return a->off < b->off + b->size && b->off < a->off + a->size;
}

static void choose_slots(struct optimiser *o, struct candidate *c, u32 n)
{
	u16 pool = o->pool;
	int homes = ON(o, slots) && o->r->own_memory ? __builtin_popcount(pool) - 1 : 0;

	o->n_slots = 0;
	o->pool_free = pool;
	while (o->n_slots < MAX_SLOTS) {
		u32 best = n;
		bool clash = false;

		for (u32 i = 0; i < n; i++)
			if (c[i].reads && (best == n || c[i].reads > c[best].reads))
				best = i;
		if (best == n)
			break;
		for (u32 i = 0; i < o->n_slots; i++)
			clash |= overlap(&c[best], &o->slots[i]);
		if (!clash) {
			struct slot *s = &o->slots[o->n_slots++];

			*s = (struct slot){ .off = c[best].off, .size = c[best].size, .home = REG_NONE, .weight = c[best].reads };
			if (homes > 0 && s->weight >= 3 * o->entries) {
				s->home = (u8)__builtin_ctz(o->pool_free);
				o->pool_free &= (u16)(o->pool_free - 1);
				homes--;
			}
		}
		c[best].reads = 0;
	}
	/* What no slot wants is the guest's again, but for one scratch register. */
	while (o->pool_free & (o->pool_free - 1)) {
		u16 dear = o->pool_free & (u16)~o->r->kept, top;

		if (!dear)
			break;
		top = (u16)BIT(31 - __builtin_clz(dear));

		o->pool_free &= (u16)~top;
		o->pool &= (u16)~top;
	}
}

int slot_find(const struct optimiser *o, s32 off, unsigned size)
{
	for (u32 i = 0; i < o->n_slots; i++)
		if (o->slots[i].off == off && size <= o->slots[i].size)
			return (int)i;
	return -1;
}

static u32 slots_overlapping(const struct optimiser *o, s32 off, unsigned size)
{
	u32 mask = 0;

	for (u32 i = 0; i < o->n_slots; i++)
		if (off < o->slots[i].off + o->slots[i].size && o->slots[i].off < off + (s32)size)
			mask |= 1u << i;
	return mask;
}

struct touch { u32 reads, writes, kills; };

/* Which slots an op reads, sets and spoils. */
static struct touch slot_touch(struct optimiser *o, const struct known *k, const struct op *op)
{
	struct touch t = { 0 };
	s32 off = 0;
	bool push;
	int s;

	if (stack_word(k, op, &off, &push)) {
		s = slot_find(o, off, 8);
		if (push)
			t.kills = slots_overlapping(o, off, 8);
		if (s >= 0 && push)
			t.writes = 1u << s;
		else if (s >= 0)
			t.reads = 1u << s;
	}
	if (op->kind == OP_LEA)
		return t;
	if (op->framed && op->in.mem_read) {
		s = slot_find(o, op->frame, op->in.mem_size);
		if (s >= 0)
			t.reads |= 1u << s;
	}
	if (!writes_memory(op))
		return t;
	if (!op->framed || !op->in.mem_size) {
		t.kills = o->guards && op->kind != OP_OPAQUE ? 0 : ~0u;
		return t;
	}
	t.kills |= slots_overlapping(o, op->frame, op->in.mem_size);
	s = slot_find(o, op->frame, op->in.mem_size);
	if (s >= 0 && o->slots[s].size == op->in.mem_size)
		t.writes |= 1u << s;
	return t;
}

static u32 homes_mask(const struct optimiser *o)
{
	u32 mask = 0;

	for (u32 i = 0; i < o->n_slots; i++)
		if (o->slots[i].home != REG_NONE)
			mask |= 1u << i;
	return mask;
}

static void node_slots(struct optimiser *o, const struct node *n, u32 *valid, u32 *gen, u32 *kill)
{
	struct known k = n->in;

	*gen = *kill = 0;
	for (u32 j = 0; j < n->n; j++) {
		const struct op *op = &o->ops[n->first + j];
		struct touch t = slot_touch(o, &k, op);

		*gen |= t.reads & ~*kill;
		*kill |= t.writes;
		*valid |= t.reads;
		*valid &= ~t.kills;
		*valid |= t.writes;
		step(o, &k, op);
	}
}

u16 regs_dead(struct optimiser *o, const struct op *op, const struct op *end, u32 valid)
{
	u16 read = 0, written = 0;

	for (; op < end; op++) {
		u16 sets = op->in.reg_write & (u16)~op->in.reg_read;
		int s = op->framed && op->kind == OP_LOAD ? slot_find(o, op->frame, op->in.mem_size) : -1;
		bool known_kind = op->kind == OP_NOP || op->kind == OP_MOV || op->kind == OP_LOAD || op->kind == OP_LEA ||
			op->kind == OP_ALU || op->kind == OP_PLAIN;

		if (!known_kind || (op_faults(op) && !(s >= 0 && (valid >> s & 1) && o->slots[s].size == op->in.mem_size)))
			break;
		read |= (op->in.reg_read | (op->in.reg_touch & (u16)~sets)) & (u16)~written;
		written |= sets & (u16)~read;
	}
	return written;
}

static void slots_analyse(struct optimiser *o)
{
	u32 homes = homes_mask(o);
	bool changed = true;

	for (u32 i = 0; i < o->n_nodes; i++) {
		o->nodes[i].live = 0;
		o->nodes[i].valid = homes;
	}
	while (changed) {
		changed = false;
		for (u32 i = o->n_nodes; i-- > 0;) {
			struct node *n = &o->nodes[i];
			u32 out = n->valid, gen, kill, live = 0;

			if (!n->reached)
				continue;
			node_slots(o, n, &out, &gen, &kill);
			for (int j = 0; j < n->n_succ; j++) {
				struct node *t = n->succ[j] == NO_NODE ? NULL : &o->nodes[n->succ[j]];

				if (!t)
					continue;
				live |= t->live;
				changed |= (t->valid & ~out) != 0;
				t->valid &= out;
			}
			live = gen | (live & ~kill);
			changed |= live != n->live;
			n->live = live;
		}
	}
	o->preload = o->nodes[0].valid & o->nodes[0].live;
	for (u32 i = 0; i < o->n_nodes; i++)
		o->nodes[i].valid &= o->nodes[i].live;
	for (u32 i = 0; i < o->n_nodes; i++)
		{
		const struct node *n = &o->nodes[i];

		o->nodes[i].dead = ON(o, copies) ? regs_dead(o, &o->ops[n->first], &o->ops[n->first + n->n], n->valid) : 0;
	}
}

/* ---- return addresses ---- */

/* A call enters the context of what follows it. */
static void context_begin(struct optimiser *o, const struct node *n, const struct known *k)
{
	for (int i = 0; i < n->n_succ; i++) {
		struct context *c;

		if (n->succ[i] == NO_NODE)
			continue;
		c = &o->contexts[o->nodes[n->succ[i]].context];
		c->kept = known(k, RSP) && (!c->entered || (c->kept && c->word == k->frame[RSP] - 8));
		c->word = k->frame[RSP] - 8;
		c->entered = true;
	}
}

/* The return addresses that the op may write over, in the context and those around it. */
static void context_stored(struct optimiser *o, u16 context, const struct known *k, const struct op *op)
{
	bool push = false, word, stores = writes_memory(op);
	s32 off = 0, size = 8;

	word = stack_word(k, op, &off, &push) && push;
	if (!word && !stores && op->kind != OP_PUSH && op->kind != OP_CALL && op->kind != OP_ICALL)
		return;
	if (!word && stores && op->framed) {
		off = op->frame;
		size = op->in.mem_size;
		word = size && op->kind != OP_OPAQUE;
	}
	if (!word && o->guards && op->kind != OP_OPAQUE && stores)
		return;
	for (u16 c = context; c; c = o->contexts[c].parent)
		if (!word || (off < o->contexts[c].word + 8 && o->contexts[c].word < off + size))
			o->contexts[c].kept = false;
}

static void returns_analyse(struct optimiser *o)
{
	for (int pass = 0; pass < 2; pass++)
		for (u32 i = 0; i < o->n_nodes; i++) {
			const struct node *n = &o->nodes[i];
			struct known k = n->in;

			for (u32 j = 0; n->reached && j < n->n; j++) {
				const struct op *op = &o->ops[n->first + j];

				if (pass)
					context_stored(o, n->context, &k, op);
				else if (op->kind == OP_CALL || op->kind == OP_ICALL)
					context_begin(o, n, &k);
				step(o, &k, op);
			}
		}
}

static void used_registers(struct optimiser *o)
{
	bool rbp = false;

	o->used = BIT(RSP);
	o->entries = o->nodes[0].count;
	for (u32 i = 0; i < o->n_nodes; i++) {
		struct node *n = &o->nodes[i];

		if (!n->reached)
			continue;
		for (int j = 0; j < n->n_succ; j++)
			if (n->succ[j] == 0)
				o->entries -= MIN(o->entries, n->taken[j]);
		for (u32 j = 0; j < n->n; j++) {
			const struct op *op = &o->ops[n->first + j];

			if (op->kind == OP_STOP)
				continue;
			o->used |= op->in.reg_touch | op->imp_read | op->imp_write;
			rbp |= (op->in.has_mem && op->in.base == RBP) || op->kind == OP_LEAVE;
		}
	}
	o->entries = o->entries ? o->entries : 1;
	o->pool = (u16)~o->used;
	o->frame_check = rbp && ON(o, slots) && o->r->frame > -(1 << 16) && o->r->frame < 1 << 16;
}

void frame_analyse(struct optimiser *o)
{
	struct candidate c[MAX_CANDIDATES];
	u32 n, unknown, returns, reads = 0;

	used_registers(o);
	o->guards = ON(o, alias) && o->r->own_memory;
	known_analyse(o);
	find_candidates(o, c, &n, &unknown, &returns);
	for (u32 i = 0; i < n; i++)
		reads += c[i].reads;
	if (o->guards && (!unknown || reads < 2 * unknown || o->frame_high - o->frame_low > 65536)) {
		o->guards = false;
		known_analyse(o);
		find_candidates(o, c, &n, &unknown, &returns);
	}
	choose_slots(o, c, n);
	slots_analyse(o);
	if (ON(o, returns) && o->r->own_memory)
		returns_analyse(o);
}

/* ---- flags ---- */

void flags_analyse(struct optimiser *o)
{
	bool changed = true;

	for (u32 i = 0; i < o->n_nodes; i++)
		o->nodes[i].soft_in = o->nodes[i].hard_in = true;
	while (changed) {
		changed = false;
		for (u32 i = o->n_nodes; i-- > 0;) {
			struct node *n = &o->nodes[i];
			bool soft = true, hard = n->n_succ > 0;

			if (!n->reached)
				continue;
			for (int j = 0; j < n->n_succ; j++) {
				const struct node *t = n->succ[j] == NO_NODE ? NULL : &o->nodes[n->succ[j]];

				hard &= t && t->hard_in;
				soft &= !t || (t->merge ? t->hard_in : t->soft_in);
			}
			for (u32 j = n->n; j-- > 0;) {
				struct op *op = &o->ops[n->first + j];

				op->soft_dead = soft;
				op->hard_dead = hard;
				if (op->flags_write == FLAGS_STATUS && !op->flags_read)
					soft = hard = true;
				else if (op->flags_read || op->flags_touch)
					soft = hard = false;
				if (op_faults(op))
					hard = false;
				op->hard_before = hard;
			}
			changed |= soft != n->soft_in || hard != n->hard_in;
			n->soft_in = soft;
			n->hard_in = hard;
		}
	}
}
