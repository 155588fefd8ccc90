#ifndef AMBROSIA_COMMON_JOBS_H
#define AMBROSIA_COMMON_JOBS_H

#include "common/loop.h"

/* Bounded threads for what blocks (Cyrus SASL, files). */
struct jobs;

struct job {
	void (*run)(struct job *j);   /* on a job thread */
	void (*done)(struct job *j);  /* on the loop that submitted it; owns the job again. Not called if the loop has stopped. */
	/* May be NULL. Called instead of done, on any thread, when the job will never run or its loop has stopped: frees it. */
	void (*drop)(struct job *j);
	struct loop *loop_;
	struct job *next_;
};

struct jobs *jobs_new(unsigned nr_threads, size_t queue_max); /* NULL when the system has no threads for us */
/* So many of a kind (those that derive keys, those that answer newcomers' handshakes) may compute at a time, each of which takes a
 * processor from what passes stanzas on: a half of the processors, so that both kinds at once may want them all. */
unsigned jobs_computing_max(void);
unsigned jobs_threads(const struct jobs *js);
/* Microseconds of a processor that the calling thread has had so far: the difference of two is what a job took. */
uint64_t jobs_used_us(void);
/* Nothing new is begun; waits until nothing runs, but at most so long. False: something still runs, and jobs_free would wait for it. */
MUST_CHECK bool jobs_stop(struct jobs *js, unsigned wait_ms);
/* After jobs_stop said false, when the process is about to end: the threads are nobody's any more, and js is not used again, nor freed. */
void jobs_abandon(struct jobs *js);
/* Waits for running jobs, drops queued ones. Before loop_free of any loop that submitted. */
void jobs_free(struct jobs *js);
MUST_CHECK int jobs_submit(struct jobs *js, struct loop *l, struct job *j); /* -ERR_LIMIT when the queue is full */
/* The same in two parts, for who holds a mutex that the job is to take: what is queued may begin if a thread looks for work anyway; and one
 * is woken up for it, once for each job, when the mutex is free. */
MUST_CHECK int jobs_queue(struct jobs *js, struct loop *l, struct job *j);
void jobs_wake(struct jobs *js);

#endif
