#include "net/srv.h"

/* RFC 2782's algorithm, word for word; nothing here knows of sockets. */

static unsigned u16(const char *p)
{
	return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

static bool parse_name(struct slice in, char *out, size_t size)
{
	size_t n = 0;

	while (in.n > 0) {
		size_t label = (unsigned char)in.p[0];

		if (label == 0) {
			out[n] = '\0';
			return in.n == 1;
		}
		if (label > 63 || label + 1 > in.n || n + label + 2 > size)
			return false;
		if (n > 0)
			out[n++] = '.';
		for (size_t i = 1; i <= label; i++) {
			char c = in.p[i];

			if (c <= ' ' || c == '.' || c == 0x7f)
				return false;
			out[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
		}
		in.p += label + 1;
		in.n -= label + 1;
	}
	return false;
}

bool srv_parse(struct slice rdata, struct resolve_target *t)
{
	if (rdata.n < 7)
		return false;
	*t = (struct resolve_target){
		.priority = (uint16_t)u16(rdata.p),
		.weight = (uint16_t)u16(rdata.p + 2),
		.port = (uint16_t)u16(rdata.p + 4),
	};
	return parse_name((struct slice){rdata.p + 6, rdata.n - 6}, t->host, sizeof t->host);
}

static void swap(struct resolve_target *a, struct resolve_target *b)
{
	struct resolve_target t = *a;

	*a = *b;
	*b = t;
}

/* The next target of the lowest priority left, drawn by weight: those of weight 0 stand first in the running sum, as the RFC wants. */
static size_t draw(const struct resolve_target *v, size_t nr, uint32_t (*random)(void *arg, uint32_t below), void *arg)
{
	uint32_t sum = 0, at, run = 0;
	size_t first_zero = nr;

	for (size_t i = 0; i < nr; i++) {
		sum += v[i].weight;
		if (v[i].weight == 0 && first_zero == nr)
			first_zero = i;
	}
	at = random(arg, sum + 1);
	if (at == 0 && first_zero < nr)
		return first_zero;
	for (size_t i = 0; i < nr; i++) {
		run += v[i].weight;
		if (v[i].weight > 0 && run >= at)
			return i;
	}
	return 0;
}

void srv_order(struct resolve_target *v, size_t nr, uint32_t (*random)(void *arg, uint32_t below), void *arg)
{
	for (size_t i = 0; i < nr; i++) {
		size_t same = 0;
		uint16_t lowest = UINT16_MAX;

		for (size_t j = i; j < nr; j++)
			lowest = v[j].priority < lowest ? v[j].priority : lowest;
		for (size_t j = i; j < nr; j++) {
			if (v[j].priority == lowest)
				swap(&v[i + same++], &v[j]);
		}
		swap(&v[i], &v[i + draw(v + i, same, random, arg)]);
	}
}
