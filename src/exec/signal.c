/* SPDX-License-Identifier: MIT
 * Signals.  The program's mask and dispositions are the kernel's, but for the five synchronous signals, which the
 * runtime always handles.  Where the program handles a signal, the kernel calls the runtime, which writes the
 * frame that the kernel would have written and goes on in the program's handler.
 *
 *                              +-- at a precise point -> deliver
 *   asynchronous, in the cache +-- elsewhere: handle_async() steps with the trap flag, step_done() delivers
 *   asynchronous, in C             capture(); enter sends it to run_loop(), signal_deliver_pending()
 *   at the SYSCALL instruction     not called yet: the program stands at its own; called: behind it
 *   synchronous                    fault(): a watched page, a target without a word, else the program's
 *
 * While one waits, all others are blocked. */
#include "exec/exec.h"
#include "exec/hot.h"
#include "exec/keep.h"

#define TRAP_STEP 1
#define TRAP_PF 14
#define PF_WRITE 2
#define FP_MAGIC1 0x46505853
#define FP_SW_RESERVED 464
#define FP_LEGACY 512
#define MINSIGSTKSZ 2048
#define SYSCALL_AT 19
#define SYSCALL_END 21
#define RED_ZONE 128
#define SIG_BLOCK 0
#define SIG_UNBLOCK 1
#define SIG_SETMASK 2
#define HOST_FLAGS (SA_SIGINFO | SA_ONSTACK | SA_RESTORER)

static const u8 sync_list[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV };

u64 host_mask(u64 mask) { return mask & ~(SYNC_SIGNALS | UNBLOCKABLE); }

void signal_set_mask(struct thread *th, u64 mask)
{
	u64 host = host_mask(mask);

	th->mask = mask & ~UNBLOCKABLE;
	sys4(__NR_rt_sigprocmask, SIG_SETMASK, &host, NULL, 8);
}

static void host_action(int sig, u64 handler, u64 flags)
{
	struct action a = { handler, HOST_FLAGS | flags, (u64)signal_restorer, ~SYNC_SIGNALS };

	if (handler <= SIG_IGN)
		a = (struct action){ handler, flags & ~(u64)HOST_FLAGS, 0, 0 };
	sys4(__NR_rt_sigaction, sig, &a, NULL, 8);
}

void signal_host_ignore(int sig, bool on)
{
	if (on)
		host_action(sig, SIG_IGN, 0);
	else
		host_action(sig, (u64)signal_entry, SA_NODEFER);
}

void signal_setup_thread(struct thread *th)
{
	u64 area = (u64)spill_of(th);
	struct altstack stack = { area + AREA_ALTSTACK, 0, 0, AREA_ALTSTACK_SIZE };

	sys2(__NR_sigaltstack, &stack, NULL);
}

void signal_setup_process(struct thread *th)
{
	sys4(__NR_rt_sigprocmask, SIG_BLOCK, NULL, &th->mask, 8);
	th->alt.flags = SS_DISABLE;
	for (size_t i = 0; i < ARRAY_SIZE(sync_list); i++) {
		struct action old = { 0 };

		sys4(__NR_rt_sigaction, sync_list[i], NULL, &old, 8);
		th->hand->act[sync_list[i]] = old;
		host_action(sync_list[i], (u64)signal_entry, SA_NODEFER);
	}
	signal_set_mask(th, th->mask);
}

void signal_setup_restart(void)
{
	host_action(SIGTRAP, (u64)signal_entry, SA_NODEFER | SA_RESTART);
}

static u64 *uc_register(struct ucontext *uc, int r)
{
	static const u16 at[8] = {
		offsetof(struct ucontext, rax), offsetof(struct ucontext, rcx), offsetof(struct ucontext, rdx),
		offsetof(struct ucontext, rbx), offsetof(struct ucontext, rsp), offsetof(struct ucontext, rbp),
		offsetof(struct ucontext, rsi), offsetof(struct ucontext, rdi),
	};

	return r < 8 ? (u64 *)((u8 *)uc + at[r]) : &uc->r8 + (r - R8);
}

static void state_to_uc(const struct thread *th, struct ucontext *uc)
{
	for (int i = 0; i < 16; i++)
		*uc_register(uc, i) = th->gpr[i];
	uc->eflags = th->flags;
}

static void state_from_uc(struct thread *th, struct ucontext *uc, u16 borrowed)
{
	const struct spill *s = spill_of(th);

	for (int i = 0; i < 16; i++)
		th->gpr[i] = borrowed >> i & 1 ? s->reg[i] : *uc_register(uc, i);
	th->flags = uc->eflags & ~RF_TF;
}

/* Where in translated code a signal came. */
struct place { struct block *b; struct insn_record *rec; u64 offset; };

static bool in_cache(u64 rip) { return rip - EXEC_CODE < CODE_SIZE; }

static struct place place_of(u64 rip)
{
	struct place p = { 0 };

	p.b = block_at_host(CACHE, rip);
	p.rec = p.b && !(p.b->flags & BLOCK_REGION) ? block_record(CACHE, p.b, rip) : NULL;
	/* Before the first instruction: nothing has happened, but it is no place to stop either. */
	if (p.rec && rip - block_host(p.b) < p.rec->host)
		p.rec = NULL;
	if (p.rec)
		p.offset = rip - block_host(p.b) - p.rec->host;
	return p;
}

/* The program's state in a region. */
static bool region_state(struct thread *th, struct ucontext *uc, const struct block *b, bool fault, bool *entry)
{
	struct opt_regs regs = { .rip = uc->rip, .rflags = uc->eflags & ~RF_TF };

	for (int i = 0; i < 16; i++)
		regs.r[i] = *uc_register(uc, i);
	if (!hot_state(b, &regs, spill_of(th)->reg, fault, entry))
		return false;
	__builtin_memcpy(th->gpr, regs.r, sizeof th->gpr);
	th->rip = regs.rip;
	th->flags = regs.rflags;
	return true;
}

/* The program's state where a signal may be delivered; false elsewhere. */
static bool precise_state(struct thread *th, struct ucontext *uc)
{
	if (uc->rip == (u64)resume_entry) {
		state_from_uc(th, uc, 0);
		return true;
	}
	if ((uc->rip >= (u64)enter && uc->rip < (u64)enter_end) || uc->rip == (u64)door_insn)
		return true;
	if (!in_cache(uc->rip))
		return false;
	struct place p = place_of(uc->rip);
	bool entry;

	if (p.b && (p.b->flags & BLOCK_REGION))
		return region_state(th, uc, p.b, false, &entry);
	if (!p.rec)
		return false;
	u64 pc = p.b->pc + p.rec->guest;

	if (p.rec->flags & REC_SYSCALL) {
		state_from_uc(th, uc, p.rec->borrowed & BIT(R11));
		th->rip = pc;
		if (p.offset >= SYSCALL_END) {
			th->rip = th->gpr[RCX] = pc + 2;
			th->gpr[R11] = th->flags;
		}
		return true;
	}
	if (p.offset || (p.rec->flags & REC_MIDDLE))
		return false;
	state_from_uc(th, uc, p.rec->borrowed & BIT(R11));
	th->rip = pc;
	return true;
}

static u32 vectors_size(u64 fpstate)
{
	const u32 *sw = (const u32 *)(fpstate + FP_SW_RESERVED);

	if (!fpstate)
		return 0;
	return sw[0] == FP_MAGIC1 ? sw[1] : FP_LEGACY;
}

/* Keeps the vector state of the signal frame for a delivery from C. */
static void capture(struct thread *th, const struct ucontext *uc)
{
	u32 n = vectors_size(uc->fpstate);

	th->signal.vectors = n <= AREA_VECTORS_SIZE ? n : 0;
	__builtin_memcpy((u8 *)spill_of(th) + AREA_VECTORS, (const void *)uc->fpstate, th->signal.vectors);
}

static bool on_altstack(const struct thread *th, u64 sp)
{
	return !(th->alt.flags & SS_AUTODISARM) && th->alt.size && sp - th->alt.sp - 1 < th->alt.size;
}

static struct altstack alt_report(const struct thread *th)
{
	struct altstack a = th->alt;

	a.flags = (th->alt.flags & SS_AUTODISARM) |
		  (!th->alt.size ? SS_DISABLE : on_altstack(th, th->gpr[RSP]) ? SS_ONSTACK : 0);
	return a;
}

_Noreturn void die_by(struct thread *th, int sig, const struct siginfo *info)
{
	u64 none = ~SIG_BIT(sig);

	(void)th;
	host_action(sig, SIG_DFL, 0);
	for (;;) {
		if (sys4(__NR_rt_tgsigqueueinfo, sys0(__NR_getpid), sys0(__NR_gettid), sig, info) < 0)
			sys3(__NR_tgkill, sys0(__NR_getpid), sys0(__NR_gettid), sig);
		sys4(__NR_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
	}
}

/* Writes the frame on the program's stack and sets th to the beginning of the handler. */
static bool push_frame(struct thread *th, const struct action *act, const struct siginfo *info,
		       const struct ucontext *like, u64 vectors, u32 vectors_n)
{
	struct frame f = { .restorer = act->restorer, .info = *info };
	u64 sp = th->gpr[RSP] - RED_ZONE;

	if ((act->flags & SA_ONSTACK) && th->alt.size && !on_altstack(th, th->gpr[RSP]))
		sp = th->alt.sp + th->alt.size;
	else if (on_altstack(th, th->gpr[RSP]) && sp - th->alt.sp < vectors_n + sizeof f + 64)
		return false;
	if (vectors_n) {
		sp = ALIGN_DOWN(sp - vectors_n, 64);
		if (guest_copy((void *)sp, (const void *)vectors, vectors_n))
			return false;
		f.uc.fpstate = sp;
	}
	sp = ALIGN_DOWN(sp - sizeof f, 16) - 8;
	state_to_uc(th, &f.uc);
	f.uc.rip = th->rip;
	f.uc.flags = like->flags;
	f.uc.cs = like->cs;
	f.uc.ss = like->ss;
	f.uc.err = like->err;
	f.uc.trapno = like->trapno;
	f.uc.cr2 = like->cr2;
	f.uc.oldmask = f.uc.mask = th->mask;
	f.uc.stack = th->alt;
	if (guest_copy((void *)sp, &f, sizeof f))
		return false;
	if (th->alt.flags & SS_AUTODISARM)
		th->alt = (struct altstack){ 0, SS_DISABLE, 0, 0 };
	th->gpr[RDI] = (u64)info->signo;
	th->gpr[RSI] = sp + offsetof(struct frame, info);
	th->gpr[RDX] = sp + offsetof(struct frame, uc);
	th->gpr[RAX] = 0;
	th->gpr[RSP] = sp;
	th->rip = act->handler;
	th->flags &= ~(RF_DF | RF_RF | RF_TF);
	return true;
}

/* What the program wants done; its handler, or nothing to do (false). */
static bool take_action(struct thread *th, const struct siginfo *info, bool sync, struct action *act)
{
	int sig = info->signo;
	struct sighand *h = th->hand;

	lock_take(&h->lock);
	*act = h->act[sig];
	if (act->handler > SIG_IGN && (act->flags & SA_RESETHAND)) {
		h->act[sig].handler = SIG_DFL;
		if (!(SYNC_SIGNALS & SIG_BIT(sig)))
			host_action(sig, SIG_DFL, act->flags);
	}
	lock_drop(&h->lock);
	if (sync && (act->handler <= SIG_IGN || (th->mask & SIG_BIT(sig))))
		die_by(th, sig, info);
	if (act->handler == SIG_IGN)
		return false;
	if (act->handler == SIG_DFL) {
		if (SYNC_SIGNALS & SIG_BIT(sig))
			die_by(th, sig, info);
		/* It was set in the meantime: now the kernel does it. */
		sys4(__NR_rt_tgsigqueueinfo, sys0(__NR_getpid), sys0(__NR_gettid), sig, info);
		return false;
	}
	return true;
}

/* th is where the program was interrupted, and after this where it goes on. */
static void deliver(struct thread *th, const struct siginfo *info, const struct ucontext *like, u64 vectors,
		    u32 vectors_n, bool sync)
{
	struct action act;

	if (!take_action(th, info, sync, &act))
		return;
	stats.signals++;
	if (!push_frame(th, &act, info, like, vectors, vectors_n)) {
		struct siginfo bad = { .signo = SIGSEGV, .code = 0x80 };

		die_by(th, SIGSEGV, &bad);
	}
	th->mask |= act.mask & ~UNBLOCKABLE;
	if (!(act.flags & SA_NODEFER))
		th->mask |= SIG_BIT(info->signo);
}

/* The signal frame leads to where th stands, with the vector state of a fresh handler. */
static void resume_through(struct thread *th, struct ucontext *uc)
{
	state_to_uc(th, uc);
	uc->rip = (u64)resume_entry;
	uc->mask = host_mask(th->mask);
	uc->fpstate = 0;
	th->stepping = th->to_loop = false;
}

static void deliver_here(struct thread *th, const struct siginfo *info, struct ucontext *uc, bool sync)
{
	u64 handler_before = th->rip, sp = th->gpr[RSP];

	deliver(th, info, uc, uc->fpstate, vectors_size(uc->fpstate), sync);
	if (th->rip == handler_before && th->gpr[RSP] == sp) { /* ignored */
		u64 fp = uc->fpstate;

		resume_through(th, uc);
		uc->fpstate = fp;
		return;
	}
	resume_through(th, uc);
}

static void step(struct thread *th, struct ucontext *uc)
{
	th->stepping = true;
	stats.steps++;
	uc->eflags |= RF_TF;
	uc->mask = ~(SYNC_SIGNALS | UNBLOCKABLE);
	/* PUSHF would show it. */
	th->fix_pushf = in_cache(uc->rip) && *(const u8 *)uc->rip == 0x9c;
}

static bool on_the_way(u64 rip)
{
	return in_cache(rip) || (rip >= (u64)far_lookup && rip < (u64)far_end);
}

static void handle_async(struct thread *th, const struct siginfo *info, struct ucontext *uc)
{
	if ((SYNC_SIGNALS & th->mask & SIG_BIT(info->signo)) && !th->pending) {
		th->async |= SIG_BIT(info->signo);
		th->async_info = *info;
		return;
	}
	if (!th->pending && !th->stepping && precise_state(th, uc)) {
		deliver_here(th, info, uc, false);
		return;
	}
	th->signal.info = *info;
	th->signal.uc = *uc;
	th->signal.vectors = 0;
	th->pending = 1;
	uc->mask = ~(SYNC_SIGNALS | UNBLOCKABLE);
	if (on_the_way(uc->rip))
		step(th, uc);
	else
		capture(th, uc);
}

static void step_done(struct thread *th, struct ucontext *uc)
{
	uc->eflags &= ~RF_TF;
	if (th->fix_pushf)
		*(u64 *)uc->rsp &= ~RF_TF;
	th->fix_pushf = false;
	if (!on_the_way(uc->rip)) {
		th->stepping = th->to_loop = false;
		if (th->pending)
			capture(th, uc);
		return;
	}
	if (!precise_state(th, uc)) {
		step(th, uc);
		return;
	}
	if (th->pending) {
		struct siginfo info = th->signal.info;

		th->pending = 0;
		deliver_here(th, &info, uc, false);
		return;
	}
	/* The block that wrote to itself: go on in a new one, with the vector state that is there. */
	u64 fp = uc->fpstate;

	resume_through(th, uc);
	uc->fpstate = fp;
}

/* A write to a page with translations: once more, and if the instruction is in a block that died, no further.  In a region
 * what comes behind it may have been done with it: it is made by a plain translation. */
static void write_done(struct thread *th, struct ucontext *uc)
{
	struct place p = place_of(uc->rip);
	u64 fp = uc->fpstate;
	bool entry;

	if (!p.b || !(p.b->flags & BLOCK_DEAD))
		return;
	if ((p.b->flags & BLOCK_REGION) && region_state(th, uc, p.b, true, &entry)) {
		resume_through(th, uc);
		uc->fpstate = fp;
		return;
	}
	th->to_loop = true;
	step(th, uc);
}

static bool in_copy(u64 rip) { return rip >= (u64)guest_copy && rip < (u64)guest_copy_end; }

/* Out of the code cache, which is about to be emptied, to the instruction that faults; it will fault again. */
static void retreat(struct thread *th, struct ucontext *uc)
{
	u64 fp = uc->fpstate;
	struct place p = in_cache(uc->rip) ? place_of(uc->rip) : (struct place){ 0 };
	bool entry;

	if (!p.b || env_is_indirect_jump((const u8 *)uc->rip)) {
		state_from_uc(th, uc, BIT(R11));
		th->rip = uc->r11;
	} else if (p.b->flags & BLOCK_REGION) {
		if (!region_state(th, uc, p.b, true, &entry))
			fatal("signal at %lx in a region, where nothing can fault", uc->rip);
	} else {
		state_from_uc(th, uc, p.rec->borrowed & (p.offset ? ~0u : BIT(R11)));
		th->rip = p.b->pc + p.rec->guest;
	}
	resume_through(th, uc);
	uc->fpstate = fp;
}

/* For a handler; false: the thread is on its way out. */
static bool handler_lock(struct thread *th, struct ucontext *uc)
{
	if (!th->inside) {
		lock_take(&code_lock);
		return true;
	}
	if (thread_lock_inside())
		return true;
	retreat(th, uc);
	return false;
}

/* A fault that is the runtime's business. */
static bool own_fault(struct thread *th, const struct siginfo *info, struct ucontext *uc)
{
	/* Not by the error code's present bit: a page whose protection another thread is changing is absent for a moment. */
	bool write = uc->trapno == TRAP_PF && (uc->err & PF_WRITE) && info->code == SEGV_ACCERR, cached = in_cache(uc->rip);

	if (info->signo != SIGSEGV && info->signo != SIGBUS)
		return false;
	if (write && (cached || in_copy(uc->rip))) {
		if (!handler_lock(th, uc))
			return true;
		bool done = memory_write_fault(uc->cr2);

		if (done && cached)
			write_done(th, uc);
		lock_drop(&code_lock);
		if (done)
			return true;
	}
	if (info->signo == SIGBUS && uc->rip >= RUNTIME_BASE && uc->rip < RUNTIME_END && keep_fault(info->address))
		return true;
	if (in_copy(uc->rip)) {
		uc->rip = (u64)guest_copy_fault;
		return true;
	}
	if (!uc->rip) {
		if (!handler_lock(th, uc))
			return true;
		targets_fill(uc->r11);
		lock_drop(&code_lock);
		uc->rip = (u64)lookup_miss;
		return true;
	}
	if (!cached || *(const u8 *)uc->rip != 0x42)
		return false;
	struct place p = place_of(uc->rip);

	if (!p.rec || !env_is_indirect_jump((const u8 *)uc->rip))
		return false;
	if (uc->r11 >= LOW_END) {
		if (!handler_lock(th, uc))
			return true;
		code_far_site(p.b->pc + p.rec->guest);
		lock_drop(&code_lock);
	}
	uc->rip = (u64)lookup_miss;
	return true;
}

/* The trap at an entry in the middle of a block that died. */
static bool dead_entry(struct thread *th, struct ucontext *uc)
{
	struct place p = in_cache(uc->rip - 1) ? place_of(uc->rip - 1) : (struct place){ 0 };

	if (!p.rec || !(p.b->flags & BLOCK_DEAD) || !(p.rec->flags & REC_ENTRY) || p.offset)
		return false;
	u64 fp = uc->fpstate;

	state_from_uc(th, uc, BIT(R11));
	th->rip = p.b->pc + p.rec->guest;
	resume_through(th, uc);
	uc->fpstate = fp;
	return true;
}

static void fault(struct thread *th, struct siginfo *info, struct ucontext *uc)
{
	bool at_rip = info->signo == SIGILL || info->signo == SIGFPE || info->signo == SIGTRAP;
	struct place p;

	if (own_fault(th, info, uc) || (info->signo == SIGTRAP && dead_entry(th, uc)))
		return;
	if (!in_cache(uc->rip)) {
		if (uc->rip >= RUNTIME_BASE && uc->rip < RUNTIME_END) {
			say("the runtime failed: signal %d at %lx, address %lx, program at %lx", info->signo, uc->rip, uc->cr2, th->rip);
			die_by(th, info->signo, info);
		}
		/* Led astray by a target word that was none. */
		state_from_uc(th, uc, BIT(R11));
		th->rip = uc->rip;
		deliver_here(th, info, uc, true);
		return;
	}
	p = place_of(uc->rip);
	if (p.b && (p.b->flags & BLOCK_REGION)) {
		bool entry;

		if (!region_state(th, uc, p.b, true, &entry))
			fatal("signal %d at %lx in a region, where nothing can fault", info->signo, uc->rip);
		if (entry) { /* what is loaded ahead is not there: without the region, then */
			u64 fp = uc->fpstate;

			if (!handler_lock(th, uc))
				return;
			hot_drop(p.b);
			lock_drop(&code_lock);
			resume_through(th, uc);
			uc->fpstate = fp;
			return;
		}
		if (at_rip && info->address == uc->rip)
			info->address = th->rip;
		th->stepping = th->to_loop = false;
		deliver_here(th, info, uc, true);
		return;
	}
	if (!p.rec)
		fatal("signal %d at %lx in the code cache, where nothing can fault", info->signo, uc->rip);
	/* What is borrowed is so from the second instruction on, but for R11. */
	state_from_uc(th, uc, p.rec->borrowed & (p.offset ? ~0u : BIT(R11)));
	th->rip = p.b->pc + p.rec->guest;
	if (at_rip && info->address == uc->rip)
		info->address = th->rip;
	th->stepping = th->to_loop = false;
	deliver_here(th, info, uc, true);
}

/* To a precise point, and from there into the run loop. */
static void leave_cache(struct thread *th, struct ucontext *uc)
{
	u64 fp = uc->fpstate;

	if (precise_state(th, uc)) {
		resume_through(th, uc);
		uc->fpstate = fp;
	} else {
		th->to_loop = true;
		step(th, uc);
	}
}

/* The code cache is about to be emptied.  One that steps already, or is on its way to enter, comes by itself. */
static void kicked(struct thread *th, struct ucontext *uc)
{
	th->sampled = true;
	if (th->inside && !th->pending && !th->stepping && on_the_way(uc->rip))
		leave_cache(th, uc);
}

/* A sample of the hot tier's. */
static void sampled(struct thread *th, struct ucontext *uc)
{
	struct place p;

	th->sampled = true;
	if (th->pending || th->stepping || th->capturing || !in_cache(uc->rip) || hot_recording(th))
		return;
	p = place_of(uc->rip);
	if (p.b && (p.b->flags & BLOCK_REGION)) {
		hot_hit(p.b);
		return;
	}
	if (!p.rec || !hot_wanted(p.b->pc + p.rec->guest))
		return;
	th->record = true;
	leave_cache(th, uc);
}

void signal_handler(int sig, struct siginfo *info, struct ucontext *uc);

void signal_handler(int sig, struct siginfo *info, struct ucontext *uc)
{
	struct thread *th = here();

	if (sample_is(info)) {
		sampled(th, uc);
	} else if (thread_is_kick(info)) {
		kicked(th, uc);
	} else if (th->capturing && sig == SIGTRAP && info->code <= 0) {
		th->capturing = false;
		th->signal.uc = *uc;
		capture(th, uc);
	} else if (sig == SIGTRAP && th->stepping && uc->trapno == TRAP_STEP && info->code > 0)
		step_done(th, uc);
	else if ((SYNC_SIGNALS & SIG_BIT(sig)) && info->code > 0)
		fault(th, info, uc);
	else
		handle_async(th, info, uc);
}

/* A frame for the kernel that leads to where th stands.  uc has the vector state, or none. */
static _Noreturn void go(struct thread *th, struct ucontext *uc)
{
	struct frame f = { .uc = *uc };

	state_to_uc(th, &f.uc);
	f.uc.rip = (u64)resume_entry;
	f.uc.mask = host_mask(th->mask);
	f.uc.stack = (struct altstack){ (u64)spill_of(th) + AREA_ALTSTACK, 0, 0, AREA_ALTSTACK_SIZE };
	sigreturn_enter(&f);
}

static _Noreturn void deliver_captured(struct thread *th, bool sync)
{
	struct siginfo info = th->signal.info;
	struct ucontext uc = th->signal.uc;

	uc.fpstate = 0;
	deliver(th, &info, &uc, (u64)spill_of(th) + AREA_VECTORS, th->signal.vectors, sync);
	go(th, &uc);
}

void signal_deliver_pending(struct thread *th)
{
	th->pending = 0;
	deliver_captured(th, false);
}

/* The program's signal frame needs the vector state, which only the kernel can write here: a signal to
 * oneself brings it. */
_Noreturn void signal_raise(struct thread *th, const struct siginfo *info, u64 err, u64 trapno)
{
	u64 all = ~(SYNC_SIGNALS | UNBLOCKABLE);

	sys4(__NR_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
	if (th->pending)
		signal_deliver_pending(th);
	th->capturing = true;
	sys3(__NR_tgkill, sys0(__NR_getpid), sys0(__NR_gettid), SIGTRAP);
	th->signal.info = *info;
	th->signal.uc.err = err;
	th->signal.uc.trapno = trapno;
	th->signal.uc.cr2 = info->address;
	deliver_captured(th, true);
}

_Noreturn void signal_return(struct thread *th)
{
	struct frame f;
	struct siginfo info = { .signo = SIGSEGV, .code = 0x80 };

	if (guest_copy(&f, (const void *)(th->gpr[RSP] - 8), offsetof(struct frame, info)))
		die_by(th, SIGSEGV, &info);
	for (int i = 0; i < 16; i++)
		th->gpr[i] = *uc_register(&f.uc, i);
	th->rip = f.uc.rip;
	th->flags = f.uc.eflags & ~RF_TF;
	th->mask = f.uc.mask & ~UNBLOCKABLE;
	if (!on_altstack(th, th->gpr[RSP]))
		th->alt = f.uc.stack;
	go(th, &f.uc);
}

static s64 do_action(struct thread *th, u64 *a)
{
	int sig = (int)a[0];
	struct action new = { 0 }, old = { 0 };
	s64 r = 0;

	if (a[3] != 8 || sig < 1 || sig > SIGNALS || (a[1] && (SIG_BIT(sig) & UNBLOCKABLE)))
		return -EINVAL;
	if (a[1] && guest_copy(&new, (const void *)a[1], sizeof new))
		return -EFAULT;
	lock_take(&th->hand->lock);
	struct action *act = &th->hand->act[sig];
	bool sync = SYNC_SIGNALS & SIG_BIT(sig);

	old = *act;
	if (!sync) {
		struct action host;

		r = sys4(__NR_rt_sigaction, sig, NULL, &host, 8);
		if (r >= 0 && host.handler != (u64)signal_entry)
			old = host;
	}
	if (r >= 0 && a[1]) {
		new.mask &= ~UNBLOCKABLE;
		*act = new;
		if (!sync)
			host_action(sig, new.handler > SIG_IGN ? (u64)signal_entry : new.handler,
				    new.flags & ~(u64)(SA_RESETHAND | SA_NODEFER | HOST_FLAGS));
	}
	lock_drop(&th->hand->lock);
	if (r >= 0 && a[2] && guest_copy((void *)a[2], &old, sizeof old))
		return -EFAULT;
	return r;
}

/* The one that was blocked and no longer is comes again. */
static void release_async(struct thread *th)
{
	u64 now = th->async & ~th->mask;

	if (!now)
		return;
	th->async &= ~now;
	sys4(__NR_rt_tgsigqueueinfo, sys0(__NR_getpid), sys0(__NR_gettid), th->async_info.signo, &th->async_info);
}

static s64 do_mask(struct thread *th, u64 *a)
{
	u64 set, old = th->mask, new = old;

	if (a[3] != 8)
		return -EINVAL;
	if (a[1]) {
		if (guest_copy(&set, (const void *)a[1], 8))
			return -EFAULT;
		switch ((int)a[0]) {
		case SIG_BLOCK: new = old | set; break;
		case SIG_UNBLOCK: new = old & ~set; break;
		case SIG_SETMASK: new = set; break;
		default: return -EINVAL;
		}
		signal_set_mask(th, new);
		/* It came before the mask was set, but its handler would run after. */
		if (th->pending) {
			th->mask = old;
			return RESTART;
		}
		release_async(th);
	}
	if (a[2] && guest_copy((void *)a[2], &old, 8))
		return -EFAULT;
	return 0;
}

static s64 do_altstack(struct thread *th, u64 *a)
{
	struct altstack new, old = alt_report(th);

	if (a[0]) {
		if (guest_copy(&new, (const void *)a[0], sizeof new))
			return -EFAULT;
		u32 mode = new.flags & ~SS_AUTODISARM;

		if (on_altstack(th, th->gpr[RSP]))
			return -EPERM;
		if (mode > SS_DISABLE)
			return -EINVAL;
		if (mode == SS_DISABLE)
			new = (struct altstack){ 0, new.flags, 0, 0 };
		else if (new.size < MINSIGSTKSZ)
			return -ENOMEM;
		th->alt = new;
	}
	if (a[1] && guest_copy((void *)a[1], &old, sizeof old))
		return -EFAULT;
	return 0;
}

s64 signal_call(struct thread *th, u64 nr, u64 *a)
{
	switch (nr) {
	case __NR_rt_sigaction: return do_action(th, a);
	case __NR_rt_sigprocmask: return do_mask(th, a);
	case __NR_sigaltstack: return do_altstack(th, a);
	default: signal_return(th);
	}
}
