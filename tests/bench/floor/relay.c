/*
 * The least that passing a message on costs on this machine, with the parts that are settled: libevent, OpenSSL and, between two processes,
 * libzmq with CURVE. It says what the load (tests/bench/load) needs to hear until it is bound, stamps `from`, finds where a stanza ends
 * and who is to have it, and writes it out. Each turn of the loop reads once for a client, sends one batch and writes once for a client.
 *
 *     bench_relay direct CERTIFICATE.pem KEY.pem     one process, one thread
 *     bench_relay link CERTIFICATE.pem KEY.pem       the TLS side of two: a batch goes to the service, which says whose each piece is
 *     bench_relay service ENDPOINT KEY               the other side, with what `link` printed
 *
 * What it leaves out: an XML parser and every check, accounts (whoever comes is let in), acknowledgements, repeats, credits, storage,
 * presence, any memory but what is on its way. A long stanza is cut through: what was read of it goes on, 16 KiB at a time, before its
 * end is there. That needs no lock on the addressee only because, as the load has it, nobody gets stanzas from more than one client.
 * Output that nobody reads, or a link that is full, ends the program: beyond that there is no flow control. On loopback only; it ends
 * with its parent, and after an hour.
 */
#include "tests/bench/floor/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RECORD = 16384,       /* TLS's, and the most of a long stanza that goes at once */
	TAIL_MAX = 512,       /* of a read: a start tag, or what may be the beginning of an end tag */
	WRITE_MAX = 65536,    /* for a client and turn */
	HELD_MAX = 64 << 20,  /* output of all clients */
	LIFE_S = 3600,
};

#define BEGIN "<message"
#define END "</message>"
#define BEGIN_N (sizeof BEGIN - 1)
#define END_N (sizeof END - 1)
#define JID "u%u@bench.example/0123456789ab"
#define HEADER \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='bench.example' " \
	"version='1.0'><stream:features>"
#define NS "urn:ietf:params:xml:ns:xmpp-"

/* What a client hears for each thing that it says. */
enum { PROCEED = 1, BIND = 5, ONLINE };
static const char *const answers[BIND] = {
	HEADER "<starttls xmlns='" NS "tls'/></stream:features>",
	"<proceed xmlns='" NS "tls'/>",
	HEADER "<mechanisms xmlns='" NS "sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>",
	"<success xmlns='" NS "sasl'/>",
	HEADER "<bind xmlns='" NS "bind'/></stream:features>",
};

struct client {
	uint32_t index;
	int fd;
	SSL *ssl;             /* NULL before TLS */
	unsigned step;        /* the next of answers */
	struct event in, out;
	bool inside;          /* a stanza was begun and its end not seen */
	bool dirty, over;     /* has output; is to go */
	char stamp[80], tail[TAIL_MAX];
	size_t stamp_n, tail_n;
	struct bytes output;
};

static struct event_base *base;
static SSL_CTX *tls;
static bool linked;
static struct client *clients[CLIENTS_MAX];
static uint32_t dirty[CLIENTS_MAX];   /* who has output that came in this turn */
static unsigned nr_dirty;
static size_t held;

void relay_need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_relay: %s failed: %s\n", what, strerror(errno));
	ERR_print_errors_fp(stderr);
	_exit(1);
}

void relay_append(struct bytes *b, const void *p, size_t n)
{
	if (b->at == b->n)
		b->at = b->n = 0;
	if (b->n + n > b->size) {
		b->size = (b->n + n) * 2;
		b->p = realloc(b->p, b->size);
		relay_need(b->p != NULL, "memory");
	}
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

static void set_dirty(struct client *c)
{
	if (!c->dirty)
		dirty[nr_dirty++] = c->index;
	c->dirty = true;
}

void relay_queue(uint32_t addressee, const char *p, size_t n)
{
	struct client *c = addressee < CLIENTS_MAX ? clients[addressee] : NULL;

	if (c == NULL || c->step < ONLINE)
		return;
	held += n;
	relay_need(held <= HELD_MAX, "room for output");
	relay_append(&c->output, p, n);
	set_dirty(c);
}

/* --- what a client says ---------------------------------------------------- */

static void pass(const struct client *c, bool first, const char *p, size_t n)
{
	size_t head_n = first ? c->stamp_n : 0;
	uint32_t to;

	p += first ? BEGIN_N : 0;
	n -= first ? BEGIN_N : 0;
	if (linked) {
		link_pass(c->index, first, c->stamp, head_n, p, n);
		return;
	}
	to = relay_addressee(c->index, first, p, n);
	relay_queue(to, c->stamp, head_n);
	relay_queue(to, p, n);
}

/* Passes stanzas and parts of them on; how much of p[0..n) that was. The rest is too little to tell. */
static size_t pass_all(struct client *c, const char *p, size_t n)
{
	size_t at = 0;

	while (at < n) {
		const char *from = p + at, *end, *tag;
		size_t left = n - at, least = 1, whole;

		if (!c->inside) {
			c->over |= left > 1 && from[1] == '/';   /* the stream's end */
			if (c->over || (tag = memchr(from, '>', left)) == NULL)
				break;
			relay_need(left > BEGIN_N && memcmp(from, BEGIN, BEGIN_N) == 0, "a message");
			least = (size_t)(tag - from) + 1;
		}
		end = memmem(from, left, END, END_N);
		whole = end ? (size_t)(end - from) + END_N : left < END_N ? 0 : left - (END_N - 1);
		if (whole < least)
			break;
		pass(c, !c->inside, from, whole);
		c->inside = end == NULL;
		at += whole;
	}
	return at;
}

/* A client of the load says one thing, in one write, and waits for the answer. */
static size_t negotiate(struct client *c, const char *p, size_t n)
{
	char bound[200];
	const char *answer = bound;
	int answer_n;

	if (n == 0 || p[n - 1] != '>')
		return 0;
	if (c->step == BIND) {
		snprintf(bound, sizeof bound, "<iq type='result' id='bind'><bind xmlns='" NS "bind'><jid>" JID "</jid></bind></iq>",
			 c->index);
		c->stamp_n = (size_t)snprintf(c->stamp, sizeof c->stamp, BEGIN " from='" JID "'", c->index);
	} else {
		answer = answers[c->step];
	}
	answer_n = (int)strlen(answer);
	c->over |= (c->ssl ? SSL_write(c->ssl, answer, answer_n) : (int)send(c->fd, answer, (size_t)answer_n, 0)) != answer_n;
	if (c->step++ == PROCEED) {
		c->ssl = SSL_new(tls);
		relay_need(c->ssl != NULL && SSL_set_fd(c->ssl, c->fd) == 1, "a TLS connection");
		SSL_set_accept_state(c->ssl);
	}
	return n;
}

/* --- its socket ------------------------------------------------------------- */

static void drop(struct client *c)
{
	event_del(&c->in);
	event_del(&c->out);
	if (c->ssl)
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	ERR_clear_error();
	close(c->fd);
	held -= c->output.n - c->output.at;
	free(c->output.p);
	clients[c->index] = NULL;
	free(c);
}

static bool would_block(const struct client *c, int got)
{
	int why = c->ssl ? SSL_get_error(c->ssl, got) : 0;

	return c->ssl ? why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE : got < 0 && errno == EAGAIN;
}

static void read_client(struct client *c)
{
	static char buf[TAIL_MAX + RECORD];
	size_t n = c->tail_n, used;
	int got;

	memcpy(buf, c->tail, n);
	do {
		got = c->ssl ? SSL_read(c->ssl, buf + n, (int)(sizeof buf - n)) : (int)recv(c->fd, buf + n, sizeof buf - n, 0);
		n += got > 0 ? (size_t)got : 0;
	} while (got > 0 && n < sizeof buf && c->ssl && SSL_has_pending(c->ssl));
	c->over |= got <= 0 && !would_block(c, got);
	used = c->step < ONLINE ? negotiate(c, buf, n) : pass_all(c, buf, n);
	if (c->over) {
		drop(c);
		return;
	}
	c->tail_n = n - used;
	relay_need(c->tail_n <= sizeof c->tail, "a shorter start tag");
	memcpy(c->tail, buf + used, c->tail_n);
	if (n == sizeof buf)   /* OpenSSL may have more, of which the socket says nothing: on_out reads it */
		event_add(&c->out, NULL);
}

static void write_client(struct client *c)
{
	struct bytes *b = &c->output;
	size_t least = b->n - b->at > WRITE_MAX ? b->n - b->at - WRITE_MAX : 0;   /* what is left then */
	int n = 1;

	c->dirty = false;
	while (b->n - b->at > least && n > 0) {
		n = SSL_write(c->ssl, b->p + b->at, (int)(b->n - b->at < RECORD ? b->n - b->at : RECORD));
		b->at += n > 0 ? (size_t)n : 0;
		held -= n > 0 ? (size_t)n : 0;
	}
	if (n <= 0 && !would_block(c, n))
		drop(c);
	else if (b->at < b->n)
		event_add(&c->out, NULL);
}

static void on_in(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	read_client(arg);
}

static void on_out(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	set_dirty(arg);
	read_client(arg);
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
	struct client *c = calloc(1, sizeof *c);

	(void)what;
	(void)arg;
	relay_need(fd >= 0 && c != NULL && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "a connection");
	c->fd = fd;
	while (c->index < CLIENTS_MAX && clients[c->index] != NULL)
		c->index++;
	relay_need(c->index < CLIENTS_MAX, "a place");
	clients[c->index] = c;
	event_assign(&c->in, base, fd, EV_READ | EV_PERSIST, on_in, c);
	event_assign(&c->out, base, fd, EV_WRITE, on_out, c);
	event_add(&c->in, NULL);
}

/* --- the loop ---------------------------------------------------------------- */

static unsigned listen_for_clients(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct event *ev = event_new(base, fd, EV_READ | EV_PERSIST, on_accept, NULL);

	relay_need(fd >= 0 && bind(fd, (struct sockaddr *)&at, n) == 0 && listen(fd, CLIENTS_MAX) == 0 &&
			   getsockname(fd, (struct sockaddr *)&at, &n) == 0 && ev != NULL && event_add(ev, NULL) == 0,
		   "a listener");
	return ntohs(at.sin_port);
}

static SSL_CTX *tls_context(const char *cert, const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	relay_need(ctx != NULL && SSL_CTX_use_certificate_chain_file(ctx, cert) == 1 &&
			   SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1 &&
			   SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 && SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
			   SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") == 1,
		   "the certificate");
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

int main(int argc, char **argv)
{
	bool service = argc == 4 && strcmp(argv[1], "service") == 0;

	linked = argc == 4 && strcmp(argv[1], "link") == 0;
	if (argc != 4 || (!linked && !service && strcmp(argv[1], "direct") != 0)) {
		fprintf(stderr, "usage: bench_relay direct|link CERTIFICATE.pem KEY.pem | service ENDPOINT KEY\n");
		return 2;
	}
	alarm(LIFE_S);
	relay_need(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && signal(SIGPIPE, SIG_IGN) != SIG_ERR, "signals");
	if (service)
		link_serve(argv[2], argv[3]);
	base = event_base_new();
	relay_need(base != NULL, "a loop");
	tls = tls_context(argv[2], argv[3]);
	printf("ready ");
	if (linked)
		link_start(base);
	printf("c2s=%u\n", listen_for_clients());
	fflush(stdout);
	for (bool more = false;;) {
		relay_need(event_base_loop(base, more ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE) == 0, "the loop");
		more = linked && link_turn();
		for (unsigned i = 0; i < nr_dirty; i++)
			if (clients[dirty[i]] != NULL && clients[dirty[i]]->dirty)
				write_client(clients[dirty[i]]);
		nr_dirty = 0;
	}
}
