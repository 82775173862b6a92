/* SPDX-License-Identifier: MIT
 * The mappings of one carrier: leaves (one a guest last-level table, or a 2 MiB user page) and runs
 * (long stretches of large kernel pages, such as the direct map). */
#include "base/sys.h"
#include "shadow/internal.h"
#include "shadow/paging.h"

#define HOST_END 0x7ffffffff000ull
#define HOST_ENOMEM 12

static u32 hash_of(u64 va) { return (u32)((va >> 21) * 0x9e3779b97f4a7c15ull >> 52); }

/* [va, va + length) is mapped no more. */
static void probes_forget(u64 va, u64 length)
{
	u64 n = MIN(length >> PAGE_SHIFT, (u64)PROBE_SIZE), first = PROBE_INDEX(va);

	if (is_kernel_half(va))
		return;
	/* Most have not been noted: what is not written to stays the zygote's. */
	for (u64 i = 0; i < n; i++)
		if (!PROBES[(first + i) % PROBE_SIZE])
			PROBES[(first + i) % PROBE_SIZE] = 1;
}

void space_probe_note(u64 va, bool mapped)
{
	PROBES[PROBE_INDEX(va)] = !mapped;
}

void space_init(void)
{
	probes_forget(0, PROBE_SIZE * PAGE_SIZE);
	S->low_supervisor = false;
	S->soft_age = 1;
	S->n_leaves = S->free = S->n_runs = 0;
	__builtin_memset(S->hash, 0, sizeof S->hash);
	for (u64 i = 0; i < FOLDS_SIZE / 16; i++)
		FOLDS[FOLDS_SIZE / 16 + i] = FOLD_BAD;
}

static void lose(void)
{
	u64 spill = FOLD_OFF + (u64)(s64)SPILL_DISP, ram_end = FOLD_OFF + RAM_DISP + SHADOW->ram_size;

	if (host_munmap(0, spill) < 0 || host_munmap(ram_end, HOST_END - ram_end) < 0)
		monitor_fail("cannot unmap the guest's memory");
	probes_forget(0, PROBE_SIZE * PAGE_SIZE);
	S->lost = true;
}

void settle(void)
{
	if (!S->lost || S->walked)
		return;
	lose(); /* what was mapped since */
	tables_forget();
	S->lost = false;
	S->gate.length = 0;
	S->vmas = 0;
	S->low_supervisor = false;
	S->n_leaves = S->free = S->n_runs = 0;
	__builtin_memset(S->hash, 0, sizeof S->hash);
	__builtin_memset(S->loose, 0, sizeof S->loose);
	__builtin_memset(S->low, 0, sizeof S->low);
	S->n_low = 0;
	__builtin_memset(S->wrote, 0, SHADOW->ram_size >> PAGE_SHIFT >> 3);
	S->code_changed = true;
	SHADOW_COUNT->evictions++;
}

void space_drop_all(void)
{
	soft_flush();
	lose();
	settle();
}

struct leaf *leaf_find(u64 va)
{
	u64 base = va & ~(LEAF_SIZE - 1);

	for (u32 n = S->hash[hash_of(va)]; n; n = S->leaves[n - 1].next)
		if (S->leaves[n - 1].va == base)
			return &S->leaves[n - 1];
	return NULL;
}

void unmap(u64 va, u64 length)
{
	probes_forget(va, length);
	soft_unmapped(va, length);
	if (host_munmap(fold(va), length) < 0)
		lose();
	SHADOW_COUNT->unmapped += length >> PAGE_SHIFT;
}

void leaf_drop(struct leaf *l)
{
	u16 *link = &S->hash[hash_of(l->va)];
	u32 n = (u32)(l - S->leaves) + 1;

	if (*link == n) {
		*link = (u16)l->next;
	} else {
		u32 *chain = &S->leaves[*link - 1].next;

		while (*chain != n)
			chain = &S->leaves[*chain - 1].next;
		*chain = l->next;
	}
	for (int i = 0; i < 8; i++)
		if (l->exec[i] && !l->kernel)
			S->code_changed = true;
	table_unwatch(l);
	BITCLEAR(S->loose[l->kernel], n - 1);
	l->va = ~0ull;
	l->next = S->free;
	S->free = n;
}

void leaf_unmap(struct leaf *l)
{
	int first = -1, last = -1;

	if (l->large) {
		if (l->mapped[0])
			unmap(l->va, LEAF_SIZE);
	} else {
		for (int i = 0; i < 8; i++) {
			if (!l->mapped[i])
				continue;
			if (first < 0)
				first = i * 64 + __builtin_ctzll(l->mapped[i]);
			last = i * 64 + 63 - __builtin_clzll(l->mapped[i]);
		}
		if (first >= 0)
			unmap(l->va + (u64)first * PAGE_SIZE, (u64)(last - first + 1) * PAGE_SIZE);
	}
	S->vmas -= MIN(S->vmas, (u32)l->vmas);
	l->vmas = 0;
	__builtin_memset(l->mapped, 0, sizeof l->mapped);
	__builtin_memset(l->writable, 0, sizeof l->writable);
}

void run_forget(u32 i)
{
	S->runs[i] = S->runs[--S->n_runs];
	S->gate.length = 0;
}

void space_gate(u64 va)
{
	S->gate.length = 0;
	for (u32 i = 0; i < S->n_runs; i++) {
		const struct run *r = &S->runs[i];

		if (va - r->va >= r->length || !r->writable || !is_kernel_half(va))
			continue;
		S->gate.va = r->va;
		S->gate.ram = ram_offset(r->pa);
		S->gate.length = r->length;
	}
}

/* `pde`: the entry by which the caller's walk came here, which the guest may have changed since. */
static struct leaf *leaf_get(struct cpu *c, u64 va, bool large, u64 pde)
{
	struct leaf *l = leaf_find(va);
	u32 n, h = hash_of(va);

	pde &= PTE_COMPARE;
	if (l) {
		if (l->pde == pde && l->large == large)
			return l;
		leaf_unmap(l);
		leaf_drop(l);
	}
	n = S->free;
	if (n)
		S->free = S->leaves[n - 1].next;
	else if (S->n_leaves < MAX_LEAVES)
		n = ++S->n_leaves;
	else {
		room_evict();
		n = S->free;
		if (!n || S->lost)
			return NULL;
		S->free = S->leaves[n - 1].next;
	}
	l = &S->leaves[n - 1];
	__builtin_memset(l, 0, offsetof(struct leaf, snap));
	l->va = va & ~(LEAF_SIZE - 1);
	l->pde = pde;
	l->large = large;
	l->kernel = is_kernel_half(va);
	l->next = S->hash[h];
	S->hash[h] = (u16)n;
	BITSET(S->loose[l->kernel], n - 1);
	if (paging_chosen()->watch_new)
		table_watch(c, l);
	return l;
}

/* Ranges of the host that no guest page may take. */
static bool reserved(u64 host, u64 length)
{
	u64 from = FOLD_OFF + (s64)SPILL_DISP, to = FOLD_OFF + RAM_DISP + SHADOW->ram_size;

	return host + length > HOST_END || host < 0x1000 || (host < to && host + length > from);
}

bool space_reserved(u64 va) { return reserved(fold(va & PAGE_MASK), PAGE_SIZE); }

bool space_contested(u64 a, u64 length)
{
	u64 to = FOLD_INDEX(a + length + PAGE_SIZE - 1);

	for (u64 i = FOLD_INDEX(a < PAGE_SIZE ? 0 : a - PAGE_SIZE); i <= to; i++)
		if (FOLDS[i])
			return true;
	return false;
}

/* The first kernel mapping in a GiB: from now on user addresses that lie there are reached by kernel code
 * through C only, whether or not they are mapped (S5). */
static void claim(u64 va, u64 length)
{
	bool news = false;

	for (u64 at = va; at - va < length && !news; at = (at | 0x3fffffff) + 1)
		news = FOLDS[FOLD_INDEX(at)] == FOLD_BAD;
	if (!news)
		return;
	world_stop();
	for (u64 at = va; at - va < length; at = (at | 0x3fffffff) + 1) {
		if (FOLDS[FOLD_INDEX(at)] != FOLD_BAD)
			continue;
		FOLDS[FOLD_INDEX(at)] = FOLD_OFF;
		FOLDS[FOLD_INDEX(at + FOLD_OFF)] = FOLD_BAD;
	}
	__atomic_fetch_add(&SHADOW->folds_epoch, 1, __ATOMIC_SEQ_CST);
	space_yield_contested();
	world_go();
}

bool space_claim(struct cpu *c, u64 va)
{
	u64 e;

	if (!is_kernel_half(va) || fold(va) >= FOLD_OFF || FOLDS[FOLD_INDEX(va)] != FOLD_BAD || !mmu_peek(c, va, &e))
		return false;
	claim(va, 1);
	return true;
}

void space_yield_contested(void)
{
	for (u32 i = 0; i < S->n_leaves; i++) {
		struct leaf *l = &S->leaves[i];

		if (l->va == ~0ull || l->kernel || !space_contested(l->va, LEAF_SIZE))
			continue;
		leaf_unmap(l);
		leaf_drop(l);
	}
	for (u32 i = 0; i < S->n_runs; i++) {
		struct run *r = &S->runs[i];

		if (is_kernel_half(r->va) || !space_contested(r->va, r->length))
			continue;
		unmap(r->va, r->length);
		run_forget(i--);
	}
}

static int map_pages(u64 va, u64 pa, u64 length, bool write, bool user, bool populate)
{
	u64 host = fold(va), off = ram_offset(pa);
	bool contested = !is_kernel_half(va) && space_contested(va, length);
	int prot = PROT_READ | (write ? PROT_WRITE : 0);
	s64 r;

	if (is_kernel_half(va))
		claim(va, length);
	else if (contested && !user)
		return -1;
	if (!is_kernel_half(va) && !user)
		S->low_supervisor = true;
	S->key = contested ? KEY_CONTESTED + 1 : 0;
	if (is_kernel_half(va) || !user)
		S->key = KEY_KERNEL + 1;
	r = host_mmap(host, length, prot, MAP_SHARED | MAP_FIXED | (populate ? MAP_POPULATE : 0), FD_RAM, off);
	if (r >= 0 && S->key && (SHADOW->keys & 1))
		r = host_pkey_mprotect(host, length, prot, KEY_OF(SHADOW->keys, S->key - 1));
	if (r == -HOST_ENOMEM)
		lose();
	if (r < 0)
		return -1;
	S->vmas++;
	SHADOW_COUNT->fills++;
	SHADOW_COUNT->fill_pages += length >> PAGE_SHIFT;
	return 0;
}

/* Takes write permission from a flagged page. */
static void write_protect(u64 host)
{
	if (host_mprotect(host, PAGE_SIZE, PROT_READ) < 0)
		lose();
	S->vmas += 2;
}

/* Takes write permission from the flagged pages of a run just mapped, neighbours at a time. */
static void protect_run(const struct run *r)
{
	u64 f = ram_offset(r->pa) >> PAGE_SHIFT, n = r->length >> PAGE_SHIFT;

	for (u64 i = frame_next_flagged(f, f + n) - f; i < n; i = frame_next_flagged(f + i, f + n) - f) {
		u64 from = i;

		while (i < n && frame_flags(f + i))
			i++;
		if (host_mprotect(fold(r->va) + from * PAGE_SIZE, (i - from) * PAGE_SIZE, PROT_READ) < 0)
			lose();
	}
}

/* One page of a run that is mapped already: it was flagged when the run was mapped, or the other half's page
 * took its place.  1 where there is no such run. */
static int fill_in_run(u64 va, const struct walk *w, bool writable)
{
	for (u32 i = 0; i < S->n_runs; i++) {
		struct run *r = &S->runs[i];
		u64 at = va & PAGE_MASK, pa = w->pa & PAGE_MASK;

		if (va - r->va >= r->length || pa - r->pa != at - r->va || r->writable != writable)
			continue;
		writable = writable && !frame_flags(ram_offset(pa) >> PAGE_SHIFT);
		return map_pages(at, pa, PAGE_SIZE, writable, w->user, true);
	}
	return 1;
}

/* Whether a page that is mapped now is not the same in each address space. */
static bool note_local(const struct cpu *c, u64 entry, u64 va)
{
	bool local = !(entry & PTE_G) || !(c->cr4 & CR4_PGE);

	S->local |= local && is_kernel_half(va);
	return local;
}

/* A large page and its equally permitted, physically adjacent neighbours. */
static int fill_run(struct cpu *c, u64 va, const struct walk *w, bool writable)
{
	u64 size = 1ull << (12 + 9 * (w->level - 1));
	u64 start = va & ~(size - 1), pa = w->pa & ~(size - 1), end = start + size;
	u64 same = PTE_P | PTE_W | PTE_U | PTE_NX | PTE_A | PTE_D | PTE_PS | PTE_G, e;
	u64 ram_end = pa < SHADOW->ram_low ? SHADOW->ram_low : 0x100000000ull + SHADOW->ram_size - SHADOW->ram_low;

	int within = fill_in_run(va, w, writable);

	if (within <= 0)
		return within;
	if (ram_offset(pa) == ~0ull)
		return -1;
	while (pa + (end - start) < ram_end) {
		int level = mmu_peek(c, end, &e);

		if (level < 2 || (end & ((1ull << (12 + 9 * (level - 1))) - 1)) ||
		    ((e ^ w->whole) & same) || (e & PTE_ADDR & ~0x1fffull) != pa + (end - start))
			break;
		end += 1ull << (12 + 9 * (level - 1));
	}
	if (pa + (end - start) > ram_end)
		end = start + (ram_end - pa);
	for (u64 step = size; pa >= step; start -= step, pa -= step) {
		int level = mmu_peek(c, start - step, &e);

		if (level != w->level || ((e ^ w->whole) & same) || (e & PTE_ADDR & ~0x1fffull) != pa - step ||
		    ram_offset(pa - step) == ~0ull || ram_offset(pa - step) + step != ram_offset(pa) ||
		    is_kernel_half(start - step) != is_kernel_half(start) || reserved(fold(start - step), step))
			break;
	}
	if (!start && va >= PAGE_SIZE) { /* the host maps nothing at page 0 */
		start += PAGE_SIZE;
		pa += PAGE_SIZE;
	}
	if (reserved(fold(start), end - start))
		return -1;
	if (map_pages(start, pa, end - start, writable, w->user, false))
		return -1;
	struct run r = { start, pa, end - start, w->whole & RUN_COMPARE, writable, note_local(c, w->entry, va), S->key };

	/* Overlapping runs merge into the newest; what they covered beyond is refilled on demand. */
	for (u32 i = 0; i < S->n_runs;) {
		if (S->runs[i].va >= r.va && S->runs[i].va + S->runs[i].length <= r.va + r.length)
			run_forget(i);
		else
			i++;
	}
	if (S->n_runs == MAX_RUNS) {
		unmap(S->runs[0].va, S->runs[0].length);
		run_forget(0);
	}
	S->runs[S->n_runs++] = r;
	if (writable)
		protect_run(&r);
	return 0;
}

static bool entry_writable(struct cpu *c, u64 e, const struct walk *w)
{
	bool allowed = w->write || (!w->user && !(c->cr0 & CR0_WP));

	return allowed && (e & PTE_D) && !frame_flags(ram_offset(e & PTE_ADDR) >> PAGE_SHIFT);
}

/* Pages [from, to) are mapped by one fill: did the maintainer wait for them? */
static void leaf_refilled(struct leaf *l, int from, int to)
{
	u64 in = (to - from == 64 ? ~0ull : BIT(to - from) - 1) << (from & 63), *gone = &l->gone[from >> 6];

	l->back += (*gone & in) != 0;
	*gone &= ~in;
}

/* For space_check(). */
static void note_key(struct leaf *l, int i)
{
	BITCLEAR(l->keyed[0], i);
	BITCLEAR(l->keyed[1], i);
	if (S->key)
		BITSET(l->keyed[S->key == KEY_CONTESTED + 1], i);
}

static int fill_leaf(struct cpu *c, u64 va, const struct walk *w)
{
	struct leaf *l = leaf_get(c, va, false, w->table);
	const volatile u64 *table = ram_pointer(w->entry_gpa & PAGE_MASK);
	u64 entry[WINDOW]; /* as they permitted the mapping: the guest may change them at any time */
	int at = (int)(va >> PAGE_SHIFT & 511), from = at, to = at + 1, low = at & ~(WINDOW - 1);
	u64 same = PTE_P | PTE_W | PTE_U | PTE_NX | PTE_A | (w->write ? PTE_D : 0);
	u64 pa = w->entry & PTE_ADDR;
	bool write = entry_writable(c, w->entry, w);

	if (!l || !table || ram_offset(pa) == ~0ull)
		return -1;
	for (int i = 0; i < WINDOW; i++)
		entry[i] = table[low + i];
	entry[at - low] = w->entry;
	while (to < low + WINDOW && !BITTEST(l->mapped, to) && !((entry[to - low] ^ w->entry) & same) &&
	       (entry[to - low] & PTE_ADDR) == pa + (u64)(to - at) * PAGE_SIZE &&
	       ram_offset(entry[to - low] & PTE_ADDR) != ~0ull && entry_writable(c, entry[to - low], w) == write)
		to++;
	while (from > low && !BITTEST(l->mapped, from - 1) && !((entry[from - 1 - low] ^ w->entry) & same) &&
	       (entry[from - 1 - low] & PTE_ADDR) == pa - (u64)(at - from + 1) * PAGE_SIZE &&
	       ram_offset(entry[from - 1 - low] & PTE_ADDR) != ~0ull && entry_writable(c, entry[from - 1 - low], w) == write)
		from--;
	u64 first = l->va + (u64)from * PAGE_SIZE, length = (u64)(to - from) * PAGE_SIZE;

	if (reserved(fold(first), length))
		return -1;
	if (map_pages(first, pa - (u64)(at - from) * PAGE_SIZE, length, write, w->user, true))
		return -1;
	l->vmas++;
	table_mapped(l, at);
	leaf_refilled(l, from, to);
	for (int i = from; i < to; i++) {
		l->local |= note_local(c, entry[i - low], va);
		l->snap[i] = entry[i - low];
		BITSET(l->mapped, i);
		note_key(l, i);
		if (write) {
			BITSET(l->writable, i);
			BITSET(S->wrote, ram_offset(entry[i - low] & PTE_ADDR) >> PAGE_SHIFT);
		} else
			BITCLEAR(l->writable, i);
	}
	return 0;
}

static int fill_large(struct cpu *c, u64 va, const struct walk *w)
{
	struct leaf *l = leaf_get(c, va, true, w->table);
	u64 pa = w->entry & PTE_ADDR & ~0x1fffffull, skip = l && !l->va ? PAGE_SIZE : 0; /* the host maps nothing at page 0 */
	bool write = w->write && (w->entry & PTE_D);

	if (!l || ram_offset(pa) == ~0ull || va < skip || reserved(fold(l->va) + skip, LEAF_SIZE - skip))
		return -1;
	if (map_pages(l->va + skip, pa + skip, LEAF_SIZE - skip, write, w->user, true))
		return -1;
	l->vmas++;
	l->snap[0] = w->entry;
	l->mapped[0] = 1;
	note_key(l, 0);
	l->writable[0] = write;
	for (u64 i = 0; write && i < 512; i += 64)
		S->wrote[((ram_offset(pa) >> PAGE_SHIFT) + i) / 64] = ~0ull;
	for (u64 i = skip >> PAGE_SHIFT; write && i < 512; i++)
		if (frame_flags((ram_offset(pa) >> PAGE_SHIFT) + i))
			write_protect(fold(l->va) + i * PAGE_SIZE);
	return 0;
}

static int fill(struct cpu *c, u64 va, const struct walk *w)
{
	u64 other;

	/* The kernel's key would let SMAP's rules pass. */
	if (w->user && is_kernel_half(va))
		return -1;
	room_make();
	/* The other half's page at the same host address gives way. */
	other = is_kernel_half(va) ? va + FOLD_OFF : va - FOLD_OFF;
	if (is_kernel_half(other) != is_kernel_half(va)) {
		struct leaf *o = leaf_find(other);
		int i = (int)(other >> PAGE_SHIFT & 511);

		if (o && w->level == 1 && !o->large && BITTEST(o->mapped, i)) {
			unmap(other & PAGE_MASK, PAGE_SIZE);
			BITCLEAR(o->mapped, i);
			BITCLEAR(o->writable, i);
		} else if (o && (w->level != 1 || o->large)) {
			leaf_unmap(o);
			leaf_drop(o);
		}
	}
	if (w->level == 1)
		return fill_leaf(c, va, w);
	if (w->level == 2 && w->user)
		return fill_large(c, va, w);
	return fill_run(c, va, w, (w->write || (!w->user && !(c->cr0 & CR0_WP))) && (w->entry & PTE_D));
}

int space_fill(struct cpu *c, u64 va, const struct walk *w, bool write)
{
	int r = fill(c, va, w);

	(void)write;
	if (S->lost) {
		settle();
		r = fill(c, va, w);
		settle();
	}
	return r;
}

bool space_note_exec(struct cpu *c, u64 va, const struct walk *w)
{
	struct leaf *l;
	int i = (int)(va >> PAGE_SHIFT & 511);

	if (w->level > 2) /* has no leaf: any flush may be meant */
		S->code_unnoted = true;
	if (is_kernel_half(va) || w->level > 2)
		return false;
	l = leaf_get(c, va, w->level == 2, w->table);
	if (!l || S->lost) {
		settle();
		l = leaf_get(c, va, w->level == 2, w->table);
	}
	if (w->level == 2) {
		l->exec[0] = 1;
		return true;
	}
	/* Its own note does not make a page mapped. */
	if (!BITTEST(l->mapped, i))
		l->snap[i] = w->entry;
	table_mapped(l, i);
	BITSET(l->exec, i);
	return true;
}

/* Takes write permission from frames [from, to) in the runs. */
static void protect_in_runs(u64 from, u64 to)
{
	for (u32 i = 0; i < S->n_runs; i++) {
		struct run *r = &S->runs[i];
		u64 first = ram_offset(r->pa) >> PAGE_SHIFT, end = first + (r->length >> PAGE_SHIFT);
		u64 lo = MAX(from, first), hi = MIN(to, end);

		if (!r->writable || lo >= hi)
			continue;
		if (host_mprotect(fold(r->va) + (lo - first) * PAGE_SIZE, (hi - lo) * PAGE_SIZE, PROT_READ) < 0)
			lose();
		S->vmas += 2;
	}
}

#define NEIGHBOURS 512

/* The flagged frames around `frame`, which are write-protected already or are to be. */
static void flagged_around(u64 frame, u64 *from, u64 *to)
{
	*from = frame;
	*to = frame + 1;
	while (*from && *to - *from < NEIGHBOURS && frame_flags(*from - 1))
		--*from;
	while (*to - *from < NEIGHBOURS && frame_flags(*to))
		++*to;
}

/* Takes write permission from the leaves' pages whose frames are flagged. */
static void protect_leaves(void)
{
	for (u32 n = 0; n < S->n_leaves; n++) {
		struct leaf *l = &S->leaves[n];

		if (l->va == ~0ull || (l->large && !l->writable[0]))
			continue;
		if (l->large) {
			u64 f = ram_offset(l->snap[0] & PTE_ADDR & ~0x1fffffull) >> PAGE_SHIFT;

			for (u64 i = l->va ? 0 : 1; i < 512; i++)
				if (frame_flags(f + i))
					write_protect(fold(l->va) + i * PAGE_SIZE);
			continue;
		}
		for (int word = 0; word < 8; word++)
			for (u64 m = l->writable[word]; m; m &= m - 1) {
				int i = word * 64 + __builtin_ctzll(m);

				if (!frame_flags(ram_offset(l->snap[i] & PTE_ADDR) >> PAGE_SHIFT))
					continue;
				write_protect(fold(l->va) + (u64)i * PAGE_SIZE);
				BITCLEAR(l->writable, i);
			}
	}
}

void space_protect_frames(const u32 *frames, size_t n)
{
	u64 from = 0, to = 0, all = frames ? 0 : SHADOW->ram_size >> PAGE_SHIFT;
	bool any = !frames;

	for (u64 i = 0; i < (frames ? n : all); i++) {
		u64 frame = frames ? frames[i] : i;

		if (!frame_flags(frame))
			continue;
		if (frame < from || frame >= to) {
			flagged_around(frame, &from, &to);
			protect_in_runs(from, to);
		}
		any |= BITTEST(S->wrote, frame);
		BITCLEAR(S->wrote, frame);
	}
	if (any)
		protect_leaves();
	settle();
}

void space_set_root(u64 root) { S->root = root; }

bool space_low_supervisor(void) { return S->low_supervisor; }

bool space_code_changed(void)
{
	bool r = S->code_changed;

	S->code_changed = false;
	return r;
}
