/* SPDX-License-Identifier: MIT
 * The file in which translations outlive a run (translate/store.h), seen from the front-end.
 *
 * What lies in it is run, so that it is believed only where nobody else can have written it: in a directory of the
 * user's that is closed to others, in a file of the user's that is too, with a message authentication code by a key in
 * the same directory, made by this very build.  Anything else is left alone or replaced.
 *
 * The file is written by a process of its own, forked before the front-end confines itself, when the machine has ended;
 * whoever is last replaces it as a whole (rename(2)), with what the file held when that machine began. */
#ifndef PENUMBRA_ACCEL_BT_STORE_H
#define PENUMBRA_ACCEL_BT_STORE_H

#include "accel/store_directory.h"
#include "base/err.h"
#include "translate/store.h"

#define STORE_FILES 8 /* in a directory; the oldest go */

struct bt_store {
	int dir;                         /* -1: nothing is stored */
	int file;                        /* -1: none that may be used */
	u64 size;                        /* of the file */
	const struct store_head *head;   /* it, mapped; NULL: none */
	char name[40];                   /* of the file in the directory */
	u8 build[32], key[16];
	int writer;                      /* pipe to the process that writes, -1: none */
	int answer;                      /* and what became of it: an errno, or 0 */
	int pid;
};

/* What the translations of a file depend on beside the guest's bytes. */
struct store_setting {
	const u8 *monitor, *monitor_end; /* image of the monitor */
	const u8 *content;               /* 32 bytes that tell kernels apart */
	bool smp;
	u64 insns;                       /* of a block, if a test limits them */
};

/* `directory`: "auto" for $XDG_CACHE_HOME/penumbra (~/.cache where unset), "off", or a path.  Makes it where it is
 * missing.  Never fails: what cannot be used is told in `note`, a line, and the machine goes without. */
void bt_store_open(struct bt_store *s, const char *directory, const struct store_setting *setting, char note[STORE_NOTE_MAX]);
/* Forks the process that will write; `shared` is the monitor's memory, at whose offsets it finds the cache. */
void bt_store_fork_writer(struct bt_store *s, int shared);
/* The machine's processes are dead: writes what they left where that is worth it.  `worth`: whether it is. */
void bt_store_save(struct bt_store *s, bool worth, char note[STORE_NOTE_MAX]);
/* The file is not needed any more. */
void bt_store_forget(struct bt_store *s);
void bt_store_close(struct bt_store *s);

/* bt_store_image.c: a file's contents, *size bytes to be freed, but for build, nonce and mac, from the monitor's memory.
 * That may hold anything: nothing in it is believed.  NULL where there is nothing, too much, or no memory. */
u8 *bt_store_image(const u8 *shared, u64 *size);
/* The size of a file with that head, 0 where it is impossible. */
u64 bt_store_size(const struct store_head *h);
/* Writes its arrays to where the monitor has them.  0 or a negative errno. */
int bt_store_restore(const struct store_head *h, int shared);
/* The code of a file whose head is `h`, with the key. */
void bt_store_mac(const struct store_head *h, const u8 key[16], u8 mac[16]);

#endif
