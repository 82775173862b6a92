/* SPDX-License-Identifier: MIT
 * Which port belongs to which device, and the calls that concern all of them.
 * Freestanding; caller holds the device lock (see legacy.h). */
#include "machine/legacy.h"

static u8 post_read(struct legacy *l, u16 port)
{
	(void)port;
	return l->core.post;
}

static void post_write(struct legacy *l, u16 port, u8 value)
{
	(void)port;
	l->core.post = value;
}

static void debug_exit_write(struct legacy *l, u16 port, u8 value)
{
	(void)port;
	if (!l->core.debug_exit)
		return;
	l->core.exit_status = (u8)(value << 1 | 1);
	l->core.events |= LEGACY_EXIT;
}

void legacy_enable_debug_exit(struct legacy *l) { l->core.debug_exit = 1; }

/* ---- PCI without devices ---- */

/* A machine that has none still has a host bridge, alone on its bus, in the words of configuration mechanism 1 (PCI Local
 * Bus 3.0, 3.2.2.3.2): Linux takes a machine without one for broken.  Where there are devices, device/pci.c answers,
 * with the same bridge. */
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000u
static const u32 bridge[] = { 0x00081b36, 0, 0x06000000 };

static u32 config_read(const struct legacy *l, u16 port, int size)
{
	u32 address = l->core.config_address, at = address >> 2 & 0x3f;
	u32 value = at < ARRAY_SIZE(bridge) ? bridge[at] : 0;

	if ((address & 0xffffff00u) != CONFIG_ENABLE)
		value = 0xffffffff;
	value >>= 8 * (port & 3);
	return size == 4 ? value : value & ((1u << 8 * size) - 1);
}

/* The first row that holds the port and takes the access size wins.  Rows without functions are
 * hardware that is absent: ones, as from a bus that nobody drives.  `whole` is a set of sizes that
 * the row takes in one piece; all others come as bytes. */
static const struct port_range {
	u16 first, count;
	u8 whole;
	const char *device;
	u8 (*read)(struct legacy *l, u16 port);
	void (*write)(struct legacy *l, u16 port, u8 value);
} port_table[] = {
	{ LEGACY_PORT_COM1, 8, 1, "uart16550", uart16550_read, uart16550_write },
	{ 0x020, 2, 1, "i8259 master", i8259_read, i8259_write },
	{ 0x0a0, 2, 1, "i8259 slave", i8259_read, i8259_write },
	{ LEGACY_PORT_PM, LEGACY_PM_SIZE, 1, "pm", pm_read, pm_write },
	{ 0x040, 4, 1, "i8254", i8254_read, i8254_write },
	{ 0x061, 1, 1, "i8254 speaker", i8254_speaker_read, i8254_speaker_write },
	{ 0x060, 1, 1, "i8042 data", i8042_read, i8042_write },
	{ 0x064, 1, 1, "i8042 command", i8042_read, i8042_write },
	{ 0x070, 2, 1, "mc146818", mc146818_read, mc146818_write },
	{ 0x080, 1, 1, "post", post_read, post_write },
	{ 0x0f4, 1, 1, "debug exit", NULL, debug_exit_write },
	{ 0x092, 1, 1, "port92", i8042_port92_read, i8042_port92_write },
	{ 0x4d0, 2, 1, "i8259 elcr", i8259_elcr_read, i8259_elcr_write },
	{ 0x3b0, 0x30, 1, "vga", NULL, NULL },
	/* Wide accesses are the configuration mechanism's alone: an address written to 0xcf8 must
	 * not fall into the reset register. */
	{ 0xcf8, 8, 2 | 4, "pci configuration", NULL, NULL },
	{ LEGACY_PORT_RESET, 1, 1, "reset", pm_reset_read, pm_reset_write },
};

static const struct port_range *port_find(u16 port, int size)
{
	for (size_t i = 0; i < ARRAY_SIZE(port_table); i++) {
		const struct port_range *p = &port_table[i];

		if ((u16)(port - p->first) < p->count && (p->whole & size))
			return p;
	}
	return NULL;
}

static void set_now(struct legacy *l, u64 now_ns)
{
	if (now_ns > l->core.now_ns)
		l->core.now_ns = now_ns;
}

static u8 read_byte(struct legacy *l, u16 port)
{
	const struct port_range *p = port_find(port, 1);

	return p && p->read ? p->read(l, port) : 0xff;
}

static void write_byte(struct legacy *l, u16 port, u8 value)
{
	const struct port_range *p = port_find(port, 1);

	if (p && p->write)
		p->write(l, port, value);
}

u32 legacy_io_read(struct legacy *l, u16 port, int size, u64 now_ns)
{
	u32 value = 0;

	set_now(l, now_ns);
	if (port == CONFIG_ADDRESS && size == 4)
		return l->core.config_address;
	if (port >= CONFIG_DATA && port + size <= CONFIG_DATA + 4)
		return config_read(l, port, size);
	if (size == 1)
		return read_byte(l, port);
	if (port_find(port, size))
		return size == 2 ? 0xffff : 0xffffffff;
	for (int i = 0; i < size && i < 4; i++)
		value |= (u32)read_byte(l, (u16)(port + i)) << 8 * i;
	return value;
}

void legacy_io_write(struct legacy *l, u16 port, int size, u32 value, u64 now_ns)
{
	set_now(l, now_ns);
	if (port == CONFIG_ADDRESS && size == 4)
		l->core.config_address = value & 0x80fffffcu;
	if (size != 1 && port_find(port, size))
		return;
	for (int i = 0; i < size && i < 4; i++)
		write_byte(l, (u16)(port + i), (u8)(value >> 8 * i));
}

/* The pin is high while either drives it, and so is the ISA interrupt. */
static void update_line(struct legacy *l, int irq, int pin)
{
	bool level = (l->ioapic.own | l->ioapic.outside) >> pin & 1;

	ioapic_set_pin(l, pin, level);
	if (irq >= 0 && irq < 16 && irq != LEGACY_IRQ_CASCADE)
		i8259_set_irq(l, irq, level);
}

void legacy_set_irq(struct legacy *l, int irq, bool level)
{
	int pin = ioapic_isa_pin(irq);

	if (irq < 0 || irq > 15 || irq == LEGACY_IRQ_CASCADE)
		return;
	l->ioapic.own = (l->ioapic.own & ~(1u << pin)) | (u32)level << pin;
	update_line(l, irq, pin);
}

void legacy_set_lines(struct legacy *l, u32 levels)
{
	u32 changed = (l->ioapic.outside ^ levels) & ((1u << IOAPIC_PINS) - 1);

	for (l->ioapic.outside ^= changed; changed; changed &= changed - 1) {
		int pin = __builtin_ctz(changed);

		update_line(l, pin == ioapic_isa_pin(0) ? 0 : pin ? pin : -1, pin);
	}
}

void legacy_advance(struct legacy *l, u64 now_ns)
{
	set_now(l, now_ns);
	i8254_advance(l);
	mc146818_advance(l);
	uart16550_advance(l);
	pm_advance(l);
}

u64 legacy_next_deadline(const struct legacy *l)
{
	u64 timer = MIN(i8254_deadline(l), mc146818_deadline(l));
	u64 other = MIN(uart16550_deadline(l), pm_deadline(l));

	return MIN(timer, other);
}

u32 legacy_events(struct legacy *l)
{
	u32 events = l->core.events;

	l->core.events = 0;
	return events;
}

void legacy_init(struct legacy *l, u64 now_ns, s64 utc_offset_ns, u64 ram_bytes)
{
	*l = (struct legacy){ .core.now_ns = now_ns };
	i8259_init(l);
	i8254_init(l);
	mc146818_init(l, utc_offset_ns, ram_bytes);
	uart16550_init(l);
	pm_init(l);
	i8042_init(l);
	ioapic_init(l);
}
