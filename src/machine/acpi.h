/* SPDX-License-Identifier: MIT
 * ACPI tables for the guest: RSDP, XSDT, FADT, FACS, DSDT and, with local APICs, MADT.
 * Built once by the front-end before the guest starts; no lock. */
#ifndef PENUMBRA_MACHINE_ACPI_H
#define PENUMBRA_MACHINE_ACPI_H

#include "base/err.h"
#include "base/types.h"

/* Guest physical range that the tables lie in.  The memory map must not offer it as usable RAM,
 * and it must be RAM: the global lock in the FACS is written by the guest. */
#ifndef ACPI_AREA
#define ACPI_AREA 0xe0000ull
#endif
#define ACPI_AREA_SIZE 0x10000ull

#define ACPI_CPUS_MAX 254u /* 8-bit APIC numbers, 255 being the broadcast */

struct acpi_config {
	u32 cpus;          /* 1..ACPI_CPUS_MAX; more than one needs `apic` */
	bool apic;         /* a local APIC per processor and one IO-APIC: adds the MADT */
	u8 io_apic_id;     /* with `apic` */
	gpa_t local_apic;  /* with `apic`: below 4 GiB */
	gpa_t io_apic;     /* with `apic`: below 4 GiB */
	bool i8042;        /* announce the keyboard controller */
};

/* Writes the tables into `low_memory`, which maps guest physical 0 to 1 MiB, and sets *rsdp.
 * Returns 0; -EINVAL for an impossible configuration; -ENOSPC if the tables exceed the area.
 * ACPI specification 6.4, section 5.2. */
int acpi_build(const struct acpi_config *config, u8 *low_memory, gpa_t *rsdp, struct err *e);

#endif
