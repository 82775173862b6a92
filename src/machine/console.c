/* SPDX-License-Identifier: MIT */
#include "machine/console.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "device/virtio_console.h"

#define INPUT_ROOM 4096u
#define LINE_MAX_BYTES 256u
#define LINES_KEPT 40u
#define LINES_BEFORE_PANIC 4u
/* A pipe that poll() calls writable takes this much without blocking (pipe(7), PIPE_BUF). */
#define WRITE_CHUNK 4096u
#define WRITE_RETRY_MS 100

#define PANIC_LINES_MAX 200u
#define PANIC_SILENCE_NS 1000000000ull
#define PANIC_SILENCE_UNFINISHED_NS 10000000000ull

#define CTRL_A 1

enum panic_state { CALM, PANICKING, PANICKED };

struct console {
	struct vm *vm;
	struct console_options options;
	u64 start_ns;
	pthread_t thread;
	int control_fd;      /* eventfd: the thread shall look again */

	pthread_mutex_t lock;
	/* -- under lock */
	u8 input[INPUT_ROOM];
	u32 input_start, input_count;
	bool stopping;
	bool peer_up;        /* a driver serves the virtio console */
	enum panic_state panic;
	u64 panic_deadline;
	struct err error;

	pthread_t peer_thread;
	pthread_mutex_t writing; /* held while bytes are written, which may take long */
	/* -- under writing until console_stop() */
	char line[LINE_MAX_BYTES];
	u32 line_length;
	char kept[LINES_KEPT][LINE_MAX_BYTES];
	u64 lines;           /* line n is in kept[n % LINES_KEPT] */
	u64 panic_line;

	/* -- console thread */
	bool escape;         /* Ctrl-a was the last key */
};

u64 monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static void signal_fd(int fd)
{
	u64 one = 1;
	ssize_t rc = write(fd, &one, sizeof one);

	(void)rc; /* a full counter is readable too */
}

static void clear_fd(int fd)
{
	u64 count;
	ssize_t rc = read(fd, &count, sizeof count);

	(void)rc;
}

static void fail(struct console *con, int errnum, const char *what)
{
	pthread_mutex_lock(&con->lock);
	err_sys(&con->error, errnum, "%s", what);
	pthread_mutex_unlock(&con->lock);
	vm_request_end(con->vm, END_ERROR);
}

/* ---- output ---- */

static void panic_line(struct console *con, const char *text)
{
	enum panic_state was = con->panic, now = was;

	if (strstr(text, "---[ end Kernel panic"))
		now = was == CALM ? CALM : PANICKED;
	else if (strstr(text, "Kernel panic - not syncing"))
		now = PANICKING;
	else if (was == PANICKING && con->lines - con->panic_line > PANIC_LINES_MAX)
		now = CALM;
	else if (was == PANICKED && *text && !strstr(text, "Rebooting in"))
		now = CALM;
	if (now == CALM && was == CALM)
		return;
	if (now == PANICKING && was != PANICKING)
		con->panic_line = con->lines;
	pthread_mutex_lock(&con->lock);
	con->panic = now;
	con->panic_deadline = monotonic_ns() + (now == PANICKED ? PANIC_SILENCE_NS : PANIC_SILENCE_UNFINISHED_NS);
	pthread_mutex_unlock(&con->lock);
	signal_fd(con->control_fd);
}

/* The line that the kernel prints before it starts the first program: "Run /init as init process". */
static bool announces_init(const char *text)
{
	const char *run = strstr(text, "Run /");

	return run && strstr(run, " as init process");
}

static void line_done(struct console *con)
{
	struct vm_stats *stats = &con->vm->stats;

	con->line[con->line_length] = 0;
	if (!stats->init_ns && announces_init(con->line))
		stats->init_ns = monotonic_ns() - con->start_ns;
	panic_line(con, con->line);
	memcpy(con->kept[con->lines % LINES_KEPT], con->line, con->line_length + 1);
	con->lines++;
	con->line_length = 0;
}

static void scan_output(struct console *con, const u8 *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n')
			line_done(con);
		else if (bytes[i] >= ' ' && bytes[i] < 0x7f && con->line_length < LINE_MAX_BYTES - 1)
			con->line[con->line_length++] = (char)bytes[i];
	}
}

static void write_output(struct console *con, const void *bytes, size_t n)
{
	struct pollfd p = { .fd = con->options.out_fd, .events = POLLOUT };
	const u8 *from = bytes;
	ssize_t done;

	if (!n)
		return;
	if (!con->vm->stats.first_output_ns)
		con->vm->stats.first_output_ns = monotonic_ns() - con->start_ns;
	con->vm->stats.console_out += n;
	scan_output(con, from, n);
	/* Whoever reads slowly holds up the guest, but not the end of the run. */
	while (n && atomic_load(&con->vm->end_request) != END_ERROR) {
		if (poll(&p, 1, WRITE_RETRY_MS) == 0) {
			if (atomic_load(&con->vm->end_request) != END_NONE)
				return;
			continue;
		}
		done = write(p.fd, from, MIN(n, (size_t)WRITE_CHUNK));
		if (done < 0 && errno != EINTR && errno != EAGAIN) {
			fail(con, errno, "console output");
			return;
		}
		if (done > 0) {
			from += done;
			n -= (size_t)done;
		}
	}
}

void console_write(struct console *con, const void *bytes, size_t n)
{
	pthread_mutex_lock(&con->writing);
	write_output(con, bytes, n);
	pthread_mutex_unlock(&con->writing);
}

static void set_peer(struct console *con, bool up)
{
	pthread_mutex_lock(&con->lock);
	con->peer_up = up;
	pthread_mutex_unlock(&con->lock);
	signal_fd(con->control_fd);
	/* Keys that waited for it are the serial port's now. */
	signal_fd(con->vm->wake_fd);
	con->vm->accel->kick(con->vm);
}

/* Takes the virtio console's messages until its worker is gone and everything it said was taken. */
static void *peer_thread(void *opaque)
{
	struct console *con = opaque;
	u8 message[1 + CONSOLE_MESSAGE_MAX];
	struct pollfd p = { .fd = con->options.peer_fd, .events = POLLIN };
	ssize_t n;

	for (;;) {
		if (poll(&p, 1, -1) < 0)
			continue;
		n = recv(p.fd, message, sizeof message, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			break;
		if (message[0] == CONSOLE_OUTPUT)
			console_write(con, message + 1, (size_t)n - 1);
		else
			set_peer(con, message[0] == CONSOLE_UP);
	}
	set_peer(con, false);
	return NULL;
}

/* ---- input ---- */

/* Keys for the virtio console; true where it has no room for now.  In the console's thread. */
static bool feed_peer(struct console *con)
{
	u8 keys[CONSOLE_KEYS_MAX];
	size_t n = 0;
	bool full = false;

	pthread_mutex_lock(&con->lock);
	while (con->peer_up && con->input_count && !full) {
		for (n = 0; n < sizeof keys && n < con->input_count; n++)
			keys[n] = con->input[(con->input_start + n) % INPUT_ROOM];
		full = send(con->options.peer_fd, keys, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0;
		if (full)
			break;
		con->input_start = (con->input_start + (u32)n) % INPUT_ROOM;
		con->input_count -= (u32)n;
		con->vm->stats.console_in += n;
	}
	full = full && con->peer_up;
	pthread_mutex_unlock(&con->lock);
	return full;
}

size_t console_read(struct console *con, void *bytes, size_t room)
{
	bool was_full;
	size_t n = 0;

	pthread_mutex_lock(&con->lock);
	was_full = con->input_count == INPUT_ROOM;
	for (; n < room && con->input_count && !con->peer_up; n++) {
		((u8 *)bytes)[n] = con->input[con->input_start];
		con->input_start = (con->input_start + 1) % INPUT_ROOM;
		con->input_count--;
	}
	pthread_mutex_unlock(&con->lock);
	con->vm->stats.console_in += n;
	if (was_full && n)
		signal_fd(con->control_fd);
	return n;
}

static void say(struct console *con, const char *text)
{
	ssize_t rc = write(con->options.out_fd, text, strlen(text));

	(void)rc; /* output that fails shows at the guest's next byte */
}

/* One key after Ctrl-a.  Returns true where it is for the guest. */
static bool escape_key(struct console *con, u8 key)
{
	switch (key) {
	case CTRL_A:
		return true;
	case 'x':
	case 'X':
		vm_request_end(con->vm, END_USER_QUIT);
		return false;
	case 'h':
	case 'H':
	case '?':
		say(con, "\r\nCtrl-a x      leave, the machine ends\r\n"
			 "Ctrl-a h      this help\r\n"
			 "Ctrl-a Ctrl-a send Ctrl-a\r\n");
		return false;
	default:
		return false;
	}
}

static bool key_is_for_guest(struct console *con, u8 key)
{
	if (!con->options.escapes)
		return true;
	if (con->escape) {
		con->escape = false;
		return escape_key(con, key);
	}
	con->escape = key == CTRL_A;
	return !con->escape;
}

/* The caller has seen room for `room` bytes.  Returns false at the end of the input. */
static bool take_input(struct console *con, size_t room)
{
	u8 keys[INPUT_ROOM];
	ssize_t got = read(con->options.in_fd, keys, room);
	size_t n = 0;

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (got <= 0) {
		/* A terminal has no end but that it was hung up; other input may just end. */
		if (con->options.escapes)
			fail(con, got < 0 ? errno : EIO, "the terminal was closed");
		return false;
	}
	for (ssize_t i = 0; i < got; i++)
		if (key_is_for_guest(con, keys[i]))
			keys[n++] = keys[i];
	pthread_mutex_lock(&con->lock);
	for (size_t i = 0; i < n; i++)
		con->input[(con->input_start + con->input_count++) % INPUT_ROOM] = keys[i];
	pthread_mutex_unlock(&con->lock);
	if (n) {
		signal_fd(con->vm->wake_fd);
		con->vm->accel->kick(con->vm);
	}
	return true;
}

/* ---- deadlines ---- */

/* Ends the run where a deadline has passed; returns the next one (UINT64_MAX: none). */
static u64 check_deadlines(struct console *con, u64 now)
{
	u64 next = UINT64_MAX, limit = con->options.timeout_ns;

	if (atomic_load(&con->vm->end_request) != END_NONE)
		return next;
	if (limit && now - con->start_ns >= limit)
		vm_request_end(con->vm, END_TIMEOUT);
	else if (limit)
		next = con->start_ns + limit;
	pthread_mutex_lock(&con->lock);
	if (con->panic != CALM && now >= con->panic_deadline)
		vm_request_end(con->vm, END_PANIC);
	else if (con->panic != CALM)
		next = MIN(next, con->panic_deadline);
	pthread_mutex_unlock(&con->lock);
	return next;
}

static void *console_thread(void *opaque)
{
	struct console *con = opaque;
	struct pollfd p[3] = { { .fd = con->control_fd, .events = POLLIN } };
	bool open = con->options.in_fd >= 0, stopping;
	struct timespec wait;
	u64 now, next;
	size_t room;

	for (;;) {
		p[2] = (struct pollfd){ .fd = feed_peer(con) ? con->options.peer_fd : -1, .events = POLLOUT };
		now = monotonic_ns();
		next = check_deadlines(con, now);
		pthread_mutex_lock(&con->lock);
		room = INPUT_ROOM - con->input_count;
		stopping = con->stopping;
		pthread_mutex_unlock(&con->lock);
		if (stopping)
			return NULL;
		p[1] = (struct pollfd){ .fd = open && room ? con->options.in_fd : -1, .events = POLLIN };
		next = next == UINT64_MAX || next < now ? 0 : next - now;
		wait = (struct timespec){ (time_t)(next / 1000000000u), (long)(next % 1000000000u) };
		if (ppoll(p, 3, next ? &wait : NULL, NULL) < 0)
			continue;
		if (p[0].revents)
			clear_fd(con->control_fd);
		if (p[1].revents)
			open = take_input(con, room);
	}
}

/* ---- life ---- */

int console_start(struct console **out, struct vm *vm, const struct console_options *options,
		  struct err *e)
{
	struct console *con = calloc(1, sizeof *con);
	sigset_t all, old;
	int rc;

	if (!con)
		return err_set(e, -ENOMEM, "console: no memory");
	con->vm = vm;
	con->options = *options;
	con->start_ns = monotonic_ns();
	con->control_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (con->control_fd < 0) {
		rc = err_sys(e, errno, "console: eventfd");
		free(con);
		return rc;
	}
	pthread_mutex_init(&con->lock, NULL);
	pthread_mutex_init(&con->writing, NULL);
	/* Signals are for the vCPU thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = options->peer_fd >= 0 ? pthread_create(&con->peer_thread, NULL, peer_thread, con) : 0;
	if (!rc) {
		rc = pthread_create(&con->thread, NULL, console_thread, con);
		if (rc && options->peer_fd >= 0) {
			shutdown(options->peer_fd, SHUT_RDWR);
			pthread_join(con->peer_thread, NULL);
		}
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		rc = err_sys(e, rc, "console: thread");
		close(con->control_fd);
		free(con);
		return rc;
	}
	*out = con;
	return 0;
}

void console_stop(struct console *con)
{
	pthread_mutex_lock(&con->lock);
	con->stopping = true;
	pthread_mutex_unlock(&con->lock);
	signal_fd(con->control_fd);
	pthread_join(con->thread, NULL);
	if (con->options.peer_fd >= 0) {
		/* Its worker is gone, or is cut off here; what it had said is read first. */
		shutdown(con->options.peer_fd, SHUT_RDWR);
		pthread_join(con->peer_thread, NULL);
		close(con->options.peer_fd);
	}
	if (con->line_length)
		line_done(con);
}

void console_destroy(struct console *con)
{
	if (!con)
		return;
	close(con->control_fd);
	pthread_mutex_destroy(&con->lock);
	pthread_mutex_destroy(&con->writing);
	free(con);
}

const struct err *console_error(const struct console *con)
{
	return &con->error;
}

bool console_panicked(const struct console *con)
{
	return con->panic != CALM;
}

void console_last_lines(const struct console *con, void (*line)(void *opaque, const char *text),
			void *opaque)
{
	u64 first = con->lines > LINES_KEPT ? con->lines - LINES_KEPT : 0;

	if (con->panic != CALM && con->panic_line > LINES_BEFORE_PANIC)
		first = MAX(first, con->panic_line - LINES_BEFORE_PANIC);
	for (u64 n = first; n < con->lines; n++)
		line(opaque, con->kept[n % LINES_KEPT]);
}
