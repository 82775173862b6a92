/* SPDX-License-Identifier: MIT
 * Figures of penumbra bench paging: medians, what auto costs over the best, where maintainers overtake each other. */
#include "bench/paging.h"

#include <json-c/json.h>
#include <math.h>
#include <string.h>

#include "accel/accel.h"
#include "bench/sample.h"

struct paging_metric_row paging_metric(enum paging_metric m)
{
	static const struct paging_metric_row own[] = {
#define METRIC_ROW(symbol, key, words, unit) [METRIC_##symbol] = { key, words, unit },
		PAGING_METRICS(METRIC_ROW)
#undef METRIC_ROW
	};
	static const char *const keys[] = {
#define STAT_KEY(field) [METRIC_##field] = #field,
		PAGING_STATS(STAT_KEY)
#undef STAT_KEY
	};
	static const struct paging_metric_row stats[] = {
#define STAT_ROW(field, unit, words) { #field, words, unit },
		VM_STATS(STAT_ROW)
#undef STAT_ROW
	};

	if (m < ARRAY_SIZE(own))
		return own[m];
	for (size_t i = 0; i < ARRAY_SIZE(stats); i++)
		if (!strcmp(stats[i].key, keys[m]))
			return (struct paging_metric_row){ keys[m], stats[i].words, strcmp(stats[i].unit, "bytes") ? stats[i].unit : "MiB" };
	return (struct paging_metric_row){ keys[m], keys[m], "" };
}

double paging_metric_unit(enum paging_metric m)
{
	const char *unit = paging_metric(m).unit;

	return !strncmp(unit, "millions", 8) ? 1e6 : !strcmp(unit, "MiB") ? 1 << 20 : 1;
}

static double per(const struct paging_sample *s, enum paging_figure f)
{
	return s->n[f] ? (double)s->spent[f] / (double)s->n[f] : -1;
}

static double stat_of(const struct paging_sample *s, const char *key)
{
	struct json_object *v;

	return s->stats && json_object_object_get_ex(s->stats, key, &v) ? json_object_get_double(v) : -1;
}

static double value_of(const struct paging_sample *s, enum paging_metric m)
{
	switch (m) {
	case METRIC_TOTAL: return (double)s->cycles;
	case METRIC_UPDATE: return per(s, FIGURE_updates);
	case METRIC_FLUSH: return per(s, FIGURE_flushes);
	case METRIC_TOUCH: return per(s, FIGURE_touches);
	case METRIC_SWITCH: return per(s, FIGURE_switches);
	case METRIC_HOST: return s->host_cycles > 0 ? s->host_cycles : -1;
	case METRIC_MEMORY: return s->memory ? (double)s->memory : -1;
	default: return stat_of(s, paging_metric(m).key);
	}
}

double paging_value(const struct paging_cell *cell, enum paging_metric m)
{
	double v[PAGING_RUNS_MAX];
	int n = 0;

	for (int i = 0; i < cell->samples; i++) {
		v[n] = value_of(&cell->sample[i], m) / paging_metric_unit(m);
		n += v[n] >= 0;
	}
	return n ? median_of(v, n) : -1;
}

bool paging_judge_auto(const struct paging_row *row, struct paging_automatic *a)
{
	const struct paging_cell *automatic = &row->cell[COLUMN_AUTO], *best = NULL;
	double v[PAGING_RUNS_MAX], least = 0;
	int n = 0;

	for (int c = 0; c < COLUMN_AUTO; c++) {
		double total = *row->cell[c].why ? -1 : paging_value(&row->cell[c], METRIC_TOTAL);

		if (total > 0 && (!best || total < least)) {
			best = &row->cell[c];
			least = total;
			a->best = c;
		}
	}
	for (int i = 0; best && !*automatic->why && i < MIN(automatic->samples, best->samples); i++)
		v[n++] = (double)automatic->sample[i].cycles / (double)MAX(best->sample[i].cycles, 1);
	a->over = median_of(v, n) - 1;
	return n > 0;
}

double paging_sweep_cost(const struct paging_row *row, int column)
{
	const struct paging_cell *cell = &row->cell[column];
	double total = paging_value(cell, METRIC_TOTAL);

	if (!row->each || total < 0 || !cell->sample[0].n[FIGURE_accesses])
		return -1;
	return total * 1e6 / (double)cell->sample[0].n[FIGURE_accesses];
}

/* Costs closer than this are the same, and so are those of which the one is lower in fewer than 4 of 5 runs: what they
 * differ by is noise. */
#define SAME 0.03
#define AGREE 0.8

/* Logarithm of the ratio of two costs at a point, the median over the runs; 0 where they are the same or missing. */
static double lead(const struct paging_row *row, int a, int b)
{
	const struct paging_cell *x = &row->cell[a], *y = &row->cell[b];
	double v[PAGING_RUNS_MAX], r;
	int n = MIN(x->samples, y->samples), agree = 0;

	if (!n || x->scale != y->scale)
		return 0;
	for (int i = 0; i < n; i++)
		v[i] = log((double)MAX(x->sample[i].cycles, 1) / (double)MAX(y->sample[i].cycles, 1));
	r = median_of(v, n);
	for (int i = 0; i < n; i++)
		agree += v[i] * r > 0;
	return fabs(r) < SAME || agree < AGREE * n ? 0 : r;
}

/* Between two points at which different columns lead: straight lines over the logarithms. */
static struct paging_crossing cross(const struct paging_row *from, const struct paging_row *to, int one, int other)
{
	double before = lead(from, one, other), now = lead(to, one, other), at = before / (before - now);
	double x = log((double)from->each), y = log((double)to->each);
	double c = log(paging_sweep_cost(from, one)), d = log(paging_sweep_cost(to, one));

	return (struct paging_crossing){
		.frequent = before < 0 ? one : other, .rare = before < 0 ? other : one,
		.each = exp(x + at * (y - x)), .cost = exp(c + at * (d - c)),
	};
}

int paging_crossings(const struct paging_bench *b, struct paging_crossing *c)
{
	int n = 0;

	for (int one = 0; one < COLUMN_COUNT; one++) {
		for (int other = one + 1; other < COLUMN_COUNT; other++) {
			const struct paging_row *last = NULL; /* the last point where one of them leads */

			for (int i = 0; i < b->rows; i++) {
				const struct paging_row *row = &b->row[i];
				double now = row->each ? lead(row, one, other) : 0;

				if (now == 0)
					continue;
				if (last && lead(last, one, other) * now < 0 && n < PAGING_CROSSINGS_MAX)
					c[n++] = cross(last, row, one, other);
				last = row;
			}
		}
	}
	return n;
}
