/* SPDX-License-Identifier: MIT
 * What user mode may do with segments and IRET, in C and on the processor: selectors of the host's GDT and
 * of an LDT full of descriptor kinds are loaded, questioned and returned to; the fault (vector and error
 * code) or the result must be the same.
 *
 * WITH: x86/system.c x86/branch.c x86/segment.c x86/interrupt.c x86/control.c x86/io.c x86/msr.c
 * WITH: x86/cpuid.c x86/memop.c x86/decimal.c x86/reset.c x86/decode.c x86/decode_table.c x86/decode_vector.c
 *
 * Without sanitizers, since the tests change segments under the compiler's feet. */
/* NOSAN */
#include <asm/ldt.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TRAPNO = REG_TRAPNO, ERROR_CODE = REG_ERR };
#undef REG_RIP /* of <sys/ucontext.h> */
#include "unit/test_system_guest.h"

#define HOST_KCODE 0x10
#define HOST_KDATA 0x18
#define HOST_UCODE32 0x23
#define HOST_UDATA 0x2b
#define HOST_UCODE64 0x33
#define LDT_KINDS 48

static bool have_ldt;
static sigjmp_buf trapped;
static volatile int trap_vector, trap_error;

static void on_signal(int number, siginfo_t *info, void *context)
{
	const ucontext_t *u = context;

	(void)number;
	(void)info;
	trap_vector = (int)u->uc_mcontext.gregs[TRAPNO];
	trap_error = (int)u->uc_mcontext.gregs[ERROR_CODE];
	siglongjmp(trapped, 1);
}

/* Every kind of descriptor that modify_ldt() grants, as it and as the kernel's fill_ldt() lay it out. */
static u64 make_ldt_entry(unsigned i)
{
	struct user_desc d = { .entry_number = i, .base_addr = 0x1000 * i, .limit = 0xff000 + i, .seg_32bit = i & 1,
			       .contents = i >> 1 & 3, .read_exec_only = i >> 3 & 1, .seg_not_present = i >> 4 & 1,
			       .limit_in_pages = i >> 5 & 1 };
	u64 raw = (d.limit & 0xffff) | (u64)(d.base_addr & 0xffffff) << 16 | (u64)(d.limit >> 16 & 15) << 48 |
		  (u64)(d.base_addr >> 24) << 56;

	/* Conforming code must be marked not present to be granted. */
	if (d.contents == 3)
		d.seg_not_present = 1;
	raw |= (u64)(1 | (d.read_exec_only ^ 1u) << 1 | (unsigned)d.contents << 2 | 0x10 | 0x60 |
		     (d.seg_not_present ? 0 : 0x80)) << 40;
	raw |= (u64)d.seg_32bit << 54 | (u64)d.limit_in_pages << 55;
	return syscall(SYS_modify_ldt, 1, &d, sizeof(d)) ? 0 : raw;
}

/* The guest's tables show what the host's show to user mode. */
static void mirror_host(void)
{
	guest_user(true);
	memset(ram + GDT, 0, 0x1000);
	put64(GDT + HOST_KCODE, 0x00af9b000000ffff);
	put64(GDT + HOST_KDATA, 0x00cf93000000ffff);
	put64(GDT + (HOST_UCODE32 & ~7), 0x00cffb000000ffff);
	put64(GDT + (HOST_UDATA & ~7), 0x00cff3000000ffff);
	put64(GDT + (HOST_UCODE64 & ~7), 0x00affb000000ffff);
	put64(GDT + 0x40, 0x00008b0000004087);
	cpu.gdt.limit = 0x7f;
	cpu.seg[SEG_CS] = sys_flat_code(HOST_UCODE64, 3, true);
	cpu.seg[SEG_SS] = sys_flat_stack(HOST_UDATA, 3);
	if (have_ldt) {
		for (unsigned i = 0; i < LDT_KINDS; i++)
			put64(LDT + 8 * i, make_ldt_entry(i));
		cpu.ldt = (struct cpu_seg){ .base = HIGH + LDT, .limit = LDT_KINDS * 8 - 1, .sel = 0x50,
					    .attr = TYPE_LDT | ATTR_P };
	}
}

/* Selectors whose descriptors are known here: not the TLS slots and the processor-number segment. */
static bool next_selector(unsigned *sel)
{
	for (unsigned s = *sel + 1; s <= 0xffff; s++) {
		unsigned index = s >> 3;

		if (s & 4 ? (have_ldt && (index < LDT_KINDS || (index >= 1024 * 8 / 8))) :
			    (index < 7 || index == 8 || (index >= 16 && index < 20))) {
			*sel = s;
			return true;
		}
	}
	return false;
}
#define EACH_SELECTOR(sel) for (unsigned sel = 0, more = 1; more; more = next_selector(&sel))

static void same_fault(enum sys_result result, bool trap, unsigned sel)
{
	CHECK((result == SYS_FAULT) == trap, "selector %#x: fault %d here, %d there", sel, result == SYS_FAULT, trap);
	if (trap)
		CHECK(cpu.exc.vector == trap_vector && (int)cpu.exc.error == trap_error,
		      "selector %#x: vector %u, error %#x here, %d, %#x there", sel, cpu.exc.vector, cpu.exc.error, trap_vector,
		      trap_error);
}

/* One test for each segment register: bytes of the load in C, and the load itself. */
#define TEST_LOAD(name, modrm)                                                           \
	static bool load_##name(unsigned sel)                                            \
	{                                                                                \
		u16 old;                                                                 \
		if (sigsetjmp(trapped, 1))                                               \
			return true;                                                     \
		__asm__ volatile("mov %%" #name ", %0\n\tmov %1, %%" #name               \
				 : "=&r"(old) : "r"(sel) : "memory");                    \
		__asm__ volatile("mov %0, %%" #name : : "r"((unsigned)old) : "memory");  \
		return false;                                                            \
	}                                                                                \
	static void test_load_##name(void)                                               \
	{                                                                                \
		mirror_host();                                                           \
		EACH_SELECTOR(sel) {                                                     \
			struct cpu before = cpu;                                         \
			cpu.gpr[RAX] = sel;                                              \
			enum sys_result result = EXEC(0x8e, modrm);                      \
			same_fault(result, load_##name(sel), sel);                       \
			cpu = before;                                                    \
		}                                                                        \
	}
TEST_LOAD(ds, 0xd8)
TEST_LOAD(es, 0xc0)
TEST_LOAD(gs, 0xe8)
TEST_LOAD(ss, 0xd0)

#define QUERY(instruction, sel, value, zero) \
	__asm__ volatile(instruction "\n\tsetz %1" : "+r"(value), "=q"(zero) : "r"(sel) : "cc")

static void test_questions(void)
{
	mirror_host();
	EACH_SELECTOR(sel) {
		unsigned value = 0x5555;
		u8 zero;

		cpu.gpr[RAX] = sel;
		cpu.gpr[RCX] = 0x5555;
		QUERY("lar %2, %0", sel, value, zero);
		DOES(0x0f, 0x02, 0xc8);
		CHECK(zero == !!(cpu.rflags & FLAG_ZF) && value == cpu.gpr[RCX], "lar %#x: %#llx here, %#x there", sel,
		      (unsigned long long)cpu.gpr[RCX], value);
		value = 0x5555;
		cpu.gpr[RCX] = 0x5555;
		QUERY("lsl %2, %0", sel, value, zero);
		DOES(0x0f, 0x03, 0xc8);
		CHECK(zero == !!(cpu.rflags & FLAG_ZF) && value == cpu.gpr[RCX], "lsl %#x: %#llx here, %#x there", sel,
		      (unsigned long long)cpu.gpr[RCX], value);
		QUERY("verr %w2", sel, value, zero);
		DOES(0x0f, 0x00, 0xe0);
		CHECK(zero == !!(cpu.rflags & FLAG_ZF), "verr %#x", sel);
		QUERY("verw %w2", sel, value, zero);
		DOES(0x0f, 0x00, 0xe8);
		CHECK(zero == !!(cpu.rflags & FLAG_ZF), "verw %#x", sel);
	}
}

static u64 returned_flags;

/* IRETQ to the next instruction with the given CS, SS and flags: true where it faults.  `nt` sets NT before. */
static bool native_iret(unsigned cs, unsigned ss, u64 flags, bool nt)
{
	if (sigsetjmp(trapped, 1)) {
		__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushq $0x202\n\tpopfq\n\tlea 128(%%rsp), %%rsp" : : : "cc", "memory");
		return true;
	}
	__asm__ volatile(
		"lea -128(%%rsp), %%rsp\n\t"
		"mov %%rsp, %%rdx\n\t"
		"push %[ss]\n\tpush %%rdx\n\tpush %[flags]\n\tpush %[cs]\n\t"
		"lea 1f(%%rip), %%rax\n\tpush %%rax\n\t"
		"push %[before]\n\tpopfq\n\t"
		"iretq\n"
		"1:\tpushfq\n\tpop %%rax\n\tpushq $0x202\n\tpopfq\n\t"
		"lea 128(%%rsp), %%rsp\n\t"
		"mov $0x2b, %%edx\n\tmov %%edx, %%ss"
		: "=&a"(returned_flags)
		: [cs] "r"((u64)cs), [ss] "r"((u64)ss), [flags] "r"(flags), [before] "r"(nt ? RF_NT | 0x202 : 0x202ull)
		: "rdx", "cc", "memory");
	return false;
}

static void iret_both(unsigned cs, unsigned ss, u64 flags, bool nt)
{
	struct cpu before = cpu;
	u64 frame[5] = { CODE + 2, cs, flags, USER_STACK, ss };
	enum sys_result result;

	cpu.gpr[RSP] = USER_STACK - 40;
	memcpy(ram + USER_STACK - 40, frame, sizeof(frame));
	cpu.rflags = RF_FIXED | RF_IF | (nt ? RF_NT : 0);
	result = EXEC(0x48, 0xcf);
	/* Success elsewhere than in 64-bit mode cannot be followed here. */
	if (result == SYS_FAULT || cs == HOST_UCODE64) {
		same_fault(result, native_iret(cs, ss, flags, nt), cs << 16 | ss);
		CHECK(result == SYS_FAULT || cpu.rflags == returned_flags, "flags %#llx: %#llx here, %#llx there",
		      (unsigned long long)flags, (unsigned long long)cpu.rflags, (unsigned long long)returned_flags);
	}
	cpu = before;
}

static void test_iret(void)
{
	mirror_host();
	EACH_SELECTOR(sel) {
		iret_both(HOST_UCODE64, sel, 0x202, false);
		iret_both(sel, HOST_UDATA, 0x202, false);
	}
	iret_both(HOST_UCODE64, HOST_UDATA, 0x202, true);
	/* All flags but TF; RF is not seen by PUSHF. */
	for (int i = 0; i < 1000; i++)
		iret_both(HOST_UCODE64, HOST_UDATA, random64() & 0x2fdfff & ~(RF_TF | RF_RF | RF_VM), false);
}

static void test_popf(void)
{
	mirror_host();
	for (int i = 0; i < 2000; i++) {
		u64 flags = random64() & ~(RF_TF | RF_VM | RF_RF), there;
		bool narrow = i & 1;

		cpu.rflags = RF_FIXED | RF_IF;
		cpu.gpr[RSP] = USER_STACK;
		put64(USER_STACK, flags);
		if (narrow) {
			DOES(0x66, 0x9d);
			__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushq $0x202\n\tpopfq\n\tpush %1\n\tpopfw\n\t"
					 "lea 6(%%rsp), %%rsp\n\tpushfq\n\tpop %0\n\tpushq $0x202\n\tpopfq\n\t"
					 "lea 128(%%rsp), %%rsp" : "=&r"(there) : "r"(flags) : "cc", "memory");
		} else {
			DOES(0x9d);
			__asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushq $0x202\n\tpopfq\n\tpush %1\n\tpopfq\n\t"
					 "pushfq\n\tpop %0\n\tpushq $0x202\n\tpopfq\n\t"
					 "lea 128(%%rsp), %%rsp" : "=&r"(there) : "r"(flags) : "cc", "memory");
		}
		CHECK(cpu.rflags == there, "%#llx: %#llx here, %#llx there", (unsigned long long)flags,
		      (unsigned long long)cpu.rflags, (unsigned long long)there);
	}
}

int main(void)
{
	static u8 stack[65536];
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaltstack(&alternate, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sys_cpuid_init(false);
	have_ldt = make_ldt_entry(1) != 0;
#define RUN(name) run_test(#name, test_##name)
	RUN(load_ds);
	RUN(load_es);
	RUN(load_gs);
	RUN(load_ss);
	RUN(questions);
	RUN(iret);
	RUN(popf);
	if (!have_ldt)
		printf("ok - descriptors of an LDT # SKIP the kernel has no modify_ldt()\n");
	return tests_failed;
}
