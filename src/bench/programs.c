/* SPDX-License-Identifier: MIT */
#include "bench/programs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PYTHON "import json, re\n" \
	"t = {}\n" \
	"for r in range(240):\n" \
	"    for i in range(20000):\n" \
	"        k = str(i * 7919 % 10007); t[k] = t.get(k, 0) + len(k) + r\n" \
	"class A:\n" \
	"    def __init__(self, v): self.v = v\n" \
	"    def next(self): return A((self.v * 1103515245 + 12345) % 2147483648)\n" \
	"a = A(1)\n" \
	"for i in range(3000000): a = a.next()\n" \
	"s = json.dumps(t); print(a.v, len(json.loads(s)), len(re.findall(r'\\d+9', s)), sum(sorted(t.values())[::3]))\n"

#define LUA "local function fib(n) if n < 2 then return n end return fib(n-1) + fib(n-2) end\n" \
	"local t = {} for i = 1, 3000000 do t[i] = (i * 7919) % 100003 end table.sort(t)\n" \
	"local s = {} for i = 1, 1500000 do s[#s+1] = tostring(t[i]):rep(2):sub(1, 7) end\n" \
	"local n = 0 for w in table.concat(s, ' '):gmatch('%d+') do n = n + #w end\n" \
	"print(fib(35), t[1000], n)"

#define PERL "my (%h, $n); for my $r (1..36) { for my $i (1..150000) { $h{$i * 7919 % 10007} += $r; } }" \
	"for my $k (sort { $h{$a} <=> $h{$b} || $a <=> $b } keys %h) { $n += $h{$k} * length $k; }" \
	"my $s = join ',', map { $_ * 3 % 1009 } 1..2400000; my $c = () = $s =~ /(\\d)\\d*\\1/g; print \"$n $c\\n\";"

#define JAVASCRIPT "function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); } let m = new Map(), s = 0;" \
	"for (let r = 0; r < 150; r++) for (let i = 0; i < 60000; i++) { let k = 'k' + i * 7919 % 10007; m.set(k, (m.get(k) || 0) + i); }" \
	"for (let [k, v] of m) s += v; let a = Array.from({length: 3000000}, (_, i) => i * 7919 % 1000003).sort((x, y) => x - y);" \
	"console.log(fib(41), s, a[5000], JSON.stringify(JSON.parse(JSON.stringify([...m]))).length);"

#define SQL "create table t (i integer primary key, a integer, v text);" \
	"with recursive n(i) as (select 1 union all select i + 1 from n where i < 1600000) insert into t select i, i * 7919 % 400009, hex(i * 7919) from n;" \
	"create index x on t (a); create index y on t (v); select count(*), sum(length(v)), max(a) from t where v > '33';" \
	"select count(*) from t a join t b on a.a = b.i; select sum(n) from (select a % 100 g, count(*) n from t group by g order by n);"

#define LUAJIT "local n, s = 0, {} for i = 1, 400000000 do n = (n * 1103515245 + i) % 2147483648 end\n" \
	"for i = 1, 3000000 do s[i % 1000] = tostring(i):sub(-3) end print(n, #table.concat(s))"

#define TCL "proc fib n { if {$n < 2} { return $n }; expr {[fib [expr {$n - 1}]] + [fib [expr {$n - 2}]]} }; puts [fib 30];" \
	"for {set i 0} {$i < 2400000} {incr i} { dict incr d [expr {$i * 7919 % 1009}] }; puts [dict size $d]"

#define SHELL "i=0; n=0; while [ $i -lt 1500000 ]; do i=$((i + 1)); case $i in *7) n=$((n + i % 13));; esac; done; echo $n"

#define RUBY "h = Hash.new(0); 30.times { |r| 200000.times { |i| h[i * 7919 % 10007] += r } };" \
	"def fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2); puts fib(32), h.values.sum, (1..300000).map(&:to_s).join.scan(/9+/).size"

const struct bench_program bench_programs[] = {
	{ "main", "busybox", { "busybox", "sh", "-c", SHELL } },
	{ "main", "lua5.4", { "lua5.4", "-e", LUA } },
	{ "main", "python3", { "python3", "-c", PYTHON } },
	{ "main", "perl", { "perl", "-e", PERL } },
	{ "main", "sqlite3", { "sqlite3", ":memory:", SQL } },
	{ "main", "gzip", { "gzip", "-6", "-c", "input" } },
	{ "main", "zstd", { "zstd", "-q", "-11", "--single-thread", "-c", "input" } },
	{ "main", "openssl", { "openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "5000000", "-md", "sha512", "-pass", "pass:x", "-S", "0123456789abcdef",
		"-in", "input.c" } },
	{ "main", "gcc", { "gcc", "-O2", "-S", "-o", "-", "input.c" } },
	{ "main", "node", { "node", "-e", JAVASCRIPT } },
	{ "main", "luajit", { "luajit", "-e", LUAJIT } },
	{ "second", "xz", { "xz", "-4", "-c", "input" } },
	{ "second", "bzip2", { "bzip2", "-c", "input" } },
	{ "second", "mawk", { "mawk", "{ for (i = 1; i <= NF; i++) n[$i] += length($i) } END { for (w in n) s += n[w] * length(w); print s }", "text" } },
	{ "second", "dash", { "dash", "-c", SHELL } },
	{ "second", "bash", { "bash", "-c", SHELL } },
	{ "second", "sort", { "sort", "--parallel=1", "text" } },
	{ "second", "bc", { "bc", "-q", "input.bc" } },
	{ "second", "jq", { "jq", "-c", "map(.a * .b + (.c | length)) | add", "input.json" } },
	{ "second", "ruby", { "ruby", "-e", RUBY } },
	{ "second", "tclsh", { "tclsh", "input.tcl" } },
	{ "second", "sed", { "sed", "-E", "s/([a-m]+)[0-9]([n-z])/\\2\\1/g; /qu/d; y/abc/bca/", "text" } },
	{ "o0", "lua-O0", { "./lua-O0", "-e", LUA } },
	{ "o0", "sqlite-O0", { "./sqlite-O0", ":memory:", SQL } },
	{ "o0", "zlib-O0", { "./minigzip-O0", "-c", "input" } },
	{ "o0", "busybox-O0", { "./busybox-O0", "sh", "-c", SHELL } },
	{ "o1", "lua-O1", { "./lua-O1", "-e", LUA } },
	{ "o1", "sqlite-O1", { "./sqlite-O1", ":memory:", SQL } },
	{ "o1", "zlib-O1", { "./minigzip-O1", "-c", "input" } },
	{ "o1", "busybox-O1", { "./busybox-O1", "sh", "-c", SHELL } },
	{ "micro", "calls", { "./micro", "calls" } },
	{ "micro", "indirect", { "./micro", "indirect" } },
	{ "micro", "virtual", { "./micro", "virtual" } },
	{ "micro", "switch", { "./micro", "switch" } },
	{ "micro", "recursion", { "./micro", "recursion" } },
};
const int bench_program_count = ARRAY_SIZE(bench_programs);

/* Words of the small generator that makes the inputs: the same ones everywhere. */
static u32 next(u32 *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void write_text(FILE *f)
{
	static const char *const parts[] = { "page", "table", "qu", "shadow", "trans", "lat", "ion", "er", "ing", "s", "block", "un", "7", "42", "x" };
	u32 seed = 1;

	for (int line = 0; line < 600000; line++) {
		for (u32 w = next(&seed) % 9 + 3; w; w--) {
			for (u32 p = next(&seed) % 3 + 1; p; p--)
				fputs(parts[next(&seed) % ARRAY_SIZE(parts)], f);
			fputc(w == 1 ? '\n' : ' ', f);
		}
	}
}

/* Runs that repeat, runs that nearly do, and noise: what compressors meet. */
static void write_binary(FILE *f)
{
	unsigned char buffer[4096];
	u32 seed = 7;

	memset(buffer, 0, sizeof buffer);
	for (int block = 0; block < 20000; block++) {
		u32 kind = next(&seed) % 4;

		for (u32 i = 0; i < sizeof buffer; i++)
			if (kind == 0 || next(&seed) % (kind * 11) == 0)
				buffer[i] = (unsigned char)(next(&seed) % (kind == 0 ? 256 : 64));
		fwrite(buffer, 1, sizeof buffer, f);
	}
}

static void write_c(FILE *f)
{
	fputs("struct node { struct node *left, *right; long key; char name[16]; };\nextern void *allocate(unsigned long);\n", f);
	for (int i = 0; i < 700; i++)
		fprintf(f, "static long f%d(struct node *n, long k) {\n\tlong sum = %d;\n\tfor (struct node *p = n; p; p = p->key < k ? p->right : p->left) {\n"
			"\t\tsum += p->key * %d ^ (sum >> %d);\n\t\tswitch (p->name[%d]) {\n\t\tcase 'a': sum *= 3; break;\n\t\tcase 'b': sum -= k; break;\n"
			"\t\tcase 'c' ... 'k': if (p->left) p = p->left; break;\n\t\tdefault: sum |= %d;\n\t\t}\n\t}\n\treturn sum%s;\n}\n",
			i, i, i % 97 + 3, i % 13 + 1, i % 16, i, "");
	fputs("long (*const table[])(struct node *, long) = {\n", f);
	for (int i = 0; i < 700; i++)
		fprintf(f, "\tf%d,\n", i);
	fputs("};\n", f);
}

static void write_json(FILE *f)
{
	u32 seed = 3;

	fputc('[', f);
	for (int i = 0; i < 200000; i++)
		fprintf(f, "%s{\"a\":%u,\"b\":%u,\"c\":\"%x\"}", i ? "," : "", next(&seed) % 1000, next(&seed) % 1000, next(&seed));
	fputs("]\n", f);
}

static void write_bc(FILE *f) { fputs("scale = 1200\n4 * a(1)\ne(1)\nscale = 0\n3 ^ 20000 % 1000003\nquit\n", f); }
static void write_tcl(FILE *f) { fputs(TCL "\n", f); }

int bench_inputs_write(const char *directory, struct err *e)
{
	static const struct { const char *name; void (*write)(FILE *f); } inputs[] = {
		{ "text", write_text }, { "input", write_binary }, { "input.c", write_c }, { "input.json", write_json },
		{ "input.bc", write_bc }, { "input.tcl", write_tcl },
	};
	char path[4200];

	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		FILE *f;

		snprintf(path, sizeof path, "%s/%s", directory, inputs[i].name);
		f = fopen(path, "we");
		if (!f)
			return err_sys(e, errno, "%s", path);
		inputs[i].write(f);
		if (fclose(f))
			return err_sys(e, errno, "%s", path);
	}
	return 0;
}
