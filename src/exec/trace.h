/* SPDX-License-Identifier: MIT
 * The recorded trace: see trace.c.  All need code_lock. */
#ifndef PENUMBRA_EXEC_TRACE_H
#define PENUMBRA_EXEC_TRACE_H

#include "exec/exec.h"

#define TRACE 1500

/* In the order in which a head is preferred. */
enum reach { REACH_BACK, REACH_INDIRECT, REACH_CALL, REACH_OTHER };
struct run { u16 at; s32 frame; /* RBP - RSP there */ };
struct head {
	u64 pc;
	s32 frame;
	u32 first, last, visits; /* in the trace */
	enum reach how;
	bool tried;
};

struct trace {
	struct thread *owner;
	u32 n, n_runs, n_heads, distinct;
	u64 seen[64];        /* one bit for the hash of each address */
	u64 pcs[TRACE];
	struct run runs[TRACE];
	struct head heads[128];
};
extern struct trace trace;

void trace_begin(struct thread *th);
/* th is about to run b. */
void trace_run(const struct thread *th, const struct block *b);
bool trace_done(void);
/* Finds the heads in it; the best one that has not been tried, or NULL. */
void trace_heads(void);
struct head *trace_best(void);

#endif
