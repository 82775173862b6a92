/* SPDX-License-Identifier: MIT
 * The accelerator over /dev/kvm (Linux Documentation/virt/kvm/api.rst): making the machine, its CPUID, its
 * state, its dirty pages.  Running it is kvm_run.c's.
 *
 * KVM runs the processors, and has the interrupt controllers (8259s, IO-APIC, local APICs) and the interval
 * timer; all other devices are the machine's.  Everything here is the first vCPU's thread's, but set_irq(),
 * raise_msi() and set_bell(), which any thread calls. */
#include "accel/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel/kvm_cpuid.h"
#include "accel/kvm_state.h"
#include "accel/probe.h"

/* Three pages that Intel's processors want for real mode; within the device hole. */
#define TSS_ADDRESS 0xfffbd000ull
#define IDENTITY_MAP_ADDRESS 0xfffbc000ull

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

/* Lines as the MADT describes them: 0-15 go to both controllers, the timer's to pin 2 of the IO-APIC; the rest
 * are pins of the IO-APIC. */
#define PINS 24
static int set_routes(struct kvm *k, struct err *e)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[2 * PINS];
	} table = { .head.nr = 0 };
	u32 n = 0;

	for (u32 gsi = 0; gsi < PINS; gsi++) {
		if (gsi < 16 && gsi != 2)
			table.entry[n++] = (struct kvm_irq_routing_entry){
				.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
				.u.irqchip = { gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi & 7 },
			};
		if (gsi != 2)
			table.entry[n++] = (struct kvm_irq_routing_entry){
				.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
				.u.irqchip = { KVM_IRQCHIP_IOAPIC, gsi ? gsi : 2 },
			};
	}
	table.head.nr = n;
	return ioctl(k->vm_fd, KVM_SET_GSI_ROUTING, &table) ? err_sys(e, errno, "KVM_SET_GSI_ROUTING") : 0;
}

static int make_controllers(struct kvm *k, struct err *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	if (ioctl(k->vm_fd, KVM_CREATE_IRQCHIP, 0))
		return err_sys(e, errno, "KVM_CREATE_IRQCHIP");
	if (ioctl(k->vm_fd, KVM_CREATE_PIT2, &pit))
		return err_sys(e, errno, "KVM_CREATE_PIT2");
	return set_routes(k, e);
}

static int make_vm(struct vm *vm, struct kvm *k, struct err *e)
{
	u64 identity = IDENTITY_MAP_ADDRESS;
	int rc;

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
	rc = make_controllers(k, e);
	return rc ? rc : set_slots(vm, 0, e);
}

static int make_vcpu(struct kvm *k, struct kvm_vcpu *v, struct err *e)
{
	void *map;

	v->fd = ioctl(k->vm_fd, KVM_CREATE_VCPU, v->number);
	if (v->fd < 0)
		return err_sys(e, errno, "KVM_CREATE_VCPU");
	map = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (map == MAP_FAILED)
		return err_sys(e, errno, "map of a vCPU");
	v->run = map;
	return kvm_cpuid_set(k->kvm_fd, v->fd, v->number, k->n_vcpus, e);
}

static int make_vcpus(struct vm *vm, struct kvm *k, struct err *e)
{
	int size = ioctl(k->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0), rc = 0;

	if (size < (int)sizeof(struct kvm_run))
		return err_set(e, -EINVAL, "KVM_GET_VCPU_MMAP_SIZE: %d", size);
	k->run_size = (size_t)size;
	for (u32 i = 0; !rc && i < k->n_vcpus; i++) {
		struct kvm_vcpu *v = &k->vcpu[i];

		v->vm = vm;
		v->number = i;
		rc = make_vcpu(k, v, e);
		/* The others wait for INIT and start-up, and their counters go with the first one's. */
		if (!rc && i)
			rc = kvm_state_set_tsc(v->fd, vm->cpu.tsc_offset, e);
	}
	return rc;
}

static void kvm_destroy(struct vm *vm)
{
	struct kvm *k = vm->accel_state;

	if (!k)
		return;
	for (u32 i = 0; i < k->n_vcpus; i++) {
		if (k->vcpu[i].run)
			munmap(k->vcpu[i].run, k->run_size);
		if (k->vcpu[i].fd >= 0)
			close(k->vcpu[i].fd);
	}
	if (k->vm_fd >= 0)
		close(k->vm_fd);
	if (k->kvm_fd >= 0)
		close(k->kvm_fd);
	pthread_mutex_destroy(&k->lock);
	pthread_mutex_destroy(&k->bell_lock);
	free(k);
	vm->accel_state = NULL;
}

int kvm_get_state(struct vm *vm, u32 n, struct cpu *c, struct err *e)
{
	struct kvm *k = vm->accel_state;

	memset(c, 0, sizeof *c);
	if (n >= k->n_vcpus)
		return err_set(e, -ENOENT, "vCPU %u: the machine has %u", n, k->n_vcpus);
	return kvm_state_get(k->vcpu[n].fd, c, e);
}

static int kvm_set_state(struct vm *vm, u32 n, const struct cpu *c, struct err *e)
{
	struct kvm *k = vm->accel_state;

	if (n >= k->n_vcpus)
		return err_set(e, -ENOENT, "vCPU %u: the machine has %u", n, k->n_vcpus);
	return kvm_state_set(k->vcpu[n].fd, c, e);
}

static int kvm_create(struct vm *vm, struct err *e)
{
	struct kvm *k = calloc(1, sizeof *k);
	int rc;

	if (!k)
		return err_set(e, -ENOMEM, "no memory");
	k->kvm_fd = k->vm_fd = -1;
	k->n_vcpus = MAX(vm->n_cpus, 1u);
	for (u32 i = 0; i < KVM_VCPUS; i++)
		k->vcpu[i].fd = -1;
	pthread_mutex_init(&k->lock, NULL);
	pthread_mutex_init(&k->bell_lock, NULL);
	vm->accel_state = k;
	rc = make_vm(vm, k, e);
	if (!rc)
		rc = make_vcpus(vm, k, e);
	if (!rc)
		rc = kvm_set_state(vm, 0, &vm->cpu, e);
	if (rc) {
		kvm_destroy(vm);
		err_prefix(e, "kvm");
	}
	return rc;
}

/* ---- interrupts and bells ---- */

static void kvm_set_irq(struct vm *vm, int gsi, bool level)
{
	struct kvm *k = vm->accel_state;
	struct kvm_irq_level line = { .irq = (u32)gsi, .level = level };

	if (ioctl(k->vm_fd, KVM_IRQ_LINE, &line))
		vm_request_end(vm, END_ERROR);
}

/* KVM answers 0 where no APIC takes the message, as for a guest that sends one before it is ready. */
static void kvm_raise_msi(struct vm *vm, u64 address, u32 data)
{
	struct kvm *k = vm->accel_state;
	struct kvm_msi msi = { .address_lo = (u32)address, .address_hi = (u32)(address >> 32), .data = data };

	ioctl(k->vm_fd, KVM_SIGNAL_MSI, &msi);
}

/* Where KVM cannot, such writes come to device_memory(). */
static void ioeventfd(struct kvm *k, int fd, u64 gpa, u32 n, u32 flags)
{
	for (u32 i = 0; i < n; i++) {
		struct kvm_ioeventfd io = { .addr = gpa + 4 * i, .len = 0, .fd = fd, .flags = flags };

		ioctl(k->vm_fd, KVM_IOEVENTFD, &io);
	}
}

static void kvm_set_bell(struct vm *vm, unsigned slot, u64 gpa, u32 n)
{
	struct kvm *k = vm->accel_state;

	if (slot >= VM_BELLS || vm->bells[slot] < 0)
		return;
	pthread_mutex_lock(&k->bell_lock);
	if (k->bell[slot].gpa)
		ioeventfd(k, vm->bells[slot], k->bell[slot].gpa, k->bell[slot].n, KVM_IOEVENTFD_FLAG_DEASSIGN);
	k->bell[slot] = (struct kvm_bell){ gpa, n };
	if (gpa)
		ioeventfd(k, vm->bells[slot], gpa, n, 0);
	pthread_mutex_unlock(&k->bell_lock);
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
	.max_cpus = KVM_VCPUS,
	.probe = kvm_probe,
	.create = kvm_create,
	.run = kvm_run,
	.kick = kvm_kick,
	.set_irq = kvm_set_irq,
	.raise_msi = kvm_raise_msi,
	.set_bell = kvm_set_bell,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.read_dirty = kvm_read_dirty,
	.destroy = kvm_destroy,
};
