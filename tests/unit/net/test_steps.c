/* The step of a handshake that answers the ClientHello, on a thread of its own: where it runs, and what comes of it. */
#include <netinet/in.h>
#include <sys/ioctl.h>

#include "net/tls_tickets.h"
#include "steps.h"

/* --- where it runs ----------------------------------------------------------- */

static void test_elsewhere(void)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL *theirs;

		start(open_door, 10);
		theirs = pair_ssl(false);
		SSL_set_max_proto_version(theirs, version);
		call(theirs);
		speak_both_ways();
		CHECK_EQ(SSL_version(conn_ssl(b.conn)), version);
		CHECK_EQ(nr_elsewhere, 1);
		CHECK_EQ(nr_here, 0);
		CHECK_EQ(nr_done_here, 1); /* what is not long stays here */
		CHECK_EQ(nr_pauses, 2);
		CHECK_EQ(nr_beside(), 1);
		end();
	}
}

/* The client's first guess of a group is none of ours: it is asked for another ClientHello, which is answered elsewhere, too. */
static void test_asked_again(void)
{
	SSL *theirs;

	start(open_door, 10);
	theirs = pair_ssl(false);
	CHECK_EQ(SSL_set1_groups_list(theirs, "P-521:X25519"), 1);
	call(theirs);
	speak_both_ways();
	CHECK_EQ(nr_elsewhere, 2);
	CHECK_EQ(nr_here, 0);
	CHECK_EQ(nr_done_here, 1);
	end();
}

static void test_starttls(void)
{
	start(open_door, 10);
	pair_open();
	conn_send(b.conn, SLICE("<proceed/>"));
	conn_start_tls(b.conn, server());
	CHECK(run_until_in(&a, 10));
	conn_start_tls(a.conn, pair_ssl(false));
	CHECK(run_until(&b.nr_tls, 1));
	conn_send(b.conn, SLICE("<features/>"));
	CHECK(run_until_in(&a, 21));
	CHECK_EQ(nr_elsewhere, 1);
	end();
}

static void test_no_threads(void)
{
	start(open_door, 10);
	door->jobs = NULL;
	call(pair_ssl(false));
	speak_both_ways();
	CHECK_EQ(nr_here, 1);
	CHECK_EQ(nr_pauses, 0);
	CHECK_EQ(nr_beside(), 0);
	end();
}

static void test_queue_is_full(void)
{
	start(open_door, 1);
	block();
	CHECK_EQ(jobs_submit(steps, loop, &other), 0);
	call(pair_ssl(false));
	speak_both_ways();
	CHECK_EQ(nr_here, 1);
	CHECK_EQ(nr_beside(), 0);
	sem_post(&gate);
	end();
}

/* --- what comes of it ---------------------------------------------------------- */

/* Its time is charged, and none of it to this thread. */
static void test_charged(void)
{
	uint16_t charged_us = 0;
	uint64_t taken, theirs, ahead;

	start(open_door, 10);
	burn_us = 10000;
	call(pair_ssl(false));
	speak_both_ways();
	CHECK_EQ(nr_elsewhere, 1);
	CHECK(b.conn->charged_us >= 10000);
	taken = door->taken_us;
	theirs = door->theirs_us;
	ahead = door->login.ahead_us = 50000;
	handshakes_took_elsewhere(door, 15000, &charged_us);
	handshakes_took_elsewhere(door, 15000, &charged_us);
	CHECK_EQ(charged_us, 20000); /* as much as one may be */
	CHECK_EQ(door->login.ahead_us, ahead - 20000);
	CHECK_EQ(door->taken_us, taken);
	CHECK_EQ(door->theirs_us, theirs);
	end();
}

static void failure(char *text, size_t size)
{
	pair_raw();
	conn_start_tls(b.conn, server());
	CHECK_EQ(send(raw, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_TLS_FAILED);
	snprintf(text, size, "%s", b.text);
}

/* The reason that OpenSSL gave to the other thread. */
static void test_failure(void)
{
	char here[200], elsewhere[200];

	transport_set_why("");
	start(open_door, 10);
	failure(elsewhere, sizeof elsewhere);
	CHECK_EQ(nr_beside(), 1);
	end();
	start(open_door, 10);
	door->jobs = NULL;
	failure(here, sizeof here);
	CHECK_EQ(nr_beside(), 0);
	end();
	CHECK(here[0] != '\0');
	CHECK_STR(elsewhere, here);
}

static bool all_is_read(void)
{
	int unread = 1;

	return b.conn->state == CONN_HANDSHAKE && !b.conn->away && ioctl(b.conn->ch.fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* A ClientHello in two parts: what has come of it is read, and the rest awaited. */
static void test_parts(void)
{
	start(open_door, 10);
	pair_raw();
	conn_start_tls(b.conn, server());
	CHECK_EQ(send(raw, PART_OF_HELLO.p, PART_OF_HELLO.n, 0), PART_OF_HELLO.n);
	run_until_so(all_is_read);
	CHECK_EQ(b.conn->interest, EV_READ);
	CHECK(!b.conn->ch.answered);
	CHECK_EQ(nr_beside(), 1);
	close(raw);
	raw = -1;
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	end();
}

/* And in ten: after some the rest is looked at here. */
static void test_many_parts(void)
{
	static const char parts[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03";

	start(open_door, 10);
	pair_raw();
	conn_start_tls(b.conn, server());
	for (unsigned i = 0; i < 10; i++) {
		CHECK_EQ(send(raw, parts + i, 1, 0), 1);
		run_until_so(all_is_read);
		CHECK_EQ(nr_beside(), i < 4 ? i + 1 : 4);
	}
	CHECK_EQ(b.nr_closed, 0);
	end();
}

/* Only the ClientHello's answer goes away: the end of the handshake does not wait for the thread. */
static void end_is_here(int version, SSL_SESSION **session)
{
	static struct job behind = {.run = on_block, .done = on_other};
	static struct tls_tickets tickets = {.nr = 1, .key = {{.name = "one", .cipher = "c", .mac = "m"}}};
	bool again = *session != NULL;
	SSL *ours, *theirs = pair_ssl(false);

	ours = server();
	tls_tickets_use(ours, &tickets);
	SSL_set_max_proto_version(theirs, version);
	if (again)
		CHECK_EQ(SSL_set_session(theirs, *session), 1);
	pair_open();
	block();
	conn_start_tls(b.conn, ours);
	conn_start_tls(a.conn, theirs);
	run_until_away(false);
	CHECK_EQ(jobs_submit(steps, loop, &behind), 0);
	let_go();
	speak_both_ways();
	CHECK_EQ(SSL_session_reused(conn_ssl(b.conn)), again);
	CHECK_EQ(nr_beside(), 1);
	SSL_SESSION_free(*session);
	*session = SSL_SESSION_dup(SSL_get0_session(conn_ssl(a.conn)));
	sem_post(&gate);
}

static void test_end_is_here(void)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_SESSION *session = NULL;

		for (int i = 0; i < 2; i++) {
			start(open_door, 10);
			end_is_here(version, &session);
			end();
		}
		SSL_SESSION_free(session);
	}
}

/* The worker's keys change while a step looks at them: it has those of before. */
static void test_tickets(void)
{
	static struct tls_tickets tickets;
	SSL_SESSION *session = NULL;

	for (int i = 0; i < 4; i++) {
		bool again = i % 2 > 0;
		SSL *ours, *theirs;

		start(open_door, 10);
		tickets = (struct tls_tickets){.nr = 1, .key = {{.name = "one", .cipher = "c", .mac = "m"}}};
		pair_open();
		ours = server();
		tls_tickets_use(ours, &tickets);
		theirs = pair_ssl(false);
		SSL_set_max_proto_version(theirs, i < 2 ? TLS1_2_VERSION : TLS1_3_VERSION);
		if (again)
			CHECK_EQ(SSL_set_session(theirs, session), 1);
		block();
		conn_start_tls(b.conn, ours);
		conn_start_tls(a.conn, theirs);
		run_until_away(false);
		if (again)
			tickets.nr = 0;
		let_go();
		speak_both_ways();
		CHECK_EQ(SSL_session_reused(conn_ssl(b.conn)), again);
		SSL_SESSION_free(session);
		session = SSL_SESSION_dup(SSL_get0_session(conn_ssl(a.conn))); /* which is spoilt when the connection is cut */
		CHECK(SSL_SESSION_has_ticket(session));
		end();
	}
	SSL_SESSION_free(session);
}

int main(void)
{
	RUN(test_elsewhere);
	RUN(test_asked_again);
	RUN(test_starttls);
	RUN(test_no_threads);
	RUN(test_queue_is_full);
	RUN(test_charged);
	RUN(test_failure);
	RUN(test_parts);
	RUN(test_many_parts);
	RUN(test_end_is_here);
	RUN(test_tickets);
	return check_done("net_steps");
}
