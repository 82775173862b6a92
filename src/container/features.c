/* SPDX-License-Identifier: MIT
 * features and spec: what the runtime can do, from the tables that make it do so; and a
 * configuration to start from. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "container/command.h"
#include "container/mounts.h"

static void print_words(const char *name, const struct oci_word *w, const char *indent, bool last)
{
	bool first = true;

	printf("%s\"%s\": [", indent, name);
	for (; w->word; w++) {
		if (!*w->word)
			continue;
		printf("%s\n%s  \"%s\"", first ? "" : ",", indent, w->word);
		first = false;
	}
	printf("\n%s]%s\n", indent, last ? "" : ",");
}

struct hooks_visit {
	bool first;
};

static void visit_hook(const struct spec_row *row, void *arg)
{
	struct hooks_visit *v = arg;

	if (strcmp(row->object, "hooks"))
		return;
	printf("%s\n    \"%s\"", v->first ? "" : ",", row->field);
	v->first = false;
}

static int run_features(struct command_line *c, struct err *e)
{
	struct hooks_visit hooks = { true };
	/* architectures that this kernel cannot enter are accepted but filter nothing */
	static const struct oci_word archs[] = {
		{ "SCMP_ARCH_X32", 0 }, { "SCMP_ARCH_X86", 0 }, { "SCMP_ARCH_X86_64", 0 }, { 0 } };
	size_t i;

	(void)c;
	(void)e;
	printf("{\n  \"ociVersionMin\": \"1.0.0\",\n  \"ociVersionMax\": \"1.2.1\",\n  \"hooks\": [");
	spec_each_row(visit_hook, &hooks);
	printf("\n  ],\n  \"mountOptions\": [");
	for (i = 0; mount_option_names[i]; i++)
		printf("%s\n    \"%s\"", i ? "," : "", mount_option_names[i]);
	printf("\n  ],\n  \"linux\": {\n");
	print_words("namespaces", oci_enum_ns, "    ", false);
	print_words("capabilities", oci_enum_capability, "    ", false);
	printf("    \"cgroup\": {\n      \"v1\": true,\n      \"v2\": true,\n"
	       "      \"systemd\": true,\n      \"systemdUser\": true,\n      \"rdma\": true\n"
	       "    },\n    \"seccomp\": {\n      \"enabled\": true,\n");
	print_words("actions", oci_enum_seccomp_action, "      ", false);
	print_words("operators", oci_enum_seccomp_op, "      ", false);
	print_words("archs", archs, "      ", false);
	print_words("knownFlags", oci_enum_seccomp_flag, "      ", false);
	print_words("supportedFlags", oci_enum_seccomp_flag, "      ", true);
	printf("    },\n    \"apparmor\": {\n      \"enabled\": true\n    },\n"
	       "    \"selinux\": {\n      \"enabled\": false\n    },\n"
	       "    \"intelRdt\": {\n      \"enabled\": true\n    },\n"
	       "    \"mountExtensions\": {\n      \"idmap\": {\n        \"enabled\": true\n      }\n"
	       "    }\n  },\n  \"annotations\": {\n"
	       "    \"org.penumbra.hardened\": \"true\"\n  },\n"
	       "  \"potentiallyUnsafeConfigAnnotations\": []\n}\n");
	return 0;
}

const struct command oci_command_features = {
	.name = "features", .operands = "", .help = "print what the runtime can do, as JSON",
	.options = (const struct option_row[]){ { 0 } }, .min = 0, .max = 0, .run = run_features,
};

static const char *const default_caps[] = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE" };
const char *const default_masked_paths[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
	"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
	"/proc/scsi", "/sys/devices/virtual/powercap", "/sys/firmware", NULL,
};
const char *const default_readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};

static void add_list(struct text *t, const char *name, const char *const *v, size_t n,
		     const char *indent)
{
	size_t i;

	text_add(t, "%s\"%s\": [", indent, name);
	for (i = 0; n ? i < n : v[i] != NULL; i++)
		text_add(t, "%s\n%s\t\"%s\"", i ? "," : "", indent, v[i]);
	text_add(t, "\n%s]", indent);
}

static void add_caps(struct text *t)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sets); i++) {
		add_list(t, sets[i], default_caps, ARRAY_SIZE(default_caps), "\t\t\t");
		text_add(t, i + 1 < ARRAY_SIZE(sets) ? ",\n" : "\n");
	}
}

static const char process_head[] =
	"{\n\t\"ociVersion\": \"1.2.0\",\n\t\"process\": {\n\t\t\"terminal\": true,\n"
	"\t\t\"user\": {\n\t\t\t\"uid\": 0,\n\t\t\t\"gid\": 0\n\t\t},\n"
	"\t\t\"args\": [\n\t\t\t\"sh\"\n\t\t],\n\t\t\"env\": [\n"
	"\t\t\t\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\n"
	"\t\t\t\"TERM=xterm\"\n\t\t],\n\t\t\"cwd\": \"/\",\n\t\t\"capabilities\": {\n";
static const char process_tail[] =
	"\t\t},\n\t\t\"rlimits\": [\n\t\t\t{\n\t\t\t\t\"type\": \"RLIMIT_NOFILE\",\n"
	"\t\t\t\t\"hard\": 1024,\n\t\t\t\t\"soft\": 1024\n\t\t\t}\n\t\t],\n"
	"\t\t\"noNewPrivileges\": true\n\t},\n\t\"root\": {\n\t\t\"path\": \"rootfs\",\n"
	"\t\t\"readonly\": true\n\t},\n\t\"hostname\": \"penumbra\",\n\t\"mounts\": [\n";

static const struct default_mount {
	const char *destination, *type, *source, *options;
	int rootless; /* 0 both, 1 only rootless, 2 only root */
} default_mounts[] = {
	{ "/proc", "proc", "proc", "", 0 },
	{ "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k", 0 },
	{ "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5", 2 },
	{ "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620", 1 },
	{ "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k", 0 },
	{ "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev", 0 },
	{ "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro", 2 },
	{ "/sys", "none", "/sys", "rbind,nosuid,noexec,nodev,ro", 1 },
	{ "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro", 2 },
};

static void add_mounts(struct text *t, bool rootless)
{
	bool first = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(default_mounts); i++) {
		const struct default_mount *m = &default_mounts[i];
		char list[128], *p = list, *one;

		if (m->rootless == (rootless ? 2 : 1))
			continue;
		text_add(t, "%s\t\t{\n\t\t\t\"destination\": \"%s\",\n\t\t\t\"type\": \"%s\",\n"
			 "\t\t\t\"source\": \"%s\"", first ? "" : ",\n", m->destination, m->type,
			 m->source);
		first = false;
		snprintf(list, sizeof list, "%s", m->options);
		if (*list) {
			text_add(t, ",\n\t\t\t\"options\": [");
			while ((one = strsep(&p, ",")))
				text_add(t, "%s\n\t\t\t\t\"%s\"", one == list ? "" : ",", one);
			text_add(t, "\n\t\t\t]");
		}
		text_add(t, "\n\t\t}");
	}
}

static void add_namespaces(struct text *t, bool rootless)
{
	static const char *const names[] = { "pid", "ipc", "uts", "mount", "cgroup" };
	size_t i;

	text_add(t, "\t\t\"namespaces\": [");
	for (i = 0; i < ARRAY_SIZE(names); i++)
		text_add(t, "%s\n\t\t\t{\n\t\t\t\t\"type\": \"%s\"\n\t\t\t}", i ? "," : "", names[i]);
	text_add(t, ",\n\t\t\t{\n\t\t\t\t\"type\": \"%s\"\n\t\t\t}\n\t\t],\n",
		 rootless ? "user" : "network");
}

static void make_spec(struct text *t, bool rootless)
{
	text_add(t, "%s", process_head);
	add_caps(t);
	text_add(t, "%s", process_tail);
	add_mounts(t, rootless);
	text_add(t, "\n\t],\n\t\"linux\": {\n");
	if (rootless)
		text_add(t, "\t\t\"uidMappings\": [\n\t\t\t{\n\t\t\t\t\"containerID\": 0,\n"
			 "\t\t\t\t\"hostID\": %u,\n\t\t\t\t\"size\": 1\n\t\t\t}\n\t\t],\n"
			 "\t\t\"gidMappings\": [\n\t\t\t{\n\t\t\t\t\"containerID\": 0,\n"
			 "\t\t\t\t\"hostID\": %u,\n\t\t\t\t\"size\": 1\n\t\t\t}\n\t\t],\n",
			 (unsigned)geteuid(), (unsigned)getegid());
	else
		text_add(t, "\t\t\"resources\": {\n\t\t\t\"devices\": [\n\t\t\t\t{\n"
			 "\t\t\t\t\t\"allow\": false,\n\t\t\t\t\t\"access\": \"rwm\"\n\t\t\t\t}\n"
			 "\t\t\t]\n\t\t},\n");
	add_namespaces(t, rootless);
	add_list(t, "maskedPaths", default_masked_paths, 0, "\t\t");
	text_add(t, ",\n");
	add_list(t, "readonlyPaths", default_readonly_paths, 0, "\t\t");
	text_add(t, "\n\t}\n}\n");
}

static int run_spec(struct command_line *c, struct err *e)
{
	const char *bundle = option(c, "bundle") ? option(c, "bundle") : ".";
	_cleanup_fd_ int dir = dir_open(bundle), fd = -1;
	_cleanup_text_ struct text t = { 0 };
	int r;

	if (dir < 0)
		return err_sys(e, -dir, "bundle %s", bundle);
	make_spec(&t, flag(c, "rootless"));
	if (t.failed)
		return err_set(e, -ENOMEM, "out of memory");
	fd = openat(dir, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_sys(e, errno, "make config.json");
	r = fd_write_all(fd, t.text, t.length);
	return r ? err_sys(e, -r, "write config.json") : 0;
}

const struct command oci_command_spec = {
	.name = "spec", .operands = "", .help = "write a config.json to start from",
	.options = (const struct option_row[]){
		{ "bundle", 'b', "DIR", "where (default: the working directory)", false },
		{ "rootless", 0, NULL, "for a user without privileges", false }, { 0 } },
	.min = 0, .max = 0, .run = run_spec,
};
