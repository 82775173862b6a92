/* SPDX-License-Identifier: MIT
 * What penumbra bench paging found, drawn: for each workload bars of its cycles against the best fixed maintainer, and
 * the curves of the sweep with the points where they cross. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/paging.h"
#include "bench/svg.h"

#define LEFT 330
#define UNIT 130                /* pixels for the cost of the best */
#define MOST 5.0                /* longer bars are cut */
#define BAR 8
#define CURVE_WIDTH 620
#define CURVE_HEIGHT 340
#define WIDTH (LEFT + (int)(MOST * UNIT) + 60)

static const char *colour_of(int column)
{
	static const char *const colours[] = { "#c05050", "#e0a030", "#2a7de1", "#8050c0", "#209090", "#a06030" };

	if (column == COLUMN_AUTO)
		return "#1a9850";
	if (column == COLUMN_QEMU)
		return "#777777";
	if (column == COLUMN_NATIVE)
		return "#bbbbbb";
	return colours[column % (int)(sizeof colours / sizeof *colours)];
}

/* The cost that bars are drawn against: of the best fixed maintainer, else of whatever there is. */
static double reference(const struct paging_bench *b, const struct paging_row *row)
{
	struct paging_automatic a;

	if (paging_judge_auto(row, &a))
		return paging_value(&row->cell[a.best], METRIC_TOTAL);
	for (int c = 0; c < COLUMN_COUNT; c++)
		if (b->columns[c] && row->cell[c].scale == b->scale && paging_value(&row->cell[c], METRIC_TOTAL) > 0)
			return paging_value(&row->cell[c], METRIC_TOTAL);
	return 0;
}

static int draw_legend(FILE *f, const struct paging_bench *b, int y)
{
	int x = LEFT;

	for (int c = 0; c < COLUMN_COUNT; c++) {
		if (!b->columns[c])
			continue;
		fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s</text>\n", x, y,
			colour_of(c), x + 14, y + 9, paging_column_name(c));
		x += 40 + 7 * (int)strlen(paging_column_name(c));
	}
	return y + 22;
}

static int draw_row(FILE *f, const struct paging_bench *b, const struct paging_row *row, int y)
{
	double least = reference(b, row);
	bool any = false;

	for (int c = 0; c < COLUMN_COUNT; c++) {
		double v = paging_value(&row->cell[c], METRIC_TOTAL), width;

		if (!b->columns[c] || v <= 0 || least <= 0 || row->cell[c].scale != b->scale)
			continue;
		if (!any)
			fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\" "
				"font-size=\"9\" fill=\"#555\">%s</text>\n", LEFT - 8, y + 9, row->name, LEFT - 8, y + 20, row->words);
		any = true;
		width = MIN(v / least, MOST) * UNIT;
		fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/><text x=\"%.1f\" y=\"%d\" font-size=\"8\">%.2f</text>\n",
			LEFT, y, width, BAR, colour_of(c), LEFT + width + 3, y + 7, v / least);
		y += BAR + 2;
	}
	return any ? y + 10 : y;
}

static int draw_bars(FILE *f, const struct paging_bench *b, int y)
{
	int top = y;

	for (int i = 0; i < b->rows; i++)
		if (!b->row[i].each)
			y = draw_row(f, b, &b->row[i], y);
	if (y == top)
		return y;
	fprintf(f, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"#333\" stroke-dasharray=\"3 3\"/>"
		"<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">cycles of the whole; the best fixed maintainer = 1</text>\n",
		LEFT + UNIT, top - 4, LEFT + UNIT, y, LEFT + UNIT, y + 12);
	return y + 40;
}

/* The plane of the sweep: accesses for each update to the right, cycles for each access up, both by their logarithms. */
struct plane { double x0, x1, y0, y1; int top; };
static double plane_x(const struct plane *p, double each)
{
	return 60 + (log10(each) - p->x0) / fmax(p->x1 - p->x0, 1e-9) * CURVE_WIDTH;
}
static double plane_y(const struct plane *p, double cost)
{
	return p->top + CURVE_HEIGHT - (log10(cost) - p->y0) / fmax(p->y1 - p->y0, 1e-9) * CURVE_HEIGHT;
}

static bool plane_fit(const struct paging_bench *b, struct plane *p)
{
	bool any = false;

	for (int i = 0; i < b->rows; i++)
		for (int c = 0; c < COLUMN_COUNT; c++) {
			double cost = paging_sweep_cost(&b->row[i], c), x, y;

			if (!b->columns[c] || cost <= 0)
				continue;
			x = log10((double)b->row[i].each);
			y = log10(cost);
			p->x0 = any ? fmin(p->x0, x) : x;
			p->x1 = any ? fmax(p->x1, x) : x;
			p->y0 = any ? fmin(p->y0, floor(y)) : floor(y);
			p->y1 = any ? fmax(p->y1, ceil(y)) : ceil(y);
			any = true;
		}
	return any;
}

static void draw_axes(FILE *f, const struct plane *p)
{
	fprintf(f, "<rect x=\"60\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#333\"/>\n", p->top, CURVE_WIDTH, CURVE_HEIGHT);
	for (double x = p->x0; x <= p->x1 + 0.01; x++)
		fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">1/%.0f</text>\n", plane_x(p, pow(10, x)), p->top + CURVE_HEIGHT + 16,
			pow(10, x));
	for (double y = p->y0; y <= p->y1 + 0.01; y++)
		fprintf(f, "<text x=\"54\" y=\"%.1f\" text-anchor=\"end\">%g</text><line x1=\"60\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n",
			plane_y(p, pow(10, y)) + 4, pow(10, y), 60 + CURVE_WIDTH, plane_y(p, pow(10, y)), plane_y(p, pow(10, y)));
	fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">updates for each access</text>"
		"<text x=\"60\" y=\"%d\">cycles for each access; circles: where two cost the same</text>\n",
		60 + CURVE_WIDTH / 2, p->top + CURVE_HEIGHT + 32, p->top - 8);
}

static int draw_sweep(FILE *f, const struct paging_bench *b, int y)
{
	struct paging_crossing crossing[PAGING_CROSSINGS_MAX];
	struct plane p = { .top = y + 20 };
	int n = paging_crossings(b, crossing);

	if (!plane_fit(b, &p))
		return y;
	draw_axes(f, &p);
	for (int c = 0; c < COLUMN_COUNT; c++) {
		fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour_of(c));
		for (int i = 0; b->columns[c] && i < b->rows; i++) {
			double cost = paging_sweep_cost(&b->row[i], c);

			if (cost > 0)
				fprintf(f, "%.1f,%.1f ", plane_x(&p, (double)b->row[i].each), plane_y(&p, cost));
		}
		fputs("\"/>\n", f);
	}
	for (int i = 0; i < n; i++)
		fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"none\" stroke=\"#000\"><title>%s, %s: one update in %.0f accesses"
			"</title></circle>\n", plane_x(&p, crossing[i].each), plane_y(&p, crossing[i].cost),
			paging_column_name(crossing[i].frequent), paging_column_name(crossing[i].rare), crossing[i].each);
	return p.top + CURVE_HEIGHT + 50;
}

static int draw(FILE *f, const void *what)
{
	const struct paging_bench *b = what;

	return draw_sweep(f, b, draw_bars(f, b, draw_legend(f, b, 12) + 8));
}

int paging_bench_svg(const struct paging_bench *b, const char *path, struct err *e)
{
	return svg_write(path, WIDTH, draw, b, e);
}
