/* SPDX-License-Identifier: MIT
 * Watched tables: guest page tables that are mapped writable nowhere, so that each write to them is known.
 *
 *   loose --watch--> watched --(written)--> pending --flush: drain--> watched
 *     ^                 \--------(release, in any carrier)--flush: drain--/
 *     \-------------------------------------------------------------------
 *
 * A leaf is watched if the last-level table and the three above it are.  What is written to them goes into the log of
 * the vCPU that writes; each carrier reads all logs from where it left off when its guest flushes, and compares what is
 * named there instead of everything.  A log that went round meanwhile is made up for by comparing everything.
 *
 * Owner: the running carrier; frames' flags and watchers are shared (monitor/frames.c).
 *
 * Invariants:
 *  T1  As long as a leaf is watched, its tables carry FRAME_TABLE, or a release of them is in a log behind S->seen.
 *  T2  Each entry of a watched leaf is as when it was mapped, but for accessed and dirty bits set since, or the write
 *      that changed it is in a log behind S->seen.
 *  T3  A frame's watchers are the watched leaves with it as their table, and the carriers that have it in S->upper. */
#include "shadow/internal.h"
#include "shadow/paging.h"

#define PATH_MAX 4
#define ENTRY_BITS_HIGH 0x7ff0000000000000ull /* ignored, or keys: Linux leaves them clear but for NX */

struct path {
	u32 frames[PATH_MAX]; /* from the root down; the last is the leaf's own table if it has one */
	u32 n;
};

/* The tables on the way to a leaf.  False where it does not lead there, or through what is not RAM. */
static bool find_path(struct cpu *c, const struct leaf *l, struct path *p)
{
	u64 table = leaf_root(c, l) & PTE_ADDR, pde = mmu_peek_table(table, l->va);

	p->n = 0;
	for (int level = 4; level >= 2; level--) {
		u64 off = ram_offset(table), e;

		if (off == ~0ull)
			return false;
		p->frames[p->n++] = (u32)(off >> PAGE_SHIFT);
		e = *(volatile u64 *)(RAM_BASE + off + (l->va >> (12 + 9 * (level - 1)) & 511) * 8);
		if (!(e & PTE_P) || (level > 2 && (e & PTE_PS)))
			return false;
		table = e & PTE_ADDR;
	}
	if ((pde & PTE_COMPARE) != l->pde)
		return false;
	if (l->large)
		return true;
	if (ram_offset(table) == ~0ull)
		return false;
	p->frames[p->n++] = (u32)(ram_offset(table) >> PAGE_SHIFT);
	return true;
}

/* ---- upper levels ---- */

static u32 *upper_slot(u32 frame)
{
	u32 h = frame * 0x9e3779b1u >> 20;

	for (;; h++) {
		u32 *at = &S->upper[h % UPPER_MAX];

		if (!*at || *at == frame + 1)
			return at;
	}
}

static bool is_upper(u32 frame) { return *upper_slot(frame); }

static void upper_add(u32 frame)
{
	u32 *at = upper_slot(frame);

	if (*at)
		return;
	*at = frame + 1;
	S->n_upper++;
	__atomic_fetch_add(frame_watchers(frame), 1, __ATOMIC_SEQ_CST);
}

static void uppers_forget(void)
{
	for (u32 i = 0; i < UPPER_MAX && S->n_upper; i++) {
		if (!S->upper[i])
			continue;
		__atomic_fetch_sub(frame_watchers(S->upper[i] - 1), 1, __ATOMIC_SEQ_CST);
		S->upper[i] = 0;
		S->n_upper--;
	}
}

/* ---- leaves ---- */

static u16 *table_chain(u32 frame) { return &S->tables[frame * 0x9e3779b1u >> 20]; }

#define WATCHERS_MAX 60000

/* The caller compares the leaf afterwards, unless nothing of it is mapped yet. */
bool table_watch(struct cpu *c, struct leaf *l)
{
	struct path p, again;
	u32 last;

	bool low = paging_chosen()->low && !l->large;

	if (!find_path(c, l, &p) || S->n_upper + PATH_MAX > UPPER_MAX / 4 * 3)
		return false;
	last = p.frames[p.n - 1];
	if (*frame_watchers(last) > WATCHERS_MAX)
		return false;
	/* The callers walk the leaves: if mappings get lost, these are dropped after that. */
	S->walked = true;
	if (low)
		frames_watch(&last, 1);
	else
		frames_watch(p.frames, p.n);
	S->walked = false;
	if (S->lost || !find_path(c, l, &again) || __builtin_memcmp(again.frames, p.frames, p.n * sizeof(u32)))
		return false;
	for (u32 i = 0; i < 3 && !low; i++)
		upper_add(p.frames[i]);
	l->watched = true;
	l->low = low;
	if (low) {
		BITSET(S->low[l->kernel], (u32)(l - S->leaves));
		S->n_low++;
	}
	S->n_watched++;
	BITCLEAR(S->loose[l->kernel], (u32)(l - S->leaves));
	if (l->large)
		return true;
	l->table = last;
	l->table_next = *table_chain(last);
	*table_chain(last) = (u16)(l - S->leaves + 1);
	__atomic_fetch_add(frame_watchers(last), 1, __ATOMIC_SEQ_CST);
	return true;
}

/* It is compared at each flush again. */
void table_unwatch(struct leaf *l)
{
	u16 n = (u16)(l - S->leaves + 1), *link;

	if (!l->watched)
		return;
	l->watched = false;
	S->n_watched--;
	if (l->low) {
		BITCLEAR(S->low[l->kernel], n - 1u);
		S->n_low--;
		l->low = false;
	}
	BITSET(S->loose[l->kernel], n - 1u);
	BITCLEAR(S->pending, n - 1u);
	l->writes = 0;
	__builtin_memset(l->pending, 0, sizeof l->pending);
	if (l->large)
		return;
	for (link = table_chain(l->table); *link != n; link = &S->leaves[*link - 1].table_next)
		;
	*link = l->table_next;
	__atomic_fetch_sub(frame_watchers(l->table), 1, __ATOMIC_SEQ_CST);
}

/* All notes are about to go: nothing is watched for this carrier any more. */
void tables_forget(void)
{
	for (u32 i = 0; i < S->n_leaves; i++)
		if (S->leaves[i].va != ~0ull)
			table_unwatch(&S->leaves[i]);
	uppers_forget();
	__builtin_memset(S->pending, 0, sizeof S->pending);
}

void table_mapped(struct leaf *l, int entry)
{
	if (!l->watched || l->large)
		return;
	BITSET(l->pending, entry);
	BITSET(S->pending, (u32)(l - S->leaves));
}

bool table_watch_always(struct leaf *l)
{
	(void)l;
	return true;
}

/* ---- the logs ---- */

static void log_add(u64 entry)
{
	struct table_log *log = TABLE_LOG;

	log->entry[log->head % TABLE_LOG_SIZE] = entry;
	__atomic_store_n(&log->head, log->head + 1, __ATOMIC_RELEASE);
}

void table_release(u64 frame)
{
	frame_unwatch((u32)frame);
	log_add(frame << PAGE_SHIFT | TABLE_RELEASED);
}

#define PAGES_AT_ONCE 64 /* bytes: what writes more at once does not write entries */

/* An entry that no kernel makes of a page that it uses as a table. */
static bool is_odd(u64 e)
{
	return (e & PTE_P) && ((e & ENTRY_BITS_HIGH & ~PTE_NX) || (e & PTE_ADDR) >> 46);
}

#define ODD_MAX 4

void memory_written(struct cpu *c, u64 pa, u64 n)
{
	u64 off = ram_offset(pa), frame = off >> PAGE_SHIFT;

	frame_written(pa);
	if (off == ~0ull || !(frame_flags(frame) & FRAME_TABLE))
		return;
	if (!*frame_watchers((u32)frame) || n > PAGES_AT_ONCE) {
		table_release(frame);
		return;
	}
	for (u64 at = off & ~7ull; at < off + n; at += 8) {
		log_add(at);
		S->odd = is_odd(*(volatile u64 *)(RAM_BASE + at)) ? S->odd + 1 : 0;
		if (S->odd > ODD_MAX) {
			S->odd = 0;
			table_release(frame);
			return;
		}
	}
	if (!paging_chosen()->at_once)
		return;
	tables_drain(c);
	settle();
}

static void all_loose(void)
{
	for (u32 i = 0; i < S->n_leaves; i++)
		if (S->leaves[i].va != ~0ull && !S->leaves[i].low)
			table_unwatch(&S->leaves[i]);
	uppers_forget();
}

static void take_entry(u64 entry)
{
	u32 frame = (u32)(entry >> PAGE_SHIFT), next;

	if (is_upper(frame)) {
		if (entry & TABLE_RELEASED)
			all_loose();
		else
			S->upper_written = true;
	}
	for (u32 n = *table_chain(frame); n; n = next) {
		struct leaf *l = &S->leaves[n - 1];

		next = l->table_next;
		if (l->table != frame)
			continue;
		if (entry & TABLE_RELEASED) {
			table_unwatch(l);
			continue;
		}
		l->writes++;
		BITSET(l->pending, (int)(entry >> 3 & 511));
		BITSET(S->pending, n - 1);
	}
}

bool tables_read(void)
{
	bool whole = true;

	for (u32 v = 0; v < SHADOW->vcpus && v < SHADOW_VCPUS; v++) {
		const struct table_log *log = TABLE_LOG_OF(v);
		u64 head = __atomic_load_n(&log->head, __ATOMIC_ACQUIRE);

		if (head - S->seen[v] > TABLE_LOG_SIZE) {
			whole = false;
			S->seen[v] = head;
		}
		for (; S->seen[v] != head; S->seen[v]++)
			take_entry(log->entry[S->seen[v] % TABLE_LOG_SIZE]);
		/* The writer may have come round while this was read. */
		if (__atomic_load_n(&log->head, __ATOMIC_ACQUIRE) - head > TABLE_LOG_SIZE)
			whole = false;
	}
	S->log_lost |= !whole;
	return whole;
}

/* Where the log does not tell, the flags do: a table that still has its flag is compared, the others are watched no
 * more. */
static void compare_watched(struct cpu *c)
{
	for (u32 i = 0; i < S->n_leaves; i++) {
		struct leaf *l = &S->leaves[i];
		struct path p;
		bool still = true;

		if (l->va == ~0ull || !l->watched)
			continue;
		if (find_path(c, l, &p))
			for (u32 k = 0; k < p.n; k++)
				still &= (l->low && k < 3) || (frame_flags(p.frames[k]) & FRAME_TABLE &&
							       (k == 3 ? p.frames[k] == l->table : is_upper(p.frames[k])));
		if (!still)
			table_unwatch(l);
		leaf_check(c, l, NULL);
	}
	S->upper_written = false;
}

static void check_paths(struct cpu *c)
{
	S->upper_written = false;
	for (u32 i = 0; i < S->n_leaves; i++) {
		struct leaf *l = &S->leaves[i];
		struct path p;

		if (l->va == ~0ull || !l->watched || l->low)
			continue;
		/* A way through another table, with the same entry at its end, is not watched. */
		if (l->large || !find_path(c, l, &p))
			leaf_check(c, l, NULL);
		if (l->va == ~0ull || !find_path(c, l, &p))
			continue;
		for (u32 k = 0; k < 3; k++)
			if (!is_upper(p.frames[k])) {
				table_unwatch(l);
				break;
			}
	}
}

void tables_drain(struct cpu *c)
{
	if (!tables_read() || S->log_lost) {
		S->log_lost = false;
		compare_watched(c);
	} else if (S->upper_written) {
		check_paths(c);
	}
	for (u32 word = 0; word < ARRAY_SIZE(S->pending); word++)
		for (u64 m = S->pending[word]; m; m &= m - 1) {
			struct leaf *l = &S->leaves[word * 64 + (u32)__builtin_ctzll(m)];
			u32 writes = l->writes, frame = l->table;
			u64 only[8];

			l->writes = 0;
			__builtin_memcpy(only, l->pending, sizeof only);
			__builtin_memset(l->pending, 0, sizeof l->pending);
			for (int i = 0; i < 8; i++)
				SHADOW_COUNT->table_updates += (u64)__builtin_popcountll(only[i]);
			if (leaf_check(c, l, only) && paging_chosen()->unwatch && paging_chosen()->unwatch(l, writes)) {
				table_unwatch(l);
				table_release(frame);
			}
		}
	__builtin_memset(S->pending, 0, sizeof S->pending);
}
