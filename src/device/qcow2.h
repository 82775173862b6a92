/* SPDX-License-Identifier: MIT
 * qcow2 images, versions 2 and 3: what the files of the format share.
 *
 * Source: the specification of the format (QEMU, docs/interop/qcow2.txt).
 *
 * The guest's disk is cut into clusters; a two-level table (L1, L2) says where each lies in the file, and a
 * second one (refcount table, refcount blocks) how many refer to each cluster of the file.  Tables are
 * changed in memory and written by qcow2_sync(), in an order that keeps the file valid at every instant:
 *
 *     data, refcounts raised -> refcount table -> L2 tables -> L1 -> refcounts lowered
 *
 * with a barrier (fdatasync) at each arrow.  A refcount block may be written at any time: what it lowers was
 * gone before.  An L2 table that has to make room in the cache is written in the same order.
 *
 * Invariants
 *  C1  state->lock: whoever maps a guest offset and uses the result holds it for reading, whoever changes a
 *      table for writing.  So no cluster is freed under somebody's hands.
 *  C2  On disk, a cluster's refcount is never lower than the number of references on disk.
 *  C3  A cluster whose last reference went is given out again only after the reference is gone on disk
 *      (state->freed).
 *  C4  Offsets from the file are checked before they are used: aligned, beyond the header, within the format's
 *      limits; a bad one makes the image corrupt, and further writing an error.
 *  C5  What a process that is killed had changed and not written is in state->log, in memory that it shares with its
 *      successor: an entry is noted after the tables in memory have it, and all are forgotten once it is on disk. */
#ifndef PENUMBRA_DEVICE_QCOW2_H
#define PENUMBRA_DEVICE_QCOW2_H

#include <pthread.h>

#include "device/disk.h"

#define Q2_MAGIC 0x514649fbu
#define Q2_CLUSTER_BITS_MIN 9
#define Q2_CLUSTER_BITS_MAX 21
#define Q2_L1_MAX (32u << 20)        /* bytes */
#define Q2_TABLE_MAX (8u << 20)      /* bytes of the refcount table */

#define Q2_COPIED (1ull << 63)       /* nobody else refers to it: may be written in place */
#define Q2_COMPRESSED (1ull << 62)
#define Q2_ZERO 1ull                 /* version 3: reads as zeros */
#define Q2_OFFSET 0x00fffffffffffe00ull

#define Q2_INCOMPAT_DIRTY 1ull
#define Q2_INCOMPAT_CORRUPT 2ull
#define Q2_INCOMPAT_COMPRESSION 8ull
#define Q2_COMPRESS_ZLIB 0
#define Q2_COMPRESS_ZSTD 1

/* The header, big-endian: bits, name.  Version 2 ends before `incompatible`. */
#define Q2_HEADER(H) \
	H(32, magic) H(32, version) H(64, backing_offset) H(32, backing_size) H(32, cluster_bits) H(64, size) \
	H(32, encryption) H(32, l1_entries) H(64, l1_offset) H(64, table_offset) H(32, table_clusters) \
	H(32, snapshots) H(64, snapshots_offset) \
	H(64, incompatible) H(64, compatible) H(64, autoclear) H(32, refcount_order) H(32, header_length)
#define Q2_HEADER_V2 72
#define Q2_HEADER_V3 104
#define Q2_FIELD(bits, name) u##bits name;
struct q2_header {
	Q2_HEADER(Q2_FIELD)
	u8 compression;
};

/* One table of a cluster's size that is held in memory. */
struct q2_slot {
	u64 at;              /* offset in the file, 0: the slot is free */
	u64 used;            /* for least-recently-used */
	bool dirty;
	u8 *bytes;
};
struct q2_cache {
	struct q2_slot *slot;
	u32 n;
	u64 clock;
};

/* C5: entries that were set since the last q2_sync(), in their order. */
#define Q2_LOG_ROWS 32768u
struct q2_row { u64 guest, entry; };
struct q2_log {
	_Atomic u32 n;
	struct q2_row row[Q2_LOG_ROWS];
};

struct q2 {
	struct disk *disk;
	struct q2_log *log;          /* NULL: read-only */
	pthread_rwlock_t lock;
	pthread_mutex_t cache_lock;  /* of `l2`, for those who read; taken within `lock` */
	struct q2_header head;
	u32 bits;                    /* of a cluster's size */
	u64 cluster;                 /* bytes */
	u32 l2_bits;                 /* of the entries of an L2 table */
	u64 *l1;                     /* as on disk but for byte order */
	bool l1_dirty;
	u64 *table;                  /* refcount table, the same */
	u64 table_entries;
	bool table_dirty;
	u64 hint;                    /* cluster of the file where the search for a free one begins */
	u64 end;                     /* clusters of the file that were ever in use */
	struct q2_cache l2, blocks;
	u64 *freed;                  /* clusters that lost a reference, C3 */
	u32 n_freed, room_freed;
	bool unsynced;               /* something was changed since the last qcow2_sync() */
	bool corrupt;
};

/* ---- qcow2.c ---- */
u64 q2_get(const void *p, int bits);
void q2_put(void *p, int bits, u64 v);
/* Reads tables anew in a successor of a process that was killed (struct disk_format). */
int q2_recover(struct disk *disk, struct err *e);
/* The header's field at its place in the file. */
int q2_header_write(struct q2 *q);
/* C4: notes that the image is damaged; returns -EIO. */
int q2_damaged(struct q2 *q);
bool q2_offset_good(const struct q2 *q, u64 at);

/* ---- qcow2_table.c: lock held for writing unless said otherwise ---- */
int q2_cache_init(struct q2_cache *c, u32 n, u64 cluster);
void q2_cache_free(struct q2_cache *c);
/* The table at a file offset, valid until the next call; `fresh`: it is new and all zeros, not read.  NULL
 * with *rc. */
struct q2_slot *q2_cache_get(struct q2 *q, struct q2_cache *c, u64 at, bool fresh, int *rc);
/* Forgets the table at an offset, 0: all; changes that were not written are lost. */
void q2_cache_drop(struct q2_cache *c, u64 at);
/* Writes what was changed, without any order. */
int q2_cache_write(struct q2 *q, struct q2_cache *c);
/* Entry of a guest offset, with the lock held for reading or writing; 0 where there is no L2 table. */
int q2_entry(struct q2 *q, u64 guest, u64 *entry);
/* Changes it; makes the table where there is none or it is shared. */
int q2_entry_set(struct q2 *q, u64 guest, u64 entry);
/* Makes all changes durable in the order above. */
int q2_sync(struct q2 *q);

/* ---- qcow2_refcount.c: lock held for writing ---- */
/* A free cluster of the file, whose refcount is 1 now; its offset.  `fresh` (may be NULL): it reads as zeros. */
int q2_alloc(struct q2 *q, u64 *at, bool *fresh);
/* A cluster that was allocated and to which nothing refers yet. */
void q2_unalloc(struct q2 *q, u64 at);
/* References have gone from the tables in memory (C3): of a cluster, of whatever an L2 entry says. */
int q2_free_later(struct q2 *q, u64 at);
int q2_free_entry(struct q2 *q, u64 entry);
/* After the barrier: what was freed is free. */
int q2_free_now(struct q2 *q);
/* Counts all references anew; for an image that was not closed (the dirty bit).  `extra` are entries that the tables on
 * disk do not have and will get. */
int q2_rebuild(struct q2 *q, const struct q2_row *extra, u32 n_extra, struct err *e);

/* ---- qcow2_log.c ---- */
int q2_log_init(struct q2 *q);
void q2_log_free(struct q2 *q);
/* Lock held for writing: room for one more row, if need be by a q2_sync(); the row. */
int q2_log_room(struct q2 *q);
void q2_log_add(struct q2 *q, u64 guest, u64 entry);
/* Everything is on disk. */
void q2_log_clear(struct q2 *q);
/* The tables were just read from a file whose writer was killed: they become what its writer had in memory. */
int q2_log_replay(struct q2 *q, struct err *e);

/* ---- qcow2_compress.c ---- */
/* Where in the file a compressed entry's data lie, in whole sectors. */
void q2_compressed_range(const struct q2 *q, u64 entry, u64 *at, u64 *size);
/* A cluster's contents. */
int q2_decompress(struct q2 *q, u64 entry, u8 *out);

/* ---- qcow2_io.c: functions of struct disk_format ---- */
int q2_read(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size);
int q2_write(struct disk *disk, const struct iovec *iov, u32 n, u64 at, u64 size);
int q2_flush(struct disk *disk);
int q2_discard(struct disk *disk, u64 at, u64 size);
int q2_zero(struct disk *disk, u64 at, u64 size, bool unmap);

#endif
