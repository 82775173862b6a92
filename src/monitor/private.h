/* SPDX-License-Identifier: MIT
 * What belongs to one carrier alone (the monitor's .bss is private to each process), and the
 * functions that the files of the monitor share. */
#ifndef PENUMBRA_MONITOR_PRIVATE_H
#define PENUMBRA_MONITOR_PRIVATE_H

#include "monitor/state.h"

#define ITLB_SIZE 1024
#define KTLB_SIZE 64
#define PAUSES 512 /* that a vCPU executes before it gives way to others: some 20 us */
#define FILLED_MAX 8192
#define SLOT_UNKNOWN BIT(62) /* not canonical */

struct insn;

struct mine {
	u32 number;             /* of this carrier among those of its vCPU */
	u32 user;               /* among all: its bit in instance.users */
	u64 code_epoch, kernel_epoch, rights_epoch, folds_epoch;
	u32 generation;         /* of the code cache that slots and lookup table belong to */
	u32 slots;              /* slots that are set up */
	u32 lock_depth;         /* how often it has taken the cache's lock */
	u64 armed;              /* deadline for which the timer is set, ns; 0: none */
	int timer;
	u32 n_filled, n_slots_filled; /* more than FILLED_MAX: not all are listed */
	u32 filled[FILLED_MAX];
	u32 slots_filled[FILLED_MAX];
	u32 pinned;             /* host processor that it keeps to, ~0: any */
	u32 placed;             /* events since it last let the host choose */
	bool floating;          /* the host may move it until the next event */
	u64 vmas_at;            /* fills when the mappings were last counted */
	bool want_switch;       /* CR3 names another carrier's root: switch before user code runs, */
	bool must_switch;       /* or now, since the kernel uses the user half */
	u32 foreign_accesses;   /* executed in C meanwhile */
	u64 checks;
	u64 table;              /* ... because it writes to this frame, + 1, a table that is watched */
	u64 foreign_rip;        /* the last string instruction that faulted so, and how often in a row */
	u32 foreign_faults;
	bool execute;           /* the instruction at rip must be executed in C */
	bool indirect;          /* an indirect branch leads to the block that is looked for */
	u32 left, left_generation; /* the block that was left last, and its cache */
	bool left_killed;       /* by this carrier, after it had looked at the bytes */
	bool stepping;          /* the trap flag is set to reach a precise point */
	bool stop_at_point;     /* leave there even with interrupts off: code changed under the block */
	struct block *finishing;/* dead block whose entry bytes are back until its instruction is done */
	bool fix_pushf;
	u32 storm;              /* test: host instructions until the next event */
	u64 probes_met;         /* events when one last came in a block whose stores ask first */
	bool fault_pending;     /* a page fault of user code was given to the guest */
	u32 guest_fault_error;
	u64 guest_fault_rip, guest_fault_address;
	u64 fault_rip, fault_address; /* the last fault that was filled, and how often in a row */
	u32 fault_repeats;
	u64 device_rip;         /* the last instruction that faulted on device memory, and how often in a row */
	u32 device_faults;
	u8 watch_hits;          /* breakpoints that the instruction under way has met */
	bool alone;             /* the next instruction runs by itself, with watched pages open */
	bool open;              /* it does so now */
	u64 unguarded;          /* RIP + 1 of the instruction that does so although CR0.TS or CR0.EM is set: they do not concern it */
	bool operand_watched, operand_lost; /* see operand_watch() */
	u8 operand[16];
	u64 operand_va, operand_n;
	u64 resume_rip;         /* address for which RF holds off breakpoints, 0: none is noted */
	/* Pages that code was fetched from, [0] of the guest's user half, [1] of the kernel's, and pages of the
	 * kernel's data that C has reached: physical addresses, as the processor's TLB would hold them. */
	struct page_entry { u64 key, pa; } itlb[2][ITLB_SIZE], ktlb[KTLB_SIZE];
	u32 kexec_epoch;        /* as of which itlb knows pages that are noted for all */
	bool ktlb_local;        /* some of the latter go with the next load of CR3 */
};
extern struct mine my;

/* execute.c */
void execute(struct cpu *c);
void probe_missed(struct cpu *c);
bool clears_trap(const struct insn *in);
/* interpret.c */
/* Whether the processor is in a mode whose code is not translated: real mode, legacy protected mode, and kernel
 * code of compatibility mode.  interpret() runs it for a while. */
static inline bool is_interpreted(const struct cpu *c)
{
	return !(c->efer & EFER_LMA) || (c->cpl != 3 && !(c->seg[SEG_CS].attr & ATTR_L));
}
void interpret(struct cpu *c);
/* Test: C executes what touches this page here. */
static inline bool test_unmapped(u64 va)
{
	return SH->knobs.unmapped && va - SH->knobs.unmapped < 2 * PAGE_SIZE && (VCPU->number & 1);
}
/* lookup.c */
/* The block at pc in a mode, translated if need be; NULL with an exception pending. */
struct block *lookup_at(struct cpu *c, u64 pc, u8 mode);
/* Physical address of the code byte at va; -1 with an exception pending where it may not be fetched. */
int fetch_address(struct cpu *c, u64 va, u64 *pa);
/* Enters a block, which has an indirect entry, into the lookup table of its world. */
void lookup_enter(u64 target, const struct block *b);
/* Fills the slot of an X_SLOT exit, and notes for other carriers where it leads. */
void slot_resolved(u32 exit, struct block *b);
/* run.c, lookup.c, mmu.c */
struct block *lookup_block(struct cpu *c);
void code_reset(void);          /* slots, lookup table and fetch cache of this carrier */
void instances_release(u32 n);
void slots_init(void);
void slots_catch_up(void);
/* The jump at host address `at` leads through a slot that this carrier had not met: now it has. */
bool slot_missing(u64 at);
void itlb_clear(void);          /* all of the three */
void ktlb_clear(void);
void translations_flush(void);
void kernel_code_check(struct cpu *c, u64 va); /* ~0: everything */
/* Kernel code to look at again: all; what goes with a load of CR3; of that only what roots with another upper half, or
 * programs, have executed; what lies in the lower half.  The last is part of the others. */
enum kexec_set { KEXEC_ALL, KEXEC_LOCAL, KEXEC_APART, KEXEC_LOW };
void kernel_local_code_check(struct cpu *c, enum kexec_set which);
void state_live(struct cpu *c, bool user);
/* Test: where the shadow has just been brought up to date. */
void carrier_check(bool user_flushed);
/* carrier.c: brings the peak of host mappings up to date. */
void carrier_count_vmas(void);
void carrier_place(void);
void carriers_retire(void);
void carrier_keep_place(void);
void root_is_eager(struct cpu *c);
/* The guest is about to get a #PF at va. */
void mmu_page_fault(struct cpu *c, u64 va);
/* The kernel reaches memory of the user half, whose carrier does not run: true where C may do it, false where the
 * carrier has to be switched to. */
/* ---- late.c, and the page that it writes to (vmem.c): `msr` is what KVM_SYSTEM_TIME was set to ---- */
void late_note(u64 due);
void late_check(void);
#define LATE_BEAT (NSEC / 2) /* a running guest hears from its timer at least so often, ns: see late.c */
void late_tell(struct cpu *c);
void clock_note_stopped(struct cpu *c, u64 msr);
bool foreign_access(struct cpu *c, bool user_page);
u8 current_mode(const struct cpu *c);
/* home.c */
void home_set(const struct cpu *c);      /* with the cache's lock */
void home_loaded(struct cpu *c, bool flush); /* CR3 was written */
void home_look(struct cpu *c);           /* before a look-up of code */
void home_invalidated(struct cpu *c);    /* INVPCID */
/* soft.c */
/* Another page is mapped for the access of user code at physical address pa: whether that is worth the software TLB, if
 * the instruction can use it (soft_try()). */
bool soft_due(u64 pa, u64 va);
void soft_try(u64 pa);
/* The access of the site to user address va misses the software TLB; `what`: see X_SOFT. */
void soft_exit(struct cpu *c, u64 site, u64 va, u32 what);
/* confine.c */
void confine_zygote(void);
void confine_carrier(void);
/* debug.c */
static inline bool debug_on(const struct cpu *c) { return c->dr[7] & 0xff; }
void debug_access(const struct cpu *c, u64 va, u64 n, bool write);
bool debug_watched(const struct cpu *c, u64 va);  /* the page must stay closed */
bool debug_code_page(const struct cpu *c, u64 pc);
bool debug_breakpoint(struct cpu *c);             /* at rip: true with #DB pending */
void debug_trap(struct cpu *c, bool step);        /* after an instruction */
void debug_stepped(struct cpu *c);                /* after one that ran as translated code */
void debug_close(const struct cpu *c);
void debug_changed(struct cpu *c);
void debug_alone(const struct cpu *c, const struct insn *in);
/* vmem.c */
/* What the next instruction reads and then writes is written only if no other processor has done so in between;
 * else it fails without an exception, operand_lost() says so, and it has to be executed again. */
void operand_watch(void);
bool operand_lost(void);
void io_poll_input(void);
void io_poll_output(void);        /* what the console had no room for before */
u64 ns_at(u64 tsc);             /* machine time when the host's counter read so */
/* frames.c */
/* Around a write by C to RAM, within a page, that another vCPU may execute: code on the page is dead when begin returns, and
 * nobody translates from it until end.  In between the caller waits for nobody.  Pass on what begin returned. */
bool frame_write_begin(u64 pa);
void frame_write_end(bool locked);
/* The same with the lock held in any case, so that the caller may wait; ends with cache_unlock(). */
void frame_write_lock(u64 pa);
/* apic.c */
void apic_setup(u32 count);
void apic_update(struct cpu *c);                        /* devices, messages and timers up to now */
bool apic_interrupt_pending(const struct cpu *c);
int apic_interrupt_accept(struct cpu *c);               /* the vector; one is pending */
u64 apic_deadline(const struct cpu *c);                 /* when a device or the timer needs a look, ns */
void apic_cr8_written(struct cpu *c);
void device_read(struct cpu *c, u64 pa, void *buffer, size_t n); /* physical memory that is not RAM */
void device_write(struct cpu *c, u64 pa, const void *buffer, size_t n);
/* smp.c */
/* Several vCPUs may run at once. */
static inline bool smp(void) { return CACHE->targets.smp; }
void lock_acquire(_Atomic u32 *word);
void lock_release(_Atomic u32 *word);
/* The lock on the cache and its records; nests.  Blocks and records found before are still what they were only
 * if the generation is the same; cache_lock_if() takes the lock only then. */
void cache_lock(void);
void cache_unlock(void);
bool cache_lock_if(u32 generation);
/* The lock on the devices and the console's rings. */
static inline void device_lock(void)
{
	if (smp())
		lock_acquire(&SH->device_lock);
}
static inline void device_unlock(void)
{
	if (smp())
		lock_release(&SH->device_lock);
}
/* From now on this vCPU may, or does not, use blocks and records. */
void cache_work(void);
void cache_rest(void);
void cache_idle(bool polling);
/* Slots whose stubs this vCPU may look up. */
u32 slots_ready(void);
/* All other vCPUs notice what became code, or was claimed, before they run another guest instruction. */
void world_notice(void);
/* All vCPUs have left the cache, until world_fill(). */
void world_empty(void);
void world_fill(void);
/* Before guest code runs: in the run loop, in a signal handler, and last of all. */
void smp_turn(void);
void smp_serve(void);
bool smp_may_enter(void);
void vcpu_signal(const struct vcpu *v);
/* vcpu.c */
/* Makes the calling process a carrier of vCPU n: maps its area and spill pages at their fixed addresses. */
void vcpu_attach(u32 n);
void vcpu_protect_spill(void);
struct constants *vcpu_constants(u32 n);
/* Something happened for vCPU n: it looks for events soon, wherever it is. */
void vcpu_kick(u32 n);
/* Whether the block that was left last stands for its guest code no more: what is read from there now may be another
 * instruction than the one that left.  Blocks die before their bytes change (B5). */
static inline bool left_is_stale(void)
{
	return smp() && !my.left_killed && (my.left_generation != CACHE->generation || (CACHE->blocks[my.left].flags & BLOCK_DEAD));
}
/* Called from entry.S. */
struct ucontext;
void monitor_setup(u64 *stack);
_Noreturn void monitor_main(void);
_Noreturn void exit_dispatch(u32 id);
void signal_handler(int sig, void *info, struct ucontext *uc);

#endif
