#include "net/shares.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "common/hash.h"

/* Strangers are known while they hold a place or wait for one, so that what is kept of them is bounded by what is. */

enum { PART = 8 };                /* of the places that are left */

struct share {
	struct stranger *of;
	void *arg;                    /* while it waits */
	unsigned nr_holders;
	bool waits;
	TAILQ_ENTRY(share) link;      /* while it waits */
};

struct stranger {
	struct shares *all;
	unsigned nr_held;
	TAILQ_HEAD(, share) waiting;  /* first come, first served */
	TAILQ_ENTRY(stranger) link;   /* while any waits */
	size_t who_n;
	char who[];
};

struct shares {
	unsigned max, nr_taken;
	void (*room)(void *arg);
	void *arg;
	struct hash *strangers;
	TAILQ_HEAD(, stranger) waiting;  /* whose turn it is comes first */
};

struct shares *shares_new(unsigned max, void (*room)(void *arg), void *arg)
{
	struct shares *s = NEW(struct shares);

	s->max = max;
	s->room = room;
	s->arg = arg;
	s->strangers = hash_new();
	TAILQ_INIT(&s->waiting);
	return s;
}

void shares_free(struct shares *s)
{
	if (s == NULL)
		return;
	hash_free(s->strangers);
	free(s);
}

unsigned shares_taken(const struct shares *s)
{
	return s->nr_taken;
}

/* --- strangers ------------------------------------------------------------ */

static struct stranger *stranger_of(struct shares *s, struct slice who)
{
	struct stranger *x = hash_get(s->strangers, who);

	if (x != NULL)
		return x;
	x = mem_alloc(sizeof *x + who.n);
	x->all = s;
	x->who_n = who.n;
	memcpy(x->who, who.p, who.n);
	TAILQ_INIT(&x->waiting);
	(void)hash_put(s->strangers, who, x);
	return x;
}

static void forget_if_idle(struct stranger *x)
{
	if (x->nr_held > 0 || !TAILQ_EMPTY(&x->waiting))
		return;
	(void)hash_del(x->all->strangers, (struct slice){x->who, x->who_n});
	free(x);
}

static bool may_have_one(const struct stranger *x)
{
	unsigned left = x->all->max - x->all->nr_taken;

	return x->nr_held == 0 ? left > 0 : x->nr_held * PART < left;
}

static void take(struct share *p)
{
	p->waits = false;
	p->of->nr_held++;
	p->of->all->nr_taken++;
}

static void leave_queue(struct share *p)
{
	struct stranger *x = p->of;

	TAILQ_REMOVE(&x->waiting, p, link);
	if (TAILQ_EMPTY(&x->waiting))
		TAILQ_REMOVE(&x->all->waiting, x, link);
}

/* --- places --------------------------------------------------------------- */

struct share *shares_ask(struct shares *s, struct slice who, void *arg)
{
	struct stranger *x = stranger_of(s, who);
	struct share *p = NEW(struct share);

	p->of = x;
	p->arg = arg;
	p->nr_holders = 1;
	if (TAILQ_EMPTY(&x->waiting) && may_have_one(x)) {
		take(p);
		return p;
	}
	p->waits = true;
	if (TAILQ_EMPTY(&x->waiting))
		TAILQ_INSERT_TAIL(&s->waiting, x, link);
	TAILQ_INSERT_TAIL(&x->waiting, p, link);
	return p;
}

void *shares_next(struct shares *s)
{
	struct stranger *x = TAILQ_FIRST(&s->waiting);
	struct share *p;

	while (x != NULL && !may_have_one(x))
		x = TAILQ_NEXT(x, link);
	if (x == NULL)
		return NULL;
	p = TAILQ_FIRST(&x->waiting);
	leave_queue(p);
	take(p);
	if (!TAILQ_EMPTY(&x->waiting)) {
		TAILQ_REMOVE(&s->waiting, x, link);
		TAILQ_INSERT_TAIL(&s->waiting, x, link);
	}
	return p->arg;
}

bool share_is_place(const struct share *p)
{
	return !p->waits;
}

struct slice share_who(const struct share *p)
{
	return (struct slice){p->of->who, p->of->who_n};
}

struct share *share_ref(struct share *p)
{
	ASSERT(!p->waits);
	p->nr_holders++;
	return p;
}

void share_drop(struct share *p)
{
	struct stranger *x = p != NULL ? p->of : NULL;
	struct shares *s = x != NULL ? x->all : NULL;

	if (p == NULL || --p->nr_holders > 0)
		return;
	if (p->waits) {
		leave_queue(p);
	} else {
		x->nr_held--;
		s->nr_taken--;
		if (!TAILQ_EMPTY(&s->waiting))
			s->room(s->arg);
	}
	free(p);
	forget_if_idle(x);
}
