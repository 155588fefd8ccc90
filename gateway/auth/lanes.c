/*
 * Lanes: work of one domain waits in the domain's own queue, and at most `per_lane` runners take from it. A runner is one job; after a few
 * pieces of work it goes to the back of the job threads' queue, so that a busy domain does not starve the others. Workers of the gateway
 * share the lanes: the mutex is held for a few pointers, never while work runs.
 */
#include "auth/lanes.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/hash.h"
#include "common/stat.h"

#define TURNS 8         /* pieces of work before a runner lets others pass */

struct lane {
	struct lanes *lanes;
	char *domain;
	struct lane_work *first, **last;
	size_t waiting;
	unsigned runners;
};

struct runner {
	struct job job;
	struct lane *lane;      /* NULL once it has left the lane */
	struct lanes *lanes;
	struct runner *next, **prev;
};

struct lanes {
	pthread_mutex_t mutex;
	struct jobs *jobs;
	struct hash *by_domain;
	struct lane_work *all;
	struct runner *runners;
	unsigned per_lane, nr_runners;
	size_t queue_max;
	bool wakes;             /* a runner was queued since the mutex was taken */
};

struct lanes *lanes_new(struct jobs *jobs, unsigned per_lane, size_t queue_max)
{
	struct lanes *ls = NEW(struct lanes);

	pthread_mutex_init(&ls->mutex, NULL);
	ls->by_domain = hash_new();
	ls->jobs = jobs;
	ls->per_lane = per_lane;
	ls->queue_max = queue_max;
	return ls;
}

static void lane_free(struct lane *lane)
{
	stat_add(STAT_logins_waiting, -(uint64_t)lane->waiting);
	hash_del(lane->lanes->by_domain, slice_str(lane->domain));
	free(lane->domain);
	free(lane);
}

static int lane_drop(void *arg, struct slice key, void *value)
{
	(void)arg;
	(void)key;
	lane_free(value);
	return 0;
}

void lanes_free(struct lanes *ls)
{
	if (!ls)
		return;
	while (ls->all) {
		struct lane_work *w = ls->all;

		ls->all = w->all_next_;
		w->drop(w);
	}
	while (ls->runners) {
		struct runner *r = ls->runners;

		ls->runners = r->next;
		free(r);
	}
	hash_each(ls->by_domain, lane_drop, NULL);
	hash_free(ls->by_domain);
	pthread_mutex_destroy(&ls->mutex);
	free(ls);
}

static void work_done(void *arg)
{
	struct lane_work *w = arg;
	struct lanes *ls = w->lanes_;

	pthread_mutex_lock(&ls->mutex);
	*w->all_prev_ = w->all_next_;
	if (w->all_next_)
		w->all_next_->all_prev_ = w->all_prev_;
	pthread_mutex_unlock(&ls->mutex);
	w->done(w);
}

/* A runner begins with the mutex: whoever is woken up for one finds it free. */
static void unlock_and_wake(struct lanes *ls)
{
	bool wakes = ls->wakes;

	ls->wakes = false;
	pthread_mutex_unlock(&ls->mutex);
	if (wakes)
		jobs_wake(ls->jobs);
}

static struct lane_work *take(struct lane *lane)
{
	struct lane_work *w = lane->first;

	if (!w)
		return NULL;
	lane->first = w->queue_next_;
	if (!lane->first)
		lane->last = &lane->first;
	lane->waiting--;
	stat_add(STAT_logins_waiting, (uint64_t)-1);
	return w;
}

static int add_runner(struct lane *lane, struct loop *l);

static void count_runner(struct lane *lane, int n)
{
	lane->runners += (unsigned)n;
	lane->lanes->nr_runners += (unsigned)n;
}

/* With the mutex: the runner's place in the lane is given up; true if there is nothing more for it to do. */
static bool leave(struct runner *r, struct loop *l, bool tired)
{
	struct lane *lane = r->lane;

	count_runner(lane, -1);
	if (tired && add_runner(lane, l) < 0) {    /* no room at the back of the queue: go on here */
		count_runner(lane, 1);
		return false;
	}
	if (lane->runners == 0 && !lane->first)
		lane_free(lane);
	r->lane = NULL;
	return true;
}

static void runner_run(struct job *j)
{
	struct runner *r = container_of(j, struct runner, job);
	struct lanes *ls = r->lanes;

	pthread_mutex_lock(&ls->mutex);
	for (unsigned turn = 1;; turn++) {
		struct lane_work *w = take(r->lane);
		struct loop *l;

		if (!w) {
			leave(r, NULL, false);
			break;
		}
		pthread_mutex_unlock(&ls->mutex);
		l = w->loop_;
		w->run(w);
		(void)!loop_post(l, work_done, w);   /* a loop that has stopped: lanes_free drops it */
		pthread_mutex_lock(&ls->mutex);
		if (turn % TURNS == 0 && r->lane->first && leave(r, l, true))
			break;
	}
	unlock_and_wake(ls);
}

static void runner_done(struct job *j)
{
	struct runner *r = container_of(j, struct runner, job);
	struct lanes *ls = r->lanes;

	pthread_mutex_lock(&ls->mutex);
	*r->prev = r->next;
	if (r->next)
		r->next->prev = r->prev;
	pthread_mutex_unlock(&ls->mutex);
	free(r);
}

/* Its loop or the job threads are gone: what waits in the lane is left to lanes_free. */
static void runner_drop(struct job *j)
{
	struct runner *r = container_of(j, struct runner, job);
	struct lanes *ls = r->lanes;

	pthread_mutex_lock(&ls->mutex);
	if (r->lane)
		count_runner(r->lane, -1);
	pthread_mutex_unlock(&ls->mutex);
	runner_done(j);
}

/* With the mutex, which unlock_and_wake() gives back. */
static int add_runner(struct lane *lane, struct loop *l)
{
	struct lanes *ls = lane->lanes;
	struct runner *r = NEW(struct runner);
	int err;

	r->job = (struct job){.run = runner_run, .done = runner_done, .drop = runner_drop};
	r->lane = lane;
	r->lanes = ls;
	err = jobs_queue(ls->jobs, l, &r->job);    /* it gets no further than to the mutex before that is free */
	if (err < 0) {
		free(r);
		return err;
	}
	ls->wakes = true;
	count_runner(lane, 1);
	r->next = ls->runners;
	r->prev = &ls->runners;
	if (r->next)
		r->next->prev = &r->next;
	ls->runners = r;
	return 0;
}

static struct lane *lane_of(struct lanes *ls, const char *domain)
{
	struct lane *lane = hash_get(ls->by_domain, slice_str(domain));

	if (lane)
		return lane;
	lane = NEW(struct lane);
	lane->lanes = ls;
	lane->domain = mem_strdup(domain);
	lane->last = &lane->first;
	hash_put(ls->by_domain, slice_str(domain), lane);
	return lane;
}

/* The first runner is everybody's right. A further one leaves more threads free than the lane has twice over, so that however many domains
 * hang, the next still finds a thread for a good while. */
static bool may_grow(const struct lane *lane)
{
	unsigned threads = jobs_threads(lane->lanes->jobs), busy = lane->lanes->nr_runners, idle = busy < threads ? threads - busy : 0;

	return lane->runners == 0 || (lane->runners < lane->lanes->per_lane && 2 * lane->runners < idle);
}

static int enter(struct lane *lane, struct loop *l, struct lane_work *w)
{
	if (lane->waiting >= lane->lanes->queue_max)
		return -ERR_LIMIT;
	if (may_grow(lane) && add_runner(lane, l) < 0 && lane->runners == 0)
		return -ERR_LIMIT;
	w->queue_next_ = NULL;
	*lane->last = w;
	lane->last = &w->queue_next_;
	lane->waiting++;
	stat_add(STAT_logins_waiting, 1);
	return 0;
}

int lanes_submit(struct lanes *ls, const char *domain, struct loop *l, struct lane_work *w)
{
	struct lane *lane;
	int err;

	w->loop_ = l;
	w->lanes_ = ls;
	pthread_mutex_lock(&ls->mutex);
	lane = lane_of(ls, domain);
	err = enter(lane, l, w);
	if (err == 0) {
		w->all_next_ = ls->all;
		w->all_prev_ = &ls->all;
		if (w->all_next_)
			w->all_next_->all_prev_ = &w->all_next_;
		ls->all = w;
	} else if (lane->runners == 0 && !lane->first) {
		lane_free(lane);
	}
	unlock_and_wake(ls);
	return err;
}
