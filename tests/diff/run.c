/* SPDX-License-Identifier: MIT
 * Batches for the guest, what it says about them, shrinking and the report. */
#include <Zydis/Zydis.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "diff/harness.h"

#define REPORT_MAX 64
#define GUEST_SECONDS 20

static void write_batch(FILE *f, const struct test *tests, u32 n, const struct diff_state *expect, const u8 *code)
{
	struct diff_batch b = harness.layout;
	u64 at = 4096;

	b.magic = DIFF_MAGIC;
	b.user_base = harness.user_base;
	b.n_presets = N_PRESETS;
	b.report_max = REPORT_MAX;
	b.presets = at;
	at += N_PRESETS * XSAVE_SIZE;
	b.images = at;
	at += IMAGE_PAGES * 4096;
	b.code = at;
	at += CODE_BYTES;
	b.cases = at;
	b.n_cases = 0;
	for (u32 i = 0; i < n; i++)
		b.n_cases += expect[i].vector != VECTOR_DROPPED;
	fwrite(&b, sizeof b, 1, f);
	fseek(f, 4096, SEEK_SET);
	fwrite(harness.presets, XSAVE_SIZE, N_PRESETS, f);
	fwrite(harness.images, 4096, IMAGE_PAGES, f);
	fwrite(code, CODE_BYTES, 1, f);
	for (u32 i = 0; i < n; i++) {
		struct diff_case c = tests[i].c;

		if (expect[i].vector == VECTOR_DROPPED)
			continue;
		c.id = i;
		c.expect = diff_state_hash(&expect[i]);
		fwrite(&c, sizeof c, 1, f);
	}
}

static size_t unhex(void *out, const char *s, size_t room)
{
	u8 *p = out;
	size_t n = 0;

	for (; n < room && s[0] && s[1]; s += 2, n++) {
		unsigned v;

		if (sscanf(s, "%2x", &v) != 1)
			break;
		p[n] = (u8)v;
	}
	return n;
}

/* Starts the guest on the batch; its console is the stream. */
static FILE *start_guest(const char *batch)
{
	char command[1024];

	snprintf(command, sizeof command,
		 "%s%s PENUMBRA_DEBUG=1 %s run --accel translate --timeout %d --kernel %s --initrd %s </dev/null 2>%s/guest.err",
		 harness.knobs ? "PENUMBRA_TEST_KNOBS=" : "", harness.knobs ? harness.knobs : "", harness.penumbra, GUEST_SECONDS,
		 harness.guest, batch, harness.tmp);
	return popen(command, "r");
}

static int read_guest(FILE *p, struct mismatch *out, u32 room, u32 *found, u32 n_cases, u64 expect_all)
{
	static char line[2 * (sizeof(struct diff_state) + sizeof(struct diff_vec)) + 256];
	unsigned long long id, count, bad, all;
	int result = -1;

	*found = 0;
	while (fgets(line, sizeof line, p)) {
		line[strcspn(line, "\r\n")] = 0;
		if (!strncmp(line, "STATE ", 6) && *found < room) {
			struct mismatch *m = &out[*found];

			id = strtoull(line + 6, NULL, 16);
			m->index = (u32)id;
			unhex(&m->got, line + 23, sizeof m->got);
			unhex(&m->got_vec, line + 24 + 2 * sizeof m->got, sizeof m->got_vec);
			++*found;
		} else if (sscanf(line, "DIFF %llx %llx %llx", &count, &bad, &all) == 3) {
			result = (int)bad;
			/* The guest's own comparison is translated code: its sum is checked here. */
			if (count != n_cases || (!bad && all != expect_all))
				result = -1;
		} else if (strncmp(line, "STATE ", 6)) {
			fprintf(stderr, "# guest: %s\n", line);
		}
	}
	return result;
}

static void disassemble(const u8 *bytes, int len, u64 at)
{
	ZydisDisassembledInstruction d;

	printf("#   %016llx ", (unsigned long long)at);
	for (int i = 0; i < len; i++)
		printf("%02x", bytes[i]);
	if (ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, at, bytes, (ZyanUSize)len, &d)))
		printf("  %s", d.text);
	printf("\n");
}

void show_code(const struct test *t)
{
	for (int i = 0; i < t->n; i++)
		disassemble(t->insn[i].raw, t->insn[i].len, t->c.rip + t->at[i]);
}

/* The guest came to no end: what the program said, without the post-mortem dump, and the tests that ran last. */
static void show_guest_errors(const struct test *tests, u32 n)
{
	char path[512], line[512];
	unsigned long long pc, rsp;
	s64 last[4] = { -1, -1, -1, -1 };
	FILE *f;

	snprintf(path, sizeof path, "%s/guest.err", harness.tmp);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%llx rsp %llx", &pc, &rsp) != 2) {
			printf("# %s", line);
			continue;
		}
		for (u32 i = 0; i < n; i++)
			if (pc - tests[i].c.rip < 80 && i != last[3]) {
				memmove(last, last + 1, 3 * sizeof *last);
				last[3] = i;
				break;
			}
	}
	if (f)
		fclose(f);
	for (int i = 0; i < 4; i++)
		if (last[i] >= 0) {
			printf("#  one of the last tests (all states of this code):\n");
			show_code(&tests[last[i]]);
		}
}

int compare(struct test *tests, u32 n, struct mismatch *out, u32 room, u32 *found)
{
	u8 *guest_code = malloc(CODE_BYTES), *native_code = malloc(CODE_BYTES);
	struct diff_state *expect = malloc(n * sizeof *expect);
	u64 all = 0;
	u32 kept = 0;
	char path[512];
	int bad = -1;
	FILE *f;

	memset(guest_code, 0xcc, CODE_BYTES);
	memset(native_code, 0xcc, CODE_BYTES);
	for (u32 i = 0; i < n; i++)
		generate_place(&tests[i], guest_code, native_code);
	if (native_run(tests, n, native_code, expect, NULL))
		goto out;
	for (u32 i = 0; i < n; i++) {
		if (expect[i].vector == VECTOR_DROPPED) {
			harness.skipped++;
			continue;
		}
		all = diff_mix(all, diff_state_hash(&expect[i]));
		harness.counted[tests[i].world]++;
		kept++;
	}
	snprintf(path, sizeof path, "%s/batch", harness.tmp);
	f = fopen(path, "wb");
	if (!f)
		goto out;
	write_batch(f, tests, n, expect, guest_code);
	fclose(f);
	f = start_guest(path);
	bad = read_guest(f, out, room, found, kept, all);
	if (pclose(f) || bad < 0) {
		show_guest_errors(tests, n);
		bad = -1;
	}
	for (u32 i = 0; i < *found; i++) {
		struct diff_state s;

		out[i].expect = expect[out[i].index];
		native_run(&tests[out[i].index], 1, native_code, &s, &out[i].expect_vec);
	}
out:
	free(guest_code);
	free(native_code);
	free(expect);
	return bad;
}

/* ---- shrinking: the same failure from less ---- */

enum { REDUCE_INSN = 0, REDUCE_REGISTER = SEQUENCE_MAX, REDUCE_FLAGS = REDUCE_REGISTER + 16, REDUCE_PRESET, REDUCE_COUNT };

static void set_nop(struct test_insn *ti)
{
	memset(ti->raw, 0x90, ti->len);
	insn_decode(&ti->in, ti->raw, INSN_MAX, MODE_64);
	ti->in.len = ti->len;
}

/* Applies reduction `what`; false where it changes nothing. */
static bool reduce(struct test *t, int what)
{
	if (what < REDUCE_REGISTER) {
		if (t->n == 1 || what >= t->n || t->insn[what].raw[0] == 0x90)
			return false;
		set_nop(&t->insn[what]);
		return true;
	}
	if (what < REDUCE_FLAGS) {
		int r = what - REDUCE_REGISTER;

		if (!t->c.gpr[r] || t->shift_in >> r & 1)
			return false;
		t->c.gpr[r] = 0;
		return true;
	}
	if (what == REDUCE_FLAGS) {
		u64 plain = RF_FIXED | RF_IF | (t->c.rflags & RF_AC);

		if (t->c.rflags == plain)
			return false;
		t->c.rflags = plain;
		return true;
	}
	if (t->c.preset == 0)
		return false;
	t->c.preset = 0;
	return true;
}

/* Does the test still fail in the same way?  Then *m is how. */
static bool still_fails(struct test *t, struct mismatch *m)
{
	struct mismatch again;
	u32 found;

	if (compare(t, 1, &again, 1, &found) != 1 || !found || again.got.vector != m->got.vector)
		return false;
	*m = again;
	return true;
}

/* One by one, since all tries have their code at the same place. */
static u32 shrink_code(struct test *t, struct mismatch *m)
{
	u32 steps = 0;

	for (int what = 0; what < REDUCE_REGISTER; what++) {
		struct test try = *t;

		if (reduce(&try, what) && still_fails(&try, m)) {
			*t = try;
			steps++;
		}
	}
	return steps;
}

u32 shrink(struct test *t, struct mismatch *m)
{
	static struct test tries[REDUCE_COUNT];
	static struct mismatch results[REDUCE_COUNT];
	u64 counted[3] = { harness.counted[0], harness.counted[1], harness.skipped };
	u32 steps, found;

	steps = shrink_code(t, m);
	for (int round = 0; round < 30; round++) {
		u32 n = 0, best = ~0u;

		for (int what = REDUCE_REGISTER; what < REDUCE_COUNT; what++) {
			tries[n] = *t;
			n += reduce(&tries[n], what);
		}
		if (!n || compare(tries, n, results, REDUCE_COUNT, &found) <= 0)
			break;
		for (u32 i = 0; i < found; i++)
			if (results[i].got.vector == m->got.vector && results[i].index < best) {
				best = results[i].index;
				*m = results[i];
			}
		if (best == ~0u)
			break;
		*t = tries[best];
		steps++;
	}
	harness.counted[0] = counted[0];
	harness.counted[1] = counted[1];
	harness.skipped = counted[2];
	return steps;
}

/* ---- report ---- */

static void line(const char *name, u64 start, u64 want, u64 got)
{
	if (!start && !want && !got)
		return;
	printf("#   %-8s %016llx  native %016llx  guest %016llx%s\n", name, (unsigned long long)start,
	       (unsigned long long)want, (unsigned long long)got, want == got ? "" : "  <--");
}

static void report_vectors(const struct diff_vec *w, const struct diff_vec *g)
{
	char name[16];

	for (int i = 0; i < 32; i++)
		for (int j = 0; j < 8; j++) {
			u64 a, b;

			memcpy(&a, w->zmm[i] + 8 * j, 8);
			memcpy(&b, g->zmm[i] + 8 * j, 8);
			snprintf(name, sizeof name, "zmm%d.%d", i, j);
			if (a != b)
				line(name, 0, a, b);
		}
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof name, "k%d", i);
		if (w->k[i] != g->k[i])
			line(name, 0, w->k[i], g->k[i]);
		snprintf(name, sizeof name, "st%d", i);
		if (memcmp(w->st[i], g->st[i], 16))
			line(name, 0, *(const u64 *)(const void *)w->st[i], *(const u64 *)(const void *)g->st[i]);
	}
	if (w->mxcsr != g->mxcsr)
		line("mxcsr", 0, w->mxcsr, g->mxcsr);
	if (memcmp(&w->fcw, &g->fcw, 6))
		line("fcw/fsw", 0, w->fcw | (u64)w->fsw << 16 | (u64)w->ftw << 32, g->fcw | (u64)g->fsw << 16 | (u64)g->ftw << 32);
}

void report(const struct test *t, const struct mismatch *m)
{
	static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					       "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
	const struct diff_state *w = &m->expect, *g = &m->got;

	printf("# seed 0x%llx, %s mode%s%s, preset %u\n", (unsigned long long)harness.seed,
	       t->world == WORLD_USER ? "user" : "kernel", t->user_half ? ", operands in the user half" : "",
	       harness.user_base == USER_BASE_FOLDED ? ", folded addresses" : "", t->c.preset);
	show_code(t);
	for (int i = 0; i < 16; i++)
		line(names[i], t->c.gpr[i], w->gpr[i], g->gpr[i]);
	line("rip", t->c.rip, w->rip, g->rip);
	line("rflags", t->c.rflags, w->rflags, g->rflags);
	line("fs", t->c.fs, w->fs, g->fs);
	line("gs", t->c.gs, w->gs, g->gs);
	line("vector", VECTOR_DROPPED, w->vector, g->vector);
	line("error", 0, w->error, g->error);
	line("cr2", 0, w->cr2, g->cr2);
	for (u32 i = 0, j = 0; (i < w->n_diff && i < DIFF_MAX) || (j < g->n_diff && j < DIFF_MAX);) {
		u32 a = i < w->n_diff && i < DIFF_MAX ? w->diff[i].offset : ~0u;
		u32 b = j < g->n_diff && j < DIFF_MAX ? g->diff[j].offset : ~0u;
		u32 at = a < b ? a : b;
		u64 old = harness.images[((at >> 12) == PAGE_C ? 3 : (at >> 12) - 1) * 512 + (at >> 3 & 511)];
		char name[16];

		snprintf(name, sizeof name, "+%x", at);
		line(name, old, a == at ? w->diff[i].value : old, b == at ? g->diff[j].value : old);
		i += a == at;
		j += b == at;
	}
	if (w->n_diff != g->n_diff || w->rest != g->rest)
		printf("#   %u quadwords of memory changed natively, %u in the guest\n", w->n_diff, g->n_diff);
	if (w->vec_hash != g->vec_hash)
		report_vectors(&m->expect_vec, &m->got_vec);
}
