/* SPDX-License-Identifier: MIT
 * Disk images: random reads, writes, discards and zeros on images that qemu-img made, compared with a model in
 * memory; then what qemu-img itself reads in them, and whether its check finds them sound.
 *
 * WITH: base/err.c device/disk.c device/virtqueue.c device/dma.c device/qcow2.c device/qcow2_io.c
 * WITH: device/qcow2_table.c device/qcow2_refcount.c device/qcow2_compress.c device/qcow2_log.c
 * LIBS: -lz -lzstd -lpthread */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/disk.h"
#include "device/qcow2.h"

#define ROUNDS 400
#define SECTORS_MAX 1500

static char dir[256];
static u64 seed = 88172645463325252ull;
static int failures;

static u64 rnd(u64 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % n;
}

static void verdict(bool good, const char *name, const char *why)
{
	printf("%sok - %s%s%s\n", good ? "" : "not ", name, good ? "" : ": ", good ? "" : why);
	failures += !good;
}

__attribute__((format(printf, 1, 2))) static int shell(const char *format, ...)
{
	char command[4096];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof command, format, ap);
	va_end(ap);
	return system(command);
}

/* How an image is made: a shell line in the test's directory, in which SIZE is its size; it leaves `x`. */
static const struct recipe {
	const char *name, *make;
	u64 size;
	bool backing; /* discarded clusters may show what lies behind */
} recipes[] = {
	{ "raw", "truncate -s SIZE x", 24 << 20, false },
	{ "qcow2", "qemu-img create -q -f qcow2 x SIZE", 24 << 20, false },
	{ "qcow2 version 2", "qemu-img create -q -f qcow2 -o compat=0.10 x SIZE", 24 << 20, false },
	{ "clusters of 512 bytes", "qemu-img create -q -f qcow2 -o cluster_size=512 x SIZE", 12 << 20, false },
	{ "clusters of 4 KiB, counts of 1 bit", "qemu-img create -q -f qcow2 -o cluster_size=4096,refcount_bits=1 x SIZE", 24 << 20, false },
	{ "clusters of 1 KiB, counts of 64 bits", "qemu-img create -q -f qcow2 -o cluster_size=1024,refcount_bits=64 x SIZE", 12 << 20, false },
	{ "clusters of 2 MiB, counts of 4 bits", "qemu-img create -q -f qcow2 -o cluster_size=2M,refcount_bits=4 x SIZE", 24 << 20, false },
	{ "lazy counts", "qemu-img create -q -f qcow2 -o lazy_refcounts=on x SIZE", 24 << 20, false },
	{ "preallocated", "qemu-img create -q -f qcow2 -o preallocation=metadata x SIZE", 24 << 20, false },
	{ "an odd size", "qemu-img create -q -f qcow2 x SIZE", (24 << 20) + 512 * 77, false },
	{ "compressed", "head -c SIZE /dev/urandom | tr '\\000-\\177' a >r; qemu-img convert -q -c -O qcow2 r x", 24 << 20, false },
	{ "compressed by zstd", "head -c SIZE /dev/urandom | tr '\\000-\\177' a >r; qemu-img convert -q -c -O qcow2 -o compression_type=zstd r x", 24 << 20, false },
	{ "a raw backing file", "head -c 10000000 /dev/urandom >b; qemu-img create -q -f qcow2 -b b -F raw x SIZE", 24 << 20, true },
	{ "a chain of four", "head -c 10000000 /dev/urandom >b; qemu-img create -q -f qcow2 -b b -F raw c SIZE && "
	  "qemu-io -c 'write -P 7 1M 3M' c >/dev/null && qemu-img create -q -f qcow2 -o cluster_size=4096 -b c -F qcow2 d SIZE && "
	  "qemu-io -c 'write -P 9 3M 99k' d >/dev/null && qemu-img create -q -f qcow2 -b d -F qcow2 x SIZE", 24 << 20, true },
	{ "version 2 with a backing file", "head -c 10000000 /dev/urandom >b; qemu-img create -q -f qcow2 -o compat=0.10 -b b -F raw x SIZE", 24 << 20, true },
	{ "snapshots", "qemu-img create -q -f qcow2 x SIZE && qemu-io -c 'write -P 3 0 9M' x >/dev/null && qemu-img snapshot -c s1 x && "
	  "qemu-io -c 'write -P 4 2M 5M' x >/dev/null && qemu-img snapshot -c s2 x", 24 << 20, false },
	{ "a small table that must grow", "qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=64 x SIZE", 40 << 20, false },
};

static void make(const struct recipe *r, char *line, size_t room)
{
	const char *at = strstr(r->make, "SIZE"), *from = r->make;
	size_t n = 0;

	for (; at; from = at + 4, at = strstr(from, "SIZE"))
		n += (size_t)snprintf(line + n, room - n, "%.*s%llu", (int)(at - from), from, (unsigned long long)r->size);
	snprintf(line + n, room - n, "%s", from);
}

/* Whole pages, as most requests of a guest are. */
static u32 scatter_pages(u8 *buffer, u64 size, struct iovec *iov)
{
	u32 n = 0;

	for (; size > 4096 && n < 15; n++) {
		u64 part = ALIGN_UP(1 + rnd(size - 4096), 4096ull);

		iov[n] = (struct iovec){ buffer, part };
		buffer += part;
		size -= part;
	}
	iov[n++] = (struct iovec){ buffer, size };
	return n;
}

/* Parts of random lengths over a buffer, as a guest's requests have. */
static u32 scatter(u8 *buffer, u64 size, struct iovec *iov)
{
	u32 n = 0;

	while (size) {
		u64 part = n == 15 ? size : 1 + rnd(size);

		iov[n++] = (struct iovec){ buffer, part };
		buffer += part;
		size -= part;
	}
	return n;
}

/* Sectors that an operation is about to change; nobody can tell what they are if it is not finished. */
struct common;
static struct common *under_way;
static void announce(u64 first, u64 n);

/* One random operation on image and model; false where the image says something else. */
static bool step(struct disk *disk, u8 *model, u8 *known, bool backing, char *why, size_t room)
{
	static u8 buffer[SECTORS_MAX * 512] __attribute__((aligned(4096)));
	u64 sectors = disk->size / 512, first = rnd(sectors), most = rnd(8) ? 40 : SECTORS_MAX, n = 1 + rnd(MIN(most, sectors - first));
	bool pages = first % 8 + n >= 16 && rnd(2);
	struct iovec iov[16];
	u64 at, size, what;
	int rc = 0;

	if (pages) {
		n = (first + n) / 8 * 8 - ALIGN_UP(first, 8ull);
		first = ALIGN_UP(first, 8ull);
	}
	at = first * 512, size = n * 512, what = rnd(20);

	(void)backing;
	announce(first, what < 9 || what >= 16 ? n : 0);
	if (what < 9) {
		for (u64 i = 0; i < size; i++)
			buffer[i] = (u8)(seed >> (i & 31) ^ i);
		rc = disk_write(disk, iov, pages ? scatter_pages(buffer, size, iov) : scatter(buffer, size, iov), at, size);
		memcpy(model + at, buffer, size);
		memset(known + first, 1, n);
	} else if (what < 16) {
		rc = disk_read(disk, iov, scatter(buffer, size, iov), at, size);
		for (u64 s = 0; !rc && s < n; s++) {
			if (known[first + s] && memcmp(model + at + s * 512, buffer + s * 512, 512)) {
				snprintf(why, room, "sector %llu read wrong", (unsigned long long)(first + s));
				return false;
			}
		}
	} else if (what == 16) {
		rc = disk_discard(disk, at, size);
		memset(known + first, 0, n);
	} else if (what < 19) {
		rc = disk_zero(disk, at, size, rnd(2));
		memset(model + at, 0, size);
		memset(known + first, 1, n);
	} else {
		rc = disk_flush(disk);
	}
	announce(0, 0);
	if (rc)
		snprintf(why, room, "operation %d at %llu + %llu: %s", (int)what, (unsigned long long)at, (unsigned long long)size, strerror(-rc));
	return !rc;
}

static u8 *load(const char *name, u64 size)
{
	u8 *bytes = calloc(1, size + 1);
	int fd = open(name, O_RDONLY);

	if (fd < 0 || file_read(fd, bytes, size, 0))
		exit(1);
	close(fd);
	return bytes;
}

/* What qemu-img finds in the closed image. */
static bool qemu_agrees(const struct disk *disk, const u8 *model, const u8 *known, const char *format, char *why, size_t room)
{
	u64 sectors = disk->size / 512;
	u8 *seen;
	bool same = true;

	if (strcmp(format, "raw") && shell("qemu-img check -q -f qcow2 x >check 2>&1")) {
		snprintf(why, room, "qemu-img check is not content");
		shell("sed 's/^/# /' check | head -n 5");
		return false;
	}
	if (shell("qemu-img convert -f %s -O raw x out", format)) {
		snprintf(why, room, "qemu-img cannot read it");
		return false;
	}
	seen = load("out", disk->size);
	for (u64 s = 0; same && s < sectors; s++) {
		same = !known[s] || !memcmp(model + s * 512, seen + s * 512, 512);
		if (!same)
			snprintf(why, room, "qemu-img reads sector %llu otherwise", (unsigned long long)s);
	}
	free(seen);
	return same;
}

static bool run_recipe(const struct recipe *r, char *why, size_t room)
{
	const char *format = strstr(r->make, "qcow2") ? "qcow2" : "raw";
	char line[2048];
	struct disk *disk = NULL;
	struct err e = { 0 };
	u8 *model, *known;
	bool good = true;

	make(r, line, sizeof line);
	if (shell("rm -f x b c d r out; { %s; } 2>&1", line) || shell("qemu-img convert -f %s -O raw x out", format)) {
		snprintf(why, room, "the image cannot be made");
		return false;
	}
	model = load("out", r->size);
	known = malloc(r->size / 512);
	memset(known, 1, r->size / 512);
	/* Opened anew a few times: what was closed is all there. */
	for (int again = 0; good && again < 3; again++) {
		if (disk_open(&disk, "x", NULL, false, &e)) {
			snprintf(why, room, "%s", e.text);
			good = false;
			break;
		}
		disk->unsafe = again; /* waiting for the host takes most of the time */
		disk->dirty_space = again < 2; /* then what is freed keeps its bytes */
		if (disk->size != r->size) {
			snprintf(why, room, "its size is %llu", (unsigned long long)disk->size);
			good = false;
		}
		for (int i = 0; good && i < ROUNDS; i++)
			good = step(disk, model, known, r->backing, why, room);
		if (good && disk_flush(disk)) {
			snprintf(why, room, "flush failed");
			good = false;
		}
		struct disk shape = *disk;

		disk_close(disk);
		if (good)
			good = qemu_agrees(&shape, model, known, format, why, room);
	}
	/* The snapshots are as they were. */
	if (good && strstr(r->make, "snapshot"))
		good = !shell("qemu-img convert -l s1 -O raw x out && qemu-io -f raw -r -c 'read -P 3 0 9M' out | grep -q 'read 9437184/9437184' && "
			      "! qemu-io -f raw -r -c 'read -P 3 0 9M' out | grep -q failed") ||
		       (snprintf(why, room, "a snapshot changed"), false);
	free(model);
	free(known);
	return good;
}

/* ---- a writer that is killed, and its successor ---- */

#define LIVES 8
struct common { _Atomic u64 first, n; char why[200]; };

static void announce(u64 first, u64 n)
{
	if (!under_way)
		return;
	/* Killed in between, nothing was changed yet, or all was. */
	under_way->n = 0;
	under_way->first = first;
	under_way->n = n;
}

/* A life: works on until it is killed; the last one looks at everything and closes the image. */
static _Noreturn void live(struct disk *disk, u32 life, bool last, struct common *c, u8 *model, u8 *known)
{
	struct err e = { 0 };
	u64 sectors = disk->size / 512;
	u8 sector[512];
	struct iovec v = { sector, 512 };

	seed += life * 7919;
	if (life && disk->format->recover && disk->format->recover(disk, &e)) {
		snprintf(c->why, sizeof c->why, "life %u: %.150s", life, e.text);
		_exit(1);
	}
	for (u64 s = 0; s < sectors && (last || life % 4 == 3); s++) {
		if (known[s] && (disk_read(disk, &v, 1, s * 512, 512) || memcmp(model + s * 512, sector, 512))) {
			snprintf(c->why, sizeof c->why, "life %u: sector %llu read wrong", life, (unsigned long long)s);
			_exit(1);
		}
	}
	if (last) {
		if (disk_flush(disk))
			_exit(1);
		disk_close(disk);
		_exit(0);
	}
	for (;;)
		if (!step(disk, model, known, false, c->why, sizeof c->why))
			_exit(1);
}

static bool run_deaths(const struct recipe *r, char *why, size_t room)
{
	struct common *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	u8 *model = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *first;
	u8 *known = mmap(NULL, r->size / 512, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *format = strstr(r->make, "qcow2") ? "qcow2" : "raw";
	struct disk *disk = NULL;
	struct err e = { 0 };
	char line[2048];
	bool good = true;
	int status = 0;

	make(r, line, sizeof line);
	if (shell("rm -f x b c d r out; { %s; } 2>&1", line) || shell("qemu-img convert -f %s -O raw x out", format) ||
	    disk_open(&disk, "x", NULL, false, &e)) {
		snprintf(why, room, "the image cannot be made: %.500s", e.text);
		return false;
	}
	first = load("out", r->size);
	memcpy(model, first, r->size);
	free(first);
	memset(known, 1, r->size / 512);
	disk->unsafe = rnd(2);
	under_way = c;
	for (u32 life = 0; good && life <= LIVES; life++) {
		pid_t pid = fork();

		if (pid < 0)
			exit(1); /* kill(-1) would be for everybody */
		if (!pid)
			live(disk, life, life == LIVES, c, model, known);
		if (life < LIVES) {
			usleep((useconds_t)rnd(life % 3 ? 60000 : 3000)); /* the moment is any */
			kill(pid, SIGKILL);
		}
		good = waitpid(pid, &status, 0) == pid && (WIFSIGNALED(status) || (life == LIVES && !WEXITSTATUS(status)));
		memset(known + c->first, 0, c->n);
	}
	under_way = NULL;
	close(disk->fd); /* and with it the lock */
	disk->fd = -1;   /* what is in memory here is long out of date */
	if (!good)
		snprintf(why, room, "%s, status %d", c->why, status);
	else
		good = qemu_agrees(disk, model, known, format, why, room);
	disk_close(disk);
	munmap(model, r->size);
	munmap(known, r->size / 512);
	munmap(c, sizeof *c);
	return good;
}

/* Images that must be refused, with a word of the reason. */
static const struct { const char *name, *make, *word; } refused[] = {
	{ "a missing file", "true", "No such file" },
	{ "an empty file", ": >x", "the file is empty" },
	{ "a directory", "mkdir x", "directory" },
	{ "a fifo", "mkfifo x", "neither a file" },
	{ "an unknown feature, by its name", "qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k x 8M", "\"extended L2 entries\"" },
	{ "an external data file", "qemu-img create -q -f qcow2 -o data_file=d x 8M", "\"external data file\"" },
	{ "a corrupt image", "qemu-img create -q -f qcow2 x 8M; printf '\\002' | dd of=x bs=1 seek=79 conv=notrunc 2>/dev/null", "marked corrupt" },
	{ "too small clusters", "qemu-img create -q -f qcow2 x 8M; printf '\\001' | dd of=x bs=1 seek=23 conv=notrunc 2>/dev/null", "cluster_bits" },
	{ "an L1 table that is too small", "qemu-img create -q -f qcow2 x 8G; printf '\\001' | dd of=x bs=1 seek=39 conv=notrunc 2>/dev/null", "l1_size" },
	{ "an L1 table in the header", "qemu-img create -q -f qcow2 x 8M; printf '\\000\\000\\000\\000' | dd of=x bs=1 seek=44 conv=notrunc 2>/dev/null", "l1_table_offset" },
	{ "an encrypted image", "qemu-img create -q -f qcow2 x 8M; printf '\\001' | dd of=x bs=1 seek=35 conv=notrunc 2>/dev/null", "encrypted" },
	{ "a loop of backing files", "qemu-img create -q -f qcow2 x 8M; qemu-img rebase -u -b x -F qcow2 x", "in use" },
	{ "a missing backing file", "qemu-img create -q -f qcow2 -u -b gone -F raw x 8M", "backing file of x: gone" },
};

static void test_refused(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct disk *disk = NULL;
		struct err e = { 0 };
		int rc;

		if (shell("rm -rf x d; { %s; } >/dev/null 2>&1", refused[i].make) < 0)
			exit(1);
		rc = disk_open(&disk, "x", NULL, false, &e);
		verdict(rc && strstr(e.text, refused[i].word), refused[i].name, rc ? e.text : "it was opened");
		if (!rc)
			disk_close(disk);
	}
}

/* Every byte of the header and tables random, one after another: no crash, no endless loop. */
static void test_garbage(void)
{
	struct disk *disk;
	u64 opened = 0;

	for (int i = 0; i < 300; i++) {
		struct err e = { 0 };
		u8 bytes[4], buffer[4096];
		struct iovec v = { buffer, sizeof buffer };
		int fd;

		if (i % 20 == 0 && shell("rm -f x; qemu-img create -q -f qcow2 -o cluster_size=4096 x 4M && qemu-io -c 'write 0 2M' x >/dev/null"))
			exit(1);
		fd = open("x", O_RDWR);
		for (int k = 0; k < 4; k++)
			bytes[k] = (u8)rnd(256);
		if (fd < 0 || file_write(fd, bytes, 1 + rnd(4), rnd(2) ? 8 + rnd(100) : rnd(6 * 4096)))
			exit(1);
		close(fd);
		if (disk_open(&disk, "x", "qcow2", false, &e))
			continue;
		opened++;
		for (int k = 0; k < 20 && disk->size >= sizeof buffer; k++) {
			u64 at = rnd(disk->size / 512 - 7) * 512;

			if (rnd(2))
				disk_read(disk, &v, 1, at, sizeof buffer);
			else
				disk_write(disk, &v, 1, at, sizeof buffer);
		}
		disk_discard(disk, 0, disk->size);
		disk_flush(disk);
		disk_close(disk);
	}
	verdict(opened > 20, "damaged images do no harm", "none was opened");
}

static void test_dirty(void)
{
	struct disk *disk = NULL;
	struct err e = { 0 };
	int rc;

	/* A lazy image that QEMU did not close. */
	rc = shell("rm -f x; qemu-img create -q -f qcow2 -o lazy_refcounts=on x 8M && "
		   "qemu-io -c 'write -P 5 0 1M' -c 'abort' x >/dev/null 2>&1; qemu-img check x 2>&1 | grep -q error");
	verdict(!rc, "an image that was not closed has wrong counts", "it has not");
	rc = disk_open(&disk, "x", NULL, false, &e);
	disk_close(rc ? NULL : disk);
	verdict(!rc && !shell("qemu-img check -q x && qemu-io -c 'read -P 5 0 1M' x | grep -qv failed"), "it is repaired", e.text);
}

static void test_lock(void)
{
	struct disk *a = NULL, *b = NULL, *c = NULL;
	struct err e = { 0 };

	if (shell("rm -f x; qemu-img create -q -f qcow2 x 8M"))
		exit(1);
	verdict(!disk_open(&a, "x", NULL, false, &e) && disk_open(&b, "x", NULL, false, &e) == -EBUSY &&
		disk_open(&b, "x", NULL, true, &e) == -EBUSY, "a writer is alone", e.text);
	verdict(shell("qemu-io -c 'write 0 512' x >/dev/null 2>&1"), "QEMU is kept out", "it wrote");
	disk_close(a);
	e.code = 0;
	verdict(!disk_open(&b, "x", NULL, true, &e) && !disk_open(&c, "x", NULL, true, &e), "readers share", e.text);
	disk_close(b);
	disk_close(c);
}

int main(void)
{
	const char *tmp = getenv("TEST_TMP");

	setvbuf(stdout, NULL, _IOLBF, 0);

	if (system("command -v qemu-img qemu-io >/dev/null")) {
		puts("# SKIP qemu-utils is not installed");
		return 0;
	}
	snprintf(dir, sizeof dir, "%s/disk.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir) || chdir(dir))
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(recipes); i++) {
		char why[ERR_TEXT_MAX] = "";

		verdict(run_recipe(&recipes[i], why, sizeof why), recipes[i].name, why);
	}
	for (size_t i = 0; i < ARRAY_SIZE(recipes); i++) {
		char why[ERR_TEXT_MAX] = "", name[128];

		snprintf(name, sizeof name, "writers that are killed: %s", recipes[i].name);
		verdict(run_deaths(&recipes[i], why, sizeof why), name, why);
	}
	test_refused();
	test_lock();
	test_dirty();
	test_garbage();
	if (chdir("/") || shell("rm -rf %s", dir))
		return 1;
	return failures != 0;
}
