#ifndef AMBROSIA_TESTS_SVCPROTO_PAIR_H
#define AMBROSIA_TESTS_SVCPROTO_PAIR_H

/* Two engines joined by two queues of batches, every event written down as a line. */

#include "svcproto/engine.h"

#define WIRE_BATCHES 4096u

struct wire_queue {
	uint8_t *p[WIRE_BATCHES];
	size_t n[WIRE_BATCHES];
	size_t head, tail;
};

struct end {
	struct svc_link *l;
	const char *name;
	struct wire_queue out;  /* what this end sent and the other has not got */
	int send_rc;            /* answered by send() instead of taking, when not 0 */
	size_t room;            /* batches that send() still takes; SIZE_MAX: any number */
	bool auto_accept, auto_ack;
	struct svc_stream *last; /* of the last event with a live stream, NULL after its end */
	void (*hook)(struct end *e, const char *event, struct svc_stream *s, uint32_t seq); /* runs inside the callback */
	char log[16384];
	size_t log_n;
	uint64_t stanza_bytes, nr_stanzas, nr_batches;
	uint32_t unacked_seen;
	bool quiet;             /* no lines for stanza and acked */
};

struct pair {
	struct end gw, sv;
	uint64_t now;
};

void pair_init(struct pair *p, const struct svc_hello *gw, const struct svc_hello *sv); /* NULL: defaults. Not started. */
void pair_up(struct pair *p);      /* start, deliver, forget the log */
void pair_clear(struct pair *p);
void pair_flush(struct pair *p);
bool pair_deliver_one(struct pair *p, struct end *from); /* false: nothing there */
void pair_drop(struct end *from, size_t nr);             /* loses the oldest batches */
void pair_pump(struct pair *p);    /* flush and deliver until nothing moves, nor waits for company */
void pair_tick(struct pair *p, uint64_t ms);             /* time passes on both sides, then flush; nothing is delivered */
const char *pair_log(struct end *e); /* the lines since the last call, joined by "; " */

struct svc_stream *pair_open(struct pair *p, const char *bare_jid);          /* client stream by the gateway, accepted */
void frame_put(uint8_t *batch, size_t *n, uint8_t type, uint8_t flags, uint32_t stream, uint32_t seq, const void *body, uint32_t body_n);
/* Feeds one hand-made frame to `to` as the next batch of its epoch. */
void pair_inject(struct pair *p, struct end *to, uint8_t type, uint8_t flags, uint32_t stream, uint32_t seq, const void *body, uint32_t n);

#endif
