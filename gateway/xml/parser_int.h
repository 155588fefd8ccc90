#ifndef GATEWAY_XML_PARSER_INT_H
#define GATEWAY_XML_PARSER_INT_H

/* Private to xml/: a parser's inside, shared by parser.c (its input, expat's life) and handlers.c (what expat tells). */

#include "xml/header.h"
#include "xml/parser.h"
#include "xml/restrict.h"
#include "xml/starttag.h"
#include "xml/window.h"

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

/* What reading takes beyond what an idle stream must keep. */
struct xml_work {
	struct xml_expat expat;
	struct xml_window window;    /* what is being fed, and what is kept of earlier feeds */
	int64_t fed;
	int64_t ahead;               /* bytes that expat has, but the caller was told were not used */
	int64_t boundary;            /* end of the last complete thing at the first level */
	int64_t last_end;            /* end of the last event */
	bool suspended;
	unsigned nr_tags;            /* that expat was given one at a time, of this feed */

	/* The first-level element (or header) being read. */
	bool mixed_text;
	unsigned nr_children;
	struct xml_starttag tag;
	int64_t start, inner_start;
	size_t nr_tag_decls;         /* declarations of the tag being read, at any depth */
};

struct xml_parser {
	const struct xml_limits *limits;
	const struct xml_parser_ops *ops;
	void *arg;
	struct xml_work *work;       /* NULL: idle, or nothing came yet; never while it is fed */
	struct xml_header *header;
	unsigned char stage, halt;   /* enum stage, enum halt */
	bool feeding, replaying;
	bool plain;                  /* expat has no part in what is being told */
	bool footer_due;             /* stopped in the header callback of a stream that is one empty tag */
	int err;
	unsigned depth;              /* open elements, the stream header included */
	size_t nr_blanks, blanks_max; /* bytes of white space at the first level, since the last reset */
};

/* Makes a new or reset parser stand behind a header: the next thing fed is a first-level element. The tag is well-formed and declares no
 * namespace. */
void xml_parser_begin_inside(struct xml_parser *p, struct slice header_tag);

/* handlers.c */
void xml_handlers_set(struct xml_parser *p);                 /* of the expat that it has */
void xml_handlers_header(struct xml_parser *p);              /* takes what stands in work->tag for the stream header, and tells of it */
void xml_handlers_footer(struct xml_parser *p);              /* tells of the stream's end */
void xml_handlers_fail(void *parser, int err);               /* inside a handler: the parser gives up with -ERR_XML_* */
/* n bytes more of white space at the first level: 0, or -ERR_XML_BLANKS when that is too many. */
MUST_CHECK int xml_handlers_blanks(struct xml_parser *p, size_t n);

#endif
