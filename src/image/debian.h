/* SPDX-License-Identifier: MIT
 * Disk images with Debian on them.
 *
 * An image is a raw disk: a GUID partition table with one partition, an ext4 root file system, Debian's
 * kernel for virtual machines, systemd, sshd.  mmdebstrap, tar, mke2fs and sfdisk of the host do the work;
 * as an ordinary user within user namespaces
 * (unshare, and newuidmap with the user's range in /etc/subuid). */
#ifndef PENUMBRA_IMAGE_DEBIAN_H
#define PENUMBRA_IMAGE_DEBIAN_H

#include "base/err.h"
#include "base/types.h"

struct debian_image {
	const char *out;          /* path; must not exist */
	const char *suite;        /* release: "bookworm" */
	const char *mirror;       /* URI, NULL: as the host where it is of the same release, else Debian's own */
	const char *packages;     /* more packages, separated by commas; NULL: none */
	const char *hostname;
	const char *password;     /* of root; NULL: none, which only the console takes */
	const char *ssh_key;      /* path of public keys that may log in as root; NULL: none */
	const char *const *copies; /* "PATH=FILE": FILE of the host becomes PATH of the image; `copy_count` of them */
	int copy_count;
	const char *setup;        /* a shell script of the host, run in the image as root at the end; NULL: none */
	u64 size;                 /* bytes of the disk */
	/* How far it is: step `step` of `steps` has begun or says `text`. */
	void (*progress)(void *opaque, int step, int steps, const char *text);
	void *opaque;
};

/* The smallest disk that Debian with a kernel fits on, in bytes. */
#define DEBIAN_IMAGE_MIN (1ull << 30)
#define DEBIAN_IMAGE_MAX (16ull << 40)
#define DEBIAN_IMAGE_COPIES 32

/* Builds the image beside `out` and renames it when it is whole; leaves nothing behind where it fails.
 * -EEXIST, -ENOENT for a program or file that is missing, -EINVAL for a value, -EIO for a program that failed,
 * -EINTR after tool_stop(). */
int debian_image_build(const struct debian_image *image, struct err *e);

#endif
