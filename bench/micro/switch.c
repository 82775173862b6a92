/* SPDX-License-Identifier: MIT
 * An interpreter of seven instructions. */
#include <stdio.h>

int main(void)
{
	static const unsigned char code[] = { 0, 1, 2, 0, 3, 1, 4, 2, 5, 0, 1, 6 };
	long a = 1, x = 3;

	for (long n = 0; n < 80000000; n++) {
		switch (code[n % 12]) {
		case 0: a += x; break;
		case 1: a ^= x << 1; break;
		case 2: x += a & 7; break;
		case 3: a -= x; break;
		case 4: x ^= 3; break;
		case 5: a *= 3; break;
		case 6: x++; break;
		}
	}
	printf("%ld %ld\n", a, x);
}
