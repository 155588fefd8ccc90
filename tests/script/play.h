#ifndef AMBROSIA_TESTS_PLAY_H
#define AMBROSIA_TESTS_PLAY_H

/*
 * The owner of a stream machine, in memory: collects what the machine sends and asks, gives the answers it is told to give. Bytes from the
 * peer are fed in pieces, whole or cut.
 */

#include "common/buf.h"
#include "stream/stream.h"

enum { PLAY_WHOLE = 0, PLAY_BYTES = 1 };   /* cut: these, or else the seed of random cuts */

#define PLAY_WORDS 8

struct play_config {
	struct stream_params params;
	struct stream_limits limits;
	const char *hosts[PLAY_WORDS], *mechs[PLAY_WORDS], *bindings[PLAY_WORDS];   /* NULL-terminated, owned */
	char *from, *to, *see_other_host;                                           /* owned */
	bool own_certificate, peer_unacceptable, no_key, asks_peer, certificates_only;
};

void play_config_init(struct play_config *c);
void play_config_clear(struct play_config *c);

struct play;

struct play *play_new(const struct play_config *c, unsigned cut);
void play_free(struct play *p);

struct stream *play_stream(struct play *p);
struct buf *play_output(struct play *p);            /* what was sent and not looked at yet */
/* What all plays send is also added to this buffer, borrowed, from here on; NULL ends that. */
void play_tap(struct buf *to);
char *play_event(struct play *p);                   /* the oldest event, owned by the caller; NULL when there is none */
void play_peer_says(struct play *p, struct slice bytes);
/* An answer or another act of the owner, in words; false when there is no such act. */
bool play_act(struct play *p, char **words, unsigned nr);
/* The same, inside the next question. */
void play_act_inside(struct play *p, char **words, unsigned nr);
bool play_has_inside(const struct play *p);
enum close_reason play_closed(const struct play *p); /* CLOSE_MAX_ while it lives */

/* Bytes as words: NUL, control characters and backslash escaped. */
void play_escape(struct buf *out, struct slice bytes);
/* The other way: \n \r \t \0 \\ \xNN. */
void play_unescape(struct buf *out, struct slice text);
/* valid, invalid or error, and back. */
enum stream_verdict play_verdict(const char *word);
const char *play_verdict_word(enum stream_verdict v);
/* How much of `got` the pattern takes from its front; -1 when it does not fit. "..." is anything, "$ID" 32 hexadecimal digits. */
ssize_t play_match(const char *pattern, struct slice got);

#endif
