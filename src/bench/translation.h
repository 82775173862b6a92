/* SPDX-License-Identifier: MIT
 * Programs of the host measured natively and by `penumbra exec`, in turn.
 *
 * Each round runs a program once by each way, so that the noise of the machine meets all of them; a figure is the median
 * over the rounds of the ratio to the native run of the same round. */
#ifndef PENUMBRA_BENCH_TRANSLATION_H
#define PENUMBRA_BENCH_TRANSLATION_H

#include "base/err.h"
#include "bench/sample.h"

/* Ways to run a program: symbol, name, words.  The first is what the others are compared with. */
#define BENCH_WAYS(W) \
	W(NATIVE, "native", "native") \
	W(TIER1, "tier1", "plain tier") \
	W(TIER2, "tier2", "hot tier") \
	W(VALGRIND, "valgrind", "Valgrind's none tool") \
	W(QEMU, "qemu", "qemu-x86_64")
enum bench_way {
#define BENCH_WAY_ENUM(symbol, name, words) WAY_##symbol,
	BENCH_WAYS(BENCH_WAY_ENUM)
#undef BENCH_WAY_ENUM
	WAY_COUNT
};

#define ROUNDS_MAX 99
struct bench_row {
	const char *set, *name;
	bool there;                     /* its program is installed */
	bool differs[WAY_COUNT];        /* another output or status than natively */
	int rounds;
	struct sample sample[WAY_COUNT][ROUNDS_MAX];
	double wall[WAY_COUNT], cpu[WAY_COUNT], instructions[WAY_COUNT]; /* median ratios to native, 0: none */
};

struct translation_bench {
	const char *self;               /* path of this program */
	const char *micro;              /* directory of the programs built for this, NULL: none */
	const char *sets;               /* names separated by commas */
	const char *programs;           /* names separated by commas, NULL: all */
	bool ways[WAY_COUNT];
	int rounds;                     /* 1 to ROUNDS_MAX */
	void (*progress)(void *opaque, const struct bench_row *row, enum bench_way way, int round);
	void *opaque;
	struct bench_row *row;          /* set by translation_bench_run(), free() it */
	int rows;
};

extern const char *const bench_way_names[WAY_COUNT], *const bench_way_words[WAY_COUNT];

/* -EINVAL for an unknown set or program, -ENOENT where nothing of it is installed. */
int translation_bench_run(struct translation_bench *b, struct err *e);
/* Geometric mean over the rows of a set of a way's processor time against native; 0 where there is none. */
double translation_bench_mean(const struct translation_bench *b, const char *set, enum bench_way way);

int translation_bench_json(const struct translation_bench *b, const char *path, struct err *e);
int translation_bench_svg(const struct translation_bench *b, const char *path, struct err *e);
void translation_bench_print(const struct translation_bench *b);

#endif
