/* SPDX-License-Identifier: MIT */
#include "device/vsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HELLO_MAX 32           /* "CONNECT 4294967295\n" */
#define FIRST_HOST_PORT (1u << 30)
#define PARTS 64

enum state { FREE, HELLO, ASKED, OPEN };

/* Packets that are due to the guest; sent in this order. */
enum { DUE_REQUEST = 1, DUE_RESPONSE = 2, DUE_CREDIT = 4, DUE_SHUTDOWN = 8 };

struct connection {
	enum state state;
	int fd, poll;              /* entry of the last vsock_fill(); -1: none */
	u32 guest_port, host_port;
	u32 due;
	u32 shutdown_flags;        /* of DUE_SHUTDOWN */
	/* The guest's receiving side (V2). */
	u32 peer_alloc, peer_forwarded, sent;
	/* Ours (V1): a ring of what the host has not taken yet. */
	u32 received, forwarded, told;
	u8 *buffer;
	u32 head, used;
	bool readable;             /* the host's side may have bytes */
	bool host_ended, guest_ended, guest_deaf; /* no more bytes from there; takes none */
	char hello[HELLO_MAX];
	u32 hello_used;
};

struct vsock {
	u64 cid;
	int listener;
	const char *name;
	u32 next_port, count, turn, top; /* slots from `top` on were never used */
	struct connection *c;
	struct { u32 guest_port, host_port; } stray[VSOCK_STRAYS];
	u32 strays;
};

struct vsock *vsock_new(u64 guest_cid, int listener, const char *name)
{
	struct vsock *v = calloc(1, sizeof *v);

	if (!v)
		return NULL;
	v->c = calloc(VSOCK_CONNECTIONS, sizeof *v->c);
	if (!v->c) {
		free(v);
		return NULL;
	}
	v->cid = guest_cid;
	v->listener = listener;
	v->name = name;
	v->next_port = FIRST_HOST_PORT;
	return v;
}

u32 vsock_connections(const struct vsock *v) { return v->count; }

static struct connection *add(struct vsock *v, int fd, enum state state)
{
	for (u32 i = 0; i < VSOCK_CONNECTIONS; i++) {
		if (v->c[i].state != FREE)
			continue;
		v->c[i] = (struct connection){ .state = state, .fd = fd, .poll = -1, .readable = true };
		v->count++;
		v->top = MAX(v->top, i + 1);
		return &v->c[i];
	}
	return NULL;
}

static void drop(struct vsock *v, struct connection *c)
{
	close(c->fd);
	free(c->buffer);
	*c = (struct connection){ .state = FREE, .fd = -1, .poll = -1 };
	v->count--;
}

void vsock_reset(struct vsock *v)
{
	for (u32 i = 0; i < v->top; i++)
		if (v->c[i].state != FREE)
			drop(v, &v->c[i]);
	v->strays = v->top = 0;
}

void vsock_free(struct vsock *v)
{
	vsock_reset(v);
	free(v->c);
	free(v);
}

static struct connection *find(struct vsock *v, u32 guest_port, u32 host_port)
{
	for (u32 i = 0; i < v->top; i++) {
		struct connection *c = &v->c[i];

		if (c->state >= ASKED && c->guest_port == guest_port && c->host_port == host_port)
			return c;
	}
	return NULL;
}

/* RST for a packet that belongs to nothing.  Beyond what is bounded the guest waits for its own time limit. */
static void stray(struct vsock *v, u32 guest_port, u32 host_port)
{
	if (v->strays == VSOCK_STRAYS)
		return;
	v->stray[v->strays].guest_port = guest_port;
	v->stray[v->strays++].host_port = host_port;
}

static void abort_connection(struct vsock *v, struct connection *c)
{
	if (c->state >= ASKED)
		stray(v, c->guest_port, c->host_port);
	drop(v, c);
}

/* ---- towards the host ---- */

/* Passes on what the guest has sent, and the guest's end after it. */
static void pass_on(struct vsock *v, struct connection *c)
{
	while (c->used) {
		u32 n = MIN(c->used, VSOCK_BUFFER - c->head);
		ssize_t done = send(c->fd, c->buffer + c->head, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (done < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (done < 0) {
			abort_connection(v, c);
			return;
		}
		c->head = (c->head + (u32)done) % VSOCK_BUFFER;
		c->used -= (u32)done;
		c->forwarded += (u32)done;
	}
	/* Told when a good part is free again, so that a bulk sender never stands still and is seldom told. */
	if (c->forwarded - c->told >= VSOCK_BUFFER / 4)
		c->due |= DUE_CREDIT;
	if (!c->used && c->guest_ended)
		shutdown(c->fd, SHUT_WR);
}

/* Both directions have ended: the guest learns that nothing is left. */
static void settle(struct vsock *v, struct connection *c)
{
	if (c->state == OPEN && !c->used && c->guest_ended && (c->host_ended || c->guest_deaf) && !(c->due & DUE_SHUTDOWN))
		abort_connection(v, c);
}

static bool keep(struct connection *c, const struct iovec *body, u32 n, u64 size)
{
	if (size > VSOCK_BUFFER - c->used)
		return false;
	if (!c->buffer && !(c->buffer = malloc(VSOCK_BUFFER)))
		return false;
	for (u32 i = 0; i < n && size; i++) {
		const u8 *from = body[i].iov_base;
		u64 part = MIN(size, (u64)body[i].iov_len);

		size -= part;
		while (part) {
			u32 at = (c->head + c->used) % VSOCK_BUFFER, piece = (u32)MIN(part, (u64)(VSOCK_BUFFER - at));

			memcpy(c->buffer + at, from, piece);
			from += piece;
			c->used += piece;
			part -= piece;
		}
	}
	return true;
}

/* ---- packets of the guest ---- */

static void take_request(struct vsock *v, const struct vsock_header *h)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct connection *c = NULL;
	int n = snprintf(a.sun_path, sizeof a.sun_path, "%s_%u", v->name, h->dst_port), fd;

	fd = n > 0 && (size_t)n < sizeof a.sun_path ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
	if (fd >= 0 && !connect(fd, (void *)&a, sizeof a))
		c = add(v, fd, OPEN);
	if (!c) {
		if (fd >= 0)
			close(fd);
		stray(v, h->src_port, h->dst_port);
		return;
	}
	c->guest_port = h->src_port;
	c->host_port = h->dst_port;
	c->peer_alloc = h->buf_alloc;
	c->peer_forwarded = h->fwd_cnt;
	c->due = DUE_RESPONSE;
}

static void take_response(struct vsock *v, struct connection *c)
{
	char text[32];
	int n = snprintf(text, sizeof text, "OK %u\n", c->host_port);

	if (c->state != ASKED || send(c->fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n) {
		abort_connection(v, c);
		return;
	}
	c->state = OPEN;
	c->readable = true;
}

static void take_data(struct vsock *v, struct connection *c, const struct iovec *body, u32 n, u64 size)
{
	if (c->state != OPEN || c->guest_ended || !keep(c, body, n, size)) {
		abort_connection(v, c);
		return;
	}
	c->received += (u32)size;
	pass_on(v, c);
}

static void take_shutdown(struct vsock *v, struct connection *c, u32 flags)
{
	if (flags & VSOCK_NO_SEND)
		c->guest_ended = true;
	if (flags & VSOCK_NO_RECEIVE) {
		c->guest_deaf = true;
		shutdown(c->fd, SHUT_RD);
	}
	pass_on(v, c);
	if (c->state == OPEN)
		settle(v, c);
}

void vsock_take(struct vsock *v, const struct vsock_header *h, const struct iovec *body, u32 n, u64 size)
{
	struct connection *c = find(v, h->src_port, h->dst_port);

	if (h->src_cid != v->cid || h->dst_cid != VSOCK_HOST_CID)
		return;
	if (h->type != VSOCK_STREAM || size < h->len) {
		stray(v, h->src_port, h->dst_port);
		return;
	}
	if (c) {
		c->peer_alloc = h->buf_alloc;
		c->peer_forwarded = h->fwd_cnt;
	} else if (h->op != VSOCK_REQUEST) {
		if (h->op != VSOCK_RST)
			stray(v, h->src_port, h->dst_port);
		return;
	}
	switch (h->op) {
	case VSOCK_REQUEST:
		if (c)
			abort_connection(v, c);
		else
			take_request(v, h);
		return;
	case VSOCK_RESPONSE:
		take_response(v, c);
		return;
	case VSOCK_RST:
		drop(v, c);
		return;
	case VSOCK_SHUTDOWN:
		take_shutdown(v, c, h->flags);
		return;
	case VSOCK_RW:
		take_data(v, c, body, n, h->len);
		return;
	case VSOCK_CREDIT_REQUEST:
		c->due |= DUE_CREDIT;
		return;
	case VSOCK_CREDIT_UPDATE:
		return;
	default:
		abort_connection(v, c);
	}
}

/* ---- packets for the guest ---- */

static u32 credit(const struct connection *c)
{
	u32 on_the_way = c->sent - c->peer_forwarded;

	return on_the_way < c->peer_alloc ? c->peer_alloc - on_the_way : 0;
}

static bool can_read(const struct connection *c)
{
	return c->state == OPEN && c->readable && !c->host_ended && !c->guest_deaf && credit(c);
}

static void fill_header(struct vsock *v, struct connection *c, struct vsock_header *h, u16 op)
{
	*h = (struct vsock_header){
		.src_cid = VSOCK_HOST_CID, .dst_cid = v->cid, .src_port = c->host_port, .dst_port = c->guest_port,
		.type = VSOCK_STREAM, .op = op, .buf_alloc = VSOCK_BUFFER, .fwd_cnt = c->forwarded,
	};
	c->told = c->forwarded;
	c->due &= ~(u32)DUE_CREDIT;
}

/* Bytes of the host's, as many as there are credit and room for. */
static bool read_host(struct vsock *v, struct connection *c, struct vsock_header *h, const struct iovec *room, u32 n)
{
	struct iovec part[PARTS];
	u32 left = MIN(credit(c), VSOCK_PAYLOAD_MAX), parts = 0;
	ssize_t got;

	for (u32 i = 0; i < n && parts < PARTS && left; i++) {
		part[parts] = (struct iovec){ room[i].iov_base, MIN(room[i].iov_len, (size_t)left) };
		left -= (u32)part[parts++].iov_len;
	}
	got = parts ? readv(c->fd, part, (int)parts) : -1;
	if (got < 0 && parts && (errno == EAGAIN || errno == EINTR)) {
		c->readable = false;
		return false;
	}
	if (got <= 0) {
		c->host_ended = true;
		c->due |= DUE_SHUTDOWN;
		c->shutdown_flags |= VSOCK_NO_SEND;
		return false;
	}
	fill_header(v, c, h, VSOCK_RW);
	h->len = (u32)got;
	c->sent += (u32)got;
	return true;
}

static bool next_of(struct vsock *v, struct connection *c, struct vsock_header *h, const struct iovec *room, u32 n)
{
	static const struct { u32 due; u16 op; } order[] = {
		{ DUE_REQUEST, VSOCK_REQUEST }, { DUE_RESPONSE, VSOCK_RESPONSE }, { DUE_CREDIT, VSOCK_CREDIT_UPDATE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (!(c->due & order[i].due))
			continue;
		c->due &= ~order[i].due;
		fill_header(v, c, h, order[i].op);
		return true;
	}
	if (can_read(c) && read_host(v, c, h, room, n))
		return true;
	if (!(c->due & DUE_SHUTDOWN))
		return false;
	c->due &= ~(u32)DUE_SHUTDOWN;
	fill_header(v, c, h, VSOCK_SHUTDOWN);
	h->flags = c->shutdown_flags;
	settle(v, c);
	return true;
}

bool vsock_next(struct vsock *v, struct vsock_header *h, const struct iovec *room, u32 n)
{
	if (v->strays) {
		v->strays--;
		*h = (struct vsock_header){
			.src_cid = VSOCK_HOST_CID, .dst_cid = v->cid, .src_port = v->stray[v->strays].host_port,
			.dst_port = v->stray[v->strays].guest_port, .type = VSOCK_STREAM, .op = VSOCK_RST,
		};
		return true;
	}
	for (u32 i = 0; i < v->top; i++) {
		struct connection *c = &v->c[(v->turn + i) % v->top];

		if (c->state != FREE && next_of(v, c, h, room, n)) {
			v->turn = (v->turn + i + 1) % v->top;
			return true;
		}
	}
	return false;
}

bool vsock_due(const struct vsock *v)
{
	if (v->strays)
		return true;
	for (u32 i = 0; i < v->top; i++)
		if (v->c[i].state != FREE && (v->c[i].due || can_read(&v->c[i])))
			return true;
	return false;
}

/* ---- the host's side ---- */

/* "CONNECT P\n"; nothing beyond the line is taken, it is for the guest. */
static void hear_hello(struct vsock *v, struct connection *c)
{
	unsigned port;
	char end;

	for (;;) {
		ssize_t n = read(c->fd, c->hello + c->hello_used, 1);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0 || c->hello_used == HELLO_MAX - 1) {
			drop(v, c);
			return;
		}
		if (c->hello[c->hello_used++] == '\n')
			break;
	}
	c->hello[c->hello_used] = 0;
	if (sscanf(c->hello, "CONNECT %10u%c", &port, &end) != 2 || end != '\n') {
		drop(v, c);
		return;
	}
	c->guest_port = port;
	do
		c->host_port = v->next_port = v->next_port == UINT32_MAX ? FIRST_HOST_PORT : v->next_port + 1;
	while (find(v, c->guest_port, c->host_port));
	c->state = ASKED;
	c->due = DUE_REQUEST;
}

static void accept_host(struct vsock *v)
{
	int fd = accept4(v->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 && !add(v, fd, HELLO))
		close(fd);
}

int vsock_fill(struct vsock *v, struct pollfd *p, int room, bool can_receive)
{
	int n = 0;

	if (room < 1)
		return 0;
	p[n++] = (struct pollfd){ v->count < VSOCK_CONNECTIONS ? v->listener : -1, POLLIN, 0 };
	for (u32 i = 0; i < v->top; i++) {
		struct connection *c = &v->c[i];
		short wanted = 0;

		c->poll = -1;
		if (c->state == FREE || n == room)
			continue;
		if (c->state == HELLO || (c->state == OPEN && can_receive && !c->readable && !c->host_ended && !c->guest_deaf && credit(c)))
			wanted |= POLLIN;
		if (c->used)
			wanted |= POLLOUT;
		if (!wanted)
			continue;
		c->poll = n;
		p[n++] = (struct pollfd){ c->fd, wanted, 0 };
	}
	return n;
}

void vsock_polled(struct vsock *v, const struct pollfd *p, int n)
{
	for (u32 i = 0; i < v->top; i++) {
		struct connection *c = &v->c[i];
		short got = c->state != FREE && c->poll >= 0 && c->poll < n ? p[c->poll].revents : 0;

		if (!got)
			continue;
		if (c->state == HELLO) {
			hear_hello(v, c);
			continue;
		}
		c->readable = true;
		if (!c->used)
			continue;
		pass_on(v, c);
		if (c->state == OPEN)
			settle(v, c);
	}
	if (n > 0 && p[0].revents & POLLIN)
		accept_host(v);
}
