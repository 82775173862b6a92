/* SPDX-License-Identifier: MIT
 * penumbra run: boots a machine with its console on standard input and output. */
#include "accel/accel.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accel/probe.h"
#include "cli/commands.h"
#include "cli/disk_files.h"
#include "cli/guest_files.h"
#include "cli/terminal.h"
#include "machine/machine.h"
#include "machine/stats.h"
#include "shadow/paging.h"

struct run_values {
	bool debug_exit;
	const char *boot;
	const char *kernel, *initrd, *append, *accel, *paging, *translation_cache, *name, *stats;
	u64 memory, cpus, timeout;
	struct option_list disks, nets, shares, vsocks, balloons;
	const char *rng, *console;
};

#define FIELD(f) offsetof(struct run_values, f)
static const struct option_row run_options[] = {
	{ "kernel", "FILE", OPTION_TEXT, FIELD(kernel),
	  "Linux kernel to boot, bzImage or vmlinux; without it the first disk's, without one the default guest's", NULL, NULL },
	{ "initrd", "FILE", OPTION_TEXT, FIELD(initrd),
	  "initial RAM disk; without it and without --kernel as the kernel", NULL, NULL },
	{ "append", "STRING", OPTION_TEXT, FIELD(append), "kernel command line; added to the disk's own where that is booted", "console=ttyS0", NULL },
	{ "memory", "SIZE", OPTION_SIZE, FIELD(memory),
	  "guest memory, with K, M, G or T, a plain number in MiB", "512M", NULL },
	{ "cpus", "N", OPTION_COUNT, FIELD(cpus), "processors of the guest", "1", NULL },
	{ "disk", "FILE[,OPTION...]", OPTION_LIST, FIELD(disks),
	  "disk image, may be repeated: format=raw|qcow2, readonly, serial=TEXT, queues=N, "
	  "cache=writeback|writethrough|unsafe", NULL, NULL },
	{ "net", "KIND[,OPTION...]", OPTION_LIST, FIELD(nets),
	  "network card, may be repeated. KIND is user (forward=[tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT, as often as "
	  "wanted, restrict, loopback, hostname=NAME) or tap (name=INTERFACE or fd=N, queues=N); both take mac=ADDRESS, "
	  "mtu=N", NULL, NULL },
	{ "share", "tag=TAG,path=DIR[,OPTION...]", OPTION_LIST, FIELD(shares),
	  "directory that the guest mounts by mount -t virtiofs TAG: readonly, owners=mapped|host", NULL, NULL },
	{ "vsock", "path=SOCKET[,cid=N]", OPTION_LIST, FIELD(vsocks),
	  "sockets between guest and host: CONNECT PORT to SOCKET, and SOCKET_PORT for what the guest connects to", NULL, NULL },
	{ "balloon", "[target=SIZE][,socket=PATH]", OPTION_LIST, FIELD(balloons),
	  "memory that the guest does not use goes back to the host", NULL, NULL },
	{ "console", "KIND", OPTION_CHOICE, FIELD(console),
	  "terminal that the guest has beside its serial port; virtio is hvc0", "serial", "serial|virtio" },
	{ "rng", "on|off", OPTION_CHOICE, FIELD(rng), "give the guest random numbers of the host's", "off", "on|off" },
	{ "accel", "NAME", OPTION_CHOICE, FIELD(accel),
	  "how the guest's processor is run", "auto", "auto|translate|kvm" },
	{ "paging", "NAME", OPTION_CHOICE, FIELD(paging),
	  "how the guest's page tables are kept track of; kvm is what --accel kvm does, the others are the translator's", "auto",
	  "kvm" PAGING_CHOICES },
	{ "translation-cache", "DIR|off", OPTION_TEXT, FIELD(translation_cache),
	  "where translations are kept for later runs; auto is penumbra in $XDG_CACHE_HOME, or in ~/.cache", "auto", NULL },
	{ "boot", "NAME", OPTION_CHOICE, FIELD(boot),
	  "boot protocol; auto takes the first of these that the kernel offers: Multiboot2, Multiboot, 64-bit Linux, PVH", "auto",
	  "auto|linux64|pvh|multiboot|multiboot2" },
	{ "debug-exit", NULL, OPTION_FLAG, FIELD(debug_exit),
	  "let the guest end the run: a byte n written to port 0xf4 gives exit status n*2+1", NULL, NULL },
	{ "name", "NAME", OPTION_NAME, FIELD(name), "what the machine is called", "guest", NULL },
	{ "stats", "FILE", OPTION_TEXT, FIELD(stats), "write the figures of the run there as JSON", NULL, NULL },
	{ "timeout", "SECONDS", OPTION_SECONDS, FIELD(timeout), "end the run after this time", NULL, NULL },
};

/* Options that each make a device of a class.  A list makes one for each word, which is its options. */
static const struct {
	const char *class;
	size_t list, choice; /* either; 0: not this one */
} device_options[] = {
	{ "blk", FIELD(disks), 0 },
	{ "net", FIELD(nets), 0 },
	{ "fs", FIELD(shares), 0 },
	{ "vsock", FIELD(vsocks), 0 },
	{ "balloon", FIELD(balloons), 0 },
	{ "console", 0, FIELD(console) },
	{ "rng", 0, FIELD(rng) },
};

/* Words of a choice that ask for the device. */
static bool makes_device(const char *word) { return !strcmp(word, "on") || !strcmp(word, "virtio"); }

#define DEVICES_MAX 32
static size_t collect_devices(const struct run_values *v, struct device_spec spec[DEVICES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(device_options); i++) {
		const char *class = device_options[i].class, *values = (const char *)v;
		const struct option_list *list = (const void *)(values + device_options[i].list);

		for (int w = 0; device_options[i].list && w < list->count && n < DEVICES_MAX; w++)
			spec[n++] = (struct device_spec){ class, list->word[w] };
		if (device_options[i].choice && n < DEVICES_MAX &&
		    makes_device(*(const char *const *)(const void *)(values + device_options[i].choice)))
			spec[n++] = (struct device_spec){ class, NULL };
	}
	return n;
}

static enum cli_status failed(const struct err *e)
{
	report(&command_run, e->text);
	return STATUS_FAILED;
}

static void print_line(void *opaque, const char *text)
{
	(void)opaque;
	fprintf(stderr, "  %s\n", text);
}

static enum cli_status report_panic(const struct console *con)
{
	report(&command_run, "the guest kernel panicked; its last lines:");
	console_last_lines(con, print_line, NULL);
	return STATUS_GUEST;
}

/* What the end of a run means to the user. */
static enum cli_status judge_end(struct machine *m, const struct run_values *v)
{
	enum vm_end end = machine_vm(m)->end;
	const struct console *con = machine_console(m);
	struct err e = { 0 };

	switch (end) {
	case END_TIMEOUT:
		err_set(&e, -ETIMEDOUT, "the time limit of %g seconds was reached, the machine was ended",
			(double)v->timeout / 1e9);
		report(&command_run, e.text);
		return STATUS_TIMEOUT;
	case END_USER_QUIT:
		return STATUS_OK;
	case END_EXIT:
		return (enum cli_status)machine_vm(m)->exit_status;
	case END_PANIC:
		return report_panic(con);
	case END_HALTED:
	case END_TRIPLE_FAULT:
		if (console_panicked(con))
			return report_panic(con);
		report(&command_run, vm_end_words(end));
		return STATUS_GUEST;
	default:
		return console_panicked(con) ? report_panic(con) : STATUS_OK;
	}
}

static enum cli_status write_stats(struct machine *m, const struct run_values *v, FILE *stats)
{
	struct err e = { 0 };

	if (stats && stats_write(machine_vm(m), console_panicked(machine_console(m)), stats, v->stats, &e))
		return failed(&e);
	return STATUS_OK;
}

/* What the machine goes without is no reason not to run. */
static void tell_note(struct machine *m)
{
	char *note = machine_vm(m)->note;

	if (*note)
		report(&command_run, note);
	*note = 0;
}

/* The run proper, with the terminal in raw mode for its length. */
static enum cli_status run_machine(struct machine *m, const struct run_values *v, FILE *stats)
{
	struct console_options console = {
		.in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO, .timeout_ns = v->timeout,
	};
	enum cli_status status, stats_status;
	struct err e = { 0 };
	int rc;

	tell_note(m);
	signals_watch(machine_vm(m));
	console.escapes = terminal_raw(STDIN_FILENO);
	rc = machine_run(m, &console, &e);
	terminal_restore();
	signals_release();
	if (signals_caught() == SIGHUP) {
		report(&command_run, "the terminal was closed");
		return STATUS_FAILED;
	}
	if (signals_caught())
		raise(signals_caught());
	tell_note(m);
	status = rc ? failed(&e) : judge_end(m, v);
	if (!machine_console(m))
		return status;
	stats_status = write_stats(m, v, stats);
	return status == STATUS_OK ? stats_status : status;
}

/* Where the kernel is: where the user says, on the first disk, or the default guest's. */
static int choose_files(const struct run_values *v, struct machine_config *config, struct disk_files *disk, struct err *e)
{
	static struct guest_files files; /* the configuration points into it */
	int rc;

	if (v->kernel)
		return 0;
	if (v->disks.count && !v->initrd) {
		rc = disk_files_find(v->disks.word[0], v->append, disk, e);
		config->kernel = disk->kernel;
		config->initrd = *disk->initrd ? disk->initrd : NULL;
		config->command_line = disk->command_line;
		return rc;
	}
	rc = guest_files_find(&files, e);
	config->kernel = files.kernel;
	if (!v->initrd)
		config->initrd = files.initrd;
	return rc;
}

/* Under kvm the processor, or its emulation, walks the guest's own tables. */
static int check_paging(const struct accel *accel, const char *paging, struct err *e)
{
	bool kvm = !strcmp(paging, "kvm");

	if (!strcmp(paging, "auto") || kvm == !strcmp(accel->name, "kvm"))
		return 0;
	if (kvm)
		return err_set(e, -EINVAL, "--paging kvm: the accelerator is %s; --accel kvm does its paging that way", accel->name);
	return err_set(e, -EINVAL, "--paging %s is the translator's and the accelerator is kvm: add --accel translate", paging);
}

static enum cli_status run(const void *values, const struct operands *operands)
{
	const struct run_values *v = values;
	struct disk_files disk = { .boot = { -1, -1, "" } };
	struct device_spec devices[DEVICES_MAX];
	struct machine_config config = {
		.name = v->name, .kernel = v->kernel, .initrd = v->initrd,
		.command_line = v->append, .ram_size = v->memory, .cpus = (u32)v->cpus,
		.boot = v->boot, .debug_exit = v->debug_exit, .paging = v->paging,
		.translation_cache = v->translation_cache,
	};
	struct host_info host;
	enum cli_status status;
	struct machine *m;
	struct err e = { 0 };
	FILE *stats = NULL;
	int rc;

	(void)operands;
	config.devices = devices;
	config.n_devices = collect_devices(v, devices);
	if (choose_files(v, &config, &disk, &e))
		return failed(&e);
	host_probe(&host);
	config.host = &host;
	config.accel = accel_select(&host, v->accel, NULL, 0, &e);
	if (!config.accel)
		return failed(&e);
	if (check_paging(config.accel, v->paging, &e)) {
		report(&command_run, e.text);
		return STATUS_USAGE;
	}
	if (v->stats && !(stats = fopen(v->stats, "we"))) {
		err_sys(&e, errno, "%s", v->stats);
		return failed(&e);
	}
	rc = machine_create(&m, &config, &e);
	disk_files_close(&disk);
	if (rc) {
		status = failed(&e);
	} else {
		status = run_machine(m, v, stats);
		machine_destroy(m);
	}
	if (stats && fclose(stats) && status == STATUS_OK) {
		err_sys(&e, errno, "%s", v->stats);
		status = failed(&e);
	}
	return status;
}

const struct command command_run = {
	.name = "run",
	.summary = "boot a Linux machine, with its console on this terminal",
	.description =
		"Boots a Linux kernel: the one given, else the one on the first disk, else the default guest's. The guest's first serial port is standard input and output.\n\n"
		"On a terminal, Ctrl-a x leaves, Ctrl-a h shows the keys, and Ctrl-a Ctrl-a sends Ctrl-a. "
		"The end of standard input does not end the machine; poweroff and reboot in the guest do.",
	.options = run_options,
	.option_count = ARRAY_SIZE(run_options),
	.values_size = sizeof(struct run_values),
	.run = run,
};
