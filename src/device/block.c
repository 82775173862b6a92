/* SPDX-License-Identifier: MIT
 * virtio-blk (virtio 1.2 section 5.2) on an image of disk.h.
 *
 * The worker's main thread takes requests and answers them.  What is likely to be quick it does itself: writes
 * into the host's page cache, and reads when there is only one request to do.  The rest goes to the threads of
 * pool.h.  Requests are not ordered among each other; a flush covers what was answered before it was sent.
 *
 * A request:  free --serve--> busy --finish--> free.   There are REQUESTS; with none free the ring waits. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/keys.h"
#include "device/block.h"
#include "device/devices.h"
#include "device/disk.h"
#include "device/pool.h"

#define BLK_T_IN 0
#define BLK_T_OUT 1
#define BLK_T_FLUSH 4
#define BLK_T_GET_ID 8
#define BLK_T_DISCARD 11
#define BLK_T_WRITE_ZEROES 13
#define BLK_S_OK 0
#define BLK_S_IOERR 1
#define BLK_S_UNSUPP 2
#define BLK_F_SEG_MAX 2
#define BLK_F_RO 5
#define BLK_F_BLK_SIZE 6
#define BLK_F_FLUSH 9
#define BLK_F_TOPOLOGY 10
#define BLK_F_CONFIG_WCE 11
#define BLK_F_MQ 12
#define BLK_F_DISCARD 13
#define BLK_F_WRITE_ZEROES 14
#define BLK_ZERO_UNMAP 1
#define BLK_ID_SIZE 20

#define QUEUES_DEFAULT 1
#define QUEUES_MAX 16
#define QUEUE_SIZE 256
#define SEGMENTS 126u
#define PARTS (SEGMENTS + 2)   /* header and status */
#define REQUESTS 128
#define RANGES_MAX 32u         /* of a discard */
#define RANGE_SECTORS_MAX (1u << 21) /* 1 GiB */

_Static_assert(PARTS <= DISK_PARTS_MAX, "parts of a request");

/* Section 5.2.4, little-endian. */
struct blk_config {
	u64 capacity;
	u32 size_max, seg_max;
	u8 geometry[4];
	u32 blk_size;
	u8 physical_exponent, alignment_offset;
	u16 min_io;
	u32 opt_io;
	u8 writeback, unused0;
	u16 num_queues;
	u32 max_discard_sectors, max_discard_seg, discard_alignment;
	u32 max_zero_sectors, max_zero_seg;
	u8 zero_may_unmap, unused1[3];
} __attribute__((packed));
_Static_assert(sizeof(struct blk_config) == 60, "virtio_blk_config");

struct blk_range { u64 sector; u32 count, flags; };

struct request {
	struct job job;
	struct blk *blk;
	u32 queue, type;
	u64 at, size;                  /* bytes on the disk */
	u8 status;
	bool flush_after;              /* write-through */
	struct vq_chain chain;
	struct iovec iov[PARTS], data[PARTS];
	u32 n_data;
	u32 n_ranges;
	struct blk_range range[RANGES_MAX];
};

struct blk {
	struct disk *disk;
	char serial[BLK_ID_SIZE];
	bool write_through;            /* as the options say */
	bool handed;                   /* the descriptors are the device's to close */
	struct worker *worker;
	struct pool pool;
	struct request *requests;
	struct request *free;          /* linked by job.next */
	u32 busy;
};

/* ---- options, in the front-end ---- */

#define AT(field) offsetof(struct block_options, field)
static const struct key_row blk_keys[] = {
	{ "format", KEY_TEXT, AT(format), false, 0, 0, NULL },
	{ "serial", KEY_TEXT, AT(serial), false, 0, 0, NULL },
	{ "readonly", KEY_FLAG, AT(read_only), false, 0, 0, NULL },
	{ "queues", KEY_NUMBER, AT(queues), false, 1, QUEUES_MAX, NULL },
	{ "cache", KEY_CHOICE, AT(cache), false, 0, 0, "writeback|writethrough|unsafe" },
};

int block_options_parse(struct block_options *o, const char *text, struct err *e)
{
	size_t n = 0, used = 0;
	int rc = 0;

	*o = (struct block_options){ .queues = QUEUES_DEFAULT };
	o->path = malloc(strlen(text) + 1);
	if (!o->path)
		return err_set(e, -ENOMEM, "no memory");
	for (; text[n] && (text[n] != ',' || text[n + 1] == ','); n++) {
		n += text[n] == ',';
		o->path[used++] = text[n];
	}
	o->path[used] = 0;
	if (!used)
		return err_set(e, -EINVAL, "--disk: it needs a file");
	if (text[n])
		rc = keys_parse("--disk", text + n + 1, blk_keys, ARRAY_SIZE(blk_keys), o, &o->store, e);
	if (!rc && o->serial && strlen(o->serial) > BLK_ID_SIZE)
		return err_set(e, -EINVAL, "--disk: serial=%s is longer than %d characters", o->serial, BLK_ID_SIZE);
	return rc;
}

void block_options_free(struct block_options *o)
{
	free(o->path);
	free(o->store);
}

static void describe(struct virtio_device *d, struct blk *b, const struct block_options *o)
{
	bool writable = !b->disk->read_only;
	struct blk_config c = {
		.capacity = b->disk->size / DISK_SECTOR, .seg_max = SEGMENTS, .blk_size = DISK_SECTOR,
		.physical_exponent = 3, .min_io = 8, .writeback = !b->write_through, .num_queues = (u16)o->queues,
	};

	d->n_queues = (u32)o->queues;
	d->queue_size = QUEUE_SIZE;
	d->features = BIT(BLK_F_SEG_MAX) | BIT(BLK_F_BLK_SIZE) | BIT(BLK_F_TOPOLOGY) | BIT(BLK_F_FLUSH) | BIT(BLK_F_CONFIG_WCE);
	if (o->queues > 1)
		d->features |= BIT(BLK_F_MQ);
	if (writable) {
		d->features |= BIT(BLK_F_DISCARD) | BIT(BLK_F_WRITE_ZEROES);
		c.max_discard_sectors = c.max_zero_sectors = RANGE_SECTORS_MAX;
		c.max_discard_seg = c.max_zero_seg = RANGES_MAX;
		c.discard_alignment = 8;
		c.zero_may_unmap = 1;
	} else {
		d->features |= BIT(BLK_F_RO);
	}
	memcpy(d->state.config, &c, sizeof c);
	d->config_size = sizeof c;
	d->config_writable[offsetof(struct blk_config, writeback)] = 1;
}

static int blk_create(struct virtio_device *d, const char *options, struct err *e)
{
	struct blk *b = calloc(1, sizeof *b);
	struct block_options o;
	int rc;

	if (!b)
		return err_set(e, -ENOMEM, "no memory");
	d->data = b;
	rc = block_options_parse(&o, options ? options : "", e);
	if (!rc && o.serial)
		memcpy(b->serial, o.serial, strlen(o.serial));
	if (!rc)
		rc = disk_open(&b->disk, o.path, o.format, o.read_only, e);
	if (!rc) {
		b->disk->unsafe = o.cache == CACHE_UNSAFE;
		b->write_through = o.cache == CACHE_WRITETHROUGH;
		describe(d, b, &o);
		rc = disk_fds(b->disk, d->fds, WORKER_FDS_MAX);
		d->n_fds = MAX(rc, 0);
		rc = MIN(rc, 0);
		b->handed = !rc;
	}
	block_options_free(&o);
	return rc;
}

static void blk_destroy(struct virtio_device *d)
{
	struct blk *b = d->data;

	/* Its descriptors were closed with the device's. */
	for (struct disk *k = b && b->handed ? b->disk : NULL; k; k = k->backing)
		k->fd = k->direct_fd = -1;
	if (b)
		disk_close(b->disk);
	free(b);
}

/* ---- requests, in the worker ---- */

static u8 status_of(int rc)
{
	return rc == 0 ? BLK_S_OK : rc == -EOPNOTSUPP ? BLK_S_UNSUPP : BLK_S_IOERR;
}

static int run_ranges(struct request *r)
{
	struct disk *disk = r->blk->disk;

	for (u32 i = 0; i < r->n_ranges; i++) {
		u64 at = r->range[i].sector * DISK_SECTOR, size = (u64)r->range[i].count * DISK_SECTOR;
		int rc;

		if (r->range[i].sector > disk->size / DISK_SECTOR)
			return -EINVAL;
		rc = r->type == BLK_T_DISCARD ? disk_discard(disk, at, size) :
						disk_zero(disk, at, size, r->range[i].flags & BLK_ZERO_UNMAP);
		if (rc)
			return rc;
	}
	return 0;
}

/* In any thread. */
static void run(struct job *job)
{
	struct request *r = (struct request *)job;
	struct disk *disk = r->blk->disk;
	int rc;

	switch (r->type) {
	case BLK_T_IN:
		rc = disk_read(disk, r->data, r->n_data, r->at, r->size);
		break;
	case BLK_T_OUT:
		rc = disk_write(disk, r->data, r->n_data, r->at, r->size);
		break;
	case BLK_T_FLUSH:
		rc = disk_flush(disk);
		break;
	default:
		rc = run_ranges(r);
	}
	if (!rc && r->flush_after)
		rc = disk_flush(disk);
	r->status = status_of(rc);
}

/* Answers; the queue may have been broken meanwhile, then nothing is written. */
static void finish(struct request *r)
{
	struct blk *b = r->blk;
	struct virtqueue *vq = &b->worker->queue[r->queue];
	u64 written = r->type == BLK_T_IN && r->status == BLK_S_OK ? r->size : 0;

	/* The status is the last byte, so that all before it counts as written. */
	iov_put(r->chain.iov + r->chain.n_out, r->chain.n_in, r->chain.in - 1, &r->status, 1);
	vq_push(vq, &r->chain, written || r->chain.in > 1 ? r->chain.in : 1);
	r->job.next = (struct job *)b->free;
	b->free = r;
	b->busy--;
}

/* Type, place and data of a request whose chain is there; false where it is answered at once. */
static bool parse_data(struct request *r, u64 sector, u64 bytes)
{
	struct blk *b = r->blk;

	if (bytes % DISK_SECTOR || sector > b->disk->size / DISK_SECTOR ||
	    bytes > b->disk->size - sector * DISK_SECTOR) {
		r->status = BLK_S_IOERR;
		return false;
	}
	r->at = sector * DISK_SECTOR;
	r->size = bytes;
	return true;
}

static bool parse_ranges(struct request *r, u64 bytes)
{
	r->n_ranges = (u32)MIN(bytes / sizeof *r->range, (u64)RANGES_MAX + 1);
	if (bytes % sizeof *r->range || !r->n_ranges || r->n_ranges > RANGES_MAX) {
		r->status = BLK_S_UNSUPP;
		return false;
	}
	iov_get(r->chain.iov, r->chain.n_out, 16, r->range, r->n_ranges * sizeof *r->range);
	for (u32 i = 0; i < r->n_ranges; i++) {
		u32 known = r->type == BLK_T_WRITE_ZEROES ? BLK_ZERO_UNMAP : 0;

		if ((r->range[i].flags & ~known) || r->range[i].count > RANGE_SECTORS_MAX) {
			r->status = BLK_S_UNSUPP;
			return false;
		}
	}
	return true;
}

/* True where there is work to do; else status is set.  Negative: the request is not one (section 5.2.6). */
static int parse(struct request *r)
{
	struct { u32 type, reserved; u64 sector; } head;
	struct vq_chain *c = &r->chain;
	const struct iovec *in = c->iov + c->n_out;
	struct blk *b = r->blk;

	if (c->out < sizeof head || !c->in)
		return vq_break(&b->worker->queue[r->queue], "request without header or status");
	iov_get(c->iov, c->n_out, 0, &head, sizeof head);
	r->type = head.type;
	r->n_data = 0;
	r->flush_after = false;
	switch (head.type) {
	case BLK_T_IN:
		r->n_data = iov_slice(in, c->n_in, 0, c->in - 1, r->data);
		return parse_data(r, head.sector, c->in - 1);
	case BLK_T_OUT:
		r->n_data = iov_slice(c->iov, c->n_out, sizeof head, c->out - sizeof head, r->data);
		r->flush_after = !b->worker->config[offsetof(struct blk_config, writeback)];
		return parse_data(r, head.sector, c->out - sizeof head);
	case BLK_T_FLUSH:
		return true;
	case BLK_T_GET_ID:
		iov_put(in, c->n_in, 0, b->serial, (size_t)MIN(c->in - 1, (u64)BLK_ID_SIZE));
		r->status = BLK_S_OK;
		return false;
	case BLK_T_DISCARD:
	case BLK_T_WRITE_ZEROES:
		r->flush_after = !b->worker->config[offsetof(struct blk_config, writeback)];
		return parse_ranges(r, c->out - sizeof head);
	default:
		r->status = BLK_S_UNSUPP;
		return false;
	}
}

/* Here and now: the host's page cache takes a write, and waiting for one read is no worse than handing it on. */
static bool is_quick(const struct blk *b, const struct request *r, bool alone)
{
	if (r->type == BLK_T_OUT)
		return !r->flush_after && !disk_is_bulk(b->disk, r->at, r->size);
	return r->type == BLK_T_IN && alone && b->busy == 1;
}

static void serve_one(struct blk *b, struct request *r, bool alone)
{
	int rc = parse(r);

	if (rc < 0) {
		r->job.next = (struct job *)b->free;
		b->free = r;
		b->busy--;
		return;
	}
	if (rc && !is_quick(b, r, alone)) {
		pool_submit(&b->pool, &r->job);
		return;
	}
	if (rc)
		run(&r->job);
	finish(r);
}

static void blk_serve(struct worker *w, u32 q)
{
	struct blk *b = w->state;
	struct virtqueue *vq = &w->queue[q];

	do {
		while (b->free) {
			struct request *r = b->free;

			r->queue = q;
			r->chain.iov = r->iov;
			if (vq_pop(vq, &r->chain, PARTS) <= 0)
				break;
			b->free = (struct request *)r->job.next;
			b->busy++;
			serve_one(b, r, !vq_waiting(vq));
		}
	} while (b->free && vq_listen(vq));
	worker_interrupt(w, q);
}

/* ---- what the worker calls ---- */

static int blk_begin(struct worker *w, struct err *e)
{
	struct blk *b = w->state;

	b->worker = w;
	b->requests = calloc(REQUESTS, sizeof *b->requests);
	if (!b->requests)
		return err_set(e, -ENOMEM, "no memory");
	for (u32 i = 0; i < REQUESTS; i++) {
		b->requests[i].blk = b;
		b->requests[i].job.run = run;
		b->requests[i].job.next = (struct job *)b->free;
		b->free = &b->requests[i];
	}
	return 0;
}

static int blk_born(struct worker *w, struct err *e)
{
	struct blk *b = w->state;

	int rc = w->life && b->disk->format->recover ? b->disk->format->recover(b->disk, e) : 0;

	return rc ? rc : pool_begin(&b->pool, e);
}

static int blk_fill(struct worker *w, struct pollfd *p, int room, int *timeout_ms)
{
	struct blk *b = w->state;

	(void)timeout_ms;
	if (!room)
		return 0;
	*p = (struct pollfd){ b->pool.event, POLLIN, 0 };
	return 1;
}

static void blk_polled(struct worker *w, const struct pollfd *p, int n)
{
	struct blk *b = w->state;
	u64 queues = 0;
	struct job *job;

	if (!n || !p->revents)
		return;
	for (job = pool_collect(&b->pool); job;) {
		struct request *r = (struct request *)job;

		job = job->next;
		queues |= 1ull << r->queue;
		finish(r);
	}
	for (u32 q = 0; q < w->n_queues; q++)
		if (queues >> q & 1)
			worker_interrupt(w, q);
	if (w->leaving) {
		if (!b->busy)
			worker_reset_done(w);
		return;
	}
	/* Rings that waited for a free request. */
	for (u32 q = 0; q < w->n_queues; q++)
		if (w->queue[q].running)
			blk_serve(w, q);
}

static bool blk_reset(struct worker *w)
{
	struct blk *b = w->state;

	return !b->busy;
}

static void blk_end(struct worker *w)
{
	struct blk *b = w->state;

	if (!b->busy)
		disk_close(b->disk);
}

#define ALLOW(call) { SYS_##call, 1, { } }
static const struct syscall_rule blk_calls[] = {
	ALLOW(pread64), ALLOW(pwrite64), ALLOW(preadv), ALLOW(pwritev), ALLOW(fdatasync), ALLOW(fallocate),
	ALLOW(ftruncate), ALLOW(ioctl), ALLOW(lseek),
};

const struct virtio_class virtio_blk = {
	.name = "blk",
	.id = 2,
	.pci_class = 0x010000,
	.create = blk_create,
	.destroy = blk_destroy,
	.worker = {
		.unordered = true, .vital = true, .calls = blk_calls, .n_calls = ARRAY_SIZE(blk_calls),
		.begin = blk_begin, .born = blk_born, .serve = blk_serve, .reset = blk_reset, .fill = blk_fill, .polled = blk_polled,
		.end = blk_end,
	},
};
