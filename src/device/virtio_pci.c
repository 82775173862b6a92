/* SPDX-License-Identifier: MIT
 * The registers of a virtio device over PCI (virtio 1.2 section 4.1.4).  Front-end, bus->lock held. */
#include "device/virtio.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* One BAR holds all structures, a page each, so that notifications have a page of their own. */
#define BAR_REGISTERS 0
#define BAR_MSIX 1
#define AT_COMMON 0x0000u
#define AT_DEVICE 0x1000u
#define AT_ISR 0x2000u
#define AT_NOTIFY 0x3000u
#define AT_END 0x4000u
#define NOTIFY_MULTIPLIER 4u

enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_WINDOW };
/* struct virtio_pci_cap, from its id on. */
#define WINDOW_BAR 4
#define WINDOW_OFFSET 8
#define WINDOW_LENGTH 12
#define WINDOW_DATA 16

#define ISR_QUEUE 1
#define ISR_CONFIG 2

/* ---- interrupts ---- */

static void interrupt(struct virtio_device *d, u16 vector, u8 isr)
{
	if (pci_msix_enabled(&d->pci)) {
		if (vector != VIRTIO_NO_VECTOR)
			pci_msix_fire_locked(&d->pci, vector);
		return;
	}
	d->state.isr |= isr;
	pci_intx_locked(&d->pci, true);
}

void virtio_interrupt_locked(struct virtio_device *d, u64 queues)
{
	if (!d->running || d->resetting)
		return;
	for (u32 i = 0; i < d->n_queues; i++)
		if (queues >> i & 1)
			interrupt(d, d->state.queue_vector[i], ISR_QUEUE);
}

static void needs_reset(struct virtio_device *d)
{
	bool ask = d->state.status & VIRTIO_STATUS_DRIVER_OK;

	d->state.status |= VIRTIO_STATUS_NEEDS_RESET;
	if (ask)
		interrupt(d, d->state.config_vector, ISR_CONFIG);
}

/* ---- status ---- */

static u64 offered(const struct virtio_device *d)
{
	return d->features | BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX);
}

static void clear(struct virtio_device *d)
{
	struct virtio_state *s = &d->state;

	s->driver_features = 0;
	s->device_select = s->driver_select = 0;
	s->queue_select = 0;
	s->config_vector = VIRTIO_NO_VECTOR;
	s->status = s->isr = 0;
	for (u32 i = 0; i < WORKER_QUEUES_MAX; i++) {
		s->queue_vector[i] = VIRTIO_NO_VECTOR;
		d->queue[i] = (struct virtq_setup){ .size = d->queue_size };
	}
	d->running = d->resetting = false;
	pci_intx_locked(&d->pci, false);
}

void virtio_gone_locked(struct virtio_device *d)
{
	d->gone = d->stopped = true;
	if (d->resetting)
		clear(d);
	else
		needs_reset(d);
}

static void send(struct virtio_device *d, struct control *c, u32 kind)
{
	c->kind = kind;
	if (!d->gone && worker_send(&d->worker, c))
		virtio_gone_locked(d);
}

static void start(struct virtio_device *d)
{
	struct control c = { .n = d->n_queues, .features = d->state.driver_features };

	c.start = ++d->worker.starts;
	memcpy(c.queue, d->queue, sizeof c.queue);
	c.state_bytes = d->class_state_size;
	memcpy(c.state, d->class_state, d->class_state_size);
	d->class_state_size = 0;
	d->running = true;
	send(d, &c, CONTROL_START);
}

void virtio_stop_locked(struct virtio_device *d)
{
	struct control c = { 0 };

	d->stopping = true;
	d->stopped = d->gone || !d->running;
	if (!d->stopped && !d->resetting) /* a reset under way ends in the same */
		send(d, &c, CONTROL_STOP);
}

void virtio_resume_locked(struct virtio_device *d)
{
	d->stopping = d->stopped = false;
	if (d->running && !(d->state.status & VIRTIO_STATUS_NEEDS_RESET))
		start(d);
}

/* The worker was killed, and another one has taken its place: it is told what the driver has set up, and goes on. */
static void succeed(struct virtio_device *d, u32 life)
{
	struct control config = { .n = d->config_size };
	struct control c = { .n = d->n_queues, .features = d->state.driver_features, .start = d->worker.starts, .again = 1 };
	struct control stop = { 0 };

	d->worker.life = life;
	if (d->resetting) {
		clear(d); /* nothing is under way any more */
		d->stopped |= d->stopping;
	}
	memcpy(config.config, d->state.config, sizeof config.config);
	send(d, &config, CONTROL_CONFIG);
	if (!d->running || d->stopped || (d->state.status & VIRTIO_STATUS_NEEDS_RESET))
		return;
	memcpy(c.queue, d->queue, sizeof c.queue);
	send(d, &c, CONTROL_START);
	if (d->stopping)
		send(d, &stop, CONTROL_STOP);
	/* Interrupts may have gone with it. */
	if (d->worker.page)
		atomic_store(&d->worker.page->irq, 0);
	virtio_interrupt_locked(d, ~0ull);
}

static void reset(struct virtio_device *d)
{
	struct control c = { 0 };

	if (d->resetting)
		return;
	if (!d->running || d->gone) {
		clear(d);
		return;
	}
	d->resetting = true;
	send(d, &c, CONTROL_RESET);
}

static void status_written(struct virtio_device *d, u32 value)
{
	struct virtio_state *s = &d->state;
	u8 added = (u8)(value & ~s->status & ~VIRTIO_STATUS_NEEDS_RESET);

	if (!value) {
		reset(d);
		return;
	}
	if (d->resetting)
		return;
	if ((added & VIRTIO_STATUS_FEATURES_OK) &&
	    (d->gone || (s->driver_features & ~offered(d)) || !(s->driver_features >> VIRTIO_F_VERSION_1 & 1)))
		added &= (u8)~VIRTIO_STATUS_FEATURES_OK;
	if (!((s->status | added) & VIRTIO_STATUS_FEATURES_OK))
		added &= (u8)~VIRTIO_STATUS_DRIVER_OK;
	s->status |= added;
	if (added & VIRTIO_STATUS_DRIVER_OK)
		start(d);
}

void virtio_control_locked(struct virtio_device *d, const struct control *c, struct err *failed)
{
	char text[WORKER_TEXT_MAX];

	switch (c->kind) {
	case CONTROL_RESET_DONE:
		if (d->resetting)
			clear(d);
		d->stopped |= d->stopping;
		break;
	case CONTROL_STOPPED:
		for (u32 i = 0; i < d->n_queues && d->running; i++) {
			d->queue[i].next_avail = c->queue[i].next_avail;
			d->queue[i].next_used = c->queue[i].next_used;
		}
		d->class_state_size = MIN(c->state_bytes, (u32)WORKER_STATE_MAX);
		memcpy(d->class_state, c->state, d->class_state_size);
		d->stopped = true;
		break;
	case CONTROL_BROKEN:
		if (!d->resetting)
			needs_reset(d);
		break;
	case CONTROL_DIED:
		succeed(d, c->life);
		break;
	case CONTROL_CONFIG_CHANGED:
		memcpy(d->state.config, c->config, d->config_size);
		d->state.generation++;
		if (d->running && !d->resetting)
			interrupt(d, d->state.config_vector, ISR_CONFIG);
		break;
	case CONTROL_FAILED:
		/* From a process that a guest may have got hold of: printable text only. */
		memcpy(text, c->text, sizeof text);
		text[sizeof text - 1] = 0;
		for (char *p = text; *p; p++)
			if (*p < ' ' || *p > '~')
				*p = '?';
		err_set(failed, -EIO, "%s", text);
		break;
	default:
		break;
	}
}

/* ---- common configuration ---- */

static void feature_written(struct virtio_device *d, u32 value)
{
	u64 *f = &d->state.driver_features;

	if (d->state.status & VIRTIO_STATUS_FEATURES_OK)
		return;
	if (d->state.driver_select == 0)
		*f = (*f & ~0xffffffffull) | value;
	else if (d->state.driver_select == 1)
		*f = (*f & 0xffffffff) | (u64)value << 32;
}

static u32 feature_read(struct virtio_device *d)
{
	return d->state.device_select < 2 ? (u32)(offered(d) >> 32 * d->state.device_select) : 0;
}

static u32 driver_feature_read(struct virtio_device *d)
{
	return d->state.driver_select < 2 ? (u32)(d->state.driver_features >> 32 * d->state.driver_select) : 0;
}

static u32 queues_read(struct virtio_device *d) { return d->n_queues; }
static u32 notify_off_read(struct virtio_device *d)
{
	return d->state.queue_select < d->n_queues ? d->state.queue_select : 0;
}

static void vector_set(struct virtio_device *d, u16 *to, u32 value)
{
	*to = value < d->pci.n_vectors ? (u16)value : VIRTIO_NO_VECTOR;
}
static void config_vector_written(struct virtio_device *d, u32 value) { vector_set(d, &d->state.config_vector, value); }
static void queue_vector_written(struct virtio_device *d, u32 value)
{
	if (d->state.queue_select < d->n_queues)
		vector_set(d, &d->state.queue_vector[d->state.queue_select], value);
}
static u32 queue_vector_read(struct virtio_device *d)
{
	return d->state.queue_select < d->n_queues ? d->state.queue_vector[d->state.queue_select] : VIRTIO_NO_VECTOR;
}

static void queue_size_written(struct virtio_device *d, u32 value)
{
	struct virtq_setup *q = &d->queue[d->state.queue_select % WORKER_QUEUES_MAX];

	if (value && value <= d->queue_size && !(value & (value - 1)))
		q->size = (u16)value;
}

static void queue_enable_written(struct virtio_device *d, u32 value)
{
	if (value == 1)
		d->queue[d->state.queue_select % WORKER_QUEUES_MAX].enabled = 1;
}

/* offset, bytes, where it lies, and functions instead of plain reading or writing. */
#define IN_STATE(field) 1, offsetof(struct virtio_state, field)
#define IN_QUEUE(field) 2, offsetof(struct virtq_setup, field)
static const struct common_register {
	u8 offset, size, where;
	size_t at;
	bool writable;
	u32 (*read)(struct virtio_device *d);
	void (*write)(struct virtio_device *d, u32 value);
} common_registers[] = {
	{ 0x00, 4, IN_STATE(device_select), true, NULL, NULL },
	{ 0x04, 4, 0, 0, false, feature_read, NULL },
	{ 0x08, 4, IN_STATE(driver_select), true, NULL, NULL },
	{ 0x0c, 4, 0, 0, true, driver_feature_read, feature_written },
	{ 0x10, 2, IN_STATE(config_vector), true, NULL, config_vector_written },
	{ 0x12, 2, 0, 0, false, queues_read, NULL },
	{ 0x14, 1, IN_STATE(status), true, NULL, status_written },
	{ 0x15, 1, IN_STATE(generation), false, NULL, NULL },
	{ 0x16, 2, IN_STATE(queue_select), true, NULL, NULL },
	{ 0x18, 2, IN_QUEUE(size), true, NULL, queue_size_written },
	{ 0x1a, 2, 0, 0, true, queue_vector_read, queue_vector_written },
	{ 0x1c, 2, IN_QUEUE(enabled), true, NULL, queue_enable_written },
	{ 0x1e, 2, 0, 0, false, notify_off_read, NULL },
	{ 0x20, 4, IN_QUEUE(desc), true, NULL, NULL },
	{ 0x24, 4, IN_QUEUE(desc) + 4, true, NULL, NULL },
	{ 0x28, 4, IN_QUEUE(driver), true, NULL, NULL },
	{ 0x2c, 4, IN_QUEUE(driver) + 4, true, NULL, NULL },
	{ 0x30, 4, IN_QUEUE(device), true, NULL, NULL },
	{ 0x34, 4, IN_QUEUE(device) + 4, true, NULL, NULL },
};

/* The register's bytes; NULL where the selected queue does not exist. */
static u8 *register_bytes(struct virtio_device *d, const struct common_register *r)
{
	if (r->where == 1)
		return (u8 *)&d->state + r->at;
	if (r->where == 2 && d->state.queue_select < d->n_queues)
		return (u8 *)&d->queue[d->state.queue_select] + r->at;
	return NULL;
}

static u32 common_read(struct virtio_device *d, u32 offset, int size)
{
	for (size_t i = 0; i < ARRAY_SIZE(common_registers); i++) {
		const struct common_register *r = &common_registers[i];
		u32 value = 0;
		u8 *bytes;

		if (offset < r->offset || offset >= (u32)r->offset + r->size)
			continue;
		bytes = register_bytes(d, r);
		if (r->read)
			value = r->read(d);
		else if (bytes)
			memcpy(&value, bytes, r->size);
		value >>= 8 * (offset - r->offset);
		return size < 4 ? value & ((1u << 8 * size) - 1) : value;
	}
	return 0;
}

static void common_write(struct virtio_device *d, u32 offset, int size, u32 value)
{
	for (size_t i = 0; i < ARRAY_SIZE(common_registers); i++) {
		const struct common_register *r = &common_registers[i];
		u8 *bytes;

		if (r->offset != offset || r->size != size || !r->writable)
			continue;
		bytes = register_bytes(d, r);
		/* A queue in use is not set up anew. */
		if (r->where == 2 && (!bytes || d->queue[d->state.queue_select].enabled || d->resetting))
			return;
		if (r->write)
			r->write(d, value);
		else if (bytes)
			memcpy(bytes, &value, (size_t)size);
		return;
	}
}

/* ---- BAR ---- */

static u32 isr_read(struct virtio_device *d)
{
	u32 isr = d->state.isr;

	d->state.isr = 0;
	pci_intx_locked(&d->pci, false);
	return isr;
}

static void config_write(struct virtio_device *d, u32 offset, int size, u64 value)
{
	struct control c = { .n = d->config_size };
	bool changed = false;

	for (u32 i = 0; i < (u32)size && offset + i < d->config_size; i++) {
		u8 mask = d->config_writable[offset + i], *at = &d->state.config[offset + i];
		u8 new = (u8)((*at & ~mask) | ((value >> 8 * i) & mask));

		changed |= mask != 0;
		*at = new;
	}
	if (!changed)
		return;
	memcpy(c.config, d->state.config, d->config_size);
	send(d, &c, CONTROL_CONFIG);
}

static u64 bar_read(struct pci_device *p, int bar, u32 offset, int size)
{
	struct virtio_device *d = (struct virtio_device *)((u8 *)p - offsetof(struct virtio_device, pci));
	u64 value = 0;

	(void)bar;
	if (offset < AT_DEVICE)
		return common_read(d, offset, size);
	if (offset - AT_DEVICE < d->config_size)
		memcpy(&value, d->state.config + (offset - AT_DEVICE),
		       MIN((size_t)size, (size_t)(d->config_size - (offset - AT_DEVICE))));
	else if (offset == AT_ISR)
		value = isr_read(d);
	return value;
}

static void bar_write(struct pci_device *p, int bar, u32 offset, int size, u64 value)
{
	struct virtio_device *d = (struct virtio_device *)((u8 *)p - offsetof(struct virtio_device, pci));
	u64 one = 1;

	(void)bar;
	if (offset >= AT_NOTIFY && d->worker.bell >= 0) {
		if (write(d->worker.bell, &one, sizeof one) < 0 && errno != EAGAIN)
			virtio_gone_locked(d);
	} else if (offset < AT_DEVICE && size == 8) {
		common_write(d, offset, 4, (u32)value);
		common_write(d, offset + 4, 4, (u32)(value >> 32));
	} else if (offset < AT_DEVICE) {
		common_write(d, offset, size, (u32)value);
	} else if (offset - AT_DEVICE < d->config_size) {
		config_write(d, offset - AT_DEVICE, size, value);
	}
}

/* ---- the window in configuration space (section 4.1.4.9) ---- */

static u32 le32(const u8 *p)
{
	return (u32)p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24;
}

/* An access to the data field goes to the BAR that the other fields name. */
static void window(struct pci_device *p, u32 offset, int size, bool write)
{
	struct virtio_device *d = (struct virtio_device *)((u8 *)p - offsetof(struct virtio_device, pci));
	u8 *cap = p->state.config + d->window_cap;
	u32 at = le32(cap + WINDOW_OFFSET), length = le32(cap + WINDOW_LENGTH), value = 0;

	if (offset >= d->window_cap + WINDOW_DATA + 4u || offset + (u32)size <= d->window_cap + WINDOW_DATA + 0u)
		return;
	if (cap[WINDOW_BAR] != BAR_REGISTERS || (length != 1 && length != 2 && length != 4) || at > AT_END - length ||
	    at % length)
		return;
	if (write) {
		memcpy(&value, cap + WINDOW_DATA, length);
		bar_write(p, BAR_REGISTERS, at, (int)length, value);
	} else {
		value = (u32)bar_read(p, BAR_REGISTERS, at, (int)length);
		memcpy(cap + WINDOW_DATA, &value, length);
	}
}

static void window_read(struct pci_device *p, u32 offset, int size) { window(p, offset, size, false); }
static void window_written(struct pci_device *p, u32 offset, int size) { window(p, offset, size, true); }

static const struct pci_ops virtio_pci_ops = {
	.read = bar_read,
	.write = bar_write,
	.config_read = window_read,
	.config_written = window_written,
};

/* ---- set-up ---- */

static u8 add_capability(struct virtio_device *d, u8 type, u32 offset, u32 length, u8 size)
{
	u8 body[WINDOW_DATA + 2] = { 0 };

	body[0] = size;
	body[1] = type;
	body[2] = BAR_REGISTERS;
	memcpy(body + WINDOW_OFFSET - 2, &offset, 4);
	memcpy(body + WINDOW_LENGTH - 2, &length, 4);
	if (type == CAP_NOTIFY)
		body[WINDOW_DATA - 2] = NOTIFY_MULTIPLIER;
	return pci_device_capability(&d->pci, PCI_CAP_VENDOR, body, size);
}

int virtio_pci_attach(struct virtio_device *d, struct pci_bus *bus, struct err *e)
{
	struct pci_device *p = &d->pci;

	pci_device_init(p, &virtio_pci_ops, VIRTIO_VENDOR, (u16)(VIRTIO_DEVICE_BASE + d->class->id),
			d->class->pci_class, (u16)(0x1100));
	pci_device_bar(p, BAR_REGISTERS, AT_END);
	add_capability(d, CAP_COMMON, AT_COMMON, 0x38, 16);
	add_capability(d, CAP_NOTIFY, AT_NOTIFY, d->n_queues * NOTIFY_MULTIPLIER, 20);
	add_capability(d, CAP_ISR, AT_ISR, 1, 16);
	if (d->config_size)
		add_capability(d, CAP_DEVICE, AT_DEVICE, d->config_size, 16);
	d->window_cap = add_capability(d, CAP_WINDOW, 0, 0, 20);
	p->writable[d->window_cap + WINDOW_BAR] = 0xff;
	memset(p->writable + d->window_cap + WINDOW_OFFSET, 0xff, 12);
	if (bus->host.raise_msi)
		pci_device_msix(p, BAR_MSIX, d->n_queues + 1);
	p->bell_bar = BAR_REGISTERS;
	p->bell_offset = AT_NOTIFY;
	p->bell_count = d->n_queues;
	p->bus = bus;
	clear(d);
	return pci_device_attach(bus, p, e);
}
