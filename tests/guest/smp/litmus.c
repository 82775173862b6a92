/* SPDX-License-Identifier: MIT
 * Runs in the guest: what processors promise each other about memory (SDM 3A 9.2, 9.1), and what a kernel promises
 * about mappings that it took back, between threads that are pinned to different processors.
 *
 *	litmus ROUNDS
 *
 * Prints `ok litmus` or `not ok litmus: WHAT`. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_MAX 8
#define PAGE 4096

static int n_threads;
static long rounds;
static atomic_int arrived, turn;
static _Atomic(const char *) failure;

static void fail(const char *what)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&failure, &none, what);
}

/* All threads wait here for each other. */
static void meet(void)
{
	int now = turn;

	if (atomic_fetch_add(&arrived, 1) == n_threads - 1) {
		arrived = 0;
		turn = now + 1;
		return;
	}
	for (int spins = 0; turn == now; spins++)
		if (spins > 1000)
			sched_yield();
}

/* ---- store buffering, message passing: two threads ---- */

static volatile int x __attribute__((aligned(64))), y __attribute__((aligned(64)));
static int seen[2] __attribute__((aligned(64)));

static void store_buffering(int me)
{
	for (long i = 0; i < rounds / 200; i++) {
		if (!me)
			x = y = 0;
		meet();
		if (me == 0) {
			x = 1;
			__asm__ volatile("mfence" : : : "memory");
			seen[0] = y;
		} else if (me == 1) {
			int one = 1;

			__asm__ volatile("xchg %0, %1" : "+r"(one), "+m"(y) : : "memory");
			seen[1] = x;
		}
		meet();
		if (!me && !seen[0] && !seen[1])
			fail("store buffering: neither saw the other");
	}
}

static volatile long message[8] __attribute__((aligned(64))), stamp __attribute__((aligned(64)));

static void message_passing(int me)
{
	for (long i = 1; me == 0 && i <= rounds; i++) {
		for (int k = 0; k < 8; k++)
			message[k] = i;
		stamp = i;
	}
	for (long at = 0; me == 1 && at < rounds; ) {
		at = stamp;
		__asm__ volatile("" : : : "memory");
		for (int k = 7; k >= 0; k--)
			if (message[k] < at)
				fail("message passing: the message is older than its stamp");
	}
}

/* ---- locked operations ---- */

/* Where a test may ask that some processors reach it by other ways than others. */
#define SHARED_AT 0x123456789000ul
static struct shared {
	struct { unsigned long low, high; } pair;
	long counter, plain_under_lock;
	int lock_word;
} __attribute__((aligned(16))) *const shared = (void *)SHARED_AT;
static unsigned char *crossing; /* 8 bytes on two pages */

static long did[THREADS_MAX];
static atomic_int finished;

static void add_pair(void)
{
	unsigned long a = shared->pair.low, d = shared->pair.high;
	unsigned char done;

	do
		__asm__ volatile("lock cmpxchg16b %1\n\tsetz %0"
				 : "=q"(done), "+m"(shared->pair), "+a"(a), "+d"(d)
				 : "b"(a + 1), "c"(d - 1) : "cc", "memory");
	while (!done);
}

static void add_locked(void)
{
	int busy = 1;

	for (;;) {
		__asm__ volatile("xchg %0, %1" : "+r"(busy), "+m"(shared->lock_word) : : "memory");
		if (!busy)
			break;
		sched_yield();
		busy = 1;
	}
	shared->plain_under_lock++;
	__atomic_store_n(&shared->lock_word, 0, __ATOMIC_RELEASE);
}

/* All go on until the slowest is done. */
static void locked(int me)
{
	long i = 0;

	for (; finished < n_threads; i++) {
		if (i == rounds / 4)
			finished++;
		__asm__ volatile("lock incq %0" : "+m"(shared->counter));
		if (!(i & 7))
			add_pair();
		if (!(i & 255))
			__asm__ volatile("lock addq $1, %0" : "+m"(*(unsigned long *)crossing));
		if (!(i & 15))
			add_locked();
	}
	did[me] = i;
}

static void check_locked(void)
{
	long all = 0, eighth = 0, sixteenth = 0, few = 0;

	for (int i = 0; i < n_threads; i++) {
		all += did[i];
		eighth += (did[i] + 7) / 8;
		sixteenth += (did[i] + 15) / 16;
		few += (did[i] + 255) / 256;
	}
	if (shared->counter != all)
		fail("lock inc lost a count");
	if (shared->pair.low != (unsigned long)eighth || shared->pair.high != -(unsigned long)eighth)
		fail("cmpxchg16b lost a count");
	if (*(unsigned long *)crossing != (unsigned long)few)
		fail("a locked add across two pages lost a count");
	if (shared->plain_under_lock != sixteenth)
		fail("a lock by xchg let two in");
}

/* ---- mappings ---- */

/* Each thread maps, marks, checks and unmaps pages of its own; an address changes hands all the time. */
static void map_and_unmap(int me)
{
	for (long i = 0; i < rounds / 400; i++) {
		size_t n = 1 + (size_t)(i * 7 + me) % 9;
		long *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED) {
			fail("mmap");
			return;
		}
		for (size_t k = 0; k < n; k++) {
			if (p[k * PAGE / sizeof *p])
				fail("a fresh page is not zero");
			p[k * PAGE / sizeof *p] = i << 8 | me;
		}
		for (size_t k = 0; k < n; k++)
			if (p[k * PAGE / sizeof *p] != (i << 8 | me))
				fail("a page changed under its owner");
		munmap(p, n * PAGE);
	}
}

static sigjmp_buf back[THREADS_MAX];
static __thread int self;
static volatile long *shared_page;
static atomic_int stop;

static void on_fault(int sig)
{
	(void)sig;
	siglongjmp(back[self], 1);
}

/* The first thread takes the right to write away; once the kernel has said so, no other may write any more. */
static void take_back(int me)
{
	if (me == 0) {
		for (long i = 0; i < rounds / 1000; i++) {
			long before;

			mprotect((void *)shared_page, PAGE, PROT_READ | PROT_WRITE);
			for (int k = 0; k < 200; k++)
				__asm__ volatile("pause");
			mprotect((void *)shared_page, PAGE, PROT_READ);
			before = shared_page[1];
			for (int k = 0; k < 200; k++)
				__asm__ volatile("pause");
			if (shared_page[1] != before)
				fail("a page was written after the right to was taken back");
			if (i % 16 == 0) {
				mprotect((void *)shared_page, PAGE, PROT_READ | PROT_WRITE);
				madvise((void *)shared_page, PAGE, MADV_DONTNEED);
			}
		}
		stop = 1;
		return;
	}
	while (!stop) {
		if (sigsetjmp(back[self], 1)) {
			sched_yield();
			continue;
		}
		while (!stop)
			shared_page[1] += 1;
	}
}

/* Fork while other threads write: the child's copy stands still. */
static volatile long beating[THREADS_MAX][8];

static void fork_and_look(int me)
{
	if (me == 0) {
		for (long i = 0; i < rounds / 10000 + 3; i++) {
			int status;
			pid_t pid = fork();

			if (pid == 0) {
				long before[THREADS_MAX];

				for (int k = 0; k < n_threads; k++)
					before[k] = beating[k][0];
				for (int k = 0; k < 2000; k++)
					__asm__ volatile("pause");
				for (int k = 0; k < n_threads; k++)
					if (beating[k][0] != before[k])
						_exit(1);
				_exit(0);
			}
			if (waitpid(pid, &status, 0) != pid || status)
				fail("a child saw its parent's later writes");
		}
		stop = 1;
		return;
	}
	while (!stop)
		beating[me][0]++;
}

/* ---- */

static void (*const parts[])(int me) = {
	store_buffering, message_passing, locked, map_and_unmap, take_back, fork_and_look,
};

static void *thread(void *arg)
{
	int me = (int)(long)arg;
	cpu_set_t set;

	self = me;
	CPU_ZERO(&set);
	CPU_SET(me % sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof set, &set);
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		meet();
		stop = 0;
		meet();
		parts[i](me);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	pthread_t t[THREADS_MAX];
	unsigned char *two;

	rounds = argc > 1 ? atol(argv[1]) : 100000;
	n_threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
	n_threads = n_threads < 2 ? 2 : n_threads > THREADS_MAX ? THREADS_MAX : n_threads;
	two = mmap((void *)SHARED_AT, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	crossing = two + PAGE - 4;
	shared_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGSEGV, &act, NULL);
	for (long i = 0; i < n_threads; i++)
		pthread_create(&t[i], NULL, thread, (void *)i);
	for (int i = 0; i < n_threads; i++)
		pthread_join(t[i], NULL);
	check_locked();
	if (failure)
		printf("not ok litmus: %s\n", failure);
	else
		printf("ok litmus\n");
	return failure != NULL;
}
