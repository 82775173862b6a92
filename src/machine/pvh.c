/* SPDX-License-Identifier: MIT
 * Entry by PVH: 32-bit protected mode without paging, EBX at a start_info structure.
 *
 * Source: Xen docs/misc/pvh.pandoc, xen/include/public/arch-x86/hvm/start_info.h, and elfnote.h
 * (XEN_ELFNOTE_PHYS32_ENTRY). */
#include "machine/boot.h"

#include <errno.h>
#include <string.h>

#include "machine/linux_boot.h"
#include "machine/ram.h"

#define NOTE_NAME "Xen"
#define NOTE_PHYS32_ENTRY 18u

#define START_INFO_MAGIC 0x336ec578u
#define START_INFO_VERSION 1u
/* struct hvm_start_info, by offset; behind it the list of modules and the memory map. */
enum { SI_MAGIC = 0, SI_VERSION = 4, SI_FLAGS = 8, SI_MODULES = 12, SI_MODLIST = 16, SI_CMDLINE = 24, SI_RSDP = 32,
       SI_MEMMAP = 40, SI_MEMMAP_ENTRIES = 48, SI_SIZE = 56 };
enum { MODULE_ADDRESS = 0, MODULE_SIZE = 8, MODULE_CMDLINE = 16, MODULE_BYTES = 32 };
enum { MAP_ADDRESS = 0, MAP_SIZE = 8, MAP_TYPE = 16, MAP_BYTES = 24 };

#define INITRD_TOP 0x80000000ull

/* Name, descriptor and the note's own three words are aligned to four bytes (System V ABI, chapter 5). */
static bool note_entry(const u8 *notes, size_t size, u32 *entry)
{
	size_t at = 0;

	while (size - at >= 12) {
		u32 name, descriptor, type;
		size_t name_at = at + 12, descriptor_at;

		memcpy(&name, notes + at, 4);
		memcpy(&descriptor, notes + at + 4, 4);
		memcpy(&type, notes + at + 8, 4);
		if (name > size || descriptor > size)
			return false;
		descriptor_at = name_at + ALIGN_UP(name, 4);
		at = descriptor_at + ALIGN_UP(descriptor, 4);
		if (at > size)
			return false;
		if (type == NOTE_PHYS32_ENTRY && name == sizeof NOTE_NAME && descriptor >= 4 &&
		    !memcmp(notes + name_at, NOTE_NAME, sizeof NOTE_NAME)) {
			memcpy(entry, notes + descriptor_at, 4);
			return true;
		}
	}
	return false;
}

static bool find_entry(const struct kernel *k, u32 *entry)
{
	Elf64_Phdr p;

	for (u32 n = 0; !kernel_segment_header(k, n, &p); n++) {
		if (p.p_type != PT_NOTE || p.p_offset > k->elf_size || p.p_filesz > k->elf_size - p.p_offset)
			continue;
		if (note_entry(k->elf + p.p_offset, p.p_filesz, entry))
			return *entry >= k->start && *entry < k->end;
	}
	return false;
}

bool pvh_offered(const struct kernel *k)
{
	u32 entry;

	return find_entry(k, &entry);
}

static void write_start_info(struct vm *vm, const struct boot_image *boot, u64 initrd)
{
	u8 *info = vm->ram + BOOT_PARAMS, *module = info + SI_SIZE + 8, *map = module + MODULE_BYTES;
	struct e820_range ranges[RAM_E820_MAX];
	int n = ram_e820(vm, ranges);

	memset(info, 0, PAGE_SIZE);
	boot_put32(info + SI_MAGIC, START_INFO_MAGIC);
	boot_put32(info + SI_VERSION, START_INFO_VERSION);
	if (initrd) {
		boot_put32(info + SI_MODULES, 1);
		boot_put64(info + SI_MODLIST, (u64)(module - vm->ram));
		boot_put64(module + MODULE_ADDRESS, initrd);
		boot_put64(module + MODULE_SIZE, boot->initrd_size);
	}
	boot_put64(info + SI_CMDLINE, BOOT_CMDLINE);
	boot_put64(info + SI_RSDP, boot->acpi_rsdp.v);
	boot_put64(info + SI_MEMMAP, (u64)(map - vm->ram));
	boot_put32(info + SI_MEMMAP_ENTRIES, (u32)n);
	for (int i = 0; i < n; i++, map += MAP_BYTES) {
		boot_put64(map + MAP_ADDRESS, ranges[i].start);
		boot_put64(map + MAP_SIZE, ranges[i].size);
		boot_put32(map + MAP_TYPE, ranges[i].type);
	}
}

int pvh_load(struct vm *vm, const struct boot_image *boot, struct err *e)
{
	size_t n = strlen(boot->command_line);
	u64 initrd;
	u32 entry = 0;
	int rc;

	find_entry(boot->kernel, &entry);
	if (n >= BOOT_CMDLINE_MAX)
		return err_set(e, -EINVAL, "kernel command line of %zu bytes is longer than %llu", n, BOOT_CMDLINE_MAX - 1);
	rc = kernel_place(boot->kernel, vm, e);
	if (!rc)
		rc = boot_place_initrd(vm, boot, INITRD_TOP, &initrd, e);
	if (rc)
		return rc;
	memcpy(vm->ram + BOOT_CMDLINE, boot->command_line, n + 1);
	write_start_info(vm, boot, initrd);
	boot_cpu_32(&vm->cpu, entry);
	vm->cpu.gpr[RBX] = BOOT_PARAMS;
	return 0;
}
