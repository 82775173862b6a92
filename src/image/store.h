/* SPDX-License-Identifier: MIT
 * The store: layers by digest, shared by all images, and the root directories that are made of them.
 *
 *	STORE/lock             flock: shared while a container is made from an image, exclusive for changes
 *	STORE/layers/HEX/tree  the layer's files, HEX its plain digest (DiffID); never written again
 *	STORE/layers/HEX/list  what unpack.h describes
 *	STORE/trees/HEX        a root directory of hard links, HEX its ChainID
 *	STORE/images/HEX       a bundle: config.json with root.path to the tree, names, chain, layers; HEX: the
 *	                       digest of the image's configuration
 *	STORE/tmp              what is being made; everything in it is waste once the lock is free
 *
 * Invariants
 * S1  What lies under layers, trees and images is whole: it is made in tmp, written to disk, then renamed.
 * S2  A layer's name is the digest that its bytes had.
 * S3  The store is its owner's alone (mode 0700): it holds setuid files of strangers.
 * S4  An archive is unpacked by a process of its own that can do nothing but make files below its directory.
 * Owner: any process; the lock orders them. */
#ifndef PENUMBRA_IMAGE_STORE_H
#define PENUMBRA_IMAGE_STORE_H

#include "base/util.h"

#define IMAGE_ANNOTATION_ENTRYPOINT "org.penumbra.image.entrypoint" /* how many of process.args are the entrypoint */

struct store_options {
	const char *path;  /* NULL: store_default_path() */
	u64 limit;         /* plain bytes of an image's layers, together */
};

struct stored_image {
	int lock;             /* shared; close it once the container is made */
	char bundle[4096];    /* directory with config.json */
	char id[65];
	u64 layers, unpacked; /* how many, and how many of them were not there yet */
	u64 skipped;          /* device nodes that were left out */
};

/* /var/lib/penumbra/store for root, else $XDG_DATA_HOME/penumbra/store or ~/.local/share/penumbra/store. */
int store_default_path(char *out, size_t size, struct err *e);

/* Brings the image `reference` into the store and says where its bundle is.  A reference is the path of a layout
 * directory or archive, with ":NAME" or "@sha256:HEX" behind it where there are several images, and "oci:",
 * "oci-archive:" or "docker-archive:" before it as other tools want it; else a name or digest that is in the store. */
int store_image(const char *reference, const struct store_options *o, struct stored_image *out, struct err *e);

/* A private, writable copy of a stored root, made below STORE/tmp's sibling `copies` under `name`; path to *out. */
int store_copy(const struct stored_image *i, const char *root, const char *name, char *out, size_t size, struct err *e);
/* Removes that copy. */
int store_copy_remove(const char *path, struct err *e);

/* Calls `visit` for each image: id, names (separated by newlines), layers, bytes of its layers on disk. */
typedef void store_visit(const char *id, const char *names, u64 layers, u64 bytes, void *arg);
int store_list(const struct store_options *o, store_visit *visit, void *arg, struct err *e);
/* Removes the image called `name` (a name or at least 8 digits of its digest); NULL: all.  Those whose root is in
 * `used`, separated by newlines, stay.  Then layers and trees that no image has go. */
int store_remove(const struct store_options *o, const char *name, const char *used, u64 *removed, struct err *e);

#endif
