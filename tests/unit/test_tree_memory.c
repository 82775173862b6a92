/* SPDX-License-Identifier: MIT
 * Memory of a tree of processes: what a child and a grandchild touch counts, what they share does not.
 * LIBS: -lcmocka
 * NOSAN
 * WITH: bench/tree_memory.c */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/tree_memory.h"

#define SIZE (32u << 20)

/* A process that touches memory in `depth` generations and waits; says by a byte that it is done. */
static pid_t start(int flags, int depth, int done)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	signal(SIGTERM, SIG_DFL);
	if (depth > 1) {
		start(flags, depth - 1, done);
	} else {
		char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

		memset(p, 1, SIZE);
		if (write(done, "", 1) != 1)
			_exit(1);
	}
	for (;;)
		pause();
}

static u64 measure(int flags, int depth)
{
	int done[2], status;
	char byte;
	u64 before = tree_memory(getpid()), with;
	pid_t pid;

	assert_int_equal(pipe(done), 0);
	assert_int_equal(setpgid(0, 0), 0);
	signal(SIGTERM, SIG_IGN);
	pid = start(flags, depth, done[1]);
	assert_int_equal(read(done[0], &byte, 1), 1);
	with = tree_memory(getpid());
	kill(0, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(done[0]);
	close(done[1]);
	return with - before;
}

static void test_private(void **state)
{
	(void)state;
	assert_in_range(measure(MAP_PRIVATE, 1), SIZE, SIZE + SIZE / 4);
	assert_in_range(measure(MAP_PRIVATE, 3), SIZE, SIZE + SIZE / 4);
}

static void test_shared(void **state)
{
	(void)state;
	assert_in_range(measure(MAP_SHARED, 2), 4096, SIZE / 4);
}

static void test_nobody(void **state)
{
	(void)state;
	assert_int_equal(tree_memory(0x7ffffffe), 0);
	assert_true(tree_memory(getpid()) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_private), cmocka_unit_test(test_shared), cmocka_unit_test(test_nobody) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
