/* SPDX-License-Identifier: MIT
 * Attributes of the share server: what the guest sees of a file, and how what it sets is kept.
 *
 * With the host's owners everything is passed through.  Else owner, group, mode and device number that differ from
 * the host's are kept as text in the extended attribute OWNER, "MODE UID GID MAJOR:MINOR", mode in octal; then the host's
 * file never has the setuid or setgid bit, devices and the like are empty files, and the user that runs the
 * worker can always read and write. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "device/share_internal.h"

#define OWNER "user.penumbra.owner"
#define PERMISSIONS 07777u
#define ENTRY_SECONDS 1 /* how long the guest may trust names and attributes without asking */

struct share_path share_path(int fd)
{
	struct share_path p;

	snprintf(p.text, sizeof p.text, "%d", fd);
	return p;
}

/* Only regular files and directories can carry user attributes (xattr(7)). */
static bool carries_owner(const struct stat *st) { return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode); }

static bool kind_is_kept(mode_t kind)
{
	return kind == S_IFREG || kind == S_IFIFO || kind == S_IFCHR || kind == S_IFBLK || kind == S_IFSOCK;
}

/* Takes what OWNER says into `st`; what makes no sense, because somebody on the host wrote it, is passed over. */
static void apply_owner(int fd, struct stat *st)
{
	unsigned mode, uid, gid, major, minor;
	char text[64];
	ssize_t n = getxattr(share_path(fd).text, OWNER, text, sizeof text - 1);

	if (n <= 0)
		return;
	text[n] = 0;
	if (sscanf(text, "%o %u %u %u:%u", &mode, &uid, &gid, &major, &minor) != 5)
		return;
	if (S_ISDIR(st->st_mode) ? !S_ISDIR(mode) : !kind_is_kept(mode & S_IFMT))
		return;
	st->st_mode = mode & (S_IFMT | PERMISSIONS);
	st->st_uid = uid;
	st->st_gid = gid;
	st->st_rdev = makedev(major, minor);
}

int share_stat(struct share *s, int fd, struct stat *st)
{
	if (fstatat(fd, "", st, AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
		return -errno;
	if (!s->host_owners && carries_owner(st))
		apply_owner(fd, st);
	return 0;
}

mode_t share_host_mode(const struct share *s, mode_t mode)
{
	if (s->host_owners)
		return mode & PERMISSIONS;
	return (mode & 0777) | (S_ISDIR(mode) ? 0700 : 0600);
}

static int change_host(int fd, const struct stat *now, const struct stat *want)
{
	if ((now->st_uid != want->st_uid || now->st_gid != want->st_gid) &&
	    fchownat(fd, "", want->st_uid, want->st_gid, AT_EMPTY_PATH))
		return -errno;
	/* A change of owner may have cleared bits of the mode. */
	if (!S_ISLNK(now->st_mode) && (now->st_uid != want->st_uid || now->st_gid != want->st_gid || now->st_mode != want->st_mode) &&
	    fchmodat(AT_FDCWD, share_path(fd).text, want->st_mode & PERMISSIONS, 0))
		return -errno;
	return 0;
}

int share_set_owner(struct share *s, int fd, const struct stat *want)
{
	struct stat now;
	mode_t host = share_host_mode(s, want->st_mode);
	char text[64];
	int n;

	if (fstatat(fd, "", &now, AT_EMPTY_PATH))
		return -errno;
	if (s->host_owners)
		return change_host(fd, &now, want);
	if (!carries_owner(&now))
		return now.st_uid == want->st_uid && now.st_gid == want->st_gid ? 0 : -EPERM;
	if ((now.st_mode & PERMISSIONS) != host) {
		if (fchmodat(AT_FDCWD, share_path(fd).text, host, 0))
			return -errno;
		now.st_mode = (now.st_mode & S_IFMT) | host;
	}
	if (now.st_mode == want->st_mode && now.st_uid == want->st_uid && now.st_gid == want->st_gid)
		return removexattr(share_path(fd).text, OWNER) && errno != ENODATA && errno != EOPNOTSUPP ? -errno : 0;
	n = snprintf(text, sizeof text, "%o %u %u %u:%u", (unsigned)want->st_mode, want->st_uid, want->st_gid,
		     major(want->st_rdev), minor(want->st_rdev));
	if (setxattr(share_path(fd).text, OWNER, text, (size_t)n, 0))
		return errno == EOPNOTSUPP ? -EPERM : -errno;
	return 0;
}

int share_kill_suid(struct share *s, int fd)
{
	struct stat st;
	mode_t mode;
	int rc = share_stat(s, fd, &st);

	if (rc || !S_ISREG(st.st_mode))
		return rc;
	mode = st.st_mode & ~(mode_t)S_ISUID;
	if (mode & S_IXGRP)
		mode &= ~(mode_t)S_ISGID;
	if (mode == st.st_mode)
		return 0;
	st.st_mode = mode;
	return share_set_owner(s, fd, &st);
}

void share_fill_attr(const struct stat *st, struct fuse_attr *a)
{
	*a = (struct fuse_attr){
		.ino = st->st_ino, .size = (u64)st->st_size, .blocks = (u64)st->st_blocks,
		.atime = (u64)st->st_atim.tv_sec, .atimensec = (u32)st->st_atim.tv_nsec,
		.mtime = (u64)st->st_mtim.tv_sec, .mtimensec = (u32)st->st_mtim.tv_nsec,
		.ctime = (u64)st->st_ctim.tv_sec, .ctimensec = (u32)st->st_ctim.tv_nsec,
		.mode = st->st_mode, .nlink = (u32)st->st_nlink, .uid = st->st_uid, .gid = st->st_gid,
		/* the kernel's new_encode_dev(): 12 bits of major within 20 of minor */
		.rdev = (minor(st->st_rdev) & 0xff) | (major(st->st_rdev) & 0xfff) << 8 |
			(minor(st->st_rdev) & 0xfff00) << 12,
		.blksize = (u32)st->st_blksize,
	};
}

void share_fill_entry(struct share *s, const struct share_node *n, const struct stat *st, struct fuse_entry_out *o)
{
	*o = (struct fuse_entry_out){
		.nodeid = share_node_id(s, n), .entry_valid = ENTRY_SECONDS, .attr_valid = ENTRY_SECONDS,
	};
	share_fill_attr(st, &o->attr);
}

/* ---- requests ---- */

/* The handle's descriptor where the request names one, else the node's. */
static int fd_of(struct share *s, struct share_request *r, bool has_handle, u64 fh)
{
	struct share_handle *h = has_handle ? share_handle_find(s, fh) : NULL;

	return h ? h->fd : share_node_fd(s, r->node);
}

static int reply_attr(struct share *s, int fd)
{
	struct fuse_attr_out *o = (void *)s->reply;
	struct stat st;
	int rc = share_stat(s, fd, &st);

	if (rc)
		return rc;
	*o = (struct fuse_attr_out){ .attr_valid = ENTRY_SECONDS };
	share_fill_attr(&st, &o->attr);
	return sizeof *o;
}

int share_op_getattr(struct share *s, struct share_request *r)
{
	const struct fuse_getattr_in *in = (const void *)r->args;
	int fd = fd_of(s, r, in->getattr_flags & FUSE_GETATTR_FH, in->fh);

	return fd < 0 ? fd : reply_attr(s, fd);
}

static int set_size(struct share *s, struct share_request *r, const struct fuse_setattr_in *in, int fd)
{
	struct share_handle *h = in->valid & FATTR_FH ? share_handle_find(s, in->fh) : NULL;
	int rc;

	if (!S_ISREG(r->node->kind))
		return -EINVAL;
	if (in->size > INT64_MAX)
		return -EFBIG;
	if (in->valid & FATTR_KILL_SUIDGID && (rc = share_kill_suid(s, fd)))
		return rc;
	if (h ? ftruncate(h->fd, (off_t)in->size) : truncate(share_path(fd).text, (off_t)in->size))
		return -errno;
	return 0;
}

static int set_owner(struct share *s, const struct fuse_setattr_in *in, int fd)
{
	struct stat want;
	int rc = share_stat(s, fd, &want);

	if (rc)
		return rc;
	if (in->valid & (FATTR_UID | FATTR_GID) && !S_ISDIR(want.st_mode)) {
		want.st_mode &= ~(mode_t)S_ISUID;
		if (want.st_mode & S_IXGRP)
			want.st_mode &= ~(mode_t)S_ISGID;
	}
	if (in->valid & FATTR_MODE)
		want.st_mode = (want.st_mode & S_IFMT) | (in->mode & PERMISSIONS);
	if (in->valid & FATTR_UID)
		want.st_uid = in->uid;
	if (in->valid & FATTR_GID)
		want.st_gid = in->gid;
	return share_set_owner(s, fd, &want);
}

static struct timespec new_time(u32 valid, u32 set, u32 now, u64 seconds, u32 nsec)
{
	if (valid & now)
		return (struct timespec){ 0, UTIME_NOW };
	if (!(valid & set))
		return (struct timespec){ 0, UTIME_OMIT };
	return (struct timespec){ (time_t)seconds, nsec < 1000000000 ? nsec : 0 };
}

int share_op_setattr(struct share *s, struct share_request *r)
{
	const struct fuse_setattr_in *in = (const void *)r->args;
	int fd = share_node_fd(s, r->node), rc = 0;
	struct timespec times[2] = {
		new_time(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		new_time(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	if (fd < 0)
		return fd;
	if (in->valid & (FATTR_MODE | FATTR_UID | FATTR_GID))
		rc = set_owner(s, in, fd);
	if (!rc && in->valid & FATTR_SIZE)
		rc = set_size(s, r, in, fd);
	if (!rc && in->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW) &&
	    utimensat(AT_FDCWD, share_path(fd).text, times, 0))
		rc = -errno;
	return rc ? rc : reply_attr(s, fd);
}

/* ---- extended attributes ---- */

/* Of our own user's names the guest sees none; of others only the user's: the rest have a meaning on the host. */
static int check_xattr(struct share *s, struct share_request *r, int *fd)
{
	const char *name = r->name[0];

	if (strncmp(name, "user.", 5) || (!s->host_owners && !strcmp(name, OWNER)))
		return -EOPNOTSUPP;
	if (!S_ISREG(r->node->kind) && !S_ISDIR(r->node->kind))
		return -EPERM;
	*fd = share_node_fd(s, r->node);
	return MIN(*fd, 0);
}

int share_op_setxattr(struct share *s, struct share_request *r)
{
	const struct fuse_setxattr_in *in = (const void *)r->args;
	const u8 *value = (const u8 *)r->name[0] + strlen(r->name[0]) + 1;
	int fd, rc = check_xattr(s, r, &fd);

	if (rc)
		return rc;
	if (in->size > (size_t)(r->args + r->args_size - value))
		return -EINVAL;
	return setxattr(share_path(fd).text, r->name[0], value, in->size, (int)in->flags) ? -errno : 0;
}

int share_op_removexattr(struct share *s, struct share_request *r)
{
	int fd, rc = check_xattr(s, r, &fd);

	if (rc)
		return rc;
	return removexattr(share_path(fd).text, r->name[0]) ? -errno : 0;
}

/* The value that lies in s->reply, or only its size where the guest asks for that. */
static int reply_xattr(struct share *s, const struct share_request *r, u32 size, ssize_t n)
{
	struct fuse_getxattr_out *o = (void *)s->reply;

	if (n < 0)
		return -errno;
	if (size)
		return (size_t)n > MIN((size_t)size, r->room) ? -ERANGE : (int)n;
	*o = (struct fuse_getxattr_out){ .size = (u32)n };
	return sizeof *o;
}

int share_op_getxattr(struct share *s, struct share_request *r)
{
	const struct fuse_getxattr_in *in = (const void *)r->args;
	int fd, rc = check_xattr(s, r, &fd);

	if (rc)
		return rc == -EPERM ? -ENODATA : rc;
	return reply_xattr(s, r, in->size, getxattr(share_path(fd).text, r->name[0], s->reply, sizeof s->reply));
}

int share_op_listxattr(struct share *s, struct share_request *r)
{
	const struct fuse_getxattr_in *in = (const void *)r->args;
	int fd = share_node_fd(s, r->node);
	ssize_t n, kept = 0;

	if (fd < 0)
		return fd;
	if (!S_ISREG(r->node->kind) && !S_ISDIR(r->node->kind))
		return reply_xattr(s, r, in->size, 0);
	n = listxattr(share_path(fd).text, (char *)s->reply, sizeof s->reply);
	for (ssize_t i = 0; i < n;) {
		char *name = (char *)s->reply + i;
		ssize_t length = (ssize_t)strlen(name) + 1;

		if (!strncmp(name, "user.", 5) && (s->host_owners || strcmp(name, OWNER))) {
			memmove(s->reply + kept, name, (size_t)length);
			kept += length;
		}
		i += length;
	}
	return reply_xattr(s, r, in->size, n < 0 ? n : kept);
}
