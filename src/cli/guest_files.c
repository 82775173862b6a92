/* SPDX-License-Identifier: MIT */
#include "cli/guest_files.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const beside_executable[] = { "build/guest", "guest", "../share/penumbra", NULL };

/* Both files are there under `base`/`sub`. */
static bool look_in(struct guest_files *f, const char *base, const char *sub)
{
	int a = snprintf(f->kernel, sizeof f->kernel, "%s/%s/vmlinuz", base, sub);
	int b = snprintf(f->initrd, sizeof f->initrd, "%s/%s/initrd", base, sub);

	return a < PATH_MAX && b < PATH_MAX && !access(f->kernel, F_OK) && !access(f->initrd, F_OK);
}

int guest_files_find(struct guest_files *f, struct err *e)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	char base[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", base, sizeof base - 1);
	char *slash;

	base[n > 0 ? n : 0] = 0;
	slash = strrchr(base, '/');
	if (slash) {
		*slash = 0;
		for (const char *const *sub = beside_executable; *sub; sub++)
			if (look_in(f, base, *sub))
				return 0;
	}
	if (data && *data == '/' && look_in(f, data, "penumbra"))
		return 0;
	if (!(data && *data) && home && look_in(f, home, ".local/share/penumbra"))
		return 0;
	return err_set(e, -ENOENT, "there is no default guest (build/guest/vmlinuz and initrd beside the "
				   "program, or in $XDG_DATA_HOME/penumbra): run `make guest`, or give --kernel");
}
