/* SPDX-License-Identifier: MIT
 * Where the program spends its time, for the hot tier: a timer of each thread's processor time sends SIGTRAP, so that
 * translated code carries no counters and costs nothing where it is not hot.
 *
 * No call of the program's may be seen to be interrupted by it.  The kernel restarts most of them by itself (SA_RESTART);
 * those that it never restarts go through C (sample_interruptible()), which makes them again.  The timer runs only
 * while the thread does, so a call that waits has hardly begun to wait then: nothing is waited for twice.
 * Sources: timer_create(2), signal(7).  Owner: the thread. */
#include "exec/exec.h"
#include "exec/hot.h"

#define CLOCK_THREAD_CPUTIME 3
#define SIGEV_THREAD_ID 4
#define SI_TIMER (-2)
#define MAGIC 0x70656e756d627261ull
#define INTERVAL 4000000  /* nanoseconds; the kernel's tick may be as long */
#define SLOW 40000000     /* when nothing comes of it any more */
#define PATIENCE 100      /* samples without a region until then */

struct sigevent { u64 value; s32 signo, notify, tid, pad[11]; };
struct interval { struct host_timespec every, first; };

static void set(const struct thread *th, s64 ns)
{
	struct interval v = { { 0, ns }, { 0, ns } };

	if (th->timer)
		sys4(__NR_timer_settime, th->timer - 1, 0, &v, NULL);
}

void sample_start(struct thread *th)
{
	struct sigevent ev = { .value = MAGIC, .signo = SIGTRAP, .notify = SIGEV_THREAD_ID, .tid = (s32)sys0(__NR_gettid) };
	s32 id;

	th->timer = 0;
	if (options.tier < 2 || sys3(__NR_timer_create, CLOCK_THREAD_CPUTIME, &ev, &id) < 0)
		return;
	th->timer = (u32)id + 1;
	th->samples = 0;
	set(th, INTERVAL);
}

void sample_stop(struct thread *th)
{
	if (th->timer)
		sys1(__NR_timer_delete, th->timer - 1);
	th->timer = 0;
}

bool sample_is(const struct siginfo *info)
{
	return info->signo == SIGTRAP && info->code == SI_TIMER && info->rest[0] == MAGIC;
}

void sample_count(struct thread *th, bool useful)
{
	u32 before = th->samples;

	th->samples = useful ? 0 : MIN(before + 1, PATIENCE);
	if (useful && before == PATIENCE)
		set(th, INTERVAL);
	else if (before == PATIENCE - 1 && !useful)
		set(th, SLOW);
}

bool sample_interruptible(u64 nr)
{
	switch (nr) {
	case __NR_poll: case __NR_ppoll: case __NR_select: case __NR_pselect6: case __NR_epoll_wait: case __NR_epoll_pwait:
	case __NR_epoll_pwait2: case __NR_pause: case __NR_nanosleep: case __NR_clock_nanosleep: case __NR_msgsnd:
	case __NR_msgrcv: case __NR_semop: case __NR_semtimedop: case __NR_rt_sigsuspend: case __NR_rt_sigtimedwait:
	case __NR_futex: case __NR_futex_waitv: case __NR_io_getevents: case __NR_io_uring_enter: case __NR_connect:
	case __NR_accept: case __NR_accept4: case __NR_recvfrom: case __NR_recvmsg: case __NR_recvmmsg: case __NR_sendto:
	case __NR_sendmsg: case __NR_sendmmsg:
		return true;
	default:
		return false;
	}
}
