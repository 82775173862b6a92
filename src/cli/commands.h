/* SPDX-License-Identifier: MIT
 * The list of commands: one row each, in the order of the help text. */
#ifndef PENUMBRA_CLI_COMMANDS_H
#define PENUMBRA_CLI_COMMANDS_H

#include "cli/options.h"

#define COMMANDS(C)                                                               \
	C(run)                                                                    \
	C(exec)                                                                   \
	C(host)                                                                   \
	C(container)                                                              \
	C(image)                                                                  \
	C(bench)                                                                  \
	C(help)

#define COMMAND_DECLARE(name) extern const struct command command_##name;
COMMANDS(COMMAND_DECLARE)
#undef COMMAND_DECLARE
extern const struct command command_image_debian, command_bench_translation, command_bench_paging,
	command_bench_container;

/* The program itself: options that stand before any command. */
extern const struct command command_program;

/* Executes penumbra-oci, which lies beside this program, with `words` (ends with NULL); returns an exit status where
 * it cannot, having reported for `cmd`. */
int runtime_program_run(const struct command *cmd, char *const *words);

/* All commands, ending with NULL. */
extern const struct command *const command_list[];
const struct command *command_find(const char *name);
/* The subcommand of `cmd` that `word` names, or NULL. */
const struct command *subcommand_find(const struct command *cmd, const char *word);

#define PENUMBRA_VERSION "0.1.0"

#endif
