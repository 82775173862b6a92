/* SPDX-License-Identifier: MIT
 * From a layer's archive to files. */
#include "image/unpack.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "image/tar.h"

struct later { /* a directory's mode and time are set last: making files in it changes or forbids them */
	char *path;
	u32 mode, mtime_ns;
	s64 mtime;
};

struct unpack {
	int tree;
	bool owner;
	struct text *list;
	struct later *later;
	size_t later_n, later_size;
	char parent_path[TAR_PATH_MAX]; /* of `parent`: the last directory used */
	int parent;
	u8 room[131072];
};

static void note(struct unpack *u, char kind, const char *path)
{
	text_add_bytes(u->list, &kind, 1);
	text_add_bytes(u->list, path, strlen(path) + 1);
}

/* "/./a//b/" becomes "a/b"; *leaf points to the last component.  What climbs is refused: no tool writes that. */
static int clean(char *out, const char *path, const char **leaf, struct err *e)
{
	size_t n = 0, depth = 0;

	*leaf = out;
	for (; *path; path += strspn(path, "/")) {
		size_t k = strcspn(path, "/");

		if (k == 2 && !memcmp(path, "..", 2))
			return err_set(e, -EINVAL, "\"%.200s\" climbs with \"..\"", path);
		if (k > NAME_MAX || ++depth > LAYER_DEPTH_MAX)
			return err_set(e, -ENAMETOOLONG, "\"%.200s\": %s", path, k > NAME_MAX ? "a name is too long" :
				       "too many directories");
		if (k && !(k == 1 && *path == '.')) {
			if (n)
				out[n++] = '/';
			*leaf = out + n;
			memcpy(out + n, path, k);
			n += k;
		}
		path += k;
	}
	out[n] = 0;
	return 0;
}

static int refuse(const char *path, int r, struct err *e)
{
	if (r == -ELOOP)
		return err_set(e, -EINVAL, "%.200s: goes through a symbolic link", path);
	if (r == -ENOTDIR)
		return err_set(e, -EINVAL, "%.200s: goes through a file that is no directory", path);
	return err_sys(e, -r, "%.200s", path);
}

/* The directory `path`, made as far as it is missing. */
static int open_directory(struct unpack *u, const char *path, struct err *e)
{
	char prefix[TAR_PATH_MAX];
	int fd = path_open(u->tree, *path ? path : ".", PATH_BENEATH, O_PATH | O_DIRECTORY, 0);
	size_t n;

	for (n = 0; fd == -ENOENT && path[n];) {
		_cleanup_fd_ int at = -1;
		size_t from = n;

		n += strcspn(path + n, "/");
		memcpy(prefix, path, n);
		prefix[n] = 0;
		at = from ? -1 : dup(u->tree);
		if (from) {
			prefix[from - 1] = 0;
			at = path_open(u->tree, prefix, PATH_BENEATH, O_PATH | O_DIRECTORY, 0);
			prefix[from - 1] = '/';
		}
		if (at < 0)
			return refuse(path, at, e);
		if (!mkdirat(at, prefix + from, 0755))
			note(u, 'i', prefix);
		else if (errno != EEXIST)
			return err_sys(e, errno, "%.200s", prefix);
		n += path[n] == '/';
		if (!path[n])
			fd = path_open(u->tree, path, PATH_BENEATH, O_PATH | O_DIRECTORY, 0);
	}
	return fd < 0 ? refuse(path, fd, e) : fd;
}

/* The directory that holds `path`; stays the cache's. */
static int parent_of(struct unpack *u, const char *path, const char *leaf, struct err *e)
{
	char dir[TAR_PATH_MAX];
	size_t n = leaf > path ? (size_t)(leaf - path) - 1 : 0;
	int fd;

	memcpy(dir, path, n);
	dir[n] = 0;
	if (u->parent >= 0 && !strcmp(dir, u->parent_path))
		return u->parent;
	fd = open_directory(u, dir, e);
	if (fd < 0)
		return fd;
	if (u->parent >= 0)
		close(u->parent);
	u->parent = fd;
	strcpy(u->parent_path, dir);
	return fd;
}

/* Makes room for an entry: a later one of the same name wins.  `dir` is the cached directory, so what goes is
 * never that or above it. */
static int make_room(int dir, const char *name, struct err *e)
{
	int r;

	if (!unlinkat(dir, name, 0) || errno == ENOENT)
		return 0;
	r = errno == EISDIR || errno == EPERM ? tree_remove(dir, name) : -errno;
	return r ? err_sys(e, -r, "replace %.200s", name) : 0;
}

/* Overlay's own attributes would mean something to a mount that is made over these files. */
static bool xattr_wanted(const struct unpack *u, const char *name)
{
	if (!strcmp(name, "security.capability"))
		return u->owner;
	return !strncmp(name, "user.", 5) && strncmp(name, "user.overlay.", 13);
}

static int set_xattrs(struct unpack *u, int fd, const struct tar_entry *x, struct err *e)
{
	size_t i;

	for (i = 0; i < x->xattrs; i++) {
		const struct tar_xattr *a = &x->xattr[i];

		if (xattr_wanted(u, a->name) && fsetxattr(fd, a->name, a->value, a->length, 0) < 0)
			return err_sys(e, errno, "%.200s: set attribute %.64s", x->path, a->name);
	}
	return 0;
}

static int unpack_file(struct unpack *u, struct tar *t, const struct tar_entry *x, int dir, const char *name,
		       struct err *e)
{
	struct timespec times[2] = { { x->mtime, x->mtime_ns }, { x->mtime, x->mtime_ns } };
	_cleanup_fd_ int fd = path_open(dir, name, PATH_BENEATH, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0600);
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return err_sys(e, -fd, "make %.200s", x->path);
	while (!r && (n = tar_read(t, u->room, sizeof u->room, e))) {
		if (n < 0)
			return (int)n;
		r = fd_write_all(fd, u->room, (size_t)n);
	}
	if (!r && u->owner && fchown(fd, (uid_t)x->uid, (gid_t)x->gid) < 0)
		r = -errno;
	if (!r && (fchmod(fd, x->mode) < 0 || (r = set_xattrs(u, fd, x, e)) || futimens(fd, times) < 0))
		r = r ? r : -errno;
	return r ? err_sys(e, -r, "write %.200s", x->path) : 0;
}

static int unpack_link(struct unpack *u, const struct tar_entry *x, const char *path, const char *leaf, struct err *e)
{
	char target[TAR_PATH_MAX], head[TAR_PATH_MAX];
	const char *end;
	_cleanup_fd_ int from = -1;
	int r = clean(target, x->link, &end, e), dir;
	struct stat st;

	if (r)
		return r;
	if (!*target || !strcmp(target, path))
		return err_set(e, -EINVAL, "%.200s: a hard link to itself or to nothing", x->path);
	snprintf(head, sizeof head, "%.*s", end > target ? (int)(end - target - 1) : 0, target);
	from = path_open(u->tree, *head ? head : ".", PATH_BENEATH, O_PATH | O_DIRECTORY, 0);
	if (from == -ENOENT || (from >= 0 && fstatat(from, end, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)) {
		note(u, 'h', path);
		note(u, 't', target);
		return 0;
	}
	if (from < 0)
		return refuse(target, from, e);
	if (fstatat(from, end, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
		return err_set(e, -EINVAL, "%.200s: a hard link to a directory", x->path);
	dir = parent_of(u, path, leaf, e);
	r = dir < 0 ? dir : make_room(dir, leaf, e);
	if (!r && linkat(from, end, dir, leaf, 0) < 0)
		r = err_sys(e, errno, "link %.200s", x->path);
	return r;
}

static int remember(struct unpack *u, const char *path, const struct tar_entry *x)
{
	if (u->later_n == u->later_size) {
		size_t size = u->later_size ? u->later_size * 2 : 256;
		struct later *v = realloc(u->later, size * sizeof *v);

		if (!v)
			return -ENOMEM;
		u->later = v;
		u->later_size = size;
	}
	u->later[u->later_n] = (struct later){ strdup(path), x->mode, x->mtime_ns, x->mtime };
	return u->later[u->later_n].path ? u->later_n++, 0 : -ENOMEM;
}

static int unpack_directory(struct unpack *u, const struct tar_entry *x, const char *path, const char *leaf,
			    struct err *e)
{
	_cleanup_fd_ int fd = -1;
	int r = 0, dir = *path ? parent_of(u, path, leaf, e) : u->tree;

	if (dir < 0)
		return dir;
	if (!*path)
		note(u, 'e', path);
	if (*path && mkdirat(dir, leaf, 0700) < 0) {
		if (errno != EEXIST)
			return err_sys(e, errno, "make %.200s", x->path);
		fd = path_open(dir, leaf, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
		if (fd == -ENOTDIR || fd == -ELOOP) {
			r = make_room(dir, leaf, e);
			if (!r && mkdirat(dir, leaf, 0700) < 0)
				r = err_sys(e, errno, "make %.200s", x->path);
		} else if (fd >= 0) {
			note(u, 'e', path);
		}
	}
	if (fd < 0)
		fd = path_open(dir, *path ? leaf : ".", PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
	if (!r && fd < 0)
		r = err_sys(e, -fd, "open %.200s", x->path);
	if (!r && u->owner && fchown(fd, (uid_t)x->uid, (gid_t)x->gid) < 0)
		r = err_sys(e, errno, "own %.200s", x->path);
	if (!r)
		r = set_xattrs(u, fd, x, e);
	return r ? r : remember(u, path, x) ? err_set(e, -ENOMEM, "out of memory") : 0;
}

/* ".wh.NAME" and ".wh..wh..opq"; 1 when the entry was one. */
static int take_whiteout(struct unpack *u, char *path, char *leaf, struct err *e)
{
	if (strncmp(leaf, ".wh.", 4))
		return 0;
	if (!strcmp(leaf, ".wh..wh..opq")) {
		leaf[leaf > path ? -1 : 0] = 0;
		note(u, 'o', path);
		return 1;
	}
	if (!strncmp(leaf, ".wh..wh.", 8)) /* bookkeeping of another storage driver */
		return 1;
	if (!leaf[4] || !strcmp(leaf + 4, ".") || !strcmp(leaf + 4, ".."))
		return err_set(e, -EINVAL, "%.200s: a whiteout of nothing", path);
	memmove(leaf, leaf + 4, strlen(leaf + 4) + 1);
	note(u, 'w', path);
	return 1;
}

static int unpack_other(struct unpack *u, const struct tar_entry *x, int dir, const char *leaf, struct err *e)
{
	struct timespec times[2] = { { x->mtime, x->mtime_ns }, { x->mtime, x->mtime_ns } };

	if (x->type == TAR_SYMLINK && !*x->link)
		return err_set(e, -EINVAL, "%.200s: a symbolic link to nothing", x->path);
	if (x->type == TAR_SYMLINK ? symlinkat(x->link, dir, leaf) : mkfifoat(dir, leaf, 0600))
		return err_sys(e, errno, "make %.200s", x->path);
	if ((u->owner && fchownat(dir, leaf, (uid_t)x->uid, (gid_t)x->gid, AT_SYMLINK_NOFOLLOW) < 0) ||
	    (x->type == TAR_FIFO && fchmodat(dir, leaf, x->mode, 0) < 0) ||
	    utimensat(dir, leaf, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "own %.200s", x->path);
	return 0;
}

static int unpack_entry(struct unpack *u, struct tar *t, const struct tar_entry *x, u64 *skipped, struct err *e)
{
	char path[TAR_PATH_MAX];
	const char *leaf;
	int r = clean(path, x->path, &leaf, e), dir;

	if (!r)
		r = take_whiteout(u, path, path + (leaf - path), e);
	if (r)
		return MIN(r, 0);
	if (x->type == TAR_DIRECTORY)
		return unpack_directory(u, x, path, leaf, e);
	if (!*path)
		return err_set(e, -EINVAL, "\"%.200s\": the root is not a directory", x->path);
	if (x->type == TAR_CHAR || x->type == TAR_BLOCK) {
		(*skipped)++;
		return 0;
	}
	if (x->type == TAR_HARD_LINK)
		return unpack_link(u, x, path, leaf, e);
	dir = parent_of(u, path, leaf, e);
	r = dir < 0 ? dir : make_room(dir, leaf, e);
	if (r)
		return r;
	return x->type == TAR_FILE ? unpack_file(u, t, x, dir, leaf, e) : unpack_other(u, x, dir, leaf, e);
}

static int finish_directories(struct unpack *u, struct err *e)
{
	while (u->later_n) {
		struct later *l = &u->later[--u->later_n];
		struct timespec times[2] = { { l->mtime, l->mtime_ns }, { l->mtime, l->mtime_ns } };
		/* one that a later entry has replaced is not there, or is no directory, any more */
		_cleanup_fd_ int fd = path_open(u->tree, *l->path ? l->path : ".", PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);

		if (fd >= 0 && ((u->owner && fchmod(fd, l->mode) < 0) ||
				(!u->owner && fchmod(fd, l->mode | 0700) < 0) || futimens(fd, times) < 0))
			return err_sys(e, errno, "finish %.200s", l->path);
		free(l->path);
	}
	return 0;
}

int layer_unpack(int tree, struct blob *b, bool owner, struct text *list, u64 *skipped, struct err *e)
{
	struct unpack *u = calloc(1, sizeof *u);
	const struct tar_entry *x;
	struct tar *t = NULL;
	u64 entries = 0;
	int r = u ? tar_open(&t, b, e) : err_set(e, -ENOMEM, "out of memory");

	*skipped = 0;
	if (r) {
		free(u);
		return r;
	}
	*u = (struct unpack){ .tree = tree, .owner = owner, .list = list, .parent = -1 };
	while ((r = tar_next(t, &x, e)) > 0) {
		r = ++entries > LAYER_ENTRIES_MAX ? err_set(e, -EFBIG, "has more than %u entries", LAYER_ENTRIES_MAX) :
		    unpack_entry(u, t, x, skipped, e);
		if (r)
			break;
	}
	if (!r)
		r = finish_directories(u, e);
	while (u->later_n)
		free(u->later[--u->later_n].path);
	free(u->later);
	if (u->parent >= 0)
		close(u->parent);
	tar_close(t);
	free(u);
	return r ? r : list->failed ? err_set(e, -ENOMEM, "out of memory") : 0;
}
