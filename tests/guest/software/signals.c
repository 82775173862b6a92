/* SPDX-License-Identifier: MIT
 * Signals: a fast interval timer on an alternate stack while integer and vector registers hold a computation,
 * jumps out of handlers, and the faults that programs handle. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

static sigjmp_buf out;
static volatile sig_atomic_t ticks, jump, on_stack_wrong;
static char stack[65536];

static void on_timer(int sig)
{
	volatile double spoil = 1.5 * sig; /* uses vector registers of its own */
	char here;

	(void)spoil;
	if (&here < stack || &here >= stack + sizeof stack)
		on_stack_wrong++;
	ticks++;
	if (jump)
		siglongjmp(out, 1);
}

static volatile sig_atomic_t caught, code;
static void *volatile where;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	caught = sig;
	code = info->si_code;
	where = info->si_addr;
	siglongjmp(out, 1);
}

/* The same result however often it is interrupted. */
static uint64_t compute(uint64_t rounds, double *sum)
{
	uint64_t x = 88172645463325252ull;
	double s = 0, t = 1;

	for (uint64_t i = 0; i < rounds; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		s += (double)(x & 1023) * t;
		t = t * 0.9999 + 0.0001;
	}
	*sum = s;
	return x;
}

static void timer(long microseconds)
{
	struct itimerval t = { { 0, microseconds }, { 0, microseconds } };

	setitimer(ITIMER_REAL, &t, NULL);
}

static int fault(int sig, int want_code, void (*f)(void *), void *address, void *want)
{
	for (volatile int i = 0; i < 300; i++) {
		caught = code = 0;
		if (!sigsetjmp(out, 1))
			f(address);
		if (caught != sig || code != want_code || where != want) {
			printf("signal %d code %d address %p instead of %d %d %p\n", caught, code, where, sig, want_code, want);
			return 1;
		}
	}
	return 0;
}

static void store(void *p) { *(volatile int *)p = 1; }
static void load(void *p) { (void)*(volatile int *)p; }
static void vector_store(void *p) { __asm__ volatile("movups %%xmm0, (%0)" : : "r"(p) : "memory"); }
static void divide(void *p)
{
	__asm__ volatile(".globl divide_here; xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; divide_here: div %%ecx"
			 : : "r"(p) : "rax", "rcx", "rdx");
}
static void undefined(void *p) { __asm__ volatile(".globl undefined_here; undefined_here: ud2" : : "r"(p)); }
static void privileged(void *p) { __asm__ volatile("hlt" : : "r"(p)); }
extern char divide_here[], undefined_here[];

int main(void)
{
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction a = { .sa_handler = on_timer, .sa_flags = SA_ONSTACK };
	struct sigaction f = { .sa_sigaction = on_fault, .sa_flags = SA_ONSTACK | SA_SIGINFO };
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	double sum, want_sum;
	uint64_t want = compute(3000000, &want_sum);
	volatile int jumps = 0;
	int bad = 0;

	sigaltstack(&ss, NULL);
	sigaction(SIGALRM, &a, NULL);
	timer(300);
	for (int i = 0; i < 40; i++) {
		uint64_t got = compute(3000000, &sum);

		if (got != want || memcmp(&sum, &want_sum, sizeof sum))
			bad = printf("%d: %llx %a instead of %llx %a\n", i, (unsigned long long)got, sum,
				     (unsigned long long)want, want_sum);
	}
	if (ticks < 20)
		bad = printf("only %d ticks\n", ticks);
	while (jumps < 150) {
		if (sigsetjmp(out, 1)) {
			jumps++;
		} else {
			jump = 1; /* not before `out` is whole, mask and all */
			compute(1ull << 40, &sum);
		}
	}
	jump = 0;
	timer(0);
	if (on_stack_wrong)
		bad = printf("%d handlers on the wrong stack\n", on_stack_wrong);

	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
		sigaction(faults[i], &f, NULL);
	char *none = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *read_only = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	bad |= fault(SIGSEGV, SEGV_MAPERR, store, (char *)16, (char *)16);
	bad |= fault(SIGSEGV, SEGV_ACCERR, load, none + 5, none + 5);
	bad |= fault(SIGSEGV, SEGV_ACCERR, store, read_only + 4096, read_only + 4096);
	bad |= fault(SIGSEGV, SEGV_ACCERR, vector_store, none + 32, none + 32);
	bad |= fault(SIGSEGV, SI_KERNEL, load, (char *)0x8000000000000000ull, NULL);
	bad |= fault(SIGSEGV, SEGV_MAPERR, load, (char *)0xffffffff81000000ull, (char *)0xffffffff81000000ull);
	bad |= fault(SIGSEGV, SI_KERNEL, privileged, NULL, NULL);
	bad |= fault(SIGFPE, FPE_INTDIV, divide, NULL, divide_here);
	bad |= fault(SIGILL, ILL_ILLOPN, undefined, NULL, undefined_here);
	return bad ? 1 : 0;
}
