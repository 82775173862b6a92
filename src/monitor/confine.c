/* SPDX-License-Identifier: MIT
 * Confinement: what the monitor's processes give up once they are set up.
 *
 * The zygote drops capabilities, limits, the descriptor of the shared state, and every mapping that the
 * kernel made for it, then installs a filter that permits only the rows below.  A carrier inherits all of
 * this; once its timer stands it gives up the zygote's calls as well.  A violation kills the process, the
 * zygote or the front-end notices and ends the machine.
 *
 * The namespaces are made by the front-end before the monitor starts (accel/bt.c).
 *
 * Invariants:
 *  C1  After confine_zygote() no process of the family can open anything, make an executable mapping,
 *      map anything but guest RAM, or gain a privilege.
 *  C2  Only the zygote, which never runs translated code, makes processes.  Carriers signal their own family
 *      only, with SIGUSR1: by number where the family has process numbers of its own, else all of it at once.
 *  C3  Below the spill area and above guest RAM nothing is mapped but what shadow/space.c mapped. */
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <linux/prctl.h>

#include "base/syscall_filter.h"
#include "monitor/devices.h"
#include "monitor/private.h"
#include "base/sys.h"

#define BY_ZYGOTE 1   /* also by a carrier before it is settled */
#define BY_ALL 2      /* and for ever by carriers */

#define BY_NOBODY 4   /* by a carrier that shares the host's process numbers */

#define CLOCK_MONOTONIC 1
#define SIGUSR1 10
#define SIGCHLD 17
#define READ_WRITE (PROT_READ | PROT_WRITE)
#define MAP_FLAGS (MAP_SHARED | MAP_FIXED)
#define USER_END 0x7ffffffff000ull

/* Frequent calls first: without checks the kernel answers from a bitmap, with them it runs the filter. */
static const struct syscall_rule rules[] = {
	{ __NR_mmap, BY_ALL, { ARG_WITHIN(2, READ_WRITE), ARG_MASKED(3, MAP_FLAGS, MAP_POPULATE), ARG_INT(4, FD_RAM) } },
	{ __NR_futex, BY_ALL, { ARG_INT(1, FUTEX_WAIT) } },
	{ __NR_futex, BY_ALL, { ARG_INT(1, FUTEX_WAKE) } },
	{ __NR_write, BY_ALL, { ARG_MASKED(0, FD_BELLS, BELLS - 1), ARG_LONG(2, 8) } },
	{ __NR_pkey_mprotect, BY_ALL, { ARG_WITHIN(2, READ_WRITE) } },
	{ __NR_mprotect, BY_ALL, { ARG_WITHIN(2, READ_WRITE) } },
	{ __NR_munmap, BY_ALL, { } },
	{ __NR_sched_yield, BY_ALL, { } },
	{ __NR_rt_sigreturn, BY_ALL, { } },
	{ __NR_timer_settime, BY_ALL, { } },
	{ __NR_sched_setaffinity, BY_ALL, { ARG_INT(0, 0), ARG_LONG(1, sizeof SH->host_cpus) } },
	{ __NR_restart_syscall, BY_ALL, { } },
	{ __NR_exit_group, BY_ALL, { } },
	{ __NR_clone, BY_ZYGOTE, { ARG_LONG(0, SIGCHLD), ARG_LONG(1, 0) } },
	{ __NR_wait4, BY_ZYGOTE, { } },
	{ __NR_clock_gettime, BY_ZYGOTE, { } },
	{ __NR_kill, BY_ALL, { ARG_INT(1, SIGUSR1) } },
	{ __NR_membarrier, BY_ALL, { ARG_INT(0, MEMBARRIER_CMD_GLOBAL_EXPEDITED) } },
	{ __NR_getpid, BY_ZYGOTE, { } },
	{ __NR_getppid, BY_ZYGOTE, { } },
	{ __NR_mremap, BY_ZYGOTE, { ARG_LONG(1, 0) } },
	{ __NR_timer_create, BY_ZYGOTE, { ARG_INT(0, CLOCK_MONOTONIC) } },
	{ __NR_prctl, BY_ZYGOTE, { ARG_INT(0, PR_SET_PDEATHSIG) } },
	{ __NR_membarrier, BY_ZYGOTE, { ARG_INT(0, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) } },
	{ __NR_kill, BY_NOBODY, { ARG_NOT(0, 0) } },
	{ __NR_seccomp, BY_ZYGOTE, { ARG_INT(0, SECCOMP_SET_MODE_FILTER) } },
};

static s64 install(u16 who, u32 action, u32 otherwise)
{
	struct sock_filter code[SYSCALL_FILTER_MAX(ARRAY_SIZE(rules))];
	struct { u16 length; const struct sock_filter *code; } program = { 0, code };

	program.length = syscall_filter_build(code, rules, ARRAY_SIZE(rules), who, action, otherwise);
	return sys3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
}

/* The initial stack, vdso, vvar and whatever else the kernel chose to map: their addresses belong to
 * the guest's programs.  Where they are sealed (Linux 6.16 with MSEAL_SYSTEM_MAPPINGS) they stay; then
 * the machine is refused: guest programs could read them. */
static void unmap_strangers(void)
{
	u64 spill = (u64)HOST(SPILL_DISP), ram_end = (u64)RAM_BASE + SHADOW->ram_size;

	if (host_munmap(0, spill) < 0 || host_munmap(ram_end, USER_END - ram_end) < 0)
		monitor_fail("this host's kernel seals the mappings that it makes (CONFIG_MSEAL_SYSTEM_MAPPINGS)");
}

static void drop_limits(void)
{
	static const u8 zero[] = { 4 /* CORE */, 1 /* FSIZE */, 7 /* NOFILE */, 8 /* MEMLOCK */, 12 /* MSGQUEUE */ };
	struct { u64 soft, hard; } none = { 0, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(zero); i++)
		sys4(__NR_prlimit64, 0, zero[i], &none, NULL);
}

static void drop_privileges(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	for (u32 cap = 0; sys5(__NR_prctl, PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		sys5(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
	sys5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (sys2(__NR_capset, &head, data) < 0)
		monitor_fail("cannot drop capabilities");
	if (sys5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		monitor_fail("cannot set no_new_privs");
	sys5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* Once, in the zygote, on the monitor's own stack, after everything is mapped. */
void confine_zygote(void)
{
	s64 r;

	unmap_strangers();
	sys1(__NR_close, FD_SHARED);
	drop_limits();
	drop_privileges();
	r = install(BY_ZYGOTE | BY_ALL, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
	if (r < 0)
		monitor_fail("this host does not let processes filter their system calls (seccomp): error %d", (int)-r);
}

/* Once in each carrier, when it needs nothing more of the zygote's rights. */
void confine_carrier(void)
{
	u16 nobody = SH->flags & MON_OWN_NUMBERS ? 0 : BY_NOBODY;

	if (install(BY_ZYGOTE | nobody, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW) < 0)
		monitor_fail("cannot install the filter of a carrier process");
}
