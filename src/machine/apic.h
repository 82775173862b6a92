/* SPDX-License-Identifier: MIT
 * Local APICs and the messages between them: IPIs, MSIs, what the IO-APIC sends.
 *
 * Freestanding, compiled both into the monitor and into the front-end.  All state is in struct apics: plain
 * data in shared memory, no pointers.  Nothing here blocks, allocates or looks at a clock.
 *
 * Owner: a local APIC belongs to its vCPU, which alone calls the lapic_*() functions on it.  Any process or
 * thread may send messages at any time: apic_send() and apic_send_msi() touch nothing of another APIC but
 * its posting fields, with atomic operations, and read, without a lock, the registers by which a destination
 * is told.  (A guest that changes those while interrupts are under way cannot tell which came first.)
 *
 *   sender:  posted |= vector; outstanding = 1; was it 0? -> kick the vCPU
 *   vCPU:    outstanding = 0; IRR |= posted                       lapic_collect()
 *
 * Invariants
 *  P1  A vector is posted before `outstanding` is set, and `outstanding` is cleared before what was posted
 *      is taken: a message is never lost, at worst the vCPU looks once more.
 *  P2  Any bit pattern in struct apics is safe: each index is masked or bounded where it is used. */
#ifndef PENUMBRA_MACHINE_APIC_H
#define PENUMBRA_MACHINE_APIC_H

#include "base/types.h"

#define APIC_CPUS_MAX 64u /* sets of vCPUs are 64-bit words */

#define LAPIC_ADDRESS 0xfee00000ull /* where it lies after RESET */
#define LAPIC_SIZE 0x1000ull
#define LAPIC_HZ 1000000000ull      /* of the timer, before its divider */

#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST 0x8ffu

#define APIC_BASE_BSP BIT(8)
#define APIC_BASE_X2 BIT(10)
#define APIC_BASE_ENABLE BIT(11)

/* Register numbers: address / 16 in xAPIC mode, MSR - 0x800 in x2APIC mode (SDM 3A, tables 11-1 and 11-6). */
#define LAPIC_TPR 0x08u
#define LAPIC_EOI 0x0bu
#define LAPIC_ICR 0x30u

/* LVT entries, in the order of their registers. */
enum { LVT_TIMER, LVT_THERMAL, LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

/* How the vCPU takes part (struct lapic.mode). */
enum { LAPIC_OFF, LAPIC_X, LAPIC_X2 };

/* One value (S) or an array (A); width in bits.  The last six are written by senders. */
#define LAPIC_FIELDS(S, A) \
	S(64, icr) \
	S(64, tsc_deadline)  /* the guest's TSC at which the timer fires, 0: disarmed */ \
	S(64, timer_start)   /* machine time, ns, at which timer_count began */ \
	S(32, timer_count)   /* ticks to go at timer_start, 0: stopped */ \
	S(32, initial_count) \
	S(32, divide) \
	S(32, id) \
	S(32, ldr)           /* in x2APIC mode: derived from id */ \
	S(32, dfr) \
	S(32, svr) \
	S(32, tpr) \
	S(32, esr)           /* as the guest reads it */ \
	A(32, lvt, LVT_COUNT) \
	A(64, irr, 4) \
	A(64, isr, 4) \
	A(64, tmr, 4) \
	S(8, mode)           /* LAPIC_OFF, LAPIC_X, LAPIC_X2 */ \
	S(8, lint)           /* levels of LINT0 and LINT1: bits 0, 1 */ \
	A(64, posted, 4)     /* vectors not yet in IRR */ \
	A(64, posted_level, 4) /* ... that came by a level-triggered message */ \
	S(32, outstanding)   /* something was posted since the vCPU last looked */ \
	S(32, signals)       /* LAPIC_NMI ... */ \
	S(32, errors)        /* of the ESR, since it was last written */ \
	S(32, sipi)          /* vector of the last start-up message */

#define LAPIC_VALUE(width, name) u##width name;
#define LAPIC_ARRAY(width, name, count) u##width name[count];
struct lapic { LAPIC_FIELDS(LAPIC_VALUE, LAPIC_ARRAY) };

struct apics {
	u32 count;  /* vCPUs; their APIC ids are 0 .. count - 1 */
	u32 turn;   /* of lowest-priority arbitration among equals */
	struct lapic cpu[APIC_CPUS_MAX];
};

/* The time of a call: machine time, and the guest's TSC of this vCPU at that moment.  `mult` turns TSC ticks
 * into ns: ns = ticks * mult >> 32. */
struct lapic_now { u64 ns, tsc, mult; };

/* ---- messages ---- */

enum apic_delivery { APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_RESERVED, APIC_NMI, APIC_INIT, APIC_STARTUP, APIC_EXTINT };
enum apic_shorthand { APIC_DESTINATION, APIC_SELF, APIC_ALL, APIC_OTHERS };

struct apic_message {
	u32 dest;
	u8 vector, delivery, shorthand;
	u8 source;      /* number of the sending vCPU: for shorthands */
	bool logical, broadcast, level;
};

/* Posts a message to whom it concerns; the vCPUs that have to be told are added to the set *kick.  Returns
 * whether any APIC took it.  SDM 3A 11.6, 11.7. */
bool apic_send(struct apics *a, const struct apic_message *m, u64 *kick);

/* A write of `data` to `address`, if that is where MSIs go (SDM 3A 11.11): returns false where it is not, or
 * nobody took it. */
bool apic_send_msi(struct apics *a, u64 address, u32 data, u64 *kick);

/* ---- the local APIC, for its vCPU ---- */

/* Power-up state of vCPU `id`: xAPIC mode, ready for 8259 interrupts on the first one ("virtual wire"), as
 * firmware leaves it. */
void lapic_init(struct lapic *l, u32 id);

/* INIT: all registers but the id, the mode and what is still to be told to the vCPU (SDM 3A 11.4.7.3). */
void lapic_reset(struct lapic *l);

/* Moves the APIC to the mode that IA32_APIC_BASE = `value` asks for.  -1: #GP. */
int lapic_set_base(struct lapic *l, u64 value);

/* What a write to a register brought about. */
struct lapic_effect {
	u64 kick;      /* vCPUs to be told */
	int eoi;       /* vector whose level-triggered interrupt ended: for the IO-APIC, else -1 */
	bool timer;    /* the deadline may be nearer */
	bool recheck;  /* an interrupt may have become deliverable */
};

/* Registers in xAPIC mode: `offset` within the page.  Accesses other than 32-bit ones on a 16-byte boundary
 * have no effect and read as 0. */
u32 lapic_mmio_read(struct lapic *l, u32 offset, const struct lapic_now *now);
void lapic_mmio_write(struct apics *a, u32 cpu, u32 offset, u32 value, const struct lapic_now *now,
		      struct lapic_effect *effect);

/* MSRs 0x800-0x8ff and IA32_TSC_DEADLINE.  -1: #GP. */
int lapic_msr_read(struct lapic *l, u32 msr, const struct lapic_now *now, u64 *value);
int lapic_msr_write(struct apics *a, u32 cpu, u32 msr, u64 value, const struct lapic_now *now,
		    struct lapic_effect *effect);

/* CR8 and the TPR are one register: bits 4-7 of the latter.  A change of the TPR calls for a look at
 * lapic_pending(). */
static inline u64 lapic_cr8(const struct lapic *l) { return l->tpr >> 4 & 15; }
static inline void lapic_set_cr8(struct lapic *l, u64 value) { l->tpr = (u32)(value & 15) << 4; }

/* Signals for the vCPU itself. */
#define LAPIC_NMI 0x1u
#define LAPIC_INIT 0x2u
#define LAPIC_STARTUP 0x4u /* at address lapic.sipi << 12 */
#define LAPIC_ERROR 0x8u   /* an error of a received message: lapic_collect() sees to it */

/* Takes what was posted; returns the LAPIC_* signals. */
u32 lapic_collect(struct lapic *l);

/* Fires the timer where it is due. */
void lapic_advance(struct lapic *l, const struct lapic_now *now);
/* When it next is, machine time in ns; UINT64_MAX never. */
u64 lapic_deadline(const struct lapic *l, const struct lapic_now *now);

/* Level of the local interrupt inputs, 0 or 1.  Returns LAPIC_NMI where that is what the input asks for. */
u32 lapic_set_lint(struct lapic *l, int input, bool level);

/* Whether the 8259's interrupts get through: LINT0 takes them as such, or the APIC is off. */
bool lapic_takes_extint(const struct lapic *l);

/* The vector that can be delivered now, or -1; lapic_accept() takes it into service. */
int lapic_pending(const struct lapic *l);
/* The processor priority register; of another vCPU's APIC it is a snapshot. */
u32 lapic_priority(const struct lapic *l);
void lapic_accept(struct lapic *l, int vector);

#endif
