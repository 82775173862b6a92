/* SPDX-License-Identifier: MIT
 * Where an image comes from: a directory or an archive with an OCI image layout, or an archive as `docker save` makes
 * it.  Finds members by name and tells which manifest, configuration and layers an image has.
 *
 * All of it is hostile.  What is returned was checked for form: digests parse, counts are bounded, the manifest and the
 * configuration have the digests by which they are named.  Layers are checked when they are read.
 * Owner: the caller.  No lock.  Sources: OCI image specification 1.1, image-layout.md, image-index.md, manifest.md,
 * config.md; the docker archive as moby's image/tarexport writes it. */
#ifndef PENUMBRA_IMAGE_ARCHIVE_H
#define PENUMBRA_IMAGE_ARCHIVE_H

#include "base/util.h"
#include "image/blob.h"

#define IMAGE_LAYERS_MAX 512
#define IMAGE_TEXT_MAX (4u << 20) /* of a manifest or configuration */

struct archive;

/* Opens the layout directory or archive file `path`.  A packed archive is unpacked to a nameless file in the directory
 * `scratch` first, at most `limit` bytes. */
int archive_open(struct archive **out, const char *path, int scratch, u64 limit, struct err *e);
void archive_close(struct archive *a);
/* Whether a directory is an image layout. */
bool archive_is_layout(const char *path);

struct image_layer {
	char *member;            /* name in the archive */
	struct digest stored;    /* of the member; empty for docker's, which names none */
	struct digest diff;      /* of the plain bytes: what the layer is called in the store */
};

struct image_strings { char **v; size_t n; bool set; };

struct image {
	struct digest config;    /* what the image is called in the store */
	char *name;              /* as the archive calls it, or NULL */
	struct image_layer *layer;
	size_t layers;
	struct image_strings entrypoint, cmd, env;
	char *user, *working_dir, *stop_signal;
	char *config_text;
};

/* Reads the image called `wanted` (a name, or "sha256:..." of a manifest or configuration); NULL: the only one there
 * is, for this processor.  Free with image_free() in any case. */
int archive_image(struct archive *a, const char *wanted, struct image *out, struct err *e);
void image_free(struct image *i);

/* The member as a blob of at most `limit` plain bytes; close it before the archive. */
int archive_layer(struct archive *a, const struct image_layer *layer, u64 limit, struct blob **out, struct err *e);

#endif
