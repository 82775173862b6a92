/* SPDX-License-Identifier: MIT
 * A host directory served to the guest in the messages of FUSE 7.38 (<linux/fuse.h>), which is what
 * virtio-fs carries (virtio 1.2, 5.11).  FUSE and not 9P, because Debian's kernel for virtual machines has
 * the virtiofs module and no 9p.
 *
 * Owner: the worker process of one device; single thread, no lock.  Nothing here knows of virtqueues: a
 * request is two lists of memory areas, which the guest may change at any time.
 *
 * Invariants:
 *  S1  Every path is one component, looked up with O_NOFOLLOW in a directory that is held by descriptor;
 *      ".", ".." and "/" are refused.  So no request reaches anything outside of the directory.
 *  S2  Only regular files and directories are opened for reading or writing; other kinds (fifos, devices,
 *      sockets, symbolic links) are held with O_PATH alone.
 *  S3  Headers and arguments are copied once and only the copy is looked at; file data goes between file
 *      and guest memory without a copy and without being looked at.
 *  S4  A node identifier or file handle that is not in use gives an error. */
#ifndef PENUMBRA_DEVICE_SHARE_H
#define PENUMBRA_DEVICE_SHARE_H

#include <sys/uio.h>

#include "base/err.h"
#include "base/types.h"

struct share_config {
	const char *path;   /* the directory */
	bool readonly;
	/* Owners: true: the host's own, so that the guest's root acts as root in the directory (S_ISUID, devices and
	 * all); needs root.  False: what the guest sets is kept in the extended attribute user.penumbra.owner,
	 * on the host everything belongs to the user that runs the worker. */
	bool host_owners;
};

struct share;

/* In the front-end: opens the directory; *fd is its descriptor, the caller's. */
int share_open(struct share **out, const struct share_config *config, int *fd, struct err *e);
/* In the process that will serve, while it has all rights and the host's files: the directory's descriptor becomes
 * the share's. */
int share_prepare(struct share *s, int fd, struct err *e);
/* And then, in its jail, of which the directory is the root if `moved`: clears the umask and takes the root of the
 * tree.  `descriptors` bounds what it opens for nodes and handles; 0: what the host permits. */
int share_enter(struct share *s, bool moved, u32 descriptors, struct err *e);
/* In it or a fork of it, which serves: takes its table of descriptors as working directory (/proc/self/fd), so that
 * names like "17" reach what descriptor 17 holds.  `life` counts the forks: nodes and handles of earlier ones are not
 * in use in later ones (S4), so that a guest gets ESTALE or EBADF and looks names up anew. */
int share_born(struct share *s, u32 life, struct err *e);
void share_close(struct share *s);

/* Forgets all nodes and handles, as after a reset of the device. */
void share_reset(struct share *s);

/* Serves one request.  `in` is what the guest wrote, `out` what may be written for it.  Returns the number
 * of bytes written to `out`; 0 where a request has no answer (FORGET) or room for none. */
size_t share_request(struct share *s, const struct iovec *in, size_t in_count, const struct iovec *out,
		     size_t out_count);

/* Areas in use: what a guest holds now.  For tests. */
struct share_usage { u32 nodes, node_fds, handles; };
struct share_usage share_usage(const struct share *s);

#endif
