/* SPDX-License-Identifier: MIT
 * A virtio disk (Virtual I/O Device 1.1: 4.1 PCI, 2.6 split queues, 5.2 block), by which page tables are written as a
 * device writes.  Its registers are reached through the PCI configuration access capability (4.1.4.7), so that no
 * memory of the device has to be mapped.
 *
 * One request at a time; waits for the device, with interrupts off. */
#include "disk.h"
#include "world.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define VIRTIO_DISK 0x10421af4u
#define QUEUE 4
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_WINDOW = 5 };
enum { C_FEATURES_SELECT = 8, C_FEATURES = 12, C_STATUS = 20, C_QUEUE = 22, C_SIZE = 24, C_ENABLE = 28, C_NOTIFY = 30, C_DESC = 32 };
enum { STATUS_ACKNOWLEDGE = 1, STATUS_DRIVER = 2, STATUS_DRIVER_OK = 4, STATUS_FEATURES_OK = 8 };
enum { DESC_NEXT = 1, DESC_WRITE = 2 };

static struct {
	struct { u64 pa; u32 length; u16 flags, next; } desc[QUEUE];
	struct { u16 flags, index, ring[QUEUE]; } avail;
	u8 pad[2048 - QUEUE * 16 - 4 - QUEUE * 2];
	volatile struct { u16 flags, index; struct { u32 id, length; } ring[QUEUE]; } used;
	struct { u32 type, reserved; u64 sector; } header;
	volatile u8 status;
} queue __attribute__((aligned(4096)));
static u64 buffer[DISK_SECTOR / 8] __attribute__((aligned(DISK_SECTOR)));
static u32 device, window, common, notify;

static inline void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "d"(port) : "memory"); }
static inline u32 inl(u16 port)
{
	u32 v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "d"(port) : "memory");
	return v;
}

static u32 config_read(u32 at)
{
	outl(CONFIG_ADDRESS, device | (at & ~3u));
	return inl(CONFIG_DATA) >> 8 * (at & 3);
}

static void config_write(u32 at, u32 value)
{
	outl(CONFIG_ADDRESS, device | at);
	outl(CONFIG_DATA, value);
}

/* The registers lie in one BAR; offset and size go into the capability, the value goes through it. */
static void register_write(u32 at, u32 bytes, u32 value)
{
	config_write(window + 8, at);
	config_write(window + 12, bytes);
	outl(CONFIG_ADDRESS, device | (window + 16));
	if (bytes == 1)
		__asm__ volatile("outb %b0, %1" : : "a"(value), "d"((u16)CONFIG_DATA) : "memory");
	else if (bytes == 2)
		__asm__ volatile("outw %w0, %1" : : "a"(value), "d"((u16)CONFIG_DATA) : "memory");
	else
		outl(CONFIG_DATA, value);
}

static u32 register_read(u32 at, u32 bytes)
{
	config_write(window + 8, at);
	config_write(window + 12, bytes);
	return config_read(window + 16);
}

static void find_registers(void)
{
	u32 multiplier = 0, base = 0;

	for (u32 at = config_read(0x34) & 0xfc; at; at = config_read(at) >> 8 & 0xfc) {
		u32 head = config_read(at);

		if ((head & 0xff) != 9)
			continue;
		if (head >> 24 == CAP_COMMON)
			common = config_read(at + 8);
		if (head >> 24 == CAP_NOTIFY) {
			base = config_read(at + 8);
			multiplier = config_read(at + 16);
		}
		if (head >> 24 == CAP_WINDOW)
			window = at;
	}
	register_write(common + C_QUEUE, 2, 0);
	notify = base + (register_read(common + C_NOTIFY, 2) & 0xffff) * multiplier;
}

bool disk_begin(void)
{
	const u64 parts[] = { PHYS(queue.desc), PHYS(&queue.avail), PHYS(&queue.used) };

	for (u32 n = 0; n < 32; n++) {
		device = 0x80000000u | n << 11;
		if (config_read(0) == VIRTIO_DISK)
			break;
		device = 0;
	}
	if (!device)
		return false;
	config_write(4, 6); /* memory, bus master */
	find_registers();
	register_write(common + C_STATUS, 1, 0);
	register_write(common + C_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	register_write(common + C_FEATURES_SELECT, 4, 1);
	register_write(common + C_FEATURES, 4, 1); /* VIRTIO_F_VERSION_1 */
	register_write(common + C_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	register_write(common + C_SIZE, 2, QUEUE);
	for (u32 i = 0; i < 3; i++) {
		register_write(common + C_DESC + 8 * i, 4, (u32)parts[i]);
		register_write(common + C_DESC + 8 * i + 4, 4, (u32)(parts[i] >> 32));
	}
	register_write(common + C_ENABLE, 2, 1);
	register_write(common + C_STATUS, 1, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
	return true;
}

/* Sector 0 to or from memory. */
static bool transfer(bool to_disk, u64 pa)
{
	u16 before = queue.used.index;

	queue.header.type = to_disk;
	queue.header.sector = 0;
	queue.status = 0xff;
	queue.desc[0].pa = PHYS(&queue.header);
	queue.desc[0].length = 16;
	queue.desc[0].flags = DESC_NEXT;
	queue.desc[0].next = 1;
	queue.desc[1].pa = pa;
	queue.desc[1].length = DISK_SECTOR;
	queue.desc[1].flags = (u16)(DESC_NEXT | (to_disk ? 0 : DESC_WRITE));
	queue.desc[1].next = 2;
	queue.desc[2].pa = PHYS(&queue.status);
	queue.desc[2].length = 1;
	queue.desc[2].flags = DESC_WRITE;
	queue.avail.ring[queue.avail.index % QUEUE] = 0;
	__atomic_store_n(&queue.avail.index, (u16)(queue.avail.index + 1), __ATOMIC_SEQ_CST);
	register_write(notify, 2, 0);
	while (queue.used.index == before)
		__asm__ volatile("pause" : : : "memory");
	return !queue.status;
}

bool disk_write_memory(u64 pa, u64 value)
{
	u64 *at = DIRECT(pa & ~(u64)(DISK_SECTOR - 1));

	__builtin_memcpy(buffer, at, sizeof buffer);
	buffer[pa % DISK_SECTOR / 8] = value;
	return transfer(true, PHYS(buffer)) && transfer(false, PHYS(at));
}
