/* SPDX-License-Identifier: MIT
 * config.json in memory: structures generated from spec_table.h, and the parser that fills them.
 *
 * A document is parsed into one arena and stays constant afterwards.  Owner: the caller.  No lock. */
#ifndef PENUMBRA_CONTAINER_SPEC_H
#define PENUMBRA_CONTAINER_SPEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/types.h"
#include "container/spec_table.h"

enum seccomp_op {
	SECCOMP_OP_EQ,
	SECCOMP_OP_GE,
	SECCOMP_OP_GT,
	SECCOMP_OP_LE,
	SECCOMP_OP_LT,
	SECCOMP_OP_MASKED_EQ,
	SECCOMP_OP_NE,
};

enum seccomp_arch_bit {
	SECCOMP_ARCH_FOREIGN = 1,
	SECCOMP_ARCH_X86_64 = 2,
	SECCOMP_ARCH_X86 = 4,
	SECCOMP_ARCH_X32 = 8,
};

struct oci_int { s64 v; bool set; };
struct oci_uint { u64 v; bool set; };
struct oci_enum { s64 v; bool set; char letter; /* first letter of the word */ };
struct oci_strs { char **v; size_t n; bool set; }; /* v[n] is NULL */
struct oci_uints { u64 *v; size_t n; };
struct oci_caps { u64 mask; bool set; };
struct oci_pair { char *key, *value; };
struct oci_smap { struct oci_pair *v; size_t n; };

#define OCI_CT_STR(a) char *
#define OCI_CT_STRS(a) struct oci_strs
#define OCI_CT_UINTS(a) struct oci_uints
#define OCI_CT_CAPS(a) struct oci_caps
#define OCI_CT_BOOL(a) bool
#define OCI_CT_TRI(a) int
#define OCI_CT_INT(a) struct oci_int
#define OCI_CT_UINT(a) struct oci_uint
#define OCI_CT_ENUM(a) struct oci_enum
#define OCI_CT_FLAGS(a) struct oci_uint
#define OCI_CT_OBJ(a) struct oci_##a *
#define OCI_CT_LIST(a) struct oci_##a##_list
#define OCI_CT_SMAP(a) struct oci_smap
#define OCI_CT_OMAP(a) struct oci_##a##_list

#define OCI_MEMBER(S, member, json, kind, arg, flags, lo, hi) OCI_CT_##kind(arg) member;
#define OCI_DECLARE(name, FIELDS) \
	struct oci_##name { \
		char *key; /* name within an OMAP, else NULL */ \
		FIELDS(OCI_MEMBER, name) \
	}; \
	struct oci_##name##_list { \
		struct oci_##name *v; \
		size_t n; \
	};
OCI_OBJECTS(OCI_DECLARE)

/* One word of an enum; a list ends with a NULL word. */
struct oci_word {
	const char *word;
	s64 value;
};
#define OCI_ENUM_EXTERN(name) extern const struct oci_word oci_enum_##name[];
OCI_ENUMS(OCI_ENUM_EXTERN)

struct spec_document; /* owns the arena of one parsed document */

/* Parses `length` bytes of JSON as config.json.  On success *out owns everything reachable through
 * spec_root(); free it with spec_free().  Errors name the field: "linux.namespaces[2].type: ...".
 * Errors: -EINVAL for the document, -ENOMEM, -E2BIG above SPEC_SIZE_MAX. */
int spec_parse(const char *text, size_t length, struct spec_document **out, struct err *e);
/* Reads and parses the file `name` in the directory `dirfd`. */
int spec_load(int dirfd, const char *name, struct spec_document **out, struct err *e);
struct oci_spec *spec_root(struct spec_document *d);
/* The document's text, as read; *length excludes the terminating NUL. */
const char *spec_text(struct spec_document *d, size_t *length);
void spec_free(struct spec_document *d);

/* Parses a lone object of the table: `process` for exec -p, `resources` for update -r. */
int spec_parse_process(const char *text, size_t length, struct spec_document **owner,
		       struct oci_process **out, struct err *e);
int spec_parse_resources(const char *text, size_t length, struct spec_document **owner,
			 struct oci_resources **out, struct err *e);

/* Memory that lives as long as the document; zeroed; NULL when none is left. */
void *spec_alloc(struct spec_document *d, size_t size);
char *spec_strdup(struct spec_document *d, const char *s);
/* Appends one string to a list that lives in the document. */
int spec_strs_add(struct spec_document *d, struct oci_strs *list, const char *s);

/* The annotation `key`, or NULL. */
/* "NET_ADMIN" to its number, or -1. */
int capability_number(const char *name);
const char *spec_annotation(const struct oci_spec *s, const char *key);
/* The entry for namespace `clone_flag` (CLONE_NEW...), or NULL. */
const struct oci_namespace *spec_namespace(const struct oci_spec *s, u64 clone_flag);

/* Calls `visit` for each row of each object; what the hostile-bundle test enumerates. */
struct spec_row {
	const char *object, *field, *kind;
	unsigned flags;
	s64 low, high;
};
void spec_each_row(void (*visit)(const struct spec_row *, void *), void *arg);

#define SPEC_SIZE_MAX (16u << 20)
#define SPEC_DEPTH_MAX 32

#endif
