/*
 * The least that a login costs on this machine: the same libraries and the same system calls that a login cannot do without, in one thread,
 * for one client after the other, and nothing else. What the gateway takes beyond that is its own.
 *
 *     bench_floor CERTIFICATE.pem KEY.pem LOGINS
 *
 * Prints a line of JSON: microseconds of the server's CPU for each connection, by what was done on it.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

enum { MESSAGE = 200, KEY = 20 };

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

static void hear(const struct end *e)
{
	char text[MESSAGE];
	ssize_t n = e->ssl ? SSL_read(e->ssl, text, sizeof text) : recv(e->fd, text, sizeof text, MSG_WAITALL);

	need(n == sizeof text, "read");
}

static struct end begin(int fd)
{
	int on = 1;

	need(fd >= 0, "a connection");
	need(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "TCP_NODELAY");
	return (struct end){.fd = fd};
}

static void begin_tls(struct end *e, SSL_CTX *ctx, int (*handshake)(SSL *ssl))
{
	e->ssl = SSL_new(ctx);
	need(e->ssl != NULL && SSL_set_fd(e->ssl, e->fd) == 1 && handshake(e->ssl) == 1, "handshake");
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

static void serve_one(int listener, SSL_CTX *ctx, const struct plan *p)
{
	struct end e = begin(accept(listener, NULL, NULL));
	char last;

	for (int i = 0; i < p->plain_turns; i++) {
		hear(&e);
		say(&e);
	}
	if (p->tls)
		begin_tls(&e, ctx, SSL_accept);
	if (p->scram)
		check_proof();
	for (int i = 0; i < p->turns; i++) {
		hear(&e);
		say(&e);
	}
	/* the client's end, and ours */
	if (e.ssl) {
		need(SSL_read(e.ssl, &last, 1) == 0, "close_notify");
		SSL_shutdown(e.ssl);
		SSL_free(e.ssl);
	} else {
		need(recv(e.fd, &last, 1, 0) == 0, "FIN");
	}
	close(e.fd);
}

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
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

/* --- the client: a process of its own, so that it costs the server nothing -- */

static void ask_one(const struct sockaddr_in *to, SSL_CTX *ctx, const struct plan *p)
{
	struct end e = begin(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	char last;

	need(connect(e.fd, (const struct sockaddr *)to, sizeof *to) == 0, "connect");
	for (int i = 0; i < p->plain_turns; i++) {
		say(&e);
		hear(&e);
	}
	if (p->tls)
		begin_tls(&e, ctx, SSL_connect);
	for (int i = 0; i < p->turns; i++) {
		say(&e);
		hear(&e);
	}
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

static pid_t start_client(const struct sockaddr_in *to, const struct plan *p, int times)
{
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (pid != 0)
		return pid;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	need(ctx != NULL, "a context");
	for (int i = 0; i < times; i++)
		ask_one(to, ctx, p);
	_exit(0);
}

static double run(int listener, const struct sockaddr_in *at, SSL_CTX *ctx, const struct plan *p, int times)
{
	enum { WARM = 50 };
	pid_t pid = start_client(at, p, times + WARM);
	double before = 0;
	int status = 1;

	SSL_CTX_set_num_tickets(ctx, (size_t)p->tickets);
	for (int i = 0; i < times + WARM; i++) {
		if (i == WARM)
			before = cpu_us();
		serve_one(listener, ctx, p);
	}
	double each = (cpu_us() - before) / times;
	need(waitpid(pid, &status, 0) == pid && status == 0, "the client");
	return each;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof at;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int times = argc == 4 ? (int)strtol(argv[3], NULL, 10) : 0;

	if (times <= 0) {
		fprintf(stderr, "usage: bench_floor CERTIFICATE.pem KEY.pem LOGINS\n");
		return 2;
	}
	need(listener >= 0 && bind(listener, (struct sockaddr *)&at, size) == 0 && listen(listener, 64) == 0 &&
		     getsockname(listener, (struct sockaddr *)&at, &size) == 0,
	     "a listener");
	SSL_CTX *ctx = server_ctx(argv[1], argv[2]);
	printf("{");
	fflush(stdout);
	for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
		printf("%s\"%s\":%.1f", i ? "," : "", plans[i].name, run(listener, &at, ctx, &plans[i], times));
		fflush(stdout);
	}
	puts("}");
	SSL_CTX_free(ctx);
	return 0;
}
