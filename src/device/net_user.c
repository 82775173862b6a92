/* SPDX-License-Identifier: MIT
 * User-mode network: the guest's connections become sockets of the worker, by libslirp.
 *
 *     10.0.2.0/24, fec0::/64     guest 10.0.2.15 by DHCP, gateway 10.0.2.2, name server 10.0.2.3
 *
 * The MTU is 65520, so that libslirp works on few large frames.  What comes for the guest while its ring is full waits
 * in a queue of BACKLOG bytes; meanwhile the sockets are not read, so that their senders wait too.
 *
 * Owner: the worker; single thread. */
#include <errno.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/jail_enter.h"
#include "device/net_backend.h"
#include "device/worker.h"

#define BACKLOG ((size_t)4 << 20)
#define TIMERS 4
#define SLOW_NS 2000000 /* how long libslirp's own timers may wait for a look */

struct waiting {
	struct waiting *next;
	size_t size;
	u8 frame[];
};

struct timer {
	bool taken;
	SlirpTimerId id;
	void *opaque;
	s64 due_ms; /* -1: not armed */
};

struct net_user {
	struct net_backend base;
	struct net_config config;
	struct net_sink sink;
	Slirp *slirp;
	struct timer timers[TIMERS];
	struct waiting *first, **last;
	size_t backlog;
	struct pollfd *poll;       /* while fill() and polled() run */
	int poll_count, poll_room;
	bool held;                 /* the guest has no room: sockets are not read */
	s64 looked_ns;             /* when libslirp last had a look at everything */
	u8 flat[NET_FRAME_MAX];
};

static s64 clock_ns(void *opaque)
{
	struct timespec t;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (s64)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- libslirp's callbacks ---- */

static bool give(struct net_user *u, const void *frame, size_t size)
{
	/* libslirp has made or checked the checksums itself: the guest need not check them again. */
	static const struct virtio_net_hdr_v1 head = { .flags = VIRTIO_NET_HDR_F_DATA_VALID, .num_buffers = 1 };

	return u->sink.frame(u->sink.opaque, 0, &head, frame, size);
}

static ssize_t on_packet(const void *frame, size_t size, void *opaque)
{
	struct net_user *u = opaque;
	struct waiting *w;

	if (size > NET_FRAME_MAX || (!u->first && give(u, frame, size)))
		return (ssize_t)size;
	u->held = true;
	if (u->backlog + size > BACKLOG)
		return (ssize_t)size; /* lost, as on a wire; TCP sends it again */
	w = malloc(sizeof *w + size);
	if (!w)
		return (ssize_t)size;
	memcpy(w->frame, frame, size);
	w->size = size;
	w->next = NULL;
	*u->last = w;
	u->last = &w->next;
	u->backlog += size;
	return (ssize_t)size;
}

/* What a guest does wrong is its own affair. */
static void on_guest_error(const char *text, void *opaque)
{
	(void)text;
	(void)opaque;
}

static void *on_timer_new(SlirpTimerId id, void *timer_opaque, void *opaque)
{
	struct net_user *u = opaque;

	for (int i = 0; i < TIMERS; i++) {
		if (!u->timers[i].taken) {
			u->timers[i] = (struct timer){ true, id, timer_opaque, -1 };
			return &u->timers[i];
		}
	}
	return NULL;
}

static void on_timer_free(void *timer, void *opaque)
{
	(void)opaque;
	if (timer)
		*(struct timer *)timer = (struct timer){ 0 };
}

static void on_timer_mod(void *timer, int64_t due_ms, void *opaque)
{
	(void)opaque;
	if (timer)
		((struct timer *)timer)->due_ms = due_ms;
}

static void on_poll_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void on_notify(void *opaque) { (void)opaque; } /* descriptors are gathered before each wait anyway */

static const SlirpCb callbacks = {
	.send_packet = on_packet, .guest_error = on_guest_error, .clock_get_ns = clock_ns, .timer_free = on_timer_free,
	.timer_mod = on_timer_mod, .register_poll_fd = on_poll_fd, .unregister_poll_fd = on_poll_fd,
	.notify = on_notify, .timer_new_opaque = on_timer_new,
};

/* ---- polling ---- */

static const struct { int slirp; short host; } events[] = {
	{ SLIRP_POLL_IN, POLLIN }, { SLIRP_POLL_OUT, POLLOUT }, { SLIRP_POLL_PRI, POLLPRI },
	{ SLIRP_POLL_ERR, POLLERR }, { SLIRP_POLL_HUP, POLLHUP },
};

static int add_poll(int fd, int wanted, void *opaque)
{
	struct net_user *u = opaque;
	struct pollfd *p;

	if (u->poll_count == u->poll_room)
		return -1;
	p = &u->poll[u->poll_count];
	*p = (struct pollfd){ .fd = fd };
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (wanted & events[i].slirp && !(u->held && events[i].host & (POLLIN | POLLPRI)))
			p->events |= events[i].host;
	return u->poll_count++;
}

static int get_revents(int i, void *opaque)
{
	struct net_user *u = opaque;
	int got = 0;

	for (size_t e = 0; e < ARRAY_SIZE(events); e++)
		if (u->poll[i].revents & events[e].host)
			got |= events[e].slirp;
	return got;
}

static int fill(struct net_backend *b, struct pollfd *p, int room, int *timeout_ms)
{
	struct net_user *u = (struct net_user *)b;
	u32 wait = *timeout_ms < 0 ? UINT32_MAX : (u32)*timeout_ms;
	s64 now_ms = clock_ns(NULL) / 1000000;

	u->poll = p;
	u->poll_room = room;
	u->poll_count = 0;
	slirp_pollfds_fill(u->slirp, &wait, add_poll, u);
	for (int i = 0; i < TIMERS; i++)
		if (u->timers[i].taken && u->timers[i].due_ms >= 0)
			wait = MIN(wait, (u32)MAX(u->timers[i].due_ms - now_ms, (s64)0));
	*timeout_ms = wait > INT32_MAX ? -1 : (int)wait;
	return u->poll_count;
}

static void run_timers(struct net_user *u, s64 now_ns)
{
	for (int i = 0; i < TIMERS; i++) {
		struct timer *t = &u->timers[i];

		if (!t->taken || t->due_ms < 0 || t->due_ms > now_ns / 1000000)
			continue;
		t->due_ms = -1;
		slirp_handle_timer(u->slirp, t->id, t->opaque);
	}
}

static void polled(struct net_backend *b, const struct pollfd *p, int n)
{
	struct net_user *u = (struct net_user *)b;
	s64 now = clock_ns(NULL);
	bool any = now - u->looked_ns > SLOW_NS;

	for (int i = 0; i < n && !any; i++)
		any = p[i].revents != 0;
	if (!any)
		return;
	u->looked_ns = now;
	u->poll = (struct pollfd *)p;
	slirp_pollfds_poll(u->slirp, 0, get_revents, u);
	run_timers(u, now);
	u->sink.flush(u->sink.opaque, 0);
}

/* ---- frames ---- */

static void send_frame(struct net_backend *b, unsigned pair, const struct iovec *iov, int n)
{
	struct net_user *u = (struct net_user *)b;
	size_t size = 0, skip = NET_HEAD;

	(void)pair;
	for (int i = 0; i < n; i++) {
		size_t part = iov[i].iov_len, cut = MIN(skip, part);

		skip -= cut;
		part = MIN(part - cut, sizeof u->flat - size);
		memcpy(u->flat + size, (u8 *)iov[i].iov_base + cut, part);
		size += part;
	}
	if (net_frame_is_sound(u->flat, size))
		slirp_input(u->slirp, u->flat, (int)size);
}

static void resume(struct net_backend *b, unsigned pair)
{
	struct net_user *u = (struct net_user *)b;
	struct waiting *w;

	(void)pair;
	while ((w = u->first) && give(u, w->frame, w->size)) {
		u->first = w->next;
		u->backlog -= w->size;
		free(w);
	}
	if (!u->first) {
		u->last = &u->first;
		u->held = false;
	}
	u->sink.flush(u->sink.opaque, 0);
}

/* ---- life ---- */

static int open_user(struct net_backend *b, const struct net_config *c, int fds[NET_FDS_MAX], int *n_fds, struct err *e)
{
	struct net_user *u = (struct net_user *)b;

	(void)fds;
	(void)e;
	u->config = *c; /* its texts live as long as the front-end's copy, and by fork in the worker */
	u->base.mtu = (u16)(c->mtu ? c->mtu : NET_MTU_MAX);
	*n_fds = 0;
	return 0;
}

static void close_user(struct net_backend *b) { free(b); }

static int add_forward(struct net_user *u, const char *text, struct err *e)
{
	struct net_forward f;
	struct sockaddr_in host = { .sin_family = AF_INET }, guest = { .sin_family = AF_INET };
	struct sockaddr_in6 host6 = { .sin6_family = AF_INET6 }, guest6 = { .sin6_family = AF_INET6 };
	int rc = net_forward_parse(&f, text, e), flags;

	if (rc)
		return rc;
	flags = f.udp ? SLIRP_HOSTFWD_UDP : 0;
	host.sin_port = host6.sin6_port = htons(f.host_port);
	guest.sin_port = guest6.sin6_port = htons(f.guest_port);
	memcpy(&host.sin_addr, f.address, 4);
	memcpy(&host6.sin6_addr, f.address, 16);
	if (f.v6)
		rc = slirp_add_hostxfwd(u->slirp, (void *)&host6, sizeof host6, (void *)&guest6, sizeof guest6,
					flags | SLIRP_HOSTFWD_V6ONLY);
	else
		rc = slirp_add_hostxfwd(u->slirp, (void *)&host, sizeof host, (void *)&guest, sizeof guest, flags);
	return rc ? err_sys(e, errno, "--net: forward=%s", text) : 0;
}

/* After the forwards, because root may listen on ports below 1024.  What is left are sockets. */
static int confine(struct err *e)
{
	static const struct jail_text name_servers = { "/etc/resolv.conf", "/etc/resolv.conf" };
	struct jail_plan plan = { .root = -1, .network = true, .texts = &name_servers, .n_texts = 1 };
	bool moved;

	return jail_enter(&plan, &moved, e);
}

static int begin(struct net_backend *b, const struct net_sink *sink, struct err *e)
{
	struct net_user *u = (struct net_user *)b;
	SlirpConfig c = {
		.version = 4, .restricted = u->config.restricted, .in_enabled = true, .in6_enabled = true,
		.vprefix_len = 64, .vhostname = u->config.hostname, .if_mtu = u->base.mtu, .if_mru = u->base.mtu,
		.disable_host_loopback = !u->config.loopback,
	};
	int rc = 0;

	inet_pton(AF_INET, "10.0.2.0", &c.vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &c.vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &c.vhost);
	inet_pton(AF_INET, "10.0.2.15", &c.vdhcp_start);
	inet_pton(AF_INET, "10.0.2.3", &c.vnameserver);
	inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &c.vhost6);
	inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
	u->sink = *sink;
	u->last = &u->first;
	u->slirp = slirp_new(&c, &callbacks, u);
	if (!u->slirp)
		return err_set(e, -ENOMEM, "--net: libslirp does not start");
	for (int i = 0; i < u->config.forward.count && !rc; i++)
		rc = add_forward(u, u->config.forward.word[i], e);
	return rc ? rc : confine(e);
}

/* ICMP by a datagram socket, sockets for TCP and UDP, and /etc/resolv.conf, which libslirp reads again when it changed. */
#define ALLOW(call) { SYS_##call, 1, { } }
static const struct syscall_rule calls[] = {
	ALLOW(connect), ALLOW(bind), ALLOW(listen), ALLOW(accept), ALLOW(accept4),
	ALLOW(getsockname), ALLOW(getpeername), ALLOW(setsockopt), ALLOW(getsockopt), ALLOW(recvmsg), ALLOW(sendmsg),
	ALLOW(shutdown), ALLOW(fcntl), ALLOW(openat), ALLOW(newfstatat), ALLOW(lseek), ALLOW(getrandom), ALLOW(uname),
	ALLOW(getuid), ALLOW(geteuid),
	{ SYS_socket, 1, { ARG_INT(0, AF_INET) } }, { SYS_socket, 1, { ARG_INT(0, AF_INET6) } },
	{ SYS_ioctl, 1, { ARG_INT(1, 0x5421) } }, /* FIONBIO */
	{ SYS_ioctl, 1, { ARG_INT(1, 0x541b) } }, /* FIONREAD */
};

const struct net_backend_ops net_user_ops = {
	.open = open_user, .close = close_user, .begin = begin, .send = send_frame, .resume = resume,
	.fill = fill, .polled = polled, .calls = calls, .n_calls = ARRAY_SIZE(calls), .rights = WORKER_ROOT,
	.offers = BIT(VIRTIO_NET_F_GUEST_CSUM),
};

struct net_backend *net_user_new(void)
{
	struct net_user *u = calloc(1, sizeof *u);

	if (!u)
		return NULL;
	u->base = (struct net_backend){ .ops = &net_user_ops, .pairs = 1 };
	return &u->base;
}
