/* SPDX-License-Identifier: MIT
 * Requests of the share server on directories: names are looked up, made, moved and removed, entries listed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "device/share_internal.h"

#define SHARE_ENTRIES 32768u

/* A directory entry as getdents64(2) gives it. */
struct host_entry { u64 inode, offset; u16 size; u8 type; char name[]; };

static int lookup(struct share *s, struct share_node *parent, const char *name, struct fuse_entry_out *o)
{
	struct share_node *n;
	struct stat st;
	int rc = share_node_lookup(s, parent, name, &n);

	if (rc)
		return rc;
	rc = share_stat(s, n->fd, &st);
	if (rc) {
		share_node_forget(s, share_node_id(s, n), 1);
		return rc;
	}
	share_fill_entry(s, n, &st, o);
	return 0;
}

static int reply_entry(struct share *s, struct share_node *parent, const char *name)
{
	int rc = lookup(s, parent, name, (void *)s->reply);

	return rc ? rc : (int)sizeof(struct fuse_entry_out);
}

int share_op_lookup(struct share *s, struct share_request *r) { return reply_entry(s, r->node, r->name[0]); }

int share_op_forget(struct share *s, struct share_request *r)
{
	const struct fuse_forget_in *in = (const void *)r->args;

	share_node_forget(s, r->head.nodeid, in->nlookup);
	r->silent = true;
	return 0;
}

int share_op_batch_forget(struct share *s, struct share_request *r)
{
	const struct fuse_batch_forget_in *in = (const void *)r->args;
	const struct fuse_forget_one *one = (const void *)(in + 1);
	size_t count = MIN((size_t)in->count, (r->args_size - sizeof *in) / sizeof *one);

	for (size_t i = 0; i < count; i++)
		share_node_forget(s, one[i].nodeid, one[i].nlookup);
	r->silent = true;
	return 0;
}

int share_op_readlink(struct share *s, struct share_request *r)
{
	int fd = share_node_fd(s, r->node);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", (char *)s->reply, PATH_MAX);
	return n < 0 ? -errno : (int)n;
}

/* ---- making ---- */

/* Gives a new file the owner that the guest's process would have had: in a directory with S_ISGID the
 * directory's group, and a directory inherits the bit. */
static int own(struct share *s, struct share_request *r, int fd, mode_t mode, dev_t device)
{
	struct stat parent, want;
	int rc = share_stat(s, share_node_fd(s, r->node), &parent);

	if (!rc)
		rc = share_stat(s, fd, &want);
	if (rc)
		return rc;
	want.st_uid = r->head.uid;
	want.st_gid = r->head.gid;
	want.st_mode = mode;
	want.st_rdev = device;
	if (parent.st_mode & S_ISGID) {
		want.st_gid = parent.st_gid;
		if (S_ISDIR(mode))
			want.st_mode |= S_ISGID;
	}
	rc = share_set_owner(s, fd, &want);
	/* Where the host's file system keeps no user attributes, new files have the host's owner. */
	return rc == -EPERM && !s->host_owners ? 0 : rc;
}

/* The answer to a request that has made `name`; what cannot be given its owner goes again. */
static int made(struct share *s, struct share_request *r, const char *name, mode_t mode, dev_t device)
{
	int dir = share_node_fd(s, r->node), fd, rc;

	if (S_ISLNK(mode) && !s->host_owners)
		return reply_entry(s, r->node, name);
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = own(s, r, fd, mode, device);
	close(fd);
	if (!rc)
		return reply_entry(s, r->node, name);
	unlinkat(dir, name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
	return rc;
}

int share_op_symlink(struct share *s, struct share_request *r)
{
	int dir = share_node_fd(s, r->node);

	if (dir < 0)
		return dir;
	if (symlinkat(r->name[1], dir, r->name[0]))
		return -errno;
	return made(s, r, r->name[0], S_IFLNK | 0777, 0);
}

int share_op_mkdir(struct share *s, struct share_request *r)
{
	const struct fuse_mkdir_in *in = (const void *)r->args;
	mode_t mode = S_IFDIR | (in->mode & 07777);
	int dir = share_node_fd(s, r->node);

	if (dir < 0)
		return dir;
	if (mkdirat(dir, r->name[0], share_host_mode(s, mode)))
		return -errno;
	return made(s, r, r->name[0], mode, 0);
}

int share_op_mknod(struct share *s, struct share_request *r)
{
	const struct fuse_mknod_in *in = (const void *)r->args;
	mode_t mode = in->mode & (S_IFMT | 07777), kind = mode & S_IFMT;
	dev_t device = makedev((in->rdev & 0xfff00) >> 8, (in->rdev & 0xff) | (in->rdev >> 12 & 0xfff00));
	int dir = share_node_fd(s, r->node);

	if (dir < 0)
		return dir;
	if (kind != S_IFREG && kind != S_IFIFO && kind != S_IFSOCK && kind != S_IFCHR && kind != S_IFBLK)
		return -EINVAL;
	if (kind != S_IFCHR && kind != S_IFBLK)
		device = 0;
	if (mknodat(dir, r->name[0], share_host_mode(s, mode) | (s->host_owners ? kind : S_IFREG),
		    s->host_owners ? device : 0))
		return -errno;
	return made(s, r, r->name[0], mode, device);
}

int share_op_link(struct share *s, struct share_request *r)
{
	const struct fuse_link_in *in = (const void *)r->args;
	struct share_node *old = share_node_find(s, in->oldnodeid);
	int dir = share_node_fd(s, r->node), fd = old ? share_node_fd(s, old) : -ENOENT;

	if (dir < 0 || fd < 0)
		return dir < 0 ? dir : fd;
	if (linkat(AT_FDCWD, share_path(fd).text, dir, r->name[0], AT_SYMLINK_FOLLOW))
		return -errno;
	return reply_entry(s, r->node, r->name[0]);
}

/* Opens what CREATE names.  It may be there by now without the guest knowing. */
static int create_file(struct share *s, struct share_request *r, const struct fuse_create_in *in, int dir, bool *fresh)
{
	int flags = (int)in->flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC);
	int all = flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	mode_t mode = S_IFREG | (in->mode & 07777);
	struct stat st;
	int fd = openat(dir, r->name[0], all | O_CREAT | O_EXCL, share_host_mode(s, mode));

	*fresh = fd >= 0;
	if (fd >= 0 || errno != EEXIST || in->flags & O_EXCL)
		return fd < 0 ? -errno : fd;
	if (fstatat(dir, r->name[0], &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ELOOP; /* S2; between here and the next line only the host can put something else there */
	fd = openat(dir, r->name[0], all);
	return fd < 0 ? -errno : fd;
}

int share_op_create(struct share *s, struct share_request *r)
{
	const struct fuse_create_in *in = (const void *)r->args;
	struct fuse_entry_out *entry = (void *)s->reply;
	struct fuse_open_out *o = (void *)(entry + 1);
	int dir = share_node_fd(s, r->node), fd, rc = 0;
	bool fresh;

	if (dir < 0)
		return dir;
	fd = create_file(s, r, in, dir, &fresh);
	if (fd < 0)
		return fd;
	if (fresh && (rc = own(s, r, fd, S_IFREG | (in->mode & 07777), 0)))
		unlinkat(dir, r->name[0], 0);
	if (!rc)
		rc = lookup(s, r->node, r->name[0], entry);
	if (rc) {
		close(fd);
		return rc;
	}
	*o = (struct fuse_open_out){ 0 };
	rc = share_handle_new(s, fd, &o->fh);
	if (rc) {
		share_node_forget(s, entry->nodeid, 1);
		return rc;
	}
	return sizeof *entry + sizeof *o;
}

/* ---- removing, moving ---- */

static int remove_name(struct share *s, struct share_request *r, int flags)
{
	int dir = share_node_fd(s, r->node);

	if (dir < 0)
		return dir;
	share_node_keep(s, r->node, r->name[0]);
	return unlinkat(dir, r->name[0], flags) ? -errno : 0;
}

int share_op_unlink(struct share *s, struct share_request *r) { return remove_name(s, r, 0); }
int share_op_rmdir(struct share *s, struct share_request *r) { return remove_name(s, r, AT_REMOVEDIR); }

static int move(struct share *s, struct share_request *r, u64 to, unsigned flags)
{
	struct share_node *target = share_node_find(s, to);
	int from_dir = share_node_fd(s, r->node), to_dir = target ? share_node_fd(s, target) : -ENOENT;

	if (from_dir < 0 || to_dir < 0)
		return from_dir < 0 ? from_dir : to_dir;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	share_node_keep(s, r->node, r->name[0]);
	share_node_keep(s, target, r->name[1]);
	if (syscall(SYS_renameat2, from_dir, r->name[0], to_dir, r->name[1], flags))
		return -errno;
	share_node_moved(s, target, r->name[1]);
	if (flags & RENAME_EXCHANGE)
		share_node_moved(s, r->node, r->name[0]);
	return 0;
}

int share_op_rename(struct share *s, struct share_request *r)
{
	const struct fuse_rename_in *in = (const void *)r->args;

	return move(s, r, in->newdir, 0);
}

int share_op_rename2(struct share *s, struct share_request *r)
{
	const struct fuse_rename2_in *in = (const void *)r->args;

	return move(s, r, in->newdir, in->flags);
}

/* ---- listing ---- */

int share_op_opendir(struct share *s, struct share_request *r)
{
	struct fuse_open_out *o = (void *)s->reply;
	struct share_handle *h;
	int fd, rc;

	if (!S_ISDIR(r->node->kind))
		return -ENOTDIR;
	fd = share_node_open(s, r->node, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	*o = (struct fuse_open_out){ 0 };
	rc = share_handle_new(s, fd, &o->fh);
	if (rc)
		return rc;
	h = share_handle_find(s, o->fh);
	h->entries = malloc(SHARE_ENTRIES);
	if (h->entries)
		return sizeof *o;
	share_handle_free(s, h);
	return -ENOMEM;
}

/* The entry at the handle's position, NULL at the end; `rc` is a negative errno where the host failed. */
static const struct host_entry *next_entry(struct share_handle *h, int *rc)
{
	long n;

	if (h->at == h->end) {
		n = syscall(SYS_getdents64, h->fd, h->entries, SHARE_ENTRIES);
		*rc = n < 0 ? -errno : 0;
		h->at = 0;
		h->end = n < 0 ? 0 : (u32)n;
		if (n <= 0)
			return NULL;
	}
	return (const void *)(h->entries + h->at);
}

/* Node, attributes and lookup count of an entry; what is gone since has no node, and is listed all the same. */
static void entry_node(struct share *s, struct share_request *r, const struct host_entry *e, struct fuse_entry_out *o)
{
	*o = (struct fuse_entry_out){ .attr = { .ino = e->inode, .mode = (u32)e->type << 12 } };
	if (strcmp(e->name, ".") && strcmp(e->name, ".."))
		lookup(s, r->node, e->name, o);
}

static int list(struct share *s, struct share_request *r, bool plus)
{
	const struct fuse_read_in *in = (const void *)r->args;
	struct share_handle *h = share_handle_find(s, in->fh);
	size_t room = MIN(MIN((size_t)in->size, r->room), sizeof s->reply), used = 0;
	const struct host_entry *e;
	int rc = 0;

	if (!h || !h->entries || !S_ISDIR(r->node->kind))
		return -EBADF;
	if (in->offset != h->offset || !in->offset) {
		if (lseek(h->fd, (off_t)in->offset, SEEK_SET) < 0)
			return -errno;
		h->at = h->end = 0;
		h->offset = in->offset;
	}
	while ((e = next_entry(h, &rc))) {
		size_t name = strlen(e->name), head = plus ? sizeof(struct fuse_entry_out) : 0;
		size_t size = FUSE_DIRENT_ALIGN(head + FUSE_NAME_OFFSET + name);
		struct fuse_dirent *d = (void *)(s->reply + used + head);

		if (size > room - used)
			break;
		memset(s->reply + used, 0, size);
		d->type = e->type;
		if (plus) {
			struct fuse_entry_out *o = (void *)(s->reply + used);

			entry_node(s, r, e, o);
			d->type = (o->attr.mode & S_IFMT) >> 12;
		} else if (e->type == DT_REG && !s->host_owners) {
			d->type = DT_UNKNOWN; /* the owner attribute may say something else */
		}
		d->ino = e->inode;
		d->off = e->offset;
		d->namelen = (u32)name;
		memcpy(d->name, e->name, name);
		used += size;
		h->at += e->size;
		h->offset = e->offset;
	}
	return used ? (int)used : rc;
}

int share_op_readdir(struct share *s, struct share_request *r) { return list(s, r, false); }
int share_op_readdirplus(struct share *s, struct share_request *r) { return list(s, r, true); }
