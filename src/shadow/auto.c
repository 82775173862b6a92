/* SPDX-License-Identifier: MIT
 * Maintainer `auto`: chooses for each of the guest's tables.
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"
#include "shadow/paging.h"

const struct paging paging_auto = { .flush_user = leaves_compare_user };
