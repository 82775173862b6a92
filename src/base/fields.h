/* SPDX-License-Identifier: MIT
 * State as field lists: saving, loading, comparing and printing a structure come from the list that declares it.
 *
 * A list is LIST(S, A): S(width, name) a value of `width` bits, A(width, name, count) an array.  On disk and on the
 * wire fields follow each other in the list's order, little-endian, without gaps.  No state of its own. */
#ifndef PENUMBRA_BASE_FIELDS_H
#define PENUMBRA_BASE_FIELDS_H

#include <stdio.h>

#include "base/types.h"

struct field {
	const char *name;
	u32 offset, count;
	u8 width; /* bits: 8, 16, 32 or 64 */
};

/* Rows of a table; STATE_TYPE is the structure. */
#define STATE_ROW(width, name) { #name, offsetof(STATE_TYPE, name), 1, width },
#define STATE_ROWS(width, name, count) { #name, offsetof(STATE_TYPE, name), count, width },

struct field_table {
	const char *name;
	const struct field *field;
	size_t n;
};

/* Bytes that the fields take. */
size_t fields_size(const struct field_table *t);
/* `bytes` has room for fields_size(). */
void fields_save(const struct field_table *t, const void *object, u8 *bytes);
void fields_load(const struct field_table *t, void *object, const u8 *bytes);
/* Name of the first field in which they differ; NULL for none. */
const char *fields_difference(const struct field_table *t, const void *a, const void *b);
/* A line a field, values in hexadecimal; arrays without their zeros at the end. */
void fields_dump(const struct field_table *t, const void *object, FILE *to);

#endif
