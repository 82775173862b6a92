/* SPDX-License-Identifier: MIT
 * Requests of the share server on open files. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "device/share_internal.h"

/* What a guest may ask of the host's open(2).  O_DIRECT would put conditions on where its buffers lie. */
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC)

static struct share_handle *file_of(struct share *s, u64 fh)
{
	struct share_handle *h = share_handle_find(s, fh);

	return h && !h->entries ? h : NULL;
}

int share_op_open(struct share *s, struct share_request *r)
{
	const struct fuse_open_in *in = (const void *)r->args;
	struct fuse_open_out *o = (void *)s->reply;
	int flags = (int)in->flags & OPEN_FLAGS, fd, rc;

	if (s->readonly && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
		return -EROFS;
	if (!S_ISREG(r->node->kind))
		return -ELOOP;
	if (flags & O_TRUNC && in->open_flags & FUSE_OPEN_KILL_SUIDGID) {
		fd = share_node_fd(s, r->node);
		rc = fd < 0 ? fd : share_kill_suid(s, fd);
		if (rc)
			return rc;
	}
	fd = share_node_open(s, r->node, flags);
	if (fd < 0)
		return fd;
	*o = (struct fuse_open_out){ 0 };
	rc = share_handle_new(s, fd, &o->fh);
	return rc ? rc : (int)sizeof *o;
}

int share_op_read(struct share *s, struct share_request *r)
{
	const struct fuse_read_in *in = (const void *)r->args;
	struct share_handle *h = file_of(s, in->fh);
	struct iovec part[SHARE_IOV_MAX];
	size_t count, got;
	ssize_t n;

	if (!h)
		return -EBADF;
	if (in->offset > INT64_MAX)
		return -EINVAL;
	count = share_iov_part(r->out, r->out_count, sizeof(struct fuse_out_header),
			       MIN((size_t)in->size, SHARE_IO_MAX), part, ARRAY_SIZE(part), &got);
	n = preadv(h->fd, part, (int)count, (off_t)in->offset);
	r->direct = true;
	return n < 0 ? -errno : (int)n;
}

int share_op_write(struct share *s, struct share_request *r)
{
	const struct fuse_write_in *in = (const void *)r->args;
	struct share_handle *h = file_of(s, in->fh);
	struct fuse_write_out *o = (void *)s->reply;
	struct iovec part[SHARE_IOV_MAX];
	size_t count, got;
	ssize_t n;
	int rc;

	if (!h)
		return -EBADF;
	if (in->offset > INT64_MAX)
		return -EINVAL;
	if (in->write_flags & FUSE_WRITE_KILL_SUIDGID && (rc = share_kill_suid(s, h->fd)))
		return rc;
	count = share_iov_part(r->in, r->in_count, sizeof r->head + sizeof *in, MIN((size_t)in->size, SHARE_IO_MAX),
			       part, ARRAY_SIZE(part), &got);
	n = pwritev(h->fd, part, (int)count, (off_t)in->offset);
	if (n < 0)
		return -errno;
	*o = (struct fuse_write_out){ .size = (u32)n };
	return sizeof *o;
}

int share_op_release(struct share *s, struct share_request *r)
{
	const struct fuse_release_in *in = (const void *)r->args;
	struct share_handle *h = share_handle_find(s, in->fh);

	if (!h)
		return -EBADF;
	share_handle_free(s, h);
	return 0;
}

/* The host may have an error of an earlier write to tell (NFS, quota): a copy of the descriptor is closed. */
int share_op_flush(struct share *s, struct share_request *r)
{
	const struct fuse_flush_in *in = (const void *)r->args;
	struct share_handle *h = share_handle_find(s, in->fh);
	int copy;

	if (!h)
		return -EBADF;
	copy = dup(h->fd);
	return copy < 0 || close(copy) ? -errno : 0;
}

int share_op_fsync(struct share *s, struct share_request *r)
{
	const struct fuse_fsync_in *in = (const void *)r->args;
	struct share_handle *h = share_handle_find(s, in->fh);

	if (!h)
		return -EBADF;
	return (in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd)) ? -errno : 0;
}

int share_op_syncfs(struct share *s, struct share_request *r)
{
	int fd = share_node_open(s, r->node, O_RDONLY), rc;

	if (fd < 0)
		return fd;
	rc = syncfs(fd) ? -errno : 0;
	close(fd);
	return rc;
}

int share_op_statfs(struct share *s, struct share_request *r)
{
	struct fuse_statfs_out *o = (void *)s->reply;
	struct statvfs v;
	int fd = share_node_fd(s, r->node);

	if (fd < 0)
		return fd;
	if (fstatvfs(fd, &v))
		return -errno;
	*o = (struct fuse_statfs_out){ .st = {
		.blocks = v.f_blocks, .bfree = v.f_bfree, .bavail = v.f_bavail, .files = v.f_files,
		.ffree = v.f_ffree, .bsize = (u32)v.f_bsize, .namelen = (u32)v.f_namemax, .frsize = (u32)v.f_frsize,
	} };
	return sizeof *o;
}

int share_op_fallocate(struct share *s, struct share_request *r)
{
	const struct fuse_fallocate_in *in = (const void *)r->args;
	struct share_handle *h = file_of(s, in->fh);

	if (!h)
		return -EBADF;
	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EFBIG;
	return fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) ? -errno : 0;
}

int share_op_lseek(struct share *s, struct share_request *r)
{
	const struct fuse_lseek_in *in = (const void *)r->args;
	struct fuse_lseek_out *o = (void *)s->reply;
	struct share_handle *h = file_of(s, in->fh);
	off_t at;

	if (!h)
		return -EBADF;
	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
		return -EINVAL;
	at = lseek(h->fd, (off_t)in->offset, (int)in->whence);
	if (at < 0)
		return -errno;
	o->offset = (u64)at;
	return sizeof *o;
}

int share_op_copy_file_range(struct share *s, struct share_request *r)
{
	const struct fuse_copy_file_range_in *in = (const void *)r->args;
	struct fuse_write_out *o = (void *)s->reply;
	struct share_handle *from = file_of(s, in->fh_in), *to = file_of(s, in->fh_out);
	loff_t from_at = (loff_t)in->off_in, to_at = (loff_t)in->off_out;
	ssize_t n;

	if (!from || !to)
		return -EBADF;
	/* At most so much that the worker is not away from other requests for long. */
	n = copy_file_range(from->fd, &from_at, to->fd, &to_at, MIN(in->len, (u64)64 << 20), 0);
	if (n < 0)
		return -errno;
	*o = (struct fuse_write_out){ .size = (u32)n };
	return sizeof *o;
}
