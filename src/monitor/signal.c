/* SPDX-License-Identifier: MIT
 * Host signals: faults of translated code become fills or guest exceptions; timer and kicks become
 * events at the next precise point.
 *
 * A point is precise where an expansion begins: the registers are the guest's.  Elsewhere the trap flag
 * steps to one.  The handler either returns to where it was, or makes struct cpu whole and returns
 * into the run loop. */
#include "monitor/devices.h"
#include "monitor/private.h"
#include "base/sys.h"
#include "shadow/paging.h"
#include "shadow/shadow.h"
#include "x86/system.h"

#define SIGILL 4
#define SIGTRAP 5
#define SIGBUS 7
#define SIGFPE 8
#define SIGUSR1 10
#define SIGSEGV 11
#define SIGALRM 14
#define SIGCHLD 17
#define SA_SIGINFO 4
#define SA_RESTORER 0x04000000
#define SA_ONSTACK 0x08000000
/* The kernel does not look where the guest's stack pointer lies: it may well be in the alternate stack. */
#define SS_AUTODISARM (1u << 31)

struct ucontext {
	u64 flags, link;
	struct { u64 sp; u32 flags, pad; u64 size; } stack;
	u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	u16 cs, gs, fs, ss;
	u64 err, trapno, oldmask, cr2;
	u8 *fpstate;
};

extern u8 signal_entry[], signal_restorer[];

bool signal_stack_open;
_Static_assert(offsetof(struct ucontext, fpstate) == UC_FPSTATE, "ucontext");

void signal_setup(void)
{
	static const u8 signals[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGUSR1, SIGSEGV, SIGALRM, SIGCHLD };
	struct { u64 handler, flags, restorer, mask; } act = {
		(u64)signal_entry, SA_SIGINFO | SA_ONSTACK | SA_RESTORER, (u64)signal_restorer, ~0ull,
	};
	struct { u64 sp; u32 flags, pad; u64 size; } stack = { (u64)HOST(ALTSTACK_DISP), SS_AUTODISARM, 0, ALTSTACK_SIZE };

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sys4(__NR_rt_sigaction, signals[i], &act, NULL, 8);
	sys2(__NR_sigaltstack, &stack, NULL);
}

static void set_pkru(struct ucontext *uc, u32 value)
{
	if (!(SHADOW->keys & 1))
		return;
	*(u64 *)(uc->fpstate + 512) |= BIT(9);
	*(u32 *)(uc->fpstate + SH->xstate_pkru) = value;
}

static _Noreturn void die(struct ucontext *uc, int sig, const char *what)
{
	monitor_fail("%s: signal %d trap %ld at host %lx address %lx error %lx, guest rip %lx cpl %d rsp %lx",
		     what, sig, uc->trapno, uc->rip, uc->cr2, uc->err, CPU->rip, CPU->cpl, uc->rsp);
}

/* Returns into the run loop, with struct cpu whole. */
static void to_run_loop(struct ucontext *uc)
{
	uc->rip = (u64)run_loop_fresh;
	uc->eflags = RF_FIXED | RF_IF;
	set_pkru(uc, 0);
	my.stepping = my.stop_at_point = my.fix_pushf = false;
	my.storm = 0;
}

static u64 *uc_register(struct ucontext *uc, int r)
{
	switch (r) {
	case RAX: return &uc->rax;
	case RCX: return &uc->rcx;
	case RDX: return &uc->rdx;
	case RBX: return &uc->rbx;
	case RSP: return &uc->rsp;
	case RBP: return &uc->rbp;
	case RSI: return &uc->rsi;
	case RDI: return &uc->rdi;
	default: return &uc->r8 + (r - R8);
	}
}

/* The guest's state at a fault inside, or at the precise point of, an expansion. */
static void state_from(struct cpu *c, struct ucontext *uc, struct block *b, struct insn_record *rec)
{
	bool user = b->mode & TM_USER;
	volatile struct spill *s = user ? SPILL_U : SPILL_K;
	u64 flags = FLAGS_STATUS | FLAG_DF;

	state_live(c, user);
	for (int i = 0; i < (b->mode & TM_COMPAT ? 8 : 16); i++)
		c->gpr[i] = rec->borrowed >> i & 1 ? s->reg[i] : *uc_register(uc, i);
	if (rec->flags & REC_STRING) {
		c->gpr[RSI] += s->str_src;
		c->gpr[RDI] += s->str_dst;
	}
	c->rip = b->pc + rec->guest;
	c->rflags = (c->rflags & ~flags) | (uc->eflags & flags);
	if (user)
		return;
	c->gpr[RSP] -= FOLD_OFF;
	c->rflags &= ~(RF_IF | RF_AC);
	c->rflags |= (s->vif ? 0 : RF_IF) | s->vac;
}

static bool in_cache(u64 pc) { return pc - (u64)CODE_BASE < CODE_SIZE; }

/* The guest's code, or the doors: no C code was interrupted. */
static bool in_guest(u64 pc)
{
	return in_cache(pc) || (pc >= (u64)monitor_text_begin && pc < (u64)run_loop_fresh);
}

/* The timer was armed, or the kick sent, before another carrier took over.  That one looks for events
 * when it starts; one that runs already is told by the zygote. */
static void forward_event(void)
{
	vcpu_kick(VCPU->number);
}

static void step(struct ucontext *uc)
{
	my.stepping = true;
	VCPU->count.steps++;
	uc->eflags |= RF_TF;
}

/* Whatever the guest's interrupt flag says. */
static bool must_leave(void) { return SH->stop || (smp() && SH->emptying); }

static void probes_drop(struct block *b);

/* A signal, or a step towards a precise point. */
static void handle_event(struct ucontext *uc)
{
	struct block *b;
	struct insn_record *rec;
	bool deliver;

	uc->eflags &= ~RF_TF;
	if (my.finishing) {
		block_entry_kill(CACHE, my.finishing);
		my.finishing = NULL;
	}
	if (uc->rip >= (u64)enter_begin && uc->rip < (u64)enter_end) {
		to_run_loop(uc);
		return;
	}
	if ((uc->rip >= (u64)gates_begin || (must_leave() && uc->rip >= (u64)syscall_gate)) && uc->rip < (u64)gates_end) {
		my.fix_pushf = *(u8 *)uc->rip == 0x9c;
		step(uc);
		return;
	}
	if (!in_cache(uc->rip)) {
		signal_noted = 1;
		my.stepping = my.stop_at_point = false; /* C code is a point */
		return;
	}
	b = block_at_host(CACHE, uc->rip);
	rec = b ? block_record(CACHE, b, uc->rip) : NULL;
	if (b && (b->mode & TM_USER))
		deliver = true;
	else
		deliver = !SPILL_K->vif || my.stop_at_point;
	if (rec && !deliver) {
		my.stepping = false;
		return;
	}
	/* Behind a step of the guest's its #DB comes first. */
	bool behind = b && rec && (b->mode & TM_STEP) && rec->guest;

	if (rec && !behind && !(rec->flags & (REC_NO_INTERRUPT | REC_MIDDLE)) && uc->rip == (u64)CODE_BASE + b->host + rec->host) {
		/* Nothing has been borrowed yet where an expansion begins, but for what lives there. */
		struct insn_record begin = *rec;

		begin.borrowed &= (b->mode & (TM_USER | TM_COMPAT)) == TM_USER ? KEPT_USER : 0;
		state_from(CPU, uc, b, &begin);
		if (b->flags & BLOCK_PROBES)
			probes_drop(b);
		to_run_loop(uc);
		return;
	}
	if (*(u8 *)uc->rip == 0x9c)
		my.fix_pushf = true;
	step(uc);
}

/* Decodes the 64-bit instruction of a record, which may run into the block's second page. */
static int record_insn(const struct block *b, const struct insn_record *rec, struct insn *in)
{
	u64 pc = b->pc + rec->guest, left = PAGE_SIZE - (pc & ~PAGE_MASK);
	u64 pa = ((pc ^ b->pc) & PAGE_MASK ? b->pa2 : b->pa & PAGE_MASK) | (pc & ~PAGE_MASK);
	u8 bytes[INSN_MAX];

	if (left >= INSN_MAX || !(b->flags & BLOCK_SPANS))
		return insn_decode(in, ram_pointer(pa), MIN(left, (u64)INSN_MAX), MODE_64);
	__builtin_memcpy(bytes, ram_pointer(pa), left);
	__builtin_memcpy(bytes + left, ram_pointer(b->pa2), INSN_MAX - left);
	return insn_decode(in, bytes, INSN_MAX, MODE_64);
}

/* A step of a test's storm (see test_storm()): at the last one comes an event.  Entering is passed without, most
 * of the time, or nothing would ever run. */
static void handle_storm(struct ucontext *uc)
{
	bool entering = uc->rip >= (u64)enter_begin && uc->rip < (u64)enter_end;

	if (my.fix_pushf)
		*(u64 *)uc->rsp &= ~RF_TF;
	my.fix_pushf = false;
	if (!entering && !in_cache(uc->rip)) {
		my.storm = 0;
		uc->eflags &= ~RF_TF;
		return;
	}
	if (entering || --my.storm) {
		my.fix_pushf = *(u8 *)uc->rip == 0x9c;
		uc->eflags |= RF_TF;
		return;
	}
	SPILL_K->pending = 1;
	handle_event(uc);
}

/* Guest address of a kernel-world access that faulted at `host`; false where it must be found out
 * by executing the instruction in C. */
static bool kernel_address(struct cpu *c, struct block *b, struct insn_record *rec, u64 host, bool write, u64 *va)
{
	struct insn in;

	if (rec->access == AK_STRING) {
		u64 s = fold(c->gpr[RSI]), d = fold(c->gpr[RDI]);

		if (host - d + 64 < 128 && (write || host - s + 64 >= 128)) {
			*va = host - d + c->gpr[RDI];
			return true;
		}
		*va = host - s + c->gpr[RSI];
		return host - s + 64 < 128;
	}
	if (record_insn(b, rec, &in) || !in.has_mem) {
		*va = host - FOLD_OFF;
		return is_kernel_half(*va);
	}
	*va = sys_operand_address(c, &in).v;
	if (rec->access == AK_BOTH || in.seg == SEG_GS) {
		/* PUSH, POP and CALL may have faulted on the stack. */
		if (in.klass != IC_PLAIN && host - fold(*va) >= PAGE_SIZE && is_kernel_half(host - FOLD_OFF))
			*va = host - FOLD_OFF;
		else if (host - *va < PAGE_SIZE) /* a GS base in the user's half is not folded, wherever it leads */
			*va = host;
		else
			*va += host - fold(*va);
		return true;
	}
	/* A push of memory, or a call through it, may fault on either access. */
	if (host - fold(*va) < 4096)
		*va += host - fold(*va);
	else
		*va = host - FOLD_OFF;
	return true;
}

static u64 site_address(const struct block *b, const struct insn_record *rec)
{
	u64 pc = b->pc + rec->guest;

	return ((pc ^ b->pc) & PAGE_MASK ? b->pa2 : b->pa & PAGE_MASK) | (pc & ~PAGE_MASK);
}

/* Has the site translated anew, as both-ways accessor or (SITE_DEVICE) as one that C executes.  Returns whether it
 * was that already. */
static bool site_change(struct block *b, struct insn_record *rec, u64 what)
{
	u64 pa = site_address(b, rec);
	bool known, again = what != SITE_TABLE;
	struct insn in;

	cache_lock();
	known = site_is_both(CACHE, pa | what);
	/* A block that came back may have been made before the site was known; what cannot be a checked store stays. */
	again |= !site_is_both(CACHE, pa) && !record_insn(b, rec, &in) && table_store_fits(&in);
	if (!known || again) {
		VCPU->count.both_sites++;
		site_set_both(CACHE, pa | what);
		/* Every block that contains the instruction has to go. */
		block_kill_site(CACHE, ram_offset(pa) >> PAGE_SHIFT, pa);
		my.left_killed = true;
	}
	cache_unlock();
	return known;
}

/* A store of user code to a page that the guest does not have yet.  One that did so before will again: it asks from
 * now on. */
static void store_faulted(struct block *b, struct insn_record *rec, u64 va)
{
	u64 site = site_address(b, rec);

	space_probe_note(va, false);
	if ((b->flags & BLOCK_DEAD) || rec->access != AK_IDENT || site_is_both(CACHE, site | SITE_PROBED))
		return;
	if (site_is_both(CACHE, site | SITE_FAULTED))
		site_change(b, rec, SITE_PROBED);
	else
		site_set_both(CACHE, site | SITE_FAULTED);
}

/* The clock has found the block running.  Where it finds such a block time after time, stores that ask are too frequent
 * to do so; once is by chance. */
static void probes_drop(struct block *b)
{
	u64 last = my.probes_met;

	my.probes_met = VCPU->count.events;
	if (VCPU->count.events - last > 2)
		return;
	for (u32 i = 0; i < b->n_records; i++) {
		struct insn_record *rec = &CACHE->records[b->records + i];

		if (site_is_both(CACHE, site_address(b, rec) | SITE_PROBED))
			site_change(b, rec, SITE_BUSY);
	}
}

static void raise(struct cpu *c, int vector, bool has_error, u32 error, u64 cr2)
{
	c->exc = (struct cpu_exception){
		.pending = 1, .vector = (u8)vector, .has_error = has_error, .error = error, .cr2 = cr2 };
}

/* An access that chose its host address by what is known of the kernel's addresses met one of which
 * nothing was known.  True: it is now. */
static bool claim(struct cpu *c, struct block *b, struct insn_record *rec)
{
	struct insn in;

	if (rec->access == AK_STRING)
		return space_claim(c, c->gpr[RSI]) | space_claim(c, c->gpr[RDI]);
	if (rec->access != AK_BOTH || record_insn(b, rec, &in) || !in.has_mem)
		return false;
	return space_claim(c, sys_operand_address(c, &in).v);
}

#define DEVICE_FAULTS 3 /* in a row by one instruction, before it is taken for a device's driver */
#define FOREIGN_FAULTS 3 /* in a row by one string instruction, before it looks for itself */

/* #GP or #SS of a kernel-world access: the guest's own, for a misaligned operand or one that is not canonical, unless
 * it came from folding a user address. */
static bool operand_fault(struct cpu *c, struct block *b, struct insn_record *rec)
{
	struct insn in;
	bool canonical;
	u64 va;

	if (record_insn(b, rec, &in) || !in.has_mem || in.klass != IC_PLAIN)
		return false;
	if (left_is_stale())
		return true;
	if (in.vsib) { /* has one form: no kernel gathers from user memory */
		raise(c, VEC_GP, true, 0, 0);
		return true;
	}
	va = sys_operand_address(c, &in).v;
	canonical = (s64)(va << 16) >> 16 == (s64)va;
	/* A user address that gives way to a kernel page, and a kernel address of which nothing is mapped or that
	 * has no folded one, were made non-canonical: see space_claim(). */
	if (canonical && (FOLDS[FOLD_INDEX(va)] == FOLD_BAD || (!is_kernel_half(va) && rec->access != AK_BOTH)))
		return false;
	raise(c, !canonical && in.base_seg_ss && in.seg == SEG_NONE ? VEC_SS : VEC_GP, true, 0, 0);
	return true;
}

/* A store to a table that is watched.  True: C executes it, and the monitor knows what was written. */
static bool table_store(struct block *b, struct insn_record *rec, u64 frame)
{
	SHADOW_COUNT->table_traps++;
	if ((b->mode & TM_USER) || rec->access == AK_STRING || rec->access == AK_STACK || !*frame_watchers((u32)frame)) {
		table_release(frame);
		return false;
	}
	if (paging_chosen()->intercepts)
		site_change(b, rec, SITE_TABLE);
	my.table = frame + 1;
	my.execute = true;
	return true;
}

/* A copy that reaches a foreign user half, as the kernel's do that patch its text: next time it leaves for C without
 * the detour of a fault. */
static void foreign_string(const struct cpu *c, struct block *b, struct insn_record *rec)
{
	my.foreign_faults = my.foreign_rip == c->rip ? my.foreign_faults + 1 : 0;
	my.foreign_rip = c->rip;
	if (my.foreign_faults >= FOREIGN_FAULTS)
		site_change(b, rec, SITE_FOREIGN);
}

/* The site goes through the software TLB from now on, instead of having another page mapped. */
static bool soften(struct block *b, struct insn_record *rec, u64 va)
{
	u64 pa = site_address(b, rec);
	struct insn in;

	if (rec->access != AK_IDENT || (b->mode & (TM_COMPAT | TM_STEP)) || !soft_due(pa, va) || record_insn(b, rec, &in) ||
	    !soft_fits(&in))
		return false;
	soft_try(pa);
	return true;
}

/* A fault on memory.  True: the access can be tried again where it was. */
static bool memory_fault(struct cpu *c, struct ucontext *uc, struct block *b, struct insn_record *rec)
{
	bool write = uc->err & 2, user = b->mode & TM_USER;
	u64 host = uc->cr2, va = host;
	u32 error, generation = CACHE->generation;
	struct walk w;

	if (!user) {
		if (uc->trapno == 13 && claim(c, b, rec))
			return false;
		/* With a user address as GS base the same host address may mean either half. */
		if (uc->trapno == 14 && is_kernel_half(host - FOLD_OFF) &&
		    (rec->access == AK_STACK || (rec->access == AK_FOLD && is_kernel_half(c->seg[SEG_GS].base)))) {
			va = host - FOLD_OFF;
		} else if (uc->trapno != 14 || !kernel_address(c, b, rec, host, write, &va)) {
			if (left_is_stale())
				return false;
			/* Not canonical as folded: a user address, or a bad one. */
			if (uc->trapno != 14 && operand_fault(c, b, rec))
				return false;
			if (rec->access == AK_FOLD) {
				/* A site that was one already has no other form. */
				my.execute = site_change(b, rec, 0);
			} else {
				my.execute = true;
			}
			return false;
		}
		if (left_is_stale())
			return false;
		if (!is_kernel_half(va) && rec->access == AK_FOLD) {
			/* It was both already: an access through GS, whose base no fold is chosen for. */
			my.execute = site_change(b, rec, 0);
			return false;
		}
	} else if (uc->trapno != 14) {
		raise(c, uc->trapno == 12 ? VEC_SS : VEC_GP, true, 0, 0);
		return false;
	} else if ((b->mode & TM_COMPAT) && va >= 0xfffff000) {
		/* Perhaps beyond the limit of the segment, which is a fault of another kind. */
		my.execute = true;
		return false;
	}
	if ((s64)(va << 16) >> 16 != (s64)va) {
		raise(c, rec->access == AK_STACK ? VEC_SS : VEC_GP, true, 0, 0);
		return false;
	}
	if (mmu_walk(c, va, (write ? PF_W : 0) | (user ? PF_U : 0), false, &w, &error)) {
		raise(c, VEC_PF, true, error, va);
		if (user && write && !(error & PF_P))
			store_faulted(b, rec, va);
		return false;
	}
	if (generation != CACHE->generation)
		return false;
	if (my.want_switch && !is_kernel_half(va)) {
		my.execute = foreign_access(c, w.user);
		if (rec->access == AK_STRING && my.execute)
			foreign_string(c, b, rec);
		return false;
	}
	if (debug_on(c) && !my.open && debug_watched(c, va)) {
		my.execute = true;
		return false;
	}
	if (test_unmapped(va)) {
		my.execute = true;
		return false;
	}
	/* A kernel's stack in the lower half, whose folded addresses nothing is mapped at. */
	if (rec->access == AK_STACK && !is_kernel_half(va)) {
		my.execute = true;
		return false;
	}
	/* A user page that kernel code must not reach by itself. */
	if (!user && !is_kernel_half(va) && (uc->err & PF_PK)) {
		my.execute = true;
		return false;
	}
	/* An access of a driver's. */
	if (!user && ram_offset(w.pa) == ~0ull) {
		my.device_faults = my.device_rip == c->rip ? my.device_faults + 1 : 0;
		my.device_rip = c->rip;
		if (my.device_faults >= DEVICE_FAULTS)
			site_change(b, rec, SITE_DEVICE);
		my.execute = true;
		return false;
	}
	if (write && (frame_flags(ram_offset(w.pa) >> PAGE_SHIFT) & FRAME_TABLE) &&
	    table_store(b, rec, ram_offset(w.pa) >> PAGE_SHIFT))
		return false;
	if (user && soften(b, rec, va))
		return false;
	if (my.fault_rip == c->rip && my.fault_address == va) {
		if (++my.fault_repeats > 8) {
			my.fault_repeats = 0;
			my.execute = true;
			return false;
		}
	} else {
		my.fault_rip = c->rip;
		my.fault_address = va;
		my.fault_repeats = 0;
	}
	if (write) {
		u64 frame = ram_offset(w.pa) >> PAGE_SHIFT;

		if (frame_flags(frame) & FRAME_CODE) {
			frame_clear_code(frame);
			my.left_killed = true;
			if (generation != CACHE->generation)
				return false;
			if (b->flags & BLOCK_DEAD) {
				my.stop_at_point = true;
				my.stepping = true;
			}
			/* What others may run begins with a NOP, and needs not be put back (B4). */
			if ((b->flags & BLOCK_DEAD) && !smp()) {
				block_entry_restore(CACHE, b);
				my.finishing = b;
			}
		}
	}
	if (space_fill(c, va, &w, write)) {
		my.execute = true;
		return false;
	}
	if (debug_on(c) && !my.open)
		debug_close(c);
	if (space_code_changed()) {
		code_reset();
		/* It refers to no instance any more: others may move the one that it was in. */
		if (smp())
			return false;
	}
	/* The lock was waited for: others may have changed what this one goes back to. */
	if (smp() && VCPU->where != IN_GUEST && (generation != CACHE->generation || !smp_may_enter()))
		return false;
	return true;
}

static void guest_fault(int sig, struct ucontext *uc)
{
	struct block *b = block_at_host(CACHE, uc->rip);
	struct insn_record *rec = b ? block_record(CACHE, b, uc->rip) : NULL;
	struct cpu *c = CPU;
	bool retry = false;

	VCPU->count.faults++;
	/* A store through the software TLB that has an exception of its own is not under way any more (frames.c). */
	__atomic_store_n(&TABLE_LOG->gate, 0, __ATOMIC_RELEASE);
	if (sig == SIGBUS && uc->trapno == 14 && uc->cr2 - (u64)RAM_BASE < SHADOW->ram_size)
		die(uc, sig, "the host has no memory");
	if (!rec)
		die(uc, sig, "fault outside a block");
	state_from(c, uc, b, rec);
	my.left = (u32)(b - CACHE->blocks);
	my.left_generation = CACHE->generation;
	my.left_killed = false;
	if (left_is_stale()) {
		to_run_loop(uc);
		return;
	}
	switch (sig) {
	case SIGSEGV:
	case SIGBUS:
		if (uc->trapno == 17)
			raise(c, VEC_AC, true, 0, 0);
		else if (rec->access == AK_NONE && uc->trapno == 13)
			raise(c, VEC_GP, true, 0, 0);
		else
			retry = memory_fault(c, uc, b, rec);
		break;
	case SIGFPE:
		raise(c, uc->trapno == 0 ? VEC_DE : uc->trapno == 16 ? VEC_MF : VEC_XM, false, 0, 0);
		break;
	case SIGILL:
		raise(c, VEC_UD, false, 0, 0);
		break;
	default:
		die(uc, sig, "unexpected signal");
	}
	if (!retry) {
		to_run_loop(uc);
		return;
	}
	if (my.stop_at_point) {
		if (*(u8 *)uc->rip == 0x9c)
			my.fix_pushf = true;
		uc->eflags |= RF_TF;
	}
}

/* A timer, a kick, or another vCPU that wants something noticed. */
static void notified(int sig, struct ucontext *uc)
{
	bool guest = in_guest(uc->rip);

	if (sig == SIGALRM)
		my.armed = 0;
	if (VCPU->current != my.number) {
		/* Whoever starts to run looks by itself, but one that runs already may rely on this timer. */
		if (sig == SIGALRM || !smp())
			forward_event();
		return;
	}
	late_check();
	carrier_arm_timer(LEGACY_NEVER); /* while the guest keeps interrupts off nobody else does */
	if (smp() && !guest)
		signal_noted = 1;
	if (smp() && guest)
		smp_serve();
	if (smp() && sig == SIGUSR1 && VCPU->kick == VCPU->kick_seen && !must_leave())
		return;
	if (guest && (must_leave() || (!VCPU->number && device_waits())))
		my.stop_at_point = true;
	SPILL_K->pending = 1;
	handle_event(uc);
}

void signal_handler(int sig, void *info, struct ucontext *uc)
{
	(void)info;
	if (sig == SIGCHLD) {
		atomic_fetch_add(&SH->fork_wanted, 1);
		return;
	}
	if (sig == SIGALRM || sig == SIGUSR1) {
		notified(sig, uc);
		return;
	}
	if (sig == SIGSEGV && smp() && uc->trapno == 13 && in_cache(uc->rip) && slot_missing(uc->rip))
		return;
	if (sig == SIGTRAP && my.storm && !my.stepping) {
		handle_storm(uc);
		return;
	}
	if (sig == SIGTRAP && my.stepping) {
		if (my.fix_pushf) {
			*(u64 *)uc->rsp &= ~RF_TF;
			my.fix_pushf = false;
		}
		handle_event(uc);
		return;
	}
	if (!in_cache(uc->rip))
		die(uc, sig, "monitor fault");
	guest_fault(sig, uc);
}
