/* SPDX-License-Identifier: MIT
 * A device's process for real: it serves a queue, stops, goes on from the state that was saved, is reset, is told of
 * mistakes, and dies. The random number device stands for all.
 *
 * NOSAN
 * WITH: base/err.c base/jail.c base/fields.c device/pci.c device/virtio_pci.c device/virtio_state.c device/worker.c
 * WITH: device/keeper.c device/virtqueue.c device/dma.c device/rng.c
 * LIBS: -lpthread */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fields.h"
#include "device/devices.h"

#define RAM_SIZE (1u << 20)
#define QSIZE 16u
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define BUFFER 0x10000u

static u8 *ram;
static int failures;
static struct pci_bus bus;

static void verdict(bool good, const char *name)
{
	printf("%sok - %s\n", good ? "" : "not ", name);
	fflush(stdout);
	failures += !good;
}

static void set_irq(void *opaque, unsigned line, bool level) { (void)opaque, (void)line, (void)level; }
static void set_bell(void *opaque, unsigned slot, u64 gpa, u32 n) { (void)opaque, (void)slot, (void)gpa, (void)n; }
static const struct pci_host host = { set_irq, NULL, set_bell, NULL, { 10, 11, 5, 7 } };

static u16 *avail(void) { return (u16 *)(void *)(ram + AVAIL); }
static volatile u16 *used(void) { return (volatile u16 *)(volatile void *)(ram + USED); }

static struct virtio_device *make(void)
{
	struct virtio_device *d = calloc(1, sizeof *d);
	struct worker_plan plan = { .name = "rng", .class = &virtio_rng.worker, .n_queues = 1 };
	struct err e = { 0 };

	if (!d)
		exit(1);
	pci_bus_init(&bus, &host);
	d->class = &virtio_rng;
	plan.dma = (struct dma){ .ram = ram, .size = RAM_SIZE, .low = RAM_SIZE };
	if (virtio_rng.create(d, NULL, &e) || virtio_pci_attach(d, &bus, &e) || worker_fork(&d->worker, &plan, &e))
		exit(1);
	return d;
}

/* Waits for a message, up to ten seconds, and passes it to the registers. */
static u32 hear(struct virtio_device *d)
{
	struct pollfd p = { d->worker.control, POLLIN, 0 };
	struct control c;
	struct err e = { 0 };

	if (poll(&p, 1, 10000) != 1 || worker_receive(&d->worker, &c) != 1)
		return ~0u;
	virtio_control_locked(d, &c, &e);
	return c.kind;
}

static void put(struct virtio_device *d, u32 offset, int size, u64 v)
{
	d->pci.ops->write(&d->pci, 0, offset, size, v);
}

static void start(struct virtio_device *d)
{
	memset(ram, 0, 0x8000);
	put(d, 20, 1, 3);
	put(d, 8, 4, 1);
	put(d, 12, 4, 1);
	put(d, 20, 1, 11);
	put(d, 24, 2, QSIZE);
	put(d, 32, 4, DESC);
	put(d, 40, 4, AVAIL);
	put(d, 48, 4, USED);
	put(d, 28, 2, 1);
	put(d, 20, 1, 15);
}

/* One request for n bytes; whether it was answered. */
static bool ask(struct virtio_device *d, u32 n, u64 address)
{
	struct pollfd p = { d->worker.call, POLLIN, 0 };
	u16 before = used()[1];
	u64 one = 1, count;

	*(u64 *)(void *)(ram + DESC) = address;
	*(u32 *)(void *)(ram + DESC + 8) = n;
	*(u16 *)(void *)(ram + DESC + 12) = 2;
	memset(ram + BUFFER, 0, n);
	avail()[2 + avail()[1] % QSIZE] = 0;
	__atomic_store_n(&avail()[1], (u16)(avail()[1] + 1), __ATOMIC_RELEASE);
	if (write(d->worker.bell, &one, 8) != 8 || poll(&p, 1, 10000) != 1 || read(d->worker.call, &count, 8) != 8)
		return false;
	return atomic_exchange(&d->worker.page->irq, 0) == 1 && used()[1] == (u16)(before + 1);
}

static bool random_bytes(u32 n)
{
	u32 zeros = 0;

	for (u32 i = 0; i < n; i++)
		zeros += !ram[BUFFER + i];
	return zeros < n / 4; /* as good as never by chance */
}

static void finish(struct virtio_device *d)
{
	worker_close(&d->worker);
	pci_bus_destroy(&bus);
	free(d);
}

static void test_state(void)
{
	struct virtio_device *a = make(), *b;
	static u8 record[VIRTIO_RECORD_MAX], again[VIRTIO_RECORD_MAX];
	struct err e = { 0 };
	u16 answered;
	size_t n;
	FILE *null = fopen("/dev/null", "w");

	start(a);
	for (int i = 0; i < 21; i++) /* beyond one turn of the ring */
		if (!ask(a, 100, BUFFER))
			exit(1);
	verdict(random_bytes(100), "a worker answers");
	virtio_stop_locked(a);
	verdict(hear(a) == CONTROL_STOPPED && a->stopped && a->queue[0].next_avail == 21 && a->queue[0].next_used == 21,
		"it stops and says where it stands");
	n = virtio_save_locked(a, record);
	virtio_dump_locked(a, null);
	answered = used()[1];
	finish(a);
	b = make();
	verdict(!virtio_load_locked(b, record, n, &e) && virtio_save_locked(b, again) == n && !memcmp(record, again, n),
		"what was saved is loaded, and the same when saved again");
	virtio_resume_locked(b);
	verdict(ask(b, 64, BUFFER) && random_bytes(64) && used()[1] == (u16)(answered + 1), "another one goes on from there");
	record[20] ^= 1;
	verdict(virtio_load_locked(b, record, n, &e) == -22 && strstr(e.text, "another device"), "the state of another device is refused");
	record[20] ^= 1;
	verdict(virtio_load_locked(b, record, n - 1, &(struct err){ 0 }) == -22, "a record that is cut short is refused");
	for (int i = 0; i < 20000; i++) { /* whatever it holds, it does no harm */
		memcpy(again, record, n);
		for (int k = 0; k < 3; k++)
			again[29 + (u32)rand() % (n - 29)] = (u8)rand();
		virtio_load_locked(b, again, n, &(struct err){ 0 });
		b->pci.ops->read(&b->pci, 0, (u32)rand() % 0x3000, 4);
	}
	finish(b);
	fclose(null);
}

static void test_life(void)
{
	struct virtio_device *d = make();
	u64 mistakes;

	start(d);
	mistakes = !ask(d, 32, BUFFER);
	put(d, 20, 1, 0);
	mistakes += d->state.status != 15;
	verdict(hear(d) == CONTROL_RESET_DONE && !d->state.status && !mistakes, "a reset");
	start(d);
	verdict(ask(d, 32, BUFFER) && random_bytes(32), "and a start after it");
	avail()[1] = (u16)(avail()[1] + 1);
	*(u64 *)(void *)(ram + DESC) = RAM_SIZE - 8;
	mistakes = 1;
	if (write(d->worker.bell, &mistakes, 8) != 8)
		exit(1);
	verdict(hear(d) == CONTROL_BROKEN && d->state.status == (15 | 64), "a mistake of the driver's asks for a reset");
	put(d, 20, 1, 0);
	verdict(hear(d) == CONTROL_RESET_DONE, "which helps");
	start(d);
	verdict(ask(d, 32, BUFFER), "again");
	finish(d);
}

/* The process that serves: the keeper's child, once there is one. */
static pid_t server(const struct worker_handle *h)
{
	char path[64];
	int pid = 0;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", h->pid, h->pid);
	for (int i = 0; i < 10000 && pid <= 1; i++) {
		FILE *f = fopen(path, "r");

		if (f && fscanf(f, "%d", &pid) != 1)
			pid = 0;
		if (f)
			fclose(f);
		if (pid <= 1)
			usleep(1000);
	}
	return pid;
}

/* kill() of 0 and -1 would be for whole crowds. */
static bool end(pid_t pid, int signal)
{
	if (pid <= 1) {
		verdict(false, "there is a process to end");
		exit(1);
	}
	return !kill(pid, signal);
}

/* Whoever inherits a process may take a while to collect it. */
static bool is_gone(pid_t pid)
{
	for (int i = 0; i < 10000 && end(pid, 0); i++)
		usleep(1000);
	return !end(pid, 0);
}

static void test_deaths(void)
{
	struct virtio_device *d = make();
	bool good = true;
	pid_t last;

	start(d);
	for (int i = 0; i < 40 && good; i++) { /* beyond one turn of the ring */
		good = ask(d, 32, BUFFER) && random_bytes(32);
		/* It dies between noting an interrupt and telling of it. */
		d->state.isr = 0;
		atomic_store(&d->worker.page->irq, 1);
		good = good && end(server(&d->worker), SIGKILL) && hear(d) == CONTROL_DIED && d->state.status == 15 && d->state.isr == 1;
	}
	verdict(good, "one that is killed has a successor, which goes on");
	last = server(&d->worker);
	end(last, SIGKILL);
	put(d, 20, 1, 0);
	verdict(hear(d) == CONTROL_DIED && !d->state.status, "its death is a reset that was under way");
	start(d);
	verdict(ask(d, 32, BUFFER) && random_bytes(32), "after which the successor starts");
	virtio_stop_locked(d);
	end(server(&d->worker), SIGKILL);
	/* It may have stopped before it was killed: both are told, in either order. */
	for (u32 kind = 0, died = 0; kind != ~0u && !(d->stopped && died); died |= kind == CONTROL_DIED)
		kind = hear(d);
	verdict(d->stopped && d->queue[0].next_used == 1, "a device that is to stop does so whoever is killed");
	virtio_resume_locked(d);
	verdict(ask(d, 32, BUFFER) && used()[1] == 2, "and goes on");
	end(server(&d->worker), SIGABRT);
	verdict(hear(d) == ~0u, "one that ends in another way has none");
	finish(d);
	d = make();
	start(d);
	last = server(&d->worker);
	end(d->worker.pid, SIGKILL);
	verdict(hear(d) == ~0u && is_gone(last), "with the keeper the one that serves is gone");
	finish(d);
}

/* What is denied to a worker: it dies of it. */
static void bad_serve(struct worker *w, u32 q)
{
	(void)w, (void)q;
	syscall(SYS_socket, 2, 1, 0);
}

static void test_filter(void)
{
	static const struct worker_class bad = { .serve = bad_serve };
	struct worker_plan plan = { .name = "bad", .class = &bad, .n_queues = 1 };
	struct control c = { .kind = CONTROL_START, .n = 1, .features = 1ull << 32 };
	struct worker_handle h;
	struct err e = { 0 };
	int status = 0;

	plan.dma = (struct dma){ .ram = ram, .size = RAM_SIZE, .low = RAM_SIZE };
	c.queue[0] = (struct virtq_setup){ .desc = DESC, .driver = AVAIL, .device = USED, .size = QSIZE, .enabled = 1 };
	if (worker_fork(&h, &plan, &e) || worker_send(&h, &c))
		exit(1);
	verdict(waitpid(h.pid, &status, 0) == h.pid && WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGSYS, "a forbidden system call");
	h.pid = -1;
	worker_close(&h);
}

int main(void)
{
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		return 1;
	test_state();
	test_life();
	test_deaths();
	test_filter();
	return failures != 0;
}
