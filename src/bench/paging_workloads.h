/* SPDX-License-Identifier: MIT
 * What penumbra bench paging measures: the workloads of its own kernel and those of its Linux program, one row each, and
 * the figures that each prints.  Included by the kernel and the program as well (bench/paging), which print one line
 *
 *	paging NAME FIGURE=NUMBER ... checksum=NUMBER stale=NUMBER
 *
 * for each; times are in cycles of the time stamp counter. */
#ifndef PENUMBRA_BENCH_PAGING_WORKLOADS_H
#define PENUMBRA_BENCH_PAGING_WORKLOADS_H

/* Symbol, name, words. */
#define PAGING_KERNEL_WORKLOADS(W) \
	W(rare, "rare", "one update in 10,000 accesses") \
	W(frequent, "frequent", "one update in 10 accesses") \
	W(seq_used, "seq-used", "entries written in sequence, then used") \
	W(seq_unused, "seq-unused", "entries written in sequence, 1 in 128 used") \
	W(random_used, "random-used", "entries written at random, then used") \
	W(random_unused, "random-unused", "entries written at random, 1 in 128 used") \
	W(fork, "fork", "fork with copy-on-write") \
	W(mmap, "mmap", "16 pages mapped, touched, unmapped") \
	W(switch2, "switch-2", "2 address spaces in turn, flushed") \
	W(switch8, "switch-8", "8 address spaces in turn, flushed") \
	W(switch64, "switch-64", "64 address spaces in turn, flushed") \
	W(pcid2, "pcid-2", "2 address spaces in turn, not flushed") \
	W(pcid8, "pcid-8", "8 address spaces in turn, not flushed") \
	W(pcid64, "pcid-64", "64 address spaces in turn, not flushed") \
	W(exec, "exec", "address spaces made, filled, dropped") \
	W(heap, "heap", "a large heap, 16 changes between flushes") \
	W(ksm, "ksm", "pages merged to one frame and written again") \
	W(split, "split", "2 MiB pages split and joined") \
	W(scattered, "scattered", "100,000 scattered pages") \
	W(mixed, "mixed", "4 processes, stable heaps beside churn") \
	W(beside, "beside", "8 MiB that stay beside 2 MiB of unused updates") \
	W(phases, "phases", "storms of updates and of accesses in turn")

#define PAGING_LINUX_WORKLOADS(W) \
	W(fork, "linux-fork", "fork, 64 pages written on either side, exit") \
	W(mmap, "linux-mmap", "mmap, touch, munmap of 16 pages") \
	W(switch2, "linux-switch-2", "2 processes in a ring of pipes") \
	W(switch8, "linux-switch-8", "8 processes in a ring of pipes") \
	W(switch64, "linux-switch-64", "64 processes in a ring of pipes") \
	W(exec, "linux-exec", "fork, exec, 64 pages touched, exit") \
	W(heap, "linux-heap", "64 MiB heap, few changes") \
	W(ksm, "linux-ksm", "pages of a file mapped to one page and back") \
	W(mremap, "linux-mremap", "16 pages moved to and fro by mremap") \
	W(small, "linux-thp-off", "32 MiB touched in 4 KiB pages") \
	W(large, "linux-thp-on", "32 MiB touched in 2 MiB pages, split, joined")

/* Symbol, words: counts of what was done and, with `_cycles`, what it took.  The whole is `cycles`. */
#define PAGING_FIGURES(F) \
	F(updates, "stores to last-level or 2 MiB entries") \
	F(flushes, "INVLPG, and CR3 loads that flush") \
	F(touches, "first accesses to pages after their entry was made or changed") \
	F(accesses, "other accesses") \
	F(switches, "changes of address space")

/* The workload `sweep` has a row for each of its points: accesses for each update.  They are named sweep/N. */
#define PAGING_SWEEP(P) P(1) P(10) P(100) P(1000) P(10000) P(100000)
#define PAGING_SWEEP_NAME "sweep"
/* Pages, and accesses between two flushes, of the sweep. */
#define PAGING_SWEEP_PAGES 512
#define PAGING_SWEEP_SLICE 1000

#endif
