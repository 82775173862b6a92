/* SPDX-License-Identifier: MIT
 * The state of a container on disk: <root>/<id>/state.json beside a copy of config.json.
 *
 * S1  A container exists when its directory exists; mkdir(2) claims an id.
 * S2  state.json is replaced by rename, so a reader sees one whole version or none.  A directory
 *     without it belongs to a runtime that died before it made anything else.
 * S3  Status is never stored: it is computed from the process that state.json names (pid and start
 *     time, so that a reused pid is not taken for it), its executable, and the freezer.
 * S4  Whoever changes a container holds the lock on its directory (flock, gone with the holder). */
#ifndef PENUMBRA_CONTAINER_STATE_H
#define PENUMBRA_CONTAINER_STATE_H

#include <sys/types.h>

#include "base/err.h"
#include "container/spec.h"
#include "base/util.h"

/* One row per field: kind, member, JSON name. */
#define STATE_FIELDS(F) \
	F(TEXT, id, "id") \
	F(TEXT, bundle, "bundle") \
	F(TEXT, rootfs, "rootfs") \
	F(TEXT, created, "created") \
	F(NUM, pid, "pid") \
	F(NUM, start_time, "startTime") \
	F(NUM, owner, "owner") \
	F(NUM, runtime_device, "runtimeDevice") /* file that the process runs until it is started */ \
	F(NUM, runtime_inode, "runtimeInode") \
	F(NUM, host_mounts, "hostMounts") /* made in the runtime's mount namespace */ \
	F(NUM, id_slot, "idSlot") /* 1 + number of the id range of a hardened container */ \
	F(TEXT, scope, "scope") /* systemd's unit */ \
	F(NUM, scope_user, "scopeOfUser") \
	F(LIST, cgroups, "cgroups") /* "controllers:directory" */ \
	F(TEXT, root_copy, "rootCopy") /* writable root that goes with the container */ \
	F(TEXT, rdt, "rdtGroup") /* resctrl directory that we made */ \
	F(TEXT, rdt_monitor, "rdtMonitor") /* and its monitoring group */ \
	F(TEXT, oci_version, "ociVersion")

#define STATE_CT_TEXT char *
#define STATE_CT_NUM u64
#define STATE_CT_LIST struct oci_strs
#define STATE_MEMBER(kind, member, json) STATE_CT_##kind member;
struct state {
	STATE_FIELDS(STATE_MEMBER)
};

enum container_status { STATUS_CREATING, STATUS_CREATED, STATUS_RUNNING, STATUS_PAUSED,
			STATUS_STOPPED };
extern const char *const status_names[];

struct state_dir {
	int root;  /* directory of all states */
	int dir;   /* this container's, locked while owned */
	char id[256];
};

/* 0 when `id` is allowed: 1-255 of [A-Za-z0-9_+.-], not "." or "..". */
int state_check_id(const char *id, struct err *e);
/* Opens (making it when `make`) the directory of states; the owner must be the caller. */
int state_root_open(const char *root, bool make, struct err *e);
int state_claim(struct state_dir *d, const char *root, const char *id, struct err *e);
/* Opens the container `id` and locks it; shared when only read. -ENOENT when there is none. */
int state_open(struct state_dir *d, const char *root, const char *id, bool exclusive,
	       struct err *e);
void state_close(struct state_dir *d);
/* Removes the directory; what is in it is known. */
int state_remove(struct state_dir *d, struct err *e);

/* Memory of a loaded state; freed by state_free().  -ENOENT when there is no state.json (S2). */
int state_load(int dir, struct state *s, struct err *e);
int state_store(int dir, const struct state *s, struct err *e);
void state_free(struct state *s);

/* S3, but for the freezer: PAUSED is the caller's to find out. */
enum container_status state_status(int dir, const struct state *s);
bool state_process_alive(const struct state *s);
/* pidfd of the first process, checked against its start time. -ESRCH when it has ended. */
int state_pidfd(const struct state *s);

/* The OCI state document (runtime.md#state).  `spec` for annotations may be NULL. */
void state_print(struct text *t, const struct state *s, enum container_status status,
		 const struct oci_spec *spec);

#endif
