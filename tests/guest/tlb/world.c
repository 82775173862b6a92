/* SPDX-License-Identifier: MIT
 * See world.h. */
#include "world.h"

#include "x86/cpu.h"
#include "x86/paging.h"

#define COM1 0x3f8
#define DEBUG_EXIT 0xf4
#define SEL_KERNEL_CS 0x08
#define SEL_TSS 0x28
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define PML4_INDEX(va) ((va) >> 39 & 511)
#define ALIAS_FRAMES 44

extern u8 stubs[], trap_stack_top[], syscall_entry[];
extern u64 gdt[8];
u64 frame_pa(int frame);

struct features features;
static u64 pdpt_direct[512] __attribute__((aligned(4096))), pd_direct[512] __attribute__((aligned(4096)));
static struct alias { u64 pdpt[512], pd[512], pt[512]; } upper __attribute__((aligned(4096))),
	user __attribute__((aligned(4096))), lower __attribute__((aligned(4096)));
static u8 user_code[4096] __attribute__((aligned(4096))), user_stack[4096] __attribute__((aligned(4096)));
static struct { u64 low, high; } idt[256] __attribute__((aligned(16)));
static struct { u32 pad; u64 rsp[3], pad2, ist[7], pad3; u16 pad4, iomap; } __attribute__((packed)) tss;

static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "d"(port)); }
static inline u8 inb(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "d"(port));
	return v;
}
static inline void wrmsr(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
static inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (u64)hi << 32 | lo;
}
static void cpuid(u32 leaf, u32 r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

/* ---- output ---- */

static void put(char c)
{
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, (u8)c);
}

void text(const char *s)
{
	while (*s)
		put(*s++);
}

void number(u64 v)
{
	int i = 60;

	while (i && !(v >> i & 15))
		i -= 4;
	for (; i >= 0; i -= 4)
		put("0123456789abcdef"[v >> i & 15]);
}

void decimal(u64 v)
{
	if (v >= 10)
		decimal(v / 10);
	put((char)('0' + v % 10));
}

_Noreturn void machine_end(u32 status)
{
	__asm__ volatile("outl %0, %1" : : "a"(status), "d"((u16)DEBUG_EXIT));
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* ---- control ---- */

void set_cr3(u64 v) { __asm__ volatile("mov %0, %%cr3" : : "r"(v) : "memory"); }

void set_wp(bool on)
{
	u64 v;

	__asm__ volatile("mov %%cr0, %0" : "=r"(v));
	v = on ? v | CR0_WP : v & ~(u64)CR0_WP;
	__asm__ volatile("mov %0, %%cr0" : : "r"(v) : "memory");
}

void set_cr4(u64 bits, bool on)
{
	u64 v;

	__asm__ volatile("mov %%cr4, %0" : "=r"(v));
	v = on ? v | bits : v & ~bits;
	__asm__ volatile("mov %0, %%cr4" : : "r"(v) : "memory");
}

void set_nxe(bool on)
{
	u64 v = rdmsr(MSR_EFER);

	wrmsr(MSR_EFER, on ? v | EFER_NX : v & ~(u64)EFER_NX);
}

void invlpg(u64 va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }

void invpcid(u64 type, u64 pcid, u64 va)
{
	struct { u64 pcid, va; } d = { pcid, va };

	__asm__ volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

u64 timestamp(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

/* ---- accesses ---- */

u64 access_run(void *function, u64 va, u64 operand, u64 expected, bool at_user, bool ac)
{
	struct run r = { .function = (u64)function, .va = va, .operand = operand, .expected = expected,
			 .rflags = RF_FIXED | (ac ? RF_AC : 0) };

	if (at_user) {
		r.function = USER_CODE + (u64)((u8 *)function - access_begin);
		r.user_stack = USER_STACK + 2048;
		*(volatile u64 *)(user_stack + 2048) = USER_CODE + (u64)(access_user_end - access_begin);
	}
	u64 value = run_access(&r);

	if (trapped[0] == VEC_UD && trapped[3] == USER_CODE + (u64)(access_user_end - access_begin))
		trapped[0] = NO_TRAP;
	return value;
}

void access_end_by_trap(void)
{
	u8 *end = user_code + (access_user_end - access_begin);

	end[0] = 0x0f; /* ud2 */
	end[1] = 0x0b;
}

/* ---- set-up ---- */

static void find_features(void)
{
	u32 one[4], seven[4], ext[4], sizes[4];

	cpuid(1, one);
	cpuid(7, seven);
	cpuid(0x80000001, ext);
	cpuid(0x80000008, sizes);
	features.pcid = one[2] >> 17 & 1;
	features.pge = one[3] >> 13 & 1;
	features.smep = seven[1] >> 7 & 1;
	features.smap = seven[1] >> 20 & 1;
	features.invpcid = seven[1] >> 10 & 1;
	features.nx = ext[3] >> 20 & 1;
	features.gigabyte = ext[3] >> 26 & 1;
	features.physical_bits = sizes[0] & 0xff;
}

static void map_alias(struct alias *a, u64 rights)
{
	a->pdpt[0] = PHYS(a->pd) | PTE_P | PTE_W | PTE_U | PTE_A;
	a->pd[0] = PHYS(a->pt) | PTE_P | PTE_W | PTE_U | PTE_A;
	for (int i = 0; i < ALIAS_FRAMES; i++)
		a->pt[i] = frame_pa(i) | PTE_P | PTE_W | PTE_A | PTE_D | rights;
}

static void set_tables(void)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) r;
	u64 base = (u64)&tss;

	gdt[SEL_TSS >> 3] = (sizeof tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[(SEL_TSS >> 3) + 1] = base >> 32;
	tss.ist[0] = tss.rsp[0] = (u64)trap_stack_top;
	tss.iomap = sizeof tss;
	for (u64 i = 0; i < 32; i++) {
		u64 at = (u64)stubs + 16 * i;

		idt[i].low = (at & 0xffff) | (u64)SEL_KERNEL_CS << 16 | 1ull << 32 | 0x8eull << 40 | (at >> 16 & 0xffff) << 48;
		idt[i].high = at >> 32;
	}
	r.limit = sizeof idt - 1;
	r.base = (u64)idt;
	__asm__ volatile("lidt %0; ltr %w1" : : "m"(r), "r"(SEL_TSS));
	wrmsr(MSR_STAR, (u64)SEL_KERNEL_CS << 32);
	wrmsr(MSR_LSTAR, (u64)syscall_entry);
	wrmsr(MSR_SFMASK, FLAGS_STATUS | FLAG_DF | RF_IF | RF_TF | RF_AC | RF_NT);
}

void world_begin(void)
{
	u64 table = PTE_P | PTE_W | PTE_U | PTE_A;

	find_features();
	/* Where odd entries lead to. */
	__builtin_memset(DIRECT(0), 0, 0x80000);
	for (u64 i = 0; i < 512; i++)
		pd_direct[i] = (i << 21) | PTE_P | PTE_W | PTE_PS | PTE_G | PTE_A | PTE_D;
	pdpt_direct[0] = PHYS(pd_direct) | table;
	map_alias(&upper, PTE_G);
	map_alias(&user, PTE_U);
	map_alias(&lower, 0);
	__builtin_memcpy(user_code, access_begin, (size_t)(access_end_of_all - access_begin));
	user.pt[(USER_CODE - ALIAS_USER) >> 12] = PHYS(user_code) | table | PTE_D;
	user.pt[(USER_STACK - ALIAS_USER) >> 12] = PHYS(user_stack) | table | PTE_D;
	set_tables();
	set_wp(true);
}

void world_roots(const u64 *pa, int n, bool with_lower)
{
	u64 table = PTE_P | PTE_W | PTE_A;

	for (int i = 0; i < n; i++) {
		u64 *root = DIRECT(pa[i]);

		root[PML4_INDEX(VIRT)] = PHYS(pdpt_direct) | table;
		root[PML4_INDEX(ALIAS_UPPER)] = PHYS(upper.pdpt) | table;
		root[PML4_INDEX(ALIAS_USER)] = PHYS(user.pdpt) | table | PTE_U;
		root[PML4_INDEX(ALIAS_LOWER)] = with_lower ? PHYS(lower.pdpt) | table : 0;
	}
}
