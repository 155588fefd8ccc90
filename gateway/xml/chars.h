#ifndef GATEWAY_XML_CHARS_H
#define GATEWAY_XML_CHARS_H

/* Private to xml/: what an ASCII character may be part of. Others are part of nothing here. */

#include "common/slice.h"

enum {
	CHAR_NAME_BEGIN = 1,   /* an XML name's first: letters and '_' */
	CHAR_NAME = 2,         /* all of it: digits, '-' and '.', too; no ':' */
	CHAR_LABEL = 4,        /* a DNS label: letters, digits and '-' */
	CHAR_LOCAL = 8,        /* a localpart: what is printed, but no space and none of "&'/:<>@ */
	CHAR_PRINTED = 16,     /* space to '~' */
};

extern const unsigned char char_kinds[256];

static inline bool char_is(char c, unsigned kind)
{
	return (char_kinds[(unsigned char)c] & kind) != 0;
}

static inline bool chars_all(struct slice s, unsigned kind)
{
	for (size_t i = 0; i < s.n; i++)
		if (!char_is(s.p[i], kind))
			return false;
	return true;
}

#endif
