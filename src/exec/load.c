/* SPDX-License-Identifier: MIT
 * Brings a program into memory as the kernel's execve would: ELF programs, their interpreter, scripts; and
 * execve itself, which starts the runtime anew with the next program.
 *
 * The runtime's own arguments are: its name, its options, the program's path, the program's arguments.
 * Sources: System V ABI (AMD64 supplement) 3.4, elf(5), execve(2). */
#include "exec/exec.h"
#include "exec/hot.h"
#include "exec/keep.h"

#define AT_FDCWD (-100)
#define AT_EMPTY_PATH 0x1000
#define AT_EACCESS 0x200
#define O_CLOEXEC 02000000
#define O_NONBLOCK 04000
#define PATH_MAX 4096
#define S_IFMT 0170000
#define S_IFREG 0100000
#define S_ISUID 04000
#define S_ISGID 02000
#define ET_EXEC 2
#define ET_DYN 3
#define EM_X86_64 62
#define PT_LOAD 1
#define PT_INTERP 3
#define PT_GNU_STACK 0x6474e551
#define PH_X 1
#define PH_W 2
#define PH_R 4
#define HEADERS_MAX 64
#define SCRIPT_LEVELS 5
#define SCRIPT_LINE 256
#define STACK_ROOM 0x800000
#define PR_SET_NAME 15
#define LIMIT_MIN 32768u /* of the code cache: room for a block */

struct ehdr {
	u8 ident[16];
	u16 type, machine;
	u32 version;
	u64 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct phdr { u32 type, flags; u64 offset, vaddr, paddr, filesz, memsz, align; };
struct auxv { u64 type, value; };
enum { AT_NULL, AT_IGNORE, AT_PHDR = 3, AT_PHENT, AT_PHNUM, AT_BASE = 7, AT_ENTRY = 9, AT_RSEQ_SIZE = 27,
       AT_RSEQ_ALIGN = 28, AT_EXECFN = 31, AT_SYSINFO_EHDR = 33 };

struct image {
	struct ehdr eh;
	struct phdr ph[HEADERS_MAX];
	u64 bias, phdr, entry;
	char interp[PATH_MAX];
	bool exec_stack;
};
/* What a script's first line adds. */
struct script { char line[SCRIPT_LINE]; char *interp, *argument; };

static struct image program, interpreter;
static struct script scripts[SCRIPT_LEVELS];

struct stat_head { u64 dev, ino, nlink; u32 mode, uid, gid, pad; u64 rest[20]; };

static _Noreturn void cannot(const char *path, const char *why, s64 error)
{
	if (error)
		say("%s: %s (error %ld)", path, why, -error);
	else
		say("%s: %s", path, why);
	sys1(__NR_exit_group, error == -ENOENT ? 127 : 126);
	__builtin_unreachable();
}

static void read_headers(struct image *im, s64 fd, const char *path)
{
	struct ehdr *h = &im->eh;
	bool stack_seen = false;

	if (sys4(__NR_pread64, fd, h, sizeof *h, 0) != sizeof *h || __builtin_memcmp(h->ident, "\177ELF\2\1", 6) ||
	    h->machine != EM_X86_64 || (h->type != ET_EXEC && h->type != ET_DYN) || h->phentsize != sizeof(struct phdr))
		cannot(path, "not a program for x86-64 Linux", 0);
	if (h->phnum > HEADERS_MAX)
		cannot(path, "more program headers than there is room for", 0);
	if (sys4(__NR_pread64, fd, im->ph, h->phnum * sizeof(struct phdr), h->phoff) != (s64)(h->phnum * sizeof(struct phdr)))
		cannot(path, "the file is cut short", 0);
	for (u32 i = 0; i < h->phnum; i++) {
		const struct phdr *p = &im->ph[i];

		if (p->type == PT_INTERP && p->filesz && p->filesz < PATH_MAX) {
			s64 n = sys4(__NR_pread64, fd, im->interp, p->filesz, p->offset);

			im->interp[MAX(n, 0)] = 0;
		}
		if (p->type == PT_GNU_STACK) {
			stack_seen = true;
			im->exec_stack = p->flags & PH_X;
		}
	}
	(void)stack_seen;
}

static u32 prot_of(u32 flags)
{
	return (flags & PH_R ? PROT_READ : 0) | (flags & PH_W ? PROT_WRITE : 0) | (flags & PH_X ? PROT_EXEC : 0);
}

/* The bias of a position-independent image: room for all of it, aligned as its segments want. */
static u64 reserve(struct image *im, const char *path)
{
	u64 low = ~0ull, high = 0, align = PAGE_SIZE;

	for (u32 i = 0; i < im->eh.phnum; i++) {
		const struct phdr *p = &im->ph[i];

		if (p->type != PT_LOAD)
			continue;
		low = MIN(low, ALIGN_DOWN(p->vaddr, PAGE_SIZE));
		high = MAX(high, ALIGN_UP(p->vaddr + p->memsz, PAGE_SIZE));
		if (p->align > align && !(p->align & (p->align - 1)))
			align = p->align;
	}
	if (low >= high)
		cannot(path, "nothing to load", 0);
	if (im->eh.type == ET_EXEC) {
		if (is_reserved(low, high))
			cannot(path, "the program is linked at addresses that the runtime needs", 0);
		return 0;
	}
	u64 size = high - low + (align > PAGE_SIZE ? align : 0);
	s64 at = memory_place(size, 0, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at < 0)
		cannot(path, "no room in memory", at);
	u64 begin = ALIGN_UP((u64)at, align), end = begin + (high - low);

	if (begin > (u64)at)
		host_munmap((u64)at, begin - (u64)at);
	if (end < (u64)at + size)
		host_munmap(end, (u64)at + size - end);
	return begin - low;
}

static void load_segment(struct image *im, const struct phdr *p, s64 fd, const char *path)
{
	u64 begin = ALIGN_DOWN(im->bias + p->vaddr, PAGE_SIZE), skew = p->vaddr & ~PAGE_MASK;
	u64 file_end = im->bias + p->vaddr + p->filesz, end = ALIGN_UP(im->bias + p->vaddr + p->memsz, PAGE_SIZE);
	u32 prot = prot_of(p->flags), host = prot & PROT_EXEC ? (prot & ~(u32)PROT_EXEC) | PROT_READ : prot;
	u64 mapped = begin;
	s64 r = 0;

	if (p->filesz) {
		mapped = ALIGN_UP(file_end, PAGE_SIZE);
		r = host_mmap(begin, mapped - begin, (int)host, MAP_PRIVATE | MAP_FIXED, (int)fd, p->offset - skew);
	}
	if (r >= 0 && end > mapped)
		r = host_mmap(mapped, end - mapped, (int)host, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (r < 0)
		cannot(path, "a segment cannot be mapped", r);
	if (p->memsz > p->filesz && (file_end & ~PAGE_MASK) && p->filesz && (prot & PROT_WRITE))
		__builtin_memset((void *)file_end, 0, mapped - file_end);
	if (prot & PROT_EXEC)
		memory_note(begin, end, prot, false);
	if ((prot & PROT_EXEC) && !(prot & PROT_WRITE) && p->filesz)
		keep_module(begin, mapped, fd, p->offset - skew);
	if (p->offset <= im->eh.phoff && im->eh.phoff < p->offset + p->filesz)
		im->phdr = im->bias + p->vaddr + im->eh.phoff - p->offset;
}

static void load_image(struct image *im, s64 fd, const char *path)
{
	im->bias = reserve(im, path);
	for (u32 i = 0; i < im->eh.phnum; i++)
		if (im->ph[i].type == PT_LOAD && im->ph[i].memsz)
			load_segment(im, &im->ph[i], fd, path);
	im->entry = im->bias + im->eh.entry;
}

/* "#! interpreter [argument]": true where the file is such. */
static bool read_script(struct script *s, s64 fd)
{
	s64 n = sys4(__NR_pread64, fd, s->line, sizeof s->line - 1, 0);
	char *p = s->line + 2, *end;

	if (n < 3 || s->line[0] != '#' || s->line[1] != '!')
		return false;
	s->line[n] = 0;
	for (end = p; *end && *end != '\n'; end++)
		;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = 0;
	while (*p == ' ' || *p == '\t')
		p++;
	s->interp = p;
	while (*p && *p != ' ' && *p != '\t')
		p++;
	if (*p) {
		*p++ = 0;
		while (*p == ' ' || *p == '\t')
			p++;
		s->argument = p;
	}
	return *s->interp;
}

static s64 open_program(const char *path)
{
	s64 fd = sys3(__NR_open, path, O_CLOEXEC, 0);

	if (fd < 0)
		cannot(path, fd == -ENOENT ? "no such file" : "cannot be opened", fd == -ENOENT ? fd : fd);
	return fd;
}

static const char *read_number(const char *s, u32 *n)
{
	for (*n = 0; *s >= '0' && *s <= '9'; s++)
		*n = *n * 10 + (u32)(*s - '0');
	return s;
}

static const char *read_long(const char *s, u64 *n)
{
	for (*n = 0; *s >= '0' && *s <= '9'; s++)
		*n = *n * 10 + (u64)(*s - '0');
	return s;
}

static void read_options(const char *s)
{
	while (*s) {
		static const char keep[] = "keep=", room[] = "room=", tier[] = "tier=", passes[] = "passes=", count[] = "count=", limit[] = "limit=", report[] = "report=", shut[] = "close=",
			returns[] = "returns=";

		if (!__builtin_memcmp(s, tier, sizeof tier - 1)) {
			options.tier = (u32)(s[sizeof tier - 1] - '0');
			s += sizeof tier - 1;
		} else if (!__builtin_memcmp(s, passes, sizeof passes - 1)) {
			s = read_number(s + sizeof passes - 1, &options.passes);
		} else if (!__builtin_memcmp(s, count, sizeof count - 1)) {
			s = read_number(s + sizeof count - 1, &options.count);
		} else if (!__builtin_memcmp(s, limit, sizeof limit - 1)) {
			s = read_number(s + sizeof limit - 1, &options.limit);
			if (options.limit)
				CACHE->limit_hot = MIN(MAX(options.limit, LIMIT_MIN), (u32)CODE_SIZE / 2);
		} else if (!__builtin_memcmp(s, returns, sizeof returns - 1)) {
			s = read_number(s + sizeof returns - 1, &options.returns);
		} else if (!__builtin_memcmp(s, room, sizeof room - 1)) {
			u64 bytes;

			s = read_long(s + sizeof room - 1, &bytes);
			keep_set_room(bytes);
		} else if (!__builtin_memcmp(s, keep, sizeof keep - 1)) {
			/* The processor's number, how long the path is, and the path. */
			u64 host, length;

			s = read_long(s + sizeof keep - 1, &host);
			s = read_long(s + (*s == ':'), &length);
			s += *s == ':';
			if (length > text_length(s))
				return;
			keep_setup(s, length, host);
			s += length;
		} else if (!__builtin_memcmp(s, shut, sizeof shut - 1)) {
			u64 fd;

			s = read_long(s + sizeof shut - 1, &fd);
			options.close_fd = fd + 1;
		} else if (!__builtin_memcmp(s, report, sizeof report - 1)) {
			/* The last one: takes the rest. */
			size_t n = text_length(s + sizeof report - 1);

			if (n < sizeof options.report)
				__builtin_memcpy(options.report, s + sizeof report - 1, n + 1);
			return;
		}
		while (*s && *s != ' ')
			s++;
		while (*s == ' ')
			s++;
	}
}

static void name_process(const char *path)
{
	const char *base = path;

	for (const char *p = path; *p; p++)
		if (*p == '/')
			base = p + 1;
	sys2(__NR_prctl, PR_SET_NAME, base);
}

static u64 *put_scripts(u64 *to, int levels, const char *path)
{
	for (int i = levels - 1; i >= 0; i--) {
		*to++ = (u64)scripts[i].interp;
		if (scripts[i].argument)
			*to++ = (u64)scripts[i].argument;
	}
	if (levels)
		*to++ = (u64)path;
	return to;
}

static void fix_auxv(struct auxv *v, const char *path)
{
	for (; v->type != AT_NULL; v++)
		switch (v->type) {
		case AT_PHDR: v->value = program.phdr; break;
		case AT_PHENT: v->value = sizeof(struct phdr); break;
		case AT_PHNUM: v->value = program.eh.phnum; break;
		case AT_BASE: v->value = interpreter.bias; break;
		case AT_ENTRY: v->value = program.entry; break;
		case AT_EXECFN: v->value = (u64)path; break;
		case AT_RSEQ_SIZE: case AT_RSEQ_ALIGN: v->type = AT_IGNORE; break;
		case AT_SYSINFO_EHDR: {
			const struct phdr *p = (const struct phdr *)(v->value + ((struct ehdr *)v->value)->phoff);

			memory_note(v->value, ALIGN_UP(v->value + p->memsz, PAGE_SIZE), PROT_READ | PROT_EXEC, false);
			break;
		}
		default: break;
		}
}

/* The program's arguments, environment and auxiliary vector, below where the kernel put the runtime's. */
static u64 build_stack(u64 *sp, int levels, const char *path)
{
	u64 argc = sp[0], skip = levels ? 4 : 3, words, *old = sp + 1 + MIN(skip, argc), *end = sp + 1 + argc + 1;
	u64 *to, *args;

	while (*end++)
		;
	struct auxv *aux = (struct auxv *)end;

	fix_auxv(aux, path);
	while (aux->type != AT_NULL)
		aux++;
	end = (u64 *)(aux + 1);
	words = 1 + 3 * SCRIPT_LEVELS + 1 + (u64)(end - old);
	to = (u64 *)ALIGN_DOWN((u64)(sp - words - 2), 16);
	args = to + 1;
	u64 *after = put_scripts(args, levels, path);
	u64 n = (u64)(after - args) + (argc > skip ? argc - skip : 0);

	if (!n)
		*after++ = (u64)"", n = 1;
	__builtin_memcpy(after, old, (u64)((u8 *)end - (u8 *)old));
	to[0] = n;
	return (u64)to;
}

_Noreturn void load_program(u64 *sp)
{
	struct thread *th = here();
	const char *path, *file;
	int levels = 0;
	s64 fd, n;

	if (sp[0] < 3)
		fatal("start it as `penumbra exec`");
	read_options((const char *)sp[2]);
	if (options.tier >= 2) {
		syscall_setup_sampled();
		signal_setup_restart();
		sample_start(here());
	}
	path = file = (const char *)sp[3];
	fd = open_program(path);
	while (levels < SCRIPT_LEVELS && read_script(&scripts[levels], fd)) {
		sys1(__NR_close, fd);
		file = scripts[levels++].interp;
		fd = open_program(file);
	}
	char link[40];

	text_format(link, sizeof link, "/proc/self/fd/%d", (u32)fd);
	n = sys3(__NR_readlink, link, options.program, sizeof options.program - 1);
	if (n <= 0) {
		n = (s64)MIN(text_length(file), sizeof options.program - 1);
		__builtin_memcpy(options.program, file, (size_t)n);
	}
	options.program[n] = 0;
	lock_take(&code_lock);
	read_headers(&program, fd, file);
	load_image(&program, fd, file);
	sys1(__NR_close, fd);
	th->rip = program.entry;
	if (program.interp[0]) {
		fd = open_program(program.interp);
		read_headers(&interpreter, fd, program.interp);
		load_image(&interpreter, fd, program.interp);
		sys1(__NR_close, fd);
		th->rip = interpreter.entry;
	}
	if (options.close_fd)
		sys1(__NR_close, options.close_fd - 1);
	name_process(levels ? file : path);
	th->gpr[RSP] = build_stack(sp, levels, path);
	if (program.exec_stack)
		memory_note(ALIGN_DOWN(th->gpr[RSP] - STACK_ROOM, PAGE_SIZE), ALIGN_UP((u64)sp, PAGE_SIZE),
			    PROT_READ | PROT_WRITE | PROT_EXEC, false);
	lock_drop(&code_lock);
	th->flags = RF_FIXED | RF_IF;
	run_fresh();
}

/* What the kernel would say of the file before it gives up the old program; 1 where it can only run natively. */
static s64 check_program(s64 at, const char *path, u64 flags)
{
	struct stat_head st;
	u8 head[64] = { 0 };
	s64 r = sys4(__NR_newfstatat, at, path, &st, flags & AT_EMPTY_PATH), fd;

	if (r < 0)
		return r;
	if ((st.mode & S_IFMT) != S_IFREG)
		return -EACCES;
	if (*path)
		r = sys4(__NR_faccessat2, at, path, 1, AT_EACCESS);
	if (r < 0)
		return r;
	if (st.mode & (S_ISUID | S_ISGID))
		return 1;
	fd = *path ? sys4(__NR_openat, at, path, O_CLOEXEC | O_NONBLOCK, 0) : at;
	if (fd < 0)
		return 1;
	sys4(__NR_pread64, fd, head, sizeof head, 0);
	if (*path)
		sys1(__NR_close, fd);
	struct ehdr *h = (struct ehdr *)head;

	if (head[0] == '#' && head[1] == '!')
		return 0;
	return __builtin_memcmp(h->ident, "\177ELF\2\1", 6) || h->machine != EM_X86_64;
}

static s64 copy_path(char *to, u64 from)
{
	for (size_t i = 0; i < PATH_MAX; i++) {
		if (guest_copy(&to[i], (const void *)(from + i), 1))
			return -EFAULT;
		if (!to[i])
			return (s64)i;
	}
	return -36; /* ENAMETOOLONG */
}

/* The five that the runtime handles are ignored in the new program if they are in this one. */
static void ignore_signals(const struct thread *th, bool on)
{
	static const u8 list[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV };

	for (size_t i = 0; i < sizeof list; i++)
		if (th->hand->act[list[i]].handler == SIG_IGN)
			signal_host_ignore(list[i], on);
}

/* Starts the runtime with the new program; args is the program's vector, NULL-terminated. */
static s64 restart(struct thread *th, const char *path, u64 argv, u64 envp, u64 close_fd)
{
	char words[2 * PATH_MAX + 256];
	u64 n = 0, word = 1, size, *v;
	s64 r;

	while (argv) {
		if (guest_copy(&word, (const void *)(argv + 8 * n), 8))
			return -EFAULT;
		if (!word)
			break;
		n++;
	}
	size = ALIGN_UP((n + 5) * 8, PAGE_SIZE);
	r = host_mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r < 0)
		return r;
	v = (u64 *)r;
	size_t at = text_format(words, sizeof words, "tier=%d passes=%d count=%d returns=%d", options.tier, options.passes,
				options.count, options.returns);

	if (options.limit)
		at += text_format(words + at, sizeof words - at, " limit=%d", options.limit);
	if (close_fd)
		at += text_format(words + at, sizeof words - at, " close=%ld", close_fd - 1);
	at += keep_words(words + at, sizeof words - at);
	if (options.report[0] && !th->vforked)
		text_format(words + at, sizeof words - at, " report=%s", options.report);
	v[0] = (u64)"penumbra-exec";
	v[1] = (u64)words;
	v[2] = (u64)path;
	if (n && guest_copy(v + 3, (const void *)argv, 8 * n))
		r = -EFAULT;
	else
		r = 0;
	if (!r && !th->vforked) {
		lock_take(&code_lock);
		keep_save();
		lock_drop(&code_lock);
	}
	ignore_signals(th, true);
	if (!r)
		r = GUEST_CALL(__NR_execve, (u64)"/proc/self/exe", (u64)v, envp);
	ignore_signals(th, false);
	host_munmap((u64)v, size);
	return r;
}

s64 load_exec(struct thread *th, u64 nr, u64 *a)
{
	bool at = nr == __NR_execveat;
	s64 dir = at ? (s32)a[0] : AT_FDCWD;
	u64 flags = at ? a[4] : 0, *g = at ? a + 1 : a, close_fd = 0;
	char path[PATH_MAX];
	s64 r = copy_path(path, g[0]);

	if (r < 0)
		return r;
	if (!r && !(flags & AT_EMPTY_PATH))
		return -ENOENT;
	if (is_own_exe(g[0]))
		__builtin_memcpy(path, options.program, text_length(options.program) + 1);
	r = check_program(dir, path, flags);
	if (r < 0)
		return r;
	if (r)
		return door_call(nr, a);
	if (!*path) {
		text_format(path, sizeof path, "/proc/self/fd/%d", (u32)dir);
		if (sys2(__NR_fcntl, dir, 1) & 1) {
			sys3(__NR_fcntl, dir, 2, 0);
			close_fd = (u64)dir + 1;
		}
	} else if (*path != '/' && dir != AT_FDCWD) {
		char link[40], real[PATH_MAX];
		s64 fd = sys4(__NR_openat, dir, path, O_CLOEXEC, 0);

		text_format(link, sizeof link, "/proc/self/fd/%d", (u32)fd);
		s64 n = sys3(__NR_readlink, link, real, sizeof real - 1);

		sys1(__NR_close, fd);
		if (n < 0)
			return n;
		__builtin_memcpy(path, real, (size_t)n);
		path[n] = 0;
	}
	r = restart(th, path, g[1], g[2], close_fd);
	if (close_fd)
		sys3(__NR_fcntl, dir, 2, 1);
	return r;
}
