/* SPDX-License-Identifier: MIT
 * Reading options by the command's table. */
#include "container/options.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static int find_row(const struct option_row *rows, const char *name, size_t n)
{
	int i;

	for (i = 0; rows[i].name; i++)
		if ((strlen(rows[i].name) == n && !strncmp(rows[i].name, name, n)) ||
		    (n == 1 && rows[i].letter == name[0]))
			return i;
	return -1;
}

int options_read(const struct option_row *rows, int argc, char **argv, struct command_line *c,
		 struct err *e)
{
	int i;

	for (i = 0; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		const char *name = argv[i] + 1 + (argv[i][1] == '-'), *value, *equals;
		int row;

		if (!strcmp(argv[i], "--"))
			return i + 1;
		equals = strchr(name, '=');
		row = find_row(rows, name, equals ? (size_t)(equals - name) : strlen(name));
		if (row < 0)
			return err_set(e, -EINVAL, "unknown option %s", argv[i]);
		value = equals ? equals + 1 : NULL;
		if (!rows[row].value) {
			if (value && (!strcmp(value, "false") || !strcmp(value, "0")))
				value = NULL;
			else if (value && strcmp(value, "true") && strcmp(value, "1"))
				return err_set(e, -EINVAL, "option --%s takes no value",
					       rows[row].name);
			else
				value = "";
		} else if (!value) {
			if (++i >= argc)
				return err_set(e, -EINVAL, "option --%s needs a value",
					       rows[row].name);
			value = argv[i];
		}
		if (rows[row].many) {
			char **v;

			if (c->many.n == sizeof c->many_of)
				return err_set(e, -E2BIG, "too many options");
			v = realloc(c->many.v, (c->many.n + 1) * sizeof *v);
			if (!v)
				return err_set(e, -ENOMEM, "out of memory");
			c->many.v = v;
			c->many_of[c->many.n] = (unsigned char)row;
			v[c->many.n++] = (char *)value;
		}
		c->value[row] = value;
	}
	return i;
}

static int row_of(const struct command_line *c, const char *name)
{
	int row = find_row(c->command->options, name, strlen(name));

	assert(row >= 0 && row < (int)ARRAY_SIZE(c->value));
	return row;
}

const char *option(const struct command_line *c, const char *name)
{
	return c->value[row_of(c, name)];
}

bool flag(const struct command_line *c, const char *name)
{
	return option(c, name) != NULL;
}

const char *option_nth(const struct command_line *c, const char *name, size_t nth)
{
	int row = row_of(c, name);
	size_t i;

	for (i = 0; i < c->many.n; i++)
		if (c->many_of[i] == row && !nth--)
			return c->many.v[i];
	return NULL;
}

int option_u64(const struct command_line *c, const char *name, u64 max, u64 *out, struct err *e)
{
	const char *s = option(c, name);

	if (!s)
		return 0;
	if (parse_u64(s, max, out))
		return err_set(e, -EINVAL, "option --%s: \"%.64s\" is not a number up to %llu", name,
			       s, (unsigned long long)max);
	return 0;
}

void options_print(FILE *out, const struct option_row *rows)
{
	for (; rows->name; rows++) {
		char left[64];

		snprintf(left, sizeof left, "%s%c%s --%s%s%s", rows->letter ? "-" : " ",
			 rows->letter ? rows->letter : ' ', rows->letter ? "," : " ", rows->name,
			 rows->value ? " " : "", rows->value ? rows->value : "");
		fprintf(out, "  %-34s %s\n", left, rows->help);
	}
}
