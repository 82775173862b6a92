/* SPDX-License-Identifier: MIT
 * What the shadow page tables share between carriers: where guest RAM lies, the keys, the counters.
 *
 * Lies at a fixed place in the shared mapping; the front-end fills in the memory map before start. */
#ifndef PENUMBRA_SHADOW_STATE_H
#define PENUMBRA_SHADOW_STATE_H

#include "x86/layout.h"

/* Protection keys: monitor; guest kernel; spill page of the user world; tables that any guest code may
 * read; tables that guest kernel code may read; user pages that kernel code reaches through C only. */
enum world_key { KEY_MONITOR, KEY_KERNEL, KEY_SPILL, KEY_TABLE, KEY_FOLDS, KEY_CONTESTED, KEYS };
#define KEY_OF(keys, which) ((int)((keys) >> (4 + 4 * (which)) & 15))

#define MAX_FRAMES (1u << 23) /* pages of guest RAM that are kept account of: 32 GiB */

struct shadow_counters {
	u64 fills, fill_pages, invalidations, unmapped, evictions;
	u64 compared;           /* pages whose entries were looked at because the guest flushed */
	u64 leaves_kept;        /* leaves that a flush left in place */
	u64 table_traps;        /* faults on stores to watched tables */
	u64 table_stores;       /* stores to them that did not fault */
	u64 table_updates;      /* entries brought up to date because they were written */
	u64 tables_watched, tables_released;
	u64 evicted;            /* leaves that gave way to others */
	u64 soft_misses;        /* of the software TLB */
	u64 soft_sites;         /* times a site was made to use it */
};

/* What was written to watched tables by one vCPU; each carrier reads on from where it left off.  An entry is the
 * offset in RAM of the eight bytes written, or that of the table with TABLE_RELEASED: it is watched no more. */
#define TABLE_LOG_SIZE TL_SIZE
#define TABLE_RELEASED 1
struct table_log {
	u64 head; /* entries ever made */
	u64 entry[TABLE_LOG_SIZE];
	u32 gate; /* a checked store is under way */
};
_Static_assert(offsetof(struct table_log, entry) == TL_ENTRY && offsetof(struct table_log, gate) == TL_GATE, "table log");
_Static_assert(offsetof(struct shadow_counters, table_stores) == SC_TABLE_STORES, "counters");
_Static_assert(VCPU_LOG + sizeof(struct table_log) <= VCPU_COUNT, "table log");
#define SHADOW_VCPUS 16

struct shadow_state {
	u64 ram_size, ram_low;  /* bytes; what lies above ram_low appears at 4 GiB */
	u32 keys;               /* bit 0: in use; then 4 bits each: monitor, kernel, spill, tables */
	u32 vma_budget;         /* host mappings of the guest that a carrier may have */
	u32 vcpus;
	u32 roots;              /* that a vCPU has carriers for */
	u32 paging;             /* enum paging_kind: who keeps the shadow true */
	u32 contrary;           /* test: see auto.c; 0: off */
	u64 code_epoch;         /* bumped when a frame becomes code: carriers write-protect it before they run */
	u64 folds_epoch;        /* see space.c */
};

/* Each vCPU counts for itself. */
#define SHADOW_COUNT ((struct shadow_counters *)HOST(VCPU_DISP + VCPU_COUNT))

#define TABLE_LOG ((struct table_log *)HOST(VCPU_DISP + VCPU_LOG))
#define TABLE_LOG_OF(n) ((const struct table_log *)HOST(SHARED_DISP + OFF_VCPUS + (s64)(n) * VCPU_AREA + VCPU_LOG))

#define FD_RAM 3                /* the descriptor of guest RAM in every carrier */
#define OFF_SHADOW 0x3ff000     /* in the shared mapping */
#define SHADOW ((struct shadow_state *)HOST(SHARED_DISP + OFF_SHADOW))

/* Offset in RAM of guest physical `pa`; UINT64_MAX where there is none. */
static inline u64 ram_offset(u64 pa)
{
	if (pa < SHADOW->ram_low)
		return pa;
	if (pa >= 0x100000000ull && pa - 0x100000000ull < SHADOW->ram_size - SHADOW->ram_low)
		return SHADOW->ram_low + (pa - 0x100000000ull);
	return ~0ull;
}
static inline void *ram_pointer(u64 pa)
{
	u64 off = ram_offset(pa);

	return off == ~0ull ? NULL : RAM_BASE + off;
}

#endif
