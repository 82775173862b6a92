/* SPDX-License-Identifier: MIT
 * Instruction forms as they occur in real programs, and random ones; what is excluded, and why. */
#include <elf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#undef PF_W /* a segment's flag there, an error code's here */

#include "diff/harness.h"
#include "machine/kernel.h"

#define FORMS_MAX 200000u
#define SEEN_SIZE (1u << 20)
#define PER_FORM 2

/* Instructions whose results differ from the host's by design. */
static const struct { u8 klass; const char *why; } excluded_classes[] = {
	{ IC_CPUID, "the guest has a processor model of its own" },
	{ IC_RDTSC, "time" }, { IC_RDTSCP, "time" }, { IC_RDPMC, "counters are not offered" },
	{ IC_RDPID, "the guest has its own TSC_AUX" },
	{ IC_XGETBV, "the guest has its own XCR0" },
	{ IC_XSAVE, "component masks are cut to the guest's XCR0" }, { IC_XRSTOR, "the same" },
	{ IC_XSAVES, "the same" }, { IC_XRSTORS, "the same" }, { IC_XSETBV, "the same" },
	{ IC_RDPKRU, "protection keys are not offered" }, { IC_WRPKRU, "protection keys are not offered" },
	{ IC_SYSCALL, "natively a system call of the host" }, { IC_SYSENTER, "the same" }, { IC_SYSRET, "the same" },
	{ IC_SYSEXIT, "the same" },
	{ IC_SGDT, "the host's kernel emulates it" }, { IC_SIDT, "the same" }, { IC_SLDT, "the same" },
	{ IC_STR, "the same" }, { IC_SMSW, "the same" },
	{ IC_LAR, "descriptor tables differ" }, { IC_LSL, "the same" }, { IC_VERR, "the same" }, { IC_VERW, "the same" },
	{ IC_ARPL, "32-bit only" },
	{ IC_MOV_FROM_SEG, "selectors differ" }, { IC_MOV_TO_SEG, "the same" }, { IC_PUSH_SEG, "the same" },
	{ IC_POP_SEG, "the same" }, { IC_LOAD_FAR, "the same" }, { IC_JMP_FAR, "the same" }, { IC_CALL_FAR, "the same" },
	{ IC_RETF, "the same" }, { IC_IRET, "the same" },
	{ IC_XBEGIN, "transactions are not offered" }, { IC_XABORT, "the same" }, { IC_XEND, "the same" },
	{ IC_XTEST, "the same" },
	{ IC_VMX, "not offered" }, { IC_VMCALL, "not offered" }, { IC_CET, "shadow stacks are not offered" },
	{ IC_MONITOR, "waiting differs" }, { IC_MWAIT, "the same" }, { IC_MONITORX, "the same" }, { IC_MWAITX, "the same" },
	{ IC_INVLPGB, "AMD system instructions depend on the host" }, { IC_TLBSYNC, "the same" },
	{ IC_INT1, "the host's kernel treats it as a debug trap of its own" },
	{ IC_INT, "natively the vector's gates are the host's" },
	{ IC_POPF, "AC, NT and ID are virtual" },
	{ IC_STAC, "depends on SMAP" }, { IC_CLAC, "the same" },
	{ IC_INVALID, "the decoder's tests compare what is an instruction" },
};

const char *corpus_excluded(const struct insn *in, const u8 *raw)
{
	for (size_t i = 0; i < sizeof excluded_classes / sizeof *excluded_classes; i++)
		if (excluded_classes[i].klass == in->klass)
			return excluded_classes[i].why;
	if ((in->klass == IC_MOVDIR64B || in->klass == IC_MASKMOV) && (in->seg == SEG_GS || in->base == REG_RIP))
		return "not executed: #UD in the guest";
	if (in->vsib && in->addrsize_prefix)
		return "gathers with 32-bit addresses are not translated for both halves, nor with a GS override";
	if (in->addrsize_prefix && in->has_mem && in->seg == SEG_GS && in->mem_size >= 16)
		return "vectors at 32-bit addresses with a GS override, where only C could execute them: #UD in the guest";
	if (in->addrsize_prefix && in->has_mem && in->map == MAP_0F && ((in->op & 0xe7) == 0xa3 || in->op == 0xbb))
		return "bit strings with 32-bit addresses do not wrap everywhere";
	if (in->enc != ENC_LEGACY)
		return NULL;
	if (in->opsize_prefix && (in->klass == IC_JMP || in->klass == IC_JCC || in->klass == IC_LOOP || in->klass == IC_CALL ||
				  in->klass == IC_RET || in->klass == IC_JMP_IND || in->klass == IC_CALL_IND))
		return "16-bit near branches: vendors differ";
	if (in->map == MAP_0F && in->op == 0xc7 && in->mod == 3)
		return "random numbers, and what shares their opcode";
	if (in->map == MAP_0F && in->op == 0xae && in->has_mem && ((in->modrm >> 3 & 7) == 0 || (in->modrm >> 3 & 7) == 1))
		return "FXSAVE and FXRSTOR carry the x87 instruction pointer";
	if (in->map == MAP_0F && in->op == 0xae && !in->has_mem && in->rep)
		return "waiting (UMWAIT, TPAUSE) and shadow stacks";
	if (in->map == MAP_1B && in->op == 0xd9 && in->has_mem && ((in->modrm >> 3 & 7) == 6 || (in->modrm >> 3 & 7) == 4))
		return "FNSTENV carries the x87 instruction pointer";
	if (in->map == MAP_1B && in->op == 0xdd && in->has_mem && ((in->modrm >> 3 & 7) == 6 || (in->modrm >> 3 & 7) == 4))
		return "FNSAVE carries the x87 instruction pointer";
	if (in->map == MAP_0F && (in->op == 0x0d || in->op == 0x18) && raw[0] == 0xf0)
		return "undefined with LOCK";
	return NULL;
}

static u64 register_kind(u8 r)
{
	switch (r) {
	case RSP: return 1;
	case RBP: return 2;
	case R12: return 3;
	case R13: return 4;
	case REG_RIP: return 5;
	case REG_NONE: return 6;
	default: return r < 8 ? 7 : r < 16 ? 8 : 9;
	}
}

/* Encodings with the same key are the same form. */
static u64 form_key(const struct insn *in, const u8 *raw)
{
	u64 h = diff_mix(in->map | in->enc << 8 | in->op << 16 | (u64)in->klass << 24 | (u64)in->osize << 32, in->pp | in->vl << 2);
	bool group = in->off_modrm && in->enc == ENC_LEGACY &&
		     (in->op == 0x80 || in->op == 0x81 || in->op == 0x83 || in->op >= 0xc0);

	h = diff_mix(h, in->rep | in->lock << 8 | in->opsize_prefix << 9 | in->addrsize_prefix << 10 | (u64)in->seg << 16);
	h = diff_mix(h, in->has_mem | in->disp_size << 1 | in->imm_size << 5 | (in->off_sib != 0) << 9);
	if (in->off_modrm) {
		h = diff_mix(h, register_kind(in->reg) | register_kind(in->rm) << 4 | (u64)(group ? in->modrm >> 3 & 7 : 0) << 8);
		if (in->has_mem)
			h = diff_mix(h, register_kind(in->base) | register_kind(in->index) << 4 | in->scale << 8 |
					(in->base == in->index) << 12 | (in->base == in->reg) << 13 | in->vsib << 14);
		else
			h = diff_mix(h, in->reg == in->rm);
	} else {
		h = diff_mix(h, register_kind((u8)((in->op & 7) | (in->rex & 1) << 3)));
	}
	if (in->enc == ENC_EVEX)
		h = diff_mix(h, raw[in->off_enc + 3] & 0x97);
	return diff_mix(h, in->rex >> 3 & 1) | 1;
}

static u64 *seen;
static u8 *seen_count;

static void add(struct corpus *c, const struct insn *in, const u8 *raw)
{
	u64 key = form_key(in, raw);
	u32 h = (u32)(key >> 40) & (SEEN_SIZE - 1);

	while (seen[h] && seen[h] != key)
		h = (h + 1) & (SEEN_SIZE - 1);
	if (seen[h] && seen_count[h] >= PER_FORM)
		return;
	if (c->n == FORMS_MAX)
		return;
	seen[h] = key;
	seen_count[h]++;
	struct form *f = &c->forms[c->n++];

	memcpy(f->raw, raw, in->len);
	f->len = in->len;
}

static u64 sweep(struct corpus *c, const u8 *p, size_t n)
{
	struct insn in;
	u64 count = 0;

	for (size_t at = 0; at + INSN_MAX <= n;) {
		if (insn_decode(&in, p + at, INSN_MAX, MODE_64)) {
			at++;
			continue;
		}
		if (in.klass != IC_INVALID && !corpus_excluded(&in, p + at))
			add(c, &in, p + at);
		at += in.len;
		count++;
	}
	return count;
}

static u64 sweep_elf(struct corpus *c, const u8 *file, size_t size)
{
	const Elf64_Ehdr *h = (const void *)file;
	u64 count = 0;

	if (size < sizeof *h || memcmp(h->e_ident, ELFMAG, SELFMAG))
		return 0;
	if (h->e_shoff && h->e_shoff + (u64)h->e_shnum * sizeof(Elf64_Shdr) <= size) {
		const Elf64_Shdr *s = (const void *)(file + h->e_shoff);

		for (int i = 0; i < h->e_shnum; i++)
			if (s[i].sh_type == SHT_PROGBITS && s[i].sh_flags & SHF_EXECINSTR &&
			    s[i].sh_offset + s[i].sh_size <= size)
				count += sweep(c, file + s[i].sh_offset, s[i].sh_size);
		return count;
	}
	const Elf64_Phdr *p = (const void *)(file + h->e_phoff);

	for (int i = 0; i < h->e_phnum && h->e_phoff + (u64)(i + 1) * sizeof *p <= size; i++)
		if (p[i].p_type == PT_LOAD && p[i].p_flags & PF_X && p[i].p_offset + p[i].p_filesz <= size)
			count += sweep(c, file + p[i].p_offset, p[i].p_filesz);
	return count;
}

u64 corpus_read(struct corpus *c, const char *path)
{
	FILE *f = fopen(path, "rb");
	struct err e = { 0 };
	struct kernel k;
	u64 count = 0;
	u8 *bytes;
	long size;

	if (!c->forms) {
		c->forms = calloc(FORMS_MAX, sizeof *c->forms);
		seen = calloc(SEEN_SIZE, sizeof *seen);
		seen_count = calloc(SEEN_SIZE, 1);
	}
	if (!f)
		return 0;
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	bytes = malloc((size_t)size + INSN_MAX);
	if (fread(bytes, 1, (size_t)size, f) != (size_t)size)
		size = 0;
	fclose(f);
	if (size > 4 && !memcmp(bytes, ELFMAG, SELFMAG)) {
		count = sweep_elf(c, bytes, (size_t)size);
	} else if (size && !kernel_parse(&k, bytes, (size_t)size, KERNEL_FILE_MAX, &e)) {
		count = sweep_elf(c, k.elf, k.elf_size);
		kernel_free(&k);
	}
	free(bytes);
	return count;
}

/* Prefixes and opcode as real encodings have them, everything behind at random. */
static void random_bytes(u8 *b)
{
	static const u8 prefixes[] = { 0x66, 0xf2, 0xf3, 0x67, 0xf0, 0x64, 0x65, 0x2e, 0x3e, 0x26, 0x36 };
	int at = 0;

	for (int i = 0; i < 16; i++)
		b[i] = (u8)rnd();
	for (int i = rnd_below(8) ? 0 : 2; i < 2; i++)
		b[at++] = prefixes[rnd_below(i ? 11 : 4)];
	switch (rnd_below(8)) {
	case 0: case 1:
		if (rnd_below(2))
			b[at++] = 0x40 | (rnd() & 15);
		break;
	case 2: case 3:
		if (rnd_below(2))
			b[at++] = 0x40 | (rnd() & 15);
		b[at++] = 0x0f;
		break;
	case 4:
		if (rnd_below(2))
			b[at++] = 0x40 | (rnd() & 15);
		b[at++] = 0x0f;
		b[at++] = rnd_below(2) ? 0x38 : 0x3a;
		break;
	case 5:
		b[at++] = 0xc5;
		break;
	case 6:
		b[at++] = 0xc4;
		b[at] = (b[at] & 0xe0) | (1 + rnd_below(3));
		break;
	default:
		b[at++] = 0x62;
		b[at] = (b[at] & 0xf0) | (1 + rnd_below(3));
		b[at + 1] |= 4;
		break;
	}
}

void corpus_random(struct form *f)
{
	struct insn in;
	u8 b[16];

	do
		random_bytes(b);
	while (insn_decode(&in, b, INSN_MAX, MODE_64) || in.klass == IC_INVALID || corpus_excluded(&in, b));
	memcpy(f->raw, b, in.len);
	f->len = in.len;
}

/* What translations do with R10 and R11 of their own: RIP-relative operands, control transfers, stores to the stack. */
static const struct { u8 len, raw[8]; } kept_forms[] = {
	{ 7, { 0x4c, 0x8b, 0x15 } }, { 7, { 0x4c, 0x8b, 0x1d } }, { 7, { 0x4c, 0x63, 0x15 } },  /* mov, movsxd reg, [rip + x] */
	{ 8, { 0x44, 0x0f, 0xb6, 0x1d } }, { 7, { 0x4c, 0x89, 0x15 } }, { 7, { 0x4c, 0x01, 0x1d } },
	{ 7, { 0x4c, 0x03, 0x15 } }, { 6, { 0x8b, 0x05 } }, { 6, { 0x89, 0x0d } }, { 6, { 0xff, 0x35 } },
	{ 3, { 0x4d, 0x87, 0x13 } }, { 4, { 0x4d, 0x0f, 0xc1, 0x13 } }, { 5, { 0xf0, 0x4d, 0x0f, 0xb1, 0x1a } },
	{ 2, { 0x41, 0x52 } }, { 2, { 0x41, 0x5b } }, { 3, { 0x41, 0xff, 0x32 } }, { 3, { 0x41, 0x8f, 0x03 } },
	{ 3, { 0x4d, 0x89, 0xda } }, { 4, { 0x4f, 0x8d, 0x14, 0x1a } }, { 3, { 0x49, 0xff, 0xc3 } },
};
static const struct { u8 len, raw[8]; } kept_ends[] = {
	{ 6, { 0xff, 0x15 } }, { 6, { 0xff, 0x25 } },                        /* call, jmp [rip + x] */
	{ 3, { 0x41, 0xff, 0x12 } }, { 4, { 0x41, 0xff, 0x53, 0x08 } }, { 4, { 0x43, 0xff, 0x14, 0x1a } },
	{ 3, { 0x41, 0xff, 0x23 } }, { 4, { 0x43, 0xff, 0x24, 0x13 } }, { 2, { 0xff, 0x10 } }, { 2, { 0xff, 0x21 } },
	{ 3, { 0xc2, 0x10, 0x00 } }, { 1, { 0xc3 } },
	{ 5, { 0xe8 } }, { 5, { 0xe9 } }, { 6, { 0x0f, 0x84 } }, { 2, { 0xe2 } }, { 2, { 0xe3 } }, { 1, { 0xc9 } },
};

/* Makes registers that a legacy form names R10 or R11; false where it has none that can be. */
static bool with_kept(struct form *f)
{
	u8 b[16] = { 0 }, which = (u8)(1 + rnd_below(3)), r = (u8)(2 + rnd_below(2));
	struct insn in;

	memcpy(b, f->raw, f->len);
	if (insn_decode(&in, b, INSN_MAX, MODE_64) || in.enc != ENC_LEGACY || !in.off_modrm || in.len > INSN_MAX - 1)
		return false;
	if (!in.rex) {
		memmove(b + in.off_enc + 1, b + in.off_enc, (size_t)(in.len - in.off_enc));
		b[in.off_enc] = 0x40;
		if (insn_decode(&in, b, INSN_MAX, MODE_64))
			return false;
	}
	if (which & 1) {
		b[in.off_enc] |= 4;
		b[in.off_modrm] = (u8)((b[in.off_modrm] & ~0x38) | r << 3);
	}
	if ((which & 2) && in.off_sib) {
		b[in.off_enc] |= 2;
		b[in.off_sib] = (u8)((b[in.off_sib] & ~0x38) | (r ^ 1) << 3);
	} else if ((which & 2) && in.base != REG_RIP && !(in.has_mem && in.base == REG_NONE)) {
		b[in.off_enc] |= 1;
		b[in.off_modrm] = (u8)((b[in.off_modrm] & ~7) | (r ^ 1));
	}
	if (insn_decode(&in, b, INSN_MAX, MODE_64) || in.klass != IC_PLAIN || corpus_excluded(&in, b) ||
	    !(in.reg_touch & (BIT(R10) | BIT(R11))))
		return false;
	memcpy(f->raw, b, in.len);
	f->len = in.len;
	return true;
}

void corpus_kept(const struct corpus *c, struct form *f, bool last)
{
	for (int i = 0; c->n && !last && rnd_below(2) && i < 20; i++) {
		*f = c->forms[rnd_below(c->n)];
		if (with_kept(f))
			return;
	}
	u32 i = rnd_below(last ? ARRAY_SIZE(kept_ends) : ARRAY_SIZE(kept_forms));
	const u8 *raw = last ? kept_ends[i].raw : kept_forms[i].raw;

	f->len = last ? kept_ends[i].len : kept_forms[i].len;
	memcpy(f->raw, raw, f->len);
}
