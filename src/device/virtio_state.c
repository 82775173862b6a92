/* SPDX-License-Identifier: MIT
 * Saving and loading virtio devices.  Front-end, bus->lock held, workers stopped.
 *
 * A record: the class's name (16 bytes), slot, number of queues and bytes of class state (4 each), whether it runs (1),
 * then the fields of struct pci_state, struct virtio_state, a struct virtq_setup for each queue, and the class's. */
#include <errno.h>
#include <string.h>

#include "base/fields.h"
#include "device/virtio.h"

#define NAME_SIZE 16
#define HEAD_SIZE (NAME_SIZE + 13)

#define STATE_TYPE struct pci_state
static const struct field pci_fields[] = { PCI_FIELDS(STATE_ROW, STATE_ROWS) };
#undef STATE_TYPE
#define STATE_TYPE struct virtio_state
static const struct field virtio_fields[] = { VIRTIO_FIELDS(STATE_ROW, STATE_ROWS) };
#undef STATE_TYPE
#define STATE_TYPE struct virtq_setup
static const struct field queue_fields[] = { VIRTQ_SETUP_FIELDS(STATE_ROW, STATE_ROWS) };
#undef STATE_TYPE

static const struct field_table pci_table = { "pci", pci_fields, ARRAY_SIZE(pci_fields) };
static const struct field_table virtio_table = { "virtio", virtio_fields, ARRAY_SIZE(virtio_fields) };
static const struct field_table queue_table = { "queue", queue_fields, ARRAY_SIZE(queue_fields) };

static void put32(u8 *p, u32 v) { memcpy(p, &v, 4); }
static u32 get32(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return v;
}

static size_t record_size(const struct virtio_device *d, u32 class_bytes)
{
	return HEAD_SIZE + fields_size(&pci_table) + fields_size(&virtio_table) + d->n_queues * fields_size(&queue_table) + class_bytes;
}

size_t virtio_save_locked(const struct virtio_device *d, u8 *bytes)
{
	u8 *at = bytes;

	memset(at, 0, NAME_SIZE);
	memcpy(at, d->class->name, strnlen(d->class->name, NAME_SIZE));
	put32(at + NAME_SIZE, d->pci.slot);
	put32(at + NAME_SIZE + 4, d->n_queues);
	put32(at + NAME_SIZE + 8, d->class_state_size);
	at[NAME_SIZE + 12] = d->running;
	at += HEAD_SIZE;
	fields_save(&pci_table, &d->pci.state, at);
	at += fields_size(&pci_table);
	fields_save(&virtio_table, &d->state, at);
	at += fields_size(&virtio_table);
	for (u32 i = 0; i < d->n_queues; i++, at += fields_size(&queue_table))
		fields_save(&queue_table, &d->queue[i], at);
	memcpy(at, d->class_state, d->class_state_size);
	return record_size(d, d->class_state_size);
}

/* What is built in and the same on both sides: identity, capabilities, sizes of BARs.  What a guest may write is taken
 * from the record through the same masks. */
static int load_pci(struct virtio_device *d, const u8 *at, struct err *e)
{
	struct pci_state s;

	fields_load(&pci_table, &s, at);
	for (u32 i = 0; i < PCI_CONFIG_SIZE; i++) {
		u8 fixed = (u8)~d->pci.writable[i];

		if (i == PCI_STATUS)
			fixed &= (u8)~PCI_STATUS_INTX;
		if ((s.config[i] ^ d->pci.state.config[i]) & fixed)
			return err_set(e, -EINVAL, "state of device %s: pci.config differs at 0x%x", d->class->name, i);
	}
	d->pci.state = s;
	return 0;
}

int virtio_load_locked(struct virtio_device *d, const u8 *bytes, size_t n, struct err *e)
{
	const u8 *at = bytes + HEAD_SIZE;
	char name[NAME_SIZE + 1] = "";
	u32 class_bytes;
	int rc;

	if (n < HEAD_SIZE)
		return err_set(e, -EINVAL, "state of device %s: too short", d->class->name);
	memcpy(name, bytes, NAME_SIZE);
	class_bytes = get32(bytes + NAME_SIZE + 8);
	if (strcmp(name, d->class->name) || get32(bytes + NAME_SIZE) != d->pci.slot || get32(bytes + NAME_SIZE + 4) != d->n_queues)
		return err_set(e, -EINVAL, "state of device %s in slot %u: it is of another device", d->class->name, d->pci.slot);
	if (class_bytes > WORKER_STATE_MAX || n != record_size(d, class_bytes))
		return err_set(e, -EINVAL, "state of device %s: its size is %zu", d->class->name, n);
	rc = load_pci(d, at, e);
	if (rc)
		return rc;
	at += fields_size(&pci_table);
	fields_load(&virtio_table, &d->state, at);
	at += fields_size(&virtio_table);
	for (u32 i = 0; i < d->n_queues; i++, at += fields_size(&queue_table))
		fields_load(&queue_table, &d->queue[i], at);
	d->class_state_size = class_bytes;
	memcpy(d->class_state, at, class_bytes);
	d->running = bytes[NAME_SIZE + 12] == 1;
	pci_device_restored_locked(&d->pci);
	return 0;
}

void virtio_dump_locked(const struct virtio_device *d, FILE *to)
{
	fprintf(to, "device %s slot %u\n", d->class->name, d->pci.slot);
	fields_dump(&pci_table, &d->pci.state, to);
	fields_dump(&virtio_table, &d->state, to);
	for (u32 i = 0; i < d->n_queues; i++)
		fields_dump(&queue_table, &d->queue[i], to);
}
