/* SPDX-License-Identifier: MIT */
#include "accel/accel.h" /* first: it brings <signal.h> */

#include <errno.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "cli/terminal.h"

static struct termios cooked, raw;
static int raw_fd = -1;
static volatile sig_atomic_t is_raw;
static struct vm *watched;
static volatile sig_atomic_t caught;

enum watch { WATCH_END, WATCH_STOP, WATCH_CONTINUE, WATCH_CRASH };

static const struct {
	int number;
	enum watch kind;
} signals[] = {
	{ SIGINT, WATCH_END }, { SIGTERM, WATCH_END }, { SIGQUIT, WATCH_END }, { SIGHUP, WATCH_END },
	{ SIGTSTP, WATCH_STOP }, { SIGCONT, WATCH_CONTINUE },
	{ SIGABRT, WATCH_CRASH }, { SIGSEGV, WATCH_CRASH }, { SIGBUS, WATCH_CRASH },
	{ SIGFPE, WATCH_CRASH }, { SIGILL, WATCH_CRASH },
};
static struct sigaction before[ARRAY_SIZE(signals)];

/* Async-signal-safe (tcsetattr is: signal-safety(7)). */
void terminal_restore(void)
{
	if (is_raw)
		tcsetattr(raw_fd, TCSADRAIN, &cooked);
	is_raw = 0;
}

static void terminal_renew(void)
{
	if (raw_fd >= 0 && tcgetpgrp(raw_fd) == getpgrp() && !tcsetattr(raw_fd, TCSADRAIN, &raw))
		is_raw = 1;
}

bool terminal_raw(int fd)
{
	if (!isatty(fd) || tcgetpgrp(fd) != getpgrp() || tcgetattr(fd, &cooked))
		return false;
	raw = cooked;
	cfmakeraw(&raw);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	raw_fd = fd;
	atexit(terminal_restore);
	terminal_renew();
	return is_raw;
}

static void on_end(int number)
{
	int saved = errno;

	if (!caught)
		caught = number;
	if (watched)
		vm_request_end(watched, number == SIGHUP ? END_ERROR : END_USER_QUIT);
	errno = saved;
}

static void on_stop(int number)
{
	int saved = errno;

	(void)number;
	terminal_restore();
	kill(getpid(), SIGSTOP);
	errno = saved;
}

static void on_continue(int number)
{
	int saved = errno;

	(void)number;
	terminal_renew();
	errno = saved;
}

/* The handler is a single shot: the signal then does what it does without us. */
static void on_crash(int number)
{
	terminal_restore();
	raise(number);
}

void signals_watch(struct vm *vm)
{
	static void (*const handlers[])(int) = {
		[WATCH_END] = on_end, [WATCH_STOP] = on_stop,
		[WATCH_CONTINUE] = on_continue, [WATCH_CRASH] = on_crash,
	};
	struct sigaction action = { 0 };

	watched = vm;
	caught = 0;
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write() */
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		action.sa_handler = handlers[signals[i].kind];
		action.sa_flags = SA_RESTART | (signals[i].kind == WATCH_CRASH ? (int)SA_RESETHAND : 0);
		sigaction(signals[i].number, NULL, &before[i]);
		/* What our parent ignores for us (nohup) stays ignored. */
		if (before[i].sa_handler != SIG_IGN)
			sigaction(signals[i].number, &action, NULL);
	}
}

void signals_release(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i].number, &before[i], NULL);
	watched = NULL;
}

int signals_caught(void)
{
	return caught;
}
