/* SPDX-License-Identifier: MIT
 * What archive.c offers manifest.c. */
#ifndef PENUMBRA_IMAGE_ARCHIVE_PRIVATE_H
#define PENUMBRA_IMAGE_ARCHIVE_PRIVATE_H

#include "image/archive.h"

/* A small member, terminated; with `digest` it must have that.  *out is to be freed even after an error. */
int archive_text(struct archive *a, const char *name, const struct digest *digest, char **out, struct err *e);
bool archive_has(struct archive *a, const char *name);

#endif
