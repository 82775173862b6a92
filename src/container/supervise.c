/* SPDX-License-Identifier: MIT
 * The foreground side of run and exec: signals in, status out, and a terminal carried between. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

#include "container/command.h"

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Reaps everything that has ended; true when `pid` was among it. */
static bool reap(pid_t pid, int *status)
{
	bool ours = false;
	pid_t one;
	int s;

	while ((one = waitpid(-1, &s, WNOHANG)) > 0)
		if (one == pid) {
			*status = exit_status(s);
			ours = true;
		}
	return ours;
}

static void copy_size(int console)
{
	struct winsize size;

	if (console >= 0 && !ioctl(0, TIOCGWINSZ, &size))
		ioctl(console, TIOCSWINSZ, &size);
}

/* Moves what is there; false at the end of `from`. */
static bool carry(int from, int to)
{
	char buf[8192];
	ssize_t n = read(from, buf, sizeof buf);

	return n > 0 ? !fd_write_all(to, buf, (size_t)n) : n < 0 && (errno == EINTR || errno == EAGAIN);
}

int supervise(pid_t pid, int console, struct err *e)
{
	struct termios before, raw;
	_cleanup_fd_ int signals = -1, own_console = console;
	bool is_tty = console >= 0 && !tcgetattr(0, &before), done = false, input = console >= 0;
	int status = 0;
	sigset_t all, old;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGTTOU);
	sigdelset(&all, SIGTTIN);
	if (sigprocmask(SIG_SETMASK, &all, &old) < 0)
		return err_sys(e, errno, "sigprocmask");
	signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return err_sys(e, errno, "signalfd");
	if (is_tty) {
		raw = before;
		cfmakeraw(&raw);
		tcsetattr(0, TCSANOW, &raw);
		copy_size(console);
	}
	done = reap(pid, &status);
	while (!done) {
		struct pollfd p[3] = { { signals, POLLIN, 0 }, { console, POLLIN, 0 },
				       { input ? 0 : -1, POLLIN, 0 } };
		struct signalfd_siginfo info;

		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents && !carry(console, 1))
			console = -1;
		if (p[2].revents && console >= 0 && !carry(0, console))
			input = false;
		while (read(signals, &info, sizeof info) == sizeof info) {
			if (info.ssi_signo == SIGCHLD)
				done = reap(pid, &status);
			else if (info.ssi_signo == SIGWINCH && is_tty)
				copy_size(own_console);
			else
				kill(pid, (int)info.ssi_signo);
			if (done)
				break;
		}
	}
	if (console >= 0) { /* what the process wrote last */
		struct pollfd p = { console, POLLIN, 0 };

		while (poll(&p, 1, 0) > 0 && (p.revents & POLLIN) && carry(console, 1))
			;
	}
	if (is_tty)
		tcsetattr(0, TCSANOW, &before);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return status;
}
