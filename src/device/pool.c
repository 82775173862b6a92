/* SPDX-License-Identifier: MIT */
#include "device/pool.h"

#include <errno.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void *thread(void *arg)
{
	struct pool *p = arg;
	u64 one = 1;

	for (;;) {
		struct job *job;
		bool first;

		pthread_mutex_lock(&p->lock);
		while (!p->first)
			pthread_cond_wait(&p->wanted, &p->lock);
		job = p->first;
		p->first = job->next;
		if (!p->first)
			p->last = &p->first;
		pthread_mutex_unlock(&p->lock);
		job->run(job);
		pthread_mutex_lock(&p->lock);
		first = !p->done;
		job->next = p->done;
		p->done = job;
		pthread_mutex_unlock(&p->lock);
		if (first && write(p->event, &one, sizeof one) < 0)
			_exit(1);
	}
	return NULL;
}

int pool_begin(struct pool *p, struct err *e)
{
	pthread_attr_t attr;
	pthread_t t;
	int rc;

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wanted, NULL);
	p->first = p->done = NULL;
	p->last = &p->first;
	p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->event < 0)
		return err_sys(e, errno, "eventfd");
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < POOL_THREADS; i++) {
		rc = pthread_create(&t, &attr, thread, p);
		if (rc)
			return err_sys(e, rc, "thread");
	}
	pthread_attr_destroy(&attr);
	return 0;
}

void pool_submit(struct pool *p, struct job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&p->lock);
	*p->last = job;
	p->last = &job->next;
	pthread_cond_signal(&p->wanted);
	pthread_mutex_unlock(&p->lock);
}

struct job *pool_collect(struct pool *p)
{
	struct job *job, *list = NULL;
	u64 count;

	if (read(p->event, &count, sizeof count) < 0 && errno != EAGAIN)
		return NULL;
	pthread_mutex_lock(&p->lock);
	job = p->done;
	p->done = NULL;
	pthread_mutex_unlock(&p->lock);
	while (job) {
		struct job *next = job->next;

		job->next = list;
		list = job;
		job = next;
	}
	return list;
}
