/*
 * A fixed number of threads and a queue with a limit. A job belongs to the pool from submit until done() or drop() is called; nothing
 * here looks inside it. Signals are blocked in these threads: they are the main loop's.
 */
#include "common/jobs.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/prompt.h"

#define NICER 5

struct jobs {
	pthread_mutex_t lock;
	pthread_cond_t wake, quiet;     /* quiet: stopping, and nothing runs any more */
	struct job *first, **end;
	size_t nr_queued, queue_max;
	bool stopping;
	unsigned nr_threads, nr_running;
	pthread_t threads[];
};

static void drop(struct job *j)
{
	if (j->drop)
		j->drop(j);
}

static void run_done(void *arg)
{
	struct job *j = arg;

	j->done(j);
}

static struct job *take(struct jobs *js)
{
	struct job *j = js->first;

	if (j == NULL)
		return NULL;
	js->first = j->next_;
	if (js->first == NULL)
		js->end = &js->first;
	js->nr_queued--;
	return j;
}

static void *thread_main(void *arg)
{
	struct jobs *js = arg;

	/* on Linux of this thread alone; what computes a key may wait a little for what passes a stanza on, and is interrupted for it */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICER);
	patient_thread();
	pthread_mutex_lock(&js->lock);
	while (!js->stopping) {
		struct job *j = take(js);

		if (j == NULL) {
			pthread_cond_wait(&js->wake, &js->lock);
			continue;
		}
		js->nr_running++;
		pthread_mutex_unlock(&js->lock);
		j->run(j);
		if (loop_post(j->loop_, run_done, j) < 0)
			drop(j);
		pthread_mutex_lock(&js->lock);
		if (--js->nr_running == 0 && js->stopping)
			pthread_cond_signal(&js->quiet);
	}
	pthread_mutex_unlock(&js->lock);
	return NULL;
}

struct jobs *jobs_new(unsigned nr_threads, size_t queue_max)
{
	ASSERT(nr_threads > 0 && queue_max > 0);
	struct jobs *js = mem_alloc(sizeof *js + nr_threads * sizeof js->threads[0]);
	sigset_t all, before;

	js->end = &js->first;
	js->queue_max = queue_max;
	pthread_mutex_init(&js->lock, NULL);
	pthread_cond_init(&js->wake, NULL);
	pthread_cond_init(&js->quiet, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (js->nr_threads < nr_threads && pthread_create(&js->threads[js->nr_threads], NULL, thread_main, js) == 0)
		js->nr_threads++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (js->nr_threads < nr_threads) {
		jobs_free(js);
		return NULL;
	}
	return js;
}

unsigned jobs_computing_max(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	return processors > 3 ? (unsigned)processors / 2 : 1;
}

uint64_t jobs_used_us(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

unsigned jobs_threads(const struct jobs *js)
{
	return js->nr_threads;
}

bool jobs_stop(struct jobs *js, unsigned wait_ms)
{
	struct timespec until;
	bool quiet;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(wait_ms / 1000);
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&js->lock);
	js->stopping = true;
	pthread_cond_broadcast(&js->wake);
	while (js->nr_running > 0 && pthread_cond_clockwait(&js->quiet, &js->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	quiet = js->nr_running == 0;
	pthread_mutex_unlock(&js->lock);
	return quiet;
}

void jobs_abandon(struct jobs *js)
{
	for (unsigned i = 0; i < js->nr_threads; i++)
		pthread_detach(js->threads[i]);
}

void jobs_free(struct jobs *js)
{
	if (js == NULL)
		return;
	(void)!jobs_stop(js, 0);
	for (unsigned i = 0; i < js->nr_threads; i++)
		pthread_join(js->threads[i], NULL);
	for (struct job *j = take(js); j; j = take(js))
		drop(j);
	pthread_cond_destroy(&js->wake);
	pthread_cond_destroy(&js->quiet);
	pthread_mutex_destroy(&js->lock);
	free(js);
}

int jobs_queue(struct jobs *js, struct loop *l, struct job *j)
{
	int err = 0;

	j->loop_ = l;
	j->next_ = NULL;
	pthread_mutex_lock(&js->lock);
	if (js->nr_queued >= js->queue_max) {
		err = -ERR_LIMIT;
	} else {
		*js->end = j;
		js->end = &j->next_;
		js->nr_queued++;
	}
	pthread_mutex_unlock(&js->lock);
	return err;
}

/* Who wakes up finds the lock free. */
void jobs_wake(struct jobs *js)
{
	pthread_cond_signal(&js->wake);
}

int jobs_submit(struct jobs *js, struct loop *l, struct job *j)
{
	int err = jobs_queue(js, l, j);

	if (err == 0)
		jobs_wake(js);
	return err;
}
