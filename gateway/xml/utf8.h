#ifndef GATEWAY_XML_UTF8_H
#define GATEWAY_XML_UTF8_H

/* Strict UTF-8 (RFC 3629): shortest forms only, no surrogates, nothing past U+10FFFF. */

#include <stdint.h>

#include "common/slice.h"

/* The bytes of the first character, with its code; 0 when there is none or it is malformed. */
static inline size_t utf8_decode(struct slice s, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	if (s.n == 0)
		return 0;
	unsigned char c = (unsigned char)s.p[0];
	if (c < 0x80) {
		*code = c;
		return 1;
	}
	size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (c < 0xc2 || c > 0xf4 || s.n < n)
		return 0;
	uint32_t value = c & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		unsigned char next = (unsigned char)s.p[i];
		if ((next & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (next & 0x3f);
	}
	if (value < least[n] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*code = value;
	return n;
}

static inline bool utf8_valid(struct slice s)
{
	uint32_t code;
	while (s.n > 0) {
		size_t n = utf8_decode(s, &code);
		if (n == 0)
			return false;
		s = (struct slice){s.p + n, s.n - n};
	}
	return true;
}

#endif
