/* SPDX-License-Identifier: MIT
 * Threads and processes that the program makes.  Whoever shares memory with its maker gets an area of its own;
 * a fork keeps its copy of the maker's. */
#include "exec/exec.h"
#include "exec/hot.h"
#include "exec/keep.h"

#define CLONE_VM 0x100u
#define CLONE_SIGHAND 0x800u
#define CLONE_VFORK 0x4000u
#define CLONE_THREAD 0x10000u
#define CLONE_SETTLS 0x80000u
#define SIGCHLD 17
#define CLONE3_MAX 256

struct clone_args {
	u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static _Atomic u32 used[AREAS_MAX];
static u8 mapped[AREAS_MAX];
static _Atomic u32 running = 1;
static bool shared;
static u32 areas_top;
static _Atomic u32 areas_lock;

static _Atomic u32 stopping;

#define SI_QUEUE (-1)
#define KICK 0x70656e6b69636b21ull
#define KICK_AGAIN 1000000 /* nanoseconds: the signal may have met another one */

u32 threads_running(void) { return running; }
bool threads_shared(void) { return shared; }

void thread_name(struct thread *th)
{
	th->tid = (s32)sys0(__NR_gettid);
	th->pid = (s32)sys0(__NR_getpid);
}

bool thread_is_kick(const struct siginfo *info)
{
	return info->signo == SIGTRAP && info->code == SI_QUEUE && info->rest[0] == KICK;
}

void thread_outside(struct thread *th)
{
	th->kicked = 0;
	atomic_store(&th->inside, 0);
	if (atomic_load(&stopping))
		futex_wake(&th->inside);
}

bool thread_lock_inside(void)
{
	u32 free = 0;

	if (atomic_compare_exchange_strong(&code_lock, &free, 1))
		return true;
	while (atomic_exchange(&code_lock, 2)) {
		if (atomic_load(&stopping))
			return false;
		futex_wait(&code_lock, 2, NULL);
	}
	return true;
}

void thread_stop_others(void)
{
	const struct thread *me = here();
	const struct host_timespec wait = { 0, KICK_AGAIN };
	const struct siginfo kick = { .signo = SIGTRAP, .code = SI_QUEUE, .rest = { KICK } };

	if (running == 1)
		return;
	signal_setup_restart();
	atomic_store(&stopping, 1);
	for (u32 i = 0; i < areas_top; i++) {
		struct thread *th = THREAD_AT(AREAS_BASE + (u64)i * AREA_SIZE);

		while (used[i] && th != me && atomic_load(&th->inside)) {
			/* A handler that waits for the lock gives up, also one that was only about to when it was last woken. */
			sys3(__NR_futex, &code_lock, FUTEX_WAKE, ~0u >> 1);
			__atomic_store_n(&th->kicked, 1, __ATOMIC_SEQ_CST);
			sys4(__NR_rt_tgsigqueueinfo, th->pid, th->tid, SIGTRAP, &kick);
			futex_wait(&th->inside, 1, &wait);
		}
	}
	atomic_store(&stopping, 0);
}

struct thread *area_make(void)
{
	struct thread *th = NULL;
	u32 n = 0;

	lock_take(&areas_lock);
	while (n < areas_top && used[n])
		n++;
	u64 area = AREAS_BASE + (u64)n * AREA_SIZE;

	if (n < AREAS_MAX && (mapped[n] || host_mmap(area, AREA_MAPPED, PROT_READ | PROT_WRITE,
						      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) >= 0)) {
		mapped[n] = 1;
		used[n] = 1;
		areas_top = MAX(areas_top, n + 1);
		th = THREAD_AT(area);
		__builtin_memset((void *)area, 0, AREA_VECTORS);
		th->used = &used[n];
		th->stack = area + AREA_STACK_TOP;
	}
	lock_drop(&areas_lock);
	return th;
}

static struct sighand *sighand_copy(const struct sighand *from)
{
	s64 r = host_mmap(0, ALIGN_UP(sizeof(struct sighand), PAGE_SIZE), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (r < 0)
		return NULL;
	__builtin_memcpy((void *)r, from, sizeof *from);
	((struct sighand *)r)->lock = 0;
	((struct sighand *)r)->users = 1;
	return (struct sighand *)r;
}

static void sighand_leave(struct sighand *h)
{
	extern struct sighand first_sighand;

	if (atomic_fetch_sub(&h->users, 1) == 1 && h != &first_sighand)
		host_munmap((u64)h, ALIGN_UP(sizeof *h, PAGE_SIZE));
}

/* The child's first steps, on its own stack, with all signals blocked. */
_Noreturn void thread_begin(void)
{
	struct thread *th = here();

	thread_name(th);
	signal_setup_thread(th);
	if (!th->vforked)
		sample_start(th);
	signal_set_mask(th, th->mask);
	run_fresh();
}

static void release(struct thread *th)
{
	sighand_leave(th->hand);
	running--;
	*th->used = 0;
}

void thread_exit(struct thread *th, u64 status)
{
	u64 all = ~0ull;

	/* The parent, which waits, gives up the area. */
	if (th->vforked)
		sys1(__NR_exit, status);
	sample_stop(th);
	/* From here on the area may be another's. */
	sys4(__NR_rt_sigprocmask, 2, &all, NULL, 8);
	lock_take(&code_lock);
	hot_forget(th, true);
	lock_drop(&code_lock);
	sighand_leave(th->hand);
	running--;
	thread_leave(status, th->used);
}

/* Only this thread is in the new process. */
static void after_fork(struct thread *th)
{
	for (u32 i = 0; i < areas_top; i++)
		if (&used[i] != th->used)
			used[i] = 0;
	running = 1;
	hot_forget(th, false);
	keep_forked();
	areas_lock = 0;
	options.report[0] = 0;
	thread_name(th);
	sample_start(th);
}

static struct thread *child_of(const struct thread *th, u64 flags, u64 stack)
{
	struct thread *child = area_make();

	if (!child)
		return NULL;
	__builtin_memcpy(child->gpr, th->gpr, sizeof child->gpr);
	child->gpr[RAX] = 0;
	child->rip = th->rip + 2;
	child->gpr[RCX] = child->rip;
	child->gpr[R11] = child->flags = th->flags;
	if (stack)
		child->gpr[RSP] = stack;
	child->mask = th->mask;
	spill_of(child)->gs_base = spill_of(th)->gs_base;
	child->alt = th->alt;
	child->vforked = flags & CLONE_VFORK;
	if (!(flags & CLONE_VFORK))
		child->alt = (struct altstack){ 0, SS_DISABLE, 0, 0 };
	child->hand = flags & CLONE_SIGHAND ? th->hand : sighand_copy(th->hand);
	if (!child->hand) {
		*child->used = 0;
		return NULL;
	}
	if (flags & CLONE_SIGHAND)
		child->hand->users++;
	return child;
}

/* Makes the call; args are the five of clone(), or clone3's two. */
static s64 make(struct thread *th, u64 nr, u64 flags, u64 stack, const u64 *x)
{
	struct thread *child = NULL;
	u64 all = ~(SYNC_SIGNALS | UNBLOCKABLE), old = th->mask;
	s64 r;

	if (flags & CLONE_VM) {
		child = child_of(th, flags, stack);
		if (!child)
			return -EAGAIN;
		if (!running++ || !(flags & CLONE_VFORK)) {
			lock_take(&code_lock);
			/* What was made for one thread cannot be changed while others run it. */
			if (!shared && !(flags & CLONE_VFORK)) {
				shared = true;
				code_flush();
			}
			hot_unshare();
			lock_drop(&code_lock);
		}
	}
	/* Signals stay blocked until the child has a stack for them; what came before is delivered first. */
	sys4(__NR_rt_sigprocmask, 2, &all, NULL, 8);
	if (th->pending) {
		if (child)
			release(child);
		return RESTART;
	}
	if (!child)
		lock_take(&code_lock);
	r = clone_call(nr, x[0], x[1], x[2], x[3], x[4], child ? (u64)spill_of(child) : 0);
	if (!child)
		lock_drop(&code_lock);
	if (!child && !r) {
		after_fork(th);
		if (stack)
			th->gpr[RSP] = stack;
	}
	if (child && (r < 0 || (flags & CLONE_VFORK)))
		release(child);
	signal_set_mask(th, old);
	return r;
}

static s64 do_clone3(struct thread *th, u64 *a)
{
	struct { struct clone_args c; u8 more[CLONE3_MAX - sizeof(struct clone_args)]; } copy = { 0 };
	u64 size = a[1], stack;

	if (size < 64 || size > sizeof copy)
		return size > PAGE_SIZE ? -7 : -EINVAL;
	if (guest_copy(&copy, (const void *)a[0], size))
		return -EFAULT;
	stack = copy.c.stack ? copy.c.stack + copy.c.stack_size : 0;
	if (!copy.c.stack != !copy.c.stack_size)
		return -EINVAL;
	copy.c.stack = copy.c.stack_size = 0;
	u64 x[5] = { (u64)&copy, size };

	return make(th, __NR_clone3, copy.c.flags, stack, x);
}

s64 thread_call(struct thread *th, u64 nr, u64 *a)
{
	u64 x[5] = { SIGCHLD };

	switch (nr) {
	case __NR_clone3:
		return do_clone3(th, a);
	case __NR_vfork:
		x[0] = CLONE_VM | CLONE_VFORK | SIGCHLD;
		break;
	case __NR_clone:
		x[0] = a[0];
		x[2] = a[2];
		x[3] = a[3];
		x[4] = a[4];
		break;
	default:
		break;
	}
	return make(th, __NR_clone, x[0], nr == __NR_clone ? a[1] : 0, x);
}
