/* SPDX-License-Identifier: MIT
 * A tar archive as a stream of entries.  Own code and not a library's: names must come out as the bytes that they
 * are whatever the locale, sizes must be bounded before anything is allocated, and the runtime is one static program.
 *
 * The archive is hostile: what it claims is checked here for form and bounds, not for where a path leads; that is
 * for whoever makes files of it.  Owner: the caller.  No lock.
 * Sources: POSIX.1-2017 pax(1), "ustar Interchange Format" and "pax Extended Header"; tar(5) for GNU's long names and
 * base-256 numbers; OCI image specification 1.1, layer.md#file-attributes. */
#ifndef PENUMBRA_IMAGE_TAR_H
#define PENUMBRA_IMAGE_TAR_H

#include "image/blob.h"

#define TAR_PATH_MAX 4096        /* with the terminating NUL */
#define TAR_EXTENDED_MAX (1u << 20)
#define TAR_XATTRS_MAX 64

enum tar_type {
	TAR_FILE = '0', TAR_HARD_LINK = '1', TAR_SYMLINK = '2', TAR_CHAR = '3', TAR_BLOCK = '4',
	TAR_DIRECTORY = '5', TAR_FIFO = '6',
};

struct tar_xattr {
	const char *name;  /* "security.capability" */
	const u8 *value;
	size_t length;
};

struct tar_entry {
	enum tar_type type;
	char path[TAR_PATH_MAX], link[TAR_PATH_MAX]; /* as written; link for both kinds of links */
	u64 size;                                    /* of the data that follows; 0 unless TAR_FILE */
	u64 uid, gid;
	u32 mode;                                    /* permission bits, 07777 */
	s64 mtime;                                   /* seconds since 1970 */
	u32 mtime_ns;
	u32 major, minor;
	struct tar_xattr xattr[TAR_XATTRS_MAX];
	size_t xattrs;
};

struct tar;

int tar_open(struct tar **out, struct blob *b, struct err *e);
/* The next entry, valid until the following call; data that was not read is skipped.  1, 0 at the end, or a
 * negative errno. */
int tar_next(struct tar *t, const struct tar_entry **entry, struct err *e);
/* Data of the entry: bytes read, 0 at its end. */
ssize_t tar_read(struct tar *t, void *data, size_t size, struct err *e);
void tar_close(struct tar *t);

#endif
