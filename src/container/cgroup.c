/* SPDX-License-Identifier: MIT
 * Finding, making, joining, freezing, emptying and removing control groups. */
#include "container/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

/* The next space-separated word of *line, which is advanced; NULL at the end. */
static char *word(char **line)
{
	char *w = *line;

	if (!w || !*w)
		return NULL;
	*line = strchr(w, ' ');
	if (*line)
		*(*line)++ = 0;
	return w;
}

static bool list_has(const char *list, const char *name)
{
	size_t n = strlen(name);
	const char *p = list;

	while ((p = strstr(p, name))) {
		if ((p == list || p[-1] == ',' || p[-1] == ' ') &&
		    (!p[n] || p[n] == ',' || p[n] == ' ' || p[n] == '\n'))
			return true;
		p += n;
	}
	return false;
}

/* Our place in the hierarchy, from /proc/self/cgroup: lines "id:controllers:path". */
static char *own_place(const char *text, const struct cgroup_part *p)
{
	const char *line;

	for (line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
		size_t n;

		if (!path)
			break;
		n = (size_t)(path - list - 1);
		if (n == strlen(p->controllers) && !strncmp(list + 1, p->controllers, n))
			return strndup(path + 1, strcspn(path + 1, "\n"));
	}
	return NULL;
}

static const char *const v1_names[] = {
	"blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "net_cls",
	"net_prio", "perf_event", "pids", "rdma", "misc",
};

/* Fills a part from one line of /proc/self/mountinfo; returns whether it is a hierarchy. */
static bool parse_mount(char *line, struct cgroup_part *p)
{
	char *tail = strstr(line, " - "), *mount = NULL, *type, *options = NULL, *w;
	int i;

	if (!tail)
		return false;
	*tail = 0;
	tail += 3;
	type = word(&tail);
	if (!type || strncmp(type, "cgroup", 6))
		return false;
	p->v2 = !strcmp(type, "cgroup2");
	word(&tail);
	options = word(&tail);
	for (i = 0; i < 5; i++)
		mount = word(&line);
	if (!mount)
		return false;
	p->controllers[0] = 0;
	while (!p->v2 && options && (w = strsep(&options, ","))) {
		bool known = !strncmp(w, "name=", 5);

		for (size_t k = 0; k < ARRAY_SIZE(v1_names) && !known; k++)
			known = !strcmp(w, v1_names[k]);
		if (known && strlen(p->controllers) + strlen(w) + 2 < sizeof p->controllers) {
			if (p->controllers[0])
				strcat(p->controllers, ",");
			strcat(p->controllers, w);
		}
	}
	if (!p->v2 && !p->controllers[0])
		return false;
	p->mount = strdup(mount);
	p->fd = -1;
	return p->mount != NULL;
}

static int plan_directory(struct cgroup_part *p, const char *path, const char *id, struct err *e)
{
	const char *relative = path && *path ? path : id;
	int r;

	if (strstr(relative, "..")) {
		const char *q = relative;

		while ((q = strstr(q, ".."))) {
			if ((q == relative || q[-1] == '/') && (!q[2] || q[2] == '/'))
				return err_set(e, -EINVAL, "linux.cgroupsPath: \"%.200s\" contains "
					       "..", relative);
			q += 2;
		}
	}
	if (relative[0] == '/')
		r = asprintf(&p->dir, "%s%s", p->mount, relative);
	else
		r = asprintf(&p->dir, "%s%s%s%s", p->mount, p->own,
			     p->own[strlen(p->own) - 1] == '/' ? "" : "/", relative);
	if (r < 0) {
		p->dir = NULL;
		return -ENOMEM;
	}
	while (r > 1 && p->dir[r - 1] == '/')
		p->dir[--r] = 0;
	if (!strcmp(p->dir, p->mount))
		return err_set(e, -EINVAL, "linux.cgroupsPath: \"%.200s\" is the hierarchy itself",
			       relative);
	return 0;
}

int cgroup_plan(struct cgroup *c, const char *path, const char *id, bool rootless, struct err *e)
{
	_cleanup_free_ char *mounts = NULL, *own = NULL;
	char *line, *next;
	int r = file_read_at(AT_FDCWD, "/proc/self/mountinfo", 16 << 20, &mounts, NULL);

	memset(c, 0, sizeof *c);
	c->rootless = rootless;
	if (r)
		return err_sys(e, -r, "read /proc/self/mountinfo");
	r = file_read_at(AT_FDCWD, "/proc/self/cgroup", 1 << 20, &own, NULL);
	if (r)
		return err_sys(e, -r, "read /proc/self/cgroup");
	for (line = mounts; *line && c->n < CGROUP_PARTS_MAX; line = next) {
		struct cgroup_part *p = &c->part[c->n];
		size_t i;

		next = strchrnul(line, '\n');
		if (*next)
			*next++ = 0;
		if (!strstr(line, " - cgroup") || !parse_mount(line, p))
			continue;
		for (i = 0; i < c->n; i++) /* mounted twice: the first is enough */
			if (c->part[i].v2 == p->v2 && !strcmp(c->part[i].controllers, p->controllers))
				break;
		p->own = i == c->n ? own_place(own, p) : NULL;
		if (!p->own || p->own[0] != '/' || !strncmp(p->own, "/..", 3)) {
			free(p->mount);
			free(p->own);
			memset(p, 0, sizeof *p);
			continue;
		}
		c->n++;
		r = plan_directory(p, path, id, e);
		if (r) {
			cgroup_close(c);
			return r == -ENOMEM ? err_set(e, r, "cgroups: out of memory") : r;
		}
	}
	return 0;
}

int cgroup_describe(const struct cgroup *c, struct oci_strs *dirs)
{
	size_t i;

	dirs->v = calloc(c->n + 1, sizeof *dirs->v);
	if (!dirs->v)
		return -ENOMEM;
	for (i = 0; i < c->n; i++) {
		const struct cgroup_part *p = &c->part[i];

		if (asprintf(&dirs->v[i], "%s:%s", p->v2 ? "2" : p->controllers, p->dir) < 0) {
			dirs->v[i] = NULL;
			return -ENOMEM;
		}
		dirs->n++;
	}
	return 0;
}

int cgroup_part_fd(const struct cgroup_part *p)
{
	struct cgroup_part *w = (struct cgroup_part *)p;

	if (p->fd == -1) {
		w->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (p->fd < 0)
			w->fd = -2;
	}
	return p->fd < 0 ? -1 : p->fd;
}

int cgroup_reopen(struct cgroup *c, const struct oci_strs *dirs, struct err *e)
{
	size_t i;

	memset(c, 0, sizeof *c);
	for (i = 0; i < dirs->n && c->n < CGROUP_PARTS_MAX; i++) {
		struct cgroup_part *p = &c->part[c->n];
		const char *colon = strstr(dirs->v[i], ":/");
		size_t n = colon ? (size_t)(colon - dirs->v[i]) : sizeof p->controllers;

		if (n >= sizeof p->controllers)
			return err_set(e, -EINVAL, "state.json is damaged: cgroups[%zu]", i);
		memcpy(p->controllers, dirs->v[i], n);
		p->controllers[n] = 0;
		p->v2 = !strcmp(p->controllers, "2");
		if (p->v2)
			p->controllers[0] = 0;
		p->fd = -1;
		p->dir = strdup(colon + 1);
		if (!p->dir)
			return err_set(e, -ENOMEM, "cgroups: out of memory");
		c->n++;
	}
	return 0;
}

void cgroup_close(struct cgroup *c)
{
	size_t i;

	for (i = 0; i < c->n; i++) {
		if (c->part[i].fd >= 0)
			close(c->part[i].fd);
		free(c->part[i].mount);
		free(c->part[i].dir);
		free(c->part[i].own);
	}
	c->n = 0;
}

/* A new version 1 cpuset takes no process until it has processors and memory nodes. */
static int inherit_cpuset(int parent, int fd)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_fd_ int from = openat(parent, files[i], O_RDONLY | O_CLOEXEC);
		char list[4096]; /* the kernel gives it in one read */
		ssize_t n = from < 0 ? -1 : read(from, list, sizeof list);
		int r = n < 0 ? -errno : file_write_at(fd, files[i], list, (size_t)n);

		if (r)
			return r;
	}
	return 0;
}

/* Version 2: a group's controllers must be switched on in its parent. */
static void enable_controllers(int parent)
{
	_cleanup_free_ char *list = NULL;
	char *p, *w;

	if (file_read_at(parent, "cgroup.controllers", 4096, &list, NULL))
		return;
	p = list;
	while ((w = strsep(&p, " \n")))
		if (*w) /* one by one: a controller that is busy must not hold up the others */
			file_printf_at(parent, "cgroup.subtree_control", "+%s", w);
}

/* The directories above ours, one by one; each hierarchy's own rules for new groups are followed. */
static int create_below(struct cgroup_part *p, bool set, bool enable)
{
	_cleanup_fd_ int at = open(p->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *s = p->dir + strlen(p->mount);
	char name[NAME_MAX + 1];

	if (at < 0)
		return -errno;
	for (;;) {
		size_t n;
		int fd, r;
		bool made;

		while (*s == '/')
			s++;
		n = strcspn(s, "/");
		if (!n)
			break;
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, s, n);
		name[n] = 0;
		s += n;
		made = !mkdirat(at, name, 0755);
		if (!made && errno != EEXIST)
			return -errno;
		if (p->v2 && enable)
			enable_controllers(at);
		fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		r = set && made ? inherit_cpuset(at, fd) : 0;
		cleanup_fd(&at);
		at = fd;
		if (r)
			return r;
	}
	p->fd = fd_take(&at);
	return 0;
}

/* A directory that was there: an empty one may be used, one with processes is somebody else's. */
static int check_unused(struct cgroup_part *p)
{
	_cleanup_free_ char *procs = NULL;
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof path, "%s/cgroup.procs", p->dir);
	r = file_read_at(AT_FDCWD, path, 16 << 20, &procs, NULL);
	if (r == -ENOENT)
		return 0;
	p->foreign = r || *procs;
	return p->foreign ? -EADDRINUSE : 0;
}

static int create_part(struct cgroup_part *p, bool enable)
{
	bool set = list_has(p->controllers, "cpuset");

	/* most often only the last directory is missing */
	if (!set && !(p->v2 && enable)) {
		if (!mkdir(p->dir, 0755))
			return 0;
		if (errno == EEXIST)
			return check_unused(p);
	} else {
		int r = check_unused(p);

		if (r)
			return r;
	}
	return create_below(p, set, enable);
}

static void drop_part(struct cgroup *c, size_t i)
{
	free(c->part[i].mount);
	free(c->part[i].dir);
	free(c->part[i].own);
	memmove(&c->part[i], &c->part[i + 1], (c->n - i - 1) * sizeof c->part[0]);
	c->n--;
}

int cgroup_create(struct cgroup *c, const struct oci_resources *r0, struct err *e)
{
	/* on a hybrid host the few controllers of version 2 are switched on only when asked for:
	 * doing so changes the hierarchy for everybody */
	bool enable = c->n == 1 || (r0 && (r0->hugepage_limits.n || r0->rdma.n || r0->unified.n));
	size_t i;

	for (i = 0; i < c->n;) {
		int r = c->scope && c->part[i].v2 ? 0 : create_part(&c->part[i], enable);

		if ((r == -EACCES || r == -EPERM || r == -EROFS || r == -ENOENT) && c->rootless) {
			drop_part(c, i);
			continue;
		}
		if (r == -EADDRINUSE)
			return err_set(e, r, "linux.cgroupsPath: %s has processes already",
				       c->part[i].dir);
		if (r)
			return err_sys(e, -r, "make cgroup %s", c->part[i].dir);
		i++;
	}
	return 0;
}

int cgroup_join(struct cgroup *c, pid_t pid, const char *below, struct err *e)
{
	size_t i;

	for (i = 0; i < c->n;) {
		struct cgroup_part *p = &c->part[i];
		char name[PATH_MAX];
		int r;

		snprintf(name, sizeof name, "%s%scgroup.procs", below ? below : "",
			 below && *below ? "/" : "");
		r = file_printf_at(cgroup_part_fd(p), name, "%d", (int)pid);
		if (r == -EOPNOTSUPP && p->v2) /* a threaded or domain-invalid group */
			r = 0;
		if ((r == -EACCES || r == -EPERM) && c->rootless) {
			rmdir(p->dir);
			if (p->fd >= 0)
				close(p->fd);
			drop_part(c, i);
			continue;
		}
		if (r)
			return err_sys(e, -r, "join cgroup %s", p->dir);
		i++;
	}
	return 0;
}

int cgroup_join_prepare(struct cgroup *c, const char *below, struct cgroup_entry *entry,
			struct err *e)
{
	size_t i;

	*entry = (struct cgroup_entry){ .into = -1, .rootless = c->rootless };
	for (i = 0; i < c->n; i++) {
		struct cgroup_part *p = &c->part[i];
		char name[PATH_MAX];
		int fd;

		snprintf(name, sizeof name, "%s%s%s%s", p->dir, below && *below ? "/" : "",
			 below ? below : "", p->v2 ? "" : "/tasks");
		fd = open(name, (p->v2 ? O_RDONLY | O_DIRECTORY : O_WRONLY) | O_CLOEXEC);
		if (fd < 0 && c->rootless)
			continue;
		if (fd < 0) {
			cgroup_entry_close(entry);
			return err_sys(e, errno, "open cgroup %s", name);
		}
		if (p->v2)
			entry->into = fd;
		else
			entry->fd[entry->n++] = fd;
	}
	return 0;
}

int cgroup_join_self(const struct cgroup_entry *entry, struct err *e)
{
	size_t i;

	for (i = 0; i < entry->n; i++)
		if (write(entry->fd[i], "0", 1) < 0 &&
		    !(entry->rootless && (errno == EACCES || errno == EPERM)))
			return err_sys(e, errno, "join a cgroup");
	return 0;
}

void cgroup_entry_close(struct cgroup_entry *entry)
{
	/* opened one after the other, they most often are one range */
	if (entry->n && entry->fd[entry->n - 1] - entry->fd[0] == (int)entry->n - 1 &&
	    !close_range((unsigned)entry->fd[0], (unsigned)entry->fd[entry->n - 1], 0))
		entry->n = 0;
	while (entry->n)
		close(entry->fd[--entry->n]);
	if (entry->into >= 0)
		close(entry->into);
	entry->into = -1;
}

int cgroup_controller(const struct cgroup *c, const char *controller, bool *v2)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (!c->part[i].v2 && list_has(c->part[i].controllers, controller) &&
		    cgroup_part_fd(&c->part[i]) >= 0) {
			*v2 = false;
			return c->part[i].fd;
		}
	for (i = 0; i < c->n; i++) {
		_cleanup_free_ char *list = NULL;

		if (!c->part[i].v2 || cgroup_part_fd(&c->part[i]) < 0)
			continue;
		if (!file_read_at(c->part[i].fd, "cgroup.controllers", 4096, &list, NULL) &&
		    list_has(list, controller)) {
			*v2 = true;
			return c->part[i].fd;
		}
	}
	return -ENOENT;
}

static const struct cgroup_part *part_v2(const struct cgroup *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (c->part[i].v2 && cgroup_part_fd(&c->part[i]) >= 0)
			return &c->part[i];
	return NULL;
}

/* Waits until "key value" is a line of cgroup.events, which polls POLLPRI on each change. */
static int wait_event(int fd, const char *line, int timeout_ms)
{
	_cleanup_fd_ int events = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	char buf[512];

	if (events < 0)
		return -errno;
	for (;;) {
		struct pollfd p = { events, POLLPRI, 0 };
		ssize_t n = pread(events, buf, sizeof buf - 1, 0);

		if (n < 0)
			return errno == ENODEV ? 0 : -errno;
		buf[n] = 0;
		if (strstr(buf, line))
			return 0;
		n = poll(&p, 1, timeout_ms);
		if (!n)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* Version 1 has no notification of a finished freeze: ask again after each pause. */
static int freeze_v1(int fd, bool freeze)
{
	int tries, r = 0;

	for (tries = 0; tries < 1000; tries++) {
		_cleanup_free_ char *state = NULL;

		r = file_printf_at(fd, "freezer.state", freeze ? "FROZEN" : "THAWED");
		if (r)
			return r;
		r = file_read_at(fd, "freezer.state", 64, &state, NULL);
		if (r)
			return r;
		if (!strncmp(state, freeze ? "FROZEN" : "THAWED", 6))
			return 0;
		poll(NULL, 0, 1);
	}
	return -EBUSY;
}

int cgroup_freeze(struct cgroup *c, bool freeze, struct err *e)
{
	const struct cgroup_part *p = part_v2(c);
	bool v2;
	int fd, r;

	if (p) {
		r = file_printf_at(p->fd, "cgroup.freeze", freeze ? "1" : "0");
		if (!r && freeze)
			r = wait_event(p->fd, "frozen 1", 10000);
		if (!r)
			return 0;
		if (r != -ENOENT)
			return err_sys(e, -r, "%s cgroup %s", freeze ? "freeze" : "thaw", p->dir);
	}
	fd = cgroup_controller(c, "freezer", &v2);
	if (fd < 0 || v2)
		return err_set(e, -ENOTSUP, "this container has no cgroup that can be frozen");
	r = freeze_v1(fd, freeze);
	return r ? err_sys(e, -r, "%s the container", freeze ? "freeze" : "thaw") : 0;
}

bool cgroup_frozen(struct cgroup *c)
{
	const struct cgroup_part *p = part_v2(c);
	_cleanup_free_ char *text = NULL;
	bool v2;
	int fd;

	if (p && !file_read_at(p->fd, "cgroup.freeze", 16, &text, NULL) && text[0] == '1')
		return true;
	free(text);
	text = NULL;
	fd = cgroup_controller(c, "freezer", &v2);
	return fd >= 0 && !v2 && !file_read_at(fd, "freezer.state", 64, &text, NULL) &&
	       strncmp(text, "THAWED", 6);
}

/* Calls visit for `fd` and every directory below it, deepest first. */
static int each_group(int fd, int (*visit)(int fd, void *), void *arg, int depth)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *list = again < 0 ? NULL : fdopendir(again);
	struct dirent *entry;

	if (!list) {
		if (again >= 0)
			close(again);
		return errno == ENOENT ? 0 : -errno;
	}
	while (!r && depth < 64 && (entry = readdir(list))) {
		_cleanup_fd_ int sub = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		sub = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			r = each_group(sub, visit, arg, depth + 1);
	}
	closedir(list);
	return r ? r : visit(fd, arg);
}

struct pid_list {
	pid_t *v;
	size_t n, size;
};

static int collect_pids(int fd, void *arg)
{
	_cleanup_free_ char *text = NULL;
	struct pid_list *l = arg;
	char *p, *w;
	int r = file_read_at(fd, "cgroup.procs", 16 << 20, &text, NULL);

	if (r)
		return r == -ENODEV || r == -ENOENT || r == -EOPNOTSUPP ? 0 : r;
	p = text;
	while ((w = strsep(&p, "\n"))) {
		if (!*w)
			continue;
		if (l->n == l->size) {
			size_t size = l->size ? l->size * 2 : 64;
			pid_t *v = realloc(l->v, size * sizeof *v);

			if (!v)
				return -ENOMEM;
			l->v = v;
			l->size = size;
		}
		l->v[l->n++] = atoi(w);
	}
	return 0;
}

int cgroup_pids(struct cgroup *c, pid_t **pids, size_t *n, struct err *e)
{
	static const char *const prefer[] = { "pids", "freezer", "devices", "memory", "cpu" };
	const struct cgroup_part *p = part_v2(c);
	struct pid_list l = { 0 };
	bool v2;
	int fd = p ? p->fd : -1, r = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(prefer) && fd < 0; i++)
		fd = cgroup_controller(c, prefer[i], &v2);
	if (fd < 0 && c->n)
		fd = cgroup_part_fd(&c->part[0]);
	if (fd >= 0)
		r = each_group(fd, collect_pids, &l, 0);
	if (r) {
		free(l.v);
		return err_sys(e, -r, "list the container's processes");
	}
	*pids = l.v;
	*n = l.n;
	return 0;
}

/* Kills what is listed and waits for each, until the list stays empty: a process forked meanwhile
 * is in the next list. */
static int kill_listed(struct cgroup *c, struct err *e)
{
	int round;

	for (round = 0; round < 1000; round++) {
		_cleanup_free_ pid_t *pids = NULL;
		size_t n, i;
		int r = cgroup_pids(c, &pids, &n, e);

		if (r || !n)
			return r;
		for (i = 0; i < n; i++)
			if (pids[i] > 0)
				kill(pids[i], SIGKILL);
		for (i = 0; i < n; i++) {
			_cleanup_fd_ int fd = pids[i] > 0 ? pidfd_open(pids[i], 0) : -1;
			struct pollfd p = { fd, POLLIN, 0 };

			if (fd >= 0)
				poll(&p, 1, 2000);
		}
	}
	return err_set(e, -EBUSY, "the container's processes do not end");
}

int cgroup_kill(struct cgroup *c, int sig, struct err *e)
{
	const struct cgroup_part *p = part_v2(c);
	_cleanup_free_ pid_t *pids = NULL;
	size_t n, i;
	int r;

	if (sig != SIGKILL) {
		r = cgroup_pids(c, &pids, &n, e);
		for (i = 0; !r && i < n; i++)
			if (pids[i] > 0 && kill(pids[i], sig) < 0 && errno != ESRCH)
				return err_sys(e, errno, "signal process %d", (int)pids[i]);
		return r;
	}
	if (!c->n)
		return 0;
	if (p && !file_printf_at(p->fd, "cgroup.kill", "1")) {
		bool v2;
		int fd = cgroup_controller(c, "freezer", &v2);

		if (fd >= 0 && !v2) /* frozen by the other freezer, they could not end */
			file_printf_at(fd, "freezer.state", "THAWED");
		r = wait_event(p->fd, "populated 0", 10000);
		if (!r)
			return 0;
	}
	if (cgroup_frozen(c))
		cgroup_freeze(c, false, NULL);
	return kill_listed(c, e);
}

static int remove_below(int fd, int depth)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = again < 0 ? NULL : fdopendir(again);
	struct dirent *entry;

	if (!list) {
		if (again >= 0)
			close(again);
		return 0;
	}
	while (depth < 64 && (entry = readdir(list))) {
		int sub;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		sub = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0) {
			remove_below(sub, depth + 1);
			close(sub);
		}
		unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
	closedir(list);
	return 0;
}

int cgroup_remove(struct cgroup *c, bool ours, struct err *e)
{
	size_t i;
	int r = 0;

	for (i = 0; i < c->n; i++) {
		struct cgroup_part *p = &c->part[i];
		int tries;

		if (p->foreign)
			continue;
		/* Membership ends a moment after a process's last signal can be seen: the kernel
		 * offers nothing to wait on in version 1 once the process cannot be listed. */
		for (tries = 0; tries < 500; tries++) {
			if (!rmdir(p->dir) || errno == ENOENT || errno == ENOTDIR)
				break;
			if (errno != EBUSY && errno != ENOTEMPTY) {
				r = err_sys(e, errno, "remove cgroup %s", p->dir);
				break;
			}
			if (!tries && ours)
				cgroup_kill(c, SIGKILL, NULL);
			if (cgroup_part_fd(p) >= 0)
				remove_below(p->fd, 0);
			if (tries)
				poll(NULL, 0, 1 + tries / 50);
		}
		if (tries == 500 && ours)
			r = err_set(e, -EBUSY, "remove cgroup %s: still in use", p->dir);
	}
	return r;
}

int cgroup_oom_watch(const struct cgroup *c, struct err *e)
{
	_cleanup_fd_ int notify = -1, control = -1;
	bool v2;
	int fd = cgroup_controller(c, "memory", &v2), r;

	if (fd < 0)
		return err_set(e, -ENOTSUP, "this container has no memory controller");
	if (v2) {
		char path[64];

		notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		snprintf(path, sizeof path, "/proc/self/fd/%d/memory.events", fd);
		if (notify < 0 || inotify_add_watch(notify, path, IN_MODIFY) < 0)
			return err_sys(e, errno, "watch memory.events");
		return fd_take(&notify);
	}
	notify = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	control = openat(fd, "memory.oom_control", O_RDONLY | O_CLOEXEC);
	if (notify < 0 || control < 0)
		return err_sys(e, errno, "open memory.oom_control");
	r = file_printf_at(fd, "cgroup.event_control", "%d %d", notify, control);
	return r ? err_sys(e, -r, "watch memory.oom_control") : fd_take(&notify);
}
