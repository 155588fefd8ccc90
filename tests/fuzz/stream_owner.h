#ifndef AMBROSIA_TESTS_STREAM_OWNER_H
#define AMBROSIA_TESTS_STREAM_OWNER_H

/*
 * An owner of a stream machine that does what the input says, and what must always hold: nothing is sent inside a handshake or after the
 * end, what is sent is XML that our own parser takes, nobody is established who was not let in, no stanza comes before that, and the end
 * comes once.
 */

#include "stream/stream.h"

void fuzz_stream(enum stream_role role, const uint8_t *data, size_t n);

#endif
