/* SPDX-License-Identifier: MIT
 * What the guest does to its address spaces: the hooks of x86/system.h for control registers, INVLPG,
 * INVPCID and the MSRs that translated code depends on. */
#include "monitor/private.h"
#include "shadow/shadow.h"
#include "translate/targets.h"
#include "x86/system.h"

static void mark_stale(u64 pcid)
{
	for (u32 i = 0; i < VCPU->n_bound; i++)
		if (VCPU->carriers[i].cr3 != ~0ull && (pcid == ~0ull || VCPU->carriers[i].pcid == pcid))
			VCPU->carriers[i].stale = true;
}

/* Other carriers do the same before they run. */
static void note_kernel_flush(u64 va)
{
	VCPU->kernel_flushed[VCPU->kernel_epoch++ % KERNEL_FLUSHES] = va;
	my.kernel_epoch = VCPU->kernel_epoch;
}

/* What was invalidated of the current PCID may be mapped by other carriers too: the guest gave several roots one PCID. */
static void mark_sharers(const struct cpu *c)
{
	u64 pcid = c->cr4 & CR4_PCIDE ? c->cr3 & 0xfff : 0;

	for (u32 i = 0; i < VCPU->n_bound; i++)
		if (i != my.number && VCPU->carriers[i].pcid == pcid)
			VCPU->carriers[i].stale = true;
}

static void after_user_flush(bool all)
{
	carrier_check(all);
	if (space_code_changed())
		code_reset();
}

static void flush_everything(struct cpu *c)
{
	note_kernel_flush(KERNEL_EVERYTHING);
	mark_stale(~0ull);
	space_flush_all(c);
	kernel_code_check(c, ~0ull);
	after_user_flush(true);
}

static u32 eager_index(u64 root) { return (u32)(root >> PAGE_SHIFT) % ARRAY_SIZE(VCPU->eager); }

/* Whether the upper half is what this carrier's root has there.  It mostly is, and may be used before the switch. */
static bool same_upper_half(u64 root)
{
	const u64 *a = ram_pointer(root), *b = ram_pointer(VCPU->carriers[my.number].cr3);

	for (int i = 256; a && b && i < 512; i++)
		if ((a[i] ^ b[i]) & ~(PTE_A | PTE_D))
			return false;
	return a && b;
}

/* A switch of carriers is put off until user code runs or the kernel has touched user memory more than
 * a little: the kernel's half is the same everywhere, and access to the user half is closed until then. */
void mmu_cr3_written(struct cpu *c, u64 old, u64 value_written)
{
	bool pcide = c->cr4 & CR4_PCIDE, flush = !(pcide && value_written >> 63);
	u64 root = c->cr3 & PTE_ADDR, pcid = pcide ? c->cr3 & 0xfff : 0;
	bool apart;

	VCPU->count.cr3_loads++;
	if (my.ktlb_local)
		ktlb_clear();
	if (flush)
		mark_stale(pcid);
	for (u32 i = 0; i < VCPU->n_bound; i++) {
		struct carrier_slot *s = &VCPU->carriers[i];

		if (s->cr3 != root)
			continue;
		/* What was cached under another number does not count for this one. */
		s->stale |= flush || s->pcid != pcid;
		s->pcid = (u32)pcid;
	}
	my.foreign_accesses = 0;
	my.must_switch = false;
	my.want_switch = VCPU->carriers[my.number].cr3 != root;
	/* A kernel that takes most of itself out of the user's root goes to and fro at each system call: what this carrier
	 * has stays for when its root is back. */
	apart = my.want_switch && !same_upper_half(root);
	if (!apart && (flush || (pcide && (old & 0xfff) != pcid)))
		space_flush_local(c);
	home_loaded(c, flush);
	if (!my.want_switch && VCPU->carriers[my.number].stale)
		carrier_catch_up();
	if (my.want_switch && (space_low_supervisor() || VCPU->eager[eager_index(root)] == root || apart))
		my.must_switch = true;
}

/* The kernel used the user's memory of the current root before its carrier ran: next time switch at once. */
void root_is_eager(struct cpu *c)
{
	u64 root = c->cr3 & PTE_ADDR;

	VCPU->eager[eager_index(root)] = root;
	my.must_switch = true;
}

/* Accesses to supervisor pages in the user half of a root without its carrier: Linux writes its code through such a
 * page, in an address space that it loads for that alone (text_poke()).  Most are short; a long one does not make
 * all others change carriers too. */
#define FOREIGN_MAX 64

bool foreign_access(struct cpu *c, bool user_page)
{
	if (user_page)
		root_is_eager(c);
	else if (++my.foreign_accesses <= FOREIGN_MAX)
		return true;
	my.must_switch = true;
	return false;
}

/* User addresses that the guest invalidates belong to another carrier than this one. */
static bool foreign(struct cpu *c)
{
	if (!my.want_switch)
		return false;
	for (u32 i = 0; i < VCPU->n_bound; i++)
		if (VCPU->carriers[i].cr3 == (c->cr3 & PTE_ADDR))
			VCPU->carriers[i].stale = true;
	return true;
}

void mmu_control_changed(struct cpu *c, u64 old_cr0, u64 old_cr4, u64 old_efer)
{
	u64 paging = CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PSE;

	if ((c->cr0 ^ old_cr0) & (CR0_TS | CR0_EM)) {
		VCPU->gates_stale = true;
		VCPU->gates_open = false;
	}
	/* What an entry permits, and with it what is mapped of it, depends on these. */
	if (((c->cr0 ^ old_cr0) & CR0_WP) || ((c->efer ^ old_efer) & EFER_NX)) {
		my.rights_epoch = ++VCPU->rights_epoch;
		space_drop_all();
	}
	if (((c->cr0 ^ old_cr0) & (CR0_PG | CR0_WP)) || ((c->cr4 ^ old_cr4) & paging) ||
	    ((c->efer ^ old_efer) & (EFER_NX | EFER_LMA)))
		flush_everything(c);
	/* What leaves for C works either way. */
	if ((c->cr4 & ~old_cr4 & CR4_TSD) || (old_cr4 & ~c->cr4 & CR4_FSGSBASE))
		translations_flush();
}

void mmu_invlpg(struct cpu *c, gva_t address)
{
	if (!is_kernel_half(address.v)) {
		kernel_local_code_check(c, KEXEC_LOW);
		mark_sharers(c);
	}
	if (is_kernel_half(address.v)) {
		note_kernel_flush(address.v & PAGE_MASK);
		kernel_code_check(c, address.v);
	} else if (foreign(c)) {
		return;
	}
	space_invalidate(c, address.v);
	after_user_flush(false);
}

/* A #PF is about to be raised: nothing that was cached of the address outlives it (SDM 3A, 4.10.4.1). */
void mmu_page_fault(struct cpu *c, u64 va)
{
	if (is_kernel_half(va)) {
		mmu_invlpg(c, (gva_t){ va });
		return;
	}
	kernel_local_code_check(c, KEXEC_LOW);
	mark_sharers(c);
	if (foreign(c))
		return;
	space_invalidate(c, va);
	after_user_flush(false);
}

void mmu_invpcid(struct cpu *c, u64 type, u64 pcid, gva_t address)
{
	u64 current = c->cr4 & CR4_PCIDE ? c->cr3 & 0xfff : 0;

	if (type == 2) {
		flush_everything(c);
		return;
	}
	if (type == 0 && !is_kernel_half(address.v))
		kernel_local_code_check(c, KEXEC_LOW);
	else
		home_invalidated(c);
	mark_stale(type == 3 ? ~0ull : pcid);
	if (my.ktlb_local)
		ktlb_clear();
	if (type == 0 && is_kernel_half(address.v))
		itlb_clear();
	if ((type == 3 || pcid == current) && foreign(c))
		return;
	if (type == 3 || (type == 1 && pcid == current)) {
		space_flush_user(c);
		VCPU->carriers[my.number].stale = false;
	} else if (type == 0 && pcid == current) {
		space_invalidate(c, address.v);
		VCPU->carriers[my.number].stale = false;
	}
	after_user_flush(false);
}

#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define MSR_TSC_AUX 0xc0000103

void mmu_msr_changed(struct cpu *c, u32 what)
{
	switch (what) {
	case MSR_EFER: case MSR_STAR: case MSR_LSTAR: case MSR_SFMASK:
		VCPU->gates_stale = true;
		break;
	case SYS_CHANGED_CR8:
		apic_cr8_written(c);
		break;
	case SYS_CHANGED_DR:
		debug_changed(c);
		space_gate(0); /* a checked store would pass by a breakpoint */
		break;
	case MSR_TSC_AUX:
		CONSTANTS->tsc_aux = c->tsc_aux;
		break;
	default:
		break;
	}
}
