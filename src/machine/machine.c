/* SPDX-License-Identifier: MIT */
#include "machine/machine.h"

#include <errno.h>
#include <stdio.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <nettle/sha2.h>

#include "machine/acpi.h"
#include "machine/apic.h"
#include "machine/boot.h"
#include "machine/kernel.h"
#include "machine/legacy.h"
#include "machine/ram.h"

#define CONSOLE_CHUNK 512
#define CONTENT_HEAD 0x40000ull

struct machine {
	struct vm vm;
	struct console *console;
	/* The devices, for an accelerator that leaves them to us.  They may be slow to take input:
	 * `held` are bytes that they have refused so far. */
	struct legacy legacy;
	u8 held[CONSOLE_CHUNK];
	size_t held_start, held_end;
	enum vm_end power;
	struct device_set *devices; /* NULL: none, and no PCI */
	u32 pins; /* what the devices' outputs were when the accelerator was last told, as IO-APIC pins */
	struct err device_error;
};

/* ---- struct vm_ops ---- */

static void op_console_write(struct vm *vm, const void *bytes, size_t n)
{
	struct machine *m = vm->machine;

	console_write(m->console, bytes, n);
}

static size_t op_console_read(struct vm *vm, void *bytes, size_t room)
{
	struct machine *m = vm->machine;

	return console_read(m->console, bytes, room);
}

/* After each call on the devices: what they have to say to the front-end, and their interrupts. */
static void take_events(struct machine *m)
{
	u32 events = legacy_events(&m->legacy), pins, changed;
	u8 bytes[CONSOLE_CHUNK];
	size_t n;

	if (events & LEGACY_TX)
		while ((n = legacy_uart_transmit(&m->legacy, bytes, sizeof bytes)))
			console_write(m->console, bytes, n);
	if (events & LEGACY_POWEROFF)
		m->power = END_POWEROFF;
	else if (events & LEGACY_RESET)
		m->power = END_RESET;
	else if (events & LEGACY_EXIT)
		m->power = END_EXIT;
	m->vm.exit_status = m->legacy.core.exit_status;
	/* The interval timer is the accelerator's, as the controllers are. */
	pins = m->legacy.ioapic.own & ~(1u << ioapic_isa_pin(LEGACY_IRQ_PIT));
	changed = pins ^ m->pins;
	m->pins = pins;
	for (int pin = 0; changed; pin++, changed >>= 1)
		if (changed & 1)
			m->vm.accel->set_irq(&m->vm, pin, pins >> pin & 1);
}

static bool pci_port(const struct machine *m, u16 port, int size)
{
	return m->devices && ((port == PCI_PORT_ADDRESS && size == 4) ||
			      (port >= PCI_PORT_DATA && port + size <= PCI_PORT_DATA + 4));
}

static u32 op_io_in(struct vm *vm, u16 port, int size)
{
	struct machine *m = vm->machine;
	u32 value = 0;

	if (pci_port(m, port, size)) {
		pci_bus_port(devices_bus(m->devices), port, size, false, &value);
		return value;
	}
	value = legacy_io_read(&m->legacy, port, size, monotonic_ns());

	take_events(m);
	return value;
}

static void op_io_out(struct vm *vm, u16 port, int size, u32 value)
{
	struct machine *m = vm->machine;

	if (pci_port(m, port, size)) {
		pci_bus_port(devices_bus(m->devices), port, size, true, &value);
		return;
	}
	legacy_io_write(&m->legacy, port, size, value, monotonic_ns());
	take_events(m);
}

static u64 op_advance(struct vm *vm, u64 now_ns)
{
	struct machine *m = vm->machine;

	legacy_advance(&m->legacy, now_ns);
	if (m->held_start == m->held_end) {
		m->held_start = 0;
		m->held_end = console_read(m->console, m->held, sizeof m->held);
	}
	if (m->held_start != m->held_end)
		m->held_start += legacy_uart_receive(&m->legacy, m->held + m->held_start,
						     m->held_end - m->held_start);
	take_events(m);
	return legacy_next_deadline(&m->legacy);
}

static void op_device_memory(struct vm *vm, u64 gpa, int size, bool write, u64 *value)
{
	struct machine *m = vm->machine;

	pci_bus_memory(devices_bus(m->devices), gpa, size, write, value);
}

static void op_device_config(struct vm *vm, u32 address, int size, bool write, u32 *value)
{
	struct machine *m = vm->machine;

	pci_bus_config(devices_bus(m->devices), address, size, write, value);
}

static enum vm_end op_power_state(struct vm *vm)
{
	struct machine *m = vm->machine;

	return m->power;
}

static const struct vm_ops machine_ops = {
	.console_write = op_console_write,
	.console_read = op_console_read,
	.io_in = op_io_in,
	.io_out = op_io_out,
	.advance = op_advance,
	.device_memory = op_device_memory,
	.device_config = op_device_config,
	.power_state = op_power_state,
};

/* ---- what the devices need ---- */

static void host_set_irq(void *opaque, unsigned line, bool level)
{
	struct machine *m = opaque;

	m->vm.accel->set_irq(&m->vm, (int)line, level);
}

static void host_raise_msi(void *opaque, u64 address, u32 data)
{
	struct machine *m = opaque;

	m->vm.accel->raise_msi(&m->vm, address, data);
}

static void host_set_bell(void *opaque, unsigned slot, u64 gpa, u32 n)
{
	struct machine *m = opaque;

	m->vm.accel->set_bell(&m->vm, slot, gpa, n);
}

static void host_clean(void *opaque, const u32 *frames, u32 n)
{
	struct machine *m = opaque;

	if (m->vm.accel->clean_frames)
		m->vm.accel->clean_frames(&m->vm, frames, n);
}

static void host_failed(void *opaque)
{
	struct machine *m = opaque;

	vm_request_end(&m->vm, END_ERROR);
}

static int make_devices(struct machine *m, const struct machine_config *config, struct err *e)
{
	struct vm *vm = &m->vm;
	struct device_environment env = {
		.host = { host_set_irq, host_raise_msi, host_set_bell, m,
			  { LEGACY_PCI_INTX(0), LEGACY_PCI_INTX(1), LEGACY_PCI_INTX(2), LEGACY_PCI_INTX(3) } },
		.dma = { .ram = vm->ram, .size = vm->ram_size, .low = vm->ram_low,
			 .flags = vm->accel->frame_flags ? vm->accel->frame_flags(vm) : NULL },
		.clean = host_clean, .failed = host_failed, .opaque = m,
	};
	int rc;

	if (!config->n_devices)
		return 0;
	rc = devices_create(&m->devices, config->devices, config->n_devices, &env, e);
	for (unsigned i = 0; !rc && i < VM_BELLS; i++)
		vm->bells[i] = devices_bell(m->devices, i);
	vm->has_devices = !rc;
	return rc;
}

/* ---- life ---- */

/* Enough of the kernel to tell it from others, where nothing worse follows from a mistake than a slower start. */
static void digest_content(struct vm *vm, const struct kernel *k)
{
	u64 size = k->elf_size;
	struct sha256_ctx c;

	sha256_init(&c);
	sha256_update(&c, sizeof size, (const u8 *)&size);
	sha256_update(&c, MIN(size, CONTENT_HEAD), k->elf);
	sha256_digest(&c, sizeof vm->content, vm->content);
}

static int load(struct machine *m, const struct machine_config *config, struct err *e)
{
	struct boot_image boot = { .command_line = config->command_line };
	struct acpi_config acpi = {
		.cpus = m->vm.n_cpus, .apic = true, .io_apic_id = 0,
		.local_apic = { LAPIC_ADDRESS }, .io_apic = { IOAPIC_ADDRESS },
		.pci = config->n_devices, .pci_window_64 = pci_window_64(VM_RAM_HIGH + m->vm.ram_size - m->vm.ram_low),
	};
	struct kernel kernel;
	u8 *initrd = NULL;
	int rc;

	rc = kernel_read(&kernel, config->kernel, m->vm.ram_size, e);
	if (rc)
		return rc;
	boot.kernel = &kernel;
	digest_content(&m->vm, &kernel);
	if (config->initrd)
		rc = file_read_all(config->initrd, m->vm.ram_size, &initrd, &boot.initrd_size, e);
	boot.initrd = initrd;
	if (!rc)
		rc = acpi_build(&acpi, m->vm.ram, &boot.acpi_rsdp, e);
	if (!rc)
		rc = boot_load(&m->vm, &boot, config->boot, e);
	free(initrd);
	kernel_free(&kernel);
	malloc_trim(0); /* what held the images goes back to the host */
	return rc;
}

static s64 utc_offset_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (s64)t.tv_sec * 1000000000 + t.tv_nsec - (s64)monotonic_ns();
}

int machine_create(struct machine **out, const struct machine_config *config, struct err *e)
{
	struct machine *m;
	struct vm *vm;
	int rc;

	if (config->cpus < 1 || config->cpus > config->accel->max_cpus)
		return err_set(e, -EINVAL, "--cpus %u: the accelerator '%s' runs 1 to %u processors", config->cpus,
			       config->accel->name, config->accel->max_cpus);
	m = calloc(1, sizeof *m);

	if (!m)
		return err_set(e, -ENOMEM, "no memory");
	vm = &m->vm;
	snprintf(vm->name, sizeof vm->name, "%s", config->name);
	vm->accel = config->accel;
	vm->paging = config->paging;
	vm->translation_cache = config->translation_cache;
	vm->host = config->host;
	vm->ops = &machine_ops;
	vm->machine = m;
	vm->ram_fd = -1;
	vm->n_cpus = config->cpus;
	for (int i = 0; i < VM_BELLS; i++)
		vm->bells[i] = -1;
	vm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->wake_fd < 0) {
		rc = err_sys(e, errno, "eventfd");
		free(m);
		return rc;
	}
	legacy_init(&m->legacy, monotonic_ns(), utc_offset_ns(), config->ram_size);
	vm->debug_exit = config->debug_exit;
	if (vm->debug_exit)
		legacy_enable_debug_exit(&m->legacy);
	rc = ram_create(vm, config->ram_size, e);
	if (!rc)
		rc = load(m, config, e);
	if (!rc)
		rc = vm->accel->create(vm, e);
	if (!rc)
		rc = make_devices(m, config, e);
	if (rc) {
		vm->accel->destroy(vm);
		ram_destroy(vm);
		close(vm->wake_fd);
		free(m);
		return rc;
	}
	vm->stats.ram_bytes = vm->ram_size;
	*out = m;
	return 0;
}

static u64 timeval_ns(struct timeval t)
{
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_usec * 1000u;
}

static void add_usage(struct vm_stats *stats, int who)
{
	struct rusage u;

	if (getrusage(who, &u))
		return;
	stats->user_ns += timeval_ns(u.ru_utime);
	stats->system_ns += timeval_ns(u.ru_stime);
	stats->rss_peak = MAX(stats->rss_peak, (u64)u.ru_maxrss << 10);
}

int machine_run(struct machine *m, const struct console_options *console, struct err *e)
{
	struct vm *vm = &m->vm;
	u64 start = monotonic_ns();
	const struct err *why;
	struct err run = { 0 };
	struct console_options with_peer = *console;
	int rc;

	with_peer.peer_fd = -1;
	if (m->devices)
		with_peer.peer_fd = devices_take_machine_fd(m->devices, "console");
	rc = console_start(&m->console, vm, &with_peer, e);
	if (rc)
		return rc;
	if (m->devices)
		rc = devices_start(m->devices, &run);
	if (!rc)
		rc = vm->accel->run(vm, &run);
	else
		vm->end = END_ERROR;
	if (m->devices && devices_error(m->devices)->code)
		m->device_error = *devices_error(m->devices);
	devices_destroy(m->devices);
	m->devices = NULL;
	console_stop(m->console);
	vm->stats.wall_ns = monotonic_ns() - start;
	add_usage(&vm->stats, RUSAGE_SELF);
	add_usage(&vm->stats, RUSAGE_CHILDREN);
	vm->stats.ram_resident = ram_resident(vm);
	if (!rc && vm->end != END_ERROR)
		return 0;
	/* The console's own trouble is the cause, whatever the accelerator makes of it. */
	why = console_error(m->console);
	if (!why->code)
		why = &m->device_error;
	if (why->code)
		return err_set(e, why->code, "%s", why->text);
	return err_set(e, rc ? rc : -EIO, "%s", *run.text ? run.text : vm_end_words(END_ERROR));
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	devices_destroy(m->devices);
	m->vm.accel->destroy(&m->vm);
	console_destroy(m->console);
	ram_destroy(&m->vm);
	close(m->vm.wake_fd);
	free(m);
}

struct vm *machine_vm(struct machine *m)
{
	return &m->vm;
}

const struct console *machine_console(const struct machine *m)
{
	return m->console;
}
