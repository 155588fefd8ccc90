#include "play.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"

/* Bytes as text that fits on a line, and back; text as a pattern. */

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

static bool is_id(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

ssize_t play_match(const char *pattern, struct slice got)
{
	size_t at = 0;

	for (; *pattern != '\0'; pattern++) {
		if (strncmp(pattern, "...", 3) == 0) {
			pattern += 3;
			for (size_t skip = at; skip <= got.n && *pattern != '\0'; skip++) {
				ssize_t n = play_match(pattern, (struct slice){got.p + skip, got.n - skip});

				if (n >= 0)
					return (ssize_t)skip + n;
			}
			return *pattern == '\0' ? (ssize_t)got.n : -1;
		}
		if (strncmp(pattern, "$ID", 3) == 0) {
			for (unsigned i = 0; i < 32; i++, at++) {
				if (at >= got.n || !is_id(got.p[at]))
					return -1;
			}
			pattern += 2;
			continue;
		}
		if (at >= got.n || got.p[at++] != *pattern)
			return -1;
	}
	return (ssize_t)at;
}

const char *play_verdict_word(enum stream_verdict v)
{
	static const char *const words[] = {[STREAM_DB_INVALID] = "invalid", [STREAM_DB_VALID] = "valid", [STREAM_DB_ERROR] = "error"};

	return words[v];
}

enum stream_verdict play_verdict(const char *word)
{
	for (enum stream_verdict v = STREAM_DB_INVALID; v < STREAM_DB_ERROR; v++)
		if (strcmp(word, play_verdict_word(v)) == 0)
			return v;
	return STREAM_DB_ERROR;
}
