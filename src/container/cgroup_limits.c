/* SPDX-License-Identifier: MIT
 * linux.resources written to the files of either version of control groups, and read back. */
#include <errno.h>
#include <string.h>

#include "container/cgroup.h"

#define ANY (-1)
const struct oci_device_rule cgroup_device_defaults[] = {
#define RULE(t, ma, mi, acc) \
	{ .allow = true, .type = (char *)t, .major = { ma, true }, .minor = { mi, true }, .access = (char *)acc }
	RULE("c", ANY, ANY, "m"), RULE("b", ANY, ANY, "m"),
	RULE("c", 1, 3, "rwm"), RULE("c", 1, 5, "rwm"), RULE("c", 1, 7, "rwm"),
	RULE("c", 1, 8, "rwm"), RULE("c", 1, 9, "rwm"),
	RULE("c", 5, 0, "rwm"), RULE("c", 5, 2, "rwm"), RULE("c", 136, ANY, "rwm"),
#undef RULE
};
const size_t cgroup_device_defaults_n = ARRAY_SIZE(cgroup_device_defaults);

struct writer {
	struct cgroup *c;
	struct err *e;
	int r; /* first failure */
};

/* Writes one limit; `field` names it in the error.  A missing controller is an error for a root
 * runtime: a limit that was asked for and does not hold is worse than none. */
static void __attribute__((format(printf, 5, 6)))
put(struct writer *w, const char *field, const char *controller, const char *const file[2],
    const char *format, ...)
{
	char value[512];
	bool v2;
	int fd, r;
	va_list ap;

	if (w->r)
		return;
	fd = cgroup_controller(w->c, controller, &v2);
	if (fd < 0) {
		if (!w->c->rootless)
			w->r = err_set(w->e, -ENOTSUP, "linux.resources.%s: no %s controller here",
				       field, controller);
		return;
	}
	if (!file[v2])
		return;
	va_start(ap, format);
	vsnprintf(value, sizeof value, format, ap);
	va_end(ap);
	r = file_write_at(fd, file[v2], value, strlen(value));
	if (r && !(w->c->rootless && (r == -EACCES || r == -EPERM)))
		w->r = err_sys(w->e, -r, "linux.resources.%s: write \"%s\" to %s", field, value,
			       file[v2]);
}
#define FILES(v1, v2) (const char *const[2]){ v1, v2 }

static bool on_v2(struct writer *w, const char *controller)
{
	bool v2 = false;

	return cgroup_controller(w->c, controller, &v2) >= 0 && v2;
}

static void put_max(struct writer *w, const char *field, const char *controller,
		    const char *const file[2], s64 value)
{
	if (value < 0 && on_v2(w, controller))
		put(w, field, controller, file, "max");
	else
		put(w, field, controller, file, "%lld", (long long)value);
}

static void put_swap(struct writer *w, const struct oci_memory *m)
{
	bool v2;
	int fd = cgroup_controller(w->c, "memory", &v2);
	const char *file = v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes";

	if (w->r || fd < 0)
		return;
	/* kernels without swap accounting have no such file; nothing can be swapped uncounted */
	if (faccessat(fd, file, F_OK, 0) < 0)
		return;
	if (!v2)
		put(w, "memory.swap", "memory", FILES(file, file), "%lld", (long long)m->swap.v);
	else if (m->swap.v < 0)
		put(w, "memory.swap", "memory", FILES(file, file), "max");
	else if (!m->limit.set || m->swap.v < m->limit.v)
		w->r = err_set(w->e, -EINVAL, "linux.resources.memory.swap: must be at least "
			       "memory.limit");
	else
		put(w, "memory.swap", "memory", FILES(file, file), "%lld",
		    (long long)(m->swap.v - m->limit.v));
}

static void put_memory(struct writer *w, const struct oci_memory *m)
{
	bool v2, swap_first = false;
	int fd = cgroup_controller(w->c, "memory", &v2);

	if (fd >= 0 && !v2 && m->limit.set && m->swap.set) {
		_cleanup_free_ char *now = NULL;

		/* memsw >= limit must hold after each write */
		if (!file_read_at(fd, "memory.limit_in_bytes", 64, &now, NULL))
			swap_first = m->swap.v < 0 || strtoll(now, NULL, 10) < m->limit.v;
	}
	if (m->check_before_update == 1 && m->limit.set && m->limit.v >= 0 && fd >= 0) {
		_cleanup_free_ char *now = NULL;

		if (!file_read_at(fd, v2 ? "memory.current" : "memory.usage_in_bytes", 64, &now,
				  NULL) && strtoll(now, NULL, 10) > m->limit.v) {
			w->r = err_set(w->e, -EBUSY, "linux.resources.memory.limit: %lld is below "
				       "the current use", (long long)m->limit.v);
			return;
		}
	}
	if (m->swap.set && swap_first)
		put_swap(w, m);
	if (m->limit.set)
		put_max(w, "memory.limit", "memory",
			FILES("memory.limit_in_bytes", "memory.max"), m->limit.v);
	if (m->swap.set && !swap_first)
		put_swap(w, m);
	if (m->reservation.set)
		put_max(w, "memory.reservation", "memory",
			FILES("memory.soft_limit_in_bytes", "memory.low"), m->reservation.v);
	if (m->kernel_tcp.set)
		put(w, "memory.kernelTCP", "memory", FILES("memory.kmem.tcp.limit_in_bytes", NULL),
		    "%lld", (long long)m->kernel_tcp.v);
	if (m->swappiness.set)
		put(w, "memory.swappiness", "memory", FILES("memory.swappiness", NULL), "%llu",
		    (unsigned long long)m->swappiness.v);
	if (m->disable_oom_killer == 1)
		put(w, "memory.disableOOMKiller", "memory", FILES("memory.oom_control", NULL), "1");
}

static void put_cpu(struct writer *w, const struct oci_cpu *c)
{
	bool v2 = on_v2(w, "cpu");

	if (c->idle.set)
		put(w, "cpu.idle", "cpu", FILES("cpu.idle", "cpu.idle"), "%lld",
		    (long long)c->idle.v);
	if (c->shares.set && c->shares.v && v2) {
		u64 s = MIN(MAX(c->shares.v, 2), 262144);

		put(w, "cpu.shares", "cpu", FILES(NULL, "cpu.weight"), "%llu",
		    (unsigned long long)(1 + (s - 2) * 9999 / 262142));
	} else if (c->shares.set && c->shares.v) {
		put(w, "cpu.shares", "cpu", FILES("cpu.shares", NULL), "%llu",
		    (unsigned long long)c->shares.v);
	}
	if (v2 && (c->quota.set || c->period.set)) {
		u64 period = c->period.set && c->period.v ? c->period.v : 100000;

		if (c->quota.set && c->quota.v > 0)
			put(w, "cpu.quota", "cpu", FILES(NULL, "cpu.max"), "%lld %llu",
			    (long long)c->quota.v, (unsigned long long)period);
		else
			put(w, "cpu.period", "cpu", FILES(NULL, "cpu.max"), "max %llu",
			    (unsigned long long)period);
	} else {
		/* the old quota may exceed a new, shorter period's parent: tried in both orders */
		if (c->period.set && c->period.v)
			put(w, "cpu.period", "cpu", FILES("cpu.cfs_period_us", NULL), "%llu",
			    (unsigned long long)c->period.v);
		if (c->quota.set && c->quota.v)
			put(w, "cpu.quota", "cpu", FILES("cpu.cfs_quota_us", NULL), "%lld",
			    (long long)c->quota.v);
	}
	if (c->burst.set)
		put(w, "cpu.burst", "cpu", FILES("cpu.cfs_burst_us", "cpu.max.burst"), "%llu",
		    (unsigned long long)c->burst.v);
	if (c->realtime_period.set && c->realtime_period.v)
		put(w, "cpu.realtimePeriod", "cpu", FILES("cpu.rt_period_us", NULL), "%llu",
		    (unsigned long long)c->realtime_period.v);
	if (c->realtime_runtime.set && c->realtime_runtime.v)
		put(w, "cpu.realtimeRuntime", "cpu", FILES("cpu.rt_runtime_us", NULL), "%lld",
		    (long long)c->realtime_runtime.v);
	if (c->cpus && *c->cpus)
		put(w, "cpu.cpus", "cpuset", FILES("cpuset.cpus", "cpuset.cpus"), "%.500s", c->cpus);
	if (c->mems && *c->mems)
		put(w, "cpu.mems", "cpuset", FILES("cpuset.mems", "cpuset.mems"), "%.500s", c->mems);
}

static const char *io_controller(struct writer *w)
{
	bool v2;

	return cgroup_controller(w->c, "blkio", &v2) >= 0 ? "blkio" : "io";
}

static void put_throttle(struct writer *w, const char *field, const struct oci_throttle_device_list *l,
			 const char *v1, const char *v2_key)
{
	const char *io = io_controller(w);
	size_t i;

	for (i = 0; i < l->n; i++) {
		const struct oci_throttle_device *d = &l->v[i];

		if (!strcmp(io, "blkio"))
			put(w, field, io, FILES(v1, NULL), "%lld:%lld %llu", (long long)d->major.v,
			    (long long)d->minor.v, (unsigned long long)d->rate.v);
		else
			put(w, field, io, FILES(NULL, "io.max"), "%lld:%lld %s=%llu",
			    (long long)d->major.v, (long long)d->minor.v, v2_key,
			    (unsigned long long)d->rate.v);
	}
}

static bool has_file(struct writer *w, const char *controller, const char *file)
{
	bool v2;
	int fd = cgroup_controller(w->c, controller, &v2);

	return fd >= 0 && !faccessat(fd, file, F_OK, 0);
}

static void put_block_io(struct writer *w, const struct oci_block_io *b)
{
	const char *io = io_controller(w);
	bool bfq = has_file(w, io, "blkio.bfq.weight");
	const char *weight = bfq ? "blkio.bfq.weight" : "blkio.weight";
	const char *device = bfq ? "blkio.bfq.weight_device" : "blkio.weight_device";
	size_t i;

	if (b->weight.set && b->weight.v) {
		if (!strcmp(io, "io") && !has_file(w, io, "io.bfq.weight"))
			put(w, "blockIO.weight", io, FILES(NULL, "io.weight"), "default %llu",
			    (unsigned long long)(1 + (MAX(b->weight.v, 10) - 10) * 9999 / 990));
		else
			put(w, "blockIO.weight", io, FILES(weight, "io.bfq.weight"), "%llu",
			    (unsigned long long)b->weight.v);
	}
	if (b->leaf_weight.set && b->leaf_weight.v)
		put(w, "blockIO.leafWeight", io, FILES("blkio.leaf_weight", NULL), "%llu",
		    (unsigned long long)b->leaf_weight.v);
	for (i = 0; i < b->weight_device.n; i++) {
		const struct oci_weight_device *d = &b->weight_device.v[i];

		if (d->weight.set)
			put(w, "blockIO.weightDevice", io, FILES(device, "io.bfq.weight"),
			    "%lld:%lld %llu", (long long)d->major.v, (long long)d->minor.v,
			    (unsigned long long)d->weight.v);
		if (d->leaf_weight.set)
			put(w, "blockIO.weightDevice", io, FILES("blkio.leaf_weight_device", NULL),
			    "%lld:%lld %llu", (long long)d->major.v, (long long)d->minor.v,
			    (unsigned long long)d->leaf_weight.v);
	}
	put_throttle(w, "blockIO.throttleReadBpsDevice", &b->read_bps,
		     "blkio.throttle.read_bps_device", "rbps");
	put_throttle(w, "blockIO.throttleWriteBpsDevice", &b->write_bps,
		     "blkio.throttle.write_bps_device", "wbps");
	put_throttle(w, "blockIO.throttleReadIOPSDevice", &b->read_iops,
		     "blkio.throttle.read_iops_device", "riops");
	put_throttle(w, "blockIO.throttleWriteIOPSDevice", &b->write_iops,
		     "blkio.throttle.write_iops_device", "wiops");
}

static void put_small(struct writer *w, const struct oci_resources *r)
{
	char v1[96], v2[96];
	size_t i;

	for (i = 0; i < r->hugepage_limits.n; i++) {
		const struct oci_hugepage_limit *h = &r->hugepage_limits.v[i];

		snprintf(v1, sizeof v1, "hugetlb.%s.limit_in_bytes", h->page_size);
		snprintf(v2, sizeof v2, "hugetlb.%s.max", h->page_size);
		put(w, "hugepageLimits", "hugetlb", FILES(v1, v2), "%llu",
		    (unsigned long long)h->limit.v);
		snprintf(v1, sizeof v1, "hugetlb.%s.rsvd.limit_in_bytes", h->page_size);
		snprintf(v2, sizeof v2, "hugetlb.%s.rsvd.max", h->page_size);
		if (has_file(w, "hugetlb", v1) || has_file(w, "hugetlb", v2))
			put(w, "hugepageLimits", "hugetlb", FILES(v1, v2), "%llu",
			    (unsigned long long)h->limit.v);
	}
	if (r->network && r->network->class_id.set)
		put(w, "network.classID", "net_cls", FILES("net_cls.classid", NULL), "%llu",
		    (unsigned long long)r->network->class_id.v);
	for (i = 0; r->network && i < r->network->priorities.n; i++)
		put(w, "network.priorities", "net_prio", FILES("net_prio.ifpriomap", NULL),
		    "%s %llu", r->network->priorities.v[i].name,
		    (unsigned long long)r->network->priorities.v[i].priority.v);
	for (i = 0; i < r->rdma.n; i++) {
		const struct oci_rdma *d = &r->rdma.v[i];

		if (d->hca_handles.set)
			put(w, "rdma", "rdma", FILES("rdma.max", "rdma.max"), "%s hca_handle=%llu",
			    d->key, (unsigned long long)d->hca_handles.v);
		if (d->hca_objects.set)
			put(w, "rdma", "rdma", FILES("rdma.max", "rdma.max"), "%s hca_object=%llu",
			    d->key, (unsigned long long)d->hca_objects.v);
	}
}

static void put_unified(struct writer *w, const struct oci_resources *r)
{
	size_t i, k;

	for (i = 0; i < r->unified.n && !w->r; i++) {
		const struct oci_pair *u = &r->unified.v[i];
		int fd = -1, status;

		for (k = 0; k < w->c->n; k++)
			if (w->c->part[k].v2)
				fd = cgroup_part_fd(&w->c->part[k]);
		if (!strncmp(u->key, "cgroup.", 7) && strcmp(u->key, "cgroup.max.depth") &&
		    strcmp(u->key, "cgroup.max.descendants")) {
			w->r = err_set(w->e, -EINVAL, "linux.resources.unified.%s: belongs to the "
				       "runtime", u->key);
			return;
		}
		if (fd < 0) {
			w->r = err_set(w->e, -ENOTSUP, "linux.resources.unified.%s: cgroup v2 is "
				       "not mounted", u->key);
			return;
		}
		status = file_write_at(fd, u->key, u->value, strlen(u->value));
		if (status)
			w->r = err_sys(w->e, -status, "linux.resources.unified.%s", u->key);
	}
}

static int format_rule(const struct oci_device_rule *d, char *out, size_t size)
{
	char major[24] = "*", minor[24] = "*";
	char type = d->type && *d->type ? d->type[0] : 'a';
	const char *access = d->access && *d->access ? d->access : "rwm";

	if (!strchr("abc", type) || access[strspn(access, "rwm")])
		return -EINVAL;
	if (type == 'a')
		return snprintf(out, size, "a");
	if (d->major.set && d->major.v >= 0)
		snprintf(major, sizeof major, "%lld", (long long)d->major.v);
	if (d->minor.set && d->minor.v >= 0)
		snprintf(minor, sizeof minor, "%lld", (long long)d->minor.v);
	return snprintf(out, size, "%c %s:%s %s", type, major, minor, access);
}

static int put_devices_v1(int fd, const struct oci_device_rule *rules, size_t n, struct err *e)
{
	_cleanup_fd_ int allow = openat(fd, "devices.allow", O_WRONLY | O_CLOEXEC);
	_cleanup_fd_ int deny = openat(fd, "devices.deny", O_WRONLY | O_CLOEXEC);
	char line[96], last[96] = "";
	size_t i;

	if (allow < 0 || deny < 0)
		return err_sys(e, errno, "linux.resources.devices: open the device rules");
	for (i = 0; i < n; i++) {
		int r = format_rule(&rules[i], line + 1, sizeof line - 1);

		if (r < 0)
			return err_set(e, -EINVAL, "linux.resources.devices[%zu]: type must be a, "
				       "b or c, access of r, w and m", i - 1);
		line[0] = rules[i].allow ? '+' : '-';
		if (!strcmp(line, last)) /* most configurations begin with our own first rule */
			continue;
		memcpy(last, line, sizeof last);
		if (write(rules[i].allow ? allow : deny, line + 1, (size_t)r) < 0)
			return err_sys(e, errno, "linux.resources.devices[%zu]: %s \"%s\"", i - 1,
				       rules[i].allow ? "allow" : "deny", line + 1);
	}
	return 0;
}

static int put_devices(struct cgroup *c, const struct oci_resources *r, struct err *e)
{
	size_t own = r ? r->devices.n : 0, n = 0, i;
	_cleanup_free_ struct oci_device_rule *all = NULL;
	bool v2;
	int fd = cgroup_controller(c, "devices", &v2), status;

	all = calloc(own + cgroup_device_defaults_n + 1, sizeof *all);
	if (!all)
		return err_set(e, -ENOMEM, "device rules: out of memory");
	all[n++] = (struct oci_device_rule){ .allow = false, .type = (char *)"a" };
	for (i = 0; i < own; i++)
		all[n++] = r->devices.v[i];
	for (i = 0; i < cgroup_device_defaults_n; i++)
		all[n++] = cgroup_device_defaults[i];
	/* a container that may use every device needs neither */
	if (fd >= 0) {
		status = put_devices_v1(fd, all, n, e);
	} else {
		fd = -1;
		for (i = 0; i < c->n; i++)
			if (c->part[i].v2)
				fd = cgroup_part_fd(&c->part[i]);
		status = fd < 0 ? 0 : cgroup_device_attach(fd, all, n, e);
	}
	if (c->rootless && status && e) {
		memset(e, 0, sizeof *e);
		status = 0;
	}
	return status;
}

int cgroup_apply(struct cgroup *c, const struct oci_resources *r, bool devices, struct err *e)
{
	struct writer w = { c, e, 0 };

	if (devices)
		w.r = put_devices(c, r, e);
	if (!r || w.r)
		return w.r;
	if (r->memory)
		put_memory(&w, r->memory);
	if (r->cpu)
		put_cpu(&w, r->cpu);
	if (r->pids && r->pids->limit.set && r->pids->limit.v) {
		if (r->pids->limit.v > 0)
			put(&w, "pids.limit", "pids", FILES("pids.max", "pids.max"), "%lld",
			    (long long)r->pids->limit.v);
		else
			put(&w, "pids.limit", "pids", FILES("pids.max", "pids.max"), "max");
	}
	if (r->block_io)
		put_block_io(&w, r->block_io);
	put_small(&w, r);
	put_unified(&w, r);
	return w.r;
}

static u64 read_number(int fd, const char *file)
{
	_cleanup_free_ char *text = NULL;

	if (fd < 0 || file_read_at(fd, file, 256, &text, NULL))
		return 0;
	return !strncmp(text, "max", 3) ? UINT64_MAX : strtoull(text, NULL, 10);
}

/* The number after `key ` at the start of a line of a flat-keyed file. */
static u64 read_key(int fd, const char *file, const char *key)
{
	_cleanup_free_ char *text = NULL;
	size_t n = strlen(key);
	const char *line;

	if (fd < 0 || file_read_at(fd, file, 65536, &text, NULL))
		return 0;
	for (line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (!strncmp(line, key, n) && line[n] == ' ')
			return strtoull(line + n, NULL, 10);
	return 0;
}

void cgroup_stats(const struct cgroup *c, struct text *t)
{
	bool v2 = false;
	int fd = cgroup_controller(c, "cpuacct", &v2);
	u64 total, user, kernel;

	if (fd < 0)
		fd = cgroup_controller(c, "cpu", &v2);
	total = v2 ? 1000 * read_key(fd, "cpu.stat", "usage_usec") : read_number(fd, "cpuacct.usage");
	user = v2 ? 1000 * read_key(fd, "cpu.stat", "user_usec") :
	       read_number(fd, "cpuacct.usage_user");
	kernel = v2 ? 1000 * read_key(fd, "cpu.stat", "system_usec") :
		 read_number(fd, "cpuacct.usage_sys");
	text_add(t, "{\"cpu\":{\"usage\":{\"total\":%llu,\"kernel\":%llu,\"user\":%llu},"
		 "\"throttling\":{", (unsigned long long)total, (unsigned long long)kernel,
		 (unsigned long long)user);
	fd = cgroup_controller(c, "cpu", &v2);
	text_add(t, "\"periods\":%llu,\"throttledPeriods\":%llu,\"throttledTime\":%llu}},",
		 (unsigned long long)read_key(fd, "cpu.stat", "nr_periods"),
		 (unsigned long long)read_key(fd, "cpu.stat", "nr_throttled"),
		 (unsigned long long)(v2 ? 1000 * read_key(fd, "cpu.stat", "throttled_usec") :
				      read_key(fd, "cpu.stat", "throttled_time")));
	fd = cgroup_controller(c, "memory", &v2);
	text_add(t, "\"memory\":{\"cache\":%llu,\"usage\":{\"limit\":%llu,\"usage\":%llu,"
		 "\"max\":%llu,\"failcnt\":%llu}},",
		 (unsigned long long)read_key(fd, "memory.stat", v2 ? "file" : "cache"),
		 (unsigned long long)read_number(fd, v2 ? "memory.max" : "memory.limit_in_bytes"),
		 (unsigned long long)read_number(fd, v2 ? "memory.current" :
						 "memory.usage_in_bytes"),
		 (unsigned long long)read_number(fd, v2 ? "memory.peak" :
						 "memory.max_usage_in_bytes"),
		 (unsigned long long)(v2 ? read_key(fd, "memory.events", "max") :
				      read_number(fd, "memory.failcnt")));
	fd = cgroup_controller(c, "pids", &v2);
	text_add(t, "\"pids\":{\"current\":%llu,\"limit\":%llu},\"blkio\":{},\"hugetlb\":{},"
		 "\"intel_rdt\":{}}", (unsigned long long)read_number(fd, "pids.current"),
		 (unsigned long long)(read_number(fd, "pids.max") == UINT64_MAX ? 0 :
				      read_number(fd, "pids.max")));
}
