/* SPDX-License-Identifier: MIT
 * The network cards of the command line. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/net_backend.h"

#define OPTION "--net"

struct values {
	struct net_config c;
	const char *mac;
};

#define F(f) offsetof(struct values, f)
static const struct key_row user_keys[] = {
	{ "forward", KEY_LIST, F(c.forward), false, 0, 0, NULL },
	{ "mac", KEY_TEXT, F(mac), false, 0, 0, NULL },
	{ "mtu", KEY_NUMBER, F(c.mtu), false, 1280, NET_MTU_MAX, NULL },
	{ "restrict", KEY_FLAG, F(c.restricted), false, 0, 0, NULL },
	{ "loopback", KEY_FLAG, F(c.loopback), false, 0, 0, NULL },
	{ "hostname", KEY_TEXT, F(c.hostname), false, 0, 0, NULL },
};
static const struct key_row tap_keys[] = {
	{ "name", KEY_TEXT, F(c.interface), false, 0, 0, NULL },
	{ "fd", KEY_NUMBER, F(c.fd), false, 3, 1 << 20, NULL },
	{ "queues", KEY_NUMBER, F(c.queues), false, 1, NET_PAIRS_MAX, NULL },
	{ "mac", KEY_TEXT, F(mac), false, 0, 0, NULL },
	{ "mtu", KEY_NUMBER, F(c.mtu), false, 68, NET_MTU_MAX, NULL },
};

static const struct kind {
	const char *name;
	const struct key_row *keys;
	size_t count;
	struct net_backend *(*make)(void);
} kinds[] = {
#define KIND_ROW(name) { #name, name##_keys, ARRAY_SIZE(name##_keys), net_##name##_new },
	NET_KINDS(KIND_ROW)
#undef KIND_ROW
};

static int parse_mac(u8 mac[6], const char *text, struct err *e)
{
	unsigned v[6];
	int used = 0;

	if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", v, v + 1, v + 2, v + 3, v + 4, v + 5, &used) != 6 || used != 17)
		return err_set(e, -EINVAL, OPTION ": mac=%s: not of the form 52:54:00:12:34:56", text);
	if (v[0] & 1)
		return err_set(e, -EINVAL, OPTION ": mac=%s: a multicast address", text);
	for (int i = 0; i < 6; i++)
		mac[i] = (u8)v[i];
	return 0;
}

static int check(struct net_config *c, struct err *e)
{
	struct net_forward f;
	int rc;

	for (int i = 0; i < c->forward.count; i++) {
		rc = net_forward_parse(&f, c->forward.word[i], e);
		if (rc)
			return rc;
	}
	if (kinds[c->kind].make == net_tap_new) {
		if (!c->interface == (c->fd == NET_NO_FD))
			return err_set(e, -EINVAL, OPTION ": tap needs either name=INTERFACE or fd=NUMBER");
		if (c->fd != NET_NO_FD && c->queues > 1)
			return err_set(e, -EINVAL, OPTION ": tap: fd= has one queue");
	}
	return 0;
}

int net_config_parse(struct net_config *c, const char *text, struct err *e)
{
	size_t word = strcspn(text, ",");
	struct values v = { .c = { .kind = -1, .fd = NET_NO_FD, .queues = 1 } };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i].name) == word && !memcmp(kinds[i].name, text, word))
			v.c.kind = (int)i;
	if (v.c.kind < 0)
		return err_set(e, -EINVAL, OPTION ": '%.*s' is neither user nor tap", (int)word, text);
	if (text[word])
		rc = keys_parse(OPTION, text + word + 1, kinds[v.c.kind].keys, kinds[v.c.kind].count, &v, &v.c.store, e);
	if (!rc && v.mac) {
		v.c.has_mac = true;
		rc = parse_mac(v.c.mac, v.mac, e);
	}
	if (!rc)
		rc = check(&v.c, e);
	if (rc) {
		free(v.c.store);
		return rc;
	}
	*c = v.c;
	return 0;
}

void net_config_free(struct net_config *c)
{
	free(c->store);
	*c = (struct net_config){ 0 };
}

void net_default_mac(const char *name, unsigned index, u8 mac[6])
{
	u64 h = 0xcbf29ce484222325ull; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (u8)*name) * 0x100000001b3ull;
	h = (h ^ index) * 0x100000001b3ull;
	h ^= h >> 29;
	mac[0] = 0x02; /* locally administered */
	for (int i = 1; i < 6; i++)
		mac[i] = (u8)(h >> 8 * i);
}

struct net_backend *net_backend_new(const struct net_config *c) { return kinds[c->kind].make(); }

/* ---- port forwards ---- */

static bool take_port(const char *text, size_t n, u16 *port)
{
	unsigned v = 0;

	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9' || v > 65535)
			return false;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	*port = (u16)v;
	return n && v && v <= 65535;
}

static bool take_address(struct net_forward *f, const char *text, size_t n)
{
	char host[64];

	f->v6 = n > 2 && text[0] == '[' && text[n - 1] == ']';
	if (f->v6) {
		text++;
		n -= 2;
	}
	if (n >= sizeof host)
		return false;
	memcpy(host, text, n);
	host[n] = 0;
	return inet_pton(f->v6 ? AF_INET6 : AF_INET, host, f->address) == 1;
}

int net_forward_parse(struct net_forward *f, const char *text, struct err *e)
{
	const char *at = text, *colon, *guest;

	*f = (struct net_forward){ .address = { 127, 0, 0, 1 } };
	if (!strncmp(at, "tcp:", 4) || !strncmp(at, "udp:", 4)) {
		f->udp = *at == 'u';
		at += 4;
	}
	guest = strrchr(at, ':');
	if (!guest || !take_port(guest + 1, strlen(guest + 1), &f->guest_port))
		goto wrong;
	colon = memrchr(at, ':', (size_t)(guest - at));
	if (colon && !take_address(f, at, (size_t)(colon - at)))
		goto wrong;
	at = colon ? colon + 1 : at;
	if (!take_port(at, (size_t)(guest - at), &f->host_port))
		goto wrong;
	return 0;
wrong:
	return err_set(e, -EINVAL, OPTION ": forward=%s: not of the form [tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT", text);
}
