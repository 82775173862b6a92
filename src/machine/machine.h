/* SPDX-License-Identifier: MIT
 * One machine: RAM, boot image, legacy devices, console and an accelerator, from description to end.
 *
 * Owner: the thread that calls these functions, which is the vCPU thread of accel.h. */
#ifndef PENUMBRA_MACHINE_MACHINE_H
#define PENUMBRA_MACHINE_MACHINE_H

#include "accel/accel.h"
#include "device/devices.h"
#include "machine/console.h"

struct machine;

struct machine_config {
	const char *name;
	const char *kernel;      /* path */
	const char *initrd;      /* path, NULL: none */
	const char *command_line;
	const char *boot;        /* protocol (boot.h), NULL: what the kernel offers */
	bool debug_exit;         /* port 0xf4 ends the machine */
	u64 ram_size;            /* bytes */
	u32 cpus;                /* from 1 to the accelerator's max_cpus */
	const struct device_spec *devices;
	size_t n_devices;
	const struct accel *accel;
	const char *translation_cache; /* as accel/accel.h has it */
	const char *paging;      /* shadow page tables' maintainer, NULL: auto */
	const struct host_info *host;
};

/* Builds the machine up to the point where it can run.  Errors name the file or part. */
int machine_create(struct machine **out, const struct machine_config *config, struct err *e);
void machine_destroy(struct machine *m);

/* Runs it to its end; machine_vm()->end tells why. */
int machine_run(struct machine *m, const struct console_options *console, struct err *e);

struct vm *machine_vm(struct machine *m);
/* The console, once machine_run() has returned; NULL where it could not start. */
const struct console *machine_console(const struct machine *m);

#endif
