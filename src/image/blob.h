/* SPDX-License-Identifier: MIT
 * A blob of an image as a stream of plain bytes: a range of a file, unpacked when it is gzip or zstd, with the
 * digests of both the bytes as stored and the plain ones.
 *
 * Everything in a blob is hostile until blob_finish() has found both digests right; what was made of it before
 * must not be used when that fails.  Owner: the caller.  No lock, no global state.
 * Sources: OCI image specification 1.1, descriptor.md#digests and layer.md; RFC 1952; RFC 8878. */
#ifndef PENUMBRA_IMAGE_BLOB_H
#define PENUMBRA_IMAGE_BLOB_H

#include <sys/types.h>

#include "base/err.h"
#include "base/types.h"

#define DIGEST_HEX 64
/* "sha256:" and 64 lower-case digits; the only algorithm that images use. */
struct digest {
	char hex[DIGEST_HEX + 1];
};
/* Reads "sha256:HEX"; -EINVAL for anything else. */
int digest_parse(struct digest *d, const char *text);
/* Only the digits. */
bool digest_is_hex(const char *text, size_t length);
void digest_of(struct digest *d, const void *data, size_t length);

struct blob;

/* The bytes [offset, offset + size) of `fd`, which stays the caller's and is read with pread().  At most `limit`
 * plain bytes come out; more is an error, so that a small blob cannot become endless. */
int blob_open(struct blob **out, int fd, u64 offset, u64 size, u64 limit, struct err *e);
/* The same without digests, for a file whose parts have their own: blob_skip() then costs nothing. */
int blob_open_plain(struct blob **out, int fd, u64 size, u64 limit, struct err *e);
bool blob_is_packed(const struct blob *b);
/* Skips up to n bytes if that is possible without reading them; returns how many. */
u64 blob_skip(struct blob *b, u64 n);
/* Fills all of `data` unless the stream ends: returns the bytes read, 0 at the end, or a negative errno. */
ssize_t blob_read(struct blob *b, void *data, size_t size, struct err *e);
/* Reads what is left, then compares.  Either digest may be NULL: not compared. */
int blob_finish(struct blob *b, const struct digest *stored, const struct digest *plain, struct err *e);
/* Plain bytes read so far. */
u64 blob_position(const struct blob *b);
void blob_close(struct blob *b);

#endif
