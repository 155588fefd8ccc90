#include "tests/bench/load/scan.h"

#include <string.h>

/* A tag counter: the servers under test are trusted to be well-formed, and a parser's cost would be the load's, not theirs. */

void scan_reset(struct scan *s)
{
	*s = (struct scan){.at = 0};
}

void scan_consumed(struct scan *s, size_t n)
{
	s->at -= n;
	s->begin -= n;
}

/* A tag ended at its `>`. 1: an element is whole, -1: the stream's end tag. */
static int tag_ended(struct scan *s, bool empty)
{
	s->in_tag = false;
	if (s->odd)
		return 0;
	if (s->closing) {
		s->depth--;
		return s->depth == 0 ? -1 : s->depth == 1;
	}
	if (empty)
		return s->depth == 1;
	return ++s->depth == 1;
}

int scan_next(struct scan *s, const char *buf, size_t n, struct slice *element)
{
	while (s->at < n) {
		char c = buf[s->at++];

		if (!s->in_tag) {
			const char *tag = c == '<' ? buf + s->at - 1 : memchr(buf + s->at, '<', n - s->at);

			if (tag == NULL) {
				s->at = n;
				return 0;
			}
			if ((size_t)(tag - buf) + 1 == n) {   /* what kind of tag, the next byte tells */
				s->at = n - 1;
				return 0;
			}
			if (s->depth <= 1)
				s->begin = (size_t)(tag - buf);
			s->at = (size_t)(tag - buf) + 2;
			s->in_tag = true;
			s->closing = tag[1] == '/';
			s->odd = tag[1] == '?';
			s->quote = 0;
			continue;
		}
		if (s->quote) {
			if (c == s->quote)
				s->quote = 0;
		} else if (c == '\'' || c == '"') {
			s->quote = c;
		} else if (c == '>') {
			int ended = tag_ended(s, buf[s->at - 2] == '/');

			if (ended < 0)
				return -1;
			if (ended) {
				*element = (struct slice){buf + s->begin, s->at - s->begin};
				return 1;
			}
		}
	}
	return 0;
}

static const char *find(struct slice in, const char *text)
{
	return memmem(in.p, in.n, text, strlen(text));
}

struct slice scan_between(struct slice in, const char *before, const char *after)
{
	const char *from = find(in, before), *to;

	if (from == NULL)
		return (struct slice){NULL, 0};
	from += strlen(before);
	to = memmem(from, in.n - (size_t)(from - in.p), after, strlen(after));
	return to ? (struct slice){from, (size_t)(to - from)} : (struct slice){NULL, 0};
}

bool scan_has(struct slice in, const char *text)
{
	return find(in, text) != NULL;
}

bool scan_begins(struct slice in, const char *text)
{
	return in.n >= strlen(text) && memcmp(in.p, text, strlen(text)) == 0;
}
