#include "net/cidr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* Everything is compared as sixteen bytes: one way to parse, one way to compare, whatever the family. */

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

static void map_four(unsigned char out[16], const void *four)
{
	memcpy(out, mapped, sizeof mapped);
	memcpy(out + sizeof mapped, four, 4);
}

/* A decimal number up to max, without sign or needless zeros. */
static bool parse_bits(struct slice t, unsigned max, unsigned *out)
{
	unsigned v = 0;

	if (t.n == 0 || t.n > 3 || (t.n > 1 && t.p[0] == '0'))
		return false;
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] < '0' || t.p[i] > '9')
			return false;
		v = v * 10 + (unsigned)(t.p[i] - '0');
	}
	*out = v;
	return v <= max;
}

static bool bits_end_at(const unsigned char address[16], unsigned bits)
{
	for (unsigned i = bits; i < 128; i++) {
		if (address[i / 8] >> (7 - i % 8) & 1)
			return false;
	}
	return true;
}

bool cidr_parse(struct cidr *out, struct slice text)
{
	const char *slash = memchr(text.p, '/', text.n);
	size_t n = slash != NULL ? (size_t)(slash - text.p) : text.n;
	char host[INET6_ADDRSTRLEN];
	unsigned char four[4];
	unsigned bits, shift;

	if (n == 0 || n >= sizeof host || memchr(text.p, '\0', text.n) != NULL)
		return false;
	memcpy(host, text.p, n);
	host[n] = '\0';
	if (inet_pton(AF_INET, host, four) == 1) {
		map_four(out->address, four);
		shift = 96;
	} else if (inet_pton(AF_INET6, host, out->address) == 1) {
		shift = 0;
	} else {
		return false;
	}
	bits = 128 - shift;
	if (slash != NULL && !parse_bits((struct slice){slash + 1, text.n - n - 1}, bits, &bits))
		return false;
	out->bits = (unsigned char)(bits + shift);
	return bits_end_at(out->address, out->bits);
}

bool cidr_has(const struct cidr *c, const struct sockaddr *address)
{
	unsigned char a[16];
	unsigned whole = c->bits / 8, rest = c->bits % 8;

	if (address->sa_family == AF_INET)
		map_four(a, &((const struct sockaddr_in *)(const void *)address)->sin_addr);
	else if (address->sa_family == AF_INET6)
		memcpy(a, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, sizeof a);
	else
		return false;
	return memcmp(a, c->address, whole) == 0 && (rest == 0 || (a[whole] ^ c->address[whole]) >> (8 - rest) == 0);
}
