/* SPDX-License-Identifier: MIT
 * The machine's console: the bytes of the first serial port, to and from two file descriptors.
 *
 * Two threads: the vCPU thread calls console_write() and console_read(); a thread of the console's
 * own reads the input, watches for the escape keys and keeps the deadlines.  One lock protects what
 * they share; it is never held across a system call that may block.  With a virtio console a third
 * thread takes that one's bytes; then `writing` keeps the two outputs apart.  Keys go to the virtio
 * console while a driver serves it, else to the serial port.
 *
 * A kernel panic is recognised from the output:
 *
 *     CALM --(a line with "Kernel panic - not syncing")--> PANICKING
 *     PANICKING --("---[ end Kernel panic")--> PANICKED     PANICKING --(too much output)--> CALM
 *     PANICKED --(a line that a dead kernel would not print)--> CALM       (all: panic_line())
 *     PANICKED, PANICKING --(silence)--> END_PANIC                         (console_thread())
 *
 * so that a guest which merely shows an old log goes on. */
#ifndef PENUMBRA_MACHINE_CONSOLE_H
#define PENUMBRA_MACHINE_CONSOLE_H

#include "accel/accel.h"

struct console;

struct console_options {
	int in_fd, out_fd;   /* not closed by the console */
	int peer_fd;         /* the virtio console's worker (device/virtio_console.h), closed by the console; -1: none */
	bool escapes;        /* in_fd is a terminal in raw mode: Ctrl-a begins a command */
	u64 timeout_ns;      /* 0: none; from console_start() */
};

/* Makes the console of `vm` and starts its thread; the clock of vm->stats and of the time limit
 * begins here.  vm->accel must be set, and accel->kick callable. */
int console_start(struct console **out, struct vm *vm, const struct console_options *options,
		  struct err *e);
/* Stops the thread; then the results below may be read. */
void console_stop(struct console *con);
void console_destroy(struct console *con);

/* For struct vm_ops. */
void console_write(struct console *con, const void *bytes, size_t n);
size_t console_read(struct console *con, void *bytes, size_t room);

/* Why the console ended the run with END_ERROR: code 0 where it did not. */
const struct err *console_error(const struct console *con);
/* The guest kernel's panic was the last thing on the console. */
bool console_panicked(const struct console *con);
/* Calls `line` for the last lines of output, from a few before the panic on, oldest first;
 * printable characters only. */
void console_last_lines(const struct console *con, void (*line)(void *opaque, const char *text),
			void *opaque);

/* Host monotonic time in nanoseconds. */
u64 monotonic_ns(void);

#endif
