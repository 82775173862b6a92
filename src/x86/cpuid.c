/* SPDX-License-Identifier: MIT
 * CPUID as the guest sees it: what the host has, less what translation cannot virtualise.
 *
 * The host's CPUID is executed in sys_cpuid_init() only (thousands of cycles where the host itself is
 * virtual) and filtered by one table of what passes; bits and leaves without a row read as 0.
 *
 * Speculation.  Guest kernel and guest user both run at CPL 3 of the host, and no guest branch runs where
 * the guest put it: indirect branches and returns become look-ups of the translator.  Retpolines, return
 * thunks, thunk alignment and predictor clearing in guest code therefore protect nothing, and what keeps
 * guest user code from steering or reading the guest kernel is the translator's business.  The model says
 * "not affected" for flaws in how RET and indirect branches of the guest are predicted (SRSO, branch type
 * confusion, ITS), and for flaws that need what the guest has not got (TSX, nested guests, real MMIO);
 * for flaws in the data path (Meltdown, MDS, RFDS, GDS, SSB, TSA) it says what the host says.  Predictor
 * controls (IBRS, IBPB, STIBP, SSBD) are MSR writes that would not reach the processor: not offered, with
 * one exception on Intel, see COND_EIBRS.
 *
 * What Linux 6.1 makes of it.  AMD with automatic IBRS: spectre_v2 by EFER.AIBRSE, no retpolines; no
 * retbleed, SRSO, BHI, VMSCAPE code; TSA only on family 19h, where without VERW_CLEAR it leaves VERW out.
 * Intel with enhanced IBRS: spectre_v2 by SPEC_CTRL, written once; BHI by BHI_DIS_S, since BHI_NO alone
 * does not spare the loop that clears branch history at each system call (the kernel ignores that bit).
 *
 * Owner: written once before the vCPU runs, then read only.  Freestanding.
 * Source: Intel SDM volume 2, CPUID; AMD APM volume 3 appendix E; Linux arch/x86/kernel/cpu/bugs.c and
 * common.c, Documentation/virt/kvm/x86/cpuid.rst. */
#include "x86/system_internal.h"

enum { EAX, EBX, ECX, EDX };

enum condition {
	COND_ANY,
	COND_AMD,
	COND_INTEL,
	COND_APIC,
	COND_AMX,   /* the process holds the kernel's permission for tile data */
	COND_EIBRS, /* Intel host with enhanced IBRS: SPEC_CTRL is offered because the kernel sets IBRS through it once */
	COND_ZEN5,  /* AMD family 1Ah and later: not affected by TSA */
};

#define ANY_SUBLEAF 0xffu
#define ALL 0xffffffffu

/* guest = (host & pass) | force, where the condition holds; rows of one register add up. */
struct filter {
	u32 leaf;
	u8 subleaf, reg, condition;
	u32 pass, force;
};

#define B(n) (1u << (n))

static const struct filter filters[] = {
	/* Vendor string; EAX is the highest leaf, set below. */
	{ 0, 0, EBX, COND_ANY, ALL, 0 }, { 0, 0, ECX, COND_ANY, ALL, 0 }, { 0, 0, EDX, COND_ANY, ALL, 0 },
	{ 1, 0, EAX, COND_ANY, ALL, 0 },
	{ 1, 0, EBX, COND_ANY, 0x0000ff00, 0 }, /* CLFLUSH size; see build_topology() and sys_cpuid() */
	/* SSE3 PCLMUL SSSE3 FMA CX16 PCID SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND; hypervisor.
	 * Hidden: DTES64 MONITOR DS-CPL VMX SMX EIST TM2 CNXT-ID SDBG xTPR PDCM DCA.  OSXSAVE follows CR4. */
	{ 1, 0, ECX, COND_ANY, B(0) | B(1) | B(9) | B(12) | B(13) | B(17) | B(19) | B(20) | B(22) | B(23) | B(25) |
	  B(26) | B(28) | B(29) | B(30), B(31) },
	/* FPU DE PSE TSC MSR PAE MCE CX8 SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 SS.
	 * Hidden: VME PSN DS ACPI HTT TM PBE. */
	{ 1, 0, EDX, COND_ANY, 0x0f8bf9fd, 0 },
	{ 1, 0, ECX, COND_APIC, 0, B(21) | B(24) }, /* x2APIC, TSC-deadline: the models' own */
	{ 1, 0, EDX, COND_APIC, 0, B(9) },
	{ 2, 0, EAX, COND_INTEL, ALL, 0 }, { 2, 0, EBX, COND_INTEL, ALL, 0 },
	{ 2, 0, ECX, COND_INTEL, ALL, 0 }, { 2, 0, EDX, COND_INTEL, ALL, 0 },
	/* Caches, unshared: threads and cores fields of EAX cleared. */
	{ 4, ANY_SUBLEAF, EAX, COND_INTEL, 0x00003fff, 0 }, { 4, ANY_SUBLEAF, EBX, COND_INTEL, ALL, 0 },
	{ 4, ANY_SUBLEAF, ECX, COND_INTEL, ALL, 0 }, { 4, ANY_SUBLEAF, EDX, COND_INTEL, ALL, 0 },
	{ 6, 0, EAX, COND_ANY, B(2), 0 }, /* ARAT */
	{ 6, 0, EAX, COND_APIC, 0, B(2) },
	/* FSGSBASE TSC_ADJUST BMI1 AVX2 FDP_EXCPTN_ONLY SMEP BMI2 ERMS INVPCID FDS_ZERO AVX512F AVX512DQ RDSEED ADX
	 * SMAP AVX512IFMA CLFLUSHOPT CLWB AVX512PF AVX512ER AVX512CD SHA AVX512BW AVX512VL.
	 * Hidden: SGX HLE RTM RDT MPX PT. */
	{ 7, 0, EBX, COND_ANY, B(0) | B(1) | B(3) | B(5) | B(6) | B(7) | B(8) | B(9) | B(10) | B(13) | B(16) | B(17) |
	  B(18) | B(19) | B(20) | B(21) | B(23) | B(24) | B(26) | B(27) | B(28) | B(29) | B(30) | B(31), 0 },
	/* PREFETCHWT1 VBMI UMIP VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ RDPID CLDEMOTE MOVDIRI.
	 * Hidden: PKU and OSPKE (the translator uses the keys) WAITPKG SHSTK TME LA57 MAWAU KL BUS_LOCK
	 * MOVDIR64B (memory operand in a register field) ENQCMD SGX_LC PKS. */
	{ 7, 0, ECX, COND_ANY, B(0) | B(1) | B(2) | B(6) | B(8) | B(9) | B(10) | B(11) | B(12) | B(14) | B(22) | B(25) |
	  B(27), 0 },
	/* 4VNNIW 4FMAPS FSRM VP2INTERSECT SERIALIZE AVX512_FP16.
	 * Hidden: UINTR SRBDS_CTRL MD_CLEAR (VERW is emulated) RTM_ALWAYS_ABORT HYBRID TSXLDTRK PCONFIG LBR IBT
	 * STIBP FLUSH_CMD CORE_CAPABILITIES SSBD. */
	{ 7, 0, EDX, COND_ANY, B(2) | B(3) | B(4) | B(8) | B(14) | B(23), 0 },
	{ 7, 0, EDX, COND_AMX, B(22) | B(24) | B(25), 0 }, /* AMX_BF16 AMX_TILE AMX_INT8 */
	{ 7, 0, EDX, COND_EIBRS, B(26), 0 },               /* SPEC_CTRL */
	{ 7, 0, EDX, COND_INTEL, 0, B(29) },               /* ARCH_CAPABILITIES */
	/* SHA512 SM3 SM4 AVX_VNNI AVX512_BF16 CMPCCXADD FZRM FSRS FSRCS AVX_IFMA.
	 * Hidden: RAO_INT LASS ARCH_PERFMON_EXT FRED LKGS WRMSRNS NMI_SRC HRESET LAM MSRLIST. */
	{ 7, 1, EAX, COND_ANY, B(0) | B(1) | B(2) | B(4) | B(5) | B(7) | B(10) | B(11) | B(12) | B(23), 0 },
	{ 7, 1, EAX, COND_AMX, B(21), 0 }, /* AMX_FP16 */
	/* AVX_VNNI_INT8 AVX_NE_CONVERT AVX_VNNI_INT16 PREFETCHI.  Hidden: UTMR CET_SSS AVX10 APX. */
	{ 7, 1, EDX, COND_ANY, B(4) | B(5) | B(10) | B(14), 0 },
	{ 7, 1, EDX, COND_AMX, B(8), 0 },  /* AMX_COMPLEX */
	{ 7, 2, EDX, COND_ANY, B(5), 0 },  /* MCDT_NO */
	{ 7, 2, EDX, COND_EIBRS, 0, B(4) }, /* BHI_CTRL: spares the history-clearing loop */
	/* Extended state: sizes and components are set below. */
	{ 0xd, 1, EAX, COND_ANY, B(0) | B(1) | B(2), 0 }, /* XSAVEOPT XSAVEC XGETBV1; hidden: XSAVES XFD */
	{ 0x1d, ANY_SUBLEAF, EAX, COND_AMX, ALL, 0 }, { 0x1d, ANY_SUBLEAF, EBX, COND_AMX, ALL, 0 },
	{ 0x1d, ANY_SUBLEAF, ECX, COND_AMX, ALL, 0 }, { 0x1e, 0, EBX, COND_AMX, ALL, 0 },
	{ 0x80000000, 0, EBX, COND_ANY, ALL, 0 }, { 0x80000000, 0, ECX, COND_ANY, ALL, 0 },
	{ 0x80000000, 0, EDX, COND_ANY, ALL, 0 },
	{ 0x80000001, 0, EAX, COND_ANY, ALL, 0 }, { 0x80000001, 0, EBX, COND_ANY, 0xf0000000, 0 },
	/* LAHF ABM SSE4A MISALIGNSSE 3DNOWPREFETCH XOP FMA4 TBM TOPOEXT, and CR8_LEGACY.
	 * Hidden: CMP_LEGACY SVM EXTAPIC OSVW IBS SKINIT WDT LWP TCE NODEID PERFCTR_* BPEXT PTSC MWAITX. */
	{ 0x80000001, 0, ECX, COND_ANY, B(0) | B(4) | B(5) | B(6) | B(7) | B(8) | B(11) | B(16) | B(21) | B(22), 0 },
	/* The bits that repeat leaf 1 on AMD, SYSCALL NX MMXEXT PDPE1GB RDTSCP LM 3DNOWEXT 3DNOW.  Hidden: MP FXSR_OPT. */
	{ 0x80000001, 0, EDX, COND_ANY, B(11) | B(20) | B(26) | B(27) | B(29), 0 },
	{ 0x80000001, 0, EDX, COND_AMD, 0x0183f1fd | B(22) | B(30) | B(31), 0 },
	{ 0x80000001, 0, EDX, COND_APIC, B(9), 0 }, /* AMD repeats it here */
	{ 0x80000002, 0, EAX, COND_ANY, ALL, 0 }, { 0x80000002, 0, EBX, COND_ANY, ALL, 0 },
	{ 0x80000002, 0, ECX, COND_ANY, ALL, 0 }, { 0x80000002, 0, EDX, COND_ANY, ALL, 0 },
	{ 0x80000003, 0, EAX, COND_ANY, ALL, 0 }, { 0x80000003, 0, EBX, COND_ANY, ALL, 0 },
	{ 0x80000003, 0, ECX, COND_ANY, ALL, 0 }, { 0x80000003, 0, EDX, COND_ANY, ALL, 0 },
	{ 0x80000004, 0, EAX, COND_ANY, ALL, 0 }, { 0x80000004, 0, EBX, COND_ANY, ALL, 0 },
	{ 0x80000004, 0, ECX, COND_ANY, ALL, 0 }, { 0x80000004, 0, EDX, COND_ANY, ALL, 0 },
	{ 0x80000005, 0, EAX, COND_AMD, ALL, 0 }, { 0x80000005, 0, EBX, COND_AMD, ALL, 0 },
	{ 0x80000005, 0, ECX, COND_AMD, ALL, 0 }, { 0x80000005, 0, EDX, COND_AMD, ALL, 0 },
	{ 0x80000006, 0, EAX, COND_AMD, ALL, 0 }, { 0x80000006, 0, EBX, COND_AMD, ALL, 0 },
	{ 0x80000006, 0, ECX, COND_ANY, ALL, 0 }, { 0x80000006, 0, EDX, COND_AMD, ALL, 0 },
	{ 0x80000007, 0, EDX, COND_ANY, B(8), 0 }, /* invariant TSC */
	{ 0x80000008, 0, EAX, COND_ANY, 0xff, 0 }, /* capped below */
	/* XSAVEERPTR WBNOINVD SSB_NO; branch type confusion does not reach guest returns (head comment).
	 * Hidden: CLZERO (implicit memory operand) IRPERF INVLPGB RDPRU IBPB IBRS STIBP EFER_LMSLE PPIN SSBD CPPC. */
	{ 0x80000008, 0, EBX, COND_AMD, B(2) | B(9) | B(26), B(29) },
	{ 0x80000019, 0, EAX, COND_AMD, ALL, 0 }, { 0x80000019, 0, EBX, COND_AMD, ALL, 0 },
	{ 0x8000001a, 0, EAX, COND_AMD, ALL, 0 },
	{ 0x8000001d, ANY_SUBLEAF, EAX, COND_AMD, 0x00003fff, 0 }, { 0x8000001d, ANY_SUBLEAF, EBX, COND_AMD, ALL, 0 },
	{ 0x8000001d, ANY_SUBLEAF, ECX, COND_AMD, ALL, 0 }, { 0x8000001d, ANY_SUBLEAF, EDX, COND_AMD, ALL, 0 },
	/* 0x8000001e: one core with one thread in one node: all 0. */
	/* NO_NESTED_DATA_BP LFENCE_RDTSC AutoIBRS FSRS FSRC; null selectors clear the base here, and SRSO does
	 * not reach guest returns.  Hidden: VERW_CLEAR (VERW is emulated) UAI SMM_CTL PREFETCHI_CTL CPUID_USER_DIS
	 * SBPB IBPB_BRTYPE. */
	{ 0x80000021, 0, EAX, COND_AMD, B(0) | B(2) | B(8) | B(10) | B(11), B(6) | B(29) },
	{ 0x80000021, 0, ECX, COND_AMD, B(1) | B(2), 0 },    /* TSA_SQ_NO TSA_L1_NO */
	{ 0x80000021, 0, ECX, COND_ZEN5, 0, B(1) | B(2) },
};

/* IA32_ARCH_CAPABILITIES: what passes from the host's, and what translation makes true. */
#define ARCH_CAP_IBRS_ALL BIT(1)
#define ARCH_CAP_PASS (BIT(0) /* RDCL_NO */ | ARCH_CAP_IBRS_ALL | BIT(4) /* SSB_NO */ | BIT(5) /* MDS_NO */ | \
	BIT(26) /* GDS_NO */ | BIT(27) /* RFDS_NO */)
#define ARCH_CAP_FORCE (BIT(3) /* SKIP_L1DFL_VMENTRY: no nested guests */ | \
	BIT(6) /* PSCHANGE_MC_NO: guest page tables are not the processor's */ | BIT(8) /* TAA_NO: no TSX */ | \
	BIT(13) | BIT(14) | BIT(15) /* SBDR_SSDP_NO FBSDP_NO PSDP_NO: no real MMIO */ | \
	BIT(20) /* BHI_NO */ | BIT(24) /* PBRSB_NO: no VM exits of the guest's own */ | BIT(62) /* ITS_NO */)

#define MAX_PHYSICAL_BITS 46
#define VIRTUAL_BITS 48
#define MODEL_MAX 96

struct model_row {
	u32 leaf, subleaf;
	u32 r[4];
};

static struct {
	struct model_row row[MODEL_MAX];
	unsigned rows;
	u32 max_basic, max_extended;
	u32 component_size[64], component_offset[64]; /* extended state, by bit of XCR0 */
	u64 component_aligned; /* in the compacted format */
	u64 xcr0, cr4, efer, arch_capabilities;
	int physical_bits;
	bool amd, zen5, apic;
} model;

static u32 configured_tsc_khz;
static u64 host_arch_capabilities;
static bool amx_offered;
static u32 cpus = 1;

__attribute__((weak)) void sys_host_cpuid(u32 leaf, u32 subleaf, u32 r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(subleaf));
}

static struct model_row *model_find(u32 leaf, u32 subleaf)
{
	for (unsigned i = 0; i < model.rows; i++) {
		if (model.row[i].leaf == leaf && model.row[i].subleaf == subleaf)
			return &model.row[i];
	}
	return NULL;
}

/* The row of a leaf, made where there is none.  The list holds every leaf that the tables name; where a
 * host listed more subleaves than fit, the last row is used again and its leaf then reads as 0. */
static struct model_row *model_row(u32 leaf, u32 subleaf)
{
	struct model_row *row = model_find(leaf, subleaf);

	if (row)
		return row;
	if (model.rows == MODEL_MAX)
		model.rows--;
	row = &model.row[model.rows++];
	memset(row, 0, sizeof(*row));
	row->leaf = leaf;
	row->subleaf = subleaf;
	return row;
}

static u32 model_get(u32 leaf, u32 subleaf, int reg)
{
	const struct model_row *row = model_find(leaf, subleaf);

	return row ? row->r[reg] : 0;
}

static bool condition_holds(int condition)
{
	switch (condition) {
	case COND_ANY: return true;
	case COND_AMD: return model.amd;
	case COND_INTEL: return !model.amd;
	case COND_APIC: return model.apic;
	case COND_AMX: return amx_offered;
	case COND_EIBRS: return !model.amd && (host_arch_capabilities & ARCH_CAP_IBRS_ALL);
	case COND_ZEN5: return model.zen5;
	}
	return false;
}

static void model_add(u32 leaf, u32 subleaf)
{
	bool exists = leaf <= (leaf & 0x80000000u ? model.max_extended : model.max_basic);
	struct model_row *row;
	u32 host[4] = { 0, 0, 0, 0 };

	if (model_find(leaf, subleaf))
		return;
	if (exists)
		sys_host_cpuid(leaf, subleaf, host);
	row = model_row(leaf, subleaf);
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		const struct filter *f = &filters[i];

		if (f->leaf == leaf && (f->subleaf == ANY_SUBLEAF || f->subleaf == subleaf) &&
		    condition_holds(f->condition))
			row->r[f->reg] |= (host[f->reg] & f->pass) | f->force;
	}
}

/* Cache leaves end with a subleaf of type 0. */
static void model_add_caches(u32 leaf)
{
	for (u32 i = 0; i < 8; i++) {
		model_add(leaf, i);
		if (!(model_get(leaf, i, EAX) & 31))
			break;
	}
}

static void detect_host(bool has_local_apic)
{
	u32 r[4], family;

	memset(&model, 0, sizeof(model));
	model.apic = has_local_apic;
	sys_host_cpuid(0, 0, r);
	model.max_basic = r[EAX];
	/* "AuthenticAMD", "HygonGenuine" */
	model.amd = (r[EBX] == 0x68747541 && r[EDX] == 0x69746e65 && r[ECX] == 0x444d4163) ||
		    (r[EBX] == 0x6f677948 && r[EDX] == 0x6e65476e && r[ECX] == 0x656e6975);
	sys_host_cpuid(0x80000000, 0, r);
	model.max_extended = r[EAX];
	sys_host_cpuid(1, 0, r);
	family = (r[EAX] >> 8) & 15;
	if (family == 15)
		family += (r[EAX] >> 20) & 0xff;
	model.zen5 = model.amd && family >= 0x1a;
}

static u32 xstate_size(u64 components, bool compacted)
{
	u32 size = 576; /* legacy area and header */

	for (int i = 2; i < 63; i++) {
		if (!(components >> i & 1))
			continue;
		if (compacted) {
			if (model.component_aligned >> i & 1)
				size = (u32)ALIGN_UP(size, 64);
			size += model.component_size[i];
		} else if (model.component_offset[i] + model.component_size[i] > size) {
			size = model.component_offset[i] + model.component_size[i];
		}
	}
	return size;
}

/* x87 SSE AVX AVX-512 (three), and the AMX pair. */
#define XCR0_OFFERED 0xe7ull
#define XCR0_AMX (BIT(17) | BIT(18))

static void build_xstate(void)
{
	u32 r[4];
	u64 host;

	if (!(model_get(1, 0, ECX) & B(26)) || model.max_basic < 0xd)
		return;
	sys_host_cpuid(0xd, 0, r);
	host = r[EAX] | (u64)r[EDX] << 32;
	model.xcr0 = host & (XCR0_OFFERED | (amx_offered ? XCR0_AMX : 0));
	for (u32 i = 2; i < 63; i++) {
		struct model_row *row;

		if (!(model.xcr0 >> i & 1))
			continue;
		sys_host_cpuid(0xd, i, r);
		model.component_size[i] = r[EAX];
		model.component_offset[i] = r[EBX];
		if (r[ECX] & 2)
			model.component_aligned |= BIT(i);
		row = model_row(0xd, i);
		row->r[EAX] = r[EAX];
		row->r[EBX] = r[EBX];
		row->r[ECX] = r[ECX] & 2;
	}
	model_add(0xd, 1);
	memset(r, 0, sizeof(r));
	r[EAX] = (u32)model.xcr0;
	r[EDX] = (u32)(model.xcr0 >> 32);
	r[ECX] = xstate_size(model.xcr0, false);
	memcpy(model_row(0xd, 0)->r, r, sizeof(r));
}

/* Each vCPU is a core of one package, with one thread. */
static void build_topology(void)
{
	u32 bits = cpus > 1 ? 32 - (u32)__builtin_clz(cpus - 1) : 0;
	struct model_row *row = model_row(1, 0), *thread, *core;

	row->r[EBX] |= MIN(cpus, 255u) << 16;
	if (cpus > 1)
		row->r[EDX] |= B(28); /* HTT: that field means something */
	for (unsigned i = 0; !model.amd && i < model.rows; i++)
		if (model.row[i].leaf == 4 && (model.row[i].r[EAX] & 31))
			model.row[i].r[EAX] |= ((1u << bits) - 1) << 26;
	if (model.amd && cpus > 1) {
		model_row(0x80000001, 0)->r[ECX] |= B(1); /* CMP_LEGACY */
		model_row(0x80000008, 0)->r[ECX] = bits << 12 | (cpus - 1);
	}
	if (model.max_basic < 0xb)
		return;
	thread = model_row(0xb, 0);
	thread->r[EBX] = 1;
	thread->r[ECX] = 0x100;
	core = model_row(0xb, 1);
	core->r[EAX] = bits;
	core->r[EBX] = cpus;
	core->r[ECX] = 0x201;
}

static void build_hypervisor(void)
{
	struct model_row *row = model_row(0x40000000, 0);

	row->r[EAX] = 0x40000010;
	row->r[EBX] = 0x4b4d564b; /* "KVMKVMKVM" */
	row->r[ECX] = 0x564b4d56;
	row->r[EDX] = 0x4d;
	/* CLOCKSOURCE, NOP_IO_DELAY, CLOCKSOURCE2, CLOCKSOURCE_STABLE */
	model_row(0x40000001, 0)->r[EAX] = B(0) | B(1) | B(3) | B(24);
	model_row(0x40000010, 0);
}

static void build_frequency(void)
{
	u32 khz = configured_tsc_khz;
	struct model_row *row = model_find(0x40000010, 0);

	if (row) {
		row->r[EAX] = khz;
		row->r[EBX] = 1000000; /* local APIC timer, kHz */
	}
	if (!model.rows || model.amd)
		return;
	/* A crystal of half the frequency: the product that Linux forms in 32 bits, crystal kHz times the
	 * numerator, stays in range. */
	row = model_row(0x15, 0);
	row->r[EAX] = 1;
	row->r[EBX] = khz ? 2 : 0;
	row->r[ECX] = khz * 500u;
	row = model_row(0x16, 0);
	row->r[EAX] = khz / 1000;
	row->r[EBX] = khz / 1000;
}

static void build_limits(void)
{
	struct model_row *row = model_row(0, 0);

	row->r[EAX] = MIN(model.max_basic, 0x1eu);
	if (!model.amd && row->r[EAX] < 0x16)
		row->r[EAX] = 0x16;
	model_row(0x80000000, 0)->r[EAX] = model.amd ? 0x80000021 : 0x80000008;
	model_add(7, 2);
	row = model_row(7, 0);
	row->r[EAX] = 0;
	for (u32 i = 1; i <= 2; i++) {
		const u32 *r = model_row(7, i)->r;

		if (r[EAX] | r[EBX] | r[ECX] | r[EDX])
			row->r[EAX] = i;
	}
	row = model_row(0x80000008, 0);
	model.physical_bits = (int)MIN(row->r[EAX], (u32)MAX_PHYSICAL_BITS);
	row->r[EAX] = (u32)model.physical_bits | VIRTUAL_BITS << 8;
}

/* Control-register bits follow from the features offered. */
static void build_control(void)
{
	static const struct { u64 cr4; u32 leaf; u8 reg, bit; } needs[] = {
		{ CR4_TSD, 1, EDX, 4 }, { CR4_DE, 1, EDX, 2 }, { CR4_PSE, 1, EDX, 3 }, { CR4_PAE, 1, EDX, 6 },
		{ CR4_MCE, 1, EDX, 7 }, { CR4_PGE, 1, EDX, 13 }, { CR4_OSFXSR, 1, EDX, 24 },
		{ CR4_OSXMMEXCPT, 1, EDX, 25 }, { CR4_UMIP, 7, ECX, 2 }, { CR4_FSGSBASE, 7, EBX, 0 },
		{ CR4_PCIDE, 1, ECX, 17 }, { CR4_OSXSAVE, 1, ECX, 26 }, { CR4_SMEP, 7, EBX, 7 },
		{ CR4_SMAP, 7, EBX, 20 },
	};

	model.cr4 = CR4_PCE;
	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		if (sys_cpuid_has(needs[i].leaf, 0, needs[i].reg, needs[i].bit))
			model.cr4 |= needs[i].cr4;
	}
	model.efer = EFER_SCE | EFER_LME;
	if (sys_cpuid_has(0x80000001, 0, EDX, 20))
		model.efer |= EFER_NX;
	if (sys_cpuid_has(0x80000021, 0, EAX, 8))
		model.efer |= EFER_AIBRSE;
	if (!model.amd)
		model.arch_capabilities = (host_arch_capabilities & ARCH_CAP_PASS) | ARCH_CAP_FORCE;
}

void sys_cpuid_init(bool has_local_apic)
{
	detect_host(has_local_apic);
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		if (filters[i].subleaf != ANY_SUBLEAF && filters[i].leaf != 0xd)
			model_add(filters[i].leaf, filters[i].subleaf);
	}
	model_add_caches(model.amd ? 0x8000001d : 4);
	if (amx_offered) {
		model_add(0x1d, 0);
		model_add(0x1d, 1);
	}
	build_xstate();
	build_topology();
	build_limits();
	build_hypervisor();
	build_frequency();
	build_control();
}

void sys_cpuid_set_tsc_khz(u32 khz)
{
	configured_tsc_khz = khz;
	build_frequency();
}

void sys_cpuid_set_arch_capabilities(u64 host) { host_arch_capabilities = host; }
void sys_cpuid_set_cpus(u32 count) { cpus = count ? count : 1; }
void sys_cpuid_offer_amx(bool offer) { amx_offered = offer; }

static bool leaf_has_subleaves(u32 leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x1d || leaf == 0x1e ||
	       leaf == 0x8000001d;
}

void sys_cpuid(const struct cpu *c, u32 leaf, u32 subleaf, u32 regs[4])
{
	const struct model_row *row = model_find(leaf, leaf_has_subleaves(leaf) ? subleaf : 0);

	memset(regs, 0, 4 * sizeof(regs[0]));
	if (row)
		memcpy(regs, row->r, sizeof(row->r));
	if (leaf == 1) {
		regs[EBX] |= (u32)c->apic_id << 24;
		if (c->cr4 & CR4_OSXSAVE)
			regs[ECX] |= B(27);
	} else if (leaf == 0xb) {
		if (subleaf > 1)
			regs[ECX] = subleaf & 0xff;
		if (model.max_basic >= 0xb)
			regs[EDX] = (u32)c->apic_id;
	} else if (leaf == 0x8000001e && model.amd) {
		regs[EAX] = (u32)c->apic_id;
		regs[EBX] = (u32)c->apic_id & 0xff; /* core, one thread in it */
	} else if (leaf == 0xd && row && subleaf <= 1) {
		/* Sizes for what XCR0 enables now: standard in subleaf 0, compacted in subleaf 1. */
		if (!subleaf || (regs[EAX] & B(1)))
			regs[EBX] = xstate_size(c->xcr0, subleaf);
	}
}

bool sys_host_is_amd(void) { return model.amd; }
bool sys_has_local_apic(void) { return model.apic; }

bool sys_cpuid_has(u32 leaf, u32 subleaf, int reg, int bit)
{
	return model_get(leaf, subleaf, reg) >> bit & 1;
}

u64 sys_cr4_valid(void) { return model.cr4; }
u64 sys_xcr0_valid(void) { return model.xcr0; }
u64 sys_efer_valid(void) { return model.efer; }
int sys_physical_bits(void) { return model.physical_bits; }
u64 sys_arch_capabilities(void) { return model.arch_capabilities; }
