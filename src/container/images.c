/* SPDX-License-Identifier: MIT
 * `load`, `images`, `prune`: the store of images from the command line. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "container/harden.h"
#include "container/harden_config.h"

static const struct option_row store_rows[] = {
	{ "store", 0, "DIR", "where images are kept (default: /var/lib/penumbra/store, or the user's own)", false },
	{ "image-size", 0, "SIZE", "largest unpacked size of an image (default: 16G)", false },
	{ 0 }
};

static int run_load(struct command_line *c, struct err *e)
{
	struct stored_image i;
	struct store_options o;
	int r = harden_store_options(c, &o, e);

	if (!r)
		r = store_image(c->argv[0], &o, &i, e);
	if (r)
		return r;
	close(i.lock);
	printf("sha256:%s\n%llu layers, %llu of them new\n", i.id, (unsigned long long)i.layers,
	       (unsigned long long)i.unpacked);
	if (i.skipped)
		printf("%llu device nodes left out\n", (unsigned long long)i.skipped);
	return 0;
}

const struct command oci_command_load = {
	.name = "load", .operands = "IMAGE", .help = "bring an image archive or layout into the store",
	.options = store_rows, .min = 1, .max = 1, .run = run_load,
};

static void print_image(const char *id, const char *names, u64 layers, u64 bytes, void *arg)
{
	const char *p = names;

	(void)arg;
	do {
		int n = (int)strcspn(p, "\n");

		printf("%-16.12s %6llu %10.1f  %.*s\n", id, (unsigned long long)layers, (double)bytes / 1048576,
		       n ? n : 1, n ? p : "-");
		p += n + (p[n] == '\n');
	} while (*p);
}

static int run_images(struct command_line *c, struct err *e)
{
	struct store_options o;
	int r = harden_store_options(c, &o, e);

	if (r)
		return r;
	printf("%-16s %6s %10s  %s\n", "IMAGE", "LAYERS", "MIB", "NAME");
	return store_list(&o, print_image, NULL, e);
}

const struct command oci_command_images = {
	.name = "images", .operands = "", .help = "list the images in the store",
	.options = store_rows, .min = 0, .max = 0, .run = run_images,
};

/* The roots of all containers that there are, one a line. */
static int roots_in_use(const struct global_options *g, struct text *t, struct err *e)
{
	int root = state_root_open(g->root, false, NULL), again, r = 0;
	struct dirent *entry;
	DIR *list;

	text_add(t, "%s", "");
	if (root < 0)
		return root == -ENOENT ? 0 : err_sys(e, -root, "read the containers' states");
	again = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	list = again < 0 ? NULL : fdopendir(again);
	while (list && !r && (entry = readdir(list))) {
		_cleanup_fd_ int dir = -1;
		struct state s;

		if (entry->d_name[0] == '.')
			continue;
		dir = openat(root, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir < 0 || state_load(dir, &s, NULL))
			continue;
		text_add(t, "%s\n", s.rootfs);
		state_free(&s);
		r = t->failed ? err_set(e, -ENOMEM, "out of memory") : 0;
	}
	if (list)
		closedir(list);
	close(root);
	return r;
}

static int run_prune(struct command_line *c, struct err *e)
{
	_cleanup_text_ struct text used = { 0 };
	struct store_options o;
	u64 removed = 0;
	int r = harden_store_options(c, &o, e);

	if (!r)
		r = roots_in_use(c->global, &used, e);
	if (!r)
		r = store_remove(&o, c->argc ? c->argv[0] : NULL, used.text, &removed, e);
	if (!r)
		printf("%llu images removed\n", (unsigned long long)removed);
	return r;
}

const struct command oci_command_prune = {
	.name = "prune", .operands = "[IMAGE]",
	.help = "remove an image, or all that no container uses, from the store",
	.options = store_rows, .min = 0, .max = 1, .run = run_prune,
};
