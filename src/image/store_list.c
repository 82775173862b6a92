/* SPDX-License-Identifier: MIT
 * What is in the store: names, listing, removal. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/file.h>

#include "image/store_private.h"
#include "image/unpack.h"

#define LIST_MAX (1u << 20)

bool store_line(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (; *list; list += strcspn(list, "\n"), list += *list == '\n')
		if (strcspn(list, "\n") == n && !memcmp(list, name, n))
			return true;
	return false;
}

/* A small file of an image; an empty string when it is missing. */
static char *read_part(struct store *s, enum store_dir dir, const char *id, const char *part)
{
	char path[160], *out = NULL;

	snprintf(path, sizeof path, "%s/%s", id, part);
	return file_read_at(s->dir[dir], path, LIST_MAX, &out, NULL) ? strdup("") : out;
}

static DIR *open_list(struct store *s, enum store_dir dir)
{
	int fd = openat(s->dir[dir], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);

	if (!list && fd >= 0)
		close(fd);
	return list;
}

/* The next entry that is called by a digest. */
static const char *next_id(DIR *list)
{
	struct dirent *entry;

	while ((entry = readdir(list)))
		if (digest_is_hex(entry->d_name, strlen(entry->d_name)))
			return entry->d_name;
	return NULL;
}

static bool is_called(struct store *s, const char *id, const char *name)
{
	_cleanup_free_ char *names = read_part(s, STORE_IMAGES, id, "names");
	const char *digits = strncmp(name, "sha256:", 7) ? name : name + 7;
	size_t n = strlen(digits);

	return (names && store_line(names, name)) ||
	       (n >= 8 && n <= DIGEST_HEX && strspn(digits, "0123456789abcdef") == n && !strncmp(id, digits, n));
}

int store_find(struct store *s, const char *name, char id[65], struct err *e)
{
	DIR *list = open_list(s, STORE_IMAGES);
	const char *k;
	int found = 0;

	while (list && (k = next_id(list)))
		if (is_called(s, k, name) && !found++)
			snprintf(id, 65, "%s", k);
	if (list)
		closedir(list);
	return found == 1 ? 0 : found ? err_set(e, -EINVAL, "image %.100s: fits %d images", name, found) : -ENOENT;
}

static int set_names(struct store *s, const char *id, const char *names)
{
	_cleanup_fd_ int dir = path_open(s->dir[STORE_IMAGES], id, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);

	return dir < 0 ? dir : file_replace_at(dir, "names", names, strlen(names), 0600);
}

int store_name(struct store *s, const char *id, const char *name, struct err *e)
{
	DIR *list = open_list(s, STORE_IMAGES);
	const char *k;
	int r = list ? 0 : -errno;

	while (!r && (k = next_id(list))) {
		_cleanup_free_ char *names = read_part(s, STORE_IMAGES, k, "names");
		_cleanup_text_ struct text t = { 0 };
		const char *p;
		bool ours = !strcmp(k, id);

		if (!names || store_line(names, name) == ours)
			continue;
		text_add(&t, "%s", "");
		for (p = names; *p; p += strcspn(p, "\n"), p += *p == '\n')
			if (strcspn(p, "\n") != strlen(name) || memcmp(p, name, strlen(name)))
				text_add(&t, "%.*s\n", (int)strcspn(p, "\n"), p);
		if (ours)
			text_add(&t, "%s\n", name);
		r = t.failed ? -ENOMEM : set_names(s, k, t.text);
	}
	if (list)
		closedir(list);
	return r ? err_sys(e, -r, "store: name the image") : 0;
}

static u64 bytes_of(struct store *s, const char *layers, u64 *count)
{
	const char *p;
	u64 sum = 0;

	*count = 0;
	for (p = layers; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		char id[65];
		_cleanup_free_ char *bytes = NULL;

		snprintf(id, sizeof id, "%.64s", p);
		bytes = read_part(s, STORE_LAYERS, id, "bytes");
		sum += bytes ? strtoull(bytes, NULL, 10) : 0;
		(*count)++;
	}
	return sum;
}

int store_list(const struct store_options *o, store_visit *visit, void *arg, struct err *e)
{
	struct store s;
	int r = store_open(&s, o, LOCK_SH, e);
	DIR *list = r ? NULL : open_list(&s, STORE_IMAGES);
	const char *id;

	while (list && (id = next_id(list))) {
		_cleanup_free_ char *names = read_part(&s, STORE_IMAGES, id, "names");
		_cleanup_free_ char *layers = read_part(&s, STORE_IMAGES, id, "layers");
		u64 count, bytes = layers ? bytes_of(&s, layers, &count) : 0;

		if (names && layers)
			visit(id, names, count, bytes, arg);
	}
	if (list)
		closedir(list);
	store_close(&s);
	return r;
}

/* Removes what `keep` does not name. */
static int sweep(struct store *s, enum store_dir dir, const char *keep, struct err *e)
{
	DIR *list = open_list(s, dir);
	const char *id;
	int r = list ? 0 : -errno;

	while (!r && (id = next_id(list)))
		if (!store_line(keep, id))
			r = tree_remove(s->dir[dir], id);
	if (list)
		closedir(list);
	return r ? err_sys(e, -r, "store: remove what no image has") : 0;
}

int store_remove(const struct store_options *o, const char *name, const char *used, u64 *removed, struct err *e)
{
	_cleanup_text_ struct text layers = { 0 }, chains = { 0 };
	struct store s;
	DIR *list;
	const char *id;
	int r = store_open(&s, o, LOCK_EX, e);

	*removed = 0;
	if (r)
		return r;
	list = open_list(&s, STORE_IMAGES);
	while (!r && list && (id = next_id(list))) {
		_cleanup_free_ char *chain = read_part(&s, STORE_IMAGES, id, "chain");
		_cleanup_free_ char *own = read_part(&s, STORE_IMAGES, id, "layers");
		bool busy = chain && *chain && strstr(used, chain), wanted = !name || is_called(&s, id, name);

		if (wanted && busy && name)
			r = err_set(e, -EBUSY, "image %.100s: a container uses it", name);
		else if (wanted && !busy && !(r = tree_remove(s.dir[STORE_IMAGES], id)))
			(*removed)++;
		else if (r)
			err_sys(e, -r, "store: remove image %s", id);
		else if (!chain || !own)
			r = err_set(e, -ENOMEM, "out of memory");
		else {
			text_add(&layers, "%s", own);
			text_add(&chains, "%s\n", chain);
		}
	}
	if (list)
		closedir(list);
	if (!r && name && !*removed)
		r = err_set(e, -ENOENT, "image %.100s: is not in the store", name);
	text_add(&layers, "%s", "");
	text_add(&chains, "%s", "");
	if (!r && (layers.failed || chains.failed))
		r = err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = sweep(&s, STORE_TREES, chains.text, e);
	if (!r)
		r = sweep(&s, STORE_LAYERS, layers.text, e);
	store_close(&s);
	return r;
}
