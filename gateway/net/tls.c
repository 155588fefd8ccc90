/*
 * TLS straight on the socket: OpenSSL reads and writes the descriptor itself (tls_bio.c), so that nothing is copied through a BIO pair and
 * an idle connection holds no buffer (SSL_MODE_RELEASE_BUFFERS). OpenSSL may hold decrypted or unprocessed input that no poll shows; `more`
 * tells of it, and is never true for half a record, which only the network can complete.
 *
 * OpenSSL reads on by itself behind what is no data, such as new keys, for as long as more comes: a peer that sends nothing else would hold
 * the loop. So it is told when to stop. Empty records, warnings and handshakes have limits of its own.
 */
#include <errno.h>
#include <openssl/err.h>
#include <sched.h>

#include "net/transport.h"

enum {
	RECORD_MAX = 16384,
	RECORDS_A_READ = 64,   /* a peer that sends a byte in each must not hold the loop for 16 KiB of them */
	IDLE_MAX = 32,         /* new keys and tickets beyond one for each record of data; the keys cost 40 µs */
};

/* --- what OpenSSL does by itself ------------------------------------------ */

/* Nothing that is in its buffers is looked at any more. */
static void refuse(struct channel *ch)
{
	ch->refused = true;
	SSL_set_shutdown(ch->ssl, SSL_RECEIVED_SHUTDOWN);
}

/* Of the answer to a ClientHello. Its last message in TLS 1.2, and in 1.3, or where a session is resumed; and those that took long: what
 * computes for a millisecond without a pause keeps whoever was woken up on its processor waiting for as long. */
static void on_handshake_message(struct channel *ch, unsigned char message)
{
	bool was_long =
		message == SSL3_MT_SERVER_HELLO || message == SSL3_MT_SERVER_KEY_EXCHANGE || message == SSL3_MT_CERTIFICATE_VERIFY;

	ch->answered |= message == SSL3_MT_SERVER_DONE || message == SSL3_MT_FINISHED;
	if (ch->patient && was_long)
		sched_yield();
}

/* The alert is OpenSSL's answer to whoever asks for a renegotiation, which SSL_OP_NO_RENEGOTIATION forbids: it would go on. RFC 6120
 * section 5.3.5: the connection is to be closed. */
static void on_message(int is_sent, int version, int type, const void *bytes, size_t n, SSL *ssl, void *arg)
{
	const unsigned char *said = bytes;
	struct channel *ch = arg;

	(void)version;
	(void)ssl;
	if (!ch->open) {
		if (type == SSL3_RT_HANDSHAKE && is_sent && n > 0)
			on_handshake_message(ch, said[0]);
		return;
	}
	if (type == SSL3_RT_HANDSHAKE && !is_sent && ch->nr_idle++ >= IDLE_MAX)
		refuse(ch);
	if (type == SSL3_RT_ALERT && is_sent && n == 2 && said[1] == SSL_AD_NO_RENEGOTIATION)
		refuse(ch);
}

void transport_tls_begin(struct channel *ch)
{
	tls_bio_set(ch);
	SSL_set_msg_callback(ch->ssl, on_message);
	SSL_set_msg_callback_arg(ch->ssl, ch);
}

void transport_tls_move(const struct channel *from, struct channel *to)
{
	*to = *from;
	tls_bio_moved(to);
	SSL_set_msg_callback_arg(to->ssl, to);
}

/* --- results --------------------------------------------------------------- */

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
static void begin(struct channel *ch)
{
	ERR_clear_error();
	errno = 0;
	ch->emptied = false;
}

/* OpenSSL keeps its objects until the connection ends; what is in them can be taken out. */
static void forget_key(EVP_PKEY *key)
{
	(void)EVP_PKEY_set_type(key, EVP_PKEY_X25519);
	EVP_PKEY_free(key);
}

/* Connections are idle for days. Keys that only the handshake needed are not to be found in memory for so long, and what else it left
 * behind is not to fill it. */
static void forget_handshake(SSL *ssl)
{
	EVP_PKEY *key;

	if (SSL_get_tmp_key(ssl, &key) == 1)
		forget_key(key);
	if (SSL_get_peer_tmp_key(ssl, &key) == 1)
		forget_key(key);
	(void)SSL_set_tlsext_host_name(ssl, NULL);
	(void)SSL_SESSION_set1_hostname(SSL_get0_session(ssl), NULL);
}

void transport_tls_settled(struct channel *ch)
{
	SSL_certs_clear(ch->ssl);
}

static int tls_handshake(struct channel *ch)
{
	begin(ch);
	int ret = SSL_do_handshake(ch->ssl);

	if (ret != 1)
		return result(ch, ret);
	ch->open = true;
	/* the peer's first bytes may have come in the flight that ended the handshake */
	ch->more = SSL_has_pending(ch->ssl);
	forget_handshake(ch->ssl);
	return TRANSPORT_DONE;
}

/* SSL_read's result, or that of a peer that was refused meanwhile. */
static int read_record(struct channel *ch, void *to, size_t n)
{
	begin(ch);
	int ret = SSL_read(ch->ssl, to, (int)n);

	if (ch->refused) {
		transport_set_why("handshake messages on an open connection");
		return TRANSPORT_TLS_FAILED;
	}
	if (ret <= 0)
		return result(ch, ret);
	ch->nr_idle -= ch->nr_idle > 0;
	return ret;
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
		int res = read_record(ch, (char *)to + have, n - have);

		if (res <= 0) {
			if (have == 0)
				return res;
			if (res != TRANSPORT_WANT_READ) {
				ch->more = true;
				ch->held = (signed char)(res == TRANSPORT_WANT_WRITE ? TRANSPORT_DONE : res);
			}
			return (ssize_t)have;
		}
		have += (size_t)res;
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
	begin(ch);
	int ret = SSL_write(ch->ssl, from, (int)(n < RECORD_MAX ? n : RECORD_MAX));

	return ret > 0 ? ret : result(ch, ret);
}

static int tls_shutdown(struct channel *ch)
{
	if (!SSL_is_init_finished(ch->ssl))
		return TRANSPORT_DONE;
	begin(ch);
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
