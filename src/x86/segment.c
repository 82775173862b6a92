/* SPDX-License-Identifier: MIT
 * Segments: descriptor tables, segment register loads, far transfers, LDTR and TR, and the instructions
 * that question a selector.
 *
 * Call gates are followed in long mode (the 16-byte 64-bit gates).  In legacy protected mode a far
 * transfer reaches code segments only; gates and tasks there raise #GP, since no kernel entered in
 * 64-bit mode uses them.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.  Source: Intel SDM volume 2, volume 3 chapters 3, 5, 8. */
#include "x86/system_internal.h"

static void descriptor_parse(struct descriptor *d, u16 sel)
{
	u64 raw = d->raw;

	d->seg.sel = sel;
	d->seg.attr = (u16)((raw >> 40) & 0xf0ff);
	d->seg.base = ((raw >> 16) & 0xffffff) | (raw >> 56) << 24;
	d->seg.limit = (u32)(raw & 0xffff) | (u32)((raw >> 48) & 15) << 16;
	if (d->seg.attr & ATTR_G)
		d->seg.limit = d->seg.limit << 12 | 0xfff;
}

static int descriptor_locate(struct cpu *c, u16 sel, size_t size, struct descriptor *d, int vector, u32 ext)
{
	u64 base = c->gdt.base, limit = c->gdt.limit;
	u64 offset = sel & 0xfff8;

	if (sel & 4) {
		base = c->ldt.base;
		limit = c->ldt.limit;
	}
	if (((sel & 4) && !(c->ldt.attr & ATTR_P)) || offset + size - 1 > limit) {
		sys_raise_error(c, vector, (sel & 0xfffc) | ext);
		return -1;
	}
	d->at = GVA(cpu_is_long(c) ? base + offset : (u32)(base + offset));
	return 0;
}

int sys_descriptor_read(struct cpu *c, u16 sel, struct descriptor *d, int vector, u32 ext)
{
	memset(d, 0, sizeof(*d));
	if (descriptor_locate(c, sel, 8, d, vector, ext) || vmem_read(c, d->at, &d->raw, 8, VM_SYSTEM))
		return -1;
	descriptor_parse(d, sel);
	return 0;
}

int sys_descriptor_read_system(struct cpu *c, u16 sel, struct descriptor *d, int vector, u32 ext)
{
	u64 both[2];

	if (!cpu_is_long(c))
		return sys_descriptor_read(c, sel, d, vector, ext);
	memset(d, 0, sizeof(*d));
	if (descriptor_locate(c, sel, 16, d, vector, ext) || vmem_read(c, d->at, both, 16, VM_SYSTEM))
		return -1;
	d->raw = both[0];
	d->raw_high = both[1];
	descriptor_parse(d, sel);
	d->seg.base |= both[1] << 32;
	return 0;
}

int sys_descriptor_mark(struct cpu *c, struct descriptor *d)
{
	u8 type;

	if (d->seg.attr & TYPE_ACCESSED)
		return 0;
	d->seg.attr |= TYPE_ACCESSED;
	type = (u8)d->seg.attr;
	return vmem_write(c, GVA(d->at.v + 5), &type, 1, VM_WRITE | VM_SYSTEM);
}

struct cpu_seg sys_flat_code(u16 sel, int dpl, bool is_64)
{
	return (struct cpu_seg){ .sel = sel, .limit = 0xffffffff,
		.attr = (u16)(11 | ATTR_S | dpl << 5 | ATTR_P | ATTR_G | (is_64 ? ATTR_L : ATTR_DB)) };
}

struct cpu_seg sys_flat_stack(u16 sel, int dpl)
{
	return (struct cpu_seg){ .sel = sel, .limit = 0xffffffff,
		.attr = (u16)(3 | ATTR_S | dpl << 5 | ATTR_P | ATTR_G | ATTR_DB) };
}

struct cpu_seg sys_null_stack(int cpl)
{
	return (struct cpu_seg){ .sel = (u16)cpl, .attr = (u16)(cpl << 5) };
}

static int load_null(struct cpu *c, int seg, u16 sel)
{
	if (seg == SEG_SS) {
		if (!cpu_is_64(c) || c->cpl == 3 || SEL_RPL(sel) != c->cpl) {
			sys_raise_error(c, VEC_GP, 0);
			return -1;
		}
		c->seg[SEG_SS] = sys_null_stack(c->cpl);
		return 0;
	}
	c->seg[seg] = (struct cpu_seg){ .sel = sel };
	return 0;
}

static int check_stack(struct cpu *c, u16 sel, int cpl, const struct descriptor *d)
{
	if (SEL_RPL(sel) != cpl || !attr_is_writable_data(d->seg.attr) || ATTR_DPL(d->seg.attr) != cpl) {
		sys_raise_error(c, VEC_GP, sel & 0xfffc);
		return -1;
	}
	if (!(d->seg.attr & ATTR_P)) {
		sys_raise_error(c, VEC_SS, sel & 0xfffc);
		return -1;
	}
	return 0;
}

static int check_data(struct cpu *c, u16 sel, const struct descriptor *d)
{
	u16 attr = d->seg.attr;
	int dpl = ATTR_DPL(attr);

	if (!(attr & ATTR_S) || (attr_is_code(attr) && !(attr & TYPE_READABLE)) ||
	    (!attr_is_conforming(attr) && (SEL_RPL(sel) > dpl || c->cpl > dpl))) {
		sys_raise_error(c, VEC_GP, sel & 0xfffc);
		return -1;
	}
	if (!(attr & ATTR_P)) {
		sys_raise_error(c, VEC_NP, sel & 0xfffc);
		return -1;
	}
	return 0;
}

/* Loads ES, SS, DS, FS or GS. */
int sys_load_segment(struct cpu *c, int seg, u16 sel)
{
	struct descriptor d;
	u64 old = c->seg[seg].base;

	if (!cpu_is_protected(c)) {
		c->seg[seg].sel = sel;
		c->seg[seg].base = (u64)sel << 4;
	} else if (SEL_IS_NULL(sel)) {
		if (load_null(c, seg, sel))
			return -1;
	} else {
		if (sys_descriptor_read(c, sel, &d, VEC_GP, 0))
			return -1;
		if (seg == SEG_SS ? check_stack(c, sel, c->cpl, &d) : check_data(c, sel, &d))
			return -1;
		if (sys_descriptor_mark(c, &d))
			return -1;
		c->seg[seg] = d.seg;
	}
	if (seg >= SEG_FS && c->seg[seg].base != old)
		mmu_msr_changed(c, seg == SEG_FS ? MSR_FS_BASE : MSR_GS_BASE);
	return 0;
}

enum sys_result sys_do_mov_from_seg(struct cpu *c, const struct insn *in)
{
	int seg = in->reg & 7;

	if (seg > SEG_GS)
		return sys_raise(c, VEC_UD);
	/* Memory always takes 16 bits; a 32-bit or 64-bit register is zero-extended. */
	if (sys_rm_write(c, in, in->has_mem ? 2 : in->osize, c->seg[seg].sel))
		return SYS_FAULT;
	return sys_done(c, in);
}

enum sys_result sys_do_mov_to_seg(struct cpu *c, const struct insn *in)
{
	int seg = in->reg & 7;
	u64 sel;

	if (seg == SEG_CS || seg > SEG_GS)
		return sys_raise(c, VEC_UD);
	if (sys_rm_read(c, in, 2, &sel) || sys_load_segment(c, seg, (u16)sel))
		return SYS_FAULT;
	c->sti_shadow = seg == SEG_SS;
	return sys_done(c, in);
}

/* The segment register of PUSH and POP: 06 0E 16 1E, 0F A0, 0F A8. */
static int push_pop_segment(const struct insn *in)
{
	return (in->op >> 3) & (in->map == MAP_0F ? 7 : 3);
}

static int segment_stack_size(const struct cpu *c, const struct insn *in)
{
	if (cpu_is_64(c))
		return in->opsize_prefix ? 2 : 8;
	return in->osize == 2 ? 2 : 4;
}

enum sys_result sys_do_push_seg(struct cpu *c, const struct insn *in)
{
	u64 rsp = c->gpr[RSP];

	if (sys_push(c, &rsp, c->seg[push_pop_segment(in)].sel, segment_stack_size(c, in)))
		return SYS_FAULT;
	sys_set_rsp(c, rsp);
	return sys_done(c, in);
}

enum sys_result sys_do_pop_seg(struct cpu *c, const struct insn *in)
{
	int seg = push_pop_segment(in);
	u64 sel, rsp = c->gpr[RSP], mask = sys_stack_mask(c);

	if (seg == SEG_CS)
		return sys_raise(c, VEC_UD);
	if (sys_pop(c, &rsp, &sel, segment_stack_size(c, in)) || sys_load_segment(c, seg, (u16)sel))
		return SYS_FAULT;
	/* POP SS may change the width of the stack; the pop itself used the old one. */
	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | (rsp & mask);
	c->sti_shadow = seg == SEG_SS;
	return sys_done(c, in);
}

/* Reads a far pointer m16:16, m16:32 or m16:64. */
static int far_pointer(struct cpu *c, const struct insn *in, int size, u64 *offset, u16 *sel)
{
	u8 bytes[10];

	if (sys_read(c, sys_operand_segment(in), sys_operand_offset(c, in), bytes, (size_t)size + 2))
		return -1;
	*offset = 0;
	memcpy(offset, bytes, (size_t)size);
	memcpy(sel, bytes + size, 2);
	return 0;
}

/* AMD has no m16:64: REX.W leaves the offset at 32 bits. */
static int far_pointer_size(const struct cpu *c, const struct insn *in)
{
	int size = sys_far_size(c, in);

	return size == 8 && sys_host_is_amd() ? 4 : size;
}

enum sys_result sys_do_load_far(struct cpu *c, const struct insn *in)
{
	int size = far_pointer_size(c, in), seg;
	u64 offset;
	u16 sel;

	if (!in->has_mem)
		return sys_raise(c, VEC_UD);
	if (in->map == MAP_0F)
		seg = in->op == 0xb2 ? SEG_SS : in->op == 0xb4 ? SEG_FS : SEG_GS;
	else
		seg = in->op == 0xc4 ? SEG_ES : SEG_DS;
	if (far_pointer(c, in, size, &offset, &sel) || sys_load_segment(c, seg, sel))
		return SYS_FAULT;
	sys_reg_write(c, in, in->reg, size, offset);
	return sys_done(c, in);
}

/* ---- far transfers ---- */

struct far_target {
	u64 offset;
	u16 sel;
	int size; /* operand size of what CALL pushes */
};

static enum sys_result far_commit(struct cpu *c, const struct insn *in, struct descriptor *d, u64 rip, int size)
{
	u64 rsp = c->gpr[RSP], mask = sys_stack_mask(c);
	u16 old = c->seg[SEG_CS].sel;

	if (sys_check_rip(c, rip, d->seg.attr, d->seg.limit))
		return SYS_FAULT;
	if (in->klass == IC_CALL_FAR &&
	    (sys_push(c, &rsp, old, size) || sys_push(c, &rsp, sys_next_rip(c, in), size)))
		return SYS_FAULT;
	if (sys_descriptor_mark(c, d))
		return SYS_FAULT;
	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | (rsp & mask);
	c->seg[SEG_CS] = d->seg;
	c->seg[SEG_CS].sel = (u16)((d->seg.sel & 0xfffc) | c->cpl);
	c->rip = rip;
	return SYS_DONE;
}

static enum sys_result far_code(struct cpu *c, const struct insn *in, struct descriptor *d, const struct far_target *t)
{
	u16 attr = d->seg.attr;
	int dpl = ATTR_DPL(attr);
	bool bad = attr_is_conforming(attr) ? dpl > c->cpl : SEL_RPL(t->sel) > c->cpl || dpl != c->cpl;

	if (bad || (cpu_is_long(c) && (attr & ATTR_L) && (attr & ATTR_DB)))
		return sys_raise_error(c, VEC_GP, t->sel & 0xfffc);
	if (!(attr & ATTR_P))
		return sys_raise_error(c, VEC_NP, t->sel & 0xfffc);
	return far_commit(c, in, d, t->offset, t->size);
}

/* CALL through a 64-bit gate to more privilege: stack from the TSS, SS null, four quadwords pushed. */
static enum sys_result gate_inner_call(struct cpu *c, const struct insn *in, struct descriptor *d, u64 rip)
{
	int dpl = ATTR_DPL(d->seg.attr);
	u64 frame[4] = { sys_next_rip(c, in), c->seg[SEG_CS].sel, c->gpr[RSP], c->seg[SEG_SS].sel };
	u64 rsp;

	if (sys_tss_stack(c, dpl, 0, 0, &rsp))
		return SYS_FAULT;
	rsp -= sizeof(frame);
	if (sys_check_rip(c, rip, d->seg.attr, d->seg.limit))
		return SYS_FAULT;
	if (!is_canonical(rsp) || !is_canonical(rsp + sizeof(frame) - 1))
		return sys_raise_error(c, VEC_SS, 0);
	if (vmem_write(c, GVA(rsp), frame, sizeof(frame), VM_WRITE | VM_SYSTEM) || sys_descriptor_mark(c, d))
		return SYS_FAULT;
	c->cpl = (u8)dpl;
	c->seg[SEG_CS] = d->seg;
	c->seg[SEG_CS].sel = (u16)((d->seg.sel & 0xfffc) | dpl);
	c->seg[SEG_SS] = sys_null_stack(dpl);
	c->gpr[RSP] = rsp;
	c->rip = rip;
	return SYS_DONE;
}

static enum sys_result far_gate(struct cpu *c, const struct insn *in, u16 sel)
{
	struct descriptor gate, d;
	u16 code, attr;
	u64 rip;
	int dpl;

	if (sys_descriptor_read_system(c, sel, &gate, VEC_GP, 0))
		return SYS_FAULT;
	dpl = ATTR_DPL(gate.seg.attr);
	if (dpl < c->cpl || dpl < SEL_RPL(sel) || (gate.raw_high >> 40 & 0x1f))
		return sys_raise_error(c, VEC_GP, sel & 0xfffc);
	if (!(gate.seg.attr & ATTR_P))
		return sys_raise_error(c, VEC_NP, sel & 0xfffc);
	code = (u16)(gate.raw >> 16);
	rip = (gate.raw & 0xffff) | (gate.raw >> 48) << 16 | gate.raw_high << 32;
	if (SEL_IS_NULL(code))
		return sys_raise_error(c, VEC_GP, 0);
	if (sys_descriptor_read(c, code, &d, VEC_GP, 0))
		return SYS_FAULT;
	attr = d.seg.attr;
	dpl = ATTR_DPL(attr);
	if (!attr_is_code(attr) || dpl > c->cpl || !(attr & ATTR_L) || (attr & ATTR_DB) ||
	    (in->klass == IC_JMP_FAR && !attr_is_conforming(attr) && dpl != c->cpl))
		return sys_raise_error(c, VEC_GP, code & 0xfffc);
	if (!(attr & ATTR_P))
		return sys_raise_error(c, VEC_NP, code & 0xfffc);
	if (in->klass == IC_CALL_FAR && !attr_is_conforming(attr) && dpl < c->cpl)
		return gate_inner_call(c, in, &d, rip);
	return far_commit(c, in, &d, rip, 8);
}

enum sys_result sys_do_far(struct cpu *c, const struct insn *in)
{
	struct far_target t = { .size = far_pointer_size(c, in) };
	struct descriptor d;

	if (in->op == 0xff) {
		if (!in->has_mem)
			return sys_raise(c, VEC_UD);
		if (far_pointer(c, in, t.size, &t.offset, &t.sel))
			return SYS_FAULT;
	} else {
		t.offset = (u64)in->imm & size_mask(t.size);
		t.sel = in->selector;
	}
	if (!cpu_is_protected(c)) {
		d = (struct descriptor){ .seg = c->seg[SEG_CS] };
		d.seg.sel = t.sel;
		d.seg.base = (u64)t.sel << 4;
		d.seg.attr |= TYPE_ACCESSED;
		return far_commit(c, in, &d, t.offset, t.size);
	}
	if (SEL_IS_NULL(t.sel))
		return sys_raise_error(c, VEC_GP, 0);
	if (sys_descriptor_read(c, t.sel, &d, VEC_GP, 0))
		return SYS_FAULT;
	if (attr_is_code(d.seg.attr))
		return far_code(c, in, &d, &t);
	if (cpu_is_long(c) && (d.seg.attr & (ATTR_S | 15)) == TYPE_CALL_GATE)
		return far_gate(c, in, t.sel);
	return sys_raise_error(c, VEC_GP, t.sel & 0xfffc);
}

int sys_return_code(struct cpu *c, u16 sel, u64 rip, struct descriptor *d)
{
	u16 attr;
	int dpl, rpl = SEL_RPL(sel);

	if (SEL_IS_NULL(sel)) {
		sys_raise_error(c, VEC_GP, 0);
		return -1;
	}
	if (sys_descriptor_read(c, sel, d, VEC_GP, 0))
		return -1;
	attr = d->seg.attr;
	dpl = ATTR_DPL(attr);
	if (rpl < c->cpl || !attr_is_code(attr) || (attr_is_conforming(attr) ? dpl > rpl : dpl != rpl) ||
	    (cpu_is_long(c) && (attr & ATTR_L) && (attr & ATTR_DB))) {
		sys_raise_error(c, VEC_GP, sel & 0xfffc);
		return -1;
	}
	if (!(attr & ATTR_P)) {
		sys_raise_error(c, VEC_NP, sel & 0xfffc);
		return -1;
	}
	return sys_check_rip(c, rip, attr, d->seg.limit);
}

int sys_return_stack(struct cpu *c, u16 sel, int cpl, bool to_64, struct descriptor *d)
{
	if (SEL_IS_NULL(sel)) {
		if (!to_64 || cpl == 3) {
			sys_raise_error(c, VEC_GP, 0);
			return -1;
		}
		memset(d, 0, sizeof(*d));
		d->seg = sys_null_stack(cpl);
		d->seg.attr |= TYPE_ACCESSED; /* nothing to mark in memory */
		return 0;
	}
	if (sys_descriptor_read(c, sel, d, VEC_GP, 0))
		return -1;
	return check_stack(c, sel, cpl, d);
}

/* After a return to less privilege, data segments that are too privileged become null.  The bases of
 * FS and GS stay: in 64-bit mode they belong to the MSRs. */
void sys_return_data_segments(struct cpu *c)
{
	static const u8 data[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (size_t i = 0; i < sizeof(data); i++) {
		struct cpu_seg *s = &c->seg[data[i]];

		if (SEL_IS_NULL(s->sel) || !(s->attr & ATTR_P))
			continue;
		if (ATTR_DPL(s->attr) < c->cpl && !attr_is_conforming(s->attr)) {
			s->sel = 0;
			s->attr = 0;
			s->limit = 0;
		}
	}
}

enum sys_result sys_do_retf(struct cpu *c, const struct insn *in)
{
	int size = sys_far_size(c, in), cpl;
	u64 rsp = c->gpr[RSP], mask = sys_stack_mask(c), rip, sel, new_rsp, stack;
	u64 release = in->imm_size ? (u16)in->imm : 0;
	struct descriptor code, ss;

	if (sys_pop(c, &rsp, &rip, size) || sys_pop(c, &rsp, &sel, size))
		return SYS_FAULT;
	rsp += release;
	if (!cpu_is_protected(c)) {
		if (sys_check_rip(c, rip, c->seg[SEG_CS].attr, c->seg[SEG_CS].limit))
			return SYS_FAULT;
		c->seg[SEG_CS].sel = (u16)sel;
		c->seg[SEG_CS].base = (u64)(u16)sel << 4;
		c->gpr[RSP] = (c->gpr[RSP] & ~mask) | (rsp & mask);
		c->rip = rip;
		return SYS_DONE;
	}
	if (sys_return_code(c, (u16)sel, rip, &code))
		return SYS_FAULT;
	cpl = SEL_RPL(sel);
	if (cpl == c->cpl) {
		if (sys_descriptor_mark(c, &code))
			return SYS_FAULT;
		c->gpr[RSP] = (c->gpr[RSP] & ~mask) | (rsp & mask);
		c->seg[SEG_CS] = code.seg;
		c->rip = rip;
		return SYS_DONE;
	}
	if (sys_pop(c, &rsp, &new_rsp, size) || sys_pop(c, &rsp, &stack, size) ||
	    sys_return_stack(c, (u16)stack, cpl, cpu_is_long(c) && (code.seg.attr & ATTR_L), &ss) ||
	    sys_descriptor_mark(c, &code) || sys_descriptor_mark(c, &ss))
		return SYS_FAULT;
	ss.seg.sel = (u16)stack;
	c->seg[SEG_CS] = code.seg;
	c->seg[SEG_SS] = ss.seg;
	c->cpl = (u8)cpl;
	c->rip = rip;
	sys_set_rsp(c, new_rsp + release);
	sys_return_data_segments(c);
	return SYS_DONE;
}

/* ---- LDTR, TR and questions about selectors ---- */

enum sys_result sys_do_lldt(struct cpu *c, const struct insn *in)
{
	struct descriptor d;
	u64 sel;

	if (sys_rm_read(c, in, 2, &sel))
		return SYS_FAULT;
	if (SEL_IS_NULL(sel)) {
		c->ldt = (struct cpu_seg){ .sel = (u16)sel };
		return sys_done(c, in);
	}
	if (sel & 4)
		return sys_raise_error(c, VEC_GP, sel & 0xfffc);
	if (sys_descriptor_read_system(c, (u16)sel, &d, VEC_GP, 0))
		return SYS_FAULT;
	if ((d.seg.attr & (ATTR_S | 15)) != TYPE_LDT || (cpu_is_long(c) && !is_canonical(d.seg.base)))
		return sys_raise_error(c, VEC_GP, sel & 0xfffc);
	if (!(d.seg.attr & ATTR_P))
		return sys_raise_error(c, VEC_NP, sel & 0xfffc);
	c->ldt = d.seg;
	return sys_done(c, in);
}

enum sys_result sys_do_ltr(struct cpu *c, const struct insn *in)
{
	struct descriptor d;
	u64 sel;
	u16 type;
	u8 busy;

	if (sys_rm_read(c, in, 2, &sel))
		return SYS_FAULT;
	if (SEL_IS_NULL(sel))
		return sys_raise_error(c, VEC_GP, 0);
	if (sel & 4)
		return sys_raise_error(c, VEC_GP, sel & 0xfffc);
	if (sys_descriptor_read_system(c, (u16)sel, &d, VEC_GP, 0))
		return SYS_FAULT;
	type = d.seg.attr & (ATTR_S | 15);
	if ((type != TYPE_TSS && (cpu_is_long(c) || type != 1)) || (cpu_is_long(c) && !is_canonical(d.seg.base)))
		return sys_raise_error(c, VEC_GP, sel & 0xfffc);
	if (!(d.seg.attr & ATTR_P))
		return sys_raise_error(c, VEC_NP, sel & 0xfffc);
	d.seg.attr |= 2;
	busy = (u8)d.seg.attr;
	if (vmem_write(c, GVA(d.at.v + 5), &busy, 1, VM_WRITE | VM_SYSTEM))
		return SYS_FAULT;
	c->tr = d.seg;
	return sys_done(c, in);
}

/* System descriptor types that LAR and LSL accept, one bit each (SDM volume 2, tables of LAR and LSL). */
static bool query_type_valid(const struct cpu *c, bool lar, u16 attr)
{
	int type = attr & 15;
	u32 valid = cpu_is_long(c) ? (lar ? 0x1a04u : 0x0a04u) : (lar ? 0x1a3eu : 0x0a0eu);

	return (attr & ATTR_S) || (valid >> type & 1);
}

/* Reads a descriptor that LAR, LSL, VERR or VERW ask about.  1 if it is visible, 0 if not, -1 for a fault. */
static int query(struct cpu *c, u16 sel, struct descriptor *d)
{
	u64 limit = sel & 4 ? c->ldt.limit : c->gdt.limit;
	int dpl;

	if (SEL_IS_NULL(sel) || ((sel & 4) && !(c->ldt.attr & ATTR_P)) || (sel & 0xfff8) + 7ull > limit)
		return 0;
	if (sys_descriptor_read(c, sel, d, VEC_GP, 0))
		return -1;
	dpl = ATTR_DPL(d->seg.attr);
	return attr_is_conforming(d->seg.attr) || (c->cpl <= dpl && SEL_RPL(sel) <= dpl);
}

static enum sys_result query_answer(struct cpu *c, const struct insn *in, bool yes)
{
	c->rflags = yes ? c->rflags | FLAG_ZF : c->rflags & ~(u64)FLAG_ZF;
	return sys_done(c, in);
}

enum sys_result sys_do_lar_lsl(struct cpu *c, const struct insn *in)
{
	bool lar = in->klass == IC_LAR;
	struct descriptor d;
	u64 sel;
	int seen;

	if (sys_rm_read(c, in, 2, &sel))
		return SYS_FAULT;
	seen = query(c, (u16)sel, &d);
	if (seen < 0)
		return SYS_FAULT;
	if (!seen || !query_type_valid(c, lar, d.seg.attr))
		return query_answer(c, in, false);
	/* LAR: the manual leaves the limit bits 16-19 undefined; processors show them. */
	sys_reg_write(c, in, in->reg, in->osize, lar ? (d.raw >> 32) & 0xffff00 : d.seg.limit);
	return query_answer(c, in, true);
}

enum sys_result sys_do_verify(struct cpu *c, const struct insn *in)
{
	struct descriptor d;
	u64 sel;
	int seen;

	if (sys_rm_read(c, in, 2, &sel))
		return SYS_FAULT;
	seen = query(c, (u16)sel, &d);
	if (seen < 0)
		return SYS_FAULT;
	if (seen && in->klass == IC_VERR)
		seen = (d.seg.attr & ATTR_S) && (!attr_is_code(d.seg.attr) || (d.seg.attr & TYPE_READABLE));
	else if (seen)
		seen = attr_is_writable_data(d.seg.attr);
	return query_answer(c, in, seen);
}

enum sys_result sys_do_arpl(struct cpu *c, const struct insn *in)
{
	u64 to, from = sys_reg_read(c, in, in->reg, 2);

	if (sys_rm_read(c, in, 2, &to))
		return SYS_FAULT;
	if (SEL_RPL(to) >= SEL_RPL(from))
		return query_answer(c, in, false);
	if (sys_rm_write(c, in, 2, (to & ~3ull) | SEL_RPL(from)))
		return SYS_FAULT;
	return query_answer(c, in, true);
}
