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
	bool local;         /* some of it is not global: it goes with a load of CR3 */
	bool watched;       /* its tables are: see tables.c */
	bool low;           /* ... but none above its own */
	u16 table_next;     /* in the chain of its table, number + 1 */
	u32 table;          /* frame of its table, while it is watched */
	u16 vmas;           /* host mappings, as counted last and made since */
	u32 score;          /* the maintainer's, and what follows: see auto.c */
	u16 pieces, back;   /* that went at a flush; of these, that came back since */
	u8 reuse;
	u32 writes;         /* to its table, of those in the logs that are being read */
	u64 pending[8];     /* entries that were written, to be compared at the next flush */
	u64 mapped[8], writable[8], exec[8];
	u64 keyed[2][8];    /* pages that carry the kernel's key; the one for user pages where kernel pages are folded */
	u64 gone[8];        /* pages that the maintainer waits for */
	u64 snap[512];      /* entries as they were when mapped */
};

struct run {
	u64 va, pa, length;
	u64 rights;         /* of each entry, those above it included: RUN_COMPARE */
	bool writable;
	bool local;         /* not global */
	u8 key;             /* enum world_key, + 1; 0: none */
};

#define UPPER_MAX 4096

struct space {
	/* For checked stores (monitor/entry.S): a run in which tables lie; length 0: none is known. */
	struct { u64 va, length, ram, offset; u32 pkru; } gate;
	u64 soft_age;           /* soft.c: of its entries that count */
	bool soft_used;         /* there are some */
	u64 soft_pressed;       /* fills until which there was no room for mappings a short while ago */
	u64 root;               /* whose user half it shadows */
	u32 n_leaves, free;
	u32 n_runs;
	u32 vmas, dice;         /* room.c */
	u8 key;                 /* of what was mapped last: enum world_key, + 1; 0: none */
	bool code_changed, lost;
	bool walked;            /* settle() has to wait */
	bool code_unnoted;      /* code was looked up on a page of 1 GiB */
	bool local;             /* some of the kernel's half is not global */
	bool low_supervisor;    /* a supervisor page of the lower half was mapped */
	u16 hash[LEAF_HASH];
	u64 loose[2][MAX_LEAVES / 64]; /* the user's, the kernel's leaves that are compared at each flush */
	u64 low[2][MAX_LEAVES / 64];   /* those that are watched, but not the way to them */
	u32 n_low;
	u64 wrote[MAX_FRAMES / 64];    /* frames that a leaf may map writable */
	/* tables.c */
	u64 seen[SHADOW_VCPUS]; /* entries of the vCPUs' logs that were read */
	u64 pending[MAX_LEAVES / 64];
	u16 tables[4096];       /* watched leaves by their tables, number + 1 */
	u32 upper[UPPER_MAX], n_upper; /* tables above watched leaves, frame + 1, by hash */
	u32 n_watched;          /* leaves */
	u32 decisions;          /* the maintainer's, counted for a test */
	u32 odd;                /* writes in a row that no table gets */
	bool upper_written, log_lost;
	struct run runs[MAX_RUNS];
	struct leaf leaves[MAX_LEAVES];
};
#define S ((struct space *)HOST(CARRIER_DISP))
_Static_assert(offsetof(struct space, gate.va) == SG_VA && offsetof(struct space, gate.length) == SG_LENGTH &&
	       offsetof(struct space, gate.ram) == SG_RAM && offsetof(struct space, gate.offset) == SG_OFFSET &&
	       offsetof(struct space, gate.pkru) == SG_PKRU && offsetof(struct space, soft_age) == SG_SOFT, "gate");

#define PTE_COMPARE (PTE_P | PTE_W | PTE_U | PTE_NX | PTE_ADDR | PTE_A | PTE_PS)
#define RUN_COMPARE (PTE_P | PTE_W | PTE_U | PTE_NX | PTE_A | PTE_PS)
#define BITTEST(map, i) ((map)[(i) >> 6] >> ((i) & 63) & 1)
#define BITSET(map, i) ((map)[(i) >> 6] |= BIT((i) & 63))
#define BITCLEAR(map, i) ((map)[(i) >> 6] &= ~BIT((i) & 63))

/* ---- space.c ---- */
/* The host has no room for another mapping, or failed to take one away: all of the guest's go, which
 * takes no room.  What is still noted of them is dropped by settle(), once nobody walks it. */
void settle(void);
struct leaf *leaf_find(u64 va);
/* The page lies where the monitor has its own. */
bool space_reserved(u64 va);
/* Folded kernel addresses lie at [a, a + length), or so near that a string instruction or a wide operand
 * could run over from a user page there. */
bool space_contested(u64 a, u64 length);
void unmap(u64 va, u64 length);
void leaf_drop(struct leaf *l);
/* Forgets run i: another one takes its number. */
void run_forget(u32 i);
/* Unmaps what of the leaf is mapped, as one range. */
void leaf_unmap(struct leaf *l);

/* ---- room.c ---- */
/* Before something is mapped: leaves give way while the host's limit on mappings is near. */
void room_make(void);
/* One leaf gives way. */
void room_evict(void);

/* ---- tables.c ---- */
/* From now on each write to the leaf's tables is in a log.  The caller compares the leaf afterwards, unless nothing of
 * it is mapped yet. */
bool table_watch(struct cpu *c, struct leaf *l);
void table_unwatch(struct leaf *l);
/* The entry was read before the leaf may have come to be watched: another vCPU may have changed it in between. */
void table_mapped(struct leaf *l, int entry);
bool table_watch_always(struct leaf *l);
/* Reads the logs; what they name is noted in the leaves.  False where one went round. */
bool tables_read(void);
/* Compares what the logs name. */
void tables_drain(struct cpu *c);
/* Nothing is watched for this carrier any more. */

/* ---- soft.c ---- */
void soft_unmapped(u64 va, u64 length);
void soft_invalidate(u64 va);
void soft_check(void);

/* ---- compare.c ---- */
/* Compares the leaf with the guest's entries (`only`: with these; NULL: all that are mapped), and drops what
 * changed.  False where the leaf went as a whole. */
bool leaf_check(struct cpu *c, struct leaf *l, const u64 *only);
/* The roots of all carriers lead to the same tables of the kernel's half. */
static inline u64 leaf_root(const struct cpu *c, const struct leaf *l) { return l->kernel ? c->cr3 : S->root; }
/* Drops what of the user's leaves and runs is no longer as the guest's entries say. */
void leaves_compare_user(struct cpu *c);
/* Drops every user mapping. */
void leaves_drop_user(void);

#endif
