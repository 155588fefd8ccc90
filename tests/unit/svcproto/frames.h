#ifndef AMBROSIA_TESTS_SVCPROTO_FRAMES_H
#define AMBROSIA_TESTS_SVCPROTO_FRAMES_H

/* One batch for each frame of the table, with fixed contents: what golden/NAME.hex holds. */

#include "svcproto/message.h"

struct sample {
	const char *name;
	enum svc_side sender;
	size_t n;
	uint8_t bytes[1024];
};

#define SAMPLES_MAX 64
size_t samples_build(struct sample v[SAMPLES_MAX]);

/* What the samples are built from. */
extern const struct svc_hello sample_hello;
extern const struct svc_open sample_open_client, sample_open_server, sample_open_peer;
extern const struct svc_refusal sample_refusal, sample_too_high;
extern const struct svc_resume sample_resume;
extern const struct message_position sample_position;
extern const struct message_attached sample_attached;

#endif
