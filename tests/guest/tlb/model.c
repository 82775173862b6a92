/* SPDX-License-Identifier: MIT
 * The model: histories, invalidations, and the walk over everything that may be cached.  See model.h.
 *
 * Times count steps.  A translation that is cached was made of entries each of which had its value at some time since
 * the last invalidation of the translation, while its PCID was the current one, with its accessed bit set: a superset
 * of what processors do, since the times need not agree.  Entries that are not present, or have a reserved bit set, are
 * never cached (4.10.2.3). */
#include "model.h"

#define VERSIONS 32
#define AT_ONCE 8 /* values of an entry that one step may bring */
#define LOADS 56
#define INVALIDATIONS 192

const u16 slot_index[SLOTS] = { 0, 1, 2, 3, 246, 247, 248, 508, 509, 510, 511 };
const u16 block_number[BLOCKS] = { 246, 247, 508, 509 };
const u16 pcids[PCIDS] = { 0, 1, 2, 7, 4095 };
u8 table_frame[TABLES];
bool frame_is_table[FRAMES];

struct version { u64 value; u32 from; };
static struct { u8 n; struct version v[VERSIONS]; } slots[FRAMES][SLOTS];
struct tlb {
	struct control control;
	struct { s8 root, pcid; u32 from; } loads[LOADS];
	u32 n_loads;
	struct { u64 va; u32 at; u8 kind; s8 pcid; } invalidations[INVALIDATIONS];
	u32 n_invalidations;
	u32 flushed_all, flushed_contexts, flushed_pcid[PCIDS], structures[PCIDS];
};
static struct tlb tlbs[MODELLED], *tlb = tlbs;
struct control *control = &tlbs[0].control;
static int n_tlbs;
static u32 now, crowded_at;

int slot_of(u64 index)
{
	for (int i = 0; i < SLOTS; i++)
		if (slot_index[i] == index)
			return i;
	return -1;
}

u64 frame_pa(int frame)
{
	return ((u64)block_number[frame / SLOTS] << 21) + ((u64)slot_index[frame % SLOTS] << 12);
}

int frame_at(u64 pa)
{
	int slot = slot_of(pa >> 12 & 511);

	for (int b = 0; b < BLOCKS && slot >= 0; b++)
		if (pa >> 21 == block_number[b])
			return b * SLOTS + slot;
	return -1;
}

/* ---- history ---- */

void model_on(int processor)
{
	tlb = &tlbs[processor];
	control = &tlb->control;
}

void model_begin(int processors)
{
	__builtin_memset(slots, 0, sizeof slots);
	n_tlbs = processors;
	crowded_at = 0;
	for (int i = processors; i-- > 0;) {
		model_on(i);
		model_flush_all();
	}
}

/* Before that nothing is cached by anybody. */
static u32 oldest_flush(void)
{
	u32 r = tlbs[0].flushed_all;

	for (int i = 1; i < n_tlbs; i++)
		r = MIN(r, tlbs[i].flushed_all);
	return r;
}

u64 model_get(int frame, int slot)
{
	return slots[frame][slot].n ? slots[frame][slot].v[slots[frame][slot].n - 1].value : 0;
}

void model_set(int frame, int slot, u64 value)
{
	struct version *v = slots[frame][slot].v;
	int n = slots[frame][slot].n, drop = 0;

	if (n && v[n - 1].value == value)
		return;
	now++;
	/* Values that ended before everything was flushed are cached nowhere. */
	while (drop + 1 < n && v[drop + 1].from <= oldest_flush())
		drop++;
	for (int i = drop; i < n; i++)
		v[i - drop] = v[i];
	n -= drop;
	v[n] = (struct version){ value, now };
	slots[frame][slot].n = (u8)(n + 1);
	if (n + AT_ONCE >= VERSIONS)
		crowded_at = now;
}

bool model_crowded(void)
{
	bool loads = false;

	for (int i = 0; i < n_tlbs; i++)
		loads |= tlbs[i].n_loads > LOADS - 8;
	return loads || crowded_at > oldest_flush();
}

static void note_load(int root, int pcid)
{
	tlb->loads[tlb->n_loads].root = (s8)root;
	tlb->loads[tlb->n_loads].pcid = (s8)pcid;
	tlb->loads[tlb->n_loads++].from = now;
}

void model_flush_all(void)
{
	tlb->flushed_all = ++now;
	tlb->n_invalidations = 0;
	tlb->n_loads = 0;
	note_load(control->root, control->pcid);
}

void model_flush_contexts(void) { tlb->flushed_contexts = ++now; }
void model_flush_pcid(int pcid) { tlb->flushed_pcid[pcid] = ++now; }

void model_loaded_root(int root, int pcid, bool flush)
{
	now++;
	control->root = root;
	control->pcid = pcid;
	if (flush)
		tlb->flushed_pcid[pcid] = now;
	note_load(root, pcid);
}

void model_invalidate(enum inv_kind kind, int pcid, u64 va)
{
	now++;
	if (kind == INV_PAGE)
		tlb->structures[pcid] = now;
	if (tlb->n_invalidations == INVALIDATIONS) { /* the oldest is forgotten: more is allowed then */
		for (u32 i = 1; i < tlb->n_invalidations; i++)
			tlb->invalidations[i - 1] = tlb->invalidations[i];
		tlb->n_invalidations--;
	}
	tlb->invalidations[tlb->n_invalidations].va = va;
	tlb->invalidations[tlb->n_invalidations].at = now;
	tlb->invalidations[tlb->n_invalidations].kind = (u8)kind;
	tlb->invalidations[tlb->n_invalidations++].pcid = (s8)pcid;
}

/* ---- the walk ---- */

enum pass { PASS_WALK, PASS_CONTEXT, PASS_GLOBAL };
struct walker {
	struct query *q;
	enum pass pass;
	int leaf_level;         /* of cached translations, else 0 */
	u32 since, pcid_since;  /* values that ended before are cached no more */
	bool write, user, exec;
	struct { s8 frame; s8 slot; u64 value; bool fresh; } path[5];
};

static u32 later(u32 a, u32 b) { return a > b ? a : b; }

/* Whether the PCID (-1: any) was current at a time of [from, to). */
static bool active(int pcid, u32 from, u32 to)
{
	for (u32 i = 0; i < tlb->n_loads; i++) {
		u32 end = i + 1 < tlb->n_loads ? tlb->loads[i + 1].from : ~0u;

		if ((pcid < 0 || tlb->loads[i].pcid == pcid) && tlb->loads[i].from < to && end > from)
			return true;
	}
	return false;
}

static void add(struct query *q, const struct outcome *o)
{
	for (u32 i = 0; i < q->n; i++) {
		const struct outcome *p = &q->out[i];

		if (p->fault == o->fault && (o->fault ? p->error == o->error : p->pa == o->pa) &&
		    (!p->needs || (p->needs == o->needs && !__builtin_memcmp(p->need, o->need, sizeof p->need))))
			return;
	}
	if (q->n == OUTCOMES) {
		q->too_many = true;
		return;
	}
	q->out[q->n++] = *o;
}

static void touch(struct query *q, int frame, int slot, u8 bits)
{
	for (u32 i = 0; i < q->n_touched; i++)
		if (q->touched[i].frame == frame && q->touched[i].slot == slot) {
			q->touched[i].bits |= bits;
			return;
		}
	if (q->n_touched == TOUCHES)
		q->too_many = true;
	else
		q->touched[q->n_touched++] = (struct need){ (s8)frame, (u8)slot, bits };
}

static void fault(struct walker *w, u32 error)
{
	u32 access = w->q->access;
	struct outcome o = { .fault = true, .cached = w->pass != PASS_WALK };

	o.error = error | (access & ACC_W ? 2 : 0) | (access & ACC_U ? 4 : 0);
	if ((access & ACC_X) && (control->nxe || control->smep))
		o.error |= 16;
	add(w->q, &o);
}

/* 4.6.1 */
static bool permitted(const struct walker *w)
{
	u32 access = w->q->access;

	if (access & ACC_U)
		return w->user && (!(access & ACC_W) || w->write) && (!(access & ACC_X) || w->exec);
	if (access & ACC_X)
		return w->exec && !(w->user && control->smep);
	if (w->user && control->smap && !(access & ACC_AC))
		return false;
	return !(access & ACC_W) || w->write || !control->wp;
}

/* 4.5: bits that must be clear. */
static u64 reserved_bits(int level, u64 e)
{
	u64 r = control->reserved | (control->nxe ? 0 : PTE_NX);

	if (level == 4)
		return r | PTE_PS;
	if (level > 1 && (e & PTE_PS))
		r |= ((1ull << (12 + 9 * (level - 1))) - 1) & ~0x1fffull;
	return r;
}

static void leaf(struct walker *w, int level)
{
	u64 e = w->path[level].value, size = 1ull << (12 + 9 * (level - 1));
	struct outcome o = { .cached = w->pass != PASS_WALK };
	bool write = w->q->access & ACC_W;

	if (!permitted(w)) {
		fault(w, 1);
		return;
	}
	o.pa = (e & PTE_ADDR & ~(size - 1)) | (w->q->va & (size - 1));
	if (w->pass != PASS_WALK) {
		if (!write || (e & PTE_D)) /* else the tables are walked again to set it */
			add(w->q, &o);
		return;
	}
	for (int l = 4; l >= level; l--) {
		u8 bits = PTE_A | (l == level && write ? PTE_D : 0);

		if (!w->path[l].fresh || w->path[l].frame < 0 || w->path[l].slot < 0)
			continue;
		touch(w->q, w->path[l].frame, w->path[l].slot, bits);
		if (~w->path[l].value & bits)
			o.need[o.needs++] = (struct need){ w->path[l].frame, (u8)w->path[l].slot, bits };
	}
	add(w->q, &o);
}

static void explore(struct walker *w, int level, int frame, bool above_fresh);

/* One value of an entry; `fresh`: read from memory now, else from a cache. */
static void entry(struct walker *w, int level, u64 e, bool fresh, bool above_fresh)
{
	bool write = w->write, user = w->user, exec = w->exec, is_leaf = level == 1 || (level < 4 && (e & PTE_PS));

	if (!(e & PTE_P) || (e & reserved_bits(level, e))) {
		if (w->pass == PASS_WALK && fresh)
			fault(w, e & PTE_P ? 9 : 0);
		if (control->lenient && fresh && (e & PTE_P) && w->path[level].slot >= 0)
			touch(w->q, w->path[level].frame, w->path[level].slot, PTE_A);
		return;
	}
	if (!fresh && !(e & PTE_A))
		return;
	if (w->pass == PASS_WALK && is_leaf && !fresh)
		return;
	if (w->pass != PASS_WALK && is_leaf && level != w->leaf_level)
		return;
	if (w->pass == PASS_GLOBAL && is_leaf && !((e & PTE_G) && control->pge))
		return;
	if (fresh && w->path[level].slot >= 0)
		touch(w->q, w->path[level].frame, w->path[level].slot, PTE_A);
	w->path[level].value = e;
	w->path[level].fresh = fresh;
	w->write &= !!(e & PTE_W);
	w->user &= !!(e & PTE_U);
	w->exec &= !(e & PTE_NX);
	if (is_leaf)
		leaf(w, level);
	else
		explore(w, level - 1, frame_at(e & PTE_ADDR), above_fresh && fresh);
	w->write = write;
	w->user = user;
	w->exec = exec;
}

/* The entries at `level` of the table in `frame`.  What lies outside of the tables reads as not present. */
static void explore(struct walker *w, int level, int frame, bool above_fresh)
{
	int s = slot_of(w->q->va >> (12 + 9 * (level - 1)) & 511);
	int pcid = w->pass == PASS_GLOBAL ? -1 : control->pcid;

	if (w->q->too_many)
		return;
	w->path[level].frame = (s8)frame;
	w->path[level].slot = (s8)(frame >= 0 && frame_is_table[frame] ? s : -1);
	if (frame < 0 || !frame_is_table[frame]) {
		entry(w, level, 0, true, above_fresh);
		return;
	}
	int n = slots[frame][s].n;
	const struct version *v = slots[frame][s].v;

	if (!n)
		entry(w, level, 0, true, above_fresh);
	for (int i = 0; i < n; i++) {
		u32 end = i + 1 < n ? v[i + 1].from : ~0u;
		bool current = i + 1 == n;

		/* In a walk of the root's entry of another root only the cache of it can be meant. */
		if (w->pass == PASS_WALK && current && (level < 4 || above_fresh))
			entry(w, level, v[i].value, true, above_fresh);
		if (end > w->since && active(pcid, later(v[i].from, w->since), end))
			entry(w, level, v[i].value, false, above_fresh);
		w->path[level].frame = (s8)frame;
		w->path[level].slot = (s8)s;
	}
}

static void pass(struct query *q, enum pass which, int leaf_level, u32 since)
{
	struct walker w = { .q = q, .pass = which, .leaf_level = leaf_level, .since = since };
	u32 seen = 0;

	for (u32 i = tlb->n_loads; i-- > 0;) {
		bool current = i + 1 == tlb->n_loads;
		u32 end = current ? ~0u : tlb->loads[i + 1].from;
		int root = tlb->loads[i].root;

		if ((which != PASS_GLOBAL && tlb->loads[i].pcid != control->pcid) || end <= since || (seen >> root & 1))
			continue;
		if (which == PASS_WALK && !current && root == control->root)
			continue;
		seen |= 1u << root;
		w.write = w.user = w.exec = true;
		explore(&w, 4, table_frame[root], current);
	}
}

void model_query(struct query *q, u64 va, u32 access)
{
	u32 context[4], global[4], walk;

	q->va = va;
	q->access = access;
	q->n = q->n_touched = 0;
	q->too_many = false;
	for (int l = 1; l <= 3; l++) {
		global[l] = tlb->flushed_all;
		context[l] = later(tlb->flushed_all, later(tlb->flushed_contexts, tlb->flushed_pcid[control->pcid]));
	}
	for (u32 i = 0; i < tlb->n_invalidations; i++)
		for (int l = 1; l <= 3; l++) {
			if ((tlb->invalidations[i].va ^ va) >> (12 + 9 * (l - 1)))
				continue;
			if (tlb->invalidations[i].kind == INV_PAGE)
				global[l] = later(global[l], tlb->invalidations[i].at);
			if (tlb->invalidations[i].pcid == control->pcid)
				context[l] = later(context[l], tlb->invalidations[i].at);
		}
	walk = later(context[1], tlb->structures[control->pcid]);
	pass(q, PASS_WALK, 0, walk);
	for (int l = 1; l <= 3; l++) {
		pass(q, PASS_CONTEXT, l, context[l]);
		if (control->pge)
			pass(q, PASS_GLOBAL, l, global[l]);
	}
}

void model_merge(struct query *q, const struct query *more)
{
	for (u32 i = 0; i < more->n; i++)
		add(q, &more->out[i]);
	for (u32 i = 0; i < more->n_touched; i++)
		touch(q, more->touched[i].frame, more->touched[i].slot, more->touched[i].bits);
	q->too_many |= more->too_many;
}

void model_excuse(struct query *q, int frame, int slot)
{
	for (u32 i = 0; i < q->n; i++) {
		struct outcome *o = &q->out[i];
		u8 n = 0;

		for (u8 k = 0; k < o->needs; k++)
			if (o->need[k].frame != frame || o->need[k].slot != slot)
				o->need[n++] = o->need[k];
		o->needs = n;
	}
}

u8 model_may_touch(const struct query *q, int n, int frame, int slot)
{
	u8 bits = 0;

	for (int i = 0; i < n; i++)
		for (u32 k = 0; k < q[i].n_touched; k++)
			if (q[i].touched[k].frame == frame && q[i].touched[k].slot == slot)
				bits |= q[i].touched[k].bits;
	return bits;
}
