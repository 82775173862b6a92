/* SPDX-License-Identifier: MIT
 * What penumbra bench paging found, as JSON: every sample with its statistics, medians, auto, crossings. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "bench/paging.h"

static void add(json_object *o, const char *key, json_object *v) { json_object_object_add(o, key, v); }

static json_object *json_sample(const struct paging_sample *s)
{
	static const char *const names[] = {
#define FIGURE_NAMES(symbol, words) #symbol, #symbol "_cycles",
		PAGING_FIGURES(FIGURE_NAMES)
#undef FIGURE_NAMES
	};
	json_object *o = json_object_new_object();

	add(o, "cycles", json_object_new_uint64(s->cycles));
	for (int f = 0; f < FIGURE_COUNT; f++) {
		add(o, names[2 * f], json_object_new_uint64(s->n[f]));
		add(o, names[2 * f + 1], json_object_new_uint64(s->spent[f]));
	}
	if (s->host_cycles > 0)
		add(o, "host_cycles", json_object_new_double(s->host_cycles));
	if (s->memory)
		add(o, "memory", json_object_new_uint64(s->memory));
	/* As text: not every reader of JSON keeps 64 bits. */
	char sum[32];

	snprintf(sum, sizeof sum, "%016llx", (unsigned long long)s->checksum);
	add(o, "checksum", json_object_new_string(sum));
	if (s->stats)
		add(o, "stats", json_object_get(s->stats));
	return o;
}

static json_object *json_cell(const struct paging_cell *cell)
{
	json_object *o = json_object_new_object(), *medians = json_object_new_object(), *samples = json_object_new_array();

	if (*cell->why)
		add(o, "failed", json_object_new_string(cell->why));
	add(o, "scale", json_object_new_int((int)cell->scale));
	for (int m = 0; m < METRIC_COUNT; m++) {
		double v = paging_value(cell, m);

		if (v >= 0)
			add(medians, paging_metric(m).key, json_object_new_double(v * paging_metric_unit(m)));
	}
	add(o, "medians", medians);
	for (int i = 0; i < cell->samples; i++)
		json_object_array_add(samples, json_sample(&cell->sample[i]));
	add(o, "samples", samples);
	return o;
}

static json_object *json_row(const struct paging_bench *b, const struct paging_row *row)
{
	json_object *o = json_object_new_object(), *columns = json_object_new_object();
	struct paging_automatic a;

	add(o, "workload", json_object_new_string(row->name));
	add(o, "words", json_object_new_string(row->words));
	if (row->each)
		add(o, "accesses_per_update", json_object_new_uint64(row->each));
	for (int c = 0; c < COLUMN_COUNT; c++)
		if (b->columns[c] && (row->cell[c].samples || *row->cell[c].why))
			add(columns, paging_column_name(c), json_cell(&row->cell[c]));
	add(o, "columns", columns);
	if (paging_judge_auto(row, &a)) {
		add(o, "best_fixed", json_object_new_string(paging_column_name(a.best)));
		add(o, "auto_over_best", json_object_new_double(a.over));
	}
	return o;
}

static json_object *json_crossings(const struct paging_bench *b)
{
	struct paging_crossing c[PAGING_CROSSINGS_MAX];
	json_object *all = json_object_new_array();
	int n = paging_crossings(b, c);

	for (int i = 0; i < n; i++) {
		json_object *o = json_object_new_object();

		add(o, "cheaper_with_more_updates", json_object_new_string(paging_column_name(c[i].frequent)));
		add(o, "cheaper_with_fewer_updates", json_object_new_string(paging_column_name(c[i].rare)));
		add(o, "accesses_per_update", json_object_new_double(c[i].each));
		add(o, "cycles_per_access", json_object_new_double(c[i].cost));
		json_object_array_add(all, o);
	}
	return all;
}

int paging_bench_json(const struct paging_bench *b, const char *path, struct err *e)
{
	json_object *all = json_object_new_object(), *columns = json_object_new_array(), *rows = json_object_new_array();
	int rc = 0;

	add(all, "runs", json_object_new_int(b->runs));
	add(all, "scale", json_object_new_int((int)b->scale));
	for (int c = 0; c < COLUMN_COUNT; c++)
		if (b->columns[c])
			json_object_array_add(columns, json_object_new_string(paging_column_name(c)));
	add(all, "columns", columns);
	for (int i = 0; i < b->rows; i++)
		json_object_array_add(rows, json_row(b, &b->row[i]));
	add(all, "workloads", rows);
	add(all, "crossings", json_crossings(b));
	if (json_object_to_file_ext(path, all, JSON_C_TO_STRING_PRETTY))
		rc = err_sys(e, errno ? errno : EIO, "%s", path);
	json_object_put(all);
	return rc;
}
