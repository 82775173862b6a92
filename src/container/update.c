/* SPDX-License-Identifier: MIT
 * update: new limits for a container that exists. */
#include <errno.h>
#include <string.h>

#include "container/command.h"

struct limits {
	struct oci_resources r;
	struct oci_memory memory;
	struct oci_cpu cpu;
	struct oci_pids pids;
	struct oci_block_io block_io;
};

static int read_signed(struct command_line *c, const char *name, struct oci_int *out, bool size,
		       struct err *e)
{
	const char *s = option(c, name);
	u64 v = 0;
	bool minus;

	if (!s)
		return 0;
	minus = *s == '-';
	if (size ? parse_size(s + minus, &v) : parse_u64(s + minus, INT64_MAX, &v))
		return err_set(e, -EINVAL, "option --%s: \"%.64s\" is not a number", name, s);
	*out = (struct oci_int){ minus ? -(s64)v : (s64)v, true };
	return 0;
}

static int read_unsigned(struct command_line *c, const char *name, struct oci_uint *out,
			 struct err *e)
{
	u64 v = 0;
	int r = option_u64(c, name, INT64_MAX, &v, e);

	if (!r && option(c, name))
		*out = (struct oci_uint){ v, true };
	return r;
}

static int read_limits(struct command_line *c, struct limits *l, struct err *e)
{
	int r = 0;

	memset(l, 0, sizeof *l);
	l->memory.disable_oom_killer = l->memory.use_hierarchy = -1;
	l->memory.check_before_update = -1;
	l->r.memory = &l->memory;
	l->r.cpu = &l->cpu;
	l->r.pids = &l->pids;
	l->r.block_io = &l->block_io;
	r = r ? r : read_signed(c, "memory", &l->memory.limit, true, e);
	r = r ? r : read_signed(c, "memory-reservation", &l->memory.reservation, true, e);
	r = r ? r : read_signed(c, "memory-swap", &l->memory.swap, true, e);
	r = r ? r : read_signed(c, "cpu-quota", &l->cpu.quota, false, e);
	r = r ? r : read_signed(c, "cpu-rt-runtime", &l->cpu.realtime_runtime, false, e);
	r = r ? r : read_unsigned(c, "cpu-period", &l->cpu.period, e);
	r = r ? r : read_unsigned(c, "cpu-burst", &l->cpu.burst, e);
	r = r ? r : read_unsigned(c, "cpu-share", &l->cpu.shares, e);
	r = r ? r : read_unsigned(c, "cpu-rt-period", &l->cpu.realtime_period, e);
	r = r ? r : read_signed(c, "cpu-idle", &l->cpu.idle, false, e);
	r = r ? r : read_signed(c, "pids-limit", &l->pids.limit, false, e);
	r = r ? r : read_unsigned(c, "blkio-weight", &l->block_io.weight, e);
	l->cpu.cpus = (char *)option(c, "cpuset-cpus");
	l->cpu.mems = (char *)option(c, "cpuset-mems");
	return r;
}

/* The part of config.json that remembers the limits is not rewritten: the cgroups are the truth. */
static int apply_file(struct container *k, const char *file, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct spec_document *owner = NULL;
	struct oci_resources *res;
	size_t n;
	int r = strcmp(file, "-") ? file_read_at(AT_FDCWD, file, SPEC_SIZE_MAX, &text, &n) :
		fd_read_all(0, SPEC_SIZE_MAX, &text, &n);

	if (r)
		return err_sys(e, -r, "--resources: read %s", file);
	r = spec_parse_resources(text, n, &owner, &res, e);
	if (!r && k->state.scope)
		r = scope_update(k->state.scope, k->state.scope_user, res, e);
	if (!r)
		r = cgroup_apply(&k->cgroup, res, res->devices.n > 0, e);
	spec_free(owner);
	return r;
}

static int update_rdt(struct command_line *c, struct container *k, struct err *e)
{
	static const char *const names[] = { "l3-cache-schema", "mem-bw-schema" };
	size_t i;
	int r = 0;

	for (i = 0; i < ARRAY_SIZE(names) && !r; i++) {
		const char *value = option(c, names[i]);
		char path[4096];

		if (!value)
			continue;
		if (!k->state.rdt)
			return err_set(e, -ENOTSUP, "option --%s: the container has no resource "
				       "control group", names[i]);
		snprintf(path, sizeof path, "%s/schemata", k->state.rdt);
		r = file_printf_at(AT_FDCWD, path, "%s\n", value);
		if (r)
			return err_sys(e, -r, "option --%s", names[i]);
	}
	return r;
}

static int run_update(struct command_line *c, struct err *e)
{
	struct container k;
	struct limits l;
	int r = read_limits(c, &l, e);

	if (!r)
		r = container_open(&k, c->global, c->argv[0], true, e);
	if (r)
		return r;
	if (k.status == STATUS_STOPPED)
		r = err_set(e, -EINVAL, "container %s is stopped", c->argv[0]);
	else if (option(c, "resources"))
		r = apply_file(&k, option(c, "resources"), e);
	else if (!k.state.scope || !(r = scope_update(k.state.scope, k.state.scope_user, &l.r, e)))
		r = cgroup_apply(&k.cgroup, &l.r, false, e);
	if (!r)
		r = update_rdt(c, &k, e);
	container_close(&k);
	return r;
}

const struct command oci_command_update = {
	.name = "update", .operands = "ID", .help = "change a container's limits",
	.options = (const struct option_row[]){
		{ "resources", 'r', "FILE", "linux.resources as JSON, - for stdin", false },
		{ "blkio-weight", 0, "N", "weight of block I/O", false },
		{ "cpu-period", 0, "USEC", "length of a scheduling period", false },
		{ "cpu-quota", 0, "USEC", "run time in a period", false },
		{ "cpu-burst", 0, "USEC", "run time that may be saved up", false },
		{ "cpu-share", 0, "N", "relative weight", false },
		{ "cpu-rt-period", 0, "USEC", "realtime period", false },
		{ "cpu-rt-runtime", 0, "USEC", "realtime run time", false },
		{ "cpu-idle", 0, "0|1", "run only when nothing else does", false },
		{ "cpuset-cpus", 0, "LIST", "processors", false },
		{ "cpuset-mems", 0, "LIST", "memory nodes", false },
		{ "memory", 'm', "BYTES", "memory", false },
		{ "memory-reservation", 0, "BYTES", "memory that is kept longest", false },
		{ "memory-swap", 0, "BYTES", "memory and swap together, -1 for no limit", false },
		{ "pids-limit", 0, "N", "number of processes", false },
		{ "l3-cache-schema", 0, "TEXT", "cache allocation", false },
		{ "mem-bw-schema", 0, "TEXT", "memory bandwidth", false },
		{ 0 } },
	.min = 1, .max = 1, .run = run_update,
};
