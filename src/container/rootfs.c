/* SPDX-License-Identifier: MIT
 * B's side of the file system tree.  Every path inside the container is resolved from the root
 * descriptor with RESOLVE_IN_ROOT; a mount is built detached and then attached to a descriptor, so
 * that nobody who changes the tree meanwhile can make it land elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "container/mounts.h"

#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
#define TIOCSPTLCK _IOW('T', 0x31, int)
#define TIOCGPTPEER _IO('T', 0x41)
#define TIOCSWINSZ 0x5414
int umount2(const char *, int);
int mount(const char *, const char *, const char *, unsigned long, const void *);

static int open_tree_at(int dirfd, const char *path, bool recursive)
{
	return mount_clone(dirfd, path, recursive, NULL);
}

/* Below /proc only these may be covered: files that show a container its own limits. */
static bool proc_cover_allowed(const char *rest)
{
	static const char *const ok[] = {
		"/cpuinfo", "/diskstats", "/meminfo", "/stat", "/swaps", "/uptime", "/loadavg",
		"/slabinfo", "/sys/kernel/ns_last_pid", "/sys/crypto/fips_enabled", "/net/dev",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ok); i++)
		if (!strcmp(rest, ok[i]))
			return true;
	return false;
}

static const char *below_proc(const char *destination)
{
	while (destination[0] == '/' && destination[1] == '/')
		destination++;
	if (destination[0] == '/')
		destination++;
	if (strncmp(destination, "proc", 4) || (destination[4] && destination[4] != '/'))
		return NULL;
	return destination + 4;
}

static bool on_procfs(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == PROC_SUPER_MAGIC;
}

/* "/a//b/./../c/" becomes "/a/c": what a destination means before links, so that the tests on its
 * text cannot be talked around. */
static void clean_path(char *path)
{
	char *in = path, *out = path;

	while (*in) {
		size_t n;

		while (*in == '/')
			in++;
		n = strcspn(in, "/");
		if (n == 2 && !strncmp(in, "..", 2)) {
			while (out > path && *--out != '/')
				;
		} else if (n && !(n == 1 && *in == '.')) {
			*out++ = '/';
			memmove(out, in, n);
			out += n;
		}
		in += n;
	}
	if (out == path)
		*out++ = '/';
	*out = 0;
}

int mounts_check(struct launch *l, struct err *e)
{
	size_t i;

	for (i = 0; i < l->spec->mounts.n; i++) {
		struct oci_mount *m = &l->spec->mounts.v[i];
		struct mount_options o;

		if (m->destination[0] != '/') { /* accepted as older tools write it */
			char *whole = spec_alloc(l->document, strlen(m->destination) + 2);

			if (!whole)
				return err_set(e, -ENOMEM, "config.json: out of memory");
			whole[0] = '/';
			strcpy(whole + 1, m->destination);
			m->destination = whole;
		}
		clean_path(m->destination);

		if (mount_options_parse(m, &o, e)) {
			err_prefix(e, "config.json: mounts[%zu]", i);
			return e->code;
		}
		if (!m->destination[strspn(m->destination, "/")])
			return err_set(e, -EINVAL, "config.json: mounts[%zu].destination: the root "
				       "itself; use root.path", i);
		if (o.bind && (!m->source || !*m->source))
			return err_set(e, -EINVAL, "config.json: mounts[%zu].source: is missing for "
				       "a bind mount", i);
		if (!o.bind && !o.remount && (!m->type || !*m->type))
			return err_set(e, -EINVAL, "config.json: mounts[%zu].type: is missing", i);
		if (o.idmap && !o.bind)
			return err_set(e, -EINVAL, "config.json: mounts[%zu].uidMappings: only for "
				       "bind mounts", i);
		if (!m->uid_mappings.n != !m->gid_mappings.n)
			return err_set(e, -EINVAL, "config.json: mounts[%zu]: uidMappings and "
				       "gidMappings go together", i);
	}
	return 0;
}

/* Bind source: absolute, or relative to the bundle. */
static int open_source(struct launch *l, const struct oci_mount *m, bool recursive)
{
	return open_tree_at(l->bundle, m->source, recursive);
}

static int idmap_tree(struct launch *l, const struct oci_mount *m, const struct mount_options *o,
		      int tree, struct err *e)
{
	const struct oci_id_mapping_list *uids = &m->uid_mappings, *gids = &m->gid_mappings;
	_cleanup_fd_ int ns = -1;
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP };

	if (!uids->n) {
		uids = &l->spec->linux_->uid_mappings;
		gids = &l->spec->linux_->gid_mappings;
	}
	if (!uids->n || !gids->n)
		return err_set(e, -EINVAL, "idmap: neither the mount nor the container has id "
			       "mappings");
	ns = userns_make(uids, gids, e);
	if (ns < 0)
		return ns;
	a.userns_fd = (u64)ns;
	if (syscall(SYS_mount_setattr, tree, "",
		    AT_EMPTY_PATH | (o->idmap_recursive ? AT_RECURSIVE : 0), &a, sizeof a) < 0)
		return err_sys(e, errno, "map the ids of %s", m->source);
	return 0;
}

int mounts_open_sources(struct launch *l, struct err *e)
{
	size_t n = l->spec->mounts.n, i;
	bool outer = l->user_ns && !geteuid();

	l->mount_source = malloc((n + 1) * sizeof *l->mount_source);
	if (!l->mount_source)
		return err_set(e, -ENOMEM, "mounts: out of memory");
	for (i = 0; i < n; i++)
		l->mount_source[i] = -1;
	for (i = 0; i < n; i++) {
		const struct oci_mount *m = &l->spec->mounts.v[i];
		struct mount_options o;
		int r = mount_options_parse(m, &o, e);

		if (r)
			return r;
		if (!o.bind || o.remount || !(outer || o.idmap))
			continue;
		l->mount_source[i] = open_source(l, m, o.recursive);
		if (l->mount_source[i] < 0)
			return err_sys(e, -l->mount_source[i], "mounts[%zu].source: open %s", i,
				       m->source);
		r = o.idmap ? idmap_tree(l, m, &o, l->mount_source[i], e) : 0;
		if (r) {
			err_prefix(e, "mounts[%zu]", i);
			return r;
		}
	}
	/* A root below directories closed to the container's root is opened by P as well */
	if (outer) {
		const char *path = l->spec->root->path;

		l->rootfs_source = open_tree_at(l->bundle, path, true);
		if (l->rootfs_source < 0)
			return err_sys(e, -l->rootfs_source, "root.path: open %s", path);
		if (l->options->idmap_root) {
			struct mount_options o = { .idmap_recursive = false };
			const struct oci_mount none = { .source = l->spec->root->path };

			if (idmap_tree(l, &none, &o, l->rootfs_source, e))
				return err_prefix(e, "root.path");
		}
	}
	return devices_open_sources(l, e);
}

/* Closes what it wrote at once, not later: a file open for writing keeps the mount from becoming read-only. */
static int copy_file(int from, int to, const char *name, mode_t mode)
{
	_cleanup_fd_ int in = path_open(from, name, PATH_BENEATH, O_RDONLY | O_NOFOLLOW, 0);
	int out, r = 0;
	ssize_t n;

	if (in < 0)
		return in;
	out = path_open(to, name, PATH_BENEATH, O_WRONLY | O_CREAT | O_EXCL, mode);
	if (out < 0)
		return out;
	/* not copy_file_range(), which refuses to cross file systems */
	while ((n = sendfile(out, in, NULL, 1 << 30)) > 0)
		;
	if (n < 0)
		r = -errno;
	close(out);
	return r;
}

/* Copies what lies below `from` into `to`: for tmpcopyup. */
static int copy_tree(int from, int to, int depth)
{
	int fd = fd_reopen(from, O_RDONLY | O_DIRECTORY), r = 0;
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!list) {
		if (fd >= 0)
			close(fd);
		return fd < 0 ? fd : -ENOMEM;
	}
	while (!r && depth < 64 && (entry = readdir(list))) {
		const char *name = entry->d_name;
		_cleanup_fd_ int in = -1, out = -1;
		char target[PATH_MAX];
		struct stat st;
		ssize_t n;

		if (!strcmp(name, ".") || !strcmp(name, "..") ||
		    fstatat(dirfd(list), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISLNK(st.st_mode)) {
			n = readlinkat(dirfd(list), name, target, sizeof target - 1);
			if (n >= 0) {
				target[n] = 0;
				r = symlinkat(target, to, name) < 0 ? -errno : 0;
			}
		} else if (S_ISDIR(st.st_mode)) {
			if (mkdirat(to, name, 0700) < 0)
				r = -errno;
			in = path_open(dirfd(list), name, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
			out = path_open(to, name, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
			if (!r)
				r = in < 0 || out < 0 ? -EIO : copy_tree(in, out, depth + 1);
			if (!r && out >= 0)
				r = fchmod(out, st.st_mode & 07777) < 0 ? -errno : 0;
		} else if (S_ISREG(st.st_mode)) {
			r = copy_file(dirfd(list), to, name, st.st_mode & 07777);
		}
		if (!r && fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
			r = errno != EPERM && errno != EINVAL ? -errno : 0;
		else if (!r && S_ISREG(st.st_mode) && st.st_mode & 06000) /* the change of owner took them */
			r = fchmodat(to, name, st.st_mode & 07777, 0) < 0 ? -errno : 0;
	}
	closedir(list);
	return r;
}

static int mount_bind(struct launch *l, struct rootfs *r, size_t i, const struct oci_mount *m,
		      const struct mount_options *o, struct err *e)
{
	_cleanup_fd_ int tree = fd_take(&l->mount_source[i]), target = -1;
	const char *rest = below_proc(m->destination);
	struct stat st;
	bool plain;
	int status;

	if (tree < 0)
		tree = open_source(l, m, o->recursive);
	if (tree < 0)
		return err_sys(e, -tree, "open source %s", m->source);
	if (rest && !*rest && !on_procfs(tree))
		return err_set(e, -EPERM, "%s: only a proc file system may be there",
			       m->destination);
	if (rest && *rest && !proc_cover_allowed(rest))
		return err_set(e, -EPERM, "%s: must not be covered", m->destination);
	if (fstat(tree, &st) < 0)
		return err_sys(e, errno, "stat source %s", m->source);
	target = path_make_plain(r->root, m->destination, !S_ISDIR(st.st_mode), 0755, &plain);
	if (target < 0)
		return err_sys(e, -target, "make the mount point");
	/* a symlink or volume in the root must not bring the mount onto the container's /proc */
	if (!plain && on_procfs(target) && !rest)
		return err_set(e, -EPERM, "%s: leads into /proc", m->destination);
	status = mount_apply(tree, o);
	if (status)
		return err_sys(e, -status, "set mount options");
	status = mount_attach(tree, target);
	return status ? err_sys(e, -status, "attach") : 0;
}

/* Version 1: a tmpfs with one directory per hierarchy, each showing only the container's group.
 * `base` is ours alone until the container runs, so plain names in it are safe. */
static int mount_cgroup_parts(struct launch *l, int base, struct err *e)
{
	size_t i;

	for (i = 0; i < l->cgroup.n; i++) {
		const struct cgroup_part *p = &l->cgroup.part[i];
		const char *name = p->v2 ? "unified" : p->controllers;
		_cleanup_fd_ int tree = -1;
		char *comma, data[128];

		if (!strncmp(name, "name=", 5))
			name += 5;
		if (mkdirat(base, name, 0755) < 0)
			return err_sys(e, errno, "make %s", name);
		tree = open_tree_at(AT_FDCWD, p->dir, false);
		if (tree < 0)
			return err_sys(e, -tree, "open cgroup %s", p->dir);
		if (syscall(SYS_move_mount, tree, "", base, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return err_sys(e, errno, "attach cgroup %s", name);
		/* "cpu" and "cpuacct" lead to a joint "cpu,cpuacct" */
		snprintf(data, sizeof data, "%s", name);
		for (comma = data; strchr(name, ',') && comma;) {
			char *one = strsep(&comma, ",");

			if (symlinkat(name, base, one) < 0 && errno != EEXIST)
				return err_sys(e, errno, "link %s", one);
		}
	}
	return 0;
}

static int mount_cgroup(struct launch *l, int target, const struct mount_options *o, struct err *e)
{
	bool own_ns = l->new_ns & CLONE_NEWCGROUP;
	_cleanup_fd_ int tree = -1, base = -1;
	struct mount_options plain = *o;
	int r;

	plain.data[0] = 0;
	if (l->cgroup.n == 1 && l->cgroup.part[0].v2) {
		if (own_ns)
			tree = mount_filesystem("cgroup2", "cgroup", &plain, e);
		if (tree < 0) {
			memset(e, 0, sizeof *e);
			tree = open_tree_at(AT_FDCWD, own_ns ? l->cgroup.part[0].mount :
					    l->cgroup.part[0].dir, false);
			if (tree < 0)
				return err_sys(e, -tree, "open cgroup %s", l->cgroup.part[0].dir);
			r = mount_apply(tree, &plain);
			if (r)
				return err_sys(e, -r, "set mount options");
		}
		r = mount_attach(tree, target);
		return r ? err_sys(e, -r, "attach") : 0;
	}
	plain.attr_set &= ~(u64)MOUNT_ATTR_RDONLY;
	snprintf(plain.data, sizeof plain.data, "mode=755,size=64k");
	tree = mount_filesystem("tmpfs", NULL, &plain, e);
	if (tree < 0)
		return tree;
	r = mount_attach(tree, target);
	if (r)
		return err_sys(e, -r, "attach");
	r = mount_cgroup_parts(l, tree, e);
	if (!r) {
		struct mount_options all = { .recursive_set = o->attr_set };

		r = mount_apply(tree, &all);
		if (r)
			err_sys(e, -r, "set mount options");
	}
	return r;
}

/* proc and sysfs go only onto a true directory of their own, never through a link. */
static int open_kernel_target(struct rootfs *r, const char *destination)
{
	int target = path_open(r->root, destination, PATH_PLAIN, O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	if (target == -ENOENT)
		return path_make(r->root, destination, false, 0755);
	if (target >= 0 && (fstat(target, &st) < 0 || !S_ISDIR(st.st_mode))) {
		cleanup_fd(&target);
		return -ENOTDIR;
	}
	return target;
}

/* A mount point right below a /dev that was mounted just now, whose root we hold; -ENOENT: look for it in full. */
static int make_below_dev(struct rootfs *r, const char *destination)
{
	const char *name = destination + 5;

	if (r->dev < 0 || strncmp(destination, "/dev/", 5) || strchr(name, '/') || mkdirat(r->dev, name, 0755) < 0)
		return -ENOENT;
	return path_open(r->dev, name, PATH_BENEATH, O_PATH | O_DIRECTORY, 0);
}

static int mount_kind(struct launch *l, struct rootfs *r, const struct oci_mount *m,
		      const struct mount_options *o, struct err *e)
{
	bool kernel = !strcmp(m->type, "proc") || !strcmp(m->type, "sysfs");
	const char *rest = below_proc(m->destination);
	_cleanup_fd_ int target = -1, tree = -1, under = -1;
	struct mount_options rest_of; /* what fsmount cannot set */
	struct mount_options first = *o;
	bool plain = true;
	int status;

	if (rest && (*rest ? !proc_cover_allowed(rest) : strcmp(m->type, "proc")))
		return err_set(e, -EPERM, "%s: must not be covered", m->destination);
	target = kernel ? open_kernel_target(r, m->destination) : -ENOENT;
	if (target == -ENOENT && !kernel)
		target = make_below_dev(r, m->destination);
	if (target == -ENOENT && !kernel)
		target = path_make_plain(r->root, m->destination, false, 0755, &plain);
	if (target < 0)
		return err_sys(e, -target, kernel && (target == -ENOTDIR || target == -ELOOP) ?
			       "the mount point must be a directory, not a link" :
			       "make the mount point");
	if (!plain && on_procfs(target) && !rest)
		return err_set(e, -EPERM, "%s: leads into /proc", m->destination);
	if (!strcmp(m->type, "cgroup") || !strcmp(m->type, "cgroup2"))
		return mount_cgroup(l, target, o, e);
	if (o->copy_up) { /* read-only only once the copy is there */
		under = fcntl(target, F_DUPFD_CLOEXEC, 3);
		first.attr_set &= ~(u64)MOUNT_ATTR_RDONLY;
		first.read_only = false;
	}
	tree = mount_filesystem(m->type, m->source, &first, e);
	if (tree == -EPERM && !strcmp(m->type, "sysfs") && l->user_ns) {
		/* the kernel shows /sys only to the owner of the network: show the host's view */
		memset(e, 0, sizeof *e);
		tree = open_tree_at(AT_FDCWD, "/sys", true);
		if (tree < 0)
			return err_sys(e, -tree, "open /sys");
	}
	if (tree < 0)
		return tree;
	if (under >= 0 && (status = copy_tree(under, tree, 0)))
		return err_sys(e, -status, "copy what is below the mount point");
	rest_of = (struct mount_options){ .attr_set = o->attr_set & ~first.attr_set,
					  .recursive_set = o->recursive_set & MOUNT_ATTR_RDONLY,
					  .propagation = o->propagation };
	status = mount_apply(tree, &rest_of);
	if (!status)
		status = mount_attach(tree, target);
	if (status)
		return err_sys(e, -status, "attach");
	if (plain && !strcmp(m->destination, "/dev"))
		r->dev = fd_take(&tree);
	return 0;
}

static int remount(struct rootfs *r, const struct oci_mount *m, const struct mount_options *o,
		   struct err *e)
{
	_cleanup_fd_ int target = path_open(r->root, m->destination, PATH_IN_ROOT, O_PATH, 0);
	int status = target < 0 ? target : mount_apply(target, o);

	return status ? err_sys(e, -status, "remount") : 0;
}

/* Which propagation B's copy of the host's mounts gets.  Slave by default: the host's mounts and
 * unmounts arrive, nothing leaves. */
static int set_host_propagation(struct launch *l, struct err *e)
{
	u64 p = (u64)l->spec->linux_->rootfs_propagation.v;

	if (l->state.host_mounts)
		return 0;
	if (!(p & MS_SHARED))
		p = p & MS_PRIVATE ? MS_PRIVATE | MS_REC : MS_SLAVE | MS_REC;
	else
		return 0;
	if (mount(NULL, "/", NULL, p, NULL) < 0)
		return err_sys(e, errno, "set mount propagation");
	return 0;
}

/* pivot_root refuses while the mount that holds the root is shared. */
static int make_parent_private(const char *path)
{
	char buf[PATH_MAX];

	if (snprintf(buf, sizeof buf, "%s", path) >= (int)sizeof buf)
		return -ENAMETOOLONG;
	for (;;) {
		char *slash = strrchr(buf, '/');

		if (!mount(NULL, *buf ? buf : "/", NULL, MS_PRIVATE, NULL))
			return 0;
		if (errno != EINVAL || !slash || !*buf)
			return -errno;
		*slash = 0;
	}
}

static int attach_root(struct launch *l, struct rootfs *r, struct err *e)
{
	_cleanup_fd_ int target = -1;
	int tree = fd_take(&l->rootfs_source), status;

	if (tree < 0)
		tree = open_tree_at(AT_FDCWD, l->state.rootfs, true);
	if (tree < 0)
		return err_sys(e, -tree, "root.path: open %s", l->state.rootfs);
	r->root = tree;
	target = open(l->state.rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0 && l->user_ns) /* closed to us: any place will do, the switch hides it */
		target = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0)
		return err_sys(e, errno, "root.path: %s", l->spec->root->path);
	if (l->spec->linux_->rootfs_propagation.v & MS_SHARED) {
		status = make_parent_private(l->state.rootfs);
		if (status)
			return err_sys(e, -status, "root.path: make its mount private");
	}
	if (l->state.host_mounts) { /* what is mounted below must not spread further */
		struct mount_options o = { .propagation = MS_PRIVATE | MS_REC };

		status = mount_apply(tree, &o);
		if (status)
			return err_sys(e, -status, "root.path: make it private");
	}
	status = mount_attach(tree, target);
	return status ? err_sys(e, -status, "root.path: attach") : 0;
}

void rootfs_leave_host(const struct state *s)
{
	if (s->host_mounts && s->rootfs)
		umount2(s->rootfs, MNT_DETACH | 8 /* UMOUNT_NOFOLLOW */);
}

/* File systems that are never bound from a path of the bundle, whatever their options. */
static bool kernel_type(const char *type)
{
	static const char *const types[] = { "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(type, types[i]))
			return true;
	return false;
}

/* A descriptor names a mount of the namespace it was opened in; trees are cloned from our own. */
static int reopen_bundle(struct launch *l, struct err *e)
{
	size_t i;

	for (i = 0; i < l->spec->mounts.n; i++) {
		const struct oci_mount *m = &l->spec->mounts.v[i];

		/* a file system's source is only a word */
		if (m->source && m->source[0] != '/' && !(m->type && kernel_type(m->type)))
			break;
	}
	if (i == l->spec->mounts.n) /* nothing is relative to it */
		return 0;
	close(l->bundle);
	l->bundle = open(l->state.bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->bundle < 0 && l->rootfs_source >= 0) /* closed to us; P has opened what lies in it */
		l->bundle = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return l->bundle < 0 ? err_sys(e, errno, "bundle %s", l->state.bundle) : 0;
}

int rootfs_build(struct launch *l, struct rootfs *r, struct err *e)
{
	size_t i;
	int status;

	*r = (struct rootfs){ .root = -1, .null_tree = -1, .dev = -1, .console = -1 };
	status = set_host_propagation(l, e);
	if (!status)
		status = reopen_bundle(l, e);
	if (!status)
		status = attach_root(l, r, e);
	for (i = 0; i < l->spec->mounts.n && !status; i++) {
		const struct oci_mount *m = &l->spec->mounts.v[i];
		struct mount_options o;

		status = mount_options_parse(m, &o, e);
		if (!status && o.remount)
			status = remount(r, m, &o, e);
		else if (!status && o.bind)
			status = mount_bind(l, r, i, m, &o, e);
		else if (!status)
			status = mount_kind(l, r, m, &o, e);
		if (status) {
			err_prefix(e, "mounts[%zu] (%.100s)", i, m->destination);
			return status;
		}
		if (!strcmp(m->destination, "/dev") && !o.bind)
			r->has_dev = true;
		else if (!strcmp(m->destination, "/dev"))
			r->dev = -1; /* covered */
	}
	return status ? status : devices_make(l, r, e);
}

int rootfs_console(struct launch *l, struct rootfs *r, int *master, struct err *e)
{
	const struct oci_box *size = l->spec->process->console_size;
	_cleanup_fd_ int m = -1, tree = -1, target = -1;
	int unlock = 0, status;

	m = path_open(r->root, "/dev/pts/ptmx", PATH_IN_ROOT, O_RDWR | O_NOCTTY, 0);
	if (m < 0) /* a container without its own /dev/pts */
		m = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (m < 0)
		return err_sys(e, errno, "make a terminal");
	if (ioctl(m, TIOCSPTLCK, &unlock) < 0)
		return err_sys(e, errno, "unlock the terminal");
	/* by ioctl, not by name: a name could lead to somebody else's terminal */
	r->console = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (r->console < 0)
		return err_sys(e, errno, "open the terminal");
	if (size) {
		unsigned short box[4] = { (unsigned short)size->height.v,
					  (unsigned short)size->width.v, 0, 0 };

		ioctl(m, TIOCSWINSZ, box);
	}
	if (fchown(r->console, l->spec->process->user ? (uid_t)l->spec->process->user->uid.v : 0,
		   (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL)
		return err_sys(e, errno, "give the terminal to its user");
	tree = open_tree_at(r->console, "", false);
	target = path_make(r->root, "/dev/console", true, 0620);
	if (target >= 0 && tree >= 0) {
		status = mount_attach(tree, target);
		if (status)
			return err_sys(e, -status, "attach the terminal to /dev/console");
	}
	*master = fd_take(&m);
	return 0;
}

static int cover(struct rootfs *r, int target, bool directory, int *empty, struct err *e)
{
	struct mount_options o = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
				   MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
	_cleanup_fd_ int tree = -1;
	int status;

	if (!directory) {
		tree = open_tree_at(r->null_tree, "", false);
	} else if (*empty < 0) {
		tree = mount_filesystem("tmpfs", NULL, &o, e);
		if (tree < 0)
			return tree;
	} else {
		tree = open_tree_at(*empty, "", false);
	}
	status = tree < 0 ? tree : mount_attach(tree, target);
	if (!status && directory && *empty < 0) /* once attached, it is what the next ones are cloned from */
		*empty = fd_take(&tree);
	return status;
}

/* Files and directories are covered by their like.  Which of the two a path is, is guessed, since the kernel refuses
 * (EINVAL) what does not fit. */
static int mask_one(struct rootfs *r, const char *path, int *empty, struct err *e)
{
	static const char *const directories[] = { "/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware",
						   "/sys/devices/virtual/powercap" };
	_cleanup_fd_ int target = path_open(r->root, path, PATH_IN_ROOT, O_PATH, 0);
	bool directory = strncmp(path, "/proc/", 6) != 0;
	struct stat st;
	size_t i;
	int status;

	if (target == -ENOENT || target == -ENOTDIR) /* this kernel has no such file */
		return 0;
	if (target < 0)
		return err_sys(e, -target, "linux.maskedPaths: %s", path);
	for (i = 0; i < ARRAY_SIZE(directories); i++)
		directory |= !strcmp(path, directories[i]);
	status = cover(r, target, directory, empty, e);
	if (status == -EINVAL && !fstat(target, &st) && S_ISDIR(st.st_mode) != directory)
		status = cover(r, target, !directory, empty, e);
	return status ? err_sys(e, -status, "linux.maskedPaths: cover %s", path) : 0;
}

static int make_readonly(struct rootfs *r, const char *path, struct err *e)
{
	_cleanup_fd_ int target = path_open(r->root, path, PATH_IN_ROOT, O_PATH, 0), tree = -1;
	struct mount_options o = { .recursive_set = MOUNT_ATTR_RDONLY };
	int status;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return err_sys(e, -target, "linux.readonlyPaths: %s", path);
	tree = mount_clone(target, "", true, &o);
	status = tree < 0 ? tree : mount_attach(tree, target);
	return status ? err_sys(e, -status, "linux.readonlyPaths: %s", path) : 0;
}

/* What masked files become.  Its identity is checked: a masked file bound to anything else would
 * be a hole.  Attached over the root's own /dev/null only as a clone. */
static int open_null(struct launch *l, struct rootfs *r, struct err *e)
{
	struct stat st;

	r->null_tree = open("/dev/null", O_PATH | O_CLOEXEC);
	if (r->null_tree < 0)
		return err_sys(e, errno, "open /dev/null");
	if (fstat(r->null_tree, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(e, -ENXIO, "/dev/null is not the null device");
	(void)l;
	return 0;
}

static int switch_root(struct launch *l, struct rootfs *r, struct err *e)
{
	if (fchdir(r->root) < 0)
		return err_sys(e, errno, "enter the root");
	if (l->state.host_mounts) /* all that can be done without a mount namespace */
		return chroot(".") < 0 || chdir("/") < 0 ? err_sys(e, errno, "change the root") : 0;
	if (l->options->no_pivot) {
		_cleanup_fd_ int top = open("/", O_PATH | O_CLOEXEC);

		if (syscall(SYS_move_mount, r->root, "", top, "",
			    MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
			return err_sys(e, errno, "move the root");
		if (chroot(".") < 0 || chdir("/") < 0)
			return err_sys(e, errno, "change the root");
		return 0;
	}
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_sys(e, errno, "pivot_root");
	/* the host's tree now lies on top of "."; slave, so that detaching it stays ours */
	if (mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "make the old root slave");
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(e, errno, "detach the old root");
	return chdir("/") < 0 ? err_sys(e, errno, "enter /") : 0;
}

int rootfs_enter(struct launch *l, struct rootfs *r, struct err *e)
{
	const struct oci_linux_ *c = l->spec->linux_;
	_cleanup_fd_ int empty = -1;
	size_t i;
	int status = c->masked_paths.n ? open_null(l, r, e) : 0;

	for (i = 0; i < c->readonly_paths.n && !status; i++)
		status = make_readonly(r, c->readonly_paths.v[i], e);
	for (i = 0; i < c->masked_paths.n && !status; i++)
		status = mask_one(r, c->masked_paths.v[i], &empty, e);
	if (!status && l->spec->root->readonly) {
		struct mount_options ro = { .attr_set = MOUNT_ATTR_RDONLY };

		status = mount_apply(r->root, &ro);
		if (status)
			return err_sys(e, -status, "root.readonly");
	}
	if (!status)
		status = switch_root(l, r, e);
	if (!status && c->rootfs_propagation.v) {
		struct mount_options o = { .propagation = (u64)c->rootfs_propagation.v };

		status = mount_apply(r->root, &o);
		if (status)
			return err_sys(e, -status, "linux.rootfsPropagation");
	}
	cleanup_fd(&r->null_tree);
	cleanup_fd(&r->dev);
	cleanup_fd(&r->root);
	r->dev = r->root = r->null_tree = -1;
	return status;
}
