/* SPDX-License-Identifier: MIT */
#include "base/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Cuts the next word off at a comma that stands alone, in place; NULL at the end of the text. */
static char *next_word(char **at)
{
	char *word = *at, *from = word, *to = word;

	if (!word)
		return NULL;
	for (;;) {
		if (from[0] == ',' && from[1] == ',') {
			*to++ = ',';
			from += 2;
		} else if (!*from || *from == ',') {
			break;
		} else {
			*to++ = *from++;
		}
	}
	*at = *from ? from + 1 : NULL;
	*to = 0;
	return word;
}

static const struct key_row *find(const struct key_row *rows, size_t n, const char *key, size_t length)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(rows[i].key) == length && !memcmp(rows[i].key, key, length))
			return &rows[i];
	return NULL;
}

static int choice_index(const char *choices, const char *word)
{
	size_t length = strlen(word);

	for (int i = 0; choices; i++) {
		const char *end = strchrnul(choices, '|');

		if ((size_t)(end - choices) == length && !memcmp(choices, word, length))
			return i;
		choices = *end ? end + 1 : NULL;
	}
	return -1;
}

static int take_number(const char *option, const struct key_row *r, const char *value, u64 *to, struct err *e)
{
	char *end;
	u64 v;

	errno = 0;
	v = strtoull(value, &end, 0);
	if (*value < '0' || *value > '9' || *end || errno || v < r->low || v > r->high)
		return err_set(e, -EINVAL, "%s: %s=%s: not a number from %llu to %llu", option, r->key, value,
			       (unsigned long long)r->low, (unsigned long long)r->high);
	*to = v;
	return 0;
}

static int take_value(const char *option, const struct key_row *r, const char *value, void *to, struct err *e)
{
	struct key_list *list = to;

	if (r->kind == KEY_FLAG) {
		if (value && strcmp(value, "on") && strcmp(value, "off"))
			return err_set(e, -EINVAL, "%s: %s=%s: neither on nor off", option, r->key, value);
		*(bool *)to = !value || !strcmp(value, "on");
		return 0;
	}
	if (!value || !*value)
		return err_set(e, -EINVAL, "%s: %s needs a value: %s=...", option, r->key, r->key);
	switch (r->kind) {
	case KEY_NUMBER:
		return take_number(option, r, value, to, e);
	case KEY_CHOICE:
		*(int *)to = choice_index(r->choices, value);
		return *(int *)to >= 0 ? 0 : err_set(e, -EINVAL, "%s: %s=%s: not one of %s", option, r->key, value, r->choices);
	case KEY_LIST:
		if (list->count == KEY_LIST_MAX)
			return err_set(e, -EINVAL, "%s: %s may be given %d times at most", option, r->key, KEY_LIST_MAX);
		list->word[list->count++] = value;
		return 0;
	default:
		*(const char **)to = value;
		return 0;
	}
}

int keys_parse(const char *option, const char *text, const struct key_row *rows, size_t n, void *values, char **store,
	       struct err *e)
{
	char *at = strdup(text), *word;
	u64 seen = 0;

	*store = at;
	if (!at)
		return err_set(e, -ENOMEM, "no memory");
	while ((word = next_word(&at))) {
		char *value = strchr(word, '=');
		size_t length = value ? (size_t)(value - word) : strlen(word);
		const struct key_row *r = find(rows, n, word, length);
		int rc;

		if (!r)
			return err_set(e, -EINVAL, "%s: '%.*s' is not known", option, (int)length, word);
		if (seen >> (r - rows) & 1 && r->kind != KEY_LIST)
			return err_set(e, -EINVAL, "%s: %s is given twice", option, r->key);
		seen |= BIT(r - rows);
		rc = take_value(option, r, value ? value + 1 : NULL, (char *)values + r->offset, e);
		if (rc)
			return rc;
	}
	for (size_t i = 0; i < n; i++)
		if (rows[i].needed && !(seen >> i & 1))
			return err_set(e, -EINVAL, "%s: %s=... is missing", option, rows[i].key);
	return 0;
}
