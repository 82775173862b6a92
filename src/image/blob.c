/* SPDX-License-Identifier: MIT */
#include "image/blob.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define BLOB_ROOM 131072
#define ZSTD_WINDOW_LOG_MAX 27 /* 128 MiB: what a decoder must offer at most for `zstd --ultra` */

enum packing { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD };

struct blob {
	int fd;
	u64 at, left;          /* what is not yet read of the file */
	u64 plain, limit;
	enum packing packing;
	bool inside;           /* in the middle of a compressed member */
	bool unchecked;        /* no digests are kept */
	struct sha256_ctx stored_hash, plain_hash;
	z_stream gzip;
	ZSTD_DStream *zstd;
	size_t in_start, in_end;
	u8 in[BLOB_ROOM];
};

bool digest_is_hex(const char *text, size_t length)
{
	return length == DIGEST_HEX && strspn(text, "0123456789abcdef") >= DIGEST_HEX;
}

int digest_parse(struct digest *d, const char *text)
{
	if (!text || strncmp(text, "sha256:", 7) || strlen(text) != 7 + DIGEST_HEX || !digest_is_hex(text + 7, DIGEST_HEX))
		return -EINVAL;
	memcpy(d->hex, text + 7, DIGEST_HEX + 1);
	return 0;
}

static void digest_take(struct digest *d, struct sha256_ctx *hash)
{
	static const char digits[] = "0123456789abcdef";
	u8 raw[SHA256_DIGEST_SIZE];
	size_t i;

	sha256_digest(hash, sizeof raw, raw);
	for (i = 0; i < sizeof raw; i++) {
		d->hex[2 * i] = digits[raw[i] >> 4];
		d->hex[2 * i + 1] = digits[raw[i] & 15];
	}
	d->hex[DIGEST_HEX] = 0;
}

void digest_of(struct digest *d, const void *data, size_t length)
{
	struct sha256_ctx hash;

	sha256_init(&hash);
	sha256_update(&hash, length, data);
	digest_take(d, &hash);
}

/* Reads more of the file behind what is still unused; 0 at its end. */
static ssize_t refill(struct blob *b, struct err *e)
{
	ssize_t n;

	memmove(b->in, b->in + b->in_start, b->in_end - b->in_start);
	b->in_end -= b->in_start;
	b->in_start = 0;
	if (!b->left || b->in_end == sizeof b->in)
		return 0;
	do
		n = pread(b->fd, b->in + b->in_end, MIN(b->left, sizeof b->in - b->in_end), (off_t)b->at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, errno, "read");
	if (!n)
		return err_set(e, -EINVAL, "ends %llu bytes early", (unsigned long long)b->left);
	if (!b->unchecked)
		sha256_update(&b->stored_hash, (size_t)n, b->in + b->in_end);
	b->in_end += (size_t)n;
	b->at += (u64)n;
	b->left -= (u64)n;
	return n;
}

static int open_packing(struct blob *b, struct err *e)
{
	static const u8 zstd_magic[] = { 0x28, 0xb5, 0x2f, 0xfd };
	const u8 *p = b->in;

	if (b->in_end >= 3 && p[0] == 0x1f && p[1] == 0x8b && p[2] == 8) {
		b->packing = PACKING_GZIP;
		if (inflateInit2(&b->gzip, 16 + MAX_WBITS) != Z_OK)
			return err_set(e, -ENOMEM, "out of memory");
	} else if (b->in_end >= 4 && (!memcmp(p, zstd_magic, 4) || ((p[0] & 0xf0) == 0x50 && p[1] == 0x2a &&
								      p[2] == 0x4d && p[3] == 0x18))) {
		b->packing = PACKING_ZSTD; /* the second magic is a skippable frame */
		b->zstd = ZSTD_createDStream();
		if (!b->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(b->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
			return err_set(e, -ENOMEM, "out of memory");
	} else if ((b->in_end >= 6 && !memcmp(p, "\xfd" "7zXZ", 6)) || (b->in_end >= 3 && !memcmp(p, "BZh", 3))) {
		return err_set(e, -ENOTSUP, "is packed with xz or bzip2; images have gzip and zstd");
	}
	return 0;
}

int blob_open(struct blob **out, int fd, u64 offset, u64 size, u64 limit, struct err *e)
{
	struct blob *b = calloc(1, sizeof *b);
	int r = 0;

	*out = NULL;
	if (!b)
		return err_set(e, -ENOMEM, "out of memory");
	b->fd = fd;
	b->at = offset;
	b->left = size;
	b->limit = limit;
	sha256_init(&b->stored_hash);
	sha256_init(&b->plain_hash);
	while (!r && b->left && b->in_end < 6)
		r = (int)MIN(refill(b, e), 0);
	if (!r)
		r = open_packing(b, e);
	if (r) {
		blob_close(b);
		return r;
	}
	*out = b;
	return 0;
}

int blob_open_plain(struct blob **out, int fd, u64 size, u64 limit, struct err *e)
{
	int r = blob_open(out, fd, 0, size, limit, e);

	if (!r)
		(*out)->unchecked = true;
	return r;
}

bool blob_is_packed(const struct blob *b)
{
	return b->packing != PACKING_NONE;
}

u64 blob_skip(struct blob *b, u64 n)
{
	u64 done = MIN(n, b->in_end - b->in_start), more;

	if (!b->unchecked || b->packing != PACKING_NONE)
		return 0;
	b->in_start += done;
	more = MIN(n - done, b->left);
	b->at += more;
	b->left -= more;
	b->plain += done + more;
	return done + more;
}

/* Each returns the plain bytes made, 0 when more input is needed. */
static ssize_t step_gzip(struct blob *b, u8 *data, size_t size, struct err *e)
{
	int r;

	if (!b->inside && inflateReset(&b->gzip) != Z_OK)
		return err_set(e, -EINVAL, "gzip: cannot start");
	b->inside = true;
	b->gzip.next_in = b->in + b->in_start;
	b->gzip.avail_in = (uInt)(b->in_end - b->in_start);
	b->gzip.next_out = data;
	b->gzip.avail_out = (uInt)MIN(size, 1u << 30);
	size = b->gzip.avail_out;
	r = inflate(&b->gzip, Z_NO_FLUSH);
	b->in_start = b->in_end - b->gzip.avail_in;
	if (r == Z_STREAM_END)
		b->inside = false; /* another member may follow */
	else if (r != Z_OK && r != Z_BUF_ERROR)
		return err_set(e, -EINVAL, "gzip: %s", b->gzip.msg ? b->gzip.msg : "damaged data");
	return (ssize_t)(size - b->gzip.avail_out);
}

static ssize_t step_zstd(struct blob *b, u8 *data, size_t size, struct err *e)
{
	ZSTD_inBuffer in = { b->in + b->in_start, b->in_end - b->in_start, 0 };
	ZSTD_outBuffer out = { data, size, 0 };
	size_t r = ZSTD_decompressStream(b->zstd, &out, &in);

	if (ZSTD_isError(r))
		return err_set(e, -EINVAL, "zstd: %s", ZSTD_getErrorName(r));
	b->in_start += in.pos;
	b->inside = r != 0;
	return (ssize_t)out.pos;
}

static ssize_t step(struct blob *b, u8 *data, size_t size, struct err *e)
{
	size_t n = MIN(size, b->in_end - b->in_start);

	if (b->packing == PACKING_GZIP)
		return step_gzip(b, data, size, e);
	if (b->packing == PACKING_ZSTD)
		return step_zstd(b, data, size, e);
	memcpy(data, b->in + b->in_start, n);
	b->in_start += n;
	return (ssize_t)n;
}

ssize_t blob_read(struct blob *b, void *data, size_t size, struct err *e)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		if (b->in_start == b->in_end && b->left) {
			n = refill(b, e);
			if (n < 0)
				return n;
		}
		/* an empty input is offered as well: the unpacker may hold bytes back for want of room */
		if (b->in_start == b->in_end && !b->left && !b->inside)
			break;
		n = step(b, (u8 *)data + done, size - done, e);
		if (n < 0)
			return n;
		if (!n && b->in_start == b->in_end && !b->left && b->inside)
			return err_set(e, -EINVAL, "ends in the middle of packed data");
		done += (size_t)n;
		b->plain += (u64)n;
		if (b->plain > b->limit)
			return err_set(e, -EFBIG, "unpacks to more than %llu bytes", (unsigned long long)b->limit);
	}
	if (!b->unchecked)
		sha256_update(&b->plain_hash, done, data);
	return (ssize_t)done;
}

int blob_finish(struct blob *b, const struct digest *stored, const struct digest *plain, struct err *e)
{
	struct digest got;
	ssize_t n;
	u8 *rest = malloc(BLOB_ROOM);

	if (!rest)
		return err_set(e, -ENOMEM, "out of memory");
	do
		n = blob_read(b, rest, BLOB_ROOM, e);
	while (n > 0);
	free(rest);
	if (n < 0)
		return (int)n;
	digest_take(&got, &b->stored_hash);
	if (stored && strcmp(got.hex, stored->hex))
		return err_set(e, -EBADMSG, "its digest is sha256:%s, not sha256:%s", got.hex, stored->hex);
	digest_take(&got, &b->plain_hash);
	if (plain && strcmp(got.hex, plain->hex))
		return err_set(e, -EBADMSG, "its unpacked digest is sha256:%s, not sha256:%s", got.hex, plain->hex);
	return 0;
}

u64 blob_position(const struct blob *b)
{
	return b->plain;
}

void blob_close(struct blob *b)
{
	if (!b)
		return;
	if (b->packing == PACKING_GZIP)
		inflateEnd(&b->gzip);
	ZSTD_freeDStream(b->zstd);
	free(b);
}
