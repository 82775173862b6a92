/* SPDX-License-Identifier: MIT
 * Where the default guest's kernel and initrd are. */
#ifndef PENUMBRA_CLI_GUEST_FILES_H
#define PENUMBRA_CLI_GUEST_FILES_H

#include <limits.h>

#include "base/err.h"

struct guest_files {
	char kernel[PATH_MAX], initrd[PATH_MAX];
};

/* Looks beside the executable (build/guest, guest, ../share/penumbra) and in penumbra/ under
 * $XDG_DATA_HOME (~/.local/share where unset).  -ENOENT with advice where there is none. */
int guest_files_find(struct guest_files *files, struct err *e);

#endif
