/*
 * A turn is: wait for events, run their callbacks, run the tasks that they queued until there are none, free what was handed to the
 * reaper, then for a short time likewise what stands behind. Nothing is freed in the middle of a turn, so no callback can find its object
 * gone. Shared with other threads are only the list of posts, and the count of those about to wake the loop; libevent itself is used from
 * one thread only and needs no locks.
 */
#include "common/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/timers.h"

/* EVLOOP_NONBLOCK alone looks again and again until nothing comes any more: what the turn's end is for would wait for that. */
#define LOOK_ONCE (EVLOOP_ONCE | EVLOOP_NONBLOCK)

struct task_list {
	struct loop_task *first;
	struct loop_task **end;
};

struct corpse {
	void (*fn)(void *p);
	void *p;
};

struct post {
	struct post *next;
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	struct event_base *base;
	struct task_list tasks; /* end of this turn */
	struct task_list later; /* end of the next */
	struct task_list behind; /* of this one and the next, as far as there is time */
	struct corpse *corpses;
	size_t nr_corpses, cap_corpses;
	uint64_t now_ms; /* 0: not read in this turn yet */
	uint64_t turn_nr;
	bool running, stopping;
	void *shared;

	struct timers timers;
	struct event alarm;
	uint64_t alarm_at_ms;    /* when the first of them is due, or sooner; UINT64_MAX: not set */

	int wake_fd;
	struct event wake;
	atomic_uint nr_waking;   /* threads that have posted and are about to wake the loop */
	pthread_mutex_t lock; /* of what follows */
	struct post *posts, **posts_end;
	bool closed;
};

static void on_wake(evutil_socket_t fd, short what, void *arg);
static void on_alarm(evutil_socket_t fd, short what, void *arg);

static void list_init(struct task_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

struct loop *loop_new(void)
{
	struct loop *l = NEW(struct loop);

	list_init(&l->tasks);
	list_init(&l->later);
	list_init(&l->behind);
	l->posts_end = &l->posts;
	pthread_mutex_init(&l->lock, NULL);
	l->alarm_at_ms = UINT64_MAX;
	l->base = event_base_new();
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->base == NULL || l->wake_fd < 0 ||
	    event_assign(&l->wake, l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l) < 0 || event_add(&l->wake, NULL) < 0 ||
	    evtimer_assign(&l->alarm, l->base, on_alarm, l) < 0) {
		loop_free(l);
		return NULL;
	}
	return l;
}

static void reap_all(struct loop *l)
{
	/* by index: a destructor may hand in more, and the array may move */
	for (size_t i = 0; i < l->nr_corpses; i++) {
		struct corpse c = l->corpses[i];

		c.fn(c.p);
	}
	l->nr_corpses = 0;
}

static void free_posts(struct post *p)
{
	while (p) {
		struct post *next = p->next;

		free(p);
		p = next;
	}
}

void loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	ASSERT(!l->running);
	reap_all(l);
	free(l->corpses);
	free_posts(l->posts);
	timers_clear(&l->timers);
	if (l->wake.ev_base)
		event_del(&l->wake);
	if (l->alarm.ev_base)
		event_del(&l->alarm);
	if (l->base)
		event_base_free(l->base);
	while (atomic_load(&l->nr_waking) > 0)
		sched_yield();
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void **loop_shared(struct loop *l)
{
	return &l->shared;
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

/* Apart, so that who asks again in a turn needs no room for it. */
static __attribute__((noinline)) uint64_t look_at_clock(struct loop *l)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	l->now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	return l->now_ms;
}

uint64_t loop_now_ms(struct loop *l)
{
	return l->running && l->now_ms != 0 ? l->now_ms : look_at_clock(l);
}

uint64_t loop_turn_nr(const struct loop *l)
{
	return l->turn_nr;
}

static void run_first(struct loop *l, struct task_list *list)
{
	struct loop_task *t = list->first;

	loop_task_cancel(l, t);
	t->fn(t->arg);
}

static void settle(struct loop *l)
{
	while (l->tasks.first || l->nr_corpses) {
		while (l->tasks.first)
			run_first(l, &l->tasks);
		reap_all(l);
	}
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* begun_us: when the turn's work began; 0: not known. */
static void end_turn(struct loop *l, uint64_t begun_us)
{
	uint64_t now, part, until;

	settle(l);
	if (l->behind.first == NULL)
		return;
	now = now_us();
	part = begun_us != 0 ? (now - begun_us) / LOOP_BEHIND_PART : 0;
	until = now + (part > LOOP_BEHIND_US ? part : LOOP_BEHIND_US);
	do {
		run_first(l, &l->behind);
		settle(l);
	} while (l->behind.first && now_us() < until);
}

/* What yielded in the last turn is due at the end of the one that begins. */
static void take_later(struct loop *l)
{
	if (l->later.first == NULL)
		return;
	*l->tasks.end = l->later.first;
	l->later.first->prev_ = l->tasks.end;
	l->tasks.end = l->later.end;
	list_init(&l->later);
}

static void begin_turn(struct loop *l)
{
	take_later(l);
	l->now_ms = 0;
	l->turn_nr++;
}

static void run_posts(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	struct post *p = l->posts;
	l->posts = NULL;
	l->posts_end = &l->posts;
	pthread_mutex_unlock(&l->lock);

	while (p) {
		struct post *next = p->next;

		p->fn(p->arg);
		free(p);
		p = next;
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;
	ssize_t ignored = read(fd, &count, sizeof count);

	(void)what;
	(void)ignored;
	run_posts(arg);
}

void loop_run(struct loop *l)
{
	ASSERT(!l->running);
	l->running = true;
	l->now_ms = 0;
	if (!l->stopping) {
		pthread_mutex_lock(&l->lock);
		l->closed = false;
		pthread_mutex_unlock(&l->lock);
	}
	end_turn(l, 0); /* what was queued before the loop ran must not wait for an event */
	while (!l->stopping) {
		begin_turn(l);
		uint64_t begun_us = l->behind.first ? now_us() : 0; /* then it does not wait, and all is work */
		int flags = l->tasks.first || l->behind.first ? LOOK_ONCE : EVLOOP_ONCE;
		int err = event_base_loop(l->base, flags);
		ASSERT(err >= 0);
		end_turn(l, begun_us);
	}
	run_posts(l);
	end_turn(l, 0);
	l->stopping = false;
	l->running = false;
}

void loop_turn(struct loop *l)
{
	ASSERT(!l->running);
	l->running = true;
	begin_turn(l);
	uint64_t begun_us = now_us();
	int err = event_base_loop(l->base, LOOK_ONCE);
	ASSERT(err >= 0);
	run_posts(l);
	end_turn(l, begun_us);
	l->running = false;
}

void loop_stop(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->closed = true;
	pthread_mutex_unlock(&l->lock);
	l->stopping = true;
	event_base_loopbreak(l->base);
}

void loop_task_init(struct loop_task *t, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_task){.fn = fn, .arg = arg};
}

static void append(struct task_list *list, struct loop_task *t)
{
	if (t->prev_ != NULL)
		return;
	t->next_ = NULL;
	t->prev_ = list->end;
	*list->end = t;
	list->end = &t->next_;
}

void loop_task_queue(struct loop *l, struct loop_task *t)
{
	append(&l->tasks, t);
}

void loop_task_queue_next(struct loop *l, struct loop_task *t)
{
	append(&l->later, t);
}

void loop_task_queue_behind(struct loop *l, struct loop_task *t)
{
	append(&l->behind, t);
}

void loop_task_cancel(struct loop *l, struct loop_task *t)
{
	if (t->prev_ == NULL)
		return;
	*t->prev_ = t->next_;
	if (t->next_)
		t->next_->prev_ = t->prev_;
	else if (l->tasks.end == &t->next_)
		l->tasks.end = t->prev_;
	else if (l->later.end == &t->next_)
		l->later.end = t->prev_;
	else
		l->behind.end = t->prev_;
	t->prev_ = NULL;
}

void loop_reap(struct loop *l, void (*fn)(void *p), void *p)
{
	if (l->nr_corpses == l->cap_corpses) {
		l->cap_corpses = l->cap_corpses ? l->cap_corpses * 2 : 16;
		l->corpses = mem_resize(l->corpses, l->cap_corpses * sizeof *l->corpses);
	}
	l->corpses[l->nr_corpses++] = (struct corpse){fn, p};
}

int loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct post *p = NEW(struct post);
	uint64_t one = 1;

	*p = (struct post){.fn = fn, .arg = arg};
	pthread_mutex_lock(&l->lock);
	if (l->closed) {
		pthread_mutex_unlock(&l->lock);
		free(p);
		return -ERR_CLOSED;
	}
	bool first = l->posts == NULL;
	*l->posts_end = p;
	l->posts_end = &p->next;
	if (first)
		atomic_fetch_add(&l->nr_waking, 1);
	pthread_mutex_unlock(&l->lock);
	/* Not under the lock: the loop wakes up at once, would find it taken, and wait until this thread, which may be a nicer one, has a
	 * processor again. Only a counter at its end refuses the write, and then the loop is awake anyway. */
	if (first) {
		ssize_t ignored = write(l->wake_fd, &one, sizeof one);
		(void)ignored;
		atomic_fetch_sub(&l->nr_waking, 1);
	}
	return 0;
}

/* ---- timers ---- */

static void set_alarm(struct loop *l)
{
	const struct loop_timer *t = timers_first(&l->timers);

	if (t == NULL || t->due_at_ >= l->alarm_at_ms)
		return;
	uint64_t now = loop_now_ms(l), in_ms = t->due_at_ > now ? t->due_at_ - now : 0;
	struct timeval in = {.tv_sec = (time_t)(in_ms / 1000), .tv_usec = (suseconds_t)(in_ms % 1000 * 1000)};
	int err = evtimer_add(&l->alarm, &in);
	ASSERT(err == 0);
	l->alarm_at_ms = t->due_at_;
}

/* libevent reads a coarse clock and may come some milliseconds early: who compares times would find the deadline unmet. What is set
 * meanwhile is for another turn. */
static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t now = loop_now_ms(l);
	uint32_t serial = l->timers.serial;
	struct loop_timer *t;

	(void)fd;
	(void)what;
	while (!l->stopping && (t = timers_first(&l->timers)) != NULL && t->due_at_ <= now && timers_before(t, serial)) {
		timers_remove(&l->timers, t);
		t->fn(t->arg);
	}
	l->alarm_at_ms = UINT64_MAX;
	set_alarm(l);
}

void loop_timer_init(struct loop *l, struct loop_timer *t, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_timer){.fn = fn, .arg = arg, .loop_ = l};
}

void loop_timer_set(struct loop_timer *t, uint64_t in_ms)
{
	uint64_t now = loop_now_ms(t->loop_);

	t->due_at_ = in_ms < UINT64_MAX - now ? now + in_ms : UINT64_MAX;
	timers_put(&t->loop_->timers, t);
	set_alarm(t->loop_);
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (t->place_ != 0)
		timers_remove(&t->loop_->timers, t);
}

bool loop_timer_pending(const struct loop_timer *t)
{
	return t->place_ != 0;
}
