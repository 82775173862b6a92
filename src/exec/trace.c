/* SPDX-License-Identifier: MIT
 * How the program runs from a sampled place on: the addresses of some instructions one after the other, and the heads of
 * loops and functions among them.
 *
 * The thread runs in blocks that end at the next branch and lead to C, one *run* each.  One thread records at a time.
 * Everything here needs code_lock. */
#include "exec/exec.h"
#include "exec/trace.h"

/* By then few addresses repeat: it is no loop that would pay. */
#define LOOK 300
#define LOOK_DISTINCT 260
#define HEADS ARRAY_SIZE(trace.heads)

struct trace trace;

void trace_begin(struct thread *th)
{
	trace.owner = th;
	trace.n = trace.n_runs = trace.distinct = trace.n_heads = 0;
	__builtin_memset(trace.seen, 0, sizeof trace.seen);
}

static void note(u64 pc)
{
	u32 h = (u32)(pc * 0x9e3779b97f4a7c15ull >> 52);

	if (trace.n == TRACE)
		return;
	trace.distinct += !(trace.seen[h / 64] >> (h % 64) & 1);
	trace.seen[h / 64] |= BIT(h % 64);
	trace.pcs[trace.n++] = pc;
}

bool trace_done(void)
{
	return trace.n == TRACE || (trace.n >= LOOK && trace.distinct * LOOK > trace.n * LOOK_DISTINCT);
}

void trace_run(const struct thread *th, const struct block *b)
{
	s32 last = -1;

	trace.runs[trace.n_runs++] = (struct run){ (u16)trace.n, (s32)(th->gpr[RBP] - th->gpr[RSP]) };
	for (u32 i = 0; i < b->n_records; i++) {
		s32 at = CACHE->records[b->records + i].guest;

		if (at > last && at < b->guest_len)
			note(b->pc + (u64)at);
		last = MAX(last, at);
	}
}

/* How control came from the last instruction of a run to the next one. */
static enum reach reached(u64 from, u64 to)
{
	struct insn in;
	u8 bytes[INSN_MAX] = { 0 };

	for (size_t n = INSN_MAX; n && guest_copy(bytes, (const void *)from, n); n--)
		;
	if (insn_decode(&in, bytes, sizeof bytes, MODE_64))
		return REACH_OTHER;
	switch (in.klass) {
	case IC_JCC: case IC_JMP: case IC_LOOP:
		return to <= from ? REACH_BACK : REACH_OTHER;
	case IC_JMP_IND:
		return REACH_INDIRECT;
	case IC_CALL: case IC_CALL_IND:
		return REACH_CALL;
	default:
		return REACH_OTHER;
	}
}

static struct head *head_at(u64 pc)
{
	for (u32 i = 0; i < trace.n_heads; i++)
		if (trace.heads[i].pc == pc)
			return &trace.heads[i];
	return NULL;
}

void trace_heads(void)
{
	for (u32 i = 1; i < trace.n_runs; i++) {
		u32 at = trace.runs[i].at;
		u64 pc = trace.pcs[at];
		struct head *h = head_at(pc);
		enum reach how = h && h->how == REACH_BACK ? REACH_BACK : reached(trace.pcs[at - 1], pc);

		if (at >= trace.n || (!h && (how == REACH_OTHER || trace.n_heads == HEADS)))
			continue;
		if (!h) {
			h = &trace.heads[trace.n_heads++];
			*h = (struct head){ .pc = pc, .first = at, .how = how };
		}
		h->how = MIN(h->how, how);
		h->last = at;
		h->visits++;
		h->frame = trace.runs[i].frame;
	}
}

/* The one that comes most often among those that come again all along the trace; heads of loops before targets of
 * indirect jumps, these before functions. */
struct head *trace_best(void)
{
	for (u32 tenths = 6; tenths >= 3; tenths -= 3)
		for (enum reach how = REACH_BACK; how <= REACH_CALL; how++) {
			struct head *best = NULL;

			for (u32 i = 0; i < trace.n_heads; i++) {
				struct head *h = &trace.heads[i];

				if (h->how == how && !h->tried && h->visits >= 3 && (h->last - h->first) * 10 >= trace.n * tenths &&
				    (!best || h->visits > best->visits))
					best = h;
			}
			if (best)
				return best;
		}
	return NULL;
}
