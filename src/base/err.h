/* SPDX-License-Identifier: MIT
 * Errors that a user reads: one line that says what failed, on which object, and why.
 *
 * Functions return 0 or a negative errno and fill the last argument.  Only cli/ prints and exits. */
#ifndef PENUMBRA_BASE_ERR_H
#define PENUMBRA_BASE_ERR_H

#include <stdbool.h>

#define ERR_TEXT_MAX 1024

struct err {
	int code;                /* negative errno, 0 while nothing went wrong */
	char text[ERR_TEXT_MAX]; /* one line, no newline, always terminated */
};

/* Records an error; the first one wins.  `code` is a negative errno; `format` gives what and on
 * which object.  Returns `code`, so that `return err_set(...)` reads well. */
int err_set(struct err *e, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As err_set() with ": " and the system's words for `errnum` (a positive errno) appended;
 * returns -errnum. */
int err_sys(struct err *e, int errnum, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " in front of an error that is already recorded; returns its code. */
int err_prefix(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
