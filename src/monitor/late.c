/* SPDX-License-Identifier: MIT
 * A host that does not let a vCPU run: noticed by timers that come late, and told to the guest, so that its watchdogs
 * (soft lockup, RCU stall, hung task) do not take the host's fault for its own.
 *
 * The word for it is PVCLOCK_GUEST_STOPPED in the clock pages of all vCPUs (Linux, Documentation/virt/kvm/x86/msr.rst,
 * MSR_KVM_SYSTEM_TIME_NEW): the kernel clears it and lets its watchdogs begin anew.  Only time in which the
 * host had been asked to run the vCPU counts, so that a guest which keeps interrupts off, or spins, still hears of that.
 *
 * Owner: the running carrier of the vCPU; late_note() also in signal handlers. */
#include "monitor/private.h"

#define WINDOW (4 * NSEC)
#define LATE_ENOUGH (WINDOW / 2)
#define SLICE 2000000u /* other processes' turns of this length are usual */

/* Whoever first hears of the running guest's deadline, the timer's signal or the look for events that a kick brought
 * about: the interrupt must not get to the guest before the word does. */
void late_check(void)
{
	late_note(atomic_exchange(&VCPU->late.awaited, 0));
}

/* A deadline (ns) was heard of only now. */
void late_note(u64 due)
{
	struct lateness *l = &VCPU->late;
	u64 now = now_ns();

	if (!due || due + SLICE > now)
		return;
	if (now - l->since > WINDOW) {
		l->since = now;
		l->lost = 0;
	}
	l->lost += now - due;
	if (l->lost < LATE_ENOUGH)
		return;
	l->since = now;
	l->lost = 0;
	l->told = true;
}

/* A vCPU that the host does not let run cannot say so, but the others report its silence: they look for it.  What it is due to
 * is a beat of its timer, or the end of its sleep. */
static void look_for_others(void)
{
	struct lateness *l = &VCPU->late;
	u64 now = now_ns();

	if (now - l->looked < LATE_BEAT)
		return;
	l->looked = now;
	for (u32 n = 0; n < SH->n_vcpus; n++) {
		u64 due = VCPU_AT(n)->late.due;

		if (n == VCPU->number || !due || due + LATE_ENOUGH > now)
			continue;
		l->told = true; /* and again at each look: the guest's watchdogs ask more than once */
	}
}

/* Before interrupts are delivered. */
void late_tell(struct cpu *c)
{
	if (smp())
		look_for_others();
	if (!VCPU->late.told)
		return;
	VCPU->late.told = false;
	VCPU->count.starved++;
	for (u32 n = 0; n < SH->n_vcpus; n++)
		clock_note_stopped(c, VCPU_AT(n)->cpu.kvm_system_time);
}
