/* SPDX-License-Identifier: MIT
 * Near control flow and the stack instructions, for the sites that translated code cannot run itself.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.  Source: Intel SDM volume 2. */
#include "x86/system_internal.h"

/* Near branches are 64 bits wide in 64-bit mode whatever the prefixes. */
static int branch_size(const struct cpu *c, const struct insn *in)
{
	return cpu_is_64(c) ? 8 : in->osize == 2 ? 2 : 4;
}

static int stack_size(const struct cpu *c, const struct insn *in)
{
	if (cpu_is_64(c))
		return in->opsize_prefix && !(in->rex & 8) ? 2 : 8;
	return in->osize == 2 ? 2 : 4;
}

static enum sys_result go(struct cpu *c, u64 rip)
{
	if (sys_check_rip(c, rip, c->seg[SEG_CS].attr, c->seg[SEG_CS].limit))
		return SYS_FAULT;
	c->rip = rip;
	return SYS_DONE;
}

enum sys_result sys_do_jump(struct cpu *c, const struct insn *in)
{
	u64 next = sys_next_rip(c, in);

	if (in->klass == IC_JCC && !sys_condition(c, in->op & 15)) {
		c->rip = next;
		return SYS_DONE;
	}
	return go(c, (next + (u64)in->imm) & size_mask(branch_size(c, in)));
}

enum sys_result sys_do_loop(struct cpu *c, const struct insn *in)
{
	u64 mask = size_mask(in->asize), next = sys_next_rip(c, in);
	u64 count = c->gpr[RCX] & mask;
	bool taken;

	if ((in->op & 3) == 3) {
		taken = !count;
	} else {
		bool zero = c->rflags & FLAG_ZF;

		count = (count - 1) & mask;
		taken = count && ((in->op & 3) == 2 || zero == (in->op & 1));
	}
	if (taken) {
		if (go(c, (next + (u64)in->imm) & size_mask(branch_size(c, in))) == SYS_FAULT)
			return SYS_FAULT;
	} else {
		c->rip = next;
	}
	if ((in->op & 3) != 3)
		sys_reg_write(c, in, RCX, in->asize, count);
	return SYS_DONE;
}

enum sys_result sys_do_call(struct cpu *c, const struct insn *in)
{
	int size = branch_size(c, in);
	u64 next = sys_next_rip(c, in), target, rsp = c->gpr[RSP];

	if (in->klass == IC_CALL)
		target = (next + (u64)in->imm) & size_mask(size);
	else if (sys_rm_read(c, in, size, &target))
		return SYS_FAULT;
	if (sys_check_rip(c, target, c->seg[SEG_CS].attr, c->seg[SEG_CS].limit) ||
	    sys_push(c, &rsp, next, size))
		return SYS_FAULT;
	sys_set_rsp(c, rsp);
	c->rip = target;
	return SYS_DONE;
}

enum sys_result sys_do_jump_indirect(struct cpu *c, const struct insn *in)
{
	u64 target;

	if (sys_rm_read(c, in, branch_size(c, in), &target))
		return SYS_FAULT;
	return go(c, target);
}

enum sys_result sys_do_ret(struct cpu *c, const struct insn *in)
{
	u64 target, rsp = c->gpr[RSP];

	if (sys_pop(c, &rsp, &target, branch_size(c, in)) || go(c, target) == SYS_FAULT)
		return SYS_FAULT;
	sys_set_rsp(c, rsp + (in->imm_size ? (u16)in->imm : 0));
	return SYS_DONE;
}

enum sys_result sys_do_push(struct cpu *c, const struct insn *in)
{
	int size = stack_size(c, in);
	u64 value, rsp = c->gpr[RSP];

	if (in->op == 0x68 || in->op == 0x6a)
		value = (u64)in->imm;
	else if (in->op == 0xff) {
		if (sys_rm_read(c, in, size, &value))
			return SYS_FAULT;
	} else {
		value = c->gpr[(in->op & 7) | (in->rex & 1) << 3];
	}
	if (sys_push(c, &rsp, value, size))
		return SYS_FAULT;
	sys_set_rsp(c, rsp);
	return sys_done(c, in);
}

enum sys_result sys_do_pop(struct cpu *c, const struct insn *in)
{
	int size = stack_size(c, in);
	u64 value, old = c->gpr[RSP], rsp = old;

	if (sys_pop(c, &rsp, &value, size))
		return SYS_FAULT;
	/* A destination address based on RSP is computed after the increment. */
	sys_set_rsp(c, rsp);
	if (in->op != 0x8f) {
		sys_reg_write(c, in, (in->op & 7) | (in->rex & 1) << 3, size, value);
	} else if (sys_rm_write(c, in, size, value)) {
		c->gpr[RSP] = old;
		return SYS_FAULT;
	}
	return sys_done(c, in);
}

enum sys_result sys_do_pusha(struct cpu *c, const struct insn *in)
{
	int size = stack_size(c, in);
	u64 top = (c->gpr[RSP] - 8 * (u64)size) & sys_stack_mask(c);
	u8 frame[32];

	for (int i = 0; i < 8; i++)
		memcpy(frame + (7 - i) * size, &c->gpr[i], (size_t)size);
	if (sys_write(c, SEG_SS, top, frame, 8 * (size_t)size))
		return SYS_FAULT;
	sys_set_rsp(c, top);
	return sys_done(c, in);
}

enum sys_result sys_do_popa(struct cpu *c, const struct insn *in)
{
	int size = stack_size(c, in);
	u64 top = c->gpr[RSP] & sys_stack_mask(c);
	u8 frame[32];

	if (sys_read(c, SEG_SS, top, frame, 8 * (size_t)size))
		return SYS_FAULT;
	for (int i = 0; i < 8; i++) {
		u64 value = 0;

		memcpy(&value, frame + (7 - i) * size, (size_t)size);
		if (i != RSP)
			sys_reg_write(c, in, i, size, value);
	}
	sys_set_rsp(c, top + 8 * (u64)size);
	return sys_done(c, in);
}

enum sys_result sys_do_pushf(struct cpu *c, const struct insn *in)
{
	u64 rsp = c->gpr[RSP];

	if (sys_push(c, &rsp, c->rflags & ~(RF_VM | RF_RF), stack_size(c, in)))
		return SYS_FAULT;
	sys_set_rsp(c, rsp);
	return sys_done(c, in);
}

/* SDM volume 2, POPF: IF needs CPL <= IOPL, IOPL needs CPL 0; RF, VIF and VIP are cleared, VM kept. */
enum sys_result sys_do_popf(struct cpu *c, const struct insn *in)
{
	int size = stack_size(c, in);
	u64 rsp = c->gpr[RSP], value;
	u64 change = FLAGS_STATUS | RF_TF | RF_DF | RF_NT;

	if (sys_pop(c, &rsp, &value, size))
		return SYS_FAULT;
	if (size > 2)
		change |= RF_AC | RF_ID | RF_VIF | RF_VIP;
	if (c->cpl <= cpu_iopl(c))
		change |= RF_IF;
	if (!c->cpl)
		change |= RF_IOPL;
	value &= ~(RF_VIF | RF_VIP);
	c->rflags = (c->rflags & ~(change | RF_RF)) | (value & change) | RF_FIXED;
	sys_set_rsp(c, rsp);
	return sys_done(c, in);
}

/* ENTER pushes the whole frame; each level beyond the first copies one frame pointer.  The stack
 * locations are written one by one, as the processor does, but RSP and RBP change last, once it is known
 * that the new top of the stack can be written. */
enum sys_result sys_do_enter(struct cpu *c, const struct insn *in)
{
	int size = stack_size(c, in), level = in->imm2 & 31;
	u64 mask = sys_stack_mask(c), rsp = c->gpr[RSP], rbp = c->gpr[RBP], frame, top, unused;
	gva_t at;

	if (sys_push(c, &rsp, rbp, size))
		return SYS_FAULT;
	frame = rsp;
	for (int i = 1; i < level; i++) {
		u64 value = 0;

		rbp = (rbp - (u64)size) & mask;
		if (sys_read(c, SEG_SS, rbp, &value, (size_t)size) || sys_push(c, &rsp, value, size))
			return SYS_FAULT;
	}
	if (level && sys_push(c, &rsp, frame, size))
		return SYS_FAULT;
	top = (rsp - (u16)in->imm) & mask;
	if (sys_linear(c, SEG_SS, top, (size_t)size, VM_WRITE, &at) || vmem_read(c, at, &unused, (size_t)size, VM_WRITE))
		return SYS_FAULT;
	sys_set_rsp(c, rsp - (u16)in->imm);
	sys_reg_write(c, in, RBP, size, frame);
	return sys_done(c, in);
}

enum sys_result sys_do_leave(struct cpu *c, const struct insn *in)
{
	int size = stack_size(c, in);
	u64 rsp = c->gpr[RBP], value;

	if (sys_pop(c, &rsp, &value, size))
		return SYS_FAULT;
	sys_set_rsp(c, rsp);
	sys_reg_write(c, in, RBP, size, value);
	return sys_done(c, in);
}
