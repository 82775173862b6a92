/* SPDX-License-Identifier: MIT
 * x87 and SSE control instructions of interpreted code: what a kernel needs to find the unit, to set it up and to
 * switch it between programs.  Arithmetic is not here.
 *
 * The guest's x87 and vector state is live in the host's registers, so that each instruction is done by the
 * same instruction of the host on a buffer.  Whatever would fault there is found out before.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.  Source: Intel SDM volume 2; volume 3, tables 2-2 and 13-1. */
#include "x86/system_internal.h"
#include "x86/unit.h"

#define FSW_ES 0x80u                /* an unmasked exception waits */
#define FXSAVE_SIZE 512u
#define FXSAVE_32 288u              /* what 32-bit code sees: XMM8 to 15 stay as they are */
#define FXSAVE_MXCSR 24u
#define FXSAVE_MASK 28u
#define DEFAULT_MXCSR_MASK 0xffbfu

enum fpu_op { FPU_NONE, FPU_INIT, FPU_CLEAR, FPU_WAIT, FPU_LOAD_CONTROL, FPU_STORE_CONTROL, FPU_STORE_STATUS,
	      FPU_STATUS_AX, FPU_SAVE, FPU_RESTORE, FPU_LOAD_MXCSR, FPU_STORE_MXCSR };

#define WAITS 1u /* reports an exception that waits */

/* Map, opcode, ModRM byte (of register forms) or reg field with `memory`; what it is. */
static const struct {
	u8 map, op, modrm;
	bool memory;
	u8 is, flags;
} rows[] = {
	{ MAP_1B, 0x9b, 0, false, FPU_WAIT, WAITS },
	{ MAP_1B, 0xdb, 0xe3, false, FPU_INIT, 0 },
	{ MAP_1B, 0xdb, 0xe2, false, FPU_CLEAR, 0 },
	{ MAP_1B, 0xd9, 5, true, FPU_LOAD_CONTROL, WAITS },
	{ MAP_1B, 0xd9, 7, true, FPU_STORE_CONTROL, 0 },
	{ MAP_1B, 0xdd, 7, true, FPU_STORE_STATUS, 0 },
	{ MAP_1B, 0xdf, 0xe0, false, FPU_STATUS_AX, 0 },
	{ MAP_0F, 0xae, 0, true, FPU_SAVE, 0 },
	{ MAP_0F, 0xae, 1, true, FPU_RESTORE, 0 },
	{ MAP_0F, 0xae, 2, true, FPU_LOAD_MXCSR, 0 },
	{ MAP_0F, 0xae, 3, true, FPU_STORE_MXCSR, 0 },
};

static u16 status_word(void)
{
	u16 status;

	__asm__ volatile("fnstsw %0" : "=a"(status));
	return status;
}

/* The availability checks: 0, or -1 with the exception. */
static int check(struct cpu *c, const struct insn *in, u8 flags)
{
	int vector = unit_fault(c, in);

	if (vector >= 0) {
		sys_raise(c, (u8)vector);
		return -1;
	}
	if ((flags & WAITS) && (status_word() & FSW_ES)) {
		sys_raise(c, VEC_MF);
		return -1;
	}
	return 0;
}

static int fx_save(struct cpu *c, const struct insn *in)
{
	u8 buffer[FXSAVE_SIZE] __attribute__((aligned(16)));
	u64 at = sys_operand_offset(c, in);
	int seg = sys_operand_segment(in);

	if (sys_operand_address(c, in).v & 15)
		return sys_raise_error(c, VEC_GP, 0);
	__asm__ volatile("fxsave %0" : "=m"(buffer));
	if (sys_write(c, seg, at, buffer, cpu_is_64(c) ? FXSAVE_SIZE - 96 : FXSAVE_32))
		return SYS_FAULT;
	return sys_done(c, in);
}

static u32 mxcsr_mask(const u8 *saved)
{
	u32 mask;

	memcpy(&mask, saved + FXSAVE_MASK, 4);
	return mask ? mask : DEFAULT_MXCSR_MASK;
}

static int fx_restore(struct cpu *c, const struct insn *in)
{
	u8 buffer[FXSAVE_SIZE] __attribute__((aligned(16)));
	u32 mxcsr, mask;

	if (sys_operand_address(c, in).v & 15)
		return sys_raise_error(c, VEC_GP, 0);
	__asm__ volatile("fxsave %0" : "=m"(buffer));
	mask = mxcsr_mask(buffer);
	if (sys_read(c, sys_operand_segment(in), sys_operand_offset(c, in), buffer, cpu_is_64(c) ? FXSAVE_SIZE - 96 : FXSAVE_32))
		return SYS_FAULT;
	memcpy(&mxcsr, buffer + FXSAVE_MXCSR, 4);
	if (mxcsr & ~mask)
		return sys_raise_error(c, VEC_GP, 0);
	__asm__ volatile("fxrstor %0" : : "m"(buffer));
	return sys_done(c, in);
}

static int load_mxcsr(struct cpu *c, const struct insn *in)
{
	u8 buffer[FXSAVE_SIZE] __attribute__((aligned(16)));
	u32 mxcsr;

	__asm__ volatile("fxsave %0" : "=m"(buffer));
	if (sys_read(c, sys_operand_segment(in), sys_operand_offset(c, in), &mxcsr, 4))
		return SYS_FAULT;
	if (mxcsr & ~mxcsr_mask(buffer))
		return sys_raise_error(c, VEC_GP, 0);
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	return sys_done(c, in);
}

static int run(struct cpu *c, const struct insn *in, enum fpu_op is)
{
	u32 wide = 0;
	u16 word = 0;

	switch (is) {
	case FPU_INIT:
		__asm__ volatile("fninit");
		return sys_done(c, in);
	case FPU_CLEAR:
		__asm__ volatile("fnclex");
		return sys_done(c, in);
	case FPU_WAIT:
		return sys_done(c, in);
	case FPU_LOAD_CONTROL:
		if (sys_read(c, sys_operand_segment(in), sys_operand_offset(c, in), &word, 2))
			return SYS_FAULT;
		__asm__ volatile("fldcw %0" : : "m"(word));
		return sys_done(c, in);
	case FPU_STORE_CONTROL:
	case FPU_STORE_STATUS:
		__asm__ volatile("fnstcw %0" : "=m"(word));
		if (is == FPU_STORE_STATUS)
			word = status_word();
		if (sys_write(c, sys_operand_segment(in), sys_operand_offset(c, in), &word, 2))
			return SYS_FAULT;
		return sys_done(c, in);
	case FPU_STATUS_AX:
		sys_reg_write(c, in, RAX, 2, status_word());
		return sys_done(c, in);
	case FPU_SAVE:
		return fx_save(c, in);
	case FPU_RESTORE:
		return fx_restore(c, in);
	case FPU_LOAD_MXCSR:
		return load_mxcsr(c, in);
	case FPU_STORE_MXCSR:
		__asm__ volatile("stmxcsr %0" : "=m"(wide));
		if (sys_write(c, sys_operand_segment(in), sys_operand_offset(c, in), &wide, 4))
			return SYS_FAULT;
		return sys_done(c, in);
	case FPU_NONE:
		break;
	}
	return -1;
}

int sys_execute_fpu(struct cpu *c, const struct insn *in)
{
	int result;

	if (in->enc != ENC_LEGACY || in->lock || in->rep || (in->map == MAP_0F && in->opsize_prefix))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].map != in->map || rows[i].op != in->op || rows[i].memory != in->has_mem ||
		    rows[i].modrm != (in->has_mem ? in->reg & 7 : in->off_modrm ? in->modrm : 0))
			continue;
		if (check(c, in, rows[i].flags))
			return SYS_FAULT;
		result = run(c, in, rows[i].is);
		if (result == SYS_DONE) {
			c->rflags &= ~RF_RF;
			c->sti_shadow = 0;
		}
		return result;
	}
	return -1;
}
