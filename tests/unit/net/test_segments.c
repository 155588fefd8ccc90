/* What leaves in one segment: a session ticket, for which nobody waits, goes out with the first words behind it. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "../check.h"
#include "net/conn_int.h"
#include "net/tls_tickets.h"
#include "pair.h"

#define FEATURES "<stream:features/>"
#define TRIES 50

/* --- what the accepting end gives to the kernel, linked by --wrap --- */

static struct sent {
	int flags;
	unsigned segments;      /* of data, that had left before */
} sent_[16];
static size_t nr_sent_;

ssize_t __real_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags);

static unsigned segments(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof info;

	CHECK_EQ(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_data_segs_out;
}

ssize_t __wrap_send(int fd, const void *p, size_t n, int flags)
{
	if (b.conn != NULL && fd == b.conn->ch.fd && nr_sent_ < ARRAY_LEN(sent_))
		sent_[nr_sent_++] = (struct sent){flags, segments(fd)};
	return __real_send(fd, p, n, flags);
}

static unsigned after_;         /* segments, when the features had arrived */

static void say_features(struct end *e, struct slice bytes)
{
	(void)bytes;
	conn_send(e->conn, SLICE(FEATURES));
}

/* A TLS 1.3 login up to the first features. */
static void login(const struct tls_tickets *tickets)
{
	SSL *ours;
	size_t nr;

	nr_sent_ = 0;
	pair_begin();
	pair_open();
	ours = pair_ssl(true);
	CHECK_EQ(SSL_set_min_proto_version(ours, TLS1_3_VERSION), 1);
	if (tickets != NULL)
		tls_tickets_use(ours, tickets);
	b.on_data = say_features;
	conn_start_tls(b.conn, ours);
	conn_start_tls(a.conn, pair_ssl(false));
	CHECK(run_until(&a.nr_tls, 1));
	conn_send(a.conn, SLICE("<stream:stream>"));
	CHECK(run_until_in(&a, sizeof FEATURES - 1));
	after_ = segments(b.conn->ch.fd);
	nr = nr_sent_;
	pair_end();
	nr_sent_ = nr; /* not the last words */
	CHECK(nr >= 2 && nr < ARRAY_LEN(sent_));
}

/* The kernel holds back for 200 ms, and less where something comes in that it does not quite expect, such as a window that has changed. So
 * not every login shows it. */
static void test_ticket_goes_with_features(void)
{
	const struct tls_tickets tickets = {.nr = 1, .key = {{.name = "a key"}}};
	bool together = false;

	for (unsigned i = 0; i < TRIES && !together; i++) {
		login(&tickets);
		const struct sent *ticket = &sent_[nr_sent_ - 2], *features = &sent_[nr_sent_ - 1];

		CHECK(ticket->flags & MSG_MORE);
		CHECK(!(features->flags & MSG_MORE));
		for (const struct sent *s = sent_; s < ticket; s++)
			CHECK(!(s->flags & MSG_MORE)); /* the other end waits for it */
		together = after_ == ticket->segments + 1;
	}
	CHECK(together);
}

/* Where no ticket is given nothing is held back. */
static void test_without_ticket(void)
{
	login(NULL);
	for (size_t i = 0; i < nr_sent_; i++)
		CHECK(!(sent_[i].flags & MSG_MORE));
	CHECK_EQ(after_, sent_[nr_sent_ - 1].segments + 1);
}

int main(void)
{
	RUN(test_ticket_goes_with_features);
	RUN(test_without_ticket);
	return check_done("net_segments");
}
