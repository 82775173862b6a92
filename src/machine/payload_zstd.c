/* SPDX-License-Identifier: MIT
 * zstd payloads (RFC 8878), by libzstd. */
#include <errno.h>
#include <zstd.h>

#include "machine/payload.h"

int payload_zstd(struct payload_in in, struct payload_out out, struct err *e)
{
	ZSTD_inBuffer i = { in.bytes, in.size, 0 };
	ZSTD_outBuffer o = { out.bytes, out.room, 0 };
	ZSTD_DStream *s = ZSTD_createDStream();
	size_t rc, before;

	if (!s)
		return err_set(e, -ENOMEM, "no memory");
	/* 0: the frame has ended; otherwise go on while there is progress. */
	do {
		before = i.pos + o.pos;
		rc = ZSTD_decompressStream(s, &o, &i);
	} while (rc && !ZSTD_isError(rc) && i.pos + o.pos != before);
	ZSTD_freeDStream(s);
	if (ZSTD_isError(rc))
		return err_set(e, -EINVAL, "corrupt: %s", ZSTD_getErrorName(rc));
	if (rc)
		return err_set(e, -EINVAL, "corrupt or cut short");
	if (o.pos != o.size)
		return err_set(e, -EINVAL, "shorter than it says");
	return 0;
}
