/* SPDX-License-Identifier: MIT
 * The devices a PC has always had: interrupt controllers, interval timer, clock, serial port, power
 * management; the IO-APIC; and the ports that must answer so that a kernel finds nothing there.
 *
 * Freestanding state machines, compiled both into the monitor and into the front-end.  All state is
 * in struct legacy: plain data in shared memory, no pointers.  Whoever calls holds the machine's
 * device lock; nothing here blocks, allocates or looks at a clock: the caller passes machine time.
 *
 * Machine time is monotonic nanoseconds that go on across a pause and a migration.  A call with a
 * time before the latest one seen counts as the latest one.
 *
 * Invariants
 *  L1  Any bit pattern in struct legacy is safe: every index is masked where it is used and every
 *      divisor is checked, so that neither a guest nor a hostile saved state leads out of range.
 *  L2  Work in one call is bounded, however much time has passed.
 *  L3  A line's level is a function of its device's state; each change of state ends in the
 *      device's own update function, which is the only place that sets the line.
 *
 * A device is a field list (S: one value, A: an array; widths in bits, unsigned), its port rows in
 * ports.c, and its functions below.  Save, load and dump are generated from the same lists. */
#ifndef PENUMBRA_MACHINE_LEGACY_H
#define PENUMBRA_MACHINE_LEGACY_H

#include "base/types.h"

#define LEGACY_IRQ_PIT 0
#define LEGACY_IRQ_KEYBOARD 1
#define LEGACY_IRQ_CASCADE 2
#define LEGACY_IRQ_COM1 4
#define LEGACY_IRQ_RTC 8
#define LEGACY_IRQ_SCI 9
/* PCI's INTA to INTD, level-triggered; each is the ISA interrupt and the IO-APIC pin of this number. */
#define LEGACY_PCI_INTX(n) ((int[]){ 10, 11, 5, 7 }[(n) & 3])
#define LEGACY_PCI_IRQS (1u << 10 | 1u << 11 | 1u << 5 | 1u << 7)

#define LEGACY_PORT_COM1 0x3f8
#define LEGACY_PORT_PM 0x600 /* PM1a status, enable, control, timer: offsets 0, 2, 4, 8 */
#define LEGACY_PM_SIZE 12
#define LEGACY_PORT_RESET 0xcf9
#define LEGACY_RESET_VALUE 0x06 /* what the ACPI reset register wants written */
#ifndef LEGACY_SLP_TYP_S5
#define LEGACY_SLP_TYP_S5 5 /* sleep type that \_S5 announces */
#endif
#define LEGACY_CMOS_CENTURY 0x32

#define UART_RX_SIZE 256u  /* powers of two: the indices are masked */
#define UART_TX_SIZE 4096u

#define LEGACY_CORE_FIELDS(S, A) \
	S(64, now_ns)    /* the latest time seen */ \
	S(32, events)    /* LEGACY_* not yet collected */ \
	S(8, post)       /* port 0x80, the last progress code */ \
	S(8, port92)     /* bit 1: A20 */ \
	S(8, reset)      /* port 0xcf9 without its trigger bit */ \
	S(32, config_address) /* port 0xcf8, where the machine has no PCI devices */ \
	S(8, debug_exit) /* port 0xf4 ends the machine */ \
	S(8, exit_status) /* ... with this status */

/* Bits of irr, imr, isr, lines, elcr are interrupt inputs 0-7. */
#define I8259_FIELDS(S, A) \
	S(8, irr)        /* requests: latched edges, and levels that are high */ \
	S(8, imr)        /* masked */ \
	S(8, isr)        /* in service */ \
	S(8, lines)      /* inputs as they stand */ \
	S(8, elcr)       /* inputs that are level-triggered */ \
	S(8, base)       /* vector of input 0 */ \
	S(8, first)      /* input that has the highest priority */ \
	S(8, icw)        /* next initialisation word: 0 none, 2, 3, 4 */ \
	S(8, icw4_follows) \
	S(8, single)     /* ICW1: no ICW3 follows */ \
	S(8, auto_eoi) \
	S(8, rotate_auto_eoi) \
	S(8, special_mask) \
	S(8, fully_nested) /* special fully nested mode */ \
	S(8, read_isr)   /* an even port reads isr, else irr */ \
	S(8, poll)       /* the next read polls */

/* Ticks are absolute: machine time in periods of 1193182 Hz. */
#define I8254_CHANNEL_FIELDS(S, A) \
	S(64, loaded)    /* tick at which the active count was, or will be, loaded */ \
	S(64, held)      /* elapsed ticks when the gate closed */ \
	S(64, switch_at) /* modes 2, 3: tick at which next_count takes over */ \
	S(64, seen)      /* tick up to which rising edges are accounted */ \
	S(32, count)     /* active count, 1..65536 */ \
	S(32, next_count) /* written, not active yet; 0 none */ \
	S(16, latch)     /* latched count */ \
	S(8, latched)    /* a count is latched */ \
	S(8, status)     /* latched status */ \
	S(8, status_latched) \
	S(8, mode)       /* 0-5 */ \
	S(8, bcd) \
	S(8, access)     /* 1 low byte, 2 high byte, 3 both */ \
	S(8, gate) \
	S(8, armed)      /* a count was loaded (modes 1, 5: triggered) */ \
	S(8, write_high) /* the next write is the high byte */ \
	S(8, write_low)  /* low byte that waits for it */ \
	S(8, read_high)  /* the next read is the high byte */
#define I8254_FIELDS(S, A) \
	S(32, debt)      /* rising edges of channel 0 that the guest has not been given yet */ \
	S(8, speaker)    /* port 0x61 bits 0-3 as written */

#define MC146818_FIELDS(S, A) \
	S(64, base_s)    /* clock = base_s + (now + phase_ns) / 1 s, seconds since 1970 (two's complement) */ \
	S(64, seen_s)    /* second up to which updates and alarms are accounted */ \
	S(64, seen_tick) /* 32768 Hz tick up to which periods are accounted */ \
	S(32, phase_ns)  /* below 1e9 */ \
	S(8, index) \
	S(8, flags)      /* register C without its bit 7 */ \
	A(8, ram, 128)   /* bytes; 0-9 and the century only while the clock is held */

#define UART16550_FIELDS(S, A) \
	S(64, rx_timeout_ns) /* when unread bytes below the trigger level are announced */ \
	S(16, rx_head)   /* ring: the first RX FIFO bytes are the guest's, the rest wait behind */ \
	S(16, rx_count) \
	S(16, tx_head) \
	S(16, tx_count) \
	S(8, ier) S(8, fcr) S(8, lcr) S(8, mcr) S(8, scr) S(8, dll) S(8, dlm) \
	S(8, overrun)    /* LSR bit 1 */ \
	S(8, modem)      /* MSR bits 4-7 */ \
	S(8, modem_delta) /* MSR bits 0-3 */ \
	S(8, thr_pending) /* the transmit-empty interrupt is due */ \
	S(8, rx_timeout) /* the time-out interrupt is due */ \
	S(8, rx_refused) /* the ring had no room for a host byte */ \
	S(8, polls)      /* reads of LSR without data since the last byte was sent */ \
	A(8, rx, UART_RX_SIZE) \
	A(8, tx, UART_TX_SIZE)

#define PM_FIELDS(S, A) \
	S(64, seen)      /* 3.579545 MHz tick up to which timer overflows are accounted */ \
	S(64, read)      /* tick at which the timer was last read, */ \
	S(64, since)     /* and that from which on it has been read often */ \
	S(64, behind)    /* ticks that it shows too little */ \
	S(16, status) S(16, enable) S(16, control)

/* Bits of irr, own, outside are pins 0-23. */
#define IOAPIC_PINS 24
#define IOAPIC_FIELDS(S, A) \
	A(64, entry, IOAPIC_PINS) /* redirection table */ \
	S(32, irr)       /* requests not sent yet: latched edges, and levels that are high */ \
	S(32, levels)    /* pins as they stand */ \
	S(32, own)       /* levels that the devices here drive */ \
	S(32, outside)   /* levels that other devices drive */ \
	S(8, select)     /* register that the window shows */ \
	S(8, id)

#define I8042_FIELDS(S, A) \
	S(8, full)       /* a byte waits in the output buffer */ \
	S(8, data) \
	S(8, timed_out)  /* that byte stands for a device that did not answer */ \
	S(8, command)    /* command that waits for its data byte, 0 none */ \
	S(8, last_was_command) \
	S(8, control)    /* command byte */ \
	S(8, output)     /* output port */

/* Every part: ONE(struct, member, fields), MANY(struct, member, count, fields). */
#define LEGACY_PARTS(ONE, MANY) \
	ONE(legacy_core, core, LEGACY_CORE_FIELDS) \
	MANY(i8259, pic, 2, I8259_FIELDS) \
	MANY(i8254_channel, channel, 3, I8254_CHANNEL_FIELDS) \
	ONE(i8254, pit, I8254_FIELDS) \
	ONE(mc146818, rtc, MC146818_FIELDS) \
	ONE(uart16550, uart, UART16550_FIELDS) \
	ONE(pm, pm, PM_FIELDS) \
	ONE(i8042, i8042, I8042_FIELDS) \
	ONE(ioapic, ioapic, IOAPIC_FIELDS)

#define LEGACY_VALUE(width, name) u##width name;
#define LEGACY_ARRAY(width, name, count) u##width name[count];
#define LEGACY_STRUCT(tag, member, fields) struct tag { fields(LEGACY_VALUE, LEGACY_ARRAY) };
#define LEGACY_STRUCTS(tag, member, count, fields) LEGACY_STRUCT(tag, member, fields)
LEGACY_PARTS(LEGACY_STRUCT, LEGACY_STRUCTS)

#define LEGACY_MEMBER(tag, member, fields) struct tag member;
#define LEGACY_MEMBERS(tag, member, count, fields) struct tag member[count];
struct legacy { LEGACY_PARTS(LEGACY_MEMBER, LEGACY_MEMBERS) };

/* Events for the front-end. */
#define LEGACY_POWEROFF 0x1u /* the guest entered S5 */
#define LEGACY_RESET 0x2u    /* the guest asked for a reset, by whichever of the ways */
#define LEGACY_EXIT 0x10u    /* the guest ended the run with core.exit_status */
#define LEGACY_TX 0x4u       /* bytes wait for legacy_uart_transmit() */
#define LEGACY_RX 0x8u       /* legacy_uart_receive() has room again after it refused a byte */

/* The state in which firmware leaves the devices at power-on.  `utc_offset_ns` is UTC (nanoseconds
 * since 1970) minus machine time; `ram_bytes` is told to the guest in CMOS. */
void legacy_init(struct legacy *l, u64 now_ns, s64 utc_offset_ns, u64 ram_bytes);

/* A write of n to port 0xf4 ends the machine with status n * 2 + 1, as QEMU's isa-debug-exit does. */
void legacy_enable_debug_exit(struct legacy *l);

/* `size` is 1, 2 or 4.  Ports that nothing claims read as ones and ignore writes; a wide access to
 * byte ports is one access to each, lowest first. */
u32 legacy_io_read(struct legacy *l, u16 port, int size, u64 now_ns);
void legacy_io_write(struct legacy *l, u16 port, int size, u32 value, u64 now_ns);

/* Timers that are due raise their lines.  Ticks of the interval timer that the guest could not take
 * in time are kept and given one at a time, each as soon as the one before is acknowledged. */
void legacy_advance(struct legacy *l, u64 now_ns);

/* When legacy_advance() next has something to do, in absolute ns (it may be in the past);
 * UINT64_MAX never.  Any other call on `l` may bring it nearer. */
u64 legacy_next_deadline(const struct legacy *l);

/* The INTR output of the master controller. */
bool legacy_interrupt_pending(const struct legacy *l);

/* The processor's interrupt acknowledge cycles: returns the vector, 0-255. */
int legacy_interrupt_acknowledge(struct legacy *l);

/* Drives ISA interrupt `irq` (0-15 but not 2; others are ignored) for the devices here: an input of the 8259s and
 * a pin of the IO-APIC. */
void legacy_set_irq(struct legacy *l, int irq, bool level);

/* Levels of the lines that other devices drive, all of them at once: bit n is IO-APIC pin n and, below 16, ISA
 * interrupt n as well. */
void legacy_set_lines(struct legacy *l, u32 levels);

/* The IO-APIC's registers: 32-bit accesses at `offset` in its page. */
#define IOAPIC_ADDRESS 0xfec00000ull
#define IOAPIC_SIZE 0x1000ull
u32 legacy_ioapic_read(struct legacy *l, u32 offset);
void legacy_ioapic_write(struct legacy *l, u32 offset, u32 value);
/* A local APIC's interrupt `vector`, which was level-triggered, has ended. */
void legacy_ioapic_eoi(struct legacy *l, u8 vector);
/* Sends what waits.  To be called after everything here that may have raised a line; adds the vCPUs that must
 * be told to *kick. */
struct apics;
void legacy_ioapic_send(struct legacy *l, struct apics *a, u64 *kick);
/* The pin of an ISA interrupt (MADT: interrupt 0 is pin 2). */
static inline int ioapic_isa_pin(int irq) { return irq ? irq : 2; }

/* The guest reads what it receives: its driver is open, or it polls.  Bytes sent earlier would be lost in the
 * driver's resets, so that a host that has them in advance had better wait. */
bool legacy_uart_listening(const struct legacy *l);

/* Bytes that arrive for the guest; returns how many were taken. */
size_t legacy_uart_receive(struct legacy *l, const u8 *bytes, size_t n);

/* Takes up to `max` bytes that the guest sent; returns how many. */
size_t legacy_uart_transmit(struct legacy *l, u8 *bytes, size_t max);
bool legacy_uart_sending(const struct legacy *l); /* some are left */

/* The power button is pressed: a guest with ACPI shuts down. */
void legacy_power_button(struct legacy *l);

/* Returns LEGACY_* events and clears them. */
u32 legacy_events(struct legacy *l);

/* ---- between the devices; each file implements its own ---- */

#define NSEC 1000000000ull
#define LEGACY_NEVER UINT64_MAX

/* Whole periods of `hz` (at most 4 MHz) in `ns`; split so that no product exceeds 64 bits. */
static inline u64 legacy_ticks(u64 ns, u64 hz)
{
	return ns / NSEC * hz + ns % NSEC * hz / NSEC;
}

/* The first nanosecond that belongs to tick `ticks`. */
static inline u64 legacy_tick_ns(u64 ticks, u64 hz)
{
	return ticks / hz * NSEC + (ticks % hz * NSEC + hz - 1) / hz;
}

void ioapic_init(struct legacy *l);
void ioapic_set_pin(struct legacy *l, int pin, bool level);
/* The pin's interrupts go to local APICs. */
bool ioapic_pin_used(const struct legacy *l, int pin);

void i8259_init(struct legacy *l);
void i8259_set_irq(struct legacy *l, int irq, bool level);
u8 i8259_read(struct legacy *l, u16 port);
void i8259_write(struct legacy *l, u16 port, u8 value);
u8 i8259_elcr_read(struct legacy *l, u16 port);
void i8259_elcr_write(struct legacy *l, u16 port, u8 value);

void i8254_init(struct legacy *l);
u8 i8254_read(struct legacy *l, u16 port);
void i8254_write(struct legacy *l, u16 port, u8 value);
u8 i8254_speaker_read(struct legacy *l, u16 port);
void i8254_speaker_write(struct legacy *l, u16 port, u8 value);
void i8254_advance(struct legacy *l);
void i8254_reinject(struct legacy *l); /* gives the guest one tick it is owed, if it can take one */
u64 i8254_deadline(const struct legacy *l);

void mc146818_init(struct legacy *l, s64 utc_offset_ns, u64 ram_bytes);
u8 mc146818_read(struct legacy *l, u16 port);
void mc146818_write(struct legacy *l, u16 port, u8 value);
void mc146818_advance(struct legacy *l);
u64 mc146818_deadline(const struct legacy *l);

void uart16550_init(struct legacy *l);
u8 uart16550_read(struct legacy *l, u16 port);
void uart16550_write(struct legacy *l, u16 port, u8 value);
void uart16550_advance(struct legacy *l);
u64 uart16550_deadline(const struct legacy *l);

void pm_init(struct legacy *l);
u8 pm_read(struct legacy *l, u16 port);
void pm_write(struct legacy *l, u16 port, u8 value);
u8 pm_reset_read(struct legacy *l, u16 port);
void pm_reset_write(struct legacy *l, u16 port, u8 value);
void pm_advance(struct legacy *l);
u64 pm_deadline(const struct legacy *l);

void i8042_init(struct legacy *l);
u8 i8042_read(struct legacy *l, u16 port);
void i8042_write(struct legacy *l, u16 port, u8 value);
u8 i8042_port92_read(struct legacy *l, u16 port);
void i8042_port92_write(struct legacy *l, u16 port, u8 value);

#endif
