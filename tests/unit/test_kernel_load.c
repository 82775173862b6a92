/* SPDX-License-Identifier: MIT
 * The kernel loader: every payload format, cut at every byte, with broken headers, and mutated; and
 * what the boot loader then puts into RAM and the processor. */
/* WITH: base/err.c machine/ram.c machine/kernel.c machine/linux_boot.c machine/boot.c machine/pvh.c machine/multiboot.c machine/payload.c */
/* WITH: machine/payload_gzip.c machine/payload_xz.c machine/payload_zstd.c machine/payload_lz4.c */
/* WITH: machine/payload_bzip2.c */
/* LIBS: -lz -llzma -lzstd -llz4 -lbz2 */

#include "machine/kernel.h"
#include "machine/linux_boot.h"
#include "machine/ram.h"

#include <bzlib.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <lz4.h>
#include <lzma.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define LIMIT (64u << 20)
#define CODE_SIZE 3000u
#define CODE_OFFSET (sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr))
#define ELF_SIZE (CODE_OFFSET + CODE_SIZE)
#define ENTRY 0x1000010ull
#define SETUP_SIZE (5 * 512u)
#define FILE_ROOM 16384u
#define FUZZ_ROUNDS 1500

static char reason[2048];
static int failures;

__attribute__((format(printf, 3, 4)))
static void set_reason(int line, const char *condition, const char *format, ...)
{
	int at = snprintf(reason, 256, "line %d: %s: ", line, condition);
	va_list ap;

	va_start(ap, format);
	vsnprintf(reason + MIN(at, 255), sizeof reason - 256, format, ap);
	va_end(ap);
}

/* Leaves the test, with a reason, where the condition does not hold. */
#define CHECK(condition, ...) do { \
	if (!(condition)) { \
		set_reason(__LINE__, #condition, " " __VA_ARGS__); \
		return; \
	} } while (0)

static void result(const char *name)
{
	if (*reason) {
		printf("not ok - %s: %s\n", name, reason);
		failures++;
	} else {
		printf("ok - %s\n", name);
	}
	*reason = 0;
}

static u32 random_state = 12345;

static u32 random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	return random_state ^= random_state << 5;
}

/* ---- what is loaded: two segments, the code last in the file, so that every cut is seen ---- */

static void make_elf(u8 elf[ELF_SIZE])
{
	Elf64_Ehdr h = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = 1, .e_entry = ENTRY,
		.e_phoff = sizeof h, .e_ehsize = sizeof h, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
	};
	Elf64_Phdr p[2] = {
		{ .p_type = PT_LOAD, .p_offset = CODE_OFFSET, .p_vaddr = 0xffffffff81000000, .p_paddr = 0x1000000,
		  .p_filesz = CODE_SIZE, .p_memsz = CODE_SIZE },
		{ .p_type = PT_LOAD, .p_offset = CODE_OFFSET, .p_vaddr = 0xffffffff82000000, .p_paddr = 0x2000000,
		  .p_filesz = 16, .p_memsz = 0x5000 },
	};

	memcpy(elf, &h, sizeof h);
	memcpy(elf + sizeof h, p, sizeof p);
	for (u32 i = 0; i < CODE_SIZE; i++)
		elf[CODE_OFFSET + i] = (u8)(i % 7 ? i / 7 : random_next());
}

/* ---- one packer a format ---- */

typedef size_t pack(const u8 *from, size_t n, u8 *to, size_t room);

static size_t pack_none(const u8 *from, size_t n, u8 *to, size_t room)
{
	(void)room;
	memcpy(to, from, n);
	return n;
}

static size_t pack_gzip(const u8 *from, size_t n, u8 *to, size_t room)
{
	z_stream z = { .next_in = (Bytef *)from, .avail_in = (uInt)n, .next_out = to, .avail_out = (uInt)room };

	deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return z.total_out - 4; /* its size field is what add_size() would add */
}

static size_t pack_xz(const u8 *from, size_t n, u8 *to, size_t room)
{
	size_t at = 0;
	lzma_options_lzma options;
	lzma_filter filters[] = {
		{ LZMA_FILTER_X86, NULL }, { LZMA_FILTER_LZMA2, &options }, { LZMA_VLI_UNKNOWN, NULL },
	};

	lzma_lzma_preset(&options, 6);
	if (lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, from, n, to, &at, room))
		abort();
	return at;
}

static size_t pack_lzma(const u8 *from, size_t n, u8 *to, size_t room)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma options;

	lzma_lzma_preset(&options, 6);
	if (lzma_alone_encoder(&s, &options))
		abort();
	s.next_in = from;
	s.avail_in = n;
	s.next_out = to;
	s.avail_out = room;
	if (lzma_code(&s, LZMA_FINISH) != LZMA_STREAM_END)
		abort();
	lzma_end(&s);
	return s.total_out;
}

static size_t pack_bzip2(const u8 *from, size_t n, u8 *to, size_t room)
{
	unsigned int size = (unsigned int)room;

	BZ2_bzBuffToBuffCompress((char *)to, &size, (char *)from, (unsigned int)n, 9, 0, 0);
	return size;
}

static size_t pack_zstd(const u8 *from, size_t n, u8 *to, size_t room)
{
	return ZSTD_compress(to, room, from, n, 19);
}

/* Two blocks, so that a cut between them is met. */
static size_t pack_lz4(const u8 *from, size_t n, u8 *to, size_t room)
{
	static const u8 magic[] = { 0x02, 0x21, 0x4c, 0x18 };
	size_t at = sizeof magic, half = n / 2;
	u32 size;

	memcpy(to, magic, sizeof magic);
	for (size_t from_at = 0; from_at < n; from_at += half, half = n - half) {
		size = (u32)LZ4_compress_default((const char *)from + from_at, (char *)to + at + 4, (int)half,
						 (int)(room - at - 4));
		memcpy(to + at, &size, 4);
		at += 4 + size;
	}
	return at;
}

static const struct format {
	const char *name;
	pack *pack;
} formats[] = {
	{ "ELF", pack_none }, { "gzip", pack_gzip }, { "xz", pack_xz }, { "lzma", pack_lzma },
	{ "bzip2", pack_bzip2 }, { "zstd", pack_zstd }, { "lz4", pack_lz4 },
};

/* ---- a bzImage around a payload ---- */

static void put16(u8 *b, size_t at, u32 v)
{
	b[at] = (u8)v;
	b[at + 1] = (u8)(v >> 8);
}

static void put32(u8 *b, size_t at, u32 v)
{
	put16(b, at, v);
	put16(b, at + 2, v >> 16);
}

/* `payload` of `n` bytes lies at file + SETUP_SIZE + 64. */
static size_t wrap_bzimage(u8 *file, size_t n)
{
	memset(file, 0, SETUP_SIZE + 64);
	file[0x1f1] = 4;
	put16(file, 0x1fe, 0xaa55);
	file[0x200] = 0xeb;
	file[0x201] = 0x6a;
	memcpy(file + 0x202, "HdrS", 4);
	put16(file, 0x206, 0x20f);
	file[0x211] = 1;
	put32(file, 0x22c, 0x7fffffff);
	put16(file, 0x236, 0x3f);
	put32(file, 0x238, 2047);
	put32(file, 0x248, 64);
	put32(file, 0x24c, (u32)n);
	return SETUP_SIZE + 64 + n;
}

/* The bzImage of `elf` in that format; the stream's own length goes to *stream. */
static size_t make_bzimage(const struct format *f, const u8 *elf, u8 *file, size_t *stream)
{
	u8 *payload = file + SETUP_SIZE + 64;
	size_t n = f->pack(elf, ELF_SIZE, payload, FILE_ROOM - SETUP_SIZE - 68);

	*stream = n;
	if (f->pack != pack_none) {
		put32(payload, n, ELF_SIZE);
		n += 4;
	}
	return wrap_bzimage(file, n);
}

/* Parses a copy that ends exactly where the sanitizer watches. */
static int parse(struct kernel *k, const u8 *file, size_t n, struct err *e)
{
	u8 *copy = malloc(n ? n : 1);
	int rc;

	memset(e, 0, sizeof *e);
	memcpy(copy, file, n);
	rc = kernel_parse(k, copy, n, LIMIT, e);
	free(copy);
	return rc;
}

/* ---- tests ---- */

static u8 elf[ELF_SIZE], file[FILE_ROOM];

static void test_format(const struct format *f)
{
	struct kernel k;
	struct err e;
	size_t stream, n = make_bzimage(f, elf, file, &stream);

	CHECK(!parse(&k, file, n, &e), "%s", e.text);
	CHECK(!strcmp(k.format, f->name), "%s", k.format);
	CHECK(k.elf_size == ELF_SIZE && !memcmp(k.elf, elf, ELF_SIZE));
	CHECK(k.entry == ENTRY && k.segments == 2, "%d segments", k.segments);
	CHECK(k.start == 0x1000000 && k.end == 0x2005000);
	CHECK(k.setup_size == 0x202 + 0x6a - 0x1f1, "%zu", k.setup_size);
	kernel_free(&k);
}

static void test_cut(const struct format *f)
{
	struct kernel k;
	struct err e;
	size_t stream, n = make_bzimage(f, elf, file, &stream);

	for (size_t cut = 0; cut < n; cut++) {
		CHECK(parse(&k, file, cut, &e), "cut at %zu of %zu is taken", cut, n);
		CHECK(*e.text && !strchr(e.text, '\n'), "cut at %zu: no reason", cut);
		CHECK(!k.elf);
	}
}

/* The stream is cut and the header agrees. */
static void test_cut_stream(const struct format *f)
{
	struct kernel k;
	struct err e;
	size_t stream, n;
	u8 *payload = file + SETUP_SIZE + 64;

	make_bzimage(f, elf, file, &stream);
	for (size_t cut = stream; cut-- > 0;) {
		put32(payload, cut, ELF_SIZE);
		n = wrap_bzimage(file, cut + 4);
		CHECK(parse(&k, file, n, &e), "stream cut at %zu of %zu is taken", cut, stream);
		CHECK(*e.text, "stream cut at %zu: no reason", cut);
	}
}

/* The size that the payload claims is wrong. */
static void test_wrong_size(const struct format *f)
{
	static const u32 sizes[] = { 0, 1, ELF_SIZE - 1, ELF_SIZE + 1, LIMIT, LIMIT + 1, 0x7fffffff, 0xffffffff };
	struct kernel k;
	struct err e;
	size_t stream, n = make_bzimage(f, elf, file, &stream);

	/* gzip checks its own size field, so that the claim goes behind it. */
	if (f->pack == pack_gzip)
		n = wrap_bzimage(file, stream + 8);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		put32(file, n - 4, sizes[i]);
		CHECK(parse(&k, file, n, &e), "claims %u: taken", sizes[i]);
		CHECK(sizes[i] <= LIMIT || e.code == -E2BIG, "claims %u: %s", sizes[i], e.text);
	}
}

/* Bytes too few for a block, where an lz4 stream should end. */
static void test_lz4_rest(void)
{
	struct kernel k;
	struct err e;
	size_t stream, n;

	for (size_t rest = 1; rest < 4; rest++) {
		make_bzimage(&formats[ARRAY_SIZE(formats) - 1], elf, file, &stream);
		put32(file, SETUP_SIZE + 64 + stream + rest, ELF_SIZE);
		n = wrap_bzimage(file, stream + rest + 4);
		CHECK(parse(&k, file, n, &e) == -EINVAL, "%zu bytes", rest);
	}
}

/* Whatever is taken must also be placed without harm. */
static void try_place(const struct kernel *k, struct vm *vm)
{
	struct boot_image boot = { .kernel = k, .initrd = file, .initrd_size = 100, .command_line = "x" };
	struct err e = { 0 };

	if (k->entry < k->start || k->entry >= k->end)
		abort();
	if (k->end - k->start > (32u << 20))
		return; /* clearing much memory takes its time */
	linux64_load(vm, &boot, &e);
}

static void test_mutations(const struct format *f, struct vm *vm)
{
	static u8 copy[FILE_ROOM];
	size_t stream, n = make_bzimage(f, elf, file, &stream);
	int taken = 0, refused = 0;
	struct kernel k;
	struct err e;

	for (int round = 0; round < FUZZ_ROUNDS; round++) {
		memcpy(copy, file, n);
		for (u32 i = 0, most = 1 + random_next() % 4; i < most; i++) {
			/* Half of them where the structure is. */
			size_t at = random_next() % 2 ? random_next() % n :
				    random_next() % 2 ? 0x1f1 + random_next() % 0x80 :
							SETUP_SIZE + 64 + random_next() % 180;
			copy[at % n] = random_next() % 3 ? (u8)random_next() : 0xff;
		}
		if (parse(&k, copy, n, &e)) {
			refused++;
			CHECK(*e.text, "refused without a reason");
			continue;
		}
		taken++;
		try_place(&k, vm);
		kernel_free(&k);
	}
	CHECK(refused > 10, "%d taken, %d refused", taken, refused);
}

/* Broken fields: offset and bytes of a new value, and a word of the message. */
static const struct broken {
	size_t at;
	u64 value;
	int size;
	const char *message;
} broken_setup[] = {
	{ 0x1fe, 0, 2, "not a Linux kernel" },
	{ 0x202, 0, 4, "not a Linux kernel" },
	{ 0x201, 0x10, 1, "header is cut short" },
	{ 0x206, 0x207, 2, "too old" },
	{ 0x211, 0, 1, "zImage" },
	{ 0x236, 0, 2, "64-bit" },
	{ 0x1f1, 0xff, 1, "outside the file" },
	{ 0x248, 0xffffffff, 4, "outside the file" },
	{ 0x248, 0x7fffff00, 4, "outside the file" },
	{ 0x24c, 0xffffffff, 4, "outside the file" },
	{ 0x24c, 0, 4, "outside the file" },
	{ 0x248, 65, 4, "outside the file" },
	{ SETUP_SIZE + 64, 0, 4, "no known compression" },
}, broken_elf[] = {
	{ EI_CLASS, 1, 1, "x86 ELF" },
	{ EI_DATA, 2, 1, "x86 ELF" },
	{ offsetof(Elf64_Ehdr, e_machine), 3, 2, "x86 ELF" },
	{ offsetof(Elf64_Ehdr, e_type), ET_REL, 2, "not an executable" },
	{ offsetof(Elf64_Ehdr, e_phentsize), 1, 2, "program headers" },
	{ offsetof(Elf64_Ehdr, e_phnum), 0xffff, 2, "program headers" },
	{ offsetof(Elf64_Ehdr, e_phoff), UINT64_MAX - 10, 8, "program headers" },
	{ offsetof(Elf64_Ehdr, e_phoff), ELF_SIZE, 8, "program headers" },
	{ offsetof(Elf64_Ehdr, e_phnum), 0, 2, "lies in no segment" },
	{ offsetof(Elf64_Ehdr, e_entry), 0x900000, 8, "lies in no segment" },
	{ sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_offset), UINT64_MAX - 8, 8, "outside the file" },
	{ sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_filesz), CODE_SIZE + 1, 8, "outside the file" },
	{ sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_filesz), UINT64_MAX, 8, "outside the file" },
	{ sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_memsz), CODE_SIZE - 1, 8, "larger in the file" },
	{ sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_memsz), UINT64_MAX, 8, "no possible address" },
	{ sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_paddr), 0x1000, 8, "no possible address" },
	{ sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_paddr), UINT64_MAX - 8, 8, "no possible address" },
};

static void test_broken(const struct broken *rows, size_t count, bool bzimage)
{
	static u8 copy[FILE_ROOM];
	size_t stream, n;
	struct kernel k;
	struct err e;

	n = bzimage ? make_bzimage(&formats[1], elf, file, &stream) : ELF_SIZE;
	for (size_t i = 0; i < count; i++) {
		memcpy(copy, bzimage ? file : elf, n);
		memcpy(copy + rows[i].at, &rows[i].value, (size_t)rows[i].size);
		CHECK(parse(&k, copy, n, &e) == -EINVAL, "row %zu (%s): taken", i, rows[i].message);
		CHECK(strstr(e.text, rows[i].message), "row %zu: %s", i, e.text);
	}
}

/* 65 segments are one too many. */
static void test_many_segments(void)
{
	static u8 many[sizeof(Elf64_Ehdr) + 65 * sizeof(Elf64_Phdr) + CODE_SIZE];
	Elf64_Ehdr h;
	Elf64_Phdr p;
	struct kernel k;
	struct err e;

	memcpy(&h, elf, sizeof h);
	memcpy(&p, elf + sizeof h, sizeof p);
	for (u16 n = 64; n <= 65; n++) {
		h.e_phnum = n;
		memcpy(many, &h, sizeof h);
		for (u16 i = 0; i < n; i++)
			memcpy(many + sizeof h + i * sizeof p, &p, sizeof p);
		CHECK(parse(&k, many, sizeof many, &e) == (n == 64 ? 0 : -EINVAL), "%d: %s", n, e.text);
		if (n == 64)
			kernel_free(&k);
	}
}

static void test_virtual_entry(void)
{
	static u8 copy[ELF_SIZE];
	u64 entry = 0xffffffff81000020;
	struct kernel k;
	struct err e;

	memcpy(copy, elf, ELF_SIZE);
	memcpy(copy + offsetof(Elf64_Ehdr, e_entry), &entry, 8);
	CHECK(!parse(&k, copy, ELF_SIZE, &e), "%s", e.text);
	CHECK(k.entry == 0x1000020, "0x%llx", (unsigned long long)k.entry);
	kernel_free(&k);
}

/* ---- RAM and boot ---- */

static u64 get(const u8 *b, size_t at, int size)
{
	u64 v = 0;

	memcpy(&v, b + at, (size_t)size);
	return v;
}

/* The map must cover exactly the RAM but [0xa0000, 1 MiB), in order, and nothing of the hole. */
static void test_e820(u64 size)
{
	struct e820_range map[RAM_E820_MAX];
	struct vm vm = { 0 };
	struct err e = { 0 };
	u64 usable = 0, last = 0;
	int n;

	CHECK(!ram_create(&vm, size, &e), "%s", e.text);
	n = ram_e820(&vm, map);
	CHECK(n > 0 && n <= RAM_E820_MAX);
	for (int i = 0; i < n; i++) {
		CHECK(map[i].start >= last && map[i].size, "range %d", i);
		last = map[i].start + map[i].size;
		if (map[i].type != E820_RAM)
			continue;
		usable += map[i].size;
		CHECK(map[i].start + map[i].size <= 0xa0000 || map[i].start >= 0x100000, "range %d", i);
		CHECK(last <= VM_RAM_HOLE || map[i].start >= VM_RAM_HIGH, "range %d", i);
		CHECK(ram_pointer(&vm, GPA(map[i].start), map[i].size), "range %d is not RAM", i);
		CHECK(!ram_pointer(&vm, GPA(map[i].start), size + 1), "range %d", i);
	}
	CHECK(usable == size - (0x100000 - 0x9fc00), "%llu usable", (unsigned long long)usable);
	CHECK(!ram_pointer(&vm, GPA(vm.ram_low), 1));
	CHECK(!ram_pointer(&vm, GPA(vm.ram_low - 1), 2));
	CHECK(!ram_pointer(&vm, GPA(VM_RAM_HIGH + size - vm.ram_low), 1));
	CHECK(!ram_pointer(&vm, GPA(VM_RAM_HIGH + 1), size - vm.ram_low));
	CHECK(!ram_pointer(&vm, GPA(1), vm.ram_low));
	CHECK(!ram_pointer(&vm, GPA(8), UINT64_MAX));
	ram_destroy(&vm);
}

static void test_ram_sizes(void)
{
	static const u64 bad[] = { 0, 64ull << 20, (128ull << 20) + 4096, RAM_MAX + (2ull << 20), UINT64_MAX };
	struct vm vm = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = { 0 };

		CHECK(ram_create(&vm, bad[i], &e) == -EINVAL, "row %zu", i);
		CHECK(*e.text);
	}
}

static void check_entry(const struct cpu *c, u64 entry)
{
	CHECK(c->rip == entry && c->gpr[RSI] == BOOT_PARAMS && c->rflags == RF_FIXED);
	CHECK((c->cr0 & (CR0_PE | CR0_PG)) == (CR0_PE | CR0_PG) && c->cr4 & CR4_PAE);
	CHECK((c->efer & (EFER_LME | EFER_LMA)) == (EFER_LME | EFER_LMA));
	CHECK(c->seg[SEG_CS].sel == 0x10 && c->seg[SEG_CS].attr & ATTR_L);
	CHECK(c->seg[SEG_DS].sel == 0x18 && c->seg[SEG_ES].sel == 0x18 && c->seg[SEG_SS].sel == 0x18);
}

/* The page tables map [0, 4 GiB) one to one. */
static void check_identity(const struct vm *vm)
{
	for (u64 at = 0; at < VM_RAM_HIGH; at += 0x1fffff) {
		u64 entry = get(vm->ram, vm->cpu.cr3 + (at >> 39) * 8, 8);

		CHECK(entry & 1, "no PML4 entry for 0x%llx", (unsigned long long)at);
		entry = get(vm->ram, (entry & 0xffffffffff000) + (at >> 30 & 511) * 8, 8);
		CHECK(entry & 1, "no PDPT entry for 0x%llx", (unsigned long long)at);
		entry = get(vm->ram, (entry & 0xffffffffff000) + (at >> 21 & 511) * 8, 8);
		CHECK((entry & 0x83) == 0x83, "no 2 MiB entry for 0x%llx", (unsigned long long)at);
		CHECK((entry & 0xfffffffe00000) == (at & ~0x1fffffull), "0x%llx", (unsigned long long)at);
	}
}

static void test_boot(struct vm *vm)
{
	static const u8 initrd[5000] = { 1, 2, 3 };
	struct boot_image boot = {
		.initrd = initrd, .initrd_size = sizeof initrd, .command_line = "console=ttyS0 quiet",
		.acpi_rsdp = GPA(0xe0000),
	};
	struct kernel k;
	struct err e = { 0 };
	size_t stream, n = make_bzimage(&formats[1], elf, file, &stream);
	const u8 *bp = vm->ram + BOOT_PARAMS;
	u64 at;

	CHECK(!parse(&k, file, n, &e), "%s", e.text);
	boot.kernel = &k;
	memset(vm->ram + 0x2000000, 0xee, 0x6000);
	CHECK(!linux64_load(vm, &boot, &e), "%s", e.text);
	CHECK(!memcmp(vm->ram + 0x1000000, elf + CODE_OFFSET, CODE_SIZE));
	CHECK(!memcmp(vm->ram + 0x2000000, elf + CODE_OFFSET, 16));
	for (at = 0x2000010; at < 0x2005000; at++)
		CHECK(!vm->ram[at], "not cleared at 0x%llx", (unsigned long long)at);
	CHECK(vm->ram[0x2005000] == 0xee, "cleared too much");
	CHECK(!memcmp(bp + 0x1f2, file + 0x1f2, 0x202 - 0x1f2));
	CHECK(get(bp, 0x202, 4) == 0x53726448 && get(bp, 0x206, 2) == 0x20f && bp[0x210] == 0xff);
	CHECK(!strcmp((const char *)vm->ram + get(bp, 0x228, 4), boot.command_line));
	CHECK(get(bp, 0x070, 8) == 0xe0000 && bp[0x1e8] >= 3);
	at = get(bp, 0x218, 4);
	CHECK(at % 4096 == 0 && get(bp, 0x21c, 4) == sizeof initrd);
	CHECK(at + sizeof initrd <= vm->ram_low && at + sizeof initrd + 4096 > vm->ram_low, "not high");
	CHECK(!memcmp(vm->ram + at, initrd, sizeof initrd));
	check_entry(&vm->cpu, ENTRY);
	if (!*reason)
		check_identity(vm);
	kernel_free(&k);
}

static int boot_error(struct vm *vm, const struct boot_image *with, const u8 *bytes, size_t n, struct err *e)
{
	struct boot_image boot = *with;
	struct kernel k;
	int rc = parse(&k, bytes, n, e);

	if (rc)
		return rc;
	boot.kernel = &k;
	rc = linux64_load(vm, &boot, e);
	kernel_free(&k);
	return rc;
}

static void test_boot_limits(struct vm *vm)
{
	static u8 copy[ELF_SIZE], *big;
	static char line[3000];
	struct boot_image boot = { .command_line = "" };
	struct err e;
	u64 address = 0x7ffffff0;

	memcpy(copy, elf, ELF_SIZE);
	memset(line, 'x', 2048);
	boot.command_line = line;
	CHECK(boot_error(vm, &boot, elf, ELF_SIZE, &e) == -EINVAL, "a long command line is taken");
	line[2047] = 0;
	CHECK(!boot_error(vm, &boot, elf, ELF_SIZE, &e), "%s", e.text);
	boot.command_line = "";
	big = calloc(1, 128u << 20);
	boot.initrd = big;
	boot.initrd_size = 128u << 20;
	CHECK(boot_error(vm, &boot, elf, ELF_SIZE, &e) == -E2BIG, "an initrd as large as the memory");
	boot.initrd_size = (128u << 20) - 0x2004000;
	CHECK(boot_error(vm, &boot, elf, ELF_SIZE, &e) == -E2BIG, "an initrd over the kernel");
	boot.initrd_size = (128u << 20) - 0x2005000;
	CHECK(!boot_error(vm, &boot, elf, ELF_SIZE, &e), "%s", e.text);
	boot.initrd = NULL;
	memcpy(copy + sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_paddr), &address, 8);
	memcpy(copy + offsetof(Elf64_Ehdr, e_entry), &address, 8);
	CHECK(boot_error(vm, &boot, copy, ELF_SIZE, &e) == -E2BIG, "a kernel beyond the memory");
	free(big);
}

static void test_files(void)
{
	char path[] = "/tmp/penumbra-kernel-XXXXXX";
	int fd = mkstemp(path);
	struct kernel k;
	struct err e = { 0 };

	CHECK(write(fd, elf, ELF_SIZE) == (ssize_t)ELF_SIZE);
	close(fd);
	CHECK(!kernel_read(&k, path, LIMIT, &e), "%s", e.text);
	kernel_free(&k);
	CHECK(!truncate(path, 0));
	CHECK(kernel_read(&k, path, LIMIT, &e) == -EINVAL && strstr(e.text, path), "%s", e.text);
	unlink(path);
	e = (struct err){ 0 };
	CHECK(kernel_read(&k, path, LIMIT, &e) == -ENOENT && strstr(e.text, path), "%s", e.text);
	e = (struct err){ 0 };
	CHECK(kernel_read(&k, "/tmp", LIMIT, &e) == -EISDIR, "%s", e.text);
}

static void test_formats(struct vm *vm)
{
	static const struct { const char *what; void (*test)(const struct format *f); } tests[] = {
		{ "is loaded", test_format }, { "cut at every byte", test_cut },
		{ "stream cut at every byte", test_cut_stream }, { "wrong size claimed", test_wrong_size },
	};
	char name[100];

	for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
		for (size_t t = 0; t < (formats[f].pack == pack_none ? 2 : ARRAY_SIZE(tests)); t++) {
			tests[t].test(&formats[f]);
			snprintf(name, sizeof name, "%s payload: %s", formats[f].name, tests[t].what);
			result(name);
		}
		test_mutations(&formats[f], vm);
		snprintf(name, sizeof name, "%s payload: mutated", formats[f].name);
		result(name);
	}
}

int main(void)
{
	static const u64 gib[] = { 1, 3, 4, 8 };
	struct vm vm = { 0 };
	struct err e = { 0 };
	char name[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	make_elf(elf);
	if (ram_create(&vm, 128u << 20, &e)) {
		printf("not ok - guest RAM: %s\n", e.text);
		return 1;
	}
	test_formats(&vm);
	test_lz4_rest();
	result("lz4 payload: bytes after the last block");
	test_broken(broken_setup, ARRAY_SIZE(broken_setup), true);
	result("broken setup headers are refused with their reason");
	test_broken(broken_elf, ARRAY_SIZE(broken_elf), false);
	result("broken ELF headers are refused with their reason");
	test_many_segments();
	result("segments are bounded");
	test_virtual_entry();
	result("a virtual entry is translated");
	test_ram_sizes();
	result("impossible memory sizes are refused");
	test_e820(128u << 20);
	result("memory map of 128 MiB");
	for (size_t i = 0; i < ARRAY_SIZE(gib); i++) {
		test_e820(gib[i] << 30);
		snprintf(name, sizeof name, "memory map of %llu GiB", (unsigned long long)gib[i]);
		result(name);
	}
	test_boot(&vm);
	result("boot parameters and entry state");
	test_boot_limits(&vm);
	result("what does not fit is refused");
	test_files();
	result("files that are missing, empty or directories");
	ram_destroy(&vm);
	return failures != 0;
}
