/* SPDX-License-Identifier: MIT
 * From a guest address to a block, and the tables through which translated code finds it without C:
 * slots and the lookup table, which are a carrier's own, and the kernel's table, which all share.
 *
 * Owner: the running carrier. */
#include "monitor/private.h"
#include "base/sys.h"
#include "shadow/shadow.h"
#include "translate/store.h"
#include "translate/targets.h"
#include "x86/system.h"
#include "x86/unit.h"

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
	if (VCPU->apart && !(m & (TM_USER | TM_COMPAT)))
		m |= TM_APART;
	if (unit_guarded(c) && my.unguarded != c->rip + 1)
		m |= TM_GUARDED;
	return m;
}

void ktlb_clear(void)
{
	__builtin_memset(my.ktlb, 0, sizeof my.ktlb);
	my.ktlb_local = false;
}

void itlb_clear(void)
{
	__builtin_memset(my.itlb, 0, sizeof my.itlb);
	ktlb_clear();
}

static struct page_entry *itlb_entry(u64 va)
{
	return &my.itlb[is_kernel_half(va)][(va >> PAGE_SHIFT) & (ITLB_SIZE - 1)];
}

#define GUARDED_FILLED (BIT(ULOOKUP_BITS) + BIT(USECOND_BITS))

static u32 lookup_hash(u64 target, u64 mask)
{
	u64 h = 0;

	__asm__("crc32q %1, %0" : "+r"(h) : "r"(target));
	return (u32)(h & mask);
}

static void note_filled(u32 i)
{
	if (my.n_filled < FILLED_MAX) /* a number of lookup_clear() */
		my.filled[my.n_filled++] = i;
	else
		my.n_filled = FILLED_MAX + 1;
}

/* All vCPUs share the kernel's table, and each kernel address means the same to them. */
static void lookup_enter_kernel(u64 target, const struct block *b)
{
	u64 *at = b->mode & TM_GUARDED ? &KGUARDED[lookup_hash(target, CONSTANTS->guarded_mask)] :
		  &KLOOKUP[lookup_hash(target, CONSTANTS->hash_mask)];

	if (!cache_lock_if(my.generation))
		return;
	__atomic_store_n(at, block_entry_chain(CACHE, (u64)CODE_BASE + b->indirect, *at), __ATOMIC_RELEASE);
	cache_unlock();
}

void lookup_enter(u64 target, const struct block *b)
{
	u32 i = (u32)(target & CONSTANTS->target_mask), second = lookup_hash(target, CONSTANTS->second_mask);
	u64 entry = (u64)CODE_BASE + b->indirect;

	if (!(b->mode & TM_USER)) {
		if (!(b->mode & TM_APART))
			lookup_enter_kernel(target, b);
	} else if (b->mode & TM_GUARDED) {
		i = (u32)(target & CONSTANTS->guarded_mask);
		note_filled(GUARDED_FILLED + i);
		UGUARDED[i] = entry;
	} else if (ULOOKUP[i] == (u64)lookup_miss_user) {
		note_filled(i);
		ULOOKUP[i] = entry;
	} else if (!USECOND[second].minus && ULOOKUP[i] != entry) {
		note_filled(BIT(ULOOKUP_BITS) + second);
		USECOND[second] = (struct second_target){ -target, block_host(b) };
	} else {
		ULOOKUP[i] = entry;
	}
}

/* Entry n of ULOOKUP, of the second table behind it, or of UGUARDED.  What is clear is left alone: its page is the zygote's. */
static void lookup_clear(u32 n)
{
	if (n >= GUARDED_FILLED) {
		if (UGUARDED[n - GUARDED_FILLED] != (u64)lookup_miss_user)
			UGUARDED[n - GUARDED_FILLED] = (u64)lookup_miss_user;
		return;
	}
	if (n < BIT(ULOOKUP_BITS)) {
		if (ULOOKUP[n] != (u64)lookup_miss_user)
			ULOOKUP[n] = (u64)lookup_miss_user;
	} else if (USECOND[n - BIT(ULOOKUP_BITS)].host != (u64)lookup_miss_user) {
		USECOND[n - BIT(ULOOKUP_BITS)] = (struct second_target){ 0, (u64)lookup_miss_user };
	}
}

static void slot_enter(u32 slot, struct block *b)
{
	if (my.n_slots_filled < FILLED_MAX)
		my.slots_filled[my.n_slots_filled++] = slot;
	else
		my.n_slots_filled = FILLED_MAX + 1;
	SLOTS[slot] = block_host(b);
}

/* Slots that others have made since. */
void slots_catch_up(void)
{
	for (; my.slots < slots_ready(); my.slots++)
		SLOTS[my.slots] = (u64)CODE_BASE + CACHE->slot_stub[my.slots];
}

/* Another vCPU may make a slot, and code that uses it, at any time: a slot that this carrier has not met faults at
 * the jump through it (slot_missing()). */
void slots_init(void)
{
	for (u32 i = 0; i < SLOT_MAX; i++)
		if (SLOTS[i] != SLOT_UNKNOWN)
			SLOTS[i] = SLOT_UNKNOWN;
}

bool slot_missing(u64 at)
{
	const u8 *p = (const u8 *)at;
	s32 disp;
	u32 slot;

	if (p[0] != 0x65 || p[1] != 0xff || p[2] != 0x24 || p[3] != 0x25)
		return false;
	__builtin_memcpy(&disp, p + 4, 4);
	slot = (u32)(disp - SLOT_DISP) / 8;
	if (slot >= SLOT_MAX || SLOTS[slot] != SLOT_UNKNOWN)
		return false;
	SLOTS[slot] = (u64)CODE_BASE + CACHE->slot_stub[slot];
	for (u32 i = my.slots; i < slots_ready(); i++)
		if (SLOTS[i] == SLOT_UNKNOWN)
			SLOTS[i] = (u64)CODE_BASE + CACHE->slot_stub[i];
	return true;
}

/* Makes every slot lead to its stub and every table entry to a miss: all of them after a flush, else
 * those that were filled. */
void code_reset(void)
{
	bool fresh;

	if (my.generation == CACHE->generation)
		instances_release(my.number);
	fresh = my.generation != CACHE->generation;
	VCPU->carriers[my.number].n_instances = 0;
	if (fresh || my.n_filled > FILLED_MAX)
		for (u32 i = 0; i < GUARDED_FILLED + BIT(GUARDED_BITS); i++)
			lookup_clear(i);
	else
		for (u32 i = 0; i < my.n_filled; i++)
			lookup_clear(my.filled[i]);
	if (fresh && smp())
		slots_init();
	if (fresh || my.n_slots_filled > FILLED_MAX)
		my.slots = 0;
	else
		for (u32 i = 0; i < my.n_slots_filled; i++)
			SLOTS[my.slots_filled[i]] = (u64)CODE_BASE + CACHE->slot_stub[my.slots_filled[i]];
	slots_catch_up();
	my.n_filled = my.n_slots_filled = 0;
	my.generation = CACHE->generation;
	if (fresh) /* the notes on pages of the kernel are gone too */
		itlb_clear();
	else
		__builtin_memset(my.itlb[0], 0, sizeof my.itlb[0]);
}

void translations_flush(void)
{
	cache_lock();
	world_empty();
	cache_flush(CACHE);
	frames_reset();
	for (u32 v = 0; v < SH->n_vcpus; v++) {
		VCPU_AT(v)->gates_stale = true;
		VCPU_AT(v)->gates_open = false;
		vcpu_constants(v)->lstar_entry = 0;
	}
	SH->n_kexec = SH->low_kexec = SH->local_kexec = SH->giant_kexec = 0;
	__builtin_memset(SH->kexec_regions, 0, sizeof SH->kexec_regions);
	__builtin_memset(SH->kexec_hash, 0, sizeof SH->kexec_hash);
	for (u32 i = 0; i < BIT(KLOOKUP_BITS); i++)
		KLOOKUP[i] = (u64)lookup_miss_kernel;
	for (u32 i = 0; i < BIT(GUARDED_BITS); i++)
		KGUARDED[i] = (u64)lookup_miss_kernel;
	SH->slots_ready = 0;
	world_fill();
	code_reset();
	cache_unlock();
}

/* Kernel translations are linked to each other whatever the address space, so the pages they came from
 * are watched for all carriers together; those that are not global, at each CR3 load too. */
static u32 *kexec_chain(u64 va) { return &SH->kexec_hash[(va >> PAGE_SHIFT) % KEXEC_HASH]; }

static void kexec_insert(u32 n)
{
	u32 *head = kexec_chain(SH->kexec[n].va);

	SH->kexec[n].next = *head;
	*head = n + 1;
}

/* Entry of the page, MAX_KEXEC where there is none. */
static u32 kexec_find(u64 page)
{
	for (u32 n = *kexec_chain(page); n; n = SH->kexec[n - 1].next)
		if (SH->kexec[n - 1].va == page)
			return n - 1;
	return MAX_KEXEC;
}

static u16 *kexec_region(u64 va) { return &SH->kexec_regions[(va >> 21) % KEXEC_REGIONS]; }

static void kexec_mark(const struct cpu *c, u32 n, bool local)
{
	if (local && !SH->local_kexec)
		home_set(c);
	SH->local_kexec += local - SH->kexec[n].local;
	SH->kexec[n].local = local;
}

/* The page goes with a load of CR3. */
static bool is_local(const struct cpu *c, u64 va, u64 entry)
{
	return !is_kernel_half(va) || !(entry & PTE_G) || !(c->cr4 & CR4_PGE);
}

static void kernel_code_note(struct cpu *c, u64 va, const struct walk *w)
{
	u64 page = va & PAGE_MASK, pa = w->pa & PAGE_MASK;
	u32 n;

	cache_lock();
	n = kexec_find(page);
	if (n == MAX_KEXEC) {
		if (SH->n_kexec == MAX_KEXEC)
			translations_flush();
		n = SH->n_kexec++;
		SH->kexec[n].va = page;
		SH->kexec[n].local = SH->kexec[n].giant = SH->kexec[n].user = SH->kexec[n].kernel = SH->kexec[n].apart = false;
		SH->low_kexec += !is_kernel_half(page);
		++*kexec_region(page);
		kexec_insert(n);
	} else if (SH->kexec[n].pa != pa) {
		block_kill_page(CACHE, ram_offset(SH->kexec[n].pa) >> PAGE_SHIFT, page);
	}
	SH->kexec[n].pa = pa;
	kexec_mark(c, n, is_local(c, page, w->entry));
	SH->giant_kexec += (w->level == 3) - SH->kexec[n].giant;
	SH->kexec[n].giant = w->level == 3;
	SH->kexec[n].user |= c->cpl == 3;
	SH->kexec[n].kernel |= c->cpl != 3;
	SH->kexec[n].apart |= c->cpl == 3 || VCPU->apart;
	cache_unlock();
}

/* Kills the translations of a page that was noted, where the kernel may no longer execute it there: as far as the
 * guest's entries say.  Returns whether it may. */
static bool kexec_good(struct cpu *c, u32 n)
{
	u64 at = SH->kexec[n].va, pa, e;
	int level = mmu_peek(c, at, &e);
	u64 size = level ? 1ull << (12 + 9 * (level - 1)) : 1;

	pa = (e & PTE_ADDR & ~(size - 1)) | (at & (size - 1));
	kexec_mark(c, n, is_local(c, at, e));
	/* The guest's programs may have code there too. */
	if (level && (e & PTE_A) && !(e & PTE_NX) && (pa & PAGE_MASK) == SH->kexec[n].pa && (!SH->kexec[n].user || (e & PTE_U)) &&
	    !(SH->kexec[n].kernel && (e & PTE_U) && (c->cr4 & CR4_SMEP)))
		return true;
	block_kill_page(CACHE, ram_offset(SH->kexec[n].pa) >> PAGE_SHIFT, at);
	return false;
}

static void kexec_forget(u32 n)
{
	__atomic_fetch_add(&SH->kexec_epoch, 1, __ATOMIC_SEQ_CST);
	kexec_mark(NULL, n, false);
	SH->low_kexec -= !is_kernel_half(SH->kexec[n].va);
	SH->giant_kexec -= SH->kexec[n].giant;
	--*kexec_region(SH->kexec[n].va);
	SH->kexec[n] = SH->kexec[--SH->n_kexec];
}

/* Whether the page is one of those that are to be looked at. */
static bool kexec_among(u32 n, enum kexec_set which)
{
	if (which == KEXEC_ALL || !is_kernel_half(SH->kexec[n].va))
		return true;
	if (which == KEXEC_LOW || !SH->kexec[n].local)
		return false;
	return which == KEXEC_LOCAL || SH->kexec[n].apart;
}

static void kexec_check_all(struct cpu *c, enum kexec_set which)
{
	u32 before = SH->n_kexec;

	for (u32 n = 0; n < SH->n_kexec; n++)
		if (kexec_among(n, which) && !kexec_good(c, n))
			kexec_forget(n--);
	if (SH->n_kexec == before)
		return;
	__builtin_memset(SH->kexec_hash, 0, sizeof SH->kexec_hash);
	for (u32 n = 0; n < SH->n_kexec; n++)
		kexec_insert(n);
}

/* A page noted near va, which may have been on one large page with it, is not good. */
static bool region_bad(struct cpu *c, u64 va)
{
	u64 first = va & ~0x1fffffull;

	if (SH->giant_kexec)
		return true;
	for (u64 at = 0; at < 512 && *kexec_region(va); at++) {
		u32 n = kexec_find(first + at * PAGE_SIZE);

		if (n != MAX_KEXEC && !kexec_good(c, n))
			return true;
	}
	return false;
}

void kernel_code_check(struct cpu *c, u64 va)
{
	SH->apart_root = 0;
	cache_lock();
	/* Where the one is not good, others seldom are. */
	if (va == ~0ull || region_bad(c, va))
		kexec_check_all(c, KEXEC_ALL);
	cache_unlock();
	itlb_clear();
}

void kernel_local_code_check(struct cpu *c, enum kexec_set which)
{
	if (!(which == KEXEC_LOW ? SH->low_kexec : SH->local_kexec))
		return;
	cache_lock();
	kexec_check_all(c, which);
	cache_unlock();
	itlb_clear();
}

/* The page is noted for all vCPUs, not in the leaves of this carrier. */
static bool is_shared_code(const struct cpu *c, u64 va) { return is_kernel_half(va) || c->cpl != 3; }

/* Another vCPU, whose invalidation found that a page may be executed no more, has forgotten it for all.  This one may go on with
 * it, but has to note it again: else its own invalidation would not find it. */
static void itlb_catch_up(void)
{
	u32 epoch = __atomic_load_n(&SH->kexec_epoch, __ATOMIC_ACQUIRE);

	if (my.kexec_epoch == epoch)
		return;
	my.kexec_epoch = epoch;
	itlb_clear();
}

/* Physical address of the code byte at va; raises #PF where it may not be fetched. */
int fetch_address(struct cpu *c, u64 va, u64 *pa)
{
	struct page_entry *known = itlb_entry(va);
	u64 key = (va & PAGE_MASK) | 2 | (c->cpl == 3);
	struct walk w;
	u32 error;

	if (is_shared_code(c, va))
		itlb_catch_up();
	if (known->key == key) {
		*pa = known->pa | (va & ~PAGE_MASK);
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
	/* Where it stays as long as what was noted does. */
	if (is_shared_code(c, va))
		kernel_code_note(c, va, &w);
	else if (!space_note_exec(c, va, &w))
		key = 0;
	known->key = key;
	known->pa = w.pa & PAGE_MASK;
	*pa = w.pa;
	return 0;
}

/* Physical page of user code that this carrier has already run code of, ~0 where it has not. */
static u64 known_page(u64 va)
{
	const struct page_entry *e = itlb_entry(va);

	return e->key == ((va & PAGE_MASK) | 3) ? e->pa : ~0ull;
}

/* A block that spans stands for both of its pages. */
static bool known_whole(const struct block *b)
{
	return !(b->flags & BLOCK_SPANS) || known_page((b->pc & PAGE_MASK) + PAGE_SIZE) == b->pa2;
}

/* Fills a slot whose target page this carrier has already run code of. */
static void slot_guess(const struct exit_record *x)
{
	u64 pa = x->linked ? known_page(x->target) : ~0ull;
	struct block *b;

	if (pa == ~0ull)
		return;
	pa |= x->target & ~PAGE_MASK;
	b = &CACHE->blocks[x->linked - 1];
	if (b->pc != x->target || b->pa != pa || b->mode != TM_USER || (b->flags & BLOCK_DEAD))
		b = block_find(CACHE, pa, x->target, TM_USER);
	if (b && b->instance && known_whole(b) && instance_used_by(&CACHE->instances[b->instance - 1], my.user))
		slot_enter(x->patch, b);
}

/* The same for a page that this carrier meets for the first time: what others have found out about it. */
static void note_instance(struct instance *i)
{
	struct carrier_slot *s = &VCPU->carriers[my.number];
	struct block *b;

	i->users[my.user / 64] |= BIT(my.user % 64);
	if (s->n_instances < MAX_HELD)
		VCPU->instances[my.number][s->n_instances++] = (u32)(i - CACHE->instances) + 1;
	else
		__builtin_memset(i->users, 0xff, sizeof i->users); /* cannot be taken back: never moved */
	for (u32 n = i->blocks; n; n = CACHE->blocks[n - 1].instance_next) {
		struct block *at = &CACHE->blocks[n - 1];

		if (at->instance_next)
			__builtin_prefetch(&CACHE->blocks[at->instance_next - 1].flags);
		if (at->flags & BLOCK_DEAD)
			continue;
		if (at->indirect && known_whole(at))
			lookup_enter(at->pc, at);
		for (u32 x = at->exits; (at->flags & BLOCK_LEADS) && x < at->exits + at->n_exits; x++)
			if (CACHE->exits[x].kind == X_SLOT)
				slot_guess(&CACHE->exits[x]);
	}
	for (u32 n = i->incoming; n; n = CACHE->exits[n - 1].incoming) {
		const struct exit_record *x = &CACHE->exits[n - 1];
		u32 from = CACHE->blocks[x->block].instance;

		if (((x->target ^ i->vp) & PAGE_MASK) || !from || !instance_used_by(&CACHE->instances[from - 1], my.user))
			continue;
		b = block_find(CACHE, i->pa | (x->target & ~PAGE_MASK), x->target, TM_USER);
		if (b && known_whole(b))
			slot_enter(x->patch, b);
	}
}

/* This carrier may from now on hold addresses of the block's instance, which stays where it is as long as it does.
 * False where it has moved or gone before that, or the whole cache has. */
static bool note_user(struct block *b, u64 pc)
{
	u32 n = b->instance, generation = CACHE->generation;

	if (!n)
		return b->pc == pc;
	if (!instance_used_by(&CACHE->instances[n - 1], my.user)) {
		if (!cache_lock_if(generation))
			return false;
		n = b->instance;
		if (n && b->pc == pc)
			note_instance(&CACHE->instances[n - 1]);
		cache_unlock();
	}
	return b->pc == pc && generation == CACHE->generation;
}

/* Forgets what carrier n holds; its slots and tables are about to be cleared, or will be before it runs. */
void instances_release(u32 n)
{
	struct carrier_slot *s = &VCPU->carriers[n];
	u32 user = my.user - my.number + n;

	if (!s->n_instances || !cache_lock_if(CACHE->generation))
		return;
	for (u32 i = 0; i < s->n_instances; i++) {
		struct instance *at = &CACHE->instances[VCPU->instances[n][i] - 1];

		if (at->users[user / 64] != ~0ull)
			at->users[user / 64] &= ~BIT(user % 64);
	}
	s->n_instances = 0;
	cache_unlock();
}

void block_known(const struct block *b)
{
	if (!(b->mode & TM_USER))
		lookup_enter(b->pc, b);
}

static struct block *dormant_or_new(struct translate_request *r)
{
	u64 from = host_rdtsc();
	struct block *b = dormant_find(CACHE, r);

	if (b) {
		CACHE->stats.revive_cycles += host_rdtsc() - from;
		return b;
	}
	b = translate_block(CACHE, r);
	CACHE->stats.translate_cycles += host_rdtsc() - from;
	return b;
}

/* Another vCPU may have made it meanwhile.  NULL: with an exception pending, or to be looked for again. */
static struct block *make_block(struct cpu *c, struct translate_request *r, u32 generation)
{
	u64 pc = r->pc;
	struct block *b;

	if (!cache_lock_if(generation))
		return NULL;
	if (is_shared_code(c, pc) && my.kexec_epoch != SH->kexec_epoch) {
		cache_unlock();
		return NULL;
	}
	b = block_find(CACHE, r->pa, pc, r->mode);
	if (b || (r->mode == TM_USER && instance_adopt(CACHE, r->pa, pc, r->mode))) {
		cache_unlock();
		return b && (b->flags & BLOCK_SPANS) ? NULL : b;
	}
	frame_announce(r->pa);
	r->indirect = my.indirect;
	r->bytes = ram_pointer(r->pa);
	b = dormant_or_new(r);
	if (!b && r->need_next && !fetch_address(c, (pc & PAGE_MASK) + PAGE_SIZE, &r->pa2)) {
		frame_announce(r->pa2);
		r->next = ram_pointer(r->pa2);
		b = translate_block(CACHE, r);
	}
	if (!b && !c->exc.pending)
		translations_flush();
	cache_unlock();
	return b;
}

struct block *lookup_at(struct cpu *c, u64 pc, u8 mode)
{
	for (;;) {
		struct translate_request r = { .pc = pc, .mode = mode };
		u32 generation = CACHE->generation;
		struct block *b;

		if (my.generation != generation)
			code_reset();
		r.fsgsbase = c->cr4 & CR4_FSGSBASE;
		r.rdtsc_exits = (c->cr4 & CR4_TSD) || c->tsc_offset;
		if (fetch_address(c, pc, &r.pa))
			return NULL;
		if (generation != CACHE->generation)
			continue;
		b = block_find(CACHE, r.pa, pc, mode);
		if (b && (b->flags & BLOCK_SPANS)) {
			if (fetch_address(c, (pc & PAGE_MASK) + PAGE_SIZE, &r.pa2))
				return NULL;
			if (generation != CACHE->generation)
				continue;
			if (r.pa2 != b->pa2) {
				if (cache_lock_if(generation)) {
					block_kill(CACHE, b);
					cache_unlock();
				}
				continue;
			}
		}
		if (!b)
			b = make_block(c, &r, generation);
		if (!b && c->exc.pending)
			return NULL;
		/* Looking may itself have flushed the cache, or dropped the note that watches the page. */
		if (generation == CACHE->generation && !space_code_changed()) {
			if (b && (mode != TM_USER || note_user(b, pc)))
				return b;
			continue;
		}
		code_reset();
	}
}

struct block *lookup_block(struct cpu *c)
{
	u8 mode;

	home_look(c);
	mode = current_mode(c);
	return lookup_at(c, mode & TM_COMPAT ? (u32)c->rip : c->rip, mode);
}

void slot_resolved(u32 id, struct block *b)
{
	struct exit_record *x = &CACHE->exits[id];

	slot_enter(x->patch, b);
	if (x->listed == b->instance || !b->instance || !cache_lock_if(CACHE->generation))
		return;
	if (b->instance)
		instance_lead(CACHE, id, b);
	cache_unlock();
}
