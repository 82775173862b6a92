/* SPDX-License-Identifier: MIT
 * Long-mode paging structures (Intel SDM 3A, 4.5). */
#ifndef PENUMBRA_X86_PAGING_H
#define PENUMBRA_X86_PAGING_H

#include "base/types.h"

#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_PWT BIT(3)
#define PTE_PCD BIT(4)
#define PTE_A BIT(5)
#define PTE_D BIT(6)
#define PTE_PS BIT(7)
#define PTE_G BIT(8)
#define PTE_NX BIT(63)
#define PTE_ADDR 0x000ffffffffff000ull

/* What a walk found. */
struct walk {
	u64 pa;        /* physical address of the byte */
	u64 entry_gpa; /* where the leaf entry lies */
	u64 entry;     /* the leaf entry, accessed and dirty bits as set by the walk */
	u64 table;     /* the entry at level 2 with the rights that those above leave it, 0 above a 1 GiB page */
	u64 whole;     /* the leaf entry with the rights that those above leave it */
	int level;     /* 1: 4 KiB, 2: 2 MiB, 3: 1 GiB */
	bool write, user, exec; /* permissions of the whole path */
};

#endif
