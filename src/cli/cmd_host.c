/* SPDX-License-Identifier: MIT
 * penumbra host: what this host offers, and what would run a guest on it. */
#include <errno.h>
#include <json-c/json.h>
#include <stddef.h>
#include <stdio.h>

#include "accel/probe.h"
#include "cli/commands.h"

struct host_values {
	bool json;
};

static const struct option_row host_options[] = {
	{ "json", NULL, OPTION_FLAG, offsetof(struct host_values, json), "print JSON", NULL, NULL },
};

#define LABEL "%-20s"

struct choice {
	const struct accel *accel; /* NULL: none can run */
	const char *boundary;
	char why[ERR_TEXT_MAX];
};

static void choose(const struct host_info *host, struct choice *c)
{
	struct err e = { 0 };

	c->accel = accel_select(host, "auto", c->why, sizeof c->why, &e);
	c->boundary = c->accel ? accel_boundary(host, c->accel) : "none: no guest can run";
	if (!c->accel)
		snprintf(c->why, sizeof c->why, "%s", e.text);
}

static void print_table(const struct host_info *host, const struct choice *c)
{
#define PRINT_TEXT(field, key, label) printf(LABEL "%s\n", label, host->field);
#define PRINT_FLAG(field, key, label) printf(LABEL "%s\n", label, host->field ? "yes" : "no");
#define PRINT_NUMBER(field, key, label) printf(LABEL "%llu\n", label, (unsigned long long)host->field);
	HOST_FACTS(PRINT_TEXT, PRINT_FLAG, PRINT_NUMBER)
	printf(LABEL "%s (%s)\n", "accelerator (auto)", c->accel ? c->accel->name : "none", c->why);
	printf(LABEL "%s\n", "guest boundary", c->boundary);
}

static int add(struct json_object *o, const char *key, struct json_object *value)
{
	return value && !json_object_object_add(o, key, value) ? 0 : -ENOMEM;
}

static int print_json(const struct host_info *host, const struct choice *c)
{
	struct json_object *o = json_object_new_object();
	const char *text;
	int rc = o ? 0 : -ENOMEM;

	if (o) {
#define ADD_TEXT(field, key, label) rc |= add(o, key, json_object_new_string(host->field));
#define ADD_FLAG(field, key, label) rc |= add(o, key, json_object_new_boolean(host->field));
#define ADD_NUMBER(field, key, label) rc |= add(o, key, json_object_new_uint64(host->field));
		HOST_FACTS(ADD_TEXT, ADD_FLAG, ADD_NUMBER)
		rc |= add(o, "kvm_state", json_object_new_string(host_kvm_name(host->kvm)));
		rc |= add(o, "accel", json_object_new_string(c->accel ? c->accel->name : "none"));
		rc |= add(o, "accel_reason", json_object_new_string(c->why));
		rc |= add(o, "boundary", json_object_new_string(c->boundary));
	}
	text = rc ? NULL : json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY);
	if (text)
		puts(text);
	json_object_put(o);
	return text ? 0 : -ENOMEM;
}

static enum cli_status host(const void *values, const struct operands *operands)
{
	const struct host_values *v = values;
	struct host_info info;
	struct choice c;

	(void)operands;
	host_probe(&info);
	choose(&info, &c);
	if (!v->json) {
		print_table(&info, &c);
	} else if (print_json(&info, &c)) {
		report(&command_host, "no memory");
		return STATUS_FAILED;
	}
	return finish_output(&command_host);
}

const struct command command_host = {
	.name = "host",
	.summary = "show what this host offers and what would run a guest on it",
	.description =
		"Prints what matters to a guest on this host: kvm, processor features, limits of the kernel, "
		"which accelerator auto takes and why, and what stands between a guest and this host. "
		"Needs no privilege.",
	.options = host_options,
	.option_count = ARRAY_SIZE(host_options),
	.values_size = sizeof(struct host_values),
	.run = host,
};
