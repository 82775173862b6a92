/* SPDX-License-Identifier: MIT
 * One run of penumbra bench paging: the files that it needs, its command, its output. */
#include "bench/paging.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"
#include "bench/sample.h"
#include "bench/tree_memory.h"

#define LIMIT_SECONDS 300
#define SAMPLE_MS 20
#define OUTPUT_MAX (1u << 20)
#define INITRD_MAX (1u << 30)
#define KERNEL_MEMORY "512M"
#define LINUX_MEMORY "1G"
#define DEBUG_EXIT_GOOD (0x10 * 2 + 1)

extern const u8 paging_kernel[], paging_kernel_end[], paging_linux[], paging_linux_end[];

/* Appends. */
static int write_file(const char *directory, const char *name, const void *data, size_t n, struct err *e)
{
	char path[PATH_MAX];
	_cleanup_fd_ int fd = -1;
	int rc;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0755);
	if (fd < 0)
		return err_sys(e, errno, "%s", path);
	rc = fd_write_all(fd, data, n);
	return rc ? err_sys(e, -rc, "%s", path) : 0;
}

/* One member of an archive in the form "newc" (Linux Documentation/driver-api/early-userspace/buffer-format.rst). */
static void archive_member(struct text *t, const char *name, u32 mode, const void *data, size_t n)
{
	static const char zeros[4];
	size_t name_size = strlen(name) + 1;

	text_add(t, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", 0, mode, 0, 0, 1, 0, n, 0, 0, 0, 0, name_size, 0);
	text_add_bytes(t, name, name_size);
	text_add_bytes(t, zeros, -(110 + name_size) & 3);
	text_add_bytes(t, data, n);
	text_add_bytes(t, zeros, -n & 3);
}

/* The default guest's initial file system with the program in it: archives may follow each other. */
static int write_initrd(const struct paging_bench *b, const char *directory, struct err *e)
{
	size_t program = (size_t)(paging_linux_end - paging_linux), n = 0;
	_cleanup_text_ struct text t = { 0 };
	_cleanup_free_ char *base = NULL;
	static const char zeros[512];
	int rc = file_read_at(AT_FDCWD, b->guest_initrd, INITRD_MAX, &base, &n);

	if (rc < 0)
		return err_sys(e, -rc, "%s", b->guest_initrd);
	archive_member(&t, "bench", S_IFDIR | 0755, "", 0);
	archive_member(&t, "bench/paging", S_IFREG | 0755, paging_linux, program);
	archive_member(&t, "TRAILER!!!", 0, "", 0);
	if (t.failed)
		return err_sys(e, ENOMEM, "%s/initrd", directory);
	rc = write_file(directory, "initrd", base, n, e);
	rc = rc ? rc : write_file(directory, "initrd", zeros, -n & 511, e);
	return rc ? rc : write_file(directory, "initrd", t.text, t.length, e);
}

int paging_files_write(const struct paging_bench *b, const char *directory, struct err *e)
{
	int rc = write_file(directory, "kernel", paging_kernel, (size_t)(paging_kernel_end - paging_kernel), e);

	rc = rc ? rc : write_file(directory, "linux", paging_linux, (size_t)(paging_linux_end - paging_linux), e);
	return rc || !b->guest_initrd ? rc : write_initrd(b, directory, e);
}

#define WORDS_MAX 40
struct command {
	const char *word[WORDS_MAX];
	int n;
	char kernel[PATH_MAX], initrd[PATH_MAX], stats[PATH_MAX], line[1400], only[1100], scale[32];
};

static void words_add(struct command *c, const char *const *words)
{
	while (*words && c->n < WORDS_MAX - 1)
		c->word[c->n++] = *words++;
	c->word[c->n] = NULL;
}
#define ADD(c, ...) words_add(c, (const char *const[]){ __VA_ARGS__, NULL })

static void make_texts(const struct paging_bench *b, const struct paging_job *job, const char *directory, struct command *c)
{
	c->n = 0;
	snprintf(c->kernel, sizeof c->kernel, "%s/%s", directory, job->column == COLUMN_NATIVE ? "linux" : "kernel");
	snprintf(c->initrd, sizeof c->initrd, "%s/initrd", directory);
	snprintf(c->stats, sizeof c->stats, "%s/stats", directory);
	snprintf(c->only, sizeof c->only, "only=%s", job->only);
	snprintf(c->scale, sizeof c->scale, "scale=%u", job->scale);
	if (job->linux_program)
		snprintf(c->line, sizeof c->line, "console=ttyS0 quiet penumbra.exec=/bench/paging,%s,%s", c->only, c->scale);
	else
		snprintf(c->line, sizeof c->line, "%s %s%s", c->only, c->scale, job->column == COLUMN_KVM && b->kvm_emulates ? " int3" : "");
}

static void make_command(const struct paging_bench *b, const struct paging_job *job, const char *directory, struct command *c)
{
	bool kvm = job->column == COLUMN_KVM, qemu = job->column == COLUMN_QEMU;

	make_texts(b, job, directory, c);
	if (job->column == COLUMN_NATIVE) {
		ADD(c, c->kernel, c->only, c->scale);
		return;
	}
	if (qemu)
		ADD(c, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64,+rdrand", "-nodefaults", "-display", "none", "-serial", "stdio",
		    "-no-reboot", "-m", job->linux_program ? LINUX_MEMORY : KERNEL_MEMORY, "-append", c->line);
	else
		ADD(c, b->self, "run", "--accel", kvm ? "kvm" : "translate", "--memory", job->linux_program ? LINUX_MEMORY : KERNEL_MEMORY,
		    "--append", c->line, "--stats", c->stats);
	if (!qemu && !kvm)
		ADD(c, "--paging", paging_column_name(job->column));
	if (job->linux_program)
		ADD(c, qemu ? "-kernel" : "--kernel", b->guest_kernel, qemu ? "-initrd" : "--initrd", c->initrd);
	else if (qemu)
		ADD(c, "-kernel", c->kernel, "-device", "isa-debug-exit,iobase=0xf4,iosize=4");
	else
		ADD(c, "--kernel", c->kernel, "--boot", "pvh", "--debug-exit");
}

static void child(const struct command *c, int go, int out, int errors)
{
	int null = open("/dev/null", O_RDWR);
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(go, &byte, 1) != 1 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0)
		_exit(127);
	execvp(c->word[0], (char *const *)c->word);
	_exit(127);
}

static int read_back(int fd, char **text)
{
	size_t n;

	return lseek(fd, 0, SEEK_SET) ? -errno : fd_read_all(fd, OUTPUT_MAX, text, &n);
}

/* Starts the command with a counter of its cycles, in user mode and in the host kernel. */
static int start(const struct command *c, int out, int errors, pid_t *pid, int *counter, struct err *e)
{
	int go[2];

	if (pipe2(go, O_CLOEXEC))
		return err_sys(e, errno, "a pipe");
	*pid = fork();
	if (!*pid) {
		close(go[1]);
		child(c, go[0], out, errors);
	}
	close(go[0]);
	if (*pid < 0) {
		close(go[1]);
		return err_sys(e, errno, "fork");
	}
	*counter = counter_open(PERF_COUNT_HW_CPU_CYCLES, true, *pid);
	if (write(go[1], "", 1) != 1)
		kill(*pid, SIGKILL);
	close(go[1]);
	return 0;
}

/* Waits until the process ends, and looks at its memory meanwhile; it is killed after the time limit. */
static int wait_for(pid_t pid, int *status, u64 *memory, struct err *e)
{
	_cleanup_fd_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n = fd < 0;

	for (int left = LIMIT_SECONDS * 1000; left > 0 && n <= 0; left -= SAMPLE_MS) {
		n = poll(&p, 1, SAMPLE_MS);
		*memory = MAX(*memory, n ? 0 : tree_memory(pid));
	}
	if (n <= 0)
		kill(pid, SIGKILL);
	if (waitpid(pid, status, 0) != pid)
		return err_sys(e, errno, "waitpid");
	return n > 0 ? 0 : err_set(e, -ETIMEDOUT, "killed after %d seconds", LIMIT_SECONDS);
}

/* What to say about a run that ended badly: its last words. */
static int bad_end(const struct command *c, int status, int errors, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *end, *line;

	if (WIFSIGNALED(status))
		return err_set(e, -EIO, "%s was killed by signal %d", c->word[0], WTERMSIG(status));
	if (read_back(errors, &text) < 0 || !text)
		return err_set(e, -EIO, "%s ended with status %d", c->word[0], WEXITSTATUS(status));
	end = text + strlen(text);
	while (end > text && end[-1] == '\n')
		*--end = 0;
	line = strrchr(text, '\n');
	return err_set(e, -EIO, "status %d: %s", WEXITSTATUS(status), line ? line + 1 : text);
}

int paging_job_run(const struct paging_bench *b, const struct paging_job *job, const char *directory, struct paging_output *output,
		   struct err *e)
{
	_cleanup_fd_ int out = memfd_create("output", MFD_CLOEXEC), errors = memfd_create("errors", MFD_CLOEXEC);
	int status, good = job->linux_program || job->column == COLUMN_NATIVE ? 0 : DEBUG_EXIT_GOOD, counter = -1, rc;
	static struct command c;
	pid_t pid = -1;

	*output = (struct paging_output){ 0 };
	if (out < 0 || errors < 0)
		return err_sys(e, errno, "memfd_create");
	make_command(b, job, directory, &c);
	rc = start(&c, out, errors, &pid, &counter, e);
	if (rc)
		return rc;
	rc = wait_for(pid, &status, &output->memory, e);
	output->cycles = counter_take(counter);
	if (rc)
		return rc;
	rc = read_back(out, &output->text);
	if (rc < 0)
		return err_sys(e, -rc, "the output of a run");
	if (!WIFEXITED(status) || (WEXITSTATUS(status) != good && !strstr(output->text, "paging failed: ")))
		return bad_end(&c, status, errors, e);
	if (job->stats)
		output->stats = json_object_from_file(c.stats);
	return 0;
}
