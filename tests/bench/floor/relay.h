#ifndef AMBROSIA_BENCH_RELAY_H
#define AMBROSIA_BENCH_RELAY_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLIENTS_MAX 256u

struct bytes {
	char *p;
	size_t at, n, size;
};

/* Both end the program when what it can't do without is not there. */
void relay_need(bool ok, const char *what);
void relay_append(struct bytes *b, const void *p, size_t n);
/* A piece for a client, behind what is there for it; nothing where there is no such client. */
void relay_queue(uint32_t addressee, const char *p, size_t n);
/* Whose a piece is: the first one of a stanza, its start tag whole, tells. */
uint32_t relay_addressee(uint32_t sender, bool first, const char *p, size_t n);

/* relay_link.c. The TLS side's end: what the service's has to know goes to standard output. */
void link_start(struct event_base *base);
/* A piece of a stanza, head and body one behind the other. */
void link_pass(uint32_t sender, bool first, const char *head, size_t head_n, const char *body, size_t body_n);
/* Sends what this turn has for the service and queues what came from there; whether more may be waiting. */
bool link_turn(void);
/* The service: it never returns. */
_Noreturn void link_serve(const char *endpoint, const char *key);

#endif
