/* SPDX-License-Identifier: MIT
 * A tap interface of the host (Documentation/networking/tuntap.rst of Linux).  Its header in front of each frame is the
 * card's, so that segmentation and checksums stay undone between the guest and whoever is at the other end.
 *
 * A frame is read into a buffer and copied into the guest's from there: how large it is, is not known before.
 *
 * Owner: the worker; single thread. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "device/net_backend.h"

#define BATCH 64 /* frames read from one queue before the others get their turn */

struct net_tap {
	struct net_backend base;
	struct net_sink sink;
	int fd[NET_PAIRS_MAX];
	unsigned active, gone;              /* pairs that the driver uses; bits: not there any more */
	struct {
		size_t size;                /* of a frame that the guest had no room for; 0: none */
		u8 bytes[NET_HEAD + NET_FRAME_MAX];
	} held[NET_PAIRS_MAX];
	u8 buffer[NET_HEAD + NET_FRAME_MAX];
};

static int set_up(int fd, const char *name, bool many, struct err *e)
{
	int head = NET_HEAD;
	struct ifreq r = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (many ? IFF_MULTI_QUEUE : 0)) };

	if (name) {
		snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
		if (ioctl(fd, TUNSETIFF, &r))
			return err_sys(e, errno, "--net: tap interface %s", name);
	} else if (ioctl(fd, TUNGETIFF, &r) || !(r.ifr_flags & IFF_TAP) || !(r.ifr_flags & IFF_VNET_HDR)) {
		return err_set(e, -EINVAL, "--net: fd=%d: not a tap interface with IFF_VNET_HDR", fd);
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &head) || ioctl(fd, TUNSETOFFLOAD, 0) || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK))
		return err_sys(e, errno, "--net: tap interface %s", r.ifr_name);
	return 0;
}

static int open_tap(struct net_backend *b, const struct net_config *c, int fds[NET_FDS_MAX], int *n_fds, struct err *e)
{
	struct net_tap *t = (struct net_tap *)b;
	int rc;

	if (c->interface && strlen(c->interface) >= IFNAMSIZ)
		return err_set(e, -EINVAL, "--net: name=%s: too long for an interface", c->interface);
	t->base.mtu = (u16)c->mtu;
	t->base.pairs = (unsigned)c->queues;
	for (unsigned i = 0; i < c->queues; i++) {
		t->fd[i] = c->interface ? open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC) : fcntl((int)c->fd, F_DUPFD_CLOEXEC, 3);
		if (t->fd[i] < 0)
			return err_sys(e, errno, c->interface ? "--net: /dev/net/tun" : "--net: fd=%d", (int)c->fd);
		fds[(*n_fds)++] = t->fd[i];
		rc = set_up(t->fd[i], c->interface, c->queues > 1, e);
		if (rc)
			return rc;
	}
	return 0;
}

/* The descriptors are the device's since open_tap() listed them, and were closed once the worker had them: by now their
 * numbers are somebody else's. */
static void close_tap(struct net_backend *b) { free(b); }

static int begin(struct net_backend *b, const struct net_sink *sink, struct err *e)
{
	struct net_tap *t = (struct net_tap *)b;

	(void)e;
	t->sink = *sink;
	return 0;
}

/* What the guest takes is what the tap may leave undone. */
static void features(struct net_backend *b, u64 f, unsigned pairs)
{
	static const struct { int feature; unsigned tun; } map[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	struct net_tap *t = (struct net_tap *)b;
	unsigned offload = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (f >> map[i].feature & 1)
			offload |= map[i].tun;
	for (unsigned i = 0; i < t->base.pairs; i++) {
		struct ifreq r = { .ifr_flags = i < pairs || !i ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

		/* The host spreads frames over attached queues only.  All this fails where the interface is gone: then
		 * nothing comes any more. */
		if (t->base.pairs > 1)
			ioctl(t->fd[i], TUNSETQUEUE, &r);
		ioctl(t->fd[i], TUNSETOFFLOAD, offload);
		t->held[i].size = 0;
	}
	t->active = pairs;
}

static void send_frame(struct net_backend *b, unsigned pair, const struct iovec *iov, int n)
{
	struct net_tap *t = (struct net_tap *)b;

	/* A full queue or an interface that is down lose the frame, as a wire does. */
	while (writev(t->fd[pair], iov, n) < 0 && errno == EINTR)
		;
}

static bool give(struct net_tap *t, unsigned pair, const u8 *bytes, size_t size)
{
	struct virtio_net_hdr_v1 head;

	memcpy(&head, bytes, sizeof head);
	head.num_buffers = 1;
	return t->sink.frame(t->sink.opaque, pair, &head, bytes + NET_HEAD, size - NET_HEAD);
}

static void take(struct net_tap *t, unsigned pair)
{
	for (int i = 0; i < BATCH && !t->held[pair].size; i++) {
		ssize_t n = read(t->fd[pair], t->buffer, sizeof t->buffer);

		if (n <= (ssize_t)NET_HEAD)
			break;
		if (give(t, pair, t->buffer, (size_t)n))
			continue;
		memcpy(t->held[pair].bytes, t->buffer, (size_t)n);
		t->held[pair].size = (size_t)n;
	}
	t->sink.flush(t->sink.opaque, pair);
}

static void resume(struct net_backend *b, unsigned pair)
{
	struct net_tap *t = (struct net_tap *)b;

	if (!t->held[pair].size || !give(t, pair, t->held[pair].bytes, t->held[pair].size))
		return;
	t->held[pair].size = 0;
	take(t, pair);
}

static int fill(struct net_backend *b, struct pollfd *p, int room, int *timeout_ms)
{
	struct net_tap *t = (struct net_tap *)b;
	int n = 0;

	(void)timeout_ms;
	for (unsigned i = 0; i < t->base.pairs && n < room; i++) {
		/* One entry a pair, so that polled() knows which is which. */
		bool wanted = i < t->active && !t->held[i].size && !(t->gone >> i & 1);

		p[n++] = (struct pollfd){ .fd = wanted ? t->fd[i] : -1, .events = POLLIN };
	}
	return n;
}

static void polled(struct net_backend *b, const struct pollfd *p, int n)
{
	struct net_tap *t = (struct net_tap *)b;

	for (int i = 0; i < n; i++) {
		if (p[i].fd < 0)
			continue;
		if (p[i].revents & POLLIN)
			take(t, (unsigned)i);
		else if (p[i].revents)
			t->gone |= 1u << i; /* the interface was removed */
	}
}

static const struct syscall_rule calls[] = {
	{ SYS_ioctl, 1, { ARG_INT(1, TUNSETOFFLOAD) } },
	{ SYS_ioctl, 1, { ARG_INT(1, TUNSETQUEUE) } },
};

const struct net_backend_ops net_tap_ops = {
	.open = open_tap, .close = close_tap, .begin = begin, .features = features, .send = send_frame,
	.resume = resume, .fill = fill, .polled = polled, .calls = calls, .n_calls = ARRAY_SIZE(calls),
	.offers = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
		BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) |
		BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN),
};

struct net_backend *net_tap_new(void)
{
	struct net_tap *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->base = (struct net_backend){ .ops = &net_tap_ops, .pairs = 1 };
	return &t->base;
}
