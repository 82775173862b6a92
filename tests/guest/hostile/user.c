/* SPDX-License-Identifier: MIT
 * A hostile user program.  It prints what the processor and the kernel did with each of its attempts, one
 * line each; run on real hardware the same program tells what is right.  What it must find at the
 * translator's own addresses (x86/layout.h) is what lies there on any machine: nothing, or the memory
 * that it mapped itself.
 *
 * Arguments: the folded addresses of things in the guest kernel's memory, in hexadecimal: none of them may
 * be seen or changed through a user address. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "x86/layout.h"

typedef unsigned char byte;

#define PAGE 4096ul
#define FOLD ((uint64_t)FOLD_OFF)
#define AT(disp) (FOLD + (uint64_t)(int64_t)(disp))

static sigjmp_buf back;
static volatile int trap_no, trap_error, trap_signal;
static volatile uint64_t trap_address;
static volatile int ticks;

static void caught(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)info;
	if (sig == SIGALRM) {
		ticks++;
		return;
	}
	trap_signal = sig;
	trap_no = (int)u->uc_mcontext.gregs[REG_TRAPNO];
	trap_error = (int)u->uc_mcontext.gregs[REG_ERR];
	trap_address = trap_no == 14 ? (uint64_t)u->uc_mcontext.gregs[REG_CR2] : 0;
	siglongjmp(back, 1);
}

/* What happened, in words; without the bit that tells which other rights a present page lacks. */
static const char *outcome(void)
{
	static char text[96];

	if (trap_signal == SIGTRAP || trap_no == 3 || trap_no == 1)
		snprintf(text, sizeof text, "signal %d", trap_signal);
	else if (trap_no == 14)
		snprintf(text, sizeof text, "page fault %x at %lx", trap_error, trap_address);
	else
		snprintf(text, sizeof text, "signal %d trap %d error %x", trap_signal, trap_no, trap_error);
	return text;
}

/* 1 if the statement was stopped by a signal. */
#define TRY(...) ({ int stopped_ = sigsetjmp(back, 1); if (!stopped_) { __VA_ARGS__; } stopped_; })

/* ---- addresses ---- */

static int is_mapped(uint64_t a) { return !msync((void *)(a & ~(PAGE - 1)), PAGE, MS_ASYNC); }

/* The stated limit of the address space that a program sees: the user world's scratch page, and tables that
 * it may read. */
static int is_scratch(uint64_t a) { return a - AT(SPILL_U_DISP) < PAGE; }
static int is_readable(uint64_t a)
{
	return is_scratch(a) || a - AT(CONST_DISP) < PAGE || a - AT(SLOT_DISP) < (uint64_t)JUMPS_SIZE ||
	       a - AT(PROBE_DISP) < PROBE_AREA;
}
static int is_shared_with_translator(uint64_t a) { return is_readable(a); }

static unsigned long probes, wrong;

static void probe(uint64_t a)
{
	volatile byte value = 0;

	if (is_mapped(a) || is_scratch(a))
		return;
	probes++;
	for (int write = is_readable(a); write < 2; write++) {
		if (!(write ? TRY(*(volatile byte *)a = 0x5a) : TRY(value = *(volatile byte *)a))) {
			printf("WRONG: %s %lx is possible (%x)\n", write ? "write to" : "read from", a, value);
			wrong++;
			continue;
		}
		/* Linux hides in the error code whether a kernel address is mapped. */
		if (trap_signal != SIGSEGV || (a < 1ull << 47 && (trap_address != a || (trap_error & 0x3f) != (4 | write << 1)))) {
			printf("WRONG: %s %lx: %s\n", write ? "write to" : "read from", a, outcome());
			wrong++;
		}
	}
	if (!TRY(((void (*)(void))a)()) || trap_signal != SIGSEGV || (a < 1ull << 47 && trap_address != a)) {
		printf("WRONG: jump to %lx: %s\n", a, outcome());
		wrong++;
	}
}

static const int64_t landmarks[] = {
	SPILL_DISP, SPILL_K_DISP, SLOT_DISP, ULOOKUP_DISP, SLOT_DISP + JUMPS_SIZE, KLOOKUP_DISP, KGUARDED_DISP, PROBE_DISP, SPILL_DISP + SPILL_AREA_SIZE, 0, MONITOR_DISP, SHARED_DISP, CODE_DISP, COLD_DISP, PRIVATE_DISP,
	ALTSTACK_DISP, CARRIER_DISP, FOLDS_DISP, RAM_DISP, RAM_DISP + 0x8000000, RAM_DISP + 0x20000000, -0x80000000ll,
	-0x7f000000ll, -0x400000000000ll,
};

static void sweep(void)
{
	for (uint64_t a = 0; a < 1ull << 47; a += 1ull << 37)
		for (int d = -1; d <= 1; d++)
			probe(a + (uint64_t)(int64_t)d * (PAGE / 2));
	for (volatile size_t i = 0; i < sizeof landmarks / sizeof *landmarks; i++)
		for (int page = -24; page <= 24; page++)
			for (int d = 0; d < 2; d++)
				probe(AT(landmarks[i]) + (uint64_t)(int64_t)page * PAGE + (d ? PAGE - 1 : 0));
	for (int bit = 12; bit < 64; bit++) {
		probe(1ull << bit);
		probe(~0ull << bit);
		probe(AT(1ll << bit));
	}
	printf("sweep: %s\n", wrong ? "wrong" : "all unmapped addresses fault");
}

/* ---- instructions on pages of our own, at the translator's addresses ---- */

static byte *code;

/* AC, NT, DF and TF as the C library wants them. */
static inline void plain_flags(void)
{
	__asm__ volatile("subq $128, %%rsp; pushfq; andl $~0x44500, (%%rsp); popfq; addq $128, %%rsp" : : : "memory", "cc");
}

struct regs { uint64_t ax, cx, dx, bx, si, di; };

/* Runs the bytes with these registers, then returns. */
static int run(const void *bytes, size_t n, struct regs *r)
{
	byte *p = code;

	memcpy(p, bytes, n);
	p[n] = 0xc3;
	__builtin_ia32_mfence();
	if (sigsetjmp(back, 1)) {
		plain_flags();
		return 1;
	}
	__asm__ volatile("pushq %%rbx; movq %[bx], %%rbx; subq $128, %%rsp; call *%[code]; addq $128, %%rsp; movq %%rbx, %[bx]; popq %%rbx; pushfq; andl $~0x44500, (%%rsp); popfq"
			 : "+a"(r->ax), "+c"(r->cx), "+d"(r->dx), "+S"(r->si), "+D"(r->di), [bx] "+r"(r->bx)
			 : [code] "r"(p)
			 : "memory", "cc", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "st");
	return 0;
}

struct form { const char *name; byte bytes[16]; byte n; };
#define FORM(text, ...) { text, { __VA_ARGS__ }, sizeof (byte[]){ __VA_ARGS__ } }

/* Each reads or writes at RDI (RSI where both). */
static const struct form memory_forms[] = {
	FORM("mov [rdi],al", 0x88, 0x07), FORM("mov [rdi],rax", 0x48, 0x89, 0x07), FORM("mov rax,[rdi]", 0x48, 0x8b, 0x07),
	FORM("add [rdi],rax", 0x48, 0x01, 0x07), FORM("lock xadd [rdi],rax", 0xf0, 0x48, 0x0f, 0xc1, 0x07),
	FORM("xchg [rdi],rax", 0x48, 0x87, 0x07), FORM("cmpxchg [rdi],rdx", 0x48, 0x0f, 0xb1, 0x17),
	FORM("cmpxchg16b [rdi]", 0x48, 0x0f, 0xc7, 0x0f), FORM("bts [rdi],eax", 0x0f, 0xab, 0x07),
	FORM("movaps [rdi],xmm0", 0x0f, 0x29, 0x07), FORM("movups xmm1,[rdi]", 0x0f, 0x10, 0x0f),
	FORM("vmovdqu [rdi],ymm0", 0xc5, 0xfe, 0x7f, 0x07), FORM("paddd xmm0,[rdi]", 0x66, 0x0f, 0xfe, 0x07),
	FORM("movnti [rdi],rax", 0x48, 0x0f, 0xc3, 0x07), FORM("movnt [rdi],xmm0", 0x66, 0x0f, 0xe7, 0x07),
	FORM("fld qword [rdi]", 0xdd, 0x07), FORM("fstp qword [rdi]", 0xd9, 0xe8, 0xdd, 0x1f),
	FORM("fnstenv [rdi]; fldenv", 0xd9, 0x37, 0xd9, 0x27), FORM("fnstcw [rdi]", 0xd9, 0x3f),
	FORM("fxsave [rdi]", 0x0f, 0xae, 0x07), FORM("stmxcsr [rdi]", 0x0f, 0xae, 0x1f),
	FORM("xsave [rdi]", 0x0f, 0xae, 0x27), FORM("xrstor [rdi]", 0x0f, 0xae, 0x2f),
	FORM("stosb", 0xaa), FORM("rep stosq", 0xf3, 0x48, 0xab), FORM("rep movsb", 0xf3, 0xa4), FORM("movsq", 0x48, 0xa5),
	FORM("repe cmpsb", 0xf3, 0xa6), FORM("repne scasb", 0xf2, 0xae), FORM("lodsq", 0x48, 0xad),
	FORM("std; movsb", 0xfd, 0xa4), FORM("maskmovdqu xmm0,xmm1", 0x66, 0x0f, 0xf7, 0xc1),
	FORM("vmaskmovps [rdi],xmm0,xmm1", 0xc4, 0xe2, 0x79, 0x2e, 0x0f),
	FORM("movdir64b rdi,[rsi]", 0x66, 0x0f, 0x38, 0xf8, 0x3e), FORM("movdiri [rdi],eax", 0x0f, 0x38, 0xf9, 0x07),
	FORM("vpgatherdd xmm0,[rdi+xmm1*4],xmm2", 0xc4, 0xe2, 0x69, 0x90, 0x04, 0x8f),
	FORM("push [rdi]", 0xff, 0x37, 0x58), FORM("pop [rdi]", 0x50, 0x8f, 0x07), FORM("inc byte [rdi]", 0xfe, 0x07),
	FORM("mov [rdi],ds", 0x8c, 0x1f), FORM("movbe [rdi],rax", 0x48, 0x0f, 0x38, 0xf1, 0x07),
	FORM("clflush [rdi]", 0x0f, 0xae, 0x3f), FORM("prefetchw [rdi]", 0x0f, 0x0d, 0x0f),
	FORM("lss esp,[rdi]", 0x0f, 0xb2, 0x27), FORM("call far [rdi]", 0xff, 0x1f), FORM("jmp far [rdi]", 0xff, 0x2f),
	FORM("sidt-sized read", 0x48, 0x8b, 0x47, 0x08), FORM("gs mov [rdi]", 0x65, 0x88, 0x07),
	FORM("fs mov [rdi]", 0x64, 0x8a, 0x07), FORM("addr32 mov [edi]", 0x67, 0x8a, 0x07),
	FORM("xlat via rbx", 0xd7), FORM("enter via rsp kept", 0xc8, 0x10, 0x00, 0x00, 0xc9),
	FORM("crc32 rax,[rdi]", 0xf2, 0x48, 0x0f, 0x38, 0xf1, 0x07), FORM("pext rax,rcx,[rdi]", 0xc4, 0xe2, 0xf2, 0xf5, 0x07),
	FORM("imul rax,[rdi]", 0x48, 0x0f, 0xaf, 0x07), FORM("div byte [rdi]", 0xf6, 0x37),
	FORM("vmovups zmm0,[rdi]", 0x62, 0xf1, 0x7c, 0x48, 0x10, 0x07), FORM("verw [rdi]", 0x0f, 0x00, 0x2f),
	FORM("ldmxcsr [rdi] of garbage", 0x0f, 0xae, 0x17),
};

static uint64_t digest(const byte *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3;
	return h;
}

static byte *source;
#define TOUCHED 640 /* bytes of a page that the forms below reach */

static void memory_forms_at(const char *where, byte *page, int mapped)
{
	for (size_t i = 0; i < sizeof memory_forms / sizeof *memory_forms; i++) {
		const struct form *f = &memory_forms[i];
		struct regs r = { 0x1122334455667788, 3, 0x99, (uint64_t)page, (uint64_t)source, (uint64_t)page };
		uint64_t result;
		int trap;

		if (mapped)
			for (size_t k = 0; k < TOUCHED; k++)
				page[k] = (byte)(k * 7 + (k >> 8));
		__asm__ volatile("pcmpeqd %%xmm0,%%xmm0; pxor %%xmm1,%%xmm1; pcmpeqd %%xmm2,%%xmm2; fninit" : : : "xmm0", "xmm1", "xmm2");
		if (!strncmp(f->name, "xsave", 5))
			r.ax = 7, r.dx = 0;
		if (!strncmp(f->name, "xrstor", 6)) {
			r.ax = ~0ull, r.dx = ~0u; /* everything: also what a program may not have */
			if (mapped) {
				memset(page, 0, TOUCHED);
				page[24] = 0x80, page[25] = 0x1f;
				page[512] = 3;
				page[513] = 2; /* protection keys */
			}
		}
		if (!strncmp(f->name, "ldmxcsr", 7) && mapped)
			memset(page, 0xff, 4);
		trap = run(f->bytes, f->n, &r);
		__asm__ volatile("fninit");
		result = mapped ? digest(page, !strncmp(f->name, "xsave", 5) || !strncmp(f->name, "fxsave", 6) ? 0 : TOUCHED) : 0;
		if (trap && trap_no == 14)
			printf("%s: %s: page fault %x at +%lx\n", where, f->name, trap_error, trap_address - (uint64_t)page);
		else if (trap)
			printf("%s: %s: %s\n", where, f->name, outcome());
		else
			printf("%s: %s: rax %lx rcx %lx rsi +%lx rdi +%lx memory %lx\n", where, f->name, r.ax, r.cx,
			       r.si - (uint64_t)source, r.di - (uint64_t)page, result);
	}
}

static void regions(void)
{
	static const struct { const char *name; int64_t disp; } at[] = {
		{ "spill", SPILL_DISP }, { "lookup", ULOOKUP_DISP }, { "gap", SPILL_AREA_SIZE + SPILL_DISP },
		{ "fold offset", 0 }, { "monitor", MONITOR_DISP }, { "shared", SHARED_DISP }, { "code", CODE_DISP },
		{ "private", PRIVATE_DISP }, { "signal stack", ALTSTACK_DISP + 0x3f000 }, { "folds", FOLDS_DISP },
		{ "memory", RAM_DISP }, { "inside memory", RAM_DISP + 0x1000000 }, { "kernel text", -0x7f000000ll },
		{ "direct map", -0x777fff000000ll }, { "vmalloc", -0x36ffffffe000ll }, { "elsewhere", -0x200000000000ll },
	};

	memory_forms_at("unmapped", (byte *)AT(RAM_DISP + 0x3000000), 0);
	for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
		byte *want = (byte *)AT(at[i].disp);
		byte *page = mmap(want, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

		if (page != want) {
			printf("%s: mmap: %s\n", at[i].name, strerror(errno));
			continue;
		}
		memory_forms_at(at[i].name, page, 1);
		munmap(page, 2 * PAGE);
		if (!TRY(*(volatile byte *)page) && !is_shared_with_translator((uint64_t)page))
			printf("%s: still readable after munmap\n", at[i].name);
	}
}

/* Code and stacks there. */
static void live_at(const char *where, uint64_t a)
{
	static const byte body[] = { 0xb8, 42, 0, 0, 0, 0x50, 0x58, 0xe8, 0, 0, 0, 0, 0x59, 0xc3 };
	byte *want = (byte *)a, *page = mmap(want, 16 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	uint64_t r = 0;
	int n = -1, in[2];

	if (page != want) {
		printf("%s: mmap: %s\n", where, strerror(errno));
		return;
	}
	memcpy(page, body, sizeof body);
	if (TRY(__asm__ volatile("call *%1" : "=a"(r) : "r"(page) : "rcx", "memory")))
		printf("%s: code: %s\n", where, outcome());
	else
		printf("%s: code returns %lu\n", where, r);
	if (TRY(__asm__ volatile("movq %%rsp, %%r15; movq %1, %%rsp; pushq $7; movl $110, %%eax; syscall; popq %0; movq %%r15, %%rsp"
				 : "=b"(r) : "r"(page + 8 * PAGE) : "rax", "rcx", "r11", "r15", "memory")))
		printf("%s: stack: %s\n", where, outcome());
	else
		printf("%s: stack works: %lu\n", where, r);
	memset(page, 'x', PAGE);
	if (!pipe(in)) {
		n = (int)write(in[1], page + 10, 100);
		printf("%s: write %d", where, n);
		n = (int)read(in[0], page + 5000, 100);
		printf(" read %d %c\n", n, page[5099]);
		close(in[0]);
		close(in[1]);
	}
	munmap(page, 16 * PAGE);
}

/* ---- stack pointers into regions that are not ours, while timer signals come ---- */

static void pivots(void)
{
	struct itimerval on = { { 0, 2000 }, { 0, 2000 } }, off = { { 0, 0 }, { 0, 0 } };

	for (volatile size_t i = 0; i < sizeof landmarks / sizeof *landmarks; i++)
		for (int d = 0; d < 3; d++) {
			uint64_t to = AT(landmarks[i]) + (uint64_t[]){ 8, 0x100, 0x3fff8 }[d];
			uint64_t loops = 3000000, sum = 0;

			ticks = 0;
			setitimer(ITIMER_REAL, &on, NULL);
			__asm__ volatile("movq %%rsp, %%r15; movq %[to], %%rsp; 1: addq $1, %[sum]; decq %[n]; jnz 1b; movl $110, %%eax; syscall; movq %%r15, %%rsp"
					 : [sum] "+r"(sum), [n] "+r"(loops) : [to] "r"(to) : "rax", "rcx", "r11", "r15", "memory");
			setitimer(ITIMER_REAL, &off, NULL);
			if (sum != 3000000)
				printf("WRONG: pivot to %lx lost count\n", to);
			if (!is_mapped(to) && !is_shared_with_translator(to) &&
			    !TRY(__asm__ volatile("movq %%rsp, %%r15; movq %0, %%rsp; pushq $1; movq %%r15, %%rsp" : : "r"(to) : "r15", "memory")))
				printf("WRONG: push at %lx\n", to);
		}
	printf("pivots done\n");
}

/* ---- instructions that must not run as they are ---- */

static const struct form sensitive[] = {
	FORM("wrpkru", 0x0f, 0x01, 0xef), FORM("rdpkru", 0x0f, 0x01, 0xee), FORM("xgetbv", 0x0f, 0x01, 0xd0),
	FORM("xsetbv", 0x0f, 0x01, 0xd1), FORM("xrstors [rdi]", 0x0f, 0xc7, 0x1f), FORM("xsaves [rdi]", 0x0f, 0xc7, 0x2f),
	FORM("cli", 0xfa), FORM("sti", 0xfb), FORM("hlt", 0xf4), FORM("in al,dx", 0xec), FORM("out dx,al", 0xee),
	FORM("insb", 0x6c), FORM("outsb", 0x6e), FORM("mov rax,cr0", 0x0f, 0x20, 0xc0), FORM("mov cr3,rax", 0x0f, 0x22, 0xd8),
	FORM("mov rax,cr8", 0x44, 0x0f, 0x20, 0xc0), FORM("mov dr7,rax", 0x0f, 0x23, 0xf8), FORM("clts", 0x0f, 0x06),
	FORM("lgdt [rdi]", 0x0f, 0x01, 0x17), FORM("lidt [rdi]", 0x0f, 0x01, 0x1f), FORM("lldt ax", 0x0f, 0x00, 0xd0),
	FORM("ltr ax", 0x0f, 0x00, 0xd8), FORM("lmsw ax", 0x0f, 0x01, 0xf0), FORM("invlpg [rdi]", 0x0f, 0x01, 0x3f),
	FORM("wbinvd", 0x0f, 0x09), FORM("rdmsr", 0x0f, 0x32), FORM("wrmsr", 0x0f, 0x30), FORM("rdpmc", 0x0f, 0x33),
	FORM("swapgs", 0x0f, 0x01, 0xf8), FORM("stac", 0x0f, 0x01, 0xcb), FORM("clac", 0x0f, 0x01, 0xca),
	FORM("sysret", 0x48, 0x0f, 0x07), FORM("sysexit", 0x0f, 0x35), FORM("vmcall", 0x0f, 0x01, 0xc1),
	FORM("vmmcall", 0x0f, 0x01, 0xd9), FORM("vmrun", 0x0f, 0x01, 0xd8), FORM("monitor", 0x0f, 0x01, 0xc8),
	FORM("mwait", 0x0f, 0x01, 0xc9), FORM("ud2", 0x0f, 0x0b), FORM("ud0", 0x0f, 0xff, 0xc0), FORM("int3", 0xcc), FORM("icebp", 0xf1),
	FORM("retf to kernel", 0x6a, 0x10, 0x6a, 0x00, 0x48, 0xcb), FORM("iretq to nowhere", 0x6a, 0x10, 0x6a, 0x00, 0x6a, 0x00, 0x6a, 0x10, 0x6a, 0x00, 0x48, 0xcf),
	FORM("mov ss,0", 0x31, 0xc0, 0x8e, 0xd0), FORM("mov cs", 0x8e, 0xc8), FORM("mov fs,bad", 0xb8, 0x40, 0x00, 0x00, 0x00, 0x8e, 0xe0),
	FORM("popf everything", 0x68, 0xff, 0xfe, 0x3f, 0x00, 0x9d), FORM("lar eax,eax", 0x0f, 0x02, 0xc0),
	FORM("push es", 0x06), FORM("lds", 0xc5, 0x07), FORM("aam 0", 0xd4, 0x00), FORM("into", 0xce), FORM("lock nop", 0xf0, 0x90),
	FORM("lock mov", 0xf0, 0x89, 0x07), FORM("xbegin-like c7 f9", 0xc7, 0xf9, 0x00, 0x00, 0x00, 0x00), FORM("getsec", 0x0f, 0x37),
	FORM("rsm", 0x0f, 0xaa), FORM("invpcid", 0x66, 0x0f, 0x38, 0x82, 0x07), FORM("div by zero", 0x31, 0xc9, 0x48, 0xf7, 0xf1),
	FORM("jump to non-canonical", 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0xe0),
	FORM("load from non-canonical", 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0x80, 0x00, 0x8a, 0x00),
	FORM("push to non-canonical", 0x49, 0x89, 0xe7, 0x48, 0xbc, 8, 0, 0, 0, 0, 0x80, 0, 0x80, 0x50),
	FORM("fifteen prefixes", 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90),
	FORM("sixteen prefixes", 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90),
};

static void sensitive_forms(void)
{
	static const byte prefixes[] = { 0, 0x66, 0xf2, 0xf3, 0x67, 0x48, 0x41, 0x2e, 0x64, 0x65 };

	for (size_t i = 0; i < sizeof sensitive / sizeof *sensitive; i++)
		for (size_t p = 0; p < sizeof prefixes; p++) {
			const struct form *f = &sensitive[i];
			struct regs r = { 0, 0, 0, 0, (uint64_t)source, (uint64_t)source };
			byte bytes[18];
			int n = 0;

			if (p && f->n > 3)
				continue;
			if (prefixes[p])
				bytes[n++] = prefixes[p];
			memcpy(bytes + n, f->bytes, f->n);
			if (run(bytes, (size_t)n + f->n, &r))
				printf("%s with %02x: %s\n", f->name, prefixes[p], outcome());
			else
				printf("%s with %02x: runs, rax %lx\n", f->name, prefixes[p], r.ax);
		}
	for (int v = 0; v < 256; v++) {
		byte bytes[] = { 0xcd, (byte)v };
		struct regs r = { 20, 0, 0, 0, 0, 0 };

		if (v != 0x80 && !run(bytes, 2, &r))
			printf("WRONG: int %02x runs\n", v);
		else if (v != 0x80)
			printf("int %02x: %s\n", v, outcome());
	}
}

/* Into the middle of an instruction, and back out. */
static void middles(void)
{
	/* mov rax, imm64 whose bytes are: mov eax, 99; ret; nop... */
	static const byte bytes[] = { 0x48, 0xb8, 0xb8, 99, 0, 0, 0, 0xc3, 0x90, 0x90, 0xb8, 1, 0, 0, 0 };
	struct regs r = { 0, 0, 0, 0, 0, 0 };
	uint64_t whole, inner = 0;

	run(bytes, sizeof bytes, &r);
	whole = r.ax;
	if (!TRY(__asm__ volatile("call *%1" : "=a"(inner) : "r"(code + 2) : "memory")))
		printf("middle: %lu and %lu\n", whole, inner);
}

/* ---- segment bases ---- */

static void bases(void)
{
	for (volatile size_t i = 0; i < sizeof landmarks / sizeof *landmarks; i++) {
		uint64_t a = AT(landmarks[i]), old;
		byte v;

		if (is_mapped(a) || is_shared_with_translator(a))
			continue;
		__asm__ volatile("rdgsbase %0" : "=r"(old));
		__asm__ volatile("wrgsbase %0" : : "r"(a));
		if (!TRY(__asm__ volatile("movb %%gs:0, %0" : "=q"(v))) || trap_address != a)
			printf("WRONG: gs:0 at %lx: %s\n", a, outcome());
		if (!TRY(__asm__ volatile("movb $1, %%gs:(%0)" : : "r"(8ul) : "memory")) || trap_address != a + 8)
			printf("WRONG: gs:8 at %lx: %s\n", a, outcome());
		__asm__ volatile("wrgsbase %0" : : "r"(old));
		__asm__ volatile("rdfsbase %0" : "=r"(old));
		/* No library call may come between. */
		__asm__ volatile("wrfsbase %1; leaq 1f(%%rip), %%rax; 1: wrfsbase %2" : : "r"(0ul), "r"(a), "r"(old) : "rax");
	}
	printf("bases done\n");
}

/* ---- system calls with addresses of others ---- */

static void kernel_reach(uint64_t a, const char *what)
{
	static byte buffer[2 * PAGE];
	byte *edge;
	int p[2];
	long n;

	if (pipe(p))
		return;
	n = write(p[1], (void *)a, PAGE);
	if (n != -1 || errno != EFAULT)
		printf("WRONG: the kernel writes %ld bytes of %s out to us\n", n, what);
	n = write(p[1], source, PAGE);
	n = read(p[0], (void *)a, PAGE);
	if (n != -1 || errno != EFAULT)
		printf("WRONG: the kernel reads %ld bytes into %s for us\n", n, what);
	n = syscall(SYS_futex, (void *)(a & ~3ul), 1, 1, NULL, NULL, 0);
	n = syscall(SYS_clock_gettime, 1, (void *)(a & ~7ul));
	if (n != -1 || errno != EFAULT)
		printf("WRONG: clock_gettime into %s\n", what);
	/* A page of our own over it: what goes in must come out. */
	edge = mmap((void *)(a & ~(PAGE - 1)), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (edge == (byte *)(a & ~(PAGE - 1))) {
		for (int round = 0; round < 10; round++) {
			memset(edge, round, PAGE);
			close(p[0]);
			close(p[1]);
			if (pipe(p) || write(p[1], edge, PAGE) != (long)PAGE)
				break;
			memset(edge, 0xee, PAGE);
			if (read(p[0], buffer, PAGE) != (long)PAGE || buffer[17] != round || buffer[4095] != round)
				printf("WRONG: %s: what was written is not what is read\n", what);
			if (write(p[1], source, PAGE) != (long)PAGE || read(p[0], edge, PAGE) != (long)PAGE || memcmp(edge, source, PAGE))
				printf("WRONG: %s: what is read is not what was written\n", what);
			getppid();
		}
		munmap(edge, PAGE);
	}
	/* A buffer that runs from ours into it. */
	edge = mmap((void *)((a & ~0x3ffffffful) - PAGE), PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (edge == (byte *)((a & ~0x3ffffffful) - PAGE)) {
		close(p[0]);
		close(p[1]);
		n = pipe(p) ? -2 : write(p[1], edge, 2 * PAGE);
		if (n > (long)PAGE)
			printf("WRONG: %ld bytes from below %s\n", n, what);
		munmap(edge, PAGE);
	}
	close(p[0]);
	close(p[1]);
}

static void churn(void)
{
	/* More distinct mappings than the host allows a process. */
	uint64_t base = 0x100000000000;
	size_t n = 40000, bad = 0;
	byte *page;

	page = mmap((void *)base, n * 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	for (size_t i = 0; i < n; i++)
		page[i * 2 * PAGE] = (byte)i;
	for (size_t i = 0; i < n; i++)
		bad += page[i * 2 * PAGE] != (byte)i;
	munmap(page, n * 2 * PAGE);
	/* More 2 MiB regions than the translator notes. */
	for (size_t i = 0; i < 9000; i++) {
		byte *p = mmap((void *)(base + i * 0x200000), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

		*p = (byte)i;
	}
	for (size_t i = 0; i < 9000; i++)
		bad += *(byte *)(base + i * 0x200000) != (byte)i;
	for (size_t i = 0; i < 9000; i++)
		munmap((void *)(base + i * 0x200000), PAGE);
	printf("churn: %zu wrong\n", bad);
}

int main(int argc, char **argv)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGALRM };
	struct sigaction act = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t alt = { .ss_size = 65536 };

	setvbuf(stdout, NULL, _IOLBF, 0);
	alt.ss_sp = mmap(NULL, alt.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	source = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < 2 * PAGE; i++)
		source[i] = (byte)(i * 13 + 1);
	sigaltstack(&alt, NULL);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &act, NULL);
	printf("hostile: begin\n");
	for (int i = 1; i < argc; i++)
		kernel_reach(strtoull(argv[i], NULL, 16), argv[i]);
	sweep();
	regions();
	live_at("live at the monitor", AT(MONITOR_DISP));
	live_at("live at shared state", AT(SHARED_DISP));
	live_at("live at the cache", AT(CODE_DISP));
	live_at("live at the signal stack", AT(ALTSTACK_DISP));
	live_at("live at the memory", AT(RAM_DISP));
	live_at("live at the kernel text", AT(-0x7f000000ll));
	live_at("live at the direct map", AT(-0x777ffe000000ll));
	sensitive_forms();
	middles();
	bases();
	pivots();
	churn();
	for (int i = 1; i < argc; i++)
		kernel_reach(strtoull(argv[i], NULL, 16), argv[i]);
	printf("hostile: end\n");
	return 0;
}
