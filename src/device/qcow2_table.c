/* SPDX-License-Identifier: MIT
 * qcow2: tables in memory, L1 and L2, and the order in which they are written. */
#include "device/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int q2_cache_init(struct q2_cache *c, u32 n, u64 cluster)
{
	c->slot = calloc(n, sizeof *c->slot);
	if (!c->slot)
		return -ENOMEM;
	c->n = n;
	for (u32 i = 0; i < n; i++) {
		c->slot[i].bytes = malloc(cluster);
		if (!c->slot[i].bytes)
			return -ENOMEM;
	}
	return 0;
}

void q2_cache_free(struct q2_cache *c)
{
	for (u32 i = 0; i < c->n; i++)
		free(c->slot[i].bytes);
	free(c->slot);
}

static struct q2_slot *find(struct q2_cache *c, u64 at)
{
	for (u32 i = 0; i < c->n; i++) {
		if (c->slot[i].at != at)
			continue;
		c->slot[i].used = ++c->clock;
		return &c->slot[i];
	}
	return NULL;
}

static struct q2_slot *oldest(struct q2_cache *c, bool clean_only)
{
	struct q2_slot *best = NULL;

	for (u32 i = 0; i < c->n; i++) {
		struct q2_slot *s = &c->slot[i];

		if ((!clean_only || !s->dirty) && (!best || s->used < best->used))
			best = s;
	}
	return best;
}

void q2_cache_drop(struct q2_cache *c, u64 at)
{
	for (u32 i = 0; i < c->n; i++)
		if (!at || c->slot[i].at == at)
			c->slot[i] = (struct q2_slot){ .bytes = c->slot[i].bytes };
}

int q2_cache_write(struct q2 *q, struct q2_cache *c)
{
	for (u32 i = 0; i < c->n; i++) {
		struct q2_slot *s = &c->slot[i];
		int rc = s->dirty ? file_write(q->disk->fd, s->bytes, q->cluster, s->at) : 0;

		if (rc)
			return rc;
		s->dirty = false;
	}
	return 0;
}

static int load(struct q2 *q, struct q2_cache *c, struct q2_slot *s, u64 at, bool fresh)
{
	int rc = 0;

	s->at = 0;
	if (fresh)
		memset(s->bytes, 0, q->cluster);
	else
		rc = file_read(q->disk->fd, s->bytes, q->cluster, at);
	if (rc)
		return rc;
	s->at = at;
	s->dirty = false;
	s->used = ++c->clock;
	return 0;
}

static int barrier(struct q2 *q)
{
	return q->disk->unsafe || !fdatasync(q->disk->fd) ? 0 : -errno;
}

static int write_words(struct q2 *q, const u64 *words, u64 n, u64 at)
{
	u64 *copy = malloc(n * 8);
	int rc;

	if (!copy)
		return -ENOMEM;
	for (u64 i = 0; i < n; i++)
		copy[i] = __builtin_bswap64(words[i]);
	rc = file_write(q->disk->fd, copy, n * 8, at);
	free(copy);
	return rc;
}

/* All but L1 and what was freed. */
static int sync_tables(struct q2 *q)
{
	int rc = q2_cache_write(q, &q->blocks);

	if (!rc)
		rc = barrier(q);
	if (!rc && q->table_dirty) {
		rc = write_words(q, q->table, q->table_entries, q->head.table_offset);
		if (!rc)
			rc = barrier(q);
		q->table_dirty = q->table_dirty && rc;
	}
	return rc ? rc : q2_cache_write(q, &q->l2);
}

int q2_sync(struct q2 *q)
{
	int rc = sync_tables(q);

	if (!rc)
		rc = barrier(q);
	if (!rc && q->l1_dirty) {
		rc = write_words(q, q->l1, q->head.l1_entries, q->head.l1_offset);
		if (!rc)
			rc = barrier(q);
		q->l1_dirty = q->l1_dirty && rc;
	}
	if (!rc) {
		q->unsynced = false;
		q2_log_clear(q);
		rc = q2_free_now(q);
	}
	return rc;
}

struct q2_slot *q2_cache_get(struct q2 *q, struct q2_cache *c, u64 at, bool fresh, int *rc)
{
	struct q2_slot *s = find(c, at);

	*rc = 0;
	if (s && !fresh)
		return s;
	if (!s)
		s = oldest(c, false);
	if (s->dirty && s->at != at)
		*rc = c == &q->blocks ? q2_cache_write(q, c) : sync_tables(q);
	if (!*rc)
		*rc = load(q, c, s, at, fresh);
	return *rc ? NULL : s;
}

/* ---- entries ---- */

static u64 l1_index(const struct q2 *q, u64 guest) { return guest >> (q->bits + q->l2_bits); }
static u64 l2_index(const struct q2 *q, u64 guest) { return guest >> q->bits & ((1ull << q->l2_bits) - 1); }

int q2_entry(struct q2 *q, u64 guest, u64 *entry)
{
	u64 table = q->l1[l1_index(q, guest)] & Q2_OFFSET, word = 0, at = 8 * l2_index(q, guest);
	struct q2_slot *s;
	int rc = 0;

	*entry = 0;
	if (!table)
		return 0;
	if (!q2_offset_good(q, table))
		return q2_damaged(q);
	pthread_mutex_lock(&q->cache_lock);
	s = find(&q->l2, table);
	if (!s) {
		s = oldest(&q->l2, true);
		if (s)
			rc = load(q, &q->l2, s, table, false);
	}
	if (!rc && s)
		memcpy(&word, s->bytes + at, 8);
	pthread_mutex_unlock(&q->cache_lock);
	/* All slots wait to be written, which readers cannot do: this table is not among them, so that the file
	 * has what is valid. */
	if (!rc && !s)
		rc = file_read(q->disk->fd, &word, 8, table + at);
	*entry = __builtin_bswap64(word);
	return rc;
}

/* The offset of an L2 table that is this image's alone. */
static int own_table(struct q2 *q, u64 guest, u64 *table)
{
	u64 *l1 = &q->l1[l1_index(q, guest)], old = *l1 & Q2_OFFSET, new;
	struct q2_slot *s;
	u8 *copy = NULL;
	int rc;

	*table = old;
	if (old && !q2_offset_good(q, old))
		return q2_damaged(q);
	if (old && (*l1 & Q2_COPIED))
		return 0;
	if (old) {
		s = q2_cache_get(q, &q->l2, old, false, &rc);
		if (!s)
			return rc;
		copy = malloc(q->cluster);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, s->bytes, q->cluster);
	}
	rc = q2_alloc(q, &new, NULL);
	s = rc ? NULL : q2_cache_get(q, &q->l2, new, true, &rc);
	if (s) {
		if (copy)
			memcpy(s->bytes, copy, q->cluster);
		s->dirty = true;
		*l1 = new | Q2_COPIED;
		q->l1_dirty = true;
		*table = new;
		if (old)
			rc = q2_free_later(q, old);
	} else if (!rc) {
		q2_unalloc(q, new);
	}
	free(copy);
	return rc;
}

int q2_entry_set(struct q2 *q, u64 guest, u64 entry)
{
	u64 table, word = __builtin_bswap64(entry);
	struct q2_slot *s;
	int rc = q->corrupt ? -EIO : q2_log_room(q);

	if (!rc)
		rc = own_table(q, guest, &table);
	if (rc)
		return rc;
	s = q2_cache_get(q, &q->l2, table, false, &rc);
	if (!s)
		return rc;
	memcpy(s->bytes + 8 * l2_index(q, guest), &word, 8);
	s->dirty = true;
	q->unsynced = true;
	q2_log_add(q, guest, entry);
	return 0;
}
