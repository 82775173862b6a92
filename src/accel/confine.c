/* SPDX-License-Identifier: MIT
 * Confinement of the front-end while a machine runs: seccomp(2). */
#include "accel/confine.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/syscall_filter.h"

#define LINE "penumbra: a running machine made a system call that it does not need, and was ended\n"

static void violated(int signal)
{
	(void)signal;
	if (write(STDERR_FILENO, LINE, sizeof LINE - 1) < 0)
		_exit(1);
	_exit(1);
}

/* What a running machine must never do.  Its threads share the whole process with the C library, so
 * this names what is denied; what devices need stays open until the run begins. */
#define DENY(call) { SYS_##call, 1, { } }
static const struct syscall_rule denied[] = {
	DENY(execve), DENY(execveat), DENY(fork), DENY(vfork), DENY(ptrace), DENY(process_vm_readv),
	DENY(process_vm_writev), DENY(process_madvise), DENY(pidfd_getfd), DENY(kcmp), DENY(unshare), DENY(setns),
	DENY(mount), DENY(umount2), DENY(pivot_root), DENY(chroot), DENY(move_mount), DENY(open_tree), DENY(fsopen),
	DENY(fsmount), DENY(fsconfig), DENY(fspick), DENY(mount_setattr), DENY(setuid), DENY(setgid), DENY(setreuid),
	DENY(setregid), DENY(setresuid), DENY(setresgid), DENY(setfsuid), DENY(setfsgid), DENY(setgroups),
	DENY(capset), DENY(bpf), DENY(perf_event_open), DENY(userfaultfd), DENY(keyctl), DENY(add_key),
	DENY(request_key), DENY(init_module), DENY(finit_module), DENY(delete_module), DENY(kexec_load),
	DENY(kexec_file_load), DENY(reboot), DENY(swapon), DENY(swapoff), DENY(syslog), DENY(acct), DENY(iopl),
	DENY(ioperm), DENY(modify_ldt), DENY(personality), DENY(chmod), DENY(fchmod), DENY(fchmodat), DENY(chown),
	DENY(lchown), DENY(fchown), DENY(fchownat), DENY(link), DENY(linkat), DENY(symlink), DENY(symlinkat),
	DENY(rename), DENY(renameat), DENY(renameat2), DENY(mkdir), DENY(mkdirat), DENY(rmdir), DENY(mknod),
	DENY(mknodat), DENY(setxattr), DENY(lsetxattr), DENY(fsetxattr), DENY(truncate), DENY(open_by_handle_at),
	DENY(name_to_handle_at), DENY(quotactl), DENY(settimeofday), DENY(clock_settime), DENY(adjtimex),
	DENY(clock_adjtime), DENY(sethostname), DENY(setdomainname), DENY(memfd_create), DENY(memfd_secret),
	DENY(io_uring_setup), DENY(io_uring_register), DENY(io_uring_enter), DENY(fanotify_init), DENY(uselib),
	DENY(vhangup), DENY(lookup_dcookie), DENY(nfsservctl), DENY(mbind), DENY(move_pages), DENY(migrate_pages),
	/* Threads stay possible, processes do not; clone3's arguments cannot be read, the library falls back. */
	{ SYS_clone, 1, { ARG_MASKED(0, 0, ~(u32)CLONE_THREAD) } },
	{ SYS_mmap, 1, { ARG_MASKED(2, 4, 3) } }, /* PROT_EXEC */
	{ SYS_mprotect, 1, { ARG_MASKED(2, 4, 3) } },
	{ SYS_pkey_mprotect, 1, { ARG_MASKED(2, 4, 3) } },
};
static const struct syscall_rule missing[] = { { SYS_clone3, 1, { } } };

static int install(const struct syscall_rule *rules, size_t n, unsigned action)
{
	struct sock_filter code[SYSCALL_FILTER_MAX(ARRAY_SIZE(denied))];
	struct sock_fprog program = { 0, code };

	program.len = syscall_filter_build(code, rules, n, 1, action, SECCOMP_RET_ALLOW);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			    SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
}

int confine_frontend(struct err *e)
{
	struct sigaction act = { .sa_handler = violated };

	if (sigaction(SIGSYS, &act, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return err_sys(e, errno, "giving up privileges");
	if (install(missing, ARRAY_SIZE(missing), SECCOMP_RET_ERRNO | ENOSYS) ||
	    install(denied, ARRAY_SIZE(denied), SECCOMP_RET_TRAP))
		return err_sys(e, errno, "system call filter of the front-end");
	return 0;
}
