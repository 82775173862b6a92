/* SPDX-License-Identifier: MIT */
#include "image/debian.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/tool.h"

/* The partition's place: from the second MiB to the table's copy in the last MiB. */
#define PARTITION_START (1ull << 20)
#define PARTITION_TAIL (1ull << 20)
/* "Linux root (x86-64)" of the Discoverable Partitions Specification. */
#define ROOT_TYPE "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"

/* What makes a machine of it that one can log in to and install more with. */
#define PACKAGES "linux-image-cloud-amd64,initramfs-tools,zstd,systemd-sysv,libpam-systemd,dbus,udev,kmod," \
	"systemd-resolved,iproute2,iputils-ping,netbase,ca-certificates,openssh-server,apt-utils,e2fsprogs," \
	"login,procps,less,nano,sudo,tzdata"

extern const char debian_setup[], debian_setup_end[]; /* debian-setup.sh */

#define PATH_BYTES 4096
struct build {
	const struct debian_image *image;
	char work[PATH_BYTES], tar[PATH_BYTES + 16], disk[PATH_BYTES + 16], setup[PATH_BYTES + 16], root[PATH_BYTES + 16];
	char partition[37];   /* PARTUUID */
	char *ssh_key;
	char *hooks[DEBIAN_IMAGE_COPIES + 2]; /* arguments of mmdebstrap that put files into the image */
	int hook_count;
	int step;
};

enum { STEP_PACKAGES, STEP_TABLE, STEP_FILES, STEP_COUNT };

static void say(struct build *b, const char *text)
{
	if (b->image->progress)
		b->image->progress(b->image->opaque, b->step, STEP_COUNT, text);
}

/* mmdebstrap says "I: doing this..."; its warnings and apt's chatter are not progress. */
static void tool_said(void *opaque, const char *line)
{
	char text[200];
	size_t n;

	if (strncmp(line, "I: ", 3))
		return;
	snprintf(text, sizeof text, "%s", line + 3);
	for (n = strlen(text); n && text[n - 1] == '.'; n--)
		text[n - 1] = 0;
	say(opaque, text);
}

static void make_uuid(char out[37])
{
	u8 r[16];

	if (getrandom(r, sizeof r, 0) != sizeof r)
		memset(r, 0x5a, sizeof r);
	r[6] = (u8)((r[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
	r[8] = (u8)((r[8] & 0x3f) | 0x80);
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1], r[2], r[3],
		 r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
}

static bool made_of(const char *text, const char *more)
{
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr(more, *text))
			return false;
	return true;
}

static int check_values(const struct debian_image *image, struct err *e)
{
	if (!*image->suite || !made_of(image->suite, "-./") || *image->suite == '-')
		return err_set(e, -EINVAL, "--suite: '%s' is not the name of a release", image->suite);
	if (image->packages && !made_of(image->packages, "+-.:,=~"))
		return err_set(e, -EINVAL, "--packages: '%s' is not a list of package names separated by commas", image->packages);
	if (image->mirror && (!strstr(image->mirror, ":/") || !made_of(image->mirror, ":/.-_~%+@[]=?&")))
		return err_set(e, -EINVAL, "--mirror: '%s' is not an address such as http://deb.debian.org/debian",
			       image->mirror);
	if (image->password && strpbrk(image->password, "\n\r"))
		return err_set(e, -EINVAL, "--password: it has more than one line");
	if (image->size < DEBIAN_IMAGE_MIN || image->size > DEBIAN_IMAGE_MAX)
		return err_set(e, -EINVAL, "--size: %llu MiB is not between %llu MiB and %llu TiB",
			       (unsigned long long)(image->size >> 20), DEBIAN_IMAGE_MIN >> 20, DEBIAN_IMAGE_MAX >> 40);
	if (image->size % (1 << 20))
		return err_set(e, -EINVAL, "--size: not a whole number of MiB");
	if (!access(image->out, F_OK))
		return err_set(e, -EEXIST, "%s is there already; remove it or choose another name", image->out);
	return 0;
}

static int check_tools(struct err *e)
{
	static const struct tool tools[] = {
		{ "mmdebstrap", "mmdebstrap" }, { "mke2fs", "e2fsprogs" }, { "sfdisk", "fdisk" }, { "tar", "tar" },
		{ "unshare", "util-linux" }, { "newuidmap", "uidmap" },
	};

	return tools_check(tools, geteuid() ? ARRAY_SIZE(tools) : ARRAY_SIZE(tools) - 2, e);
}

/* Public keys: text, at most 64 KiB. */
static int read_keys(struct build *b, struct err *e)
{
	const char *path = b->image->ssh_key;
	size_t n;
	FILE *f;

	b->ssh_key = calloc(1, 65537);
	if (!b->ssh_key)
		return err_sys(e, ENOMEM, "--ssh-key");
	if (!path)
		return 0;
	f = fopen(path, "re");
	if (!f)
		return err_sys(e, errno, "--ssh-key: %s", path);
	n = fread(b->ssh_key, 1, 65536, f);
	if (ferror(f) || !n || n == 65536 || memchr(b->ssh_key, 0, n) || strstr(b->ssh_key, "PRIVATE KEY")) {
		fclose(f);
		return err_set(e, -EINVAL, "--ssh-key: %s: not a file of public keys", path);
	}
	fclose(f);
	return 0;
}

/* Adds what copies `file` of the host, whose option is `option`, to `path` of the image. */
static int add_copy(struct build *b, const char *option, const char *path, const char *file, struct err *e)
{
	char *real = realpath(file, NULL);
	int rc = 0;

	if (!real || access(real, R_OK))
		rc = err_sys(e, errno, "%s: %s", option, file);
	else if (*path != '/' || strpbrk(path, "'\\") || strpbrk(real, "'\\") || path[strlen(path) - 1] == '/')
		rc = err_set(e, -EINVAL, "%s: '%s' is not an absolute path of a file without quotes and backslashes", option,
			     *path != '/' ? path : real);
	else if (asprintf(&b->hooks[b->hook_count++], "--customize-hook=mkdir -p \"$1$(dirname '%s')\" && cp -L '%s' \"$1\"'%s'",
			  path, real, path) < 0)
		rc = err_sys(e, ENOMEM, "%s", option);
	free(real);
	return rc;
}

static int add_copies(struct build *b, struct err *e)
{
	const struct debian_image *image = b->image;
	int rc = 0;

	for (int i = 0; i < image->copy_count && !rc; i++) {
		const char *text = image->copies[i], *equals = strchr(text, '=');
		char path[PATH_BYTES];

		if (!equals || equals - text >= PATH_BYTES)
			return err_set(e, -EINVAL, "--copy: '%s' is not PATH=FILE", text);
		memcpy(path, text, (size_t)(equals - text));
		path[equals - text] = 0;
		rc = add_copy(b, "--copy", path, equals + 1, e);
	}
	if (rc || !image->setup)
		return rc;
	rc = add_copy(b, "--setup", "/.setup", image->setup, e);
	if (!rc && asprintf(&b->hooks[b->hook_count++],
			    "--customize-hook=chroot \"$1\" /bin/sh /.setup && rm \"$1/.setup\"") < 0)
		rc = err_sys(e, ENOMEM, "--setup");
	return rc;
}

static int write_setup(struct build *b, struct err *e)
{
	int fd = open(b->setup, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	size_t n = (size_t)(debian_setup_end - debian_setup);

	if (fd < 0 || write(fd, debian_setup, n) != (ssize_t)n || close(fd))
		return err_sys(e, errno, "%s", b->setup);
	return 0;
}

/* The directory that all is made in, beside the image, so that a rename is enough at the end. */
static int make_work(struct build *b, struct err *e)
{
	const char *out = b->image->out, *slash = strrchr(out, '/');
	int directory = slash ? (int)(slash - out) + 1 : 0;
	char *real;

	if (snprintf(b->root, sizeof b->root, "%.*s.", directory, out) >= PATH_BYTES)
		return err_set(e, -ENAMETOOLONG, "%s", out);
	real = realpath(b->root, NULL);
	if (!real)
		return err_sys(e, errno, "%s", b->root);
	if (snprintf(b->work, sizeof b->work, "%s/.penumbra-image.XXXXXX", real) >= PATH_BYTES) {
		free(real);
		return err_set(e, -ENAMETOOLONG, "%s", out);
	}
	free(real);
	if (!mkdtemp(b->work)) {
		int errnum = errno;

		b->work[0] = 0;
		return err_sys(e, errnum, "%s: a directory beside it", out);
	}
	/* The root user of mmdebstrap's user namespace is somebody else. */
	if (chmod(b->work, 0755))
		return err_sys(e, errno, "%s", b->work);
	snprintf(b->tar, sizeof b->tar, "%s/root.tar", b->work);
	snprintf(b->disk, sizeof b->disk, "%s/disk", b->work);
	snprintf(b->setup, sizeof b->setup, "%s/setup", b->work);
	snprintf(b->root, sizeof b->root, "%s/root", b->work);
	return write_setup(b, e);
}

/* Where the host is of the same release, its own sources: what is reachable from here. */
static int add_host_sources(const struct debian_image *image, const char **argv)
{
	static const char *const files[] = { "/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources" };
	char text[65536];
	int count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		FILE *f = fopen(files[i], "re");
		size_t n;

		if (!f)
			continue;
		n = fread(text, 1, sizeof text - 1, f);
		fclose(f);
		text[n] = 0;
		if (strstr(text, image->suite))
			argv[count++] = files[i];
	}
	return count;
}

static void proxy_said(void *opaque, const char *line)
{
	snprintf(opaque, 1024, "%s", line);
}

/* apt's proxy on the host, as an option line for apt; empty where there is none. */
static void find_proxy(char line[1024])
{
	const char *argv[] = { "apt-config", "dump", "--no-empty", "--format", "%f \"%v\";%n", "Acquire::http::Proxy", NULL };
	struct tool_job job = { .argv = argv, .line = proxy_said, .opaque = line };
	struct err ignored = { 0 };

	line[0] = 0;
	if (tool_run(&job, &ignored) || strncmp(line, "Acquire::", 9))
		line[0] = 0;
}

static int make_root(struct build *b, struct err *e)
{
	const struct debian_image *image = b->image;
	char include[4096], hostname[128], password[512], partition[64], setup[PATH_BYTES + 64], proxy[1024], option[1100];
	const char *argv[24 + DEBIAN_IMAGE_COPIES + 2] = {
		"mmdebstrap", "--variant=minbase", "--format=tar", "--aptopt=Acquire::Languages \"none\"",
		"--customize-hook=sh \"$IMAGE_SETUP\" \"$1\"", include,
	};
	char *key = NULL;
	const char *env[] = { hostname, password, partition, setup, NULL, NULL };
	struct tool_job job = { .argv = argv, .env = env, .line = tool_said, .opaque = b };
	int n = 6, rc;

	if (asprintf(&key, "IMAGE_SSH_KEY=%s", b->ssh_key) < 0)
		return err_sys(e, ENOMEM, "--ssh-key");
	env[4] = key;
	snprintf(hostname, sizeof hostname, "IMAGE_HOSTNAME=%s", image->hostname);
	snprintf(password, sizeof password, "IMAGE_PASSWORD=%s", image->password ? image->password : "");
	snprintf(partition, sizeof partition, "IMAGE_PARTITION=%s", b->partition);
	snprintf(setup, sizeof setup, "IMAGE_SETUP=%s", b->setup);
	rc = snprintf(include, sizeof include, "--include=" PACKAGES "%s%s", image->packages ? "," : "",
		      image->packages ? image->packages : "");
	if (rc >= (int)sizeof include || strlen(password) == sizeof password - 1) {
		free(key);
		return err_set(e, -E2BIG, rc >= (int)sizeof include ? "--packages: the list is too long" :
			       "--password: it is too long");
	}
	find_proxy(proxy);
	if (*proxy) {
		snprintf(option, sizeof option, "--aptopt=%s", proxy);
		argv[n++] = option;
	}
	for (int i = 0; i < b->hook_count; i++)
		argv[n++] = b->hooks[i];
	argv[n++] = image->suite;
	argv[n++] = b->tar;
	if (image->mirror)
		argv[n++] = image->mirror;
	else
		add_host_sources(image, argv + n);
	rc = tool_run(&job, e);
	free(key);
	return rc;
}

static int make_table(struct build *b, struct err *e)
{
	const char *argv[] = { "sfdisk", "--quiet", b->disk, NULL };
	char script[512];
	struct tool_job job = { .argv = argv, .input = script };
	int fd = open(b->disk, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0 || ftruncate(fd, (off_t)b->image->size) || close(fd))
		return err_sys(e, errno, "%s", b->disk);
	snprintf(script, sizeof script, "label: gpt\nunit: sectors\nstart=%llu, size=%llu, type=%s, uuid=%s, name=root\n",
		 PARTITION_START / 512, (unsigned long long)((b->image->size - PARTITION_START - PARTITION_TAIL) / 512),
		 ROOT_TYPE, b->partition);
	return tool_run(&job, e);
}

/* Nodes of devices cannot be made in a user namespace, and a kernel brings its own /dev. */
static int make_files(struct build *b, struct err *e)
{
	static const char script[] =
		"mkdir \"$IMAGE_ROOT\" && "
		"tar --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*' -xpf \"$IMAGE_TAR\" -C \"$IMAGE_ROOT\" && rm \"$IMAGE_TAR\" && "
		"mke2fs -q -F -t ext4 -L root -m 1 -E offset=\"$IMAGE_START\",root_owner=0:0,lazy_itable_init=0 "
		"-d \"$IMAGE_ROOT\" \"$IMAGE_DISK\" \"$IMAGE_KIB\"k";
	const char *as_user[] = { "unshare", "--user", "--map-auto", "--map-root-user", "sh", "-c", script, NULL };
	char root[PATH_BYTES + 64], tar[PATH_BYTES + 64], disk[PATH_BYTES + 64], start[64], kib[64];
	const char *env[] = { root, tar, disk, start, kib, NULL };
	struct tool_job job = { .argv = geteuid() ? as_user : as_user + 4, .env = env };

	snprintf(root, sizeof root, "IMAGE_ROOT=%s", b->root);
	snprintf(tar, sizeof tar, "IMAGE_TAR=%s", b->tar);
	snprintf(disk, sizeof disk, "IMAGE_DISK=%s", b->disk);
	snprintf(start, sizeof start, "IMAGE_START=%llu", PARTITION_START);
	snprintf(kib, sizeof kib, "IMAGE_KIB=%llu",
		 (unsigned long long)((b->image->size - PARTITION_START - PARTITION_TAIL) >> 10));
	return tool_run(&job, e);
}

static int finish(struct build *b, struct err *e)
{
	int fd = open(b->disk, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) || close(fd))
		return err_sys(e, errno, "%s", b->disk);
	/* link() and not rename(): what appeared there meanwhile is kept. */
	if (link(b->disk, b->image->out))
		return err_sys(e, errno, "%s", b->image->out);
	return 0;
}

static void remove_work(struct build *b)
{
	const char *as_user[] = { "unshare", "--user", "--map-auto", "--map-root-user", "rm", "-rf", b->work, NULL };
	struct tool_job job = { .argv = geteuid() ? as_user : as_user + 4 };
	struct err ignored = { 0 };

	if (b->work[0] && (unlink(b->disk), unlink(b->tar), unlink(b->setup), rmdir(b->work)))
		tool_run_always(&job, &ignored);
}

int debian_image_build(const struct debian_image *image, struct err *e)
{
	static const struct { const char *words; int (*run)(struct build *b, struct err *e); } steps[STEP_COUNT] = {
		[STEP_PACKAGES] = { "downloading and installing packages", make_root },
		[STEP_TABLE] = { "partition table", make_table },
		[STEP_FILES] = { "file system", make_files },
	};
	struct build b = { .image = image };
	int rc = check_values(image, e);

	make_uuid(b.partition);
	rc = rc ? rc : check_tools(e);
	rc = rc ? rc : read_keys(&b, e);
	rc = rc ? rc : add_copies(&b, e);
	rc = rc ? rc : make_work(&b, e);
	for (; !rc && b.step < STEP_COUNT; b.step++) {
		say(&b, steps[b.step].words);
		rc = steps[b.step].run(&b, e);
	}
	rc = rc ? rc : finish(&b, e);
	remove_work(&b);
	free(b.ssh_key);
	for (int i = 0; i < b.hook_count; i++)
		free(b.hooks[i]);
	return rc;
}
