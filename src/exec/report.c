/* SPDX-License-Identifier: MIT
 * What a run did, as JSON, at its end: figures of the translator, and the regions where the program was found most often,
 * with the code that they were made of and their own, in hexadecimal. */
#include "exec/exec.h"
#include "exec/hot.h"
#include "exec/keep.h"

#define O_WRONLY 1
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_CLOEXEC 02000000
#define REGIONS 24 /* at most */
#define SOURCE_MAX 4096 /* bytes of guest code, or of a region's, that are written */

static struct { s64 fd; size_t n; char text[65536]; } out;

static void flush(void)
{
	size_t done = 0;

	while (done < out.n) {
		s64 w = sys3(__NR_write, out.fd, out.text + done, out.n - done);

		if (w <= 0)
			break;
		done += (size_t)w;
	}
	out.n = 0;
}

static char *room(size_t n)
{
	if (out.n + n > sizeof out.text)
		flush();
	return out.text + out.n;
}

#define PUT(...) out.n += text_format(room(4096), 4096, __VA_ARGS__)

static void put_hex(const u8 *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < MIN(n, SOURCE_MAX); i++) {
		char *at = room(2);

		at[0] = digits[p[i] >> 4];
		at[1] = digits[p[i] & 15];
		out.n += 2;
	}
}

/* The guest's code at [begin, end), as far as it is still there. */
static void put_guest(u64 begin, u64 end)
{
	static u8 copy[SOURCE_MAX];
	size_t n = MIN(end - begin, (u64)SOURCE_MAX);

	if (guest_copy(copy, (const void *)begin, n))
		n = 0;
	PUT("[\"%lx\", \"", begin);
	put_hex(copy, n);
	PUT("\"]");
}

static void put_region(const struct hot_region *h, bool first)
{
	const struct opt_region *g = &h->region;

	PUT("%s\n    { \"head\": \"%lx\", \"samples\": %d, \"instructions\": %d, \"calls\": %d, \"trace_before\": %ld, \"trace_after\": %ld,\n"
	    "      \"passes\": {", first ? "" : ",", g->head, h->samples, g->n_insns, g->n_calls, g->guest_insns, g->host_insns);
	for (unsigned p = 0; p < OPT_PASS_COUNT; p++) {
		s64 v = h->gain[p];

		PUT("%s \"%s\": %s%ld", p ? "," : "", opt_pass_name(p), v < 0 ? "-" : "", v < 0 ? -v : v);
	}
	PUT(" },\n      \"before\": [");
	for (u32 i = 0; i < g->n_sources; i++) {
		if (i)
			PUT(", ");
		put_guest(g->sources[i].start, g->sources[i].end);
	}
	PUT("],\n      \"after\": [\"%lx\", \"", (u64)g->code);
	put_hex(g->code, (size_t)(g->code_end - g->code));
	PUT("\"] }");
}

/* Those with the most samples; of the others, those made first. */
static void put_regions(void)
{
	static bool written[65536];
	u32 n;
	const struct hot_region *all = hot_regions(&n);

	n = MIN(n, (u32)ARRAY_SIZE(written));
	for (u32 k = 0; k < MIN(n, REGIONS); k++) {
		u32 best = n;

		for (u32 i = 0; i < n; i++)
			if (!written[i] && (best == n || all[i].samples > all[best].samples))
				best = i;
		written[best] = true;
		put_region(&all[best], !k);
	}
}

void report_write(int status)
{
	const struct cache_stats *c = &CACHE->stats;

	out.fd = sys3(__NR_open, options.report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (out.fd < 0) {
		say("%s: error %ld, no report", options.report, -out.fd);
		return;
	}
	PUT("{\n  \"program\": \"%s\",\n  \"status\": %d,\n  \"tier\": %d,\n  \"nanoseconds\": %ld,\n"
	    "  \"blocks\": %ld,\n  \"block_instructions\": %ld,\n  \"code_bytes\": %ld,\n  \"killed\": %ld,\n"
	    "  \"flushes\": %ld,\n  \"exits\": %ld,\n  \"links\": %ld,\n  \"lookups\": %ld,\n"
	    "  \"targets\": %ld,\n  \"system_calls\": %ld,\n  \"signals\": %ld,\n  \"steps\": %ld,\n"
	    "  \"code_writes\": %ld,\n", options.program, (u32)status, options.tier, stats.started, c->translated, c->guest_insns,
	    c->code_bytes, c->killed, c->flushes, stats.exits, stats.links, stats.lookups, stats.targets, stats.syscalls,
	    stats.signals, stats.steps, stats.writes);
	PUT("  \"filled\": %ld,\n  \"kept_used\": %ld,\n  \"kept_refused\": %ld,\n  \"kept_new\": %ld,\n", stats.filled, keep_stats.adopted, keep_stats.refused, keep_stats.captured);
	PUT("  \"samples\": %ld,\n  \"samples_in_regions\": %ld,\n  \"recordings\": %ld,\n  \"regions\": %ld,\n  \"declined\": %ld,\n"
	    "  \"region_instructions\": %ld,\n  \"region_bytes\": %ld,\n  \"hot\": [", hot_stats.samples, hot_stats.inside,
	    hot_stats.recorded, hot_stats.regions, hot_stats.declined, hot_stats.guest_insns, hot_stats.bytes);
	put_regions();
	PUT("\n  ]\n}\n");
	flush();
	sys1(__NR_close, out.fd);
}
