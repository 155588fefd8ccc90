/*
 * What OpenSSL reads and writes through: the descriptor, as its own socket BIO, with two system calls or segments less where they would
 * only cost. A read that took less than it had room for has emptied the socket, so that the next within the same call is not made; what
 * comes later, the event tells. A session ticket waits for what is said next, since nobody waits for it: the kernel sends it after 200 ms
 * at the latest.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <sys/socket.h>

#include "net/transport.h"

static BIO_METHOD *method;

static struct channel *channel_of(BIO *bio)
{
	return BIO_get_data(bio);
}

/* A count, 0 at the end, or -1 with the flag that tells a pause from a fault. */
static int outcome(BIO *bio, ssize_t n, int flag)
{
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_flags(bio, flag | BIO_FLAGS_SHOULD_RETRY);
	return (int)n;
}

static int on_read(BIO *bio, char *to, int room)
{
	struct channel *ch = channel_of(bio);
	ssize_t n = -1;

	BIO_clear_retry_flags(bio);
	if (ch->emptied)
		errno = EAGAIN;
	else
		n = recv(ch->fd, to, (size_t)room, 0);
	ch->emptied = n < room;
	if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	return outcome(bio, n, BIO_FLAGS_READ);
}

static int on_write(BIO *bio, const char *from, int n)
{
	struct channel *ch = channel_of(bio);
	bool more = ch->corked || SSL_get_state(ch->ssl) == TLS_ST_SW_SESSION_TICKET;

	BIO_clear_retry_flags(bio);
	return outcome(bio, send(ch->fd, from, (size_t)n, MSG_NOSIGNAL | (more ? MSG_MORE : 0)), BIO_FLAGS_WRITE);
}

static long on_ctrl(BIO *bio, int what, long number, void *p)
{
	(void)number;
	(void)p;
	if (what == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return what == BIO_CTRL_FLUSH || what == BIO_CTRL_DUP;
}

static void make_method(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
	ASSERT(method != NULL);
	int ok = BIO_meth_set_read(method, on_read) && BIO_meth_set_write(method, on_write) && BIO_meth_set_ctrl(method, on_ctrl);
	ASSERT(ok);
}

void tls_bio_set(struct channel *ch)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_method);
	BIO *bio = BIO_new(method);
	ASSERT(bio != NULL);
	BIO_set_data(bio, ch);
	BIO_set_init(bio, 1);
	SSL_set_bio(ch->ssl, bio, bio);
}

void tls_bio_moved(struct channel *ch)
{
	BIO_set_data(SSL_get_rbio(ch->ssl), ch);
}
