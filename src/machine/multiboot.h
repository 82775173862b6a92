/* SPDX-License-Identifier: MIT
 * Multiboot headers of kernels (multiboot.c). */
#ifndef PENUMBRA_MACHINE_MULTIBOOT_H
#define PENUMBRA_MACHINE_MULTIBOOT_H

#include "machine/kernel.h"

/* The segment and entry of a kernel whose Multiboot header has addresses; false where it has none, or bad ones. */
bool multiboot_flat(const struct kernel *k, struct kernel_segment *segment, u64 *entry);

#endif
