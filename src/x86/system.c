/* SPDX-License-Identifier: MIT
 * Entry of the privileged architecture: dispatch by instruction class, and the operand, stack and
 * segment access that the handlers share.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding. */
#include "x86/system_internal.h"

struct class_row {
	enum sys_result (*run)(struct cpu *c, const struct insn *in);
	unsigned need;
};

static const struct class_row classes[IC_COUNT] = {
#define TABLE_ROW(klass, handler, need) [klass] = { handler, need },
	SYS_CLASSES(TABLE_ROW)
#undef TABLE_ROW
};

enum sys_result sys_raise(struct cpu *c, int vector)
{
	c->exc.pending = 1;
	c->exc.vector = (u8)vector;
	c->exc.has_error = 0;
	c->exc.soft = 0;
	c->exc.error = 0;
	c->exc.dr6 = 0;
	return SYS_FAULT;
}

enum sys_result sys_raise_error(struct cpu *c, int vector, u32 error)
{
	sys_raise(c, vector);
	c->exc.has_error = 1;
	c->exc.error = error;
	return SYS_FAULT;
}

/* Classes without a row are either never offered to the guest (#UD is then the architecture's answer)
 * or need vector state, which does not live here: those never arrive. */
enum sys_result sys_execute(struct cpu *c, const struct insn *in)
{
	const struct class_row *row = &classes[in->klass < IC_COUNT ? in->klass : IC_INVALID];
	u8 shadow = c->sti_shadow;
	enum sys_result result;

	if (!row->run || (in->lock && in->klass != IC_MOV_FROM_CR && in->klass != IC_MOV_TO_CR))
		return sys_raise(c, VEC_UD);
	if (((row->need & NEED_PROTECTED) && !cpu_is_protected(c)) ||
	    ((row->need & NEED_64) && !cpu_is_64(c)) || ((row->need & NOT_IN_64) && cpu_is_64(c)))
		return sys_raise(c, VEC_UD);
	if ((row->need & NEED_CPL0) && c->cpl)
		return sys_raise_error(c, VEC_GP, 0);
	c->sti_shadow = 0;
	result = row->run(c, in);
	if (result == SYS_FAULT || result == SYS_AGAIN) {
		c->sti_shadow = shadow;
		return result;
	}
	/* RF holds for one instruction; IRET is what sets it. */
	if (in->klass != IC_IRET)
		c->rflags &= ~RF_RF;
	return result;
}

u64 sys_next_rip(const struct cpu *c, const struct insn *in)
{
	u64 next = c->rip + in->len;

	return cpu_is_64(c) ? next : (u32)next;
}

enum sys_result sys_done(struct cpu *c, const struct insn *in)
{
	c->rip = sys_next_rip(c, in);
	return SYS_DONE;
}

static bool reg_is_high_byte(const struct insn *in, int reg, int size)
{
	return size == 1 && !in->rex && in->enc == ENC_LEGACY && reg >= 4 && reg < 8;
}

u64 sys_reg_read(const struct cpu *c, const struct insn *in, int reg, int size)
{
	if (reg_is_high_byte(in, reg, size))
		return (c->gpr[reg - 4] >> 8) & 0xff;
	return c->gpr[reg & 15] & size_mask(size);
}

void sys_reg_write(struct cpu *c, const struct insn *in, int reg, int size, u64 value)
{
	u64 *r = &c->gpr[reg & 15];

	if (reg_is_high_byte(in, reg, size)) {
		r = &c->gpr[reg - 4];
		*r = (*r & ~0xff00ull) | (value & 0xff) << 8;
	} else if (size == 4) {
		*r = (u32)value;
	} else {
		*r = (*r & ~size_mask(size)) | (value & size_mask(size));
	}
}

int sys_operand_segment(const struct insn *in)
{
	if (in->seg != SEG_NONE)
		return in->seg;
	return in->base_seg_ss ? SEG_SS : SEG_DS;
}

u64 sys_operand_offset(const struct cpu *c, const struct insn *in)
{
	u64 offset = (u64)in->disp;

	if (in->base == REG_RIP)
		offset += c->rip + in->len;
	else if (in->base != REG_NONE)
		offset += c->gpr[in->base & 15];
	if (in->index != REG_NONE && !in->vsib)
		offset += c->gpr[in->index & 15] * in->scale;
	return offset & size_mask(in->asize);
}

gva_t sys_operand_address(const struct cpu *c, const struct insn *in)
{
	int seg = sys_operand_segment(in);
	u64 offset = sys_operand_offset(c, in);

	if (cpu_is_64(c))
		return GVA(seg == SEG_FS || seg == SEG_GS ? offset + c->seg[seg].base : offset);
	return GVA((u32)(offset + c->seg[seg].base));
}

static bool segment_permits(const struct cpu *c, const struct cpu_seg *s, u64 offset, size_t size, u32 access)
{
	u64 last = offset + size - 1;
	bool code = s->attr & TYPE_CODE;

	if (!cpu_is_protected(c))
		return last <= s->limit; /* real mode knows no types */
	if (!(s->attr & ATTR_P))
		return false;
	if (access & VM_WRITE) {
		if (code || !(s->attr & TYPE_WRITABLE))
			return false;
	} else if (code && !(s->attr & TYPE_READABLE)) {
		return false;
	}
	if (!code && (s->attr & TYPE_EXPAND_DOWN)) {
		u64 top = s->attr & ATTR_DB ? 0xffffffffu : 0xffffu;

		return offset > s->limit && last <= top;
	}
	return last <= s->limit;
}

int sys_linear(struct cpu *c, int seg, u64 offset, size_t size, u32 access, gva_t *linear)
{
	const struct cpu_seg *s = &c->seg[seg];
	u64 address;

	if (cpu_is_64(c)) {
		address = seg == SEG_FS || seg == SEG_GS ? offset + s->base : offset;
		if (is_canonical(address) && is_canonical(address + size - 1)) {
			*linear = GVA(address);
			return 0;
		}
	} else if (segment_permits(c, s, offset, size, access)) {
		*linear = GVA((u32)(s->base + offset));
		return 0;
	}
	sys_raise_error(c, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
	return -1;
}

int sys_read_for(struct cpu *c, int seg, u64 offset, void *buffer, size_t size, u32 access)
{
	gva_t address;

	if (sys_linear(c, seg, offset, size, access, &address))
		return -1;
	return vmem_read(c, address, buffer, size, access);
}

int sys_read(struct cpu *c, int seg, u64 offset, void *buffer, size_t size)
{
	return sys_read_for(c, seg, offset, buffer, size, VM_READ);
}

int sys_write(struct cpu *c, int seg, u64 offset, const void *buffer, size_t size)
{
	gva_t address;

	if (sys_linear(c, seg, offset, size, VM_WRITE, &address))
		return -1;
	return vmem_write(c, address, buffer, size, VM_WRITE);
}

int sys_rm_read(struct cpu *c, const struct insn *in, int size, u64 *value)
{
	*value = 0;
	if (in->has_mem)
		return sys_read_for(c, sys_operand_segment(in), sys_operand_offset(c, in), value, (size_t)size,
				    in->mem_write ? VM_WRITE : VM_READ);
	*value = sys_reg_read(c, in, in->rm, size);
	return 0;
}

int sys_rm_write(struct cpu *c, const struct insn *in, int size, u64 value)
{
	if (in->has_mem)
		return sys_write(c, sys_operand_segment(in), sys_operand_offset(c, in), &value, (size_t)size);
	sys_reg_write(c, in, in->rm, size, value);
	return 0;
}

u64 sys_stack_mask(const struct cpu *c)
{
	if (cpu_is_64(c))
		return ~0ull;
	return c->seg[SEG_SS].attr & ATTR_DB ? 0xffffffffu : 0xffffu;
}

int sys_push(struct cpu *c, u64 *rsp, u64 value, int size)
{
	u64 top = (*rsp - (u64)size) & sys_stack_mask(c);

	if (sys_write(c, SEG_SS, top, &value, (size_t)size))
		return -1;
	*rsp = top;
	return 0;
}

int sys_pop(struct cpu *c, u64 *rsp, u64 *value, int size)
{
	u64 mask = sys_stack_mask(c);

	*value = 0;
	if (sys_read(c, SEG_SS, *rsp & mask, value, (size_t)size))
		return -1;
	*rsp = (*rsp + (u64)size) & mask;
	return 0;
}

void sys_set_rsp(struct cpu *c, u64 rsp)
{
	u64 mask = sys_stack_mask(c);

	/* A 32-bit stack pointer write clears the upper half, as 32-bit register writes do. */
	if (mask == 0xffffffffu)
		c->gpr[RSP] = (u32)rsp;
	else
		c->gpr[RSP] = (c->gpr[RSP] & ~mask) | (rsp & mask);
}

int sys_far_size(const struct cpu *c, const struct insn *in)
{
	if (cpu_is_64(c))
		return in->rex & 8 ? 8 : in->opsize_prefix ? 2 : 4;
	return !(c->seg[SEG_CS].attr & ATTR_DB) == !in->opsize_prefix ? 2 : 4;
}

bool sys_condition(const struct cpu *c, int cond)
{
	u64 f = c->rflags;
	bool cf = f & FLAG_CF, zf = f & FLAG_ZF, less = !(f & FLAG_SF) != !(f & FLAG_OF);
	bool yes = false;

	switch ((cond >> 1) & 7) {
	case 0: yes = f & FLAG_OF; break;
	case 1: yes = cf; break;
	case 2: yes = zf; break;
	case 3: yes = cf || zf; break;
	case 4: yes = f & FLAG_SF; break;
	case 5: yes = f & FLAG_PF; break;
	case 6: yes = less; break;
	case 7: yes = zf || less; break;
	}
	return yes != (cond & 1);
}

int sys_check_rip(struct cpu *c, u64 rip, u16 attr, u32 limit)
{
	if (cpu_is_long(c) && (attr & ATTR_L) ? is_canonical(rip) : rip <= limit)
		return 0;
	sys_raise_error(c, VEC_GP, 0);
	return -1;
}
