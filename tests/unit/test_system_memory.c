/* SPDX-License-Identifier: MIT
 * sys_execute_memory() against the processor: the same bytes in the same random state, once through the
 * emulation and once natively; registers, flags and memory must come out the same.
 *
 * WITH: x86/system.c x86/branch.c x86/segment.c x86/interrupt.c x86/control.c x86/io.c x86/msr.c
 * WITH: x86/cpuid.c x86/memop.c x86/decimal.c x86/reset.c x86/decode.c x86/decode_table.c x86/decode_vector.c
 *
 * Without sanitizers, since native code runs on the stack. */
/* NOSAN */
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#undef REG_RIP /* of <sys/ucontext.h> */
#include "unit/test_system_guest.h"

/* ---- running bytes natively ---- */

struct native {
	u64 gpr[16];
	u64 flags;
};

/* Loads every register but RSP and the flags from *state, jumps to `code`, which ends in a jump back, and
 * stores them. */
void native_run(struct native *state, const void *code);
void native_back(void);
u64 native_scratch[3];
__asm__(".text\n"
	".globl native_run\n.globl native_back\n"
	"native_run:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	push %rdi\n"
	"	mov %rsi, native_scratch(%rip)\n"
	"	pushq 128(%rdi)\n	popfq\n"
	"	mov 0(%rdi), %rax\n	mov 8(%rdi), %rcx\n	mov 16(%rdi), %rdx\n	mov 24(%rdi), %rbx\n"
	"	mov 40(%rdi), %rbp\n	mov 48(%rdi), %rsi\n	mov 64(%rdi), %r8\n	mov 72(%rdi), %r9\n"
	"	mov 80(%rdi), %r10\n	mov 88(%rdi), %r11\n	mov 96(%rdi), %r12\n	mov 104(%rdi), %r13\n"
	"	mov 112(%rdi), %r14\n	mov 120(%rdi), %r15\n	mov 56(%rdi), %rdi\n"
	"	jmp *native_scratch(%rip)\n"
	"native_back:\n"
	"	mov %rdi, native_scratch+8(%rip)\n"
	"	mov (%rsp), %rdi\n"
	"	pushfq\n	popq 128(%rdi)\n	cld\n"
	"	mov %rax, 0(%rdi)\n	mov %rcx, 8(%rdi)\n	mov %rdx, 16(%rdi)\n	mov %rbx, 24(%rdi)\n"
	"	mov %rbp, 40(%rdi)\n	mov %rsi, 48(%rdi)\n	mov %r8, 64(%rdi)\n	mov %r9, 72(%rdi)\n"
	"	mov %r10, 80(%rdi)\n	mov %r11, 88(%rdi)\n	mov %r12, 96(%rdi)\n	mov %r13, 104(%rdi)\n"
	"	mov %r14, 112(%rdi)\n	mov %r15, 120(%rdi)\n"
	"	mov native_scratch+8(%rip), %rax\n	mov %rax, 56(%rdi)\n"
	"	pop %rdi\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
	"	ret\n");

static u8 *code_page;
static sigjmp_buf trapped;
static void on_signal(int number) { siglongjmp(trapped, number); }

/* 0, or the signal that the instruction raised. */
static int run_natively(struct native *state, const u8 *bytes, size_t n)
{
	static const u8 jump[6] = { 0xff, 0x25, 0, 0, 0, 0 };
	void (*back)(void) = native_back;
	int number;

	memcpy(code_page, bytes, n);
	memcpy(code_page + n, jump, sizeof(jump));
	memcpy(code_page + n + sizeof(jump), &back, sizeof(back));
	number = sigsetjmp(trapped, 1);
	if (!number)
		native_run(state, code_page);
	__asm__ volatile("cld");
	return number;
}

/* ---- random instructions ---- */

/* Values that are often at the edge. */
static u64 random_value(void)
{
	static const u64 edge[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, ~0ull,
				    0x7fffffffffffffff, 0x8000000000000000 };

	if (random64() % 3)
		return random64() >> (random64() & 63);
	return edge[random64() % ARRAY_SIZE(edge)];
}

enum { IMM8 = 1, IMMZ = 2, NO16 = 4 };

/* Instruction forms with one ModRM memory operand: prefix, map, opcodes first..last, reg field (-1: any). */
struct form {
	const char *name;
	u8 prefix, map;
	u8 first, last;
	s8 reg;
	u8 flags;
};

static const struct form forms[] = {
	{ "or", 0, 0, 0x08, 0x0b, -1, 0 }, { "adc", 0, 0, 0x10, 0x13, -1, 0 }, { "sbb", 0, 0, 0x18, 0x1b, -1, 0 },
	{ "and", 0, 0, 0x20, 0x23, -1, 0 }, { "sub", 0, 0, 0x28, 0x2b, -1, 0 }, { "xor", 0, 0, 0x30, 0x33, -1, 0 },
	{ "cmp", 0, 0, 0x38, 0x3b, -1, 0 }, { "add", 0, 0, 0x00, 0x03, -1, 0 },
	{ "movsxd", 0, 0, 0x63, 0, -1, 0 }, { "imul imm", 0, 0, 0x69, 0, -1, IMMZ }, { "imul imm8", 0, 0, 0x6b, 0, -1, IMM8 },
	{ "group 1 imm8", 0, 0, 0x80, 0, -1, IMM8 }, { "group 1 imm", 0, 0, 0x81, 0, -1, IMMZ },
	{ "group 1 sign", 0, 0, 0x83, 0, -1, IMM8 },
	{ "test", 0, 0, 0x84, 0x85, -1, 0 }, { "xchg", 0, 0, 0x86, 0x87, -1, 0 }, { "mov", 0, 0, 0x88, 0x8b, -1, 0 },
	{ "shift imm8", 0, 0, 0xc0, 0xc1, -1, IMM8 }, { "shift 1", 0, 0, 0xd0, 0xd1, -1, 0 },
	{ "shift cl", 0, 0, 0xd2, 0xd3, -1, 0 }, { "mov m8,imm", 0, 0, 0xc6, 0, 0, IMM8 }, { "mov imm", 0, 0, 0xc7, 0, 0, IMMZ },
	{ "test m8,imm", 0, 0, 0xf6, 0, 0, IMM8 }, { "test imm", 0, 0, 0xf7, 0, 0, IMMZ },
	{ "not", 0, 0, 0xf6, 0xf7, 2, 0 }, { "neg", 0, 0, 0xf6, 0xf7, 3, 0 }, { "mul", 0, 0, 0xf6, 0xf7, 4, 0 },
	{ "imul", 0, 0, 0xf6, 0xf7, 5, 0 }, { "div", 0, 0, 0xf6, 0xf7, 6, 0 }, { "idiv", 0, 0, 0xf6, 0xf7, 7, 0 },
	{ "inc", 0, 0, 0xfe, 0xff, 0, 0 }, { "dec", 0, 0, 0xfe, 0xff, 1, 0 },
	{ "cmov", 0, 1, 0x40, 0x4f, -1, 0 }, { "setcc", 0, 1, 0x90, 0x9f, -1, 0 },
	{ "bt", 0, 1, 0xa3, 0, -1, 0 }, { "bts", 0, 1, 0xab, 0, -1, 0 }, { "btr", 0, 1, 0xb3, 0, -1, 0 },
	{ "btc", 0, 1, 0xbb, 0, -1, 0 }, { "bt imm", 0, 1, 0xba, 0, 4, IMM8 }, { "bts imm", 0, 1, 0xba, 0, 5, IMM8 },
	{ "btr imm", 0, 1, 0xba, 0, 6, IMM8 }, { "btc imm", 0, 1, 0xba, 0, 7, IMM8 },
	{ "shld imm", 0, 1, 0xa4, 0, -1, IMM8 }, { "shld cl", 0, 1, 0xa5, 0, -1, 0 },
	{ "shrd imm", 0, 1, 0xac, 0, -1, IMM8 }, { "shrd cl", 0, 1, 0xad, 0, -1, 0 },
	{ "imul r,m", 0, 1, 0xaf, 0, -1, 0 }, { "cmpxchg", 0, 1, 0xb0, 0xb1, -1, 0 }, { "movzx", 0, 1, 0xb6, 0xb7, -1, 0 },
	{ "movsx", 0, 1, 0xbe, 0xbf, -1, 0 }, { "bsf", 0, 1, 0xbc, 0, -1, 0 }, { "bsr", 0, 1, 0xbd, 0, -1, 0 },
	{ "popcnt", 0xf3, 1, 0xb8, 0, -1, 0 }, { "tzcnt", 0xf3, 1, 0xbc, 0, -1, 0 }, { "lzcnt", 0xf3, 1, 0xbd, 0, -1, 0 },
	{ "xadd", 0, 1, 0xc0, 0xc1, -1, 0 }, { "movnti", 0, 1, 0xc3, 0, -1, NO16 },
	{ "cmpxchg8b/16b", 0, 1, 0xc7, 0, 1, NO16 }, { "movbe load", 0, 2, 0xf0, 0, -1, 0 }, { "movbe store", 0, 2, 0xf1, 0, -1, 0 },
};

#define BUFFER 256
static u8 *buffer, copy[BUFFER] __attribute__((aligned(64)));

/* Emits a ModRM memory operand that lands in the middle of the buffer; the base (and index) register is set. */
static size_t emit_operand(u8 *at, u8 *rex, int reg, struct native *s)
{
	static const u8 bases[] = { RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
	int base = bases[random64() % ARRAY_SIZE(bases)], index = bases[random64() % ARRAY_SIZE(bases)];
	int scale = (int)(random64() & 3);
	bool sib = (random64() & 1) || (base & 7) == 4;
	s32 disp = (s32)(random64() % 200) - 100;
	u64 target = (u64)(uintptr_t)buffer + 112 + random64() % 16, scaled = 0;
	bool wide_disp = random64() & 1;
	size_t n = 0;

	*rex |= (u8)((reg >> 3 & 1) << 2 | (base >> 3 & 1));
	at[n++] = (u8)((wide_disp ? 0x80 : 0x40) | (reg & 7) << 3 | (sib ? 4 : base & 7));
	if (sib) {
		bool has_index = index != base && (random64() & 1);

		at[n++] = (u8)(scale << 6 | (has_index ? index & 7 : 4) << 3 | (base & 7));
		if (has_index) {
			*rex |= (u8)((index >> 3 & 1) << 1);
			s->gpr[index] = random64() & 0xffff;
			scaled = s->gpr[index] << scale;
		}
	}
	s->gpr[base] = target - (u64)(s64)disp - scaled;
	memcpy(at + n, &disp, 4);
	return n + (wide_disp ? 4 : 1);
}

static size_t emit_form(u8 *bytes, const struct form *f, struct native *s)
{
	size_t n = 0, at_rex, operand;
	int reg = f->reg >= 0 ? f->reg : (int)(random64() & 15);
	u8 rex = 0, modrm[8], op = (u8)(f->first + (f->last ? random64() % (u64)(f->last - f->first + 1) : 0));
	bool small = !(f->flags & NO16) && !(random64() & 3), big = !small && (random64() & 1);

	/* Group 1 and the shifts: the reg field is the operation; nothing with RSP is changed. */
	if ((op >= 0x80 && op <= 0x83 && !f->map) || (!f->map && (op & 0xec) == 0xc0) || (!f->map && op >= 0xd0 && op <= 0xd3))
		reg &= 7;
	else if (f->reg < 0 && reg == RSP)
		reg = RBX;
	operand = emit_operand(modrm, &rex, reg, s);
	if (small)
		bytes[n++] = 0x66;
	if (f->prefix)
		bytes[n++] = f->prefix;
	at_rex = n;
	if (big)
		rex |= 8;
	/* A byte register 4 without REX is AH; RSP's low byte stays out of it. */
	if (rex || (random64() & 1))
		bytes[n++] = 0;
	if (n > at_rex)
		bytes[at_rex] = 0x40 | rex;
	if (n > at_rex && f->reg < 0 && reg == RSP)
		bytes[at_rex] |= 4;
	if (f->map)
		bytes[n++] = 0x0f;
	if (f->map == 2)
		bytes[n++] = 0x38;
	bytes[n++] = op;
	memcpy(bytes + n, modrm, operand);
	n += operand;
	if (f->flags & (IMM8 | IMMZ)) {
		u64 imm = random_value();
		size_t size = f->flags & IMM8 ? 1 : small ? 2 : 4;

		memcpy(bytes + n, &imm, size);
		n += size;
	}
	return n;
}

static void random_registers(struct native *s)
{
	for (int i = 0; i < 16; i++)
		s->gpr[i] = random_value();
	s->gpr[RSP] = 0;
	s->flags = (random64() & FLAGS_STATUS) | RF_FIXED | RF_IF;
}

static void dump(const u8 *bytes, size_t n, const char *name, const char *what)
{
	char text[64] = "";

	for (size_t i = 0; i < n; i++)
		sprintf(text + i * 3, "%02x ", bytes[i]);
	CHECK(false, "%s (%s): %s", name, text, what);
}

static void compare(const u8 *bytes, size_t n, const char *name, struct native *s)
{
	struct native start = *s;
	struct insn in;
	int result, number;

	guest_user(true);
	for (size_t i = 0; i < BUFFER; i += 8) {
		u64 v = random_value();

		memcpy(buffer + i, &v, 8);
	}
	/* Half of the compare-and-exchange should succeed. */
	if (random64() & 1)
		memcpy(buffer + 112 + random64() % 16, &s->gpr[RAX], 8);
	memcpy(copy, buffer, BUFFER);
	window_at = buffer;
	window_to = copy;
	window_size = BUFFER;
	memcpy(cpu.gpr, s->gpr, sizeof(cpu.gpr));
	cpu.rflags = s->flags;
	if (insn_decode(&in, bytes, n, MODE_64) || in.len != n) {
		dump(bytes, n, name, "not decoded");
		return;
	}
	do {
		result = sys_execute_memory(&cpu, &in);
	} while (result == SYS_AGAIN);
	number = run_natively(s, bytes, n);
	if (result < 0) {
		dump(bytes, n, name, "not covered");
	} else if (number || result == SYS_FAULT) {
		int wanted = result != SYS_FAULT ? 0 : cpu.exc.vector == VEC_DE ? SIGFPE : SIGSEGV;

		if (number != wanted)
			dump(bytes, n, name, number ? "signal, but no fault" : "fault, but no signal");
		*s = start;
	} else {
		if ((cpu.rflags ^ s->flags) & (FLAGS_STATUS | RF_DF))
			dump(bytes, n, name, "flags differ");
		if (memcmp(cpu.gpr, s->gpr, sizeof(cpu.gpr)))
			dump(bytes, n, name, "registers differ");
		if (memcmp(copy, buffer, BUFFER))
			dump(bytes, n, name, "memory differs");
		if (cpu.rip != CODE + n)
			dump(bytes, n, name, "wrong RIP");
	}
}

static const struct form *tested;

static void test_form(void)
{
	for (int i = 0; i < 3000 && !failure[0]; i++) {
		u8 bytes[24];
		struct native s;
		size_t n;

		random_registers(&s);
		n = emit_form(bytes, tested, &s);
		/* A bit string with a register reaches far: keep it inside the buffer. */
		if (tested->map == 1 && tested->reg < 0 && (tested->first & 0xe7) == 0xa3) {
			struct insn in;
			u64 target;

			if (insn_decode(&in, bytes, n, MODE_64))
				continue;
			if (in.reg == in.base || in.reg == in.index)
				continue;
			target = random64() % 400 - 200;
			s.gpr[in.reg] = in.osize == 2 ? (s.gpr[in.reg] & ~0xffffull) | (target & 0xffff) :
				in.osize == 4 ? (s.gpr[in.reg] & ~0xffffffffull) | (target & 0xffffffff) : target;
		}
		/* Quotients that fit, often. */
		if (tested->reg >= 6 && !tested->map && (random64() & 1)) {
			struct insn in;

			if (!insn_decode(&in, bytes, n, MODE_64) && in.base != RDX && in.index != RDX)
				s.gpr[RDX] = random64() & 1 ? 0 : ~0ull;
		}
		compare(bytes, n, tested->name, &s);
	}
}

static u8 string_op;

static void test_string(void)
{
	for (int i = 0; i < 3000 && !failure[0]; i++) {
		u8 bytes[8];
		struct native s;
		size_t n = 0;
		u64 size_prefix = random64() & 3;
		u8 rep = (u8)(random64() % 3);

		random_registers(&s);
		if (size_prefix == 1)
			bytes[n++] = 0x66;
		if (rep)
			bytes[n++] = rep == 1 ? 0xf3 : 0xf2;
		if (size_prefix >= 2)
			bytes[n++] = size_prefix == 2 ? 0x48 : 0x40;
		bytes[n++] = string_op | (random64() & 1);
		s.gpr[RSI] = (u64)(uintptr_t)buffer + 100 + random64() % 50;
		s.gpr[RDI] = (u64)(uintptr_t)buffer + 100 + random64() % 50;
		s.gpr[RCX] = random64() % 12;
		if (random64() & 1)
			s.flags |= RF_DF;
		compare(bytes, n, "string", &s);
	}
}

static void test_xlat_moffs(void)
{
	for (int i = 0; i < 2000 && !failure[0]; i++) {
		u8 bytes[16];
		struct native s;
		u64 address = (u64)(uintptr_t)buffer + 100;
		size_t n = 0;

		random_registers(&s);
		s.gpr[RBX] = (u64)(uintptr_t)buffer - 20;
		s.gpr[RAX] = (s.gpr[RAX] & ~0xffull) | (50 + random64() % 100);
		compare((const u8 *)"\xd7", 1, "xlat", &s);
		random_registers(&s);
		if (random64() & 1)
			bytes[n++] = random64() & 1 ? 0x48 : 0x66;
		bytes[n++] = 0xa0 | (random64() & 3);
		memcpy(bytes + n, &address, 8);
		compare(bytes, n + 8, "moffs", &s);
	}
}

/* A read-modify-write of a page that cannot be written, and a fault in the middle of a repeated move. */
static void test_faults(void)
{
	guest_user(true);
	cpu.gpr[RAX] = READ_ONLY;
	FAULTS(VEC_PF, PF_P | PF_W | PF_U, 0x01, 0x08);
	FAULTS(VEC_PF, PF_P | PF_W | PF_U, 0x87, 0x08);
	FAULTS(VEC_PF, PF_P | PF_W | PF_U, 0x0f, 0xb1, 0x08);
	FAULTS(VEC_PF, PF_P | PF_W | PF_U, 0xc1, 0x20, 0x05);
	cpu.rflags |= RF_RF;
	cpu.sti_shadow = 1;
	DOES(0x03, 0x08);
	CHECK_EQ(cpu.rflags & RF_RF, 0);
	CHECK_EQ(cpu.sti_shadow, 0);
	cpu.gpr[RAX] = 0x800000000000;
	FAULTS(VEC_GP, 0, 0x8b, 0x08);
	cpu.gpr[RBP] = 0x7ffffffffffe;
	FAULTS(VEC_SS, 0, 0x8b, 0x4d, 0x00);
	cpu.gpr[RSI] = DATA;
	cpu.gpr[RDI] = ABSENT - 5;
	cpu.gpr[RCX] = 20;
	CHECK_EQ(EXEC(0xf3, 0xa4), SYS_FAULT);
	CHECK_EQ(cpu.gpr[RCX], 15);
	CHECK_EQ(cpu.gpr[RDI], ABSENT);
	CHECK_EQ(cpu.rip, CODE + 2);
	CHECK_EQ(cpu.exc.cr2, ABSENT);
	cpu.gpr[RAX] = DATA + 8;
	FAULTS(VEC_GP, 0, 0x48, 0x0f, 0xc7, 0x08); /* cmpxchg16b, misaligned */
	CHECK_EQ(exec("\x0f\x58\x00", 3), (enum sys_result)-1);
	/* Operands that are named and never accessed. */
	cpu.gpr[RAX] = 0;
	DOES(0x0f, 0x1f, 0x44, 0x00, 0x00);
	DOES(0x0f, 0x18, 0x08);
	DOES(0x0f, 0x0d, 0x08);
	DOES(0x48, 0x8d, 0x48, 0x07);
	CHECK_EQ(cpu.gpr[RCX], 7);
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGFPE, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	code_page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	buffer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (code_page == MAP_FAILED || buffer == MAP_FAILED)
		return 1;
	/* Away from code, whose cache line a store would throw out. */
	buffer += 1024;
	sys_cpuid_init(false);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		tested = &forms[i];
		run_test(tested->name, test_form);
	}
	static const struct { const char *name; u8 op; } strings[] = {
		{ "movs", 0xa4 }, { "cmps", 0xa6 }, { "stos", 0xaa }, { "lods", 0xac }, { "scas", 0xae }
	};
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		string_op = strings[i].op;
		run_test(strings[i].name, test_string);
	}
	run_test("xlat and moffs", test_xlat_moffs);
	run_test("faults", test_faults);
	return tests_failed;
}
