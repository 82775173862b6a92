/* SPDX-License-Identifier: MIT
 * To whose upper half the kernel's translations belong.
 *
 * They are linked to each other whatever the address space, for nearly all roots of a kernel have one upper half: that of
 * `home`.  A root with another one, as the user's is with page table isolation, or that of another kernel, is apart: its
 * kernel code has translations of its own (TM_APART), which find their indirect targets through C, and the gates are
 * closed.  So what only home maps stays translated while such a root is loaded, and cannot be reached.  A kernel that
 * remains apart makes its home there.
 *
 * Stale is what the architecture lets be: each load of CR3 looks again at what it may have invalidated (SDM volume 3,
 * 4.10.4.1), of home or of what is apart.
 *
 * Owner: the running carrier; `home` changes under the cache's lock. */
#include "monitor/private.h"
#include "shadow/shadow.h"

#define APART_MOST 4096 /* look-ups without home until that moves */
/* Pages that are not global, up to which each change of PCID looks at all of them.  A kernel with page table isolation has
 * thousands: there what one PCID may hold stale lasts into the next. */
#define FEW 256

static bool at_home(const struct cpu *c)
{
	const u64 *root = ram_pointer(c->cr3 & PTE_ADDR);

	for (int i = 0; root && i < 256; i++)
		if ((root[256 + i] ^ SH->home[i]) & ~(PTE_A | PTE_D))
			return false;
	return true;
}

void home_set(const struct cpu *c)
{
	const u64 *root = ram_pointer(c->cr3 & PTE_ADDR);

	if (root)
		__builtin_memcpy(SH->home, root + 256, sizeof SH->home);
	SH->apart_root = 0;
	atomic_fetch_add(&SH->home_number, 1);
}

static void judge(struct cpu *c)
{
	bool before = VCPU->apart;

	VCPU->home_seen = SH->home_number;
	VCPU->apart = SH->local_kexec && !at_home(c);
	if (VCPU->apart)
		CONSTANTS->syscall_gate = (u64)exit_user;
	if (VCPU->apart != before)
		itlb_clear();
}

void home_loaded(struct cpu *c, bool flush)
{
	u64 root = c->cr3 & PTE_ADDR, pcid = c->cr4 & CR4_PCIDE ? c->cr3 & 0xfff : 0;

	judge(c);
	if (!VCPU->apart) {
		/* What one PCID holds says nothing of another's. */
		bool other = pcid != VCPU->home_pcid && SH->local_kexec <= FEW;

		VCPU->apart_turns = 0;
		VCPU->home_pcid = pcid;
		kernel_local_code_check(c, flush || other || SH->home_stale ? KEXEC_LOCAL : KEXEC_LOW);
		SH->home_stale = false;
		return;
	}
	root |= pcid;
	if (!flush && SH->apart_root == root)
		return;
	kernel_local_code_check(c, KEXEC_APART);
	SH->apart_root = root;
}

void home_invalidated(struct cpu *c)
{
	SH->apart_root = 0;
	SH->home_stale |= VCPU->apart;
	kernel_local_code_check(c, VCPU->apart ? KEXEC_APART : KEXEC_LOCAL);
}

static void home_move(struct cpu *c)
{
	VCPU->apart_turns = 0;
	/* Other vCPUs may be at home. */
	if (smp())
		translations_flush();
	cache_lock();
	home_set(c);
	cache_unlock();
	judge(c);
	kernel_local_code_check(c, KEXEC_LOCAL);
}

void home_look(struct cpu *c)
{
	if (VCPU->home_seen != SH->home_number)
		judge(c);
	if (VCPU->apart && ++VCPU->apart_turns > APART_MOST)
		home_move(c);
}
