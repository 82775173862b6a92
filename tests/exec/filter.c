/* SPDX-License-Identifier: MIT
 * A seccomp filter of the program's own applies to the program and leaves the runtime alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile int caught;
static void on_signal(int sig) { caught = sig; }

int main(void)
{
	static const int allowed[] = { SCMP_SYS(write), SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn), SCMP_SYS(getpid),
				       SCMP_SYS(gettid), SCMP_SYS(tgkill), SCMP_SYS(rt_sigprocmask) };
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(ENOTTY));
	char line[200];
	int n = 0;

	signal(SIGUSR1, on_signal);
	for (unsigned i = 0; i < sizeof allowed / sizeof *allowed; i++)
		seccomp_rule_add(c, SCMP_ACT_ALLOW, allowed[i], 0);
	if (seccomp_load(c))
		return 1;
	n += sprintf(line + n, "getppid %d %d\n", getppid(), errno == ENOTTY);
	errno = 0;
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	n += sprintf(line + n, "mmap %d %d\n", p == MAP_FAILED, errno == ENOTTY);
	errno = 0;
	n += sprintf(line + n, "fork %d %d\n", fork(), errno == ENOTTY);
	errno = 0;
	n += sprintf(line + n, "exec %d %d\n", execl("/bin/true", "true", (char *)NULL), errno == ENOTTY);
	raise(SIGUSR1);
	n += sprintf(line + n, "signal %d\n", caught);
	if (write(1, line, (size_t)n) != n)
		return 1;
	_exit(4);
}
