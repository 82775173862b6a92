/* SPDX-License-Identifier: MIT
 * Maintainer `intercept`: each table that leads to a mapping is watched, and an instruction that stored to one becomes a
 * checked store at its first trap (translate/operand.c, monitor/entry.S), which notes what it writes for the next flush.
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"
#include "shadow/paging.h"

const struct paging paging_intercept = {
	.flush_user = leaves_compare_user, .watch_new = true, .watch = table_watch_always, .intercepts = true,
};
