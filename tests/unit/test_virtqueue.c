/* SPDX-License-Identifier: MIT
 * Virtqueues: a driver that keeps the rules and one that does not, and what a device's writes leave behind.
 *
 * WITH: device/virtqueue.c device/dma.c */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "device/virtqueue.h"

#define RAM_LOW (1u << 20)
#define RAM_SIZE (2u << 20)
#define PAGES (RAM_SIZE / 4096)
#define SIZE 64u
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define TABLES 0x10000u /* indirect tables, a page each */

static u8 *ram;
static u8 flags[PAGES];
static _Atomic u64 dirty[PAGES / 64];
static int failures;
static u64 seed = 0x9e3779b97f4a7c15ull;

static u64 rnd(u64 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % n;
}

static void verdict(bool good, const char *name)
{
	printf("%sok - %s\n", good ? "" : "not ", name);
	failures += !good;
}

struct desc { u64 address; u32 length; u16 flags, next; };

static struct desc *desc(u32 i) { return (struct desc *)(void *)(ram + DESC) + i; }
static u16 *avail(void) { return (u16 *)(void *)(ram + AVAIL); }
static u16 *used(void) { return (u16 *)(void *)(ram + USED); }
static u32 *used_entry(u16 i) { return (u32 *)(void *)(ram + USED + 4) + 2 * (i % SIZE); }

/* Guest address of an offset in RAM. */
static u64 gpa(u64 offset) { return offset < RAM_LOW ? offset : DMA_HIGH + offset - RAM_LOW; }

static struct dma make_dma(void)
{
	return (struct dma){ .ram = ram, .size = RAM_SIZE, .low = RAM_LOW };
}

static void begin(struct virtqueue *q, struct dma *dma, u64 features)
{
	struct virtq_setup s = { .desc = DESC, .driver = AVAIL, .device = USED, .size = SIZE, .enabled = 1 };

	memset(ram, 0, 0x8000);
	if (vq_start(q, dma, &s, features))
		exit(1);
}

static void offer(u16 head)
{
	avail()[2 + avail()[1] % SIZE] = head;
	avail()[1]++;
}

/* ---- a driver that keeps the rules ---- */

/* A chain of random parts in buffers of its own; what it should come out as. */
struct model { u32 n_out, n_in; u64 out, in; struct iovec iov[8]; };

static void make_chain(struct model *m, u16 head, bool indirect)
{
	struct desc *table = indirect ? (struct desc *)(void *)(ram + TABLES + head * 4096u) : desc(0);
	u32 n = 1 + (u32)rnd(6), outs = (u32)rnd(n + 1);

	*m = (struct model){ 0 };
	for (u32 i = 0; i < n; i++) {
		u32 at = indirect ? i : (head + i) % SIZE, next = indirect ? i + 1 : (head + i + 1) % SIZE;
		u64 length = rnd(8) ? 1 + rnd(3000) : 0, offset = 0x100000 - 0x60000 + rnd(0x50000);

		if (rnd(2))
			offset += 0x80000; /* beyond the hole */
		table[at] = (struct desc){ gpa(offset), (u32)length, (u16)((i + 1 < n) | (i >= outs) << 1), (u16)next };
		if (!length)
			continue;
		m->iov[m->n_out + m->n_in] = (struct iovec){ ram + offset, length };
		*(i < outs ? &m->n_out : &m->n_in) += 1;
		*(i < outs ? &m->out : &m->in) += length;
	}
	if (indirect)
		*desc(head) = (struct desc){ TABLES + head * 4096u, n * 16, 4, 0 };
}

static bool same_chain(const struct model *m, const struct vq_chain *c, u16 head)
{
	if (c->head != head || c->n_out != m->n_out || c->n_in != m->n_in || c->out != m->out || c->in != m->in)
		return false;
	for (u32 i = 0; i < m->n_out + m->n_in; i++)
		if (c->iov[i].iov_base != m->iov[i].iov_base || c->iov[i].iov_len != m->iov[i].iov_len)
			return false;
	return true;
}

static void test_rules(u64 features, const char *name)
{
	struct dma dma = make_dma();
	struct virtqueue q;
	struct iovec iov[8];
	struct vq_chain c = { .iov = iov };
	bool good = true;
	u32 served = 0;

	begin(&q, &dma, features);
	for (u32 round = 0; good && round < 70000; round++) {
		bool indirect = features >> VIRTIO_F_INDIRECT_DESC & rnd(2);
		u16 head = (u16)rnd(SIZE), before = used()[1];
		struct model m;

		make_chain(&m, head, indirect);
		offer(head);
		good = vq_waiting(&q) == 1 && vq_pop(&q, &c, 8) == 1 && same_chain(&m, &c, head) && vq_pop(&q, &c, 8) == 0;
		vq_push(&q, &c, m.in);
		good = good && used()[1] == (u16)(before + 1) && used_entry(before)[0] == head && used_entry(before)[1] == m.in;
		served++;
	}
	verdict(good && served == 70000 && !q.broken, name);
}

/* Several answers become visible together. */
static void test_batch(void)
{
	struct dma dma = make_dma();
	struct virtqueue q;
	struct iovec iov[8];
	struct vq_chain c = { .iov = iov };
	struct model m;
	bool good = true;

	begin(&q, &dma, 0);
	for (u16 i = 0; i < 5; i++) {
		make_chain(&m, (u16)(i * 8), false);
		offer((u16)(i * 8));
	}
	for (u16 i = 0; i < 5; i++) {
		good = good && vq_pop(&q, &c, 8) == 1;
		vq_fill(&q, &c, 0, i);
		good = good && used()[1] == 0;
	}
	vq_publish(&q, 5);
	good = good && used()[1] == 5;
	for (u16 i = 0; i < 5; i++)
		good = good && used_entry(i)[0] == i * 8u;
	verdict(good, "a batch is published at once");
}

/* Section 2.7.7.2's example of when to interrupt, against its own words. */
static void test_events(void)
{
	struct dma dma = make_dma();
	struct virtqueue q;
	struct iovec iov[8];
	struct vq_chain c = { .iov = iov };
	struct model m;
	bool good = true;

	begin(&q, &dma, BIT(VIRTIO_F_EVENT_IDX));
	make_chain(&m, 0, false);
	for (u32 i = 0; good && i < 200000; i++) {
		u16 old = used()[1], n = (u16)(1 + rnd(3)), event = (u16)(old - 3 + rnd(8));
		bool due = false;

		for (u16 k = 0; k < n; k++) {
			offer(0);
			good = good && vq_pop(&q, &c, 8) == 1;
			vq_push(&q, &c, 0);
			due |= (u16)(old + k) == event;
		}
		avail()[2 + SIZE] = event;
		/* The first answer after a start may interrupt anyway. */
		good = good && (vq_wants_interrupt(&q) == due || !i);
		good = good && !vq_listen(&q) && used()[2 + 4 * SIZE] == avail()[1];
	}
	verdict(good, "interrupts as the driver's event index asks");
	begin(&q, &dma, 0);
	good = !vq_wants_interrupt(&q); /* nothing was done */
	for (u16 k = 0; k < 2; k++) {
		offer(0);
		good = good && vq_pop(&q, &c, 8) == 1;
		vq_push(&q, &c, 0);
		avail()[0] = k;
		good = good && vq_wants_interrupt(&q) == !k && !vq_wants_interrupt(&q);
	}
	vq_deafen(&q);
	good = good && used()[0] == 1 && !vq_listen(&q) && used()[0] == 0;
	offer(0);
	verdict(good && vq_listen(&q), "interrupts and notifications by flags");
}

/* ---- a driver that does not ---- */

static const struct mistake {
	const char *name;
	struct desc at[3];     /* descriptors 0, 1, 2 */
	struct desc inner;     /* in the table at TABLES */
	u64 features;
	u16 head, ahead;       /* head offered; how far the index is ahead of that */
} mistakes[] = {
	{ "outside of memory", { { RAM_SIZE * 4ull, 16, 0, 0 } }, { 0 }, 0, 0, 0 },
	{ "across the end of low memory", { { RAM_LOW - 8, 16, 0, 0 } }, { 0 }, 0, 0, 0 },
	{ "across the end of all memory", { { DMA_HIGH + (RAM_SIZE - RAM_LOW) - 8, 16, 0, 0 } }, { 0 }, 0, 0, 0 },
	{ "an address that wraps around", { { ~0ull - 4, 16, 0, 0 } }, { 0 }, 0, 0, 0 },
	{ "a loop of one", { { 0x8000, 0, 1, 0 } }, { 0 }, 0, 0, 0 },
	{ "a loop of two", { { 0x8000, 0, 1, 1 }, { 0x8000, 0, 1, 0 } }, { 0 }, 0, 0, 0 },
	{ "a loop with data", { { 0x8000, 1, 1, 1 }, { 0x8000, 1, 1, 0 } }, { 0 }, 0, 0, 0 },
	{ "a next outside of the table", { { 0x8000, 1, 1, SIZE } }, { 0 }, 0, 0, 0 },
	{ "a head outside of the table", { { 0x8000, 1, 0, 0 } }, { 0 }, 0, SIZE, 0 },
	{ "an index ahead of the ring", { { 0x8000, 1, 0, 0 } }, { 0 }, 0, 0, SIZE },
	{ "a readable part after a writable one", { { 0x8000, 1, 3, 1 }, { 0x8000, 1, 0, 0 } }, { 0 }, 0, 0, 0 },
	{ "an indirect table that was not agreed on", { { TABLES, 16, 4, 0 } }, { 0x8000, 1, 0, 0 }, 0, 0, 0 },
	{ "an indirect table in an indirect table", { { TABLES, 16, 4, 0 } }, { TABLES, 16, 4, 0 }, BIT(VIRTIO_F_INDIRECT_DESC), 0, 0 },
	{ "an indirect table with a next", { { TABLES, 16, 5, 1 }, { 0x8000, 1, 0, 0 } }, { 0x8000, 1, 0, 0 }, BIT(VIRTIO_F_INDIRECT_DESC), 0, 0 },
	{ "an indirect table of no size", { { TABLES, 0, 4, 0 } }, { 0 }, BIT(VIRTIO_F_INDIRECT_DESC), 0, 0 },
	{ "an indirect table of an odd size", { { TABLES, 17, 4, 0 } }, { 0x8000, 1, 0, 0 }, BIT(VIRTIO_F_INDIRECT_DESC), 0, 0 },
	{ "an indirect table of 4 GiB", { { TABLES, 0xfffffff0, 4, 0 } }, { 0x8000, 1, 0, 0 }, BIT(VIRTIO_F_INDIRECT_DESC), 0, 0 },
	{ "an indirect table outside of memory", { { RAM_SIZE * 4ull, 16, 4, 0 } }, { 0 }, BIT(VIRTIO_F_INDIRECT_DESC), 0, 0 },
	{ "an indirect next outside of its table", { { TABLES, 16, 4, 0 } }, { 0x8000, 1, 1, 1 }, BIT(VIRTIO_F_INDIRECT_DESC), 0, 0 },
};

static void test_mistakes(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		const struct mistake *m = &mistakes[i];
		struct dma dma = make_dma();
		struct virtqueue q;
		struct iovec iov[8];
		struct vq_chain c = { .iov = iov };
		u16 before;
		bool good;

		begin(&q, &dma, m->features);
		memcpy(desc(0), m->at, sizeof m->at);
		memcpy(ram + TABLES, &m->inner, sizeof m->inner);
		offer(m->head);
		avail()[1] = (u16)(avail()[1] + m->ahead);
		before = used()[1];
		good = vq_pop(&q, &c, 8) < 0 && q.broken && q.why;
		/* Q2: nothing of the guest's is touched from now on. */
		vq_push(&q, &c, 0);
		good = good && used()[1] == before && vq_pop(&q, &c, 8) < 0 && !vq_wants_interrupt(&q) && !vq_listen(&q);
		verdict(good, m->name);
	}
}

static void test_setups(void)
{
	static const struct { const char *name; struct virtq_setup s; } bad[] = {
		{ "a queue of no size", { DESC, AVAIL, USED, 0, 1, 0, 0 } },
		{ "a queue of an odd size", { DESC, AVAIL, USED, 48, 1, 0, 0 } },
		{ "a queue that is too large", { DESC, AVAIL, USED, 2048, 1, 0, 0 } },
		{ "a table outside of memory", { RAM_SIZE * 8ull, AVAIL, USED, SIZE, 1, 0, 0 } },
		{ "a ring outside of memory", { DESC, RAM_LOW - 16, USED, SIZE, 1, 0, 0 } },
		{ "a used ring outside of memory", { DESC, AVAIL, ~0ull - 3, SIZE, 1, 0, 0 } },
		{ "a table out of line", { DESC + 8, AVAIL, USED, SIZE, 1, 0, 0 } },
		{ "a used ring out of line", { DESC, AVAIL, USED + 2, SIZE, 1, 0, 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct dma dma = make_dma();
		struct virtqueue q;

		verdict(vq_start(&q, &dma, &bad[i].s, 0) < 0 && q.broken && !vq_waiting(&q), bad[i].name);
	}
}

/* Random bytes everywhere: whatever comes out lies in RAM, and every call ends. */
static void test_garbage(void)
{
	u64 popped = 0, broken = 0;
	bool good = true;

	for (int round = 0; good && round < 20000; round++) {
		struct dma dma = make_dma();
		struct virtqueue q;
		struct iovec iov[64];
		struct vq_chain c = { .iov = iov };

		begin(&q, &dma, rnd(4) << VIRTIO_F_INDIRECT_DESC);
		for (u32 i = 0; i < SIZE; i++) {
			*desc(i) = (struct desc){ rnd(3) ? gpa(rnd(RAM_SIZE)) : TABLES + 16 * rnd(64), (u32)(rnd(10) ? rnd(600) : rnd(~0u)),
				(u16)(rnd(5) ? rnd(4) : rnd(8)), (u16)rnd(SIZE + (rnd(20) == 0)) };
			avail()[2 + i] = (u16)rnd(SIZE + (rnd(40) == 0));
		}
		for (u32 i = 0; i < 64; i++)
			((struct desc *)(void *)(ram + TABLES))[i] = *desc((u32)rnd(SIZE));
		avail()[1] = (u16)rnd(SIZE + 1);
		while (good && vq_pop(&q, &c, 64) > 0) {
			u64 sum = 0;

			popped++;
			for (u32 i = 0; i < c.n_out + c.n_in; i++) {
				u64 at = (u64)((u8 *)iov[i].iov_base - ram);

				good = good && iov[i].iov_len && at < RAM_SIZE && iov[i].iov_len <= RAM_SIZE - at;
				sum += iov[i].iov_len;
			}
			good = good && sum == c.out + c.in && c.n_out + c.n_in <= 64;
			vq_push(&q, &c, rnd(2) ? c.in : 0);
		}
		broken += q.broken;
	}
	verdict(good && popped > 10000 && broken > 1000 && broken < 20000, "random rings");
}

/* ---- what was written ---- */

static u32 cleaned[PAGES], n_cleaned;
static u16 used_when_cleaned;

static void clean(void *opaque, const u32 *frames, u32 n)
{
	(void)opaque;
	for (u32 i = 0; i < n && n_cleaned < PAGES; i++)
		cleaned[n_cleaned++] = frames[i];
	used_when_cleaned = used()[1];
}

static void test_writes(void)
{
	struct dma dma = make_dma();
	struct virtqueue q;
	struct iovec iov[8];
	struct vq_chain c = { .iov = iov };
	u32 frame = 0x50, high = (RAM_LOW >> 12) + 7;
	bool good;

	dma.flags = flags;
	dma.dirty = dirty;
	dma.clean = clean;
	begin(&q, &dma, 0);
	flags[frame + 1] = flags[high] = 1;
	*desc(0) = (struct desc){ (frame << 12) + 4000, 200, 3, 1 };  /* two pages */
	*desc(1) = (struct desc){ gpa((u64)high << 12), 50, 3, 2 };
	*desc(2) = (struct desc){ 0x60000, 10, 2, 0 };
	offer(0);
	good = vq_pop(&q, &c, 8) == 1;
	vq_push(&q, &c, 240); /* the last part is not reached */
	verdict(good && n_cleaned == 2 && cleaned[0] == frame + 1 && cleaned[1] == high, "pages with code are reported");
	verdict(used_when_cleaned == 0 && used()[1] == 1, "and cleaned before the driver can know");
	good = true;
	for (u32 f = 0; f < PAGES; f++) {
		bool is = dirty[f / 64] >> f % 64 & 1, should = f == frame || f == frame + 1 || f == high || f == USED >> 12;

		good = good && is == should;
	}
	verdict(good, "exactly what was written is dirty");
	n_cleaned = 0;
	for (u32 f = 0; f < PAGES; f++)
		flags[f] = 1;
	dma_wrote(&dma, ram, RAM_SIZE);
	dma_settle(&dma);
	verdict(n_cleaned == PAGES && !dma.n_touched, "more pages than one report holds");
}

static void test_parts(void)
{
	u8 a[100], b[300], out[300];
	struct iovec iov[12], part[12];
	bool good = true;

	for (int round = 0; good && round < 20000; round++) {
		u64 at = 0, size = 0, from, n;
		u32 count = 0, parts;

		for (; count < 12 && size < 280; count++) {
			u64 length = 1 + rnd(MIN(40, 300 - (int)size));

			iov[count] = (struct iovec){ b + size, length };
			size += length;
		}
		from = rnd(size);
		n = 1 + rnd(size - from);
		for (u64 i = 0; i < 300; i++)
			b[i] = (u8)rnd(256);
		good = iov_get(iov, count, from, out, n) == n && !memcmp(out, b + from, n);
		parts = iov_slice(iov, count, from, n, part);
		for (u32 i = 0; i < parts; i++) {
			good = good && part[i].iov_base == b + from + at;
			at += part[i].iov_len;
		}
		good = good && at == n;
		memset(a, 0x5a, sizeof a);
		n = MIN(n, (u64)sizeof a);
		good = good && iov_put(iov, count, from, a, n) == n && !memcmp(b + from, a, n);
		good = good && iov_get(iov, count, size, out, 10) == 0;
	}
	verdict(good, "parts of a chain");
}

/* ---- a device that is killed at any instruction (Q4) ---- */

#define HELD 16

/* Takes requests and answers them in any order; with `record` NULL in the order in which they came. */
static _Noreturn void serve_for_ever(struct vq_record *record, u32 life)
{
	struct virtq_setup s = { .desc = DESC, .driver = AVAIL, .device = USED, .size = SIZE, .enabled = 1 };
	struct dma dma = make_dma();
	static struct iovec iov[HELD][8];
	static struct vq_chain c[HELD];
	struct virtqueue q;
	u32 held = 0;

	seed += life;
	if (life ? vq_resume(&q, &dma, &s, 0, record, 1) : vq_start_recorded(&q, &dma, &s, 0, record, 1))
		_exit(1);
	for (;;) {
		u32 i;

		c[held].iov = iov[held];
		if (held < HELD - 1 && vq_pop(&q, &c[held], 8) > 0) {
			held++;
			continue;
		}
		if (q.broken)
			_exit(1);
		if (!held)
			continue;
		i = record ? (u32)rnd(held) : 0;
		++*(u32 *)c[i].iov[1].iov_base; /* times served */
		if (rnd(2)) {
			vq_push(&q, &c[i], 4);
		} else {
			vq_fill(&q, &c[i], 4, 0);
			vq_publish(&q, 1);
		}
		/* The parts move with their chain. */
		for (u32 k = i; k + 1 < held; k++) {
			memcpy(iov[k], iov[k + 1], sizeof iov[k]);
			c[k] = c[k + 1];
			c[k].iov = iov[k];
		}
		held--;
	}
}

/* The moments that chance hardly finds. */
static void test_moments(void)
{
	static struct vq_record record, before;
	struct virtq_setup s = { .desc = DESC, .driver = AVAIL, .device = USED, .size = SIZE, .enabled = 1 };
	struct dma dma = make_dma();
	struct virtqueue q;
	struct iovec iov[8];
	struct vq_chain c = { .iov = iov };

	memset(ram, 0, 0x8000);
	vq_start_recorded(&q, &dma, &s, 0, &record, 7);
	for (u16 head = 10; head < 14; head++) {
		*desc(head) = (struct desc){ 0x20000, 4, 2, 0 };
		offer(head);
	}
	vq_pop(&q, &c, 8);
	vq_pop(&q, &c, 8);
	before = record;
	vq_push(&q, &c, 0);
	record = before;
	vq_resume(&q, &dma, &s, 0, &record, 7);
	verdict(vq_pop(&q, &c, 8) == 1 && c.head == 10 && vq_pop(&q, &c, 8) == 1 && c.head == 12,
		"an answer that was shown and not noted is not given again");
	record.next_avail--;
	vq_resume(&q, &dma, &s, 0, &record, 7);
	verdict(vq_pop(&q, &c, 8) == 1 && c.head == 10 && vq_pop(&q, &c, 8) == 1 && c.head == 12 && vq_pop(&q, &c, 8) == 1 &&
		c.head == 13 && vq_pop(&q, &c, 8) == 0, "a request that was noted and not passed over is taken once");
	vq_resume(&q, &dma, &s, 0, &record, 8);
	verdict(vq_pop(&q, &c, 8) == 1 && c.head == 10 && vq_pop(&q, &c, 8) == 1 && c.head == 11, "the record of another start is not believed");
	used()[1] = 5000;
	vq_resume(&q, &dma, &s, 0, &record, 8);
	verdict(vq_pop(&q, &c, 8) == 1 && c.head == 10 && q.next_used == 0, "nor is a used index that cannot be");
}

static void test_deaths(bool recorded, const char *name)
{
	struct vq_record *record = mmap(NULL, sizeof *record, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool busy[SIZE] = { 0 }, good = record != MAP_FAILED;
	u32 done = 0, sent = 0, lives = 80, again = 0;
	u16 seen = 0;

	memset(ram, 0, 0x8000);
	for (u32 life = 0; good && life < lives; life++) {
		bool last = life == lives - 1; /* all that was sent is answered at last */
		u32 wanted = last ? sent : done + (u32)rnd(200), status;
		pid_t pid = fork();

		if (pid < 0)
			exit(1); /* kill(-1) would be for everybody */
		if (!pid)
			serve_for_ever(recorded ? record : NULL, life);
		for (time_t end = time(NULL) + 20; good && done < wanted && time(NULL) < end;) {
			for (u32 i = 0; i < SIZE / 2; i++) {
				volatile u32 *times = (volatile u32 *)(volatile void *)(ram + 0x20000 + i * 16);

				if (last || busy[i] || rnd(2))
					continue;
				*times = 0;
				*desc(2 * i) = (struct desc){ 0x30000, 8, 1, (u16)(2 * i + 1) };
				*desc(2 * i + 1) = (struct desc){ 0x20000 + i * 16, 4, 2, 0 };
				busy[i] = true;
				avail()[2 + avail()[1] % SIZE] = (u16)(2 * i);
				__atomic_store_n(&avail()[1], (u16)(avail()[1] + 1), __ATOMIC_RELEASE);
				sent++;
			}
			while (good && seen != __atomic_load_n(&used()[1], __ATOMIC_ACQUIRE)) {
				u32 head = used_entry(seen++)[0];

				good = head < SIZE && head % 2 == 0 && busy[head / 2] && *(u32 *)(void *)(ram + 0x20000 + head * 8) >= 1;
				again += good && *(u32 *)(void *)(ram + 0x20000 + head * 8) > 1;
				busy[head % SIZE / 2] = false;
				done++;
			}
		}
		good = good && done >= wanted && !kill(pid, SIGKILL) && waitpid(pid, (int *)&status, 0) == pid && WIFSIGNALED(status);
	}
	printf("# %u requests, %u lives, %u served more than once\n", done, lives, again);
	verdict(good, name);
	munmap(record, sizeof *record);
}

int main(void)
{
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		return 1;
	test_rules(0, "plain rings");
	test_rules(BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX), "indirect tables");
	test_batch();
	test_events();
	test_mistakes();
	test_setups();
	test_garbage();
	test_writes();
	test_parts();
	test_moments();
	test_deaths(true, "a device that is killed anywhere answers each request, in any order");
	test_deaths(false, "and in the order of the ring");
	return failures != 0;
}
