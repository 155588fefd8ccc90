/* What the registry's thread left where others may look, and its counters. Nothing here waits for that thread. */
#include "registry/observe.h"

#include <stdlib.h>

#include "common/http.h"
#include "common/metrics.h"

#define STUCK_MS 10000 /* many beats */

struct observe {
	struct loop *loop;
	struct http_server *http;
	const struct registry_server *server;
};

/* Ready: bound, and its thread alive. */
static bool is_ready(const struct observe *o, const struct registry_counts *c)
{
	return c->bound && loop_now_ms(o->loop) < c->beat_at_ms + STUCK_MS;
}

static void healthz(struct observe *o, struct http_answer *out)
{
	struct registry_counts c;
	bool ready;

	registry_server_counts(o->server, &c);
	ready = is_ready(o, &c);
	out->type = "application/json";
	if (buf_printf(&out->body, "{\"state\": \"%s\"}\n", ready ? "ready" : "stuck") == 0)
		out->status = ready ? 200 : 503;
}

static void metrics(struct observe *o, struct http_answer *out)
{
	struct metrics m = {.out = &out->body};
	struct registry_counts c;

	registry_server_counts(o->server, &c);
	metrics_family(&m, "ambrosia_build_info", "gauge", "which program this is");
	metrics_sample(&m, "ambrosia_build_info", "program=\"ambrosia-registry\",version=\"" AMBROSIA_VERSION "\"", 1);
	metrics_family(&m, "ambrosia_registry_ready", "gauge", "whether members are served");
	metrics_sample(&m, "ambrosia_registry_ready", NULL, is_ready(o, &c));
	metrics_family(&m, "ambrosia_registry_entries", "gauge", "what members have announced, now");
	metrics_sample(&m, "ambrosia_registry_entries", "kind=\"gateway\"", c.gateways);
	metrics_sample(&m, "ambrosia_registry_entries", "kind=\"registration\"", c.registrations);
	metrics_family(&m, "ambrosia_registry_authorized_keys", "gauge", "keys in authorized_keys");
	metrics_sample(&m, "ambrosia_registry_authorized_keys", NULL, c.keys);
	metrics_family(&m, "ambrosia_registry_authorized_keys_serial", "gauge", "serial of authorized_keys in force");
	metrics_sample(&m, "ambrosia_registry_authorized_keys_serial", NULL, (double)c.serial);
	metrics_counter(&m, "ambrosia_registry_announcements_total", STAT_registry_announcements);
	metrics_counter(&m, "ambrosia_registry_refusals_total", STAT_registry_refusals);
	metrics_counter(&m, "ambrosia_registry_snapshots_total", STAT_registry_snapshots);
	metrics_counter(&m, "ambrosia_registry_updates_total", STAT_registry_updates);
	metrics_process(&m);
	out->type = METRICS_TYPE;
	out->status = m.full ? 503 : 200;
}

static void on_get(void *arg, struct slice path, struct http_answer *out)
{
	struct observe *o = arg;

	if (slice_is(path, "/healthz"))
		healthz(o, out);
	else if (slice_is(path, "/metrics"))
		metrics(o, out);
}

struct observe *observe_new(struct loop *l, int fd, const struct registry_server *s)
{
	struct observe *o = NEW(struct observe);

	o->loop = l;
	o->server = s;
	o->http = http_server_new(l, fd, on_get, o);
	return o;
}

void observe_free(struct observe *o)
{
	if (o == NULL)
		return;
	http_server_free(o->http);
	free(o);
}
