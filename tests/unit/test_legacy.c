/* SPDX-License-Identifier: MIT
 * The legacy devices, driven through their ports as a guest drives them. */
/* WITH: machine/i8259.c machine/i8254.c machine/mc146818.c machine/uart16550.c */
/* WITH: machine/pm.c machine/i8042.c machine/ports.c */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "machine/legacy.h"

#define MS 1000000ull
#define T0 (5 * NSEC)            /* machine time at the start */
#define UTC0 1700000000ull       /* 2023-11-14 22:13:20, a Tuesday */
#define RAM (512ull << 20)

static struct legacy m;
static u64 now;
static char reason[200];

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

static u8 in(u16 port) { return (u8)legacy_io_read(&m, port, 1, now); }
static void out(u16 port, u32 value) { legacy_io_write(&m, port, 1, value, now); }
static void advance(u64 ns) { now += ns; legacy_advance(&m, now); }
static bool pending(void) { return legacy_interrupt_pending(&m); }
static int acknowledge(void) { return legacy_interrupt_acknowledge(&m); }

/* The vectors that Linux uses: 0x30 and 0x38; masks as given. */
static void pic_init(u8 icw4, u8 mask0, u8 mask1)
{
	out(0x20, 0x11), out(0x21, 0x30), out(0x21, 0x04), out(0x21, icw4);
	out(0xa0, 0x11), out(0xa1, 0x38), out(0xa1, 0x02), out(0xa1, 0x01);
	out(0x21, mask0), out(0xa1, mask1);
}

static void start(void)
{
	now = T0;
	legacy_init(&m, now, (s64)(UTC0 * NSEC - T0), RAM);
	pic_init(0x01, 0, 0);
}

/* ---- interrupt controllers ---- */

static void test_pic_priority(void)
{
	CHECK(!pending());
	legacy_set_irq(&m, 5, true);
	legacy_set_irq(&m, 3, true);
	CHECK(pending());
	CHECK_EQ(acknowledge(), 0x33);
	CHECK(!pending(), "5 is below 3");
	legacy_set_irq(&m, 1, true);
	CHECK_EQ(acknowledge(), 0x31);
	out(0x20, 0x0b);
	CHECK_EQ(in(0x20), 0x0a);
	out(0x20, 0x20); /* ends 1 */
	CHECK_EQ(in(0x20), 0x08);
	CHECK(!pending());
	out(0x20, 0x63); /* ends 3 */
	CHECK_EQ(acknowledge(), 0x35);
	out(0x20, 0x20);
	CHECK(!pending(), "lines still high, but edges are taken");
	out(0x20, 0x0a);
	CHECK_EQ(in(0x20), 0);
}

static void test_pic_cascade(void)
{
	legacy_set_irq(&m, 12, true);
	legacy_set_irq(&m, 10, true);
	CHECK_EQ(acknowledge(), 0x3a);
	CHECK(!pending());
	out(0xa0, 0x20), out(0x20, 0x20);
	CHECK_EQ(acknowledge(), 0x3c);
	out(0xa0, 0x20), out(0x20, 0x20);
	CHECK(!pending());
	out(0xa1, 0x40);
	legacy_set_irq(&m, 14, true);
	CHECK(!pending(), "masked at the slave");
	out(0xa1, 0);
	CHECK_EQ(acknowledge(), 0x3e);
	pic_init(0x01, 0, 0);
	out(0xa0, 0x11), out(0xa1, 0x38), out(0xa1, 0x02), out(0xa1, 0x03); /* automatic EOI */
	for (int irq = 10; irq <= 12; irq += 2)
		legacy_set_irq(&m, irq, false), legacy_set_irq(&m, irq, true);
	CHECK_EQ(acknowledge(), 0x3a);
	out(0x20, 0x20);
	CHECK(pending(), "the request that is left");
	CHECK_EQ(acknowledge(), 0x3c);
}

static void test_pic_spurious(void)
{
	CHECK_EQ(acknowledge(), 0x37);
	out(0x20, 0x0b);
	CHECK_EQ(in(0x20), 0);
	legacy_set_irq(&m, LEGACY_IRQ_SCI, true); /* a level at the slave ... */
	legacy_set_irq(&m, LEGACY_IRQ_SCI, false); /* ... that goes away again */
	CHECK(pending());
	CHECK_EQ(acknowledge(), 0x3f);
	CHECK_EQ(in(0x20), 0x04);
	out(0xa0, 0x0b);
	CHECK_EQ(in(0xa0), 0);
}

static void test_pic_level(void)
{
	out(0x4d0, 0xff), out(0x4d1, 0xff);
	CHECK_EQ(in(0x4d0), 0xf8);
	CHECK_EQ(in(0x4d1), 0xde);
	legacy_set_irq(&m, 5, true);
	CHECK_EQ(acknowledge(), 0x35);
	out(0x20, 0x20);
	CHECK_EQ(acknowledge(), 0x35);
	legacy_set_irq(&m, 5, false);
	out(0x20, 0x20);
	CHECK(!pending(), "a level that dropped");
	legacy_set_irq(&m, 3, true);
	out(0x4d0, 0);
	CHECK(!pending(), "was a level, is an edge input now");
}

static void test_pic_poll(void)
{
	out(0x20, 0x0c);
	CHECK_EQ(in(0x20) & 0x80, 0);
	legacy_set_irq(&m, 6, true);
	out(0x20, 0x0c);
	CHECK_EQ(in(0x20), 0x86);
	CHECK(!pending());
	out(0x20, 0x0b);
	CHECK_EQ(in(0x20), 0x40);
	legacy_set_irq(&m, 11, true);
	out(0xa0, 0x0c);
	CHECK_EQ(in(0xa0), 0x83);
}

static void test_pic_auto_eoi(void)
{
	pic_init(0x03, 0, 0);
	legacy_set_irq(&m, 4, true);
	legacy_set_irq(&m, 5, true);
	CHECK_EQ(acknowledge(), 0x34);
	CHECK_EQ(acknowledge(), 0x35);
	out(0x20, 0x0b);
	CHECK_EQ(in(0x20), 0);
	out(0x20, 0x80); /* rotate in automatic mode */
	legacy_set_irq(&m, 4, false), legacy_set_irq(&m, 5, false);
	legacy_set_irq(&m, 4, true);
	CHECK_EQ(acknowledge(), 0x34);
	legacy_set_irq(&m, 3, true), legacy_set_irq(&m, 5, true);
	CHECK_EQ(acknowledge(), 0x35);
	CHECK_EQ(acknowledge(), 0x33);
}

static void test_pic_rotation(void)
{
	out(0x20, 0xc4); /* 4 lowest, 5 highest */
	for (int irq = 3; irq <= 5; irq++)
		legacy_set_irq(&m, irq, true);
	CHECK_EQ(acknowledge(), 0x35);
	out(0x20, 0xa0); /* end and rotate: 5 lowest */
	CHECK_EQ(acknowledge(), 0x33);
	out(0x20, 0xe4); /* rotate on a specific end: 4 lowest, 3 still served */
	CHECK(!pending(), "3 is in service and above 4");
	out(0x20, 0x20);
	CHECK_EQ(acknowledge(), 0x34);
}

static void test_pic_special_modes(void)
{
	legacy_set_irq(&m, 3, true);
	CHECK_EQ(acknowledge(), 0x33);
	legacy_set_irq(&m, 6, true);
	CHECK(!pending());
	out(0x21, 0x08), out(0x20, 0x68);
	CHECK_EQ(acknowledge(), 0x36);
	out(0x20, 0x20); /* ends 6: 3 is masked and left alone */
	out(0x20, 0x0b);
	CHECK_EQ(in(0x20), 0x08);
	pic_init(0x11, 0, 0); /* special fully nested */
	legacy_set_irq(&m, 12, true);
	CHECK_EQ(acknowledge(), 0x3c);
	legacy_set_irq(&m, 10, true);
	CHECK_EQ(acknowledge(), 0x3a);
	pic_init(0x01, 0, 0);
	legacy_set_irq(&m, 15, true);
	CHECK_EQ(acknowledge(), 0x3f);
	legacy_set_irq(&m, 11, true);
	CHECK(!pending(), "not without that mode");
}

static void test_pic_init_state(void)
{
	legacy_set_irq(&m, 3, true);
	out(0x20, 0x11);
	legacy_set_irq(&m, 4, true);
	CHECK(!pending(), "in the middle of the initialisation");
	CHECK_EQ(in(0x21), 0);
	out(0x21, 0x50), out(0x21, 4), out(0x21, 1);
	CHECK_EQ(acknowledge(), 0x54);
	CHECK(!pending(), "the edge of 3 was before");
	out(0x21, 0xfb); /* what Linux does to find out whether it is there */
	CHECK_EQ(in(0x21), 0xfb);
	out(0x20, 0x12), out(0x21, 0x60); /* single, no ICW4 */
	out(0x21, 0x5a);
	CHECK_EQ(in(0x21), 0x5a);
}

/* ---- interval timer ---- */

static void pit_program(unsigned channel, unsigned mode, u16 count)
{
	out(0x43, channel << 6 | 0x30 | mode << 1);
	out((u16)(0x40 + channel), count & 0xff);
	out((u16)(0x40 + channel), count >> 8);
}

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
	advance(100000);
	out(0x43, 0x80); /* a second latch command before the first was read */
	v = (u16)(m.channel[2].latch & 0xff);
	out(0x43, 0xd8);
	CHECK_EQ(in(0x42), v);
	in(0x42);
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
	while (!(in(0x61) & 0x20))
		now += 100;
	CHECK((now - fell) / 838 - 999 < 4, "%llu ns low", (unsigned long long)(now - fell));
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

static u8 cmos(u8 index) { out(0x70, index); return in(0x71); }
static void cmos_set(u8 index, u8 value) { out(0x70, index), out(0x71, value); }
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

/* ---- serial port ---- */

enum { RBR = 0x3f8, THR = 0x3f8, IER, IIR, FCR = 0x3fa, LCR, MCR, LSR, MSR, SCR };

/* Waits as long as the receiver's time-out takes and returns the identification register. */
static u8 iir_after(u64 ns) { advance(ns); return in(IIR); }

static void test_uart_probe(void)
{
	out(IER, 0);
	CHECK_EQ(in(IER), 0);
	out(IER, 0xff);
	CHECK_EQ(in(IER), 0x0f);
	out(IER, 0);
	out(MCR, 0x1a);
	CHECK_EQ(in(MSR) & 0xf0, 0x90);
	out(MCR, 0x05);
	CHECK_EQ(in(MSR) & 0xf0, 0xb0);
	CHECK_EQ(in(IIR), 0x01);
	out(FCR, 0x01);
	CHECK_EQ(in(IIR), 0xc1);
	out(SCR, 0x5a);
	CHECK_EQ(in(SCR), 0x5a);
	out(LCR, 0x83);
	out(THR, 0x0c), out(IER, 0x01);
	CHECK_EQ(in(THR) | in(IER) << 8, 0x10c);
	out(LCR, 0x03);
	CHECK_EQ(in(IER), 0);
	CHECK_EQ(in(LSR), 0x60);
	CHECK_EQ(m.uart.tx_count, 0);
}

static void test_uart_transmit(void)
{
	u8 buffer[64];

	out(MCR, 0x0b), out(FCR, 0x01);
	CHECK(!pending());
	out(IER, 0x02);
	CHECK_EQ(acknowledge(), 0x34);
	out(0x20, 0x20);
	CHECK_EQ(in(IIR), 0xc2);
	CHECK_EQ(in(IIR), 0xc1);
	CHECK(!pending());
	out(IER, 0x00), out(IER, 0x02); /* Linux tries whether it comes again */
	CHECK(pending());
	CHECK_EQ(in(IIR), 0xc2);
	acknowledge(), out(0x20, 0x20);
	for (int i = 0; i < 3; i++) { /* each write is an edge */
		out(THR, "abc"[i]);
		CHECK_EQ(acknowledge(), 0x34);
		out(0x20, 0x20);
	}
	CHECK_EQ(legacy_events(&m), LEGACY_TX);
	CHECK_EQ(legacy_events(&m), 0);
	CHECK_EQ(legacy_uart_transmit(&m, buffer, sizeof buffer), 3);
	CHECK(!memcmp(buffer, "abc", 3));
	out(MCR, 0x03);
	out(THR, 'd');
	CHECK(!pending(), "OUT2 is closed");
}

static void test_uart_flow_control(void)
{
	static u8 got[100000];
	size_t sent = 0, taken = 0;

	out(MCR, 0x0b), out(FCR, 0x01), out(IER, 0x02);
	for (int round = 0; round < 20; round++) {
		while (in(LSR) & 0x20) /* 16 at a time without looking, as drivers do */
			for (int i = 0; i < 16; i++)
				out(THR, (u8)(sent++ * 7 >> 3));
		CHECK_EQ(in(LSR) & 0x60, 0);
		while (pending())
			acknowledge(), out(0x20, 0x20);
		in(IIR);
		CHECK_EQ(in(IIR), 0xc1);
		taken += legacy_uart_transmit(&m, got + taken, 1000);
		CHECK(pending(), "no interrupt when there is room again");
		CHECK_EQ(in(IIR), 0xc2);
	}
	CHECK(legacy_events(&m) & LEGACY_TX);
	while (sent != taken)
		taken += legacy_uart_transmit(&m, got + taken, 777);
	for (size_t i = 0; i < sent; i++)
		CHECK_EQ(got[i], (u8)(i * 7 >> 3));
	legacy_events(&m);
	CHECK_EQ(legacy_uart_transmit(&m, got, 10), 0);
	CHECK_EQ(legacy_events(&m), 0);
}

static void test_uart_receive(void)
{
	u8 text[300];
	size_t n;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (u8)(i ^ i >> 8);
	out(MCR, 0x0b), out(FCR, 0x81), out(IER, 0x01); /* trigger at 8 */
	CHECK_EQ(legacy_uart_receive(&m, text, 3), 3);
	CHECK_EQ(in(IIR), 0xc1);
	CHECK_EQ(in(LSR) & 1, 1);
	CHECK_EQ(legacy_next_deadline(&m), now + 347222); /* 4 * 10 bits at 115200 */
	CHECK_EQ(iir_after(347221), 0xc1);
	CHECK_EQ(iir_after(1), 0xcc);
	CHECK_EQ(acknowledge(), 0x34);
	out(0x20, 0x20);
	legacy_uart_receive(&m, text + 3, 1);
	CHECK_EQ(in(IIR), 0xcc);
	CHECK_EQ(in(RBR), text[0]);
	CHECK_EQ(in(IIR), 0xc1);
	CHECK_EQ(legacy_uart_receive(&m, text + 4, 5), 5);
	CHECK_EQ(in(IIR), 0xc4);
	for (int i = 1; i < 9; i++)
		CHECK_EQ(in(RBR), text[i]);
	CHECK_EQ(in(LSR), 0x60);
	CHECK_EQ(iir_after(NSEC), 0xc1);
	CHECK_EQ(legacy_next_deadline(&m), UINT64_MAX);
	n = legacy_uart_receive(&m, text, sizeof text);
	CHECK_EQ(n, UART_RX_SIZE);
	legacy_events(&m);
	for (size_t i = 0; i < n; i++)
		CHECK_EQ(in(RBR), text[i]);
	CHECK_EQ(legacy_events(&m), LEGACY_RX);
	legacy_uart_receive(&m, text, 20);
	out(FCR, 0x83); /* clears the FIFO, not what is on the wire */
	CHECK_EQ(in(RBR), text[16]);
	out(FCR, 0x00), out(IER, 0x01);
	CHECK_EQ(in(LSR) & 1, 0);
	legacy_uart_receive(&m, text, 1);
	CHECK_EQ(in(IIR), 0x04);
}

static void test_uart_loopback(void)
{
	out(FCR, 0x01), out(MCR, 0x10), out(IER, 0x0d);
	in(MSR);
	out(MCR, 0x12);
	CHECK_EQ(in(IIR), 0xc0);
	CHECK_EQ(in(MSR), 0x11);
	CHECK_EQ(in(MSR), 0x10);
	out(MCR, 0x14);
	CHECK_EQ(in(MSR), 0x41); /* RI rising is not reported */
	out(MCR, 0x10);
	CHECK_EQ(in(MSR), 0x04);
	for (int i = 0; i < 17; i++)
		out(THR, (u32)i);
	CHECK_EQ(m.uart.tx_count, 0);
	CHECK_EQ(in(IIR), 0xc6);
	CHECK_EQ(in(LSR), 0x63);
	CHECK_EQ(in(LSR), 0x61);
	CHECK_EQ(in(IIR), 0xc4);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(in(RBR), i);
	CHECK_EQ(legacy_uart_receive(&m, (const u8 *)"x", 1), 0);
	legacy_events(&m);
	out(MCR, 0x0b);
	CHECK_EQ(legacy_events(&m), LEGACY_RX);
	CHECK_EQ(legacy_uart_receive(&m, (const u8 *)"x", 1), 1);
	CHECK(pending());
}

/* ---- power management, keyboard controller, absent hardware ---- */

static u32 pm_timer(void) { return legacy_io_read(&m, 0x608, 4, now); }

static void test_pm(void)
{
	u32 t = pm_timer();

	advance(NSEC);
	CHECK_EQ((pm_timer() - t) & 0xffffff, 3579545);
	CHECK_EQ(legacy_io_read(&m, 0x604, 2, now), 0x0001);
	advance(3 * NSEC);
	CHECK_EQ(in(0x600) & 1, 1);
	legacy_io_write(&m, 0x600, 2, 1, now);
	CHECK_EQ(in(0x600) & 1, 0);
	CHECK(!pending());
	legacy_io_write(&m, 0x602, 2, 0x0101, now);
	now = legacy_next_deadline(&m);
	CHECK(now < T0 + 4 * NSEC + 2343500000ull);
	legacy_advance(&m, now - 1);
	CHECK_EQ(pm_timer() & 0x7fffff, 0);
	advance(0);
	CHECK_EQ(acknowledge(), 0x39);
	CHECK_EQ(legacy_io_read(&m, 0x600, 4, now), 0x01010001);
	legacy_io_write(&m, 0x600, 2, 1, now);
	out(0xa0, 0x20), out(0x20, 0x20);
	CHECK(!pending());
	legacy_power_button(&m);
	CHECK_EQ(acknowledge(), 0x39);
	CHECK_EQ(legacy_io_read(&m, 0x600, 2, now), 0x0100);
	legacy_io_write(&m, 0x600, 2, 0x0001, now);
	CHECK_EQ(legacy_io_read(&m, 0x600, 2, now), 0x0100);
	t = pm_timer();
	legacy_advance(&m, 0);
	CHECK_EQ(legacy_io_read(&m, 0x608, 4, now - MS), t); /* time does not go back */
	legacy_io_write(&m, 0x604, 2, 0x3c00 | 1, now); /* another sleep type: nothing */
	legacy_io_write(&m, 0x604, 2, LEGACY_SLP_TYP_S5 << 10, now);
	CHECK_EQ(legacy_events(&m), 0);
	legacy_io_write(&m, 0x604, 2, LEGACY_SLP_TYP_S5 << 10 | 0x2000, now);
	CHECK_EQ(legacy_events(&m), LEGACY_POWEROFF);
	CHECK_EQ(legacy_io_read(&m, 0x604, 2, now), LEGACY_SLP_TYP_S5 << 10 | 1);
}

static void test_resets(void)
{
	legacy_io_write(&m, 0xcf8, 4, 0x80000600, now); /* not the reset register */
	legacy_io_write(&m, 0xcf8, 2, 0x0606, now);
	out(0xcf9, 0x02);
	CHECK_EQ(legacy_events(&m), 0);
	CHECK_EQ(in(0xcf9), 0x02);
	out(0xcf9, LEGACY_RESET_VALUE);
	CHECK_EQ(legacy_events(&m), LEGACY_RESET);
	out(0x92, in(0x92));
	CHECK_EQ(in(0x92), 0x02);
	CHECK_EQ(legacy_events(&m), 0);
	out(0x92, 1);
	CHECK_EQ(legacy_events(&m), LEGACY_RESET);
	out(0x64, 0xfe);
	CHECK_EQ(legacy_events(&m), LEGACY_RESET);
	out(0x64, 0xff), out(0x64, 0xd1), out(0x60, 0xdf);
	CHECK_EQ(legacy_events(&m), 0);
	out(0x64, 0xd1), out(0x60, 0xde);
	CHECK_EQ(legacy_events(&m), LEGACY_RESET);
}

static void test_i8042(void)
{
	CHECK_EQ(in(0x64) & 3, 0);
	out(0x64, 0xaa);
	CHECK_EQ(in(0x64) & 3, 1);
	CHECK_EQ(in(0x60), 0x55);
	CHECK_EQ(in(0x64) & 3, 0);
	out(0x64, 0x60), out(0x60, 0x47);
	out(0x64, 0x20);
	CHECK_EQ(acknowledge(), 0x31);
	CHECK_EQ(in(0x60), 0x47);
	out(0x20, 0x20);
	out(0x60, 0xf2); /* is a keyboard there? */
	CHECK_EQ(acknowledge(), 0x31);
	CHECK_EQ(in(0x64) & 0x41, 0x41);
	CHECK_EQ(in(0x60), 0xfe);
	out(0x64, 0xa9);
	CHECK_EQ(in(0x60), 0x01);
	out(0x64, 0xd3), out(0x60, 0x5a);
	CHECK(in(0x60) != 0x5a, "an auxiliary port that is not there");
}

static void test_absent(void)
{
	CHECK_EQ(legacy_io_read(&m, 0xcf8, 4, now), 0xffffffff);
	CHECK_EQ(legacy_io_read(&m, 0xcfc, 4, now), 0xffffffff);
	CHECK_EQ(legacy_io_read(&m, 0xcfe, 2, now), 0xffff);
	CHECK_EQ(in(0x3d5), 0xff);
	CHECK_EQ(legacy_io_read(&m, 0x3b4, 2, now), 0xffff);
	CHECK_EQ(in(0x2f8), 0xff);
	CHECK_EQ(legacy_io_read(&m, 0xffff, 4, now), 0xffffffff);
	CHECK_EQ(legacy_io_read(&m, 0x3fe, 4, now) >> 16, 0xffff); /* MSR, SCR, then nothing */
	CHECK_EQ(in(0x3ff), 0);
	out(0x80, 0x42);
	CHECK_EQ(in(0x80), 0x42);
}

/* ---- all together ---- */

static u64 seed;

static u32 random32(void)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(seed >> 33) ^ (u32)(seed >> 20);
}

static u16 random_port(void)
{
	static const u16 bases[] = { 0x20, 0x40, 0x60, 0x70, 0x70, 0x80, 0x92, 0xa0, 0x3b0, 0x3f8,
				     0x3f8, 0x4d0, 0x600, 0x608, 0xcf8, 0xfffc };
	u32 r = random32();

	return (u16)(r & 0x1000 ? bases[r % ARRAY_SIZE(bases)] + (r >> 8 & 7) : r >> 8);
}

static void fuzz_step(void)
{
	static const int sizes[] = { 1, 1, 1, 2, 4 };
	u8 bytes[40] = { 0 };
	u32 r = random32();

	if (r % 8 == 0)
		now += random32() >> r % 32;
	switch (r >> 8 & 15) {
	case 0:
		legacy_advance(&m, now);
		break;
	case 1:
		legacy_interrupt_acknowledge(&m);
		break;
	case 2:
		legacy_uart_receive(&m, bytes, random32() % sizeof bytes);
		break;
	case 3:
		legacy_uart_transmit(&m, bytes, random32() % sizeof bytes);
		break;
	case 4:
		legacy_set_irq(&m, (int)(random32() % 20) - 2, random32() & 1);
		break;
	case 5:
		now = MAX(now, MIN(legacy_next_deadline(&m), now + 100 * NSEC));
		legacy_advance(&m, now);
		break;
	case 6:
	case 7:
	case 8:
		legacy_io_read(&m, random_port(), sizes[r >> 16 & 3], now);
		break;
	default:
		legacy_io_write(&m, random_port(), sizes[(r >> 16) % 5], random32(), now);
	}
}

static void test_fuzz(void)
{
	for (int round = 0; round < 60; round++) {
		seed = 1000 + (u64)round;
		start();
		for (int i = 0; i < 5000; i++)
			fuzz_step();
	}
}

/* Invariant L1: a saved state may hold anything. */
static void test_fuzz_state(void)
{
	for (int round = 0; round < 300; round++) {
		u8 *bytes = (u8 *)&m;

		seed = 77000 + (u64)round;
		start();
		for (size_t i = 0; i < sizeof m; i++)
			if (round % 3 == 0 || random32() % 8 == 0)
				bytes[i] = round % 5 ? (u8)random32() : 0xff;
		for (int i = 0; i < 300; i++)
			fuzz_step();
	}
}

/* Waking at deadlines only shows the guest the same interrupts at the same time as looking all the
 * time does, and leaves the same state. */
static void test_deadlines(void)
{
	for (int round = 0; round < 40; round++) {
		static struct legacy lazy;
		u64 wake;

		seed = 31000 + (u64)round;
		start();
		for (int i = 0; i < 60; i++)
			fuzz_step();
		pit_program(0, random32() % 6, (u16)random32() | 64);
		cmos_set(10, 0x20 | random32() % 16);
		cmos_set(11, (random32() & 0x76) | 2);
		pic_init(1, 0, 0);
		legacy_uart_receive(&m, (const u8 *)"abc", 3);
		legacy_advance(&m, now);
		lazy = m;
		wake = legacy_next_deadline(&lazy);
		for (int i = 0; i < 3000; i++) {
			now += 10007;
			legacy_advance(&m, now);
			if (now >= wake) {
				legacy_advance(&lazy, now);
				wake = legacy_next_deadline(&lazy);
			}
			CHECK(legacy_interrupt_pending(&m) == legacy_interrupt_pending(&lazy),
			      "round %d, step %d", round, i);
			if (pending()) {
				CHECK_EQ(acknowledge(), legacy_interrupt_acknowledge(&lazy));
				legacy_io_write(&m, 0xa0, 1, 0x20, now), out(0x20, 0x20);
				legacy_io_write(&lazy, 0xa0, 1, 0x20, now);
				legacy_io_write(&lazy, 0x20, 1, 0x20, now);
				wake = legacy_next_deadline(&lazy);
			}
		}
		legacy_advance(&lazy, now);
		CHECK(!memcmp(&m, &lazy, sizeof m), "round %d: the state differs", round);
	}
}

static void test_deadline_progress(void)
{
	for (int mode = 0; mode < 6; mode++) {
		unsigned wakes = 0;

		start();
		pit_program(0, (unsigned)mode, 1); /* as fast as it goes */
		cmos_set(10, 0x23), cmos_set(11, 0x72);
		legacy_io_write(&m, 0x602, 2, 1, now);
		while (now < T0 + 100 * MS && wakes < 50000) {
			u64 next = legacy_next_deadline(&m);

			if (next == UINT64_MAX)
				break;
			now = MAX(now, next);
			legacy_advance(&m, now);
			wakes++;
			while (pending()) {
				acknowledge();
				cmos(12);
				out(0xa0, 0x20), out(0x20, 0x20);
			}
		}
		CHECK(wakes < 20000, "mode %d: %u wakes in 100 ms", mode, wakes);
	}
}

#define TESTS(T) \
	T(pic_priority) T(pic_cascade) T(pic_spurious) T(pic_level) T(pic_poll) T(pic_auto_eoi) \
	T(pic_rotation) T(pic_special_modes) T(pic_init_state) \
	T(pit_periodic) T(pit_reinject) T(pit_one_shot) T(pit_counts) T(pit_square_wave) \
	T(pit_square_switch) T(pit_gate) \
	T(rtc_dates) T(rtc_formats) T(rtc_uip) T(rtc_interrupts) T(rtc_alarm) T(rtc_set) \
	T(uart_probe) T(uart_transmit) T(uart_flow_control) T(uart_receive) T(uart_loopback) \
	T(pm) T(resets) T(i8042) T(absent) \
	T(deadlines) T(deadline_progress) T(fuzz) T(fuzz_state)

int main(void)
{
	int failed = 0;

#define RUN(name) \
	reason[0] = 0; \
	start(); \
	test_##name(); \
	if (reason[0]) \
		failed = 1; \
	printf(reason[0] ? "not ok - legacy " #name ": %s\n" : "ok - legacy " #name "%s\n", reason); \
	fflush(stdout);
	TESTS(RUN)
	return failed;
}
