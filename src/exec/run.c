/* SPDX-License-Identifier: MIT
 * The loop between two stretches of translated code.
 *
 *	translated code --exit--> exec_exit() --+
 *	       ^                                +--> run_loop() --> code_lookup()
 *	       +---------- enter() <------------------+
 *
 * struct thread is the truth while C runs, but for vector state, which stays in the processor. */
#include "exec/exec.h"
#include "exec/hot.h"
#include "x86/emit.h"

#define PF_FETCH 0x14
#define TRAP_PF 14
#define TRAP_GP 13
#define VSYSCALL 0xffffffffff600000ull

/* What a far transfer or a segment load does here: the program has the flat selectors only. */
static _Noreturn void raise_gp(struct thread *th)
{
	struct siginfo info = { .signo = SIGSEGV, .code = 0x80 };

	signal_raise(th, &info, 0, TRAP_GP);
}

/* Calls through the page of the old kernel interface: gettimeofday, time, getcpu. */
static bool vsyscall(struct thread *th)
{
	static const u16 calls[] = { __NR_gettimeofday, __NR_time, __NR_getcpu };
	u64 i = (th->rip - VSYSCALL) / 1024, a[6] = { th->gpr[RDI], th->gpr[RSI], th->gpr[RDX] }, to;

	if (th->rip % 1024 || i >= ARRAY_SIZE(calls) || guest_copy(&to, (const void *)th->gpr[RSP], 8))
		return false;
	th->gpr[RAX] = (u64)sys3(calls[i], a[0], a[1], a[2]);
	th->gpr[RSP] += 8;
	th->rip = to;
	return true;
}

/* Where th goes on; an indirect branch will go there by itself from now on. */
static u64 find(struct thread *th, bool indirect, struct siginfo *info)
{
	u64 host;

	if (unlikely(th->record)) {
		th->record = false;
		hot_begin(th);
	}
	if (hot_recording(th))
		return hot_step(th, info);
	host = code_lookup(th->rip, info);
	if (host && (indirect || code_is_target(th->rip))) {
		u64 landing = code_landing(th->rip);

		code_enter_target(th->rip, landing ? landing : host);
		if (indirect)
			code_enter_far(th->rip, landing ? landing : host);
	}
	return host;
}

static _Noreturn void go_to(struct thread *th, bool indirect)
{
	struct siginfo info;
	u64 host;

	lock_take(&code_lock);
	host = find(th, indirect, &info);
	atomic_store(&th->inside, host != 0);
	lock_drop(&code_lock);
	if (host) {
		spill_of(th)->target = host;
		enter();
	}
	if (vsyscall(th))
		run_fresh();
	signal_raise(th, &info, PF_FETCH | (info.code == 2), TRAP_PF);
}

_Noreturn void run_loop(void)
{
	struct thread *th = here();

	thread_outside(th);
	if (th->pending)
		signal_deliver_pending(th);
	go_to(th, false);
}

/* Patches the branch of the exit. */
static void link(const struct exit_record *x, u32 generation)
{
	struct siginfo info;
	u64 host;

	lock_take(&code_lock);
	host = code_lookup(x->target, &info);
	/* The record may belong to a cache that is gone. */
	if (!host || generation != CACHE->generation || (CACHE->blocks[x->block].flags & BLOCK_DEAD)) {
		lock_drop(&code_lock);
		return;
	}
	code_patch(CODE_BASE + x->patch, (const u8 *)host);
	lock_drop(&code_lock);
	stats.links++;
}

/* The dead stub leads to what took the block's place. */
static void forward(struct thread *th, const struct exit_record *x, u32 generation)
{
	struct siginfo info;
	struct block *from = &CACHE->blocks[x->block];
	u64 host;

	lock_take(&code_lock);
	host = code_lookup(th->rip, &info);
	/* A block of one instruction leads back here, where the trace goes on. */
	if (host && generation == CACHE->generation && (from->flags & BLOCK_DEAD) && !(from->mode & TM_STEP))
		code_put_jump(from->cold, (const u8 *)host);
	lock_drop(&code_lock);
}

/* An instruction that is executed here, or not at all. */
static _Noreturn void execute(struct thread *th)
{
	struct insn in;
	u8 bytes[INSN_MAX] = { 0 };

	for (size_t n = INSN_MAX; n && guest_copy(bytes, (const void *)th->rip, n); n--)
		;
	if (insn_decode(&in, bytes, sizeof bytes, MODE_64))
		raise_gp(th);
	int rm = (in.modrm & 7) | (in.rex & 1) << 3;

	switch (in.klass) {
	case IC_SYSCALL:
		syscall_execute(th);
	case IC_RDGSBASE:
		th->gpr[rm] = in.osize == 8 ? spill_of(th)->gs_base : (u32)spill_of(th)->gs_base;
		break;
	case IC_WRGSBASE:
		if (in.osize == 8 && (s64)(th->gpr[rm] << 16) >> 16 != (s64)th->gpr[rm])
			raise_gp(th);
		spill_of(th)->gs_base = in.osize == 8 ? th->gpr[rm] : (u32)th->gpr[rm];
		break;
	case IC_MOV_TO_SEG:
		/* Null selectors, and the data selector, where they leave the base alone or clear it. */
		if (in.has_mem || (u16)th->gpr[rm] > 3 || (in.modrm >> 3 & 7) == SEG_CS || (in.modrm >> 3 & 7) == SEG_SS)
			raise_gp(th);
		if ((in.modrm >> 3 & 7) == SEG_FS)
			host_wrfsbase(0);
		if ((in.modrm >> 3 & 7) == SEG_GS)
			spill_of(th)->gs_base = 0;
		break;
	case IC_XBEGIN:
		/* Aborts at once, without a reason. */
		th->gpr[RAX] = 0;
		th->rip += (u64)in.imm;
		break;
	default:
		raise_gp(th);
	}
	th->rip += in.len;
	run_fresh();
}

_Noreturn void exec_exit(u32 exit)
{
	struct thread *th = here();

	stats.exits++;
	if (options.count && options.tier >= 2 && stats.exits % options.count == 0)
		th->record = true;
	if (exit == EXIT_RESUME)
		run_loop();
	if (exit == EXIT_LOOKUP) {
		th->rip = th->target;
		thread_outside(th);
		stats.lookups++;
		if (th->pending)
			signal_deliver_pending(th);
		go_to(th, true);
	}
	const struct exit_record x = CACHE->exits[exit];
	u32 generation = CACHE->generation;

	th->rip = x.target;
	/* From here on the record may be gone. */
	thread_outside(th);
	switch (x.kind) {
	case X_LINK:
		link(&x, generation);
		break;
	case X_DEAD:
		forward(th, &x, generation);
		break;
	case X_INSN:
		if (th->pending)
			signal_deliver_pending(th);
		execute(th);
	default:
		break;
	}
	run_loop();
}
