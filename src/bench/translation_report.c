/* SPDX-License-Identifier: MIT
 * What penumbra bench translation found: a table on standard output, JSON, a chart. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/programs.h"
#include "bench/svg.h"
#include "bench/translation.h"

static const struct { const char *name, *words; } sets[] = {
#define SET_ROW(name, words) { name, words },
	BENCH_SETS(SET_ROW)
#undef SET_ROW
};

static bool has_set(const struct translation_bench *b, const char *set)
{
	for (int i = 0; i < b->rows; i++)
		if (!strcmp(b->row[i].set, set) && b->row[i].there)
			return true;
	return false;
}

static void print_cell(const struct bench_row *row, int way)
{
	if (row->differs[way])
		printf(" %17s", "differs");
	else if (row->wall[way] > 0 && row->instructions[way] > 0)
		printf("  %5.2f %4.2f %4.2f", row->wall[way], row->cpu[way], row->instructions[way]);
	else
		printf("  %5.2f %4.2f    -", row->wall[way], row->cpu[way]);
}

static double native_seconds(const struct bench_row *row)
{
	double v[ROUNDS_MAX];

	for (int r = 0; r < row->rounds; r++)
		v[r] = row->sample[WAY_NATIVE][r].wall;
	return median_of(v, row->rounds);
}

static void print_set(const struct translation_bench *b, size_t s)
{
	printf("\n%s\n%-14s %9s", sets[s].words, "", "native");
	for (int way = 1; way < WAY_COUNT; way++)
		if (b->ways[way])
			printf("  %-16s", bench_way_names[way]);
	putchar('\n');
	for (int i = 0; i < b->rows; i++) {
		const struct bench_row *row = &b->row[i];

		if (strcmp(row->set, sets[s].name))
			continue;
		if (!row->there) {
			printf("%-14s not installed\n", row->name);
			continue;
		}
		printf("%-14s %7.2f s", row->name, native_seconds(row));
		for (int way = 1; way < WAY_COUNT; way++)
			if (b->ways[way])
				print_cell(row, way);
		putchar('\n');
	}
	printf("%-14s %9s", "mean", "");
	for (int way = 1; way < WAY_COUNT; way++)
		if (b->ways[way])
			printf("  %5.2f          ", translation_bench_mean(b, sets[s].name, way));
	putchar('\n');
}

void translation_bench_print(const struct translation_bench *b)
{
	printf("Ratios to native, medians of %d rounds: time, processor time, instructions executed.\n", b->rounds);
	for (size_t s = 0; s < ARRAY_SIZE(sets); s++)
		if (has_set(b, sets[s].name))
			print_set(b, s);
}

static json_object *json_way(const struct bench_row *row, int way)
{
	json_object *o = json_object_new_object(), *samples = json_object_new_array();

	if (row->differs[way]) {
		json_object_object_add(o, "differs", json_object_new_boolean(1));
	} else {
		json_object_object_add(o, "time", json_object_new_double(row->wall[way]));
		json_object_object_add(o, "processor_time", json_object_new_double(row->cpu[way]));
		json_object_object_add(o, "instructions", json_object_new_double(row->instructions[way]));
	}
	for (int r = 0; r < row->rounds && !row->differs[way]; r++) {
		json_object *s = json_object_new_object();

		json_object_object_add(s, "seconds", json_object_new_double(row->sample[way][r].wall));
		json_object_object_add(s, "processor_seconds", json_object_new_double(row->sample[way][r].cpu));
		json_object_object_add(s, "instructions", json_object_new_int64((s64)row->sample[way][r].instructions));
		json_object_object_add(s, "cycles", json_object_new_int64((s64)row->sample[way][r].cycles));
		json_object_array_add(samples, s);
	}
	json_object_object_add(o, "samples", samples);
	return o;
}

static json_object *json_all(const struct translation_bench *b)
{
	json_object *all = json_object_new_object(), *rows = json_object_new_array(), *means = json_object_new_object();

	for (int i = 0; i < b->rows; i++) {
		const struct bench_row *row = &b->row[i];
		json_object *o = json_object_new_object();

		if (!row->there) {
			json_object_put(o);
			continue;
		}
		json_object_object_add(o, "set", json_object_new_string(row->set));
		json_object_object_add(o, "program", json_object_new_string(row->name));
		for (int way = 0; way < WAY_COUNT; way++)
			if (b->ways[way])
				json_object_object_add(o, bench_way_names[way], json_way(row, way));
		json_object_array_add(rows, o);
	}
	for (size_t s = 0; s < ARRAY_SIZE(sets); s++) {
		json_object *o = json_object_new_object();

		for (int way = 1; way < WAY_COUNT; way++)
			if (b->ways[way] && has_set(b, sets[s].name))
				json_object_object_add(o, bench_way_names[way],
						       json_object_new_double(translation_bench_mean(b, sets[s].name, way)));
		json_object_object_add(means, sets[s].name, o);
	}
	json_object_object_add(all, "rounds", json_object_new_int(b->rounds));
	json_object_object_add(all, "programs", rows);
	json_object_object_add(all, "geometric_means", means);
	return all;
}

int translation_bench_json(const struct translation_bench *b, const char *path, struct err *e)
{
	json_object *all = json_all(b);
	int rc = 0;

	if (json_object_to_file_ext(path, all, JSON_C_TO_STRING_PRETTY))
		rc = err_sys(e, errno ? errno : EIO, "%s", path);
	json_object_put(all);
	return rc;
}

#define CHART_LEFT 120
#define CHART_UNIT 260 /* pixels for a ratio of 1 */
#define CHART_MOST 3.0 /* longer bars are cut */
#define BAR_HEIGHT 9

static const char *const colours[WAY_COUNT] = { "#999999", "#2a7de1", "#1a9850", "#e0a030", "#c05050" };

static int chart_bars(FILE *f, const struct translation_bench *b, const struct bench_row *row, int y)
{
	fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", CHART_LEFT - 8, y + 12, row->name);
	for (int way = 1; way < WAY_COUNT; way++) {
		double v = row->wall[way], w = MIN(v, CHART_MOST) * CHART_UNIT;

		if (!b->ways[way])
			continue;
		if (v > 0)
			fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>"
				"<text x=\"%.1f\" y=\"%d\" font-size=\"9\">%.2f</text>\n",
				CHART_LEFT, y, w, BAR_HEIGHT, colours[way], CHART_LEFT + w + 3, y + 8, v);
		y += BAR_HEIGHT + 2;
	}
	return y + 6;
}

static int chart_draw(FILE *f, const void *what)
{
	const struct translation_bench *b = what;
	int y = 40, x = CHART_LEFT;

	for (int way = 1; way < WAY_COUNT; way++)
		if (b->ways[way]) {
			fprintf(f, "<rect x=\"%d\" y=\"12\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"21\">%s</text>\n",
				x, colours[way], x + 14, bench_way_words[way]);
			x += 40 + 7 * (int)strlen(bench_way_words[way]);
		}
	for (size_t s = 0; s < ARRAY_SIZE(sets); s++) {
		if (!has_set(b, sets[s].name))
			continue;
		fprintf(f, "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s</text>\n", y + 8, sets[s].words);
		y += 18;
		for (int i = 0; i < b->rows; i++)
			if (!strcmp(b->row[i].set, sets[s].name) && b->row[i].there)
				y = chart_bars(f, b, &b->row[i], y);
		y += 10;
	}
	fprintf(f, "<line x1=\"%d\" y1=\"32\" x2=\"%d\" y2=\"%d\" stroke=\"#333\" stroke-dasharray=\"3 3\"/>"
		"<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">native = 1</text>\n", CHART_LEFT + CHART_UNIT, CHART_LEFT + CHART_UNIT, y,
		CHART_LEFT + CHART_UNIT, y + 14);
	return y + 24;
}

int translation_bench_svg(const struct translation_bench *b, const char *path, struct err *e)
{
	return svg_write(path, CHART_LEFT + (int)(CHART_MOST * CHART_UNIT) + 50, chart_draw, b, e);
}
