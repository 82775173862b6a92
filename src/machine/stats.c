/* SPDX-License-Identifier: MIT */
#include "machine/stats.h"

#include <errno.h>
#include <json-c/json.h>

static int add(struct json_object *to, const char *key, struct json_object *value)
{
	return value && !json_object_object_add(to, key, value) ? 0 : -ENOMEM;
}

static int add_fields(struct json_object *o, const struct vm *vm, bool panicked)
{
	int rc = 0;

	rc |= add(o, "name", json_object_new_string(vm->name));
	rc |= add(o, "accel", json_object_new_string(vm->accel->name));
	rc |= add(o, "end", json_object_new_string(vm_end_name(vm->end)));
	rc |= add(o, "panicked", json_object_new_boolean(panicked));
#define STATS_ADD(field, unit, meaning) rc |= add(o, #field, json_object_new_uint64(vm->stats.field));
	VM_STATS(STATS_ADD)
#undef STATS_ADD
	return rc ? -ENOMEM : 0;
}

int stats_write(const struct vm *vm, bool panicked, FILE *to, const char *object, struct err *e)
{
	struct json_object *o = json_object_new_object();
	const char *text = NULL;
	int rc = 0;

	if (o && !add_fields(o, vm, panicked))
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	if (!text)
		rc = err_set(e, -ENOMEM, "%s: no memory", object);
	else if (fprintf(to, "%s\n", text) < 0 || fflush(to))
		rc = err_sys(e, errno, "%s", object);
	json_object_put(o);
	return rc;
}
