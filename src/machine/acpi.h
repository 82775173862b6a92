/* SPDX-License-Identifier: MIT
 * ACPI tables for the guest: RSDP, XSDT, FADT, FACS, DSDT; with local APICs MADT, with PCI MCFG.
 * Built once by the front-end before the guest starts; no lock. */
#ifndef PENUMBRA_MACHINE_ACPI_H
#define PENUMBRA_MACHINE_ACPI_H

#include "base/err.h"
#include "base/types.h"
#include "device/pci.h"

/* Guest physical range that the tables lie in.  The memory map must not offer it as usable RAM,
 * and it must be RAM: the global lock in the FACS is written by the guest. */
#ifndef ACPI_AREA
#define ACPI_AREA 0xe0000ull
#endif
#define ACPI_AREA_SIZE 0x10000ull

/* The multiprocessor wake-up mailbox (section 5.2.12.19): the last page of the area. */
#define ACPI_MAILBOX (ACPI_AREA + ACPI_AREA_SIZE - 0x1000)

#define ACPI_CPUS_MAX 254u /* 8-bit APIC numbers, 255 being the broadcast */

/* Where a PCI host bridge puts what; sizes in bytes.  The configuration space of all 256 buses lies at PCI_ECAM
 * (PCI Express 5.0, 7.2.2); ports 0xcf8-0xcff are the other way to it. */
#define PCI_WINDOW_64_SIZE 0x400000000ull
/* The 64-bit window's place, above all RAM. */
static inline u64 pci_window_64(u64 ram_end) { return ALIGN_UP(MAX(ram_end, 1ull << 32), 1ull << 34); }

struct acpi_config {
	u32 cpus;          /* 1..ACPI_CPUS_MAX; more than one needs `apic` */
	bool apic;         /* a local APIC per processor and one IO-APIC: adds the MADT */
	u8 io_apic_id;     /* with `apic` */
	gpa_t local_apic;  /* with `apic`: below 4 GiB */
	gpa_t io_apic;     /* with `apic`: below 4 GiB */
	bool i8042;        /* announce the keyboard controller */
	bool pci;          /* a PCI host bridge; its INTA to INTD are LEGACY_PCI_INTX() */
	u64 pci_window_64; /* with `pci`: start of the 64-bit window, 0: none */
	bool mailbox;      /* with `apic`: other processors wait at the wake-up mailbox, ACPI_MAILBOX */
};

/* Writes the tables into `low_memory`, which maps guest physical 0 to 1 MiB, and sets *rsdp.
 * Returns 0; -EINVAL for an impossible configuration; -ENOSPC if the tables exceed the area.
 * ACPI specification 6.4, section 5.2. */
int acpi_build(const struct acpi_config *config, u8 *low_memory, gpa_t *rsdp, struct err *e);

#endif
