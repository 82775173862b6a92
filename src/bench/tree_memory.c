/* SPDX-License-Identifier: MIT */
#include "bench/tree_memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 8

/* A small file of /proc; "" where it cannot be read. */
static void read_small(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);

	text[n > 0 ? n : 0] = 0;
	if (fd >= 0)
		close(fd);
}

static u64 kibibytes(const char *status, const char *name)
{
	const char *p = strstr(status, name);

	return p ? strtoull(p + strlen(name), NULL, 10) : 0;
}

static u64 sum_tree(pid_t pid, int depth)
{
	char path[64], text[4096], *p, *end;
	u64 sum;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	read_small(path, text, sizeof text);
	sum = (kibibytes(text, "\nRssAnon:") + kibibytes(text, "\nVmPTE:")) << 10;
	if (depth == DEPTH_MAX)
		return sum;
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
	read_small(path, text, sizeof text);
	for (p = text; *p; p = end) {
		pid_t child = (pid_t)strtol(p, &end, 10);

		if (end == p)
			break;
		sum += sum_tree(child, depth + 1);
	}
	return sum;
}

u64 tree_memory(pid_t pid) { return sum_tree(pid, 0); }
