/* SPDX-License-Identifier: MIT
 * The legacy devices, driven through their ports as a guest drives them: all but the timers. */
/* WITH: machine/i8259.c machine/i8254.c machine/mc146818.c machine/uart16550.c */
/* WITH: machine/pm.c machine/i8042.c machine/ports.c machine/ioapic.c machine/apic.c machine/lapic.c */

#include "unit/legacy_bench.h"

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
		out(IER, 0x00), out(IER, 0x02);
		CHECK_EQ(in(IIR), 0xc1);
		out(MCR, 0x1b);
		CHECK_EQ(in(LSR) & 0x60, 0x60);
		out(MCR, 0x0b);
		legacy_events(&m);
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
	legacy_io_write(&m, 0x602, 2, 0xffff, now);
	CHECK_EQ(legacy_io_read(&m, 0x602, 2, now), 0x0721);
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
	/* A host bridge and nothing else. */
	legacy_io_write(&m, 0xcf8, 4, 0x80000008, now);
	CHECK_EQ(legacy_io_read(&m, 0xcf8, 4, now), 0x80000008);
	CHECK_EQ(legacy_io_read(&m, 0xcfc, 4, now), 0x06000000);
	CHECK_EQ(legacy_io_read(&m, 0xcfe, 2, now), 0x0600);
	CHECK_EQ(legacy_io_read(&m, 0xcff, 1, now), 0x06);
	legacy_io_write(&m, 0xcf8, 4, 0x80000800, now);
	CHECK_EQ(legacy_io_read(&m, 0xcfc, 4, now), 0xffffffff);
	legacy_io_write(&m, 0xcf8, 4, 0, now);
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
	T(uart_probe) T(uart_transmit) T(uart_flow_control) T(uart_receive) T(uart_loopback) \
	T(pm) T(resets) T(i8042) T(absent) \
	T(deadlines) T(deadline_progress) T(fuzz) T(fuzz_state)
RUN_TESTS(TESTS)
