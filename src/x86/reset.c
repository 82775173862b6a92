/* SPDX-License-Identifier: MIT
 * The state of a vCPU after RESET, and at the 64-bit entry of a Linux kernel.
 *
 * Owner: whoever creates the vCPU; no lock.  Freestanding.
 * Source: Intel SDM volume 3, table 9-1; Linux Documentation/x86/boot.rst, "64-bit boot protocol". */
#include "x86/system_internal.h"

#define ATTR_DATA_RW (3 | ATTR_S | ATTR_P)
#define ATTR_CODE_RX (11 | ATTR_S | ATTR_P)

void cpu_reset(struct cpu *c)
{
	u32 r[4];

	memset(c, 0, sizeof(*c));
	c->rip = 0xfff0;
	c->rflags = RF_FIXED;
	for (int i = 0; i < 6; i++)
		c->seg[i] = (struct cpu_seg){ .limit = 0xffff, .attr = ATTR_DATA_RW };
	c->seg[SEG_CS] = (struct cpu_seg){ .base = 0xffff0000, .limit = 0xffff, .sel = 0xf000, .attr = ATTR_CODE_RX };
	c->ldt = (struct cpu_seg){ .limit = 0xffff, .attr = TYPE_LDT | ATTR_P };
	c->tr = (struct cpu_seg){ .limit = 0xffff, .attr = TYPE_TSS_BUSY | ATTR_P };
	c->gdt.limit = 0xffff;
	c->idt.limit = 0xffff;
	c->cr0 = CR0_ET | CR0_NW | CR0_CD;
	c->xcr0 = 1;
	c->dr[6] = 0xffff0ff0;
	c->dr[7] = 0x400;
	sys_msr_reset(c);
	sys_cpuid(c, 1, 0, r);
	c->gpr[RDX] = r[0]; /* the processor's signature */
}

/* What INIT leaves alone: a copy of these is put back. */
#define INIT_KEEPS(K) \
	K(xcr0) K(xss) K(pat) K(misc_enable) K(tsc_aux) K(tsc_offset) K(tsc_adjust) K(apic_base) K(apic_id) \
	K(spec_ctrl) K(star) K(lstar) K(cstar) K(sfmask) K(kernel_gs_base) K(sysenter_cs) K(sysenter_esp) \
	K(sysenter_eip) K(debugctl) K(kvm_system_time) K(kvm_wall_clock) K(kvm_async_pf) K(kvm_steal_time) \
	K(kvm_pv_eoi) K(kvm_poll) K(mtrr_def) K(mtrr_fix) K(mtrr_base) K(mtrr_mask)

void cpu_init(struct cpu *c)
{
	struct cpu was = *c;

	cpu_reset(c);
#define INIT_KEEP(field) memcpy(&c->field, &was.field, sizeof(c->field));
	INIT_KEEPS(INIT_KEEP)
#undef INIT_KEEP
	c->cr0 |= was.cr0 & (CR0_NW | CR0_CD);
}

void cpu_startup(struct cpu *c, u8 vector)
{
	c->seg[SEG_CS].sel = (u16)(vector << 8);
	c->seg[SEG_CS].base = (u64)vector << 12;
	c->rip = 0;
	c->halted = 0;
	c->wait_startup = 0;
}

void cpu_enter_linux64(struct cpu *c, u64 entry, gpa_t boot_params, gpa_t page_table, gpa_t gdt)
{
	static const u8 data[] = { SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS };

	cpu_reset(c);
	c->rip = entry;
	c->gpr[RDX] = 0;
	c->gpr[RSI] = boot_params.v;
	c->seg[SEG_CS] = sys_flat_code(0x10, 0, true);
	for (size_t i = 0; i < sizeof(data); i++)
		c->seg[data[i]] = sys_flat_stack(0x18, 0);
	c->gdt = (struct cpu_table){ .base = gdt.v, .limit = 0x1f };
	c->idt = (struct cpu_table){ .limit = 0 };
	c->ldt = (struct cpu_seg){ .sel = 0 };
	c->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	c->cr3 = page_table.v;
	c->cr4 = CR4_PAE;
	c->efer = EFER_LME | EFER_LMA;
}

void cpu_linux64_gdt(u64 gdt[4])
{
	gdt[0] = 0;
	gdt[1] = 0;
	gdt[2] = 0x00af9b000000ffffull; /* 0x10: 64-bit code, execute and read */
	gdt[3] = 0x00cf93000000ffffull; /* 0x18: data, read and write */
}
