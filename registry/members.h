#ifndef REGISTRY_MEMBERS_H
#define REGISTRY_MEMBERS_H

/*
 * Over which connection each member last spoke, so that one whose process has died is known to be gone before its lease ends: the kernel
 * ends a dead process's connections at once, and a living one is back within a few tries. Pure; times are arguments, in milliseconds.
 */

#include <stdbool.h>
#include <stdint.h>

#include "svcproto/directory.h"

#define MEMBERS_GONE_MS 2000u     /* without a new connection: as PROTOCOL.md section 16 says */
#define MEMBERS_SPEAK_MS 4500u    /* they renew every 3 s; a kernel that hears nothing ends a connection after 5 s (svcproto/zlife.c) */
#define MEMBERS_TURN_MS 250u      /* members_turn() is called so often; after twice that it was late */
#define MEMBERS_MAX 65536u        /* who comes beyond is known by its lease alone */

struct members;

struct members_ops {
	/* Is the connection behind this routing id there? */
	bool (*connected)(void *arg, const void *route, size_t route_n);
	/* It ended, and its member came by no other. died: the connection ended while the member spoke, as the process that had it ended;
	 * else after a silence, in which a network may have broken, or when we were late ourselves and can't tell. Not from within may
	 * members_* be called. */
	void (*gone)(void *arg, const struct svc_id *owner, const char *key, bool died);
};

struct members *members_new(const struct members_ops *ops, void *arg); /* NULL: no memory */
void members_free(struct members *m);                                   /* NULL is allowed */
/* This owner, under this key, holds something here and has just spoken by this connection. fd: a hint at it, which may be used again once
 * it has ended. */
void members_spoke(struct members *m, const struct svc_id *owner, const char *key, const void *route, size_t route_n, int fd,
		   uint64_t now_ms);
/* Every MEMBERS_TURN_MS, and before ends are told. Who is held up reads late what was said before: then an end tells nothing of a death. */
void members_turn(struct members *m, uint64_t now_ms);
/* A connection ended that had this descriptor. */
void members_ended(struct members *m, int fd, uint64_t now_ms);
/* We ended all connections: that says nothing about who was there. */
void members_clear(struct members *m);
/* The next time to call, UINT64_MAX for none. When no message can be waiting that was sent before now_ms. */
uint64_t members_tick(struct members *m, uint64_t now_ms);

#endif
