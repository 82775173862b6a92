/* SPDX-License-Identifier: MIT
 * Memory that a process and all that it started do not share: anonymous pages, and the page tables of the host. */
#ifndef PENUMBRA_BENCH_TREE_MEMORY_H
#define PENUMBRA_BENCH_TREE_MEMORY_H

#include <sys/types.h>

#include "base/types.h"

/* Bytes, now; 0 where /proc does not tell (proc(5): RssAnon, VmPTE, task/TID/children). */
u64 tree_memory(pid_t pid);

#endif
