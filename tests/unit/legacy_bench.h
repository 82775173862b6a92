/* SPDX-License-Identifier: MIT
 * Legacy devices under test: one set, its clock, and the guest's side of the ports.  For the tests
 * that include it only: it defines data. */
#ifndef PENUMBRA_TESTS_UNIT_LEGACY_BENCH_H
#define PENUMBRA_TESTS_UNIT_LEGACY_BENCH_H

#include <stdio.h>
#include <string.h>

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

static inline u8 in(u16 port) { return (u8)legacy_io_read(&m, port, 1, now); }
static inline void out(u16 port, u32 value) { legacy_io_write(&m, port, 1, value, now); }
static inline void advance(u64 ns) { now += ns; legacy_advance(&m, now); }
static inline bool pending(void) { return legacy_interrupt_pending(&m); }
static inline int acknowledge(void) { return legacy_interrupt_acknowledge(&m); }

/* The vectors that Linux uses: 0x30 and 0x38; masks as given. */
static inline void pic_init(u8 icw4, u8 mask0, u8 mask1)
{
	out(0x20, 0x11), out(0x21, 0x30), out(0x21, 0x04), out(0x21, icw4);
	out(0xa0, 0x11), out(0xa1, 0x38), out(0xa1, 0x02), out(0xa1, 0x01);
	out(0x21, mask0), out(0xa1, mask1);
}

static inline void start(void)
{
	now = T0;
	legacy_init(&m, now, (s64)(UTC0 * NSEC - T0), RAM);
	out(0x4d0, 0), out(0x4d1, 0x02); /* only the SCI by level, so that PCI lines serve as edges too */
	pic_init(0x01, 0, 0);
}

static inline u8 cmos(u8 index) { out(0x70, index); return in(0x71); }
static inline void cmos_set(u8 index, u8 value) { out(0x70, index), out(0x71, value); }

static inline void pit_program(unsigned channel, unsigned mode, u16 count)
{
	out(0x43, channel << 6 | 0x30 | mode << 1);
	out((u16)(0x40 + channel), count & 0xff);
	out((u16)(0x40 + channel), count >> 8);
}

/* Runs the list TESTS(T) of T(name); each test starts with fresh devices. */
#define RUN_TEST(name) \
	reason[0] = 0; \
	start(); \
	test_##name(); \
	failed |= reason[0] != 0; \
	printf(reason[0] ? "not ok - legacy " #name ": %s\n" : "ok - legacy " #name "%s\n", reason); \
	fflush(stdout);
#define RUN_TESTS(list) \
	int main(void) \
	{ \
		int failed = 0; \
		list(RUN_TEST) \
		return failed; \
	}

#endif
