/* SPDX-License-Identifier: MIT
 * Split virtqueues, from the device's side (virtio 1.2 sections 2.6, 2.7).
 *
 * Owner: the device's process; no lock.  The rings lie in guest RAM and may change at any moment:
 * every word is read once and checked after that.
 *
 * Invariants
 *  Q1  A chain that vq_pop() returns lies in RAM whole, has at most `room` parts, none of them
 *      empty, readable ones first.
 *  Q2  What the driver did wrong leaves the queue `broken`, with the reason in `why`; a broken queue
 *      touches no guest memory until it is set up anew.
 *  Q3  The used index is published after dma_settle().
 *  Q4  A process that ends at any instruction leaves enough behind for vq_resume() to hand out each request that was
 *      taken and not answered once more, and no other: rings answered in order are told by the used index alone;
 *      for others struct vq_record says which heads are taken.
 *
 *  State:  down --vq_start, vq_resume--> running --guest mistake--> broken;   running, broken --vq_stop--> down */
#ifndef PENUMBRA_DEVICE_VIRTQUEUE_H
#define PENUMBRA_DEVICE_VIRTQUEUE_H

#include <sys/uio.h>

#include "device/dma.h"

#define VIRTQ_SIZE_MAX 1024

#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32

/* What the guest tells of a queue, and where the device stands.  Saved with the device. */
#define VIRTQ_SETUP_FIELDS(S, A) \
	S(64, desc) S(64, driver) S(64, device) /* guest physical: table, available, used */ \
	S(16, size) \
	S(16, enabled) \
	S(16, next_avail) /* index of the next available entry to take */ \
	S(16, next_used)  /* index of the next used entry to write */
#define VIRTQ_VALUE(width, name) u##width name;
#define VIRTQ_ARRAY(width, name, count) u##width name[count];
struct virtq_setup { VIRTQ_SETUP_FIELDS(VIRTQ_VALUE, VIRTQ_ARRAY) };

/* What outlives the process that serves the queue, in memory shared with its successor. */
struct vq_record {
	u32 start;            /* number of the vq_start() that it is about */
	u16 next_avail, next_used;
	u64 order;            /* of the request taken last */
	u64 taken[VIRTQ_SIZE_MAX]; /* by head: its order, 0: not taken */
};

struct virtqueue {
	struct dma *dma;
	struct vq_record *record; /* NULL: answered in order */
	const volatile u8 *desc;
	volatile u16 *avail;  /* flags, index, ring[size], used_event */
	volatile u16 *used;   /* flags, index, ring[size] of two u32, avail_event */
	u16 size, next_avail, next_used;
	u16 signalled;        /* used index at the last look at whether to interrupt */
	bool signalled_valid, event_idx, indirect, running, broken;
	u64 again, again_end; /* requests of an order in (again, again_end] are handed out once more */
	const char *why;      /* of broken */
};

/* One request of the driver. */
struct vq_chain {
	u16 head;
	u32 n_out, n_in;      /* parts that the device reads, parts that it writes; in this order in iov */
	u64 out, in;          /* their bytes */
	struct iovec *iov;    /* the caller's */
};

/* Begins to serve a queue that the driver has set up, from the indices in `s`.  -EINVAL with the
 * queue broken where addresses or size are not what section 2.6 allows. */
int vq_start(struct virtqueue *q, struct dma *dma, const struct virtq_setup *s, u64 features);
/* The same with a record that the process keeps of requests that it may answer in another order than it took them;
 * `start` tells this start from earlier ones. */
int vq_start_recorded(struct virtqueue *q, struct dma *dma, const struct virtq_setup *s, u64 features,
		      struct vq_record *record, u32 start);
/* Goes on where a process that died stood, by the used ring and `record` (NULL: answered in order).  Where the record
 * is not of this `start` the queue had not begun yet: vq_start_recorded(). */
int vq_resume(struct virtqueue *q, struct dma *dma, const struct virtq_setup *s, u64 features,
	      struct vq_record *record, u32 start);
void vq_stop(struct virtqueue *q);
/* Where the queue stands, for vq_start(). */
void vq_save(const struct virtqueue *q, struct virtq_setup *s);

/* Takes the next request: 1, 0 where there is none, -EINVAL where the queue is broken.  c->iov has `room`
 * entries; a longer chain is a mistake of the driver's. */
int vq_pop(struct virtqueue *q, struct vq_chain *c, u32 room);
/* Gives the request that was taken last back, unserved; not after vq_push(), and not where a record is kept. */
void vq_unpop(struct virtqueue *q);
/* Requests that wait; 0 where the queue is broken. */
u32 vq_waiting(struct virtqueue *q);

/* The first `written` bytes of the chain's writable parts are the answer.  vq_push() does all at once;
 * vq_fill() n times, then vq_publish(n), makes several visible together (entry i from the published index). */
void vq_push(struct virtqueue *q, const struct vq_chain *c, u64 written);
void vq_fill(struct virtqueue *q, const struct vq_chain *c, u64 written, u16 i);
void vq_publish(struct virtqueue *q, u16 n);

/* Whether the driver wants an interrupt for what was published since the last call (section 2.7.7). */
bool vq_wants_interrupt(struct virtqueue *q);

/* Asks the driver to notify, or not to.  vq_listen() returns true where requests came meanwhile, so that
 * they must be served first. */
bool vq_listen(struct virtqueue *q);
/* The same for a device to which the `have` requests that wait are not enough. */
bool vq_listen_beyond(struct virtqueue *q, u32 have);
void vq_deafen(struct virtqueue *q);

/* Notes a mistake of the driver's in a request; -EINVAL. */
int vq_break(struct virtqueue *q, const char *why);

/* Copies between a chain's parts and a buffer, from byte `at` of them on; returns how many there were. */
size_t iov_get(const struct iovec *iov, u32 n, u64 at, void *buffer, size_t size);
size_t iov_put(const struct iovec *iov, u32 n, u64 at, const void *buffer, size_t size);
/* The parts of [at, at + size) of iov[0..n): fills out[], which has room for n, and returns their number. */
u32 iov_slice(const struct iovec *iov, u32 n, u64 at, u64 size, struct iovec *out);

#endif
