/* SPDX-License-Identifier: MIT
 * The interpreter against the processor: random instructions in random states of real mode and protected mode
 * (16 and 32 bits, both privilege levels) run under /dev/kvm and in sys_interpret(), to the next HLT; registers,
 * flags, segments and memory must be the same.  PENUMBRA_TEST_SEED and PENUMBRA_TEST_CASES choose others. */
/* WITH: base/err.c accel/kvm_state.c x86/branch.c x86/control.c x86/cpuid.c x86/decimal.c x86/decode.c */
/* WITH: x86/decode_table.c x86/decode_vector.c x86/fpu.c x86/unit.c x86/interp.c x86/interrupt.c x86/io.c x86/memop.c x86/msr.c */
/* WITH: x86/reset.c x86/segment.c x86/system.c */

#include <signal.h>
#undef REG_RIP /* of <sys/ucontext.h> */

#include "accel/kvm_state.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "x86/system_internal.h"

#define RAM (2u << 20)
#define SPAN 0x20000u       /* what operands reach, and what is compared with care */
#define GDT 0x1000
#define IDT 0x1800
#define TSS 0x2000
#define HANDLERS 0x3000     /* one HLT for each vector, 16 bytes apart */
#define CODE 0x8000
#define STACK 0x7000
#define KERNEL_STACK 0x6000

static u8 *ram, *ours, *fresh;
static u64 seed = 1;
static char reason[400];

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull >> 13;
}

/* ---- the hooks, over our own copy of the memory ---- */

static u8 *at(u64 address, size_t n)
{
	return address < RAM && n <= RAM - address ? ours + address : NULL;
}

int vmem_read(struct cpu *c, gva_t a, void *buffer, size_t n, u32 access)
{
	const u8 *p = at(a.v, n);

	(void)c;
	(void)access;
	memset(buffer, 0xff, n);
	if (p)
		memcpy(buffer, p, n);
	return 0;
}

int vmem_write(struct cpu *c, gva_t a, const void *buffer, size_t n, u32 access)
{
	u8 *p = at(a.v, n);

	(void)c;
	(void)access;
	if (p)
		memcpy(p, buffer, n);
	return 0;
}

u32 io_in(struct cpu *c, u16 port, int size) { (void)c; (void)port; (void)size; return 0; }
void io_out(struct cpu *c, u16 port, int size, u32 value) { (void)c; (void)port; (void)size; (void)value; }
u64 host_tsc(void) { return 0; }
void mmu_cr3_written(struct cpu *c, u64 old, u64 value) { (void)c; (void)old; (void)value; }
void mmu_control_changed(struct cpu *c, u64 a, u64 b, u64 d) { (void)c; (void)a; (void)b; (void)d; }
void mmu_invlpg(struct cpu *c, gva_t a) { (void)c; (void)a; }
void mmu_invpcid(struct cpu *c, u64 t, u64 p, gva_t a) { (void)c; (void)t; (void)p; (void)a; }
void mmu_msr_changed(struct cpu *c, u32 what) { (void)c; (void)what; }
int apic_msr_read(struct cpu *c, u32 msr, u64 *value) { (void)c; (void)msr; (void)value; return -1; }
int apic_msr_write(struct cpu *c, u32 msr, u64 value) { (void)c; (void)msr; (void)value; return -1; }
void clock_write_system_time(struct cpu *c, gpa_t page) { (void)c; (void)page; }
void clock_write_wall_clock(struct cpu *c, gpa_t page) { (void)c; (void)page; }

/* ---- the guest ---- */

/* Selectors; their descriptors are flat but for the limit, which keeps accesses inside SPAN. */
enum { CODE32 = 0x08, DATA32 = 0x10, CODE16 = 0x18, DATA16 = 0x20, UCODE32 = 0x2b, UDATA32 = 0x33, READ_ONLY = 0x38,
       EXPAND_DOWN = 0x40, ABSENT = 0x48, CONFORMING = 0x50, TSS_SEL = 0x58, EXECUTE_ONLY = 0x60, UCODE16 = 0x6b,
       GDT_END = 0x70 };

static void descriptor(u16 sel, u32 type, u32 dpl, bool present, bool wide, u32 limit)
{
	u64 d = (limit & 0xffff) | (u64)(limit >> 16 & 15) << 48 | (u64)type << 40 | (u64)dpl << 45 |
		(u64)present << 47 | (u64)wide << 54;

	memcpy(ram + GDT + (sel & ~7), &d, 8);
}

static void tables(bool real)
{
	u64 tss;

	for (u32 v = 0; v < 256; v++) {
		u64 gate = (HANDLERS + v * 16) | (u64)CODE32 << 16 | 0x8e0000000000ull | (v >= 0x80 ? 3ull << 45 : 0);
		u32 far = (HANDLERS + v * 16);

		if (real)
			memcpy(ram + v * 4, &far, 4);
		memcpy(ram + IDT + v * 8, &gate, 8);
		memset(ram + HANDLERS + v * 16, 0xf4, 16);
	}
	memset(ram + GDT, 0, GDT_END);
	descriptor(CODE32, 0x1b, 0, true, true, SPAN - 1);
	descriptor(DATA32, 0x13, 0, true, true, SPAN - 1);
	descriptor(CODE16, 0x1b, 0, true, false, 0xffff);
	descriptor(DATA16, 0x13, 0, true, false, 0xffff);
	descriptor(UCODE32, 0x1b, 3, true, true, SPAN - 1);
	descriptor(UCODE16, 0x1b, 3, true, false, 0xffff);
	descriptor(UDATA32, 0x13, 3, true, true, SPAN - 1);
	descriptor(READ_ONLY, 0x11, 3, true, true, SPAN - 1);
	descriptor(EXPAND_DOWN, 0x17, 0, true, false, 0x4000);
	descriptor(ABSENT, 0x13, 0, false, true, SPAN - 1);
	descriptor(CONFORMING, 0x1f, 0, true, true, SPAN - 1);
	descriptor(EXECUTE_ONLY, 0x19, 0, true, true, SPAN - 1);
	tss = 0x00008b0000000067ull | (u64)TSS << 16;
	memcpy(ram + GDT + TSS_SEL, &tss, 8);
	memset(ram + TSS, 0, 0x68);
	memcpy(ram + TSS + 4, (u32[]){ KERNEL_STACK, DATA32 }, 8);
}

static struct cpu_seg segment(u16 sel)
{
	u64 d;

	memcpy(&d, ram + GDT + (sel & ~7), 8);
	return (struct cpu_seg){ .sel = sel, .limit = (u32)(d & 0xffff) | (u32)(d >> 48 & 15) << 16,
				 .attr = (u16)(d >> 40 & 0xf0ff) };
}

enum mode { REAL, PROT16, PROT32, USER32, MODES };
static const char *const mode_names[] = { "real mode", "16-bit protected mode", "32-bit protected mode", "32-bit user mode" };

static u64 small(void)
{
	u64 v = rnd();

	switch (rnd() % 4) {
	case 0: return v & 0xff;
	case 1: return v % SPAN;
	case 2: return v & 0xffff;
	default: return (u32)v;
	}
}

static void random_state(struct cpu *c, enum mode mode)
{
	static const u16 data[] = { DATA32, DATA16, UDATA32, READ_ONLY, EXPAND_DOWN, DATA32, UDATA32 };
	static const u16 user_data[] = { UDATA32, READ_ONLY, CONFORMING, UDATA32 };

	cpu_reset(c);
	c->apic_base = 0xfee00900;
	for (int i = 0; i < 16; i++)
		c->gpr[i] = i < 8 ? small() : 0;
	c->gpr[RSP] = STACK + rnd() % 64;
	c->rflags = RF_FIXED | (rnd() & (FLAGS_STATUS | RF_DF));
	c->rip = CODE;
	c->idt = (struct cpu_table){ mode == REAL ? 0 : IDT, mode == REAL ? 0x3ff : 0x7ff };
	c->gdt = (struct cpu_table){ GDT, GDT_END - 1 };
	c->cr0 = CR0_ET | CR0_NE;
	if (mode == REAL) {
		for (int i = 0; i < 6; i++) {
			c->seg[i].sel = i == SEG_CS || i == SEG_SS ? 0 : (u16)(rnd() % (SPAN >> 4));
			c->seg[i].base = (u64)c->seg[i].sel << 4;
		}
		return;
	}
	c->cr0 |= CR0_PE;
	for (int i = 0; i < 6; i++)
		c->seg[i] = segment(mode == USER32 ? user_data[rnd() % ARRAY_SIZE(user_data)] : data[rnd() % ARRAY_SIZE(data)]);
	c->seg[SEG_CS] = segment(mode == USER32 ? UCODE32 : mode == PROT32 ? CODE32 : CODE16);
	c->seg[SEG_SS] = segment(mode == USER32 ? UDATA32 : mode == PROT32 ? DATA32 : rnd() & 1 ? DATA16 : DATA32);
	c->tr = segment(TSS_SEL);
	c->tr.base = TSS;
	c->cpl = mode == USER32 ? 3 : 0;
}

/* Where /dev/kvm emulates instead of running code on the processor, its emulator is the reference.  What it
 * lacks or does in its own way is compared with the processor itself, in user mode, by other tests: decimal
 * instructions, the NOPs but for 0F 1F, what questions selectors, ENTER with a prefix or a level, INT in protected
 * mode, far transfers in user mode, AC. */
static bool emulator_differs(const struct insn *in, bool real, bool user)
{
	switch (in->klass) {
	case IC_PLAIN:
		if (in->map == MAP_1B && (in->op == 0x9b || (in->op >= 0xd8 && in->op <= 0xdf)))
			return true; /* the state of the x87 is not that of the virtual processor */
		if (in->map == MAP_0F)
			return in->op == 0xae || in->op == 0x0d || (in->op >= 0x18 && in->op <= 0x1e);
		return in->map == MAP_1B && ((in->op & 0xe7) == 0x27 || in->op == 0xd4 || in->op == 0xd5 ||
					     in->op == 0xd6 || in->op == 0x62);
	case IC_ENTER:
		return in->opsize_prefix || (in->imm2 & 31);
	case IC_CALL_FAR: case IC_JMP_FAR: case IC_RETF: case IC_IRET:
		return user;
	case IC_LAR: case IC_LSL: case IC_VERR: case IC_VERW: case IC_ARPL:
		return true;
	case IC_INT: case IC_INT3: case IC_INTO:
		return !real;
	case IC_PUSH_SEG:
		return in->osize != 2;
	default:
		return false;
	}
}

/* Instructions whose result is not the same on any two processors, that end the test, or that are not here. */
static bool wanted(const struct insn *in, bool real, bool user)
{
	switch (in->klass) {
	case IC_INVALID: case IC_IN: case IC_OUT: case IC_INS: case IC_OUTS: case IC_CPUID: case IC_RDTSC: case IC_RDTSCP:
	case IC_RDMSR: case IC_WRMSR: case IC_RDPMC: case IC_MOV_TO_CR: case IC_MOV_FROM_CR: case IC_MOV_TO_DR:
	case IC_MOV_FROM_DR: case IC_LMSW: case IC_VMCALL: case IC_VMX: case IC_MONITOR: case IC_MWAIT: case IC_MONITORX:
	case IC_MWAITX: case IC_XBEGIN: case IC_XABORT: case IC_XEND: case IC_XTEST: case IC_RDPID: case IC_RDPKRU:
	case IC_WRPKRU: case IC_XSAVE: case IC_XSAVES: case IC_XRSTOR: case IC_XRSTORS: case IC_XGETBV: case IC_XSETBV:
	case IC_MASKMOV: case IC_CET: case IC_CLZERO: case IC_MOVDIR64B: case IC_INVLPGB: case IC_TLBSYNC: case IC_INVPCID:
	case IC_SYSCALL: case IC_SYSRET: case IC_SYSENTER: case IC_SYSEXIT: case IC_LTR: case IC_LLDT: case IC_LGDT: case IC_LIDT:
	case IC_INT1: case IC_INVD: case IC_WBINVD: case IC_CLTS:
		return false;
	default:
		return in->enc == ENC_LEGACY && !emulator_differs(in, real, user);
	}
}

static int generate(u8 *bytes, enum insn_mode mode, struct insn *in)
{
	static const u8 prefixes[] = { 0x66, 0x67, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf2, 0xf3, 0xf0 };
	int n = 0;

	while (rnd() % 3 == 0 && n < 3)
		bytes[n++] = prefixes[rnd() % ARRAY_SIZE(prefixes)];
	if (rnd() % 4 == 0)
		bytes[n++] = 0x0f;
	while (n < INSN_MAX)
		bytes[n++] = (u8)rnd();
	return insn_decode(in, bytes, INSN_MAX, mode);
}

/* ---- both ways to run it ---- */

#define STEPS 70000 /* REP with a 16-bit count */
#define INSNS 50

/* To the HLT; 1 where it does not come, or something runs that does not belong here.  A jump may lead anywhere. */
static int run_ours(struct cpu *c)
{
	for (int i = 0, n = 0; i < STEPS && n < INSNS && !c->halted; i++) {
		struct insn in;
		int r = sys_interpret(c, &in);

		n += r != SYS_AGAIN;
		if (r == -1 || (in.len && !wanted(&in, !(c->cr0 & CR0_PE), c->cpl)) || (c->rflags & RF_TF)) /* single steps are the monitor's */
			return 1;
		if (c->exc.pending)
			sys_deliver_exception(c);
		if (c->shutdown)
			return 0;
	}
	return c->halted ? 0 : 1;
}

static int kvm_vm, kvm_vcpu;
static struct kvm_run *kvm_run;

static void give_up(int signal)
{
	(void)signal;
	kvm_run->immediate_exit = 1;
}

static int run_kvm(struct cpu *c, struct err *e)
{
	kvm_run->immediate_exit = 0;
	alarm(1);
	for (int i = 0; i < 8; i++) {
		if (ioctl(kvm_vcpu, KVM_RUN, 0)) {
			kvm_state_get(kvm_vcpu, c, e);
			snprintf(reason, sizeof reason, "the processor does not come to HLT: cs:ip %x:%llx flags %llx",
				 c->seg[SEG_CS].sel, (unsigned long long)c->rip, (unsigned long long)c->rflags);
			return c->rip == CODE ? 1 : -1; /* an emulator that cannot do it tries for ever */
		}
		if (kvm_run->exit_reason == KVM_EXIT_HLT)
			return kvm_state_get(kvm_vcpu, c, e);
		if (kvm_run->exit_reason == KVM_EXIT_SHUTDOWN) {
			c->shutdown = 1;
			return 0;
		}
		if (kvm_run->exit_reason != KVM_EXIT_MMIO)
			break;
		memset(kvm_run->mmio.data, 0xff, 8);
	}
	return 1;
}

static int start_kvm(void)
{
	struct kvm_userspace_memory_region region = { .memory_size = RAM };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), size;

	if (kvm < 0)
		return -1;
	kvm_vm = ioctl(kvm, KVM_CREATE_VM, 0);
	ioctl(kvm_vm, KVM_SET_TSS_ADDR, 0xfffbd000ull);
	region.userspace_addr = (u64)(uintptr_t)ram;
	if (kvm_vm < 0 || ioctl(kvm_vm, KVM_SET_USER_MEMORY_REGION, &region))
		return -1;
	kvm_vcpu = ioctl(kvm_vm, KVM_CREATE_VCPU, 0);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (kvm_vcpu < 0 || size <= 0)
		return -1;
	kvm_run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, kvm_vcpu, 0);
	return kvm_run == MAP_FAILED ? -1 : 0;
}

/* ---- judging ---- */

#define SAME(what, a, b) \
	do { \
		if ((u64)(a) != (u64)(b) && !reason[0]) \
			snprintf(reason, sizeof reason, "%s is %#llx, should be %#llx", what, (unsigned long long)(a), \
				 (unsigned long long)(b)); \
	} while (0)

static void compare(const struct cpu *a, const struct cpu *b)
{
	static const char *const names[] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };
	static const char *const segs[] = { "es", "cs", "ss", "ds", "fs", "gs" };

	SAME("shutdown", a->shutdown, b->shutdown);
	if (a->shutdown || b->shutdown)
		return;
	SAME("ip", a->rip, b->rip);
	for (int i = 0; i < 8; i++)
		SAME(names[i], a->gpr[i], b->gpr[i]);
	SAME("flags", a->rflags & ~RF_AC, b->rflags & ~RF_AC);
	for (int i = 0; i < 6; i++) {
		SAME(segs[i], a->seg[i].sel, b->seg[i].sel);
		if (b->seg[i].attr & ATTR_P) {
			SAME(segs[i], a->seg[i].base, b->seg[i].base);
			SAME(segs[i], a->seg[i].limit, b->seg[i].limit);
		}
	}
	for (u32 i = 0; i < RAM && !reason[0]; i += 4096)
		if (memcmp(ours + i, ram + i, 4096))
			for (u32 j = i; j < i + 4096 && !reason[0]; j++)
				if (ours[j] != ram[j])
					snprintf(reason, sizeof reason, "memory at %#x is %02x, should be %02x", j, ours[j], ram[j]);
}

static int one_case(enum mode mode, struct insn *in, u8 *bytes)
{
	enum insn_mode decode = mode >= PROT32 ? MODE_32 : MODE_16;
	struct cpu before, a, b;
	struct err e = { 0 };
	int rc;

	reason[0] = 0;
	do {
		rc = generate(bytes, decode, in);
	} while (rc || !wanted(in, mode == REAL, mode == USER32));
	memcpy(ram, fresh, RAM);
	tables(mode == REAL);
	memset(ram + CODE - 0x100, 0xf4, 0x200);
	memcpy(ram + CODE, bytes, in->len);
	random_state(&before, mode);
	memcpy(ours, ram, RAM);
	a = b = before;
	/* The tables and the code are not to be changed under the processor's feet. */
	if (run_ours(&a) || memcmp(ours + GDT, ram + GDT, HANDLERS + 0x1000 - GDT) || memcmp(ours + CODE, ram + CODE, 32))
		return 0;
	if (kvm_state_set(kvm_vcpu, &b, &e)) {
		snprintf(reason, sizeof reason, "%.200s", e.text);
		return -1;
	}
	rc = run_kvm(&b, &e);
	if (rc)
		return rc < 0 ? -1 : 0;
	compare(&a, &b);
	return reason[0] ? -1 : 1;
}

static int test_mode(enum mode mode, u64 cases)
{
	u64 done = 0, compared = 0;
	struct insn in;
	u8 bytes[INSN_MAX];

	for (; done < cases; done++) {
		u64 was = seed;
		int r = one_case(mode, &in, bytes);

		compared += r > 0;
		if (r >= 0)
			continue;
		printf("not ok - %s: seed %llu:", mode_names[mode], (unsigned long long)was);
		for (int i = 0; i < in.len; i++)
			printf(" %02x", bytes[i]);
		printf(" (%s): %s\n", insn_class_name(in.klass), reason);
		return 1;
	}
	printf(compared * 2 > done ? "ok - %s is interpreted as by the processor\n" :
	       "not ok - %s: too few cases could be compared\n", mode_names[mode]);
	printf("# %llu of %llu cases compared\n", (unsigned long long)compared, (unsigned long long)done);
	return compared * 2 <= done;
}

int main(void)
{
	const char *s = getenv("PENUMBRA_TEST_SEED"), *n = getenv("PENUMBRA_TEST_CASES");
	int failed = 0;

	ram = mmap(NULL, 3 * RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		return 1;
	ours = ram + RAM;
	fresh = ours + RAM;
	if (start_kvm()) {
		printf("ok - interpreter against the processor # SKIP /dev/kvm cannot be used\n");
		return 0;
	}
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = give_up }, NULL);
	sys_cpuid_init(true);
	seed = s && *s ? strtoull(s, NULL, 0) : 0x9e3779b97f4a7c15ull;
	for (u32 i = 0; i < SPAN; i += 8)
		memcpy(fresh + i, (u64[]){ rnd() }, 8);
	for (int mode = 0; mode < MODES; mode++)
		failed |= test_mode((enum mode)mode, n ? strtoull(n, NULL, 0) : 250);
	return failed;
}
