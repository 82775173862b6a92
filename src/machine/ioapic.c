/* SPDX-License-Identifier: MIT
 * The IO-APIC: 24 pins, each with an entry that says which message its interrupt becomes.
 * Freestanding; caller holds the device lock (see legacy.h).
 *
 * Source: Intel 82093AA data sheet (order 290566), section 3; the EOI register: Intel ICH9 data sheet, 13.5.9.
 *
 * A pin that asks is remembered in irr until its message is taken: an edge once, a level until the line drops.
 *
 *   edge:   line rises -> irr ---legacy_ioapic_send()---> sent, irr clear
 *   level:  line high  -> irr ---legacy_ioapic_send()---> sent, remote IRR set
 *                          ^---- legacy_ioapic_eoi(): remote IRR clear; line still high: once more */
#include "machine/apic.h"
#include "machine/legacy.h"

#define ENTRY_LOGICAL BIT(11)
#define ENTRY_BUSY BIT(12)
#define ENTRY_REMOTE_IRR BIT(14)
#define ENTRY_LEVEL BIT(15)
#define ENTRY_MASKED BIT(16)
#define ENTRY_READ_ONLY (ENTRY_BUSY | ENTRY_REMOTE_IRR)
#define ENTRY_WRITABLE 0xff0000000001ffffull
#define ENTRY_VECTOR(e) ((u8)(e))
#define ENTRY_DELIVERY(e) ((u8)((e) >> 8 & 7))

#define VERSION 0x20u /* has the EOI register */
enum { REG_SELECT = 0x00, REG_WINDOW = 0x10, REG_EOI = 0x40 };
enum { INDEX_ID, INDEX_VERSION, INDEX_ARBITRATION, INDEX_ENTRIES = 0x10 };

static bool pin_high(const struct legacy *l, int pin) { return l->ioapic.levels >> pin & 1; }

void ioapic_set_pin(struct legacy *l, int pin, bool level)
{
	struct ioapic *io = &l->ioapic;
	u32 bit = 1u << (pin & 31);
	bool triggered_by_level;

	if (pin < 0 || pin >= IOAPIC_PINS)
		return;
	triggered_by_level = io->entry[pin] & ENTRY_LEVEL;
	if (level && (triggered_by_level || !(io->levels & bit)))
		io->irr |= bit;
	else if (!level && triggered_by_level)
		io->irr &= ~bit;
	io->levels = (io->levels & ~bit) | (level ? bit : 0);
}

bool ioapic_pin_used(const struct legacy *l, int pin)
{
	return pin >= 0 && pin < IOAPIC_PINS && !(l->ioapic.entry[pin] & ENTRY_MASKED);
}

void legacy_ioapic_send(struct legacy *l, struct apics *a, u64 *kick)
{
	struct ioapic *io = &l->ioapic;

	for (u32 left = io->irr & ((1u << IOAPIC_PINS) - 1); left; left &= left - 1) {
		int pin = __builtin_ctz(left);
		u64 e = io->entry[pin];
		bool level = e & ENTRY_LEVEL, taken;
		struct apic_message m = {
			.dest = (u32)(e >> 56), .broadcast = e >> 56 == 0xff, .logical = e & ENTRY_LOGICAL,
			.vector = ENTRY_VECTOR(e), .delivery = ENTRY_DELIVERY(e), .level = level,
		};

		if ((e & ENTRY_MASKED) || (level && (e & ENTRY_REMOTE_IRR)))
			continue;
		taken = apic_send(a, &m, kick);
		if (!level)
			io->irr &= ~(1u << pin);
		else if (taken && m.delivery <= APIC_LOWEST)
			io->entry[pin] |= ENTRY_REMOTE_IRR;
	}
}

void legacy_ioapic_eoi(struct legacy *l, u8 vector)
{
	struct ioapic *io = &l->ioapic;

	for (int pin = 0; pin < IOAPIC_PINS; pin++) {
		if (!(io->entry[pin] & ENTRY_LEVEL) || ENTRY_VECTOR(io->entry[pin]) != vector)
			continue;
		io->entry[pin] &= ~ENTRY_REMOTE_IRR;
		if (pin_high(l, pin))
			io->irr |= 1u << pin;
	}
}

static void write_entry(struct legacy *l, int pin, bool high, u32 value)
{
	struct ioapic *io = &l->ioapic;
	u64 *e = &io->entry[pin], new;

	new = high ? (u32)*e | (u64)value << 32 : (*e & ~0xffffffffull) | value;
	*e = (new & ENTRY_WRITABLE & ~ENTRY_READ_ONLY) | (*e & ENTRY_READ_ONLY);
	if (!(*e & ENTRY_LEVEL))
		*e &= ~ENTRY_REMOTE_IRR; /* how kernels clear it where there is no EOI register */
	if ((*e & ENTRY_LEVEL) && pin_high(l, pin))
		io->irr |= 1u << pin;
	else if (*e & ENTRY_LEVEL)
		io->irr &= ~(1u << pin);
}

u32 legacy_ioapic_read(struct legacy *l, u32 offset)
{
	const struct ioapic *io = &l->ioapic;
	u32 pin = (io->select - INDEX_ENTRIES) / 2u;

	if (offset == REG_SELECT)
		return io->select;
	if (offset != REG_WINDOW)
		return 0;
	switch (io->select) {
	case INDEX_ID:
	case INDEX_ARBITRATION: return (u32)io->id << 24;
	case INDEX_VERSION: return VERSION | (IOAPIC_PINS - 1) << 16;
	default: break;
	}
	if (io->select < INDEX_ENTRIES || pin >= IOAPIC_PINS)
		return 0;
	return (u32)(io->entry[pin] >> (io->select & 1) * 32);
}

void legacy_ioapic_write(struct legacy *l, u32 offset, u32 value)
{
	struct ioapic *io = &l->ioapic;
	u32 pin = (io->select - INDEX_ENTRIES) / 2u;

	if (offset == REG_SELECT)
		io->select = (u8)value;
	else if (offset == REG_EOI)
		legacy_ioapic_eoi(l, (u8)value);
	else if (offset != REG_WINDOW)
		return;
	else if (io->select == INDEX_ID)
		io->id = value >> 24 & 15;
	else if (io->select >= INDEX_ENTRIES && pin < IOAPIC_PINS)
		write_entry(l, (int)pin, io->select & 1, value);
}

void ioapic_init(struct legacy *l)
{
	for (int pin = 0; pin < IOAPIC_PINS; pin++)
		l->ioapic.entry[pin] = ENTRY_MASKED;
}
