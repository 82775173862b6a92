/* SPDX-License-Identifier: MIT
 * qcow2: what a process that is killed leaves to its successor (C5).
 *
 * The guest knows what was answered, whether it has flushed it or not, and goes on: so the successor must have the same
 * disk, data and mapping.  Data is in the host's page cache; the mapping is the file's tables and the entries that were
 * set since they were last written.  Reference counts follow from both.
 *
 * Owner: the block device's worker, with state->lock held for writing. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "device/qcow2.h"

int q2_log_init(struct q2 *q)
{
	q->log = mmap(NULL, sizeof *q->log, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (q->log != MAP_FAILED)
		return 0;
	q->log = NULL;
	return -ENOMEM;
}

void q2_log_free(struct q2 *q)
{
	if (q->log)
		munmap(q->log, sizeof *q->log);
}

int q2_log_room(struct q2 *q)
{
	return q->log && q->log->n == Q2_LOG_ROWS ? q2_sync(q) : 0;
}

void q2_log_add(struct q2 *q, u64 guest, u64 entry)
{
	u32 n = q->log ? q->log->n : 0;

	if (!q->log)
		return;
	q->log->row[n] = (struct q2_row){ guest & ~(q->cluster - 1), entry };
	atomic_store_explicit(&q->log->n, n + 1, memory_order_release);
}

void q2_log_clear(struct q2 *q)
{
	if (q->log)
		q->log->n = 0;
}

struct numbered { struct q2_row row; u32 i; };

static int by_guest(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;

	if (x->row.guest != y->row.guest)
		return x->row.guest < y->row.guest ? -1 : 1;
	return x->i < y->i ? -1 : 1;
}

/* The last entry of each cluster; returns how many, or -ENOMEM. */
static int last_entries(const struct q2_log *log, struct q2_row **out)
{
	u32 n = log->n, kept = 0;
	struct numbered *all = malloc((n + 1) * sizeof *all);
	struct q2_row *rows = malloc((n + 1) * sizeof *rows);

	if (!all || !rows || n > Q2_LOG_ROWS) {
		free(all);
		free(rows);
		return -ENOMEM;
	}
	for (u32 i = 0; i < n; i++)
		all[i] = (struct numbered){ log->row[i], i };
	qsort(all, n, sizeof *all, by_guest);
	for (u32 i = 0; i < n; i++)
		if (i + 1 == n || all[i + 1].row.guest != all[i].row.guest)
			rows[kept++] = all[i].row;
	free(all);
	*out = rows;
	return (int)kept;
}

static int set(struct q2 *q, const struct q2_row *row)
{
	u64 old;
	int rc = q2_entry(q, row->guest, &old);

	if (rc || old == row->entry)
		return rc;
	rc = q2_entry_set(q, row->guest, row->entry);
	if (!rc && ((old & Q2_COMPRESSED) || (old & Q2_OFFSET) != (row->entry & Q2_OFFSET)))
		rc = q2_free_entry(q, old);
	return rc;
}

int q2_log_replay(struct q2 *q, struct err *e)
{
	struct q2_log *log = q->log;
	struct q2_row *rows = NULL;
	int n = last_entries(log, &rows), rc;

	if (n < 0)
		return err_set(e, n, "no memory");
	/* Nothing is noted twice, and what was noted stays until it is on disk: this process may be killed too. */
	q->log = NULL;
	rc = q2_rebuild(q, rows, (u32)n, e);
	for (int i = 0; !rc && i < n; i++) {
		rc = set(q, &rows[i]);
		if (rc)
			err_sys(e, -rc, "%s: qcow2: restoring what was not written", q->disk->path);
	}
	free(rows);
	if (!rc) {
		rc = q2_sync(q);
		if (rc)
			err_sys(e, -rc, "%s", q->disk->path);
	}
	q->log = log;
	if (!rc)
		q2_log_clear(q);
	return rc;
}
