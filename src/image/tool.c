/* SPDX-License-Identifier: MIT */
#include "image/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where programs for the superuser are, which an ordinary user's PATH leaves out. */
#define SEARCH_MORE "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
#define LINE_MAX_BYTES 1000

static volatile sig_atomic_t stopped;
static volatile pid_t running;

static const char *search_path(char *buffer, size_t size)
{
	const char *path = getenv("PATH");

	snprintf(buffer, size, "%s%s%s", path ? path : "", path ? ":" : "", SEARCH_MORE);
	return buffer;
}

static bool program_found(const char *name)
{
	char path[8192], full[4096], *at = path, *dir;

	search_path(path, sizeof path);
	while ((dir = strsep(&at, ":")))
		if (snprintf(full, sizeof full, "%s/%s", *dir ? dir : ".", name) < (int)sizeof full && !access(full, X_OK))
			return true;
	return false;
}

int tools_check(const struct tool *tools, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++)
		if (!program_found(tools[i].program))
			return err_set(e, -ENOENT, "the program %s is missing; install it: apt-get install %s",
				       tools[i].program, tools[i].package);
	return 0;
}

void tool_stop(void)
{
	pid_t pid = running;

	stopped = 1;
	if (pid > 0)
		kill(pid, SIGTERM);
}

static void child(const struct tool_job *job, int in, int out, pid_t parent)
{
	char path[8192];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(out, STDERR_FILENO) < 0)
		_exit(127);
	setenv("PATH", search_path(path, sizeof path), 1);
	setenv("LC_ALL", "C", 1);
	for (const char *const *v = job->env; v && *v; v++)
		putenv((char *)*v);
	execvp(job->argv[0], (char *const *)job->argv);
	_exit(127);
}

/* Hands on the program's output line by line, and keeps the last one that says something. */
static void read_lines(const struct tool_job *job, int fd, char *last, size_t size)
{
	char line[LINE_MAX_BYTES];
	size_t n = 0;
	char c[512];
	ssize_t got;

	while ((got = read(fd, c, sizeof c)) > 0 || (got < 0 && errno == EINTR)) {
		for (ssize_t i = 0; i < got; i++) {
			if (c[i] != '\n' && c[i] != '\r') {
				if (n < sizeof line - 1)
					line[n++] = c[i] >= ' ' && c[i] < 127 ? c[i] : ' ';
				continue;
			}
			line[n] = 0;
			if (n) {
				snprintf(last, size, "%s", line);
				if (job->line)
					job->line(job->opaque, line);
			}
			n = 0;
		}
	}
	line[n] = 0;
	if (n)
		snprintf(last, size, "%s", line);
}

/* Standard input of the program: an unlinked file with what it is given. */
static int open_input(const char *text)
{
	size_t n = text ? strlen(text) : 0;
	int fd;

	if (!text)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	fd = memfd_create("input", MFD_CLOEXEC);
	if (fd >= 0 && (write(fd, text, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int judge(const struct tool_job *job, int status, const char *last, struct err *e)
{
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFSIGNALED(status))
		return err_set(e, -EIO, "%s was ended by signal %d: %s", job->argv[0], WTERMSIG(status), last);
	return err_set(e, -EIO, "%s failed with status %d: %s", job->argv[0], WEXITSTATUS(status), last);
}

static int run(const struct tool_job *job, bool always, struct err *e)
{
	char last[LINE_MAX_BYTES] = "it said nothing";
	pid_t parent = getpid(), pid;
	int in, out[2], status = 0;

	in = open_input(job->input);
	if (in < 0)
		return err_sys(e, errno, "%s: its input", job->argv[0]);
	if (pipe2(out, O_CLOEXEC)) {
		close(in);
		return err_sys(e, errno, "%s: a pipe", job->argv[0]);
	}
	pid = fork();
	if (!pid)
		child(job, in, out[1], parent);
	close(in);
	close(out[1]);
	if (pid < 0) {
		close(out[0]);
		return err_sys(e, errno, "%s: fork", job->argv[0]);
	}
	running = pid;
	if (stopped && !always)
		kill(pid, SIGTERM);
	read_lines(job, out[0], last, sizeof last);
	close(out[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	running = 0;
	return judge(job, status, last, e);
}

int tool_run_always(const struct tool_job *job, struct err *e)
{
	return run(job, true, e);
}

int tool_run(const struct tool_job *job, struct err *e)
{
	struct err failure = { 0 };
	int rc = stopped ? -EINTR : run(job, false, &failure);

	if (stopped)
		return err_set(e, -EINTR, "%s: interrupted", job->argv[0]);
	return rc ? err_set(e, rc, "%s", failure.text) : 0;
}
