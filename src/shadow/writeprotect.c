/* SPDX-License-Identifier: MIT
 * Maintainer `writeprotect`: each table that leads to a mapping is watched; a store to one traps, is executed in C, and
 * what is mapped of the entry changes at once.  A flush finds nothing to do.
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"
#include "shadow/paging.h"

const struct paging paging_writeprotect = {
	.flush_user = leaves_compare_user, .watch_new = true, .watch = table_watch_always, .at_once = true,
};
