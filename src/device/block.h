/* SPDX-License-Identifier: MIT
 * What --disk says of a disk: "FILE[,key=value...]".  No state. */
#ifndef PENUMBRA_DEVICE_BLOCK_H
#define PENUMBRA_DEVICE_BLOCK_H

#include "base/err.h"
#include "base/types.h"

enum block_cache { CACHE_WRITEBACK, CACHE_WRITETHROUGH, CACHE_UNSAFE };

struct block_options {
	char *path;
	const char *format;  /* NULL: found out */
	const char *serial;  /* NULL: none */
	bool read_only;
	u64 queues;
	int cache;           /* enum block_cache */
	char *store;         /* what the texts point to */
};

/* The first word is the file's name, whatever it looks like; a comma in it is written twice.  -EINVAL with the
 * key's name for wrong usage; block_options_free() in any case. */
int block_options_parse(struct block_options *o, const char *text, struct err *e);
void block_options_free(struct block_options *o);

#endif
