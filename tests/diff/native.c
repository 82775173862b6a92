/* SPDX-License-Identifier: MIT
 * The native side: a child process with the same addresses runs each test from a signal handler's return to the
 * next signal, and notes the processor's state then.
 *
 * The child lives in its signal handler and uses neither libc nor thread-local storage there: FS and GS
 * bases are the test's.  The results are in memory shared with the parent. */
#include <errno.h>
#include <immintrin.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#define CONTEXT_RIP 16
#define CONTEXT_EFL 17
#define CONTEXT_ERR 19
#define CONTEXT_TRAPNO 20
#define CONTEXT_CR2 22

#include "diff/harness.h"

#define COMPONENTS 0xe7ull
#define SECONDS_MAX 10

/* Order of the registers in a signal frame. */
static const u8 context_register[16] = { 13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7 };

static struct {
	const struct test *tests;
	struct diff_state *results;
	struct diff_vec *vec;
	s64 current;
	u32 n;
	u64 fs, gs;
	struct diff_vec scratch;
} run;

static u64 *window_page(int p) { return (u64 *)(harness.user_base + WINDOW + 4096u * (u64)p); }

static u64 native_value(const struct test *t, int r)
{
	return t->c.gpr[r] - (t->shift_in >> r & 1 ? KOFF : 0);
}

static void enter(const struct test *t, ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;
	u8 *x = (u8 *)uc->uc_mcontext.fpregs;
	const u8 *preset = harness.presets + (u64)t->c.preset * XSAVE_SIZE;
	u64 had = *(u64 *)(void *)(x + 512) & ~COMPONENTS;
	const struct diff_batch *b = &harness.layout;

	for (int i = 0; i < 16; i++)
		g[context_register[i]] = (greg_t)native_value(t, i);
	g[CONTEXT_RIP] = (greg_t)(harness.user_base + t->native_code);
	g[CONTEXT_EFL] = (greg_t)((t->c.rflags & ~RF_AC) | RF_IF);
	diff_copy(x, preset, 464);
	*(u64 *)(void *)(x + 512) = had | b->xcr0;
	if (b->off_ymm)
		diff_copy(x + b->off_ymm, preset + b->off_ymm, 256);
	if (b->off_k) {
		diff_copy(x + b->off_k, preset + b->off_k, 64);
		diff_copy(x + b->off_zmm_hi, preset + b->off_zmm_hi, 512);
		diff_copy(x + b->off_hi16, preset + b->off_hi16, 1024);
	}
	for (u32 i = 0; i < t->c.n_patch; i++)
		*(u64 *)(harness.user_base + WINDOW + t->c.patch[i].offset) =
			t->c.patch[i].value - (t->patch_shift >> i & 1 ? KOFF : 0);
	run.fs = t->c.fs - (t->shift_fs ? KOFF : 0);
	run.gs = t->fold_gs ? -KOFF : t->c.gs - (t->shift_gs ? KOFF : 0);
}

static void leave(const struct test *t, ucontext_t *uc, struct diff_state *s, struct diff_vec *v)
{
	greg_t *g = uc->uc_mcontext.gregs;

	s->id = t->c.id;
	s->vector = (u32)g[CONTEXT_TRAPNO];
	s->error = (u32)g[CONTEXT_ERR];
	s->cr2 = s->vector == VEC_PF ? (u64)g[CONTEXT_CR2] : 0;
	for (int i = 0; i < 16; i++)
		s->gpr[i] = (u64)g[context_register[i]];
	s->rip = (u64)g[CONTEXT_RIP];
	s->rflags = (u64)g[CONTEXT_EFL];
	s->fs = run.fs;
	s->gs = run.gs;
	diff_vec_from(v, (const u8 *)uc->uc_mcontext.fpregs, &harness.layout);
	s->vec_hash = diff_hash_words(0, v, sizeof *v);
	diff_memory(s, window_page, harness.images);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	(void)sig;
	run.fs = _readfsbase_u64();
	run.gs = _readgsbase_u64();
	if (run.current >= 0)
		leave(&run.tests[run.current], uc, &run.results[run.current],
		      run.vec ? &run.vec[run.current] : &run.scratch);
	if (++run.current == run.n)
		for (;;)
			__asm__ volatile("syscall" : : "a"(SYS_exit_group), "D"(0) : "rcx", "r11", "memory");
	enter(&run.tests[run.current], uc);
	_writefsbase_u64(run.fs);
	_writegsbase_u64(run.gs);
}

static int map_fixed(u64 at, u64 length, int prot, int fd, u64 offset)
{
	void *p = mmap((void *)at, length, prot, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, (off_t)offset);

	return p == (void *)at ? 0 : -errno;
}

static int map_region(u64 base, int fd)
{
	static const struct { u8 page, count; int prot; } parts[] = {
		{ PAGE_A, 2, PROT_READ | PROT_WRITE }, { PAGE_R, 1, PROT_READ }, { PAGE_C, 1, PROT_READ | PROT_WRITE },
	};
	/* Execute-only where the host has protection keys: the native code of the kernel world is not the guest's. */
	int rc = map_fixed(base, CODE_BYTES, PROT_EXEC, fd, 0);

	for (size_t i = 0; !rc && i < sizeof parts / sizeof *parts; i++)
		rc = map_fixed(base + WINDOW + 4096u * parts[i].page, 4096u * parts[i].count, parts[i].prot, fd,
			       CODE_BYTES + 4096u * parts[i].page);
	return rc;
}

static _Noreturn void child(int fd)
{
	static u8 stack[256 * 1024] __attribute__((aligned(4096)));
	static const u8 signals[] = { SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGUSR1 };
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (map_region(harness.user_base, fd) || (harness.low_alias && map_region(LOW_BASE, fd)))
		_exit(3);
	for (int i = 0; i < IMAGE_PAGES; i++) {
		int page = "\1\2\3\5"[i];

		if (page != PAGE_R)
			memcpy(window_page(page), harness.images + 512 * i, 4096);
	}
	sigaltstack(&alt, NULL);
	sigfillset(&act.sa_mask);
	for (size_t i = 0; i < sizeof signals; i++)
		sigaction(signals[i], &act, NULL);
	alarm(SECONDS_MAX);
	raise(SIGUSR1);
	_exit(4);
}

/* Turns what the native twin did into what the guest should have done. */
static void to_guest(const struct test *t, struct diff_state *s)
{
	bool done = s->vector == VEC_BP || s->vector == VEC_DB;
	u64 base = harness.user_base, rip = s->rip - base - t->native_code, rsp = s->gpr[RSP];
	u16 shift = done ? t->shift_out : t->shift_in;
	bool kernel = t->world == WORLD_KERNEL;

	const struct insn *at = NULL; /* where it stopped */

	for (int i = 0; kernel && i <= t->n; i++)
		if (rip == t->native_at[i] || (i < t->n && rip > t->native_at[i] && rip < t->native_at[i + 1])) {
			s->rip = base + t->code + t->at[i] + (rip - t->native_at[i]);
			at = i < t->n ? &t->insn[i].in : NULL;
			break;
		}
	if (kernel && rip == t->native_at[t->n] + 1u) /* behind the INT3 */
		s->rip = base + t->code + t->at[t->n] + 1;
	/* A fault of the host's own in the middle of a repeated instruction leaves RF set at its next step. */
	if (s->vector == VEC_DB)
		s->rflags &= ~RF_RF;
	/* Accesses to the code itself, and to the low alias where it is mapped in the guest alone. */
	if (s->vector == VEC_PF && !(s->error & PF_I) &&
	    (s->cr2 - base < CODE_BYTES || s->cr2 - LOW_BASE < (harness.low_alias ? CODE_BYTES : 0x200000))) {
		s->vector = VECTOR_DROPPED;
		return;
	}
	/* Linux says "present" of every page of the kernel half, and the guest's kernel has pages there. */
	if (s->vector == VEC_PF && (s64)s->cr2 < 0) {
		s->error &= ~PF_P;
		if (s->cr2 >= 0xffffffff80000000 && s->cr2 < 0xffffffffc0000000)
			s->vector = VECTOR_DROPPED;
	}
	/* A branch to an address that is not canonical faults at its target in the guest. */
	if (s->vector == VEC_GP && (t->insn[t->n - 1].in.klass == IC_RET || t->insn[t->n - 1].in.klass == IC_JMP_IND ||
				    t->insn[t->n - 1].in.klass == IC_CALL_IND))
		s->vector = VECTOR_DROPPED;
	if (!kernel)
		return;
	if (s->rip - base >= 0x200000)
		s->vector = VECTOR_DROPPED;
	s->rip += KOFF;
	s->error &= ~(u32)PF_U;
	s->fs = t->c.fs;
	s->gs = t->c.gs;
	s->rflags = (s->rflags & ~RF_IF) | (t->c.rflags & (RF_AC | RF_IF));
	if (s->vector == VEC_PF) {
		bool low = s->cr2 - LOW_BASE < 0x200000;
		bool mixed = t->user_half && t->shift_in;
		bool user = t->user_half && !mixed && at && at->seg == SEG_NONE && generate_in_user_half(t, at);

		if ((!low && s->cr2 - base >= 0x200000) || s->error & PF_I || (mixed && !low))
			s->vector = VECTOR_DROPPED;
		if (!low && !user)
			s->cr2 += KOFF;
	}
	/* Flags that nothing reads any more are not kept by arithmetic on RSP: a fault before they are
	 * overwritten shows it. */
	for (int i = 0; !done && i + 1 < t->n; i++)
		if (generate_rsp_arithmetic(&t->insn[i].in))
			s->vector = VECTOR_DROPPED;
	if ((s->vector == VEC_GP || s->vector == VEC_SS) && (t->wild || t->n > 1))
		s->vector = VECTOR_DROPPED;
	for (int i = 0; i < 16; i++)
		if (shift >> i & 1)
			s->gpr[i] += KOFF;
	for (u32 i = 0; i < s->n_diff && i < DIFF_MAX; i++) {
		struct diff_patch *d = &s->diff[i];

		for (u32 j = 0; j < t->c.n_patch; j++)
			if (t->patch_shift >> j & 1 && t->c.patch[j].offset == d->offset &&
			    t->c.patch[j].value - KOFF == d->value)
				d->value += KOFF;
		if (done && t->insn[0].in.klass == IC_PUSHF && t->n == 1 && d->offset == rsp - base - WINDOW)
			d->value = (d->value & ~RF_IF) | (t->c.rflags & (RF_AC | RF_IF));
		if (done && !at && t->shift_pushed && d->offset == rsp - base - WINDOW)
			d->value += KOFF + (u64)((s64)t->slot - (s64)t->native_slot) * SLOT_BYTES;
	}
}

int native_run(const struct test *tests, u32 n, const u8 *code, struct diff_state *results, struct diff_vec *vec)
{
	size_t bytes = n * sizeof *results, vec_bytes = vec ? n * sizeof *vec : 4096;
	struct diff_state *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct diff_vec *shared_vec = mmap(NULL, vec_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = memfd_create("diff", MFD_CLOEXEC), status = -1;
	pid_t pid;

	if (shared == MAP_FAILED || shared_vec == MAP_FAILED || fd < 0 || ftruncate(fd, CODE_BYTES + WINDOW_PAGES * 4096) ||
	    pwrite(fd, code, CODE_BYTES, 0) != (ssize_t)CODE_BYTES ||
	    pwrite(fd, harness.images + 512 * 2, 4096, CODE_BYTES + 4096 * PAGE_R) != 4096)
		return -1;
	run.tests = tests;
	run.results = shared;
	run.vec = vec ? shared_vec : NULL;
	run.current = -1;
	run.n = n;
	fflush(NULL);
	pid = fork();
	if (!pid)
		child(fd);
	if (pid > 0)
		waitpid(pid, &status, 0);
	close(fd);
	memcpy(results, shared, bytes);
	if (vec)
		memcpy(vec, shared_vec, vec_bytes);
	munmap(shared, bytes);
	munmap(shared_vec, vec_bytes);
	if (status) {
		u32 at = 0;

		while (at < n && (results[at].rip || results[at].rflags))
			at++;
		printf("# the native run ended with status 0x%x in case %u\n", status, at);
		if (at < n)
			show_code(&tests[at]);
		return -1;
	}
	for (u32 i = 0; i < n; i++)
		to_guest(&tests[i], &results[i]);
	return 0;
}
