/* SPDX-License-Identifier: MIT
 * The run loop: from an exit of translated code back into translated code.
 *
 *   translated code --exit--> exit_dispatch --> run_loop --enter--> translated code
 *          \--fault, signal--> signal_handler --(state made whole)--> run_loop
 *
 * struct cpu is the whole truth while C code runs, but for vector state, which stays in the processor. */
#include "monitor/private.h"
#include "base/sys.h"
#include "shadow/shadow.h"
#include "translate/targets.h"
#include "x86/system.h"

#include <stdarg.h>

struct mine my;
volatile u32 signal_noted;

#define HOST_FLAGS (FLAGS_STATUS | FLAG_DF)

_Noreturn void monitor_end(enum monitor_end why)
{
	u32 running = MEND_RUNNING;

	carrier_count_vmas();

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

static bool is_flat(const struct cpu_seg *s)
{
	return !s->base && s->limit == 0xffffffff && (s->attr & ATTR_P);
}

u8 current_mode(const struct cpu *c)
{
	u8 m = 0;

	if (c->cpl == 3)
		m |= TM_USER;
	if (!(c->seg[SEG_CS].attr & ATTR_L))
		m |= TM_COMPAT;
	if ((m & TM_COMPAT) && !(is_flat(&c->seg[SEG_DS]) && is_flat(&c->seg[SEG_ES]) && is_flat(&c->seg[SEG_SS])))
		m |= TM_SEGMENTS;
	if ((m & TM_COMPAT) && (c->seg[SEG_FS].limit != 0xffffffff || !(c->seg[SEG_FS].attr & ATTR_P)))
		m |= TM_FS;
	if ((m & TM_COMPAT) && (c->seg[SEG_GS].limit != 0xffffffff || !(c->seg[SEG_GS].attr & ATTR_P)))
		m |= TM_GS;
	if ((c->rflags & RF_TF) || my.alone || (debug_on(c) && debug_code_page(c, c->rip)))
		m |= TM_STEP;
	return m;
}

void itlb_clear(void) { __builtin_memset(my.itlb, 0, sizeof my.itlb); }

static u32 lookup_index(u64 pc)
{
	u64 h = 0;

	__asm__("crc32q %1, %0" : "+r"(h) : "r"(pc));
	__asm__("pext %2, %1, %0" : "=r"(h) : "r"(h), "r"(CONSTANTS->hash_mask));
	return (u32)h;
}

static void lookup_enter(u64 pc, u64 entry)
{
	u32 i = lookup_index(pc);

	if (ULOOKUP[i] == (u64)lookup_miss_user && my.n_filled < FILLED_MAX)
		my.filled[my.n_filled++] = (u16)i;
	else if (my.n_filled == FILLED_MAX)
		my.n_filled = FILLED_MAX + 1;
	ULOOKUP[i] = entry;
}

static void slot_enter(u32 slot, struct block *b)
{
	if (my.n_slots_filled < FILLED_MAX)
		my.slots_filled[my.n_slots_filled++] = (u16)slot;
	else
		my.n_slots_filled = FILLED_MAX + 1;
	SLOTS[slot] = block_host(b);
}

/* Makes every slot lead to its stub and every table entry to a miss: all of them after a flush, else
 * those that were filled. */
void code_reset(void)
{
	u32 n = 1u << __builtin_popcountll(CONSTANTS->hash_mask);
	bool fresh = my.generation != CACHE->generation;

	if (!fresh)
		instances_release(my.number);
	SH->carriers[my.number].n_instances = 0;
	if (fresh || my.n_filled > FILLED_MAX)
		for (u32 i = 0; i < n; i++)
			ULOOKUP[i] = (u64)lookup_miss_user;
	else
		for (u32 i = 0; i < my.n_filled; i++)
			ULOOKUP[my.filled[i]] = (u64)lookup_miss_user;
	if (fresh || my.n_slots_filled > FILLED_MAX)
		my.slots = 0;
	else
		for (u32 i = 0; i < my.n_slots_filled; i++)
			SLOTS[my.slots_filled[i]] = (u64)CODE_BASE + CACHE->slot_stub[my.slots_filled[i]];
	for (; my.slots < CACHE->n_slots; my.slots++)
		SLOTS[my.slots] = (u64)CODE_BASE + CACHE->slot_stub[my.slots];
	my.n_filled = my.n_slots_filled = 0;
	my.generation = CACHE->generation;
	itlb_clear();
}

void translations_flush(void)
{
	u32 n = 1u << __builtin_popcountll(CONSTANTS->hash_mask);

	cache_flush(CACHE);
	frames_reset();
	SH->gates_stale = true;
	SH->gates_open = false;
	CONSTANTS->lstar_entry = 0;
	SH->n_kexec = 0;
	for (u32 i = 0; i < n; i++)
		KLOOKUP[i] = (u64)lookup_miss_kernel;
	code_reset();
}

/* Kernel translations are linked to each other whatever the address space, so the pages they came from
 * are watched for all carriers together. */
static void kernel_code_note(u64 va, u64 pa)
{
	u64 page = va & PAGE_MASK;

	for (u32 i = 0; i < SH->n_kexec; i++)
		if (SH->kexec[i].va == page) {
			SH->kexec[i].pa = pa & PAGE_MASK;
			return;
		}
	if (SH->n_kexec == MAX_KEXEC)
		translations_flush();
	SH->kexec[SH->n_kexec].va = page;
	SH->kexec[SH->n_kexec++].pa = pa & PAGE_MASK;
}

void kernel_code_check(struct cpu *c, u64 va)
{
	for (u32 i = 0; i < SH->n_kexec; i++) {
		u64 at = SH->kexec[i].va, pa, e;
		int level;

		if (va != ~0ull && at != (va & PAGE_MASK))
			continue;
		level = mmu_peek(c, at, &e);
		u64 size = level ? 1ull << (12 + 9 * (level - 1)) : 1;

		pa = (e & PTE_ADDR & ~(size - 1)) | (at & (size - 1));
		if (level && !(e & PTE_NX) && (pa & PAGE_MASK) == SH->kexec[i].pa)
			continue;
		block_kill_page(CACHE, ram_offset(SH->kexec[i].pa) >> PAGE_SHIFT, at);
		SH->kexec[i--] = SH->kexec[--SH->n_kexec];
	}
	itlb_clear();
}

/* Physical address of the code byte at va; raises #PF where it may not be fetched. */
static int fetch_address(struct cpu *c, u64 va, u64 *pa)
{
	u32 h = (u32)(va >> PAGE_SHIFT) & (ITLB_SIZE - 1), error;
	u64 key = (va & PAGE_MASK) | 2 | (c->cpl == 3);
	struct walk w;

	if (my.itlb[h].key == key) {
		*pa = my.itlb[h].pa | (va & ~PAGE_MASK);
		return 0;
	}
	if ((s64)(va << 16) >> 16 != (s64)va) {
		sys_raise_error(c, VEC_GP, 0);
		return -1;
	}
	if (mmu_walk(c, va, PF_I | (c->cpl == 3 ? PF_U : 0), false, &w, &error)) {
		c->exc = (struct cpu_exception){
			.pending = 1, .vector = VEC_PF, .has_error = 1, .error = error, .cr2 = va };
		return -1;
	}
	if (ram_offset(w.pa) == ~0ull) {
		sys_raise_error(c, VEC_GP, 0);
		return -1;
	}
	if (is_kernel_half(va))
		kernel_code_note(va, w.pa);
	else
		space_note_exec(c, va, &w);
	my.itlb[h].key = key;
	my.itlb[h].pa = w.pa & PAGE_MASK;
	*pa = w.pa;
	return 0;
}

/* Fills a slot whose target page this carrier has already run code of. */
static void slot_guess(const struct exit_record *x)
{
	u32 h = (u32)(x->target >> PAGE_SHIFT) & (ITLB_SIZE - 1);
	struct block *b;

	if (my.itlb[h].key != ((x->target & PAGE_MASK) | 3))
		return;
	b = block_find(CACHE, my.itlb[h].pa | (x->target & ~PAGE_MASK), x->target, TM_USER);
	if (b && b->instance && !(b->flags & BLOCK_SPANS) &&
	    (CACHE->instances[b->instance - 1].users >> my.number & 1))
		slot_enter(x->patch, b);
}

/* This carrier may from now on hold addresses of the block's instance. */
static void note_user(struct block *b)
{
	struct instance *i = &CACHE->instances[b->instance - 1];
	struct carrier_slot *s = &SH->carriers[my.number];

	if (!b->instance || (i->users >> my.number & 1))
		return;
	i->users |= BIT(my.number);
	if (s->n_instances < MAX_HELD)
		s->instances[s->n_instances++] = b->instance;
	else
		i->users = ~0ull; /* cannot be taken back: never moved */
	/* What others have found out about the page holds here too. */
	for (u32 n = i->blocks; n; n = CACHE->blocks[n - 1].instance_next) {
		struct block *at = &CACHE->blocks[n - 1];

		if (at->flags & (BLOCK_DEAD | BLOCK_SPANS))
			continue;
		if (at->indirect)
			lookup_enter(at->pc, (u64)CODE_BASE + at->indirect);
		for (u32 x = at->exits; x < at->exits + at->n_exits; x++)
			if (CACHE->exits[x].kind == X_SLOT)
				slot_guess(&CACHE->exits[x]);
	}
	for (u32 n = i->incoming; n; n = CACHE->exits[n - 1].incoming) {
		const struct exit_record *x = &CACHE->exits[n - 1];
		u32 from = CACHE->blocks[x->block].instance;

		if (((x->target ^ i->vp) & PAGE_MASK) || !from || !(CACHE->instances[from - 1].users >> my.number & 1))
			continue;
		b = block_find(CACHE, i->pa | (x->target & ~PAGE_MASK), x->target, TM_USER);
		if (b && !(b->flags & BLOCK_SPANS))
			slot_enter(x->patch, b);
	}
}

/* Forgets what carrier n holds; its slots and tables are about to be cleared, or will be before it runs. */
void instances_release(u32 n)
{
	struct carrier_slot *s = &SH->carriers[n];

	for (u32 i = 0; i < s->n_instances; i++) {
		struct instance *at = &CACHE->instances[s->instances[i] - 1];

		if (at->users != ~0ull)
			at->users &= ~BIT(n);
	}
	s->n_instances = 0;
}

static struct block *lookup(struct cpu *c, u64 pc, u8 mode)
{
	for (;;) {
		struct translate_request r = { .pc = pc, .mode = mode };
		u32 generation = CACHE->generation;
		struct block *b;

		r.fsgsbase = c->cr4 & CR4_FSGSBASE;
		r.rdtsc_exits = (c->cr4 & CR4_TSD) || c->tsc_offset;
		if (fetch_address(c, pc, &r.pa))
			return NULL;
		b = block_find(CACHE, r.pa, pc, mode);
		if (b && (b->flags & BLOCK_SPANS)) {
			if (fetch_address(c, (pc & PAGE_MASK) + PAGE_SIZE, &r.pa2))
				return NULL;
			if (r.pa2 != b->pa2) {
				block_kill(CACHE, b);
				continue;
			}
		}
		if (!b && mode == TM_USER && instance_adopt(CACHE, r.pa, pc, mode))
			continue;
		r.bytes = ram_pointer(r.pa);
		if (!b)
			b = translate_block(CACHE, &r);
		if (!b && r.need_next) {
			if (fetch_address(c, (pc & PAGE_MASK) + PAGE_SIZE, &r.pa2))
				return NULL;
			r.next = ram_pointer(r.pa2);
			b = translate_block(CACHE, &r);
		}
		if (!b) {
			translations_flush();
			continue;
		}
		/* Looking may itself have flushed the cache, or dropped the note that watches the page. */
		if (generation == CACHE->generation && !space_code_changed()) {
			if (mode == TM_USER)
				note_user(b);
			return b;
		}
		code_reset();
	}
}

struct block *lookup_block(struct cpu *c)
{
	u8 mode = current_mode(c);

	return lookup(c, mode & TM_COMPAT ? (u32)c->rip : c->rip, mode);
}

/* The guest returns to the access that faulted: what it will touch can be mapped now, if the guest's
 * entry already has the bits that the access would set. */
static void prefill(struct cpu *c)
{
	u32 access = PF_U | (my.guest_fault_error & PF_W), error;
	u64 va = my.guest_fault_address, e;
	struct walk w;

	my.fault_pending = false;
	if (debug_on(c))
		return;
	if (c->rip != my.guest_fault_rip || (my.guest_fault_error & PF_I) || !mmu_peek(c, va, &e))
		return;
	if (!(e & PTE_A) || ((access & PF_W) && !(e & PTE_D)) || mmu_walk(c, va, access, false, &w, &error))
		return;
	if (!((access & PF_W) && (frame_flags(ram_offset(w.pa) >> PAGE_SHIFT) & FRAME_CODE)))
		space_fill(c, va, &w, access & PF_W);
}

/* Instructions that enter the kernel clear TF as a part of what they do; others that clear it still trap. */
static bool clears_trap(const struct insn *in)
{
	return in->klass == IC_INT || in->klass == IC_INT1 || in->klass == IC_INT3 || in->klass == IC_INTO ||
	       in->klass == IC_SYSCALL || in->klass == IC_SYSENTER;
}

/* An instruction with a memory operand that C does not know, where memory cannot be mapped: the fault that
 * the access has on any processor, else an invalid opcode. */
static int execute_uncovered(struct cpu *c, const struct insn *in)
{
	u8 probe[64];
	size_t n = in->mem_size ? MIN((size_t)in->mem_size, sizeof probe) : 1;

	if (in->has_mem && vmem_read(c, sys_operand_address(c, in), probe, n, in->mem_write ? PF_W : 0))
		return SYS_FAULT;
	return (int)sys_raise(c, VEC_UD);
}

/* The one instruction of 32-bit code with a memory operand that nothing but sys_execute() knows. */
static bool is_bound(const struct insn *in, enum insn_mode mode)
{
	return mode == MODE_32 && in->map == MAP_1B && in->enc == ENC_LEGACY && in->op == 0x62;
}

/* Executes the instruction at rip in C. */
static void execute(struct cpu *c)
{
	enum insn_mode mode = c->seg[SEG_CS].attr & ATTR_L ? MODE_64 : MODE_32;
	u64 pa, left = PAGE_SIZE - (c->rip & ~PAGE_MASK);
	bool tf = c->rflags & RF_TF;
	u8 bytes[INSN_MAX];
	struct insn in;
	int r;

	if (fetch_address(c, c->rip, &pa))
		return;
	const u8 *p = ram_pointer(pa);

	__builtin_memcpy(bytes, p, MIN(left, (u64)INSN_MAX));
	r = insn_decode(&in, bytes, MIN(left, (u64)INSN_MAX), mode);
	if (r == -1) {
		if (fetch_address(c, (c->rip & PAGE_MASK) + PAGE_SIZE, &pa))
			return;
		__builtin_memcpy(bytes + left, ram_pointer(pa), INSN_MAX - left);
		r = insn_decode(&in, bytes, INSN_MAX, mode);
	}
	if (r == -2) {
		sys_raise_error(c, VEC_GP, 0);
		return;
	}
	SH->count.classes[in.klass < IC_COUNT ? in.klass : 0]++;
	my.watch_hits = 0;
	r = in.has_mem && in.klass == IC_PLAIN && !is_bound(&in, mode) ? -1 : (int)sys_execute(c, &in);
	if (r == -1)
		r = sys_execute_memory(c, &in);
	if (r == -1 && debug_on(c) && !my.want_switch) {
		debug_alone(c, &in);
		return;
	}
	/* A short string instruction on memory that is not mapped here. */
	for (int i = 0; r == SYS_AGAIN && i < 16 && !SPILL_K->pending && !tf && !debug_on(c) && in.klass != IC_INS && in.klass != IC_OUTS; i++)
		r = sys_execute_memory(c, &in);
	if (r == -1 && my.want_switch) {
		my.must_switch = true;
		return;
	}
	if (r == -1)
		r = mode == MODE_32 ? (int)sys_execute(c, &in) : execute_uncovered(c, &in);
	/* A load of SS holds the trap off to the end of the next instruction, STI does not. */
	if (c->sti_shadow && in.klass != IC_STI)
		tf = false;
	c->sti_shadow = 0;
	if (in.klass == IC_IRET && c->cpl == 3 && my.fault_pending && !my.want_switch)
		prefill(c);
	if (r == SYS_DONE || r == SYS_AGAIN)
		debug_trap(c, tf && (!clears_trap(&in) || (c->rflags & RF_TF)));
}

/* Timers, input and interrupts. */
static void events(struct cpu *c)
{
	u64 deadline;

	SPILL_K->pending = 0;
	SH->kick_seen = SH->kick;
	SH->count.events++;
	io_poll_input();
	legacy_advance(&SH->legacy, now_ns());
	if (c->nmi_pending && !c->nmi_masked) {
		c->nmi_pending = 0;
		c->halted = 0;
		sys_deliver_nmi(c);
	} else if (legacy_interrupt_pending(&SH->legacy)) {
		if (c->rflags & RF_IF) {
			c->halted = 0;
			SH->count.interrupts++;
			sys_deliver_interrupt(c, legacy_interrupt_acknowledge(&SH->legacy));
		} else {
			SPILL_K->pending = 1;
		}
	}
	deadline = legacy_next_deadline(&SH->legacy);
	if (c->halted) {
		if (!(c->rflags & RF_IF))
			monitor_end(MEND_HALTED);
		carrier_idle(deadline);
		SPILL_K->pending = 1;
	} else {
		carrier_arm_timer();
	}
}

#define SFMASK_ALL (FLAGS_STATUS | FLAG_DF | RF_IF | RF_TF | RF_AC | RF_NT)

/* Whether system calls may run inline: where everything the gates take for granted holds. */
static void choose_sysret(struct cpu *c)
{
	CONSTANTS->sysret_gate = (u64)(SH->gates_open && !(c->dr[7] & 0xff) ? sysret_gate : exit_kernel);
}

static void choose_gates(struct cpu *c)
{
	struct constants *k = CONSTANTS;
	bool plain = (c->rflags & ~(u64)HOST_FLAGS) == (RF_IF | RF_FIXED) && !(c->dr[7] & 0xff);

	choose_sysret(c);
	k->syscall_gate = (u64)(SH->gates_open && plain && k->lstar_entry ? syscall_gate : exit_user);
}

/* The block at LSTAR, once it is known to begin with SWAPGS. */
static void prepare_gates(struct cpu *c)
{
	u64 mask = SFMASK_ALL;
	struct block *b;

	SH->gates_open = false;
	CONSTANTS->lstar_entry = 0;
	if ((c->sfmask & mask) != mask || !(c->efer & EFER_SCE) || !(c->efer & EFER_LMA) || !is_kernel_half(c->lstar))
		return;
	SH->gates_open = true;
	b = lookup(c, c->lstar, 0);
	if (b && block_begins_with_swapgs(b))
		CONSTANTS->lstar_entry = block_host(b);
	else
		SH->gates_open = false;
}

/* Invariants C1 and C2 of translate/compat.c. */
static void compat_registers(struct cpu *c)
{
	for (int i = 0; i < 8; i++)
		SH->gpr[i] = c->gpr[i] = (u32)c->gpr[i];
	SH->gpr[COMPAT_FS] = c->seg[SEG_FS].base;
	SH->gpr[COMPAT_GS] = c->seg[SEG_GS].base;
	SH->gpr[COMPAT_KEY_REG] = COMPAT_KEY;
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
	u32 n = CACHE->n_blocks;

	if (SH->knobs.kill && n && test_random() % SH->knobs.kill == 0)
		block_kill(CACHE, &CACHE->blocks[test_random() % n]);
}

/* Tests step the host from here to an event at a random instruction. */
static void test_storm(const struct cpu *c)
{
	u32 pc = (u32)c->rip;

	my.storm = 0;
	if (!SH->knobs.storm || pc < SH->knobs.from || pc >= SH->knobs.to)
		return;
	my.storm = 1 + (u32)(test_random() % SH->knobs.storm);
	SH->host_flags |= RF_TF;
}

static _Noreturn void enter(struct cpu *c, struct block *b)
{
	bool user = c->cpl == 3;
	volatile struct spill *s = user ? SPILL_U : SPILL_K;
	u64 fs = user ? c->seg[SEG_FS].base : fold(c->seg[SEG_GS].base);

	for (int i = 0; i < 16; i++)
		SH->gpr[i] = c->gpr[i];
	if (b->mode & TM_COMPAT)
		compat_registers(c);
	SH->host_flags = (c->rflags & HOST_FLAGS) | RF_FIXED | RF_IF;
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
	for (int i = 0; i < 6; i++)
		SPILL_K->sel[i] = c->seg[i].sel;
	if (CONSTANTS->xcr0 != c->xcr0)
		CONSTANTS->xcr0 = c->xcr0;
	SH->trace[SH->trace_at % 256][0] = c->rip;
	SH->trace[SH->trace_at++ % 256][1] = c->gpr[RSP];
	if (user) {
		if (!(c->dr[7] & 0xff))
			c->rflags &= ~RF_RF; /* done with: there is no breakpoint that it could hold off */
		s->gs_base = c->seg[SEG_GS].base;
		SH->pkru = SH->pkru_user;
		choose_gates(c);
		enter_user();
	}
	SH->gpr[RSP] += FOLD_OFF;
	s->vif = c->rflags & RF_IF ? 0 : -0x200ull;
	s->vac = c->rflags & RF_AC;
	CONSTANTS->pkru_access = my.want_switch ? SH->pkru_kernel : SH->pkru_access;
	SH->pkru = (c->rflags & RF_AC) || !(c->cr4 & CR4_SMAP) ? (u32)CONSTANTS->pkru_access : SH->pkru_kernel;
	if (my.want_switch)
		CONSTANTS->sysret_gate = (u64)exit_kernel;
	else
		choose_sysret(c);
	enter_kernel();
}

_Noreturn void run_loop(void)
{
	struct cpu *c = CPU;

	for (;;) {
		struct block *b;

		if (SH->stop)
			monitor_end(MEND_STOPPED);
		if (my.want_switch && (c->cpl == 3 || my.must_switch)) {
			my.want_switch = my.must_switch = false;
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
			SH->count.exceptions++;
			if (c->exc.vector == VEC_PF) {
				SH->count.page_faults++;
				my.fault_pending = c->cpl == 3;
				my.guest_fault_rip = c->rip;
				my.guest_fault_address = c->exc.cr2;
				my.guest_fault_error = c->exc.error;
			}
			sys_deliver_exception(c);
			if (c->shutdown)
				monitor_end(MEND_TRIPLE_FAULT);
		}
		/* What comes after this look turns the entry back (entry.S). */
		signal_noted = 0;
		if (SPILL_K->pending || SH->kick != SH->kick_seen || c->halted) {
			events(c);
			if (c->halted || c->exc.pending)
				continue;
		}
		if (SH->gates_stale && c->cpl == 0) {
			SH->gates_stale = false;
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

	state_live(c, SH->world);
	compat = SH->world && (current_mode(c) & TM_COMPAT);
	for (int i = 0; i < (compat ? 8 : 16); i++)
		c->gpr[i] = SH->gpr[i];
	c->rflags = (c->rflags & ~(u64)HOST_FLAGS) | (SH->host_flags & HOST_FLAGS);
	if (SH->world)
		return;
	c->gpr[RSP] -= FOLD_OFF;
	c->rflags &= ~(RF_IF | RF_AC);
	c->rflags |= (SPILL_K->vif ? 0 : RF_IF) | SPILL_K->vac;
}

static void exit_lookup(struct cpu *c)
{
	volatile struct spill *s = SH->world ? SPILL_U : SPILL_K;
	u64 target = c->gpr[RCX];
	struct block *b;

	SH->count.lookups++;
	if (current_mode(c) & TM_COMPAT) {
		c->gpr[RCX] = (u32)SH->gpr[COMPAT_RCX];
		c->gpr[RDX] = (u32)SH->gpr[COMPAT_RDX];
		c->rip = (u32)target;
	} else {
		c->gpr[RCX] = s->reg[RCX];
		c->gpr[RDX] = s->reg[RDX];
		c->rip = target;
	}
	if ((c->rflags & RF_TF) || debug_on(c)) {
		debug_stepped(c);
		return;
	}
	b = lookup_block(c);
	if (b) {
		u64 entry = block_indirect_entry(CACHE, b);

		if (entry && SH->world)
			lookup_enter(target, entry);
		else if (entry)
			KLOOKUP[lookup_index(target)] = entry;
	}
}

/* Fills the slot, and notes for other carriers where it leads. */
static void slot_resolved(u32 id, struct block *b)
{
	struct exit_record *x = &CACHE->exits[id];

	slot_enter(x->patch, b);
	if (x->listed || !b->instance)
		return;
	x->listed = true;
	x->incoming = CACHE->instances[b->instance - 1].incoming;
	CACHE->instances[b->instance - 1].incoming = id + 1;
}

static void exit_predict(struct cpu *c, u32 id)
{
	volatile struct spill *s = SH->world ? SPILL_U : SPILL_K;
	u32 generation = CACHE->generation;
	struct block *b;

	c->rip = c->gpr[RDX];
	c->gpr[RCX] = s->reg[RCX];
	c->gpr[RDX] = s->reg[RDX];
	if (debug_on(c))
		return;
	b = lookup_block(c);
	if (!b || generation != CACHE->generation)
		return;
	u32 i = CACHE->blocks[CACHE->exits[id].block].instance;
	bool others = SH->world && (!i || (CACHE->instances[i - 1].users & ~BIT(my.number)));

	if (!predict_set(CACHE, id, c->rip, others))
		return;
	if (SH->world)
		slot_resolved(id + 1, b);
	else
		block_link(CACHE, id + 1, b);
}

/* Called by entry.S on the monitor's stack, with what was left saved in the shared state. */
_Noreturn void exit_dispatch(u32 id)
{
	struct cpu *c = CPU;

	state_in(c);
	if (id == EXIT_LOOKUP) {
		exit_lookup(c);
		run_loop();
	}
	struct exit_record x = CACHE->exits[id < MAX_EXITS ? id : 0];
	u32 generation = CACHE->generation;
	struct block *b;

	SH->count.exits[x.kind]++;
	c->rip = x.target;
	if (debug_on(c) && x.kind != X_INSN && x.kind != X_STEPPED && x.kind != X_PREDICT)
		run_loop(); /* nothing may lead past its look at each address */
	if (x.kind == X_PREDICT) {
		exit_predict(c, id);
		run_loop();
	}
	switch (x.kind) {
	case X_LINK:
		b = lookup_block(c);
		if (b && generation == CACHE->generation)
			block_link(CACHE, id, b);
		break;
	case X_SLOT:
		b = lookup_block(c);
		if (b && generation == CACHE->generation)
			slot_resolved(id, b);
		break;
	case X_DEAD:
		b = lookup_block(c);
		if (b && generation == CACHE->generation)
			block_forward(CACHE, &CACHE->blocks[x.block], b);
		break;
	case X_INSN:
		execute(c);
		break;
	case X_STEPPED:
		debug_stepped(c);
		break;
	default:
		break;
	}
	run_loop();
}

/* ---- hooks of x86/system.h that concern the address space ---- */

static void mark_stale(u64 pcid)
{
	for (u32 i = 0; i < MAX_CARRIERS; i++)
		if (SH->carriers[i].cr3 != ~0ull && (pcid == ~0ull || SH->carriers[i].pcid == pcid))
			SH->carriers[i].stale = true;
}

static void after_user_flush(void)
{
	if (space_code_changed())
		code_reset();
}

static void flush_everything(struct cpu *c)
{
	SH->kernel_epoch++;
	my.kernel_epoch = SH->kernel_epoch;
	mark_stale(~0ull);
	space_flush_all(c);
	kernel_code_check(c, ~0ull);
	after_user_flush();
}

static u32 eager_index(u64 root) { return (u32)(root >> PAGE_SHIFT) % ARRAY_SIZE(SH->eager); }

/* A switch of carriers is put off until user code runs or the kernel has touched user memory more than
 * a little: the kernel's half is the same everywhere, and access to the user half is closed until then. */
void mmu_cr3_written(struct cpu *c, u64 old, u64 value_written)
{
	bool pcid = c->cr4 & CR4_PCIDE, flush = !(pcid && value_written >> 63);
	u64 root = c->cr3 & PTE_ADDR;

	(void)old;
	SH->count.cr3_loads++;
	if (flush) {
		mark_stale(pcid ? c->cr3 & 0xfff : 0);
		for (u32 i = 0; i < MAX_CARRIERS; i++)
			if (SH->carriers[i].cr3 == root)
				SH->carriers[i].stale = true;
	}
	my.foreign_accesses = 0;
	my.must_switch = false;
	my.want_switch = SH->carriers[my.number].cr3 != root;
	if (!my.want_switch && SH->carriers[my.number].stale)
		carrier_catch_up();
	if (my.want_switch && (space_low_supervisor() || SH->eager[eager_index(root)] == root))
		my.must_switch = true;
}

/* The kernel used user memory of the current root before its carrier ran: next time switch at once. */
void root_is_eager(struct cpu *c)
{
	u64 root = c->cr3 & PTE_ADDR;

	SH->eager[eager_index(root)] = root;
	my.must_switch = true;
}

/* User addresses that the guest invalidates belong to another carrier than this one. */
static bool foreign(struct cpu *c)
{
	if (!my.want_switch)
		return false;
	for (u32 i = 0; i < MAX_CARRIERS; i++)
		if (SH->carriers[i].cr3 == (c->cr3 & PTE_ADDR))
			SH->carriers[i].stale = true;
	return true;
}

void mmu_control_changed(struct cpu *c, u64 old_cr0, u64 old_cr4, u64 old_efer)
{
	u64 paging = CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PSE;

	if (((c->cr0 ^ old_cr0) & (CR0_PG | CR0_WP)) || ((c->cr4 ^ old_cr4) & paging) ||
	    ((c->efer ^ old_efer) & (EFER_NX | EFER_LMA)))
		flush_everything(c);
	if ((c->cr4 ^ old_cr4) & (CR4_TSD | CR4_FSGSBASE))
		translations_flush();
}

void mmu_invlpg(struct cpu *c, gva_t address)
{
	if (is_kernel_half(address.v)) {
		SH->kernel_epoch++;
		my.kernel_epoch = SH->kernel_epoch;
		kernel_code_check(c, address.v);
	} else if (foreign(c)) {
		return;
	} else {
		itlb_clear();
	}
	space_invalidate(c, address.v);
	after_user_flush();
}

void mmu_invpcid(struct cpu *c, u64 type, u64 pcid, gva_t address)
{
	u64 current = c->cr4 & CR4_PCIDE ? c->cr3 & 0xfff : 0;

	if (type == 2) {
		flush_everything(c);
		return;
	}
	mark_stale(type == 3 ? ~0ull : pcid);
	if ((type == 3 || pcid == current) && foreign(c))
		return;
	if (type == 3 || (type == 1 && pcid == current)) {
		space_flush_user(c);
		SH->carriers[my.number].stale = false;
	} else if (type == 0 && pcid == current) {
		space_invalidate(c, address.v);
		SH->carriers[my.number].stale = false;
		itlb_clear();
	}
	after_user_flush();
}

#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define MSR_TSC_AUX 0xc0000103

void mmu_msr_changed(struct cpu *c, u32 what)
{
	switch (what) {
	case MSR_EFER: case MSR_STAR: case MSR_LSTAR: case MSR_SFMASK:
		SH->gates_stale = true;
		break;
	case SYS_CHANGED_DR:
		debug_changed(c);
		break;
	case MSR_TSC_AUX:
		CONSTANTS->tsc_aux = c->tsc_aux;
		break;
	default:
		break;
	}
}
