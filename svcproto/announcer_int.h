#ifndef SVCPROTO_ANNOUNCER_INT_H
#define SVCPROTO_ANNOUNCER_INT_H

/* Private to the announcer: announcer.c holds our own entries, announcer_registry.c speaks to one registry. */

#include "svcproto/announcer.h"
#include "svcproto/directory_feed.h"
#include "svcproto/zmon.h"

struct own {
	struct own *next;
	struct entry e;           /* name and public_host are owned */
	uint32_t asked, noted, refused; /* a bit for each registry */
	bool said;                /* the refusal was reported */
};

struct redirects_out;

struct registry {
	struct announcer *a;
	unsigned source;
	struct zmon dealer, sub;
	bool up;                  /* the DEALER's handshake is done */
	bool synced;              /* a snapshot is in force */
	bool begun;               /* the first part of the snapshot asked for has come */
	bool said;                /* that our key is refused was reported */
	uint64_t down_at_ms;      /* the DEALER's connection ended then; 0: it is up, or never was */
	unsigned broken;          /* handshakes in a row that failed otherwise */
	uint64_t request;         /* number of our last SNAPSHOT */
	uint64_t snapshot_due_ms; /* ask (again) at this time */
	uint64_t renew_at_ms, retry_at_ms, retry_delay_ms;
	uint64_t secrets_due_ms;  /* ask (again) at this time */
	uint64_t heard_at_ms;     /* the last beat or update; when the DEALER came up, before the first */
	uint32_t epoch;
	uint64_t number;          /* last update applied */
};

struct announcer {
	struct directory *directory;
	const struct announcer_ops *ops;
	void *arg;
	struct svc_id owner;
	uint64_t incarnation, version, requests;
	char key[41];
	struct own *own;
	struct redirects_out *redirects; /* NULL: none yet */
	struct registry registries[REG_SOURCES];
	unsigned nr;
	bool synced_said;
	bool touched;               /* something was sent since the last look: it may have eaten a descriptor's edge */
	uint64_t heard_at_ms;       /* the last word of any registry whose snapshot is in force */
	struct reg_message message; /* the one being written or read */
	struct reg_frame frame;
};

/* "tcp://HOST:PORT", n bytes. */
bool registry_endpoint_ok(const char *endpoint, size_t n);
int registry_open(struct registry *r, struct announcer *a, unsigned source, const struct announcer_options *o, const char *endpoint,
		  size_t n, const char *key);
void registry_close(struct registry *r);
/* Reads everything there is, up to a budget; true when it stopped there. */
bool registry_read(struct registry *r, uint64_t now_ms);
/* Sends everything that is due; the next time to call. */
uint64_t registry_tick(struct registry *r, uint64_t now_ms);

/* announcer.c */
void announcer_refuse(struct announcer *a, const char *what);
__attribute__((format(printf, 3, 4))) void announcer_log(struct announcer *a, enum svcproto_log level, const char *fmt, ...);
/* The registry has seen this of us: what comes next is above it. */
void announcer_exceed(struct announcer *a, uint64_t incarnation, uint64_t version);
void announcer_synced(struct announcer *a);

#endif
