/*
 * A service whose users have moved: refuses their sessions with the host that they went to, and says the same when it is asked. Everybody
 * else gets a session in which nothing is answered.
 *
 *     mover STATE-DIR DOMAIN open|closed [USER=HOST]...
 */
#include <ambrosia/svcproto.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct mover {
	struct svcproto *sp;
	char **moved;            /* "USER=HOST", ending in NULL */
	bool ready;
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
	if (host != NULL)
		(void)svcproto_redirect(s, host);
	else
		(void)svcproto_accept(s, jid);
}

static void on_locate(void *arg, uint64_t request, const char *bare_jid)
{
	(void)arg;
	printf("asked %s\n", bare_jid);
	fflush(stdout);
	(void)svcproto_located(mover.sp, request, host_of(bare_jid), false);
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

static void on_term(int signal)
{
	(void)signal;
	svcproto_stop(mover.sp);
}

int main(int argc, char **argv)
{
	static const struct svcproto_callbacks cb = { .session_open = on_open, .stanza = on_stanza, .locate = on_locate,
						      .linked = on_linked, .log = on_log };
	struct svcproto_options o = { .name = "mover" };
	struct svcproto_registration r = { .types = SVCPROTO_CLIENT };
	int error = 0;

	if (argc < 4) {
		fprintf(stderr, "mover STATE-DIR DOMAIN open|closed [USER=HOST]...\n");
		return 2;
	}
	o.state_dir = argv[1];
	r.domain = argv[2];
	r.locate_open = strcmp(argv[3], "open") == 0;
	mover.moved = argv + 4;
	mover.sp = svcproto_new(&o, &cb, NULL, &error);
	if (mover.sp == NULL || (error = svcproto_register(mover.sp, &r)) != 0) {
		fprintf(stderr, "mover: %s\n", svcproto_strerror(error));
		return 1;
	}
	signal(SIGTERM, on_term);
	error = svcproto_run(mover.sp);
	svcproto_free(mover.sp);
	return error != 0;
}
