#ifndef SVCPROTO_REGMSG_H
#define SVCPROTO_REGMSG_H

/*
 * The registry's messages <-> bytes (PROTOCOL.md part II): pure, no allocation. A message has the headers of part I: a batch header, then
 * frames whose bodies are property lists; `stream` and `sequence` of a frame are 0.
 */

#include "svcproto/entry.h"
#include "svcproto/props.h"

#define REG_LEASE_MS 10000u      /* what a member asks for */
#define REG_LEASE_MAX_MS 30000u
#define REG_RENEW_MS 3000u
#define REG_BEAT_MS 1000u
#define REG_SILENCE_MS 4000u     /* no beat for so long: that registry is not there */
#define REG_TOMBSTONE_MS 60000u  /* outlives the longest lease */
#define REG_KEYS_PART 12288u     /* bytes of text in one KEYS frame */
#define REG_SOURCES 8u           /* registries that a member knows */
#define REG_SECRET 32u           /* bytes of a key */
#define REG_TICKET 80u           /* name (16), cipher key (32), MAC key (32) */

enum reg_type {
	REG_ENTRY = 0x40,
	REG_NOTED = 0x41,
	REG_RENEW = 0x42,
	REG_RENEWED = 0x43,
	REG_SNAPSHOT = 0x44,
	REG_SNAPSHOT_END = 0x45,
	REG_KEYS = 0x46,
	REG_BEAT = 0x47,
	REG_SECRETS = 0x48,
	REG_SECRETS_SLOT = 0x49,
};

#define REG_GONE 0x01u     /* flags of ENTRY */
#define REG_EXPIRED 0x02u
#define REG_ENDED 0x10u         /* not critical: who does not know it waits longer */

/* What is derived from the cluster's master for one slot of time. The bytes are borrowed from the message: wipe that. */
struct reg_slot {
	uint64_t number, current;      /* of this slot, and of the one that it is now */
	uint64_t left_ms;              /* until the current one ends */
	const uint8_t *salt_key;       /* REG_SECRET bytes; the same for every slot */
	const uint8_t *dialback_key;   /* REG_SECRET bytes */
	const uint8_t *ticket_keys;    /* REG_TICKET bytes */
};

/* Everything that a frame may say; which fields count depends on the type. Texts are NUL-terminated in `text`. */
struct reg_frame {
	uint8_t type;
	struct entry e;            /* ENTRY; NOTED, RENEW and RENEWED use kind, name, owner, incarnation, version of it */
	const char *refused;       /* NOTED, RENEWED: why not; NULL: it is in force */
	uint64_t count;            /* RENEWED: entries held for this owner and key */
	uint64_t number;           /* SNAPSHOT_END: the update that it is as new as */
	uint64_t up_ms;            /* SNAPSHOT_END, BEAT */
	uint64_t serial;           /* KEYS */
	uint32_t part, parts;
	const char *keys;          /* not NUL-terminated; borrowed from the message */
	size_t keys_n;
	struct reg_slot slot;      /* SECRETS_SLOT */
	char text[4608];
};

/* A message being written. */
struct reg_message {
	uint8_t b[SVC_BATCH_MAX];
	size_t n;
};

void reg_begin(struct reg_message *m, uint32_t epoch, uint64_t number);
/* Appends a frame; false: it does not fit any more, nothing changed. */
bool reg_put(struct reg_message *m, const struct reg_frame *f);
bool reg_put_entry(struct reg_message *m, const struct entry *e);
/* authorized_keys in as many KEYS as it needs, each by put(), in f; stops when that says false. */
bool reg_keys_parts(struct reg_frame *f, const char *text_of_all, size_t n, uint64_t serial,
		    bool (*put)(void *arg, const struct reg_frame *f), void *arg);

/* The header. 0 or WIRE_E_*; then p and n are at the frames. */
int reg_header(const uint8_t **p, size_t *n, struct wire_batch *b);
/* 1: a frame; 0: the end; negative: WIRE_E_*, the message is broken. */
int reg_next(const uint8_t **p, size_t *n, struct reg_frame *f);

#endif
