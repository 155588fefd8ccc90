#include "net/admission.h"

/*
 * The bucket fills by the share of the time that passes, and by a part of what others leave of it, and each who is admitted takes from it
 * what one took so far, as a moving mean of what those who came in really took. So it needs to know nothing of the machine: where a
 * handshake is slow, or the processor is others', fewer are admitted. In advance, since a login's cost comes late, when a crowd would have
 * been let in for the little of their handshakes.
 *
 * What they then take is taken from what was paid in advance, by all of them together, and from the bucket when that is used up; and whose
 * end has come, good or bad, gives back its part of what is left. So in the end the bucket has lost what was really taken. Who came to
 * nothing teaches nothing of the cost: it is cheap to come to nothing, and a crowd would follow at that price.
 *
 * First come, first served within a class. The returning go first, but every eighth place is a new one's while any wait: what shows that
 * somebody was here before is easily made up. So who comes while anybody waits is queued, whoever he is; and an eighth of the queue the
 * returning never get as such, or there would be no new one whose turn could come: when they have the rest, who returns is as new.
 */

#define ROW_MAX 7u                  /* of the returning, while new ones wait */
#define KEPT_PART 8u                /* one part of so many of the queue's places is for those that pass for new */
#define DEBT_MAX_US 100000          /* a single long halt must not shut the door for long */
#define COST_FIRST_US 2000          /* until there is a measurement */
#define COST_WEIGHT 63              /* of the mean so far, to one of the next who comes in */
#define US_A_SECOND 1000000u
/* Whole percents of the time, what is beyond cut off, for work of those who are in: */
#define OTHERS_LITTLE 3u            /* up to here, that is below 4 %, newcomers have all that is left */
#define OTHERS_MUCH 6u              /* and from here idle_percent of it */

void admission_init(struct admission *a, const struct admission_options *o, uint64_t now_us)
{
	*a = (struct admission){.o = *o, .level_us = o->burst_us, .filled_at_us = now_us, .cost_us = COST_FIRST_US};
	for (int i = 0; i < ADMISSION_CLASSES; i++)
		TAILQ_INIT(&a->queues[i]);
}

static void give(struct admission *a, uint64_t us)
{
	a->level_us += (int64_t)us;
	if (a->level_us > (int64_t)a->o.burst_us)
		a->level_us = a->o.burst_us;
}

static void take(struct admission *a, uint64_t us)
{
	a->level_us -= (int64_t)us;
	if (a->level_us < -DEBT_MAX_US)
		a->level_us = -DEBT_MAX_US;
}

static void fill(struct admission *a, uint64_t now_us)
{
	uint64_t more;

	if (now_us <= a->filled_at_us)
		return;
	more = (now_us - a->filled_at_us) * a->o.share_percent + a->hundredths;
	a->hundredths = (unsigned)(more % 100);
	give(a, more / 100);
	a->filled_at_us = now_us;
}

uint64_t admission_give(struct admission *a, uint64_t us, uint64_t now_us)
{
	uint64_t room;

	fill(a, now_us);
	room = (uint64_t)((int64_t)a->o.burst_us - a->level_us);
	give(a, us);
	return us > room ? us - room : 0;
}

static void admitted(struct admission *a)
{
	a->level_us -= (int64_t)a->cost_us;
	a->ahead_us += a->cost_us;
	a->nr_on_the_way++;
}

static void way_is_over(struct admission *a)
{
	uint64_t back;

	ASSERT(a->nr_on_the_way > 0);
	back = a->ahead_us / a->nr_on_the_way--;
	a->ahead_us -= back;
	give(a, back);
}

static void put_in(struct admission *a, struct admission_wait *w)
{
	TAILQ_INSERT_TAIL(&a->queues[w->class_], w, link_);
	a->nr_waiting++;
	a->nr_returning += w->class_ == ADMISSION_RETURNING;
}

static void take_out(struct admission *a, struct admission_wait *w)
{
	TAILQ_REMOVE(&a->queues[w->class_], w, link_);
	w->waits_ = false;
	a->nr_waiting--;
	a->nr_returning -= w->class_ == ADMISSION_RETURNING;
}

bool admission_crowded(struct admission *a, uint64_t now_us)
{
	if (a->o.share_percent == 0)
		return false;
	fill(a, now_us);
	return a->level_us <= 0 || a->nr_waiting > 0;
}

static bool returning_are_full(const struct admission *a)
{
	return a->nr_returning >= a->o.waiting_max - a->o.waiting_max / KEPT_PART;
}

static bool make_room(struct admission *a, enum admission_class class, struct admission_wait **instead)
{
	if (a->nr_waiting < a->o.waiting_max)
		return true;
	if (class != ADMISSION_RETURNING)
		return false;
	/* of the new ones, who hold more than is kept for them */
	*instead = TAILQ_LAST(&a->queues[ADMISSION_NEW], admission_queue);
	take_out(a, *instead);
	return true;
}

enum admission_answer admission_ask(struct admission *a, struct admission_wait *w, enum admission_class class, uint64_t now_us,
				    struct admission_wait **instead)
{
	*instead = NULL;
	if (!admission_crowded(a, now_us)) {
		admitted(a);
		return ADMISSION_GO;
	}
	if (class == ADMISSION_RETURNING && returning_are_full(a))
		class = ADMISSION_NEW;
	if (!make_room(a, class, instead))
		return ADMISSION_FULL;
	*w = (struct admission_wait){.since_us_ = now_us, .class_ = class, .waits_ = true};
	put_in(a, w);
	return ADMISSION_WAIT;
}

void admission_returns(struct admission *a, struct admission_wait *w)
{
	if (!w->waits_ || w->class_ == ADMISSION_RETURNING || returning_are_full(a))
		return;
	take_out(a, w);
	w->class_ = ADMISSION_RETURNING;
	w->waits_ = true;
	put_in(a, w);
}

void admission_leave(struct admission *a, struct admission_wait *w)
{
	if (w->waits_)
		take_out(a, w);
}

void admission_charge(struct admission *a, uint64_t us, uint64_t now_us)
{
	if (a->o.share_percent == 0)
		return;
	fill(a, now_us);
	take(a, us < DEBT_MAX_US ? us : DEBT_MAX_US);
}

void admission_spent(struct admission *a, uint64_t us)
{
	uint64_t paid;

	us = us < DEBT_MAX_US ? us : DEBT_MAX_US;
	paid = us < a->ahead_us ? us : a->ahead_us;
	a->ahead_us -= paid;
	take(a, us - paid);
}

void admission_came_in(struct admission *a, uint64_t us)
{
	us = us < DEBT_MAX_US ? us : DEBT_MAX_US;
	a->cost_us = (a->cost_us * COST_WEIGHT + us) / (COST_WEIGHT + 1);
	way_is_over(a);
}

void admission_came_to_nothing(struct admission *a)
{
	way_is_over(a);
}

/* Whose turn it is, if there is time. */
static struct admission_wait *first(struct admission *a)
{
	struct admission_wait *old = TAILQ_FIRST(&a->queues[ADMISSION_RETURNING]), *new = TAILQ_FIRST(&a->queues[ADMISSION_NEW]);

	if (old == NULL || new == NULL) {
		a->row = 0;
		return old != NULL ? old : new;
	}
	if (a->row < ROW_MAX) {
		a->row++;
		return old;
	}
	a->row = 0;
	return new;
}

struct admission_wait *admission_next(struct admission *a, uint64_t now_us)
{
	struct admission_wait *w;

	fill(a, now_us);
	if (a->nr_waiting == 0 || a->level_us <= 0)
		return NULL;
	w = first(a);
	take_out(a, w);
	admitted(a);
	return w;
}

/* The one of both queues that came first, and when its patience ends. One that shows late that it returns is older than it stands. */
static struct admission_wait *oldest(const struct admission *a, uint64_t *until_us)
{
	struct admission_wait *w = NULL;

	for (int i = 0; i < ADMISSION_CLASSES; i++) {
		struct admission_wait *head = TAILQ_FIRST(&a->queues[i]);

		if (head != NULL && (w == NULL || head->since_us_ < w->since_us_))
			w = head;
	}
	*until_us = w != NULL ? w->since_us_ + (uint64_t)a->o.patience_ms * 1000 : UINT64_MAX;
	return w;
}

struct admission_wait *admission_expired(struct admission *a, uint64_t now_us)
{
	uint64_t until_us;
	struct admission_wait *w = oldest(a, &until_us);

	if (w == NULL || now_us < until_us)
		return NULL;
	take_out(a, w);
	return w;
}

uint64_t admission_open_us(struct admission *a, uint64_t now_us)
{
	if (a->o.share_percent == 0)
		return now_us;
	fill(a, now_us);
	return a->level_us > 0 ? now_us : a->filled_at_us + ((uint64_t)-a->level_us + 1) * 100 / a->o.share_percent + 1;
}

uint64_t admission_due_us(struct admission *a, uint64_t now_us)
{
	uint64_t until_us, open_us;

	if (oldest(a, &until_us) == NULL)
		return UINT64_MAX;
	open_us = admission_open_us(a, now_us);
	return open_us < until_us ? open_us : until_us;
}

unsigned admission_part(unsigned idle_percent, unsigned others_percent)
{
	if (idle_percent == 0 || others_percent >= OTHERS_MUCH)
		return idle_percent;
	if (others_percent <= OTHERS_LITTLE)
		return 100;
	return idle_percent + (100 - idle_percent) * (OTHERS_MUCH - others_percent) / (OTHERS_MUCH - OTHERS_LITTLE);
}

bool admission_is_work(unsigned others_percent)
{
	return others_percent > OTHERS_LITTLE;
}

uint32_t admission_room(const struct admission *a, unsigned percent)
{
	uint64_t rate, cost = a->cost_us > 0 ? a->cost_us : 1;

	if (a->o.share_percent == 0)
		return ADMISSION_ANY;
	rate = (uint64_t)US_A_SECOND * percent / 100 / cost;
	if (rate <= a->nr_waiting)
		return 0;
	rate -= a->nr_waiting;
	return rate < ADMISSION_ANY ? (uint32_t)rate : ADMISSION_ANY - 1;
}
