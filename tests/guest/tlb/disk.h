/* SPDX-License-Identifier: MIT
 * Memory written by a device: see disk.c. */
#ifndef TESTS_GUEST_TLB_DISK_H
#define TESTS_GUEST_TLB_DISK_H

#include "base/types.h"

#define DISK_SECTOR 512

/* False: there is no disk. */
bool disk_begin(void);
/* Has the device write eight bytes at physical address pa, a multiple of 8, and what lies around them as it is. */
bool disk_write_memory(u64 pa, u64 value);

#endif
