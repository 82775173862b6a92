/* SPDX-License-Identifier: MIT
 * The region checker: random programs run natively and through regions from a random hot address, with each
 * pass on and off, in pairs and at random.  Compared are registers, flags and memory at the end; the state at
 * every precise point inside the region, step by step; and the state at faults on pages that are taken away
 * at a random moment.  Arguments: first seed, number of programs, pass mask.
 *
 * NOSAN
 * FLAGS: -Itests -fno-stack-protector -fcf-protection=none
 * WITH: x86/decode.c x86/decode_table.c x86/decode_vector.c
 * WITH: optimise/region.c optimise/lower.c optimise/frame.c optimise/value.c optimise/encode.c
 * WITH: optimise/emit.c optimise/flow.c optimise/indirect.c optimise/recover.c
 * WITH: ../tests/optimise/machine.c ../tests/optimise/program.c */
#include "optimise/program.h"
#include "x86/decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY ((DATA_PAGES + STACK_PAGES) * 4096)

static struct optimiser *optimiser;
static u8 *region_code;
static struct { unsigned long regions, points, faults, entries, refused, covered, seen, native, failed; } total;

#define REGION_SIZE 0x40000

/* Exits lead to the program's own code, through a jump that reaches any address. */
static void direct_exits(const struct opt_region *g, bool kept)
{
	u8 *p = region_code + REGION_SIZE;

	for (u32 i = 0; i < g->n_exits; i++, p += 32) {
		u8 *to = p;

		s32 away = (s32)(p - (g->exits[i].at + 4));

		if (kept) {
			memcpy(to, "\x65\x4c\x8b\x1c\x25\x58\0\0\0", 9); /* mov r11, gs:[88] */
			to += 9;
		}
		memcpy(to, "\xff\x25\0\0\0\0", 6);
		memcpy(to + 6, &g->exits[i].pc, 8);
		memcpy(g->exits[i].at, &away, 4);
	}
}

static void show(const char *what, const struct opt_regs *g, const struct opt_regs *n)
{
	printf("# %s\n", what);
	for (int i = 0; i < 16; i++)
		if (g->r[i] != n->r[i])
			printf("#   r%d: region %#llx, native %#llx\n", i, (unsigned long long)g->r[i], (unsigned long long)n->r[i]);
	if (g->rip != n->rip)
		printf("#   rip: region %#llx, native %#llx\n", (unsigned long long)g->rip, (unsigned long long)n->rip);
	if ((g->rflags ^ n->rflags) & FLAGS_STATUS)
		printf("#   flags: region %#llx, native %#llx\n", (unsigned long long)(g->rflags & FLAGS_STATUS),
			(unsigned long long)(n->rflags & FLAGS_STATUS));
}

static bool differ(const struct opt_regs *a, const struct opt_regs *b)
{
	return memcmp(a->r, b->r, sizeof(a->r)) || a->rip != b->rip || ((a->rflags ^ b->rflags) & FLAGS_STATUS);
}

static bool check_end(struct machine *m, struct run *n, struct run *g, const u8 *memory, const char *what)
{
	if (g->wrong) {
		u32 i = g->wrong_at;

		printf("# %s at step %u, %#llx\n", g->wrong, g->wrong_at, (unsigned long long)g->regs.rip);
		while (i < m->n_trace && m->trace[i].rip != g->regs.rip)
			i++;
		if (i < m->n_trace)
			show("not among the next of the trace; the first of them at that address:", &g->regs, &m->trace[i]);
		return false;
	}
	if (n->outcome != g->outcome || differ(&g->regs, &n->regs)) {
		printf("# %s: outcome %d, natively %d\n", what, g->outcome, n->outcome);
		show(what, &g->regs, &n->regs);
		return false;
	}
	for (u32 i = 0; i < MEMORY; i++)
		if (memory[i] != m->end_memory[i]) {
			printf("# %s: memory at %s + %#x: %02x, natively %02x\n", what, i < DATA_PAGES * 4096 ? "data" : "stack",
				i < DATA_PAGES * 4096 ? i : i - DATA_PAGES * 4096, m->end_memory[i], memory[i]);
			return false;
		}
	return true;
}

/* One region, run to the end, stepped, and with a page taken away. */
static bool check_region(struct machine *m, u64 *seed, u32 from, u32 passes, bool own)
{
	static u8 memory[MEMORY];
	struct opt_request r = {
		.head = m->trace[from].rip, .trace = m->pcs, .n_trace = m->n_trace, .passes = passes, .own_memory = own,
		.frame = (s64)(m->trace[from].r[RBP] - m->trace[from].r[RSP]), .hot = region_code, .hot_end = region_code + 0x28000, .cold = region_code + 0x28000,
		.cold_end = region_code + REGION_SIZE, .fetch = machine_fetch, .ctx = m,
		.kept = random64(seed) % 2 ? BIT(R11) : 0,
	};
	struct opt_region g;
	struct run n = { .protect_page = -1 }, x = { .from = from, .region = &g, .protect_page = -1,
		.kept = r.kept, .outs = (u64)region_code + REGION_SIZE, .outs_end = (u64)region_code + 2 * REGION_SIZE };
	int rc = region_make(optimiser, &r, &g);

	if (rc) {
		total.failed++;
		return rc != -2;
	}
	direct_exits(&g, r.kept);
	total.regions++;
	total.covered += g.covered;
	total.seen += g.seen;
	machine_run(m, &n);
	memcpy(memory, m->end_memory, MEMORY);
	machine_run(m, &x);
	if (!check_end(m, &n, &x, memory, "run to the end"))
		return false;
	x.step = true;
	machine_run(m, &x);
	total.points += x.points;
	if (!check_end(m, &n, &x, memory, "run step by step"))
		return false;
	for (int i = 0; i < 3; i++) {
		x.step = true;
		x.protect_page = (int)(random64(seed) % (DATA_PAGES + STACK_PAGES));
		if (i == 1)
			x.protect_page = DATA_PAGES + STACK_PAGES - 1;
		x.protection = random64(seed) % 2 ? PROT_NONE : PROT_READ;
		/* A load of a slot whose value is known is left out, so that only another thread could tell. */
		if (i != 2 && x.protect_page >= DATA_PAGES)
			x.protection = PROT_READ;
		x.protect_at = i == 2 ? from : from + (u32)(random64(seed) % (m->n_trace - from));
		n = (struct run){ .protect_page = x.protect_page, .protection = x.protection };
		machine_run(m, &x);
		if (x.protect_page >= 0 && i != 2)
			continue; /* it left the region before */
		n.protect_at = x.protect_at;
		total.refused += x.entry_refused;
		memcpy(memory, m->end_memory, MEMORY);
		struct run as = x;

		machine_run(m, &n);
		total.faults += n.outcome == FAULTED;
		/* machine_run() keeps the last run's memory: swap the roles. */
		if (!check_end(m, &as, &n, memory, "fault (roles exchanged)"))
			return false;
	}
	return true;
}

static u32 pick_passes(u64 *seed, unsigned i)
{
	u32 all = OPT_ALL;

	if (i < OPT_PASS_COUNT)
		return all & ~(1u << i);
	i -= OPT_PASS_COUNT;
	if (i < OPT_PASS_COUNT)
		return 1u << i | OPT_BIT(calls);
	return (u32)random64(seed) & all;
}

/* Every pair of passes off, over the programs. */
static u32 pair_passes(u64 n)
{
	u32 a = (u32)(n % OPT_PASS_COUNT), b = (u32)(n / OPT_PASS_COUNT % OPT_PASS_COUNT);

	return OPT_ALL & ~(1u << a) & ~(1u << b);
}

static bool check_program(u64 seed, s64 mask)
{
	struct machine m;
	u64 s = seed * 7919 + 1;
	bool good = true;

	machine_init(&m, seed & 1);
	program_make(&m, seed);
	if (machine_record(&m) != RAN || m.n_trace < 20) {
		machine_free(&m);
		return true;
	}
	total.native++;
	for (int i = 0; i < 4 && good; i++) {
		u32 from = (u32)(random64(&s) % (m.n_trace - 10));
		u32 passes = i == 0 ? OPT_ALL : i == 1 ? pair_passes(seed) : pick_passes(&s, (unsigned)((seed * 4 + (u64)i) % (2 * OPT_PASS_COUNT + 4)));
		bool own = i == 0 || random64(&s) % 3;

		if (mask >= 0)
			passes = (u32)mask;
		/* where the program calls its functions: they are followed to their returns */
		while (i & 1 && from && m.trace[from].rip < m.start.rip)
			from--;
		/* the first visit of that address */
		for (u32 k = 0; k < from; k++)
			if (m.trace[k].rip == m.trace[from].rip)
				from = k;
		good = check_region(&m, &s, from, passes, own);
		if (!good && getenv("KEEP")) {
			FILE *f = fopen(getenv("KEEP"), "w");

			fwrite(m.code, 1, CODE_SIZE, f);
			fwrite(region_code, 1, REGION_SIZE, f);
			fclose(f);
		}
		if (!good)
			printf("# seed %llu, head %#llx at step %u, passes %#x, own memory %d\n", (unsigned long long)seed,
				(unsigned long long)m.trace[from].rip, from, passes, own);
	}
	machine_free(&m);
	return good;
}

int main(int argc, char **argv)
{
	u64 first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, n = argc > 2 ? strtoull(argv[2], NULL, 0) : 150, bad = 0;
	s64 mask = argc > 3 ? strtoll(argv[3], NULL, 0) : -1;

	optimiser = aligned_alloc(64, (optimiser_size() + 63) & ~63ull);
	region_code = mmap((void *)0x11000000, 2 * REGION_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (!optimiser || region_code == MAP_FAILED)
		return 1;
	for (u64 i = first; i < first + n && bad < 3; i++)
		bad += !check_program(i, mask);
	printf("%s 1 - regions of %lu random programs behave as the programs\n", bad ? "not ok" : "ok", total.native);
	printf("# %lu regions (%lu not made), %lu of %lu instructions inside, %lu precise points, %lu faults, %lu entries refused\n",
		total.regions, total.failed, total.covered, total.seen, total.points, total.faults, total.refused);
	printf("1..1\n");
	return bad != 0;
}
