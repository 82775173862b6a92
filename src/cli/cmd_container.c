/* SPDX-License-Identifier: MIT
 * `penumbra container`: the container runtime, whose verbs and options are its own. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "container/container.h"

int runtime_program_run(const struct command *cmd, char *const *words)
{
	char path[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	struct err e = { 0 };
	char **argv;
	size_t count = 0;

	while (words[count])
		count++;
	argv = calloc(count + 2, sizeof *argv);
	if (n < 0 || !argv) {
		err_sys(&e, argv ? errno : ENOMEM, "penumbra-oci");
	} else {
		path[n] = 0;
		strcpy(strrchr(path, '/'), "/penumbra-oci");
		argv[0] = path;
		memcpy(argv + 1, words, count * sizeof *argv);
		execv(path, argv);
		err_sys(&e, errno, "%s", path);
	}
	report(cmd, e.text);
	free(argv);
	return STATUS_FAILED;
}

static int container(int argc, char **argv)
{
	/* What is measured is the program that engines start, not this one with the runtime as one of its commands. */
	if (argc > 1 && !strcmp(argv[1], "bench"))
		return runtime_program_run(&command_container, argv + 1);
	return container_main(argc, argv);
}

const struct command command_container = {
	.name = "container",
	.summary = "run and inspect containers",
	.description = "The container runtime. `penumbra container --help` lists its verbs, and each verb has its own. "
		       "`run` starts an image, a bundle or a root directory hardened by default; `explain` tells what that means.",
	.operands = "VERB [ARGUMENT...]",
	.run_words = container,
};
