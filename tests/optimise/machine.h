/* SPDX-License-Identifier: MIT
 * Runs guest code natively and through a region in this process, and compares.  Shared by the region checker
 * and the region bench. */
#ifndef PENUMBRA_TESTS_OPTIMISE_MACHINE_H
#define PENUMBRA_TESTS_OPTIMISE_MACHINE_H

#include "optimise/optimise.h"

#include <stddef.h>

#define CODE_SIZE 0x4000
#define DATA_PAGES 4
#define STACK_PAGES 4
#define MAX_TRACE 60000

/* Guest code, data and stack, at addresses that a test chooses. */
struct machine {
	u8 *code, *data, *stack;
	struct opt_regs start;
	struct opt_regs *trace;    /* the state before each instruction, natively */
	u32 n_trace;
	u64 *pcs;
	struct opt_regs end;
	u8 *end_memory;            /* data, then stack */
	u8 *start_memory;
};

enum outcome { RAN, FAULTED, STUCK };

/* Maps memory; `far`: code beyond 4 GiB. */
void machine_init(struct machine *m, bool far);
void machine_free(struct machine *m);
/* The end of a program: jump here. */
u64 machine_finish(void);
/* Runs natively from start, step by step, and fills trace and end. */
enum outcome machine_record(struct machine *m);

/* A run: natively to step `from` of the trace, from there at `entry` (0: natively as well). */
struct run {
	u32 from;
	const struct opt_region *region;  /* NULL: natively */
	u64 outs, outs_end;      /* where its exits lead through; these bring the kept registers back */
	u16 kept;                /* as in struct opt_request */
	bool step;               /* compare at each precise point with the trace */
	int protect_page;        /* -1, or page of data (0..), then of the stack */
	int protection;          /* PROT_* */
	u32 protect_at;          /* step at which it is protected */
	/* results */
	enum outcome outcome;
	struct opt_regs regs;    /* at the end, or at the fault, the guest's */
	u64 address;             /* of the fault */
	u32 points, entry_refused;
	const char *wrong;       /* what differed while stepping */
	u32 wrong_at;
};
void machine_run(struct machine *m, struct run *r);
u64 *machine_spill(void);
/* Calls code in the machine's way without any stepping; returns when it reaches machine_finish(). */
void machine_call(struct machine *m, u64 entry);

/* Program code for the optimiser. */
const u8 *machine_fetch(void *ctx, u64 pc, size_t *have);

#endif
