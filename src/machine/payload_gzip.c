/* SPDX-License-Identifier: MIT
 * gzip payloads (RFC 1952), by zlib. */
#include <errno.h>
#include <zlib.h>

#include "machine/payload.h"

#define GZIP_WINDOW (15 + 16) /* largest window; gzip header required */

int payload_gzip(struct payload_in in, struct payload_out out, struct err *e)
{
	z_stream z = { .next_in = (Bytef *)in.bytes, .next_out = out.bytes };
	int rc;

	if (in.size > UINT32_MAX || out.room > UINT32_MAX)
		return err_set(e, -EINVAL, "too large");
	z.avail_in = (uInt)in.size;
	z.avail_out = (uInt)out.room;
	if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
		return err_set(e, -ENOMEM, "no memory");
	rc = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	if (rc == Z_MEM_ERROR)
		return err_set(e, -ENOMEM, "no memory");
	if (rc != Z_STREAM_END)
		return err_set(e, -EINVAL, "corrupt or cut short");
	if (z.avail_out)
		return err_set(e, -EINVAL, "shorter than it says");
	return 0;
}
