/*
 * From a stream's bytes to its header, its first-level elements as raw slices, and its footer. Limits hold while parsing, on unfinished
 * input too; nothing recurses; nothing is copied of an element that lies in one feed but its start tag's strings.
 *
 * Most elements never come to expat: plain.c tells them at a fraction of the cost.
 *
 * Positions (int64_t) count the bytes that the present expat was fed. Between elements expat can be
 * thrown away and begun again behind a replayed header tag: so idle streams need none, and one that has grown (restrict.c) is retired.
 */
#include "xml/parser.h"

#include <stdlib.h>

#include "common/err.h"
#include "xml/parser_int.h"
#include "xml/plain.h"

/* ---- expat's life ---- */

static void expat_start(struct xml_parser *p)
{
	xml_expat_open(&p->expat, &p->limits, xml_handlers_fail, p);
	xml_handlers_set(p);
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
	p->ahead = p->fed = p->boundary = 0;
}

static void forget(struct xml_parser *p)
{
	memory_free(p);
	xml_header_unref(p->header);
	p->header = NULL;
	p->stage = WAIT_HEADER;
	p->halt = HALT_NONE;
	p->err = 0;
	p->depth = 0;
	p->nr_blanks = 0;
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

/* Has expat nothing of an element? It may hold a '\r' back, which could be half a line end. */
static bool between_elements(const struct xml_parser *p)
{
	int64_t origin = p->window.origin, from = p->boundary > origin ? p->boundary : origin;

	if (p->depth != 1 || p->suspended || (p->boundary < origin && buf_len(&p->window.pending) > 0))
		return false;
	return xml_is_space((struct slice){p->window.in.p + (from - origin), (size_t)(p->fed - from)});
}

/* White space between elements does not go to expat, which tells of each line end by itself: that is thirty times the work. */
static int skip_blanks(struct xml_parser *p)
{
	if (!between_elements(p))
		return 0;
	size_t at = (size_t)(p->fed - p->window.origin);
	size_t n = xml_space_prefix((struct slice){p->window.in.p + at, p->window.in.n - at});
	p->window.origin -= (int64_t)n;
	return xml_handlers_blanks(p, n);
}

/* Until the input is used up or something halts it. 0 or -ERR_XML_*. */
static int run(struct xml_parser *p)
{
	for (;;) {
		enum XML_Status status = XML_STATUS_OK;
		int err = skip_blanks(p);
		if (err)
			return err;
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
		err = check_unfinished(p);
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

/* Elements and white space, as long as expat need not look. */
static int feed_plain(struct xml_parser *p, size_t *done)
{
	struct xml_plain e;
	size_t n = 1;
	int err = xml_handlers_blanks(p, (size_t)(p->fed - p->boundary)); /* a '\r' that expat holds back: see between_elements() */
	if (p->fed > p->boundary)
		memory_free(p);
	p->plain = true;
	p->window.origin = p->fed;
	for (*done = 0; n > 0 && err == 0 && p->halt == HALT_NONE; *done += n) {
		struct slice rest = {p->window.in.p + *done, p->window.in.n - *done};
		n = xml_space_prefix(rest);
		if (n > 0) {
			err = xml_handlers_blanks(p, n);
		} else if ((n = xml_plain_read(&e, rest, &p->limits)) > 0) {
			xml_plain_complete(&e, p->header, &p->tag);
			p->ops->element(p->arg, &e.element);
			xml_starttag_forget(&p->tag);
		}
	}
	p->plain = false;
	return err;
}

/* What is not expat's. A keepalive wakes nothing up, and a header may be preceded by what ended the stream before it. Nothing counts behind
 * the footer. */
static int feed_without(struct xml_parser *p, size_t *done)
{
	if (p->stage == INSIDE && p->depth <= 1 && !p->suspended && buf_len(&p->window.pending) == 0)
		return feed_plain(p, done);
	if (p->stage == ENDED)
		*done = p->window.in.n;
	else
		*done = p->expat.parser == NULL ? xml_space_prefix(p->window.in) : 0;
	return p->stage == ENDED ? 0 : xml_handlers_blanks(p, *done);
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
		xml_handlers_footer(p);
		err = feed_done(p, 0, used);
	} else {
		size_t skip;
		err = feed_without(p, &skip);
		p->window.in = (struct slice){in.p + skip, in.n - skip};
		if (p->halt == HALT_STOP) {
			p->halt = HALT_NONE;
			err = -ERR_AGAIN;
		} else if (err || p->halt == HALT_RESET) {
			err = feed_done(p, err, used);
		} else if (skip < in.n) {
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
	if (!p->plain)
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
	p->blanks_max = SIZE_MAX;
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

void xml_parser_set_blanks_max(struct xml_parser *p, size_t max)
{
	p->nr_blanks = 0;
	p->blanks_max = max;
}

size_t xml_parser_blanks(const struct xml_parser *p)
{
	return p->nr_blanks;
}

bool xml_parser_idle(const struct xml_parser *p)
{
	return !p->feeding && !p->footer_due && p->depth <= 1 && (p->stage != WAIT_HEADER || p->fed == 0) &&
	       buf_len(&p->window.pending) == 0;
}

void xml_parser_release(struct xml_parser *p)
{
	if (!xml_parser_idle(p))
		return;
	p->nr_blanks += (size_t)(p->fed - p->boundary); /* what expat held back: see between_elements() */
	memory_free(p);
}

void xml_parser_begin_inside(struct xml_parser *p, struct slice header_tag)
{
	ASSERT(p->stage == WAIT_HEADER && p->header == NULL && p->expat.parser == NULL);
	p->header = xml_header_of_tag(header_tag);
	p->stage = INSIDE;
}
