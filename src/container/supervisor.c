/* SPDX-License-Identifier: MIT */
#include "container/supervisor.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define EVENTS_PER_SECOND 100
#define LEARN_PATHS_MAX 65536
#define NR_MAX 1024

const char *const harden_absent_calls[] = {
	"io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_create", "memfd_secret",
	"userfaultfd", "pidfd_open", "pidfd_getfd", "process_madvise", "fsopen", "open_tree",
	"move_mount", "mount_setattr", NULL,
};

/* Calls with a path that make, change or run a file: which arguments hold directory and path. */
static const struct path_call {
	const char *name;
	signed char dir, path, flags; /* -1: none */
	char access;                  /* 'o': by the flags of open; 'w', 'x', 'r' */
} path_calls[] = {
	{ "open", -1, 0, 1, 'o' }, { "openat", 0, 1, 2, 'o' }, { "openat2", 0, 1, -1, 'r' },
	{ "creat", -1, 0, -1, 'w' }, { "execve", -1, 0, -1, 'x' }, { "execveat", 0, 1, -1, 'x' },
	{ "mkdir", -1, 0, -1, 'w' }, { "mkdirat", 0, 1, -1, 'w' }, { "rmdir", -1, 0, -1, 'w' },
	{ "unlink", -1, 0, -1, 'w' }, { "unlinkat", 0, 1, -1, 'w' },
	{ "rename", -1, 1, -1, 'w' }, { "renameat", 2, 3, -1, 'w' },
	{ "renameat2", 2, 3, -1, 'w' }, { "link", -1, 1, -1, 'w' }, { "linkat", 2, 3, -1, 'w' },
	{ "symlink", -1, 1, -1, 'w' }, { "symlinkat", 1, 2, -1, 'w' },
	{ "truncate", -1, 0, -1, 'w' }, { "chmod", -1, 0, -1, 'w' },
	{ "fchmodat", 0, 1, -1, 'w' }, { "chown", -1, 0, -1, 'w' }, { "fchownat", 0, 1, -1, 'w' },
	{ "mknod", -1, 0, -1, 'w' }, { "mknodat", 0, 1, -1, 'w' },
};

struct seen_path {
	char access;
	char *path;
};

struct watch {
	const struct supervisor *s;
	int listener, events;
	struct seccomp_notif *request;
	struct seccomp_notif_resp *response;
	signed char path_call_of[NR_MAX]; /* row of path_calls, or -1 */
	bool absent[NR_MAX];
	bool seen[NR_MAX];
	struct seen_path *paths;
	size_t n_paths;
	char command[32];                 /* of the process that asked, read before it is contained */
	bool frozen;                      /* nothing is answered any more: the evidence stays */
	time_t second;
	unsigned in_second, dropped;
};

static void event(struct watch *w, const char *kind, pid_t pid, const char *call,
		  const char *object, const char *done)
{
	_cleanup_text_ struct text t = { 0 };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != w->second) {
		w->second = now.tv_sec;
		w->in_second = 0;
	}
	if (++w->in_second > EVENTS_PER_SECOND) { /* a flood of events must not become one of logs */
		w->dropped++;
		return;
	}
	text_add(&t, "{\"time\":%lld.%03ld,\"id\":\"%s\",\"event\":\"%s\",\"pid\":%d,\"command\":",
		 (long long)now.tv_sec, now.tv_nsec / 1000000, w->s->id, kind, (int)pid);
	text_add_json(&t, w->command);
	if (call) {
		text_add(&t, ",\"call\":");
		text_add_json(&t, call);
	}
	if (object) {
		text_add(&t, ",\"object\":");
		text_add_json(&t, object);
	}
	if (w->dropped)
		text_add(&t, ",\"suppressed\":%u", w->dropped);
	text_add(&t, ",\"answer\":\"%s\"}\n", done);
	w->dropped = 0;
	if (!t.failed)
		fd_write_all(w->events, t.text, t.length);
}

static const char *call_name(int nr, char *room, size_t size)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

	snprintf(room, size, "%s", name ? name : "?");
	free(name);
	if (*room == '?')
		snprintf(room, size, "number %d", nr);
	return room;
}

static void read_command(struct watch *w)
{
	_cleanup_free_ char *comm = NULL;
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/comm", (int)w->request->pid);
	w->command[0] = 0;
	if (!file_read_at(AT_FDCWD, path, 64, &comm, NULL))
		snprintf(w->command, sizeof w->command, "%.*s", (int)MIN(strcspn(comm, "\n"), 31u), comm);
}

static bool still_valid(struct watch *w)
{
	return !ioctl(w->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &w->request->id);
}

/* The path argument, as text; what the process does with it afterwards may differ. */
static int read_path(struct watch *w, u64 address, char *out, size_t size)
{
	char name[64];
	_cleanup_fd_ int mem = -1;
	ssize_t n;

	snprintf(name, sizeof name, "/proc/%d/mem", (int)w->request->pid);
	mem = open(name, O_RDONLY | O_CLOEXEC);
	if (mem < 0 || !still_valid(w)) /* the pid may be another's by now */
		return -ESRCH;
	n = pread(mem, out, size - 1, (off_t)address);
	if (n <= 0) /* the string may end before the page does */
		n = pread(mem, out, 4096 - (address & 4095) < size ? 4096 - (address & 4095) :
			  size - 1, (off_t)address);
	if (n <= 0)
		return -EFAULT;
	out[n] = 0;
	return 0;
}

struct target {
	int root, fd;       /* the container's root; the file, or its directory when it is missing */
	char shown[4096];   /* path within the container */
	bool exists;
};

static void target_close(struct target *t)
{
	if (t->root >= 0)
		close(t->root);
	if (t->fd >= 0)
		close(t->fd);
}

/* Absolute path of the argument in the container, as text. */
static int whole_path(struct watch *w, const struct path_call *c, const char *path, char *out,
		      size_t size)
{
	s32 dir = c->dir < 0 ? AT_FDCWD : (s32)w->request->data.args[(int)c->dir];
	char link[64], base[4096];
	ssize_t n;

	if (path[0] == '/')
		return snprintf(out, size, "%s", path) < (int)size ? 0 : -ENAMETOOLONG;
	if (dir == AT_FDCWD)
		snprintf(link, sizeof link, "/proc/%d/cwd", (int)w->request->pid);
	else
		snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)w->request->pid, dir);
	n = readlink(link, base, sizeof base - 1);
	if (n <= 0)
		return -ENOENT;
	base[n] = 0;
	return snprintf(out, size, "%s%s%s", base, *path ? "/" : "", path) < (int)size ? 0 :
	       -ENAMETOOLONG;
}

static int find_target(struct watch *w, const struct path_call *c, struct target *t)
{
	char path[4096], whole[8200], link[64];
	ssize_t n;
	int r;

	*t = (struct target){ .root = -1, .fd = -1 };
	r = read_path(w, w->request->data.args[(int)c->path], path, sizeof path);
	if (!r)
		r = whole_path(w, c, path, whole, sizeof whole);
	if (r)
		return r;
	snprintf(link, sizeof link, "/proc/%d/root", (int)w->request->pid);
	t->root = open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t->root < 0 || !still_valid(w))
		return -ESRCH;
	t->fd = path_open(t->root, whole, PATH_IN_ROOT, O_PATH, 0);
	t->exists = t->fd >= 0;
	if (t->fd == -ENOENT) {
		char *slash = strrchr(whole, '/');

		if (slash)
			*slash = 0;
		t->fd = path_open(t->root, *whole ? whole : "/", PATH_IN_ROOT, O_PATH, 0);
		snprintf(t->shown, sizeof t->shown, "%.4000s", path);
	}
	if (t->fd < 0)
		return t->fd;
	if (t->exists) { /* links resolved: the name that rules are about */
		snprintf(link, sizeof link, "/proc/self/fd/%d", t->fd);
		n = readlink(link, t->shown, sizeof t->shown - 1);
		t->shown[n > 0 ? n : 0] = 0;
	}
	return 0;
}

static u64 mount_id(int fd)
{
	struct statx x;

	return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &x) ? 0 : x.stx_mnt_id;
}

static char access_of(const struct watch *w, const struct path_call *c)
{
	u64 flags = c->flags < 0 ? 0 : w->request->data.args[(int)c->flags];

	if (c->access != 'o')
		return c->access;
	return flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) ? 'w' : 'r';
}

/* Brings every interface of the container's network down; in a child, since it joins. */
static void disconnect(pid_t pid)
{
	char path[64];
	pid_t child = fork();

	if (!child) {
		struct if_nameindex *list, *i;
		int ns, s;

		snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
		ns = open(path, O_RDONLY | O_CLOEXEC);
		if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
			_exit(1);
		s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		list = if_nameindex();
		for (i = list; i && i->if_name; i++) {
			struct ifreq r = { 0 };

			snprintf(r.ifr_name, sizeof r.ifr_name, "%s", i->if_name);
			ioctl(s, SIOCSIFFLAGS, &r);
		}
		_exit(0);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool same_network(pid_t pid)
{
	char path[64], a[64], b[64];
	ssize_t n, m;

	snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
	n = readlink(path, a, sizeof a);
	m = readlink("/proc/self/ns/net", b, sizeof b);
	return n == m && n > 0 && !memcmp(a, b, (size_t)n);
}

/* kill and freeze; returns what was done, for the event. */
static const char *contain(struct watch *w, pid_t pid, char *room, size_t size)
{
	struct timespec from, to;
	struct err e = { 0 };
	struct container k;
	int r;

	if (w->s->answer == ANSWER_LOG)
		return "denied";
	clock_gettime(CLOCK_MONOTONIC, &from);
	if (container_open(&k, w->s->global, w->s->id, false, &e))
		return "failed";
	if (w->s->answer == ANSWER_KILL) {
		r = cgroup_kill(&k.cgroup, SIGKILL, &e);
		container_close(&k);
		return r ? "failed" : "killed";
	}
	r = cgroup_freeze(&k.cgroup, true, &e);
	if (!same_network(pid))
		disconnect(pid);
	container_close(&k);
	clock_gettime(CLOCK_MONOTONIC, &to);
	w->frozen = true;
	snprintf(room, size, r ? "failed" : "frozen in %.1f ms",
		 (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
	return room;
}

static void answer(struct watch *w, int error, bool go_on)
{
	memset(w->response, 0, sizeof *w->response);
	w->response->id = w->request->id;
	w->response->error = -error;
	w->response->flags = go_on ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
	/* ENOENT: the process was killed meanwhile */
	ioctl(w->listener, SECCOMP_IOCTL_NOTIF_SEND, w->response);
}

static void learn_path(struct watch *w, char access, const char *path)
{
	size_t i;

	for (i = 0; i < w->n_paths; i++)
		if (w->paths[i].access == access && !strcmp(w->paths[i].path, path))
			return;
	if (w->n_paths == LEARN_PATHS_MAX)
		return;
	if (!(w->n_paths & (w->n_paths - 1))) {
		struct seen_path *v = realloc(w->paths, (w->n_paths ? w->n_paths * 2 : 1) * sizeof *v);

		if (!v)
			return;
		w->paths = v;
	}
	w->paths[w->n_paths].access = access;
	w->paths[w->n_paths].path = strdup(path);
	if (w->paths[w->n_paths].path)
		w->n_paths++;
}

static void learn(struct watch *w, int nr, const struct path_call *c)
{
	struct target t;

	if (nr >= 0 && nr < NR_MAX)
		w->seen[nr] = true;
	if (c && !find_target(w, c, &t)) {
		if (t.exists || access_of(w, c) == 'w') {
			char *slash;

			if (!t.exists) { /* made here: the right is one to its directory */
				char link[64];
				ssize_t n;

				snprintf(link, sizeof link, "/proc/self/fd/%d", t.fd);
				n = readlink(link, t.shown, sizeof t.shown - 1);
				t.shown[n > 0 ? n : 0] = 0;
			} else if (access_of(w, c) == 'w' && c->access != 'o' &&
				   (slash = strrchr(t.shown, '/'))) {
				slash[slash == t.shown] = 0; /* unlink and the like: the directory */
			}
			if (t.shown[0] == '/')
				learn_path(w, access_of(w, c), t.shown);
		}
		target_close(&t);
	} else if (c) {
		target_close(&t);
	}
	answer(w, 0, true);
}

/* A call with a path: an event when it writes where nothing may be written, or runs what is not
 * the image's.  The kernel refuses both by itself. */
static void look_at_path(struct watch *w, const struct path_call *c)
{
	char access = access_of(w, c), room[64];
	struct statvfs fs;
	struct target t;
	bool bad = false;

	if (!find_target(w, c, &t) && !fstatvfs(t.fd, &fs)) {
		if (access == 'w')
			bad = fs.f_flag & ST_RDONLY;
		else if (access == 'x' && t.exists)
			bad = mount_id(t.fd) != mount_id(t.root) || (fs.f_flag & ST_NOEXEC);
	}
	if (bad) {
		const char *done;

		read_command(w);
		done = contain(w, (pid_t)w->request->pid, room, sizeof room);

		event(w, access == 'w' ? "write to a protected path" : "exec of a foreign file",
		      (pid_t)w->request->pid, c->name, t.shown, done);
	}
	target_close(&t);
	if (!w->frozen)
		answer(w, 0, true);
}

static void handle(struct watch *w)
{
	int nr = w->request->data.nr;
	const struct path_call *c = nr >= 0 && nr < NR_MAX && w->path_call_of[nr] >= 0 ?
				    &path_calls[(int)w->path_call_of[nr]] : NULL;
	char name[64], room[64];

	if (w->s->learn) {
		learn(w, nr, c);
		return;
	}
	if (c) {
		look_at_path(w, c);
		return;
	}
	read_command(w);
	event(w, "denied system call", (pid_t)w->request->pid, call_name(nr, name, sizeof name), NULL,
	      contain(w, (pid_t)w->request->pid, room, sizeof room));
	if (!w->frozen)
		answer(w, nr >= 0 && nr < NR_MAX && w->absent[nr] ? ENOSYS : EPERM, false);
}

static void write_learnt(struct watch *w)
{
	_cleanup_text_ struct text t = { 0 };
	_cleanup_fd_ int fd = open(w->s->learn, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char name[64];
	size_t i;

	for (i = 0; i < NR_MAX; i++)
		if (w->seen[i])
			text_add(&t, "s %s\n", call_name((int)i, name, sizeof name));
	for (i = 0; i < w->n_paths; i++)
		if (!strchr(w->paths[i].path, '\n'))
			text_add(&t, "%c %s\n", w->paths[i].access, w->paths[i].path);
	if (fd >= 0 && t.text)
		fd_write_all(fd, t.text, t.length);
}

static void prepare_tables(struct watch *w)
{
	size_t i;
	int nr;

	memset(w->path_call_of, -1, sizeof w->path_call_of);
	for (i = 0; i < ARRAY_SIZE(path_calls); i++) {
		nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, path_calls[i].name);
		if (nr >= 0 && nr < NR_MAX)
			w->path_call_of[nr] = (signed char)i;
	}
	for (i = 0; harden_absent_calls[i]; i++) {
		nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, harden_absent_calls[i]);
		if (nr >= 0 && nr < NR_MAX)
			w->absent[nr] = true;
	}
}

static void __attribute__((noreturn)) watch_main(const struct supervisor *s, int sock)
{
	static struct watch w;
	struct seccomp_notif_sizes sizes;
	char byte;

	w.s = s;
	prctl(PR_SET_NAME, "penumbra-watch", 0, 0, 0);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	w.events = s->events ? open(s->events, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
				    0600) : 2;
	if (message_receive(sock, &byte, 1, &w.listener) <= 0 || w.listener < 0 || w.events < 0 ||
	    syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		_exit(1);
	close(sock);
	w.request = calloc(1, MAX(sizes.seccomp_notif, sizeof *w.request));
	w.response = calloc(1, MAX(sizes.seccomp_notif_resp, sizeof *w.response));
	if (!w.request || !w.response)
		_exit(1);
	prepare_tables(&w);
	for (;;) {
		struct pollfd p = { w.listener, w.frozen ? 0 : POLLIN, 0 };

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			break;
		if (p.revents & POLLHUP) /* the last process with this filter has ended */
			break;
		if (!(p.revents & POLLIN))
			continue;
		memset(w.request, 0, sizes.seccomp_notif);
		if (!ioctl(w.listener, SECCOMP_IOCTL_NOTIF_RECV, w.request))
			handle(&w);
	}
	if (s->learn)
		write_learnt(&w);
	_exit(0);
}

int supervisor_start(struct supervisor *s, struct err *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "socketpair");
	fflush(NULL);
	s->pid = fork();
	if (s->pid < 0) {
		close(pair[0]);
		close(pair[1]);
		return err_sys(e, errno, "fork the supervisor");
	}
	if (!s->pid) {
		setsid();
		/* nothing of the runtime's stays with it: a lock would be held as long as the container runs */
		if ((pair[0] != 3 && dup3(pair[0], 3, O_CLOEXEC) < 0) || close_range(4, ~0u, 0) < 0)
			_exit(1);
		watch_main(s, 3);
	}
	close(pair[0]);
	s->sock = pair[1];
	return 0;
}

void supervisor_wait(struct supervisor *s)
{
	if (s->sock >= 0)
		close(s->sock);
	s->sock = -1;
	while (s->pid > 0 && waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
}
