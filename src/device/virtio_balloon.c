/* SPDX-License-Identifier: MIT
 * virtio-balloon (virtio 1.2 section 5.5): memory that the guest does not use goes back to the host.
 *
 *     inflate    page numbers that the driver gives up
 *     deflate    page numbers that it takes back: they read as zeroes
 *     statistics one buffer, which the device keeps until it wants new figures
 *     reporting  ranges that lie free in the guest, often whole runs of 2 MiB; they stay the guest's
 *
 * Giving back punches a hole into the file that is guest RAM (madvise(MADV_REMOVE)). The host's kernel then takes
 * the pages out of every mapping of every process, the monitor's shadow pages among them: what touches them
 * next gets zeroes.
 *
 * The target comes from the command line, and at run time through a socket, one command a line:
 *
 *     target SIZE    bytes that the guest is to keep; K, M, G may follow
 *     stats          figures as one JSON object
 *
 * Owner: the worker; single thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/keys.h"
#include "device/devices.h"
#include "device/local_socket.h"

#define F_STATS 1
#define F_DEFLATE_ON_OOM 2
#define F_REPORTING 5

#define PARTS 64
#define PAGES_MAX 1024 /* page numbers looked at at once */
#define LINE_MAX_BYTES 64
#define CLIENTS 4
#define NO_QUEUE 0xff

/* Figures of the driver's, by their tag (section 5.5.6.3). */
#define STATS(S) \
	S(0, swap_in) S(1, swap_out) S(2, major_faults) S(3, minor_faults) S(4, free) S(5, total) S(6, available) \
	S(7, disk_caches) S(8, hugetlb_allocations) S(9, hugetlb_failures)
enum {
#define STAT_ENUM(tag, name) STAT_##name = tag,
	STATS(STAT_ENUM)
#undef STAT_ENUM
	STAT_COUNT
};

struct balloon_config {
	u32 num_pages, actual; /* of 4 KiB; what the device wants, what the driver has given */
};

struct client {
	int fd;                /* -1: free */
	bool wants_stats, ended; /* the figures come later; it will ask no more */
	u32 used;
	char line[LINE_MAX_BYTES];
};

struct balloon {
	const char *target, *socket_path;
	char *store;
	struct local_socket socket;
	struct worker *worker;
	u64 ram_size;          /* known in the worker */
	u32 num_pages;         /* of the configuration: what it says beside that is the driver's */
	u8 stats_queue, reporting_queue;
	bool stats_held;       /* the driver's buffer is here */
	struct vq_chain stats_chain;
	struct iovec stats_iov[PARTS];
	u64 stat[STAT_COUNT], given_back, reported;
	u32 stat_known;        /* bits */
	struct client client[CLIENTS];
};

#define F(f) offsetof(struct balloon, f)
static const struct key_row keys[] = {
	{ "target", KEY_TEXT, F(target), false, 0, 0, NULL },
	{ "socket", KEY_TEXT, F(socket_path), false, 0, 0, NULL },
};

/* "256M" in bytes; without a letter bytes.  UINT64_MAX for what is no size. */
static u64 parse_size(const char *text)
{
	static const char units[] = "KMGT";
	char *end;
	u64 v = strtoull(text, &end, 10);
	const char *unit = *end ? strchr(units, *end) : NULL;

	if (*text < '0' || *text > '9' || (*end && (!unit || end[1])))
		return UINT64_MAX;
	if (unit) {
		unsigned shift = 10 * (unsigned)(unit - units + 1);

		if (v >> (64 - shift))
			return UINT64_MAX;
		v <<= shift;
	}
	return v;
}

/* ---- memory ---- */

static void give_back(struct balloon *b, u8 *at, u64 size)
{
	u64 start = ALIGN_UP((u64)at, PAGE_SIZE), end = ALIGN_DOWN((u64)at + size, PAGE_SIZE);

	if (start >= end)
		return;
	if (madvise((void *)start, end - start, MADV_REMOVE))
		worker_fail(b->worker, "balloon: returning guest memory to the host: %s", strerror(errno));
	/* What a device or the translator knew of these pages is no longer so. */
	dma_wrote(&b->worker->dma, (void *)start, end - start);
	b->given_back += end - start;
}

static void inflate(struct balloon *b, const u32 *pages, u32 n)
{
	u8 *run = NULL;
	u64 size = 0;

	for (u32 i = 0; i < n; i++) {
		u8 *p = dma_at(&b->worker->dma, (u64)pages[i] << PAGE_SHIFT, PAGE_SIZE);

		if (!p)
			continue; /* not memory: nothing to give back */
		if (run && p == run + size) {
			size += PAGE_SIZE;
		} else {
			give_back(b, run, size);
			run = p;
			size = PAGE_SIZE;
		}
	}
	give_back(b, run, size);
}

static void serve_pages(struct balloon *b, u32 q)
{
	struct virtqueue *vq = &b->worker->queue[q];
	struct iovec iov[PARTS];
	struct vq_chain c = { .iov = iov };
	u32 pages[PAGES_MAX];

	do {
		while (vq_pop(vq, &c, PARTS) > 0) {
			for (u64 at = 0; q == 0 && at + 4 <= c.out; at += sizeof pages)
				inflate(b, pages, (u32)(iov_get(iov, c.n_out, at, pages, sizeof pages) / 4));
			vq_push(vq, &c, 0);
		}
	} while (vq_listen(vq));
	worker_interrupt(b->worker, q);
}

static void serve_reports(struct balloon *b, u32 q)
{
	struct virtqueue *vq = &b->worker->queue[q];
	struct iovec iov[PARTS];
	struct vq_chain c = { .iov = iov };

	do {
		while (vq_pop(vq, &c, PARTS) > 0) {
			for (u32 i = c.n_out; i < c.n_out + c.n_in; i++) {
				give_back(b, iov[i].iov_base, iov[i].iov_len);
				b->reported += iov[i].iov_len;
			}
			vq_push(vq, &c, 0);
		}
	} while (vq_listen(vq));
	worker_interrupt(b->worker, q);
}

/* ---- statistics and commands ---- */

static void answer(struct client *c, const char *text)
{
	/* Who does not read his answers loses them. */
	if (send(c->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		c->wants_stats = false;
}

static void drop(struct client *c)
{
	close(c->fd);
	*c = (struct client){ .fd = -1 };
}

static void answer_stats(struct balloon *b)
{
	static const char *const names[] = {
#define STAT_NAME(tag, name) [tag] = #name,
		STATS(STAT_NAME)
#undef STAT_NAME
	};
	struct balloon_config config;
	char text[1024];
	int n;

	memcpy(&config, b->worker->config, sizeof config);
	n = snprintf(text, sizeof text, "{\"target\":%llu,\"balloon\":%llu,\"given_back\":%llu,\"reported\":%llu",
		     (unsigned long long)(b->ram_size - (u64)config.num_pages * PAGE_SIZE),
		     (unsigned long long)config.actual * PAGE_SIZE, (unsigned long long)b->given_back, (unsigned long long)b->reported);
	for (int i = 0; i < STAT_COUNT; i++)
		if (b->stat_known >> i & 1)
			n += snprintf(text + n, sizeof text - (size_t)n, ",\"%s\":%llu", names[i], (unsigned long long)b->stat[i]);
	snprintf(text + n, sizeof text - (size_t)n, "}\n");
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &b->client[i];

		if (c->fd >= 0 && c->wants_stats)
			answer(c, text);
		c->wants_stats = false;
		if (c->fd >= 0 && c->ended)
			drop(c);
	}
}

/* Entries of 10 bytes: a tag of 16 bits, a value of 64. */
static void take_stats(struct balloon *b)
{
	u8 entry[10];

	for (u64 at = 0; at + sizeof entry <= b->stats_chain.out && at < 64 * sizeof entry; at += sizeof entry) {
		u16 tag;

		iov_get(b->stats_iov, b->stats_chain.n_out, at, entry, sizeof entry);
		memcpy(&tag, entry, 2);
		if (tag >= STAT_COUNT)
			continue;
		memcpy(&b->stat[tag], entry + 2, 8);
		b->stat_known |= 1u << tag;
	}
}

static void serve_stats(struct balloon *b, u32 q)
{
	struct virtqueue *vq = &b->worker->queue[q];
	bool came = false;

	do {
		/* A second buffer while one is held is a mistake of the driver's that does no harm. */
		while (!b->stats_held && vq_pop(vq, &b->stats_chain, PARTS) > 0) {
			take_stats(b);
			b->stats_held = came = true;
		}
	} while (!b->stats_held && vq_listen(vq));
	if (came)
		answer_stats(b);
}

static void ask_stats(struct balloon *b)
{
	if (!b->stats_held || !b->worker->running || b->worker->leaving) {
		answer_stats(b); /* no driver that counts: what is known without it */
		return;
	}
	b->stats_held = false;
	vq_push(&b->worker->queue[b->stats_queue], &b->stats_chain, 0);
	vq_listen(&b->worker->queue[b->stats_queue]);
	worker_interrupt(b->worker, b->stats_queue);
}

static void balloon_config(struct worker *w)
{
	struct balloon *b = w->state;

	memcpy(w->config + offsetof(struct balloon_config, num_pages), &b->num_pages, 4);
}

static bool set_target(struct balloon *b, const char *text)
{
	u64 target = parse_size(text);

	if (target > b->ram_size)
		return false;
	b->num_pages = (u32)((b->ram_size - target) >> PAGE_SHIFT);
	memcpy(b->worker->record->state, &b->num_pages, sizeof b->num_pages);
	balloon_config(b->worker);
	return true;
}

static void obey(struct balloon *b, struct client *c)
{
	if (!strcmp(c->line, "stats")) {
		c->wants_stats = true;
		ask_stats(b);
	} else if (!strncmp(c->line, "target ", 7) && set_target(b, c->line + 7)) {
		worker_config_changed(b->worker);
		answer(c, "ok\n");
	} else {
		answer(c, "error: target SIZE, at most the guest's memory, or stats\n");
	}
}

static void hear(struct balloon *b, struct client *c)
{
	char *end;
	ssize_t n = read(c->fd, c->line + c->used, sizeof c->line - c->used);

	if (n <= 0) {
		c->ended = true;
		if (n < 0 || !c->wants_stats)
			drop(c);
		return;
	}
	c->used += (u32)n;
	while ((end = memchr(c->line, '\n', c->used))) {
		u32 length = (u32)(end - c->line) + 1;

		*end = 0;
		obey(b, c);
		c->used -= length;
		memmove(c->line, c->line + length, c->used);
	}
	if (c->used == sizeof c->line)
		drop(c);
}

static int balloon_fill(struct worker *w, struct pollfd *p, int room, int *timeout_ms)
{
	struct balloon *b = w->state;
	int n = 0;

	(void)timeout_ms;
	if (b->socket.fd < 0 || room < CLIENTS + 1)
		return 0;
	p[n++] = (struct pollfd){ b->socket.fd, POLLIN, 0 };
	for (int i = 0; i < CLIENTS; i++)
		p[n++] = (struct pollfd){ b->client[i].ended ? -1 : b->client[i].fd, POLLIN, 0 };
	return n;
}

static void balloon_polled(struct worker *w, const struct pollfd *p, int n)
{
	struct balloon *b = w->state;

	for (int i = 1; i < n; i++)
		if (p[i].revents && b->client[i - 1].fd >= 0)
			hear(b, &b->client[i - 1]);
	if (!n || !(p[0].revents & POLLIN))
		return;
	for (int i = 0; i < CLIENTS; i++) {
		if (b->client[i].fd >= 0)
			continue;
		b->client[i].fd = accept4(b->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		return;
	}
	drop(&b->client[0]); /* the one that came first makes room */
}

/* ---- worker ---- */

static int balloon_begin(struct worker *w, struct err *e)
{
	struct balloon *b = w->state;

	b->worker = w;
	b->ram_size = w->dma.size;
	for (int i = 0; i < CLIENTS; i++)
		b->client[i].fd = -1;
	if (b->target && !set_target(b, b->target))
		return err_set(e, -EINVAL, "--balloon: target=%s: more than the guest's memory", b->target);
	return 0;
}

/* The target that was set last outlives the process. */
static int balloon_born(struct worker *w, struct err *e)
{
	struct balloon *b = w->state;

	(void)e;
	memcpy(&b->num_pages, w->record->state, sizeof b->num_pages);
	balloon_config(w);
	return 0;
}

/* Queues that the driver did not take are not there, and those after them move up (section 5.5.2). */
static void balloon_start(struct worker *w)
{
	struct balloon *b = w->state;
	u8 next = 2;

	b->stats_queue = w->features >> F_STATS & 1 ? next++ : NO_QUEUE;
	b->reporting_queue = w->features >> F_REPORTING & 1 ? next++ : NO_QUEUE;
	b->stats_held = false;
	b->stats_chain.iov = b->stats_iov;
	b->stat_known = 0;
	if (b->target)
		worker_config_changed(w);
}

static bool balloon_reset(struct worker *w)
{
	struct balloon *b = w->state;

	b->stats_held = false;
	answer_stats(b);
	return true;
}

static void balloon_serve(struct worker *w, u32 q)
{
	struct balloon *b = w->state;

	if (q < 2)
		serve_pages(b, q);
	else if (q == b->stats_queue)
		serve_stats(b, q);
	else if (q == b->reporting_queue)
		serve_reports(b, q);
}

/* ---- front-end ---- */

static void balloon_destroy(struct virtio_device *d)
{
	struct balloon *b = d->data;

	if (!b)
		return;
	local_socket_close(&b->socket);
	free(b->store);
	free(b);
	d->data = NULL;
}

static int balloon_create(struct virtio_device *d, const char *options, struct err *e)
{
	struct balloon *b = calloc(1, sizeof *b);
	int rc;

	if (!b)
		return err_set(e, -ENOMEM, "no memory");
	b->socket = LOCAL_SOCKET_NONE;
	d->data = b;
	if (options && *options) {
		rc = keys_parse("--balloon", options, keys, ARRAY_SIZE(keys), b, &b->store, e);
		if (rc)
			return rc;
	}
	if (b->target && parse_size(b->target) == UINT64_MAX)
		return err_set(e, -EINVAL, "--balloon: target=%s: not a size", b->target);
	if (b->socket_path) {
		rc = local_socket_listen(&b->socket, "--balloon: socket", b->socket_path, e);
		if (rc)
			return rc;
		d->fds[d->n_fds++] = b->socket.fd;
	}
	d->features = BIT(F_STATS) | BIT(F_DEFLATE_ON_OOM) | BIT(F_REPORTING);
	d->config_size = sizeof(struct balloon_config);
	memset(d->config_writable + offsetof(struct balloon_config, actual), 0xff, 4);
	d->n_queues = 4;
	d->queue_size = 128;
	return 0;
}

static const struct syscall_rule balloon_calls[] = { { SYS_accept4, 1, { } } };

const struct virtio_class virtio_balloon = {
	.name = "balloon",
	.id = 5,
	.pci_class = 0x00ff00,
	.create = balloon_create,
	.destroy = balloon_destroy,
	.worker = {
		.calls = balloon_calls, .n_calls = ARRAY_SIZE(balloon_calls), .begin = balloon_begin, .born = balloon_born, .start = balloon_start,
		.serve = balloon_serve, .reset = balloon_reset, .config = balloon_config, .fill = balloon_fill, .polled = balloon_polled,
	},
};
