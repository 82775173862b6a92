/* SPDX-License-Identifier: MIT
 * The command line of the container runtime: global options, the table of commands, the log. */
#include "container/container.h"

#include <errno.h>
#include <linux/close_range.h>
#include <malloc.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "container/harden.h"
#include "container/options.h"
#include "container/seal.h"

#define VERSION "0.1"

static const struct option_row global_rows[] = {
	{ "root", 0, "DIR", "directory of container states (default: /run/penumbra-oci)", false },
	{ "log", 0, "FILE", "write errors there as well", false },
	{ "log-format", 0, "FORMAT", "text or json", false },
	{ "debug", 0, NULL, "log more", false },
	{ "systemd-cgroup", 0, NULL, "let systemd make the cgroups, as scopes", false },
	{ "cgroup-manager", 0, "NAME", "cgroupfs or systemd", false },
	{ "rootless", 0, "VALUE", "true, false or auto", false },
	{ "criu", 0, "PATH", "accepted; there is no checkpointing", false },
	{ "help", 'h', NULL, "this text", false },
	{ "version", 'v', NULL, "versions", false },
	{ 0 }
};

struct verb {
	const char *name;          /* NULL: the command's own */
	const struct command *command;
	bool drop_in, front;       /* offered by penumbra-oci, by `penumbra container` */
};

/* The drop-in verbs first, then the hardened ones.  Only `run` means two things. */
static const struct verb verbs[] = {
	{ NULL, &oci_command_create, true, true },
	{ NULL, &oci_command_start, true, true },
	{ "run", &oci_command_run, true, false },
	{ "oci-run", &oci_command_run, true, true },
	{ NULL, &oci_command_exec, true, true },
	{ NULL, &oci_command_state, true, true },
	{ NULL, &oci_command_kill, true, true },
	{ NULL, &oci_command_delete, true, true },
	{ NULL, &oci_command_ps, true, true },
	{ NULL, &oci_command_list, true, true },
	{ NULL, &oci_command_pause, true, true },
	{ NULL, &oci_command_resume, true, true },
	{ NULL, &oci_command_update, true, true },
	{ NULL, &oci_command_events, true, true },
	{ NULL, &oci_command_spec, true, true },
	{ NULL, &oci_command_features, true, true },
	{ "run", &oci_command_hardened_run, false, true },
	{ NULL, &oci_command_hardened_run, true, true },
	{ NULL, &oci_command_explain, true, true },
	{ NULL, &oci_command_load, true, true },
	{ NULL, &oci_command_images, true, true },
	{ NULL, &oci_command_prune, true, true },
	{ NULL, &oci_command_bench, true, true },
};

static const char *verb_name(const struct verb *v)
{
	return v->name ? v->name : v->command->name;
}

static void usage(FILE *out, const char *program, bool drop_in)
{
	size_t i;

	fprintf(out, "usage: %s [OPTIONS] COMMAND [ARGS]\n\ncommands:\n", program);
	for (i = 0; i < ARRAY_SIZE(verbs); i++)
		if (drop_in ? verbs[i].drop_in : verbs[i].front)
			fprintf(out, "  %-14s %s\n", verb_name(&verbs[i]), verbs[i].command->help);
	fprintf(out, "\noptions:\n");
	options_print(out, global_rows);
	fprintf(out, "\n%s COMMAND --help describes a command.\n", program);
}

static void command_usage(FILE *out, const char *program, const struct verb *v)
{
	fprintf(out, "usage: %s %s [OPTIONS] %s\n\n%s\n", program, verb_name(v),
		v->command->operands, v->command->help);
	if (v->command->options->name) {
		fprintf(out, "\noptions:\n");
		options_print(out, v->command->options);
	}
}

void log_line(const struct global_options *g, const char *level, const char *text)
{
	_cleanup_text_ struct text t = { 0 };
	char stamp[40];
	time_t now = time(NULL);
	struct tm tm;
	_cleanup_fd_ int fd = -1;

	fprintf(stderr, "%s\n", text);
	if (!g->log)
		return;
	fd = open(g->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &tm);
	text_add(&t, g->log_json ? "{\"level\":\"%s\",\"msg\":" : "time=\"%s\" level=", g->log_json ?
		 level : stamp);
	if (!g->log_json)
		text_add(&t, "%s msg=", level);
	text_add_json(&t, text);
	if (g->log_json)
		text_add(&t, ",\"time\":\"%s\"}", stamp);
	text_add(&t, "\n");
	if (!t.failed)
		fd_write_all(fd, t.text, t.length);
}

/* Root in a user namespace of somebody else's has not the rights that root has. */
static bool in_user_namespace(void)
{
	/* the first namespace's number is part of the kernel's interface (PROC_USER_INIT_INO) */
	static const char first[] = "user:[4026531837]";
	char link[32];
	ssize_t n = readlink("/proc/self/ns/user", link, sizeof link);

	return n != (ssize_t)strlen(first) || memcmp(link, first, strlen(first));
}

static int read_globals(struct command_line *c, struct global_options *g, char *root, size_t size,
			struct err *e)
{
	const char *rootless = option(c, "rootless"), *format = option(c, "log-format");
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *manager = option(c, "cgroup-manager");

	g->log = option(c, "log");
	g->log_json = format && !strcmp(format, "json");
	g->debug = flag(c, "debug");
	g->systemd_cgroup = flag(c, "systemd-cgroup");
	g->rootless = rootless && !strcmp(rootless, "true") ? 1 :
		      rootless && !strcmp(rootless, "false") ? 0 : -1;
	g->rootless_now = g->rootless >= 0 ? g->rootless : geteuid() || in_user_namespace();
	if (format && strcmp(format, "json") && strcmp(format, "text"))
		return err_set(e, -EINVAL, "option --log-format: text or json");
	if (manager && strcmp(manager, "cgroupfs") && strcmp(manager, "systemd") && strcmp(manager, "disabled"))
		return err_set(e, -EINVAL, "option --cgroup-manager: cgroupfs or systemd");
	g->systemd_cgroup |= manager && !strcmp(manager, "systemd");
	g->root = option(c, "root");
	if (!g->root && geteuid() && runtime && *runtime == '/') {
		snprintf(root, size, "%s/penumbra-oci", runtime);
		g->root = root;
	} else if (!g->root) {
		g->root = "/run/penumbra-oci";
	}
	return 0;
}

/* Everything that the caller left open beyond what is to be passed on is closed at the execve of
 * whatever we start, and is not ours to use. */
static int close_inherited(const struct command_line *c, struct err *e)
{
	u64 keep = 0;
	const struct option_row *row;

	for (row = c->command->options; row->name; row++)
		if (!strcmp(row->name, "preserve-fds")) {
			int r = option_u64(c, "preserve-fds", 65536, &keep, e);

			if (r)
				return r;
		}
	if (getenv("LISTEN_FDS"))
		keep += strtoul(getenv("LISTEN_FDS"), NULL, 10) % 65536;
	if (syscall(SYS_close_range, 3 + (unsigned)keep, ~0u, CLOSE_RANGE_CLOEXEC) < 0 &&
	    errno != ENOSYS)
		return err_sys(e, errno, "close inherited descriptors");
	return 0;
}

/* Descriptors 0 to 2 must exist, or what we open next would take their place. */
static void ensure_stdio(void)
{
	struct pollfd p[3] = { { .fd = 0 }, { .fd = 1 }, { .fd = 2 } };
	int i, fd = -1;

	poll(p, 3, 0);
	for (i = 0; i < 3 && fd < 3; i++)
		if (p[i].revents & POLLNVAL)
			fd = open("/dev/null", O_RDWR); /* takes the lowest that is free */
}

static int run_verb(const struct verb *v, const char *program, struct global_options *g, int argc,
		    char **argv, const char *invoked)
{
	struct command_line c = { .global = g, .command = v->command, .invoked = invoked };
	struct err e = { 0 };
	int i, r;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		command_usage(stdout, program, v);
		return 0;
	}
	i = options_read(v->command->options, argc - 1, argv + 1, &c, &e);
	if (i >= 0) {
		c.argc = argc - 1 - i;
		c.argv = argv + 1 + i;
		if (c.argc < v->command->min || (v->command->max >= 0 && c.argc > v->command->max))
			i = err_set(&e, -EINVAL, "%s: wrong number of operands", verb_name(v));
	}
	if (i < 0) {
		log_line(g, "error", e.text);
		command_usage(stderr, program, v);
		free(c.many.v);
		return 2;
	}
	r = close_inherited(&c, &e);
	if (!r)
		r = v->command->run(&c, &e);
	free(c.many.v);
	if (r < 0 || e.code) {
		log_line(g, "error", e.text[0] ? e.text : strerror(r < 0 ? -r : -e.code));
		return r > 0 ? r : 1;
	}
	return r;
}

int container_main(int argc, char **argv)
{
	struct command_line globals = { .command = &(const struct command){ .options = global_rows } };
	const char *base = argc && strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	bool drop_in = !strcmp(base, "penumbra-oci");
	const char *program = drop_in ? "penumbra-oci" : "penumbra container";
	struct global_options g = { 0 };
	struct err e = { 0 };
	char root[4096];
	size_t k;
	int i;

	if (seal_reexecute(argv, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	mallopt(M_TOP_PAD, 1 << 20); /* one brk instead of twenty */
	ensure_stdio();
	i = options_read(global_rows, argc - 1, argv + 1, &globals, &e);
	if (i < 0) {
		fprintf(stderr, "%s\n", e.text);
		usage(stderr, program, drop_in);
		return 2;
	}
	argv += i + 1;
	argc -= i + 1;
	if (flag(&globals, "version")) {
		printf("penumbra-oci version " VERSION "\nspec: 1.2.0\n");
		return 0;
	}
	if (flag(&globals, "help") || (argc && !strcmp(argv[0], "help"))) {
		usage(stdout, program, drop_in);
		return 0;
	}
	if (!argc) {
		usage(stderr, program, drop_in);
		return 2;
	}
	if (read_globals(&globals, &g, root, sizeof root, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 2;
	}
	for (k = 0; k < ARRAY_SIZE(verbs); k++)
		if ((drop_in ? verbs[k].drop_in : verbs[k].front) &&
		    !strcmp(argv[0], verb_name(&verbs[k])))
			return run_verb(&verbs[k], program, &g, argc, argv, argv[-i - 1]);
	fprintf(stderr, "unknown command %s\n", argv[0]);
	usage(stderr, program, drop_in);
	return 2;
}
