/* SPDX-License-Identifier: MIT
 * qcow2: how many refer to each cluster of the file; finding free ones. */
#include "device/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SNAPSHOT_HEAD 40       /* bytes of a snapshot's entry before its variable parts */
#define SNAPSHOTS_MAX 65536u

/* ---- one count ---- */

static u32 count_bits(const struct q2 *q) { return 1u << q->head.refcount_order; }
static u64 count_max(const struct q2 *q) { return ~0ull >> (64 - count_bits(q)); }
static u64 per_block(const struct q2 *q) { return q->cluster * 8 / count_bits(q); }

/* Narrow counts lie in a byte from its low bits on. */
static u64 count_get(const struct q2 *q, const u8 *block, u64 i)
{
	u32 bits = count_bits(q);

	if (bits >= 8)
		return q2_get(block + i * bits / 8, (int)bits);
	return block[i * bits / 8] >> i * bits % 8 & ((1u << bits) - 1);
}

static void count_put(const struct q2 *q, u8 *block, u64 i, u64 v)
{
	u32 bits = count_bits(q), shift = (u32)(i * bits % 8);
	u8 *b = &block[i * bits / 8];

	if (bits >= 8)
		q2_put(b, (int)bits, v);
	else
		*b = (u8)((*b & ~(((1u << bits) - 1) << shift)) | v << shift);
}

/* The block that counts a cluster; NULL with *rc 0 where there is none. */
static struct q2_slot *block_of(struct q2 *q, u64 cluster, int *rc)
{
	u64 i = cluster / per_block(q), at;

	*rc = 0;
	at = i < q->table_entries ? q->table[i] & Q2_OFFSET : 0;
	if (!at)
		return NULL;
	if (!q2_offset_good(q, at)) {
		*rc = q2_damaged(q);
		return NULL;
	}
	return q2_cache_get(q, &q->blocks, at, false, rc);
}

static int count_of(struct q2 *q, u64 cluster, u64 *count)
{
	int rc;
	struct q2_slot *s = block_of(q, cluster, &rc);

	*count = s ? count_get(q, s->bytes, cluster % per_block(q)) : 0;
	return rc;
}

static int count_set(struct q2 *q, u64 cluster, u64 count)
{
	int rc;
	struct q2_slot *s = block_of(q, cluster, &rc);

	if (!s)
		return rc ? rc : q2_damaged(q);
	count_put(q, s->bytes, cluster % per_block(q), count);
	s->dirty = true;
	q->unsynced = true;
	return 0;
}

/* ---- a new structure of counts, at the end of the file ---- */

struct plan { u64 blocks, table; }; /* clusters of each */

static int make_plan(const struct q2 *q, u64 n, struct plan *p)
{
	*p = (struct plan){ 0, 1 };
	for (int i = 0; i < 64; i++) {
		u64 blocks = (n + p->blocks + p->table + per_block(q) - 1) / per_block(q);
		u64 table = (2 * blocks * 8 + q->cluster - 1) >> q->bits;

		if (table << q->bits > Q2_TABLE_MAX)
			table = MAX((u64)Q2_TABLE_MAX >> q->bits, 1ull);
		if (blocks == p->blocks && table == p->table)
			break;
		p->blocks = MAX(blocks, p->blocks);
		p->table = MAX(table, p->table);
	}
	return p->blocks > p->table << (q->bits - 3) ? -EFBIG : 0;
}

static int write_blocks(struct q2 *q, const struct plan *p, const u32 *counts, u64 n)
{
	u8 *block = malloc(q->cluster);
	u64 used = n + p->blocks + p->table;
	int rc = block ? 0 : -ENOMEM;

	for (u64 b = 0; !rc && b < p->blocks; b++) {
		memset(block, 0, q->cluster);
		for (u64 i = 0; !rc && i < per_block(q) && b * per_block(q) + i < used; i++) {
			u64 c = b * per_block(q) + i, count = c < n ? counts[c] : 1;

			if (count > count_max(q))
				rc = -EOVERFLOW;
			count_put(q, block, i, count);
		}
		if (!rc)
			rc = file_write(q->disk->fd, block, q->cluster, (n + b) << q->bits);
	}
	free(block);
	return rc;
}

/* The counts of the first n clusters become counts[], which does not count the old structure; that is left to be
 * used again. */
static int restructure(struct q2 *q, const u32 *counts, u64 n)
{
	u64 *table, *disk_order, entries;
	struct plan p;
	int rc = make_plan(q, n, &p);

	if (rc)
		return rc;
	entries = p.table << (q->bits - 3);
	table = calloc(entries, 8);
	disk_order = calloc(entries, 8);
	rc = table && disk_order ? write_blocks(q, &p, counts, n) : -ENOMEM;
	for (u64 b = 0; !rc && b < p.blocks; b++) {
		table[b] = (n + b) << q->bits;
		disk_order[b] = __builtin_bswap64(table[b]);
	}
	if (!rc)
		rc = file_write(q->disk->fd, disk_order, entries * 8, (n + p.blocks) << q->bits);
	free(disk_order);
	if (!rc && fdatasync(q->disk->fd))
		rc = -errno;
	if (rc) {
		free(table);
		return rc;
	}
	q2_cache_drop(&q->blocks, 0);
	free(q->table);
	q->table = table;
	q->table_entries = entries;
	q->table_dirty = false;
	q->head.table_offset = (n + p.blocks) << q->bits;
	q->head.table_clusters = (u32)p.table;
	q->end = n + p.blocks + p.table;
	q->hint = 0;
	rc = q2_header_write(q);
	if (!rc && fdatasync(q->disk->fd))
		rc = -errno;
	return rc;
}

/* The table has no room for another block. */
static int grow_table(struct q2 *q)
{
	u64 n = MAX(q->end, 1ull);
	u32 *counts;
	int rc;

	rc = q2_cache_write(q, &q->blocks);
	if (rc)
		return rc;
	counts = calloc(n, sizeof *counts);
	if (!counts)
		return -ENOMEM;
	for (u64 c = 0; !rc && c < n; c++) {
		u64 count;

		rc = count_of(q, c, &count);
		counts[c] = (u32)MIN(count, (u64)UINT32_MAX);
	}
	for (u64 i = 0; i < q->table_entries; i++)
		if (q->table[i] & Q2_OFFSET && (q->table[i] & Q2_OFFSET) >> q->bits < n)
			counts[(q->table[i] & Q2_OFFSET) >> q->bits] = 0;
	for (u64 i = 0; i < q->head.table_clusters; i++)
		if ((q->head.table_offset >> q->bits) + i < n)
			counts[(q->head.table_offset >> q->bits) + i] = 0;
	if (!rc)
		rc = restructure(q, counts, n);
	free(counts);
	return rc;
}

/* ---- allocation ---- */

/* Makes the block that counts `cluster`, which is free like all that it counts: it lies in that cluster itself. */
static int make_block(struct q2 *q, u64 cluster)
{
	struct q2_slot *s;
	int rc;

	s = q2_cache_get(q, &q->blocks, cluster << q->bits, true, &rc);
	if (!s)
		return rc;
	count_put(q, s->bytes, cluster % per_block(q), 1);
	s->dirty = true;
	q->table[cluster / per_block(q)] = cluster << q->bits;
	q->table_dirty = q->unsynced = true;
	q->end = MAX(q->end, cluster + 1);
	return 0;
}

int q2_alloc(struct q2 *q, u64 *at, bool *fresh)
{
	if (q->corrupt)
		return -EIO;
	for (u64 c = q->hint;; c++) {
		struct q2_slot *s;
		int rc;

		if (c / per_block(q) >= q->table_entries) {
			rc = grow_table(q);
			if (rc)
				return rc;
			c = q->hint;
		}
		s = block_of(q, c, &rc);
		if (rc)
			return rc;
		if (!s && c < q->end) {
			/* What lies within the file without a count is somebody's, most likely. */
			c = MIN(q->end, (c / per_block(q) + 1) * per_block(q)) - 1;
			continue;
		}
		if (!s) {
			rc = make_block(q, c);
			if (rc)
				return rc;
			continue;
		}
		if (count_get(q, s->bytes, c % per_block(q)))
			continue;
		if (!c) /* the header is always in use */
			return q2_damaged(q);
		count_put(q, s->bytes, c % per_block(q), 1);
		s->dirty = q->unsynced = true;
		q->hint = c + 1;
		if (fresh)
			*fresh = c >= q->end;
		q->end = MAX(q->end, c + 1);
		*at = c << q->bits;
		return 0;
	}
}

static int lower(struct q2 *q, u64 cluster)
{
	u64 count;
	int rc = count_of(q, cluster, &count);

	if (rc)
		return rc;
	if (!count || !cluster)
		return q2_damaged(q);
	rc = count_set(q, cluster, count - 1);
	if (rc || count > 1)
		return rc;
	q->hint = MIN(q->hint, cluster);
	q2_cache_drop(&q->l2, cluster << q->bits);
	return 0;
}

void q2_unalloc(struct q2 *q, u64 at)
{
	lower(q, at >> q->bits);
}

int q2_free_later(struct q2 *q, u64 at)
{
	if (q->n_freed == q->room_freed) {
		u32 room = MAX(2 * q->room_freed, 64u);
		u64 *more = realloc(q->freed, room * sizeof *more);

		if (!more)
			return -ENOMEM; /* it stays allocated: a leak that qemu-img check mends */
		q->freed = more;
		q->room_freed = room;
	}
	q->freed[q->n_freed++] = at >> q->bits;
	q->unsynced = true;
	return 0;
}

int q2_free_entry(struct q2 *q, u64 entry)
{
	u64 at, size;
	int rc = 0;

	if (entry & Q2_COMPRESSED) {
		q2_compressed_range(q, entry, &at, &size);
		for (u64 c = at >> q->bits; !rc && c <= (at + size - 1) >> q->bits; c++)
			rc = q2_free_later(q, c << q->bits);
		return rc;
	}
	at = entry & Q2_OFFSET;
	if (!at)
		return 0;
	return q2_offset_good(q, at) ? q2_free_later(q, at) : q2_damaged(q);
}

int q2_free_now(struct q2 *q)
{
	int rc = 0;

	while (!rc && q->n_freed) {
		u64 cluster = q->freed[--q->n_freed], count = 0;

		rc = lower(q, cluster);
		if (!rc && !count_of(q, cluster, &count) && !count)
			file_punch(q->disk, cluster << q->bits, q->cluster);
	}
	return rc;
}

/* ---- counting anew ---- */

struct recount { struct q2 *q; u32 *counts; u64 n; };

static int note(struct recount *r, u64 at, u64 size)
{
	if (!size)
		return 0;
	for (u64 c = at >> r->q->bits; c <= (at + size - 1) >> r->q->bits; c++) {
		if (c >= r->n)
			return -EINVAL;
		r->counts[c]++;
	}
	return 0;
}

static int note_l2(struct recount *r, u64 table)
{
	struct q2 *q = r->q;
	u64 *words = malloc(q->cluster), at, size;
	int rc = words ? file_read(q->disk->fd, words, q->cluster, table) : -ENOMEM;

	for (u64 i = 0; !rc && i < q->cluster / 8; i++) {
		u64 entry = __builtin_bswap64(words[i]);

		if (entry & Q2_COMPRESSED) {
			q2_compressed_range(q, entry, &at, &size);
			rc = note(r, at, size);
		} else if (entry & Q2_OFFSET) {
			rc = q2_offset_good(q, entry & Q2_OFFSET) ? note(r, entry & Q2_OFFSET, q->cluster) : -EINVAL;
		}
	}
	free(words);
	return rc;
}

static int note_l1(struct recount *r, u64 at, u64 entries)
{
	struct q2 *q = r->q;
	u64 *words;
	int rc;

	if (entries * 8 > Q2_L1_MAX || !q2_offset_good(q, at))
		return -EINVAL;
	words = malloc(entries * 8 + 8);
	rc = words ? file_read(q->disk->fd, words, entries * 8, at) : -ENOMEM;
	if (!rc)
		rc = note(r, at, entries * 8);
	for (u64 i = 0; !rc && i < entries; i++) {
		u64 table = __builtin_bswap64(words[i]) & Q2_OFFSET;

		if (!table)
			continue;
		rc = q2_offset_good(q, table) ? note(r, table, q->cluster) : -EINVAL;
		if (!rc)
			rc = note_l2(r, table);
	}
	free(words);
	return rc;
}

/* Entries of a snapshot table: offset of its L1 (8), entries (4), lengths of id and name (2, 2), ...,
 * extra data (4 at 36), each padded to 8 bytes. */
static int note_snapshots(struct recount *r)
{
	struct q2 *q = r->q;
	u64 at = q->head.snapshots_offset;
	u8 head[SNAPSHOT_HEAD];
	int rc = 0;

	if (q->head.snapshots > SNAPSHOTS_MAX)
		return -EINVAL;
	for (u32 i = 0; !rc && i < q->head.snapshots; i++) {
		rc = file_read(q->disk->fd, head, sizeof head, at);
		if (!rc && q2_get(head + 8, 32))
			rc = note_l1(r, q2_get(head, 64), q2_get(head + 8, 32));
		at += ALIGN_UP(SNAPSHOT_HEAD + q2_get(head + 36, 32) + q2_get(head + 12, 16) + q2_get(head + 14, 16), 8);
	}
	return rc ? rc : note(r, q->head.snapshots_offset, at - q->head.snapshots_offset);
}

/* Clusters that entries refer to which the tables on disk do not have yet. */
static int note_extra(struct recount *r, const struct q2_row *row, u32 n)
{
	u64 on_disk;
	int rc = 0;

	for (u32 i = 0; !rc && i < n; i++) {
		u64 at = row[i].entry & Q2_OFFSET;

		rc = q2_entry(r->q, row[i].guest, &on_disk);
		if (!rc && at && !(row[i].entry & Q2_COMPRESSED) && (on_disk & Q2_OFFSET) != at)
			rc = q2_offset_good(r->q, at) ? note(r, at, r->q->cluster) : -EINVAL;
	}
	return rc;
}

int q2_rebuild(struct q2 *q, const struct q2_row *extra, u32 n_extra, struct err *e)
{
	struct recount r = { .q = q, .n = q->end };
	int rc;

	r.counts = calloc(r.n, sizeof *r.counts);
	if (!r.counts)
		return err_set(e, -ENOMEM, "no memory");
	rc = note(&r, 0, q->cluster);
	if (!rc)
		rc = note_l1(&r, q->head.l1_offset, q->head.l1_entries);
	if (!rc && q->head.snapshots)
		rc = note_snapshots(&r);
	if (!rc)
		rc = note_extra(&r, extra, n_extra);
	if (!rc) {
		q->head.incompatible &= ~Q2_INCOMPAT_DIRTY;
		rc = restructure(q, r.counts, r.n);
	}
	free(r.counts);
	if (rc)
		return err_set(e, rc, "%s: qcow2: it was not closed, and its reference counts cannot be repaired; "
			       "qemu-img check -r all may do it", q->disk->path);
	return 0;
}
