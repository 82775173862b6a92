/* SPDX-License-Identifier: MIT
 * Plain integer instructions, executed through vmem_*(): with a memory operand for MMIO, watchpoints and
 * pages that cannot be mapped; all of them for the interpreter.
 *
 * Arithmetic is done by the same instruction of the host on registers, so that results and flags, the
 * undefined ones included, are the processor's own.  Read-modify-write is a read and a write of the same bytes:
 * the accelerator makes them one, or lets the write fail and the instruction begin again.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.  Source: Intel SDM volume 2. */
#include "x86/system_internal.h"

/* Not a result of sys_execute(): this form is not covered. */
#define UNCOVERED (-1)

/* Runs `op` with the status flags *f and stores them back.  The stack pointer steps over the red zone. */
#define WITH_FLAGS(op)                                                   \
	"lea -128(%%rsp), %%rsp\n\tpush %[f]\n\tpopfq\n\t" op            \
	"\n\tpushfq\n\tpop %[f]\n\tlea 128(%%rsp), %%rsp"

#define SIZED(size, b, w, l, q)                                          \
	do {                                                             \
		switch (size) {                                          \
		case 1: b; break;                                        \
		case 2: w; break;                                        \
		case 4: l; break;                                        \
		default: q; break;                                       \
		}                                                        \
	} while (0)

#define RUN1(op) __asm__ volatile(WITH_FLAGS(op) : [a] "+r"(a), [f] "+r"(*f) : : "cc", "memory")
#define RUN2(op) __asm__ volatile(WITH_FLAGS(op) : [a] "+r"(a), [f] "+r"(*f) : [b] "r"(b) : "cc", "memory")
#define RUN3(op) \
	__asm__ volatile(WITH_FLAGS(op) : [a] "+r"(a), [f] "+r"(*f) : [b] "r"(b), "c"(count) : "cc", "memory")

#define UNARY(name)                                                                      \
	static u64 do_##name(int size, u64 a, u64 *f)                                    \
	{                                                                                \
		SIZED(size, RUN1(#name "b %b[a]"), RUN1(#name "w %w[a]"),                \
		      RUN1(#name "l %k[a]"), RUN1(#name "q %q[a]"));                     \
		return a & size_mask(size);                                              \
	}
#define BINARY(name)                                                                     \
	static u64 do_##name(int size, u64 a, u64 b, u64 *f)                             \
	{                                                                                \
		SIZED(size, RUN2(#name "b %b[b], %b[a]"), RUN2(#name "w %w[b], %w[a]"),  \
		      RUN2(#name "l %k[b], %k[a]"), RUN2(#name "q %q[b], %q[a]"));       \
		return a & size_mask(size);                                              \
	}
/* No byte form. */
#define BINARY_WIDE(name)                                                                \
	static u64 do_##name(int size, u64 a, u64 b, u64 *f)                             \
	{                                                                                \
		SIZED(size, (void)0, RUN2(#name "w %w[b], %w[a]"),                       \
		      RUN2(#name "l %k[b], %k[a]"), RUN2(#name "q %q[b], %q[a]"));       \
		return a & size_mask(size);                                              \
	}
#define SHIFT(name)                                                                      \
	static u64 do_##name(int size, u64 a, u64 b, u8 count, u64 *f)                   \
	{                                                                                \
		SIZED(size, RUN3(#name "b %%cl, %b[a]"), RUN3(#name "w %%cl, %w[a]"),    \
		      RUN3(#name "l %%cl, %k[a]"), RUN3(#name "q %%cl, %q[a]"));         \
		return a & size_mask(size);                                              \
	}
#define DOUBLE_SHIFT(name)                                                               \
	static u64 do_##name(int size, u64 a, u64 b, u8 count, u64 *f)                   \
	{                                                                                \
		SIZED(size, (void)0, RUN3(#name "w %%cl, %w[b], %w[a]"),                 \
		      RUN3(#name "l %%cl, %k[b], %k[a]"), RUN3(#name "q %%cl, %q[b], %q[a]")); \
		return a & size_mask(size);                                              \
	}

typedef u64 unary_fn(int size, u64 a, u64 *f);
typedef u64 binary_fn(int size, u64 a, u64 b, u64 *f);
typedef u64 shift_fn(int size, u64 a, u64 b, u8 count, u64 *f);

UNARY(inc) UNARY(dec) UNARY(neg)
BINARY(add) BINARY(or) BINARY(adc) BINARY(sbb) BINARY(and) BINARY(sub) BINARY(xor) BINARY(cmp) BINARY(test)
BINARY_WIDE(bt) BINARY_WIDE(bts) BINARY_WIDE(btr) BINARY_WIDE(btc) BINARY_WIDE(imul)
BINARY_WIDE(bsf) BINARY_WIDE(bsr) BINARY_WIDE(tzcnt) BINARY_WIDE(lzcnt) BINARY_WIDE(popcnt)
SHIFT(rol) SHIFT(ror) SHIFT(rcl) SHIFT(rcr) SHIFT(shl) SHIFT(shr) SHIFT(sar)
DOUBLE_SHIFT(shld) DOUBLE_SHIFT(shrd)

/* By the opcode bits 3-5, or the ModRM reg field of group 1. */
static binary_fn *const alu_ops[8] = { do_add, do_or, do_adc, do_sbb, do_and, do_sub, do_xor, do_cmp };
static shift_fn *const shift_ops[8] = { do_rol, do_ror, do_rcl, do_rcr, do_shl, do_shr, do_shl, do_sar };
/* By the ModRM reg field of group 8, or the opcode bits 3-5. */
static binary_fn *const bit_ops[4] = { do_bt, do_bts, do_btr, do_btc };

static u64 flags_in(const struct cpu *c) { return (c->rflags & FLAGS_STATUS) | RF_FIXED | RF_IF; }
static void flags_out(struct cpu *c, u64 f) { c->rflags = (c->rflags & ~(u64)FLAGS_STATUS) | (f & FLAGS_STATUS); }

/* Operand size of the forms that are not bytes. */
static int wide(const struct cpu *c, const struct insn *in)
{
	if (in->rex & 8)
		return 8;
	if (cpu_is_64(c))
		return in->opsize_prefix ? 2 : 4;
	return !(c->seg[SEG_CS].attr & ATTR_DB) == !in->opsize_prefix ? 2 : 4;
}

/* Where bit 0 of the opcode chooses between bytes and the wide size. */
static int width(const struct cpu *c, const struct insn *in) { return in->op & 1 ? wide(c, in) : 1; }

/* memory = fn(memory, b), with flags; CMP and TEST and BT store nothing. */
static int modify(struct cpu *c, const struct insn *in, int size, binary_fn *fn, u64 b)
{
	u64 a, f = flags_in(c), result;

	if (sys_rm_read(c, in, size, &a))
		return SYS_FAULT;
	result = fn(size, a, b & size_mask(size), &f);
	if (fn != do_cmp && fn != do_test && fn != do_bt && sys_rm_write(c, in, size, result))
		return SYS_FAULT;
	flags_out(c, f);
	return sys_done(c, in);
}

/* register = fn(register, memory), with flags. */
static int combine(struct cpu *c, const struct insn *in, int size, binary_fn *fn)
{
	u64 b, f = flags_in(c), result;

	if (sys_rm_read(c, in, size, &b))
		return SYS_FAULT;
	result = fn(size, sys_reg_read(c, in, in->reg, size), b, &f);
	flags_out(c, f);
	/* BSF and BSR of 0 leave the register. */
	if (fn != do_cmp && !((fn == do_bsf || fn == do_bsr) && (f & FLAG_ZF)))
		sys_reg_write(c, in, in->reg, size, result);
	return sys_done(c, in);
}

static int store(struct cpu *c, const struct insn *in, int size, u64 value)
{
	return sys_rm_write(c, in, size, value) ? SYS_FAULT : sys_done(c, in);
}

/* register = memory, extended from `from` bytes to `to`. */
static int load(struct cpu *c, const struct insn *in, int from, int to, bool sign)
{
	u64 value;
	int shift = 64 - from * 8;

	if (sys_rm_read(c, in, from, &value))
		return SYS_FAULT;
	if (sign)
		value = (u64)((s64)(value << shift) >> shift);
	sys_reg_write(c, in, in->reg, to, value);
	return sys_done(c, in);
}

static int run_unary(struct cpu *c, const struct insn *in, int size, unary_fn *fn)
{
	u64 a, f = flags_in(c);

	if (sys_rm_read(c, in, size, &a))
		return SYS_FAULT;
	a = fn ? fn(size, a, &f) : ~a;
	if (sys_rm_write(c, in, size, a))
		return SYS_FAULT;
	flags_out(c, f);
	return sys_done(c, in);
}

static int run_shift(struct cpu *c, const struct insn *in, int size, shift_fn *fn, u64 b, u8 count)
{
	u64 a, f = flags_in(c);

	if (sys_rm_read(c, in, size, &a))
		return SYS_FAULT;
	a = fn(size, a, b, count, &f);
	if (sys_rm_write(c, in, size, a))
		return SYS_FAULT;
	flags_out(c, f);
	return sys_done(c, in);
}

static int run_xchg(struct cpu *c, const struct insn *in, int size)
{
	u64 old;

	if (sys_rm_read(c, in, size, &old) || sys_rm_write(c, in, size, sys_reg_read(c, in, in->reg, size)))
		return SYS_FAULT;
	sys_reg_write(c, in, in->reg, size, old);
	return sys_done(c, in);
}

static int run_xadd(struct cpu *c, const struct insn *in, int size)
{
	u64 old, f = flags_in(c), sum;

	if (sys_rm_read(c, in, size, &old))
		return SYS_FAULT;
	sum = do_add(size, old, sys_reg_read(c, in, in->reg, size), &f);
	if (!in->has_mem) /* the sum wins where both are one register */
		sys_reg_write(c, in, in->reg, size, old);
	if (sys_rm_write(c, in, size, sum))
		return SYS_FAULT;
	if (in->has_mem)
		sys_reg_write(c, in, in->reg, size, old);
	flags_out(c, f);
	return sys_done(c, in);
}

static int run_cmpxchg(struct cpu *c, const struct insn *in, int size)
{
	u64 old, f = flags_in(c), accumulator = c->gpr[RAX] & size_mask(size);

	if (sys_rm_read(c, in, size, &old))
		return SYS_FAULT;
	do_cmp(size, accumulator, old, &f);
	/* Memory is written in either case, so that a read-only page faults. */
	if (sys_rm_write(c, in, size, f & FLAG_ZF ? sys_reg_read(c, in, in->reg, size) : old))
		return SYS_FAULT;
	if (!(f & FLAG_ZF)) {
		if (size == 4)
			c->gpr[RAX] = old;
		else
			c->gpr[RAX] = (c->gpr[RAX] & ~size_mask(size)) | old;
	}
	flags_out(c, f);
	return sys_done(c, in);
}

/* CMPXCHG8B and CMPXCHG16B: only ZF changes; the latter wants alignment. */
static int run_cmpxchg_pair(struct cpu *c, const struct insn *in)
{
	int half = in->rex & 8 ? 8 : 4, seg = sys_operand_segment(in);
	u64 offset = sys_operand_offset(c, in), mask = size_mask(half), old[2] = { 0, 0 }, new[2];
	u8 bytes[16];
	bool equal;

	if (!in->has_mem)
		return UNCOVERED;
	if (half == 8 && (sys_operand_address(c, in).v & 15))
		return sys_raise_error(c, VEC_GP, 0);
	if (sys_read_for(c, seg, offset, bytes, 2 * (size_t)half, VM_WRITE))
		return SYS_FAULT;
	memcpy(&old[0], bytes, (size_t)half);
	memcpy(&old[1], bytes + half, (size_t)half);
	equal = old[0] == (c->gpr[RAX] & mask) && old[1] == (c->gpr[RDX] & mask);
	new[0] = equal ? c->gpr[RBX] : old[0];
	new[1] = equal ? c->gpr[RCX] : old[1];
	memcpy(bytes, &new[0], (size_t)half);
	memcpy(bytes + half, &new[1], (size_t)half);
	if (sys_write(c, seg, offset, bytes, 2 * (size_t)half))
		return SYS_FAULT;
	c->rflags = equal ? c->rflags | FLAG_ZF : c->rflags & ~(u64)FLAG_ZF;
	if (!equal) {
		c->gpr[RAX] = old[0];
		c->gpr[RDX] = old[1];
	}
	return sys_done(c, in);
}

/* BT, BTS, BTR, BTC with a register: the bit string reaches beyond the operand in both directions. */
static int run_bit_string(struct cpu *c, const struct insn *in, int size, binary_fn *fn)
{
	int seg = sys_operand_segment(in), unused = 64 - size * 8;
	s64 bit = (s64)(sys_reg_read(c, in, in->reg, size) << unused) >> unused;
	int log2 = size == 2 ? 4 : size == 4 ? 5 : 6;
	u64 offset = (sys_operand_offset(c, in) + (u64)((bit >> log2) * size)) & size_mask(in->asize);
	u64 a = 0, f = flags_in(c);

	if (!in->has_mem)
		return modify(c, in, size, fn, (u64)bit & (u64)(size * 8 - 1));
	if (sys_read_for(c, seg, offset, &a, (size_t)size, fn == do_bt ? VM_READ : VM_WRITE))
		return SYS_FAULT;
	a = fn(size, a, (u64)bit & (u64)(size * 8 - 1), &f);
	if (fn != do_bt && sys_write(c, seg, offset, &a, (size_t)size))
		return SYS_FAULT;
	flags_out(c, f);
	return sys_done(c, in);
}

/* ---- multiplication and division of the accumulator ---- */

#define RUN_AD(op) \
	__asm__ volatile(WITH_FLAGS(op) : "+a"(lo), "+d"(hi), [f] "+r"(*f) : [b] "r"(b) : "cc", "memory")
#define ACCUMULATE(name)                                                                 \
	static void do_##name(int size, u64 *rax, u64 *rdx, u64 b, u64 *f)               \
	{                                                                                \
		u64 lo = *rax, hi = *rdx;                                                \
		SIZED(size, RUN_AD(#name "b %b[b]"), RUN_AD(#name "w %w[b]"),            \
		      RUN_AD(#name "l %k[b]"), RUN_AD(#name "q %q[b]"));                 \
		*rax = lo;                                                               \
		*rdx = hi;                                                               \
	}
typedef void accumulate_fn(int size, u64 *rax, u64 *rdx, u64 b, u64 *f);
static void do_imul1(int size, u64 *rax, u64 *rdx, u64 b, u64 *f);
ACCUMULATE(mul) ACCUMULATE(div) ACCUMULATE(idiv)

static void do_imul1(int size, u64 *rax, u64 *rdx, u64 b, u64 *f)
{
	u64 lo = *rax, hi = *rdx;

	SIZED(size, RUN_AD("imulb %b[b]"), RUN_AD("imulw %w[b]"), RUN_AD("imull %k[b]"), RUN_AD("imulq %q[b]"));
	*rax = lo;
	*rdx = hi;
}

/* Whether high:low / divisor overflows or divides by 0; the halves have `bits` bits. */
static bool division_overflows(int bits, u64 high, u64 low, u64 divisor, bool is_signed)
{
	u64 top = 1ull << (bits - 1), mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
	bool negative, divisor_negative;
	u64 quotient;

	if (!is_signed)
		return high >= divisor;
	if (!divisor)
		return true;
	negative = high & top;
	divisor_negative = divisor & top;
	if (negative) {
		low = -low & mask;
		high = (~high + !low) & mask;
	}
	if (divisor_negative)
		divisor = -divisor & mask;
	if (high >= divisor)
		return true;
	if (bits < 64)
		quotient = (high << bits | low) / divisor;
	else
		__asm__("divq %[d]" : "=a"(quotient), "+d"(high) : "0"(low), [d] "r"(divisor) : "cc");
	return negative != divisor_negative ? quotient > top : quotient >= top;
}

static int run_accumulate(struct cpu *c, const struct insn *in, int size)
{
	static accumulate_fn *const ops[4] = { do_mul, do_imul1, do_div, do_idiv };
	int form = in->reg & 3;
	u64 b, f = flags_in(c), rax = c->gpr[RAX], rdx = c->gpr[RDX], mask = size_mask(size);

	if (sys_rm_read(c, in, size, &b))
		return SYS_FAULT;
	if (form >= 2) {
		u64 high = size == 1 ? rax >> 8 & 0xff : rdx & mask;

		if (division_overflows(size * 8, high, rax & mask, b, form == 3))
			return sys_raise(c, VEC_DE);
	}
	ops[form](size, &rax, &rdx, b, &f);
	c->gpr[RAX] = rax;
	c->gpr[RDX] = rdx;
	flags_out(c, f);
	return sys_done(c, in);
}

/* ---- the opcode maps ---- */

static int run_group3(struct cpu *c, const struct insn *in)
{
	int size = width(c, in);

	switch (in->reg & 7) {
	case 0:
	case 1:
		return modify(c, in, size, do_test, (u64)in->imm);
	case 2:
		return run_unary(c, in, size, NULL);
	case 3:
		return run_unary(c, in, size, do_neg);
	default:
		return run_accumulate(c, in, size);
	}
}

static int run_one_byte(struct cpu *c, const struct insn *in)
{
	int size = width(c, in), reg = in->reg & 7;
	u8 op = in->op;

	if (op < 0x40 && (op & 7) < 4) {
		binary_fn *fn = alu_ops[op >> 3];

		return op & 2 ? combine(c, in, size, fn) : modify(c, in, size, fn, sys_reg_read(c, in, in->reg, size));
	}
	switch (op) {
	case 0x63:
		return cpu_is_64(c) ? load(c, in, MIN(wide(c, in), 4), wide(c, in), true) : UNCOVERED;
	case 0x69: case 0x6b: {
		u64 b, f = flags_in(c);

		size = wide(c, in);
		if (sys_rm_read(c, in, size, &b))
			return SYS_FAULT;
		b = do_imul(size, b, (u64)in->imm & size_mask(size), &f);
		sys_reg_write(c, in, in->reg, size, b);
		flags_out(c, f);
		return sys_done(c, in);
	}
	case 0x80: case 0x81: case 0x82: case 0x83:
		return modify(c, in, size, alu_ops[reg], (u64)in->imm);
	case 0x84: case 0x85:
		return modify(c, in, size, do_test, sys_reg_read(c, in, in->reg, size));
	case 0x86: case 0x87:
		return run_xchg(c, in, size);
	case 0x88: case 0x89:
		return store(c, in, size, sys_reg_read(c, in, in->reg, size));
	case 0x8a: case 0x8b:
		return load(c, in, size, size, false);
	case 0xc0: case 0xc1:
		return run_shift(c, in, size, shift_ops[reg], 0, (u8)in->imm);
	case 0xd0: case 0xd1:
		return run_shift(c, in, size, shift_ops[reg], 0, 1);
	case 0xd2: case 0xd3:
		return run_shift(c, in, size, shift_ops[reg], 0, (u8)c->gpr[RCX]);
	case 0xc6: case 0xc7:
		return reg ? UNCOVERED : store(c, in, size, (u64)in->imm);
	case 0xf6: case 0xf7:
		return run_group3(c, in);
	case 0xfe: case 0xff:
		return reg > 1 ? UNCOVERED : run_unary(c, in, size, reg ? do_dec : do_inc);
	default:
		return UNCOVERED;
	}
}

static int run_cmov(struct cpu *c, const struct insn *in)
{
	int size = wide(c, in);
	u64 value;

	if (sys_rm_read(c, in, size, &value))
		return SYS_FAULT;
	/* A 32-bit destination is zero-extended even where the condition fails. */
	if (!sys_condition(c, in->op & 15))
		value = sys_reg_read(c, in, in->reg, size);
	sys_reg_write(c, in, in->reg, size, value);
	return sys_done(c, in);
}

static int run_two_byte(struct cpu *c, const struct insn *in)
{
	int size = wide(c, in);
	u64 reg = sys_reg_read(c, in, in->reg, size);

	switch (in->op) {
	case 0x40 ... 0x4f:
		return run_cmov(c, in);
	case 0x90 ... 0x9f:
		return store(c, in, 1, sys_condition(c, in->op & 15));
	case 0xa3: case 0xab: case 0xb3: case 0xbb:
		return run_bit_string(c, in, size, bit_ops[in->op >> 3 & 3]);
	case 0xba:
		return (in->reg & 7) < 4 ? UNCOVERED :
			modify(c, in, size, bit_ops[in->reg & 3], (u64)in->imm & (u64)(size * 8 - 1));
	case 0xa4:
		return run_shift(c, in, size, do_shld, reg, (u8)in->imm);
	case 0xa5:
		return run_shift(c, in, size, do_shld, reg, (u8)c->gpr[RCX]);
	case 0xac:
		return run_shift(c, in, size, do_shrd, reg, (u8)in->imm);
	case 0xad:
		return run_shift(c, in, size, do_shrd, reg, (u8)c->gpr[RCX]);
	case 0xaf:
		return combine(c, in, size, do_imul);
	case 0xb0: case 0xb1:
		return run_cmpxchg(c, in, width(c, in));
	case 0xb6: case 0xb7:
		return load(c, in, in->op & 1 ? 2 : 1, size, false);
	case 0xbe: case 0xbf:
		return load(c, in, in->op & 1 ? 2 : 1, size, true);
	case 0xb8:
		return in->rep == 0xf3 ? combine(c, in, size, do_popcnt) : UNCOVERED;
	case 0xbc:
		return combine(c, in, size, in->rep == 0xf3 ? do_tzcnt : do_bsf);
	case 0xbd:
		return combine(c, in, size, in->rep == 0xf3 ? do_lzcnt : do_bsr);
	case 0xc0: case 0xc1:
		return run_xadd(c, in, width(c, in));
	case 0xc3:
		size = in->rex & 8 ? 8 : 4; /* MOVNTI has no 16-bit form */
		return in->opsize_prefix || in->rep ? UNCOVERED : store(c, in, size, sys_reg_read(c, in, in->reg, size));
	case 0xc7:
		return (in->reg & 7) == 1 ? run_cmpxchg_pair(c, in) : UNCOVERED;
	default:
		return UNCOVERED;
	}
}

static u64 swap_bytes(u64 value, int size)
{
	return __builtin_bswap64(value) >> (64 - size * 8);
}

/* MOVBE: F0 loads, F1 stores. */
static int run_movbe(struct cpu *c, const struct insn *in)
{
	int size = wide(c, in);
	u64 value;

	if (!in->has_mem || in->rep == 0xf2 || (in->op & 0xfe) != 0xf0)
		return UNCOVERED;
	if (in->op & 1)
		return store(c, in, size, swap_bytes(sys_reg_read(c, in, in->reg, size), size));
	if (sys_rm_read(c, in, size, &value))
		return SYS_FAULT;
	sys_reg_write(c, in, in->reg, size, swap_bytes(value, size));
	return sys_done(c, in);
}

/* ---- string instructions, XLAT, MOFFS ---- */

struct string_operands {
	int size, source_seg;
	u64 si, di;
};

static int string_element(struct cpu *c, const struct insn *in, const struct string_operands *s)
{
	size_t n = (size_t)s->size;
	u64 a = c->gpr[RAX] & size_mask(s->size), b = 0, f = flags_in(c);

	switch (in->klass) {
	case IC_MOVS:
		return sys_read(c, s->source_seg, s->si, &a, n) ? -1 : sys_write(c, SEG_ES, s->di, &a, n);
	case IC_STOS:
		return sys_write(c, SEG_ES, s->di, &a, n);
	case IC_LODS:
		b = 0;
		if (sys_read(c, s->source_seg, s->si, &b, n))
			return -1;
		if (s->size == 4)
			c->gpr[RAX] = b;
		else
			c->gpr[RAX] = (c->gpr[RAX] & ~size_mask(s->size)) | b;
		return 0;
	case IC_CMPS:
		a = 0;
		if (sys_read(c, s->source_seg, s->si, &a, n))
			return -1;
		break;
	}
	if (sys_read(c, SEG_ES, s->di, &b, n))
		return -1;
	do_cmp(s->size, a, b, &f);
	flags_out(c, f);
	return 0;
}

static int run_string(struct cpu *c, const struct insn *in)
{
	u64 amask = size_mask(in->asize), count = c->gpr[RCX] & amask, step;
	struct string_operands s = { .size = width(c, in), .source_seg = in->seg == SEG_NONE ? SEG_DS : in->seg,
				     .si = c->gpr[RSI] & amask, .di = c->gpr[RDI] & amask };
	bool compares = in->klass == IC_CMPS || in->klass == IC_SCAS;
	bool uses_si = in->klass == IC_MOVS || in->klass == IC_LODS || in->klass == IC_CMPS;

	if (in->rep && !count)
		return sys_done(c, in);
	if (string_element(c, in, &s))
		return SYS_FAULT;
	step = c->rflags & RF_DF ? -(u64)s.size : (u64)s.size;
	if (uses_si)
		sys_reg_write(c, in, RSI, in->asize, (s.si + step) & amask);
	if (in->klass != IC_LODS)
		sys_reg_write(c, in, RDI, in->asize, (s.di + step) & amask);
	if (!in->rep)
		return sys_done(c, in);
	sys_reg_write(c, in, RCX, in->asize, --count);
	if (!count || (compares && !(c->rflags & FLAG_ZF) == (in->rep == 0xf3)))
		return sys_done(c, in);
	return SYS_AGAIN;
}

static int run_moffs(struct cpu *c, const struct insn *in)
{
	int size = width(c, in), seg = in->seg == SEG_NONE ? SEG_DS : in->seg;
	u64 offset = (u64)in->disp & size_mask(in->asize), value = c->gpr[RAX];

	if (in->op & 2) {
		if (sys_write(c, seg, offset, &value, (size_t)size))
			return SYS_FAULT;
	} else {
		value = 0;
		if (sys_read(c, seg, offset, &value, (size_t)size))
			return SYS_FAULT;
		c->gpr[RAX] = size == 4 ? value : (c->gpr[RAX] & ~size_mask(size)) | value;
	}
	return sys_done(c, in);
}

static int run_xlat(struct cpu *c, const struct insn *in)
{
	u64 offset = (c->gpr[RBX] + (u8)c->gpr[RAX]) & size_mask(in->asize);
	u8 value;

	if (sys_read(c, in->seg == SEG_NONE ? SEG_DS : in->seg, offset, &value, 1))
		return SYS_FAULT;
	c->gpr[RAX] = (c->gpr[RAX] & ~0xffull) | value;
	return sys_done(c, in);
}

/* The 64-byte line that holds the linear address (APM volume 3, CLZERO): the segment counts before the rounding. */
static int run_clzero(struct cpu *c, const struct insn *in)
{
	static const u8 zero[64];
	int seg = in->seg == SEG_NONE ? SEG_DS : in->seg;
	u64 offset = c->gpr[RAX] & size_mask(in->asize);
	u64 base = seg == SEG_FS || seg == SEG_GS || !(c->seg[SEG_CS].attr & ATTR_L) ? c->seg[seg].base : 0;

	if (in->rep)
		return UNCOVERED;
	if (sys_write(c, seg, offset - ((base + offset) & 63), zero, sizeof zero))
		return SYS_FAULT;
	return sys_done(c, in);
}

/* ---- instructions without a ModRM operand ---- */

/* AL, AX, EAX, RAX or DL ...: the accumulator's upper half keeps, or loses, what register writes do to it. */
static int run_accumulator(struct cpu *c, const struct insn *in, binary_fn *fn)
{
	int size = width(c, in);
	u64 f = flags_in(c), result = fn(size, c->gpr[RAX] & size_mask(size), (u64)in->imm & size_mask(size), &f);

	flags_out(c, f);
	if (fn != do_cmp && fn != do_test)
		sys_reg_write(c, in, RAX, size, result);
	return sys_done(c, in);
}

/* 40-4F outside 64-bit mode. */
static int run_short_inc_dec(struct cpu *c, const struct insn *in)
{
	int size = wide(c, in), reg = in->op & 7;
	u64 f = flags_in(c), a = sys_reg_read(c, in, reg, size);

	a = in->op & 8 ? do_dec(size, a, &f) : do_inc(size, a, &f);
	sys_reg_write(c, in, reg, size, a);
	flags_out(c, f);
	return sys_done(c, in);
}

/* 90-97; 90 without REX.B is NOP or PAUSE. */
static int run_short_xchg(struct cpu *c, const struct insn *in)
{
	int size = wide(c, in), reg = (in->op & 7) | (in->rex & 1) << 3;
	u64 a = sys_reg_read(c, in, RAX, size), b = sys_reg_read(c, in, reg, size);

	if (reg != RAX) {
		sys_reg_write(c, in, RAX, size, b);
		sys_reg_write(c, in, reg, size, a);
	}
	return sys_done(c, in);
}

/* CBW, CWDE, CDQE, and CWD, CDQ, CQO. */
static int run_extend(struct cpu *c, const struct insn *in)
{
	int size = wide(c, in), shift = 64 - size * 8;
	s64 a = (s64)(c->gpr[RAX] << shift) >> shift;

	if (in->op & 1)
		sys_reg_write(c, in, RDX, size, (u64)(a >> 63));
	else
		sys_reg_write(c, in, RAX, size, (u64)((s64)(c->gpr[RAX] << (shift + size * 4)) >> (shift + size * 4)));
	return sys_done(c, in);
}

static int run_flag(struct cpu *c, const struct insn *in)
{
	static const struct { u8 op; u16 clear, set; } rows[] = {
		{ 0xf8, FLAG_CF, 0 }, { 0xf9, 0, FLAG_CF }, { 0xfc, FLAG_DF, 0 }, { 0xfd, 0, FLAG_DF },
	};

	if (in->op == 0xf5)
		c->rflags ^= FLAG_CF;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].op == in->op)
			c->rflags = (c->rflags & ~(u64)rows[i].clear) | rows[i].set;
	return sys_done(c, in);
}

#define AH_FLAGS (FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF | FLAG_CF)

static int run_ah(struct cpu *c, const struct insn *in)
{
	if (in->op == 0x9e)
		c->rflags = (c->rflags & ~(u64)AH_FLAGS) | (c->gpr[RAX] >> 8 & AH_FLAGS);
	else
		c->gpr[RAX] = (c->gpr[RAX] & ~0xff00ull) | ((c->rflags & AH_FLAGS) | RF_FIXED) << 8;
	return sys_done(c, in);
}

static int run_no_modrm(struct cpu *c, const struct insn *in)
{
	int size, reg = (in->op & 7) | (in->rex & 1) << 3;

	if (in->op < 0x40 && (in->op & 6) == 4)
		return run_accumulator(c, in, alu_ops[in->op >> 3]);
	switch (in->op) {
	case 0x40 ... 0x4f: return run_short_inc_dec(c, in);
	case 0x90 ... 0x97: return run_short_xchg(c, in);
	case 0x98: case 0x99: return run_extend(c, in);
	case 0x9e: case 0x9f: return run_ah(c, in);
	case 0xa8: case 0xa9: return run_accumulator(c, in, do_test);
	case 0xb0 ... 0xbf:
		size = in->op & 8 ? wide(c, in) : 1;
		sys_reg_write(c, in, reg, size, (u64)in->imm);
		return sys_done(c, in);
	case 0xf5: case 0xf8: case 0xf9: case 0xfc: case 0xfd: return run_flag(c, in);
	default: return UNCOVERED;
	}
}

static int run_lea(struct cpu *c, const struct insn *in)
{
	if (!in->has_mem)
		return UNCOVERED;
	sys_reg_write(c, in, in->reg, wide(c, in), sys_operand_offset(c, in));
	return sys_done(c, in);
}

/* A 16-bit BSWAP is undefined; processors give 0. */
static int run_bswap(struct cpu *c, const struct insn *in)
{
	int size = wide(c, in), reg = (in->op & 7) | (in->rex & 1) << 3;

	sys_reg_write(c, in, reg, size, size == 2 ? 0 : swap_bytes(sys_reg_read(c, in, reg, size), size));
	return sys_done(c, in);
}

/* NOPs with an operand, prefetches, fences, cache line flushes: memory is coherent and in order here. */
static bool has_no_effect(const struct insn *in)
{
	if (in->map != MAP_0F)
		return false;
	if (in->op == 0x0d || (in->op >= 0x18 && in->op <= 0x1f))
		return true;
	return in->op == 0xae && (in->has_mem ? (in->reg & 7) == 7 || ((in->reg & 7) == 6 && in->opsize_prefix) :
				  (in->reg & 7) >= 5 && !in->rep);
}

int sys_execute_plain(struct cpu *c, const struct insn *in)
{
	int result = UNCOVERED;

	/* LOCK belongs to an instruction that writes its memory operand. */
	if (in->enc != ENC_LEGACY || in->klass != IC_PLAIN || (in->lock && !(in->has_mem && in->mem_write)))
		return UNCOVERED;
	if (has_no_effect(in))
		result = sys_done(c, in);
	else if (in->map == MAP_1B && !in->off_modrm)
		result = run_no_modrm(c, in);
	else if (in->map == MAP_1B && in->op == 0x8d)
		result = run_lea(c, in);
	else if (in->map == MAP_1B)
		result = run_one_byte(c, in);
	else if (in->map == MAP_0F && in->op >= 0xc8 && in->op <= 0xcf)
		result = run_bswap(c, in);
	else if (in->map == MAP_0F && (in->has_mem || in->op != 0xc3))
		result = run_two_byte(c, in);
	else if (in->map == MAP_0F38)
		result = run_movbe(c, in);
	if (result == SYS_DONE) {
		c->rflags &= ~RF_RF;
		c->sti_shadow = 0;
	}
	return result;
}

static int execute(struct cpu *c, const struct insn *in)
{
	switch (in->klass) {
	case IC_MOVS: case IC_STOS: case IC_LODS: case IC_CMPS: case IC_SCAS:
		return run_string(c, in);
	case IC_MOFFS:
		return run_moffs(c, in);
	case IC_XLAT:
		return run_xlat(c, in);
	case IC_CLZERO:
		return run_clzero(c, in);
	case IC_PUSH: case IC_POP: case IC_CALL_IND: case IC_JMP_IND:
		return (int)sys_execute(c, in);
	case IC_PLAIN:
		break;
	default:
		return UNCOVERED;
	}
	if (!in->has_mem || in->enc != ENC_LEGACY)
		return UNCOVERED;
	/* Their operand is named and never accessed.  Kernels patch code with such NOPs, so that one may stand where another
	 * instruction was when C was called. */
	if (has_no_effect(in))
		return sys_done(c, in);
	if (in->map == MAP_1B && in->op == 0x8d)
		return run_lea(c, in);
	switch (in->map) {
	case MAP_1B: return run_one_byte(c, in);
	case MAP_0F: return run_two_byte(c, in);
	case MAP_0F38: return run_movbe(c, in);
	default: return UNCOVERED;
	}
}

int sys_execute_memory(struct cpu *c, const struct insn *in)
{
	int result = execute(c, in);

	if (result == SYS_DONE) {
		/* Both last for one instruction; POP SS and its like are not among these. */
		c->rflags &= ~RF_RF;
		c->sti_shadow = 0;
	}
	return result;
}

/* The same for the dispatch table. */
enum sys_result sys_do_memory(struct cpu *c, const struct insn *in)
{
	int result = execute(c, in);

	return result < 0 ? sys_raise(c, VEC_UD) : (enum sys_result)result;
}
