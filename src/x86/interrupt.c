/* SPDX-License-Identifier: MIT
 * Delivery of exceptions and interrupts through the IDT, and the way back: IRET.
 *
 *   sys_deliver_exception   deliver ──ok──► handler
 *        ▲                     │ fault while delivering (second)
 *        │                     ▼
 *        │                 combine(first, second): serial ─► deliver second
 *        │                                         both contributory ─► deliver #DF
 *        │                                         first was #DF ─► shutdown
 *
 * In long mode gates are 16 bytes and the frame is five quadwords; in legacy protected mode gates are
 * 8 bytes and the frame follows the gate's size; in real mode the table holds far pointers.  Task gates and
 * virtual-8086 mode are not there: a guest comes to #GP or shutdown.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.
 * Source: Intel SDM volume 3 chapter 6 (delivery), volume 2 (INT n, IRET). */
#include "x86/system_internal.h"

#define ERROR_EXT 1u
#define ERROR_IDT 2u

/* One event on its way through the IDT. */
struct event {
	u8 vector;
	bool software; /* INT n, INT3, INTO: the gate's DPL is checked, EXT stays clear */
	bool has_error;
	u32 error;
	u64 rip;       /* pushed */
	u64 rflags;    /* pushed */
};

/* The gate and what it leads to. */
struct gate {
	u64 offset;
	struct descriptor code;
	int cpl;   /* privilege of the handler */
	int ist;
	int size;  /* of a frame slot: 2, 4 or 8 */
	bool interrupt; /* clears IF */
};

static u32 event_ext(const struct event *e) { return e->software ? 0 : ERROR_EXT; }

static int fault(struct cpu *c, int vector, u32 error)
{
	sys_raise_error(c, vector, error);
	return -1;
}

int sys_tss_stack(struct cpu *c, int cpl, int ist, u32 ext, u64 *rsp)
{
	u32 offset = ist ? 28 + 8 * (u32)ist : 4 + 8 * (u32)cpl;

	if (offset + 7 > c->tr.limit)
		return fault(c, VEC_TS, (c->tr.sel & 0xfffc) | ext);
	if (vmem_read(c, GVA(c->tr.base + offset), rsp, 8, VM_SYSTEM))
		return -1;
	if (!is_canonical(*rsp))
		return fault(c, VEC_SS, ext);
	return 0;
}

/* SS and ESP of privilege level `cpl` from the TSS of legacy protected mode. */
static int tss_stack_legacy(struct cpu *c, int cpl, u32 ext, struct descriptor *ss, u64 *esp)
{
	bool wide = c->tr.attr & 8;
	u32 offset = wide ? 4 + 8 * (u32)cpl : 2 + 4 * (u32)cpl;
	u8 bytes[6] = { 0 };
	u16 sel;

	if (offset + (wide ? 5 : 3) > c->tr.limit)
		return fault(c, VEC_TS, (c->tr.sel & 0xfffc) | ext);
	if (vmem_read(c, GVA((u32)(c->tr.base + offset)), bytes, wide ? 6 : 4, VM_SYSTEM))
		return -1;
	*esp = 0;
	memcpy(esp, bytes, wide ? 4 : 2);
	memcpy(&sel, bytes + (wide ? 4 : 2), 2);
	if (SEL_IS_NULL(sel))
		return fault(c, VEC_TS, ext);
	if (sys_descriptor_read(c, sel, ss, VEC_TS, ext))
		return -1;
	if (SEL_RPL(sel) != cpl || ATTR_DPL(ss->seg.attr) != cpl || !attr_is_writable_data(ss->seg.attr))
		return fault(c, VEC_TS, (sel & 0xfffc) | ext);
	if (!(ss->seg.attr & ATTR_P))
		return fault(c, VEC_SS, (sel & 0xfffc) | ext);
	return 0;
}

static int gate_read(struct cpu *c, const struct event *e, struct gate *g)
{
	bool is_long = cpu_is_long(c);
	u32 ext = event_ext(e), error = (u32)e->vector * 8 + ERROR_IDT + ext;
	u32 bytes = is_long ? 16 : 8, offset = e->vector * bytes;
	u64 raw[2] = { 0, 0 };
	int type;

	if (offset + bytes - 1 > c->idt.limit)
		return fault(c, VEC_GP, error);
	if (vmem_read(c, GVA(is_long ? c->idt.base + offset : (u32)(c->idt.base + offset)), raw, bytes, VM_SYSTEM))
		return -1;
	type = (int)(raw[0] >> 40) & 0x1f;
	/* 64-bit: interrupt and trap gate only; legacy: the 16-bit pair as well. */
	if ((type & 0x1e) != TYPE_INTERRUPT_GATE && (is_long || (type & 0x1e) != 6))
		return fault(c, VEC_GP, error);
	if (e->software && ((raw[0] >> 45) & 3) < c->cpl)
		return fault(c, VEC_GP, error);
	if (!(raw[0] >> 47 & 1))
		return fault(c, VEC_NP, error);
	g->interrupt = !(type & 1);
	g->size = is_long ? 8 : type & 8 ? 4 : 2;
	g->ist = is_long ? (int)(raw[0] >> 32) & 7 : 0;
	g->offset = (raw[0] & 0xffff) | (g->size > 2 ? (raw[0] >> 48) << 16 : 0) | raw[1] << 32;
	g->code.seg.sel = (u16)(raw[0] >> 16);
	return 0;
}

static int gate_code(struct cpu *c, u32 ext, struct gate *g)
{
	u16 sel = g->code.seg.sel, attr;
	int dpl;

	if (SEL_IS_NULL(sel))
		return fault(c, VEC_GP, ext);
	if (sys_descriptor_read(c, sel, &g->code, VEC_GP, ext))
		return -1;
	attr = g->code.seg.attr;
	dpl = ATTR_DPL(attr);
	if (!attr_is_code(attr) || dpl > c->cpl)
		return fault(c, VEC_GP, (sel & 0xfffc) | ext);
	if (!(attr & ATTR_P))
		return fault(c, VEC_NP, (sel & 0xfffc) | ext);
	if (cpu_is_long(c) && (attr & (ATTR_L | ATTR_DB)) != ATTR_L)
		return fault(c, VEC_GP, (sel & 0xfffc) | ext);
	g->cpl = attr_is_conforming(attr) ? c->cpl : dpl;
	return 0;
}

/* Stack of the handler: `top` is where the frame will end, `ss` its segment. */
static int gate_stack(struct cpu *c, u32 ext, const struct gate *g, struct descriptor *ss, u64 *top)
{
	bool inner = g->cpl < c->cpl;

	memset(ss, 0, sizeof(*ss));
	ss->seg = c->seg[SEG_SS];
	ss->seg.attr |= TYPE_ACCESSED;
	*top = c->gpr[RSP];
	if (!cpu_is_long(c)) {
		if (inner)
			return tss_stack_legacy(c, g->cpl, ext, ss, top);
		return 0;
	}
	if (inner) {
		ss->seg = sys_null_stack(g->cpl);
		ss->seg.attr |= TYPE_ACCESSED;
	}
	if ((inner || g->ist) && sys_tss_stack(c, g->cpl, g->ist, ext, top))
		return -1;
	*top &= ~15ull;
	return 0;
}

static int frame_write(struct cpu *c, u32 ext, const struct gate *g, const struct descriptor *ss, u64 *rsp,
		       const u8 *frame, size_t bytes)
{
	u32 access = VM_WRITE | (g->cpl == 3 ? 0 : VM_SYSTEM);
	u64 low;

	if (cpu_is_long(c)) {
		low = *rsp - bytes;
		if (!is_canonical(low) || !is_canonical(low + bytes - 1))
			return fault(c, VEC_SS, ext);
		*rsp = low;
		return vmem_write(c, GVA(low), frame, bytes, access);
	}
	low = (*rsp - bytes) & (ss->seg.attr & ATTR_DB ? 0xffffffffu : 0xffffu);
	if (!(ss->seg.attr & TYPE_EXPAND_DOWN) && low + bytes - 1 > ss->seg.limit)
		return fault(c, VEC_SS, (g->cpl < c->cpl ? ss->seg.sel & 0xfffc : 0) | ext);
	*rsp = low;
	return vmem_write(c, GVA((u32)(ss->seg.base + low)), frame, bytes, access);
}

/* Real mode (SDM volume 3, 21.1.4): no error codes; a vector beyond the table is a double fault in the end. */
static int deliver_real(struct cpu *c, const struct event *e)
{
	u32 offset = e->vector * 4u;
	u64 rsp = c->gpr[RSP];
	u16 to[2];

	if (offset + 3 > c->idt.limit)
		return fault(c, VEC_GP, 0);
	if (vmem_read(c, GVA((u32)(c->idt.base + offset)), to, 4, VM_SYSTEM) ||
	    sys_push(c, &rsp, (u16)e->rflags, 2) || sys_push(c, &rsp, c->seg[SEG_CS].sel, 2) ||
	    sys_push(c, &rsp, (u16)e->rip, 2))
		return -1;
	sys_set_rsp(c, rsp);
	c->seg[SEG_CS].sel = to[1];
	c->seg[SEG_CS].base = (u64)to[1] << 4;
	c->rip = to[0];
	c->rflags &= ~(RF_TF | RF_IF | RF_AC | RF_RF);
	c->sti_shadow = 0;
	c->halted = 0;
	return 0;
}

/* Delivers one event: 0, or -1 with the fault that stopped it in c->exc and the state unchanged. */
static int deliver(struct cpu *c, const struct event *e)
{
	u32 ext = event_ext(e);
	struct gate g;
	struct descriptor ss;
	u64 rsp, slot[6];
	u8 frame[48];
	size_t n = 0;

	if (!cpu_is_protected(c))
		return deliver_real(c, e);
	memset(&g, 0, sizeof(g));
	if (gate_read(c, e, &g) || gate_code(c, ext, &g) || gate_stack(c, ext, &g, &ss, &rsp))
		return -1;
	if (e->has_error)
		slot[n++] = e->error;
	slot[n++] = e->rip;
	slot[n++] = c->seg[SEG_CS].sel;
	slot[n++] = e->rflags;
	if (cpu_is_long(c) || g.cpl < c->cpl) {
		slot[n++] = c->gpr[RSP];
		slot[n++] = c->seg[SEG_SS].sel;
	}
	for (size_t i = 0; i < n; i++)
		memcpy(frame + i * (size_t)g.size, &slot[i], (size_t)g.size);
	if (cpu_is_long(c) ? !is_canonical(g.offset) : g.offset > g.code.seg.limit)
		return fault(c, VEC_GP, ext);
	if (frame_write(c, ext, &g, &ss, &rsp, frame, n * (size_t)g.size) ||
	    sys_descriptor_mark(c, &g.code) || sys_descriptor_mark(c, &ss))
		return -1;
	c->seg[SEG_CS] = g.code.seg;
	c->seg[SEG_CS].sel = (u16)((g.code.seg.sel & 0xfffc) | g.cpl);
	if (g.cpl < c->cpl)
		c->seg[SEG_SS] = ss.seg;
	if (cpu_is_long(c) && g.cpl < c->cpl)
		c->seg[SEG_SS].attr &= (u16)~TYPE_ACCESSED;
	c->cpl = (u8)g.cpl;
	sys_set_rsp(c, rsp);
	c->rip = g.offset;
	c->rflags &= ~(RF_TF | RF_NT | RF_RF | RF_VM | (g.interrupt ? RF_IF : 0));
	c->sti_shadow = 0;
	c->halted = 0;
	return 0;
}

/* SDM volume 3, table 6-4. */
static bool is_contributory(int vector)
{
	return vector == VEC_DE || (vector >= VEC_TS && vector <= VEC_GP) || vector == VEC_CP;
}

/* SDM volume 3, table 6-5: true where the second fault makes the pair a double fault. */
static bool makes_double_fault(int first, int second)
{
	if (first == VEC_PF)
		return second == VEC_PF || is_contributory(second);
	return is_contributory(first) && is_contributory(second);
}

/* RF is set in the frame of faults, so that an instruction breakpoint does not strike again on return.
 * Traps, aborts and #DB (which may be either) keep it as it is (SDM volume 3, 17.3.1.1). */
static bool pushes_rf(int vector)
{
	return vector != VEC_DB && vector != VEC_NMI && vector != VEC_BP && vector != VEC_OF &&
	       vector != VEC_DF && vector != VEC_MC;
}

/* Entry to #DB switches the guard of the debug registers and branch recording off. */
static void debug_entry(struct cpu *c)
{
	c->dr[7] &= ~BIT(13); /* GD */
	c->debugctl &= ~1ull; /* LBR */
	mmu_msr_changed(c, SYS_CHANGED_DR);
}

/* Effects of the exception itself, apart from the frame. */
static void exception_effects(struct cpu *c, const struct cpu_exception *x)
{
	if (x->vector == VEC_PF)
		c->cr2 = x->cr2;
	if (x->vector == VEC_DB) {
		c->dr[6] |= x->dr6;
		debug_entry(c);
	}
}

static void shut_down(struct cpu *c)
{
	c->exc.pending = 0;
	c->halted = 0;
	c->shutdown = 1;
}

void sys_deliver_exception(struct cpu *c)
{
	/* Serial faults come to rest after three steps at most (benign, contributory, #PF, #DF); the bound
	 * keeps a hook that reports benign faults for ever from looping. */
	for (int step = 0; step < 8; step++) {
		struct cpu_exception x = c->exc;
		struct event e = { .vector = x.vector, .software = x.soft, .has_error = x.has_error,
				   .error = x.error, .rip = c->rip, .rflags = c->rflags };

		c->exc.pending = 0;
		exception_effects(c, &x);
		if (!x.soft && pushes_rf(x.vector))
			e.rflags |= RF_RF;
		if (!deliver(c, &e))
			return;
		if (x.vector == VEC_DF)
			break;
		if (c->exc.vector == VEC_PF)
			c->cr2 = c->exc.cr2;
		if (!x.soft && makes_double_fault(x.vector, c->exc.vector))
			sys_raise_error(c, VEC_DF, 0);
	}
	shut_down(c);
}

/* Delivers an event that is no exception; a fault on the way is delivered in its turn. */
static void deliver_external(struct cpu *c, int vector)
{
	struct event e = { .vector = (u8)vector, .rip = c->rip, .rflags = c->rflags };

	c->halted = 0;
	if (deliver(c, &e))
		sys_deliver_exception(c);
}

void sys_deliver_interrupt(struct cpu *c, int vector)
{
	deliver_external(c, vector);
}

void sys_deliver_nmi(struct cpu *c)
{
	c->nmi_pending = 0;
	c->nmi_masked = 1;
	deliver_external(c, VEC_NMI);
}

/* INT n, INT3, INT1, INTO: delivered at once; RIP in the frame is the next instruction's. */
enum sys_result sys_do_int(struct cpu *c, const struct insn *in)
{
	struct event e = { .rip = sys_next_rip(c, in), .rflags = c->rflags & ~RF_RF };

	switch (in->klass) {
	case IC_INT3:
		e.vector = VEC_BP;
		e.software = true;
		break;
	case IC_INT1:
		e.vector = VEC_DB;
		break;
	case IC_INTO:
		if (!(c->rflags & FLAG_OF))
			return sys_done(c, in);
		e.vector = VEC_OF;
		e.software = true;
		break;
	default:
		e.vector = (u8)in->imm;
		e.software = true;
		break;
	}
	if (deliver(c, &e))
		return SYS_FAULT;
	if (in->klass == IC_INT1)
		debug_entry(c);
	return SYS_DONE;
}

/* ---- IRET ---- */

struct iret_frame {
	u64 rip, cs, rflags, rsp, ss;
	bool has_stack;
	u64 after; /* RSP once the frame is popped, where it does not hold one */
};

/* Reads `n` slots of the frame from slot `first` on. */
static int frame_read(struct cpu *c, int size, int first, int n, u64 *slot)
{
	u64 at = (c->gpr[RSP] + (u64)(first * size)) & sys_stack_mask(c);
	u8 bytes[40];

	if (sys_read(c, SEG_SS, at, bytes, (size_t)(n * size)))
		return -1;
	for (int i = 0; i < n; i++) {
		slot[i] = 0;
		memcpy(&slot[i], bytes + i * size, (size_t)size);
	}
	return 0;
}

static int iret_read(struct cpu *c, int size, struct iret_frame *f)
{
	u64 slot[5];

	if (frame_read(c, size, 0, cpu_is_64(c) ? 5 : 3, slot))
		return -1;
	f->rip = slot[0];
	f->cs = slot[1];
	f->rflags = slot[2];
	f->after = c->gpr[RSP] + 3 * (u64)size;
	f->has_stack = cpu_is_protected(c) && (cpu_is_64(c) || SEL_RPL(f->cs) > c->cpl);
	if (f->has_stack && !cpu_is_64(c) && frame_read(c, size, 3, 2, slot + 3))
		return -1;
	f->rsp = f->has_stack ? slot[3] : 0;
	f->ss = f->has_stack ? slot[4] : 0;
	return 0;
}

/* The flags that IRET may change at the privilege before it (SDM volume 2, IRET). */
static u64 iret_flags(const struct cpu *c, int size, u64 popped)
{
	u64 change = FLAGS_STATUS | RF_TF | RF_DF | RF_NT;

	if (size > 2)
		change |= RF_RF | RF_AC | RF_ID;
	if (c->cpl <= cpu_iopl(c))
		change |= RF_IF;
	if (!c->cpl) {
		change |= RF_IOPL;
		if (size > 2)
			change |= RF_VIF | RF_VIP;
	}
	return (((c->rflags & ~change) | (popped & change)) & ~RF_VM) | RF_FIXED;
}

static enum sys_result iret_real(struct cpu *c, const struct iret_frame *f, int size)
{
	u64 mask = sys_stack_mask(c);

	if (sys_check_rip(c, f->rip, c->seg[SEG_CS].attr, c->seg[SEG_CS].limit))
		return SYS_FAULT;
	c->rflags = iret_flags(c, size, f->rflags);
	c->seg[SEG_CS].sel = (u16)f->cs;
	c->seg[SEG_CS].base = (f->cs & 0xffff) << 4;
	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | (f->after & mask);
	c->rip = f->rip;
	c->nmi_masked = 0;
	return SYS_DONE;
}

enum sys_result sys_do_iret(struct cpu *c, const struct insn *in)
{
	int size = sys_far_size(c, in), cpl;
	struct iret_frame f;
	struct descriptor code, ss;
	u64 flags, mask = sys_stack_mask(c);

	/* NT asks for a task switch: #GP in long mode; legacy mode has no tasks here either. */
	if (cpu_is_protected(c) && (c->rflags & RF_NT))
		return sys_raise_error(c, VEC_GP, 0);
	if (iret_read(c, size, &f))
		return SYS_FAULT;
	if (!cpu_is_protected(c))
		return iret_real(c, &f, size);
	if (sys_return_code(c, (u16)f.cs, f.rip, &code))
		return SYS_FAULT;
	cpl = SEL_RPL(f.cs);
	if (f.has_stack && sys_return_stack(c, (u16)f.ss, cpl, cpu_is_long(c) && (code.seg.attr & ATTR_L), &ss))
		return SYS_FAULT;
	if (sys_descriptor_mark(c, &code) || (f.has_stack && sys_descriptor_mark(c, &ss)))
		return SYS_FAULT;
	flags = iret_flags(c, size, f.rflags);
	c->seg[SEG_CS] = code.seg;
	if (f.has_stack) {
		c->seg[SEG_SS] = ss.seg;
		c->seg[SEG_SS].sel = (u16)f.ss;
		if (SEL_IS_NULL(f.ss))
			c->seg[SEG_SS].attr &= (u16)~TYPE_ACCESSED;
		sys_set_rsp(c, f.rsp);
	} else {
		c->gpr[RSP] = (c->gpr[RSP] & ~mask) | (f.after & mask);
	}
	c->rflags = flags;
	c->rip = f.rip;
	c->nmi_masked = 0;
	if (cpl > c->cpl) {
		c->cpl = (u8)cpl;
		sys_return_data_segments(c);
	}
	return SYS_DONE;
}
