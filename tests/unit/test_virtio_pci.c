/* SPDX-License-Identifier: MIT
 * PCI and the registers of a virtio device, as a driver sees them; the test itself is the device's worker.
 *
 * WITH: base/err.c base/jail.c device/pci.c device/virtio_pci.c device/worker.c
 * WITH: device/keeper.c device/virtqueue.c device/dma.c
 * LIBS: -lpthread */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device/virtio.h"

static int failures;
static u64 seed = 0x2545f4914f6cdd1dull;

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

/* ---- what the bus tells its host ---- */

static u32 lines, messages, last_data;
static u64 last_address, bell[PCI_SLOTS];

static void set_irq(void *opaque, unsigned line, bool level)
{
	(void)opaque;
	lines = level ? lines | 1u << line : lines & ~(1u << line);
}

static void raise_msi(void *opaque, u64 address, u32 data)
{
	(void)opaque;
	messages++;
	last_address = address;
	last_data = data;
}

static void set_bell(void *opaque, unsigned slot, u64 gpa, u32 n)
{
	(void)opaque, (void)n;
	bell[slot] = gpa;
}

static const struct pci_host host = { set_irq, raise_msi, set_bell, NULL, { 10, 11, 5, 7 } };

/* ---- a device whose worker is this test ---- */

static const struct virtio_class class = { .name = "test", .id = 4, .pci_class = 0x00ff00 };
static struct pci_bus bus;
static struct virtio_device *dev;
static int worker_end;

static void make_device(void)
{
	struct err e = { 0 };
	int pair[2];

	lines = messages = 0;
	pci_bus_init(&bus, &host);
	dev = calloc(1, sizeof *dev);
	if (!dev || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		exit(1);
	dev->class = &class;
	dev->n_queues = 3;
	dev->queue_size = 256;
	dev->features = BIT(5);
	dev->config_size = 20;
	memset(dev->state.config, 0x11, 20);
	dev->config_writable[4] = 0x0f;
	dev->worker = (struct worker_handle){ .pid = -1, .control = pair[0], .bell = eventfd(0, EFD_NONBLOCK), .call = -1 };
	worker_end = pair[1];
	if (virtio_pci_attach(dev, &bus, &e))
		exit(1);
}

static void free_device(void)
{
	if (worker_end >= 0)
		close(worker_end);
	close(dev->worker.control);
	close(dev->worker.bell);
	free(dev);
	pci_bus_destroy(&bus);
}

static bool message(struct control *c)
{
	return recv(worker_end, c, sizeof *c, MSG_DONTWAIT) == sizeof *c;
}

static void from_worker(u32 kind)
{
	struct control c = { .kind = kind };
	struct err e = { 0 };

	pthread_mutex_lock(&bus.lock);
	virtio_control_locked(dev, &c, &e);
	pthread_mutex_unlock(&bus.lock);
}

static void served(u64 queues)
{
	pthread_mutex_lock(&bus.lock);
	virtio_interrupt_locked(dev, queues);
	pthread_mutex_unlock(&bus.lock);
}

/* ---- the driver ---- */

static u32 config(u32 offset, int size)
{
	u32 v = 0;

	pci_bus_config(&bus, 0x80000000u | 1 << 11 | offset, size, false, &v);
	return v;
}

static void set_config(u32 offset, int size, u32 v)
{
	pci_bus_config(&bus, 0x80000000u | 1 << 11 | offset, size, true, &v);
}

static u64 base;

static u32 get(u32 offset, int size)
{
	u64 v = 0;

	pci_bus_memory(&bus, base + offset, size, false, &v);
	return (u32)(v & ~0ull >> (64 - 8 * size));
}

static void put(u32 offset, int size, u64 v)
{
	pci_bus_memory(&bus, base + offset, size, true, &v);
}

/* Offsets of common configuration in BAR 0 (virtio 1.2 section 4.1.4.3). */
enum { DEVICE_SELECT = 0, DEVICE_FEATURE = 4, DRIVER_SELECT = 8, DRIVER_FEATURE = 12, CONFIG_VECTOR = 16, QUEUES = 18,
       STATUS = 20, GENERATION = 21, SELECT = 22, SIZE = 24, VECTOR = 26, ENABLE = 28, NOTIFY_OFF = 30, DESC = 32 };

static void switch_on(void)
{
	set_config(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	base = config(PCI_BAR0, 4) & ~15u;
}

static void negotiate(u64 features)
{
	put(STATUS, 1, 0);
	put(STATUS, 1, 3);
	for (u32 i = 0; i < 2; i++) {
		put(DRIVER_SELECT, 4, i);
		put(DRIVER_FEATURE, 4, (u32)(features >> 32 * i));
	}
	put(STATUS, 1, 11);
}

static void run_it(void)
{
	negotiate(BIT(VIRTIO_F_VERSION_1));
	put(SELECT, 2, 1);
	put(SIZE, 2, 64);
	put(VECTOR, 2, 1);
	put(DESC, 4, 0x1000);
	put(DESC + 4, 4, 1);
	put(DESC + 8, 8, 0x200002000ull);
	put(DESC + 16, 8, 0x300003000ull);
	put(ENABLE, 2, 1);
	put(STATUS, 1, 15);
}

static void test_space(void)
{
	u32 at, caps = 0, v = 0;
	bool good;

	make_device();
	pci_bus_config(&bus, 0x80000000u, 4, false, &v);
	verdict(v == 0x00081b36, "a host bridge");
	pci_bus_config(&bus, 0x80000000u | 2 << 11, 4, false, &v);
	verdict(v == 0xffffffff, "an empty slot");
	verdict(config(PCI_VENDOR, 4) == 0x10441af4 && config(PCI_CLASS, 1) == 0 && config(PCI_CLASS + 2, 1) == 0 &&
		config(PCI_INTERRUPT_PIN, 1) == 1 && config(PCI_INTERRUPT_LINE, 1) == 11, "identity");
	for (at = config(PCI_CAPABILITIES, 1); at && caps < 20; at = config(at + 1, 1))
		caps++;
	verdict(caps == 6 && config(PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES, "a list of capabilities");
	set_config(PCI_BAR0, 4, ~0u);
	good = config(PCI_BAR0, 4) == 0xffffc000;
	set_config(PCI_BAR0, 4, 0xc8000000);
	good = good && config(PCI_BAR0, 4) == 0xc8000000 && !bell[1];
	set_config(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	good = good && bell[1] == 0xc8003000;
	set_config(PCI_BAR0, 4, 0xc9000000);
	good = good && bell[1] == 0xc9003000;
	base = 0xc8000000;
	good = good && get(STATUS, 1) == 0xff;
	base = 0xc9000000;
	good = good && get(STATUS, 1) == 0 && get(QUEUES, 2) == 3;
	set_config(PCI_COMMAND, 2, 0);
	verdict(good && !bell[1] && get(QUEUES, 2) == 0xffff, "a BAR is where it was put, and nowhere else");
	set_config(PCI_VENDOR, 4, 0);
	verdict(config(PCI_VENDOR, 4) == 0x10441af4, "identity is read-only");
	u64 wide = 0;

	verdict(pci_bus_memory(&bus, PCI_ECAM + (1 << 15), 4, false, &wide) && (u32)wide == 0x10441af4, "the same as memory");
	free_device();
}

static void test_status(void)
{
	struct control c;
	bool good;

	make_device();
	switch_on();
	negotiate(BIT(VIRTIO_F_VERSION_1) | BIT(40));
	verdict(!(get(STATUS, 1) & 8), "a feature that was not offered is refused");
	negotiate(BIT(5));
	verdict(!(get(STATUS, 1) & 8), "a driver of the time before 1.0 is refused");
	negotiate(BIT(VIRTIO_F_VERSION_1) | BIT(5));
	good = get(STATUS, 1) == 11;
	put(DRIVER_SELECT, 4, 0);
	put(DRIVER_FEATURE, 4, 0);
	verdict(good && get(DRIVER_FEATURE, 4) == BIT(5), "features stand once they are agreed on");
	put(STATUS, 1, 0);
	put(STATUS, 1, 4);
	verdict(!(get(STATUS, 1) & 4) && !message(&c), "no start without features");
	run_it();
	verdict(get(STATUS, 1) == 15 && message(&c) && c.kind == CONTROL_START && c.n == 3 && !c.queue[0].enabled &&
		c.queue[1].enabled && c.queue[1].size == 64 && c.queue[1].desc == 0x100001000 &&
		c.queue[1].driver == 0x200002000 && c.queue[1].device == 0x300003000 && !c.queue[2].enabled, "a start says where the queues are");
	put(SELECT, 2, 1);
	put(SIZE, 2, 32);
	put(DESC, 4, 0x5000);
	verdict(get(SIZE, 2) == 64 && get(DESC, 4) == 0x1000, "a queue in use is not moved");
	put(SELECT, 2, 9);
	put(SIZE, 2, 32);
	put(ENABLE, 2, 1);
	verdict(get(SIZE, 2) == 0 && get(VECTOR, 2) == 0xffff, "a queue that is not there");
	put(STATUS, 1, 0);
	good = get(STATUS, 1) == 15 && message(&c) && c.kind == CONTROL_RESET;
	put(STATUS, 1, 0);
	good = good && !message(&c);
	from_worker(CONTROL_RESET_DONE);
	put(SELECT, 2, 1);
	verdict(good && get(STATUS, 1) == 0 && get(SIZE, 2) == 256 && !get(ENABLE, 2) && get(VECTOR, 2) == 0xffff,
		"a reset is done when the worker has done it");
	run_it();
	message(&c);
	from_worker(CONTROL_BROKEN);
	good = get(STATUS, 1) == (15 | 64);
	put(STATUS, 1, 0);
	from_worker(CONTROL_RESET_DONE);
	verdict(good && get(STATUS, 1) == 0, "a mistake asks for a reset");
	run_it();
	close(worker_end);
	worker_end = -1;
	pthread_mutex_lock(&bus.lock);
	virtio_gone_locked(dev);
	pthread_mutex_unlock(&bus.lock);
	good = get(STATUS, 1) == (15 | 64);
	run_it();
	verdict(good && get(STATUS, 1) == 3, "without a worker it is not set up again");
	free_device();
}

static void msix_entry(u32 n, u64 address, u32 data, u32 masked)
{
	u64 table = config(PCI_BAR0 + 4, 4) & ~15u, at = table + 16 * n, v = address;

	pci_bus_memory(&bus, at, 8, true, &v);
	v = data | (u64)masked << 32;
	pci_bus_memory(&bus, at + 8, 8, true, &v);
}

static u32 msix_pending(void)
{
	u64 v = 0;

	pci_bus_memory(&bus, (config(PCI_BAR0 + 4, 4) & ~15u) + 0x800, 4, false, &v);
	return (u32)v;
}

static void test_interrupts(void)
{
	struct control c;
	u32 cap;
	bool good;

	make_device();
	switch_on();
	run_it();
	served(2);
	good = lines == 1u << 11 && (config(PCI_STATUS, 1) & PCI_STATUS_INTX) && !messages;
	set_config(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_NO_INTX);
	good = good && !lines;
	set_config(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	good = good && lines;
	verdict(good && get(0x2000, 1) == 1 && !lines && get(0x2000, 1) == 0, "a line, until the cause was read");
	for (cap = config(PCI_CAPABILITIES, 1); config(cap, 1) != PCI_CAP_MSIX;)
		cap = config(cap + 1, 1);
	verdict((config(cap + 2, 2) & 0x7ff) == 3, "a vector a queue, and one");
	set_config(cap + 2, 2, 0x8000);
	msix_entry(1, 0xfee00000, 0x41, 0);
	served(2);
	verdict(messages == 1 && last_address == 0xfee00000 && last_data == 0x41 && !lines, "a message");
	msix_entry(1, 0xfee00000, 0x42, 1);
	served(2);
	good = messages == 1 && msix_pending() == 2;
	msix_entry(1, 0xfee01000, 0x43, 0);
	verdict(good && messages == 2 && last_data == 0x43 && last_address == 0xfee01000 && !msix_pending(), "a masked one waits");
	set_config(cap + 2, 2, 0xc000);
	served(2);
	good = messages == 2 && msix_pending() == 2;
	set_config(cap + 2, 2, 0x8000);
	verdict(good && messages == 3, "all masked");
	served(5); /* without vectors */
	good = messages == 3;
	put(CONFIG_VECTOR, 2, 0);
	msix_entry(0, 0xfee00000, 0x50, 0);
	message(&c);
	c = (struct control){ .kind = CONTROL_CONFIG_CHANGED };
	c.config[0] = 0x77;
	pthread_mutex_lock(&bus.lock);
	virtio_control_locked(dev, &c, &(struct err){ 0 });
	pthread_mutex_unlock(&bus.lock);
	verdict(good && messages == 4 && last_data == 0x50 && get(0x1000, 1) == 0x77 && get(GENERATION, 1) == 1, "a change of configuration");
	put(VECTOR, 2, 77);
	put(CONFIG_VECTOR, 2, 77);
	verdict(get(CONFIG_VECTOR, 2) == 0xffff, "a vector that is not there");
	free_device();
}

static void test_rest(void)
{
	struct control c;
	u64 count = 0;
	u32 cap;
	bool good;

	make_device();
	switch_on();
	run_it();
	message(&c);
	put(0x3004, 2, 1);
	verdict(read(dev->worker.bell, &count, 8) == 8 && count == 1, "a notification rings the bell");
	put(0x1004, 4, 0xffffffff);
	good = get(0x1004, 4) == 0x1111111f && message(&c) && c.kind == CONTROL_CONFIG && c.config[4] == 0x1f;
	put(0x1000, 4, 0);
	verdict(good && !message(&c) && get(0x1000, 4) == 0x11111111 && get(0x1013, 4) == 0x11, "configuration: what may be written");
	for (cap = config(PCI_CAPABILITIES, 1); config(cap, 1) != PCI_CAP_VENDOR || config(cap + 3, 1) != 5;)
		cap = config(cap + 1, 1);
	set_config(cap + 8, 4, QUEUES);
	set_config(cap + 12, 4, 2);
	good = config(cap + 16, 2) == 3;
	set_config(cap + 8, 4, SELECT);
	set_config(cap + 16, 4, 2);
	good = good && get(SELECT, 2) == 2;
	set_config(cap + 8, 4, 0xfffffff0);
	set_config(cap + 12, 4, 0xffffffff);
	verdict(good && config(cap + 16, 4) != 12345, "the window in configuration space");
	free_device();
}

/* Any access at any time, and any message from the worker. */
static void test_garbage(void)
{
	static const int sizes[] = { 1, 2, 4, 8 };
	bool good = true;

	make_device();
	switch_on();
	for (int i = 0; good && i < 600000; i++) {
		int size = sizes[rnd(4)];
		u64 v = rnd(3) ? rnd(16) : (u64)seed;
		u64 bar = config(PCI_BAR0 + 4 * (u32)rnd(2), 4) & ~15u;

		switch (rnd(8)) {
		case 0:
			if (rnd(20) == 0)
				set_config((u32)rnd(64) * 4, 4, (u32)v);
			else
				config((u32)rnd(64) * 4, 4);
			break;
		case 1:
			from_worker((u32)rnd(10));
			break;
		case 2:
			served((u64)seed);
			break;
		case 3:
			switch_on();
			run_it();
			break;
		case 4:
			put(STATUS, 1, v);
			break;
		default:
			pci_bus_memory(&bus, bar + (rnd(3) ? rnd(64) : rnd(0x4000)), size, rnd(2), &v);
		}
		while (message(&(struct control){ 0 }))
			;
		/* P2, P3 */
		good = !bell[1] || (config(PCI_COMMAND, 2) & PCI_COMMAND_MEMORY);
		good = good && (!lines || !pci_msix_enabled(&dev->pci));
	}
	verdict(good, "random accesses");
	free_device();
}

int main(void)
{
	test_space();
	test_status();
	test_interrupts();
	test_rest();
	test_garbage();
	return failures != 0;
}
