/*
 * The least that a login costs on this machine: the same libraries and the same system calls that a login cannot do without, in one thread
 * that waits by epoll for as many clients at a time as the load has, and nothing else. What the gateway takes beyond that is its own.
 *
 *     bench_floor CERTIFICATE.pem KEY.pem LOGINS AT_ONCE
 *
 * Prints a line of JSON: microseconds of the server's CPU for each connection, by what was done on it, and how much of it the kernel took.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct plan {
	const char *name;
	bool tls, scram;
	int tickets;
	int plain_turns, turns;         /* questions and answers before TLS and under it */
};

/* A login asks twice before TLS (header, starttls) and five times under it (header, auth, response, header, bind). */
static const struct plan plans[] = {
	{.name = "tcp"},
	{.name = "handshake", .tls = true},
	{.name = "handshake_ticket", .tls = true, .tickets = 1},
	{.name = "login", .tls = true, .tickets = 1, .scram = true, .plain_turns = 2, .turns = 5},
};

enum { MESSAGE = 200, KEY = 20, WARM = 50, EVENTS = 64, PATIENCE_MS = 60000 };

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_floor: %s failed\n", what);
	ERR_print_errors_fp(stderr);
	_exit(1);
}

/* --- either end ---------------------------------------------------------- */

struct end {
	int fd;
	SSL *ssl;       /* NULL before TLS */
};

static void say(const struct end *e)
{
	char text[MESSAGE] = "<";
	ssize_t n = e->ssl ? SSL_write(e->ssl, text, sizeof text) : send(e->fd, text, sizeof text, MSG_NOSIGNAL);

	need(n == sizeof text, "write");
}

/* --- the server ---------------------------------------------------------- */

/* RFC 5802 section 3 with a stored key: the client's signature and key, and the server's signature. */
static void check_proof(void)
{
	static const unsigned char stored[KEY], server[KEY];
	unsigned char signature[KEY], key[KEY], hash[KEY];
	char message[MESSAGE] = "n=user,r=nonce";

	need(HMAC(EVP_sha1(), stored, KEY, (unsigned char *)message, sizeof message, signature, NULL) != NULL, "HMAC");
	for (int i = 0; i < KEY; i++)
		key[i] = signature[i] ^ stored[i];
	need(EVP_Digest(key, KEY, hash, NULL, EVP_sha1(), NULL) == 1, "digest");
	need(HMAC(EVP_sha1(), server, KEY, (unsigned char *)message, sizeof message, signature, NULL) != NULL, "HMAC");
}

/* Where a connection stands. Every socket is non-blocking; what would block is gone on with when epoll names it. */
struct seat {
	struct end e;
	bool secured;   /* the handshake is over */
	int plain_turns, turns;
};

/* One thing that the client said: true, or false when it has not come. Messages of this size come whole on loopback. */
static bool heard(const struct end *e)
{
	char text[MESSAGE];
	ssize_t n = e->ssl ? SSL_read(e->ssl, text, sizeof text) : recv(e->fd, text, sizeof text, 0);

	if (n < 0)
		need(e->ssl ? SSL_get_error(e->ssl, (int)n) == SSL_ERROR_WANT_READ : errno == EAGAIN, "read");
	else
		need(n == sizeof text, "a whole message");
	return n > 0;
}

static bool handshake(struct seat *s, SSL_CTX *ctx)
{
	int done;

	if (!s->e.ssl) {
		s->e.ssl = SSL_new(ctx);
		need(s->e.ssl != NULL && SSL_set_fd(s->e.ssl, s->e.fd) == 1, "SSL");
	}
	done = SSL_accept(s->e.ssl);
	need(done == 1 || SSL_get_error(s->e.ssl, done) == SSL_ERROR_WANT_READ, "handshake");
	return done == 1;
}

/* The client has ended: so do we. False when its end has not come. */
static bool ended(struct seat *s)
{
	char last;
	ssize_t n = s->e.ssl ? SSL_read(s->e.ssl, &last, 1) : recv(s->e.fd, &last, 1, 0);

	if (n < 0 || (s->e.ssl && SSL_get_error(s->e.ssl, (int)n) == SSL_ERROR_WANT_READ))
		return false;
	need(n == 0, "the client's end");
	if (s->e.ssl) {
		SSL_shutdown(s->e.ssl);
		SSL_free(s->e.ssl);
	}
	close(s->e.fd);
	free(s);
	return true;
}

/* One step; true when there may be another before epoll has to be asked. */
static bool step(struct seat *s, SSL_CTX *ctx, const struct plan *p, int *done)
{
	if (s->plain_turns < p->plain_turns) {
		if (heard(&s->e)) {
			say(&s->e);
			s->plain_turns++;
		}
		return false;
	}
	if (p->tls && !s->secured) {
		s->secured = handshake(s, ctx);
		if (s->secured && p->scram)
			check_proof();
		return s->secured && SSL_has_pending(s->e.ssl);
	}
	if (s->turns < p->turns) {
		if (!heard(&s->e))
			return false;
		say(&s->e);
		s->turns++;
		return SSL_has_pending(s->e.ssl);
	}
	*done += ended(s);
	return false;
}

static void sit_down(int poll, int listener)
{
	struct seat *s = calloc(1, sizeof *s);
	struct epoll_event want = {.events = EPOLLIN, .data.ptr = s};

	need(s != NULL, "memory");
	s->e.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	need(s->e.fd >= 0 && epoll_ctl(poll, EPOLL_CTL_ADD, s->e.fd, &want) == 0, "accept");
}

struct spent { double all_us, kernel_us; };

static struct spent spent(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	double kernel = (double)u.ru_stime.tv_sec * 1e6 + (double)u.ru_stime.tv_usec;
	return (struct spent){kernel + (double)u.ru_utime.tv_sec * 1e6 + (double)u.ru_utime.tv_usec, kernel};
}

static SSL_CTX *server_ctx(const char *cert, const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	need(ctx != NULL && SSL_CTX_use_certificate_chain_file(ctx, cert) == 1 &&
		 SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1,
	     "the certificate");
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
	return ctx;
}

/* --- the clients: a process of their own, so that they cost the server nothing -- */

static struct crowd {
	const struct sockaddr_in *to;
	const struct plan *plan;
	SSL_CTX *ctx;
	atomic_int left;
} crowd;

static void ask(const struct end *e)
{
	char text[MESSAGE];

	say(e);
	ssize_t n = e->ssl ? SSL_read(e->ssl, text, sizeof text) : recv(e->fd, text, sizeof text, MSG_WAITALL);
	need(n == sizeof text, "an answer");
}

static void log_in(void)
{
	struct end e = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	const struct plan *p = crowd.plan;
	int on = 1;
	char last;

	need(e.fd >= 0 && setsockopt(e.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
		     connect(e.fd, (const struct sockaddr *)crowd.to, sizeof *crowd.to) == 0,
	     "connect");
	for (int i = 0; i < p->plain_turns; i++)
		ask(&e);
	if (p->tls) {
		e.ssl = SSL_new(crowd.ctx);
		need(e.ssl != NULL && SSL_set_fd(e.ssl, e.fd) == 1 && SSL_connect(e.ssl) == 1, "handshake");
	}
	for (int i = 0; i < p->turns; i++)
		ask(&e);
	if (e.ssl) {
		SSL_shutdown(e.ssl);
		need(SSL_read(e.ssl, &last, 1) == 0, "close_notify");
		SSL_free(e.ssl);
	} else {
		shutdown(e.fd, SHUT_WR);
		need(recv(e.fd, &last, 1, 0) == 0, "FIN");
	}
	close(e.fd);
}

static void *one_after_the_other(void *arg)
{
	while (atomic_fetch_sub(&crowd.left, 1) > 0)
		log_in();
	return arg;
}

static pid_t start_clients(const struct sockaddr_in *to, const struct plan *p, int times, int at_once)
{
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (pid != 0)
		return pid;
	crowd = (struct crowd){.to = to, .plan = p, .ctx = SSL_CTX_new(TLS_client_method()), .left = times};
	pthread_t *threads = calloc((size_t)at_once, sizeof *threads);
	need(crowd.ctx != NULL && threads != NULL, "a context");
	for (int i = 0; i < at_once; i++)
		need(pthread_create(&threads[i], NULL, one_after_the_other, NULL) == 0, "a thread");
	for (int i = 0; i < at_once; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

/* --- both --------------------------------------------------------------- */

/* All of these clients, from the first to the last. */
static struct spent serve(int listener, SSL_CTX *ctx, const struct plan *p, const struct sockaddr_in *at, int times, int at_once)
{
	struct epoll_event want = {.events = EPOLLIN}, events[EVENTS];
	int poll = epoll_create1(EPOLL_CLOEXEC), done = 0, status = 1;
	pid_t clients = start_clients(at, p, times, at_once);
	struct spent before = spent(), after;

	need(poll >= 0 && epoll_ctl(poll, EPOLL_CTL_ADD, listener, &want) == 0, "epoll");
	while (done < times) {
		int nr = epoll_wait(poll, events, EVENTS, PATIENCE_MS);

		need(nr > 0, "waiting for a client");
		for (int i = 0; i < nr; i++) {
			if (events[i].data.ptr == NULL) {
				sit_down(poll, listener);
				continue;
			}
			while (step(events[i].data.ptr, ctx, p, &done))
				;
		}
	}
	after = spent();
	close(poll);
	need(waitpid(clients, &status, 0) == clients && status == 0, "the clients");
	return (struct spent){(after.all_us - before.all_us) / times, (after.kernel_us - before.kernel_us) / times};
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	int times = argc == 5 ? (int)strtol(argv[3], NULL, 10) : 0;
	int at_once = argc == 5 ? (int)strtol(argv[4], NULL, 10) : 0;

	if (times <= 0 || at_once <= 0) {
		fprintf(stderr, "usage: bench_floor CERTIFICATE.pem KEY.pem LOGINS AT_ONCE\n");
		return 2;
	}
	need(listener >= 0 && setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 && /* inherited by what is accepted */
		     bind(listener, (struct sockaddr *)&at, size) == 0 && listen(listener, SOMAXCONN) == 0 &&
		     getsockname(listener, (struct sockaddr *)&at, &size) == 0,
	     "a listener");
	SSL_CTX *ctx = server_ctx(argv[1], argv[2]);
	printf("{");
	fflush(stdout);
	for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
		SSL_CTX_set_num_tickets(ctx, (size_t)plans[i].tickets);
		(void)serve(listener, ctx, &plans[i], &at, WARM, at_once);
		struct spent each = serve(listener, ctx, &plans[i], &at, times, at_once);
		printf("%s\"%s\":%.1f,\"%s_kernel\":%.1f", i ? "," : "", plans[i].name, each.all_us, plans[i].name, each.kernel_us);
		fflush(stdout);
	}
	puts("}");
	SSL_CTX_free(ctx);
	return 0;
}
