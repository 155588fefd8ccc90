#ifndef TESTS_UNIT_XML_EVENTS_H
#define TESTS_UNIT_XML_EVENTS_H

/* A parser whose callbacks are written down as text, so that two runs can be compared. */

#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "xml/head.h"
#include "xml/ns.h"

#define C2S "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='a.example' version='1.0'>"

static const struct xml_limits wide = {.element_bytes = 262144, .tag_bytes = 16384, .depth_max = 100, .attrs_max = 64};

struct events {
	struct buf log;
	struct xml_parser *parser;
	int nr_elements, nr_headers, nr_footers;
	/* What to do in a callback. */
	bool stop_each, reset_at_header, reset_at_element, stop_at_header;
	void (*on_element)(const struct xml_element *e);
};

static inline void events_slice(struct events *v, const char *label, struct slice s)
{
	if (buf_printf(&v->log, " %s=[" SLICE_FMT "]", label, SLICE_ARG(s)) < 0)
		abort();
}

static inline void events_head(struct events *v, const struct xml_head *h)
{
	events_slice(v, "ns", h->ns);
	events_slice(v, "name", h->name);
	events_slice(v, "prefix", h->prefix);
	for (size_t i = 0; i < h->nr_attrs; i++) {
		events_slice(v, "a.ns", h->attrs[i].ns);
		events_slice(v, "a.prefix", h->attrs[i].prefix);
		events_slice(v, "a.name", h->attrs[i].name);
		events_slice(v, "a.value", h->attrs[i].value);
	}
}

static inline void events_on_header(void *arg, const struct xml_head *h, struct slice default_ns)
{
	struct events *v = arg;
	v->nr_headers++;
	if (buf_add_str(&v->log, "HEADER") < 0)
		abort();
	events_head(v, h);
	events_slice(v, "default", default_ns);
	if (v->reset_at_header)
		xml_parser_reset(v->parser);
	if (v->stop_each || v->stop_at_header)
		xml_parser_stop(v->parser);
}

static inline void events_on_element(void *arg, const struct xml_element *e)
{
	struct events *v = arg;
	v->nr_elements++;
	if (buf_add_str(&v->log, "\nELEMENT") < 0)
		abort();
	events_head(v, &e->head);
	events_slice(v, "raw", e->raw);
	events_slice(v, "inner", e->inner);
	for (size_t i = 0; i < e->nr_decls; i++) {
		events_slice(v, "d.prefix", e->decls[i].prefix);
		events_slice(v, "d.uri", e->decls[i].uri);
	}
	if (buf_printf(&v->log, " own=%zu children=%u mixed=%d", e->nr_own, e->nr_children, e->mixed_text) < 0)
		abort();
	if (v->on_element)
		v->on_element(e);
	if (v->reset_at_element)
		xml_parser_reset(v->parser);
	if (v->stop_each)
		xml_parser_stop(v->parser);
}

static inline void events_on_footer(void *arg)
{
	struct events *v = arg;
	v->nr_footers++;
	if (buf_add_str(&v->log, "\nFOOTER") < 0)
		abort();
}

static const struct xml_parser_ops events_ops = {.header = events_on_header, .element = events_on_element, .footer = events_on_footer};

static inline void events_begin(struct events *v, const struct xml_limits *limits)
{
	*v = (struct events){.parser = NULL};
	buf_init(&v->log, (size_t)64 << 20);
	v->parser = xml_parser_new(limits, &events_ops, v);
}

static inline void events_end(struct events *v)
{
	xml_parser_free(v->parser);
	buf_clear(&v->log);
}

/* All of it, from memory that is exactly as large and gone afterwards. Feeds again after a stop. The parser's answer. */
static inline int events_feed(struct events *v, const char *p, size_t n)
{
	size_t at = 0;
	int err;
	do {
		char *copy = malloc(n - at ? n - at : 1);
		memcpy(copy, p + at, n - at);
		size_t used = 12345;
		err = xml_parser_feed(v->parser, (struct slice){copy, n - at}, &used);
		free(copy);
		if (used > n - at)
			abort();
		at += used;
	} while (err == -ERR_AGAIN);
	if (!err && at != n)
		abort();
	return err;
}

static inline int events_feed_str(struct events *v, const char *s)
{
	return events_feed(v, s, strlen(s));
}

static inline bool events_has(const struct events *v, const char *text)
{
	struct slice log = buf_slice(&v->log);
	return memmem(log.p ? log.p : "", log.n, text, strlen(text)) != NULL;
}

#endif
