/* SPDX-License-Identifier: MIT */
#include "base/jail.h"

#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OTHERS (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWPID)

pid_t jail_fork(unsigned keep)
{
	static const unsigned long wanted[] = { CLONE_NEWUSER | OTHERS, OTHERS };
	unsigned long mask = keep & JAIL_NETWORK ? ~(unsigned long)CLONE_NEWNET : ~0ul;

	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		long pid = syscall(SYS_clone, (wanted[i] & mask) | SIGCHLD, NULL, NULL, NULL, NULL);

		if (pid >= 0)
			return (pid_t)pid;
	}
	return fork();
}

void jail_leave_files(void)
{
	/* A mount on any directory will do; the old root goes away with the last reference to it. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "size=4k,mode=555") ||
	    chdir("/proc") || syscall(SYS_pivot_root, ".", "."))
		return;
	if (umount2(".", MNT_DETACH) || chdir("/"))
		_exit(125);
}

void jail_drop_bounding(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
			return;
}

bool jail_drop_privileges(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	memset(data, 0, sizeof data);
	jail_drop_bounding();
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return !syscall(SYS_capset, &head, data) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
