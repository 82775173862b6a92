/* SPDX-License-Identifier: MIT
 * Text of a program without a library. */
#include <stdarg.h>

#include "monitor/state.h"

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
