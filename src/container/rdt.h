/* SPDX-License-Identifier: MIT
 * linux.intelRdt: groups of the resource control file system.
 * Sources: OCI runtime specification 1.2, config-linux.md#intelrdt; Linux Documentation/arch/x86/resctrl.rst. */
#ifndef PENUMBRA_CONTAINER_RDT_H
#define PENUMBRA_CONTAINER_RDT_H

#include "container/spec.h"
#include "container/state.h"

/* Puts `pid` into the group that the configuration names (NULL: none is asked for), made when it is missing; what was
 * made is noted in the state.  A group that is there must have the schemata that are asked for. */
int rdt_join(const struct oci_intel_rdt *rdt, const char *id, pid_t pid, struct state *s, struct err *e);
/* Removes what rdt_join() made. */
int rdt_leave(const struct state *s, struct err *e);
/* Whether the text of a schemata file has what a line like "L3:0=f;1=ff" asks for. */
bool rdt_schemata_have(const char *text, const char *wanted);

#endif
