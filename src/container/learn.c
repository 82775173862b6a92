/* SPDX-License-Identifier: MIT
 * Profiles: what a recorded run used, what its programs can reach by static analysis, and what the
 * runtime itself does, each entry with where it comes from.
 *
 * {"version":1, "syscalls":[{"name":"read","from":["run","code /lib/...so"]}],
 *  "landlock":[{"rule":"r /etc/passwd","from":["run"]}]} */
#include <errno.h>
#include <json-c/json.h>
#include <seccomp.h>
#include <string.h>

#include "container/harden_config.h"

#define NR_MAX 1024
#define SOURCES_MAX 4

struct call {
	const char *from[SOURCES_MAX];
	char *file[SOURCES_MAX];
	size_t n;
};

struct rule {
	char access;
	char *path;
};

struct profile {
	struct call call[NR_MAX];
	struct rule *rules;
	size_t n_rules;
	size_t unresolved;
	bool failed;
};

/* After the filter is in place the runtime still hands the listener over and executes. */
static const char *const runtime_calls[] = {
	"sendmsg", "close", "execve", "exit_group", "write", "capset",
};

static void add_source(struct profile *p, int nr, const char *from, const char *file)
{
	struct call *c;
	size_t i;

	if (nr < 0 || nr >= NR_MAX)
		return;
	c = &p->call[nr];
	for (i = 0; i < c->n; i++)
		if (!strcmp(c->from[i], from) && (!file || !strcmp(c->file[i], file)))
			return;
	if (c->n == SOURCES_MAX)
		return;
	c->from[c->n] = from;
	c->file[c->n] = file ? strdup(file) : NULL;
	c->n++;
}

static void found(int nr, const char *file, void *arg)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

	if (name) /* a constant that is no call's number is a misread instruction */
		add_source(arg, nr, "code", file);
	free(name);
}

static void add_rule(struct profile *p, char access, const char *path)
{
	struct rule *v;

	if (!(p->n_rules & (p->n_rules - 1))) {
		v = realloc(p->rules, (p->n_rules ? p->n_rules * 2 : 1) * sizeof *v);
		if (!v) {
			p->failed = true;
			return;
		}
		p->rules = v;
	}
	p->rules[p->n_rules].access = access;
	p->rules[p->n_rules].path = strdup(path);
	if (p->rules[p->n_rules].path)
		p->n_rules++;
}

static int read_record(struct profile *p, const char *record, int root, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	int r = file_read_at(AT_FDCWD, record, 64 << 20, &text, NULL);

	if (r || !*text)
		return err_set(e, r ? r : -ENODATA, "nothing was recorded");
	for (rest = text; !r && (line = strsep(&rest, "\n"));) {
		size_t unresolved = 0;

		if (strlen(line) < 3 || line[1] != ' ')
			continue;
		if (line[0] == 's') {
			add_source(p, seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, line + 2), "run",
				   NULL);
			continue;
		}
		add_rule(p, line[0], line + 2);
		if (line[0] == 'x') {
			r = elf_scan(root, line + 2, found, p, &unresolved, e);
			p->unresolved += unresolved;
		}
	}
	return r;
}

static void print_profile(const struct profile *p, struct text *t)
{
	bool first = true;
	size_t i, k;

	text_add(t, "{\n\"version\": 1,\n\"unresolvedCallSites\": %zu,\n\"syscalls\": [", p->unresolved);
	for (i = 0; i < NR_MAX; i++) {
		const struct call *c = &p->call[i];
		char *name = c->n ? seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, (int)i) : NULL;

		if (!name)
			continue;
		text_add(t, "%s\n  {\"name\": \"%s\", \"from\": [", first ? "" : ",", name);
		for (k = 0; k < c->n; k++) {
			char source[4200];

			snprintf(source, sizeof source, "%s%s%.4000s", c->from[k], c->file[k] ? " " : "",
				 c->file[k] ? c->file[k] : "");
			text_add(t, k ? ", " : "");
			text_add_json(t, source);
		}
		text_add(t, "]}");
		first = false;
		free(name);
	}
	text_add(t, "\n],\n\"landlock\": [");
	for (i = 0; i < p->n_rules; i++) {
		char rule[4200];

		snprintf(rule, sizeof rule, "%c %.4100s", p->rules[i].access, p->rules[i].path);
		text_add(t, "%s\n  {\"rule\": ", i ? "," : "");
		text_add_json(t, rule);
		text_add(t, ", \"from\": [\"run\"]}");
	}
	/* a dynamic program's interpreter and libraries are mapped by the kernel and by ld.so */
	text_add(t, "\n]\n}\n");
}

static void profile_free(struct profile *p)
{
	size_t i, k;

	for (i = 0; i < NR_MAX; i++)
		for (k = 0; k < p->call[i].n; k++)
			free(p->call[i].file[k]);
	for (i = 0; i < p->n_rules; i++)
		free(p->rules[i].path);
	free(p->rules);
	free(p);
}

/* The kernel itself opens a program's interpreter, unseen by the filter, and Landlock asks for the
 * right to execute it. */
static void add_loader(struct profile *p, int root)
{
	static const char *const loaders[] = { "/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(loaders); i++) {
		_cleanup_fd_ int fd = path_open(root, loaders[i], PATH_IN_ROOT, O_PATH, 0);

		if (fd >= 0)
			add_rule(p, 'x', loaders[i]);
	}
}

int profile_write(const char *record, const char *root_path, const char *file, struct err *e)
{
	struct profile *p = calloc(1, sizeof *p);
	_cleanup_fd_ int root = dir_open(root_path), out = -1;
	_cleanup_text_ struct text t = { 0 };
	size_t i;
	int r;

	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	if (root < 0) {
		free(p);
		return err_sys(e, -root, "open %s", root_path);
	}
	r = read_record(p, record, root, e);
	for (i = 0; i < ARRAY_SIZE(runtime_calls); i++)
		add_source(p, seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, runtime_calls[i]),
			   "runtime", NULL);
	if (!r) {
		add_loader(p, root);
		print_profile(p, &t);
		out = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		r = t.failed || p->failed ? -ENOMEM : out < 0 ? -errno :
		    fd_write_all(out, t.text, t.length);
		if (r)
			err_sys(e, -r, "write profile %s", file);
	}
	profile_free(p);
	return r;
}

int profile_read(struct hardened *h, const char *file, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_object *j, *list, *v;
	size_t i;
	int r = file_read_at(AT_FDCWD, file, 16 << 20, &text, NULL);

	if (r)
		return err_sys(e, -r, "read profile %s", file);
	j = json_tokener_parse(text);
	text_free(&h->calls);
	text_free(&h->landlock);
	if (!j || !json_object_object_get_ex(j, "syscalls", &list) ||
	    !json_object_is_type(list, json_type_array))
		r = -EINVAL;
	for (i = 0; !r && i < json_object_array_length(list); i++) {
		json_object *one = json_object_array_get_idx(list, i);

		if (!json_object_object_get_ex(one, "name", &v) || !json_object_is_type(v, json_type_string))
			r = -EINVAL;
		else if (strcmp(json_object_get_string(v), "clone") &&
			 strcmp(json_object_get_string(v), "clone3")) { /* clone: by its flags */
			text_add(&h->calls, h->calls.length ? "," : "");
			text_add_json(&h->calls, json_object_get_string(v));
		}
	}
	if (!r && json_object_object_get_ex(j, "landlock", &list) &&
	    json_object_is_type(list, json_type_array)) {
		for (i = 0; !r && i < json_object_array_length(list); i++) {
			json_object *one = json_object_array_get_idx(list, i);

			if (!json_object_object_get_ex(one, "rule", &v) ||
			    strchr(json_object_get_string(v), '\n'))
				r = -EINVAL;
			else
				text_add(&h->landlock, "%s\n", json_object_get_string(v));
		}
		if (!option(h->c, "network"))
			text_add(&h->landlock, "n\n");
	}
	json_object_put(j);
	return r ? err_set(e, r, "profile %s: not a profile", file) : 0;
}
