/* SPDX-License-Identifier: MIT */
#include "bench/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int counter_open(u64 config, bool host_kernel, pid_t pid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE, .size = sizeof attr, .config = config,
		.disabled = 1, .inherit = 1, .enable_on_exec = 1, .exclude_kernel = !host_kernel, .exclude_hv = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

double counter_take(int fd)
{
	u64 count = 0;

	if (fd < 0)
		return 0;
	if (read(fd, &count, sizeof count) != sizeof count)
		count = 0;
	close(fd);
	return (double)count;
}

/* FNV-1a over what was printed. */
static void hash_output(int fd, struct sample *s)
{
	unsigned char buffer[65536];
	ssize_t n;

	s->output = 0xcbf29ce484222325ull;
	s->output_bytes = 0;
	if (lseek(fd, 0, SEEK_SET))
		return;
	while ((n = read(fd, buffer, sizeof buffer)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			s->output = (s->output ^ buffer[i]) * 0x100000001b3ull;
		s->output_bytes += (u64)n;
	}
}

static void child(const char *const *argv, const char *directory, int go, int out, unsigned limit)
{
	struct rlimit cpu = { limit, limit + 1 };
	int null = open("/dev/null", O_RDWR);
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	setrlimit(RLIMIT_CPU, &cpu);
	if (chdir(directory) || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(null, STDERR_FILENO) < 0 || read(go, &c, 1) != 1)
		_exit(127);
	close(go);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

static double seconds_between(const struct timespec *a, const struct timespec *b)
{
	return (double)(b->tv_sec - a->tv_sec) + (double)(b->tv_nsec - a->tv_nsec) / 1e9;
}

static double seconds_of(const struct timeval *t) { return (double)t->tv_sec + (double)t->tv_usec / 1e6; }

/* Waits for the child; one that sleeps beyond the limit is killed with all that it started. */
static int wait_for(pid_t pid, unsigned limit, struct rusage *usage, const struct timespec *start)
{
	struct timespec now;
	sigset_t chld, before;
	int status = 0;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &before);
	for (;;) {
		struct timespec wait = { 1, 0 };

		if (wait4(pid, &status, WNOHANG, usage) == pid)
			break;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (seconds_between(start, &now) > limit)
			kill(-pid, SIGKILL);
		sigtimedwait(&chld, NULL, &wait);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status;
}

int sample_take(const char *const *argv, const char *directory, unsigned limit, struct sample *s, struct err *e)
{
	int out = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), go[2], instructions, cycles;
	struct timespec start, end;
	struct rusage usage;
	pid_t pid;

	if (out < 0)
		return err_sys(e, errno, "%s: a temporary file", directory);
	if (pipe2(go, O_CLOEXEC)) {
		close(out);
		return err_sys(e, errno, "a pipe");
	}
	pid = fork();
	if (!pid) {
		close(go[1]);
		child(argv, directory, go[0], out, limit);
	}
	close(go[0]);
	if (pid < 0) {
		close(go[1]);
		close(out);
		return err_sys(e, errno, "fork");
	}
	instructions = counter_open(PERF_COUNT_HW_INSTRUCTIONS, false, pid);
	cycles = counter_open(PERF_COUNT_HW_CPU_CYCLES, false, pid);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (write(go[1], "", 1) != 1)
		kill(pid, SIGKILL);
	close(go[1]);
	s->status = wait_for(pid, limit, &usage, &start);
	clock_gettime(CLOCK_MONOTONIC, &end);
	s->wall = seconds_between(&start, &end);
	s->cpu = seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime);
	s->instructions = counter_take(instructions);
	s->cycles = counter_take(cycles);
	hash_output(out, s);
	close(out);
	return 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median_of(double *values, int n)
{
	if (n <= 0)
		return 0;
	qsort(values, (size_t)n, sizeof *values, compare);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}
