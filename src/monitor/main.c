/* SPDX-License-Identifier: MIT
 * Start of the monitor: address space, protection keys, confinement; then the zygote's loop. */
#include "monitor/private.h"
#include "base/sys.h"
#include "shadow/shadow.h"
#include "x86/system.h"

#define PR_SET_PDEATHSIG 1
#define PR_SET_NAME 15
#define SIGKILL 9
#define SIGUSR1 10
#define SIGSYS 31
#define CLOCK_MONOTONIC 1
#define WNOHANG 1

extern u8 rdpkru_table[], wrpkru_table_open[], wrpkru_table_close[], wrpkru_syscall[], wrpkru_sysret[], pkru_syscall[], pkru_sysret[];
extern u8 wrpkru_soft_read[], wrpkru_soft_write[], wrpkru_soft[], wrpkru_soft_close[], pkru_soft[], pkru_soft_close[];
extern u8 wrpkru_leave_0[], wrpkru_leave_1[], wrpkru_enter_0[], wrpkru_enter_1[], wrpkru_signal[];
extern u8 __executable_start[], etext[], _end[];

/* Before the shared state is there nothing can be said but by the exit status. */
static void need(s64 r, int status)
{
	if (r < 0)
		sys1(__NR_exit_group, status);
}

static void map(s64 disp, u64 size, int prot, int fd, u64 offset)
{
	int flags = MAP_FIXED | (fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);

	need(host_mmap((u64)HOST(disp), size, prot, flags, fd, offset), 100);
}

static void protect(s64 disp, u64 size, int prot, int key)
{
	need(host_pkey_mprotect((u64)HOST(disp), size, prot, key), 102);
}

static void setup_keys(void)
{
	s64 k[KEYS];
	u8 *sites[] = { wrpkru_syscall, wrpkru_sysret, wrpkru_leave_0, wrpkru_leave_1, wrpkru_enter_0, wrpkru_enter_1, wrpkru_signal,
			rdpkru_table, wrpkru_table_open, wrpkru_table_close, wrpkru_soft_read, wrpkru_soft_write, wrpkru_soft,
			wrpkru_soft_close };
	int rw = PROT_READ | PROT_WRITE, rwx = rw | PROT_EXEC;
	u64 image = (u64)__executable_start & PAGE_MASK;
	u64 text_end = ALIGN_UP((u64)etext, PAGE_SIZE), end = ALIGN_UP((u64)_end, PAGE_SIZE);
	u32 closed = 0;

	for (int i = 0; i < KEYS; i++)
		k[i] = SH->knobs.no_keys ? -1 : sys2(__NR_pkey_alloc, 0, 0);
	if (k[KEYS - 1] < 0) {
		need(host_mprotect(image, text_end - image, rwx), 103);
		for (size_t i = 0; i < ARRAY_SIZE(sites); i++)
			__builtin_memcpy(sites[i], "\x0f\x1f\x00", 3);
		need(host_mprotect(image, text_end - image, PROT_READ | PROT_EXEC), 103);
		SHADOW->keys = 0;
		return;
	}
	for (int i = 0; i < 16; i++)
		closed |= 3u << (2 * i);
	SHADOW->keys = 1;
	for (int i = 0; i < KEYS; i++)
		SHADOW->keys |= (u32)k[i] << (4 + 4 * i);
	/* Two bits a key: no access, no writes. */
	u32 both = 3u << (2 * k[KEY_SPILL]) | 1u << (2 * k[KEY_TABLE]);

	SH->pkru_user = closed & ~(both | 3u << (2 * k[KEY_CONTESTED]) | 3u);
	SH->pkru_kernel = closed & ~(both | 3u << (2 * k[KEY_KERNEL]) | 1u << (2 * k[KEY_FOLDS]));
	SH->pkru_access = SH->pkru_kernel & ~3u;
	protect(SHARED_DISP, SHARED_MAX, rw, (int)k[KEY_MONITOR]);
	protect(VCPU_DISP, VCPU_AREA, rw, (int)k[KEY_MONITOR]);
	protect(CODE_DISP, CODE_SIZE, rwx, (int)k[KEY_MONITOR]);
	protect(PRIVATE_DISP, PRIVATE_SIZE, rw, (int)k[KEY_MONITOR]);
	if (SH->flags & MON_OPEN_STACK) {
		signal_stack_open = true;
		protect(ALTSTACK_DISP, ALTSTACK_SIZE, rw, (int)k[KEY_SPILL]);
	}
	protect(RAM_DISP, SHADOW->ram_size, rw, (int)k[KEY_MONITOR]);
	vcpu_protect_spill();
	protect(SLOT_DISP, JUMPS_SIZE, rw, (int)k[KEY_TABLE]);
	protect(PROBE_DISP, PROBE_AREA, rw, (int)k[KEY_TABLE]);
	protect(KLOOKUP_DISP, 0x80000, rw, (int)k[KEY_FOLDS]);
	protect(FOLDS_DISP, FOLDS_SIZE, rw, (int)k[KEY_FOLDS]);
	need(host_mprotect(image, text_end - image, rwx), 103);
	__builtin_memcpy(pkru_syscall, &SH->pkru_kernel, 4);
	__builtin_memcpy(pkru_sysret, &SH->pkru_user, 4);
	__builtin_memcpy(pkru_soft, &SH->pkru_user, 4);
	__builtin_memcpy(pkru_soft_close, &SH->pkru_user, 4);
	need(host_pkey_mprotect(image, text_end - image, PROT_READ | PROT_EXEC, (int)k[KEY_MONITOR]), 104);
	for (u64 at = text_end; at < end; at += PAGE_SIZE)
		host_pkey_mprotect(at, PAGE_SIZE, rw, (int)k[KEY_MONITOR]);
}

static u32 xstate_offset_of_pkru(void)
{
	u32 a = 0xd, b, c = 9, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return b;
}

/* Runs on the stack that the kernel gave; `stack` is unused but tells where that is. */
void monitor_setup(u64 *stack)
{
	u32 lo, hi;

	(void)stack;
	map(SHARED_DISP, SHARED_MAX, PROT_READ | PROT_WRITE, FD_SHARED, 0);
	map(CODE_DISP, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, FD_SHARED, OFF_CODE);
	map(PRIVATE_DISP, PRIVATE_SIZE, PROT_READ | PROT_WRITE, -1, 0);
	map(RAM_DISP, SHADOW->ram_size, PROT_READ | PROT_WRITE, FD_RAM, 0);
	map(VCPU_DISP, VCPU_AREA, PROT_READ | PROT_WRITE, FD_SHARED, OFF_VCPUS);
	map(SPILL_DISP, SPILL_PAGES, PROT_READ | PROT_WRITE, FD_SHARED, OFF_VCPUS + VCPU_SPILL);
	map(SLOT_DISP, JUMPS_SIZE, PROT_READ | PROT_WRITE, -1, 0);
	map(PROBE_DISP, PROBE_AREA, PROT_READ | PROT_WRITE, -1, 0);
	map(FOLDS_DISP, FOLDS_SIZE, PROT_READ | PROT_WRITE, FD_SHARED, OFF_FOLDS);
	map(KLOOKUP_DISP, 0x80000, PROT_READ | PROT_WRITE, FD_SHARED, OFF_KLOOKUP);
	host_wrgsbase(FOLD_OFF);
	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	SH->host_xcr0 = (u64)hi << 32 | lo;
	SH->xstate_pkru = xstate_offset_of_pkru();
	sys3(__NR_sched_getaffinity, 0, sizeof SH->host_cpus, SH->host_cpus);
	setup_keys();
	signal_setup();
}

static s64 zygote, pids[MAX_VCPUS][MAX_CARRIERS];

static _Noreturn void carrier_main(u32 vcpu, u32 number)
{
	struct { u64 value; u32 signo, notify; u64 pad[6]; } event = { 0, 14, 0, { 0 } };

	vcpu_attach(vcpu);
	my.number = number;
	my.user = vcpu * SH->max_carriers + number;
	my.pinned = ~0u;
	my.code_epoch = SHADOW->code_epoch;
	my.folds_epoch = SHADOW->folds_epoch;
	my.rights_epoch = VCPU->rights_epoch; /* nothing is mapped yet */
	sys2(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
	if (sys0(__NR_getppid) != zygote)
		sys1(__NR_exit_group, 106); /* it died before the line above */
	need(sys3(__NR_timer_create, CLOCK_MONOTONIC, &event, &my.timer), 105);
	if (SH->flags & MON_MEMBARRIER)
		sys2(__NR_membarrier, 4 /* REGISTER_GLOBAL_EXPEDITED */, 0);
	confine_carrier();
	carrier_sleep();
	run_loop();
}

static void make_carrier(u32 vcpu, u32 number)
{
	s64 pid = sys5(__NR_clone, 17 /* SIGCHLD */, 0, 0, 0, 0);

	if (pid == 0)
		carrier_main(vcpu, number);
	if (pid < 0)
		monitor_fail("cannot make another carrier process: error %d", (int)-pid);
	pids[vcpu][number] = pid;
	VCPU_AT(vcpu)->pids[number] = (u32)pid;
}

/* True: the slot of a carrier that was asked to end is free. */
static bool retired(s64 pid)
{
	for (u32 n = 0; n < SH->n_vcpus; n++) {
		for (u32 i = 0; i < SH->max_carriers; i++) {
			struct carrier_slot *s = &VCPU_AT(n)->carriers[i];

			if (pids[n][i] != pid || !s->retiring)
				continue;
			pids[n][i] = 0;
			VCPU_AT(n)->pids[i] = 0;
			s->alive = false;
			atomic_store(&s->retiring, false);
			return true;
		}
	}
	return false;
}

/* A carrier that was not asked to never ends before its machine does. */
static void check_carriers(void)
{
	struct { struct { u64 s, us; } user, system; u64 rest[14]; } usage; /* getrusage(2) */
	s64 pid;
	int status;

	while ((pid = sys4(__NR_wait4, -1, &status, WNOHANG, &usage)) > 0) {
		if (!status && retired(pid)) {
			SH->user_ns += usage.user.s * NSEC + usage.user.us * 1000;
			SH->system_ns += usage.system.s * NSEC + usage.system.us * 1000;
			continue;
		}
		if ((status & 0x7f) == SIGSYS)
			monitor_fail("a process of the guest made a forbidden system call and was ended");
		if (status & 0x7f)
			monitor_fail("a process of the guest was ended by signal %d", status & 0x7f);
		monitor_fail("a process of the guest ended with status %d", status >> 8 & 0xff);
	}
}

/* The front-end reaches a running carrier through the zygote, the only process that knows its number
 * from a source that no guest can write. */
static void pass_kick(u32 vcpu, u32 *seen)
{
	u32 kick = VCPU_AT(vcpu)->kick;
	s64 pid = pids[vcpu][VCPU_AT(vcpu)->current % MAX_CARRIERS];

	if (kick != *seen && pid)
		sys2(__NR_kill, pid, SIGUSR1);
	*seen = kick;
}

/* A clock of another process, of this one with pid 0 (clock_getcpuclockid(3)): the sum is exact, how it divides is sampled at ticks. */
static u64 process_clock(s64 pid, u64 which)
{
	struct host_timespec t = { 0, 0 };

	sys2(__NR_clock_gettime, (u32)(~(u64)pid << 3 | which), &t);
	return (u64)t.sec * NSEC + (u64)t.nsec;
}

static void add_clock(s64 pid)
{
	enum { USER = 1, EXACT };
	u64 all = process_clock(pid, EXACT), user = MIN(process_clock(pid, USER), all);

	SH->user_ns += user;
	SH->system_ns += all - user;
}

/* The processor time of the zygote and the carriers, which nobody waits for at the machine's end. */
static void tell_usage(void)
{
	if (!SH->usage_wanted || SH->usage_told)
		return;
	add_clock(0);
	for (u32 n = 0; n < SH->n_vcpus; n++)
		for (u32 i = 0; i < SH->max_carriers; i++)
			if (pids[n][i])
				add_clock(pids[n][i]);
	atomic_store(&SH->usage_told, 1);
	futex_wake(&SH->usage_told);
}

static void test_knobs_apply(struct cache *k)
{
	struct test_knobs *t = &SH->knobs;

	if (t->hot)
		k->limit_hot = (u32)MIN(t->hot, (u64)k->limit_hot);
	if (t->cold)
		k->limit_cold = CODE_SIZE / 2 + (u32)MIN(t->cold, (u64)CODE_SIZE / 2);
	if (t->insns)
		k->max_insns = (u32)MIN(t->insns, (u64)k->max_insns);
	k->soft_all = t->soft;
	if (!t->to)
		t->to = 0x100000000ull;
	t->seed = t->seed * 2 + 1;
}

/* The n-th of the host's processors that the family may use, counted from this one on: each vCPU begins with its own. */
static u32 nth_host_cpu(u32 n)
{
	u32 bits = sizeof SH->host_cpus * 8, here, at;

	__asm__("rdtscp" : "=c"(here) : : "eax", "edx");
	at = here &= 0xfff;
	for (u32 looked = 0; n && looked < bits * MAX_VCPUS; looked++) {
		at = (at + 1) % bits;
		n -= SH->host_cpus[at / 64] >> at % 64 & 1;
	}
	return n ? here : at;
}

/* LOOP is one or two operations on processors of AMD and Hygon, seven or more on those of Intel. */
static bool loop_is_fast(void)
{
	u32 a = 0, b, c = 0, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return b == 0x68747541 || b == 0x6f677948; /* "Auth", "Hygo" */
}

/* vCPU 0 starts as the front-end left it, the others wait to be started. */
static void vcpu_init(u32 n)
{
	struct vcpu *v = VCPU_AT(n);

	v->number = n;
	v->host_cpu = nth_host_cpu(n);
	*vcpu_constants(n) = (struct constants){
		.fold = FOLD_OFF, .fold_index = FOLD_INDEX_MASK, .hash_mask = BIT(KLOOKUP_BITS) - 1,
		.target_mask = BIT(ULOOKUP_BITS) - 1, .second_mask = BIT(USECOND_BITS) - 1, .tables = TABLES_INDEX_MASK,
		.guarded_mask = BIT(GUARDED_BITS) - 1,
		.xcr0 = v->cpu.xcr0,
	};
	for (u64 page = 0; page < 2; page++)
		((struct spill *)((u8 *)v + VCPU_SPILL + page * PAGE_SIZE))->pauses = PAUSES;
	for (u32 i = 0; i < MAX_CARRIERS; i++)
		v->carriers[i].cr3 = ~0ull;
	/* The first carrier starts from the vector state after reset. */
	*(u16 *)v->xstate = 0x37f;
	*(u32 *)(v->xstate + 24) = 0x1f80;
	v->n_bound = 1;
	v->carriers[0].alive = true;
	v->count.carriers = 1;
	v->carriers[0].cr3 = v->cpu.cr3 & PTE_ADDR;
	v->carriers[0].run = 1;
}

/* Makes the carriers of a vCPU that are wanted and not there yet. */
static void make_carriers(u32 n)
{
	for (u32 i = 0; i < SH->max_carriers; i++)
		if (VCPU_AT(n)->carriers[i].alive && !pids[n][i])
			make_carrier(n, i);
}

_Noreturn void monitor_main(void)
{
	static u32 seen, kick[MAX_VCPUS];

	sys2(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
	sys2(__NR_prctl, PR_SET_NAME, "penumbra-guest");
	space_init();
	cache_init(CACHE);
	test_knobs_apply(CACHE);
	CACHE->targets = (struct translate_targets){
		.exit_user = exit_user, .exit_kernel = exit_kernel,
		.table_open = table_open, .table_close = table_close,
		.soft_read = soft_read, .soft_write = soft_write, .soft_close = soft_close,
		.lookup_second = lookup_second, .lookup_miss_user = lookup_miss_user, .lookup_miss_kernel = lookup_miss_kernel,
		.pkru_kernel = SH->pkru_kernel, .pkru_access = SH->pkru_access,
		.protection_keys = SHADOW->keys & 1,
		.loop_is_fast = loop_is_fast(),
		.smp = SH->n_vcpus > 1 || SH->knobs.smp,
	};
	for (u32 n = 0; n < SH->n_vcpus; n++)
		vcpu_init(n);
	sys_cpuid_set_cpus(SH->n_vcpus);
	sys_cpuid_init(true);
	sys_cpuid_set_tsc_khz((u32)SH->tsc_khz);
	legacy_init(&SH->legacy, now_ns(), SH->utc_offset, SHADOW->ram_size);
	if (SH->debug_exit)
		legacy_enable_debug_exit(&SH->legacy);
	apic_setup(SH->n_vcpus);
	CACHE->sources = HOST(SHARED_DISP + OFF_SOURCES);
	translations_flush();
	if (SH->store.size)
		cache_restore(CACHE, &SH->store);
	/* Carriers begin with the zygote's slots, and have memory of their own only for those that they change. */
	SH->slots_ready = CACHE->n_slots;
	slots_catch_up();
	zygote = sys0(__NR_getpid);
	if (zygote == 1 && !SH->knobs.no_numbers) /* of a PID namespace */
		SH->flags |= MON_OWN_NUMBERS;
	if (!SH->knobs.no_membarrier && sys2(__NR_membarrier, 4, 0) >= 0)
		SH->flags |= MON_MEMBARRIER;
	confine_zygote();
	for (;;) {
		seen = SH->fork_wanted;
		for (u32 n = 0; n < SH->n_vcpus; n++) {
			make_carriers(n);
			pass_kick(n, &kick[n]);
		}
		check_carriers();
		tell_usage();
		futex_wait(&SH->fork_wanted, seen, NULL);
	}
}
