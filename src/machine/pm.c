/* SPDX-License-Identifier: MIT
 * ACPI fixed hardware: the PM1a event and control blocks, the power management timer, the power
 * button, and the reset register.
 * Freestanding; caller holds the device lock (see legacy.h).
 *
 * Source: ACPI specification 6.4, sections 4.8.3 (fixed registers), 4.8.3.3 (timer), 4.8.3.6 (reset);
 * port 0xcf9: Intel ICH9 data sheet, section 13.7.5.
 *
 * The machine is born in ACPI mode: SCI_EN is always one, there is no SMI command port. */
#include "machine/legacy.h"

#define TIMER_HZ 3579545ull
#define TIMER_MASK 0xffffffull
#define TIMER_MSB 23 /* TMR_STS is set whenever it changes */

/* Ticks between two readings of a guest that keeps its clock by the timer: it has to look before half of the 24 bits have
 * gone by (Linux takes what looks like more for a step back, and loses a whole turn, 4.7 s), and sleeps no longer. */
#define STEP_MAX (TIMER_HZ * 9 / 4)
#define KEPT (TIMER_HZ * 30)     /* that long it has been read often enough: a clock is kept by it */
#define SILENCE (TIMER_HZ * 60)  /* so long no host keeps a guest from running: nobody looked */
#define CATCH_UP 16              /* how fast it goes while it is behind */

#define PM1_TIMER 0x0001
#define PM1_GLOBAL 0x0020
#define PM1_POWER_BUTTON 0x0100
#define PM1_SLEEP_BUTTON 0x0200
#define PM1_RTC 0x0400
#define PM1_ENABLES (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | PM1_RTC)
#define CONTROL_SCI_EN 0x0001
#define CONTROL_STORED 0x1c02 /* SLP_TYP, BM_RLD; SLP_EN and GBL_RLS read as zero */
#define CONTROL_SLP_EN 0x2000

#define RESET_HARD 0x02
#define RESET_GO 0x04

static u64 timer_ticks(const struct legacy *l)
{
	return legacy_ticks(l->core.now_ns, TIMER_HZ);
}

/* What the timer shows.  Where the host has not let a guest run that keeps its clock by it, the rest of the time is shown
 * bit by bit, so that the guest's clock loses nothing.  Whoever reads it now and then gets the plain time. */
static u64 timer_read(struct legacy *l)
{
	u64 ticks = timer_ticks(l), passed = ticks - l->pm.read;

	if (passed <= STEP_MAX) {
		l->pm.behind -= MIN(MIN(l->pm.behind, (CATCH_UP - 1) * passed), STEP_MAX - passed);
	} else if (passed < SILENCE && l->pm.read - l->pm.since >= KEPT) {
		l->pm.behind += passed - STEP_MAX;
	} else {
		l->pm.since = ticks;
		l->pm.behind = 0;
	}
	l->pm.read = ticks;
	return ticks - l->pm.behind;
}

static void pm_update(struct legacy *l)
{
	legacy_set_irq(l, LEGACY_IRQ_SCI, l->pm.status & l->pm.enable & PM1_ENABLES);
}

void pm_advance(struct legacy *l)
{
	u64 ticks = timer_ticks(l);

	if (ticks >> TIMER_MSB != l->pm.seen >> TIMER_MSB)
		l->pm.status |= PM1_TIMER;
	l->pm.seen = ticks;
	pm_update(l);
}

u64 pm_deadline(const struct legacy *l)
{
	if (!(l->pm.enable & PM1_TIMER) || (l->pm.status & PM1_TIMER))
		return LEGACY_NEVER;
	return legacy_tick_ns(((l->pm.seen >> TIMER_MSB) + 1) << TIMER_MSB, TIMER_HZ);
}

void legacy_power_button(struct legacy *l)
{
	l->pm.status |= PM1_POWER_BUTTON;
	pm_update(l);
}

u8 pm_read(struct legacy *l, u16 port)
{
	unsigned offset = (unsigned)port - LEGACY_PORT_PM, shift = (offset & 1) * 8;

	if (offset >= 8) /* the same time in every byte of a wide read */
		return (u8)((timer_read(l) & TIMER_MASK) >> (offset & 3) * 8);
	pm_advance(l);
	switch (offset / 2) {
	case 0:
		return (u8)(l->pm.status >> shift);
	case 1:
		return (u8)(l->pm.enable >> shift);
	case 2:
		return (u8)((l->pm.control | CONTROL_SCI_EN) >> shift);
	default:
		return 0;
	}
}

void pm_write(struct legacy *l, u16 port, u8 value)
{
	unsigned offset = (unsigned)port - LEGACY_PORT_PM, shift = (offset & 1) * 8;
	u16 mask = (u16)(0xffu << shift), word = (u16)((unsigned)value << shift);

	pm_advance(l);
	switch (offset / 2) {
	case 0: /* write one to clear */
		l->pm.status &= (u16)~word;
		break;
	case 1:
		l->pm.enable = ((l->pm.enable & (u16)~mask) | word) & PM1_ENABLES;
		break;
	case 2:
		l->pm.control = ((l->pm.control & (u16)~mask) | word) & CONTROL_STORED;
		if (word & CONTROL_SLP_EN && l->pm.control >> 10 == LEGACY_SLP_TYP_S5)
			l->core.events |= LEGACY_POWEROFF;
		break;
	default: /* the timer is read-only */
		break;
	}
	pm_update(l);
}

u8 pm_reset_read(struct legacy *l, u16 port)
{
	(void)port;
	return l->core.reset;
}

/* Soft and hard reset are one here: the machine starts anew. */
void pm_reset_write(struct legacy *l, u16 port, u8 value)
{
	(void)port;
	if (value & RESET_GO)
		l->core.events |= LEGACY_RESET;
	l->core.reset = value & (RESET_HARD | 0x08);
}

void pm_init(struct legacy *l)
{
	l->pm.seen = l->pm.read = l->pm.since = timer_ticks(l);
}
