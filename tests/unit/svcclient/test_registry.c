/* The registry over real sockets: who gets in, what is refused by name, reloads, restarts. */
#include "check.h"
#include "svcclient/fake_gateway.h"
#include "registry/members.h"
#include "svcproto/directory_feed.h"
#include "svcproto/regmsg.h"
#include "svcproto/zmon.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

static struct cluster c;
static struct fake_gateway g;
static struct service s;

static const struct turn all = { .fn = fake_gateway_turn, .arg = &g, .services = { &s } };

static bool linked(void *arg)
{
	(void)arg;
	return s.nr_gateways > 0 && fake_gateway_nr_up(&g) > 0;
}

static int count(void *arg, const struct directory_registration *r)
{
	(void)r;
	(*(int *)arg)++;
	return 0;
}

static int registrations(const char *domain, unsigned type)
{
	int nr = 0;

	(void)directory_each_registration(g.directory, domain, type, count, &nr);
	return nr;
}

static bool registered(void *domain)
{
	return registrations(domain, SVCPROTO_CLIENT) > 0;
}

static bool not_registered(void *domain)
{
	return registrations(domain, SVCPROTO_CLIENT) == 0;
}

static bool refused(void *arg)
{
	(void)arg;
	return s.refusals > 0;
}

static void start(void)
{
	cluster_start(&c);
	fake_gateway_start(&g, &c, "tcp://127.0.0.1:*");
	CHECK_EQ(service_start(&s, &c, NULL), 0);
}

static void stop(void)
{
	service_stop(&s);
	fake_gateway_stop(&g);
	cluster_stop(&c);
}

static void test_register(void)
{
	start();
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK_EQ(service_register(&s, "not a domain", SVCPROTO_CLIENT), SVCPROTO_E_INVALID);
	CHECK_EQ(service_register(&s, "b.example", 0), SVCPROTO_E_INVALID);
	CHECK(turn_until(&all, linked, NULL, 10000));
	CHECK(turn_until(&all, registered, (void *)"a.example", 5000));
	CHECK_EQ(registrations("a.example", SVCPROTO_SERVER), 0);
	CHECK(directory_is_local(g.directory, "a.example"));
	CHECK(!directory_is_local(g.directory, "b.example"));
	CHECK_EQ(service_register(&s, "b.example", SVCPROTO_CLIENT | SVCPROTO_SERVER), 0);
	CHECK(turn_until(&all, registered, (void *)"b.example", 5000));
	CHECK_EQ(svcproto_unregister(s.sp, "a.example"), 0);
	CHECK(turn_until(&all, not_registered, (void *)"a.example", 5000));
	CHECK_EQ(s.refusals, 0);
	/* A service that ends withdraws at once. */
	service_stop(&s);
	CHECK(turn_until(&all, not_registered, (void *)"b.example", 3000));
	stop();
}

static void test_unknown_key(void)
{
	char key[128];

	start();
	service_stop(&s);
	snprintf(key, sizeof(key), "%s", cluster_path(&c, "strange.key"));
	CHECK_EQ(svcproto_keygen(key, NULL), 0);
	CHECK_EQ(service_start(&s, &c, key), 0);
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, refused, NULL, 5000));
	CHECK(strncmp(s.refused, "the registry does not know the key ", 35) == 0 && strlen(s.refused) == 75);
	CHECK_EQ(s.nr_gateways, 0);
	/* The operator adds it: no restart is needed. */
	struct svc_key k;
	char text[400];

	CHECK_EQ(svc_key_load(key, &k), 0);
	snprintf(text, sizeof(text), "# serial 2\n%%G gateway\n%s service a.example:client\n", k.public_z85);
	cluster_write_keys(&c, text);
	CHECK(turn_until(&all, registered, (void *)"a.example", 15000));
	CHECK(turn_until(&all, linked, NULL, 15000));
	stop();
}

static bool refused_twice(void *arg)
{
	(void)arg;
	return s.refusals >= 2;
}

/* What a registry refuses may be withdrawn then and there: the rest of its message counts all the same, and at once. */
static void test_unregister_when_refused(void)
{
	uint64_t began;

	start();
	cluster_write_keys(&c, "# serial 2\n%G gateway\n%S service a.example:client\n");
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, linked, NULL, 10000));
	CHECK(turn_until(&all, registered, (void *)"a.example", 5000));
	s.unregister[0] = "y.example"; /* as they are told of: each is withdrawn when it is refused */
	s.unregister[1] = "x.example";
	began = test_now_ms();
	CHECK_EQ(service_register(&s, "y.example", SVCPROTO_CLIENT), 0);
	CHECK_EQ(service_register(&s, "x.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, refused_twice, NULL, 10000));
	CHECK(test_now_ms() - began < 2000); /* not by the next renewal, three seconds later */
	CHECK_EQ(s.refusals, 2);
	CHECK(s.unregister[0] == NULL && s.unregister[1] == NULL);
	CHECK(registered((void *)"a.example"));
	stop();
}

static void test_unauthorised_domain(void)
{
	start();
	cluster_write_keys(&c, "# serial 2\n%G gateway\n%S service a.example:client,server *.c.example:server\n");
	CHECK_EQ(service_register(&s, "example.org", SVCPROTO_CLIENT | SVCPROTO_SERVER), 0);
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT | SVCPROTO_SERVER), 0);
	CHECK(turn_until(&all, refused, NULL, 10000));
	CHECK_STR(s.refused, "domain example.org is not authorised for this key");
	CHECK(turn_until(&all, registered, (void *)"a.example", 5000)); /* one refusal does not harm the other */
	CHECK_EQ(registrations("example.org", SVCPROTO_CLIENT), 0);
	CHECK(directory_is_local(g.directory, "x.c.example")); /* written down, though nobody has registered it */
	s.refusals = 0;
	CHECK_EQ(service_register(&s, "x.c.example", SVCPROTO_CLIENT | SVCPROTO_SERVER), 0);
	CHECK(turn_until(&all, refused, NULL, 10000));
	CHECK_STR(s.refused, "domain x.c.example is not authorised for this key as type client");
	stop();
}

static void test_wrong_role(void)
{
	char text[300];
	struct svc_key k;

	start();
	service_stop(&s);
	/* The admin's key may talk to the registry, but registers nothing. */
	CHECK_EQ(svc_key_load(cluster_path(&c, "admin.key"), &k), 0);
	CHECK_EQ(service_start(&s, &c, cluster_path(&c, "admin.key")), 0);
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, refused, NULL, 10000));
	CHECK_STR(s.refused, "role admin may not announce a registration");
	CHECK_EQ(registrations("a.example", SVCPROTO_CLIENT), 0);
	/* A gateway's key that is one no more: its entry goes, and the gateway hears why. */
	CHECK(turn_until(&all, linked, NULL, 10000));
	snprintf(text, sizeof(text), "# serial 2\n%%S service *:client\n%s admin\n%%G service *:client\n", k.public_z85);
	cluster_write_keys(&c, text);
	uint64_t end = test_now_ms() + 10000;
	while (g.registry_refusals == 0 && test_now_ms() < end)
		(void)turn_until(&all, linked, NULL, 1), usleep(1000), fake_gateway_turn(&g);
	CHECK_STR(g.registry_refused, "role service may not announce a gateway");
	CHECK_EQ(directory_role(g.directory, c.gateway_key.public_z85), DIR_ROLE_SERVICE);
	stop();
}

static bool key_gone(void *arg)
{
	return directory_role(g.directory, arg) == DIR_ROLE_NONE;
}

static bool no_gateway(void *arg)
{
	(void)arg;
	return s.nr_gateways == 0;
}

static void test_removed_key(void)
{
	struct svc_key k;

	start();
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, registered, (void *)"a.example", 10000));
	CHECK(turn_until(&all, linked, NULL, 10000));
	CHECK_EQ(svc_key_load(cluster_path(&c, "service.key"), &k), 0);
	CHECK_EQ(directory_role(g.directory, k.public_z85), DIR_ROLE_SERVICE);
	cluster_write_keys(&c, "# serial 2\n%G gateway\n");
	CHECK(turn_until(&all, key_gone, k.public_z85, 5000));
	CHECK_EQ(registrations("a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, refused, NULL, 10000));
	CHECK(strncmp(s.refused, "the registry does not know the key ", 35) == 0);
	/* A broken file changes nothing. */
	cluster_write_keys(&c, "# serial 3\nnonsense\n");
	CHECK(!turn_until(&all, no_gateway, NULL, 300));
	CHECK_EQ(directory_role(g.directory, c.gateway_key.public_z85), DIR_ROLE_GATEWAY);
	stop();
}

static int port_of(const char *endpoint)
{
	return (int)strtol(strrchr(endpoint, ':') + 1, NULL, 10);
}

static bool subscription_refused(void *arg)
{
	return zmon_next(arg) == ZMON_REFUSED;
}

static bool beat_heard(void *arg)
{
	char b[64];

	return zmq_recv(((struct zmon *)arg)->socket, b, sizeof(b), ZMQ_DONTWAIT) > 0;
}

/* Not only asked no more: a subscription that stands would go on telling everything. */
static void test_removed_key_hears_nothing(void)
{
	struct zmon_options o = { .type = ZMQ_SUB, .high_water = 100, .message_max = SVC_MESSAGE_MAX };
	char endpoint[256], key[41];
	struct zmon sub;
	struct svc_key k;
	size_t n;

	start();
	n = strlen(c.where) - 41;
	memcpy(key, c.where + n + 1, sizeof(key));
	snprintf(endpoint, sizeof(endpoint), "%.*s", (int)n, c.where);
	snprintf(strrchr(endpoint, ':'), 8, ":%u", (unsigned)(port_of(endpoint) + 1) & 0xffffu);
	CHECK_EQ(svc_key_load(cluster_path(&c, "service.key"), &k), 0);
	o.zmq_context = c.zmq;
	o.endpoint = endpoint;
	o.server_key = key;
	o.public_key = k.public_z85;
	o.secret_key = k.secret_z85;
	CHECK_EQ(zmon_open(&sub, &o), 0);
	CHECK(turn_until(&all, beat_heard, &sub, 5000));
	CHECK(turn_until(&all, linked, NULL, 10000));
	cluster_write_keys(&c, "# serial 2\n%G gateway\n");
	CHECK(turn_until(&all, subscription_refused, &sub, 5000));
	while (beat_heard(&sub)) /* what came before */
		;
	CHECK(!turn_until(&all, beat_heard, &sub, 2 * REG_BEAT_MS));
	/* The gateway, which was cut with it, is back: it hears of the next change. */
	cluster_write_keys(&c, "# serial 3\n%G gateway\n%S service *:client,server\n");
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, registered, (void *)"a.example", 15000));
	zmon_close(&sub, 0);
	stop();
}

/* A member of our own hand: a connection, and what it says. */
static void member_open(struct zmon *z)
{
	struct zmon_options o = { .type = ZMQ_DEALER, .high_water = 100, .message_max = SVC_MESSAGE_MAX, .zmq_context = c.zmq };
	size_t n = strlen(c.where) - 41;
	char endpoint[256];
	struct svc_key k;

	snprintf(endpoint, sizeof(endpoint), "%.*s", (int)n, c.where);
	CHECK_EQ(svc_key_load(cluster_path(&c, "service.key"), &k), 0);
	o.endpoint = endpoint;
	o.server_key = c.where + n + 1;
	o.public_key = k.public_z85;
	o.secret_key = k.secret_z85;
	CHECK_EQ(zmon_open(z, &o), 0);
}

static bool member_announces(void *arg)
{
	static struct reg_message m;
	struct entry e = {.kind = DIR_REGISTRATION,
			  .incarnation = 7,
			  .version = 1,
			  .name = "a.example",
			  .types = SVCPROTO_CLIENT,
			  .weight = 1,
			  .lease_ms = REG_LEASE_MS,
			  .policy = entry_policy("hash", 4)};
	struct svc_key k;

	memset(e.owner.b, 0x11, sizeof(e.owner.b));
	CHECK_EQ(svc_key_load(cluster_path(&c, "service.key"), &k), 0);
	memcpy(e.key, k.public_z85, sizeof(e.key));
	reg_begin(&m, 0, 1);
	CHECK(reg_put_entry(&m, &e));
	return zmq_send(((struct zmon *)arg)->socket, m.b, m.n, ZMQ_DONTWAIT) == (int)m.n;
}

/* The kernel ends what a dead process had open: no lease needs to run out. One that comes back by another connection was not dead. */
static void test_member_dies(void)
{
	struct zmon first, second;
	uint64_t died;

	start();
	member_open(&first);
	CHECK(turn_until(&all, member_announces, &first, 5000));
	CHECK(turn_until(&all, registered, (void *)"a.example", 5000));
	zmon_close(&first, 0);
	member_open(&second);
	CHECK(turn_until(&all, member_announces, &second, 1500));
	CHECK(!turn_until(&all, not_registered, (void *)"a.example", MEMBERS_GONE_MS + 1000));
	CHECK(member_announces(&second)); /* its lease is whole */
	zmon_close(&second, 0);
	died = test_now_ms();
	CHECK(turn_until(&all, not_registered, (void *)"a.example", REG_LEASE_MS - 2000));
	CHECK(test_now_ms() >= died + MEMBERS_GONE_MS - 100);
	stop();
}

static bool noted_again(void *arg)
{
	(void)arg;
	return s.refusals > 0 || g.registry_refusals > 0;
}

static void test_registry_restart(void)
{
	start();
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, registered, (void *)"a.example", 10000));
	CHECK(turn_until(&all, linked, NULL, 10000));
	unsigned links = s.linked_calls;

	cluster_stop_registry(&c);
	CHECK(!turn_until(&all, noted_again, NULL, 5500)); /* longer than the silence that is noticed */
	CHECK_EQ(registrations("a.example", SVCPROTO_CLIENT), 1);
	CHECK_EQ(s.linked_calls, links);                   /* traffic flows on */
	cluster_start_registry(&c);
	CHECK_EQ(service_register(&s, "b.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, registered, (void *)"b.example", 10000));
	CHECK(turn_until(&all, registered, (void *)"a.example", 10000));
	CHECK_EQ(s.linked_calls, links);
	/* A newcomer finds everybody: all have announced themselves again. */
	service_stop(&s);
	CHECK_EQ(service_start(&s, &c, NULL), 0);
	CHECK(turn_until(&all, linked, NULL, 10000));
	stop();
}

static bool linked_twice(void *arg)
{
	(void)arg;
	return s.nr_gateways > 1;
}

/* With every registry gone a gateway that starts anew at its place is found again; and it is not linked to twice once they are back. */
static void test_gateway_restarts_without_registry(void)
{
	char endpoint[256];

	start();
	CHECK_EQ(service_register(&s, "a.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, registered, (void *)"a.example", 10000));
	CHECK(turn_until(&all, linked, NULL, 10000));
	memcpy(endpoint, g.endpoint, sizeof(endpoint));
	cluster_stop_registry(&c);
	fake_gateway_stop(&g);
	fake_gateway_start(&g, &c, endpoint);
	CHECK(turn_until(&all, linked, NULL, 10000));
	CHECK_EQ(s.nr_gateways, 1);
	cluster_start_registry(&c);
	CHECK_EQ(service_register(&s, "b.example", SVCPROTO_CLIENT), 0);
	CHECK(turn_until(&all, registered, (void *)"b.example", 10000));
	CHECK(!turn_until(&all, linked_twice, NULL, 3000));
	CHECK_EQ(s.nr_gateways, 1);
	CHECK_EQ(fake_gateway_nr_up(&g), 1);
	/* The same while the registry is there, and still holds the old start's entry. */
	fake_gateway_kill(&g);
	fake_gateway_start(&g, &c, endpoint);
	CHECK(turn_until(&all, linked, NULL, 10000));
	CHECK(!turn_until(&all, linked_twice, NULL, 3000));
	CHECK_EQ(s.nr_gateways, 1);
	stop();
}

static void test_one_registry_for_each_folder(void)
{
	struct registry_server_options o = { .zmq_context = NULL, .bind = "tcp://127.0.0.1:*", .embedded = true };
	struct stat st;
	char why[400] = "";

	cluster_start(&c);
	o.zmq_context = c.zmq;
	o.zap = c.zap;
	o.state_dir = c.dir;
	CHECK(registry_server_start(&o, why, sizeof(why)) == NULL);
	CHECK(strstr(why, "in use by another") != NULL && strchr(why, '\n') == NULL);
	CHECK(stat(cluster_path(&c, "registry"), &st) == 0 && (st.st_mode & 0777) == 0600);
	cluster_stop_registry(&c);
	o.bind = "tcp://127.0.0.1:99999";
	CHECK(registry_server_start(&o, why, sizeof(why)) == NULL);
	CHECK(strstr(why, "cannot bind") != NULL);
	cluster_start_registry(&c);
	cluster_stop(&c);
}

static void test_no_registry(void)
{
	struct svcproto_callbacks cb = { 0 };
	struct svcproto_options o = { .state_dir = "/nonexistent" };
	int rc = 0;

	CHECK(svcproto_new(&o, &cb, NULL, &rc) == NULL);
	CHECK_EQ(rc, SVCPROTO_E_NOREGISTRY);
	cluster_start(&c);
	o.state_dir = c.dir;
	o.registry = "tcp://127.0.0.1:1=short";
	CHECK(svcproto_new(&o, &cb, NULL, &rc) == NULL);
	CHECK_EQ(rc, SVCPROTO_E_CONNECT);
	o.registry = NULL;
	o.key_file = "/nonexistent";
	CHECK(svcproto_new(&o, &cb, NULL, &rc) == NULL);
	CHECK_EQ(rc, SVCPROTO_E_KEY);
	cluster_stop(&c);
}

int main(void)
{
	RUN(test_register);
	RUN(test_unknown_key);
	RUN(test_unregister_when_refused);
	RUN(test_unauthorised_domain);
	RUN(test_wrong_role);
	RUN(test_removed_key);
	RUN(test_removed_key_hears_nothing);
	RUN(test_member_dies);
	RUN(test_registry_restart);
	RUN(test_gateway_restarts_without_registry);
	RUN(test_one_registry_for_each_folder);
	RUN(test_no_registry);
	return check_done("svcclient.registry");
}
