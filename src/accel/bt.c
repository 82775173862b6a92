/* SPDX-License-Identifier: MIT
 * The translating accelerator, seen from the front-end: starts the monitor, moves console bytes
 * through its rings, and waits for the end.
 *
 * The monitor is an image inside this program; it runs from a sealed memfd with two descriptors: guest
 * RAM and the shared state.  One thread sleeps on the monitor's output word and turns it into an eventfd. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "accel/accel.h"
#include "accel/bt_devices.h"
#include "accel/bt_store.h"
#include "accel/confine.h"
#include "accel/probe.h"
#include "base/jail.h"
#include "monitor/state.h"
#include "shadow/paging.h"
#include "shadow/state.h"

#define CALIBRATE_NS 10000000
#define SHARED_HEAD OFF_FRAMES
#define CACHE_HEAD PAGE_SIZE /* the cache's counters lie within its first page */

extern const u8 monitor_image[], monitor_image_end[];

struct bt {
	struct shared *sh;            /* the head of the shared mapping, SHARED_HEAD bytes */
	u8 *vcpus;                    /* VCPU_AREA for each vCPU */
	struct shadow_state *shadow;  /* within it */
	struct cache *cache;          /* the head of it, for its counters */
	int shared_fd, output_fd;
	pid_t zygote;
	pthread_t waiter;
	bool waiting;
	_Atomic bool closing;
	struct bt_devices devices;
	const u8 *frame_flags;        /* a byte a page of RAM, from the head of the frame table; read-only */
	u64 started;
	struct bt_store store;
};

static struct vcpu *vcpu_of(const struct bt *bt, u32 n) { return (struct vcpu *)(bt->vcpus + n * VCPU_AREA); }

/* Many vCPUs run fewer address spaces each. */
static u32 carriers_of_each(u32 vcpus) { return MIN((u32)MAX_CARRIERS, MAX_USERS / vcpus); }

static long futex(_Atomic u32 *word, int op, u32 value)
{
	return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static u64 monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

/* One pair of readings, the tightest of a few. */
static void clock_pair(u64 *tsc, u64 *ns)
{
	u64 best = ~0ull;

	for (int i = 0; i < 5; i++) {
		u64 a = rdtsc(), n = monotonic(), b = rdtsc();

		if (b - a < best) {
			best = b - a;
			*tsc = a + (b - a) / 2;
			*ns = n;
		}
	}
}

/* The TSC is measured from bt_probe() to bt_create(), so that reading the kernel costs no time beside it. */
static u64 tsc0, ns0;

static void calibrate(struct shared *sh)
{
	u64 tsc1, ns1, passed = ns0 ? monotonic() - ns0 : 0;
	struct timespec t, wait = { 0, CALIBRATE_NS };

	if (!ns0)
		clock_pair(&tsc0, &ns0);
	if (passed < CALIBRATE_NS) {
		wait.tv_nsec -= (long)passed;
		nanosleep(&wait, NULL);
	}
	clock_pair(&tsc1, &ns1);
	sh->tsc_base = tsc1;
	sh->ns_base = ns1;
	sh->tsc_mult = (u64)(((unsigned __int128)(ns1 - ns0) << 32) / (tsc1 - tsc0));
	sh->tsc_khz = (tsc1 - tsc0) * 1000000u / (ns1 - ns0);
	clock_gettime(CLOCK_REALTIME, &t);
	sh->utc_offset = (s64)((u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec - monotonic());
}

/* Before Linux 6.12 the kernel writes a signal frame with the protection keys of the code that it
 * interrupts.  A kernel that it was ported back to works the old way too.  PENUMBRA_OPEN_STACK forces it. */
static bool needs_open_stack(void)
{
	struct utsname u;
	int major, minor;

	if (getenv("PENUMBRA_OPEN_STACK") || uname(&u) || sscanf(u.release, "%d.%d", &major, &minor) != 2)
		return true;
	return major < 6 || (major == 6 && minor < 12);
}

static int bt_probe(const struct host_info *host, struct err *why)
{
	if (!ns0)
		clock_pair(&tsc0, &ns0);
	if (!host->bmi2)
		return err_set(why, -ENODEV, "the processor lacks BMI2, which translated code is made of");
	if (!host->fsgsbase)
		return err_set(why, -ENODEV, "this kernel does not let programs set FS and GS bases (FSGSBASE, Linux 5.9)");
	return 0;
}

/* PENUMBRA_TEST_KNOBS=name=value,...: what only tests turn. */
static int read_knobs(struct test_knobs *k, struct err *e)
{
	const char *s = getenv("PENUMBRA_TEST_KNOBS");

	while (s && *s) {
		size_t n = strcspn(s, "=,");
		u64 *field = NULL;
		char *end = NULL;

#define TEST_KNOB_MATCH(name) \
	if (n == strlen(#name) && !strncmp(s, #name, n)) \
		field = &k->name;
		TEST_KNOBS(TEST_KNOB_MATCH)
#undef TEST_KNOB_MATCH
		if (field && s[n] == '=')
			*field = strtoull(s + n + 1, &end, 0);
		if (!end || (*end && *end != ','))
			return err_set(e, -EINVAL, "PENUMBRA_TEST_KNOBS: \"%s\" is not name=number", s);
		s = *end ? end + 1 : end;
	}
	return 0;
}

static void kick_vcpu(struct bt *bt, u32 n)
{
	struct vcpu *v = vcpu_of(bt, n);

	atomic_fetch_add(&v->kick, 1);
	if (v->where == POLLING || futex(&v->kick, FUTEX_WAKE, 1) > 0)
		return;
	/* The zygote signals the carrier that runs. */
	atomic_fetch_add(&bt->sh->fork_wanted, 1);
	futex(&bt->sh->fork_wanted, FUTEX_WAKE, 1);
}

static void kick_from_outside(struct vm *vm, u32 n)
{
	kick_vcpu(vm->accel_state, n);
}

/* By a descriptor that cannot write, so that no process to which the mapping passes can make it writable. */
static int map_flags(struct bt *bt, struct err *e)
{
	char path[32];
	int fd;

	snprintf(path, sizeof path, "/proc/self/fd/%d", bt->shared_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	bt->frame_flags = mmap(NULL, MAX_FRAMES, PROT_READ, MAP_SHARED, fd, OFF_FRAMES);
	close(fd);
	if (bt->frame_flags == MAP_FAILED)
		return err_sys(e, errno, "shared memory of the monitor");
	return 0;
}

#define VMAS_DEFAULT 65530
#define VMAS_OTHERS 1024 /* the monitor's own, and what splits before anybody counts */

/* Host mappings of the guest that a process may have. */
static u32 vma_budget(const struct host_info *host)
{
	u64 limit = host && host->max_map_count ? host->max_map_count : VMAS_DEFAULT;

	limit = MIN(limit, (u64)VMAS_DEFAULT * 4);
	return limit > 2 * VMAS_OTHERS ? (u32)limit - VMAS_OTHERS : (u32)limit / 2;
}

#define CARRIERS_LEAST 6 /* two that are bound, and spare ones */

/* Maintainers by name; none chosen is the first. */
static u32 paging_by_name(const char *name)
{
	static const char *const names[] = {
#define PAGING_NAME(symbol, name) #name,
		PAGING_KINDS(PAGING_NAME)
#undef PAGING_NAME
	};

	for (u32 i = 0; name && i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], name))
			return i;
	return PAGING_AUTO;
}

static void open_store(struct vm *vm, struct bt *bt)
{
	struct store_setting setting = {
		.monitor = monitor_image, .monitor_end = monitor_image_end, .content = vm->content,
		.smp = vm->n_cpus > 1 || bt->sh->knobs.smp, .insns = bt->sh->knobs.insns,
	};

	bt_store_open(&bt->store, vm->translation_cache, &setting, vm->note);
	if (bt->store.head && !bt_store_restore(bt->store.head, bt->shared_fd))
		bt->sh->store = *bt->store.head;
	bt_store_forget(&bt->store);
}

/* Where much of what was translated was not in the file.  Without protection keys a program of the guest's may have written
 * what would be kept. */
static bool worth_saving(const struct bt *bt)
{
	const struct cache_stats *s = &bt->cache->stats;

	return bt->store.dir >= 0 && bt->cache->targets.protection_keys && s->translated > 1000 && s->translated > s->restored / 16;
}

static int bt_create(struct vm *vm, struct err *e)
{
	struct bt *bt;
	int rc;

	if (vm->ram_size > MAX_FRAMES * PAGE_SIZE)
		return err_set(e, -E2BIG, "memory: the translator has room for %llu GiB", MAX_FRAMES * PAGE_SIZE >> 30);
	bt = calloc(1, sizeof *bt);
	if (!bt)
		return err_sys(e, ENOMEM, "translating accelerator");
	vm->accel_state = bt;
	bt->output_fd = -1;
	bt_store_open(&bt->store, "off", NULL, vm->note);
	bt->shared_fd = memfd_create("penumbra-shared", MFD_CLOEXEC);
	if (bt->shared_fd < 0 || ftruncate(bt->shared_fd, (off_t)SHARED_FILE_SIZE))
		return err_sys(e, errno, "shared memory of the monitor");
	bt->sh = mmap(NULL, SHARED_HEAD, PROT_READ | PROT_WRITE, MAP_SHARED, bt->shared_fd, 0);
	if (bt->sh == MAP_FAILED)
		return err_sys(e, errno, "shared memory of the monitor");
	bt->shadow = (struct shadow_state *)((u8 *)bt->sh + OFF_SHADOW);
	bt->cache = mmap(NULL, CACHE_HEAD, PROT_READ, MAP_SHARED, bt->shared_fd, OFF_CACHE);
	if (bt->cache == MAP_FAILED)
		return err_sys(e, errno, "shared memory of the monitor");
	bt->vcpus = mmap(NULL, MAX_VCPUS * VCPU_AREA, PROT_READ | PROT_WRITE, MAP_SHARED, bt->shared_fd, OFF_VCPUS);
	if (bt->vcpus == MAP_FAILED)
		return err_sys(e, errno, "shared memory of the monitor");
	rc = map_flags(bt, e);
	if (rc)
		return rc;
	/* Device processes are forked after this: they get the flags alone. */
	madvise(bt->sh, SHARED_HEAD, MADV_DONTFORK);
	madvise(bt->cache, CACHE_HEAD, MADV_DONTFORK);
	madvise(bt->vcpus, MAX_VCPUS * VCPU_AREA, MADV_DONTFORK);
	bt->devices.vm = vm;
	bt->devices.area = (struct device_area *)((u8 *)bt->sh + OFF_DEVICES);
	bt->devices.kick = kick_from_outside;
	pthread_mutex_init(&bt->devices.lock, NULL);
	bt->output_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (bt->output_fd < 0)
		return err_sys(e, errno, "eventfd");
	bt->sh->debug_exit = vm->debug_exit;
	bt->sh->n_vcpus = vm->n_cpus;
	bt->sh->max_carriers = carriers_of_each(vm->n_cpus);
	vcpu_of(bt, 0)->cpu = vm->cpu;
	bt->shadow->ram_size = vm->ram_size;
	bt->shadow->ram_low = vm->ram_low;
	bt->shadow->vcpus = vm->n_cpus;
	bt->shadow->vma_budget = vma_budget(vm->host);
	bt->shadow->paging = paging_by_name(vm->paging);
	if (needs_open_stack())
		bt->sh->flags |= MON_OPEN_STACK;
	calibrate(bt->sh);
	rc = read_knobs(&bt->sh->knobs, e);
	if (bt->sh->knobs.paging)
		bt->shadow->paging = (u32)bt->sh->knobs.paging - 1;
	bt->shadow->contrary = (u32)bt->sh->knobs.contrary;
	if (bt->sh->knobs.vmas)
		bt->shadow->vma_budget = (u32)MIN(bt->sh->knobs.vmas, (u64)bt->shadow->vma_budget);
	if (bt->sh->knobs.carriers)
		bt->sh->max_carriers = (u32)MIN(MAX(bt->sh->knobs.carriers, (u64)CARRIERS_LEAST), (u64)bt->sh->max_carriers);
	if (!rc)
		open_store(vm, bt);
	return rc;
}

static int image_fd(struct err *e)
{
	size_t n = (size_t)(monitor_image_end - monitor_image), done = 0;
	int fd = memfd_create("penumbra-monitor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_sys(e, errno, "memfd for the monitor");
	while (done < n) {
		ssize_t w = write(fd, monitor_image + done, n - done);

		if (w <= 0) {
			close(fd);
			return err_sys(e, errno, "copying the monitor");
		}
		done += (size_t)w;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	return fd;
}

static int spawn(struct vm *vm, struct bt *bt, struct err *e)
{
	char name[] = "penumbra-monitor", *const argv[] = { name, NULL }, *const envp[] = { NULL };
	int image = image_fd(e);

	if (image < 0)
		return image;
	bt->zygote = jail_fork(0);
	if (bt->zygote < 0) {
		close(image);
		return err_sys(e, errno, "fork");
	}
	if (!bt->zygote) {
		sigset_t none;
		int above = FD_BELLS + BELLS, a = fcntl(vm->ram_fd, F_DUPFD, above);
		int b = fcntl(bt->shared_fd, F_DUPFD, above), c = fcntl(image, F_DUPFD, above);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		jail_leave_files();
		jail_drop_bounding();
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setpgid(0, 0);
		if (a < 0 || b < 0 || c < 0 || !bt_devices_inherit(vm) || dup2(a, FD_RAM) < 0 || dup2(b, FD_SHARED) < 0 || dup2(c, 5) < 0)
			_exit(126);
		fcntl(5, F_SETFD, FD_CLOEXEC);
		close_range(6, FD_BELLS - 1, 0);
		close_range(FD_BELLS + BELLS, ~0u, 0);
		close_range(0, 2, 0);
		syscall(SYS_execveat, 5, "", argv, envp, AT_EMPTY_PATH);
		_exit(127);
	}
	close(image);
	return 0;
}

static void *wait_for_output(void *arg)
{
	struct bt *bt = arg;
	u64 one = 1;

	for (;;) {
		u32 seen = atomic_load(&bt->sh->output);

		if (write(bt->output_fd, &one, sizeof one) < 0 && errno != EAGAIN)
			return NULL;
		if (atomic_load(&bt->closing))
			return NULL;
		/* The top bit asks the monitor for a wake-up. */
		if (!atomic_compare_exchange_strong(&bt->sh->output, &seen, seen | 0x80000000u))
			continue;
		if (bt->sh->tx.head != bt->sh->tx.tail)
			continue;
		futex(&bt->sh->output, FUTEX_WAIT, seen | 0x80000000u);
	}
}

static void drain(struct vm *vm, struct bt *bt)
{
	struct ring *r = &bt->sh->tx;
	u32 head = r->head, tail = r->tail;

	while (tail != head && head - tail <= RING_SIZE) {
		u32 at = tail % RING_SIZE, n = MIN(head - tail, RING_SIZE - at);

		vm->ops->console_write(vm, r->bytes + at, n);
		tail += n;
	}
	r->tail = tail;
	if (atomic_exchange(&bt->sh->tx_waits, 0))
		kick_vcpu(bt, 0);
}

static void feed(struct vm *vm, struct bt *bt)
{
	struct ring *r = &bt->sh->rx;
	bool any = false;

	for (;;) {
		u32 head = r->head, room = RING_SIZE - (head - r->tail), at = head % RING_SIZE;
		size_t n;

		if (!room || room > RING_SIZE)
			break;
		n = vm->ops->console_read(vm, r->bytes + at, MIN(room, RING_SIZE - at));
		if (!n)
			break;
		r->head = head + (u32)n;
		any = true;
	}
	if (any)
		kick_vcpu(bt, 0);
}

/* Counters are 64-bit words, and each vCPU has its own. */
static void add_words(void *to, const void *from, size_t bytes)
{
	for (size_t i = 0; i < bytes / 8; i++)
		((u64 *)to)[i] += ((const u64 *)from)[i];
}

static struct monitor_counters sum_counters(const struct bt *bt)
{
	struct monitor_counters sum = { 0 };

	for (u32 n = 0; n < bt->sh->n_vcpus && n < MAX_VCPUS; n++)
		add_words(&sum, &vcpu_of(bt, n)->count, sizeof sum);
	sum.vmas_peak = 0;
	for (u32 n = 0; n < bt->sh->n_vcpus && n < MAX_VCPUS; n++)
		sum.vmas_peak = MAX(sum.vmas_peak, vcpu_of(bt, n)->count.vmas_peak);
	return sum;
}

static struct shadow_counters sum_shadow(const struct bt *bt)
{
	struct shadow_counters sum = { 0 };

	for (u32 n = 0; n < bt->sh->n_vcpus && n < MAX_VCPUS; n++)
		add_words(&sum, bt->vcpus + n * VCPU_AREA + VCPU_COUNT, sizeof sum);
	return sum;
}

#define USAGE_TRIES 20 /* of 10 ms: a monitor that does not answer is not waited for */

static void collect_usage(struct vm *vm, struct bt *bt)
{
	const struct timespec wait = { 0, 10000000 };

	atomic_store(&bt->sh->usage_wanted, 1);
	atomic_fetch_add(&bt->sh->fork_wanted, 1);
	futex(&bt->sh->fork_wanted, FUTEX_WAKE, 1);
	for (int i = 0; i < USAGE_TRIES && !bt->sh->usage_told; i++)
		syscall(SYS_futex, &bt->sh->usage_told, FUTEX_WAIT, 0, &wait, NULL, 0);
	if (!bt->sh->usage_told)
		return;
	vm->stats.user_ns += bt->sh->user_ns;
	vm->stats.system_ns += bt->sh->system_ns;
}

static void collect_stats(struct vm *vm, struct bt *bt)
{
	const struct monitor_counters sum = sum_counters(bt), *m = &sum;
	const struct shadow_counters shadow = sum_shadow(bt);
	struct vm_stats *s = &vm->stats;

	s->blocks = bt->cache->stats.translated;
	s->block_insns = bt->cache->stats.guest_insns;
	s->blocks_stored = bt->cache->stats.restored;
	s->blocks_revived = bt->cache->stats.revived;
	s->translation_ns = (u64)((unsigned __int128)bt->cache->stats.translate_cycles * bt->sh->tsc_mult >> 32);
	s->revival_ns = (u64)((unsigned __int128)bt->cache->stats.revive_cycles * bt->sh->tsc_mult >> 32);
	s->code_bytes = bt->cache->stats.code_bytes;
	s->cache_flushes = bt->cache->stats.flushes;
	s->fills = shadow.fills;
	s->fill_pages = shadow.fill_pages;
	s->compared_pages = shadow.compared;
	s->dropped_pages = shadow.unmapped;
	s->leaves_kept = shadow.leaves_kept;
	s->leaves_evicted = shadow.evicted;
	s->everything_evicted = shadow.evictions;
	s->tables_watched = shadow.tables_watched;
	s->tables_released = shadow.tables_released;
	s->table_traps = shadow.table_traps;
	s->table_stores = shadow.table_stores;
	s->table_updates = shadow.table_updates;
	s->soft_sites = shadow.soft_sites;
	s->soft_misses = shadow.soft_misses;
	s->faults = m->faults;
	s->exceptions = m->exceptions;
	s->page_faults = m->page_faults;
	s->interrupts = m->interrupts;
	s->invalidations = shadow.invalidations;
	s->exit_lookup = m->lookups;
	s->exit_link = m->exits[X_LINK] + m->exits[X_SLOT];
	s->exit_interrupt = m->events;
	for (int i = 0; i < X_KINDS; i++)
		s->exits += m->exits[i];
	s->exits += m->lookups;
	s->exit_io = m->classes[IC_IN] + m->classes[IC_OUT] + m->classes[IC_INS] + m->classes[IC_OUTS];
	s->exit_halt = m->classes[IC_HLT];
	s->exit_cpuid = m->classes[IC_CPUID];
	s->exit_msr = m->classes[IC_RDMSR] + m->classes[IC_WRMSR];
	s->exit_cr = m->classes[IC_MOV_FROM_CR] + m->classes[IC_MOV_TO_CR] + m->classes[IC_INVLPG] + m->classes[IC_INVPCID];
	s->exit_syscall = m->classes[IC_SYSCALL] + m->classes[IC_SYSRET];
	s->exit_iret = m->classes[IC_IRET];
	s->cr3_loads = m->cr3_loads;
	s->carrier_switches = m->switches;
	s->starved = m->starved;
	s->carriers_peak = m->carriers;
	s->vmas_peak = m->vmas_peak;
	s->exit_system = m->exits[X_INSN] - MIN(m->exits[X_INSN], s->exit_io + s->exit_halt + s->exit_cpuid + s->exit_msr +
							s->exit_cr + s->exit_syscall + s->exit_iret);
	s->exit_other = m->exits[X_DEAD] + m->exits[X_GO] + m->exits[X_STEPPED] + m->exits[X_EVENT];
}

/* Where a vCPU was last, for whoever looks for a bug of ours. */
static void post_mortem_vcpu(const struct bt *bt, u32 n)
{
	const struct vcpu *v = vcpu_of(bt, n);
	const struct cpu *c = &v->cpu;

	fprintf(stderr, "vCPU %u\n", n);
	for (u32 i = 0; i < 256; i++) {
		const u64 *t = v->trace[(v->trace_at + i) % 256];

		if (t[0])
			fprintf(stderr, "%016llx rsp %016llx\n", (unsigned long long)t[0], (unsigned long long)t[1]);
	}
	fprintf(stderr, "rip %016llx rflags %llx cpl %d cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx\n",
		(unsigned long long)c->rip, (unsigned long long)c->rflags, c->cpl, (unsigned long long)c->cr0,
		(unsigned long long)c->cr2, (unsigned long long)c->cr3, (unsigned long long)c->cr4,
		(unsigned long long)c->efer);
	for (int i = 0; i < 16; i++)
		fprintf(stderr, "r%-2d %016llx%s", i, (unsigned long long)c->gpr[i], i % 4 == 3 ? "\n" : "  ");
	fprintf(stderr, "exc %d pending %d error %x cr2 %llx\n", c->exc.vector, c->exc.pending, c->exc.error,
		(unsigned long long)c->exc.cr2);
}

/* On stderr, if PENUMBRA_DEBUG is set. */
static void post_mortem(const struct bt *bt)
{
	const struct monitor_counters m = sum_counters(bt);
	const struct shadow_counters shadow = sum_shadow(bt);

	if (!getenv("PENUMBRA_DEBUG"))
		return;
	for (u32 n = 0; n < bt->sh->n_vcpus && n < MAX_VCPUS; n++)
		post_mortem_vcpu(bt, n);
	for (int i = 0; i < IC_COUNT; i++)
		if (m.classes[i])
			fprintf(stderr, "  executed %-12s %llu\n", insn_class_name(i), (unsigned long long)m.classes[i]);
	for (int i = 0; i < X_KINDS; i++)
		fprintf(stderr, "  exit kind %d %llu\n", i, (unsigned long long)m.exits[i]);
	fprintf(stderr, "  lookups %llu events %llu steps %llu switches %llu carriers %llu both %llu kept %llu unmapped %llu shootdowns %llu\n",
		(unsigned long long)m.lookups, (unsigned long long)m.events, (unsigned long long)m.steps,
		(unsigned long long)m.switches, (unsigned long long)m.carriers, (unsigned long long)m.both_sites,
		(unsigned long long)shadow.leaves_kept, (unsigned long long)shadow.unmapped,
		(unsigned long long)m.shootdowns);
}

static enum vm_end end_of(u32 end)
{
	switch (end) {
	case MEND_POWEROFF: return END_POWEROFF;
	case MEND_RESET: return END_RESET;
	case MEND_EXIT: return END_EXIT;
	case MEND_HALTED: return END_HALTED;
	case MEND_TRIPLE_FAULT: return END_TRIPLE_FAULT;
	default: return END_ERROR;
	}
}

static int monitor_ended(int status, struct err *e)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return err_set(e, -ECHILD, "the monitor made a forbidden system call and was ended");
	if (WIFSIGNALED(status))
		return err_set(e, -ECHILD, "the monitor was ended by signal %d", WTERMSIG(status));
	return err_set(e, -ECHILD, "the monitor ended with status %d", WEXITSTATUS(status));
}

/* Its last words come from memory that a guest may have got hold of: printable text only. */
static int monitor_gave_up(const struct shared *sh, struct err *e)
{
	char text[sizeof sh->message];
	size_t n = 0;

	while (n + 1 < sizeof text && sh->message[n]) {
		char c = sh->message[n];

		text[n++] = c >= ' ' && c <= '~' ? c : '?';
	}
	text[n] = 0;
	return err_set(e, -EIO, "the monitor cannot go on: %s", text);
}

static u64 timeval_ns(struct timeval t) { return (u64)t.tv_sec * 1000000000u + (u64)t.tv_usec * 1000u; }

/* And all of its family.  Of the carriers the host counts those for its children that it happened to collect before the
 * zygote's end: what was told of all of them takes the place of what is counted now. */
static void kill_zygote(struct vm *vm, struct bt *bt)
{
	struct rusage u;

	if (bt->zygote <= 0)
		return;
	kill(-bt->zygote, SIGKILL);
	kill(bt->zygote, SIGKILL);
	if (wait4(bt->zygote, NULL, 0, &u) == bt->zygote && bt->sh->usage_told) {
		vm->stats.user_ns -= timeval_ns(u.ru_utime);
		vm->stats.system_ns -= timeval_ns(u.ru_stime);
	}
	bt->zygote = 0;
}

#define PARK_MS 500 /* a vCPU that has not stopped by then has no processor of the host's, or no process any more */

/* Every vCPU comes to a precise point, where its state is whole, and stays there. */
static void park(struct bt *bt)
{
	u64 end = monotonic() + PARK_MS * 1000000ull, now;

	atomic_store(&bt->sh->stop, 1);
	for (u32 n = 0; n < bt->sh->n_vcpus && n < MAX_VCPUS; n++)
		kick_vcpu(bt, n);
	for (u32 n = 0; n < bt->sh->n_vcpus && n < MAX_VCPUS; n++) {
		struct vcpu *v = vcpu_of(bt, n);

		while (!v->parked && bt->sh->end == MEND_RUNNING && (now = monotonic()) < end) {
			struct timespec t = { 0, (long)(end - now) };

			syscall(SYS_futex, &v->parked, FUTEX_WAIT, 0, &t, NULL, 0);
		}
	}
}

static int bt_run(struct vm *vm, struct err *e)
{
	struct bt *bt = vm->accel_state;
	int rc = spawn(vm, bt, e);

	if (rc)
		goto failed;
	bt_store_fork_writer(&bt->store, bt->shared_fd);
	rc = -pthread_create(&bt->waiter, NULL, wait_for_output, bt);
	if (rc) {
		err_sys(e, -rc, "thread");
		goto failed;
	}
	bt->waiting = true;
	rc = bt_devices_start(&bt->devices, vm->n_cpus, e);
	if (rc)
		goto failed;
	rc = confine_frontend(e);
	if (rc)
		goto failed;
	while (bt->sh->end == MEND_RUNNING) {
		struct pollfd p[2] = { { vm->wake_fd, POLLIN, 0 }, { bt->output_fd, POLLIN, 0 } };
		u64 v;
		int status;

		if (poll(p, 2, 1000) < 0 && errno != EINTR)
			break;
		if (p[0].revents & POLLIN && read(vm->wake_fd, &v, sizeof v) < 0 && errno != EAGAIN)
			break;
		if (p[1].revents & POLLIN && read(bt->output_fd, &v, sizeof v) < 0 && errno != EAGAIN)
			break;
		drain(vm, bt);
		feed(vm, bt);
		if (vm->end_request != END_NONE)
			break;
		if (waitpid(bt->zygote, &status, WNOHANG) == bt->zygote) {
			bt->zygote = 0;
			rc = monitor_ended(status, e);
			goto failed;
		}
	}
	if (vm->end_request != END_NONE)
		park(bt);
	drain(vm, bt);
	vm->end = vm->end_request != END_NONE ? (enum vm_end)vm->end_request : end_of(bt->sh->end);
	vm->cpu = vcpu_of(bt, 0)->cpu;
	collect_stats(vm, bt);
	collect_usage(vm, bt);
	post_mortem(bt);
	vm->exit_status = bt->sh->legacy.core.exit_status;
	if (vm->end == END_ERROR)
		rc = monitor_gave_up(bt->sh, e);
	kill_zygote(vm, bt);
	bt_store_save(&bt->store, !rc && worth_saving(bt), vm->note);
	return rc;
failed:
	vm->end = END_ERROR;
	return rc;
}

static void bt_kick(struct vm *vm)
{
	u64 one = 1;

	if (write(vm->wake_fd, &one, sizeof one) < 0)
		return;
}

static void bt_set_irq(struct vm *vm, int gsi, bool level)
{
	struct bt *bt = vm->accel_state;
	u32 bit, was;

	if (gsi < 0 || gsi >= IOAPIC_PINS)
		return;
	bit = 1u << gsi;
	was = level ? atomic_fetch_or(&bt->sh->lines, bit) : atomic_fetch_and(&bt->sh->lines, ~bit);
	if (!(was & bit) == level)
		kick_vcpu(bt, 0); /* any would do: it sends the IO-APIC's message to whom it concerns */
}

static void bt_raise_msi(struct vm *vm, u64 address, u32 data)
{
	struct bt *bt = vm->accel_state;
	u64 kick = 0;

	apic_send_msi(&bt->sh->apics, address, data, &kick);
	for (; kick; kick &= kick - 1)
		kick_vcpu(bt, (u32)__builtin_ctzll(kick) % MAX_VCPUS);
}

static int bt_get_state(struct vm *vm, u32 n, struct cpu *c, struct err *e)
{
	struct bt *bt = vm->accel_state;

	if (n >= vm->n_cpus)
		return err_set(e, -ENOENT, "vCPU %u: the machine has %u", n, vm->n_cpus);
	*c = vcpu_of(bt, n)->cpu;
	return 0;
}

static int bt_set_state(struct vm *vm, u32 n, const struct cpu *c, struct err *e)
{
	struct bt *bt = vm->accel_state;

	if (n >= vm->n_cpus)
		return err_set(e, -ENOENT, "vCPU %u: the machine has %u", n, vm->n_cpus);
	vcpu_of(bt, n)->cpu = *c;
	return 0;
}

static void bt_set_bell(struct vm *vm, unsigned slot, u64 gpa, u32 n)
{
	(void)n; /* the whole page */
	struct bt *bt = vm->accel_state;

	atomic_store(&bt->devices.area->bell[slot % BELLS], gpa);
}

static const u8 *bt_frame_flags(struct vm *vm)
{
	struct bt *bt = vm->accel_state;

	return bt->frame_flags;
}

static void bt_clean_frames(struct vm *vm, const u32 *frames, u32 n)
{
	struct bt *bt = vm->accel_state;

	bt_devices_clean(&bt->devices, frames, n);
}

static void bt_destroy(struct vm *vm)
{
	struct bt *bt = vm->accel_state;

	if (!bt)
		return;
	kill_zygote(vm, bt);
	bt_store_close(&bt->store);
	bt_devices_stop(&bt->devices);
	if (bt->waiting) {
		atomic_store(&bt->closing, true);
		atomic_fetch_add(&bt->sh->output, 1);
		futex(&bt->sh->output, FUTEX_WAKE, 1);
		pthread_join(bt->waiter, NULL);
	}
	if (bt->sh && bt->sh != MAP_FAILED)
		munmap(bt->sh, SHARED_HEAD);
	if (bt->vcpus && bt->vcpus != MAP_FAILED)
		munmap(bt->vcpus, MAX_VCPUS * VCPU_AREA);
	if (bt->cache && bt->cache != MAP_FAILED)
		munmap(bt->cache, CACHE_HEAD);
	if (bt->frame_flags && bt->frame_flags != MAP_FAILED)
		munmap((void *)(uintptr_t)bt->frame_flags, MAX_FRAMES);
	if (bt->output_fd >= 0)
		close(bt->output_fd);
	if (bt->shared_fd >= 0)
		close(bt->shared_fd);
	free(bt);
	vm->accel_state = NULL;
}

const struct accel accel_bt = {
	.name = "translate",
	.title = "binary translation",
	.probe = bt_probe,
	.create = bt_create,
	.run = bt_run,
	.kick = bt_kick,
	.get_state = bt_get_state,
	.set_state = bt_set_state,
	.max_cpus = MAX_VCPUS,
	.set_irq = bt_set_irq,
	.raise_msi = bt_raise_msi,
	.set_bell = bt_set_bell,
	.frame_flags = bt_frame_flags,
	.clean_frames = bt_clean_frames,
	.destroy = bt_destroy,
};
