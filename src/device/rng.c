/* SPDX-License-Identifier: MIT
 * virtio-rng (virtio 1.2 section 5.4): random bytes from getrandom(2).  One queue, no configuration, no state
 * beyond the queue's. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>

#include "device/devices.h"

#define RNG_PARTS 64
#define RNG_BYTES_MAX 65536u /* of one request: work is bounded; the driver asks again for more */

static int rng_create(struct virtio_device *d, const char *options, struct err *e)
{
	if (options && *options)
		return err_set(e, -EINVAL, "rng: \"%s\": it has no options", options);
	d->n_queues = 1;
	d->queue_size = 64;
	return 0;
}

static u64 fill(struct worker *w, const struct vq_chain *c)
{
	u64 left = RNG_BYTES_MAX, done = 0;

	for (u32 i = c->n_out; i < c->n_out + c->n_in && left; i++) {
		u8 *at = c->iov[i].iov_base;
		size_t n = MIN((u64)c->iov[i].iov_len, left);

		for (size_t got = 0; got < n;) {
			ssize_t r = getrandom(at + got, n - got, 0);

			if (r < 0 && errno != EINTR)
				worker_fail(w, "rng: getrandom: %s", strerror(errno));
			got += r > 0 ? (size_t)r : 0;
		}
		left -= n;
		done += n;
	}
	return done;
}

static void rng_serve(struct worker *w, u32 q)
{
	struct virtqueue *vq = &w->queue[q];
	struct iovec iov[RNG_PARTS];
	struct vq_chain c = { .iov = iov };

	do {
		while (vq_pop(vq, &c, RNG_PARTS) > 0)
			vq_push(vq, &c, fill(w, &c));
	} while (vq_listen(vq));
	worker_interrupt(w, q);
}

static const struct syscall_rule rng_calls[] = { { SYS_getrandom, 1, { } } };

const struct virtio_class virtio_rng = {
	.name = "rng",
	.id = 4,
	.pci_class = 0x00ff00,
	.create = rng_create,
	.worker = { .calls = rng_calls, .n_calls = ARRAY_SIZE(rng_calls), .serve = rng_serve },
};
