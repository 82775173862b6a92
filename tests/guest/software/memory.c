/* SPDX-License-Identifier: MIT
 * More separate mappings than a host process may have, and more address spaces than are kept at once: every
 * other page of a large area is touched, protected and read again, then shared with many children that
 * write to their own copies in turn. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 160000, STEP = 4096, PROTECTED = 30000, CHILDREN = 90, READ = 3000 };

static unsigned char value(size_t page) { return (unsigned char)(page * 7 + (page >> 9)); }

static int child(unsigned char *p, int number)
{
	unsigned char *own = p + (PROTECTED + 1 + 2 * (size_t)number) * STEP;

	for (int round = 1; round <= 8; round++) {
		for (size_t i = 0; i < READ; i += 2)
			if (p[i * STEP] != value(i))
				return 1;
		if (*own != round - 1)
			return 2;
		*own = (unsigned char)round;
		usleep(500);
	}
	return 0;
}

int main(void)
{
	unsigned char *p = mmap(NULL, (size_t)PAGES * STEP, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned x = 1;
	int bad = 0;

	if (p == MAP_FAILED || madvise(p, (size_t)PAGES * STEP, MADV_NOHUGEPAGE))
		return perror("mmap"), 1;
	for (size_t i = 0; i < PAGES; i += 2)
		p[i * STEP] = value(i);
	for (size_t n = 0; n < PAGES; n++) {
		x = x * 1664525 + 1013904223;
		size_t page = (x >> 4) % (PAGES / 2) * 2;

		if (p[page * STEP] != value(page))
			return printf("page %zu holds %d\n", page, p[page * STEP]), 1;
	}
	for (size_t i = 0; i < PROTECTED; i += 2)
		if (mprotect(p + i * STEP, STEP, PROT_READ))
			return perror("mprotect"), 1;
	for (size_t i = 0; i < PROTECTED; i += 2)
		if (p[i * STEP] != value(i))
			return printf("protected page %zu holds %d\n", i, p[i * STEP]), 1;
	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return perror("fork"), 1;
		if (!pid)
			_exit(child(p, i));
	}
	for (int i = 0; i < CHILDREN; i++) {
		int status;

		wait(&status);
		bad += status != 0;
	}
	return bad ? printf("%d children saw wrong memory\n", bad), 1 : 0;
}
