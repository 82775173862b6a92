/* SPDX-License-Identifier: MIT
 * Carriers: the host processes of one vCPU, one for each guest root that is cached.
 *
 *   spare --choose()--> bound --choose(): root reused, or least recently used--> bound to another root
 *     ^                     `---retire(): the root's process has ended---> retiring --carrier_leave(), zygote--.
 *     `--------------------------------------------------------------------------------------------------------'
 *
 * Exactly one runs.  A switch stores the vector state, wakes the other and sleeps; everything else
 * that matters is in shared memory already.  The zygote, which never runs guest code, forks them. */
#include "monitor/private.h"
#include "base/sys.h"
#include "shadow/shadow.h"

#define BOUND_MAX (SH->max_carriers - 4)

static void xsave(void)
{
	u64 mask = SH->host_xcr0 & ~BIT(9);

	__asm__ volatile("xsave64 %0" : "+m"(VCPU->xstate) : "a"((u32)mask), "d"((u32)(mask >> 32)) : "memory");
}

static void xrstor(void)
{
	u64 mask = SH->host_xcr0 & ~BIT(9);

	__asm__ volatile("xrstor64 %0" : : "m"(VCPU->xstate), "a"((u32)mask), "d"((u32)(mask >> 32)) : "memory");
}

/* The kernel's half is every root's: what other carriers' guests flushed of it. */
static void flush_kernel(void)
{
	u64 now = VCPU->kernel_epoch;
	bool everything = now - my.kernel_epoch > KERNEL_FLUSHES;

	for (u64 i = my.kernel_epoch; i != now && !everything; i++)
		everything = VCPU->kernel_flushed[i % KERNEL_FLUSHES] == KERNEL_EVERYTHING;
	if (everything)
		space_flush_all(CPU);
	else
		for (u64 i = my.kernel_epoch; i != now; i++)
			space_invalidate(CPU, VCPU->kernel_flushed[i % KERNEL_FLUSHES]);
	my.kernel_epoch = now;
	itlb_clear();
}

void carrier_check(bool user_flushed)
{
	if (SH->knobs.check && !smp() && ++my.checks % SH->knobs.check == 0)
		space_check(CPU, user_flushed);
}

/* What happened while this carrier slept. */
void carrier_catch_up(void)
{
	struct carrier_slot *s = &VCPU->carriers[my.number];
	bool stale = s->stale;

	space_set_root(s->cr3);
	if (s->recycle) {
		space_recycle(CPU);
		s->recycle = false;
		s->stale = false;
	}
	if (my.rights_epoch != VCPU->rights_epoch) {
		my.rights_epoch = VCPU->rights_epoch;
		space_drop_all();
	}
	if (my.kernel_epoch != VCPU->kernel_epoch)
		flush_kernel();
	if (my.folds_epoch != SHADOW->folds_epoch) {
		my.folds_epoch = SHADOW->folds_epoch;
		space_yield_contested();
	}
	if (s->stale) {
		s->stale = false;
		space_flush_user(CPU);
	}
	frames_catch_up(&my.code_epoch);
	carrier_check(stale);
	if (space_code_changed() || my.generation != CACHE->generation || debug_on(CPU)) {
		code_reset();
	} else {
		slots_catch_up();
	}
}

/* A root without any user mapping belongs to a process that has ended (or to none). */
static bool root_dead(u64 root)
{
	const u64 *p = ram_pointer(root);

	for (int i = 0; p && i < 256; i++)
		if (p[i] & PTE_P)
			return false;
	return true;
}

/* One that another carrier has asked to go: the tables that it watches are watched by one carrier less. */
static _Noreturn void carrier_leave(struct carrier_slot *s)
{
	u32 back = s->successor;

	tables_forget();
	cache_rest();
	atomic_store(&VCPU->current, back);
	atomic_store(&VCPU->carriers[back].run, 1);
	futex_wake(&VCPU->carriers[back].run);
	sys1(__NR_exit_group, 0);
	__builtin_unreachable();
}

static void hand_over(u32 to)
{
	struct carrier_slot *s = &VCPU->carriers[to];

	xsave();
	cache_rest();
	atomic_store(&VCPU->current, to);
	atomic_store(&s->run, 1);
	futex_wake(&s->run);
	carrier_sleep();
}

static void retire(u32 n)
{
	struct carrier_slot *s = &VCPU->carriers[n];

	instances_release(n);
	s->successor = my.number;
	s->cr3 = ~0ull;
	s->stale = s->recycle = false;
	atomic_store(&s->retiring, true);
	hand_over(n);
}

#define DEAD_KEPT 4 /* for roots to come */
#define RETIRED_AT_ONCE 8
#define RETIRE_EVERY (NSEC / 4)

/* What a carrier has mapped costs the host page tables and notes, megabytes of them, until another root gets it.  After a
 * crowd of processes has ended that may be never. */
void carriers_retire(void)
{
	u64 now = now_ns();

	if (now - VCPU->retired < RETIRE_EVERY)
		return;
	VCPU->retired = now;
	for (u32 gone = 0; gone < RETIRED_AT_ONCE; gone++) {
		u32 dead = 0, oldest = MAX_CARRIERS;

		for (u32 i = 0; i < VCPU->n_bound; i++) {
			const struct carrier_slot *s = &VCPU->carriers[i];

			if (i == my.number || s->cr3 == ~0ull || !root_dead(s->cr3))
				continue;
			dead++;
			if (oldest == MAX_CARRIERS || s->used < VCPU->carriers[oldest].used)
				oldest = i;
		}
		if (dead <= DEAD_KEPT)
			return;
		retire(oldest);
	}
}

#define VMAS_EVERY 4096 /* fills between two counts */

void carrier_count_vmas(void)
{
	my.vmas_at = SHADOW_COUNT->fills;
	VCPU->count.vmas_peak = MAX(VCPU->count.vmas_peak, (u64)space_vmas());
}

/* Carriers hand over to each other, so that they belong on one processor: waking one on another, idle one
 * costs more than what the switch is for.  Now and then the host's scheduler may move the one that runs;
 * where it then is becomes the place of all. */
#define PLACE_EVERY 256 /* events: about a second of ticks */

static u32 host_cpu(void)
{
	u32 lo, hi, cpu;

	__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(cpu));
	return cpu & 0xfff;
}

static void pin(u32 cpu)
{
	u64 mask[ARRAY_SIZE(SH->host_cpus)] = { 0 };

	my.pinned = cpu;
	if (cpu >= sizeof mask * 8 || !(SH->host_cpus[cpu / 64] >> cpu % 64 & 1))
		return;
	mask[cpu / 64] = BIT(cpu % 64);
	sys3(__NR_sched_setaffinity, 0, sizeof mask, mask);
}

/* After each start and each sleep. */
void carrier_keep_place(void)
{
	my.floating = false;
	if (my.pinned != VCPU->host_cpu)
		pin(VCPU->host_cpu);
}

/* At each event. */
void carrier_place(void)
{
	if (my.floating) {
		VCPU->host_cpu = host_cpu();
		carrier_keep_place();
	} else if (++my.placed % PLACE_EVERY == 0) {
		my.floating = true;
		my.pinned = ~0u;
		sys3(__NR_sched_setaffinity, 0, sizeof SH->host_cpus, SH->host_cpus);
	}
}

static u32 choose(u64 root)
{
	u32 spare = MAX_CARRIERS, oldest = MAX_CARRIERS, dead = MAX_CARRIERS, bound = 0;

	for (u32 i = 0; i < VCPU->n_bound; i++)
		if (VCPU->carriers[i].cr3 == root)
			return i;
	for (u32 i = 0; i < MIN(VCPU->n_bound + 1, SH->max_carriers); i++) {
		struct carrier_slot *s = &VCPU->carriers[i];

		if (s->cr3 == ~0ull) {
			if (s->retiring)
				continue;
			if (spare == MAX_CARRIERS || (s->alive && !VCPU->carriers[spare].alive))
				spare = i;
			continue;
		}
		bound++;
		if (i != my.number && dead == MAX_CARRIERS && root_dead(s->cr3))
			dead = i;
		if (i != my.number && (oldest == MAX_CARRIERS || s->used < VCPU->carriers[oldest].used))
			oldest = i;
	}
	SHADOW->roots = MAX(bound, 1u);
	if (dead != MAX_CARRIERS)
		oldest = dead;
	else if (spare != MAX_CARRIERS && bound < BOUND_MAX) {
		if (!VCPU->carriers[spare].alive) {
			VCPU->carriers[spare].alive = true;
			VCPU->count.carriers++;
			atomic_fetch_add(&SH->fork_wanted, 1);
			futex_wake(&SH->fork_wanted);
		}
		VCPU->n_bound = MAX(VCPU->n_bound, spare + 1);
		VCPU->carriers[spare].cr3 = root;
		return spare;
	}
	instances_release(oldest);
	VCPU->carriers[oldest].recycle = true;
	VCPU->carriers[oldest].cr3 = root;
	return oldest;
}

void carrier_switch(u64 cr3)
{
	u64 root = cr3 & PTE_ADDR;
	u32 to = choose(root);
	struct carrier_slot *s = &VCPU->carriers[to];

	s->used = ++VCPU->use_counter;
	s->pcid = CPU->cr4 & CR4_PCIDE ? cr3 & 0xfff : 0;
	if (to == my.number) {
		carrier_catch_up();
		return;
	}
	VCPU->count.switches++;
	if (SHADOW_COUNT->fills - my.vmas_at > VMAS_EVERY)
		carrier_count_vmas();
	/* Its own slots are up to date, those made from now on are not. */
	my.slots = slots_ready();
	hand_over(to);
}

void carrier_sleep(void)
{
	struct carrier_slot *s = &VCPU->carriers[my.number];

	while (!atomic_exchange(&s->run, 0))
		futex_wait(&s->run, 0, NULL);
	cache_work();
	if (s->retiring)
		carrier_leave(s);
	carrier_keep_place();
	xrstor();
	carrier_catch_up();
}

/* At a precise point, until the end. */
void carrier_park(void)
{
	xsave();
	cache_rest();
	atomic_store(&VCPU->parked, 1);
	futex_wake(&VCPU->parked);
	for (;;)
		futex_wait(&VCPU->parked, 1, NULL);
}

void carrier_arm_timer(u64 deadline)
{
	u64 now = now_ns();
	struct { struct host_timespec interval, value; } t = { { 0, 0 }, { 0, 0 } };

	if (deadline > now + LATE_BEAT)
		deadline = now + LATE_BEAT;
	atomic_store(&VCPU->late.awaited, deadline);
	atomic_store(&VCPU->late.due, now + LATE_BEAT);
	if (my.armed && my.armed <= deadline && my.armed > now)
		return;
	my.armed = deadline;
	deadline = deadline > now ? deadline - now : 1;
	if (deadline < 20000)
		deadline = 20000;
	t.value.sec = (s64)(deadline / NSEC);
	t.value.nsec = (s64)(deadline % NSEC);
	sys4(__NR_timer_settime, my.timer, 0, &t, NULL);
}

/* ---- HLT ---- */

#define POLL_FIRST 8000u
#define POLL_MAX 64000u    /* ns; to be woken by the host takes some 5,000 to 50,000 */
#define POLL_YIELD 2000u   /* between two offers of the processor to others of the host's */
#define POLL_TAKEN 20000u  /* such an offer took so long: somebody took it */
#define POLL_PAUSE 200u

static bool kicked(void) { return VCPU->kick != VCPU->kick_seen; }

/* Looks for kicks for up to VCPU->poll_ns before the vCPU sleeps: who kicks then needs no system call, and the host none to let
 * the vCPU run.  Not where others want this processor. */
static void poll_for_kick(u64 now, u64 deadline)
{
	u64 end = MIN(now + VCPU->poll_ns, deadline), offered = now;

	if (!VCPU->poll_ns || VCPU->poll_pause) {
		VCPU->poll_pause -= VCPU->poll_pause != 0;
		return;
	}
	cache_idle(true);
	while (!kicked() && now < end) {
		__asm__ volatile("pause");
		now = now_ns();
		if (now - offered < POLL_YIELD)
			continue;
		sys0(__NR_sched_yield);
		offered = now_ns();
		if (offered - now > POLL_TAKEN) {
			VCPU->poll_pause = POLL_PAUSE;
			break;
		}
	}
}

/* As much as it was worth: sleeps that were just too long to be spared make it longer, long ones shorter (as KVM's
 * halt_poll_ns, Linux, Documentation/virt/kvm/halt-polling.rst). */
static void poll_adapt(u64 slept)
{
	if (slept > POLL_MAX)
		VCPU->poll_ns /= 2;
	else if (slept > VCPU->poll_ns)
		VCPU->poll_ns = MIN(MAX(VCPU->poll_ns * 2, POLL_FIRST), POLL_MAX);
}

void carrier_idle(u64 deadline)
{
	u64 begin = now_ns(), now;
	struct host_timespec t;

	atomic_store(&VCPU->late.awaited, 0);
	if (deadline <= begin)
		return;
	if (deadline - begin > NSEC)
		deadline = begin + NSEC;
	atomic_store(&VCPU->late.due, deadline);
	poll_for_kick(begin, deadline);
	now = now_ns();
	if (!kicked() && now < deadline) {
		t.sec = (s64)((deadline - now) / NSEC);
		t.nsec = (s64)((deadline - now) % NSEC);
		cache_idle(false);
		futex_wait(&VCPU->kick, VCPU->kick_seen, &t);
		now = now_ns();
	}
	cache_work();
	poll_adapt(now - begin);
	late_note(deadline);
}
