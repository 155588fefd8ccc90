#ifndef SVCPROTO_MESSAGE_H
#define SVCPROTO_MESSAGE_H

/* The bodies that are property lists <-> structs (PROTOCOL.md section 5). Putting cannot fail but by overflow, getting checks ranges too.
 */

#include "svcproto/props.h"

/* Ranges of the limits in HELLO and WELCOME. */
#define MESSAGE_STANZA_MIN 10000u /* RFC 6120 section 13.12 */
#define MESSAGE_BYTES_MAX (1u << 30)
#define MESSAGE_WINDOW_MIN 4096u
#define MESSAGE_UNACKED_MAX 65536u

struct message_hello {
	struct svc_hello who;
	uint32_t version_min, version_max;
	char reason[256]; /* why the epoch before ended, "" when there was none */
};

struct message_welcome {
	struct svc_hello who;
	uint32_t version;
	char refused[256]; /* "": welcome */
	uint32_t streams_held; /* of earlier epochs: as many REATTACH follow */
};

struct message_ping {
	uint64_t sent, received;
};

/* Where one side of a stream is, when it is attached anew. */
struct message_position {
	uint32_t generation;
	uint32_t received, handled; /* stanzas of the other side: the last whole one, and the last of the unbroken row */
	uint32_t credit;            /* bytes that the other side may send from here */
};

struct message_attached {
	struct message_position at;
	const char *full_jid; /* of a resumption, or NULL */
	uint32_t acked;       /* of a resumption: the last stanza that the client has handled */
	bool enabled;         /* the rest has meaning */
	uint32_t base_to_service, base_to_gateway, resume_s;
};

/* Holds the NUL-terminated texts of one frame: each property costs more bytes on the wire than its text and a NUL. */
struct message_text {
	size_t n;
	char b[WIRE_PROPS_MAX];
};

/* ADMIN and ADMIN_REPLY (admin.c): their own property, command or error, and all others as texts. */
struct message_admin {
	const char *word; /* command or error; NULL: none */
	size_t nr;
	struct svcproto_property v[SVC_ADMIN_PROPS_MAX];
	struct message_text text;
};

void message_put_hello(struct props_writer *w, const struct message_hello *m);
void message_put_welcome(struct props_writer *w, const struct message_welcome *m);
void message_put_reset(struct props_writer *w, const char *reason);
void message_put_ping(struct props_writer *w, const struct message_ping *m);
void message_put_open(struct props_writer *w, const struct svc_open *o);
void message_put_accept(struct props_writer *w, const char *full_jid, uint32_t stanza_bytes_max); /* NULL and 0: none */
void message_put_refuse(struct props_writer *w, const struct svc_refusal *r);
void message_put_close(struct props_writer *w, const char *condition, const char *text);

void message_put_admin(struct props_writer *w, const char *command, const struct svcproto_property *v, size_t nr);
void message_put_admin_reply(struct props_writer *w, const char *error, const struct svcproto_property *v, size_t nr);

int message_get_hello(const struct wire_frame *f, struct message_hello *m);
int message_get_welcome(const struct wire_frame *f, struct message_welcome *m);
int message_get_reset(const struct wire_frame *f, struct message_text *t, const char **reason);
int message_get_ping(const struct wire_frame *f, struct message_ping *m);
int message_get_open(const struct wire_frame *f, struct message_text *t, struct svc_open *o); /* 1: a kind that is not known */
int message_get_accept(const struct wire_frame *f, struct message_text *t, const char **full_jid, uint32_t *stanza_bytes_max);
int message_get_refuse(const struct wire_frame *f, struct message_text *t, struct svc_refusal *r);
int message_get_close(const struct wire_frame *f, struct message_text *t, const char **condition, const char **text);

/* Stream management and resumption (message_resume.c). */
void message_put_enable(struct props_writer *w, uint32_t base_to_service, uint32_t resume_s);
void message_put_enabled(struct props_writer *w, uint32_t base_to_gateway, uint32_t resume_s);
void message_put_reattach(struct props_writer *w, const struct svc_id *id, const struct message_position *p);
void message_put_resume(struct props_writer *w, const struct svc_resume *r);
void message_put_attached(struct props_writer *w, const struct message_attached *a);
int message_get_enable(const struct wire_frame *f, uint32_t *base_to_service, uint32_t *resume_s);
int message_get_enabled(const struct wire_frame *f, uint32_t *base_to_gateway, uint32_t *resume_s);
int message_get_reattach(const struct wire_frame *f, struct svc_id *id, struct message_position *p);
int message_get_resume(const struct wire_frame *f, struct message_text *t, struct svc_resume *r);
int message_get_attached(const struct wire_frame *f, struct message_text *t, struct message_attached *a);
bool message_resume_fits(const struct svc_resume *r);

/* What the getters share. */
int message_parse(const struct wire_frame *f, struct props_value v[PROP_COUNT]);
const char *message_text(struct message_text *t, const struct props_value *v); /* NULL when absent */
bool message_flag(const struct props_value *v);

int message_get_admin(const struct wire_frame *f, struct message_admin *m);
void message_put_locate(struct props_writer *w, const char *bare_jid);
void message_put_located(struct props_writer *w, const struct svc_located *m);
int message_get_locate(const struct wire_frame *f, struct message_text *t, const char **bare_jid);
int message_get_located(const struct wire_frame *f, struct message_text *t, struct svc_located *m); /* request: the frame's sequence */

bool message_may_open(enum svc_kind kind, enum svc_side opener);
/* Would the peer take this? */
bool message_open_fits(const struct svc_open *o);
bool message_refuse_fits(const struct svc_refusal *r);
/* Names, each once, and values that the peer would take; `command` and `error` are not the caller's to give. */
bool message_admin_fits(const struct svcproto_property *v, size_t nr);
bool message_limits_ok(const struct svc_hello *h);

/* The prefix of a rejected stanza: u16 length, then type and condition as a list. Returns its size, 0 if they do not fit. */
size_t message_put_reject(uint8_t p[WIRE_REJECT_MAX], const char *type, const char *condition);
/* *used is the prefix's size. */
int message_get_reject(const uint8_t *p, size_t n, struct message_text *t, const char **type, const char **condition, size_t *used);

#endif
