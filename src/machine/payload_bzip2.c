/* SPDX-License-Identifier: MIT
 * bzip2 payloads, by libbz2. */
#include <bzlib.h>
#include <errno.h>

#include "machine/payload.h"

int payload_bzip2(struct payload_in in, struct payload_out out, struct err *e)
{
	bz_stream z = { .next_in = (char *)in.bytes, .next_out = (char *)out.bytes };
	unsigned int before;
	int rc;

	if (in.size > UINT32_MAX || out.room > UINT32_MAX)
		return err_set(e, -EINVAL, "too large");
	z.avail_in = (unsigned int)in.size;
	z.avail_out = (unsigned int)out.room;
	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return err_set(e, -ENOMEM, "no memory");
	do {
		before = z.avail_in + z.avail_out;
		rc = BZ2_bzDecompress(&z);
	} while (rc == BZ_OK && z.avail_in + z.avail_out != before);
	BZ2_bzDecompressEnd(&z);
	if (rc == BZ_MEM_ERROR)
		return err_set(e, -ENOMEM, "no memory");
	if (rc != BZ_STREAM_END)
		return err_set(e, -EINVAL, "corrupt or cut short");
	if (z.avail_out)
		return err_set(e, -EINVAL, "shorter than it says");
	return 0;
}
