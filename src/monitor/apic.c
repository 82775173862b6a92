/* SPDX-License-Identifier: MIT
 * The interrupt controllers as the monitor runs them: the local APIC of the vCPU that runs here, the IO-APIC
 * and the 8259s behind it; and device memory, of which theirs is all that the monitor has.
 *
 *   device line -> IO-APIC pin --message--> local APIC --vector--> vCPU
 *              `-> 8259 --INTR--> LINT0 of the first local APIC ("virtual wire") --'
 *
 * Owner: the running carrier has its vCPU's local APIC; the device lock guards the rest.  The local APIC's hot
 * registers (EOI, TPR, ICR, timer) never leave this process. */
#include "monitor/devices.h"
#include "monitor/private.h"
#include "base/sys.h"
#include "x86/system.h"

static struct lapic *own(const struct cpu *c) { return &SH->apics.cpu[c->apic_id % APIC_CPUS_MAX]; }

static struct lapic_now time_now(const struct cpu *c)
{
	u64 tsc = host_rdtsc();

	return (struct lapic_now){ .ns = ns_at(tsc), .tsc = tsc + c->tsc_offset, .mult = SH->tsc_mult };
}

/* What firmware makes the same on all processors; kernels complain otherwise. */
static void firmware_setup(struct cpu *c, const struct cpu *first)
{
	c->pat = first->pat;
	c->misc_enable = first->misc_enable;
	c->mtrr_def = first->mtrr_def;
	__builtin_memcpy(c->mtrr_fix, first->mtrr_fix, sizeof c->mtrr_fix);
	__builtin_memcpy(c->mtrr_base, first->mtrr_base, sizeof c->mtrr_base);
	__builtin_memcpy(c->mtrr_mask, first->mtrr_mask, sizeof c->mtrr_mask);
}

void apic_setup(u32 count)
{
	SH->apics.count = count;
	for (u32 i = 0; i < count; i++) {
		struct cpu *c = &VCPU_AT(i)->cpu;

		lapic_init(&SH->apics.cpu[i], i);
		if (i) {
			cpu_reset(c);
			firmware_setup(c, &VCPU_AT(0)->cpu);
			c->apic_base &= ~APIC_BASE_BSP;
			c->halted = c->wait_startup = 1;
		}
		c->apic_id = i;
	}
}

/* The vCPUs that have got a message. */
static void tell(const struct cpu *c, u64 cpus)
{
	for (; cpus; cpus &= cpus - 1) {
		u32 n = (u32)__builtin_ctzll(cpus);

		if (n == c->apic_id)
			SPILL_K->pending = 1;
		else if (n < SH->n_vcpus)
			vcpu_kick(n);
	}
}

static void apply(struct cpu *c, const struct lapic_effect *effect)
{
	tell(c, effect->kick);
	if (effect->eoi >= 0) {
		device_lock();
		legacy_set_lines(&SH->legacy, SH->lines);
		legacy_ioapic_eoi(&SH->legacy, (u8)effect->eoi);
		device_unlock();
	}
	if (effect->eoi >= 0 || effect->recheck)
		SPILL_K->pending = 1;
	else if (effect->timer)
		carrier_arm_timer(apic_deadline(c));
	c->cr8 = lapic_cr8(own(c));
}

/* ---- events ---- */

/* SDM 3A 9.4.3: INIT takes a processor to wait for a start-up message; the first one would begin at the reset
 * vector, where a machine without firmware can only start anew. */
static void init_and_startup(struct cpu *c, u32 signals)
{
	u64 cr0 = c->cr0, cr4 = c->cr4, efer = c->efer;

	if (signals & LAPIC_INIT) {
		if (c->apic_base & APIC_BASE_BSP)
			monitor_end(MEND_RESET);
		cpu_init(c);
		lapic_reset(own(c));
		c->halted = c->wait_startup = 1;
		mmu_control_changed(c, cr0, cr4, efer);
		mmu_msr_changed(c, SYS_CHANGED_DR);
	}
	if ((signals & LAPIC_STARTUP) && c->wait_startup)
		cpu_startup(c, (u8)own(c)->sipi);
}

void apic_update(struct cpu *c)
{
	struct lapic *l = own(c);
	struct lapic_now now = time_now(c);
	u64 kick = 0;
	bool intr;
	u32 signals;

	device_lock();
	legacy_set_lines(&SH->legacy, SH->lines);
	legacy_ioapic_send(&SH->legacy, &SH->apics, &kick);
	intr = legacy_interrupt_pending(&SH->legacy);
	device_unlock();
	tell(c, kick);
	lapic_advance(l, &now);
	signals = lapic_collect(l);
	if (!c->apic_id)
		signals |= lapic_set_lint(l, 0, intr);
	if (signals & (LAPIC_INIT | LAPIC_STARTUP))
		init_and_startup(c, signals);
	if ((signals & LAPIC_NMI) && !c->wait_startup)
		c->nmi_pending = 1;
}

/* The 8259 has no priority: where it is let through it comes first. */
static bool extint_pending(const struct cpu *c)
{
	return !c->apic_id && legacy_interrupt_pending(&SH->legacy) && lapic_takes_extint(own(c));
}

bool apic_interrupt_pending(const struct cpu *c)
{
	return extint_pending(c) || lapic_pending(own(c)) >= 0;
}

int apic_interrupt_accept(struct cpu *c)
{
	int vector;

	if (extint_pending(c)) {
		device_lock();
		vector = legacy_interrupt_acknowledge(&SH->legacy);
		device_unlock();
		return vector;
	}
	vector = lapic_pending(own(c));
	lapic_accept(own(c), vector);
	return vector;
}

u64 apic_deadline(const struct cpu *c)
{
	struct lapic_now now = time_now(c);
	u64 timer = lapic_deadline(own(c), &now), legacy;

	if (c->apic_id)
		return timer;
	device_lock();
	legacy = legacy_next_deadline(&SH->legacy);
	device_unlock();
	return MIN(timer, legacy);
}

void apic_cr8_written(struct cpu *c)
{
	lapic_set_cr8(own(c), c->cr8);
	SPILL_K->pending = 1;
}

/* ---- MSRs ---- */

int apic_msr_read(struct cpu *c, u32 msr, u64 *value)
{
	struct lapic_now now = time_now(c);

	return lapic_msr_read(own(c), msr, &now, value);
}

int apic_msr_write(struct cpu *c, u32 msr, u64 value)
{
	struct lapic_now now;
	struct lapic_effect effect;

	if (msr == MSR_APIC_BASE) {
		SPILL_K->pending = 1;
		return lapic_set_base(own(c), value);
	}
	now = time_now(c);
	if (lapic_msr_write(&SH->apics, (u32)c->apic_id, msr, value, &now, &effect))
		return -1;
	apply(c, &effect);
	return 0;
}

/* ---- device memory ---- */

enum region { ELSEWHERE, LOCAL_APIC, IO_APIC };

static enum region region_of(const struct cpu *c, u64 pa)
{
	if ((pa & PAGE_MASK) == (c->apic_base & PTE_ADDR) && own(c)->mode == LAPIC_X)
		return LOCAL_APIC;
	return pa - IOAPIC_ADDRESS < IOAPIC_SIZE ? IO_APIC : ELSEWHERE;
}

void device_read(struct cpu *c, u64 pa, void *buffer, size_t n)
{
	u32 offset = (u32)(pa & ~PAGE_MASK), value = 0xffffffff;
	enum region region = region_of(c, pa);
	struct lapic_now now;

	if (region == ELSEWHERE) {
		front_read(pa, buffer, n);
		return;
	}
	__builtin_memset(buffer, 0xff, n);
	if (region == LOCAL_APIC) {
		now = time_now(c);
		value = lapic_mmio_read(own(c), offset & ~3u, &now) >> (offset & 3) * 8;
	} else if (region == IO_APIC) {
		device_lock();
		value = legacy_ioapic_read(&SH->legacy, offset & ~3u) >> (offset & 3) * 8;
		device_unlock();
	}
	__builtin_memcpy(buffer, &value, MIN(n, sizeof value - (offset & 3)));
}

void device_write(struct cpu *c, u64 pa, const void *buffer, size_t n)
{
	u32 offset = (u32)(pa & ~PAGE_MASK), value = 0;
	enum region region = region_of(c, pa);
	struct lapic_effect effect;
	struct lapic_now now;

	if (region == ELSEWHERE) {
		front_write(pa, buffer, n);
		return;
	}
	if ((offset & 3) || n > 8)
		return;
	__builtin_memcpy(&value, buffer, MIN(n, sizeof value));
	switch (region) {
	case LOCAL_APIC:
		now = time_now(c);
		lapic_mmio_write(&SH->apics, (u32)c->apic_id, offset, value, &now, &effect);
		apply(c, &effect);
		break;
	case IO_APIC:
		device_lock();
		legacy_set_lines(&SH->legacy, SH->lines);
		legacy_ioapic_write(&SH->legacy, offset, value);
		device_unlock();
		SPILL_K->pending = 1;
		break;
	case ELSEWHERE:
		break;
	}
}
