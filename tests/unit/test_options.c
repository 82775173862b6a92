/* SPDX-License-Identifier: MIT
 * The option parser: every kind of option in every spelling, right and wrong. */
/* WITH: base/err.c cli/options.c */

#include "cli/options.h"

#include <errno.h>
#include <string.h>

struct values {
	bool flag;
	const char *text, *name, *choice;
	u64 size, seconds, count;
	struct option_list list;
};

#define FIELD(f) offsetof(struct values, f)
static const struct option_row rows[] = {
	{ "flag", NULL, OPTION_FLAG, FIELD(flag), "a flag", NULL, NULL },
	{ "text", "TEXT", OPTION_TEXT, FIELD(text), "a text", NULL, NULL },
	{ "name", "NAME", OPTION_NAME, FIELD(name), "a name", "guest", NULL },
	{ "choice", "WORD", OPTION_CHOICE, FIELD(choice), "a choice", "auto", "auto|translate|kvm" },
	{ "size", "SIZE", OPTION_SIZE, FIELD(size), "a size", "512M", NULL },
	{ "seconds", "SECONDS", OPTION_SECONDS, FIELD(seconds), "a time", NULL, NULL },
	{ "count", "N", OPTION_COUNT, FIELD(count), "a number", "1", NULL },
	{ "list", "WORD", OPTION_LIST, FIELD(list), "words", NULL, NULL },
};
static const struct command command = {
	.name = "test", .options = rows, .option_count = ARRAY_SIZE(rows), .operands_max = 2,
	.values_size = sizeof(struct values),
};

#define WORDS_MAX 20
#define LONG_NAME "a23456789012345678901234567890123456789012345678901234567890123" /* 63 */

/* Words given, and what they must lead to: NULL is success. */
static const struct row {
	const char *words[6];
	const char *error;
} parses[] = {
	{ { NULL }, NULL },
	{ { "--flag" }, NULL },
	{ { "--flag", "--flag" }, NULL },
	{ { "--text", "x" }, NULL },
	{ { "--text=x" }, NULL },
	{ { "--text=" }, NULL },
	{ { "--text", "--flag" }, NULL },
	{ { "--name", "a.b_c-9" }, NULL },
	{ { "--name", LONG_NAME }, NULL },
	{ { "--choice=kvm" }, NULL },
	{ { "one", "--flag", "two" }, NULL },
	{ { "--", "--flag", "-x" }, NULL },
	{ { "-" }, NULL },
	{ { "--text" }, "--text needs a value (TEXT)" },
	{ { "--flag=1" }, "--flag takes no value" },
	{ { "--flags" }, "unknown option '--flags'" },
	{ { "--fla" }, "unknown option '--fla'" },
	{ { "--" "=1" }, "unknown option '--=1'" },
	{ { "-x" }, "unknown option '-x'" },
	{ { "1", "2", "3" }, "unexpected argument '3'" },
	{ { "--name", "" }, "is not a name" },
	{ { "--name", "-x" }, "is not a name" },
	{ { "--name", "a/b" }, "is not a name" },
	{ { "--name", "a b" }, "is not a name" },
	{ { "--name", LONG_NAME "4" }, "is not a name" },
	{ { "--choice", "kv" }, "is not one of auto|translate|kvm" },
	{ { "--choice", "kvm|" }, "is not one of" },
	{ { "--choice", "" }, "is not one of" },
	{ { "--choice", "auto|translate" }, "is not one of" },
	{ { "--size", "" }, "is not a size" },
	{ { "--size", "M" }, "is not a size" },
	{ { "--size", "-1" }, "is not a size" },
	{ { "--size", "+1" }, "is not a size" },
	{ { "--size", " 1" }, "is not a size" },
	{ { "--size", "1MB" }, "is not a size" },
	{ { "--size", "1X" }, "is not a size" },
	{ { "--size", "0x10" }, "is not a size" },
	{ { "--size", "1.5G" }, "is not a size" },
	{ { "--size", "16777216T" }, "is not a size" },
	{ { "--size", "18446744073709551616" }, "is not a size" },
	{ { "--count", "" }, "is not a number from 1" },
	{ { "--count", "0" }, "is not a number from 1" },
	{ { "--count", "-1" }, "is not a number from 1" },
	{ { "--count", "2x" }, "is not a number from 1" },
	{ { "--count", "100000" }, "is not a number from 1" },
	{ { "--seconds", "" }, "is not a number of seconds" },
	{ { "--seconds", "0" }, "is not a number of seconds" },
	{ { "--seconds", "0.0" }, "is not a number of seconds" },
	{ { "--seconds", "." }, "is not a number of seconds" },
	{ { "--seconds", "-1" }, "is not a number of seconds" },
	{ { "--seconds", "1s" }, "is not a number of seconds" },
	{ { "--seconds", "1000000001" }, "is not a number of seconds" },
	{ { "--seconds", "99999999999999999999" }, "is not a number of seconds" },
};

static const struct number {
	const char *text;
	u64 value;
} sizes[] = {
	{ "1", 1ull << 20 }, { "512M", 512ull << 20 }, { "512m", 512ull << 20 }, { "64K", 64ull << 10 },
	{ "8G", 8ull << 30 }, { "1T", 1ull << 40 }, { "0", 0 }, { "16777215T", 16777215ull << 40 },
}, times[] = {
	{ "1", 1000000000 }, { "0.5", 500000000 }, { ".25", 250000000 }, { "2.", 2000000000 },
	{ "0.000000001", 1 }, { "1.0000000009", 1000000000 }, { "1000000000", 1000000000000000000 },
};

static int failures;

static void result(bool good, const char *name, const char *detail)
{
	if (good)
		printf("ok - %s\n", name);
	else
		printf("not ok - %s: %s\n", name, *detail ? detail : "wrong result");
	failures += !good;
}

static int parse(const char *const *words, struct values *v, struct operands *o, bool *help, struct err *e)
{
	char *argv[WORDS_MAX];
	int argc = 0;

	for (; words[argc]; argc++)
		argv[argc] = (char *)words[argc];
	memset(v, 0, sizeof *v);
	*e = (struct err){ 0 };
	return options_parse(&command, argc, argv, v, o, help, e);
}

static void test_parses(void)
{
	char name[160];
	struct operands o;
	struct values v;
	struct err e;
	bool help;

	for (size_t i = 0; i < ARRAY_SIZE(parses); i++) {
		const struct row *r = &parses[i];
		int rc = parse(r->words, &v, &o, &help, &e);

		snprintf(name, sizeof name, "%.70s %.70s: %s", r->words[0] ? r->words[0] : "(nothing)",
			 r->words[0] && r->words[1] ? r->words[1] : "", r->error ? "refused" : "taken");
		result(r->error ? rc == -EINVAL && strstr(e.text, r->error) : !rc, name, e.text);
	}
}

static const struct number counts[] = { { "1", 1 }, { "16", 16 }, { "99999", 99999 } };

static void test_numbers(const char *option, const struct number *rows_, size_t n, size_t offset)
{
	char name[80], got[40];
	struct operands o;
	struct values v;
	struct err e;
	bool help;
	u64 value;

	for (size_t i = 0; i < n; i++) {
		const char *words[] = { option, rows_[i].text, NULL };
		int rc = parse(words, &v, &o, &help, &e);

		memcpy(&value, (char *)&v + offset, sizeof value);
		snprintf(name, sizeof name, "%s %s has its value", option, rows_[i].text);
		snprintf(got, sizeof got, "%llu", (unsigned long long)value);
		result(!rc && value == rows_[i].value, name, got);
	}
}

static void test_values(void)
{
	static const char *const all[] = { "--flag", "a", "--text=--size", "--name", "n", "--choice", "kvm", "--",
					   "--flag", NULL };
	static const char *const none[] = { NULL };
	static const char *const help_first[] = { "--help", "--unknown", NULL };
	static const char *const help_later[] = { "--flag", "-h", NULL };
	static const char *const last_wins[] = { "--size", "1G", "--size=2G", NULL };
	struct operands o;
	struct values v;
	struct err e;
	bool help;

	result(!parse(none, &v, &o, &help, &e) && !v.flag && !v.text && !strcmp(v.name, "guest") &&
	       !strcmp(v.choice, "auto") && v.size == 512ull << 20 && !v.seconds && !o.count && !help,
	       "presets", e.text);
	result(!parse(all, &v, &o, &help, &e) && v.flag && !strcmp(v.text, "--size") && !strcmp(v.name, "n") &&
	       !strcmp(v.choice, "kvm") && o.count == 2 && !strcmp(o.word[0], "a") &&
	       !strcmp(o.word[1], "--flag"), "values and operands", e.text);
	result(!parse(help_first, &v, &o, &help, &e) && help, "--help ends the parsing", e.text);
	result(!parse(help_later, &v, &o, &help, &e) && help, "-h after an option", e.text);
	result(!parse(last_wins, &v, &o, &help, &e) && v.size == 2ull << 30, "the last one counts", e.text);
}

static void test_list(void)
{
	static const char *const three[] = { "--list", "a", "--list=b=c", "--list", "", NULL };
	const char *many[2 * OPTION_LIST_MAX + 3];
	char *argv[2 * OPTION_LIST_MAX + 2];
	struct operands o;
	struct values v;
	struct err e;
	bool help;

	result(!parse(three, &v, &o, &help, &e) && v.list.count == 3 && !strcmp(v.list.word[0], "a") &&
	       !strcmp(v.list.word[1], "b=c") && !*v.list.word[2], "a list keeps each word in order", e.text);
	for (int i = 0; i < OPTION_LIST_MAX + 1; i++) {
		many[2 * i] = "--list";
		many[2 * i + 1] = "x";
	}
	memcpy(argv, many, sizeof argv);
	memset(&v, 0, sizeof v);
	result(!options_parse(&command, 2 * OPTION_LIST_MAX, argv, &v, &o, &help, &e) &&
	       v.list.count == OPTION_LIST_MAX, "a full list", e.text);
	memset(&v, 0, sizeof v);
	e = (struct err){ 0 };
	result(options_parse(&command, 2 * OPTION_LIST_MAX + 2, argv, &v, &o, &help, &e) == -EINVAL &&
	       strstr(e.text, "times at most"), "a list that is too long", e.text);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_parses();
	test_numbers("--size", sizes, ARRAY_SIZE(sizes), FIELD(size));
	test_numbers("--seconds", times, ARRAY_SIZE(times), FIELD(seconds));
	test_numbers("--count", counts, ARRAY_SIZE(counts), FIELD(count));
	test_values();
	test_list();
	return failures != 0;
}
