/* Connections over loopback: bytes, back-pressure, TLS upgrades, endings. */
/* lint: long file because the cases share one pair of connections */
#include <errno.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../check.h"
#include "net/conn_int.h"
#include "pair.h"

#define BIG (4u << 20)

static char *big;

static void send_big(struct conn *c, size_t n)
{
	for (size_t i = 0; i < n; i += 65536)
		conn_send(c, (struct slice){big + i, n - i < 65536 ? n - i : 65536});
}

static void send_raw(const char *text)
{
	CHECK_EQ(send(raw, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void reset_raw(void)
{
	struct linger l = {.l_onoff = 1, .l_linger = 0};

	setsockopt(raw, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(raw);
	raw = -1;
}

static double cpu_ms(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

/* --- plain --------------------------------------------------------------- */

static void test_is_small(void)
{
	CHECK(sizeof(struct conn) + sizeof "255.255.255.255" <= 384);
}

static void test_bytes(void)
{
	pair_begin();
	pair_open();
	conn_send(a.conn, SLICE("hello"));
	conn_send(a.conn, SLICE(", world"));
	CHECK_EQ(conn_queued(a.conn), 12);
	CHECK_EQ(conn_position(a.conn), 12);
	CHECK(run_until_in(&b, 12));
	CHECK(slice_eq(buf_slice(&b.in), SLICE("hello, world")));
	CHECK_EQ(b.nr_data, 1); /* one flush for both */
	conn_send(b.conn, SLICE("yes"));
	CHECK(run_until_in(&a, 3));
	CHECK_EQ(conn_bytes_in(b.conn), 12);
	CHECK_EQ(conn_bytes_out(a.conn), 12);
	CHECK_EQ(conn_bytes_in(a.conn), 3);
	CHECK_STR(conn_peer_text(b.conn), "127.0.0.1");
	CHECK(conn_peer_port(b.conn) != 0);
	CHECK(a.conn->out.p_ == NULL); /* an idle one holds no buffer */
	CHECK(a.conn->watch == NULL && a.conn->timer == NULL);
	pair_end();
}

static void ignore_closed(void *arg, enum conn_end why, const char *text)
{
	(void)arg;
	(void)why;
	(void)text;
}

static void test_mapped_address(void)
{
	struct sockaddr_in6 six = {
		.sin6_family = AF_INET6, .sin6_port = htons(7), .sin6_addr = {.s6_addr = {[10] = 255, [11] = 255, 192, 0, 2, 1}}};
	static const struct conn_ops ops = {.closed = ignore_closed};
	int fds[2];

	pair_begin();
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	struct conn *c = conn_accept(loop, fds[0], (struct sockaddr *)&six, sizeof six, &limits, &ops, NULL);
	CHECK_STR(conn_peer_text(c), "192.0.2.1");
	CHECK_EQ(conn_peer_port(c), 7);
	six.sin6_addr = in6addr_loopback;
	struct conn *d = conn_accept(loop, fds[1], (struct sockaddr *)&six, sizeof six, &limits, &ops, NULL);
	CHECK_STR(conn_peer_text(d), "::1");
	conn_abort(c);
	conn_abort(d);
	pair_end();
}

static void test_connect_refused(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* bound but not listening: nobody else can have the port */
	pair_begin();
	CHECK_EQ(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	CHECK_EQ(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	a.conn = conn_connect(loop, (struct sockaddr *)&at, sizeof at, &limits, &pair_ops, &a);
	if (a.conn) {
		conn_send(a.conn, SLICE("before the end"));
		CHECK(run_until(&a.nr_closed, 1));
		CHECK_EQ(a.why, CONN_END_CONNECT_FAILED);
		CHECK_STR(a.text, strerror(ECONNREFUSED));
		CHECK_EQ(a.nr_connected, 0);
	}
	close(fd);
	pair_end();
}

static void test_connect_close(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};

	pair_begin();
	a.conn = conn_connect(loop, (struct sockaddr *)&at, sizeof at, &limits, &pair_ops, &a);
	if (a.conn) {
		conn_close(a.conn, 1000);
		CHECK(run_until(&a.nr_closed, 1));
		CHECK_EQ(a.why, CONN_END_CLOSED_BY_US);
	}
	pair_end();
}

static void big_both_ways(void)
{
	send_big(a.conn, BIG);
	send_big(b.conn, BIG);
	CHECK(conn_full(a.conn));
	CHECK(run_until_in(&b, BIG) && run_until_in(&a, BIG));
	CHECK(is_pattern(buf_slice(&a.in), 0) && is_pattern(buf_slice(&b.in), 0));
	CHECK(a.biggest <= CONN_READ_MAX && b.biggest <= CONN_READ_MAX);
	CHECK_EQ(a.nr_drained, 1);
	CHECK_EQ(b.nr_drained, 1);
	CHECK(!conn_full(a.conn));
}

static void test_big(void)
{
	pair_begin();
	pair_open();
	big_both_ways();
	pair_end();
}

static void slow_reader(void)
{
	conn_pause(b.conn, true);
	send_big(a.conn, 3 * BIG); /* more than any socket buffer */
	run_for(100);
	CHECK_EQ(b.nr_data, 0);
	CHECK_EQ(a.nr_drained, 0);
	CHECK(conn_queued(a.conn) > 2 * BIG); /* with us, not in the kernel */
	double before = cpu_ms();
	run_for(200);
	CHECK(cpu_ms() - before < 100); /* a full socket and a paused reader wake nobody */
	conn_pause(b.conn, false);
	CHECK(run_until_in(&b, 3 * BIG));
	CHECK(is_pattern(buf_slice(&b.in), 0));
	CHECK_EQ(a.nr_drained, 1);
}

static void test_slow_reader(void)
{
	pair_begin();
	pair_open();
	slow_reader();
	pair_end();
}

static void pause_here(struct end *e, struct slice bytes)
{
	(void)bytes;
	conn_pause(e->conn, true);
}

static void pause_each_read(void)
{
	b.on_data = pause_here;
	send_big(a.conn, 100000);
	for (unsigned n = 1; buf_len(&b.in) < 100000 && n < 1000; n++) {
		if (!run_until(&b.nr_data, n))
			break;
		run_for(2);
		CHECK_EQ(b.nr_data, n); /* none while paused */
		conn_pause(b.conn, false);
	}
	CHECK_EQ(buf_len(&b.in), 100000);
	CHECK(is_pattern(buf_slice(&b.in), 0));
}

static void test_pause_each_read(void)
{
	pair_begin();
	pair_open();
	pause_each_read();
	pair_end();
}

static void test_overflow(void)
{
	pair_begin();
	limits.out_max = 8u << 20;
	pair_open();
	conn_pause(b.conn, true);
	send_big(a.conn, 9u << 20);
	CHECK_EQ(a.nr_closed, 0); /* never inside the call */
	conn_send(a.conn, SLICE("after the end"));
	CHECK(run_until(&a.nr_closed, 1));
	CHECK_EQ(a.why, CONN_END_OVERFLOW);
	conn_pause(b.conn, false);
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	pair_end();
}

/* --- endings ------------------------------------------------------------- */

static void flush_and_close(void)
{
	send_big(a.conn, BIG);
	conn_close(a.conn, 2000);
	conn_close(a.conn, 0);
	conn_send(a.conn, SLICE("too late"));
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_EOF);
	CHECK_EQ(buf_len(&b.in), BIG);
	CHECK(is_pattern(buf_slice(&b.in), 0));
	CHECK(run_until(&a.nr_closed, 1)); /* b's FIN ends the lingering */
	CHECK_EQ(a.why, CONN_END_CLOSED_BY_US);
}

static void test_close_flushes(void)
{
	pair_begin();
	pair_open();
	flush_and_close();
	pair_end();
}

/* Both speak and close at once: input that nobody reads any more must not turn into a reset that destroys what the other was sent. */
static void close_both(void)
{
	send_big(a.conn, BIG);
	send_big(b.conn, 1u << 20);
	conn_close(a.conn, 2000);
	CHECK(run_until(&a.nr_closed, 1) && run_until(&b.nr_closed, 1));
	CHECK_EQ(buf_len(&b.in), BIG);
	CHECK_EQ(a.why, CONN_END_CLOSED_BY_US);
	CHECK_EQ(b.why, CONN_END_EOF);
	CHECK_EQ(buf_len(&a.in), 0); /* nothing is handed out after conn_close() */
}

static void test_close_both(void)
{
	pair_begin();
	pair_open();
	close_both();
	pair_end();
}

static void test_linger_is_limited(void)
{
	char c;

	pair_begin();
	pair_raw();
	conn_send(b.conn, SLICE("x"));
	conn_close(b.conn, 50);
	uint64_t since = loop_now_ms(loop);
	CHECK(run_until(&b.nr_closed, 1));
	CHECK(loop_now_ms(loop) - since >= 50 && loop_now_ms(loop) - since < 2000);
	CHECK_EQ(recv(raw, &c, 1, 0), 1);
	CHECK_EQ(recv(raw, &c, 1, 0), 0);
	pair_end();
}

/* Until b has ended, or 64 MiB are sent. In between raw reads so much a turn. Bytes sent. */
static size_t pour(size_t read_max)
{
	static char water[65536];
	size_t total = 0;

	while (b.nr_closed == 0 && total < (64u << 20)) {
		ssize_t n = send(raw, water, sizeof water, MSG_DONTWAIT | MSG_NOSIGNAL);

		total += n > 0 ? (size_t)n : 0;
		if (n > 0)
			continue;
		if (read_max > 0)
			(void)recv(raw, water, read_max < sizeof water ? read_max : sizeof water, MSG_DONTWAIT);
		run_for(1);
	}
	CHECK_EQ(b.nr_closed, 1);
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	return total;
}

/* Lingering is for who does not know yet, not for who pours. */
static void test_linger_is_limited_by_bytes(void)
{
	pair_begin();
	pair_raw();
	conn_send(b.conn, SLICE("x"));
	conn_close(b.conn, 60000);
	CHECK(pour(0) < (32u << 20));
	pair_end();
	pair_begin();
	pair_raw();
	send_big(b.conn, BIG); /* and before that, while the rest goes out */
	conn_close(b.conn, 60000);
	CHECK(pour(65536) < (32u << 20));
	pair_end();
}

static void test_eof_after_data(void)
{
	pair_begin();
	pair_raw();
	send_raw("bye");
	close(raw);
	raw = -1;
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_EOF);
	CHECK(slice_eq(buf_slice(&b.in), SLICE("bye")));
	pair_end();
}

static void test_reset(void)
{
	pair_begin();
	pair_raw();
	reset_raw();
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	CHECK(b.text[0] != '\0');
	pair_end();
}

static void test_reset_while_paused(void)
{
	pair_begin();
	pair_raw();
	conn_pause(b.conn, true);
	send_raw("unread");
	double before = cpu_ms();
	run_for(200);
	CHECK(cpu_ms() - before < 100);
	CHECK_EQ(b.nr_data, 0);
	reset_raw();
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	pair_end();
}

/* Without data before it: the event still waits for input, and the reset comes as some. */
static void test_reset_while_paused_idle(void)
{
	pair_begin();
	pair_raw();
	conn_pause(b.conn, true);
	reset_raw();
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	pair_end();
}

static void abort_here(struct end *e, struct slice bytes)
{
	(void)bytes;
	conn_send(e->conn, SLICE("never"));
	conn_abort(e->conn);
	conn_abort(e->conn);
	conn_close(e->conn, 100);
	conn_pause(e->conn, true);
	conn_pause(e->conn, false);
	CHECK_EQ(e->nr_closed, 0);
}

static void test_abort_in_data(void)
{
	pair_begin();
	pair_open();
	b.on_data = abort_here;
	conn_send(a.conn, SLICE("x"));
	CHECK(run_until(&b.nr_closed, 1) && run_until(&a.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	CHECK_EQ(buf_len(&a.in), 0);
	pair_end();
}

static void close_here(struct end *e, struct slice bytes)
{
	(void)bytes;
	conn_send(e->conn, SLICE("</stream:stream>"));
	conn_close(e->conn, 1000);
}

static void test_close_in_data(void)
{
	pair_begin();
	pair_open();
	b.on_data = close_here;
	conn_send(a.conn, SLICE("</stream:stream>"));
	conn_close(a.conn, 1000);
	CHECK(run_until(&b.nr_closed, 1) && run_until(&a.nr_closed, 1));
	CHECK_EQ(a.why, CONN_END_CLOSED_BY_US);
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	pair_end();
}

/* --- TLS ----------------------------------------------------------------- */

static void test_tls(void)
{
	pair_begin();
	pair_tls();
	CHECK_STR(SSL_get_version(conn_ssl(b.conn)), "TLSv1.3");
	big_both_ways();
	CHECK(a.conn->out.p_ == NULL);
	pair_end();
}

static bool has_private_key(SSL *ssl)
{
	unsigned char bytes[64];
	size_t n = sizeof bytes;
	EVP_PKEY *key = NULL;

	CHECK_EQ(SSL_get_tmp_key(ssl, &key), 1);
	bool has = EVP_PKEY_get_raw_private_key(key, bytes, &n) == 1;
	EVP_PKEY_free(key);
	return has;
}

static bool has_public_key(SSL *ssl)
{
	unsigned char bytes[64];
	size_t n = sizeof bytes;
	EVP_PKEY *key = NULL;

	CHECK_EQ(SSL_get_peer_tmp_key(ssl, &key), 1);
	bool has = EVP_PKEY_get_raw_public_key(key, bytes, &n) == 1;
	EVP_PKEY_free(key);
	return has;
}

/* What the handshake agreed on a secret with is gone with it, and the rest when the connection has settled. */
static void test_tls_forgets(void)
{
	pair_begin();
	pair_tls();
	CHECK(!has_private_key(conn_ssl(a.conn)) && !has_private_key(conn_ssl(b.conn)));
	CHECK(!has_public_key(conn_ssl(a.conn)) && !has_public_key(conn_ssl(b.conn)));
	CHECK(SSL_get_certificate(conn_ssl(b.conn)) != NULL);
	conn_settled(b.conn);
	CHECK(SSL_get_certificate(conn_ssl(b.conn)) == NULL);
	CHECK_EQ(SSL_key_update(conn_ssl(b.conn), SSL_KEY_UPDATE_REQUESTED), 1); /* TLS goes on without them */
	big_both_ways();
	pair_end();
}

static void test_tls_slow_reader(void)
{
	pair_begin();
	pair_tls();
	slow_reader();
	pair_end();
}

static void test_tls_pause_each_read(void)
{
	pair_begin();
	pair_tls();
	pause_each_read();
	pair_end();
}

static void test_tls_close(void)
{
	pair_begin();
	pair_tls();
	flush_and_close();
	pair_end();
	pair_begin();
	pair_tls();
	close_both();
	pair_end();
}

/* Many small records in one segment: read in one turn, and those that do not fit in 16 KiB in the next ones, though the descriptor is
 * silent. */
static void test_tls_small_records(void)
{
	pair_begin();
	pair_tls();
	conn_pause(b.conn, true);
	for (size_t i = 0; i < 400; i++) {
		conn_send(a.conn, (struct slice){big + i * 100, 100});
		conn_flush(a.conn);
	}
	run_for(20);
	conn_pause(b.conn, false);
	CHECK(run_until_in(&b, 40000));
	CHECK(is_pattern(buf_slice(&b.in), 0));
	CHECK(b.nr_data < 40);
	pair_end();
}

/* Queued before conn_start_tls(): plain. Queued after: encrypted, also while the handshake runs. */
static void client_starts(struct end *e, struct slice bytes)
{
	(void)bytes;
	if (e->ssl == NULL || buf_len(&e->in) < 10)
		return;
	CHECK(slice_eq(buf_slice(&e->in), SLICE("<proceed/>")));
	conn_start_tls(e->conn, e->ssl);
	e->ssl = NULL;
	conn_send(e->conn, SLICE("<stream>"));
}

static void server_starts(struct end *e, struct slice bytes)
{
	if (e->ssl == NULL)
		return;
	CHECK(slice_eq(bytes, SLICE("<starttls/>")));
	conn_send(e->conn, SLICE("<proceed/>"));
	conn_start_tls(e->conn, e->ssl);
	e->ssl = NULL;
	conn_send(e->conn, SLICE("<features/>"));
	CHECK_EQ(e->nr_tls, 0);
}

static void test_starttls(void)
{
	pair_begin();
	pair_open();
	a.on_data = client_starts;
	b.on_data = server_starts;
	a.ssl = pair_ssl(false);
	b.ssl = pair_ssl(true);
	conn_send(a.conn, SLICE("<starttls/>"));
	CHECK(run_until(&a.nr_tls, 1) && run_until(&b.nr_tls, 1));
	CHECK(run_until_in(&b, 11 + 8) && run_until_in(&a, 10 + 11));
	CHECK(slice_eq(buf_slice(&b.in), SLICE("<starttls/><stream>")));
	CHECK(slice_eq(buf_slice(&a.in), SLICE("<proceed/><features/>")));
	CHECK_EQ(conn_bytes_in(a.conn), 21);
	pair_end();
}

/* CVE-2011-0411 and its kin: what came in plain is either seen before the handshake or breaks it; it never comes out behind it. */
static void start_at_first(struct end *e, struct slice bytes)
{
	(void)bytes;
	if (e->ssl == NULL)
		return;
	conn_send(e->conn, SLICE("<proceed/>"));
	conn_start_tls(e->conn, e->ssl);
	e->ssl = NULL;
}

static void test_starttls_injection_same_read(void)
{
	pair_begin();
	pair_open();
	b.on_data = start_at_first;
	b.ssl = pair_ssl(true);
	a.on_data = client_starts;
	a.ssl = pair_ssl(false);
	conn_send(a.conn, SLICE("<starttls/><evil/>")); /* one segment: the owner sees it and drops what is behind <starttls/> */
	CHECK(run_until(&b.nr_tls, 1) && run_until_in(&b, 18 + 8));
	run_for(20);
	CHECK(slice_eq(buf_slice(&b.in), SLICE("<starttls/><evil/><stream>")));
	pair_end();
}

static void test_starttls_injection_later(void)
{
	pair_begin();
	pair_raw();
	b.on_data = start_at_first;
	b.ssl = pair_ssl(true);
	send_raw("<starttls/>");
	CHECK(run_until(&b.nr_data, 1));
	send_raw("<evil/><evil/><evil/>");
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_TLS_FAILED);
	CHECK_EQ(b.nr_data, 1);
	CHECK_EQ(b.nr_tls, 0);
	pair_end();
}

/* Pausing holds up plaintext, not the handshake. */
static void test_tls_paused(void)
{
	pair_begin();
	pair_open();
	conn_pause(b.conn, true);
	conn_start_tls(b.conn, pair_ssl(true));
	conn_start_tls(a.conn, pair_ssl(false));
	conn_send(a.conn, SLICE("early")); /* comes in the flight that ends the handshake, or right behind it */
	CHECK(run_until(&b.nr_tls, 1));
	run_for(20);
	CHECK_EQ(b.nr_data, 0);
	conn_pause(b.conn, false);
	CHECK(run_until_in(&b, 5));
	pair_end();
}

static void test_tls_truncated(void)
{
	pair_begin();
	pair_tls();
	CHECK_EQ(shutdown(a.conn->ch.fd, SHUT_WR), 0); /* a FIN that no close_notify announces */
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	CHECK(strstr(b.text, "close_notify") != NULL);
	pair_end();
}

static void test_tls_eof_behind_data(void)
{
	pair_begin();
	pair_tls();
	conn_pause(b.conn, true);
	conn_send(a.conn, SLICE("last words"));
	conn_close(a.conn, 100);
	run_for(20);
	conn_pause(b.conn, false);
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_EOF);
	CHECK(slice_eq(buf_slice(&b.in), SLICE("last words")));
	pair_end();
}

static void test_tls_not_tls(void)
{
	pair_begin();
	pair_raw();
	conn_start_tls(b.conn, pair_ssl(true));
	send_raw("GET / HTTP/1.1\r\n\r\n");
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_TLS_FAILED);
	CHECK(b.text[0] != '\0');
	pair_end();
}

static void test_tls_left_alone(void)
{
	pair_begin();
	pair_raw();
	conn_start_tls(b.conn, pair_ssl(true));
	close(raw);
	raw = -1;
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	pair_end();
}

static void test_close_in_handshake(void)
{
	char c;

	pair_begin();
	pair_raw();
	conn_start_tls(b.conn, pair_ssl(true));
	conn_send(b.conn, SLICE("secret"));
	conn_close(b.conn, 0);
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	CHECK_EQ(recv(raw, &c, 1, 0), 0); /* nothing in plain */
	pair_end();
}

static void test_start_tls_after_close(void)
{
	pair_begin();
	pair_open();
	conn_close(b.conn, 0);
	conn_start_tls(b.conn, pair_ssl(true));
	CHECK(run_until(&b.nr_closed, 1));
	pair_end();
}

int main(void)
{
	big = mem_alloc(3 * BIG);
	fill(big, 3 * BIG, 0);
	RUN(test_is_small);
	RUN(test_bytes);
	RUN(test_mapped_address);
	RUN(test_connect_refused);
	RUN(test_connect_close);
	RUN(test_big);
	RUN(test_slow_reader);
	RUN(test_pause_each_read);
	RUN(test_overflow);
	RUN(test_close_flushes);
	RUN(test_close_both);
	RUN(test_linger_is_limited);
	RUN(test_linger_is_limited_by_bytes);
	RUN(test_eof_after_data);
	RUN(test_reset);
	RUN(test_reset_while_paused);
	RUN(test_reset_while_paused_idle);
	RUN(test_abort_in_data);
	RUN(test_close_in_data);
	RUN(test_tls);
	RUN(test_tls_forgets);
	RUN(test_tls_slow_reader);
	RUN(test_tls_pause_each_read);
	RUN(test_tls_close);
	RUN(test_tls_small_records);
	RUN(test_starttls);
	RUN(test_starttls_injection_same_read);
	RUN(test_starttls_injection_later);
	RUN(test_tls_paused);
	RUN(test_tls_truncated);
	RUN(test_tls_eof_behind_data);
	RUN(test_tls_not_tls);
	RUN(test_tls_left_alone);
	RUN(test_close_in_handshake);
	RUN(test_start_tls_after_close);
	free(big);
	return check_done("net_conn");
}
