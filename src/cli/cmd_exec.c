/* SPDX-License-Identifier: MIT
 * penumbra exec: runs a program of this host by translation.  The runtime does all of it (src/exec); here is
 * only the way into it. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/commands.h"

extern const unsigned char exec_image[], exec_image_end[];

struct exec_values {
	const char *tier, *report;
};

#define FIELD(f) offsetof(struct exec_values, f)
static const struct option_row exec_options[] = {
	{ "tier", "NUMBER", OPTION_CHOICE, FIELD(tier), "how far code is optimised", "1", "1|2" },
	{ "report", "FILE", OPTION_TEXT, FIELD(report), "write there, at the program's end, what the translator did, as JSON", NULL, NULL },
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

static enum cli_status start(const struct exec_values *v, int argc, char **argv)
{
	char found[4096], words[4200];
	const char *program = find_program(argv[0], found, sizeof found);
	const char **args = calloc((size_t)argc + 4, sizeof *args);
	struct err e = { 0 };
	int fd;

	if (!args) {
		report(&command_exec, "no memory");
		return STATUS_FAILED;
	}
	if (access(program, X_OK)) {
		err_sys(&e, errno, "%s", program);
		report(&command_exec, e.text);
		return STATUS_FAILED;
	}
	snprintf(words, sizeof words, "tier=%s limit=%lu%s%s", v->tier, cache_limit(), v->report ? " report=" : "",
		 v->report ? v->report : "");
	args[0] = "penumbra-exec";
	args[1] = words;
	args[2] = program;
	for (int i = 0; i < argc; i++)
		args[i + 3] = argv[i];
	fd = image_fd(&e);
	if (fd >= 0) {
		syscall(SYS_execveat, fd, "", args, environ, AT_EMPTY_PATH);
		err_sys(&e, errno, "starting the runtime");
	}
	report(&command_exec, e.text);
	free(args);
	return STATUS_FAILED;
}

static int run_words(int argc, char **argv)
{
	struct exec_values v = { 0 };
	struct operands operands;
	struct err e = { 0 };
	bool help;
	int n = 1;

	/* Options end at "--" or at the first word that is none. */
	while (n < argc && argv[n][0] == '-' && strcmp(argv[n], "--"))
		n += strchr(argv[n], '=') || !strcmp(argv[n], "--help") ? 1 : 2;
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
	return (int)start(&v, argc - n, argv + n);
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
