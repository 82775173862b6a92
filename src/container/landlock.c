/* SPDX-License-Identifier: MIT
 * Landlock rules of a container: the annotation org.penumbra.landlock, one rule a line,
 *
 *	r /path      read files and list directories below
 *	x /path      the same, and execute
 *	w /path      the same as r, and write, make, remove, rename
 *	n            no TCP at all: neither bind nor connect
 *
 * Beneath the file permissions, mounts and the filter, it holds whatever else gives way.  The rules
 * are made inside the container, after its root has been entered, so paths are the container's.
 * Source: Linux Documentation/userspace-api/landlock.rst. */
#include <errno.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "container/command.h"
#include "container/harden.h"

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ull << 13)
#endif
#define ACCESS_TRUNCATE (1ull << 14) /* version 3 */
#define ACCESS_IOCTL_DEV (1ull << 15) /* version 5 */
#define NET_BIND (1ull << 0)         /* version 4 */
#define NET_CONNECT (1ull << 1)
#define SCOPE_ABSTRACT (1ull << 0)   /* version 6 */
#define SCOPE_SIGNAL (1ull << 1)

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define EXECUTE (READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define MAKE (LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | \
	      LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | \
	      LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REMOVE_DIR | \
	      LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REFER)
#define DEVICES (LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)
#define WRITE (READ | MAKE | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE)
#define FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE | \
	       LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE | ACCESS_IOCTL_DEV)

struct ruleset_attributes {
	u64 fs, net, scope;
};

int landlock_version(void)
{
	long v = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return v < 0 ? 0 : (int)v;
}

static u64 known_access(int version)
{
	u64 all = EXECUTE | WRITE | DEVICES | ACCESS_IOCTL_DEV;

	if (version < 2)
		all &= ~(u64)LANDLOCK_ACCESS_FS_REFER;
	if (version < 3)
		all &= ~(u64)ACCESS_TRUNCATE;
	if (version < 5)
		all &= ~(u64)ACCESS_IOCTL_DEV;
	return all;
}

static int add_path(int ruleset, char kind, const char *path, u64 known, struct err *e)
{
	u64 access = kind == 'w' ? WRITE : kind == 'x' ? EXECUTE : READ;
	struct landlock_path_beneath_attr a = { 0 };
	_cleanup_fd_ int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0; /* what is not there needs no rule */
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "Landlock rule for %s", path);
	if (S_ISCHR(st.st_mode) || !strncmp(path, "/dev", 4))
		access |= ACCESS_IOCTL_DEV;
	a.allowed_access = access & known & (S_ISDIR(st.st_mode) ? ~0ull : FILES);
	a.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &a, 0) < 0)
		return err_sys(e, errno, "Landlock rule for %s", path);
	return 0;
}

int landlock_make(const char *rules, int *ruleset, struct err *e)
{
	int version = landlock_version(), r = 0;
	struct ruleset_attributes a = { .fs = known_access(version) };
	size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
	_cleanup_free_ char *copy = strdup(rules);
	char *p = copy, *line;

	*ruleset = -1;
	if (!copy)
		return err_set(e, -ENOMEM, "Landlock: out of memory");
	if (!version) /* a layer beneath the others: its absence is told by `explain` */
		return 0;
	if (version >= 4 && (!strncmp(rules, "n\n", 2) || strstr(rules, "\nn\n")))
		a.net = NET_BIND | NET_CONNECT;
	if (version >= 6)
		a.scope = SCOPE_ABSTRACT | SCOPE_SIGNAL;
	*ruleset = (int)syscall(SYS_landlock_create_ruleset, &a, size, 0);
	if (*ruleset < 0)
		return err_sys(e, errno, "Landlock: make a rule set");
	fcntl(*ruleset, F_SETFD, FD_CLOEXEC);
	while (!r && (line = strsep(&p, "\n"))) {
		if (!*line || !strcmp(line, "n"))
			continue;
		if (!strchr("rwx", line[0]) || line[1] != ' ' || line[2] != '/')
			r = err_set(e, -EINVAL, "annotation " ANNOTATION_LANDLOCK ": \"%.64s\" is not "
				    "a rule", line);
		else
			r = add_path(*ruleset, line[0], line + 2, a.fs, e);
	}
	if (r) {
		close(*ruleset);
		*ruleset = -1;
	}
	return r;
}

int hardening_prepare(struct launch *l, int *ruleset, struct err *e)
{
	const char *rules = spec_annotation(l->spec, ANNOTATION_LANDLOCK);

	*ruleset = -1;
	return rules ? landlock_make(rules, ruleset, e) : 0;
}

int hardening_join(struct container *k, int *ruleset, struct err *e)
{
	const char *rules = k->spec ? spec_annotation(k->spec, ANNOTATION_LANDLOCK) : NULL;

	*ruleset = -1;
	return rules ? landlock_make(rules, ruleset, e) : 0;
}
