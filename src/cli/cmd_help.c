/* SPDX-License-Identifier: MIT
 * penumbra help: usage of the program or of one command. */
#include "cli/commands.h"

static enum cli_status help(const void *values, const struct operands *operands)
{
	const struct command *cmd;
	struct err e = { 0 };

	(void)values;
	if (!operands->count) {
		usage_print_program(stdout);
		return finish_output(&command_help);
	}
	cmd = command_find(operands->word[0]);
	if (!cmd) {
		err_set(&e, -1, "there is no command '%s'", operands->word[0]);
		report(&command_help, e.text);
		return STATUS_USAGE;
	}
	if (cmd->subcommands && operands->count > 1) {
		const struct command *sub = subcommand_find(cmd, operands->word[1]);

		if (!sub) {
			err_set(&e, -1, "%s has no subcommand '%s'", cmd->name, operands->word[1]);
			report(&command_help, e.text);
			return STATUS_USAGE;
		}
		cmd = sub;
	} else if (operands->count > 1) {
		err_set(&e, -1, "unexpected argument '%s'", operands->word[1]);
		report(&command_help, e.text);
		return STATUS_USAGE;
	}
	if (cmd->run_words) {
		char name[32], option[] = "--help", *words[] = { name, option, NULL };

		snprintf(name, sizeof name, "%s", cmd->name);
		return (enum cli_status)cmd->run_words(2, words);
	}
	usage_print(stdout, cmd);
	return finish_output(&command_help);
}

const struct command command_help = {
	.name = "help",
	.summary = "show how to use the program or a command",
	.description = "Prints the usage of COMMAND, or the list of commands.",
	.operands = "[COMMAND [SUBCOMMAND]]",
	.operands_max = 2,
	.run = help,
};
