/* SPDX-License-Identifier: MIT
 * LZ4 payloads, by liblz4: the legacy frame (LZ4 frame format, "Legacy frame"), which is a magic
 * number and blocks of a size word and data, each of 8 MiB unpacked but the last.  The frame has no
 * end mark; in a kernel the four bytes of the unpacked size follow it, so the blocks end there. */
#include <errno.h>
#include <lz4.h>
#include <string.h>

#include "machine/payload.h"

#define LEGACY_MAGIC 0x184c2102u
#define BLOCK_MAX (8u << 20)

int payload_lz4(struct payload_in in, struct payload_out out, struct err *e)
{
	size_t at = 0, done = 0, end = in.size - 4;
	u32 word;
	int n;

	while (end - at >= 4) {
		memcpy(&word, in.bytes + at, 4);
		at += 4;
		if (word == LEGACY_MAGIC)
			continue;
		if (word > end - at || word > (u32)LZ4_compressBound(BLOCK_MAX))
			return err_set(e, -EINVAL, "corrupt or cut short");
		n = LZ4_decompress_safe((const char *)in.bytes + at, (char *)out.bytes + done,
					(int)word, (int)MIN(out.room - done, (size_t)BLOCK_MAX));
		if (n < 0)
			return err_set(e, -EINVAL, "corrupt");
		at += word;
		done += (size_t)n;
	}
	if (at != end)
		return err_set(e, -EINVAL, "corrupt or cut short");
	if (done != out.room)
		return err_set(e, -EINVAL, "shorter than it says");
	return 0;
}
