/* SPDX-License-Identifier: MIT
 * Index, manifest and configuration of an image. */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "image/archive_private.h"

#define INDEX_DEPTH_MAX 4
#define STRINGS_MAX 4096

static json_object *get(json_object *j, const char *name, json_type type)
{
	json_object *v;

	return j && json_object_is_type(j, json_type_object) && json_object_object_get_ex(j, name, &v) &&
	       json_object_is_type(v, type) ? v : NULL;
}

/* NULL when it is not there, or is no string, or holds a NUL. */
static const char *get_text(json_object *j, const char *name)
{
	json_object *v = get(j, name, json_type_string);

	return v && strlen(json_object_get_string(v)) == (size_t)json_object_get_string_len(v) ?
	       json_object_get_string(v) : NULL;
}

/* An array's element that is an object, or NULL. */
static json_object *element(json_object *list, size_t i)
{
	json_object *v = json_object_array_get_idx(list, i);

	return json_object_is_type(v, json_type_object) ? v : NULL;
}

static int read_json(struct archive *a, const char *name, const struct digest *digest, char **text, json_object **out,
		     json_type type, struct err *e)
{
	_cleanup_free_ char *own = NULL;
	char **to = text ? text : &own;
	int r = archive_text(a, name, digest, to, e);

	*out = NULL;
	if (r)
		return r;
	*out = json_tokener_parse(*to);
	if (json_object_is_type(*out, type))
		return 0;
	json_object_put(*out);
	*out = NULL;
	return err_set(e, -EINVAL, "%.200s: is not the JSON that is wanted", name);
}

static int member_of(const struct digest *d, char *out, size_t size)
{
	return snprintf(out, size, "blobs/sha256/%s", d->hex);
}

static int take_strings(json_object *j, const char *name, struct image_strings *out, struct err *e)
{
	json_object *list = get(j, name, json_type_array);
	size_t n = list ? json_object_array_length(list) : 0, i;

	if (n > STRINGS_MAX)
		return err_set(e, -E2BIG, "config.%s: has more than %d entries", name, STRINGS_MAX);
	out->set = list != NULL;
	out->v = calloc(n + 1, sizeof *out->v);
	if (!out->v)
		return err_set(e, -ENOMEM, "out of memory");
	for (i = 0; i < n; i++) {
		json_object *s = json_object_array_get_idx(list, i);

		if (!json_object_is_type(s, json_type_string) ||
		    strlen(json_object_get_string(s)) != (size_t)json_object_get_string_len(s))
			return err_set(e, -EINVAL, "config.%s[%zu]: must be a string", name, i);
		out->v[i] = strdup(json_object_get_string(s));
		if (!out->v[i])
			return err_set(e, -ENOMEM, "out of memory");
		out->n++;
	}
	return 0;
}

static int take_text(json_object *j, const char *name, char **out, struct err *e)
{
	const char *s = get_text(j, name);

	*out = s && *s ? strdup(s) : NULL;
	return s && *s && !*out ? err_set(e, -ENOMEM, "out of memory") : 0;
}

static int take_config(struct image *i, json_object *j, struct err *e)
{
	json_object *own = get(j, "config", json_type_object);
	json_object *diffs = get(get(j, "rootfs", json_type_object), "diff_ids", json_type_array);
	const char *os = get_text(j, "os"), *processor = get_text(j, "architecture");
	size_t k;
	int r = 0;

	if ((os && strcmp(os, "linux")) || (processor && strcmp(processor, "amd64")))
		return err_set(e, -ENOEXEC, "the image is for %.32s on %.32s, not for linux on amd64", os ? os : "linux",
			       processor ? processor : "amd64");
	if (!diffs || json_object_array_length(diffs) != i->layers)
		return err_set(e, -EINVAL, "config: rootfs.diff_ids has %zu entries for %zu layers",
			       diffs ? json_object_array_length(diffs) : 0, i->layers);
	for (k = 0; k < i->layers; k++) {
		json_object *d = json_object_array_get_idx(diffs, k);

		if (!json_object_is_type(d, json_type_string) || digest_parse(&i->layer[k].diff, json_object_get_string(d)))
			return err_set(e, -EINVAL, "config: rootfs.diff_ids[%zu]: is no sha256 digest", k);
	}
	if (!r)
		r = take_strings(own, "Entrypoint", &i->entrypoint, e);
	if (!r)
		r = take_strings(own, "Cmd", &i->cmd, e);
	if (!r)
		r = take_strings(own, "Env", &i->env, e);
	if (!r)
		r = take_text(own, "User", &i->user, e);
	if (!r)
		r = take_text(own, "WorkingDir", &i->working_dir, e);
	return r ? r : take_text(own, "StopSignal", &i->stop_signal, e);
}

static int make_layers(struct image *i, size_t n, struct err *e)
{
	if (n > IMAGE_LAYERS_MAX)
		return err_set(e, -E2BIG, "has more than %d layers", IMAGE_LAYERS_MAX);
	i->layer = calloc(n + 1, sizeof *i->layer);
	i->layers = i->layer ? n : 0;
	return i->layer ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int read_config(struct archive *a, struct image *i, const char *member, struct err *e)
{
	json_object *j;
	int r = read_json(a, member, &i->config, &i->config_text, &j, json_type_object, e);

	if (!r)
		r = take_config(i, j, e);
	json_object_put(j);
	return r;
}

/* OCI's manifest, and docker's of schema 2, which has the same members. */
static int read_manifest(struct archive *a, const struct digest *digest, struct image *i, struct err *e)
{
	char member[128];
	json_object *j, *layers;
	size_t k;
	int r;

	member_of(digest, member, sizeof member);
	r = read_json(a, member, digest, NULL, &j, json_type_object, e);
	if (r)
		return r;
	layers = get(j, "layers", json_type_array);
	if (!layers || digest_parse(&i->config, get_text(get(j, "config", json_type_object), "digest")))
		r = err_set(e, -EINVAL, "manifest: has no config.digest or no layers");
	if (!r)
		r = make_layers(i, json_object_array_length(layers), e);
	for (k = 0; !r && k < i->layers; k++) {
		if (digest_parse(&i->layer[k].stored, get_text(element(layers, k), "digest"))) {
			r = err_set(e, -EINVAL, "manifest: layers[%zu].digest: is no sha256 digest", k);
			break;
		}
		member_of(&i->layer[k].stored, member, sizeof member);
		i->layer[k].member = strdup(member);
		r = i->layer[k].member ? 0 : err_set(e, -ENOMEM, "out of memory");
	}
	json_object_put(j);
	member_of(&i->config, member, sizeof member);
	return r ? r : read_config(a, i, member, e);
}

static bool is_index(json_object *descriptor)
{
	const char *type = get_text(descriptor, "mediaType");

	return type && (!strcmp(type, "application/vnd.oci.image.index.v1+json") ||
			!strcmp(type, "application/vnd.docker.distribution.manifest.list.v2+json"));
}

/* "unknown" is what attestations say. */
static bool platform_fits(json_object *descriptor)
{
	json_object *p = get(descriptor, "platform", json_type_object);
	const char *os = get_text(p, "os"), *processor = get_text(p, "architecture");

	return (!os || !strcmp(os, "linux")) && (!processor || !strcmp(processor, "amd64"));
}

static const char *name_of(json_object *descriptor)
{
	json_object *notes = get(descriptor, "annotations", json_type_object);
	const char *full = get_text(notes, "io.containerd.image.name");

	return full ? full : get_text(notes, "org.opencontainers.image.ref.name");
}

/* "docker.io/library/web:1" is meant by "web:1" as well. */
static bool name_fits(const char *name, const char *wanted)
{
	size_t n = strlen(name), k = strlen(wanted);

	return n >= k && k && !strcmp(name + n - k, wanted) && (n == k || name[n - k - 1] == '/' || name[n - k - 1] == ':');
}

static bool wanted_fits(json_object *descriptor, const char *wanted)
{
	const char *name = name_of(descriptor), *digest = get_text(descriptor, "digest");

	return !wanted || (name && name_fits(name, wanted)) || (digest && !strcmp(digest, wanted));
}

/* Picks the one descriptor that fits; its name goes to the image. */
static int pick(json_object *index, const char *wanted, struct digest *out, bool *nested, char **name, struct err *e)
{
	json_object *list = get(index, "manifests", json_type_array), *found = NULL;
	size_t n = list ? json_object_array_length(list) : 0, k, fits = 0;
	const char *called;

	for (k = 0; k < n; k++) {
		json_object *d = element(list, k);

		if (!d || !wanted_fits(d, wanted) || !platform_fits(d))
			continue;
		found = found ? found : d;
		fits++;
	}
	if (!found)
		return err_set(e, -ENOENT, "has no image%s%.100s for linux on amd64", wanted ? " called " : "",
			       wanted ? wanted : "");
	if (fits > 1)
		return err_set(e, -EINVAL, "has %zu images; name one as FILE:NAME%s%.100s", fits,
			       name_of(found) ? ", such as " : "", name_of(found) ? name_of(found) : "");
	called = name_of(found);
	if (called && !*name)
		*name = strdup(called);
	*nested = is_index(found);
	return digest_parse(out, get_text(found, "digest")) ?
	       err_set(e, -EINVAL, "index: manifests[].digest: is no sha256 digest") : 0;
}

static int read_index(struct archive *a, const char *wanted, struct image *i, struct err *e)
{
	char member[128] = "index.json";
	struct digest d;
	bool nested = true;
	int depth, r = 0;

	for (depth = 0; !r && nested; depth++) {
		json_object *j;

		if (depth == INDEX_DEPTH_MAX)
			return err_set(e, -EINVAL, "index: lies in an index in an index in an index");
		r = read_json(a, member, depth ? &d : NULL, NULL, &j, json_type_object, e);
		if (!r)
			r = pick(j, depth ? NULL : wanted, &d, &nested, &i->name, e);
		json_object_put(j);
		member_of(&d, member, sizeof member);
	}
	return r ? r : read_manifest(a, &d, i, e);
}

/* manifest.json: one entry an image, with RepoTags, Config and Layers. */
static bool docker_fits(json_object *entry, const char *wanted)
{
	json_object *tags = get(entry, "RepoTags", json_type_array);
	size_t k;

	for (k = 0; wanted && tags && k < json_object_array_length(tags); k++)
		if (name_fits(json_object_get_string(json_object_array_get_idx(tags, k)) ? : "", wanted))
			return true;
	return !wanted;
}

/* The configuration is named by its digest: "HEX.json", or "blobs/sha256/HEX". */
static int docker_config(const char *member, struct digest *out)
{
	const char *slash = strrchr(member, '/'), *base = slash ? slash + 1 : member;
	size_t n = strcspn(base, ".");

	if (!digest_is_hex(base, n) || (base[n] && strcmp(base + n, ".json")))
		return -EINVAL;
	snprintf(out->hex, sizeof out->hex, "%.*s", DIGEST_HEX, base);
	return 0;
}

static int read_docker(struct archive *a, const char *wanted, struct image *i, struct err *e)
{
	json_object *j, *entry = NULL, *layers, *tags;
	const char *config = NULL;
	size_t k, fits = 0;
	int r = read_json(a, "manifest.json", NULL, NULL, &j, json_type_array, e);

	if (r)
		return r;
	for (k = 0; k < json_object_array_length(j); k++) {
		json_object *x = element(j, k);

		if (x && docker_fits(x, wanted) && !fits++)
			entry = x;
	}
	layers = get(entry, "Layers", json_type_array);
	config = get_text(entry, "Config");
	if (fits != 1)
		r = err_set(e, -EINVAL, "has %zu images%s%.100s; name one as FILE:NAME", fits, wanted ? " called " : "",
			    wanted ? wanted : "");
	else if (!layers || !config || docker_config(config, &i->config))
		r = err_set(e, -EINVAL, "manifest.json: Config or Layers is missing or wrong");
	if (!r)
		r = make_layers(i, json_object_array_length(layers), e);
	for (k = 0; !r && k < i->layers; k++) {
		json_object *name = json_object_array_get_idx(layers, k);

		i->layer[k].member = json_object_is_type(name, json_type_string) ? strdup(json_object_get_string(name)) : NULL;
		if (!i->layer[k].member)
			r = err_set(e, -EINVAL, "manifest.json: Layers[%zu]: is no name", k);
	}
	tags = get(entry, "RepoTags", json_type_array);
	if (!r && tags && json_object_array_length(tags) &&
	    json_object_is_type(json_object_array_get_idx(tags, 0), json_type_string))
		i->name = strdup(json_object_get_string(json_object_array_get_idx(tags, 0)));
	if (!r)
		r = read_config(a, i, config, e);
	json_object_put(j);
	return r;
}

int archive_image(struct archive *a, const char *wanted, struct image *out, struct err *e)
{
	*out = (struct image){ 0 };
	if (archive_has(a, "index.json"))
		return read_index(a, wanted, out, e);
	if (archive_has(a, "manifest.json"))
		return read_docker(a, wanted, out, e);
	return err_set(e, -EINVAL, "is no image: it has neither index.json nor manifest.json");
}

static void strings_free(struct image_strings *s)
{
	while (s->n)
		free(s->v[--s->n]);
	free(s->v);
}

void image_free(struct image *i)
{
	while (i->layers)
		free(i->layer[--i->layers].member);
	free(i->layer);
	strings_free(&i->entrypoint);
	strings_free(&i->cmd);
	strings_free(&i->env);
	free(i->user);
	free(i->working_dir);
	free(i->stop_signal);
	free(i->name);
	free(i->config_text);
	*i = (struct image){ 0 };
}
