/* SPDX-License-Identifier: MIT
 * What runs a virtual machine's processor: one interface, two accelerators (translate, kvm).
 *
 * The machine layer builds a struct vm (RAM, boot state, struct vm_ops) and calls create(), run() and
 * destroy() from one thread, the vCPU thread.  kick() and vm_request_end() may be called from any
 * thread and from a signal handler; every other function belongs to the vCPU thread.
 *
 * State of a vm, with the function on each edge:
 *
 *     described --create--> ready --run--> running --(vm->end set)--> ended --destroy--> described
 *                                             ^ kick: look at end_request and at console input
 *
 * Invariants:
 *   1. vm->end is END_NONE until run() returns 0; after that it never is.
 *   2. end_request goes from END_NONE to one other value once, and never back.
 *   3. RAM lies contiguously at vm->ram: guest physical [0, ram_low) at offset 0, and
 *      [4 GiB, 4 GiB + ram_size - ram_low) at offset ram_low (vm_ram_offset()). */
#ifndef PENUMBRA_ACCEL_ACCEL_H
#define PENUMBRA_ACCEL_ACCEL_H

#include <signal.h>
#include <stdatomic.h>
#undef REG_RIP /* <ucontext.h> and the decoder both have one: let the decoder's come second */

#include "base/err.h"
#include "base/types.h"
#include "x86/cpu.h"

struct vm;
struct host_info;

/* Why a run ended: symbol, name in JSON, words for the user. */
#define VM_ENDS(E)                                                                \
	E(NONE, "none", "still running")                                          \
	E(POWEROFF, "poweroff", "the guest powered off")                          \
	E(RESET, "reset", "the guest asked for a reset")                          \
	E(HALTED, "halted", "the guest halted with interrupts off")               \
	E(EXIT, "exit", "the guest ended the run with a status")                  \
	E(TRIPLE_FAULT, "triple-fault", "the guest processor shut down after a triple fault") \
	E(PANIC, "panic", "the guest kernel panicked")                            \
	E(TIMEOUT, "timeout", "the time limit was reached")                       \
	E(USER_QUIT, "user-quit", "left from the console")                        \
	E(ERROR, "error", "the host could not go on")

enum vm_end {
#define VM_END_ENUM(symbol, name, words) END_##symbol,
	VM_ENDS(VM_END_ENUM)
#undef VM_END_ENUM
	END_COUNT
};

/* Counters of one run: field, unit, meaning.  The JSON of --stats is generated from this list; an
 * accelerator leaves at 0 what it does not have.  Times are host monotonic, from the start of run(). */
#define VM_STATS(S)                                                               \
	S(wall_ns, "ns", "time from the start of the run to its end")             \
	S(user_ns, "ns", "processor time in user mode, all processes of the machine") \
	S(system_ns, "ns", "processor time in the host kernel, all processes of the machine") \
	S(first_output_ns, "ns", "time to the first console byte")                \
	S(init_ns, "ns", "time to the console line that announces the first user program") \
	S(console_out, "bytes", "console bytes from the guest")                   \
	S(console_in, "bytes", "console bytes to the guest")                      \
	S(blocks, "count", "blocks translated")                                   \
	S(block_insns, "count", "guest instructions translated")                  \
	S(blocks_stored, "count", "blocks that the translation cache on disk held")  \
	S(blocks_revived, "count", "times a block came back, from disk or after its page was written") \
	S(translation_ns, "ns", "time in the translator")                         \
	S(revival_ns, "ns", "time bringing blocks back")                          \
	S(code_bytes, "bytes", "translated code emitted")                         \
	S(cache_flushes, "count", "times the whole code cache was emptied")       \
	S(invalidations, "count", "blocks dropped because their code page was written") \
	S(fills, "count", "shadow page-table fills")                              \
	S(fill_pages, "pages", "pages mapped by fills")                           \
	S(compared_pages, "pages", "mapped pages compared with the guest's entries because it flushed") \
	S(dropped_pages, "pages", "pages unmapped")                               \
	S(leaves_kept, "count", "shadowed last-level tables that a flush left in place") \
	S(leaves_evicted, "count", "shadowed last-level tables that gave way because the host's mappings are limited") \
	S(everything_evicted, "count", "times that all of a carrier's mappings gave way") \
	S(tables_watched, "count", "guest page tables whose writes were recorded from then on") \
	S(tables_released, "count", "guest page tables whose writes were recorded no more") \
	S(table_traps, "count", "writes to such tables that trapped")             \
	S(table_stores, "count", "writes to such tables by checked stores, without a trap") \
	S(table_updates, "count", "shadowed entries brought up to date because they were written") \
	S(soft_sites, "count", "times an instruction of user code was made to use the software TLB") \
	S(soft_misses, "count", "misses of the software TLB")                   \
	S(faults, "count", "host faults taken in guest code")                     \
	S(exceptions, "count", "exceptions injected into the guest")              \
	S(page_faults, "count", "page faults injected into the guest")            \
	S(interrupts, "count", "external interrupts injected into the guest")     \
	S(exits, "count", "exits from guest code, all kinds")                     \
	S(exit_io, "count", "exits: port input and output")                       \
	S(exit_mmio, "count", "exits: device memory")                             \
	S(exit_halt, "count", "exits: HLT")                                       \
	S(exit_interrupt, "count", "exits: host signal, kick or interrupt window") \
	S(exit_lookup, "count", "exits: branch target not in the lookup table")   \
	S(exit_link, "count", "exits: block to be chained")                       \
	S(exit_system, "count", "exits: system instruction")                      \
	S(exit_cpuid, "count", "exits: CPUID")                                    \
	S(exit_msr, "count", "exits: RDMSR and WRMSR")                            \
	S(exit_cr, "count", "exits: control registers and INVLPG")                \
	S(exit_syscall, "count", "exits: SYSCALL and SYSRET")                     \
	S(exit_iret, "count", "exits: IRET")                                      \
	S(exit_other, "count", "exits: anything else")                            \
	S(cr3_loads, "count", "address space switches")                           \
	S(starved, "count", "times that the guest was told that the host had not let it run") \
	S(carrier_switches, "count", "changes of the carrier that runs")          \
	S(carriers_peak, "count", "most carrier processes at one time")           \
	S(vmas_peak, "count", "most host mappings in one carrier")                \
	S(ram_bytes, "bytes", "guest memory offered")                             \
	S(ram_resident, "bytes", "guest memory in use at the end")                \
	S(rss_peak, "bytes", "most host memory in use by one process, guest memory included")

struct vm_stats {
#define VM_STAT_FIELD(field, unit, meaning) u64 field;
	VM_STATS(VM_STAT_FIELD)
#undef VM_STAT_FIELD
};

/* What an accelerator asks of the machine above it.  All but device_memory() and device_config() are called by one
 * thread at a time. */
struct vm_ops {
	/* Console bytes from the guest.  Never blocks for long; a failure of the host side becomes
	 * an end_request, so there is nothing to return. */
	void (*console_write)(struct vm *vm, const void *bytes, size_t n);
	/* Console bytes for the guest: copies at most `room`, returns how many. */
	size_t (*console_read)(struct vm *vm, void *bytes, size_t room);

	/* The devices of the front-end, for an accelerator that does not run them itself but for the interrupt
	 * controllers and the interval timer: those it always has.
	 * `size` is 1, 2 or 4 bytes. */
	u32 (*io_in)(struct vm *vm, u16 port, int size);
	void (*io_out)(struct vm *vm, u16 port, int size, u32 value);
	/* Moves the devices' time on to `now_ns` (host monotonic), takes console input into them;
	 * returns when it next needs to be called (UINT64_MAX: only after port access or input). */
	u64 (*advance)(struct vm *vm, u64 now_ns);
	/* Device memory and PCI configuration space (mechanism 1: `address` as in port 0xcf8, with the low bits
	 * of the data port), 1 to 8 bytes; from any thread of the accelerator's.  What nothing claims reads as
	 * ones. */
	void (*device_memory)(struct vm *vm, u64 gpa, int size, bool write, u64 *value);
	void (*device_config)(struct vm *vm, u32 address, int size, bool write, u32 *value);
	/* The guest asked for power off or reset (END_NONE: not yet). */
	enum vm_end (*power_state)(struct vm *vm);
};

#define VM_NAME_MAX 64
#define VM_BELLS 32
#define VM_CLEAN_MAX 128
#define VM_RAM_HOLE 0xc0000000ull   /* devices lie in [3 GiB, 4 GiB) */
#define VM_RAM_HIGH 0x100000000ull

struct vm {
	char name[VM_NAME_MAX];
	const struct accel *accel;
	const struct vm_ops *ops;
	const struct host_info *host;

	int ram_fd;                /* memfd of ram_size bytes, sealed against resizing */
	u8 *ram;                   /* it, mapped shared, read and write */
	u64 ram_size, ram_low;     /* bytes; invariant 3 */

	const char *translation_cache; /* "auto", "off" or a directory (accel/bt_store.h); NULL: off */
	u8 content[32];            /* tells what is booted from other kernels, for that cache */
	char note[256];            /* a line for the user about what the machine went without, or empty */
	const char *paging;        /* how the translator keeps its shadow page tables (shadow/paging.h), NULL: auto */
	u32 n_cpus;                /* vCPUs; the first one starts from `cpu`, the others wait to be started */
	struct cpu cpu;            /* boot state before run(), last known state after it */

	bool has_devices;          /* there is a PCI bus; device_memory() and device_config() may be asked */
	int bells[VM_BELLS];       /* eventfds that notify the device of each slot, -1: none; before run() */

	/* Readable when there is console input or an end_request; non-blocking eventfd.  run() may
	 * poll it together with what it has of its own; it must read it to clear it. */
	int wake_fd;
	_Atomic int end_request;   /* enum vm_end, by vm_request_end() */
	enum vm_end end;
	bool debug_exit;           /* the guest may end the run through port 0xf4 */
	u8 exit_status;            /* with END_EXIT */
	struct vm_stats stats;

	void *accel_state;         /* the accelerator's own, between create() and destroy() */
	void *machine;             /* what the functions in `ops` work on */
};

struct accel {
	const char *name;          /* as --accel takes it: "translate", "kvm" */
	const char *title;         /* for people */
	/* Whether this host can run it: 0, or a negative errno with the reason in `why`. */
	int (*probe)(const struct host_info *host, struct err *why);
	/* Takes host resources and loads vm->cpu. */
	int (*create)(struct vm *vm, struct err *e);
	/* Runs until the guest ends: sets vm->end, brings vm->cpu and vm->stats up to date, and
	 * returns 0; or a negative errno with vm->end = END_ERROR.  It returns soon after end_request
	 * becomes something else than END_NONE. */
	int (*run)(struct vm *vm, struct err *e);
	/* Makes run() look at end_request and at console input. Async-signal-safe. */
	void (*kick)(struct vm *vm);
	/* The state of vCPU n, of n_cpus, before run() and after it.  What set_state() wrote is where run() begins; what
	 * get_state() reads is a whole state, the last one, where end_request ended the run.  (Where the guest ended it, that
	 * holds for the vCPU that did; others may have gone on since.) */
	int (*get_state)(struct vm *vm, u32 n, struct cpu *c, struct err *e);
	int (*set_state)(struct vm *vm, u32 n, const struct cpu *c, struct err *e);
	u32 max_cpus;              /* vCPUs of one machine, at most */
	/* Interrupts of the front-end's devices, from any thread.  set_irq() drives line `gsi` (0-23: IO-APIC
	 * pin, and below 16 the ISA interrupt as well; one device a line, or they agree on the level among
	 * themselves).  raise_msi() is a write of `data` to `address`. */
	void (*set_irq)(struct vm *vm, int gsi, bool level);
	void (*raise_msi)(struct vm *vm, u64 address, u32 data);
	/* A write to one of the `n` registers of 4 bytes at `gpa`, the first of a page, notifies the device of the
	 * slot: bells[slot] is written; 0: none does.  From any thread. */
	void (*set_bell)(struct vm *vm, unsigned slot, u64 gpa, u32 n);
	/* One byte a page of RAM, bit 0: it holds translated code, bit 1: it is a page table whose writes are recorded.
	 * Valid from create() to destroy(), constant
	 * NULL where nothing is translated. */
	const u8 *(*frame_flags)(struct vm *vm);
	/* Forgets what was made of these pages, at most VM_CLEAN_MAX; returns when it is done or the run has
	 * ended.  From any thread but those that serve device_memory(). */
	void (*clean_frames)(struct vm *vm, const u32 *frames, u32 n);
	/* Dirty pages since the last call: one bit a page of RAM by offset, ORed into `bitmap` of
	 * ram_size / PAGE_SIZE bits (64-bit words); clears them.  The first call starts the record,
	 * and reports every page. */
	int (*read_dirty)(struct vm *vm, u64 *bitmap, struct err *e);
	void (*destroy)(struct vm *vm);
};

extern const struct accel accel_bt, accel_kvm;

/* Asks run() to end for the reason `why`; the first request wins.  Async-signal-safe. */
void vm_request_end(struct vm *vm, enum vm_end why);

/* Name ("poweroff") and words ("the guest powered off") of an end. */
const char *vm_end_name(enum vm_end end);
const char *vm_end_words(enum vm_end end);

/* Offset in RAM of guest physical [gpa, gpa + n), or UINT64_MAX where it is not all RAM in one piece. */
static inline u64 vm_ram_offset(const struct vm *vm, gpa_t gpa, u64 n)
{
	u64 high = vm->ram_size - vm->ram_low;

	if (gpa.v < vm->ram_low && n <= vm->ram_low - gpa.v)
		return gpa.v;
	if (gpa.v >= VM_RAM_HIGH && gpa.v - VM_RAM_HIGH < high && n <= high - (gpa.v - VM_RAM_HIGH))
		return vm->ram_low + (gpa.v - VM_RAM_HIGH);
	return UINT64_MAX;
}

#endif
