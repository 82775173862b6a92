/* SPDX-License-Identifier: MIT
 * Boot protocols: who a kernel takes its place in memory, its arguments and its first processor state from.
 *
 * Front-end only, before the guest starts; no lock. */
#ifndef PENUMBRA_MACHINE_BOOT_H
#define PENUMBRA_MACHINE_BOOT_H

#include "accel/accel.h"
#include "machine/kernel.h"

struct boot_image {
	const struct kernel *kernel;
	const u8 *initrd;       /* NULL: none */
	size_t initrd_size;
	const char *command_line;
	gpa_t acpi_rsdp;        /* 0: the guest looks for it itself */
};

/* One row a protocol: function prefix, name on the command line, name for people.  In the order in which they
 * are tried where the user does not say which. */
#define BOOT_PROTOCOLS(P)                                                       \
	P(multiboot2, "multiboot2", "Multiboot2")                               \
	P(multiboot, "multiboot", "Multiboot")                                  \
	P(linux64, "linux64", "the 64-bit Linux boot protocol")                 \
	P(pvh, "pvh", "PVH")

/* For each protocol: whether the kernel offers it; and writes kernel, modules and arguments into RAM and the entry
 * state into vm->cpu.  -E2BIG where the memory is too small, -EINVAL for what the protocol cannot express. */
#define BOOT_DECLARE(id, name, words)                   \
	bool id##_offered(const struct kernel *k);      \
	int id##_load(struct vm *vm, const struct boot_image *boot, struct err *e);
BOOT_PROTOCOLS(BOOT_DECLARE)
#undef BOOT_DECLARE

/* Boots by the protocol called `name`; NULL or "auto": by the first one that the kernel offers. */
int boot_load(struct vm *vm, const struct boot_image *boot, const char *name, struct err *e);

/* ---- for the protocols ---- */

/* State after RESET and firmware but for registers, segments and paging. */
void boot_cpu_common(struct cpu *c);
/* 32-bit protected mode without paging at `entry`: flat segments, interrupts off. */
void boot_cpu_32(struct cpu *c, u32 entry);
/* As high as `top` (exclusive) and the low memory allow, on a page boundary, clear of the kernel; *at is where. */
int boot_place_initrd(struct vm *vm, const struct boot_image *boot, u64 top, u64 *at, struct err *e);

static inline void boot_put32(u8 *b, u32 v) { __builtin_memcpy(b, &v, 4); }
static inline void boot_put64(u8 *b, u64 v) { __builtin_memcpy(b, &v, 8); }

#endif
