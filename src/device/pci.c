/* SPDX-License-Identifier: MIT */
#include "device/pci.h"

#include <errno.h>
#include <string.h>

#define MSIX_PENDING 0x800
#define MSIX_BAR_SIZE 0x1000
#define MSIX_ENABLE 0x8000
#define MSIX_MASK_ALL 0x4000
#define MSIX_MASKED 1

/* The host bridge: QEMU's generic one, which no kernel has special knowledge of. */
#define BRIDGE_VENDOR 0x1b36
#define BRIDGE_DEVICE 0x0008
#define BRIDGE_CLASS 0x060000

static u32 get(const u8 *p, int size)
{
	u32 v = 0;

	for (int i = 0; i < size; i++)
		v |= (u32)p[i] << 8 * i;
	return v;
}

static void put(u8 *p, int size, u32 v)
{
	for (int i = 0; i < size; i++)
		p[i] = (u8)(v >> 8 * i);
}

static u16 command(const struct pci_device *d) { return (u16)get(d->state.config + PCI_COMMAND, 2); }

/* Address of a BAR; 0 where it is not decoded. */
static u64 bar_address(const struct pci_device *d, int bar)
{
	if (!d->bar_size[bar] || !(command(d) & PCI_COMMAND_MEMORY))
		return 0;
	return get(d->state.config + PCI_BAR0 + 4 * bar, 4) & ~(d->bar_size[bar] - 1);
}

/* ---- interrupts ---- */

bool pci_msix_enabled(const struct pci_device *d)
{
	return d->msix_cap && (get(d->state.config + d->msix_cap + 2, 2) & MSIX_ENABLE);
}

static void update_line(struct pci_device *d)
{
	bool level = d->state.intx && !pci_msix_enabled(d) && !(command(d) & PCI_COMMAND_NO_INTX);
	unsigned line = d->bus->host.intx[d->slot % 4];
	u32 *drivers = &d->bus->lines[line % 16], before = *drivers;

	d->state.config[PCI_STATUS] = (u8)((d->state.config[PCI_STATUS] & ~PCI_STATUS_INTX) |
					   (d->state.intx ? PCI_STATUS_INTX : 0));
	if (level == d->line)
		return;
	d->line = level;
	*drivers = level ? before | 1u << d->slot : before & ~(1u << d->slot);
	if (!before != !*drivers)
		d->bus->host.set_irq(d->bus->host.opaque, line, *drivers);
}

void pci_intx_locked(struct pci_device *d, bool asked)
{
	d->state.intx = asked;
	update_line(d);
}

void pci_msix_fire_locked(struct pci_device *d, u32 vector)
{
	const u32 *entry = &d->state.msix[(vector % PCI_VECTORS) * 4];

	if (vector >= d->n_vectors || !pci_msix_enabled(d))
		return;
	if ((entry[3] & MSIX_MASKED) || (get(d->state.config + d->msix_cap + 2, 2) & MSIX_MASK_ALL) ||
	    !(command(d) & PCI_COMMAND_MASTER)) {
		d->state.pending |= 1ull << vector;
		return;
	}
	d->state.pending &= ~(1ull << vector);
	d->bus->host.raise_msi(d->bus->host.opaque, (u64)entry[1] << 32 | entry[0], entry[2]);
}

static void fire_pending(struct pci_device *d)
{
	for (u32 i = 0; i < d->n_vectors; i++)
		if (d->state.pending >> i & 1)
			pci_msix_fire_locked(d, i);
}

static u64 msix_read(const struct pci_device *d, u32 offset, int size)
{
	u64 v = 0;

	for (int i = 0; i < size; i += 4) {
		u32 at = (offset & ~3u) + (u32)i, word = 0;

		if (at / 16 < d->n_vectors)
			word = d->state.msix[at / 4];
		else if (at == MSIX_PENDING || at == MSIX_PENDING + 4)
			word = (u32)(d->state.pending >> (at & 4) * 8);
		v |= (u64)word << 8 * i;
	}
	return v >> 8 * (offset & 3);
}

static void msix_write(struct pci_device *d, u32 offset, int size, u64 value)
{
	if (size < 4 || offset & 3)
		return; /* section 6.8.2: dwords and quadwords only */
	for (int i = 0; i < size; i += 4) {
		u32 at = offset + (u32)i;

		if (at / 16 < d->n_vectors)
			d->state.msix[at / 4] = (u32)(value >> 8 * i) & (at % 16 == 12 ? MSIX_MASKED : ~0u);
	}
	fire_pending(d);
}

/* ---- configuration space ---- */

/* P2. */
static void update_bell(struct pci_device *d)
{
	u64 base = d->bell_bar >= 0 ? bar_address(d, d->bell_bar) : 0, bell = base ? base + d->bell_offset : 0;

	if (bell == d->bell)
		return;
	d->bell = bell;
	d->bus->host.set_bell(d->bus->host.opaque, d->slot, bell, d->bell_count);
}

void pci_device_restored_locked(struct pci_device *d)
{
	update_line(d);
	update_bell(d);
}

static u32 config_read(struct pci_device *d, u32 offset, int size)
{
	if (d->ops->config_read)
		d->ops->config_read(d, offset, size);
	return get(d->state.config + offset, size);
}

static void config_write(struct pci_device *d, u32 offset, int size, u32 value)
{
	u8 *c = d->state.config;

	for (int i = 0; i < size; i++) {
		u8 mask = d->writable[offset + (u32)i];

		c[offset + (u32)i] = (u8)((c[offset + (u32)i] & ~mask) | ((value >> 8 * i) & mask));
	}
	update_line(d);
	update_bell(d);
	fire_pending(d);
	if (d->ops->config_written)
		d->ops->config_written(d, offset, size);
}

/* Bus 0, function 0; offset and size within the space and aligned. */
static void config_access(struct pci_bus *b, u32 function, u32 offset, int size, bool write, u32 *value)
{
	struct pci_device *d = function < PCI_SLOTS * 8 && function % 8 == 0 ? b->slot[function / 8] : NULL;

	if (!write)
		*value = ~0u >> (32 - 8 * size);
	if (!d || offset % (u32)size)
		return;
	if (offset >= PCI_CONFIG_SIZE) {
		if (!write)
			*value = 0; /* extended space without capabilities */
	} else if (write) {
		config_write(d, offset, size, *value);
	} else {
		*value = config_read(d, offset, size);
	}
}

void pci_bus_config(struct pci_bus *b, u32 address, int size, bool write, u32 *value)
{
	if (!(address & 0x80000000u) || size > 4) {
		*value = ~0u;
		return;
	}
	pthread_mutex_lock(&b->lock);
	config_access(b, address >> 8 & 0xffff, address & 0xff, size, write, value);
	pthread_mutex_unlock(&b->lock);
}

void pci_bus_port(struct pci_bus *b, u16 port, int size, bool write, u32 *value)
{
	if (port >= PCI_PORT_DATA) {
		u32 address = (b->address & ~3u) | (port & 3u);

		pci_bus_config(b, address, size, write, value);
	} else if (port == PCI_PORT_ADDRESS && size == 4) {
		if (write)
			b->address = *value & 0x80ffffff;
		else
			*value = b->address;
	} else if (!write) {
		*value = ~0u;
	}
}

/* ---- memory ---- */

static bool bar_access(struct pci_device *d, int bar, u32 offset, int size, bool write, u64 *value)
{
	if (d->msix_cap && bar == d->msix_bar) {
		if (write)
			msix_write(d, offset, size, *value);
		else
			*value = msix_read(d, offset, size);
	} else if (write) {
		d->ops->write(d, bar, offset, size, *value);
	} else {
		*value = d->ops->read(d, bar, offset, size);
	}
	return true;
}

static bool memory_access(struct pci_bus *b, u64 gpa, int size, bool write, u64 *value)
{
	for (int s = 0; s < PCI_SLOTS; s++) {
		struct pci_device *d = b->slot[s];

		for (int bar = 0; d && bar < PCI_BARS; bar++) {
			u64 base = bar_address(d, bar);

			if (base && gpa - base < d->bar_size[bar] && (u64)size <= base + d->bar_size[bar] - gpa)
				return bar_access(d, bar, (u32)(gpa - base), size, write, value);
		}
	}
	return false;
}

bool pci_bus_memory(struct pci_bus *b, u64 gpa, int size, bool write, u64 *value)
{
	bool found = true;
	u32 word = (u32)*value;

	pthread_mutex_lock(&b->lock);
	if (gpa - PCI_ECAM < PCI_ECAM_SIZE && size <= 4) {
		config_access(b, (u32)(gpa - PCI_ECAM) >> 12, (u32)gpa & 0xfff, size, write, &word);
		*value = word;
	} else {
		found = memory_access(b, gpa, size, write, value);
	}
	pthread_mutex_unlock(&b->lock);
	if (!found && !write)
		*value = ~0ull;
	return found;
}

/* ---- set-up ---- */

void pci_device_init(struct pci_device *d, const struct pci_ops *ops, u16 vendor, u16 device, u32 class, u16 subsystem)
{
	u8 *c = d->state.config;

	memset(d, 0, sizeof *d);
	d->ops = ops;
	d->bell_bar = d->msix_bar = -1;
	d->free_cap = 0x40;
	put(c + PCI_VENDOR, 2, vendor);
	put(c + PCI_DEVICE, 2, device);
	c[PCI_REVISION] = 1;
	put(c + PCI_CLASS, 3, class);
	put(c + PCI_SUBSYSTEM_VENDOR, 2, vendor);
	put(c + PCI_SUBSYSTEM, 2, subsystem);
	put(d->writable + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX);
	d->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_device_bar(struct pci_device *d, int bar, u32 size)
{
	d->bar_size[bar] = size;
	put(d->writable + PCI_BAR0 + 4 * bar, 4, ~(size - 1));
}

u8 pci_device_capability(struct pci_device *d, u8 id, const void *bytes, u8 size)
{
	u8 at = d->free_cap, *c = d->state.config, *link = &c[PCI_CAPABILITIES];

	while (*link)
		link = &c[*link + 1];
	*link = at;
	c[at] = id;
	memcpy(c + at + 2, bytes, size - 2u);
	put(c + PCI_STATUS, 2, get(c + PCI_STATUS, 2) | PCI_STATUS_CAPABILITIES);
	d->free_cap = (u8)ALIGN_UP(at + size, 4);
	return at;
}

void pci_device_msix(struct pci_device *d, int bar, u32 vectors)
{
	u8 body[10];

	vectors = MIN(vectors, (u32)PCI_VECTORS);
	put(body, 2, vectors - 1);
	put(body + 2, 4, (u32)bar);
	put(body + 6, 4, MSIX_PENDING | (u32)bar);
	pci_device_bar(d, bar, MSIX_BAR_SIZE);
	d->msix_bar = bar;
	d->n_vectors = vectors;
	d->msix_cap = pci_device_capability(d, PCI_CAP_MSIX, body, 12);
	put(d->writable + d->msix_cap + 2, 2, MSIX_ENABLE | MSIX_MASK_ALL);
	for (u32 i = 0; i < vectors; i++)
		d->state.msix[4 * i + 3] = MSIX_MASKED;
}

int pci_device_attach(struct pci_bus *b, struct pci_device *d, struct err *e)
{
	unsigned s = 0;

	while (s < PCI_SLOTS && b->slot[s])
		s++;
	if (s == PCI_SLOTS)
		return err_set(e, -ENOSPC, "no room for more than %d devices", PCI_SLOTS - 1);
	d->bus = b;
	d->slot = s;
	b->slot[s] = d;
	for (int i = 0; i < PCI_BARS; i++) {
		if (!d->bar_size[i])
			continue;
		b->window = ALIGN_UP(b->window, d->bar_size[i]);
		put(d->state.config + PCI_BAR0 + 4 * i, 4, (u32)b->window);
		b->window += d->bar_size[i];
	}
	if (s) {
		d->state.config[PCI_INTERRUPT_PIN] = 1;
		d->state.config[PCI_INTERRUPT_LINE] = b->host.intx[s % 4];
	}
	return 0;
}

static u64 no_read(struct pci_device *d, int bar, u32 offset, int size)
{
	(void)d, (void)bar, (void)offset, (void)size;
	return ~0ull;
}

static void no_write(struct pci_device *d, int bar, u32 offset, int size, u64 value)
{
	(void)d, (void)bar, (void)offset, (void)size, (void)value;
}

static const struct pci_ops bridge_ops = { .read = no_read, .write = no_write };

void pci_bus_init(struct pci_bus *b, const struct pci_host *host)
{
	memset(b, 0, sizeof *b);
	pthread_mutex_init(&b->lock, NULL);
	b->host = *host;
	b->window = PCI_WINDOW;
	pci_device_init(&b->bridge, &bridge_ops, BRIDGE_VENDOR, BRIDGE_DEVICE, BRIDGE_CLASS, 0x1100);
	pci_device_attach(b, &b->bridge, NULL);
}

void pci_bus_destroy(struct pci_bus *b)
{
	pthread_mutex_destroy(&b->lock);
}
