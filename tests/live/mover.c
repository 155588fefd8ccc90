/*
 * A service whose users have moved: refuses their sessions with the host that they went to, and says the same when it is asked. Everybody
 * else gets a session in which nothing is answered.
 *
 *     mover STATE-DIR DOMAIN open|closed [USER=HOST]...
 *
 * MOVER_REGISTRY and MOVER_KEY name a cluster's registry and a key of its own; without them those of the gateway in STATE-DIR are found.
 *
 * Lines on its standard input set and remove redirects; each is answered once every registry has:
 *
 *     redirect WHO HOST SECONDS       -> done
 *     remove WHO                      -> done
 *     list                            -> WHO HOST for each, then done
 */
#include <ambrosia/svcproto.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mover {
	struct svcproto *sp;
	char **moved;            /* "USER=HOST", ending in NULL */
	bool ready;
	bool busy;               /* the last line is not answered yet */
	volatile sig_atomic_t stopping;
};

static struct mover mover;

static const char *host_of(const char *bare_jid)
{
	size_t n = strcspn(bare_jid, "@");

	for (char **m = mover.moved; *m != NULL; m++)
		if (strncmp(*m, bare_jid, n) == 0 && (*m)[n] == '=')
			return *m + n + 1;
	return NULL;
}

static void on_open(void *arg, struct svcproto_session *s, const struct svcproto_open *o)
{
	const char *host = host_of(o->bare_jid);
	char jid[3200];

	(void)arg;
	snprintf(jid, sizeof(jid), "%s/here", o->bare_jid);
	if (host == NULL) {
		(void)svcproto_accept(s, jid);
		return;
	}
	printf("sent away %s\n", o->bare_jid);
	fflush(stdout);
	(void)svcproto_redirect(s, host);
}

static void on_locate(void *arg, uint64_t request, const char *bare_jid)
{
	(void)arg;
	printf("asked %s\n", bare_jid);
	fflush(stdout);
	(void)svcproto_located(mover.sp, request, host_of(bare_jid), 0, false);
}

static void on_stanza(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st)
{
	(void)arg;
	(void)s;
	(void)svcproto_ack(mover.sp, st->ticket);
}

static void on_linked(void *arg, unsigned nr_gateways)
{
	(void)arg;
	fprintf(stderr, "linked gateways=%u\n", nr_gateways);
	if (nr_gateways > 0 && !mover.ready)
		puts("ready");
	mover.ready = mover.ready || nr_gateways > 0;
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

static void print_redirect(void *arg, const struct svcproto_redirect *r)
{
	(void)arg;
	printf("%s %s\n", r->who, r->host);
}

static void obey(const char *line)
{
	char who[256], host[256];
	unsigned seconds;
	int rc = 0;

	if (sscanf(line, "redirect %255s %255s %u", who, host, &seconds) == 3)
		rc = svcproto_set_redirect(mover.sp, who, host, seconds);
	else if (sscanf(line, "remove %255s", who) == 1)
		rc = svcproto_remove_redirect(mover.sp, who);
	else
		(void)svcproto_each_redirect(mover.sp, print_redirect, NULL);
	if (rc != 0)
		printf("refused %s\n", svcproto_strerror(rc));
	mover.busy = true;
}

static int run(void)
{
	struct pollfd p[2] = { { .fd = svcproto_fd(mover.sp), .events = POLLIN }, { .fd = 0, .events = POLLIN } };
	char line[600];
	int rc = 0;

	while (rc == 0 && !mover.stopping) {
		if (poll(p, 2, -1) < 0)
			continue; /* a signal */
		if (p[1].revents != 0 && fgets(line, sizeof(line), stdin) != NULL)
			obey(line);
		else if (p[1].revents != 0)
			p[1].fd = -1;
		rc = svcproto_dispatch(mover.sp);
		if (mover.busy && svcproto_nr_redirects_pending(mover.sp) == 0) {
			mover.busy = false;
			puts("done");
			fflush(stdout);
		}
	}
	return rc;
}

static void on_term(int signal)
{
	(void)signal;
	mover.stopping = 1;
}

int main(int argc, char **argv)
{
	static const struct svcproto_callbacks cb = { .session_open = on_open, .stanza = on_stanza, .locate = on_locate,
						      .linked = on_linked, .refused = on_refused,
						      .log = on_log };
	struct svcproto_options o = { .name = "mover" };
	struct svcproto_registration r = { .types = SVCPROTO_CLIENT };
	int error = 0;

	if (argc < 4) {
		fprintf(stderr, "mover STATE-DIR DOMAIN open|closed [USER=HOST]...\n");
		return 2;
	}
	o.state_dir = argv[1];
	o.registry = getenv("MOVER_REGISTRY");
	o.key_file = getenv("MOVER_KEY");
	r.domain = argv[2];
	r.locate_open = strcmp(argv[3], "open") == 0;
	mover.moved = argv + 4;
	mover.sp = svcproto_new(&o, &cb, NULL, &error);
	if (mover.sp == NULL || (error = svcproto_register(mover.sp, &r)) != 0) {
		fprintf(stderr, "mover: %s\n", svcproto_strerror(error));
		return 1;
	}
	signal(SIGTERM, on_term);
	setvbuf(stdin, NULL, _IONBF, 0);
	error = run();
	svcproto_free(mover.sp);
	return error != 0;
}
