/* SPDX-License-Identifier: MIT
 * A process that has set itself up goes into a jail of its own: a file system with one directory or a few texts,
 * namespaces, and the capabilities that it names.  namespaces(7), capabilities(7), pivot_root(2), open_tree(2).
 *
 * Called once by a single-threaded process that was forked with all rights (base/jail.h has the jail that others
 * are born in). */
#ifndef PENUMBRA_BASE_JAIL_ENTER_H
#define PENUMBRA_BASE_JAIL_ENTER_H

#include <stdbool.h>

#include "base/err.h"
#include "base/types.h"

struct jail_text {
	const char *path;     /* "/etc/resolv.conf": at most one directory deep */
	const char *from;     /* copied from this file of the host's, where it is there */
};

struct jail_plan {
	int root;             /* the directory that becomes "/"; -1: an empty one with `texts` in it */
	bool readonly;        /* no file below `root` can be changed */
	bool network;         /* stays in the host's network namespace */
	const struct jail_text *texts;
	size_t n_texts;
	const u8 *keep;       /* capabilities (CAP_*) that a process of root's keeps */
	size_t n_keep;
};

/* *moved tells whether the file system was left: hosts may deny it to ordinary users, then system call filter and
 * missing rights are what confines.  Fails where rights cannot be given up. */
int jail_enter(const struct jail_plan *plan, bool *moved, struct err *e);

#endif
