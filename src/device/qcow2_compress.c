/* SPDX-License-Identifier: MIT
 * qcow2: compressed clusters, read only; a write makes an ordinary one of them. */
#include "device/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define ZLIB_WINDOW (-12) /* raw deflate data with a window of 4 KiB */

void q2_compressed_range(const struct q2 *q, u64 entry, u64 *at, u64 *size)
{
	u32 shift = 62 - (q->bits - 8);
	u64 offset = entry & ((1ull << shift) - 1), sectors = (entry >> shift & ((1ull << (q->bits - 8)) - 1)) + 1;

	*at = offset & ~511ull;
	*size = sectors * 512;
}

static int inflate_cluster(const u8 *in, u64 n, u8 *out, u64 size)
{
	z_stream z = { .next_in = (u8 *)(uintptr_t)in, .avail_in = (u32)n, .next_out = out, .avail_out = (u32)size };
	int r;

	if (inflateInit2(&z, ZLIB_WINDOW) != Z_OK)
		return -ENOMEM;
	r = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* What follows the data is not known to be ours; only the output counts. */
	return (r == Z_STREAM_END || r == Z_BUF_ERROR) && !z.avail_out ? 0 : -EIO;
}

static int zstd_cluster(const u8 *in, u64 n, u8 *out, u64 size)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer from = { in, n, 0 };
	ZSTD_outBuffer to = { out, size, 0 };
	size_t r = 1;

	while (z && r && !ZSTD_isError(r) && to.pos < size) {
		size_t before = from.pos + to.pos;

		r = ZSTD_decompressStream(z, &to, &from);
		if (from.pos + to.pos == before)
			break;
	}
	ZSTD_freeDStream(z);
	return to.pos == size ? 0 : -EIO;
}

int q2_decompress(struct q2 *q, u64 entry, u8 *out)
{
	u64 at, size, skip = entry & 511;
	u8 *in;
	int rc;

	q2_compressed_range(q, entry, &at, &size);
	if (!at)
		return q2_damaged(q);
	in = malloc(size);
	rc = in ? file_read(q->disk->fd, in, size, at) : -ENOMEM;
	if (!rc && q->head.compression == Q2_COMPRESS_ZSTD)
		rc = zstd_cluster(in + skip, size - skip, out, q->cluster);
	else if (!rc)
		rc = inflate_cluster(in + skip, size - skip, out, q->cluster);
	free(in);
	return rc;
}
