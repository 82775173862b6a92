/* SPDX-License-Identifier: MIT
 * The local APIC: registers, priorities, timer.
 * Freestanding; its vCPU calls (see apic.h).
 *
 * Source: Intel SDM volume 3A chapter 11 ("Advanced Programmable Interrupt Controller"; 10 in older
 * editions): 11.4 the APIC, 11.5 local interrupts and timer, 11.8 priorities and EOI, 11.12 x2APIC.
 *
 *            EN=0               EN=1, EXTD=0            EN=1, EXTD=1
 *         LAPIC_OFF  <------>     LAPIC_X    ------->     LAPIC_X2        lapic_set_base()
 *              ^------------------------------------------'              every other way is #GP */
#include "machine/apic.h"

#define VERSION 0x50014u       /* six LVT entries, no directed EOI */

#define SVR_ENABLE 0x100u
#define LVT_MASKED 0x10000u
#define LVT_MODE(v) ((v) >> 8 & 7)
#define LVT_TIMER_MODE(v) ((v) >> 17 & 3)
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };

#define ESR_SEND_VECTOR 0x20u
#define ESR_RECEIVE_VECTOR 0x40u
#define ESR_REGISTER 0x80u

#define ICR_WRITABLE 0xccfffu
#define STATUS 0x1000u         /* delivery status: always idle; a write does not matter */
#define LINT_READ_ONLY (STATUS | 0x4000u /* remote IRR */)
#define ICR_DEASSERT(v) (((v) & 0xc000) == 0x8000) /* level-triggered and not asserted */

/* ---- sets of vectors ---- */

static void set_vector(u64 *set, u32 v) { set[v >> 6 & 3] |= BIT(v & 63); }
static void clear_vector(u64 *set, u32 v) { set[v >> 6 & 3] &= ~BIT(v & 63); }
static bool has_vector(const u64 *set, u32 v) { return set[v >> 6 & 3] >> (v & 63) & 1; }

/* The highest vector, -1 in an empty set. */
static int highest(const u64 *set)
{
	for (int i = 3; i >= 0; i--)
		if (set[i])
			return i * 64 + 63 - __builtin_clzll(set[i]);
	return -1;
}

/* ---- priorities, section 11.8.3 ---- */

u32 lapic_priority(const struct lapic *l)
{
	int served = highest(l->isr);
	u32 class = served < 0 ? 0 : (u32)served & 0xf0;

	return (l->tpr & 0xf0) >= class ? l->tpr & 0xff : class;
}

int lapic_pending(const struct lapic *l)
{
	int vector = highest(l->irr);

	if (vector < 16 || l->mode == LAPIC_OFF || !(l->svr & SVR_ENABLE))
		return -1;
	return ((u32)vector & 0xf0) > (lapic_priority(l) & 0xf0) ? vector : -1;
}

void lapic_accept(struct lapic *l, int vector)
{
	clear_vector(l->irr, (u32)vector);
	set_vector(l->isr, (u32)vector);
}

static void end_of_interrupt(struct lapic *l, struct lapic_effect *effect)
{
	int vector = highest(l->isr);

	if (vector < 0)
		return;
	clear_vector(l->isr, (u32)vector);
	if (has_vector(l->tmr, (u32)vector))
		effect->eoi = vector;
	effect->recheck = lapic_pending(l) >= 0;
}

/* ---- local interrupts, section 11.5 ---- */

static void local_error(struct lapic *l, u32 bit);

static void local_vector(struct lapic *l, u32 lvt)
{
	u32 vector = lvt & 0xff;

	if (vector < 16) {
		local_error(l, ESR_RECEIVE_VECTOR);
		return;
	}
	clear_vector(l->tmr, vector);
	set_vector(l->irr, vector);
}

/* The error entry itself cannot report that its vector is bad. */
static void error_interrupt(struct lapic *l)
{
	u32 lvt = l->lvt[LVT_ERROR];

	if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
		local_vector(l, lvt);
}

static void local_error(struct lapic *l, u32 bit)
{
	__atomic_fetch_or(&l->errors, bit, __ATOMIC_SEQ_CST);
	error_interrupt(l);
}

u32 lapic_set_lint(struct lapic *l, int input, bool level)
{
	u32 lvt = l->lvt[LVT_LINT0 + (input & 1)];
	u8 bit = (u8)(1 << (input & 1)), was = l->lint & bit;

	l->lint = (u8)((l->lint & ~bit) | (level ? bit : 0));
	if (!level || was)
		return 0;
	if (l->mode == LAPIC_OFF)
		return input & 1 ? LAPIC_NMI : 0; /* the inputs are then the processor's NMI and INTR */
	if (lvt & LVT_MASKED)
		return 0;
	if (LVT_MODE(lvt) == APIC_NMI)
		return LAPIC_NMI;
	if (LVT_MODE(lvt) == APIC_FIXED)
		local_vector(l, lvt);
	return 0;
}

bool lapic_takes_extint(const struct lapic *l)
{
	u32 lvt = l->lvt[LVT_LINT0];

	return l->mode == LAPIC_OFF || (!(lvt & LVT_MASKED) && LVT_MODE(lvt) == APIC_EXTINT);
}

u32 lapic_collect(struct lapic *l)
{
	u32 signals;

	if (!__atomic_load_n(&l->outstanding, __ATOMIC_ACQUIRE))
		return 0;
	__atomic_exchange_n(&l->outstanding, 0, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 4; i++) {
		u64 level, come;

		if (!__atomic_load_n(&l->posted[i], __ATOMIC_ACQUIRE))
			continue;
		come = __atomic_exchange_n(&l->posted[i], 0, __ATOMIC_SEQ_CST);
		level = __atomic_load_n(&l->posted_level[i], __ATOMIC_ACQUIRE);
		l->irr[i] |= come;
		l->tmr[i] = (l->tmr[i] & ~come) | (level & come);
	}
	signals = __atomic_exchange_n(&l->signals, 0, __ATOMIC_SEQ_CST);
	if (signals & LAPIC_ERROR)
		error_interrupt(l);
	return signals & ~LAPIC_ERROR;
}

/* ---- timer, section 11.5.4 ---- */

/* Log2 of the divider: 000 is 2, 110 is 128, 111 is 1. */
static int divide_shift(const struct lapic *l)
{
	return (int)(((l->divide & 3) | (l->divide >> 1 & 4)) + 1) & 7;
}

static u32 timer_mode(const struct lapic *l) { return LVT_TIMER_MODE(l->lvt[LVT_TIMER]); }

static u64 since(u64 now, u64 start) { return now > start ? now - start : 0; }

static u32 current_count(const struct lapic *l, u64 ns)
{
	u64 gone = since(ns, l->timer_start) >> divide_shift(l);

	if (gone < l->timer_count)
		return l->timer_count - (u32)gone;
	if (timer_mode(l) != TIMER_PERIODIC || !l->initial_count || !l->timer_count)
		return 0;
	return l->initial_count - (u32)((gone - l->timer_count) % l->initial_count);
}

static void timer_stop(struct lapic *l)
{
	l->timer_count = 0;
	l->tsc_deadline = 0;
}

static void timer_fire(struct lapic *l)
{
	if (!(l->lvt[LVT_TIMER] & LVT_MASKED))
		local_vector(l, l->lvt[LVT_TIMER]);
}

/* However many periods have passed, there is one interrupt: IRR has one bit for them. */
void lapic_advance(struct lapic *l, const struct lapic_now *now)
{
	int shift = divide_shift(l);
	u64 period;

	if (l->tsc_deadline && now->tsc >= l->tsc_deadline) {
		l->tsc_deadline = 0;
		timer_fire(l);
	}
	if (!l->timer_count || since(now->ns, l->timer_start) < (u64)l->timer_count << shift)
		return;
	timer_fire(l);
	if (timer_mode(l) != TIMER_PERIODIC || !l->initial_count) {
		l->timer_count = 0;
		return;
	}
	l->timer_start += (u64)l->timer_count << shift;
	l->timer_count = l->initial_count;
	period = (u64)l->initial_count << shift;
	l->timer_start += since(now->ns, l->timer_start) / period * period;
}

u64 lapic_deadline(const struct lapic *l, const struct lapic_now *now)
{
	unsigned __int128 ns;

	if (l->lvt[LVT_TIMER] & LVT_MASKED)
		return UINT64_MAX; /* nobody is told; lapic_advance() makes up for it */
	if (l->timer_count)
		return l->timer_start + ((u64)l->timer_count << divide_shift(l));
	if (!l->tsc_deadline)
		return UINT64_MAX;
	if (now->tsc >= l->tsc_deadline)
		return now->ns;
	/* One more: the quotient was rounded down, and the deadline must have passed by then. */
	ns = ((unsigned __int128)(l->tsc_deadline - now->tsc) * now->mult >> 32) + now->ns + 1;
	return ns >> 64 ? UINT64_MAX : (u64)ns;
}

/* A change of mode to or from TSC deadline disarms it; one between the others does not. */
static void write_lvt_timer(struct lapic *l, u32 value, const struct lapic_now *now)
{
	u32 old = timer_mode(l), new = LVT_TIMER_MODE(value);

	if (old != new && (old == TIMER_DEADLINE || new == TIMER_DEADLINE)) {
		timer_stop(l);
	} else if (old != new) {
		l->timer_count = current_count(l, now->ns);
		l->timer_start = now->ns;
	}
	l->lvt[LVT_TIMER] = value;
}

static void write_initial_count(struct lapic *l, u32 value, const struct lapic_now *now)
{
	if (timer_mode(l) == TIMER_DEADLINE)
		return;
	l->initial_count = value;
	l->timer_count = value;
	l->timer_start = now->ns;
}

static void write_divide(struct lapic *l, u32 value, const struct lapic_now *now)
{
	l->timer_count = current_count(l, now->ns);
	l->timer_start = now->ns;
	l->divide = value;
}

/* ---- registers ---- */

#define R 1u
#define W 2u
#define X_ONLY 4u  /* not in x2APIC mode */
#define X2_ONLY 8u
#define X2_READ_ONLY 16u

/* Offset / 16, name, access, writable bits, read-only ones: in x2APIC mode a one elsewhere is #GP (tables 11-1
 * and 11-6). */
#define LAPIC_REGISTERS(G)                                                          \
	G(0x02, id, R, 0, 0)                                                        \
	G(0x03, version, R, 0, 0)                                                   \
	G(0x08, tpr, R | W, 0xff, 0)                                                \
	G(0x09, arbitration, R | X_ONLY, 0, 0)                                      \
	G(0x0a, ppr, R, 0, 0)                                                       \
	G(0x0b, eoi, W, 0, 0)                                                       \
	G(0x0c, remote_read, R | X_ONLY, 0, 0)                                      \
	G(0x0d, ldr, R | W | X2_READ_ONLY, 0xff000000, 0)                           \
	G(0x0e, dfr, R | W | X_ONLY, 0xf0000000, 0)                                 \
	G(0x0f, svr, R | W, 0x1ff, 0)                                               \
	G(0x28, esr, R | W, 0, 0)                                                   \
	G(0x30, icr_low, R | W, ICR_WRITABLE, STATUS)                               \
	G(0x31, icr_high, R | W | X_ONLY, 0xff000000, 0)                            \
	G(0x32, lvt_timer, R | W, 0x700ff, STATUS)                                  \
	G(0x33, lvt_thermal, R | W, 0x107ff, STATUS)                                \
	G(0x34, lvt_performance, R | W, 0x107ff, STATUS)                            \
	G(0x35, lvt_lint0, R | W, 0x1a7ff, LINT_READ_ONLY)                          \
	G(0x36, lvt_lint1, R | W, 0x1a7ff, LINT_READ_ONLY)                          \
	G(0x37, lvt_error, R | W, 0x100ff, STATUS)                                  \
	G(0x38, initial_count, R | W, 0xffffffff, 0)                                \
	G(0x39, current_count, R, 0, 0)                                             \
	G(0x3e, divide, R | W, 0xb, 0)                                              \
	G(0x3f, self_ipi, W | X2_ONLY, 0xff, 0)

#define REG_ENUM(number, name, access, writable, read_only) REG_##name = number,
enum { LAPIC_REGISTERS(REG_ENUM) REG_isr = 0x10, REG_tmr = 0x18, REG_irr = 0x20, REG_vectors_end = 0x28, REG_COUNT = 0x40 };

static const struct { u8 access; u32 writable, read_only; } registers[REG_COUNT] = {
#define REG_ROW(number, name, access, writable, read_only) [number] = { access, writable, read_only },
	LAPIC_REGISTERS(REG_ROW)
	[REG_isr ... REG_vectors_end - 1] = { R, 0, 0 },
};

static bool reg_has(const struct lapic *l, u32 reg, u32 access)
{
	u32 has = reg < REG_COUNT ? registers[reg].access : 0;
	bool x2 = l->mode == LAPIC_X2;

	if ((has & (x2 ? X_ONLY : X2_ONLY)) || (x2 && (access & W) && (has & X2_READ_ONLY)))
		return false;
	return has & access;
}

static u32 reg_read(struct lapic *l, u32 reg, const struct lapic_now *now)
{
	switch (reg) {
	case REG_id: return l->mode == LAPIC_X2 ? l->id : l->id << 24;
	case REG_version: return VERSION;
	case REG_tpr: return l->tpr & 0xff;
	case REG_ppr: return lapic_priority(l);
	case REG_ldr: return l->ldr;
	case REG_dfr: return l->dfr;
	case REG_svr: return l->svr;
	case REG_esr: return l->esr;
	case REG_icr_low: return (u32)l->icr;
	case REG_icr_high: return (u32)(l->icr >> 32);
	case REG_lvt_timer ... REG_lvt_error: return l->lvt[reg - REG_lvt_timer];
	case REG_initial_count: return l->initial_count;
	case REG_current_count: return current_count(l, now->ns);
	case REG_divide: return l->divide;
	case REG_isr ... REG_vectors_end - 1: {
		const u64 *set = reg < REG_tmr ? l->isr : reg < REG_irr ? l->tmr : l->irr;

		return (u32)(set[reg >> 1 & 3] >> (reg & 1) * 32);
	}
	default: return 0;
	}
}

/* Section 11.6.1: illegal vectors and modes that do not exist are not sent. */
static void send_ipi(struct apics *a, u32 cpu, u64 icr, struct lapic_effect *effect)
{
	struct lapic *l = &a->cpu[cpu];
	struct apic_message m = {
		.vector = (u8)icr, .delivery = icr >> 8 & 7, .logical = icr >> 11 & 1,
		.shorthand = icr >> 18 & 3, .source = (u8)cpu,
		.dest = l->mode == LAPIC_X2 ? (u32)(icr >> 32) : (u32)(icr >> 56),
	};

	m.broadcast = m.dest == (l->mode == LAPIC_X2 ? 0xffffffffu : 0xffu);
	if (ICR_DEASSERT(icr) && m.delivery == APIC_INIT)
		return; /* nothing to synchronise since the Pentium 4 */
	if (m.delivery <= APIC_LOWEST && m.vector < 16) {
		local_error(l, ESR_SEND_VECTOR);
		effect->recheck = true;
		return;
	}
	apic_send(a, &m, &effect->kick);
}

static void write_svr(struct lapic *l, u32 value)
{
	l->svr = value;
	if (!(value & SVR_ENABLE))
		for (int i = 0; i < LVT_COUNT; i++)
			l->lvt[i] |= LVT_MASKED;
}

static void write_lvt(struct lapic *l, u32 which, u32 value, const struct lapic_now *now)
{
	if (!(l->svr & SVR_ENABLE))
		value |= LVT_MASKED;
	if (which == LVT_TIMER)
		write_lvt_timer(l, value, now);
	else
		l->lvt[which] = value;
}

static void reg_write(struct apics *a, u32 cpu, u32 reg, u32 value, const struct lapic_now *now,
		      struct lapic_effect *effect)
{
	struct lapic *l = &a->cpu[cpu];

	value &= registers[reg].writable;
	switch (reg) {
	case REG_tpr:
		l->tpr = value;
		effect->recheck = true;
		break;
	case REG_eoi:
		end_of_interrupt(l, effect);
		break;
	case REG_ldr:
		l->ldr = value;
		break;
	case REG_dfr:
		l->dfr = value | 0x0fffffff;
		break;
	case REG_svr:
		write_svr(l, value);
		effect->timer = effect->recheck = true;
		break;
	case REG_esr:
		l->esr = __atomic_exchange_n(&l->errors, 0, __ATOMIC_SEQ_CST);
		break;
	case REG_icr_low:
		l->icr = (l->icr & ~0xffffffffull) | value;
		send_ipi(a, cpu, l->icr, effect);
		break;
	case REG_icr_high:
		l->icr = (u32)l->icr | (u64)value << 32;
		break;
	case REG_lvt_timer ... REG_lvt_error:
		write_lvt(l, reg - REG_lvt_timer, value, now);
		effect->timer = effect->recheck = true;
		break;
	case REG_initial_count:
		write_initial_count(l, value, now);
		effect->timer = true;
		break;
	case REG_divide:
		write_divide(l, value, now);
		effect->timer = true;
		break;
	case REG_self_ipi:
		send_ipi(a, cpu, value | (u64)APIC_SELF << 18, effect);
		break;
	}
}

u32 lapic_mmio_read(struct lapic *l, u32 offset, const struct lapic_now *now)
{
	u32 reg = offset >> 4;

	if (offset & 15)
		return 0;
	if (reg_has(l, reg, R))
		return reg_read(l, reg, now);
	if (!reg_has(l, reg, W))
		local_error(l, ESR_REGISTER);
	return 0;
}

void lapic_mmio_write(struct apics *a, u32 cpu, u32 offset, u32 value, const struct lapic_now *now,
		      struct lapic_effect *effect)
{
	struct lapic *l = &a->cpu[cpu];
	u32 reg = offset >> 4;

	*effect = (struct lapic_effect){ .eoi = -1 };
	if (offset & 15)
		return;
	if (reg_has(l, reg, W)) {
		reg_write(a, cpu, reg, value, now, effect);
	} else if (!reg_has(l, reg, R)) {
		local_error(l, ESR_REGISTER);
		effect->recheck = true;
	}
}

/* ---- MSRs, sections 11.12.1 and 11.5.4.1 ---- */

int lapic_msr_read(struct lapic *l, u32 msr, const struct lapic_now *now, u64 *value)
{
	u32 reg = msr - MSR_X2APIC_FIRST;

	if (msr == MSR_TSC_DEADLINE) {
		*value = l->tsc_deadline;
		return 0;
	}
	if (l->mode != LAPIC_X2 || !reg_has(l, reg, R))
		return -1;
	*value = reg == REG_icr_low ? l->icr : reg_read(l, reg, now);
	return 0;
}

int lapic_msr_write(struct apics *a, u32 cpu, u32 msr, u64 value, const struct lapic_now *now,
		    struct lapic_effect *effect)
{
	struct lapic *l = &a->cpu[cpu];
	u32 reg = msr - MSR_X2APIC_FIRST;

	*effect = (struct lapic_effect){ .eoi = -1 };
	if (msr == MSR_TSC_DEADLINE) {
		if (timer_mode(l) == TIMER_DEADLINE && l->mode != LAPIC_OFF)
			l->tsc_deadline = value;
		effect->timer = true;
		effect->recheck = value && value <= now->tsc;
		return 0;
	}
	if (l->mode != LAPIC_X2 || !reg_has(l, reg, W))
		return -1;
	if (reg == REG_icr_low) {
		if ((u32)value & ~(ICR_WRITABLE | STATUS))
			return -1;
		l->icr = value & ~(u64)STATUS;
		send_ipi(a, cpu, l->icr, effect);
		return 0;
	}
	if (value & ~(u64)(registers[reg].writable | registers[reg].read_only))
		return -1;
	reg_write(a, cpu, reg, (u32)value, now, effect);
	return 0;
}

/* ---- reset and mode ---- */

/* Section 11.12.10.2. */
static u32 x2_logical_id(u32 id) { return id >> 4 << 16 | 1u << (id & 15); }

void lapic_reset(struct lapic *l)
{
	struct lapic fresh = { .id = l->id, .mode = l->mode, .lint = l->lint, .dfr = 0xffffffff, .svr = 0xff };

	for (int i = 0; i < LVT_COUNT; i++)
		fresh.lvt[i] = LVT_MASKED;
	if (l->mode == LAPIC_X2)
		fresh.ldr = x2_logical_id(l->id);
	/* The posting fields are the senders'. */
	__builtin_memcpy(l, &fresh, offsetof(struct lapic, posted));
}

void lapic_init(struct lapic *l, u32 id)
{
	*l = (struct lapic){ .id = id, .mode = LAPIC_X };
	lapic_reset(l);
	if (id)
		return;
	l->svr |= SVR_ENABLE;
	l->lvt[LVT_LINT0] = APIC_EXTINT << 8;
	l->lvt[LVT_LINT1] = APIC_NMI << 8;
}

/* Figure 11-27. */
int lapic_set_base(struct lapic *l, u64 value)
{
	u8 mode = !(value & APIC_BASE_ENABLE) ? LAPIC_OFF : value & APIC_BASE_X2 ? LAPIC_X2 : LAPIC_X;

	if (mode == LAPIC_OFF && (value & APIC_BASE_X2))
		return -1;
	if ((l->mode == LAPIC_OFF && mode == LAPIC_X2) || (l->mode == LAPIC_X2 && mode == LAPIC_X))
		return -1;
	if (mode == l->mode)
		return 0;
	l->mode = mode;
	if (mode == LAPIC_X2) {
		l->ldr = x2_logical_id(l->id);
		l->icr = (u32)l->icr;
	} else {
		lapic_reset(l); /* off, or on again as after power-up */
	}
	return 0;
}
