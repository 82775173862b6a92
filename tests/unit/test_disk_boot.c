/* SPDX-License-Identifier: MIT
 * Finding what to boot on a disk: partition tables, GRUB configurations, file systems, and damaged ones.
 *
 * WITH: base/err.c image/disk_boot.c image/grub_config.c image/partition.c
 * LIBS: -lext2fs -lcom_err
 * NOSAN */

#include "image/disk_boot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/partition.h"

static int failures;

static void result(bool good, const char *name, const char *detail)
{
	if (good)
		printf("ok - %s\n", name);
	else
		printf("not ok - %s: %s\n", name, detail && *detail ? detail : "wrong result");
	failures += !good;
}

struct memory { u8 *bytes; size_t size; };

static int memory_read(void *opaque, u64 offset, void *to, size_t n)
{
	const struct memory *m = opaque;

	if (offset > m->size || n > m->size - offset)
		return -EIO;
	memcpy(to, m->bytes + offset, n);
	return 0;
}

static struct disk_source source_of(struct memory *m)
{
	return (struct disk_source){ .read = memory_read, .opaque = m, .size = m->size };
}

/* A configuration, and what its first entry says: kernel, initial RAM disk, options; NULL: nothing. */
static const struct { const char *name, *config, *kernel, *initrd, *options; } configs[] = {
	{ "plain", "menuentry 'a' {\n linux /vmlinuz root=/dev/vda1 ro\n initrd /initrd.img\n}\n",
	  "/vmlinuz", "/initrd.img", "root=/dev/vda1 ro" },
	{ "first of two", "menuentry a {\n\tlinux /one a\n}\nmenuentry b {\n\tlinux /two b\n}\n", "/one", "", "a" },
	{ "submenu", "submenu 'x' {\nmenuentry \"b\" --class d {\n\tlinux\t/k \\\n}\n}", "/k", "", "" },
	{ "variables left out", "menuentry a {\nlinux /k root=UUID=12 $vt_handoff ${x} quiet\n}", "/k", "", "root=UUID=12 quiet" },
	{ "quotes", "menuentry a {\nlinuxefi '/my kernel' \"a=b c\" d\\ e\ninitrdefi \"/i\"\n}", "/my kernel", "/i", "a=b c d e" },
	{ "comment", "# menuentry x {\n#linux /no\nmenuentry a {\n linux /k # root=/dev/x\n}", "/k", "", "" },
	{ "kernel outside of an entry", "linux /k\n", NULL, NULL, NULL },
	{ "empty", "", NULL, NULL, NULL },
	{ "entry without a kernel", "menuentry a {\nfwsetup\n}\n", NULL, NULL, NULL },
	{ "entry with a kernel after one without", "menuentry a {\nfwsetup\n}\nmenuentry b {\nlinux /k\n}\n", "/k", "", "" },
	{ "linux without a path", "menuentry a {\nlinux\n}\n", NULL, NULL, NULL },
};

static void test_grub(void)
{
	char kernel[DISK_BOOT_LINE_MAX], initrd[DISK_BOOT_LINE_MAX], options[DISK_BOOT_LINE_MAX], name[100];
	char *longest = malloc(10000);

	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		int rc = grub_first_entry(configs[i].config, kernel, initrd, options);

		snprintf(name, sizeof name, "configuration: %s", configs[i].name);
		result(configs[i].kernel ? !rc && !strcmp(kernel, configs[i].kernel) && !strcmp(initrd, configs[i].initrd) &&
		       !strcmp(options, configs[i].options) : rc == -ENOENT, name, rc ? "refused" : options);
	}
	memset(longest, 'x', 9999);
	memcpy(longest, "menuentry a {\nlinux /k ", 23);
	longest[9999] = 0;
	result(!grub_first_entry(longest, kernel, initrd, options) && strlen(options) < DISK_BOOT_LINE_MAX,
	       "configuration: an option that is too long", options);
	free(longest);
}

static void put(u8 *at, u64 v, int n)
{
	memcpy(at, &v, (size_t)n);
}

static void test_partitions(void)
{
	struct partition list[PARTITIONS_MAX];
	struct memory m = { calloc(1, 1 << 20), 1 << 20 };
	struct disk_source disk = source_of(&m);
	u8 *entry = m.bytes + 446;

	result(partitions_read(&disk, list) == 1 && !list[0].start && list[0].size == m.size, "no table", NULL);
	put(m.bytes + 510, 0xaa55, 2);
	entry[4] = 0x83, put(entry + 8, 8, 4), put(entry + 12, 100, 4);
	entry[16 + 4] = 0x83, put(entry + 16 + 8, 2000, 4), put(entry + 16 + 12, 100, 4); /* reaches out */
	entry[32 + 4] = 5, put(entry + 32 + 8, 200, 4), put(entry + 32 + 12, 100, 4);
	put(m.bytes + 200 * 512 + 510, 0xaa55, 2);
	put(m.bytes + 200 * 512 + 446 + 8, 2, 4), put(m.bytes + 200 * 512 + 446 + 12, 10, 4);
	m.bytes[200 * 512 + 462 + 4] = 5; /* the next table is this one: a loop */
	result(partitions_read(&disk, list) == 64 + 1 && list[0].start == 8 * 512 && list[0].size == 100 * 512 &&
	       list[1].start == 202 * 512, "MBR with logical partitions in a loop", NULL);
	memset(entry, 0, 64);
	entry[4] = 0xee;
	memcpy(m.bytes + 512, "EFI PART", 8);
	put(m.bytes + 512 + 72, 2, 8), put(m.bytes + 512 + 80, 0xffffffff, 4), put(m.bytes + 512 + 84, 128, 4);
	m.bytes[1024] = 1, put(m.bytes + 1024 + 32, 40, 8), put(m.bytes + 1024 + 40, 49, 8);
	m.bytes[1152] = 1, put(m.bytes + 1152 + 32, 60, 8), put(m.bytes + 1152 + 40, 59, 8);
	m.bytes[1280] = 1, put(m.bytes + 1280 + 32, 60, 8), put(m.bytes + 1280 + 40, UINT64_MAX, 8);
	result(partitions_read(&disk, list) == 1 && list[0].start == 40 * 512 && list[0].size == 10 * 512, "GUID table", NULL);
	put(m.bytes + 512 + 72, UINT64_MAX, 8);
	result(partitions_read(&disk, list) == 0, "GUID table far away", NULL);
	disk.size = m.size = 100;
	result(partitions_read(&disk, list) == 0, "a tiny disk", NULL);
	free(m.bytes);
}

static void write_file(const char *directory, const char *name, const char *text)
{
	char path[4200];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f))
		abort();
}

/* An ext4 file system of 4 MiB with these commands run on its files first. */
static void make_disk(struct memory *m, const char *directory, const char *commands)
{
	char command[16384];
	FILE *f;

	snprintf(command, sizeof command, "cd %s && rm -rf root disk && mkdir root && cd root && %s && cd .. && "
		 "mke2fs -q -F -t ext4 -d root disk 4096k >/dev/null", directory, commands);
	if (system(command))
		abort();
	snprintf(command, sizeof command, "%s/disk", directory);
	f = fopen(command, "r");
	m->size = 4 << 20;
	m->bytes = realloc(m->bytes, m->size);
	if (!f || fread(m->bytes, 1, m->size, f) != m->size)
		abort();
	fclose(f);
}

static bool holds(int fd, const char *text)
{
	char got[4096] = "";
	ssize_t n = pread(fd, got, sizeof got - 1, 0);

	return n == (ssize_t)strlen(text) && !memcmp(got, text, (size_t)n);
}

#define GRUB "mkdir -p boot/grub && printf 'menuentry x {\\nlinux /boot/k-1 root=LABEL=r quiet\\ninitrd /boot/i-1\\n}\\n' >boot/grub/grub.cfg" \
	" && echo kernel1 >boot/k-1 && echo initrd1 >boot/i-1"
#define FILES "mkdir -p boot etc/kernel && echo root=/dev/vda1 ro >etc/kernel/cmdline && echo kernel2 >boot/vmlinuz-2 && " \
	"echo initrd2 >boot/initrd.img-2 && ln -s boot/vmlinuz-2 vmlinuz && ln -s boot/initrd.img-2 initrd.img"

static const struct { const char *name, *commands, *error, *kernel, *initrd, *line; } disks[] = {
	{ "GRUB", GRUB, NULL, "kernel1\n", "initrd1\n", "root=LABEL=r quiet" },
	{ "links", FILES, NULL, "kernel2\n", "initrd2\n", "root=/dev/vda1 ro" },
	{ "GRUB before links", GRUB " && " FILES, NULL, "kernel1\n", "initrd1\n", "root=LABEL=r quiet" },
	{ "/boot on its own", "mkdir grub && printf 'menuentry x {\\nlinux /k a\\n}\\n' >grub/grub.cfg && echo kernel3 >k",
	  NULL, "kernel3\n", NULL, "a" },
	{ "no kernel", "mkdir boot", "no ext4 file system with a kernel", NULL, NULL, NULL },
	{ "kernel of GRUB's is missing", GRUB " && rm boot/k-1", "no ext4 file system with a kernel", NULL, NULL, NULL },
	{ "initial RAM disk of GRUB's is missing", GRUB " && rm boot/i-1", "cannot be read", NULL, NULL, NULL },
	{ "link loop", FILES " && rm vmlinuz && ln -s vmlinuz vmlinuz", "no ext4 file system", NULL, NULL, NULL },
	{ "kernel is a directory", GRUB " && rm boot/k-1 && mkdir boot/k-1", "no ext4 file system", NULL, NULL, NULL },
	{ "kernel that is too large", GRUB " && truncate -s 1G boot/k-1", "too large", NULL, NULL, NULL },
};

static void test_disks(const char *directory)
{
	struct memory m = { 0 };
	char name[100];

	for (size_t i = 0; i < ARRAY_SIZE(disks); i++) {
		struct disk_boot boot;
		struct disk_source disk;
		struct err e = { 0 };
		int rc;

		make_disk(&m, directory, disks[i].commands);
		disk = source_of(&m);
		rc = disk_boot_find(&disk, "disk", &boot, &e);
		snprintf(name, sizeof name, "disk: %s", disks[i].name);
		result(disks[i].error ? rc < 0 && strstr(e.text, disks[i].error) :
		       !rc && holds(boot.kernel_fd, disks[i].kernel) && !strcmp(boot.command_line, disks[i].line) &&
		       (disks[i].initrd ? holds(boot.initrd_fd, disks[i].initrd) : boot.initrd_fd == -1), name, e.text);
		if (!rc)
			disk_boot_close(&boot);
	}
	free(m.bytes);
}

/* Whatever is on the disk, there is an answer in time, and one line of text. */
static void test_damage(const char *directory)
{
	unsigned int seed = (unsigned int)getpid(), found = 0, bad = 0;
	struct memory m = { 0 }, copy;

	make_disk(&m, directory, GRUB " && " FILES);
	copy = (struct memory){ malloc(m.size), m.size };
	printf("# seed %u\n", seed);
	for (int i = 0; i < 400; i++) {
		struct disk_source disk = source_of(&copy);
		struct disk_boot boot;
		struct err e = { 0 };

		memcpy(copy.bytes, m.bytes, m.size);
		for (int k = rand_r(&seed) % 200; k >= 0; k--)
			copy.bytes[(u32)rand_r(&seed) % (k % 2 ? 65536 : m.size)] = (u8)rand_r(&seed);
		if (!disk_boot_find(&disk, "disk", &boot, &e)) {
			found++;
			disk_boot_close(&boot);
		} else if (!*e.text || strchr(e.text, '\n')) {
			bad++;
		}
	}
	printf("# %u of 400 damaged disks still booted\n", found);
	result(!bad, "damaged disks get one line each", NULL);
	free(m.bytes);
	free(copy.bytes);
}

int main(void)
{
	char directory[] = "/tmp/test-disk-boot.XXXXXX", command[100];

	setvbuf(stdout, NULL, _IOLBF, 0);
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (!mkdtemp(directory))
		return 1;
	write_file(directory, "mke2fs.conf", "");
	test_grub();
	test_partitions();
	test_disks(directory);
	test_damage(directory);
	snprintf(command, sizeof command, "rm -rf %s", directory);
	return system(command) || failures;
}
