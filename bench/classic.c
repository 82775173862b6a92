/* SPDX-License-Identifier: MIT
 * Measures in the manner of UnixBench and lmbench, which Debian does not have or has in non-free: system calls, processes,
 * pipes, switches, files, memory, sockets, interrupts between processors.  A static program that runs natively
 * and in guests alike; prints `bench NAME NANOSECONDS`, the time of one unit of work: the least of three runs
 * of at least a fifth of a second.  Arguments choose measures; without them it runs all.
 *
 *	gcc -O2 -static -o classic bench/classic.c -lpthread -lm */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/membarrier.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (1u << 20)
#define FILE_NAME "classic.tmp"
#define FILE_SIZE (2u << 20)

static const char *self;
static volatile long sink;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void must(bool good, const char *what)
{
	if (!good)
		fail(what);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* ---- computing ---- */

struct record { struct record *next; int kind, number; char text[32]; };

/* Integers, text and records, as Dhrystone mixes them. */
static void m_integer(long n)
{
	struct record a = { 0 }, b = { &a, 1, 2, "some text of usual length" };

	for (long i = 0; i < n; i++) {
		a = b;
		a.number = (int)(i % 7) * b.number + (int)strlen(b.text);
		if (strcmp(a.text, b.text) > 0 || a.number % 5 == 2)
			strcpy(a.text, "another text, somewhat long");
		b.kind = a.next == &b ? 3 : a.number & 3;
		switch (b.kind) {
		case 0: b.number = a.number / 3 + 1; break;
		case 1: b.number = a.number - 7; break;
		default: b.number = (int)(i & 15);
		}
	}
	sink = a.number + b.number;
}

/* Arithmetic and transcendental functions, as Whetstone mixes them. */
static void m_float(long n)
{
	double x = 0.5, y = 0.3, t = 0.499975;

	for (long i = 0; i < n; i++) {
		x = t * atan(2.0 * sin(x) * cos(x) / (cos(x + y) + cos(x - y) - 1.0));
		y = sqrt(exp(log(fabs(y) + 1.0) / 1.1)) * t;
	}
	sink = (long)(x + y);
}

/* ---- system calls ---- */

static void m_getppid(long n)
{
	while (n--)
		syscall(SYS_getppid);
}

/* UnixBench's: five calls a unit. */
static void m_calls(long n)
{
	while (n--) {
		close(dup(0));
		syscall(SYS_getpid);
		syscall(SYS_getuid);
		umask(022);
	}
}

static void m_read(long n)
{
	int fd = open("/dev/zero", O_RDONLY);
	char c;

	while (n--)
		must(read(fd, &c, 1) == 1, "read");
	close(fd);
}

static void m_write(long n)
{
	int fd = open("/dev/null", O_WRONLY);

	while (n--)
		must(write(fd, "", 1) == 1, "write");
	close(fd);
}

static void m_stat(long n)
{
	struct stat st;

	while (n--)
		must(!stat("/usr", &st), "stat");
}

static void m_open(long n)
{
	while (n--)
		close(open("/etc/passwd", O_RDONLY));
}

/* ---- processes ---- */

static void wait_for(pid_t pid)
{
	int status;

	must(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "child");
}

static void m_fork(long n)
{
	while (n--) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		wait_for(pid);
	}
}

static void m_fork_exec(long n)
{
	while (n--) {
		pid_t pid = vfork();

		if (!pid) {
			execl(self, self, "--nothing", (char *)NULL);
			_exit(1);
		}
		wait_for(pid);
	}
}

static void m_shell(long n)
{
	while (n--) {
		pid_t pid = vfork();

		if (!pid) {
			execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
			_exit(1);
		}
		wait_for(pid);
	}
}

/* A process that replaces itself n times. */
static void m_execl(long n)
{
	char count[24];
	pid_t pid;

	snprintf(count, sizeof count, "%ld", n);
	pid = vfork();
	if (!pid) {
		execl(self, self, "--again", count, (char *)NULL);
		_exit(1);
	}
	wait_for(pid);
}

/* ---- pipes, sockets, switches ---- */

static void m_pipe(long n)
{
	char buffer[512] = { 0 };
	int p[2];

	must(!pipe(p), "pipe");
	while (n--)
		must(write(p[1], buffer, sizeof buffer) == sizeof buffer && read(p[0], buffer, sizeof buffer) == sizeof buffer, "pipe");
	close(p[0]);
	close(p[1]);
}

/* There and back between two processes; `in` and `out` are ours, the child has the other ends. */
static void ping(int in, int out, int child_in, int child_out, long n)
{
	pid_t pid = fork();
	char c = 0;

	if (!pid) {
		close(in);
		if (out != in)
			close(out);
		while (read(child_in, &c, 1) == 1)
			if (write(child_out, &c, 1) != 1)
				break;
		_exit(0);
	}
	close(child_in);
	if (child_out != child_in)
		close(child_out);
	while (n--)
		must(write(out, &c, 1) == 1 && read(in, &c, 1) == 1, "ping");
	close(out);
	if (out != in)
		close(in);
	wait_for(pid);
}

static void m_pingpong(long n)
{
	int a[2], b[2];

	must(!pipe(a) && !pipe(b), "pipe");
	ping(a[0], b[1], b[0], a[1], n);
}

static void m_unix(long n)
{
	int s[2];

	must(!socketpair(AF_UNIX, SOCK_STREAM, 0, s), "socketpair");
	ping(s[0], s[0], s[1], s[1], n);
}

static void tcp_pair(int s[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM, 0);

	must(l >= 0 && !bind(l, (void *)&a, size) && !listen(l, 1) && !getsockname(l, (void *)&a, &size), "listen");
	s[0] = socket(AF_INET, SOCK_STREAM, 0);
	must(!connect(s[0], (void *)&a, size), "connect");
	s[1] = accept(l, NULL, NULL);
	must(s[1] >= 0, "accept");
	close(l);
}

static void m_tcp(long n)
{
	int s[2];

	tcp_pair(s);
	ping(s[0], s[0], s[1], s[1], n);
}

static void m_tcp_connect(long n)
{
	while (n--) {
		int s[2];

		tcp_pair(s);
		close(s[0]);
		close(s[1]);
	}
}

/* n MiB from one process to another. */
static void stream(int from, int to, long n)
{
	static char buffer[65536];
	pid_t pid = fork();

	if (!pid) {
		close(from);
		for (long left = n * (BLOCK / (long)sizeof buffer); left--;)
			for (size_t done = 0; done < sizeof buffer;) {
				ssize_t part = write(to, buffer + done, sizeof buffer - done);

				if (part <= 0)
					_exit(1);
				done += (size_t)part;
			}
		_exit(0);
	}
	close(to);
	for (long left = n * (long)BLOCK; left > 0;) {
		ssize_t part = read(from, buffer, sizeof buffer);

		must(part > 0, "stream");
		left -= part;
	}
	close(from);
	wait_for(pid);
}

static void m_pipe_mib(long n)
{
	int p[2];

	must(!pipe(p), "pipe");
	stream(p[0], p[1], n);
}

static void m_unix_mib(long n)
{
	int s[2];

	must(!socketpair(AF_UNIX, SOCK_STREAM, 0, s), "socketpair");
	stream(s[0], s[1], n);
}

/* ---- files ---- */

/* Copies of FILE_SIZE bytes, read and written in pieces: one unit is a KiB. */
static void copy_file(long n, size_t piece)
{
	static char buffer[4096];
	int from = open(FILE_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600), to = open(FILE_NAME "2", O_RDWR | O_CREAT | O_TRUNC, 0600);

	must(from >= 0 && to >= 0 && !ftruncate(from, FILE_SIZE), FILE_NAME);
	for (long left = n * 1024, at = 0; left > 0; left -= (long)piece, at += (long)piece) {
		if (at + (long)piece > (long)FILE_SIZE) {
			at = 0;
			lseek(from, 0, SEEK_SET);
			lseek(to, 0, SEEK_SET);
		}
		must(read(from, buffer, piece) == (ssize_t)piece && write(to, buffer, piece) == (ssize_t)piece, "copy");
	}
	close(from);
	close(to);
	unlink(FILE_NAME);
	unlink(FILE_NAME "2");
}
static void m_copy_256(long n) { copy_file(n, 256); }
static void m_copy_1024(long n) { copy_file(n, 1024); }
static void m_copy_4096(long n) { copy_file(n, 4096); }

/* ---- memory ---- */

static void m_mmap(long n)
{
	while (n--) {
		char *p = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		must(p != MAP_FAILED, "mmap");
		*p = 1;
		munmap(p, BLOCK);
	}
}

/* First reads of pages of a file that is in the page cache. */
static void m_page_fault(long n)
{
	int fd = open(FILE_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600);
	long pages = FILE_SIZE / 4096;

	must(fd >= 0, FILE_NAME);
	for (long i = 0; i < pages; i++)
		must(pwrite(fd, "x", 1, i * 4096) == 1, "pwrite");
	while (n > 0) {
		volatile char *p = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, fd, 0);

		must(p != MAP_FAILED, "mmap");
		madvise((void *)(unsigned long)p, FILE_SIZE, MADV_RANDOM);
		for (long i = 0; i < pages && n-- > 0; i++)
			sink += p[(i * 7919 % pages) * 4096];
		munmap((void *)(unsigned long)p, FILE_SIZE);
	}
	close(fd);
	unlink(FILE_NAME);
}

static char *memory(void)
{
	static char *p;

	if (!p) {
		p = mmap(NULL, 32 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must(p != MAP_FAILED, "mmap");
		memset(p, 1, 32 * BLOCK);
	}
	return p;
}
static void m_memory_read(long n)
{
	const unsigned long *p = (void *)memory();

	for (long i = 0; i < n; i++) {
		const unsigned long *q = p + i % 32 * (BLOCK / 8);
		unsigned long sum = 0;

		for (size_t k = 0; k < BLOCK / 8; k++)
			sum += q[k];
		sink += (long)sum;
	}
}
static void m_memory_write(long n)
{
	for (long i = 0; i < n; i++)
		memset(memory() + i % 32 * BLOCK, (int)i, BLOCK);
}
static void m_memory_copy(long n)
{
	for (long i = 0; i < n; i++)
		memcpy(memory() + i % 16 * BLOCK, memory() + (16 + i % 16) * BLOCK, BLOCK);
}

/* ---- several processors ---- */

static atomic_bool ended;
static bool pinned(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return !sched_setaffinity(0, sizeof set, &set);
}

static void *spin(void *arg)
{
	atomic_bool *ready = arg;

	pinned(1);
	atomic_store(ready, true);
	while (!atomic_load_explicit(&ended, memory_order_relaxed))
		;
	return NULL;
}

/* membarrier(2) interrupts the processor that runs the other thread, and waits for it. */
static void m_ipi(long n)
{
	atomic_bool ready = false;
	pthread_t t;

	if (!pinned(0) || sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return;
	must(!syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0), "membarrier");
	atomic_store(&ended, false);
	must(!pthread_create(&t, NULL, spin, &ready), "thread");
	while (!atomic_load(&ready))
		sched_yield();
	while (n--)
		must(!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), "membarrier");
	atomic_store(&ended, true);
	pthread_join(t, NULL);
}

/* name, `several`: needs two processors */
#define MEASURES(M) \
	M(integer, 0) M(float, 0) M(getppid, 0) M(calls, 0) M(read, 0) M(write, 0) M(stat, 0) M(open, 0) M(fork, 0) \
	M(fork_exec, 0) M(shell, 0) M(execl, 0) M(pipe, 0) M(pingpong, 0) M(unix, 0) M(tcp, 0) M(tcp_connect, 0) \
	M(pipe_mib, 0) M(unix_mib, 0) M(copy_256, 0) M(copy_1024, 0) M(copy_4096, 0) M(mmap, 0) M(page_fault, 0) \
	M(memory_read, 0) M(memory_write, 0) M(memory_copy, 0) M(ipi, 1)
static const struct { const char *name; void (*run)(long n); bool several; } measures[] = {
#define ROW(name, several) { #name, m_##name, several },
	MEASURES(ROW)
#undef ROW
};

static double measure(void (*run)(long))
{
	double best = 0;
	long n = 1;

	for (int times = 0; times < 3;) {
		double from = now(), took;

		run(n);
		took = now() - from;
		if (took < 2e8 && !times) {
			n = took < 1e7 ? n * 8 : (long)((double)n * 2.4e8 / took) + 1;
			continue;
		}
		if (!times++ || took / (double)n < best)
			best = took / (double)n;
	}
	return best;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	self = "/proc/self/exe";
	if (argc > 1 && !strcmp(argv[1], "--nothing"))
		return 0;
	if (argc > 2 && !strcmp(argv[1], "--again")) {
		char count[24];
		long left = atol(argv[2]);

		if (left <= 0)
			return 0;
		snprintf(count, sizeof count, "%ld", left - 1);
		execl(self, self, "--again", count, (char *)NULL);
		return 1;
	}
	for (size_t i = 0; i < sizeof measures / sizeof *measures; i++) {
		bool wanted = argc < 2;

		for (int k = 1; k < argc; k++)
			wanted |= !strcmp(argv[k], measures[i].name);
		if (!wanted || (measures[i].several && sysconf(_SC_NPROCESSORS_ONLN) < 2))
			continue;
		printf("bench c_%s %.0f\n", measures[i].name, measure(measures[i].run));
	}
	return 0;
}
