/* SPDX-License-Identifier: MIT
 * Every locked form, and the order of memory, under threads that run at once: the same text natively and translated.
 * Each loop is its own function, so that it becomes hot by itself. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 3
#define TIMES 200000l
#define ROUNDS 4000

/* What all threads change; also named relative to RIP, by the assembly below. */
long word __attribute__((aligned(64), used));
unsigned char gate __attribute__((aligned(64), used));
struct { long low, high; } pair __attribute__((aligned(64), used));
static long guarded;

/* Name, and what adds one to the word: p is its address. */
#define SUMS(X) \
	X(add_register, "lock addq %[one], (%[p])") \
	X(add_register_rip, "lock addq %[one], word(%%rip)") \
	X(add_register_scaled, "lock addq %[one], -8(%[p], %[one], 8)") \
	X(add_register_32, "lock addl %k[one], (%[p])") \
	X(add_register_16, "lock addw %w[one], (%[p])") \
	X(add_register_8, "lock addb %b[one], (%[p])") \
	X(add_sil_rip, "movl $1, %%esi; lock addb %%sil, word(%%rip)") \
	X(add_immediate, "lock addq $1, (%[p])") \
	X(add_immediate_rip, "lock addq $1, word(%%rip)") \
	X(sub_register, "lock subq %[minus], (%[p])") \
	X(sub_immediate, "lock subq $-1, word(%%rip)") \
	X(adc_register, "clc; lock adcq %[one], (%[p])") \
	X(adc_immediate, "stc; lock adcq $0, (%[p])") \
	X(sbb_register, "clc; lock sbbq %[minus], (%[p])") \
	X(inc, "lock incq (%[p])") \
	X(inc_rip, "lock incl word(%%rip)") \
	X(dec, "lock addq $2, (%[p]); lock decq (%[p])") \
	X(xadd, "movl $1, %%eax; lock xaddq %%rax, (%[p])") \
	X(add_dh_rip, "movl $256, %%edx; lock addb %%dh, word(%%rip)") \
	X(xadd_sil_rip, "movl $1, %%esi; lock xaddb %%sil, word(%%rip)") \
	X(cmpxchg, "movq (%[p]), %%rax; 1: leaq 1(%%rax), %%rcx; lock cmpxchgq %%rcx, (%[p]); jne 1b") \
	X(cmpxchg_rip, "movq (%[p]), %%rax; 1: leaq 1(%%rax), %%rcx; lock cmpxchgq %%rcx, word(%%rip); jne 1b") \
	X(cmpxchg_dil_rip, "movb (%[p]), %%al; 1: leal 1(%%rax), %%edi; lock cmpxchgb %%dil, word(%%rip); jne 1b") \
	X(cmpxchg16b, "movq pair(%%rip), %%rax; movq 8+pair(%%rip), %%rdx; 1: leaq 1(%%rax), %%rbx; leaq 2(%%rdx), %%rcx; " \
		"lock cmpxchg16b pair(%%rip); jne 1b")

#define SUM(name, text) \
	static __attribute__((noinline)) void sum_##name(long me) \
	{ \
		(void)me; \
		for (long i = 0; i < TIMES; i++) \
			__asm__ volatile(text : : [p] "r"(&word), [one] "r"(1l), [minus] "r"(-1l) \
				: "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "memory", "cc"); \
	}
SUMS(SUM)

/* Name, and what sets, clears or changes the thread's own bit, which nobody else touches. */
#define BITS(X) \
	X(or_and, "lock orq %[bit], (%[p])", "lock andq %[rest], (%[p])") \
	X(or_and_rip, "lock orq %[bit], word(%%rip)", "lock andq %[rest], word(%%rip)") \
	X(xor, "lock xorq %[bit], (%[p])", "lock xorq %[bit], (%[p])") \
	X(bts_btr, "lock btsq %[n], (%[p])", "lock btrq %[n], (%[p])") \
	X(btc, "lock btcq %[n], word(%%rip)", "lock btcq %[n], word(%%rip)")

#define BIT_FUNCTION(name, set, clear) \
	static __attribute__((noinline)) void bits_##name(long me) \
	{ \
		long bit = 1l << me, rest = ~bit, bad = 0; \
		for (long i = 0; i < TIMES; i++) { \
			__asm__ volatile(set : : [p] "r"(&word), [bit] "r"(bit), [rest] "r"(rest), [n] "r"(me) : "memory", "cc"); \
			bad += !(*(volatile long *)&word & bit); \
			__asm__ volatile(clear : : [p] "r"(&word), [bit] "r"(bit), [rest] "r"(rest), [n] "r"(me) : "memory", "cc"); \
			bad += (*(volatile long *)&word & bit) != 0; \
		} \
		__atomic_fetch_add(&guarded, bad, __ATOMIC_RELAXED); \
	}
BITS(BIT_FUNCTION)

/* A lock of one byte, taken with XCHG, which locks by itself. */
static __attribute__((noinline)) void lock_byte(long me)
{
	(void)me;
	for (long i = 0; i < TIMES; i++) {
		for (;;) {
			unsigned was = 1;

			__asm__ volatile("xchgb %%sil, gate(%%rip)" : "+S"(was) : : "memory");
			if (!was)
				break;
			sched_yield();
		}
		guarded++;
		*(volatile unsigned char *)&gate = 0;
	}
}

static pthread_barrier_t together;
static void (*task)(long);

static void *work(void *me)
{
	pthread_barrier_wait(&together);
	task((long)me);
	return NULL;
}

static void run(const char *name, void (*f)(long), int n)
{
	pthread_t t[THREADS];

	word = gate = guarded = 0;
	pair.low = pair.high = 0;
	task = f;
	pthread_barrier_init(&together, NULL, (unsigned)n);
	for (long i = 0; i < n; i++)
		if (pthread_create(&t[i], NULL, work, (void *)i))
			exit(1);
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	printf("%s %ld %ld %ld %ld\n", name, word, pair.low, pair.high, guarded);
}

/* Both threads store to their own word and read the other's: at least one sees the other's store. */
static volatile int mine[2][32], seen[2][32], arrived;

static void meet(int round)
{
	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; arrived < 2 * round; i++)
		if (i > 200)
			sched_yield();
}

static __attribute__((noinline)) void store_buffers(long me)
{
	for (int i = 0; i < ROUNDS; i++) {
		meet(3 * i + 1);
		mine[me][0] = 1;
		if (i & 1)
			__asm__ volatile("lock orq $0, (%%rsp)" : : : "memory", "cc");
		else
			__asm__ volatile("mfence" : : : "memory");
		seen[me][0] = mine[!me][0];
		meet(3 * i + 2);
		if (!me && !seen[0][0] && !seen[1][0])
			guarded++;
		meet(3 * i + 3);
		mine[me][0] = 0;
	}
}

/* Words of the reader's stack, which the writer writes: once the flag is seen, so must be the data that went before,
 * though the reader stored something else there itself. */
struct mail { volatile long data, flag, taken; };
static struct mail *volatile box;

static __attribute__((noinline)) void reader(void)
{
	struct mail m = { 0, 0, 0 };
	long bad = 0, x = 3;

	__atomic_store_n(&box, &m, __ATOMIC_SEQ_CST);
	for (long i = 1; i <= ROUNDS; i++) {
		long flag, data;

		m.data = -i;
		m.taken = i;
		/* As long as a store takes to get there and back. */
		__asm__ volatile(".rept 100; imulq %0, %0; .endr" : "+r"(x) : : "cc");
		flag = m.flag;
		data = m.data;
		for (int spins = 0; flag != i; spins++) {
			if (spins > 200)
				sched_yield();
			flag = m.flag;
			data = m.data;
		}
		bad += data != i;
	}
	__atomic_store_n(&box, NULL, __ATOMIC_SEQ_CST);
	guarded += bad;
}

static void mailed(long me)
{
	if (!me) {
		reader();
		return;
	}
	while (!box)
		sched_yield();
	for (long i = 1; i <= ROUNDS; i++) {
		for (int spins = 0; box->taken != i; spins++)
			if (spins > 200)
				sched_yield();
		box->data = i;
		box->flag = i;
	}
}

#define RUN_SUM(name, text) run(#name, sum_##name, THREADS);
#define RUN_BITS(name, set, clear) run(#name, bits_##name, THREADS);

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	SUMS(RUN_SUM)
	BITS(RUN_BITS)
	run("xchg", lock_byte, THREADS);
	run("store buffers", store_buffers, 2);
	run("mail", mailed, 2);
	return 0;
}
