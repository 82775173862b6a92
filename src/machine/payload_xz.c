/* SPDX-License-Identifier: MIT
 * xz and lzma payloads, by liblzma. */
#include <errno.h>
#include <lzma.h>

#include "machine/payload.h"

static int decode(lzma_stream *s, lzma_ret init, struct payload_in in, struct payload_out out,
		  struct err *e)
{
	lzma_ret rc = init;

	if (rc == LZMA_OK) {
		s->next_in = in.bytes;
		s->avail_in = in.size;
		s->next_out = out.bytes;
		s->avail_out = out.room;
		/* Ends by itself: a second call without progress is LZMA_BUF_ERROR. */
		do
			rc = lzma_code(s, LZMA_RUN);
		while (rc == LZMA_OK);
	}
	lzma_end(s);
	if (rc == LZMA_MEM_ERROR)
		return err_set(e, -ENOMEM, "no memory");
	if (rc == LZMA_MEMLIMIT_ERROR)
		return err_set(e, -EINVAL, "wants a dictionary of more than %llu MiB",
			       PAYLOAD_MEMORY_MAX >> 20);
	if (rc != LZMA_STREAM_END)
		return err_set(e, -EINVAL, "corrupt or cut short");
	if (s->avail_out)
		return err_set(e, -EINVAL, "shorter than it says");
	return 0;
}

int payload_xz(struct payload_in in, struct payload_out out, struct err *e)
{
	lzma_stream s = LZMA_STREAM_INIT;

	return decode(&s, lzma_stream_decoder(&s, PAYLOAD_MEMORY_MAX, 0), in, out, e);
}

int payload_lzma(struct payload_in in, struct payload_out out, struct err *e)
{
	lzma_stream s = LZMA_STREAM_INIT;

	return decode(&s, lzma_alone_decoder(&s, PAYLOAD_MEMORY_MAX), in, out, e);
}
