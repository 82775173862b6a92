/* SPDX-License-Identifier: MIT
 * virtio-vsock (virtio 1.2 section 5.10): between virtqueues and the connections of vsock.c.
 *
 *     queue 0  packets for the guest    queue 1  packets of the guest    queue 2  events
 *
 * Owner: the worker; single thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/jail_enter.h"
#include "base/keys.h"
#include "device/devices.h"
#include "device/local_socket.h"
#include "device/vsock.h"

#define OPTION "--vsock"
#define PARTS 64
#define BATCH 32 /* packets shown to the guest at once */
#define HEADER sizeof(struct vsock_header)

struct vsock_device {
	u64 cid;
	const char *path;
	char *store;
	struct local_socket socket;
	int directory;
	struct vsock *vsock;
	bool lost;             /* connections of the driver's that the process before this one had */
	bool no_room;          /* the guest has no buffers: it is told to ring */
};

#define F(f) offsetof(struct vsock_device, f)
static const struct key_row keys[] = {
	{ "cid", KEY_NUMBER, F(cid), false, 3, 0xfffffffe, NULL },
	{ "path", KEY_TEXT, F(path), true, 0, 0, NULL },
};

/* Fills buffers of the guest's while there are both packets and buffers. */
static void deliver(struct worker *w)
{
	struct vsock_device *d = w->state;
	struct virtqueue *vq = &w->queue[0];
	struct iovec iov[PARTS], room[PARTS];
	struct vq_chain c = { .iov = iov };
	struct vsock_header h;
	u16 done = 0;

	d->no_room = false;
	while (vq->running && !vq->broken && vsock_due(d->vsock)) {
		if (vq_pop(vq, &c, PARTS) <= 0) {
			vq_publish(vq, done);
			done = 0;
			d->no_room = !vq->broken && !vq_listen(vq);
			if (d->no_room)
				break;
			continue;
		}
		if (c.in < HEADER) {
			vq_break(vq, "buffer too small for a packet's header");
			break;
		}
		if (!vsock_next(d->vsock, &h, room, iov_slice(iov + c.n_out, c.n_in, HEADER, VSOCK_PAYLOAD_MAX, room))) {
			vq_unpop(vq);
			break;
		}
		iov_put(iov + c.n_out, c.n_in, 0, &h, HEADER);
		vq_fill(vq, &c, HEADER + h.len, done++);
		if (done == BATCH) {
			vq_publish(vq, done);
			done = 0;
		}
	}
	vq_publish(vq, done);
	worker_interrupt(w, 0);
}

static void serve_guest(struct worker *w, u32 q)
{
	struct vsock_device *d = w->state;
	struct virtqueue *vq = &w->queue[q];
	struct iovec iov[PARTS], body[PARTS];
	struct vq_chain c = { .iov = iov };
	struct vsock_header h;

	do {
		while (vq_pop(vq, &c, PARTS) > 0) {
			if (iov_get(iov, c.n_out, 0, &h, HEADER) == HEADER)
				vsock_take(d->vsock, &h, body, iov_slice(iov, c.n_out, HEADER, c.out - HEADER, body), c.out - HEADER);
			else
				vq_break(vq, "packet shorter than its header");
			vq_push(vq, &c, 0);
		}
	} while (vq_listen(vq));
	worker_interrupt(w, q);
}

/* Connections have gone with the process that had them: the driver is to end its own (section 5.10.6.7). */
static void tell_reset(struct worker *w)
{
	static const u32 transport_reset = 0;
	struct vsock_device *d = w->state;
	struct virtqueue *vq = &w->queue[2];
	struct iovec iov[PARTS];
	struct vq_chain c = { .iov = iov };

	while (d->lost && vq_pop(vq, &c, PARTS) > 0) {
		d->lost = iov_put(iov + c.n_out, c.n_in, 0, &transport_reset, 4) != 4;
		vq_push(vq, &c, d->lost ? 0 : 4);
		worker_interrupt(w, 2);
	}
}

static int vsock_again(struct worker *w)
{
	struct vsock_device *d = w->state;

	d->lost = true;
	return 0;
}

static void vsock_serve(struct worker *w, u32 q)
{
	if (q == 1)
		serve_guest(w, q);
	if (q < 2)
		deliver(w);
	else
		tell_reset(w);
}

static bool vsock_device_reset(struct worker *w)
{
	struct vsock_device *d = w->state;

	vsock_reset(d->vsock);
	return true;
}

static int vsock_device_fill(struct worker *w, struct pollfd *p, int room, int *timeout_ms)
{
	struct vsock_device *d = w->state;

	(void)timeout_ms;
	return w->running && !w->leaving ? vsock_fill(d->vsock, p, room, !d->no_room) : 0;
}

static void vsock_device_polled(struct worker *w, const struct pollfd *p, int n)
{
	struct vsock_device *d = w->state;

	if (!n || !w->running || w->leaving)
		return;
	vsock_polled(d->vsock, p, n);
	deliver(w);
}

/* The socket's directory becomes the worker's file system, so that PATH_P is reached and nothing else. */
static int vsock_begin(struct worker *w, struct err *e)
{
	struct vsock_device *d = w->state;
	struct jail_plan jail = { .root = d->directory, .readonly = false };
	const char *slash = strrchr(d->path, '/');
	bool moved;
	int rc = jail_enter(&jail, &moved, e);

	if (rc)
		return rc;
	if (!moved && fchdir(d->directory))
		return err_sys(e, errno, OPTION ": path=%s", d->path);
	d->vsock = vsock_new(d->cid, d->socket.fd, slash ? slash + 1 : d->path);
	return d->vsock ? 0 : err_set(e, -ENOMEM, "no memory");
}

static void vsock_destroy(struct virtio_device *d)
{
	struct vsock_device *v = d->data;

	if (!v)
		return;
	local_socket_close(&v->socket);
	free(v->store);
	free(v);
	d->data = NULL;
}

static int vsock_create(struct virtio_device *d, const char *options, struct err *e)
{
	struct vsock_device *v = calloc(1, sizeof *v);
	const char *slash;
	char *directory;
	int rc;

	if (!v)
		return err_set(e, -ENOMEM, "no memory");
	*v = (struct vsock_device){ .cid = 3, .socket = LOCAL_SOCKET_NONE };
	d->data = v;
	rc = keys_parse(OPTION, options ? options : "", keys, ARRAY_SIZE(keys), v, &v->store, e);
	if (!rc)
		rc = local_socket_listen(&v->socket, OPTION ": path", v->path, e);
	if (rc)
		return rc;
	d->fds[d->n_fds++] = v->socket.fd;
	slash = strrchr(v->path, '/');
	directory = slash ? strndup(v->path, (size_t)(slash - v->path) + 1) : strdup(".");
	v->directory = directory ? open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	free(directory);
	if (v->directory < 0)
		return err_sys(e, errno, OPTION ": directory of path=%s", v->path);
	d->fds[d->n_fds++] = v->directory;
	memcpy(d->state.config, &v->cid, sizeof v->cid);
	d->config_size = sizeof v->cid;
	d->n_queues = 3;
	d->queue_size = 256;
	return 0;
}

#define ALLOW(call) { SYS_##call, 1, { } }
static const struct syscall_rule vsock_calls[] = {
	{ SYS_socket, 1, { ARG_INT(0, AF_UNIX) } }, ALLOW(connect), ALLOW(accept4), ALLOW(shutdown),
};

const struct virtio_class virtio_vsock = {
	.name = "vsock",
	.id = 19,
	.pci_class = 0x078000,
	.create = vsock_create,
	.destroy = vsock_destroy,
	.worker = {
		.rights = WORKER_ROOT, .calls = vsock_calls, .n_calls = ARRAY_SIZE(vsock_calls),
		.begin = vsock_begin, .again = vsock_again, .serve = vsock_serve, .reset = vsock_device_reset,
		.fill = vsock_device_fill, .polled = vsock_device_polled,
	},
};
