/* SPDX-License-Identifier: MIT
 * Stores to pages that are touched for the first time, by the same instructions again and again: the translator
 * comes to ask before such stores whether their page is there.  Registers, flags and memory must be as without.
 *
 *	touch         everything; prints `ok NAME` or `not ok NAME: what`
 *	touch ROUNDS  one store to each of 256 fresh pages, so many times: for counting faults */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 64
#define FLAGS 0x8d5 /* status flags */

static const char *wrong;
#define WANT(x) do { if (!(x) && !wrong) wrong = #x; } while (0)

static uint8_t *fresh(size_t pages)
{
	uint8_t *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

/* Each form: RCX, RDX and flags before and after, and where the value went. */
struct state { uint64_t rcx, rdx, rax, flags; };

#define FORM(name, insn)                                                                                            \
	static void __attribute__((noinline)) name(struct state *s)                                                 \
	{                                                                                                           \
		uint64_t flags;                                                                                     \
		__asm__ volatile("sub $128, %%rsp\n\tpush %[in]\n\tpopfq\n\t" insn "\n\tpushfq\n\tpop %[out]\n\t"    \
				 "add $128, %%rsp"                                                                   \
				 : "+c"(s->rcx), "+d"(s->rdx), "+a"(s->rax), [out] "=&r"(flags)                        \
				 : [in] "r"(s->flags) : "memory", "cc");                                             \
		s->flags = flags & FLAGS;                                                                           \
	}
FORM(store_self, "mov %%rcx, (%%rcx)")
FORM(store_index, "mov %%eax, 8(%%rdx,%%rcx,4)")
FORM(store_high, "movb %%ah, 1(%%rcx)")
FORM(store_add, "addq $5, (%%rdx)")
FORM(store_xchg, "xchg %%rcx, (%%rdx)")
FORM(store_cmpxchg, "lock cmpxchg %%rcx, (%%rdx)")
FORM(store_word, "movw %%cx, 4094(%%rdx)")
FORM(store_end, "mov %%rcx, 4092(%%rdx)") /* runs over into the next page */

static void forms(void)
{
	for (int round = 0; round < 6; round++) {
		uint8_t *p = fresh(PAGES + 1);

		for (uint64_t i = 0; i + 9 < PAGES; i += 9) {
			uint64_t at = (uint64_t)p + i * PAGE, want = FLAGS & 0x55 * (i + 1);
			struct state s = { at, 2, 3, want };

			want &= FLAGS;
			store_self(&s);
			WANT(s.rcx == at && s.rdx == 2 && s.rax == 3 && s.flags == want && *(uint64_t *)at == at);
			s = (struct state){ PAGE / 4, at, 0x12345678, want };
			store_index(&s);
			WANT(s.rcx == PAGE / 4 && s.rdx == at && s.flags == want && *(uint32_t *)(at + PAGE + 8) == 0x12345678);
			s = (struct state){ at + 2 * PAGE, 7, 0xabcd, want };
			store_high(&s);
			WANT(s.rcx == at + 2 * PAGE && s.rax == 0xabcd && s.flags == want && *(uint16_t *)(at + 2 * PAGE) == 0xab00);
			s = (struct state){ 9, at + 3 * PAGE, 1, want };
			store_add(&s);
			WANT(s.rcx == 9 && s.flags == 4 && *(uint64_t *)(at + 3 * PAGE) == 5);
			s = (struct state){ 77, at + 4 * PAGE, 1, want };
			store_xchg(&s);
			WANT(s.rcx == 0 && s.flags == want && *(uint64_t *)(at + 4 * PAGE) == 77);
			s = (struct state){ 78, at + 5 * PAGE, 0, want };
			store_cmpxchg(&s);
			WANT(s.rcx == 78 && s.rax == 0 && *(uint64_t *)(at + 5 * PAGE) == 78);
			s = (struct state){ 0x1234, at + 6 * PAGE, 0, want };
			store_word(&s);
			WANT(s.rcx == 0x1234 && s.flags == want && *(uint16_t *)(at + 6 * PAGE + 4094) == 0x1234);
			s = (struct state){ 0x1122334455667788, at + 7 * PAGE, 0, want };
			store_end(&s);
			WANT(s.flags == want && *(uint64_t *)(at + 7 * PAGE + 4092) == 0x1122334455667788);
		}
		munmap(p, (PAGES + 1) * PAGE);
	}
}

static struct { uint8_t pad[PAGE]; volatile uint64_t word; } apart[8] __attribute__((aligned(4096)));

static void __attribute__((noinline)) store_apart(uint64_t v)
{
	apart[1].word = v; /* its address is relative to RIP */
	apart[5].word = v + 1;
}

/* Children write to pages that they share with their parent until then. */
static void copies(void)
{
	for (int i = 0; i < 8; i++) {
		pid_t pid;
		int status;

		store_apart(7);
		pid = fork();
		if (pid == 0) {
			store_apart((uint64_t)i);
			_exit(apart[1].word == (uint64_t)i && apart[5].word == (uint64_t)i + 1 ? 0 : 1);
		}
		WANT(waitpid(pid, &status, 0) == pid && status == 0);
		WANT(apart[1].word == 7 && apart[5].word == 8);
	}
}

static sigjmp_buf back;
static volatile uintptr_t where;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	where = (uintptr_t)info->si_addr;
	siglongjmp(back, 1);
}

static void __attribute__((noinline)) store_to(volatile uint8_t *p) { *p = 1; }

static int faults_at(volatile uint8_t *p)
{
	where = 0;
	if (sigsetjmp(back, 1))
		return where == (uintptr_t)p;
	store_to(p);
	return 0;
}

/* What was there and writable a moment ago may be so no longer. */
static void taken_back(void)
{
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &act, NULL);
	for (int i = 0; i < 4; i++) {
		uint8_t *p = fresh(16);

		for (int k = 0; k < 16; k++)
			WANT(!faults_at(p + k * PAGE));
		mprotect(p, 4 * PAGE, PROT_READ);
		WANT(faults_at(p + PAGE + 5) && !faults_at(p + 4 * PAGE));
		mprotect(p, 4 * PAGE, PROT_READ | PROT_WRITE);
		WANT(!faults_at(p + PAGE + 5));
		madvise(p + 8 * PAGE, PAGE, MADV_DONTNEED);
		WANT(p[8 * PAGE] == 0 && !faults_at(p + 8 * PAGE) && p[8 * PAGE] == 1);
		munmap(p, 16 * PAGE);
		WANT(faults_at(p) && faults_at(p + 15 * PAGE));
	}
	WANT(faults_at((uint8_t *)0x8000) && faults_at((uint8_t *)0x7ffffffff000));
	signal(SIGSEGV, SIG_DFL);
}

/* A loop that the clock meets, and then first touches by the same store. */
static void busy(void)
{
	uint8_t *p = fresh(PAGES);

	for (int i = 0; i < 100000000; i++)
		store_to(p + (i & 1023));
	for (int i = 0; i < PAGES; i++)
		store_to(p + i * PAGE);
	for (int i = 0; i < PAGES; i++)
		WANT(p[i * PAGE] == 1);
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*run)(void); } parts[] = {
		{ "forms of stores", forms }, { "pages copied on write", copies }, { "mappings taken back", taken_back },
		{ "a busy store", busy }, { "forms once more", forms },
	};

	if (argc > 1) {
		for (int i = atoi(argv[1]); i; i--) {
			uint8_t *p = fresh(256);

			for (int k = 0; k < 256; k++)
				store_to(p + k * PAGE);
			munmap(p, 256 * PAGE);
		}
		return 0;
	}
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		wrong = NULL;
		parts[i].run();
		printf(wrong ? "not ok %s: %s\n" : "ok %s\n", parts[i].name, wrong);
	}
	return 0;
}
