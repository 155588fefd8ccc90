#ifndef GATEWAY_ROUTE_BACKOFF_H
#define GATEWAY_ROUTE_BACKOFF_H

/*
 * Which remote domains are not to be dialled for a while, since dialling them failed: a time that doubles from failure to failure, with
 * jitter, during which the last failure's reason is the answer. When it is over one attempt is let through, and the others hear the old
 * reason until that one's outcome is known. Bounded: the domain that was not asked about for longest is forgotten. Pure: times and random
 * numbers are arguments.
 */

#include "common/obj.h"

enum {
	BACKOFF_FIRST_MS = 2000,
	BACKOFF_MAX_MS = 5 * 60 * 1000,    /* after an outage of ours, say: nobody should have to wait for hours */
	BACKOFF_STEADY_MS = 60 * 1000,     /* a connection that lasted as long was a good one */
	BACKOFF_HINT_MS = 60 * 1000,       /* between hints that count: who calls us all day need not be dialled as often */
	BACKOFF_DOMAINS_MAX = 8192,
};

struct backoff;

/* random(arg, below): 0 to below - 1. */
struct backoff *backoff_new(uint32_t (*random)(void *arg, uint32_t below), void *arg);
void backoff_free(struct backoff *b);

/* May the domain be dialled now? Whoever is told so says how it ended: by one of failed, worked and abandoned. If not: *reason is what
 * backoff_failed was told. */
bool backoff_may(struct backoff *b, const char *domain, uint64_t now_ms, int *reason);
/* No connection came to be, or one that broke before it was BACKOFF_STEADY_MS old. */
void backoff_failed(struct backoff *b, const char *domain, uint64_t now_ms, int reason);
/* A stream stands: more may follow. What failed before counts on until backoff_worked. */
void backoff_reached(struct backoff *b, const char *domain, uint64_t now_ms);
/* It did what it was for. */
void backoff_worked(struct backoff *b, const char *domain);
/* Whoever dialled gave it up: nothing is known. */
void backoff_abandoned(struct backoff *b, const char *domain);
/* The domain was heard from: the next attempt need not wait, if the last hint was BACKOFF_HINT_MS ago. */
void backoff_hint(struct backoff *b, const char *domain, uint64_t now_ms);
size_t backoff_count(const struct backoff *b);

#endif
