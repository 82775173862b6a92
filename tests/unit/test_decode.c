/* SPDX-License-Identifier: MIT
 * LIBS: -lZydis
 * WITH: x86/decode.c x86/decode_table.c x86/decode_vector.c x86/unit.c
 *
 * The instruction decoder against Zydis: every instruction of programs that a Debian machine has,
 * every opcode with every ModRM and prefix, and random bytes.  Where the two differ on purpose, a row
 * of differences[] says so and why.  A seed may be given as the first argument. */
#include "x86/decode.h"
#include "x86/unit.h"

#include <Zydis/Zydis.h>
#include <elf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- what is compared, and the deliberate differences ---- */

enum {
	CMP_VALID = 1, CMP_LENGTH = 2, CMP_LAYOUT = 4, CMP_MEMORY = 8, CMP_ACCESS = 16, CMP_SIZE = 32,
	CMP_READS = 64, CMP_WRITES = 128, CMP_FLAGS = 256, CMP_CLASS = 512, CMP_PRIV = 1024, CMP_OSIZE = 2048,
	CMP_UNIT = 4096,
};

static const char *const cmp_names[] = {
	"validity", "length", "layout", "memory operand", "memory access", "memory size", "registers read",
	"registers written", "flags", "class", "privilege", "operand size",
	"unit",
};

struct difference {
	unsigned what;
	bool (*applies)(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o, const struct insn *in);
	const char *reason;
	unsigned long count;
};

static enum insn_mode current_mode;

#define RULE(name) static bool name(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o, const struct insn *in)
#define UNUSED_RULE (void)z, (void)o, (void)in

RULE(is_knc)
{
	UNUSED_RULE;
	return z->meta.isa_ext == ZYDIS_ISA_EXT_KNC || z->meta.isa_ext == ZYDIS_ISA_EXT_KNCE || z->meta.isa_ext == ZYDIS_ISA_EXT_KNCV;
}

RULE(is_mpx)
{
	UNUSED_RULE;
	return z->meta.isa_ext == ZYDIS_ISA_EXT_MPX;
}

RULE(is_mpx_nop)
{
	UNUSED_RULE;
	return in->enc == ENC_LEGACY && in->map == MAP_0F && (in->op == 0x1a || in->op == 0x1b);
}

RULE(is_ud)
{
	UNUSED_RULE;
	return z->mnemonic == ZYDIS_MNEMONIC_UD0 || z->mnemonic == ZYDIS_MNEMONIC_UD1 || z->mnemonic == ZYDIS_MNEMONIC_UD2;
}

RULE(is_nop)
{
	UNUSED_RULE;
	return in->enc == ENC_LEGACY && in->map == MAP_0F && (in->op == 0x0d || (in->op >= 0x18 && in->op <= 0x1f));
}

/* Far beyond a vector register, or the x87 environment and state. */
RULE(is_variable)
{
	UNUSED_RULE;
	for (unsigned i = 0; i < z->operand_count; i++)
		if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY && !in->mem_size)
			return o[i].size == 0 || o[i].size > 64 * 8 || (in->map == MAP_1B && (in->op == 0xd9 || in->op == 0xdd));
	return false;
}

RULE(is_port_64)
{
	UNUSED_RULE;
	return in->klass >= IC_INS && in->klass <= IC_OUT && in->osize == 4 && z->operand_width == 64;
}

RULE(is_sib_no_base)
{
	UNUSED_RULE;
	return (in->sib & 7) == 5 && in->mod == 0 && (in->rex & 1) && in->asize == 4;
}

RULE(is_padlock)
{
	UNUSED_RULE;
	return z->meta.isa_ext == ZYDIS_ISA_EXT_PADLOCK;
}

RULE(is_3dnow)
{
	UNUSED_RULE;
	return in->enc == ENC_LEGACY && in->map == MAP_0F && in->op == 0x0f;
}

RULE(is_cache_line)
{
	UNUSED_RULE;
	return in->map == MAP_0F && in->op == 0xae && in->mem_size == 1;
}

RULE(is_movsxd_16)
{
	UNUSED_RULE;
	return in->map == MAP_1B && in->op == 0x63 && in->osize == 2;
}

RULE(is_no_access)
{
	UNUSED_RULE;
	return in->klass == IC_INVLPG || (in->enc == ENC_EVEX && in->map == MAP_0F38 && (in->op == 0xc6 || in->op == 0xc7));
}

RULE(is_notrack)
{
	UNUSED_RULE;
	return in->seg == SEG_DS && (in->klass == IC_CALL_IND || in->klass == IC_JMP_IND);
}

RULE(is_w_ignored)
{
	UNUSED_RULE;
	return current_mode != MODE_64 && in->enc == ENC_EVEX && (in->rex & 8);
}

RULE(is_table_load)
{
	UNUSED_RULE;
	return in->klass == IC_LGDT || in->klass == IC_LIDT;
}

RULE(is_rep_xchg)
{
	UNUSED_RULE;
	return in->enc == ENC_LEGACY && in->map == MAP_1B && in->op == 0x90 && in->rep == 0xf3 && (in->rex & 1);
}

/* AVX-IFMA, AVX-VNNI-INT8 and -INT16, AVX-NE-CONVERT, CMPccXADD, RAO-INT, SHA512, SM3, SM4, AMX-FP16,
 * AMX-COMPLEX, WRMSRNS. */
RULE(is_newer)
{
	static const u8 vex_38[] = { 0x50, 0x51, 0x5c, 0x6c, 0x72, 0xb0, 0xb1, 0xb4, 0xb5, 0xcb, 0xcc, 0xcd, 0xd2, 0xd3, 0xda };

	UNUSED_RULE;
	if (in->enc == ENC_LEGACY)
		return (in->map == MAP_0F38 && in->op == 0xfc) || (in->map == MAP_0F && in->op == 0x01 && in->modrm == 0xc6);
	if (in->map == MAP_0F3A)
		return in->enc == ENC_VEX && in->op == 0xde;
	return in->enc == ENC_VEX && in->map == MAP_0F38 && (memchr(vex_38, in->op, sizeof(vex_38)) || in->op >> 4 == 0xe);
}

RULE(is_never_offered)
{
	UNUSED_RULE;
	return in->klass == IC_VMX || in->klass == IC_CET;
}

static struct difference differences[] = {
	{ CMP_VALID, is_knc, "Knights Corner instructions: no 64-bit server processor has them", 0 },
	{ CMP_MEMORY | CMP_ACCESS | CMP_SIZE | CMP_LAYOUT | CMP_READS | CMP_WRITES, is_mpx,
	  "MPX is never offered: its opcodes are multi-byte NOPs", 0 },
	{ CMP_VALID, is_mpx_nop, "MPX is never offered: its undefined forms are NOPs too", 0 },
	{ CMP_VALID, is_ud, "UD0, UD1, UD2 are instructions to Zydis, undefined opcodes here", 0 },
	{ CMP_ACCESS | CMP_READS | CMP_SIZE, is_nop, "NOPs and prefetches: nothing is accessed", 0 },
	{ CMP_SIZE, is_variable, "no fixed size up to 64 bytes (x87 environment, FXSAVE, XSAVE)", 0 },
	{ CMP_OSIZE, is_port_64, "REX.W does nothing to port instructions", 0 },
	{ CMP_MEMORY | CMP_READS, is_sib_no_base, "SIB base 101 with mod 00 is no base whatever REX.B (SDM 2A 2.2.1.2); "
	  "Zydis 4.0 says R13D with a 67 prefix", 0 },
	{ CMP_VALID, is_padlock, "VIA Padlock: not in any processor that Debian calls a host", 0 },
	{ CMP_LAYOUT, is_3dnow, "3DNow!: the byte after the operand is an immediate here, the opcode to Zydis", 0 },
	{ CMP_SIZE, is_cache_line, "CLFLUSH, CLFLUSHOPT, CLWB: checked as a read of the byte addressed", 0 },
	{ CMP_SIZE, is_movsxd_16, "MOVSXD with 66 has a 16-bit source (SDM 2B)", 0 },
	{ CMP_ACCESS, is_no_access, "INVLPG, VGATHERPF, VSCATTERPF: nothing is accessed", 0 },
	{ CMP_MEMORY, is_notrack, "3E on an indirect branch is still DS where CET is off", 0 },
	{ CMP_VALID, is_w_ignored, "EVEX.W is ignored outside 64-bit mode where it would select a 64-bit register (SDM 2C)", 0 },
	{ CMP_PRIV, is_table_load, "LGDT, LIDT are privileged (SDM 2A); Zydis 4.0 does not say so", 0 },
	{ CMP_READS | CMP_WRITES, is_rep_xchg, "F3 90 with REX.B is XCHG with R8 on real processors, PAUSE to Zydis", 0 },
	{ CMP_VALID, is_newer, "newer than Zydis 4.0", 0 },
	{ CMP_SIZE | CMP_ACCESS | CMP_READS | CMP_WRITES | CMP_FLAGS | CMP_PRIV | CMP_OSIZE, is_never_offered,
	  "always #UD: what they would do is not recorded", 0 },
};

/* ---- expected classes ---- */

static const struct { ZydisMnemonic mnemonic; enum insn_class klass; } expected_classes[] = {
#define X(m, k) { ZYDIS_MNEMONIC_##m, IC_##k },
	X(LOOP, LOOP) X(LOOPE, LOOP) X(LOOPNE, LOOP) X(JCXZ, LOOP) X(JECXZ, LOOP) X(JRCXZ, LOOP)
	X(JO, JCC) X(JNO, JCC) X(JB, JCC) X(JNB, JCC) X(JZ, JCC) X(JNZ, JCC) X(JBE, JCC) X(JNBE, JCC)
	X(JS, JCC) X(JNS, JCC) X(JP, JCC) X(JNP, JCC) X(JL, JCC) X(JNL, JCC) X(JLE, JCC) X(JNLE, JCC)
	X(IRET, IRET) X(IRETD, IRET) X(IRETQ, IRET) X(INT, INT) X(INT3, INT3) X(INT1, INT1) X(INTO, INTO)
	X(SYSCALL, SYSCALL) X(SYSRET, SYSRET) X(SYSENTER, SYSENTER) X(SYSEXIT, SYSEXIT)
	X(PUSHA, PUSHA) X(PUSHAD, PUSHA) X(POPA, POPA) X(POPAD, POPA)
	X(PUSHF, PUSHF) X(PUSHFD, PUSHF) X(PUSHFQ, PUSHF) X(POPF, POPF) X(POPFD, POPF) X(POPFQ, POPF)
	X(ENTER, ENTER) X(LEAVE, LEAVE)
	X(MOVSB, MOVS) X(MOVSW, MOVS) X(MOVSQ, MOVS) X(STOSB, STOS) X(STOSW, STOS) X(STOSD, STOS) X(STOSQ, STOS)
	X(LODSB, LODS) X(LODSW, LODS) X(LODSD, LODS) X(LODSQ, LODS) X(CMPSB, CMPS) X(CMPSW, CMPS) X(CMPSQ, CMPS)
	X(SCASB, SCAS) X(SCASW, SCAS) X(SCASD, SCAS) X(SCASQ, SCAS)
	X(INSB, INS) X(INSW, INS) X(INSD, INS) X(OUTSB, OUTS) X(OUTSW, OUTS) X(OUTSD, OUTS) X(IN, IN) X(OUT, OUT)
	X(XLAT, XLAT) X(MASKMOVQ, MASKMOV) X(MASKMOVDQU, MASKMOV) X(VMASKMOVDQU, MASKMOV)
	X(LDS, LOAD_FAR) X(LES, LOAD_FAR) X(LSS, LOAD_FAR) X(LFS, LOAD_FAR) X(LGS, LOAD_FAR)
	X(CLI, CLI) X(STI, STI) X(STAC, STAC) X(CLAC, CLAC) X(HLT, HLT) X(CLTS, CLTS) X(LMSW, LMSW) X(SMSW, SMSW)
	X(LGDT, LGDT) X(LIDT, LIDT) X(SGDT, SGDT) X(SIDT, SIDT) X(LLDT, LLDT) X(LTR, LTR) X(SLDT, SLDT) X(STR, STR)
	X(LAR, LAR) X(LSL, LSL) X(VERR, VERR) X(VERW, VERW) X(ARPL, ARPL)
	X(RDMSR, RDMSR) X(WRMSR, WRMSR) X(RDPMC, RDPMC) X(RDTSC, RDTSC) X(RDTSCP, RDTSCP) X(RDPID, RDPID) X(CPUID, CPUID)
	X(INVLPG, INVLPG) X(INVPCID, INVPCID) X(INVD, INVD) X(WBINVD, WBINVD)
	X(INVLPGB, INVLPGB) X(TLBSYNC, TLBSYNC) X(SWAPGS, SWAPGS)
	X(RDFSBASE, RDFSBASE) X(RDGSBASE, RDGSBASE) X(WRFSBASE, WRFSBASE) X(WRGSBASE, WRGSBASE)
	X(XSAVE, XSAVE) X(XSAVE64, XSAVE) X(XSAVEC, XSAVE) X(XSAVEC64, XSAVE) X(XSAVEOPT, XSAVE) X(XSAVEOPT64, XSAVE)
	X(XSAVES, XSAVES) X(XSAVES64, XSAVES) X(XRSTOR, XRSTOR) X(XRSTOR64, XRSTOR) X(XRSTORS, XRSTORS) X(XRSTORS64, XRSTORS)
	X(XGETBV, XGETBV) X(XSETBV, XSETBV) X(RDPKRU, RDPKRU) X(WRPKRU, WRPKRU)
	X(MONITOR, MONITOR) X(MWAIT, MWAIT) X(MONITORX, MONITORX) X(MWAITX, MWAITX)
	X(XBEGIN, XBEGIN) X(XABORT, XABORT) X(XEND, XEND) X(XTEST, XTEST) X(CLZERO, CLZERO) X(MOVDIR64B, MOVDIR64B)
	X(VMCALL, VMCALL) X(VMMCALL, VMCALL)
	X(VMLAUNCH, VMX) X(VMRESUME, VMX) X(VMXOFF, VMX) X(VMXON, VMX) X(VMCLEAR, VMX) X(VMPTRLD, VMX) X(VMPTRST, VMX)
	X(VMREAD, VMX) X(VMWRITE, VMX) X(VMFUNC, VMX) X(INVEPT, VMX) X(INVVPID, VMX)
	X(VMRUN, VMX) X(VMLOAD, VMX) X(VMSAVE, VMX) X(STGI, VMX) X(CLGI, VMX) X(SKINIT, VMX) X(INVLPGA, VMX)
	X(ENCLS, VMX) X(ENCLU, VMX) X(ENCLV, VMX) X(GETSEC, VMX) X(RSM, VMX) X(PCONFIG, VMX)
	X(TDCALL, VMX) X(SEAMCALL, VMX) X(SEAMRET, VMX) X(SEAMOPS, VMX)
	X(SENDUIPI, VMX) X(UIRET, VMX) X(TESTUI, VMX) X(CLUI, VMX) X(STUI, VMX) X(XSUSLDTRK, VMX) X(XRESLDTRK, VMX)
	X(MCOMMIT, VMX) X(RDPRU, VMX) X(RMPADJUST, VMX) X(RMPUPDATE, VMX) X(PSMASH, VMX) X(PVALIDATE, VMX)
	X(ENQCMD, VMX) X(ENQCMDS, VMX) X(PTWRITE, VMX) X(TPAUSE, VMX) X(UMONITOR, VMX) X(UMWAIT, VMX) X(HRESET, VMX)
	X(LOADIWKEY, VMX) X(ENCODEKEY128, VMX) X(ENCODEKEY256, VMX) X(AESENC128KL, VMX) X(AESENC256KL, VMX)
	X(AESDEC128KL, VMX) X(AESDEC256KL, VMX) X(AESENCWIDE128KL, VMX) X(AESENCWIDE256KL, VMX)
	X(AESDECWIDE128KL, VMX) X(AESDECWIDE256KL, VMX) X(LLWPCB, VMX) X(SLWPCB, VMX) X(LWPINS, VMX) X(LWPVAL, VMX)
	X(INCSSPD, CET) X(INCSSPQ, CET) X(SAVEPREVSSP, CET) X(RSTORSSP, CET) X(SETSSBSY, CET) X(CLRSSBSY, CET)
	X(WRSSD, CET) X(WRSSQ, CET) X(WRUSSD, CET) X(WRUSSQ, CET)
#undef X
};

static u8 class_of_mnemonic[ZYDIS_MNEMONIC_MAX_VALUE + 1];
static u8 register_number[ZYDIS_REGISTER_MAX_VALUE + 1]; /* general register 0-15, or REG_NONE */

static enum insn_class expected_class(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	bool segment = o[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		ZydisRegisterGetClass(o[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
	bool far = z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
	ZydisRegisterClass class0, class1;

	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
		return far ? IC_JMP_FAR : o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? IC_JMP : IC_JMP_IND;
	case ZYDIS_MNEMONIC_CALL:
		return far ? IC_CALL_FAR : o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? IC_CALL : IC_CALL_IND;
	case ZYDIS_MNEMONIC_RET:
		return far ? IC_RETF : IC_RET;
	case ZYDIS_MNEMONIC_PUSH:
		return segment ? IC_PUSH_SEG : IC_PUSH;
	case ZYDIS_MNEMONIC_POP:
		return segment ? IC_POP_SEG : IC_POP;
	case ZYDIS_MNEMONIC_MOVSD:
		return z->meta.category == ZYDIS_CATEGORY_STRINGOP ? IC_MOVS : IC_PLAIN;
	case ZYDIS_MNEMONIC_CMPSD:
		return z->meta.category == ZYDIS_CATEGORY_STRINGOP ? IC_CMPS : IC_PLAIN;
	case ZYDIS_MNEMONIC_MOV:
		if (z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && z->opcode >= 0xa0 && z->opcode <= 0xa3)
			return IC_MOFFS;
		class0 = o[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(o[0].reg.value) : ZYDIS_REGCLASS_INVALID;
		class1 = o[1].type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(o[1].reg.value) : ZYDIS_REGCLASS_INVALID;
		return class0 == ZYDIS_REGCLASS_SEGMENT ? IC_MOV_TO_SEG : class1 == ZYDIS_REGCLASS_SEGMENT ? IC_MOV_FROM_SEG :
			class0 == ZYDIS_REGCLASS_CONTROL ? IC_MOV_TO_CR : class1 == ZYDIS_REGCLASS_CONTROL ? IC_MOV_FROM_CR :
			class0 == ZYDIS_REGCLASS_DEBUG ? IC_MOV_TO_DR : class1 == ZYDIS_REGCLASS_DEBUG ? IC_MOV_FROM_DR : IC_PLAIN;
	default:
		return class_of_mnemonic[z->mnemonic];
	}
}

/* ---- one instruction ---- */

static ZydisDecoder oracle[3];
static bool both_valid;          /* of the last compare() */
static u8 *page_end;             /* an unreadable page begins here */
static unsigned long compared, instructions, mismatches, exact_reads, exact_writes;
static char first_failure[300];

static void report(const u8 *b, unsigned n, enum insn_mode mode, unsigned what, const ZydisDecodedInstruction *z, const char *format, ...)
{
	char bytes[64] = "", detail[128];
	va_list ap;

	static u32 seen[4096];
	u32 key = z ? (u32)z->mnemonic << 16 | what : what;
	unsigned k = 0;

	if (mismatches++ == 0) {
		char *p = first_failure + sprintf(first_failure, "%s of", cmp_names[__builtin_ctz(what)]);

		for (unsigned i = 0; i < n && i < 15; i++)
			p += sprintf(p, " %02x", b[i]);
	}
	while (k < ARRAY_SIZE(seen) && seen[k] && seen[k] != key)
		k++;
	if (k == ARRAY_SIZE(seen) || (z && seen[k] == key) || mismatches > 5000)
		return;
	seen[k] = key;
	va_start(ap, format);
	vsnprintf(detail, sizeof(detail), format, ap);
	va_end(ap);
	for (unsigned i = 0; i < n && i < 15; i++)
		sprintf(bytes + 3 * i, "%02x ", b[i]);
	printf("# %s: %d-bit %s(%s): %s\n", cmp_names[__builtin_ctz(what)], mode == MODE_64 ? 64 : mode == MODE_32 ? 32 : 16, bytes,
	       z ? ZydisMnemonicGetString(z->mnemonic) : "invalid", detail);
}

static bool excused(unsigned what, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o, const struct insn *in)
{
	for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
		if ((differences[i].what & what) && differences[i].applies(z, o, in)) {
			differences[i].count++;
			return true;
		}
	}
	return false;
}

#define CHECK(what, condition, ...) do { \
	if (!(condition) && !excused(what, z, o, in)) \
		report(b, in->len, mode, what, z, __VA_ARGS__); \
} while (0)

static void compare_layout(const u8 *b, enum insn_mode mode, const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	unsigned imm_size = (z->raw.imm[0].size + z->raw.imm[1].size) / 8;
	u64 mask = z->raw.imm[0].size == 64 ? ~0ull : (1ull << z->raw.imm[0].size) - 1;

	if (z->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
		CHECK(CMP_LAYOUT, in->off_modrm == z->raw.modrm.offset && in->modrm == b[in->off_modrm], "ModRM at %u, not %u",
		      in->off_modrm, z->raw.modrm.offset);
		CHECK(CMP_LAYOUT, in->off_opcode + 1 == in->off_modrm, "opcode at %u", in->off_opcode);
	} else {
		CHECK(CMP_LAYOUT, !in->off_modrm, "no ModRM");
	}
	CHECK(CMP_LAYOUT, in->off_sib == (z->attributes & ZYDIS_ATTRIB_HAS_SIB ? z->raw.sib.offset : 0), "SIB at %u, not %u",
	      in->off_sib, z->raw.sib.offset);
	CHECK(CMP_LAYOUT, in->disp_size * 8 == z->raw.disp.size && (!in->disp_size || in->off_disp == z->raw.disp.offset),
	      "displacement of %u at %u, not %u at %u", in->disp_size, in->off_disp, z->raw.disp.size / 8, z->raw.disp.offset);
	CHECK(CMP_LAYOUT, in->imm_size == imm_size && (!imm_size || in->off_imm == z->raw.imm[0].offset),
	      "immediate of %u at %u, not %u at %u", in->imm_size, in->off_imm, imm_size, z->raw.imm[0].offset);
	if (imm_size) {
		CHECK(CMP_LAYOUT, !(((u64)in->imm ^ z->raw.imm[0].value.u) & mask), "immediate %llx", (long long)in->imm);
		if (z->raw.imm[0].is_relative)
			CHECK(CMP_LAYOUT, in->imm == z->raw.imm[0].value.s, "displacement %llx", (long long)in->imm);
	}
	if (z->raw.imm[1].size && in->imm_size != 6 && in->klass != IC_JMP_FAR && in->klass != IC_CALL_FAR)
		CHECK(CMP_LAYOUT, in->imm2 == z->raw.imm[1].value.u, "second immediate %x", in->imm2);
}

/* Encoding, map, opcode, and the fields of the prefixes. */
static void compare_prefixes(const u8 *b, enum insn_mode mode, const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	static const u8 encs[] = {
		[ZYDIS_INSTRUCTION_ENCODING_LEGACY] = ENC_LEGACY, [ZYDIS_INSTRUCTION_ENCODING_3DNOW] = ENC_LEGACY,
		[ZYDIS_INSTRUCTION_ENCODING_XOP] = ENC_XOP, [ZYDIS_INSTRUCTION_ENCODING_VEX] = ENC_VEX,
		[ZYDIS_INSTRUCTION_ENCODING_EVEX] = ENC_EVEX,
	};
	static const u8 maps[] = {
		[ZYDIS_OPCODE_MAP_DEFAULT] = MAP_1B, [ZYDIS_OPCODE_MAP_0F] = MAP_0F, [ZYDIS_OPCODE_MAP_0F38] = MAP_0F38,
		[ZYDIS_OPCODE_MAP_0F3A] = MAP_0F3A, [ZYDIS_OPCODE_MAP_0F0F] = MAP_0F, [ZYDIS_OPCODE_MAP_MAP5] = MAP_5,
		[ZYDIS_OPCODE_MAP_MAP6] = MAP_6, [ZYDIS_OPCODE_MAP_XOP8] = MAP_XOP8, [ZYDIS_OPCODE_MAP_XOP9] = MAP_XOP9,
		[ZYDIS_OPCODE_MAP_XOPA] = MAP_XOPA,
	};
	unsigned rex = 0, pp = 0, offset = in->off_enc;

	CHECK(CMP_LAYOUT, in->enc == encs[z->encoding] && in->map == maps[z->opcode_map], "encoding %u, map %u", in->enc, in->map);
	CHECK(CMP_LAYOUT, in->op == z->opcode || z->opcode_map == ZYDIS_OPCODE_MAP_0F0F, "opcode %x", in->op);
	switch (in->enc) {
	case ENC_LEGACY:
		rex = z->raw.rex.W << 3 | z->raw.rex.R << 2 | z->raw.rex.X << 1 | z->raw.rex.B;
		offset = z->attributes & ZYDIS_ATTRIB_HAS_REX ? z->raw.rex.offset : offset;
		CHECK(CMP_LAYOUT, !!in->rex == !!(z->attributes & ZYDIS_ATTRIB_HAS_REX), "REX %x", in->rex);
		break;
	case ENC_VEX:
		rex = z->raw.vex.W << 3 | !z->raw.vex.R << 2 | !z->raw.vex.X << 1 | !z->raw.vex.B;
		pp = z->raw.vex.pp;
		offset = z->raw.vex.offset;
		CHECK(CMP_LAYOUT, in->vl == z->raw.vex.L, "vector length %u", in->vl);
		CHECK(CMP_LAYOUT, in->vvvv == (~z->raw.vex.vvvv & (mode == MODE_64 ? 15 : 7)), "vvvv %u", in->vvvv);
		break;
	case ENC_XOP:
		rex = z->raw.xop.W << 3 | !z->raw.xop.R << 2 | !z->raw.xop.X << 1 | !z->raw.xop.B;
		offset = z->raw.xop.offset;
		CHECK(CMP_LAYOUT, in->vl == z->raw.xop.L, "vector length %u", in->vl);
		break;
	case ENC_EVEX:
		rex = z->raw.evex.W << 3 | !z->raw.evex.R << 2 | !z->raw.evex.X << 1 | !z->raw.evex.B;
		pp = z->raw.evex.pp;
		offset = z->raw.evex.offset;
		CHECK(CMP_LAYOUT, in->vl == (z->raw.evex.b && in->mod == 3 ? 2 : z->raw.evex.L2 << 1 | z->raw.evex.L), "vector length %u", in->vl);
		if (!in->vsib)
			CHECK(CMP_LAYOUT, in->vvvv == ((~z->raw.evex.vvvv & (mode == MODE_64 ? 15 : 7)) | !z->raw.evex.V2 << 4), "vvvv %u", in->vvvv);
		break;
	}
	if (mode != MODE_64)
		rex &= 8;
	CHECK(CMP_LAYOUT, (in->rex & 15u) == rex, "REX bits %x, not %x", in->rex, rex);
	CHECK(CMP_LAYOUT, in->pp == pp, "pp %u", in->pp);
	CHECK(CMP_LAYOUT, in->off_enc == offset, "encoding prefix at %u, not %u", in->off_enc, offset);
	CHECK(CMP_LAYOUT, in->nprefix == in->off_enc, "%u prefixes", in->nprefix);
	if (in->off_modrm) {
		CHECK(CMP_LAYOUT, (in->reg & 15) == (z->raw.modrm.reg | (rex & 4) << 1), "reg %u", in->reg);
		CHECK(CMP_LAYOUT, (in->rm & 15) == (z->raw.modrm.rm | (rex & 1) << 3), "rm %u", in->rm);
	}
	CHECK(CMP_LAYOUT, !in->lock == !(z->attributes & ZYDIS_ATTRIB_HAS_LOCK), "lock %u", in->lock);
}

static void compare_memory(const u8 *b, enum insn_mode mode, const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	static const u8 segments[6] = { ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS, ZYDIS_REGISTER_SS, ZYDIS_REGISTER_DS,
		ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS };
	const ZydisDecodedOperand *m = NULL;
	unsigned seg = in->seg != SEG_NONE ? in->seg : in->base_seg_ss ? SEG_SS : SEG_DS, base, index;
	bool rd, wr;

	for (unsigned i = 0; i < z->operand_count; i++)
		if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY && o[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
			m = &o[i];
	CHECK(CMP_MEMORY, in->has_mem == (m != NULL), "has_mem %d", in->has_mem);
	if (!m || !in->has_mem)
		return;
	base = m->mem.base == ZYDIS_REGISTER_RIP || m->mem.base == ZYDIS_REGISTER_EIP ? REG_RIP : register_number[m->mem.base];
	index = in->vsib ? (unsigned)ZydisRegisterGetId(m->mem.index) : register_number[m->mem.index];
	CHECK(CMP_MEMORY, in->base == base, "base %u, not %u", in->base, base);
	CHECK(CMP_MEMORY, in->index == index, "index %u, not %u", in->index, index);
	CHECK(CMP_MEMORY, index == REG_NONE || in->scale == m->mem.scale, "scale %u, not %u", in->scale, m->mem.scale);
	CHECK(CMP_MEMORY, in->disp == (m->mem.disp.has_displacement ? m->mem.disp.value : 0), "displacement %lld, not %lld",
	      (long long)in->disp, (long long)m->mem.disp.value);
	if (m->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
		CHECK(CMP_MEMORY, m->mem.segment == segments[seg], "segment %u, not %s", seg, ZydisRegisterGetString(m->mem.segment));
	CHECK(CMP_MEMORY, in->asize * 8 == z->address_width, "address size %u", in->asize);
	rd = m->mem.type != ZYDIS_MEMOP_TYPE_AGEN && (m->actions & ZYDIS_OPERAND_ACTION_MASK_READ);
	wr = m->mem.type != ZYDIS_MEMOP_TYPE_AGEN && (m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
	CHECK(CMP_ACCESS, in->mem_read == rd && in->mem_write == wr, "access %d%d, not %d%d", in->mem_read, in->mem_write, rd, wr);
	if (in->mem_read || in->mem_write)
		CHECK(CMP_SIZE, in->mem_size * 8 == m->size, "size %u, not %u", in->mem_size, m->size / 8);
}

static void compare_registers(const u8 *b, enum insn_mode mode, const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	unsigned reads = 0, writes = 0, touched = 0, flags_read = 0, flags_written = 0;
	bool high = false;

	for (unsigned i = 0; i < z->operand_count; i++) {
		unsigned r;

		if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
			if ((r = register_number[o[i].mem.base]) < 16)
				reads |= 1u << r;
			if ((r = register_number[o[i].mem.index]) < 16)
				reads |= 1u << r;
		}
		if (o[i].type != ZYDIS_OPERAND_TYPE_REGISTER || (r = register_number[o[i].reg.value]) >= 16)
			continue;
		touched |= 1u << r;
		if (o[i].actions & ZYDIS_OPERAND_ACTION_MASK_READ)
			reads |= 1u << r;
		if ((o[i].actions & ZYDIS_OPERAND_ACTION_WRITE) && o[i].size >= 32)
			writes |= 1u << r;
		if (o[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT && o[i].reg.value >= ZYDIS_REGISTER_AH && o[i].reg.value <= ZYDIS_REGISTER_BH)
			high = true;
	}
	touched |= reads;
	CHECK(CMP_READS, !(reads & ~in->reg_read), "reads %x, oracle %x", in->reg_read, reads);
	CHECK(CMP_READS, !(touched & ~in->reg_touch), "touches %x, oracle %x", in->reg_touch, touched);
	CHECK(CMP_READS, !((in->reg_read | in->reg_write) & ~in->reg_touch), "touches %x", in->reg_touch);
	CHECK(CMP_READS, in->byte_reg_high == high, "high byte register %d", in->byte_reg_high);
	CHECK(CMP_WRITES, !(in->reg_write & ~writes), "writes %x, oracle %x", in->reg_write, writes);
	exact_reads += in->reg_read == reads;
	exact_writes += in->reg_write == writes;
	if (z->cpu_flags) {
		flags_read = z->cpu_flags->tested & (FLAGS_STATUS | FLAG_DF);
		flags_written = z->cpu_flags->modified | z->cpu_flags->set_0 | z->cpu_flags->set_1 | z->cpu_flags->undefined;
	}
	CHECK(CMP_FLAGS, !(flags_read & ~in->flags_read), "reads flags %x, oracle %x", in->flags_read, flags_read);
	CHECK(CMP_FLAGS, !(in->flags_write & ~flags_written), "writes flags %x, oracle %x", in->flags_write, flags_written);
}

static void compare_class(const u8 *b, enum insn_mode mode, const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	enum insn_class k = expected_class(z, o);
	bool branch = z->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;

	CHECK(CMP_CLASS, in->klass == k, "class %s, not %s", insn_class_name(in->klass), insn_class_name(k));
	CHECK(CMP_CLASS, !branch || in->ends_block, "a branch that does not end the block");
	CHECK(CMP_PRIV, in->privileged == !!(z->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED), "privileged %d", in->privileged);
	switch (in->klass) {
	case IC_PUSH: case IC_POP: case IC_PUSHF: case IC_POPF: case IC_PUSHA: case IC_POPA: case IC_ENTER: case IC_LEAVE:
	case IC_MOVS: case IC_STOS: case IC_LODS: case IC_CMPS: case IC_SCAS: case IC_INS: case IC_OUTS: case IC_IN: case IC_OUT:
	case IC_CALL: case IC_RET: case IC_JMP_IND: case IC_CALL_IND: case IC_MOFFS: case IC_IRET: case IC_RETF:
		CHECK(CMP_OSIZE, in->osize * 8 == z->operand_width, "operand size %u, not %u", in->osize, z->operand_width / 8);
		break;
	default:
		break;
	}
}

/* By the registers that the instruction touches; what touches none is listed. */
static enum insn_unit expected_unit(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	bool x87 = z->meta.isa_ext == ZYDIS_ISA_EXT_X87, mmx = z->mnemonic == ZYDIS_MNEMONIC_EMMS || z->mnemonic == ZYDIS_MNEMONIC_FEMMS;
	bool vector = false;

	if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && z->encoding != ZYDIS_INSTRUCTION_ENCODING_3DNOW)
		return z->meta.isa_ext == ZYDIS_ISA_EXT_BMI1 || z->meta.isa_ext == ZYDIS_ISA_EXT_BMI2 || z->meta.isa_ext == ZYDIS_ISA_EXT_TBM ||
		       z->mnemonic == ZYDIS_MNEMONIC_LLWPCB || z->mnemonic == ZYDIS_MNEMONIC_SLWPCB ||
		       z->mnemonic == ZYDIS_MNEMONIC_LWPINS || z->mnemonic == ZYDIS_MNEMONIC_LWPVAL ? UNIT_NONE : UNIT_AVX;
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_FWAIT:
		return UNIT_WAIT;
	case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64:
		return UNIT_FXSAVE;
	case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64: case ZYDIS_MNEMONIC_XSAVEC: case ZYDIS_MNEMONIC_XSAVEC64:
	case ZYDIS_MNEMONIC_XSAVEOPT: case ZYDIS_MNEMONIC_XSAVEOPT64: case ZYDIS_MNEMONIC_XSAVES: case ZYDIS_MNEMONIC_XSAVES64:
	case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64: case ZYDIS_MNEMONIC_XRSTORS: case ZYDIS_MNEMONIC_XRSTORS64:
		return UNIT_XSAVE;
	case ZYDIS_MNEMONIC_LDMXCSR: case ZYDIS_MNEMONIC_STMXCSR: case ZYDIS_MNEMONIC_CVTSS2SI: case ZYDIS_MNEMONIC_CVTTSS2SI:
	case ZYDIS_MNEMONIC_CVTSD2SI: case ZYDIS_MNEMONIC_CVTTSD2SI:
	case ZYDIS_MNEMONIC_CVTPS2PI: case ZYDIS_MNEMONIC_CVTTPS2PI: case ZYDIS_MNEMONIC_CVTPD2PI: case ZYDIS_MNEMONIC_CVTTPD2PI:
		vector = true;
		break;
	default:
		break;
	}
	for (int i = 0; i < z->operand_count; i++) {
		ZydisRegisterClass c = o[i].type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(o[i].reg.value) : ZYDIS_REGCLASS_INVALID;

		x87 |= c == ZYDIS_REGCLASS_X87;
		mmx |= c == ZYDIS_REGCLASS_MMX;
		vector |= c == ZYDIS_REGCLASS_XMM || c == ZYDIS_REGCLASS_YMM || c == ZYDIS_REGCLASS_ZMM || c == ZYDIS_REGCLASS_MASK;
	}
	return x87 ? UNIT_X87 : vector ? UNIT_SSE : mmx ? UNIT_MMX : UNIT_NONE;
}

static void compare_unit(const u8 *b, enum insn_mode mode, const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	enum insn_unit u = expected_unit(z, o);

	/* Others are invalid opcodes to every guest. */
	if (in->klass != IC_VMX && in->klass != IC_CET)
		CHECK(CMP_UNIT, insn_unit(in) == u, "unit %d, not %d", insn_unit(in), u);
}

static const ZydisMachineMode machine_modes[3] = {
	ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
};

/* Decodes `n` bytes with both.  Returns the length by the oracle, or 0. */
static unsigned compare(const u8 *b, size_t n, enum insn_mode mode)
{
	ZydisDecodedInstruction zi, *z = &zi;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	struct insn insn, *in = &insn;
	bool valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&oracle[mode], b, n, z, o));
	int rc = insn_decode(in, b, n, mode);
	bool ours = rc == 0 && in->klass != IC_INVALID;

	compared++;
	current_mode = mode;
	both_valid = valid && ours;
	if (valid != ours) {
		if (!valid)
			memset(z, 0, sizeof(*z));
		if (!excused(CMP_VALID, z, o, in))
			report(b, valid ? z->length : in->len, mode, CMP_VALID, valid ? z : NULL, "returned %d, %s", rc, insn_class_name(in->klass));
		return valid ? z->length : 0;
	}
	if (!valid)
		return 0;
	instructions++;
	CHECK(CMP_LENGTH, in->len == z->length, "length %u, not %u", in->len, z->length);
	compare_layout(b, mode, in, z, o);
	compare_prefixes(b, mode, in, z, o);
	compare_memory(b, mode, in, z, o);
	compare_registers(b, mode, in, z, o);
	compare_class(b, mode, in, z, o);
	compare_unit(b, mode, in, z, o);
	return z->length;
}

/* Every shorter prefix of the instruction must ask for more, and touch nothing behind its end; with
 * redundant prefixes it must fit in 15 bytes. */
static unsigned long truncated;
static void compare_truncated(const u8 *b, unsigned n, enum insn_mode mode)
{
	struct insn in;
	u8 padded[32];

	for (unsigned k = 0; k < n; k++) {
		memcpy(page_end - k, b, k);
		if (insn_decode(&in, page_end - k, k, mode) != -1)
			report(b, k, mode, CMP_LENGTH, NULL, "truncated to %u bytes: does not ask for more", k);
		truncated++;
	}
	memset(padded, 0x3e, sizeof(padded));
	memcpy(padded + 15 - n, b, n);
	if (insn_decode(&in, padded, 15, mode) || in.len != 15)
		report(padded, 15, mode, CMP_LENGTH, NULL, "padded to 15 bytes: length %u", in.len);
	memset(padded, 0x3e, sizeof(padded));
	memcpy(padded + 16 - n, b, n);
	if (insn_decode(&in, padded, 16, mode) != -2 || insn_decode(&in, padded, 15, mode) != -2)
		report(padded, 15, mode, CMP_LENGTH, NULL, "padded to 16 bytes: accepted");
	truncated += 3;
}

static int tests_run, tests_failed;

static void result(const char *name)
{
	tests_run++;
	printf("# %s: %lu byte strings, %lu instructions compared\n", name, compared, instructions);
	if (mismatches) {
		tests_failed++;
		printf("not ok - %s: %lu mismatches, first %s\n", name, mismatches, first_failure);
	} else {
		printf("ok - %s\n", name);
	}
	fflush(stdout);
	compared = instructions = mismatches = 0;
}

/* ---- what Zydis cannot say ---- */

#define R(r) (1u << (r))
static const struct answer {
	const char *text, *bytes;
	u8 n, mode;
	u8 klass;
	u8 mem;                /* read 1, written 2 */
	u16 reg_read, reg_write, flags_read, flags_write;
	s64 imm;
	u16 second;            /* imm2 or selector */
} answers[] = {
#define A(text, bytes, mode, klass, mem, rr, rw, fr, fw, ...) { text, bytes, sizeof(bytes) - 1, mode, IC_##klass, mem, rr, rw, fr, fw, __VA_ARGS__ },
	A("shl eax, 0", "\xc1\xe0\x00", MODE_64, PLAIN, 0, R(RAX), R(RAX), 0, 0, 0, 0)
	A("shl eax, 32", "\xc1\xe0\x20", MODE_64, PLAIN, 0, R(RAX), R(RAX), 0, 0, 32, 0)
	A("shl rax, 32", "\x48\xc1\xe0\x20", MODE_64, PLAIN, 0, R(RAX), R(RAX), 0, FLAGS_STATUS, 32, 0)
	A("shl rax, 64", "\x48\xc1\xe0\x40", MODE_64, PLAIN, 0, R(RAX), R(RAX), 0, 0, 64, 0)
	A("shl eax, 1", "\xd1\xe0", MODE_64, PLAIN, 0, R(RAX), R(RAX), 0, FLAGS_STATUS, 0, 0)
	A("shl eax, cl", "\xd3\xe0", MODE_64, PLAIN, 0, R(RAX) | R(RCX), R(RAX), 0, 0, 0, 0)
	A("rcl dword [rax], 1", "\xd1\x10", MODE_64, PLAIN, 3, R(RAX), 0, FLAG_CF, FLAG_CF | FLAG_OF, 0, 0)
	A("cmove eax, ecx", "\x0f\x44\xc1", MODE_64, PLAIN, 0, R(RAX) | R(RCX), 0, FLAG_ZF, 0, 0, 0)
	A("bsf eax, ecx", "\x0f\xbc\xc1", MODE_64, PLAIN, 0, R(RAX) | R(RCX), 0, 0, FLAGS_STATUS, 0, 0)
	A("tzcnt eax, ecx", "\xf3\x0f\xbc\xc1", MODE_64, PLAIN, 0, R(RCX), R(RAX), 0, FLAGS_STATUS, 0, 0)
	A("cmpxchg rcx, rbx", "\x48\x0f\xb1\xd9", MODE_64, PLAIN, 0, R(RAX) | R(RBX) | R(RCX), 0, 0, FLAGS_STATUS, 0, 0)
	A("mov ah, bl", "\x88\xdc", MODE_64, PLAIN, 0, R(RBX), 0, 0, 0, 0, 0)
	A("repe cmpsb", "\xf3\xa6", MODE_64, CMPS, 0, R(RSI) | R(RDI) | R(RCX), 0, FLAG_DF | FLAGS_STATUS, 0, 0, 0)
	A("cmpsb", "\xa6", MODE_64, CMPS, 0, R(RSI) | R(RDI), 0, FLAG_DF, FLAGS_STATUS, 0, 0)
	A("endbr64", "\xf3\x0f\x1e\xfa", MODE_64, PLAIN, 0, 0, 0, 0, 0, 0, 0)
	A("rdsspq rax", "\xf3\x48\x0f\x1e\xc8", MODE_64, PLAIN, 0, 0, 0, 0, 0, 0, 0)
	A("nop [rax]", "\x0f\x1f\x00", MODE_64, PLAIN, 0, R(RAX), 0, 0, 0, 0, 0)
	A("lea rax, [rbx]", "\x48\x8d\x03", MODE_64, PLAIN, 0, R(RBX), R(RAX), 0, 0, 0, 0)
	A("mov eax, [1:1]", "\xa1\1\0\0\0\1\0\0\0", MODE_64, MOFFS, 1, 0, R(RAX), 0, 0, 0, 0)
	A("mov [1], al", "\xa2\1\0\0\0\0\0\0\0", MODE_64, MOFFS, 2, R(RAX), 0, 0, 0, 0, 0)
	A("enter 0x1234, 5", "\xc8\x34\x12\x05", MODE_64, ENTER, 0, R(RSP) | R(RBP), R(RSP) | R(RBP), 0, 0, 0x1234, 5)
	A("jmp 0x33:0x80000001", "\xea\1\0\0\x80\x33\0", MODE_32, JMP_FAR, 0, 0, 0, 0, 0, 0x80000001, 0x33)
	A("call 0x33:0x8001", "\x66\x9a\1\x80\x33\0", MODE_32, CALL_FAR, 0, R(RSP), R(RSP), 0, 0, 0x8001, 0x33)
	A("ret 0xfff0", "\xc2\xf0\xff", MODE_64, RET, 0, R(RSP), R(RSP), 0, 0, 0xfff0, 0)
	A("push -1", "\x6a\xff", MODE_64, PUSH, 0, R(RSP), R(RSP), 0, 0, -1, 0)
	A("and rsp, -16", "\x48\x83\xe4\xf0", MODE_64, PLAIN, 0, R(RSP), R(RSP), 0, FLAGS_STATUS, -16, 0)
	A("int 0x80", "\xcd\x80", MODE_64, INT, 0, 0, 0, 0, 0, 0x80, 0)
	A("syscall", "\x0f\x05", MODE_64, SYSCALL, 0, 0, R(RCX) | R(R11), FLAGS_STATUS | FLAG_DF, 0, 0, 0)
	A("clflush [rdi]", "\x0f\xae\x3f", MODE_64, PLAIN, 1, R(RDI), 0, 0, 0, 0, 0)
	A("movdir64b rax, [rdx]", "\x66\x0f\x38\xf8\x02", MODE_64, MOVDIR64B, 1, R(RAX) | R(RDX), 0, 0, 0, 0, 0)
	/* newer than Zydis 4.0; encodings by GNU as 2.40 */
	A("vpmadd52luq ymm3, ymm2, ymm1", "\xc4\xe2\xed\xb4\xd9", MODE_64, PLAIN, 0, 0, 0, 0, 0, 0, 0)
	A("vpdpbuud ymm3, ymm2, ymm1", "\xc4\xe2\x6c\x50\xd9", MODE_64, PLAIN, 0, 0, 0, 0, 0, 0, 0)
	A("vpdpbssds xmm3, xmm2, [rax]", "\xc4\xe2\x6b\x51\x18", MODE_64, PLAIN, 1, R(RAX), 0, 0, 0, 0, 0)
	A("vcvtneoph2ps ymm3, [rax]", "\xc4\xe2\x7c\xb0\x18", MODE_64, PLAIN, 1, R(RAX), 0, 0, 0, 0, 0)
	A("vcvtneobf162ps ymm3, [rax]", "\xc4\xe2\x7f\xb0\x18", MODE_64, PLAIN, 1, R(RAX), 0, 0, 0, 0, 0)
	A("vbcstnebf162ps xmm3, [rax]", "\xc4\xe2\x7a\xb1\x18", MODE_64, PLAIN, 1, R(RAX), 0, 0, 0, 0, 0)
	A("vcvtneps2bf16 xmm2, ymm1", "\xc4\xe2\x7e\x72\xd1", MODE_64, PLAIN, 0, 0, 0, 0, 0, 0, 0)
	A("cmpbexadd [rax], rdx, rcx", "\xc4\xe2\xf1\xe6\x10", MODE_64, PLAIN, 3, R(RAX) | R(RCX) | R(RDX), R(RDX), 0, FLAGS_STATUS, 0, 0)
	A("cmpzxadd [r8], r9d, ecx", "\xc4\x42\x71\xe4\x08", MODE_64, PLAIN, 3, R(R8) | R(R9) | R(RCX), R(R9), 0, FLAGS_STATUS, 0, 0)
	A("aand [rcx], eax", "\x66\x0f\x38\xfc\x01", MODE_64, PLAIN, 3, R(RAX) | R(RCX), 0, 0, 0, 0, 0)
	A("tdpfp16ps tmm3, tmm2, tmm1", "\xc4\xe2\x73\x5c\xda", MODE_64, PLAIN, 0, 0, 0, 0, 0, 0, 0)
#define INVALID(text, bytes, mode) A(text, bytes, mode, INVALID, 0, 0xffff, 0, FLAGS_STATUS | FLAG_DF, 0, 0, 0)
	INVALID("lock add eax, ecx", "\xf0\x01\xc8", MODE_64)
	INVALID("lock cmp [rax], ecx", "\xf0\x39\x08", MODE_64)
	INVALID("lock mov [rax], ecx", "\xf0\x89\x08", MODE_64)
	INVALID("lock bt [rax], ecx", "\xf0\x0f\xa3\x08", MODE_64)
	INVALID("mov cs, eax", "\x8e\xc8", MODE_64)
	INVALID("mov dr8, rax", "\x44\x0f\x23\xc0", MODE_64)
	INVALID("mov cr1, rax", "\x0f\x22\xc8", MODE_64)
	INVALID("ud2", "\x0f\x0b", MODE_64)
	INVALID("ud1 eax, [rax+0x12]", "\x0f\xb9\x40\x12", MODE_64)
	INVALID("REX2", "\xd5", MODE_64)
	INVALID("push es", "\x06", MODE_64)
	INVALID("swapgs", "\x0f\x01\xf8", MODE_32)
#undef INVALID
#undef A
};

static void test_answers(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		const struct answer *a = &answers[i];
		struct insn in;
		int rc = insn_decode(&in, (const u8 *)a->bytes, a->n, a->mode);

		compared++;
		if (rc || in.len != a->n || in.klass != a->klass || in.reg_read != a->reg_read || in.reg_write != a->reg_write ||
		    in.flags_read != a->flags_read || in.flags_write != a->flags_write || in.imm != a->imm ||
		    in.mem_read + 2 * in.mem_write != a->mem || in.imm2 + in.selector != a->second || in.ends_block != (in.klass != IC_PLAIN && in.klass < IC_PUSH))
			report((const u8 *)a->bytes, a->n, a->mode, CMP_CLASS, NULL, "%s: %d, length %u, %s, registers %x %x, flags %x %x, immediate %llx %x",
			       a->text, rc, in.len, insn_class_name(in.klass), in.reg_read, in.reg_write, in.flags_read, in.flags_write,
			       (long long)in.imm, in.imm2 + in.selector);
	}
	result("what Zydis cannot say");
}

/* ---- programs ---- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void sweep(const u8 *text, size_t size)
{
	struct insn in;
	unsigned long n = 0;
	double t;

	for (size_t i = 0, k = 0; i < size; k++) {
		size_t left = size - i;
		unsigned len = compare(text + i, left < 15 ? left : 15, MODE_64);

		if (both_valid && k % 64 == 0)
			compare_truncated(text + i, len, MODE_64);
		i += len ? len : 1;
	}
	t = now();
	for (size_t i = 0; i < size; n++)
		i += insn_decode(&in, text + i, size - i, MODE_64) == 0 ? in.len : 1;
	printf("# %.1f ns an instruction\n", (now() - t) / n);
}

static void test_program(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	const u8 *file;
	const Elf64_Ehdr *eh;
	const Elf64_Shdr *sh;
	char name[128];

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	file = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file == MAP_FAILED)
		return;
	eh = (const Elf64_Ehdr *)file;
	sh = (const Elf64_Shdr *)(file + eh->e_shoff);
	exact_reads = exact_writes = 0;
	for (unsigned i = 0; i < eh->e_shnum; i++)
		if (sh[i].sh_type == SHT_PROGBITS && (sh[i].sh_flags & SHF_EXECINSTR))
			sweep(file + sh[i].sh_offset, sh[i].sh_size);
	printf("# exact register sets: read %.2f %%, written %.2f %%\n", 100.0 * exact_reads / (instructions + 1),
	       100.0 * exact_writes / (instructions + 1));
	if (exact_writes * 100 < instructions * 97)
		report(file, 4, MODE_64, CMP_WRITES, NULL, "register sets too coarse to be of use");
	snprintf(name, sizeof(name), "every instruction of %s", path);
	result(name);
	munmap((void *)file, st.st_size);
}

/* ---- every opcode ---- */

static u64 seed_state;
static u32 next_random(void)
{
	seed_state ^= seed_state << 13;
	seed_state ^= seed_state >> 7;
	seed_state ^= seed_state << 17;
	return (u32)(seed_state >> 16);
}

static void fill_random(u8 *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		b[i] = (u8)next_random();
}

static void one(const u8 *b, enum insn_mode mode)
{
	static unsigned k;
	unsigned len = compare(b, 15, mode);

	if (both_valid && k++ % 32 == 0)
		compare_truncated(b, len, mode);
}

static const char *const prefixes_full[] = { "", "\x66", "\xf2", "\xf3", "\x48" };
static const char *const prefixes_some[] = {
	"\x41", "\x44", "\x4f", "\x40", "\x67", "\xf0", "\x2e", "\x26", "\x36", "\x3e", "\x64", "\x65", "\x66\x48", "\xf2\x48", "\xf3\x48", "\x66\xf2", "\xf3\x66",
	"\xf2\xf3", "\xf3\xf2", "\x66\x67", "\xf0\x66", "\xf0\x48", "\xf0\xf2", "\x48\x66", "\x64\x67\x4d", "\x66\x41", "\xf3\x41", "\xf3\x67",
};

static void opcode_with(const char *prefix, unsigned map, unsigned op, unsigned modrm, enum insn_mode mode)
{
	static const char *const escapes[] = { "", "\x0f", "\x0f\x38", "\x0f\x3a" };
	u8 b[24];
	size_t n = strlen(prefix), e = strlen(escapes[map]);

	memcpy(b, prefix, n);
	memcpy(b + n, escapes[map], e);
	b[n + e] = (u8)op;
	b[n + e + 1] = (u8)modrm;
	fill_random(b + n + e + 2, 12);
	one(b, mode);
}

static void test_opcodes(enum insn_mode mode, const char *name)
{
	for (unsigned map = 0; map < 4; map++)
		for (unsigned op = 0; op < 256; op++) {
			for (unsigned p = 0; p < ARRAY_SIZE(prefixes_full); p++)
				for (unsigned modrm = 0; modrm < 256; modrm++)
					opcode_with(prefixes_full[p], map, op, modrm, mode);
			for (unsigned p = 0; p < ARRAY_SIZE(prefixes_some); p++)
				for (unsigned k = 0; k < 24; k++) /* each reg with memory, SIB, register */
					opcode_with(prefixes_some[p], map, op, (k & 7) << 3 | (k < 8 ? next_random() & 0xc7 : k < 16 ? 4 : 0xc0 | (next_random() & 7)), mode);
		}
	result(name);
}

static void test_vex(enum insn_mode mode, const char *name)
{
	for (unsigned k = 0; k < 256 * 4 * 4 * 64 * 8; k++) {
		unsigned op = k & 255, pp = (k >> 8) & 3, wl = (k >> 10) & 3, form = (k >> 12) & 63;
		u32 r = next_random();
		u8 b[24];

		/* form: ModRM.reg, memory with SIB or register, vvvv unused or not, and the map at random */
		fill_random(b, sizeof(b));
		b[0] = r & 0x300 ? 0xc4 : 0xc5;
		b[1] = 0xe0 | (1 + (r & 0xff) % 3);
		if (!(r & 0xc00))
			b[1] ^= 0xe0 & (r >> 12);
		b[2] = (u8)((wl & 1) << 7 | (form & 8 ? 0x78 : (r >> 20 & 15) << 3) | (wl >> 1) << 2 | pp);
		b[3] = (u8)op;
		b[4] = (u8)((form & 7) << 3 | (form & 16 ? 4 : form & 32 ? 0xc0 : 0xc4));
		if (b[0] == 0xc5) {
			b[1] = (u8)((b[2] & 0x7f) | 0x80);
			memmove(b + 2, b + 3, 12);
		} else if ((r & 0xf0000000) == 0) {
			b[0] = 0x8f;
			b[1] = (u8)((b[1] & 0xe0) | (8 + (r >> 8) % 3));
			b[2] &= 0xfc;
		}
		one(b, mode);
	}
	result(name);
}

static void test_evex(enum insn_mode mode, const char *name)
{
	static const u8 maps[8] = { 1, 1, 2, 2, 2, 3, 5, 6 };

	for (unsigned k = 0; k < 256 * 4 * 8 * 128 * 4; k++) {
		unsigned op = k & 255, pp = (k >> 8) & 3, map = maps[(k >> 10) & 7], form = (k >> 13) & 127;
		u32 r = next_random(), s = next_random();
		u8 b[24];

		fill_random(b, sizeof(b));
		b[0] = 0x62;
		b[1] = (u8)(map | (s & 3 ? 0xf0 : (r & 0xf0)));
		b[2] = (u8)((form & 1) << 7 | (s & 4 ? 0x78 : (r >> 4) & 0x78) | 4 | pp);
		b[3] = (u8)((form & 6) << 4 | (s & 0x18 ? 8 : 0) | (s & 0x60 ? 0 : 0x10) | (s & 0x180 ? 0 : 0x80) | (s & 0x200 ? r >> 12 & 7 : 0));
		b[4] = (u8)op;
		b[5] = (u8)(((r >> 16) & 0x38) | (form & 8 ? 0xc0 | (r >> 24 & 7) : form & 16 ? 0x44 : form & 32 ? 0x04 : r >> 24 & 0xc7));
		one(b, mode);
	}
	result(name);
}

static void test_random(enum insn_mode mode, const char *name)
{
	u8 b[24];

	for (unsigned k = 0; k < 2000000; k++) {
		fill_random(b, 16);
		if (k & 1)
			b[0] = (u8[]){ 0x66, 0xf2, 0xf3, 0x48, 0x0f, 0x0f, 0xc4, 0x62 }[(k >> 1) & 7];
		one(b, mode);
	}
	result(name);
}

static void set_up(void)
{
	u8 *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || mprotect(pages + 4096, 4096, PROT_NONE))
		exit(1);
	page_end = pages + 4096;
	for (unsigned i = 0; i < 3; i++) {
		ZydisDecoderInit(&oracle[i], machine_modes[i], i == 0 ? ZYDIS_STACK_WIDTH_64 : i == 1 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
		ZydisDecoderEnableMode(&oracle[i], ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
	}
	memset(class_of_mnemonic, IC_PLAIN, sizeof(class_of_mnemonic));
	for (size_t i = 0; i < ARRAY_SIZE(expected_classes); i++)
		class_of_mnemonic[expected_classes[i].mnemonic] = expected_classes[i].klass;
	for (unsigned r = 0; r <= ZYDIS_REGISTER_MAX_VALUE; r++) {
		ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);

		register_number[r] = full >= ZYDIS_REGISTER_RAX && full <= ZYDIS_REGISTER_R15 ? full - ZYDIS_REGISTER_RAX : REG_NONE;
	}
}

int main(int argc, char **argv)
{
	static const char *const programs[] = {
		"/bin/busybox", "/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "/usr/bin/python3",
	};

	set_up();
	seed_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	while (!seed_state)
		if (getrandom(&seed_state, sizeof(seed_state), 0) < 0)
			return 1;
	printf("# seed 0x%llx\n", (unsigned long long)seed_state);
	test_answers();
	for (int i = 2; i < argc; i++) /* further programs to look at */
		test_program(argv[i]);
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		test_program(programs[i]);
	test_opcodes(MODE_64, "every opcode, ModRM and prefix, 64-bit");
	test_opcodes(MODE_32, "every opcode, ModRM and prefix, 32-bit");
	test_vex(MODE_64, "VEX and XOP, 64-bit");
	test_vex(MODE_32, "VEX and XOP, 32-bit");
	test_evex(MODE_64, "EVEX, 64-bit");
	test_evex(MODE_32, "EVEX, 32-bit");
	test_random(MODE_64, "random bytes, 64-bit");
	test_random(MODE_32, "random bytes, 32-bit");
	test_random(MODE_16, "random bytes, 16-bit");
	printf("# %lu truncated or padded instructions\n", truncated);
	for (size_t i = 0; i < ARRAY_SIZE(differences); i++)
		printf("# differs on purpose, %lu times: %s\n", differences[i].count, differences[i].reason);
	printf("1..%d\n", tests_run);
	return tests_failed ? 1 : 0;
}
