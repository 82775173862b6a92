/* SPDX-License-Identifier: MIT
 * A keyboard controller with nothing plugged in, and port 0x92.
 * Freestanding; caller holds the device lock (see legacy.h).
 *
 * Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
 * Controller"; port 0x92: "System Control Port A" of the same.
 *
 * It is here for what kernels do without asking: pulse the reset line, switch A20, and probe for a
 * keyboard.  Every command that has an answer is answered at once, and a byte for an absent device
 * comes back as a resend with the time-out bit, so that a probe ends in microseconds. */
#include "machine/legacy.h"

#define STATUS_FULL 0x01
#define STATUS_SELF_TEST_PASSED 0x04
#define STATUS_COMMAND 0x08
#define STATUS_UNLOCKED 0x10
#define STATUS_TIMEOUT 0x40

#define CONTROL_INTERRUPT 0x01
#define CONTROL_KEYBOARD_OFF 0x10
#define CONTROL_AUX_OFF 0x20

#define OUTPUT_NOT_RESET 0x01
#define OUTPUT_A20 0x02

#define SELF_TEST_PASSED 0x55
#define CLOCK_STUCK_LOW 0x01
#define RESEND 0xfe

enum {
	READ_CONTROL = 0x20, WRITE_CONTROL = 0x60, AUX_OFF = 0xa7, AUX_ON = 0xa8, AUX_TEST = 0xa9,
	SELF_TEST = 0xaa, KEYBOARD_TEST = 0xab, KEYBOARD_OFF = 0xad, KEYBOARD_ON = 0xae,
	READ_INPUT = 0xc0, READ_OUTPUT = 0xd0, WRITE_OUTPUT = 0xd1, ECHO_KEYBOARD = 0xd2,
	ECHO_AUX = 0xd3, WRITE_AUX = 0xd4, PULSE = 0xf0,
};

static void i8042_update(struct legacy *l)
{
	legacy_set_irq(l, LEGACY_IRQ_KEYBOARD,
		       l->i8042.full && (l->i8042.control & CONTROL_INTERRUPT));
}

static void i8042_answer(struct legacy *l, u8 data, bool timed_out)
{
	l->i8042.full = 1;
	l->i8042.data = data;
	l->i8042.timed_out = timed_out;
	i8042_update(l);
}

static void set_output(struct legacy *l, u8 value)
{
	l->i8042.output = value;
	if (!(value & OUTPUT_NOT_RESET))
		l->core.events |= LEGACY_RESET;
}

static void i8042_command(struct legacy *l, u8 command)
{
	struct i8042 *k = &l->i8042;

	k->command = 0;
	switch (command) {
	case READ_CONTROL:
		i8042_answer(l, k->control, false);
		break;
	case WRITE_CONTROL:
	case WRITE_OUTPUT:
	case ECHO_KEYBOARD:
	case ECHO_AUX:
	case WRITE_AUX:
		k->command = command;
		break;
	case AUX_OFF:
		k->control |= CONTROL_AUX_OFF;
		break;
	case AUX_ON:
		k->control &= (u8)~CONTROL_AUX_OFF;
		break;
	case AUX_TEST:
	case KEYBOARD_TEST:
		i8042_answer(l, CLOCK_STUCK_LOW, false);
		break;
	case SELF_TEST:
		i8042_answer(l, SELF_TEST_PASSED, false);
		break;
	case KEYBOARD_OFF:
		k->control |= CONTROL_KEYBOARD_OFF;
		break;
	case KEYBOARD_ON:
		k->control &= (u8)~CONTROL_KEYBOARD_OFF;
		break;
	case READ_INPUT:
		i8042_answer(l, 0x80, false); /* keyboard lock open */
		break;
	case READ_OUTPUT:
		i8042_answer(l, k->output, false);
		break;
	default:
		if (command >= PULSE && !(command & OUTPUT_NOT_RESET))
			l->core.events |= LEGACY_RESET;
		break;
	}
}

static void i8042_data(struct legacy *l, u8 value)
{
	struct i8042 *k = &l->i8042;
	u8 command = k->command;

	k->command = 0;
	switch (command) {
	case WRITE_CONTROL:
		k->control = value & 0x7f;
		i8042_update(l);
		break;
	case WRITE_OUTPUT:
		set_output(l, value);
		break;
	case ECHO_KEYBOARD:
		i8042_answer(l, value, false);
		break;
	default: /* to the keyboard or, with ECHO_AUX and WRITE_AUX, to the other port */
		i8042_answer(l, RESEND, true);
		break;
	}
}

void i8042_write(struct legacy *l, u16 port, u8 value)
{
	l->i8042.last_was_command = port >> 2 & 1;
	if (l->i8042.last_was_command)
		i8042_command(l, value);
	else
		i8042_data(l, value);
}

u8 i8042_read(struct legacy *l, u16 port)
{
	struct i8042 *k = &l->i8042;

	if (port & 4)
		return (u8)(STATUS_SELF_TEST_PASSED | STATUS_UNLOCKED | (k->full ? STATUS_FULL : 0) |
			    (k->last_was_command ? STATUS_COMMAND : 0) |
			    (k->full && k->timed_out ? STATUS_TIMEOUT : 0));
	k->full = 0;
	i8042_update(l);
	return k->data;
}

u8 i8042_port92_read(struct legacy *l, u16 port)
{
	(void)port;
	return l->core.port92;
}

void i8042_port92_write(struct legacy *l, u16 port, u8 value)
{
	(void)port;
	if (value & 1)
		l->core.events |= LEGACY_RESET;
	l->core.port92 = value & OUTPUT_A20;
}

void i8042_init(struct legacy *l)
{
	l->i8042.control = CONTROL_KEYBOARD_OFF | CONTROL_AUX_OFF;
	l->i8042.output = OUTPUT_NOT_RESET | OUTPUT_A20 | 0xcc;
	l->core.port92 = OUTPUT_A20;
}
