#ifndef AMBROSIA_TESTS_NET_PAIR_H
#define AMBROSIA_TESTS_NET_PAIR_H

/* Two connections over loopback on one loop, or one connection and a plain socket of the test's; each end writes down what happens to it.
 */

#include "common/loop.h"
#include "net/conn.h"
#include "net/tls_ctx.h"

struct end {
	struct conn *conn;
	struct buf in;
	unsigned nr_connected, nr_data, nr_tls, nr_drained, nr_acked, nr_closed, nr_stalled, nr_waits, nr_went;
	uint64_t acked;
	enum conn_end why;
	char text[200];
	size_t biggest;                 /* slice given to data() */
	void (*on_data)(struct end *e, struct slice bytes);   /* after it was noted; or NULL */
	void (*on_closed)(struct end *e);
	struct end *other;
	SSL *ssl;                       /* for on_data */
};

extern struct loop *loop;
extern struct end a, b;                 /* a connects, b accepts */
extern int raw;                         /* pair_raw(): the test's end, blocking */
extern const struct conn_ops pair_ops;  /* arg: a struct end */
extern struct conn_limits limits;       /* of the next pair */

void pair_begin(void);                  /* loop, ends, limits anew */
void pair_open(void);                   /* a and b, connected */
void pair_raw(void);                    /* raw and b */
void pair_end(void);                    /* takes everything apart; fails the test if closed() was told twice or never */

/* Runs the loop until *n >= want; false after five seconds. */
bool run_until(const unsigned *n, unsigned want);
bool run_until_in(const struct end *e, size_t bytes);
bool run_until_acked(const struct end *e, uint64_t pos);
void run_for(unsigned ms);

/* TLS with the store's default certificate on both ends. */
struct tls_store *pair_store(void);
SSL *pair_ssl(bool server);
void pair_tls(void);                    /* pair_open() and a finished handshake */

void fill(char *p, size_t n, size_t from);            /* a pattern that tells every place from its neighbours */
bool is_pattern(struct slice s, size_t from);

#endif
