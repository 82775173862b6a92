/* SPDX-License-Identifier: MIT
 * Confinement of the front-end: it gives up what a running machine does not need.  What other processes of
 * the machine give up is in base/jail.h and monitor/confine.c. */
#ifndef PENUMBRA_ACCEL_CONFINE_H
#define PENUMBRA_ACCEL_CONFINE_H

#include "base/err.h"

/* For all threads of the calling process and for ever: no new programs, files, or foreign processes.
 * A violation writes one line and ends the process with status 1. */
int confine_frontend(struct err *e);

#endif
