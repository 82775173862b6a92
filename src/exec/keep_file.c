/* SPDX-License-Identifier: MIT
 * The files in which templates (keep.h) outlive a process: one for each file that programs map code of.
 *
 *	head | index: a power of two of words, offsets / 16 of templates by a hash of (at, mode) | templates
 *
 * What lies there is run, so that it is believed only where nobody else can have written it: in a directory of the user's
 * that is closed to others, in a file of the user's that is too, with a seal by the key in that directory (the same that
 * a machine's translations have, accel/bt_store.h).  A file is replaced as a whole (rename(2)) by a process that ends; of
 * two that end at once what one has found is lost.  Whatever fails costs time and nothing else. */
#include "exec/keep.h"

#define KEEP_MAGIC 0x31646f6d7274656eull
#define KEEP_VERSION 1
#define SUFFIX ".module"
#define FILES_MAX 512
#define PLACES_MAX 2048
#define NEW_MAX (64ull << 20)       /* bytes of templates that a process makes */
#define NEW_STEP 0x20000ull        /* of which the memory is made at once */
#define MADV_POPULATE_WRITE 23
#define FILE_MAX (64ull << 20)      /* bytes of a file */
#define ROOM (512ull << 20)         /* bytes of all files in the directory, if the words do not say otherwise */
#define COUNT_MAX 2048u             /* files */
#define NEW_LEAST 8                 /* templates that are worth writing a file; */
#define NEW_SHARE 64                /* and one part of so many in bytes */
#define PROBES_MAX 256
#define STALE_SECONDS 60            /* a file half written is somebody's who died */
#define USED_SECONDS 86400          /* a file that is used gets a new date so often */

#define PATH_MAX 4096
#define O_WRONLY 1
#define O_CREAT 0100
#define O_EXCL 0200
#define O_NONBLOCK 04000
#define O_DIRECTORY 0200000
#define O_NOFOLLOW 0400000
#define O_CLOEXEC 02000000
#define S_IFMT 0170000
#define S_IFREG 0100000
#define CLONE_FILES 0x400
#define SIGXFSZ 25

struct host_stat {
	u64 dev, ino, nlink;
	u32 mode, uid, gid, pad;
	u64 rdev, size, block, blocks, atime, atime_ns, mtime, mtime_ns, ctime, ctime_ns, rest[3];
};
_Static_assert(sizeof(struct host_stat) == 144, "as the kernel's");

/* What a module's code and its translations depend on. */
struct identity { u64 dev, ino, size, mtime, mtime_ns, host, build[4]; };
_Static_assert(sizeof(struct identity) % 16 == 0, "seal_of");

struct keep_head {
	u64 seal, unused;       /* seal: of what follows */
	u64 magic, version, size;
	u64 buckets, templates; /* of the index; in the file */
	u64 unused2;
	struct identity id;
};

enum state { UNOPENED, PRESENT, ABSENT };
struct keep_file {
	struct identity id;
	enum state state;
	const u8 *map;
	struct keep_head head;
	u64 new_bytes;
	u32 new_templates;
};
struct place { u64 begin, end, offset; u32 file; };
/* Before each new template. */
struct new_head { u64 file, size; };

static char directory[PATH_MAX];
static bool usable;          /* the directory has been looked at, and has a key */
static bool looked;
static u64 key[2], host_id, room_max = ROOM;
static struct keep_file files[FILES_MAX];
static struct place places[PLACES_MAX];
static u32 n_files, n_places;
/* Files that are mapped: those of modules, and one that is written. */
static struct { u64 begin, size; } mapped[FILES_MAX + 1];
static u32 n_mapped;
static u8 *new_templates;
static u64 new_used, new_begin, new_ready;

/* ---- seals ---- */

/* n is a multiple of 16. */
static u64 seal_of(const void *bytes, size_t n, u64 more)
{
	const u8 *p = bytes;
	u64 h = n ^ more, a, b;

	for (const u8 *end = p + n; p < end; p += 16) {
		__builtin_memcpy(&a, p, 8);
		__builtin_memcpy(&b, p + 8, 8);
		unsigned __int128 m = (unsigned __int128)(a ^ h ^ key[0]) * (b ^ key[1]);

		h = (u64)m ^ (u64)(m >> 64) ^ b;
	}
	return h ^ h >> 32;
}

static u64 head_seal(const struct keep_head *h) { return seal_of(&h->magic, sizeof *h - 16, 0); }
static u64 template_seal(const struct template *t) { return seal_of(&t->at, t->size - 16, 1); }

/* ---- the directory ---- */

static bool is_ours(const struct host_stat *st) { return st->uid == (u32)sys0(__NR_geteuid) && !(st->mode & 077); }

static s64 open_ours(const char *path, struct host_stat *st)
{
	s64 fd = sys3(__NR_open, path, O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);

	if (fd < 0)
		return fd;
	if (sys2(__NR_fstat, fd, st) < 0 || (st->mode & S_IFMT) != S_IFREG || !is_ours(st)) {
		sys1(__NR_close, fd);
		return -EPERM;
	}
	return fd;
}

static bool look_at_directory(void)
{
	char path[PATH_MAX + 8];
	struct host_stat st;
	s64 fd;

	if (looked)
		return usable;
	looked = true;
	fd = sys3(__NR_open, directory, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	usable = sys2(__NR_fstat, fd, &st) >= 0 && is_ours(&st);
	sys1(__NR_close, fd);
	if (!usable)
		return false;
	text_format(path, sizeof path, "%s/key", directory);
	fd = open_ours(path, &st);
	usable = fd >= 0 && sys3(__NR_read, fd, key, sizeof key) == (s64)sizeof key;
	if (fd >= 0)
		sys1(__NR_close, fd);
	return usable;
}

void keep_setup(const char *path, size_t length, u64 host)
{
	if (!length || length >= sizeof directory)
		return;
	__builtin_memcpy(directory, path, length);
	directory[length] = 0;
	host_id = host;
}

void keep_set_room(u64 bytes) { room_max = bytes; }

size_t keep_words(char *out, size_t room)
{
	size_t n;

	if (!directory[0])
		return 0;
	n = room_max == ROOM ? 0 : text_format(out, room, " room=%ld", room_max);
	return n + text_format(out + n, room - n, " keep=%ld:%ld:%s", host_id, text_length(directory), directory);
}

/* The runtime's own build identifier, made by the linker of all that is in it (elf(5)). */
#define PT_NOTE 4
#define NT_GNU_BUILD_ID 3
struct elf_head { u8 ident[16]; u16 type, machine; u32 version; u64 entry, phoff, shoff; u32 flags; u16 size, phentsize, phnum; };
struct elf_part { u32 type, flags; u64 offset, vaddr, paddr, filesz, memsz, align; };
struct elf_note { u32 name, bytes, type; };

static void put_build(u64 build[4])
{
	extern const struct elf_head __ehdr_start;
	const struct elf_part *ph = (const struct elf_part *)((u64)&__ehdr_start + __ehdr_start.phoff);

	for (u32 i = 0; i < __ehdr_start.phnum; i++) {
		const struct elf_note *note = (const struct elf_note *)ph[i].vaddr;

		if (ph[i].type == PT_NOTE && note->type == NT_GNU_BUILD_ID && note->bytes <= 32)
			__builtin_memcpy(build, (const u8 *)(note + 1) + ALIGN_UP(note->name, 4), note->bytes);
	}
}

static void name_of(const struct identity *id, char *out, size_t room)
{
	text_format(out, room, "%s/%lx-%lx" SUFFIX, directory, seal_of(id, sizeof *id, 2), seal_of(id, sizeof *id, 3));
}

/* ---- reading ---- */

static u64 index_at(void) { return sizeof(struct keep_head); }
static u64 templates_at(const struct keep_head *h) { return ALIGN_UP(index_at() + 4 * h->buckets, 16ull); }

static u64 bucket_of(u64 at, u8 mode) { return (at ^ (u64)mode << 56) * 0x9e3779b97f4a7c15ull >> 20; }

/* The one mapped last. */
static void unmap_file(const u8 *map, u64 size)
{
	n_mapped--;
	host_munmap((u64)map, size);
}

/* Maps the file; its head is right. */
static const u8 *map_file(const struct identity *id, struct keep_head *head)
{
	char path[PATH_MAX + 64];
	struct host_stat st;
	s64 fd, map;

	name_of(id, path, sizeof path);
	fd = open_ours(path, &st);
	if (fd < 0)
		return NULL;
	map = st.size > sizeof *head && st.size <= FILE_MAX ? host_mmap(0, st.size, PROT_READ, MAP_PRIVATE, (int)fd, 0) : -EINVAL;
	if (map >= 0 && st.mtime + USED_SECONDS < (u64)sys1(__NR_time, 0))
		sys4(__NR_utimensat, fd, NULL, NULL, 0);
	sys1(__NR_close, fd);
	if (map < 0)
		return NULL;
	mapped[n_mapped].begin = (u64)map;
	mapped[n_mapped].size = st.size;
	n_mapped++;
	__builtin_memcpy(head, (const void *)map, sizeof *head);
	if (head->seal == head_seal(head) && head->magic == KEEP_MAGIC &&
	    head->version == KEEP_VERSION && head->size == st.size && !__builtin_memcmp(&head->id, id, sizeof *id) &&
	    head->buckets && !(head->buckets & (head->buckets - 1)) && head->buckets <= st.size && templates_at(head) <= st.size)
		return (const u8 *)map;
	unmap_file((const u8 *)map, st.size);
	return NULL;
}

static struct keep_file *file_at(u64 pc, u64 *at)
{
	static u32 last; /* most are asked for many times in a row */

	for (u32 n = 0; n < n_places; n++) {
		u32 i = n ? n - (n <= last) : last;

		if (i < n_places && pc >= places[i].begin && pc < places[i].end) {
			last = i;
			*at = pc - places[i].begin + places[i].offset;
			return &files[places[i].file];
		}
	}
	return NULL;
}

static void open_file(struct keep_file *f)
{
	f->state = ABSENT;
	if (!look_at_directory())
		return;
	put_build(f->id.build);
	f->map = map_file(&f->id, &f->head);
	if (f->map)
		f->state = PRESENT;
}

bool keep_wanted(u64 pc, u64 *at)
{
	struct keep_file *f = file_at(pc, at);

	if (f && f->state == UNOPENED)
		open_file(f);
	return f && usable;
}

/* Whether there is a template at the offset with a right seal. */
static bool is_template(const u8 *map, const struct keep_head *h, u64 offset)
{
	const struct template *t = (const struct template *)(map + offset);

	return offset >= templates_at(h) && offset + sizeof *t <= h->size && t->size >= sizeof *t && t->size <= TEMPLATE_MAX &&
	       t->size % 16 == 0 && offset + t->size <= h->size && t->seal == template_seal(t);
}

bool keep_fault(u64 address)
{
	for (u32 i = 0; i < n_mapped; i++)
		if (address - mapped[i].begin < mapped[i].size)
			return host_mmap(address & PAGE_MASK, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) >= 0;
	return false;
}

const struct template *keep_find(u64 pc, u8 mode)
{
	u64 at, bucket;
	struct keep_file *f = file_at(pc, &at);
	const u32 *index;

	if (f && f->state == UNOPENED)
		open_file(f);
	if (!f || f->state != PRESENT)
		return NULL;
	index = (const u32 *)(f->map + index_at());
	bucket = bucket_of(at, mode);
	for (u32 n = 0; n < PROBES_MAX; n++, bucket++) {
		u64 word = index[bucket & (f->head.buckets - 1)];
		const struct template *t = (const struct template *)(f->map + 16 * word);

		if (!word)
			return NULL;
		if (16 * word + sizeof *t > f->head.size || t->at != at || t->mode != mode)
			continue;
		return is_template(f->map, &f->head, 16 * word) ? t : NULL;
	}
	return NULL;
}

/* ---- modules ---- */

void keep_module_gone(u64 begin, u64 end)
{
	for (u32 i = 0; i < n_places; i++)
		if (places[i].begin < end && places[i].end > begin)
			places[i--] = places[--n_places];
}

void keep_module(u64 begin, u64 end, s64 fd, u64 offset)
{
	struct identity id = { .host = host_id };
	struct host_stat st;
	u32 i;

	if (!directory[0] || begin >= LOW_END || n_places == PLACES_MAX || sys2(__NR_fstat, fd, &st) < 0 || (st.mode & S_IFMT) != S_IFREG)
		return;
	id.dev = st.dev;
	id.ino = st.ino;
	id.size = st.size;
	id.mtime = st.mtime;
	id.mtime_ns = st.mtime_ns;
	for (i = 0; i < n_files; i++)
		if (!__builtin_memcmp(&files[i].id, &id, offsetof(struct identity, build)))
			break;
	if (i == FILES_MAX)
		return;
	if (i == n_files)
		files[n_files++] = (struct keep_file){ .id = id };
	places[n_places++] = (struct place){ begin, end, offset, i };
}

struct template *keep_room(size_t size)
{
	s64 r;

	if (!new_templates) {
		r = host_mmap(0, NEW_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (r < 0)
			usable = false;
		else
			new_templates = (u8 *)r;
	}
	if (!new_templates || new_used + sizeof(struct new_head) + size > NEW_MAX)
		return NULL;
	if (new_used + sizeof(struct new_head) + size > new_ready) {
		sys3(__NR_madvise, new_templates + new_ready, NEW_STEP, MADV_POPULATE_WRITE);
		new_ready += NEW_STEP;
	}
	return (struct template *)(new_templates + new_used + sizeof(struct new_head));
}

void keep_put(u64 pc, struct template *t)
{
	struct keep_file *f = file_at(pc, &t->at);

	*(struct new_head *)(new_templates + new_used) = (struct new_head){ (u64)(f - files), t->size };
	new_used += sizeof(struct new_head) + t->size;
	f->new_bytes += t->size;
	f->new_templates++;
}

/* ---- writing ---- */

/* A file in the making: its templates, wherever they are now. */
struct making {
	struct keep_head head;
	const struct template **list; /* as they will follow one another */
	u32 *index;                   /* number in the list + 1; at last the offset in the file, / 16 */
	u64 bytes;                    /* of templates */
};

/* Unless there is one for the same code, or no room. */
static void enter_template(struct making *m, const struct template *t)
{
	u64 bucket = bucket_of(t->at, t->mode), mask = m->head.buckets - 1;

	for (; m->index[bucket & mask]; bucket++) {
		const struct template *other = m->list[m->index[bucket & mask] - 1];

		if (other->at == t->at && other->mode == t->mode)
			return;
	}
	if (templates_at(&m->head) + m->bytes + t->size > FILE_MAX)
		return;
	m->list[m->head.templates++] = t;
	m->index[bucket & mask] = (u32)m->head.templates;
	m->bytes += t->size;
}

static void enter_new(struct making *m, u64 file)
{
	for (u64 at = new_begin; at < new_used;) {
		const struct new_head *h = (const struct new_head *)(new_templates + at);
		struct template *t = (struct template *)(new_templates + at + sizeof *h);

		if (h->file == file) {
			t->seal = template_seal(t);
			enter_template(m, t);
		}
		at += sizeof *h + h->size;
	}
}

/* What is damaged ends it. */
static void enter_old(struct making *m, const u8 *map, const struct keep_head *h)
{
	u64 left = h->templates;

	for (u64 at = templates_at(h); at < h->size && left-- && is_template(map, h, at);) {
		const struct template *t = (const struct template *)(map + at);

		enter_template(m, t);
		at += t->size;
	}
}

/* Numbers to offsets. */
static void settle(struct making *m)
{
	u64 at = templates_at(&m->head);
	u32 *offsets = (u32 *)(m->index + m->head.buckets);

	for (u64 i = 0; i < m->head.templates; at += m->list[i++]->size)
		offsets[i] = (u32)(at / 16);
	for (u64 i = 0; i < m->head.buckets; i++)
		if (m->index[i])
			m->index[i] = offsets[m->index[i] - 1];
	m->head.size = at;
	m->head.seal = head_seal(&m->head);
}

/* What is written goes through here in large pieces. */
static struct { s64 fd; size_t n; bool failed; u8 bytes[1 << 18]; } out;

static void flush(void)
{
	for (size_t done = 0; done < out.n && !out.failed;) {
		s64 n = sys3(__NR_write, out.fd, out.bytes + done, out.n - done);

		out.failed = n <= 0;
		done += (size_t)n;
	}
	out.n = 0;
}

static void put(const void *bytes, size_t n)
{
	for (const u8 *p = bytes; n;) {
		size_t k = MIN(n, sizeof out.bytes - out.n);

		__builtin_memcpy(out.bytes + out.n, p, k);
		out.n += k;
		p += k;
		n -= k;
		if (out.n == sizeof out.bytes)
			flush();
	}
}

/* Under a name of its own first. */
static void write_out(const struct making *m)
{
	char path[PATH_MAX + 64], new[PATH_MAX + 96];
	static const u8 zero[16];
	bool good;

	name_of(&m->head.id, path, sizeof path);
	text_format(new, sizeof new, "%s.%d.new", path, (u32)sys0(__NR_getpid));
	sys1(__NR_unlink, new);
	out.fd = sys3(__NR_open, new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out.fd < 0)
		return;
	out.n = 0;
	out.failed = false;
	put(&m->head, sizeof m->head);
	put(m->index, 4 * m->head.buckets);
	put(zero, templates_at(&m->head) - index_at() - 4 * m->head.buckets);
	for (u64 i = 0; i < m->head.templates; i++)
		put(m->list[i], m->list[i]->size);
	flush();
	good = sys1(__NR_close, out.fd) >= 0 && !out.failed && sys2(__NR_rename, new, path) >= 0;
	if (!good)
		sys1(__NR_unlink, new);
}

static void save_file(struct keep_file *f)
{
	struct making m = { .head = { .magic = KEEP_MAGIC, .version = KEEP_VERSION, .buckets = 16, .id = f->id } };
	struct keep_head old = { 0 };
	const u8 *map = map_file(&f->id, &old);
	u64 most = f->new_templates + (map ? old.templates : 0), size;
	s64 r;

	while (m.head.buckets < 2 * most)
		m.head.buckets *= 2;
	/* The list, and behind it the index and the offsets. */
	size = 8 * most + 4 * m.head.buckets + 4 * most;
	r = most <= FILE_MAX / sizeof(struct template) ?
		host_mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : -ENOMEM;
	if (r >= 0) {
		m.list = (const struct template **)r;
		m.index = (u32 *)(r + (s64)(8 * most));
		enter_new(&m, (u64)(f - files));
		if (map)
			enter_old(&m, map, &old);
		settle(&m);
		write_out(&m);
		host_munmap((u64)r, size);
	}
	if (map)
		unmap_file(map, old.size);
}

/* ---- making room ---- */

struct entry { u64 ino; s64 offset; u16 length; u8 type; char name[]; };

static bool ends_with(const char *s, const char *end)
{
	size_t n = text_length(s), k = text_length(end);

	return n > k && text_equal(s + n - k, end);
}

/* Adds up the files; the oldest one's path in `oldest`.  Removes what others left half written. */
static u64 survey(s64 dir, u32 *count, char *oldest, size_t room)
{
	u64 buffer[512], total = 0, at = ~0ull, now = (u64)sys1(__NR_time, 0);
	s64 n;

	*count = 0;
	sys3(__NR_lseek, dir, 0, 0);
	while ((n = sys3(__NR_getdents64, dir, buffer, sizeof buffer)) > 0)
		for (s64 i = 0; i < n; i += ((struct entry *)((u8 *)buffer + i))->length) {
			const char *name = ((struct entry *)((u8 *)buffer + i))->name;
			bool half = ends_with(name, ".new");
			struct host_stat st;

			if ((!half && !ends_with(name, SUFFIX)) || sys4(__NR_newfstatat, dir, name, &st, 0x100) < 0)
				continue;
			if (half && st.mtime + STALE_SECONDS < now)
				sys3(__NR_unlinkat, dir, name, 0);
			if (half)
				continue;
			total += st.size;
			++*count;
			if (st.mtime < at) {
				at = st.mtime;
				text_format(oldest, room, "%s", name);
			}
		}
	return total;
}

/* The files that were not used for longest go. */
static void make_room(void)
{
	s64 dir = sys3(__NR_open, directory, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	char oldest[256];
	u32 count;

	while (dir >= 0 && (survey(dir, &count, oldest, sizeof oldest) > room_max || count > COUNT_MAX))
		if (sys3(__NR_unlinkat, dir, oldest, 0) < 0)
			break;
	if (dir >= 0)
		sys1(__NR_close, dir);
}

static bool worth(const struct keep_file *f)
{
	return f->new_templates >= NEW_LEAST && f->new_bytes * NEW_SHARE >= (f->state == PRESENT ? f->head.size : 0);
}

void keep_save(void)
{
	u64 all = ~(SYNC_SIGNALS | UNBLOCKABLE), old, waits = 0; /* keep_fault() needs those */
	bool any = false;

	for (u32 i = 0; i < n_files; i++)
		any |= worth(&files[i]);
	if (!usable || !any)
		return;
	/* Other threads may close descriptors that they do not know. */
	if (threads_running() > 1 && sys1(__NR_unshare, CLONE_FILES) < 0)
		return;
	sys4(__NR_rt_sigprocmask, 2, &all, &old, 8);
	sys2(__NR_rt_sigpending, &waits, 8);
	for (u32 i = 0; i < n_files; i++)
		if (worth(&files[i]))
			save_file(&files[i]);
	make_room();
	keep_forked();
	/* What the writes have raised is ours. */
	const struct host_timespec now = { 0, 0 };
	const u64 limit = SIG_BIT(SIGXFSZ) & ~waits;

	sys4(__NR_rt_sigtimedwait, &limit, NULL, &now, 8);
	sys4(__NR_rt_sigprocmask, 2, &old, NULL, 8);
}

void keep_forked(void)
{
	new_begin = new_used;
	for (u32 i = 0; i < n_files; i++)
		files[i].new_bytes = files[i].new_templates = 0;
}
