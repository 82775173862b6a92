/* SPDX-License-Identifier: MIT
 * qcow2: reading, writing, flushing and discarding by guest offset.
 *
 *     entry of a cluster:  nothing --write--> own (Q2_COPIED) --discard--> nothing or zero
 *                          zero, compressed, shared --write--> own            */
#include "device/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/virtqueue.h"

enum kind { KIND_NOTHING, KIND_ZERO, KIND_COMPRESSED, KIND_DATA };

static enum kind kind_of(const struct q2 *q, u64 entry)
{
	if (entry & Q2_COMPRESSED)
		return KIND_COMPRESSED;
	if (q->head.version >= 3 && (entry & Q2_ZERO))
		return KIND_ZERO;
	return entry & Q2_OFFSET ? KIND_DATA : KIND_NOTHING;
}

static bool own(const struct q2 *q, u64 entry) { return kind_of(q, entry) == KIND_DATA && (entry & Q2_COPIED); }

/* How far what begins at `at` goes on in one piece, at most `size` bytes: of one kind, and data without a gap. */
static int run_length(struct q2 *q, u64 at, u64 size, u64 first, u64 *length)
{
	u64 n = q->cluster - (at & (q->cluster - 1)), entry, want = (first & Q2_OFFSET) + q->cluster;
	enum kind kind = kind_of(q, first);

	while (n < size && kind != KIND_COMPRESSED) {
		int rc = q2_entry(q, at + n, &entry);

		if (rc)
			return rc;
		if (kind_of(q, entry) != kind || (kind == KIND_DATA && ((entry ^ first) & Q2_COPIED || (entry & Q2_OFFSET) != want)))
			break;
		n += q->cluster;
		want += q->cluster;
	}
	*length = MIN(n, size);
	return 0;
}

/* ---- reading; lock held either way ---- */

static int read_backing(struct q2 *q, const struct iovec *iov, u32 n, u64 at, u64 size)
{
	struct disk *b = q->disk->backing;
	struct iovec part[DISK_PARTS_MAX];
	u64 there = b && at < b->size ? MIN(size, b->size - at) : 0;
	int rc = 0;

	if (there)
		rc = disk_read(b, part, iov_slice(iov, n, 0, there, part), at, there);
	iov_zero(part, iov_slice(iov, n, there, size - there, part));
	return rc;
}

static int read_compressed(struct q2 *q, const struct iovec *iov, u32 n, u64 at, u64 size, u64 entry)
{
	u8 *cluster = malloc(q->cluster);
	int rc = cluster ? q2_decompress(q, entry, cluster) : -ENOMEM;

	if (!rc)
		iov_put(iov, n, 0, cluster + (at & (q->cluster - 1)), size);
	free(cluster);
	return rc;
}

/* iov[] has exactly `size` bytes; the run is of one kind. */
static int read_run(struct q2 *q, const struct iovec *iov, u32 n, u64 at, u64 size, u64 entry)
{
	u64 host = entry & Q2_OFFSET;

	switch (kind_of(q, entry)) {
	case KIND_NOTHING:
		return read_backing(q, iov, n, at, size);
	case KIND_ZERO:
		iov_zero(iov, n);
		return 0;
	case KIND_COMPRESSED:
		return read_compressed(q, iov, n, at, size, entry);
	default:
		if (!q2_offset_good(q, host))
			return q2_damaged(q);
		return file_readv(q->disk->fd, iov, n, host + (at & (q->cluster - 1)));
	}
}

int q2_read(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size)
{
	struct q2 *q = disk->state;
	struct iovec part[DISK_PARTS_MAX];
	u64 done = 0, entry, length;
	int rc = 0;

	pthread_rwlock_rdlock(&q->lock);
	while (!rc && done < size) {
		rc = q2_entry(q, at + done, &entry);
		if (!rc)
			rc = run_length(q, at + done, size - done, entry, &length);
		if (!rc)
			rc = read_run(q, part, iov_slice(iov, n, done, length, part), at + done, length, entry);
		done += length;
	}
	pthread_rwlock_unlock(&q->lock);
	return rc;
}

/* ---- writing ---- */

/* The whole new contents of a cluster of which a part is written: the old ones with that part replaced. */
static int write_merged(struct q2 *q, const struct iovec *iov, u32 n, u64 at, u64 size, u64 entry, u64 host)
{
	u64 in = at & (q->cluster - 1);
	u8 *cluster = malloc(q->cluster);
	struct iovec all = { cluster, q->cluster };
	int rc = cluster ? read_run(q, &all, 1, at - in, q->cluster, entry) : -ENOMEM;

	if (!rc) {
		iov_get(iov, n, 0, cluster + in, size);
		rc = file_write(q->disk->fd, cluster, q->cluster, host);
	}
	free(cluster);
	return rc;
}

/* A write within one cluster that is not our own yet; lock held for writing. */
static int write_new(struct q2 *q, const struct iovec *iov, u32 n, u64 at, u64 size, u64 old)
{
	bool fresh, empty = kind_of(q, old) == KIND_ZERO || (kind_of(q, old) == KIND_NOTHING && !q->disk->backing);
	u64 host;
	int rc = q2_alloc(q, &host, &fresh);

	if (rc)
		return rc;
	if (size == q->cluster || (fresh && empty))
		rc = file_writev(q->disk->fd, iov, n, host + (at & (q->cluster - 1)));
	else
		rc = write_merged(q, iov, n, at, size, old, host);
	if (!rc)
		rc = q2_entry_set(q, at, host | Q2_COPIED);
	if (rc) {
		q2_unalloc(q, host);
		return rc;
	}
	return q2_free_entry(q, old);
}

/* Writes as much from `at` on as can be done at once; *done bytes. */
static int write_some(struct q2 *q, const struct iovec *iov, u32 n, u64 at, u64 size, u64 from, u64 *done)
{
	struct iovec part[DISK_PARTS_MAX];
	u64 entry, length, host;
	int rc;

	pthread_rwlock_rdlock(&q->lock);
	rc = q->corrupt ? -EIO : q2_entry(q, at, &entry);
	if (!rc && own(q, entry)) {
		host = entry & Q2_OFFSET;
		rc = q2_offset_good(q, host) ? run_length(q, at, size, entry, &length) : q2_damaged(q);
		if (!rc)
			rc = file_writev(q->disk->fd, part, iov_slice(iov, n, from, length, part), host + (at & (q->cluster - 1)));
		*done = length;
		pthread_rwlock_unlock(&q->lock);
		return rc;
	}
	pthread_rwlock_unlock(&q->lock);
	if (rc)
		return rc;
	length = MIN(size, q->cluster - (at & (q->cluster - 1)));
	*done = 0;
	pthread_rwlock_wrlock(&q->lock);
	rc = q2_entry(q, at, &entry);
	if (!rc && !own(q, entry)) { /* else somebody was faster: try again */
		rc = write_new(q, part, iov_slice(iov, n, from, length, part), at, length, entry);
		*done = length;
	}
	pthread_rwlock_unlock(&q->lock);
	return rc;
}

int q2_write(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size)
{
	struct q2 *q = disk->state;
	u64 done = 0, step;

	while (done < size) {
		int rc = write_some(q, iov, n, at + done, size - done, done, &step);

		if (rc)
			return rc;
		done += step;
	}
	return 0;
}

int q2_flush(struct disk *disk)
{
	struct q2 *q = disk->state;
	int rc;

	pthread_rwlock_rdlock(&q->lock);
	rc = q->unsynced;
	pthread_rwlock_unlock(&q->lock);
	if (!rc)
		return disk->unsafe || !fdatasync(disk->fd) ? 0 : -errno;
	pthread_rwlock_wrlock(&q->lock);
	rc = q2_sync(q);
	pthread_rwlock_unlock(&q->lock);
	return rc;
}

/* ---- zeros ---- */

/* The entry that a whole cluster has when it becomes zeros, or need not keep its contents; false where the format
 * has none. */
static bool emptied(const struct q2 *q, u64 entry, bool unmap, u64 *new)
{
	if (q->head.version >= 3 && !unmap && own(q, entry)) {
		*new = entry | Q2_ZERO;
		return true;
	}
	*new = q->disk->backing ? Q2_ZERO : 0;
	return q->head.version >= 3 || !q->disk->backing;
}

/* Whole clusters; `must`: they have to read as zeros. */
static int empty_clusters(struct q2 *q, u64 at, u64 size, bool unmap, bool must)
{
	u64 entry, new;
	int rc = 0;

	for (u64 end = at + size; !rc && at < end; at += q->cluster) {
		pthread_rwlock_wrlock(&q->lock);
		rc = q2_entry(q, at, &entry);
		if (!rc && emptied(q, entry, unmap, &new)) {
			if (new != entry && !(kind_of(q, entry) == KIND_ZERO && !unmap)) {
				rc = q2_entry_set(q, at, new);
				if (!rc && (new & Q2_OFFSET) != (entry & Q2_OFFSET))
					rc = q2_free_entry(q, entry);
			}
		} else if (!rc && must) {
			rc = -EOPNOTSUPP;
		}
		pthread_rwlock_unlock(&q->lock);
	}
	return rc;
}

int q2_discard(struct disk *disk, u64 at, u64 size)
{
	struct q2 *q = disk->state;
	u64 first = ALIGN_UP(at, q->cluster), end = ALIGN_DOWN(at + size, q->cluster);

	return first < end ? empty_clusters(q, first, end - first, true, false) : 0;
}

static int write_zeros(struct disk *disk, u64 at, u64 size)
{
	static const u8 zeros[65536];
	struct iovec v = { (void *)(uintptr_t)zeros, 0 };
	int rc = 0;

	while (!rc && size) {
		v.iov_len = MIN(size, sizeof zeros);
		rc = q2_write(disk, &v, 1, at, v.iov_len);
		at += v.iov_len;
		size -= v.iov_len;
	}
	return rc;
}

int q2_zero(struct disk *disk, u64 at, u64 size, bool unmap)
{
	struct q2 *q = disk->state;
	u64 first = ALIGN_UP(at, q->cluster), end = ALIGN_DOWN(at + size, q->cluster);
	int rc;

	if (first >= end)
		return write_zeros(disk, at, size);
	rc = empty_clusters(q, first, end - first, unmap, true);
	if (rc == -EOPNOTSUPP)
		return write_zeros(disk, at, size);
	if (!rc)
		rc = write_zeros(disk, at, first - at);
	return rc ? rc : write_zeros(disk, end, at + size - end);
}
