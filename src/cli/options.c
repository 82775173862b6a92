/* SPDX-License-Identifier: MIT */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
#define NAME_LONGEST 63

#define SECONDS_MAX 1000000000ull

static int parse_size(const char *text, u64 *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	unsigned int shift = 20;
	char *end;
	u64 n;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit || end[1])
			return -EINVAL;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (n > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = n << shift;
	return 0;
}

#define COUNT_MAX 99999u

static int parse_count(const char *text, u64 *n)
{
	size_t digits = strspn(text, "0123456789");

	if (!digits || digits > 5 || text[digits])
		return -EINVAL;
	*n = strtoull(text, NULL, 10);
	return *n ? 0 : -EINVAL;
}

static int parse_seconds(const char *text, u64 *ns)
{
	u64 seconds = 0, fraction = 0, scale = 1000000000;
	const char *p = text;

	for (; isdigit((unsigned char)*p); p++) {
		seconds = seconds * 10 + (u64)(*p - '0');
		if (seconds > SECONDS_MAX)
			return -EINVAL;
	}
	if (*p == '.')
		for (p++; isdigit((unsigned char)*p); p++) {
			scale /= 10;
			fraction += (u64)(*p - '0') * scale;
		}
	if (*p || (!seconds && !fraction))
		return -EINVAL;
	*ns = seconds * 1000000000u + fraction;
	return 0;
}

static bool is_choice(const char *text, const char *choices)
{
	size_t n = strlen(text);

	if (!n || strchr(text, '|'))
		return false;
	for (const char *p = choices; p; p = strchr(p, '|')) {
		p += *p == '|';
		if (!strncmp(p, text, n) && (p[n] == '|' || !p[n]))
			return true;
	}
	return false;
}

/* For an option with an argument. */
static int set_value(const struct option_row *o, const char *text, void *values, struct err *e)
{
	void *to = (char *)values + o->offset;

	switch (o->kind) {
	case OPTION_SIZE:
		if (parse_size(text, to))
			return err_set(e, -EINVAL, "--%s: '%s' is not a size (512M, 2G)", o->name, text);
		return 0;
	case OPTION_COUNT:
		if (parse_count(text, to))
			return err_set(e, -EINVAL, "--%s: '%s' is not a number from 1 to %u", o->name, text, COUNT_MAX);
		return 0;
	case OPTION_SECONDS:
		if (parse_seconds(text, to))
			return err_set(e, -EINVAL, "--%s: '%s' is not a number of seconds above 0",
				       o->name, text);
		return 0;
	case OPTION_NAME:
		if (!isalnum((unsigned char)*text) || text[strspn(text, NAME_CHARS)] ||
		    strlen(text) > NAME_LONGEST)
			return err_set(e, -EINVAL,
				       "--%s: '%s' is not a name (letters, digits, '.', '_', '-', at most %d)",
				       o->name, text, NAME_LONGEST);
		break;
	case OPTION_CHOICE:
		if (!is_choice(text, o->choices))
			return err_set(e, -EINVAL, "--%s: '%s' is not one of %s", o->name, text, o->choices);
		break;
	case OPTION_LIST: {
		struct option_list *list = to;

		if (list->count == OPTION_LIST_MAX)
			return err_set(e, -EINVAL, "--%s may be given %d times at most", o->name, OPTION_LIST_MAX);
		list->word[list->count++] = text;
		return 0;
	}
	case OPTION_FLAG:
	case OPTION_TEXT:
		break;
	}
	*(const char **)to = text;
	return 0;
}

static const struct option_row *find_option(const struct command *cmd, const char *name, size_t n)
{
	for (size_t i = 0; i < cmd->option_count; i++)
		if (strlen(cmd->options[i].name) == n && !strncmp(cmd->options[i].name, name, n))
			return &cmd->options[i];
	return NULL;
}

/* argv[*at] is "--name", "--name=value" or "--name" with the value in the next word. */
static int parse_option(const struct command *cmd, int argc, char *const *argv, int *at,
			void *values, struct err *e)
{
	const char *name = argv[*at] + 2, *value = strchr(name, '=');
	const struct option_row *o = find_option(cmd, name, value ? (size_t)(value - name) : strlen(name));

	if (!o)
		return err_set(e, -EINVAL, "unknown option '%s'", argv[*at]);
	if (!o->argument && value)
		return err_set(e, -EINVAL, "--%s takes no value", o->name);
	if (!o->argument) {
		*(bool *)((char *)values + o->offset) = true;
		return 0;
	}
	if (value)
		return set_value(o, value + 1, values, e);
	if (*at + 1 >= argc)
		return err_set(e, -EINVAL, "--%s needs a value (%s)", o->name, o->argument);
	return set_value(o, argv[++*at], values, e);
}

int options_parse(const struct command *cmd, int argc, char *const *argv, void *values,
		  struct operands *operands, bool *help, struct err *e)
{
	bool only_operands = false;
	int rc;

	*help = false;
	operands->count = 0;
	for (size_t i = 0; i < cmd->option_count; i++) {
		rc = cmd->options[i].preset ?
			set_value(&cmd->options[i], cmd->options[i].preset, values, e) : 0;
		if (rc)
			return rc;
	}
	for (int i = 0; i < argc; i++) {
		if (only_operands || argv[i][0] != '-' || !argv[i][1]) {
			if (operands->count == MIN(cmd->operands_max, OPERANDS_MAX))
				return err_set(e, -EINVAL, "unexpected argument '%s'", argv[i]);
			operands->word[operands->count++] = argv[i];
		} else if (!strcmp(argv[i], "--")) {
			only_operands = true;
		} else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			*help = true;
			return 0;
		} else if (argv[i][1] != '-') {
			return err_set(e, -EINVAL, "unknown option '%s'", argv[i]);
		} else {
			rc = parse_option(cmd, argc, argv, &i, values, e);
			if (rc)
				return rc;
		}
	}
	return 0;
}
