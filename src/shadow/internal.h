/* SPDX-License-Identifier: MIT
 * What the files of the shadow page tables share with each other, and nobody else: the mappings of one carrier.
 *
 * Owner: the running carrier; struct space is private to its process. */
#ifndef PENUMBRA_SHADOW_INTERNAL_H
#define PENUMBRA_SHADOW_INTERNAL_H

#include "shadow/shadow.h"
#include "shadow/state.h"

#define LEAF_SIZE 0x200000ull
#define MAX_LEAVES 8192
#define LEAF_HASH 4096
#define MAX_RUNS 128
#define WINDOW 16 /* pages around a fault that are mapped together */

struct leaf {
	u64 va;
	u64 pde;            /* entry that leads here, with address and permissions */
	u32 next;           /* in the hash chain, number + 1 */
	bool large;         /* the PDE itself maps 2 MiB; bit 0 of the maps stands for it */
	bool kernel;        /* upper half */
	u64 mapped[8], writable[8], exec[8];
	u64 snap[512];      /* entries as they were when mapped */
};

struct run {
	u64 va, pa, length;
	bool writable;
};

struct space {
	u32 n_leaves, free;
	u32 n_runs;
	bool code_changed, lost;
	bool low_supervisor;    /* a supervisor page of the lower half was mapped */
	u16 hash[LEAF_HASH];
	struct run runs[MAX_RUNS];
	struct leaf leaves[MAX_LEAVES];
};
#define S ((struct space *)HOST(CARRIER_DISP))

#define PTE_COMPARE (PTE_P | PTE_W | PTE_U | PTE_NX | PTE_ADDR | PTE_A | PTE_PS)
#define BITTEST(map, i) ((map)[(i) >> 6] >> ((i) & 63) & 1)
#define BITSET(map, i) ((map)[(i) >> 6] |= BIT((i) & 63))
#define BITCLEAR(map, i) ((map)[(i) >> 6] &= ~BIT((i) & 63))

/* ---- space.c ---- */
/* The host has no room for another mapping, or failed to take one away: all of the guest's go, which
 * takes no room.  What is still noted of them is dropped by settle(), once nobody walks it. */
void settle(void);
struct leaf *leaf_find(u64 va);
void unmap(u64 va, u64 length);
void leaf_drop(struct leaf *l);
/* Unmaps what of the leaf is mapped, as one range. */
void leaf_unmap(struct leaf *l);

/* ---- compare.c ---- */
/* Drops what of the user's leaves and runs is no longer as the guest's entries say. */
void leaves_compare_user(struct cpu *c);
/* Drops every user mapping. */
void leaves_drop_user(void);

#endif
