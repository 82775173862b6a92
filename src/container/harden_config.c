/* SPDX-License-Identifier: MIT
 * From options to a configuration: everything is closed, and each option opens one thing. */
#include "container/harden_config.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "container/harden.h"
#include "container/supervisor.h"
#include "image/archive.h"

#define OPTION_TEXT(name, value, many, help, gives) { name, gives },
const struct harden_option harden_options[] = { HARDEN_OPTIONS(OPTION_TEXT) };
const size_t harden_options_n = ARRAY_SIZE(harden_options);
#define OPTION_FLAG(name, value, many, help, gives) { name, 0, value, help, many },
const struct option_row harden_rows[] = { HARDEN_OPTIONS(OPTION_FLAG) { 0 } };

/* What programs need that serve, compute and store.  Not in it, so that their kernel code is out of
 * reach: namespaces, mounts, modules, bpf, perf, io_uring, userfaultfd, keys, tracing, other
 * processes' memory, handles, clocks, swap, quotas, System V IPC, and what programs do without. */
static const char *const default_calls[] = {
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2",
	"pwritev2", "close", "close_range", "stat", "fstat", "lstat", "newfstatat", "statx",
	"access", "faccessat", "faccessat2", "lseek", "mmap", "munmap", "mprotect", "mremap",
	"madvise", "msync", "mincore", "brk", "mlock", "mlock2", "munlock", "rt_sigaction",
	"rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigqueueinfo",
	"rt_sigsuspend", "sigaltstack", "restart_syscall", "pause", "pipe", "pipe2", "select",
	"pselect6", "poll", "ppoll", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4",
	"timerfd_create", "timerfd_settime", "timerfd_gettime", "inotify_init", "inotify_init1",
	"inotify_add_watch", "inotify_rm_watch", "dup", "dup2", "dup3", "nanosleep",
	"clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "times",
	"getitimer", "setitimer", "alarm", "timer_create", "timer_settime", "timer_gettime",
	"timer_getoverrun", "timer_delete", "getpid", "getppid", "gettid", "getpgid", "getpgrp",
	"getsid", "setsid", "setpgid", "getuid", "geteuid", "getgid", "getegid", "getgroups",
	"getresuid", "getresgid", "setuid", "setgid", "setgroups", "setreuid", "setregid",
	"setresuid", "setresgid", "setfsuid", "setfsgid", "capget", "capset", "prctl",
	"arch_prctl", "getrlimit", "setrlimit", "prlimit64", "getrusage", "sysinfo", "uname",
	"getcwd", "chdir", "fchdir", "readlink", "readlinkat", "fchmod", "fchown", "lchown",
	"utime", "utimes", "utimensat", "futimesat", "ftruncate", "fallocate", "fsync",
	"fdatasync", "sync", "syncfs", "sync_file_range", "flock", "fcntl", "getdents",
	"getdents64", "statfs", "fstatfs", "umask", "copy_file_range", "sendfile", "splice", "tee",
	"fadvise64", "readahead", "fork", "vfork", "exit", "exit_group", "wait4", "waitid", "kill",
	"tkill", "tgkill", "futex", "futex_waitv", "set_robust_list", "get_robust_list",
	"set_tid_address", "rseq", "membarrier", "sched_yield", "sched_getaffinity",
	"sched_setaffinity", "sched_getparam", "sched_getscheduler", "sched_setscheduler",
	"sched_setparam", "sched_get_priority_max", "sched_get_priority_min",
	"sched_rr_get_interval", "getpriority", "setpriority", "getcpu", "getrandom", "socketpair",
	"bind", "connect", "listen", "accept", "accept4", "getsockname", "getpeername", "sendto",
	"recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "shutdown", "setsockopt",
	"getsockopt", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr",
	"flistxattr", "pkey_alloc", "pkey_free", "pkey_mprotect", "seccomp", "landlock_create_ruleset",
	"landlock_add_rule", "landlock_restrict_self", "ioctl", NULL,
};

/* Files by name: allowed; with a supervisor it looks at those that change or run something. */
static const char *const path_calls[] = {
	"open", "openat", "openat2", NULL,
};
static const char *const change_calls[] = {
	"creat", "execve", "execveat", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename",
	"renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "truncate", "chmod",
	"fchmodat", "chown", "fchownat", "mknod", "mknodat", NULL,
};

static void write_names(struct text *t, const char *const *names)
{
	size_t i;

	for (i = 0; names[i]; i++)
		text_add(t, "%s\"%s\"", i ? "," : "", names[i]);
}

static void write_condition(struct text *t, const char *name, const char *action, unsigned index,
			    u64 mask, u64 value)
{
	text_add(t, ",{\"names\":[\"%s\"],\"action\":\"%s\",\"args\":[{\"index\":%u,\"value\":%llu,"
		 "\"valueTwo\":%llu,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}", name, action, index,
		 (unsigned long long)mask, (unsigned long long)value);
}

#define NAMESPACE_FLAGS 0x7e020000ull /* CLONE_NEW* but time, which clone cannot name */
#define LOW32 0xffffffffull

/* Calls whose arguments decide.  The kernel looks at 32 bits of these arguments, so does the rule. */
static void write_conditions(const struct hardened *h, struct text *t)
{
	static const unsigned terminal[] = { 0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */ };
	static const unsigned families[] = { 1 /* UNIX */, 2 /* INET */, 10 /* INET6 */ };
	const char *no = h->ask ? "SCMP_ACT_NOTIFY" : "SCMP_ACT_ERRNO";
	size_t i;

	write_condition(t, "clone", "SCMP_ACT_ALLOW", 0, NAMESPACE_FLAGS, 0);
	for (i = 0; i < ARRAY_SIZE(terminal); i++)
		write_condition(t, "ioctl", no, 1, LOW32, terminal[i]);
	for (i = 0; i < ARRAY_SIZE(families); i++)
		write_condition(t, "socket", "SCMP_ACT_ALLOW", 0, LOW32, families[i]);
	if (option(h->c, "network")) /* the resolver asks the kernel for addresses */
		text_add(t, ",{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":["
			 "{\"index\":0,\"value\":%llu,\"valueTwo\":16,\"op\":\"SCMP_CMP_MASKED_EQ\"},"
			 "{\"index\":2,\"value\":%llu,\"valueTwo\":0,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}",
			 LOW32, LOW32);
	for (i = 0; i < 2; i++)
		write_condition(t, "personality", "SCMP_ACT_ALLOW", 0, LOW32, i ? LOW32 : 0);
	if (h->ask) {
		static const u64 flags[][2] = { { 3, 1 }, { 3, 2 }, { 0100, 0100 }, { 01000, 01000 } };

		for (i = 0; i < ARRAY_SIZE(flags); i++) {
			write_condition(t, "open", "SCMP_ACT_NOTIFY", 1, flags[i][0], flags[i][1]);
			write_condition(t, "openat", "SCMP_ACT_NOTIFY", 2, flags[i][0], flags[i][1]);
		}
	}
}

void harden_write_seccomp(const struct hardened *h, struct text *t)
{
	const char *call;
	size_t i;

	text_add(t, "{\"defaultAction\":\"%s\",\"architectures\":[\"SCMP_ARCH_X86_64\"],"
		 "\"syscalls\":[", h->ask ? "SCMP_ACT_NOTIFY" : "SCMP_ACT_ERRNO");
	if (h->learning) { /* everything is asked, but the call that hands the listener over */
		text_add(t, "{\"names\":[\"sendmsg\"],\"action\":\"SCMP_ACT_ALLOW\"}]}");
		return;
	}
	text_add(t, "{\"names\":[\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":38}");
	if (h->calls.length) {
		text_add(t, ",{\"names\":[\"sendmsg\",%s],\"action\":\"SCMP_ACT_ALLOW\"}",
			 h->calls.text);
		write_condition(t, "clone", "SCMP_ACT_ALLOW", 0, NAMESPACE_FLAGS, 0);
	} else {
		text_add(t, ",{\"names\":[");
		write_names(t, default_calls);
		text_add(t, "],\"action\":\"SCMP_ACT_ALLOW\"},{\"names\":[");
		write_names(t, path_calls);
		text_add(t, "],\"action\":\"SCMP_ACT_ALLOW\"},{\"names\":[");
		write_names(t, change_calls);
		text_add(t, "],\"action\":\"%s\"}", h->ask ? "SCMP_ACT_NOTIFY" : "SCMP_ACT_ALLOW");
		write_conditions(h, t);
	}
	for (i = 0; (call = option_nth(h->c, "allow", i)); i++) {
		text_add(t, ",{\"names\":[");
		text_add_json(t, call);
		text_add(t, "],\"action\":\"SCMP_ACT_ALLOW\"}");
	}
	text_add(t, "]}");
}

static const char *const scratch[] = { "/tmp", "/run", "/var/tmp" };

static bool is_scratch(const char *top)
{
	static const char *const own[] = { "tmp", "run", "proc", "sys", "dev", "lost+found" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(own); i++)
		if (!strcmp(top, own[i]))
			return true;
	return false;
}

int harden_default_landlock(struct hardened *h, struct err *e)
{
	struct text *t = &h->landlock;
	DIR *list = opendir(h->root);
	struct dirent *entry;
	const char *v;
	size_t i;

	if (!list)
		return err_sys(e, errno, "read image %s", h->root);
	if (!option(h->c, "network"))
		text_add(t, "n\n");
	text_add(t, "%c /\nw /dev\nw /proc\n", flag(h->c, "writable-root") ? 'w' : 'r');
	while ((entry = readdir(list)))
		if (entry->d_name[0] != '.' && !is_scratch(entry->d_name) &&
		    !strchr(entry->d_name, '\n'))
			text_add(t, "x /%s\n", entry->d_name);
	closedir(list);
	for (i = 0; i < ARRAY_SIZE(scratch); i++) {
		text_add(t, "w %s\n", scratch[i]);
		if (flag(h->c, "exec-tmp"))
			text_add(t, "x %s\n", scratch[i]);
	}
	for (i = 0; (v = option_nth(h->c, "volume", i)); i++) {
		const char *dst = strchr(v, ':');
		size_t n = dst ? strcspn(dst + 1, ":") : 0;

		if (n && !strcmp(dst + 1 + n, ":rw"))
			text_add(t, "w %.*s\n", (int)n, dst + 1);
	}
	return t->failed ? err_set(e, -ENOMEM, "out of memory") : 0;
}

int harden_store_options(const struct command_line *c, struct store_options *o, struct err *e)
{
	*o = (struct store_options){ .path = option(c, "store"), .limit = 16ull << 30 };
	return option(c, "image-size") && parse_size(option(c, "image-size"), &o->limit) ?
	       err_set(e, -EINVAL, "option --image-size: not a size") : 0;
}

static int open_bundle(struct hardened *h, const char *path, struct err *e)
{
	_cleanup_fd_ int dir = dir_open(path);
	struct oci_spec *s;
	int r = dir < 0 ? err_sys(e, -dir, "bundle %s", path) : spec_load(dir, "config.json", &h->bundle, e);

	if (r)
		return r;
	s = spec_root(h->bundle);
	if (!s->root || !s->process)
		return err_set(e, -EINVAL, "config.json: root and process are needed");
	if (s->root->path[0] == '/')
		snprintf(h->root, sizeof h->root, "%s", s->root->path);
	else if (snprintf(h->root, sizeof h->root, "%.*s/%s", 2048, path, s->root->path) >= (int)sizeof h->root)
		return err_set(e, -ENAMETOOLONG, "config.json: root.path");
	return 0;
}

static int open_stored(struct hardened *h, const char *id, struct err *e)
{
	struct store_options o;
	char copy[4096];
	int r = harden_store_options(h->c, &o, e);

	if (!r)
		r = store_image(h->image, &o, &h->stored, e);
	if (!r)
		r = open_bundle(h, h->stored.bundle, e);
	if (r)
		return r;
	if (h->stored.skipped)
		fprintf(stderr, "image %s: %llu device nodes left out\n", h->image, (unsigned long long)h->stored.skipped);
	if (!flag(h->c, "writable-root"))
		return 0;
	r = store_copy(&h->stored, h->root, id, copy, sizeof copy, e);
	h->copied = !r;
	if (!r)
		snprintf(h->root, sizeof h->root, "%s", copy);
	return r;
}

int harden_open_image(struct hardened *h, const char *id, struct err *e)
{
	char path[PATH_MAX], config[PATH_MAX + 16];
	struct stat st;
	int r = 0;

	h->stored.lock = -1;
	if (!realpath(h->image, path) || stat(path, &st) < 0 || !S_ISDIR(st.st_mode) || archive_is_layout(path))
		return open_stored(h, id, e);
	snprintf(h->root, sizeof h->root, "%s", path);
	snprintf(config, sizeof config, "%s/config.json", path);
	if (!access(config, R_OK))
		r = open_bundle(h, path, e);
	return r ? r : strcmp(h->root, "/") ? 0 : err_set(e, -EINVAL, "image: is the host's /");
}

static void write_mount(struct text *t, const char *dst, const char *type, const char *src,
			const char *options)
{
	text_add(t, ",{\"destination\":");
	text_add_json(t, dst);
	text_add(t, ",\"type\":\"%s\",\"source\":", type);
	text_add_json(t, src);
	text_add(t, ",\"options\":[%s]}", options);
}

static int write_volume(struct hardened *h, struct text *t, const char *v, bool exec, struct err *e)
{
	const char *dst = strchr(v, ':'), *mode;
	char source[4096], target[4096], options[160];
	size_t n;

	if (!dst || dst == v || dst[1] != '/')
		return err_set(e, -EINVAL, "volume \"%.200s\": must be SRC:/DST%s", v,
			       exec ? "" : "[:rw]");
	n = strcspn(dst + 1, ":");
	mode = dst + 1 + n;
	if ((*mode && strcmp(mode, ":ro") && strcmp(mode, ":rw")) || (exec && *mode) ||
	    snprintf(source, sizeof source, "%.*s", (int)(dst - v), v) >= (int)sizeof source ||
	    snprintf(target, sizeof target, "%.*s", (int)n, dst + 1) >= (int)sizeof target)
		return err_set(e, -EINVAL, "volume \"%.200s\": must be SRC:/DST%s", v,
			       exec ? "" : "[:rw]");
	snprintf(options, sizeof options, "\"bind\",\"nosuid\",\"nodev\"%s%s%s",
		 exec ? "" : ",\"noexec\"", strcmp(mode, ":rw") ? ",\"ro\"" : "",
		 h->ids > 1 ? ",\"idmap\"" : "");
	write_mount(t, target, "bind", source, options);
	return 0;
}

static int write_mounts(struct hardened *h, struct text *t, struct err *e)
{
	u64 disk = 64 << 20;
	const char *v;
	char options[256];
	size_t i;
	int r = 0;

	if (option(h->c, "disk") && parse_size(option(h->c, "disk"), &disk))
		return err_set(e, -EINVAL, "option --disk: not a size");
	text_add(t, "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\","
		 "\"options\":[\"nosuid\",\"nodev\",\"noexec\",\"hidepid=invisible\"]}");
	write_mount(t, "/dev", "tmpfs", "tmpfs", "\"nosuid\",\"noexec\",\"mode=755\",\"size=64k\","
		    "\"nr_inodes=64\"");
	write_mount(t, "/dev/pts", "devpts", "devpts", "\"nosuid\",\"noexec\",\"newinstance\","
		    "\"ptmxmode=0666\",\"mode=0620\"");
	write_mount(t, "/dev/shm", "tmpfs", "shm", "\"nosuid\",\"nodev\",\"noexec\",\"mode=1777\","
		    "\"size=16m\",\"nr_inodes=1024\"");
	if (!option(h->c, "network") || strcmp(option(h->c, "network"), "host"))
		write_mount(t, "/sys", "sysfs", "sysfs", "\"nosuid\",\"nodev\",\"noexec\",\"ro\"");
	snprintf(options, sizeof options, "\"nosuid\",\"nodev\"%s,\"mode=1777\",\"size=%llu\","
		 "\"nr_inodes=%llu\"", flag(h->c, "exec-tmp") ? "" : ",\"noexec\"",
		 (unsigned long long)disk, (unsigned long long)MAX(disk / 4096, 64));
	for (i = 0; i < ARRAY_SIZE(scratch); i++) {
		char path[4200];

		snprintf(path, sizeof path, "%s%s", h->root, scratch[i]);
		if (!access(path, F_OK) || flag(h->c, "writable-root")) /* a read-only image may lack it */
			write_mount(t, scratch[i], "tmpfs", "tmpfs", options);
	}
	for (i = 0; !r && (v = option_nth(h->c, "volume", i)); i++)
		r = write_volume(h, t, v, false, e);
	for (i = 0; !r && (v = option_nth(h->c, "exec-volume", i)); i++)
		r = write_volume(h, t, v, true, e);
	text_add(t, "],");
	return r;
}

static void write_strings(struct text *t, const char *name, char *const *v, size_t n)
{
	size_t i;

	text_add(t, "\"%s\":[", name);
	for (i = 0; i < n; i++) {
		text_add(t, i ? "," : "");
		text_add_json(t, v[i]);
	}
	text_add(t, "]");
}

/* A command takes the place of the image's own, but goes to its entrypoint. */
static int write_args(struct hardened *h, const struct oci_process *own, struct text *t, struct err *e)
{
	const char *count = h->bundle ? spec_annotation(spec_root(h->bundle), IMAGE_ANNOTATION_ENTRYPOINT) : NULL;
	const char *instead = option(h->c, "entrypoint");
	size_t first = 0, n = 0, i;
	u64 fixed = 0;

	if (!instead && own && count && !parse_u64(count, own->args.n, &fixed))
		first = (size_t)fixed;
	text_add(t, "\"args\":[");
	if (instead && ++n)
		text_add_json(t, instead);
	for (i = 0; own && !instead && i < (h->c->argc > 1 ? first : own->args.n); i++) {
		text_add(t, n++ ? "," : "");
		text_add_json(t, own->args.v[i]);
	}
	for (i = 1; i < (size_t)h->c->argc; i++) {
		text_add(t, n++ ? "," : "");
		text_add_json(t, h->c->argv[i]);
	}
	text_add(t, "],");
	return n ? 0 : err_set(e, -EINVAL, "no command given, and the image names none");
}

static int write_process(struct hardened *h, struct text *t, struct err *e)
{
	const struct oci_process *own = h->bundle ? spec_root(h->bundle)->process : NULL;
	char *plain[] = { (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };
	char *env[512];
	size_t n_env = 0, i;
	const char *v, *user = option(h->c, "user");
	u64 uid = own && own->user ? own->user->uid.v : 0, gid = own && own->user ? own->user->gid.v : 0;
	u64 files = 1024;
	int r = option_u64(h->c, "files", 1 << 20, &files, e);

	if (r)
		return r;
	if (user) {
		char head[24];
		const char *colon = strchrnul(user, ':');

		gid = 0;
		snprintf(head, sizeof head, "%.*s", (int)MIN(colon - user, 20), user);
		if (parse_u64(head, 65534, &uid) || (*colon && parse_u64(colon + 1, 65534, &gid)))
			return err_set(e, -EINVAL, "option --user: UID[:GID], up to 65534");
	}
	for (i = 0; i < (own ? own->env.n : 1) && n_env < 400; i++)
		env[n_env++] = own ? own->env.v[i] : plain[i];
	for (i = 0; (v = option_nth(h->c, "env", i)) && n_env < ARRAY_SIZE(env); i++)
		env[n_env++] = (char *)v;
	h->uid = uid;
	h->gid = gid;
	text_add(t, "\"process\":{\"terminal\":%s,\"user\":{\"uid\":%llu,\"gid\":%llu,\"additionalGids\":[",
		 flag(h->c, "tty") ? "true" : "false", (unsigned long long)uid,
		 (unsigned long long)gid);
	for (i = 0; !user && h->ids != 1 && own && own->user && i < own->user->additional_gids.n; i++)
		text_add(t, "%s%llu", i ? "," : "", (unsigned long long)own->user->additional_gids.v[i]);
	text_add(t, "]},");
	r = write_args(h, own, t, e);
	if (r)
		return r;
	write_strings(t, "env", env, n_env);
	text_add(t, ",\"cwd\":");
	text_add_json(t, option(h->c, "cwd") ? option(h->c, "cwd") : own && own->cwd ? own->cwd : "/");
	text_add(t, ",\"noNewPrivileges\":%s,\"oomScoreAdj\":500,\"rlimits\":["
		 "{\"type\":\"RLIMIT_NOFILE\",\"soft\":%llu,\"hard\":%llu},"
		 "{\"type\":\"RLIMIT_CORE\",\"soft\":0,\"hard\":0},"
		 "{\"type\":\"RLIMIT_MSGQUEUE\",\"soft\":0,\"hard\":0},"
		 "{\"type\":\"RLIMIT_SIGPENDING\",\"soft\":1024,\"hard\":1024},"
		 "{\"type\":\"RLIMIT_MEMLOCK\",\"soft\":65536,\"hard\":65536}],\"capabilities\":{",
		 flag(h->c, "new-privileges") ? "false" : "true", (unsigned long long)files,
		 (unsigned long long)files);
	for (i = 0; i < 3; i++) {
		static const char *const sets[] = { "bounding", "permitted", "effective" };
		size_t k;

		text_add(t, "%s\"%s\":[", i ? "," : "", sets[i]);
		for (k = 0; (v = option_nth(h->c, "cap", k)); k++) {
			if (capability_number(strncasecmp(v, "CAP_", 4) ? v : v + 4) < 0)
				return err_set(e, -EINVAL, "option --cap: unknown capability %.32s", v);
			text_add(t, "%s\"CAP_%s\"", k ? "," : "", strncasecmp(v, "CAP_", 4) ? v : v + 4);
		}
		text_add(t, "]");
	}
	text_add(t, "}},");
	return 0;
}

static int write_resources(struct hardened *h, struct text *t, struct err *e)
{
	u64 memory = 512 << 20, pids = 128, cpus = 100;
	int r = option_u64(h->c, "pids", 1 << 22, &pids, e);

	if (!r)
		r = option_u64(h->c, "cpus", 100000, &cpus, e);
	if (!r && option(h->c, "memory") && parse_size(option(h->c, "memory"), &memory))
		r = err_set(e, -EINVAL, "option --memory: not a size");
	text_add(t, "\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}],"
		 "\"memory\":{\"limit\":%llu,\"swap\":%llu},\"pids\":{\"limit\":%llu},"
		 "\"cpu\":{\"quota\":%llu,\"period\":100000}},", (unsigned long long)memory,
		 (unsigned long long)memory, (unsigned long long)pids,
		 (unsigned long long)MAX(cpus, 1) * 1000);
	return r;
}

static void write_masks(const struct hardened *h, struct text *t)
{
	static const char *const more[] = {
		"/proc/cmdline", "/proc/config.gz", "/proc/kallsyms", "/proc/kmsg", "/proc/kpagecount",
		"/proc/kpageflags", "/proc/kpagecgroup", "/proc/modules", "/proc/mtrr",
		"/proc/pagetypeinfo", "/proc/sysrq-trigger", "/proc/vmallocinfo", "/proc/zoneinfo",
		"/proc/buddyinfo", "/proc/slabinfo", "/proc/partitions", "/proc/diskstats",
		"/proc/iomem", "/proc/ioports", "/proc/swaps", "/proc/locks", "/proc/softirqs",
		"/proc/schedstat", "/proc/driver", "/sys/kernel", "/sys/module", "/sys/block",
		"/sys/bus", "/sys/class", "/sys/dev", "/sys/power", "/sys/hypervisor", "/sys/fs",
		"/sys/devices/pci0000:00", "/sys/devices/platform", "/sys/devices/virtual",
	};
	size_t i, n = 0;

	text_add(t, "\"maskedPaths\":[");
	for (i = 0; !flag(h->c, "unmask") && default_masked_paths[i]; i++)
		text_add(t, "%s\"%s\"", n++ ? "," : "", default_masked_paths[i]);
	for (i = 0; !flag(h->c, "unmask") && i < ARRAY_SIZE(more); i++)
		text_add(t, "%s\"%s\"", n++ ? "," : "", more[i]);
	text_add(t, "],\"readonlyPaths\":[");
	for (i = 0; default_readonly_paths[i]; i++)
		text_add(t, "%s\"%s\"", i ? "," : "", default_readonly_paths[i]);
	text_add(t, "],");
}

static int write_devices(struct hardened *h, struct text *t, struct err *e)
{
	const char *path;
	struct stat st;
	size_t i;

	text_add(t, "\"devices\":[");
	for (i = 0; (path = option_nth(h->c, "device", i)); i++) {
		if (stat(path, &st) < 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)))
			return err_set(e, -ENODEV, "option --device: %s is no device", path);
		text_add(t, "%s{\"path\":", i ? "," : "");
		text_add_json(t, path);
		text_add(t, ",\"type\":\"%c\",\"major\":%u,\"minor\":%u}", S_ISCHR(st.st_mode) ? 'c' : 'b',
			 (unsigned)(st.st_rdev >> 8 & 0xfff), (unsigned)((st.st_rdev & 0xff) |
									 (st.st_rdev >> 12 & 0xfff00)));
	}
	text_add(t, "],");
	return 0;
}

static void write_namespaces(const struct hardened *h, struct text *t)
{
	const char *network = option(h->c, "network");

	text_add(t, "\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},"
		 "{\"type\":\"mount\"},{\"type\":\"cgroup\"}");
	if (!network) {
		text_add(t, ",{\"type\":\"network\"}");
	} else if (strcmp(network, "host")) {
		text_add(t, ",{\"type\":\"network\",\"path\":");
		text_add_json(t, network);
		text_add(t, "}");
	}
	if (h->first_id)
		/* the one id that there is without root is what the process wants to be */
		text_add(t, ",{\"type\":\"user\"}],\"uidMappings\":[{\"containerID\":%llu,\"hostID\":%llu,"
			 "\"size\":%llu}],\"gidMappings\":[{\"containerID\":%llu,\"hostID\":%llu,"
			 "\"size\":%llu}]", (unsigned long long)(h->ids > 1 ? 0 : h->uid),
			 (unsigned long long)h->first_id, (unsigned long long)h->ids,
			 (unsigned long long)(h->ids > 1 ? 0 : h->gid),
			 (unsigned long long)(h->ids > 1 ? h->first_id : getegid()),
			 (unsigned long long)h->ids);
	else
		text_add(t, "]");
}

int harden_write_config(struct hardened *h, struct text *t, struct err *e)
{
	const char *network = option(h->c, "network");
	int r;

	text_add(t, "{\"ociVersion\":\"1.2.0\",\"hostname\":\"container\",\"root\":{\"path\":");
	text_add_json(t, h->root);
	text_add(t, ",\"readonly\":%s},", flag(h->c, "writable-root") ? "false" : "true");
	r = write_process(h, t, e);
	if (!r)
		r = write_mounts(h, t, e);
	text_add(t, "\"annotations\":{\"" ANNOTATION_HARDENED "\":\"true\"");
	if (h->landlock.length) {
		text_add(t, ",\"" ANNOTATION_LANDLOCK "\":");
		text_add_json(t, h->landlock.text);
	}
	text_add(t, "},\"linux\":{");
	if (!r)
		r = write_resources(h, t, e);
	if (!r)
		r = write_devices(h, t, e);
	write_masks(h, t);
	if (!network) /* nobody needs a privileged port there */
		text_add(t, "\"sysctl\":{\"net.ipv4.ip_unprivileged_port_start\":\"0\"},");
	if (!option(h->c, "seccomp")) {
		text_add(t, "\"seccomp\":");
		harden_write_seccomp(h, t);
		text_add(t, ",");
	}
	write_namespaces(h, t);
	text_add(t, "}}");
	return r ? r : t->failed ? err_set(e, -ENOMEM, "out of memory") : 0;
}
