/* SPDX-License-Identifier: MIT
 * What can be reached from inside a container: each row tries one thing and says whether it went.
 *
 *	probe            all rows: lines "NAME reached|denied DETAIL"
 *	probe NAME...    only these
 *	probe --calls    number of system calls that answer other than EPERM and ENOSYS
 *	probe --spin N   N processes that compute for two seconds on processor 0; says so when they do
 *	probe --latency  99th percentile of how late a sleep of 1 ms ends, 1500 of them on processor 0, in us
 *	probe --deny N   asks N times for what is denied
 *
 * Environment: PROBE_DISK=major:minor of a block device of the host, PROBE_ABSTRACT=name of an
 * abstract socket that listens on the host, PROBE_PID=pid of a process of the host, PROBE_PORT=port where
 * something listens on the host's loopback, PROBE_SHM=key of a System V memory segment of the host's,
 * PROBE_QUEUE=name of a message queue of the host's. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int result(long r)
{
	return r < 0 ? -errno : 0;
}

static int try_handle(void)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + 128];
	} u = { .h = { .handle_bytes = 128 } };
	int id, root = open("/", O_RDONLY), fd;

	if (name_to_handle_at(AT_FDCWD, "/", &u.h, &id, 0) < 0)
		return -errno;
	fd = open_by_handle_at(root, &u.h, O_RDONLY);
	return result(fd);
}

static int try_disk(void)
{
	const char *s = getenv("PROBE_DISK");
	unsigned major = 0, minor = 0;
	char block[512];
	int fd, r;

	if (!s || sscanf(s, "%u:%u", &major, &minor) != 2)
		return -ENODEV;
	unlink("/dev/probe-disk");
	if (mknod("/dev/probe-disk", S_IFBLK | 0600, makedev(major, minor)) < 0)
		return -errno;
	fd = open("/dev/probe-disk", O_RDONLY);
	r = fd < 0 ? -errno : read(fd, block, sizeof block) == sizeof block ? 0 : -EIO;
	unlink("/dev/probe-disk");
	return r;
}

static int try_core_pattern(void) { return opens("/proc/sys/kernel/core_pattern", O_WRONLY); }
static int try_sysrq(void) { return opens("/proc/sysrq-trigger", O_WRONLY); }
static int try_kcore(void)
{
	char magic[4];
	int fd = open("/proc/kcore", O_RDONLY);

	/* a masked file opens as the null device */
	return fd < 0 ? -errno : read(fd, magic, 4) == 4 && !memcmp(magic, "\177ELF", 4) ? 0 : -ENODATA;
}

static int try_release_agent(void)
{
	char dir[] = "/dev/shm/probe-XXXXXX", path[64];
	int r;

	if (!mkdtemp(dir))
		return -errno;
	if (mount("cgroup", dir, "cgroup", 0, "pids") < 0) {
		r = -errno;
	} else {
		snprintf(path, sizeof path, "%s/release_agent", dir);
		r = opens(path, O_WRONLY);
		umount2(dir, MNT_DETACH);
	}
	rmdir(dir);
	return r;
}

static int try_mount(void)
{
	if (mount("probe", "/dev/shm", "tmpfs", 0, NULL) < 0)
		return -errno;
	return result(umount2("/dev/shm", MNT_DETACH));
}

static int in_child(int (*f)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(-f());
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static int user_namespace(void) { return result(unshare(CLONE_NEWUSER)); }
static int try_user_namespace(void) { return in_child(user_namespace); }

/* The way to nf_tables that needs no privilege outside: a network of one's own. */
static int nf_tables(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK };
	int s;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	s = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	return s < 0 ? -errno : result(bind(s, (struct sockaddr *)&a, sizeof a));
}
static int try_nf_tables(void) { return in_child(nf_tables); }

static int try_io_uring(void)
{
	struct io_uring_params p = { 0 };

	return result(syscall(SYS_io_uring_setup, 1, &p));
}

static int try_bpf(void)
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4,
			     .max_entries = 1 };

	return result(syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a));
}

static int try_perf(void)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE, .size = sizeof a,
				     .config = PERF_COUNT_SW_CPU_CLOCK };

	return result(syscall(SYS_perf_event_open, &a, 0, -1, -1, 0));
}

static int try_userfaultfd(void) { return result(syscall(SYS_userfaultfd, O_CLOEXEC)); }
static int try_keyctl(void) { return result(syscall(SYS_keyctl, 0, -3, 1, 0, 0)); }

static int try_ptrace(void)
{
	pid_t pid = getenv("PROBE_PID") ? atoi(getenv("PROBE_PID")) : 0;

	if (!pid)
		return -ESRCH;
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
		return -errno;
	ptrace(PTRACE_DETACH, pid, 0, 0);
	return 0;
}

static int nsenter(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/proc/%s/ns/mnt", getenv("PROBE_PID") ? getenv("PROBE_PID") : "1");
	fd = open(path, O_RDONLY);
	return fd < 0 ? -errno : result(setns(fd, CLONE_NEWNS));
}
static int try_nsenter(void) { return in_child(nsenter); }

static int try_packet(void) { return result(socket(AF_PACKET, SOCK_RAW, 0)); }
static int try_alg(void) { return result(socket(38 /* AF_ALG */, SOCK_SEQPACKET, 0)); }
static int try_vsock(void) { return result(socket(40 /* AF_VSOCK */, SOCK_STREAM, 0)); }

static int try_abstract(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *name = getenv("PROBE_ABSTRACT");
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	if (!name || strlen(name) > 80)
		return -ENOENT;
	memcpy(a.sun_path + 1, name, strlen(name));
	return result(connect(s, (struct sockaddr *)&a,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))));
}

static int try_peer_address(void)
{
	const char *port = getenv("PROBE_PORT");
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int s = socket(AF_INET, SOCK_STREAM, 0);

	if (!port)
		return -ENOENT;
	if (s < 0)
		return -errno;
	a.sin_port = htons((unsigned short)atoi(port));
	return result(connect(s, (struct sockaddr *)&a, sizeof a));
}

static int try_shared_memory(void)
{
	const char *key = getenv("PROBE_SHM");
	int id = key ? shmget((key_t)atoi(key), 0, 0) : -1;
	char *p = id < 0 ? (void *)-1 : shmat(id, NULL, SHM_RDONLY);

	return !key ? -ENOENT : p == (void *)-1 ? -errno : strcmp(p, "host") ? -EIO : 0;
}

static int try_message_queue(void)
{
	const char *name = getenv("PROBE_QUEUE");

	return name ? result(syscall(SYS_mq_open, name, O_RDONLY, 0, NULL)) : -ENOENT;
}

static int try_peer_signal(void)
{
	const char *pid = getenv("PROBE_PID");

	return pid ? result(kill(atoi(pid), 0)) : -ENOENT;
}

/* More files than any one needs, without a byte in them. */
static int try_inode_flood(void)
{
	static const char *const dirs[] = { "/dev/shm", "/tmp", "/run", "/var/tmp" };
	size_t i;

	for (i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
		char path[64];
		int n, k;

		for (n = 0; n < 40000; n++) {
			snprintf(path, sizeof path, "%s/flood-%d", dirs[i], n);
			k = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
			if (k < 0)
				break;
			close(k);
		}
		for (k = 0; k < n; k++) {
			snprintf(path, sizeof path, "%s/flood-%d", dirs[i], k);
			unlink(path);
		}
		if (n == 40000)
			return 0;
	}
	return -ENOSPC;
}

static int int80(void)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	return r > 0 ? 0 : (int)r;
}
static int try_int80(void) { return in_child(int80); }
static int x32(void) { return result(syscall(0x40000000 + SYS_getpid)); }
static int try_x32(void) { return in_child(x32); }

static int tiocsti(void)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY), slave;
	char c = 'x';

	if (master < 0 || grantpt(master) || unlockpt(master))
		return -errno;
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	if (slave < 0 || setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
		return -errno;
	return result(ioctl(slave, TIOCSTI, &c));
}
static int try_tiocsti(void) { return in_child(tiocsti); }

static int try_kmsg(void) { return opens("/dev/kmsg", O_RDONLY); }
static int try_syslog(void) { return result(syscall(SYS_syslog, 10, NULL, 0)); }
static int try_module(void)
{
	/* an empty image: refused as EPERM without the right, as no image with it */
	long r = syscall(SYS_init_module, "", 0, "");

	return r < 0 && errno != EPERM && errno != ENOSYS ? 0 : r < 0 ? -errno : 0;
}
static int try_clock(void)
{
	struct timespec t = { -1, 0 };
	long r = syscall(SYS_clock_settime, CLOCK_REALTIME, &t);

	return r < 0 && errno == EINVAL ? 0 : -errno;
}
static int change_root(void) { return result(chroot("/")); }
static int try_chroot(void) { return in_child(change_root); }
static int try_write_root(void)
{
	int fd = open("/probe-file", O_WRONLY | O_CREAT, 0600);

	if (fd < 0)
		return -errno;
	unlink("/probe-file");
	return 0;
}
static int try_sysctl(void) { return opens("/proc/sys/vm/drop_caches", O_WRONLY); }

static int dropped_program(void)
{
	static const char *const dirs[] = { "/tmp", "/dev/shm", "/run", "/var/tmp" };
	size_t i;

	for (i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
		char path[64], buf[65536];
		int in = open("/proc/self/exe", O_RDONLY), out, status;
		ssize_t n;
		pid_t pid;

		snprintf(path, sizeof path, "%s/probe-copy", dirs[i]);
		out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
		if (out < 0)
			continue;
		while ((n = read(in, buf, sizeof buf)) > 0 && write(out, buf, (size_t)n) == n)
			;
		close(out);
		pid = fork();
		if (!pid) {
			execl(path, path, "--nothing", NULL);
			_exit(99);
		}
		waitpid(pid, &status, 0);
		unlink(path);
		if (WIFEXITED(status) && !WEXITSTATUS(status))
			return 0;
	}
	return -EACCES;
}

static int memfd_exec(void)
{
	int fd = (int)syscall(SYS_memfd_create, "probe", 0), in = open("/proc/self/exe", O_RDONLY), status;
	char buf[65536];
	ssize_t n;
	pid_t pid;

	if (fd < 0)
		return -errno;
	while ((n = read(in, buf, sizeof buf)) > 0 && write(fd, buf, (size_t)n) == n)
		;
	pid = fork();
	if (!pid) {
		char *argv[] = { (char *)"probe", (char *)"--nothing", NULL };

		fexecve(fd, argv, environ);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EACCES;
}

/* Floods: reached when more than a guest of many should take went through. */
static int flood_processes(void)
{
	int n, r = 0;

	for (n = 0; n < 600; n++) {
		pid_t pid = fork();

		if (pid < 0) {
			r = -errno;
			break;
		}
		if (!pid) {
			pause();
			_exit(0);
		}
	}
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	while (wait(NULL) > 0)
		;
	return r;
}
static int flood_processes_group(void)
{
	setpgid(0, 0);
	return flood_processes();
}
static int try_processes(void) { return in_child(flood_processes_group); }

static int flood_memory(void)
{
	size_t size = 700u << 20, i;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	for (i = 0; i < size; i += 4096)
		p[i] = 1;
	return 0;
}
static int try_memory(void) { return in_child(flood_memory); }

static int try_disk_flood(void)
{
	static char block[1 << 20];
	static const char *const dirs[] = { "/tmp", "/dev/shm", "/", "/var/tmp", "/run" };
	size_t i, k;

	for (i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
		char path[64];
		int fd;

		snprintf(path, sizeof path, "%s/probe-flood", dirs[i]);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (fd < 0)
			continue;
		for (k = 0; k < 128 && write(fd, block, sizeof block) == sizeof block; k++)
			;
		close(fd);
		unlink(path);
		if (k == 128)
			return 0;
	}
	return -ENOSPC;
}

static int try_descriptors(void)
{
	static int fd[8192];
	int n, k;

	for (n = 0; n < 8192 && (fd[n] = dup(0)) >= 0; n++)
		;
	for (k = 0; k < n; k++)
		close(fd[k]);
	return n == 8192 ? 0 : -EMFILE;
}

static int try_leaked(void)
{
	int fd;

	for (fd = 3; fd < 1024; fd++) {
		struct stat st;

		if (!fstat(fd, &st))
			return 0;
	}
	return -EBADF;
}

static const struct row {
	const char *name;
	int (*run)(void);
} rows[] = {
	{ "leaked-descriptor", try_leaked }, { "open_by_handle_at", try_handle },
	{ "host-disk", try_disk }, { "core_pattern", try_core_pattern }, { "sysrq", try_sysrq },
	{ "kcore", try_kcore }, { "release_agent", try_release_agent }, { "mount", try_mount },
	{ "user-namespace", try_user_namespace }, { "nf_tables", try_nf_tables },
	{ "io_uring", try_io_uring }, { "bpf", try_bpf }, { "perf", try_perf },
	{ "userfaultfd", try_userfaultfd }, { "keyctl", try_keyctl }, { "ptrace-host", try_ptrace },
	{ "nsenter-host", try_nsenter }, { "packet-socket", try_packet }, { "alg-socket", try_alg },
	{ "vsock", try_vsock }, { "abstract-socket", try_abstract }, { "peer-address", try_peer_address },
	{ "shared-memory", try_shared_memory }, { "message-queue", try_message_queue },
	{ "peer-signal", try_peer_signal }, { "int80", try_int80 },
	{ "x32", try_x32 }, { "tiocsti", try_tiocsti }, { "kmsg", try_kmsg }, { "syslog", try_syslog },
	{ "module", try_module }, { "clock", try_clock }, { "chroot", try_chroot },
	{ "write-root", try_write_root }, { "sysctl", try_sysctl },
	{ "dropped-program", dropped_program }, { "memfd-exec", memfd_exec },
	{ "process-flood", try_processes }, { "memory-flood", try_memory },
	{ "disk-flood", try_disk_flood }, { "inode-flood", try_inode_flood }, { "descriptor-flood", try_descriptors },
};

/* Calls that would end, stop or confuse the probe itself; they are counted as reachable. */
static int skip_call(long nr)
{
	static const long bad[] = { SYS_exit, SYS_exit_group, SYS_fork, SYS_vfork, SYS_clone, SYS_pause,
		SYS_rt_sigreturn, SYS_kill, SYS_tkill, SYS_tgkill, SYS_reboot, SYS_vhangup,
		SYS_rt_sigsuspend, SYS_select, SYS_pselect6, SYS_poll, SYS_ppoll, SYS_wait4, SYS_waitid,
		SYS_restart_syscall, SYS_close_range, SYS_sync, SYS_syncfs, SYS_futex, SYS_rt_sigtimedwait,
		SYS_personality, SYS_seccomp, SYS_clone3, SYS_munmap };
	size_t i;

	for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (bad[i] == nr)
			return 1;
	return 0;
}

static int count_calls(void)
{
	int reachable = 0;
	long nr;

	for (nr = 0; nr < 470; nr++) {
		int status;
		pid_t pid;

		if (skip_call(nr)) {
			reachable++;
			continue;
		}
		pid = fork();
		if (!pid) {
			ualarm(50000, 0);
			long r = syscall(nr, -1L, -1L, -1L, -1L, -1L, -1L);

			_exit(r < 0 && (errno == ENOSYS || errno == EPERM));
		}
		if (waitpid(pid, &status, 0) < 0)
			return -1;
		reachable += !(WIFEXITED(status) && WEXITSTATUS(status) == 1) &&
			     !(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	}
	return reachable;
}

static void pin(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof set, &set);
}

static int spin(int n)
{
	pin();
	while (n-- > 0)
		if (!fork()) {
			alarm(2);
			for (;;)
				;
		}
	puts("spinning");
	while (wait(NULL) > 0)
		;
	return 0;
}

static int by_size(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return x < y ? -1 : x > y;
}

static int latency(void)
{
	static long late[2000];
	int n;

	pin();
	for (n = 0; n < 1500; n++) {
		struct timespec from, to, ms = { 0, 1000000 };

		clock_gettime(CLOCK_MONOTONIC, &from);
		nanosleep(&ms, NULL);
		clock_gettime(CLOCK_MONOTONIC, &to);
		late[n] = (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000 - 1000;
	}
	qsort(late, (size_t)n, sizeof *late, by_size);
	printf("p99 %ld\n", late[n * 99 / 100]);
	return 0;
}

int main(int argc, char **argv)
{
	size_t i;
	int k;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "--nothing"))
		return 0;
	if (argc > 1 && !strcmp(argv[1], "--calls")) {
		printf("calls %d\n", count_calls());
		return 0;
	}
	if (argc > 2 && !strcmp(argv[1], "--spin"))
		return spin(atoi(argv[2]));
	if (argc > 1 && !strcmp(argv[1], "--latency"))
		return latency();
	for (k = 0; argc > 2 && !strcmp(argv[1], "--deny") && k < atoi(argv[2]); k++)
		mount("none", "/", "tmpfs", 0, NULL);
	if (k)
		return 0;
	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int wanted = argc < 2, r;

		for (k = 1; k < argc; k++)
			wanted |= !strcmp(argv[k], rows[i].name);
		if (!wanted)
			continue;
		fflush(stdout);
		r = rows[i].run();
		printf("%s %s %s\n", rows[i].name, r ? "denied" : "reached", r ? strerror(-r) : "");
	}
	return 0;
}
