/* SPDX-License-Identifier: MIT
 * What processes of the machine give up: namespaces(7), capabilities(7), pivot_root(2).
 *
 * All are called in single-threaded processes, between fork and the work. */
#ifndef PENUMBRA_BASE_JAIL_H
#define PENUMBRA_BASE_JAIL_H

#include <stdbool.h>
#include <sys/types.h>

#define JAIL_NETWORK 1 /* stays in the host's network namespace */

/* fork() into new namespaces: user, mount, network, IPC, UTS, cgroup and PID, of which the child is the first
 * process, so that its end is the end of all others.  Where the host denies user namespaces: those that
 * it permits, at last none; filters and an empty set of capabilities are left then.  `keep` is JAIL_*.
 * Returns as fork(), with errno. */
pid_t jail_fork(unsigned keep);
/* Leaves the file system for an empty one, where the host permits. */
void jail_leave_files(void);
/* Nothing that is executed later gets a capability. */
void jail_drop_bounding(void);
/* No capability, no new privileges, not to be traced by the user's other processes; false where that failed. */
bool jail_drop_privileges(void);

#endif
