/* SPDX-License-Identifier: MIT */
#include "device/virtqueue.h"

#include <errno.h>
#include <string.h>

/* struct virtq_desc: le64 address, le32 length, le16 flags, le16 next. */
#define DESC_SIZE 16
#define DESC_NEXT 1
#define DESC_WRITE 2
#define DESC_INDIRECT 4
#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY 1

struct desc { u64 address; u32 length; u16 flags, next; };
typedef u64 loose_u64 __attribute__((aligned(1), may_alias)); /* an indirect table lies anywhere */

/* Both rings begin with flags and index. */
#define RING_FLAGS 0
#define RING_INDEX 1
#define RING_ENTRIES 2

int vq_break(struct virtqueue *q, const char *why)
{
	if (!q->broken)
		q->why = why;
	q->broken = true;
	return -EINVAL;
}

int vq_start(struct virtqueue *q, struct dma *dma, const struct virtq_setup *s, u64 features)
{
	u64 n = s->size;

	*q = (struct virtqueue){ .dma = dma };
	if (!n || n > VIRTQ_SIZE_MAX || (n & (n - 1)))
		return vq_break(q, "queue size");
	if (s->desc % 16 || s->driver % 2 || s->device % 4)
		return vq_break(q, "queue address not aligned");
	q->desc = dma_at(dma, s->desc, n * DESC_SIZE);
	q->avail = dma_at(dma, s->driver, 6 + 2 * n);
	q->used = dma_at(dma, s->device, 6 + 8 * n);
	if (!q->desc || !q->avail || !q->used)
		return vq_break(q, "queue outside of memory");
	q->size = (u16)n;
	q->next_avail = s->next_avail;
	q->next_used = q->signalled = s->next_used;
	q->event_idx = features >> VIRTIO_F_EVENT_IDX & 1;
	q->indirect = features >> VIRTIO_F_INDIRECT_DESC & 1;
	q->running = true;
	return 0;
}

/* ---- what a successor needs, Q4 ---- */

/* The record is read by another process after this one ended between any two instructions: the compiler must keep the
 * order of the stores, the processor's is no matter. */
#define RECORD(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

int vq_start_recorded(struct virtqueue *q, struct dma *dma, const struct virtq_setup *s, u64 features,
		      struct vq_record *record, u32 start)
{
	int rc = vq_start(q, dma, s, features);

	if (rc || !record)
		return rc;
	RECORD(record->start, 0);
	memset(record->taken, 0, sizeof record->taken);
	RECORD(record->order, 0ull);
	RECORD(record->next_avail, s->next_avail);
	RECORD(record->next_used, s->next_used);
	RECORD(record->start, start);
	q->record = record;
	return 0;
}

/* Forgets what was answered up to the used index. */
static void forget_answered(struct virtqueue *q, u16 from, u16 to)
{
	const volatile u32 *ring = (const volatile u32 *)(q->used + RING_ENTRIES);

	for (u16 i = from; i != to; i++) {
		u32 head = ring[2 * (i & (q->size - 1))];

		if (head < VIRTQ_SIZE_MAX)
			RECORD(q->record->taken[head], 0ull);
	}
	RECORD(q->record->next_used, to);
}

int vq_resume(struct virtqueue *q, struct dma *dma, const struct virtq_setup *s, u64 features,
	      struct vq_record *record, u32 start)
{
	struct virtq_setup now = *s;
	u16 used, head;
	int rc;

	if (record && record->start != start)
		return vq_start_recorded(q, dma, s, features, record, start);
	rc = vq_start(q, dma, s, features);
	if (rc)
		return rc;
	used = q->used[RING_INDEX];
	if (record) {
		now.next_avail = record->next_avail;
		now.next_used = record->next_used;
	} else {
		now.next_avail = now.next_used = used;
	}
	rc = vq_start(q, dma, &now, features);
	if (rc || !record)
		return rc;
	q->record = record;
	/* An index that the guest has changed itself is not believed: it is its own loss. */
	if ((u16)(used - now.next_used) <= q->size) {
		forget_answered(q, now.next_used, used);
		q->next_used = q->signalled = used;
	}
	/* The process may have ended between noting a request and passing over it. */
	head = q->avail[RING_ENTRIES + (q->next_avail & (q->size - 1))];
	if (vq_waiting(q) && head < VIRTQ_SIZE_MAX)
		RECORD(record->taken[head], 0ull);
	q->again_end = record->order;
	return 0;
}

/* The next request that is handed out once more. */
static bool next_again(struct virtqueue *q, u16 *head)
{
	u64 best = 0;

	for (u32 i = 0; q->again != q->again_end && i < q->size; i++) {
		u64 order = q->record->taken[i];

		if (order > q->again && order <= q->again_end && (!best || order < best)) {
			best = order;
			*head = (u16)i;
		}
	}
	q->again = best ? best : q->again_end;
	return best;
}

void vq_stop(struct virtqueue *q)
{
	*q = (struct virtqueue){ .dma = q->dma, .next_avail = q->next_avail, .next_used = q->next_used };
}

void vq_save(const struct virtqueue *q, struct virtq_setup *s)
{
	s->next_avail = q->next_avail;
	s->next_used = q->next_used;
}

u32 vq_waiting(struct virtqueue *q)
{
	u16 n;

	if (!q->running || q->broken)
		return 0;
	n = (u16)(__atomic_load_n(&q->avail[RING_INDEX], __ATOMIC_ACQUIRE) - q->next_avail);
	if (n > q->size) {
		vq_break(q, "available index ahead of the ring");
		return 0;
	}
	return n;
}

static struct desc read_desc(const volatile u8 *p)
{
	const volatile loose_u64 *w = (const volatile loose_u64 *)p;
	u64 a = w[0], b = w[1];

	return (struct desc){ a, (u32)b, (u16)(b >> 32), (u16)(b >> 48) };
}

/* Appends one descriptor's memory. */
static int add_part(struct virtqueue *q, struct vq_chain *c, u32 room, const struct desc *d)
{
	void *p;

	if (!(d->flags & DESC_WRITE) && c->n_in)
		return vq_break(q, "readable descriptor after a writable one");
	if (!d->length)
		return 0;
	if (c->n_out + c->n_in == room)
		return vq_break(q, "descriptor chain too long");
	p = dma_at(q->dma, d->address, d->length);
	if (!p)
		return vq_break(q, "descriptor outside of memory");
	c->iov[c->n_out + c->n_in] = (struct iovec){ p, d->length };
	if (d->flags & DESC_WRITE) {
		c->n_in++;
		c->in += d->length;
	} else {
		c->n_out++;
		c->out += d->length;
	}
	return 0;
}

/* Follows a chain within a table of `n` descriptors; at most n of them, so that a loop ends. */
static int walk(struct virtqueue *q, struct vq_chain *c, u32 room, const volatile u8 *table, u32 n, u32 at, bool nested)
{
	for (u32 i = 0; i < n; i++) {
		struct desc d;
		const u8 *inner;

		if (at >= n)
			return vq_break(q, "descriptor index outside of its table");
		d = read_desc(table + (size_t)at * DESC_SIZE);
		if (d.flags & DESC_INDIRECT) {
			if (nested || !q->indirect || (d.flags & DESC_NEXT))
				return vq_break(q, "indirect descriptor where none may be");
			if (!d.length || d.length % DESC_SIZE || d.length / DESC_SIZE > VIRTQ_SIZE_MAX)
				return vq_break(q, "size of an indirect table");
			inner = dma_at(q->dma, d.address, d.length);
			if (!inner)
				return vq_break(q, "indirect table outside of memory");
			return walk(q, c, room, inner, d.length / DESC_SIZE, 0, true);
		}
		if (add_part(q, c, room, &d))
			return -EINVAL;
		if (!(d.flags & DESC_NEXT))
			return 0;
		at = d.next;
	}
	return vq_break(q, "descriptor chain with a loop");
}

int vq_pop(struct virtqueue *q, struct vq_chain *c, u32 room)
{
	bool again = q->again != q->again_end && next_again(q, &c->head);
	u32 n = vq_waiting(q);

	if (q->broken)
		return -EINVAL;
	if (!n && !again)
		return 0;
	c->n_out = c->n_in = 0;
	c->out = c->in = 0;
	if (!again)
		c->head = q->avail[RING_ENTRIES + (q->next_avail & (q->size - 1))];
	if (walk(q, c, room, q->desc, q->size, c->head, false))
		return -EINVAL;
	if (again)
		return 1;
	if (q->record) {
		RECORD(q->record->taken[c->head], ++q->record->order);
		RECORD(q->record->next_avail, (u16)(q->next_avail + 1));
	}
	q->next_avail++;
	return 1;
}

void vq_unpop(struct virtqueue *q)
{
	q->next_avail--;
}

static void report_written(struct virtqueue *q, const struct vq_chain *c, u64 written)
{
	for (u32 i = c->n_out; i < c->n_out + c->n_in && written; i++) {
		u64 n = MIN(written, (u64)c->iov[i].iov_len);

		dma_wrote(q->dma, c->iov[i].iov_base, n);
		written -= n;
	}
}

void vq_fill(struct virtqueue *q, const struct vq_chain *c, u64 written, u16 i)
{
	volatile u32 *entry;

	if (!q->running || q->broken)
		return;
	report_written(q, c, written);
	entry = (volatile u32 *)(q->used + RING_ENTRIES) + 2 * ((u16)(q->next_used + i) & (q->size - 1));
	entry[0] = c->head;
	entry[1] = (u32)MIN(written, (u64)UINT32_MAX);
	dma_wrote(q->dma, (const void *)entry, 8);
}

void vq_publish(struct virtqueue *q, u16 n)
{
	if (!q->running || q->broken || !n)
		return;
	dma_settle(q->dma);
	q->next_used = (u16)(q->next_used + n);
	__atomic_store_n(&q->used[RING_INDEX], q->next_used, __ATOMIC_RELEASE);
	if (q->record)
		forget_answered(q, q->record->next_used, q->next_used);
	dma_wrote(q->dma, (const void *)q->used, 4);
	dma_settle(q->dma);
}

void vq_push(struct virtqueue *q, const struct vq_chain *c, u64 written)
{
	vq_fill(q, c, written, 0);
	vq_publish(q, 1);
}

bool vq_wants_interrupt(struct virtqueue *q)
{
	u16 old = q->signalled, event;
	bool valid = q->signalled_valid;

	if (!q->running || q->broken || q->next_used == old)
		return false;
	q->signalled = q->next_used;
	q->signalled_valid = true;
	/* The used index is visible before the driver's wish is read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(q->avail[RING_FLAGS] & AVAIL_NO_INTERRUPT);
	event = q->avail[RING_ENTRIES + q->size];
	return !valid || (u16)(q->next_used - event - 1) < (u16)(q->next_used - old);
}

bool vq_listen_beyond(struct virtqueue *q, u32 have)
{
	if (!q->running || q->broken)
		return false;
	if (q->event_idx)
		q->used[RING_ENTRIES + 4 * q->size] = (u16)(q->next_avail + have);
	else
		q->used[RING_FLAGS] = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vq_waiting(q) > have;
}

bool vq_listen(struct virtqueue *q)
{
	return vq_listen_beyond(q, 0);
}

void vq_deafen(struct virtqueue *q)
{
	if (q->running && !q->broken && !q->event_idx)
		q->used[RING_FLAGS] = USED_NO_NOTIFY;
}

/* ---- parts ---- */

u32 iov_slice(const struct iovec *iov, u32 n, u64 at, u64 size, struct iovec *out)
{
	u32 count = 0;

	for (u32 i = 0; i < n && size; i++) {
		u64 len = iov[i].iov_len, part;

		if (at >= len) {
			at -= len;
			continue;
		}
		part = MIN(len - at, size);
		out[count++] = (struct iovec){ (u8 *)iov[i].iov_base + at, part };
		size -= part;
		at = 0;
	}
	return count;
}

static size_t copy(const struct iovec *iov, u32 n, u64 at, u8 *buffer, const u8 *from, size_t size)
{
	size_t done = 0;

	for (u32 i = 0; i < n && done < size; i++) {
		u64 len = iov[i].iov_len, part;

		if (at >= len) {
			at -= len;
			continue;
		}
		part = MIN(len - at, (u64)(size - done));
		if (buffer)
			memcpy(buffer + done, (u8 *)iov[i].iov_base + at, part);
		else
			memcpy((u8 *)iov[i].iov_base + at, from + done, part);
		done += part;
		at = 0;
	}
	return done;
}

size_t iov_get(const struct iovec *iov, u32 n, u64 at, void *buffer, size_t size)
{
	return copy(iov, n, at, buffer, NULL, size);
}

size_t iov_put(const struct iovec *iov, u32 n, u64 at, const void *buffer, size_t size)
{
	return copy(iov, n, at, NULL, buffer, size);
}
