/* The PROXY protocol: address ranges, the header's two forms byte by byte, and the door between a listener and who accepts. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "../check.h"
#include "common/err.h"
#include "net/listener.h"
#include "net/proxy.h"
#include "pair.h"

static const struct sockaddr *address(const char *host)
{
	static struct sockaddr_in6 six;
	static struct sockaddr_in four;

	if (inet_pton(AF_INET, host, &four.sin_addr) == 1) {
		four.sin_family = AF_INET;
		return (const struct sockaddr *)&four;
	}
	CHECK_EQ(inet_pton(AF_INET6, host, &six.sin6_addr), 1);
	six.sin6_family = AF_INET6;
	return (const struct sockaddr *)&six;
}

static bool has(const char *range, const char *host)
{
	struct cidr c;

	CHECK(cidr_parse(&c, slice_str(range)));
	return cidr_has(&c, address(host));
}

static void test_ranges(void)
{
	CHECK(has("192.0.2.0/24", "192.0.2.255"));
	CHECK(!has("192.0.2.0/24", "192.0.3.0"));
	CHECK(has("192.0.2.0/24", "::ffff:192.0.2.7"));
	CHECK(has("::ffff:192.0.2.0/120", "192.0.2.7"));
	CHECK(has("192.0.2.128/25", "192.0.2.128"));
	CHECK(!has("192.0.2.128/25", "192.0.2.127"));
	CHECK(has("192.0.2.1", "192.0.2.1"));
	CHECK(!has("192.0.2.1", "192.0.2.2"));
	CHECK(has("0.0.0.0/0", "255.255.255.255"));
	CHECK(!has("0.0.0.0/0", "2001:db8::1"));
	CHECK(has("::/0", "10.0.0.1"));
	CHECK(has("2001:db8::/32", "2001:db8:ffff::1"));
	CHECK(!has("2001:db8::/33", "2001:db8:8000::1"));
	CHECK(!cidr_has(&(struct cidr){.bits = 0}, &(struct sockaddr){.sa_family = AF_UNIX}));
}

static void test_no_ranges(void)
{
	static const char *const bad[] = {"",
					  "/",
					  "/8",
					  "10.0.0.0/",
					  "10.0.0.0/33",
					  "10.0.0.0/-1",
					  "10.0.0.0/08",
					  "10.0.0.0/8 ",
					  "10.0.0.1/8",
					  "10.0.0/8",
					  "2001:db8::/129",
					  "2001:db8::1/64",
					  "example.org",
					  "10.0.0.0/1/2"};
	struct cidr c;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (cidr_parse(&c, slice_str(bad[i]))) {
			fprintf(stderr, "taken: %s\n", bad[i]);
			CHECK(false);
		}
	}
	CHECK(!cidr_parse(&c, (struct slice){"10.0.0.0\0/8", 11}));
}

/* Whole at its last byte and not before, whatever follows; the address as text, "local", or why not. */
static const char *outcome(const char *header, size_t n)
{
	static char text[INET6_ADDRSTRLEN + 8];
	struct proxy_header h;
	char with_more[PROXY_HEADER_MAX + 20];
	int used = 0;

	for (size_t i = 0; i < n; i++) {
		used = proxy_parse((struct slice){header, i}, &h);
		if (used < 0)
			return "wrong";
		CHECK_EQ(used, 0);
	}
	memcpy(with_more, header, n);
	memcpy(with_more + n, "PROXY <stream/>", 15);
	used = proxy_parse((struct slice){with_more, n + 15}, &h);
	if (used < 0)
		return "wrong";
	CHECK_EQ(used, n);
	if (h.local)
		return "local";
	if (h.peer.ss_family == AF_INET) {
		const struct sockaddr_in *peer = (const void *)&h.peer;
		char host[INET6_ADDRSTRLEN];

		CHECK_EQ(h.peer_n, sizeof *peer);
		snprintf(text, sizeof text, "%s %u", inet_ntop(AF_INET, &peer->sin_addr, host, sizeof host), ntohs(peer->sin_port));
	} else {
		const struct sockaddr_in6 *peer = (const void *)&h.peer;
		char host[INET6_ADDRSTRLEN];

		CHECK_EQ(h.peer_n, sizeof *peer);
		snprintf(text, sizeof text, "%s %u", inet_ntop(AF_INET6, &peer->sin6_addr, host, sizeof host), ntohs(peer->sin6_port));
	}
	return text;
}

#define V1_MOST 107 /* bytes that a line of version 1 may have, with its CRLF */
#define V1(text) outcome(text, sizeof(text) - 1)

static void test_text(void)
{
	CHECK_STR(V1("PROXY TCP4 192.0.2.1 198.51.100.2 40000 5222\r\n"), "192.0.2.1 40000");
	CHECK_STR(V1("PROXY TCP6 2001:db8::1 2001:db8::2 65535 1\r\n"), "2001:db8::1 65535");
	CHECK_STR(V1("PROXY UNKNOWN\r\n"), "local");
	CHECK_STR(V1("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), "local");
	CHECK_STR(V1("PROXY TCP4 192.0.2.1 198.51.100.2 40000\r\n"), "wrong");
	CHECK_STR(V1("PROXY TCP4 192.0.2.1 198.51.100.2 40000 5222 \r\n"), "wrong");
	CHECK_STR(V1("PROXY TCP4 192.0.2.1  198.51.100.2 40000 5222\r\n"), "wrong");
	CHECK_STR(V1("PROXY TCP4 192.0.2.1 198.51.100.2 65536 5222\r\n"), "wrong");
	CHECK_STR(V1("PROXY TCP4 192.0.2.1 198.51.100.2 040 5222\r\n"), "wrong");
	CHECK_STR(V1("PROXY TCP4 192.0.2.1 198.51.100.2 -1 5222\r\n"), "wrong");
	CHECK_STR(V1("PROXY TCP4 2001:db8::1 2001:db8::2 1 1\r\n"), "wrong");
	CHECK_STR(V1("PROXY TCP6 192.0.2.1 198.51.100.2 1 1\r\n"), "wrong");
	CHECK_STR(V1("PROXY UDP4 192.0.2.1 198.51.100.2 1 1\r\n"), "wrong");
	CHECK_STR(V1("PROXY \r\n"), "wrong");
	CHECK_STR(V1("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 1\r\n"), "wrong");
	CHECK_STR(V1("proxy UNKNOWN\r\n"), "wrong");
	CHECK_STR(V1("<?xml version='1.0'?>"), "wrong");
	char line[V1_MOST + 2] = "PROXY UNKNOWN ";

	memset(line + 14, 'x', sizeof line - 14);
	memcpy(line + V1_MOST - 2, "\r\n", 2);
	CHECK_STR(outcome(line, V1_MOST), "local");
	memcpy(line + V1_MOST - 2, "x\r\n", 3);
	CHECK_STR(outcome(line, V1_MOST + 1), "wrong");
}

/* Version 2 with a body of body_n bytes, of which the first few are given. */
static const char *v2(unsigned char command, unsigned char family, size_t body_n, const void *body, size_t given)
{
	unsigned char h[PROXY_HEADER_MAX + 1] = {0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 'Q', 'U', 'I', 'T', 0x0a, command, family};

	h[14] = (unsigned char)(body_n >> 8);
	h[15] = (unsigned char)body_n;
	memcpy(h + 16, body, given);
	return outcome((const char *)h, 16 + body_n);
}

static void test_bytes(void)
{
	static const unsigned char four[12] = {192, 0, 2, 1, 198, 51, 100, 2, 0x9c, 0x40, 0x14, 0x66};
	static const unsigned char six[36] = {0x20, 1, 0x0d, 0xb8, [15] = 1, [16] = 0x20, 1, 0x0d, 0xb8, [31] = 2, [32] = 0xff, 0xff, 0, 1};

	CHECK_STR(v2(0x21, 0x11, 12, four, 12), "192.0.2.1 40000");
	CHECK_STR(v2(0x21, 0x11, 30, four, 12), "192.0.2.1 40000"); /* TLVs behind */
	CHECK_STR(v2(0x21, 0x21, 36, six, 36), "2001:db8::1 65535");
	CHECK_STR(v2(0x20, 0x00, 0, "", 0), "local");
	CHECK_STR(v2(0x20, 0x11, 12, four, 12), "local");
	CHECK_STR(v2(0x21, 0x00, 0, "", 0), "local");
	CHECK_STR(v2(0x21, 0x31, 216, "", 0), "local");
	CHECK_STR(v2(0x21, 0x11, 11, four, 11), "wrong");
	CHECK_STR(v2(0x21, 0x21, 35, six, 35), "wrong");
	CHECK_STR(v2(0x21, 0x12, 12, four, 12), "wrong"); /* UDP */
	CHECK_STR(v2(0x22, 0x11, 12, four, 12), "wrong");
	CHECK_STR(v2(0x11, 0x11, 12, four, 12), "wrong"); /* version 1 in bytes is none */
	CHECK_STR(v2(0x21, 0x11, PROXY_HEADER_MAX - 16, four, 12), "192.0.2.1 40000");
	CHECK_STR(v2(0x21, 0x11, PROXY_HEADER_MAX - 15, four, 12), "wrong");
}

/* --- the door --------------------------------------------------------------- */

static unsigned nr_accepted;
static int accepted_fd;
static char accepted_from[INET_ADDRSTRLEN];

static void on_accepted(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	CHECK(arg == &nr_accepted);
	CHECK_EQ(len, sizeof(struct sockaddr_in));
	accepted_fd = fd;
	CHECK(inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, accepted_from, sizeof accepted_from) != NULL);
	nr_accepted++;
}

static int dial(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The next accepted connection was told to come from there, and holds exactly this. */
static void expect(const char *from, const char *rest)
{
	char in[64] = "";

	CHECK(run_until(&nr_accepted, 1));
	nr_accepted = 0;
	CHECK_STR(accepted_from, from);
	if (rest[0] != '\0')
		CHECK_EQ(recv(accepted_fd, in, sizeof in - 1, 0), strlen(rest));
	CHECK_STR(in, rest);
	CHECK(recv(accepted_fd, in, sizeof in, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	close(accepted_fd);
}

struct knock {
	struct listener *ln;
	struct proxy_door *door;
	struct cidr from;
	uint16_t port;
};

static void open_door(struct knock *k, const char *from)
{
	char why[200];
	int fd = listener_bind("127.0.0.1", 0, &k->port, why, sizeof why);

	pair_begin();
	CHECK(fd >= 0 && cidr_parse(&k->from, slice_str(from)));
	k->door = proxy_door_new(loop, &k->from, 1, on_accepted, &nr_accepted);
	k->ln = listener_new(loop, fd, proxy_door_accept, k->door);
}

static void close_door(struct knock *k)
{
	listener_free(k->ln);
	proxy_door_free(k->door);
	pair_end();
}

static void test_listed(void)
{
	struct knock k;
	int c, d;

	open_door(&k, "127.0.0.0/8");
	c = dial(k.port);
	say(c, "PROXY TCP4 192.0.2.1 198.51.100.2 40");
	run_for(20);
	CHECK_EQ(nr_accepted, 0);
	d = dial(k.port);
	say(d, "PROXY UNKNOWN\r\nhello");
	expect("127.0.0.1", "hello");
	say(c, "000 5222\r\n<stream:stream");
	expect("192.0.2.1", "<stream:stream");
	close(c);
	close(d);
	close_door(&k);
}

static void test_without_header(void)
{
	struct knock k;
	char in[4];
	int c, d;

	open_door(&k, "127.0.0.0/8");
	c = dial(k.port);
	d = dial(k.port);
	say(c, "<?xml version='1.0'?><stream:stream");
	say(d, "PROXY UNK"); /* still waiting when the door goes */
	run_for(20);
	CHECK(recv(c, in, sizeof in, 0) <= 0);
	close_door(&k);
	CHECK(recv(d, in, sizeof in, 0) <= 0);
	CHECK_EQ(nr_accepted, 0);
	close(c);
	close(d);
}

static void test_not_listed(void)
{
	struct knock k;
	int c;

	open_door(&k, "192.0.2.0/24");
	c = dial(k.port);
	say(c, "PROXY UNKNOWN\r\n");
	CHECK(run_until(&nr_accepted, 1));
	run_for(20);
	expect("127.0.0.1", "PROXY UNKNOWN\r\n"); /* not believed: it is the stream's to refuse */
	close(c);
	close_door(&k);
}

int main(void)
{
	RUN(test_ranges);
	RUN(test_no_ranges);
	RUN(test_text);
	RUN(test_bytes);
	RUN(test_listed);
	RUN(test_without_header);
	RUN(test_not_listed);
	return check_done("net_proxy");
}
