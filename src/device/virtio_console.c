/* SPDX-License-Identifier: MIT
 * virtio-console (virtio 1.2 section 5.3) with one port: a terminal without registers, hvc0 in Linux.
 *
 *     queue 0  bytes for the guest    queue 1  bytes of the guest
 *
 * The bytes go to and from the machine's console in the front-end through a socket of messages: from here a byte of
 * enum console_message and then what it is about, to here the keys alone.
 *
 * Owner: the worker; single thread. */
#include "device/virtio_console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "device/devices.h"

#define PARTS 64

struct console_device_config {
	u16 cols, rows;
	u32 max_nr_ports, emerg_wr;
} __attribute__((packed));

struct console_device {
	int peer;
	bool stuck;            /* the front-end takes no more for now */
	u64 sent;              /* bytes of the request at hand that were passed on */
	u8 keys[CONSOLE_KEYS_MAX];
	u32 at, end;           /* [at, end) wait for a buffer of the guest's */
};

/* Returns false where the front-end has no room. */
static bool tell(struct worker *w, u8 kind, const u8 *bytes, size_t n)
{
	struct console_device *d = w->state;
	struct iovec iov[2] = { { &kind, 1 }, { (void *)bytes, n } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n ? 2 : 1 };

	if (sendmsg(d->peer, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EAGAIN || errno == ENOBUFS)
		return false;
	_exit(0); /* the machine has ended */
}

static void serve_output(struct worker *w)
{
	struct console_device *d = w->state;
	struct virtqueue *vq = &w->queue[1];
	struct iovec iov[PARTS];
	struct vq_chain c = { .iov = iov };
	u8 bytes[CONSOLE_MESSAGE_MAX];

	d->stuck = false;
	do {
		while (!d->stuck && vq_pop(vq, &c, PARTS) > 0) {
			while (d->sent < c.out && !d->stuck) {
				size_t n = iov_get(iov, c.n_out, d->sent, bytes, sizeof bytes);

				if (tell(w, CONSOLE_OUTPUT, bytes, n))
					d->sent += n;
				else
					d->stuck = true;
			}
			if (d->stuck) {
				vq_unpop(vq);
				break;
			}
			d->sent = 0;
			vq_push(vq, &c, 0);
		}
	} while (!d->stuck && vq_listen(vq));
	worker_interrupt(w, 1);
}

static void serve_input(struct worker *w)
{
	struct console_device *d = w->state;
	struct virtqueue *vq = &w->queue[0];
	struct iovec iov[PARTS];
	struct vq_chain c = { .iov = iov };

	do {
		while (d->at < d->end && vq_pop(vq, &c, PARTS) > 0) {
			size_t n = iov_put(iov + c.n_out, c.n_in, 0, d->keys + d->at, d->end - d->at);

			d->at += (u32)n;
			vq_push(vq, &c, n);
		}
	} while (d->at < d->end && vq_listen(vq));
	worker_interrupt(w, 0);
}

static void console_serve(struct worker *w, u32 q)
{
	if (q)
		serve_output(w);
	else
		serve_input(w);
}

static void console_device_start(struct worker *w)
{
	struct console_device *d = w->state;

	d->stuck = false;
	d->sent = d->at = d->end = 0;
	tell(w, CONSOLE_UP, NULL, 0);
}

static bool console_reset(struct worker *w)
{
	tell(w, CONSOLE_DOWN, NULL, 0);
	return true;
}

static int console_fill(struct worker *w, struct pollfd *p, int room, int *timeout_ms)
{
	struct console_device *d = w->state;
	short wanted = (short)((d->at == d->end && w->running ? POLLIN : 0) | (d->stuck ? POLLOUT : 0));

	(void)timeout_ms;
	if (room < 1)
		return 0;
	p[0] = (struct pollfd){ wanted ? d->peer : -1, wanted, 0 };
	return 1;
}

static void console_polled(struct worker *w, const struct pollfd *p, int n)
{
	struct console_device *d = w->state;
	ssize_t got;

	if (!n || !p[0].revents || !w->running || w->leaving)
		return;
	if (d->stuck)
		serve_output(w);
	if (d->at != d->end)
		return;
	got = recv(d->peer, d->keys, sizeof d->keys, MSG_DONTWAIT);
	if (!got)
		_exit(0);
	d->at = 0;
	d->end = got > 0 ? (u32)got : 0;
	serve_input(w);
}

static void console_destroy_device(struct virtio_device *d)
{
	free(d->data);
	d->data = NULL;
}

static int console_create(struct virtio_device *d, const char *options, struct err *e)
{
	struct console_device *c = calloc(1, sizeof *c);
	int pair[2];

	(void)options;
	if (!c)
		return err_set(e, -ENOMEM, "no memory");
	d->data = c;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return err_sys(e, errno, "socket pair of the console");
	c->peer = d->fds[d->n_fds++] = pair[1];
	d->machine_fd = pair[0];
	d->config_size = sizeof(struct console_device_config);
	d->n_queues = 2;
	d->queue_size = 128;
	return 0;
}

static const struct syscall_rule console_calls[] = { { SYS_sendmsg, 1, { } } };

const struct virtio_class virtio_console = {
	.name = "console",
	.id = 3,
	.pci_class = 0x078000,
	.create = console_create,
	.destroy = console_destroy_device,
	.worker = {
		.calls = console_calls, .n_calls = ARRAY_SIZE(console_calls), .start = console_device_start,
		.serve = console_serve, .reset = console_reset, .fill = console_fill, .polled = console_polled,
	},
};
