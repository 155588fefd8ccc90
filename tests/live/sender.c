/*
 * A service that sends numbered messages to another domain, and keeps account of every one: what comes of it must be told exactly once.
 *
 *     sender REGISTRY KEY-FILE FROM-DOMAIN TO LABEL COUNT BURST      (TO: a domain, or a user of it)
 *
 * `ready` on standard output when it is linked. A line of standard input starts it: every 100 ms BURST messages, or as many of them as the
 * library takes. When COUNT are answered for: `done delivered=N undeliverable=N twice=N disorder=N`. What comes back says so as it comes:
 * `back NUMBER CONDITION`. The message with number N has the id LABEL-N.
 */
#include <ambrosia/svcproto.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COUNT_MAX = 1000000, BURST_MS = 100 };

struct sender {
	struct svcproto *sp;
	const char *from, *to, *to_domain, *label;
	unsigned count, burst, sent, answered;
	unsigned delivered, undeliverable, twice, disorder;
	uint64_t last;                   /* delivered */
	unsigned char told[COUNT_MAX];   /* by number */
	uint64_t burst_at_ms;
	bool ready, going;
	volatile sig_atomic_t stopping;
};

static struct sender sender;

static void tell(uint64_t number)
{
	sender.twice += sender.told[number - 1] != 0;
	sender.told[number - 1] = 1;
	if (++sender.answered == sender.count)
		printf("done delivered=%u undeliverable=%u twice=%u disorder=%u\n", sender.delivered, sender.undeliverable, sender.twice,
		       sender.disorder);
	fflush(stdout);
}

static void on_delivered(void *arg, uint64_t number)
{
	(void)arg;
	sender.delivered++;
	sender.disorder += number < sender.last;
	sender.last = number;
	tell(number);
}

static void on_undeliverable(void *arg, uint64_t number, const char *type, const char *condition, const char *xml, size_t length)
{
	(void)arg;
	(void)type;
	(void)xml;
	(void)length;
	sender.undeliverable++;
	printf("back %llu %s\n", (unsigned long long)number, condition);
	tell(number);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* What the library refuses of a burst is left out. */
static void send_burst(void)
{
	char xml[1024];

	if (!sender.going || now_ms() < sender.burst_at_ms)
		return;
	sender.burst_at_ms = now_ms() + BURST_MS;
	for (unsigned i = 0; i < sender.burst && sender.sent < sender.count; i++) {
		unsigned number = sender.sent + 1;
		int n = snprintf(xml, sizeof(xml), "<message xmlns='jabber:client' from='%s' to='%s' id='%s-%u'><body>%u</body></message>",
				 sender.from, sender.to, sender.label, number, number);

		if (svcproto_send_server(sender.sp, sender.from, sender.to_domain, xml, (size_t)n, number) != 0)
			return;
		sender.sent = number;
	}
}

static void on_stanza(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st)
{
	(void)arg;
	(void)s;
	(void)svcproto_ack(sender.sp, st->ticket);
}

static void on_linked(void *arg, unsigned nr_gateways)
{
	(void)arg;
	fprintf(stderr, "linked gateways=%u\n", nr_gateways);
	if (nr_gateways > 0 && !sender.ready)
		puts("ready");
	sender.ready = sender.ready || nr_gateways > 0;
	fflush(stdout);
}

static void on_log(void *arg, enum svcproto_log level, const char *line)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "%s\n", line);
}

static void on_refused(void *arg, const char *what)
{
	(void)arg;
	printf("refused %s\n", what);
	fflush(stdout);
}

static int run(void)
{
	struct pollfd p[2] = { { .fd = svcproto_fd(sender.sp), .events = POLLIN }, { .fd = 0, .events = POLLIN } };
	char line[64];
	int rc = 0;

	while (rc == 0 && !sender.stopping) {
		if (poll(p, 2, sender.going ? BURST_MS / 10 : -1) < 0)
			continue; /* a signal */
		if (p[1].revents != 0 && fgets(line, sizeof(line), stdin) == NULL)
			p[1].fd = -1;
		else if (p[1].revents != 0)
			sender.going = true;
		send_burst();
		rc = svcproto_dispatch(sender.sp);
	}
	return rc;
}

static void on_term(int signal)
{
	(void)signal;
	sender.stopping = 1;
}

int main(int argc, char **argv)
{
	static const struct svcproto_callbacks cb = { .stanza = on_stanza, .delivered = on_delivered, .undeliverable = on_undeliverable,
						      .linked = on_linked, .refused = on_refused, .log = on_log };
	struct svcproto_options o = { .name = "sender" };
	struct svcproto_registration r = { .types = SVCPROTO_SERVER };
	int error = 0;

	if (argc != 8 || strtoul(argv[6], NULL, 10) > COUNT_MAX) {
		fprintf(stderr, "sender REGISTRY KEY-FILE FROM-DOMAIN TO LABEL COUNT BURST\n");
		return 2;
	}
	o.registry = argv[1];
	o.key_file = argv[2];
	r.domain = sender.from = argv[3];
	sender.to = argv[4];
	sender.to_domain = strchr(sender.to, '@') != NULL ? strchr(sender.to, '@') + 1 : sender.to;
	sender.label = argv[5];
	sender.count = (unsigned)strtoul(argv[6], NULL, 10);
	sender.burst = (unsigned)strtoul(argv[7], NULL, 10);
	sender.sp = svcproto_new(&o, &cb, NULL, &error);
	if (sender.sp == NULL || (error = svcproto_register(sender.sp, &r)) != 0) {
		fprintf(stderr, "sender: %s\n", svcproto_strerror(error));
		return 1;
	}
	signal(SIGTERM, on_term);
	setvbuf(stdin, NULL, _IONBF, 0);
	error = run();
	svcproto_free(sender.sp);
	return error != 0;
}
