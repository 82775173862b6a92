/* SPDX-License-Identifier: MIT
 * Text functions of a program without a library, and its last words. */
#include <stdarg.h>

#include "exec/exec.h"

size_t text_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool text_equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* %s, %d, %x; %ld, %lx for 64 bits. */
static size_t text_vformat(char *out, size_t room, const char *format, va_list ap)
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
			continue;
		}
		u64 base = *format == 'x' ? 16 : 10, v = wide ? va_arg(ap, u64) : va_arg(ap, u32);

		if (*format == 'd' && !wide)
			v = (u64)(s64)(s32)v;
		if (*format == 'd' && (s64)v < 0) {
			PUT('-');
			v = -v;
		}
		do
			digits[d++] = "0123456789abcdef"[v % base];
		while (v /= base);
		while (d)
			PUT(digits[--d]);
	}
#undef PUT
	if (room)
		out[n] = 0;
	return n;
}

size_t text_format(char *out, size_t room, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	size_t n = text_vformat(out, room, format, ap);
	va_end(ap);
	return n;
}

static void say_line(const char *format, va_list ap)
{
	char line[600] = "penumbra: exec: ";
	size_t n = text_length(line);

	n += text_vformat(line + n, sizeof line - n - 1, format, ap);
	line[n++] = '\n';
	sys3(__NR_write, 2, line, n);
}

void say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say_line(format, ap);
	va_end(ap);
}

_Noreturn void fatal(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	say_line(format, ap);
	va_end(ap);
	for (;;)
		sys1(__NR_exit_group, 1);
}
