/* SPDX-License-Identifier: MIT
 * Figures of penumbra bench paging: crossings of the sweep, what is noise, auto against the best, medians.
 * LIBS: -lcmocka -ljson-c -lm
 * WITH: bench/paging_figures.c bench/sample.c base/err.c */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/paging.h"

#define RUNS 5
#define ACCESSES 100000
#define POINTS 6

static struct paging_row rows[POINTS];
static const u64 each[POINTS] = { 1, 10, 100, 1000, 10000, 100000 };

/* A column of the sweep costs cost(each) cycles for each access, in each run by a factor. */
static void fill(int column, double (*cost)(double each), const double *factor)
{
	for (int i = 0; i < POINTS; i++) {
		struct paging_cell *cell = &rows[i].cell[column];

		rows[i].each = each[i];
		cell->samples = RUNS;
		cell->scale = 100;
		for (int r = 0; r < RUNS; r++) {
			cell->sample[r].cycles = (u64)(cost((double)each[i]) * ACCESSES * factor[r]);
			cell->sample[r].n[FIGURE_accesses] = ACCESSES;
		}
	}
}

static double constant(double e) { return e > 0 ? 1000 : 0; }
static double falling(double e) { return 31622.7766 / e; }     /* 1000 at 31.6 */
static double valley(double e) { return e == 1000 ? 500 : 2000; }

static double slight(double e) { return e < 100 ? 1020 : 980; }

static const double steady[RUNS] = { 1, 1, 1, 1, 1 }, wild[RUNS] = { 0.5, 1.6, 0.6, 1.7, 1.8 };
static struct paging_bench bench = { .row = rows, .rows = POINTS };

static int setup(void **state)
{
	(void)state;
	memset(rows, 0, sizeof rows);
	return 0;
}

static void test_crossing(void **state)
{
	struct paging_crossing c[PAGING_CROSSINGS_MAX];

	(void)state;
	fill(0, constant, steady);
	fill(1, falling, steady);
	assert_int_equal(paging_crossings(&bench, c), 1);
	assert_int_equal(c[0].frequent, 0);
	assert_int_equal(c[0].rare, 1);
	assert_float_equal(c[0].each, 31.62, 0.1);
	assert_float_equal(c[0].cost, 1000, 1);
}

static void test_two_crossings(void **state)
{
	struct paging_crossing c[PAGING_CROSSINGS_MAX];

	(void)state;
	fill(0, constant, steady);
	fill(2, valley, steady);
	assert_int_equal(paging_crossings(&bench, c), 2);
	assert_int_equal(c[0].frequent, 0);
	assert_int_equal(c[1].frequent, 2);
	assert_float_equal(c[0].each, sqrt(100 * 1000), 1);
	assert_float_equal(c[1].each, sqrt(1000 * 10000), 5);
}

static void test_noise(void **state)
{
	struct paging_crossing c[PAGING_CROSSINGS_MAX];

	(void)state;
	fill(0, constant, steady);
	fill(1, slight, steady);
	assert_int_equal(paging_crossings(&bench, c), 0);
	/* Three runs of five are no majority that is believed, whatever they say. */
	fill(1, valley, wild);
	for (int i = 0; i < POINTS; i++)
		for (int r = 0; r < RUNS; r++)
			rows[i].cell[1].sample[r].cycles = (u64)(1000 * ACCESSES * wild[r]);
	for (int r = 0; r < RUNS; r++)
		rows[3].cell[1].sample[r].cycles = (u64)(1000 * ACCESSES / wild[r]);
	assert_int_equal(paging_crossings(&bench, c), 0);
}

static void test_other_scale(void **state)
{
	struct paging_crossing c[PAGING_CROSSINGS_MAX];

	(void)state;
	fill(0, constant, steady);
	fill(1, falling, steady);
	for (int i = 0; i < POINTS; i++)
		rows[i].cell[1].scale = 2;
	assert_int_equal(paging_crossings(&bench, c), 0);
}

static void test_auto(void **state)
{
	const double slower[RUNS] = { 2, 2, 2, 2, 2 }, automatic[RUNS] = { 1.1, 1.04, 1.01, 1.03, 9 };
	struct paging_automatic a;

	(void)state;
	fill(0, constant, slower);
	assert_false(paging_judge_auto(&rows[0], &a));
	fill(COLUMN_AUTO, constant, automatic);
	assert_true(paging_judge_auto(&rows[0], &a));
	assert_int_equal(a.best, 0);
	assert_float_equal(a.over, -0.48, 0.001);
	fill(COLUMN_AUTO - 1, constant, steady);
	assert_true(paging_judge_auto(&rows[0], &a));
	assert_int_equal(a.best, COLUMN_AUTO - 1);
	assert_float_equal(a.over, 0.04, 0.001);
}

static void test_values(void **state)
{
	struct paging_cell *cell = &rows[0].cell[0];

	(void)state;
	assert_true(paging_value(cell, METRIC_TOTAL) < 0);
	cell->samples = 3;
	for (int i = 0; i < 3; i++) {
		cell->sample[i].cycles = (u64)(3 - i) * 1000000;
		cell->sample[i].n[FIGURE_updates] = (u64)i * 10;
		cell->sample[i].spent[FIGURE_updates] = (u64)i * 500;
	}
	assert_float_equal(paging_value(cell, METRIC_TOTAL), 2, 0);
	assert_float_equal(paging_value(cell, METRIC_UPDATE), 50, 0); /* the sample without any does not count */
	assert_true(paging_value(cell, METRIC_TOUCH) < 0);
	assert_true(paging_value(cell, METRIC_faults) < 0);
	assert_true(paging_sweep_cost(&rows[0], 0) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_crossing, setup), cmocka_unit_test_setup(test_two_crossings, setup),
		cmocka_unit_test_setup(test_noise, setup), cmocka_unit_test_setup(test_other_scale, setup),
		cmocka_unit_test_setup(test_auto, setup), cmocka_unit_test_setup(test_values, setup),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
