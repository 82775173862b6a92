/* SPDX-License-Identifier: MIT
 * Layers put together as a root directory: directories are made, all else is linked (U2). */
#include <dirent.h>
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "image/tar.h"
#include "image/unpack.h"

int tree_remove(int dir, const char *name)
{
	struct dirent *entry;
	DIR *list;
	int fd, r = 0;

	if (!unlinkat(dir, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && !fchmodat(dir, name, 0700, 0))
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (geteuid())
		fchmod(fd, 0700); /* else its files could not be removed */
	list = fdopendir(fd);
	if (!list) {
		close(fd);
		return -ENOMEM;
	}
	while (!r && (entry = readdir(list)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = tree_remove(dirfd(list), entry->d_name);
	closedir(list);
	if (!r && unlinkat(dir, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

static int copy_xattrs(int from, int to)
{
	char names[8192], value[65536];
	ssize_t n = flistxattr(from, names, sizeof names), k, at;

	if (n < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
		if (strncmp(names + at, "user.", 5) && strcmp(names + at, "security.capability"))
			continue;
		k = fgetxattr(from, names + at, value, sizeof value);
		if (k < 0 || fsetxattr(to, names + at, value, (size_t)k, 0) < 0)
			return -errno;
	}
	return 0;
}

static int take_attributes(int fd, const struct stat *st, bool owner)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };

	if ((owner && fchown(fd, st->st_uid, st->st_gid) < 0) || fchmod(fd, st->st_mode & 07777) < 0 ||
	    futimens(fd, times) < 0)
		return -errno;
	return 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *st, bool owner)
{
	_cleanup_fd_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), out = -1;
	ssize_t n;
	int r;

	if (in < 0)
		return -errno;
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return -errno;
	if (ioctl(out, FICLONE, in) < 0)
		while ((n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0)))
			if (n < 0)
				return -errno;
	r = copy_xattrs(in, out);
	return r ? r : take_attributes(out, st, owner);
}

static int copy_other(int from, int to, const char *name, const struct stat *st, bool owner)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	char link[4097];
	ssize_t n;

	if (S_ISREG(st->st_mode))
		return copy_file(from, to, name, st, owner);
	if (S_ISLNK(st->st_mode)) {
		n = readlinkat(from, name, link, sizeof link - 1);
		if (n < 0)
			return -errno;
		link[n] = 0;
	}
	if (S_ISLNK(st->st_mode) ? symlinkat(link, to, name) : mknodat(to, name, st->st_mode, st->st_rdev))
		return -errno;
	if ((owner && fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0) ||
	    utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

struct record {
	const char *path;
	size_t order;
	char kind;
};

struct merge {
	int tree;
	bool owner, link;       /* link files; else copy */
	struct record *implied; /* by path, then by order */
	size_t implied_n;
	char path[TAR_PATH_MAX]; /* of the directory at hand */
	struct err *e;
};

static int failed(struct merge *m, int r, const char *name)
{
	return err_sys(m->e, -r, "put together %.200s%s%.200s", m->path, *m->path ? "/" : "", name);
}

static int by_path(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	int r = strcmp(x->path, y->path);

	return r ? r : x->order < y->order ? -1 : 1;
}

/* The last record about a path counts; 0 for none. */
static char described(const struct merge *m, const char *path)
{
	size_t low = 0, high = m->implied_n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(m->implied[middle].path, path) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low && !strcmp(m->implied[low - 1].path, path) ? m->implied[low - 1].kind : 0;
}

static int merge_file(struct merge *m, int from, int to, const char *name, const struct stat *st)
{
	int tries, r = 0;

	for (tries = 0; tries < 2; tries++) {
		if (m->link && !linkat(from, name, to, name, 0))
			return 0;
		if (m->link && errno != EXDEV && errno != EMLINK && errno != EPERM && errno != EEXIST)
			return -errno;
		r = m->link && errno == EEXIST ? -EEXIST : copy_other(from, to, name, st, m->owner);
		if (r != -EEXIST)
			return r;
		r = tree_remove(to, name);
		if (r)
			return r;
	}
	return -EEXIST;
}

/* The directory `name` in the tree; *made says that it is new.  One that a layer only passes through may be a link
 * to a directory below: then that is meant. */
static int enter(struct merge *m, int to, const char *name, const char *path, bool implied, bool *made)
{
	int tries, fd = -1;

	*made = false;
	for (tries = 0; tries < 2; tries++) {
		if (!mkdirat(to, name, 0700))
			*made = true;
		else if (errno != EEXIST)
			return -errno;
		fd = path_open(to, name, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
		if (fd == -EACCES && !m->owner && !fchmodat(to, name, 0700, 0))
			fd = path_open(to, name, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
		if ((fd == -ELOOP || fd == -ENOTDIR) && implied) {
			int through = path_open(m->tree, path, PATH_IN_ROOT, O_RDONLY | O_DIRECTORY, 0);

			if (through >= 0)
				return through;
		}
		if (fd != -ELOOP && fd != -ENOTDIR)
			return fd;
		if (unlinkat(to, name, 0) < 0)
			return -errno;
	}
	return fd;
}

static int merge_directory(struct merge *m, int from, int to);

static int merge_sub(struct merge *m, int from, int to, const char *name, const struct stat *st)
{
	_cleanup_fd_ int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), out = -1;
	size_t n = strlen(m->path);
	struct stat before;
	bool implied, made;
	int r;

	if (in < 0)
		return failed(m, -errno, name);
	if (snprintf(m->path + n, sizeof m->path - n, "%s%s", n ? "/" : "", name) >= (int)(sizeof m->path - n)) {
		m->path[n] = 0;
		return failed(m, -ENAMETOOLONG, name);
	}
	implied = described(m, m->path) == 'i';
	out = enter(m, to, name, m->path, implied, &made);
	if (out < 0 || fstat(out, &before) < 0)
		return failed(m, out < 0 ? out : -errno, "");
	if (!m->owner && fchmod(out, 0700) < 0)
		return failed(m, -errno, "");
	r = merge_directory(m, in, out);
	if (!r && (made || !implied)) {
		r = copy_xattrs(in, out);
		if (!r)
			r = take_attributes(out, st, m->owner);
	} else if (!r) {
		r = take_attributes(out, &before, false);
	}
	if (r)
		r = failed(m, r, "");
	m->path[n] = 0;
	return r;
}

static int merge_directory(struct merge *m, int from, int to)
{
	int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *list = again < 0 ? NULL : fdopendir(again);
	struct dirent *entry;

	if (!list) {
		r = failed(m, -errno, "");
		if (again >= 0)
			close(again);
		return r;
	}
	while (!r && (entry = readdir(list))) {
		const char *name = entry->d_name;
		struct stat st;

		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			r = failed(m, -errno, name);
		else if (S_ISDIR(st.st_mode))
			r = merge_sub(m, from, to, name, &st);
		else if ((r = merge_file(m, from, to, name, &st)))
			r = failed(m, r, name);
	}
	closedir(list);
	return r;
}

/* The directory that holds `path` in the tree, through its links but never out of it. */
static int tree_parent(struct merge *m, const char *path, const char **leaf)
{
	char head[TAR_PATH_MAX];
	const char *slash = strrchr(path, '/');
	int fd;

	*leaf = slash ? slash + 1 : path;
	snprintf(head, sizeof head, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	fd = path_open(m->tree, head, PATH_IN_ROOT, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0 && !m->owner)
		fchmod(fd, 0700);
	return fd;
}

static int whiteout(struct merge *m, const char *path)
{
	const char *leaf;
	_cleanup_fd_ int dir = tree_parent(m, path, &leaf);

	if (dir == -ENOENT || dir == -ENOTDIR)
		return 0;
	return dir < 0 ? dir : tree_remove(dir, leaf);
}

static int hide(struct merge *m, const char *path)
{
	int fd = path_open(m->tree, *path ? path : ".", PATH_IN_ROOT, O_RDONLY | O_DIRECTORY, 0), r = 0;
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	if (!list)
		return fd < 0 ? fd : -ENOMEM;
	if (!m->owner)
		fchmod(fd, 0700);
	while (!r && (entry = readdir(list)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = tree_remove(fd, entry->d_name);
	closedir(list);
	return r;
}

static int link_below(struct merge *m, const char *path, const char *target)
{
	const char *leaf, *end;
	_cleanup_fd_ int from = tree_parent(m, target, &end), to = tree_parent(m, path, &leaf);
	int r = from < 0 ? from : to < 0 ? to : tree_remove(to, leaf);

	if (!r && linkat(from, end, to, leaf, 0) < 0)
		r = -errno;
	return r ? err_sys(m->e, -r, "%.200s: a hard link to %.200s", path, target) : 0;
}

/* Calls one of the above for each record of the kinds wanted, in their order. */
static int each_record(struct merge *m, const char *list, size_t length, bool links)
{
	const char *p = list, *end = list + length;
	int r = 0;

	while (!r && p < end) {
		const char *path = p + 1, *next = p + strlen(p) + 1;

		if (*p == 'w' && !links)
			r = whiteout(m, path);
		else if (*p == 'o' && !links)
			r = hide(m, path);
		else if (*p == 'h' && links && next < end && *next == 't')
			r = link_below(m, path, next + 1);
		if (r && !m->e->code)
			r = err_sys(m->e, -r, "remove %.200s of a layer below", path);
		p = next;
	}
	return r;
}

static int read_implied(struct merge *m, const char *list, size_t length)
{
	const char *p, *end = list + length;
	size_t n = 0;

	for (p = list; p < end; p += strlen(p) + 1)
		n += *p == 'i' || *p == 'e';
	m->implied = calloc(n + 1, sizeof *m->implied);
	if (!m->implied)
		return err_set(m->e, -ENOMEM, "out of memory");
	for (p = list; p < end; p += strlen(p) + 1)
		if (*p == 'i' || *p == 'e')
			m->implied[m->implied_n++] = (struct record){ p + 1, m->implied_n, *p };
	qsort(m->implied, m->implied_n, sizeof *m->implied, by_path);
	return 0;
}

int layer_merge(int tree, int layer, const char *list, size_t length, bool owner, struct err *e)
{
	struct merge m = { .tree = tree, .owner = owner, .link = true, .e = e };
	struct stat st;
	int r = length && list[length - 1] ? err_set(e, -EINVAL, "the list of a layer is damaged") : 0;

	if (!r)
		r = read_implied(&m, list, length);
	if (!r)
		r = each_record(&m, list, length, false);
	if (!r)
		r = merge_directory(&m, layer, tree);
	if (!r)
		r = each_record(&m, list, length, true);
	if (!r && described(&m, "") && (fstat(layer, &st) < 0 || (r = take_attributes(tree, &st, owner))))
		r = err_sys(e, r ? -r : errno, "put together the root");
	free(m.implied);
	return r;
}

int tree_copy(int from, int to, bool owner, struct err *e)
{
	struct merge m = { .tree = to, .owner = owner, .e = e };
	struct stat st;
	int r = merge_directory(&m, from, to);

	if (!r && (fstat(from, &st) < 0 || (r = take_attributes(to, &st, owner))))
		r = err_sys(e, r ? -r : errno, "copy the root");
	return r;
}
