#include "role/admit.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "common/stat.h"
#include "role/s2s_in.h"

/* A count for each address with at least one connection: memory is bounded by the connections themselves. */

struct address_count {
	unsigned all, negotiating;
	unsigned char key_n;
	char key[16];
};

static void on_room(void *arg)
{
	struct role_env *env = arg;

	loop_task_queue(env->loop, &env->checks_go_on);
}

void admit_begin(struct role_env *env)
{
	env->addresses = hash_new();
	env->checks = shares_new(env->limits.checks_max, on_room, env);
	loop_task_init(&env->checks_go_on, s2s_in_go_on, env);
}

void admit_end(struct role_env *env)
{
	loop_task_cancel(env->loop, &env->checks_go_on);
	shares_free(env->checks);
	hash_free(env->addresses);
}

static struct slice address_key(const struct sockaddr *peer, char *out)
{
	if (peer->sa_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const void *)peer;

		if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr)) {
			memcpy(out, a->sin6_addr.s6_addr + 12, 4);
			return (struct slice){out, 4};
		}
		memcpy(out, a->sin6_addr.s6_addr, 8);
		return (struct slice){out, 8};
	}
	if (peer->sa_family == AF_INET) {
		memcpy(out, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
		return (struct slice){out, 4};
	}
	return SLICE_NONE;
}

struct address_count *admit_enter(struct role_env *env, const struct sockaddr *peer)
{
	char bytes[16];
	struct slice key = address_key(peer, bytes);
	struct address_count *a = hash_get(env->addresses, key);

	if (a == NULL) {
		a = NEW(struct address_count);
		memcpy(a->key, bytes, key.n);
		a->key_n = (unsigned char)key.n;
		hash_put(env->addresses, key, a);
	} else if (a->all >= env->limits.connections_per_address_max || a->negotiating >= env->limits.negotiating_per_address_max) {
		stat_add(STAT_connections_refused, 1);
		return NULL;
	}
	a->all++;
	a->negotiating++;
	return a;
}

void admit_authenticated(struct address_count *a)
{
	a->negotiating--;
}

void admit_leave(struct role_env *env, struct address_count *a, bool negotiating)
{
	if (a == NULL)
		return;
	a->all--;
	a->negotiating -= negotiating;
	if (a->all == 0) {
		hash_del(env->addresses, (struct slice){a->key, a->key_n});
		free(a);
	}
}

struct slice admit_key(const struct address_count *a)
{
	return (struct slice){a->key, a->key_n};
}
