/* SPDX-License-Identifier: MIT
 * Calls through a pointer that has one target. */
#include <stdio.h>

__attribute__((noinline)) static long f(long a, long b) { return a + b * 3; }
static long (*volatile p)(long, long) = f;

int main(void)
{
	long s = 0;

	for (long i = 0; i < 100000000; i++)
		s += p(s, i);
	printf("%ld\n", s);
}
