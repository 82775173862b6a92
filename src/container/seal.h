/* SPDX-License-Identifier: MIT
 * The runtime runs from where nobody can write to it, so that a container that reaches /proc/self/exe of a process
 * entering it cannot change the host's program: from a read-only mount of the program alone, which is in no mount
 * namespace (so nobody can make it writable: mount_setattr(2) wants a mount of the caller's), or without the right to
 * mount from a sealed copy in memory. */
#ifndef PENUMBRA_CONTAINER_SEAL_H
#define PENUMBRA_CONTAINER_SEAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/types.h"

/* Returns at once when this process already is the sealed copy; else executes one and does not
 * return, or returns a negative errno.  Descriptors and environment stay as they are. */
int seal_reexecute(char **argv, struct err *e);
/* What file this process runs, for a later seal_process_is_ours(). */
int seal_identity(u64 *device, u64 *inode);
/* 1 when the process runs that file, 0 when not, negative errno when the kernel does not tell us. */
int seal_process_is_ours(pid_t pid, u64 device, u64 inode);

#endif
