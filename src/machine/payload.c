/* SPDX-License-Identifier: MIT */
#include "machine/payload.h"

#define BUFFER_ALIGN (2u << 20)

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Magic numbers: RFC 1952; the .xz format 1.0.4 section 2.1.1.1; lzma 0x5d with a power-of-two
 * dictionary; bzip2; RFC 8878; LZ4 frame format, legacy frame. */
static const struct payload_format formats[] = {
	{ "ELF", { 0x7f, 'E', 'L', 'F' }, 4, NULL },
	{ "gzip", { 0x1f, 0x8b }, 2, payload_gzip },
	{ "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, payload_xz },
	{ "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4, payload_zstd },
	{ "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4, payload_lz4 },
	{ "bzip2", { 'B', 'Z', 'h' }, 3, payload_bzip2 },
	{ "lzma", { 0x5d, 0, 0 }, 3, payload_lzma },
};

const struct payload_format *payload_identify(const u8 *bytes, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (size >= formats[i].magic_size &&
		    !memcmp(bytes, formats[i].magic, formats[i].magic_size))
			return &formats[i];
	return NULL;
}

int payload_unpack(struct payload_in in, size_t limit, u8 **out, size_t *out_size,
		   const char **format_name, struct err *e)
{
	const struct payload_format *f = payload_identify(in.bytes, in.size);
	u32 size;
	u8 *buffer;
	int rc;

	if (!f)
		return err_set(e, -EINVAL, "payload is of no known compression");
	*format_name = f->name;
	if (f->decode) {
		if (in.size < f->magic_size + 4)
			return err_set(e, -EINVAL, "%s payload is cut short", f->name);
		memcpy(&size, in.bytes + in.size - 4, 4);
	} else {
		if (in.size > UINT32_MAX)
			return err_set(e, -E2BIG, "payload of %zu bytes", in.size);
		size = (u32)in.size;
	}
	if (!size)
		return err_set(e, -EINVAL, "%s payload is empty", f->name);
	if (size > limit)
		return err_set(e, -E2BIG, "%s payload of %u MiB unpacked is too large for the memory",
			       f->name, size >> 20);
	/* In large pages it is filled without a fault for every 4 KiB. */
	buffer = size < BUFFER_ALIGN ? malloc(size) : aligned_alloc(BUFFER_ALIGN, ALIGN_UP(size, BUFFER_ALIGN));
	if (!buffer)
		return err_set(e, -ENOMEM, "%s payload: no memory for %u MiB", f->name, size >> 20);
	if (size >= BUFFER_ALIGN)
		madvise(buffer, ALIGN_UP(size, BUFFER_ALIGN), MADV_HUGEPAGE);
	if (f->decode) {
		rc = f->decode(in, (struct payload_out){ buffer, size }, e);
		if (rc) {
			free(buffer);
			err_prefix(e, "%s payload", f->name);
			return rc;
		}
	} else {
		memcpy(buffer, in.bytes, size);
	}
	*out = buffer;
	*out_size = size;
	return 0;
}
