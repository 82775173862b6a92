/* SPDX-License-Identifier: MIT
 * Putting Linux into guest RAM and the processor at its 64-bit entry.
 *
 * Source: Linux Documentation/arch/x86/boot.rst ("64-bit Boot Protocol"), zero-page.rst. */
#ifndef PENUMBRA_MACHINE_LINUX_BOOT_H
#define PENUMBRA_MACHINE_LINUX_BOOT_H

#include "accel/accel.h"
#include "machine/kernel.h"

/* What the loader keeps below 1 MiB: guest physical addresses. */
#define BOOT_GDT 0x1000ull
#define BOOT_PARAMS 0x2000ull
#define BOOT_STACK_TOP 0x8000ull
#define BOOT_PAGE_TABLES 0x9000ull /* PML4, PDPT, four page directories: 4 GiB in 2 MiB pages */
#define BOOT_CMDLINE 0x20000ull
#define BOOT_CMDLINE_MAX 0x10000ull

struct linux_boot {
	const struct kernel *kernel;
	const u8 *initrd;       /* NULL: none */
	size_t initrd_size;
	const char *command_line;
	gpa_t acpi_rsdp;        /* 0: the guest looks for it itself */
};

/* Writes kernel, initrd, boot_params and page tables into RAM and the entry state into vm->cpu.
 * -E2BIG where the memory is too small, -EINVAL for a command line beyond the kernel's limit. */
int linux_boot_load(struct vm *vm, const struct linux_boot *boot, struct err *e);

#endif
