#ifndef GATEWAY_XML_PARSER_INT_H
#define GATEWAY_XML_PARSER_INT_H

/* Private to xml/. */

#include "xml/parser.h"

/* Makes a new or reset parser stand behind a header: the next thing fed is a first-level element. The tag is well-formed and declares no
 * namespace. */
void xml_parser_begin_inside(struct xml_parser *p, struct slice header_tag);

#endif
