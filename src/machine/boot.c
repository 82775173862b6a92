/* SPDX-License-Identifier: MIT
 * The choice of a boot protocol, and what several of them share.
 *
 * Source: Intel SDM volume 3A table 10-1 for what reset leaves. */
#include "machine/boot.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static const struct {
	const char *name, *words;
	bool (*offered)(const struct kernel *k);
	int (*load)(struct vm *vm, const struct boot_image *boot, struct err *e);
} protocols[] = {
#define BOOT_ROW(id, name, words) { name, words, id##_offered, id##_load },
	BOOT_PROTOCOLS(BOOT_ROW)
#undef BOOT_ROW
};

int boot_load(struct vm *vm, const struct boot_image *boot, const char *name, struct err *e)
{
	bool any = !name || !strcmp(name, "auto");

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (!any && strcmp(name, protocols[i].name))
			continue;
		if (protocols[i].offered(boot->kernel))
			return protocols[i].load(vm, boot, e);
		if (!any)
			return err_set(e, -EINVAL, "this kernel cannot be booted by %s", protocols[i].words);
	}
	return err_set(e, -EINVAL, any ? "this kernel offers no boot protocol (64-bit Linux, PVH, Multiboot)" :
		       "boot protocol: unknown name");
}

void boot_cpu_common(struct cpu *c)
{
	memset(c, 0, sizeof *c);
	c->rflags = RF_FIXED;
	c->xcr0 = 1;
	c->pat = 0x0007040600070406ull;
	c->misc_enable = 1;
	c->apic_base = 0xfee00900;
	c->mtrr_def = 0xc06; /* enabled, fixed ranges too, write-back */
	for (size_t i = 0; i < ARRAY_SIZE(c->mtrr_fix); i++)
		c->mtrr_fix[i] = 0x0606060606060606ull;
	c->dr[6] = 0xffff0ff0;
	c->dr[7] = 0x400;
}

#define ATTR_CODE32 (ATTR_G | ATTR_DB | ATTR_P | ATTR_S | 0xb)
#define ATTR_DATA32 (ATTR_G | ATTR_DB | ATTR_P | ATTR_S | 0x3)
#define ATTR_TSS32_BUSY (ATTR_P | 0xb)

/* Neither PVH nor Multiboot lets a kernel rely on the descriptor tables. */
void boot_cpu_32(struct cpu *c, u32 entry)
{
	boot_cpu_common(c);
	for (int i = 0; i < 6; i++)
		c->seg[i] = (struct cpu_seg){ .limit = 0xffffffff, .sel = 0x10, .attr = ATTR_DATA32 };
	c->seg[SEG_CS] = (struct cpu_seg){ .limit = 0xffffffff, .sel = 0x08, .attr = ATTR_CODE32 };
	c->tr = (struct cpu_seg){ .limit = 0x67, .attr = ATTR_TSS32_BUSY };
	c->cr0 = CR0_PE | CR0_ET;
	c->rip = entry;
}

int boot_place_initrd(struct vm *vm, const struct boot_image *boot, u64 top, u64 *at, struct err *e)
{
	const struct kernel *k = boot->kernel;

	*at = 0;
	if (!boot->initrd || !boot->initrd_size)
		return 0;
	top = MIN(top, vm->ram_low);
	if (boot->initrd_size >= top || ALIGN_DOWN(top - boot->initrd_size, PAGE_SIZE) < k->end)
		return err_set(e, -E2BIG,
			       "initrd of %zu KiB does not fit beside the kernel into %llu MiB of memory",
			       boot->initrd_size >> 10, (unsigned long long)vm->ram_size >> 20);
	*at = ALIGN_DOWN(top - boot->initrd_size, PAGE_SIZE);
	madvise(vm->ram + *at, boot->initrd_size, MADV_POPULATE_WRITE);
	memcpy(vm->ram + *at, boot->initrd, boot->initrd_size);
	return 0;
}
