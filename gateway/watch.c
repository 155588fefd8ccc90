#include "watch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/http.h"
#include "common/metrics.h"
#include "role/counts.h"

/*
 * Everything is read when it is asked for: counters are summed over the threads, certificates are looked at. Nothing here stops a worker.
 * Labels are names of ours: roles, states, reasons, mechanisms, and the names of our own certificates.
 */

struct watch {
	struct loop *loop;
	struct http_server *http;
	const struct watch_ops *ops;
	void *arg;
};

/* --- health --------------------------------------------------------------- */

static const char *state_of(const struct watch_health *h)
{
	if (h->stopping)
		return "stopping";
	if (h->synced < h->workers)
		return "starting";
	return h->draining == h->workers ? "draining" : "ready";
}

static void healthz(struct watch *w, struct http_answer *out)
{
	struct watch_health h = {.workers = 0};
	const char *state;

	w->ops->health(w->arg, &h);
	state = state_of(&h);
	out->type = "application/json";
	if (buf_printf(&out->body, "{\"state\": \"%s\", \"workers\": %u, \"draining\": %u}\n", state, h.workers, h.draining) == 0)
		out->status = strcmp(state, "ready") == 0 ? 200 : 503;
}

/* --- metrics -------------------------------------------------------------- */

static void sample(struct metrics *m, const char *name, enum stat_id id, const char *fmt, ...) PRINTF_LIKE(4, 5);

static void sample(struct metrics *m, const char *name, enum stat_id id, const char *fmt, ...)
{
	char labels[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(labels, sizeof labels, fmt, ap);
	va_end(ap);
	metrics_sample(m, name, labels, (double)stat_sum(id));
}

static void put_streams(struct metrics *m)
{
	metrics_family(m, "ambrosia_streams", "gauge", stat_help(STAT_streams));
	for (int r = STREAM_C2S; r <= STREAM_S2S_OUT; r++) {
		for (int s = 0; s < STREAM_CLOSED; s++)
			sample(m, "ambrosia_streams", count_stream((enum stream_role)r, (enum stream_state)s), "role=\"%s\",state=\"%s\"",
			       stream_role_name((enum stream_role)r), stream_state_name((enum stream_state)s));
	}
	metrics_family(m, "ambrosia_streams_managed", "gauge", stat_help(STAT_managed));
	for (int r = STREAM_C2S; r <= STREAM_S2S_OUT; r++)
		sample(m, "ambrosia_streams_managed", count_stream_managed((enum stream_role)r), "role=\"%s\"",
		       stream_role_name((enum stream_role)r));
	metrics_family(m, "ambrosia_streams_held", "gauge", stat_help(STAT_streams_held));
	metrics_sample(m, "ambrosia_streams_held", NULL, (double)stat_sum(STAT_streams_held));
	metrics_family(m, "ambrosia_stream_closes_total", "counter", stat_help(STAT_closes));
	for (int c = 0; c < CLOSE_MAX_; c++)
		sample(m, "ambrosia_stream_closes_total", count_close((enum close_reason)c), "reason=\"%s\"",
		       close_word((enum close_reason)c));
}

static void put_connections(struct metrics *m)
{
	metrics_counter(m, "ambrosia_connections_accepted_total", STAT_connections_accepted);
	metrics_family(m, "ambrosia_connections_refused_total", "counter", "connections refused at once");
	sample(m, "ambrosia_connections_refused_total", STAT_connections_refused, "reason=\"limit\"");
	sample(m, "ambrosia_connections_refused_total", STAT_connections_blocked, "reason=\"blocked\"");
	sample(m, "ambrosia_connections_refused_total", STAT_handshakes_shed, "reason=\"crowded\"");
	metrics_family(m, "ambrosia_handshakes_waiting", "gauge", stat_help(STAT_handshakes_waiting));
	metrics_sample(m, "ambrosia_handshakes_waiting", NULL, (double)stat_sum(STAT_handshakes_waiting));
	metrics_counter(m, "ambrosia_handshakes_delayed_total", STAT_handshakes_delayed);
	metrics_counter(m, "ambrosia_handshake_steps_beside_total", STAT_handshake_steps_beside);
}

static void put_logins(struct metrics *m)
{
	const char *name;

	metrics_family(m, "ambrosia_logins_total", "counter", stat_help(STAT_logins));
	for (unsigned i = 0; (name = count_mechanism_name(i)) != NULL; i++) {
		sample(m, "ambrosia_logins_total", count_login_at(i, true), "mechanism=\"%s\",result=\"success\"", name);
		sample(m, "ambrosia_logins_total", count_login_at(i, false), "mechanism=\"%s\",result=\"failure\"", name);
	}
	metrics_family(m, "ambrosia_logins_waiting", "gauge", stat_help(STAT_logins_waiting));
	metrics_sample(m, "ambrosia_logins_waiting", NULL, (double)stat_sum(STAT_logins_waiting));
	metrics_counter(m, "ambrosia_redirects_total", STAT_redirects);
	metrics_counter(m, "ambrosia_sessions_reopened_total", STAT_sessions_reopened);
}

static void put_traffic(struct metrics *m)
{
	metrics_family(m, "ambrosia_stanzas_total", "counter", "stanzas taken from (in) and written to (out) clients and servers");
	sample(m, "ambrosia_stanzas_total", STAT_stanzas_in, "direction=\"in\"");
	sample(m, "ambrosia_stanzas_total", STAT_stanzas_out, "direction=\"out\"");
	metrics_counter(m, "ambrosia_stanzas_refused_total", STAT_stanzas_refused);
	metrics_counter(m, "ambrosia_stanzas_repeated_total", STAT_stanzas_repeated);
	metrics_family(m, "ambrosia_stream_bytes_total", "counter", "bytes of streams, inside TLS, read (in) and written (out)");
	sample(m, "ambrosia_stream_bytes_total", STAT_bytes_in, "direction=\"in\"");
	sample(m, "ambrosia_stream_bytes_total", STAT_bytes_out, "direction=\"out\"");
	metrics_histogram(m, "ambrosia_ack_delay_seconds", STAT_ack_delay, stat_times_ms, 1000);
	metrics_histogram(m, "ambrosia_link_queue_bytes", STAT_link_queue, stat_sizes_bytes, 1);
	metrics_family(m, "ambrosia_held_bytes", "gauge",
		       "bytes held for services that have not acknowledged them, for peers that have not taken them, and of stanzas that "
		       "have not ended");
	sample(m, "ambrosia_held_bytes", STAT_held_unacked, "what=\"unacknowledged\"");
	sample(m, "ambrosia_held_bytes", STAT_held_output, "what=\"output\"");
	sample(m, "ambrosia_held_bytes", STAT_held_unfinished, "what=\"unfinished\"");
	metrics_family(m, "ambrosia_links", "gauge", stat_help(STAT_links));
	metrics_sample(m, "ambrosia_links", NULL, (double)stat_sum(STAT_links));
}

static void put_federation(struct metrics *m)
{
	static const char *const lookups[] = {
		[RESOLVE_OK] = "ok", [RESOLVE_NO_DOMAIN] = "no-domain", [RESOLVE_NO_SERVICE] = "no-service",
		[RESOLVE_TIMEOUT] = "timeout", [RESOLVE_BOGUS] = "bogus", [RESOLVE_CROWDED] = "crowded",
	};
	static const char *const results[] = {
		[S2S_OUT_OK] = "established", [S2S_OUT_NOT_FOUND] = "not-found", [S2S_OUT_TIMEOUT] = "timeout",
		[S2S_OUT_REFUSED] = "refused", [S2S_OUT_INVALID] = "invalid", [S2S_OUT_CROWDED] = "crowded",
	};

	metrics_family(m, "ambrosia_dns_lookups_total", "counter", stat_help(STAT_lookups));
	for (unsigned i = 0; i < ARRAY_LEN(lookups); i++)
		sample(m, "ambrosia_dns_lookups_total", count_lookup((enum resolve_status)i), "result=\"%s\"", lookups[i]);
	metrics_family(m, "ambrosia_s2s_out_total", "counter", stat_help(STAT_s2s_out));
	for (unsigned i = 0; i < ARRAY_LEN(results); i++)
		sample(m, "ambrosia_s2s_out_total", count_s2s_out((enum s2s_out_result)i), "result=\"%s\"", results[i]);
	metrics_family(m, "ambrosia_s2s_unacknowledged_stanzas", "gauge", stat_help(STAT_s2s_unacknowledged));
	metrics_sample(m, "ambrosia_s2s_unacknowledged_stanzas", NULL, (double)stat_sum(STAT_s2s_unacknowledged));
	metrics_family(m, "ambrosia_s2s_lanes", "gauge", stat_help(STAT_s2s_lanes));
	metrics_sample(m, "ambrosia_s2s_lanes", NULL, (double)stat_sum(STAT_s2s_lanes));
}

static void put_health(struct watch *w, struct metrics *m)
{
	struct watch_health h = {.workers = 0};
	uint64_t now = loop_now_ms(w->loop);

	w->ops->health(w->arg, &h);
	metrics_family(m, "ambrosia_workers", "gauge", "event loops");
	metrics_sample(m, "ambrosia_workers", NULL, h.workers);
	metrics_family(m, "ambrosia_workers_draining", "gauge", "event loops that take no newcomers");
	metrics_sample(m, "ambrosia_workers_draining", NULL, h.draining);
	metrics_family(m, "ambrosia_directory_age_seconds", "gauge", "time since a registry was heard, by the worker that waits longest");
	if (h.directory_heard_at_ms > 0)
		metrics_sample(m, "ambrosia_directory_age_seconds", NULL,
			       now > h.directory_heard_at_ms ? (double)(now - h.directory_heard_at_ms) / 1000 : 0);
}

static void put_certificate(void *arg, const char *name, int64_t not_after)
{
	char labels[384], escaped[300];

	snprintf(labels, sizeof labels, "name=\"%s\"", metrics_escape(name, escaped, sizeof escaped));
	metrics_sample(arg, "ambrosia_certificate_left_seconds", labels, (double)not_after - (double)time(NULL));
}

static void put_certificates(struct watch *w, struct metrics *m)
{
	metrics_family(m, "ambrosia_certificate_left_seconds", "gauge",
		       "time until a certificate ends, by the first name that it holds; negative when it has ended");
	tls_store_each_certificate(w->ops->tls(w->arg), put_certificate, m);
}

static void metrics(struct watch *w, struct http_answer *out)
{
	struct metrics m = {.out = &out->body};

	metrics_family(&m, "ambrosia_build_info", "gauge", "which program this is");
	metrics_sample(&m, "ambrosia_build_info", "program=\"ambrosia-gateway\",version=\"" AMBROSIA_VERSION "\"", 1);
	put_health(w, &m);
	put_streams(&m);
	put_connections(&m);
	put_logins(&m);
	put_traffic(&m);
	put_federation(&m);
	put_certificates(w, &m);
	metrics_process(&m);
	out->type = METRICS_TYPE;
	out->status = m.full ? 503 : 200;
}

/* --- the server ----------------------------------------------------------- */

static void on_get(void *arg, struct slice path, struct http_answer *out)
{
	struct watch *w = arg;

	if (slice_is(path, "/healthz"))
		healthz(w, out);
	else if (slice_is(path, "/metrics"))
		metrics(w, out);
}

struct watch *watch_new(struct loop *l, int fd, const struct watch_ops *ops, void *arg)
{
	struct watch *w = NEW(struct watch);

	w->loop = l;
	w->ops = ops;
	w->arg = arg;
	w->http = http_server_new(l, fd, on_get, w);
	return w;
}

void watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	http_server_free(w->http);
	free(w);
}
