/* SPDX-License-Identifier: MIT
 * From a reference to a bundle in the store. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "image/store_private.h"
#include "image/unpack.h"

static const char *const dir_names[STORE_DIRS] = { "layers", "trees", "images", "copies", "tmp" };

int store_default_path(char *out, size_t size, struct err *e)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	int n;

	if (!geteuid())
		n = snprintf(out, size, "/var/lib/penumbra/store");
	else if (data && data[0] == '/')
		n = snprintf(out, size, "%s/penumbra/store", data);
	else if (home && home[0] == '/')
		n = snprintf(out, size, "%s/.local/share/penumbra/store", home);
	else
		return err_set(e, -ENOENT, "store: HOME is not set; name a directory with --store");
	return n < (int)size ? 0 : err_set(e, -ENAMETOOLONG, "store: the path is too long");
}

static int make_path(char *path)
{
	char *p;

	for (p = path + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(path, 0755);
		*p = '/';
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_dirs(struct store *s, int top)
{
	int i;

	for (i = 0; i < STORE_DIRS; i++) {
		s->dir[i] = openat(top, dir_names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (s->dir[i] < 0 && errno == ENOENT && (!mkdirat(top, dir_names[i], 0700) || errno == EEXIST))
			s->dir[i] = openat(top, dir_names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (s->dir[i] < 0)
			return -errno;
	}
	s->lock = openat(top, "lock", O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return s->lock < 0 ? -errno : 0;
}

int store_open(struct store *s, const struct store_options *o, int lock, struct err *e)
{
	_cleanup_fd_ int top = -1;
	char whole[PATH_MAX];
	struct stat st;
	int r = 0;

	memset(s->dir, -1, sizeof s->dir);
	s->lock = -1;
	if (!o->path)
		r = store_default_path(s->path, sizeof s->path, e);
	else if (snprintf(s->path, sizeof s->path, "%s", o->path) >= (int)sizeof s->path)
		r = err_set(e, -ENAMETOOLONG, "store: the path is too long");
	if (r)
		return r;
	top = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0 && errno == ENOENT) {
		r = make_path(s->path);
		if (r)
			return err_sys(e, -r, "store: make %s", s->path);
		top = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (top < 0 || fstat(top, &st) < 0 || !realpath(s->path, whole) ||
	    snprintf(s->path, sizeof s->path, "%s", whole) >= (int)sizeof s->path)
		return err_sys(e, errno, "store: open %s", s->path);
	if (st.st_uid != geteuid() || st.st_mode & 077)
		return err_set(e, -EPERM, "store %s: must be yours alone (mode 0700)", s->path);
	r = open_dirs(s, top);
	if (!r && flock(s->lock, lock) < 0)
		r = -errno;
	if (r) {
		store_close(s);
		return err_sys(e, -r, "store %s", s->path);
	}
	return 0;
}

void store_close(struct store *s)
{
	int i;

	for (i = 0; i < STORE_DIRS; i++)
		if (s->dir[i] >= 0)
			close(s->dir[i]);
	if (s->lock >= 0)
		close(s->lock);
	s->lock = -1;
}

/* ChainID, OCI image specification, config.md#layer-chainid. */
static void chain_of(const struct image *i, struct digest *chain)
{
	char both[2 * (DIGEST_HEX + 8)];
	size_t k;

	digest_of(chain, "", 0);
	for (k = 0; k < i->layers; k++) {
		if (!k) {
			*chain = i->layer[0].diff;
			continue;
		}
		snprintf(both, sizeof both, "sha256:%s sha256:%s", chain->hex, i->layer[k].diff.hex);
		digest_of(chain, both, strlen(both));
	}
}

/* What processes that were killed have left.  With the lock exclusive. */
static void clear_waste(struct store *s)
{
	int again = openat(s->dir[STORE_TMP], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = again < 0 ? NULL : fdopendir(again);
	struct dirent *entry;

	if (!list) {
		if (again >= 0)
			close(again);
		return;
	}
	while ((entry = readdir(list)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			tree_remove(dirfd(list), entry->d_name);
	closedir(list);
}

static int add_layer(struct store *s, int tree, const struct digest *diff, struct err *e)
{
	_cleanup_fd_ int dir = path_open(s->dir[STORE_LAYERS], diff->hex, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
	_cleanup_fd_ int files = dir < 0 ? dir : path_open(dir, "tree", PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
	_cleanup_free_ char *list = NULL;
	size_t n = 0;
	int r = files < 0 ? files : file_read_at(dir, "list", 1u << 30, &list, &n);

	return r ? err_sys(e, -r, "store: layer %s", diff->hex) : layer_merge(tree, files, list, n, !geteuid(), e);
}

static int make_tree(struct store *s, const struct image *i, const char *chain, struct err *e)
{
	_cleanup_fd_ int tree = -1;
	size_t k;
	int r = 0;

	if (!faccessat(s->dir[STORE_TREES], chain, F_OK, AT_SYMLINK_NOFOLLOW))
		return 0;
	if (mkdirat(s->dir[STORE_TMP], "tree", 0755) < 0 || fchmodat(s->dir[STORE_TMP], "tree", 0755, 0) < 0)
		return err_sys(e, errno, "store: make a root");
	tree = path_open(s->dir[STORE_TMP], "tree", PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
	if (tree < 0)
		return err_sys(e, -tree, "store: make a root");
	for (k = 0; !r && k < i->layers; k++)
		r = add_layer(s, tree, &i->layer[k].diff, e);
	if (!r && renameat(s->dir[STORE_TMP], "tree", s->dir[STORE_TREES], chain) < 0)
		r = err_sys(e, errno, "store: keep the root");
	return r;
}

/* What a container mounts on must be there: its root is read-only.  A link that leads nowhere stays as it is. */
static int make_mount_points(const struct image *i, int tree, struct err *e)
{
	static const struct { const char *path; u32 mode; } wanted[] = {
		{ "dev", 0755 }, { "proc", 0555 }, { "sys", 0555 }, { "run", 0755 }, { "tmp", 01777 }, { "etc", 0755 },
	};
	size_t k;

	for (k = 0; k < ARRAY_SIZE(wanted); k++) {
		_cleanup_fd_ int fd = path_open(tree, wanted[k].path, PATH_IN_ROOT, O_PATH, 0);

		if (fd == -ENOENT && !mkdirat(tree, wanted[k].path, wanted[k].mode) &&
		    fchmodat(tree, wanted[k].path, wanted[k].mode, 0) < 0)
			return err_sys(e, errno, "make %s", wanted[k].path);
	}
	if (i->working_dir && i->working_dir[0] == '/' && i->working_dir[strspn(i->working_dir, "/")]) {
		_cleanup_fd_ int fd = path_make(tree, i->working_dir, false, 0755);

		if (fd < 0)
			return err_sys(e, -fd, "config.WorkingDir: make %.200s", i->working_dir);
	}
	return 0;
}

static int write_image(struct store *s, const struct image *i, const char *chain, struct err *e)
{
	_cleanup_fd_ int tree = path_open(s->dir[STORE_TREES], chain, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0), dir = -1;
	_cleanup_text_ struct text config = { 0 }, layers = { 0 };
	size_t k;
	int r = tree < 0 ? err_sys(e, -tree, "store: open the root") : make_mount_points(i, tree, e);

	if (!r)
		r = image_write_config(i, tree, chain, &config, e);
	if (r)
		return r;
	for (k = 0; k < i->layers; k++)
		text_add(&layers, "%s\n", i->layer[k].diff.hex);
	text_add(&layers, "%s", "");
	if (config.failed || layers.failed)
		return err_set(e, -ENOMEM, "out of memory");
	if (mkdirat(s->dir[STORE_TMP], "image", 0700) < 0)
		return err_sys(e, errno, "store: make an image");
	dir = path_open(s->dir[STORE_TMP], "image", PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
	r = dir < 0 ? dir : file_replace_at(dir, "config.json", config.text, config.length, 0600);
	if (!r)
		r = file_replace_at(dir, "image.json", i->config_text, strlen(i->config_text), 0600);
	if (!r)
		r = file_replace_at(dir, "layers", layers.text, layers.length, 0600);
	if (!r)
		r = file_replace_at(dir, "chain", chain, strlen(chain), 0600);
	if (!r)
		r = file_replace_at(dir, "names", "", 0, 0600);
	if (!r && syncfs(dir) < 0)
		r = -errno;
	if (!r && renameat(s->dir[STORE_TMP], "image", s->dir[STORE_IMAGES], i->config.hex) < 0)
		r = -errno;
	return r ? err_sys(e, -r, "store: keep the image") : 0;
}

static bool have_image(struct store *s, const char *id)
{
	return !faccessat(s->dir[STORE_IMAGES], id, F_OK, AT_SYMLINK_NOFOLLOW);
}

static bool has_name(struct store *s, const char *id, const char *name)
{
	_cleanup_free_ char *names = NULL;
	char path[96];

	snprintf(path, sizeof path, "%s/names", id);
	return !name || (!file_read_at(s->dir[STORE_IMAGES], path, STORE_NAMES_MAX, &names, NULL) &&
			 store_line(names, name));
}

/* With the lock exclusive; the lock is shared again when it returns. */
static int bring_in(struct store *s, struct archive *a, struct image *i, u64 limit, struct stored_image *out,
		    struct err *e)
{
	struct digest chain;
	int r = 0;

	if (flock(s->lock, LOCK_EX) < 0)
		return err_sys(e, errno, "store %s: lock", s->path);
	if (!have_image(s, i->config.hex)) {
		clear_waste(s);
		chain_of(i, &chain);
		r = store_unpack(s, a, i, limit, out, e);
		if (!r)
			r = make_tree(s, i, chain.hex, e);
		if (!r)
			r = write_image(s, i, chain.hex, e);
		if (r)
			clear_waste(s);
	}
	if (!r && i->name)
		r = store_name(s, i->config.hex, i->name, e);
	if (flock(s->lock, LOCK_SH) < 0 && !r)
		r = err_sys(e, errno, "store %s: lock", s->path);
	return r;
}

static bool exists(const char *path)
{
	return !faccessat(AT_FDCWD, path, F_OK, 0);
}

/* Cuts "PATH:NAME" and "PATH@DIGEST" where PATH exists; false when nothing of it is a path. */
static bool split(const char *reference, char *path, size_t size, const char **wanted)
{
	static const char *const kinds[] = { "oci:", "oci-archive:", "docker-archive:" };
	char *slash, *cut;
	size_t i;

	*wanted = NULL;
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strncmp(reference, kinds[i], strlen(kinds[i])) && !exists(reference)) {
			reference += strlen(kinds[i]);
			break;
		}
	if (snprintf(path, size, "%s", reference) >= (int)size)
		return false;
	if (exists(path))
		return true;
	slash = strrchr(path, '/');
	for (cut = path + 1; *path && (cut = strpbrk(cut, ":@")); cut++) {
		char was = *cut;

		if (slash && cut < slash && strpbrk(slash, ":@"))
			continue;
		*cut = 0;
		if (exists(path)) {
			*wanted = reference + (cut - path) + 1;
			return **wanted != 0;
		}
		*cut = was;
	}
	return false;
}

static int from_archive(struct store *s, const char *path, const char *wanted, u64 limit, struct stored_image *out,
			struct err *e)
{
	struct archive *a = NULL;
	struct image i = { 0 };
	int r = archive_open(&a, path, s->dir[STORE_TMP], limit, e);

	if (!r)
		r = archive_image(a, wanted, &i, e);
	if (!r && (!have_image(s, i.config.hex) || !has_name(s, i.config.hex, i.name)))
		r = bring_in(s, a, &i, limit, out, e);
	if (!r) {
		snprintf(out->id, sizeof out->id, "%s", i.config.hex);
		out->layers = i.layers;
	}
	image_free(&i);
	archive_close(a);
	return r ? err_prefix(e, "image %s", path) : 0;
}

int store_image(const char *reference, const struct store_options *o, struct stored_image *out, struct err *e)
{
	char path[4096];
	const char *wanted;
	struct store s;
	int r;

	*out = (struct stored_image){ .lock = -1 };
	r = store_open(&s, o, LOCK_SH, e);
	if (r)
		return r;
	if (split(reference, path, sizeof path, &wanted))
		r = from_archive(&s, path, wanted, o->limit, out, e);
	else
		r = store_find(&s, reference, out->id, e);
	if (r == -ENOENT && !e->code)
		r = err_set(e, r, "image %.200s: no such file or directory, and no image in the store has this name",
			    reference);
	if (!r && snprintf(out->bundle, sizeof out->bundle, "%s/images/%s", s.path, out->id) >= (int)sizeof out->bundle)
		r = err_set(e, -ENAMETOOLONG, "store: the path is too long");
	if (!r)
		out->lock = fd_take(&s.lock);
	store_close(&s);
	return r;
}

static int copy_parent(const char *path, const char **leaf)
{
	_cleanup_free_ char *head = NULL;

	*leaf = strrchr(path, '/');
	head = *leaf ? strndup(path, (size_t)((*leaf)++ - path)) : NULL;
	return head ? dir_open(head) : -EINVAL;
}

int store_copy(const struct stored_image *i, const char *root, const char *name, char *out, size_t size, struct err *e)
{
	_cleanup_fd_ int from = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), parent = -1, to = -1;
	const char *leaf;
	int r = 0;

	if (snprintf(out, size, "%.*s/copies/%s", (int)(strlen(i->bundle) - strlen("/images/") - DIGEST_HEX), i->bundle,
		     name) >= (int)size)
		return err_set(e, -ENAMETOOLONG, "store: the path is too long");
	parent = copy_parent(out, &leaf);
	if (from < 0 || parent < 0 || mkdirat(parent, leaf, 0755) < 0)
		return err_sys(e, errno, "make the writable root %s", out);
	to = path_open(parent, leaf, PATH_BENEATH, O_RDONLY | O_DIRECTORY, 0);
	r = to < 0 ? err_sys(e, -to, "make the writable root %s", out) : tree_copy(from, to, !geteuid(), e);
	if (r)
		tree_remove(parent, leaf);
	return r;
}

int store_copy_remove(const char *path, struct err *e)
{
	const char *leaf;
	_cleanup_fd_ int parent = copy_parent(path, &leaf);
	int r = parent < 0 ? parent : tree_remove(parent, leaf);

	return r && r != -ENOENT ? err_sys(e, -r, "remove the writable root %s", path) : 0;
}
