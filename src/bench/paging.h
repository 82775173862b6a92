/* SPDX-License-Identifier: MIT
 * The ways of keeping shadow page tables, measured side by side: a kernel of our own and a program under Linux
 * (bench/paging), run by each maintainer, by kvm, by QEMU's TCG, and natively.
 *
 * Owner: the calling thread.  Each round runs everything once by every way, in turn, so that the noise of the machine meets
 * all of them; a figure is the median over the rounds. */
#ifndef PENUMBRA_BENCH_PAGING_H
#define PENUMBRA_BENCH_PAGING_H

#include "base/err.h"
#include "base/types.h"
#include "bench/paging_workloads.h"
#include "shadow/paging.h"

/* The columns: the maintainers, then these.  Symbol, name, words. */
#define PAGING_OTHERS(O) \
	O(KVM, "kvm", "kvm") \
	O(QEMU, "qemu", "QEMU's TCG") \
	O(NATIVE, "native", "native, Linux workloads only")
enum paging_column {
	/* The maintainers in the order of enum paging_kind, but for auto, which is the last of them. */
	COLUMN_AUTO = PAGING_COUNT - 1,
#define PAGING_OTHER_ENUM(symbol, name, words) COLUMN_##symbol,
	PAGING_OTHERS(PAGING_OTHER_ENUM)
#undef PAGING_OTHER_ENUM
	COLUMN_COUNT
};
const char *paging_column_name(int column);

enum paging_figure {
#define PAGING_FIGURE_ENUM(symbol, words) FIGURE_##symbol,
	PAGING_FIGURES(PAGING_FIGURE_ENUM)
#undef PAGING_FIGURE_ENUM
	FIGURE_COUNT
};

#define PAGING_RUNS_MAX 99
#define PAGING_KVM_SCALE 2      /* per cent, where the host emulates guest kernels */

struct paging_sample {
	u64 cycles;
	u64 n[FIGURE_COUNT], spent[FIGURE_COUNT];
	u64 checksum;
	double host_cycles;     /* of the whole run, start and end included; 0 where it was of several workloads */
	u64 memory;             /* bytes; the same */
	struct json_object *stats; /* penumbra run --stats, NULL where the run was of several workloads or by others */
};

struct paging_cell {
	int samples;
	u32 scale;              /* per cent of the work */
	char why[200];          /* what failed first, "": nothing */
	struct paging_sample sample[PAGING_RUNS_MAX];
};

struct paging_row {
	const char *name, *words;
	bool linux_program;
	u64 each;               /* a point of the sweep: accesses for each update; 0: none */
	struct paging_cell cell[COLUMN_COUNT];
};

struct paging_bench {
	const char *self;               /* path of this program */
	const char *guest_kernel, *guest_initrd; /* of the default guest; NULL: no Linux workloads but native ones */
	const char *only;               /* workloads separated by commas, NULL: all */
	bool kvm_emulates;              /* set by paging_bench_run(): it is right, but slow */
	bool columns[COLUMN_COUNT];     /* those that this host cannot run are taken out by paging_bench_run() */
	int runs;                       /* 1 to PAGING_RUNS_MAX */
	u32 scale;                      /* 1 to 100 per cent of the work */
	void (*progress)(void *opaque, const char *workload, const char *column, int run);
	void *opaque;
	struct paging_row *row;         /* set by paging_bench_run(); paging_bench_free() */
	int rows;
};

/* -EINVAL for an unknown workload.  What failed in a run is in its cell. */
int paging_bench_run(struct paging_bench *b, struct err *e);
void paging_bench_free(struct paging_bench *b);
/* The first thing that went wrong or differs, as an error; 0 where nothing did. */
int paging_bench_verdict(const struct paging_bench *b, struct err *e);

/* paging_run.c: one run.  Files are in `directory`, made by paging_files_write(). */
struct paging_job {
	int column;
	bool linux_program;
	const char *only;       /* workloads separated by "+" */
	u32 scale;
	bool stats;
};
int paging_files_write(const struct paging_bench *b, const char *directory, struct err *e);
struct paging_output {
	char *text;                /* standard output; to be freed, set on success */
	struct json_object *stats; /* the figures of the run, NULL: none; a reference of the caller's */
	u64 memory;                /* bytes that its processes do not share, at most; sampled */
	double cycles;             /* of all its processes and of the host kernel for them; 0: not counted */
};
int paging_job_run(const struct paging_bench *b, const struct paging_job *job, const char *directory, struct paging_output *output,
		   struct err *e);

/* paging_figures.c: the figures of the report: symbol, key, words, unit; and of the statistics of a run (VM_STATS in
 * accel/accel.h, which has their words) these. */
#define PAGING_METRICS(M) \
	M(TOTAL, "cycles", "whole workload", "millions of cycles") \
	M(UPDATE, "cycles_per_update", "a store to a page table entry", "cycles") \
	M(FLUSH, "cycles_per_flush", "INVLPG or a CR3 load that flushes", "cycles") \
	M(TOUCH, "cycles_per_touch", "first touch of a page", "cycles") \
	M(SWITCH, "cycles_per_switch", "switch of address spaces", "cycles") \
	M(HOST, "host_cycles", "host cycles of the whole run, start and host kernel included", "millions") \
	M(MEMORY, "memory", "anonymous memory and host page tables of all processes, at most", "MiB")
#define PAGING_STATS(S) \
	S(faults) S(table_traps) S(table_stores) S(fills) S(fill_pages) S(compared_pages) S(dropped_pages) S(leaves_kept) \
	S(leaves_evicted) S(carriers_peak) S(vmas_peak)
enum paging_metric {
#define PAGING_METRIC_ENUM(symbol, key, words, unit) METRIC_##symbol,
	PAGING_METRICS(PAGING_METRIC_ENUM)
#undef PAGING_METRIC_ENUM
#define PAGING_STAT_ENUM(field) METRIC_##field,
	PAGING_STATS(PAGING_STAT_ENUM)
#undef PAGING_STAT_ENUM
	METRIC_COUNT
};
struct paging_metric_row { const char *key, *words, *unit; };
/* Where the unit is "millions of ..." or "MiB", values are in it; those of the JSON are whole. */
struct paging_metric_row paging_metric(enum paging_metric m);
double paging_metric_unit(enum paging_metric m);
/* Median over the samples; negative where there is none. */
double paging_value(const struct paging_cell *cell, enum paging_metric m);

/* How `auto` compares with the best fixed maintainer: the median over the runs of the ratio of totals, minus 1.  False
 * where either is missing. */
struct paging_automatic { int best; double over; };
bool paging_judge_auto(const struct paging_row *row, struct paging_automatic *a);

/* Cycles for each access at a point of the sweep; negative where there are none. */
double paging_sweep_cost(const struct paging_row *row, int column);
/* Where two columns of the sweep cost the same. */
struct paging_crossing {
	int frequent, rare;     /* the cheaper column with more updates for each access, and with fewer */
	double each, cost;      /* accesses for each update there, cycles for each access */
};
#define PAGING_CROSSINGS_MAX 64
/* Fills at most PAGING_CROSSINGS_MAX; returns how many there are. */
int paging_crossings(const struct paging_bench *b, struct paging_crossing *c);

/* paging_report.c, paging_json.c, paging_svg.c */
void paging_bench_print(const struct paging_bench *b);
int paging_bench_json(const struct paging_bench *b, const char *path, struct err *e);
int paging_bench_svg(const struct paging_bench *b, const char *path, struct err *e);

#endif
