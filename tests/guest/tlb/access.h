/* SPDX-License-Identifier: MIT
 * One access under test: run, and its result compared with what the model allows.
 *
 * Source of the rules: model.h.  Owner: the first processor. */
#ifndef TESTS_GUEST_TLB_ACCESS_H
#define TESTS_GUEST_TLB_ACCESS_H

#include "model.h"
#include "world.h"

/* ---- kinds of accesses, functions of start.S ---- */
#define IS_READ 1
#define IS_WRITE 2
#define IS_EXEC 4
#define IS_LOCKED 8     /* not across pages */
#define IS_ALIGNED 16
#define IS_STEPWISE 32  /* what lies before the fault is done */
#define IS_FIT 64       /* may be aimed at entries of a table that its own walk marks */
/* function, bytes, what */
#define KINDS(K)                                                        \
	K(load1, 1, IS_READ)                                            \
	K(load2, 2, IS_READ)                                            \
	K(load4, 4, IS_READ)                                            \
	K(load8, 8, IS_READ)                                            \
	K(load16, 16, IS_READ)                                          \
	K(load_push, 8, IS_READ)                                        \
	K(load_string, 8, IS_READ)                                      \
	K(load_moves, 8, IS_READ | IS_STEPWISE)                         \
	K(load_compare, 8, IS_READ)                                     \
	K(store1, 1, IS_WRITE | IS_FIT)                                 \
	K(store2, 2, IS_WRITE | IS_FIT)                                 \
	K(store4, 4, IS_WRITE | IS_FIT)                                 \
	K(store8, 8, IS_WRITE | IS_FIT)                                 \
	K(store16, 16, IS_WRITE)                                        \
	K(store_push, 8, IS_WRITE | IS_FIT)                             \
	K(store_string, 8, IS_WRITE | IS_FIT)                           \
	K(store_nt, 8, IS_WRITE | IS_FIT)                               \
	K(store_moves, 8, IS_WRITE | IS_STEPWISE)                       \
	K(xchg, 8, IS_WRITE | IS_READ | IS_LOCKED | IS_FIT)             \
	K(xadd, 8, IS_WRITE | IS_READ | IS_LOCKED)                      \
	K(add, 8, IS_WRITE)                                             \
	K(or, 8, IS_WRITE | IS_LOCKED | IS_FIT)                         \
	K(and, 8, IS_WRITE | IS_LOCKED | IS_FIT)                        \
	K(or1, 1, IS_WRITE | IS_FIT)                                    \
	K(and1, 1, IS_WRITE | IS_FIT)                                   \
	K(bts, 8, IS_WRITE | IS_LOCKED | IS_FIT)                        \
	K(btr, 8, IS_WRITE | IS_LOCKED | IS_FIT)                        \
	K(cmpxchg, 8, IS_WRITE | IS_READ | IS_LOCKED)                   \
	K(cmpxchg16, 16, IS_WRITE | IS_READ | IS_LOCKED | IS_ALIGNED)   \
	K(fill8, 64, IS_WRITE | IS_STEPWISE)                            \
	K(call, 6, IS_EXEC)
enum kind {
#define K(name, bytes, what) KIND_##name,
	KINDS(K)
#undef K
	KINDS_N
};
struct kind_row { const char *name; void *function; u16 bytes, what; };
extern const struct kind_row kinds[KINDS_N];

/* A data frame's code: at CODE_AT, and from the end of the frame before to the beginning of this one. */
#define CODE_AT 0xf00
#define CODE_ACROSS 0xffd
/* Makes the frame's code return `id` (bit 16 clear): at CODE_AT, and its halves at both ends of the page. */
void frame_seal(int frame, u32 id);

struct access {
	enum kind kind;
	u64 va, operand, expected;
	bool user, ac;
};

/* What an access does to its bytes, which were `old`. */
void access_effect(const struct access *a, const u8 *old, u8 *now);
/* Asks the model for the pages that the access touches: how many, 1 or 2. */
int access_query(const struct access *a, struct query q[2]);
/* It stores in several steps, one of them into tables that lead to where another goes: that may fault or not, as the TLB
 * has it, and a bit that the walk of one sets may be overwritten by the other. */
bool access_severs_itself(const struct access *a, const struct query *q, int parts);
/* Runs it on the processor that acts and compares.  False: the model does not allow what came, or the tables; printed. */
bool access_check(const struct access *a, struct query q[2]);
/* The same in steps, for accesses of several processors at once; `a` and `q` (of `parts` pages) stay until the end: what the
 * memory is before, the order, whether the result is allowed, whether the tables are what the n questions allow. */
void access_prepare(int processor, const struct access *a, const struct query *q, int parts);
struct order access_ask(int processor);
bool access_judge(int processor);
bool access_conclude(int processor, const struct query *q, int n);
/* The model learns what its fault has invalidated: where nothing was written and no PCID loaded meanwhile, since what came
 * first is not known. */
void access_invalidated(int processor);
void access_print(const struct access *a);
/* The exception that the last access ended with: vector, error code, CR2. */
void trap_print(const u64 *t);
/* Compares all entries with the model's.  Bits that the n questions allow may have been set.  False: printed. */
bool tables_check(const struct query *q, int n);
u64 table_word(int frame, int slot);

#endif
