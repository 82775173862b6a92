/* SPDX-License-Identifier: MIT
 * The runtime of `penumbra exec`: a freestanding program that loads another one and runs it by translation on
 * the host's kernel.  Shared by its files, nobody else.
 *
 * Registers and memory are the program's own; what the runtime adds lies where exec/layout.h says.  Nothing
 * here keeps the program from harming the runtime: both have the same rights.
 *
 * Locks: `code_lock` covers the cache, its records, the targets and the map of executable memory; a thread
 * that holds it makes no system call of the program's.  A sighand's lock covers its actions. */
#ifndef PENUMBRA_EXEC_EXEC_H
#define PENUMBRA_EXEC_EXEC_H

#include <stdatomic.h>

#include "base/sys.h"
#include "exec/layout.h"
#include "translate/block.h"

#define CACHE ((struct cache *)CACHE_BASE)

/* Signals */
#define SIGILL 4
#define SIGTRAP 5
#define SIGABRT 6
#define SIGBUS 7
#define SIGFPE 8
#define SIGKILL 9
#define SIGSEGV 11
#define SIGSTOP 19
#define SIGSYS 31
#define SIGNALS 64
#define SIG_BIT(s) (1ull << ((s) - 1))
/* What the runtime always handles, so that the kernel never sees them blocked. */
#define SYNC_SIGNALS (SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) | SIG_BIT(SIGBUS) | SIG_BIT(SIGFPE) | SIG_BIT(SIGSEGV))
#define UNBLOCKABLE (SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP))
#define SA_SIGINFO 4u
#define SA_RESTORER 0x04000000u
#define SA_ONSTACK 0x08000000u
#define SA_RESTART 0x10000000u
#define SA_NODEFER 0x40000000u
#define SA_RESETHAND 0x80000000u
#define SEGV_MAPERR 1
#define SEGV_ACCERR 2
#define SIG_DFL 0ull
#define SIG_IGN 1ull
#define SS_ONSTACK 1u
#define SS_DISABLE 2u
#define SS_AUTODISARM (1u << 31)

/* Errors */
#define EPERM 1
#define ENOENT 2
#define EINTR 4
#define ENOEXEC 8
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EFAULT 14
#define EEXIST 17
#define EINVAL 22
#define ENOSYS 38

struct action { u64 handler, flags, restorer, mask; };
struct altstack { u64 sp; u32 flags, pad; u64 size; };

struct sighand {
	_Atomic u32 lock, users;
	struct action act[SIGNALS + 1];
};

struct ucontext {
	u64 flags, link;
	struct altstack stack;
	u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	u16 cs, gs, fs, ss;
	u64 err, trapno, oldmask, cr2;
	u64 fpstate;
	u64 reserved[8];
	u64 mask;
};
struct siginfo { s32 signo, errno, code, pad; u64 address; u64 rest[13]; };
struct frame {
	u64 restorer;
	struct ucontext uc;
	struct siginfo info;
};
_Static_assert(sizeof(struct siginfo) == 128 && sizeof(struct ucontext) == 304, "as the kernel's");

/* A signal that came where it could not be delivered. */
struct pending {
	struct siginfo info;
	struct ucontext uc;  /* flags, selectors, error words */
	u32 vectors;         /* bytes of vector state in the area */
};

struct thread {
	u64 gpr[16];
	u64 rip, flags;
	u64 stack;           /* top of the runtime's own */
	u32 pending;         /* a signal waits in `signal` */
	u32 kicked;          /* thread_stop_others() wants it out of the code cache */
	u64 target;
	/* From here on not known to assembly. */
	u64 gs_base;         /* the program's */
	u64 mask;            /* the program's signal mask, whole */
	struct altstack alt;
	struct sighand *hand;
	struct pending signal;
	bool stepping;       /* to a precise point */
	bool to_loop;        /* there, into the run loop */
	bool fix_pushf;
	bool capturing;      /* a signal to oneself that brings the vector state */
	_Atomic u32 inside;  /* in the code cache, or on its way there: set with code_lock held, cleared by itself in C */
	bool sampled;        /* a sample came since the call began */
	bool record;         /* the hot tier is to record from the next entry on */
	u32 timer, samples;  /* sample.c: number + 1; recordings in a row of which nothing came */
	bool vforked;        /* its maker waits for it, and gives up its area */
	u64 async;           /* asynchronous ones of SYNC_SIGNALS that the program blocks: waiting */
	struct siginfo async_info;
	_Atomic u32 *used;   /* its flag in the table of areas */
	s32 tid, pid;
	u32 clone_signal_restore;
};
#define THREAD_AT(area) ((struct thread *)((area) + AREA_THREAD))
_Static_assert(offsetof(struct thread, target) + AREA_THREAD == T_TARGET, "thread");
_Static_assert(offsetof(struct thread, pending) + AREA_THREAD == T_PENDING, "thread");
_Static_assert(sizeof(struct thread) <= AREA_VECTORS - AREA_THREAD, "thread");

static inline u64 area_here(void)
{
	u64 v;

	__asm__ volatile("rdgsbase %0" : "=r"(v));
	return v;
}
static inline struct thread *here(void) { return THREAD_AT(area_here()); }
static inline struct spill *spill_of(const struct thread *th) { return (struct spill *)((u64)th - AREA_THREAD); }

/* entry.S */
extern u8 lookup_miss[], exit_user[], exits_begin[], exits_end[], resume_entry[], far_lookup[], far_miss[], far_end[];
extern u8 enter_end[], door_insn[], door_after[], guest_after[], clone_after[], guest_copy_fault[], guest_copy_end[];
extern u8 signal_entry[], signal_restorer[];
_Noreturn void enter(void);
_Noreturn void run_fresh(void);
_Noreturn void sigreturn_enter(struct frame *f);
_Noreturn void thread_leave(u64 status, _Atomic u32 *used);
s64 door_call(u64 nr, const u64 *args);
s64 guest_call(u64 nr, const u64 *args);
#define GUEST_CALL(nr, ...) guest_call(nr, (const u64[6]){ __VA_ARGS__ })
s64 guest_copy(void *to, const void *from, size_t n);
s64 clone_call(u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 area);

/* run.c */
_Noreturn void exec_exit(u32 exit);
_Noreturn void run_loop(void);
extern u64 far_hosts[];

/* code.c: from a guest address to a block.  All need code_lock. */
extern _Atomic u32 code_lock;
void lock_take(_Atomic u32 *lock);
void lock_drop(_Atomic u32 *lock);
void code_setup(void);
/* Host address of the translation; 0 with a signal to raise in *info where there is no code. */
u64 code_lookup(u64 pc, struct siginfo *info);
/* The block that begins there; NULL as above. */
struct block *code_lookup_mode(u64 pc, u8 mode, struct siginfo *info);
/* The head of a stub, eight aligned bytes, which other threads may be about to run. */
void code_put_head(u32 stub, const u8 *bytes, size_t n);
void code_put_jump(u32 stub, const u8 *target);
/* The displacement of a branch, in eight aligned bytes (B4), which other threads may be about to run. */
void code_patch(u8 *at, const u8 *target);
/* Whether n more pages or entries of pages fit. */
bool code_has_room(u32 n);
void frame_add(u64 frame, u32 block);
bool code_known(u64 pc);
const u8 *code_find(u64 pc);
bool code_enterable(const struct block *b, const struct insn_record *r);
/* Whether the table has led to the block at pc. */
bool code_is_target(u64 pc);
/* Whether an indirect branch of the page goes through far_lookup. */
bool code_has_far_sites(u64 pc);
/* The place behind a call's translation that the table leads to for pc, where the processor foretells returns to go; 0: none. */
u64 code_landing(u64 pc);
/* An indirect branch to pc leads to the host address. */
void code_enter_target(u64 pc, u64 host);
/* The same for those that go through far_lookup. */
void code_enter_far(u64 pc, u64 host);
void code_kill_range(u64 begin, u64 end);
/* While a page may be written, its blocks are asleep; made executable again, those whose bytes are what they
 * were go on, the others are dead. */
void code_suspend_range(u64 begin, u64 end);
void code_verify_range(u64 begin, u64 end);
/* The indirect branch at pc has seen a target that the table has no word for. */
void code_far_site(u64 pc);
bool *code_page_watched(u64 page, bool make);
void code_watched_pages(void (*each)(u64 page));
void code_flush(void);
void targets_cover(u64 begin, u64 end);
/* The page that holds a target which has not been filled yet. */
void targets_fill(u64 pc);

/* flow.c */
/* A stub that goes to `host` for a branch to pc, and for another to the stub `next`, as far_lookup wants it. */
u64 env_far_stub(u64 pc, u64 host, u64 next);
/* Whether calls and returns are to be the host's from now on, for which all translations must go first; asked before
 * each translation. */
bool env_pairs_due(void);
void env_pairs_begin(void);
/* Whether calls in a block at pc are made so. */
bool env_pairs_on(u64 pc);
bool env_is_indirect_jump(const u8 *host);

/* memory.c: what the program has mapped executable. */
struct exec_range { u64 begin, end; u32 prot, shared; };
const struct exec_range *memory_find(u64 address);
/* Bytes that are executable and cannot be written. */
u64 memory_code_size(void);
void memory_note(u64 begin, u64 end, u32 prot, bool shared);
void memory_forget(u64 begin, u64 end);
/* Write-protects a page with translations; a fault on it comes to memory_write_fault(): true where it was such. */
void memory_watch(u64 page);
bool memory_write_fault(u64 address);
bool memory_unwatch_all(void);
/* mmap at the next free place in the low range; the kernel's choice where that is full. */
s64 memory_place(u64 size, u64 prot, u64 flags, s64 fd, u64 offset);
bool is_reserved(u64 begin, u64 end);
s64 memory_call(struct thread *th, u64 nr, u64 *a);

/* signal.c */
void signal_setup_thread(struct thread *th);
void signal_setup_process(struct thread *th);
/* The host makes calls again that SIGTRAP, which the runtime sends, interrupts. */
void signal_setup_restart(void);
/* Before an execve: the host ignores sig too, or again does not. */
void signal_host_ignore(int sig, bool on);
s64 signal_call(struct thread *th, u64 nr, u64 *a);
#define RESTART (-4096) /* the call has not happened: a signal comes first */
void signal_set_mask(struct thread *th, u64 mask);
u64 host_mask(u64 mask);
/* Delivers what waits; th is the whole truth. */
_Noreturn void signal_deliver_pending(struct thread *th);
/* A synchronous signal at th->rip. */
_Noreturn void signal_raise(struct thread *th, const struct siginfo *info, u64 err, u64 trapno);
_Noreturn void signal_return(struct thread *th);
_Noreturn void die_by(struct thread *th, int sig, const struct siginfo *info);

/* syscall.c */
extern u8 syscall_class[65536];
void syscall_setup(void);
/* Samples are to come: no call may be seen to be interrupted by them. */
void syscall_setup_sampled(void);
void syscall_watch(bool all);
/* Whether the path in the program's memory names its own file: /proc/self/exe, /proc/PID/exe, also of a thread. */
bool is_own_exe(u64 path);
_Noreturn void syscall_execute(struct thread *th);
_Noreturn void exec_end(int status);

/* thread.c */
struct thread *area_make(void);
u32 threads_running(void);
/* Whether there ever was a second thread that ran beside the first: translations made before are gone. */
bool threads_shared(void);
_Noreturn void thread_begin(void);
s64 thread_call(struct thread *th, u64 nr, u64 *a);
void thread_exit(struct thread *th, u64 status);
/* With code_lock held: comes back when no other thread is in the code cache, nor can come there before the lock is
 * dropped; all stand at precise points. */
void thread_stop_others(void);
bool thread_is_kick(const struct siginfo *info);
/* th's identifiers, in a new thread or process. */
void thread_name(struct thread *th);
/* th has left the code cache for C. */
void thread_outside(struct thread *th);
/* code_lock for a signal handler of a thread that is inside; false: it is to get out first. */
bool thread_lock_inside(void);

/* load.c */
struct options {
	u32 limit;          /* tests: bytes of translated code, 0: as many as there is room for */
	u32 tier, passes;
	u32 count;          /* tests: exits to C from one recording to the next, 0: by samples alone */
	u32 returns;        /* tests: 1 through the table, n: in pairs from n - 2 blocks on; 0: as flow.c finds better */
	u64 close_fd;       /* + 1: the descriptor that the program was given by */
	char report[4096];
	char program[4096]; /* what /proc/self/exe says */
};
extern struct options options;
_Noreturn void load_program(u64 *sp);
s64 load_exec(struct thread *th, u64 nr, u64 *a);

/* report.c */
void report_write(int status);

/* text.c */
_Noreturn void fatal(const char *format, ...);
void say(const char *format, ...);
size_t text_length(const char *s);
bool text_equal(const char *a, const char *b);
size_t text_format(char *out, size_t room, const char *format, ...);

struct exec_stats {
	u64 exits, links, lookups, targets, syscalls, signals, steps, writes, filled, started;
};
extern struct exec_stats stats;

#endif
