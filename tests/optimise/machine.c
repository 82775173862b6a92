/* SPDX-License-Identifier: MIT
 * Runs guest code in this process: natively with the trap flag, and through regions.  See machine.h. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#undef REG_RIP /* the decoder has its own */
#include "optimise/machine.h"
#include "x86/decode.h"

#define TF 0x100ull
#define FLAGS_SEEN ((u64)FLAGS_STATUS)

/* Host registers across a run, and the guest's on its way in and out. */
struct opt_regs machine_regs;
u64 machine_host_rsp;
void machine_enter(void);
void machine_exit(void);
static u64 spill_words[16] __attribute__((aligned(64)));

__asm__(
	".text\n"
	"machine_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; sub $8, %rsp\n"
	"	mov %rsp, machine_host_rsp(%rip)\n"
	"	lea machine_regs(%rip), %rax\n"
	"	pushq 136(%rax)\n"
	"	popfq\n"
	"	mov 8(%rax), %rcx; mov 16(%rax), %rdx; mov 24(%rax), %rbx; mov 32(%rax), %rsp; mov 40(%rax), %rbp\n"
	"	mov 48(%rax), %rsi; mov 56(%rax), %rdi; mov 64(%rax), %r8; mov 72(%rax), %r9; mov 80(%rax), %r10\n"
	"	mov 88(%rax), %r11; mov 96(%rax), %r12; mov 104(%rax), %r13; mov 112(%rax), %r14; mov 120(%rax), %r15\n"
	"	mov 0(%rax), %rax\n"
	"	jmp *128+machine_regs(%rip)\n"
	"machine_exit:\n"
	"	mov %rax, machine_regs(%rip)\n"
	"	mov %rsp, 32+machine_regs(%rip)\n"
	"	mov machine_host_rsp(%rip), %rsp\n"
	"	pushfq\n"
	"	andq $~0x100, (%rsp)\n"
	"	lea machine_regs(%rip), %rax\n"
	"	popq 136(%rax)\n"
	"	pushq $2\n"
	"	popfq\n"
	"	mov %rcx, 8(%rax); mov %rdx, 16(%rax); mov %rbx, 24(%rax); mov %rbp, 40(%rax)\n"
	"	mov %rsi, 48(%rax); mov %rdi, 56(%rax); mov %r8, 64(%rax); mov %r9, 72(%rax); mov %r10, 80(%rax)\n"
	"	mov %r11, 88(%rax); mov %r12, 96(%rax); mov %r13, 104(%rax); mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
	"	add $8, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

u64 machine_finish(void) { return (u64)(uintptr_t)machine_exit; }
u64 *machine_spill(void) { return spill_words; }

/* The run in progress, for the signal handlers. */
static struct {
	struct machine *m;
	struct run *r;
	u32 step, at;
	bool recording, in_region, done, started;
} now;

static void take(const ucontext_t *uc, struct opt_regs *r)
{
	static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

	for (int i = 0; i < 16; i++)
		r->r[i] = (u64)uc->uc_mcontext.gregs[order[i]];
	r->rip = (u64)uc->uc_mcontext.gregs[16];
	r->rflags = (u64)uc->uc_mcontext.gregs[17] & ~TF;
}

static void set(ucontext_t *uc, const struct opt_regs *r)
{
	static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

	for (int i = 0; i < 16; i++)
		uc->uc_mcontext.gregs[order[i]] = (s64)r->r[i];
	uc->uc_mcontext.gregs[16] = (s64)r->rip;
	uc->uc_mcontext.gregs[17] = (s64)((r->rflags & FLAGS_SEEN) | 0x202 | ((u64)uc->uc_mcontext.gregs[17] & TF));
}

static void trap_off(ucontext_t *uc) { uc->uc_mcontext.gregs[17] &= ~(s64)TF; }

/* The instruction before this step left flags undefined: a processor may keep what was there before. */
static bool undefined_flags(const struct machine *m, u32 step)
{
	struct insn in;

	if (!step || insn_decode(&in, (const u8 *)m->trace[step - 1].rip, INSN_MAX, MODE_64))
		return false;
	return in.map == MAP_0F && (in.op == 0xaf || in.op == 0xbc || in.op == 0xbd);
}

static bool same(const struct machine *m, u32 step, const struct opt_regs *b)
{
	const struct opt_regs *a = &m->trace[step];

	return !memcmp(a->r, b->r, sizeof(a->r)) && a->rip == b->rip &&
		(!((a->rflags ^ b->rflags) & FLAGS_SEEN) || undefined_flags(m, step));
}

static void protect(const struct run *r)
{
	const struct machine *m = now.m;
	u8 *page = r->protect_page < DATA_PAGES ? m->data + 4096 * r->protect_page : m->stack + 4096 * (r->protect_page - DATA_PAGES);

	mprotect(page, 4096, r->protection);
}

static void finish(ucontext_t *uc, enum outcome o)
{
	now.r->outcome = o;
	now.done = true;
	trap_off(uc);
	uc->uc_mcontext.gregs[16] = (s64)machine_finish();
}

static bool inside(const struct opt_region *g, u64 pc)
{
	return (pc >= (u64)g->code && pc < (u64)g->code_end) || (pc >= (u64)g->cold && pc < (u64)g->cold_end);
}

/* A step in the region, or the first behind it: the state must be one of the next in the trace. */
static void compare_step(ucontext_t *uc)
{
	struct run *r = now.r;
	struct opt_regs g;
	u32 i;

	take(uc, &g);
	if (inside(r->region, g.rip)) {
		if (g.rip < (u64)r->region->loop && g.rip >= (u64)r->region->code)
			return;
		if (!region_recover(r->region, &g, spill_words, false))
			return;
		r->points++;
	} else if (g.rip >= r->outs && g.rip < r->outs_end) {
		return;
	} else {
		now.in_region = false;
	}
	for (i = now.at; i < now.m->n_trace && i < now.at + 96; i++)
		if (same(now.m, i, &g))
			break;
	if (i == now.m->n_trace && g.rip == machine_finish()) {
		now.in_region = false;
		return;
	}
	if (i == now.m->n_trace || i == now.at + 96) {
		r->wrong = now.in_region ? "state at a precise point" : "state behind the region";
		r->wrong_at = now.at;
		r->regs = g;
		finish(uc, STUCK);
		return;
	}
	now.at = i;
	if (r->protect_page >= 0 && r->protect_at <= i && now.in_region) {
		r->protect_at = i;
		protect(r);
		r->protect_page = -1;
		r->step = false;
		trap_off(uc);
	}
}

static void on_trap(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	struct run *r = now.r;
	struct machine *m = now.m;
	struct opt_regs g;

	(void)sig;
	(void)si;
	take(uc, &g);
	if (!now.started) {
		if (g.rip != m->start.rip)
			return;
		now.started = true;
	} else {
		now.step++;
	}
	if (now.recording) {
		if (g.rip == machine_finish() || m->n_trace == MAX_TRACE) {
			if (m->n_trace == MAX_TRACE)
				finish(uc, STUCK);
			trap_off(uc);
			return;
		}
		m->pcs[m->n_trace] = g.rip;
		m->trace[m->n_trace++] = g;
		return;
	}
	if (now.in_region) {
		compare_step(uc);
		if (!now.in_region)
			trap_off(uc);
		return;
	}
	if (g.rip == machine_finish()) {
		trap_off(uc);
		return;
	}
	/* natively up to `from`, or to where a page is protected */
	if (now.step < r->from)
		return;
	if (r->region) {
		now.at = r->from;
		now.in_region = r->step;
		if (!r->step)
			trap_off(uc);
		for (int i = 0; i < 16; i++)
			if (r->kept & BIT(i)) {
				spill_words[i] = g.r[i];
				g.r[i] = ~g.r[i];
			}
		set(uc, &g);
		uc->uc_mcontext.gregs[16] = (s64)r->region->code;
		if (r->protect_page >= 0 && r->protect_at <= r->from)
			protect(r);
		return;
	}
	if (r->protect_page < 0) {
		trap_off(uc);
	} else if (now.step >= r->protect_at) {
		protect(r);
		trap_off(uc);
	}
}

static void on_fault(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	struct run *r = now.r;
	struct opt_regs g;

	(void)sig;
	take(uc, &g);
	if (now.recording) {
		now.m->n_trace = 0;
		finish(uc, FAULTED);
		return;
	}
	r->address = (u64)si->si_addr;
	if (r->region && inside(r->region, g.rip)) {
		bool entry = g.rip >= (u64)r->region->code && g.rip < (u64)r->region->loop;

		if (!region_recover(r->region, &g, spill_words, true)) {
			r->wrong = "a fault without a record";
			r->wrong_at = (u32)(g.rip - (u64)r->region->code);
			finish(uc, STUCK);
			return;
		}
		if (entry) { /* a slot that cannot be loaded yet: go on without the region */
			r->entry_refused++;
			set(uc, &g);
			return;
		}
	}
	r->regs = g;
	finish(uc, FAULTED);
}

static void handlers(void)
{
	static u8 stack[65536];
	static bool ready;
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (ready)
		return;
	ready = true;
	sigaltstack(&ss, NULL);
	sigaction(SIGTRAP, &sa, NULL);
	sa.sa_sigaction = on_fault;
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, spill_words);
}

static void *map(u64 at, size_t size, int protection)
{
	void *p = mmap((void *)at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

void machine_init(struct machine *m, bool far)
{
	size_t memory = (DATA_PAGES + STACK_PAGES) * 4096;

	handlers();
	memset(m, 0, sizeof(*m));
	m->code = map(far ? 0x123400000000 : 0x10000000, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	m->data = map(far ? 0x123410000000 : 0x20000000, DATA_PAGES * 4096, PROT_READ | PROT_WRITE);
	m->stack = map(far ? 0x7abc00000000 : 0x30000000, STACK_PAGES * 4096, PROT_READ | PROT_WRITE);
	m->trace = map(0, sizeof(*m->trace) * MAX_TRACE, PROT_READ | PROT_WRITE);
	m->pcs = map(0, sizeof(u64) * MAX_TRACE, PROT_READ | PROT_WRITE);
	m->end_memory = map(0, memory, PROT_READ | PROT_WRITE);
	m->start_memory = map(0, memory, PROT_READ | PROT_WRITE);
}

void machine_free(struct machine *m)
{
	size_t memory = (DATA_PAGES + STACK_PAGES) * 4096;

	munmap(m->code, CODE_SIZE);
	munmap(m->data, DATA_PAGES * 4096);
	munmap(m->stack, STACK_PAGES * 4096);
	munmap(m->trace, sizeof(*m->trace) * MAX_TRACE);
	munmap(m->pcs, sizeof(u64) * MAX_TRACE);
	munmap(m->end_memory, memory);
	munmap(m->start_memory, memory);
}

static void memory_reset(struct machine *m)
{
	mprotect(m->data, DATA_PAGES * 4096, PROT_READ | PROT_WRITE);
	mprotect(m->stack, STACK_PAGES * 4096, PROT_READ | PROT_WRITE);
	memcpy(m->data, m->start_memory, DATA_PAGES * 4096);
	memcpy(m->stack, m->start_memory + DATA_PAGES * 4096, STACK_PAGES * 4096);
}

static void memory_take(struct machine *m, u8 *to)
{
	mprotect(m->data, DATA_PAGES * 4096, PROT_READ | PROT_WRITE);
	mprotect(m->stack, STACK_PAGES * 4096, PROT_READ | PROT_WRITE);
	memcpy(to, m->data, DATA_PAGES * 4096);
	memcpy(to + DATA_PAGES * 4096, m->stack, STACK_PAGES * 4096);
}

enum outcome machine_record(struct machine *m)
{
	struct run r = { .outcome = RAN };

	memset(&now, 0, sizeof(now));
	now.m = m;
	now.r = &r;
	now.recording = true;
	m->n_trace = 0;
	memory_take(m, m->start_memory);
	machine_regs = m->start;
	machine_regs.rflags = (m->start.rflags & FLAGS_SEEN) | 0x202 | TF;
	machine_enter();
	m->end = machine_regs;
	now.recording = false;
	memory_take(m, m->end_memory);
	return r.outcome;
}

void machine_run(struct machine *m, struct run *r)
{
	memset(&now, 0, sizeof(now));
	now.m = m;
	now.r = r;
	r->outcome = RAN;
	r->points = r->entry_refused = 0;
	r->wrong = NULL;
	memory_reset(m);
	/* Everything natively up to `from`: the first trap is at the program's first instruction but one. */
	machine_regs = m->start;
	machine_regs.rflags = (m->start.rflags & FLAGS_SEEN) | 0x202 | TF;
	machine_regs.rip = m->start.rip;
	machine_enter();
	if (r->outcome == RAN)
		r->regs = machine_regs;
	memory_take(m, m->end_memory);
}

void machine_call(struct machine *m, u64 entry)
{
	memset(&now, 0, sizeof(now));
	machine_regs = m->start;
	machine_regs.rflags = 0x202;
	machine_regs.rip = entry;
	machine_enter();
}

const u8 *machine_fetch(void *ctx, u64 pc, size_t *have)
{
	struct machine *m = ctx;

	if (pc < (u64)m->code || pc >= (u64)m->code + CODE_SIZE)
		return NULL;
	*have = (u64)m->code + CODE_SIZE - pc;
	return (const u8 *)pc;
}
