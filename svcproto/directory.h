#ifndef SVCPROTO_DIRECTORY_H
#define SVCPROTO_DIRECTORY_H

/* The merged view of the registries, pure (DESIGN.md section 4). One for each thread that needs it; fed by svcproto/announcer.h. */

#include "svcproto/link.h"

struct directory;
struct keyset;

enum directory_kind { DIR_GATEWAY = 1, DIR_REGISTRATION = 2, DIR_REDIRECT = 3, DIR_KEY = 4 };

struct directory_gateway {
	struct svc_id owner;          /* the worker's instance id */
	uint64_t incarnation;
	const char *endpoint;         /* svcproto ROUTER */
	const char *key;              /* Z85 of its CURVE public key */
	const char *public_host;
	uint16_t client_port;         /* where clients reach it by STARTTLS; 0: it takes none */
	uint32_t load;
	bool has_room;                /* it has said how many new clients it can take: */
	uint32_t room;                /* in the next second */
	bool draining;
	bool dead; /* with gone: its process has ended, by its own word or by its kernel's; otherwise it may still be there */
};

struct directory_registration {
	struct svc_id instance;       /* the service instance's id */
	uint64_t incarnation;
	const char *key;              /* Z85 of the service's key */
	const char *domain;
	unsigned types;               /* SVCPROTO_CLIENT | SVCPROTO_SERVER */
	const char *policy;           /* "round-robin" or "hash" */
	uint32_t weight;
	bool reopens;                 /* failover "reopen": its streams may go on at another instance once it is known dead */
	bool locate_open;             /* redirects may come before authentication */
	bool certificates_only;       /* other servers are known by their certificates, never by dialback */
	bool draining;
};

struct directory_ops {
	/* A gateway entry appeared, changed (incarnation, endpoint), or went (gone). May be NULL. */
	void (*gateway)(void *arg, const struct directory_gateway *g, bool gone);
	/* A registration appeared, changed or went. May be NULL. */
	void (*registration)(void *arg, const struct directory_registration *r, bool gone);
	/* authorized_keys were replaced as a whole. May be NULL. */
	void (*keys)(void *arg);
};

/* Callbacks run inside the feed; they may ask the directory, not free it. */
struct directory *directory_new(const struct directory_ops *ops, void *arg);
void directory_free(struct directory *d);

/* Registrations of a domain that take `type`, whose key is authorised for it; fn non-zero stops. */
int directory_each_registration(struct directory *d, const char *domain, unsigned type,
				int (*fn)(void *arg, const struct directory_registration *r), void *arg);
/* Registrations of all domains, whether their keys may or not. */
int directory_every_registration(struct directory *d, int (*fn)(void *arg, const struct directory_registration *r), void *arg);
/* Where this user (prepared bare JID) is to be sent, by a redirect of its own or of its whole domain. NULL: nowhere. Borrowed until the
 * directory is fed. */
const char *directory_redirect(const struct directory *d, const char *bare_jid, uint64_t now_ms);
struct directory_redirect {
	const char *name, *host;      /* "user@domain" or "domain"; as other_host_ok() wants it */
	const char *key;              /* who set it */
	uint64_t left_ms;
};
int directory_each_redirect(const struct directory *d, uint64_t now_ms, int (*fn)(void *arg, const struct directory_redirect *r),
			    void *arg);
int directory_each_gateway(struct directory *d, int (*fn)(void *arg, const struct directory_gateway *g), void *arg);
/* A walk over all that is shown, a part at a time: entries may come, change and go in between; one that was there all the time is told of
 * once. To be ended before the directory. */
struct entry;
struct directory_walk {
	struct directory *directory;
	const struct entry *next_;
	struct directory_walk *chain_;
};
struct directory_walk_ops {
	void (*gateway)(void *arg, const struct directory_gateway *g);           /* may be NULL */
	void (*registration)(void *arg, const struct directory_registration *r); /* likewise */
};
void directory_walk_begin(struct directory_walk *w, struct directory *d);
/* Looks at so many entries; false at the end. */
bool directory_walk(struct directory_walk *w, unsigned nr, const struct directory_walk_ops *ops, void *arg);
void directory_walk_end(struct directory_walk *w);
/* Local: written in authorized_keys, or ever registered (DESIGN.md 3.1). Never looked up in DNS, never believed from outside. */
bool directory_is_local(const struct directory *d, const char *domain);
enum directory_role { DIR_ROLE_NONE, DIR_ROLE_SERVICE, DIR_ROLE_ADMIN, DIR_ROLE_GATEWAY };
/* The role of a key, DIR_ROLE_NONE if it is not in authorized_keys. */
enum directory_role directory_role(const struct directory *d, const char *key_z85);
/* May this key register and send from this domain, as this type? The most specific line owns a domain. */
bool directory_may(const struct directory *d, const char *key_z85, const char *domain, unsigned type);
/* Entries that this key announced for an owner that has a live link here are kept although every registry has lost them. Tell both ends
 * of it. */
int directory_set_linked(struct directory *d, const char *key_z85, const struct svc_id *owner, bool linked);
bool directory_has_keys(const struct directory *d);   /* false until authorized_keys have arrived */
const struct keyset *directory_keys(const struct directory *d); /* those in force, until the next keys event; NULL: none */

#endif
