/*
 * A service that takes sessions and stanzas and never acknowledges any, as one does whose disk hangs.
 *
 *     silent STATE-DIR DOMAIN
 */
#include <ambrosia/svcproto.h>

#include <signal.h>
#include <stdio.h>

static struct svcproto *sp;

static void on_signal(int number)
{
	(void)number;
	svcproto_stop(sp);
}

static void on_open(void *arg, struct svcproto_session *s, const struct svcproto_open *o)
{
	char jid[3200];

	(void)arg;
	snprintf(jid, sizeof(jid), "%s/%s", o->bare_jid, o->resource != NULL ? o->resource : "none");
	(void)svcproto_accept(s, jid);
}

static void on_stanza(void *arg, struct svcproto_session *s, const struct svcproto_stanza *st)
{
	(void)arg, (void)s, (void)st;
}

static void on_linked(void *arg, unsigned nr)
{
	static bool said;

	(void)arg;
	if (nr > 0 && !said)
		puts("ready");
	fflush(stdout);
	said = nr > 0;
}

static const struct svcproto_callbacks callbacks = { .session_open = on_open, .stanza = on_stanza, .linked = on_linked };

int main(int argc, char **argv)
{
	struct svcproto_options options = { .name = "silent", .state_dir = argv[1] };
	struct svcproto_registration domain = { .domain = argv[argc - 1], .types = SVCPROTO_CLIENT | SVCPROTO_SERVER };
	int rc = argc == 3 ? 0 : SVCPROTO_E_INVALID;

	if (rc == 0)
		sp = svcproto_new(&options, &callbacks, NULL, &rc);
	if (rc == 0)
		rc = svcproto_register(sp, &domain);
	signal(SIGTERM, on_signal);
	if (rc == 0)
		rc = svcproto_run(sp);
	svcproto_free(sp);
	return rc != 0;
}
