/*
 * What expat tells of a stream, put together to its header, its first-level elements and its footer. Limits hold here for what is complete,
 * and in parser.c for what is not yet. Nothing recurses.
 */
#include "xml/parser_int.h"

#include "common/err.h"

/* A fresh expat in use holds 10 to 20 KB. */
#define RETIRE_BYTES ((size_t)96 << 10)

void xml_handlers_fail(void *arg, int err)
{
	struct xml_parser *p = arg;
	if (p->halt == HALT_RESET || p->halt == HALT_END || p->halt == HALT_ERROR)
		return;
	p->halt = HALT_ERROR;
	p->err = err;
	xml_expat_halt(&p->work->expat);
}

int xml_handlers_blanks(struct xml_parser *p, size_t n)
{
	p->nr_blanks += n;
	return p->nr_blanks > p->blanks_max ? -ERR_XML_BLANKS : 0;
}

/* Handlers may still be called for the token at which expat was stopped. */
static bool deaf(const struct xml_parser *p)
{
	return p->halt != HALT_NONE || p->replaying;
}

static void element_forget(struct xml_parser *p)
{
	struct xml_work *w = p->work;
	xml_starttag_forget(&w->tag);
	w->mixed_text = false;
	w->nr_children = 0;
}

void xml_handlers_header(struct xml_parser *p)
{
	const struct xml_starttag *tag = &p->work->tag;
	p->header = xml_header_of(tag);
	p->stage = INSIDE;
	struct slice default_ns = SLICE_NONE;
	for (size_t i = 0; i < tag->nr_decls; i++)
		if (tag->decls[i].prefix.n == 0)
			default_ns = tag->decls[i].uri;
	p->ops->header(p->arg, &tag->head, default_ns);
	element_forget(p);
}

static void on_header(struct xml_parser *p, int64_t end)
{
	p->work->boundary = end;
	xml_handlers_header(p);
	xml_window_done(&p->work->window, end);
}

void xml_handlers_footer(struct xml_parser *p)
{
	p->halt = HALT_END;
	p->ops->footer(p->arg);
}

static void on_declare(void *arg, const char *prefix, const char *uri)
{
	struct xml_parser *p = arg;
	struct xml_work *w = p->work;
	if (deaf(p))
		return;
	w->nr_tag_decls++;
	if (p->depth <= 1 && (prefix == NULL || strcmp(prefix, "xml") != 0))
		xml_starttag_declare(&w->tag, prefix, uri);
}

/* Depth, tag size, number of attributes, size of the element so far. */
static bool tag_within_limits(const struct xml_parser *p, int64_t at, int64_t end, size_t nr_attrs)
{
	return p->depth <= p->limits->depth_max && (size_t)(end - at) <= p->limits->tag_bytes &&
	       nr_attrs + p->work->nr_tag_decls <= p->limits->attrs_max &&
	       (p->depth < 2 || (size_t)(end - p->work->start) <= p->limits->element_bytes);
}

static void on_start(void *arg, const char *name, const char **atts)
{
	struct xml_parser *p = arg;
	struct xml_work *w = p->work;
	if (deaf(p))
		return;
	int64_t at = xml_expat_at(&w->expat), end = xml_expat_end(&w->expat);
	w->last_end = end;
	size_t nr_attrs = 0;
	while (atts[2 * nr_attrs] != NULL)
		nr_attrs++;
	if (!tag_within_limits(p, at, end, nr_attrs)) {
		xml_handlers_fail(p, -ERR_XML_LIMIT);
		return;
	}
	w->nr_tag_decls = 0;
	unsigned depth = p->depth++;
	if (depth == 2)
		w->nr_children++;
	if (depth > 1)
		return;
	w->start = at;
	w->inner_start = end;
	const struct xml_header *outer = p->header;
	xml_starttag_set(&w->tag, name, atts, nr_attrs, outer ? outer->decls : NULL, outer ? outer->nr_decls : 0);
	if (depth == 0)
		on_header(p, end);
}

static void element_done(struct xml_parser *p, int64_t inner_end, int64_t end)
{
	struct xml_work *w = p->work;
	struct xml_element e = {.head = w->tag.head, .decls = w->tag.decls, .nr_decls = w->tag.nr_decls, .nr_own = w->tag.nr_own,
				.lang = p->header->lang, .nr_children = w->nr_children, .mixed_text = w->mixed_text};
	e.raw = xml_window_bytes(&w->window, w->start, end);
	if (inner_end > w->inner_start)
		e.inner = (struct slice){e.raw.p + (w->inner_start - w->start), (size_t)(inner_end - w->inner_start)};
	w->boundary = end;
	p->ops->element(p->arg, &e);
	xml_window_done(&w->window, end);
	element_forget(p);
	if (p->halt == HALT_NONE && w->expat.bytes > RETIRE_BYTES && end >= w->window.origin) {
		p->halt = HALT_RETIRE;
		xml_expat_halt(&w->expat);
	}
}

static void on_end(void *arg, const char *name)
{
	struct xml_parser *p = arg;
	struct xml_work *w = p->work;
	(void)name;
	if (p->halt == HALT_STOP && p->depth == 1 && p->stage == INSIDE && !p->replaying)
		p->footer_due = true; /* of an empty tag expat reports the end, stopped or not */
	if (deaf(p))
		return;
	int64_t at = xml_expat_at(&w->expat), end = xml_expat_end(&w->expat);
	w->last_end = end;
	p->depth--;
	if (p->depth == 0) {
		w->boundary = end;
		xml_expat_halt(&w->expat);
		xml_handlers_footer(p);
	} else if ((size_t)(end - w->start) > p->limits->element_bytes) {
		xml_handlers_fail(p, -ERR_XML_LIMIT);
	} else if (p->depth == 1) {
		element_done(p, at, end);
	}
}

static void on_text(void *arg, const char *text, int n)
{
	struct xml_parser *p = arg;
	struct xml_work *w = p->work;
	if (deaf(p))
		return;
	w->last_end = xml_expat_end(&w->expat);
	if (p->depth > 2)
		return;
	bool space = xml_is_space((struct slice){text, (size_t)n});
	if (p->depth == 2) {
		w->mixed_text |= !space;
	} else if (space) {
		w->boundary = w->last_end;
		int err = xml_handlers_blanks(p, (size_t)(w->last_end - xml_expat_at(&w->expat)));
		if (err)
			xml_handlers_fail(p, err);
	} else {
		xml_handlers_fail(p, -ERR_XML_NOT_WELL_FORMED);
	}
}

static void on_cdata(void *arg)
{
	struct xml_parser *p = arg;
	struct xml_work *w = p->work;
	if (deaf(p))
		return;
	w->last_end = xml_expat_end(&w->expat);
	if (p->depth <= 1)
		xml_handlers_fail(p, -ERR_XML_NOT_WELL_FORMED);
}

void xml_handlers_set(struct xml_parser *p)
{
	struct xml_work *w = p->work;
	XML_SetElementHandler(w->expat.parser, on_start, on_end);
	XML_SetCharacterDataHandler(w->expat.parser, on_text);
	XML_SetCdataSectionHandler(w->expat.parser, on_cdata, on_cdata);
	XML_SetStartNamespaceDeclHandler(w->expat.parser, on_declare);
}
