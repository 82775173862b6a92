/* SPDX-License-Identifier: MIT
 * Hooks: programs run at points of a container's life, with its state on stdin. */
#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "container/launch.h"

static void __attribute__((noreturn)) hook_child(const struct oci_hook *h, int in)
{
	char *plain[] = { h->path, NULL };
	char *no_env[] = { NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (dup2(in, 0) < 0)
		_exit(126);
	syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
	execve(h->path, h->args.n ? h->args.v : plain, h->env.v ? h->env.v : no_env);
	dprintf(2, "hook %s: %s\n", h->path, strerror(errno));
	_exit(127);
}

/* Feeds the state; a hook that does not read it gets SIGPIPE's error here, which is its right. */
static void feed(int fd, const char *text)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;

	sigaction(SIGPIPE, &ignore, &old);
	fd_write_all(fd, text, strlen(text));
	sigaction(SIGPIPE, &old, NULL);
}

static int hook_wait(const struct oci_hook *h, pid_t pid, const char *what, size_t i, struct err *e)
{
	_cleanup_fd_ int fd = pidfd_open(pid, 0);
	struct pollfd p = { fd, POLLIN, 0 };
	int timeout = h->timeout.set ? (int)MIN(h->timeout.v * 1000, 2147483647) : -1;
	bool late = false;
	int status, r;

	do
		r = fd < 0 ? 1 : poll(&p, 1, timeout);
	while (r < 0 && errno == EINTR);
	if (!r) {
		late = true;
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (late)
		return err_set(e, -ETIMEDOUT, "hooks.%s[%zu]: %s ran longer than %lld s", what, i,
			       h->path, (long long)h->timeout.v);
	if (WIFSIGNALED(status))
		return err_set(e, -ECANCELED, "hooks.%s[%zu]: %s was ended by signal %d", what, i,
			       h->path, WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(e, -ECANCELED, "hooks.%s[%zu]: %s failed with status %d", what, i,
			       h->path, WEXITSTATUS(status));
	return 0;
}

int hooks_run(const struct oci_hook_list *hooks, const char *what, const char *state_json,
	      struct err *e)
{
	size_t i;
	int r = 0;

	for (i = 0; i < hooks->n && !r; i++) {
		int in[2];
		pid_t pid;

		if (pipe2(in, O_CLOEXEC) < 0)
			return err_sys(e, errno, "hooks.%s[%zu]: pipe", what, i);
		pid = fork();
		if (!pid)
			hook_child(&hooks->v[i], in[0]);
		close(in[0]);
		if (pid < 0) {
			close(in[1]);
			return err_sys(e, errno, "hooks.%s[%zu]: fork", what, i);
		}
		feed(in[1], state_json);
		close(in[1]);
		r = hook_wait(&hooks->v[i], pid, what, i, e);
	}
	return r;
}
