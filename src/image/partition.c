/* SPDX-License-Identifier: MIT */
#include "image/partition.h"

#include <errno.h>
#include <string.h>

#define SECTOR 512u
#define MBR_TABLE 446
#define MBR_ENTRY 16
#define TYPE_PROTECTIVE 0xee
#define LOGICAL_MAX 64

static u32 le32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, sizeof v);
	return v;
}

static u64 le64(const u8 *p)
{
	u64 v;

	memcpy(&v, p, sizeof v);
	return v;
}

/* Adds sectors [first, first + count) unless they reach out of the disk. */
static void add(const struct disk_source *disk, struct partition *list, int *n, u64 first, u64 count)
{
	u64 sectors = disk->size / SECTOR;

	if (*n < PARTITIONS_MAX && count && first && first < sectors && count <= sectors - first)
		list[(*n)++] = (struct partition){ first * SECTOR, count * SECTOR };
}

static int read_gpt(const struct disk_source *disk, struct partition *list)
{
	u8 header[SECTOR], entries[SECTOR];
	u64 table;
	u32 count, size;
	int n = 0;

	if (disk->read(disk->opaque, SECTOR, header, sizeof header))
		return -EIO;
	table = le64(header + 72);
	count = le32(header + 80);
	size = le32(header + 84);
	/* Entries of other sizes than the smallest are permitted, and nobody has them. */
	if (memcmp(header, "EFI PART", 8) || size != 128 || table < 2 || table > disk->size / SECTOR)
		return 0;
	for (u32 i = 0; i < MIN(count, (u32)PARTITIONS_MAX); i++) {
		const u8 *entry = entries + i % 4 * 128;
		static const u8 unused[16];

		if (i % 4 == 0 && disk->read(disk->opaque, (table + i / 4) * SECTOR, entries, sizeof entries))
			return -EIO;
		if (memcmp(entry, unused, sizeof unused) && le64(entry + 40) >= le64(entry + 32))
			add(disk, list, &n, le64(entry + 32), le64(entry + 40) - le64(entry + 32) + 1);
	}
	return n;
}

static bool is_extended(u8 type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

/* The chain of logical partitions within an extended one. */
static int read_logical(const struct disk_source *disk, struct partition *list, int *n, u64 base)
{
	u64 at = base;

	for (int i = 0; i < LOGICAL_MAX; i++) {
		u8 sector[SECTOR];
		const u8 *own = sector + MBR_TABLE, *next = own + MBR_ENTRY;

		if (at >= disk->size / SECTOR)
			return 0;
		if (disk->read(disk->opaque, at * SECTOR, sector, sizeof sector))
			return -EIO;
		if (sector[510] != 0x55 || sector[511] != 0xaa)
			return 0;
		add(disk, list, n, at + le32(own + 8), le32(own + 12));
		if (!is_extended(next[4]))
			return 0;
		at = base + le32(next + 8);
	}
	return 0;
}

int partitions_read(const struct disk_source *disk, struct partition *list)
{
	u8 sector[SECTOR];
	int n = 0;

	if (disk->size < 2 * SECTOR)
		return 0;
	if (disk->read(disk->opaque, 0, sector, sizeof sector))
		return -EIO;
	if (sector[510] == 0x55 && sector[511] == 0xaa) {
		for (int i = 0; i < 4; i++) {
			const u8 *entry = sector + MBR_TABLE + i * MBR_ENTRY;

			if (entry[4] == TYPE_PROTECTIVE)
				return read_gpt(disk, list);
			if (is_extended(entry[4]) && read_logical(disk, list, &n, le32(entry + 8)))
				return -EIO;
			if (entry[4] && !is_extended(entry[4]))
				add(disk, list, &n, le32(entry + 8), le32(entry + 12));
		}
	}
	if (!n)
		list[n++] = (struct partition){ 0, disk->size };
	return n;
}
