/* SPDX-License-Identifier: MIT */
#include "machine/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The extended BIOS data area and the ROM area of a PC, where the ACPI tables lie. */
#define EBDA_START 0x9fc00ull
#define ROM_END 0x100000ull

int ram_create(struct vm *vm, u64 size, struct err *e)
{
	void *map;
	int fd, rc;

	vm->ram_fd = -1;
	vm->ram = NULL;
	if (size < RAM_MIN || size > RAM_MAX)
		return err_set(e, -EINVAL, "memory: %llu MiB is not between %llu MiB and %llu GiB",
			       (unsigned long long)size >> 20, RAM_MIN >> 20, RAM_MAX >> 30);
	if (size % (2ull << 20))
		return err_set(e, -EINVAL, "memory: %llu bytes is not a multiple of 2 MiB",
			       (unsigned long long)size);
	fd = memfd_create("penumbra-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_sys(e, errno, "memory: memfd");
	if (ftruncate(fd, (off_t)size)) {
		rc = err_sys(e, errno, "memory: %llu MiB", (unsigned long long)size >> 20);
		goto fail;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		rc = err_sys(e, errno, "memory: seals");
		goto fail;
	}
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED) {
		rc = err_sys(e, errno, "memory: map %llu MiB", (unsigned long long)size >> 20);
		goto fail;
	}
	vm->ram_fd = fd;
	vm->ram = map;
	vm->ram_size = size;
	vm->ram_low = MIN(size, VM_RAM_HOLE);
	return 0;
fail:
	close(fd);
	return rc;
}

void ram_destroy(struct vm *vm)
{
	if (vm->ram)
		munmap(vm->ram, vm->ram_size);
	if (vm->ram_fd >= 0)
		close(vm->ram_fd);
	vm->ram = NULL;
	vm->ram_fd = -1;
}

int ram_e820(const struct vm *vm, struct e820_range map[RAM_E820_MAX])
{
	int n = 0;

	map[n++] = (struct e820_range){ 0, EBDA_START, E820_RAM };
	map[n++] = (struct e820_range){ EBDA_START, ROM_END - EBDA_START, E820_RESERVED };
	map[n++] = (struct e820_range){ ROM_END, vm->ram_low - ROM_END, E820_RAM };
	if (vm->ram_size > vm->ram_low)
		map[n++] = (struct e820_range){ VM_RAM_HIGH, vm->ram_size - vm->ram_low, E820_RAM };
	return n;
}

void *ram_pointer(const struct vm *vm, gpa_t gpa, u64 n)
{
	u64 offset = vm_ram_offset(vm, gpa, n);

	return offset == UINT64_MAX ? NULL : vm->ram + offset;
}

u64 ram_resident(const struct vm *vm)
{
	struct stat st;

	if (vm->ram_fd < 0 || fstat(vm->ram_fd, &st))
		return 0;
	return (u64)st.st_blocks * 512;
}
