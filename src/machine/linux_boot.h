/* SPDX-License-Identifier: MIT
 * Putting Linux into guest RAM and the processor at its 64-bit entry.
 *
 * Source: Linux Documentation/arch/x86/boot.rst ("64-bit Boot Protocol"), zero-page.rst. */
#ifndef PENUMBRA_MACHINE_LINUX_BOOT_H
#define PENUMBRA_MACHINE_LINUX_BOOT_H

#include "machine/boot.h"

/* What the loader keeps below 1 MiB: guest physical addresses. */
#define BOOT_GDT 0x1000ull
#define BOOT_PARAMS 0x2000ull
#define BOOT_STACK_TOP 0x8000ull
#define BOOT_PAGE_TABLES 0x9000ull /* PML4, PDPT, four page directories: 4 GiB in 2 MiB pages */
#define BOOT_CMDLINE 0x20000ull
#define BOOT_CMDLINE_MAX 0x10000ull

#endif
