/* SPDX-License-Identifier: MIT */
#include "base/fields.h"

#include <string.h>

static u64 get(const u8 *object, const struct field *f, u32 i)
{
	u64 v = 0;

	/* The host is little-endian, like the format. */
	memcpy(&v, object + f->offset + (size_t)i * (f->width / 8), f->width / 8);
	return v;
}

size_t fields_size(const struct field_table *t)
{
	size_t size = 0;

	for (size_t i = 0; i < t->n; i++)
		size += (size_t)t->field[i].count * (t->field[i].width / 8);
	return size;
}

void fields_save(const struct field_table *t, const void *object, u8 *bytes)
{
	for (size_t i = 0; i < t->n; i++) {
		size_t n = (size_t)t->field[i].count * (t->field[i].width / 8);

		memcpy(bytes, (const u8 *)object + t->field[i].offset, n);
		bytes += n;
	}
}

void fields_load(const struct field_table *t, void *object, const u8 *bytes)
{
	for (size_t i = 0; i < t->n; i++) {
		size_t n = (size_t)t->field[i].count * (t->field[i].width / 8);

		memcpy((u8 *)object + t->field[i].offset, bytes, n);
		bytes += n;
	}
}

const char *fields_difference(const struct field_table *t, const void *a, const void *b)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct field *f = &t->field[i];

		if (memcmp((const u8 *)a + f->offset, (const u8 *)b + f->offset, (size_t)f->count * (f->width / 8)))
			return f->name;
	}
	return NULL;
}

void fields_dump(const struct field_table *t, const void *object, FILE *to)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct field *f = &t->field[i];
		u32 count = f->count;

		while (count > 1 && !get(object, f, count - 1))
			count--;
		fprintf(to, "%s.%s", t->name, f->name);
		for (u32 k = 0; k < count; k++)
			fprintf(to, " %llx", (unsigned long long)get(object, f, k));
		fputc('\n', to);
	}
}
