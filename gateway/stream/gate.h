#ifndef GATEWAY_STREAM_GATE_H
#define GATEWAY_STREAM_GATE_H

/* Everything a peer may say inside a stream is one row of the gate's table; the default is refusal. */

#include "stream/stream.h"

enum gate_result {
	GATE_NEXT,       /* done: the next element may come */
	GATE_WAIT,       /* the owner was asked: nothing is read until it has answered (it may have already) */
	GATE_RESTART,    /* a new stream begins */
	GATE_CLOSE,      /* the handler ended the stream */
};

typedef enum gate_result gate_fn(struct stream *s, const struct xml_element *e);

struct gate_rule {
	unsigned roles, states;   /* bits 1 << enum */
	const char *ns, *name;    /* GATE_CONTENT: the stream's content namespace; NULL: any */
	unsigned need;
	gate_fn *fn;
};

extern const char gate_content[];
#define GATE_CONTENT gate_content

const struct gate_rule *gate_rules(size_t *nr);
/* The first row that matches; NULL: refused. */
const struct gate_rule *gate_find(const struct stream *s, const struct xml_element *e);
/* Finds and runs. */
enum gate_result gate_pass(struct stream *s, const struct xml_element *e);

#endif
