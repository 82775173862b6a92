/* SPDX-License-Identifier: MIT
 * killat N PROGRAM ARGS: runs the program and kills it, not its children, with SIGKILL when it is about
 * to make its Nth system call.  Status 0: killed there; 3: it ended before; its calls are then on stdout. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long at = argc > 2 ? atol(argv[1]) : 0, stops = 0;
	int status;
	pid_t pid;

	if (at < 1)
		return 2;
	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 2;
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC);
	for (;;) {
		int sig;

		if (ptrace(PTRACE_SYSCALL, pid, 0, 0) < 0 && errno == ESRCH)
			return 2;
		if (waitpid(pid, &status, 0) != pid)
			return 2;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			printf("%ld\n", stops / 2);
			return 3;
		}
		sig = WSTOPSIG(status);
		if (sig != (SIGTRAP | 0x80))
			continue;
		if (++stops == 2 * at - 1) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return 0;
		}
	}
}
