/* SPDX-License-Identifier: MIT
 * Streams of bytes between guest and host, with a check of what arrives.
 *
 *	stream listen FAMILY:PLACE send|receive BYTES      waits for one connection
 *	stream connect FAMILY:PLACE send|receive BYTES
 *	stream connect unix:PATH/PORT ...                  says CONNECT PORT first, and awaits OK
 *	stream echo udp:ADDRESS/PORT N                     answers N datagrams with what they hold
 *
 * FAMILY:PLACE is tcp:ADDRESS/PORT, vsock:CID/PORT or unix:PATH.  The bytes are numbers of eight bytes that count up.  The
 * receiver checks them and prints "BYTES bytes, N Mbit/s". */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (256u << 10)

static uint64_t buffer[CHUNK / 8];

static void fail(const char *what)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_vm vm;
	struct sockaddr_un un;
};

/* Fills in the address; what follows a slash in "unix:" is returned for CONNECT. */
static const char *parse(char *text, union address *a, socklen_t *size)
{
	char *place = strchr(text, ':'), *slash;

	if (!place)
		fail(text);
	*place++ = 0;
	slash = strrchr(place, '/');
	memset(a, 0, sizeof *a);
	if ((!strcmp(text, "tcp") || !strcmp(text, "udp")) && slash) {
		*slash++ = 0;
		a->in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(slash)) };
		if (inet_pton(AF_INET, place, &a->in.sin_addr) != 1)
			fail(place);
		*size = sizeof a->in;
		return NULL;
	}
	if (!strcmp(text, "vsock") && slash) {
		a->vm = (struct sockaddr_vm){ .svm_family = AF_VSOCK, .svm_cid = (unsigned)atoll(place), .svm_port = (unsigned)atoll(slash + 1) };
		*size = sizeof a->vm;
		return NULL;
	}
	if (strcmp(text, "unix"))
		fail(text);
	if (slash && slash[1] >= '0' && slash[1] <= '9' && !slash[1 + strspn(slash + 1, "0123456789")])
		*slash++ = 0;
	else
		slash = NULL;
	a->un.sun_family = AF_UNIX;
	snprintf(a->un.sun_path, sizeof a->un.sun_path, "%s", place);
	*size = sizeof a->un;
	return slash;
}

static int reach(int listening, char *text)
{
	union address a;
	socklen_t size;
	const char *port = parse(text, &a, &size);
	int fd = socket(a.any.sa_family, SOCK_STREAM, 0), one = 1, c;
	char line[64];

	if (fd < 0)
		fail("socket");
	if (!listening) {
		if (connect(fd, &a.any, size))
			fail("connect");
		if (port) {
			dprintf(fd, "CONNECT %s\n", port);
			for (size_t i = 0; i < sizeof line; i++)
				if (read(fd, line + i, 1) != 1)
					fail("CONNECT");
				else if (line[i] == '\n')
					break;
			if (strncmp(line, "OK ", 3))
				fail("answer to CONNECT");
		}
		return fd;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (a.any.sa_family == AF_UNIX)
		unlink(a.un.sun_path);
	if (bind(fd, &a.any, size) || listen(fd, 1))
		fail("bind");
	printf("listening\n");
	fflush(stdout);
	c = accept(fd, NULL, NULL);
	if (c < 0)
		fail("accept");
	return c;
}

static void send_all(int fd, uint64_t bytes)
{
	uint64_t number = 0;

	while (bytes) {
		size_t part = bytes < CHUNK ? bytes : CHUNK;

		for (size_t i = 0; i < CHUNK / 8; i++)
			buffer[i] = number++;
		for (size_t at = 0; at < part;) {
			ssize_t n = write(fd, (char *)buffer + at, part - at);

			if (n <= 0)
				fail("write");
			at += (size_t)n;
		}
		bytes -= part;
	}
	shutdown(fd, SHUT_WR);
	while (read(fd, buffer, sizeof buffer) > 0)
		;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void receive_all(int fd, uint64_t bytes)
{
	uint64_t number = 0, total = 0;
	double start = now();
	size_t have = 0;

	for (;;) {
		ssize_t n = read(fd, (char *)buffer + have, sizeof buffer - have);

		if (n < 0)
			fail("read");
		if (!n)
			break;
		have += (size_t)n;
		total += (size_t)n;
		for (size_t i = 0; i < have / 8; i++)
			if (buffer[i] != number++) {
				fprintf(stderr, "stream: wrong bytes near %llu\n", (unsigned long long)total);
				exit(1);
			}
		memmove(buffer, (char *)buffer + have / 8 * 8, have % 8);
		have %= 8;
	}
	if (total != bytes) {
		fprintf(stderr, "stream: %llu bytes of %llu\n", (unsigned long long)total, (unsigned long long)bytes);
		exit(1);
	}
	printf("%llu bytes, %.0f Mbit/s\n", (unsigned long long)total, (double)total * 8 / (now() - start) / 1e6);
}

static int echo(char *text, int count)
{
	union address a;
	socklen_t size;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	parse(text, &a, &size);
	if (fd < 0 || bind(fd, &a.any, size))
		fail("bind");
	printf("listening\n");
	fflush(stdout);
	while (count--) {
		ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, &a.any, &size);

		if (n < 0 || sendto(fd, buffer, (size_t)n, 0, &a.any, size) != n)
			fail("datagram");
	}
	return 0;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc == 4 && !strcmp(argv[1], "echo"))
		return echo(argv[2], atoi(argv[3]));

	if (argc != 5) {
		fprintf(stderr, "usage: stream listen|connect FAMILY:PLACE send|receive BYTES\n");
		return 2;
	}
	fd = reach(!strcmp(argv[1], "listen"), argv[2]);
	if (!strcmp(argv[3], "send"))
		send_all(fd, strtoull(argv[4], NULL, 0));
	else
		receive_all(fd, strtoull(argv[4], NULL, 0));
	return 0;
}
