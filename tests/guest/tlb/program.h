/* SPDX-License-Identifier: MIT
 * The random program, in parts: what an epoch is like (epoch.c), steps of one processor (steps.c), steps of two at once
 * (race.c), and what runs them (main.c).
 *
 * Owner: the first processor. */
#ifndef TESTS_GUEST_TLB_PROGRAM_H
#define TESTS_GUEST_TLB_PROGRAM_H

#include "access.h"

/* ---- command line: main.c ---- */
#define OPTIONS(O) O(seed) O(steps) O(from) O(skip) O(verbose) O(lenient) O(wide) O(kvm) O(disk) O(cpus) O(calls)
struct options {
#define O(name) u64 name;
	OPTIONS(O)
#undef O
};
extern struct options options;
extern u64 step;
enum operation { OP_ACCESS, OP_WRITE, OP_INVLPG, OP_INVPCID, OP_CR3, OP_PGE, OP_WP, OP_SMEP, OP_SMAP, OP_NXE, OP_PCIDE,
		 OP_CODE, OP_RACE, OP_SHOOTDOWN };
static inline bool skipped(enum operation op) { return options.skip >> op & 1; }

/* ---- random numbers, of the step: epoch.c ---- */
u64 mix(u64 x);
void random_begin(u64 from);
u64 rnd(void);
u32 below(u32 n);
bool chance(u32 percent);

/* ---- what an epoch is like: epoch.c ---- */
#define HOT 28
#define UPPER 7 /* slots from there on belong to the upper half, in a root */
extern struct profile {
	bool same_upper;        /* the upper half is the same under each root */
	bool low_is_user;       /* nothing of the supervisor's in the lower half, as in an operating system */
	u8 aliases;             /* of 100 last-level entries, how many lead to tables */
	u8 large, odd, global, wild, accessed; /* of 100: large pages, reserved bits, global, wrong level, accessed */
	u8 accesses, writes;    /* of 100 steps; the rest are invalidations and control registers */
	u8 flush;               /* of 100 invalidations, how many are of everything */
} profile;
extern u64 hot[HOT];
/* Whether each index of the address is one of those that are used. */
bool in_world(u64 va);
int level_of(int table);
/* An entry for a table of that level; `low`: for the lower half. */
u64 random_entry(int level, bool low);
void epoch_begin(void);
/* Sets the processors up.  False: the second one does not start. */
bool processors_begin(void);
/* Whose steps and whose model follow. */
void act(u32 processor);
/* Every processor flushes everything. */
void flush_all(void);

/* ---- steps of one processor: steps.c ---- */
enum { COUNT_ACCESSES, COUNT_WRITES, COUNT_INVALIDATIONS, COUNT_RACES, COUNT_SHOOTDOWNS, COUNTS };
extern u64 counts[COUNTS];
/* The step's number and who acts; only if verbose. */
bool say_who(void);

/* A write to an entry through one of the aliases that never change. */
struct table_write {
	struct access a;
	int frame, slot;
	u64 pa, old;            /* of the entry */
	u8 *at, want[64];       /* the bytes that are written */
	u32 bytes;
};
/* On the way to va; 0: to any hot page.  False: there is none to be made. */
bool write_plan(struct table_write *w, u64 va);
/* Runs it on the processor that acts.  False: wrong, printed. */
bool write_run(struct table_write *w);
void write_say(const struct table_write *w);
bool write_wrong(const struct table_write *w);
/* The model learns what the frame's entries are. */
void write_learn(const struct table_write *w);

/* What an access may reach: tables, data, or places that are not ours. */
struct reach { bool tables, data, foreign, any; };
void reach_add(struct reach *r, const struct query *q);
struct access_plan { struct access a; int parts; bool seal; struct reach reach; };
/* An access to the page with its answers in q.  False: it is not to be made. */
bool access_plan(struct access_plan *p, struct query q[2], u64 page);
/* Runs it on the processor that acts.  False: wrong, printed. */
bool access_go(const struct access_plan *p, struct query q[2]);

/* One invalidation of the processor that acts, which concerns va among others (of several ways). */
void invalidate_for(u64 va);
/* One that need not concern it, nor be one; a single order. */
void invalidate_any(u64 va);
bool one_step(void);
/* Whether a walk for the address, as the tables are, comes by the entry more than once. */
bool slot_twice(u64 va, int frame, int slot);

/* ---- steps of two processors: race.c ---- */
bool race_one(void);
bool shootdown_one(void);

#endif
