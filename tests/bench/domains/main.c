/*
 * A service that writes to many remote domains, and counts what becomes of it (tests/bench/run_domains). One thread, svcproto's own
 * descriptor and standard input in one poll. Commands, a line each; each answers with a line of JSON when it is done:
 *
 *   send NR DOMAIN…      NR messages to each of them, as fast as they are acknowledged; until all have come to an end
 *   trickle MS DOMAIN…   a message to each of them every MS milliseconds from here on (0: no more); answers at once
 *   outcomes             how the trickle's messages ended so far: by domain, type and condition
 */
#include <ambrosia/svcproto.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DOMAINS_MAX = 2000, LINE_BYTES_MAX = 128 * 1024, WORDS_MAX = DOMAINS_MAX + 2, OUTCOMES_MAX = 4, TRICKLED_MAX = 100 };

struct outcome {
	char what[96];
	unsigned nr;
};

struct target {
	char *domain;
	unsigned to_send, open;          /* of the send command */
	bool trickles;
	unsigned trickled;               /* on their way */
	struct outcome outcomes[OUTCOMES_MAX];
};

static struct svcproto *sp;
static const char *from;
static struct target targets[DOMAINS_MAX];
static unsigned nr_targets, nr_gateways;
static unsigned long delivered, undeliverable, unfinished;
static uint64_t began_ms, trickle_ms, trickle_at_ms;
static bool sending;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct target *target_of(const char *domain)
{
	for (unsigned i = 0; i < nr_targets; i++) {
		if (strcmp(targets[i].domain, domain) == 0)
			return &targets[i];
	}
	if (nr_targets == DOMAINS_MAX) {
		fprintf(stderr, "bench_domains: more than %d domains\n", DOMAINS_MAX);
		exit(1);
	}
	targets[nr_targets].domain = strdup(domain);
	return &targets[nr_targets++];
}

/* Cookies: the target's number, and whether it is of the trickle. */
static uint64_t cookie_of(const struct target *t, bool trickles)
{
	return ((uint64_t)(t - targets) + 1) << 1 | trickles;
}

static int send_one(struct target *t, bool trickles)
{
	static const char body[] = "Two households, both alike in dignity, in fair Verona, where we lay our scene.";
	char xml[512];
	int n = snprintf(xml, sizeof xml,
			 "<message xmlns='jabber:client' from='bench@%s' to='user@%s' type='chat'><body>%s</body></message>",
			 from, t->domain, body);

	return svcproto_send_server(sp, from, t->domain, xml, (size_t)n, cookie_of(t, trickles));
}

/* What the library takes now. */
static void fill(struct target *t)
{
	while (t->to_send > 0 && send_one(t, false) == 0) {
		t->to_send--;
		t->open++;
	}
}

static void finish_send(void)
{
	if (!sending || unfinished > 0)
		return;
	sending = false;
	printf("{\"seconds\": %.3f, \"delivered\": %lu, \"undeliverable\": %lu}\n", (double)(now_ms() - began_ms) / 1000, delivered,
	       undeliverable);
	fflush(stdout);
}

static void ended(uint64_t cookie, bool ok)
{
	struct target *t = &targets[(cookie >> 1) - 1];

	if (cookie & 1) {
		t->trickled--;
		return;
	}
	t->open--;
	unfinished--;
	delivered += ok;
	undeliverable += !ok;
	fill(t);
}

static void count(struct target *t, const char *what)
{
	for (unsigned i = 0; i < OUTCOMES_MAX; i++) {
		struct outcome *o = &t->outcomes[i];

		if (o->nr == 0)
			snprintf(o->what, sizeof o->what, "%s", what);
		if (strcmp(o->what, what) == 0) {
			o->nr++;
			return;
		}
	}
}

static void on_delivered(void *arg, uint64_t cookie)
{
	(void)arg;
	if (cookie & 1)
		count(&targets[(cookie >> 1) - 1], "delivered");
	ended(cookie, true);
}

static void on_undeliverable(void *arg, uint64_t cookie, const char *type, const char *condition, const char *xml, size_t n)
{
	char what[96];

	(void)arg, (void)xml, (void)n;
	snprintf(what, sizeof what, "%s %s", type, condition);
	if (cookie & 1)
		count(&targets[(cookie >> 1) - 1], what);
	ended(cookie, false);
}

static void on_linked(void *arg, unsigned nr)
{
	(void)arg;
	if (nr > 0 && nr_gateways == 0) {
		printf("{\"linked\": %u}\n", nr);
		fflush(stdout);
	}
	nr_gateways = nr;
}

static void on_stanza(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st)
{
	(void)arg, (void)s;
	(void)svcproto_ack(sp, st->ticket);
}

static void trickle(uint64_t now)
{
	if (trickle_ms == 0 || now < trickle_at_ms)
		return;
	trickle_at_ms = now + trickle_ms;
	for (unsigned i = 0; i < nr_targets; i++) {
		if (targets[i].trickles && targets[i].trickled < TRICKLED_MAX && send_one(&targets[i], true) == 0)
			targets[i].trickled++;
	}
}

/* --- commands --------------------------------------------------------------- */

static void command_send(char **w, unsigned nr)
{
	unsigned long each = strtoul(w[1], NULL, 10);

	began_ms = now_ms();
	delivered = undeliverable = 0;
	unfinished = each * (nr - 2);
	sending = true;
	for (unsigned i = 2; i < nr; i++) {
		struct target *t = target_of(w[i]);

		t->to_send = (unsigned)each;
		fill(t);
	}
}

static void command_outcomes(void)
{
	const char *between = "";

	printf("{");
	for (unsigned i = 0; i < nr_targets; i++) {
		for (unsigned k = 0; k < OUTCOMES_MAX && targets[i].outcomes[k].nr > 0; k++) {
			printf("%s\"%s %s\": %u", between, targets[i].domain, targets[i].outcomes[k].what, targets[i].outcomes[k].nr);
			between = ", ";
		}
	}
	printf("}\n");
	fflush(stdout);
}

static void command_trickle(char **w, unsigned nr)
{
	trickle_ms = strtoul(w[1], NULL, 10);
	trickle_at_ms = 0;
	for (unsigned i = 0; i < nr_targets; i++)
		targets[i].trickles = false;
	for (unsigned i = 2; i < nr; i++)
		target_of(w[i])->trickles = true;
	puts("{}");
	fflush(stdout);
}

static void obey(char *line)
{
	static char *words[WORDS_MAX];
	unsigned nr = 0;

	for (char *save, *w = strtok_r(line, " \n", &save); w != NULL && nr < WORDS_MAX; w = strtok_r(NULL, " \n", &save))
		words[nr++] = w;
	if (nr >= 2 && strcmp(words[0], "send") == 0)
		command_send(words, nr);
	else if (nr >= 2 && strcmp(words[0], "trickle") == 0)
		command_trickle(words, nr);
	else if (nr == 1 && strcmp(words[0], "outcomes") == 0)
		command_outcomes();
	else
		fprintf(stderr, "bench_domains: no such command\n");
}

static int wait_ms(uint64_t now)
{
	if (trickle_ms == 0)
		return -1;
	return trickle_at_ms > now ? (int)(trickle_at_ms - now) : 0;
}

/* Until standard input ends. */
static int run(void)
{
	struct pollfd p[2] = { { .fd = svcproto_fd(sp), .events = POLLIN }, { .fd = 0, .events = POLLIN } };
	static char line[LINE_BYTES_MAX];
	int rc = 0;

	while (rc == 0) {
		if (poll(p, 2, wait_ms(now_ms())) < 0)
			return -1;
		if (p[1].revents != 0) {
			if (fgets(line, sizeof line, stdin) == NULL)
				return 0;
			obey(line);
		}
		trickle(now_ms());
		rc = svcproto_dispatch(sp);
		finish_send();
	}
	return rc;
}

int main(int argc, char **argv)
{
	static const struct svcproto_callbacks cb = { .stanza = on_stanza, .delivered = on_delivered, .undeliverable = on_undeliverable,
						      .linked = on_linked };
	struct svcproto_options o = { .name = "bench_domains" };
	struct svcproto_registration r = { .types = SVCPROTO_SERVER };
	int error = 0;

	if (argc != 3) {
		fprintf(stderr, "bench_domains STATE-DIR DOMAIN\n");
		return 2;
	}
	o.state_dir = argv[1];
	r.domain = from = argv[2];
	sp = svcproto_new(&o, &cb, NULL, &error);
	if (sp == NULL || (error = svcproto_register(sp, &r)) != 0) {
		fprintf(stderr, "bench_domains: %s\n", svcproto_strerror(error));
		return 1;
	}
	setvbuf(stdin, NULL, _IONBF, 0);
	error = run();
	svcproto_free(sp);
	for (unsigned i = 0; i < nr_targets; i++)
		free(targets[i].domain);
	if (error != 0)
		fprintf(stderr, "bench_domains: the service ended\n");
	return error != 0;
}
