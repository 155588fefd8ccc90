/*
 * From a stream's bytes to its header, its first-level elements as raw slices, and its footer. Limits hold while parsing, on unfinished
 * input too; nothing recurses; nothing is copied of an element that lies in one feed but its start tag's strings.
 *
 * Positions (int64_t) count the bytes that the present expat was fed. Between elements expat can be
 * thrown away and begun again behind a replayed header tag: so idle streams need none, and one that has grown (restrict.c) is retired.
 */
#include "xml/parser.h"

#include <stdlib.h>

#include "common/err.h"
#include "xml/parser_int.h"
#include "xml/restrict.h"
#include "xml/starttag.h"
#include "xml/window.h"

/* A fresh expat in use holds 10 to 20 KB. */
#define RETIRE_BYTES ((size_t)96 << 10)

/* Why expat is asked to stop. */
enum halt {
	HALT_NONE,
	HALT_STOP,       /* xml_parser_stop(): to be resumed */
	HALT_RETIRE,
	HALT_RESET,
	HALT_END,
	HALT_ERROR,
};

enum stage { WAIT_HEADER, INSIDE, ENDED, DEAD };

struct xml_parser {
	struct xml_limits limits;
	const struct xml_parser_ops *ops;
	void *arg;
	struct xml_expat expat;
	struct xml_header *header;
	enum stage stage;
	enum halt halt;
	int err;
	bool feeding, replaying, suspended;
	bool footer_due;             /* stopped in the header callback of a stream that is one empty tag */
	unsigned depth;              /* open elements, the stream header included */

	struct xml_window window;    /* what is being fed, and what is kept of earlier feeds */
	int64_t fed;
	int64_t ahead;               /* bytes that expat has, but the caller was told were not used */
	int64_t boundary;            /* end of the last complete thing at the first level */
	int64_t last_end;            /* end of the last event */

	/* The first-level element (or header) being read. */
	struct xml_starttag tag;
	int64_t start, inner_start;
	bool mixed_text;
	unsigned nr_children;
	size_t nr_tag_decls;         /* declarations of the tag being read, at any depth */
};

static void fail(void *arg, int err)
{
	struct xml_parser *p = arg;
	if (p->halt == HALT_RESET || p->halt == HALT_END || p->halt == HALT_ERROR)
		return;
	p->halt = HALT_ERROR;
	p->err = err;
	xml_expat_halt(&p->expat);
}

/* Handlers may still be called for the token at which expat was stopped. */
static bool deaf(const struct xml_parser *p)
{
	return p->halt != HALT_NONE || p->replaying;
}

static void element_forget(struct xml_parser *p)
{
	xml_starttag_forget(&p->tag);
	p->mixed_text = false;
	p->nr_children = 0;
}

static void on_header(struct xml_parser *p, int64_t end)
{
	p->header = xml_header_new(&p->tag, xml_window_bytes(&p->window, p->start, end));
	p->stage = INSIDE;
	p->boundary = end;
	struct slice default_ns = SLICE_NONE;
	for (size_t i = 0; i < p->tag.nr_decls; i++)
		if (p->tag.decls[i].prefix.n == 0)
			default_ns = p->tag.decls[i].uri;
	p->ops->header(p->arg, &p->tag.head, default_ns);
	xml_window_done(&p->window, end);
	element_forget(p);
}

static void footer(struct xml_parser *p)
{
	p->halt = HALT_END;
	p->ops->footer(p->arg);
}

/* ---- expat's handlers ---- */

static void on_declare(void *arg, const char *prefix, const char *uri)
{
	struct xml_parser *p = arg;
	if (deaf(p))
		return;
	p->nr_tag_decls++;
	if (p->depth <= 1 && (prefix == NULL || strcmp(prefix, "xml") != 0))
		xml_starttag_declare(&p->tag, prefix, uri);
}

/* Depth, tag size, number of attributes, size of the element so far. */
static bool tag_within_limits(const struct xml_parser *p, int64_t at, int64_t end, size_t nr_attrs)
{
	return p->depth <= p->limits.depth_max && (size_t)(end - at) <= p->limits.tag_bytes &&
	       nr_attrs + p->nr_tag_decls <= p->limits.attrs_max &&
	       (p->depth < 2 || (size_t)(end - p->start) <= p->limits.element_bytes);
}

static void on_start(void *arg, const char *name, const char **atts)
{
	struct xml_parser *p = arg;
	if (deaf(p))
		return;
	int64_t at = xml_expat_at(&p->expat), end = xml_expat_end(&p->expat);
	p->last_end = end;
	size_t nr_attrs = 0;
	while (atts[2 * nr_attrs] != NULL)
		nr_attrs++;
	if (!tag_within_limits(p, at, end, nr_attrs)) {
		fail(p, -ERR_XML_LIMIT);
		return;
	}
	p->nr_tag_decls = 0;
	unsigned depth = p->depth++;
	if (depth == 2)
		p->nr_children++;
	if (depth > 1)
		return;
	p->start = at;
	p->inner_start = end;
	const struct xml_header *outer = p->header;
	xml_starttag_set(&p->tag, name, atts, nr_attrs, outer ? outer->decls : NULL, outer ? outer->nr_decls : 0);
	if (depth == 0)
		on_header(p, end);
}

static void element_done(struct xml_parser *p, int64_t inner_end, int64_t end)
{
	struct xml_element e = {.head = p->tag.head, .decls = p->tag.decls, .nr_decls = p->tag.nr_decls, .nr_own = p->tag.nr_own,
				.lang = p->header->lang, .nr_children = p->nr_children, .mixed_text = p->mixed_text};
	e.raw = xml_window_bytes(&p->window, p->start, end);
	if (inner_end > p->inner_start)
		e.inner = (struct slice){e.raw.p + (p->inner_start - p->start), (size_t)(inner_end - p->inner_start)};
	p->boundary = end;
	p->ops->element(p->arg, &e);
	xml_window_done(&p->window, end);
	element_forget(p);
	if (p->halt == HALT_NONE && p->expat.bytes > RETIRE_BYTES && end >= p->window.origin) {
		p->halt = HALT_RETIRE;
		xml_expat_halt(&p->expat);
	}
}

static void on_end(void *arg, const char *name)
{
	struct xml_parser *p = arg;
	(void)name;
	if (p->halt == HALT_STOP && p->depth == 1 && p->stage == INSIDE && !p->replaying)
		p->footer_due = true; /* of an empty tag expat reports the end, stopped or not */
	if (deaf(p))
		return;
	int64_t at = xml_expat_at(&p->expat), end = xml_expat_end(&p->expat);
	p->last_end = end;
	p->depth--;
	if (p->depth == 0) {
		p->boundary = end;
		xml_expat_halt(&p->expat);
		footer(p);
	} else if ((size_t)(end - p->start) > p->limits.element_bytes) {
		fail(p, -ERR_XML_LIMIT);
	} else if (p->depth == 1) {
		element_done(p, at, end);
	}
}

static void on_text(void *arg, const char *text, int n)
{
	struct xml_parser *p = arg;
	if (deaf(p))
		return;
	p->last_end = xml_expat_end(&p->expat);
	if (p->depth > 2)
		return;
	bool space = xml_is_space((struct slice){text, (size_t)n});
	if (p->depth == 2) {
		p->mixed_text |= !space;
	} else if (space) {
		p->boundary = p->last_end;
	} else {
		fail(p, -ERR_XML_NOT_WELL_FORMED);
	}
}

static void on_cdata(void *arg)
{
	struct xml_parser *p = arg;
	if (deaf(p))
		return;
	p->last_end = xml_expat_end(&p->expat);
	if (p->depth <= 1)
		fail(p, -ERR_XML_NOT_WELL_FORMED);
}

/* ---- expat's life ---- */

static void expat_start(struct xml_parser *p)
{
	xml_expat_open(&p->expat, &p->limits, fail, p);
	XML_SetElementHandler(p->expat.parser, on_start, on_end);
	XML_SetCharacterDataHandler(p->expat.parser, on_text);
	XML_SetCdataSectionHandler(p->expat.parser, on_cdata, on_cdata);
	XML_SetStartNamespaceDeclHandler(p->expat.parser, on_declare);
	p->fed = p->ahead = p->boundary = p->last_end = 0;
	p->suspended = false;
	p->depth = 0;
	p->nr_tag_decls = 0;
	if (p->header == NULL)
		return;
	p->replaying = true;
	enum XML_Status status = xml_expat_feed(&p->expat, p->header->tag.p, p->header->tag.n);
	ASSERT(status == XML_STATUS_OK);
	p->replaying = false;
	p->depth = 1;
	p->fed = p->boundary = p->last_end = (int64_t)p->header->tag.n;
}

static void memory_free(struct xml_parser *p)
{
	xml_expat_close(&p->expat);
	xml_window_clear(&p->window);
	xml_starttag_clear(&p->tag);
	p->suspended = false;
	p->ahead = p->fed = 0;
}

static void forget(struct xml_parser *p)
{
	memory_free(p);
	free(p->header);
	p->header = NULL;
	p->stage = WAIT_HEADER;
	p->halt = HALT_NONE;
	p->err = 0;
	p->depth = 0;
	p->footer_due = false;
}

/* Between elements: another expat, from `boundary` on. */
static void expat_renew(struct xml_parser *p)
{
	int64_t done = p->boundary - p->window.origin;
	ASSERT(p->header != NULL && done >= 0);
	xml_expat_close(&p->expat);
	expat_start(p);
	p->window.origin = p->fed - done;
	p->halt = HALT_NONE;
}

/* ---- feeding ---- */

/* What no event has shown yet, and what is not finished, is bounded too. */
static int check_unfinished(const struct xml_parser *p)
{
	if ((size_t)(p->fed - p->last_end) > p->limits.tag_bytes)
		return -ERR_XML_LIMIT;
	if (p->depth > 1 && (size_t)(p->fed - p->start) > p->limits.element_bytes)
		return -ERR_XML_LIMIT;
	return 0;
}

/* UTF-16 and UTF-32 begin "<\0" or "\0<" behind their byte order marks, if any. A stream begins with '<' (after white space): a UTF-8 byte
 * order mark is a character like any other (RFC 6120 section 11.6). */
static int check_opening(const struct xml_parser *p)
{
	if (p->stage != WAIT_HEADER || p->fed > 1)
		return 0;
	for (size_t i = 0; i < p->window.in.n && p->fed + (int64_t)i < 2; i++) {
		unsigned char c = (unsigned char)p->window.in.p[i];
		if (c == 0 || c >= 0xfe)
			return -ERR_XML_ENCODING;
		if (p->fed + (int64_t)i == 0 && c != '<')
			return -ERR_XML_NOT_WELL_FORMED;
	}
	return 0;
}

static enum XML_Status feed_portion(struct xml_parser *p)
{
	size_t at = (size_t)(p->fed - p->window.origin);
	size_t n = p->window.in.n - at < XML_PORTION ? p->window.in.n - at : XML_PORTION;
	p->fed += (int64_t)n;
	return xml_expat_feed(&p->expat, p->window.in.p + at, n);
}

/* Until the input is used up or something halts it. 0 or -ERR_XML_*. */
static int run(struct xml_parser *p)
{
	for (;;) {
		enum XML_Status status = XML_STATUS_OK;
		if (p->suspended) {
			p->suspended = false;
			status = xml_expat_resume(&p->expat);
		} else if (p->fed - p->window.origin < (int64_t)p->window.in.n) {
			status = feed_portion(p);
		} else {
			return 0;
		}
		if (p->halt == HALT_RETIRE) {
			expat_renew(p);
			continue;
		}
		if (p->halt == HALT_ERROR)
			return p->err;
		if (p->halt != HALT_NONE)
			return 0;
		if (status != XML_STATUS_OK)
			return xml_expat_error(&p->expat);
		int err = check_unfinished(p);
		if (err)
			return err;
	}
}

/* The input goes away: of an unfinished element everything is kept, between elements the beginning of a tag. */
static void save(struct xml_parser *p)
{
	int64_t from = p->depth > 1 ? p->start : p->boundary;
	struct xml_window *w = &p->window;
	if (p->depth <= 1 && from >= w->origin)
		from += (int64_t)xml_space_prefix((struct slice){w->in.p + (from - w->origin), (size_t)(p->fed - from)});
	xml_window_save(w, from, p->fed);
}

static int feed_stopped(struct xml_parser *p, size_t *used)
{
	int64_t upto = p->boundary > p->window.origin ? p->boundary : p->window.origin;
	*used = (size_t)(upto - p->window.origin);
	p->ahead = p->fed - upto;
	p->suspended = true;
	p->halt = HALT_NONE;
	return -ERR_AGAIN;
}

static int feed_done(struct xml_parser *p, int err, size_t *used)
{
	if (err) {
		*used = p->boundary > p->window.origin ? (size_t)(p->boundary - p->window.origin) : 0;
		forget(p);
		p->stage = DEAD;
		return p->err = err;
	}
	if (p->halt == HALT_STOP)
		return feed_stopped(p, used);
	*used = p->window.in.n;
	if (p->halt == HALT_RESET) {
		forget(p);
	} else if (p->halt == HALT_END) {
		forget(p);
		p->stage = ENDED;
	} else {
		save(p);
	}
	return 0;
}

static int feed_expat(struct xml_parser *p, size_t *used)
{
	if (p->expat.parser == NULL)
		expat_start(p);
	p->window.origin = p->fed - p->ahead;
	if (p->ahead > (int64_t)p->window.in.n)
		expat_renew(p); /* fed again, but less of it than expat has */
	p->ahead = 0;
	int err = check_opening(p);
	return feed_done(p, err ? err : run(p), used);
}

/* A keepalive wakes nothing up, and a header may be preceded by what ended the stream before it. Nothing counts behind the footer. */
static size_t skippable(const struct xml_parser *p, struct slice in)
{
	if (p->stage == ENDED)
		return in.n;
	return p->expat.parser == NULL ? xml_space_prefix(in) : 0;
}

int xml_parser_feed(struct xml_parser *p, struct slice in, size_t *used)
{
	ASSERT(!p->feeding);
	*used = 0;
	if (p->stage == DEAD)
		return p->err;
	int err = 0;
	p->feeding = true;
	p->window.in = in;
	if (p->footer_due) {
		footer(p);
		err = feed_done(p, 0, used);
	} else {
		size_t skip = skippable(p, in);
		if (skip < in.n) {
			p->window.in = (struct slice){in.p + skip, in.n - skip};
			err = feed_expat(p, used);
		}
		*used += skip;
	}
	p->feeding = false;
	return err;
}

void xml_parser_stop(struct xml_parser *p)
{
	if (!p->feeding || p->halt != HALT_NONE)
		return;
	p->halt = HALT_STOP;
	xml_expat_suspend(&p->expat);
}

void xml_parser_reset(struct xml_parser *p)
{
	if (!p->feeding) {
		forget(p);
		return;
	}
	if (p->expat.parser != NULL)
		xml_expat_halt(&p->expat);
	p->halt = HALT_RESET;
}

/* ---- life ---- */

struct xml_parser *xml_parser_new(const struct xml_limits *limits, const struct xml_parser_ops *ops, void *arg)
{
	struct xml_parser *p = NEW(struct xml_parser);
	p->limits = *limits;
	p->ops = ops;
	p->arg = arg;
	xml_window_init(&p->window);
	return p;
}

void xml_parser_free(struct xml_parser *p)
{
	if (p == NULL)
		return;
	ASSERT(!p->feeding);
	forget(p);
	free(p);
}

void xml_parser_set_limits(struct xml_parser *p, const struct xml_limits *limits)
{
	p->limits = *limits;
}

bool xml_parser_idle(const struct xml_parser *p)
{
	return !p->feeding && !p->footer_due && p->depth <= 1 && (p->stage != WAIT_HEADER || p->fed == 0) &&
	       buf_len(&p->window.pending) == 0;
}

void xml_parser_release(struct xml_parser *p)
{
	if (xml_parser_idle(p))
		memory_free(p);
}

void xml_parser_begin_inside(struct xml_parser *p, struct slice header_tag)
{
	ASSERT(p->stage == WAIT_HEADER && p->header == NULL && p->expat.parser == NULL);
	p->header = xml_header_new(&p->tag, header_tag);
	p->stage = INSIDE;
}
