/*
 * One place that knows how expat must be set up for a hostile peer (RFC 6120 section 11.1) and that translates its errors.
 *
 * Expat keeps every name it ever saw, 159 bytes each, and gives nothing back. So its memory is counted through its allocator: the parser
 * above retires one that has grown, and a single element cannot take it past bytes_max. The allocator has no argument, hence the thread's
 * pointer; it is set around each call into expat and restored, since a callback may use another parser.
 */
#include "xml/restrict.h"

#include <malloc.h>
#include <stdlib.h>
#include <strings.h>

#include "common/err.h"

#if !defined(EXPAT_DECLARES_DEFERRAL) && defined(EXPAT_EXPORTS_DEFERRAL)
XML_Bool XML_SetReparseDeferralEnabled(XML_Parser parser, XML_Bool enabled);
#endif

/* Can occur in no name and no namespace: XML 1.0 has no such character, not even as a reference. */
#define SEPARATOR '\x01'

static _Thread_local struct xml_expat *current;

static void *counted_realloc(void *old, size_t n)
{
	size_t had = old ? malloc_usable_size(old) : 0;
	if (n > had && (n - had > current->bytes_max || current->bytes > current->bytes_max - (n - had)))
		return NULL;
	void *p = realloc(old, n);
	if (p != NULL)
		current->bytes = current->bytes - had + malloc_usable_size(p);
	return p;
}

static void *counted_malloc(size_t n)
{
	return counted_realloc(NULL, n ? n : 1);
}

static void counted_free(void *p)
{
	if (p == NULL)
		return;
	current->bytes -= malloc_usable_size(p);
	free(p);
}

static const XML_Memory_Handling_Suite counted = {counted_malloc, counted_realloc, counted_free};

static struct xml_expat *enter(struct xml_expat *x)
{
	struct xml_expat *outer = current;
	current = x;
	return outer;
}

static void on_comment(void *arg, const XML_Char *text)
{
	(void)text;
	current->refuse(arg, -ERR_XML_RESTRICTED);
}

static void on_instruction(void *arg, const XML_Char *target, const XML_Char *data)
{
	(void)target, (void)data;
	current->refuse(arg, -ERR_XML_RESTRICTED);
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id, int internal)
{
	(void)name, (void)system_id, (void)public_id, (void)internal;
	current->refuse(arg, -ERR_XML_RESTRICTED);
}

/* Beside DTDs being refused: no entity of a document is ever declared, so none can be expanded. */
static void on_entity(void *arg, const XML_Char *name, int is_parameter, const XML_Char *value, int length, const XML_Char *base,
		      const XML_Char *system_id, const XML_Char *public_id, const XML_Char *notation)
{
	(void)name, (void)is_parameter, (void)value, (void)length, (void)base, (void)system_id, (void)public_id, (void)notation;
	current->refuse(arg, -ERR_XML_RESTRICTED);
}

/* `standalone` is ignored, as RFC 6120 section 11.5 allows. */
static void on_declaration(void *arg, const XML_Char *version, const XML_Char *encoding, int standalone)
{
	(void)standalone;
	if (version == NULL || strcmp(version, "1.0") != 0)
		current->refuse(arg, -ERR_XML_NOT_WELL_FORMED);
	else if (encoding != NULL && strcasecmp(encoding, "UTF-8") != 0)
		current->refuse(arg, -ERR_XML_ENCODING);
}

void xml_expat_open(struct xml_expat *x, const struct xml_limits *limits, void (*refuse)(void *arg, int err), void *arg)
{
	/* Room for a few thousand different names in one element, and for a tag in all the copies that expat makes of it. */
	*x = (struct xml_expat){.bytes_max = ((size_t)1 << 20) + 16 * limits->tag_bytes, .refuse = refuse};
	struct xml_expat *outer = enter(x);
	const XML_Char separator[2] = {SEPARATOR, '\0'};
	XML_Parser parser = XML_ParserCreate_MM("UTF-8", &counted, separator);
	ASSERT(parser != NULL);
	x->parser = parser;
#if defined(EXPAT_DECLARES_DEFERRAL) || defined(EXPAT_EXPORTS_DEFERRAL)
	/* Else a stanza that is here whole may wait for bytes that never come. XML_ParserReset would undo it: it is never used. */
	XML_SetReparseDeferralEnabled(parser, XML_FALSE);
#endif
	XML_SetReturnNSTriplet(parser, 1);
	XML_SetUserData(parser, arg);
	XML_SetCommentHandler(parser, on_comment);
	XML_SetProcessingInstructionHandler(parser, on_instruction);
	XML_SetStartDoctypeDeclHandler(parser, on_doctype);
	XML_SetEntityDeclHandler(parser, on_entity);
	XML_SetXmlDeclHandler(parser, on_declaration);
	current = outer;
}

void xml_expat_close(struct xml_expat *x)
{
	if (x->parser == NULL)
		return;
	struct xml_expat *outer = enter(x);
	XML_ParserFree(x->parser);
	x->parser = NULL;
	current = outer;
}

enum XML_Status xml_expat_feed(struct xml_expat *x, const char *p, size_t n)
{
	struct xml_expat *outer = enter(x);
	enum XML_Status status = XML_Parse(x->parser, p, (int)n, XML_FALSE);
	current = outer;
	return status;
}

enum XML_Status xml_expat_resume(struct xml_expat *x)
{
	struct xml_expat *outer = enter(x);
	enum XML_Status status = XML_ResumeParser(x->parser);
	current = outer;
	return status;
}

void xml_expat_suspend(struct xml_expat *x)
{
	(void)XML_StopParser(x->parser, XML_TRUE); /* fails when it is stopped already, which is as well */
}

void xml_expat_halt(struct xml_expat *x)
{
	(void)XML_StopParser(x->parser, XML_FALSE);
}

int xml_expat_error(const struct xml_expat *x)
{
	switch (XML_GetErrorCode(x->parser)) {
	case XML_ERROR_UNDEFINED_ENTITY:
	case XML_ERROR_RECURSIVE_ENTITY_REF:
	case XML_ERROR_ASYNC_ENTITY:
	case XML_ERROR_BINARY_ENTITY_REF:
	case XML_ERROR_ATTRIBUTE_EXTERNAL_ENTITY_REF:
	case XML_ERROR_EXTERNAL_ENTITY_HANDLING:
		return -ERR_XML_RESTRICTED;
	case XML_ERROR_UNKNOWN_ENCODING:
	case XML_ERROR_INCORRECT_ENCODING:
		return -ERR_XML_ENCODING;
	case XML_ERROR_UNBOUND_PREFIX:
	case XML_ERROR_UNDECLARING_PREFIX:
	case XML_ERROR_RESERVED_PREFIX_XML:
	case XML_ERROR_RESERVED_PREFIX_XMLNS:
	case XML_ERROR_RESERVED_NAMESPACE_URI:
		return -ERR_XML_NAMESPACE;
	case XML_ERROR_NO_MEMORY:
	case XML_ERROR_AMPLIFICATION_LIMIT_BREACH:
		return -ERR_XML_LIMIT;
	default:
		return -ERR_XML_NOT_WELL_FORMED;
	}
}

int64_t xml_expat_at(const struct xml_expat *x)
{
	return XML_GetCurrentByteIndex(x->parser);
}

int64_t xml_expat_end(const struct xml_expat *x)
{
	return (int64_t)XML_GetCurrentByteIndex(x->parser) + XML_GetCurrentByteCount(x->parser);
}

struct xml_qname xml_expat_split(const char *triplet)
{
	struct xml_qname q = {.name = slice_str(triplet)};
	const char *first = memchr(triplet, SEPARATOR, q.name.n);
	if (first == NULL)
		return q;
	q.ns = (struct slice){triplet, (size_t)(first - triplet)};
	q.name = slice_str(first + 1);
	const char *second = memchr(q.name.p, SEPARATOR, q.name.n);
	if (second != NULL) {
		q.prefix = slice_str(second + 1);
		q.name.n = (size_t)(second - q.name.p);
	}
	return q;
}

size_t xml_space_prefix(struct slice s)
{
	size_t n = 0;
	while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t' || s.p[n] == '\r' || s.p[n] == '\n'))
		n++;
	return n;
}

bool xml_is_space(struct slice s)
{
	return xml_space_prefix(s) == s.n;
}
