/* Bytes as they are. The kernel's errors become results here, so that the connection above sees one kind of end for both transports. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "net/transport.h"

static _Thread_local char why[160];

const char *transport_why(void)
{
	return why;
}

void transport_set_why(const char *text)
{
	snprintf(why, sizeof why, "%s", text);
}

/* What a slow reader does not take should wait in the connection's queue, where limits see it, not in megabytes of the kernel's. */
bool transport_tune(int fd)
{
	int on = 1, unsent_max = TRANSPORT_UNSENT_MAX;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max, sizeof unsent_max); /* not every system has it */
	return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
}

static int failed(int err)
{
	transport_set_why(strerror(err));
	return TRANSPORT_RESET;
}

static int tcp_handshake(struct channel *ch)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(ch->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	return err ? failed(err) : TRANSPORT_DONE;
}

static ssize_t tcp_read(struct channel *ch, void *to, size_t n)
{
	ssize_t got = recv(ch->fd, to, n, 0);

	if (got > 0)
		return got;
	if (got == 0)
		return TRANSPORT_EOF;
	return errno == EAGAIN || errno == EINTR ? TRANSPORT_WANT_READ : failed(errno);
}

static ssize_t tcp_write(struct channel *ch, const void *from, size_t n)
{
	ssize_t sent = send(ch->fd, from, n, MSG_NOSIGNAL | (ch->corked ? MSG_MORE : 0));

	if (sent >= 0) {
		ch->plain_out += (uint64_t)sent;
		return sent;
	}
	return errno == EAGAIN || errno == EINTR ? TRANSPORT_WANT_WRITE : failed(errno);
}

static int tcp_shutdown(struct channel *ch)
{
	(void)ch;
	return TRANSPORT_DONE; /* the FIN is the connection's business */
}

static bool tcp_more(const struct channel *ch)
{
	(void)ch;
	return false;
}

static uint64_t tcp_wire_out(const struct channel *ch)
{
	return ch->plain_out;
}

const struct transport transport_tcp = {
	.handshake = tcp_handshake,
	.read = tcp_read,
	.write = tcp_write,
	.shutdown = tcp_shutdown,
	.more = tcp_more,
	.wire_out = tcp_wire_out,
};
