/* SPDX-License-Identifier: MIT
 * Device nodes: made, or in a user namespace (where none can be made) bound from the host. */
#include <errno.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "container/mounts.h"

static const struct standard {
	const char *path;
	u32 major, minor;
} standard[] = {
	{ "/dev/null", 1, 3 }, { "/dev/zero", 1, 5 }, { "/dev/full", 1, 7 },
	{ "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 },
};

static const struct link {
	const char *name, *target;
} links[] = {
	{ "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" },
	{ "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
	{ "core", "/proc/kcore" }, { "ptmx", "pts/ptmx" },
};

/* The host's node of that path, as a detached tree, when it truly is that device. */
static int bind_source(const char *path, mode_t type, dev_t number)
{
	_cleanup_fd_ int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path,
					     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct stat st;

	if (tree < 0)
		return -errno;
	if (fstat(tree, &st) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != type || st.st_rdev != number)
		return -ENXIO;
	return fd_take(&tree);
}

static bool wanted_elsewhere(const struct launch *l, const char *path)
{
	size_t i;

	for (i = 0; i < l->spec->linux_->devices.n; i++)
		if (!strcmp(l->spec->linux_->devices.v[i].path, path))
			return true;
	return false;
}

static mode_t device_mode(const struct oci_device *d)
{
	return d->file_mode.set ? (mode_t)d->file_mode.v & 0777 : 0666;
}

static dev_t device_number(const struct oci_device *d)
{
	return d->type.v == S_IFIFO ? 0 : makedev((u32)d->major.v, (u32)d->minor.v);
}

int devices_open_sources(struct launch *l, struct err *e)
{
	size_t n = ARRAY_SIZE(standard) + l->spec->linux_->devices.n, i;

	l->device_source = malloc(n * sizeof *l->device_source);
	if (!l->device_source)
		return err_set(e, -ENOMEM, "devices: out of memory");
	for (i = 0; i < n; i++)
		l->device_source[i] = -1;
	if (!l->user_ns || geteuid())
		return 0;
	for (i = 0; i < ARRAY_SIZE(standard); i++)
		l->device_source[i] = bind_source(standard[i].path, S_IFCHR,
						  makedev(standard[i].major, standard[i].minor));
	for (i = 0; i < l->spec->linux_->devices.n; i++) {
		const struct oci_device *d = &l->spec->linux_->devices.v[i];

		l->device_source[ARRAY_SIZE(standard) + i] =
			bind_source(d->path, (mode_t)d->type.v, device_number(d));
	}
	return 0;
}

static int bind_device(struct rootfs *r, const char *path, mode_t type, dev_t number, int source)
{
	_cleanup_fd_ int tree = source >= 0 ? fcntl(source, F_DUPFD_CLOEXEC, 3) :
				bind_source(path, type, number);
	_cleanup_fd_ int target = -1;

	if (tree < 0)
		return tree;
	target = path_make(r->root, path, true, 0666);
	return target < 0 ? target : mount_attach(tree, target);
}

static int make_node(struct rootfs *r, const char *path, mode_t mode, dev_t number, uid_t uid,
		     gid_t gid)
{
	const char *leaf = path + 5;
	_cleanup_fd_ int own = -1;
	struct stat st;
	int dir;

	if (r->dev < 0 || strncmp(path, "/dev/", 5) || strchr(leaf, '/'))
		own = path_parent(r->root, path, &leaf);
	dir = r->dev >= 0 && own < 0 && leaf == path + 5 ? r->dev : own;
	if (dir < 0)
		return dir;
	if (mknodat(dir, leaf, mode, number) < 0) {
		if (errno != EEXIST)
			return -errno;
		/* what is there must be the same device; anything else is replaced */
		if (!fstatat(dir, leaf, &st, AT_SYMLINK_NOFOLLOW) &&
		    (st.st_mode & S_IFMT) == (mode & S_IFMT) && st.st_rdev == number)
			return 0;
		if (unlinkat(dir, leaf, 0) < 0 || mknodat(dir, leaf, mode, number) < 0)
			return -errno;
	}
	if ((uid || gid) && fchownat(dir, leaf, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int make_one(struct launch *l, struct rootfs *r, const char *path, mode_t mode,
		    dev_t number, uid_t uid, gid_t gid, int source)
{
	int status;

	if (l->user_ns)
		return bind_device(r, path, mode & S_IFMT, number, source);
	status = make_node(r, path, mode, number, uid, gid);
	/* without the right to make nodes the host's can still be bound */
	return status == -EPERM ? bind_device(r, path, mode & S_IFMT, number, source) : status;
}

int devices_make(struct launch *l, struct rootfs *r, struct err *e)
{
	size_t i;
	int status;

	if (r->has_dev && r->dev < 0) {
		r->dev = path_open(r->root, "/dev", PATH_IN_ROOT, O_PATH | O_DIRECTORY, 0);
		if (r->dev < 0)
			return err_sys(e, -r->dev, "open the container's /dev");
	}

	for (i = 0; i < l->spec->linux_->devices.n; i++) {
		const struct oci_device *d = &l->spec->linux_->devices.v[i];

		status = make_one(l, r, d->path, (mode_t)d->type.v | device_mode(d),
				  device_number(d), (uid_t)d->uid.v, (gid_t)d->gid.v,
				  l->device_source[ARRAY_SIZE(standard) + i]);
		if (status)
			return err_sys(e, -status, "linux.devices[%zu]: make %s", i, d->path);
	}
	if (!r->has_dev) /* a /dev bound from elsewhere stays as it is */
		return 0;
	for (i = 0; i < ARRAY_SIZE(standard); i++) {
		const struct standard *s = &standard[i];

		if (wanted_elsewhere(l, s->path))
			continue;
		status = make_one(l, r, s->path, S_IFCHR | 0666, makedev(s->major, s->minor), 0, 0,
				  l->device_source[i]);
		if (status)
			return err_sys(e, -status, "make %s", s->path);
	}
	for (i = 0; i < ARRAY_SIZE(links); i++) {
		if (!strcmp(links[i].name, "core") && access("/proc/kcore", F_OK))
			continue;
		if (symlinkat(links[i].target, r->dev, links[i].name) < 0 && errno != EEXIST)
			return err_sys(e, errno, "make /dev/%s", links[i].name);
	}
	return 0;
}
