/* SPDX-License-Identifier: MIT */
#include "container/rdt.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define RDT "/sys/fs/resctrl"

/* The value of domain `id` on a line "  L3:0=fffff;1=fffff": hexadecimal for caches, decimal for bandwidth, and the
 * kernel fills with zeros or blanks. */
static const char *domain_value(const char *line, const char *id, size_t n)
{
	const char *p = strchr(line, ':');

	while (p && *p && *p != '\n') {
		p++;
		p += strspn(p, " ");
		if (!strncmp(p, id, n) && p[n] == '=')
			return p + n + 1;
		p += strcspn(p, ";\n");
	}
	return NULL;
}

static bool line_has(const char *line, const char *wanted)
{
	const char *p = strchr(wanted, ':');

	for (p = p ? p + 1 : ""; *p && *p != '\n'; p += *p == ';') {
		size_t n;
		const char *value;

		p += strspn(p, " ");
		n = strcspn(p, "=;\n");
		value = p[n] == '=' ? domain_value(line, p, n) : NULL;
		if (!value || strtoull(value, NULL, 16) != strtoull(p + n + 1, NULL, 16))
			return false;
		p += strcspn(p, ";\n");
	}
	return true;
}

bool rdt_schemata_have(const char *text, const char *wanted)
{
	const char *line;
	size_t n;

	wanted += strspn(wanted, " ");
	n = strcspn(wanted, ":\n");
	for (line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *name = line + strspn(line, " ");

		if (!strncmp(name, wanted, n) && name[n] == ':')
			return line_has(name, wanted);
	}
	return false;
}

static int set_or_compare(int group, bool made, const char *schema, struct err *e)
{
	_cleanup_free_ char *now = NULL;
	int r;

	if (!schema || !*schema)
		return 0;
	r = made ? file_printf_at(group, "schemata", "%s\n", schema) : file_read_at(group, "schemata", 65536, &now, NULL);
	if (r)
		return err_sys(e, -r, "linux.intelRdt: schemata \"%.100s\"", schema);
	for (; now && *schema; schema += strcspn(schema, "\n"), schema += *schema == '\n')
		if (!rdt_schemata_have(now, schema))
			return err_set(e, -EINVAL, "linux.intelRdt: the group that is there does not have \"%.*s\"",
				       (int)MIN(strcspn(schema, "\n"), 100), schema);
	return 0;
}

static int make_monitor(int group, const char *path, const char *id, pid_t pid, struct state *s, struct err *e)
{
	char name[300], tasks[320];
	int r;

	snprintf(name, sizeof name, "mon_groups/%s", id);
	snprintf(tasks, sizeof tasks, "%s/tasks", name);
	if (!mkdirat(group, name, 0755)) {
		if (asprintf(&s->rdt_monitor, "%s/%s", path, name) < 0) {
			s->rdt_monitor = NULL;
			return err_set(e, -ENOMEM, "state: out of memory");
		}
	} else if (errno != EEXIST) {
		return err_sys(e, errno, "linux.intelRdt: make monitoring group %s", id);
	}
	r = file_printf_at(group, tasks, "%d", (int)pid);
	return r ? err_sys(e, -r, "linux.intelRdt: monitoring group %s", id) : 0;
}

int rdt_join(const struct oci_intel_rdt *rdt, const char *id, pid_t pid, struct state *s, struct err *e)
{
	_cleanup_fd_ int base = -1, group = -1;
	bool own, asks, made = false;
	const char *name;
	char path[512];
	size_t i;
	int r;

	if (!rdt)
		return 0;
	own = !rdt->clos_id || !*rdt->clos_id;
	asks = (rdt->l3_cache_schema && *rdt->l3_cache_schema) || (rdt->mem_bw_schema && *rdt->mem_bw_schema) ||
	       rdt->schemata.n;
	name = own ? id : rdt->clos_id;
	snprintf(path, sizeof path, RDT "/%s", name);
	base = open(RDT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0 || faccessat(base, "schemata", F_OK, 0) < 0)
		return err_set(e, -ENOTSUP, "linux.intelRdt: no resource control file system at " RDT);
	if (own && !asks) { /* nothing but monitoring, in the default group */
		name = ".";
		strcpy(path, RDT);
	} else if (asks && !mkdirat(base, name, 0755)) {
		made = true;
		s->rdt = strdup(path);
		if (!s->rdt)
			return err_set(e, -ENOMEM, "state: out of memory");
	} else if (asks && errno != EEXIST) {
		return err_sys(e, errno, "linux.intelRdt: make group %s", name);
	}
	group = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (group < 0)
		return err_sys(e, errno, "linux.intelRdt.closID: group %s", name);
	r = set_or_compare(group, made, rdt->l3_cache_schema, e);
	if (!r)
		r = set_or_compare(group, made, rdt->mem_bw_schema, e);
	for (i = 0; i < rdt->schemata.n && !r; i++)
		r = set_or_compare(group, made, rdt->schemata.v[i], e);
	if (!r && strcmp(name, ".") && (r = file_printf_at(group, "tasks", "%d", (int)pid)))
		r = err_sys(e, -r, "linux.intelRdt: join group %s", name);
	if (!r && (rdt->enable_cmt || rdt->enable_mbm || rdt->enable_monitoring))
		r = make_monitor(group, path, id, pid, s, e);
	return r;
}

int rdt_leave(const struct state *s, struct err *e)
{
	const char *const made[] = { s->rdt_monitor, s->rdt }; /* the kernel removes a group's monitoring groups with it */
	size_t i;

	for (i = 0; i < ARRAY_SIZE(made); i++)
		if (made[i] && rmdir(made[i]) < 0 && errno != ENOENT)
			return err_sys(e, errno, "linux.intelRdt: remove %s", made[i]);
	return 0;
}
