/* SPDX-License-Identifier: MIT
 * penumbra bench paging: the ways of keeping shadow page tables side by side. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/paging.h"
#include "cli/commands.h"
#include "cli/guest_files.h"

struct paging_values {
	const char *only, *paging, *runs, *scale, *json, *svg;
	bool quick;
};

#define QUICK_RUNS 1
#define QUICK_SCALE 20
#define FULL_RUNS 5
#define FULL_SCALE 100

#define FIELD(f) offsetof(struct paging_values, f)
static const struct option_row paging_options[] = {
	{ "only", "LIST", OPTION_TEXT, FIELD(only), "only these workloads; kernel and linux stand for all of a kind", NULL, NULL },
	{ "paging", "LIST", OPTION_TEXT, FIELD(paging), "only these ways: maintainers as penumbra run --paging takes them, kvm, qemu, native",
	  NULL, NULL },
	{ "runs", "NUMBER", OPTION_TEXT, FIELD(runs), "how often each is run; 5, with --quick 1", NULL, NULL },
	{ "scale", "PERCENT", OPTION_TEXT, FIELD(scale), "how much of the work is done; 100, with --quick 20", NULL, NULL },
	{ "quick", NULL, OPTION_FLAG, FIELD(quick), "a short look, without kvm where the host emulates it", NULL, NULL },
	{ "json", "FILE", OPTION_TEXT, FIELD(json), "write every figure there", NULL, NULL },
	{ "svg", "FILE", OPTION_TEXT, FIELD(svg), "draw the costs there", NULL, NULL },
};

static void progress(void *opaque, const char *workload, const char *column, int run)
{
	(void)opaque;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[Krun %d: %s, %s", run + 1, workload, column);
}

static int take_columns(struct paging_bench *b, const char *list, struct err *e)
{
	for (int c = 0; c < COLUMN_COUNT; c++)
		b->columns[c] = !list;
	while (list && *list) {
		size_t n = strcspn(list, ",");
		int c = 0;

		while (c < COLUMN_COUNT && (strlen(paging_column_name(c)) != n || strncmp(paging_column_name(c), list, n)))
			c++;
		if (c == COLUMN_COUNT)
			return err_set(e, -EINVAL, "--paging: there is no way '%.*s'", (int)n, list);
		b->columns[c] = true;
		list += n + (list[n] == ',');
	}
	return 0;
}

/* A number from 1 to `most`, `preset` where there is none; 0 for anything else. */
static int take_number(const char *text, int preset, int most)
{
	char *end;
	long v = text ? strtol(text, &end, 10) : preset;

	return (text && (*end || end == text)) || v < 1 || v > most ? 0 : (int)v;
}

static enum cli_status usage_failed(const char *text)
{
	report(&command_bench_paging, text);
	fputs("Try `penumbra bench paging --help`.\n", stderr);
	return STATUS_USAGE;
}

static enum cli_status run_bench(const void *values, const struct operands *operands)
{
	const struct paging_values *v = values;
	static char self[PATH_MAX];
	static struct guest_files files;
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	struct paging_bench b = { .self = self, .only = v->only, .progress = progress };
	struct err e = { 0 }, missing = { 0 };
	int rc;

	(void)operands;
	self[n > 0 ? n : 0] = 0;
	b.runs = take_number(v->runs, v->quick ? QUICK_RUNS : FULL_RUNS, PAGING_RUNS_MAX);
	b.scale = (u32)take_number(v->scale, v->quick ? QUICK_SCALE : FULL_SCALE, 100);
	if (!b.runs)
		return usage_failed("--runs: not a number from 1 to 99");
	if (!b.scale)
		return usage_failed("--scale: not a number from 1 to 100");
	if (take_columns(&b, v->paging, &e))
		return usage_failed(e.text);
	if (v->quick && !v->paging)
		b.columns[COLUMN_KVM] = false;
	if (!guest_files_find(&files, &missing)) {
		b.guest_kernel = files.kernel;
		b.guest_initrd = files.initrd;
	}
	rc = paging_bench_run(&b, &e);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (rc == -EINVAL) {
		paging_bench_free(&b);
		return usage_failed(e.text);
	}
	if (!rc)
		paging_bench_print(&b);
	if (!rc && !b.guest_kernel)
		puts("\nThe Linux workloads ran natively only: there is no default guest; `make guest` makes it.");
	if (!rc && v->json)
		rc = paging_bench_json(&b, v->json, &e);
	if (!rc && v->svg)
		rc = paging_bench_svg(&b, v->svg, &e);
	rc = rc ? rc : paging_bench_verdict(&b, &e);
	paging_bench_free(&b);
	if (rc) {
		report(&command_bench_paging, e.text);
		return STATUS_FAILED;
	}
	return finish_output(&command_bench_paging);
}

const struct command command_bench_paging = {
	.name = "bench paging",
	.summary = "the ways of keeping shadow page tables, in turn",
	.description =
		"Runs a kernel of its own, and a program in the default Linux guest and natively, that change and use page tables in "
		"different ways; by each of the maintainers of penumbra run --paging, by kvm and by QEMU where they are there, all in "
		"turn. Prints what the whole costs, what a change of an entry, a first touch and a switch of address spaces cost, the "
		"statistics of the runs, by how much auto is above the best of the others, and at which rate of updates one overtakes "
		"the other. All of them have to read the same through their mappings.",
	.options = paging_options,
	.option_count = ARRAY_SIZE(paging_options),
	.values_size = sizeof(struct paging_values),
	.run = run_bench,
};
