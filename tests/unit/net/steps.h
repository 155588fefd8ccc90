#ifndef AMBROSIA_TESTS_NET_STEPS_H
#define AMBROSIA_TESTS_NET_STEPS_H

/* Steps of b's handshake that run on the only thread of a pool, and what else that thread does. */
#include <pthread.h>
#include <semaphore.h>

#include "common/stat.h"
#include "door.h"

/* Nobody waits, and whatever others do is not asked for. */
static const struct admission_options open_door = {.share_percent = 90, .burst_us = 100000, .patience_ms = 5000, .waiting_max = 10};

static pthread_t main_thread;
static sem_t entered, gate;
static bool holds;                      /* a step of b's stays inside until it is let go */
static unsigned nr_here, nr_elsewhere;  /* steps that chose a certificate */
static unsigned nr_done_here;           /* and that ended a handshake */
static unsigned burn_us, nr_pauses, nr_other_done;
static uint64_t nr_beside_before;

int __real_sched_yield(void);
int __wrap_sched_yield(void);

int __wrap_sched_yield(void)
{
	nr_pauses++;
	return __real_sched_yield();
}

/* In the midst of the answer to a ClientHello. */
static inline int on_certificate(SSL *ssl, void *arg)
{
	uint64_t until = jobs_used_us() + burn_us;

	(void)ssl;
	(void)arg;
	*(pthread_equal(pthread_self(), main_thread) ? &nr_here : &nr_elsewhere) += 1;
	while (jobs_used_us() < until)
		;
	if (holds) {
		sem_post(&entered);
		sem_wait(&gate);
	}
	return 1;
}

static inline void on_info(const SSL *ssl, int where, int result)
{
	(void)ssl;
	(void)result;
	nr_done_here += (where & SSL_CB_HANDSHAKE_DONE) != 0 && pthread_equal(pthread_self(), main_thread);
}

static inline void start(struct admission_options o, size_t queue_max)
{
	main_thread = pthread_self();
	sem_init(&entered, 0, 0);
	sem_init(&gate, 0, 0);
	holds = false;
	nr_here = nr_elsewhere = nr_done_here = nr_pauses = burn_us = nr_other_done = 0;
	nr_beside_before = stat_sum(STAT_handshake_steps_beside);
	steps = jobs_new(1, queue_max);
	begin(o);
}

/* Since start(). */
static inline unsigned nr_beside(void)
{
	return (unsigned)(stat_sum(STAT_handshake_steps_beside) - nr_beside_before);
}

static inline SSL *server(void)
{
	SSL *ssl = pair_ssl(true);

	SSL_set_cert_cb(ssl, on_certificate, NULL);
	SSL_set_info_callback(ssl, on_info);
	return ssl;
}

static inline void call(SSL *theirs)
{
	pair_open();
	conn_start_tls(b.conn, server());
	conn_start_tls(a.conn, theirs);
}

static inline void open_gate(void *arg)
{
	(void)arg;
	sem_post(&gate);
}

static struct loop_task release;

/* As soon as the loop runs: what ended while it does not would be dropped. */
static inline void let_go(void)
{
	loop_task_init(&release, open_gate, NULL);
	loop_task_queue(loop, &release);
}

/* --- something else that the only thread does ------------------------------- */

static inline void on_block(struct job *j)
{
	(void)j;
	sem_post(&entered);
	sem_wait(&gate);
}

static inline void on_other(struct job *j)
{
	(void)j;
}

static inline void on_other_done(struct job *j)
{
	(void)j;
	nr_other_done++;
}

static struct job blocker = {.run = on_block, .done = on_other}, other = {.run = on_other, .done = on_other_done};

static inline void block(void)
{
	CHECK_EQ(jobs_submit(steps, loop, &blocker), 0);
	sem_wait(&entered);
}

static struct loop_timer looks;
static bool (*is_so)(void);

static inline void look_again(void *arg)
{
	(void)arg;
	if (is_so())
		loop_stop(loop);
	else
		loop_timer_set(&looks, 1);
}

/* In one go: a step that ended between two of them would be dropped. */
static inline void run_until_so(bool (*so)(void))
{
	is_so = so;
	loop_timer_init(loop, &looks, look_again, NULL);
	loop_timer_set(&looks, 0);
	loop_run(loop);
	loop_timer_cancel(&looks);
}

static inline bool is_away(void)
{
	return b.conn->away;
}

/* Until b's step is away: behind the blocker, or held in its midst. */
static inline void run_until_away(bool inside)
{
	run_until_so(is_away);
	if (inside)
		sem_wait(&entered);
}

static inline void speak_both_ways(void)
{
	bool up = run_until(&b.nr_tls, 1) && run_until(&a.nr_tls, 1);

	CHECK(up);
	if (!up)
		return;
	CHECK(!b.conn->away);
	conn_send(a.conn, SLICE("hello"));
	conn_send(b.conn, SLICE("welcome"));
	CHECK(run_until_in(&b, 5) && run_until_in(&a, 7));
}

#endif
