/* SPDX-License-Identifier: MIT
 * penumbra image: disks to boot machines from; a subcommand for each kind. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/commands.h"
#include "image/debian.h"
#include "image/tool.h"

struct debian_values {
	const char *suite, *mirror, *packages, *hostname, *password, *ssh_key, *setup;
	struct option_list copy;
	u64 size;
};

#define FIELD(f) offsetof(struct debian_values, f)
static const struct option_row debian_options[] = {
	{ "size", "SIZE", OPTION_SIZE, FIELD(size),
	  "size of the disk, with K, M, G or T, a plain number in MiB; what is unused takes no room", "4G", NULL },
	{ "packages", "LIST", OPTION_TEXT, FIELD(packages), "more packages, separated by commas", NULL, NULL },
	{ "suite", "NAME", OPTION_TEXT, FIELD(suite), "release of Debian", "bookworm", NULL },
	{ "mirror", "URI", OPTION_TEXT, FIELD(mirror),
	  "where packages come from; without it as the host has it where that is the same release, else Debian's own",
	  NULL, NULL },
	{ "hostname", "NAME", OPTION_NAME, FIELD(hostname), "what the machine calls itself", "debian", NULL },
	{ "password", "TEXT", OPTION_TEXT, FIELD(password),
	  "password of root, which sshd then takes; without it root has none, and logs in on the console alone", NULL, NULL },
	{ "copy", "PATH=FILE", OPTION_LIST, FIELD(copy), "FILE of this machine becomes PATH of the image; may be repeated",
	  NULL, NULL },
	{ "setup", "FILE", OPTION_TEXT, FIELD(setup), "a shell script that is run in the image as root at the end", NULL, NULL },
	{ "ssh-key", "FILE", OPTION_TEXT, FIELD(ssh_key), "public keys that may log in as root", NULL, NULL },
};

#define BAR_CELLS 24

/* Progress on a terminal is one line that is drawn anew; elsewhere it is a line for each step. */
struct progress {
	struct timespec start;
	bool terminal;
	int step;
};

static void draw(void *opaque, int step, int steps, const char *text)
{
	struct progress *p = opaque;
	char bar[BAR_CELLS + 1];
	struct timespec now;

	if (!p->terminal && step == p->step)
		return;
	p->step = step;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!p->terminal) {
		fprintf(stderr, "[%d/%d] %s\n", step + 1, steps, text);
		return;
	}
	for (int i = 0; i < BAR_CELLS; i++)
		bar[i] = i < BAR_CELLS * (step + 1) / steps ? (i < BAR_CELLS * step / steps ? '#' : '=') : '.';
	bar[BAR_CELLS] = 0;
	fprintf(stderr, "\r\033[K[%s] %d/%d %3lds  %.40s", bar, step + 1, steps, (long)(now.tv_sec - p->start.tv_sec), text);
}

static void stop(int signal)
{
	(void)signal;
	tool_stop();
}

static enum cli_status debian(const void *values, const struct operands *operands)
{
	const struct debian_values *v = values;
	struct progress progress = { .terminal = isatty(STDERR_FILENO), .step = -1 };
	struct sigaction action = { .sa_handler = stop };
	struct debian_image image = {
		.suite = v->suite, .mirror = v->mirror, .packages = v->packages, .hostname = v->hostname,
		.password = v->password, .ssh_key = v->ssh_key, .setup = v->setup,
		.copies = v->copy.word, .copy_count = v->copy.count, .size = v->size, .progress = draw, .opaque = &progress,
	};
	struct err e = { 0 };

	if (operands->count != 1) {
		report(&command_image_debian, "no file to write given");
		fprintf(stderr, "Try `penumbra image debian --help`.\n");
		return STATUS_USAGE;
	}
	image.out = operands->word[0];
	clock_gettime(CLOCK_MONOTONIC, &progress.start);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	if (debian_image_build(&image, &e)) {
		if (progress.terminal && progress.step >= 0)
			fputs("\r\033[K", stderr);
		report(&command_image_debian, e.text);
		return STATUS_FAILED;
	}
	if (progress.terminal)
		fputs("\r\033[K", stderr);
	printf("%s: Debian %s, %llu MiB; boot it: penumbra run --disk %s\n", image.out, image.suite,
	       (unsigned long long)(image.size >> 20), image.out);
	return finish_output(&command_image_debian);
}

const struct command command_image_debian = {
	.name = "image debian",
	.summary = "a bootable disk with Debian, made from its packages",
	.description =
		"Builds the disk image OUT: a GUID partition table, one ext4 file system, Debian's kernel for virtual "
		"machines, systemd, sshd, and the packages asked for. The network is configured by DHCP.\n\n"
		"Works as an ordinary user too, where the host permits user namespaces. OUT must not exist.",
	.operands = "OUT",
	.operands_max = 1,
	.options = debian_options,
	.option_count = ARRAY_SIZE(debian_options),
	.values_size = sizeof(struct debian_values),
	.run = debian,
};

static const struct command *const subcommands[] = { &command_image_debian, NULL };

const struct command command_image = {
	.name = "image",
	.summary = "make disks to boot from",
	.description = "Makes disk images.",
	.operands = "SUBCOMMAND",
	.subcommands = subcommands,
};
