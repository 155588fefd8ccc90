#include "play.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"

/* Bytes as text that fits on a line, and back. */

static void must(int err)
{
	if (err != 0) {
		fprintf(stderr, "play: %s\n", err_text(err));
		abort();
	}
}

void play_escape(struct buf *out, struct slice bytes)
{
	for (size_t i = 0; i < bytes.n; i++) {
		unsigned char c = (unsigned char)bytes.p[i];

		if (c == '\0')
			must(buf_add_str(out, "\\0"));
		else if (c == '\\')
			must(buf_add_str(out, "\\\\"));
		else if (c < 0x20)
			must(buf_printf(out, "\\x%02x", c));
		else
			must(buf_add(out, &c, 1));
	}
}

static int hex(char c)
{
	const char *set = "0123456789abcdef", *at = c ? strchr(set, c) : NULL;

	return at ? (int)(at - set) : -1;
}

void play_unescape(struct buf *out, struct slice t)
{
	for (size_t i = 0; i < t.n; i++) {
		char c = t.p[i];

		if (c == '\\' && i + 1 < t.n) {
			switch (t.p[++i]) {
			case 'n':
				c = '\n';
				break;
			case 'r':
				c = '\r';
				break;
			case 't':
				c = '\t';
				break;
			case '0':
				c = '\0';
				break;
			case 'x':
				if (i + 2 < t.n && hex(t.p[i + 1]) >= 0 && hex(t.p[i + 2]) >= 0) {
					c = (char)(hex(t.p[i + 1]) << 4 | hex(t.p[i + 2]));
					i += 2;
				}
				break;
			default:
				c = t.p[i];
			}
		}
		must(buf_add(out, &c, 1));
	}
}
