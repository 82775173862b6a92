/* SPDX-License-Identifier: MIT
 * The filter compiler against libseccomp: both compile random rule sets, and every call number with
 * arguments near the rules' values must get the same answer from both programs.
 *
 * LIBS: -lcmocka -lseccomp -ljson-c
 * WITH: container/seccomp.c container/spec.c base/util.c base/err.c
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "container/seccomp.h"
#include "base/util.h"

static u64 state = 88172645463325252ull;

static u32 roll(u32 n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (u32)(state >> 33) % n;
}

static const char *const actions[] = { "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS",
				       "SCMP_ACT_TRAP", "SCMP_ACT_LOG" };
static const char *const ops[] = { "SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_GT", "SCMP_CMP_GE",
				   "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_MASKED_EQ" };
static const u64 values[] = { 0, 1, 5, 0x5412, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
			      0x1ffffffff, 0xffffffffffffffff };

static const char *random_call(void)
{
	static char name[64];

	for (;;) {
		char *s = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, (int)roll(450));

		if (!s)
			continue;
		snprintf(name, sizeof name, "%s", s);
		free(s);
		return name;
	}
}

/* One rule a call name: what libseccomp does with several that conflict is not defined.  Every rule
 * differs from the default: libseccomp refuses others. */
static void make_rules(struct text *t, unsigned otherwise, int arches)
{
	static const char *const lists[] = { "\"SCMP_ARCH_X86_64\"", "\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"",
		"\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"" };
	char used[128][64];
	unsigned n = 1 + roll(100), i, k, a;

	text_add(t, "{\"ociVersion\":\"1.2.0\",\"linux\":{\"seccomp\":{\"defaultAction\":\"%s\","
		 "\"architectures\":[%s],\"syscalls\":[", actions[otherwise], lists[arches]);
	for (i = 0; i < n; i++) {
		do
			a = roll(5);
		while (a == otherwise);
		do {
			snprintf(used[i], sizeof used[i], "%s", random_call());
			for (k = 0; k < i && strcmp(used[k], used[i]); k++)
				;
		} while (k < i);
		text_add(t, "%s{\"names\":[\"%s\"],\"action\":\"%s\"", i ? "," : "", used[i], actions[a]);
		if (!roll(3)) {
			unsigned first = roll(3), count = 1 + roll(2);

			text_add(t, ",\"args\":[");
			for (k = 0; k < count; k++) {
				unsigned op = roll(7);
				u64 mask = values[1 + roll(9)];

				text_add(t, "%s{\"index\":%u,\"value\":%llu,\"valueTwo\":%llu,\"op\":\"%s\"}",
					 k ? "," : "", first + k,
					 (unsigned long long)(op == 6 ? mask : values[roll(10)]),
					 (unsigned long long)(mask & values[roll(10)]), ops[op]);
			}
			text_add(t, "]");
		}
		text_add(t, "}");
	}
	text_add(t, "]}}}");
}

static u32 scmp_action(const struct oci_enum *a)
{
	switch ((u32)a->v) {
	case SECCOMP_RET_ALLOW: return SCMP_ACT_ALLOW;
	case SECCOMP_RET_ERRNO: return SCMP_ACT_ERRNO(EPERM);
	case SECCOMP_RET_TRAP: return SCMP_ACT_TRAP;
	case SECCOMP_RET_LOG: return SCMP_ACT_LOG;
	}
	return SCMP_ACT_KILL_PROCESS;
}

static void reference(const struct oci_seccomp *s, struct seccomp_program *out)
{
	static const int scmp_op[] = { SCMP_CMP_EQ, SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_LE, SCMP_CMP_LT,
				       SCMP_CMP_MASKED_EQ, SCMP_CMP_NE };
	scmp_filter_ctx c = seccomp_init(scmp_action(&s->default_action));
	int fd = memfd_create("bpf", 0);
	size_t i, k, n;
	char *data;

	assert_non_null(c);
	assert_int_equal(seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), 0);
	if (s->architectures.v & SECCOMP_ARCH_X86)
		assert_int_equal(seccomp_arch_add(c, SCMP_ARCH_X86), 0);
	if (s->architectures.v & SECCOMP_ARCH_X32)
		assert_int_equal(seccomp_arch_add(c, SCMP_ARCH_X32), 0);
	for (i = 0; i < s->syscalls.n; i++) {
		const struct oci_syscall *y = &s->syscalls.v[i];
		struct scmp_arg_cmp a[4];

		for (k = 0; k < y->args.n; k++)
			a[k] = (struct scmp_arg_cmp){ (unsigned)y->args.v[k].index.v,
				(enum scmp_compare)scmp_op[y->args.v[k].op.v], y->args.v[k].value.v,
				y->args.v[k].value_two.v };
		assert_int_equal(seccomp_rule_add_array(c, scmp_action(&y->action),
			seccomp_syscall_resolve_name(y->names.v[0]), (unsigned)y->args.n, a), 0);
	}
	assert_int_equal(seccomp_export_bpf(c, fd), 0);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(fd_read_all(fd, 1 << 20, &data, &n), 0);
	close(fd);
	out->insns = (struct sock_filter *)data;
	out->n = n / sizeof *out->insns;
	seccomp_release(c);
}

static void compare(const char *rules, const struct seccomp_program *ours,
		    const struct seccomp_program *theirs)
{
	static const u32 marks[] = { AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, 0xc00000b7 };
	size_t m, i;
	u32 nr;

	for (m = 0; m < ARRAY_SIZE(marks); m++)
		for (nr = 0; nr < 1000; nr++) {
			u32 number = nr < 500 ? nr : 0x40000000 + nr - 500;
			int tries = 6;

			/* calls that old programs multiplex are libseccomp's to rewrite in its own way */
			if (marks[m] == AUDIT_ARCH_I386 && (number == 102 || number == 117 ||
			    (number >= 359 && number <= 373) || (number >= 393 && number <= 402) ||
			    number == 337 || number == 345))
				continue;
			while (tries--) {
				u64 args[6];

				for (i = 0; i < 6; i++)
					args[i] = values[roll(10)] + (roll(3) == 0 ? 1 : 0);
				if (marks[m] == AUDIT_ARCH_I386)
					for (i = 0; i < 6; i++)
						args[i] &= 0xffffffff;
				if (seccomp_evaluate(ours, marks[m], number, args) !=
				    seccomp_evaluate(theirs, marks[m], number, args))
					fail_msg("%s\nmark %x number %x args %llx %llx %llx: %x, libseccomp %x",
						 rules, marks[m], number, (unsigned long long)args[0],
						 (unsigned long long)args[1], (unsigned long long)args[2],
						 seccomp_evaluate(ours, marks[m], number, args),
						 seccomp_evaluate(theirs, marks[m], number, args));
			}
		}
}

static void random_rules_agree_with_libseccomp(void **unused)
{
	int round;

	(void)unused;
	for (round = 0; round < 60; round++) {
		_cleanup_text_ struct text t = { 0 };
		struct seccomp_program ours, theirs;
		struct spec_document *d;
		struct err e = { 0 };
		const struct oci_seccomp *s;

		make_rules(&t, roll(5), round % 3);
		if (spec_parse(t.text, t.length, &d, &e))
			fail_msg("%s", e.text);
		s = spec_root(d)->linux_->seccomp;
		if (seccomp_compile(s, 0, &ours, &e))
			fail_msg("%s", e.text);
		reference(s, &theirs);
		compare(t.text, &ours, &theirs);
		seccomp_free(&ours);
		free(theirs.insns);
		spec_free(d);
	}
}

static struct spec_document *parse(const char *seccomp)
{
	_cleanup_text_ struct text t = { 0 };
	struct spec_document *d = NULL;
	struct err e = { 0 };

	text_add(&t, "{\"ociVersion\":\"1.2.0\",\"linux\":{\"seccomp\":%s}}", seccomp);
	if (spec_parse(t.text, t.length, &d, &e))
		fail_msg("%s", e.text);
	return d;
}

static u32 ask(const char *seccomp, unsigned mode, u32 mark, u32 nr, u64 arg0)
{
	struct spec_document *d = parse(seccomp);
	struct seccomp_program p;
	struct err e = { 0 };
	u64 args[6] = { arg0 };
	u32 got;

	if (seccomp_compile(spec_root(d)->linux_->seccomp, mode, &p, &e))
		fail_msg("%s", e.text);
	got = seccomp_evaluate(&p, mark, nr, args);
	seccomp_free(&p);
	spec_free(d);
	return got;
}

static void overlapping_rules(void **unused)
{
	static const char both[] = "{\"defaultAction\":\"SCMP_ACT_KILL\",\"syscalls\":["
		"{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":97,\"args\":["
		"{\"index\":0,\"value\":38,\"op\":\"SCMP_CMP_EQ\"}]},"
		"{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ALLOW\"}]}";
	static const char either[] = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":["
		"{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\",\"args\":["
		"{\"index\":0,\"value\":0,\"op\":\"SCMP_CMP_EQ\"},{\"index\":0,\"value\":8,\"op\":\"SCMP_CMP_EQ\"}]}]}";

	(void)unused;
	/* as libseccomp has it, the rule without arguments wins; in our own order it does not */
	assert_int_equal(ask(both, 0, AUDIT_ARCH_X86_64, 41, 38), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(both, SECCOMP_CONDITIONS_FIRST, AUDIT_ARCH_X86_64, 41, 38),
			 SECCOMP_RET_ERRNO | 97);
	assert_int_equal(ask(both, SECCOMP_CONDITIONS_FIRST, AUDIT_ARCH_X86_64, 41, 1), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(either, 0, AUDIT_ARCH_X86_64, 135, 8), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(either, 0, AUDIT_ARCH_X86_64, 135, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(either, 0, AUDIT_ARCH_X86_64, 135, 4), SECCOMP_RET_ERRNO | EPERM);
}

static void multiplexed_calls(void **unused)
{
	static const char bind[] = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":["
		"\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"],\"syscalls\":[{\"names\":[\"bind\"],"
		"\"action\":\"SCMP_ACT_ALLOW\"}]}";

	(void)unused;
	assert_int_equal(ask(bind, 0, AUDIT_ARCH_I386, 102, 2), SECCOMP_RET_ALLOW); /* socketcall(bind) */
	assert_int_equal(ask(bind, 0, AUDIT_ARCH_I386, 102, 3), SECCOMP_RET_ERRNO | EPERM);
	assert_int_equal(ask(bind, 0, AUDIT_ARCH_I386, 361, 9), SECCOMP_RET_ALLOW);
}

static void foreign_architectures_die(void **unused)
{
	static const char all[] = "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[\"SCMP_ARCH_X86_64\"]}";

	(void)unused;
	assert_int_equal(ask(all, 0, AUDIT_ARCH_X86_64, 39, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(all, 0, AUDIT_ARCH_I386, 20, 0), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(ask(all, 0, AUDIT_ARCH_X86_64, 0x40000000 + 39, 0), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(ask(all, 0, AUDIT_ARCH_X86_64, ~0u, 0), SECCOMP_RET_ALLOW); /* skipped by a tracer */
}

static void a_cached_program_is_the_same(void **unused)
{
	_cleanup_text_ struct text t = { 0 };
	char dir[] = "/tmp/seccomp-cache-XXXXXX";
	struct seccomp_program a, b;
	struct spec_document *d;
	struct err e = { 0 };
	int fd;

	(void)unused;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	make_rules(&t, 1, 2);
	assert_int_equal(spec_parse(t.text, t.length, &d, &e), 0);
	assert_int_equal(seccomp_compile_cached(spec_root(d)->linux_->seccomp, 0, fd, &a, &e), 0);
	assert_int_equal(seccomp_compile_cached(spec_root(d)->linux_->seccomp, 0, fd, &b, &e), 0);
	assert_int_equal(a.n, b.n);
	assert_memory_equal(a.insns, b.insns, a.n * sizeof *a.insns);
	seccomp_free(&b);
	/* another mode is another program, and does not come from the cache */
	assert_int_equal(seccomp_compile_cached(spec_root(d)->linux_->seccomp, SECCOMP_NO_SUPERVISOR, fd, &b,
						&e), 0);
	seccomp_free(&a);
	seccomp_free(&b);
	spec_free(d);
	close(fd);
	assert_int_equal(system("rm -rf /tmp/seccomp-cache-*"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_rules_agree_with_libseccomp),
		cmocka_unit_test(overlapping_rules),
		cmocka_unit_test(multiplexed_calls),
		cmocka_unit_test(foreign_architectures_die),
		cmocka_unit_test(a_cached_program_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
