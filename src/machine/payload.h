/* SPDX-License-Identifier: MIT
 * Kernel payloads: one decompressor per format, found by its magic bytes.
 *
 * A new format is one file payload_NAME.c and one row in the table of payload.c.  Input is hostile:
 * each decompressor works within the two buffers it is given and a bound on its own memory. */
#ifndef PENUMBRA_MACHINE_PAYLOAD_H
#define PENUMBRA_MACHINE_PAYLOAD_H

#include "base/err.h"
#include "base/types.h"

/* What a decompressor may need for itself: dictionaries of 128 MiB occur in kernels. */
#define PAYLOAD_MEMORY_MAX (256ull << 20)

struct payload_in {
	const u8 *bytes;
	size_t size;
};
struct payload_out {
	u8 *bytes;
	size_t room;
};

/* Decompresses one stream from the start of `in`, which may have other bytes after its end, into
 * `out`, which it must fill exactly.  0, -EINVAL for corrupt data, -ENOMEM. */
typedef int payload_decode(struct payload_in in, struct payload_out out, struct err *e);

payload_decode payload_gzip, payload_xz, payload_lzma, payload_bzip2, payload_zstd, payload_lz4;

struct payload_format {
	const char *name;
	u8 magic[8];
	size_t magic_size;
	payload_decode *decode; /* NULL: not compressed */
};

/* The format of these bytes, or NULL. */
const struct payload_format *payload_identify(const u8 *bytes, size_t size);

/* Decompresses a payload of a bzImage: the stream and, in its last four bytes, the size of what is
 * in it (x86/boot/compressed/Makefile of Linux: size_append; gzip has it anyway).  `*out` is
 * malloc()ed and belongs to the caller.  -EINVAL, -ENOMEM, -E2BIG beyond `limit` bytes. */
int payload_unpack(struct payload_in in, size_t limit, u8 **out, size_t *out_size,
		   const char **format_name, struct err *e);

#endif
