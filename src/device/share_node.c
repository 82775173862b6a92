/* SPDX-License-Identifier: MIT
 * Nodes and handles of the share server.
 *
 * A node holds an O_PATH descriptor, so that its file stays the same file whatever is renamed.  A tree may have
 * more files than a process may have descriptors: between requests the clock hand takes descriptors from nodes
 * that were not used lately.  Such a node is found again by its parent and name, and must then be the same file:
 * device, inode and time of birth are compared, else the guest gets ESTALE and looks the name up anew. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/share_internal.h"

#define ROOT_SLOT FUSE_ROOT_ID
#define CHAIN_MAX 2048 /* PATH_MAX / 2 components */
#define NONE 0u        /* slot 0 is never used */

struct identity { u64 device, inode, born_ns; mode_t kind; };

static struct share_node *at(struct share *s, u32 slot) { return &s->slabs[slot / SHARE_SLAB][slot % SHARE_SLAB]; }

static u32 slot_of(const struct share *s, const struct share_node *n)
{
	for (u32 i = 0; i < s->slab_count; i++)
		if (n >= s->slabs[i] && n < s->slabs[i] + SHARE_SLAB)
			return i * SHARE_SLAB + (u32)(n - s->slabs[i]);
	return NONE;
}

u64 share_node_id(const struct share *s, const struct share_node *n)
{
	return (u64)n->generation << 32 | slot_of(s, n);
}

static u32 *bucket(struct share *s, u64 device, u64 inode)
{
	u64 h = (inode ^ device << 40 ^ device >> 24) * 0x9e3779b97f4a7c15ull;

	return &s->buckets[h >> 48];
}

static int identify(int fd, struct identity *id)
{
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO | STATX_BTIME, &x))
		return -errno;
	id->device = (u64)x.stx_dev_major << 32 | x.stx_dev_minor;
	id->inode = x.stx_ino;
	id->born_ns = x.stx_mask & STATX_BTIME ? (u64)x.stx_btime.tv_sec * 1000000000u + x.stx_btime.tv_nsec : 0;
	id->kind = x.stx_mode & S_IFMT;
	return 0;
}

static bool same(const struct share_node *n, const struct identity *id)
{
	return n->device == id->device && n->inode == id->inode && n->born_ns == id->born_ns && n->kind == id->kind;
}

static struct share_node *find_identity(struct share *s, const struct identity *id)
{
	for (u32 slot = *bucket(s, id->device, id->inode); slot; slot = at(s, slot)->next)
		if (same(at(s, slot), id))
			return at(s, slot);
	return NULL;
}

static int add_slab(struct share *s)
{
	struct share_node *slab;
	u32 first = s->slab_count * SHARE_SLAB;

	if (s->slab_count == SHARE_SLABS)
		return -ENFILE;
	slab = calloc(SHARE_SLAB, sizeof *slab);
	if (!slab)
		return -ENOMEM;
	s->slabs[s->slab_count++] = slab;
	for (u32 i = SHARE_SLAB; i-- > 0;) {
		slab[i].fd = -1;
		slab[i].generation = s->first_generation;
		if (first + i == NONE || first + i == ROOT_SLOT)
			continue;
		slab[i].next = s->free_node;
		s->free_node = first + i;
	}
	return 0;
}

void share_nodes_life(struct share *s, u32 life)
{
	s->first_generation = life << 22; /* 4 million uses of a slot before a life runs into the next one */
	for (u32 slot = 0; slot < s->slab_count * SHARE_SLAB; slot++)
		if (slot != ROOT_SLOT)
			at(s, slot)->generation = s->first_generation;
}

static void place(struct share *s, u32 slot, int fd, const struct identity *id)
{
	struct share_node *n = at(s, slot);
	u32 *head = bucket(s, id->device, id->inode);

	n->fd = fd;
	n->kind = id->kind;
	n->device = id->device;
	n->inode = id->inode;
	n->born_ns = id->born_ns;
	n->lookups = 0;
	n->name = NULL;
	n->used = true;
	n->pinned = false;
	n->next = *head;
	*head = slot;
	s->node_count++;
	s->node_fds++;
}

int share_nodes_init(struct share *s)
{
	struct identity id;
	int rc = identify(s->root, &id);

	if (!rc)
		rc = add_slab(s);
	if (rc)
		return rc;
	place(s, ROOT_SLOT, s->root, &id);
	at(s, ROOT_SLOT)->pinned = true;
	at(s, ROOT_SLOT)->lookups = 1;
	return 0;
}

static void drop(struct share *s, u32 slot)
{
	struct share_node *n = at(s, slot);
	u32 *link = bucket(s, n->device, n->inode);

	while (*link != slot)
		link = &at(s, *link)->next;
	*link = n->next;
	if (n->fd >= 0) {
		close(n->fd);
		s->node_fds--;
	}
	free(n->name);
	n->name = NULL;
	n->fd = -1;
	n->kind = 0;
	n->generation++;
	n->next = s->free_node;
	s->free_node = slot;
	s->node_count--;
}

void share_nodes_free(struct share *s)
{
	for (u32 slot = 0; slot < s->slab_count * SHARE_SLAB; slot++)
		if (at(s, slot)->kind && slot != ROOT_SLOT)
			drop(s, slot);
	for (u32 i = 0; i < s->handle_room; i++)
		if (s->handles[i].fd >= 0)
			share_handle_free(s, &s->handles[i]);
}

void share_nodes_trim(struct share *s)
{
	u32 slots = s->slab_count * SHARE_SLAB;

	for (u32 steps = 2 * slots; s->node_fds > s->fds_max / 2 && steps; steps--) {
		struct share_node *n;

		s->hand = (s->hand + 1) % slots;
		n = at(s, s->hand);
		if (n->fd < 0 || n->pinned)
			continue;
		if (n->used) {
			n->used = false;
			continue;
		}
		close(n->fd);
		n->fd = -1;
		s->node_fds--;
	}
}

struct share_node *share_node_find(struct share *s, u64 id)
{
	u32 slot = (u32)id;
	struct share_node *n;

	if (slot >= s->slab_count * SHARE_SLAB)
		return NULL;
	n = at(s, slot);
	return n->kind && n->generation == id >> 32 ? n : NULL;
}

static int open_child(int parent, const char *name, struct identity *id)
{
	int fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = identify(fd, id);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

static struct share_node *parent_of(struct share *s, const struct share_node *n)
{
	return n->name ? share_node_find(s, (u64)n->parent_generation << 32 | n->parent) : NULL;
}

static int reopen(struct share *s, struct share_node *n, int parent)
{
	struct identity id;
	int fd = open_child(parent, n->name, &id);

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	if (!same(n, &id)) {
		close(fd);
		return -ESTALE;
	}
	n->fd = fd;
	s->node_fds++;
	return 0;
}

int share_node_fd(struct share *s, struct share_node *n)
{
	struct share_node *chain[CHAIN_MAX], *top = n;
	int depth = 0, rc;

	n->used = true;
	if (n->fd >= 0)
		return n->fd;
	while (top->fd < 0) {
		if (depth == CHAIN_MAX)
			return -ESTALE;
		chain[depth++] = top;
		top = parent_of(s, top);
		if (!top)
			return -ESTALE;
	}
	while (depth--) {
		rc = reopen(s, chain[depth], top->fd);
		if (rc)
			return rc;
		top = chain[depth];
	}
	return n->fd;
}

/* Notes where a node can be found again. */
static void remember(struct share *s, struct share_node *n, const struct share_node *parent, const char *name)
{
	u32 slot = slot_of(s, parent);

	if (n->name && n->parent == slot && n->parent_generation == parent->generation && !strcmp(n->name, name))
		return;
	free(n->name);
	n->name = strdup(name); /* NULL: the node lasts as long as its descriptor */
	n->parent = slot;
	n->parent_generation = parent->generation;
	n->pinned = !n->name;
}

int share_node_lookup(struct share *s, struct share_node *parent, const char *name, struct share_node **out)
{
	struct identity id;
	struct share_node *n;
	int dir = share_node_fd(s, parent), fd, rc;

	if (dir < 0)
		return dir;
	fd = open_child(dir, name, &id);
	if (fd < 0)
		return fd;
	n = find_identity(s, &id);
	if (n && n->fd >= 0) {
		close(fd);
	} else if (n) {
		n->fd = fd;
		s->node_fds++;
	} else {
		if (!s->free_node && (rc = add_slab(s))) {
			close(fd);
			return rc;
		}
		u32 slot = s->free_node;

		n = at(s, slot);
		s->free_node = n->next;
		place(s, slot, fd, &id);
	}
	n->used = true;
	n->lookups++;
	if (slot_of(s, n) != ROOT_SLOT)
		remember(s, n, parent, name);
	*out = n;
	return 0;
}

void share_node_forget(struct share *s, u64 id, u64 lookups)
{
	struct share_node *n = share_node_find(s, id);

	if (!n || (u32)id == ROOT_SLOT)
		return;
	n->lookups -= MIN(lookups, n->lookups);
	if (!n->lookups)
		drop(s, (u32)id);
}

void share_node_keep(struct share *s, struct share_node *parent, const char *name)
{
	struct share_node *n;
	struct identity id;
	int fd;

	if (share_node_fd(s, parent) < 0)
		return;
	fd = open_child(parent->fd, name, &id);
	if (fd < 0)
		return;
	n = find_identity(s, &id);
	if (!n || n->fd >= 0) {
		close(fd);
	} else {
		n->fd = fd;
		s->node_fds++;
	}
	if (n)
		n->pinned = true;
}

void share_node_moved(struct share *s, struct share_node *parent, const char *name)
{
	struct share_node *n;
	struct identity id;
	int dir = share_node_fd(s, parent), fd;

	if (dir < 0)
		return;
	fd = open_child(dir, name, &id);
	if (fd < 0)
		return;
	close(fd);
	n = find_identity(s, &id);
	if (n && slot_of(s, n) != ROOT_SLOT) {
		n->pinned = false;
		remember(s, n, parent, name);
	}
}

int share_node_open(struct share *s, struct share_node *n, int flags)
{
	int fd = share_node_fd(s, n), opened;

	if (fd < 0)
		return fd;
	if (!S_ISREG(n->kind) && !S_ISDIR(n->kind))
		return -ELOOP;
	opened = open(share_path(fd).text, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return opened < 0 ? -errno : opened;
}

/* ---- handles ---- */

int share_handle_new(struct share *s, int fd, u64 *fh)
{
	struct share_handle *h;
	u32 i = s->free_handle;

	if (s->handle_count >= s->fds_max / 4) {
		close(fd);
		return -ENFILE;
	}
	if (i == s->handle_room) {
		u32 room = s->handle_room ? 2 * s->handle_room : 64;

		h = realloc(s->handles, room * sizeof *h);
		if (!h) {
			close(fd);
			return -ENOMEM;
		}
		s->handles = h;
		for (u32 j = s->handle_room; j < room; j++)
			s->handles[j] = (struct share_handle){ .fd = -1, .next_free = j + 1, .generation = s->first_generation };
		s->handle_room = room;
	}
	h = &s->handles[i];
	s->free_handle = h->next_free;
	h->fd = fd;
	s->handle_count++;
	*fh = (u64)h->generation << 32 | i;
	return 0;
}

struct share_handle *share_handle_find(struct share *s, u64 fh)
{
	u32 i = (u32)fh;

	if (i >= s->handle_room || s->handles[i].fd < 0 || s->handles[i].generation != fh >> 32)
		return NULL;
	return &s->handles[i];
}

void share_handle_free(struct share *s, struct share_handle *h)
{
	close(h->fd);
	free(h->entries);
	h->entries = NULL;
	h->at = h->end = 0;
	h->fd = -1;
	h->generation++;
	h->next_free = s->free_handle;
	s->free_handle = (u32)(h - s->handles);
	s->handle_count--;
}
