/* SPDX-License-Identifier: MIT
 * The container's file system tree: root, mounts, devices, masks, made by descriptor only.
 *
 * Runs in B (see launch.h) but for mounts_open_sources(), which P calls before the clone. */
#ifndef PENUMBRA_CONTAINER_MOUNTS_H
#define PENUMBRA_CONTAINER_MOUNTS_H

#include "container/launch.h"

/* Names of all options of mounts[].options, for `features`; ends with NULL.  Sorted. */
extern const char *const mount_option_names[];

/* Checks types and options of every mount; touches nothing. */
int mounts_check(struct launch *l, struct err *e);
/* Opens what B could not open by itself: sources under directories closed to the container's root,
 * and id-mapped trees. */
int mounts_open_sources(struct launch *l, struct err *e);

struct rootfs {
	int root;        /* the container's root, attached */
	int null_tree;   /* detached clone of /dev/null, what masked files become; -1 until needed */
	int dev;         /* the container's /dev when the nodes in it are ours to make, or -1 */
	int console;     /* terminal's slave side, or -1 */
	u32 rest_propagation;
	bool has_dev;    /* a file system was mounted on /dev: standard nodes are ours to make */
};

/* Root, mounts, devices: everything before the createContainer hooks. */
int rootfs_build(struct launch *l, struct rootfs *r, struct err *e);
/* Makes the terminal and binds it to /dev/console; *master is its other side. */
int rootfs_console(struct launch *l, struct rootfs *r, int *master, struct err *e);
/* Masks, read-only paths and root, then the switch of roots; afterwards "/" is the container's. */
int rootfs_enter(struct launch *l, struct rootfs *r, struct err *e);

/* Takes away the mounts of a container that has no mount namespace. */
void rootfs_leave_host(const struct state *s);

/* device.c */
int devices_make(struct launch *l, struct rootfs *r, struct err *e);
int devices_open_sources(struct launch *l, struct err *e);

/* mount_fs.c: file systems from options; a detached mount or negative errno. */
struct mount_options {
	u64 attr_set, attr_clear;         /* MOUNT_ATTR_*, this mount */
	u64 recursive_set, recursive_clear;
	u64 propagation;                  /* MS_SHARED ... | MS_REC, 0 for none */
	bool bind, recursive, remount, copy_up, idmap, idmap_recursive, read_only;
	char data[8192];                  /* the others, comma separated */
	char flags[128];                  /* superblock flags, comma separated */
};
int mount_options_parse(const struct oci_mount *m, struct mount_options *o, struct err *e);
int mount_filesystem(const char *type, const char *source, const struct mount_options *o,
		     struct err *e);
int mount_attach(int tree, int target);
/* A detached clone of what `path` names, or of `dirfd` itself when it is empty, with the attributes of `o` (NULL for
 * none; propagation is not looked at). */
int mount_clone(int dirfd, const char *path, bool recursive, const struct mount_options *o);
/* Applies attributes and propagation to an attached or detached tree. */
int mount_apply(int tree, const struct mount_options *o);
/* A user namespace with these mappings and nobody in it. */
int userns_make(const struct oci_id_mapping_list *uids, const struct oci_id_mapping_list *gids,
		struct err *e);
/* Writes uid_map and gid_map of `pid`; rootless goes through newuidmap when it must. */
int userns_map(pid_t pid, const struct oci_id_mapping_list *uids,
	       const struct oci_id_mapping_list *gids, bool rootless, struct err *e);

#endif
