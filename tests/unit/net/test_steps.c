/* The step of a handshake that answers the ClientHello, on a thread of its own: where it runs, and what comes of it. */
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <errno.h>

#include "common/log.h"
#include "net/tls_tickets.h"
#include "steps.h"

static bool no_threads;                 /* the system has none */
static unsigned nr_warned;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg), void *arg);
void __wrap_log_event(enum log_level level, const char *role, uint64_t id, const char *event, const char *fmt, ...) PRINTF_LIKE(5, 6);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *arg), void *arg)
{
	return no_threads ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

void __wrap_log_event(enum log_level level, const char *role, uint64_t id, const char *event, const char *fmt, ...)
{
	(void)role;
	(void)id;
	(void)fmt;
	nr_warned += level == LOG_WARN && strcmp(event, "no-threads") == 0;
}

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

/* What is answered when it was seen just now that others worked for so many ms of a second. */
static bool is_elsewhere(unsigned idle_percent, unsigned others_ms)
{
	struct admission_options o = open_door;
	uint64_t seen_at_us;
	bool elsewhere;

	o.idle_percent = idle_percent;
	start(o, 10);
	do { /* until nothing kept this thread in between, or it would look again */
		door->idle.looked_at_us = seen_at_us = handshakes_begin(door);
		door->late = (struct handshakes_late){.ran_us = 300000 + others_ms * 1000, .taken_us = 300000, .passed_us = 1000000};
		elsewhere = handshakes_elsewhere(door) == steps;
	} while (door->idle.looked_at_us != seen_at_us);
	end();
	return elsewhere;
}

static void test_others_work(void)
{
	CHECK(!is_elsewhere(10, 0));
	CHECK(!is_elsewhere(10, 39));
	CHECK(is_elsewhere(10, 40));
	CHECK(is_elsewhere(10, 500));
	CHECK(!is_elsewhere(100, 39)); /* whatever part newcomers have of what is left */
	CHECK(is_elsewhere(100, 40));
	CHECK(is_elsewhere(0, 0));
}

/* What is answered when the last look was so long ago, others had so much of the time before it that is known, and the thread ran for so
 * much since. */
static bool is_elsewhere_later(struct handshakes *h, unsigned ago_ms, unsigned known_ms, unsigned others_ms, unsigned ran_ms)
{
	bool elsewhere, slow;

	do {
		uint64_t begun, ran_us;

		loop_turn(loop);
		h->idle.looked_at_us = 0;
		(void)handshakes_elsewhere(h); /* the look before it */
		begun = handshakes_begin(h);
		ran_us = h->idle.ran_us;
		h->idle.looked_at_us = begun - ago_ms * 1000;
		h->idle.busy_us -= ran_ms * 1000;
		h->idle.ran_us -= ran_ms * 1000;
		h->late = (struct handshakes_late){.ran_us = others_ms * 1000, .passed_us = known_ms * 1000};
		h->theirs_us = h->around_us = 0;
		elsewhere = handshakes_elsewhere(h) != NULL;
		/* the test itself counts for others' work, by the kernel's ticks */
		slow = handshakes_begin(h) - begun > 1000 || h->idle.ran_us > ran_us + 1000;
	} while (slow);
	return elsewhere;
}

/* What was seen some time ago is looked at anew, and what is not known is no idleness. */
static void test_looks_again(void)
{
	struct admission_options o = open_door;
	bool told;

	o.idle_percent = 10;
	start(o, 10);
	CHECK(handshakes_elsewhere(door) == steps); /* a first look knows nothing */
	told = door->idle.fd_plus_1 > 0;            /* by this kernel */
	CHECK(is_elsewhere_later(door, 80, 200, 1, 60));
	CHECK(is_elsewhere_later(door, 80, 0, 0, 60));
	CHECK_EQ(is_elsewhere_later(door, 80, 0, 0, 0), !told);
	CHECK_EQ(is_elsewhere_later(door, 80, 200, 1, 0), !told);
	CHECK(is_elsewhere_later(door, 200, 200, 1, 0)); /* too long ago for a look to tell */
	end();
}

/* And so is what is known of a few milliseconds only: some more are looked for as soon as there are. */
static void test_known_by_little(void)
{
	struct admission_options o = open_door;
	bool told;

	o.idle_percent = 10;
	start(o, 10);
	CHECK(handshakes_elsewhere(door) == steps);
	told = door->idle.fd_plus_1 > 0;
	CHECK(is_elsewhere_later(door, 6, 0, 0, 0));
	CHECK(is_elsewhere_later(door, 6, 40, 0, 0));
	CHECK_EQ(is_elsewhere_later(door, 6, 44, 0, 0), !told);
	CHECK(is_elsewhere_later(door, 3, 49, 0, 0));
	end();
}

static void test_no_pool(void)
{
	struct jobs *jobs;

	nr_warned = 0;
	no_threads = true;
	CHECK(handshakes_jobs_new() == NULL);
	CHECK_EQ(nr_warned, 1);
	no_threads = false;
	jobs = handshakes_jobs_new();
	CHECK(jobs != NULL);
	CHECK_EQ(nr_warned, 1);
	jobs_free(jobs);
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
	RUN(test_others_work);
	RUN(test_looks_again);
	RUN(test_known_by_little);
	RUN(test_no_pool);
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
