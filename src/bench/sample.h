/* SPDX-License-Identifier: MIT
 * One run of a program, measured as a whole: time, processor time, instructions, and what it printed.
 *
 * Owner: the calling thread.  The program and all that it starts are counted (perf_event_open(2), inherited). */
#ifndef PENUMBRA_BENCH_SAMPLE_H
#define PENUMBRA_BENCH_SAMPLE_H

#include <sys/types.h>

#include "base/err.h"
#include "base/types.h"

struct sample {
	double wall, cpu;          /* seconds; cpu: user and system time of the whole tree */
	double instructions, cycles; /* in user mode; 0 where the host does not count them */
	u64 output;                /* hash of standard output */
	u64 output_bytes;
	int status;                /* as waitpid() gives it */
};

/* Runs argv[0], looked up in PATH, in `directory` with no standard input; standard error goes to the null device.  A
 * run that takes longer than `limit` seconds is killed.  Errors only where it could not be run at all. */
int sample_take(const char *const *argv, const char *directory, unsigned limit, struct sample *s, struct err *e);

/* Counts an event (PERF_COUNT_HW_*) in a process and all that it starts, from its next exec on; with `host_kernel` what the
 * host kernel does for them as well.  A descriptor, or negative where the host does not allow it. */
int counter_open(u64 config, bool host_kernel, pid_t pid);
/* Reads and closes it; 0 for a negative one. */
double counter_take(int fd);

/* Sorts n values and returns the middle one; 0 for none. */
double median_of(double *values, int n);

#endif
