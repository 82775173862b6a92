/* SPDX-License-Identifier: MIT
 * KVM's own counters (api.rst, KVM_GET_STATS_FD). */
#include "accel/kvm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 1024u
#define NAME_MAX_BYTES 256u

static u64 find(int fd, const struct kvm_stats_header *h, const char *name)
{
	size_t size = sizeof(struct kvm_stats_desc) + h->name_size;
	u8 *all = calloc(h->num_desc, size);
	u64 value = 0;

	if (all && pread(fd, all, h->num_desc * size, h->desc_offset) == (ssize_t)(h->num_desc * size))
		for (u32 i = 0; i < h->num_desc; i++) {
			const struct kvm_stats_desc *d = (const void *)(all + i * size);

			if (!strncmp(d->name, name, h->name_size) &&
			    pread(fd, &value, sizeof value, (off_t)h->data_offset + d->offset) != sizeof value)
				value = 0;
		}
	free(all);
	return value;
}

u64 kvm_stats_interrupts(int vcpu_fd)
{
	struct kvm_stats_header h;
	int fd = ioctl(vcpu_fd, KVM_GET_STATS_FD, NULL);
	u64 value = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &h, sizeof h, 0) == sizeof h && h.num_desc <= DESCRIPTORS_MAX && h.name_size <= NAME_MAX_BYTES)
		value = find(fd, &h, "irq_injections");
	close(fd);
	return value;
}
