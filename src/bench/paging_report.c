/* SPDX-License-Identifier: MIT
 * What penumbra bench paging found, on standard output: a table for each figure, and where the maintainers cross. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/paging.h"
#include "bench/sample.h"

#define NAME_WIDTH 16
#define CELL_WIDTH 11           /* and a blank and the bar */
/* `auto` may cost this much more than the best. */
#define AUTO_ALLOWED 0.05

/* The height of a value among those of its row: eighths of a character cell. */
static const char *bar_of(double v, double most)
{
	static const char *const bars[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	int at = most > 0 ? (int)(v / most * 8 - 0.001) : 0;

	return bars[MAX(0, MIN(at, 7))];
}

static void print_value(double v)
{
	if (v < 0)
		printf("%*s", CELL_WIDTH, "-");
	else if (v >= 1000 || v == floor(v))
		printf("%*.0f", CELL_WIDTH, v);
	else
		printf("%*.*f", CELL_WIDTH, v < 10 ? 2 : 1, v);
}

/* A cell's value that can be compared with others of its row: totals only of the same work. */
static double comparable(const struct paging_bench *b, const struct paging_cell *cell, enum paging_metric m)
{
	return *cell->why || (m == METRIC_TOTAL && cell->scale != b->scale) ? -1 : paging_value(cell, m);
}

static bool has_value(const struct paging_bench *b, const struct paging_row *row, int column, enum paging_metric m)
{
	const struct paging_cell *cell = &row->cell[column];

	return b->columns[column] && (comparable(b, cell, m) > 0 || (m == METRIC_TOTAL && *cell->why));
}

static bool has_values(const struct paging_bench *b, const struct paging_row *row, enum paging_metric m)
{
	for (int c = 0; c < COLUMN_COUNT; c++)
		if (has_value(b, row, c, m))
			return true;
	return false;
}

/* Whether the table of a figure has such a column. */
static bool shown(const struct paging_bench *b, int column, enum paging_metric m)
{
	for (int i = 0; i < b->rows; i++)
		if (has_value(b, &b->row[i], column, m))
			return true;
	return false;
}

/* What auto takes of native runs, or where there are none of QEMU. */
static void print_ratios(const struct paging_bench *b, const struct paging_row *row)
{
	int other = row->linux_program && b->columns[COLUMN_NATIVE] ? COLUMN_NATIVE : COLUMN_QEMU;
	double v = comparable(b, &row->cell[COLUMN_AUTO], METRIC_TOTAL), of = comparable(b, &row->cell[other], METRIC_TOTAL);

	if (v > 0 && of > 0)
		printf("%8.2f of %s", v / of, paging_column_name(other));
}

static void print_row(const struct paging_bench *b, const struct paging_row *row, enum paging_metric m)
{
	struct paging_automatic a;
	double most = 0;

	for (int c = 0; c < COLUMN_COUNT; c++)
		if (b->columns[c])
			most = fmax(most, comparable(b, &row->cell[c], m));
	printf("%-*s", NAME_WIDTH, row->name);
	for (int c = 0; c < COLUMN_COUNT; c++) {
		double v = comparable(b, &row->cell[c], m);

		if (!shown(b, c, m))
			continue;
		if (*row->cell[c].why)
			printf("%*s", CELL_WIDTH, "failed");
		else
			print_value(v);
		printf(" %s", v < 0 ? " " : bar_of(v, most));
	}
	if (m == METRIC_TOTAL && paging_judge_auto(row, &a))
		printf("  %+7.1f %% of %-14s", a.over * 100, paging_column_name(a.best));
	if (m == METRIC_TOTAL)
		print_ratios(b, row);
	putchar('\n');
}

static void print_head(const struct paging_bench *b, enum paging_metric m, const char *last)
{
	printf("%-*s", NAME_WIDTH, "");
	for (int c = 0; c < COLUMN_COUNT; c++)
		if (shown(b, c, m))
			printf(" %*s ", CELL_WIDTH, paging_column_name(c));
	puts(last);
}

static void print_metric(const struct paging_bench *b, enum paging_metric m)
{
	bool any = false;

	for (int i = 0; i < b->rows; i++) {
		if (!has_values(b, &b->row[i], m))
			continue;
		if (!any) {
			printf("\n%s (%s)\n", paging_metric(m).words, paging_metric(m).unit);
			print_head(b, m, m != METRIC_TOTAL || !b->columns[COLUMN_AUTO] ? "" :
				   b->columns[COLUMN_QEMU] || b->columns[COLUMN_NATIVE] ? "   auto over the best       auto in all" :
				   "   auto over the best");
		}
		any = true;
		print_row(b, &b->row[i], m);
	}
}

static void print_sweep(const struct paging_bench *b)
{
	bool any = false;

	for (int i = 0; i < b->rows; i++) {
		if (!b->row[i].each)
			continue;
		if (!any) {
			printf("\nthe sweep, by updates for each access: cycles for each access (a flush every %d accesses to %d pages)\n",
			       PAGING_SWEEP_SLICE, PAGING_SWEEP_PAGES);
			print_head(b, METRIC_TOTAL, "");
		}
		any = true;
		printf("1/%-*llu", NAME_WIDTH - 2, (unsigned long long)b->row[i].each);
		for (int c = 0; c < COLUMN_COUNT; c++)
			if (shown(b, c, METRIC_TOTAL)) {
				print_value(paging_sweep_cost(&b->row[i], c));
				printf("  ");
			}
		putchar('\n');
	}
}

static void print_crossings(const struct paging_bench *b)
{
	struct paging_crossing c[PAGING_CROSSINGS_MAX];
	int n = paging_crossings(b, c);

	for (int i = 0; i < n; i++)
		printf("%s is cheaper than %s with more than one update in %.0f accesses, dearer with fewer\n",
		       paging_column_name(c[i].frequent), paging_column_name(c[i].rare), c[i].each);
	for (int i = 0; i < b->rows && !n; i++)
		if (b->row[i].each) {
			puts("no two of them cross");
			break;
		}
}

static void print_auto(const struct paging_bench *b)
{
	const char *furthest = NULL;
	double most = 0;
	int n = 0, within = 0, ahead = 0;

	for (int i = 0; i < b->rows; i++) {
		struct paging_automatic a;

		if (!paging_judge_auto(&b->row[i], &a))
			continue;
		n++;
		within += a.over <= AUTO_ALLOWED;
		ahead += a.over < 0;
		if (!furthest || a.over > most) {
			most = a.over;
			furthest = b->row[i].name;
		}
	}
	if (n)
		printf("\nauto is within %.0f %% of the best fixed maintainer on %d of %d workloads, ahead of all of them on %d; "
		       "furthest off: %s, %+.1f %%\n", AUTO_ALLOWED * 100, within, n, ahead, furthest, most * 100);
}

static int column_named(const char *name)
{
	int c = 0;

	while (c < PAGING_COUNT && strcmp(paging_column_name(c), name))
		c++;
	return c;
}

/* Workloads with fewer updates show what it costs to find the instructions that make them. */
#define MANY_UPDATES 1000

/* A store that is intercepted beside one that traps, over the workloads with many. */
static void print_updates(const struct paging_bench *b)
{
	int intercept = column_named("intercept"), trap = column_named("writeprotect"), n = 0;
	double took[PAGING_CROSSINGS_MAX], times[PAGING_CROSSINGS_MAX];

	if (intercept == PAGING_COUNT || trap == PAGING_COUNT)
		return;
	for (int i = 0; i < b->rows && n < PAGING_CROSSINGS_MAX; i++) {
		const struct paging_cell *cell = b->row[i].cell;
		double v = paging_value(&cell[intercept], METRIC_UPDATE), trapped = paging_value(&cell[trap], METRIC_UPDATE);

		if (v <= 0 || trapped <= 0 || cell[intercept].sample[0].n[FIGURE_updates] < MANY_UPDATES)
			continue;
		took[n] = v;
		times[n++] = trapped / v;
	}
	if (!n)
		return;
	printf("\nan intercepted store takes %.0f cycles, 1/%.0f of a trapped one (medians of the %d workloads with at least %d; ",
	       median_of(took, n), median_of(times, n), n, MANY_UPDATES);
	/* median_of() has sorted them. */
	printf("from %.0f to %.0f cycles, 1/%.0f to 1/%.0f)\n", took[0], took[n - 1], times[0], times[n - 1]);
}

static void print_scales(const struct paging_bench *b)
{
	printf("Medians of %d run%s, %u %% of the work; cycles of the time stamp counter.\n", b->runs, b->runs > 1 ? "s" : "", b->scale);
	for (int c = 0; c < COLUMN_COUNT; c++)
		for (int i = 0; i < b->rows; i++)
			if (b->columns[c] && b->row[i].cell[c].samples && b->row[i].cell[c].scale != b->scale) {
				printf("%s runs %u %% of the work, once: the host emulates guest kernels.\n", paging_column_name(c),
				       b->row[i].cell[c].scale);
				break;
			}
}

void paging_bench_print(const struct paging_bench *b)
{
	print_scales(b);
	for (int m = 0; m < METRIC_COUNT; m++)
		print_metric(b, m);
	print_sweep(b);
	print_crossings(b);
	print_updates(b);
	print_auto(b);
}
