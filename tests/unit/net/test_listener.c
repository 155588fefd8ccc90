/* Listening: binding, sharing a port, falling back, running out of descriptors. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../check.h"
#include "net/handshakes.h"
#include "net/listener.h"
#include "net/transport.h"
#include "pair.h"

static unsigned nr_accepted;
static int accepted_fds[64];
static struct listener *ln;
static bool free_inside;

static void on_accepted(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	CHECK(arg == &nr_accepted);
	CHECK(peer->sa_family == AF_INET && len == sizeof(struct sockaddr_in));
	accepted_fds[nr_accepted++ % 64] = fd;
	if (free_inside) {
		listener_free(ln);
		ln = NULL;
	}
}

static void close_accepted(void)
{
	for (unsigned i = 0; i < nr_accepted && i < 64; i++)
		close(accepted_fds[i]);
	nr_accepted = 0;
}

static int dial(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	return fd;
}

static void test_accept(void)
{
	uint16_t port = 0, again = 0;
	char why[200];
	int fd = listener_bind("127.0.0.1", 0, &port, why, sizeof why), on = 0;
	socklen_t len = sizeof on;

	pair_begin();
	CHECK(fd >= 0 && port != 0);
	int second = listener_bind("127.0.0.1", port, &again, why, sizeof why);
	CHECK(second >= 0); /* the next worker's */
	CHECK_EQ(again, port);
	close(second);
	ln = listener_new(loop, fd, on_accepted, &nr_accepted);
	int c = dial(port), d = dial(port);
	CHECK(run_until(&nr_accepted, 2));
	CHECK(fcntl(accepted_fds[0], F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(accepted_fds[0], F_GETFD) & FD_CLOEXEC);
	CHECK_EQ(getsockopt(accepted_fds[0], IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	CHECK(on != 0);
	CHECK_EQ(getsockopt(accepted_fds[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, &on, &len), 0);
	CHECK_EQ(on, TRANSPORT_UNSENT_MAX);
	close_accepted();
	listener_pause(ln, true);
	close(c);
	c = dial(port);
	run_for(30);
	CHECK_EQ(nr_accepted, 0);
	listener_pause(ln, false);
	CHECK(run_until(&nr_accepted, 1));
	close_accepted();
	close(c);
	close(d);
	listener_free(ln);
	pair_end();
}

static void test_free_inside(void)
{
	uint16_t port = 0;
	char why[200];
	int fd = listener_bind("127.0.0.1", 0, &port, why, sizeof why);

	pair_begin();
	ln = listener_new(loop, fd, on_accepted, &nr_accepted);
	int c = dial(port), d = dial(port);
	free_inside = true;
	CHECK(run_until(&nr_accepted, 1));
	run_for(10);
	CHECK_EQ(nr_accepted, 1);
	free_inside = false;
	close_accepted();
	close(c);
	close(d);
	pair_end();
}

static void test_taken(void)
{
	uint16_t port = 0, other;
	char why[200] = "";
	int fd = listener_bind("127.0.0.1", 0, &port, why, sizeof why);

	CHECK_EQ(listener_probe("127.0.0.1", port, why, sizeof why), -EADDRINUSE); /* though listener_bind would share it */
	CHECK(strstr(why, "127.0.0.1:") != NULL);
	CHECK_EQ(listener_probe("127.0.0.1", 0, why, sizeof why), 0);
	close(fd);
	CHECK_EQ(listener_probe("127.0.0.1", port, why, sizeof why), 0);
	/* somebody who does not share */
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int rude = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(rude, (struct sockaddr *)&at, sizeof at) == 0 && listen(rude, 1) == 0 &&
	      getsockname(rude, (struct sockaddr *)&at, &len) == 0);
	CHECK_EQ(listener_bind("127.0.0.1", ntohs(at.sin_port), &other, why, sizeof why), -EADDRINUSE);
	CHECK(strstr(why, strerror(EADDRINUSE)) != NULL);
	close(rude);
	CHECK(listener_bind("localhost", 0, &other, why, sizeof why) < 0); /* no names */
	CHECK(listener_bind("2001:db8::1", 0, &other, why, sizeof why) < 0);
	CHECK(strstr(why, "[2001:db8::1]:0") != NULL);
}

/* "::" takes IPv4 too, and is IPv4's wildcard where there is no IPv6. */
static void test_wildcard(void)
{
	uint16_t port = 0;
	char why[200];
	int fd = listener_bind("::", 0, &port, why, sizeof why);

	CHECK(fd >= 0);
	int c = dial(port);
	close(c);
	close(fd);
}

/* A system without IPv6, played by a filter: socket(AF_INET6) fails in a child of ours. */
static void test_without_ipv6(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct sock_filter code[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		struct sock_fprog prog = {.len = ARRAY_LEN(code), .filter = code};
		uint16_t port = 0;
		char why[200];

		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) != 0)
			_exit(77);
		int fd = listener_bind("::", 0, &port, why, sizeof why);
		if (fd < 0 || port == 0)
			_exit(1);
		_exit(listener_bind("::1", 0, &port, why, sizeof why) == -EAFNOSUPPORT ? 0 : 2);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77));
}

static void on_any(void *arg, int fd, const struct sockaddr *peer, socklen_t len)
{
	(void)arg;
	(void)peer;
	(void)len;
	accepted_fds[nr_accepted++ % 64] = fd;
}

static void test_out_of_descriptors(void)
{
	struct rlimit old, low;
	uint16_t port = 0;
	char why[200];
	int fd = listener_bind("127.0.0.1", 0, &port, why, sizeof why), last;

	pair_begin();
	ln = listener_new(loop, fd, on_any, NULL);
	int c = dial(port);
	getrlimit(RLIMIT_NOFILE, &old);
	last = dup(c);
	low = (struct rlimit){.rlim_cur = (rlim_t)last, .rlim_max = old.rlim_max};
	close(last);
	setrlimit(RLIMIT_NOFILE, &low);
	struct rusage before, after;
	getrusage(RUSAGE_SELF, &before);
	run_for(250);
	getrusage(RUSAGE_SELF, &after);
	CHECK_EQ(nr_accepted, 0);
	CHECK(after.ru_utime.tv_sec * 1000 + after.ru_utime.tv_usec / 1000 - before.ru_utime.tv_sec * 1000 -
		      before.ru_utime.tv_usec / 1000 <
	      100);
	setrlimit(RLIMIT_NOFILE, &old);
	CHECK(run_until(&nr_accepted, 1));
	close_accepted();
	close(c);
	listener_free(ln);
	pair_end();
}

/* With no time for newcomers one gets in now and then all the same. */
static void test_never_shut(void)
{
	const struct admission_options o = {.share_percent = 4, .burst_us = 1000, .patience_ms = 1000, .waiting_max = 10};
	uint16_t port = 0;
	char why[200];
	int fd = listener_bind("127.0.0.1", 0, &port, why, sizeof why);

	pair_begin();
	struct handshakes *h = handshakes_new(loop, &o, NULL);
	ln = listener_new(loop, fd, on_any, NULL);
	listener_pace(ln, h);
	int c = dial(port), d = dial(port);
	handshakes_end(h, HANDSHAKES_ACCEPT, handshakes_begin(h) - 100000, NULL);
	CHECK(handshakes_accept_in_ms(h) > 5000);
	CHECK(run_until(&nr_accepted, 2));
	CHECK(handshakes_accept_in_ms(h) > 0);
	close_accepted();
	close(c);
	close(d);
	listener_free(ln);
	loop_turn(loop);
	handshakes_free(h);
	pair_end();
}

int main(void)
{
	RUN(test_accept);
	RUN(test_free_inside);
	RUN(test_taken);
	RUN(test_wildcard);
	RUN(test_without_ipv6);
	RUN(test_out_of_descriptors);
	RUN(test_never_shut);
	return check_done("net_listener");
}
