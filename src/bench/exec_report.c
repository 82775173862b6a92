/* SPDX-License-Identifier: MIT
 * Disassembly is Zydis's, loaded when a report is asked for; without it the report has bytes only. */
#include "bench/exec_report.h"

#include "bench/svg.h"

#include <Zydis/Zydis.h>
#include <dlfcn.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RAW_MAX (16 << 20)

typedef ZyanStatus disassemble_fn(ZydisMachineMode, ZyanU64, const void *, ZyanUSize, ZydisDisassembledInstruction *);

static json_object *read_raw(int fd)
{
	char *text = malloc(RAW_MAX);
	json_object *o = NULL;
	ssize_t n = 0, k;

	if (!text)
		return NULL;
	while (n < RAW_MAX - 1 && (k = pread(fd, text + n, (size_t)(RAW_MAX - 1 - n), n)) > 0)
		n += k;
	text[n] = 0;
	if (n)
		o = json_tokener_parse(text);
	free(text);
	return json_object_is_type(o, json_type_object) ? o : (json_object_put(o), NULL);
}

static size_t from_hex(const char *hex, unsigned char *bytes, size_t room)
{
	size_t n = 0;
	unsigned v;

	while (n < room && hex[2 * n] && sscanf(hex + 2 * n, "%2x", &v) == 1)
		bytes[n++] = (unsigned char)v;
	return n;
}

/* A pair of address and bytes becomes lines of text. */
static void disassemble(disassemble_fn *dis, json_object *pair, json_object *lines)
{
	json_object *a = json_object_array_get_idx(pair, 0), *b = json_object_array_get_idx(pair, 1);
	unsigned char bytes[8192];
	size_t n, at = 0;
	u64 address;

	if (!a || !b)
		return;
	address = strtoull(json_object_get_string(a), NULL, 16);
	n = from_hex(json_object_get_string(b), bytes, sizeof bytes);
	while (at < n) {
		ZydisDisassembledInstruction in;
		char line[160];

		if (!ZYAN_SUCCESS(dis(ZYDIS_MACHINE_MODE_LONG_64, address + at, bytes + at, n - at, &in)))
			break;
		snprintf(line, sizeof line, "%llx  %s", (unsigned long long)(address + at), in.text);
		json_object_array_add(lines, json_object_new_string(line));
		at += in.info.length;
	}
}

static void disassemble_region(disassemble_fn *dis, json_object *region)
{
	json_object *before = json_object_object_get(region, "before"), *after = json_object_object_get(region, "after");
	json_object *old = json_object_new_array(), *new = json_object_new_array();

	for (size_t i = 0; json_object_is_type(before, json_type_array) && i < json_object_array_length(before); i++)
		disassemble(dis, json_object_array_get_idx(before, i), old);
	if (json_object_is_type(after, json_type_array))
		disassemble(dis, after, new);
	json_object_object_add(region, "disassembly_before", old);
	json_object_object_add(region, "disassembly_after", new);
}

static void disassemble_all(json_object *all)
{
	void *library = dlopen("libZydis.so.4.0", RTLD_NOW | RTLD_LOCAL);
	json_object *hot = json_object_object_get(all, "hot");
	disassemble_fn *dis = NULL;

	if (library)
		*(void **)&dis = dlsym(library, "ZydisDisassembleIntel");
	for (size_t i = 0; dis && json_object_is_type(hot, json_type_array) && i < json_object_array_length(hot); i++)
		disassemble_region(dis, json_object_array_get_idx(hot, i));
	if (library)
		dlclose(library);
}

static json_object *figures(const struct sample *s)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "seconds", json_object_new_double(s->wall));
	json_object_object_add(o, "processor_seconds", json_object_new_double(s->cpu));
	if (s->instructions > 0)
		json_object_object_add(o, "instructions", json_object_new_int64((s64)s->instructions));
	if (s->cycles > 0)
		json_object_object_add(o, "cycles", json_object_new_int64((s64)s->cycles));
	return o;
}

static void add_ratio(json_object *o, const char *name, double a, double b)
{
	if (a > 0 && b > 0)
		json_object_object_add(o, name, json_object_new_double(a / b));
}

static json_object *compose(const struct exec_report *r)
{
	json_object *raw = read_raw(r->raw), *all = json_object_new_object(), *ratio;

	json_object_object_add(all, "translated", figures(&r->translated));
	if (r->has_native) {
		ratio = json_object_new_object();
		json_object_object_add(all, "native", figures(&r->native));
		add_ratio(ratio, "time", r->translated.wall, r->native.wall);
		add_ratio(ratio, "processor_time", r->translated.cpu, r->native.cpu);
		add_ratio(ratio, "instructions", r->translated.instructions, r->native.instructions);
		add_ratio(ratio, "cycles", r->translated.cycles, r->native.cycles);
		json_object_object_add(all, "ratio_to_native", ratio);
	} else {
		json_object_object_add(all, "native", json_object_new_string("not measured: see --native"));
	}
	if (!raw) {
		json_object_object_add(all, "translator", json_object_new_string("nothing: the program did not end by itself"));
		return all;
	}
	json_object_object_foreach(raw, key, value)
		json_object_object_add(all, key, json_object_get(value));
	json_object_put(raw);
	disassemble_all(all);
	return all;
}

/* ---- the picture ---- */

#define LEFT 150
#define UNIT 260

static int bar(FILE *f, int y, const char *name, double v, const char *colour, const char *words)
{
	double w = v < 0 ? 0 : v > 2.5 ? 2.5 * UNIT : v * UNIT;

	fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text><rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"12\" fill=\"%s\"/>"
		"<text x=\"%.1f\" y=\"%d\" font-size=\"10\">%s</text>\n", LEFT - 8, y + 10, name, LEFT, y, w, colour, LEFT + w + 4, y + 10, words);
	return y + 18;
}

static int title(FILE *f, int y, const char *text)
{
	fprintf(f, "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s</text>\n", y + 12, text);
	return y + 22;
}

static double number_of(json_object *o, const char *name) { return json_object_get_double(json_object_object_get(o, name)); }

static int draw_ratios(FILE *f, int y, json_object *all)
{
	json_object *ratio = json_object_object_get(all, "ratio_to_native");
	char words[64];

	if (!ratio)
		return title(f, y, "Not measured natively");
	y = title(f, y, "Against native (1: as native)");
	json_object_object_foreach(ratio, key, value) {
		snprintf(words, sizeof words, "%.3f", json_object_get_double(value));
		y = bar(f, y, key, json_object_get_double(value), "#2a7de1", words);
	}
	return y + 6;
}

static int draw_regions(FILE *f, int y, json_object *all, double *gain)
{
	json_object *hot = json_object_object_get(all, "hot");
	double samples = number_of(all, "samples");

	y = title(f, y, "Hot regions: instructions along their traces, after to before");
	for (size_t i = 0; json_object_is_type(hot, json_type_array) && i < json_object_array_length(hot); i++) {
		json_object *region = json_object_array_get_idx(hot, i), *passes = json_object_object_get(region, "passes");
		double before = number_of(region, "trace_before"), share = samples > 0 ? number_of(region, "samples") / samples : 0;
		char words[96];
		int p = 0;

		if (before <= 0)
			continue;
		snprintf(words, sizeof words, "%.2f, with %.0f %% of the samples", number_of(region, "trace_after") / before, 100 * share);
		y = bar(f, y, json_object_get_string(json_object_object_get(region, "head")), number_of(region, "trace_after") / before, "#1a9850", words);
		json_object_object_foreach(passes, key, value) {
			(void)key;
			gain[p++] += share * json_object_get_double(value) / before;
		}
	}
	return y + 6;
}

static int draw(FILE *f, const void *what)
{
	json_object *all = (json_object *)what;
	double gain[64] = { 0 };
	json_object *hot = json_object_object_get(all, "hot"), *passes;
	char words[64];
	int y = draw_regions(f, draw_ratios(f, 10, all), all, gain), p = 0;

	y = title(f, y, "What each pass spares, of the instructions of hot regions weighed by their samples");
	if (json_object_is_type(hot, json_type_array) && json_object_array_length(hot)) {
		passes = json_object_object_get(json_object_array_get_idx(hot, 0), "passes");
		json_object_object_foreach(passes, key, value) {
			(void)value;
			snprintf(words, sizeof words, "%.1f %%", 100 * gain[p]);
			y = bar(f, y, key, gain[p++], "#e0a030", words);
		}
	}
	return y + 10;
}

int exec_report_write(const struct exec_report *r, const char *path, struct err *e)
{
	json_object *all = compose(r);
	size_t n = strlen(path);
	int rc = 0;

	if (n > 4 && !strcmp(path + n - 4, ".svg"))
		rc = svg_write(path, LEFT + (int)(2.5 * UNIT) + 60, draw, all, e);
	else if (json_object_to_file_ext(path, all, JSON_C_TO_STRING_PRETTY))
		rc = err_sys(e, errno ? errno : EIO, "%s", path);
	json_object_put(all);
	return rc;
}
