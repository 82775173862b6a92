/* SPDX-License-Identifier: MIT
 * Several vCPUs at once: who may touch the code cache and its records, and how one vCPU makes the others
 * notice what it changed.
 *
 * One lock (SH->cache_lock) guards changes to blocks, records, instances, frames and the kernel's lookup
 * table.  Finding a block and running it take no lock: what others may read is complete before it can be
 * found, and code changes under those who run it by single aligned stores only (translate/block.c).
 *
 * Where a vCPU is (vcpu->where):
 *
 *     AT_REST --cache_work--> AT_WORK --smp_may_enter--> IN_GUEST
 *        ^ ---cache_rest, cache_lock---/   ^ ------exit, fault------/
 *        \--> POLLING (HLT): as AT_REST, and looks at vcpu->kick --> IDLE: sleeps on it
 *
 * Invariants:
 *  M1  Only a vCPU that is AT_WORK or IN_GUEST uses blocks, records, slots or the cache's memory; all of it is
 *      reused only by world_empty(), when no other vCPU is.  Whoever has waited for the lock therefore compares
 *      the generation before it goes on with a block that it found earlier.
 *  M2  A vCPU says that it is IN_GUEST before it looks whether there is something to notice, and whoever
 *      changes something looks where the others are after that: one of the two sees the other.
 *  M3  A signal that is pending is handled before the next guest instruction, and a memory barrier on all
 *      processors (membarrier(2)) makes each that runs one of us pass through the kernel.  After both, no other
 *      vCPU runs guest code that has not served the request first, whether or not the host runs it.
 *  M4  Nobody waits for the lock, or for another vCPU, while it is IN_GUEST but the handler that waits for
 *      world_go(), whose caller waits for nobody. */
#include "base/sys.h"
#include "monitor/private.h"
#include "shadow/shadow.h"

#define SIGUSR1 10
#define MEMBARRIER_GLOBAL_EXPEDITED 2
#define SPINS 100
#define STEP_NS 100000 /* between two looks, without membarrier */

static void pause_host(void) { __asm__ volatile("pause"); }

void lock_acquire(_Atomic u32 *word)
{
	u32 free = 0;

	for (int i = 0; i < SPINS; i++) {
		free = 0;
		if (atomic_load_explicit(word, memory_order_relaxed) == 0 && atomic_compare_exchange_strong(word, &free, 1))
			return;
		pause_host();
	}
	while (atomic_exchange(word, 2) != 0)
		futex_wait(word, 2, NULL);
}

void lock_release(_Atomic u32 *word)
{
	if (atomic_exchange(word, 0) == 2)
		futex_wake(word);
}

static void wake_all(_Atomic u32 *word) { sys3(__NR_futex, word, FUTEX_WAKE, 0x7fffffff); }

static void leave_cache(enum vcpu_where where)
{
	atomic_store(&VCPU->where, where);
	if (SH->emptying)
		wake_all(&VCPU->where);
}

void cache_rest(void)
{
	if (smp())
		leave_cache(AT_REST);
}

void cache_idle(bool polling) { leave_cache(polling ? POLLING : IDLE); }

void cache_work(void)
{
	for (;;) {
		atomic_store(&VCPU->where, AT_WORK);
		if (!SH->emptying || my.lock_depth)
			return;
		cache_rest();
		futex_wait(&SH->emptying, 1, NULL);
	}
}

void cache_lock(void)
{
	if (!smp() || my.lock_depth++)
		return;
	cache_rest();
	lock_acquire(&SH->cache_lock);
	atomic_store(&VCPU->where, AT_WORK);
}

void cache_unlock(void)
{
	if (!smp() || --my.lock_depth)
		return;
	atomic_store_explicit(&SH->slots_ready, CACHE->n_slots, memory_order_release);
	lock_release(&SH->cache_lock);
}

bool cache_lock_if(u32 generation)
{
	cache_lock();
	if (generation == CACHE->generation)
		return true;
	cache_unlock();
	return false;
}

u32 slots_ready(void) { return smp() ? SH->slots_ready : CACHE->n_slots; }

void vcpu_signal(const struct vcpu *v)
{
	/* Where processes have no numbers of their own, the whole family is told: no number from shared
	 * memory may reach others. */
	s64 pid = SH->flags & MON_OWN_NUMBERS ? (s64)v->pids[v->current % MAX_CARRIERS] : 0;

	sys2(__NR_kill, pid, SIGUSR1);
}

/* Afterwards no other vCPU runs guest code that has not seen what was stored before the call (M2, M3). */
static void shootdown(void)
{
	struct host_timespec step = { 0, STEP_NS };
	u32 served[MAX_VCPUS], told = 0;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (u32 n = 0; n < SH->n_vcpus; n++) {
		struct vcpu *v = VCPU_AT(n);

		if (n == VCPU->number || v->where != IN_GUEST)
			continue;
		served[n] = v->served;
		vcpu_signal(v);
		told |= 1u << n;
	}
	VCPU->count.shootdowns += told != 0;
	if (!told || ((SH->flags & MON_MEMBARRIER) && sys3(__NR_membarrier, MEMBARRIER_GLOBAL_EXPEDITED, 0, 0) >= 0))
		return;
	for (u32 n = 0; n < SH->n_vcpus; n++) {
		struct vcpu *v = VCPU_AT(n);

		while ((told >> n & 1) && v->where == IN_GUEST && v->served == served[n])
			futex_wait(&v->served, served[n], &step);
	}
}

void world_notice(void)
{
	if (smp())
		shootdown();
}

/* Both nest in the lock: one stops the others at a time. */
void world_stop(void)
{
	if (!smp())
		return;
	cache_lock();
	if (SH->stopped++)
		return;
	shootdown();
}

void world_go(void)
{
	if (!smp())
		return;
	if (--SH->stopped == 0)
		wake_all(&SH->stopped);
	cache_unlock();
}

/* The caller has the lock. */
void world_empty(void)
{
	if (!smp())
		return;
	SH->emptying = 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (u32 n = 0; n < SH->n_vcpus; n++) {
		struct vcpu *v = VCPU_AT(n);
		u32 where;

		while (n != VCPU->number && ((where = v->where) == AT_WORK || where == IN_GUEST)) {
			if (where == IN_GUEST)
				vcpu_signal(v);
			futex_wait(&v->where, where, NULL);
		}
	}
}

void world_fill(void)
{
	if (!smp())
		return;
	atomic_store(&SH->emptying, 0);
	wake_all(&SH->emptying);
}

static void wait_stopped(void)
{
	u32 stopped;

	while ((stopped = SH->stopped))
		futex_wait(&SH->stopped, stopped, NULL);
}

static bool behind(void)
{
	return my.code_epoch != __atomic_load_n(&SHADOW->code_epoch, __ATOMIC_ACQUIRE) ||
	       my.folds_epoch != __atomic_load_n(&SHADOW->folds_epoch, __ATOMIC_ACQUIRE);
}

static void catch_up(void)
{
	if (my.folds_epoch != SHADOW->folds_epoch) {
		my.folds_epoch = SHADOW->folds_epoch;
		space_yield_contested();
	}
	frames_catch_up(&my.code_epoch);
}

void smp_serve(void)
{
	if (!(SH->flags & MON_MEMBARRIER)) {
		atomic_fetch_add(&VCPU->served, 1);
		wake_all(&VCPU->served);
	}
	wait_stopped();
	if (behind())
		catch_up();
}

void smp_turn(void)
{
	atomic_store_explicit(&VCPU->where, AT_WORK, memory_order_relaxed);
	if (SH->stopped) {
		cache_rest();
		wait_stopped();
	}
	if (SH->emptying || VCPU->where != AT_WORK)
		cache_work();
	if (behind())
		catch_up();
	if (my.generation != CACHE->generation)
		code_reset();
}

bool smp_may_enter(void)
{
	atomic_exchange(&VCPU->where, IN_GUEST);
	if (!(SH->flags & MON_MEMBARRIER))
		atomic_fetch_add(&VCPU->served, 1);
	if (!SH->emptying && !SH->stopped && !behind() && my.generation == CACHE->generation && VCPU->kick == VCPU->kick_seen)
		return true;
	atomic_store(&VCPU->where, AT_WORK);
	return false;
}

void vcpu_kick(u32 n)
{
	struct vcpu *v = VCPU_AT(n);
	u32 where;

	atomic_fetch_add(&v->kick, 1);
	if (!smp()) {
		/* The zygote signals the carrier that runs. */
		futex_wake(&v->kick);
		atomic_fetch_add(&SH->fork_wanted, 1);
		futex_wake(&SH->fork_wanted);
		return;
	}
	where = v->where;
	if (where == IDLE)
		futex_wake(&v->kick);
	else if (where == IN_GUEST)
		vcpu_signal(v);
}
