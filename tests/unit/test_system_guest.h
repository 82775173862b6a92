/* SPDX-License-Identifier: MIT
 * A guest of one array for the tests of src/x86: the hooks of x86/system.h over guest pages with rights of
 * their own, a GDT, an IDT and a TSS, and short ways to execute bytes and to check what came of it.
 *
 * Included once by each test program. */
#ifndef TEST_SYSTEM_GUEST_H
#define TEST_SYSTEM_GUEST_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "x86/system_internal.h"

/* ---- TAP ---- */

static char failure[512];
static int tests_failed;

#define CHECK(condition, ...) \
	do { \
		if (!(condition) && !failure[0]) { \
			int at = snprintf(failure, sizeof(failure), "line %d: %s;", __LINE__, #condition); \
			snprintf(failure + at, sizeof(failure) - (size_t)at, " " __VA_ARGS__); \
		} \
	} while (0)
#define CHECK_EQ(is, should) \
	CHECK((u64)(is) == (u64)(should), "%#llx is not %#llx", (unsigned long long)(is), (unsigned long long)(should))

static void run_test(const char *name, void (*test)(void))
{
	failure[0] = 0;
	test();
	if (failure[0]) {
		printf("not ok - %s: %s\n", name, failure);
		tests_failed = 1;
	} else {
		printf("ok - %s\n", name);
	}
}

/* ---- memory: pages 0..63 at linear 0 and again at HIGH ---- */

#define HIGH 0xffffffff80000000ull
#define PAGES 64
static u8 ram[PAGES * 4096];
enum { PAGE_P = 1, PAGE_W = 2, PAGE_U = 4 };
static u8 rights[PAGES];
static struct cpu cpu;

/* A window of host memory that tests may map in, at its own address, onto another place. */
static u8 *window_at, *window_to;
static size_t window_size;

static u8 *vmem_locate(struct cpu *c, u64 address, u32 access)
{
	u64 low = address >= HIGH ? address - HIGH : address;
	u32 error = access & (VM_WRITE | VM_FETCH);
	u8 r;

	if (window_at && address - (u64)(uintptr_t)window_at < window_size)
		return window_to + (address - (u64)(uintptr_t)window_at);
	if (c->cpl == 3 && !(access & VM_SYSTEM))
		error |= PF_U;
	r = low < sizeof(ram) ? rights[low >> 12] : 0;
	if ((r & PAGE_P) && (!(access & VM_WRITE) || (r & PAGE_W)) && (!(error & PF_U) || (r & PAGE_U)))
		return ram + low;
	sys_raise_error(c, VEC_PF, error | (r & PAGE_P ? PF_P : 0));
	c->exc.cr2 = address;
	return NULL;
}

static int vmem_both(struct cpu *c, u64 address, size_t n, u32 access, u8 **first, u8 **second)
{
	*first = vmem_locate(c, address, access);
	*second = *first ? vmem_locate(c, address + n - 1, access) : NULL;
	return *first && *second ? 0 : -1;
}

int vmem_read(struct cpu *c, gva_t address, void *buffer, size_t n, u32 access)
{
	u8 *a, *b;

	if (vmem_both(c, address.v, n, access, &a, &b))
		return -1;
	memcpy(buffer, a, n);
	return 0;
}

int vmem_write(struct cpu *c, gva_t address, const void *buffer, size_t n, u32 access)
{
	u8 *a, *b;

	if (vmem_both(c, address.v, n, access | VM_WRITE, &a, &b))
		return -1;
	memcpy(a, buffer, n);
	return 0;
}

/* ---- the other hooks record their calls ---- */

static struct {
	int io, cr3, control, invlpg, invpcid, changed, system_time, wall_clock;
	u32 last_changed;
	u16 port;
	int io_size;
	u32 io_value;
	u64 page, apic_value;
	int apic_result;
} calls;

u32 io_in(struct cpu *c, u16 port, int size)
{
	(void)c;
	calls.io++;
	calls.port = port;
	calls.io_size = size;
	return calls.io_value;
}
void io_out(struct cpu *c, u16 port, int size, u32 value)
{
	(void)c;
	calls.io++;
	calls.port = port;
	calls.io_size = size;
	calls.io_value = value;
}
static u64 tsc_now = 1000000;
u64 host_tsc(void) { return tsc_now; }
void mmu_cr3_written(struct cpu *c, u64 old, u64 value) { (void)c; (void)old; (void)value; calls.cr3++; }
void mmu_control_changed(struct cpu *c, u64 cr0, u64 cr4, u64 efer)
{
	(void)c; (void)cr0; (void)cr4; (void)efer;
	calls.control++;
}
void mmu_invlpg(struct cpu *c, gva_t a) { (void)c; (void)a; calls.invlpg++; }
void mmu_invpcid(struct cpu *c, u64 t, u64 p, gva_t a) { (void)c; (void)t; (void)p; (void)a; calls.invpcid++; }
void mmu_msr_changed(struct cpu *c, u32 what) { (void)c; calls.changed++; calls.last_changed = what; }
int apic_msr_read(struct cpu *c, u32 msr, u64 *value)
{
	(void)c; (void)msr;
	*value = calls.apic_value;
	return calls.apic_result;
}
int apic_msr_write(struct cpu *c, u32 msr, u64 value)
{
	(void)c; (void)msr;
	calls.apic_value = value;
	return calls.apic_result;
}
void clock_write_system_time(struct cpu *c, gpa_t page) { (void)c; calls.system_time++; calls.page = page.v; }
void clock_write_wall_clock(struct cpu *c, gpa_t page) { (void)c; calls.wall_clock++; calls.page = page.v; }

/* ---- the guest's tables ---- */

#define GDT 0x1000
#define IDT 0x2000
#define TSS 0x3000
#define LDT 0x4000
#define KERNEL_STACK 0x6000 /* RSP0 */
#define IST1_STACK 0x7008   /* misaligned: delivery must align it */
#define CODE 0x8000
#define USER_STACK 0xa000
#define DATA 0xb000
#define ABSENT 0x20000      /* pages 32..35 are not present */
#define READ_ONLY 0x24000   /* page 36 */

/* Selectors; the order is what SYSCALL and SYSRET ask for. */
enum {
	KCODE = 0x10, KDATA = 0x18, UCODE32 = 0x23, UDATA = 0x2b, UCODE64 = 0x33, TSS_SEL = 0x40, LDT_SEL = 0x50,
	KCODE_NP = 0x60, KDATA_NP = 0x68, KCONF = 0x70, KDATA_RO = 0x78, GATE = 0x80, GATE3 = 0x90, CODE_LD = 0xa0,
	KCODE32 = 0xa8, UCODE_XO = 0xb3, KCODE_FRESH = 0xb8, UDATA_NP = 0xc3, TSS_BUSY_SEL = 0xd0, UCONF = 0xe3,
	GDT_END = 0xf0
};

static void put64(u64 at, u64 value) { memcpy(ram + at, &value, 8); }
static inline u64 get64(u64 at) { u64 v; memcpy(&v, ram + at, 8); return v; }

static void put_gate(int vector, u16 sel, u64 offset, int type, int dpl, int ist)
{
	u64 low = (offset & 0xffff) | (u64)sel << 16 | (u64)ist << 32 | (u64)(type | dpl << 5 | 0x80) << 40 |
		  (offset >> 16 & 0xffff) << 48;

	put64(IDT + (u64)vector * 16, low);
	put64(IDT + (u64)vector * 16 + 8, offset >> 32);
}

#define HANDLER(vector) (HIGH + CODE + 0x100 + (u64)(vector) * 16)

static void guest_tables(void)
{
	memset(ram, 0, sizeof(ram));
	put64(GDT + KCODE, 0x00af9b000000ffffull);
	put64(GDT + KDATA, 0x00cf93000000ffffull);
	put64(GDT + (UCODE32 & ~7), 0x00cffb000000ffffull);
	put64(GDT + (UDATA & ~7), 0x00cff3000000ffffull);
	put64(GDT + (UCODE64 & ~7), 0x00affb000000ffffull);
	put64(GDT + TSS_SEL, 0x0000890000000067ull | (u64)TSS << 16);
	put64(GDT + TSS_BUSY_SEL, 0x00008b0000000067ull | (u64)TSS << 16);
	put64(GDT + LDT_SEL, 0x000082000000001full | (u64)LDT << 16);
	put64(GDT + KCODE_NP, 0x00af1b000000ffffull);
	put64(GDT + KDATA_NP, 0x00cf13000000ffffull);
	put64(GDT + (UDATA_NP & ~7), 0x00cf73000000ffffull);
	put64(GDT + KCONF, 0x00af9f000000ffffull);
	put64(GDT + (UCONF & ~7), 0x00afff000000ffffull);
	put64(GDT + KDATA_RO, 0x00cf91000000ffffull);
	put64(GDT + CODE_LD, 0x00ef9b000000ffffull);
	put64(GDT + KCODE32, 0x00cf9b000000ffffull);
	put64(GDT + (UCODE_XO & ~7), 0x00aff9000000ffffull);
	put64(GDT + KCODE_FRESH, 0x00af9a000000ffffull);
	/* Call gates to HANDLER(200) in KCODE, for privilege 0 and 3. */
	for (int i = 0; i < 2; i++) {
		u64 to = HANDLER(200);

		put64(GDT + (i ? GATE3 : GATE), (to & 0xffff) | (u64)KCODE << 16 |
		      (u64)(0x8c | (i ? 0x60 : 0)) << 40 | (to >> 16 & 0xffff) << 48);
		put64(GDT + (i ? GATE3 : GATE) + 8, to >> 32);
	}
	put64(LDT + 8, 0x00cff3000000ffffull);
	for (int v = 0; v < 256; v++)
		put_gate(v, KCODE, HANDLER(v), TYPE_INTERRUPT_GATE, v == 3 || v == 4 || v == 0x80 ? 3 : 0, v == VEC_DF);
	put64(TSS + 4, HIGH + KERNEL_STACK);
	put64(TSS + 36, HIGH + IST1_STACK);
	ram[TSS + 0x66] = 0x68;
}

/* A 64-bit kernel at CPL 0 with interrupts on. */
static void guest_reset(void)
{
	guest_tables();
	memset(&calls, 0, sizeof(calls));
	window_at = NULL;
	for (int i = 0; i < PAGES; i++)
		rights[i] = PAGE_P | PAGE_W | PAGE_U;
	for (int i = 0; i < 4; i++)
		rights[(ABSENT >> 12) + i] = 0;
	rights[READ_ONLY >> 12] = PAGE_P | PAGE_U;
	cpu_enter_linux64(&cpu, HIGH + CODE, GPA(0), GPA(0x5000), GPA(GDT));
	cpu.gdt = (struct cpu_table){ HIGH + GDT, GDT_END - 1 };
	cpu.idt = (struct cpu_table){ HIGH + IDT, 0xfff };
	cpu.tr = (struct cpu_seg){ .base = HIGH + TSS, .limit = 0x67, .sel = TSS_SEL, .attr = TYPE_TSS_BUSY | ATTR_P };
	cpu.seg[SEG_SS].sel = KDATA;
	cpu.gpr[RSP] = HIGH + KERNEL_STACK - 0x100;
	cpu.rflags = RF_FIXED | RF_IF;
	cpu.cr4 |= CR4_OSFXSR;
	cpu.star = (u64)KCODE << 32 | (u64)UCODE32 << 48;
	cpu.lstar = HIGH + CODE + 0x40;
	cpu.sfmask = 0x47700;
	cpu.efer |= EFER_SCE;
}

static inline void guest_user(bool is_64)
{
	guest_reset();
	cpu.cpl = 3;
	cpu.seg[SEG_CS] = sys_flat_code(is_64 ? UCODE64 : UCODE32, 3, is_64);
	for (int i = 0; i < 6; i++) {
		if (i != SEG_CS)
			cpu.seg[i] = sys_flat_stack(UDATA, 3);
	}
	cpu.rip = CODE;
	cpu.gpr[RSP] = USER_STACK;
}

/* ---- the host: this one, or an Intel processor with AMX and enhanced IBRS ---- */

static bool host_is_intel;

void sys_host_cpuid(u32 leaf, u32 subleaf, u32 r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(subleaf));
	if (!host_is_intel)
		return;
	if (leaf == 0) {
		r[0] = 0x20;
		memcpy(&r[1], "Genu", 4);
		memcpy(&r[3], "ineI", 4);
		memcpy(&r[2], "ntel", 4);
	} else if (leaf == 0x80000000) {
		r[0] = 0x80000008;
	} else if (leaf == 4) {
		/* Two caches, shared by two threads of eight cores. */
		memset(r, 0, 16);
		if (subleaf < 2)
			r[0] = 0x1c004121 + (subleaf << 5);
	} else if (leaf == 7 && subleaf == 0) {
		r[0] = 2;
		r[3] |= 0xbfc14412;
	} else if (leaf == 7 && subleaf == 2) {
		memset(r, 0, 16);
		r[3] = 0x3f;
	} else if (leaf == 0xd && subleaf == 0) {
		r[0] |= 0x60000 | 0x18;
	} else if (leaf == 0xd && subleaf == 17) {
		r[0] = 64;
		r[1] = 2752;
		r[2] = 2;
	} else if (leaf == 0xd && subleaf == 18) {
		r[0] = 8192;
		r[1] = 2816;
		r[2] = 6;
	} else if (leaf == 0xd && subleaf == 9) {
		r[0] = 8;
	} else if (leaf == 0x1d && subleaf < 2) {
		memset(r, 0, 16);
		r[0] = subleaf ? 0x04002000 : 1;
		r[1] = subleaf ? 0x00080040 : 0;
		r[2] = subleaf ? 16 : 0;
	}
}

/* ---- random states ---- */

static u64 seed = 0x9e3779b97f4a7c15ull;
static inline u64 random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static inline u64 random_address(void)
{
	switch (random64() % 6) {
	case 0: return HIGH + random64() % sizeof(ram);
	case 1: return random64();
	case 2: return random64() % 256;
	default: return random64() % sizeof(ram);
	}
}

static inline void random_state(void)
{
	static const u16 sels[] = { 0, 3, KCODE, KDATA, UCODE32, UDATA, UCODE64, TSS_SEL, LDT_SEL, GATE, GATE3, 12, GDT_END };

	if (random64() & 1)
		guest_reset();
	else
		guest_user(random64() & 1);
	for (int i = 0; i < 16; i++)
		cpu.gpr[i] = random64() % 3 ? random_address() : sels[random64() % ARRAY_SIZE(sels)];
	for (u64 at = DATA; at < DATA + 0x1000; at += 8)
		put64(at, random64() % 3 ? random_address() : sels[random64() % ARRAY_SIZE(sels)]);
	cpu.gpr[RSP] = random64() % 4 ? DATA + (random64() & 0xff8) : random_address();
	cpu.rflags ^= random64() & (FLAGS_STATUS | RF_DF | RF_IF | RF_IOPL | RF_AC);
	cpu.cr4 |= random64() & sys_cr4_valid() & ~CR4_PCIDE;
}

/* ---- executing bytes ---- */

static enum insn_mode guest_mode(void)
{
	return cpu_is_64(&cpu) ? MODE_64 : cpu.seg[SEG_CS].attr & ATTR_DB ? MODE_32 : MODE_16;
}

/* Decodes and executes `n` bytes at the present RIP; repeats while the result is SYS_AGAIN. */
static inline enum sys_result exec(const void *bytes, size_t n)
{
	u8 buffer[INSN_MAX] = { 0 };
	struct insn in;
	enum sys_result result;

	memcpy(buffer, bytes, n < INSN_MAX ? n : INSN_MAX);
	if (insn_decode(&in, buffer, INSN_MAX, guest_mode())) {
		CHECK(false, "decoder refuses %02x %02x %02x", buffer[0], buffer[1], buffer[2]);
		return SYS_FAULT;
	}
	CHECK(in.klass == IC_INVALID || in.len == n, "length %u of %02x %02x %02x", in.len, buffer[0], buffer[1], buffer[2]);
	do {
		result = in.klass == IC_PLAIN ? (enum sys_result)sys_execute_memory(&cpu, &in) : sys_execute(&cpu, &in);
	} while (result == SYS_AGAIN);
	return result;
}
#define EXEC(...) exec((const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))

/* Expects a fault that left everything but c->exc as it was. */
static inline void expect_fault(enum sys_result result, int vector, int error, const struct cpu *before, int line)
{
	struct cpu after = cpu;

	after.exc = before->exc;
	if (failure[0])
		return;
	CHECK(result == SYS_FAULT && cpu.exc.pending, "(from line %d) no fault, wanted %d", line, vector);
	CHECK(cpu.exc.vector == vector, "(from line %d) vector %d, wanted %d", line, cpu.exc.vector, vector);
	CHECK(error < 0 ? !cpu.exc.has_error : cpu.exc.has_error && (int)cpu.exc.error == error,
	      "(from line %d) error %#x, wanted %#x", line, cpu.exc.error, (unsigned)error);
	CHECK(!memcmp(&after, before, sizeof(after)), "(from line %d) state changed by a fault", line);
	cpu = *before;
}
#define FAULTS(vector, error, ...) \
	do { \
		struct cpu before_ = cpu; \
		expect_fault(EXEC(__VA_ARGS__), vector, error, &before_, __LINE__); \
	} while (0)
#define DOES(...) CHECK_EQ(EXEC(__VA_ARGS__), SYS_DONE)

#endif
