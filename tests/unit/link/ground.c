#include "ground.h"

#include <stdlib.h>
#include <zmq.h>

#include "check.h"
#include "svcproto/directory_feed.h"
#include "svcproto/keyset.h"

static void feed_keys(struct ground *g, const char *services)
{
	static struct reg_frame f;
	char text[512], why[128] = "";
	int n = snprintf(text, sizeof text, "# serial 1\n%s gateway\n%s", g->key.public_z85, services);
	struct keyset *k;

	CHECK(n > 0 && (size_t)n < sizeof text);
	k = keyset_parse(text, (size_t)n, why, sizeof why);
	CHECK_STR(why, "");
	CHECK_EQ(zap_set_keys(g->zap, k), 0);
	keyset_free(k);
	f = (struct reg_frame){.serial = 1, .parts = 1, .keys = text, .keys_n = (size_t)n};
	CHECK_EQ(directory_feed_keys(g->directory, 0, &f), 0);
}

void ground_start(struct ground *g, struct links_options *o, const struct links_ops *ops, const char *services)
{
	char why[256];

	CHECK_EQ(svc_key_make(&g->key), 0);
	g->zmq = o->zmq_context = zmq_ctx_new();
	g->zap = zap_start(g->zmq);
	g->loop = o->loop = loop_new();
	g->directory = o->directory = directory_new(NULL, NULL);
	feed_keys(g, services);
	o->bind = "tcp://127.0.0.1:*";
	o->key = &g->key;
	g->links = links_new(o, ops, NULL, why, sizeof why);
	if (g->links == NULL)
		abort();
}

void ground_stop(struct ground *g)
{
	links_free(g->links);
	directory_free(g->directory);
	loop_free(g->loop);
	zap_stop(g->zap);
	zmq_ctx_term(g->zmq);
	svc_key_wipe(&g->key);
}
