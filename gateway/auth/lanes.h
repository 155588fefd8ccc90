#ifndef GATEWAY_AUTH_LANES_H
#define GATEWAY_AUTH_LANES_H

#include "common/jobs.h"

/* A queue for each domain in front of the job threads, so that a domain whose database hangs holds only its share of them: the more of them
 * are held, the smaller a share. */
struct lanes;
struct lane;

struct lane_work {
	void (*run)(struct lane_work *w);    /* on a job thread */
	void (*done)(struct lane_work *w);   /* on the loop that submitted it */
	void (*drop)(struct lane_work *w);   /* from lanes_free: run or not, its loop is gone */
	struct loop *loop_;
	struct lanes *lanes_;
	struct lane_work *queue_next_, *all_next_, **all_prev_;
};

/* per_lane: job threads that one domain may occupy at most; queue_max: what may wait in one lane. */
struct lanes *lanes_new(struct jobs *jobs, unsigned per_lane, size_t queue_max);
/* No job thread may be running any more. */
void lanes_free(struct lanes *ls);
MUST_CHECK int lanes_submit(struct lanes *ls, const char *domain, struct loop *l, struct lane_work *w);   /* -ERR_LIMIT */

#endif
