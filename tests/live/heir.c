/*
 * An instance that gets the clients of one that died: says of each message whether it may be a repetition, and sends it back.
 *
 *     heir STATE-DIR DOMAIN as-asked|elsewhere|refuse
 *
 * as-asked: sessions are what their clients ask for; elsewhere: their full JID is another one; refuse: there are none.
 */
#include <ambrosia/svcproto.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct svcproto *sp;
static const char *manner;

static void on_open(void *arg, struct svcproto_session *s, const struct svcproto_open *o)
{
	char jid[3200];

	(void)arg;
	snprintf(jid, sizeof(jid), "%s/%s", o->bare_jid, strcmp(manner, "elsewhere") == 0 || o->resource == NULL ? "another" : o->resource);
	printf("open %s\n", jid);
	if (strcmp(manner, "refuse") == 0)
		(void)svcproto_refuse(s, "wait", "resource-constraint", NULL);
	else
		(void)svcproto_accept(s, jid);
	fflush(stdout);
}

static void on_closed(void *arg, struct svcproto_session *s, const char *condition, const char *text)
{
	(void)arg, (void)text;
	printf("closed %s %s\n", svcproto_jid(s), condition != NULL ? condition : "-");
	fflush(stdout);
}

static void on_stanza(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st)
{
	(void)arg;
	printf("stanza %s %.*s\n", st->repeated ? "repeated" : "new", (int)st->length, st->xml);
	fflush(stdout);
	if (!svcproto_stanza_is(st, "message") || svcproto_send_back(sp, s, st, st->ticket) != 0)
		(void)svcproto_ack(sp, st->ticket);
}

static void on_delivered(void *arg, uint64_t ticket)
{
	(void)arg;
	(void)svcproto_ack(sp, ticket);
}

static void on_linked(void *arg, unsigned nr_gateways)
{
	static bool ready;

	(void)arg;
	if (nr_gateways > 0 && !ready)
		puts("ready");
	ready = ready || nr_gateways > 0;
	fflush(stdout);
}

static void on_log(void *arg, enum svcproto_log level, const char *line)
{
	(void)arg, (void)level;
	fprintf(stderr, "%s\n", line);
}

static void on_term(int signal)
{
	(void)signal;
	svcproto_stop(sp);
}

int main(int argc, char **argv)
{
	static const struct svcproto_callbacks cb = { .session_open = on_open, .session_closed = on_closed, .stanza = on_stanza,
						      .delivered = on_delivered, .linked = on_linked, .log = on_log };
	struct svcproto_options o = { .name = "heir" };
	struct svcproto_registration r = { .types = SVCPROTO_CLIENT };
	int error = 0;

	if (argc != 4) {
		fprintf(stderr, "heir STATE-DIR DOMAIN as-asked|elsewhere|refuse\n");
		return 2;
	}
	o.state_dir = argv[1];
	r.domain = argv[2];
	manner = argv[3];
	sp = svcproto_new(&o, &cb, NULL, &error);
	if (sp == NULL || (error = svcproto_register(sp, &r)) != 0) {
		fprintf(stderr, "heir: %s\n", svcproto_strerror(error));
		return 1;
	}
	signal(SIGTERM, on_term);
	error = svcproto_run(sp);
	svcproto_free(sp);
	return error != 0;
}
