/* SPDX-License-Identifier: MIT
 * The run loop: from an exit of translated code back into translated code.
 *
 *   translated code --exit--> exit_dispatch --> run_loop --enter--> translated code
 *          \--fault, signal--> signal_handler --(state made whole)--> run_loop
 *
 * struct cpu is the whole truth while C code runs, but for vector state, which stays in the processor. */
#include "monitor/devices.h"
#include "monitor/private.h"
#include "base/sys.h"
#include "shadow/shadow.h"
#include "translate/targets.h"
#include "x86/system.h"
#include "x86/unit.h"

#include <stdarg.h>

struct mine my;
volatile u32 signal_noted;

#define HOST_FLAGS (FLAGS_STATUS | FLAG_DF)

_Noreturn void monitor_end(enum monitor_end why)
{
	u32 running = MEND_RUNNING;

	carrier_count_vmas();
	cache_rest();
	atomic_compare_exchange_strong(&SH->end, &running, why);
	futex_wake(&SH->end);
	atomic_fetch_add(&SH->output, 1);
	futex_wake(&SH->output);
	for (;;)
		futex_wait(&SH->end, SH->end, NULL);
}

_Noreturn void monitor_fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	text_format(SH->message, sizeof SH->message, format, ap);
	va_end(ap);
	monitor_end(MEND_ERROR);
}

/* No vCPU is left that an interrupt could reach. */
static bool all_halted(void)
{
	for (u32 n = 0; n < SH->n_vcpus; n++) {
		const struct vcpu *v = VCPU_AT(n);

		if (!v->cpu.wait_startup && !(v->cpu.halted && !(v->cpu.rflags & RF_IF)))
			return false;
	}
	return true;
}

/* Brings devices and interrupt controllers up to date.  The vector of the interrupt that is due, -1 none; the first
 * vCPU keeps the time of the machine's devices, each of its own APIC. */
static int interrupt_due(struct cpu *c, u64 *deadline)
{
	int vector = -1;

	if (VCPU->number == 0) {
		device_lock();
		io_poll_input();
		io_poll_output();
		legacy_advance(&SH->legacy, now_ns());
		device_unlock();
	}
	apic_update(c);
	if (!(c->nmi_pending && !c->nmi_masked) && apic_interrupt_pending(c)) {
		if (c->rflags & RF_IF)
			vector = apic_interrupt_accept(c);
		else
			SPILL_K->pending = 1;
	}
	*deadline = apic_deadline(c);
	return vector;
}

/* Timers, input and interrupts. */
static void events(struct cpu *c)
{
	u64 deadline;
	int vector;

	SPILL_K->pending = 0;
	VCPU->kick_seen = VCPU->kick;
	VCPU->count.events++;
	carrier_place();
	carriers_retire();
	if (VCPU->number == 0)
		device_events();
	late_check();
	late_tell(c);
	vector = interrupt_due(c, &deadline);
	if (c->nmi_pending && !c->nmi_masked) {
		c->nmi_pending = 0;
		c->halted = 0;
		sys_deliver_nmi(c);
	} else if (vector >= 0) {
		c->halted = 0;
		VCPU->count.interrupts++;
		sys_deliver_interrupt(c, vector);
	}
	if (c->halted) {
		if (!(c->rflags & RF_IF) && all_halted())
			monitor_end(MEND_HALTED);
		carrier_idle(deadline);
		SPILL_K->pending = 1;
	} else {
		carrier_arm_timer(deadline);
	}
}

#define SFMASK_ALL (FLAGS_STATUS | FLAG_DF | RF_IF | RF_TF | RF_AC | RF_NT)

/* Whether system calls may run inline: where everything the gates take for granted holds. */
static void choose_sysret(struct cpu *c)
{
	CONSTANTS->sysret_gate = (u64)(VCPU->gates_open && !(c->dr[7] & 0xff) ? sysret_gate : exit_kernel);
}

static void choose_gates(struct cpu *c)
{
	struct constants *k = CONSTANTS;
	bool plain = (c->rflags & ~(u64)HOST_FLAGS) == (RF_IF | RF_FIXED) && !(c->dr[7] & 0xff);

	choose_sysret(c);
	k->syscall_gate = (u64)(VCPU->gates_open && plain && !VCPU->apart && k->lstar_entry ? syscall_gate : exit_user);
}

/* The block at LSTAR, once it is known to begin with SWAPGS. */
static void prepare_gates(struct cpu *c)
{
	u64 mask = SFMASK_ALL;
	struct block *b;

	VCPU->gates_open = false;
	CONSTANTS->lstar_entry = 0;
	if (unit_guarded(c)) /* they lead to blocks of the ordinary mode */
		return;
	if (VCPU->apart) {
		VCPU->gates_stale = true;
		return;
	}
	if ((c->sfmask & mask) != mask || !(c->efer & EFER_SCE) || !(c->efer & EFER_LMA) || !is_kernel_half(c->lstar))
		return;
	CONSTANTS->kernel_cs = c->star >> 32 & 0xfffc;
	CONSTANTS->kernel_ss = CONSTANTS->kernel_cs + 8;
	VCPU->gates_open = true;
	b = lookup_at(c, c->lstar, 0);
	if (b && block_begins_with_swapgs(b))
		CONSTANTS->lstar_entry = block_host(b);
	else
		VCPU->gates_open = false;
}

/* Invariants C1 and C2 of translate/compat.c. */
static void compat_registers(struct cpu *c)
{
	for (int i = 0; i < 8; i++)
		VCPU->gpr[i] = c->gpr[i] = (u32)c->gpr[i];
	VCPU->gpr[COMPAT_FS] = c->seg[SEG_FS].base;
	VCPU->gpr[COMPAT_GS] = c->seg[SEG_GS].base;
	VCPU->gpr[COMPAT_KEY_REG] = COMPAT_KEY;
}

/* xorshift, of the tests' seed */
static u64 test_random(void)
{
	u64 *x = &SH->knobs.seed;

	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x >> 8;
}

/* Before a block is looked up: tests invalidate others at random. */
static void test_kill(void)
{
	if (!SH->knobs.kill || test_random() % SH->knobs.kill)
		return;
	cache_lock();
	if (CACHE->n_blocks)
		block_kill(CACHE, &CACHE->blocks[test_random() % CACHE->n_blocks]);
	cache_unlock();
}

/* Tests step the host from here to an event at a random instruction. */
static void test_storm(const struct cpu *c)
{
	u32 pc = (u32)c->rip;

	my.storm = 0;
	if (!SH->knobs.storm || pc < SH->knobs.from || pc >= SH->knobs.to)
		return;
	my.storm = 1 + (u32)(test_random() % SH->knobs.storm);
	VCPU->host_flags |= RF_TF;
}

/* Last of all: other vCPUs see that this one runs guest code.  Where there is something to notice first, the run
 * loop starts afresh: struct cpu is still the whole truth. */
static void go(void)
{
	if (smp() && !smp_may_enter())
		((void (*)(void))(u64)run_loop_fresh)();
}

static _Noreturn void enter(struct cpu *c, struct block *b)
{
	bool user = c->cpl == 3;
	volatile struct spill *s = user ? SPILL_U : SPILL_K;
	u64 fs = user ? c->seg[SEG_FS].base : fold(c->seg[SEG_GS].base);

	for (int i = 0; i < 16; i++)
		VCPU->gpr[i] = c->gpr[i];
	if (b->mode & TM_COMPAT)
		compat_registers(c);
	VCPU->host_flags = (c->rflags & HOST_FLAGS) | RF_FIXED | RF_IF;
	if (SH->knobs.storm)
		test_storm(c);
	s->save[0] = c->gpr[RAX];
	s->save[1] = c->gpr[RCX];
	s->save[2] = c->gpr[RDX];
	s->target = block_host(b);
	if (fs != host_rdfsbase())
		host_wrfsbase(fs);
	SPILL_K->live_fs = c->seg[SEG_FS].base;
	SPILL_K->live_gs = c->seg[SEG_GS].base;
	SPILL_K->live_kgs = c->kernel_gs_base;
	SPILL_K->crossed = 0;
	SPILL_K->cr2 = c->cr2;
	for (int i = 0; i < 6; i++)
		SPILL_K->sel[i] = c->seg[i].sel;
	if (CONSTANTS->xcr0 != c->xcr0)
		CONSTANTS->xcr0 = c->xcr0;
	VCPU->trace[VCPU->trace_at % 256][0] = c->rip;
	VCPU->trace[VCPU->trace_at++ % 256][1] = c->gpr[RSP];
	if (user) {
		if (!(c->dr[7] & 0xff))
			c->rflags &= ~RF_RF; /* done with: there is no breakpoint that it could hold off */
		s->gs_base = c->seg[SEG_GS].base;
		s->reg[R10] = c->gpr[R10];
		s->reg[R11] = c->gpr[R11];
		VCPU->pkru = SH->pkru_user;
		choose_gates(c);
		go();
		enter_user();
	}
	VCPU->gpr[RSP] += FOLD_OFF;
	s->vif = c->rflags & RF_IF ? 0 : -0x200ull;
	s->vac = c->rflags & RF_AC;
	CONSTANTS->iret_gate = (u64)(!(c->dr[7] & 0xff) && !c->nmi_masked && !unit_guarded(c) && !VCPU->apart ? iret_gate : exit_kernel);
	s->foreign = my.want_switch;
	CONSTANTS->pkru_access = my.want_switch ? SH->pkru_kernel : SH->pkru_access;
	VCPU->pkru = (c->rflags & RF_AC) || !(c->cr4 & CR4_SMAP) ? (u32)CONSTANTS->pkru_access : SH->pkru_kernel;
	if (my.want_switch)
		CONSTANTS->sysret_gate = (u64)exit_kernel;
	else
		choose_sysret(c);
	go();
	enter_kernel();
}

_Noreturn void run_loop(void)
{
	struct cpu *c = CPU;

	for (;;) {
		struct block *b;

		if (SH->stop)
			carrier_park();
		if (smp())
			smp_turn();
		if (my.want_switch && !is_interpreted(c) && (c->cpl == 3 || my.must_switch)) {
			my.want_switch = my.must_switch = false;
			my.unguarded = 0;
			carrier_switch(c->cr3);
		}
		if (my.execute) {
			my.execute = false;
			execute(c);
		}
		if (my.open) {
			my.open = false;
			my.watch_hits = 0;
		}
		if (c->exc.pending) {
			VCPU->count.exceptions++;
			if (c->exc.vector == VEC_PF) {
				VCPU->count.page_faults++;
				my.fault_pending = c->cpl == 3;
				my.guest_fault_rip = c->rip;
				my.guest_fault_address = c->exc.cr2;
				my.guest_fault_error = c->exc.error;
				mmu_page_fault(c, c->exc.cr2);
			}
			sys_deliver_exception(c);
			if (c->shutdown)
				monitor_end(MEND_TRIPLE_FAULT);
		}
		/* What comes after this look turns the entry back (entry.S). */
		signal_noted = 0;
		if (SPILL_K->pending || VCPU->kick != VCPU->kick_seen || c->halted) {
			events(c);
			if (c->halted || c->exc.pending)
				continue;
		}
		if (is_interpreted(c)) {
			interpret(c);
			continue;
		}
		if (VCPU->gates_stale && c->cpl == 0) {
			VCPU->gates_stale = false;
			prepare_gates(c);
		}
		if (debug_on(c) && debug_breakpoint(c))
			continue;
		if (SH->knobs.kill)
			test_kill();
		b = lookup_block(c);
		if (!b)
			continue;
		if (debug_on(c) && !my.alone)
			debug_close(c);
		my.open = my.alone;
		my.alone = false;
		my.unguarded = 0;
		enter(c, b);
	}
}

/* Segments and privilege as inline SYSCALL and SYSRET leave them (SDM 2B, SYSCALL, SYSRET). */
static void state_crossed(struct cpu *c, bool user)
{
	u16 cs = (u16)(user ? (c->star >> 48) + 16 : c->star >> 32);
	u16 ss = (u16)(user ? (c->star >> 48) + 8 : (c->star >> 32) + 8);

	c->cpl = user ? 3 : 0;
	c->seg[SEG_CS].sel = user ? cs | 3 : cs & 0xfffc;
	c->seg[SEG_SS].sel = user ? ss | 3 : ss & 0xfffc;
	c->seg[SEG_CS].base = c->seg[SEG_SS].base = 0;
	c->seg[SEG_CS].limit = c->seg[SEG_SS].limit = 0xffffffff;
	c->seg[SEG_CS].attr = user ? 0xa0fb : 0xa09b;
	c->seg[SEG_SS].attr = user ? 0xc0f3 : 0xc093;
}

/* What inline code changed of the state that C keeps in struct cpu. */
void state_live(struct cpu *c, bool user)
{
	c->seg[SEG_FS].base = SPILL_K->live_fs;
	c->seg[SEG_GS].base = SPILL_K->live_gs;
	c->kernel_gs_base = SPILL_K->live_kgs;
	if (!SPILL_K->crossed)
		return;
	SPILL_K->crossed = 0;
	state_crossed(c, user);
	if (user)
		c->rflags = (c->rflags & HOST_FLAGS) | RF_IF | RF_FIXED;
	else
		c->rflags = (c->rflags & (HOST_FLAGS | RF_IF | RF_AC)) | RF_FIXED;
}

static void state_in(struct cpu *c)
{
	bool compat;

	state_live(c, VCPU->world);
	compat = VCPU->world && (current_mode(c) & TM_COMPAT);
	for (int i = 0; i < (compat ? 8 : 16); i++)
		c->gpr[i] = VCPU->gpr[i];
	if (VCPU->world && !compat) {
		c->gpr[R10] = SPILL_U->reg[R10];
		c->gpr[R11] = SPILL_U->reg[R11];
	}
	c->rflags = (c->rflags & ~(u64)HOST_FLAGS) | (VCPU->host_flags & HOST_FLAGS);
	if (VCPU->world)
		return;
	c->gpr[RSP] -= FOLD_OFF;
	c->rflags &= ~(RF_IF | RF_AC);
	c->rflags |= (SPILL_K->vif ? 0 : RF_IF) | SPILL_K->vac;
}

static bool indirect_entry(struct block *b)
{
	if (b->indirect)
		return true;
	if (!cache_lock_if(CACHE->generation))
		return false;
	u64 entry = block_indirect_entry(CACHE, b);

	cache_unlock();
	return entry;
}

static void exit_lookup(struct cpu *c)
{
	u64 target = VCPU->gpr[VCPU->world ? R11 : RCX];
	struct block *b;

	VCPU->count.lookups++;
	if (current_mode(c) & TM_COMPAT) {
		c->gpr[RCX] = (u32)VCPU->gpr[R10];
		c->rip = (u32)target;
	} else if (VCPU->world) {
		c->gpr[RCX] = VCPU->gpr[R10];
		c->rip = target;
	} else {
		c->gpr[RCX] = SPILL_K->reg[RCX];
		c->gpr[RDX] = SPILL_K->reg[RDX];
		c->rip = target;
	}
	if ((c->rflags & RF_TF) || debug_on(c)) {
		debug_stepped(c);
		return;
	}
	my.indirect = true;
	b = lookup_block(c);
	my.indirect = false;
	if (b && indirect_entry(b))
		lookup_enter(target, b);
}

static void exit_predict(struct cpu *c, u32 id, u32 generation)
{
	struct block *b;

	c->rip = c->gpr[RDX];
	c->gpr[RCX] = SPILL_K->reg[RCX];
	c->gpr[RDX] = SPILL_K->reg[RDX];
	if (debug_on(c))
		return;
	my.indirect = true;
	b = lookup_block(c);
	my.indirect = false;
	if (!b || generation != CACHE->generation || !cache_lock_if(generation))
		return;
	/* The branch that a hit takes is right before anybody can hit. */
	if (!(b->mode & TM_APART) && predict_missed(CACHE, id, c->rip, smp())) {
		block_link(CACHE, id + 1, b);
		predict_set(CACHE, id, c->rip);
	}
	cache_unlock();
}

/* The vCPU that this one waits for may have no processor of the host's. */
static void give_way(void)
{
	SPILL_U->pauses = SPILL_K->pauses = PAUSES;
	sys0(__NR_sched_yield);
}

/* A string instruction with RDI, whatever its prefixes. */
static bool is_string(const u8 *p, u64 left)
{
	while (left > 1 && (*p == 0xf3 || *p == 0xf2 || *p == 0x66 || (*p & 0xf0) == 0x40)) {
		p++;
		left--;
	}
	return (*p >= 0xa4 && *p <= 0xa7) || *p == 0xaa || *p == 0xab || *p == 0xae || *p == 0xaf;
}

/* Whether a string instruction that left because it reaches a foreign user half (leave_if_foreign()) needs that half's
 * carrier: what memory_fault() asks where such an instruction faults. */
static bool foreign_string(struct cpu *c, const struct exit_record *x)
{
	const struct block *b = &CACHE->blocks[x->block];
	u64 pa = b->pa + (x->target - b->pc);
	const u8 *bytes = ram_pointer(pa);
	struct walk w;
	u32 error;

	if (!my.want_switch || (b->mode & TM_USER) || is_kernel_half(c->gpr[RDI]) || !bytes ||
	    !is_string(bytes, PAGE_SIZE - (pa & ~PAGE_MASK)))
		return false;
	return !mmu_walk(c, c->gpr[RDI], 0, false, &w, &error) && !foreign_access(c, w.user);
}

/* Called by entry.S on the monitor's stack, with what was left saved in the shared state. */
_Noreturn void exit_dispatch(u32 id)
{
	struct cpu *c = CPU;

	if (smp())
		atomic_store_explicit(&VCPU->where, AT_WORK, memory_order_relaxed);
	state_in(c);
	if (id == EXIT_LOOKUP) {
		exit_lookup(c);
		run_loop();
	}
	struct exit_record x = CACHE->exits[id < MAX_EXITS ? id : 0];
	u32 generation = CACHE->generation;
	struct block *b;

	VCPU->count.exits[x.kind]++;
	my.left = x.block;
	my.left_generation = generation;
	my.left_killed = false;
	c->rip = x.target;
	if (debug_on(c) && x.kind != X_INSN && x.kind != X_TABLE && x.kind != X_STEPPED && x.kind != X_PREDICT && x.kind != X_SOFT)
		run_loop(); /* nothing may lead past its look at each address */
	if (x.kind == X_PREDICT) {
		exit_predict(c, id, generation);
		run_loop();
	}
	switch (x.kind) {
	case X_LINK:
		b = lookup_block(c);
		if (b && cache_lock_if(generation)) {
			if (!((b->mode ^ CACHE->blocks[x.block].mode) & TM_APART))
				block_link(CACHE, id, b);
			cache_unlock();
		}
		break;
	case X_SLOT:
		b = lookup_block(c);
		if (b && generation == CACHE->generation)
			slot_resolved(id, b);
		break;
	case X_DEAD:
		b = lookup_block(c);
		if (b && cache_lock_if(generation)) {
			block_forward(CACHE, &CACHE->blocks[x.block], b);
			cache_unlock();
		}
		break;
	case X_INSN:
		if (!foreign_string(c, &x))
			execute(c);
		break;
	case X_TABLE:
		space_gate(debug_on(c) ? 0 : SPILL_K->table);
		execute(c);
		break;
	case X_PROBE:
		probe_missed(c);
		break;
	case X_SOFT: {
		const struct block *from = &CACHE->blocks[x.block];
		u64 page = (x.target ^ from->pc) & PAGE_MASK ? from->pa2 : from->pa & PAGE_MASK;

		soft_exit(c, page | (x.target & ~PAGE_MASK), SPILL_U->table, x.patch);
		break;
	}
	case X_PAUSE:
		give_way();
		break;
	case X_STEPPED:
		debug_stepped(c);
		break;
	default:
		break;
	}
	run_loop();
}
