/* SPDX-License-Identifier: MIT
 * Guest RAM: one sealed memfd, mapped once, and the memory map that the guest is told.
 *
 * Owner: the thread that builds the machine; constant while the guest runs. */
#ifndef PENUMBRA_MACHINE_RAM_H
#define PENUMBRA_MACHINE_RAM_H

#include "accel/accel.h"

#define RAM_MIN (128ull << 20)
#define RAM_MAX (1ull << 40)

/* Type codes of an E820 range (ACPI 6.4 section 15, table 15.6). */
#define E820_RAM 1u
#define E820_RESERVED 2u

struct e820_range {
	u64 start, size; /* bytes, guest physical */
	u32 type;
};
#define RAM_E820_MAX 8

/* Makes `size` bytes of RAM (RAM_MIN..RAM_MAX, a multiple of 2 MiB) for `vm`: sets ram_fd, ram,
 * ram_size and ram_low.  -EINVAL, -ENOMEM or what the host says. */
int ram_create(struct vm *vm, u64 size, struct err *e);
void ram_destroy(struct vm *vm);

/* The memory map; fills at most RAM_E820_MAX entries in ascending order and returns how many. */
int ram_e820(const struct vm *vm, struct e820_range map[RAM_E820_MAX]);

/* Host pointer to guest physical [gpa, gpa + n), or NULL where that is not RAM in one piece. */
void *ram_pointer(const struct vm *vm, gpa_t gpa, u64 n);

/* Bytes of the memfd that the host really holds. */
u64 ram_resident(const struct vm *vm);

#endif
