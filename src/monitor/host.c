/* SPDX-License-Identifier: MIT
 * The few library functions of a program without a library. */
#include <stdarg.h>

#include "monitor/state.h"

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

void *memcpy(void *to, const void *from, size_t n)
{
	void *r = to;

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

/* %s, %d, %x (64 bits: %lx), enough for a dump. */
size_t text_format(char *out, size_t room, const char *format, va_list ap)
{
	size_t n = 0;

#define PUT(ch) do { if (n + 1 < room) out[n++] = (ch); } while (0)
	for (; *format; format++) {
		char digits[24];
		int d = 0;

		if (*format != '%') {
			PUT(*format);
			continue;
		}
		bool wide = format[1] == 'l';

		format += 1 + wide;
		if (*format == 's') {
			for (const char *s = va_arg(ap, const char *); *s; s++)
				PUT(*s);
		} else if (*format == 'x') {
			u64 v = wide ? va_arg(ap, u64) : va_arg(ap, u32);

			do
				digits[d++] = "0123456789abcdef"[v & 15];
			while (v >>= 4);
		} else if (*format == 'd') {
			s64 v = wide ? va_arg(ap, s64) : va_arg(ap, s32);
			u64 a = v < 0 ? -(u64)v : (u64)v;

			do
				digits[d++] = (char)('0' + a % 10);
			while (a /= 10);
			if (v < 0)
				PUT('-');
		}
		while (d)
			PUT(digits[--d]);
	}
	if (room)
		out[n] = 0;
	return n;
}
