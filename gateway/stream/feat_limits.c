#include "stream/own.h"

#include <stdio.h>

/*
 * Limits that either side tells (XEP-0478): what we take is in our features, what a server takes in its. Nothing is enforced here: the
 * parser holds the peer to ours, and the owner asks stream_peer_max_bytes() before it sends. A server's time of silence is met by the
 * keepalive.
 */

/* Sooner than that no stream is kept alive: such a server closes it, and the next stanza opens another. */
#define PEER_IDLE_MIN_S 10
#define PEER_IDLE_MAX_S 86400

static void number(struct xml_writer *w, const char *name, uint64_t n)
{
	char text[21];

	snprintf(text, sizeof text, "%llu", (unsigned long long)n);
	xml_start(w, name);
	xml_text(w, slice_str(text));
	xml_end(w, name);
}

void limits_write(const struct stream *s, struct xml_writer *w, bool before_auth)
{
	const struct xml_limits *l = before_auth ? &s->limits->before_auth : &s->limits->after_auth;
	unsigned idle_ms = before_auth ? s->limits->negotiation_ms : s->limits->idle_ms;

	xml_start(w, "limits");
	xml_attr_str(w, "xmlns", NS_LIMITS);
	number(w, "max-bytes", l->element_bytes);
	if (idle_ms >= 1000)
		number(w, "idle-seconds", idle_ms / 1000);
	xml_end(w, "limits");
}

/*
 * What holds from here on, until features come again. Behind dialback none do: what a server is told before it counts for the stanzas
 * behind it. What it may send until then is small by nature.
 */
static void offer(struct stream *s, struct xml_writer *w)
{
	limits_write(s, w, s->state == STREAM_WAIT_TLS || (s->role == STREAM_C2S && s->state == STREAM_WAIT_SASL));
}

/* 0: it says none, or nothing that makes sense. */
static uint32_t read_number(const struct xml_node *limits, const char *name)
{
	const struct xml_node *n = xml_node_child(limits, NS_LIMITS, name);
	uint64_t v = 0;

	for (size_t i = 0; n != NULL && i < n->text_n; i++) {
		if (n->text[i] < '0' || n->text[i] > '9' || v > UINT32_MAX)
			return 0;
		v = v * 10 + (uint64_t)(n->text[i] - '0');
	}
	return v <= UINT32_MAX ? (uint32_t)v : 0;
}

void limits_read(struct stream *s, const struct xml_node *parent)
{
	const struct xml_node *limits = xml_node_child(parent, NS_LIMITS, "limits");
	uint32_t idle_s = limits != NULL ? read_number(limits, "idle-seconds") : 0;

	s->peer_max_bytes = limits != NULL ? read_number(limits, "max-bytes") : 0;
	s->peer_idle_ms = idle_s >= PEER_IDLE_MIN_S && idle_s <= PEER_IDLE_MAX_S ? idle_s * 1000 : 0;
}

static bool consume(struct stream *s, const struct xml_node *features)
{
	limits_read(s, features);
	return false;
}

const struct feature feature_limits = {.offer = offer, .consume = consume};

uint32_t stream_peer_max_bytes(const struct stream *s)
{
	return s->peer_max_bytes;
}

uint64_t limits_tick(struct stream *s, uint64_t now_ms)
{
	uint64_t due = s->out_at_ms + s->peer_idle_ms / 4 * 3;

	if (s->peer_idle_ms == 0)
		return UINT64_MAX;
	if (now_ms >= due) {
		s->ops->send(s->arg, SLICE(" "));
		s->out_at_ms = now_ms;
		due = now_ms + s->peer_idle_ms / 4 * 3;
	}
	return due;
}
