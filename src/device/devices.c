/* SPDX-License-Identifier: MIT */
#include "device/devices.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

struct device_set {
	struct pci_bus bus;
	struct device_environment env;
	struct virtio_device *device[PCI_SLOTS];
	u32 n;
	int stop_fd;
	pthread_t thread;
	bool started;
	pthread_cond_t heard;  /* a worker has stopped; with bus.lock */
	struct err error;
};

static const struct virtio_class *const classes[] = {
#define VIRTIO_CLASS_ROW(symbol) &symbol,
	VIRTIO_CLASSES(VIRTIO_CLASS_ROW)
#undef VIRTIO_CLASS_ROW
};

/* ---- creation ---- */

static int fork_worker(struct device_set *set, struct virtio_device *d, struct err *e)
{
	struct worker_plan plan = {
		.name = d->class->name, .class = d->worker_class ? d->worker_class : &d->class->worker, .dma = set->env.dma, .n_queues = d->n_queues,
		.config = d->state.config, .config_size = d->config_size, .state = d->data, .n_fds = d->n_fds,
	};

	memcpy(plan.fds, d->fds, sizeof plan.fds);
	return worker_fork(&d->worker, &plan, e);
}

static void close_files(struct virtio_device *d)
{
	for (int i = 0; i < d->n_fds; i++)
		close(d->fds[i]);
	d->n_fds = 0;
}

static int add(struct device_set *set, const struct device_spec *spec, struct err *e)
{
	const struct virtio_class *class = NULL;
	struct virtio_device *d;
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (!strcmp(classes[i]->name, spec->class))
			class = classes[i];
	if (!class)
		return err_set(e, -EINVAL, "there is no device \"%s\"", spec->class);
	if (set->n == PCI_SLOTS)
		return err_set(e, -ENOSPC, "no room for more than %d devices", PCI_SLOTS - 1);
	d = calloc(1, sizeof *d);
	if (!d)
		return err_set(e, -ENOMEM, "no memory");
	d->class = class;
	d->set = set;
	d->machine_fd = -1;
	d->worker = (struct worker_handle){ .pid = -1, .control = -1, .bell = -1, .call = -1 };
	set->device[set->n++] = d;
	rc = class->create(d, spec->options, e);
	if (!rc)
		rc = virtio_pci_attach(d, &set->bus, e);
	if (!rc)
		rc = fork_worker(set, d, e);
	close_files(d);
	return rc;
}

int devices_create(struct device_set **out, const struct device_spec *specs, size_t n,
		   const struct device_environment *env, struct err *e)
{
	struct device_set *set = calloc(1, sizeof *set);
	int rc = 0;

	if (!set)
		return err_set(e, -ENOMEM, "no memory");
	set->env = *env;
	pci_bus_init(&set->bus, &env->host);
	pthread_cond_init(&set->heard, NULL);
	set->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (set->stop_fd < 0)
		rc = err_sys(e, errno, "eventfd");
	for (size_t i = 0; !rc && i < n; i++)
		rc = add(set, &specs[i], e);
	if (rc) {
		devices_destroy(set);
		return rc;
	}
	*out = set;
	return 0;
}

/* ---- the thread ---- */

static void clean(struct device_set *set, struct virtio_device *d)
{
	struct worker_page *p = d->worker.page;
	u32 asked = atomic_load(&p->clean_asked), frames[DMA_TOUCHED_MAX];
	u32 n = MIN(p->clean_n, (u32)DMA_TOUCHED_MAX);

	if (asked == atomic_load(&p->clean_done))
		return;
	memcpy(frames, p->clean, n * sizeof *frames);
	if (set->env.clean)
		set->env.clean(set->env.opaque, frames, n);
	atomic_store(&p->clean_done, asked);
	syscall(SYS_futex, &p->clean_done, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void hear_call(struct device_set *set, struct virtio_device *d)
{
	u64 count, queues;

	if (read(d->worker.call, &count, sizeof count) < 0)
		return;
	clean(set, d);
	queues = atomic_exchange(&d->worker.page->irq, 0);
	pthread_mutex_lock(&set->bus.lock);
	virtio_interrupt_locked(d, queues);
	pthread_mutex_unlock(&set->bus.lock);
}

static void hear_control(struct device_set *set, struct virtio_device *d)
{
	struct control c;
	int rc = worker_receive(&d->worker, &c);
	struct err failed = { 0 };

	if (!rc)
		return;
	pthread_mutex_lock(&set->bus.lock);
	if (rc < 0) {
		if (d->class->worker.vital)
			err_set(&failed, -EIO, "the process of the device \"%s\" was ended, and the guest cannot do without it", d->class->name);
		virtio_gone_locked(d);
		close(d->worker.control);
		d->worker.control = -1;
	} else {
		virtio_control_locked(d, &c, &failed);
	}
	pthread_cond_broadcast(&set->heard);
	pthread_mutex_unlock(&set->bus.lock);
	if (!failed.code || set->error.code)
		return;
	set->error = failed;
	set->env.failed(set->env.opaque);
}

static void *thread(void *arg)
{
	struct device_set *set = arg;
	struct pollfd p[1 + 2 * PCI_SLOTS] = { { set->stop_fd, POLLIN, 0 } };

	for (;;) {
		for (u32 i = 0; i < set->n; i++) {
			p[1 + 2 * i] = (struct pollfd){ set->device[i]->worker.control, POLLIN, 0 };
			p[2 + 2 * i] = (struct pollfd){ set->device[i]->worker.call, POLLIN, 0 };
		}
		if (poll(p, 1 + 2 * set->n, -1) < 0)
			continue;
		if (p[0].revents)
			return NULL;
		for (u32 i = 0; i < set->n; i++) {
			if (p[2 + 2 * i].revents & POLLIN)
				hear_call(set, set->device[i]);
			if (p[1 + 2 * i].revents)
				hear_control(set, set->device[i]);
		}
	}
}

int devices_start(struct device_set *set, struct err *e)
{
	int rc = -pthread_create(&set->thread, NULL, thread, set);

	if (rc)
		return err_sys(e, -rc, "thread of the devices");
	set->started = true;
	return 0;
}

void devices_destroy(struct device_set *set)
{
	u64 one = 1;

	if (!set)
		return;
	if (set->started && write(set->stop_fd, &one, sizeof one) == sizeof one)
		pthread_join(set->thread, NULL);
	for (u32 i = 0; i < set->n; i++) {
		struct virtio_device *d = set->device[i];

		worker_close(&d->worker);
		close_files(d);
		if (d->machine_fd >= 0)
			close(d->machine_fd);
		if (d->class->destroy)
			d->class->destroy(d);
		free(d);
	}
	if (set->stop_fd >= 0)
		close(set->stop_fd);
	pci_bus_destroy(&set->bus);
	free(set);
}

/* ---- pause and state ---- */

void devices_pause(struct device_set *set)
{
	pthread_mutex_lock(&set->bus.lock);
	for (u32 i = 0; i < set->n; i++)
		virtio_stop_locked(set->device[i]);
	for (u32 i = 0; i < set->n; i++)
		while (!set->device[i]->stopped)
			pthread_cond_wait(&set->heard, &set->bus.lock);
	pthread_mutex_unlock(&set->bus.lock);
}

void devices_resume(struct device_set *set)
{
	pthread_mutex_lock(&set->bus.lock);
	for (u32 i = 0; i < set->n; i++)
		virtio_resume_locked(set->device[i]);
	pthread_mutex_unlock(&set->bus.lock);
}

int devices_save(struct device_set *set, u8 **bytes, size_t *n, struct err *e)
{
	u8 *at = malloc((size_t)set->n * (VIRTIO_RECORD_MAX + 4) + 1);

	if (!at)
		return err_set(e, -ENOMEM, "no memory");
	*bytes = at;
	pthread_mutex_lock(&set->bus.lock);
	for (u32 i = 0; i < set->n; i++) {
		u32 size = (u32)virtio_save_locked(set->device[i], at + 4);

		memcpy(at, &size, 4);
		at += 4 + size;
	}
	pthread_mutex_unlock(&set->bus.lock);
	*n = (size_t)(at - *bytes);
	return 0;
}

int devices_load(struct device_set *set, const u8 *bytes, size_t n, struct err *e)
{
	int rc = 0;
	u32 size;

	pthread_mutex_lock(&set->bus.lock);
	for (u32 i = 0; !rc && i < set->n; i++) {
		if (n < 4 || (memcpy(&size, bytes, 4), size > n - 4)) {
			rc = err_set(e, -EINVAL, "state of the devices: it ends before device %u", i);
			break;
		}
		rc = virtio_load_locked(set->device[i], bytes + 4, size, e);
		bytes += 4 + size;
		n -= 4 + size;
	}
	if (!rc && n)
		rc = err_set(e, -EINVAL, "state of the devices: %zu bytes too many", n);
	pthread_mutex_unlock(&set->bus.lock);
	return rc;
}

struct pci_bus *devices_bus(struct device_set *set)
{
	return &set->bus;
}

int devices_bell(const struct device_set *set, unsigned slot)
{
	for (u32 i = 0; i < set->n; i++)
		if (set->device[i]->pci.slot == slot)
			return set->device[i]->worker.bell;
	return -1;
}

int devices_take_machine_fd(struct device_set *set, const char *class)
{
	for (u32 i = 0; i < set->n; i++) {
		int fd = set->device[i]->machine_fd;

		if (fd < 0 || strcmp(set->device[i]->class->name, class))
			continue;
		set->device[i]->machine_fd = -1;
		return fd;
	}
	return -1;
}

const struct err *devices_error(const struct device_set *set)
{
	return &set->error;
}
