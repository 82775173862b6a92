/* SPDX-License-Identifier: MIT
 * A 32-bit kernel that checks what it was told and the modes that are interpreted: protected mode, 32-bit and PAE
 * paging, faults, real mode, the local APIC's timer.  Prints TAP and ends the run through port 0xf4.
 * With "garbage N" on its command line it writes random values into every register of the interrupt controllers
 * instead, N being the seed. */
#define MULTIBOOT 1
#define MULTIBOOT2 2
#define PVH 3

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

extern u8 on_gp[], on_nm[], on_pf[], on_timer[], on_soft[];
u32 through_real_mode(void);
void kernel(u32 eax, u32 ebx);

volatile u32 counts[4], fault_address;
u32 *volatile fault_entry;
volatile u8 fault_page[4096] __attribute__((aligned(4096)));
static u32 directory[1024] __attribute__((aligned(4096))), table[1024] __attribute__((aligned(4096)));
static u64 pdpt[4] __attribute__((aligned(32))), pae[4][512] __attribute__((aligned(4096))), pae_table[512] __attribute__((aligned(4096)));
static u64 gdt[5] __attribute__((aligned(8))), idt[256] __attribute__((aligned(8)));
static int failed;

static void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }

static void print(const char *s)
{
	while (*s)
		outb(0x3f8, (u8)*s++);
}

static void result(int good, const char *name)
{
	print(good ? "ok " : "not ok ");
	print(name);
	print("\n");
	failed |= !good;
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static void set_idt(u32 vector, const u8 *handler)
{
	u32 at = (u32)handler;

	idt[vector] = (u64)(at & 0xffff0000u) << 32 | 0x8e0000080000ull | (at & 0xffff);
}

static void tables(void)
{
	struct { u16 limit; u32 base; } __attribute__((packed)) g = { sizeof gdt - 1, (u32)gdt }, i = { sizeof idt - 1, (u32)idt };

	gdt[1] = 0x00cf9b000000ffffull; /* flat code, flat data */
	gdt[2] = 0x00cf93000000ffffull;
	gdt[3] = 0x00009b000000ffffull; /* what real mode is entered from: 16 bits, base 0 */
	gdt[4] = 0x000093000000ffffull;
	set_idt(13, on_gp);
	set_idt(14, on_pf);
	set_idt(32, on_timer);
	set_idt(0x80, on_soft);
	__asm__ volatile("lgdt %0; lidt %1; ljmp $8, $1f; 1: mov $16, %%eax; mov %%eax, %%ds; mov %%eax, %%es; mov %%eax, %%ss"
			 : : "m"(g), "m"(i) : "eax");
}

static u32 word(u32 at) { return *(volatile u32 *)at; }

/* The command line, the first module, and whether there is a memory map that begins with RAM at 0. */
static void told(u32 eax, u32 ebx, const char **line, const char **module, int *map)
{
	*line = *module = "";
	*map = 0;
#if PROTOCOL == MULTIBOOT
	result(eax == 0x2badb002, "the magic number of Multiboot");
	*line = (const char *)word(ebx + 16);
	if (word(ebx + 20) == 1)
		*module = (const char *)word(word(ebx + 24));
	*map = word(ebx + 44) >= 24 && word(word(ebx + 48) + 4) == 0 && word(word(ebx + 48) + 20) == 1 && word(ebx + 8) > 8192;
#elif PROTOCOL == MULTIBOOT2
	result(eax == 0x36d76289 && !(ebx & 7), "the magic number of Multiboot2");
	for (u32 at = ebx + 8; at < ebx + word(ebx) && word(at); at += (word(at + 4) + 7) & ~7u) {
		if (word(at) == 1)
			*line = (const char *)at + 8;
		if (word(at) == 3)
			*module = (const char *)word(at + 8);
		if (word(at) == 6)
			*map = word(at + 8) == 24 && word(at + 16) == 0 && word(at + 32) == 1;
	}
#else
	(void)eax;
	result(word(ebx) == 0x336ec578 && word(ebx + 4) == 1, "the magic number of PVH");
	*line = (const char *)word(ebx + 24);
	if (word(ebx + 12) == 1)
		*module = (const char *)word(word(ebx + 16));
	*map = word(ebx + 48) >= 2 && word(word(ebx + 40)) == 0 && word(word(ebx + 40) + 16) == 1 &&
	       word(word(ebx + 32)) == 0x20445352; /* and "RSD " */
#endif
}

static void paging_32(void)
{
	u32 cr, page = (u32)fault_page;

	for (u32 i = 0; i < 1024; i++)
		directory[i] = i << 22 | 0x83; /* 4 MiB pages */
	for (u32 i = 0; i < 1024; i++)
		table[i] = (page & 0xffc00000u) | i << 12 | 3;
	directory[page >> 22] = (u32)table | 3;
	fault_entry = &table[page >> 12 & 1023];
	*fault_entry &= ~1u;
	__asm__ volatile("mov %%cr4, %0; or $0x10, %0; mov %0, %%cr4; mov %1, %%cr3; mov %%cr0, %0; or $0x80000000, %0; mov %0, %%cr0"
			 : "=&r"(cr) : "r"(directory) : "memory");
	fault_page[5] = 77;
	result(counts[1] == 1 && fault_address == page + 5 && fault_page[5] == 77, "a page fault under 32-bit paging");
	result((*fault_entry & 0x61) == 0x61 && (directory[0] & 0x20), "accessed and dirty bits");
	/* An alias: the same page at another address. */
	directory[0x200] = directory[page >> 22];
	result(*(volatile u8 *)(0x80000000u + (page & 0x3fffff) + 5) == 77, "another address of the page");
	__asm__ volatile("mov %%cr0, %0; and $0x7fffffff, %0; mov %0, %%cr0" : "=&r"(cr) : : "memory");
}

static void paging_pae(void)
{
	u32 cr, page = (u32)fault_page;

	for (u32 i = 0; i < 2048; i++)
		pae[i / 512][i % 512] = (u64)i << 21 | 0x83;
	for (u32 i = 0; i < 4; i++)
		pdpt[i] = (u32)pae[i] | 1;
	for (u32 i = 0; i < 512; i++)
		pae_table[i] = (page & 0xffe00000u) | i << 12 | 3;
	pae[page >> 30][page >> 21 & 511] = (u32)pae_table | 3;
	fault_entry = (u32 *)&pae_table[page >> 12 & 511];
	*fault_entry &= ~1u;
	__asm__ volatile("mov %%cr4, %0; or $0x20, %0; mov %0, %%cr4; mov %1, %%cr3; mov %%cr0, %0; or $0x80000000, %0; mov %0, %%cr0"
			 : "=&r"(cr) : "r"(pdpt) : "memory");
	fault_page[9] = 88;
	result(counts[1] == 2 && fault_address == page + 9 && fault_page[9] == 88, "a page fault under PAE paging");
	pae[2][0] = pae[page >> 30][page >> 21 & 511];
	result(*(volatile u8 *)(0x80000000u + (page & 0x1fffff) + 9) == 88, "another address under PAE paging");
	__asm__ volatile("mov %%cr0, %0; and $0x7fffffff, %0; mov %0, %%cr0" : "=&r"(cr) : : "memory");
}

static void fpu(void)
{
	static u8 area[512] __attribute__((aligned(16)));
	u32 cr, mxcsr = 0x1f80 | 0x8000, got = 0;
	u16 control = 0, round = 0x27f, status = 1;

	__asm__ volatile("mov %%cr4, %0; or $0x600, %0; mov %0, %%cr4; clts" : "=&r"(cr) : : "memory");
	__asm__ volatile("fninit; fnstcw %0; fnstsw %%ax; mov %%ax, %1" : "=m"(control), "=m"(status) : : "eax", "memory");
	result(control == 0x37f && !status, "FNINIT and the control word");
	__asm__ volatile("fldcw %2; fwait; ldmxcsr %3; fxsave %0; fninit; fxrstor %0; fnstcw %1; stmxcsr %4"
			 : "+m"(area), "=m"(control), "+m"(round), "+m"(mxcsr), "=m"(got) : : "memory");
	result(control == 0x27f && area[0] == 0x7f && area[1] == 2 && got == mxcsr && *(u32 *)(area + 24) == mxcsr,
	       "FXSAVE and FXRSTOR");
	set_idt(7, on_nm);
	__asm__ volatile("mov %%cr0, %0; or $8, %0; mov %0, %%cr0; fninit; fninit" : "=&r"(cr) : : "memory");
	result(counts[0] == 2, "CR0.TS and #NM");
}

static void local_apic(void)
{
	volatile u32 *apic = (u32 *)0xfee00000;

	result((apic[0x30 / 4] & 0xff) >= 0x10, "the local APIC's version");
	apic[0xf0 / 4] = 0x1ff;
	apic[0x3e0 / 4] = 0xb;
	apic[0x320 / 4] = 32;
	apic[0x380 / 4] = 100000;
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	result(counts[2] == 1 && !apic[0x390 / 4], "its timer interrupts HLT");
	apic[0x300 / 4] = 0x40000 | 32;
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	result(counts[2] == 2, "an interrupt to itself");
}

static u32 seed;

static u32 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static void wrmsr(u32 msr, u32 low, u32 high) { __asm__ volatile("wrmsr" : : "c"(msr), "a"(low), "d"(high) : "memory"); }
static void rdmsr(u32 msr) { u32 a, d; __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(msr)); }

/* Whatever comes of it: the machine may reset, halt or shut down, or run on to the end of this. */
static void garbage(void)
{
	for (u32 i = 0; i < 256; i++)
		if (i != 13 && i != 14)
			set_idt(i, on_soft);
	for (u32 n = 0; n < 20000; n++) {
		u32 value = rnd() % 3 ? rnd() : 1u << rnd() % 32;
		volatile u32 *apic = (u32 *)(0xfee00000 + (rnd() % 4 ? rnd() % 0x44 * 16 : rnd() % 0x1000));
		volatile u32 *io = (u32 *)0xfec00000;

		switch (rnd() % 9) {
		case 0: case 1: *apic = value; break;
		case 2: (void)*apic; break;
		case 3: wrmsr(0x800 + rnd() % 0x44, value, rnd() % 8 ? 0 : rnd()); break;
		case 4: rdmsr(0x800 + rnd() % 0x44); break;
		case 5: io[0] = rnd() % 0x44; io[4] = value; break;
		case 6: io[rnd() % 1024] = value; (void)io[rnd() % 1024]; break;
		case 7: wrmsr(0x6e0, value, 0); if (rnd() % 64 == 0) wrmsr(0x1b, 0xfee00100 | (value & 0xc00), 0); break;
		default: __asm__ volatile("sti; nop; nop; cli" : : : "memory"); break;
		}
	}
	outb(0xf4, 0x15);
}

void kernel(u32 eax, u32 ebx)
{
	const char *line, *module;
	int map;

	told(eax, ebx, &line, &module, &map);
	if (line[0] == 'g') {
		for (line += 8; *line; line++)
			seed = seed * 10 + (u32)(*line - '0');
		tables();
		garbage();
	}
	result(same(line, "one two"), "the command line");
	result(same(module, "a module"), "the module");
	result(map, "the memory map");
	outb(0x20, 0x11), outb(0x21, 0x40), outb(0x21, 4), outb(0x21, 1), outb(0x21, 0xff), outb(0xa1, 0xff);
	tables();
	__asm__ volatile("int $0x80" : : : "memory");
	__asm__ volatile("wrmsr" : : "c"(0x12345), "a"(0), "d"(0) : "memory");
	result(counts[3] == 1 && counts[0] == 1, "a software interrupt and a general protection fault");
	paging_32();
	paging_pae();
	result(through_real_mode() == 507, "real mode and back");
	local_apic();
	fpu();
	outb(0xf4, failed ? 0 : 0x15);
	print("not ok the debug exit\n");
	outb(0x600 + 5, 0x34); /* power off */
}
