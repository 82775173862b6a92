/* SPDX-License-Identifier: MIT
 * Members of a layout directory or of an archive. */
#include "image/archive.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "image/archive_private.h"
#include "image/tar.h"

#define MEMBERS_MAX 65536

struct member {
	char *name, *link; /* link: the name of another member */
	u64 offset, size;
};

struct archive {
	int fd;              /* the archive's file, or the layout's directory */
	bool directory;
	int opened;          /* the last member of a directory */
	struct member *member;
	size_t members, room;
};

bool archive_is_layout(const char *path)
{
	_cleanup_fd_ int dir = dir_open(path);

	return dir >= 0 && !faccessat(dir, "oci-layout", F_OK, 0) && !faccessat(dir, "index.json", F_OK, 0);
}

/* "./a//b" as "a/b": both are written. */
static char *plain_name(const char *path)
{
	char *out = malloc(strlen(path) + 1), *p = out;

	while (out && *path) {
		size_t n = strcspn(path, "/");

		if (n && !(n == 1 && *path == '.')) {
			if (p > out)
				*p++ = '/';
			memcpy(p, path, n);
			p += n;
		}
		path += n + strspn(path + n, "/");
	}
	if (out)
		*p = 0;
	return out;
}

/* A link's target, relative to the directory of the member: "../ID/layer.tar" as older dockers write. */
static char *link_target(const char *from, const char *link)
{
	char *joined, *p, *out;
	const char *slash = strrchr(from, '/');

	if (asprintf(&joined, "%.*s/%s", slash ? (int)(slash - from) : 0, from, link) < 0)
		return NULL;
	out = plain_name(joined);
	free(joined);
	while (out && (p = strstr(out, "../"))) { /* only "DIR/../" in front */
		char *before = p > out + 1 ? memrchr(out, '/', (size_t)(p - out - 1)) : NULL;
		char *to = p == out ? out : before ? before + 1 : out;

		memmove(to, p + 3, strlen(p + 3) + 1);
	}
	return out;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

static int add_member(struct archive *a, const struct tar_entry *x, u64 offset, struct err *e)
{
	struct member *m;

	if (x->type != TAR_FILE && x->type != TAR_SYMLINK && x->type != TAR_HARD_LINK)
		return 0;
	if (a->members == MEMBERS_MAX)
		return err_set(e, -EFBIG, "has more than %d members", MEMBERS_MAX);
	if (a->members == a->room) {
		size_t room = a->room ? a->room * 2 : 64;
		struct member *v = realloc(a->member, room * sizeof *v);

		if (!v)
			return err_set(e, -ENOMEM, "out of memory");
		a->member = v;
		a->room = room;
	}
	m = &a->member[a->members++];
	*m = (struct member){ .name = plain_name(x->path), .offset = offset, .size = x->size };
	if (x->type == TAR_SYMLINK && m->name)
		m->link = link_target(m->name, x->link);
	else if (x->type == TAR_HARD_LINK)
		m->link = plain_name(x->link);
	return m->name && (m->link || x->type == TAR_FILE) ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int read_members(struct archive *a, struct blob *b, struct err *e)
{
	const struct tar_entry *x;
	struct tar *t;
	int r = tar_open(&t, b, e);

	while (!r && (r = tar_next(t, &x, e)) > 0)
		r = add_member(a, x, blob_position(b), e);
	tar_close(t);
	if (a->members)
		qsort(a->member, a->members, sizeof *a->member, by_name);
	return r;
}

/* Replaces the packed file by a plain one, which has no name. */
static int unpack_whole(struct archive *a, struct blob *b, int scratch, struct err *e)
{
	_cleanup_free_ char *room = malloc(1 << 20);
	_cleanup_fd_ int fd = openat(scratch, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ssize_t n = 0;
	int r = !room ? -ENOMEM : fd < 0 ? -errno : 0;

	while (!r && (n = blob_read(b, room, 1 << 20, e)) > 0)
		r = fd_write_all(fd, room, (size_t)n);
	if (n < 0)
		return (int)n;
	if (r)
		return err_sys(e, -r, "unpack");
	close(a->fd);
	a->fd = fd_take(&fd);
	return 0;
}

static int open_file(struct archive *a, int scratch, u64 limit, struct err *e)
{
	struct blob *b = NULL;
	struct stat st;
	int tries, r = 0;

	for (tries = 0; tries < 2; tries++) {
		if (fstat(a->fd, &st) < 0 || !S_ISREG(st.st_mode))
			return err_set(e, -EINVAL, "is no regular file");
		r = blob_open_plain(&b, a->fd, (u64)st.st_size, limit, e);
		if (r || !blob_is_packed(b))
			break;
		r = tries ? err_set(e, -EINVAL, "is packed twice") : unpack_whole(a, b, scratch, e);
		blob_close(b);
		b = NULL;
		if (r)
			break;
	}
	if (!r)
		r = read_members(a, b, e);
	blob_close(b);
	return r;
}

int archive_open(struct archive **out, const char *path, int scratch, u64 limit, struct err *e)
{
	struct archive *a = calloc(1, sizeof *a);
	struct stat st;
	int r = 0;

	*out = a;
	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	a->opened = -1;
	a->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (a->fd < 0 || fstat(a->fd, &st) < 0)
		r = err_sys(e, errno, "open");
	else if (S_ISDIR(st.st_mode))
		a->directory = true;
	else
		r = open_file(a, scratch, limit, e);
	if (r) {
		archive_close(a);
		*out = NULL;
	}
	return r;
}

void archive_close(struct archive *a)
{
	if (!a)
		return;
	while (a->members--) {
		free(a->member[a->members].name);
		free(a->member[a->members].link);
	}
	free(a->member);
	if (a->opened >= 0)
		close(a->opened);
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

/* Where a member's bytes are; *fd stays the archive's until the next call. */
static int find(struct archive *a, const char *name, int *fd, u64 *offset, u64 *size)
{
	struct member key = { .name = (char *)name };
	const struct member *m = NULL;
	struct stat st;
	int hops;

	if (a->directory) {
		if (a->opened >= 0)
			close(a->opened);
		a->opened = path_open(a->fd, name, PATH_BENEATH, O_RDONLY | O_NONBLOCK, 0);
		if (a->opened < 0)
			return a->opened;
		if (fstat(a->opened, &st) < 0 || !S_ISREG(st.st_mode))
			return -EINVAL;
		*fd = a->opened;
		*offset = 0;
		*size = (u64)st.st_size;
		return 0;
	}
	for (hops = 0; hops < 8 && key.name; hops++) {
		m = a->members ? bsearch(&key, a->member, a->members, sizeof *m, by_name) : NULL;
		if (!m)
			return -ENOENT;
		if (!m->link)
			break;
		key.name = m->link;
	}
	if (!m || m->link)
		return -ELOOP;
	*fd = a->fd;
	*offset = m->offset;
	*size = m->size;
	return 0;
}

int archive_text(struct archive *a, const char *name, const struct digest *digest, char **out, struct err *e)
{
	u64 offset, size, done = 0;
	struct digest got;
	int fd, r = find(a, name, &fd, &offset, &size);

	*out = NULL;
	if (r)
		return r == -ENOENT ? err_set(e, r, "%.200s is missing", name) : err_sys(e, -r, "%.200s", name);
	if (size > IMAGE_TEXT_MAX)
		return err_set(e, -EFBIG, "%.200s: is larger than %u bytes", name, IMAGE_TEXT_MAX);
	*out = malloc(size + 1);
	while (*out && done < size) {
		ssize_t n = pread(fd, *out + done, size - done, (off_t)(offset + done));

		if (n <= 0 && !(n < 0 && errno == EINTR))
			return err_sys(e, n ? errno : EIO, "%.200s: read", name);
		done += n > 0 ? (u64)n : 0;
	}
	if (!*out)
		return err_set(e, -ENOMEM, "out of memory");
	(*out)[size] = 0;
	digest_of(&got, *out, size);
	if (digest && strcmp(got.hex, digest->hex))
		return err_set(e, -EBADMSG, "%.200s: its digest is sha256:%s, not sha256:%s", name, got.hex, digest->hex);
	return 0;
}

bool archive_has(struct archive *a, const char *name)
{
	u64 offset, size;
	int fd;

	return !find(a, name, &fd, &offset, &size);
}

int archive_layer(struct archive *a, const struct image_layer *layer, u64 limit, struct blob **out, struct err *e)
{
	u64 offset, size;
	int fd, r = find(a, layer->member, &fd, &offset, &size);

	*out = NULL;
	if (r)
		return r == -ENOENT ? err_set(e, r, "is missing") : err_sys(e, -r, "open");
	return blob_open(out, fd, offset, size, limit, e);
}
