#include "net/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "common/err.h"

/* The header's two forms, pure. Nothing beyond the header is looked at, and nothing of it is believed that is not exactly as it must be. */

#define V1_MAX 107 /* with its CRLF */
#define V2_FIXED 16

static const char v1_begins[] = "PROXY ";
static const unsigned char v2_signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static bool begins(struct slice in, const void *with, size_t n)
{
	return memcmp(in.p, with, in.n < n ? in.n : n) == 0;
}

static void set_four(struct proxy_header *out, const void *address, uint16_t port)
{
	struct sockaddr_in *a = (void *)&out->peer;

	*a = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	memcpy(&a->sin_addr, address, sizeof a->sin_addr);
	out->peer_n = sizeof *a;
}

static void set_six(struct proxy_header *out, const void *address, uint16_t port)
{
	struct sockaddr_in6 *a = (void *)&out->peer;

	*a = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
	memcpy(&a->sin6_addr, address, sizeof a->sin6_addr);
	out->peer_n = sizeof *a;
}

/* --- version 1: one line of text ------------------------------------------ */

/* The next word of a line whose words are parted by one space each; NULL when there is none. `line` is cut up. */
static char *word(char **line)
{
	char *w = *line, *space;

	if (w == NULL || *w == '\0')
		return NULL;
	space = strchr(w, ' ');
	if (space != NULL)
		*space = '\0';
	*line = space != NULL ? space + 1 : NULL;
	return w;
}

static bool parse_port(const char *w, uint16_t *out)
{
	unsigned v = 0;

	if (w == NULL || *w == '\0' || (w[0] == '0' && w[1] != '\0') || strlen(w) > 5)
		return false;
	for (; *w != '\0'; w++) {
		if (*w < '0' || *w > '9')
			return false;
		v = v * 10 + (unsigned)(*w - '0');
	}
	*out = (uint16_t)v;
	return v <= 65535;
}

static bool parse_addresses(char *line, int family, struct proxy_header *out)
{
	unsigned char from[16], to[16];
	const char *from_text = word(&line), *to_text = word(&line), *from_port = word(&line), *to_port = word(&line);
	uint16_t port, ignored;

	if (to_port == NULL || line != NULL || inet_pton(family, from_text, from) != 1 || inet_pton(family, to_text, to) != 1 ||
	    !parse_port(from_port, &port) || !parse_port(to_port, &ignored))
		return false;
	if (family == AF_INET)
		set_four(out, from, port);
	else
		set_six(out, from, port);
	return true;
}

static int parse_v1(struct slice in, struct proxy_header *out)
{
	size_t look = in.n < V1_MAX ? in.n : V1_MAX;
	const char *end = memmem(in.p, look, "\r\n", 2);
	char copy[V1_MAX + 1], *line = copy;
	size_t n;
	char *family;

	if (end == NULL)
		return look < V1_MAX ? 0 : -ERR_SYNTAX;
	n = (size_t)(end - in.p);
	if (memchr(in.p, '\0', n) != NULL)
		return -ERR_SYNTAX;
	memcpy(copy, in.p, n);
	copy[n] = '\0';
	line += sizeof v1_begins - 1;
	family = word(&line);
	if (family != NULL && strcmp(family, "UNKNOWN") == 0)
		out->local = true;
	else if (family == NULL ||
		 !((strcmp(family, "TCP4") == 0 && parse_addresses(line, AF_INET, out)) ||
		   (strcmp(family, "TCP6") == 0 && parse_addresses(line, AF_INET6, out))))
		return -ERR_SYNTAX;
	return (int)n + 2;
}

/* --- version 2: bytes ------------------------------------------------------- */

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_UNSPEC = 0x00, V2_TCP4 = 0x11, V2_TCP6 = 0x21, V2_UNIX_STREAM = 0x31 };

static uint16_t get_u16(const unsigned char *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Addresses are source, destination, then the two ports. */
static int take_v2(const unsigned char *p, size_t body_n, struct proxy_header *out)
{
	const unsigned char *body = p + V2_FIXED;

	if (p[12] == V2_LOCAL) {
		out->local = true;
		return 0;
	}
	if (p[12] != V2_PROXY)
		return -ERR_SYNTAX;
	if (p[13] == V2_TCP4 && body_n >= 12)
		set_four(out, body, get_u16(body + 8));
	else if (p[13] == V2_TCP6 && body_n >= 36)
		set_six(out, body, get_u16(body + 32));
	else if (p[13] == V2_UNSPEC || p[13] == V2_UNIX_STREAM)
		out->local = true;
	else
		return -ERR_SYNTAX;
	return 0;
}

static int parse_v2(struct slice in, struct proxy_header *out)
{
	const unsigned char *p = (const unsigned char *)in.p;
	size_t body_n;
	int err;

	if (in.n < V2_FIXED)
		return 0;
	body_n = get_u16(p + 14);
	if (body_n > PROXY_HEADER_MAX - V2_FIXED)
		return -ERR_SYNTAX;
	if (in.n < V2_FIXED + body_n)
		return 0;
	err = take_v2(p, body_n, out);
	return err != 0 ? err : (int)(V2_FIXED + body_n);
}

int proxy_parse(struct slice in, struct proxy_header *out)
{
	*out = (struct proxy_header){0};
	if (in.p == NULL || in.n == 0)
		return 0;
	if (begins(in, v2_signature, sizeof v2_signature))
		return parse_v2(in, out);
	if (begins(in, v1_begins, sizeof v1_begins - 1))
		return in.n < sizeof v1_begins - 1 ? 0 : parse_v1(in, out);
	return -ERR_SYNTAX;
}
