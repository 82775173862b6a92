/* SPDX-License-Identifier: MIT
 * PCI: bus 0 with a host bridge and devices of one function each, their configuration space, memory
 * BARs, INTx and MSI-X (PCI Local Bus 3.0 sections 6.1, 6.2.5, 6.7, 6.8; PCI Firmware 3.0 for ECAM).
 *
 * Lives in the front-end.  bus->lock is held by every function here but pci_bus_*() without "_locked"
 * and the three entries for the guest, which take it.  What the bus calls of its host (struct pci_host)
 * must not call back.
 *
 * Invariants
 *  P1  Any bytes in struct pci_state are safe: BARs and capabilities are looked at through masks.
 *  P2  A doorbell page is told to the host exactly while its BAR is decoded.
 *  P3  The level of a device's interrupt line is (intx && !MSI-X enabled && !disabled by command). */
#ifndef PENUMBRA_DEVICE_PCI_H
#define PENUMBRA_DEVICE_PCI_H

#include <pthread.h>

#include "base/err.h"
#include "base/types.h"

#define PCI_SLOTS 32
#define PCI_BARS 6
#define PCI_VECTORS 64
#define PCI_CONFIG_SIZE 256

/* Where the machine has room for BARs below 4 GiB, and for configuration space as memory. */
#define PCI_WINDOW 0xc0000000ull
#define PCI_WINDOW_SIZE 0x20000000ull
#define PCI_ECAM 0xe0000000ull
#define PCI_ECAM_SIZE 0x10000000ull
#define PCI_PORT_ADDRESS 0xcf8
#define PCI_PORT_DATA 0xcfc

/* Offsets in configuration space. */
enum {
	PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_REVISION = 0x08,
	PCI_CLASS = 0x09, PCI_HEADER = 0x0e, PCI_BAR0 = 0x10, PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e, PCI_CAPABILITIES = 0x34, PCI_INTERRUPT_LINE = 0x3c, PCI_INTERRUPT_PIN = 0x3d,
};
#define PCI_COMMAND_MEMORY 0x2
#define PCI_COMMAND_MASTER 0x4
#define PCI_COMMAND_NO_INTX 0x400
#define PCI_STATUS_INTX 0x8
#define PCI_STATUS_CAPABILITIES 0x10
#define PCI_CAP_MSIX 0x11
#define PCI_CAP_VENDOR 0x09

/* What is saved of each device. */
#define PCI_FIELDS(S, A) \
	A(8, config, PCI_CONFIG_SIZE) \
	A(32, msix, PCI_VECTORS * 4)  /* address low and high, data, control (bit 0: masked) */ \
	S(64, pending)                /* vectors that wait to be unmasked */ \
	S(8, intx)                    /* the device asks for its line */
#define PCI_VALUE(width, name) u##width name;
#define PCI_ARRAY(width, name, count) u##width name[count];
struct pci_state { PCI_FIELDS(PCI_VALUE, PCI_ARRAY) };

/* What the machine below does for the bus. */
struct pci_host {
	void (*set_irq)(void *opaque, unsigned line, bool level);
	/* NULL where there is no local APIC: then devices have no MSI-X, and use their line. */
	void (*raise_msi)(void *opaque, u64 address, u32 data);
	/* Writes to one of the n registers of 4 bytes at `gpa`, the first of their page, are notifications for device
	 * `slot`; 0: there are none. */
	void (*set_bell)(void *opaque, unsigned slot, u64 gpa, u32 n);
	void *opaque;
	u8 intx[4];                    /* lines of INTA to INTD; a slot's INTA is intx[slot % 4] */
};

struct pci_device;
struct pci_ops {
	/* An access within a BAR, 1 to 8 bytes. */
	u64 (*read)(struct pci_device *d, int bar, u32 offset, int size);
	void (*write)(struct pci_device *d, int bar, u32 offset, int size, u64 value);
	/* Before a capability's bytes are read, after they were written; may be NULL. */
	void (*config_read)(struct pci_device *d, u32 offset, int size);
	void (*config_written)(struct pci_device *d, u32 offset, int size);
};

struct pci_device {
	struct pci_bus *bus;
	const struct pci_ops *ops;
	unsigned slot;
	struct pci_state state;
	u8 writable[PCI_CONFIG_SIZE];
	u32 bar_size[PCI_BARS];        /* powers of two; 0: none */
	int bell_bar;                  /* the doorbell page, at this offset of this BAR; -1: none */
	u32 bell_offset, bell_count;   /* registers of 4 bytes */
	u64 bell;                      /* what the host was told */
	u32 n_vectors;
	u8 msix_cap, free_cap;         /* offsets */
	int msix_bar;
	bool line;                     /* level that was driven */
};

struct pci_bus {
	pthread_mutex_t lock;
	struct pci_host host;
	struct pci_device *slot[PCI_SLOTS];
	struct pci_device bridge;
	u64 window;                    /* next free address for BARs */
	u32 lines[16];                 /* devices that drive each line, by slot */
	u32 address;                   /* as written to port 0xcf8 */
};

void pci_bus_init(struct pci_bus *b, const struct pci_host *host);
void pci_bus_destroy(struct pci_bus *b);

/* Entries for accesses of the guest; `size` is 1, 2, 4 or 8.  True where something is there. */
bool pci_bus_memory(struct pci_bus *b, u64 gpa, int size, bool write, u64 *value);
/* Configuration space by mechanism 1: `address` as in port 0xcf8, with the low two bits of the data port. */
void pci_bus_config(struct pci_bus *b, u32 address, int size, bool write, u32 *value);
/* Ports 0xcf8 to 0xcff, for an accelerator that passes them on. */
void pci_bus_port(struct pci_bus *b, u16 port, int size, bool write, u32 *value);

/* Set-up of a device, in the order: init, bars, capabilities, msix, attach.  `class` is base class,
 * subclass, interface in 24 bits. */
void pci_device_init(struct pci_device *d, const struct pci_ops *ops, u16 vendor, u16 device, u32 class, u16 subsystem);
void pci_device_bar(struct pci_device *d, int bar, u32 size);
/* Adds a capability of `size` bytes in all, of which `bytes` are what follows id and link; returns its offset. */
u8 pci_device_capability(struct pci_device *d, u8 id, const void *bytes, u8 size);
/* MSI-X with table at 0 and pending bits at 0x800 of a BAR of its own. */
void pci_device_msix(struct pci_device *d, int bar, u32 vectors);
/* Puts it into the first free slot and gives its BARs addresses; -ENOSPC where the bus is full. */
int pci_device_attach(struct pci_bus *b, struct pci_device *d, struct err *e);

/* ---- with the lock held ---- */

bool pci_msix_enabled(const struct pci_device *d);
/* Fires a vector (ignored where there is none of that number). */
void pci_msix_fire_locked(struct pci_device *d, u32 vector);
void pci_intx_locked(struct pci_device *d, bool asked);

/* d->state was loaded: lines and doorbells follow it. */
void pci_device_restored_locked(struct pci_device *d);

#endif
