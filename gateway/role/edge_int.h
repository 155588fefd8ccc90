#ifndef GATEWAY_ROLE_EDGE_INT_H
#define GATEWAY_ROLE_EDGE_INT_H

/* Private to edge.c and edge_count.c: what is counted of a connection, for the worker and for /metrics. */

#include "role/edge.h"

void edge_count_begin(struct edge *e);              /* it has a stream */
void edge_count_end(struct edge *e);                /* it goes */
void edge_count_state(struct edge *e);              /* the stream may have come to another state */
void edge_count_held(struct edge *e, bool held);
/* What waits in e->kept is held like what has not ended. */
void edge_count_kept(struct edge *e);
/* After a feed: what it holds of a stanza that has not ended. Who has to go for that, be it e, is closed. True: it made progress. */
bool edge_count_unfinished(struct edge *e);

#endif
