/* SPDX-License-Identifier: MIT
 * Code that a disk puts into memory: reads functions from a disk into one page, over each other, and calls them.
 * Usage: dmacode DISK COUNT.  Runs in the guest; static. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

/* mov $n, %eax; ret */
static void write_code(unsigned char *at, unsigned n)
{
	at[0] = 0xb8;
	memcpy(at + 1, &n, 4);
	at[5] = 0xc3;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 0, fd = argc > 1 ? open(argv[1], O_RDWR | O_DIRECT) : -1, wrong = 0;
	unsigned char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0 || page == MAP_FAILED)
		return 2;
	for (int i = 0; i < count; i++) {
		for (int k = 0; k < 2 * PAGE; k += 512)
			write_code(page + k, (unsigned)(i * 1000 + k / 512));
		if (pwrite(fd, page, 2 * PAGE, (off_t)i * 2 * PAGE) != 2 * PAGE)
			return 2;
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < count; i++) {
			if (pread(fd, page, 2 * PAGE, (off_t)i * 2 * PAGE) != 2 * PAGE)
				return 2;
			for (int k = 0; k < 2 * PAGE; k += 512) {
				unsigned (*f)(void) = (unsigned (*)(void))(void *)(page + k);

				wrong += f() != (unsigned)(i * 1000 + k / 512);
			}
		}
	}
	printf(wrong ? "not ok fresh: %d calls ran old code\n" : "ok fresh\n", wrong);
	return wrong != 0;
}
