#ifndef REGISTRY_SERVER_INT_H
#define REGISTRY_SERVER_INT_H

/* Private to the registry's thread: server.c is its life and its keys, requests.c what members ask. */

#include <pthread.h>
#include <stdatomic.h>

#include "registry/authorized_keys.h"
#include "registry/kept.h"
#include "registry/members.h"
#include "registry/publish.h"
#include "registry/secrets.h"
#include "registry/server.h"
#include "registry/snapshots.h"
#include "registry/sockets.h"
#include "registry/watch.h"

struct registry_server {
	struct registry_sockets sockets;
	struct watch watch;           /* authorized_keys on disk */
	struct zap *zap;              /* borrowed */
	struct registry_table *table; /* the thread's, once it runs */
	struct authorized_keys keys;  /* text in force */
	struct svc_key key;
	struct secrets_master master;
	struct publisher publisher;
	struct kept_redirects kept;
	struct snapshots *snapshots; /* what members have asked for */
	struct members *members;     /* by which connections they speak */
	struct reg_message in, out;
	struct reg_frame frame;
	char endpoint[256];           /* as first bound: for every thread */
	char state_dir[2048], keys_path[2304];
	unsigned nr_announced, nr_withdrawn; /* registrations that the message at hand changed */
	int wake_fd, lock_fd;
	uint64_t beat_at_ms;
	atomic_bool stopping, reload;
	/* registry_counts, for other threads */
	atomic_uint nr_gateways, nr_registrations, nr_keys;
	_Atomic uint64_t serial, beat_was_ms;
	atomic_bool bound;
	uint64_t counted;             /* the publisher's number when they were taken */
	pthread_t thread;
	bool all_read;                /* the last turn left no request waiting */
	bool running;
};

uint64_t registry_now_ms(void);    /* monotonic */
uint64_t registry_wall_ms(void);

/* Takes one message off the ROUTER and answers it. False: nothing there. */
bool requests_serve_one(struct registry_server *s);
/* Their arg: the server. */
extern const struct snapshots_ops requests_snapshots;
extern const struct members_ops requests_members;

#endif
