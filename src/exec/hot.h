/* SPDX-License-Identifier: MIT
 * The hot tier of `penumbra exec`: see hot.c.  All need code_lock unless said otherwise. */
#ifndef PENUMBRA_EXEC_HOT_H
#define PENUMBRA_EXEC_HOT_H

#include "exec/exec.h"
#include "optimise/optimise.h"

struct hot_region { struct opt_region region; };
struct hot_stats { u64 recorded, regions, declined, guest_insns, bytes; };
extern struct hot_stats hot_stats;

/* After block_link(): the exit counts, where its target may become the head of a region. */
void hot_linked(u32 exit, struct block *b);
/* The entry of b for indirect branches. */
u64 hot_target(struct block *b);
/* The counter of `block`, where th stands, ran out. */
void hot_promote(struct thread *th, u32 block);
/* Without the lock: th records. */
bool hot_recording(const struct thread *th);
/* The next block of a thread that records. */
struct block *hot_step(struct thread *th, struct siginfo *info);
/* The recording is given up: of th, or (`only` false) of all others. */
void hot_forget(const struct thread *th, bool only);
/* A second thread is about to run: what was made for one alone goes. */
void hot_unshare(void);
void hot_reset(void);
const struct hot_region *hot_regions(u32 *n);
/* Without the lock: the program's state at a host address of a region; `entry`: before its head. */
bool hot_state(const struct block *b, struct opt_regs *regs, const u64 *spill, bool fault, bool *entry);

#endif
