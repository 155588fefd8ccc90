/* The step of a handshake that answers the ClientHello, on a thread of its own: where it runs, what comes of it, and ends meanwhile. */
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "door.h"
#include "net/tls_tickets.h"

/* Nobody waits, and whatever others do is not asked for. */
static const struct admission_options open_door = {.share_percent = 90, .burst_us = 100000, .patience_ms = 5000, .waiting_max = 10};

static pthread_t main_thread;
static sem_t entered, gate;
static bool holds;                      /* a step of b's stays inside until it is let go */
static unsigned nr_here, nr_elsewhere;  /* steps that chose a certificate */
static unsigned nr_done_here;           /* and that ended a handshake */
static unsigned burn_us, nr_pauses;

static uint64_t processor_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int __real_sched_yield(void);
int __wrap_sched_yield(void);

int __wrap_sched_yield(void)
{
	nr_pauses++;
	return __real_sched_yield();
}

/* In the midst of the answer to a ClientHello. */
static int on_certificate(SSL *ssl, void *arg)
{
	uint64_t until = processor_us() + burn_us;

	(void)ssl;
	(void)arg;
	*(pthread_equal(pthread_self(), main_thread) ? &nr_here : &nr_elsewhere) += 1;
	while (processor_us() < until)
		;
	if (holds) {
		sem_post(&entered);
		sem_wait(&gate);
	}
	return 1;
}

static void on_info(const SSL *ssl, int where, int result)
{
	(void)ssl;
	(void)result;
	nr_done_here += (where & SSL_CB_HANDSHAKE_DONE) != 0 && pthread_equal(pthread_self(), main_thread);
}

static void start(struct admission_options o, size_t queue_max)
{
	main_thread = pthread_self();
	sem_init(&entered, 0, 0);
	sem_init(&gate, 0, 0);
	holds = false;
	nr_here = nr_elsewhere = nr_done_here = nr_pauses = burn_us = 0;
	steps = jobs_new(1, queue_max);
	begin(o);
}

static SSL *server(void)
{
	SSL *ssl = pair_ssl(true);

	SSL_set_cert_cb(ssl, on_certificate, NULL);
	SSL_set_info_callback(ssl, on_info);
	return ssl;
}

static void call(SSL *theirs)
{
	pair_open();
	conn_start_tls(b.conn, server());
	conn_start_tls(a.conn, theirs);
}

static void open_gate(void *arg)
{
	(void)arg;
	sem_post(&gate);
}

static struct loop_task release;

/* As soon as the loop runs: what ended while it does not would be dropped. */
static void let_go(void)
{
	loop_task_init(&release, open_gate, NULL);
	loop_task_queue(loop, &release);
}

/* --- something else that the only thread does ------------------------------- */

static void on_block(struct job *j)
{
	(void)j;
	sem_post(&entered);
	sem_wait(&gate);
}

static void on_other(struct job *j)
{
	(void)j;
}

static struct job blocker = {.run = on_block, .done = on_other}, other = {.run = on_other, .done = on_other};

static void block(void)
{
	CHECK_EQ(jobs_submit(steps, loop, &blocker), 0);
	sem_wait(&entered);
}

/* Until b's step is away: behind the blocker, or held in its midst. */
static void run_until_away(bool inside)
{
	while (b.conn->away == 0)
		run_for(1);
	if (inside)
		sem_wait(&entered);
}

/* --- where it runs ----------------------------------------------------------- */

static void speak_both_ways(void)
{
	CHECK(run_until(&b.nr_tls, 1) && run_until(&a.nr_tls, 1));
	CHECK(!b.conn->away);
	conn_send(a.conn, SLICE("hello"));
	conn_send(b.conn, SLICE("welcome"));
	CHECK(run_until_in(&b, 5) && run_until_in(&a, 7));
}

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

/* Of a second others worked for so many ms, of late; -1: it is not known. */
static bool is_elsewhere(unsigned idle_percent, int others_ms)
{
	struct admission_options o = open_door;
	bool elsewhere;

	o.idle_percent = idle_percent;
	start(o, 10);
	if (others_ms >= 0)
		door->late = (struct handshakes_late){
			.ran_us = 300000 + (unsigned)others_ms * 1000, .taken_us = 300000, .passed_us = 1000000};
	call(pair_ssl(false));
	speak_both_ways();
	CHECK_EQ(nr_here + nr_elsewhere, 1);
	CHECK_EQ(nr_pauses > 0, nr_elsewhere > 0);
	elsewhere = nr_elsewhere > 0;
	end();
	return elsewhere;
}

static void test_here(void)
{
	CHECK(!is_elsewhere(10, 0));
	CHECK(!is_elsewhere(10, 30));
	CHECK(is_elsewhere(10, 40));
	CHECK(is_elsewhere(10, 500));
	CHECK(!is_elsewhere(10, -1));
	CHECK(is_elsewhere(0, -1));
	start(open_door, 10);
	door->jobs = NULL;
	call(pair_ssl(false));
	speak_both_ways();
	CHECK_EQ(nr_here, 1);
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

static enum conn_end failure(char *text, size_t size)
{
	enum conn_end why;

	pair_raw();
	conn_start_tls(b.conn, server());
	CHECK_EQ(send(raw, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	CHECK(run_until(&b.nr_closed, 1));
	snprintf(text, size, "%s", b.text);
	why = b.why;
	end();
	return why;
}

/* The reason that OpenSSL gave to the other thread. */
static void test_failure(void)
{
	char here[200], elsewhere[200];

	start(open_door, 10);
	door->jobs = NULL;
	CHECK_EQ(failure(here, sizeof here), CONN_END_TLS_FAILED);
	start(open_door, 10);
	CHECK_EQ(failure(elsewhere, sizeof elsewhere), CONN_END_TLS_FAILED);
	CHECK(here[0] != '\0');
	CHECK_STR(elsewhere, here);
}

/* A ClientHello in two parts: what has come of it is read, and the rest awaited. */
static void test_parts(void)
{
	start(open_door, 10);
	pair_raw();
	conn_start_tls(b.conn, server());
	CHECK_EQ(send(raw, PART_OF_HELLO.p, PART_OF_HELLO.n, 0), PART_OF_HELLO.n);
	while (b.conn->interest != EV_READ || b.conn->state != CONN_HANDSHAKE)
		run_for(1);
	CHECK(!b.conn->ch.answered);
	close(raw);
	raw = -1;
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	end();
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

/* --- meanwhile ------------------------------------------------------------------ */

static void step_begins(bool inside)
{
	holds = inside;
	if (!inside)
		block();
	call(pair_ssl(false));
	run_until_away(inside);
	CHECK_EQ(b.conn->interest, 0);
}

static void test_output_waits(void)
{
	start(open_door, 10);
	step_begins(true);
	conn_send(b.conn, SLICE("welcome"));
	conn_watch_acks(b.conn);
	conn_pause(b.conn, true);
	conn_pause(b.conn, false);
	run_for(5);
	conn_look_acks(b.conn);
	CHECK_EQ(conn_queued(b.conn), 7);
	let_go();
	CHECK(run_until_in(&a, 7));
	CHECK(run_until_acked(&b, 7));
	end();
}

static void test_overflow(void)
{
	static const char some[4096];

	start(open_door, 10);
	limits.out_max = 1 << 20;
	step_begins(true);
	for (size_t i = 0; i <= limits.out_max / sizeof some; i++)
		conn_send(b.conn, (struct slice){some, sizeof some});
	CHECK_EQ(b.nr_closed, 0); /* never inside the call */
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_OVERFLOW);
	CHECK(run_until(&a.nr_closed, 1));
	sem_post(&gate);
	end();
}

/* Who closes or cuts does not wait for the step, nor does its peer. */
static void ends(bool inside, bool cut, unsigned linger_ms)
{
	start(open_door, 10);
	step_begins(inside);
	if (cut)
		conn_abort(b.conn);
	else
		conn_close(b.conn, linger_ms);
	CHECK_EQ(b.nr_closed, 0);
	CHECK(run_until(&b.nr_closed, 1) && run_until(&a.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	CHECK_EQ(a.nr_tls, 0);
	CHECK_EQ(door->login.nr_on_the_way, 0);
	let_go();
	run_for(5); /* the step comes back, or is dropped when it takes longer */
	end();
}

static void test_ends(void)
{
	for (int inside = 0; inside < 2; inside++) {
		ends(inside, true, 0);
		ends(inside, false, 0);
		ends(inside, false, 2000);
	}
}

/* The step comes back to one that is being closed and waits for its peer. */
static void test_back_while_closing(void)
{
	start(open_door, 10);
	pair_raw();
	block();
	conn_start_tls(b.conn, server());
	CHECK_EQ(send(raw, PART_OF_HELLO.p, PART_OF_HELLO.n, 0), PART_OF_HELLO.n);
	run_until_away(false);
	conn_close(b.conn, 60000);
	let_go();
	while (b.conn->away)
		run_for(1);
	CHECK_EQ(b.nr_closed, 0);
	CHECK_EQ(b.conn->state, CONN_LINGERING);
	close(raw);
	raw = -1;
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
	end();
}

/* That the peer has gone shows when the step is back. */
static void test_peer_leaves(void)
{
	start(open_door, 10);
	step_begins(true);
	conn_abort(a.conn);
	CHECK(run_until(&a.nr_closed, 1));
	run_for(5);
	CHECK_EQ(b.nr_closed, 0);
	let_go();
	CHECK(run_until(&b.nr_closed, 1));
	CHECK_EQ(b.why, CONN_END_RESET);
	CHECK_STR(b.text, "the peer left during the TLS handshake");
	end();
}

/* The loop has stopped: the step is dropped, and then the connection cut, or the other way round; or it never began. */
static void test_loop_stops(void)
{
	for (int inside = 0; inside < 2; inside++) {
		for (int cut_first = 0; cut_first < 2; cut_first++) {
			start(open_door, 10);
			step_begins(inside);
			if (cut_first)
				conn_abort(b.conn);
			sem_post(&gate);
			jobs_free(steps); /* as a gateway does before it takes its workers apart */
			steps = NULL;
			CHECK(cut_first || b.conn->away);
			end();
			CHECK_EQ(b.why, CONN_END_CLOSED_BY_US);
		}
	}
}

int main(void)
{
	RUN(test_elsewhere);
	RUN(test_asked_again);
	RUN(test_starttls);
	RUN(test_here);
	RUN(test_queue_is_full);
	RUN(test_charged);
	RUN(test_failure);
	RUN(test_parts);
	RUN(test_tickets);
	RUN(test_output_waits);
	RUN(test_overflow);
	RUN(test_ends);
	RUN(test_back_while_closing);
	RUN(test_peer_leaves);
	RUN(test_loop_stops);
	return check_done("net_steps");
}
