/* SPDX-License-Identifier: MIT
 * Descriptions of devices on the command line: "key=value,flag,key=value", by a table.  A comma within a value is
 * written twice.  No state. */
#ifndef PENUMBRA_BASE_KEYS_H
#define PENUMBRA_BASE_KEYS_H

#include "base/err.h"
#include "base/types.h"

enum key_kind {
	KEY_FLAG,   /* bool: "key", or "key=on", "key=off" */
	KEY_TEXT,   /* const char *, not empty */
	KEY_NUMBER, /* u64 within [low, high] */
	KEY_CHOICE, /* int: the index of the word in `choices`, "a|b|c" */
	KEY_LIST,   /* struct key_list: may be given several times */
};

#define KEY_LIST_MAX 32
struct key_list {
	const char *word[KEY_LIST_MAX];
	int count;
};

struct key_row {
	const char *key;
	enum key_kind kind;
	size_t offset;       /* in the values */
	bool needed;         /* wrong usage without it */
	u64 low, high;       /* KEY_NUMBER */
	const char *choices; /* KEY_CHOICE */
};

/* Takes `text` apart into `values`, which hold the presets.  `option` ("--net") is for messages.  `*store` gets
 * memory that the texts in `values` point to, for free().  -EINVAL with the key's name for wrong usage. */
int keys_parse(const char *option, const char *text, const struct key_row *rows, size_t n, void *values, char **store,
	       struct err *e);

#endif
