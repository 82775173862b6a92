/* SPDX-License-Identifier: MIT
 * Where a network card's frames go: the user-mode network (net_user.c) or a tap interface (net_tap.c).
 *
 * Owner: the card's worker process, single thread; open() and close() run in the front-end.  Frames are whole
 * Ethernet frames without checksum, each with a struct virtio_net_hdr_v1 (virtio 1.2, 5.1.6) of NET_HEAD bytes, so that a tap
 * and the guest can leave segmentation and checksums to each other. */
#ifndef PENUMBRA_DEVICE_NET_BACKEND_H
#define PENUMBRA_DEVICE_NET_BACKEND_H

#include <linux/virtio_net.h>
#include <poll.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/keys.h"
#include "base/syscall_filter.h"
#include "base/types.h"

#define NET_HEAD sizeof(struct virtio_net_hdr_v1)
#define NET_FRAME_MAX 65550u /* without NET_HEAD: Ethernet header, tag, 64 KiB - 1 */
#define NET_MTU_MAX 65520u
#define NET_PAIRS_MAX 8
#define NET_FDS_MAX NET_PAIRS_MAX

/* What the command line says of a card. */
struct net_config {
	int kind;                  /* index into NET_KINDS */
	u8 mac[6];
	bool has_mac;
	u64 mtu;                   /* 0: the backend's choice */
	char *store;               /* what the texts point to */
	/* user */
	struct key_list forward;
	bool restricted, loopback;
	const char *hostname;
	/* tap */
	const char *interface;
	u64 fd, queues;            /* fd: NO_FD or an open /dev/net/tun */
};
#define NET_NO_FD UINT64_MAX

/* Name as --net takes it. */
#define NET_KINDS(K) K(user) K(tap)

/* "user,forward=2222:22,mac=52:54:00:12:34:56": -EINVAL with the reason for wrong usage. */
int net_config_parse(struct net_config *c, const char *text, struct err *e);
void net_config_free(struct net_config *c);
/* An address of its own for card `index` of the machine called `name`: the same at each start. */
void net_default_mac(const char *name, unsigned index, u8 mac[6]);

/* "[tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT"; ADDRESS is IPv4, or IPv6 in brackets, without it 127.0.0.1. */
struct net_forward {
	bool udp, v6;
	u8 address[16];
	u16 host_port, guest_port;
};
int net_forward_parse(struct net_forward *f, const char *text, struct err *e);

/* Whether a frame of the guest's may be shown to libslirp (net_filter.c). */
bool net_frame_is_sound(const u8 *frame, size_t size);

/* What the card does with a frame.  False: it has no room now; the backend keeps the frame and stops taking
 * more until resume(). */
struct net_sink {
	bool (*frame)(void *opaque, unsigned pair, const struct virtio_net_hdr_v1 *head, const void *frame, size_t size);
	/* Frames given since the last call may be shown to the driver. */
	void (*flush)(void *opaque, unsigned pair);
	void *opaque;
};

struct net_backend;
struct net_backend_ops {
	/* In the front-end: takes what needs names and rights.  `fds` get the descriptors that the worker is to keep;
	 * a listed one is the device's, which closes it also where open() fails afterwards: close() must not. */
	int (*open)(struct net_backend *b, const struct net_config *c, int fds[NET_FDS_MAX], int *n_fds, struct err *e);
	void (*close)(struct net_backend *b);
	/* In the worker, before it is confined. */
	int (*begin)(struct net_backend *b, const struct net_sink *sink, struct err *e);
	/* The driver has taken these features (VIRTIO_NET_F_*). */
	void (*features)(struct net_backend *b, u64 features, unsigned pairs);
	/* A frame of the guest's: NET_HEAD bytes, then the frame.  What cannot be sent is dropped, as on a wire. */
	void (*send)(struct net_backend *b, unsigned pair, const struct iovec *iov, int n);
	/* The guest has room again. */
	void (*resume)(struct net_backend *b, unsigned pair);
	/* Descriptors to poll, at most `room`; lowers *timeout_ms (-1: none).  Then what came of it. */
	int (*fill)(struct net_backend *b, struct pollfd *p, int room, int *timeout_ms);
	void (*polled)(struct net_backend *b, const struct pollfd *p, int n);
	/* What the worker may do beyond what every worker may (worker.h). */
	u32 rights;
	const struct syscall_rule *calls;
	size_t n_calls;
	/* Features of the card that depend on the backend. */
	u64 offers;
};

/* Each backend's own structure begins with this. */
struct net_backend {
	const struct net_backend_ops *ops;
	u16 mtu;                   /* 0: the guest's choice */
	unsigned pairs;            /* queue pairs that it can serve */
};

extern const struct net_backend_ops net_user_ops, net_tap_ops;

/* A backend of the kind that `c` names; NULL without memory. */
struct net_backend *net_backend_new(const struct net_config *c);
struct net_backend *net_user_new(void);
struct net_backend *net_tap_new(void);

#endif
