/* SPDX-License-Identifier: MIT
 * Port input and output: IN, OUT, INS, OUTS, with the permission bitmap of the TSS.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.  Source: Intel SDM volume 1 chapter 19, volume 2. */
#include "x86/system_internal.h"

/* #GP(0) unless CPL <= IOPL or the TSS grants all `size` ports from `port` on. */
static int io_permitted(struct cpu *c, u16 port, int size)
{
	u16 map, bits;
	u64 at;

	if (!cpu_is_protected(c) || c->cpl <= cpu_iopl(c))
		return 0;
	/* The bitmap offset lies at 0x66 of a 32-bit or 64-bit TSS; two bytes are always read. */
	if (!(c->tr.attr & ATTR_P) || (c->tr.attr & 15) < TYPE_TSS || c->tr.limit < 0x67)
		goto refuse;
	if (vmem_read(c, GVA(c->tr.base + 0x66), &map, 2, VM_SYSTEM))
		return -1;
	at = (u64)map + port / 8;
	if (at + 1 > c->tr.limit)
		goto refuse;
	if (vmem_read(c, GVA(c->tr.base + at), &bits, 2, VM_SYSTEM))
		return -1;
	if (!(bits >> (port & 7) & ((1 << size) - 1)))
		return 0;
refuse:
	sys_raise_error(c, VEC_GP, 0);
	return -1;
}

static int io_size(const struct insn *in)
{
	/* The even opcodes are the byte forms; there is no 64-bit port access. */
	return !(in->op & 1) ? 1 : in->osize == 2 ? 2 : 4;
}

enum sys_result sys_do_in_out(struct cpu *c, const struct insn *in)
{
	/* E4-E7 take the port from the immediate, EC-EF from DX. */
	u16 port = in->op & 8 ? (u16)c->gpr[RDX] : (u16)(in->imm & 0xff);
	int size = io_size(in);
	u64 mask = size_mask(size);

	if (io_permitted(c, port, size))
		return SYS_FAULT;
	if (in->klass == IC_OUT) {
		io_out(c, port, size, (u32)(c->gpr[RAX] & mask));
	} else {
		u32 value = io_in(c, port, size);

		if (size == 4)
			c->gpr[RAX] = value;
		else
			c->gpr[RAX] = (c->gpr[RAX] & ~mask) | (value & mask);
	}
	return sys_done(c, in);
}

/* One element of INS or OUTS.  The memory side is checked first: a port access cannot be undone. */
static int string_io_element(struct cpu *c, const struct insn *in, u16 port, int size)
{
	u64 amask = size_mask(in->asize);
	u32 value = 0;
	gva_t at;

	if (in->klass == IC_OUTS) {
		int seg = in->seg == SEG_NONE ? SEG_DS : in->seg;

		if (sys_read(c, seg, c->gpr[RSI] & amask, &value, (size_t)size))
			return -1;
		io_out(c, port, size, value);
		return 0;
	}
	if (sys_linear(c, SEG_ES, c->gpr[RDI] & amask, (size_t)size, VM_WRITE, &at) ||
	    vmem_read(c, at, &value, (size_t)size, VM_WRITE))
		return -1;
	value = io_in(c, port, size);
	return vmem_write(c, at, &value, (size_t)size, VM_WRITE);
}

enum sys_result sys_do_string_io(struct cpu *c, const struct insn *in)
{
	u64 amask = size_mask(in->asize), count = c->gpr[RCX] & amask;
	int size = io_size(in), index = in->klass == IC_INS ? RDI : RSI;
	u64 step = c->rflags & RF_DF ? -(u64)size : (u64)size;
	u16 port = (u16)c->gpr[RDX];

	if (io_permitted(c, port, size))
		return SYS_FAULT;
	if (in->rep && !count)
		return sys_done(c, in);
	if (string_io_element(c, in, port, size))
		return SYS_FAULT;
	sys_reg_write(c, in, index, in->asize, (c->gpr[index] + step) & amask);
	if (!in->rep)
		return sys_done(c, in);
	sys_reg_write(c, in, RCX, in->asize, count - 1);
	return count == 1 ? sys_done(c, in) : SYS_AGAIN;
}
