/* SPDX-License-Identifier: MIT
 * The programs that penumbra bench translation measures: one row each, in the order of the report. */
#ifndef PENUMBRA_BENCH_PROGRAMS_H
#define PENUMBRA_BENCH_PROGRAMS_H

#include "base/err.h"
#include "base/types.h"

#define PROGRAM_WORDS 16
struct bench_program {
	const char *set, *name;
	const char *words[PROGRAM_WORDS]; /* the first is looked up in PATH, or with "./" in the directory of micro-programs */
};
extern const struct bench_program bench_programs[];
extern const int bench_program_count;

/* Names and words of the sets. */
#define BENCH_SETS(S) \
	S("main", "programs as Debian ships them") \
	S("second", "programs that nothing was developed on") \
	S("o0", "sources built with -O0") \
	S("o1", "sources built with -O1") \
	S("micro", "micro-programs")

/* Writes what the programs read into `directory`. */
int bench_inputs_write(const char *directory, struct err *e);

#endif
