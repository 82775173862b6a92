/* SPDX-License-Identifier: MIT
 * B: the container's first process, from its clone to its execve.  See launch.h for the exchange
 * with P and the invariants. */
#include <errno.h>
#include <grp.h>

#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "container/launch.h"
#include "container/mounts.h"
#include "container/process.h"

struct init {
	struct launch *l;
	struct rootfs root;
	int report; /* where an error goes: P's socket, later the one of `start` */
	pid_t outer_pid;
	char *state_json;
};

static void __attribute__((noreturn)) give_up(struct init *in, struct err *e)
{
	char text[ERR_TEXT_MAX + 1] = { MSG_ERROR };

	memcpy(text + 1, e->text, strlen(e->text) + 1);
	message_send(in->report, text, strlen(text), -1);
	_exit(1);
}

int init_wait_go(struct launch *l, struct err *e)
{
	char buf[64];
	ssize_t n = message_receive(l->sync[1], buf, sizeof buf - 1, NULL);

	if (n <= 0 || buf[0] != MSG_GO) /* L1 */
		return err_set(e, -EPIPE, "the runtime has ended");
	buf[n] = 0;
	if (n > 1)
		l->state.pid = strtoull(buf + 1, NULL, 10);
	return 0;
}

/* The namespace's root is the group that its first process is in: only after joining. */
static int enter_cgroups(struct launch *l, struct err *e)
{
	int r = cgroup_join_self(&l->entry, e);

	if (!r && l->joined_before)
		r = launch_join(l, true, e);
	if (!r && l->new_ns & CLONE_NEWCGROUP && unshare(CLONE_NEWCGROUP) < 0)
		r = err_sys(e, errno, "make a cgroup namespace");
	return r;
}

static int make_time_namespace(struct launch *l, struct err *e)
{
	const struct oci_time_offset_list *o = &l->spec->linux_->time_offsets;
	_cleanup_fd_ int ns = -1;
	size_t i;

	if (!(l->new_ns & CLONE_NEWTIME))
		return 0;
	if (unshare(CLONE_NEWTIME) < 0)
		return err_sys(e, errno, "make a time namespace");
	for (i = 0; i < o->n; i++) {
		/* Not dumpable, our /proc files belong to the host's root, which a user namespace's
		 * root is not.  In a pid namespace of our own nobody is there to use the moment. */
		bool open_up = l->user_ns && l->new_ns & CLONE_NEWPID;
		int r;

		if (open_up)
			prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		r = file_printf_at(AT_FDCWD, "/proc/self/timens_offsets", "%s %lld %llu\n",
				   o->v[i].key, (long long)o->v[i].secs.v,
				   (unsigned long long)o->v[i].nanosecs.v);
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		if (r)
			return err_sys(e, -r, "linux.timeOffsets.%s", o->v[i].key);
	}
	/* unshare moves only children: enter it ourselves */
	ns = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWTIME) < 0)
		return err_sys(e, errno, "enter the time namespace");
	return 0;
}

static int join_namespaces(struct launch *l, struct err *e)
{
	size_t i;

	for (i = 0; i < l->spec->linux_->namespaces.n; i++) {
		const struct oci_namespace *ns = &l->spec->linux_->namespaces.v[i];

		if (l->ns_fd[i] < 0 || ns->type.v == CLONE_NEWUSER || ns->type.v == CLONE_NEWPID)
			continue;
		if (setns(l->ns_fd[i], (int)ns->type.v) < 0)
			return err_sys(e, errno, "linux.namespaces[%zu].path: join %s", i,
				       ns->path);
	}
	return 0;
}

static int become_root(struct launch *l, struct err *e)
{
	if (!l->user_ns)
		return 0;
	/* EINVAL: the namespace has no root, but only the ids that the process will have */
	if ((setresgid(0, 0, 0) < 0 && errno != EINVAL) || (setresuid(0, 0, 0) < 0 && errno != EINVAL))
		return err_sys(e, errno, "become root of the user namespace");
	setgroups(0, NULL); /* refused where setgroups is denied: then there is nothing to drop */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* the change of ids cleared it */
	return 0;
}

static int name_host(struct launch *l, struct err *e)
{
	const struct oci_spec *s = l->spec;

	if (s->hostname && *s->hostname && sethostname(s->hostname, strlen(s->hostname)) < 0)
		return err_sys(e, errno, "hostname");
	if (s->domainname && *s->domainname &&
	    setdomainname(s->domainname, strlen(s->domainname)) < 0)
		return err_sys(e, errno, "domainname");
	return 0;
}

static int loopback_up(struct launch *l, struct err *e)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	_cleanup_fd_ int s = -1;

	if (!(l->new_ns & CLONE_NEWNET))
		return 0;
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s >= 0 && ioctl(s, SIOCSIFFLAGS, &r) < 0)
		return err_sys(e, errno, "bring up the loopback interface");
	return 0;
}

/* linux.sysctl: only what belongs to a namespace of the container's own (checked by P). */
static int set_sysctls(struct launch *l, struct err *e)
{
	const struct oci_smap *s = &l->spec->linux_->sysctl;
	_cleanup_fd_ int base = -1;
	size_t i;

	if (!s->n)
		return 0;
	base = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return err_sys(e, errno, "open /proc/sys");
	for (i = 0; i < s->n; i++) {
		_cleanup_fd_ int fd = -1;
		char path[256], *p;
		int r;

		if (snprintf(path, sizeof path, "%s", s->v[i].key) >= (int)sizeof path)
			return err_set(e, -EINVAL, "linux.sysctl: name too long");
		if (!strchr(path, '/'))
			for (p = path; *p; p++)
				*p = *p == '.' ? '/' : *p;
		fd = path_open(base, path, PATH_BENEATH, O_WRONLY, 0);
		r = fd < 0 ? fd : fd_write_all(fd, s->v[i].value, strlen(s->v[i].value));
		if (r)
			return err_sys(e, -r, "linux.sysctl.%s: write \"%.64s\"", s->v[i].key,
				       s->v[i].value);
	}
	return 0;
}

static int describe(struct init *in, enum container_status status, struct err *e)
{
	struct text t = { 0 };

	free(in->state_json);
	state_print(&t, &in->l->state, status, in->l->spec);
	in->state_json = t.text;
	return t.failed ? err_set(e, -ENOMEM, "state: out of memory") : 0;
}

static int ask_hooks(struct init *in, struct err *e)
{
	const struct oci_hooks *h = in->l->spec->hooks;
	char ask = MSG_HOOKS;
	int r;

	if (!h)
		return 0;
	if (h->prestart.n || h->create_runtime.n) {
		r = message_send(in->report, &ask, 1, -1);
		if (r)
			return err_sys(e, -r, "ask for hooks");
		r = init_wait_go(in->l, e);
		if (r)
			return r;
	}
	if (!h->create_container.n)
		return 0;
	r = describe(in, STATUS_CREATING, e);
	return r ? r : hooks_run(&h->create_container, "createContainer", in->state_json, e);
}

static int make_console(struct init *in, struct err *e)
{
	_cleanup_fd_ int master = -1;
	char say = MSG_CONSOLE;
	int r;

	if (!in->l->spec->process->terminal)
		return 0;
	r = rootfs_console(in->l, &in->root, &master, e);
	if (r)
		return r;
	r = message_send(in->report, &say, 1, master);
	if (r)
		return err_sys(e, -r, "hand over the terminal");
	return init_wait_go(in->l, e);
}

/* create: sleeps until `start` connects; from then on errors go there. */
static int wait_start(struct init *in, struct err *e)
{
	struct launch *l = in->l;
	int peer;

	if (l->start_listen < 0)
		return 0;
	close(l->sync[1]);
	do
		peer = accept4(l->start_listen, NULL, NULL, SOCK_CLOEXEC);
	while (peer < 0 && errno == EINTR);
	if (peer < 0)
		return err_sys(e, errno, "wait for start");
	in->report = peer;
	return 0;
}

/* Closes everything but what is still needed: what setting up has left open, and what P had opened
 * for itself.  A call for each gap between the few that stay. */
static int close_setup(struct init *in, struct err *e)
{
	const struct launch *l = in->l;
	int keep[] = { l->sync[1], l->start_listen, l->agent, l->options->listener_to,
		       in->root.console };
	unsigned from = 3 + (unsigned)l->options->preserve_fds;
	size_t i;

	fd_close_later = false;
	for (;;) {
		unsigned next = ~0u;

		for (i = 0; i < ARRAY_SIZE(keep); i++)
			if (keep[i] >= (int)from)
				next = MIN(next, (unsigned)keep[i]);
		if (next > from && close_range(from, next == ~0u ? next : next - 1, 0) < 0)
			return err_sys(e, errno, "close descriptors");
		if (next == ~0u)
			return 0;
		from = next + 1;
	}
}

static int set_up(struct init *in, struct err *e)
{
	struct launch *l = in->l;
	int r;

	umask(0);
	fd_close_later = true; /* until close_setup() */
	r = enter_cgroups(l, e);
	if (!r && !l->joined_before)
		r = join_namespaces(l, e);
	if (!r && l->user_ns) /* id maps come with the first GO */
		r = init_wait_go(l, e);
	if (!r)
		r = become_root(l, e);
	if (!r)
		r = make_time_namespace(l, e);
	if (!r)
		r = name_host(l, e);
	if (!r)
		r = loopback_up(l, e);
	if (!r)
		r = rootfs_build(l, &in->root, e);
	if (!r && !l->user_ns)
		r = init_wait_go(l, e);
	if (!r)
		r = ask_hooks(in, e);
	if (!r)
		r = set_sysctls(l, e);
	if (!r)
		r = make_console(in, e);
	if (!r)
		r = rootfs_enter(l, &in->root, e);
	return r ? r : close_setup(in, e);
}

static void restore_signals(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;
	int i;

	/* only what a shell may have handed down as ignored; the rest is default already */
	for (i = 1; i < 32; i++)
		if (i == SIGPIPE || i == SIGCHLD)
			sigaction(i, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void init_main(struct launch *l)
{
	struct err e = { 0 };
	struct init in = { .l = l, .report = l->sync[1] };
	struct process_plan plan = {
		.process = l->spec->process, .spec = l->spec, .filter = l->filter,
		.agent = l->agent, .listener_to = l->options->listener_to,
		.landlock_ruleset = -1, .preserve_fds = l->options->preserve_fds,
		.new_keyring = !l->options->no_new_keyring, .keyring_name = l->dir.id,
		.user_ns = l->user_ns,
	};
	char say = MSG_CREATED;
	int r;

	/* L3.  With a new user namespace only once its id maps are written, in become_root(): the maps
	 * of what is not dumpable belong to root, and P may be a plain user.  Until then B has seen
	 * nothing of the container. */
	if (!(l->new_ns & CLONE_NEWUSER))
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	restore_signals();
	close(l->sync[0]); /* L1: or we would never read its end of file */
	state_close(&l->dir);
	r = set_up(&in, &e);
	if (r)
		give_up(&in, &e);
	plan.console = in.root.console;
	if (!r)
		r = process_prepare(&plan, &e);
	if (!r)
		r = hardening_prepare(l, &plan.landlock_ruleset, &e);
	/* P may end as soon as it has answered; until then its end is seen as end of file (L1) */
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	if (!r && l->quick)
		r = process_set_rlimits(0, l->spec->process, &e);
	if (!r && !l->quick && message_send(in.report, &say, 1, -1))
		r = err_set(&e, -EPIPE, "the runtime has ended");
	if (!r && !l->quick)
		r = init_wait_go(l, &e);
	if (!r)
		r = wait_start(&in, &e);
	if (!r)
		r = describe(&in, STATUS_CREATED, &e);
	if (!r && l->spec->hooks)
		r = hooks_run(&l->spec->hooks->start_container, "startContainer", in.state_json, &e);
	plan.seccomp_state = in.state_json;
	if (l->agent >= 0 && !r)
		r = seccomp_agent_state(l, in.state_json, &plan.seccomp_state, &e);
	if (!r)
		process_execute(&plan, &e);
	give_up(&in, &e);
}
