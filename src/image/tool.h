/* SPDX-License-Identifier: MIT
 * Running one of the host's programs, and reading what it says.
 *
 * Owner: the calling thread; the program runs in the caller's process group, so that Ctrl-c reaches both. */
#ifndef PENUMBRA_IMAGE_TOOL_H
#define PENUMBRA_IMAGE_TOOL_H

#include "base/err.h"
#include "base/types.h"

/* A program that is needed, and the Debian package that brings it. */
struct tool { const char *program, *package; };

struct tool_job {
	const char *const *argv;      /* ends with NULL; argv[0] is looked up in PATH and the sbin directories */
	const char *const *env;       /* "NAME=value" added to the environment, ends with NULL; NULL: nothing */
	const char *input;            /* given to it on standard input; NULL: nothing */
	/* Called with each line that it writes on standard output or standard error, without the newline; may
	 * be NULL. */
	void (*line)(void *opaque, const char *line);
	void *opaque;
};

/* -ENOENT with the package's name where one of `count` programs is not there. */
int tools_check(const struct tool *tools, size_t count, struct err *e);

/* Runs the program to its end.  -EIO with its last words where its status is not 0, -EINTR where the
 * caller was told to stop (tool_stop()). */
int tool_run(const struct tool_job *job, struct err *e);

/* The same after tool_stop() too: for what cleans up. */
int tool_run_always(const struct tool_job *job, struct err *e);

/* Async-signal-safe: ends the program that runs, and lets each later tool_run() fail with -EINTR. */
void tool_stop(void);

#endif
