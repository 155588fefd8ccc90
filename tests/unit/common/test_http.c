/* The little HTTP server over loopback: answers, refusals, requests in pieces, and its bounds. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "common/http.h"

static struct loop *loop;
static struct http_server *server;
static uint16_t port;
static unsigned asked;

static void on_get(void *arg, struct slice path, struct http_answer *out)
{
	(void)arg;
	asked++;
	if (slice_is(path, "/big")) {
		out->status = 200;
		for (int i = 0; i < 40000; i++)
			CHECK_EQ(buf_add_str(&out->body, "0123456789abcdef0123456789abcde\n"), 0);
	} else if (slice_is(path, "/one")) {
		out->status = 503;
		CHECK_EQ(buf_add_str(&out->body, "one\n"), 0);
	}
}

static void begin(void)
{
	char why[200] = "";
	int fd = http_listen("127.0.0.1", 0, &port, why, sizeof why);

	CHECK(fd >= 0 && port != 0);
	loop = loop_new();
	asked = 0;
	server = http_server_new(loop, fd, on_get, NULL);
}

static void finish(void)
{
	http_server_free(server);
	loop_free(loop);
}

static int dial(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
	return fd;
}

static void say(int fd, const char *text)
{
	CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Everything that comes until the server closes, while its loop turns. Returns its length. */
static size_t hear(int fd, char *out, size_t size)
{
	size_t n = 0;

	for (int i = 0; i < 200000; i++) {
		ssize_t got;

		loop_turn(loop);
		got = recv(fd, out + n, size - 1 - n, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		n += got > 0 ? (size_t)got : 0;
	}
	out[n] = '\0';
	close(fd);
	return n;
}

static const char *exchange(const char *request)
{
	static char out[4096];
	int fd = dial();

	say(fd, request);
	hear(fd, out, sizeof out);
	return out;
}

static void test_answers(void)
{
	begin();
	CHECK_STR(exchange("GET /one HTTP/1.1\r\nHost: anything\r\n\r\n"),
		  "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 4\r\n"
		  "Cache-Control: no-store\r\nConnection: close\r\n\r\none\n");
	CHECK(strstr(exchange("GET /one?a=b&c HTTP/1.0\r\n\r\n"), "\r\n\r\none\n") != NULL);
	CHECK(strncmp(exchange("GET /none HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 ", 13) == 0);
	CHECK_EQ(asked, 3);
	finish();
}

static void test_refusals(void)
{
	static const struct { const char *request; int status; } v[] = {
		{"POST /one HTTP/1.1\r\n\r\n", 405}, {"GET one HTTP/1.1\r\n\r\n", 400},      {"GET /one HTTP/2.0\r\n\r\n", 400},
		{"GET /one\r\n\r\n", 400},           {"GET  /one HTTP/1.1\r\n\r\n", 400},   {"\r\n\r\n", 400},
		{"GET /one HTTP/1.1 x\r\n\r\n", 400}, {"get /one HTTP/1.1\r\n\r\n", 405},
	};

	begin();
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		const char *got = exchange(v[i].request);

		CHECK(strncmp(got, "HTTP/1.1 ", 9) == 0);
		CHECK_EQ(atol(got + 9), v[i].status);
	}
	CHECK(strstr(exchange("POST / HTTP/1.1\r\n\r\n"), "\r\nAllow: GET\r\n") != NULL);
	CHECK_EQ(asked, 0);
	finish();
}

static void test_a_byte_at_a_time(void)
{
	static const char request[] = "GET /one HTTP/1.1\r\nHost: x\r\n\r\n";
	char out[4096];
	int fd;

	begin();
	fd = dial();
	for (size_t i = 0; i < sizeof request - 1; i++) {
		CHECK_EQ(asked, 0);
		CHECK_EQ(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
		loop_turn(loop);
	}
	hear(fd, out, sizeof out);
	CHECK(strstr(out, "\r\n\r\none\n") != NULL);
	finish();
}

static void test_too_long(void)
{
	char *request = malloc(5001);

	begin();
	if (request == NULL)
		return;
	memset(request, 'a', 5000);
	memcpy(request, "GET /", 5);
	request[5000] = '\0';
	CHECK(strncmp(exchange(request), "HTTP/1.1 431 ", 13) == 0);
	free(request);
	finish();
}

/* More than the kernel takes at once. */
static void test_a_long_answer(void)
{
	size_t size = 40000 * 32 + 1024, n;
	char *out = malloc(size);
	int fd;

	begin();
	if (out == NULL)
		return;
	fd = dial();
	say(fd, "GET /big HTTP/1.1\r\n\r\n");
	n = hear(fd, out, size);
	CHECK(strstr(out, "Content-Length: 1280000\r\n") != NULL);
	CHECK_EQ(strlen(strstr(out, "\r\n\r\n") + 4), 1280000);
	CHECK(n > 1280000);
	free(out);
	finish();
}

/* Who says nothing takes one of the places; one more waits in the kernel until a place is free. */
static void test_connections_are_bounded(void)
{
	enum { MOST = 32 };
	char out[4096];
	int fd[MOST], late;

	begin();
	for (int i = 0; i < MOST; i++)
		fd[i] = dial();
	for (int i = 0; i < 10; i++)
		loop_turn(loop);
	late = dial();
	say(late, "GET /one HTTP/1.1\r\n\r\n");
	for (int i = 0; i < 100; i++)
		loop_turn(loop);
	CHECK_EQ(asked, 0);
	close(fd[0]);
	hear(late, out, sizeof out);
	CHECK_EQ(asked, 1);
	CHECK(strstr(out, "\r\n\r\none\n") != NULL);
	for (int i = 1; i < MOST; i++)
		close(fd[i]);
	finish();
}

static void test_listening(void)
{
	char why[200] = "";
	uint16_t got = 0, other;
	int fd = http_listen("::1", 0, &got, why, sizeof why);

	if (fd >= 0) { /* a system may be without IPv6 */
		CHECK(http_listen("::1", got, &other, why, sizeof why) < 0);
		CHECK(strstr(why, "cannot listen on [::1]:") != NULL);
		close(fd);
	}
	CHECK(http_listen("localhost", 0, &other, why, sizeof why) < 0);
	CHECK(strstr(why, "cannot listen on localhost:0: ") != NULL);
}

int main(void)
{
	RUN(test_answers);
	RUN(test_refusals);
	RUN(test_a_byte_at_a_time);
	RUN(test_too_long);
	RUN(test_a_long_answer);
	RUN(test_connections_are_bounded);
	RUN(test_listening);
	return check_done("unit.common.http");
}
