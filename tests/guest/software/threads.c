/* SPDX-License-Identifier: MIT
 * Threads: mutexes, condition variables, barriers, atomics and thread-local data, each with a sum to check. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8, ROUNDS = 50000, TURNS = 3000, MEETINGS = 400 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long counter, turn, met[THREADS];
static atomic_long total;
static _Thread_local long mine;

static void *count(void *n)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
		atomic_fetch_add(&total, (long)n);
		mine += i;
	}
	return (void *)mine;
}

static void *take_turns(void *n)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < TURNS; i++) {
		while (turn % THREADS != (long)n)
			pthread_cond_wait(&turned, &lock);
		turn++;
		pthread_cond_broadcast(&turned);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Between two meetings every thread must see that all others have come as far. */
static void *meet(void *n)
{
	long wrong = 0;

	for (int i = 1; i <= MEETINGS; i++) {
		met[(long)n] = i;
		pthread_barrier_wait(&barrier);
		for (int k = 0; k < THREADS; k++)
			wrong += met[k] != i;
		pthread_barrier_wait(&barrier);
	}
	return (void *)wrong;
}

static long run(void *(*f)(void *))
{
	pthread_t t[THREADS];
	long sum = 0;
	void *r;

	for (long i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, f, (void *)i))
			exit(1);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &r);
		sum += (long)r;
	}
	return sum;
}

int main(void)
{
	long sum;

	pthread_barrier_init(&barrier, NULL, THREADS);
	sum = run(count);
	if (counter != (long)THREADS * ROUNDS || total != 28l * ROUNDS || sum != (long)THREADS * (ROUNDS - 1l) * ROUNDS / 2)
		return printf("counted %ld, %ld, %ld\n", counter, (long)total, sum), 1;
	run(take_turns);
	if (turn != (long)THREADS * TURNS)
		return printf("%ld turns\n", turn), 1;
	sum = run(meet);
	return sum ? printf("%ld wrong at meetings\n", sum), 1 : 0;
}
