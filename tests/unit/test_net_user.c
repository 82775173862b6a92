/* SPDX-License-Identifier: MIT
 * The user-mode network without a guest: address by DHCP, the gateway, a TCP connection to a server on this host,
 * a full guest, frames that make no sense.
 *
 * WITH: base/err.c base/keys.c base/jail_enter.c device/net_config.c device/net_filter.c device/net_user.c device/net_tap.c
 * LIBS: -lslirp
 */
#include "device/net_backend.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The backend takes its jail, in which the leak checker finds no /proc. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

static int failures;

static struct net_backend *net;
static u8 got[64][NET_FRAME_MAX];
static size_t got_size[64];
static unsigned got_count;
static bool refuse;
static const u8 my_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

static void result(bool ok, const char *name, const char *detail)
{
	failures += !ok;
	printf("%sok - %s%s%s\n", ok ? "" : "not ", name, ok ? "" : ": ", ok ? "" : detail);
}

static bool take(void *opaque, unsigned pair, const struct virtio_net_hdr_v1 *head, const void *frame, size_t size)
{
	(void)opaque, (void)pair, (void)head;
	if (refuse)
		return false;
	if (got_count < ARRAY_SIZE(got)) {
		memcpy(got[got_count], frame, size);
		got_size[got_count++] = size;
	}
	return true;
}

static void flush(void *opaque, unsigned pair) { (void)opaque, (void)pair; }

static void send_frame(const void *frame, size_t size)
{
	struct virtio_net_hdr_v1 head = { 0 };
	struct iovec iov[3] = { { &head, 5 }, { (u8 *)&head + 5, sizeof head - 5 }, { (void *)frame, size } };

	net->ops->send(net, 0, iov, 3);
}

/* Serves the sockets until a frame that `wanted` likes has come; NULL after five seconds. */
static const u8 *await(bool (*wanted)(const u8 *frame, size_t size))
{
	for (int i = 0; i < 500; i++) {
		struct pollfd p[64];
		int timeout = 10, n;

		for (unsigned f = 0; f < got_count; f++)
			if (wanted(got[f], got_size[f]))
				return got[f];
		n = net->ops->fill(net, p, 64, &timeout);
		if (timeout < 0 || timeout > 10)
			timeout = 10;
		if (poll(p, (nfds_t)n, timeout) >= 0)
			net->ops->polled(net, p, n);
	}
	return NULL;
}

static u32 sum(const void *bytes, size_t n, u32 s)
{
	const u8 *b = bytes;

	for (size_t i = 0; i + 1 < n; i += 2)
		s += (u32)b[i] << 8 | b[i + 1];
	if (n & 1)
		s += (u32)b[n - 1] << 8;
	return s;
}

static u16 fold(u32 s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons((u16)~s);
}

struct __attribute__((packed)) packet {
	struct ether_header eth;
	struct iphdr ip;
	union {
		struct udphdr udp;
		struct tcphdr tcp;
		u8 bytes[600];
	};
};

/* An IP packet from 10.0.2.15 (or nowhere yet), with its checksums. */
static void send_ip(struct packet *p, u8 protocol, const char *from, const char *to, size_t size)
{
	struct { u32 from, to; u8 zero, protocol; u16 size; } __attribute__((packed)) pseudo;
	u32 s;

	memset(p->eth.ether_dhost, 0xff, 6);
	memcpy(p->eth.ether_shost, my_mac, 6);
	p->eth.ether_type = htons(ETHERTYPE_IP);
	p->ip = (struct iphdr){ .version = 4, .ihl = 5, .tot_len = htons((u16)(20 + size)), .ttl = 64, .protocol = protocol,
		.saddr = inet_addr(from), .daddr = inet_addr(to) };
	p->ip.check = fold(sum(&p->ip, 20, 0));
	pseudo.from = p->ip.saddr;
	pseudo.to = p->ip.daddr;
	pseudo.zero = 0;
	pseudo.protocol = protocol;
	pseudo.size = htons((u16)size);
	s = sum(p->bytes, size, sum(&pseudo, sizeof pseudo, 0));
	if (protocol == IPPROTO_TCP)
		p->tcp.check = fold(s);
	send_frame(p, sizeof p->eth + 20 + size);
}

static void begin(const char *options)
{
	static struct net_config c;
	struct net_sink sink = { take, flush, NULL };
	struct err e = { 0 };
	int fds[NET_FDS_MAX], n;

	if (net_config_parse(&c, options, &e)) {
		result(false, options, e.text);
		exit(1);
	}
	net = net_backend_new(&c);
	net->ops->open(net, &c, fds, &n, &e);
	if (net->ops->begin(net, &sink, &e)) {
		result(false, "begin", e.text);
		exit(1);
	}
	got_count = 0;
}

/* ---- tests ---- */

static bool is_dhcp(const u8 *f, size_t size) { return size > 290 && f[12] == 8 && f[23] == 17 && f[37] == 68; }

static void test_dhcp(void)
{
	static struct packet p;
	u8 *m = p.bytes + sizeof p.udp;
	const u8 *f;

	memset(&p, 0, sizeof p);
	p.udp = (struct udphdr){ .source = htons(68), .dest = htons(67), .len = htons(308) };
	m[0] = m[1] = 1; /* request over Ethernet */
	m[2] = 6;
	memcpy(m + 28, my_mac, 6);
	memcpy(m + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8); /* DISCOVER */
	send_ip(&p, IPPROTO_UDP, "0.0.0.0", "255.255.255.255", 308);
	f = await(is_dhcp);
	result(f && !memcmp(f + 42 + 16, "\x0a\x00\x02\x0f", 4), "DHCP offers 10.0.2.15", f ? "another address" : "no answer");
}

static bool is_arp(const u8 *f, size_t size) { return size >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 2; }

static void test_arp(void)
{
	u8 m[42] = { 0 };
	const u8 *f;

	memset(m, 0xff, 6);
	memcpy(m + 6, my_mac, 6);
	memcpy(m + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01", 10);
	memcpy(m + 22, my_mac, 6);
	memcpy(m + 28, "\x0a\x00\x02\x0f", 4);
	memcpy(m + 38, "\x0a\x00\x02\x02", 4);
	send_frame(m, sizeof m);
	f = await(is_arp);
	result(f && !memcmp(f + 28, "\x0a\x00\x02\x02", 4), "the gateway answers ARP", "no answer");
}

static u16 tcp_flags(const u8 *f, size_t size) { return size >= 54 && f[12] == 8 && f[13] == 0 && f[23] == 6 ? f[47] : 0; }
static bool is_syn_ack(const u8 *f, size_t size) { return (tcp_flags(f, size) & 0x12) == 0x12; }
static bool is_unreachable(const u8 *f, size_t size) { return size >= 42 && f[12] == 8 && f[13] == 0 && f[23] == 1 && f[34] == 3; }

static u32 sequence_of(const u8 *f)
{
	u32 v;

	memcpy(&v, f + 38, 4);
	return ntohl(v);
}

static void send_tcp(u16 port, u32 seq, u32 ack, u8 flags, const char *text)
{
	static struct packet p;

	memset(&p, 0, sizeof p);
	p.tcp = (struct tcphdr){ .source = htons(1000), .dest = htons(port), .seq = htonl(seq), .ack_seq = htonl(ack),
		.doff = 5, .window = htons(60000) };
	p.bytes[13] = flags;
	memcpy(p.bytes + 20, text, strlen(text));
	send_ip(&p, IPPROTO_TCP, "10.0.2.15", "10.0.2.2", 20 + strlen(text));
}

static int listener(u16 *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (void *)&a, sizeof a) || listen(fd, 1) || getsockname(fd, (void *)&a, &n))
		perror("listener");
	*port = ntohs(a.sin_port);
	return fd;
}

static bool has_text(const u8 *f, size_t size) { return size >= 59 && tcp_flags(f, size) && !memcmp(f + 54, "reply", 5); }

static void test_tcp(int server, u16 port)
{
	char text[10] = "";
	const u8 *f;
	u32 ack;
	int fd;

	got_count = 0;
	send_tcp(port, 100, 0, 2, "");
	f = await(is_syn_ack);
	result(f, "a connection to the host's loopback where it is permitted", "no answer to SYN");
	if (!f)
		return;
	ack = sequence_of(f) + 1;
	send_tcp(port, 101, ack, 0x10, "");
	send_tcp(port, 101, ack, 0x18, "hello");
	fd = accept(server, NULL, NULL);
	result(read(fd, text, sizeof text) == 5 && !strcmp(text, "hello"), "data reach the server", text);
	/* A guest that has no room: the frame waits, and comes once there is room. */
	got_count = 0;
	refuse = true;
	if (write(fd, "reply", 5) != 5)
		perror("write");
	for (int i = 0; i < 5; i++)
		await(has_text);
	result(!got_count, "nothing is forced upon a full guest", "a frame came");
	refuse = false;
	net->ops->resume(net, 0);
	result(await(has_text), "what waited comes when there is room", "it does not");
	close(fd);
}

static u64 seed = 88172645463325252ull;
static u64 random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Lengths and checksum of an IPv4 packet mostly as they must be. */
static void make_ip_right(u8 *m, size_t size)
{
	u16 check;

	m[16] = (u8)((size - 14) >> 8);
	m[17] = (u8)(size - 14);
	if (random_number() % 8)
		m[20] = m[21] = 0;
	if (m[23] == 6 && size > 54)
		m[46] = (u8)(0x50 + (random_number() % 4 << 4));
	if (m[23] == 17 && size > 42) {
		m[38] = (u8)((size - 34) >> 8);
		m[39] = (u8)(size - 34);
		m[37] = (u8)"\x43\x45\x35\x07"[random_number() % 4]; /* DHCP, TFTP, DNS, echo */
		m[40] = m[41] = 0;
	}
	if (random_number() % 2)
		m[33] = (u8)(random_number() % 5);
	m[24] = m[25] = 0;
	check = fold(sum(m + 14, 20, 0));
	memcpy(m + 24, &check, 2);
}

/* Random bytes behind headers that lead deep into libslirp; restricted, so that nothing leaves. */
static void test_fuzz(void)
{
	static u8 m[2000];
	static const u16 types[] = { 0x0800, 0x86dd, 0x0806, 0x8100 };

	for (int i = 0; i < 30000; i++) {
		size_t size = 1 + random_number() % (random_number() % 4 ? 120 : sizeof m);
		u16 type = types[random_number() % ARRAY_SIZE(types)];

		for (size_t at = 0; at < size; at++)
			m[at] = random_number() % 3 ? 0 : (u8)random_number();
		if (size > 34) {
			memcpy(m, "\x52\x55\x0a\x00\x02\x02\x52\x54\x00\x01\x02\x03", 12);
			m[12] = (u8)(type >> 8);
			m[13] = (u8)type;
			m[14] = type == 0x86dd ? 0x60 : 0x45;
			m[23] = (u8)"\x06\x11\x01\x3a"[random_number() % 4];
			memcpy(m + 26, "\x0a\x00\x02\x0f\x0a\x00\x02\x02", 8);
			if (type == 0x0800)
				make_ip_right(m, size);
		}
		send_frame(m, size);
		if (i % 512 == 0)
			got_count = 0;
	}
	result(true, "random frames are survived", "");
}

int main(void)
{
	int server;
	u16 port;

	setvbuf(stdout, NULL, _IOLBF, 0);
	server = listener(&port);
	begin("user,loopback");
	test_dhcp();
	test_arp();
	test_tcp(server, port);
	begin("user");
	test_arp();
	got_count = 0;
	send_tcp(port, 100, 0, 2, "");
	result(await(is_unreachable), "the host's loopback is out of reach unless permitted", "no ICMP error");
	begin("user,restrict");
	test_fuzz();
	test_arp();
	return failures != 0;
}
