/* SPDX-License-Identifier: MIT
 * The engines' usual list of system calls: the file that Debian's container engines share, reduced
 * to what holds for this architecture and a container with few capabilities. */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "container/harden.h"

#define ENGINE_PROFILE "/usr/share/containers/seccomp.json"

static const char *const held[] = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE" };
static const char *const arches[] = { "amd64", "x86", "x32" };

static bool names_one(json_object *list, const char *const *of, size_t n, bool all)
{
	size_t i, k, hits = 0, length = json_object_array_length(list);

	for (i = 0; i < length; i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(list, i));

		for (k = 0; s && k < n; k++)
			hits += !strcmp(s, of[k]);
	}
	return all ? hits == length : hits > 0;
}

static bool applies(json_object *rule)
{
	json_object *part, *list;

	if (json_object_object_get_ex(rule, "includes", &part)) {
		if (json_object_object_get_ex(part, "arches", &list) && json_object_array_length(list) &&
		    !names_one(list, arches, ARRAY_SIZE(arches), false))
			return false;
		if (json_object_object_get_ex(part, "caps", &list) && json_object_array_length(list) &&
		    !names_one(list, held, ARRAY_SIZE(held), true))
			return false;
	}
	if (json_object_object_get_ex(rule, "excludes", &part)) {
		if (json_object_object_get_ex(part, "arches", &list) && json_object_array_length(list) &&
		    names_one(list, arches, 1, false))
			return false;
		if (json_object_object_get_ex(part, "caps", &list) && json_object_array_length(list) &&
		    names_one(list, held, ARRAY_SIZE(held), false))
			return false;
	}
	return true;
}

int bench_default_profile(struct text *out, struct err *e)
{
	static const char *const keep[] = { "names", "action", "errnoRet", "args" };
	_cleanup_free_ char *text = NULL;
	json_object *j, *list, *value;
	bool first = true;
	size_t i, k;
	int r = file_read_at(AT_FDCWD, ENGINE_PROFILE, 1 << 20, &text, NULL);

	if (r)
		return err_sys(e, -r, "read " ENGINE_PROFILE " (Debian: golang-github-containers-common), "
			       "or give --seccomp");
	j = json_tokener_parse(text);
	if (!j || !json_object_object_get_ex(j, "syscalls", &list) ||
	    !json_object_is_type(list, json_type_array)) {
		json_object_put(j);
		return err_set(e, -EINVAL, ENGINE_PROFILE " has no list of system calls");
	}
	json_object_object_get_ex(j, "defaultAction", &value);
	text_add(out, "{\"defaultAction\":%s,\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\","
		 "\"SCMP_ARCH_X32\"],\"syscalls\":[", json_object_to_json_string(value));
	for (i = 0; i < json_object_array_length(list); i++) {
		json_object *rule = json_object_array_get_idx(list, i);
		bool begun = false;

		if (!applies(rule))
			continue;
		text_add(out, "%s{", first ? "" : ",");
		first = false;
		for (k = 0; k < ARRAY_SIZE(keep); k++) {
			if (!json_object_object_get_ex(rule, keep[k], &value) || !value)
				continue;
			text_add(out, "%s\"%s\":%s", begun ? "," : "", keep[k],
				 json_object_to_json_string(value));
			begun = true;
		}
		text_add(out, "}");
	}
	text_add(out, "]}");
	json_object_put(j);
	return out->failed ? err_set(e, -ENOMEM, "out of memory") : 0;
}
