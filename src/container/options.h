/* SPDX-License-Identifier: MIT
 * Options of a command read by its table; accepts --name value, --name=value, -name and -n. */
#ifndef PENUMBRA_CONTAINER_OPTIONS_H
#define PENUMBRA_CONTAINER_OPTIONS_H

#include "container/command.h"

/* Reads options up to the first operand; returns its index, or -EINVAL with the reason. */
int options_read(const struct option_row *rows, int argc, char **argv, struct command_line *c,
		 struct err *e);
void options_print(FILE *out, const struct option_row *rows);

#endif
