/* Lanes (auth/lanes.h): each domain's share of the job threads. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/lanes.h"
#include "check.h"
#include "common/err.h"
#include "common/stat.h"

struct piece {
	struct lane_work work;
	struct loop *loop;
	unsigned ms;
	bool *ended;
};

static atomic_int running_, most_, dropped_;
static int left_;

static void piece_run(struct lane_work *w)
{
	struct piece *p = container_of(w, struct piece, work);
	int now = atomic_fetch_add(&running_, 1) + 1, most = atomic_load(&most_);

	while (now > most && !atomic_compare_exchange_weak(&most_, &most, now))
		;
	usleep(p->ms * 1000);
	atomic_fetch_sub(&running_, 1);
}

static void piece_done(struct lane_work *w)
{
	struct piece *p = container_of(w, struct piece, work);

	if (p->ended)
		*p->ended = true;
	if (--left_ == 0)
		loop_stop(p->loop);
	free(p);
}

static void piece_drop(struct lane_work *w)
{
	atomic_fetch_add(&dropped_, 1);
	free(container_of(w, struct piece, work));
}

static int submit(struct lanes *ls, struct loop *l, const char *domain, unsigned ms, bool *ended)
{
	struct piece *p = NEW(struct piece);
	int err;

	*p = (struct piece){.work = {.run = piece_run, .done = piece_done, .drop = piece_drop}, .loop = l, .ms = ms, .ended = ended};
	err = lanes_submit(ls, domain, l, &p->work);
	if (err < 0)
		free(p);
	else
		left_++;
	return err;
}

static void test_lane_holds_its_share(void)
{
	struct jobs *js = jobs_new(4, 100);
	struct lanes *ls = lanes_new(js, 2, 100);
	struct loop *l = loop_new();

	atomic_store(&most_, 0);
	left_ = 0;
	for (int i = 0; i < 30; i++)
		CHECK_EQ(submit(ls, l, "slow.example", 5, NULL), 0);
	loop_run(l);
	CHECK_EQ(left_, 0);
	CHECK_EQ(atomic_load(&most_), 2);
	jobs_free(js);
	lanes_free(ls);
	loop_free(l);
}

static void test_lanes_dont_wait_for_each_other(void)
{
	struct jobs *js = jobs_new(4, 100);
	struct lanes *ls = lanes_new(js, 2, 100);
	struct loop *l = loop_new();
	bool ended = false;

	left_ = 0;
	for (int i = 0; i < 6; i++)
		CHECK_EQ(submit(ls, l, "slow.example", 300, NULL), 0);
	CHECK_EQ(submit(ls, l, "fast.example", 1, &ended), 0);
	left_ = 1;      /* the first to come back stops the loop */
	loop_run(l);
	CHECK(ended);
	jobs_free(js);
	atomic_store(&dropped_, 0);
	lanes_free(ls);
	CHECK_EQ(atomic_load(&dropped_), 6);    /* run or not, they were handed back */
	loop_free(l);
}

/* With four threads each, two domains that hang would have all eight. */
static void test_lanes_leave_threads_to_others(void)
{
	static const char *const slow[] = {"a.example", "b.example", "c.example"};
	struct jobs *js = jobs_new(8, 100);
	struct lanes *ls = lanes_new(js, 4, 100);
	struct loop *l = loop_new();
	bool ended = false;

	left_ = 0;
	for (int i = 0; i < 18; i++)
		CHECK_EQ(submit(ls, l, slow[i / 6], 300, NULL), 0);
	CHECK_EQ(submit(ls, l, "fast.example", 1, &ended), 0);
	left_ = 1;      /* the first to come back stops the loop */
	loop_run(l);
	CHECK(ended);
	jobs_free(js);
	lanes_free(ls);
	loop_free(l);
}

static void test_lane_bound(void)
{
	struct jobs *js = jobs_new(1, 100);
	struct lanes *ls = lanes_new(js, 1, 3);
	struct loop *l = loop_new();
	int ok = 0;

	left_ = 0;
	for (int i = 0; i < 10; i++)
		ok += submit(ls, l, "a.example", 50, NULL) == 0;
	CHECK(ok == 3 || ok == 4);      /* one may be running already */
	CHECK_EQ(submit(ls, l, "b.example", 1, NULL), 0);
	CHECK(stat_sum(STAT_logins_waiting) >= 3 && stat_sum(STAT_logins_waiting) <= 4); /* there is one thread */
	loop_run(l);
	CHECK_EQ(left_, 0);
	CHECK_EQ(stat_sum(STAT_logins_waiting), 0);
	jobs_free(js);
	lanes_free(ls);
	loop_free(l);
}

/* What waits when all ends waits no more. */
static void test_lanes_end(void)
{
	struct jobs *js = jobs_new(1, 100);
	struct lanes *ls = lanes_new(js, 1, 10);
	struct loop *l = loop_new();

	atomic_store(&dropped_, 0);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(submit(ls, l, i % 2 ? "a.example" : "b.example", 50, NULL), 0);
	jobs_free(js);
	CHECK(stat_sum(STAT_logins_waiting) > 0);
	lanes_free(ls);
	CHECK_EQ(stat_sum(STAT_logins_waiting), 0);
	CHECK_EQ(atomic_load(&dropped_), 5);
	loop_free(l);
}

static void test_lane_without_threads(void)
{
	struct jobs *js = jobs_new(1, 1);
	struct lanes *ls = lanes_new(js, 1, 10);
	struct loop *l = loop_new();
	int refused = 0;

	left_ = 0;
	for (int i = 0; i < 5; i++) {
		char domain[32];

		snprintf(domain, sizeof domain, "d%d.example", i);
		refused += submit(ls, l, domain, 30, NULL) == -ERR_LIMIT;
	}
	CHECK(refused >= 3);
	loop_run(l);
	CHECK_EQ(left_, 0);
	jobs_free(js);
	lanes_free(ls);
	loop_free(l);
}

/* --- who is woken up --- */

static _Thread_local unsigned held_;    /* mutexes */
static atomic_uint signals_, signals_held_;

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	held_++;
	return __real_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	held_--;
	return __real_pthread_mutex_unlock(mutex);
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
	atomic_fetch_add(&signals_, 1);
	atomic_fetch_add(&signals_held_, held_ > 0);
	return __real_pthread_cond_signal(cond);
}

/* Whoever is woken up, by one who submits or by a runner that lets others pass, finds the mutex free. */
static void test_lanes_wake_without_mutex(void)
{
	struct jobs *js = jobs_new(1, 100);
	struct lanes *ls = lanes_new(js, 1, 100);
	struct loop *l = loop_new();

	left_ = 0;
	atomic_store(&signals_, 0);
	atomic_store(&signals_held_, 0);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(submit(ls, l, "a.example", 1, NULL), 0);
	loop_run(l);
	CHECK_EQ(left_, 0);
	CHECK(atomic_load(&signals_) >= 3); /* of eight pieces each */
	CHECK_EQ(atomic_load(&signals_held_), 0);
	jobs_free(js);
	lanes_free(ls);
	loop_free(l);
}

int main(void)
{
	RUN(test_lane_holds_its_share);
	RUN(test_lanes_dont_wait_for_each_other);
	RUN(test_lanes_leave_threads_to_others);
	RUN(test_lane_bound);
	RUN(test_lanes_end);
	RUN(test_lane_without_threads);
	RUN(test_lanes_wake_without_mutex);
	return check_done("unit.auth.lanes");
}
