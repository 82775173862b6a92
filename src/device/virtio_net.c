/* SPDX-License-Identifier: MIT
 * virtio-net (virtio 1.2 section 5.1): a network card between virtqueues and a backend (net_backend.h).
 *
 *     queue 2p      receive of pair p: the backend's frames, over several buffers where the driver can merge them
 *     queue 2p + 1  transmit of pair p
 *     queue 2N      commands; N is the number of pairs, 1 for a driver without VIRTIO_NET_F_MQ.  Linux waits for
 *                   the answer in a loop that never ends, so there are no commands that can be done without:
 *                   the card filters nothing, whatever the driver would tell it to filter
 *
 * Frames are shown to the driver in batches: vq_fill() for each, vq_publish() at the backend's flush().
 * Owner: the worker; single thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/devices.h"
#include "device/net_backend.h"

#define PARTS 64             /* of one buffer or frame of the driver's; Linux uses at most 19 */
#define MERGE_MAX 64         /* buffers that one frame may take: 64 KiB in 1 KiB pieces */
#define BATCH 64             /* frames that wait to be shown */

struct net_device_config {
	u8 mac[6];
	u16 status, max_pairs, mtu;
} __attribute__((packed));

struct net_card {
	struct net_backend *backend;
	struct net_config config;
	struct worker_class class;
	struct worker *worker;
	unsigned pairs;                  /* that the driver uses now */
	u64 offloads;                    /* VIRTIO_NET_F_GUEST_* in force */
	u16 pending[NET_PAIRS_MAX];      /* buffers filled and not yet shown */
};

static bool has(const struct net_card *card, int feature) { return card->worker->features >> feature & 1; }

/* ---- receive ---- */

static void sink_flush(void *opaque, unsigned pair)
{
	struct net_card *card = opaque;

	if (!card->pending[pair])
		return;
	vq_publish(&card->worker->queue[2 * pair], card->pending[pair]);
	card->pending[pair] = 0;
	worker_interrupt(card->worker, 2 * pair);
}

/* Buffers for `size` bytes, taken from the queue.  0 where there are not enough, and then none is taken; *seen tells how
 * many there were. */
static u32 take_buffers(struct virtqueue *vq, u64 size, u32 max, struct vq_chain *c, struct iovec (*iov)[PARTS], u32 *seen)
{
	u64 room = 0;
	u32 n = 0;

	while (room < size && n < max) {
		c[n].iov = iov[n];
		if (vq_pop(vq, &c[n], PARTS) <= 0)
			break;
		room += c[n++].in;
	}
	if (room >= size)
		return n;
	*seen = n;
	while (n && !vq->broken) {
		vq_unpop(vq);
		n--;
	}
	return 0;
}

/* Copies header and frame into the buffers, each filled to its end but the last. */
static void put_frame(struct net_card *card, unsigned pair, struct vq_chain *c, u32 n, struct virtio_net_hdr_v1 *head,
		      const u8 *frame, size_t size)
{
	struct virtqueue *vq = &card->worker->queue[2 * pair];
	size_t head_left = sizeof *head, at = 0;

	head->num_buffers = (u16)n;
	for (u32 i = 0; i < n; i++) {
		const struct iovec *in = c[i].iov + c[i].n_out;
		size_t part = 0, done;

		if (head_left) {
			done = iov_put(in, c[i].n_in, 0, (u8 *)head + sizeof *head - head_left, head_left);
			head_left -= done;
			part = done;
		}
		done = iov_put(in, c[i].n_in, part, frame + at, size - at);
		at += done;
		vq_fill(vq, &c[i], part + done, card->pending[pair]++);
	}
}

static bool sink_frame(void *opaque, unsigned pair, const struct virtio_net_hdr_v1 *from, const void *frame, size_t size)
{
	struct net_card *card = opaque;
	struct virtqueue *vq = &card->worker->queue[2 * pair];
	struct virtio_net_hdr_v1 head = *from;
	struct vq_chain c[MERGE_MAX];
	struct iovec iov[MERGE_MAX][PARTS];
	u32 max = has(card, VIRTIO_NET_F_MRG_RXBUF) ? MIN((u32)vq->size, (u32)MERGE_MAX) : 1, n, seen = 0;

	if (!card->worker->running || card->worker->leaving || !vq->running || vq->broken || pair >= card->pairs)
		return true; /* nobody is there: lost, as on a wire */
	if (!(card->offloads >> VIRTIO_NET_F_GUEST_CSUM & 1))
		head.flags = 0;
	while (!(n = take_buffers(vq, NET_HEAD + size, max, c, iov, &seen))) {
		if (vq->broken || seen == max)
			return true; /* more than the driver can ever have room for: lost */
		sink_flush(card, pair);
		if (!vq_listen_beyond(vq, seen))
			return false;
	}
	put_frame(card, pair, c, n, &head, frame, size);
	if (card->pending[pair] >= BATCH)
		sink_flush(card, pair);
	return true;
}

/* ---- transmit ---- */

static void serve_transmit(struct net_card *card, u32 q)
{
	struct worker *w = card->worker;
	struct virtqueue *vq = &w->queue[q];
	struct iovec iov[PARTS];
	struct vq_chain c = { .iov = iov };
	u16 done = 0;

	do {
		while (vq_pop(vq, &c, PARTS) > 0) {
			if (c.out <= NET_HEAD) {
				vq_break(vq, "frame shorter than its header");
				return;
			}
			if (c.out <= NET_HEAD + NET_FRAME_MAX)
				card->backend->ops->send(card->backend, q / 2, iov, (int)c.n_out);
			vq_fill(vq, &c, 0, done++);
			if (done < BATCH)
				continue;
			vq_publish(vq, done);
			worker_interrupt(w, q);
			done = 0;
		}
		vq_publish(vq, done);
		done = 0;
	} while (vq_listen(vq));
	worker_interrupt(w, q);
	/* What the backend has answered at once. */
	sink_flush(card, q / 2);
}

/* ---- commands (section 5.1.6.5) ---- */

static void apply_features(struct net_card *card)
{
	if (card->backend->ops->features)
		card->backend->ops->features(card->backend, card->offloads, card->pairs);
}

/* For a successor: the driver does not say these again. */
struct net_legacy { u64 pairs, offloads; };
static void leave(struct net_card *card)
{
	struct net_legacy l = { card->pairs, card->offloads };

	memcpy(card->worker->record->state, &l, sizeof l);
}

#define GUEST_OFFLOADS (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))

static bool command(struct net_card *card, u8 class, u8 code, const u8 *data, size_t size)
{
	u64 offloads;
	u16 pairs;

	if (class == VIRTIO_NET_CTRL_MQ && code == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && size >= 2 && has(card, VIRTIO_NET_F_MQ)) {
		memcpy(&pairs, data, 2);
		if (!pairs || pairs > card->backend->pairs)
			return false;
		card->pairs = pairs;
		apply_features(card);
		leave(card);
		return true;
	}
	if (class == VIRTIO_NET_CTRL_GUEST_OFFLOADS && code == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && size >= 8 &&
	    has(card, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) {
		memcpy(&offloads, data, 8);
		if (offloads & ~(card->worker->features & GUEST_OFFLOADS))
			return false;
		card->offloads = offloads;
		apply_features(card);
		leave(card);
		return true;
	}
	return false;
}

static void serve_commands(struct net_card *card, u32 q)
{
	struct virtqueue *vq = &card->worker->queue[q];
	struct iovec iov[PARTS];
	struct vq_chain c = { .iov = iov };
	u8 bytes[64], ack;

	do {
		while (vq_pop(vq, &c, PARTS) > 0) {
			size_t n = iov_get(iov, c.n_out, 0, bytes, sizeof bytes);

			if (n < 2 || !c.in) {
				vq_break(vq, "command without class or room for the answer");
				return;
			}
			ack = command(card, bytes[0], bytes[1], bytes + 2, n - 2) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
			iov_put(iov + c.n_out, c.n_in, 0, &ack, 1);
			vq_push(vq, &c, 1);
		}
	} while (vq_listen(vq));
	worker_interrupt(card->worker, q);
}

/* ---- worker ---- */

static int net_begin(struct worker *w, struct err *e)
{
	struct net_card *card = w->state;
	struct net_sink sink = { sink_frame, sink_flush, card };

	card->worker = w;
	return card->backend->ops->begin(card->backend, &sink, e);
}

static void net_start(struct worker *w)
{
	struct net_card *card = w->state;

	card->pairs = 1;
	card->offloads = w->features & GUEST_OFFLOADS;
	memset(card->pending, 0, sizeof card->pending);
	apply_features(card);
	if (!w->again)
		leave(card);
}

/* The user-mode network begins anew: connections of the guest's are answered with resets, forwards go on. */
static int net_again(struct worker *w)
{
	struct net_card *card = w->state;
	struct net_legacy l;

	memcpy(&l, w->record->state, sizeof l);
	if (!l.pairs || l.pairs > card->backend->pairs)
		return 0; /* none was left: the driver had not begun */
	card->pairs = (unsigned)l.pairs;
	card->offloads = l.offloads & w->features & GUEST_OFFLOADS;
	apply_features(card);
	return 0;
}

static bool net_reset(struct worker *w)
{
	struct net_card *card = w->state;

	card->pairs = 0;
	card->offloads = 0;
	memset(card->pending, 0, sizeof card->pending);
	apply_features(card);
	return true;
}

static void net_serve(struct worker *w, u32 q)
{
	struct net_card *card = w->state;
	u32 commands = has(card, VIRTIO_NET_F_MQ) ? 2 * card->backend->pairs : 2;

	if (q == commands) {
		serve_commands(card, q);
	} else if (q < commands && q & 1) {
		serve_transmit(card, q);
	} else if (q < commands) {
		card->backend->ops->resume(card->backend, q / 2);
	}
}

static int net_fill(struct worker *w, struct pollfd *p, int room, int *timeout_ms)
{
	struct net_card *card = w->state;

	return card->backend->ops->fill(card->backend, p, room, timeout_ms);
}

static void net_polled(struct worker *w, const struct pollfd *p, int n)
{
	struct net_card *card = w->state;

	card->backend->ops->polled(card->backend, p, n);
}

/* Pairs in use and offloads in force; the rest is the driver's and in its features. */
static size_t net_save(struct worker *w, void *bytes, size_t room)
{
	struct net_card *card = w->state;
	u64 state[2] = { card->pairs, card->offloads };

	if (room < sizeof state)
		return 0;
	memcpy(bytes, state, sizeof state);
	return sizeof state;
}

/* ---- front-end ---- */

static void describe(struct virtio_device *d, struct net_card *card)
{
	struct net_device_config c = { .status = VIRTIO_NET_S_LINK_UP, .max_pairs = (u16)card->backend->pairs, .mtu = card->backend->mtu };

	memcpy(c.mac, card->config.mac, 6);
	memcpy(d->state.config, &c, sizeof c);
	d->config_size = sizeof c;
	d->queue_size = 256;
	d->features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF) | card->backend->ops->offers;
	if (card->backend->ops->features)
		d->features |= BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (card->backend->pairs > 1)
		d->features |= BIT(VIRTIO_NET_F_MQ);
	d->n_queues = 2 * card->backend->pairs + (d->features >> VIRTIO_NET_F_CTRL_VQ & 1);
	if (c.mtu)
		d->features |= BIT(VIRTIO_NET_F_MTU);
}

static void net_destroy(struct virtio_device *d)
{
	struct net_card *card = d->data;

	if (!card)
		return;
	if (card->backend)
		card->backend->ops->close(card->backend);
	net_config_free(&card->config);
	free(card);
	d->data = NULL;
}

static const struct worker_class net_class = {
	.begin = net_begin, .start = net_start, .again = net_again, .serve = net_serve, .reset = net_reset, .fill = net_fill,
	.polled = net_polled, .save = net_save,
};

static int net_create(struct virtio_device *d, const char *options, struct err *e)
{
	struct net_card *card = calloc(1, sizeof *card);
	static unsigned index;
	int rc;

	if (!card)
		return err_set(e, -ENOMEM, "no memory");
	d->data = card;
	rc = net_config_parse(&card->config, options ? options : "user", e);
	if (rc)
		return rc;
	if (!card->config.has_mac)
		net_default_mac(options ? options : "", index++, card->config.mac);
	card->backend = net_backend_new(&card->config);
	if (!card->backend)
		return err_set(e, -ENOMEM, "no memory");
	rc = card->backend->ops->open(card->backend, &card->config, d->fds, &d->n_fds, e);
	if (rc)
		return rc;
	card->class = net_class;
	card->class.rights = card->backend->ops->rights;
	card->class.calls = card->backend->ops->calls;
	card->class.n_calls = card->backend->ops->n_calls;
	d->worker_class = &card->class;
	describe(d, card);
	return 0;
}

const struct virtio_class virtio_net = {
	.name = "net",
	.id = 1,
	.pci_class = 0x020000,
	.create = net_create,
	.destroy = net_destroy,
	.worker = net_class,
};
