/* SPDX-License-Identifier: MIT
 * The measurements of `make bench` that are taken inside a system: the same static program runs on the
 * host, in a QEMU guest and in a Penumbra guest.
 *
 *	guestbench [NAME...]     measures everything, or what is named, in the order of the table
 *
 * Prints one line `bench NAME NANOSECONDS` a measurement, and ends with status 1 if one of them failed.
 * One process, pinned with all its children to one processor: the guests have one, so the host gets one. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define DATA "/tmp/guestbench.data"
#define DATA_SIZE (8 << 20)

/* A measurement returns nanoseconds of one operation, or -1. */
typedef double measure_fn(void);

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Starts a program in a child; its output goes nowhere. */
static pid_t start(const char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
			_exit(126);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	return pid;
}

static int finish(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static double start_repeatedly(const char *const argv[], int times)
{
	double from = now();

	for (int i = 0; i < times; i++)
		if (finish(start(argv)))
			return -1;
	return (now() - from) / times;
}

static const char *const busybox_true[] = {"/bin/busybox", "true", NULL};
static const char *const bash_nothing[] = {"/bin/bash", "-c", ":", NULL};
static const char *const perl_nothing[] = {"/usr/bin/perl", "-e", "1", NULL};
static const char *const shell_loop[] = {"/bin/busybox", "sh", "-c",
	"i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", NULL};

static double measure_bash_first(void) { return start_repeatedly(bash_nothing, 1); }
static double measure_bash_second(void) { return start_repeatedly(bash_nothing, 1); }
static double measure_perl_first(void) { return start_repeatedly(perl_nothing, 1); }
static double measure_perl_second(void) { return start_repeatedly(perl_nothing, 1); }
static double measure_exec_busybox(void) { return start_repeatedly(busybox_true, 100); }
static double measure_exec_bash(void) { return start_repeatedly(bash_nothing, 50); }
static double measure_shell_loop(void) { return start_repeatedly(shell_loop, 1); }

static double measure_fork(void)
{
	int times = 200;
	double from = now();

	for (int i = 0; i < times; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (finish(pid))
			return -1;
	}
	return (now() - from) / times;
}

static double measure_getppid(void)
{
	int times = 200000;
	double from = now();

	for (int i = 0; i < times; i++)
		syscall(SYS_getppid);
	return (now() - from) / times;
}

static double measure_clock(void)
{
	int times = 200000;
	double from = now();
	struct timespec t;

	for (int i = 0; i < times; i++)
		clock_gettime(CLOCK_MONOTONIC, &t);
	return (now() - from) / times;
}

static double touch_pages(size_t size, int advice)
{
	volatile char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double from;

	if (p == MAP_FAILED)
		return -1;
	/* A kernel without large pages refuses the advice, and is right to. */
	if (madvise((void *)p, size, advice) && errno != EINVAL)
		return -1;
	from = now();
	for (size_t i = 0; i < size; i += PAGE)
		p[i] = 1;
	from = (now() - from) / (double)(size / PAGE);
	munmap((void *)p, size);
	return from;
}

static double measure_page_small(void) { return touch_pages(32 << 20, MADV_NOHUGEPAGE); }
static double measure_page_large(void) { return touch_pages(64 << 20, MADV_HUGEPAGE); }

/* Maps, touches and unmaps 16 pages. */
static double measure_mmap_churn(void)
{
	int times = 500;
	size_t size = 16 * PAGE;
	double from = now();

	for (int i = 0; i < times; i++) {
		volatile char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return -1;
		for (size_t at = 0; at < size; at += PAGE)
			p[at] = 1;
		munmap((void *)p, size);
	}
	return (now() - from) / times;
}

/* One byte through a pipe and back out, in one process. */
static double measure_pipe(void)
{
	int times = 50000, ends[2];
	double from;
	char byte = 0;

	if (pipe(ends))
		return -1;
	from = now();
	for (int i = 0; i < times; i++)
		if (write(ends[1], &byte, 1) != 1 || read(ends[0], &byte, 1) != 1)
			return -1;
	from = (now() - from) / times;
	close(ends[0]);
	close(ends[1]);
	return from;
}

/* One byte to another process and back. */
static double measure_ping_pong(void)
{
	int times = 5000, there[2], back[2];
	double from;
	char byte = 0;
	pid_t pid;

	if (pipe(there) || pipe(back))
		return -1;
	pid = fork();
	if (pid == 0) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1)
			if (write(back[1], &byte, 1) != 1)
				_exit(1);
		_exit(0);
	}
	close(there[0]);
	close(back[1]);
	from = now();
	for (int i = 0; i < times; i++)
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			return -1;
	from = (now() - from) / times;
	close(there[1]);
	close(back[0]);
	return finish(pid) ? -1 : from;
}

/* Two processes that only yield to each other; one yield is one switch of address space. */
static double measure_switch(void)
{
	int times = 10000;
	double from = now();
	pid_t pid = fork();

	for (int i = 0; i < times; i++)
		sched_yield();
	if (pid == 0)
		_exit(0);
	return finish(pid) ? -1 : (now() - from) / (2 * times);
}

/* Text that compresses about as well as a log does. */
static int make_data(void)
{
	static const char *const words[] = {"kernel", "page", "fault", "at", "entry", "table", "shadow", "write",
		"clock", "device", "queue", "block", "trace", "signal", "process", "memory"};
	FILE *f = fopen(DATA, "w");
	uint64_t state = 1;
	long size = 0;

	if (!f)
		return -1;
	while (size < DATA_SIZE) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		size += fprintf(f, "%s %x%c", words[state >> 60], (unsigned)(state >> 40 & 0xfff),
				(state >> 36 & 7) ? ' ' : '\n');
	}
	return fclose(f) ? -1 : 0;
}

static double measure_mix(void)
{
	static const char *const jobs[][5] = {
		{"/bin/gzip", "-c", DATA, NULL},
		{"/usr/bin/perl", "-e", "for my $i (1..300000) { $n{$i % 1000} .= 'x' if $i =~ /[37]/ }", NULL},
		{"/bin/bash", "-c", "for ((i = 0; i < 60000; i++)); do a[i % 100]=$((i * 3)); done", NULL},
		{"/usr/bin/openssl", "dgst", "-sha3-256", DATA, NULL},
	};
	pid_t pids[sizeof(jobs) / sizeof(jobs[0])];
	double from;
	int bad = 0;

	if (make_data())
		return -1;
	from = now();
	for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
		pids[i] = start(jobs[i]);
	for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
		bad |= finish(pids[i]);
	from = now() - from;
	unlink(DATA);
	return bad ? -1 : from;
}

/* The first starts come first: nothing has run these programs before. */
static const struct {
	const char *name;
	measure_fn *measure;
} measures[] = {
	{"bash_first", measure_bash_first},
	{"bash_second", measure_bash_second},
	{"perl_first", measure_perl_first},
	{"perl_second", measure_perl_second},
	{"getppid", measure_getppid},
	{"clock_gettime", measure_clock},
	{"fork", measure_fork},
	{"exec_busybox", measure_exec_busybox},
	{"exec_bash", measure_exec_bash},
	{"page_small", measure_page_small},
	{"page_large", measure_page_large},
	{"mmap_churn", measure_mmap_churn},
	{"pipe", measure_pipe},
	{"ping_pong", measure_ping_pong},
	{"switch", measure_switch},
	{"shell_loop", measure_shell_loop},
	{"mix", measure_mix},
};

static int wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(name, argv[i]))
			return 1;
	return argc < 2;
}

int main(int argc, char **argv)
{
	cpu_set_t one;
	int failed = 0;

	if (sched_getaffinity(0, sizeof(one), &one) == 0) {
		int cpu = 0;

		while (!CPU_ISSET(cpu, &one))
			cpu++;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
	}
	for (size_t i = 0; i < sizeof(measures) / sizeof(measures[0]); i++) {
		double ns;

		if (!wanted(measures[i].name, argc, argv))
			continue;
		ns = measures[i].measure();
		if (ns < 0) {
			printf("bench %s failed\n", measures[i].name);
			failed = 1;
		} else {
			printf("bench %s %.0f\n", measures[i].name, ns);
		}
		fflush(stdout);
	}
	return failed;
}
