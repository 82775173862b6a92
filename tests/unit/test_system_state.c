/* SPDX-License-Identifier: MIT
 * Control registers, MSRs, CPUID, ports, flags and the dispatch of src/x86.
 *
 * WITH: x86/system.c x86/branch.c x86/segment.c x86/interrupt.c x86/control.c x86/io.c x86/msr.c
 * WITH: x86/cpuid.c x86/memop.c x86/decimal.c x86/reset.c x86/decode.c x86/decode_table.c x86/decode_vector.c */
#include "unit/test_system_guest.h"

static int has_apic;

/* ---- control registers ---- */

/* MOV CRn, RAX */
static const u8 to_cr[][4] = { [0] = { 0x0f, 0x22, 0xc0 }, [2] = { 0x0f, 0x22, 0xd0 }, [3] = { 0x0f, 0x22, 0xd8 },
			       [4] = { 0x0f, 0x22, 0xe0 } };

static enum sys_result write_cr(int cr, u64 value)
{
	cpu.gpr[RAX] = value;
	return cr == 8 ? EXEC(0x44, 0x0f, 0x22, 0xc0) : exec(to_cr[cr], 3);
}
#define CR_OK(cr, value) CHECK_EQ(write_cr(cr, value), SYS_DONE)
#define CR_BAD(cr, value) \
	do { \
		struct cpu before_; \
		cpu.gpr[RAX] = (value); \
		before_ = cpu; \
		expect_fault(write_cr(cr, value), VEC_GP, 0, &before_, __LINE__); \
	} while (0)

static void test_cr0(void)
{
	u64 base;

	guest_reset();
	base = cpu.cr0;
	CR_OK(0, base | CR0_WP | CR0_TS);
	CHECK_EQ(cpu.cr0, base | CR0_WP | CR0_TS);
	CHECK_EQ(calls.control, 1);
	CR_OK(0, (base | BIT(7) | BIT(28)) & ~CR0_ET);
	CHECK_EQ(cpu.cr0, base);
	CR_BAD(0, base | BIT(32));
	CR_BAD(0, base & ~CR0_PE);
	CR_BAD(0, base | CR0_NW);
	CR_BAD(0, base & ~CR0_PG); /* not from 64-bit mode */
	cpu.cr0 |= CR0_TS;
	DOES(0x0f, 0x06);
	CHECK_EQ(cpu.cr0, base);
	cpu.gpr[RAX] = 0xfffe;
	DOES(0x0f, 0x01, 0xf0); /* lmsw ax: PE stays */
	CHECK_EQ(cpu.cr0, base | CR0_MP | CR0_EM | CR0_TS);
}

static void test_paging_mode(void)
{
	/* 32-bit protected mode with paging off, on the way to long mode and back. */
	guest_reset();
	cpu.efer = 0;
	cpu.cr0 = CR0_PE | CR0_ET;
	cpu.cr4 = 0;
	cpu.seg[SEG_CS] = sys_flat_code(KCODE32, 0, false);
	cpu.rip = CODE;
	CHECK_EQ(sys_wrmsr(&cpu, MSR_EFER, EFER_LME), 0);
	CHECK_EQ(cpu.efer, EFER_LME);
	CR_BAD(0, CR0_PE | CR0_PG); /* without PAE */
	CR_OK(4, CR4_PAE);
	CR_OK(0, CR0_PE | CR0_PG);
	CHECK_EQ(cpu.efer, EFER_LME | EFER_LMA);
	CHECK_EQ(sys_wrmsr(&cpu, MSR_EFER, 0), -1); /* LME while paging is on */
	CHECK_EQ(sys_wrmsr(&cpu, MSR_EFER, EFER_LME | EFER_SCE), 0);
	CHECK_EQ(cpu.efer, EFER_LME | EFER_LMA | EFER_SCE);
	CR_BAD(4, 0); /* PAE in long mode */
	cpu.cr4 |= CR4_PCIDE;
	CR_BAD(0, CR0_PE);
	cpu.cr4 &= ~CR4_PCIDE;
	CR_OK(0, CR0_PE);
	CHECK_EQ(cpu.efer, EFER_LME | EFER_SCE);
	cpu.seg[SEG_CS].attr |= ATTR_L;
	CR_BAD(0, CR0_PE | CR0_PG);
}

static void test_cr3_cr4_cr8(void)
{
	guest_reset();
	CR_OK(3, 0x7000);
	CHECK_EQ(calls.cr3, 1);
	CR_BAD(3, BIT(sys_physical_bits()));
	CR_BAD(3, BIT(63));
	CR_BAD(4, cpu.cr4 | CR4_LA57);
	CR_BAD(4, cpu.cr4 | BIT(13));
	CR_BAD(4, cpu.cr4 | CR4_PKE);
	CR_BAD(4, cpu.cr4 | BIT(32));
	CR_BAD(4, cpu.cr4 & ~CR4_PAE);
	if (sys_cr4_valid() & CR4_PCIDE) {
		CR_OK(3, 0x7001);
		CR_BAD(4, cpu.cr4 | CR4_PCIDE);
		CR_OK(3, 0x7000);
		CR_OK(4, cpu.cr4 | CR4_PCIDE);
		CR_OK(3, 0x7005 | BIT(63));
		CHECK_EQ(cpu.cr3, 0x7005);
		CR_BAD(3, 0x7005 | BIT(62));
	}
	CR_OK(8, 15);
	CHECK_EQ(cpu.cr8, 15);
	CR_BAD(8, 16);
	CR_OK(2, ~0ull);
	DOES(0x0f, 0x20, 0xd3);
	CHECK_EQ(cpu.gpr[RBX], ~0ull);
	FAULTS(VEC_UD, -1, 0x0f, 0x22, 0xc8); /* CR1 */
	FAULTS(VEC_UD, -1, 0x0f, 0x20, 0xf8); /* CR7 */
}

static void test_debug_registers(void)
{
	guest_reset();
	cpu.gpr[RAX] = 0x123456789abcdef0;
	DOES(0x0f, 0x23, 0xc0);
	CHECK_EQ(cpu.dr[0], 0x123456789abcdef0);
	CHECK_EQ(calls.last_changed, SYS_CHANGED_DR);
	FAULTS(VEC_GP, 0, 0x0f, 0x23, 0xf8);
	cpu.gpr[RAX] = 0xffffdfff;
	DOES(0x0f, 0x23, 0xf8);
	CHECK_EQ(cpu.dr[7], 0xffff07ff);
	DOES(0x0f, 0x23, 0xe0); /* DR4 is DR6 while DE is clear */
	CHECK_EQ(cpu.dr[6], 0xffffcfff);
	cpu.cr4 |= CR4_DE;
	FAULTS(VEC_UD, -1, 0x0f, 0x21, 0xe0);
	cpu.dr[7] |= BIT(13);
	FAULTS(VEC_DB, -1, 0x0f, 0x21, 0xc0);
	EXEC(0x0f, 0x21, 0xc0);
	CHECK_EQ(cpu.exc.dr6, BIT(13));
}

static void test_tables_and_umip(void)
{
	static const u8 stores[][3] = { { 0x0f, 0x01, 0x00 }, { 0x0f, 0x01, 0x08 }, { 0x0f, 0x01, 0x20 },
					{ 0x0f, 0x00, 0x00 }, { 0x0f, 0x00, 0x08 } };

	guest_reset();
	cpu.gpr[RAX] = HIGH + DATA;
	put64(DATA, 0x1234 | 0x5678ull << 16);
	DOES(0x0f, 0x01, 0x10);
	CHECK_EQ(cpu.gdt.limit, 0x1234);
	CHECK_EQ(cpu.gdt.base, 0x5678);
	cpu.idt = (struct cpu_table){ HIGH + 0x77, 0x88 };
	DOES(0x0f, 0x01, 0x08);
	CHECK_EQ(get64(DATA), 0x88 | (HIGH + 0x77) << 16);
	put64(DATA + 2, 0x800000000000);
	FAULTS(VEC_GP, 0, 0x0f, 0x01, 0x18);
	guest_user(true);
	cpu.gpr[RAX] = DATA;
	cpu.cr4 &= ~CR4_UMIP;
	for (size_t i = 0; i < ARRAY_SIZE(stores); i++)
		CHECK_EQ(exec(stores[i], 3), SYS_DONE);
	cpu.cr4 |= CR4_UMIP;
	for (size_t i = 0; i < ARRAY_SIZE(stores); i++) {
		struct cpu before = cpu;

		expect_fault(exec(stores[i], 3), VEC_GP, 0, &before, __LINE__);
	}
	cpu.cpl = 0;
	cpu.ldt.sel = 0xabcd;
	DOES(0x0f, 0x00, 0xc3); /* sldt ebx */
	CHECK_EQ(cpu.gpr[RBX], 0xabcd);
	DOES(0x48, 0x0f, 0x01, 0xe3); /* smsw rbx */
	CHECK_EQ(cpu.gpr[RBX], cpu.cr0);
}

static void test_tlb_instructions(void)
{
	guest_reset();
	cpu.gpr[RAX] = HIGH + DATA;
	DOES(0x0f, 0x01, 0x38);
	CHECK_EQ(calls.invlpg, 1);
	cpu.gpr[RAX] = 0x800000000000;
	DOES(0x0f, 0x01, 0x38);
	CHECK_EQ(calls.invlpg, 1);
	if (!sys_cpuid_has(7, 0, 1, 10))
		return;
	cpu.gpr[RAX] = HIGH + DATA;
	cpu.gpr[RCX] = 2;
	DOES(0x66, 0x0f, 0x38, 0x82, 0x08); /* invpcid rcx, [rax] */
	CHECK_EQ(calls.invpcid, 1);
	cpu.gpr[RCX] = 4;
	FAULTS(VEC_GP, 0, 0x66, 0x0f, 0x38, 0x82, 0x08);
	cpu.gpr[RCX] = 1;
	put64(DATA, 5);
	FAULTS(VEC_GP, 0, 0x66, 0x0f, 0x38, 0x82, 0x08); /* without PCIDE */
	cpu.cr4 |= CR4_PCIDE;
	DOES(0x66, 0x0f, 0x38, 0x82, 0x08);
	put64(DATA, 0x1005);
	FAULTS(VEC_GP, 0, 0x66, 0x0f, 0x38, 0x82, 0x08);
	cpu.gpr[RCX] = 0;
	put64(DATA, 5);
	put64(DATA + 8, 0x800000000000);
	FAULTS(VEC_GP, 0, 0x66, 0x0f, 0x38, 0x82, 0x08);
}

/* ---- flags ---- */

static void test_cli_sti_hlt(void)
{
	guest_reset();
	DOES(0xfa);
	CHECK_EQ(cpu.rflags & RF_IF, 0);
	DOES(0xfb);
	CHECK_EQ(cpu.rflags & RF_IF, RF_IF);
	CHECK_EQ(cpu.sti_shadow, 1);
	CHECK_EQ(EXEC(0xf4), SYS_HALT);
	CHECK_EQ(cpu.halted, 1);
	CHECK_EQ(cpu.sti_shadow, 0);
	DOES(0xfb);
	CHECK_EQ(cpu.sti_shadow, 0);
	cpu.rflags |= RF_RF;
	DOES(0xfa);
	CHECK_EQ(cpu.rflags & RF_RF, 0);
	guest_user(true);
	FAULTS(VEC_GP, 0, 0xfa);
	FAULTS(VEC_GP, 0, 0xfb);
	FAULTS(VEC_UD, -1, 0x0f, 0x01, 0xcb);
	cpu.rflags |= RF_IOPL;
	DOES(0xfa);
	CHECK_EQ(cpu.rflags & RF_IF, 0);
	guest_reset();
	if (sys_cpuid_has(7, 0, 1, 20)) {
		DOES(0x0f, 0x01, 0xcb);
		CHECK_EQ(cpu.rflags & RF_AC, RF_AC);
		DOES(0x0f, 0x01, 0xca);
		CHECK_EQ(cpu.rflags & RF_AC, 0);
	}
}

static void test_pushf_popf(void)
{
	u64 rsp;

	guest_reset();
	rsp = cpu.gpr[RSP];
	cpu.rflags |= RF_RF | RF_AC | RF_NT;
	DOES(0x9c);
	CHECK_EQ(get64(rsp - 8 - HIGH), RF_FIXED | RF_IF | RF_AC | RF_NT);
	put64(rsp - 8 - HIGH, ~0ull);
	DOES(0x9d);
	CHECK_EQ(cpu.rflags, 0x247fd7);
	CHECK_EQ(cpu.gpr[RSP], rsp);
	guest_user(true);
	put64(USER_STACK, RF_IOPL | RF_TF | FLAG_CF);
	DOES(0x9d);
	CHECK_EQ(cpu.rflags, RF_FIXED | RF_IF | RF_TF | FLAG_CF);
	cpu.rflags |= RF_IOPL;
	put64(USER_STACK + 8, 0);
	DOES(0x9d);
	CHECK_EQ(cpu.rflags, RF_FIXED | RF_IOPL);
	cpu.rflags |= RF_AC;
	put64(USER_STACK + 16, 0xffff);
	DOES(0x66, 0x9d);
	CHECK_EQ(cpu.rflags, 0x47fd7 | RF_AC);
	CHECK_EQ(cpu.gpr[RSP], USER_STACK + 18);
}

/* ---- MSRs ---- */

static void test_msr_table(void)
{
	int n = 0;

	guest_reset();
	for (u32 msr = sys_msr_next(~0ull); msr; msr = sys_msr_next(msr)) {
		u64 value, again;

		n++;
		CHECK(sys_msr_name(msr), "%#x has no name", msr);
		CHECK(!sys_rdmsr(&cpu, msr, &value), "%#x cannot be read", msr);
		/* What was read can be written back, or the register is read-only; both leave it as it was. */
		sys_wrmsr(&cpu, msr, value);
		CHECK(!sys_rdmsr(&cpu, msr, &again), "%#x", msr);
		CHECK(value == again, "%#x (%s): %#llx became %#llx", msr, sys_msr_name(msr),
		      (unsigned long long)value, (unsigned long long)again);
		/* A refused value leaves it as it was, an accepted one is stable. */
		for (int bit = 0; bit < 64; bit++) {
			u64 wanted = value ^ BIT(bit), now;
			int refused = sys_wrmsr(&cpu, msr, wanted);

			CHECK(!sys_rdmsr(&cpu, msr, &now), "%#x", msr);
			CHECK(!refused || now == value, "%#x bit %d", msr, bit);
			CHECK(refused || now == wanted || now == value, "%#x bit %d", msr, bit);
			sys_wrmsr(&cpu, msr, value);
		}
		if (failure[0])
			return;
	}
	CHECK(n > 50, "%d registers", n);
	u64 value;
	CHECK_EQ(sys_rdmsr(&cpu, 0x12345, &value), -1);
	CHECK_EQ(sys_wrmsr(&cpu, 0x12345, 0), -1);
	CHECK_EQ(sys_rdmsr(&cpu, 0xc0000104, &value), -1);
}

static void test_msr_instructions(void)
{
	guest_reset();
	cpu.gpr[RCX] = MSR_LSTAR | 0xabcd00000000;
	cpu.gpr[RDX] = 0x12345678ffff8000;
	cpu.gpr[RAX] = 0x9abcdef011223344;
	DOES(0x0f, 0x30);
	CHECK_EQ(cpu.lstar, 0xffff800011223344);
	CHECK_EQ(calls.last_changed, MSR_LSTAR);
	cpu.gpr[RAX] = cpu.gpr[RDX] = ~0ull;
	DOES(0x0f, 0x32);
	CHECK_EQ(cpu.gpr[RAX], 0x11223344);
	CHECK_EQ(cpu.gpr[RDX], 0xffff8000);
	cpu.gpr[RDX] = 0x8000;
	FAULTS(VEC_GP, 0, 0x0f, 0x30);
	cpu.gpr[RCX] = 0x12345;
	FAULTS(VEC_GP, 0, 0x0f, 0x32);
	cpu.cpl = 3;
	cpu.gpr[RCX] = MSR_LSTAR;
	FAULTS(VEC_GP, 0, 0x0f, 0x32);
}

static void test_msr_semantics(void)
{
	u64 value;

	guest_reset();
	CHECK_EQ(sys_wrmsr(&cpu, MSR_FS_BASE, 0x5000), 0);
	CHECK_EQ(cpu.seg[SEG_FS].base, 0x5000);
	CHECK_EQ(sys_wrmsr(&cpu, MSR_GS_BASE, 0x800000000000), -1);
	CHECK_EQ(sys_wrmsr(&cpu, MSR_KERNEL_GS_BASE, 0x6000), 0);
	CHECK_EQ(cpu.kernel_gs_base, 0x6000);
	CHECK_EQ(sys_wrmsr(&cpu, MSR_EFER, cpu.efer | BIT(12)), -1);  /* SVME */
	CHECK_EQ(sys_wrmsr(&cpu, MSR_EFER, cpu.efer | EFER_NX), 0);
	CHECK_EQ(sys_wrmsr(&cpu, MSR_EFER, cpu.efer & ~EFER_LMA), 0);
	CHECK_EQ(cpu.efer & EFER_LMA, EFER_LMA);
	CHECK_EQ(sys_wrmsr(&cpu, 0x277, 0x0007040600070402), -1);
	CHECK_EQ(sys_wrmsr(&cpu, 0x277, 0x0007010600070106), 0);
	CHECK_EQ(sys_wrmsr(&cpu, 0x200, 2), -1);
	CHECK_EQ(sys_wrmsr(&cpu, 0x201, BIT(sys_physical_bits())), -1);
	CHECK_EQ(sys_wrmsr(&cpu, 0x2ff, 0xc06 | BIT(12)), -1);
	CHECK_EQ(sys_wrmsr(&cpu, 0x2ff, 0x806), 0);
	CHECK_EQ(sys_wrmsr(&cpu, 0xfe, 0x508), -1);
	CHECK_EQ(sys_wrmsr(&cpu, 0x26f, 0x0606060606060606), 0);
	CHECK_EQ(cpu.mtrr_fix[10], 0x0606060606060606);
	CHECK_EQ(sys_wrmsr(&cpu, 0x259, 0x0505050505050505), 0);
	CHECK_EQ(cpu.mtrr_fix[2], 0x0505050505050505);
	CHECK_EQ(sys_wrmsr(&cpu, 0x4b564d01, 0x9001), 0);
	CHECK_EQ(calls.system_time, 1);
	CHECK_EQ(calls.page, 0x9000);
	CHECK_EQ(sys_wrmsr(&cpu, 0x12, 0), 0);
	CHECK_EQ(calls.system_time, 1);
	CHECK_EQ(sys_wrmsr(&cpu, 0x11, 0xa000), 0);
	CHECK_EQ(calls.wall_clock, 1);
	CHECK_EQ(sys_wrmsr(&cpu, MSR_TSC, 5), 0);
	CHECK_EQ(sys_rdmsr(&cpu, MSR_TSC, &value), 0);
	CHECK_EQ(value, 5);
	tsc_now += 100;
	DOES(0x0f, 0x31);
	CHECK_EQ(cpu.gpr[RAX], 105);
	if (sys_cpuid_has(7, 0, 1, 1)) {
		CHECK_EQ(sys_rdmsr(&cpu, 0x3b, &value), 0);
		CHECK_EQ(value, 5 - (tsc_now - 100));
		CHECK_EQ(sys_wrmsr(&cpu, 0x3b, value + 1000), 0);
		sys_rdmsr(&cpu, MSR_TSC, &value);
		CHECK_EQ(value, 1105);
	}
	CHECK_EQ(sys_rdmsr(&cpu, 0x1b, &value), has_apic ? 0 : -1);
	if (has_apic) { /* the flag of the first processor and reserved bits stay, the rest is the APIC's to judge */
		CHECK_EQ(value, 0xfee00900);
		CHECK_EQ(sys_wrmsr(&cpu, 0x1b, value & ~BIT(8)), -1);
		CHECK_EQ(sys_wrmsr(&cpu, 0x1b, value | BIT(9)), -1);
		CHECK_EQ(sys_wrmsr(&cpu, 0x1b, value | BIT(63)), -1);
		CHECK_EQ(sys_wrmsr(&cpu, 0x1b, value | BIT(10)), 0);
		CHECK_EQ(cpu.apic_base, 0xfee00d00);
		calls.apic_result = -1;
		CHECK_EQ(sys_wrmsr(&cpu, 0x1b, value), -1);
		CHECK_EQ(cpu.apic_base, 0xfee00d00);
		CHECK_EQ(sys_wrmsr(&cpu, 0x830, 1), -1);
		calls.apic_result = 0;
		calls.apic_value = 7;
		CHECK_EQ(sys_rdmsr(&cpu, 0x802, &value), 0);
		CHECK_EQ(value, 7);
		cpu.apic_base = 0xfee00900;
	} else {
		CHECK_EQ(sys_rdmsr(&cpu, 0x802, &value), -1);
		CHECK_EQ(sys_rdmsr(&cpu, 0x6e0, &value), -1);
	}
	if (sys_host_is_amd()) {
		sys_rdmsr(&cpu, 0xc0010015, &value);
		CHECK_EQ(value, BIT(24));
		sys_rdmsr(&cpu, 0xc0011029, &value);
		CHECK_EQ(value, BIT(1));
		CHECK_EQ(sys_rdmsr(&cpu, 0x1a0, &value), -1);
	} else {
		CHECK_EQ(sys_rdmsr(&cpu, 0x10a, &value), 0);
		CHECK_EQ(sys_rdmsr(&cpu, 0xc0010015, &value), -1);
	}
}

static void test_counters(void)
{
	guest_user(true);
	FAULTS(VEC_GP, 0, 0x0f, 0x33);
	cpu.cr4 |= CR4_TSD;
	FAULTS(VEC_GP, 0, 0x0f, 0x31);
	cpu.cpl = 0;
	DOES(0x0f, 0x31);
	cpu.cpl = 3;
	cpu.cr4 &= ~CR4_TSD;
	cpu.tsc_aux = 0x1234;
	if (sys_cpuid_has(0x80000001, 0, 3, 27)) {
		DOES(0x0f, 0x01, 0xf9);
		CHECK_EQ(cpu.gpr[RCX], 0x1234);
	}
	if (sys_cpuid_has(7, 0, 2, 22)) {
		DOES(0xf3, 0x0f, 0xc7, 0xfb);
		CHECK_EQ(cpu.gpr[RBX], 0x1234);
	}
}

/* ---- CPUID and extended state ---- */

static void set_xcr0(u64 value, int vector);

static void cpuid(u32 leaf, u32 subleaf, u32 r[4]) { sys_cpuid(&cpu, leaf, subleaf, r); }

static void test_cpuid_features(void)
{
	u32 r[4], host[4];

	guest_reset();
	cpuid(1, 0, r);
	CHECK_EQ(r[2] >> 31, 1);
	CHECK_EQ(r[3] >> 9 & 1, has_apic);
	CHECK_EQ(r[2] & (BIT(3) | BIT(5) | BIT(27)), 0);
	CHECK_EQ(r[2] & (BIT(21) | BIT(24)), has_apic ? BIT(21) | BIT(24) : 0);
	CHECK_EQ(r[3] >> 28 & 1, 0);
	CHECK_EQ(r[1] >> 16, 1);
	cpu.apic_id = 5;
	cpuid(1, 0, r);
	CHECK_EQ(r[1] >> 24, 5);
	cpu.apic_id = 0;
	cpuid(1, 0, r);
	sys_host_cpuid(1, 0, host);
	CHECK_EQ(r[2] & ~host[2] & ~(BIT(31) | BIT(21) | BIT(24)), 0);
	CHECK_EQ(r[3] & ~host[3] & ~(has_apic ? BIT(9) : 0), 0);
	cpu.cr4 |= CR4_OSXSAVE;
	cpuid(1, 0, r);
	CHECK_EQ(r[2] >> 27 & 1, 1);
	cpuid(7, 0, r);
	CHECK_EQ(r[1] & (BIT(2) | BIT(4) | BIT(11) | BIT(14) | BIT(25)), 0);
	CHECK_EQ(r[2] & (BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(16) | BIT(29)), 0);
	CHECK_EQ(r[3] & (BIT(5) | BIT(10) | BIT(20) | BIT(22) | BIT(24) | BIT(25) | BIT(27) | BIT(31)), 0);
	CHECK(r[0] <= 2);
	cpuid(0xa, 0, r);
	CHECK_EQ(r[0] | r[1] | r[2] | r[3], 0);
	cpuid(0x80000008, 0, r);
	CHECK((r[0] & 0xff) <= 46);
	CHECK_EQ(r[0] >> 8 & 0xff, 48);
	CHECK_EQ(r[2], 0);
	cpuid(0x8000001f, 0, r);
	CHECK_EQ(r[0] | r[1] | r[2] | r[3], 0);
	cpuid(0x12345678, 0, r);
	CHECK_EQ(r[0] | r[1] | r[2] | r[3], 0);
}

static void test_cpuid_limits(void)
{
	u32 r[4], max;

	cpuid(0, 0, r);
	max = r[0];
	CHECK(max <= 0x1e && max >= 7);
	cpuid(max + 1, 0, r);
	CHECK_EQ(r[0] | r[1] | r[2] | r[3], 0);
	cpuid(0x80000000, 0, r);
	CHECK_EQ(r[0], sys_host_is_amd() ? 0x80000021 : 0x80000008);
	cpuid(0xb, 0, r);
	CHECK_EQ(r[1], 1);
	CHECK_EQ(r[2], 0x100);
	cpuid(0xb, 1, r);
	CHECK_EQ(r[1], 1);
	CHECK_EQ(r[2], 0x201);
	cpuid(0xb, 2, r);
	CHECK_EQ(r[1], 0);
	CHECK_EQ(r[2], 2);
	for (u32 i = 0; i < 6; i++) {
		cpuid(sys_host_is_amd() ? 0x8000001d : 4, i, r);
		CHECK_EQ(r[0] >> 14, 0);
	}
}

static void test_cpuid_hypervisor(void)
{
	u32 r[4];

	sys_cpuid_set_tsc_khz(2599998);
	cpuid(0x40000000, 0, r);
	CHECK(!memcmp(&r[1], "KVMKVMKVM\0\0\0", 12));
	CHECK_EQ(r[0], 0x40000010);
	cpuid(0x40000001, 0, r);
	CHECK_EQ(r[0], 0x100000b);
	cpuid(0x40000010, 0, r);
	CHECK_EQ(r[0], 2599998);
	if (!sys_host_is_amd()) {
		cpuid(0x15, 0, r);
		CHECK_EQ(r[2] / 1000 * r[1] / r[0], 2599998);
	}
}

static void test_cpuid_speculation(void)
{
	u32 r[4], host[4];

	if (sys_host_is_amd()) {
		cpuid(0x80000021, 0, r);
		sys_host_cpuid(0x80000021, 0, host);
		CHECK_EQ(r[0] & (BIT(29) | BIT(6)), BIT(29) | BIT(6));
		CHECK_EQ(r[0] & BIT(8), host[0] & BIT(8));
		CHECK_EQ(!!(sys_efer_valid() & EFER_AIBRSE), !!(host[0] & BIT(8)));
		cpuid(0x80000008, 0, r);
		CHECK_EQ(r[1] & (BIT(12) | BIT(14) | BIT(15) | BIT(24)), 0);
		CHECK_EQ(r[1] & BIT(29), BIT(29));
	} else {
		u64 caps;

		cpuid(7, 0, r);
		CHECK_EQ(r[3] >> 29 & 1, 1);
		CHECK_EQ(sys_rdmsr(&cpu, 0x10a, &caps), 0);
		CHECK_EQ(caps & (BIT(8) | BIT(62)), BIT(8) | BIT(62));
	}
}

/* An Intel host that says of itself: enhanced IBRS, and not open to Meltdown and MDS. */
static void test_intel_speculation(void)
{
	u32 r[4];
	u64 value;

	guest_reset();
	CHECK_EQ(sys_rdmsr(&cpu, 0x10a, &value), 0);
	CHECK_EQ(value & 0x23, 0x23);
	CHECK_EQ(value & (BIT(2) | BIT(4) | BIT(7) | BIT(26)), 0);
	cpuid(7, 0, r);
	CHECK_EQ(r[0], 2);
	CHECK_EQ(r[3] & (BIT(26) | BIT(29)), BIT(26) | BIT(29));
	CHECK_EQ(r[3] & (BIT(10) | BIT(27) | BIT(28) | BIT(31)), 0);
	cpuid(7, 2, r);
	CHECK_EQ(r[3], BIT(4) | BIT(5));
	/* What Linux writes: IBRS, and BHI_DIS_S beside it. */
	CHECK_EQ(sys_wrmsr(&cpu, 0x48, 0x401), 0);
	CHECK_EQ(cpu.spec_ctrl, 0x401);
	CHECK_EQ(sys_wrmsr(&cpu, 0x48, 0x801), -1);
	CHECK_EQ(sys_wrmsr(&cpu, 0x49, 1), 0);
	CHECK_EQ(sys_wrmsr(&cpu, 0x10b, 1), -1);
	/* Without enhanced IBRS there is no SPEC_CTRL, so that Linux does not write it at each system call. */
	sys_cpuid_set_arch_capabilities(1);
	sys_cpuid_init(false);
	cpuid(7, 0, r);
	CHECK_EQ(r[3] & (BIT(26) | BIT(29)), BIT(29));
	cpuid(7, 2, r);
	CHECK_EQ(r[3], BIT(5));
	CHECK_EQ(sys_wrmsr(&cpu, 0x48, 1), -1);
}

/* AMX: hidden until the process may use it; the tile state then asks for an aligned place. */
static void test_amx(void)
{
	u32 r[4];

	sys_cpuid_offer_amx(false);
	sys_cpuid_init(false);
	CHECK_EQ(sys_xcr0_valid() & 0x60000, 0);
	cpuid(0x1d, 1, r);
	CHECK_EQ(r[0] | r[1] | r[2], 0);
	sys_cpuid_offer_amx(true);
	sys_cpuid_init(false);
	cpuid(7, 0, r);
	CHECK_EQ(r[3] >> 24 & 3, 3);
	CHECK_EQ(sys_xcr0_valid() & 0x60000, 0x60000);
	cpuid(0x1d, 1, r);
	CHECK_EQ(r[2], 16);
	guest_reset();
	cpu.cr4 |= CR4_OSXSAVE;
	set_xcr0(sys_xcr0_valid() & ~BIT(17), VEC_GP);
	set_xcr0(0x60003, 0);
	cpuid(0xd, 0, r);
	CHECK_EQ(r[1], 2816 + 8192);
	cpuid(0xd, 1, r);
	CHECK_EQ(r[1], 576 + 64 + 8192);
	sys_cpuid_offer_amx(false);
}

static void set_xcr0(u64 value, int vector)
{
	cpu.gpr[RCX] = 0;
	cpu.gpr[RAX] = (u32)value;
	cpu.gpr[RDX] = value >> 32;
	if (vector)
		FAULTS(vector, vector == VEC_UD ? -1 : 0, 0x0f, 0x01, 0xd1);
	else
		DOES(0x0f, 0x01, 0xd1);
	CHECK(!failure[0], "XCR0 %#llx", (unsigned long long)value);
}

static void test_extended_state(void)
{
	u32 r[4], host[4];
	u64 valid = sys_xcr0_valid();

	guest_reset();
	if (!(sys_cr4_valid() & CR4_OSXSAVE))
		return;
	set_xcr0(1, VEC_UD);
	cpu.cr4 |= CR4_OSXSAVE;
	set_xcr0(0, VEC_GP);
	set_xcr0(5, VEC_GP);
	set_xcr0(1 | BIT(9), VEC_GP);
	set_xcr0(3 | BIT(63), VEC_GP);
	set_xcr0(3, 0);
	cpuid(0xd, 0, r);
	CHECK_EQ(r[1], 576);
	CHECK_EQ(r[0], valid);
	if (valid & 0xe0) {
		set_xcr0(0x27, VEC_GP);
		set_xcr0(0xe3, VEC_GP);
	}
	set_xcr0(valid, 0);
	CHECK_EQ(calls.last_changed, SYS_CHANGED_XCR0);
	cpuid(0xd, 0, r);
	CHECK_EQ(r[1], r[2]);
	/* The sizes agree with the components, and with the processor where it runs with the same XCR0. */
	u32 end = 576, packed = 576;
	for (u32 i = 2; i < 63; i++) {
		u32 s[4];

		cpuid(0xd, i, s);
		CHECK(!!s[0] == !!(valid >> i & 1), "component %u", i);
		if (!s[0])
			continue;
		end = MAX(end, s[0] + s[1]);
		if (s[2] & 2)
			packed = (u32)ALIGN_UP(packed, 64);
		packed += s[0];
		sys_host_cpuid(0xd, i, host);
		CHECK_EQ(s[0], host[0]);
		CHECK_EQ(s[1], host[1]);
	}
	CHECK_EQ(r[1], end);
	cpuid(0xd, 1, r);
	CHECK_EQ(r[0] & ~7u, 0);
	if (r[0] & 2)
		CHECK_EQ(r[1], packed);
	cpu.gpr[RCX] = 0;
	DOES(0x0f, 0x01, 0xd0);
	CHECK_EQ(cpu.gpr[RAX], valid);
	cpu.gpr[RCX] = 2;
	FAULTS(VEC_GP, 0, 0x0f, 0x01, 0xd0);
	if (r[0] & 4) {
		cpu.gpr[RCX] = 1;
		DOES(0x0f, 0x01, 0xd0);
		CHECK_EQ(cpu.gpr[RAX] & ~valid, 0);
	}
	cpu.cpl = 3;
	set_xcr0(3, VEC_GP);
}

static void test_cpuid_instruction(void)
{
	u32 r[4];

	guest_user(true);
	for (int i = 0; i < 4; i++)
		cpu.gpr[i] = ~0ull;
	cpu.gpr[RAX] = 0xdead00000001;
	cpuid(1, 0, r);
	DOES(0x0f, 0xa2);
	CHECK_EQ(cpu.gpr[RAX], r[0]);
	CHECK_EQ(cpu.gpr[RBX], r[1]);
	CHECK_EQ(cpu.gpr[RCX], r[2]);
	CHECK_EQ(cpu.gpr[RDX], r[3]);
}

/* ---- ports ---- */

static void test_ports(void)
{
	guest_reset();
	calls.io_value = 0x89abcdef;
	cpu.gpr[RAX] = ~0ull;
	cpu.gpr[RDX] = 0x12345;
	DOES(0xec);
	CHECK_EQ(calls.port, 0x2345);
	CHECK_EQ(calls.io_size, 1);
	CHECK_EQ(cpu.gpr[RAX], 0xffffffffffffffef);
	DOES(0x66, 0xed);
	CHECK_EQ(cpu.gpr[RAX], 0xffffffffffffcdef);
	DOES(0xe5, 0x80);
	CHECK_EQ(calls.port, 0x80);
	CHECK_EQ(cpu.gpr[RAX], 0x89abcdef);
	cpu.gpr[RAX] = 0x11223344;
	DOES(0xe6, 0x71);
	CHECK_EQ(calls.io_value, 0x44);
	guest_user(true);
	cpu.gpr[RDX] = 0x60;
	FAULTS(VEC_GP, 0, 0xec); /* the TSS ends before the bitmap */
	cpu.tr.limit = 0x68 + 12; /* two bytes are read */
	FAULTS(VEC_GP, 0, 0xec);
	cpu.tr.limit = 0x68 + 13;
	memset(ram + TSS + 0x68, 0xff, 16);
	FAULTS(VEC_GP, 0, 0xec);
	ram[TSS + 0x68 + 12] = 0xf0; /* ports 0x60..0x63 */
	DOES(0xec);
	DOES(0xef);
	cpu.gpr[RDX] = 0x61;
	DOES(0xec);
	FAULTS(VEC_GP, 0, 0xed);
	cpu.rflags |= RF_IOPL;
	DOES(0xed);
}

static void test_string_io(void)
{
	guest_reset();
	cpu.gpr[RDI] = HIGH + DATA;
	cpu.gpr[RCX] = 3;
	cpu.gpr[RDX] = 0x1f0;
	calls.io_value = 0x55aa;
	DOES(0xf3, 0x66, 0x6d);
	CHECK_EQ(calls.io, 3);
	CHECK_EQ(cpu.gpr[RDI], HIGH + DATA + 6);
	CHECK_EQ(cpu.gpr[RCX], 0);
	CHECK_EQ(get64(DATA), 0x55aa55aa55aa);
	cpu.gpr[RCX] = 0;
	DOES(0xf3, 0x66, 0x6d);
	CHECK_EQ(calls.io, 3);
	cpu.gpr[RSI] = HIGH + DATA + 1;
	cpu.rflags |= RF_DF;
	DOES(0x6e);
	CHECK_EQ(calls.io_value, 0x55);
	CHECK_EQ(cpu.gpr[RSI], HIGH + DATA);
	/* No port is read for a place that cannot be written. */
	cpu.gpr[RDI] = HIGH + READ_ONLY;
	calls.io = 0;
	FAULTS(VEC_PF, PF_P | PF_W, 0x6c);
	CHECK_EQ(calls.io, 0);
}

static void test_hypercall(void)
{
	guest_reset();
	cpu.gpr[RAX] = 9;
	DOES(0x0f, 0x01, 0xd9);
	CHECK_EQ(cpu.gpr[RAX], -1000ull);
	cpu.cpl = 3;
	DOES(0x0f, 0x01, 0xc1);
	CHECK_EQ(cpu.gpr[RAX], -1ull);
}

/* ---- dispatch ---- */

static void test_dispatch(void)
{
	static const struct { int klass; unsigned need; } rows[] = {
#define TEST_ROW(klass, handler, need) { klass, need },
		SYS_CLASSES(TEST_ROW)
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct insn in = { .klass = (u8)rows[i].klass, .len = 3, .seg = SEG_NONE, .base = REG_NONE,
				   .index = REG_NONE, .asize = 8, .osize = 4, .lock = 1 };

		guest_reset();
		if (in.klass != IC_MOV_FROM_CR && in.klass != IC_MOV_TO_CR) {
			CHECK_EQ(sys_execute(&cpu, &in), SYS_FAULT);
			CHECK_EQ(cpu.exc.vector, VEC_UD);
		}
		in.lock = 0;
		if (rows[i].need & NEED_CPL0) {
			cpu.cpl = 3;
			CHECK_EQ(sys_execute(&cpu, &in), SYS_FAULT);
			CHECK_EQ(cpu.exc.vector, VEC_GP);
		}
		if (rows[i].need & NEED_64) {
			guest_user(false);
			CHECK_EQ(sys_execute(&cpu, &in), SYS_FAULT);
			CHECK_EQ(cpu.exc.vector, VEC_UD);
		}
		CHECK(!failure[0], "class %s", insn_class_name((enum insn_class)rows[i].klass));
	}
	static const u8 hidden[] = { IC_INVALID, IC_VMX, IC_CET, IC_MONITOR, IC_MWAIT, IC_MONITORX, IC_MWAITX, IC_XBEGIN,
		IC_XEND, IC_XTEST, IC_XABORT, IC_RDPKRU, IC_WRPKRU, IC_XSAVES, IC_XRSTORS, IC_INVLPGB, IC_TLBSYNC };
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
		struct insn in = { .klass = hidden[i], .len = 3 };

		guest_reset();
		CHECK_EQ(sys_execute(&cpu, &in), SYS_FAULT);
		CHECK_EQ(cpu.exc.vector, VEC_UD);
	}
}

/* Near branches and the stack. */
static void test_branches(void)
{
	u64 rsp;

	guest_reset();
	rsp = cpu.gpr[RSP];
	DOES(0xe8, 0x10, 0, 0, 0);
	CHECK_EQ(cpu.rip, HIGH + CODE + 0x15);
	CHECK_EQ(get64(rsp - 8 - HIGH), HIGH + CODE + 5);
	DOES(0xc2, 8, 0);
	CHECK_EQ(cpu.rip, HIGH + CODE + 5);
	CHECK_EQ(cpu.gpr[RSP], rsp + 8);
	DOES(0x74, 0x10);
	CHECK_EQ(cpu.rip, HIGH + CODE + 7);
	cpu.rflags |= FLAG_ZF;
	DOES(0x74, 0xf0);
	CHECK_EQ(cpu.rip, HIGH + CODE + 7 + 2 - 16);
	cpu.gpr[RCX] = 2;
	DOES(0xe2, 0xfe);
	CHECK_EQ(cpu.rip, HIGH + CODE - 7);
	CHECK_EQ(cpu.gpr[RCX], 1);
	DOES(0xe2, 0xfe);
	CHECK_EQ(cpu.rip, HIGH + CODE - 5);
	DOES(0xe3, 2);
	CHECK_EQ(cpu.rip, HIGH + CODE - 1);
	for (int i = 0; i < 4; i++) {
		bool loope = i & 1, zero = i & 2;

		cpu.gpr[RCX] = 5;
		cpu.rip = HIGH + CODE;
		cpu.rflags = RF_FIXED | (zero ? FLAG_ZF : 0);
		DOES(loope ? 0xe1 : 0xe0, 0x10);
		CHECK_EQ(cpu.rip, HIGH + CODE + (loope == zero ? 0x12 : 2));
		CHECK_EQ(cpu.gpr[RCX], 4);
	}
	cpu.gpr[RAX] = 0x800000000000;
	FAULTS(VEC_GP, 0, 0xff, 0xe0);
	FAULTS(VEC_GP, 0, 0xff, 0xd0);
	rsp = cpu.gpr[RSP];
	DOES(0x6a, 0xff);
	CHECK_EQ(get64(rsp - 8 - HIGH), ~0ull);
	DOES(0x8f, 0x44, 0x24, 0x10); /* pop [rsp+16], with the new RSP */
	CHECK_EQ(get64(rsp + 16 - HIGH), ~0ull);
	DOES(0x54); /* push rsp */
	CHECK_EQ(get64(rsp - 8 - HIGH), rsp);
	DOES(0x5c); /* pop rsp */
	CHECK_EQ(cpu.gpr[RSP], rsp);
	cpu.gpr[RBP] = 0x1111;
	DOES(0xc8, 0x20, 0, 0);
	CHECK_EQ(cpu.gpr[RBP], rsp - 8);
	CHECK_EQ(cpu.gpr[RSP], rsp - 8 - 0x20);
	DOES(0xc9);
	CHECK_EQ(cpu.gpr[RBP], 0x1111);
	CHECK_EQ(cpu.gpr[RSP], rsp);
	guest_user(false);
	cpu.gpr[RAX] = 0x11111111;
	cpu.gpr[RDI] = 0x77777777;
	DOES(0x60);
	CHECK_EQ(cpu.gpr[RSP], USER_STACK - 32);
	CHECK_EQ(get64(USER_STACK - 8) >> 32, 0x11111111);
	cpu.gpr[RAX] = cpu.gpr[RDI] = 0;
	DOES(0x61);
	CHECK_EQ(cpu.gpr[RAX], 0x11111111);
	CHECK_EQ(cpu.gpr[RDI], 0x77777777);
	CHECK_EQ(cpu.gpr[RSP], USER_STACK);
}

/* Limits and types of segments hold outside 64-bit mode. */
static void test_segment_limits(void)
{
	guest_user(false);
	cpu.seg[SEG_DS].limit = 0xb003;
	cpu.gpr[RAX] = DATA;
	DOES(0x8b, 0x08);
	cpu.gpr[RAX] = DATA + 1;
	FAULTS(VEC_GP, 0, 0x8b, 0x08);
	cpu.seg[SEG_DS].attr &= (u16)~2;
	cpu.gpr[RAX] = DATA;
	FAULTS(VEC_GP, 0, 0x89, 0x08);
	cpu.seg[SEG_DS] = (struct cpu_seg){ .sel = 0 };
	FAULTS(VEC_GP, 0, 0x8b, 0x08);
	cpu.seg[SEG_SS].limit = 0x100;
	FAULTS(VEC_SS, 0, 0x50);
	cpu.seg[SEG_SS] = sys_flat_stack(UDATA, 3);
	cpu.seg[SEG_SS].attr |= TYPE_EXPAND_DOWN;
	cpu.seg[SEG_SS].limit = USER_STACK - 5;
	DOES(0x50);
	FAULTS(VEC_SS, 0, 0x50);
	cpu.seg[SEG_SS].limit = USER_STACK - 8;
	FAULTS(VEC_SS, 0, 0x50);
	cpu.seg[SEG_GS] = sys_flat_stack(UDATA, 3);
	cpu.seg[SEG_GS].base = DATA;
	put64(DATA + 0x20, 0x12345678);
	DOES(0x65, 0x8b, 0x0d, 0x20, 0, 0, 0);
	CHECK_EQ(cpu.gpr[RCX], 0x12345678);
}

/* Random bytes in random states: no crash, no endless loop, and a fault changes nothing. */
static void test_random(void)
{
	static const u8 openings[][3] = { { 0x0f, 0x01 }, { 0x0f, 0x00 }, { 0x0f, 0x22 }, { 0x48, 0xcf }, { 0xff }, { 0x8e },
		{ 0xcd }, { 0x0f, 0xb2 }, { 0xcb }, { 0x0f, 0x30 }, { 0x48, 0x0f, 0x07 }, { 0xf3, 0x0f, 0xae }, { 0xca }, { 0x0f, 0xc7 } };

	for (int i = 0; i < 100000 && !failure[0]; i++) {
		u8 bytes[INSN_MAX];
		struct insn in;
		struct cpu before, after;
		enum sys_result r;

		random_state();
		for (size_t j = 0; j < sizeof(bytes); j++)
			bytes[j] = (u8)random64();
		if (i & 1)
			memcpy(bytes, openings[random64() % ARRAY_SIZE(openings)], 1 + (random64() & 1));
		if (insn_decode(&in, bytes, sizeof(bytes), guest_mode()))
			continue;
		before = cpu;
		if (in.klass == IC_PLAIN) {
			int covered = sys_execute_memory(&cpu, &in);

			if (covered < 0)
				continue;
			r = (enum sys_result)covered;
		} else {
			r = sys_execute(&cpu, &in);
		}
		if (r == SYS_FAULT) {
			after = cpu;
			after.exc = before.exc;
			CHECK(cpu.exc.pending, "%s", insn_class_name(in.klass));
			CHECK(!memcmp(&after, &before, sizeof(after)), "%s: a fault changed state (%02x %02x %02x %02x)",
			      insn_class_name(in.klass), bytes[0], bytes[1], bytes[2], bytes[3]);
			sys_deliver_exception(&cpu);
			CHECK_EQ(cpu.exc.pending, 0);
		}
		CHECK_EQ(cpu.rflags & (RF_FIXED | RF_VM), RF_FIXED);
		CHECK(cpu.cpl == (cpu.seg[SEG_CS].sel & 3), "%s: CPL %u, CS %#x", insn_class_name(in.klass), cpu.cpl,
		      cpu.seg[SEG_CS].sel);
	}
}

int main(void)
{
#define RUN(name) run_test(#name, test_##name)
	sys_cpuid_init(false);
	RUN(cr0);
	RUN(paging_mode);
	RUN(cr3_cr4_cr8);
	RUN(debug_registers);
	RUN(tables_and_umip);
	RUN(tlb_instructions);
	RUN(cli_sti_hlt);
	RUN(pushf_popf);
	RUN(msr_table);
	RUN(msr_instructions);
	RUN(msr_semantics);
	RUN(counters);
	RUN(cpuid_features);
	RUN(cpuid_limits);
	RUN(cpuid_hypervisor);
	RUN(cpuid_speculation);
	RUN(extended_state);
	RUN(cpuid_instruction);
	RUN(ports);
	RUN(string_io);
	RUN(hypercall);
	RUN(dispatch);
	RUN(branches);
	RUN(segment_limits);
	RUN(random);
	host_is_intel = true;
	/* RSBA and TSX_CTRL are the host's, not the guest's. */
	sys_cpuid_set_arch_capabilities(0x23 | BIT(2) | BIT(7));
	sys_cpuid_init(false);
#define RUN_INTEL(name) run_test(#name ", Intel", test_##name)
	RUN_INTEL(msr_table);
	RUN_INTEL(msr_semantics);
	RUN_INTEL(cpuid_features);
	RUN_INTEL(cpuid_limits);
	RUN_INTEL(cpuid_hypervisor);
	RUN_INTEL(cpuid_speculation);
	RUN_INTEL(extended_state);
	RUN(intel_speculation);
	RUN(amx);
	host_is_intel = false;
	has_apic = 1;
	sys_cpuid_init(true);
	run_test("cpuid_features with a local APIC", test_cpuid_features);
	run_test("msr_table with a local APIC", test_msr_table);
	run_test("msr_semantics with a local APIC", test_msr_semantics);
	return tests_failed;
}
