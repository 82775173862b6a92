/* SPDX-License-Identifier: MIT
 * Shared by the files of the store. */
#ifndef PENUMBRA_IMAGE_STORE_PRIVATE_H
#define PENUMBRA_IMAGE_STORE_PRIVATE_H

#include "image/archive.h"
#include "image/store.h"

enum store_dir { STORE_LAYERS, STORE_TREES, STORE_IMAGES, STORE_COPIES, STORE_TMP, STORE_DIRS };

struct store {
	char path[3072];
	int dir[STORE_DIRS], lock;
};

#define STORE_NAMES_MAX 65536

/* Opens the store, made when it is missing, and takes the lock (LOCK_SH or LOCK_EX). */
int store_open(struct store *s, const struct store_options *o, int lock, struct err *e);
void store_close(struct store *s);

/* Finds the image called `name` by name or by at least 8 digits of its digest: 0, -ENOENT, or -EINVAL when two fit. */
int store_find(struct store *s, const char *name, char id[65], struct err *e);
/* Gives `name` to the image `id` and takes it from any other.  With the lock exclusive. */
int store_name(struct store *s, const char *id, const char *name, struct err *e);
/* Whether one of the lines of `list` is `name`. */
bool store_line(const char *list, const char *name);

/* Unpacks layers of the archive that are not there, some at a time, each into STORE/tmp and then to its place. */
int store_unpack(struct store *s, struct archive *a, struct image *i, u64 limit, struct stored_image *out, struct err *e);

/* config.json for the image, its root being ../../trees/CHAIN. */
int image_write_config(const struct image *i, int tree, const char *chain, struct text *t, struct err *e);

#endif
