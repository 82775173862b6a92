/* SPDX-License-Identifier: MIT
 * Device rules of cgroup v2: the list compiled to a BPF_PROG_TYPE_CGROUP_DEVICE program.
 *
 * Rules are tried from the last to the first; the first that matches decides, as the last write
 * does in version 1.  A deny rule matches when any asked access is in it, an allow rule only when
 * all are: an access is never granted by two rules that each grant half of it.
 * Source: Linux include/uapi/linux/bpf.h, struct bpf_cgroup_dev_ctx. */
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>

#include "container/cgroup.h"

#define INSN_PER_RULE 10

struct program {
	struct bpf_insn *v;
	size_t n;
};

static void emit(struct program *p, u8 code, u8 dst, u8 src, s16 off, s32 imm)
{
	p->v[p->n++] = (struct bpf_insn){ .code = code, .dst_reg = dst, .src_reg = src,
					  .off = off, .imm = imm };
}

static u32 access_bits(const char *access)
{
	u32 bits = 0;

	if (!access || !*access)
		access = "rwm";
	if (strchr(access, 'r'))
		bits |= BPF_DEVCG_ACC_READ;
	if (strchr(access, 'w'))
		bits |= BPF_DEVCG_ACC_WRITE;
	if (strchr(access, 'm'))
		bits |= BPF_DEVCG_ACC_MKNOD;
	return bits;
}

/* r2 type, r3 asked access, r4 major, r5 minor; each test that fails jumps past the rule. */
static void emit_rule(struct program *p, const struct oci_device_rule *d)
{
	char type = d->type && *d->type ? d->type[0] : 'a';
	u32 bits = access_bits(d->access);
	size_t fix[4], n = 0, i;

	if (type != 'a') {
		fix[n++] = p->n;
		emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0,
		     type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
		emit(p, BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		emit(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0, (s32)bits);
		fix[n++] = p->n;
		if (d->allow)
			emit(p, BPF_JMP | BPF_JNE | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		else
			emit(p, BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_1, 0, 0, 0);
		if (d->major.set && d->major.v >= 0) {
			fix[n++] = p->n;
			emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (s32)d->major.v);
		}
		if (d->minor.set && d->minor.v >= 0) {
			fix[n++] = p->n;
			emit(p, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (s32)d->minor.v);
		}
	}
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, d->allow);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (i = 0; i < n; i++)
		p->v[fix[i]].off = (s16)(p->n - fix[i] - 1);
}

static int load(const struct program *p)
{
	union bpf_attr a;

	memset(&a, 0, sizeof a);
	a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	a.insns = (u64)(uintptr_t)p->v;
	a.insn_cnt = (u32)p->n;
	a.license = (u64)(uintptr_t)"Dual MIT/GPL";
	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof a);
}

int cgroup_device_attach(int fd, const struct oci_device_rule *rules, size_t n, struct err *e)
{
	_cleanup_free_ struct bpf_insn *room = calloc(n * INSN_PER_RULE + 8, sizeof *room);
	struct program p = { room, 0 };
	_cleanup_fd_ int prog = -1;
	union bpf_attr a;
	size_t i;

	if (!room)
		return err_set(e, -ENOMEM, "device rules: out of memory");
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, 0, 0);
	emit(&p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_3, BPF_REG_1, 0, 0);
	emit(&p, BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, 4, 0);
	emit(&p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, 8, 0);
	for (i = n; i-- > 0;) {
		emit_rule(&p, &rules[i]);
		if (!rules[i].type || !*rules[i].type || rules[i].type[0] == 'a')
			break; /* nothing before it can matter, and dead code is refused */
	}
	if (i == (size_t)-1) {
		emit(&p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
		emit(&p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	}
	prog = load(&p);
	if (prog < 0)
		return err_sys(e, errno, "linux.resources.devices: load the device program");
	memset(&a, 0, sizeof a);
	a.target_fd = (u32)fd;
	a.attach_bpf_fd = (u32)prog;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI;
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &a, sizeof a) < 0)
		return err_sys(e, errno, "linux.resources.devices: attach the device program");
	return 0;
}
