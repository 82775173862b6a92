/* SPDX-License-Identifier: MIT */
#include "container/state.h"

#include <dirent.h>
#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>

#include "container/seal.h"

const char *const status_names[] = { "creating", "created", "running", "paused", "stopped" };

int state_check_id(const char *id, struct err *e)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";
	size_t n = strlen(id);

	if (!n || n > 255 || strspn(id, ok) != n || !strcmp(id, ".") || !strcmp(id, ".."))
		return err_set(e, -EINVAL, "container id \"%.64s\": must be 1 to 255 of "
			       "letters, digits, _ + - . and not . or ..", id);
	return 0;
}

int state_root_open(const char *root, bool make, struct err *e)
{
	_cleanup_fd_ int fd = -1;
	struct stat st;

	fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && make) {
		char path[4096];
		char *p;

		if (snprintf(path, sizeof path, "%s", root) >= (int)sizeof path)
			return err_set(e, -ENAMETOOLONG, "state directory %s", root);
		for (p = path + 1; (p = strchr(p, '/')); p++) {
			*p = 0;
			mkdir(path, 0711);
			*p = '/';
		}
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return err_sys(e, errno, "make state directory %s", root);
		fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return err_sys(e, errno, "open state directory %s", root);
	/* whoever else may write here could hand us states of their making */
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "state directory %s", root);
	if ((st.st_uid && st.st_uid != geteuid()) ||
	    ((st.st_mode & 022) && !(st.st_mode & S_ISVTX)))
		return err_set(e, -EPERM, "state directory %s: others may write to it", root);
	return fd_take(&fd);
}

int state_claim(struct state_dir *d, const char *root, const char *id, struct err *e)
{
	int r = state_check_id(id, e);

	d->root = d->dir = -1;
	if (r)
		return r;
	snprintf(d->id, sizeof d->id, "%s", id);
	d->root = state_root_open(root, true, e);
	if (d->root < 0)
		return d->root;
	if (mkdirat(d->root, id, 0700) < 0) {
		r = errno == EEXIST ?
		    err_set(e, -EEXIST, "container %s already exists", id) :
		    err_sys(e, errno, "make state of container %s", id);
		state_close(d);
		return r;
	}
	d->dir = openat(d->root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d->dir < 0 || flock(d->dir, LOCK_EX) < 0) {
		r = err_sys(e, errno, "open state of container %s", id);
		state_close(d);
		return r;
	}
	return 0;
}

int state_open(struct state_dir *d, const char *root, const char *id, bool exclusive,
	       struct err *e)
{
	int r = state_check_id(id, e);

	d->root = d->dir = -1;
	if (r)
		return r;
	snprintf(d->id, sizeof d->id, "%s", id);
	d->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->root < 0 && errno == ENOENT)
		return err_set(e, -ENOENT, "container %s does not exist", id);
	if (d->root >= 0)
		close(d->root);
	d->root = state_root_open(root, false, e);
	if (d->root < 0)
		return d->root;
	d->dir = openat(d->root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d->dir < 0) {
		r = errno == ENOENT || errno == ENOTDIR ?
		    err_set(e, -ENOENT, "container %s does not exist", id) :
		    err_sys(e, errno, "open state of container %s", id);
		state_close(d);
		return r;
	}
	if (exclusive && flock(d->dir, LOCK_EX) < 0) {
		r = err_sys(e, errno, "lock state of container %s", id);
		state_close(d);
		return r;
	}
	return 0;
}

void state_close(struct state_dir *d)
{
	if (d->dir >= 0)
		close(d->dir);
	if (d->root >= 0)
		close(d->root);
	d->dir = d->root = -1;
}

/* Whatever else a runtime that was killed has left. */
static int empty_directory(struct state_dir *d)
{
	int fd = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!list) {
		if (fd >= 0)
			close(fd);
		return -errno;
	}
	while ((entry = readdir(list)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
		    strcmp(entry->d_name, "state.json"))
			unlinkat(d->dir, entry->d_name, 0);
	closedir(list);
	return 0;
}

int state_remove(struct state_dir *d, struct err *e)
{
	int r;

	/* state.json goes last: until then a second delete still knows what is left to do */
	unlinkat(d->dir, "config.json", 0);
	unlinkat(d->dir, "state.json", 0);
	if (!unlinkat(d->root, d->id, AT_REMOVEDIR) || errno == ENOENT)
		return 0;
	r = empty_directory(d);
	if (r)
		return err_sys(e, -r, "read state of container %s", d->id);
	if (unlinkat(d->root, d->id, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove state of container %s", d->id);
	return 0;
}

#define LOAD_TEXT(member, json) \
	if (json_object_object_get_ex(j, json, &v) && v) { \
		s->member = strdup(json_object_get_string(v)); \
		if (!s->member) \
			r = -ENOMEM; \
	}
#define LOAD_NUM(member, json) \
	if (json_object_object_get_ex(j, json, &v)) \
		s->member = json_object_get_uint64(v);
#define LOAD_LIST(member, json) \
	if (json_object_object_get_ex(j, json, &v) && json_object_is_type(v, json_type_array)) \
		r = r ? r : load_list(v, &s->member);
#define LOAD_ROW(kind, member, json) LOAD_##kind(member, json)

static int load_list(json_object *j, struct oci_strs *out)
{
	size_t n = json_object_array_length(j), i;

	out->v = calloc(n + 1, sizeof *out->v);
	if (!out->v)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		out->v[i] = strdup(json_object_get_string(json_object_array_get_idx(j, i)));
		if (!out->v[i])
			return -ENOMEM;
		out->n++;
	}
	return 0;
}

int state_load(int dir, struct state *s, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_object *j, *v;
	int r = file_read_at(dir, "state.json", SPEC_SIZE_MAX, &text, NULL);

	memset(s, 0, sizeof *s);
	if (r == -ENOENT)
		return r;
	if (r)
		return err_sys(e, -r, "read state.json");
	j = json_tokener_parse(text);
	if (!j || !json_object_is_type(j, json_type_object)) {
		json_object_put(j);
		return err_set(e, -EINVAL, "state.json is damaged");
	}
	STATE_FIELDS(LOAD_ROW)
	json_object_put(j);
	if (!r && (!s->id || !s->bundle || !s->rootfs))
		r = err_set(e, -EINVAL, "state.json is damaged");
	if (r)
		state_free(s);
	return r == -ENOMEM ? err_set(e, r, "state.json: out of memory") : r;
}

#define STORE_TEXT(member, json) \
	if (s->member) { \
		text_add(&t, "%s\"%s\":", t.length > 1 ? "," : "", json); \
		text_add_json(&t, s->member); \
	}
#define STORE_NUM(member, json) \
	text_add(&t, "%s\"%s\":%llu", t.length > 1 ? "," : "", json, (unsigned long long)s->member);
#define STORE_LIST(member, json) \
	text_add(&t, "%s\"%s\":[", t.length > 1 ? "," : "", json); \
	for (size_t i = 0; i < s->member.n; i++) { \
		text_add(&t, i ? "," : ""); \
		text_add_json(&t, s->member.v[i]); \
	} \
	text_add(&t, "]");
#define STORE_ROW(kind, member, json) STORE_##kind(member, json)

int state_store(int dir, const struct state *s, struct err *e)
{
	_cleanup_text_ struct text t = { 0 };
	int r;

	text_add(&t, "{");
	STATE_FIELDS(STORE_ROW)
	text_add(&t, "}\n");
	/* written first without a pid, then again */
	r = t.failed ? -ENOMEM : file_replace_known(dir, "state.json", t.text, t.length, 0600, s->pid != 0);
	return r ? err_sys(e, -r, "write state.json") : 0;
}

#define FREE_TEXT(member) free(s->member);
#define FREE_NUM(member)
#define FREE_LIST(member) \
	for (size_t i = 0; i < s->member.n; i++) \
		free(s->member.v[i]); \
	free(s->member.v);
#define FREE_ROW(kind, member, json) FREE_##kind(member)

void state_free(struct state *s)
{
	STATE_FIELDS(FREE_ROW)
	memset(s, 0, sizeof *s);
}

bool state_process_alive(const struct state *s)
{
	u64 start;
	char letter;

	return s->pid && !process_start_time((pid_t)s->pid, &start, &letter) &&
	       start == s->start_time && letter != 'Z' && letter != 'X';
}

int state_pidfd(const struct state *s)
{
	int fd;

	if (!s->pid)
		return -ESRCH;
	fd = pidfd_open((pid_t)s->pid, 0);
	if (fd < 0)
		return -errno;
	if (!state_process_alive(s)) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

enum container_status state_status(int dir, const struct state *s)
{
	if (!state_process_alive(s)) {
		/* who makes a container holds its lock; nobody does when that runtime was killed */
		if (!s->pid && flock(dir, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
			return STATUS_CREATING;
		return STATUS_STOPPED;
	}
	if (!s->created || !*s->created)
		return STATUS_CREATING;
	if (!faccessat(dir, "start.sock", F_OK, AT_SYMLINK_NOFOLLOW)) {
		/* until its execve the process still runs our sealed copy */
		int ours = seal_process_is_ours((pid_t)s->pid, s->runtime_device, s->runtime_inode);

		if (ours != 0)
			return STATUS_CREATED;
	}
	return STATUS_RUNNING;
}

void state_print(struct text *t, const struct state *s, enum container_status status,
		 const struct oci_spec *spec)
{
	size_t i;

	text_add(t, "{\n  \"ociVersion\": ");
	text_add_json(t, s->oci_version ? s->oci_version : "1.2.0");
	text_add(t, ",\n  \"id\": ");
	text_add_json(t, s->id);
	text_add(t, ",\n  \"status\": \"%s\",\n  \"pid\": %llu", status_names[status],
		 status == STATUS_STOPPED ? 0ull : (unsigned long long)s->pid);
	text_add(t, ",\n  \"bundle\": ");
	text_add_json(t, s->bundle);
	text_add(t, ",\n  \"rootfs\": ");
	text_add_json(t, s->rootfs);
	text_add(t, ",\n  \"created\": ");
	text_add_json(t, s->created ? s->created : "");
	if (spec && spec->annotations.n) {
		text_add(t, ",\n  \"annotations\": {");
		for (i = 0; i < spec->annotations.n; i++) {
			text_add(t, "%s\n    ", i ? "," : "");
			text_add_json(t, spec->annotations.v[i].key);
			text_add(t, ": ");
			text_add_json(t, spec->annotations.v[i].value);
		}
		text_add(t, "\n  }");
	}
	text_add(t, ",\n  \"owner\": \"\"\n}\n");
}
