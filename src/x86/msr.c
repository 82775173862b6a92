/* SPDX-License-Identifier: MIT
 * Model-specific registers: one table says the number, the name, who has it, where it lives, which bits
 * can be written, and the value after reset.  A number without a row raises #GP.
 *
 * Owner: the vCPU's thread; no lock.  Freestanding.
 * Source: Intel SDM volume 4; AMD APM volume 2 appendix A; Linux Documentation/virt/kvm/x86/msr.rst. */
#include "x86/system_internal.h"

/* Who has the register: the host's vendor, or a CPUID bit of the guest (leaf, register, bit). */
#define ANY 0u
#define INTEL 1u
#define AMD 2u
#define APIC 3u
#define FEATURE(leaf, reg, bit) (4u | (reg) << 4 | (bit) << 8 | (u32)(leaf) << 16)
#define FEATURE_EXT 0x8000u /* in `leaf`: 0x80000000 + leaf */

/* What a write does to bits that are not writable: */
enum strictness {
	STRICT,  /* they must keep their value, else #GP */
	DROP,    /* they keep their value silently */
	READONLY /* every write raises #GP */
};

struct msr_row {
	u32 first, last; /* consecutive registers share a row; the field is then an array of u64 */
	const char *name;
	u32 has;
	u16 offset;      /* of a u64 in struct cpu; NO_FIELD: the value is `reset` for ever */
	u8 strictness;
	u8 canonical;    /* a non-canonical value raises #GP */
	u64 writable;
	u64 reset;
	int (*read)(struct cpu *c, u32 msr, u64 *value);   /* instead of the field */
	int (*write)(struct cpu *c, u32 msr, u64 value);   /* instead of storing; bits are checked before */
};

#define NO_FIELD 0xffff
#define AT(member) offsetof(struct cpu, member)
#define ALL (~0ull)

static int write_tsc(struct cpu *c, u32 msr, u64 value)
{
	u64 offset = value - host_tsc();

	(void)msr;
	c->tsc_adjust += offset - c->tsc_offset;
	c->tsc_offset = offset;
	mmu_msr_changed(c, MSR_TSC);
	return 0;
}

static int read_tsc(struct cpu *c, u32 msr, u64 *value)
{
	(void)msr;
	*value = host_tsc() + c->tsc_offset;
	return 0;
}

static int write_tsc_adjust(struct cpu *c, u32 msr, u64 value)
{
	(void)msr;
	c->tsc_offset += value - c->tsc_adjust;
	c->tsc_adjust = value;
	mmu_msr_changed(c, MSR_TSC);
	return 0;
}

static int write_efer(struct cpu *c, u32 msr, u64 value)
{
	u64 old = c->efer;

	(void)msr;
	if (value & ~(sys_efer_valid() | EFER_LMA))
		return -1;
	if ((c->cr0 & CR0_PG) && ((value ^ old) & EFER_LME))
		return -1;
	c->efer = (value & ~EFER_LMA) | (old & EFER_LMA);
	if (c->efer != old) {
		mmu_control_changed(c, c->cr0, c->cr4, old);
		mmu_msr_changed(c, MSR_EFER);
	}
	return 0;
}

static bool memory_type_valid(u64 type, bool pat)
{
	return type == 0 || type == 1 || (type >= 4 && type <= 6) || (pat && type == 7);
}

static bool memory_types_valid(u64 value, bool pat)
{
	for (int i = 0; i < 8; i++) {
		if (!memory_type_valid(value >> (i * 8) & 0xff, pat))
			return false;
	}
	return true;
}

static int write_pat(struct cpu *c, u32 msr, u64 value)
{
	(void)msr;
	if (!memory_types_valid(value, true))
		return -1;
	c->pat = value;
	return 0;
}

/* Fixed-range MTRRs are numbered 0x250, 0x258, 0x259, 0x268..0x26f. */
static u64 *fixed_mtrr(struct cpu *c, u32 msr)
{
	return &c->mtrr_fix[msr == 0x250 ? 0 : msr < 0x268 ? msr - 0x257 : msr - 0x265];
}

static int read_mtrr_fixed(struct cpu *c, u32 msr, u64 *value)
{
	*value = *fixed_mtrr(c, msr);
	return 0;
}

static int write_mtrr_fixed(struct cpu *c, u32 msr, u64 value)
{
	if (!memory_types_valid(value, false))
		return -1;
	*fixed_mtrr(c, msr) = value;
	return 0;
}

static int read_mtrr_variable(struct cpu *c, u32 msr, u64 *value)
{
	u32 i = (msr - 0x200) / 2;

	*value = msr & 1 ? c->mtrr_mask[i] : c->mtrr_base[i];
	return 0;
}

static int write_mtrr_variable(struct cpu *c, u32 msr, u64 value)
{
	u64 address = (BIT(sys_physical_bits()) - 1) & PAGE_MASK;
	u32 i = (msr - 0x200) / 2;

	if (value & ~(address | (msr & 1 ? BIT(11) : 0xff)))
		return -1;
	if (!(msr & 1) && !memory_type_valid(value & 0xff, false))
		return -1;
	*(msr & 1 ? &c->mtrr_mask[i] : &c->mtrr_base[i]) = value;
	return 0;
}

static int write_mtrr_default(struct cpu *c, u32 msr, u64 value)
{
	(void)msr;
	if (!memory_type_valid(value & 0xff, false))
		return -1;
	c->mtrr_def = value;
	return 0;
}

static int read_arch_capabilities(struct cpu *c, u32 msr, u64 *value)
{
	(void)c;
	(void)msr;
	*value = sys_arch_capabilities();
	return 0;
}

/* Some revision that is not 0: AMD has it in the low half, Intel in the high one.  A guest under a
 * hypervisor draws no conclusion from it and loads no update. */
static int read_microcode(struct cpu *c, u32 msr, u64 *value)
{
	(void)c;
	(void)msr;
	*value = sys_host_is_amd() ? BIT(24) : BIT(32);
	return 0;
}

static int write_system_time(struct cpu *c, u32 msr, u64 value)
{
	(void)msr;
	c->kvm_system_time = value;
	/* Bit 0 enables the clock; the rest is the address of its page. */
	if (value & 1)
		clock_write_system_time(c, GPA(value & ~1ull));
	return 0;
}

static int write_wall_clock(struct cpu *c, u32 msr, u64 value)
{
	(void)msr;
	c->kvm_wall_clock = value;
	clock_write_wall_clock(c, GPA(value & ~1ull));
	return 0;
}

static int read_fs_gs_base(struct cpu *c, u32 msr, u64 *value)
{
	*value = c->seg[msr == MSR_FS_BASE ? SEG_FS : SEG_GS].base;
	return 0;
}

static int write_fs_gs_base(struct cpu *c, u32 msr, u64 value)
{
	c->seg[msr == MSR_FS_BASE ? SEG_FS : SEG_GS].base = value;
	mmu_msr_changed(c, msr);
	return 0;
}

static int read_apic(struct cpu *c, u32 msr, u64 *value) { return apic_msr_read(c, msr, value); }
static int write_apic(struct cpu *c, u32 msr, u64 value) { return apic_msr_write(c, msr, value); }

/* SDM volume 3A, 11.4.4: BSP flag read-only, bits 0-7 and 9 reserved. */
static int write_apic_base(struct cpu *c, u32 msr, u64 value)
{
	u64 address = (BIT(sys_physical_bits()) - 1) & PAGE_MASK;

	if (((value ^ c->apic_base) & BIT(8)) || (value & ~(address | BIT(8) | BIT(10) | BIT(11))) ||
	    apic_msr_write(c, msr, value))
		return -1;
	c->apic_base = value;
	mmu_msr_changed(c, msr);
	return 0;
}

/* Accepted and without effect: commands to predictors and caches that the guest cannot reach. */
static int write_nothing(struct cpu *c, u32 msr, u64 value)
{
	(void)c;
	(void)msr;
	(void)value;
	return 0;
}

static const struct msr_row msrs[] = {
/*	  first       last        name               has     field                strictness canon writable  reset */
	{ MSR_TSC,    MSR_TSC,    "TSC",             ANY,    NO_FIELD,            STRICT,   0, ALL, 0, read_tsc, write_tsc },
	{ 0x11,       0x11,       "KVM_WALL_CLOCK_OLD", ANY, AT(kvm_wall_clock),  STRICT,   0, ALL, 0, NULL, write_wall_clock },
	{ 0x12,       0x12,       "KVM_SYSTEM_TIME_OLD", ANY, AT(kvm_system_time), STRICT,  0, ALL, 0, NULL, write_system_time },
	{ 0x4b564d00, 0x4b564d00, "KVM_WALL_CLOCK",  ANY,    AT(kvm_wall_clock),  STRICT,   0, ALL, 0, NULL, write_wall_clock },
	{ 0x4b564d01, 0x4b564d01, "KVM_SYSTEM_TIME", ANY,    AT(kvm_system_time), STRICT,   0, ALL, 0, NULL, write_system_time },
	{ 0x17,       0x17,       "PLATFORM_ID",     INTEL,  NO_FIELD,            READONLY, 0, 0, 0, NULL, NULL },
	{ 0x1b,       0x1b,       "APIC_BASE",       APIC,   AT(apic_base),       STRICT,   0, ALL, 0xfee00900, NULL, write_apic_base },
	{ 0x3a,       0x3a,       "FEATURE_CONTROL", INTEL,  NO_FIELD,            READONLY, 0, 0, 1, NULL, NULL },
	{ 0x3b,       0x3b,       "TSC_ADJUST",      FEATURE(7, 1, 1), AT(tsc_adjust), STRICT, 0, ALL, 0, NULL, write_tsc_adjust },
	/* IBRS, STIBP, SSBD, BHI_DIS_S: recorded, without effect on translated code. */
	{ 0x48,       0x48,       "SPEC_CTRL",       FEATURE(7, 3, 26), AT(spec_ctrl), STRICT, 0, 0x407, 0, NULL, NULL },
	{ 0x49,       0x49,       "PRED_CMD",        FEATURE(7, 3, 26), NO_FIELD, STRICT,   0, 1, 0, NULL, write_nothing },
	{ 0x8b,       0x8b,       "PATCH_LEVEL",     ANY,    NO_FIELD,            STRICT,   0, ALL, 0, read_microcode, write_nothing },
	{ 0xfe,       0xfe,       "MTRR_CAP",        ANY,    NO_FIELD,            READONLY, 0, 0, 0x508, NULL, NULL },
	{ 0x10a,      0x10a,      "ARCH_CAPABILITIES", FEATURE(7, 3, 29), NO_FIELD, READONLY, 0, 0, 0, read_arch_capabilities, NULL },
	{ 0x10b,      0x10b,      "FLUSH_CMD",       FEATURE(7, 3, 28), NO_FIELD, STRICT,   0, 1, 0, NULL, write_nothing },
	{ 0x174,      0x174,      "SYSENTER_CS",     ANY,    AT(sysenter_cs),     DROP,     0, 0xffffffff, 0, NULL, NULL },
	{ 0x175,      0x175,      "SYSENTER_ESP",    ANY,    AT(sysenter_esp),    STRICT,   1, ALL, 0, NULL, NULL },
	{ 0x176,      0x176,      "SYSENTER_EIP",    ANY,    AT(sysenter_eip),    STRICT,   1, ALL, 0, NULL, NULL },
	/* Machine check with no banks: nothing to report, nothing to configure. */
	{ 0x179,      0x179,      "MCG_CAP",         ANY,    NO_FIELD,            READONLY, 0, 0, 0, NULL, NULL },
	{ 0x17a,      0x17a,      "MCG_STATUS",      ANY,    NO_FIELD,            STRICT,   0, 0, 0, NULL, NULL },
	{ 0x1a0,      0x1a0,      "MISC_ENABLE",     INTEL,  AT(misc_enable),     DROP,     0, 0x400001, 0x1801, NULL, NULL },
	/* LBR and BTF can be set; no branch is recorded. */
	{ 0x1d9,      0x1d9,      "DEBUGCTL",        ANY,    AT(debugctl),        DROP,     0, 3, 0, NULL, NULL },
	{ 0x1db,      0x1de,      "LAST_BRANCH",     ANY,    NO_FIELD,            READONLY, 0, 0, 0, NULL, NULL },
	{ 0x200,      0x20f,      "MTRR_VARIABLE",   ANY,    NO_FIELD,            STRICT,   0, ALL, 0, read_mtrr_variable, write_mtrr_variable },
	{ 0x250,      0x250,      "MTRR_FIX64K",     ANY,    NO_FIELD,            STRICT,   0, ALL, 0, read_mtrr_fixed, write_mtrr_fixed },
	{ 0x258,      0x259,      "MTRR_FIX16K",     ANY,    NO_FIELD,            STRICT,   0, ALL, 0, read_mtrr_fixed, write_mtrr_fixed },
	{ 0x268,      0x26f,      "MTRR_FIX4K",      ANY,    NO_FIELD,            STRICT,   0, ALL, 0, read_mtrr_fixed, write_mtrr_fixed },
	{ 0x277,      0x277,      "PAT",             ANY,    AT(pat),             STRICT,   0, ALL, 0x0007040600070406, NULL, write_pat },
	/* No firmware runs, so that the reset value is what firmware leaves: everything write-back. */
	{ 0x2ff,      0x2ff,      "MTRR_DEF_TYPE",   ANY,    AT(mtrr_def),        STRICT,   0, 0xcff, 0xc06, NULL, write_mtrr_default },
	{ 0x6e0,      0x6e0,      "TSC_DEADLINE",    APIC,   NO_FIELD,            STRICT,   0, ALL, 0, read_apic, write_apic },
	{ 0x800,      0x83f,      "X2APIC",          APIC,   NO_FIELD,            STRICT,   0, ALL, 0, read_apic, write_apic },
	{ MSR_EFER,   MSR_EFER,   "EFER",            ANY,    AT(efer),            STRICT,   0, ALL, 0, NULL, write_efer },
	{ MSR_STAR,   MSR_STAR,   "STAR",            ANY,    AT(star),            STRICT,   0, ALL, 0, NULL, NULL },
	{ MSR_LSTAR,  MSR_LSTAR,  "LSTAR",           ANY,    AT(lstar),           STRICT,   1, ALL, 0, NULL, NULL },
	{ MSR_CSTAR,  MSR_CSTAR,  "CSTAR",           ANY,    AT(cstar),           STRICT,   1, ALL, 0, NULL, NULL },
	{ MSR_SFMASK, MSR_SFMASK, "SFMASK",          ANY,    AT(sfmask),          DROP,     0, 0xffffffff, 0, NULL, NULL },
	{ MSR_FS_BASE, MSR_GS_BASE, "FS_GS_BASE",    ANY,    NO_FIELD,            STRICT,   1, ALL, 0, read_fs_gs_base, write_fs_gs_base },
	{ MSR_KERNEL_GS_BASE, MSR_KERNEL_GS_BASE, "KERNEL_GS_BASE", ANY, AT(kernel_gs_base), STRICT, 1, ALL, 0, NULL, NULL },
	{ 0xc0000103, 0xc0000103, "TSC_AUX",         FEATURE(FEATURE_EXT | 1, 3, 27), AT(tsc_aux), STRICT, 0, 0xffffffff, 0, NULL, NULL },
	{ 0xc0010010, 0xc0010010, "SYSCFG",          AMD,    NO_FIELD,            READONLY, 0, 0, 0, NULL, NULL },
	/* TscFreqSel: the TSC counts at the P0 frequency.  Cache and TLB work-around bits are accepted. */
	{ 0xc0010015, 0xc0010015, "HWCR",            AMD,    NO_FIELD,            DROP,     0, 0, BIT(24), NULL, NULL },
	{ 0xc001001a, 0xc001001a, "TOP_MEM",         AMD,    NO_FIELD,            READONLY, 0, 0, 0, NULL, NULL },
	{ 0xc001001d, 0xc001001d, "TOP_MEM2",        AMD,    NO_FIELD,            READONLY, 0, 0, 0, NULL, NULL },
	{ 0xc001001f, 0xc001001f, "NB_CFG",          AMD,    NO_FIELD,            DROP,     0, 0, 0, NULL, NULL },
	{ 0xc0010055, 0xc0010055, "INT_PENDING_MSG", AMD,    NO_FIELD,            DROP,     0, 0, 0, NULL, NULL },
	{ 0xc0010058, 0xc0010058, "MMIO_CONF_BASE",  AMD,    NO_FIELD,            READONLY, 0, 0, 0, NULL, NULL },
	{ 0xc0010112, 0xc0010113, "SMM_ADDR_MASK",   AMD,    NO_FIELD,            READONLY, 0, 0, 0, NULL, NULL },
	/* SVMDIS and LOCK: virtualization is switched off for good. */
	{ 0xc0010114, 0xc0010114, "VM_CR",           AMD,    NO_FIELD,            READONLY, 0, 0, 0x18, NULL, NULL },
	{ 0xc0011022, 0xc0011022, "DC_CFG",          AMD,    NO_FIELD,            DROP,     0, 0, 0, NULL, NULL },
	/* LFENCE is serialising, which is bit 1. */
	{ 0xc0011029, 0xc0011029, "DE_CFG",          AMD,    NO_FIELD,            DROP,     0, 0, BIT(1), NULL, NULL },
	{ 0xc001102a, 0xc001102a, "BU_CFG2",         AMD,    NO_FIELD,            DROP,     0, 0, 0, NULL, NULL },
};

static bool row_exists(const struct msr_row *row)
{
	u32 leaf = row->has >> 16;

	switch (row->has & 15) {
	case ANY: return true;
	case INTEL: return !sys_host_is_amd();
	case AMD: return sys_host_is_amd();
	case APIC: return sys_has_local_apic();
	default:
		if (leaf & FEATURE_EXT)
			leaf = 0x80000000u | (leaf & ~FEATURE_EXT);
		return sys_cpuid_has(leaf, 0, (int)(row->has >> 4 & 3), (int)(row->has >> 8 & 31));
	}
}

static const struct msr_row *row_find(u32 msr)
{
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (msr >= msrs[i].first && msr <= msrs[i].last)
			return row_exists(&msrs[i]) ? &msrs[i] : NULL;
	}
	return NULL;
}

static u64 *row_field(struct cpu *c, const struct msr_row *row, u32 msr)
{
	return row->offset == NO_FIELD ? NULL : (u64 *)(void *)((u8 *)c + row->offset) + (msr - row->first);
}

int sys_rdmsr(struct cpu *c, u32 msr, u64 *value)
{
	const struct msr_row *row = row_find(msr);
	const u64 *field;

	if (!row)
		return -1;
	if (row->read)
		return row->read(c, msr, value);
	field = row_field(c, row, msr);
	*value = field ? *field : row->reset;
	return 0;
}

int sys_wrmsr(struct cpu *c, u32 msr, u64 value)
{
	const struct msr_row *row = row_find(msr);
	u64 *field, old;

	if (!row || row->strictness == READONLY || (row->canonical && !is_canonical(value)))
		return -1;
	field = row_field(c, row, msr);
	old = field ? *field : row->reset;
	if (row->strictness == STRICT && ((value ^ old) & ~row->writable))
		return -1;
	value = (value & row->writable) | (old & ~row->writable);
	if (row->write)
		return row->write(c, msr, value);
	if (field)
		*field = value;
	mmu_msr_changed(c, msr);
	return 0;
}

void sys_msr_reset(struct cpu *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		const struct msr_row *row = &msrs[i];

		if (row->offset == NO_FIELD || !row_exists(row))
			continue;
		for (u32 msr = row->first; msr <= row->last; msr++)
			*row_field(c, row, msr) = row->reset;
	}
}

const char *sys_msr_name(u32 msr)
{
	const struct msr_row *row = row_find(msr);

	return row ? row->name : NULL;
}

u32 sys_msr_next(u64 after)
{
	u32 best = 0;

	for (size_t i = 0; i < ARRAY_SIZE(msrs); i++) {
		const struct msr_row *row = &msrs[i];
		u64 next = after + 1 > row->first ? after + 1 : row->first;

		if (next <= row->last && row_exists(row) && (!best || next < best))
			best = (u32)next;
	}
	return best;
}
