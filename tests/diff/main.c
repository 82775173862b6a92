/* SPDX-License-Identifier: MIT
 * The differential test of the translator: the same instructions natively and in the guest.
 *
 *	harness --penumbra FILE --guest FILE [OPTION...] [BINARY...]
 *
 * BINARY: programs and kernels whose instruction forms are tested; the rest is random.  Prints TAP lines. */
#include <cpuid.h>
#include <getopt.h>
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "diff/harness.h"

#define ROOM 64

struct harness harness;

/* xorshift64* */
u64 rnd(void)
{
	u64 x = harness.random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	harness.random = x;
	return x * 0x2545f4914f6cdd1dull;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static u32 component_offset(int component)
{
	u32 a, b, c, d;

	__cpuid_count(0xd, component, a, b, c, d);
	return harness.layout.xcr0 >> component & 1 ? b : 0;
}

static __attribute__((target("xsave"))) void read_layout(void)
{
	harness.layout.xcr0 = _xgetbv(0) & 0xe7;
	harness.layout.off_ymm = component_offset(2);
	harness.layout.off_k = component_offset(5);
	harness.layout.off_zmm_hi = component_offset(6);
	harness.layout.off_hi16 = component_offset(7);
}

struct plan {
	const struct corpus *corpus;
	u32 next;           /* form of the corpus that comes next */
	u32 random_share;   /* of 100: random encodings */
	u32 sequences;      /* of 100 */
	u32 states;         /* per code */
	int world;          /* -1: both */
};

static const struct form *pick(struct plan *p, struct form *own)
{
	if (!p->corpus->n || rnd_below(100) < p->random_share) {
		corpus_random(own);
		return own;
	}
	return &p->corpus->forms[p->next++ % p->corpus->n];
}

/* Fills tests[] for one batch; returns how many. */
static u32 make_batch(struct plan *p, struct test *tests, u32 room)
{
	u32 n = 0, slot = 0;
	/* One world a batch: the code images differ only in the kernel world, and a wild read can see them. */
	u8 world = (u8)(p->world >= 0 ? p->world : (int)rnd_below(2));

	/* A wild access of a kernel-world sequence could find the low alias natively alone. */
	harness.low_alias = world == WORLD_USER || rnd_below(2);
	while (slot + 1 < SLOTS_PER_BATCH && n + 2 * p->states + 1 < room) {
		const struct form *f[SEQUENCE_MAX];
		struct form own[SEQUENCE_MAX];
		int count = rnd_below(100) < p->sequences && !(world == WORLD_KERNEL && harness.low_alias) ? 2 + (int)rnd_below(SEQUENCE_MAX - 1) : 1;
		bool kept = count > 1 && world == WORLD_USER && rnd_below(2);
		struct test *first = &tests[n];
		bool ok = false;

		for (int tries = 0; tries < (count > 1 ? 20 : 1) && !ok; tries++) {
			for (int i = 0; i < count && kept; i++) {
				corpus_kept(p->corpus, &own[i], i == count - 1 && rnd_below(4));
				f[i] = &own[i];
			}
			for (int i = 0; i < count && !kept; i++)
				f[i] = count > 1 && p->corpus->n && rnd_below(100) >= p->random_share
					? &p->corpus->forms[rnd_below(p->corpus->n)] : pick(p, &own[i]);
			first->c.id = (u32)rnd();
			ok = generate(first, f, count, world, slot);
		}
		if (!ok)
			continue;
		n++;
		for (u32 i = 1; i < p->states; i++) {
			tests[n] = *first;
			if (generate_state(&tests[n]))
				n++;
		}
		slot++;
		/* The same code again with its operands in the other half, and back. */
		if (rnd_below(2) == 0) {
			tests[n] = *first;
			if (slot % 32 != 31 && (slot - 1) % 32 != 31 && generate_other_half(&tests[n], slot)) {
				slot++;
				tests[n + 1] = *first;
				n += generate_state(&tests[n + 1]) ? 2 : 1;
			}
		}
	}
	return n;
}

static bool same_failure_known(const struct test *t)
{
	static struct { u8 klass, op, map, enc, world; } known[256];
	static u32 n;
	const struct insn *in = &t->insn[0].in;

	if (t->n > 1)
		return false;
	for (u32 i = 0; i < n; i++)
		if (known[i].op == in->op && known[i].map == in->map && known[i].enc == in->enc && known[i].world == t->world)
			return true;
	if (n < 256) {
		known[n].op = in->op;
		known[n].map = in->map;
		known[n].enc = in->enc;
		known[n++].world = t->world;
	}
	return false;
}

static int run_batch(struct plan *p, struct test *tests, u32 room, u32 reports)
{
	static struct mismatch found[ROOM];
	u64 random = harness.random;
	u32 n = make_batch(p, tests, room), got;
	int bad = compare(tests, n, found, ROOM, &got);
	u32 shown = 0;

	if (bad < 0) {
		printf("# the guest did not end well; batch random state 0x%llx\n", (unsigned long long)random);
		return -1;
	}
	for (u32 i = 0; i < got && shown < reports; i++) {
		struct test t = tests[found[i].index];

		if (same_failure_known(&t))
			continue;
		u32 steps = shrink(&t, &found[i]);

		printf("# mismatch, shrunk in %u steps:\n", steps);
		report(&t, &found[i]);
		shown++;
	}
	fflush(stdout);
	harness.mismatches += (u32)bad;
	return bad;
}

static const struct option options[] = {
	{ "penumbra", required_argument, NULL, 'p' }, { "guest", required_argument, NULL, 'g' },
	{ "seed", required_argument, NULL, 's' },     { "seconds", required_argument, NULL, 't' },
	{ "batches", required_argument, NULL, 'b' },  { "knobs", required_argument, NULL, 'k' },
	{ "world", required_argument, NULL, 'w' },    { "tmp", required_argument, NULL, 'd' },
	{ "random", required_argument, NULL, 'r' },   { "sequences", required_argument, NULL, 'q' },
	{ "folded", no_argument, NULL, 'f' },         { "step", no_argument, NULL, 'T' },
	{ "name", required_argument, NULL, 'n' },     { "states", required_argument, NULL, 'S' },
	{ "reports", required_argument, NULL, 'R' },  { "cases", required_argument, NULL, 'c' },
	{ NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
	struct corpus corpus = { 0 };
	struct plan plan = { .corpus = &corpus, .random_share = 25, .sequences = 25, .states = 2, .world = -1 };
	double limit = 10, start;
	u32 batches = ~0u, reports = 6, room = 20000, done = 0;
	const char *name = "native and translated execution agree";
	int o, bad = 0;

	harness.user_base = USER_BASE_PLAIN;
	harness.tmp = "/tmp";
	harness.seed = (u64)time(NULL) * 1000003 ^ (u64)getpid() << 32;
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'p': harness.penumbra = optarg; break;
		case 'g': harness.guest = optarg; break;
		case 's': harness.seed = strtoull(optarg, NULL, 0); break;
		case 't': limit = atof(optarg); break;
		case 'b': batches = (u32)atoi(optarg); break;
		case 'k': harness.knobs = optarg; break;
		case 'w': plan.world = optarg[0] == 'k'; break;
		case 'd': harness.tmp = optarg; break;
		case 'r': plan.random_share = (u32)atoi(optarg); break;
		case 'q': plan.sequences = (u32)atoi(optarg); break;
		case 'f': harness.user_base = USER_BASE_FOLDED; break;
		case 'T': harness.trap_flag = true; break;
		case 'n': name = optarg; break;
		case 'S': plan.states = (u32)atoi(optarg); break;
		case 'R': reports = (u32)atoi(optarg); break;
		case 'c': room = (u32)atoi(optarg); break;
		default: return 2;
		}
	}
	harness.random = harness.seed * 2 + 1;
	read_layout();
	harness.presets = aligned_alloc(64, N_PRESETS * XSAVE_SIZE);
	harness.images = calloc(IMAGE_PAGES, 4096);
	for (int i = optind; i < argc; i++) {
		u32 before = corpus.n;
		u64 read = corpus_read(&corpus, argv[i]);

		printf("# %s: %llu instructions, %u new forms\n", argv[i], (unsigned long long)read, corpus.n - before);
	}
	generate_presets();
	if (corpus.n)
		plan.next = rnd_below(corpus.n);
	struct test *tests = calloc(room + 64, sizeof *tests);

	start = seconds();
	do {
		int r = run_batch(&plan, tests, room, reports);

		done++;
		if (r < 0) {
			bad = 1;
			break;
		}
		if (r)
			bad = 1;
	} while (done < batches && !(bad && harness.mismatches > 200) && seconds() - start < limit);
	printf("# seed 0x%llx: %llu user and %llu kernel cases of %u forms in %u batches, %.1f s; %llu not comparable\n",
	       (unsigned long long)harness.seed, (unsigned long long)harness.counted[0],
	       (unsigned long long)harness.counted[1], corpus.n, done, seconds() - start, (unsigned long long)harness.skipped);
	if (bad)
		printf("not ok - %s: %llu mismatches with seed 0x%llx\n", name, (unsigned long long)harness.mismatches,
		       (unsigned long long)harness.seed);
	else
		printf("ok - %s\n", name);
	return bad;
}
