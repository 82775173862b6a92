/* SPDX-License-Identifier: MIT
 * Runs in the guest: one thread writes code that others run, in the ways that compilers at run time do it
 * (SDM 3A 9.1.3, cross-modifying code).
 *
 *	code ROUNDS
 *
 * Prints `ok code` or `not ok code: WHAT`. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS_MAX 8
#define PAGE 4096
#define PAGES 16
#define STRIDE 16

typedef int function(void);

static long rounds;
static atomic_int stop;
static _Atomic(const char *) failure;
static uint8_t *grown, *patched, *sealed, *trapped;
static atomic_long traps;
static atomic_int made, version, sealed_version;

static void fail(const char *what)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&failure, &none, what);
}

static void serialize(void)
{
	unsigned a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

/* mov eax, value; ret; with the value on an address that four bytes are written to at once */
static void emit(uint8_t *at, int value)
{
	static const uint8_t head[] = { 0x0f, 0x1f, 0x00, 0xb8 }; /* nop; mov eax */

	memcpy(at, head, sizeof head);
	memcpy(at + 4, &value, 4);
	at[8] = 0xc3;
}

static void run_on(long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((int)(cpu % sysconf(_SC_NPROCESSORS_ONLN)), &set);
	sched_setaffinity(0, sizeof set, &set);
}

static void on_trap(int sig)
{
	if (sig == SIGILL)
		fail("an INT3 that was taken away was executed as something invalid");
	traps++;
}

/* The first byte of a NOP of two becomes an INT3 and the byte that it was in turn, as kernels patch themselves.  Either is
 * right, and nothing else.  Where the test knob `unmapped` names the page that is written, C executes the writes. */
#define TRAPPED_ALIAS 0x123456789000ul
static const uint8_t trap_code[] = { 0x66, 0x90, 0xc3 };

static void *trap_runner(void *arg)
{
	(void)arg;
	run_on(0);
	while (!stop)
		((function *)(void *)trapped)();
	return NULL;
}

static void *trap_writer(void *arg)
{
	uint8_t *alias = arg;

	run_on(1);
	while (!stop) {
		for (int i = 0; i < 2; i++) {
			__atomic_store_n(alias, i ? trap_code[0] : 0xcc, __ATOMIC_SEQ_CST);
			for (int k = 0; k < 3000; k++)
				__asm__ volatile("");
		}
	}
	return NULL;
}

static int trap_start(pthread_t t[2])
{
	struct sigaction act = { .sa_handler = on_trap };
	int fd = memfd_create("trap", 0);
	uint8_t *alias;

	if (ftruncate(fd, PAGE))
		return -1;
	alias = mmap((void *)TRAPPED_ALIAS, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	trapped = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (alias == MAP_FAILED || trapped == MAP_FAILED)
		return -1;
	memcpy(alias, trap_code, sizeof trap_code);
	sigaction(SIGTRAP, &act, NULL);
	sigaction(SIGILL, &act, NULL);
	pthread_create(&t[0], NULL, trap_runner, NULL);
	pthread_create(&t[1], NULL, trap_writer, alias);
	return 0;
}

static void *runner(void *arg)
{
	unsigned seed = (unsigned)(long)arg * 2654435761u + 1;

	run_on((long)arg);
	while (!stop) {
		int n = made, old, got;

		seed = seed * 1103515245u + 12345;
		if (n) {
			/* Never run before it was published: nothing has to be done to see it whole. */
			int k = (int)(seed >> 8) % n;

			if (((function *)(void *)(grown + k * STRIDE))() != k)
				fail("a published function returned something else");
		}
		old = version;
		serialize();
		got = ((function *)(void *)patched)();
		if (got < old || got > version + 1)
			fail("a patched function returned a value from before its version, or from nowhere");
		old = sealed_version;
		serialize();
		got = ((function *)(void *)sealed)();
		if (got < old)
			fail("a function on a page that was sealed again returned an old value");
	}
	return NULL;
}

/* The page that runs is never writable where it runs: another mapping of the same memory is. */
static void write_all(uint8_t *alias, uint8_t *writable)
{
	int functions = PAGES * PAGE / STRIDE;

	for (long i = 1; i <= rounds / 50; i++) {
		if (i <= functions) {
			emit(grown + (i - 1) * STRIDE, (int)i - 1);
			made = (int)i;
		}
		__atomic_store_n((int *)(void *)(writable + 4), (int)i, __ATOMIC_SEQ_CST);
		version = (int)i;
		if (i % 64 == 0) {
			__atomic_store_n((int *)(void *)(alias + 4), (int)i, __ATOMIC_SEQ_CST);
			sealed_version = (int)i;
		}
		/* Long enough for others to run what was written, without a call that a processor would notice. */
		for (int k = 0; k < 20000; k++)
			__asm__ volatile("");
		if (i % 256 == 0)
			sched_yield();
	}
}

int main(int argc, char **argv)
{
	int n = (int)sysconf(_SC_NPROCESSORS_ONLN), fd = memfd_create("code", 0);
	pthread_t t[THREADS_MAX], trap[2];
	uint8_t *alias;

	rounds = argc > 1 ? atol(argv[1]) : 100000;
	n = n < 2 ? 2 : n > THREADS_MAX ? THREADS_MAX : n;
	grown = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	patched = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ftruncate(fd, PAGE))
		return 1;
	alias = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	sealed = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	emit(patched, 0);
	emit(alias, 0);
	for (long i = 1; i < n; i++)
		pthread_create(&t[i], NULL, runner, (void *)i);
	write_all(alias, patched);
	stop = 1;
	for (int i = 1; i < n; i++)
		pthread_join(t[i], NULL);
	stop = 0;
	if (trap_start(trap))
		return 1;
	sleep(2);
	stop = 1;
	pthread_join(trap[0], NULL);
	pthread_join(trap[1], NULL);
	if (!traps)
		fail("no INT3 was ever met");
	if (failure)
		printf("not ok code: %s\n", failure);
	else
		printf("ok code\n");
	return failure != NULL;
}
