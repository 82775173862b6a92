/* SPDX-License-Identifier: MIT
 * Opening images, locks, and the raw format. */
#include "device/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/virtqueue.h"

#define PROBE_BYTES 512
#define ZERO_CHUNK 65536u
/* Copying into the page cache costs more than it spares from about here on. */
#define BULK_MIN (256u << 10)
#define BULK_ALIGN 4096u

/* The first whose probe says yes; raw, which takes everything, is last. */
static const struct disk_format *const formats[] = { &disk_qcow2, &disk_raw };

/* ---- the file ---- */

/* Does the vector I/O of `call` to its end; a short read at the end of the file is zeros. */
static int whole(int fd, const struct iovec *iov, u32 n, u64 at, bool write)
{
	struct iovec part[DISK_PARTS_MAX];
	u64 total = 0, done = 0;

	for (u32 i = 0; i < n; i++)
		total += iov[i].iov_len;
	while (done < total) {
		u32 count = done ? iov_slice(iov, n, done, total - done, part) : n;
		const struct iovec *v = done ? part : iov;
		ssize_t r = write ? pwritev(fd, v, (int)count, (off_t)(at + done)) :
				    preadv(fd, v, (int)count, (off_t)(at + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (!r && write)
			return -EIO;
		if (!r) {
			iov_zero(part, iov_slice(iov, n, done, total - done, part));
			return 0;
		}
		done += (u64)r;
	}
	return 0;
}

int file_readv(int fd, const struct iovec *iov, u32 n, u64 at) { return whole(fd, iov, n, at, false); }
int file_writev(int fd, const struct iovec *iov, u32 n, u64 at) { return whole(fd, iov, n, at, true); }

bool disk_is_bulk(const struct disk *disk, u64 at, u64 size)
{
	return disk->direct_fd >= 0 && size >= BULK_MIN && !((at | size) % BULK_ALIGN);
}

static bool is_aligned(const struct iovec *iov, u32 n)
{
	u64 odd = 0;

	for (u32 i = 0; i < n; i++)
		odd |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return !(odd % BULK_ALIGN);
}

int file_read(int fd, void *buffer, u64 n, u64 at)
{
	struct iovec v = { buffer, n };

	return whole(fd, &v, 1, at, false);
}

int file_write(int fd, const void *buffer, u64 n, u64 at)
{
	struct iovec v = { (void *)(uintptr_t)buffer, n };

	return whole(fd, &v, 1, at, true);
}

void iov_zero(const struct iovec *iov, u32 n)
{
	for (u32 i = 0; i < n; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
}

static int write_zeros(int fd, u64 at, u64 size)
{
	static const u8 zeros[ZERO_CHUNK];

	while (size) {
		u64 n = MIN(size, (u64)ZERO_CHUNK);
		int rc = file_write(fd, zeros, n, at);

		if (rc)
			return rc;
		at += n;
		size -= n;
	}
	return 0;
}

int file_punch(struct disk *disk, u64 at, u64 size)
{
	u64 range[2] = { at, size };

	if (!disk->dirty_space)
		return -EOPNOTSUPP;
	if (disk->block_device ? !ioctl(disk->fd, BLKDISCARD, range) :
	    !fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)size))
		return 0;
	if (errno == EOPNOTSUPP || errno == ENOTTY)
		disk->dirty_space = false;
	return -errno;
}

int file_zero(struct disk *disk, u64 at, u64 size, bool unmap)
{
	u64 range[2] = { at, size };

	if (disk->block_device) {
		if (!ioctl(disk->fd, BLKZEROOUT, range))
			return 0;
	} else if (unmap && !file_punch(disk, at, size)) {
		return 0;
	} else if (!fallocate(disk->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)size)) {
		return 0;
	} else if (errno == ENOSPC || errno == EIO) {
		return -errno;
	}
	return write_zeros(disk->fd, at, size);
}

/* ---- raw ---- */

static bool raw_probe(const u8 *head, size_t n)
{
	(void)head, (void)n;
	return true;
}

/* Through the open descriptor, so that it is the same file.  Not every file system can. */
static void open_direct(struct disk *disk)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/self/fd/%d", disk->fd);
	disk->direct_fd = open(path, O_WRONLY | O_CLOEXEC | O_DIRECT);
}

static int raw_open(struct disk *disk, struct err *e)
{
	off_t end = lseek(disk->fd, 0, SEEK_END);

	if (end < 0)
		return err_sys(e, errno, "%s", disk->path);
	/* The last sector of a file may be cut short: what is missing reads as zeros, a write makes it whole. */
	disk->size = ALIGN_UP((u64)end, DISK_SECTOR);
	if (!end)
		return err_set(e, -EINVAL, "%s: the file is empty", disk->path);
	if (!disk->read_only)
		open_direct(disk);
	return 0;
}

static void raw_close(struct disk *disk) { (void)disk; }

static int raw_read(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size)
{
	(void)size;
	return file_readv(disk->fd, iov, n, at);
}

static int raw_write(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size)
{
	int rc = -EINVAL;

	if (disk_is_bulk(disk, at, size) && is_aligned(iov, n))
		rc = file_writev(disk->direct_fd, iov, n, at);
	/* The host's file system may want another alignment; what was done is done again. */
	return rc == -EINVAL ? file_writev(disk->fd, iov, n, at) : rc;
}

static int raw_flush(struct disk *disk)
{
	return disk->unsafe || !fdatasync(disk->fd) ? 0 : -errno;
}

static int raw_discard(struct disk *disk, u64 at, u64 size)
{
	int rc = file_punch(disk, at, size);

	return rc == -EOPNOTSUPP || rc == -ENOTTY ? 0 : rc;
}

const struct disk_format disk_raw = {
	"raw", raw_probe, raw_open, raw_close, raw_read, raw_write, raw_flush, raw_discard, file_zero, NULL,
};

/* ---- opening ---- */

/* K3.  A writer excludes everybody (also QEMU, which locks single bytes); readers lock the first byte only. */
static int lock(struct disk *disk, struct err *e)
{
	struct flock l = { .l_type = disk->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET, .l_len = disk->read_only };

	if (!fcntl(disk->fd, F_OFD_SETLK, &l))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return err_set(e, -EBUSY, "%s: in use by another program", disk->path);
	return err_sys(e, errno, "%s: lock", disk->path);
}

static int open_file(struct disk *disk, struct err *e)
{
	struct stat st;

	/* Not blocking: a FIFO in place of an image is refused, not waited for. */
	disk->fd = open(disk->path, (disk->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (disk->fd < 0)
		return err_sys(e, errno, "%s", disk->path);
	if (fstat(disk->fd, &st))
		return err_sys(e, errno, "%s", disk->path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, -EINVAL, "%s: neither a file nor a block device", disk->path);
	disk->block_device = S_ISBLK(st.st_mode);
	disk->dirty_space = true;
	return lock(disk, e);
}

static int find_format(struct disk *disk, const char *name, struct err *e)
{
	u8 head[PROBE_BYTES];
	int rc = file_read(disk->fd, head, sizeof head, 0);

	if (rc)
		return err_sys(e, -rc, "%s", disk->path);
	for (size_t i = 0; i < ARRAY_SIZE(formats) && !disk->format; i++)
		if (name ? !strcmp(name, formats[i]->name) : formats[i]->probe(head, sizeof head))
			disk->format = formats[i];
	if (!disk->format)
		return err_set(e, -EINVAL, "%s: format \"%s\" is not known (raw, qcow2)", disk->path, name);
	return 0;
}

static int open_at(struct disk **out, const char *path, const char *format, bool read_only, int depth, struct err *e)
{
	struct disk *disk = calloc(1, sizeof *disk);
	int rc;

	if (!disk)
		return err_set(e, -ENOMEM, "no memory");
	disk->fd = disk->direct_fd = -1;
	disk->read_only = read_only;
	disk->depth = depth;
	disk->path = strdup(path);
	rc = disk->path ? open_file(disk, e) : err_set(e, -ENOMEM, "no memory");
	if (!rc)
		rc = find_format(disk, format, e);
	if (!rc)
		rc = disk->format->open(disk, e);
	if (rc) {
		disk_close(disk);
		return rc;
	}
	*out = disk;
	return 0;
}

int disk_open(struct disk **out, const char *path, const char *format, bool read_only, struct err *e)
{
	return open_at(out, path, format, read_only, 0, e);
}

int disk_open_behind(struct disk **out, const char *path, const char *format, int depth, struct err *e)
{
	return open_at(out, path, format, true, depth, e);
}

void disk_close(struct disk *disk)
{
	if (!disk)
		return;
	if (disk->format)
		disk->format->close(disk);
	disk_close(disk->backing);
	if (disk->fd >= 0)
		close(disk->fd);
	if (disk->direct_fd >= 0)
		close(disk->direct_fd);
	free(disk->path);
	free(disk);
}

int disk_fds(const struct disk *disk, int *fds, int room)
{
	int n = 0;

	for (; disk; disk = disk->backing) {
		if (n + 2 > room)
			return -E2BIG;
		fds[n++] = disk->fd;
		if (disk->direct_fd >= 0)
			fds[n++] = disk->direct_fd;
	}
	return n;
}

/* ---- by guest offset ---- */

static bool within(const struct disk *disk, u64 at, u64 size)
{
	return at <= disk->size && size <= disk->size - at;
}

int disk_read(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size)
{
	return within(disk, at, size) ? disk->format->read(disk, iov, n, at, size) : -EINVAL;
}

int disk_write(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size)
{
	if (disk->read_only)
		return -EROFS;
	return within(disk, at, size) ? disk->format->write(disk, iov, n, at, size) : -EINVAL;
}

int disk_flush(struct disk *disk)
{
	return disk->read_only ? 0 : disk->format->flush(disk);
}

int disk_discard(struct disk *disk, u64 at, u64 size)
{
	if (disk->read_only)
		return -EROFS;
	return within(disk, at, size) ? disk->format->discard(disk, at, size) : -EINVAL;
}

int disk_zero(struct disk *disk, u64 at, u64 size, bool unmap)
{
	if (disk->read_only)
		return -EROFS;
	return within(disk, at, size) ? disk->format->zero(disk, at, size, unmap) : -EINVAL;
}
