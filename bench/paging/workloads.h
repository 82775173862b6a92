/* SPDX-License-Identifier: MIT
 * The workloads of the kernel of penumbra bench paging, and what they share. */
#ifndef BENCH_PAGING_WORKLOADS_H
#define BENCH_PAGING_WORKLOADS_H

#include "bench/paging_workloads.h"
#include "kernel.h"

#define WORKLOAD_DECLARE(symbol, name, words) void run_##symbol(void);
PAGING_KERNEL_WORKLOADS(WORKLOAD_DECLARE)
#undef WORKLOAD_DECLARE
#define SWEEP_DECLARE(n) void run_sweep_##n(void);
PAGING_SWEEP(SWEEP_DECLARE)
#undef SWEEP_DECLARE

void idle_space(void);                  /* user mode sees nothing */
struct space *begin_space(u64 pages);   /* current, with fresh pages from USER_HEAP on */
void end_space(struct space *s);
volatile u64 *heap_entry(u64 page);     /* of the current space */
void repoint(u64 page);                 /* a fresh frame for it; not flushed */

#endif
