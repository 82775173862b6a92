/* SPDX-License-Identifier: MIT
 * A 16550A serial port, COM1.
 * Freestanding; caller holds the device lock (see legacy.h).
 *
 * Source: National Semiconductor PC16550D data sheet (TL/C/8652), section 8.
 *
 * The line is a pair of byte rings.  A byte is sent the moment it is written: the transmit ring
 * stands for the wire, and the transmitter reports "empty" as long as the ring has room for a whole
 * FIFO, so that a guest that fills the FIFO without looking, as it may, loses nothing when the host
 * reads slowly.  The first RX_FIFO bytes of the receive ring are the guest's FIFO; the rest wait
 * behind it as if still on the wire, so that the receiver overruns in loopback only.
 * Breaks have no receiver; parity and framing errors do not happen. */
#include "machine/legacy.h"

#define RX_FIFO 16u
#define TX_FIFO 16u
#define POLLS_LISTENING 64 /* looks at an empty receiver in a row, with nothing sent between */
#define BAUD_BASE 115200ull

enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RX 0x01
#define IER_THR 0x02
#define IER_LINE 0x04
#define IER_MODEM 0x08
#define IIR_MODEM 0x00
#define IIR_NONE 0x01
#define IIR_THR 0x02
#define IIR_RX 0x04
#define IIR_LINE 0x06
#define IIR_TIMEOUT 0x0c
#define FCR_ENABLE 0x01
#define FCR_RX_RESET 0x02
#define FCR_TRIGGER 0xc0
#define LCR_DLAB 0x80
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define LSR_DATA 0x01
#define LSR_OVERRUN 0x02
#define LSR_EMPTY 0x60 /* holding register and shifter */
#define MSR_RI 0x40
#define MSR_CONNECTED 0xb0 /* DCD, DSR, CTS */
#define MSR_DELTA_RI 0x04

static u32 rx_visible(const struct uart16550 *u)
{
	return MIN(u->rx_count, u->fcr & FCR_ENABLE ? RX_FIFO : 1u);
}

static u32 rx_trigger(const struct uart16550 *u)
{
	static const u8 levels[4] = { 1, 4, 8, 14 };

	return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

static u32 tx_room(const struct uart16550 *u)
{
	return u->tx_count < UART_TX_SIZE ? UART_TX_SIZE - u->tx_count : 0;
}

static bool tx_empty(const struct uart16550 *u)
{
	return (u->mcr & MCR_LOOP) || tx_room(u) >= TX_FIFO;
}

/* Time of four characters at the rate and format that the guest has set. */
static u64 rx_timeout_length(const struct uart16550 *u)
{
	u64 divisor = (u64)u->dlm << 8 | u->dll;
	u64 bits = 1 + 5 + (u->lcr & 3) + !!(u->lcr & 8) + 1 + !!(u->lcr & 4);

	return 4 * bits * MAX(divisor, 1) * NSEC / BAUD_BASE;
}

static u8 interrupt_id(const struct uart16550 *u)
{
	if ((u->ier & IER_LINE) && u->overrun)
		return IIR_LINE;
	if ((u->ier & IER_RX) && rx_visible(u) >= rx_trigger(u))
		return IIR_RX;
	if ((u->ier & IER_RX) && u->rx_timeout)
		return IIR_TIMEOUT;
	if ((u->ier & IER_THR) && u->thr_pending)
		return IIR_THR;
	if ((u->ier & IER_MODEM) && u->modem_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

/* On a PC the interrupt goes through a buffer that OUT2 opens; loopback closes it. */
static void uart_update(struct legacy *l)
{
	const struct uart16550 *u = &l->uart;

	legacy_set_irq(l, LEGACY_IRQ_COM1, interrupt_id(u) != IIR_NONE &&
		       (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2);
}

static void rx_arm_timeout(struct legacy *l)
{
	l->uart.rx_timeout = 0;
	l->uart.rx_timeout_ns = l->core.now_ns + rx_timeout_length(&l->uart);
}

static bool rx_waits_for_timeout(const struct uart16550 *u)
{
	return (u->fcr & FCR_ENABLE) && u->rx_count && !u->rx_timeout &&
	       rx_visible(u) < rx_trigger(u);
}

void uart16550_advance(struct legacy *l)
{
	struct uart16550 *u = &l->uart;

	if (rx_waits_for_timeout(u) && l->core.now_ns >= u->rx_timeout_ns) {
		u->rx_timeout = 1;
		uart_update(l);
	}
}

u64 uart16550_deadline(const struct legacy *l)
{
	const struct uart16550 *u = &l->uart;

	return rx_waits_for_timeout(u) && (u->ier & IER_RX) ? u->rx_timeout_ns : LEGACY_NEVER;
}

static bool rx_push(struct uart16550 *u, u8 byte)
{
	if (u->rx_count >= UART_RX_SIZE)
		return false;
	u->rx[(u->rx_head + u->rx_count++) & (UART_RX_SIZE - 1)] = byte;
	return true;
}

static void rx_drop(struct legacy *l, u32 n)
{
	struct uart16550 *u = &l->uart;

	u->rx_head = (u->rx_head + n) & (UART_RX_SIZE - 1);
	u->rx_count -= (u16)n;
	if (n && u->rx_refused) {
		u->rx_refused = 0;
		l->core.events |= LEGACY_RX;
	}
}

static u8 read_data(struct legacy *l)
{
	struct uart16550 *u = &l->uart;
	u8 byte = u->rx[u->rx_head & (UART_RX_SIZE - 1)]; /* empty: the last one again */

	if (!u->rx_count)
		return byte;
	rx_drop(l, 1);
	if (u->rx_count)
		rx_arm_timeout(l);
	else
		u->rx_timeout = 0;
	return byte;
}

static void write_data(struct legacy *l, u8 byte)
{
	struct uart16550 *u = &l->uart;

	u->thr_pending = 0;
	uart_update(l); /* the line drops, so that "empty again" is an edge */
	if (u->mcr & MCR_LOOP) {
		if (u->rx_count < (u->fcr & FCR_ENABLE ? RX_FIFO : 1u))
			rx_push(u, byte);
		else
			u->overrun = 1;
		if (!u->rx_timeout)
			rx_arm_timeout(l);
	} else if (tx_room(u)) {
		u->tx[(u->tx_head + u->tx_count++) & (UART_TX_SIZE - 1)] = byte;
		l->core.events |= LEGACY_TX;
	}
	u->polls = 0;
	u->thr_pending = tx_empty(u);
}

static void write_fcr(struct legacy *l, u8 value)
{
	struct uart16550 *u = &l->uart;
	bool toggled = (u->fcr ^ value) & FCR_ENABLE;

	if (toggled || (value & FCR_ENABLE && value & FCR_RX_RESET)) {
		rx_drop(l, rx_visible(u));
		rx_arm_timeout(l);
	}
	/* What the transmitter holds is on the wire already: its reset has nothing to drop. */
	u->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
}

/* The modem inputs: a terminal that is always there, or in loopback the outputs. */
static void update_modem(struct legacy *l)
{
	struct uart16550 *u = &l->uart;
	u8 lines = MSR_CONNECTED, changed;

	if (u->mcr & MCR_LOOP) /* RTS -> CTS, DTR -> DSR, OUT1 -> RI, OUT2 -> DCD */
		lines = (u8)((u->mcr & 2) << 3 | (u->mcr & 1) << 5 | (u->mcr & 0x0c) << 4);
	else if (u->rx_refused)
		l->core.events |= LEGACY_RX; /* the input is connected again */
	changed = u->modem ^ lines;
	if (!(changed & u->modem & MSR_RI)) /* RI reports its falling edge only */
		changed &= (u8)~MSR_RI;
	u->modem_delta |= changed >> 4;
	u->modem = lines;
}

void uart16550_write(struct legacy *l, u16 port, u8 value)
{
	struct uart16550 *u = &l->uart;
	bool dlab = u->lcr & LCR_DLAB;

	uart16550_advance(l);
	switch (port & 7) {
	case RBR_THR:
		if (dlab)
			u->dll = value;
		else
			write_data(l, value);
		break;
	case IER:
		if (dlab) {
			u->dlm = value;
			break;
		}
		if (value & ~u->ier & IER_THR && tx_empty(u)) {
			u->thr_pending = 0;
			uart_update(l);
			u->thr_pending = 1;
		}
		u->ier = value & 0x0f;
		break;
	case IIR_FCR:
		write_fcr(l, value);
		break;
	case LCR:
		u->lcr = value;
		break;
	case MCR:
		u->mcr = value & 0x1f;
		update_modem(l);
		break;
	case SCR:
		u->scr = value;
		break;
	default: /* the status registers are read-only */
		break;
	}
	uart_update(l);
}

static u8 read_iir(struct uart16550 *u)
{
	u8 id = interrupt_id(u);

	if (id == IIR_THR)
		u->thr_pending = 0;
	return (u8)(id | (u->fcr & FCR_ENABLE ? 0xc0 : 0));
}

static u8 read_lsr(struct uart16550 *u)
{
	u8 value = (u8)((u->rx_count ? LSR_DATA : 0) | (u->overrun ? LSR_OVERRUN : 0) |
			(tx_empty(u) ? LSR_EMPTY : 0));

	u->overrun = 0;
	return value;
}

static u8 read_msr(struct uart16550 *u)
{
	u8 value = (u8)(u->modem | (u->modem_delta & 0x0f));

	u->modem_delta = 0;
	return value;
}

u8 uart16550_read(struct legacy *l, u16 port)
{
	struct uart16550 *u = &l->uart;
	bool dlab = u->lcr & LCR_DLAB;
	u8 value;

	uart16550_advance(l);
	switch (port & 7) {
	case RBR_THR:
		value = dlab ? u->dll : read_data(l);
		break;
	case IER:
		value = dlab ? u->dlm : u->ier;
		break;
	case IIR_FCR:
		value = read_iir(u);
		break;
	case LCR:
		value = u->lcr;
		break;
	case MCR:
		value = u->mcr;
		break;
	case LSR:
		value = read_lsr(u);
		if (!(value & LSR_DATA) && u->polls < POLLS_LISTENING)
			u->polls++;
		break;
	case MSR:
		value = read_msr(u);
		break;
	default:
		value = u->scr;
		break;
	}
	uart_update(l);
	return value;
}

bool legacy_uart_listening(const struct legacy *l)
{
	return (l->uart.ier & IER_RX) || l->uart.polls >= POLLS_LISTENING;
}

size_t legacy_uart_receive(struct legacy *l, const u8 *bytes, size_t n)
{
	struct uart16550 *u = &l->uart;
	size_t taken = 0;

	/* In loopback the input pin is cut off: the host keeps its bytes until that ends. */
	while (taken < n && !(u->mcr & MCR_LOOP) && rx_push(u, bytes[taken]))
		taken++;
	u->rx_refused = taken < n;
	if (taken && !u->rx_timeout) /* only a read withdraws a time-out */
		rx_arm_timeout(l);
	uart_update(l);
	return taken;
}

size_t legacy_uart_transmit(struct legacy *l, u8 *bytes, size_t max)
{
	struct uart16550 *u = &l->uart;
	bool was_empty = tx_empty(u);
	size_t n = 0;

	while (n < max && u->tx_count) {
		bytes[n++] = u->tx[u->tx_head & (UART_TX_SIZE - 1)];
		u->tx_head = (u->tx_head + 1) & (UART_TX_SIZE - 1);
		u->tx_count--;
	}
	if (u->tx_count)
		l->core.events |= LEGACY_TX;
	if (!was_empty && tx_empty(u))
		u->thr_pending = 1;
	uart_update(l);
	return n;
}

bool legacy_uart_sending(const struct legacy *l) { return l->uart.tx_count; }

void uart16550_init(struct legacy *l)
{
	l->uart.dll = 1; /* 115200 baud, 8 bits, no parity */
	l->uart.lcr = 3;
	l->uart.modem = MSR_CONNECTED;
}
