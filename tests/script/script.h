#ifndef AMBROSIA_TESTS_SCRIPT_H
#define AMBROSIA_TESTS_SCRIPT_H

/* Reads a transcript (README.md has the language) and plays it against the stream machine in memory. */

#include "play.h"

struct script;

struct script *script_read(const char *path);         /* NULL with a line on standard error */
void script_free(struct script *s);
/* Plays it once; false with lines on standard error. */
bool script_play(struct script *s, unsigned cut);
/* All that the peer says, with marks for the owner's acts between: a seed for tests/fuzz (fuzz_stream.h has the marks). */
void script_corpus(const struct script *s, struct buf *out);
enum stream_role script_role(const struct script *s);
enum close_reason script_closed(const struct script *s); /* how the last play ended; CLOSE_MAX_: it did not */

#endif
