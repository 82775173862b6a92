/* SPDX-License-Identifier: MIT
 * The config.json parser, field by field from its own table: every field with each wrong type, out of
 * bounds and missing, and seeded random damage; errors must name the field.  And path_make().
 *
 * LIBS: -lcmocka -ljson-c
 * WITH: container/spec.c base/util.c base/err.c
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "container/spec.h"
#include "base/util.h"

/* Where each object of the table lies in a document: text before and after it. */
static const struct place {
	const char *object, *before, *after;
} places[] = {
#define P(object, before, after) { #object, "{\"ociVersion\":\"1.2.0\"," before, after "}" }
	{ "spec", "", "" },
	P(process, "\"process\":", ""), P(root, "\"root\":", ""),
	P(user, "\"process\":{\"cwd\":\"/\",\"user\":", "}"),
	P(box, "\"process\":{\"cwd\":\"/\",\"consoleSize\":", "}"),
	P(capabilities, "\"process\":{\"cwd\":\"/\",\"capabilities\":", "}"),
	P(rlimit, "\"process\":{\"cwd\":\"/\",\"rlimits\":[", "]}"),
	P(scheduler, "\"process\":{\"cwd\":\"/\",\"scheduler\":", "}"),
	P(io_priority, "\"process\":{\"cwd\":\"/\",\"ioPriority\":", "}"),
	P(mount, "\"mounts\":[", "]"), P(hooks, "\"hooks\":", ""),
	P(hook, "\"hooks\":{\"poststop\":[", "]}"), P(linux_, "\"linux\":", ""),
	P(id_mapping, "\"linux\":{\"uidMappings\":[", "]}"),
	P(namespace, "\"linux\":{\"namespaces\":[", "]}"), P(device, "\"linux\":{\"devices\":[", "]}"),
	P(resources, "\"linux\":{\"resources\":", "}"),
	P(device_rule, "\"linux\":{\"resources\":{\"devices\":[", "]}}"),
	P(memory, "\"linux\":{\"resources\":{\"memory\":", "}}"),
	P(cpu, "\"linux\":{\"resources\":{\"cpu\":", "}}"),
	P(pids, "\"linux\":{\"resources\":{\"pids\":", "}}"),
	P(block_io, "\"linux\":{\"resources\":{\"blockIO\":", "}}"),
	P(network, "\"linux\":{\"resources\":{\"network\":", "}}"),
	P(seccomp, "\"linux\":{\"seccomp\":", "}"),
	P(syscall, "\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[", "]}}"),
	P(intel_rdt, "\"linux\":{\"intelRdt\":", "}"),
	P(personality, "\"linux\":{\"personality\":", "}"),
	P(time_offset, "\"linux\":{\"timeOffsets\":{\"boottime\":", "}}"),
#undef P
};

static unsigned tried, fields;

/* A document in which the object has only this field, with this value. */
static int parse_with(const struct place *p, const char *field, const char *value, struct err *e)
{
	_cleanup_text_ struct text t = { 0 };
	struct spec_document *d = NULL;
	int r;

	memset(e, 0, sizeof *e);
	text_add(&t, "%s{\"%s\":%s}%s", p->before, field, value, p->after);
	r = spec_parse(t.text, t.length, &d, e);
	if (!r)
		spec_free(d);
	tried++;
	return r;
}

static bool takes(const char *kind, const char *value)
{
	switch (value[0]) {
	case '"': return !strcmp(kind, "STR") || !strcmp(kind, "ENUM");
	case '[': return !strcmp(kind, "STRS") || !strcmp(kind, "UINTS") || !strcmp(kind, "CAPS") ||
			 !strcmp(kind, "FLAGS") || !strcmp(kind, "LIST");
	case '{': return !strcmp(kind, "OBJ") || !strcmp(kind, "SMAP") || !strcmp(kind, "OMAP");
	case 't': return !strcmp(kind, "BOOL") || !strcmp(kind, "TRI");
	}
	return !strcmp(kind, "INT") || !strcmp(kind, "UINT");
}

static void check_row(const struct spec_row *row, void *arg)
{
	static const char *const values[] = { "\"x\"", "[]", "{}", "true", "1" };
	const struct place *p = NULL;
	struct err e;
	size_t i;

	(void)arg;
	for (i = 0; i < ARRAY_SIZE(places); i++)
		if (!strcmp(places[i].object, row->object))
			p = &places[i];
	if (!p)
		return;
	fields++;
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		if (takes(row->kind, values[i]))
			continue;
		/* another missing field may be named first: then this one must come before it */
		assert_true(parse_with(p, row->field, values[i], &e) < 0);
		if (!strstr(e.text, "is missing") && !strstr(e.text, row->field))
			fail_msg("%s.%s = %s: \"%s\"", row->object, row->field, values[i], e.text);
	}
	if (!strcmp(row->kind, "INT") || !strcmp(row->kind, "UINT")) {
		char out[32];

		if (row->high < INT64_MAX) {
			snprintf(out, sizeof out, "%lld", (long long)row->high + 1);
			assert_true(parse_with(p, row->field, out, &e) < 0);
			assert_true(strstr(e.text, "is missing") || strstr(e.text, row->field));
		}
		if (row->low > INT64_MIN) {
			snprintf(out, sizeof out, "%lld", (long long)row->low - 1);
			assert_true(parse_with(p, row->field, out, &e) < 0);
		}
		assert_true(parse_with(p, row->field, "1.5", &e) < 0);
		assert_true(parse_with(p, row->field, "1e400", &e) < 0);
	}
	if (!strcmp(row->kind, "STR")) {
		assert_true(parse_with(p, row->field, "\"a\\u0000b\"", &e) < 0);
		if (row->flags & F_ABS)
			assert_true(parse_with(p, row->field, "\"relative\"", &e) < 0);
		if (row->flags & F_NAME)
			assert_true(parse_with(p, row->field, "\"..\"", &e) < 0);
	}
	if (!strcmp(row->kind, "ENUM"))
		assert_true(parse_with(p, row->field, "\"SOMETHING_ELSE\"", &e) < 0);
}

static void every_field_of_the_table(void **unused)
{
	(void)unused;
	spec_each_row(check_row, NULL);
	assert_true(fields > 150);
	assert_true(tried > 700);
}

static const char sample[] = "{\"ociVersion\":\"1.2.0\",\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"],"
	"\"rlimits\":[{\"type\":\"RLIMIT_CPU\",\"soft\":1,\"hard\":18446744073709551615}],"
	"\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_NOT_YET\"]}},\"root\":{\"path\":\"r\"},"
	"\"annotations\":{\"a\":\"b\"},\"unknown\":[1,2,{}],\"linux\":{\"namespaces\":[{\"type\":\"time\"}],"
	"\"resources\":{\"memory\":{\"limit\":-1,\"disableOOMKiller\":false}},"
	"\"timeOffsets\":{\"monotonic\":{\"secs\":-5}}}}";

static void values_arrive(void **unused)
{
	struct spec_document *d;
	struct oci_spec *s;
	struct err e = { 0 };

	(void)unused;
	if (spec_parse(sample, sizeof sample - 1, &d, &e))
		fail_msg("%s", e.text);
	s = spec_root(d);
	assert_string_equal(s->process->args.v[0], "sh");
	assert_null(s->process->args.v[1]);
	assert_true(s->process->rlimits.v[0].hard.v == UINT64_MAX);
	assert_true(s->process->capabilities->bounding.mask == 1u << 5);
	assert_true(s->linux_->resources->memory->limit.v == -1);
	assert_int_equal(s->linux_->resources->memory->disable_oom_killer, 0);
	assert_int_equal(s->linux_->resources->memory->use_hierarchy, -1);
	assert_string_equal(s->linux_->time_offsets.v[0].key, "monotonic");
	assert_string_equal(spec_annotation(s, "a"), "b");
	assert_null(spec_annotation(s, "c"));
	spec_free(d);
}

static void damage_never_crashes(void **unused)
{
	u64 x = 42;
	int round;

	(void)unused;
	for (round = 0; round < 20000; round++) {
		char text[sizeof sample + 64];
		size_t n = sizeof sample - 1, k;
		struct spec_document *d = NULL;
		struct err e = { 0 };

		memcpy(text, sample, n);
		for (k = 0; k < 3; k++) {
			x = x * 6364136223846793005ull + 1442695040888963407ull;
			text[(x >> 33) % n] = "\"{}[]:,0-9e.x\\u\n"[(x >> 20) % 16];
		}
		if (!(round % 5))
			n = (x >> 33) % n;
		if (!spec_parse(text, n, &d, &e))
			spec_free(d);
		else
			assert_true(e.text[0]);
	}
}

/* Mount points are made inside the root, whatever links lie on the way. */
static void path_make_stays_inside(void **unused)
{
	char dir[] = "/tmp/path-make-XXXXXX", path[128];
	struct stat a, b;
	bool plain;
	int root, fd;

	(void)unused;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/root", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	root = open(path, O_PATH | O_DIRECTORY);
	assert_int_equal(symlinkat("../../../..", root, "up"), 0);
	assert_int_equal(symlinkat("/abs", root, "link"), 0);
	assert_int_equal(symlinkat("nowhere", root, "dangling"), 0);
	fd = path_make_plain(root, "/a/b/c", false, 0755, &plain);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fstatat(root, "a/b/c", &a, 0), 0);
	fd = path_make_plain(root, "/up/up/d", true, 0644, &plain);
	assert_true(fd >= 0 && !plain);
	close(fd);
	assert_int_equal(fstatat(root, "d", &b, 0), 0);
	assert_true(S_ISREG(b.st_mode));
	assert_int_equal(path_make(root, "/dangling", false, 0755), -ENOENT);
	assert_true(fstatat(root, "nowhere", &b, 0) < 0);
	assert_true(path_make(root, "/link/x", false, 0755) < 0);
	fd = path_make(root, "/../../e", false, 0755);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fstatat(root, "e", &b, 0), 0);
	snprintf(path, sizeof path, "%s/e", dir);
	assert_true(access(path, F_OK) < 0);
	close(root);
	snprintf(path, sizeof path, "rm -rf %s", dir);
	assert_int_equal(system(path), 0);
}

static void json_of_any_bytes(void **unused)
{
	_cleanup_text_ struct text t = { 0 };

	(void)unused;
	text_add_json(&t, "a\"\\\n\xc3\xa9\xff\xc3");
	assert_string_equal(t.text, "\"a\\\"\\\\\\u000a\xc3\xa9\\ufffd\\ufffd\"");
}

static void sizes(void **unused)
{
	u64 v;

	(void)unused;
	assert_int_equal(parse_size("4k", &v), 0);
	assert_true(v == 4096);
	assert_int_equal(parse_size("2G", &v), 0);
	assert_true(v == 2ull << 30);
	assert_int_equal(parse_size("", &v), -EINVAL);
	assert_int_equal(parse_size("k", &v), -EINVAL);
	assert_int_equal(parse_size("1x", &v), -EINVAL);
	assert_int_equal(parse_size("99999999999999999999", &v), -EINVAL);
	assert_int_equal(parse_u64("5", 4, &v), -EINVAL);
	assert_int_equal(parse_u64("18446744073709551615", UINT64_MAX, &v), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_of_the_table), cmocka_unit_test(values_arrive),
		cmocka_unit_test(damage_never_crashes), cmocka_unit_test(path_make_stays_inside),
		cmocka_unit_test(json_of_any_bytes), cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
