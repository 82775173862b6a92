/* SPDX-License-Identifier: MIT
 * Entry by Multiboot 0.6.96 and Multiboot2 2.0: 32-bit protected mode without paging, a magic number in EAX, EBX at
 * what the loader has to tell.
 *
 * Source: the two specifications, sections 3.1 (header) to 3.6 (boot information); numbers below are theirs. */
#include "machine/multiboot.h"

#include <errno.h>
#include <string.h>

#include "machine/boot.h"
#include "machine/linux_boot.h"
#include "machine/ram.h"

#define LOADER_NAME "penumbra"
#define INITRD_TOP 0xc0000000ull
#define LOW_MEMORY_KIB 639u

struct header {
	size_t at;              /* in the file */
	u32 flags;              /* version 1 */
	u32 length;             /* version 2: of all */
	bool has_addresses, has_entry;
	u32 header_addr, load_addr, load_end, bss_end, entry;
	u32 unknown;            /* version 2: a tag that must be understood and is not */
};

static u32 word(const struct kernel *k, size_t at)
{
	u32 v;

	memcpy(&v, k->elf + at, 4);
	return v;
}

/* ---- version 1 ---- */

#define HEADER_1 0x1badb002u
#define MAGIC_1 0x2badb002u
#define SEARCH_1 8192u
#define NEEDS_VIDEO BIT(2)
#define HAS_ADDRESSES BIT(16)
#define MUST_KNOW 0xffffu      /* flags that must be understood */
#define KNOWN (BIT(0) | BIT(1) | NEEDS_VIDEO) /* page-aligned modules, memory map; video: see below */

static bool find_1(const struct kernel *k, struct header *h)
{
	size_t end = MIN(k->elf_size, (size_t)SEARCH_1);

	memset(h, 0, sizeof *h);
	for (size_t at = 0; at + 12 <= end; at += 4) {
		if (word(k, at) != HEADER_1 || word(k, at) + word(k, at + 4) + word(k, at + 8))
			continue;
		h->at = at;
		h->flags = word(k, at + 4);
		if ((h->flags & HAS_ADDRESSES) && at + 32 <= end) {
			h->has_addresses = h->has_entry = true;
			h->header_addr = word(k, at + 12);
			h->load_addr = word(k, at + 16);
			h->load_end = word(k, at + 20);
			h->bss_end = word(k, at + 24);
			h->entry = word(k, at + 28);
		}
		return true;
	}
	return false;
}

/* ---- version 2 ---- */

#define HEADER_2 0xe85250d6u
#define MAGIC_2 0x36d76289u
#define SEARCH_2 32768u
#define OPTIONAL 1u
enum { TAG_END, TAG_REQUEST, TAG_ADDRESS, TAG_ENTRY, TAG_CONSOLE, TAG_FRAMEBUFFER, TAG_ALIGN, TAG_KNOWN };

static void read_tags(const struct kernel *k, struct header *h)
{
	size_t at = h->at + 16, end = h->at + h->length;

	while (at + 8 <= end) {
		u32 type = word(k, at) & 0xffff, flags = word(k, at) >> 16, size = word(k, at + 4);

		if (type == TAG_END || size < 8 || size > end - at)
			return;
		if (type == TAG_ADDRESS && size >= 24) {
			h->has_addresses = true;
			h->header_addr = word(k, at + 8);
			h->load_addr = word(k, at + 12);
			h->load_end = word(k, at + 16);
			h->bss_end = word(k, at + 20);
		} else if (type == TAG_ENTRY && size >= 12) {
			h->has_entry = true;
			h->entry = word(k, at + 8);
		} else if (type >= TAG_KNOWN && !(flags & OPTIONAL)) {
			h->unknown = type;
		}
		at += ALIGN_UP(size, 8);
	}
}

static bool find_2(const struct kernel *k, struct header *h)
{
	size_t end = MIN(k->elf_size, (size_t)SEARCH_2);

	memset(h, 0, sizeof *h);
	for (size_t at = 0; at + 16 <= end; at += 8) {
		u32 length = word(k, at + 8);

		if (word(k, at) != HEADER_2 || word(k, at + 4) /* i386 */ ||
		    word(k, at) + length + word(k, at + 12) || length < 16 || length > end - at)
			continue;
		h->at = at;
		h->length = length;
		read_tags(k, h);
		return true;
	}
	return false;
}

/* ---- flat images ---- */

bool multiboot_flat(const struct kernel *k, struct kernel_segment *s, u64 *entry)
{
	struct header h;
	u64 offset, bytes;

	if (!(find_2(k, &h) || find_1(k, &h)) || !h.has_addresses || !h.has_entry)
		return false;
	if (h.header_addr < h.load_addr || h.header_addr - h.load_addr > h.at)
		return false;
	offset = h.at - (h.header_addr - h.load_addr);
	bytes = k->elf_size - offset;
	if (h.load_end) {
		if (h.load_end < h.load_addr || h.load_end - h.load_addr > bytes)
			return false;
		bytes = h.load_end - h.load_addr;
	}
	*s = (struct kernel_segment){ .offset = offset, .file_size = bytes, .address = h.load_addr, .size = bytes };
	if (h.bss_end > h.load_addr + bytes)
		s->size = h.bss_end - h.load_addr;
	*entry = h.entry;
	return bytes > 0;
}

/* ---- what both tell the kernel ---- */

static u32 upper_kib(const struct vm *vm) { return (u32)((vm->ram_low - 0x100000) >> 10); }

static bool entry_of(const struct kernel *k, const struct header *h, u32 *entry)
{
	*entry = h->has_entry && (h->has_addresses || h->entry) ? h->entry : (u32)k->entry;
	return *entry >= k->start && *entry < k->end;
}

static int place(struct vm *vm, const struct boot_image *boot, const struct header *h, u64 *initrd, u32 *entry, struct err *e)
{
	int rc;

	if (!entry_of(boot->kernel, h, entry))
		return err_set(e, -EINVAL, "Multiboot header: the entry lies outside the kernel");
	rc = kernel_place(boot->kernel, vm, e);
	return rc ? rc : boot_place_initrd(vm, boot, INITRD_TOP, initrd, e);
}

bool multiboot_offered(const struct kernel *k)
{
	struct header h;

	return !k->setup_size && find_1(k, &h);
}

/* Boot information, by offset (3.3); behind it the module and the memory map. */
enum { INFO_FLAGS = 0, INFO_LOWER = 4, INFO_UPPER = 8, INFO_CMDLINE = 16, INFO_MODULES = 20, INFO_MODULE_LIST = 24,
       INFO_MAP_LENGTH = 44, INFO_MAP = 48, INFO_LOADER = 64, INFO_SIZE = 120, MODULE_SIZE = 16, MAP_ENTRY = 24 };
#define INFO_HAS_MEMORY BIT(0)
#define INFO_HAS_CMDLINE BIT(2)
#define INFO_HAS_MODULES BIT(3)
#define INFO_HAS_MAP BIT(6)
#define INFO_HAS_LOADER BIT(9)

static void write_info_1(struct vm *vm, const struct boot_image *boot, u64 initrd)
{
	u8 *info = vm->ram + BOOT_PARAMS, *module = info + INFO_SIZE, *map = module + MODULE_SIZE, *name;
	struct e820_range ranges[RAM_E820_MAX];
	int n = ram_e820(vm, ranges);

	memset(info, 0, PAGE_SIZE);
	name = map + n * MAP_ENTRY;
	boot_put32(info + INFO_FLAGS, INFO_HAS_MEMORY | INFO_HAS_CMDLINE | INFO_HAS_MODULES | INFO_HAS_MAP | INFO_HAS_LOADER);
	boot_put32(info + INFO_LOWER, LOW_MEMORY_KIB);
	boot_put32(info + INFO_UPPER, upper_kib(vm));
	boot_put32(info + INFO_CMDLINE, (u32)BOOT_CMDLINE);
	boot_put32(info + INFO_MODULES, initrd ? 1 : 0);
	boot_put32(info + INFO_MODULE_LIST, (u32)(module - vm->ram));
	boot_put32(module, (u32)initrd);
	boot_put32(module + 4, (u32)(initrd + boot->initrd_size));
	boot_put32(info + INFO_MAP_LENGTH, (u32)n * MAP_ENTRY);
	boot_put32(info + INFO_MAP, (u32)(map - vm->ram));
	for (int i = 0; i < n; i++, map += MAP_ENTRY) {
		boot_put32(map, MAP_ENTRY - 4);
		boot_put64(map + 4, ranges[i].start);
		boot_put64(map + 12, ranges[i].size);
		boot_put32(map + 20, ranges[i].type);
	}
	boot_put32(info + INFO_LOADER, (u32)(name - vm->ram));
	memcpy(name, LOADER_NAME, sizeof LOADER_NAME);
}

int multiboot_load(struct vm *vm, const struct boot_image *boot, struct err *e)
{
	size_t n = strlen(boot->command_line);
	struct header h;
	u64 initrd;
	u32 entry;
	int rc;

	find_1(boot->kernel, &h);
	if (h.flags & MUST_KNOW & ~KNOWN)
		return err_set(e, -EINVAL, "Multiboot header: flags 0x%x ask for something that is not here", h.flags & 0xffff);
	if (n >= BOOT_CMDLINE_MAX)
		return err_set(e, -EINVAL, "kernel command line of %zu bytes is longer than %llu", n, BOOT_CMDLINE_MAX - 1);
	rc = place(vm, boot, &h, &initrd, &entry, e);
	if (rc)
		return rc;
	memcpy(vm->ram + BOOT_CMDLINE, boot->command_line, n + 1);
	write_info_1(vm, boot, initrd);
	boot_cpu_32(&vm->cpu, entry);
	vm->cpu.gpr[RAX] = MAGIC_1;
	vm->cpu.gpr[RBX] = BOOT_PARAMS;
	return 0;
}

bool multiboot2_offered(const struct kernel *k)
{
	struct header h;

	return !k->setup_size && find_2(k, &h);
}

/* ---- the tags of version 2 (3.6) ---- */

enum { INFO2_END, INFO2_CMDLINE, INFO2_LOADER, INFO2_MODULE, INFO2_MEMORY, INFO2_MAP = 6, INFO2_ACPI_NEW = 15 };

struct tags {
	u8 *at, *end;
	bool overrun;
};

/* Room for a tag with `size` bytes behind its head, cleared; NULL where it is full. */
static u8 *tag(struct tags *t, u32 type, size_t size)
{
	u8 *at = t->at;

	if (t->overrun || ALIGN_UP(size + 8, 8) > (u64)(t->end - at)) {
		t->overrun = true;
		return NULL;
	}
	memset(at, 0, ALIGN_UP(size + 8, 8));
	boot_put32(at, type);
	boot_put32(at + 4, (u32)size + 8);
	t->at += ALIGN_UP(size + 8, 8);
	return at + 8;
}

static void text_tag(struct tags *t, u32 type, const char *text)
{
	u8 *p = tag(t, type, strlen(text) + 1);

	if (p)
		memcpy(p, text, strlen(text) + 1);
}

static void map_tag(struct vm *vm, struct tags *t)
{
	struct e820_range ranges[RAM_E820_MAX];
	int n = ram_e820(vm, ranges);
	u8 *p = tag(t, INFO2_MAP, 8 + (size_t)n * 24);

	if (!p)
		return;
	boot_put32(p, 24);
	for (int i = 0; i < n; i++) {
		boot_put64(p + 8 + i * 24, ranges[i].start);
		boot_put64(p + 16 + i * 24, ranges[i].size);
		boot_put32(p + 24 + i * 24, ranges[i].type);
	}
}

static int write_info_2(struct vm *vm, const struct boot_image *boot, u64 initrd, struct err *e)
{
	u8 *start = vm->ram + BOOT_CMDLINE, *p;
	struct tags t = { start + 8, start + BOOT_CMDLINE_MAX, false };
	const void *rsdp = boot->acpi_rsdp.v ? ram_pointer(vm, boot->acpi_rsdp, 36) : NULL;

	text_tag(&t, INFO2_CMDLINE, boot->command_line);
	text_tag(&t, INFO2_LOADER, LOADER_NAME);
	p = tag(&t, INFO2_MEMORY, 8);
	if (p) {
		boot_put32(p, LOW_MEMORY_KIB);
		boot_put32(p + 4, upper_kib(vm));
	}
	map_tag(vm, &t);
	p = initrd ? tag(&t, INFO2_MODULE, 9) : NULL;
	if (p) {
		boot_put32(p, (u32)initrd);
		boot_put32(p + 4, (u32)(initrd + boot->initrd_size));
	}
	p = rsdp ? tag(&t, INFO2_ACPI_NEW, 36) : NULL;
	if (p)
		memcpy(p, rsdp, 36);
	tag(&t, INFO2_END, 0);
	if (t.overrun)
		return err_set(e, -EINVAL, "kernel command line of %zu bytes is too long", strlen(boot->command_line));
	boot_put32(start, (u32)(t.at - start));
	boot_put32(start + 4, 0);
	return 0;
}

int multiboot2_load(struct vm *vm, const struct boot_image *boot, struct err *e)
{
	struct header h;
	u64 initrd;
	u32 entry;
	int rc;

	find_2(boot->kernel, &h);
	if (h.unknown)
		return err_set(e, -EINVAL, "Multiboot2 header: tag %u asks for something that is not here", h.unknown);
	rc = place(vm, boot, &h, &initrd, &entry, e);
	if (!rc)
		rc = write_info_2(vm, boot, initrd, e);
	if (rc)
		return rc;
	boot_cpu_32(&vm->cpu, entry);
	vm->cpu.gpr[RAX] = MAGIC_2;
	vm->cpu.gpr[RBX] = BOOT_CMDLINE;
	return 0;
}
