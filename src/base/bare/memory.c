/* SPDX-License-Identifier: MIT
 * What the compiler expects of a C library, for programs that have none. */
#include "base/types.h"

void *memset(void *to, int v, size_t n);
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);

void *memset(void *to, int v, size_t n)
{
	void *r = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory");
	return r;
}

typedef u32 __attribute__((may_alias, aligned(1))) u32_any;
typedef u64 __attribute__((may_alias, aligned(1))) u64_any;

void *memcpy(void *to, const void *from, size_t n)
{
	void *r = to;

	/* What is short is copied by its two ends, which may overlap: the string instruction takes longer to begin. */
	if (n - 8 <= 8) {
		u64 first = *(const u64_any *)from, last = *(const u64_any *)((const u8 *)from + n - 8);

		*(u64_any *)to = first;
		*(u64_any *)((u8 *)to + n - 8) = last;
		return r;
	}
	if (n - 4 < 4) {
		u32 first = *(const u32_any *)from, last = *(const u32_any *)((const u8 *)from + n - 4);

		*(u32_any *)to = first;
		*(u32_any *)((u8 *)to + n - 4) = last;
		return r;
	}
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return r;
}

void *memmove(void *to, const void *from, size_t n)
{
	u8 *d = to;
	const u8 *s = from;

	if (d <= s || d >= s + n)
		return memcpy(to, from, n);
	while (n--)
		d[n] = s[n];
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}
