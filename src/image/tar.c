/* SPDX-License-Identifier: MIT */
#include "image/tar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512

/* POSIX.1-2017 pax(1), "ustar Header Block" */
struct ustar {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2],
		uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK, "a header is one block");

/* What extended headers say in place of the header's fields; one for the archive, one for the next entry. */
struct extended {
	u8 *text;             /* the records; names and values point into it */
	size_t length;
	bool has_path, has_link, has_size, has_uid, has_gid, has_mtime;
	const char *path, *link;
	u64 size, uid, gid;
	s64 mtime;
	u32 mtime_ns;
	struct tar_xattr xattr[TAR_XATTRS_MAX];
	size_t xattrs;
};

struct tar {
	struct blob *blob;
	u64 data, pad;        /* left of the entry: data, then filling */
	struct extended global, next;
	char *long_path, *long_link; /* GNU's */
	struct tar_entry entry;
};

static int bad(const struct tar *t, struct err *e, const char *what)
{
	return err_set(e, -EINVAL, "tar: %s, at byte %llu", what, (unsigned long long)blob_position(t->blob));
}

int tar_open(struct tar **out, struct blob *b, struct err *e)
{
	*out = calloc(1, sizeof **out);
	if (!*out)
		return err_set(e, -ENOMEM, "out of memory");
	(*out)->blob = b;
	return 0;
}

static void extended_free(struct extended *x)
{
	free(x->text);
	*x = (struct extended){ 0 };
}

static void forget_next(struct tar *t)
{
	extended_free(&t->next);
	free(t->long_path);
	free(t->long_link);
	t->long_path = t->long_link = NULL;
}

void tar_close(struct tar *t)
{
	if (!t)
		return;
	forget_next(t);
	extended_free(&t->global);
	free(t);
}

/* Octal digits with blanks around them, or GNU's base 256 (the top bit of the first byte set). */
static int number(const char *field, size_t n, s64 *out)
{
	const u8 *p = (const u8 *)field, *end = p + n;
	u64 v = 0;

	if (*p & 0x80) {
		bool negative = *p & 0x40;

		v = negative ? ~0ull << 7 | *p : *p & 0x3f;
		for (p++; p < end; p++) {
			u64 top = v >> 55;

			if (top && top != 0x1ff)
				return -ERANGE;
			v = v << 8 | *p;
		}
		*out = (s64)v;
		return (v >> 63) == negative ? 0 : -ERANGE;
	}
	while (p < end && *p == ' ')
		p++;
	for (; p < end && *p >= '0' && *p <= '7'; p++)
		v = v << 3 | (u64)(*p - '0'); /* 12 digits at most: 36 bits */
	for (; p < end; p++)
		if (*p && *p != ' ')
			return -EINVAL;
	*out = (s64)v;
	return 0;
}

static bool checksum_right(const struct ustar *h)
{
	const u8 *p = (const u8 *)h;
	size_t at = offsetof(struct ustar, checksum), i;
	s64 wanted, sum = 0, other = 0;

	for (i = 0; i < BLOCK; i++) {
		u8 byte = i >= at && i < at + sizeof h->checksum ? ' ' : p[i];

		sum += byte;
		other += (s8)byte; /* some old programs added signed characters */
	}
	return !number(h->checksum, sizeof h->checksum, &wanted) && (wanted == sum || wanted == other);
}

/* "123", "-1.5": seconds with a fraction */
static int parse_time(const char *s, s64 *seconds, u32 *ns)
{
	char *end;
	u32 unit = 100000000;

	errno = 0;
	*seconds = strtoll(s, &end, 10);
	*ns = 0;
	if (errno || end == s)
		return -EINVAL;
	if (*end == '.')
		for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10)
			*ns += unit * (u32)(*end - '0');
	if (*s == '-' && *ns) { /* toward zero is not what the fraction means */
		*ns = 1000000000 - *ns;
		(*seconds)--;
	}
	return *end ? -EINVAL : 0;
}

static int parse_number(const char *s, u64 *out)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	return errno || end == s || *end || *s < '0' || *s > '9' ? -EINVAL : 0;
}

/* One record; both are terminated, the value may hold NULs. */
static int take_record(struct tar *t, struct extended *x, const char *key, const char *value, size_t length, struct err *e)
{
	static const char schily[] = "SCHILY.xattr.";
	bool text = strlen(value) == length;
	int r = 0;

	if (!strncmp(key, schily, sizeof schily - 1) && key[sizeof schily - 1]) {
		if (x->xattrs == TAR_XATTRS_MAX)
			return bad(t, e, "more than 64 extended attributes");
		x->xattr[x->xattrs++] = (struct tar_xattr){ key + sizeof schily - 1, (const u8 *)value, length };
	} else if (!strcmp(key, "path")) {
		x->path = value;
		x->has_path = true;
		r = text && length && length < TAR_PATH_MAX ? 0 : bad(t, e, "a path is empty, too long, or holds a NUL");
	} else if (!strcmp(key, "linkpath")) {
		x->link = value;
		x->has_link = true;
		r = text && length < TAR_PATH_MAX ? 0 : bad(t, e, "a link is too long or holds a NUL");
	} else if (!strcmp(key, "size")) {
		x->has_size = true;
		r = parse_number(value, &x->size) ? bad(t, e, "size is no number") : 0;
	} else if (!strcmp(key, "uid")) {
		x->has_uid = true;
		r = parse_number(value, &x->uid) ? bad(t, e, "uid is no number") : 0;
	} else if (!strcmp(key, "gid")) {
		x->has_gid = true;
		r = parse_number(value, &x->gid) ? bad(t, e, "gid is no number") : 0;
	} else if (!strcmp(key, "mtime")) {
		x->has_mtime = true;
		r = parse_time(value, &x->mtime, &x->mtime_ns) ? bad(t, e, "mtime is no time") : 0;
	} else if (!strncmp(key, "GNU.sparse.", 11)) {
		r = bad(t, e, "sparse files are not supported");
	}
	return r;
}

/* "LENGTH KEY=VALUE\n", LENGTH counting the whole record. */
static int parse_extended(struct tar *t, struct extended *x, struct err *e)
{
	u8 *p = x->text, *end = x->text + x->length;

	while (p < end) {
		u64 n = 0;
		u8 *q = p, *equals;
		int r;

		for (; q < end && *q >= '0' && *q <= '9' && n <= TAR_EXTENDED_MAX; q++)
			n = n * 10 + (u64)(*q - '0');
		if (q == p || q >= end || *q != ' ' || n < (u64)(q - p) + 4 || n > (u64)(end - p) || p[n - 1] != '\n')
			return bad(t, e, "an extended header has a wrong record");
		p[n - 1] = 0;
		q++;
		equals = memchr(q, '=', (size_t)(p + n - 1 - q));
		if (!equals || equals == q)
			return bad(t, e, "an extended header has a wrong record");
		*equals = 0;
		r = take_record(t, x, (char *)q, (char *)equals + 1, (size_t)(p + n - 1 - equals - 1), e);
		if (r)
			return r;
		p += n;
	}
	return 0;
}

/* The data of a header that describes the next entry, terminated. */
static int read_text(struct tar *t, u8 **out, size_t *length, u64 size, u64 max, struct err *e)
{
	u64 room = ALIGN_UP(size, BLOCK);
	ssize_t n;

	if (size > max)
		return bad(t, e, "a name or an extended header is too long");
	*out = malloc(room + 1);
	if (!*out)
		return err_set(e, -ENOMEM, "out of memory");
	n = blob_read(t->blob, *out, room, e);
	if (n < 0 || (u64)n < room) {
		free(*out);
		*out = NULL;
		return n < 0 ? (int)n : bad(t, e, "ends in the middle of a header");
	}
	(*out)[size] = 0;
	*length = size;
	return 0;
}

static int read_extended(struct tar *t, struct extended *x, u64 size, struct err *e)
{
	int r;

	extended_free(x);
	r = read_text(t, &x->text, &x->length, size, TAR_EXTENDED_MAX, e);
	return r ? r : parse_extended(t, x, e);
}

static int read_long(struct tar *t, char **out, u64 size, struct err *e)
{
	size_t n;

	free(*out);
	*out = NULL;
	return read_text(t, (u8 **)out, &n, size, TAR_PATH_MAX - 1, e);
}

static int skip(struct tar *t, u64 n, struct err *e)
{
	u8 room[16384];

	n -= blob_skip(t->blob, n);

	while (n) {
		ssize_t got = blob_read(t->blob, room, MIN(n, sizeof room), e);

		if (got <= 0)
			return got ? (int)got : bad(t, e, "ends in the middle of a file");
		n -= (u64)got;
	}
	return 0;
}

static void take_names(struct tar *t, const struct ustar *h)
{
	struct tar_entry *x = &t->entry;
	const char *path = t->next.has_path ? t->next.path : t->long_path;
	const char *link = t->next.has_link ? t->next.link : t->long_link;
	size_t prefix = memcmp(h->magic, "ustar", 6) ? 0 : strnlen(h->prefix, sizeof h->prefix);

	if (path)
		snprintf(x->path, sizeof x->path, "%s", path);
	else
		snprintf(x->path, sizeof x->path, "%.*s%s%.*s", (int)prefix, h->prefix, prefix ? "/" : "",
			 (int)sizeof h->name, h->name);
	if (link)
		snprintf(x->link, sizeof x->link, "%s", link);
	else
		snprintf(x->link, sizeof x->link, "%.*s", (int)sizeof h->link, h->link);
}

/* The fields: from the entry's own extended header, else the archive's, else the header. */
#define PICK(field, plain) \
	(t->next.has_##field ? t->next.field : t->global.has_##field ? t->global.field : (plain))

static int take_entry(struct tar *t, const struct ustar *h, u64 size, struct err *e)
{
	struct tar_entry *x = &t->entry;
	s64 mode, uid, gid, mtime, major = 0, minor = 0;
	size_t n;

	if (number(h->mode, sizeof h->mode, &mode) || number(h->uid, sizeof h->uid, &uid) ||
	    number(h->gid, sizeof h->gid, &gid) || number(h->mtime, sizeof h->mtime, &mtime))
		return bad(t, e, "a header has a wrong number");
	take_names(t, h);
	x->type = h->type ? (enum tar_type)h->type : TAR_FILE;
	if (h->type == '7')
		x->type = TAR_FILE;
	n = strlen(x->path);
	if (x->type == TAR_FILE && n && x->path[n - 1] == '/')
		x->type = TAR_DIRECTORY; /* from before there was a type for it */
	if (x->type < TAR_FILE || x->type > TAR_FIFO)
		return err_set(e, -EINVAL, "tar: %.200s: an entry of unknown type '%c'", x->path,
			       h->type >= ' ' && h->type < 127 ? h->type : '?');
	if ((x->type == TAR_CHAR || x->type == TAR_BLOCK) &&
	    (number(h->major, sizeof h->major, &major) || number(h->minor, sizeof h->minor, &minor)))
		return bad(t, e, "a header has a wrong number");
	x->major = (u32)major;
	x->minor = (u32)minor;
	x->mode = (u32)mode & 07777;
	x->uid = PICK(uid, (u64)uid);
	x->gid = PICK(gid, (u64)gid);
	x->mtime_ns = t->next.has_mtime ? t->next.mtime_ns : t->global.has_mtime ? t->global.mtime_ns : 0;
	x->mtime = PICK(mtime, mtime);
	if (x->uid > 0xfffffffe || x->gid > 0xfffffffe)
		return bad(t, e, "an owner is out of range");
	x->size = x->type == TAR_FILE ? size : 0;
	t->data = size;
	t->pad = ALIGN_UP(size, BLOCK) - size;
	memcpy(x->xattr, t->next.xattr, sizeof x->xattr);
	x->xattrs = t->next.xattrs;
	return x->path[0] ? 1 : bad(t, e, "an entry has no name");
}

/* A header and what describes it: 1 for an entry, 0 for a header that said something of the next, -errno. */
static int take_header(struct tar *t, const struct ustar *h, struct err *e)
{
	s64 field;
	u64 size;

	if (!checksum_right(h))
		return bad(t, e, "a header's checksum is wrong (is this a tar archive?)");
	if (number(h->size, sizeof h->size, &field) || field < 0)
		return bad(t, e, "a header has a wrong size");
	size = (u64)field;
	switch (h->type) {
	case 'x':
		return read_extended(t, &t->next, size, e);
	case 'g':
		return read_extended(t, &t->global, size, e);
	case 'L':
		return read_long(t, &t->long_path, size, e);
	case 'K':
		return read_long(t, &t->long_link, size, e);
	}
	size = PICK(size, size);
	/* links and directories have no data, whatever the header says of the size of what they name */
	if (h->type >= TAR_HARD_LINK && h->type <= TAR_FIFO)
		size = 0;
	if (size > (u64)INT64_MAX - BLOCK)
		return bad(t, e, "a header has a wrong size");
	return take_entry(t, h, size, e);
}

int tar_next(struct tar *t, const struct tar_entry **entry, struct err *e)
{
	static const char zero[BLOCK];
	struct ustar h;
	int r = skip(t, t->data, e);

	if (!r)
		r = skip(t, t->pad, e);
	t->data = t->pad = 0;
	forget_next(t);
	while (!r) {
		ssize_t n = blob_read(t->blob, &h, sizeof h, e);

		if (n < 0)
			return (int)n;
		if (!n || !memcmp(&h, zero, sizeof h))
			return t->next.text || t->long_path || t->long_link ? bad(t, e, "ends behind a header") : 0;
		if (n < (ssize_t)sizeof h)
			return bad(t, e, "ends in the middle of a header");
		r = take_header(t, &h, e);
	}
	*entry = &t->entry;
	return r;
}

ssize_t tar_read(struct tar *t, void *data, size_t size, struct err *e)
{
	ssize_t n;

	if (!t->data || !size)
		return 0;
	n = blob_read(t->blob, data, MIN(size, t->data), e);
	if (!n)
		return bad(t, e, "ends in the middle of a file");
	if (n > 0)
		t->data -= (u64)n;
	return n;
}
