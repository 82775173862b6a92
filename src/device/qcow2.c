/* SPDX-License-Identifier: MIT
 * qcow2: header, opening and closing. */
#include "device/qcow2.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_FEATURE_NAMES 0x6803f857u
#define BACKING_NAME_MAX 1023
#define CACHE_BYTES (4u << 20)

static const struct q2_header_field {
	const char *name;
	u8 bits;
	u16 at;
} header_fields[] = {
#define Q2_ROW(bits, name) { #name, bits, offsetof(struct q2_header, name) },
	Q2_HEADER(Q2_ROW)
#undef Q2_ROW
};

u64 q2_get(const void *p, int bits)
{
	const u8 *b = p;
	u64 v = 0;

	for (int i = 0; i < bits / 8; i++)
		v = v << 8 | b[i];
	return v;
}

void q2_put(void *p, int bits, u64 v)
{
	u8 *b = p;

	for (int i = bits / 8; i--; v >>= 8)
		b[i] = (u8)v;
}

static bool q2_probe(const u8 *head, size_t n)
{
	return n >= 8 && q2_get(head, 32) == Q2_MAGIC && q2_get(head + 4, 32) >= 2;
}

/* ---- header ---- */

static void header_read(struct q2_header *h, const u8 *bytes)
{
	u64 at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(header_fields); i++) {
		const struct q2_header_field *f = &header_fields[i];
		u64 v = q2_get(bytes + at, f->bits);

		if (at >= Q2_HEADER_V2 && h->version < 3)
			v = 0;
		if (f->bits == 32)
			*(u32 *)(void *)((u8 *)h + f->at) = (u32)v;
		else
			*(u64 *)(void *)((u8 *)h + f->at) = v;
		at += f->bits / 8;
	}
	if (h->version < 3) {
		h->refcount_order = 4;
		h->header_length = Q2_HEADER_V2;
	}
	h->compression = h->header_length > Q2_HEADER_V3 ? bytes[Q2_HEADER_V3] : 0;
}

int q2_header_write(struct q2 *q)
{
	u8 bytes[Q2_HEADER_V3];
	u64 at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(header_fields); i++) {
		const struct q2_header_field *f = &header_fields[i];
		const u8 *from = (const u8 *)&q->head + f->at;

		q2_put(bytes + at, f->bits, f->bits == 32 ? *(const u32 *)(const void *)from : *(const u64 *)(const void *)from);
		at += f->bits / 8;
	}
	return file_write(q->disk->fd, bytes, q->head.version < 3 ? Q2_HEADER_V2 : Q2_HEADER_V3, 0);
}

bool q2_offset_good(const struct q2 *q, u64 at)
{
	return at && !(at & (q->cluster - 1)) && at < 1ull << 56;
}

int q2_damaged(struct q2 *q)
{
	bool first = !__atomic_exchange_n(&q->corrupt, true, __ATOMIC_RELAXED);

	if (first && q->head.version >= 3 && !q->disk->read_only) {
		q->head.incompatible |= Q2_INCOMPAT_CORRUPT;
		q2_header_write(q);
	}
	return -EIO;
}

/* The name that the image gives to a feature, from its table (type, bit, 46 bytes). */
static void feature_name(const u8 *table, u64 n, u8 type, int bit, char name[64])
{
	snprintf(name, 64, "bit %d", bit);
	for (u64 i = 0; i + 48 <= n; i += 48)
		if (table[i] == type && table[i + 1] == bit)
			snprintf(name, 64, "\"%.46s\"", (const char *)table + i + 2);
	for (char *p = name; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

/* Walks the extensions in the first cluster; returns the length and place of the one of a type, or NULL. */
static const u8 *extension(const struct q2 *q, const u8 *first, u32 type, u32 *length)
{
	u64 at = q->head.header_length;

	while (at + 8 <= q->cluster) {
		u32 t = (u32)q2_get(first + at, 32), n = (u32)q2_get(first + at + 4, 32);

		if (!t || n > q->cluster - at - 8)
			return NULL;
		if (t == type) {
			*length = n;
			return first + at + 8;
		}
		at += 8 + ALIGN_UP((u64)n, 8);
	}
	return NULL;
}

static int check_features(struct q2 *q, const u8 *first, struct err *e)
{
	u64 known = Q2_INCOMPAT_DIRTY | Q2_INCOMPAT_CORRUPT | Q2_INCOMPAT_COMPRESSION;
	u64 unknown = q->head.incompatible & ~known;
	const u8 *names;
	u32 length = 0;
	char name[64];

	if (unknown) {
		names = extension(q, first, EXTENSION_FEATURE_NAMES, &length);
		feature_name(names, names ? length : 0, 0, __builtin_ctzll(unknown), name);
		return err_set(e, -ENOTSUP, "%s: qcow2: the image needs the feature %s, which is not supported",
			       q->disk->path, name);
	}
	if ((q->head.incompatible & Q2_INCOMPAT_CORRUPT) && !q->disk->read_only)
		return err_set(e, -EIO, "%s: qcow2: the image is marked corrupt; qemu-img check -r all may repair it, "
			       "readonly reads it", q->disk->path);
	if (q->head.compression > Q2_COMPRESS_ZSTD)
		return err_set(e, -ENOTSUP, "%s: qcow2: compression type %u is not supported", q->disk->path, q->head.compression);
	return 0;
}

static int check_header(struct q2 *q, struct err *e)
{
	const struct q2_header *h = &q->head;
	const char *wrong = NULL;
	u64 l1_needed;

	if (h->version < 2 || h->version > 3)
		return err_set(e, -ENOTSUP, "%s: qcow2: version %u is not supported", q->disk->path, h->version);
	if (h->encryption)
		return err_set(e, -ENOTSUP, "%s: qcow2: encrypted images are not supported", q->disk->path);
	if (h->cluster_bits < Q2_CLUSTER_BITS_MIN || h->cluster_bits > Q2_CLUSTER_BITS_MAX)
		return err_set(e, -EINVAL, "%s: qcow2: cluster_bits is %u", q->disk->path, h->cluster_bits);
	q->bits = h->cluster_bits;
	q->cluster = 1ull << q->bits;
	q->l2_bits = q->bits - 3;
	if (h->refcount_order > 6)
		wrong = "refcount_order";
	if (h->version >= 3 && (h->header_length < Q2_HEADER_V3 || h->header_length > q->cluster || h->header_length % 8))
		wrong = "header_length";
	if (!h->size || h->size > 1ull << 56)
		wrong = "size";
	l1_needed = (h->size + (1ull << (q->bits + q->l2_bits)) - 1) >> (q->bits + q->l2_bits);
	if (h->l1_entries < l1_needed || (u64)h->l1_entries * 8 > Q2_L1_MAX)
		wrong = "l1_size";
	if (!q2_offset_good(q, h->l1_offset))
		wrong = "l1_table_offset";
	if (!q2_offset_good(q, h->table_offset))
		wrong = "refcount_table_offset";
	if (!h->table_clusters || (u64)h->table_clusters << q->bits > MAX((u64)Q2_TABLE_MAX, q->cluster))
		wrong = "refcount_table_clusters";
	if (wrong)
		return err_set(e, -EINVAL, "%s: qcow2: the header's %s is not valid", q->disk->path, wrong);
	return 0;
}

/* ---- opening ---- */

static int load_words(struct q2 *q, u64 **out, u64 at, u64 n, struct err *e)
{
	u64 *words = malloc(n * 8);
	int rc;

	if (!words)
		return err_set(e, -ENOMEM, "no memory");
	*out = words;
	rc = file_read(q->disk->fd, words, n * 8, at);
	if (rc)
		return err_sys(e, -rc, "%s", q->disk->path);
	for (u64 i = 0; i < n; i++)
		words[i] = __builtin_bswap64(words[i]);
	return 0;
}

/* The backing file's name is relative to the image's directory. */
static int open_backing(struct q2 *q, const u8 *first, struct err *e)
{
	struct disk *disk = q->disk;
	u32 size = q->head.backing_size, length = 0;
	const u8 *format = extension(q, first, EXTENSION_BACKING_FORMAT, &length);
	char name[BACKING_NAME_MAX + 1], path[PATH_MAX], kind[16] = "";
	const char *slash = strrchr(disk->path, '/');
	int rc, depth = 0;

	if (!q->head.backing_offset)
		return 0;
	if (size > BACKING_NAME_MAX || q->head.backing_offset > q->cluster - size)
		return err_set(e, -EINVAL, "%s: qcow2: the header's backing_file_offset is not valid", disk->path);
	memcpy(name, first + q->head.backing_offset, size);
	name[size] = 0;
	if (!strncmp(name, "json:", 5) || strstr(name, "://"))
		return err_set(e, -ENOTSUP, "%s: its backing file \"%s\" is not a file", disk->path, name);
	if (*name == '/' || !slash)
		rc = snprintf(path, sizeof path, "%s", name);
	else
		rc = snprintf(path, sizeof path, "%.*s%s", (int)(slash + 1 - disk->path), disk->path, name);
	if (rc >= (int)sizeof path)
		return err_set(e, -ENAMETOOLONG, "%s: the name of its backing file is too long", disk->path);
	if (format && length < sizeof kind)
		memcpy(kind, format, length);
	depth = disk->depth + 1;
	if (depth >= DISK_CHAIN_MAX)
		return err_set(e, -ELOOP, "%s: more than %d images behind each other", disk->path, DISK_CHAIN_MAX);
	rc = disk_open_behind(&disk->backing, path, *kind ? kind : NULL, depth, e);
	return rc ? err_prefix(e, "backing file of %s", disk->path) : 0;
}

static int load(struct q2 *q, struct err *e)
{
	struct disk *disk = q->disk;
	u8 bytes[Q2_HEADER_V3 + 8], *first;
	u32 tables;
	int rc;

	rc = file_read(disk->fd, bytes, sizeof bytes, 0);
	if (rc)
		return err_sys(e, -rc, "%s", disk->path);
	header_read(&q->head, bytes);
	rc = check_header(q, e);
	if (rc)
		return rc;
	first = malloc(q->cluster);
	if (!first)
		return err_set(e, -ENOMEM, "no memory");
	rc = file_read(disk->fd, first, q->cluster, 0);
	if (rc)
		err_sys(e, -rc, "%s", disk->path);
	if (!rc)
		rc = check_features(q, first, e);
	if (!rc && !disk->backing)
		rc = open_backing(q, first, e);
	free(first);
	if (rc)
		return rc;
	q->table_entries = (u64)q->head.table_clusters << (q->bits - 3);
	rc = load_words(q, &q->l1, q->head.l1_offset, q->head.l1_entries, e);
	if (!rc)
		rc = load_words(q, &q->table, q->head.table_offset, q->table_entries, e);
	tables = (u32)MIN(MAX(CACHE_BYTES >> q->bits, 4u), 256u);
	if (!rc && (q2_cache_init(&q->l2, tables, q->cluster) || q2_cache_init(&q->blocks, MAX(tables / 4, 4u), q->cluster)))
		rc = err_set(e, -ENOMEM, "no memory");
	return rc;
}

/* Before the first write: what is not kept right is marked so, what was not closed is repaired. */
static int begin_writing(struct q2 *q, struct err *e)
{
	struct stat st;
	int rc = 0;

	if (fstat(q->disk->fd, &st))
		return err_sys(e, errno, "%s", q->disk->path);
	q->end = ((u64)st.st_size + q->cluster - 1) >> q->bits;
	if (q->head.incompatible & Q2_INCOMPAT_DIRTY) {
		rc = q2_rebuild(q, NULL, 0, e);
		q->head.incompatible &= ~Q2_INCOMPAT_DIRTY;
	}
	if (rc || q->head.version < 3)
		return rc;
	/* Bitmaps and the like, which writing makes untrue. */
	q->head.autoclear = 0;
	rc = q2_header_write(q);
	return rc ? err_sys(e, -rc, "%s", q->disk->path) : 0;
}

static void release(struct q2 *q)
{
	q2_cache_free(&q->l2);
	q2_cache_free(&q->blocks);
	free(q->l1);
	free(q->table);
	free(q->freed);
	free(q);
}

static void q2_close(struct disk *disk)
{
	struct q2 *q = disk->state;

	if (!q)
		return;
	/* Twice: what the first has freed is lowered by the second. */
	for (int i = 0; i < 2 && q->unsynced && disk->fd >= 0; i++)
		q2_sync(q);
	q2_log_free(q);
	release(q);
	disk->state = NULL;
}

static struct q2 *make(struct disk *disk)
{
	struct q2 *q = calloc(1, sizeof *q);
	pthread_rwlockattr_t attr;

	if (!q)
		return NULL;
	disk->state = q;
	q->disk = disk;
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&q->lock, &attr);
	pthread_mutex_init(&q->cache_lock, NULL);
	return q;
}

int q2_recover(struct disk *disk, struct err *e)
{
	struct q2 *stale = disk->state, *q;
	struct stat st;
	int rc;

	if (disk->read_only)
		return 0;
	q = make(disk);
	if (!q)
		return err_set(e, -ENOMEM, "no memory");
	rc = load(q, e);
	if (!rc && fstat(disk->fd, &st))
		rc = err_sys(e, errno, "%s", disk->path);
	if (rc)
		return rc;
	q->end = ((u64)st.st_size + q->cluster - 1) >> q->bits;
	q->log = stale->log;
	release(stale);
	return q2_log_replay(q, e);
}

static int q2_open(struct disk *disk, struct err *e)
{
	struct q2 *q = make(disk);
	int rc;

	if (!q)
		return err_set(e, -ENOMEM, "no memory");
	rc = load(q, e);
	if (!rc && !disk->read_only)
		rc = begin_writing(q, e);
	if (!rc && !disk->read_only && q2_log_init(q))
		rc = err_set(e, -ENOMEM, "no memory");
	disk->size = q->head.size & ~(u64)(DISK_SECTOR - 1);
	return rc;
}

const struct disk_format disk_qcow2 = {
	"qcow2", q2_probe, q2_open, q2_close, q2_read, q2_write, q2_flush, q2_discard, q2_zero, q2_recover,
};
