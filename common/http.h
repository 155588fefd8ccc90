#ifndef AMBROSIA_COMMON_HTTP_H
#define AMBROSIA_COMMON_HTTP_H

#include "common/buf.h"
#include "common/loop.h"

/*
 * A small HTTP/1.1 server (RFC 9112) for what watches this process: GET alone, one request for each connection, no body, nothing kept
 * between requests. Bounded: connections, bytes of a request and of an answer, and the time that one may take. The Host field is not looked
 * at.
 */
struct http_server;

#define HTTP_ANSWER_MAX (4u << 20)

struct http_answer {
	int status;              /* 200, 404 or 503 */
	const char *type;        /* static: media type */
	struct buf body;         /* HTTP_ANSWER_MAX; what is added beyond is refused */
};

/* Fills the answer for a path without its query ("/healthz"), on the loop's thread. It comes with status 404 and an empty body. */
typedef void http_get(void *arg, struct slice path, struct http_answer *out);

/* Binds a numeric address. A descriptor, or a negative errno with a line in why. */
int http_listen(const char *host, uint16_t port, uint16_t *port_out, char *why, size_t why_size);
/* Takes fd. */
struct http_server *http_server_new(struct loop *l, int fd, http_get *get, void *arg);
void http_server_free(struct http_server *s);    /* ends its connections; NULL is allowed; not inside get() */

#endif
