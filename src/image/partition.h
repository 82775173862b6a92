/* SPDX-License-Identifier: MIT
 * Partition tables: GUID (UEFI specification 2.10, chapter 5) and MBR with one level of logical partitions. */
#ifndef PENUMBRA_IMAGE_PARTITION_H
#define PENUMBRA_IMAGE_PARTITION_H

#include "image/disk_boot.h"

struct partition { u64 start, size; /* bytes, within the disk */ };

#define PARTITIONS_MAX 128

/* Fills `list` (PARTITIONS_MAX entries); a disk without a table is one partition.  Entries that reach out of the
 * disk are left out.  Returns how many there are, or a negative errno where the disk cannot be read. */
int partitions_read(const struct disk_source *disk, struct partition *list);

#endif
