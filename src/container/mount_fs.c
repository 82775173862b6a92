/* SPDX-License-Identifier: MIT
 * Mount options as one table, and file systems made with fsopen/fsmount. */
#include <errno.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "container/mounts.h"

enum option_kind {
	O_ATTR,    /* set/clear attributes of this mount */
	O_RATTR,   /* the same on all below */
	O_SB,      /* flag of the file system itself */
	O_PROP,
	O_BIND, O_RBIND, O_REMOUNT, O_COPYUP, O_IDMAP, O_RIDMAP,
	O_NOTHING, /* accepted, no effect on Linux today */
};

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif
#define ATIME MOUNT_ATTR__ATIME
/* name, kind, set, clear; sorted by name */
#define MOUNT_OPTIONS(F) \
	F("acl", O_SB, 0, 0) \
	F("async", O_SB, 0, 0) \
	F("atime", O_ATTR, 0, ATIME) \
	F("bind", O_BIND, 0, 0) \
	F("defaults", O_NOTHING, 0, 0) \
	F("dev", O_ATTR, 0, MOUNT_ATTR_NODEV) \
	F("diratime", O_ATTR, 0, MOUNT_ATTR_NODIRATIME) \
	F("dirsync", O_SB, 0, 0) \
	F("exec", O_ATTR, 0, MOUNT_ATTR_NOEXEC) \
	F("idmap", O_IDMAP, 0, 0) \
	F("iversion", O_SB, 0, 0) \
	F("lazytime", O_SB, 0, 0) \
	F("loud", O_NOTHING, 0, 0) \
	F("mand", O_SB, 0, 0) \
	F("noacl", O_SB, 0, 0) \
	F("noatime", O_ATTR, MOUNT_ATTR_NOATIME, ATIME) \
	F("nodev", O_ATTR, MOUNT_ATTR_NODEV, 0) \
	F("nodiratime", O_ATTR, MOUNT_ATTR_NODIRATIME, 0) \
	F("noexec", O_ATTR, MOUNT_ATTR_NOEXEC, 0) \
	F("noiversion", O_SB, 0, 0) \
	F("nolazytime", O_SB, 0, 0) \
	F("nomand", O_SB, 0, 0) \
	F("norelatime", O_ATTR, 0, ATIME) \
	F("nostrictatime", O_ATTR, 0, ATIME) \
	F("nosuid", O_ATTR, MOUNT_ATTR_NOSUID, 0) \
	F("nosymfollow", O_ATTR, MOUNT_ATTR_NOSYMFOLLOW, 0) \
	F("private", O_PROP, MS_PRIVATE, 0) \
	F("ratime", O_RATTR, 0, ATIME) \
	F("rbind", O_RBIND, 0, 0) \
	F("rdev", O_RATTR, 0, MOUNT_ATTR_NODEV) \
	F("rdiratime", O_RATTR, 0, MOUNT_ATTR_NODIRATIME) \
	F("relatime", O_ATTR, MOUNT_ATTR_RELATIME, ATIME) \
	F("remount", O_REMOUNT, 0, 0) \
	F("rexec", O_RATTR, 0, MOUNT_ATTR_NOEXEC) \
	F("ridmap", O_RIDMAP, 0, 0) \
	F("rnoatime", O_RATTR, MOUNT_ATTR_NOATIME, ATIME) \
	F("rnodev", O_RATTR, MOUNT_ATTR_NODEV, 0) \
	F("rnodiratime", O_RATTR, MOUNT_ATTR_NODIRATIME, 0) \
	F("rnoexec", O_RATTR, MOUNT_ATTR_NOEXEC, 0) \
	F("rnorelatime", O_RATTR, 0, ATIME) \
	F("rnostrictatime", O_RATTR, 0, ATIME) \
	F("rnosuid", O_RATTR, MOUNT_ATTR_NOSUID, 0) \
	F("rnosymfollow", O_RATTR, MOUNT_ATTR_NOSYMFOLLOW, 0) \
	F("ro", O_ATTR, MOUNT_ATTR_RDONLY, 0) \
	F("rprivate", O_PROP, MS_PRIVATE | MS_REC, 0) \
	F("rrelatime", O_RATTR, MOUNT_ATTR_RELATIME, ATIME) \
	F("rro", O_RATTR, MOUNT_ATTR_RDONLY, 0) \
	F("rrw", O_RATTR, 0, MOUNT_ATTR_RDONLY) \
	F("rshared", O_PROP, MS_SHARED | MS_REC, 0) \
	F("rslave", O_PROP, MS_SLAVE | MS_REC, 0) \
	F("rstrictatime", O_RATTR, MOUNT_ATTR_STRICTATIME, ATIME) \
	F("rsuid", O_RATTR, 0, MOUNT_ATTR_NOSUID) \
	F("rsymfollow", O_RATTR, 0, MOUNT_ATTR_NOSYMFOLLOW) \
	F("runbindable", O_PROP, MS_UNBINDABLE | MS_REC, 0) \
	F("rw", O_ATTR, 0, MOUNT_ATTR_RDONLY) \
	F("shared", O_PROP, MS_SHARED, 0) \
	F("silent", O_NOTHING, 0, 0) \
	F("slave", O_PROP, MS_SLAVE, 0) \
	F("strictatime", O_ATTR, MOUNT_ATTR_STRICTATIME, ATIME) \
	F("suid", O_ATTR, 0, MOUNT_ATTR_NOSUID) \
	F("symfollow", O_ATTR, 0, MOUNT_ATTR_NOSYMFOLLOW) \
	F("sync", O_SB, 0, 0) \
	F("tmpcopyup", O_COPYUP, 0, 0) \
	F("unbindable", O_PROP, MS_UNBINDABLE, 0)

static const struct option {
	const char *name;
	enum option_kind kind;
	u64 set, clear;
} options[] = {
#define OPTION_ROW(name, kind, set, clear) { name, kind, set, clear },
	MOUNT_OPTIONS(OPTION_ROW)
};

const char *const mount_option_names[] = {
#define OPTION_NAME(name, kind, set, clear) name,
	MOUNT_OPTIONS(OPTION_NAME)
	NULL
};

static const struct option *find_option(const char *name)
{
	size_t low = 0, high = ARRAY_SIZE(options);

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = strcmp(name, options[mid].name);

		if (!c)
			return &options[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static int append(char *list, size_t size, const char *item)
{
	size_t n = strlen(list), m = strlen(item);

	if (n + m + 2 > size)
		return -E2BIG;
	if (n)
		list[n++] = ',';
	memcpy(list + n, item, m + 1);
	return 0;
}

/* Later options win, so setting clears an earlier clear and the other way round. */
static void merge(u64 *set, u64 *clear, const struct option *o)
{
	*set = (*set & ~o->clear) | o->set;
	*clear = (*clear | o->clear) & ~(o->set & ~(u64)ATIME);
}

int mount_options_parse(const struct oci_mount *m, struct mount_options *o, struct err *e)
{
	size_t i;

	memset(o, 0, sizeof *o);
	for (i = 0; i < m->options.n; i++) {
		const char *s = m->options.v[i];
		const struct option *k = find_option(s);
		int r = 0;

		if (!k) {
			if (!strncmp(s, "idmap=", 6) || !strncmp(s, "ridmap=", 7))
				return err_set(e, -ENOTSUP, "options[%zu]: \"%.64s\": give the "
					       "mapping as uidMappings and gidMappings", i, s);
			r = append(o->data, sizeof o->data, s);
		} else if (k->kind == O_ATTR) {
			merge(&o->attr_set, &o->attr_clear, k);
		} else if (k->kind == O_RATTR) {
			merge(&o->recursive_set, &o->recursive_clear, k);
		} else if (k->kind == O_SB) {
			r = append(o->flags, sizeof o->flags, s);
		} else if (k->kind == O_PROP) {
			o->propagation = k->set;
		}
		if (r)
			return err_set(e, r, "options: too long");
		if (k) {
			o->bind |= k->kind == O_BIND || k->kind == O_RBIND;
			o->recursive |= k->kind == O_RBIND;
			o->remount |= k->kind == O_REMOUNT;
			o->copy_up |= k->kind == O_COPYUP;
			o->idmap |= k->kind == O_IDMAP || k->kind == O_RIDMAP;
			o->idmap_recursive |= k->kind == O_RIDMAP;
		}
	}
	o->read_only = o->attr_set & MOUNT_ATTR_RDONLY;
	if (m->uid_mappings.n || m->gid_mappings.n)
		o->idmap = true;
	if (m->type && !strcmp(m->type, "bind") && !o->bind)
		o->bind = o->recursive = true;
	return 0;
}

static int configure(int fs, unsigned command, const char *key, const char *value)
{
	return syscall(SYS_fsconfig, fs, command, key, value, 0) < 0 ? -errno : 0;
}

/* What the kernel wrote about the failure to the file system's context, for the error. */
static int fs_error(int fs, int r, const char *type, const char *what, struct err *e)
{
	char reason[256];
	ssize_t n = read(fs, reason, sizeof reason - 1);

	if (n > 0) {
		reason[n] = 0;
		reason[strcspn(reason, "\n")] = 0;
		return err_sys(e, -r, "%s: %s (%.200s)", type, what, reason);
	}
	return err_sys(e, -r, "%s: %s", type, what);
}

static int configure_list(int fs, const char *type, char *list, bool flag, struct err *e)
{
	char *item;

	while ((item = strsep(&list, ","))) {
		char *value = flag ? NULL : strchr(item, '=');
		int r;

		if (!*item || !strcmp(item, "newinstance")) /* the only kind of devpts since Linux 4.7 */
			continue;
		if (value)
			*value++ = 0;
		r = configure(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, item, value);
		if (r)
			return fs_error(fs, r, type, item, e);
	}
	return 0;
}

int mount_filesystem(const char *type, const char *source, const struct mount_options *o,
		     struct err *e)
{
	_cleanup_fd_ int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	struct mount_options copy = *o;
	int r, mount;

	if (fs < 0)
		return err_sys(e, errno, "file system type \"%s\"", type);
	if (source && *source) {
		r = configure(fs, FSCONFIG_SET_STRING, "source", source);
		if (r)
			return fs_error(fs, r, type, "source", e);
	}
	r = configure_list(fs, type, copy.flags, true, e);
	if (!r)
		r = configure_list(fs, type, copy.data, false, e);
	if (r)
		return r;
	r = configure(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
	if (r)
		return fs_error(fs, r, type, "create", e);
	mount = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
			     (unsigned)(o->attr_set | (o->recursive_set & ~MOUNT_ATTR_RDONLY)));
	return mount < 0 ? err_sys(e, errno, "%s: mount", type) : mount;
}

int mount_clone(int dirfd, const char *path, bool recursive, const struct mount_options *o)
{
	static bool separate; /* kernels before 6.15 need two calls */
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0 : AT_EMPTY_PATH) |
			 (recursive ? AT_RECURSIVE : 0);
	struct mount_attr a = { .attr_set = o ? recursive ? o->recursive_set : o->attr_set : 0 };
	int fd = -1, r;

	if (a.attr_set && !(a.attr_set & ATIME) && !separate) {
		fd = (int)syscall(SYS_open_tree_attr, dirfd, path, flags, &a, sizeof a);
		separate = fd < 0;
	}
	if (fd >= 0)
		return fd;
	fd = (int)syscall(SYS_open_tree, dirfd, path, flags);
	if (fd < 0)
		return -errno;
	r = a.attr_set ? mount_apply(fd, o) : 0;
	if (r)
		close(fd);
	return r ? r : fd;
}

int mount_attach(int tree, int target)
{
	return syscall(SYS_move_mount, tree, "", target, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0 ? -errno : 0;
}

int mount_apply(int tree, const struct mount_options *o)
{
	struct mount_attr a = { .attr_set = o->attr_set, .attr_clr = o->attr_clear };
	unsigned flags = AT_EMPTY_PATH;

	/* the kernel wants the whole atime field cleared whenever a part of it is set */
	if (a.attr_set & ATIME)
		a.attr_clr |= ATIME;
	if (o->propagation && !(o->propagation & MS_REC)) {
		a.propagation = o->propagation;
	}
	if (a.attr_set || a.attr_clr || a.propagation)
		if (syscall(SYS_mount_setattr, tree, "", flags, &a, sizeof a) < 0)
			return -errno;
	a = (struct mount_attr){ .attr_set = o->recursive_set, .attr_clr = o->recursive_clear };
	if (a.attr_set & ATIME)
		a.attr_clr |= ATIME;
	if (o->propagation & MS_REC)
		a.propagation = o->propagation & ~(u64)MS_REC;
	if (a.attr_set || a.attr_clr || a.propagation)
		if (syscall(SYS_mount_setattr, tree, "", flags | AT_RECURSIVE, &a, sizeof a) < 0)
			return -errno;
	return 0;
}

static int print_map(struct text *t, const struct oci_id_mapping_list *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		text_add(t, "%llu %llu %llu\n", (unsigned long long)l->v[i].container_id.v,
			 (unsigned long long)l->v[i].host_id.v,
			 (unsigned long long)l->v[i].size.v);
	return t->failed ? -ENOMEM : 0;
}

/* Unprivileged processes may map only themselves; the setuid helper maps what /etc/subuid grants. */
static int map_by_helper(const char *helper, pid_t pid, const struct oci_id_mapping_list *l,
			 struct err *e)
{
	char **argv = calloc(l->n * 3 + 3, sizeof *argv), number[24];
	size_t n = 0, i;
	int status = 0;
	pid_t child;

	if (!argv)
		return err_set(e, -ENOMEM, "id mappings: out of memory");
	snprintf(number, sizeof number, "%d", (int)pid);
	argv[n++] = (char *)helper;
	argv[n++] = number;
	for (i = 0; i < l->n; i++) {
		u64 v[3] = { l->v[i].container_id.v, l->v[i].host_id.v, l->v[i].size.v };

		for (int k = 0; k < 3; k++)
			if (asprintf(&argv[n++], "%llu", (unsigned long long)v[k]) < 0)
				argv[n - 1] = NULL;
	}
	child = fork();
	if (!child) {
		execvp(helper, argv);
		_exit(127);
	}
	if (child > 0)
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	for (i = 2; i < n; i++)
		free(argv[i]);
	free(argv);
	if (child < 0)
		return err_sys(e, errno, "fork %s", helper);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, -EPERM, "%s failed with status %d", helper, WEXITSTATUS(status));
	return 0;
}

static int write_map(pid_t pid, const char *file, const char *helper,
		     const struct oci_id_mapping_list *l, bool rootless, struct err *e)
{
	_cleanup_text_ struct text t = { 0 };
	char path[64];
	int r = print_map(&t, l);

	if (!l->n)
		return 0;
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
	if (!r)
		r = file_write_at(AT_FDCWD, path, t.text, t.length);
	if (r == -EPERM && rootless)
		return map_by_helper(helper, pid, l, e);
	return r ? err_sys(e, -r, "linux.%cidMappings: write %s", file[0], path) : 0;
}

int userns_map(pid_t pid, const struct oci_id_mapping_list *uids,
	       const struct oci_id_mapping_list *gids, bool rootless, struct err *e)
{
	char path[64];
	int r = write_map(pid, "uid_map", "newuidmap", uids, rootless, e);

	if (r)
		return r;
	if (rootless && gids->n == 1 && gids->v[0].size.v == 1) {
		snprintf(path, sizeof path, "/proc/%d/setgroups", (int)pid);
		file_write_at(AT_FDCWD, path, "deny", 4);
	}
	return write_map(pid, "gid_map", "newgidmap", gids, rootless, e);
}

int userns_make(const struct oci_id_mapping_list *uids, const struct oci_id_mapping_list *gids,
		struct err *e)
{
	int gate[2], fd, r;
	char path[64], byte;
	pid_t child;

	if (pipe2(gate, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	child = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (!child) {
		close(gate[1]);
		(void)!read(gate[0], &byte, 1);
		_exit(0);
	}
	close(gate[0]);
	if (child < 0) {
		close(gate[1]);
		return err_sys(e, errno, "make a user namespace");
	}
	r = userns_map(child, uids, gids, false, e);
	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)child);
	fd = r ? r : open(path, O_RDONLY | O_CLOEXEC);
	if (!r && fd < 0)
		fd = err_sys(e, errno, "open %s", path);
	close(gate[1]);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}
