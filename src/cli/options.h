/* SPDX-License-Identifier: MIT
 * Commands and their options: one table a command, from which parsing, usage text and the man page
 * come.
 *
 * A new command is one file with a struct command, and one row in commands.h. */
#ifndef PENUMBRA_CLI_OPTIONS_H
#define PENUMBRA_CLI_OPTIONS_H

#include <stdio.h>

#include "base/err.h"
#include "base/types.h"

/* Exit statuses: symbol, number, words. */
#define CLI_STATUSES(S)                                                           \
	S(OK, 0, "the command did what it was asked")                             \
	S(FAILED, 1, "the command failed; standard error says why in one line")   \
	S(USAGE, 2, "wrong usage")                                                \
	S(GUEST, 3, "the guest failed: kernel panic, triple fault, or halted for good") \
	S(TIMEOUT, 4, "the time limit of --timeout was reached")

enum cli_status {
#define CLI_STATUS_ENUM(symbol, number, words) STATUS_##symbol = number,
	CLI_STATUSES(CLI_STATUS_ENUM)
#undef CLI_STATUS_ENUM
};

/* What an option's argument is and the type of the variable at its offset. */
enum option_kind {
	OPTION_FLAG,    /* bool; no argument */
	OPTION_TEXT,    /* const char * */
	OPTION_NAME,    /* const char *: letters, digits, '.', '_', '-', at most 63 */
	OPTION_SIZE,    /* u64 in bytes; number with K, M, G or T, without one: M */
	OPTION_SECONDS, /* u64 in nanoseconds; decimal fraction allowed */
	OPTION_COUNT,   /* u64 from 1 on, decimal */
	OPTION_CHOICE,  /* const char *, one of the words in `choices` */
	OPTION_LIST,    /* struct option_list: may be given up to OPTION_LIST_MAX times; no preset */
};

#define OPTION_LIST_MAX 32
struct option_list {
	const char *word[OPTION_LIST_MAX];
	int count;
};

struct option_row {
	const char *name;         /* without "--" */
	const char *argument;     /* "FILE"; NULL for a flag */
	enum option_kind kind;
	size_t offset;            /* in the command's values */
	const char *help;         /* one sentence, without a final stop */
	const char *preset;       /* default, parsed as an argument; NULL: zero */
	const char *choices;      /* OPTION_CHOICE: "auto|translate|kvm" */
};

#define OPERANDS_MAX 16
struct operands {
	const char *word[OPERANDS_MAX];
	int count;
};

struct command {
	const char *name, *summary; /* a subcommand's name is "command subcommand" */
	const char *description;   /* paragraphs separated by an empty line */
	const char *operands;      /* "[COMMAND]", NULL: none taken */
	int operands_max;
	const struct option_row *options;
	size_t option_count;
	size_t values_size;        /* of the struct the offsets refer to */
	/* Does the work; reports its own failures (report()) and returns an exit status. */
	enum cli_status (*run)(const void *values, const struct operands *operands);
	/* Instead of run(): the commands of which one is named by the next word; ends with NULL. */
	const struct command *const *subcommands;
	/* Instead of run(): a command with a parser of its own gets all words from its name on; its result is
	 * the exit status. */
	int (*run_words)(int argc, char **argv);
};

/* Sets `values` (cmd->values_size bytes, cleared) from the presets and argv[0..argc).  Sets
 * `*help` and stops where --help is met.  -EINVAL with the reason for wrong usage. */
int options_parse(const struct command *cmd, int argc, char *const *argv, void *values,
		  struct operands *operands, bool *help, struct err *e);

void usage_print(FILE *to, const struct command *cmd);
void usage_print_program(FILE *to);
/* The manual page in roff (man(7)). */
void man_print(FILE *to);

/* One line on standard error: "penumbra: COMMAND: text". */
void report(const struct command *cmd, const char *text);
/* Flushes standard output; STATUS_FAILED with a report where it cannot take everything. */
enum cli_status finish_output(const struct command *cmd);

#endif
