/* SPDX-License-Identifier: MIT
 * A region while it is made: decoded operations, the graph of nodes, and what is known at each point.
 *
 * Values.  A *variable* is one of the 16 guest registers or a stack slot.  Its value at a point of the host
 * code is where `struct val` says: in its home register, or a sum of host registers, or a constant; so a copy, a
 * constant or an address costs no instruction until something needs it in its home.  Invariants:
 *
 *  V1  A variable whose value is a sum of registers other than its home leaves its home unreferenced: no other value
 *      names that host register.  The home of one whose value is a constant may be named: bringing it home brings those
 *      home first, which ends because a constant names nothing.
 *      RSP alone may be RSP plus a displacement.
 *  V2  Before a host register is written, evict() has brought home whatever names it.
 *  V3  Every host instruction that can fault is preceded by a record of the values as they are then, and
 *      the values name only registers that still hold what they held there. */
#ifndef PENUMBRA_OPTIMISE_IR_H
#define PENUMBRA_OPTIMISE_IR_H

#include "optimise/optimise.h"
#include "x86/emit.h"

#define MAX_OPS 1536
#define MAX_NODES 384
#define MAX_CONTEXTS 128
#define MAX_DEPTH 12
#define MAX_SLOTS 24
#define VARS (16 + MAX_SLOTS)
#define MAX_RECORDS 8192
#define SNAPSHOT_BYTES 196608
#define MAX_FIXUPS 1024
#define MAX_EXITS_REGION 1024

/* kind, what it is.  Anything that has no row of its own is copied as it stands. */
#define OP_KINDS(X) \
	X(OPAQUE) /* every register it names is brought home first */ \
	X(PLAIN)  /* operands known: e_role, g_role */ \
	X(NOP) \
	X(MOV)    /* register <- register or immediate, 4 or 8 bytes */ \
	X(LOAD)   /* register <- memory, 4 or 8 bytes */ \
	X(STORE)  /* memory <- register or immediate */ \
	X(LEA)    /* 4 or 8 bytes */ \
	X(ALU)    /* the eight operations and TEST with 4 or 8 bytes */ \
	X(PUSH) X(POP) X(LEAVE) X(CALL) X(RET) X(JMP) X(JCC) X(IJMP) X(ICALL) \
	X(STOP)   /* not in a region: leave before it */
#define OP_KIND_ID(name) OP_##name,
enum op_kind { OP_KINDS(OP_KIND_ID) };

enum alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP, ALU_TEST };

#define ROLE_READ 1
#define ROLE_WRITE 2   /* the whole register, or the part that its size says */

struct op {
	struct insn in;
	u8 raw[INSN_MAX + 1];
	u64 pc;
	u8 kind;
	u8 e_role, g_role;   /* of ModRM.rm in its register form, ModRM.reg; 0: not a general register */
	u8 e_size, g_size;
	u8 alu;              /* ALU: which; its destination is E unless alu_g */
	bool alu_g;
	bool has_imm;        /* the source is in.imm */
	u16 imp_read, imp_write; /* PLAIN: implied registers */
	u16 flags_read, flags_write; /* write: surely overwritten */
	bool flags_touch;    /* may change flags */
	bool soft_dead;      /* the flags behind it are overwritten before they are read, on every path */
	bool hard_dead;      /* ... and nothing between can fault or leave */
	bool hard_before;    /* the same before it, the op included */
	bool framed;         /* memory operand lies at RSP at entry + frame */
	s32 frame;
};

/* What is a known distance from RSP at entry: registers, and words of the stack. */
#define MAX_SAVED 12
struct known {
	u16 regs;
	u8 n_saved;
	s32 frame[16];
	struct { s32 at, value; } saved[MAX_SAVED];
};

enum val_kind { VAL_HOME, VAL_EXPR, VAL_CONST, VAL_SPILL, VAL_NONE };
struct val {
	u8 kind;
	u8 base, index, shift; /* EXPR: base + (index << shift) + disp; REG_NONE: none, but not both */
	u8 wide;               /* 64 bits; else the low 32, zero-extended */
	s64 disp;              /* CONST: the value; SPILL: which word */
};

enum flag_kind { FL_HOST, FL_LAZY };
/* What the status flags are: FLG_SUB of x and y, FLG_AND of x and y, ... ; FLG_ADDR, FLG_SUBR: x is the result. */
enum flag_op { FLG_NONE, FLG_SUB, FLG_AND, FLG_ADD, FLG_ADDR, FLG_SUBR };
struct flags_val { u8 kind, op, size; struct val x, y; };

#define NO_NODE 0xffff
#define MAX_SUCC 24
struct node {
	u64 pc;
	u16 context;
	u16 first, n;        /* ops */
	u16 succ[MAX_SUCC];  /* JCC: taken, fall through; indirect and RET: one a target; else [0] */
	u32 taken[MAX_SUCC]; /* how often in the trace */
	u64 target[MAX_SUCC];
	u8 n_succ;
	u8 end;              /* enum op_kind of the last op, or OP_NOP: falls through */
	bool open;           /* leaves the region at its end: next_pc */
	bool merge, loop;    /* several ways lead here; one of them from behind */
	bool placed, reached;
	u64 next_pc;
	u32 count;
	struct known in;     /* when control enters */
	bool known_set;
	u32 valid;           /* slots whose copy is up to date then */
	u32 live;            /* slots that are read before they are written */
	u16 dead;            /* registers that are written before anything reads them, faults or leaves */
	bool soft_in, hard_in; /* flags, as op.soft_dead and op.hard_dead */
	struct landing { u64 *entry; u8 *miss; s8 got, index; u8 reg; bool save; u16 busy, spilled, from; } landing; /* entered by a table's jump, if `entry` */
	struct flags_val fl; /* a merge: what the flags are on every way here; op FLG_NONE: not known */
	bool fl_set;
	u8 *host;
	u32 state;           /* number of the saved state + 1, for a node with one way in */
};

/* An edge that closes a loop. */
#define MAX_BACK 256
struct back { u16 node; u8 succ; };

struct context {
	u16 parent; u64 ret; u8 depth;
	bool entered, kept; /* where its return address lies is known, and nothing in it can change that word */
	s32 word;           /* relative to RSP at entry */
};

struct slot { s32 off; u8 size; u8 home; u32 weight; };

struct state {
	struct val v[VARS];
	struct flags_val fl;   /* FL_HOST: in the processor; op says how else they can be had (FLG_NONE: not) */
	u16 zx;                /* host registers whose upper half is zero */
	u8 sx[16];             /* the host register whose low half this one has, sign-extended; REG_NONE */
	bool rsp_known;
	s32 rsp_host;          /* host RSP - RSP at entry */
};

struct fixup { u8 *at; u16 node; };
struct pending { struct state s; u16 node; };
#define MAX_STATES 96

struct optimiser {
	const struct opt_request *r;
	struct op ops[MAX_OPS];
	u32 n_ops;
	struct node nodes[MAX_NODES];
	u32 n_nodes;
	struct back back[MAX_BACK];
	u32 n_back;
	struct context contexts[MAX_CONTEXTS];
	u32 n_contexts;
	u64 leaders[2048];
	u16 node_hash[1024], node_next[MAX_NODES];
	struct slot slots[MAX_SLOTS];
	u32 n_slots;
	u16 used;              /* guest registers that the region's code names */
	u16 pool;              /* host registers that it does not, borrowed */
	u16 pool_free;         /* those without a purpose */
	bool frame_check;      /* RBP - RSP is checked at entry */
	bool guards;           /* stores to unknown addresses are compared with the frame */
	s32 frame_low, frame_high; /* slots and return addresses, relative to RSP at entry */
	u32 entries;           /* times that the trace entered the region */
	u32 preload;           /* slots that are loaded at entry */
	/* emission */
	struct emit hot, cold;
	struct state s;
	const struct op *op;
	u16 node;
	u16 busy;              /* host registers handed out by scratch_get() */
	u16 spilled;           /* ... of which these were in use and have their value in the spill words */
	struct pending states[MAX_STATES];
	u32 states_used[MAX_STATES / 32];
	struct fixup fixups[MAX_FIXUPS];
	u32 n_fixups;
	struct opt_record records[MAX_RECORDS];
	u32 n_records;
	u8 snapshots[SNAPSHOT_BYTES];
	u32 n_snapshot_bytes, last_snapshot;
	struct opt_source sources[MAX_NODES];
	struct opt_exit exits[MAX_EXITS_REGION];
	u32 n_sources, n_exits, seen, covered, n_calls;
	u64 host_weight, guest_weight, host_insns, guest_insns, exit_insns, saves;
	u32 count;             /* of the node that is emitted */
	u64 weight;            /* how often what is emitted runs */
	const u8 *weighed;     /* what came before this is in host_insns */
	bool failed;
	struct flags_val head_fl; /* what the flags are on all ways back to the head */
	u32 head_ways;         /* ways back to the head so far */
	bool head_check, head_tried; /* the entry sees to it that they are the same there */
	const struct op *ops_end; /* of the node that is emitted */
	bool recipes, recipes_failed; /* merges may know what the flags are; one was wrong about it */
};

static inline bool pass_on(const struct optimiser *o, unsigned pass) { return o->r->passes >> pass & 1; }
#define ON(o, name) pass_on(o, OPT_##name)

/* lower.c: bytes at pc to an operation; false where there are none. */
bool op_lower(struct optimiser *o, struct op *op, u64 pc);
/* region.c: the graph, from the trace.  0 or as region_make(). */
int region_form(struct optimiser *o);
/* frame.c: what is a known distance from RSP, slots, liveness of flags. */
void frame_analyse(struct optimiser *o);
void flags_analyse(struct optimiser *o);
/* Registers that the ops from `op` to `end` overwrite whole, before anything reads them, faults or leaves; `valid`: slots
 * that stand for their words. */
u16 regs_dead(struct optimiser *o, const struct op *op, const struct op *end, u32 valid);
/* Whether the op can fault. */
bool op_faults(const struct op *op);

/* encode.c: an operand as it goes into ModRM. */
struct rm {
	bool mem;
	u8 reg;                        /* register form */
	u8 base, index, shift, seg;    /* base REG_NONE: absolute; REG_RIP: target */
	s64 disp;                      /* REG_RIP: the address itself */
};
/* The instruction with another ModRM.reg and ModRM.rm. */
void encode_op(struct emit *e, const struct op *op, int g, const struct rm *rm);
/* An instruction of the one-byte map (0F map if opcode > 0xff) with `size` 4 or 8 (1, 2 too); immediate bytes follow
 * by the caller, who says how many. */
void encode_rm(struct emit *e, unsigned opcode, unsigned size, int g, const struct rm *rm, unsigned imm);
void encode_alu_imm(struct emit *e, enum alu a, unsigned size, const struct rm *rm, s32 imm);
static inline struct rm rm_reg(int r) { return (struct rm){ .reg = (u8)r }; }

/* value.c */
struct val val_of(const struct optimiser *o, int var);
static inline struct val val_const(s64 c) { return (struct val){ .kind = VAL_CONST, .disp = c, .wide = 1, .base = REG_NONE, .index = REG_NONE }; }
static inline struct val val_expr(int base, s64 disp, bool wide)
{
	return (struct val){ .kind = VAL_EXPR, .base = (u8)base, .index = REG_NONE, .wide = wide, .disp = disp };
}
static inline bool val_is_reg(struct val v) { return v.kind == VAL_EXPR && v.index == REG_NONE && !v.disp; }
/* The registers that it names. */
static inline u16 val_mask(struct val v)
{
	return (u16)(v.kind != VAL_EXPR ? 0 : (v.base == REG_NONE ? 0 : BIT(v.base)) | (v.index == REG_NONE ? 0 : BIT(v.index)));
}
struct val val_narrow(const struct optimiser *o, struct val v);
bool val_names(struct val v, int host);
bool val_same(struct val a, struct val b);
/* v + disp; false where it has no such form */
bool val_add(struct val *v, struct val w, bool wide);
int var_home(const struct optimiser *o, int var);
void evict(struct optimiser *o, int host, int own);
void bring_home(struct optimiser *o, int var);
/* Gives a variable a value; `lazy` false: at once in its home. */
void set_val(struct optimiser *o, int var, struct val v, bool lazy);
void set_home(struct optimiser *o, int var, bool zero_upper);
void load_val(struct optimiser *o, int host, struct val v); /* flags kept */
/* A register for a moment, that holds nothing; put back in any case. `avoid`: host registers. */
int scratch_get(struct optimiser *o, u16 avoid);
void scratch_put(struct optimiser *o, int host);
/* Flags */
/* A host register is about to be written: it is nobody's sign extension any more. */
void forget_extension(struct optimiser *o, int host);
void flags_home(struct optimiser *o);
void flags_host(struct optimiser *o, enum flag_op op, unsigned size, struct val x, struct val y);
/* Makes way for an instruction of ours that clobbers them; false: they are needed and cannot be had again. */
bool flags_release(struct optimiser *o, bool hard_dead);
/* Notes the state here: before each instruction that can fault. */
void record(struct optimiser *o);
void snapshot_write(struct optimiser *o);

/* emit.c, flow.c */
void emit_op(struct optimiser *o, struct op *op);
int emit_region(struct optimiser *o, struct opt_region *out);
void emit_end(struct optimiser *o, struct node *n);
void emit_exit(struct optimiser *o, u64 pc);
void flow_swap(struct optimiser *o); /* hot and cold stream change places */
/* Makes the guest's state and goes on at pc, in the hot stream. */
void flow_leave(struct optimiser *o, u64 pc);
/* Saves the values for a node with this one way in; false: no room. */
bool flow_save(struct optimiser *o, u16 node);
/* Goes to a node from here; `next`: it is placed right behind. */
void flow_edge(struct optimiser *o, u16 node, bool next);
/* Whether a successor can be placed right behind. */
bool flow_placeable(const struct optimiser *o, u16 node);
void flow_push_return(struct optimiser *o, u64 ret);
void flow_compare(struct optimiser *o, int reg, u64 c, u16 avoid); /* cmp reg, c */
/* Flags that a guard would spoil and that cannot be had again go to RAX, and RAX to a word of its own. */
void flow_guard_save(struct optimiser *o, bool save);
void flow_guard_restore(struct optimiser *o, bool save);
/* What was emitted since the last call runs o->weight times along the trace; what follows, `weight` times. */
void flow_weigh(struct optimiser *o, u64 weight);
/* indirect.c: the end of a node with an indirect branch, returns the node to place next; and the beginning of one
 * that a table leads to. */
u16 indirect_end(struct optimiser *o, struct node *n);
void indirect_land(struct optimiser *o, const struct node *n);
struct rm operand_mem(struct optimiser *o, const struct op *op, int *taken);
int slot_find(const struct optimiser *o, s32 off, unsigned size);
/* After a store of `size` bytes at a known or unknown place. */
void slots_stored(struct optimiser *o, bool framed, s32 off, unsigned size, int keep);
/* Frame offset of a value; false: not known. */
bool val_frame(const struct optimiser *o, struct val v, s32 *off);
void emit_store_reg(struct optimiser *o, struct rm m, unsigned size, struct val v);

#endif
