/*
 * A descriptor is only a hint at which members to look at: it may belong to another connection by the time its end is told of. What counts
 * is whether the routing id, which is never used again, still leads anywhere when the time is over.
 */
#include "registry/members.h"

#include <stdlib.h>
#include <string.h>

#include "common/hash.h"

#define NEVER UINT64_MAX
#define ROUTE_MAX 255

struct name {
	struct svc_id owner;
	char key[40];
};

struct member {
	struct name name;
	uint64_t due_ms;        /* when to look whether it is gone */
	uint64_t spoke_at_ms;
	bool died;              /* due: it had just spoken */
	int fd;
	uint8_t route_n;
	uint8_t route[ROUTE_MAX];
};

struct members {
	const struct members_ops *ops;
	void *arg;
	struct hash *all;       /* struct member by name */
	uint64_t next_ms, now_ms;
	uint64_t turn_at_ms;    /* the last; 0: none was */
	uint64_t unsure_ms;     /* until then what was read may have been sent long before */
	int ended_fd;           /* of the walk at hand */
};

struct members *members_new(const struct members_ops *ops, void *arg)
{
	struct members *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return NULL;
	m->ops = ops;
	m->arg = arg;
	m->all = hash_new();
	m->next_ms = NEVER;
	return m;
}

static struct slice key_of(const struct name *n)
{
	return (struct slice){ (const char *)n, sizeof(*n) };
}

static int free_one(void *arg, struct slice key, void *value)
{
	struct members *m = arg;

	hash_del(m->all, key);
	free(value);
	return 0;
}

void members_clear(struct members *m)
{
	(void)hash_each(m->all, free_one, m);
	m->next_ms = NEVER;
}

void members_free(struct members *m)
{
	if (m == NULL)
		return;
	members_clear(m);
	hash_free(m->all);
	free(m);
}

static struct member *get(struct members *m, const struct name *name)
{
	struct member *x = hash_get(m->all, key_of(name));

	if (x != NULL || hash_count(m->all) >= MEMBERS_MAX || (x = calloc(1, sizeof(*x))) == NULL)
		return x;
	x->name = *name;
	(void)hash_put(m->all, key_of(&x->name), x);
	return x;
}

void members_spoke(struct members *m, const struct svc_id *owner, const char *key, const void *route, size_t route_n, int fd,
		   uint64_t now_ms)
{
	struct name name = { .owner = *owner };
	struct member *x;

	if (strlen(key) != sizeof(name.key) || route_n > ROUTE_MAX)
		return;
	memcpy(name.key, key, sizeof(name.key));
	x = get(m, &name);
	if (x == NULL)
		return;
	x->spoke_at_ms = now_ms;
	/* What it said before its connection ended may be read after that. */
	if (x->route_n == route_n && memcmp(x->route, route, route_n) == 0)
		return;
	memcpy(x->route, route, route_n);
	x->route_n = (uint8_t)route_n;
	x->fd = fd;
	x->due_ms = NEVER;
}

static int mark(void *arg, struct slice key, void *value)
{
	struct members *m = arg;
	struct member *x = value;

	(void)key;
	if (x->fd == m->ended_fd && x->due_ms == NEVER) {
		x->due_ms = m->now_ms + MEMBERS_GONE_MS;
		x->died = m->now_ms < x->spoke_at_ms + MEMBERS_SPEAK_MS && m->now_ms >= m->unsure_ms;
	}
	m->next_ms = x->due_ms < m->next_ms ? x->due_ms : m->next_ms;
	return 0;
}

void members_turn(struct members *m, uint64_t now_ms)
{
	if (m->turn_at_ms != 0 && now_ms > m->turn_at_ms + 2 * MEMBERS_TURN_MS)
		m->unsure_ms = now_ms + MEMBERS_SPEAK_MS;
	m->turn_at_ms = now_ms;
}

void members_ended(struct members *m, int fd, uint64_t now_ms)
{
	m->ended_fd = fd;
	m->now_ms = now_ms;
	(void)hash_each(m->all, mark, m);
}

static int look(void *arg, struct slice key, void *value)
{
	struct members *m = arg;
	struct member *x = value;
	char text[sizeof(x->name.key) + 1] = "";

	if (x->due_ms <= m->now_ms && m->ops->connected(m->arg, x->route, x->route_n))
		x->due_ms = NEVER; /* another's connection had that descriptor */
	if (x->due_ms > m->now_ms) {
		m->next_ms = x->due_ms < m->next_ms ? x->due_ms : m->next_ms;
		return 0;
	}
	memcpy(text, x->name.key, sizeof(x->name.key));
	m->ops->gone(m->arg, &x->name.owner, text, x->died);
	return free_one(m, key, x);
}

uint64_t members_tick(struct members *m, uint64_t now_ms)
{
	if (now_ms < m->next_ms)
		return m->next_ms;
	m->now_ms = now_ms;
	m->next_ms = NEVER;
	(void)hash_each(m->all, look, m);
	return m->next_ms;
}
