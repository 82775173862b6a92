/* SPDX-License-Identifier: MIT */
#include "base/jail_enter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* sys/mount.h and linux/mount.h exclude each other in Debian 12. */
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);
#define MNT_DETACH 2

#define TEXT_MAX 4096

static bool write_file(const char *path, const char *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	bool done = fd >= 0 && write(fd, text, size) == (ssize_t)size;

	if (fd >= 0)
		close(fd);
	return done;
}

/* An ordinary user gets namespaces within one of users, in which he is who he was. */
static bool leave_namespaces(const struct jail_plan *plan)
{
	int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | (plan->network ? 0 : CLONE_NEWNET);
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];

	if (!uid)
		return !unshare(flags);
	if (unshare(flags | CLONE_NEWUSER))
		return false;
	snprintf(map, sizeof map, "%u %u 1", uid, uid);
	if (!write_file("/proc/self/uid_map", map, strlen(map)) || !write_file("/proc/self/setgroups", "deny", 4))
		return false;
	snprintf(map, sizeof map, "%u %u 1", gid, gid);
	return write_file("/proc/self/gid_map", map, strlen(map));
}

/* The directory as a mount of its own. */
static int tree_of(const struct jail_plan *plan)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | (plan->readonly ? MOUNT_ATTR_RDONLY : 0),
	};
	int tree = (int)syscall(SYS_open_tree, plan->root, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);

	if (tree >= 0 && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr)) {
		close(tree);
		return -1;
	}
	return tree;
}

static void make_text(const struct jail_text *t, const char *text, size_t size)
{
	char directory[64];
	const char *slash = strrchr(t->path, '/');

	if (slash && slash != t->path && (size_t)(slash - t->path) < sizeof directory) {
		snprintf(directory, sizeof directory, "%.*s", (int)(slash - t->path), t->path);
		mkdir(directory, 0755);
	}
	write_file(t->path, text, size);
}

static size_t read_text(const char *path, char text[TEXT_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, TEXT_MAX) : 0;

	if (fd >= 0)
		close(fd);
	return n > 0 ? (size_t)n : 0;
}

#define TEXTS_MAX 4

/* /proc is where a mount can be put whatever the host looks like. */
static bool leave_files(const struct jail_plan *plan)
{
	static char text[TEXTS_MAX][TEXT_MAX];
	size_t size[TEXTS_MAX] = { 0 };
	int tree = -1, rc;

	for (size_t i = 0; i < plan->n_texts && i < TEXTS_MAX; i++)
		size[i] = read_text(plan->texts[i].from, text[i]);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return false;
	if (plan->root >= 0) {
		tree = tree_of(plan);
		if (tree < 0)
			return false;
		rc = (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH);
		close(tree);
	} else {
		rc = mount("none", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=755");
	}
	if (rc || chdir("/proc") || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return false;
	for (size_t i = 0; i < plan->n_texts && i < TEXTS_MAX; i++)
		if (size[i])
			make_text(&plan->texts[i], text[i], size[i]);
	if (plan->root < 0)
		mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	return true;
}

static bool kept(const struct jail_plan *plan, unsigned long cap)
{
	for (size_t i = 0; i < plan->n_keep; i++)
		if (plan->keep[i] == cap)
			return true;
	return false;
}

static bool drop_rights(const struct jail_plan *plan)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct have[2], data[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	if (syscall(SYS_capget, &head, have))
		return false;
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (kept(plan, cap))
			data[cap / 32].permitted |= have[cap / 32].permitted & 1u << cap % 32;
		else
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	}
	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return !syscall(SYS_capset, &head, data) && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int jail_enter(const struct jail_plan *plan, bool *moved, struct err *e)
{
	*moved = leave_namespaces(plan) && leave_files(plan);
	if (!drop_rights(plan))
		return err_sys(e, errno, "giving up privileges");
	return 0;
}
