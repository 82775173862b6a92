/* SPDX-License-Identifier: MIT
 * The 8254 interval timer and the port 0x61 logic around it.
 * Freestanding; caller holds the device lock (see legacy.h).
 *
 * Source: Intel 8254 data sheet (order 231164), "Mode Definitions" and "Read Operations".
 *
 * Nothing counts: the counter and the output are functions of the ticks elapsed since the count was
 * loaded.  A count is loaded one tick after it was written, so that a delay is never shorter than
 * asked for.  In modes 2 and 3 a count written while counting takes over at the end of the period
 * (mode 3: half period); channel_settle() makes that switch when its tick has passed.
 *
 * Channel 0 drives interrupt line 0.  Each rising edge of its output is a debt to the guest; one is
 * paid whenever no request is latched, so that a guest that was not run for a while still gets its
 * ticks, DEBT_MAX at most. */
#include "machine/legacy.h"

#define PIT_HZ 1193182ull
#define DEBT_MAX 1024u
#define FAST_TICKS 24u       /* a guest that asks for shorter periods gets them in bursts */
#define FAST_WAKE_NS 20000u
#define REFRESH_TICKS 18u    /* memory refresh: channel 1 on the original machine, 15 us */

#define ACCESS_LOW 1
#define ACCESS_HIGH 2
#define ACCESS_BOTH 3

static u64 pit_tick(const struct legacy *l)
{
	return legacy_ticks(l->core.now_ns, PIT_HZ);
}

static bool is_periodic(const struct i8254_channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

/* Modes 1 and 5 are started by the gate, the others are enabled by it. */
static bool is_triggered(const struct i8254_channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

static bool is_running(const struct i8254_channel *c)
{
	return c->armed && (c->gate || is_triggered(c));
}

static u64 channel_count(const struct i8254_channel *c)
{
	return c->count ? c->count : 65536;
}

static u64 channel_elapsed(const struct i8254_channel *c, u64 tick)
{
	if (!c->armed)
		return 0;
	if (!is_running(c))
		return c->held;
	return (s64)(tick - c->loaded) > 0 ? tick - c->loaded : 0;
}

static bool channel_out(const struct i8254_channel *c, u64 tick)
{
	u64 n = channel_count(c), e = channel_elapsed(c, tick);

	if (!c->armed)
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1:
		return e >= n;
	case 2:
		return !c->gate || e % n != n - 1;
	case 3:
		return !c->gate || e % n < (n + 1) / 2;
	default:
		return e != n;
	}
}

/* Rising edges of the output after elapsed tick `from`, up to and with `to`. */
static u64 channel_edges(const struct i8254_channel *c, u64 from, u64 to)
{
	u64 n = channel_count(c), at = c->mode >= 4 ? n + 1 : n;

	if (to <= from)
		return 0;
	if (is_periodic(c))
		return to / n - from / n;
	return from < at && at <= to;
}

/* Value of the counting element. */
static u16 channel_value(const struct i8254_channel *c, u64 tick)
{
	u64 n = channel_count(c), e = channel_elapsed(c, tick), half = (n + 1) / 2, v;

	if (c->mode == 2) {
		v = n - e % n;
	} else if (c->mode == 3) {
		u64 phase = e % n;

		v = (n & ~1ull) - 2 * (phase < half ? phase : phase - half);
	} else {
		u64 modulus = c->bcd ? 10000 : 65536;

		v = (n + modulus - e % modulus) % modulus;
	}
	if (!c->bcd)
		return (u16)v;
	v %= 10000;
	return (u16)(v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

/* Brings the channel to `tick`; returns the rising edges on the way. */
static u64 channel_settle(struct i8254_channel *c, u64 tick)
{
	u64 edges = 0;

	if ((s64)(tick - c->seen) < 0)
		return 0;
	if (is_running(c) && is_periodic(c) && c->next_count && (s64)(tick - c->switch_at) >= 0) {
		u64 at = channel_elapsed(c, c->switch_at), n = channel_count(c);

		edges = channel_edges(c, channel_elapsed(c, c->seen), at);
		c->count = c->next_count;
		c->next_count = 0;
		c->loaded = c->switch_at;
		if (at % n) /* in the middle: the low half begins with the new count */
			c->loaded -= (channel_count(c) + 1) / 2;
		c->seen = c->switch_at;
	}
	if (is_running(c))
		edges += channel_edges(c, channel_elapsed(c, c->seen), channel_elapsed(c, tick));
	c->seen = tick;
	return edges;
}

void i8254_reinject(struct legacy *l)
{
	bool apic = ioapic_pin_used(l, ioapic_isa_pin(LEGACY_IRQ_PIT));

	if (l->pit.debt && (apic || !(l->pic[0].irr & 1u << LEGACY_IRQ_PIT))) {
		l->pit.debt--;
		legacy_set_irq(l, LEGACY_IRQ_PIT, false);
		legacy_set_irq(l, LEGACY_IRQ_PIT, true);
		if (apic) /* does not tell when an edge was taken: ticks are merged */
			l->pit.debt = 0;
	}
	legacy_set_irq(l, LEGACY_IRQ_PIT, channel_out(&l->channel[0], l->channel[0].seen));
}

static void pit_owe(struct legacy *l, u64 edges)
{
	l->pit.debt = (u32)MIN(edges + l->pit.debt, DEBT_MAX);
	i8254_reinject(l);
}

void i8254_advance(struct legacy *l)
{
	u64 edges = channel_settle(&l->channel[0], pit_tick(l));

	if (edges)
		pit_owe(l, edges);
}

u64 i8254_deadline(const struct legacy *l)
{
	const struct i8254_channel *c = &l->channel[0];
	u64 n = channel_count(c), e = channel_elapsed(c, c->seen), at, ns;

	/* While a request is latched or masked at the 8259, and nobody listens at the IO-APIC, another edge
	 * changes nothing: the guest's next access to the controllers settles the account. */
	if (!is_running(c) || (!ioapic_pin_used(l, ioapic_isa_pin(LEGACY_IRQ_PIT)) &&
			       (l->pic[0].irr | l->pic[0].imr) & 1u << LEGACY_IRQ_PIT))
		return LEGACY_NEVER;
	if (!is_periodic(c)) {
		at = c->mode >= 4 ? n + 1 : n;
		return e < at ? legacy_tick_ns(c->loaded + at, PIT_HZ) : LEGACY_NEVER;
	}
	at = c->loaded + (e / n + 1) * n;
	if (c->next_count && (s64)(c->switch_at - at) < 0)
		at = c->switch_at;
	ns = legacy_tick_ns(at, PIT_HZ);
	return n < FAST_TICKS ? MAX(ns, l->core.now_ns + FAST_WAKE_NS) : ns;
}

static void channel_load(struct i8254_channel *c, u16 written, u64 tick)
{
	u32 n = written;

	if (c->bcd)
		n = (n >> 12) * 1000 + (n >> 8 & 15) * 100 + (n >> 4 & 15) * 10 + (n & 15);
	if (!n)
		n = c->bcd ? 10000 : 65536;
	if (is_triggered(c)) {
		c->next_count = n; /* for the next trigger */
	} else if (is_periodic(c) && c->armed && (s64)(tick - c->loaded) >= 0) {
		u64 now = channel_count(c), e = channel_elapsed(c, tick), phase = e % now;
		u64 half = (now + 1) / 2;

		c->next_count = n;
		c->switch_at = tick + (c->mode == 3 && phase < half ? half : now) - phase;
	} else {
		c->count = n;
		c->next_count = 0;
		c->loaded = tick + 1;
		c->held = 0;
		c->armed = 1;
	}
}

static void channel_write(struct i8254_channel *c, u8 value, u64 tick)
{
	switch (c->access) {
	case ACCESS_LOW:
		channel_load(c, value, tick);
		break;
	case ACCESS_HIGH:
		channel_load(c, (u16)(value << 8), tick);
		break;
	default:
		if (c->write_high) {
			channel_load(c, (u16)(value << 8 | c->write_low), tick);
		} else {
			c->write_low = value;
			if (c->mode == 0)
				c->armed = 0; /* the first byte stops the count */
		}
		c->write_high ^= 1;
	}
}

static void channel_latch(struct i8254_channel *c, u64 tick)
{
	if (c->latched)
		return; /* the first latch holds until it is read */
	c->latched = 1;
	c->latch = channel_value(c, tick);
}

static void channel_latch_status(struct i8254_channel *c, u64 tick)
{
	bool null_count = !c->armed || c->next_count || (s64)(tick - c->loaded) < 0;

	if (c->status_latched)
		return;
	c->status_latched = 1;
	c->status = (u8)(channel_out(c, tick) << 7 | null_count << 6 | (c->access & 3) << 4 |
			 (c->mode & 7) << 1 | (c->bcd & 1));
}

static u8 channel_read(struct i8254_channel *c, u64 tick)
{
	u16 value;
	bool high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);

	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	value = c->latched ? c->latch : channel_value(c, tick);
	if (c->access == ACCESS_BOTH)
		c->read_high ^= 1;
	if (high || c->access != ACCESS_BOTH)
		c->latched = 0;
	return (u8)(high ? value >> 8 : value);
}

static void channel_control(struct i8254_channel *c, u8 value)
{
	u8 mode = value >> 1 & 7;

	c->mode = mode > 5 ? mode & 3 : mode; /* 6 and 7 are 2 and 3 */
	c->bcd = value & 1;
	c->access = value >> 4 & 3;
	c->armed = 0;
	c->next_count = 0;
	c->latched = c->status_latched = 0;
	c->read_high = c->write_high = 0;
}

/* The control port: a control word, a latch command, or a read-back of several channels. */
static void pit_command(struct legacy *l, u8 value, u64 tick)
{
	unsigned select = value >> 6;

	if (select == 3) {
		for (unsigned i = 0; i < 3; i++) {
			if (!(value & 2u << i))
				continue;
			if (!(value & 0x20))
				channel_latch(&l->channel[i], tick);
			if (!(value & 0x10))
				channel_latch_status(&l->channel[i], tick);
		}
	} else if (!(value & 0x30)) {
		channel_latch(&l->channel[select], tick);
	} else {
		channel_control(&l->channel[select], value);
		if (select == 0)
			l->pit.debt = 0; /* ticks of the old programme mean nothing in the new */
	}
}

static void pit_settle_all(struct legacy *l, u64 tick)
{
	i8254_advance(l);
	channel_settle(&l->channel[1], tick);
	channel_settle(&l->channel[2], tick);
}

void i8254_write(struct legacy *l, u16 port, u8 value)
{
	u64 tick = pit_tick(l);
	bool was, is;

	pit_settle_all(l, tick);
	was = channel_out(&l->channel[0], tick);
	if ((port & 3) == 3)
		pit_command(l, value, tick);
	else
		channel_write(&l->channel[port & 3], value, tick);
	is = channel_out(&l->channel[0], tick);
	pit_owe(l, is && !was);
}

u8 i8254_read(struct legacy *l, u16 port)
{
	u64 tick = pit_tick(l);

	if ((port & 3) == 3)
		return 0xff; /* write-only */
	pit_settle_all(l, tick);
	return channel_read(&l->channel[port & 3], tick);
}

static void channel_gate(struct i8254_channel *c, bool gate, u64 tick)
{
	if (gate == !!c->gate)
		return;
	if (!gate) {
		c->held = channel_elapsed(c, tick);
		c->gate = 0;
		return;
	}
	c->gate = 1;
	if (!is_triggered(c) && !is_periodic(c)) {
		c->loaded = tick - c->held;
		return;
	}
	if (c->next_count)
		c->count = c->next_count;
	else if (!c->armed)
		return; /* no count was ever written */
	c->next_count = 0;
	c->loaded = tick + 1;
	c->armed = 1;
}

u8 i8254_speaker_read(struct legacy *l, u16 port)
{
	u64 tick = pit_tick(l);

	(void)port;
	pit_settle_all(l, tick);
	return (u8)((l->pit.speaker & 0x0f) | (tick / REFRESH_TICKS & 1) << 4 |
		    channel_out(&l->channel[2], tick) << 5);
}

void i8254_speaker_write(struct legacy *l, u16 port, u8 value)
{
	u64 tick = pit_tick(l);

	(void)port;
	pit_settle_all(l, tick);
	l->pit.speaker = value & 0x0f;
	channel_gate(&l->channel[2], value & 1, tick);
}

void i8254_init(struct legacy *l)
{
	u64 tick = pit_tick(l);

	for (int i = 0; i < 3; i++) {
		struct i8254_channel *c = &l->channel[i];

		c->mode = 3;
		c->access = ACCESS_BOTH;
		c->gate = i != 2;
		c->seen = tick;
		c->loaded = tick;
	}
	legacy_set_irq(l, LEGACY_IRQ_PIT, true); /* an idle output is high */
	l->pic[0].irr = 0;
}
