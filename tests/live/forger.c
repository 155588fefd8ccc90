/*
 * A service that speaks for a domain that is not its key's: on a stream in that domain's name, then with a stanza in its name on a stream
 * of its own; at last an honest stanza of its own. Tells what becomes of each, by its number, and ends.
 *
 *     forger REGISTRY KEY-FILE OWN-DOMAIN FOREIGN-DOMAIN TO
 */
#include <ambrosia/svcproto.h>

#include <stdio.h>
#include <string.h>

static struct svcproto *sp;
static const char *own, *foreign, *to;

/* In the name of `from`, on the stream of `pair` to the addressee's domain. */
static void send_as(const char *pair, const char *from, uint64_t number)
{
	char xml[512];
	int n = snprintf(xml, sizeof(xml), "<message xmlns='jabber:client' from='mallory@%s' to='%s'><body>number %llu</body></message>",
			 from, to, (unsigned long long)number);

	if (svcproto_send_server(sp, pair, strchr(to, '@') + 1, xml, (size_t)n, number) != 0)
		svcproto_stop(sp);
}

static void on_linked(void *arg, unsigned nr_gateways)
{
	static bool begun;

	(void)arg;
	if (nr_gateways > 0 && !begun)
		send_as(foreign, foreign, 1);
	begun = begun || nr_gateways > 0;
}

static void on_undeliverable(void *arg, uint64_t number, const char *type, const char *condition, const char *xml, size_t n)
{
	(void)arg, (void)type, (void)xml, (void)n;
	printf("%llu: %s\n", (unsigned long long)number, condition);
	if (number == 1)
		send_as(own, foreign, 2);
	else if (number == 2)
		send_as(own, own, 3);
	else
		svcproto_stop(sp);
}

static void on_delivered(void *arg, uint64_t number)
{
	(void)arg;
	printf("%llu: delivered\n", (unsigned long long)number);
	svcproto_stop(sp);
}

static void on_log(void *arg, enum svcproto_log level, const char *line)
{
	(void)arg, (void)level;
	fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
	static const struct svcproto_callbacks cb = { .linked = on_linked, .delivered = on_delivered, .undeliverable = on_undeliverable,
						      .log = on_log };
	struct svcproto_options o = { .name = "forger" };
	struct svcproto_registration r = { .types = SVCPROTO_SERVER };
	int error = 0;

	if (argc != 6) {
		fprintf(stderr, "forger REGISTRY KEY-FILE OWN-DOMAIN FOREIGN-DOMAIN TO\n");
		return 2;
	}
	o.registry = argv[1];
	o.key_file = argv[2];
	own = argv[3];
	foreign = argv[4];
	to = argv[5];
	sp = svcproto_new(&o, &cb, NULL, &error);
	for (int i = 3; i <= 4 && error == 0; i++) {
		r.domain = argv[i];
		error = svcproto_register(sp, &r);
	}
	if (error == 0)
		error = svcproto_run(sp);
	svcproto_free(sp);
	return error != 0;
}
