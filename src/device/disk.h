/* SPDX-License-Identifier: MIT
 * Disk images: opening them, and reading and writing them by guest offset.
 *
 * disk_open() runs in the front-end, which alone can open files; everything else runs in the block
 * device's worker, in several threads at once unless said otherwise.  An error is a negative errno for one
 * request: it is reported to the guest, and the image stays usable.
 *
 * Invariants
 *  K1  What was written before a successful disk_flush() survives the end of every process, and the
 *      host's, as far as the host's fdatasync() keeps its word.
 *  K2  At every instant the file is a valid image of its format; after a crash a qcow2 image has at
 *      most clusters that nothing refers to.
 *  K3  One writer: disk_open() takes a lock on each file, the chain's lower images shared. */
#ifndef PENUMBRA_DEVICE_DISK_H
#define PENUMBRA_DEVICE_DISK_H

#include <sys/uio.h>

#include "base/err.h"
#include "base/types.h"

#define DISK_SECTOR 512u
#define DISK_CHAIN_MAX 8       /* images that lie behind each other */
#define DISK_PARTS_MAX 192     /* entries of an iovec that is passed to read and write */

struct disk;

/* One format.  Offsets and sizes in bytes, within the disk. */
struct disk_format {
	const char *name;
	/* The first bytes of the file are of this format. */
	bool (*probe)(const u8 *head, size_t n);
	/* The file is open at disk->fd: sets size and state. */
	int (*open)(struct disk *disk, struct err *e);
	void (*close)(struct disk *disk);
	int (*read)(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size);
	int (*write)(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size);
	/* All that was written before is on stable storage. */
	int (*flush)(struct disk *disk);
	/* The contents may be forgotten (reads give anything), or become zeros; `unmap`: space may be given back. */
	int (*discard)(struct disk *disk, u64 at, u64 size);
	int (*zero)(struct disk *disk, u64 at, u64 size, bool unmap);
	/* In a fork of the process that opened it, whose other forks were killed: what these had in memory and not in the
	 * file is restored.  NULL: they had nothing. */
	int (*recover)(struct disk *disk, struct err *e);
};
extern const struct disk_format disk_raw, disk_qcow2;

struct disk {
	const struct disk_format *format;
	char *path;
	int fd;
	int direct_fd;         /* raw, to write: the same file past the host's page cache; -1: none */
	u64 size;              /* bytes that the guest sees, a multiple of DISK_SECTOR */
	bool read_only, block_device, unsafe; /* unsafe: a flush does not wait for the host */
	bool dirty_space;      /* holes can be punched (cleared at the first refusal) */
	int depth;             /* images before it in the chain */
	struct disk *backing;  /* NULL: what is not there reads as zeros */
	void *state;           /* of the format */
};

/* Opens `path` and what lies behind it.  `format` NULL: qcow2 where the file begins so, else raw.  Errors name the
 * file. */
int disk_open(struct disk **out, const char *path, const char *format, bool read_only, struct err *e);
/* For a format: an image that lies behind another, read-only. */
int disk_open_behind(struct disk **out, const char *path, const char *format, int depth, struct err *e);
/* Also NULL. */
void disk_close(struct disk *disk);
/* The descriptors of the whole chain; returns how many (at most `room`), or -E2BIG. */
int disk_fds(const struct disk *disk, int *fds, int room);

int disk_read(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size);
int disk_write(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size);
/* A write that bypasses the host's page cache and so waits for the device: several are best in flight at once. */
bool disk_is_bulk(const struct disk *disk, u64 at, u64 size);
int disk_flush(struct disk *disk);
int disk_discard(struct disk *disk, u64 at, u64 size);
int disk_zero(struct disk *disk, u64 at, u64 size, bool unmap);

/* ---- for formats: the file itself; whole or an error ---- */

/* Bytes beyond the end of the file read as zeros. */
int file_read(int fd, void *buffer, u64 n, u64 at);
int file_write(int fd, const void *buffer, u64 n, u64 at);
int file_readv(int fd, const struct iovec *iov, u32 n, u64 at);
int file_writev(int fd, const struct iovec *iov, u32 n, u64 at);
/* Zeros without allocating where the host can, with `unmap` set giving space back. */
int file_zero(struct disk *disk, u64 at, u64 size, bool unmap);
int file_punch(struct disk *disk, u64 at, u64 size);
void iov_zero(const struct iovec *iov, u32 n);

#endif
