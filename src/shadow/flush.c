/* SPDX-License-Identifier: MIT
 * Maintainer `flush`: no user mapping outlives a flush.  The baseline of the comparison, and what a processor's
 * TLB does.
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"
#include "shadow/paging.h"

static void drop_user(struct cpu *c)
{
	(void)c;
	leaves_drop_user();
	S->code_changed = true;
}

const struct paging paging_flush = { .flush_user = drop_user };
