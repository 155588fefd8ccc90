#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "common/err.h"
#include "common/loop.h"

/* What happened, in order, as letters. */
static char trace[256];
static struct loop *loop;

static void note(char c)
{
	size_t n = strlen(trace);

	if (n + 1 < sizeof trace) {
		trace[n] = c;
		trace[n + 1] = '\0';
	}
}

#define LETTER(c) ((void *)(intptr_t)(c))

static void set_up(void)
{
	trace[0] = '\0';
	loop = loop_new();
}

static void on_note(void *arg)
{
	note((char)(intptr_t)arg);
}

static void on_stop(void *arg)
{
	(void)arg;
	note('.');
	loop_stop(loop);
}

static uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct loop_task task_a, task_b, task_c;

static void on_a(void *arg)
{
	(void)arg;
	note('a');
	loop_reap(loop, on_note, LETTER('r'));
	loop_task_queue(loop, &task_b);
	loop_task_queue(loop, &task_b); /* once is enough */
	loop_task_queue(loop, &task_c);
}

/* Tasks queued before the loop runs do not wait for an event; tasks of tasks run in the same turn; reaping comes after all of them. */
static void test_tasks_then_reaper(void)
{
	set_up();
	loop_task_init(&task_a, on_a, NULL);
	loop_task_init(&task_b, on_note, LETTER('b'));
	loop_task_init(&task_c, on_stop, NULL);
	loop_task_queue(loop, &task_a);
	loop_run(loop);
	CHECK_STR(trace, "ab.r");
	loop_free(loop);
}

static void test_cancel(void)
{
	struct loop_task t[4];

	set_up();
	for (int i = 0; i < 4; i++)
		loop_task_init(&t[i], on_note, LETTER('x' + i));
	loop_task_init(&task_c, on_stop, NULL);
	for (int i = 0; i < 3; i++)
		loop_task_queue(loop, &t[i]);
	loop_task_cancel(loop, &t[1]);
	loop_task_cancel(loop, &t[1]);
	loop_task_cancel(loop, &t[2]); /* the last one: the list's end moves back */
	loop_task_queue(loop, &task_c);
	loop_task_queue_next(loop, &t[1]);
	loop_task_queue_next(loop, &t[2]);
	loop_task_cancel(loop, &t[2]);
	loop_task_queue_next(loop, &t[3]);
	loop_run(loop);
	CHECK_STR(trace, "x.");
	loop_turn(loop);
	CHECK_STR(trace, "x.y{");
	loop_free(loop);
}

static int turns;

static void on_yield(void *arg)
{
	note('y');
	if (++turns == 3)
		loop_stop(loop);
	else
		loop_task_queue_next(loop, arg);
}

/* A task that yields comes back once a turn, without an event, and others get their turn in between. */
static void test_yield(void)
{
	struct loop_timer t;

	set_up();
	turns = 0;
	loop_task_init(&task_a, on_yield, &task_a);
	loop_timer_init(loop, &t, on_note, LETTER('t'));
	loop_timer_set(&t, 0);
	loop_task_queue(loop, &task_a);
	loop_run(loop);
	CHECK_EQ(turns, 3);
	CHECK(strchr(trace, 't') != NULL);
	CHECK_EQ(trace[0], 'y');
	loop_free(loop);
}

static struct loop_task hogs[3];

/* Takes more than the time that there is, and has something that is done with it. */
static void on_hog(void *arg)
{
	struct timespec begun, now;

	note((char)(intptr_t)arg);
	loop_task_queue(loop, &task_b);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - begun.tv_sec) * 1000000 + (now.tv_nsec - begun.tv_nsec) / 1000 <= LOOP_BEHIND_US);
}

/* What stands behind comes after the turn's other work, one a turn when that takes long, and what comes meanwhile goes first. */
static void test_behind(void)
{
	set_up();
	loop_task_init(&task_a, on_note, LETTER('a'));
	loop_task_init(&task_b, on_note, LETTER('b'));
	loop_task_init(&task_c, on_note, LETTER('c'));
	for (int i = 0; i < 3; i++) {
		loop_task_init(&hogs[i], on_hog, LETTER('1' + i));
		loop_task_queue_behind(loop, &hogs[i]);
	}
	loop_task_queue(loop, &task_a);
	loop_turn(loop);
	CHECK_STR(trace, "a1b");
	loop_task_queue(loop, &task_c);
	loop_task_cancel(loop, &hogs[2]);
	loop_turn(loop);
	CHECK_STR(trace, "a1bc2b");
	loop_task_queue_behind(loop, &task_a); /* the list's end has moved back */
	loop_task_queue_behind(loop, &task_c);
	loop_turn(loop);
	CHECK_STR(trace, "a1bc2bac");
	loop_free(loop);
}

/* A long turn. */
static void on_long(void *arg)
{
	struct timespec begun, now;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &begun);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000 < 20);
}

/* Behind a long turn there is more time, so that who stands there has his share: two that take more than the least time are done in one
 * turn. In one of many: a machine may have no processor for us just then. */
static void test_behind_a_long_turn(void)
{
	bool both = false;

	for (int try = 0; try < 50 && !both; try++) {
		set_up();
		loop_task_init(&task_a, on_long, NULL);
		loop_task_init(&task_b, on_note, LETTER('b'));
		for (int i = 0; i < 2; i++) {
			loop_task_init(&hogs[i], on_hog, LETTER('1' + i));
			loop_task_queue_behind(loop, &hogs[i]);
		}
		loop_task_queue(loop, &task_a);
		loop_turn(loop);
		both = strchr(trace, '2') != NULL;
		loop_free(loop);
	}
	CHECK(both);
}

static void on_unread(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	note('e');
	loop_task_queue_behind(loop, arg);
}

/* An event that nobody serves does not keep a turn from its end, nor the loop awake that has work from doing it. */
static void test_event_unserved(void)
{
	struct event ev;
	int fds[2];

	set_up();
	loop_task_init(&task_a, on_hog, LETTER('1'));
	loop_task_init(&task_b, on_note, LETTER('b'));
	loop_task_init(&task_c, on_stop, NULL);
	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(write(fds[1], "x", 1), 1);
	CHECK_EQ(event_assign(&ev, loop_base(loop), fds[0], EV_READ | EV_PERSIST, on_unread, &task_c), 0);
	event_add(&ev, NULL);
	loop_task_queue_behind(loop, &task_a);
	loop_run(loop);
	CHECK_STR(trace, "1be.");
	event_del(&ev);
	close(fds[0]);
	close(fds[1]);
	loop_free(loop);
}

static void on_nested_reap(void *arg)
{
	note('n');
	for (int i = 0; i < 40; i++) /* the reaper's array moves under its feet */
		loop_reap(loop, free, malloc(1));
	loop_reap(loop, on_note, arg);
}

static void test_reaper_nests(void)
{
	set_up();
	loop_reap(loop, on_nested_reap, LETTER('r'));
	loop_free(loop);
	CHECK_STR(trace, "nr");
}

enum { POSTERS = 4, POSTS = 5000 };
static int got[POSTERS], got_total;

struct posted {
	int who, number;
};

static void on_post(void *arg)
{
	struct posted *p = arg;

	CHECK_EQ(p->number, got[p->who]); /* in order for each thread */
	got[p->who]++;
	free(p);
	if (++got_total == POSTERS * POSTS)
		loop_stop(loop);
}

static void *poster(void *arg)
{
	int who = (int)(intptr_t)arg;

	for (int i = 0; i < POSTS; i++) {
		struct posted *p = NEW(struct posted);

		*p = (struct posted){who, i};
		if (loop_post(loop, on_post, p) < 0)
			abort();
	}
	return NULL;
}

static void test_posts(void)
{
	pthread_t t[POSTERS];

	set_up();
	for (int i = 0; i < POSTERS; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, poster, (void *)(intptr_t)i), 0);
	loop_run(loop);
	for (int i = 0; i < POSTERS; i++) {
		pthread_join(t[i], NULL);
		CHECK_EQ(got[i], POSTS);
	}
	loop_free(loop);
}

static void on_stop_and_post(void *arg)
{
	(void)arg;
	CHECK_EQ(loop_post(loop, on_note, LETTER('1')), 0);
	loop_stop(loop);
	CHECK_EQ(loop_post(loop, on_note, LETTER('2')), -ERR_CLOSED);
}

/* What was taken runs, what was refused does not, and a second run opens the loop again. */
static void test_posts_around_stop(void)
{
	set_up();
	CHECK_EQ(loop_post(loop, on_stop_and_post, NULL), 0);
	loop_run(loop);
	CHECK_STR(trace, "1");
	CHECK_EQ(loop_post(loop, on_note, LETTER('3')), -ERR_CLOSED);
	loop_task_init(&task_c, on_stop, NULL);
	loop_task_queue(loop, &task_c);
	loop_run(loop);
	CHECK_STR(trace, "1.");
	loop_free(loop);
}

static void test_posts_never_run(void)
{
	set_up();
	CHECK_EQ(loop_post(loop, on_note, LETTER('x')), 0);
	loop_free(loop);
	CHECK_STR(trace, "");
}

struct timed {
	struct loop_timer t;
	uint64_t due_at;
};
static int nr_early, nr_left;

static void on_timed(void *arg)
{
	struct timed *t = arg;

	nr_early += loop_now_ms(loop) < t->due_at;
	if (--nr_left == 0)
		loop_stop(loop);
}

static void test_timers_never_early(void)
{
	struct timed t[50];
	uint64_t begin = clock_ms();

	set_up();
	nr_left = 50;
	for (int i = 0; i < 50; i++) {
		loop_timer_init(loop, &t[i].t, on_timed, &t[i]);
		loop_timer_set(&t[i].t, (uint64_t)i);
		t[i].due_at = loop_now_ms(loop) + (uint64_t)i - 1; /* the clock may step between the two calls */
		CHECK(loop_timer_pending(&t[i].t));
	}
	loop_run(loop);
	CHECK_EQ(nr_early, 0);
	CHECK(clock_ms() - begin >= 49);
	CHECK(!loop_timer_pending(&t[49].t));
	loop_free(loop);
}

static void test_timer_cancel(void)
{
	struct loop_timer a, b, never = {.fn = NULL};

	set_up();
	loop_timer_cancel(&never);
	CHECK(!loop_timer_pending(&never));
	loop_timer_init(loop, &a, on_note, LETTER('a'));
	loop_timer_init(loop, &b, on_stop, NULL);
	loop_timer_set(&a, 1);
	loop_timer_set(&b, 5);
	loop_timer_cancel(&a);
	loop_timer_cancel(&a);
	CHECK(!loop_timer_pending(&a));
	loop_timer_set(&b, 20); /* anew */
	uint64_t begin = clock_ms();
	loop_run(loop);
	CHECK(clock_ms() - begin >= 19);
	CHECK_STR(trace, ".");
	loop_free(loop);
}

static struct loop_timer at_once;

static void on_at_once(void *arg)
{
	note('t');
	loop_task_queue(loop, &task_a);
	if (strlen(trace) < 5)
		loop_timer_set(&at_once, 0);
	else
		on_stop(arg);
}

/* A timer that sets itself anew for now waits for its next turn. */
static void test_timer_at_once(void)
{
	set_up();
	loop_task_init(&task_a, on_note, LETTER('|'));
	loop_timer_init(loop, &at_once, on_at_once, NULL);
	loop_timer_set(&at_once, 0);
	loop_run(loop);
	CHECK_STR(trace, "t|t|t.|");
	loop_free(loop);
}

/* Who is freed after its loop may still cancel. */
static void test_timer_outlives_loop(void)
{
	struct loop_timer t;

	set_up();
	loop_timer_init(loop, &t, on_note, LETTER('t'));
	loop_timer_set(&t, UINT64_MAX);
	CHECK(loop_timer_pending(&t));
	loop_free(loop);
	CHECK(!loop_timer_pending(&t));
	loop_timer_cancel(&t);
}

static void on_sleepy(void *arg)
{
	uint64_t before = loop_now_ms(loop);
	const struct timespec nap = {.tv_nsec = 20000000};

	(void)arg;
	nanosleep(&nap, NULL);
	CHECK_EQ(loop_now_ms(loop), before); /* one reading for each turn */
	loop_stop(loop);
}

static void test_clock(void)
{
	set_up();
	loop_task_init(&task_a, on_sleepy, NULL);
	loop_task_queue(loop, &task_a);
	uint64_t before = loop_now_ms(loop);
	loop_run(loop);
	CHECK(loop_now_ms(loop) >= before + 20); /* outside a turn it is read each time */
	loop_free(loop);
}

static void test_turn(void)
{
	struct loop_timer t;

	set_up();
	loop_timer_init(loop, &t, on_note, LETTER('t'));
	loop_timer_set(&t, 60000);
	loop_task_init(&task_a, on_note, LETTER('a'));
	loop_task_queue(loop, &task_a);
	loop_reap(loop, on_note, LETTER('r'));
	CHECK_EQ(loop_post(loop, on_note, LETTER('p')), 0);
	loop_turn(loop);
	CHECK_STR(trace, "par");
	loop_turn(loop); /* nothing to do: returns all the same */
	CHECK_STR(trace, "par");
	loop_timer_cancel(&t);
	loop_free(loop);
	loop_free(NULL);
}

int main(void)
{
	RUN(test_tasks_then_reaper);
	RUN(test_cancel);
	RUN(test_yield);
	RUN(test_behind);
	RUN(test_behind_a_long_turn);
	RUN(test_event_unserved);
	RUN(test_reaper_nests);
	RUN(test_posts);
	RUN(test_posts_around_stop);
	RUN(test_posts_never_run);
	RUN(test_timers_never_early);
	RUN(test_timer_cancel);
	RUN(test_timer_at_once);
	RUN(test_timer_outlives_loop);
	RUN(test_clock);
	RUN(test_turn);
	return check_done("unit.common.loop");
}
