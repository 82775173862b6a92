/* SPDX-License-Identifier: MIT
 * Control groups, version 1, 2 and both at once: each controller is used where it is mounted.
 *
 * A container has one directory per mounted hierarchy.  A hybrid host's version 2 hierarchy is
 * joined even when it has no controllers, for cgroup.kill, cgroup.freeze and device programs.
 *
 * Sources: Linux Documentation/admin-guide/cgroup-v1, cgroup-v2.rst; OCI config-linux.md. */
#ifndef PENUMBRA_CONTAINER_CGROUP_H
#define PENUMBRA_CONTAINER_CGROUP_H

#include <sys/types.h>

#include "base/err.h"
#include "container/spec.h"
#include "base/util.h"

#define CGROUP_PARTS_MAX 16

struct cgroup_part {
	char controllers[96]; /* "cpu,cpuacct", "name=systemd"; "" for version 2 */
	char *mount;          /* where the hierarchy is mounted */
	char *dir;            /* our directory, absolute */
	char *own;            /* the runtime's own place in the hierarchy, relative to the mount */
	bool v2;
	bool foreign;         /* was in use before us: neither emptied nor removed */
	int fd;               /* dir, opened when first needed; -1 before, -2 when it is gone */
};

struct cgroup {
	struct cgroup_part part[CGROUP_PARTS_MAX];
	size_t n;
	bool scope;           /* version 2's directory is made, and has a process, by systemd */
	bool rootless;        /* hierarchies that we may not write to are left out */
};

/* Finds the hierarchies and decides our directory in each.  `path` is linux.cgroupsPath or NULL:
 * absolute below each mount, relative below the runtime's own cgroup; default is the id. */
int cgroup_plan(struct cgroup *c, const char *path, const char *id, bool rootless, struct err *e);
/* From the list in a stored state; directories that are gone are left out. */
int cgroup_reopen(struct cgroup *c, const struct oci_strs *dirs, struct err *e);
/* Appends what cgroup_reopen() needs. Memory is the caller's, to be freed with the state. */
int cgroup_describe(const struct cgroup *c, struct oci_strs *dirs);
void cgroup_close(struct cgroup *c);

/* Makes the directories; -EADDRINUSE when one has processes already: it would die with us.  `r` says which of version 2's controllers will be needed. */
int cgroup_create(struct cgroup *c, const struct oci_resources *r, struct err *e);
/* Writes limits. `devices` also sets up the device rules (not for update). */
int cgroup_apply(struct cgroup *c, const struct oci_resources *r, bool devices, struct err *e);
/* Moves `pid`.  The kernel halts every fork and exit of the host for this (a grace period of RCU, up
 * to 15 ms): a process that can joins by itself, see cgroup_join_prepare(). */
int cgroup_join(struct cgroup *c, pid_t pid, const char *below, struct err *e);
/* Opens what a process needs to join version 1 groups by itself, without that halt: a thread that
 * moves only itself.  The descriptors pass through fork.  Version 2 is joined by the clone: its
 * descriptor for CLONE_INTO_CGROUP is *into, or -1. */
struct cgroup_entry {
	int fd[CGROUP_PARTS_MAX];
	size_t n;
	int into;
	bool rootless;
};
int cgroup_join_prepare(struct cgroup *c, const char *below, struct cgroup_entry *entry,
			struct err *e);
int cgroup_join_self(const struct cgroup_entry *entry, struct err *e);
void cgroup_entry_close(struct cgroup_entry *entry);

/* Stops all processes and returns when they have stopped; the opposite. */
int cgroup_freeze(struct cgroup *c, bool freeze, struct err *e);
bool cgroup_frozen(struct cgroup *c);
/* Sends `sig` to every process; SIGKILL also waits until all have ended. */
int cgroup_kill(struct cgroup *c, int sig, struct err *e);
/* All process ids, also of sub-groups; *pids is malloc'ed. */
int cgroup_pids(struct cgroup *c, pid_t **pids, size_t *n, struct err *e);
/* Removes the directories.  What still runs in them is killed when `ours` says that they are known to
 * hold only the container's processes; else they are left when they do not become empty. */
int cgroup_remove(struct cgroup *c, bool ours, struct err *e);
/* The part's directory, or -1. */
int cgroup_part_fd(const struct cgroup_part *p);
/* Directory descriptor of `controller`; *v2 says which files it has. -ENOENT without. */
int cgroup_controller(const struct cgroup *c, const char *controller, bool *v2);
/* OOM notification: eventfd for version 1, inotify on memory.events for 2; readable on an OOM. */
int cgroup_oom_watch(const struct cgroup *c, struct err *e);
/* One JSON object with the current use, as runc's `events --stats` prints in "data". */
void cgroup_stats(const struct cgroup *c, struct text *t);

/* Device rules of version 2: a program for the directory `fd` (cgroup_device.c). */
int cgroup_device_attach(int fd, const struct oci_device_rule *rules, size_t n, struct err *e);
/* The rules every container gets after its own: nodes may be made, the standard ones be used. */
extern const struct oci_device_rule cgroup_device_defaults[];
extern const size_t cgroup_device_defaults_n;

#endif
