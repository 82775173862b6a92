/* SPDX-License-Identifier: MIT
 * Forms the graph of a region from a trace of instruction addresses.
 *
 * The trace is walked from each place where it is at the head, with nothing called yet; a node is a run of
 * instructions together with the calls that led to it (its context), so that a function inlined twice has
 * two copies and a return has one target.  The walk ends where something may not be in a region, returns
 * beyond where it began, or runs out of room; then it starts anew at the next visit to the head, as the
 * region itself will.  Edges taken too rarely are cut afterwards: they leave the region.
 * Freestanding; owner as ir.h. */
#include "optimise/ir.h"

#define RARE 12 /* an edge taken in less than one in RARE visits of its node is cut */

static unsigned leader_slot(u64 pc) { return (unsigned)((pc * 0x9e3779b97f4a7c15ull) >> 53); }

static bool leader(const struct optimiser *o, u64 pc)
{
	for (unsigned i = leader_slot(pc), n = 0; n < 2048; n++, i = (i + 1) & 2047) {
		if (o->leaders[i] == pc)
			return true;
		if (!o->leaders[i])
			return false;
	}
	return true;
}

static void leader_add(struct optimiser *o, u64 pc)
{
	for (unsigned i = leader_slot(pc), n = 0; n < 2048; n++, i = (i + 1) & 2047) {
		if (o->leaders[i] == pc)
			return;
		if (!o->leaders[i]) {
			o->leaders[i] = pc;
			return;
		}
	}
}

/* Wherever control came from elsewhere than the instruction before. */
static void find_leaders(struct optimiser *o)
{
	const struct opt_request *r = o->r;
	u64 low = 0, high = 0;

	__builtin_memset(o->leaders, 0, sizeof(o->leaders));
	leader_add(o, r->head);
	for (u32 i = 0; i + 1 < r->n_trace; i++) {
		low = r->trace[i];
		high = low + INSN_MAX;
		if (r->trace[i + 1] <= low || r->trace[i + 1] > high) {
			leader_add(o, r->trace[i + 1]);
		}
	}
}

static u16 node_find(const struct optimiser *o, u64 pc, u16 context)
{
	for (u16 n = o->node_hash[(pc ^ (u64)context * 77) & 1023]; n != NO_NODE; n = o->node_next[n])
		if (o->nodes[n].pc == pc && o->nodes[n].context == context)
			return n;
	return NO_NODE;
}

static bool ends_node(u8 kind)
{
	return kind >= OP_CALL;
}

static u16 node_new(struct optimiser *o, u64 pc, u16 context)
{
	u32 max = o->r->max_insns && o->r->max_insns < MAX_OPS ? o->r->max_insns : MAX_OPS;
	struct node *n = &o->nodes[o->n_nodes];
	u16 id = (u16)o->n_nodes;
	u64 at = pc;

	if (o->n_nodes >= MAX_NODES || o->n_ops + 4 >= max)
		return NO_NODE;
	*n = (struct node){ .pc = pc, .context = context, .first = (u16)o->n_ops, .end = OP_NOP };
	for (int i = 0; i < MAX_SUCC; i++)
		n->succ[i] = NO_NODE;
	while (o->n_ops + 1 < max && n->n < 200) {
		struct op *op = &o->ops[o->n_ops];

		if (n->n && leader(o, at))
			break;
		op_lower(o, op, at);
		o->n_ops++;
		n->n++;
		if (op->kind != OP_STOP)
			at += op->in.len;
		if (ends_node(op->kind)) {
			n->end = op->kind;
			break;
		}
	}
	n->next_pc = at;
	o->n_nodes++;
	o->node_next[id] = o->node_hash[(pc ^ (u64)context * 77) & 1023];
	o->node_hash[(pc ^ (u64)context * 77) & 1023] = id;
	return id;
}

static struct op *last_op(struct optimiser *o, const struct node *n)
{
	return &o->ops[n->first + n->n - 1];
}

static u16 context_enter(struct optimiser *o, u16 parent, u64 ret)
{
	for (u16 i = 1; i < o->n_contexts; i++)
		if (o->contexts[i].parent == parent && o->contexts[i].ret == ret)
			return i;
	if (o->n_contexts >= MAX_CONTEXTS || o->contexts[parent].depth >= MAX_DEPTH)
		return NO_NODE;
	o->contexts[o->n_contexts] = (struct context){ .parent = parent, .ret = ret, .depth = (u8)(o->contexts[parent].depth + 1) };
	return (u16)o->n_contexts++;
}

/* Which successor leads to pc; makes one. -1: no room. */
static int successor(struct optimiser *o, struct node *n, u64 pc)
{
	struct op *op = last_op(o, n);

	if (n->end == OP_JCC && !n->n_succ) {
		n->n_succ = 2;
		n->target[0] = n->next_pc + (u64)op->in.imm;
		n->target[1] = n->next_pc;
	}
	for (int i = 0; i < n->n_succ; i++)
		if (n->target[i] == pc)
			return i;
	if (n->end == OP_JCC || n->n_succ >= MAX_SUCC || (n->n_succ && n->end != OP_IJMP && n->end != OP_ICALL))
		return -1;
	n->target[n->n_succ] = pc;
	return n->n_succ++;
}

/* Whether control can go there at all: the trace has gaps, where a signal came or the thread ran outside of it. */
static bool leads_to(struct optimiser *o, const struct node *n, u64 pc)
{
	switch (n->end) {
	case OP_NOP:
		return pc == n->next_pc;
	case OP_JMP: case OP_CALL:
		return pc == n->next_pc + (u64)last_op(o, n)->in.imm;
	default:
		return true;
	}
}

/* Control goes from node `id` to pc: the next node, or NO_NODE. */
static u16 follow(struct optimiser *o, u16 id, u64 pc)
{
	struct node *n = &o->nodes[id];
	u16 context = n->context, next;
	int i;

	if (!leads_to(o, n, pc))
		return NO_NODE;
	switch (n->end) {
	case OP_STOP:
		return NO_NODE;
	case OP_CALL: case OP_ICALL:
		if (!ON(o, calls) || (n->end == OP_ICALL && !ON(o, indirect)))
			return NO_NODE;
		context = context_enter(o, context, n->next_pc);
		if (context == NO_NODE)
			return NO_NODE;
		break;
	case OP_IJMP:
		if (!ON(o, indirect))
			return NO_NODE;
		break;
	case OP_RET:
		if (!context || o->contexts[context].ret != pc)
			return NO_NODE;
		context = o->contexts[context].parent;
		break;
	default:
		break;
	}
	i = successor(o, n, pc);
	if (i < 0)
		return NO_NODE;
	next = n->succ[i];
	if (next == NO_NODE) {
		next = node_find(o, pc, context);
		if (next == NO_NODE)
			next = node_new(o, pc, context);
		if (next == NO_NODE)
			return NO_NODE;
		n->succ[i] = next;
	}
	n->taken[i]++;
	return next;
}

/* Goes along the trace through a node; returns where it stands behind it, or 0 where it went elsewhere. */
static u32 walk_node(struct optimiser *o, u16 id, u32 i)
{
	const struct opt_request *r = o->r;
	struct node *n = &o->nodes[id];

	n->count++;
	for (u32 k = 0; k < n->n; k++, i++) {
		const struct op *op = &o->ops[n->first + k];

		if (i >= r->n_trace || r->trace[i] != op->pc || op->kind == OP_STOP)
			return 0;
		while (op->in.rep && op->kind == OP_OPAQUE && i + 1 < r->n_trace && r->trace[i + 1] == op->pc)
			i++;
		o->covered++;
	}
	return i;
}

static void walk(struct optimiser *o)
{
	const struct opt_request *r = o->r;
	u32 i = 0, first = 0;

	while (i < r->n_trace && r->trace[i] != r->head)
		i++;
	first = i;
	while (i < r->n_trace) {
		u16 id = 0;

		if (r->trace[i] != r->head) {
			i++;
			continue;
		}
		while (id != NO_NODE) {
			u32 next = walk_node(o, id, i);

			if (!next || next >= r->n_trace) {
				i = next ? next : i + 1;
				break;
			}
			i = next;
			id = follow(o, id, r->trace[i]);
		}
	}
	o->seen = r->n_trace - first;
}

static void cut_rare(struct optimiser *o)
{
	for (u32 k = 0; k < o->n_nodes; k++) {
		struct node *n = &o->nodes[k];

		for (int i = 0; i < n->n_succ; i++)
			if (n->taken[i] * RARE < n->count)
				n->succ[i] = NO_NODE;
	}
}

static void mark_reached(struct optimiser *o)
{
	u16 stack[MAX_NODES], top = 0;
	u8 ways[MAX_NODES] = { 0 };

	o->nodes[0].reached = true;
	ways[0] = 1;
	stack[top++] = 0;
	while (top) {
		struct node *n = &o->nodes[stack[--top]];

		for (int i = 0; i < n->n_succ; i++) {
			u16 t = n->succ[i];

			if (t == NO_NODE)
				continue;
			if (ways[t] < 2)
				ways[t]++;
			if (!o->nodes[t].reached) {
				o->nodes[t].reached = true;
				stack[top++] = t;
			}
		}
	}
	for (u32 k = 0; k < o->n_nodes; k++)
		o->nodes[k].merge = ways[k] > 1;
}

/* Nodes that a way from themselves leads back to: depth first, with the path marked. */
static void mark_loops(struct optimiser *o)
{
	u16 stack[MAX_NODES], top = 0;
	u8 at[MAX_NODES] = { 0 }, colour[MAX_NODES] = { 0 };

	o->n_back = 0;
	for (u32 k = 0; k < o->n_nodes; k++)
		o->nodes[k].loop = false;
	stack[top++] = 0;
	colour[0] = 1;
	while (top) {
		u16 id = stack[top - 1];
		struct node *n = &o->nodes[id];

		if (at[id] >= n->n_succ) {
			colour[id] = 2;
			top--;
			continue;
		}
		u16 t = n->succ[at[id]++];

		if (t == NO_NODE)
			continue;
		if (colour[t] == 1) {
			o->nodes[t].loop = true;
			if (o->n_back < MAX_BACK)
				o->back[o->n_back++] = (struct back){ id, (u8)(at[id] - 1) };
		}
		if (!colour[t]) {
			colour[t] = 1;
			stack[top++] = t;
		}
	}
}

#define ROTATE_OPS 10

/* A copy of a loop's head for the ways back, so that its test is at the bottom and finds the values where they are. */
static void rotate(struct optimiser *o, u16 head)
{
	struct node *h = &o->nodes[head], *c = &o->nodes[o->n_nodes];
	u32 back = 0, whole = MAX(h->count, 1u);

	if (h->end != OP_JCC || h->n_succ != 2 || h->n > ROTATE_OPS || o->n_nodes >= MAX_NODES || o->n_ops + h->n > MAX_OPS)
		return;
	for (u32 i = 0; i < o->n_back; i++)
		if (o->nodes[o->back[i].node].succ[o->back[i].succ] == head && o->back[i].node == head)
			return;
	*c = *h;
	c->first = (u16)o->n_ops;
	for (u32 i = 0; i < h->n; i++)
		o->ops[o->n_ops++] = o->ops[h->first + i];
	for (u32 i = 0; i < o->n_back; i++) {
		struct node *n = &o->nodes[o->back[i].node];

		if (n->succ[o->back[i].succ] != head)
			continue;
		back += n->taken[o->back[i].succ];
		n->succ[o->back[i].succ] = (u16)o->n_nodes;
	}
	back = MIN(back, whole);
	for (int i = 0; i < 2; i++) {
		c->taken[i] = (u32)((u64)h->taken[i] * back / whole);
		h->taken[i] -= c->taken[i];
	}
	c->count = back;
	h->count -= back;
	o->n_nodes++;
}

static void rotate_loops(struct optimiser *o)
{
	u32 n = o->n_nodes;

	for (u16 k = 0; k < n; k++)
		if (o->nodes[k].reached && o->nodes[k].loop && o->nodes[k].merge)
			rotate(o, k);
	for (u32 k = 0; k < o->n_nodes; k++)
		o->nodes[k].reached = false;
	mark_reached(o);
	mark_loops(o);
}

static void note_sources(struct optimiser *o)
{
	for (u32 k = 0; k < o->n_nodes; k++) {
		const struct node *n = &o->nodes[k];
		u64 end = n->next_pc;

		if (!n->reached)
			continue;
		if (n->end == OP_STOP)
			end = n->next_pc + 1;
		o->sources[o->n_sources++] = (struct opt_source){ n->pc, end };
	}
}

int region_form(struct optimiser *o)
{
	o->n_ops = o->n_nodes = o->n_sources = o->covered = o->seen = 0;
	o->contexts[0] = (struct context){ 0 };
	o->n_contexts = 1;
	__builtin_memset(o->node_hash, 0xff, sizeof(o->node_hash));
	find_leaders(o);
	if (node_new(o, o->r->head, 0) == NO_NODE)
		return -2;
	walk(o);
	if (!o->nodes[0].count || o->ops[0].kind == OP_STOP)
		return -1;
	cut_rare(o);
	mark_reached(o);
	mark_loops(o);
	if (ON(o, layout))
		rotate_loops(o);
	note_sources(o);
	return 0;
}
