/* SPDX-License-Identifier: MIT
 * Which system calls a program can reach: its code and its libraries' code are followed from their
 * entry points through direct calls and jumps, and from every place whose address is taken.  At a
 * SYSCALL instruction the number is the last constant put into EAX on the way there.
 *
 * Over-approximates (a function whose address lies in a table counts as called), and says how many
 * call sites stay open because the number is computed (libc's syscall() itself).  Indirect calls are
 * covered by the addresses taken.  Code made at run time is not seen.
 *
 * Sources: System V ABI, AMD64 supplement; ELF-64 Object File Format 1.5. */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "container/harden_config.h"
#include "x86/decode.h"

#define OBJECTS_MAX 64
#define FILE_MAX (512u << 20)

struct object {
	char *name;            /* path in the image */
	const u8 *map;
	size_t size;
	const Elf64_Ehdr *eh;
	const Elf64_Phdr *ph;
	const Elf64_Sym *sym;
	size_t n_sym;
	const char *str;
	size_t str_size;
	u64 low, high;         /* executable addresses */
	u8 *seen;              /* a bit per byte of them: decoded already */
	u64 *work;             /* addresses to follow */
	size_t n_work, size_work;
};

struct scan {
	int root;
	struct object o[OBJECTS_MAX];
	size_t n;
	void (*found)(int nr, const char *file, void *);
	void *arg;
	size_t unresolved;
};

/* File bytes behind a virtual address, at least `need`; NULL outside every segment. */
static const u8 *at(const struct object *o, u64 address, size_t need)
{
	size_t i;

	for (i = 0; i < o->eh->e_phnum; i++) {
		const Elf64_Phdr *p = &o->ph[i];

		if (p->p_type == PT_LOAD && address >= p->p_vaddr &&
		    address - p->p_vaddr < p->p_filesz && need <= p->p_filesz - (address - p->p_vaddr))
			return o->map + p->p_offset + (address - p->p_vaddr);
	}
	return NULL;
}

static bool executable(const struct object *o, u64 address)
{
	size_t i;

	if (address < o->low || address >= o->high)
		return false;
	for (i = 0; i < o->eh->e_phnum; i++) {
		const Elf64_Phdr *p = &o->ph[i];

		if (p->p_type == PT_LOAD && p->p_flags & PF_X && address >= p->p_vaddr &&
		    address - p->p_vaddr < p->p_filesz)
			return true;
	}
	return false;
}

static void follow(struct object *o, u64 address)
{
	u64 bit;

	if (!executable(o, address))
		return;
	bit = address - o->low;
	if (o->seen[bit >> 3] & 1 << (bit & 7))
		return;
	if (o->n_work == o->size_work) {
		size_t size = o->size_work ? o->size_work * 2 : 1024;
		u64 *v = realloc(o->work, size * sizeof *v);

		if (!v)
			return;
		o->work = v;
		o->size_work = size;
	}
	o->work[o->n_work++] = address;
}

/* One straight run of instructions. */
static void walk(struct scan *s, struct object *o, u64 address)
{
	s64 eax = -1;

	for (;;) {
		u64 bit = address - o->low;
		struct insn in;
		const u8 *p;
		size_t avail;

		if (!executable(o, address) || o->seen[bit >> 3] & 1 << (bit & 7))
			return;
		for (avail = 15, p = NULL; avail && !p; avail--)
			p = at(o, address, avail);
		if (!p || insn_decode(&in, p, avail + 1, MODE_64) || in.klass == IC_INVALID)
			return;
		o->seen[bit >> 3] |= (u8)(1 << (bit & 7));
		address += in.len;
		if (in.klass == IC_SYSCALL) {
			if (eax >= 0)
				s->found((int)eax, o->name, s->arg);
			else
				s->unresolved++;
			eax = -1;
		} else if (in.klass == IC_CALL) {
			follow(o, address + (u64)in.imm);
			eax = -1;
		} else if (in.klass == IC_JMP) {
			follow(o, address + (u64)in.imm);
			return;
		} else if (in.klass == IC_JCC || in.klass == IC_LOOP) {
			follow(o, address + (u64)in.imm);
		} else if (in.klass == IC_RET || in.klass == IC_JMP_IND || in.klass == IC_HLT ||
			   in.klass == IC_RETF || in.klass == IC_INT3) {
			return;
		} else if (in.map == MAP_1B && in.op == 0xb8 && !(in.rex & 1)) {
			eax = in.imm & 0xffffffff; /* mov eax, number */
		} else if (in.map == MAP_1B && in.op == 0xc7 && in.mod == 3 && in.rm == RAX) {
			eax = in.imm & 0xffffffff;
		} else if (in.map == MAP_1B && (in.op == 0x31 || in.op == 0x33) && in.mod == 3 &&
			   in.rm == RAX && in.reg == RAX) {
			eax = 0; /* xor eax, eax */
		} else if (in.reg_write & 1u << RAX) {
			eax = -1;
		}
		/* an address that is formed is an address that may be called */
		if (in.has_mem && in.base == REG_RIP && in.map == MAP_1B && in.op == 0x8d)
			follow(o, address + (u64)in.disp);
		if (in.imm_size >= 4 && in.klass == IC_PLAIN && o->eh->e_type == ET_EXEC)
			follow(o, (u64)in.imm);
	}
}

static bool valid_header(const struct object *o)
{
	const Elf64_Ehdr *h = o->eh;
	size_t i;

	if (o->size < sizeof *h || memcmp(h->e_ident, ELFMAG, SELFMAG) ||
	    h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != EM_X86_64 ||
	    h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phoff > o->size ||
	    (o->size - h->e_phoff) / sizeof(Elf64_Phdr) < h->e_phnum || h->e_phoff & 7)
		return false;
	for (i = 0; i < h->e_phnum; i++) {
		const Elf64_Phdr *p = (const Elf64_Phdr *)(o->map + h->e_phoff) + i;

		if (p->p_type == PT_LOAD && (p->p_offset > o->size || p->p_filesz > o->size - p->p_offset))
			return false;
	}
	return true;
}

static u64 dynamic(const struct object *o, s64 tag)
{
	size_t i, k;

	for (i = 0; i < o->eh->e_phnum; i++) {
		const Elf64_Phdr *p = &o->ph[i];

		if (p->p_type != PT_DYNAMIC || p->p_offset > o->size ||
		    p->p_filesz > o->size - p->p_offset || p->p_offset & 7)
			continue;
		for (k = 0; k < p->p_filesz / sizeof(Elf64_Dyn); k++) {
			const Elf64_Dyn *d = (const Elf64_Dyn *)(o->map + p->p_offset) + k;

			if (d->d_tag == tag)
				return d->d_un.d_val;
		}
	}
	return 0;
}

static void find_symbols(struct object *o)
{
	u64 hash = dynamic(o, DT_GNU_HASH), str = dynamic(o, DT_STRTAB), sym = dynamic(o, DT_SYMTAB);

	o->str_size = dynamic(o, DT_STRSZ);
	o->str = str ? (const char *)at(o, str, o->str_size) : NULL;
	if (!o->str || !sym || !o->str_size || o->str[o->str_size - 1])
		return;
	(void)hash;
	/* the string table follows the symbols in every linker's layout; the bound is checked again */
	if (str > sym && (str - sym) / sizeof(Elf64_Sym) < 1 << 20)
		o->n_sym = (str - sym) / sizeof(Elf64_Sym);
	o->sym = (const Elf64_Sym *)at(o, sym, o->n_sym * sizeof(Elf64_Sym));
	if (!o->sym)
		o->n_sym = 0;
}

/* Words in data that look like code addresses, and relocations that make such words. */
static void follow_data(struct object *o)
{
	u64 rela = dynamic(o, DT_RELA), size = dynamic(o, DT_RELASZ), i;
	const Elf64_Rela *r = rela ? (const Elf64_Rela *)at(o, rela, size) : NULL;
	size_t k;

	for (i = 0; r && i < size / sizeof *r; i++) {
		u32 type = (u32)ELF64_R_TYPE(r[i].r_info);

		if (type == R_X86_64_RELATIVE || type == R_X86_64_IRELATIVE)
			follow(o, (u64)r[i].r_addend);
	}
	for (k = 0; k < o->eh->e_phnum; k++) {
		const Elf64_Phdr *p = &o->ph[k];

		if (p->p_type != PT_LOAD || p->p_flags & PF_X)
			continue;
		for (i = 0; i + 8 <= p->p_filesz; i += 8) {
			u64 v;

			memcpy(&v, o->map + p->p_offset + i, 8);
			follow(o, v);
		}
	}
}

static struct object *load(struct scan *s, const char *path)
{
	struct object *o = &s->o[s->n];
	_cleanup_fd_ int fd = -1;
	struct stat st;
	size_t i;

	for (i = 0; i < s->n; i++)
		if (!strcmp(s->o[i].name, path))
			return &s->o[i];
	if (s->n == OBJECTS_MAX)
		return NULL;
	fd = path_open(s->root, path, PATH_IN_ROOT, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 64 ||
	    st.st_size > FILE_MAX)
		return NULL;
	memset(o, 0, sizeof *o);
	o->size = (size_t)st.st_size;
	o->map = mmap(NULL, o->size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (o->map == MAP_FAILED)
		return NULL;
	o->eh = (const Elf64_Ehdr *)o->map;
	if (!valid_header(o)) {
		munmap((void *)o->map, o->size);
		return NULL;
	}
	o->ph = (const Elf64_Phdr *)(o->map + o->eh->e_phoff);
	o->low = ~0ull;
	for (i = 0; i < o->eh->e_phnum; i++)
		if (o->ph[i].p_type == PT_LOAD && o->ph[i].p_flags & PF_X) {
			o->low = MIN(o->low, o->ph[i].p_vaddr);
			o->high = MAX(o->high, o->ph[i].p_vaddr + o->ph[i].p_filesz);
		}
	if (o->low >= o->high || o->high - o->low > FILE_MAX ||
	    !(o->seen = calloc((o->high - o->low) / 8 + 1, 1)) || !(o->name = strdup(path))) {
		free(o->seen);
		munmap((void *)o->map, o->size);
		return NULL;
	}
	find_symbols(o);
	s->n++;
	return o;
}

/* Libraries are looked for where a Debian system has them. */
static void load_library(struct scan *s, const char *name)
{
	static const char *const dirs[] = {
		"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib",
		"/usr/lib", "/usr/local/lib",
	};
	char path[512];
	size_t i;

	if (strchr(name, '/')) {
		load(s, name);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof path, "%s/%.200s", dirs[i], name);
		if (load(s, path))
			return;
	}
}

static void load_needed(struct scan *s, size_t index)
{
	size_t i, k;

	for (i = 0; i < s->o[index].eh->e_phnum; i++) {
		const struct object *o = &s->o[index];
		const Elf64_Phdr *p = &o->ph[i];

		if (p->p_offset > o->size || p->p_filesz > o->size - p->p_offset)
			continue;
		if (p->p_type == PT_INTERP && p->p_filesz && !o->map[p->p_offset + p->p_filesz - 1])
			load(s, (const char *)o->map + p->p_offset);
		if (p->p_type != PT_DYNAMIC || p->p_offset & 7)
			continue;
		for (k = 0; k < p->p_filesz / sizeof(Elf64_Dyn); k++) {
			const Elf64_Dyn *d = (const Elf64_Dyn *)(o->map + p->p_offset) + k;

			if (d->d_tag == DT_NEEDED && o->str && d->d_un.d_val < o->str_size)
				load_library(s, o->str + d->d_un.d_val);
		}
	}
}

/* Functions of `to` that any object asks for by name. */
static void follow_imports(struct scan *s, struct object *to)
{
	size_t a, i, k;

	for (a = 0; a < s->n; a++) {
		const struct object *from = &s->o[a];

		for (i = 0; i < from->n_sym; i++) {
			const char *name;

			if (from->sym[i].st_shndx != SHN_UNDEF || from->sym[i].st_name >= from->str_size)
				continue;
			name = from->str + from->sym[i].st_name;
			for (k = 0; *name && k < to->n_sym; k++)
				if (to->sym[k].st_shndx != SHN_UNDEF && to->sym[k].st_name < to->str_size &&
				    !strcmp(name, to->str + to->sym[k].st_name))
					follow(to, to->sym[k].st_value);
		}
	}
}

int elf_scan(int root, const char *path, void (*found)(int nr, const char *file, void *), void *arg,
	     size_t *unresolved, struct err *e)
{
	struct scan *s = calloc(1, sizeof *s);
	size_t i;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->root = root;
	s->found = found;
	s->arg = arg;
	if (load(s, path)) /* a script's interpreter has an execve of its own */
		for (i = 0; i < s->n; i++)
			load_needed(s, i);
	for (i = 0; i < s->n; i++) {
		struct object *o = &s->o[i];

		follow(o, o->eh->e_entry);
		follow(o, dynamic(o, DT_INIT));
		follow(o, dynamic(o, DT_FINI));
		follow_data(o);
		follow_imports(s, o);
		while (o->n_work)
			walk(s, o, o->work[--o->n_work]);
	}
	*unresolved = s->unresolved;
	for (i = 0; i < s->n; i++) {
		free(s->o[i].seen);
		free(s->o[i].work);
		free(s->o[i].name);
		munmap((void *)s->o[i].map, s->o[i].size);
	}
	free(s);
	return 0;
}
