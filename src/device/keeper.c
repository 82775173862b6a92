/* SPDX-License-Identifier: MIT
 * The process that stands behind a device's: it has set up what the device needs, and forks the one that serves, as often
 * as that one is killed (worker.h).
 *
 *     set up --fork--> waiting --child killed: DIED--> set up
 *                         |--child ended in another way, SIGTERM of the front-end--> gone
 *
 * It reads nothing that the guest has written, so that its rights, those of its child and a few more, are out of
 * the guest's reach.  In a PID namespace of its own it is the first process: with it its child is gone.
 *
 * Invariants
 *  E1  Only one child lives at a time.
 *  E2  A child that died of anything but SIGKILL has no successor: what it did may have been the guest's doing. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/worker.h"

#define ALLOW(call) { SYS_##call, 1, { } }
/* What a keeper needs, and its child until it has its own filter: that forbids it. */
static const struct syscall_rule keeper_calls[] = {
	ALLOW(clone), ALLOW(clone3), ALLOW(wait4), ALLOW(kill), ALLOW(rt_sigtimedwait), ALLOW(seccomp), ALLOW(prctl),
	ALLOW(eventfd2), ALLOW(openat), ALLOW(fchdir), ALLOW(fcntl), ALLOW(set_tid_address), ALLOW(prlimit64), ALLOW(fstat), ALLOW(newfstatat),
	ALLOW(sysinfo), /* qsort() */
};

static _Noreturn void child(struct worker *w, const sigset_t *waited)
{
	struct err e = { 0 };
	char name[16];

	/* One with an end of its own sees its socket closed. */
	if (!w->class->end)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(name, sizeof name, "penumbra-%s", w->name);
	prctl(PR_SET_NAME, name);
	sigprocmask(SIG_UNBLOCK, waited, NULL);
	if (w->class->born && w->class->born(w, &e))
		worker_fail(w, "%s: %s", w->name, e.text);
	worker_filter(w, NULL, 0);
	worker_loop(w);
}

/* The child's status, once it has ended; -1: the front-end wants an end, and it was killed. */
static int await(pid_t pid, const sigset_t *waited)
{
	int status;

	for (;;) {
		int got = sigwaitinfo(waited, NULL);

		if (got == SIGTERM) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return -1;
		}
		if (got == SIGCHLD && waitpid(pid, &status, WNOHANG) == pid)
			return status;
	}
}

_Noreturn void keeper_run(struct worker *w)
{
	sigset_t waited;

	sigemptyset(&waited);
	sigaddset(&waited, SIGCHLD);
	sigaddset(&waited, SIGTERM);
	sigprocmask(SIG_BLOCK, &waited, NULL);
	worker_filter(w, keeper_calls, ARRAY_SIZE(keeper_calls));
	for (;; w->life++) {
		struct control c = { .life = w->life + 1 };
		pid_t pid = fork();
		int status;

		if (pid < 0)
			worker_fail(w, "%s: no process can be made: %s", w->name, strerror(errno));
		if (!pid)
			child(w, &waited);
		status = await(pid, &waited);
		if (status < 0)
			_exit(0);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)); /* E2 */
		worker_tell(w, &c, CONTROL_DIED);
	}
}
