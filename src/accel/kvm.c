/* SPDX-License-Identifier: MIT
 * The accelerator over /dev/kvm (Linux Documentation/virt/kvm/api.rst).
 *
 * KVM runs the processor and nothing else: interrupt controllers, timers and ports are the machine's,
 * so that a guest sees the same devices as under the translator and their state moves between both.
 * There is no local APIC.  The vCPU thread owns everything here but `immediate_exit` of the run page,
 * which kick() and the timer's signal set. */
#include "accel/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "accel/kvm_state.h"
#include "accel/probe.h"

#define KICK_SIGNAL SIGRTMIN
#define CPUID_MAX 256
/* Three pages that Intel's processors want for real mode; within the device hole. */
#define TSS_ADDRESS 0xfffbd000ull
#define IDENTITY_MAP_ADDRESS 0xfffbc000ull
/* A deadline that has passed gives the guest at least this much time. */
#define SLICE_NS 50000ull

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct kvm {
	int kvm_fd, vm_fd, vcpu_fd;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	atomic_bool running;
	timer_t timer;
	bool has_timer, halted, logs_dirty;
};

/* ---- set-up ---- */

static int kvm_probe(const struct host_info *host, struct err *why)
{
	if (host->kvm == HOST_KVM_REAL || host->kvm == HOST_KVM_EMULATED)
		return 0;
	return err_set(why, -ENODEV, "%s", host->kvm_words);
}

static int set_slot(struct vm *vm, u32 slot, u32 flags, struct err *e)
{
	struct kvm *k = vm->accel_state;
	u64 offset = slot ? vm->ram_low : 0;
	struct kvm_userspace_memory_region region = {
		.slot = slot, .flags = flags,
		.guest_phys_addr = slot ? VM_RAM_HIGH : 0,
		.memory_size = slot ? vm->ram_size - vm->ram_low : vm->ram_low,
		.userspace_addr = (u64)(uintptr_t)vm->ram + offset,
	};

	if (region.memory_size && ioctl(k->vm_fd, KVM_SET_USER_MEMORY_REGION, &region))
		return err_sys(e, errno, "KVM_SET_USER_MEMORY_REGION");
	return 0;
}

static int set_slots(struct vm *vm, u32 flags, struct err *e)
{
	int rc = set_slot(vm, 0, flags, e);

	return rc ? rc : set_slot(vm, 1, flags, e);
}

/* What a guest must not see, since there is no local APIC and interrupts come from the 8259:
 * leaf, register (0 eax .. 3 edx), bits to keep (SDM 2A CPUID; cpuid.rst of KVM). */
static const struct {
	u32 leaf;
	int reg;
	u32 keep;
} cpuid_masks[] = {
	{ 0x00000001, 2, ~(u32)(BIT(3) | BIT(21) | BIT(24)) },  /* MONITOR, x2APIC, TSC deadline */
	{ 0x00000001, 3, ~(u32)BIT(9) },                        /* APIC */
	{ 0x80000001, 2, ~(u32)BIT(3) },                        /* extended APIC space */
	{ 0x80000001, 3, ~(u32)BIT(9) },
	{ 0x40000001, 0, (u32)(BIT(0) | BIT(1) | BIT(3) | BIT(24)) }, /* kvmclock, no I/O delay */
};

static int set_cpuid(struct kvm *k, struct err *e)
{
	size_t size = sizeof(struct kvm_cpuid2) + CPUID_MAX * sizeof(struct kvm_cpuid_entry2);
	struct kvm_cpuid2 *c = calloc(1, size);
	int rc = 0;

	if (!c)
		return err_set(e, -ENOMEM, "no memory");
	c->nent = CPUID_MAX;
	if (ioctl(k->kvm_fd, KVM_GET_SUPPORTED_CPUID, c))
		rc = err_sys(e, errno, "KVM_GET_SUPPORTED_CPUID");
	for (u32 i = 0; !rc && i < c->nent; i++) {
		struct kvm_cpuid_entry2 *t = &c->entries[i];
		u32 *reg[] = { &t->eax, &t->ebx, &t->ecx, &t->edx };

		for (size_t m = 0; m < ARRAY_SIZE(cpuid_masks); m++)
			if (cpuid_masks[m].leaf == t->function)
				*reg[cpuid_masks[m].reg] &= cpuid_masks[m].keep;
	}
	if (!rc && ioctl(k->vcpu_fd, KVM_SET_CPUID2, c))
		rc = err_sys(e, errno, "KVM_SET_CPUID2");
	free(c);
	return rc;
}

static int make_vm(struct vm *vm, struct kvm *k, struct err *e)
{
	u64 identity = IDENTITY_MAP_ADDRESS;

	k->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (k->kvm_fd < 0)
		return err_sys(e, errno, "/dev/kvm");
	if (ioctl(k->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT) <= 0)
		return err_set(e, -ENOTSUP, "/dev/kvm: too old (no immediate exit)");
	k->vm_fd = ioctl(k->kvm_fd, KVM_CREATE_VM, 0);
	if (k->vm_fd < 0)
		return err_sys(e, errno, "KVM_CREATE_VM");
	ioctl(k->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(k->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	return set_slots(vm, 0, e);
}

static int make_vcpu(struct kvm *k, struct err *e)
{
	int size = ioctl(k->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *map;

	k->vcpu_fd = ioctl(k->vm_fd, KVM_CREATE_VCPU, 0);
	if (k->vcpu_fd < 0)
		return err_sys(e, errno, "KVM_CREATE_VCPU");
	if (size < (int)sizeof *k->run)
		return err_set(e, -EINVAL, "KVM_GET_VCPU_MMAP_SIZE: %d", size);
	map = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, k->vcpu_fd, 0);
	if (map == MAP_FAILED)
		return err_sys(e, errno, "map of the vCPU");
	k->run = map;
	k->run_size = (size_t)size;
	return set_cpuid(k, e);
}

static void kvm_destroy(struct vm *vm)
{
	struct kvm *k = vm->accel_state;

	if (!k)
		return;
	if (k->run)
		munmap(k->run, k->run_size);
	if (k->vcpu_fd >= 0)
		close(k->vcpu_fd);
	if (k->vm_fd >= 0)
		close(k->vm_fd);
	if (k->kvm_fd >= 0)
		close(k->kvm_fd);
	free(k);
	vm->accel_state = NULL;
}

static int kvm_get_state(struct vm *vm, struct cpu *c, struct err *e)
{
	struct kvm *k = vm->accel_state;

	memset(c, 0, sizeof *c);
	c->halted = k->halted;
	return kvm_state_get(k->vcpu_fd, c, e);
}

static int kvm_set_state(struct vm *vm, const struct cpu *c, struct err *e)
{
	struct kvm *k = vm->accel_state;
	int rc = kvm_state_set(k->vcpu_fd, c, e);

	if (rc)
		return rc;
	k->halted = c->halted;
	/* The run page says what the first injection needs to know. */
	k->run->if_flag = !!(c->rflags & RF_IF);
	k->run->ready_for_interrupt_injection = 0;
	return 0;
}

static int kvm_create(struct vm *vm, struct err *e)
{
	struct kvm *k = calloc(1, sizeof *k);
	int rc;

	if (!k)
		return err_set(e, -ENOMEM, "no memory");
	k->kvm_fd = k->vm_fd = k->vcpu_fd = -1;
	vm->accel_state = k;
	rc = make_vm(vm, k, e);
	if (!rc)
		rc = make_vcpu(k, e);
	if (!rc)
		rc = kvm_set_state(vm, &vm->cpu, e);
	if (rc) {
		kvm_destroy(vm);
		err_prefix(e, "kvm");
	}
	return rc;
}

/* ---- kick and deadline ---- */

static void kvm_kick(struct vm *vm)
{
	struct kvm *k = vm->accel_state;

	k->run->immediate_exit = 1;
	if (atomic_load(&k->running))
		pthread_kill(k->thread, KICK_SIGNAL);
}

/* From the timer: the pointer is the run page.  From kick(): the signal alone does it. */
static void on_kick(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (info->si_code == SI_TIMER)
		((struct kvm_run *)info->si_value.sival_ptr)->immediate_exit = 1;
}

static int start_timer(struct kvm *k, struct err *e)
{
	struct sigaction action = { .sa_sigaction = on_kick, .sa_flags = SA_SIGINFO };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KICK_SIGNAL,
		.sigev_value.sival_ptr = k->run,
	};

	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (sigaction(KICK_SIGNAL, &action, NULL))
		return err_sys(e, errno, "kvm: sigaction");
	if (timer_create(CLOCK_MONOTONIC, &event, &k->timer))
		return err_sys(e, errno, "kvm: timer");
	k->has_timer = true;
	return 0;
}

static u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static struct timespec to_timespec(u64 ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
}

/* `deadline` is absolute; UINT64_MAX stops the timer. */
static void arm_timer(struct kvm *k, u64 now, u64 deadline)
{
	struct itimerspec when = { 0 };

	if (deadline != UINT64_MAX)
		when.it_value = to_timespec(MAX(deadline, now + SLICE_NS));
	timer_settime(k->timer, TIMER_ABSTIME, &when, NULL);
}

/* HLT: until input, an end_request or the deadline. */
static void wait_halted(struct vm *vm, u64 now, u64 deadline)
{
	struct pollfd p = { .fd = vm->wake_fd, .events = POLLIN };
	struct timespec wait = to_timespec(deadline > now ? deadline - now : 0);
	u64 count;

	if (ppoll(&p, 1, deadline == UINT64_MAX ? NULL : &wait, NULL) > 0 &&
	    read(vm->wake_fd, &count, sizeof count) < 0)
		return;
}

/* ---- exits ---- */

static void handle_io(struct vm *vm, struct kvm *k)
{
	u8 *data = (u8 *)k->run + k->run->io.data_offset;
	u32 value;

	for (u32 i = 0; i < k->run->io.count; i++, data += k->run->io.size) {
		value = 0;
		if (k->run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, k->run->io.size);
			vm->ops->io_out(vm, k->run->io.port, k->run->io.size, value);
		} else {
			value = vm->ops->io_in(vm, k->run->io.port, k->run->io.size);
			memcpy(data, &value, k->run->io.size);
		}
	}
}

static void handle_mmio(struct vm *vm, struct kvm *k)
{
	u64 value = ~0ull;

	if (k->run->mmio.is_write)
		memcpy(&value, k->run->mmio.data, sizeof value);
	if (vm->has_devices)
		vm->ops->device_memory(vm, k->run->mmio.phys_addr, (int)k->run->mmio.len, k->run->mmio.is_write, &value);
	if (!k->run->mmio.is_write)
		memcpy(k->run->mmio.data, &value, sizeof value);
}

/* One return of KVM_RUN.  Sets vm->end where the guest has ended. */
static int handle_exit(struct vm *vm, struct kvm *k, struct err *e)
{
	struct vm_stats *stats = &vm->stats;

	stats->exits++;
	switch (k->run->exit_reason) {
	case KVM_EXIT_IO:
		stats->exit_io++;
		handle_io(vm, k);
		return 0;
	case KVM_EXIT_MMIO:
		stats->exit_mmio++;
		handle_mmio(vm, k);
		return 0;
	case KVM_EXIT_HLT:
		stats->exit_halt++;
		k->halted = true;
		return 0;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		stats->exit_interrupt++;
		return 0;
	case KVM_EXIT_SHUTDOWN:
		vm->end = END_TRIPLE_FAULT;
		return 0;
	case KVM_EXIT_FAIL_ENTRY:
		return err_set(e, -EIO, "kvm: the processor refused the guest's state (0x%llx)",
			       (unsigned long long)k->run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return err_set(e, -EIO, "kvm: internal error %u", k->run->internal.suberror);
	default:
		return err_set(e, -EIO, "kvm: unknown exit %u", k->run->exit_reason);
	}
}

static int inject(struct vm *vm, struct kvm *k, struct err *e)
{
	struct kvm_interrupt irq;

	k->run->request_interrupt_window = 0;
	if (!vm->ops->irq_pending(vm))
		return 0;
	if (k->run->if_flag && k->run->ready_for_interrupt_injection) {
		irq.irq = (u32)vm->ops->irq_take(vm);
		if (ioctl(k->vcpu_fd, KVM_INTERRUPT, &irq))
			return err_sys(e, errno, "KVM_INTERRUPT");
		vm->stats.interrupts++;
		k->run->ready_for_interrupt_injection = 0;
		k->halted = false;
	}
	if (vm->ops->irq_pending(vm))
		k->run->request_interrupt_window = 1;
	return 0;
}

/* Enters the guest once, or waits where it is halted. */
static int run_once(struct vm *vm, struct kvm *k, u64 deadline, struct err *e)
{
	int rc = inject(vm, k, e);

	if (rc)
		return rc;
	if (k->halted) {
		if (!k->run->if_flag)
			vm->end = END_HALTED;
		else if (!vm->ops->irq_pending(vm))
			wait_halted(vm, now_ns(), deadline);
		else
			k->halted = false; /* the window is about to open */
		return 0;
	}
	arm_timer(k, now_ns(), deadline);
	if (!ioctl(k->vcpu_fd, KVM_RUN, 0))
		return handle_exit(vm, k, e);
	if (errno != EINTR && errno != EAGAIN)
		return err_sys(e, errno, "KVM_RUN");
	vm->stats.exits++;
	vm->stats.exit_interrupt++;
	return 0;
}

/* Lets KVM finish the instruction whose port access was served last, so that the state is precise. */
static void complete_io(struct kvm *k)
{
	k->run->request_interrupt_window = 0;
	k->run->immediate_exit = 1;
	ioctl(k->vcpu_fd, KVM_RUN, 0);
}

static int run_loop(struct vm *vm, struct kvm *k, struct err *e)
{
	u64 deadline;
	int rc = 0;

	while (!rc && vm->end == END_NONE) {
		/* Before end_request and input are looked at: a kick after this is not lost. */
		k->run->immediate_exit = 0;
		atomic_thread_fence(memory_order_seq_cst);
		vm->end = (enum vm_end)atomic_load(&vm->end_request);
		deadline = vm->ops->advance(vm, now_ns());
		if (vm->end == END_NONE)
			vm->end = vm->ops->power_state(vm);
		if (vm->end == END_NONE)
			rc = run_once(vm, k, deadline, e);
	}
	complete_io(k);
	return rc;
}

static int kvm_run(struct vm *vm, struct err *e)
{
	struct kvm *k = vm->accel_state;
	struct err state = { 0 };
	int rc;

	k->thread = pthread_self();
	rc = start_timer(k, e);
	if (!rc) {
		atomic_store(&k->running, true);
		rc = run_loop(vm, k, e);
		atomic_store(&k->running, false);
	}
	if (k->has_timer)
		timer_delete(k->timer);
	k->has_timer = false;
	if (rc)
		vm->end = END_ERROR;
	if (kvm_get_state(vm, &vm->cpu, &state) && !rc) {
		vm->end = END_ERROR;
		rc = err_set(e, state.code, "%s", state.text);
	}
	vm->cpu.shutdown = vm->end == END_TRIPLE_FAULT;
	return rc;
}

/* ---- dirty pages ---- */

static int slot_dirty(struct vm *vm, u32 slot, u64 *bitmap, struct err *e)
{
	struct kvm *k = vm->accel_state;
	u64 bytes = slot ? vm->ram_size - vm->ram_low : vm->ram_low;
	size_t words = bytes / PAGE_SIZE / 64;
	struct kvm_dirty_log log = { .slot = slot };
	int rc = 0;

	if (!words)
		return 0;
	log.dirty_bitmap = calloc(words, sizeof(u64));
	if (!log.dirty_bitmap)
		return err_set(e, -ENOMEM, "no memory");
	if (ioctl(k->vm_fd, KVM_GET_DIRTY_LOG, &log))
		rc = err_sys(e, errno, "KVM_GET_DIRTY_LOG");
	for (size_t i = 0; !rc && i < words; i++)
		bitmap[i] |= ((u64 *)log.dirty_bitmap)[i];
	free(log.dirty_bitmap);
	return rc;
}

static int kvm_read_dirty(struct vm *vm, u64 *bitmap, struct err *e)
{
	struct kvm *k = vm->accel_state;
	int rc;

	if (!k->logs_dirty) {
		rc = set_slots(vm, KVM_MEM_LOG_DIRTY_PAGES, e);
		k->logs_dirty = !rc;
		if (!rc)
			memset(bitmap, 0xff, vm->ram_size / PAGE_SIZE / 8);
		return rc;
	}
	rc = slot_dirty(vm, 0, bitmap, e);
	return rc ? rc : slot_dirty(vm, 1, bitmap + vm->ram_low / PAGE_SIZE / 64, e);
}

const struct accel accel_kvm = {
	.name = "kvm",
	.title = "processor virtualization by /dev/kvm",
	.max_cpus = 1,
	.probe = kvm_probe,
	.create = kvm_create,
	.run = kvm_run,
	.kick = kvm_kick,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.read_dirty = kvm_read_dirty,
	.destroy = kvm_destroy,
};
