#ifndef AMBROSIA_TESTS_STREAM_OWNER_INT_H
#define AMBROSIA_TESTS_STREAM_OWNER_INT_H

/* The owner itself, shared by stream_owner.c (questions, bytes) and stream_acts.c (what it does). */

#include "stream_owner.h"

#define MUST(cond) ((cond) ? (void)0 : obj_bug(__FILE__, __LINE__, #cond))

struct owner {
	struct stream *s;
	struct xml_parser *mirror;     /* reads what is sent */
	unsigned options;
	enum stream_role role;
	bool let_in, established, closed, in_tls, mirror_done, asked_pair;
	bool exchange, auth_asked;     /* of SASL: one at a time; we are to answer */
	char *from, *to, *id;          /* of the last dialback question */
	struct stream_counts counts;
	char pending;                  /* the mark that answers the next question inside */
	struct buf rest;
	uint32_t random;
	uint64_t now_ms;
	size_t negotiated;             /* bytes taken before it was established */
};

/* What the mark stands for, at any time. */
void owner_act(struct owner *o, char mark);

#endif
