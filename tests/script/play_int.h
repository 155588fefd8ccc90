#ifndef AMBROSIA_TESTS_PLAY_INT_H
#define AMBROSIA_TESTS_PLAY_INT_H

/* The owner itself, shared by play.c (questions, events, bytes) and acts.c (what it does). */

#include "play.h"

#define EVENTS_MAX 256

struct play {
	const struct play_config *c;
	struct stream *s;
	struct buf out, rest;
	char *events[EVENTS_MAX];
	unsigned first, nr;
	char *inside[PLAY_WORDS];
	unsigned nr_inside;
	unsigned cut;
	uint64_t now_ms;
	enum close_reason closed;
	struct stream_counts counts;
	bool pumping;
	char *verify_id; /* of the last db:verify; NULL: there was none */
	bool exchange;   /* of SASL; like the stream machine, the owner has one at a time */
};

/* Feeds what is left as long as the machine takes it. */
void play_pump(struct play *p);

#endif
