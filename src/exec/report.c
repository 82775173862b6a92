/* SPDX-License-Identifier: MIT
 * What a run did, as JSON, at its end. */
#include "exec/exec.h"
#include "exec/hot.h"

#define O_WRONLY 1
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_CLOEXEC 02000000

void report_write(int status)
{
	char text[2048];
	s64 fd = sys3(__NR_open, options.report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	const struct cache_stats *c = &CACHE->stats;
	size_t n;

	if (fd < 0) {
		say("%s: error %ld, no report", options.report, -fd);
		return;
	}
	n = text_format(text, sizeof text,
			"{\n  \"program\": \"%s\",\n  \"status\": %d,\n  \"tier\": %d,\n  \"nanoseconds\": %ld,\n"
			"  \"blocks\": %ld,\n  \"block_instructions\": %ld,\n  \"code_bytes\": %ld,\n  \"killed\": %ld,\n"
			"  \"flushes\": %ld,\n  \"exits\": %ld,\n  \"links\": %ld,\n  \"lookups\": %ld,\n"
			"  \"targets\": %ld,\n  \"system_calls\": %ld,\n  \"signals\": %ld,\n  \"steps\": %ld,\n"
			"  \"code_writes\": %ld,\n  \"recordings\": %ld,\n  \"regions\": %ld,\n  \"declined\": %ld,\n"
			"  \"region_instructions\": %ld,\n  \"region_bytes\": %ld\n}\n",
			options.program, (u32)status, options.tier, stats.started, c->translated, c->guest_insns, c->code_bytes,
			c->killed, c->flushes, stats.exits, stats.links, stats.lookups, stats.targets, stats.syscalls,
			stats.signals, stats.steps, stats.writes, hot_stats.recorded, hot_stats.regions, hot_stats.declined,
			hot_stats.guest_insns, hot_stats.bytes);
	sys3(__NR_write, fd, text, n);
	sys1(__NR_close, fd);
}
