/* SPDX-License-Identifier: MIT
 * The terminal in raw mode, and back on every way out: return, exit(), signals, stop and continue.
 * One terminal a process. */
#ifndef PENUMBRA_CLI_TERMINAL_H
#define PENUMBRA_CLI_TERMINAL_H

#include "base/types.h"

struct vm;

/* Puts `fd` into raw mode where it is a terminal that this process has in the foreground; true then. */
bool terminal_raw(int fd);
void terminal_restore(void);

/* From here to signals_release(), SIGINT, SIGTERM, SIGQUIT and SIGHUP end the run of `vm`, SIGTSTP and
 * SIGCONT restore and renew raw mode, and a crash restores the terminal. */
void signals_watch(struct vm *vm);
void signals_release(void);
/* The signal that ended the run, 0: none. */
int signals_caught(void);

#endif
