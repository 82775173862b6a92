/* SPDX-License-Identifier: MIT
 * An image's configuration as a runtime's config.json.  Source: OCI image specification 1.1, conversion.md. */
#include <errno.h>
#include <string.h>

#include "image/store_private.h"

#define ACCOUNTS_MAX (1u << 20)
#define GROUPS_MAX 64

static void add_strings(struct text *t, const struct image_strings *s, size_t *n)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		text_add(t, (*n)++ ? "," : "");
		text_add_json(t, s->v[i]);
	}
}

/* Field `n` of a line of colon-separated fields, not terminated. */
static const char *field(const char *line, int n, size_t *length)
{
	for (; n; n--) {
		size_t k = strcspn(line, ":\n");

		if (line[k] != ':')
			return NULL;
		line += k + 1;
	}
	*length = strcspn(line, ":\n");
	return line;
}

static bool field_number(const char *line, int n, u64 *out)
{
	char digits[24];
	size_t k;
	const char *f = field(line, n, &k);

	if (!f || k >= sizeof digits)
		return false;
	memcpy(digits, f, k);
	digits[k] = 0;
	return !parse_u64(digits, 0xfffffffe, out);
}

static bool field_is(const char *line, int n, const char *wanted)
{
	size_t k;
	const char *f = field(line, n, &k);

	return f && k == strlen(wanted) && !memcmp(f, wanted, k);
}

static const char *next_line(const char *p)
{
	p += strcspn(p, "\n");
	return *p ? p + 1 : p;
}

/* The file of accounts in the image, "" when there is none.  Its links stay in the image. */
static char *read_accounts(int tree, const char *name)
{
	_cleanup_fd_ int fd = path_open(tree, name, PATH_IN_ROOT, O_RDONLY | O_NONBLOCK, 0);
	char *text = NULL;

	return fd >= 0 && !fd_read_all(fd, ACCOUNTS_MAX, &text, NULL) ? text : strdup("");
}

struct identity {
	u64 uid, gid, groups[GROUPS_MAX];
	size_t n;
};

/* Groups that name the user as a member. */
static void take_groups(const char *groups, const char *name, size_t length, struct identity *id)
{
	const char *line;

	for (line = groups; *line; line = next_line(line)) {
		size_t k;
		const char *list = field(line, 3, &k);
		u64 gid;

		while (list && k) {
			size_t m = strcspn(list, ",:\n");

			if (m == length && !memcmp(list, name, m) && field_number(line, 2, &gid) && id->n < GROUPS_MAX)
				id->groups[id->n++] = gid;
			if (m >= k)
				break;
			list += m + 1;
			k -= m + 1;
		}
	}
}

/* "user", "uid", "user:group", "uid:gid" and the mixed forms. */
static int resolve_user(const char *user, int tree, struct identity *id, struct err *e)
{
	_cleanup_free_ char *accounts = read_accounts(tree, "etc/passwd"), *groups = read_accounts(tree, "etc/group");
	_cleanup_free_ char *head = strndup(user, strcspn(user, ":"));
	const char *group = strchr(user, ':'), *line;
	bool number, found = false;

	if (!accounts || !groups || !head)
		return err_set(e, -ENOMEM, "out of memory");
	number = !parse_u64(head, 0xfffffffe, &id->uid);
	for (line = accounts; *line && !found; line = next_line(line)) {
		u64 uid;
		size_t k;

		if (!field_number(line, 2, &uid) || !(number ? uid == id->uid : field_is(line, 0, head)))
			continue;
		found = true;
		id->uid = uid;
		if (!field_number(line, 3, &id->gid))
			id->gid = 0;
		if (!group && field(line, 0, &k))
			take_groups(groups, line, k, id);
	}
	if (!found && !number)
		return err_set(e, -EINVAL, "config.User: the image has no user \"%.100s\"", head);
	if (!group)
		return 0;
	if (!parse_u64(group + 1, 0xfffffffe, &id->gid))
		return 0;
	for (line = groups; *line; line = next_line(line))
		if (field_is(line, 0, group + 1) && field_number(line, 2, &id->gid))
			return 0;
	return err_set(e, -EINVAL, "config.User: the image has no group \"%.100s\"", group + 1);
}

static bool has_path(const struct image_strings *env)
{
	size_t i;

	for (i = 0; i < env->n; i++)
		if (!strncmp(env->v[i], "PATH=", 5))
			return true;
	return false;
}

int image_write_config(const struct image *i, int tree, const char *chain, struct text *t, struct err *e)
{
	struct identity id = { 0 };
	size_t n = 0, k;
	int r = i->user ? resolve_user(i->user, tree, &id, e) : 0;

	if (r)
		return r;
	if (i->working_dir && i->working_dir[0] != '/')
		return err_set(e, -EINVAL, "config.WorkingDir: \"%.100s\" is not absolute", i->working_dir);
	text_add(t, "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"../../trees/%s\"},\"process\":{\"user\":{\"uid\":%llu,"
		 "\"gid\":%llu,\"additionalGids\":[", chain, (unsigned long long)id.uid, (unsigned long long)id.gid);
	for (k = 0; k < id.n; k++)
		text_add(t, "%s%llu", k ? "," : "", (unsigned long long)id.groups[k]);
	text_add(t, "]},\"cwd\":");
	text_add_json(t, i->working_dir ? i->working_dir : "/");
	text_add(t, ",\"args\":[");
	add_strings(t, &i->entrypoint, &n);
	add_strings(t, &i->cmd, &n);
	text_add(t, "],\"env\":[");
	n = 0;
	add_strings(t, &i->env, &n);
	if (!has_path(&i->env))
		text_add(t, "%s\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"", n ? "," : "");
	text_add(t, "]},\"annotations\":{\"" IMAGE_ANNOTATION_ENTRYPOINT "\":\"%zu\"", i->entrypoint.n);
	if (i->stop_signal) {
		text_add(t, ",\"org.opencontainers.image.stopSignal\":");
		text_add_json(t, i->stop_signal);
	}
	text_add(t, "}}");
	return t->failed ? err_set(e, -ENOMEM, "out of memory") : 0;
}
