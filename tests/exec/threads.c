/* SPDX-License-Identifier: MIT
 * Threads, processes, and code that changes: the same text natively and translated. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static atomic_long total;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long guarded;
static __thread int mine;

static void *work(void *arg)
{
	long n = (long)arg;

	mine = (int)n;
	for (int i = 0; i < 2000; i++) {
		atomic_fetch_add(&total, i);
		pthread_mutex_lock(&lock);
		guarded += mine;
		pthread_mutex_unlock(&lock);
		if (!(i & 255))
			sched_yield();
	}
	return (void *)(n * 2);
}

static void threads(void)
{
	pthread_t t[24];
	long sum = 0;

	for (int round = 0; round < 6; round++) {
		for (long i = 0; i < 24; i++)
			if (pthread_create(&t[i], NULL, work, (void *)i))
				exit(1);
		for (int i = 0; i < 24; i++) {
			void *r;

			pthread_join(t[i], &r);
			sum += (long)r;
		}
	}
	printf("threads %ld %ld %ld\n", atomic_load(&total), guarded, sum);
}

static atomic_int hits;
static void on_usr(int sig) { (void)sig; atomic_fetch_add(&hits, 1); }
static atomic_int stop;
static void *spin(void *arg)
{
	volatile unsigned x = 0;

	while (!stop)
		for (int i = 0; i < 100; i++)
			x = x * 3 + 1;
	return arg;
}

static void signalled_threads(void)
{
	pthread_t t[3];
	int sent = 0;

	signal(SIGUSR1, on_usr);
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, spin, NULL);
	for (int i = 0; i < 300; i++) {
		int before = hits;

		if (!pthread_kill(t[i % 3], SIGUSR1))
			sent++;
		while (hits == before)
			sched_yield();
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	printf("signalled %d %d\n", sent, hits);
}

static void processes(void)
{
	int status, sum = 0;

	for (int i = 0; i < 60; i++) {
		pid_t p = i & 1 ? fork() : vfork();

		if (!p)
			_exit(i);
		waitpid(p, &status, 0);
		sum += WEXITSTATUS(status);
	}
	for (int i = 0; i < 20; i++) {
		char *argv[] = { "sh", "-c", "exit 3", NULL };
		pid_t p;

		if (posix_spawn(&p, "/bin/sh", NULL, NULL, argv, environ))
			exit(1);
		waitpid(p, &status, 0);
		sum += WEXITSTATUS(status);
	}
	pid_t p = 0;
	char *none[] = { "none", NULL };
	int r = posix_spawn(&p, "/does/not/exist", NULL, NULL, none, environ);
	printf("processes %d, spawn of nothing %d\n", sum, r);
	p = vfork();
	if (!p) {
		execl("/bin/sh", "sh", "-c", "exit 5", (char *)NULL);
		_exit(1);
	}
	waitpid(p, &status, 0);
	printf("vfork and exec %d\n", WEXITSTATUS(status));
}

typedef int function(void);

static void write_code(unsigned char *p, int value)
{
	p[0] = 0xb8;
	memcpy(p + 1, &value, 4);
	p[5] = 0xc3;
}

/* A block that was translated while nobody could write to it, and then writes to its own page from its first bytes on. */
static void made_writable(void)
{
	/* push rcx; mov [rdi], esi; pop rcx; mov eax, imm32; ret */
	static const unsigned char own[] = { 0x51, 0x89, 0x37, 0x59, 0xb8, 0, 0, 0, 0, 0xc3 };
	unsigned char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int (*call)(void *, int) = (int (*)(void *, int))p;
	long sum = 0;
	int elsewhere;

	memcpy(p, own, sizeof own);
	for (int i = 0; i < 50; i++) {
		mprotect(p, 4096, PROT_READ | PROT_EXEC);
		sum += call(&elsewhere, i);
		mprotect(p, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
		for (int k = 0; k < 3; k++)
			sum += call(p + 5, i + k);
	}
	printf("made writable %ld\n", sum);
	munmap(p, 4096);
}

static void changing_code(void)
{
	unsigned char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long sum = 0;

	for (int i = 0; i < 300; i++) {
		write_code(p, i);
		sum += ((function *)p)();
	}
	printf("rewritten %ld\n", sum);
	sum = 0;
	for (int i = 0; i < 50; i++) {
		mprotect(p, 4096, PROT_READ | PROT_WRITE);
		write_code(p + 16 * (i % 8), i);
		mprotect(p, 4096, PROT_READ | PROT_EXEC);
		for (int k = 0; k <= i && k < 8; k++)
			sum += ((function *)(p + 16 * k))();
	}
	printf("reprotected %ld\n", sum);
	munmap(p, 8192);
	sum = 0;
	for (int i = 0; i < 50; i++) {
		unsigned char *q = mmap(p, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

		write_code(q, i);
		sum += ((function *)q)();
		munmap(q, 4096);
	}
	printf("mapped anew %ld\n", sum);
	/* An instruction that rewrites the one behind it: mov byte [rip+1], 7; mov eax, 1; ret */
	unsigned char *q = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const unsigned char self[] = { 0xc6, 0x05, 1, 0, 0, 0, 7, 0xb8, 1, 0, 0, 0, 0xc3 };

	memcpy(q, self, sizeof self);
	printf("self-modifying %d %d\n", ((function *)q)(), ((function *)q)());
	/* The kernel writes into a page with code. */
	int fd[2];
	unsigned char code[6];

	if (pipe(fd))
		exit(1);
	for (int i = 0; i < 3; i++) {
		write_code(code, 100 + i);
		if (write(fd[1], code, 6) != 6 || read(fd[0], q, 6) != 6)
			printf("read failed: %s\n", strerror(errno));
		printf("read code %d\n", ((function *)q)());
	}
}

/* Code high in memory calls and is called. */
static void far_code(void)
{
	unsigned char *p = mmap((void *)0x5f0000000000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	/* push rbx; mov ebx, edi; mov edi, ebx; call rsi; add eax, ebx; call [rip+far]; pop rbx; ret; far: f */
	static const unsigned char code[] = { 0x53, 0x89, 0xfb, 0x89, 0xdf, 0xff, 0xd6, 0x01, 0xd8, 0x5b, 0xc3 };
	long sum = 0;

	if (p == MAP_FAILED)
		exit(1);
	memcpy(p, code, sizeof code);
	for (int i = 0; i < 1000; i++)
		sum += ((int (*)(int, int (*)(int)))p)(i, abs);
	printf("far %ld\n", sum);
}

/* One thread runs code in a page while another writes elsewhere in it: what is known of the code goes each time, and
 * must not go under the feet of the one that runs it. */
static unsigned char *page;
static atomic_long wrong, ran;

static void *runner(void *arg)
{
	while (!stop) {
		wrong += ((int (*)(int))page)(200) != 600;
		ran++;
	}
	return arg;
}

static void written_beside(void)
{
	/* push rbx; xor eax, eax; loop: inc eax; push rax; pop rbx; inc eax; inc eax; dec edi; jnz loop; pop rbx; ret */
	static const unsigned char code[] = {
		0x53, 0x31, 0xc0, 0xff, 0xc0, 0x50, 0x5b, 0xff, 0xc0, 0xff, 0xc0, 0xff, 0xcf, 0x75, 0xf4, 0x5b, 0xc3,
	};
	pthread_t t[3];

	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		exit(1);
	memcpy(page, code, sizeof code);
	stop = 0;
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, runner, NULL);
	for (int i = 0; i < 200; i++) {
		long before = ran;

		page[2048]++;
		while (ran < before + 20)
			sched_yield();
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	printf("written beside %d, wrong %ld\n", page[2048], wrong);
}

int main(int argc, char **argv)
{
	(void)argv;
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1)
		return 0;
	made_writable();
	threads();
	made_writable();
	signalled_threads();
	processes();
	changing_code();
	far_code();
	written_beside();
	return 0;
}
