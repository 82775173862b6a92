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
	P(LAZY, lazy)

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

struct paging {
	/* The guest has flushed the user mappings of this carrier: what its tables no longer permit goes. */
	void (*flush_user)(struct cpu *c);
};

#define PAGING_DECLARE(symbol, name) extern const struct paging paging_##name;
PAGING_KINDS(PAGING_DECLARE)
#undef PAGING_DECLARE

#endif
