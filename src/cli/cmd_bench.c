/* SPDX-License-Identifier: MIT
 * penumbra bench: measures side by side; a subcommand for each thing that is measured. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/translation.h"
#include "cli/commands.h"

struct translation_values {
	const char *sets, *programs, *ways, *json, *svg, *rounds;
};

#define FIELD(f) offsetof(struct translation_values, f)
static const struct option_row translation_options[] = {
	{ "sets", "LIST", OPTION_TEXT, FIELD(sets), "what to measure, of main, second, o0, o1, micro", "main,second,micro", NULL },
	{ "programs", "LIST", OPTION_TEXT, FIELD(programs), "only these programs of the sets", NULL, NULL },
	{ "ways", "LIST", OPTION_TEXT, FIELD(ways), "beside native, of tier1, tier2, valgrind, qemu", "tier1,tier2", NULL },
	{ "rounds", "NUMBER", OPTION_TEXT, FIELD(rounds), "how often each is run", "5", NULL },
	{ "json", "FILE", OPTION_TEXT, FIELD(json), "write every figure there", NULL, NULL },
	{ "svg", "FILE", OPTION_TEXT, FIELD(svg), "draw the ratios there", NULL, NULL },
};

static void progress(void *opaque, const struct bench_row *row, enum bench_way way, int round)
{
	(void)opaque;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s, %s, round %d", row->name, bench_way_words[way], round + 1);
	else if (!way)
		fprintf(stderr, "%s, round %d\n", row->name, round + 1);
}

static int take_ways(struct translation_bench *b, const char *list, struct err *e)
{
	b->ways[WAY_NATIVE] = true;
	while (*list) {
		size_t n = strcspn(list, ",");
		int way = 1;

		while (way < WAY_COUNT && (strlen(bench_way_names[way]) != n || strncmp(bench_way_names[way], list, n)))
			way++;
		if (way == WAY_COUNT)
			return err_set(e, -1, "--ways: there is no way '%.*s'", (int)n, list);
		b->ways[way] = true;
		list += n + (list[n] == ',');
	}
	return 0;
}

static enum cli_status usage_failed(const char *text)
{
	report(&command_bench_translation, text);
	fputs("Try `penumbra bench translation --help`.\n", stderr);
	return STATUS_USAGE;
}

static enum cli_status translation(const void *values, const struct operands *operands)
{
	const struct translation_values *v = values;
	char self[PATH_MAX], micro[PATH_MAX + 32], *slash, *end;
	struct translation_bench b = { .self = self, .micro = micro, .sets = v->sets, .programs = v->programs, .progress = progress };
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	struct err e = { 0 };
	int rc;

	(void)operands;
	self[n > 0 ? n : 0] = 0;
	b.rounds = (int)strtol(v->rounds, &end, 10);
	if (*end || b.rounds < 1 || b.rounds > ROUNDS_MAX)
		return usage_failed("--rounds: not a number from 1 to 99");
	if (take_ways(&b, v->ways, &e))
		return usage_failed(e.text);
	slash = strrchr(self, '/');
	snprintf(micro, sizeof micro, "%.*s/build/bench/programs", slash ? (int)(slash - self) : 0, self);
	rc = translation_bench_run(&b, &e);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (!rc)
		translation_bench_print(&b);
	if (!rc && v->json)
		rc = translation_bench_json(&b, v->json, &e);
	if (!rc && v->svg)
		rc = translation_bench_svg(&b, v->svg, &e);
	for (int i = 0; !rc && i < b.rows; i++)
		for (int way = 1; way < WAY_COUNT; way++)
			if (b.row[i].differs[way])
				rc = err_set(&e, -1, "%s: output or status differs from the native run's (%s)", b.row[i].name,
					     bench_way_words[way]);
	free(b.row);
	if (rc) {
		report(&command_bench_translation, e.text);
		return STATUS_FAILED;
	}
	return finish_output(&command_bench_translation);
}

const struct command command_bench_translation = {
	.name = "bench translation",
	.summary = "programs run natively and by penumbra exec, in turn",
	.description =
		"Runs programs of this host natively and translated, in turn, and prints ratios of time, processor time and "
		"instructions, whole processes, warm-up included. Outputs are compared.\n\n"
		"Sets: main (programs as Debian ships them), second (programs that nothing was developed on), micro, and o0 and o1 "
		"(sources built without optimisation); the last three need `make bench-programs`.",
	.options = translation_options,
	.option_count = ARRAY_SIZE(translation_options),
	.values_size = sizeof(struct translation_values),
	.run = translation,
};

static int container_words(int argc, char **argv)
{
	(void)argc;
	argv[0] = (char[]){ "bench" };
	return runtime_program_run(&command_bench_container, argv);
}

const struct command command_bench_container = {
	.name = "bench container",
	.summary = "a container's start beside crun and runc",
	.description = "Runs `penumbra-oci bench`.",
	.operands = "[OPTION...]",
	.run_words = container_words,
};

static const struct command *const subcommands[] = { &command_bench_translation, &command_bench_paging, &command_bench_container, NULL };

const struct command command_bench = {
	.name = "bench",
	.summary = "measure side by side",
	.description = "Measures, and prints tables; some can be drawn.",
	.operands = "SUBCOMMAND",
	.subcommands = subcommands,
};
