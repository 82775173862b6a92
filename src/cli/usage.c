/* SPDX-License-Identifier: MIT
 * Usage texts and the manual page, generated from the tables of commands and options. */
#include <errno.h>
#include <string.h>

#include "cli/commands.h"

#define COLUMN 24

static const char *argument_of(const struct option_row *o)
{
	return o->kind == OPTION_CHOICE ? o->choices : o->argument;
}

static void option_print(FILE *to, const struct option_row *o)
{
	int n = fprintf(to, "  --%s%s%s", o->name, o->argument ? " " : "", o->argument ? argument_of(o) : "");

	if (n >= COLUMN - 1) {
		fputc('\n', to);
		n = 0;
	}
	fprintf(to, "%*s%s", COLUMN - n, "", o->help);
	if (o->preset)
		fprintf(to, " (default: %s)", o->preset);
	fputc('\n', to);
}

static void options_print(FILE *to, const struct command *cmd)
{
	fprintf(to, "\nOptions:\n");
	for (size_t i = 0; i < cmd->option_count; i++)
		option_print(to, &cmd->options[i]);
	fprintf(to, "  %-*s%s\n", COLUMN - 2, "--help", "print this help");
}

void usage_print(FILE *to, const struct command *cmd)
{
	fprintf(to, "usage: penumbra %s%s%s%s\n\n%s\n", cmd->name, cmd->option_count ? " [OPTION...]" : "",
		cmd->operands ? " " : "", cmd->operands ? cmd->operands : "", cmd->description);
	if (cmd->subcommands) {
		fprintf(to, "\nSubcommands:\n");
		for (const struct command *const *c = cmd->subcommands; *c; c++)
			fprintf(to, "  %-*s%s\n", COLUMN - 2, strchr((*c)->name, ' ') + 1, (*c)->summary);
	}
	options_print(to, cmd);
}

void usage_print_program(FILE *to)
{
	fprintf(to, "usage: penumbra [OPTION...] COMMAND ...\n\n%s\n\nCommands:\n",
		command_program.description);
	for (const struct command *const *c = command_list; *c; c++)
		fprintf(to, "  %-*s%s\n", COLUMN - 2, (*c)->name, (*c)->summary);
	options_print(to, &command_program);
}

/* Text for roff: a hyphen that is meant as one, no escape, no request at the start of a line. */
static void roff_text(FILE *to, const char *text)
{
	bool line_start = true;

	for (const char *p = text; *p; p++) {
		if (*p == '\n' && p[1] == '\n') {
			fputs("\n.PP\n", to);
			p++;
			line_start = true;
			continue;
		}
		if (line_start && (*p == '.' || *p == '\''))
			fputs("\\&", to);
		line_start = *p == '\n';
		if (*p == '-')
			fputs("\\-", to);
		else if (*p == '\\')
			fputs("\\e", to);
		else
			fputc(*p, to);
	}
}

static void roff_line(FILE *to, const char *text)
{
	roff_text(to, text);
	fputc('\n', to);
}

static void roff_options(FILE *to, const struct command *cmd)
{
	for (size_t i = 0; i < cmd->option_count; i++) {
		const struct option_row *o = &cmd->options[i];

		fputs(".TP\n\\fB\\-\\-", to);
		roff_text(to, o->name);
		fputs("\\fR", to);
		if (o->argument) {
			fputs(o->kind == OPTION_CHOICE ? " " : " \\fI", to);
			roff_text(to, argument_of(o));
			fputs("\\fR", to);
		}
		fputc('\n', to);
		roff_text(to, o->help);
		if (o->preset) {
			fputs(" (default: ", to);
			roff_text(to, o->preset);
			fputc(')', to);
		}
		fputs(".\n", to);
	}
}

static void roff_command(FILE *to, const struct command *cmd)
{
	fputs(".SS penumbra ", to);
	roff_text(to, cmd->name);
	fputs(cmd->option_count ? " [OPTION...]" : "", to);
	if (cmd->operands) {
		fputc(' ', to);
		roff_text(to, cmd->operands);
	}
	fputc('\n', to);
	roff_line(to, cmd->description);
	roff_options(to, cmd);
}

void man_print(FILE *to)
{
	static const struct { int number; const char *words; } statuses[] = {
#define CLI_STATUS_ROW(symbol, number, words) { number, words },
		CLI_STATUSES(CLI_STATUS_ROW)
#undef CLI_STATUS_ROW
	};

	fprintf(to, ".TH PENUMBRA 1 \"\" \"penumbra %s\" \"User Commands\"\n", PENUMBRA_VERSION);
	fputs(".SH NAME\npenumbra \\- ", to);
	roff_line(to, command_program.summary);
	fputs(".SH SYNOPSIS\n.B penumbra\n[OPTION...] COMMAND ...\n.SH DESCRIPTION\n", to);
	roff_line(to, command_program.description);
	fputs(".SH OPTIONS\n", to);
	roff_options(to, &command_program);
	fputs(".PP\nEach command also takes \\fB\\-\\-help\\fR.\n.SH COMMANDS\n", to);
	for (const struct command *const *c = command_list; *c; c++) {
		roff_command(to, *c);
		for (const struct command *const *s = (*c)->subcommands; s && *s; s++)
			roff_command(to, *s);
	}
	fputs(".SH EXIT STATUS\n", to);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		fprintf(to, ".TP\n.B %d\n", statuses[i].number);
		roff_line(to, statuses[i].words);
	}
	fputs(".PP\nA command that is ended by a signal ends with that signal.\n", to);
}

void report(const struct command *cmd, const char *text)
{
	fflush(stdout);
	if (cmd && cmd != &command_program)
		fprintf(stderr, "penumbra: %s: %s\n", cmd->name, text);
	else
		fprintf(stderr, "penumbra: %s\n", text);
}

enum cli_status finish_output(const struct command *cmd)
{
	struct err e = { 0 };

	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return STATUS_OK;
	err_sys(&e, errno ? errno : EIO, "standard output");
	report(cmd, e.text);
	return STATUS_FAILED;
}
