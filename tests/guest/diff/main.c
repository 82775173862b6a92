/* SPDX-License-Identifier: MIT
 * The differential test's guest kernel: runs each case of the batch that came as its initial RAM disk,
 * hashes the final state and prints it in full where the hash is not the expected one.
 *
 * Prints on the serial port `DIFF <cases> <mismatches> <hash of hashes>` at the end, before it a line
 * `STATE <id> <hex of struct diff_state> <hex of struct diff_vec>` a mismatch.  General registers only, so that the
 * vector state of a case survives until it is saved.  One processor, interrupts masked at the 8259. */
#include "../../diff/format.h"
#include "x86/cpu.h"
#include "x86/paging.h"

#define VIRT 0xffffffffa0000000ull
#define DIRECT 0xffff888000000000ull
#define COM1 0x3f8
#define BP_RAMDISK_IMAGE 0x218
#define SEL_KERNEL_CS 0x10
#define SEL_KERNEL_SS 0x18
#define SEL_USER_CS 0x33
#define SEL_USER_SS 0x2b
#define SEL_TSS 0x40
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_EFER 0xc0000080

struct trapped { u64 gpr[16], rip, rflags, vector, error, cs; };

extern struct trapped trapped;
extern u64 case_cs, case_ss;
extern u8 stubs[], trap_stack_top[];
void run_case(const struct diff_case *c);
_Noreturn void diff_main(const u8 *boot_params);
_Noreturn void diff_panic(void);

static u64 pml4[512] __attribute__((aligned(4096)));
static u64 pdpt_direct[512] __attribute__((aligned(4096))), pdpt_high[512] __attribute__((aligned(4096)));
static u64 pdpt_user[512] __attribute__((aligned(4096))), pdpt_low[512] __attribute__((aligned(4096)));
static u64 pd_direct[4][512] __attribute__((aligned(4096))), pd_top[512] __attribute__((aligned(4096)));
static u64 pd_user[512] __attribute__((aligned(4096))), pd_low[512] __attribute__((aligned(4096)));
static u64 pt_user[512] __attribute__((aligned(4096))), pt_kernel[512] __attribute__((aligned(4096)));
static u8 code[CODE_BYTES] __attribute__((aligned(4096)));
static u8 window[WINDOW_PAGES][4096] __attribute__((aligned(4096)));
static u8 xsave[XSAVE_SIZE] __attribute__((aligned(64)));
static struct { u64 low, high; } idt[256] __attribute__((aligned(16)));
static u64 gdt[10];
static struct { u32 pad; u64 rsp[3], pad2, ist[7], pad3; u16 pad4, iomap; } __attribute__((packed)) tss;
static const struct diff_batch *batch;

static inline void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "d"(port)); }
static inline void outw(u16 port, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "d"(port)); }
static inline u8 inb(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "d"(port));
	return v;
}
static inline void wrmsr(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)v), "d"((u32)(v >> 32)));
}
static inline u64 rdmsr(u32 msr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (u64)hi << 32 | lo;
}

static void put(char c)
{
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, (u8)c);
}

static void text(const char *s)
{
	while (*s)
		put(*s++);
}

static void hex(const void *data, u64 n)
{
	const u8 *p = data;

	for (u64 i = 0; i < n; i++) {
		put("0123456789abcdef"[p[i] >> 4]);
		put("0123456789abcdef"[p[i] & 15]);
	}
}

/* Most significant digit first. */
static void number(u64 v)
{
	for (int i = 60; i >= 0; i -= 4)
		put("0123456789abcdef"[v >> i & 15]);
}

static _Noreturn void power_off(void)
{
	outw(0x604, (5 << 10) | (1 << 13));
	for (;;)
		__asm__ volatile("cli; hlt");
}

_Noreturn void diff_panic(void)
{
	text("PANIC vector ");
	number(trapped.vector);
	text(" error ");
	number(trapped.error);
	text(" rip ");
	number(trapped.rip);
	text(" rsp ");
	number(trapped.gpr[4]);
	text("\n");
	power_off();
}

static u64 phys(const void *p) { return (u64)p - VIRT; }

static void map_region(u64 *pt, u64 user)
{
	for (u64 i = 0; i < CODE_BYTES >> 12; i++)
		pt[i] = (phys(code) + (i << 12)) | PTE_P | user;
	for (u64 i = 0; i < WINDOW_PAGES; i++) {
		u64 e = phys(window[i]) | PTE_P | PTE_NX | user;

		if (i == PAGE_A || i == PAGE_B || i == PAGE_C)
			pt[(WINDOW >> 12) + i] = e | PTE_W;
		else if (i == PAGE_R)
			pt[(WINDOW >> 12) + i] = e;
	}
}

static void map_all(u64 user_base)
{
	u64 table = PTE_P | PTE_W | PTE_U;

	for (u64 i = 0; i < 4 * 512; i++)
		pd_direct[i >> 9][i & 511] = (i << 21) | PTE_P | PTE_W | PTE_PS;
	for (int i = 0; i < 4; i++)
		pdpt_direct[i] = phys(pd_direct[i]) | table;
	/* -2 GiB..-1 GiB: the region, then this kernel from +512 MiB. */
	pdpt_high[510] = phys(pd_top) | table;
	for (u64 i = 0; i < 256; i++)
		pd_top[256 + i] = (i << 21) | PTE_P | PTE_W | PTE_PS;
	pd_top[KERNEL_BASE >> 21 & 511] = phys(pt_kernel) | table;
	pdpt_user[user_base >> 30 & 511] = phys(pd_user) | table;
	pd_user[user_base >> 21 & 511] = phys(pt_user) | table;
	pdpt_low[LOW_BASE >> 30] = phys(pd_low) | table;
	pd_low[LOW_BASE >> 21 & 511] = phys(pt_user) | table;
	pml4[511] = phys(pdpt_high) | table;
	pml4[DIRECT >> 39 & 511] = phys(pdpt_direct) | table;
	pml4[0] = phys(pdpt_low) | table;
	pml4[user_base >> 39 & 511] = phys(pdpt_user) | table;
	map_region(pt_user, PTE_U);
	map_region(pt_kernel, 0);
	__asm__ volatile("mov %0, %%cr3" : : "r"(phys(pml4)) : "memory");
}

static void set_tables(void)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) r;
	u64 base = (u64)&tss;

	gdt[SEL_KERNEL_CS >> 3] = 0x00af9b000000ffff;
	gdt[SEL_KERNEL_SS >> 3] = 0x00cf93000000ffff;
	gdt[SEL_USER_SS >> 3] = 0x00cff3000000ffff;
	gdt[SEL_USER_CS >> 3] = 0x00affb000000ffff;
	gdt[SEL_TSS >> 3] = (sizeof tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[(SEL_TSS >> 3) + 1] = base >> 32;
	tss.ist[0] = (u64)trap_stack_top;
	tss.rsp[0] = (u64)trap_stack_top;
	tss.iomap = sizeof tss;
	for (u64 i = 0; i < 32; i++) {
		u64 at = (u64)stubs + 16 * i, dpl = i == VEC_BP || i == VEC_OF ? 3 : 0;

		idt[i].low = (at & 0xffff) | (u64)SEL_KERNEL_CS << 16 | 1ull << 32 | (0x8eull | dpl << 5) << 40 |
			     (at >> 16 & 0xffff) << 48;
		idt[i].high = at >> 32;
	}
	r.limit = sizeof gdt - 1;
	r.base = (u64)gdt;
	__asm__ volatile("lgdt %0" : : "m"(r));
	r.limit = sizeof idt - 1;
	r.base = (u64)idt;
	__asm__ volatile("lidt %0" : : "m"(r));
	__asm__ volatile("pushq %0; lea 1f(%%rip), %%rax; push %%rax; lretq; 1: mov %1, %%ss; mov %2, %%ds; mov %2, %%es; ltr %w3"
			 : : "i"(SEL_KERNEL_CS), "r"(SEL_KERNEL_SS), "r"(SEL_USER_SS), "r"(SEL_TSS) : "rax", "memory");
}

static void set_control(void)
{
	u64 cr0, cr4, a = 7, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	cr0 = (cr0 & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE | CR0_WP | CR0_AM;
	__asm__ volatile("mov %0, %%cr0" : : "r"(cr0));
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PGE;
	if (b & 1)
		cr4 |= CR4_FSGSBASE;
	if (b >> 20 & 1)
		cr4 |= CR4_SMAP;
	if (b >> 7 & 1)
		cr4 |= CR4_SMEP;
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4));
	__asm__ volatile("xsetbv" : : "c"(0), "a"((u32)batch->xcr0), "d"(0));
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

static u64 *window_page(int p) { return (u64 *)(void *)window[p]; }

static void load(const struct diff_case *c, const u8 *presets, u64 bases[2])
{
	for (u32 i = 0; i < c->n_patch; i++)
		*(u64 *)(void *)(window[0] + c->patch[i].offset) = c->patch[i].value;
	if (bases[0] != c->fs)
		wrmsr(MSR_FS_BASE, c->fs);
	if (bases[1] != c->gs)
		wrmsr(MSR_GS_BASE, c->gs);
	case_cs = c->world == WORLD_USER ? SEL_USER_CS : SEL_KERNEL_CS;
	case_ss = c->world == WORLD_USER ? SEL_USER_SS : SEL_KERNEL_SS;
	__asm__ volatile("xrstor64 %0" : : "m"(presets[(u64)c->preset * XSAVE_SIZE]), "a"((u32)batch->xcr0), "d"(0) : "memory");
}

/* Returns the hash of the final state. */
static u64 capture(const struct diff_case *c, struct diff_state *s, struct diff_vec *v, const u64 *images, u64 bases[2])
{
	__asm__ volatile("xsave64 %0" : "=m"(xsave) : "a"((u32)batch->xcr0), "d"(0) : "memory");
	s->id = c->id;
	s->vector = (u32)trapped.vector;
	s->error = (u32)trapped.error;
	s->cr2 = 0;
	if (s->vector == VEC_PF)
		__asm__ volatile("mov %%cr2, %0" : "=r"(s->cr2));
	for (int i = 0; i < 16; i++)
		s->gpr[i] = trapped.gpr[i];
	s->rip = trapped.rip;
	s->rflags = trapped.rflags;
	s->fs = bases[0] = rdmsr(MSR_FS_BASE);
	s->gs = bases[1] = rdmsr(MSR_GS_BASE);
	diff_vec_from(v, xsave, batch);
	s->vec_hash = diff_hash_words(0, v, sizeof *v);
	diff_memory(s, window_page, images);
	return diff_state_hash(s);
}

_Noreturn void diff_main(const u8 *boot_params)
{
	static struct diff_state state;
	static struct diff_vec vec;
	u64 initrd = *(const u32 *)(const void *)(boot_params + BP_RAMDISK_IMAGE), mismatches = 0, all = 0, bases[2];
	const u8 *data = (const u8 *)initrd, *presets;
	const struct diff_case *cases;
	const u64 *images;

	set_tables();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NX);
	/* The boot tables map the first GiB at its own address and nothing else of the direct map. */
	map_all(((const struct diff_batch *)(const void *)(VIRT + initrd))->user_base);
	data = (const u8 *)(DIRECT + initrd);
	batch = (const struct diff_batch *)(const void *)data;
	if (batch->magic != DIFF_MAGIC) {
		text("no batch\n");
		power_off();
	}
	set_control();
	cases = (const struct diff_case *)(const void *)(data + batch->cases);
	presets = data + batch->presets;
	images = (const u64 *)(const void *)(data + batch->images);
	for (u64 i = 0; i < CODE_BYTES; i++)
		code[i] = data[batch->code + i];
	for (int p = 0; p < 4; p++)
		for (int i = 0; i < 512; i++)
			window_page("\1\2\3\5"[p])[i] = images[512 * p + i];
	bases[0] = rdmsr(MSR_FS_BASE);
	bases[1] = rdmsr(MSR_GS_BASE);
	for (u32 i = 0; i < batch->n_cases; i++) {
		const struct diff_case *c = &cases[i];
		u64 h;

		load(c, presets, bases);
		run_case(c);
		h = capture(c, &state, &vec, images, bases);
		all = diff_mix(all, h);
		if (h == c->expect || ++mismatches > batch->report_max)
			continue;
		text("STATE ");
		number(c->id);
		put(' ');
		hex(&state, sizeof state);
		put(' ');
		hex(&vec, sizeof vec);
		put('\n');
	}
	text("DIFF ");
	number(batch->n_cases);
	put(' ');
	number(mismatches);
	put(' ');
	number(all);
	text("\n");
	power_off();
}
