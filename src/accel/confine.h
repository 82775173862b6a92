/* SPDX-License-Identifier: MIT
 * Confinement of the translating accelerator's processes, as seen from the front-end.
 *
 * The monitor starts in namespaces of its own as far as the host permits; the front-end gives up what a
 * running machine does not need. */
#ifndef PENUMBRA_ACCEL_CONFINE_H
#define PENUMBRA_ACCEL_CONFINE_H

#include <sys/types.h>

#include "base/err.h"

/* fork() into new namespaces: user, mount, network, IPC, UTS, cgroup and PID, of which the child is the first
 * process, so that its end is the end of all others.  Where the host denies user namespaces: those that
 * it permits, at last none; the monitor's filter and its empty set of capabilities are left then.
 * Returns as fork(), with errno. */
pid_t confine_fork(void);
/* In the child, before exec: leaves the host's file system for an empty one, where that is permitted. */
void confine_leave_files(void);
/* In the child, last before exec: no program can give it a capability again. */
void confine_drop_bounding(void);
/* For all threads of the calling process and for ever: no new programs, files, or foreign processes.
 * A violation writes one line and ends the process with status 1. */
int confine_frontend(struct err *e);

#endif
