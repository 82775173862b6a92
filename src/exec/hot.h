/* SPDX-License-Identifier: MIT
 * The hot tier of `penumbra exec`: see hot.c.  All need code_lock unless said otherwise. */
#ifndef PENUMBRA_EXEC_HOT_H
#define PENUMBRA_EXEC_HOT_H

#include "exec/exec.h"
#include "optimise/optimise.h"
#include "x86/emit.h"

struct hot_region {
	struct opt_region region;
	u32 old; /* block that it took the place of, number + 1 */
	u32 samples;
	s32 gain[OPT_PASS_COUNT]; /* for a report: instructions along the trace that each pass spares */
};
struct hot_stats { u64 samples, inside, recorded, regions, declined, guest_insns, bytes; };
extern struct hot_stats hot_stats;

/* Whether a sample at pc, outside of regions, is worth a recording. */
bool hot_wanted(u64 pc);
/* A sample in a region.  Without the lock. */
void hot_hit(const struct block *b);
/* th records from where it stands, if there is time for that. */
void hot_begin(struct thread *th);
/* Without the lock: th records. */
bool hot_recording(const struct thread *th);
/* Where a thread that records goes on. */
u64 hot_step(struct thread *th, struct siginfo *info);
/* The recording is given up: of th, or (`only` false) of all others. */
void hot_forget(const struct thread *th, bool only);
/* A second thread is about to run: what was made for one alone goes. */
void hot_unshare(void);
/* A region gives way to the plain translation. */
void hot_drop(struct block *b);
void hot_reset(void);
const struct hot_region *hot_regions(u32 *n);
/* Without the lock: the program's state at a host address of a region; `entry`: before its head. */
bool hot_state(const struct block *b, struct opt_regs *regs, const u64 *spill, bool fault, bool *entry);

/* sample.c: the thread's own. */
void sample_start(struct thread *th);
void sample_stop(struct thread *th);
bool sample_is(const struct siginfo *info);
/* A recording is done; `useful`: it made a region. */
void sample_count(struct thread *th, bool useful);
/* Whether a signal, handled or not, can make the call fail with EINTR whatever SA_RESTART says. */
bool sample_interruptible(u64 nr);

#endif
