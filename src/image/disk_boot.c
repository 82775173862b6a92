/* SPDX-License-Identifier: MIT
 * Owner of what reads the file system: a child process with a system call filter of its own. */
#include "image/disk_boot.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/syscall_filter.h"
#include "image/partition.h"

/* What the child may do besides reading the disk with whatever the source reads with. */
static const struct syscall_rule rules[] = {
	{ .number = __NR_read }, { .number = __NR_pread64 }, { .number = __NR_preadv }, { .number = __NR_lseek },
	{ .number = __NR_write }, { .number = __NR_pwrite64 }, { .number = __NR_fstat }, { .number = __NR_newfstatat },
	{ .number = __NR_mmap, .check = { ARG_LONG(4, -1) } }, { .number = __NR_mmap, .check = { ARG_INT(4, -1) } },
	{ .number = __NR_munmap }, { .number = __NR_mremap }, { .number = __NR_brk }, { .number = __NR_futex },
	{ .number = __NR_exit_group }, { .number = __NR_rt_sigreturn }, { .number = __NR_getpid },
	{ .number = __NR_gettid }, { .number = __NR_close }, { .number = __NR_clock_gettime }, { .number = __NR_getrandom },
};

/* What the child answers with. */
struct answer {
	int code;                 /* 0 or a negative errno */
	bool initrd;
	char text[512];           /* the error, or the command line's place below is used */
	char command_line[DISK_BOOT_LINE_MAX];
};

struct finder {
	const struct disk_source *disk;
	struct answer *answer;
	int kernel_fd, initrd_fd;
	char cmdline[DISK_BOOT_LINE_MAX];
};

/* One file system, seen by libext2fs as a device. */
struct device { const struct disk_source *disk; u64 start, size; };
static struct device open_device; /* ext2fs_open() gives the name of a device only */

static errcode_t io_set_block_size(io_channel channel, int block_size)
{
	channel->block_size = block_size;
	return 0;
}

static errcode_t io_read_block64(io_channel channel, unsigned long long block, int count, void *to)
{
	const struct device *d = channel->private_data;
	u64 n = count < 0 ? (u64)-(s64)count : (u64)count * (u64)channel->block_size, offset;

	if (__builtin_mul_overflow((u64)block, (u64)channel->block_size, &offset) || offset > d->size || n > d->size - offset)
		return EXT2_ET_SHORT_READ;
	return d->disk->read(d->disk->opaque, d->start + offset, to, n) ? EXT2_ET_SHORT_READ : 0;
}

static errcode_t io_read_block(io_channel channel, unsigned long block, int count, void *to)
{
	return io_read_block64(channel, block, count, to);
}

static errcode_t io_close(io_channel channel)
{
	if (!--channel->refcount) {
		ext2fs_free_mem(&channel->name);
		ext2fs_free_mem(&channel);
	}
	return 0;
}

static errcode_t io_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

static errcode_t io_open(const char *name, int flags, io_channel *out);

/* Reading only: libext2fs checks the file system's flags before it writes. */
static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "penumbra disk",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_block_size,
	.read_blk = io_read_block,
	.read_blk64 = io_read_block64,
	.flush = io_flush,
};

static errcode_t io_open(const char *name, int flags, io_channel *out)
{
	io_channel channel;
	errcode_t rc = ext2fs_get_mem(sizeof *channel, &channel);

	(void)flags;
	if (rc)
		return rc;
	memset(channel, 0, sizeof *channel);
	rc = ext2fs_get_mem(strlen(name) + 1, &channel->name);
	if (rc) {
		ext2fs_free_mem(&channel);
		return rc;
	}
	memcpy(channel->name, name, strlen(name) + 1);
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = &manager;
	channel->block_size = 1024;
	channel->refcount = 1;
	channel->private_data = &open_device;
	*out = channel;
	return 0;
}

/* Opens a regular file by path, symbolic links followed within the file system. */
static int file_open(ext2_filsys fs, const char *path, ext2_file_t *file, u64 *size)
{
	struct ext2_inode inode;
	ext2_ino_t number;

	if (ext2fs_namei_follow(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &number) ||
	    ext2fs_read_inode(fs, number, &inode) || !LINUX_S_ISREG(inode.i_mode))
		return -ENOENT;
	*size = EXT2_I_SIZE(&inode);
	return ext2fs_file_open(fs, number, 0, file) ? -EIO : 0;
}

/* At most size - 1 bytes of a text file, with a zero behind them. */
static int file_text(ext2_filsys fs, const char *path, char *text, unsigned int size)
{
	unsigned int got = 0;
	ext2_file_t file;
	u64 length;
	int rc = file_open(fs, path, &file, &length);

	if (rc)
		return rc;
	if (ext2fs_file_read(file, text, size - 1, &got))
		rc = -EIO;
	text[got] = 0;
	ext2fs_file_close(file);
	return rc;
}

static int file_copy(ext2_filsys fs, const char *path, int fd)
{
	static char chunk[1 << 20];
	ext2_file_t file;
	u64 size, done = 0;
	int rc = file_open(fs, path, &file, &size);

	if (!rc && size > DISK_BOOT_FILE_MAX) {
		ext2fs_file_close(file);
		rc = -EFBIG;
	}
	if (rc)
		return rc;
	while (!rc && done < size) {
		unsigned int got = 0;

		if (ext2fs_file_read(file, chunk, sizeof chunk, &got) || !got || write(fd, chunk, got) != (ssize_t)got)
			rc = -EIO;
		done += got;
	}
	ext2fs_file_close(file);
	return rc;
}

static int take(struct finder *f, ext2_filsys fs, const char *kernel, const char *initrd, const char *options)
{
	int rc = file_copy(fs, kernel, f->kernel_fd);

	if (rc == -ENOENT)
		return rc;
	if (!rc && *initrd) {
		rc = file_copy(fs, initrd, f->initrd_fd);
		f->answer->initrd = true;
	}
	if (rc)
		snprintf(f->answer->text, sizeof f->answer->text, "%.200s: %s", f->answer->initrd ? initrd : kernel,
			 rc == -EFBIG ? "too large" : "cannot be read");
	if (rc == -ENOENT)
		rc = -EINVAL;
	snprintf(f->answer->command_line, sizeof f->answer->command_line, "%s", options);
	return rc;
}

static int look_for_grub(struct finder *f, ext2_filsys fs, const char *directory)
{
	char path[64], kernel[DISK_BOOT_LINE_MAX], initrd[DISK_BOOT_LINE_MAX], options[DISK_BOOT_LINE_MAX];
	static char text[1 << 18];

	snprintf(path, sizeof path, "%s/grub/grub.cfg", directory);
	if (file_text(fs, path, text, sizeof text) || grub_first_entry(text, kernel, initrd, options))
		return -ENOENT;
	return take(f, fs, kernel, initrd, options);
}

static int look_for_files(struct finder *f, ext2_filsys fs, const char *directory)
{
	char kernel[64], initrd[64];
	ext2_file_t file;
	u64 size;

	if (file_text(fs, "/etc/kernel/cmdline", f->cmdline, sizeof f->cmdline))
		return -ENOENT;
	f->cmdline[strcspn(f->cmdline, "\n")] = 0;
	snprintf(kernel, sizeof kernel, "%s/vmlinuz", directory);
	snprintf(initrd, sizeof initrd, "%s/initrd.img", directory);
	if (file_open(fs, initrd, &file, &size))
		initrd[0] = 0;
	else
		ext2fs_file_close(file);
	return take(f, fs, kernel, initrd, f->cmdline);
}

static int look_in(struct finder *f, const struct partition *p)
{
	static const struct { int (*look)(struct finder *, ext2_filsys, const char *); const char *directory; } places[] = {
		{ look_for_grub, "/boot" }, { look_for_grub, "" }, { look_for_files, "" }, { look_for_files, "/boot" },
	};
	ext2_filsys fs;
	int rc = -ENOENT;

	open_device = (struct device){ .disk = f->disk, .start = p->start, .size = p->size };
	if (ext2fs_open("disk", EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES, 0, 0, &manager, &fs))
		return -ENOENT;
	for (size_t i = 0; i < ARRAY_SIZE(places) && rc == -ENOENT; i++)
		rc = places[i].look(f, fs, places[i].directory);
	ext2fs_close_free(&fs);
	return rc;
}

static int find(struct finder *f)
{
	struct partition list[PARTITIONS_MAX];
	int count = partitions_read(f->disk, list), rc = -ENOENT;

	if (count < 0) {
		snprintf(f->answer->text, sizeof f->answer->text, "its first sectors cannot be read");
		return count;
	}
	for (int i = 0; i < count && rc == -ENOENT; i++)
		rc = look_in(f, &list[i]);
	if (rc == -ENOENT)
		snprintf(f->answer->text, sizeof f->answer->text,
			 "no ext4 file system with a kernel and its command line on it; give --kernel and --initrd");
	return rc;
}

static void confine(void)
{
	struct sock_filter filter[SYSCALL_FILTER_MAX(ARRAY_SIZE(rules))];
	struct syscall_rule all[ARRAY_SIZE(rules)];
	struct sock_fprog program = { .filter = filter };
	struct rlimit memory = { 1ull << 30, 1ull << 30 }, seconds = { 30, 30 };

	memcpy(all, rules, sizeof all);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		all[i].who = 1;
	program.len = syscall_filter_build(filter, all, ARRAY_SIZE(all), 1, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
	setrlimit(RLIMIT_AS, &memory);
	setrlimit(RLIMIT_CPU, &seconds);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0))
		_exit(1);
}

static void child(struct finder *f)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	confine();
	f->answer->code = find(f);
	_exit(0);
}

/* The child's answer is not trusted either. */
static int judge(struct answer *a, const char *name, int status, struct disk_boot *boot, struct err *e)
{
	a->text[sizeof a->text - 1] = a->command_line[sizeof a->command_line - 1] = 0;
	if (!WIFEXITED(status) || WEXITSTATUS(status) || a->code > 0)
		return err_set(e, -EINVAL, "%s: its file system cannot be read: it is damaged; give --kernel and --initrd", name);
	for (char *p = a->text; *p; p++)
		*p = *p >= ' ' && *p < 127 ? *p : '?';
	for (char *p = a->command_line; *p; p++)
		*p = *p >= ' ' && *p < 127 ? *p : ' ';
	if (a->code)
		return err_set(e, a->code == -ENOENT ? -ENOENT : -EINVAL, "%s: %s", name, a->text);
	memcpy(boot->command_line, a->command_line, sizeof boot->command_line);
	if (!a->initrd) {
		close(boot->initrd_fd);
		boot->initrd_fd = -1;
	}
	return 0;
}

int disk_boot_find(const struct disk_source *disk, const char *name, struct disk_boot *boot, struct err *e)
{
	struct answer *answer = mmap(NULL, sizeof *answer, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct finder f = { .disk = disk, .answer = answer };
	int status = -1, rc;
	pid_t pid;

	if (answer == MAP_FAILED)
		return err_sys(e, errno, "%s", name);
	boot->kernel_fd = f.kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	boot->initrd_fd = f.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	pid = f.kernel_fd < 0 || f.initrd_fd < 0 ? -1 : fork();
	if (!pid)
		child(&f);
	if (pid < 0) {
		rc = err_sys(e, errno, "%s: a process to read it", name);
	} else {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		rc = judge(answer, name, status, boot, e);
	}
	munmap(answer, sizeof *answer);
	if (rc)
		disk_boot_close(boot);
	return rc;
}

void disk_boot_close(struct disk_boot *boot)
{
	if (boot->kernel_fd >= 0)
		close(boot->kernel_fd);
	if (boot->initrd_fd >= 0)
		close(boot->initrd_fd);
	boot->kernel_fd = boot->initrd_fd = -1;
}
