/* SPDX-License-Identifier: MIT
 * penumbra bench paging: which runs there are, in which order, and what they printed. */
#include "bench/paging.h"

#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accel/probe.h"

static const struct { const char *name, *words; bool linux_program; u64 each; } workloads[] = {
#define KERNEL_ROW(symbol, name, words) { name, words, false, 0 },
	PAGING_KERNEL_WORKLOADS(KERNEL_ROW)
#undef KERNEL_ROW
#define SWEEP_ROW(n) { PAGING_SWEEP_NAME "/" #n, "one update for each " #n " accesses", false, n },
	PAGING_SWEEP(SWEEP_ROW)
#undef SWEEP_ROW
#define LINUX_ROW(symbol, name, words) { name, words, true, 0 },
	PAGING_LINUX_WORKLOADS(LINUX_ROW)
#undef LINUX_ROW
};

const char *paging_column_name(int column)
{
	static const char *const kinds[] = {
#define KIND_NAME(symbol, name) [PAGING_##symbol] = #name,
		PAGING_KINDS(KIND_NAME)
#undef KIND_NAME
	};
	static const char *const others[] = {
#define OTHER_NAME(symbol, name, words) [COLUMN_##symbol - PAGING_COUNT] = name,
		PAGING_OTHERS(OTHER_NAME)
#undef OTHER_NAME
	};

	if (column >= PAGING_COUNT)
		return others[column - PAGING_COUNT];
	if (column == COLUMN_AUTO)
		return kinds[PAGING_AUTO];
	return kinds[column < (int)PAGING_AUTO ? column : column + 1];
}

/* Whether the word of n characters names a workload: all of its name, what stands before its "/", or its kind. */
static bool names_workload(const char *word, size_t n, size_t workload)
{
	const char *name = workloads[workload].name, *kind = workloads[workload].linux_program ? "linux" : "kernel";

	if (strlen(kind) == n && !strncmp(kind, word, n))
		return true;
	return !strncmp(name, word, n) && n && (!name[n] || name[n] == '/');
}

/* Whether the workload is asked for. */
static bool wanted(const struct paging_bench *b, size_t workload)
{
	for (const char *p = b->only; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (names_workload(p, strcspn(p, ","), workload))
			return true;
	return !b->only;
}

static int check_only(const char *only, struct err *e)
{
	for (const char *p = only; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
		size_t n = strcspn(p, ","), i = 0;

		while (i < ARRAY_SIZE(workloads) && !names_workload(p, n, i))
			i++;
		if (i == ARRAY_SIZE(workloads))
			return err_set(e, -EINVAL, "there is no workload '%.*s'", (int)n, p);
	}
	return 0;
}

static int make_rows(struct paging_bench *b, struct err *e)
{
	b->rows = 0;
	b->row = calloc(ARRAY_SIZE(workloads), sizeof *b->row);
	if (!b->row)
		return err_sys(e, ENOMEM, "bench");
	for (size_t i = 0; i < ARRAY_SIZE(workloads); i++)
		if (wanted(b, i)) {
			struct paging_row *row = &b->row[b->rows++];

			row->name = workloads[i].name;
			row->words = workloads[i].words;
			row->linux_program = workloads[i].linux_program;
			row->each = workloads[i].each;
		}
	return 0;
}

static struct paging_row *row_find(const struct paging_bench *b, const char *name, size_t n)
{
	for (int i = 0; i < b->rows; i++)
		if (strlen(b->row[i].name) == n && !strncmp(b->row[i].name, name, n))
			return &b->row[i];
	return NULL;
}

/* The number behind " NAME=" in a line; 0 where it is not there. */
static u64 number_of(const char *line, size_t length, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i + n + 2 < length; i++)
		if (line[i] == ' ' && !strncmp(line + i + 1, name, n) && line[i + 1 + n] == '=')
			return strtoull(line + i + n + 2, NULL, 10);
	return 0;
}

/* One line "paging NAME FIGURE=NUMBER ..."; false: it is something else. */
static bool take_line(const struct paging_bench *b, const struct paging_job *job, const char *line, size_t length,
		      const struct paging_output *output)
{
	static const char *const names[] = {
#define FIGURE_NAMES(symbol, words) #symbol, #symbol "_cycles",
		PAGING_FIGURES(FIGURE_NAMES)
#undef FIGURE_NAMES
	};
	struct paging_row *row;
	struct paging_cell *cell;
	struct paging_sample *s;

	if (strncmp(line, "paging ", 7))
		return false;
	row = row_find(b, line + 7, strcspn(line + 7, " \r\n"));
	if (!row || row->cell[job->column].samples == PAGING_RUNS_MAX)
		return false;
	cell = &row->cell[job->column];
	s = &cell->sample[cell->samples++];
	cell->scale = job->scale;
	s->cycles = number_of(line, length, "cycles");
	s->checksum = number_of(line, length, "checksum");
	for (int f = 0; f < FIGURE_COUNT; f++) {
		s->n[f] = number_of(line, length, names[2 * f]);
		s->spent[f] = number_of(line, length, names[2 * f + 1]);
	}
	s->host_cycles = strchr(job->only, '+') ? 0 : output->cycles;
	s->memory = strchr(job->only, '+') ? 0 : output->memory;
	s->stats = output->stats ? json_object_get(output->stats) : NULL;
	return true;
}

static int take_output(const struct paging_bench *b, const struct paging_job *job, const struct paging_output *output, struct err *e)
{
	bool ended = false;
	int lines = 0;

	for (const char *p = output->text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		size_t n = strcspn(p, "\r\n");

		if (!strncmp(p, "paging failed: ", 15))
			return err_set(e, -EIO, "%.*s", (int)n, p);
		lines += take_line(b, job, p, n, output);
		ended |= !strncmp(p, "paging end", 10);
	}
	if (!ended || !lines)
		return err_set(e, -EIO, "the output ends after %d results", lines);
	return 0;
}

/* A run that fails is noted in the cells that it was for; the others go on. */
static void note_failure(const struct paging_bench *b, const struct paging_job *job, const struct err *failure)
{
	for (int i = 0; i < b->rows; i++) {
		struct paging_row *row = &b->row[i];
		struct paging_cell *cell = &row->cell[job->column];
		size_t n = strlen(row->name);

		if (row->linux_program != job->linux_program || *cell->why)
			continue;
		for (const char *p = job->only; p; p = strchr(p, '+') ? strchr(p, '+') + 1 : NULL)
			if (strcspn(p, "+") == n && !strncmp(p, row->name, n))
				snprintf(cell->why, sizeof cell->why, "%.*s", (int)sizeof cell->why - 1, failure->text);
	}
}

/* Ctrl-C ends the run that is under way and then this, which has a directory to remove. */
static volatile sig_atomic_t interrupted;
static void interrupt(int number) { interrupted = number; }

static int run_job(struct paging_bench *b, const struct paging_job *job, const char *directory, int run, struct err *e)
{
	struct paging_output output;
	struct err failure = { 0 };
	int rc;

	if (b->progress)
		b->progress(b->opaque, strchr(job->only, '+') ? "everything" : job->only, paging_column_name(job->column), run);
	rc = paging_job_run(b, job, directory, &output, &failure);
	if (!rc)
		rc = take_output(b, job, &output, &failure);
	free(output.text);
	json_object_put(output.stats);
	if (interrupted)
		return err_set(e, -EINTR, "interrupted");
	if (rc)
		note_failure(b, job, &failure);
	return 0;
}

/* The names of all rows of a kind, separated by "+". */
static void all_names(const struct paging_bench *b, bool linux_program, char *names, size_t size)
{
	size_t n = 0;

	*names = 0;
	for (int i = 0; i < b->rows && n < size; i++)
		if (b->row[i].linux_program == linux_program)
			n += (size_t)snprintf(names + n, size - n, "%s%s", n ? "+" : "", b->row[i].name);
}

/* By these all workloads run in one machine, since starting one takes long. */
static bool runs_whole(int column) { return column == COLUMN_KVM || column == COLUMN_QEMU; }

/* Whether a column runs such workloads, and in this round. */
static bool has_part(const struct paging_bench *b, int column, bool linux_program, int run)
{
	if (!b->columns[column])
		return false;
	if (column == COLUMN_KVM)
		return !linux_program && (!b->kvm_emulates || !run);
	if (column == COLUMN_NATIVE)
		return linux_program;
	return !linux_program || b->guest_kernel;
}

static int run_round(struct paging_bench *b, bool linux_program, const char *directory, int run, struct err *e)
{
	char names[1024];
	int rc = 0;

	all_names(b, linux_program, names, sizeof names);
	for (int c = 0; c < COLUMN_COUNT && *names && !rc; c++) {
		struct paging_job job = { .column = c, .linux_program = linux_program, .only = names, .scale = b->scale };

		if (c == COLUMN_KVM && b->kvm_emulates)
			job.scale = MIN(b->scale, PAGING_KVM_SCALE);
		if (runs_whole(c) && has_part(b, c, linux_program, run))
			rc = run_job(b, &job, directory, run, e);
	}
	for (int i = 0; i < b->rows && !rc; i++) {
		if (b->row[i].linux_program != linux_program)
			continue;
		for (int c = 0; c < COLUMN_COUNT && !rc; c++) {
			struct paging_job job = { c, linux_program, b->row[i].name, b->scale, c < PAGING_COUNT };

			if (!runs_whole(c) && has_part(b, c, linux_program, run))
				rc = run_job(b, &job, directory, run, e);
		}
	}
	return rc;
}

/* Takes kvm out where it does not work. */
static void probe_kvm(struct paging_bench *b)
{
	static struct host_info host;
	struct err why = { 0 };

	if (!b->columns[COLUMN_KVM])
		return;
	host_probe(&host);
	b->columns[COLUMN_KVM] = !accel_kvm.probe(&host, &why);
	b->kvm_emulates = host.kvm != HOST_KVM_REAL;
}

static bool have_qemu(void)
{
	const char *p = getenv("PATH");
	char path[4200];

	for (p = p ? p : "/usr/bin:/bin"; *p; p += strcspn(p, ":"), p += *p == ':') {
		snprintf(path, sizeof path, "%.*s/qemu-system-x86_64", (int)MIN(strcspn(p, ":"), 4096), p);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

int paging_bench_run(struct paging_bench *b, struct err *e)
{
	char directory[] = "/tmp/penumbra-paging.XXXXXX", command[64];
	struct sigaction catch = { .sa_handler = interrupt }, before;
	int rc = check_only(b->only, e);

	rc = rc ? rc : make_rows(b, e);
	if (rc)
		return rc;
	probe_kvm(b);
	b->columns[COLUMN_QEMU] &= have_qemu();
	if (!mkdtemp(directory))
		return err_sys(e, errno, "%s", directory);
	sigaction(SIGINT, &catch, &before);
	rc = paging_files_write(b, directory, e);
	for (int run = 0; run < b->runs && !rc; run++) {
		rc = run_round(b, false, directory, run, e);
		rc = rc ? rc : run_round(b, true, directory, run, e);
	}
	snprintf(command, sizeof command, "rm -rf %s", directory);
	if (system(command) && !rc)
		rc = err_set(e, -EIO, "%s: cannot be removed", directory);
	sigaction(SIGINT, &before, NULL);
	return rc;
}

void paging_bench_free(struct paging_bench *b)
{
	for (int i = 0; i < b->rows; i++)
		for (int c = 0; c < COLUMN_COUNT; c++)
			for (int s = 0; s < b->row[i].cell[c].samples; s++)
				json_object_put(b->row[i].cell[c].sample[s].stats);
	free(b->row);
	b->row = NULL;
	b->rows = 0;
}

/* What was read through the mappings is the same by whichever way, where the same work was done. */
static int check_sums(const struct paging_row *row, struct err *e)
{
	for (int c = 0; c < COLUMN_COUNT; c++) {
		const struct paging_cell *cell = &row->cell[c];

		for (int s = 0; s < cell->samples; s++)
			for (int o = 0; o <= c; o++) {
				const struct paging_cell *other = &row->cell[o];

				if (other->samples && other->scale == cell->scale && other->sample[0].checksum != cell->sample[s].checksum)
					return err_set(e, -EIO, "%s: by %s the guest read something else than by %s", row->name,
						       paging_column_name(c), paging_column_name(o));
			}
	}
	return 0;
}

int paging_bench_verdict(const struct paging_bench *b, struct err *e)
{
	for (int i = 0; i < b->rows; i++) {
		const struct paging_row *row = &b->row[i];

		for (int c = 0; c < COLUMN_COUNT; c++)
			if (*row->cell[c].why)
				return err_set(e, -EIO, "%s by %s: %s", row->name, paging_column_name(c), row->cell[c].why);
		if (check_sums(row, e))
			return e->code;
	}
	return 0;
}
