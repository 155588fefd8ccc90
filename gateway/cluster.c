#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

#include "common/daemon.h"
#include "common/log.h"
#include "registry/server.h"
#include "secrets.h"

/* A gateway that joins is one that embeds, without the registry's thread: nothing else differs, here or in the workers. */

static void start_zmq(struct cluster *c)
{
	c->zmq = zmq_ctx_new();
	c->zap = c->zmq != NULL ? zap_start(c->zmq) : NULL;
	if (c->zap == NULL)
		daemon_die("0MQ does not start: %s", zmq_strerror(zmq_errno()));
}

static void embed(struct cluster *c, const struct cluster_options *o)
{
	struct registry_server_options ro = {
		.zmq_context = c->zmq, .zap = c->zap, .bind = o->registry_bind, .state_dir = o->state_dir, .embedded = true};
	char why[400] = "", where[400];

	c->registry = registry_server_start(&ro, why, sizeof why);
	if (c->registry == NULL)
		daemon_die("%s; choose another place with --registry-bind or --state-dir", why);
	if (registry_server_publish_local(c->registry) != 0)
		daemon_die("cannot write %s/registry", o->state_dir);
	snprintf(where, sizeof where, "%s=%s", registry_server_endpoint(c->registry), registry_server_key(c->registry));
	c->registries = mem_strdup(where);
}

static void load_key(struct cluster *c, const struct cluster_options *o)
{
	char path[4096];
	int rc;

	if (o->key_file != NULL)
		snprintf(path, sizeof path, "%s", o->key_file);
	else
		snprintf(path, sizeof path, "%s/gateway.key", o->state_dir);
	rc = o->key_file != NULL ? svc_key_load(path, &c->key) : svc_key_load_or_make(path, &c->key);
	if (rc != 0)
		daemon_die("%s cannot be read as a key that only its owner may read", path);
}

void cluster_start(struct cluster *c, const struct cluster_options *o)
{
	start_zmq(c);
	if (o->registries != NULL)
		c->registries = mem_strdup(o->registries);
	else
		embed(c, o);
	load_key(c, o);
	log_info("gateway", 0, "key", "public=%s registries=%s", c->key.public_z85, log_escape(slice_str(c->registries)));
}

struct taking {
	struct secrets *out;
	uint64_t now_ms;
};

static void take_slot(void *arg, const struct reg_slot *slot)
{
	const struct taking *t = arg;

	(void)secrets_take(t->out, 0, slot, t->now_ms);
}

void cluster_secrets(const struct cluster *c, struct secrets *out, uint64_t now_ms)
{
	struct taking t = {.out = out, .now_ms = now_ms};

	if (c->registry != NULL && registry_server_each_secret(c->registry, take_slot, &t) != 0)
		daemon_die("OpenSSL derives no keys (HKDF with SHA-256)");
}

void cluster_reload(struct cluster *c)
{
	if (c->registry != NULL)
		registry_server_reload(c->registry);
}

void cluster_endpoint(const char *svc, unsigned n, char *out, size_t size)
{
	const char *colon = strrchr(svc, ':');
	unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;

	if (colon == NULL || port == 0)
		snprintf(out, size, "%.*s:*", colon != NULL ? (int)(colon - svc) : (int)strlen(svc), svc);
	else
		snprintf(out, size, "%.*s:%lu", (int)(colon - svc), svc, port + n);
}

bool cluster_is_wildcard(const char *endpoint)
{
	static const char *const all[] = {"tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:"};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (strncmp(endpoint, all[i], strlen(all[i])) == 0)
			return true;
	return false;
}

void cluster_stop(struct cluster *c)
{
	registry_server_stop(c->registry);
	zap_stop(c->zap);
	zmq_ctx_term(c->zmq);
	svc_key_wipe(&c->key);
	free(c->registries);
}
