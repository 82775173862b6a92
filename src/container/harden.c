/* SPDX-License-Identifier: MIT
 * The hardened run and its explanation. */
#include "container/harden.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "container/harden_config.h"
#include "container/supervisor.h"

#define FIRST_ID 0x40000000ull /* above what login.defs and subordinate ids use */
#define ID_SLOTS 16384

/* A slot is a file that names its container; one whose container is gone is free. */
int harden_take_ids(int root, const char *id, u64 *slot, u64 *first, struct err *e)
{
	_cleanup_fd_ int dir = -1;
	char name[24];
	u64 i;

	if (mkdirat(root, ".ids", 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make the table of id ranges");
	dir = openat(root, ".ids", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || flock(dir, LOCK_EX) < 0)
		return err_sys(e, errno, "lock the table of id ranges");
	for (i = 0; i < ID_SLOTS; i++) {
		_cleanup_free_ char *holder = NULL;
		int r;

		snprintf(name, sizeof name, "%llu", (unsigned long long)i);
		r = file_read_at(dir, name, 256, &holder, NULL);
		if (!r && *holder && !faccessat(root, holder, F_OK, AT_SYMLINK_NOFOLLOW))
			continue;
		r = file_replace_at(dir, name, id, strlen(id), 0600);
		if (r)
			return err_sys(e, -r, "take an id range");
		*slot = i + 1;
		*first = FIRST_ID + i * 65536;
		return 0;
	}
	return err_set(e, -EAGAIN, "all %d id ranges are in use", ID_SLOTS);
}

void harden_release_ids(int root, u64 slot)
{
	char name[32];

	if (!slot)
		return;
	snprintf(name, sizeof name, ".ids/%llu", (unsigned long long)(slot - 1));
	unlinkat(root, name, 0);
}

static int make_name(char *out, size_t size, struct err *e)
{
	unsigned char r[6];

	if (getrandom(r, sizeof r, 0) != sizeof r)
		return err_sys(e, errno, "getrandom");
	snprintf(out, size, "c-%02x%02x%02x%02x%02x%02x", r[0], r[1], r[2], r[3], r[4], r[5]);
	return 0;
}

static int read_answer(const struct command_line *c, enum violation_answer *out, struct err *e)
{
	static const char *const names[] = { "log", "kill", "freeze" };
	const char *s = option(c, "on-violation") ? option(c, "on-violation") : "log";
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(s, names[i])) {
			*out = (enum violation_answer)i;
			return 0;
		}
	return err_set(e, -EINVAL, "option --on-violation: log, kill or freeze");
}

static int check_off(const struct command_line *c, const char *name, struct err *e)
{
	const char *v = option(c, name);

	return !v || !strcmp(v, "off") ? 0 : err_set(e, -EINVAL, "option --%s: only off", name);
}

/* What the run does without is said before it starts: silence would pass for protection. */
static void warn_missing(const struct hardened *h)
{
	if (!landlock_version() && !option(h->c, "landlock"))
		fprintf(stderr, "warning: this kernel has no Landlock\n");
	if (geteuid() && !flag(h->c, "no-user-namespace"))
		fprintf(stderr, "warning: without root the container has your own id only, and limits only "
			"where you may write to cgroups\n");
}

static int prepare(struct hardened *h, const char *id, u64 *slot, struct err *e)
{
	const struct command_line *c = h->c;
	_cleanup_fd_ int root = -1;
	int r = check_off(c, "seccomp", e);

	if (!r)
		r = check_off(c, "landlock", e);
	if (!r)
		r = harden_open_image(h, id, e);
	if (r)
		return r;
	if (!flag(c, "no-user-namespace") && geteuid()) {
		h->first_id = geteuid();
		h->ids = 1;
	} else if (!flag(c, "no-user-namespace")) {
		h->ids = 65536;
		root = state_root_open(c->global->root, true, e);
		if (root < 0)
			return root;
		r = harden_take_ids(root, id, slot, &h->first_id, e);
	}
	if (!r && option(c, "profile") && !h->learning)
		r = profile_read(h, option(c, "profile"), e);
	else if (!r && !option(c, "landlock") && !h->learning)
		r = harden_default_landlock(h, e);
	return r;
}

/* Once the container is made it holds its root by itself. */
static void close_image(struct hardened *h, bool failed)
{
	if (h->copied && failed)
		store_copy_remove(h->root, NULL);
	if (h->stored.lock >= 0 && failed) /* else it was closed with all that making the container had open */
		close(h->stored.lock);
	h->stored.lock = -1;
	h->copied = false;
}

/* One run from image to end; the exit status of the process. */
static int run_once(struct hardened *h, const char *id, struct supervisor *s, struct err *e)
{
	_cleanup_text_ struct text config = { 0 };
	struct create_options o = { .id = id, .bundle = "/", .run = true, .listener_to = -1,
				    .detach = flag(h->c, "detach") };
	struct launch l;
	u64 slot = 0;
	int r = prepare(h, id, &slot, e), console = -1, status = 0;

	o.id_slot = slot;
	o.idmap_root = h->ids > 1;
	if (!r)
		r = harden_write_config(h, &config, e);
	if (!r && h->ask) {
		r = supervisor_start(s, e);
		o.listener_to = s->sock;
	}
	if (r) {
		_cleanup_fd_ int root = slot ? state_root_open(h->c->global->root, false, NULL) : -1;

		if (root >= 0)
			harden_release_ids(root, slot);
		close_image(h, true);
		return r;
	}
	o.config = config.text;
	o.root_copy = h->copied ? h->root : NULL;
	prctl(PR_SET_CHILD_SUBREAPER, !o.detach, 0, 0, 0);
	r = launch_open(&l, h->c->global, &o, e);
	if (!r)
		r = launch_create(&l, &console, e);
	close_image(h, r != 0);
	if (s->sock >= 0)
		close(s->sock);
	s->sock = -1;
	if (!r) {
		flock(l.dir.dir, LOCK_UN);
		if (o.detach)
			printf("%s\n", id);
		else
			status = supervise((pid_t)l.state.pid, console, e);
		if (status < 0)
			r = status;
		if (!r && !o.detach)
			r = launch_destroy(&l, e);
	}
	launch_close(&l);
	spec_free(h->bundle);
	h->bundle = NULL;
	text_free(&h->landlock);
	return r ? r : status;
}

/* Runs once to record, writes the profile, runs again under it. */
static int learn(struct hardened *h, const char *id, struct supervisor *s, struct err *e)
{
	const char *file = option(h->c, "learn");
	char record[] = "/tmp/penumbra-learn-XXXXXX", again[80];
	int fd = mkostemp(record, O_CLOEXEC), r, first, second;

	if (fd < 0)
		return err_sys(e, errno, "make a temporary file");
	close(fd);
	s->learn = record;
	h->learning = true;
	first = run_once(h, id, s, e);
	supervisor_wait(s);
	r = first < 0 ? first : profile_write(record, h->root, file, e);
	unlink(record);
	if (r)
		return r;
	fprintf(stderr, "profile written to %s; running again under it\n", file);
	h->learning = false;
	s->learn = NULL;
	h->first_id = 0;
	snprintf(again, sizeof again, "%.70s-check", id);
	s->id = again;
	r = profile_read(h, file, e);
	if (r)
		return r;
	second = run_once(h, again, s, e);
	supervisor_wait(s);
	if (second != first)
		return err_set(e, -ECANCELED, "under the profile the workload ended with %d, without "
			       "it with %d", second, first);
	fprintf(stderr, "check: the same status, %d, under the profile\n", second);
	return second;
}

static int run_hardened(struct command_line *c, struct err *e)
{
	struct hardened h = { .c = c, .image = c->argv[0] };
	struct supervisor s = { .global = c->global, .events = option(c, "events"), .sock = -1 };
	char made[32];
	const char *id = option(c, "name");
	int r = read_answer(c, &s.answer, e);

	if (!r && !id) {
		r = make_name(made, sizeof made, e);
		id = made;
	}
	if (!r)
		r = state_check_id(id, e);
	if (r)
		return r;
	s.id = id;
	h.ask = !option(c, "seccomp");
	warn_missing(&h);
	if (option(c, "learn"))
		r = flag(c, "detach") || !h.ask ?
		    err_set(e, -EINVAL, "option --learn: not with --detach or --seccomp") :
		    learn(&h, id, &s, e);
	else
		r = run_once(&h, id, &s, e);
	if (!flag(c, "detach"))
		supervisor_wait(&s);
	text_free(&h.calls);
	return r;
}

const struct command oci_command_hardened_run = {
	.name = "hardened-run", .operands = "IMAGE-OR-BUNDLE [COMMAND [ARGS]]",
	.help = "run an image with everything closed that is not opened by an option",
	.options = harden_rows, .min = 1, .max = -1, .run = run_hardened,
};

static const struct layer {
	const char *name, *protects, *loosened_by;
} layers[] = {
	{ "user namespace", "root inside is an unprivileged id outside, shared with no other container",
	  "no-user-namespace" },
	{ "capabilities: none", "nothing in the kernel that asks for privilege is reachable", "cap" },
	{ "no_new_privs", "setuid programs and file capabilities give nothing", "new-privileges" },
	{ "read-only root, id-mapped", "a compromise does not outlive the container", "writable-root" },
	{ "private /dev, noexec /tmp, /run, /var/tmp", "dropped programs do not run", "exec-tmp" },
	{ "masked /proc and /sys", "the host's configuration and other processes stay unseen", "unmask" },
	{ "system call list", "some 200 of 450 calls; no bpf, io_uring, perf, keys, namespaces, mounts; "
	  "x32 and 32-bit calls kill", "seccomp" },
	{ "Landlock", "beneath all that: which files may be read, executed, written", "landlock" },
	{ "no network", "no peer, no host service, no metadata server", "network" },
	{ "limits: memory, processes, time, files, disk, inodes", "a flood stays inside", "memory" },
	{ "supervisor", "denied calls, writes to protected paths and foreign programs are reported; "
	  "kill or freeze on request", "on-violation" },
};

static int run_explain(struct command_line *c, struct err *e)
{
	bool any = false;
	size_t i;

	(void)e;
	if (c->argc) {
		fprintf(stderr, "explain takes the options of the hardened run, nothing else\n");
		return 2;
	}
	printf("A hardened run is closed by:\n");
	for (i = 0; i < ARRAY_SIZE(layers); i++)
		printf("  %-48s %s%s\n", layers[i].name, layers[i].protects,
		       flag(c, layers[i].loosened_by) ? "  [changed]" : "");
	if (landlock_version())
		printf("\nThis kernel has version %d of Landlock.\n", landlock_version());
	else
		printf("\nThis kernel has no Landlock: that layer is missing.\n");
	printf("\nThese options give away:\n");
	for (i = 0; i < harden_options_n; i++) {
		if (!harden_options[i].gives_away || !flag(c, harden_options[i].name))
			continue;
		any = true;
		printf("  --%s %s\n      %s\n", harden_options[i].name, option(c, harden_options[i].name),
		       harden_options[i].gives_away);
	}
	if (!any) {
		printf("  (none given; each would mean)\n");
		for (i = 0; i < harden_options_n; i++)
			if (harden_options[i].gives_away)
				printf("  --%s\n      %s\n", harden_options[i].name,
				       harden_options[i].gives_away);
	}
	return 0;
}

const struct command oci_command_explain = {
	.name = "explain", .operands = "", .help = "say what a hardened run protects and what options give away",
	.options = harden_rows, .min = 0, .max = -1, .run = run_explain,
};
