/* SPDX-License-Identifier: MIT
 * Maintainer `lazy`: nobody watches the guest's tables; at a flush each page is compared with its entry.
 *
 * Owner: the running carrier. */
#include "shadow/internal.h"
#include "shadow/paging.h"

const struct paging paging_lazy = { .flush_user = leaves_compare_user };
