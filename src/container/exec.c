/* SPDX-License-Identifier: MIT
 * exec: one more process in a container.
 *
 *   P  checks, opens the namespaces of the first process, forks
 *   A  enters them (the pid namespace for its children), clones B as P's child, ends
 *   B  waits until P has put it into the cgroups, becomes what was asked for, executes
 *
 * B holds one descriptor of the host's, the socket to P, and is not dumpable until its execve. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "container/command.h"
#include "container/harden.h"
#include "container/process.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#define TIOCSPTLCK _IOW('T', 0x31, int)
#define TIOCGPTPEER _IO('T', 0x41)

static const struct kind {
	const char *file;
	int type;
} kinds[] = {
	{ "user", CLONE_NEWUSER }, { "ipc", CLONE_NEWIPC }, { "uts", CLONE_NEWUTS },
	{ "net", CLONE_NEWNET }, { "pid", CLONE_NEWPID }, { "cgroup", CLONE_NEWCGROUP },
	{ "time", CLONE_NEWTIME }, { "mnt", CLONE_NEWNS },
};

struct exec {
	struct container k;
	struct spec_document *owner; /* of a process read from a file */
	struct oci_process *process;
	struct seccomp_program filter;
	struct cgroup_entry entry;
	bool has_filter;
	int ns_fd[ARRAY_SIZE(kinds)], ns_type[ARRAY_SIZE(kinds)];
	bool user_ns;
	int sync[2];
	u64 preserve_fds;
	const char *console_socket;
	bool detach;
};

/* Namespaces in which the first process is and we are not. */
static int open_namespaces(struct exec *x, struct err *e)
{
	char ours[64], theirs[64], link[2][64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		ssize_t a, b;

		x->ns_fd[i] = -1;
		x->ns_type[i] = kinds[i].type;
		snprintf(ours, sizeof ours, "/proc/self/ns/%s", kinds[i].file);
		snprintf(theirs, sizeof theirs, "/proc/%d/ns/%s", (int)x->k.state.pid,
			 kinds[i].file);
		a = readlink(ours, link[0], sizeof link[0]);
		b = readlink(theirs, link[1], sizeof link[1]);
		if (a == b && a > 0 && !memcmp(link[0], link[1], (size_t)a))
			continue;
		if (b < 0 && errno == ENOENT)
			continue;
		x->ns_fd[i] = open(theirs, O_RDONLY | O_CLOEXEC);
		if (x->ns_fd[i] < 0)
			return err_sys(e, errno, "open %s", theirs);
		x->user_ns |= kinds[i].type == CLONE_NEWUSER;
	}
	/* the pid may have been given to another process while we looked */
	return state_process_alive(&x->k.state) ? 0 :
	       err_set(e, -ESRCH, "container %s has ended", x->k.dir.id);
}

static int open_console(struct exec *x, int *slave, struct err *e)
{
	_cleanup_fd_ int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	const struct oci_box *size = x->process->console_size;
	char say = MSG_CONSOLE;
	int unlock = 0, r;

	if (master < 0)
		master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_sys(e, errno, "make a terminal");
	*slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave < 0)
		return err_sys(e, errno, "open the terminal");
	if (size) {
		unsigned short box[4] = { (unsigned short)size->height.v,
					  (unsigned short)size->width.v, 0, 0 };

		ioctl(master, TIOCSWINSZ, box);
	}
	if (fchown(*slave, (uid_t)x->process->user->uid.v, (gid_t)-1) < 0 && errno != EPERM &&
	    errno != EINVAL)
		return err_sys(e, errno, "give the terminal to its user");
	r = message_send(x->sync[1], &say, 1, master);
	return r ? err_sys(e, -r, "hand over the terminal") : 0;
}

static int wait_go(int sock, struct err *e)
{
	char buf[16];

	return message_receive(sock, buf, sizeof buf, NULL) > 0 ? 0 :
	       err_set(e, -EPIPE, "the runtime has ended");
}

/* "0-3,7" as the kernel writes lists of processors; an empty list changes nothing. */
static int set_affinity(const char *field, const char *list, struct err *e)
{
	const char *p = list;
	cpu_set_t set;

	if (!list || !*list)
		return 0;
	CPU_ZERO(&set);
	for (;;) {
		unsigned long first, last;
		char *end;

		first = last = strtoul(p, &end, 10);
		if (end != p && *end == '-') {
			p = end + 1;
			last = strtoul(p, &end, 10);
		}
		if (end == p || first > last || last >= CPU_SETSIZE || (*end && *end != ','))
			return err_set(e, -EINVAL, "process.execCPUAffinity.%s: \"%.64s\" is not a "
				       "list of processors", field, list);
		for (; first <= last; first++)
			CPU_SET(first, &set);
		if (!*end)
			break;
		p = end + 1;
	}
	return sched_setaffinity(0, sizeof set, &set) < 0 ?
	       err_sys(e, errno, "process.execCPUAffinity.%s", field) : 0;
}

static void __attribute__((noreturn)) exec_main(struct exec *x)
{
	struct err e = { 0 };
	struct process_plan plan = {
		.process = x->process, .filter = x->has_filter ? &x->filter : NULL, .agent = -1,
		.listener_to = -1, .landlock_ruleset = -1, .console = -1,
		.preserve_fds = x->preserve_fds, .user_ns = x->user_ns, .new_keyring = true,
		.keyring_name = x->k.dir.id, .spec = x->k.spec,
	};
	unsigned first = 3 + (unsigned)x->preserve_fds;
	char text[ERR_TEXT_MAX + 1];
	int r;

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	r = namespace_join_cgroup(x->ns_fd, x->ns_type, ARRAY_SIZE(kinds), &e);
	/* of the host's only the socket to P stays */
	if ((unsigned)x->sync[1] > first && close_range(first, (unsigned)x->sync[1] - 1, 0) < 0)
		_exit(126);
	close_range((unsigned)x->sync[1] + 1, ~0u, 0);
	if (!r)
		r = wait_go(x->sync[1], &e);
	if (!r && x->process->exec_cpu_affinity)
		r = set_affinity("final", x->process->exec_cpu_affinity->final, &e);
	if (!r && x->user_ns && ((setresgid(0, 0, 0) < 0 && errno != EINVAL) ||
				 (setresuid(0, 0, 0) < 0 && errno != EINVAL))) /* see become_root() */
		r = err_sys(&e, errno, "become root of the user namespace");
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (!r && x->process->terminal) {
		r = open_console(x, &plan.console, &e);
		if (!r)
			r = wait_go(x->sync[1], &e);
	}
	if (!r)
		r = process_prepare(&plan, &e);
	if (!r)
		r = hardening_join(&x->k, &plan.landlock_ruleset, &e);
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	if (!r)
		process_execute(&plan, &e);
	snprintf(text, sizeof text, "%c%.*s", MSG_ERROR, ERR_TEXT_MAX - 2, e.text);
	message_send(x->sync[1], text, strlen(text), -1);
	_exit(e.code == -ENOENT ? 127 : 126);
}

static void __attribute__((noreturn)) stage_main(struct exec *x)
{
	struct err e = { 0 };
	char text[ERR_TEXT_MAX + 1];
	pid_t pid = -1;
	int r;

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	close(x->sync[0]);
	state_close(&x->k.dir);
	r = x->process->exec_cpu_affinity ?
	    set_affinity("initial", x->process->exec_cpu_affinity->initial, &e) : 0;
	if (!r)
		r = cgroup_join_self(&x->entry, &e);
	if (!r)
		r = namespaces_join(x->ns_fd, x->ns_type, ARRAY_SIZE(kinds), &e);
	if (!r) {
		pid = clone_process(CLONE_PARENT, x->entry.into);
		if (!pid)
			exec_main(x);
		if (pid < 0)
			r = err_sys(&e, errno, "clone");
		snprintf(text, sizeof text, "%c%d", MSG_PID, (int)pid);
	}
	if (r)
		snprintf(text, sizeof text, "%c%.*s", MSG_ERROR, ERR_TEXT_MAX - 2, e.text);
	message_send(x->sync[1], text, strlen(text), -1);
	_exit(0);
}

static int receive(struct exec *x, char *text, size_t size, int *fd, struct err *e)
{
	ssize_t n = message_receive(x->sync[0], text, size - 1, fd);

	if (n < 0)
		return err_sys(e, (int)-n, "exec");
	text[n] = 0;
	if (n && text[0] == MSG_ERROR)
		return err_set(e, -ECANCELED, "exec: %s", text + 1);
	return 0;
}

static int pass_console(struct exec *x, int master, int *console, struct err *e)
{
	_cleanup_fd_ int sock = -1;
	struct stat st;
	int r;

	if (master < 0 || fstat(master, &st) < 0 || !S_ISCHR(st.st_mode) ||
	    (st.st_rdev != makedev(5, 2) && major(st.st_rdev) != 128))
		return err_set(e, -EINVAL, "the container's side sent no terminal");
	if (!x->console_socket) {
		*console = fcntl(master, F_DUPFD_CLOEXEC, 3);
		return *console < 0 ? err_sys(e, errno, "terminal") : 0;
	}
	sock = socket_connect_at(AT_FDCWD, x->console_socket, SOCK_STREAM);
	if (sock < 0)
		return err_sys(e, -sock, "--console-socket: connect to %s", x->console_socket);
	r = message_send(sock, "/dev/ptmx", 9, master);
	return r ? err_sys(e, -r, "--console-socket: send the terminal") : 0;
}

/* After A has told us B's pid: limits, cgroups, go, and the end of file that means "executed". */
static int attend(struct exec *x, struct command_line *c, pid_t pid, int *console, struct err *e)
{
	char text[ERR_TEXT_MAX + 2];
	int fd = -1, r;

	r = process_set_rlimits(pid, x->process, e);
	if (!r && x->process->oom_score_adj.set) {
		snprintf(text, sizeof text, "/proc/%d/oom_score_adj", (int)pid);
		file_printf_at(AT_FDCWD, text, "%lld", (long long)x->process->oom_score_adj.v);
	}
	if (!r && option(c, "pid-file")) {
		int n = snprintf(text, sizeof text, "%d", (int)pid);
		_cleanup_fd_ int out = open(option(c, "pid-file"),
					    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		r = out < 0 ? -errno : fd_write_all(out, text, (size_t)n);
		if (r)
			err_sys(e, -r, "--pid-file: write %s", option(c, "pid-file"));
	}
	if (!r)
		r = message_send(x->sync[0], "g", 1, -1);
	while (!r) {
		r = receive(x, text, sizeof text, &fd, e);
		if (r || !text[0])
			break;
		if (text[0] == MSG_CONSOLE)
			r = pass_console(x, fd, console, e);
		if (fd >= 0)
			close(fd);
		if (!r)
			r = message_send(x->sync[0], "g", 1, -1);
	}
	return r;
}

static int parse_user(const char *s, struct oci_user *u, struct err *e)
{
	char uid[16];
	const char *colon = strchrnul(s, ':');
	u64 v;

	snprintf(uid, sizeof uid, "%.*s", (int)MIN(colon - s, 15), s);
	if (parse_u64(uid, ID_LIMIT, &v))
		return err_set(e, -EINVAL, "option --user: \"%.64s\" is not UID[:GID]", s);
	u->uid = (struct oci_uint){ v, true };
	if (!*colon)
		return 0;
	if (parse_u64(colon + 1, ID_LIMIT, &v))
		return err_set(e, -EINVAL, "option --user: \"%.64s\" is not UID[:GID]", s);
	u->gid = (struct oci_uint){ v, true };
	return 0;
}

static int add_gids(struct command_line *c, struct exec *x, struct oci_user *u, struct err *e)
{
	const char *s;
	size_t n = 0, i;
	u64 *v;

	while (option_nth(c, "additional-gids", n))
		n++;
	if (!n)
		return 0;
	v = spec_alloc(x->k.document, (n + u->additional_gids.n) * sizeof *v);
	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	for (i = 0; i < u->additional_gids.n; i++)
		v[i] = u->additional_gids.v[i];
	for (i = 0; i < n; i++) {
		s = option_nth(c, "additional-gids", i);
		if (parse_u64(s, ID_LIMIT, &v[u->additional_gids.n + i]))
			return err_set(e, -EINVAL, "option --additional-gids: \"%.64s\"", s);
	}
	u->additional_gids.v = v;
	u->additional_gids.n += n;
	return 0;
}

static int add_caps(struct command_line *c, struct exec *x, struct err *e)
{
	struct oci_capabilities *caps = x->process->capabilities;
	const char *s;
	size_t i;

	for (i = 0; (s = option_nth(c, "cap", i)); i++) {
		char name[64];
		int cap;

		snprintf(name, sizeof name, "%s", strncasecmp(s, "CAP_", 4) ? s : s + 4);
		cap = capability_number(name);
		if (cap < 0)
			return err_set(e, -EINVAL, "option --cap: unknown capability %.32s", s);
		if (!caps) {
			caps = spec_alloc(x->k.document, sizeof *caps);
			if (!caps)
				return err_set(e, -ENOMEM, "out of memory");
			x->process->capabilities = caps;
		}
		caps->bounding.mask |= BIT(cap);
		caps->effective.mask |= BIT(cap);
		caps->permitted.mask |= BIT(cap);
	}
	return 0;
}

/* The container's own process, with what the command line changes. */
static int process_from_options(struct command_line *c, struct exec *x, struct err *e)
{
	struct oci_process *p = x->k.spec->process;
	struct oci_user *u;
	const char *s;
	size_t i;
	int r = 0;

	x->process = p;
	if (!p->user)
		p->user = spec_alloc(x->k.document, sizeof *p->user);
	u = p->user;
	if (!u)
		return err_set(e, -ENOMEM, "out of memory");
	p->terminal = flag(c, "tty");
	p->args = (struct oci_strs){ c->argv + 1, (size_t)c->argc - 1, true };
	for (i = 0; (s = option_nth(c, "env", i)) && !r; i++)
		r = spec_strs_add(x->k.document, &p->env, s);
	if (r)
		return err_set(e, r, "out of memory");
	if (option(c, "cwd"))
		p->cwd = (char *)option(c, "cwd");
	if (option(c, "user"))
		r = parse_user(option(c, "user"), u, e);
	if (!r)
		r = add_gids(c, x, u, e);
	if (!r)
		r = add_caps(c, x, e);
	if (option(c, "apparmor"))
		p->apparmor_profile = (char *)option(c, "apparmor");
	if (option(c, "process-label"))
		p->selinux_label = (char *)option(c, "process-label");
	if (flag(c, "no-new-privs"))
		p->no_new_privileges = true;
	return r;
}

static int read_process(struct command_line *c, struct exec *x, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	const char *file = option(c, "process");
	size_t n;
	int r;

	if (!file) {
		if (c->argc < 2)
			return err_set(e, -EINVAL, "exec: no command given");
		return process_from_options(c, x, e);
	}
	r = file_read_at(AT_FDCWD, file, SPEC_SIZE_MAX, &text, &n);
	if (r)
		return err_sys(e, -r, "--process: read %s", file);
	r = spec_parse_process(text, n, &x->owner, &x->process, e);
	if (r)
		return r;
	if (flag(c, "tty"))
		x->process->terminal = true;
	if (!x->process->user)
		x->process->user = spec_alloc(x->owner, sizeof *x->process->user);
	return x->process->user ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int prepare(struct command_line *c, struct exec *x, struct err *e)
{
	const struct oci_seccomp *s;
	_cleanup_fd_ int cache = -1;
	int r;

	if (!x->k.spec || !x->k.spec->process)
		return err_set(e, -EINVAL, "container %s was never made", c->argv[0]);
	if (x->k.status != STATUS_RUNNING && x->k.status != STATUS_CREATED &&
	    !(x->k.status == STATUS_PAUSED && flag(c, "ignore-paused")))
		return err_set(e, -EINVAL, "cannot exec in a %s container",
			       status_names[x->k.status]);
	r = read_process(c, x, e);
	if (!r)
		r = process_check(x->process, e);
	if (!r)
		r = option_u64(c, "preserve-fds", 65536, &x->preserve_fds, e);
	if (r)
		return r;
	s = x->k.spec->linux_ ? x->k.spec->linux_->seccomp : NULL;
	if (s) {
		/* a supervisor of the hardened run's is left out, somebody else's cannot be */
		bool ours = spec_annotation(x->k.spec, ANNOTATION_HARDENED) != NULL;
		unsigned mode = ours ? SECCOMP_CONDITIONS_FIRST | SECCOMP_NO_SUPERVISOR : 0;

		cache = openat(x->k.dir.root, ".seccomp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = seccomp_compile_cached(s, mode, cache, &x->filter, e);
		if (!r && x->filter.notify)
			r = err_set(e, -ENOTSUP, "exec: the container's filter has a supervisor, "
				    "which takes only its first process");
		x->has_filter = true;
	}
	x->console_socket = option(c, "console-socket");
	x->detach = flag(c, "detach");
	if (!r && x->process->terminal && x->detach && !x->console_socket)
		r = err_set(e, -EINVAL, "exec: a terminal needs --console-socket with --detach");
	return r ? r : open_namespaces(x, e);
}

static int start(struct command_line *c, struct exec *x, pid_t *pid, int *console, struct err *e)
{
	char text[ERR_TEXT_MAX + 2];
	pid_t stage;
	int r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, x->sync) < 0)
		return err_sys(e, errno, "socketpair");
	r = cgroup_join_prepare(&x->k.cgroup, option(c, "cgroup"), &x->entry, e);
	if (r)
		return r;
	stage = clone_process(0, -1);
	if (stage < 0)
		return err_sys(e, errno, "clone");
	if (!stage)
		stage_main(x);
	close(x->sync[1]);
	x->sync[1] = -1;
	r = receive(x, text, sizeof text, NULL, e);
	while (waitpid(stage, NULL, 0) < 0 && errno == EINTR)
		;
	if (r)
		return r;
	if (text[0] != MSG_PID)
		return err_set(e, -ECANCELED, "exec: the process that joins namespaces has ended");
	*pid = (pid_t)strtol(text + 1, NULL, 10);
	r = attend(x, c, *pid, console, e);
	if (r) {
		kill(*pid, SIGKILL);
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return r;
}

static int run_exec(struct command_line *c, struct err *e)
{
	struct exec x = { .sync = { -1, -1 }, .entry = { .into = -1 } };
	int r = container_open(&x.k, c->global, c->argv[0], false, e), console = -1;
	pid_t pid = 0;
	size_t i;

	if (r)
		return r;
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		x.ns_fd[i] = -1;
	r = prepare(c, &x, e);
	if (!r)
		r = start(c, &x, &pid, &console, e);
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (x.ns_fd[i] >= 0)
			close(x.ns_fd[i]);
	if (x.sync[0] >= 0)
		close(x.sync[0]);
	cgroup_entry_close(&x.entry);
	seccomp_free(&x.filter);
	spec_free(x.owner);
	container_close(&x.k);
	if (r)
		return r;
	return x.detach ? 0 : supervise(pid, console, e);
}

const struct command oci_command_exec = {
	.name = "exec", .operands = "ID COMMAND [ARGS]",
	.help = "run one more process in a container",
	.options = (const struct option_row[]){
		{ "console-socket", 0, "PATH", "socket that receives the terminal's master side",
		  false },
		{ "cwd", 0, "DIR", "working directory", false },
		{ "env", 'e', "NAME=VALUE", "set an environment variable", true },
		{ "tty", 't', NULL, "give it a terminal", false },
		{ "user", 'u', "UID[:GID]", "run as", false },
		{ "additional-gids", 'g', "GID", "one more group", true },
		{ "process", 'p', "FILE", "take process from this JSON file", false },
		{ "detach", 'd', NULL, "do not wait", false },
		{ "pid-file", 0, "FILE", "write its process id there", false },
		{ "process-label", 0, "LABEL", "SELinux label", false },
		{ "apparmor", 0, "PROFILE", "AppArmor profile", false },
		{ "no-new-privs", 0, NULL, "set no_new_privs", false },
		{ "cap", 'c', "CAP", "one more capability", true },
		{ "preserve-fds", 0, "N", "pass N descriptors beyond stdio", false },
		{ "cgroup", 0, "PATH", "sub-group of the container's cgroups", false },
		{ "ignore-paused", 0, NULL, "also in a paused container", false },
		{ 0 } },
	.min = 1, .max = -1, .run = run_exec,
};
