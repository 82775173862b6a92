/* SPDX-License-Identifier: MIT
 * The ways of keeping the shadow page tables true to the guest's: one row a maintainer, one file each.
 *
 * The front-end knows their names, the monitor's carriers what they do.  One is chosen for the whole run. */
#ifndef PENUMBRA_SHADOW_PAGING_H
#define PENUMBRA_SHADOW_PAGING_H

#include "base/types.h"

/* Symbol, name as --paging takes it. */
#define PAGING_KINDS(P)       \
	P(AUTO, auto)         \
	P(FLUSH, flush)       \
	P(LAZY, lazy)         \
	P(WRITEPROTECT, writeprotect) \
	P(INTERCEPT, intercept)

enum paging_kind {
#define PAGING_ENUM(symbol, name) PAGING_##symbol,
	PAGING_KINDS(PAGING_ENUM)
#undef PAGING_ENUM
	PAGING_COUNT
};

/* "|auto|flush..." */
#define PAGING_CHOICE(symbol, name) "|" #name
#define PAGING_CHOICES PAGING_KINDS(PAGING_CHOICE)

struct cpu;

struct leaf;

struct paging {
	/* The guest has flushed the user mappings of this carrier: what its tables no longer permit goes. */
	void (*flush_user)(struct cpu *c);
	/* Tables are watched from the first mapping on. */
	bool watch_new;
	/* A flush found the leaf in place: whether its tables are watched from now on; NULL: no. */
	bool (*watch)(struct leaf *l);
	/* `writes` to a watched leaf's table were read from the logs at once: whether it is to be watched no more. */
	bool (*unwatch)(struct leaf *l, u32 writes);
	/* Of a watched leaf its own table is watched only; the way there is compared at each flush. */
	bool low;
	/* `n` stretches of the leaf, the pages `gone`, are to be unmapped: whether all of it goes instead, of which `kept` pieces
	 * would have to be filled again.  NULL: no. */
	bool (*drop_whole)(struct leaf *l, const u64 *gone, u32 n, u32 kept);
	/* A store to a watched table that trapped is translated anew as a checked store. */
	bool intercepts;
	/* What is written to a watched table is compared at once, not at the next flush. */
	bool at_once;
};
/* The one that was chosen. */
const struct paging *paging_chosen(void);

#define PAGING_DECLARE(symbol, name) extern const struct paging paging_##name;
PAGING_KINDS(PAGING_DECLARE)
#undef PAGING_DECLARE

#endif
