/* SPDX-License-Identifier: MIT
 * The way of a message from its sender to the local APICs that it concerns.
 * Freestanding; any process or thread calls, without a lock (see apic.h).
 *
 * Source: Intel SDM volume 3A, 11.6.2 (destinations), 11.6.2.4 (lowest priority), 11.7, 11.11 (MSI). */
#include "machine/apic.h"

#define SVR_ENABLE 0x100u
#define ESR_RECEIVE_VECTOR 0x40u

#define MSI_ADDRESS 0xfee00000ull
#define MSI_ADDRESS_MASK 0xfff00000ull
#define MSI_LOGICAL 0x4u
#define MSI_LEVEL 0x8000u

static bool matches_logical(const struct lapic *l, u32 dest)
{
	u32 ldr = l->ldr;

	if (l->mode == LAPIC_X2)
		return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
	ldr >>= 24;
	if (l->dfr >> 28 == 0xf)
		return ldr & dest & 0xff;
	return ldr >> 4 == (dest >> 4 & 15) && (ldr & dest & 15);
}

static bool matches(const struct lapic *l, u32 cpu, const struct apic_message *m)
{
	if (l->mode == LAPIC_OFF)
		return false;
	switch (m->shorthand) {
	case APIC_SELF: return cpu == m->source;
	case APIC_ALL: return true;
	case APIC_OTHERS: return cpu != m->source;
	default: break;
	}
	if (m->broadcast)
		return true;
	return m->logical ? matches_logical(l, m->dest) : m->dest == l->id;
}

/* Tells the vCPU that there is something; true where nobody has before. */
static bool announce(struct lapic *l)
{
	return !__atomic_exchange_n(&l->outstanding, 1, __ATOMIC_SEQ_CST);
}

static bool post_signal(struct lapic *l, u32 signal)
{
	__atomic_fetch_or(&l->signals, signal, __ATOMIC_SEQ_CST);
	return announce(l);
}

static bool post_vector(struct lapic *l, u32 vector, bool level)
{
	u64 bit = BIT(vector & 63);
	u32 word = vector >> 6 & 3;

	if (vector < 16) {
		__atomic_fetch_or(&l->errors, ESR_RECEIVE_VECTOR, __ATOMIC_SEQ_CST);
		return post_signal(l, LAPIC_ERROR);
	}
	if (level)
		__atomic_fetch_or(&l->posted_level[word], bit, __ATOMIC_SEQ_CST);
	else if (__atomic_load_n(&l->posted_level[word], __ATOMIC_RELAXED) & bit)
		__atomic_fetch_and(&l->posted_level[word], ~bit, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&l->posted[word], bit, __ATOMIC_SEQ_CST);
	return announce(l);
}

/* What an APIC does with a message that is meant for it: false where it takes none such. */
static bool deliver(struct lapic *l, const struct apic_message *m, bool *told)
{
	switch (m->delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if (!(l->svr & SVR_ENABLE))
			return false;
		*told = post_vector(l, m->vector, m->level);
		return true;
	case APIC_NMI:
		*told = post_signal(l, LAPIC_NMI);
		return true;
	case APIC_INIT:
		__atomic_fetch_and(&l->signals, ~LAPIC_STARTUP, __ATOMIC_SEQ_CST); /* one that came before is void */
		*told = post_signal(l, LAPIC_INIT);
		return true;
	case APIC_STARTUP:
		__atomic_store_n(&l->sipi, m->vector, __ATOMIC_SEQ_CST);
		*told = post_signal(l, LAPIC_STARTUP);
		return true;
	default:
		return false; /* SMI: there is no SMM; ExtINT: the 8259 is wired to LINT0 */
	}
}

/* The APIC of lowest priority among those that match; equals take turns. */
static u32 arbitrate(struct apics *a, u32 count, const struct apic_message *m)
{
	u32 turn = __atomic_fetch_add(&a->turn, 1, __ATOMIC_RELAXED), best = count, least = 0;

	for (u32 i = 0; i < count; i++) {
		u32 cpu = (turn + i) % count, priority;
		const struct lapic *l = &a->cpu[cpu];

		if (!matches(l, cpu, m) || !(l->svr & SVR_ENABLE))
			continue;
		priority = lapic_priority(l) & 0xf0;
		if (best == count || priority < least) {
			best = cpu;
			least = priority;
		}
	}
	return best;
}

bool apic_send(struct apics *a, const struct apic_message *m, u64 *kick)
{
	u32 count = MIN(a->count, APIC_CPUS_MAX), first = 0, last = count;
	bool taken = false;

	if (m->delivery == APIC_LOWEST) {
		first = arbitrate(a, count, m);
		last = MIN(first + 1, count);
	}
	for (u32 cpu = first; cpu < last; cpu++) {
		struct lapic *l = &a->cpu[cpu];
		bool told = false;

		if (!matches(l, cpu, m) || !deliver(l, m, &told))
			continue;
		taken = true;
		if (told)
			*kick |= BIT(cpu);
	}
	return taken;
}

bool apic_send_msi(struct apics *a, u64 address, u32 data, u64 *kick)
{
	struct apic_message m = {
		.dest = address >> 12 & 0xff, .logical = address & MSI_LOGICAL,
		.vector = (u8)data, .delivery = data >> 8 & 7, .level = data & MSI_LEVEL,
	};

	if ((address & ~0xfffffull & 0xffffffffull) != (MSI_ADDRESS & MSI_ADDRESS_MASK) || address >> 32)
		return false;
	m.broadcast = m.dest == 0xff;
	return apic_send(a, &m, kick);
}
