/* SPDX-License-Identifier: MIT
 * The Linux program of penumbra bench paging: what page tables go through under real processes.  It runs in the default
 * guest and natively; static, without a C library, so that it can lie in the front-end and runs wherever there is Linux.
 *
 *	paging-linux [only=NAME+...] [scale=PER_CENT]      (or `touch`: the program that the workload exec starts)
 *
 * Prints a line for each workload (src/bench/paging_workloads.h).  Pinned to one processor with all that it starts: the
 * guests have one. */
#include "base/sys.h"
#include "bench/paging_workloads.h"

#define MADV_DONTNEED 4
#define MADV_HUGEPAGE 14
#define MADV_NOHUGEPAGE 15
#define MADV_COLLAPSE 25        /* Linux 6.1; older kernels refuse it, and are right to */
#define MREMAP_MAYMOVE 1
#define MREMAP_FIXED 2
#define SIGNAL_CHILD 17
#define HUGE (2ull << 20)

struct count { u64 n, cycles; };
struct figures { struct count updates, flushes, touches, accesses, switches; };
struct workload { const char *name; void (*run)(void); };

/* What children add to lies in a shared page. */
static struct results { struct figures f; u64 checksum; } *R;
static const char *own_path;
static u64 scale = 100, stale;
static u8 exec_pages[64 * PAGE_SIZE] __attribute__((aligned(4096)));

void program(u64 *stack);

static u64 length(const char *s)
{
	u64 n = 0;

	while (s[n])
		n++;
	return n;
}

static void say(const char *s) { sys3(__NR_write, 1, s, length(s)); }

static _Noreturn void fail(const char *what)
{
	say("paging failed: ");
	say(what);
	say("\n");
	for (;;)
		sys1(__NR_exit_group, 1);
}

static s64 good(s64 result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

static u64 scaled(u64 base, u64 least) { return MAX(base * scale / 100, least); }
static inline u64 rotate(u64 v) { return v << 7 | v >> 57; }
static inline volatile u64 *word_of(u64 page) { return (volatile u64 *)(page + (page >> 12 & 63) * 64); }

static u64 map(u64 pages, int flags)
{
	return (u64)good(host_mmap(0, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0), "mmap");
}

static void write_pages(u64 at, u64 pages, u64 value, struct count *c)
{
	u64 from = host_rdtsc();

	for (u64 i = 0; i < pages; i++)
		*word_of(at + i * PAGE_SIZE) = value + i;
	c->n += pages;
	c->cycles += host_rdtsc() - from;
}

static void read_pages(u64 at, u64 pages, struct count *c)
{
	u64 from = host_rdtsc(), sum = 0;

	for (u64 i = 0; i < pages; i++)
		sum = rotate(sum) + *word_of(at + i * PAGE_SIZE);
	c->n += pages;
	c->cycles += host_rdtsc() - from;
	R->checksum = rotate(R->checksum) ^ sum;
}

/* The same of pages that write_pages() wrote, which have to hold what it wrote. */
static void read_back(u64 at, u64 pages, u64 value, struct count *c)
{
	read_pages(at, pages, c);
	for (u64 i = 0; i < pages; i++)
		stale += *word_of(at + i * PAGE_SIZE) != value + i;
}

static void reap(s64 pid)
{
	u32 status = 0;

	good(sys4(__NR_wait4, pid, &status, 0, 0), "wait4");
	if (status)
		fail("a child");
}

static void line_add(char **to, const char *s)
{
	while (*s)
		*(*to)++ = *s++;
}

static void line_number(char **to, u64 v)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		*(*to)++ = digits[--n];
}

static void line_figure(char **to, const char *name, u64 v)
{
	line_add(to, " ");
	line_add(to, name);
	line_add(to, "=");
	line_number(to, v);
}

static void report(const char *name, u64 cycles)
{
	char line[600], *to = line;

	line_add(&to, "paging ");
	line_add(&to, name);
	line_figure(&to, "cycles", cycles);
#define FIGURE_PRINT(symbol, words) \
	line_figure(&to, #symbol, R->f.symbol.n); \
	line_figure(&to, #symbol "_cycles", R->f.symbol.cycles);
	PAGING_FIGURES(FIGURE_PRINT)
#undef FIGURE_PRINT
	line_figure(&to, "checksum", R->checksum);
	line_figure(&to, "stale", stale);
	line_add(&to, "\n");
	sys3(__NR_write, 1, line, to - line);
}

/* Each round the child and the parent write a quarter of the pages that they share. */
static void run_fork(void)
{
	u64 pages = 256, at = map(pages, MAP_PRIVATE);

	sys3(__NR_madvise, at, pages * PAGE_SIZE, MADV_NOHUGEPAGE);
	write_pages(at, pages, 1, &R->f.accesses);
	for (u64 r = 0; r < scaled(40, 2); r++) {
		s64 pid = good(sys0(__NR_fork), "fork");

		if (!pid) {
			write_pages(at, pages / 4, r, &R->f.touches);
			read_pages(at, pages, &R->f.accesses);
			sys1(__NR_exit_group, 0);
		}
		reap(pid);
		write_pages(at, pages / 4, r * 3, &R->f.touches);
	}
	read_pages(at, pages, &R->f.accesses);
	host_munmap(at, pages * PAGE_SIZE);
}

static void run_mmap(void)
{
	for (u64 r = 0; r < scaled(300, 4); r++) {
		u64 at = map(16, MAP_PRIVATE);

		write_pages(at, 16, r, &R->f.touches);
		read_back(at, 16, r, &R->f.accesses);
		host_munmap(at, 16 * PAGE_SIZE);
	}
}

/* A word goes round a ring of pipes; each process touches 16 pages of its own before it passes it on. */
static void ring(u64 n, u64 rounds)
{
	static u32 pipes[64][2];
	static s64 pids[64];
	u64 at = map(16, MAP_PRIVATE), from;
	u8 byte = 1;

	write_pages(at, 16, 1, &R->f.accesses);
	for (u64 i = 0; i < n; i++)
		good(sys1(__NR_pipe, pipes[i]), "pipe");
	for (u64 i = 1; i < n; i++) {
		pids[i] = good(sys0(__NR_fork), "fork");
		if (pids[i])
			continue;
		write_pages(at, 16, i, &R->f.touches);
		for (u64 r = 0; r <= rounds; r++) {
			good(sys3(__NR_read, pipes[i - 1][0], &byte, 1), "read");
			read_pages(at, 16, &R->f.accesses);
			good(sys3(__NR_write, pipes[i][1], &byte, 1), "write");
		}
		sys1(__NR_exit_group, 0);
	}
	from = 0;
	for (u64 r = 0; r <= rounds; r++) {
		if (r == 1)     /* the first round is each process's first touch */
			from = host_rdtsc();
		good(sys3(__NR_write, pipes[0][1], &byte, 1), "write");
		good(sys3(__NR_read, pipes[n - 1][0], &byte, 1), "read");
		read_pages(at, 16, &R->f.accesses);
	}
	R->f.switches.n += n * rounds;
	R->f.switches.cycles += host_rdtsc() - from;
	for (u64 i = 0; i < n; i++) {
		if (i)
			reap(pids[i]);
		sys1(__NR_close, pipes[i][0]);
		sys1(__NR_close, pipes[i][1]);
	}
	host_munmap(at, 16 * PAGE_SIZE);
}

static void run_switch2(void) { ring(2, scaled(1500, 10)); }
static void run_switch8(void) { ring(8, scaled(375, 4)); }
static void run_switch64(void) { ring(64, scaled(50, 2)); }

static void run_exec(void)
{
	const char *const words[] = { own_path, "touch", NULL }, *const environment[] = { NULL };

	for (u64 r = 0; r < scaled(40, 2); r++) {
		s64 pid = good(sys0(__NR_fork), "fork");

		if (!pid) {
			sys3(__NR_execve, own_path, words, environment);
			fail("execve");
		}
		reap(pid);
	}
}

/* Few changes in much memory: protections of some pages, one page given back, many accesses. */
static void run_heap(void)
{
	u64 pages = scaled(16384, 512), at = map(pages, MAP_PRIVATE), x = 1;

	sys3(__NR_madvise, at, pages * PAGE_SIZE, MADV_NOHUGEPAGE);
	write_pages(at, pages, 1, &R->f.touches);
	for (u64 r = 0; r < scaled(40, 2); r++) {
		u64 some = at + r * 37 % (pages - 8) * PAGE_SIZE, from = host_rdtsc(), sum = 0;

		host_mprotect(some, 4 * PAGE_SIZE, PROT_READ);
		host_mprotect(some, 4 * PAGE_SIZE, PROT_READ | PROT_WRITE);
		sys3(__NR_madvise, some, PAGE_SIZE, MADV_DONTNEED);
		write_pages(some, 4, r, &R->f.touches);
		for (u64 i = 0; i < 20000; i++) {
			x = x * 6364136223846793005ull + 1442695040888963407ull;
			sum = rotate(sum) + *word_of(at + (x >> 33) % pages * PAGE_SIZE);
		}
		R->f.accesses.n += 20000;
		R->f.accesses.cycles += host_rdtsc() - from;
		R->checksum ^= sum;
	}
	host_munmap(at, pages * PAGE_SIZE);
}

/* What KSM does to page tables, asked for: all pages show one page of a file, then their own again. */
static void run_ksm(void)
{
	u64 pages = 256, at = map(pages, MAP_PRIVATE);
	s64 fd = good(sys2(__NR_memfd_create, "paging", 0), "memfd_create");

	good(sys2(__NR_ftruncate, fd, pages * PAGE_SIZE), "ftruncate");
	good(host_mmap(at, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, (int)fd, 0), "mmap");
	write_pages(at, pages, 1, &R->f.accesses);
	for (u64 r = 0; r < scaled(5, 1); r++) {
		for (int merged = 1; merged >= 0; merged--) {
			for (u64 i = 0; i < pages; i++)
				good(host_mmap(at + i * PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
					       (int)fd, merged ? r * PAGE_SIZE : i * PAGE_SIZE), "mmap");
			read_pages(at, pages, &R->f.touches);
		}
	}
	host_munmap(at, pages * PAGE_SIZE);
	sys1(__NR_close, fd);
}

static void run_mremap(void)
{
	/* 64 pages apart, so that word_of() is the same in both. */
	u64 whole = map(128, MAP_PRIVATE), area[2] = { whole, whole + 64 * PAGE_SIZE };

	write_pages(area[0], 16, 7, &R->f.accesses);
	for (u64 r = 0; r < scaled(300, 4); r++) {
		good(sys5(__NR_mremap, area[r & 1], 16 * PAGE_SIZE, 16 * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, area[~r & 1]), "mremap");
		read_back(area[~r & 1], 16, 7, &R->f.touches);
	}
	host_munmap(whole, 128 * PAGE_SIZE);
}

static void touch_area(u64 bytes, int advice)
{
	u64 size = bytes + HUGE, whole = map(size / PAGE_SIZE, MAP_PRIVATE), at = ALIGN_UP(whole, HUGE);

	sys3(__NR_madvise, at, bytes, advice);
	write_pages(at, bytes / PAGE_SIZE, 1, &R->f.touches);
	for (u64 i = 0; i < bytes && advice == MADV_HUGEPAGE; i += HUGE) {
		host_mprotect(at + i, PAGE_SIZE, PROT_READ);
		read_back(at + i, 64, 1 + i / PAGE_SIZE, &R->f.accesses);
		host_mprotect(at + i, PAGE_SIZE, PROT_READ | PROT_WRITE);
		sys3(__NR_madvise, at + i, HUGE, MADV_COLLAPSE);
	}
	read_back(at, bytes / PAGE_SIZE, 1, &R->f.accesses);
	host_munmap(whole, size);
}

static void run_small(void) { touch_area(scaled(16, 1) * HUGE, MADV_NOHUGEPAGE); }
static void run_large(void) { touch_area(scaled(16, 1) * HUGE, MADV_HUGEPAGE); }

static const struct workload workloads[] = {
#define WORKLOAD_ROW(symbol, name, words) { name, run_##symbol },
	PAGING_LINUX_WORKLOADS(WORKLOAD_ROW)
#undef WORKLOAD_ROW
};

static bool listed(const char *list, const char *name)
{
	u64 n = length(name), i;

	for (; *list; list += *list == '+') {
		for (i = 0; i < n && list[i] == name[i]; i++)
			;
		if (i == n && (!list[i] || list[i] == '+'))
			return true;
		while (*list && *list != '+')
			list++;
	}
	return false;
}

static bool option(const char *word, const char *name, const char **value)
{
	while (*name && *word == *name)
		word++, name++;
	*value = word;
	return !*name;
}

/* argc, argv as the kernel leaves them (System V ABI, process initialisation). */
void program(u64 *stack)
{
	u64 argc = stack[0], one = 1;
	const char *const *argv = (const char *const *)(stack + 1), *only = NULL, *value;

	if (argc > 1 && option(argv[1], "touch", &value)) {
		for (u64 i = 0; i < sizeof exec_pages; i += PAGE_SIZE)
			*(volatile u8 *)&exec_pages[i] = 1;
		sys1(__NR_exit_group, 0);
	}
	own_path = argv[0];
	for (u64 i = 1; i < argc; i++) {
		if (option(argv[i], "only=", &value))
			only = value;
		else if (option(argv[i], "scale=", &value))
			for (scale = 0; *value; value++)
				scale = scale * 10 + (u64)(*value - '0');
		else
			fail(argv[i]);
	}
	sys3(__NR_sched_setaffinity, 0, sizeof one, &one);
	R = (struct results *)map(1, MAP_SHARED);
	for (u64 i = 0; i < ARRAY_SIZE(workloads); i++) {
		u64 from;

		if (only && !listed(only, workloads[i].name))
			continue;
		*R = (struct results){ 0 };
		from = host_rdtsc();
		workloads[i].run();
		report(workloads[i].name, host_rdtsc() - from);
		if (stale)
			fail("a program read something else than it had written");
	}
	say("paging end\n");
	sys1(__NR_exit_group, 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n\tand $-16, %rsp\n\tcall program\n");
