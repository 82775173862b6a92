/* SPDX-License-Identifier: MIT
 * The interface of the optimising tier, and the guest's state at a host address of a region.
 *
 * A record holds from its host address to the next one's: the values of registers that are not at home there,
 * written as sums of host registers, constants or spill words, and the flags, where they were put off, as the
 * operation and its operands.  At the record's own address control may be taken away (a precise point);
 * behind it only a fault counts, and the instruction that faults has changed nothing.
 * Freestanding, no state. */
#include "optimise/ir.h"

size_t optimiser_size(void) { return sizeof(struct optimiser); }

int region_make(struct optimiser *o, const struct opt_request *r, struct opt_region *out)
{
	int rc;

	o->r = r;
	if (r->hot_end - r->hot < 8192 || r->cold_end - r->cold < 8192)
		return -2;
	rc = region_form(o);
	if (rc)
		return rc;
	frame_analyse(o);
	flags_analyse(o);
	o->recipes = true;
	o->head_check = o->head_tried = false;
	return emit_region(o, out);
}

static size_t records_bytes(const struct opt_region *r) { return r->n_records * sizeof(struct opt_record); }
static size_t sources_bytes(const struct opt_region *r) { return r->n_sources * sizeof(struct opt_source); }

size_t region_size(const struct opt_region *r)
{
	return records_bytes(r) + sources_bytes(r) + ((r->n_snapshot_bytes + 7u) & ~7u);
}

void region_keep(struct opt_region *r, void *memory)
{
	u8 *p = memory;

	__builtin_memcpy(p, r->records, records_bytes(r));
	r->records = (struct opt_record *)p;
	p += records_bytes(r);
	__builtin_memcpy(p, r->sources, sources_bytes(r));
	r->sources = (struct opt_source *)p;
	p += sources_bytes(r);
	__builtin_memcpy(p, r->snapshots, r->n_snapshot_bytes);
	r->snapshots = p;
}

static const struct opt_record *record_at(const struct opt_region *r, u64 host)
{
	u32 low = 0, high = r->n_records, at;

	if (host < (u64)(uintptr_t)r->code || host >= (u64)(uintptr_t)r->code_end)
		return NULL;
	at = (u32)(host - (u64)(uintptr_t)r->code);
	while (low < high) {
		u32 mid = (low + high) / 2;

		if (r->records[mid].host <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &r->records[low - 1] : NULL;
}

static u64 val_read(const struct val *v, const u64 *regs, const u64 *spill)
{
	u64 x;

	if (v->kind == VAL_CONST)
		return (u64)v->disp;
	if (v->kind == VAL_SPILL)
		return spill[v->disp & 15];
	x = (v->base == REG_NONE ? 0 : regs[v->base & 15]) + (u64)v->disp;
	if (v->index != REG_NONE)
		x += regs[v->index & 15] << v->shift;
	return v->wide ? x : (u32)x;
}

/* Status flags of an operation of 4 or 8 bytes. */
static u64 flags_of(const struct flags_val *f, u64 x, u64 y)
{
	u64 mask = f->size == 4 ? 0xffffffff : ~0ull, top = f->size == 4 ? 1ull << 31 : 1ull << 63, r, flags = 0;
	bool add = f->op == FLG_ADD || f->op == FLG_ADDR;

	x &= mask;
	y &= mask;
	if (f->op == FLG_ADDR)
		x = (x - y) & mask;
	if (f->op == FLG_SUBR)
		x = (x + y) & mask;
	r = (f->op == FLG_AND ? x & y : add ? x + y : x - y) & mask;
	if (f->op != FLG_AND) {
		flags |= (add ? r < x : x < y) ? FLAG_CF : 0;
		flags |= ((add ? ~(x ^ y) : x ^ y) & (x ^ r) & top) ? FLAG_OF : 0;
		flags |= (x ^ y ^ r) & FLAG_AF;
	}
	flags |= r ? 0 : FLAG_ZF;
	flags |= r & top ? FLAG_SF : 0;
	flags |= __builtin_popcount((u8)r) & 1 ? 0 : FLAG_PF;
	return flags;
}

bool region_recover(const struct opt_region *r, struct opt_regs *regs, const u64 *spill, bool fault)
{
	const struct opt_record *rec = record_at(r, regs->rip);
	struct opt_regs out = *regs;
	const u8 *p;

	if (!rec || (!fault && rec->host != regs->rip - (u64)(uintptr_t)r->code))
		return false;
	for (int i = 0; i < 16; i++)
		if ((r->borrowed & BIT(i)) && regs->rip >= (u64)(uintptr_t)r->code)
			out.r[i] = spill[i];
	for (p = r->snapshots + rec->snapshot; *p != 0xff;) {
		u8 var = *p++;

		if (var == 16) {
			struct flags_val f;

			__builtin_memcpy(&f, p, sizeof(f));
			p += sizeof(f);
			if (f.op == FLG_NONE && !fault)
				return false; /* dead here; known again within a few instructions */
			if (f.op != FLG_NONE)
				out.rflags = (out.rflags & ~(u64)FLAGS_STATUS) |
					flags_of(&f, val_read(&f.x, regs->r, spill), val_read(&f.y, regs->r, spill));
			continue;
		}
		struct val v;

		__builtin_memcpy(&v, p, sizeof(v));
		p += sizeof(v);
		if (v.kind == VAL_NONE && !fault)
			return false; /* nobody reads it before it is written */
		out.r[var & 15] = val_read(&v, regs->r, spill);
	}
	out.rip = rec->pc;
	*regs = out;
	return true;
}

#define PASS_NAME(name, on, text) #name,
#define PASS_TEXT(name, on, text) text,
static const char *const names[] = { OPT_PASSES(PASS_NAME) };
static const char *const texts[] = { OPT_PASSES(PASS_TEXT) };

const char *opt_pass_name(unsigned pass) { return pass < OPT_PASS_COUNT ? names[pass] : NULL; }
const char *opt_pass_text(unsigned pass) { return pass < OPT_PASS_COUNT ? texts[pass] : NULL; }
