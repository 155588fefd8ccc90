#include "net/handshakes.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "common/jobs.h"
#include "common/log.h"
#include "common/stat.h"
#include "net/conn_int.h"
#include "net/handshakes_int.h"
#include "net/hello.h"

/*
 * Connections wait with what they have said still in the kernel's buffer, so that one that waits costs no TLS memory, and nothing that an
 * attacker can ask for but a look at it.
 */

/* Of one connection, by the end of the stage; in 16 bits. An honest one needs a twentieth of it. */
#define ACCEPT_MAX_US 2000
#define LOGIN_MAX_US 20000
#define KEYS_MAX_US 1000000  /* more than admission takes for one that comes in */

#define TURNED_AWAY_A_TURN 4
#define LOOK_MS 5            /* so often, while anybody waits, is it looked what others leave */
#define LOOK_SOON_MS 1       /* and so often where newcomers have this part of it: the bucket must not be full before */
#define LOOK_SOON_PART 40u
#define LOOK_MAX_US 100000
#define BESIDE_LOOK_MS 50    /* for so long it tells where a step is to run, when nobody waits, and so much of the time it must tell of */
#define OF_LATE_US 250000    /* when what work others have is known by so much of the time, half of it is forgotten */
#define AROUND_PART 3        /* one part of so many of what is charged for a login is what arrives and leaves around it uncharged */
#define LOGINS_QUEUE 64
#define STEPS_QUEUE 256u              /* of all workers; then they run where they come up, and are charged there */
#define LATELY_MIN_US 500000         /* between two looks for the sake of room */
#define LATELY_MAX_US 10000000

struct conn_wait {
	struct admission_wait w;     /* first */
	struct conn *c;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void tell(struct handshakes *h)
{
	if (h->login.nr_waiting > 0 && log_once_a_second(&h->told_ms))
		log_info("handshakes", 0, "crowded", "waiting=%zu", h->login.nr_waiting);
}

static unsigned percent(uint64_t us, uint64_t passed_us)
{
	return passed_us > 0 ? (unsigned)(us * 100 / passed_us) : 0;
}

static uint64_t beyond(uint64_t us, uint64_t part_us)
{
	return us > part_us ? us - part_us : 0;
}

/* Of both stages together. */
static unsigned share(const struct handshakes *h)
{
	return h->accept.o.share_percent + h->login.o.share_percent;
}

static unsigned idle_percent(const struct handshakes *h)
{
	return h->accept.o.idle_percent + h->login.o.idle_percent;
}

/* Percent of the time that others worked of late; when that is known. */
static unsigned others(const struct handshakes *h)
{
	return percent(beyond(h->late.ran_us, h->late.taken_us), h->late.passed_us);
}

/* Of what others leave beside the share, by the work that they had. No more than the operator says while that is not known, and while
 * logins queue for job threads, of which there are few for all workers together: who finds their queue full fails. */
static unsigned part(const struct handshakes *h)
{
	if (h->late.passed_us == 0 || (int64_t)stat_sum(STAT_logins_waiting) > LOGINS_QUEUE)
		return idle_percent(h);
	return admission_part(idle_percent(h), others(h));
}

static void arm(struct handshakes *h)
{
	uint64_t now = now_us(), due = admission_due_us(&h->login, now), ms = due > now ? (due - now + 999) / 1000 : 0;
	uint64_t look = part(h) > LOOK_SOON_PART ? LOOK_SOON_MS : LOOK_MS;

	tell(h);
	if (h->login.o.idle_percent > 0 && ms > look)
		ms = look;
	if (due == UINT64_MAX)
		loop_timer_cancel(&h->timer);
	else if (!loop_timer_pending(&h->timer))
		loop_timer_set(&h->timer, ms);
}

/* It is out of the queue. */
static struct conn *forget(struct admission_wait *w)
{
	struct conn *c = ((struct conn_wait *)w)->c;

	free(c->wait);
	c->wait = NULL;
	stat_add(STAT_handshakes_waiting, (uint64_t)-1);
	return c;
}

static struct conn *let_in(struct conn *c)
{
	c->admitted = true;
	c->charged_us = 0; /* from here on it is for its login */
	c->keys_us = 0;
	return c;
}

static void turn_away(struct handshakes *h, struct conn *c)
{
	stat_add(STAT_handshakes_shed, 1);
	if (log_once_a_second(&h->warned_ms))
		log_warn("handshakes", 0, "shed", "waiting=%zu why=\"more clients and servers come than are admitted\"",
			 h->login.nr_waiting);
	conn_turned_away(c);
}

static void remember(struct handshakes *h, uint64_t ran_us, uint64_t taken_us, uint64_t passed_us)
{
	if (h->late.passed_us >= OF_LATE_US) {
		h->late.passed_us /= 2;
		h->late.ran_us /= 2;
		h->late.taken_us /= 2;
	}
	h->late.passed_us += passed_us;
	h->late.ran_us += ran_us;
	h->late.taken_us += taken_us;
}

/* Others leave what is idle, and what newcomers took. Of that, beside the share, which the buckets have anyway, a part is given to them:
 * a quarter of it to who is to be accepted, and to those who log in the rest and what the former have no room for. Only while anybody
 * waits, or a step is about to run: the look is a system call. */
static void give_what_is_left(struct handshakes *h, uint64_t now)
{
	uint64_t passed = now - h->idle.looked_at_us, taken = h->theirs_us, around = h->around_us, left;
	struct idle_seen seen;

	if (h->login.o.idle_percent == 0)
		return;
	h->theirs_us = h->around_us = 0;
	if (!idle_since_look(&h->idle, now, LOOK_MAX_US, &seen)) {
		h->late = (struct handshakes_late){0};
		return;
	}
	remember(h, seen.ran_us, taken + around, passed);
	left = seen.idle_us + taken < passed ? seen.idle_us + taken : passed;
	left = beyond(left, passed * share(h) / 100) * part(h) / 100;
	(void)admission_give(&h->login, left - left / 4 + admission_give(&h->accept, left / 4, now), now);
}

static void on_timer(void *arg)
{
	struct handshakes *h = arg;
	struct admission_wait *w;

	for (int i = 0; i < TURNED_AWAY_A_TURN && (w = admission_expired(&h->login, now_us())) != NULL; i++)
		turn_away(h, forget(w));
	give_what_is_left(h, now_us());
	while ((w = admission_next(&h->login, now_us())) != NULL)
		conn_admitted(let_in(forget(w)));
	arm(h);
}

/* At what it said first, until that tells all that it can. */
static bool returns(struct handshakes *h, struct conn *c)
{
	uint64_t begun = handshakes_begin(h);
	char *scratch = net_shared_scratch(c->shared);
	ssize_t n = recv(c->ch.fd, scratch, CONN_READ_MAX, MSG_PEEK);
	enum hello hello = n > 0 ? hello_look((struct slice){scratch, (size_t)n}) : HELLO_PARTIAL;

	c->looked_through = hello != HELLO_PARTIAL;
	handshakes_end(h, HANDSHAKES_ACCEPT, begun, &c->charged_us);
	return hello == HELLO_RETURNING;
}

bool handshakes_enter(struct handshakes *h, struct conn *c)
{
	uint64_t now = now_us();
	/* who does not have to wait is not looked at */
	enum admission_class class = admission_crowded(&h->login, now) && returns(h, c) ? ADMISSION_RETURNING : ADMISSION_NEW;
	struct conn_wait *wait = NEW(struct conn_wait);
	struct admission_wait *instead;
	enum admission_answer answer = admission_ask(&h->login, &wait->w, class, now, &instead);

	if (instead != NULL)
		turn_away(h, forget(instead));
	if (answer == ADMISSION_WAIT) {
		wait->c = c;
		c->wait = wait;
		stat_add(STAT_handshakes_waiting, 1);
		stat_add(STAT_handshakes_delayed, 1);
		arm(h);
		return false;
	}
	free(wait);
	if (answer == ADMISSION_FULL)
		turn_away(h, c);
	else
		(void)let_in(c);
	return answer == ADMISSION_GO;
}

void handshakes_more(struct handshakes *h, struct conn *c)
{
	if (!c->looked_through && returns(h, c))
		admission_returns(&h->login, &c->wait->w);
}

void handshakes_leave(struct handshakes *h, struct conn *c)
{
	if (c->admitted)
		admission_came_to_nothing(&h->login);
	c->admitted = false;
	if (c->wait == NULL)
		return;
	admission_leave(&h->login, &c->wait->w);
	(void)forget(&c->wait->w);
}

void handshakes_came_in(struct handshakes *h, struct conn *c)
{
	if (!c->admitted)
		return;
	admission_came_in(&h->login, (uint64_t)c->charged_us + c->keys_us);
	h->around_us += c->charged_us / AROUND_PART;
	c->admitted = false;
}

bool handshakes_are_paced(const struct handshakes *h)
{
	return h != NULL && h->login.o.share_percent > 0;
}

uint64_t handshakes_begin(const struct handshakes *h)
{
	return h != NULL ? now_us() : 0;
}

/* As much of it as the bound leaves. */
static uint64_t put_on(uint16_t *charged_us, enum handshakes_stage stage, uint64_t us)
{
	uint64_t max = stage == HANDSHAKES_ACCEPT ? ACCEPT_MAX_US : LOGIN_MAX_US, left = max > *charged_us ? max - *charged_us : 0;

	us = us < left ? us : left;
	*charged_us = (uint16_t)(*charged_us + us);
	return us;
}

void handshakes_end(struct handshakes *h, enum handshakes_stage stage, uint64_t begun, uint16_t *charged_us)
{
	uint64_t now = h != NULL && begun != 0 ? now_us() : 0, us;

	if (now <= begun)
		return;
	us = charged_us != NULL ? put_on(charged_us, stage, now - begun) : now - begun;
	h->taken_us += us;
	h->theirs_us += us;
	if (stage == HANDSHAKES_ACCEPT)
		admission_charge(&h->accept, us, now);
	else
		admission_spent(&h->login, us);
}

/* It is not deducted from what this thread ran, of which it is none: as much of others' work would seem to be newcomers'. A part of it is
 * when the login comes in (AROUND_PART), as of all that a login is charged: what arrives and leaves around one does so here, wherever its
 * steps ran. */
void handshakes_took_elsewhere(struct handshakes *h, uint64_t us, uint16_t *charged_us)
{
	admission_spent(&h->login, charged_us != NULL ? put_on(charged_us, HANDSHAKES_LOGIN, us) : us);
}

/* By less of the time nothing is: the kernel counts a thread that runs by ticks, of up to 4 ms, and those who have much work may have none
 * for some milliseconds. */
static bool others_are_known(const struct handshakes *h)
{
	return h->late.passed_us >= BESIDE_LOOK_MS * 1000;
}

/* What was seen long ago says nothing of now, and what is not known is no idleness: who is first after a while makes no more than a detour,
 * where others could be disturbed by a whole crowd. */
static bool others_are_idle(struct handshakes *h)
{
	uint64_t now = now_us(), good_ms = others_are_known(h) ? BESIDE_LOOK_MS : LOOK_MS;

	if (now - h->idle.looked_at_us >= good_ms * 1000)
		give_what_is_left(h, now);
	return others_are_known(h) && !admission_is_work(others(h));
}

/* Where the operator leaves them nothing nobody looks at what others do. */
struct jobs *handshakes_elsewhere(struct handshakes *h)
{
	if (!handshakes_are_paced(h) || h->jobs == NULL)
		return NULL;
	return idle_percent(h) > 0 && others_are_idle(h) ? NULL : h->jobs;
}

struct jobs *handshakes_jobs_new(void)
{
	struct jobs *jobs = jobs_new(jobs_computing_max(), STEPS_QUEUE);

	if (jobs == NULL)
		log_warn("handshakes", 0, "no-threads", "why=\"the system has none: workers answer newcomers, which others feel\"");
	return jobs;
}

uint64_t handshakes_accept_in_ms(struct handshakes *h)
{
	uint64_t now, open;

	if (h == NULL)
		return 0;
	now = now_us();
	open = admission_open_us(&h->accept, now);
	if (open > now && now - h->idle.looked_at_us >= LOOK_MS * 1000) {
		give_what_is_left(h, now);
		open = admission_open_us(&h->accept, now);
	}
	return (open - now + 999) / 1000;
}

/* Whoever it was for, it is spent; taught it is by the one that it was for, should that come in. */
void handshakes_charge(struct handshakes *h, struct conn *c, uint64_t us)
{
	admission_spent(&h->login, us);
	if (c != NULL && c->admitted)
		c->keys_us = (uint32_t)(us < KEYS_MAX_US - c->keys_us ? c->keys_us + us : KEYS_MAX_US);
}

/* Others leave what newcomers took, too. Where it is not known there is only the share. */
static void on_look(void *arg)
{
	struct handshakes *h = arg;
	uint64_t now = now_us(), passed = now - h->lately.looked_at_us, taken = h->taken_us, left;
	struct idle_seen seen;

	h->taken_us = 0;
	left = idle_since_look(&h->lately, now, LATELY_MAX_US, &seen) ? seen.idle_us + taken : 0;
	h->was_left[1] = h->was_left[0];
	h->was_left[0] = percent(left < passed ? left : passed, passed);
}

/* The lower of two looks, so that one quiet second promises nothing; and idle_percent of it however little others do, since those who come
 * will be others. Looked in a task: who asks before the loop runs is another thread. */
uint32_t handshakes_room(struct handshakes *h)
{
	unsigned left = h->was_left[0] < h->was_left[1] ? h->was_left[0] : h->was_left[1];

	if (h->login.o.idle_percent > 0 && now_us() - h->lately.looked_at_us >= LATELY_MIN_US)
		loop_task_queue(h->loop, &h->look);
	return admission_room(&h->login, h->login.o.share_percent + (unsigned)beyond(left, share(h)) * h->login.o.idle_percent / 100);
}

size_t handshakes_waiting(const struct handshakes *h)
{
	return h != NULL ? h->login.nr_waiting : 0;
}

struct handshakes *handshakes_new(struct loop *l, const struct admission_options *o, struct jobs *jobs)
{
	struct handshakes *h = NEW(struct handshakes);

	struct admission_options first = *o, second = *o;

	/* nobody gets in by either alone: both have something, or both no limit */
	if (o->share_percent > 1)
		first.share_percent = o->share_percent < 8 ? 1 : o->share_percent / 4;
	first.idle_percent = o->idle_percent / 4;
	second.idle_percent -= first.idle_percent;
	second.share_percent -= o->share_percent > 1 ? first.share_percent : 0;
	h->loop = l;
	h->jobs = jobs;
	admission_init(&h->accept, &first, now_us());
	admission_init(&h->login, &second, now_us());
	loop_timer_init(l, &h->timer, on_timer, h);
	loop_task_init(&h->look, on_look, h);
	return h;
}

void handshakes_free(struct handshakes *h)
{
	if (h == NULL)
		return;
	ASSERT(h->login.nr_waiting == 0);
	loop_timer_cancel(&h->timer);
	loop_task_cancel(h->loop, &h->look);
	idle_close(&h->idle);
	idle_close(&h->lately);
	free(h);
}
