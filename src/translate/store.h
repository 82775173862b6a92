/* SPDX-License-Identifier: MIT
 * Translations that come back: dead blocks whose guest bytes are again what they were made from, and those of earlier
 * runs, which a file holds.
 *
 * The guest bytes that a block was made from are kept (cache.sources).  A block of the kernel's whose frame is
 * written, and every block from a file, is *dormant*: nothing finds it but dormant_find(), and its entry leads to its dead stub, so that
 * links to it may stay.
 *
 *	translate_block() --> live --block_kill_frame()--> dormant --dormant_find()--> live
 *	file --cache_restore()--> dormant, REST_FRESH
 *
 * The file is the used part of the cache's arrays and of the code, which come back to where they were.  It holds
 * structures and code of this very build: the front-end, which checks it (accel/bt_store.c), takes it only then.
 *
 * Invariants:
 *  T1  A dormant block comes back only for guest bytes that are those it was made from, every one: no hash decides.
 *  T2  It comes back only in the mode and with the processor state (STORE_*) that it was made in.
 *  T3  One that has been live in this run comes back only at its own address, virtual and physical, and only in the
 *      kernel: a carrier's slots and tables may still lead to it.  A fresh block of a program may be moved first; it
 *      gets slots of its new instance, since blocks of the old one had them together.
 *  T4  A block that died because of what its bytes do not tell (block_kill_site()) does not come back in any run; one
 *      that died of something else than a write to its frame does in another.
 *
 * Owner: the running carrier, under the lock of the cache. */
#ifndef PENUMBRA_TRANSLATE_STORE_H
#define PENUMBRA_TRANSLATE_STORE_H

#include "translate/block.h"

#define STORE_MAGIC 0x31636e7274627570ull
#define STORE_VERSION 1
#define STORE_MAX 0x4000000ull     /* bytes of a file */
#define STORE_SOURCES 0x1800000u   /* bytes of guest code that a run keeps */

/* State that a translation depends on, before its bytes in cache.sources. */
#define STORE_FSGSBASE 1
#define STORE_RDTSC_EXITS 2

/* What a file holds behind its head: arrays of the cache, and of it what has been used. */
#define STORE_ARRAYS(A)                           \
	A(blocks, sizeof(struct block))           \
	A(records, sizeof(struct insn_record))    \
	A(exits, sizeof(struct exit_record))      \
	A(relocs, sizeof(struct reloc))           \
	A(moves, sizeof(struct reloc))            \
	A(sources, 1)                             \
	A(hot, 1)                                 \
	A(cold, 1)

#define STORE_ENUM(name, size) STORE_##name,
enum { STORE_ARRAYS(STORE_ENUM) STORE_COUNT };
#undef STORE_ENUM

struct store_head {
	u64 magic;
	u32 version, max_insns;
	u64 size;                 /* of the file */
	u8 build[32];             /* SHA-256 of what must be the same: monitor, processor, kernel */
	u32 used[STORE_COUNT];    /* elements of each array, which follow in this order, each from a multiple of 8 */
	struct translate_targets targets;
	u8 nonce[16], mac[16];    /* UMAC-128 (RFC 4418) of everything with `mac` as zeroes */
};

static inline bool store_mode(u8 mode) { return mode == 0 || mode == TM_USER; }

/* The chain of dormant blocks: user code is found wherever its page is mapped. */
static inline u32 dormant_chain(u64 pc, u8 mode, u8 first)
{
	u64 key = mode & TM_USER ? (pc & ~PAGE_MASK) << 8 | first : pc << 8;

	return (u32)(((key | (u64)mode << 60) * 0x9e3779b97f4a7c15ull) >> 48) % DORMANT_CHAINS;
}

void dormant_add(struct cache *k, struct block *b);
/* The block for the request from among the dormant, with its neighbours of the same page; NULL where there is none. */
struct block *dormant_find(struct cache *k, const struct translate_request *r);
/* Where to note the guest bytes that a block was made from, NULL where it is not kept. */
u8 *store_note(struct cache *k, struct block *b, const struct translate_request *r);
/* Every field; between them may be anything. */
#define STORE_TARGETS(T)                                                                      \
	T(exit_user) T(exit_kernel) T(table_open) T(table_close) T(lookup_second)             \
	T(soft_read) T(soft_write) T(soft_close)                                              \
	T(lookup_miss_user) T(lookup_miss_kernel) T(pkru_kernel) T(pkru_access)               \
	T(protection_keys) T(loop_is_fast) T(smp)

static inline bool same_targets(const struct translate_targets *a, const struct translate_targets *b)
{
#define STORE_SAME(field) && a->field == b->field
	return true STORE_TARGETS(STORE_SAME);
#undef STORE_SAME
}

/* After a flush: the arrays hold what a file held, whose head is `h`. */
void cache_restore(struct cache *k, const struct store_head *h);

#endif
