/* SPDX-License-Identifier: MIT
 * The differential test's host harness: corpus of instruction forms -> tests with random states -> native run
 * and guest run of the same -> comparison, shrinking, report.  One thread; no lock. */
#ifndef PENUMBRA_TESTS_DIFF_HARNESS_H
#define PENUMBRA_TESTS_DIFF_HARNESS_H

#include <signal.h>
#include <stdio.h>
#undef REG_RIP /* <ucontext.h> and the decoder both have one */

#include "diff/format.h"
#include "x86/cpu.h"
#include "x86/decode.h"

#define KOFF (KERNEL_BASE - harness.user_base) /* from a user address to its kernel twin */
#define SLOT_BYTES 128u
#define SLOTS_PER_BATCH (CODE_BYTES / SLOT_BYTES)
#define SLOT_CODE 32u       /* a test's code begins here, at the end of a page up to 15 bytes before its end */
#define SLOT_LANDING 16u    /* always INT3: where jumps to other pages go */
#define SEQUENCE_MAX 5
#define N_PRESETS 24

/* One instruction of a test. */
struct test_insn {
	u8 raw[16];         /* as the guest has it */
	u8 native[16];      /* as it runs natively; begins `before` bytes earlier */
	u8 len, before;
	struct insn in;
};

/* What the native run holds as a user address is in the guest the kernel twin: registers at the start and,
 * where the code ran to its end, at the end. */
struct test {
	struct test_insn insn[SEQUENCE_MAX];
	int n;
	u8 world;
	bool user_half;     /* kernel world: memory operands in the user half */
	bool stack_mode;    /* kernel world: RSP is a user address natively */
	u16 shift_in, shift_out;
	bool shift_fs, shift_gs, fold_gs;
	u8 patch_shift;     /* bit i: patch i holds an address */
	bool shift_pushed;  /* the quadword at the final RSP is an address */
	bool landing;       /* may end elsewhere than behind its last instruction */
	u32 code;           /* offset in the region of the first instruction in the guest */
	u32 native_code;    /* and natively */
	u16 at[SEQUENCE_MAX + 1], native_at[SEQUENCE_MAX + 1]; /* offsets of the instructions from those; last: the end */
	u32 slot, native_slot;
	bool wild;          /* some operand was not aimed */
	struct diff_case c; /* the guest's initial state; c.rip is its address */
};

struct harness {
	u64 seed, random;
	u64 user_base;
	const char *penumbra, *guest, *knobs, *tmp;
	struct diff_batch layout;
	u8 *presets;        /* N_PRESETS XSAVE images */
	u64 *images;        /* base image */
	u64 counted[2], skipped, mismatches;
	bool low_alias;     /* the window is mapped at its low 32 bits too */
	bool trap_flag;     /* every case single-steps */
	bool verbose;
};
extern struct harness harness;

u64 rnd(void);
static inline u32 rnd_below(u32 n) { return (u32)(rnd() >> 33) % n; }

/* ---- corpus.c ---- */
struct form { u8 raw[INSN_MAX], len; };
struct corpus { struct form *forms; u32 n; };
/* Forms of the executable parts of the ELF file, or of the kernel inside a bzImage; returns how many instructions were read. */
u64 corpus_read(struct corpus *c, const char *path);
/* A random encoding that the decoder takes for an instruction. */
void corpus_random(struct form *f);
/* A form that uses R10 or R11, which translations of 64-bit user code keep in memory between blocks; `last`: one that
 * may end a block. */
void corpus_kept(const struct corpus *c, struct form *f, bool last);
/* Why the instruction is not compared, or NULL. */
const char *corpus_excluded(const struct insn *in, const u8 *raw);

/* ---- generate.c ---- */
/* A test of one form (n = 1) or of a sequence; false where it cannot be made. */
bool generate(struct test *t, const struct form *const *forms, int n, u8 world, u32 slot);
/* Gives the test new random registers; false where its operands cannot be aimed. */
bool generate_state(struct test *t);
/* The kernel-world test with its operands in the other half, its native code in another slot; false where
 * that means nothing. */
bool generate_other_half(struct test *t, u32 native_slot);
/* Does the memory operand lie in the user half of a kernel-world test? */
bool generate_in_user_half(const struct test *t, const struct insn *in);
/* ADD, AND, SUB and so on of RSP and an immediate. */
bool generate_rsp_arithmetic(const struct insn *in);
void generate_presets(void);
/* Encodes the native twin of the test's code and puts both into their images. */
void generate_place(struct test *t, u8 *guest_code, u8 *native_code);

/* ---- native.c ---- */
/* Runs the tests in a child process; results[i] is the final state as the guest should reach it.  vec: NULL,
 * or one a test.  results[i].vector == VECTOR_DROPPED: not comparable. */
#define VECTOR_DROPPED 0xff
int native_run(const struct test *tests, u32 n, const u8 *code, struct diff_state *results, struct diff_vec *vec);

/* ---- run.c ---- */
struct mismatch { u32 index; struct diff_state expect, got; struct diff_vec expect_vec, got_vec; };
/* Runs tests natively and in the guest.  Returns the number of mismatches, of which up to `room` are in `out`;
 * -1 where the guest did not come to an end. */
int compare(struct test *tests, u32 n, struct mismatch *out, u32 room, u32 *found);
u32 shrink(struct test *t, struct mismatch *m);
void show_code(const struct test *t);
void report(const struct test *t, const struct mismatch *m);

#endif
