/* SPDX-License-Identifier: MIT
 * Exceptions, interrupts, IRET, segments, far transfers and fast system calls of src/x86.
 *
 * WITH: x86/system.c x86/branch.c x86/segment.c x86/interrupt.c x86/control.c x86/io.c x86/msr.c
 * WITH: x86/cpuid.c x86/memop.c x86/decimal.c x86/reset.c x86/decode.c x86/decode_table.c x86/decode_vector.c */
#include "unit/test_system_guest.h"

/* ---- delivery ---- */

static void raise_and_deliver(int vector, int error)
{
	if (error < 0)
		sys_raise(&cpu, vector);
	else
		sys_raise_error(&cpu, vector, (u32)error);
	sys_deliver_exception(&cpu);
}

static void test_same_privilege(void)
{
	u64 frame;

	guest_reset();
	cpu.gpr[RSP] -= 8 + 3;
	frame = cpu.gpr[RSP];
	cpu.rflags |= RF_TF | RF_NT | RF_AC;
	cpu.sti_shadow = 1;
	raise_and_deliver(VEC_UD, -1);
	CHECK_EQ(cpu.rip, HANDLER(VEC_UD));
	CHECK_EQ(cpu.gpr[RSP], (frame & ~15ull) - 40);
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH), HIGH + CODE);
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH + 8), KCODE);
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH + 16), RF_FIXED | RF_IF | RF_TF | RF_NT | RF_AC | RF_RF);
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH + 24), frame);
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH + 32), KDATA);
	CHECK_EQ(cpu.rflags, RF_FIXED | RF_AC);
	CHECK_EQ(cpu.seg[SEG_SS].sel, KDATA);
	CHECK_EQ(cpu.sti_shadow, 0);
	CHECK_EQ(cpu.exc.pending, 0);
}

static void test_trap_gate_keeps_if(void)
{
	guest_reset();
	put_gate(VEC_UD, KCODE, HANDLER(VEC_UD), TYPE_TRAP_GATE, 0, 0);
	raise_and_deliver(VEC_UD, -1);
	CHECK_EQ(cpu.rflags, RF_FIXED | RF_IF);
}

static void test_error_code(void)
{
	guest_reset();
	cpu.exc.cr2 = 0x1234567;
	raise_and_deliver(VEC_PF, 5);
	CHECK_EQ(cpu.rip, HANDLER(VEC_PF));
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH), 5);
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH + 8), HIGH + CODE);
	CHECK_EQ(cpu.cr2, 0x1234567);
}

static void test_ist(void)
{
	guest_reset();
	raise_and_deliver(VEC_DF, 0);
	CHECK_EQ(cpu.rip, HANDLER(VEC_DF));
	CHECK_EQ(cpu.gpr[RSP], HIGH + (IST1_STACK & ~15) - 48);
	/* #DF is an abort: RF as it was. */
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH + 24), RF_FIXED | RF_IF);
}

static void test_privilege_change(void)
{
	for (int is_64 = 0; is_64 < 2; is_64++) {
		guest_user(is_64);
		raise_and_deliver(VEC_DE, -1);
		CHECK_EQ(cpu.cpl, 0);
		CHECK_EQ(cpu.seg[SEG_CS].sel, KCODE);
		CHECK_EQ(cpu.seg[SEG_SS].sel, 0);
		CHECK_EQ(cpu.seg[SEG_SS].attr & ATTR_P, 0);
		CHECK_EQ(cpu.gpr[RSP], HIGH + KERNEL_STACK - 40);
		CHECK_EQ(get64(KERNEL_STACK - 40), CODE);
		CHECK_EQ(get64(KERNEL_STACK - 32), is_64 ? UCODE64 : UCODE32);
		CHECK_EQ(get64(KERNEL_STACK - 16), USER_STACK);
		CHECK_EQ(get64(KERNEL_STACK - 8), UDATA);
	}
}

static void test_conforming_handler(void)
{
	guest_user(true);
	put_gate(VEC_DE, KCONF, HANDLER(VEC_DE), TYPE_INTERRUPT_GATE, 0, 0);
	raise_and_deliver(VEC_DE, -1);
	CHECK_EQ(cpu.cpl, 3);
	CHECK_EQ(cpu.seg[SEG_CS].sel, KCONF | 3);
	CHECK_EQ(cpu.gpr[RSP], USER_STACK - 40);
	/* Its pushes are the user's own: a supervisor page refuses them. */
	guest_user(true);
	put_gate(VEC_DE, KCONF, HANDLER(VEC_DE), TYPE_INTERRUPT_GATE, 0, 0);
	rights[(USER_STACK >> 12) - 1] = PAGE_P | PAGE_W;
	raise_and_deliver(VEC_DE, -1);
	CHECK_EQ(cpu.rip, HANDLER(VEC_PF));
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH), PF_P | PF_W | PF_U);
}

/* One way to spoil vector 0x21, and the exception that its delivery must end in. */
struct spoiled {
	const char *what;
	u16 sel;
	int type;
	bool absent;
	u64 offset;
	int ist;
	int vector;
	u32 error;
};

static const struct spoiled spoiled[] = {
	{ "call gate in the IDT", KCODE, TYPE_CALL_GATE, false, HIGH + CODE, 0, VEC_GP, 0x21 * 8 + 3 },
	{ "task gate", KCODE, 5, false, HIGH + CODE, 0, VEC_GP, 0x21 * 8 + 3 },
	{ "gate not present", KCODE, TYPE_INTERRUPT_GATE, true, HIGH + CODE, 0, VEC_NP, 0x21 * 8 + 3 },
	{ "null code selector", 3, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 0, VEC_GP, 1 },
	{ "selector beyond the GDT", GDT_END, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 0, VEC_GP, GDT_END | 1 },
	{ "selector in an absent LDT", 4, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 0, VEC_GP, 4 | 1 },
	{ "data selector", KDATA, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 0, VEC_GP, KDATA | 1 },
	{ "less privileged code", UCODE64, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 0, VEC_GP, (UCODE64 & ~3) | 1 },
	{ "code not present", KCODE_NP, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 0, VEC_NP, KCODE_NP | 1 },
	{ "32-bit code", KCODE32, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 0, VEC_GP, KCODE32 | 1 },
	{ "code with L and D", CODE_LD, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 0, VEC_GP, CODE_LD | 1 },
	{ "non-canonical handler", KCODE, TYPE_INTERRUPT_GATE, false, 0x800000000000, 0, VEC_GP, 1 },
	{ "non-canonical IST", KCODE, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 2, VEC_SS, 1 },
	{ "IST on an absent page", KCODE, TYPE_INTERRUPT_GATE, false, HIGH + CODE, 3, VEC_PF, PF_W },
};

static void test_spoiled_gates(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(spoiled); i++) {
		const struct spoiled *s = &spoiled[i];

		guest_reset();
		put_gate(0x21, s->sel, s->offset, s->type, 0, s->ist);
		if (s->absent)
			ram[IDT + 0x21 * 16 + 5] &= 0x7f;
		put64(TSS + 44, 0x800000000100);
		put64(TSS + 52, HIGH + ABSENT + 0x100);
		sys_deliver_interrupt(&cpu, 0x21);
		CHECK(cpu.rip == HANDLER(s->vector), "%s: at %#llx", s->what, (unsigned long long)cpu.rip);
		CHECK(get64(cpu.gpr[RSP] - HIGH) == s->error, "%s: error %#llx", s->what,
		      (unsigned long long)get64(cpu.gpr[RSP] - HIGH));
		CHECK(get64(cpu.gpr[RSP] - HIGH + 8) == HIGH + CODE, "%s: wrong RIP pushed", s->what);
	}
}

static void test_idt_and_tss_limits(void)
{
	guest_reset();
	cpu.idt.limit = 0x20f;
	sys_deliver_interrupt(&cpu, 0x21);
	CHECK_EQ(cpu.rip, HANDLER(VEC_GP));
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH), 0x21 * 8 + 3);
	guest_user(true);
	put_gate(VEC_TS, KCONF, HANDLER(VEC_TS), TYPE_INTERRUPT_GATE, 0, 0);
	cpu.tr.limit = 10;
	sys_deliver_interrupt(&cpu, 0x21);
	CHECK_EQ(cpu.rip, HANDLER(VEC_TS));
	CHECK_EQ(get64(cpu.gpr[RSP]), TSS_SEL | 1);
}

static void spoil(int vector) { ram[IDT + vector * 16 + 5] &= 0x7f; }

static void test_double_fault_rules(void)
{
	/* first, what its delivery meets, where it ends: the pairs of SDM table 6-5. */
	static const struct { int first, second, end; } pairs[] = {
		{ VEC_UD, VEC_NP, VEC_NP }, { VEC_DE, VEC_NP, VEC_DF }, { VEC_GP, VEC_NP, VEC_DF },
		{ VEC_GP, VEC_PF, VEC_PF }, { VEC_PF, VEC_NP, VEC_DF }, { VEC_PF, VEC_PF, VEC_DF },
		{ VEC_TS, VEC_NP, VEC_DF }, { VEC_AC, VEC_NP, VEC_NP }, { VEC_MC, VEC_PF, VEC_PF },
		{ VEC_SS, VEC_PF, VEC_PF }, { VEC_UD, VEC_PF, VEC_PF },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		int first = pairs[i].first;

		guest_reset();
		if (pairs[i].second == VEC_NP)
			spoil(first);
		else if (first == VEC_PF)
			cpu.gpr[RSP] = HIGH + ABSENT + 0x800;
		else
			put_gate(first, KCODE, HANDLER(first), TYPE_INTERRUPT_GATE, 0, 3);
		put64(TSS + 52, HIGH + ABSENT + 0x100);
		cpu.exc.cr2 = 0x77;
		raise_and_deliver(first, first == VEC_PF || (first >= VEC_TS && first <= VEC_GP) ? 0 : -1);
		CHECK(cpu.rip == HANDLER(pairs[i].end), "%d then %d: at %#llx", first, pairs[i].second,
		      (unsigned long long)cpu.rip);
		CHECK(!cpu.shutdown, "%d then %d", first, pairs[i].second);
		/* CR2 tells of the last page fault, also of one that became a double fault. */
		if (pairs[i].second == VEC_PF)
			CHECK_EQ(cpu.cr2, first == VEC_PF ? HIGH + ABSENT + 0x800 - 48 : cpu.cr2);
	}
}

static void test_triple_fault(void)
{
	guest_reset();
	spoil(VEC_GP);
	spoil(VEC_DF);
	raise_and_deliver(VEC_GP, 0);
	CHECK_EQ(cpu.shutdown, 1);
	CHECK_EQ(cpu.exc.pending, 0);
	guest_reset();
	cpu.idt.limit = 0;
	raise_and_deliver(VEC_UD, -1);
	CHECK_EQ(cpu.shutdown, 1);
	guest_reset();
	cpu.cr0 &= ~CR0_PE;
	sys_deliver_interrupt(&cpu, 0x21);
	CHECK_EQ(cpu.shutdown, 1);
}

static void test_debug_exception(void)
{
	guest_reset();
	cpu.dr[7] |= BIT(13);
	sys_raise(&cpu, VEC_DB);
	cpu.exc.dr6 = BIT(14);
	sys_deliver_exception(&cpu);
	CHECK_EQ(cpu.dr[6], 0xffff4ff0);
	CHECK_EQ(cpu.dr[7], 0x400);
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH + 16) & RF_RF, 0);
}

static void test_external_interrupt(void)
{
	guest_reset();
	cpu.halted = 1;
	sys_deliver_interrupt(&cpu, 0x31);
	CHECK_EQ(cpu.rip, HANDLER(0x31));
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH + 16), RF_FIXED | RF_IF);
	CHECK_EQ(cpu.halted, 0);
	CHECK_EQ(cpu.rflags, RF_FIXED);
}

static void test_nmi_mask(void)
{
	guest_reset();
	cpu.nmi_pending = 1;
	sys_deliver_nmi(&cpu);
	CHECK_EQ(cpu.rip, HANDLER(VEC_NMI));
	CHECK_EQ(cpu.nmi_masked, 1);
	CHECK_EQ(cpu.nmi_pending, 0);
	DOES(0x48, 0xcf);
	CHECK_EQ(cpu.nmi_masked, 0);
	CHECK_EQ(cpu.rip, HIGH + CODE);
}

/* ---- INT n and its kin ---- */

static void test_int(void)
{
	guest_user(true);
	DOES(0xcd, 0x80);
	CHECK_EQ(cpu.rip, HANDLER(0x80));
	CHECK_EQ(get64(KERNEL_STACK - 40), CODE + 2);
	CHECK_EQ(get64(KERNEL_STACK - 24) & RF_RF, 0);
	guest_user(true);
	DOES(0xcc);
	CHECK_EQ(cpu.rip, HANDLER(VEC_BP));
	CHECK_EQ(get64(KERNEL_STACK - 40), CODE + 1);
	guest_user(true);
	FAULTS(VEC_GP, 0x21 * 8 + 2, 0xcd, 0x21);
	FAULTS(VEC_GP, VEC_PF * 8 + 2, 0xcd, VEC_PF);
	spoil(0x80);
	FAULTS(VEC_NP, 0x80 * 8 + 2, 0xcd, 0x80);
	/* INT1 is not subject to the DPL. */
	DOES(0xf1);
	CHECK_EQ(cpu.rip, HANDLER(VEC_DB));
	guest_user(true);
	FAULTS(VEC_UD, -1, 0xce);
	guest_user(false);
	DOES(0xce);
	CHECK_EQ(cpu.rip, CODE + 1);
	cpu.rflags |= FLAG_OF;
	DOES(0xce);
	CHECK_EQ(cpu.rip, HANDLER(VEC_OF));
}

/* The same through c->exc, as state that was saved between the two steps. */
static void test_soft_exception(void)
{
	guest_user(true);
	sys_raise(&cpu, 0x21);
	cpu.exc.soft = 1;
	sys_deliver_exception(&cpu);
	CHECK_EQ(cpu.rip, HANDLER(VEC_GP));
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH), 0x21 * 8 + 2);
}

/* ---- IRET ---- */

static void put_frame(u64 rip, u64 cs, u64 flags, u64 rsp, u64 ss)
{
	u64 at = cpu.gpr[RSP] - (cpu.gpr[RSP] >= HIGH ? HIGH : 0);
	u64 slot[5] = { rip, cs, flags, rsp, ss };

	for (int i = 0; i < 5; i++)
		put64(at + (u64)i * 8, slot[i]);
}

static void test_iret_same(void)
{
	guest_reset();
	put_frame(HIGH + 0x8765, KCODE, RF_IF | RF_RF | RF_ID | FLAG_CF | RF_IOPL, HIGH + 0x5555, KDATA);
	DOES(0x48, 0xcf);
	CHECK_EQ(cpu.rip, HIGH + 0x8765);
	CHECK_EQ(cpu.rflags, RF_FIXED | RF_IF | RF_RF | RF_ID | FLAG_CF | RF_IOPL);
	CHECK_EQ(cpu.gpr[RSP], HIGH + 0x5555);
	guest_reset();
	put_frame(HIGH + CODE, KCODE, 0, HIGH + 0x5555, 0);
	DOES(0x48, 0xcf);
	CHECK_EQ(cpu.seg[SEG_SS].sel, 0);
	CHECK_EQ(cpu.seg[SEG_SS].attr & (ATTR_P | 15), 0);
}

static void test_iret_user(void)
{
	for (int is_64 = 0; is_64 < 2; is_64++) {
		guest_reset();
		cpu.seg[SEG_DS] = sys_flat_stack(KDATA, 0);
		cpu.seg[SEG_ES] = sys_flat_stack(UDATA, 3);
		cpu.seg[SEG_FS] = sys_flat_code(KCONF, 0, true);
		cpu.seg[SEG_FS].attr |= TYPE_CONFORMING;
		cpu.seg[SEG_GS] = sys_flat_stack(KDATA, 0);
		cpu.seg[SEG_GS].base = 0x123456;
		put_frame(0x7000, is_64 ? UCODE64 : UCODE32, RF_IF, 0x123456789, UDATA);
		DOES(0x48, 0xcf);
		CHECK_EQ(cpu.cpl, 3);
		CHECK_EQ(cpu.rip, 0x7000);
		CHECK_EQ(cpu.rflags, RF_IF | RF_FIXED);
		CHECK_EQ(cpu.gpr[RSP], is_64 ? 0x123456789 : 0x23456789);
		CHECK_EQ(cpu_is_64(&cpu), is_64);
		CHECK_EQ(cpu.seg[SEG_DS].sel, 0);
		CHECK_EQ(cpu.seg[SEG_DS].attr & ATTR_P, 0);
		CHECK_EQ(cpu.seg[SEG_ES].sel, UDATA);
		CHECK_EQ(cpu.seg[SEG_FS].sel, KCONF);
		CHECK_EQ(cpu.seg[SEG_GS].sel, 0);
		CHECK_EQ(cpu.seg[SEG_GS].base, 0x123456);
	}
}

static void test_iret_from_user(void)
{
	guest_user(true);
	cpu.gpr[RSP] -= 64;
	put_frame(0x7000, UCODE64, RF_IOPL | RF_TF | RF_VIF, 0x9000, UDATA);
	DOES(0x48, 0xcf);
	/* IF and IOPL are beyond the reach of CPL 3. */
	CHECK_EQ(cpu.rflags, RF_FIXED | RF_IF | RF_TF);
	/* Compatibility mode, same privilege: three slots of four bytes. */
	guest_user(false);
	cpu.gpr[RSP] = DATA;
	put64(DATA, 0x6000 | (u64)UCODE32 << 32);
	put64(DATA + 8, RF_IF | FLAG_ZF);
	DOES(0xcf);
	CHECK_EQ(cpu.rip, 0x6000);
	CHECK_EQ(cpu.gpr[RSP], DATA + 12);
	CHECK_EQ(cpu.rflags, RF_FIXED | RF_IF | FLAG_ZF);
}

static void test_iret_faults(void)
{
	static const struct { u64 rip, cs, rsp, ss; int vector; u32 error; } bad[] = {
		{ CODE, 0, 0x9000, UDATA, VEC_GP, 0 },
		{ CODE, 3, 0x9000, UDATA, VEC_GP, 0 },
		{ CODE, GDT_END, 0x9000, UDATA, VEC_GP, GDT_END },
		{ CODE, KDATA, 0x9000, KDATA, VEC_GP, KDATA },
		{ CODE, KCODE | 3, 0x9000, UDATA, VEC_GP, KCODE },
		{ CODE, UCODE64 & ~3, 0x9000, KDATA, VEC_GP, UCODE64 & ~3 },
		{ CODE, KCODE_NP, 0x9000, KDATA, VEC_NP, KCODE_NP },
		{ CODE, CODE_LD, 0x9000, KDATA, VEC_GP, CODE_LD },
		{ 0x800000000000, UCODE64, 0x9000, UDATA, VEC_GP, 0 },
		{ 0x100000000, UCODE32, 0x9000, UDATA, VEC_GP, 0 },
		{ CODE, UCODE64, 0x9000, 0, VEC_GP, 0 },
		{ CODE, UCODE64, 0x9000, KDATA, VEC_GP, KDATA },
		{ CODE, UCODE64, 0x9000, KDATA | 3, VEC_GP, KDATA },
		{ CODE, UCODE64, 0x9000, UDATA_NP, VEC_SS, UDATA_NP & ~3 },
		{ CODE, UCODE64, 0x9000, GDT_END | 3, VEC_GP, GDT_END },
		{ HIGH + CODE, KCODE, 0x9000, KDATA_RO, VEC_GP, KDATA_RO },
		{ HIGH + CODE, KCODE, 0x9000, KDATA_NP, VEC_SS, KDATA_NP },
		{ CODE, KCODE32, 0x9000, 0, VEC_GP, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		guest_reset();
		put_frame(bad[i].rip, bad[i].cs, 0, bad[i].rsp, bad[i].ss);
		FAULTS(bad[i].vector, (int)bad[i].error, 0x48, 0xcf);
		CHECK(!failure[0], "row %zu", i);
	}
	guest_reset();
	cpu.rflags |= RF_NT;
	cpu.sti_shadow = 1; /* a fault keeps it */
	put_frame(CODE, UCODE64, 0, 0x9000, UDATA);
	FAULTS(VEC_GP, 0, 0x48, 0xcf);
	guest_reset();
	cpu.gpr[RSP] = HIGH + ABSENT - 8;
	FAULTS(VEC_PF, 0, 0x48, 0xcf);
	cpu.gpr[RSP] = 0x800000000000 - 16;
	FAULTS(VEC_SS, 0, 0x48, 0xcf);
	/* To more privilege: never. */
	guest_user(true);
	cpu.gpr[RSP] -= 64;
	put_frame(HIGH + CODE, KCODE, 0, 0x9000, KDATA);
	FAULTS(VEC_GP, KCODE, 0x48, 0xcf);
}

static void test_iret_32_and_16(void)
{
	guest_reset();
	cpu.gpr[RSP] = HIGH + DATA;
	put64(DATA, 0x1000 | (u64)UCODE64 << 32);
	put64(DATA + 8, RF_IF | 0x88880000ull << 32);
	put64(DATA + 16, UDATA);
	DOES(0xcf);
	CHECK_EQ(cpu.rip, 0x1000);
	CHECK_EQ(cpu.gpr[RSP], 0x88880000);
	guest_reset();
	cpu.gpr[RSP] = HIGH + DATA;
	cpu.rflags |= RF_AC;
	put64(DATA, 0x1000 | (u64)UCODE64 << 16 | (u64)RF_IF << 32 | 0x8888ull << 48);
	put64(DATA + 8, UDATA);
	DOES(0x66, 0xcf);
	CHECK_EQ(cpu.rip, 0x1000);
	CHECK_EQ(cpu.gpr[RSP], 0x8888);
	/* A 16-bit return does not reach AC. */
	CHECK_EQ(cpu.rflags, RF_FIXED | RF_IF | RF_AC);
}

/* ---- SYSCALL, SYSRET, SYSENTER, SWAPGS ---- */

static void test_syscall(void)
{
	guest_user(true);
	cpu.rflags |= RF_TF | FLAG_CF | RF_AC | RF_RF;
	DOES(0x0f, 0x05);
	CHECK_EQ(cpu.rip, HIGH + CODE + 0x40);
	CHECK_EQ(cpu.gpr[RCX], CODE + 2);
	CHECK_EQ(cpu.gpr[R11], RF_FIXED | RF_IF | RF_TF | FLAG_CF | RF_AC);
	CHECK_EQ(cpu.rflags, RF_FIXED | FLAG_CF);
	CHECK_EQ(cpu.cpl, 0);
	CHECK_EQ(cpu.seg[SEG_CS].sel, KCODE);
	CHECK_EQ(cpu.seg[SEG_SS].sel, KDATA);
	CHECK(cpu_is_64(&cpu));
	DOES(0x48, 0x0f, 0x07);
	CHECK_EQ(cpu.rip, CODE + 2);
	CHECK_EQ(cpu.cpl, 3);
	CHECK_EQ(cpu.seg[SEG_CS].sel, UCODE64);
	CHECK_EQ(cpu.seg[SEG_SS].sel, UDATA);
	CHECK_EQ(cpu.rflags, RF_FIXED | RF_IF | RF_TF | FLAG_CF | RF_AC);
	FAULTS(VEC_GP, 0, 0x48, 0x0f, 0x07);
	guest_reset();
	cpu.star &= ~(3ull << 48); /* the processor sets the RPL itself */
	cpu.gpr[RCX] = 0x123456789;
	cpu.gpr[R11] = ~0ull;
	DOES(0x0f, 0x07);
	CHECK_EQ(cpu.rip, 0x23456789);
	CHECK_EQ(cpu.seg[SEG_CS].sel, UCODE32);
	CHECK(!cpu_is_64(&cpu));
	CHECK_EQ(cpu.rflags, 0x3c7fd7);
	guest_reset();
	cpu.efer &= ~EFER_SCE;
	FAULTS(VEC_UD, -1, 0x0f, 0x05);
	FAULTS(VEC_UD, -1, 0x48, 0x0f, 0x07);
}

static void test_syscall_vendor(void)
{
	guest_reset();
	cpu.gpr[RCX] = 0x800000000000;
	if (sys_host_is_amd()) {
		DOES(0x48, 0x0f, 0x07);
		CHECK_EQ(cpu.cpl, 3);
		guest_user(false);
		cpu.cstar = HIGH + CODE + 0x80;
		DOES(0x0f, 0x05);
		CHECK_EQ(cpu.rip, HIGH + CODE + 0x80);
		guest_reset();
		FAULTS(VEC_UD, -1, 0x0f, 0x34);
		FAULTS(VEC_UD, -1, 0x0f, 0x35);
		return;
	}
	FAULTS(VEC_GP, 0, 0x48, 0x0f, 0x07);
	guest_user(false);
	FAULTS(VEC_UD, -1, 0x0f, 0x05);
	FAULTS(VEC_GP, 0, 0x0f, 0x34);
	cpu.sysenter_cs = KCODE;
	cpu.sysenter_esp = HIGH + 0x5000;
	cpu.sysenter_eip = HIGH + CODE;
	DOES(0x0f, 0x34);
	CHECK_EQ(cpu.rip, HIGH + CODE);
	CHECK_EQ(cpu.gpr[RSP], HIGH + 0x5000);
	CHECK_EQ(cpu.cpl, 0);
	CHECK(cpu_is_64(&cpu));
	cpu.gpr[RDX] = 0x1000;
	cpu.gpr[RCX] = 0x2000;
	DOES(0x48, 0x0f, 0x35);
	CHECK_EQ(cpu.rip, 0x1000);
	CHECK_EQ(cpu.gpr[RSP], 0x2000);
	CHECK_EQ(cpu.seg[SEG_CS].sel, KCODE + 32 + 3);
}

static void test_swapgs_fsgsbase(void)
{
	guest_reset();
	cpu.seg[SEG_GS].base = 1;
	cpu.kernel_gs_base = 2;
	DOES(0x0f, 0x01, 0xf8);
	CHECK_EQ(cpu.seg[SEG_GS].base, 2);
	CHECK_EQ(cpu.kernel_gs_base, 1);
	CHECK_EQ(calls.last_changed, MSR_GS_BASE);
	cpu.cpl = 3;
	FAULTS(VEC_GP, 0, 0x0f, 0x01, 0xf8);
	FAULTS(VEC_UD, -1, 0xf3, 0x48, 0x0f, 0xae, 0xd0);
	cpu.cr4 |= CR4_FSGSBASE;
	cpu.gpr[RAX] = 0x800000000000;
	FAULTS(VEC_GP, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd0);
	cpu.gpr[RAX] = 0x1122334455;
	DOES(0xf3, 0x48, 0x0f, 0xae, 0xd0); /* wrfsbase rax */
	CHECK_EQ(cpu.seg[SEG_FS].base, 0x1122334455);
	DOES(0xf3, 0x0f, 0xae, 0xd8); /* wrgsbase eax */
	CHECK_EQ(cpu.seg[SEG_GS].base, 0x22334455);
	DOES(0xf3, 0x48, 0x0f, 0xae, 0xc3); /* rdfsbase rbx */
	CHECK_EQ(cpu.gpr[RBX], 0x1122334455);
}

/* ---- segment registers ---- */

static void test_segment_loads(void)
{
	static const struct { int cpl; u8 modrm; u16 sel; int vector; u32 error; } rows[] = {
		{ 0, 0xd8, KDATA, 0, 0 }, { 0, 0xd8, 0, 0, 0 }, { 0, 0xd8, 3, 0, 0 }, { 3, 0xd8, 0, 0, 0 },
		{ 0, 0xd8, KCODE, 0, 0 }, { 0, 0xd8, UDATA, 0, 0 }, { 3, 0xd8, UDATA, 0, 0 },
		{ 3, 0xd8, UCONF, 0, 0 }, { 3, 0xd8, KCONF | 3, 0, 0 },
		{ 3, 0xd8, UCODE_XO, VEC_GP, UCODE_XO & ~3 },
		{ 3, 0xd8, KDATA | 3, VEC_GP, KDATA }, { 3, 0xd8, KDATA, VEC_GP, KDATA },
		{ 0, 0xd8, KDATA | 3, VEC_GP, KDATA }, { 0, 0xd8, KDATA_NP, VEC_NP, KDATA_NP },
		{ 0, 0xd8, GDT_END, VEC_GP, GDT_END }, { 0, 0xd8, TSS_SEL, VEC_GP, TSS_SEL },
		{ 0, 0xd8, 8 | 4, VEC_GP, 8 | 4 },
		{ 0, 0xd0, KDATA, 0, 0 }, { 0, 0xd0, 0, 0, 0 }, { 0, 0xd0, 3, VEC_GP, 0 }, { 3, 0xd0, 0, VEC_GP, 0 },
		{ 3, 0xd0, 3, VEC_GP, 0 }, { 3, 0xd0, UDATA, 0, 0 }, { 0, 0xd0, UDATA, VEC_GP, UDATA & ~3 },
		{ 0, 0xd0, KDATA_RO, VEC_GP, KDATA_RO }, { 0, 0xd0, KDATA_NP, VEC_SS, KDATA_NP },
		{ 0, 0xd0, KDATA | 3, VEC_GP, KDATA }, { 3, 0xd0, UDATA & ~3, VEC_GP, UDATA & ~3 },
		{ 0, 0xd0, KCODE, VEC_GP, KCODE }, { 3, 0xd0, UDATA_NP, VEC_SS, UDATA_NP & ~3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].cpl)
			guest_user(true);
		else
			guest_reset();
		cpu.gpr[RAX] = rows[i].sel;
		if (rows[i].vector) {
			FAULTS(rows[i].vector, (int)rows[i].error, 0x8e, rows[i].modrm);
		} else {
			DOES(0x8e, rows[i].modrm);
			CHECK_EQ(cpu.seg[rows[i].modrm >> 3 & 7].sel, rows[i].sel);
		}
		CHECK(!failure[0], "row %zu", i);
	}
	guest_reset();
	FAULTS(VEC_UD, -1, 0x8e, 0xc8); /* CS */
	CHECK_EQ(cpu.sti_shadow, 0);
	cpu.gpr[RAX] = KDATA;
	DOES(0x8e, 0xd0);
	CHECK_EQ(cpu.sti_shadow, 1);
	DOES(0x8e, 0xd8);
	CHECK_EQ(cpu.sti_shadow, 0);
	DOES(0x66, 0x8c, 0xd3);
	CHECK_EQ(cpu.gpr[RBX], KDATA);
}

static void test_segment_bases(void)
{
	guest_reset();
	/* A null selector clears the base; the LDT works once it is loaded; the accessed bit is set. */
	cpu.seg[SEG_GS].base = 77;
	cpu.gpr[RAX] = 0;
	DOES(0x8e, 0xe8);
	CHECK_EQ(cpu.seg[SEG_GS].base, 0);
	CHECK_EQ(calls.last_changed, MSR_GS_BASE);
	put64(LDT + 8, 0x12cff2345678ffffull);
	cpu.gpr[RAX] = LDT_SEL;
	DOES(0x0f, 0x00, 0xd0);
	CHECK_EQ(cpu.ldt.base, LDT);
	CHECK_EQ(cpu.ldt.limit, 0x1f);
	cpu.gpr[RAX] = 8 | 4 | 3;
	DOES(0x8e, 0xe0);
	CHECK_EQ(cpu.seg[SEG_FS].base, 0x12345678);
	CHECK_EQ(cpu.seg[SEG_FS].limit, 0xffffffff);
	CHECK_EQ(ram[LDT + 8 + 5] & 1, 1);
	CHECK_EQ(calls.last_changed, MSR_FS_BASE);
	cpu.gpr[RAX] = 0;
	DOES(0x0f, 0x00, 0xd0);
	cpu.gpr[RAX] = 8 | 4;
	FAULTS(VEC_GP, 8 | 4, 0x8e, 0xe0);
}

static void test_lldt_ltr(void)
{
	guest_reset();
	cpu.gpr[RAX] = TSS_SEL;
	DOES(0x0f, 0x00, 0xd8);
	CHECK_EQ(cpu.tr.base, TSS);
	CHECK_EQ(ram[GDT + TSS_SEL + 5], 0x8b);
	FAULTS(VEC_GP, TSS_SEL, 0x0f, 0x00, 0xd8);
	FAULTS(VEC_GP, TSS_SEL, 0x0f, 0x00, 0xd0);
	ram[GDT + TSS_SEL + 5] = 0x89;
	put64(GDT + TSS_SEL + 8, 0xffff8765);
	DOES(0x0f, 0x00, 0xd8);
	CHECK_EQ(cpu.tr.base, 0xffff876500003000);
	CHECK_EQ(cpu.tr.attr & 15, TYPE_TSS_BUSY);
	ram[GDT + TSS_SEL + 5] = 0x89;
	put64(GDT + TSS_SEL + 8, 0x8000);
	FAULTS(VEC_GP, TSS_SEL, 0x0f, 0x00, 0xd8);
	cpu.gpr[RAX] = 0;
	FAULTS(VEC_GP, 0, 0x0f, 0x00, 0xd8);
	cpu.gpr[RAX] = 12;
	FAULTS(VEC_GP, 12, 0x0f, 0x00, 0xd0);
	cpu.gpr[RAX] = LDT_SEL;
	FAULTS(VEC_GP, LDT_SEL, 0x0f, 0x00, 0xd8);
	ram[GDT + LDT_SEL + 5] &= 0x7f;
	FAULTS(VEC_NP, LDT_SEL, 0x0f, 0x00, 0xd0);
	/* A 16-byte descriptor cut by the limit. */
	cpu.gdt.limit = LDT_SEL + 7;
	FAULTS(VEC_GP, LDT_SEL, 0x0f, 0x00, 0xd0);
	cpu.cpl = 3;
	FAULTS(VEC_GP, 0, 0x0f, 0x00, 0xd0);
}

static void test_queries(void)
{
	static const struct { int cpl; u16 sel; int lar, lsl, verr, verw; } rows[] = {
		{ 0, KCODE, 1, 1, 1, 0 }, { 0, KDATA, 1, 1, 1, 1 }, { 0, KDATA_RO, 1, 1, 1, 0 }, { 0, 0, 0, 0, 0, 0 },
		{ 0, TSS_SEL, 1, 1, 0, 0 }, { 0, LDT_SEL, 1, 1, 0, 0 }, { 0, GATE, 1, 0, 0, 0 },
		{ 0, GDT_END, 0, 0, 0, 0 }, { 0, KDATA | 3, 0, 0, 0, 0 }, { 3, KDATA, 0, 0, 0, 0 },
		{ 3, KCONF, 1, 1, 1, 0 }, { 3, UCODE_XO, 1, 1, 0, 0 }, { 3, UDATA, 1, 1, 1, 1 }, { 0, 12, 0, 0, 0, 0 },
		{ 0, 8, 0, 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		guest_reset();
		cpu.cpl = (u8)rows[i].cpl;
		cpu.gpr[RAX] = rows[i].sel;
		cpu.gpr[RCX] = 0x55;
		DOES(0x0f, 0x02, 0xc8); /* lar ecx, eax */
		CHECK(!(cpu.rflags & FLAG_ZF) == !rows[i].lar, "lar, row %zu", i);
		if (rows[i].lar)
			CHECK_EQ(cpu.gpr[RCX], (get64(GDT + (rows[i].sel & ~7)) >> 32) & 0xffff00);
		else
			CHECK_EQ(cpu.gpr[RCX], 0x55);
		DOES(0x0f, 0x03, 0xc8); /* lsl ecx, eax */
		CHECK(!(cpu.rflags & FLAG_ZF) == !rows[i].lsl, "lsl, row %zu", i);
		DOES(0x0f, 0x00, 0xe0);
		CHECK(!(cpu.rflags & FLAG_ZF) == !rows[i].verr, "verr, row %zu", i);
		DOES(0x0f, 0x00, 0xe8);
		CHECK(!(cpu.rflags & FLAG_ZF) == !rows[i].verw, "verw, row %zu", i);
	}
	cpu.gpr[RAX] = KDATA;
	cpu.cpl = 0;
	DOES(0x0f, 0x03, 0xc8);
	CHECK_EQ(cpu.gpr[RCX], 0xffffffff);
}

static void put_far(u64 at, u32 offset, u16 sel) { put64(at, offset | (u64)sel << 32); }

static void test_far_jump(void)
{
	static const struct { u16 sel; int vector; u32 error; } bad[] = {
		{ 0, VEC_GP, 0 }, { KDATA, VEC_GP, KDATA }, { KCODE_NP, VEC_NP, KCODE_NP }, { UCODE64, VEC_GP, UCODE64 & ~3 },
		{ KCODE | 3, VEC_GP, KCODE }, { CODE_LD, VEC_GP, CODE_LD }, { GDT_END, VEC_GP, GDT_END },
		{ TSS_SEL, VEC_GP, TSS_SEL }, { UCONF, VEC_GP, UCONF & ~3 }, { GATE | 3, VEC_GP, GATE },
	};

	guest_reset();
	cpu.gpr[RAX] = HIGH + DATA;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put_far(DATA, CODE, bad[i].sel);
		FAULTS(bad[i].vector, (int)bad[i].error, 0xff, 0x28);
	}
	put_far(DATA, CODE + 4, KCODE_FRESH);
	DOES(0xff, 0x28);
	CHECK_EQ(cpu.rip, CODE + 4);
	CHECK_EQ(cpu.seg[SEG_CS].sel, KCODE_FRESH);
	CHECK_EQ(ram[GDT + KCODE_FRESH + 5] & 1, 1);
	put_far(DATA, CODE + 8, KCONF | 3);
	DOES(0xff, 0x28);
	CHECK_EQ(cpu.seg[SEG_CS].sel, KCONF);
	put_far(DATA, 0, GATE);
	DOES(0xff, 0x28);
	CHECK_EQ(cpu.rip, HANDLER(200));
	put_far(DATA, CODE, KCODE32);
	DOES(0xff, 0x28);
	CHECK(!cpu_is_64(&cpu));
	CHECK_EQ(cpu.rip, CODE);
	FAULTS(VEC_GP, KDATA, 0xea, 0, 0, 0, 0, KDATA, 0);
	DOES(0xea, 0x10, 0x80, 0, 0, KCODE, 0);
	CHECK(cpu_is_64(&cpu));
	CHECK_EQ(cpu.rip, 0x8010);
}

static void test_far_call_and_return(void)
{
	u64 rsp;

	guest_reset();
	rsp = cpu.gpr[RSP];
	cpu.gpr[RAX] = HIGH + DATA;
	put_far(DATA, CODE + 4, KCODE);
	DOES(0xff, 0x18);
	CHECK_EQ(cpu.rip, CODE + 4);
	CHECK_EQ(cpu.gpr[RSP], rsp - 8);
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH), (u32)(HIGH + CODE + 2) | (u64)KCODE << 32);
	DOES(0xcb);
	CHECK_EQ(cpu.rip, (u32)(HIGH + CODE + 2));
	CHECK_EQ(cpu.gpr[RSP], rsp);
	/* Through a call gate to more privilege, and back with parameters released. */
	guest_user(true);
	cpu.gpr[RAX] = DATA;
	put_far(DATA, 0, GATE);
	FAULTS(VEC_GP, GATE, 0xff, 0x18);
	put_far(DATA, 0, GATE3);
	DOES(0xff, 0x18);
	CHECK_EQ(cpu.cpl, 0);
	CHECK_EQ(cpu.rip, HANDLER(200));
	CHECK_EQ(cpu.gpr[RSP], HIGH + KERNEL_STACK - 32);
	CHECK_EQ(get64(KERNEL_STACK - 32), CODE + 2);
	CHECK_EQ(get64(KERNEL_STACK - 24), UCODE64);
	CHECK_EQ(get64(KERNEL_STACK - 16), USER_STACK);
	CHECK_EQ(get64(KERNEL_STACK - 8), UDATA);
	CHECK_EQ(cpu.seg[SEG_SS].sel, 0);
	/* The release of parameters applies to both stacks: 16 bytes before SS:RSP, and to the new RSP. */
	put64(KERNEL_STACK - 32 + 32, 0x9000);
	put64(KERNEL_STACK - 32 + 40, UDATA);
	DOES(0x48, 0xca, 16, 0);
	CHECK_EQ(cpu.cpl, 3);
	CHECK_EQ(cpu.rip, CODE + 2);
	CHECK_EQ(cpu.gpr[RSP], 0x9010);
	/* A gate whose upper half has a type. */
	guest_reset();
	cpu.gpr[RAX] = HIGH + DATA;
	put_far(DATA, 0, GATE);
	ram[GDT + GATE + 13] = 1;
	FAULTS(VEC_GP, GATE, 0xff, 0x18);
}

static void test_load_far(void)
{
	guest_reset();
	cpu.gpr[RAX] = HIGH + DATA;
	put_far(DATA, 0x12345678, KDATA);
	DOES(0x0f, 0xb4, 0x08); /* lfs ecx, [rax] */
	CHECK_EQ(cpu.gpr[RCX], 0x12345678);
	CHECK_EQ(cpu.seg[SEG_FS].sel, KDATA);
	put_far(DATA, 0x12345678, KDATA_RO);
	FAULTS(VEC_GP, KDATA_RO, 0x0f, 0xb2, 0x08);
	/* REX.W: Intel takes 64 bits of offset, AMD still 32. */
	put64(DATA, 0x1122334400000018);
	put64(DATA + 8, KDATA);
	put_far(DATA + 0x10, 0x12345678, KDATA);
	cpu.gpr[RCX] = 0;
	if (sys_host_is_amd()) {
		cpu.gpr[RAX] = HIGH + DATA + 0x10;
		DOES(0x48, 0x0f, 0xb4, 0x08);
		CHECK_EQ(cpu.gpr[RCX], 0x12345678);
	} else {
		DOES(0x48, 0x0f, 0xb4, 0x08);
		CHECK_EQ(cpu.gpr[RCX], 0x1122334400000018);
	}
}

static void test_arpl(void)
{
	static const struct { u16 to, from, result; bool zf; } rows[] = {
		{ 0x10, 0x13, 0x13, true }, { 0x12, 0x13, 0x13, true }, { 0x13, 0x13, 0x13, false }, { 0x13, 0x10, 0x13, false },
	};

	guest_user(false);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cpu.gpr[RAX] = 0xabcd0000 | rows[i].to;
		cpu.gpr[RCX] = rows[i].from;
		DOES(0x63, 0xc8);
		CHECK_EQ(cpu.gpr[RAX], 0xabcd0000 | rows[i].result);
		CHECK_EQ(!!(cpu.rflags & FLAG_ZF), rows[i].zf);
	}
}

/* Legacy protected mode: 8-byte gates, stack segment and pointer from a 32-bit TSS, 32-bit frames. */
static void legacy_guest(int cpl)
{
	u64 gate = (CODE + 0x100) | (u64)KCODE32 << 16 | (u64)0xee << 40;

	guest_user(false);
	cpu.efer = 0;
	cpu.cr0 &= ~CR0_PG;
	cpu.gdt.base = GDT;
	cpu.idt = (struct cpu_table){ IDT, 0x7ff };
	cpu.tr.base = TSS;
	put64(TSS + 4, KERNEL_STACK | (u64)KDATA << 32);
	for (int v = 0; v < 256; v++)
		put64(IDT + (u64)v * 8, gate);
	if (!cpl) {
		cpu.cpl = 0;
		cpu.seg[SEG_CS] = sys_flat_code(KCODE32, 0, false);
		cpu.seg[SEG_SS] = sys_flat_stack(KDATA, 0);
	}
}

static u32 get32(u64 at) { return (u32)get64(at); }

static void test_legacy_delivery(void)
{
	legacy_guest(3);
	raise_and_deliver(VEC_GP, 0x77);
	CHECK_EQ(cpu.rip, CODE + 0x100);
	CHECK_EQ(cpu.cpl, 0);
	CHECK_EQ(cpu.seg[SEG_SS].sel, KDATA);
	CHECK_EQ(cpu.gpr[RSP], KERNEL_STACK - 24);
	CHECK_EQ(get32(KERNEL_STACK - 24), 0x77);
	CHECK_EQ(get32(KERNEL_STACK - 20), CODE);
	CHECK_EQ(get32(KERNEL_STACK - 16), UCODE32);
	CHECK_EQ(get32(KERNEL_STACK - 8), USER_STACK);
	CHECK_EQ(get32(KERNEL_STACK - 4), UDATA);
	cpu.gpr[RSP] += 4;
	DOES(0xcf);
	CHECK_EQ(cpu.cpl, 3);
	CHECK_EQ(cpu.rip, CODE);
	CHECK_EQ(cpu.gpr[RSP], USER_STACK);
	CHECK_EQ(cpu.seg[SEG_SS].sel, UDATA);
	legacy_guest(0);
	DOES(0xcd, 0x20);
	CHECK_EQ(cpu.gpr[RSP], USER_STACK - 12);
	CHECK_EQ(get32(USER_STACK - 12), CODE + 2);
	DOES(0xcf);
	CHECK_EQ(cpu.rip, CODE + 2);
	CHECK_EQ(cpu.gpr[RSP], USER_STACK);
	/* A stack of the wrong privilege in the TSS. */
	legacy_guest(3);
	put64(TSS + 4, KERNEL_STACK | (u64)UDATA << 32);
	FAULTS(VEC_TS, UDATA & ~3, 0xcd, 0x20);
	put64(TSS + 4, KERNEL_STACK | (u64)(KDATA | 3) << 32);
	FAULTS(VEC_TS, KDATA, 0xcd, 0x20);
	cpu.tr.limit = 8;
	FAULTS(VEC_TS, TSS_SEL, 0xcd, 0x20);
}

static void test_push_pop_segment(void)
{
	u64 rsp;

	guest_reset();
	rsp = cpu.gpr[RSP];
	cpu.seg[SEG_FS].sel = KDATA;
	DOES(0x0f, 0xa0);
	CHECK_EQ(cpu.gpr[RSP], rsp - 8);
	CHECK_EQ(get64(cpu.gpr[RSP] - HIGH), KDATA);
	DOES(0x0f, 0xa9);
	CHECK_EQ(cpu.seg[SEG_GS].sel, KDATA);
	CHECK_EQ(cpu.gpr[RSP], rsp);
	guest_user(false);
	DOES(0x1e);
	CHECK_EQ(cpu.gpr[RSP], USER_STACK - 4);
	DOES(0x17);
	CHECK_EQ(cpu.seg[SEG_SS].sel, UDATA);
	CHECK_EQ(cpu.sti_shadow, 1);
}

int main(void)
{
	sys_cpuid_init(false);
#define RUN(name) run_test(#name, test_##name)
	RUN(same_privilege);
	RUN(trap_gate_keeps_if);
	RUN(error_code);
	RUN(ist);
	RUN(privilege_change);
	RUN(conforming_handler);
	RUN(spoiled_gates);
	RUN(idt_and_tss_limits);
	RUN(double_fault_rules);
	RUN(triple_fault);
	RUN(debug_exception);
	RUN(external_interrupt);
	RUN(nmi_mask);
	RUN(int);
	RUN(soft_exception);
	RUN(iret_same);
	RUN(iret_user);
	RUN(iret_from_user);
	RUN(iret_faults);
	RUN(iret_32_and_16);
	RUN(syscall);
	RUN(syscall_vendor);
	RUN(swapgs_fsgsbase);
	RUN(segment_loads);
	RUN(segment_bases);
	RUN(lldt_ltr);
	RUN(queries);
	RUN(far_jump);
	RUN(far_call_and_return);
	RUN(load_far);
	RUN(arpl);
	RUN(legacy_delivery);
	RUN(push_pop_segment);
	/* What differs between the vendors, on the other one. */
	host_is_intel = sys_host_is_amd();
	if (host_is_intel) {
		sys_cpuid_init(false);
		run_test("syscall_vendor, Intel", test_syscall_vendor);
		run_test("load_far, Intel", test_load_far);
	}
	return tests_failed;
}
