/* SPDX-License-Identifier: MIT
 * The runtime runs from a sealed copy of itself, so that a container that reaches /proc/self/exe of
 * a process entering it finds memory that nobody can write to, not the host's program. */
#ifndef PENUMBRA_CONTAINER_SEAL_H
#define PENUMBRA_CONTAINER_SEAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Returns at once when this process already is the sealed copy; else executes one and does not
 * return, or returns a negative errno.  Descriptors and environment stay as they are. */
int seal_reexecute(char **argv, struct err *e);
/* 1 when the process still runs a sealed copy of the runtime, 0 when not, negative errno when the
 * kernel does not tell us. */
int seal_process_is_ours(pid_t pid);

#endif
