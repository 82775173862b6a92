/* SPDX-License-Identifier: MIT
 * System calls that do not go straight to the kernel: a row each.  syscall_class is what the expansion of
 * SYSCALL looks at (flow.c). */
#include "exec/exec.h"
#include "exec/hot.h"

#define ARCH_SET_GS 0x1001
#define ARCH_GET_GS 0x1004
#define AT_FDCWD (-100)
#define PR_SET_SECCOMP 22
#define SECCOMP_SET_MODE_STRICT 0
#define SECCOMP_SET_MODE_FILTER 1
#define SECCOMP_MODE_STRICT 1
#define BPF_MAX 4096

u8 syscall_class[65536];
static bool watching;

typedef s64 handler(struct thread *th, u64 nr, u64 *a);

static s64 do_exit(struct thread *th, u64 nr, u64 *a)
{
	if (nr == __NR_exit_group)
		exec_end((int)a[0]);
	thread_exit(th, a[0]);
	return 0;
}

static s64 do_arch_prctl(struct thread *th, u64 nr, u64 *a)
{
	struct spill *s = spill_of(th);

	switch (a[0]) {
	case ARCH_SET_GS:
		if (a[1] >> 47)
			return -EPERM;
		s->gs_base = a[1];
		return 0;
	case ARCH_GET_GS: {
		u64 v = s->gs_base;

		return guest_copy((void *)a[1], &v, 8);
	}
	default:
		return door_call(nr, a);
	}
}

/* glibc does without. */
static s64 do_rseq(struct thread *th, u64 nr, u64 *a)
{
	(void)th, (void)nr, (void)a;
	return -ENOSYS;
}

struct bpf { u16 code; u8 yes, no; u32 k; };
struct bpf_program { u16 n, pad[3]; struct bpf *rows; };

/* The runtime's own calls stay allowed whatever the program filters; those that it makes for the program are
 * told apart by where they come from.  `call` installs the program at a[at]. */
static s64 filtered(u64 nr, u64 *a, int at)
{
	const struct bpf head[] = {
		{ 0x20, 0, 0, 12 },                  /* upper half of the instruction's address */
		{ 0x15, 0, 7, 0 },
		{ 0x20, 0, 0, 8 },                   /* lower half */
		{ 0x15, 5, 0, (u32)(u64)door_after },
		{ 0x15, 4, 0, (u32)(u64)guest_after },
		{ 0x15, 3, 0, (u32)(u64)clone_after },
		{ 0x35, 0, 2, RUNTIME_BASE },
		{ 0x35, 1, 0, RUNTIME_END },
		{ 0x06, 0, 0, 0x7fff0000 },          /* allow */
	};
	struct bpf_program p;
	u64 args[6], n = ARRAY_SIZE(head);
	struct bpf *rows;
	s64 r;

	__builtin_memcpy(args, a, sizeof args);
	if (guest_copy(&p, (const void *)a[at], sizeof p))
		return -EFAULT;
	if (!p.n || p.n + n > BPF_MAX)
		return -EINVAL;
	r = host_mmap(0, BPF_MAX * sizeof *rows, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r < 0)
		return r;
	rows = (struct bpf *)r;
	__builtin_memcpy(rows, head, sizeof head);
	r = guest_copy(rows + n, p.rows, p.n * sizeof *rows);
	if (!r) {
		p.rows = rows;
		p.n = (u16)(p.n + n);
		args[at] = (u64)&p;
		r = sys6(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
	}
	host_munmap((u64)rows, BPF_MAX * sizeof *rows);
	return r;
}

static s64 do_seccomp(struct thread *th, u64 nr, u64 *a)
{
	(void)th;
	if (a[0] == SECCOMP_SET_MODE_STRICT)
		return -EINVAL;
	return a[0] == SECCOMP_SET_MODE_FILTER ? filtered(nr, a, 2) : door_call(nr, a);
}

static s64 do_prctl(struct thread *th, u64 nr, u64 *a)
{
	(void)th;
	if (a[0] == PR_SET_SECCOMP && a[1] == SECCOMP_MODE_STRICT)
		return -EINVAL;
	return a[0] == PR_SET_SECCOMP ? filtered(nr, a, 2) : door_call(nr, a);
}

bool is_own_exe(u64 path)
{
	char text[64], pid[32];

	/* A short string at the end of a page must not be read over. */
	for (size_t i = 0; i < sizeof text - 1; i++) {
		if (guest_copy(&text[i], (const void *)(path + i), 1))
			return false;
		text[i + 1] = 0;
		if (!text[i])
			break;
		if (i == 5 && __builtin_memcmp(text, "/proc/", 6))
			return false;
	}
	text_format(pid, sizeof pid, "/proc/%d/exe", (s32)sys0(__NR_getpid));
	return text_equal(text, "/proc/self/exe") || text_equal(text, pid) || text_equal(text, "/proc/thread-self/exe");
}

static s64 do_open(struct thread *th, u64 nr, u64 *a)
{
	u64 args[6];
	int at = nr == __NR_open ? 0 : 1;

	(void)th;
	__builtin_memcpy(args, a, sizeof args);
	if (is_own_exe(a[at]))
		args[at] = (u64)options.program;
	return door_call(nr, args);
}

static s64 do_readlink(struct thread *th, u64 nr, u64 *a)
{
	int at = nr == __NR_readlink ? 0 : 1;
	u64 n;

	(void)th;
	if (!is_own_exe(a[at]))
		return door_call(nr, a);
	n = MIN(text_length(options.program), a[at + 2]);
	if ((s32)a[at + 2] <= 0)
		return -EINVAL;
	return guest_copy((void *)a[at + 1], options.program, n) ? -EFAULT : (s64)n;
}

static const struct row { u16 nr; handler *call; } rows[] = {
	{ __NR_mmap, memory_call }, { __NR_munmap, memory_call }, { __NR_mprotect, memory_call },
	{ __NR_mremap, memory_call }, { __NR_pkey_mprotect, memory_call },
	{ __NR_rt_sigaction, signal_call }, { __NR_rt_sigprocmask, signal_call },
	{ __NR_rt_sigreturn, signal_call }, { __NR_sigaltstack, signal_call },
	{ __NR_clone, thread_call }, { __NR_fork, thread_call }, { __NR_vfork, thread_call },
	{ __NR_clone3, thread_call },
	{ __NR_execve, load_exec }, { __NR_execveat, load_exec },
	{ __NR_exit, do_exit }, { __NR_exit_group, do_exit },
	{ __NR_arch_prctl, do_arch_prctl }, { __NR_rseq, do_rseq },
	{ __NR_prctl, do_prctl }, { __NR_seccomp, do_seccomp },
	{ __NR_open, do_open }, { __NR_openat, do_open },
	{ __NR_readlink, do_readlink }, { __NR_readlinkat, do_readlink },
};

#define HANDLED 1
#define WATCHED 2
#define SAMPLED 4 /* a sample must not be seen to interrupt it */

void syscall_setup(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		syscall_class[rows[i].nr] = HANDLED;
}

void syscall_setup_sampled(void)
{
	for (u64 nr = 0; nr < 512; nr++)
		if (sample_interruptible(nr))
			syscall_class[nr] |= SAMPLED;
}

/* While pages are write-protected behind the program's back, the kernel may fail to write there. */
void syscall_watch(bool all)
{
	if (watching == all)
		return;
	watching = all;
	for (int i = 0; i < 512; i++)
		syscall_class[i] = (u8)(all ? syscall_class[i] | WATCHED : syscall_class[i] & ~WATCHED);
}

static handler *find(u64 nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].nr == nr)
			return rows[i].call;
	return NULL;
}

/* th stands at the instruction. */
_Noreturn void syscall_execute(struct thread *th)
{
	u64 nr = th->gpr[RAX], *g = th->gpr;
	u64 a[6] = { g[RDI], g[RSI], g[RDX], g[R10], g[R8], g[R9] };
	handler *call = nr < 65536 && (syscall_class[nr] & HANDLED) ? find(nr) : NULL;
	s64 r;

	stats.syscalls++;
	do {
		th->sampled = false;
		r = call ? call(th, nr, a) : door_call(nr, a);
	} while (r == -EINTR && th->sampled && !th->pending);
	if (r == -EFAULT && watching) {
		lock_take(&code_lock);
		bool again = memory_unwatch_all();

		lock_drop(&code_lock);
		if (again)
			r = call ? call(th, nr, a) : door_call(nr, a);
	}
	if (r != RESTART) {
		g[RAX] = (u64)r;
		th->rip += 2;
		g[RCX] = th->rip;
		g[R11] = th->flags;
	}
	run_fresh();
}
