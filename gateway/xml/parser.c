/*
 * From a stream's bytes to its header, its first-level elements as raw slices, and its footer. Limits hold while parsing, on unfinished
 * input too; nothing recurses; nothing is copied of an element that lies in one feed but its start tag's strings.
 *
 * Most elements never come to expat: plain.c tells them at a fraction of the cost. One that a read cuts in two does, but what follows it
 * does not, since expat is given what ends it tag by tag.
 *
 * Positions (int64_t) count the bytes that the present expat was fed. Between elements expat can be
 * thrown away and begun again behind a replayed header tag: so idle streams need none, and one that has grown (restrict.c) is retired.
 */
#include "xml/parser.h"

#include <stdlib.h>

#include "common/err.h"
#include "xml/parser_int.h"
#include "xml/plain.h"

/* Of one feed: so many tags expat gets one at a time. */
#define TAGS_MAX 64

/* ---- expat's life ---- */

static void expat_start(struct xml_parser *p)
{
	struct xml_work *w = p->work;
	xml_expat_open(&w->expat, p->limits, xml_handlers_fail, p);
	xml_handlers_set(p);
	w->fed = w->ahead = w->boundary = w->last_end = 0;
	w->suspended = false;
	p->depth = 0;
	w->nr_tag_decls = 0;
	if (p->header == NULL)
		return;
	p->replaying = true;
	enum XML_Status status = xml_expat_feed(&w->expat, p->header->tag.p, p->header->tag.n);
	ASSERT(status == XML_STATUS_OK);
	p->replaying = false;
	p->depth = 1;
	w->fed = w->boundary = w->last_end = (int64_t)p->header->tag.n;
}

static void memory_free(struct xml_parser *p)
{
	struct xml_work *w = p->work;
	xml_expat_close(&w->expat);
	xml_window_clear(&w->window);
	xml_starttag_clear(&w->tag);
	w->suspended = false;
	w->ahead = w->fed = w->boundary = 0;
}

static void work_free(struct xml_parser *p)
{
	if (p->work == NULL)
		return;
	memory_free(p);
	free(p->work);
	p->work = NULL;
}

static void forget(struct xml_parser *p)
{
	work_free(p);
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
	struct xml_work *w = p->work;
	int64_t done = w->boundary - w->window.origin;
	ASSERT(p->header != NULL && done >= 0);
	xml_expat_close(&w->expat);
	expat_start(p);
	w->window.origin = w->fed - done;
	p->halt = HALT_NONE;
}

/* ---- feeding ---- */

/* What no event has shown yet, and what is not finished, is bounded too. */
static int check_unfinished(const struct xml_parser *p)
{
	const struct xml_work *w = p->work;
	if ((size_t)(w->fed - w->last_end) > p->limits->tag_bytes)
		return -ERR_XML_LIMIT;
	if (p->depth > 1 && (size_t)(w->fed - w->start) > p->limits->element_bytes)
		return -ERR_XML_LIMIT;
	return 0;
}

/* UTF-16 and UTF-32 begin "<\0" or "\0<" behind their byte order marks, if any. A stream begins with '<' (after white space): a UTF-8 byte
 * order mark is a character like any other (RFC 6120 section 11.6). */
static int check_opening(const struct xml_parser *p)
{
	const struct xml_work *w = p->work;
	if (p->stage != WAIT_HEADER || w->fed > 1)
		return 0;
	for (size_t i = 0; i < w->window.in.n && w->fed + (int64_t)i < 2; i++) {
		unsigned char c = (unsigned char)w->window.in.p[i];
		if (c == 0 || c >= 0xfe)
			return -ERR_XML_ENCODING;
		if (w->fed + (int64_t)i == 0 && c != '<')
			return -ERR_XML_NOT_WELL_FORMED;
	}
	return 0;
}

static enum XML_Status feed_portion(struct xml_parser *p)
{
	struct xml_work *w = p->work;
	size_t at = (size_t)(w->fed - w->window.origin);
	size_t n = w->window.in.n - at < XML_PORTION ? w->window.in.n - at : XML_PORTION;
	/* Inside a tag (or what else is one for expat) it is begun anew with every portion: so these are whole there. */
	bool between = w->nr_tags == 0 || w->last_end == w->fed;
	const char *from = w->window.in.p + at, *tag = p->stage == INSIDE && between && w->nr_tags < TAGS_MAX ? memchr(from, '>', n) : NULL;
	if (tag != NULL) {
		w->nr_tags++;
		n = (size_t)(tag + 1 - from);
	}
	w->fed += (int64_t)n;
	return xml_expat_feed(&w->expat, from, n);
}

/* The element that was cut has ended where expat's input has: plain.c may go on. */
static bool expat_is_done(const struct xml_parser *p)
{
	return p->stage == INSIDE && p->depth == 1 && p->work->fed == p->work->boundary;
}

/* Has expat nothing of an element? It may hold a '\r' back, which could be half a line end. */
static bool between_elements(const struct xml_parser *p)
{
	const struct xml_work *w = p->work;
	int64_t origin = w->window.origin, from = w->boundary > origin ? w->boundary : origin;

	if (p->depth != 1 || w->suspended || (w->boundary < origin && buf_len(&w->window.pending) > 0))
		return false;
	return xml_is_space((struct slice){w->window.in.p + (from - origin), (size_t)(w->fed - from)});
}

/* White space between elements does not go to expat, which tells of each line end by itself: that is thirty times the work. */
static int skip_blanks(struct xml_parser *p)
{
	struct xml_work *w = p->work;
	if (!between_elements(p))
		return 0;
	size_t at = (size_t)(w->fed - w->window.origin);
	size_t n = xml_space_prefix((struct slice){w->window.in.p + at, w->window.in.n - at});
	w->window.origin -= (int64_t)n;
	return xml_handlers_blanks(p, n);
}

/* Until the input is used up, an element is or something halts it. 0 or -ERR_XML_*. */
static int run(struct xml_parser *p)
{
	struct xml_work *w = p->work;
	for (;;) {
		enum XML_Status status = XML_STATUS_OK;
		int err = skip_blanks(p);
		if (err)
			return err;
		if (w->suspended) {
			w->suspended = false;
			status = xml_expat_resume(&w->expat);
		} else if (w->fed - w->window.origin < (int64_t)w->window.in.n) {
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
			return xml_expat_error(&w->expat);
		err = check_unfinished(p);
		if (err || expat_is_done(p))
			return err;
	}
}

/* The input goes away: of an unfinished element everything is kept, between elements the beginning of a tag. */
static void save(struct xml_parser *p)
{
	struct xml_work *w = p->work;
	int64_t from = p->depth > 1 ? w->start : w->boundary;
	if (p->depth <= 1 && from >= w->window.origin)
		from += (int64_t)xml_space_prefix((struct slice){w->window.in.p + (from - w->window.origin), (size_t)(w->fed - from)});
	xml_window_save(&w->window, from, w->fed);
}

static int feed_stopped(struct xml_parser *p, size_t *used)
{
	struct xml_work *w = p->work;
	int64_t upto = w->boundary > w->window.origin ? w->boundary : w->window.origin;
	*used = (size_t)(upto - w->window.origin);
	w->ahead = w->fed - upto;
	w->suspended = true;
	p->halt = HALT_NONE;
	return -ERR_AGAIN;
}

static int feed_done(struct xml_parser *p, int err, size_t *used)
{
	struct xml_work *w = p->work;
	if (err) {
		*used = w->boundary > w->window.origin ? (size_t)(w->boundary - w->window.origin) : 0;
		forget(p);
		p->stage = DEAD;
		return p->err = err;
	}
	if (p->halt == HALT_STOP)
		return feed_stopped(p, used);
	*used = w->window.in.n;
	if (p->halt == HALT_RESET) {
		forget(p);
	} else if (p->halt == HALT_END) {
		forget(p);
		p->stage = ENDED;
	} else {
		*used = (size_t)(w->fed - w->window.origin);
		save(p);
	}
	return 0;
}

static int feed_expat(struct xml_parser *p, size_t *used)
{
	struct xml_work *w = p->work;
	if (w->expat.parser == NULL)
		expat_start(p);
	w->window.origin = w->fed - w->ahead;
	if (w->ahead > (int64_t)w->window.in.n)
		expat_renew(p); /* fed again, but less of it than expat has */
	w->ahead = 0;
	w->nr_tags = 0;
	int err = check_opening(p);
	return feed_done(p, err ? err : run(p), used);
}

/* White space, which may be what ended the stream before, and the header, if expat need not look at it. */
static int feed_opening(struct xml_parser *p, size_t *done)
{
	struct xml_work *w = p->work;
	struct xml_plain_header h;
	*done = xml_space_prefix(w->window.in);
	int err = xml_handlers_blanks(p, *done);
	size_t n = err ? 0 : xml_plain_header(&h, (struct slice){w->window.in.p + *done, w->window.in.n - *done}, p->limits);
	if (n == 0)
		return err;
	*done += n;
	w->tag.head = h.head;
	w->tag.decls = h.decls;
	w->tag.nr_decls = w->tag.nr_own = h.nr_decls;
	p->depth = 1;
	p->plain = true;
	xml_handlers_header(p);
	p->plain = false;
	return 0;
}

/* The bytes of the stream's end tag, as nearly all write it; 0: it does not come next. */
static size_t end_tag(const struct xml_header *h, struct slice in)
{
	size_t n = 1;
	if (in.n < 2 || in.p[0] != '<' || in.p[1] != '/') /* nearly always */
		return 0;
	while (h->tag.p[n] != '>' && h->tag.p[n] != ' ')
		n++;
	if (in.n < n + 2 || memcmp(in.p + 2, h->tag.p + 1, n - 1) != 0 || in.p[n + 1] != '>')
		return 0;
	return n + 2;
}

/* Elements, white space and the footer from *done on, as long as expat need not look. */
static int feed_plain(struct xml_parser *p, size_t *done)
{
	struct xml_work *w = p->work;
	struct xml_plain e;
	size_t n = 1;
	int err = xml_handlers_blanks(p, (size_t)(w->fed - w->boundary)); /* a '\r' that expat holds back: see between_elements() */
	if (w->fed > w->boundary)
		memory_free(p);
	p->plain = true;
	w->window.origin = w->fed;
	for (; n > 0 && err == 0 && p->halt == HALT_NONE; *done += n) {
		struct slice rest = {w->window.in.p + *done, w->window.in.n - *done};
		n = xml_space_prefix(rest);
		if (n > 0) {
			err = xml_handlers_blanks(p, n);
		} else if ((n = end_tag(p->header, rest)) > 0) {
			xml_handlers_footer(p);
		} else if ((n = xml_plain_read(&e, rest, p->limits)) > 0) {
			xml_plain_complete(&e, p->header, &w->tag);
			p->ops->element(p->arg, &e.element);
			xml_starttag_forget(&w->tag);
		}
	}
	p->plain = false;
	return err;
}

/* What is not expat's. A keepalive wakes nothing up. Nothing counts behind the footer. */
static int feed_without(struct xml_parser *p, size_t *done)
{
	struct xml_work *w = p->work;
	int err = 0;
	*done = p->stage == ENDED ? w->window.in.n : 0;
	if (p->stage == WAIT_HEADER && w->expat.parser == NULL)
		err = feed_opening(p, done);
	if (err == 0 && p->halt == HALT_NONE && p->stage == INSIDE && p->depth <= 1 && !w->suspended && buf_len(&w->window.pending) == 0)
		err = feed_plain(p, done);
	return err;
}

/* All of it, but for what follows an element that expat has ended. */
static int feed_some(struct xml_parser *p, struct slice in, size_t *used)
{
	size_t skip;
	*used = 0;
	p->work->window.in = in;
	int err = feed_without(p, &skip);
	p->work->window.in = (struct slice){in.p + skip, in.n - skip};
	if (p->halt == HALT_STOP) {
		p->halt = HALT_NONE;
		err = -ERR_AGAIN;
	} else if (err || p->halt == HALT_RESET || p->halt == HALT_END) {
		err = feed_done(p, err, used);
	} else if (skip < in.n) {
		err = feed_expat(p, used);
	}
	*used += skip;
	return err;
}

/* A keepalive: it takes no memory. */
static int feed_blanks(struct xml_parser *p, size_t n, size_t *used)
{
	int err = xml_handlers_blanks(p, n);
	if (err) {
		forget(p);
		p->stage = DEAD;
		return p->err = err;
	}
	*used = n;
	return 0;
}

int xml_parser_feed(struct xml_parser *p, struct slice in, size_t *used)
{
	ASSERT(!p->feeding);
	*used = 0;
	if (p->stage == DEAD)
		return p->err;
	int err = 0;
	if (p->work == NULL && p->stage == INSIDE && xml_is_space(in))
		return feed_blanks(p, in.n, used);
	if (p->work == NULL) {
		p->work = NEW(struct xml_work);
		xml_window_init(&p->work->window);
	}
	p->feeding = true;
	if (p->footer_due) {
		p->work->window.in = in;
		xml_handlers_footer(p);
		err = feed_done(p, 0, used);
	} else {
		size_t n;
		do {
			err = feed_some(p, (struct slice){in.p + *used, in.n - *used}, &n);
			*used += n;
		} while (err == 0 && *used < in.n);
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
		xml_expat_suspend(&p->work->expat);
}

void xml_parser_reset(struct xml_parser *p)
{
	if (!p->feeding) {
		forget(p);
		return;
	}
	if (p->work->expat.parser != NULL)
		xml_expat_halt(&p->work->expat);
	p->halt = HALT_RESET;
}

/* ---- life ---- */

struct xml_parser *xml_parser_new(const struct xml_limits *limits, const struct xml_parser_ops *ops, void *arg)
{
	struct xml_parser *p = NEW(struct xml_parser);
	p->limits = limits;
	p->blanks_max = SIZE_MAX;
	p->ops = ops;
	p->arg = arg;
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
	p->limits = limits;
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
	const struct xml_work *w = p->work;
	if (w == NULL)
		return !p->feeding;
	return !p->feeding && !p->footer_due && p->depth <= 1 && (p->stage != WAIT_HEADER || w->fed == 0) &&
	       buf_len(&w->window.pending) == 0;
}

size_t xml_parser_unfinished(const struct xml_parser *p)
{
	const struct xml_work *w = p->work;
	return w == NULL || xml_parser_idle(p) ? 0 : buf_len(&w->window.pending) + w->expat.bytes;
}

void xml_parser_release(struct xml_parser *p)
{
	if (p->work == NULL || !xml_parser_idle(p))
		return;
	if (!p->work->suspended) /* else it is what will be fed again */
		p->nr_blanks += (size_t)(p->work->fed - p->work->boundary); /* what expat held back: see between_elements() */
	work_free(p);
}

void xml_parser_begin_inside(struct xml_parser *p, struct slice header_tag)
{
	ASSERT(p->stage == WAIT_HEADER && p->header == NULL && p->work == NULL);
	p->header = xml_header_of_tag(header_tag);
	p->stage = INSIDE;
}
