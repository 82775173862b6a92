/* SPDX-License-Identifier: MIT
 * penumbra exec: runs a program of this host by translation.  The runtime does all of it (src/exec); here is
 * only the way into it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "accel/store_directory.h"
#include "bench/exec_report.h"
#include "cli/commands.h"
#include "optimise/passes.h"

extern const unsigned char exec_image[], exec_image_end[];

struct exec_values {
	const char *tier, *report, *passes, *translation_cache;
	bool native;
};

#define FIELD(f) offsetof(struct exec_values, f)
static const struct option_row exec_options[] = {
	{ "tier", "NUMBER", OPTION_CHOICE, FIELD(tier), "how far code is optimised", "1", "1|2" },
	{ "passes", "LIST", OPTION_TEXT, FIELD(passes), "passes of tier 2: all, none, NAME, -NAME, separated by commas", NULL, NULL },
	{ "translation-cache", "DIR|off", OPTION_TEXT, FIELD(translation_cache),
	  "where translations are kept for later runs; auto is penumbra in $XDG_CACHE_HOME, or in ~/.cache", "auto", NULL },
	{ "report", "FILE", OPTION_TEXT, FIELD(report), "write there, at the program's end, what the translator did, as JSON, or as a picture where it ends in .svg", NULL, NULL },
	{ "native", NULL, OPTION_FLAG, FIELD(native), "run the program natively first, without input and output, for the report to compare with", NULL, NULL },
};

static int image_fd(struct err *e)
{
	size_t n = (size_t)(exec_image_end - exec_image), done = 0;
	int fd = memfd_create("penumbra-exec", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_sys(e, errno, "memfd for the runtime");
	while (done < n) {
		ssize_t w = write(fd, exec_image + done, n - done);

		if (w <= 0) {
			int error = errno;

			close(fd);
			return err_sys(e, error, "copying the runtime");
		}
		done += (size_t)w;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	return fd;
}

/* Where execvp() would find the program: its path in `room`, or the name itself. */
static const char *find_program(const char *name, char *room, size_t size)
{
	const char *path = getenv("PATH"), *end;

	if (strchr(name, '/'))
		return name;
	for (path = path ? path : "/bin:/usr/bin"; ; path = end + 1) {
		end = strchrnul(path, ':');
		if ((size_t)snprintf(room, size, "%.*s%s%s", (int)(end - path), path, end > path ? "/" : "./", name) < size &&
		    !access(room, X_OK))
			return room;
		if (!*end)
			return name;
	}
}

/* PENUMBRA_TEST_KNOBS=hot=BYTES makes the code cache small, for tests; 0: as large as there is room for. */
static unsigned long cache_limit(void)
{
	const char *knobs = getenv("PENUMBRA_TEST_KNOBS");

	return knobs && !strncmp(knobs, "hot=", 4) ? strtoul(knobs + 4, NULL, 0) : 0;
}

#define PASS_NAME(name, on, text) #name,
static const char *const pass_names[] = { OPT_PASSES(PASS_NAME) };

/* A list of passes to their bits.  A list that begins with what is left out begins with all. */
static int passes_parse(const char *list, unsigned *bits, struct err *e)
{
	*bits = !list || *list == '-' ? OPT_ALL : 0;
	while (list && *list) {
		bool off = *list == '-';
		const char *word = list + off, *end = strchrnul(word, ',');
		size_t n = (size_t)(end - word), p = 0;

		while (p < ARRAY_SIZE(pass_names) && (strlen(pass_names[p]) != n || strncmp(word, pass_names[p], n)))
			p++;
		if (p < ARRAY_SIZE(pass_names))
			*bits = off ? *bits & ~(1u << p) : *bits | 1u << p;
		else if (n == 3 && !strncmp(word, "all", 3) && !off)
			*bits = OPT_ALL;
		else if (n == 4 && !strncmp(word, "none", 4) && !off)
			*bits = 0;
		else
			return err_set(e, EINVAL, "--passes: no pass is called `%.*s`; see docs/optimise.md for their names", (int)n, word);
		list = *end ? end + 1 : end;
	}
	return 0;
}

static void enter(int fd, const char **args, struct err *e)
{
	syscall(SYS_execveat, fd, "", args, environ, AT_EMPTY_PATH);
	err_sys(e, errno, "starting the runtime");
}

/* The program in a child of ours, counted; true where it was started. */
static bool measured(int fd, const char **args, struct sample *s, int *status, struct err *e)
{
	struct timespec start, end;
	struct rusage usage = { 0 };
	int go[2], counters[2];
	char c = 0;
	pid_t pid;

	if (pipe2(go, O_CLOEXEC))
		return err_sys(e, errno, "a pipe"), false;
	pid = fork();
	if (!pid) {
		close(go[1]);
		if (read(go[0], &c, 1) == 1)
			enter(fd, args, e);
		_exit(STATUS_FAILED);
	}
	close(go[0]);
	if (pid < 0) {
		close(go[1]);
		return err_sys(e, errno, "fork"), false;
	}
	/* The terminal's signals are for the program. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	counters[0] = counter_open(PERF_COUNT_HW_INSTRUCTIONS, false, pid);
	counters[1] = counter_open(PERF_COUNT_HW_CPU_CYCLES, false, pid);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (write(go[1], &c, 1) != 1)
		kill(pid, SIGKILL);
	close(go[1]);
	while (wait4(pid, status, 0, &usage) < 0 && errno == EINTR)
		;
	clock_gettime(CLOCK_MONOTONIC, &end);
	s->wall = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
	s->cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	s->instructions = counter_take(counters[0]);
	s->cycles = counter_take(counters[1]);
	return true;
}

/* As the program ended: by its status, or by the same signal. */
static enum cli_status end_as(int status)
{
	struct rlimit none = { 0, 0 };

	if (WIFEXITED(status))
		return (enum cli_status)WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &none);
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	return STATUS_FAILED;
}

#define NATIVE_LIMIT 3600

static enum cli_status start_reported(const struct exec_values *v, int fd, const char **args, char *words, size_t size, struct err *e)
{
	struct exec_report r = { .has_native = v->native };
	size_t n = strlen(words);
	int status = 0;

	r.raw = memfd_create("report", MFD_CLOEXEC);
	if (r.raw < 0) {
		err_sys(e, errno, "memfd for the report");
		return STATUS_FAILED;
	}
	snprintf(words + n, size - n, " report=/proc/%d/fd/%d", (int)getpid(), r.raw);
	if (v->native && sample_take(args + 3, ".", NATIVE_LIMIT, &r.native, e))
		return STATUS_FAILED;
	if (!measured(fd, args, &r.translated, &status, e))
		return STATUS_FAILED;
	if (exec_report_write(&r, v->report, e))
		report(&command_exec, e->text);
	*e = (struct err){ 0 };
	return end_as(status);
}

/* Where the runtime keeps translations, as one of its words; none where there is no such place. */
static void keep_words(const char *directory, char *words, size_t size)
{
	char path[PATH_MAX], note[STORE_NOTE_MAX] = "";
	size_t n = strlen(words);

	if (!strcmp(directory, "off"))
		return;
	if (bt_store_directory(directory, path, note))
		snprintf(words + n, size - n, " keep=%llu:%zu:%s", (unsigned long long)bt_store_processor(), strlen(path), path);
	/* What goes wrong in the usual place is not worth a word among the program's. */
	else if (note[0] && strcmp(directory, "auto"))
		report(&command_exec, note);
}

static enum cli_status start(const struct exec_values *v, unsigned passes, int argc, char **argv)
{
	char found[4096], words[2 * PATH_MAX + 256];
	const char *program = find_program(argv[0], found, sizeof found);
	const char **args = calloc((size_t)argc + 4, sizeof *args);
	enum cli_status status = STATUS_FAILED;
	struct err e = { 0 };
	int fd = -1;

	if (!args)
		err_sys(&e, ENOMEM, "arguments");
	else if (access(program, X_OK))
		err_sys(&e, errno, "%s", program);
	else
		fd = image_fd(&e);
	if (fd >= 0) {
		snprintf(words, sizeof words, "tier=%s limit=%lu passes=%u", v->tier, cache_limit(), passes);
		keep_words(v->translation_cache, words, sizeof words);
		args[0] = "penumbra-exec";
		args[1] = words;
		args[2] = program;
		for (int i = 0; i < argc; i++)
			args[i + 3] = argv[i];
		if (v->report)
			status = start_reported(v, fd, args, words, sizeof words, &e);
		else
			enter(fd, args, &e);
	}
	if (e.text[0])
		report(&command_exec, e.text);
	free(args);
	return status;
}

static int run_words(int argc, char **argv)
{
	struct exec_values v = { 0 };
	struct operands operands;
	struct err e = { 0 };
	unsigned passes;
	bool help;
	int n = 1;

	/* Options end at "--" or at the first word that is none. */
	while (n < argc && argv[n][0] == '-' && strcmp(argv[n], "--"))
		n += strchr(argv[n], '=') || !strcmp(argv[n], "--help") || !strcmp(argv[n], "--native") ? 1 : 2;
	n = n < argc ? n : argc;
	if (options_parse(&command_exec, n - 1, argv + 1, &v, &operands, &help, &e)) {
		report(&command_exec, e.text);
		return STATUS_USAGE;
	}
	if (help) {
		usage_print(stdout, &command_exec);
		return (int)finish_output(&command_exec);
	}
	if (n < argc && !strcmp(argv[n], "--"))
		n++;
	if (n == argc) {
		report(&command_exec, "no program given; try `penumbra exec --help`");
		return STATUS_USAGE;
	}
	if (passes_parse(v.passes, &passes, &e)) {
		report(&command_exec, e.text);
		return STATUS_USAGE;
	}
	return (int)start(&v, passes, argc - n, argv + n);
}

const struct command command_exec = {
	.name = "exec",
	.summary = "run a program of this host by translation",
	.description =
		"Runs an x86-64 Linux program on this host's kernel, every instruction of it translated, with all that it "
		"starts. Output, signals and exit status are the program's own.",
	.operands = "[--] PROGRAM [ARGUMENT...]",
	.operands_max = OPERANDS_MAX,
	.options = exec_options,
	.option_count = ARRAY_SIZE(exec_options),
	.values_size = sizeof(struct exec_values),
	.run_words = run_words,
};
