/* SPDX-License-Identifier: MIT */
#include "bench/translation.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/programs.h"

/* A run that has not ended by then counts as one that differs. */
#define LIMIT_SECONDS 300
#define WORDS_BEFORE 8

const char *const bench_way_names[WAY_COUNT] = {
#define BENCH_WAY_NAME(symbol, name, words) [WAY_##symbol] = name,
	BENCH_WAYS(BENCH_WAY_NAME)
#undef BENCH_WAY_NAME
};
const char *const bench_way_words[WAY_COUNT] = {
#define BENCH_WAY_WORDS(symbol, name, words) [WAY_##symbol] = words,
	BENCH_WAYS(BENCH_WAY_WORDS)
#undef BENCH_WAY_WORDS
};

/* Whether `list` (words separated by commas, NULL: everything) has `word`. */
static bool listed(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (!strncmp(p, word, n) && (!p[n] || p[n] == ','))
			return true;
	return !list;
}

static bool find_program(const char *name, char path[PATH_MAX])
{
	const char *p = getenv("PATH"), *end;

	for (p = p ? p : "/usr/bin:/bin"; *p; p = *end ? end + 1 : end) {
		end = strchrnul(p, ':');
		if (snprintf(path, PATH_MAX, "%.*s/%s", (int)(end - p), p, name) < PATH_MAX && !access(path, X_OK))
			return true;
	}
	return false;
}

/* The path of a row's program; false where it is not installed. */
static bool locate(const struct translation_bench *b, const struct bench_program *p, char path[PATH_MAX])
{
	if (strncmp(p->words[0], "./", 2))
		return find_program(p->words[0], path);
	return b->micro && snprintf(path, PATH_MAX, "%s/%s", b->micro, p->words[0] + 2) < PATH_MAX && !access(path, X_OK);
}

static void command_of(const struct translation_bench *b, const struct bench_program *p, enum bench_way way, const char *path,
		       const char **argv)
{
	const char *const before[WAY_COUNT][WORDS_BEFORE] = {
		[WAY_TIER1] = { b->self, "exec", "--tier=1", "--translation-cache=off", "--" },
		[WAY_TIER2] = { b->self, "exec", "--tier=2", "--translation-cache=off", "--" },
		[WAY_VALGRIND] = { "valgrind", "--tool=none", "-q", "--trace-children=yes" },
		[WAY_QEMU] = { "qemu-x86_64" },
	};
	int n = 0;

	for (int i = 0; before[way][i]; i++)
		argv[n++] = before[way][i];
	argv[n++] = path;
	for (int i = 1; i < PROGRAM_WORDS && p->words[i]; i++)
		argv[n++] = p->words[i];
	argv[n] = NULL;
}

static int run_row(struct translation_bench *b, const struct bench_program *p, struct bench_row *row, const char *directory,
		   struct err *e)
{
	const char *argv[WORDS_BEFORE + PROGRAM_WORDS + 1];
	char path[PATH_MAX];

	row->there = locate(b, p, path);
	if (!row->there)
		return 0;
	for (int round = 0; round < b->rounds; round++) {
		for (int way = 0; way < WAY_COUNT; way++) {
			const struct sample *native = &row->sample[WAY_NATIVE][round];
			struct sample *s = &row->sample[way][round];
			int rc;

			if (!b->ways[way] || row->differs[way])
				continue;
			command_of(b, p, way, path, argv);
			if (b->progress)
				b->progress(b->opaque, row, way, round);
			rc = sample_take(argv, directory, LIMIT_SECONDS, s, e);
			if (rc)
				return rc;
			row->differs[way] = s->status != native->status || s->output != native->output ||
				s->output_bytes != native->output_bytes;
		}
		row->rounds = round + 1;
	}
	return 0;
}

/* Median over the rounds of a way's figure, each against the native one of its round. */
static double ratio_of(const struct bench_row *row, int way, size_t field)
{
	double v[ROUNDS_MAX];
	int n = 0;

	for (int r = 0; r < row->rounds; r++) {
		double mine = *(const double *)(const void *)((const char *)&row->sample[way][r] + field);
		double native = *(const double *)(const void *)((const char *)&row->sample[WAY_NATIVE][r] + field);

		if (native > 0)
			v[n++] = mine / native;
	}
	return median_of(v, n);
}

static void summarize(const struct translation_bench *b, struct bench_row *row)
{
	for (int way = 0; way < WAY_COUNT && row->there; way++) {
		if (!b->ways[way] || row->differs[way])
			continue;
		row->wall[way] = ratio_of(row, way, offsetof(struct sample, wall));
		row->cpu[way] = ratio_of(row, way, offsetof(struct sample, cpu));
		row->instructions[way] = ratio_of(row, way, offsetof(struct sample, instructions));
	}
}

static bool known_word(const char *word, size_t n, bool set)
{
	for (int i = 0; i < bench_program_count; i++) {
		const char *name = set ? bench_programs[i].set : bench_programs[i].name;

		if (strlen(name) == n && !strncmp(name, word, n))
			return true;
	}
	return false;
}

static int check_list(const char *list, bool set, struct err *e)
{
	for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (!known_word(p, strcspn(p, ","), set))
			return err_set(e, -EINVAL, "there is no %s '%.*s'", set ? "set" : "program", (int)strcspn(p, ","), p);
	return 0;
}

static int run_rows(struct translation_bench *b, const char *directory, struct err *e)
{
	bool any = false;
	int rc = 0;

	for (int i = 0; i < bench_program_count && !rc; i++) {
		const struct bench_program *p = &bench_programs[i];
		struct bench_row *row = &b->row[b->rows];

		if (!listed(b->sets, p->set) || !listed(b->programs, p->name))
			continue;
		*row = (struct bench_row){ .set = p->set, .name = p->name };
		b->rows++;
		rc = run_row(b, p, row, directory, e);
		any |= row->there;
		summarize(b, row);
	}
	if (!rc && !any)
		return err_set(e, -ENOENT, "none of the programs asked for is installed");
	return rc;
}

int translation_bench_run(struct translation_bench *b, struct err *e)
{
	char directory[] = "/tmp/penumbra-bench.XXXXXX", command[64];
	int rc = check_list(b->sets, true, e);

	rc = rc ? rc : check_list(b->programs, false, e);
	if (rc)
		return rc;
	b->rows = 0;
	b->row = calloc((size_t)bench_program_count, sizeof *b->row);
	if (!b->row)
		return err_sys(e, ENOMEM, "bench");
	if (!mkdtemp(directory))
		return err_sys(e, errno, "%s", directory);
	rc = bench_inputs_write(directory, e);
	rc = rc ? rc : run_rows(b, directory, e);
	snprintf(command, sizeof command, "rm -rf %s", directory);
	if (system(command) && !rc)
		rc = err_set(e, -EIO, "%s: cannot be removed", directory);
	return rc;
}

double translation_bench_mean(const struct translation_bench *b, const char *set, enum bench_way way)
{
	double sum = 0;
	int n = 0;

	for (int i = 0; i < b->rows; i++)
		if (!strcmp(b->row[i].set, set) && b->row[i].wall[way] > 0) {
			sum += log(b->row[i].wall[way]);
			n++;
		}
	return n ? exp(sum / n) : 0;
}
