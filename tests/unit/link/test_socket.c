/* The ROUTER's connections have segments that fit a small kernel buffer several times, and a port that is taken is told. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "link/links_socket.h"
#include "svcproto/keys.h"
#include "check.h"

static void *zmq;
static struct svc_key key;

static int dial(const char *endpoint)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_port = htons((uint16_t)strtoul(strrchr(endpoint, ':') + 1, NULL, 10));
	CHECK_EQ(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	return fd;
}

/* Both ends take what the listening one said, in both directions. */
static void segments_are_small(const char *endpoint)
{
	int fd = dial(endpoint), bytes = 0;
	socklen_t n = sizeof bytes;

	CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &bytes, &n), 0);
	CHECK(bytes > 4096 && bytes <= 8192);
	close(fd);
}

static void a_taken_port_is_told(const char *endpoint)
{
	void *z = links_socket_new(zmq, &key), *monitor = links_socket_watch(zmq, z);

	CHECK_EQ(links_socket_bind(z, monitor, endpoint), -1);
	CHECK_EQ(zmq_errno(), EADDRINUSE);
	zmq_close(monitor);
	zmq_close(z);
}

int main(void)
{
	void *z, *monitor;
	char endpoint[128];
	size_t n = sizeof endpoint;

	zmq = zmq_ctx_new();
	CHECK_EQ(svc_key_make(&key), 0);
	z = links_socket_new(zmq, &key);
	monitor = links_socket_watch(zmq, z);
	CHECK(monitor != NULL);
	CHECK_EQ(links_socket_bind(z, monitor, "tcp://127.0.0.1:*"), 0);
	CHECK_EQ(zmq_getsockopt(z, ZMQ_LAST_ENDPOINT, endpoint, &n), 0);
	segments_are_small(endpoint);
	a_taken_port_is_told(endpoint);
	zmq_close(monitor);
	zmq_close(z);
	zmq_ctx_term(zmq);
	svc_key_wipe(&key);
	return 0;
}
