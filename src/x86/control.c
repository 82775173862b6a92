/* SPDX-License-Identifier: MIT
 * Control registers, debug registers, descriptor-table registers, interrupt flag, time stamp, extended
 * state control, FS/GS bases, and the fast system calls.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.
 * Source: Intel SDM volume 2 (instructions), volume 3 chapters 2 and 17; AMD APM volumes 2 and 3. */
#include "x86/system_internal.h"

static enum sys_result gp0(struct cpu *c) { return sys_raise_error(c, VEC_GP, 0); }

/* ---- CR0 to CR8 ---- */

#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

/* Turns paging on or off, and with it long mode where EFER.LME asks for it. */
static int check_paging_change(struct cpu *c, u64 value, u64 *efer)
{
	if (!(c->cr0 & CR0_PG) && (value & CR0_PG) && (c->efer & EFER_LME)) {
		if (!(c->cr4 & CR4_PAE) || (c->seg[SEG_CS].attr & ATTR_L))
			return -1;
		*efer |= EFER_LMA;
	}
	if ((c->cr0 & CR0_PG) && !(value & CR0_PG)) {
		if (cpu_is_64(c) || (c->cr4 & CR4_PCIDE))
			return -1;
		*efer &= ~EFER_LMA;
	}
	return 0;
}

static enum sys_result write_cr0(struct cpu *c, u64 value)
{
	u64 old = c->cr0, old_efer = c->efer, efer = c->efer;

	if ((value >> 32) || ((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		return gp0(c);
	value = (value & CR0_DEFINED) | CR0_ET;
	if (check_paging_change(c, value, &efer))
		return gp0(c);
	c->cr0 = value;
	c->efer = efer;
	if (old != value)
		mmu_control_changed(c, old, c->cr4, old_efer);
	return SYS_DONE;
}

static enum sys_result write_cr3(struct cpu *c, u64 value)
{
	u64 old = c->cr3, limit = BIT(sys_physical_bits()), written = value;

	if (!cpu_is_long(c)) {
		value = (u32)value;
		written = value;
	} else {
		if (c->cr4 & CR4_PCIDE)
			value &= ~BIT(63);
		if (value >= limit)
			return gp0(c);
	}
	c->cr3 = value;
	mmu_cr3_written(c, old, written);
	return SYS_DONE;
}

static enum sys_result write_cr4(struct cpu *c, u64 value)
{
	u64 old = c->cr4;

	if (value & ~sys_cr4_valid())
		return gp0(c);
	if (cpu_is_long(c) && !(value & CR4_PAE))
		return gp0(c);
	if ((value & CR4_PCIDE) && !(old & CR4_PCIDE) && (!cpu_is_long(c) || (c->cr3 & 0xfff)))
		return gp0(c);
	c->cr4 = value;
	if (old != value)
		mmu_control_changed(c, c->cr0, old, c->efer);
	return SYS_DONE;
}

enum sys_result sys_do_mov_from_cr(struct cpu *c, const struct insn *in)
{
	int cr = in->lock && sys_host_is_amd() && in->reg == 0 ? 8 : in->reg;
	u64 value;

	switch (cr) {
	case 0: value = c->cr0; break;
	case 2: value = c->cr2; break;
	case 3: value = c->cr3; break;
	case 4: value = c->cr4; break;
	case 8: value = c->cr8; break;
	default: return sys_raise(c, VEC_UD);
	}
	if (in->lock && cr != 8)
		return sys_raise(c, VEC_UD);
	sys_reg_write(c, in, in->rm, cpu_is_64(c) ? 8 : 4, value);
	return sys_done(c, in);
}

enum sys_result sys_do_mov_to_cr(struct cpu *c, const struct insn *in)
{
	/* AMD reaches CR8 as LOCK MOV CR0. */
	int cr = in->lock && sys_host_is_amd() && in->reg == 0 ? 8 : in->reg;
	u64 value = sys_reg_read(c, in, in->rm, cpu_is_64(c) ? 8 : 4);
	enum sys_result result = SYS_DONE;

	if (in->lock && cr != 8)
		return sys_raise(c, VEC_UD);
	switch (cr) {
	case 0:
		result = write_cr0(c, value);
		break;
	case 2:
		c->cr2 = value;
		break;
	case 3:
		result = write_cr3(c, value);
		break;
	case 4:
		result = write_cr4(c, value);
		break;
	case 8:
		if (value > 15)
			return gp0(c);
		c->cr8 = value;
		mmu_msr_changed(c, SYS_CHANGED_CR8);
		break;
	default:
		return sys_raise(c, VEC_UD);
	}
	return result == SYS_DONE ? sys_done(c, in) : result;
}

enum sys_result sys_do_clts(struct cpu *c, const struct insn *in)
{
	u64 old = c->cr0;

	c->cr0 &= ~CR0_TS;
	if (old != c->cr0)
		mmu_control_changed(c, old, c->cr4, c->efer);
	return sys_done(c, in);
}

enum sys_result sys_do_lmsw(struct cpu *c, const struct insn *in)
{
	u64 value;

	if (sys_rm_read(c, in, 2, &value))
		return SYS_FAULT;
	/* PE can be set but not cleared. */
	value = (c->cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | (value & (CR0_PE | CR0_MP | CR0_EM | CR0_TS));
	if (write_cr0(c, value) == SYS_FAULT)
		return SYS_FAULT;
	return sys_done(c, in);
}

/* ---- debug registers ---- */

#define DR6_FIXED 0xffff0ff0ull
#define DR6_WRITABLE 0xe00full
#define DR7_FIXED 0x400ull
#define DR7_WRITABLE 0xffff23ffull
#define DR6_BD BIT(13)
#define DR7_GD BIT(13)

static int write_dr(struct cpu *c, int dr, u64 value)
{
	if (dr >= 6 && (value >> 32))
		return -1;
	if (dr == 6)
		value = (value & DR6_WRITABLE) | DR6_FIXED;
	else if (dr == 7)
		value = (value & DR7_WRITABLE) | DR7_FIXED;
	c->dr[dr] = value;
	mmu_msr_changed(c, SYS_CHANGED_DR);
	return 0;
}

enum sys_result sys_do_mov_dr(struct cpu *c, const struct insn *in)
{
	int dr = in->reg, size = cpu_is_64(c) ? 8 : 4;

	if (dr > 7)
		return sys_raise(c, VEC_UD);
	if (dr == 4 || dr == 5) {
		if (c->cr4 & CR4_DE)
			return sys_raise(c, VEC_UD);
		dr += 2;
	}
	if (c->dr[7] & DR7_GD) {
		sys_raise(c, VEC_DB);
		c->exc.dr6 = DR6_BD;
		return SYS_FAULT;
	}
	if (in->klass == IC_MOV_FROM_DR)
		sys_reg_write(c, in, in->rm, size, c->dr[dr]);
	else if (write_dr(c, dr, sys_reg_read(c, in, in->rm, size)))
		return gp0(c);
	return sys_done(c, in);
}

/* ---- GDTR, IDTR, and the stores that user-mode instruction prevention guards ---- */

static bool umip_forbids(const struct cpu *c) { return (c->cr4 & CR4_UMIP) && c->cpl; }

enum sys_result sys_do_load_table(struct cpu *c, const struct insn *in)
{
	struct cpu_table *t = in->klass == IC_LGDT ? &c->gdt : &c->idt;
	size_t base_bytes = cpu_is_64(c) ? 8 : 4;
	u64 base = 0;
	u16 limit;
	u8 bytes[10];

	if (!in->has_mem)
		return sys_raise(c, VEC_UD);
	if (sys_read(c, sys_operand_segment(in), sys_operand_offset(c, in), bytes, 2 + base_bytes))
		return SYS_FAULT;
	memcpy(&limit, bytes, 2);
	memcpy(&base, bytes + 2, base_bytes);
	if (cpu_is_64(c) && !is_canonical(base))
		return gp0(c);
	if (!cpu_is_64(c) && sys_far_size(c, in) == 2)
		base &= 0xffffff;
	t->base = base;
	t->limit = limit;
	return sys_done(c, in);
}

enum sys_result sys_do_store_table(struct cpu *c, const struct insn *in)
{
	const struct cpu_table *t = in->klass == IC_SGDT ? &c->gdt : &c->idt;
	size_t base_bytes = cpu_is_64(c) ? 8 : 4;
	u8 bytes[10];

	if (!in->has_mem)
		return sys_raise(c, VEC_UD);
	if (umip_forbids(c))
		return gp0(c);
	memcpy(bytes, &t->limit, 2);
	memcpy(bytes + 2, &t->base, base_bytes);
	if (sys_write(c, sys_operand_segment(in), sys_operand_offset(c, in), bytes, 2 + base_bytes))
		return SYS_FAULT;
	return sys_done(c, in);
}

/* SMSW, SLDT, STR: 16 bits to memory; a register gets the operand size. */
enum sys_result sys_do_store_system(struct cpu *c, const struct insn *in)
{
	u64 value = in->klass == IC_SMSW ? c->cr0 : in->klass == IC_SLDT ? c->ldt.sel : c->tr.sel;

	if (umip_forbids(c))
		return gp0(c);
	if (sys_rm_write(c, in, in->has_mem ? 2 : in->osize, value))
		return SYS_FAULT;
	return sys_done(c, in);
}

/* ---- TLB ---- */

enum sys_result sys_do_invlpg(struct cpu *c, const struct insn *in)
{
	gva_t address = sys_operand_address(c, in);

	if (!in->has_mem)
		return sys_raise(c, VEC_UD);
	/* INVLPG of a non-canonical address does nothing. */
	if (!cpu_is_64(c) || is_canonical(address.v))
		mmu_invlpg(c, address);
	return sys_done(c, in);
}

enum sys_result sys_do_invpcid(struct cpu *c, const struct insn *in)
{
	u64 type = sys_reg_read(c, in, in->reg, cpu_is_64(c) ? 8 : 4), d[2];

	if (!in->has_mem || !sys_cpuid_has(7, 0, 1, 10))
		return sys_raise(c, VEC_UD);
	if (sys_read(c, sys_operand_segment(in), sys_operand_offset(c, in), d, 16))
		return SYS_FAULT;
	if (type > 3 || (type <= 1 && ((d[0] >> 12) || (d[0] && !(c->cr4 & CR4_PCIDE)))) ||
	    (type == 0 && !is_canonical(d[1])))
		return gp0(c);
	mmu_invpcid(c, type, d[0] & 0xfff, GVA(d[1]));
	return sys_done(c, in);
}

/* Caches are coherent: the cache instructions have no work to do. */
enum sys_result sys_do_nothing(struct cpu *c, const struct insn *in)
{
	return sys_done(c, in);
}

/* ---- interrupt flag, AC, HLT ---- */

enum sys_result sys_do_cli_sti(struct cpu *c, const struct insn *in)
{
	if (c->cpl > cpu_iopl(c))
		return gp0(c);
	if (in->klass == IC_CLI) {
		c->rflags &= ~RF_IF;
	} else {
		c->sti_shadow = !(c->rflags & RF_IF);
		c->rflags |= RF_IF;
	}
	return sys_done(c, in);
}

enum sys_result sys_do_stac_clac(struct cpu *c, const struct insn *in)
{
	if (c->cpl || !sys_cpuid_has(7, 0, 1, 20))
		return sys_raise(c, VEC_UD);
	if (in->klass == IC_STAC)
		c->rflags |= RF_AC;
	else
		c->rflags &= ~RF_AC;
	return sys_done(c, in);
}

enum sys_result sys_do_hlt(struct cpu *c, const struct insn *in)
{
	c->halted = 1;
	sys_done(c, in);
	return SYS_HALT;
}

/* ---- MSRs, counters, CPUID, extended state ---- */

enum sys_result sys_do_msr(struct cpu *c, const struct insn *in)
{
	u32 msr = (u32)c->gpr[RCX];
	u64 value = (u32)c->gpr[RAX] | c->gpr[RDX] << 32;

	if (in->klass == IC_RDMSR) {
		if (sys_rdmsr(c, msr, &value))
			return gp0(c);
		c->gpr[RAX] = (u32)value;
		c->gpr[RDX] = value >> 32;
	} else if (sys_wrmsr(c, msr, value)) {
		return gp0(c);
	}
	return sys_done(c, in);
}

/* No performance counters are offered, so that every index is out of range. */
enum sys_result sys_do_rdpmc(struct cpu *c, const struct insn *in)
{
	(void)in;
	return gp0(c);
}

enum sys_result sys_do_rdtsc(struct cpu *c, const struct insn *in)
{
	u64 tsc;

	if (in->klass == IC_RDTSCP && !sys_cpuid_has(0x80000001, 0, 3, 27))
		return sys_raise(c, VEC_UD);
	if ((c->cr4 & CR4_TSD) && c->cpl)
		return gp0(c);
	tsc = host_tsc() + c->tsc_offset;
	c->gpr[RAX] = (u32)tsc;
	c->gpr[RDX] = tsc >> 32;
	if (in->klass == IC_RDTSCP)
		c->gpr[RCX] = (u32)c->tsc_aux;
	return sys_done(c, in);
}

enum sys_result sys_do_rdpid(struct cpu *c, const struct insn *in)
{
	if (!sys_cpuid_has(7, 0, 2, 22))
		return sys_raise(c, VEC_UD);
	sys_reg_write(c, in, in->rm, cpu_is_64(c) ? 8 : 4, (u32)c->tsc_aux);
	return sys_done(c, in);
}

enum sys_result sys_do_cpuid(struct cpu *c, const struct insn *in)
{
	u32 r[4];

	sys_cpuid(c, (u32)c->gpr[RAX], (u32)c->gpr[RCX], r);
	c->gpr[RAX] = r[0];
	c->gpr[RBX] = r[1];
	c->gpr[RCX] = r[2];
	c->gpr[RDX] = r[3];
	return sys_done(c, in);
}

enum sys_result sys_do_xgetbv(struct cpu *c, const struct insn *in)
{
	u64 value = c->xcr0;

	if (!(c->cr4 & CR4_OSXSAVE))
		return sys_raise(c, VEC_UD);
	if ((u32)c->gpr[RCX] == 1 && sys_cpuid_has(0xd, 1, 0, 2)) {
		u32 low, high;

		/* The guest's extended state is live in the processor, so the processor knows what is in use. */
		__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
		value &= low | (u64)high << 32;
	} else if ((u32)c->gpr[RCX]) {
		return gp0(c);
	}
	c->gpr[RAX] = (u32)value;
	c->gpr[RDX] = value >> 32;
	return sys_done(c, in);
}

#define XCR0_X87 BIT(0)
#define XCR0_SSE BIT(1)
#define XCR0_AVX BIT(2)
#define XCR0_AVX512 (BIT(5) | BIT(6) | BIT(7))
#define XCR0_AMX (BIT(17) | BIT(18))

static bool xcr0_is_consistent(u64 v)
{
	u64 avx512 = v & XCR0_AVX512, amx = v & XCR0_AMX;

	if (!(v & XCR0_X87) || ((v & XCR0_AVX) && !(v & XCR0_SSE)))
		return false;
	if (avx512 && (avx512 != XCR0_AVX512 || !(v & XCR0_AVX)))
		return false;
	return !amx || amx == XCR0_AMX;
}

enum sys_result sys_do_xsetbv(struct cpu *c, const struct insn *in)
{
	u64 value = (u32)c->gpr[RAX] | c->gpr[RDX] << 32;

	if (!(c->cr4 & CR4_OSXSAVE))
		return sys_raise(c, VEC_UD);
	if (c->cpl || (u32)c->gpr[RCX] || (value & ~sys_xcr0_valid()) || !xcr0_is_consistent(value))
		return gp0(c);
	c->xcr0 = value;
	mmu_msr_changed(c, SYS_CHANGED_XCR0);
	return sys_done(c, in);
}

/* ---- FS and GS bases ---- */

enum sys_result sys_do_swapgs(struct cpu *c, const struct insn *in)
{
	u64 base = c->seg[SEG_GS].base;

	c->seg[SEG_GS].base = c->kernel_gs_base;
	c->kernel_gs_base = base;
	mmu_msr_changed(c, MSR_GS_BASE);
	return sys_done(c, in);
}

enum sys_result sys_do_fsgsbase(struct cpu *c, const struct insn *in)
{
	bool fs = in->klass == IC_RDFSBASE || in->klass == IC_WRFSBASE;
	u64 *base = &c->seg[fs ? SEG_FS : SEG_GS].base, value;
	int size = in->rex & 8 ? 8 : 4;

	if (!(c->cr4 & CR4_FSGSBASE))
		return sys_raise(c, VEC_UD);
	if (in->klass == IC_RDFSBASE || in->klass == IC_RDGSBASE) {
		sys_reg_write(c, in, in->rm, size, *base);
		return sys_done(c, in);
	}
	value = sys_reg_read(c, in, in->rm, size);
	if (!is_canonical(value))
		return gp0(c);
	*base = value;
	mmu_msr_changed(c, fs ? MSR_FS_BASE : MSR_GS_BASE);
	return sys_done(c, in);
}

/* ---- fast system calls ---- */

/* SYSCALL: in compatibility mode AMD only (CSTAR). */
enum sys_result sys_do_syscall(struct cpu *c, const struct insn *in)
{
	u16 sel = (u16)(c->star >> 32) & 0xfffc;

	if (!(c->efer & EFER_SCE) || !cpu_is_long(c) || (!cpu_is_64(c) && !sys_host_is_amd()))
		return sys_raise(c, VEC_UD);
	c->gpr[RCX] = sys_next_rip(c, in);
	c->gpr[R11] = c->rflags & ~RF_RF;
	c->rip = cpu_is_64(c) ? c->lstar : c->cstar;
	c->rflags = ((c->rflags & ~(c->sfmask | RF_RF | RF_VM)) | RF_FIXED);
	c->seg[SEG_CS] = sys_flat_code(sel, 0, true);
	c->seg[SEG_SS] = sys_flat_stack((u16)(sel + 8), 0);
	c->cpl = 0;
	return SYS_DONE;
}

#define SYSRET_FLAGS 0x3c7fd7ull

/* AMD neither asks for 64-bit mode nor checks RCX: the fetch at CPL 3 does that. */
enum sys_result sys_do_sysret(struct cpu *c, const struct insn *in)
{
	bool to_64 = in->rex & 8;
	u16 base = (u16)(c->star >> 48), sel = (u16)((to_64 ? base + 16 : base) | 3);

	if (!(c->efer & EFER_SCE) || (!sys_host_is_amd() && !cpu_is_64(c)))
		return sys_raise(c, VEC_UD);
	if (c->cpl || !cpu_is_long(c))
		return gp0(c);
	if (to_64 && !sys_host_is_amd() && !is_canonical(c->gpr[RCX]))
		return gp0(c);
	c->rip = to_64 ? c->gpr[RCX] : (u32)c->gpr[RCX];
	c->rflags = (c->gpr[R11] & SYSRET_FLAGS) | RF_FIXED;
	c->seg[SEG_CS] = sys_flat_code(sel, 3, to_64);
	/* AMD leaves the attributes of SS as they were; a usable stack segment serves every guest. */
	c->seg[SEG_SS] = sys_flat_stack((u16)((base + 8) | 3), 3);
	c->cpl = 3;
	return SYS_DONE;
}

enum sys_result sys_do_sysenter(struct cpu *c, const struct insn *in)
{
	u16 sel = (u16)c->sysenter_cs & 0xfffc;

	(void)in;
	if (cpu_is_long(c) && sys_host_is_amd())
		return sys_raise(c, VEC_UD);
	if (!cpu_is_protected(c) || !sel)
		return gp0(c);
	c->rflags &= ~(RF_VM | RF_IF | RF_RF);
	c->gpr[RSP] = cpu_is_long(c) ? c->sysenter_esp : (u32)c->sysenter_esp;
	c->rip = cpu_is_long(c) ? c->sysenter_eip : (u32)c->sysenter_eip;
	c->seg[SEG_CS] = sys_flat_code(sel, 0, cpu_is_long(c));
	c->seg[SEG_SS] = sys_flat_stack((u16)(sel + 8), 0);
	c->cpl = 0;
	return SYS_DONE;
}

enum sys_result sys_do_sysexit(struct cpu *c, const struct insn *in)
{
	bool to_64 = cpu_is_64(c) && (in->rex & 8);
	u16 base = (u16)c->sysenter_cs & 0xfffc, sel = (u16)((base + (to_64 ? 32 : 16)) | 3);

	if (cpu_is_long(c) && sys_host_is_amd())
		return sys_raise(c, VEC_UD);
	if (!cpu_is_protected(c) || !base || c->cpl)
		return gp0(c);
	if (to_64 && (!is_canonical(c->gpr[RCX]) || !is_canonical(c->gpr[RDX])))
		return gp0(c);
	c->rip = to_64 ? c->gpr[RDX] : (u32)c->gpr[RDX];
	c->gpr[RSP] = to_64 ? c->gpr[RCX] : (u32)c->gpr[RCX];
	c->seg[SEG_CS] = sys_flat_code(sel, 3, to_64);
	c->seg[SEG_SS] = sys_flat_stack((u16)((sel + 8) | 3), 3);
	c->cpl = 3;
	return SYS_DONE;
}

/* ---- hypercalls ---- */

#define KVM_ENOSYS 1000ull
#define KVM_EPERM 1ull

/* None of the KVM features that CPUID offers needs a hypercall; each answers as KVM does for an unknown one. */
enum sys_result sys_do_vmcall(struct cpu *c, const struct insn *in)
{
	c->gpr[RAX] = c->cpl ? -KVM_EPERM : -KVM_ENOSYS;
	if (!cpu_is_64(c))
		c->gpr[RAX] = (u32)c->gpr[RAX];
	return sys_done(c, in);
}
