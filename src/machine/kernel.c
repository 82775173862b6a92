/* SPDX-License-Identifier: MIT */
#include "machine/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/multiboot.h"
#include "machine/payload.h"
#include "machine/ram.h"

/* Fields of the setup header by their offset in the file (boot.rst, "Details of Header Fields"). */
#define HDR_SETUP_SECTS 0x1f1
#define HDR_BOOT_FLAG 0x1fe
#define HDR_JUMP 0x200           /* the byte after it is the header's length from 0x202 */
#define HDR_MAGIC 0x202
#define HDR_VERSION 0x206
#define HDR_LOADFLAGS 0x211
#define HDR_XLOADFLAGS 0x236
#define HDR_PAYLOAD_OFFSET 0x248
#define HDR_PAYLOAD_LENGTH 0x24c

#define BOOT_FLAG 0xaa55
#define LOADED_HIGH 1
#define XLF_KERNEL_64 1
#define VERSION_PAYLOAD 0x208    /* first with payload_offset and payload_length */
#define VERSION_XLOADFLAGS 0x20c
#define SECTOR 512

/* Kernels are linked at 1 MiB or more: what lies below belongs to the loader. */
#define KERNEL_LOWEST 0x100000ull

/* The caller has checked that `at` + 4 lies within the bytes. */
static u16 get16(const u8 *b, size_t at)
{
	return (u16)(b[at] | b[at + 1] << 8);
}

static u32 get32(const u8 *b, size_t at)
{
	return (u32)get16(b, at) | (u32)get16(b, at + 2) << 16;
}

static int parse_segment(struct kernel *k, const Elf64_Phdr *p, int n, struct err *e)
{
	u64 end;

	if (p->p_offset > k->elf_size || p->p_filesz > k->elf_size - p->p_offset)
		return err_set(e, -EINVAL, "segment %d lies outside the file", n);
	if (p->p_filesz > p->p_memsz)
		return err_set(e, -EINVAL, "segment %d is larger in the file than in memory", n);
	if (p->p_paddr < KERNEL_LOWEST || __builtin_add_overflow(p->p_paddr, p->p_memsz, &end))
		return err_set(e, -EINVAL, "segment %d has no possible address (0x%llx)", n,
			       (unsigned long long)p->p_paddr);
	if (k->segments == KERNEL_SEGMENTS_MAX)
		return err_set(e, -EINVAL, "more than %d segments", KERNEL_SEGMENTS_MAX);
	k->segment[k->segments++] = (struct kernel_segment){
		.offset = p->p_offset, .file_size = p->p_filesz,
		.address = p->p_paddr, .size = p->p_memsz,
	};
	k->start = MIN(k->start, p->p_paddr);
	k->end = MAX(k->end, end);
	return 0;
}

/* The headers of both classes have the same fields in different widths: 32-bit ones are widened. */
#define ELF_HEADER_FIELDS(F) F(e_type) F(e_machine) F(e_entry) F(e_phoff) F(e_phentsize) F(e_phnum)
#define ELF_SEGMENT_FIELDS(F) F(p_type) F(p_offset) F(p_vaddr) F(p_paddr) F(p_filesz) F(p_memsz) F(p_align)
#define ELF_WIDEN(field) wide->field = narrow.field;

static void header_read(const u8 *at, bool is_32, Elf64_Ehdr *wide)
{
	Elf32_Ehdr narrow;

	memcpy(wide, at, is_32 ? sizeof narrow : sizeof *wide);
	if (!is_32)
		return;
	memcpy(&narrow, at, sizeof narrow);
	ELF_HEADER_FIELDS(ELF_WIDEN)
}

int kernel_segment_header(const struct kernel *k, u32 n, Elf64_Phdr *wide)
{
	bool is_32 = k->elf_size > EI_CLASS && k->elf[EI_CLASS] == ELFCLASS32;
	size_t size = is_32 ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr);
	Elf32_Phdr narrow;
	Elf64_Ehdr h;

	if (k->elf_size < (is_32 ? sizeof(Elf32_Ehdr) : sizeof h) || memcmp(k->elf, ELFMAG, SELFMAG))
		return -1;
	header_read(k->elf, is_32, &h);
	if (n >= h.e_phnum || h.e_phentsize != size || h.e_phoff > k->elf_size ||
	    (u64)h.e_phnum * size > k->elf_size - h.e_phoff)
		return -1;
	if (!is_32) {
		memcpy(wide, k->elf + h.e_phoff + n * size, size);
		return 0;
	}
	memcpy(&narrow, k->elf + h.e_phoff + n * size, size);
	ELF_SEGMENT_FIELDS(ELF_WIDEN)
	return 0;
}

/* System V ABI, chapters 4 and 5; the entry of a vmlinux is the physical address of startup_64, of
 * other programs it may be a virtual one. */
static int parse_elf(struct kernel *k, struct err *e)
{
	Elf64_Ehdr h;
	Elf64_Phdr p;
	u64 entry = 0;
	bool found = false;
	int rc;

	if (k->elf_size < sizeof(Elf32_Ehdr))
		return err_set(e, -EINVAL, "ELF header is cut short");
	if (memcmp(k->elf, ELFMAG, SELFMAG))
		return err_set(e, -EINVAL, "payload is not an ELF file");
	k->is_32 = k->elf[EI_CLASS] == ELFCLASS32;
	if (!k->is_32 && k->elf_size < sizeof h)
		return err_set(e, -EINVAL, "ELF header is cut short");
	header_read(k->elf, k->is_32, &h);
	if (k->elf[EI_CLASS] < ELFCLASS32 || k->elf[EI_CLASS] > ELFCLASS64 || k->elf[EI_DATA] != ELFDATA2LSB ||
	    h.e_machine != (k->is_32 ? EM_386 : EM_X86_64))
		return err_set(e, -EINVAL, "not an x86 ELF file");
	if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
		return err_set(e, -EINVAL, "ELF file is not an executable");
	k->start = UINT64_MAX;
	for (u32 i = 0; i < h.e_phnum; i++) {
		if (kernel_segment_header(k, i, &p))
			return err_set(e, -EINVAL, "ELF program headers lie outside the file");
		if (p.p_type != PT_LOAD || !p.p_memsz)
			continue;
		rc = parse_segment(k, &p, (int)i, e);
		if (rc)
			return rc;
		if (h.e_entry >= p.p_paddr && h.e_entry - p.p_paddr < p.p_filesz) {
			entry = h.e_entry;
			found = true;
		} else if (!found && h.e_entry >= p.p_vaddr && h.e_entry - p.p_vaddr < p.p_filesz) {
			entry = h.e_entry - p.p_vaddr + p.p_paddr;
			found = true;
		}
	}
	if (!found)
		return err_set(e, -EINVAL, "ELF entry 0x%llx lies in no segment",
			       (unsigned long long)h.e_entry);
	k->entry = entry;
	return 0;
}

/* A kernel that is no ELF file and says in its Multiboot header where it belongs. */
static int parse_flat(struct kernel *k, const u8 *file, size_t size, struct err *e)
{
	k->elf = malloc(size ? size : 1);
	if (!k->elf)
		return err_set(e, -ENOMEM, "no memory for %zu bytes", size);
	memcpy(k->elf, file, size);
	k->elf_size = size;
	k->format = "Multiboot";
	k->is_32 = true;
	if (!multiboot_flat(k, &k->segment[0], &k->entry))
		return err_set(e, -EINVAL, "not a Linux kernel (neither bzImage nor ELF), and without a Multiboot header");
	if (k->segment[0].address < KERNEL_LOWEST)
		return err_set(e, -EINVAL, "Multiboot header: the load address lies below 1 MiB");
	k->segments = 1;
	k->start = k->segment[0].address;
	k->end = k->start + k->segment[0].size;
	if (k->entry < k->start || k->entry >= k->end)
		return err_set(e, -EINVAL, "Multiboot header: the entry lies outside the kernel");
	return 0;
}

static int parse_bzimage(struct kernel *k, const u8 *file, size_t size, struct payload_in *payload,
			 struct err *e)
{
	size_t start, offset, length, header_end;
	u16 version = get16(file, HDR_VERSION);

	if (version < VERSION_PAYLOAD)
		return err_set(e, -EINVAL, "boot protocol %d.%02d is too old (2.08 is needed)",
			       version >> 8, version & 0xff);
	if (!(file[HDR_LOADFLAGS] & LOADED_HIGH))
		return err_set(e, -EINVAL, "a zImage, not a bzImage");
	if (version >= VERSION_XLOADFLAGS && !(get16(file, HDR_XLOADFLAGS) & XLF_KERNEL_64))
		return err_set(e, -EINVAL, "not a 64-bit kernel");
	header_end = HDR_MAGIC + file[HDR_JUMP + 1];
	if (header_end < HDR_PAYLOAD_LENGTH + 4)
		return err_set(e, -EINVAL, "setup header is cut short");
	/* A newer, longer header is cut where boot_params has other fields. */
	header_end = MIN(header_end, (size_t)SETUP_HEADER_MAX);
	/* 0 stands for 4, from the days before the field (boot.rst). */
	start = ((file[HDR_SETUP_SECTS] ? file[HDR_SETUP_SECTS] : 4) + 1) * (size_t)SECTOR;
	offset = get32(file, HDR_PAYLOAD_OFFSET);
	length = get32(file, HDR_PAYLOAD_LENGTH);
	if (start > size || offset > size - start || length > size - start - offset || !length)
		return err_set(e, -EINVAL, "payload lies outside the file (cut short?)");
	k->setup_size = header_end - SETUP_HEADER_START;
	memcpy(k->setup, file + SETUP_HEADER_START, k->setup_size);
	*payload = (struct payload_in){ file + start + offset, length };
	return 0;
}

int kernel_parse(struct kernel *k, const u8 *file, size_t size, size_t limit, struct err *e)
{
	struct payload_in payload = { file, size };
	bool flat = false;
	int rc = 0;

	memset(k, 0, sizeof *k);
	if (size >= SETUP_HEADER_MAX && get16(file, HDR_BOOT_FLAG) == BOOT_FLAG &&
	    !memcmp(file + HDR_MAGIC, "HdrS", 4))
		rc = parse_bzimage(k, file, size, &payload, e);
	else if (size < SELFMAG || memcmp(file, ELFMAG, SELFMAG))
		flat = true;
	if (flat)
		rc = parse_flat(k, file, size, e);
	else if (!rc)
		rc = payload_unpack(payload, limit, &k->elf, &k->elf_size, &k->format, e);
	if (!rc && !flat)
		rc = parse_elf(k, e);
	if (rc)
		kernel_free(k);
	return rc;
}

void kernel_free(struct kernel *k)
{
	free(k->elf);
	k->elf = NULL;
	k->elf_size = 0;
}

/* Zeroes RAM; whole pages by giving them back, since most were never touched. */
static void clear(u8 *at, u64 size)
{
	u64 head = MIN(size, ALIGN_UP((uintptr_t)at, PAGE_SIZE) - (uintptr_t)at);
	u64 pages = (size - head) & PAGE_MASK;

	memset(at, 0, head);
	if (madvise(at + head, pages, MADV_REMOVE))
		memset(at + head, 0, pages);
	memset(at + head + pages, 0, size - head - pages);
}

int kernel_place(const struct kernel *k, struct vm *vm, struct err *e)
{
	const struct kernel_segment *s;
	u8 *to;

	for (s = k->segment; s < k->segment + k->segments; s++) {
		to = ram_pointer(vm, GPA(s->address), s->size);
		if (!to)
			return err_set(e, -E2BIG,
				       "kernel at [0x%llx, 0x%llx) does not fit into %llu MiB of memory",
				       (unsigned long long)s->address,
				       (unsigned long long)(s->address + s->size),
				       (unsigned long long)vm->ram_size >> 20);
		/* One call instead of a fault for every page. */
		madvise((void *)ALIGN_DOWN((uintptr_t)to, PAGE_SIZE), s->file_size, MADV_POPULATE_WRITE);
		memcpy(to, k->elf + s->offset, s->file_size);
		clear(to + s->file_size, s->size - s->file_size);
	}
	return 0;
}

/* Large pages spare a fault for each small one. */
static u8 *first_buffer(size_t room)
{
	const size_t large = 2 << 20;
	u8 *p = room < large ? malloc(room) : aligned_alloc(large, ALIGN_UP(room, large));

	if (p && room >= large)
		madvise(p, ALIGN_UP(room, large), MADV_HUGEPAGE);
	return p;
}

static int read_fd(int fd, const char *path, size_t limit, u8 **bytes, size_t *size, struct err *e)
{
	u8 *buffer = NULL, *larger;
	size_t room = 0, n = 0;
	struct stat st;
	ssize_t got;
	int rc;

	if (fstat(fd, &st))
		return err_sys(e, errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		return err_sys(e, EISDIR, "%s", path);
	for (;;) {
		if (n == room) {
			/* One byte more than the file, to see its end without another round. */
			room = room ? room * 2 : (S_ISREG(st.st_mode) ? (size_t)MIN((u64)st.st_size, limit) : 0xffff) + 1;
			larger = buffer ? realloc(buffer, room) : first_buffer(room);
			if (!larger) {
				rc = err_set(e, -ENOMEM, "%s: no memory for %zu bytes", path, room);
				break;
			}
			buffer = larger;
		}
		got = read(fd, buffer + n, room - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			rc = err_sys(e, errno, "%s", path);
			break;
		}
		if (!got) {
			*bytes = buffer;
			*size = n;
			return 0;
		}
		n += (size_t)got;
		if (n > limit) {
			rc = err_set(e, -E2BIG, "%s: larger than %zu MiB", path, limit >> 20);
			break;
		}
	}
	free(buffer);
	return rc;
}

int file_read_all(const char *path, size_t limit, u8 **bytes, size_t *size, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	rc = read_fd(fd, path, limit, bytes, size, e);
	close(fd);
	return rc;
}

int kernel_read(struct kernel *k, const char *path, size_t limit, struct err *e)
{
	size_t size;
	u8 *bytes;
	int rc;

	rc = file_read_all(path, KERNEL_FILE_MAX, &bytes, &size, e);
	if (rc)
		return rc;
	rc = kernel_parse(k, bytes, size, limit, e);
	if (rc)
		err_prefix(e, "%s", path);
	free(bytes);
	return rc;
}
