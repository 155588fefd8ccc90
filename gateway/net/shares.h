#ifndef GATEWAY_NET_SHARES_H
#define GATEWAY_NET_SHARES_H

/*
 * How much strangers may have us do at a time. There are so many places in all, and one stranger may hold an eighth of those that are left:
 * one alone has a ninth of them all, many have ever fewer, and who holds none finds one while there is any. Who finds none waits, each
 * behind his own; strangers take turns, however much each of them has waiting. A place is held for as long as what was begun in it costs
 * anything, whether or not somebody still wants it. Pure.
 */

#include "common/obj.h"

struct shares;
/* A place, or the wait for one. */
struct share;

/* room(arg) when places are given back while others wait for one: shares_next() is to be called, not inside. */
struct shares *shares_new(unsigned max, void (*room)(void *arg), void *arg);
void shares_free(struct shares *s);                   /* after the last share_drop(); takes NULL */
/* One for the stranger of that name (any bytes, copied): a place, or the wait for one. To be dropped. */
struct share *shares_ask(struct shares *s, struct slice who, void *arg);
/* Who waited and has a place now: what shares_ask was given as arg. NULL: nobody waits, or may have one. */
void *shares_next(struct shares *s);
unsigned shares_taken(const struct shares *s);

bool share_is_place(const struct share *p);           /* waits no more */
struct slice share_who(const struct share *p);        /* borrowed for as long as p is held */
/* One more holder of p, which is a place. */
struct share *share_ref(struct share *p);
/* The last holder's gives the place back, or ends the wait. Takes NULL. */
void share_drop(struct share *p);

#endif
