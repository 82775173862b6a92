/* SPDX-License-Identifier: MIT
 * What a processor may do with an address, by the manual (Intel SDM vol. 3A, 4.5 to 4.10).
 *
 * The model knows the entries of all tables under test, each with its values since the last invalidation of
 * everything, and what each processor invalidated when.  It says which results an access may have: those of a walk of
 * the tables as they are, with upper levels perhaps from the paging-structure caches, and those of each translation that
 * the processor may still have cached.  Processors cache nothing for each other, and invalidate nothing for each other
 * (4.10.5).  Owner: the first processor of the test's guest, which models both. */
#ifndef TESTS_GUEST_TLB_MODEL_H
#define TESTS_GUEST_TLB_MODEL_H

#include "base/types.h"
#include "x86/paging.h"

/* ---- the world: 44 page frames in four blocks of 2 MiB, at indices that a large page shares with them.  What lies at
 * indices 508 to 511 of a root a translator may keep at 244 to 247, and itself at 248: all of these are used ---- */
#define SLOTS 11        /* indices that are used, of every table, on every level */
#define BLOCKS 4
#define FRAMES (SLOTS * BLOCKS)
#define ROOTS 3
#define PDPTS 3
#define PDS 4
#define PTS 6
#define TABLES (ROOTS + PDPTS + PDS + PTS)
#define PCIDS 5

extern const u16 slot_index[SLOTS], block_number[BLOCKS], pcids[PCIDS];
extern u8 table_frame[TABLES];  /* roots, PDPTs, PDs, PTs: numbers of frames, chosen anew each epoch */
extern bool frame_is_table[FRAMES];

int slot_of(u64 index);         /* -1: not one that is used */
u64 frame_pa(int frame);
int frame_at(u64 pa);           /* -1: none of ours */

/* ---- processor state that decides about accesses ---- */
struct control {
	bool wp, nxe, smep, smap, pge, pcide;
	int root;               /* which of ROOTS */
	int pcid;               /* index into pcids */
	bool lenient;           /* an oracle's flaws are to be overlooked */
	u64 reserved;           /* address bits that the processor does not have */
};
extern struct control *control; /* of the processor that is modelled */

/* ---- the history ---- */
#define MODELLED 2 /* processors at most */
void model_begin(int processors);                       /* nothing cached, no values */
void model_on(int processor);                           /* whose TLB and registers the rest is about */
void model_set(int frame, int slot, u64 value);         /* an entry was written */
u64 model_get(int frame, int slot);
bool model_crowded(void);                               /* everything should be flushed before going on */
void model_loaded_root(int root, int pcid, bool flush); /* and control.root, control.pcid */
void model_flush_all(void);
void model_flush_contexts(void);                        /* INVPCID 3: all but global translations */
void model_flush_pcid(int pcid);                        /* INVPCID 1, CR3 */
enum inv_kind { INV_PAGE, INV_CONTEXT_PAGE, INV_FAULT };
void model_invalidate(enum inv_kind kind, int pcid, u64 va);

/* ---- the question ---- */
#define ACC_W 1
#define ACC_U 2
#define ACC_X 4
#define ACC_AC 8

struct need { s8 frame; u8 slot; u8 bits; };
struct outcome {
	bool fault, cached;
	u32 error;              /* of the fault */
	u64 pa;                 /* of the byte at va, else */
	struct need need[4];    /* accessed and dirty bits that are set then */
	u8 needs;
};
#define OUTCOMES 96
#define TOUCHES 64
struct query {
	u64 va;
	u32 access;
	u32 n;
	bool too_many;
	struct outcome out[OUTCOMES];
	struct need touched[TOUCHES];   /* bits that may be set in any case */
	u32 n_touched;
};
void model_query(struct query *q, u64 va, u32 access);
/* What either of the two allows. */
void model_merge(struct query *q, const struct query *more);
/* Another processor writes to this entry meanwhile: bits that are set there may get lost. */
void model_excuse(struct query *q, int frame, int slot);
u8 model_may_touch(const struct query *q, int n, int frame, int slot);

#endif
