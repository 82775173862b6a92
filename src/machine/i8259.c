/* SPDX-License-Identifier: MIT
 * The two cascaded 8259A interrupt controllers of a PC, with their edge/level control registers.
 * Freestanding; caller holds the device lock (see legacy.h).
 *
 * Source: Intel 8259A data sheet (order 231468), "Programming the 8259A"; ELCR: Intel 82371AB
 * (PIIX4) data sheet, section 4.2.4.
 *
 *   ICW1 -> icw=2 -> ICW2 -> icw=3 -> ICW3 -> icw=4 -> ICW4 -> icw=0   i8259_init_word()
 *                       `- single: skips 3      `- ICW1.IC4=0: skips 4
 *
 * An edge stays latched when its line drops before the acknowledge: no device here relies on the
 * request being withdrawn, and a tick that a slow guest sees late must not turn into a spurious
 * interrupt.  A level that drops is withdrawn.  The slave's request is an edge at the master, so
 * that a level which drops at the slave after that gives the slave's input 7 without an in-service
 * bit, as in hardware. */
#include "machine/legacy.h"

#define CASCADE (1u << LEGACY_IRQ_CASCADE)

#define ICW1_IC4 0x01
#define ICW1_SINGLE 0x02
#define ICW1_INIT 0x10
#define ICW4_AUTO_EOI 0x02
#define ICW4_FULLY_NESTED 0x10
#define OCW3_SELECT 0x08 /* with ICW1_INIT clear: OCW3, else OCW2 */

/* Inputs that may be level-triggered: all but timer, keyboard, cascade; RTC and coprocessor. */
static const u8 elcr_writable[2] = { 0xf8, 0xde };

/* The input that the controller asks for, or -1. */
static int pic_request(const struct i8259 *p, bool master)
{
	unsigned pending = p->irr & ~p->imr, served = p->isr;

	if (!pending || p->icw)
		return -1;
	if (p->special_mask)
		served &= ~(unsigned)p->imr;
	if (p->fully_nested && master)
		served &= ~CASCADE; /* the slave sorts out its own priorities */
	for (unsigned i = 0; i < 8; i++) {
		unsigned irq = (p->first + i) & 7;

		if (served & 1u << irq)
			return -1;
		if (pending & 1u << irq)
			return (int)irq;
	}
	return -1;
}

static void pic_set_line(struct i8259 *p, unsigned irq, bool level)
{
	u8 bit = (u8)(1u << (irq & 7));

	if (level) {
		if ((p->elcr | (u8)~p->lines) & bit)
			p->irr |= bit;
		p->lines |= bit;
	} else {
		p->lines &= (u8)~bit;
		p->irr &= (u8)~(p->elcr & bit);
	}
}

static void pic_update_cascade(struct legacy *l)
{
	pic_set_line(&l->pic[0], LEGACY_IRQ_CASCADE, pic_request(&l->pic[1], false) >= 0);
}

static void pic_acknowledge(struct i8259 *p, unsigned irq)
{
	u8 bit = (u8)(1u << irq);

	if (!p->auto_eoi)
		p->isr |= bit;
	else if (p->rotate_auto_eoi)
		p->first = (irq + 1) & 7;
	p->irr &= (u8)~(bit & (u8)~p->elcr);
}

void i8259_set_irq(struct legacy *l, int irq, bool level)
{
	pic_set_line(&l->pic[irq >> 3], (unsigned)irq & 7, level);
	if (irq >= 8)
		pic_update_cascade(l);
}

bool legacy_interrupt_pending(const struct legacy *l)
{
	return pic_request(&l->pic[0], true) >= 0;
}

int legacy_interrupt_acknowledge(struct legacy *l)
{
	struct i8259 *master = &l->pic[0], *slave = &l->pic[1];
	int irq = pic_request(master, true), vector;

	if (irq < 0)
		return master->base | 7;
	pic_acknowledge(master, (unsigned)irq);
	vector = master->base | irq;
	if (irq == LEGACY_IRQ_CASCADE) {
		irq = pic_request(slave, false);
		vector = slave->base | (irq < 0 ? 7 : irq);
		if (irq >= 0)
			pic_acknowledge(slave, (unsigned)irq);
		/* The slave drops its output in the second cycle: what is left is a new edge. */
		pic_set_line(master, LEGACY_IRQ_CASCADE, false);
		pic_update_cascade(l);
	}
	i8254_reinject(l);
	return vector;
}

static void i8259_init_word(struct i8259 *p, u8 value)
{
	u8 after2 = p->single ? 3 : 2;

	switch (p->icw) {
	case 2:
		p->base = value & 0xf8;
		break;
	case 3: /* which input has a slave: wired, so the word is not looked at */
		after2 = 3;
		break;
	default:
		p->auto_eoi = !!(value & ICW4_AUTO_EOI);
		p->fully_nested = !!(value & ICW4_FULLY_NESTED);
		after2 = 4;
		break;
	}
	p->icw = after2 + 1;
	if (p->icw > 4 || (p->icw == 4 && !p->icw4_follows))
		p->icw = 0;
}

static void i8259_begin_init(struct i8259 *p, u8 value)
{
	p->imr = 0;
	p->isr = 0;
	p->irr = p->lines & p->elcr; /* edges must come again */
	p->first = 0;
	p->special_mask = 0;
	p->read_isr = 0;
	p->poll = 0;
	p->auto_eoi = 0;
	p->rotate_auto_eoi = 0;
	p->fully_nested = 0;
	p->icw4_follows = !!(value & ICW1_IC4);
	p->single = !!(value & ICW1_SINGLE);
	p->icw = 2;
}

/* OCW2: end of interrupt and rotation. */
static void i8259_end(struct i8259 *p, u8 value)
{
	unsigned irq = value & 7;
	bool rotate = value & 0x80, specific = value & 0x40, end = value & 0x20;

	if (!end) {
		if (specific && rotate)
			p->first = (irq + 1) & 7;
		else if (!specific)
			p->rotate_auto_eoi = rotate;
		return;
	}
	if (!specific) {
		unsigned served = p->isr & ~(p->special_mask ? (unsigned)p->imr : 0);

		if (!served)
			return;
		irq = p->first & 7;
		while (!(served & 1u << irq))
			irq = (irq + 1) & 7;
	}
	p->isr &= (u8)~(1u << irq);
	if (rotate)
		p->first = (irq + 1) & 7;
}

/* OCW3: special mask mode, poll, which register is read. */
static void i8259_select(struct i8259 *p, u8 value)
{
	if (value & 0x40)
		p->special_mask = !!(value & 0x20);
	if (value & 0x04)
		p->poll = 1;
	else if (value & 0x02)
		p->read_isr = value & 1;
}

void i8259_write(struct legacy *l, u16 port, u8 value)
{
	struct i8259 *p = &l->pic[port >> 7 & 1];

	i8254_advance(l); /* so that a tick which is due meets the state before this write */
	if (port & 1) {
		if (p->icw)
			i8259_init_word(p, value);
		else
			p->imr = value;
	} else if (value & ICW1_INIT) {
		i8259_begin_init(p, value);
	} else if (value & OCW3_SELECT) {
		i8259_select(p, value);
	} else {
		i8259_end(p, value);
	}
	pic_update_cascade(l);
	i8254_reinject(l);
}

u8 i8259_read(struct legacy *l, u16 port)
{
	bool second = port >> 7 & 1;
	struct i8259 *p = &l->pic[second];
	int irq;

	i8254_advance(l);
	if (!p->poll) {
		if (port & 1)
			return p->imr;
		return p->read_isr ? p->isr : p->irr;
	}
	p->poll = 0;
	irq = pic_request(p, !second);
	if (irq < 0)
		return 7;
	pic_acknowledge(p, (unsigned)irq);
	pic_update_cascade(l);
	i8254_reinject(l);
	return (u8)(0x80 | irq);
}

u8 i8259_elcr_read(struct legacy *l, u16 port)
{
	return l->pic[port & 1].elcr;
}

void i8259_elcr_write(struct legacy *l, u16 port, u8 value)
{
	struct i8259 *p = &l->pic[port & 1];
	u8 was = p->elcr;

	p->elcr = value & elcr_writable[port & 1];
	p->irr &= (u8)~(was | p->elcr);
	p->irr |= p->lines & p->elcr;
	pic_update_cascade(l);
}

void i8259_init(struct legacy *l)
{
	for (int i = 0; i < 2; i++) {
		l->pic[i].base = i ? 0x70 : 0x08; /* where firmware puts them */
		l->pic[i].imr = 0xff;
	}
	l->pic[0].elcr = LEGACY_PCI_IRQS & 0xff;
	l->pic[1].elcr = (u8)(LEGACY_PCI_IRQS >> 8 | 1u << (LEGACY_IRQ_SCI & 7));
}
