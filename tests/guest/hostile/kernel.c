/* SPDX-License-Identifier: MIT
 * A hostile kernel, entered as a Linux kernel is.  It maps memory of its own at every address that has a
 * meaning to the translator, and addresses that have none, and uses both from ring 0.  One line each on
 * the serial port; a line that begins with WRONG is a difference from the architecture.  Powers off at
 * the end.  Links with entry.S. */
#include "base/types.h"
#include "x86/layout.h"

typedef unsigned char byte;

#define P 1ull
#define W 2ull
#define A_D 0x60ull
#define PAGE 4096ull
#define CANONICAL(a) ((s64)((a) << 16) >> 16 == (s64)(a))
#define RAM (128ull << 20)
#define HEAP (32ull << 20) /* from here on memory is ours */

/* entry.S */
extern struct { u64 vector, error, cr2; } trap;
u64 try_load(u64 address, u64 *value);
u64 try_store(u64 address, u64 value);
u64 try_string(u64 to, u64 from, u64 count);
u64 try_wide(u64 address);
u64 try_push(u64 rsp, u64 value);
u64 try_call(u64 address);
u64 try_wrmsr(u64 msr, u64 value);
u64 try_cr3(u64 value);
u64 try_gs(u64 base, u64 offset, u64 *value);
u64 try_both(u64 address, u64 *value);
void kernel_main(void);
void load_tables(void);

static u64 heap = HEAP, wrong;

static inline void outb(u16 port, byte v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outw(u16 port, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static inline u64 cr3(void) { u64 v; __asm__ volatile("mov %%cr3, %0" : "=r"(v)); return v; }
static inline void set_cr3(u64 v) { __asm__ volatile("mov %0, %%cr3" : : "r"(v) : "memory"); }
static inline void invlpg(u64 a) { __asm__ volatile("invlpg (%0)" : : "r"(a) : "memory"); }

static void print(const char *s)
{
	for (; *s; s++)
		outb(0x3f8, (byte)*s);
}

static void hex(u64 v)
{
	print(" ");
	for (int i = 60; i >= 0; i -= 4)
		outb(0x3f8, (byte)"0123456789abcdef"[v >> i & 15]);
}

static void expect(const char *what, u64 at, u64 got, u64 want)
{
	if (got == want)
		return;
	wrong++;
	print("WRONG: ");
	print(what);
	hex(at);
	print(" is");
	hex(got);
	print(" not");
	hex(want);
	print("\n");
}

static u64 page_new(void)
{
	u64 *p = (u64 *)heap;

	heap += PAGE;
	for (int i = 0; i < 512; i++)
		p[i] = 0;
	return (u64)p;
}

/* Maps one page in the tables at root; tables lie below RAM at identical addresses. */
static void map_in(u64 root, u64 va, u64 entry)
{
	u64 *t = (u64 *)root;

	for (int shift = 39; shift > 12; shift -= 9) {
		u64 *e = &t[va >> shift & 511];

		if (!(*e & P) || (*e & 0x80))
			*e = page_new() | P | W;
		t = (u64 *)(*e & 0xffffffffff000ull);
	}
	t[va >> 12 & 511] = entry;
	invlpg(va);
}
static void map(u64 va, u64 pa) { map_in(cr3(), va, pa | P | W); }

#define TRAPPED(v) ((v) << 8 | 1)

/* A page of ours at va: every way in must lead to it. */
static void own_page(u64 va)
{
	u64 pa = page_new(), *direct = (u64 *)pa, v = 0;

	map(va, pa);
	direct[1] = 0x1234;
	expect("load at", va, try_load(va + 8, &v), 0);
	expect("value at", va, v, 0x1234);
	expect("store at", va, try_store(va + 16, va), 0);
	expect("stored at", va, direct[2], va);
	expect("both at", va, try_both(va + 8, &v), 0);
	expect("both value at", va, v, 0x1234);
	expect("string to", va, try_string(va + 64, pa, 32), 0);
	expect("string value at", va, direct[9], 0x1234);
	expect("push at", va, try_push(va + 256, 77), 0);
	expect("pushed at", va, direct[31], 77);
	direct[64] = 0xc3; /* ret */
	expect("call at", va, try_call(va + 512), 0);
	map_in(cr3(), va, 0);
	expect("load after unmapping", va, try_load(va + 8, &v), TRAPPED(14));
	expect("cr2", va, trap.cr2, va + 8);
}

/* Nothing is mapped there. */
static void no_page(u64 va)
{
	u64 v;

	expect("load from nothing", va, try_load(va, &v), TRAPPED(14));
	expect("cr2 of a load", va, trap.cr2, va);
	expect("error of a load", va, trap.error, 0);
	expect("store to nothing", va, try_store(va, 1), TRAPPED(14));
	expect("error of a store", va, trap.error, 2);
	expect("string to nothing", va, try_string(va, HEAP, 8), TRAPPED(14));
	expect("wide store to nothing", va, try_wide(va & ~15ull), TRAPPED(14));
	expect("push to nothing", va, try_push((va & ~7ull) + 8, 1), TRAPPED(14));
	expect("cr2 of a push", va, trap.cr2, va & ~7ull);
	expect("call to nothing", va, try_call(va), TRAPPED(14));
	expect("cr2 of a call", va, trap.cr2, va);
	expect("both from nothing", va, try_both(va, &v), TRAPPED(14));
	expect("gs to nothing", va, try_gs(va, 0, &v), TRAPPED(14));
	expect("cr2 of gs", va, trap.cr2, va);
}

static void addresses(void)
{
	static const u64 parts[] = { MONITOR_DISP, SHARED_DISP, CODE_DISP, COLD_DISP, PRIVATE_DISP, ALTSTACK_DISP,
				     CARRIER_DISP, FOLDS_DISP, RAM_DISP, RAM_DISP + 0x1000000 };

	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
		for (int page = -1; page < 2; page++) {
			u64 low = parts[i] + (u64)page * PAGE;

			/* Its own address, what folds to it, and what is folded twice. */
			/* The table of folds is one that kernel code may read: the stated limit. */
			if (low + PAGE <= FOLDS_DISP || low >= FOLDS_DISP + FOLDS_SIZE) {
				no_page(FOLD_OFF + low + 24);
				own_page(FOLD_OFF + low);
			}
			if (low >= 1ull << 32) {
				no_page(low + 24);
				own_page(low);
			}
			no_page(0xffff800000000000ull + low);
			own_page(0xffff800000000000ull + low);
			no_page(0xffff840000000000ull + low);
			own_page(0xffff840000000000ull + low);
		}
	for (int i = 0; i < 64; i++) {
		u64 va = 0xffff800000000000ull + (u64)i * 0x1f000000000ull;

		if (va < 0xffffffffffe00000ull - PAGE)
			no_page(va), own_page(va);
		va = 0x100000000000ull + (u64)i * 0x1b000000000ull;
		no_page(va), own_page(va);
	}
	print("addresses\n");
}

static void odd_values(void)
{
	static const u64 bad[] = { 0x800000000000ull, 0xffff7fffffffffffull, 0x8000000000000000ull, 0x1000000000000ull,
				   0x4000000000000000ull, 0xfffe840000000000ull };
	u64 v;

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		expect("load", bad[i], try_load(bad[i], &v), TRAPPED(13));
		expect("both", bad[i], try_both(bad[i], &v), TRAPPED(13));
		expect("push", bad[i], try_push(bad[i], 1), TRAPPED(CANONICAL(bad[i] - 8) ? 14ull : 12ull));
		expect("call", bad[i], try_call(bad[i]), TRAPPED(13));
		expect("string", bad[i], try_string(bad[i], HEAP, 8), TRAPPED(13));
		/* With five levels of tables, which KVM may allow a guest's MSRs for, 57 bits count. */
		if ((s64)(bad[i] << 7) >> 7 == (s64)bad[i])
			continue;
		expect("FS base", bad[i], try_wrmsr(0xc0000100, bad[i]), TRAPPED(13));
		expect("GS base", bad[i], try_wrmsr(0xc0000101, bad[i]), TRAPPED(13));
		expect("KERNEL_GS_BASE", bad[i], try_wrmsr(0xc0000102, bad[i]), TRAPPED(13));
		expect("LSTAR", bad[i], try_wrmsr(0xc0000082, bad[i]), TRAPPED(13));
	}
	print("odd values\n");
}

/* Memory that is not there, tables that point to themselves, the end of memory. */
static void odd_tables(void)
{
	u64 root = cr3(), v, va = 0xffffc00000000000ull, self = page_new(), *t = (u64 *)self;

	map(va, 1ull << 40);
	expect("absent memory", va, try_load(va, &v), 0);
	map(va, 0xfee00000);
	expect("device memory", va, try_store(va, 1), 0);
	map(va, RAM - PAGE);
	map(va + PAGE, RAM);
	expect("across the end of memory", va, try_store(va + PAGE - 4, 0x1122334455667788), 0);
	expect("wide, across the end of memory", va, try_wide(va + PAGE - 16), 0);
	/* A root whose last slot leads to itself: page tables as memory. */
	for (int i = 0; i < 512; i++)
		t[i] = ((u64 *)root)[i];
	t[400] = self | P | W;
	set_cr3(self);
	va = 0xffff000000000000ull | 400ull << 39 | 400ull << 30 | 400ull << 21 | 400ull << 12;
	expect("self-pointing table", va, try_load(va + 400 * 8, &v), 0);
	expect("its entry", va, v & ~A_D, (self | P | W));
	expect("store through it", va, try_store(va + 401 * 8, self | P | W), 0);
	expect("takes effect", va, t[401] & ~A_D, self | P | W);
	set_cr3(root);
	/* Tables in memory that is absent: as all ones or zeroes, a fault either way. */
	((u64 *)root)[402] = 1ull << 40 | P | W;
	expect("absent table", 0, try_load(0xffff000000000000ull | 402ull << 39, &v), TRAPPED(14));
	((u64 *)root)[402] = 0;
	print("odd tables\n");
}

/* Many roots, each with its own page at the same address; more than there are carriers.  All share the kernel's
 * half, as the translator takes for granted. */
static void roots(void)
{
	enum { N = 150 };
	static u64 root[N];
	u64 first = cr3(), v, low = 0x7c0010000000ull;

	for (int i = 0; i < N; i++) {
		u64 pa = page_new();

		root[i] = page_new();
		for (int k = 0; k < 512; k++)
			((u64 *)root[i])[k] = ((u64 *)first)[k];
		((u64 *)root[i])[0xf8] = 0;
		map_in(root[i], low, pa | P | W);
		*(u64 *)pa = (u64)i;
	}
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < N; i++) {
			int at = (i * 37) % N;

			set_cr3(root[at]);
			expect("root's low page", (u64)at, try_load(low, &v), 0);
			expect("root's low value", (u64)at, v, (u64)at);
		}
	set_cr3(first);
	for (u64 i = 0; i < 200000; i++)
		invlpg(i << 12 ^ (i & 1 ? 0xffff800000000000ull : 0));
	print("roots\n");
}

void kernel_main(void)
{
	load_tables();
	print("hostile kernel\n");
	addresses();
	odd_values();
	odd_tables();
	roots();
	print(wrong ? "some wrong\n" : "all right\n");
	outw(0x604, 5 << 10 | 1 << 13);
	for (;;)
		__asm__ volatile("cli; hlt");
}
