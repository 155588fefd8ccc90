#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "check.h"
#include "common/err.h"
#include "common/jobs.h"

static struct loop *loop;
static pthread_t main_thread;
static int nr_done, nr_want;
static _Atomic int nr_run, nr_dropped, nr_wrong_thread;
static sem_t gate, entered;

struct work {
	struct job job;
	int result;
};

static void on_run(struct job *j)
{
	struct work *w = container_of(j, struct work, job);

	nr_wrong_thread += pthread_equal(pthread_self(), main_thread) != 0;
	w->result = 42;
	nr_run++;
}

static void on_done(struct job *j)
{
	struct work *w = container_of(j, struct work, job);

	CHECK(pthread_equal(pthread_self(), main_thread));
	CHECK_EQ(w->result, 42);
	free(w);
	if (++nr_done == nr_want)
		loop_stop(loop);
}

static void on_drop(struct job *j)
{
	nr_dropped++;
	free(container_of(j, struct work, job));
}

static void on_run_gated(struct job *j)
{
	sem_post(&entered);
	sem_wait(&gate);
	on_run(j);
}

static struct job *new_work(void (*run)(struct job *j))
{
	struct work *w = NEW(struct work);

	w->job = (struct job){.run = run, .done = on_done, .drop = on_drop};
	return &w->job;
}

static void set_up(int want)
{
	loop = loop_new();
	main_thread = pthread_self();
	nr_done = 0;
	nr_want = want;
	nr_run = nr_dropped = nr_wrong_thread = 0;
	sem_init(&gate, 0, 0);
	sem_init(&entered, 0, 0);
}

static void test_run_and_done(void)
{
	set_up(500);
	struct jobs *js = jobs_new(4, 1000);

	for (int i = 0; i < 500; i++)
		CHECK_EQ(jobs_submit(js, loop, new_work(on_run)), 0);
	loop_run(loop);
	CHECK_EQ(nr_run, 500);
	CHECK_EQ(nr_done, 500);
	CHECK_EQ(nr_wrong_thread, 0);
	jobs_free(js);
	jobs_free(NULL);
	loop_free(loop);
	CHECK_EQ(nr_dropped, 0);
}

static void test_queue_is_bounded(void)
{
	set_up(4);
	struct jobs *js = jobs_new(1, 3);

	CHECK_EQ(jobs_submit(js, loop, new_work(on_run_gated)), 0);
	sem_wait(&entered); /* the only thread is busy: these queue */
	for (int i = 0; i < 3; i++)
		CHECK_EQ(jobs_submit(js, loop, new_work(on_run)), 0);
	struct job *refused = new_work(on_run);
	CHECK_EQ(jobs_submit(js, loop, refused), -ERR_LIMIT);
	on_drop(refused);
	sem_post(&gate);
	loop_run(loop);
	CHECK_EQ(nr_done, 4);
	CHECK_EQ(jobs_submit(js, loop, new_work(on_run)), 0);
	jobs_free(js);
	loop_free(loop);
}

static void *open_gate(void *arg)
{
	(void)arg;
	usleep(50000); /* jobs_free is waiting by now; if not, the test is weaker, not wrong */
	sem_post(&gate);
	return NULL;
}

/* The running one ends and finds its loop stopped, the queued ones never run: each is dropped once. */
static void test_free_drops(void)
{
	pthread_t helper;

	set_up(-1);
	struct jobs *js = jobs_new(1, 10);
	loop_stop(loop);
	loop_run(loop);
	CHECK_EQ(jobs_submit(js, loop, new_work(on_run_gated)), 0);
	sem_wait(&entered);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(jobs_submit(js, loop, new_work(on_run)), 0);
	CHECK_EQ(pthread_create(&helper, NULL, open_gate, NULL), 0);
	jobs_free(js);
	pthread_join(helper, NULL);
	CHECK_EQ(nr_run, 1);
	CHECK_EQ(nr_done, 0);
	CHECK_EQ(nr_dropped, 4);
	loop_free(loop);
}

/* Who stops waits for what runs, but not for ever, and nothing begins after. */
static void test_stop_has_a_limit(void)
{
	set_up(-1);
	struct jobs *js = jobs_new(2, 10);
	loop_stop(loop);
	loop_run(loop);
	CHECK_EQ(jobs_submit(js, loop, new_work(on_run_gated)), 0);
	sem_wait(&entered);
	CHECK(!jobs_stop(js, 20));
	CHECK_EQ(jobs_submit(js, loop, new_work(on_run)), 0);
	sem_post(&gate);
	CHECK(jobs_stop(js, 60000));
	CHECK_EQ(nr_run, 1);
	jobs_free(js);
	CHECK_EQ(nr_dropped, 2);
	loop_free(loop);
}

static void on_run_mask(struct job *j)
{
	sigset_t mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	nr_wrong_thread += !sigismember(&mask, SIGTERM);
	on_run(j);
}

static void test_signals_are_not_theirs(void)
{
	sigset_t mask;

	set_up(1);
	struct jobs *js = jobs_new(1, 1);
	CHECK_EQ(jobs_submit(js, loop, new_work(on_run_mask)), 0);
	loop_run(loop);
	CHECK_EQ(nr_wrong_thread, 0);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	CHECK(!sigismember(&mask, SIGTERM));
	jobs_free(js);
	loop_free(loop);
}

int main(void)
{
	RUN(test_run_and_done);
	RUN(test_queue_is_bounded);
	RUN(test_free_drops);
	RUN(test_stop_has_a_limit);
	RUN(test_signals_are_not_theirs);
	return check_done("unit.common.jobs");
}
