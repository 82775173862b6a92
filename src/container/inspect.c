/* SPDX-License-Identifier: MIT
 * Commands that look at containers: state, list, ps, events; and pause, resume. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <string.h>
#include <sys/wait.h>

#include "container/command.h"

static int run_state(struct command_line *c, struct err *e)
{
	_cleanup_text_ struct text t = { 0 };
	struct container k;
	int r = container_open(&k, c->global, c->argv[0], false, e);

	if (r)
		return r;
	if (k.state.id)
		state_print(&t, &k.state, k.status, k.spec);
	else
		r = err_set(e, -ENOENT, "container %s was never made; delete removes what is left",
			    c->argv[0]);
	container_close(&k);
	if (!r)
		r = t.failed ? err_set(e, -ENOMEM, "out of memory") :
		    fd_write_all(1, t.text, t.length);
	return r;
}

const struct command oci_command_state = {
	.name = "state", .operands = "ID", .help = "print a container's state as JSON",
	.options = (const struct option_row[]){ { 0 } }, .min = 1, .max = 1, .run = run_state,
};

static void list_one(struct container *k, const char *format, bool first)
{
	const char *pid_name = "root";

	if (!strcmp(format, "json")) {
		_cleanup_text_ struct text t = { 0 };

		state_print(&t, &k->state, k->status, k->spec);
		/* list's own shape is the state's */
		printf("%s%.*s", first ? "" : ",", (int)(t.length - 1), t.text ? t.text : "{}");
		return;
	}
	printf("%-40s %-10llu %-10s %-40s %-32s %s\n", k->state.id,
	       k->status == STATUS_STOPPED ? 0ull : (unsigned long long)k->state.pid,
	       status_names[k->status], k->state.bundle, k->state.created ? k->state.created : "",
	       k->state.owner ? "user" : pid_name);
}

static int run_list(struct command_line *c, struct err *e)
{
	const char *format = option(c, "format") ? option(c, "format") : "table";
	bool quiet = flag(c, "quiet"), first = true;
	DIR *list = opendir(c->global->root);
	struct dirent *entry;

	if (strcmp(format, "table") && strcmp(format, "json"))
		return err_set(e, -EINVAL, "option --format: table or json");
	if (!list && errno != ENOENT)
		return err_sys(e, errno, "open state directory %s", c->global->root);
	if (!quiet)
		printf(strcmp(format, "json") ? "%-40s %-10s %-10s %-40s %-32s %s\n" : "[", "ID",
		       "PID", "STATUS", "BUNDLE", "CREATED", "OWNER");
	while (list && (entry = readdir(list))) {
		struct err ignored = { 0 };
		struct container k;

		if (entry->d_name[0] == '.' || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
			continue;
		if (container_open(&k, c->global, entry->d_name, false, &ignored)) {
			if (ignored.code != -ENOENT)
				fprintf(stderr, "warning: container %s: %s\n", entry->d_name,
					ignored.text);
			continue;
		}
		if (quiet)
			printf("%s\n", entry->d_name);
		else if (k.state.id)
			list_one(&k, format, first);
		first = false;
		container_close(&k);
	}
	if (!quiet && !strcmp(format, "json"))
		printf("]\n");
	if (list)
		closedir(list);
	return 0;
}

const struct command oci_command_list = {
	.name = "list", .operands = "", .help = "list containers",
	.options = (const struct option_row[]){
		{ "format", 'f', "FORMAT", "table or json", false },
		{ "quiet", 'q', NULL, "only ids", false }, { 0 } },
	.min = 0, .max = 0, .run = run_list,
};

/* Lines of ps(1) whose process is one of the container's; the column named PID says which. */
static int filter_ps(FILE *in, const pid_t *pids, size_t n, struct err *e)
{
	char *line = NULL, *p;
	size_t size = 0, i, column = 0;
	bool header = true;

	while (getline(&line, &size, in) > 0) {
		_cleanup_free_ char *copy = strdup(line);
		size_t k = 0;

		for (p = strtok(copy, " \t\n"); p; p = strtok(NULL, " \t\n"), k++) {
			if (header && !strcmp(p, "PID")) {
				column = k + 1;
				break;
			}
			if (!header && k + 1 == column)
				break;
		}
		if (header) {
			if (!column) {
				free(line);
				return err_set(e, -EINVAL, "ps: the output has no PID column");
			}
			fputs(line, stdout);
			header = false;
			continue;
		}
		for (i = 0; p && i < n; i++)
			if (strtol(p, NULL, 10) == pids[i]) {
				fputs(line, stdout);
				break;
			}
	}
	free(line);
	return 0;
}

static int print_ps(struct command_line *c, const pid_t *pids, size_t n, struct err *e)
{
	char **argv = calloc((size_t)c->argc + 3, sizeof *argv);
	int out[2], status, i, r;
	pid_t child;
	FILE *in;

	if (!argv || pipe2(out, O_CLOEXEC) < 0) {
		free(argv);
		return err_sys(e, errno, "ps");
	}
	argv[0] = (char *)"ps";
	argv[1] = (char *)"-ef";
	for (i = 1; i < c->argc; i++)
		argv[i] = c->argv[i];
	fflush(stdout);
	child = fork();
	if (!child) {
		dup2(out[1], 1);
		execvp("ps", argv);
		dprintf(2, "ps: %s\n", strerror(errno));
		_exit(127);
	}
	free(argv);
	close(out[1]);
	in = fdopen(out[0], "r");
	r = in ? filter_ps(in, pids, n, e) : err_sys(e, errno, "ps");
	if (in)
		fclose(in);
	else
		close(out[0]);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return r;
}

static int run_ps(struct command_line *c, struct err *e)
{
	const char *format = option(c, "format") ? option(c, "format") : "table";
	_cleanup_free_ pid_t *pids = NULL;
	struct container k;
	size_t n = 0, i;
	int r;

	if (strcmp(format, "table") && strcmp(format, "json"))
		return err_set(e, -EINVAL, "option --format: table or json");
	r = container_open(&k, c->global, c->argv[0], false, e);
	if (r)
		return r;
	r = cgroup_pids(&k.cgroup, &pids, &n, e);
	container_close(&k);
	if (r)
		return r;
	if (strcmp(format, "json"))
		return print_ps(c, pids, n, e);
	printf("[");
	for (i = 0; i < n; i++)
		printf("%s%d", i ? "," : "", (int)pids[i]);
	printf("]\n");
	return 0;
}

const struct command oci_command_ps = {
	.name = "ps", .operands = "ID [PS OPTIONS]", .help = "list a container's processes",
	.options = (const struct option_row[]){
		{ "format", 'f', "FORMAT", "table or json", false }, { 0 } },
	.min = 1, .max = -1, .run = run_ps,
};

/* "500ms", "5s", "2m", or a number of seconds; in milliseconds. */
static int parse_interval(const char *s, u64 *ms, struct err *e)
{
	char digits[16];
	size_t n = strspn(s, "0123456789");
	u64 v, unit = !strcmp(s + n, "ms") ? 1 : !strcmp(s + n, "s") || !s[n] ? 1000 :
		      !strcmp(s + n, "m") ? 60000 : 0;

	if (!n || n >= sizeof digits || !unit)
		return err_set(e, -EINVAL, "option --interval: \"%.32s\" is not a time", s);
	memcpy(digits, s, n);
	digits[n] = 0;
	if (parse_u64(digits, 1000000, &v) || !v)
		return err_set(e, -EINVAL, "option --interval: must be above 0");
	*ms = v * unit;
	return 0;
}

static void print_stats(struct container *k)
{
	_cleanup_text_ struct text t = { 0 };

	cgroup_stats(&k->cgroup, &t);
	printf("{\"type\":\"stats\",\"id\":\"%s\",\"data\":%s}\n", k->state.id,
	       t.text ? t.text : "{}");
	fflush(stdout);
}

static int run_events(struct command_line *c, struct err *e)
{
	_cleanup_fd_ int oom = -1, pidfd = -1;
	struct err ignored = { 0 };
	struct container k;
	u64 interval = 5000;
	int r = 0;

	if (option(c, "interval"))
		r = parse_interval(option(c, "interval"), &interval, e);
	if (!r)
		r = container_open(&k, c->global, c->argv[0], false, e);
	if (r)
		return r;
	if (k.status == STATUS_STOPPED) {
		container_close(&k);
		return err_set(e, -ESRCH, "container %s is not running", c->argv[0]);
	}
	if (flag(c, "stats")) {
		print_stats(&k);
		container_close(&k);
		return 0;
	}
	pidfd = state_pidfd(&k.state);
	oom = cgroup_oom_watch(&k.cgroup, &ignored);
	for (;;) {
		struct pollfd p[2] = { { pidfd, POLLIN, 0 }, { oom, POLLIN, 0 } };
		char drain[4096];

		r = poll(p, 2, (int)MIN(interval, 2147483647));
		if (r < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			break;
		if (p[1].revents && read(oom, drain, sizeof drain) > 0) {
			printf("{\"type\":\"oom\",\"id\":\"%s\"}\n", k.state.id);
			fflush(stdout);
		}
		if (!r)
			print_stats(&k);
	}
	container_close(&k);
	return 0;
}

const struct command oci_command_events = {
	.name = "events", .operands = "ID", .help = "print resource use, and out-of-memory events",
	.options = (const struct option_row[]){
		{ "interval", 0, "TIME", "time between two reports (default: 5s)", false },
		{ "stats", 0, NULL, "print one report and end", false }, { 0 } },
	.min = 1, .max = 1, .run = run_events,
};

static int set_frozen(struct command_line *c, bool freeze, struct err *e)
{
	struct container k;
	int r = container_open(&k, c->global, c->argv[0], true, e);

	if (r)
		return r;
	if (freeze ? k.status != STATUS_RUNNING && k.status != STATUS_CREATED :
	    k.status != STATUS_PAUSED)
		r = err_set(e, -EINVAL, "container %s is %s", c->argv[0], status_names[k.status]);
	else
		r = cgroup_freeze(&k.cgroup, freeze, e);
	container_close(&k);
	return r;
}

static int run_pause(struct command_line *c, struct err *e)
{
	return set_frozen(c, true, e);
}

static int run_resume(struct command_line *c, struct err *e)
{
	return set_frozen(c, false, e);
}

const struct command oci_command_pause = {
	.name = "pause", .operands = "ID", .help = "stop all processes where they are",
	.options = (const struct option_row[]){ { 0 } }, .min = 1, .max = 1, .run = run_pause,
};

const struct command oci_command_resume = {
	.name = "resume", .operands = "ID", .help = "let paused processes go on",
	.options = (const struct option_row[]){ { 0 } }, .min = 1, .max = 1, .run = run_resume,
};
