/* SPDX-License-Identifier: MIT
 * A listening AF_UNIX socket of a device: made by the front-end, served by the device's worker, removed at the end.
 * Owner: the front-end's main thread. */
#ifndef PENUMBRA_DEVICE_LOCAL_SOCKET_H
#define PENUMBRA_DEVICE_LOCAL_SOCKET_H

#include <sys/types.h>

#include "base/err.h"

struct local_socket {
	int fd;            /* -1: none; the caller gives it away and closes it */
	char *path;        /* to remove */
	dev_t device;      /* what was made there: nothing else is removed */
	ino_t inode;
};
#define LOCAL_SOCKET_NONE ((struct local_socket){ .fd = -1 })

/* Listens at `path`, with access for the user alone.  A socket that nobody listens on any more is replaced;
 * -EADDRINUSE for one that is in use, -EEXIST for any other file.  `what` is for messages. */
int local_socket_listen(struct local_socket *s, const char *what, const char *path, struct err *e);
/* Removes the path; the descriptor is the caller's. */
void local_socket_close(struct local_socket *s);

#endif
