/* SPDX-License-Identifier: MIT
 * Carriers: the host processes of one vCPU, one for each guest root that is cached.
 *
 *   spare --(a new root)--> bound --(root reused, or least recently used)--> bound to another root
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
	xsave();
	cache_rest();
	atomic_store(&VCPU->current, to);
	atomic_store(&s->run, 1);
	futex_wake(&s->run);
	carrier_sleep();
}

void carrier_sleep(void)
{
	struct carrier_slot *s = &VCPU->carriers[my.number];

	while (!atomic_exchange(&s->run, 0))
		futex_wait(&s->run, 0, NULL);
	cache_work();
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

void carrier_idle(u64 deadline)
{
	u64 now = now_ns();
	struct host_timespec t;

	atomic_store(&VCPU->late.awaited, 0);
	if (deadline <= now)
		return;
	if (deadline - now > NSEC)
		deadline = now + NSEC;
	t.sec = (s64)((deadline - now) / NSEC);
	t.nsec = (s64)((deadline - now) % NSEC);
	cache_idle();
	futex_wait(&VCPU->kick, VCPU->kick_seen, &t);
	cache_work();
	late_note(deadline);
}
