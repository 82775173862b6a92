/* SPDX-License-Identifier: MIT
 * Containers that exist: open, start, destroy; and create, start, run, kill, delete. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "container/command.h"
#include "container/harden.h"
#include "container/mounts.h"
#include "container/rdt.h"
#include "image/store.h"

int container_open(struct container *c, const struct global_options *g, const char *id,
		   bool exclusive, struct err *e)
{
	int r;

	memset(c, 0, sizeof *c);
	r = state_open(&c->dir, g->root, id, exclusive, e);
	if (r)
		return r;
	r = state_load(c->dir.dir, &c->state, e);
	if (r == -ENOENT) { /* S2: claimed by a runtime that did not come further */
		c->status = STATUS_STOPPED;
		return 0;
	}
	if (!r)
		r = cgroup_reopen(&c->cgroup, &c->state.cgroups, e);
	if (!r && !faccessat(c->dir.dir, "config.json", F_OK, 0)) {
		r = spec_load(c->dir.dir, "config.json", &c->document, e);
		if (!r)
			c->spec = spec_root(c->document);
	}
	if (r) {
		container_close(c);
		return r;
	}
	c->cgroup.rootless = g->rootless_now;
	c->status = state_status(c->dir.dir, &c->state);
	if ((c->status == STATUS_RUNNING || c->status == STATUS_CREATED) &&
	    cgroup_frozen(&c->cgroup))
		c->status = STATUS_PAUSED;
	return 0;
}

void container_close(struct container *c)
{
	cgroup_close(&c->cgroup);
	state_free(&c->state);
	spec_free(c->document);
	state_close(&c->dir);
	c->document = NULL;
	c->spec = NULL;
}

static bool own_pid_namespace(const struct container *k)
{
	const struct oci_namespace *ns = k->spec ? spec_namespace(k->spec, CLONE_NEWPID) : NULL;

	return ns && (!ns->path || !*ns->path);
}

int container_destroy(struct container *c, struct err *e)
{
	_cleanup_fd_ int pidfd = state_pidfd(&c->state);
	int r = 0;

	if (pidfd >= 0)
		kill((pid_t)c->state.pid, SIGKILL);
	/* a first process that has ended has taken its pid namespace with it: most often nothing is
	 * left, and the removal below would say so if something were */
	if (c->state.pid && (pidfd >= 0 || !own_pid_namespace(c)))
		r = cgroup_kill(&c->cgroup, SIGKILL, e);
	if (r)
		return r;
	if (pidfd >= 0) { /* without cgroups: at least the first process has ended */
		siginfo_t info;

		waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
	}
	if (c->spec && c->spec->hooks && c->spec->hooks->poststop.n && c->state.id) {
		struct err warn = { 0 };
		_cleanup_text_ struct text t = { 0 };

		state_print(&t, &c->state, STATUS_STOPPED, c->spec);
		/* runtime.md: a failing poststop hook is a warning, deletion goes on */
		if (!t.failed && hooks_run(&c->spec->hooks->poststop, "poststop", t.text, &warn))
			fprintf(stderr, "warning: %s\n", warn.text);
	}
	rootfs_leave_host(&c->state);
	/* without a pid the runtime died before its groups were known to be nobody else's; its first
	 * process has ended by itself (L1) */
	if (c->state.scope && c->state.pid) /* without a pid, see below; one that is empty goes by itself */
		r = scope_stop(c->state.scope, c->state.scope_user, e);
	if (!r)
		r = cgroup_remove(&c->cgroup, c->state.pid != 0, e);
	if (r)
		return r;
	r = rdt_leave(&c->state, e);
	if (r)
		return r;
	harden_release_ids(c->dir.root, c->state.id_slot);
	if (c->state.root_copy && store_copy_remove(c->state.root_copy, e))
		return e->code;
	return state_remove(&c->dir, e);
}

int container_start(struct container *c, struct err *e)
{
	char text[ERR_TEXT_MAX + 2];
	_cleanup_fd_ int sock = -1;
	ssize_t n;

	if (c->status != STATUS_CREATED)
		return err_set(e, -EINVAL, "container %s is %s, only a created one can be started",
			       c->dir.id, status_names[c->status]);
	sock = socket_connect_at(c->dir.dir, "start.sock", SOCK_SEQPACKET);
	if (sock == -ECONNREFUSED)
		return err_set(e, -EINVAL, "container %s has been started already", c->dir.id);
	if (sock < 0)
		return err_sys(e, -sock, "reach container %s", c->dir.id);
	n = message_receive(sock, text, sizeof text - 1, NULL);
	unlinkat(c->dir.dir, "start.sock", 0);
	if (n > 1) {
		text[n] = 0;
		return err_set(e, -ECANCELED, "%s", text + 1);
	}
	if (n < 0 && n != -ECONNRESET)
		return err_sys(e, (int)-n, "wait for container %s", c->dir.id);
	return 0;
}

static void run_poststart(const struct oci_spec *spec, const struct state *s)
{
	struct err warn = { 0 };
	_cleanup_text_ struct text t = { 0 };

	if (!spec || !spec->hooks || !spec->hooks->poststart.n)
		return;
	state_print(&t, s, STATUS_RUNNING, spec);
	if (!t.failed && hooks_run(&spec->hooks->poststart, "poststart", t.text, &warn))
		fprintf(stderr, "warning: %s\n", warn.text);
}

#define CREATE_OPTIONS \
	{ "bundle", 'b', "DIR", "bundle directory (default: the working directory)", false }, \
	{ "config", 'f', "FILE", "name of the configuration; only config.json", false }, \
	{ "console-socket", 0, "PATH", "socket that receives the terminal's master side", false }, \
	{ "pid-file", 0, "FILE", "write the first process's id there", false }, \
	{ "no-pivot", 0, NULL, "move the root instead of pivot_root (root on a ramdisk)", false }, \
	{ "no-new-keyring", 0, NULL, "keep the caller's session keyring", false }, \
	{ "no-subreaper", 0, NULL, "do not adopt the container's orphans", false }, \
	{ "preserve-fds", 0, "N", "pass N descriptors beyond stdio", false }

static int read_create(struct command_line *c, struct create_options *o, struct err *e)
{
	*o = (struct create_options){
		.id = c->argv[0], .bundle = option(c, "bundle"),
		.console_socket = option(c, "console-socket"), .pid_file = option(c, "pid-file"),
		.no_pivot = flag(c, "no-pivot"), .no_new_keyring = flag(c, "no-new-keyring"),
		.no_subreaper = flag(c, "no-subreaper"), .listener_to = -1,
	};
	return option_u64(c, "preserve-fds", 65536, &o->preserve_fds, e);
}

static int run_create(struct command_line *c, struct err *e)
{
	struct create_options o;
	struct launch l;
	int r = read_create(c, &o, e), console;

	if (r)
		return r;
	r = launch_open(&l, c->global, &o, e);
	if (!r)
		r = launch_create(&l, &console, e);
	launch_close(&l);
	return r;
}

const struct command oci_command_create = {
	.name = "create", .operands = "ID", .help = "make a container, up to its first process",
	.options = (const struct option_row[]){ CREATE_OPTIONS, { 0 } },
	.min = 1, .max = 1, .run = run_create,
};

static int run_start(struct command_line *c, struct err *e)
{
	struct container k;
	int r = container_open(&k, c->global, c->argv[0], true, e);

	if (r)
		return r;
	r = container_start(&k, e);
	if (!r)
		run_poststart(k.spec, &k.state);
	container_close(&k);
	return r;
}

const struct command oci_command_start = {
	.name = "start", .operands = "ID", .help = "run the program of a created container",
	.options = (const struct option_row[]){ { 0 } }, .min = 1, .max = 1, .run = run_start,
};

int launch_destroy(struct launch *l, struct err *e)
{
	struct container k = { .dir = l->dir, .state = l->state, .cgroup = l->cgroup,
			       .spec = l->spec, .status = STATUS_STOPPED };
	struct stat st;
	int r = 0;

	if (flock(l->dir.dir, LOCK_EX) < 0 || fstat(l->dir.dir, &st) < 0)
		return err_sys(e, errno, "lock the state");
	if (st.st_nlink)
		r = container_destroy(&k, e);
	l->cgroup = k.cgroup; /* descriptors that were opened on the way */
	return r;
}

static int run_run(struct command_line *c, struct err *e)
{
	struct create_options o;
	struct launch l;
	pid_t pid;
	int r = read_create(c, &o, e), console = -1, status = 0;

	if (r)
		return r;
	o.run = true;
	o.detach = flag(c, "detach");
	o.keep = flag(c, "keep");
	if (!o.no_subreaper && !o.detach)
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	r = launch_open(&l, c->global, &o, e);
	if (!r)
		r = launch_create(&l, &console, e);
	if (!r) {
		run_poststart(l.spec, &l.state);
		pid = (pid_t)l.state.pid;
		/* from here on the container is anybody's who may delete it */
		flock(l.dir.dir, LOCK_UN);
		if (!o.detach) {
			status = supervise(pid, console, e);
			r = status < 0 ? status : 0;
		}
	}
	if (!r && !o.detach && !o.keep)
		r = launch_destroy(&l, e);
	launch_close(&l);
	return r ? r : status;
}

const struct command oci_command_run = {
	.name = "run", .operands = "ID", .help = "create, start, wait, delete",
	.options = (const struct option_row[]){
		CREATE_OPTIONS,
		{ "detach", 'd', NULL, "do not wait", false },
		{ "keep", 0, NULL, "do not delete the container when it has ended", false },
		{ 0 } },
	.min = 1, .max = 1, .run = run_run,
};

int signal_number(const char *name)
{
	u64 n;
	int i;

	if (!parse_u64(name, 64, &n))
		return n ? (int)n : -EINVAL;
	if (!strncasecmp(name, "SIG", 3))
		name += 3;
	for (i = 1; i < 32; i++)
		if (sigabbrev_np(i) && !strcasecmp(name, sigabbrev_np(i)))
			return i;
	if (!strncasecmp(name, "RTMIN", 5) && (!name[5] || name[5] == '+')) {
		if (!name[5])
			return 34;
		if (!parse_u64(name + 6, 30, &n))
			return 34 + (int)n;
	}
	if (!strncasecmp(name, "RTMAX", 5) && (!name[5] || name[5] == '-')) {
		if (!name[5])
			return 64;
		if (!parse_u64(name + 6, 30, &n))
			return 64 - (int)n;
	}
	return -EINVAL;
}

static int run_kill(struct command_line *c, struct err *e)
{
	const char *name = c->argc > 1 ? c->argv[1] : "TERM";
	int sig = signal_number(name), r;
	_cleanup_free_ pid_t *pids = NULL;
	_cleanup_fd_ int pidfd = -1;
	struct container k;
	size_t n = 0;

	if (sig < 0)
		return err_set(e, -EINVAL, "unknown signal \"%.32s\"", name);
	r = container_open(&k, c->global, c->argv[0], false, e);
	if (r)
		return r;
	pidfd = state_pidfd(&k.state);
	if (flag(c, "all") || (sig == SIGKILL && !own_pid_namespace(&k)))
		r = cgroup_pids(&k.cgroup, &pids, &n, e);
	if (r || n) { /* without cgroups of its own only the first process can be told */
		if (!r)
			r = cgroup_kill(&k.cgroup, sig, e);
	} else if (pidfd < 0) {
		/* --all asks that none be left: containerd does so once the first process has ended */
		r = flag(c, "all") ? 0 : err_set(e, -ESRCH, "container not running");
	} else if (syscall(424 /* pidfd_send_signal */, pidfd, sig, NULL, 0) < 0) {
		r = errno == ESRCH ? err_set(e, -ESRCH, "container not running") :
		    err_sys(e, errno, "send signal %d", sig);
	}
	/* a frozen process takes SIGKILL once it is thawed */
	if (!r && sig == SIGKILL && k.status == STATUS_PAUSED)
		r = cgroup_freeze(&k.cgroup, false, e);
	container_close(&k);
	return r;
}

const struct command oci_command_kill = {
	.name = "kill", .operands = "ID [SIGNAL]", .help = "send a signal (default: TERM)",
	.options = (const struct option_row[]){
		{ "all", 'a', NULL, "to all processes of the container", false }, { 0 } },
	.min = 1, .max = 2, .run = run_kill,
};

static int run_delete(struct command_line *c, struct err *e)
{
	bool force = flag(c, "force");
	struct container k;
	int r = container_open(&k, c->global, c->argv[0], true, e);

	if (r == -ENOENT && force) {
		memset(e, 0, sizeof *e);
		return 0;
	}
	if (r)
		return r;
	if (!force && (k.status == STATUS_RUNNING || k.status == STATUS_PAUSED))
		r = err_set(e, -EBUSY, "cannot delete container %s that is not stopped: %s",
			    c->argv[0], status_names[k.status]);
	else
		r = container_destroy(&k, e);
	container_close(&k);
	return r;
}

const struct command oci_command_delete = {
	.name = "delete", .operands = "ID", .help = "remove a container that has ended",
	.options = (const struct option_row[]){
		{ "force", 'f', NULL, "kill it first when it still runs", false }, { 0 } },
	.min = 1, .max = 1, .run = run_delete,
};
