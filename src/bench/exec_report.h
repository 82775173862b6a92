/* SPDX-License-Identifier: MIT
 * The report of penumbra exec: what the runtime wrote about a run, with figures of the whole run, a native run beside
 * it, and the code of hot regions before and after, disassembled. */
#ifndef PENUMBRA_BENCH_EXEC_REPORT_H
#define PENUMBRA_BENCH_EXEC_REPORT_H

#include "base/err.h"
#include "bench/sample.h"

struct exec_report {
	int raw;                /* the runtime's JSON; empty where the program ended by a signal or an execve */
	bool has_native;
	struct sample native, translated; /* wall, cpu, instructions, cycles; zero: not counted */
};

/* Writes the report: a picture where the path ends in .svg, else JSON. */
int exec_report_write(const struct exec_report *r, const char *path, struct err *e);

#endif
