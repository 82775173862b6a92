/* SPDX-License-Identifier: MIT
 * bench: the start of /bin/true side by side with other runtimes in one run, as wall time, system
 * calls and resident memory; medians, and ratios to the first of the others.
 *
 * Runs in a mount namespace of its own, in which a hybrid host's version 2 hierarchy is unmounted:
 * crun refuses hosts where that hierarchy has controllers. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "container/command.h"
#include "container/harden.h"

#define RUNS_MAX 101

struct measured {
	double wall_ms, cpu_ms, calls, rss_kib;
	double wall_ratio, cpu_ratio; /* of the first runtime to this one: the median of the rounds' ratios */
	bool there;
};

struct runtime {
	const char *name, *path;
	struct measured m[2]; /* with and without the filter */
};

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof *v, compare);
	return n & 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void __attribute__((noreturn)) run_child(const struct runtime *r, const char *bundle,
						const char *state, int trace)
{
	char *argv[] = { (char *)r->name, (char *)"--root", (char *)state, (char *)"run",
			 (char *)"--bundle", (char *)bundle, (char *)"penumbra-bench", NULL };
	int null = open("/dev/null", O_RDWR);

	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	if (trace)
		ptrace(PTRACE_TRACEME, 0, 0, 0);
	execvp(r->path, argv);
	_exit(127);
}

static int run_timed(const struct runtime *r, const char *bundle, const char *state, double *wall,
		     double *rss, double *cpu)
{
	double from = now_ms();
	struct rusage use;
	int status;
	pid_t pid = fork();

	if (!pid)
		run_child(r, bundle, state, 0);
	if (pid < 0 || wait4(pid, &status, 0, &use) < 0)
		return -errno;
	*wall = now_ms() - from;
	*rss = (double)use.ru_maxrss;
	*cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e3 +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e3;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -ECANCELED;
}

/* Counts the system calls of the runtime, its children and the container's process. */
static int run_traced(const struct runtime *r, const char *bundle, const char *state, double *calls)
{
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
		       PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	unsigned long stops = 0;
	int status, result = -1;
	pid_t first = fork(), pid;

	if (!first)
		run_child(r, bundle, state, 1);
	if (first < 0 || waitpid(first, &status, 0) != first)
		return -errno;
	ptrace(PTRACE_SETOPTIONS, first, 0, options);
	ptrace(PTRACE_SYSCALL, first, 0, 0);
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		int sig = WIFSTOPPED(status) ? WSTOPSIG(status) : 0, pass = 0;

		if (!WIFSTOPPED(status)) {
			if (pid == first)
				result = status;
			continue;
		}
		if (sig == (SIGTRAP | 0x80))
			stops++;
		else if (sig != SIGTRAP && sig != SIGSTOP)
			pass = sig;
		ptrace(PTRACE_SYSCALL, pid, 0, pass);
	}
	*calls = (double)(stops / 2);
	return result >= 0 && WIFEXITED(result) && !WEXITSTATUS(result) ? 0 : -ECANCELED;
}

static int measure(struct runtime *all, size_t n, unsigned which, const char *bundle,
		   const char *state, size_t runs, struct err *e)
{
	static double wall[8][RUNS_MAX], rss[8][RUNS_MAX], cpu[8][RUNS_MAX], ratio[RUNS_MAX];
	size_t i, k;

	for (k = 0; k <= runs; k++) /* in turn, so that noise meets all; the first is not counted */
		for (i = 0; i < n; i++) {
			double w = 0, m = 0, c = 0;

			if (!all[i].m[which].there)
				continue;
			if (run_timed(&all[i], bundle, state, &w, &m, &c)) {
				if (!i)
					return err_set(e, -ECANCELED, "bench: a run of %s failed",
						       all[i].name);
				all[i].m[which].there = false;
				continue;
			}
			if (k) {
				wall[i][k - 1] = w;
				rss[i][k - 1] = m;
				cpu[i][k - 1] = c;
			}
		}
	for (i = n; i-- > 0;) { /* the first last: taking the median sorts */
		struct measured *m = &all[i].m[which];

		if (!m->there)
			continue;
		for (k = 0; k < runs; k++)
			ratio[k] = wall[0][k] / wall[i][k];
		m->wall_ratio = median(ratio, runs);
		for (k = 0; k < runs; k++)
			ratio[k] = cpu[0][k] / cpu[i][k];
		m->cpu_ratio = median(ratio, runs);
		m->cpu_ms = median(cpu[i], runs);
		m->wall_ms = median(wall[i], runs);
		m->rss_kib = median(rss[i], runs);
		if (run_traced(&all[i], bundle, state, &m->calls))
			m->calls = 0;
	}
	return 0;
}

static int copy_file(const char *from, const char *to)
{
	_cleanup_fd_ int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
	char buf[65536];
	ssize_t n;

	if (in < 0)
		return -errno;
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (out < 0)
		return -errno;
	while ((n = read(in, buf, sizeof buf)) > 0)
		if (fd_write_all(out, buf, (size_t)n))
			return -EIO;
	return n < 0 ? -errno : 0;
}

/* `profile` is linux.seccomp or NULL. */
static int write_bundle(const char *dir, const char *profile, struct err *e)
{
	static const char head[] =
		"{\"ociVersion\":\"1.0.0\",\"process\":{\"user\":{\"uid\":0,\"gid\":0},"
		"\"args\":[\"/bin/true\"],\"env\":[\"PATH=/bin\"],\"cwd\":\"/\",\"capabilities\":{"
		"\"bounding\":[\"CAP_KILL\"],\"effective\":[\"CAP_KILL\"],\"permitted\":[\"CAP_KILL\"]},"
		"\"noNewPrivileges\":true},\"root\":{\"path\":\"";
	static const char tail[] = "/rootfs\",\"readonly\":true},"
		"\"hostname\":\"bench\",\"mounts\":["
		"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
		"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\","
		"\"strictatime\",\"mode=755\",\"size=65536k\"]},"
		"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":["
		"\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
		"{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":["
		"\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=65536k\"]},"
		"{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":["
		"\"nosuid\",\"noexec\",\"nodev\"]},"
		"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\","
		"\"noexec\",\"nodev\",\"ro\"]},"
		"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":["
		"\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}],"
		"\"linux\":{\"cgroupsPath\":\"/penumbra-bench\",\"resources\":{\"devices\":[{\"allow\":false,"
		"\"access\":\"rwm\"}]},\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},"
		"{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},{\"type\":\"cgroup\"}],"
		"\"maskedPaths\":[\"/proc/acpi\",\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\","
		"\"/proc/timer_list\",\"/proc/sched_debug\",\"/proc/scsi\",\"/sys/firmware\"],"
		"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\","
		"\"/proc/sysrq-trigger\"]";
	char root[256], path[300];
	_cleanup_text_ struct text t = { 0 };
	_cleanup_fd_ int out = -1;

	snprintf(root, sizeof root, "%s", dir);
	*strrchr(root, '/') = 0;
	text_add(&t, "%s%s%s", head, root, tail);
	if (profile)
		text_add(&t, ",\"seccomp\":%s", profile);
	text_add(&t, "}}");
	snprintf(path, sizeof path, "%s/config.json", dir);
	out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (out < 0 || t.failed || fd_write_all(out, t.text, t.length))
		return err_sys(e, errno, "write %s", path);
	return 0;
}

static int make_bundles(char *dir, const char *profile, struct err *e)
{
	static const char *const make[] = { "/on", "/off", "/state", "/rootfs", "/rootfs/bin",
		"/rootfs/proc", "/rootfs/dev", "/rootfs/sys" };
	char path[300];
	size_t i;
	int r;

	for (i = 0; i < ARRAY_SIZE(make); i++) {
		snprintf(path, sizeof path, "%s%s", dir, make[i]);
		if (mkdir(path, 0755) < 0)
			return err_sys(e, errno, "make %s", path);
	}
	snprintf(path, sizeof path, "%s/rootfs/bin/true", dir);
	r = copy_file("/bin/busybox", path);
	if (r)
		return err_sys(e, -r, "copy /bin/busybox (package busybox-static) as /bin/true");
	snprintf(path, sizeof path, "%s/on", dir);
	r = write_bundle(path, profile, e);
	snprintf(path, sizeof path, "%s/off", dir);
	return r ? r : write_bundle(path, NULL, e);
}

static void print_table(const struct runtime *all, size_t n)
{
	size_t which, i;

	for (which = 0; which < 2; which++) {
		printf("%s\n  %-14s %9s %9s %9s %9s   ours to it: wall, processor, calls, memory\n",
		       which ? "without a system call filter" : "with the system call filter", "runtime", "wall ms",
		       "cpu ms", "calls", "RSS KiB");
		for (i = 0; i < n; i++) {
			const struct measured *m = &all[i].m[which], *to = &all[0].m[which];

			if (!m->there) {
				printf("  %-14s not measured\n", all[i].name);
				continue;
			}
			printf("  %-14s %9.2f %9.2f %9.0f %9.0f", all[i].name, m->wall_ms, m->cpu_ms, m->calls,
			       m->rss_kib);
			if (i)
				printf("   %.2f %.2f %.2f %.2f", m->wall_ratio, m->cpu_ratio,
				       m->calls ? to->calls / m->calls : 0, to->rss_kib / m->rss_kib);
			printf("\n");
		}
	}
}

static void write_json(FILE *f, const struct runtime *all, size_t n, size_t runs)
{
	size_t which, i;

	fprintf(f, "{\"runs\":%zu,\"results\":[", runs);
	for (which = 0; which < 2; which++)
		for (i = 0; i < n; i++)
			if (all[i].m[which].there)
				fprintf(f, "%s\n{\"runtime\":\"%s\",\"filter\":%s,\"wallMs\":%.3f,"
					"\"cpuMs\":%.3f,\"wallRatio\":%.3f,\"cpuRatio\":%.3f,"
					"\"systemCalls\":%.0f,\"rssKiB\":%.0f}", which || i ? "," : "",
					all[i].name, which ? "false" : "true", all[i].m[which].wall_ms,
					all[i].m[which].cpu_ms, all[i].m[which].wall_ratio,
					all[i].m[which].cpu_ratio, all[i].m[which].calls, all[i].m[which].rss_kib);
	fprintf(f, "\n]}\n");
}

static double value_of(const struct measured *m, size_t k)
{
	return k == 0 ? m->wall_ms : k == 1 ? m->calls : m->rss_kib;
}

/* Three groups of bars, one per quantity; each bar's length is relative to the longest. */
static void write_svg(FILE *f, const struct runtime *all, size_t n)
{
	static const char *const titles[] = { "wall time, ms", "system calls", "resident memory, KiB" };
	static const char *const colours[] = { "#2a7de1", "#e07b39", "#7a7a7a" };
	size_t k, which, i;
	int y = 24;

	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"%zu\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n", 3 * (2 * n * 18 + 70) + 20);
	for (k = 0; k < 3; k++) {
		double top = 0;

		for (which = 0; which < 2; which++)
			for (i = 0; i < n; i++)
				if (all[i].m[which].there)
					top = MAX(top, value_of(&all[i].m[which], k));
		fprintf(f, "<text x=\"10\" y=\"%d\" font-weight=\"bold\">start of /bin/true: %s</text>\n", y,
			titles[k]);
		y += 8;
		for (which = 0; which < 2; which++) {
			for (i = 0; i < n; i++) {
				double v = value_of(&all[i].m[which], k);

				if (!all[i].m[which].there)
					continue;
				fprintf(f, "<text x=\"10\" y=\"%d\">%s%s</text><rect x=\"190\" y=\"%d\" "
					"width=\"%.1f\" height=\"14\" fill=\"%s\"/><text x=\"%.1f\" y=\"%d\">"
					"%.*f</text>\n", y + 12, all[i].name, which ? "" : ", filter", y + 1,
					top > 0 ? v / top * 430 : 0, colours[i % 3],
					196 + (top > 0 ? v / top * 430 : 0), y + 12, k ? 0 : 1, v);
				y += 18;
			}
			y += 6;
		}
		y += 34;
	}
	fprintf(f, "</svg>\n");
}

static int write_output(const char *file, const struct runtime *all, size_t n, size_t runs, bool svg,
			struct err *e)
{
	FILE *f;

	if (!file)
		return 0;
	f = fopen(file, "we");
	if (!f)
		return err_sys(e, errno, "write %s", file);
	if (svg)
		write_svg(f, all, n);
	else
		write_json(f, all, n, runs);
	return fclose(f) ? err_sys(e, errno, "write %s", file) : 0;
}

static void remove_tree(const char *dir)
{
	pid_t pid = fork();

	if (!pid) {
		execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool on_path(const char *name)
{
	static const char *const dirs[] = { "/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin" };
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof path, "%s/%s", dirs[i], name);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

static int run_bench(struct command_line *c, struct err *e)
{
	struct runtime all[] = { { .name = "penumbra-oci" }, { .name = "crun", .path = "crun" },
				 { .name = "runc", .path = "runc" } };
	const char *file = option(c, "seccomp"), *self = option(c, "runtime");
	_cleanup_text_ struct text made = { 0 };
	_cleanup_free_ char *profile = NULL;
	char dir[] = "/tmp/penumbra-bench-XXXXXX", bundle[64], state[64];
	u64 runs = 11;
	size_t i;
	int r = option_u64(c, "runs", RUNS_MAX, &runs, e);

	if (!r && runs < 5)
		r = err_set(e, -EINVAL, "option --runs: at least 5");
	if (!r && file)
		r = file_read_at(AT_FDCWD, file, 4 << 20, &profile, NULL);
	if (r)
		return e->code ? r : err_sys(e, -r, "read %s", file);
	if (!file) {
		r = bench_default_profile(&made, e);
		if (r)
			return r;
		profile = made.text;
		made.text = NULL;
	}
	if (geteuid())
		return err_set(e, -EPERM, "bench needs root, as the others do");
	all[0].path = self ? self : strchr(c->invoked, '/') ? c->invoked : "penumbra-oci";
	for (i = 0; i < ARRAY_SIZE(all); i++)
		all[i].m[0].there = all[i].m[1].there = !i || on_path(all[i].name);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "make a mount namespace");
	umount2("/sys/fs/cgroup/unified", MNT_DETACH);
	if (!mkdtemp(dir))
		return err_sys(e, errno, "make a directory");
	chmod(dir, 0755);
	snprintf(state, sizeof state, "%s/state", dir);
	r = make_bundles(dir, profile, e);
	for (i = 0; i < 2 && !r; i++) {
		snprintf(bundle, sizeof bundle, "%s/%s", dir, i ? "off" : "on");
		r = measure(all, ARRAY_SIZE(all), (unsigned)i, bundle, state, runs, e);
	}
	remove_tree(dir);
	if (r)
		return r;
	print_table(all, ARRAY_SIZE(all));
	r = write_output(option(c, "json"), all, ARRAY_SIZE(all), runs, false, e);
	return r ? r : write_output(option(c, "svg"), all, ARRAY_SIZE(all), runs, true, e);
}

const struct command oci_command_bench = {
	.name = "bench", .operands = "", .help = "measure a container's start beside crun and runc",
	.options = (const struct option_row[]){
		{ "svg", 0, "FILE", "draw the result", false },
		{ "json", 0, "FILE", "write the result", false },
		{ "runs", 0, "N", "runs of each, at least 5 (default: 11)", false },
		{ "seccomp", 0, "FILE", "linux.seccomp to use (default: the engines' usual list)", false },
		{ "runtime", 0, "PATH", "program to measure (default: this one)", false },
		{ 0 } },
	.min = 0, .max = 0, .run = run_bench,
};
