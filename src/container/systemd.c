/* SPDX-License-Identifier: MIT */
#include "container/systemd.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "container/dbus.h"

static const char manager[] = "org.freedesktop.systemd1", object[] = "/org/freedesktop/systemd1",
	interface[] = "org.freedesktop.systemd1.Manager";

static bool unit_name_good(const char *s)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";

	return *s && strspn(s, ok) == strlen(s);
}

/* "a-b.slice" lies in "a.slice"; "-.slice" is the top. */
static int slice_path(const char *slice, char *out, size_t size)
{
	size_t n = strlen(slice), at = 0, i;

	if (n <= 6 || strcmp(slice + n - 6, ".slice"))
		return -EINVAL;
	out[0] = 0;
	if (!strcmp(slice, "-.slice"))
		return 0;
	n -= 6;
	for (i = 0; i <= n; i++) {
		if (i < n && slice[i] != '-')
			continue;
		if (!i || slice[i - 1] == '-') /* an empty part */
			return -EINVAL;
		at += (size_t)snprintf(out + at, size - at, "/%.*s.slice", (int)i, slice);
		if (at >= size)
			return -ENAMETOOLONG;
	}
	return 0;
}

int scope_plan(struct scope *s, const char *cgroups_path, const char *id, bool rootless, struct err *e)
{
	char text[512], slices[1024], *part[3] = { NULL }, *rest = text;
	int i;

	*s = (struct scope){ .user = rootless };
	if (cgroups_path && *cgroups_path) {
		if (snprintf(text, sizeof text, "%s", cgroups_path) >= (int)sizeof text)
			return err_set(e, -ENAMETOOLONG, "linux.cgroupsPath: is too long");
		for (i = 0; i < 3; i++)
			part[i] = strsep(&rest, ":");
		if (!part[2] || rest)
			return err_set(e, -EINVAL, "linux.cgroupsPath: \"%.200s\": with --systemd-cgroup it must be "
				       "SLICE:PREFIX:NAME", cgroups_path);
	} else {
		part[0] = (char *)"";
		part[1] = (char *)"penumbra";
		part[2] = (char *)id;
	}
	snprintf(s->slice, sizeof s->slice, "%s", *part[0] ? part[0] : rootless ? "user.slice" : "system.slice");
	if (!unit_name_good(s->slice) || slice_path(s->slice, slices, sizeof slices))
		return err_set(e, -EINVAL, "linux.cgroupsPath: \"%.200s\" is no slice", s->slice);
	if (snprintf(s->unit, sizeof s->unit, "%s%s%s.scope", part[1], *part[1] ? "-" : "", part[2]) >= (int)sizeof s->unit ||
	    !*part[2] || !unit_name_good(s->unit))
		return err_set(e, -EINVAL, "linux.cgroupsPath: \"%.200s\" is no unit's name", s->unit);
	snprintf(s->path, sizeof s->path, "%s/%s", slices, s->unit);
	return 0;
}

static int connect_manager(struct dbus *d, bool user, struct err *e)
{
	static const char *const system[] = { "/run/systemd/private", "/run/dbus/system_bus_socket" };
	static const char *const own[] = { "systemd/private", "bus" };
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char path[4096];
	int i, r = -ENOENT;

	for (i = 0; i < 2 && r; i++) {
		if (user && !runtime)
			return err_set(e, -ENOENT, "systemd: XDG_RUNTIME_DIR is not set");
		snprintf(path, sizeof path, "%s%s%s", user ? runtime : "", user ? "/" : "", user ? own[i] : system[i]);
		r = dbus_connect(d, path, i == 1, e);
		if (e->code)
			return e->code;
	}
	return r ? err_sys(e, -r, "--systemd-cgroup: connect to systemd at %s", path) : 0;
}

/* Waits for the reply to the last call.  *removed notes that a job of `unit` has ended on the way. */
static int wait_reply(struct dbus *d, const char *unit, char result[32], struct err *e)
{
	struct dbus_message m;
	u32 serial = d->serial;
	int r;

	for (;;) {
		size_t at = 4;
		const char *name;
		bool ours;

		r = dbus_receive(d, &m, e);
		if (r)
			return r;
		ours = (m.kind == DBUS_RETURN || m.kind == DBUS_ERROR) && m.reply_to == serial;
		if (ours && m.kind == DBUS_ERROR) {
			at = 0;
			name = dbus_get_string(&m, &at);
			r = err_set(e, strstr(m.error, "NoSuchUnit") ? -ENOENT : strstr(m.error, "UnitExists") ? -EEXIST :
				    -EREMOTEIO, "systemd: %s", name ? name : m.error);
		} else if (m.kind == DBUS_SIGNAL && unit && !strcmp(m.member, "JobRemoved")) {
			dbus_get_string(&m, &at); /* after the number: the job's path, the unit, the result */
			name = dbus_get_string(&m, &at);
			if (name && !strcmp(name, unit)) {
				name = dbus_get_string(&m, &at);
				snprintf(result, 32, "%s", name ? name : "");
			}
		}
		dbus_message_free(&m);
		if (ours)
			return r;
	}
}

/* Waits until a job of `unit` has ended. */
static int wait_job(struct dbus *d, const char *unit, char result[32], struct err *e)
{
	d->serial = 0; /* no reply has this number: only the signal counts */
	while (!*result) {
		struct dbus_message m;
		size_t at = 4;
		const char *name;
		int r = dbus_receive(d, &m, e);

		if (r)
			return r;
		if (m.kind == DBUS_SIGNAL && !strcmp(m.member, "JobRemoved")) {
			dbus_get_string(&m, &at);
			name = dbus_get_string(&m, &at);
			if (name && !strcmp(name, unit)) {
				name = dbus_get_string(&m, &at);
				snprintf(result, 32, "%s", name ? name : "?");
			}
		}
		dbus_message_free(&m);
	}
	return strcmp(result, "done") ? err_set(e, -EREMOTEIO, "systemd: unit %s: the job's result is %s", unit, result) : 0;
}

static int subscribe(struct dbus *d, struct err *e)
{
	struct dbus_body match = { .signature = "s" };
	char none[32];
	int r;

	dbus_put_string(&match, "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'");
	r = !d->bus ? 0 : dbus_send(d, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch",
				    &match, e);
	dbus_body_free(&match);
	if (!r)
		r = dbus_send(d, manager, object, interface, "Subscribe", NULL, e);
	return r ? r : wait_reply(d, NULL, none, e);
}

static void put_text(struct dbus_body *b, const char *name, const char *value)
{
	dbus_put_property(b, name, "s");
	dbus_put_string(b, value);
}

static void put_flag(struct dbus_body *b, const char *name, bool value)
{
	dbus_put_property(b, name, "b");
	dbus_put_u32(b, value);
}

static void put_number(struct dbus_body *b, const char *name, u64 value)
{
	dbus_put_property(b, name, "t");
	dbus_put_u64(b, value);
}

/* -1 is "no limit" in config.json, all ones in systemd. */
static void put_limit(struct dbus_body *b, const char *name, s64 value)
{
	put_number(b, name, value < 0 ? UINT64_MAX : (u64)value);
}

static void put_limits(struct dbus_body *b, const struct oci_resources *r)
{
	const struct oci_memory *m = r ? r->memory : NULL;
	const struct oci_cpu *c = r ? r->cpu : NULL;

	if (m && m->limit.set)
		put_limit(b, "MemoryMax", m->limit.v);
	if (m && m->swap.set && m->limit.set)
		put_limit(b, "MemorySwapMax", m->swap.v < 0 ? -1 : MAX(m->swap.v - m->limit.v, 0));
	if (m && m->reservation.set)
		put_limit(b, "MemoryLow", m->reservation.v);
	if (c && c->shares.set && c->shares.v)
		put_number(b, "CPUWeight", 1 + (MIN(MAX(c->shares.v, 2), 262144) - 2) * 9999 / 262142);
	if (c && c->quota.set) {
		u64 period = c->period.set && c->period.v ? c->period.v : 100000;

		put_number(b, "CPUQuotaPerSecUSec", c->quota.v > 0 ? (u64)c->quota.v * 1000000 / period : UINT64_MAX);
		put_number(b, "CPUQuotaPeriodUSec", period);
	}
	if (r && r->pids && r->pids->limit.set && r->pids->limit.v)
		put_limit(b, "TasksMax", r->pids->limit.v);
	if (r && r->block_io && r->block_io->weight.set && r->block_io->weight.v)
		put_number(b, "IOWeight", 1 + (MAX(r->block_io->weight.v, 10) - 10) * 9999 / 990);
}

/* The first process of the scope, which must not be empty; it ends with us. */
static pid_t make_holder(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	close_range(0, ~0u, 0);
	while (getppid() == parent)
		pause();
	_exit(0);
}

int scope_start(struct scope *s, const char *id, const struct oci_resources *r, struct err *e)
{
	struct dbus_body b = { .signature = "ssa(sv)a(sa(sv))" };
	char description[300], result[32] = "";
	struct dbus d = { .fd = -1 };
	size_t list, pids;
	int status = connect_manager(&d, s->user, e);

	if (status)
		return status;
	s->holder = make_holder();
	if (s->holder < 0)
		status = err_sys(e, errno, "systemd: fork");
	snprintf(description, sizeof description, "container %.255s", id);
	dbus_put_string(&b, s->unit);
	dbus_put_string(&b, "fail");
	list = dbus_begin_array(&b, 8);
	put_text(&b, "Description", description);
	put_text(&b, "Slice", s->slice);
	put_text(&b, "CollectMode", "inactive-or-failed");
	put_flag(&b, "Delegate", true);
	put_flag(&b, "DefaultDependencies", false);
	dbus_put_property(&b, "PIDs", "au");
	pids = dbus_begin_array(&b, 4);
	dbus_put_u32(&b, (u32)s->holder);
	dbus_end_array(&b, pids, 4);
	put_limits(&b, r);
	dbus_end_array(&b, list, 8);
	dbus_end_array(&b, dbus_begin_array(&b, 8), 8);
	if (!status)
		status = subscribe(&d, e);
	if (!status)
		status = dbus_send(&d, manager, object, interface, "StartTransientUnit", &b, e);
	if (!status)
		status = wait_reply(&d, s->unit, result, e);
	s->foreign = status == -EEXIST;
	if (!status)
		status = wait_job(&d, s->unit, result, e);
	dbus_body_free(&b);
	dbus_close(&d);
	if (status)
		scope_let_go(s);
	return status ? err_prefix(e, "--systemd-cgroup: start %s", s->unit) : 0;
}

void scope_let_go(struct scope *s)
{
	if (s->holder <= 0)
		return;
	kill(s->holder, SIGKILL);
	while (waitpid(s->holder, NULL, 0) < 0 && errno == EINTR)
		;
	s->holder = 0;
}

int scope_update(const char *unit, bool user, const struct oci_resources *r, struct err *e)
{
	struct dbus_body b = { .signature = "sba(sv)" };
	struct dbus d = { .fd = -1 };
	char none[32];
	size_t list;
	int status = connect_manager(&d, user, e);

	dbus_put_string(&b, unit);
	dbus_put_u32(&b, true); /* until the unit ends */
	list = dbus_begin_array(&b, 8);
	put_limits(&b, r);
	dbus_end_array(&b, list, 8);
	if (!status)
		status = dbus_send(&d, manager, object, interface, "SetUnitProperties", &b, e);
	if (!status)
		status = wait_reply(&d, NULL, none, e);
	dbus_body_free(&b);
	dbus_close(&d);
	return status ? err_prefix(e, "--systemd-cgroup: change %s", unit) : 0;
}

int scope_stop(const char *unit, bool user, struct err *e)
{
	struct dbus_body b = { .signature = "ss" };
	struct dbus d = { .fd = -1 };
	struct err own = { 0 };
	char result[32] = "";
	int status = connect_manager(&d, user, &own);

	dbus_put_string(&b, unit);
	dbus_put_string(&b, "replace");
	if (!status)
		status = subscribe(&d, &own);
	if (!status)
		status = dbus_send(&d, manager, object, interface, "StopUnit", &b, &own);
	if (!status)
		status = wait_reply(&d, unit, result, &own);
	if (!status)
		status = wait_job(&d, unit, result, &own);
	dbus_body_free(&b);
	dbus_close(&d);
	return status && status != -ENOENT ? err_set(e, status, "stop %s: %s", unit, own.text) : 0;
}
