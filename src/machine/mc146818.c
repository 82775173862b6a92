/* SPDX-License-Identifier: MIT
 * The real-time clock and its CMOS memory.
 * Freestanding; caller holds the device lock (see legacy.h).
 *
 * Source: Motorola MC146818A data sheet (ADI856R2); century and memory-size bytes: the IBM PC AT's
 * conventions that firmware keeps, the century byte being named by the FADT.
 *
 *   running --SET=1 or divider in reset--> held      clock_hold(): time goes to the RAM bytes
 *   held --SET=0 and divider released--> running     clock_release(): RAM bytes become the time
 *
 * The divider goes on while SET is 1, so that the fraction of the second survives; releasing the
 * divider from its reset starts half a second before the next update (data sheet, "Divider
 * Control"), which is what kernels rely on when they set the clock. */
#include "machine/legacy.h"

#define REG_A 10
#define REG_B 11
#define REG_C 12
#define REG_D 13
#define A_UIP 0x80
#define B_SET 0x80
#define FLAG_PERIODIC 0x40 /* the same bits enable in B and report in C */
#define FLAG_ALARM 0x20
#define FLAG_UPDATE 0x10
#define B_BINARY 0x04
#define B_24H 0x02
#define C_IRQ 0x80
#define D_VALID 0x80
#define PM 0x80

#define DIVIDER_HZ 32768ull
#define UIP_NS 244141ull /* UIP rises this long before the update */
#define DAY 86400
#define ANY (-1)
#define BAD (-2)

#define CMOS_EQUIPMENT 0x14
#define CMOS_BASE_KB 0x15      /* 16 bits */
#define CMOS_EXTENDED_KB 0x17  /* 16 bits, above 1 MiB; again at 0x30 */
#define CMOS_EXTENDED_KB2 0x30
#define CMOS_CHECKSUM 0x2e     /* of 0x10-0x2d, high byte first */
#define CMOS_ABOVE_16M 0x34    /* 16 bits, in 64 KiB */
#define LOW_RAM_MAX 0xc0000000ull /* what lies higher is not told here: the memory map counts */

static const u8 time_registers[] = { 0, 2, 4, 6, 7, 8, 9, LEGACY_CMOS_CENTURY };

struct date { int second, minute, hour, weekday, day, month, year; };

static bool is_time(u8 index)
{
	for (unsigned i = 0; i < ARRAY_SIZE(time_registers); i++)
		if (time_registers[i] == index)
			return true;
	return false;
}

static bool divider_runs(const struct mc146818 *r)
{
	return (r->ram[REG_A] & 0x60) != 0x60;
}

static bool is_held(const struct mc146818 *r)
{
	return (r->ram[REG_B] & B_SET) || !divider_runs(r);
}

static u64 divider_ns(const struct legacy *l)
{
	return l->core.now_ns + l->rtc.phase_ns;
}

static s64 clock_seconds(const struct legacy *l)
{
	return (s64)(l->rtc.base_s + divider_ns(l) / NSEC);
}

/* Days since 1970-01-01 of the first of March of `year`, in the proleptic Gregorian calendar:
 * years that begin in March end in their leap day. */
static s64 days_to_march(s64 year)
{
	return 365 * (year - 1970) + year / 4 - year / 100 + year / 400 - 477 + 59;
}

/* Days from the first of March to the first of the month `m` months later. */
static int march_days(int m)
{
	return (153 * m + 2) / 5;
}

static struct date date_of(s64 seconds)
{
	s64 days = seconds / DAY, year, rest;
	int tod = (int)(seconds % DAY), month = 0;
	struct date d;

	if (tod < 0) {
		tod += DAY;
		days--;
	}
	d.second = tod % 60;
	d.minute = tod / 60 % 60;
	d.hour = tod / 3600;
	d.weekday = (int)((days % 7 + 11) % 7); /* day 0 was a Thursday, 4 */
	year = 1970 + days * 400 / 146097;      /* at most one off */
	while (days < days_to_march(year))
		year--;
	while (days >= days_to_march(year + 1))
		year++;
	rest = days - days_to_march(year);
	while (month < 11 && rest >= march_days(month + 1))
		month++;
	d.day = (int)(rest - march_days(month)) + 1;
	d.month = (month + 2) % 12 + 1;
	d.year = (int)(year + (d.month <= 2));
	return d;
}

static s64 seconds_of(const struct date *d)
{
	int month = (d->month + 9) % 12; /* from March; odd contents give some date */
	s64 year = d->year - (month >= 10);

	return (days_to_march(year) + march_days(month) + d->day - 1) * DAY + d->hour * 3600 +
	       d->minute * 60 + d->second;
}

static u8 encode(const struct mc146818 *r, int value)
{
	unsigned v = (unsigned)value; /* a year before 0 gives some byte */

	return (u8)(r->ram[REG_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10);
}

static int decode(const struct mc146818 *r, u8 v)
{
	return r->ram[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static u8 encode_hour(const struct mc146818 *r, int hour)
{
	if (r->ram[REG_B] & B_24H)
		return encode(r, hour);
	return (u8)(encode(r, (hour + 11) % 12 + 1) | (hour >= 12 ? PM : 0));
}

static int decode_hour(const struct mc146818 *r, u8 v)
{
	if (r->ram[REG_B] & B_24H)
		return decode(r, v);
	return decode(r, v & 0x7f) % 12 + (v & PM ? 12 : 0);
}

static u8 time_value(const struct mc146818 *r, const struct date *d, u8 index)
{
	switch (index) {
	case 0:
		return encode(r, d->second);
	case 2:
		return encode(r, d->minute);
	case 4:
		return encode_hour(r, d->hour);
	case 6:
		return encode(r, d->weekday + 1);
	case 7:
		return encode(r, d->day);
	case 8:
		return encode(r, d->month);
	case 9:
		return encode(r, d->year % 100);
	default:
		return encode(r, d->year / 100 % 100);
	}
}

static void clock_hold(struct legacy *l)
{
	struct date d = date_of(clock_seconds(l));

	for (unsigned i = 0; i < ARRAY_SIZE(time_registers); i++)
		l->rtc.ram[time_registers[i]] = time_value(&l->rtc, &d, time_registers[i]);
}

static void clock_release(struct legacy *l)
{
	struct mc146818 *r = &l->rtc;
	struct date d = {
		.second = decode(r, r->ram[0]),
		.minute = decode(r, r->ram[2]),
		.hour = decode_hour(r, r->ram[4]),
		.day = decode(r, r->ram[7]),
		.month = decode(r, r->ram[8]),
		.year = decode(r, r->ram[LEGACY_CMOS_CENTURY]) * 100 + decode(r, r->ram[9]),
	};

	r->base_s = (u64)seconds_of(&d) - divider_ns(l) / NSEC;
	r->seen_s = (u64)clock_seconds(l);
}

/* An alarm byte: a value below `limit`, ANY (0xc0 and above), or BAD (never matches). */
static int alarm_value(const struct mc146818 *r, u8 index, int limit)
{
	u8 byte = r->ram[index];
	int v;

	if (byte >= 0xc0)
		return ANY;
	v = limit == 24 ? decode_hour(r, byte) : decode(r, byte);
	return v < limit ? v : BAD;
}

/* The first matching second of a day that is not before `from`; DAY if there is none. */
static int alarm_in_day(const int want[3], int from)
{
	for (int h = from / 3600; h < 24; h++) {
		if (want[0] != ANY && want[0] != h)
			continue;
		for (int m = h == from / 3600 ? from / 60 % 60 : 0; m < 60; m++) {
			int minute = h * 3600 + m * 60, s = MAX(from - minute, 0);

			if (want[1] != ANY && want[1] != m)
				continue;
			if (want[2] == ANY)
				return minute + s;
			if (want[2] >= s)
				return minute + want[2];
		}
	}
	return DAY;
}

/* The first alarm after the second `after`; false if the alarm bytes match no time. */
static bool next_alarm(const struct mc146818 *r, s64 after, u64 *at)
{
	int want[3] = { alarm_value(r, 5, 24), alarm_value(r, 3, 60), alarm_value(r, 1, 60) };
	int tod = (int)(after % DAY), found;

	if (want[0] == BAD || want[1] == BAD || want[2] == BAD)
		return false;
	if (tod < 0)
		tod += DAY;
	found = alarm_in_day(want, tod + 1);
	if (found == DAY)
		found += alarm_in_day(want, 0);
	*at = (u64)after + (u64)(found - tod);
	return true;
}

/* Length of the periodic interrupt in 32768 Hz ticks; 0 off. */
static u64 period_ticks(const struct mc146818 *r)
{
	unsigned rate = r->ram[REG_A] & 15;

	if (!rate || !divider_runs(r))
		return 0;
	return 1ull << (rate <= 2 ? rate + 6 : rate - 1);
}

static u8 rtc_c(const struct mc146818 *r)
{
	u8 flags = r->flags & (FLAG_PERIODIC | FLAG_ALARM | FLAG_UPDATE);

	return (u8)(flags | (flags & r->ram[REG_B] ? C_IRQ : 0));
}

static void rtc_update(struct legacy *l)
{
	legacy_set_irq(l, LEGACY_IRQ_RTC, rtc_c(&l->rtc) & C_IRQ);
}

void mc146818_advance(struct legacy *l)
{
	struct mc146818 *r = &l->rtc;
	u64 tick = legacy_ticks(divider_ns(l), DIVIDER_HZ), period = period_ticks(r), alarm;
	s64 second = clock_seconds(l);

	if (period && tick / period != r->seen_tick / period)
		r->flags |= FLAG_PERIODIC;
	r->seen_tick = tick;
	if (!is_held(r) && second != (s64)r->seen_s) {
		r->flags |= FLAG_UPDATE;
		if (next_alarm(r, (s64)r->seen_s, &alarm) && (s64)alarm <= second)
			r->flags |= FLAG_ALARM;
	}
	r->seen_s = (u64)second;
	rtc_update(l);
}

u64 mc146818_deadline(const struct legacy *l)
{
	const struct mc146818 *r = &l->rtc;
	u8 wanted = r->ram[REG_B];
	u64 period = period_ticks(r), at = LEGACY_NEVER, alarm;

	if (rtc_c(r) & C_IRQ)
		return LEGACY_NEVER; /* the line is up until the guest reads C */
	if ((wanted & FLAG_PERIODIC) && period)
		at = legacy_tick_ns((r->seen_tick / period + 1) * period, DIVIDER_HZ);
	if (!is_held(r)) {
		if (wanted & FLAG_UPDATE)
			at = MIN(at, (r->seen_s + 1 - r->base_s) * NSEC);
		if ((wanted & FLAG_ALARM) && next_alarm(r, (s64)r->seen_s, &alarm))
			at = MIN(at, (alarm - r->base_s) * NSEC);
	}
	return at == LEGACY_NEVER ? at : at - r->phase_ns;
}

static void write_a(struct legacy *l, u8 value)
{
	struct mc146818 *r = &l->rtc;
	bool held = is_held(r), ran = divider_runs(r);

	r->ram[REG_A] = value & 0x7f;
	if (!held && is_held(r))
		clock_hold(l);
	if (!ran && divider_runs(r)) {
		r->phase_ns = (u32)((NSEC + NSEC / 2 - l->core.now_ns % NSEC) % NSEC);
		r->seen_tick = legacy_ticks(divider_ns(l), DIVIDER_HZ);
	}
	if (held && !is_held(r))
		clock_release(l);
}

static void write_b(struct legacy *l, u8 value)
{
	struct mc146818 *r = &l->rtc;
	bool held = is_held(r);

	if (value & B_SET)
		value &= (u8)~FLAG_UPDATE;
	if (!held && (value & B_SET))
		clock_hold(l);
	r->ram[REG_B] = value;
	if (held && !is_held(r))
		clock_release(l);
}

static void write_time(struct legacy *l, u8 index, u8 value)
{
	bool held = is_held(&l->rtc);

	if (!held)
		clock_hold(l);
	l->rtc.ram[index] = value;
	if (!held)
		clock_release(l);
}

void mc146818_write(struct legacy *l, u16 port, u8 value)
{
	struct mc146818 *r = &l->rtc;
	u8 index = r->index & 0x7f;

	if (!(port & 1)) {
		r->index = value & 0x7f; /* bit 7 masks the NMI, which nothing here raises */
		return;
	}
	mc146818_advance(l);
	if (is_time(index))
		write_time(l, index, value);
	else if (index == REG_A)
		write_a(l, value);
	else if (index == REG_B)
		write_b(l, value);
	else if (index != REG_C && index != REG_D)
		r->ram[index] = value;
	rtc_update(l);
}

u8 mc146818_read(struct legacy *l, u16 port)
{
	struct mc146818 *r = &l->rtc;
	u8 index = r->index & 0x7f, value;

	if (!(port & 1))
		return 0xff; /* write-only */
	mc146818_advance(l);
	switch (index) {
	case REG_A:
		if (!is_held(r) && divider_ns(l) % NSEC >= NSEC - UIP_NS)
			return r->ram[REG_A] | A_UIP;
		return r->ram[REG_A] & 0x7f;
	case REG_C:
		value = rtc_c(r);
		r->flags = 0;
		rtc_update(l);
		return value;
	case REG_D:
		return D_VALID;
	default:
		if (is_time(index) && !is_held(r)) {
			struct date d = date_of(clock_seconds(l));

			return time_value(r, &d, index);
		}
		return r->ram[index];
	}
}

static void put16(u8 *p, u64 v)
{
	v = MIN(v, 0xffffu);
	p[0] = (u8)v;
	p[1] = (u8)(v >> 8);
}

void mc146818_init(struct legacy *l, s64 utc_offset_ns, u64 ram_bytes)
{
	struct mc146818 *r = &l->rtc;
	s64 rest = utc_offset_ns % (s64)NSEC;
	u64 low = MIN(ram_bytes, LOW_RAM_MAX), extended = low > BIT(20) ? (low - BIT(20)) >> 10 : 0;
	unsigned sum = 0;

	if (rest < 0)
		rest += (s64)NSEC;
	r->phase_ns = (u32)rest;
	r->base_s = (u64)((utc_offset_ns - rest) / (s64)NSEC);
	r->ram[REG_A] = 0x26; /* 32768 Hz crystal, 1024 Hz */
	r->ram[REG_B] = B_24H;
	r->seen_s = (u64)clock_seconds(l);
	r->seen_tick = legacy_ticks(divider_ns(l), DIVIDER_HZ);

	r->ram[CMOS_EQUIPMENT] = 0; /* no floppy, coprocessor socket or display */
	put16(r->ram + CMOS_BASE_KB, 640);
	put16(r->ram + CMOS_EXTENDED_KB, extended);
	put16(r->ram + CMOS_EXTENDED_KB2, extended);
	put16(r->ram + CMOS_ABOVE_16M, low > BIT(24) ? (low - BIT(24)) >> 16 : 0);
	for (int i = 0x10; i < CMOS_CHECKSUM; i++)
		sum += r->ram[i];
	r->ram[CMOS_CHECKSUM] = (u8)(sum >> 8);
	r->ram[CMOS_CHECKSUM + 1] = (u8)sum;
}
