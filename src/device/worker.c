/* SPDX-License-Identifier: MIT */
#include "device/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/jail.h"

#define POLL_MAX 4096 /* connections of a user-mode network */
#define PROT_RW (PROT_READ | PROT_WRITE)

/* What every worker may do: its messages, waiting, memory without code in it, its end. */
#define ALLOW(call) { SYS_##call, 1, { } }
static const struct syscall_rule worker_calls[] = {
	ALLOW(read), ALLOW(write), ALLOW(readv), ALLOW(writev), ALLOW(poll), ALLOW(ppoll), ALLOW(futex),
	ALLOW(sendto), ALLOW(recvfrom), ALLOW(rt_sigreturn), ALLOW(rt_sigprocmask), ALLOW(munmap), ALLOW(brk),
	ALLOW(madvise), ALLOW(clock_gettime), ALLOW(clock_nanosleep), ALLOW(nanosleep), ALLOW(restart_syscall),
	ALLOW(exit), ALLOW(exit_group), ALLOW(getpid), ALLOW(gettid), ALLOW(close), ALLOW(sched_yield),
	{ SYS_mmap, 1, { ARG_WITHIN(2, PROT_RW) } },
	{ SYS_mprotect, 1, { ARG_WITHIN(2, PROT_RW) } },
	{ SYS_mremap, 1, { } },
	ALLOW(rseq), ALLOW(set_robust_list), ALLOW(rt_sigaction), /* threads that have just begun */
	/* abort(), so that a bug of ours ends as one. */
	{ SYS_tgkill, 1, { ARG_INT(2, SIGABRT) } },
};

static long futex(_Atomic u32 *word, int op, u32 value)
{
	return syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

/* ---- what a class calls ---- */

static void ring(int fd)
{
	u64 one = 1;

	if (write(fd, &one, sizeof one) < 0 && errno != EAGAIN)
		_exit(1);
}

void worker_tell(struct worker *w, struct control *c, u32 kind)
{
	c->kind = kind;
	if (send(w->control, c, sizeof *c, MSG_NOSIGNAL) < 0)
		_exit(1); /* the front-end is gone */
}

void worker_interrupt(struct worker *w, u32 q)
{
	if (!vq_wants_interrupt(&w->queue[q]))
		return;
	if (!atomic_fetch_or(&w->page->irq, 1ull << q))
		ring(w->call);
}

void worker_check_broken(struct worker *w)
{
	struct control c = { 0 };

	for (u32 i = 0; i < w->n_queues && !w->told_broken; i++) {
		if (!w->queue[i].broken)
			continue;
		w->told_broken = true;
		snprintf(c.text, sizeof c.text, "queue %u: %s", i, w->queue[i].why);
		worker_tell(w, &c, CONTROL_BROKEN);
	}
}

_Noreturn void worker_fail(struct worker *w, const char *format, ...)
{
	struct control c = { 0 };
	va_list ap;

	va_start(ap, format);
	vsnprintf(c.text, sizeof c.text, format, ap);
	va_end(ap);
	worker_tell(w, &c, CONTROL_FAILED);
	_exit(1);
}

static void stop_queues(struct worker *w)
{
	for (u32 i = 0; i < w->n_queues; i++)
		vq_stop(&w->queue[i]);
	w->running = w->told_broken = false;
}

void worker_reset_done(struct worker *w)
{
	struct control c = { 0 };
	u32 why = w->leaving;

	w->leaving = 0;
	if (why == CONTROL_STOP) {
		c.n = w->n_queues;
		for (u32 i = 0; i < w->n_queues; i++)
			vq_save(&w->queue[i], &c.queue[i]);
		if (w->class->save)
			c.state_bytes = (u32)w->class->save(w, c.state, sizeof c.state);
	}
	stop_queues(w);
	if (why)
		worker_tell(w, &c, why == CONTROL_STOP ? CONTROL_STOPPED : CONTROL_RESET_DONE);
}

void worker_config_changed(struct worker *w)
{
	struct control c = { .n = w->config_size };

	memcpy(c.config, w->config, w->config_size);
	worker_tell(w, &c, CONTROL_CONFIG_CHANGED);
}

/* dma->clean: the front-end has the accelerator drop what it translated of these frames. */
static void clean(void *opaque, const u32 *frames, u32 n)
{
	struct worker *w = opaque;
	struct worker_page *p = w->page;
	u32 seq = p->clean_asked + 1, done;

	memcpy(p->clean, frames, n * sizeof *frames);
	p->clean_n = n;
	atomic_store(&p->clean_asked, seq);
	ring(w->call);
	while ((done = atomic_load(&p->clean_done)) != seq)
		futex(&p->clean_done, FUTEX_WAIT, done);
}

/* ---- messages ---- */

static void serve_all(struct worker *w)
{
	for (u32 i = 0; i < w->n_queues && w->running && !w->leaving; i++)
		if (w->queue[i].running && w->class->serve)
			w->class->serve(w, i);
	worker_check_broken(w);
}

static void start(struct worker *w, const struct control *c)
{
	w->features = c->features;
	w->told_broken = false;
	w->again = c->again;
	for (u32 i = 0; i < w->n_queues && i < c->n; i++) {
		struct vq_record *record = w->class->unordered ? &w->record->queue[i] : NULL;

		if (c->queue[i].enabled && c->again)
			vq_resume(&w->queue[i], &w->dma, &c->queue[i], c->features, record, c->start);
		else if (c->queue[i].enabled)
			vq_start_recorded(&w->queue[i], &w->dma, &c->queue[i], c->features, record, c->start);
	}
	w->running = true;
	if (c->state_bytes && w->class->load && w->class->load(w, c->state, MIN(c->state_bytes, sizeof c->state)))
		worker_fail(w, "saved state of %s is not valid", w->name);
	if (w->class->start)
		w->class->start(w);
	if (c->again && w->class->again && w->class->again(w))
		_exit(1);
	serve_all(w);
}

static void leave(struct worker *w, u32 why)
{
	w->leaving = why;
	if (!w->running || !w->class->reset || w->class->reset(w))
		worker_reset_done(w);
}

static void handle_control(struct worker *w)
{
	struct control c;
	ssize_t n = recv(w->control, &c, sizeof c, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof c) { /* the machine has ended */
		if (w->class->end)
			w->class->end(w);
		_exit(0);
	}
	if (c.life != w->life)
		return; /* for the one before, which is dead */
	switch (c.kind) {
	case CONTROL_START:
		start(w, &c);
		break;
	case CONTROL_RESET:
	case CONTROL_STOP:
		leave(w, c.kind);
		break;
	case CONTROL_CONFIG:
		memcpy(w->config, c.config, w->config_size);
		if (w->class->config)
			w->class->config(w);
		break;
	default:
		_exit(1);
	}
}

_Noreturn void worker_loop(struct worker *w)
{
	for (;;) {
		static struct pollfd p[POLL_MAX];
		int timeout = -1, n = 2;
		u64 count;

		p[0] = (struct pollfd){ w->control, POLLIN, 0 };
		p[1] = (struct pollfd){ w->bell, POLLIN, 0 };
		if (w->class->fill)
			n += w->class->fill(w, p + 2, POLL_MAX - 2, &timeout);
		if (poll(p, (nfds_t)n, timeout) < 0)
			continue;
		if (p[0].revents)
			handle_control(w);
		if (w->class->polled)
			w->class->polled(w, p + 2, n - 2);
		if ((p[1].revents & POLLIN) && read(w->bell, &count, sizeof count) == sizeof count)
			serve_all(w);
		worker_check_broken(w);
	}
}

/* ---- the process ---- */

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Closes all but what the worker is meant to have. */
static void close_others(const struct worker *w, const struct worker_plan *plan)
{
	int keep[WORKER_FDS_MAX + 3], n = 0, from = 0;

	for (int i = 0; i < plan->n_fds; i++)
		keep[n++] = plan->fds[i];
	keep[n++] = w->control;
	keep[n++] = w->bell;
	keep[n++] = w->call;
	qsort(keep, (size_t)n, sizeof *keep, by_number);
	for (int i = 0; i < n; i++) {
		if (keep[i] > from)
			close_range((unsigned)from, (unsigned)keep[i] - 1, 0);
		from = keep[i] + 1;
	}
	close_range((unsigned)from, ~0u, 0);
}

#define CALLS_MAX 160
void worker_filter(struct worker *w, const struct syscall_rule *more, size_t n_more)
{
	static struct syscall_rule rules[CALLS_MAX];
	static struct sock_filter code[SYSCALL_FILTER_MAX(CALLS_MAX)];
	struct sock_fprog program = { 0, code };
	size_t n = ARRAY_SIZE(worker_calls);

	memcpy(rules, worker_calls, sizeof worker_calls);
	for (size_t i = 0; i < w->class->n_calls && n < CALLS_MAX; i++) {
		rules[n] = w->class->calls[i];
		rules[n++].who = 1;
	}
	for (size_t i = 0; i < n_more && n < CALLS_MAX; i++)
		rules[n++] = more[i];
	program.len = syscall_filter_build(code, rules, n, 1, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program))
		worker_fail(w, "%s: this host does not let processes filter their system calls (seccomp): %s", w->name,
			    strerror(errno));
}

static void give_up_rights(struct worker *w)
{
	struct rlimit none = { 0, 0 };
	char name[16];

	/* One with an end of its own sees its socket closed. */
	if (!w->class->end)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(name, sizeof name, "keeper-%s", w->name);
	prctl(PR_SET_NAME, name);
	if (!(w->class->rights & (WORKER_FILES | WORKER_ROOT)))
		jail_leave_files();
	setrlimit(RLIMIT_CORE, &none);
	if (!(w->class->rights & WORKER_ROOT) && !jail_drop_privileges())
		worker_fail(w, "%s: cannot drop privileges: %s", w->name, strerror(errno));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		worker_fail(w, "%s: cannot set no_new_privs: %s", w->name, strerror(errno));
}

static _Noreturn void worker_main(const struct worker_plan *plan, const struct worker_handle *h, int control)
{
	static struct worker w;
	struct err e = { 0 };
	sigset_t none;

	w = (struct worker){
		.name = plan->name, .class = plan->class, .state = plan->state, .dma = plan->dma,
		.n_queues = plan->n_queues, .config_size = plan->config_size,
		.control = control, .bell = h->bell, .call = h->call, .page = h->page,
	};
	w.dma.clean = clean;
	w.dma.opaque = &w;
	if (plan->config)
		memcpy(w.config, plan->config, plan->config_size);
	close_others(&w, plan);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* the terminal's keys are for the guest; the front-end ends us */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	w.record = mmap(NULL, sizeof *w.record, PROT_RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w.record == MAP_FAILED)
		worker_fail(&w, "%s: no memory", w.name);
	give_up_rights(&w);
	if (w.class->begin && w.class->begin(&w, &e))
		worker_fail(&w, "%s: %s", w.name, e.text);
	keeper_run(&w);
}

static int make_handle(struct worker_handle *h, int pair[2], struct err *e)
{
	void *page = mmap(NULL, sizeof *h->page, PROT_RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return err_sys(e, errno, "memory of a device process");
	h->page = page;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_sys(e, errno, "socket pair of a device process");
	h->control = pair[0];
	h->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	h->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->bell < 0 || h->call < 0)
		return err_sys(e, errno, "eventfd of a device process");
	return 0;
}

int worker_fork(struct worker_handle *h, const struct worker_plan *plan, struct err *e)
{
	int pair[2] = { -1, -1 }, rc;

	*h = (struct worker_handle){ .pid = -1, .control = -1, .bell = -1, .call = -1 };
	rc = make_handle(h, pair, e);
	if (!rc) {
		h->pid = plan->class->rights & WORKER_ROOT ? fork() :
			 jail_fork(plan->class->rights & WORKER_NETWORK ? JAIL_NETWORK : 0);
		if (h->pid < 0)
			rc = err_sys(e, errno, "fork of a device process");
	}
	h->ends = plan->class->end;
	if (!rc && !h->pid)
		worker_main(plan, h, pair[1]);
	if (pair[1] >= 0)
		close(pair[1]);
	if (rc)
		worker_close(h);
	return rc;
}

void worker_close(struct worker_handle *h)
{
	if (h->control >= 0)
		close(h->control);
	if (h->pid > 0) {
		if (!h->ends)
			kill(h->pid, SIGTERM); /* the keeper kills its child first */
		waitpid(h->pid, NULL, 0);
	}
	if (h->bell >= 0)
		close(h->bell);
	if (h->call >= 0)
		close(h->call);
	if (h->page)
		munmap(h->page, sizeof *h->page);
	*h = (struct worker_handle){ .pid = -1, .control = -1, .bell = -1, .call = -1 };
}

int worker_send(struct worker_handle *h, struct control *c)
{
	if (h->control < 0)
		return -EPIPE;
	c->life = h->life;
	return send(h->control, c, sizeof *c, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof *c ? 0 : -errno;
}

int worker_receive(struct worker_handle *h, struct control *c)
{
	ssize_t n = recv(h->control, c, sizeof *c, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n == sizeof *c ? 1 : -EPIPE;
}
