/*
 * TLS straight on the socket: OpenSSL reads and writes the descriptor itself, so that nothing is copied through a BIO pair and an idle
 * connection holds no buffer (SSL_MODE_RELEASE_BUFFERS). OpenSSL may hold decrypted or unprocessed input that no poll shows; `more` tells
 * of it, and is never true for half a record, which only the network can complete.
 */
#include <errno.h>
#include <openssl/err.h>

#include "net/transport.h"

enum {
	RECORD_MAX = 16384,
	RECORDS_A_READ = 64,   /* a peer that sends a byte in each must not hold the loop for 16 KiB of them */
};

static int broken(int err)
{
	transport_set_why(err != 0 ? strerror(err) : "closed without close_notify");
	return TRANSPORT_RESET;
}

static int refused(void)
{
	unsigned long e = ERR_peek_error();
	const char *text = ERR_reason_error_string(e);

	/* a FIN in place of close_notify: somebody may have cut the stream short */
	if (ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return broken(0);
	transport_set_why(text ? text : "TLS error");
	return TRANSPORT_TLS_FAILED;
}

static int result(struct channel *ch, int ret)
{
	int err = errno;

	switch (SSL_get_error(ch->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		return TRANSPORT_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return TRANSPORT_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TRANSPORT_EOF;
	case SSL_ERROR_SYSCALL:
		return broken(err);
	default:
		return refused();
	}
}

/* SSL_get_error looks at the queue of the thread, where another connection's error may lie. */
static void begin(void)
{
	ERR_clear_error();
	errno = 0;
}

static int tls_handshake(struct channel *ch)
{
	begin();
	int ret = SSL_do_handshake(ch->ssl);

	if (ret != 1)
		return result(ch, ret);
	/* the peer's first bytes may have come in the flight that ended the handshake */
	ch->more = SSL_has_pending(ch->ssl);
	return TRANSPORT_DONE;
}

/* One system call as a rule: with read-ahead the kernel's bytes come at once, and small records are gathered until `to` is full. */
static ssize_t tls_read(struct channel *ch, void *to, size_t n)
{
	size_t have = 0;

	if (ch->held == TRANSPORT_RESET)
		return broken(0);
	if (ch->held != TRANSPORT_DONE)
		return ch->held;
	ch->more = false;
	for (int i = 0; i < RECORDS_A_READ && have < n; i++) {
		begin();
		int ret = SSL_read(ch->ssl, (char *)to + have, (int)(n - have));
		if (ret <= 0) {
			int res = result(ch, ret);

			if (have == 0)
				return res;
			if (res != TRANSPORT_WANT_READ) {
				ch->more = true;
				ch->held = (signed char)(res == TRANSPORT_WANT_WRITE ? TRANSPORT_DONE : res);
			}
			return (ssize_t)have;
		}
		have += (size_t)ret;
		if (!SSL_has_pending(ch->ssl))
			return (ssize_t)have;
	}
	ch->more = true;
	return (ssize_t)have;
}

/* A write that was put off is repeated with the same bytes and perhaps more behind them, as OpenSSL demands: the queue only grows at its
 * end. */
static ssize_t tls_write(struct channel *ch, const void *from, size_t n)
{
	begin();
	int ret = SSL_write(ch->ssl, from, (int)(n < RECORD_MAX ? n : RECORD_MAX));

	return ret > 0 ? ret : result(ch, ret);
}

static int tls_shutdown(struct channel *ch)
{
	if (!SSL_is_init_finished(ch->ssl))
		return TRANSPORT_DONE;
	begin();
	int ret = SSL_shutdown(ch->ssl);

	return ret < 0 && result(ch, ret) == TRANSPORT_WANT_WRITE ? TRANSPORT_WANT_WRITE : TRANSPORT_DONE;
}

static bool tls_more(const struct channel *ch)
{
	return ch->more;
}

static uint64_t tls_wire_out(const struct channel *ch)
{
	return ch->plain_out + BIO_number_written(SSL_get_wbio(ch->ssl));
}

const struct transport transport_tls = {
	.handshake = tls_handshake,
	.read = tls_read,
	.write = tls_write,
	.shutdown = tls_shutdown,
	.more = tls_more,
	.wire_out = tls_wire_out,
};
