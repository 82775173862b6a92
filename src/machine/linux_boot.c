/* SPDX-License-Identifier: MIT */
#include "machine/linux_boot.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "machine/ram.h"

/* boot_params, by offset (zero-page.rst, and the setup header at 0x1f1 from boot.rst). */
enum {
	BP_ACPI_RSDP = 0x070,
	BP_EXT_RAMDISK_IMAGE = 0x0c0,
	BP_EXT_RAMDISK_SIZE = 0x0c4,
	BP_EXT_CMD_LINE = 0x0c8,
	BP_E820_ENTRIES = 0x1e8,
	BP_BOOT_FLAG = 0x1fe,
	BP_MAGIC = 0x202,
	BP_VERSION = 0x206,
	BP_TYPE_OF_LOADER = 0x210,
	BP_LOADFLAGS = 0x211,
	BP_RAMDISK_IMAGE = 0x218,
	BP_RAMDISK_SIZE = 0x21c,
	BP_CMD_LINE = 0x228,
	BP_INITRD_ADDR_MAX = 0x22c,
	BP_CMDLINE_SIZE = 0x238,
	BP_E820_TABLE = 0x2d0,
	BP_SIZE = 0x1000,
};
#define E820_ENTRY_SIZE 20

#define LOADER_UNDEFINED 0xff
#define LOADED_HIGH 1
/* What a vmlinux without a setup header is taken to allow. */
#define DEFAULT_VERSION 0x20f
#define DEFAULT_INITRD_MAX 0x7fffffffu
#define DEFAULT_CMDLINE_MAX 2047u

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_A 0x20ull
#define PTE_D 0x40ull
#define PTE_PS 0x80ull
#define PTES 512

/* __BOOT_CS and __BOOT_DS of boot.rst: flat, execute/read and read/write; accessed, so that the
 * processor does not write to the GDT. */
#define BOOT_CS 0x10
#define BOOT_DS 0x18
#define BOOT_TSS 0x20
#define ATTR_CODE64 (ATTR_G | ATTR_L | ATTR_P | ATTR_S | 0xb)
#define ATTR_DATA (ATTR_G | ATTR_DB | ATTR_P | ATTR_S | 0x3)
#define ATTR_TSS_BUSY (ATTR_P | 0xb)
#define FLAT_DESCRIPTOR(attr) (0x000f00000000ffffull | (u64)(attr) << 40)

static void put32(u8 *b, size_t at, u32 v)
{
	memcpy(b + at, &v, 4);
}

static void put64(u8 *b, size_t at, u64 v)
{
	memcpy(b + at, &v, 8);
}

static u32 get32(const u8 *b, size_t at)
{
	u32 v;

	memcpy(&v, b + at, 4);
	return v;
}

/* Segment state of a boot entry: flat segments as above, no LDT, a TSS that is merely present. */
static void boot_segments(struct cpu *c)
{
	for (int i = 0; i < 6; i++)
		c->seg[i] = (struct cpu_seg){ .limit = 0xffffffff, .sel = BOOT_DS, .attr = ATTR_DATA };
	c->seg[SEG_CS] = (struct cpu_seg){ .limit = 0xffffffff, .sel = BOOT_CS, .attr = ATTR_CODE64 };
	c->tr = (struct cpu_seg){ .limit = 0x67, .sel = BOOT_TSS, .attr = ATTR_TSS_BUSY };
	c->ldt = (struct cpu_seg){ 0 };
	c->gdt = (struct cpu_table){ BOOT_GDT, 4 * 8 - 1 };
	c->idt = (struct cpu_table){ 0, 0 };
}

/* Control registers as boot.rst asks: long mode, paging,
 * interrupts off. */
static void boot_cpu(struct cpu *c, u64 entry)
{
	boot_cpu_common(c);
	boot_segments(c);
	c->rip = entry;
	c->gpr[RSI] = BOOT_PARAMS;
	c->gpr[RSP] = BOOT_STACK_TOP;
	c->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	c->cr3 = BOOT_PAGE_TABLES;
	c->cr4 = CR4_PAE;
	c->efer = EFER_LME | EFER_LMA;
}

static void write_tables(struct vm *vm)
{
	u8 *gdt = vm->ram + BOOT_GDT, *pt = vm->ram + BOOT_PAGE_TABLES;

	memset(gdt, 0, PAGE_SIZE);
	put64(gdt, BOOT_CS, FLAT_DESCRIPTOR(ATTR_CODE64));
	put64(gdt, BOOT_DS, FLAT_DESCRIPTOR(ATTR_DATA));
	memset(pt, 0, 6 * PAGE_SIZE);
	put64(pt, 0, (BOOT_PAGE_TABLES + PAGE_SIZE) | PTE_P | PTE_W | PTE_A);
	for (u64 i = 0; i < 4; i++)
		put64(pt, PAGE_SIZE + i * 8,
		      (BOOT_PAGE_TABLES + (2 + i) * PAGE_SIZE) | PTE_P | PTE_W | PTE_A);
	for (u64 i = 0; i < 4 * PTES; i++)
		put64(pt, 2 * PAGE_SIZE + i * 8, i << 21 | PTE_P | PTE_W | PTE_A | PTE_D | PTE_PS);
}

static void write_e820(struct vm *vm, u8 *bp)
{
	struct e820_range map[RAM_E820_MAX];
	int n = ram_e820(vm, map);

	for (int i = 0; i < n; i++) {
		size_t at = BP_E820_TABLE + (size_t)i * E820_ENTRY_SIZE;

		put64(bp, at, map[i].start);
		put64(bp, at + 8, map[i].size);
		put32(bp, at + 16, map[i].type);
	}
	bp[BP_E820_ENTRIES] = (u8)n;
}

static void write_setup_header(u8 *bp, const struct kernel *k)
{
	if (k->setup_size) {
		memcpy(bp + SETUP_HEADER_START, k->setup, k->setup_size);
	} else {
		bp[BP_BOOT_FLAG] = 0x55;
		bp[BP_BOOT_FLAG + 1] = 0xaa;
		memcpy(bp + BP_MAGIC, "HdrS", 4);
		bp[BP_VERSION] = DEFAULT_VERSION & 0xff;
		bp[BP_VERSION + 1] = DEFAULT_VERSION >> 8;
		put32(bp, BP_INITRD_ADDR_MAX, DEFAULT_INITRD_MAX);
		put32(bp, BP_CMDLINE_SIZE, DEFAULT_CMDLINE_MAX);
	}
	bp[BP_TYPE_OF_LOADER] = LOADER_UNDEFINED;
	bp[BP_LOADFLAGS] |= LOADED_HIGH;
}

static int place_initrd(struct vm *vm, const struct boot_image *boot, u8 *bp, struct err *e)
{
	u64 at;
	int rc = boot_place_initrd(vm, boot, (u64)get32(bp, BP_INITRD_ADDR_MAX) + 1, &at, e);

	if (rc || !at)
		return rc;
	put32(bp, BP_RAMDISK_IMAGE, (u32)at);
	put32(bp, BP_RAMDISK_SIZE, (u32)boot->initrd_size);
	put32(bp, BP_EXT_RAMDISK_IMAGE, (u32)(at >> 32));
	put32(bp, BP_EXT_RAMDISK_SIZE, (u32)((u64)boot->initrd_size >> 32));
	return 0;
}

static int write_command_line(struct vm *vm, const struct boot_image *boot, u8 *bp, struct err *e)
{
	size_t n = strlen(boot->command_line), most = get32(bp, BP_CMDLINE_SIZE);

	most = MIN(most, (size_t)BOOT_CMDLINE_MAX - 1);
	if (n > most)
		return err_set(e, -EINVAL, "kernel command line of %zu bytes is longer than this kernel's %zu",
			       n, most);
	memcpy(vm->ram + BOOT_CMDLINE, boot->command_line, n + 1);
	put32(bp, BP_CMD_LINE, (u32)BOOT_CMDLINE);
	put32(bp, BP_EXT_CMD_LINE, 0);
	return 0;
}

bool linux64_offered(const struct kernel *k)
{
	return !k->is_32;
}

int linux64_load(struct vm *vm, const struct boot_image *boot, struct err *e)
{
	u8 *bp = vm->ram + BOOT_PARAMS;
	int rc;

	rc = kernel_place(boot->kernel, vm, e);
	if (rc)
		return rc;
	memset(bp, 0, BP_SIZE);
	write_setup_header(bp, boot->kernel);
	write_e820(vm, bp);
	put64(bp, BP_ACPI_RSDP, boot->acpi_rsdp.v);
	rc = write_command_line(vm, boot, bp, e);
	if (!rc)
		rc = place_initrd(vm, boot, bp, e);
	if (rc)
		return rc;
	write_tables(vm);
	boot_cpu(&vm->cpu, boot->kernel->entry);
	return 0;
}
