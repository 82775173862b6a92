/* SPDX-License-Identifier: MIT
 * Changes its mappings at random and looks whether memory follows: what was unmapped or protected faults at once, what
 * was shared, copied, moved or replaced reads as it has to.  Several processes do so in turn, each with a model of its own.
 *
 * usage: churn SEED STEPS PROCESSES */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define PAGES 1024 /* of the arena: two last-level tables and parts of two more */
#define ARENA ((char *)0x1000ffc00000ul)

enum { GONE, NONE, READ, WRITE };

static struct { uint64_t value; uint8_t how; } model[PAGES];
static uint64_t state, stamp;
static unsigned long step;
static sigjmp_buf back;

static uint64_t dice(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

static void wrong(const char *what, long page)
{
	printf("not ok churn: %s at page %ld (%s), step %lu, pid %d\n", what, page,
	       (const char *[]){ "gone", "none", "read", "write" }[model[page].how], step, getpid());
	fflush(stdout);
	_exit(1);
}

static void caught(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

static volatile uint64_t *at(long page) { return (volatile uint64_t *)(ARENA + (unsigned long)page * PAGE) + page % 512; }

static void look(long page)
{
	volatile int got = 0;

	if (!sigsetjmp(back, 1)) {
		if (*at(page) != model[page].value)
			wrong("a wrong value", page);
		got = 1;
	}
	if (got != (model[page].how >= READ))
		wrong(got ? "a read that should fault" : "a read that should not fault", page);
}

static void put(long page)
{
	volatile int got = 0;
	uint64_t v = ++stamp * 0x9e3779b97f4a7c15ull;

	if (!sigsetjmp(back, 1)) {
		*at(page) = v;
		got = 1;
	}
	if (got != (model[page].how == WRITE))
		wrong(got ? "a write that should fault" : "a write that should not fault", page);
	if (got)
		model[page].value = v;
}

static void set(long page, long n, int how, int fresh)
{
	for (long i = page; i < page + n; i++) {
		if (!fresh && model[i].how == GONE)
			continue;
		model[i].how = (uint8_t)how;
		if (fresh)
			model[i].value = 0;
	}
}

static void change(long page, long n)
{
	static const int prots[] = { 0, PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
	char *p = ARENA + (unsigned long)page * PAGE;
	size_t bytes = (size_t)n * PAGE;
	int how = NONE + (int)dice(3);

	switch (dice(8)) {
	case 0: case 1:
		if (mmap(p, bytes, prots[how], MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != p)
			wrong("mmap", page);
		set(page, n, how, 1);
		break;
	case 2:
		munmap(p, bytes);
		set(page, n, GONE, 1);
		break;
	case 3: case 4: case 5:
		for (long i = page; i < page + n; i++)
			if (model[i].how != GONE) {
				mprotect(ARENA + (unsigned long)i * PAGE, PAGE, prots[how]);
				model[i].how = (uint8_t)how;
			}
		break;
	case 6:
		for (long i = page; i < page + n; i++)
			if (model[i].how != GONE && !madvise(ARENA + (unsigned long)i * PAGE, PAGE, MADV_DONTNEED))
				model[i].value = 0;
		break;
	default:
		if (n == 1 && model[page].how == WRITE && page + 1 < PAGES && page % 512 != 511) {
			/* One page over its neighbour; the values lie at different places within them. */
			uint64_t v = model[page].value;

			if (mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE) != p + PAGE)
				wrong("mremap", page);
			if (((volatile uint64_t *)(p + PAGE))[page % 512] != v)
				wrong("a wrong value after a move", page);
			model[page].how = GONE;
			model[page + 1].how = WRITE;
			model[page + 1].value = *at(page + 1);
		}
	}
}

/* The child sees what was there, changes it, and the parent sees nothing of that. */
static void fork_once(void)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 40; i++) {
			long page = (long)dice(PAGES);

			look(page);
			put(page);
			look(page);
		}
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		wrong("a child", 0);
}

/* Code that is written through another mapping than the one that it runs from, which read access brings back. */
static void code_once(void)
{
	static unsigned char *w, *x;
	uint32_t v = (uint32_t)dice(1u << 31);

	if (!w) {
		int fd = memfd_create("code", 0);

		if (fd < 0 || ftruncate(fd, PAGE))
			wrong("a memfd", 0);
		w = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		x = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
		close(fd);
		if (w == MAP_FAILED || x == MAP_FAILED)
			wrong("mappings of code", 0);
	}
	w[0] = 0xb8; /* mov eax, v; ret */
	memcpy(w + 1, &v, 4);
	w[5] = 0xc3;
	if (((uint32_t (*)(void))(uintptr_t)x)() != v)
		wrong("old code that ran", 0);
	mprotect(w, PAGE, PROT_READ);
	mprotect(w, PAGE, PROT_READ | PROT_WRITE);
	if (*(volatile unsigned char *)(w + 5) != 0xc3)
		wrong("code that reads wrong", 0);
}

static void run(unsigned long steps)
{
	for (step = 0; step < steps; step++) {
		long page = (long)dice(PAGES), n = dice(4) ? 1 : 1 + (long)dice(40);

		if (page + n > PAGES)
			n = PAGES - page;
		if (!dice(6))
			change(page, n);
		else if (!dice(200))
			fork_once();
		else if (!dice(60))
			code_once();
		for (long i = page; i < page + n && i < page + 6; i++) {
			if (dice(2))
				put(i);
			look(i);
		}
		if (!dice(16))
			usleep(0); /* the others' turn */
	}
	for (long i = 0; i < PAGES; i++)
		look(i);
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = caught, .sa_flags = SA_NODEFER };
	int processes = argc > 3 ? atoi(argv[3]) : 1, bad = 0, status;

	if (argc < 3)
		return 2;
	sigaction(SIGSEGV, &sa, NULL);
	for (int i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (pid)
			continue;
		state = strtoull(argv[1], NULL, 0) * 2 + 1 + (uint64_t)i * 0x9e3779b97f4a7c15ull;
		run(strtoul(argv[2], NULL, 0));
		_exit(0);
	}
	while (wait(&status) > 0)
		bad += status != 0;
	if (!bad)
		puts("ok churn");
	else
		printf("not ok churn: %d of %d processes, seed %s\n", bad, processes, argv[1]);
	return bad != 0;
}
