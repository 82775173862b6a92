/* SPDX-License-Identifier: MIT
 * The systemd driver: a container's cgroup is a transient scope that the service manager makes and knows of.
 *
 *	P  scope_plan()    SLICE:PREFIX:NAME -> /a.slice/a-b.slice/PREFIX-NAME.scope
 *	   scope_start()   a holder process; StartTransientUnit with it; limits as properties
 *	   ...             limits as files, and the container's process enters, as with any cgroup
 *	   scope_let_go()  the holder ends: the scope lives as long as the container's processes
 *	   scope_stop()    at deletion
 *
 * Invariant: the unit's name is in state.json before the unit is made (L2 of launch.h), and the holder dies with P.
 * Source: systemd.scope(5), systemd.resource-control(5), org.freedesktop.systemd1(5); runc's docs/systemd.md for the
 * form of linux.cgroupsPath. */
#ifndef PENUMBRA_CONTAINER_SYSTEMD_H
#define PENUMBRA_CONTAINER_SYSTEMD_H

#include <sys/types.h>

#include "container/spec.h"

struct scope {
	char unit[256], slice[256];
	char path[2048];   /* below the hierarchy's mount */
	pid_t holder;
	bool foreign;      /* the unit was there before: it is not ours to stop */
	bool user;         /* of the user's manager */
};

int scope_plan(struct scope *s, const char *cgroups_path, const char *id, bool rootless, struct err *e);
int scope_start(struct scope *s, const char *id, const struct oci_resources *r, struct err *e);
void scope_let_go(struct scope *s);
/* Limits of a running container: the manager would undo what only the files say when it loads its units again. */
int scope_update(const char *unit, bool user, const struct oci_resources *r, struct err *e);
/* Stops the unit and waits until it is gone; one that is gone already is no error. */
int scope_stop(const char *unit, bool user, struct err *e);

#endif
