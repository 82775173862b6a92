/* SPDX-License-Identifier: MIT
 * A peer on the host: listens on a port of the loopback, holds a System V memory segment and a message queue.
 *
 *	peer NAME    prints "PORT KEY", then waits for the end of its input and takes everything away */
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t n = sizeof a;
	int s = socket(AF_INET, SOCK_STREAM, 0), key = 0x50000000 | (getpid() & 0xffffff);
	int id = shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0666);
	char *p = shmat(id, NULL, 0), name[64], byte;
	mqd_t queue;

	snprintf(name, sizeof name, "/%s", argc > 1 ? argv[1] : "peer");
	queue = mq_open(name, O_RDWR | O_CREAT, 0666, NULL);
	if (id < 0 || p == (void *)-1 || queue < 0 || bind(s, (struct sockaddr *)&a, n) || listen(s, 8) ||
	    getsockname(s, (struct sockaddr *)&a, &n))
		return 1;
	strcpy(p, "host");
	printf("%d %d\n", ntohs(a.sin_port), key);
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	shmctl(id, IPC_RMID, NULL);
	mq_unlink(name);
	return 0;
}
