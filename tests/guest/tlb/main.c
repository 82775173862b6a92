/* SPDX-License-Identifier: MIT
 * The TLB test's guest: a random program of page table writes, invalidations, control register writes and accesses,
 * each access compared with the model.
 *
 * Command line, all optional: seed=N steps=N; from=N begins at that step (a multiple of EPOCH), skip=MASK leaves out
 * classes of operations, drop=A-B (several times) steps, verbose=1 prints each, lenient=1 is for a processor that keeps
 * translations over a #PF, and has other flaws that access.c names; kvm=1 for one that emulates kernel code without SYSCALL
 * and vector instructions; wide=0 gives no root an upper half of its own; disk=1 has a virtio disk write some entries;
 * cpus=2 has two processors take turns, and act at once where race.c says what may come of it; calls=1 has them both
 * execute pages under test in the kernel, and in the upper half, too.  Each step's random numbers
 * depend on the seed and its number alone, and every EPOCH steps all begins anew: what fails can be repeated from there, with
 * steps left out.
 * Prints `TLB ok ...` and ends with status 0, or `WRONG ...`, `TLB failed seed S step N` and status 1. */
#include "disk.h"
#include "program.h"

#define EPOCH 4096
#define DROPS 256

/* Called by start.S. */
_Noreturn void tlb_main(u32 start_info);
_Noreturn void tlb_panic(void);

/* ---- command line ---- */
struct options options = { .seed = 1, .steps = 100000, .wide = 1, .cpus = 1 };
u64 step;
static struct { u64 from, to; } drops[DROPS];
static u32 n_drops;


/* ---- the whole ---- */

static bool dropped(u64 n)
{
	for (u32 i = 0; i < n_drops; i++)
		if (n >= drops[i].from && n <= drops[i].to)
			return true;
	return false;
}

static const char *parse_number(const char *s, u64 *v)
{
	u32 base = 10;

	*v = 0;
	if (s[0] == '0' && s[1] == 'x') {
		base = 16;
		s += 2;
	}
	for (;; s++) {
		u32 d = *s >= '0' && *s <= '9' ? (u32)(*s - '0') : *s >= 'a' && *s <= 'f' ? (u32)(*s - 'a' + 10) : 16;

		if (d >= base)
			return s;
		*v = *v * base + d;
	}
}

static void parse(const char *s)
{
	static const struct { const char *name; u64 *value; } rows[] = {
#define O(name) { #name "=", &options.name },
		OPTIONS(O)
#undef O
	};

	while (*s) {
		for (u32 i = 0; i < sizeof rows / sizeof rows[0]; i++) {
			const char *n = rows[i].name, *p = s;

			while (*n && *n == *p)
				n++, p++;
			if (!*n)
				s = parse_number(p, rows[i].value);
		}
		if (s[0] == 'd' && s[1] == 'r' && s[4] == '=' && n_drops < DROPS) {
			s = parse_number(s + 5, &drops[n_drops].from);
			drops[n_drops].to = drops[n_drops].from;
			if (*s == '-')
				s = parse_number(s + 1, &drops[n_drops].to);
			n_drops++;
		}
		while (*s && *s != ' ')
			s++;
		while (*s == ' ')
			s++;
	}
}

static void print_end(bool good)
{
	text(good ? "TLB ok seed 0x" : "TLB failed seed 0x");
	number(options.seed);
	text(" step ");
	decimal(step);
	text(" accesses ");
	decimal(counts[COUNT_ACCESSES]);
	text(" writes ");
	decimal(counts[COUNT_WRITES]);
	text(" invalidations ");
	decimal(counts[COUNT_INVALIDATIONS]);
	if (options.cpus > 1) {
		text(" at once ");
		decimal(counts[COUNT_RACES]);
		text(" shootdowns ");
		decimal(counts[COUNT_SHOOTDOWNS]);
	}
	text(features.pcid ? " pcid" : "");
	text(features.invpcid ? " invpcid" : "");
	text(features.smep ? " smep" : "");
	text(features.smap ? " smap" : "");
	text(features.gigabyte ? " gigabyte" : "");
	text("\n");
}

/* An exception outside of an access. */
_Noreturn void tlb_panic(void)
{
	for (u32 n = 0; n < PROCESSORS; n++) {
		text("PANIC processor ");
		decimal(n);
		trap_print(processors[n].trapped);
		text(" rip ");
		number(processors[n].trapped[3]);
		text("\n");
	}
	print_end(false);
	machine_end(2);
}

static bool begin(void)
{
	world_begin();
	if (options.kvm)
		access_end_by_trap();
	if (!processors_begin()) {
		text("WRONG the second processor does not start\n");
		return false;
	}
	if (options.disk && !disk_begin()) {
		text("WRONG there is no disk\n");
		return false;
	}
	return true;
}

_Noreturn void tlb_main(u32 start_info)
{
	bool good;

	parse(DIRECT(*(const u64 *)DIRECT((u64)start_info + 24)));
	good = begin();
	for (step = options.from / EPOCH * EPOCH; step < options.steps && good; step++) {
		if (step % EPOCH == 0) {
			random_begin(mix(options.seed) ^ mix(step + 0x5bd1e995));
			epoch_begin();
		}
		random_begin(mix(options.seed + 0x51ed270b) ^ mix(step * 0x2545f4914f6cdd1dull + 1));
		if (!dropped(step))
			good = one_step();
	}
	step -= !good;
	print_end(good);
	machine_end(!good);
}
