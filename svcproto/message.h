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
};

struct message_ping {
	uint64_t sent, received;
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
void message_put_accept(struct props_writer *w, const char *full_jid);
void message_put_refuse(struct props_writer *w, const struct svc_refusal *r);
void message_put_close(struct props_writer *w, const char *condition, const char *text);

void message_put_admin(struct props_writer *w, const char *command, const struct svcproto_property *v, size_t nr);
void message_put_admin_reply(struct props_writer *w, const char *error, const struct svcproto_property *v, size_t nr);

int message_get_hello(const struct wire_frame *f, struct message_hello *m);
int message_get_welcome(const struct wire_frame *f, struct message_welcome *m);
int message_get_reset(const struct wire_frame *f, struct message_text *t, const char **reason);
int message_get_ping(const struct wire_frame *f, struct message_ping *m);
int message_get_open(const struct wire_frame *f, struct message_text *t, struct svc_open *o); /* 1: a kind that is not known */
int message_get_accept(const struct wire_frame *f, struct message_text *t, const char **full_jid);
int message_get_refuse(const struct wire_frame *f, struct message_text *t, struct svc_refusal *r);
int message_get_close(const struct wire_frame *f, struct message_text *t, const char **condition, const char **text);

int message_get_admin(const struct wire_frame *f, struct message_admin *m);

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
