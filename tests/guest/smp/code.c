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
static uint8_t *grown, *patched, *sealed;
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

static void *runner(void *arg)
{
	unsigned seed = (unsigned)(long)arg * 2654435761u + 1;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((int)((long)arg % sysconf(_SC_NPROCESSORS_ONLN)), &set);
	sched_setaffinity(0, sizeof set, &set);
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
	pthread_t t[THREADS_MAX];
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
	if (failure)
		printf("not ok code: %s\n", failure);
	else
		printf("ok code\n");
	return failure != NULL;
}
