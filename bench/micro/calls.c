/* SPDX-License-Identifier: MIT
 * Small functions that call each other. */
#include <stdio.h>

__attribute__((noinline)) static long f1(long a, long b) { return a + b * 3; }
__attribute__((noinline)) static long f2(long a, long b) { return f1(a, b) ^ b; }
__attribute__((noinline)) static long f3(long a, long b) { return f2(a, b) + f1(b, a); }

int main(void)
{
	long s = 0;

	for (long i = 0; i < 50000000; i++)
		s += f3(s, i);
	printf("%ld\n", s);
}
