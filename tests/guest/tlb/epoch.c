/* SPDX-License-Identifier: MIT
 * What the random program is made of: its random numbers, and the tables, rights and addresses of an epoch.  See program.h. */
#include "program.h"

#include "other.h"
#include "x86/cpu.h"

/* ---- random numbers, of the step ---- */
static u64 state;

u64 mix(u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

void random_begin(u64 from) { state = from; }
u64 rnd(void) { return mix(state += 0x9e3779b97f4a7c15ull); }
u32 below(u32 n) { return (u32)((rnd() >> 32) * n >> 32); }
bool chance(u32 percent) { return below(100) < percent; }

/* ---- what an epoch is like ---- */
struct profile profile;
u64 hot[HOT];
static u64 safe_root[512] __attribute__((aligned(4096)));

static u64 kernel_half(u64 va) { return (u64)((s64)(va << 16) >> 16); }

static u64 va_of(u32 a, u32 b, u32 c, u32 d)
{
	return kernel_half((u64)slot_index[a] << 39 | (u64)slot_index[b] << 30 | (u64)slot_index[c] << 21 | (u64)slot_index[d] << 12);
}

/* Whether each index of the address is one of those that are used.  A translator may keep scratch memory of its own in
 * the last 2 MiB, and at the lower half's addresses that it folds them to. */
bool in_world(u64 va)
{
	if (kernel_half(va) != va || va >= 0xffffffffffe00000 || (va >= 0x7bffffe00000 && va < 0x7c0000000000))
		return false;
	for (int shift = 12; shift < 48; shift += 9)
		if (slot_of(va >> shift & 511) < 0)
			return false;
	return true;
}

int level_of(int table)
{
	if (table < ROOTS)
		return 4;
	if (table < ROOTS + PDPTS)
		return 3;
	return table < ROOTS + PDPTS + PDS ? 2 : 1;
}

static int random_table(int level)
{
	switch (level) {
	case 4: return (int)below(ROOTS);
	case 3: return ROOTS + (int)below(PDPTS);
	case 2: return ROOTS + PDPTS + (int)below(PDS);
	default: return ROOTS + PDPTS + PDS + (int)below(PTS);
	}
}

static u64 random_flags(int level, bool low)
{
	u32 r = below(100);
	u64 e = PTE_P;

	if (chance(level == 1 ? 75 : 92))
		e |= PTE_W;
	if (chance(level == 1 ? 65 : 88) || (low && profile.low_is_user))
		e |= PTE_U;
	if (chance(profile.accessed))
		e |= PTE_A;
	if (chance(60))
		e |= PTE_D;
	if (chance(profile.global))
		e |= PTE_G;
	if (features.nx && chance(level == 1 ? 25 : 6))
		e |= PTE_NX;
	if (r < 20)
		e |= (rnd() & 7) << 9 | (rnd() & 0x7f) << 52; /* bits that processors ignore */
	return e;
}

/* An entry for a table of that level. */
u64 random_entry(int level, bool low)
{
	u64 e = random_flags(level, low), reserved = control->reserved & -control->reserved;
	int t;

	if (chance(level == 1 ? 12 : 6))
		return frame_pa((int)below(FRAMES)) | (rnd() & 0xe7e); /* not present */
	if (level > 1 && chance(level == 3 ? profile.large / 3u : level == 2 ? profile.large : 0u) && (level == 2 || features.gigabyte)) {
		e |= PTE_PS;
		if (level == 2)
			e |= (u64)block_number[below(BLOCKS)] << 21;
		if (chance(profile.odd))
			e |= 1ull << (14 + below(5)); /* memory there is empty, as another level would see */
		return e;
	}
	if (chance(profile.odd)) {
		if (level == 4 && chance(50))
			e |= PTE_PS;
		else
			e |= reserved;
	}
	if (level == 1 && !chance(profile.aliases))
		return e | frame_pa((int)below(FRAMES));
	t = random_table(level == 1 || chance(profile.wild) ? (int)below(4) + 1 : level - 1);
	return e | frame_pa(table_frame[t]);
}

/* ---- an epoch ---- */

static u32 processors_used(void) { return options.cpus > 1 ? 2 : 1; }

void act(u32 processor)
{
	acting = (int)processor;
	model_on(acting);
}

void flush_all(void)
{
	u32 actor = (u32)acting;

	for (u32 n = 0; n < processors_used(); n++) {
		act(n);
		set_cr4(CR4_PGE, !control->pge);
		set_cr4(CR4_PGE, control->pge);
		model_flush_all();
	}
	act(actor);
}

static void choose_profile(void)
{
	profile.same_upper = !options.wide || chance(50);
	profile.low_is_user = chance(50);
	profile.aliases = (u8)(chance(30) ? 0 : 5 + below(40));
	profile.large = (u8)(chance(30) ? 0 : below(40));
	profile.odd = (u8)(chance(60) ? 0 : 2);
	profile.global = (u8)(chance(40) ? 0 : below(50));
	profile.wild = (u8)(chance(50) ? 0 : below(8));
	profile.accessed = (u8)(chance(20) ? 20 : 60 + below(41));
	profile.accesses = (u8)(30 + below(40));
	profile.writes = (u8)(10 + below(85u - profile.accesses));
	profile.flush = (u8)(chance(50) ? 1 : below(30));
}

static void choose_hot(void)
{
	u32 a[2] = { below(UPPER), UPPER + below(SLOTS - UPPER) }, b = below(SLOTS), c = below(SLOTS);

	for (u32 i = 0; i < HOT; i++) {
		u32 d = below(SLOTS);

		if (chance(10))
			a[i & 1] = i & 1 ? UPPER + below(SLOTS - UPPER) : below(UPPER);
		if (chance(15))
			b = below(SLOTS);
		if (chance(20))
			c = below(SLOTS);
		hot[i] = va_of(a[chance(40)], b, c, d);
		if (!in_world(hot[i]))
			hot[i] = va_of(0, b, c, d);
		/* Neighbours, that accesses may run over to. */
		if (i && chance(40) && in_world(hot[i - 1] + 0x1000))
			hot[i] = hot[i - 1] + 0x1000;
	}
}

static void choose_frames(void)
{
	u8 all[FRAMES];

	for (int i = 0; i < FRAMES; i++) {
		u32 j = below((u32)i + 1);

		all[i] = all[j];
		all[j] = (u8)i;
		frame_is_table[i] = false;
	}
	for (int i = 0; i < TABLES; i++) {
		table_frame[i] = all[i];
		frame_is_table[all[i]] = true;
	}
}

static void fill_frames(void)
{
	for (int f = 0; f < FRAMES; f++) {
		u64 *p = DIRECT(frame_pa(f));

		for (int i = 0; i < 512; i++)
			p[i] = frame_is_table[f] && slot_of((u64)i) >= 0 ? 0 : rnd() & ~1ull;
		if (!frame_is_table[f])
			frame_seal(f, (u32)rnd() & ~0x10000u);
	}
}

static void set_control(void)
{
	*control = (struct control){ .wp = true, .lenient = options.lenient };
	control->reserved = PTE_ADDR & ~((1ull << features.physical_bits) - 1);
	set_cr4(CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PCIDE, false);
	set_wp(true);
	if (features.nx) {
		control->nxe = true;
		set_nxe(true);
	}
}

/* Away from the tables that are made anew, and nothing is as the last epoch left it. */
static void leave_tables(void)
{
	if (control->pcide)
		set_cr3(PHYS(safe_root) | pcids[0]);
	set_cr4(CR4_PCIDE, false);
	set_cr3(PHYS(safe_root));
	set_control();
}

static void choose_control(void)
{
	control->root = control->pcid = 0;
	control->pcide = features.pcid && !skipped(OP_PCIDE) && chance(60);
	control->wp = chance(70);
	control->smep = features.smep && !skipped(OP_SMEP) && chance(60);
	control->smap = features.smap && !skipped(OP_SMAP) && chance(60);
	if (features.pge && !skipped(OP_PGE))
		control->pge = chance(80);
}

static void fill_tables(void)
{
	for (int t = 0; t < TABLES; t++)
		for (int s = 0; s < SLOTS; s++) {
			u64 *at = (u64 *)DIRECT(frame_pa(table_frame[t])) + slot_index[s];

			*at = random_entry(level_of(t), level_of(t) < 4 || s < UPPER);
			if (profile.same_upper && t && level_of(t) == 4 && s >= UPPER)
				*at = model_get(table_frame[0], s);
			model_set(table_frame[t], s, *at);
		}
}

static void begin_here(u64 root)
{
	set_cr3(root);
	set_cr4(CR4_PCIDE, control->pcide);
	set_cr4(CR4_SMEP, control->smep);
	set_cr4(CR4_SMAP, control->smap);
	set_wp(control->wp);
}

bool processors_begin(void)
{
	u64 root = PHYS(safe_root);

	world_roots(&root, 1, false);
	act(0);
	set_control();
	set_cr3(root);
	if (processors_used() == 1)
		return true;
	serializing = true;
	if (!other_begin(root))
		return false;
	act(1);
	set_control();
	act(0);
	return true;
}

void epoch_begin(void)
{
	u64 pa[ROOTS + 1];
	bool lower;

	acting_way = WAY_POLLED;
	for (u32 n = 0; n < processors_used(); n++) {
		act(n);
		leave_tables();
	}
	choose_profile();
	lower = !profile.low_is_user && chance(50);
	choose_frames();
	choose_hot();
	fill_frames();
	for (int i = 0; i < ROOTS; i++)
		pa[i] = frame_pa(table_frame[i]);
	pa[ROOTS] = PHYS(safe_root);
	world_roots(pa, ROOTS + 1, lower);
	for (u32 n = 0; n < processors_used(); n++) {
		act(n);
		choose_control();
	}
	model_begin((int)processors_used());
	fill_tables();
	for (u32 n = 0; n < processors_used(); n++) {
		act(n);
		begin_here(pa[0]);
	}
	act(0);
	flush_all();
	if (processors_used() > 1)
		other_halts(chance(40));
}
