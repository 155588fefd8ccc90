#ifndef AMBROSIA_COMMON_JOBS_H
#define AMBROSIA_COMMON_JOBS_H

#include "common/loop.h"

/* Bounded threads for what blocks (Cyrus SASL, files). */
struct jobs;

struct job {
	void (*run)(struct job *j);   /* on a job thread */
	void (*done)(struct job *j);  /* on the loop that submitted it; owns the job again. Not called if the loop has stopped. */
	struct loop *loop_;
	struct job *next_;
};

struct jobs *jobs_new(unsigned nr_threads, size_t queue_max);
void jobs_free(struct jobs *js);                        /* waits for running jobs, drops queued ones */
MUST_CHECK int jobs_submit(struct jobs *js, struct loop *l, struct job *j); /* -ERR_LIMIT when the queue is full */

#endif
