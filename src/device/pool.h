/* SPDX-License-Identifier: MIT
 * Threads of a worker that do what may wait for the host: jobs go in, and come back to the worker's main
 * thread, which alone touches the queues.
 *
 * The main thread calls every function but job->run, which runs in a thread of the pool. */
#ifndef PENUMBRA_DEVICE_POOL_H
#define PENUMBRA_DEVICE_POOL_H

#include <pthread.h>

#include "base/err.h"
#include "base/types.h"

#define POOL_THREADS 4

struct job {
	struct job *next;
	void (*run)(struct job *job);
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct job *first, **last;     /* to do */
	struct job *done;              /* done, newest first */
	int event;                     /* readable when `done` is not empty */
};

int pool_begin(struct pool *p, struct err *e);
void pool_submit(struct pool *p, struct job *job);
/* What was finished, oldest first; NULL for nothing. */
struct job *pool_collect(struct pool *p);

#endif
