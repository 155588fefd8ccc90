/*
 * The simulator: seeds one after another, each a run of a whole cluster with faults and then without, until everything has come to rest.
 *   sim [--first SEED] [--seeds N] [--hours H] [--mutation NAME]
 * A seed that shows something broken is printed, and --first SEED --seeds 1 plays it again exactly. With a mutation the engine has that
 * fault built in, and the run succeeds when some seed finds it which the sound engine passes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "svcproto/mutate.h"
#include "tests/sim/sim.h"

enum { STEPS = 5000, REST_STEPS = 400000 };

struct letter letters[LETTERS];
struct session sessions[SESSIONS];
uint32_t nr_letters, nr_sessions;
uint64_t now;
bool faults;
struct tally tally;
struct wire wires[GATEWAYS][SERVICES];

static uint64_t rng;
static const char *what_broke;
static bool quiet;

uint32_t rnd(uint32_t n)
{
	rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((rng >> 33) % n);
}

void broken(const char *what)
{
	if (what_broke == NULL && !quiet)
		fprintf(stderr, "broken: %s\n", what);
	what_broke = what_broke != NULL ? what_broke : what;
}

bool is_broken(void)
{
	return what_broke != NULL;
}

struct body stanza_of(uint32_t letter)
{
	static char b[60000];
	uint32_t x = (letter * UINT32_C(2654435761)) >> 8;
	struct body body = { b, x % 23 == 0 ? 500 + x / 23 % 59000 : 500 + x % 500 };

	memset(b, (int)(letter & 0x7f), body.n);
	wire_put_u32((uint8_t *)b, letter);
	return body;
}

uint32_t letter_of(const char *p, size_t n)
{
	uint32_t letter = n >= 4 ? wire_get_u32((const uint8_t *)p) : UINT32_MAX;

	HOLDS(letter < nr_letters);
	if (letter >= nr_letters)
		return 0;
	HOLDS(stanza_of(letter).n == n && memcmp(stanza_of(letter).p, p, n) == 0);
	return letter;
}

static struct wire *any_wire(void)
{
	return &wires[rnd(GATEWAYS)][rnd(SERVICES)];
}

static void deliver(struct wire *w)
{
	if (rnd(2) == 0 && w->tip != NULL)
		(void)wire_deliver(&w->to_gw, w->tip->l);
	else if (w->l != NULL)
		(void)wire_deliver(&w->to_sv, w->l);
}

/* A dead connection that the gateway has not noticed. */
static void notice_at_gateway(void)
{
	struct gateway *g = &gateways[rnd(GATEWAYS)];
	struct tip *t;

	if (g->hub == NULL)
		return;
	TAILQ_FOREACH(t, &g->tips, all)
		if (t->wire == NULL)
			break;
	if (t != NULL)
		gateway_lost_tip(g, t);
}

/* The registries tell of a death, or they do not. */
static void obituary(struct svc_hub *h, const char *key, uint8_t nr, uint64_t life)
{
	struct svc_id id = { { nr, (uint8_t)life } };

	if (h != NULL && rnd(2) == 0)
		svc_hub_forget(h, key, &id);
}

static void crash_gateway(struct gateway *g)
{
	if (g->hub == NULL)
		return;
	gateway_crash(g);
	tally.crashes++;
	for (int s = 0; s < SERVICES; s++)
		obituary(services[s].hub, gateway_key(g), (uint8_t)(g->nr + 1), g->life);
}

static void crash_service(struct service *s)
{
	if (s->hub == NULL)
		return;
	service_crash(s);
	tally.crashes++;
}

/* Time in which nothing happens but what is due by it. */
static void pass(uint64_t ms)
{
	for (; ms > 0; ms -= ms < 250 ? ms : 250) {
		now += ms < 250 ? ms : 250;
		notice_overdue();
		control();
	}
}

/* The service begins again and again, and the gateway hears it each time. */
static void mute(struct wire *w)
{
	w->mute_until_ms = now + 15000 + rnd(15000);
	wire_cut(w);
}

static void fault(void)
{
	uint32_t what = rnd(6000);
	struct wire *w = any_wire();

	if (what < 8)
		wire_cut(w);
	else if (what < 12)
		wire_lose(rnd(2) ? &w->to_gw : &w->to_sv, 1 + rnd(3));
	else if (what == 12)
		crash_gateway(&gateways[rnd(GATEWAYS)]);
	else if (what == 13 && rnd(2) == 0)
		crash_service(&services[rnd(SERVICES)]);
	else if (what < 20)
		pass(rnd(rnd(6) == 0 ? 12000 : 3000));
	else if (what == 20 && w->tip != NULL)
		svc_link_break(w->tip->l, "by hand", now);
	else if (what < 36)
		registries_fault();
	else if (what == 36)
		mute(w);
}

static void restart(void)
{
	struct gateway *g = &gateways[rnd(GATEWAYS)];
	struct service *s = &services[rnd(SERVICES)];

	if (g->hub == NULL)
		gateway_start(g);
	if (s->hub == NULL)
		service_start(s);
}

static void step(void)
{
	uint32_t what = rnd(24);

	if (what < 6)
		client_step((uint8_t)rnd(CLIENTS));
	else if (what < 9 && gateways[what - 6].hub != NULL)
		gateway_step(&gateways[what - 6]);
	else if (what < 11)
		service_step(&services[rnd(SERVICES)]);
	else if (what < 19)
		deliver(any_wire());
	else if (what < 20)
		flush_everything();
	else if (what == 20)
		now += rnd(60);
	else if (what == 21)
		tick_everything();
	else if (what == 22 && rnd(4) == 0)
		wire_notice(any_wire());
	else if (what == 23 && rnd(faults ? 30 : 4) == 0)
		notice_at_gateway();
	if (rnd(faults ? 600 : 20) == 0)
		restart();
	notice_overdue();
	control();
	if (faults)
		fault();
}

static bool is_up(const struct wire *w)
{
	return w->l != NULL && svc_link_is_up(w->l) && w->tip != NULL && svc_link_is_up(w->tip->l);
}

static bool at_rest(void)
{
	for (int g = 0; g < GATEWAYS; g++)
		for (int s = 0; s < SERVICES; s++)
			if (!is_up(&wires[g][s]))
				return false;
	if (!clients_are_done() || !mail_is_done() || !pairs_are_done() || !rows_are_done())
		return false;
	for (int s = 0; s < SERVICES; s++)
		if (services[s].nr_pending > 0)
			return false;
	return true;
}

static void stuck(void)
{
	broken("something is stuck");
	if (quiet)
		return;
	clients_show();
	for (int g = 0; g < GATEWAYS; g++)
		for (int n = 0; n < SERVICES; n++)
			if (!is_up(&wires[g][n]))
				fprintf(stderr, "gateway %d and service %d have no link\n", g, n);
	for (int n = 0; n < SERVICES; n++)
		fprintf(stderr, "service %d has %u stanzas to handle\n", n, services[n].nr_pending);
}

/* No more faults: everything written arrives and is acknowledged, and nothing that was acknowledged is missing. */
static void come_to_rest(void)
{
	faults = false;
	registries_heal();
	for (int i = 0; i < REST_STEPS && !is_broken() && !(i % 64 == 0 && at_rest()); i++) {
		step();
		if (i % 4096 == 4095)
			pass(1000);
	}
	if (!is_broken() && !at_rest())
		stuck();
	if (!is_broken())
		registries_settle();
	for (uint32_t i = 0; i < nr_letters; i++)
		HOLDS(!letters[i].acked || letters[i].received);
}

static void clear(void)
{
	for (int g = 0; g < GATEWAYS; g++)
		if (gateways[g].hub != NULL)
			gateway_crash(&gateways[g]);
	for (int s = 0; s < SERVICES; s++)
		if (services[s].hub != NULL)
			service_crash(&services[s]);
	clients_forget();
	registries_clear();
}

static void run(uint64_t seed)
{
	rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	now = 1000000;
	nr_letters = nr_sessions = 0;
	what_broke = NULL;
	memset(gateways, 0, sizeof(gateways));
	memset(services, 0, sizeof(services));
	memset(wires, 0, sizeof(wires));
	mail_clear();
	registries_start();
	clients_start();
	pairs_start();
	rows_start();
	for (uint32_t g = 0; g < GATEWAYS; g++) {
		gateways[g].nr = g;
		gateway_start(&gateways[g]);
	}
	for (uint32_t s = 0; s < SERVICES; s++) {
		services[s].nr = s;
		service_start(&services[s]);
	}
	faults = true;
	for (int i = 0; i < STEPS && !is_broken(); i++)
		step();
	if (!is_broken())
		come_to_rest();
	clear();
}

struct options {
	uint64_t first, seeds;
	time_t until; /* 0: seeds counts */
	const char *mutation;
};

/* True: all of it did happen. */
static bool say_tally(void)
{
	const struct {
		const char *what;
		uint64_t nr;
	} all[] = {
		{ "letters delivered", tally.delivered }, { "binds", tally.bound },
		{ "resumptions", tally.resumed }, { "too late", tally.failed },
		{ "reopened", tally.reopened }, { "repeated there", tally.repeated },
		{ "outwards", tally.outwards }, { "pairs moved", tally.moved },
		{ "across", tally.across }, { "twice", tally.again },
		{ "crashes", tally.crashes }, { "cuts", tally.cuts }, { "epochs", tally.epochs },
		{ "registries lost", tally.vanished }, { "leases over", tally.expired },
		{ "registrations withdrawn", tally.withdrawn }, { "instances gone", tally.gone },
	};
	bool happened = true;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		printf("%s%" PRIu64 " %s", i > 0 ? ", " : "", all[i].nr, all[i].what);
		happened = happened && all[i].nr > 0;
	}
	printf("; a gateway was late to give up a pair %" PRIu64 " times\n", tally.late);
	return happened;
}

static int sound(const struct options *o)
{
	uint64_t seed = o->first;

	for (; o->until != 0 ? time(NULL) < o->until : seed < o->first + o->seeds; seed++) {
		run(seed);
		if (is_broken()) {
			fprintf(stderr, "seed %" PRIu64 ": sim --first %" PRIu64 " --seeds 1 shows it\n", seed, seed);
			return 1;
		}
	}
	printf("sim: %" PRIu64 " seeds from %" PRIu64 ", nothing broken: ", seed - o->first, o->first);
	return say_tally() || seed - o->first < 100 ? 0 : 1; /* few seeds need not show all */
}

static int mutated(const struct options *o)
{
	quiet = true;
	for (uint64_t seed = o->first; seed < o->first + o->seeds; seed++) {
		run(seed);
		if (is_broken()) {
			printf("sim: %s is found by seed %" PRIu64 ": %s\n", o->mutation, seed, what_broke);
			mutation = MUTATION_NONE;
			run(seed);
			return is_broken(); /* and it is that fault which it shows */
		}
	}
	fprintf(stderr, "%s is not found by %" PRIu64 " seeds\n", o->mutation, o->seeds);
	return 1;
}

static uint64_t number(const char *s)
{
	return s != NULL ? strtoull(s, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
	struct options o = { .first = 1, .seeds = 200 };

	for (int i = 1; i < argc; i += 2) {
		if (strcmp(argv[i], "--first") == 0)
			o.first = number(argv[i + 1]);
		else if (strcmp(argv[i], "--seeds") == 0)
			o.seeds = number(argv[i + 1]);
		else if (strcmp(argv[i], "--hours") == 0)
			o.until = time(NULL) + (time_t)(number(argv[i + 1]) * 3600);
		else if (strcmp(argv[i], "--mutation") == 0 && argv[i + 1] != NULL && mutate_by_name(argv[i + 1]))
			o.mutation = argv[i + 1];
		else
			return fprintf(stderr, "sim: --first, --seeds, --hours take numbers, --mutation one of mutations.def\n"), 2;
	}
	return o.mutation != NULL ? mutated(&o) : sound(&o);
}
