/* SPDX-License-Identifier: MIT
 * Finding, checking and replacing the file of translations. */
#include <cpuid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <nettle/sha2.h>

#include "accel/accel.h"
#include "accel/bt_store.h"
#include "base/jail.h"
#include "monitor/state.h"

#define SUFFIX ".translations"
#define STALE_SECONDS 60 /* a file half written is somebody's who died */

static void note(char to[STORE_NOTE_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(char to[STORE_NOTE_MAX], const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(to, STORE_NOTE_MAX, format, ap);
	va_end(ap);
}

static bool is_ours(const struct stat *st) { return st->st_uid == geteuid() && !(st->st_mode & 077); }

/* The directory and those above it that are missing; `path` is changed and put back. */
static void make_directories(char *path)
{
	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(path, 0700);
		*p = '/';
	}
	mkdir(path, 0700);
}

/* 0 and an empty path where there is no place for it. */
static void default_directory(char path[PATH_MAX])
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	path[0] = 0;
	if (cache && cache[0] == '/')
		snprintf(path, PATH_MAX, "%s/penumbra", cache);
	else if (home && home[0] == '/')
		snprintf(path, PATH_MAX, "%s/.cache/penumbra", home);
}

static int open_directory(const char *directory, char note_to[STORE_NOTE_MAX])
{
	bool chosen = strcmp(directory, "auto");
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (chosen)
		snprintf(path, sizeof path, "%s", directory);
	else
		default_directory(path);
	if (!path[0])
		return -1;
	make_directories(path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		if (chosen)
			note(note_to, "--translation-cache %s: %s", path, strerror(errno));
		return -1;
	}
	if (fstat(fd, &st) || !is_ours(&st)) {
		note(note_to, "--translation-cache: %s is open to others: make it yours alone (chmod 700), or name another directory", path);
		close(fd);
		return -1;
	}
	return fd;
}

/* A file of the user's that nobody else can read or write, `size` bytes if not 0; -1 with errno. */
static int open_ours(int dir, const char *name, struct stat *st)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	if (fstat(fd, st) || !S_ISREG(st->st_mode) || !is_ours(st)) {
		close(fd);
		errno = EPERM;
		return -1;
	}
	return fd;
}

static bool read_key(struct bt_store *s)
{
	struct stat st;
	int fd = open_ours(s->dir, "key", &st);
	bool good = fd >= 0 && read(fd, s->key, sizeof s->key) == (ssize_t)sizeof s->key;

	if (fd >= 0)
		close(fd);
	return good;
}

/* Made beside and linked to its name, so that nobody reads half of it and the first one wins. */
static bool make_key(struct bt_store *s)
{
	char name[32];
	bool good;
	int fd;

	snprintf(name, sizeof name, "key.%d", getpid());
	unlinkat(s->dir, name, 0);
	fd = openat(s->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	good = getrandom(s->key, sizeof s->key, 0) == (ssize_t)sizeof s->key &&
	       write(fd, s->key, sizeof s->key) == (ssize_t)sizeof s->key;
	close(fd);
	if (good && linkat(s->dir, name, s->dir, "key", 0) && errno != EEXIST)
		good = false;
	unlinkat(s->dir, name, 0);
	return good && read_key(s);
}

/* What tells kinds of processors apart. */
static void processor(u32 leaf[8])
{
	__get_cpuid(1, &leaf[0], &leaf[1], &leaf[2], &leaf[3]);
	leaf[1] = 0; /* on which processor this runs */
	leaf[2] &= ~BIT(27);
	__get_cpuid_count(7, 0, &leaf[4], &leaf[5], &leaf[6], &leaf[7]);
}

u64 bt_store_processor(void)
{
	u8 digest[SHA256_DIGEST_SIZE];
	u32 leaf[8] = { 0 };
	struct sha256_ctx c;
	u64 n;

	processor(leaf);
	sha256_init(&c);
	sha256_update(&c, sizeof leaf, (const u8 *)leaf);
	sha256_digest(&c, sizeof digest, digest);
	memcpy(&n, digest, sizeof n);
	return n >> 1; /* a positive number */
}

bool bt_store_directory(const char *directory, char path[PATH_MAX], char note_to[STORE_NOTE_MAX])
{
	struct bt_store s = { .dir = open_directory(directory, note_to) };
	char link[40];
	bool good;
	ssize_t n;

	if (s.dir < 0)
		return false;
	good = read_key(&s) || make_key(&s);
	if (!good)
		note(note_to, "--translation-cache: no key can be read or made there: %s", strerror(errno));
	snprintf(link, sizeof link, "/proc/self/fd/%d", s.dir);
	n = readlink(link, path, PATH_MAX - 1);
	path[n > 0 ? n : 0] = 0;
	close(s.dir);
	return good && path[0] == '/';
}

static void digest_build(struct bt_store *s, const struct store_setting *setting)
{
	u64 words[3] = { STORE_VERSION, setting->smp, setting->insns };
	u32 leaf[8] = { 0 };
	struct sha256_ctx c;

	processor(leaf);
	sha256_init(&c);
	sha256_update(&c, sizeof words, (const u8 *)words);
	sha256_update(&c, sizeof leaf, (const u8 *)leaf);
	sha256_update(&c, 32, setting->content);
	sha256_update(&c, (size_t)(setting->monitor_end - setting->monitor), setting->monitor);
	sha256_digest(&c, sizeof s->build, s->build);
	for (int i = 0; i < 12; i++)
		snprintf(s->name + 2 * i, 3, "%02x", s->build[i]);
	strcat(s->name, SUFFIX);
}

/* Why the file may not be used, NULL where it may. */
static const char *refuse(const struct bt_store *s, const struct store_head *h)
{
	u8 mac[16];

	if (h->magic != STORE_MAGIC || h->version != STORE_VERSION || memcmp(h->build, s->build, sizeof s->build))
		return "it is of another kind";
	if (h->size != s->size || bt_store_size(h) != s->size)
		return "it is cut short or damaged";
	bt_store_mac(h, s->key, mac);
	return memcmp(mac, h->mac, sizeof mac) ? "it is damaged, or not made with this directory's key" : NULL;
}

static void load(struct bt_store *s, char note_to[STORE_NOTE_MAX])
{
	const char *why = NULL;
	struct stat st;
	void *map;

	s->file = open_ours(s->dir, s->name, &st);
	if (s->file < 0) {
		if (errno != ENOENT)
			note(note_to, "--translation-cache: %s is not used: it is not a file of yours alone", s->name);
		return;
	}
	s->size = (u64)st.st_size;
	map = s->size > sizeof *s->head && s->size <= STORE_MAX ?
		mmap(NULL, s->size, PROT_READ, MAP_SHARED | MAP_POPULATE, s->file, 0) : MAP_FAILED;
	if (map == MAP_FAILED)
		why = "its size is impossible";
	else
		why = refuse(s, map);
	if (!why) {
		s->head = map;
		madvise(map, s->size, MADV_DONTFORK);
		return;
	}
	note(note_to, "--translation-cache: %s is not used and will be made anew: %s", s->name, why);
	if (map != MAP_FAILED)
		munmap(map, s->size);
	close(s->file);
	s->file = -1;
	s->size = 0;
}

void bt_store_open(struct bt_store *s, const char *directory, const struct store_setting *setting, char note_to[STORE_NOTE_MAX])
{
	*s = (struct bt_store){ .dir = -1, .file = -1, .writer = -1, .answer = -1 };
	if (!directory || !strcmp(directory, "off"))
		return;
	s->dir = open_directory(directory, note_to);
	if (s->dir < 0)
		return;
	if (!read_key(s) && !make_key(s)) {
		note(note_to, "--translation-cache: no key can be read or made there: %s", strerror(errno));
		close(s->dir);
		s->dir = -1;
		return;
	}
	digest_build(s, setting);
	load(s, note_to);
}

/* ---- the process that writes ---- */

/* The oldest files beyond STORE_FILES go. */
static void prune(int dir, const char *ours)
{
	for (;;) {
		char oldest[sizeof ((struct dirent *)0)->d_name] = "";
		int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
		DIR *d = fd < 0 ? NULL : fdopendir(fd);
		struct timespec at = { 0, 0 };
		struct dirent *e;
		struct stat st;

		if (!d)
			return;
		while ((e = readdir(d))) {
			size_t length = strlen(e->d_name), suffix = strlen(SUFFIX);

			if (length <= suffix || strcmp(e->d_name + length - suffix, SUFFIX) || fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
				continue;
			n++;
			if (!strcmp(e->d_name, ours) || (*oldest && (st.st_mtim.tv_sec > at.tv_sec ||
			    (st.st_mtim.tv_sec == at.tv_sec && st.st_mtim.tv_nsec >= at.tv_nsec))))
				continue;
			snprintf(oldest, sizeof oldest, "%s", e->d_name);
			at = st.st_mtim;
		}
		closedir(d);
		if (n <= STORE_FILES || !*oldest || unlinkat(dir, oldest, 0))
			return;
	}
}

/* The file under its temporary name; one that writes it already goes first. */
static int create_new(int dir, const char *name)
{
	struct stat st;

	for (int again = 0; again < 2; again++) {
		int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

		if (fd >= 0 || errno != EEXIST)
			return fd;
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || time(NULL) - st.st_mtime < STALE_SECONDS)
			return -1;
		unlinkat(dir, name, 0);
	}
	return -1;
}

static int write_file(const struct bt_store *s, const u8 *bytes, u64 size)
{
	char name[sizeof s->name + 8];
	int rc = 0, fd;

	snprintf(name, sizeof name, "%s.new", s->name);
	fd = create_new(s->dir, name);
	if (fd < 0)
		return errno == EEXIST ? 0 : errno;
	for (u64 done = 0; !rc && done < size;) {
		ssize_t n = write(fd, bytes + done, size - done);

		if (n <= 0)
			rc = n ? errno : ENOSPC;
		else
			done += (u64)n;
	}
	if (close(fd) && !rc)
		rc = errno;
	if (!rc && renameat(s->dir, name, s->dir, s->name))
		rc = errno;
	if (rc)
		unlinkat(s->dir, name, 0);
	else
		prune(s->dir, s->name);
	return rc;
}

static int write_store(const struct bt_store *s, int shared)
{
	struct store_head *h;
	u8 *base, *image;
	u64 size;
	int rc;

	base = mmap(NULL, SHARED_FILE_SIZE, PROT_READ, MAP_SHARED, shared, 0);
	if (base == MAP_FAILED)
		return errno;
	image = bt_store_image(base, &size);
	if (!image)
		return 0;
	h = (void *)image;
	memcpy(h->build, s->build, sizeof h->build);
	if (getrandom(h->nonce, sizeof h->nonce, 0) != (ssize_t)sizeof h->nonce)
		return EIO;
	bt_store_mac(h, s->key, h->mac);
	rc = write_file(s, image, size);
	free(image);
	return rc;
}

/* Keeps these descriptors only; signals concern the machine. */
static _Noreturn void writer(struct bt_store *s, int shared, int ask, int answer)
{
	int *fds[] = { &shared, &ask, &answer, &s->dir }, n = ARRAY_SIZE(fds);
	const int first = 100;
	u8 word;

	prctl(PR_SET_NAME, "penumbra-store");
	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		signal(signal_number, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	for (int i = 0; i < n; i++)
		if (*fds[i] >= 0)
			*fds[i] = fcntl(*fds[i], F_DUPFD_CLOEXEC, first);
	close_range(0, first - 1, 0);
	for (int fd = first, most = MAX(MAX(shared, ask), MAX(answer, s->dir)); fd <= most; fd++)
		if (fd != shared && fd != ask && fd != answer && fd != s->dir)
			close(fd);
	jail_drop_privileges();
	/* Nothing to read: the machine is gone. */
	if (read(ask, &word, 1) != 1)
		_exit(0);
	word = (u8)write_store(s, shared);
	_exit(write(answer, &word, 1) != 1);
}

void bt_store_fork_writer(struct bt_store *s, int shared)
{
	int ask[2], answer[2];
	pid_t pid;

	if (s->dir < 0 || pipe2(ask, O_CLOEXEC))
		return;
	if (pipe2(answer, O_CLOEXEC)) {
		close(ask[0]);
		close(ask[1]);
		return;
	}
	pid = fork();
	if (!pid)
		writer(s, shared, ask[0], answer[1]);
	close(ask[0]);
	close(answer[1]);
	s->writer = ask[1];
	s->answer = answer[0];
	s->pid = pid;
}

void bt_store_save(struct bt_store *s, bool worth, char note_to[STORE_NOTE_MAX])
{
	u8 word = 1;

	if (s->writer < 0 || s->pid <= 0)
		return;
	if (worth && write(s->writer, &word, 1) == 1 && read(s->answer, &word, 1) == 1 && word)
		note(note_to, "--translation-cache: the translations of this run could not be kept: %s", strerror(word));
	close(s->writer);
	s->writer = -1;
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

void bt_store_forget(struct bt_store *s)
{
	if (s->head)
		munmap((void *)(uintptr_t)s->head, s->size);
	if (s->file >= 0)
		close(s->file);
	s->head = NULL;
	s->file = -1;
}

void bt_store_close(struct bt_store *s)
{
	char none[STORE_NOTE_MAX];

	bt_store_save(s, false, none);
	if (s->answer >= 0)
		close(s->answer);
	bt_store_forget(s);
	if (s->dir >= 0)
		close(s->dir);
	*s = (struct bt_store){ .dir = -1, .file = -1, .writer = -1, .answer = -1 };
}
