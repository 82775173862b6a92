/* SPDX-License-Identifier: MIT
 * Connections between vsock ports of the guest and AF_UNIX sockets of the host (virtio 1.2 section 5.10).
 *
 *     guest connects to port P of CID 2       ->  a connection to the socket PATH_P of the host
 *     host connects to the socket PATH        ->  writes "CONNECT P\n"; once the guest has accepted, it reads
 *                                                 "OK HOSTPORT\n", and then it talks to port P of the guest
 *
 * Owner: the worker; single thread.  Nothing here knows of virtqueues. What goes to the guest is fetched with
 * vsock_next() whenever there is room, so that nothing piles up but one flag for each packet due.
 *
 * A connection (the function on each edge):
 *
 *     host:  HELLO --"CONNECT P"--> ASKED --RESPONSE--> OPEN
 *            (hear_hello)          (take_response)
 *     guest: REQUEST, connect() done --> OPEN           (take_request)
 *     OPEN --end of either side--> OPEN with ends noted --both ended, or RST--> gone   (settle)
 *
 * Invariants:
 *  V1  What the guest has sent and the host has not taken is at most VSOCK_BUFFER bytes a connection: a guest
 *      that sends beyond the credit it was given is reset.
 *  V2  No more is read from the host's side than the guest has given credit for.
 *  V3  Connections are bounded by VSOCK_CONNECTIONS, packets due without a connection by VSOCK_STRAYS. */
#ifndef PENUMBRA_DEVICE_VSOCK_H
#define PENUMBRA_DEVICE_VSOCK_H

#include <poll.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/types.h"

#define VSOCK_HOST_CID 2
#define VSOCK_BUFFER (256u << 10)
#define VSOCK_CONNECTIONS 1000
#define VSOCK_STRAYS 64
#define VSOCK_PAYLOAD_MAX (64u << 10)

struct vsock_header {
	u64 src_cid, dst_cid;
	u32 src_port, dst_port, len;
	u16 type, op;
	u32 flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

enum { VSOCK_REQUEST = 1, VSOCK_RESPONSE, VSOCK_RST, VSOCK_SHUTDOWN, VSOCK_RW, VSOCK_CREDIT_UPDATE, VSOCK_CREDIT_REQUEST };
#define VSOCK_STREAM 1
#define VSOCK_NO_RECEIVE 1 /* flags of SHUTDOWN: the sender will not receive, not send any more */
#define VSOCK_NO_SEND 2

struct vsock;

/* `listener` is the host's socket, `name` its path as the worker reaches it. */
struct vsock *vsock_new(u64 guest_cid, int listener, const char *name);
void vsock_free(struct vsock *v);
/* Ends all connections. */
void vsock_reset(struct vsock *v);

/* A packet of the guest's; `body` are its `size` bytes of payload. */
void vsock_take(struct vsock *v, const struct vsock_header *h, const struct iovec *body, u32 n, u64 size);
/* The next packet for the guest: header in *h, payload read straight into `room` (n parts).  False: none due. */
bool vsock_next(struct vsock *v, struct vsock_header *h, const struct iovec *room, u32 n);
/* Whether vsock_next() may have something. */
bool vsock_due(const struct vsock *v);

/* Descriptors to poll and what came of it.  `can_receive`: the guest has room for packets. */
int vsock_fill(struct vsock *v, struct pollfd *p, int room, bool can_receive);
void vsock_polled(struct vsock *v, const struct pollfd *p, int n);

u32 vsock_connections(const struct vsock *v);

#endif
