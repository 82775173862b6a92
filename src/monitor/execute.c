/* SPDX-License-Identifier: MIT
 * The instruction at the guest's RIP, executed in C: what translated code may not do by itself. */
#include "monitor/private.h"
#include "shadow/shadow.h"
#include "translate/targets.h"
#include "x86/system.h"
#include "x86/unit.h"

/* The guest returns to the access that faulted: what it will touch can be mapped now, if the guest's
 * entry already has the bits that the access would set. */
static void prefill(struct cpu *c)
{
	u32 access = PF_U | (my.guest_fault_error & PF_W), error;
	u64 va = my.guest_fault_address, e;
	struct walk w;

	my.fault_pending = false;
	if (debug_on(c) || test_unmapped(va) || SH->knobs.soft)
		return;
	if (c->rip != my.guest_fault_rip || (my.guest_fault_error & PF_I) || !mmu_peek(c, va, &e))
		return;
	if (!(e & PTE_A) || ((access & PF_W) && !(e & PTE_D)) || mmu_walk(c, va, access, false, &w, &error))
		return;
	if ((access & PF_W) && frame_flags(ram_offset(w.pa) >> PAGE_SHIFT))
		return;
	if (!space_fill(c, va, &w, access & PF_W) && (access & PF_W))
		space_probe_note(va, true);
}

/* Instructions that enter the kernel clear TF as a part of what they do; others that clear it still trap. */
bool clears_trap(const struct insn *in)
{
	return in->klass == IC_INT || in->klass == IC_INT1 || in->klass == IC_INT3 || in->klass == IC_INTO ||
	       in->klass == IC_SYSCALL || in->klass == IC_SYSENTER;
}

/* An instruction with a memory operand that C does not know, where memory cannot be mapped: the fault that
 * the access has on any processor, else an invalid opcode. */
static int execute_uncovered(struct cpu *c, const struct insn *in)
{
	u8 probe[64];
	size_t n = in->mem_size ? MIN((size_t)in->mem_size, sizeof probe) : 1;

	if (in->has_mem && vmem_read(c, sys_operand_address(c, in), probe, n, in->mem_write ? PF_W : 0))
		return SYS_FAULT;
	return (int)sys_raise(c, VEC_UD);
}

/* The one instruction of 32-bit code with a memory operand that nothing but sys_execute() knows. */
static bool is_bound(const struct insn *in, enum insn_mode mode)
{
	return mode == MODE_32 && in->map == MAP_1B && in->enc == ENC_LEGACY && in->op == 0x62;
}

static int execute_memory(struct cpu *c, const struct insn *in)
{
	int r;

	do {
		operand_watch();
		r = sys_execute_memory(c, in);
	} while (operand_lost());
	return r;
}

/* Decodes the instruction at rip.  -1: with an exception pending, or it is to be looked up anew. */
static int insn_at_rip(struct cpu *c, struct insn *in)
{
	enum insn_mode mode = c->seg[SEG_CS].attr & ATTR_L ? MODE_64 : MODE_32;
	u64 pa, left = PAGE_SIZE - (c->rip & ~PAGE_MASK);
	u8 bytes[INSN_MAX];
	int r;

	if (fetch_address(c, c->rip, &pa))
		return -1;
	__builtin_memcpy(bytes, ram_pointer(pa), MIN(left, (u64)INSN_MAX));
	r = insn_decode(in, bytes, MIN(left, (u64)INSN_MAX), mode);
	if (r == -1) {
		if (fetch_address(c, (c->rip & PAGE_MASK) + PAGE_SIZE, &pa))
			return -1;
		__builtin_memcpy(bytes + left, ram_pointer(pa), INSN_MAX - left);
		r = insn_decode(in, bytes, INSN_MAX, mode);
	}
	if (left_is_stale())
		return -1; /* the run loop finds what is there now */
	if (r == -2)
		sys_raise_error(c, VEC_GP, 0);
	return r == -2 ? -1 : 0;
}

/* A store to a page of which it is not known whether it is mapped.  Where the guest has it, or where it is not the
 * page alone that decides (misaligned operands may fault for that, or on a second page), the store is left to itself
 * from now on. */
void probe_missed(struct cpu *c)
{
	u32 error;
	struct insn in;
	struct walk w;
	u64 va;

	if (insn_at_rip(c, &in))
		return;
	va = sys_operand_address(c, &in).v;
	if ((s64)(va << 16) >> 16 != (s64)va || (va & (in.mem_size - 1u)) || !mmu_walk(c, va, PF_W | PF_U, false, &w, &error)) {
		space_probe_note(va, true);
		return;
	}
	c->exc = (struct cpu_exception){ .pending = 1, .vector = VEC_PF, .has_error = 1, .error = error, .cr2 = va };
}

/* An instruction of the x87 or vector units while CR0.TS or CR0.EM is set: the exception, or it runs alone as if neither
 * were. */
static void execute_guarded(struct cpu *c, const struct insn *in)
{
	int vector = unit_fault(c, in);

	if (vector >= 0) {
		sys_raise(c, (u8)vector);
		return;
	}
	my.alone = true;
	my.unguarded = c->rip + 1;
	if (debug_on(c))
		debug_alone(c, in);
}

/* Executes the instruction at rip in C. */
void execute(struct cpu *c)
{
	enum insn_mode mode = c->seg[SEG_CS].attr & ATTR_L ? MODE_64 : MODE_32;
	bool tf = c->rflags & RF_TF;
	u64 table = my.table;
	struct insn in;
	int r;

	my.table = 0;
	if (insn_at_rip(c, &in))
		return;
	VCPU->count.classes[in.klass < IC_COUNT ? in.klass : 0]++;
	my.watch_hits = 0;
	if (unit_guarded(c) && insn_unit(&in) != UNIT_NONE) {
		execute_guarded(c, &in);
		return;
	}
	r = in.has_mem && in.klass == IC_PLAIN && !is_bound(&in, mode) ? -1 : (int)sys_execute(c, &in);
	if (r == -1)
		r = execute_memory(c, &in);
	if (r == -1 && table) { /* no instruction that kernels write entries with */
		table_release(table - 1);
		return;
	}
	if (r == -1 && debug_on(c) && !my.want_switch) {
		debug_alone(c, &in);
		return;
	}
	/* A short string instruction on memory that is not mapped here. */
	for (int i = 0; r == SYS_AGAIN && i < 16 && !SPILL_K->pending && !tf && !debug_on(c) && in.klass != IC_INS && in.klass != IC_OUTS; i++)
		r = execute_memory(c, &in);
	if (r == -1 && my.want_switch) {
		my.must_switch = true;
		return;
	}
	if (r == -1)
		r = mode == MODE_32 ? (int)sys_execute(c, &in) : execute_uncovered(c, &in);
	/* A load of SS holds the trap off to the end of the next instruction, STI does not. */
	if (c->sti_shadow && in.klass != IC_STI)
		tf = false;
	c->sti_shadow = 0;
	if (in.klass == IC_IRET && c->cpl == 3 && my.fault_pending && !my.want_switch)
		prefill(c);
	if (r == SYS_DONE || r == SYS_AGAIN)
		debug_trap(c, tf && (!clears_trap(&in) || (c->rflags & RF_TF)));
}
