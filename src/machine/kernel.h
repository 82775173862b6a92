/* SPDX-License-Identifier: MIT
 * Reading a kernel: a bzImage, whose payload is unpacked here, an ELF file (vmlinux) of either class, or a flat
 * image with a Multiboot header.
 *
 * The file is hostile: every offset and size in it is checked against what holds it. */
#ifndef PENUMBRA_MACHINE_KERNEL_H
#define PENUMBRA_MACHINE_KERNEL_H

#include "accel/accel.h"
#include "base/err.h"
#include "base/types.h"

#include <elf.h> /* after x86/cpu.h, which has PF_* of its own */

/* The setup header lies at this offset of both the bzImage and boot_params, and ends at most here
 * (Linux Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"). */
#define SETUP_HEADER_START 0x1f1
#define SETUP_HEADER_MAX 0x290

#define KERNEL_FILE_MAX (1ull << 30)
#define KERNEL_SEGMENTS_MAX 64

struct kernel_segment {
	u64 offset, file_size; /* in elf[] */
	u64 address, size;     /* guest physical; the part beyond file_size is zero */
};

struct kernel {
	const char *format;          /* "ELF", or the name of the payload's compression */
	u8 setup[SETUP_HEADER_MAX - SETUP_HEADER_START];
	size_t setup_size;           /* 0: not a bzImage */
	u8 *elf;
	size_t elf_size;
	struct kernel_segment segment[KERNEL_SEGMENTS_MAX];
	int segments;
	u64 entry;                   /* guest physical, within a segment */
	bool is_32;                  /* its entry expects 32-bit protected mode */
	u64 start, end;              /* guest physical span of all segments */
};

/* Takes apart the kernel in `file`; `limit` bounds the unpacked size in bytes.  On success
 * kernel_free() is the caller's.  -EINVAL for what is not a kernel that can be run, -E2BIG, -ENOMEM. */
int kernel_parse(struct kernel *k, const u8 *file, size_t size, size_t limit, struct err *e);
void kernel_free(struct kernel *k);

/* Program header n of the ELF file, in the wide form; -1 past the last one or where it lies outside the file. */
int kernel_segment_header(const struct kernel *k, u32 n, Elf64_Phdr *header);

/* Copies the segments into RAM; -E2BIG where they do not fit. */
int kernel_place(const struct kernel *k, struct vm *vm, struct err *e);

/* kernel_parse() of the file at `path`; errors name it. */
int kernel_read(struct kernel *k, const char *path, size_t limit, struct err *e);

/* A whole regular file or pipe, at most `limit` bytes, malloc()ed (NULL when empty). */
int file_read_all(const char *path, size_t limit, u8 **bytes, size_t *size, struct err *e);

#endif
