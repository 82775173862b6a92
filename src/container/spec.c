/* SPDX-License-Identifier: MIT
 * The parser over json-c that spec_table.h drives. */
#include "container/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <linux/time_types.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/util.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define OCI_WORD(w, v) { w, (s64)(v) },
#define OCI_ENUM_DEFINE(name) \
	const struct oci_word oci_enum_##name[] = { OCI_ENUM_##name(OCI_WORD) { NULL, 0 } };
OCI_ENUMS(OCI_ENUM_DEFINE)

enum field_kind {
	K_STR, K_STRS, K_UINTS, K_CAPS, K_BOOL, K_TRI, K_INT, K_UINT, K_ENUM, K_FLAGS,
	K_OBJ, K_LIST, K_SMAP, K_OMAP,
};

static const char *const kind_names[] = {
	"STR", "STRS", "UINTS", "CAPS", "BOOL", "TRI", "INT", "UINT", "ENUM", "FLAGS",
	"OBJ", "LIST", "SMAP", "OMAP",
};

struct object;
struct field {
	const char *name;
	enum field_kind kind;
	unsigned offset, flags;
	s64 low, high;
	const struct oci_word *words;
	const struct object *object;
};
struct object {
	const char *name;
	size_t size;
	const struct field *fields;
	size_t n_fields;
};

#define WORDS_OF_ENUM(a) oci_enum_##a
#define OBJECT_OF_OBJ(a) &object_##a
#define W_STR(a) NULL
#define W_STRS(a) NULL
#define W_UINTS(a) NULL
#define W_CAPS(a) NULL
#define W_BOOL(a) NULL
#define W_TRI(a) NULL
#define W_INT(a) NULL
#define W_UINT(a) NULL
#define W_ENUM(a) WORDS_OF_ENUM(a)
#define W_FLAGS(a) WORDS_OF_ENUM(a)
#define W_OBJ(a) NULL
#define W_LIST(a) NULL
#define W_SMAP(a) NULL
#define W_OMAP(a) NULL
#define R_STR(a) NULL
#define R_STRS(a) NULL
#define R_UINTS(a) NULL
#define R_CAPS(a) NULL
#define R_BOOL(a) NULL
#define R_TRI(a) NULL
#define R_INT(a) NULL
#define R_UINT(a) NULL
#define R_ENUM(a) NULL
#define R_FLAGS(a) NULL
#define R_OBJ(a) OBJECT_OF_OBJ(a)
#define R_LIST(a) OBJECT_OF_OBJ(a)
#define R_SMAP(a) NULL
#define R_OMAP(a) OBJECT_OF_OBJ(a)

#define FIELD_ROW(S, member, json, kind, arg, flags, lo, hi) \
	{ json, K_##kind, offsetof(struct oci_##S, member), flags, lo, hi, W_##kind(arg), \
	  R_##kind(arg) },
#define OBJECT_DEFINE(name, FIELDS) \
	static const struct field fields_##name[] = { FIELDS(FIELD_ROW, name) }; \
	static const struct object object_##name = { \
		#name, sizeof(struct oci_##name), fields_##name, ARRAY_SIZE(fields_##name) \
	};
OCI_OBJECTS(OBJECT_DEFINE)

struct chunk {
	struct chunk *next;
	size_t used, size;
	_Alignas(16) char data[];
};

struct spec_document {
	struct chunk *chunks;
	void *root;
	char *text;
	size_t length;
};

void *spec_alloc(struct spec_document *d, size_t size)
{
	struct chunk *c = d->chunks;
	void *p;

	size = ALIGN_UP(size, 16);
	if (!c || c->size - c->used < size) {
		size_t room = MAX(size, (size_t)32768);

		c = calloc(1, sizeof *c + room);
		if (!c)
			return NULL;
		c->size = room;
		c->next = d->chunks;
		d->chunks = c;
	}
	p = c->data + c->used;
	c->used += size;
	return p;
}

char *spec_strdup(struct spec_document *d, const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = spec_alloc(d, n);

	return p ? memcpy(p, s, n) : NULL;
}

int spec_strs_add(struct spec_document *d, struct oci_strs *list, const char *s)
{
	char **v = spec_alloc(d, (list->n + 2) * sizeof *v);
	char *copy = spec_strdup(d, s);

	if (!v || !copy)
		return -ENOMEM;
	if (list->n)
		memcpy(v, list->v, list->n * sizeof *v);
	v[list->n++] = copy;
	list->v = v;
	list->set = true;
	return 0;
}

void spec_free(struct spec_document *d)
{
	if (!d)
		return;
	while (d->chunks) {
		struct chunk *c = d->chunks;

		d->chunks = c->next;
		free(c);
	}
	free(d->text);
	free(d);
}

/* Where in the document the parser stands: a linked path, printed only when something is wrong. */
struct place {
	const struct place *up;
	const char *name; /* NULL for an element of an array */
	size_t index;
};

struct parse {
	struct spec_document *d;
	struct err *e;
};

static size_t place_print(const struct place *p, char *buf, size_t size)
{
	size_t n = p->up ? place_print(p->up, buf, size) : 0;

	if (n < size && p->name && *p->name)
		n += (size_t)snprintf(buf + n, size - n, "%s%.200s", n ? "." : "", p->name);
	else if (n < size && !p->name)
		n += (size_t)snprintf(buf + n, size - n, "[%zu]", p->index);
	return MIN(n, size);
}

static int __attribute__((format(printf, 3, 4)))
wrong(struct parse *c, const struct place *at, const char *format, ...)
{
	char where[600] = "", what[300];
	va_list ap;

	va_start(ap, format);
	vsnprintf(what, sizeof what, format, ap);
	va_end(ap);
	place_print(at, where, sizeof where);
	return err_set(c->e, -EINVAL, "config.json: %s: %s", *where ? where : "document", what);
}

static int no_memory(struct parse *c)
{
	return err_set(c->e, -ENOMEM, "config.json: out of memory");
}

static int parse_object(struct parse *c, const struct object *o, json_object *j,
			const struct place *at, void *out);

static int parse_text(struct parse *c, const struct field *f, json_object *j,
		      const struct place *at, s64 low, s64 high, char **out)
{
	const char *s;
	s64 n;

	if (!json_object_is_type(j, json_type_string))
		return wrong(c, at, "must be a string, not %s",
			     json_type_to_name(json_object_get_type(j)));
	s = json_object_get_string(j);
	n = json_object_get_string_len(j);
	if ((s64)strlen(s) != n)
		return wrong(c, at, "contains a NUL character");
	if (n < low || n > high)
		return wrong(c, at, "has %lld characters, must have %lld to %lld", (long long)n,
			     (long long)low, (long long)high);
	if ((f->flags & F_ABS) && n && s[0] != '/')
		return wrong(c, at, "must be an absolute path, not \"%.100s\"", s);
	if ((f->flags & F_NAME) && (strchr(s, '/') || !strcmp(s, ".") || !strcmp(s, "..")))
		return wrong(c, at, "must be a plain name, not \"%.100s\"", s);
	*out = spec_strdup(c->d, s);
	return *out ? 0 : no_memory(c);
}

static int parse_texts(struct parse *c, const struct field *f, json_object *j,
		       const struct place *at, struct oci_strs *out)
{
	size_t n, i;
	int r;

	if (!json_object_is_type(j, json_type_array))
		return wrong(c, at, "must be an array of strings");
	n = json_object_array_length(j);
	if ((s64)n > f->high || (s64)n < f->low)
		return wrong(c, at, "has %zu entries, must have %lld to %lld", n,
			     (long long)f->low, (long long)f->high);
	out->v = spec_alloc(c->d, (n + 1) * sizeof *out->v);
	if (!out->v)
		return no_memory(c);
	out->n = n;
	out->set = true;
	for (i = 0; i < n; i++) {
		struct place here = { at, NULL, i };

		r = parse_text(c, f, json_object_array_get_idx(j, i), &here, 0, TEXT_LIMIT,
			       &out->v[i]);
		if (r)
			return r;
	}
	return 0;
}

static int parse_number(struct parse *c, const struct field *f, json_object *j,
			const struct place *at, s64 *out)
{
	s64 v;

	if (!json_object_is_type(j, json_type_int))
		return wrong(c, at, "must be a whole number, not %s",
			     json_type_to_name(json_object_get_type(j)));
	errno = 0;
	v = json_object_get_int64(j);
	if (v < 0 || f->kind == K_INT) {
		/* json-c saturates at both ends; what saturates is out of every bound but these */
		if (v < f->low || v > f->high)
			return wrong(c, at, "is %s, must be in %lld to %lld",
				     json_object_to_json_string(j), (long long)f->low,
				     (long long)f->high);
	} else {
		u64 u = json_object_get_uint64(j);

		if ((f->high != S64_MAX && u > (u64)f->high) || u < (u64)f->low)
			return wrong(c, at, "is %s, must be in %lld to %lld",
				     json_object_to_json_string(j), (long long)f->low,
				     (long long)f->high);
		v = (s64)u;
	}
	*out = v;
	return 0;
}

static int parse_numbers(struct parse *c, const struct field *f, json_object *j,
			 const struct place *at, struct oci_uints *out)
{
	size_t n, i;

	if (!json_object_is_type(j, json_type_array))
		return wrong(c, at, "must be an array of numbers");
	n = json_object_array_length(j);
	if (n > 65536)
		return wrong(c, at, "has %zu entries, must have at most 65536", n);
	out->v = spec_alloc(c->d, (n + 1) * sizeof *out->v);
	if (!out->v)
		return no_memory(c);
	out->n = n;
	for (i = 0; i < n; i++) {
		struct place here = { at, NULL, i };
		s64 v;
		int r = parse_number(c, f, json_object_array_get_idx(j, i), &here, &v);

		if (r)
			return r;
		out->v[i] = (u64)v;
	}
	return 0;
}

static int parse_word(struct parse *c, const struct field *f, json_object *j,
		      const struct place *at, struct oci_enum *out)
{
	const struct oci_word *w;
	char known[200] = "";
	size_t n = 0;
	char *s;
	int r = parse_text(c, f, j, at, 0, 64, &s);

	if (r)
		return r;
	for (w = f->words; w->word; w++) {
		if (!strcmp(w->word, s)) {
			*out = (struct oci_enum){ w->value, true, s[0] };
			return 0;
		}
		if (n < sizeof known)
			n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "",
					      w->word);
	}
	return wrong(c, at, "\"%.64s\" is not one of %s", s, known);
}

static int parse_flags(struct parse *c, const struct field *f, json_object *j,
		       const struct place *at, struct oci_uint *out)
{
	size_t n, i;

	if (!json_object_is_type(j, json_type_array))
		return wrong(c, at, "must be an array of strings");
	n = json_object_array_length(j);
	if ((s64)n > f->high)
		return wrong(c, at, "has %zu entries, must have at most %lld", n,
			     (long long)f->high);
	out->set = true;
	for (i = 0; i < n; i++) {
		struct place here = { at, NULL, i };
		struct oci_enum one;
		int r = parse_word(c, f, json_object_array_get_idx(j, i), &here, &one);

		if (r)
			return r;
		out->v |= (u64)one.v;
	}
	return 0;
}

static int parse_caps(struct parse *c, const struct field *f, json_object *j,
		      const struct place *at, struct oci_caps *out)
{
	struct oci_strs names = { 0 };
	size_t i;
	int r = parse_texts(c, f, j, at, &names);

	if (r)
		return r;
	out->set = true;
	for (i = 0; i < names.n; i++) {
		int cap = strncmp(names.v[i], "CAP_", 4) ? -1 : capability_number(names.v[i] + 4);

		/* A capability that this kernel does not know cannot be granted: the
		 * specification asks for a warning, not an error. */
		if (cap >= 0)
			out->mask |= BIT(cap);
	}
	return 0;
}

static int parse_list(struct parse *c, const struct field *f, json_object *j,
		      const struct place *at, void *member)
{
	struct { char *v; size_t n; } *out = member;
	size_t n, i;

	if (!json_object_is_type(j, json_type_array))
		return wrong(c, at, "must be an array");
	n = json_object_array_length(j);
	if ((s64)n > f->high)
		return wrong(c, at, "has %zu entries, must have at most %lld", n,
			     (long long)f->high);
	out->v = spec_alloc(c->d, n * f->object->size);
	if (!out->v)
		return no_memory(c);
	out->n = n;
	for (i = 0; i < n; i++) {
		struct place here = { at, NULL, i };
		int r = parse_object(c, f->object, json_object_array_get_idx(j, i), &here,
				     out->v + i * f->object->size);

		if (r)
			return r;
	}
	return 0;
}

static int parse_map(struct parse *c, const struct field *f, json_object *j,
		     const struct place *at, void *member)
{
	size_t each = f->kind == K_SMAP ? sizeof(struct oci_pair) : f->object->size;
	struct { char *v; size_t n; } *out = member;
	size_t n, i = 0;

	if (!json_object_is_type(j, json_type_object))
		return wrong(c, at, "must be an object");
	n = (size_t)json_object_object_length(j);
	if ((s64)n > f->high)
		return wrong(c, at, "has %zu entries, must have at most %lld", n,
			     (long long)f->high);
	out->v = spec_alloc(c->d, n * each);
	if (!out->v)
		return no_memory(c);
	out->n = n;
	json_object_object_foreach(j, key, value) {
		struct place here = { at, key, 0 };
		char *slot = out->v + i++ * each;
		static const struct field plain = { .name = "", .kind = K_STR };
		int r;

		if ((f->flags & F_NAME) &&
		    (!*key || strchr(key, '/') || !strcmp(key, ".") || !strcmp(key, "..")))
			return wrong(c, &here, "must be a plain name");
		*(char **)slot = spec_strdup(c->d, key); /* .key is first in both shapes */
		if (!*(char **)slot)
			return no_memory(c);
		if (f->kind == K_SMAP)
			r = parse_text(c, &plain, value, &here, 0, SPEC_SIZE_MAX,
				       &((struct oci_pair *)slot)->value);
		else
			r = parse_object(c, f->object, value, &here, slot);
		if (r)
			return r;
	}
	return 0;
}

static int parse_field(struct parse *c, const struct field *f, json_object *j,
		       const struct place *at, char *out)
{
	void *member = out + f->offset;
	s64 v;
	int r;

	switch (f->kind) {
	case K_STR:
		return parse_text(c, f, j, at, f->low, f->high, member);
	case K_STRS:
		return parse_texts(c, f, j, at, member);
	case K_UINTS:
		return parse_numbers(c, f, j, at, member);
	case K_CAPS:
		return parse_caps(c, f, j, at, member);
	case K_BOOL:
	case K_TRI:
		if (!json_object_is_type(j, json_type_boolean))
			return wrong(c, at, "must be true or false");
		if (f->kind == K_BOOL)
			*(bool *)member = json_object_get_boolean(j);
		else
			*(int *)member = json_object_get_boolean(j);
		return 0;
	case K_INT:
	case K_UINT:
		r = parse_number(c, f, j, at, &v);
		if (!r)
			*(struct oci_int *)member = (struct oci_int){ v, true };
		return r;
	case K_ENUM:
		return parse_word(c, f, j, at, member);
	case K_FLAGS:
		return parse_flags(c, f, j, at, member);
	case K_OBJ:
		*(void **)member = spec_alloc(c->d, f->object->size);
		if (!*(void **)member)
			return no_memory(c);
		return parse_object(c, f->object, j, at, *(void **)member);
	case K_LIST:
		return parse_list(c, f, j, at, member);
	case K_SMAP:
	case K_OMAP:
		return parse_map(c, f, j, at, member);
	}
	return -EINVAL;
}

static int parse_object(struct parse *c, const struct object *o, json_object *j,
			const struct place *at, void *out)
{
	size_t i;

	if (!json_object_is_type(j, json_type_object))
		return wrong(c, at, "must be an object");
	for (i = 0; i < o->n_fields; i++) {
		const struct field *f = &o->fields[i];
		struct place here = { at, f->name, 0 };
		json_object *value = NULL;
		int r;

		if (f->kind == K_TRI)
			*(int *)((char *)out + f->offset) = -1;
		json_object_object_get_ex(j, f->name, &value);
		if (!value) { /* absent, or null, which Go's encoder writes for an absent slice */
			if (f->flags & F_REQ)
				return wrong(c, &here, "is missing");
			continue;
		}
		r = parse_field(c, f, value, &here, out);
		if (r)
			return r;
	}
	return 0;
}

/* Parses text as one object of the table; `label` is what errors call the document's root. */
static int parse_document(const char *text, size_t length, const struct object *o,
			  struct spec_document **out, struct err *e)
{
	struct spec_document *d = calloc(1, sizeof *d);
	struct json_tokener *tok = json_tokener_new_ex(SPEC_DEPTH_MAX);
	struct place top = { NULL, "", 0 };
	struct parse c = { d, e };
	json_object *j = NULL;
	int r;

	if (!d || !tok) {
		r = no_memory(&c);
		goto out;
	}
	if (length > SPEC_SIZE_MAX) {
		r = err_set(e, -E2BIG, "config.json: %zu bytes, at most %u are read", length,
			    SPEC_SIZE_MAX);
		goto out;
	}
	d->text = malloc(length + 1);
	if (!d->text) {
		r = no_memory(&c);
		goto out;
	}
	memcpy(d->text, text, length);
	d->text[length] = 0;
	d->length = length;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	j = json_tokener_parse_ex(tok, d->text, (int)length + 1);
	if (!j) {
		enum json_tokener_error je = json_tokener_get_error(tok);

		r = err_set(e, -EINVAL, "config.json: not JSON at byte %zu: %s",
			    json_tokener_get_parse_end(tok),
			    je == json_tokener_continue ? "it ends too early" :
			    json_tokener_error_desc(je));
		goto out;
	}
	for (size_t end = json_tokener_get_parse_end(tok); end < length; end++)
		if (!strchr(" \t\r\n", d->text[end]) || !d->text[end]) {
			r = err_set(e, -EINVAL, "config.json: text after the document at byte %zu",
				    end);
			goto out;
		}
	d->root = spec_alloc(d, o->size);
	r = d->root ? parse_object(&c, o, j, &top, d->root) : no_memory(&c);
out:
	json_object_put(j);
	if (tok)
		json_tokener_free(tok);
	if (r) {
		spec_free(d);
		return r;
	}
	*out = d;
	return 0;
}

int spec_parse(const char *text, size_t length, struct spec_document **out, struct err *e)
{
	return parse_document(text, length, &object_spec, out, e);
}

int spec_parse_process(const char *text, size_t length, struct spec_document **owner,
		       struct oci_process **out, struct err *e)
{
	int r = parse_document(text, length, &object_process, owner, e);

	if (!r)
		*out = (*owner)->root;
	return r;
}

int spec_parse_resources(const char *text, size_t length, struct spec_document **owner,
			 struct oci_resources **out, struct err *e)
{
	int r = parse_document(text, length, &object_resources, owner, e);

	if (!r)
		*out = (*owner)->root;
	return r;
}

int spec_load(int dirfd, const char *name, struct spec_document **out, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read_at(dirfd, name, SPEC_SIZE_MAX, &text, &length);

	if (r == -EFBIG)
		return err_set(e, -E2BIG, "%s: more than %u bytes", name, SPEC_SIZE_MAX);
	if (r)
		return err_sys(e, -r, "read %s", name);
	return spec_parse(text, length, out, e);
}

struct oci_spec *spec_root(struct spec_document *d)
{
	return d->root;
}

const char *spec_text(struct spec_document *d, size_t *length)
{
	*length = d->length;
	return d->text;
}

const char *spec_annotation(const struct oci_spec *s, const char *key)
{
	size_t i;

	for (i = 0; i < s->annotations.n; i++)
		if (!strcmp(s->annotations.v[i].key, key))
			return s->annotations.v[i].value;
	return NULL;
}

const struct oci_namespace *spec_namespace(const struct oci_spec *s, u64 clone_flag)
{
	size_t i;

	for (i = 0; s->linux_ && i < s->linux_->namespaces.n; i++)
		if ((u64)s->linux_->namespaces.v[i].type.v == clone_flag)
			return &s->linux_->namespaces.v[i];
	return NULL;
}

#define VISIT_OBJECT(name, FIELDS) &object_##name,
void spec_each_row(void (*visit)(const struct spec_row *, void *), void *arg)
{
	static const struct object *const all[] = { OCI_OBJECTS(VISIT_OBJECT) };
	size_t i, k;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		for (k = 0; k < all[i]->n_fields; k++) {
			const struct field *f = &all[i]->fields[k];
			struct spec_row row = { all[i]->name, f->name, kind_names[f->kind],
						f->flags, f->low, f->high };

			visit(&row, arg);
		}
}

int capability_number(const char *name)
{
	const struct oci_word *w;

	for (w = oci_enum_capability; w->word; w++)
		if (!strcasecmp(w->word + 4, name))
			return (int)w->value;
	return -1;
}
