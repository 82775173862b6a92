/* SPDX-License-Identifier: MIT
 * P: makes a container.  See launch.h for the exchange with B and the invariants. */
#include "container/launch.h"

#include <errno.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "container/harden.h"
#include "container/mounts.h"
#include "container/process.h"
#include "container/rdt.h"
#include "container/seal.h"
#include "container/seccomp.h"
#include "image/store.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#define OCI_VERSION "1.2.0"

static int check_version(const char *v, struct err *e)
{
	unsigned major, minor, patch;

	if (sscanf(v, "%u.%u.%u", &major, &minor, &patch) != 3)
		return err_set(e, -EINVAL, "config.json: ociVersion: \"%.32s\" is not of the form "
			       "1.2.3", v);
	if (major != 1)
		return err_set(e, -EINVAL, "config.json: ociVersion: %.32s is not supported, 1.x is",
			       v);
	return 0;
}

static int check_namespaces(struct launch *l, struct err *e)
{
	const struct oci_namespace_list *list = &l->spec->linux_->namespaces;
	u64 seen = 0;
	size_t i;

	for (i = 0; i < list->n; i++) {
		const struct oci_namespace *ns = &list->v[i];

		if (seen & (u64)ns->type.v)
			return err_set(e, -EINVAL, "config.json: linux.namespaces[%zu].type: is "
				       "given twice", i);
		seen |= (u64)ns->type.v;
		if (!ns->path || !*ns->path)
			l->new_ns |= (u64)ns->type.v;
		if (ns->type.v == CLONE_NEWUSER)
			l->user_ns = true;
	}
	/* allowed by the specification: then the mounts are the host's, and deletion takes them away */
	l->state.host_mounts = !(seen & CLONE_NEWNS);
	if (l->spec->linux_->time_offsets.n && !(l->new_ns & CLONE_NEWTIME))
		return err_set(e, -EINVAL, "config.json: linux.timeOffsets: needs a new time "
			       "namespace");
	if (((l->spec->hostname && *l->spec->hostname) ||
	     (l->spec->domainname && *l->spec->domainname)) && !(seen & CLONE_NEWUTS))
		return err_set(e, -EINVAL, "config.json: %s: needs a uts namespace",
			       l->spec->hostname && *l->spec->hostname ? "hostname" : "domainname");
	if (l->new_ns & CLONE_NEWUSER &&
	    (!l->spec->linux_->uid_mappings.n || !l->spec->linux_->gid_mappings.n))
		return err_set(e, -EINVAL, "config.json: linux.%s: a new user namespace needs them",
			       l->spec->linux_->uid_mappings.n ? "gidMappings" : "uidMappings");
	if (!(seen & CLONE_NEWUSER) && l->spec->linux_->uid_mappings.n)
		return err_set(e, -EINVAL, "config.json: linux.uidMappings: need a user namespace");
	return 0;
}

/* A sysctl is written only when a namespace of the container keeps it from the host. */
static int check_sysctls(struct launch *l, struct err *e)
{
	static const char *const ipc[] = { "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni",
		"kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
		"kernel.shm_rmid_forced" };
	const struct oci_smap *s = &l->spec->linux_->sysctl;
	bool own_net = spec_namespace(l->spec, CLONE_NEWNET);
	bool own_ipc = spec_namespace(l->spec, CLONE_NEWIPC);
	bool own_uts = spec_namespace(l->spec, CLONE_NEWUTS);
	size_t i, k;

	for (i = 0; i < s->n; i++) {
		char name[256], *p;
		bool ok = false;

		snprintf(name, sizeof name, "%s", s->v[i].key);
		for (p = name; *p; p++)
			*p = *p == '/' ? '.' : *p;
		for (k = 0; k < ARRAY_SIZE(ipc); k++)
			ok |= own_ipc && !strcmp(name, ipc[k]);
		ok |= own_ipc && !strncmp(name, "fs.mqueue.", 10);
		ok |= own_net && !strncmp(name, "net.", 4);
		ok |= own_uts && !strcmp(name, "kernel.domainname");
		ok |= own_uts && !strcmp(name, "kernel.hostname") && !l->spec->hostname;
		if (!ok || strstr(name, ".."))
			return err_set(e, -EINVAL, "config.json: linux.sysctl.%.100s: does not "
				       "belong to a namespace of this container", s->v[i].key);
	}
	return 0;
}

/* Fills in what the specification leaves out, so that nobody has to test for NULL later. */
static int complete(struct launch *l, struct err *e)
{
	struct oci_spec *s = l->spec;

	if (!s->root)
		return err_set(e, -EINVAL, "config.json: root: is missing");
	if (!s->process)
		return err_set(e, -EINVAL, "config.json: process: is missing");
	if (!s->linux_)
		s->linux_ = spec_alloc(l->document, sizeof *s->linux_);
	if (!s->process->user)
		s->process->user = spec_alloc(l->document, sizeof *s->process->user);
	if (!s->linux_ || !s->process->user)
		return err_set(e, -ENOMEM, "config.json: out of memory");
	return 0;
}

/* Makes LISTEN_FDS of the caller part of what is preserved, as systemd's protocol has it. */
static int inherit_listen_fds(struct launch *l, struct create_options *o, struct err *e)
{
	const char *n = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	char buf[64];
	u64 fds;

	if (!n || parse_u64(n, 65536, &fds) || !fds)
		return 0;
	if (pid && strtol(pid, NULL, 10) != getpid())
		return 0;
	o->preserve_fds += fds;
	snprintf(buf, sizeof buf, "LISTEN_FDS=%llu", (unsigned long long)fds);
	if (spec_strs_add(l->document, &l->spec->process->env, buf) ||
	    spec_strs_add(l->document, &l->spec->process->env, "LISTEN_PID=1"))
		return err_set(e, -ENOMEM, "LISTEN_FDS: out of memory");
	return 0;
}

static int check_preserved(u64 n, struct err *e)
{
	u64 i;

	for (i = 0; i < n; i++)
		if (fcntl((int)(3 + i), F_GETFD) < 0)
			return err_set(e, -EBADF, "--preserve-fds: descriptor %llu is not open",
				       (unsigned long long)(3 + i));
	return 0;
}

static int rootfs_path(struct launch *l, char *out, size_t size, struct err *e)
{
	char link[32], bundle[PATH_MAX];
	const char *path = l->spec->root->path;
	_cleanup_fd_ int fd = openat(l->bundle, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return err_sys(e, errno, "config.json: root.path: %s", path);
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, out, size - 1);
	if (n < 0)
		return err_sys(e, errno, "config.json: root.path: %s", path);
	out[n] = 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", l->bundle);
	n = readlink(link, bundle, sizeof bundle - 1);
	if (n < 0)
		return err_sys(e, errno, "bundle %s", l->options->bundle);
	bundle[n] = 0;
	l->state.bundle = strdup(bundle);
	l->state.rootfs = strdup(out);
	l->state.id = strdup(l->options->id);
	l->state.oci_version = strdup(OCI_VERSION);
	if (!l->state.bundle || !l->state.rootfs || !l->state.id || !l->state.oci_version)
		return err_set(e, -ENOMEM, "state: out of memory");
	return strcmp(out, "/") ? 0 : err_set(e, -EINVAL, "config.json: root.path: is the host's /");
}

int launch_open(struct launch *l, const struct global_options *g, const struct create_options *o,
		struct err *e)
{
	char path[PATH_MAX];
	int r = state_check_id(o->id, e);

	memset(l, 0, sizeof *l);
	l->global = g;
	l->options = o;
	l->bundle = l->sync[0] = l->sync[1] = l->start_listen = l->agent = l->rootfs_source = -1;
	l->dir.root = l->dir.dir = l->entry.into = -1;
	if (r)
		return r;
	l->bundle = open(o->bundle ? o->bundle : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->bundle < 0)
		return err_sys(e, errno, "bundle %s", o->bundle);
	r = o->config ? spec_parse(o->config, strlen(o->config), &l->document, e) :
	    spec_load(l->bundle, "config.json", &l->document, e);
	if (r)
		return r;
	l->spec = spec_root(l->document);
	r = check_version(l->spec->oci_version, e);
	if (!r)
		r = complete(l, e);
	if (!r)
		r = process_check(l->spec->process, e);
	if (!r)
		r = check_namespaces(l, e);
	if (!r)
		r = check_sysctls(l, e);
	if (!r)
		r = mounts_check(l, e);
	if (!r)
		r = rootfs_path(l, path, sizeof path, e);
	if (!r)
		r = inherit_listen_fds(l, (struct create_options *)o, e);
	if (!r)
		r = check_preserved(o->preserve_fds, e);
	if (!r && l->spec->process->terminal && !o->console_socket && (!o->run || o->detach))
		r = err_set(e, -EINVAL, "process.terminal: needs --console-socket here");
	if (!r && o->console_socket && !l->spec->process->terminal)
		r = err_set(e, -EINVAL, "--console-socket: process.terminal is false");
	return r;
}

void launch_close(struct launch *l)
{
	size_t i;

	for (i = 0; l->mount_source && i < l->spec->mounts.n; i++)
		if (l->mount_source[i] >= 0)
			close(l->mount_source[i]);
	for (i = 0; l->ns_fd && i < l->spec->linux_->namespaces.n; i++)
		if (l->ns_fd[i] >= 0)
			close(l->ns_fd[i]);
	free(l->mount_source);
	free(l->device_source);
	free(l->ns_fd);
	for (i = 0; i < 2; i++)
		if (l->sync[i] >= 0)
			close(l->sync[i]);
	if (l->bundle >= 0)
		close(l->bundle);
	if (l->start_listen >= 0)
		close(l->start_listen);
	if (l->agent >= 0)
		close(l->agent);
	if (l->rootfs_source >= 0)
		close(l->rootfs_source);
	if (l->filter)
		seccomp_free(l->filter);
	free(l->filter);
	cgroup_entry_close(&l->entry);
	cgroup_close(&l->cgroup);
	state_free(&l->state);
	state_close(&l->dir);
	spec_free(l->document);
}

static int open_namespaces(struct launch *l, struct err *e)
{
	const struct oci_namespace_list *list = &l->spec->linux_->namespaces;
	size_t i;

	l->ns_fd = malloc((list->n + 1) * sizeof *l->ns_fd);
	if (!l->ns_fd)
		return err_set(e, -ENOMEM, "namespaces: out of memory");
	for (i = 0; i < list->n; i++)
		l->ns_fd[i] = -1;
	for (i = 0; i < list->n; i++) {
		if (!list->v[i].path || !*list->v[i].path)
			continue;
		l->ns_fd[i] = open(list->v[i].path, O_RDONLY | O_CLOEXEC);
		if (l->ns_fd[i] < 0)
			return err_sys(e, errno, "linux.namespaces[%zu].path: open %s", i,
				       list->v[i].path);
	}
	return 0;
}

static int compile_filter(struct launch *l, struct err *e)
{
	const struct oci_seccomp *s = l->spec->linux_->seccomp;
	_cleanup_fd_ int cache = -1;
	int r;

	if (!s)
		return 0;
	l->filter = calloc(1, sizeof *l->filter);
	if (!l->filter)
		return err_set(e, -ENOMEM, "seccomp: out of memory");
	cache = openat(l->dir.root, ".seccomp", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (cache < 0 && !mkdirat(l->dir.root, ".seccomp", 0700))
		cache = openat(l->dir.root, ".seccomp",
			       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = seccomp_compile_cached(s, spec_annotation(l->spec, ANNOTATION_HARDENED) ?
				   SECCOMP_CONDITIONS_FIRST : 0, cache, l->filter, e);
	if (r)
		return r;
	if (l->filter->notify && (!s->listener_path || !*s->listener_path) &&
	    l->options->listener_to < 0)
		return err_set(e, -EINVAL, "config.json: linux.seccomp.listenerPath: is missing; "
			       "SCMP_ACT_NOTIFY needs it");
	if (s->listener_path && *s->listener_path) {
		if (!l->filter->notify)
			return err_set(e, -EINVAL, "config.json: linux.seccomp.listenerPath: no rule "
				       "is SCMP_ACT_NOTIFY");
		l->agent = socket_connect_at(AT_FDCWD, s->listener_path, SOCK_STREAM);
		if (l->agent < 0)
			return err_sys(e, -l->agent, "linux.seccomp.listenerPath: connect to %s",
				       s->listener_path);
	}
	return 0;
}

pid_t clone_process(u64 flags, int into)
{
	struct clone_args a = { .flags = flags | (into >= 0 ? CLONE_INTO_CGROUP : 0),
				.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
				.cgroup = into >= 0 ? (u64)into : 0 };

	return (pid_t)syscall(SYS_clone3, &a, sizeof a);
}

int namespaces_join(const int *fd, const int *type, size_t n, struct err *e)
{
	bool done[64] = { false };
	int pass;
	size_t i;

	/* with the caller's rights first; what refuses belongs to the joined user namespace */
	for (pass = 0; pass < 3; pass++)
		for (i = 0; i < n && i < ARRAY_SIZE(done); i++) {
			if (fd[i] < 0 || done[i] || (type[i] == CLONE_NEWUSER) != (pass == 1) ||
			    type[i] == CLONE_NEWCGROUP)
				continue;
			if (!setns(fd[i], type[i]))
				done[i] = true;
			else if (pass || errno != EPERM)
				return err_sys(e, errno, "join namespace %zu", i);
		}
	return 0;
}

int namespace_join_cgroup(const int *fd, const int *type, size_t n, struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (fd[i] >= 0 && type[i] == CLONE_NEWCGROUP && setns(fd[i], CLONE_NEWCGROUP) < 0)
			return err_sys(e, errno, "join namespace %zu", i);
	return 0;
}

/* Joins what B cannot join by itself: namespaces that must be entered before a user namespace is,
 * and a pid namespace, which takes effect for children only. */
int launch_join(struct launch *l, bool last, struct err *e)
{
	const struct oci_namespace_list *list = &l->spec->linux_->namespaces;
	int type[64], r;
	size_t i;

	for (i = 0; i < list->n; i++)
		type[i] = (int)list->v[i].type.v;
	r = last ? namespace_join_cgroup(l->ns_fd, type, list->n, e) : namespaces_join(l->ns_fd, type, list->n, e);
	if (r)
		err_prefix(e, "linux.namespaces");
	return r;
}

/* A: joins, clones B as P's child, tells P its pid, ends. */
static void __attribute__((noreturn)) stage_main(struct launch *l, u64 flags)
{
	struct err e = { 0 };
	char text[ERR_TEXT_MAX + 1];
	pid_t pid;
	int r = launch_join(l, false, &e);

	if (!r) {
		l->joined_before = true;
		pid = clone_process(flags | CLONE_PARENT, l->entry.into);
		if (!pid)
			init_main(l);
		if (pid < 0)
			r = err_sys(&e, errno, "make the container's namespaces");
		else
			snprintf(text, sizeof text, "%c%d", MSG_PID, (int)pid);
	}
	if (r)
		snprintf(text, sizeof text, "%c%s", MSG_ERROR, e.text);
	message_send(l->sync[1], text, strlen(text), -1);
	_exit(0);
}

/* One message of the container's side; an error of its becomes ours. */
static int receive(struct launch *l, char *kind, char *text, size_t size, int *fd, struct err *e)
{
	char buf[ERR_TEXT_MAX + 2];
	ssize_t n = message_receive(l->sync[0], buf, sizeof buf - 1, fd);

	if (n < 0)
		return err_sys(e, (int)-n, "read from the container's first process");
	if (!n) {
		*kind = 0;
		return 0;
	}
	buf[n] = 0;
	*kind = buf[0];
	if (text)
		snprintf(text, size, "%.*s", (int)size - 1, buf + 1);
	if (buf[0] == MSG_ERROR)
		return err_set(e, -ECANCELED, "%s", buf + 1);
	return 0;
}

static int clone_first(struct launch *l, pid_t *pid, struct err *e)
{
	u64 flags = l->new_ns & ~(u64)(CLONE_NEWCGROUP | CLONE_NEWTIME);
	bool stage = false;
	char kind, text[64];
	pid_t child;
	size_t i;
	int r;

	for (i = 0; i < l->spec->linux_->namespaces.n; i++) {
		s64 type = l->spec->linux_->namespaces.v[i].type.v;

		if (l->ns_fd[i] >= 0)
			stage |= type == CLONE_NEWUSER || type == CLONE_NEWPID ||
				 l->new_ns & CLONE_NEWUSER;
	}
	child = clone_process(stage ? 0 : flags, stage ? -1 : l->entry.into);
	if (child < 0)
		return err_sys(e, errno, "make the container's namespaces");
	if (!child && stage)
		stage_main(l, flags);
	if (!child)
		init_main(l);
	*pid = child;
	if (stage) {
		r = receive(l, &kind, text, sizeof text, NULL, e);
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		*pid = 0;
		if (r)
			return r;
		if (kind != MSG_PID)
			return err_set(e, -ECANCELED, "the process that joins namespaces has ended");
		*pid = (pid_t)strtol(text, NULL, 10);
	}
	close(l->sync[1]);
	l->sync[1] = -1;
	return 0;
}

static int set_oom_score(struct launch *l, pid_t pid, struct err *e)
{
	const struct oci_process *p = l->spec->process;
	_cleanup_free_ char *now = NULL;
	char path[64];
	int r;

	if (!p->oom_score_adj.set)
		return 0;
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
	if (!file_read_at(AT_FDCWD, "/proc/self/oom_score_adj", 32, &now, NULL) &&
	    strtol(now, NULL, 10) == p->oom_score_adj.v)
		return 0;
	r = file_printf_at(AT_FDCWD, path, "%lld", (long long)p->oom_score_adj.v);
	if (r && l->global->rootless_now && (r == -EACCES || r == -EPERM))
		return 0;
	return r ? err_sys(e, -r, "process.oomScoreAdj: set to %lld",
			   (long long)p->oom_score_adj.v) : 0;
}

static int prepare_process(struct launch *l, pid_t pid, struct err *e)
{
	const struct oci_linux_ *c = l->spec->linux_;
	u64 start;
	int r = process_start_time(pid, &start, NULL);

	if (r)
		return err_sys(e, -r, "the container's first process");
	l->state.pid = (u64)pid;
	l->state.start_time = start;
	if (!r && l->new_ns & CLONE_NEWUSER)
		r = userns_map(pid, &c->uid_mappings, &c->gid_mappings, l->global->rootless_now, e);
	if (!r)
		r = rdt_join(l->spec->linux_->intel_rdt, l->options->id, pid, &l->state, e);
	if (!r)
		r = set_oom_score(l, pid, e);
	return r;
}

/* L2: the state names the groups before they are made. */
static int prepare_cgroups(struct launch *l, struct err *e)
{
	const struct oci_linux_ *c = l->spec->linux_;
	int r = state_store(l->dir.dir, &l->state, e);

	if (!r && l->state.scope)
		r = scope_start(&l->scope, l->options->id, c->resources, e);
	if (!r)
		r = cgroup_create(&l->cgroup, c->resources, e);
	if (!r)
		r = cgroup_apply(&l->cgroup, c->resources, true, e);
	return r ? r : cgroup_join_prepare(&l->cgroup, NULL, &l->entry, e);
}

static int send_go(struct launch *l, pid_t pid, struct err *e)
{
	char text[32];
	int n = snprintf(text, sizeof text, "%c%d", MSG_GO, (int)pid);
	int r = message_send(l->sync[0], text, (size_t)n, -1);

	return r ? err_sys(e, -r, "the container's first process has ended") : 0;
}

static int run_runtime_hooks(struct launch *l, struct err *e)
{
	_cleanup_text_ struct text t = { 0 };
	int r;

	/* by now the environment exists: the specification's tests want to read "created" */
	state_print(&t, &l->state, STATUS_CREATED, l->spec);
	if (t.failed)
		return err_set(e, -ENOMEM, "hooks: out of memory");
	r = hooks_run(&l->spec->hooks->prestart, "prestart", t.text, e);
	return r ? r : hooks_run(&l->spec->hooks->create_runtime, "createRuntime", t.text, e);
}

/* What comes from the container's side is checked to be a terminal's master before it goes on. */
static int pass_console(struct launch *l, int master, int *out, struct err *e)
{
	_cleanup_fd_ int sock = -1;
	struct stat st;
	int r;

	if (master < 0 || fstat(master, &st) < 0 || !S_ISCHR(st.st_mode) ||
	    (st.st_rdev != makedev(5, 2) && major(st.st_rdev) != 128))
		return err_set(e, -EINVAL, "the container's first process sent no terminal");
	if (!l->options->console_socket) {
		*out = fcntl(master, F_DUPFD_CLOEXEC, 3);
		return *out < 0 ? err_sys(e, errno, "terminal") : 0;
	}
	sock = socket_connect_at(AT_FDCWD, l->options->console_socket, SOCK_STREAM);
	if (sock < 0)
		return err_sys(e, -sock, "--console-socket: connect to %s",
			       l->options->console_socket);
	r = message_send(sock, "/dev/ptmx", 9, master);
	return r ? err_sys(e, -r, "--console-socket: send the terminal") : 0;
}

/* RFC 3339 in UTC.  Not gmtime(): that reads the time zone's file. */
static void print_now(char *out, size_t size)
{
	struct timespec now;
	long days, era, doe, yoe, doy, mp, y;

	clock_gettime(CLOCK_REALTIME, &now);
	days = now.tv_sec / 86400 + 719468; /* since 0000-03-01; a year begins in March */
	era = days / 146097;
	doe = days - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	y = yoe + era * 400 + (mp >= 10);
	snprintf(out, size, "%04ld-%02ld-%02ldT%02ld:%02ld:%02ld.%09ldZ", y,
		 mp < 10 ? mp + 3 : mp - 9, doy - (153 * mp + 2) / 5 + 1,
		 now.tv_sec / 3600 % 24, now.tv_sec / 60 % 60, now.tv_sec % 60, now.tv_nsec);
}

static int finish_created(struct launch *l, pid_t pid, struct err *e)
{
	char stamp[128];
	int r;

	print_now(stamp, sizeof stamp);
	l->state.created = strdup(stamp);
	if (!l->state.created)
		return err_set(e, -ENOMEM, "state: out of memory");
	/* last, so that a low limit on descriptors does not hinder B's own work */
	r = l->quick ? 0 : process_set_rlimits(pid, l->spec->process, e);
	if (!r)
		r = state_store(l->dir.dir, &l->state, e);
	if (!r && l->options->pid_file) {
		char text[16];
		int n = snprintf(text, sizeof text, "%d", (int)pid);
		_cleanup_free_ char *dir = strdup(l->options->pid_file);
		char *slash = dir ? strrchr(dir, '/') : NULL;
		_cleanup_fd_ int at = -1;

		if (slash)
			*slash = 0;
		at = open(!slash ? "." : *dir ? dir : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = at < 0 ? -errno : file_replace_at(at, slash ? slash + 1 : l->options->pid_file,
						      text, (size_t)n, 0644);
		if (r)
			return err_sys(e, -r, "--pid-file: write %s", l->options->pid_file);
	}
	return r;
}

/* The exchange after the clone; ends when B waits for start, or (run) has executed. */
static int attend(struct launch *l, pid_t pid, int *console, struct err *e)
{
	char kind;
	int r = prepare_process(l, pid, e), fd = -1;

	if (r) { /* when B failed first, its reason is the better one */
		struct err theirs = { 0 };
		struct pollfd p = { l->sync[0], POLLIN, 0 };

		if (poll(&p, 1, 0) > 0 && receive(l, &kind, NULL, 0, NULL, &theirs))
			*e = theirs;
		return r;
	}
	r = l->quick ? finish_created(l, pid, e) : 0;
	if (!r)
		r = send_go(l, pid, e);
	if (r) {
		struct err theirs = { 0 };

		if (receive(l, &kind, NULL, 0, NULL, &theirs))
			*e = theirs;
		return r;
	}
	for (;;) {
		r = receive(l, &kind, NULL, 0, &fd, e);
		if (r)
			return r;
		if (!kind && (l->quick || (l->state.created && l->options->run)))
			return 0; /* end of file: the execve has closed the socket */
		if (kind == MSG_HOOKS)
			r = run_runtime_hooks(l, e);
		else if (kind == MSG_CONSOLE)
			r = pass_console(l, fd, console, e);
		else if (kind == MSG_CREATED && !l->state.created)
			r = finish_created(l, pid, e);
		else
			r = err_set(e, -ECANCELED, "the container's first process ended "
				    "unexpectedly");
		if (fd >= 0)
			close(fd);
		fd = -1;
		if (!r)
			r = send_go(l, pid, e);
		if (r || (kind == MSG_CREATED && !l->options->run))
			return r;
	}
}

static int copy_config(struct launch *l, struct err *e)
{
	size_t n;
	const char *text = spec_text(l->document, &n);
	/* not yet anybody's to read: state.json, which makes it so, comes later */
	_cleanup_fd_ int fd = openat(l->dir.dir, "config.json",
				     O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : fd_write_all(fd, text, n);

	return r ? err_sys(e, -r, "copy config.json") : 0;
}

/* Everything on disk and in the kernel that a failed creation left. */
static void undo(struct launch *l, pid_t pid)
{
	struct err ignored = { 0 };
	size_t i;

	if (pid > 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (pid > 0) /* the clone comes after the groups were found to be ours */
		cgroup_kill(&l->cgroup, SIGKILL, &ignored);
	rootfs_leave_host(&l->state);
	if (l->state.scope && !l->scope.foreign)
		scope_stop(l->state.scope, l->state.scope_user, &ignored);
	for (i = 0; i < l->cgroup.n; i++)
		l->cgroup.part[i].foreign |= l->scope.foreign;
	cgroup_remove(&l->cgroup, pid > 0, &ignored);
	rdt_leave(&l->state, &ignored);
	if (l->spec->hooks && l->state.bundle && pid > 0) {
		_cleanup_text_ struct text t = { 0 };

		state_print(&t, &l->state, STATUS_STOPPED, l->spec);
		if (!t.failed)
			hooks_run(&l->spec->hooks->poststop, "poststop", t.text, &ignored);
	}
	harden_release_ids(l->dir.root, l->state.id_slot);
	if (l->state.root_copy)
		store_copy_remove(l->state.root_copy, &ignored);
	state_remove(&l->dir, &ignored);
}

/* What creating has left open lies above the few descriptors that the launch owns. */
static int close_unneeded(struct launch *l, int master)
{
	int *const own[] = { &l->bundle, &l->dir.root, &l->dir.dir };
	int high = 2 + (int)l->options->preserve_fds;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(own); i++)
		high = MAX(high, *own[i]);
	for (i = 0; i < l->cgroup.n; i++)
		l->cgroup.part[i].fd = -1; /* opened again when needed */
	for (i = 0; l->mount_source && i < l->spec->mounts.n; i++)
		l->mount_source[i] = -1;
	for (i = 0; l->ns_fd && i < l->spec->linux_->namespaces.n; i++)
		l->ns_fd[i] = -1;
	l->sync[0] = l->sync[1] = l->start_listen = l->agent = l->rootfs_source = -1;
	l->entry = (struct cgroup_entry){ .into = -1 };
	if (l->options->listener_to > high)
		high = l->options->listener_to;
	if (master < 0)
		return close_range((unsigned)high + 1, ~0u, 0);
	if (master > high + 1 && close_range((unsigned)high + 1, (unsigned)master - 1, 0) < 0)
		return -1;
	return close_range((unsigned)master + 1, ~0u, 0);
}

static int plan_cgroups(struct launch *l, struct err *e)
{
	const char *path = l->spec->linux_->cgroups_path;
	size_t i;
	int r;

	if (!l->global->systemd_cgroup)
		return cgroup_plan(&l->cgroup, path, l->options->id, l->global->rootless_now, e);
	r = scope_plan(&l->scope, path, l->options->id, l->global->rootless_now, e);
	if (!r)
		r = cgroup_plan(&l->cgroup, l->scope.path, l->options->id, l->global->rootless_now, e);
	for (i = 0; !r && i < l->cgroup.n; i++)
		if (!l->cgroup.part[i].v2 && strncmp(l->cgroup.part[i].controllers, "name=", 5))
			r = err_set(e, -ENOTSUP, "--systemd-cgroup: needs version 2 control groups alone; %s is a "
				    "version 1 hierarchy", l->cgroup.part[i].mount);
	if (r)
		return r;
	l->cgroup.scope = true;
	l->state.scope = strdup(l->scope.unit);
	l->state.scope_user = l->scope.user;
	return l->state.scope ? 0 : err_set(e, -ENOMEM, "state: out of memory");
}

int launch_create(struct launch *l, int *master, struct err *e)
{
	const struct create_options *o = l->options;
	pid_t pid = 0;
	int r = state_claim(&l->dir, l->global->root, o->id, e);

	*master = -1;
	if (r)
		return r;
	fd_close_later = true;
	l->quick = o->run && !l->user_ns;
	l->state.owner = geteuid();
	if (!o->run && (r = seal_identity(&l->state.runtime_device, &l->state.runtime_inode)))
		r = err_sys(e, -r, "read the runtime's own file");
	l->state.id_slot = o->id_slot;
	l->state.root_copy = o->root_copy ? strdup(o->root_copy) : NULL;
	if (!r)
		r = plan_cgroups(l, e);
	if (!r && cgroup_describe(&l->cgroup, &l->state.cgroups))
		r = err_set(e, -ENOMEM, "state: out of memory");
	if (!r)
		r = compile_filter(l, e);
	if (!r)
		r = open_namespaces(l, e);
	if (!r)
		r = mounts_open_sources(l, e);
	if (!r && !o->run) {
		l->start_listen = socket_listen_at(l->dir.dir, "start.sock", SOCK_SEQPACKET);
		if (l->start_listen < 0)
			r = err_sys(e, -l->start_listen, "make start.sock");
	}
	if (!r)
		r = copy_config(l, e);
	if (!r)
		r = prepare_cgroups(l, e);
	if (!r && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, l->sync) < 0)
		r = err_sys(e, errno, "socketpair");
	if (!r)
		r = clone_first(l, &pid, e);
	if (!r)
		r = attend(l, pid, master, e);
	fd_close_later = false;
	scope_let_go(&l->scope);
	if (r)
		undo(l, pid);
	else if (close_unneeded(l, *master))
		r = err_sys(e, errno, "close descriptors");
	return r;
}

int seccomp_agent_state(struct launch *l, const char *state_json, const char **out, struct err *e)
{
	const char *metadata = l->spec->linux_->seccomp->listener_metadata;
	struct text t = { 0 };

	text_add(&t, "{\"ociVersion\":\"%s\",\"fds\":[\"seccompFd\"],\"pid\":%llu,\"metadata\":",
		 OCI_VERSION, (unsigned long long)l->state.pid);
	text_add_json(&t, metadata ? metadata : "");
	text_add(&t, ",\"state\":%s}", state_json);
	*out = t.text;
	return t.failed ? err_set(e, -ENOMEM, "seccomp: out of memory") : 0;
}
