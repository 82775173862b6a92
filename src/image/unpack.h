/* SPDX-License-Identifier: MIT
 * A layer's archive as a directory of its own, and layers put together as a root directory.
 *
 * A layer lies apart from those below it, so that images share it.  What the archive says beyond files - names to
 * remove below, directories that it only passes through - goes to a list of records, each a letter and a path,
 * terminated by a NUL:
 *	w PATH  a whiteout: PATH of the layers below is gone
 *	o PATH  the directory PATH hides what is below
 *	i PATH  PATH is only implied by what lies in it: what is below keeps its owner and mode
 *	e PATH  PATH was implied, and was then described after all
 *	h PATH  hard link to a file of a layer below, whose path is the next record, `t`
 *
 * Invariants
 * U1  No path of an archive is followed through a symbolic link or "..": names are resolved with openat2
 *     (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) from the layer's own directory.
 * U2  Files of a layer are never written after unpacking: the roots made of them are hard links.
 * Sources: OCI image specification 1.1, layer.md. */
#ifndef PENUMBRA_IMAGE_UNPACK_H
#define PENUMBRA_IMAGE_UNPACK_H

#include "base/util.h"
#include "image/blob.h"

#define LAYER_ENTRIES_MAX (2u << 20)
#define LAYER_DEPTH_MAX 200 /* directories; three descriptors are open for each while merging */

/* Makes the files of the archive `b` in `tree`, an empty directory, and appends to `list`.  `owner`: owners can be
 * given away and kept (root); else everything is the caller's.  Device nodes are not made, *skipped counts them. */
int layer_unpack(int tree, struct blob *b, bool owner, struct text *list, u64 *skipped, struct err *e);

/* Puts the layer on top of what is in `tree`: hard links where the file system allows, else copies. */
int layer_merge(int tree, int layer, const char *list, size_t length, bool owner, struct err *e);

/* Removes `name` and all below it; 0 when there is none. */
int tree_remove(int dir, const char *name);
/* Copies all of `from` into the empty directory `to`, file contents shared where the file system can. */
int tree_copy(int from, int to, bool owner, struct err *e);

#endif
