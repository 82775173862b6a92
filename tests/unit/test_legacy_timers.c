/* SPDX-License-Identifier: MIT
 * The interval timer and the real-time clock, driven through their ports as a guest drives them. */
/* WITH: machine/i8259.c machine/i8254.c machine/mc146818.c machine/uart16550.c */
/* WITH: machine/pm.c machine/i8042.c machine/ports.c machine/ioapic.c machine/apic.c machine/lapic.c */

#include <time.h>

#include "unit/legacy_bench.h"

/* ---- interval timer ---- */

/* Runs to `until`, waking at deadlines only, and counts timer interrupts; each takes `service` ns. */
static unsigned run_ticks(u64 until, u64 service)
{
	unsigned ticks = 0;

	while (now < until) {
		u64 deadline = legacy_next_deadline(&m);

		if (deadline > until)
			deadline = until;
		now = MAX(now, deadline);
		legacy_advance(&m, now);
		while (pending()) {
			if (acknowledge() != 0x30)
				return ~0u;
			now += service;
			out(0x20, 0x20);
			ticks++;
		}
	}
	return ticks;
}

static void test_pit_periodic(void)
{
	unsigned n;

	out(0x21, 0xfe);
	pit_program(0, 2, 4772);
	m.pic[0].irr = 0;
	n = run_ticks(T0 + 10 * NSEC, 0);
	CHECK_EQ(n, 10 * 1193182 / 4772);
	CHECK(!m.pit.debt);
	pit_program(0, 3, 11932);
	n = run_ticks(now + 2 * NSEC, 1000);
	CHECK(n >= 199 && n <= 201, "%u", n);
}

static void test_pit_reinject(void)
{
	unsigned n = 0;

	out(0x21, 0xfe);
	pit_program(0, 2, 11932); /* 100 Hz */
	m.pic[0].irr = 0;
	advance(505 * MS); /* the guest did not run */
	while (pending()) {
		CHECK_EQ(acknowledge(), 0x30);
		out(0x20, 0x20);
		n++;
	}
	CHECK_EQ(n, 50);
	advance(505 * MS);
	out(0x21, 0xff); /* masked while it is handled: nothing is lost */
	advance(100 * MS);
	out(0x21, 0xfe);
	for (n = 0; pending(); n++, out(0x20, 0x20))
		acknowledge();
	CHECK_EQ(n, 60);
	advance(3600 * NSEC);
	for (n = 0; pending() && n < 100000; n++, out(0x20, 0x20))
		acknowledge();
	CHECK(n >= 100 && n <= 5000, "not bounded: %u", n);
	advance(505 * MS);
	pit_program(0, 0, 0xffff); /* a new programme owes nothing of the old one */
	acknowledge();
	out(0x20, 0x20);
	CHECK(!pending());
	pic_init(0x03, 0xfe, 0xff); /* no end of interrupt that would give the next one */
	pit_program(0, 2, 11932);
	m.pic[0].irr = 0;
	advance(505 * MS);
	for (n = 0; pending() && n < 1000; n++)
		acknowledge();
	CHECK_EQ(n, 50);
}

static void test_pit_one_shot(void)
{
	u64 at, begin = now;

	out(0x21, 0xfe);
	pit_program(0, 0, 1193); /* 1 ms */
	CHECK(!pending());
	at = legacy_next_deadline(&m);
	CHECK(at >= begin + 999847 && at <= begin + 1001600, "%llu", (unsigned long long)(at - begin));
	legacy_advance(&m, now = at - 1);
	CHECK(!pending());
	advance(1);
	CHECK_EQ(acknowledge(), 0x30);
	out(0x20, 0x20);
	CHECK_EQ(legacy_next_deadline(&m), UINT64_MAX);
	advance(NSEC);
	CHECK(!pending(), "once only");
	pit_program(0, 4, 1193); /* the strobe mode that Linux uses for one shot */
	acknowledge(), out(0x20, 0x20); /* mode 4 idles high */
	begin = now;
	CHECK_EQ(run_ticks(begin + NSEC, 0), 1);
	pit_program(0, 4, 1193);
	advance(500000);
	out(0x40, 0xff), out(0x40, 0xff); /* a new count starts over */
	advance(50 * MS);
	CHECK(!pending());
	advance(10 * MS);
	CHECK(pending());
}

static void test_pit_counts(void)
{
	u16 v;
	u8 low, high;

	pit_program(2, 2, 1000);
	out(0x61, 1);
	advance(10 * 838095 + 100); /* 10 ms: some 10000 ticks */
	out(0x43, 0x80);
	advance(100000);
	low = in(0x42), high = in(0x42);
	v = (u16)(high << 8 | low);
	CHECK(v >= 1 && v <= 1000, "%u", v);
	out(0x43, 0x80);
	low = in(0x42), high = in(0x42);
	CHECK(v != (u16)(high << 8 | low), "the latch held on");
	out(0x43, 0x80);
	v = m.channel[2].latch;
	advance(100000);
	out(0x43, 0x80); /* a second latch command before the first was read */
	low = in(0x42), high = in(0x42);
	CHECK_EQ(high << 8 | low, v);
	out(0x43, 0xe8); /* status of channel 2 */
	CHECK_EQ(in(0x42) & 0x7f, 0x34);
	out(0x43, 0xc8); /* status, then count */
	CHECK_EQ(in(0x42) & 0x3f, 0x34);
	low = in(0x42), high = in(0x42);
	CHECK((high << 8 | low) <= 1000);
	out(0x43, 0xb1), out(0x42, 0x00), out(0x42, 0x10); /* BCD 1000, mode 0 */
	advance(838095); /* 1000 ticks of 838.095 ns */
	CHECK_EQ(in(0x61) & 0x20, 0);
	advance(900);
	CHECK_EQ(in(0x61) & 0x20, 0x20);
	advance(2 * 839);
	out(0x43, 0x80);
	low = in(0x42), high = in(0x42);
	CHECK_EQ(high, 0x99); /* goes on below zero */
	CHECK(low >= 0x90, "%x", low);
	out(0x43, 0x96), out(0x42, 200); /* low byte only, mode 3 */
	CHECK(in(0x42) <= 200);
	CHECK(in(0x42) <= 200);
}

static void test_pit_square_wave(void)
{
	unsigned high = 0, changes = 0;
	u8 was;

	out(0x61, 1);
	pit_program(2, 3, 101);
	advance(839 * 3);
	was = in(0x61) & 0x20;
	for (int i = 0; i < 10100; i++) {
		u8 is = in(0x61) & 0x20;

		high += is != 0;
		changes += is != was;
		was = is;
		now = T0 + legacy_tick_ns(10 + (u64)i, 1193182);
	}
	CHECK(high >= 5095 && high <= 5105, "%u", high);
	CHECK(changes >= 198 && changes <= 202, "%u", changes);
	out(0x42, 1), out(0x42, 1); /* 257, from the end of this half on */
	advance(838095 / 5);
	changes = 0;
	for (u64 i = 0, begin = now; i < 25700; i++) {
		u8 is = in(0x61) & 0x20;

		changes += is != was;
		was = is;
		now = begin + legacy_tick_ns(i, 1193182);
	}
	CHECK(changes >= 198 && changes <= 202, "%u", changes);
	out(0x61, 0);
	CHECK_EQ(in(0x61) & 0x20, 0x20);
}

/* A count written in the high half is that of the low half which follows. */
static void test_pit_square_switch(void)
{
	u64 fell;

	out(0x61, 1);
	pit_program(2, 3, 1000);
	advance(100000);
	out(0x42, 2000 & 0xff), out(0x42, 2000 >> 8);
	CHECK_EQ(in(0x61) & 0x20, 0x20);
	while (in(0x61) & 0x20)
		now += 100;
	fell = now;
	CHECK(fell - T0 < 423000, "%llu ns high", (unsigned long long)(fell - T0));
	while (!(in(0x61) & 0x20))
		now += 100;
	CHECK((now - fell) / 838 - 999 < 4, "%llu ns low", (unsigned long long)(now - fell));
	while (in(0x61) & 0x20)
		now += 100;
	out(0x61, 0);
	CHECK(in(0x61) & 0x20, "low while the gate is closed");
	out(0x21, 0xfe); /* a shorter count brings the deadline nearer */
	pit_program(0, 3, 60000);
	m.pic[0].irr = 0;
	advance(100000);
	out(0x40, 100), out(0x40, 0);
	CHECK(legacy_next_deadline(&m) < now + 26 * MS);
	CHECK(run_ticks(now + 30 * MS, 0) > 50);
	out(0x21, 0xff);
	CHECK_EQ(legacy_next_deadline(&m), UINT64_MAX);
}

/* Status, and a count that is half written. */
static void test_pit_writing(void)
{
	out(0x21, 0xfe);
	out(0x43, 0x34), out(0x43, 0xe2);
	CHECK_EQ(in(0x40), 0xf4);
	pit_program(0, 7, 0x1234); /* 7 is 3 */
	out(0x43, 0xe2);
	advance(10000);
	out(0x43, 0xe2); /* keeps the first */
	CHECK_EQ(in(0x40), 0xf6); /* high, not loaded yet, both bytes, mode 3 */
	out(0x43, 0xe2);
	CHECK_EQ(in(0x40), 0xb6);
	pit_program(0, 0, 1193);
	m.pic[0].irr = 0;
	advance(500000);
	out(0x40, 0xa9);
	advance(10 * MS);
	CHECK(!pending(), "runs on with half a count");
	out(0x40, 0x04);
	advance(990000);
	CHECK(!pending());
	advance(20000);
	CHECK(pending());
}

static void test_pit_gate(void)
{
	u8 low, high;

	out(0x61, 0);
	pit_program(2, 0, 1193); /* 1 ms, as Linux calibrates its clock */
	advance(5 * MS);
	CHECK_EQ(in(0x61) & 0x20, 0);
	out(0x61, 1);
	advance(500000);
	out(0x61, 0);
	advance(5 * MS);
	out(0x43, 0x80);
	low = in(0x42), high = in(0x42);
	CHECK((high << 8 | low) > 590 && (high << 8 | low) < 600, "%d", high << 8 | low);
	out(0x61, 1);
	advance(400000);
	CHECK_EQ(in(0x61) & 0x20, 0);
	advance(200000);
	CHECK_EQ(in(0x61) & 0x20, 0x20);
	pit_program(2, 1, 1193);
	advance(5 * MS);
	CHECK_EQ(in(0x61) & 0x20, 0x20);
	out(0x61, 0), out(0x61, 1);
	advance(900000);
	CHECK_EQ(in(0x61) & 0x20, 0);
	out(0x61, 0), out(0x61, 1); /* starts over */
	advance(900000);
	CHECK_EQ(in(0x61) & 0x20, 0);
	advance(200000);
	CHECK_EQ(in(0x61) & 0x20, 0x20);
	low = in(0x61) & 0x10;
	advance(15100);
	CHECK((in(0x61) & 0x10) != low, "memory refresh does not toggle");
}

/* ---- clock ---- */

static int bcd(u8 v) { return (v >> 4) * 10 + (v & 15); }

static void test_rtc_dates(void)
{
	for (s64 t = -2000000000; t < 8200000000; t += 12345677) {
		time_t seconds = (time_t)t;
		struct tm tm;

		gmtime_r(&seconds, &tm);
		now = 0;
		legacy_init(&m, 0, t * (s64)NSEC, RAM);
		CHECK_EQ(bcd(cmos(0)), tm.tm_sec);
		CHECK_EQ(bcd(cmos(2)), tm.tm_min);
		CHECK_EQ(bcd(cmos(4)), tm.tm_hour);
		CHECK_EQ(cmos(6), tm.tm_wday + 1);
		CHECK_EQ(bcd(cmos(7)), tm.tm_mday);
		CHECK_EQ(bcd(cmos(8)), tm.tm_mon + 1);
		CHECK_EQ(bcd(cmos(0x32)) * 100 + bcd(cmos(9)), tm.tm_year + 1900);
		cmos_set(11, 0x82), cmos_set(11, 0x02); /* hold and let go: the same time */
		CHECK_EQ(m.rtc.base_s, t);
	}
}

static void test_rtc_formats(void)
{
	CHECK_EQ(cmos(4), 0x22);
	cmos_set(11, 0x06);
	CHECK_EQ(cmos(4), 22);
	CHECK_EQ(cmos(0), 20);
	cmos_set(11, 0x04);
	CHECK_EQ(cmos(4), 0x80 | 10);
	cmos_set(11, 0x00);
	CHECK_EQ(cmos(4), 0x90);
	cmos_set(4, 0x12); /* midnight */
	cmos_set(11, 0x02);
	CHECK_EQ(cmos(4), 0);
	CHECK_EQ(cmos(2), 0x13);
	cmos_set(11, 0x00), cmos_set(4, 0x92); /* noon */
	cmos_set(11, 0x02);
	CHECK_EQ(cmos(4), 0x12);
	CHECK_EQ(cmos(13), 0x80);
	CHECK_EQ(cmos(0x40), 0);
	CHECK_EQ(cmos(0x7f), 0);
	CHECK_EQ(cmos(0x15) | cmos(0x16) << 8, 640);
	CHECK_EQ(cmos(0x17) | cmos(0x18) << 8, 0xffff);
	CHECK_EQ(cmos(0x34) | cmos(0x35) << 8, (RAM - (16 << 20)) >> 16);
	cmos_set(0x40, 0x5a), cmos_set(0xff, 0xa5);
	CHECK_EQ(cmos(0xc0), 0x5a);
	CHECK_EQ(cmos(0x7f), 0xa5);
}

static void test_rtc_uip(void)
{
	unsigned up = 0;
	u8 seconds = cmos(0);

	for (int us = 0; us < 1000000; us += 50, now += 50000) {
		bool uip = cmos(10) & 0x80;

		up += uip;
		CHECK(uip || cmos(0) == seconds, "changed without a warning");
	}
	CHECK(up >= 4 && up <= 6, "%u", up);
	CHECK_EQ(cmos(0), seconds + 1);
}

static unsigned rtc_interrupts(u64 until, u8 *flags)
{
	unsigned n = 0;

	*flags = 0;
	while (now < until) {
		now = MAX(now, MIN(until, legacy_next_deadline(&m)));
		legacy_advance(&m, now);
		while (pending() && acknowledge() == 0x38 && ++n < 100000) {
			*flags |= cmos(12);
			out(0xa0, 0x20), out(0x20, 0x20);
		}
	}
	return n;
}

static void test_rtc_interrupts(void)
{
	u8 flags;

	out(0xa1, 0xfe);
	cmos(12);
	cmos_set(11, 0x12); /* each update */
	CHECK_EQ(rtc_interrupts(now + 10 * NSEC, &flags), 10);
	CHECK_EQ(flags & 0xb0, 0x90);
	cmos_set(10, 0x26), cmos_set(11, 0x42); /* 1024 Hz */
	CHECK_EQ(rtc_interrupts(now + 10 * NSEC, &flags), 10240);
	CHECK(flags & 0x40);
	cmos_set(10, 0x21);
	CHECK_EQ(rtc_interrupts(now + 10 * NSEC, &flags), 2560);
	cmos_set(10, 0x22);
	CHECK_EQ(rtc_interrupts(now + 10 * NSEC, &flags), 1280);
	cmos_set(10, 0x76);
	CHECK_EQ(rtc_interrupts(now + 10 * NSEC, &flags), 0);
	cmos_set(10, 0x26);
	advance(10 * MS);
	while (acknowledge() == 0x38)
		cmos(12), out(0xa0, 0x20), out(0x20, 0x20);
	cmos_set(11, 0x02);
	CHECK_EQ(rtc_interrupts(now + 10 * NSEC, &flags), 0);
	CHECK_EQ(legacy_next_deadline(&m), UINT64_MAX);
	CHECK_EQ(cmos(12) & 0xd0, 0x50);
	CHECK_EQ(cmos(12), 0);
	cmos_set(11, 0x12);
	advance(5 * NSEC); /* the line stays up until C is read */
	CHECK_EQ(legacy_next_deadline(&m), UINT64_MAX);
	CHECK_EQ(acknowledge(), 0x38);
	out(0xa0, 0x20), out(0x20, 0x20);
	advance(5 * NSEC);
	CHECK(!pending());
}

static void test_rtc_alarm(void)
{
	u8 flags;

	out(0xa1, 0xfe);
	cmos(12);
	cmos_set(5, 0x23), cmos_set(3, 0x01), cmos_set(1, 0x30);
	cmos_set(11, 0x22);
	CHECK_EQ(legacy_next_deadline(&m), now + (48 * 60 + 10) * NSEC);
	CHECK_EQ(rtc_interrupts(now + 86400 * NSEC * 2, &flags), 2);
	CHECK(flags & 0x20);
	CHECK_EQ(bcd(cmos(4)), 22);
	cmos_set(5, 0xc0), cmos_set(3, 0xff), cmos_set(1, 0x15);
	CHECK_EQ(rtc_interrupts(now + 3600 * NSEC, &flags), 60);
	cmos_set(1, 0xc0);
	CHECK_EQ(rtc_interrupts(now + 60 * NSEC, &flags), 60);
	cmos_set(1, 0x75);
	CHECK_EQ(rtc_interrupts(now + 3600 * NSEC, &flags), 0);
	cmos_set(5, 0x12), cmos_set(3, 0), cmos_set(1, 0); /* passed unseen within a long pause */
	advance(3 * 86400 * NSEC);
	CHECK(cmos(12) & 0x20);
}

static void test_rtc_set(void)
{
	u8 seconds;

	cmos_set(11, 0x92);
	CHECK_EQ(cmos(11), 0x82); /* the update interrupt goes off */
	cmos_set(10, 0x76);
	cmos_set(9, 0x24), cmos_set(8, 0x02), cmos_set(7, 0x29), cmos_set(4, 0x23);
	cmos_set(2, 0x59), cmos_set(0, 0x58), cmos_set(0x32, 0x20);
	advance(10 * NSEC);
	CHECK_EQ(cmos(0), 0x58);
	cmos_set(11, 0x02);
	CHECK_EQ(cmos(0), 0x58);
	cmos_set(10, 0x26);
	advance(499 * MS);
	CHECK_EQ(cmos(0), 0x58);
	advance(2 * MS);
	CHECK_EQ(cmos(0), 0x59);
	advance(NSEC);
	CHECK_EQ(cmos(7), 0x01);
	CHECK_EQ(cmos(8), 0x03);
	CHECK_EQ(cmos(6), 6); /* Friday */
	for (unsigned v = 0; v < 0x1000; v++) { /* any contents give some date */
		cmos_set(11, 0x82);
		for (u8 i = 0; i < 10; i++)
			cmos_set(i, (u8)(v * (i + 3u) >> (v & 3)));
		cmos_set(11, v & 6);
		cmos(9);
	}
	seconds = cmos(0);
	advance(NSEC);
	CHECK(cmos(0) != seconds);
}

/* ---- power management timer ---- */

static u32 pm_timer(void) { return legacy_io_read(&m, 0x608, 4, now) & 0xffffff; }

/* A clock kept by it as Linux does: each reading adds what has passed since the last, and what looks like more than half a
 * turn is no time at all. */
static struct { u32 last; u64 ticks; } keeper;

static void keep(u64 ns, u64 every)
{
	for (u64 end = now + ns; now < end;) {
		advance(every);
		u32 t = pm_timer(), passed = (t - keeper.last) & 0xffffff;

		if (passed > 0x7fffff)
			continue;
		keeper.ticks += passed;
		keeper.last = t;
	}
}

static u64 pm_ticks(u64 ns) { return ns / 1000 * 3579545 / 1000000; }

/* Nothing is lost however long the host lets the guest wait. */
static void test_pm_kept(void)
{
	static const u64 gaps[] = { NSEC / 2, 2 * NSEC, 23 * NSEC / 10, 3 * NSEC, 5 * NSEC, 9 * NSEC, 30 * NSEC };
	u64 begin = now, most = 0;

	keeper.last = pm_timer();
	keeper.ticks = 0;
	keep(40 * NSEC, 4 * MS);
	for (size_t i = 0; i < sizeof gaps / sizeof *gaps; i++) {
		advance(gaps[i]);
		keep(gaps[i], 4 * MS);
		s64 off = (s64)(pm_ticks(now - begin) - keeper.ticks);

		CHECK(off >= -2 && off <= 2, "off by %lld ticks after a gap of %llu ms", (long long)off, (unsigned long long)(gaps[i] / MS));
	}
	/* One gap after the other, before the first is made up for. */
	for (int i = 0; i < 10; i++) {
		u64 before = keeper.ticks;

		advance(4 * NSEC);
		keep(20 * MS, 4 * MS);
		most = MAX(most, keeper.ticks - before);
	}
	CHECK(most < pm_ticks(3 * NSEC));
	keep(10 * NSEC, 100 * MS);
	s64 off = (s64)(pm_ticks(now - begin) - keeper.ticks);

	CHECK(off >= -2 && off <= 2, "off by %lld ticks after many gaps", (long long)off);
}

/* Who does not keep a clock by it measures right with it. */
static void test_pm_measure(void)
{
	static const u64 silences[] = { NSEC, 3 * NSEC, 4 * NSEC, 100 * NSEC };

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof silences / sizeof *silences; i++) {
			advance(silences[i]);
			u32 t = pm_timer();

			advance(100 * MS);
			s64 off = (s64)((pm_timer() - t) & 0xffffff) - (s64)pm_ticks(100 * MS);

			CHECK(off >= -1 && off <= 1, "%lld ticks off", (long long)off);
		}
		/* The second time as a guest that has kept its clock by it until 100 s ago. */
		keeper.last = pm_timer();
		keep(40 * NSEC, 4 * MS);
		advance(100 * NSEC);
	}
}

#define TESTS(T) \
	T(pm_kept) T(pm_measure) \
	T(pit_periodic) T(pit_reinject) T(pit_one_shot) T(pit_counts) T(pit_square_wave) \
	T(pit_square_switch) T(pit_writing) T(pit_gate) \
	T(rtc_dates) T(rtc_formats) T(rtc_uip) T(rtc_interrupts) T(rtc_alarm) T(rtc_set)
RUN_TESTS(TESTS)
