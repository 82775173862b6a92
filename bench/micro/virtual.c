/* SPDX-License-Identifier: MIT
 * Calls through tables of functions, two of them. */
#include <stdio.h>

struct object { const struct table *table; long x; };
struct table { long (*get)(struct object *, long); };
__attribute__((noinline)) static long add(struct object *o, long b) { return o->x + b; }
__attribute__((noinline)) static long mix(struct object *o, long b) { return o->x ^ b; }
static const struct table adds = { add }, mixes = { mix };

int main(void)
{
	struct object a[4] = { { &adds, 1 }, { &mixes, 2 }, { &adds, 3 }, { &adds, 4 } };
	long s = 0;

	for (long i = 0; i < 80000000; i++) {
		struct object *o = &a[i & 3];

		s += o->table->get(o, s);
	}
	printf("%ld\n", s);
}
