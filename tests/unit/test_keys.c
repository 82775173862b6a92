/* SPDX-License-Identifier: MIT
 * Descriptions of devices: the parser of keys, and the cards and forwards of --net.
 *
 * WITH: base/err.c base/keys.c base/jail_enter.c device/net_config.c device/net_filter.c device/net_user.c device/net_tap.c
 * LIBS: -lslirp
 */
#include "base/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/net_backend.h"

static int failures;

static void result(bool ok, const char *name, const char *detail)
{
	failures += !ok;
	printf("%sok - %s%s%s\n", ok ? "" : "not ", name, ok ? "" : ": ", ok ? "" : detail);
}

struct values {
	bool flag, other;
	const char *text;
	u64 number;
	int choice;
	struct key_list list;
};
#define F(f) offsetof(struct values, f)
static const struct key_row rows[] = {
	{ "flag", KEY_FLAG, F(flag), false, 0, 0, NULL },
	{ "other", KEY_FLAG, F(other), false, 0, 0, NULL },
	{ "text", KEY_TEXT, F(text), true, 0, 0, NULL },
	{ "number", KEY_NUMBER, F(number), false, 3, 100, NULL },
	{ "choice", KEY_CHOICE, F(choice), false, 0, 0, "red|green|blue" },
	{ "list", KEY_LIST, F(list), false, 0, 0, NULL },
};

/* NULL: accepted; else a part of the message. */
static const struct { const char *text, *error; } parses[] = {
	{ "text=a", NULL },
	{ "flag,text=a", NULL },
	{ "text=a,number=0x10,choice=blue", NULL },
	{ "", "'' is not known" },
	{ "flag", "text=... is missing" },
	{ "text", "text needs a value" },
	{ "text=", "text needs a value" },
	{ "text=a,", "'' is not known" },
	{ "text=a,text=b", "text is given twice" },
	{ "text=a,flag=maybe", "flag=maybe: neither on nor off" },
	{ "text=a,number=2", "number=2: not a number from 3 to 100" },
	{ "text=a,number=101", "not a number" },
	{ "text=a,number=-1", "not a number" },
	{ "text=a,number=7x", "not a number" },
	{ "text=a,number=18446744073709551620", "not a number" },
	{ "text=a,choice=gree", "not one of red|green|blue" },
	{ "text=a,choice=red|green", "not one of" },
	{ "text=a,tex=b", "'tex' is not known" },
};

static void test_keys(void)
{
	char *store;
	struct values v;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(parses); i++) {
		int rc;

		e = (struct err){ 0 };
		v = (struct values){ .flag = false };
		rc = keys_parse("--x", parses[i].text, rows, ARRAY_SIZE(rows), &v, &store, &e);
		result(parses[i].error ? rc == -EINVAL && strstr(e.text, parses[i].error) && !strncmp(e.text, "--x: ", 5) : !rc,
		       parses[i].text, e.text);
		free(store);
	}
	e = (struct err){ 0 };
	v = (struct values){ .other = true, .number = 9 };
	result(!keys_parse("--x", "text=a,,b=c,,,flag,other=off,choice=green,list=1,list=,,2", rows, ARRAY_SIZE(rows), &v, &store, &e) &&
	       !strcmp(v.text, "a,b=c,") && v.flag && !v.other && v.number == 9 && v.choice == 1 && v.list.count == 2 &&
	       !strcmp(v.list.word[1], ",2"), "values arrive", e.text);
	free(store);
}

static const struct { const char *text, *error; } nets[] = {
	{ "user", NULL },
	{ "user,forward=2222:22", NULL },
	{ "user,forward=tcp:0.0.0.0:80:8080,forward=udp:[::1]:53:53,mac=52:54:00:12:34:56", NULL },
	{ "user,mtu=1500,restrict,loopback,hostname=guest", NULL },
	{ "tap,name=tap0", NULL },
	{ "tap,fd=5,mac=02:00:00:00:00:01", NULL },
	{ "tap,name=tap0,queues=4", NULL },
	{ "", "'' is neither user nor tap" },
	{ "users", "'users' is neither" },
	{ "user,", "'' is not known" },
	{ "user,name=tap0", "'name' is not known" },
	{ "user,forward=22", "forward=22: not of the form" },
	{ "user,forward=0:22", "not of the form" },
	{ "user,forward=65536:22", "not of the form" },
	{ "user,forward=1:99999999999999999999", "not of the form" },
	{ "user,forward=localhost:80:80", "not of the form" },
	{ "user,forward=::1:80:80", "not of the form" },
	{ "user,forward=:80:80", "not of the form" },
	{ "user,forward=sctp:80:80", "not of the form" },
	{ "user,forward=80:80 ", "not of the form" },
	{ "user,mac=52:54:00:12:34", "mac=52:54:00:12:34: not of the form" },
	{ "user,mac=52:54:00:12:34:5g", "not of the form" },
	{ "user,mac=01:00:00:00:00:00", "multicast" },
	{ "user,mtu=100", "mtu=100: not a number" },
	{ "tap", "either name=INTERFACE or fd=NUMBER" },
	{ "tap,name=a,fd=3", "either name=INTERFACE or fd=NUMBER" },
	{ "tap,fd=3,queues=2", "one queue" },
};

static void test_net(void)
{
	struct net_config c;
	struct net_forward f;
	struct err e;
	u8 a[6], b[6];

	for (size_t i = 0; i < ARRAY_SIZE(nets); i++) {
		int rc;

		e = (struct err){ 0 };
		rc = net_config_parse(&c, nets[i].text, &e);
		result(nets[i].error ? rc == -EINVAL && strstr(e.text, nets[i].error) : !rc, nets[i].text, e.text);
		if (!rc)
			net_config_free(&c);
	}
	e = (struct err){ 0 };
	result(!net_forward_parse(&f, "8080:80", &e) && !f.udp && !f.v6 && f.host_port == 8080 && f.guest_port == 80 && f.address[0] == 127,
	       "a forward listens on this host alone unless told", e.text);
	result(!net_forward_parse(&f, "udp:[fe80::1]:1:65535", &e) && f.udp && f.v6 && f.address[0] == 0xfe && f.guest_port == 65535,
	       "a forward with every part", e.text);
	net_default_mac("guest", 0, a);
	net_default_mac("guest", 1, b);
	result(memcmp(a, b, 6) && !(a[0] & 1) && a[0] & 2, "addresses differ from card to card", "they do not");
}

int main(void)
{
	test_keys();
	test_net();
	return failures != 0;
}
