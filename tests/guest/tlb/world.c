/* SPDX-License-Identifier: MIT
 * See world.h. */
#include "world.h"

#include "other.h"
#include "x86/cpu.h"
#include "x86/paging.h"

#define COM1 0x3f8
#define DEBUG_EXIT 0xf4
#define SEL_KERNEL_CS 0x08
#define SEL_TSS(n) (0x28 + 16 * (n))
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define PML4_INDEX(va) ((va) >> 39 & 511)
#define ALIAS_FRAMES 44
#define STACK 8192
#define APIC 0xfee00000ull

extern u8 stubs[], syscall_entry[], message_entry[];
extern u64 gdt[10];
extern u8 has_smap, access_call[];
u64 frame_pa(int frame);

struct features features;
int acting;
bool serializing;
enum way acting_way;
u64 trapped[4], access_high;
static struct order noted[ORDERS];
static u32 n_noted;
static bool noting;
static u64 pd_apic[512] __attribute__((aligned(4096)));
static u64 pdpt_direct[512] __attribute__((aligned(4096))), pd_direct[512] __attribute__((aligned(4096)));
static struct alias { u64 pdpt[512], pd[512], pt[512]; } upper __attribute__((aligned(4096))),
	user __attribute__((aligned(4096))), lower __attribute__((aligned(4096)));
static u8 user_code[4096] __attribute__((aligned(4096))), user_stack[4096] __attribute__((aligned(4096)));
static struct { u64 low, high; } idt[256] __attribute__((aligned(16)));
static struct { u32 pad; u64 rsp[3], pad2, ist[7], pad3; u16 pad4, iomap; } __attribute__((packed)) tss[PROCESSORS];
static u8 trap_stack[PROCESSORS][STACK] __attribute__((aligned(16))), message_stack[PROCESSORS][STACK] __attribute__((aligned(16)));

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

/* ---- orders ---- */

static void write_cr0(bool wp)
{
	u64 v;

	__asm__ volatile("mov %%cr0, %0" : "=r"(v));
	v = wp ? v | CR0_WP : v & ~(u64)CR0_WP;
	__asm__ volatile("mov %0, %%cr0" : : "r"(v) : "memory");
}

static void write_cr4(u64 bits, bool on)
{
	u64 v;

	__asm__ volatile("mov %%cr4, %0" : "=r"(v));
	v = on ? v | bits : v & ~bits;
	__asm__ volatile("mov %0, %%cr4" : : "r"(v) : "memory");
}

static void write_efer(bool nxe)
{
	u64 v = rdmsr(MSR_EFER);

	wrmsr(MSR_EFER, nxe ? v | EFER_NX : v & ~(u64)EFER_NX);
}

static void do_invpcid(u64 type, u64 pcid, u64 va)
{
	struct { u64 pcid, va; } d = { pcid, va };

	__asm__ volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

static void serialize(void)
{
	u32 r[4];

	cpuid(0, r);
}

void order_do(const struct order *o)
{
	switch (o->kind) {
	case ORDER_RUN:
		/* Code that another processor may have changed (Intel SDM vol. 3A, 8.1.3). */
		if (serializing && o->a)
			serialize();
		run_access(&o->run);
		break;
	case ORDER_CR3:
		__asm__ volatile("mov %0, %%cr3" : : "r"(o->a) : "memory");
		break;
	case ORDER_WP:
		write_cr0(o->a);
		break;
	case ORDER_CR4:
		write_cr4(o->a, o->b);
		break;
	case ORDER_NXE:
		write_efer(o->a);
		break;
	case ORDER_INVLPG:
		__asm__ volatile("invlpg (%0)" : : "r"(o->a) : "memory");
		break;
	case ORDER_INVPCID:
		do_invpcid(o->a, o->b, o->c);
		break;
	}
}

static void perform(const struct order *o)
{
	if (noting && n_noted < ORDERS) {
		noted[n_noted++] = *o;
	} else if (acting) {
		enum way way = o->kind == ORDER_RUN ? WAY_POLLED : acting_way; /* an access may be interrupted itself */

		other_post(way, o);
		other_wait(way);
	} else {
		order_do(o);
	}
}

void orders_note(void)
{
	noting = true;
	n_noted = 0;
}

u32 orders_noted(struct order list[ORDERS])
{
	noting = false;
	__builtin_memcpy(list, noted, n_noted * sizeof *list);
	return n_noted;
}

/* ---- control ---- */

void set_cr3(u64 v) { perform(&(struct order){ .kind = ORDER_CR3, .a = v }); }
void set_wp(bool on) { perform(&(struct order){ .kind = ORDER_WP, .a = on }); }
void set_cr4(u64 bits, bool on) { perform(&(struct order){ .kind = ORDER_CR4, .a = bits, .b = on }); }
void set_nxe(bool on) { perform(&(struct order){ .kind = ORDER_NXE, .a = on }); }
void invlpg(u64 va) { perform(&(struct order){ .kind = ORDER_INVLPG, .a = va }); }
void invpcid(u64 type, u64 pcid, u64 va) { perform(&(struct order){ .kind = ORDER_INVPCID, .a = type, .b = pcid, .c = va }); }

u64 timestamp(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

/* ---- accesses ---- */

struct order access_order(int n, void *function, u64 va, u64 operand, u64 expected, bool at_user, bool ac)
{
	struct order o = { .kind = ORDER_RUN, .a = function == access_call };
	u64 at = 1024 * (u64)(n + 1);

	o.run = (struct run){ .function = (u64)function, .va = va, .operand = operand, .expected = expected,
			      .rflags = RF_FIXED | (ac && (at_user || features.smap) ? RF_AC : 0) | (n ? RF_IF : 0) };
	if (at_user) {
		o.run.function = USER_CODE + (u64)((u8 *)function - access_begin);
		o.run.user_stack = USER_STACK + at;
		*(volatile u64 *)(user_stack + at) = USER_CODE + (u64)(access_user_end - access_begin);
	}
	return o;
}

u64 access_result(int n)
{
	struct processor *p = &processors[n];

	if (p->trapped[0] == VEC_UD && p->trapped[3] == USER_CODE + (u64)(access_user_end - access_begin))
		p->trapped[0] = NO_TRAP;
	__builtin_memcpy(trapped, p->trapped, sizeof trapped);
	access_high = p->high;
	return p->value;
}

u64 access_run(void *function, u64 va, u64 operand, u64 expected, bool at_user, bool ac)
{
	struct order o = access_order(acting, function, va, operand, expected, at_user, ac);

	perform(&o);
	return access_result(acting);
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
	has_smap = features.smap;
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

static void set_gate(u32 vector, const void *to, u64 ist)
{
	u64 at = (u64)to;

	idt[vector].low = (at & 0xffff) | (u64)SEL_KERNEL_CS << 16 | ist << 32 | 0x8eull << 40 | (at >> 16 & 0xffff) << 48;
	idt[vector].high = at >> 32;
}

void processor_begin(int n)
{
	struct { u16 limit; u64 base; } __attribute__((packed)) r;
	u64 base = (u64)&tss[n], *descriptor = &gdt[SEL_TSS(n) >> 3];

	descriptor[0] = (sizeof tss[n] - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	descriptor[1] = base >> 32;
	tss[n].ist[0] = tss[n].rsp[0] = (u64)(trap_stack[n] + STACK);
	tss[n].ist[1] = (u64)(message_stack[n] + STACK);
	tss[n].iomap = sizeof tss[n];
	r.limit = sizeof idt - 1;
	r.base = (u64)idt;
	__asm__ volatile("lidt %0; ltr %w1" : : "m"(r), "r"(SEL_TSS(n)));
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
	pdpt_direct[APIC >> 30] = PHYS(pd_apic) | table;
	pd_apic[APIC >> 21 & 511] = APIC | PTE_P | PTE_W | PTE_PS | PTE_G | PTE_A | PTE_D | PTE_PCD;
	map_alias(&upper, PTE_G);
	map_alias(&user, PTE_U);
	map_alias(&lower, 0);
	__builtin_memcpy(user_code, access_begin, (size_t)(access_end_of_all - access_begin));
	user.pt[(USER_CODE - ALIAS_USER) >> 12] = PHYS(user_code) | table | PTE_D;
	user.pt[(USER_STACK - ALIAS_USER) >> 12] = PHYS(user_stack) | table | PTE_D;
	for (u32 i = 0; i < 32; i++)
		set_gate(i, stubs + 16 * i, 1);
	set_gate(VEC_MESSAGE, message_entry, 2);
	processor_begin(0);
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
