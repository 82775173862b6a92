/* SPDX-License-Identifier: MIT
 * The state that the front-end and all carriers share: struct shared is the machine's, struct vcpu belongs to
 * one vCPU.
 *
 * Of each vCPU one carrier runs at a time (vcpu->current); only it touches that vCPU's state, save for the
 * fields that are atomic.  A carrier that does not run waits on its futex word. */
#ifndef PENUMBRA_MONITOR_STATE_H
#define PENUMBRA_MONITOR_STATE_H

#include <stdatomic.h>

#include "machine/apic.h"
#include "machine/legacy.h"
#include "shadow/state.h"
#include "translate/block.h"
#include "translate/store.h"
#include "x86/cpu.h"
#include "x86/paging.h"

#define MAX_VCPUS 16
#define MAX_CARRIERS 128 /* of one vCPU */
#define MAX_HELD 4096
#define KERNEL_FLUSHES 32 /* that carriers catch up with one by one */
#define KERNEL_EVERYTHING (~0ull)
#define XSTATE_MAX 16384
#define RING_SIZE 65536
#define MAX_KEXEC 8192
#define KEXEC_HASH 4096
#define KEXEC_REGIONS 1024

/* Byte ring with one reader and one writer. */
struct ring {
	_Atomic u32 head, tail; /* head: written by the producer */
	u8 bytes[RING_SIZE];
};


/* Where a vCPU is: see smp.c. */
enum vcpu_where { AT_REST, AT_WORK, IN_GUEST, POLLING, IDLE };

enum monitor_end { MEND_RUNNING, MEND_POWEROFF, MEND_RESET, MEND_EXIT, MEND_HALTED, MEND_TRIPLE_FAULT, MEND_ERROR };

struct carrier_slot {
	_Atomic u32 run;        /* futex: 1 = it is this carrier's turn */
	u64 cr3;                /* root that it shadows, ~0 none */
	u64 used;               /* for least-recently-used */
	u32 pcid;
	bool alive, stale;      /* stale: must check its user mappings before it runs guest user code */
	bool recycle;           /* must drop all user mappings first */
	_Atomic bool retiring;  /* its process is to end, until the zygote has seen that; `successor` runs then */
	u32 successor;
	u32 n_instances;        /* of code pages that its slots and tables may refer to: vcpu->instances */
};

struct monitor_counters {
	u64 exits[X_KINDS], lookups, events, faults, exceptions, page_faults, interrupts;
	u64 cr3_loads, switches, carriers, steps, classes[IC_COUNT];
	u64 both_sites, vmas_peak, shootdowns;
	u64 starved;            /* see late.c */
};

/* What tests turn on through PENUMBRA_TEST_KNOBS (accel/bt.c); 0: off. */
#define TEST_KNOBS(K)                                                                  \
	K(hot) K(cold)  /* bytes of either half of the code cache */                   \
	K(insns)        /* instructions a block */                                     \
	K(kill)         /* one in so many entries kills a random block */              \
	K(storm)        /* an event after 1..storm host instructions of each entry */  \
	K(from) K(to)   /* ... where the low half of the guest's PC is in this range */ \
	K(no_keys)      /* as on a host without protection keys */                      \
	K(no_numbers)   /* as on a host that gives no PID namespace */                  \
	K(no_membarrier) /* as on a host without membarrier(2) */                       \
	K(unmapped)     /* two user pages from there are never mapped on odd vCPUs: C executes what touches them */ \
	K(check)        /* the invariants of the shadow page tables are looked at, once in so many occasions */ \
	K(paging)       /* the maintainer, its number in shadow/paging.h + 1; over --paging */ \
	K(vmas)         /* host mappings of the guest that a carrier may have; over the host's limit */ \
	K(soft)         /* user code goes through the software TLB wherever it can; a page is mapped after so many accesses */ \
	K(contrary)     /* of the decisions of the maintainer auto, one in so many is yes whatever speaks for it */ \
	K(carriers)     /* of each vCPU; at least 6 */                                  \
	K(smp)          /* one vCPU runs as one of several would */                     \
	K(seed)
struct test_knobs {
#define TEST_KNOB_FIELD(name) u64 name;
	TEST_KNOBS(TEST_KNOB_FIELD)
#undef TEST_KNOB_FIELD
};

struct shared {
	/* Set up by the front-end before start. */
	u64 tsc_mult;           /* ns = (tsc * tsc_mult) >> 32 after subtracting tsc_base */
	u64 tsc_base, ns_base;  /* ns_base: CLOCK_MONOTONIC at tsc_base */
	u64 tsc_khz;
	s64 utc_offset;         /* ns to add to monotonic time for UTC */
	bool debug_exit;        /* port 0xf4 ends the machine */
	u32 n_vcpus;
	u32 max_carriers;       /* of each vCPU */
	_Atomic u32 cache_lock, device_lock; /* see smp.c: 0 free, 1 held, 2 and waited for */
	_Atomic u32 stopped;    /* futex: no vCPU may run guest code */
	_Atomic u32 emptying;   /* futex: every vCPU must leave the code cache */
	_Atomic u32 slots_ready;/* slots whose stubs are known to all */
	/* Life cycle. */
	_Atomic u32 end;        /* futex: enum monitor_end */
	_Atomic u32 stop;       /* (front-end) every vCPU is to park */
	_Atomic u32 fork_wanted;/* futex of the zygote: a carrier to make, to signal, or that died */
	_Atomic u32 usage_wanted; /* (front-end) asks for the following, of all carriers that are there */
	_Atomic u32 usage_told; /* futex: they are right */
	u64 user_ns, system_ns; /* processor time */
	_Atomic u32 output;     /* futex: bumped when the tx ring was written */
	u64 host_cpus[16];      /* processors that the family may run on */
	u32 pkru_user, pkru_kernel, pkru_access;
	u32 xstate_pkru;        /* offset of PKRU in a signal frame's XSAVE area */
	u64 host_xcr0;
	u32 n_kexec;            /* kernel pages with translations */
	u32 low_kexec;          /* of these in the lower half */
	u32 kexec_epoch;        /* bumped when one is forgotten: what carriers know of such pages is to be noted anew */
	u32 local_kexec;        /* ... and those in the upper one that are not global */
	struct { u64 va, pa; u32 next; bool local, giant, user, kernel, apart; } kexec[MAX_KEXEC];
	u64 home[256];          /* see home.c: upper half of the root that the kernel's translations belong to */
	u64 apart_root;         /* the last other root and PCID against which what is `apart` was looked at; 0: to be looked at again */
	_Atomic u32 home_number;/* bumped when `home` changes */
	bool home_stale;        /* an invalidation elsewhere may concern it */
	u32 giant_kexec;        /* of these on a page of 1 GiB */
	u16 kexec_regions[KEXEC_REGIONS]; /* how many of these, by hash of the address's 2 MiB */
	u32 kexec_hash[KEXEC_HASH]; /* number + 1 of the first in a chain */
	char message[256];      /* for MEND_ERROR */
	struct legacy legacy;
	struct apics apics;     /* (front-end) sends messages */
	_Atomic u32 lines;      /* (front-end) levels of the interrupt lines of its devices: legacy_set_lines() */
	struct ring rx, tx;     /* console: to the guest, from the guest */
	_Atomic u32 tx_waits;   /* the port has bytes that found no room in tx: the front-end kicks when it took some */
	u64 flags;              /* MON_* */
	struct store_head store;/* of a file whose contents lie in the cache; `size` 0: none */
	struct test_knobs knobs;
};

/* One vCPU.  What it has mapped of the guest is its TLB: no other vCPU's flushes concern it. */
/* See late.c: in nanoseconds, `lost` since `since`; `awaited`: the deadline of the running guest, 0: heard of; `due`: when
 * this vCPU will be heard of at the latest if the host lets it run; `looked`: when it last looked whether others were late. */
struct lateness { u64 since, lost, looked; _Atomic u64 awaited, due; bool told; };

struct vcpu {
	/* What entry.S reaches by displacement. */
	u64 gpr[16];
	u64 host_flags;
	u32 pkru;               /* world to enter next */
	u32 world;
	struct cpu cpu;
	u32 number;
	_Atomic u32 where;      /* enum vcpu_where */
	_Atomic u32 served;     /* futex: requests of other vCPUs that it has noticed, without membarrier */
	_Atomic u32 kick;       /* futex: bumped when there may be an event for this vCPU */
	u32 kick_seen;
	_Atomic u32 parked;     /* futex: it waits for the end, and `cpu` and `xstate` are its whole state */
	_Atomic u32 current;    /* its carrier that runs */
	u32 pids[MAX_CARRIERS];
	u32 host_cpu;           /* the processor that its carriers keep to, for a while */
	u64 use_counter;
	u64 kernel_epoch;       /* bumped when kernel translations were flushed: which ones, in a ring */
	u64 kernel_flushed[KERNEL_FLUSHES];
	u64 rights_epoch;       /* bumped when CR0.WP or EFER.NXE changed */
	bool gates_open, gates_stale; /* inline SYSCALL and SYSRET: allowed; to be looked at again */
	struct lateness late;
	bool apart;             /* see home.c */
	u32 home_seen, apart_turns;
	u64 home_pcid;          /* the last one with home's upper half */
	u64 retired;            /* when carriers of roots that are gone were last looked for, ns */
	u32 poll_ns, poll_pause;/* see carrier_idle(): how long, and idle times until it may again */
	u64 eager[256];         /* roots whose user memory the kernel uses before user code does; by hash */
	struct monitor_counters count;
	u8 xstate[XSTATE_MAX] __attribute__((aligned(64)));
	u64 trace[256][2];      /* last guest PCs, for the post-mortem dump */
	u32 trace_at;
	u32 n_bound;            /* carriers from here on never had a root */
	struct carrier_slot carriers[MAX_CARRIERS];
	u32 instances[MAX_CARRIERS][MAX_HELD];
};

/* The host writes signal frames with the rights of the code that was interrupted (before Linux 6.12):
 * the alternate stack must be open to guest code. */
#define MON_OPEN_STACK 4
/* The family has process numbers of its own, so that a number from shared memory reaches nobody else. */
#define MON_OWN_NUMBERS 8
#define MON_MEMBARRIER 16

_Static_assert(offsetof(struct vcpu, gpr) == VC_GPR, "vcpu");
_Static_assert(offsetof(struct vcpu, host_flags) == VC_HOST_FLAGS, "vcpu");
_Static_assert(offsetof(struct vcpu, pkru) == VC_PKRU, "vcpu");
_Static_assert(offsetof(struct vcpu, world) == VC_WORLD, "vcpu");

/* Offsets within the shared mapping and its memfd. */
#define OFF_SHARED 0x0
#define OFF_SOURCES 0x7000000   /* STORE_SOURCES bytes: see translate/store.h */
#define OFF_CACHE 0xa000000
#define OFF_FOLDS 0x1fc00000    /* mapped at FOLDS */
#define OFF_KLOOKUP 0x1ff00000  /* also mapped at KLOOKUP */
#define OFF_CODE 0x20000000     /* mapped at CODE */
#define SHARED_FILE_SIZE (0x20000000ull + CODE_SIZE)

#define FD_SHARED 4

#define SH ((struct shared *)HOST(SHARED_DISP))
#define VCPU ((struct vcpu *)HOST(VCPU_DISP))
#define VCPU_AT(n) ((struct vcpu *)HOST(SHARED_DISP + OFF_VCPUS + (s64)(n) * VCPU_AREA))
#define CPU (&VCPU->cpu)
#define CACHE ((struct cache *)HOST(SHARED_DISP + OFF_CACHE))
_Static_assert(sizeof(struct shared) <= OFF_SHADOW, "shared state size");
_Static_assert(sizeof(struct vcpu) <= VCPU_LOG, "vcpu size");
_Static_assert(OFF_SOURCES + STORE_SOURCES <= OFF_CACHE, "sources");
_Static_assert(OFF_CACHE + sizeof(struct cache) <= OFF_VCPUS, "cache size");
_Static_assert(OFF_VCPUS + MAX_VCPUS * VCPU_AREA <= OFF_FOLDS, "vcpus");
_Static_assert(sizeof(struct spill) <= PAGE_SIZE && sizeof(struct constants) <= PAGE_SIZE, "spill");

/* ---- run.c ---- */
_Noreturn void run_loop(void);
/* A signal came while this carrier was in the monitor: it must look for events before it leaves. */
extern volatile u32 signal_noted;
extern bool signal_stack_open;
_Noreturn void monitor_end(enum monitor_end why);
_Noreturn void monitor_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
u64 now_ns(void);
/* ---- entry.S ---- */
_Noreturn void enter_user(void);
_Noreturn void enter_kernel(void);
extern const u8 exit_user[], exit_kernel[], lookup_second[], lookup_miss_user[], lookup_miss_kernel[];
extern const u8 soft_read[], soft_write[], soft_close[];
extern const u8 table_open[], table_close[], syscall_gate[], sysret_gate[], iret_gate[], gates_begin[], gates_end[];
extern const u8 enter_begin[], enter_end[], run_loop_fresh[];
extern const u8 monitor_text_begin[], monitor_text_end[];
/* ---- carrier.c ---- */
void carrier_switch(u64 cr3);
void carrier_idle(u64 deadline_ns);
void carrier_arm_timer(u64 deadline_ns);
void carrier_catch_up(void);
void carrier_sleep(void);
_Noreturn void carrier_park(void);
/* ---- signal.c ---- */
void signal_setup(void);
/* ---- host.c ---- */
size_t text_format(char *out, size_t room, const char *format, __builtin_va_list ap);

#endif
