/* SPDX-License-Identifier: MIT
 * Local APICs, their messages, and the IO-APIC: the rules of the manual one by one, priorities against a simple
 * model, and registers in x2APIC mode against the local APIC of /dev/kvm. */
/* WITH: machine/i8259.c machine/i8254.c machine/mc146818.c machine/uart16550.c */
/* WITH: machine/pm.c machine/i8042.c machine/ports.c machine/ioapic.c machine/apic.c machine/lapic.c */
/* LIBS: -lpthread */

#include "machine/apic.h"
#include "machine/legacy.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static char reason[300];

#define CHECK(condition, ...) do { \
	if (!(condition)) { \
		int at_ = snprintf(reason, sizeof reason, "line %d: %s:", __LINE__, #condition); \
		snprintf(reason + at_, sizeof reason - (size_t)at_, " " __VA_ARGS__); \
		return; \
	} } while (0)
#define CHECK_EQ(got, want) do { \
	unsigned long long got_ = (unsigned long long)(got), want_ = (unsigned long long)(want); \
	CHECK(got_ == want_, "got 0x%llx, want 0x%llx", got_, want_); \
	} while (0)

#define CPUS 8

static struct apics a;
static struct legacy io;
static struct lapic_now now;
static struct lapic_effect effect;
static u64 kicked;
static u64 seed = 88172645463325252ull;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull >> 11;
}

static void start(void)
{
	memset(&a, 0, sizeof a);
	now = (struct lapic_now){ .ns = 1000000, .tsc = 5000000, .mult = 1ull << 31 }; /* a TSC of 2 GHz */
	a.count = CPUS;
	for (u32 i = 0; i < CPUS; i++)
		lapic_init(&a.cpu[i], i);
	legacy_init(&io, 0, 0, 1 << 28);
	kicked = 0;
}

static u32 get(u32 cpu, u32 reg) { return lapic_mmio_read(&a.cpu[cpu], reg * 16, &now); }
static void set(u32 cpu, u32 reg, u32 value) { lapic_mmio_write(&a, cpu, reg * 16, value, &now, &effect); kicked |= effect.kick; }
static int wrmsr(u32 cpu, u32 msr, u64 value)
{
	int r = lapic_msr_write(&a, cpu, msr, value, &now, &effect);

	kicked |= effect.kick;
	return r;
}
static u64 rdmsr(u32 cpu, u32 msr)
{
	u64 value = 0xdead;

	return lapic_msr_read(&a.cpu[cpu], msr, &now, &value) ? 0xbadbadbadull : value;
}
static void enable(u32 cpu) { set(cpu, 0x0f, 0x1ff); }
static void to_x2(u32 cpu) { lapic_set_base(&a.cpu[cpu], APIC_BASE_ENABLE | APIC_BASE_X2); }
static void advance(u64 ns) { now.ns += ns; now.tsc += 2 * ns; lapic_advance(&a.cpu[0], &now); }
static bool requested(u32 cpu, u32 vector)
{
	lapic_collect(&a.cpu[cpu]);
	return a.cpu[cpu].irr[vector / 64] >> vector % 64 & 1;
}
static void forget(u32 cpu) { memset(a.cpu[cpu].irr, 0, sizeof a.cpu[cpu].irr); }

/* ---- registers ---- */

static void test_reset(void)
{
	CHECK_EQ(get(0, 0x0f), 0x1ff);     /* the first one as firmware leaves it: on, LINT0 for the 8259 */
	CHECK_EQ(get(0, 0x35), 0x700);
	CHECK_EQ(get(0, 0x36), 0x400);
	CHECK(lapic_takes_extint(&a.cpu[0]));
	CHECK_EQ(get(1, 0x0f), 0xff);      /* others as INIT leaves them (SDM 3A 11.4.7.1) */
	for (u32 reg = 0x32; reg <= 0x37; reg++)
		CHECK_EQ(get(1, reg), 0x10000);
	CHECK_EQ(get(1, 0x0e), 0xffffffff);
	CHECK_EQ(get(3, 0x02), 3u << 24);
	CHECK_EQ(get(3, 0x03), 0x50014);
	CHECK(!lapic_takes_extint(&a.cpu[1]));
	CHECK_EQ(lapic_mmio_read(&a.cpu[0], 0x84, &now), 0); /* not on a 16-byte boundary */
}

static void test_disable(void)
{
	set(0, 0x32, 0x30);
	set(0, 0x0f, 0xff);
	for (u32 reg = 0x32; reg <= 0x37; reg++)
		CHECK(get(0, reg) & 0x10000, "LVT %x is not masked", reg);
	set(0, 0x35, 0x700);
	CHECK(get(0, 0x35) & 0x10000, "masks cannot be cleared while it is disabled");
	a.cpu[0].irr[1] = 1;
	CHECK_EQ(lapic_pending(&a.cpu[0]), -1);
	set(0, 0x0f, 0x1ff);
	CHECK_EQ(lapic_pending(&a.cpu[0]), 64);
}

static void test_modes(void)
{
	struct lapic *l = &a.cpu[2];
	const u64 off = 0, x = APIC_BASE_ENABLE, x2 = APIC_BASE_ENABLE | APIC_BASE_X2;

	CHECK_EQ(lapic_set_base(l, APIC_BASE_X2), -1);
	CHECK_EQ(lapic_set_base(l, x2), 0);
	CHECK_EQ(lapic_set_base(l, x), -1);
	CHECK_EQ(lapic_set_base(l, off), 0);
	CHECK_EQ(lapic_set_base(l, x2), -1);
	CHECK_EQ(lapic_set_base(l, x), 0);
	CHECK_EQ(rdmsr(2, 0x802), 0xbadbadbadull);
	lapic_set_base(l, x2);
	CHECK_EQ(rdmsr(2, 0x802), 2);
	CHECK_EQ(rdmsr(2, 0x80d), 1 << 2);
	lapic_set_base(&a.cpu[0], off);
	CHECK(lapic_takes_extint(&a.cpu[0]), "an APIC that is off leaves the pins to the processor");
	CHECK_EQ(lapic_set_lint(&a.cpu[0], 1, true), LAPIC_NMI);
}

/* Table 11-6: what exists, who may write it, and which bits. */
static void test_x2_access(void)
{
	static const struct { u16 msr; bool read, write; u64 good, bad; } rows[] = {
		{ 0x802, true, false, 0, 0 }, { 0x803, true, false, 0, 0 }, { 0x808, true, true, 0xff, 0x100 },
		{ 0x809, false, false, 0, 0 }, { 0x80a, true, false, 0, 0 }, { 0x80b, false, true, 0, 1 },
		{ 0x80c, false, false, 0, 0 }, { 0x80d, true, false, 0, 0 }, { 0x80e, false, false, 0, 0 },
		{ 0x80f, true, true, 0x1ff, 0x400 }, { 0x810, true, false, 0, 0 }, { 0x827, true, false, 0, 0 },
		{ 0x828, true, true, 0, 1 }, { 0x829, false, false, 0, 0 }, { 0x82f, false, false, 0, 0 },
		{ 0x830, true, true, 0x700000400ull | 0x4000, 0x10000 }, { 0x831, false, false, 0, 0 },
		{ 0x832, true, true, 0x700ff, 0x80000 }, { 0x835, true, true, 0x1f7ff, 0x20000 },
		{ 0x836, true, true, 0x1f7ff, 1ull << 32 }, { 0x837, true, true, 0x110ff, 0x100 },
		{ 0x838, true, true, 0xffffffff, 1ull << 32 }, { 0x839, true, false, 0, 0 },
		{ 0x83e, true, true, 0xb, 4 }, { 0x83f, false, true, 0xff, 0x100 }, { 0x83a, false, false, 0, 0 },
	};

	to_x2(0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CHECK((rdmsr(0, rows[i].msr) != 0xbadbadbadull) == rows[i].read, "read of %x", rows[i].msr);
		CHECK(!wrmsr(0, rows[i].msr, rows[i].good) == rows[i].write, "write of %x", rows[i].msr);
		if (rows[i].write)
			CHECK(wrmsr(0, rows[i].msr, rows[i].bad), "%x takes a reserved bit", rows[i].msr);
	}
}

static void test_errors(void)
{
	set(0, 0x37, 0xfe);
	set(0, 0x30, 0x0000f);              /* an IPI with vector 15 */
	CHECK(requested(0, 0xfe));
	CHECK_EQ(get(0, 0x28), 0);          /* shown after a write only */
	set(0, 0x28, 0);
	CHECK_EQ(get(0, 0x28), 0x20);
	set(0, 0x28, 0);
	CHECK_EQ(get(0, 0x28), 0);
	get(0, 0x01), set(0, 0x28, 0);
	CHECK_EQ(get(0, 0x28), 0x80);       /* no such register */
	forget(0);
	apic_send(&a, &(struct apic_message){ .vector = 3 }, &kicked);
	CHECK(requested(0, 0xfe), "a received vector below 16");
	set(0, 0x28, 0);
	CHECK_EQ(get(0, 0x28), 0x40);
}

/* ---- priorities ---- */

/* Requests, ends and task priorities at random, beside lists of flags. */
static void test_priorities(void)
{
	bool irr[256] = { 0 }, isr[256] = { 0 };
	u32 tpr = 0;

	for (int step = 0; step < 200000; step++) {
		struct lapic *l = &a.cpu[0];
		int want = -1, served = 0, got;
		u32 v = 16 + rnd() % 240;

		switch (rnd() % 4) {
		case 0:
			apic_send(&a, &(struct apic_message){ .vector = (u8)v }, &kicked);
			irr[v] = true;
			break;
		case 1:
			tpr = rnd() & 0xff;
			set(0, 0x08, tpr);
			break;
		case 2:
			set(0, 0x0b, 0);
			for (int i = 255; i >= 0; i--)
				if (isr[i]) {
					isr[i] = false;
					break;
				}
			break;
		default:
			break;
		}
		lapic_collect(l);
		for (int i = 0; i < 256; i++)
			if (isr[i])
				served = i;
		for (int i = 16; i < 256; i++)
			if (irr[i] && i / 16 > (int)tpr / 16 && i / 16 > served / 16)
				want = i;
		got = lapic_pending(l);
		CHECK(got == want, "step %d: %d, should be %d", step, got, want);
		CHECK_EQ(get(0, 0x0a), tpr / 16 >= (u32)served / 16 ? tpr : (u32)served & 0xf0);
		if (want >= 0 && (rnd() & 1)) {
			lapic_accept(l, want);
			irr[want] = false;
			isr[want] = true;
		}
	}
}

static void test_cr8(void)
{
	lapic_set_cr8(&a.cpu[0], 7);
	CHECK_EQ(get(0, 0x08), 0x70);
	set(0, 0x08, 0x3f);
	CHECK_EQ(lapic_cr8(&a.cpu[0]), 3);
	CHECK(effect.recheck);
}

/* ---- timer ---- */

static void test_one_shot(void)
{
	set(0, 0x3e, 0xb);                  /* divide by 1 */
	set(0, 0x32, 0x40);
	set(0, 0x38, 1000);
	CHECK(effect.timer);
	CHECK_EQ(lapic_deadline(&a.cpu[0], &now), now.ns + 1000);
	advance(400);
	CHECK_EQ(get(0, 0x39), 600);
	advance(599);
	CHECK(!requested(0, 0x40));
	advance(1);
	CHECK(requested(0, 0x40));
	CHECK_EQ(get(0, 0x39), 0);
	CHECK_EQ(lapic_deadline(&a.cpu[0], &now), UINT64_MAX);
	forget(0);
	advance(100000);
	CHECK(!requested(0, 0x40), "once only");
	for (u32 d = 0; d < 8; d++) {       /* 2, 4, 8 ... 128, 1 */
		set(0, 0x3e, (d & 3) | (d & 4) << 1);
		set(0, 0x38, 100);
		CHECK_EQ(lapic_deadline(&a.cpu[0], &now) - now.ns, 100ull << ((d + 1) & 7));
	}
	set(0, 0x38, 0);
	CHECK_EQ(lapic_deadline(&a.cpu[0], &now), UINT64_MAX);
}

static void test_periodic(void)
{
	set(0, 0x3e, 0xb);
	set(0, 0x32, 0x20050);
	set(0, 0x38, 1000);
	for (int i = 0; i < 5; i++) {
		advance(1000);
		CHECK(requested(0, 0x50));
		CHECK_EQ(get(0, 0x39), 1000);
		forget(0);
	}
	advance(3500);
	CHECK(requested(0, 0x50));
	CHECK_EQ(lapic_deadline(&a.cpu[0], &now) - now.ns, 500);
	CHECK_EQ(get(0, 0x39), 500);
	set(0, 0x32, 0x30050);
	forget(0);
	advance(5000);
	CHECK(!requested(0, 0x50), "masked");
	CHECK_EQ(lapic_deadline(&a.cpu[0], &now), UINT64_MAX);
	set(0, 0x38, 0xffffffff);
	set(0, 0x32, 0x20050);
	CHECK_EQ(lapic_deadline(&a.cpu[0], &now) - now.ns, 0xffffffff);
}

static void test_tsc_deadline(void)
{
	CHECK_EQ(wrmsr(0, 0x6e0, now.tsc + 2000), 0);
	CHECK_EQ(rdmsr(0, 0x6e0), 0);       /* in another mode the write is ignored */
	set(0, 0x32, 0x40060);
	wrmsr(0, 0x6e0, now.tsc + 2000);
	CHECK(effect.timer);
	CHECK_EQ(lapic_deadline(&a.cpu[0], &now), now.ns + 1001);
	set(0, 0x38, 5);
	CHECK_EQ(get(0, 0x39), 0);
	advance(999);
	CHECK(!requested(0, 0x60));
	advance(1);
	CHECK(requested(0, 0x60));
	CHECK_EQ(rdmsr(0, 0x6e0), 0);
	forget(0);
	wrmsr(0, 0x6e0, 1);                 /* in the past: at once */
	CHECK(effect.recheck);
	advance(0);
	CHECK(requested(0, 0x60));
	forget(0);
	wrmsr(0, 0x6e0, now.tsc + 100);
	wrmsr(0, 0x6e0, 0);
	advance(1000);
	CHECK(!requested(0, 0x60), "disarmed");
	wrmsr(0, 0x6e0, now.tsc + 100);
	set(0, 0x32, 0x60);
	CHECK_EQ(rdmsr(0, 0x6e0), 0);       /* the change of mode disarms */
	set(0, 0x32, 0x40060);
	wrmsr(0, 0x6e0, ~0ull);
	CHECK_EQ(lapic_deadline(&a.cpu[0], &now) > now.ns, 1);
}

/* ---- messages ---- */

static u64 receivers(struct apic_message m)
{
	u64 who = 0;

	m.vector = 0x77;
	apic_send(&a, &m, &kicked);
	for (u32 i = 0; i < CPUS; i++) {
		who |= requested(i, 0x77) ? BIT(i) : 0;
		forget(i);
	}
	return who;
}

static void test_destinations(void)
{
	for (u32 i = 0; i < CPUS; i++)
		enable(i);
	CHECK_EQ(receivers((struct apic_message){ .dest = 5 }), BIT(5));
	CHECK_EQ(receivers((struct apic_message){ .dest = 200 }), 0);
	CHECK_EQ(receivers((struct apic_message){ .dest = 255, .broadcast = true }), 0xff);
	CHECK_EQ(receivers((struct apic_message){ .shorthand = APIC_SELF, .source = 3 }), BIT(3));
	CHECK_EQ(receivers((struct apic_message){ .shorthand = APIC_ALL, .source = 3 }), 0xff);
	CHECK_EQ(receivers((struct apic_message){ .shorthand = APIC_OTHERS, .source = 3 }), 0xf7);
	for (u32 i = 0; i < CPUS; i++)      /* flat */
		set(i, 0x0d, 1u << (24 + i));
	CHECK_EQ(receivers((struct apic_message){ .dest = 0x5a, .logical = true }), 0x5a);
	for (u32 i = 0; i < CPUS; i++) {    /* clusters of two */
		set(i, 0x0e, 0);
		set(i, 0x0d, (i / 2) << 28 | 1u << (24 + i % 2));
	}
	CHECK_EQ(receivers((struct apic_message){ .dest = 0x23, .logical = true }), BIT(4) | BIT(5));
	CHECK_EQ(receivers((struct apic_message){ .dest = 0x12, .logical = true }), BIT(3));
	for (u32 i = 0; i < CPUS; i++)
		to_x2(i);
	CHECK_EQ(receivers((struct apic_message){ .dest = 0x81, .logical = true }), 0x81);
	CHECK_EQ(receivers((struct apic_message){ .dest = 0x10001, .logical = true }), 0);
	set(6, 0x0f, 0);
	lapic_msr_write(&a, 6, 0x80f, 0xff, &now, &effect);
	CHECK_EQ(receivers((struct apic_message){ .dest = 6 }), 0);
	lapic_set_base(&a.cpu[7], 0);
	CHECK_EQ(receivers((struct apic_message){ .broadcast = true }), 0x3f);
}

static void test_lowest_priority(void)
{
	u64 seen = 0;

	for (u32 i = 0; i < CPUS; i++)
		enable(i);
	for (int i = 0; i < 64; i++) {
		u64 who = receivers((struct apic_message){ .broadcast = true, .delivery = APIC_LOWEST });

		CHECK(who && !(who & (who - 1)), "not one receiver but %llx", (unsigned long long)who);
		seen |= who;
	}
	CHECK_EQ(seen, 0xff);               /* equals take turns */
	for (u32 i = 0; i < CPUS; i++)
		set(i, 0x08, i == 4 ? 0x10 : 0x20);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(receivers((struct apic_message){ .broadcast = true, .delivery = APIC_LOWEST }), BIT(4));
}

static void test_start_up(void)
{
	set(0, 0x31, 1u << 24);
	set(0, 0x30, 0x4500);
	CHECK_EQ(kicked, BIT(1));
	set(0, 0x30, 0x4612);
	CHECK_EQ(lapic_collect(&a.cpu[1]), LAPIC_INIT | LAPIC_STARTUP);
	CHECK_EQ(a.cpu[1].sipi, 0x12);
	set(0, 0x30, 0x4612);
	set(0, 0x30, 0x4500);
	CHECK_EQ(lapic_collect(&a.cpu[1]), LAPIC_INIT); /* what came before INIT is void */
	set(0, 0x30, 0x8500);               /* the de-assertion that old kernels send */
	CHECK_EQ(lapic_collect(&a.cpu[1]), 0);
	set(0, 0x30, 0x4400);
	CHECK_EQ(lapic_collect(&a.cpu[1]), LAPIC_NMI);
	enable(1);
	set(1, 0x32, 0x30);
	a.cpu[1].isr[1] = 5;
	lapic_reset(&a.cpu[1]);
	CHECK_EQ(get(1, 0x32), 0x10000);
	CHECK_EQ(get(1, 0x0f), 0xff);
	CHECK_EQ(a.cpu[1].isr[1], 0);
}

static void test_msi(void)
{
	enable(2);
	CHECK(apic_send_msi(&a, 0xfee02000, 0x55, &kicked));
	CHECK(requested(2, 0x55));
	CHECK_EQ(kicked, BIT(2));
	CHECK(!apic_send_msi(&a, 0xfed02000, 0x55, &kicked));
	CHECK(!apic_send_msi(&a, 0x1fee02000, 0x55, &kicked));
	CHECK(!apic_send_msi(&a, 0xfee09000, 0x55, &kicked), "nobody has this id");
}

/* Two senders and one receiver: everything that is sent is seen, and a kick comes with what is new. */
#define ROUNDS 150000

static void *sender(void *opaque)
{
	u32 base = *(u32 *)opaque;
	u64 kick = 0;

	for (int i = 0; i < ROUNDS; i++) {
		u32 v = base + (u32)i % 64;

		while (__atomic_load_n(&a.cpu[0].posted[v / 64], __ATOMIC_SEQ_CST) >> v % 64 & 1)
			sched_yield();
		apic_send(&a, &(struct apic_message){ .vector = (u8)v, .level = i & 1 }, &kick);
	}
	return NULL;
}

static void test_posting(void)
{
	u32 base[2] = { 64, 128 }, taken = 0;
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&t[i], NULL, sender, &base[i]));
	alarm(30); /* a lost message would be waited for for ever */
	while (taken < 2 * ROUNDS) {
		if (!__atomic_load_n(&a.cpu[0].outstanding, __ATOMIC_SEQ_CST)) {
			sched_yield();
			continue;
		}
		lapic_collect(&a.cpu[0]);
		for (int i = 0; i < 4; i++)
			taken += (u32)__builtin_popcountll(a.cpu[0].irr[i]);
		forget(0);
	}
	alarm(0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(taken, 2 * ROUNDS);
}

/* ---- IO-APIC ---- */

static void io_set(u32 reg, u32 value)
{
	legacy_ioapic_write(&io, 0, reg);
	legacy_ioapic_write(&io, 0x10, value);
	legacy_ioapic_send(&io, &a, &kicked);
}
static u32 io_get(u32 reg)
{
	legacy_ioapic_write(&io, 0, reg);
	return legacy_ioapic_read(&io, 0x10);
}
static void lines(u32 levels)
{
	legacy_set_lines(&io, levels);
	legacy_ioapic_send(&io, &a, &kicked);
}
static void end(u32 vector)
{
	set(0, 0x0b, 0);
	if (effect.eoi == (int)vector)
		legacy_ioapic_eoi(&io, (u8)vector);
	legacy_ioapic_send(&io, &a, &kicked);
}

static void test_io_edge(void)
{
	CHECK_EQ(io_get(1), 0x170020);
	CHECK_EQ(io_get(0x10 + 2 * 17), 0x10000);
	io_set(0x10 + 2 * 17, 0x41);
	lines(BIT(17));
	CHECK(requested(0, 0x41));
	CHECK(!(a.cpu[0].tmr[1] & 2));
	forget(0);
	lines(BIT(17));
	CHECK(!requested(0, 0x41), "one edge, one interrupt");
	lines(0), lines(BIT(17));
	CHECK(requested(0, 0x41));
	forget(0);
	io_set(0x10 + 2 * 17, 0x10041);
	lines(0), lines(BIT(17)), lines(0);
	CHECK(!requested(0, 0x41));
	io_set(0x10 + 2 * 17, 0x41);
	CHECK(requested(0, 0x41), "an edge while masked is kept");
	legacy_set_irq(&io, 0, false), legacy_set_irq(&io, 0, true); /* the timer is pin 2 */
	io_set(0x10 + 2 * 2, 0x42);
	CHECK(requested(0, 0x42));
	forget(0);
	legacy_io_write(&io, 0x43, 1, 0x30, 0), legacy_io_write(&io, 0x40, 1, 100, 0), legacy_io_write(&io, 0x40, 1, 0, 0);
	CHECK(legacy_next_deadline(&io) < 200000, "the 8259 masks it, the IO-APIC does not");
	legacy_advance(&io, 200000), legacy_ioapic_send(&io, &a, &kicked);
	CHECK(requested(0, 0x42));
}

static void test_io_level(void)
{
	u32 low = 0x10 + 2 * 11;

	io_set(low, 0x8051);
	lines(BIT(11));
	CHECK_EQ(io_get(low), 0xc051);      /* remote IRR */
	CHECK(requested(0, 0x51));
	lapic_accept(&a.cpu[0], 0x51);
	lines(0), lines(BIT(11));
	CHECK(!requested(0, 0x51), "not before the end of the last one");
	end(0x51);
	CHECK(requested(0, 0x51), "still high: once more");
	lapic_accept(&a.cpu[0], 0x51);
	lines(0);
	end(0x51);
	CHECK(!requested(0, 0x51));
	CHECK_EQ(io_get(low), 0x8051);
	CHECK(!(io.pic[1].irr & 8), "the 8259 has the same line");
	lines(BIT(11));
	CHECK(io.pic[1].irr & 8);
	CHECK(requested(0, 0x51));
	legacy_ioapic_write(&io, 0x40, 0x51); /* the EOI register of the IO-APIC itself */
	CHECK_EQ(io_get(low), 0x8051);
	forget(0);
	lines(0);
	io_set(low + 1, 0x07000000);
	CHECK_EQ(io_get(low + 1), 0x07000000);
	enable(7);
	lines(BIT(11));
	CHECK(requested(7, 0x51) && !requested(0, 0x51));
	io_set(low, 0x51);
	io_set(low, 0x8051);
	CHECK(requested(7, 0x51), "a change to edge and back clears remote IRR");
}

/* ---- bad input ---- */

static void test_hostile(void)
{
	for (int step = 0; step < 300000; step++) {
		u32 cpu = rnd() % CPUS, reg = rnd() % 0x44;
		u64 value = rnd() % 3 ? rnd() : BIT(rnd() % 64);

		switch (rnd() % 8) {
		case 0: lapic_mmio_write(&a, cpu, rnd() % 2 ? reg * 16 : (u32)rnd() & 0xfff, (u32)value, &now, &effect); break;
		case 1: lapic_mmio_read(&a.cpu[cpu], (u32)rnd() & 0xfff, &now); break;
		case 2: wrmsr(cpu, rnd() % 8 ? 0x800 + reg : 0x6e0, value); break;
		case 3: rdmsr(cpu, 0x800 + reg); break;
		case 4: lapic_set_base(&a.cpu[cpu], value); break;
		case 5: io_set((u32)value & 0x3f, (u32)rnd()), lines((u32)rnd()); break;
		case 6: now.ns += rnd() % 100000; lapic_advance(&a.cpu[cpu], &now); lapic_deadline(&a.cpu[cpu], &now); break;
		default:
			lapic_collect(&a.cpu[cpu]);
			if (lapic_pending(&a.cpu[cpu]) >= 0)
				lapic_accept(&a.cpu[cpu], lapic_pending(&a.cpu[cpu]));
		}
		if (step % 1000 == 0) /* a hostile saved state */
			for (size_t i = 0; i < sizeof a.cpu[cpu]; i++)
				((u8 *)&a.cpu[cpu])[i] = (u8)rnd();
	}
}

/* ---- against /dev/kvm ---- */

#define KVM_RAM 0x40000
#define KVM_CODE 0x8000
#define KVM_OPS 0x10000
#define OPS_MAX 2000

struct op { u32 write, msr, low, high, got_low, got_high, result, pad; };

/* Carries out the operations at ESI; a #GP is noted as result 2. */
__asm__(".pushsection .rodata\n.code32\n"
	"kvm_code: cmpl $2, (%esi); je 3f; movl 4(%esi), %ecx; cmpl $0, (%esi); je 1f\n"
	"movl 8(%esi), %eax; movl 12(%esi), %edx; wrmsr; jmp 2f\n"
	"1: rdmsr; movl %eax, 16(%esi); movl %edx, 20(%esi)\n"
	"2: movl $1, 24(%esi); addl $32, %esi; jmp kvm_code\n"
	"3: outb %al, $0x80\n"
	"kvm_gp: addl $16, %esp; movl $2, 24(%esi); addl $32, %esi; jmp kvm_code\n"
	"kvm_code_end:\n.code64\n.popsection");
extern const u8 kvm_code[], kvm_gp[], kvm_code_end[];

static int kvm_start(u8 **ram, struct kvm_run **run)
{
	struct kvm_userspace_memory_region region = { .memory_size = KVM_RAM };
	size_t size = sizeof(struct kvm_cpuid2) + 256 * sizeof(struct kvm_cpuid_entry2);
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu;
	struct kvm_cpuid2 *cpuid = calloc(1, size);

	*ram = mmap(NULL, KVM_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	region.userspace_addr = (u64)(uintptr_t)*ram;
	if (kvm < 0 || *ram == MAP_FAILED || !cpuid || (vm = ioctl(kvm, KVM_CREATE_VM, 0)) < 0)
		return -1;
	ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000ull);
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) || ioctl(vm, KVM_CREATE_IRQCHIP, 0))
		return -1;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	cpuid->nent = 256;
	if (vcpu < 0 || ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) || ioctl(vcpu, KVM_SET_CPUID2, cpuid))
		return -1;
	free(cpuid);
	*run = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	return *run == MAP_FAILED ? -1 : vcpu;
}

static int kvm_flat_state(int vcpu)
{
	struct kvm_regs regs = { .rip = KVM_CODE, .rflags = 2, .rsi = KVM_OPS, .rsp = 0x7000 };
	struct kvm_segment data = { .limit = 0xffffffff, .selector = 0x10, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
	struct kvm_sregs s;

	if (ioctl(vcpu, KVM_GET_SREGS, &s))
		return -1;
	s.ds = s.es = s.fs = s.gs = s.ss = s.cs = data;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.cr0 |= 1;
	s.gdt.base = 0x1000;
	s.gdt.limit = 0x17;
	s.idt.base = 0x2000;
	s.idt.limit = 0x7ff;
	s.apic_base = LAPIC_ADDRESS | APIC_BASE_BSP | APIC_BASE_ENABLE | APIC_BASE_X2;
	return ioctl(vcpu, KVM_SET_SREGS, &s) || ioctl(vcpu, KVM_SET_REGS, &regs) ? -1 : 0;
}

/* Registers whose value depends on time, on KVM's own choices (ESR, errors, focus checking, directed EOI) or
 * that differ by design are left out. */
static bool comparable(struct op *op)
{
	static const u32 defined[0x40] = {
		[0x08] = 0xff, [0x0f] = 0x1ff, [0x30] = 0xccfff, [0x32] = 0x700ff, [0x33] = 0x107ff, [0x34] = 0x107ff,
		[0x35] = 0x1a7ff, [0x36] = 0x1a7ff, [0x38] = 0xffffffff, [0x3e] = 0xb,
	};
	u32 reg = op->msr - 0x800;

	/* KVM drops reserved bits of most registers; test_x2_access() has them. */
	if (op->write) {
		op->low &= defined[reg];
		op->high = 0;
	}

	if (reg == 0x28 || reg == 0x37 || reg == 0x39 || reg == 0x3f)
		return false;
	if (op->write && (reg == 0x32 || reg == 0x38))
		op->low |= 0x10000, op->low &= reg == 0x38 ? 0 : ~0u;
	if (op->write && reg == 0x0f)
		op->low &= ~0x1200u;
	if (op->write && reg == 0x30) { /* to itself; vectors that exist */
		op->low = (op->low & 0xfffff8ff) | 0x4000 | (op->low & 0xf0 ? 0 : 0x30);
		op->low = rnd() & 1 ? (op->low & ~0xc0800u) | 0x40000 : op->low & ~0xc0800u;
		op->high = 0;
	}
	return true;
}

static void test_kvm(void)
{
	u64 gdt[3] = { 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull };
	struct op *ops, *op;
	struct kvm_run *run;
	int vcpu, n = 0;
	u8 *ram;

	vcpu = kvm_start(&ram, &run);
	if (vcpu < 0) {
		printf("# /dev/kvm has no local APIC for us\n");
		return;
	}
	ops = (struct op *)(ram + KVM_OPS);
	memcpy(ram + 0x1000, gdt, sizeof gdt);
	memcpy(ram + KVM_CODE, kvm_code, (size_t)(kvm_code_end - kvm_code));
	memcpy(ram + 0x2000 + 13 * 8, (u64[]){ (KVM_CODE + (u64)(kvm_gp - kvm_code)) | 0x8e0000080000ull }, 8);
	ops[n++] = (struct op){ .write = 1, .msr = 0x835, .low = 0x10000 }; /* KVM leaves it as firmware would */
	while (n < OPS_MAX) {
		op = &ops[n];
		*op = (struct op){ .write = rnd() & 1, .msr = 0x800 + rnd() % 0x40, .low = (u32)(rnd() & rnd()),
				   .high = rnd() % 8 ? 0 : (u32)rnd() };
		n += comparable(op);
	}
	ops[n].write = 2;
	lapic_init(&a.cpu[0], 0);
	lapic_set_base(&a.cpu[0], APIC_BASE_ENABLE | APIC_BASE_X2);
	/* Both start from what INIT leaves. */
	lapic_reset(&a.cpu[0]);
	CHECK(!kvm_flat_state(vcpu));
	CHECK(!ioctl(vcpu, KVM_RUN, 0) && run->exit_reason == KVM_EXIT_IO, "exit %u", run->exit_reason);
	for (int i = 0; i < n; i++) {
		u64 value = (u64)ops[i].high << 32 | ops[i].low;
		int r;

		lapic_collect(&a.cpu[0]);
		if (ops[i].write)
			r = lapic_msr_write(&a, 0, ops[i].msr, value, &now, &effect);
		else
			r = lapic_msr_read(&a.cpu[0], ops[i].msr, &now, &value);
		CHECK((r ? 2u : 1u) == ops[i].result, "operation %d: %s %x %llx: %s", i, ops[i].write ? "write" : "read",
		      ops[i].msr, (unsigned long long)value, r ? "refused here only" : "refused by kvm only");
		if (!r && !ops[i].write)
			CHECK(value == ((u64)ops[i].got_high << 32 | ops[i].got_low), "operation %d: read %x gives %llx, kvm %x%08x",
			      i, ops[i].msr, (unsigned long long)value, ops[i].got_high, ops[i].got_low);
	}
}

#define TESTS(T) T(reset) T(disable) T(modes) T(x2_access) T(errors) T(priorities) T(cr8) T(one_shot) T(periodic) \
	T(tsc_deadline) T(destinations) T(lowest_priority) T(start_up) T(msi) T(posting) T(io_edge) T(io_level) \
	T(hostile) T(kvm)

int main(void)
{
	int failed = 0;

#define RUN(name) \
	reason[0] = 0; \
	start(); \
	test_##name(); \
	failed |= reason[0] != 0; \
	printf(reason[0] ? "not ok - apic " #name ": %s\n" : "ok - apic " #name "%s\n", reason); \
	fflush(stdout);
	TESTS(RUN)
	return failed;
}
