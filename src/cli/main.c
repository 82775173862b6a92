/* SPDX-License-Identifier: MIT
 * The command line: finds the command, parses its options, runs it. */
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"

struct program_values {
	bool version, man;
};

static const struct option_row program_options[] = {
	{ "version", NULL, OPTION_FLAG, offsetof(struct program_values, version), "print the version", NULL, NULL },
	{ "man", NULL, OPTION_FLAG, offsetof(struct program_values, man),
	  "print the manual page in roff", NULL, NULL },
};

const struct command command_program = {
	.name = "penumbra",
	.summary = "whole Linux machines on any x86-64 Linux host",
	.description = "Runs unmodified Linux kernels without hardware virtualization, without a kernel "
		       "module and without root, by binary translation; with /dev/kvm where that is better.",
	.options = program_options,
	.option_count = ARRAY_SIZE(program_options),
	.values_size = sizeof(struct program_values),
};

const struct command *const command_list[] = {
#define COMMAND_ROW(name) &command_##name,
	COMMANDS(COMMAND_ROW)
#undef COMMAND_ROW
	NULL
};

const struct command *command_find(const char *name)
{
	for (const struct command *const *c = command_list; *c; c++)
		if (!strcmp((*c)->name, name))
			return *c;
	return NULL;
}

const struct command *subcommand_find(const struct command *cmd, const char *word)
{
	for (const struct command *const *c = cmd->subcommands; *c; c++)
		if (!strcmp(strchr((*c)->name, ' ') + 1, word))
			return *c;
	return NULL;
}

static enum cli_status usage_error(const struct command *cmd, const char *text)
{
	report(cmd, text);
	fprintf(stderr, "Try `penumbra%s%s --help`.\n", cmd == &command_program ? "" : " ",
		cmd == &command_program ? "" : cmd->name);
	return STATUS_USAGE;
}

static enum cli_status run_command(const struct command *cmd, int argc, char *const *argv)
{
	void *values = calloc(1, cmd->values_size + 1);
	enum cli_status status;
	struct operands operands;
	struct err e = { 0 };
	bool help;

	if (!values) {
		report(cmd, "no memory");
		return STATUS_FAILED;
	}
	if (options_parse(cmd, argc, argv, values, &operands, &help, &e)) {
		status = usage_error(cmd, e.text);
	} else if (help) {
		usage_print(stdout, cmd);
		status = finish_output(cmd);
	} else {
		status = cmd->run(values, &operands);
	}
	free(values);
	return status;
}

/* A command with subcommands: runs the one that the first word names. */
static enum cli_status run_subcommand(const struct command *cmd, int argc, char *const *argv)
{
	const struct command *sub;
	struct err e = { 0 };

	if (!argc)
		return usage_error(cmd, "no subcommand given");
	if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")) {
		usage_print(stdout, cmd);
		return finish_output(cmd);
	}
	sub = subcommand_find(cmd, argv[0]);
	if (!sub) {
		err_set(&e, -1, "there is no subcommand '%s'", argv[0]);
		return usage_error(cmd, e.text);
	}
	if (sub->run_words)
		return (enum cli_status)sub->run_words(argc, (char **)argv);
	return run_command(sub, argc - 1, argv + 1);
}

static enum cli_status run_program(int argc, char *const *argv)
{
	struct program_values values = { 0 };
	struct operands operands;
	struct err e = { 0 };
	bool help;

	if (options_parse(&command_program, argc, argv, &values, &operands, &help, &e))
		return usage_error(&command_program, e.text);
	if (help)
		usage_print_program(stdout);
	else if (values.version)
		printf("penumbra %s\n", PENUMBRA_VERSION);
	else if (values.man)
		man_print(stdout);
	else
		return usage_error(&command_program, "no command given");
	return finish_output(&command_program);
}

/* A standard descriptor that was closed must not become some file of ours: writing to it fails. */
static void hold_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct command *cmd;
	struct err e = { 0 };

	hold_standard_descriptors();
	/* A command that executes a sealed copy of the program starts it under its own name. */
	cmd = argc ? command_find(argv[0]) : NULL;
	if (cmd && cmd->run_words)
		return cmd->run_words(argc, argv);
	if (argc < 2 || argv[1][0] == '-')
		return (int)run_program(argc - 1, argv + 1);
	cmd = command_find(argv[1]);
	if (!cmd) {
		err_set(&e, -1, "there is no command '%s'", argv[1]);
		return (int)usage_error(&command_program, e.text);
	}
	if (cmd->run_words)
		return cmd->run_words(argc - 1, argv + 1);
	if (cmd->subcommands)
		return (int)run_subcommand(cmd, argc - 2, argv + 2);
	return (int)run_command(cmd, argc - 2, argv + 2);
}
