/* SPDX-License-Identifier: MIT
 * Layers from archives: what good ones become, and that damaged ones end with an error and nothing outside.
 *
 * WITH: image/tar.c image/blob.c image/unpack.c image/merge.c base/util.c base/err.c
 * LIBS: -lzstd -lz -lnettle */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>

#include "image/tar.h"
#include "image/unpack.h"

static int number;
static bool all_ok = true;

static void ok(bool good, const char *name)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++number, name);
	all_ok &= good;
}

static char base[] = "/tmp/test-image-XXXXXX";
static int base_fd;

/* An archive that grows. */
static u8 tape[1 << 20];
static size_t tape_n;

static void entry(char type, const char *name, const char *link, const char *data, size_t n, unsigned mode)
{
	u8 *h = tape + tape_n;
	unsigned sum = 0;
	size_t i;

	memset(h, 0, 512);
	snprintf((char *)h, 100, "%s", name);
	sprintf((char *)h + 100, "%07o", mode);
	sprintf((char *)h + 108, "%07o", (unsigned)geteuid());
	sprintf((char *)h + 116, "%07o", (unsigned)getegid());
	sprintf((char *)h + 124, "%011zo", n);
	sprintf((char *)h + 136, "%011o", 1000000000);
	h[156] = (u8)type;
	snprintf((char *)h + 157, 100, "%s", link ? link : "");
	memcpy(h + 257, "ustar\00000", 8);
	memset(h + 148, ' ', 8);
	for (i = 0; i < 512; i++)
		sum += h[i];
	sprintf((char *)h + 148, "%06o", sum);
	memcpy(h + 512, data, n);
	memset(h + 512 + n, 0, ALIGN_UP(n, 512) - n);
	tape_n += 512 + ALIGN_UP(n, 512);
}

static void file(const char *name, const char *text)
{
	entry('0', name, NULL, text, strlen(text), 0640);
}

static int to_memfd(const void *data, size_t n)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);

	return fd_write_all(fd, data, n) ? -1 : fd;
}

/* Unpacks `data` into BASE/NAME; the result of unpacking. */
static int unpack(const char *name, const void *data, size_t n, u64 limit, struct text *list, struct err *e)
{
	int fd = to_memfd(data, n), dir, r;
	struct blob *b = NULL;
	u64 skipped;

	tree_remove(base_fd, name);
	mkdirat(base_fd, name, 0755);
	dir = openat(base_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = blob_open(&b, fd, 0, n, limit, e);
	if (!r)
		r = layer_unpack(dir, b, !geteuid(), list, &skipped, e);
	if (!r)
		r = blob_finish(b, NULL, NULL, e);
	blob_close(b);
	close(dir);
	close(fd);
	return r;
}

static bool is(const char *path, const char *text)
{
	_cleanup_free_ char *got = NULL;

	return !file_read_at(base_fd, path, 1 << 20, &got, NULL) && !strcmp(got, text);
}

static void test_good(void)
{
	_cleanup_text_ struct text list = { 0 };
	struct err e = { 0 };
	struct stat st;
	int r;

	tape_n = 0;
	entry('5', "./", NULL, "", 0, 0711);
	entry('x', "pax", NULL, "30 mtime=1234567890.123456789\n", 30, 0644);
	file("./a/b/file", "one");
	file("a/b/file", "two"); /* the later one wins */
	entry('5', "a/", NULL, "", 0, 0500);
	entry('1', "link", "./a/b/file", "", 0, 0);
	entry('2', "sym", "../../etc/passwd", "", 0, 0777);
	entry('L', "././@LongLink", NULL, "long/name\0", 10, 0);
	file("short", "three");
	file(".wh.gone", "");
	entry('0', "d/.wh..wh..opq", NULL, "", 0, 0);
	r = unpack("good", tape, tape_n, 1 << 20, &list, &e);
	ok(!r, "a good archive unpacks");
	if (r)
		printf("# %s\n", e.text);
	ok(is("good/a/b/file", "two") && is("good/link", "two") && is("good/long/name", "three"), "its files");
	ok(!fstatat(base_fd, "good/a", &st, 0) && (st.st_mode & 07777) == (geteuid() ? 0700 : 0500) &&
	   st.st_mtime == 1000000000, "a directory's mode and time are set after its files");
	ok(!fstatat(base_fd, "good/a/b/file", &st, 0) && st.st_nlink == 2 && st.st_mode == (S_IFREG | 0640), "its links and modes");
	ok(list.text && list.length > 20 && !memcmp(list.text, "e\0", 2) && memmem(list.text, list.length, "wgone", 6) &&
	   memmem(list.text, list.length, "od", 3) && memmem(list.text, list.length, "ia", 3) &&
	   memmem(list.text, list.length, "ea", 3), "its list");
}

/* Merges layers; the one on top may replace files by directories and the reverse. */
static void test_merge(void)
{
	_cleanup_text_ struct text one = { 0 }, two = { 0 };
	struct err e = { 0 };
	int tree, a, b, r;

	tape_n = 0;
	file("becomes-dir", "x");
	file("dir/gone", "x");
	file("dir/stays", "x");
	entry('2', "lib", "usr/lib", "", 0, 0777);
	file("usr/lib/low", "low");
	file("becomes-file/x/y", "deep");
	r = unpack("one", tape, tape_n, 1 << 20, &one, &e);
	tape_n = 0;
	file("becomes-dir/in", "new");
	file("becomes-file", "new");
	file("dir/.wh.gone", "");
	file("lib/high", "high");
	file("dir/new", "new");
	r = r ? r : unpack("two", tape, tape_n, 1 << 20, &two, &e);
	mkdirat(base_fd, "tree", 0755);
	tree = openat(base_fd, "tree", O_RDONLY | O_DIRECTORY);
	a = openat(base_fd, "one", O_RDONLY | O_DIRECTORY);
	b = openat(base_fd, "two", O_RDONLY | O_DIRECTORY);
	r = r ? r : layer_merge(tree, a, one.text, one.length, !geteuid(), &e);
	r = r ? r : layer_merge(tree, b, two.text, two.length, !geteuid(), &e);
	ok(!r, "layers merge");
	if (r)
		printf("# %s\n", e.text);
	ok(is("tree/becomes-dir/in", "new") && is("tree/becomes-file", "new") && is("tree/dir/new", "new") &&
	   is("tree/dir/stays", "x") && faccessat(base_fd, "tree/dir/gone", F_OK, 0) && is("tree/usr/lib/high", "high") &&
	   is("tree/lib/low", "low"), "the upper layer is on top");
	ok(is("one/dir/gone", "x") && is("one/becomes-dir", "x") && is("one/becomes-file/x/y", "deep") &&
	   faccessat(base_fd, "one/usr/lib/high", F_OK, 0), "the layers are as they were");
	close(tree);
	close(a);
	close(b);
}

static void refuse(const char *what, const char *pattern)
{
	_cleanup_text_ struct text list = { 0 };
	struct err e = { 0 };
	int r = unpack("bad", tape, tape_n, 1 << 18, &list, &e);
	char name[200];

	snprintf(name, sizeof name, "refused: %s", what);
	ok(r < 0 && strstr(e.text, pattern), name);
	if (!(r < 0 && strstr(e.text, pattern)))
		printf("# %d %s\n", r, e.text);
	tape_n = 0;
}

static void test_bad(void)
{
	static char big[1 << 19];

	tape_n = 0;
	entry('x', "pax", NULL, "9999 path=a\n", 12, 0);
	refuse("a record longer than its header", "wrong record");
	entry('x', "pax", NULL, "5 a=b\n", 6, 0);
	refuse("a record with a wrong length", "wrong record");
	entry('x', "pax", NULL, "12 path=a\0b\n", 12, 0);
	file("f", "");
	refuse("a path with a NUL", "NUL");
	entry('x', "pax", NULL, "12 size=-1x\n", 12, 0);
	refuse("a size that is no number", "size is no number");
	entry('x', "pax", NULL, "28 size=9223372036854775807\n", 28, 0);
	file("f", "");
	refuse("a size beyond all files", "wrong size");
	entry('x', "pax", NULL, "14 path=a/../b", 14, 0);
	refuse("a record that does not end", "wrong record");
	file("f", "");
	memset(tape + 124, 0xff, 12);
	refuse("a checksum that is wrong", "checksum");
	entry('L', "././@LongLink", NULL, big, 8192, 0);
	refuse("a long name that is too long", "too long");
	entry('0', "big", NULL, big, sizeof big, 0644);
	refuse("more bytes than the limit", "unpacks to more");
	entry('3', "", NULL, "", 0, 0);
	refuse("an entry without a name", "no name");
	entry('Z', "odd", NULL, "", 0, 0);
	refuse("an unknown type", "unknown type");
	entry('2', "l", "", "", 0, 0777);
	refuse("a link to nothing", "link to nothing");
	entry('1', "l", "l", "", 0, 0777);
	refuse("a hard link to itself", "to itself");
	entry('5', "d", NULL, "", 0, 0755);
	entry('1', "l", "d", "", 0, 0777);
	refuse("a hard link to a directory", "to a directory");
	file("..", "x");
	refuse("the parent", "climbs");
	file("/", "x");
	entry('2', "./", "x", "", 0, 0777);
	refuse("a root that is a link", "root is not a directory");
}

static u64 seed = 88172645463325252ull;
static u64 next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Damaged archives, plain and packed: whatever comes of it, there is a verdict, and nothing outside. */
static void test_fuzz(void)
{
	static u8 copy[1 << 20], packed[1 << 20];
	uLongf packed_n;
	size_t n, i, round, failed = 0, rounds = getenv("IMAGE_FUZZ") ? strtoul(getenv("IMAGE_FUZZ"), NULL, 10) : 800;

	tape_n = 0;
	entry('5', "./d", NULL, "", 0, 0755);
	entry('x', "pax", NULL, "28 SCHILY.xattr.trusted.a=v\n21 mtime=12345.67890\n", 49, 0);
	file("d/file", "contents of a file");
	entry('L', "././@LongLink", NULL, "d/long/name\0", 12, 0);
	file("short", "three");
	entry('2', "d/s", "../..", "", 0, 0777);
	entry('1', "h", "d/file", "", 0, 0);
	file("d/.wh.gone", "");
	file("e/.wh..wh..opq", "");
	entry('6', "pipe", NULL, "", 0, 0600);
	memset(tape + tape_n, 0, 1024);
	tape_n += 1024;
	for (round = 0; round < rounds; round++) {
		_cleanup_text_ struct text list = { 0 };
		struct err e = { 0 };
		const u8 *data = copy;
		int r;

		n = tape_n;
		memcpy(copy, tape, n);
		for (i = next_random() % 4 + 1; i; i--) {
			size_t header = next_random() % (n / 512) * 512, at = header + next_random() % 512;
			unsigned sum = 0, k;

			copy[at] = next_random() % 3 ? (u8)next_random() : (u8)"0123456789/.\0"[next_random() % 13];
			memset(copy + header + 148, ' ', 8); /* a right checksum, or nothing would be reached */
			for (k = 0; k < 512; k++)
				sum += copy[header + k];
			if (memcmp(copy + header + 257, "ustar", 5) == 0)
				sprintf((char *)copy + header + 148, "%06o", sum);
		}
		if (round % 5 == 4)
			n = next_random() % n;
		if (round % 3 == 2) {
			z_stream z = { 0 };

			deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
			z.next_in = copy;
			z.avail_in = (uInt)n;
			z.next_out = packed;
			z.avail_out = sizeof packed;
			deflate(&z, Z_FINISH);
			packed_n = z.total_out;
			deflateEnd(&z);
			if (round % 2)
				packed[next_random() % packed_n] ^= (u8)(1 << next_random() % 8);
			data = packed;
			n = packed_n;
		}
		r = unpack("fuzz", data, n, 1 << 18, &list, &e);
		failed += r < 0;
		if (r > 0 || (r < 0) != (e.code < 0)) {
			ok(false, "every archive gets a verdict with a reason");
			return;
		}
	}
	printf("# %zu of %zu damaged archives were refused\n", failed, rounds);
	ok(failed > rounds / 4 && failed < rounds, "every archive gets a verdict with a reason");
	ok(is("canary", "canary"), "nothing was written outside");
}

int main(void)
{
	umask(0);
	if (!mkdtemp(base) || (base_fd = open(base, O_RDONLY | O_DIRECTORY)) < 0)
		return 1;
	file_replace_at(base_fd, "canary", "canary", 6, 0644);
	test_good();
	test_merge();
	test_bad();
	test_fuzz();
	tree_remove(AT_FDCWD, base);
	printf("1..%d\n", number);
	return !all_ok;
}
