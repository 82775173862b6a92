/* SPDX-License-Identifier: MIT
 * Loops over an array. */
#include <stdio.h>

static int a[1000];

static int sum(int n)
{
	int s = 0;

	for (int i = 0; i < n; i++) {
		a[i] = a[i] + i;
		s += a[i];
	}
	return s;
}

int main(void)
{
	long t = 0;

	for (int k = 0; k < 60000; k++)
		t += sum(1000);
	printf("%ld\n", t);
}
