/* SPDX-License-Identifier: MIT
 * Micro-programs for `penumbra bench translation`: what compilers make of calls, of calls through pointers, of virtual
 * methods, of an interpreter's switch, of recursion.  `micro NAME` runs one for some two seconds and prints a number. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline, noclone))

/* Layers of small functions, as in programs that are well divided. */
static NOINLINE long add_one(long x) { return x + 1; }
static NOINLINE long scale(long x) { return add_one(x) * 3; }
static NOINLINE long limit(long x) { return x > 1000000 ? x - 999999 : scale(x); }
static NOINLINE long step(long x, long i) { return limit(x) ^ add_one(i); }

static long calls(void)
{
	long x = 1;

	for (long i = 0; i < 250000000; i++)
		x = step(x, i) & 0xfffff;
	return x;
}

/* One target, which the compiler cannot see. */
static NOINLINE long hash(long x, long i) { return (x ^ i) * 31 & 0xffffff; }
static long (*volatile chosen)(long, long) = hash;

static long indirect(void)
{
	long (*f)(long, long) = chosen, x = 1;

	for (long i = 0; i < 2000000000; i++)
		x = f(x, i);
	return x;
}

/* Objects of three classes, one of them far more frequent. */
struct shape;
struct methods { long (*area)(const struct shape *); long (*grow)(struct shape *, long); };
struct shape { const struct methods *methods; long a, b; };

static long square_area(const struct shape *s) { return s->a * s->a; }
static long box_area(const struct shape *s) { return s->a * s->b; }
static long round_area(const struct shape *s) { return s->a * s->a * 355 / 113; }
static long grow_a(struct shape *s, long by) { return s->a = (s->a + by) & 1023; }
static long grow_b(struct shape *s, long by) { return s->b = (s->b + by) & 1023; }
static const struct methods square = { square_area, grow_a }, box = { box_area, grow_b }, circle = { round_area, grow_a };

static long virtual(void)
{
	static struct shape shapes[256];
	long sum = 0;

	for (int i = 0; i < 256; i++)
		shapes[i] = (struct shape){ i % 16 == 7 ? &box : i % 16 == 11 ? &circle : &square, i, i + 1 };
	for (long i = 0; i < 350000000; i++) {
		struct shape *s = &shapes[i & 255];

		sum += s->methods->area(s);
		if (!(i & 7))
			sum ^= s->methods->grow(s, i);
	}
	return sum;
}

/* A stack machine that runs a small loop. */
enum op { OP_PUSH, OP_LOAD, OP_STORE, OP_ADD, OP_MUL, OP_AND, OP_LESS, OP_JUMP_IF, OP_END };

static NOINLINE long interpret(const int *code, long n)
{
	long stack[16], vars[4] = { 0, n, 1, 0 }, *sp = stack;

	for (const int *pc = code;;) {
		switch ((enum op)*pc++) {
		case OP_PUSH: *sp++ = *pc++; break;
		case OP_LOAD: *sp++ = vars[*pc++]; break;
		case OP_STORE: vars[*pc++] = *--sp; break;
		case OP_ADD: sp--; sp[-1] += *sp; break;
		case OP_MUL: sp--; sp[-1] *= *sp; break;
		case OP_AND: sp--; sp[-1] &= *sp; break;
		case OP_LESS: sp--; sp[-1] = sp[-1] < *sp; break;
		case OP_JUMP_IF: pc = *--sp ? code + *pc : pc + 1; break;
		case OP_END: return vars[2];
		}
	}
}

static long switch_(void)
{
	static const int code[] = {
		OP_LOAD, 2, OP_PUSH, 31, OP_MUL, OP_LOAD, 0, OP_ADD, OP_PUSH, 0xffff, OP_AND, OP_STORE, 2,
		OP_LOAD, 0, OP_PUSH, 1, OP_ADD, OP_STORE, 0, OP_LOAD, 0, OP_LOAD, 1, OP_LESS, OP_JUMP_IF, 0, OP_END,
	};

	return interpret(code, 180000000);
}

static NOINLINE long fib(long n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static long recursion(void) { return fib(45); }

int main(int argc, char **argv)
{
	static const struct { const char *name; long (*run)(void); } all[] = {
		{ "calls", calls }, { "indirect", indirect }, { "virtual", virtual }, { "switch", switch_ }, { "recursion", recursion },
	};

	for (size_t i = 0; argc == 2 && i < sizeof all / sizeof *all; i++)
		if (!strcmp(argv[1], all[i].name))
			return printf("%ld\n", all[i].run()) < 0;
	fprintf(stderr, "usage: micro calls|indirect|virtual|switch|recursion\n");
	return 2;
}
