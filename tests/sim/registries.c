/*
 * Registries: the real table, to which instances announce themselves as PROTOCOL.md section 16 says, with announcements that come late,
 * registries that crash and come back empty, and networks that part.
 */
#include "tests/sim/control.h"

#include <string.h>

enum { LEASE_MS = 3000, RENEW_MS = 1000 };

const char keys_text[] = "# serial 1\n" SERVICE_KEY " service " DOMAIN ":client,server\n";

/* An announcement on the way, in what order they like. */
struct letterbox {
	bool full;
	struct entry e;
	uint64_t life;
};

struct registry registries[REGISTRIES];
struct ear ears[GATEWAYS][REGISTRIES];
struct voice voices[SERVICES][REGISTRIES];
struct truth truth[SERVICES];
static struct letterbox late[REGISTRIES];
static uint64_t controlled_ms;

/* The instance whose present life this is, or NULL: a life that is over, or nobody's. */
struct service *alive(const struct svc_id *id)
{
	struct service *s = id->b[0] >= 101 && id->b[0] < 101 + SERVICES ? &services[id->b[0] - 101] : NULL;

	return s != NULL && s->hub != NULL && id->b[1] == (uint8_t)s->life ? s : NULL;
}

static struct svc_id id_of(const struct service *s)
{
	return (struct svc_id){ { (uint8_t)(s->nr + 101), (uint8_t)s->life } };
}

static struct entry entry_of(const struct service *s)
{
	struct entry e = { .kind = DIR_REGISTRATION, .owner = id_of(s), .incarnation = s->life, .version = truth[s->nr].version,
			   .key = SERVICE_KEY, .name = DOMAIN, .gone = !truth[s->nr].registered, .lease_ms = LEASE_MS,
			   .types = SVCPROTO_CLIENT | SVCPROTO_SERVER, .policy = "hash", .weight = truth[s->nr].weight,
			   .draining = truth[s->nr].draining, .reopens = s->reopens };

	return e;
}

/* ---- registries ---- */

/* Goes to whoever listens; what a parted network or a full queue swallows shows as a gap. */
static void on_changed(void *arg, const struct entry *e)
{
	struct registry *r = arg;
	struct service *s = alive(&e->owner);

	if (e->expired && s != NULL)
		truth[s->nr].expired = true;
	tally.expired += e->expired;
	for (int g = 0; g < GATEWAYS; g++) {
		struct ear *ear = &ears[g][r - registries];

		if (!ear->synced || ear->life != r->life)
			continue;
		if (ear->apart || ear->tail - ear->head == NEWS) {
			ear->missed = true;
			continue;
		}
		ear->news[ear->tail % NEWS] = *e;
		ear->news[ear->tail++ % NEWS].name = DOMAIN;
	}
}

static void registry_start(struct registry *r)
{
	static const struct registry_table_ops ops = { .changed = on_changed };
	char why[200];

	r->life++;
	r->started_ms = now;
	r->t = registry_table_new(&ops, r);
	registry_table_set_keys(r->t, keyset_parse(keys_text, strlen(keys_text), why, sizeof(why)), now);
}

static void registry_crash(struct registry *r)
{
	registry_table_free(r->t);
	r->t = NULL;
	tally.vanished++;
	late[r - registries].full = false;
	for (int g = 0; g < GATEWAYS; g++)
		ears[g][r - registries].missed = true;
}

/* ---- what instances say ---- */

/* No registry names what its owner has withdrawn there. */
static void check_table(const struct registry *r)
{
	const struct entry *e = NULL;

	while ((e = registry_table_next(r->t, e)) != NULL) {
		const struct service *s = alive(&e->owner);
		const struct voice *v = s != NULL ? &voices[s->nr][r - registries] : NULL;

		HOLDS(v == NULL || v->life != r->life || e->version > v->withdrawn);
	}
}

static bool hears(const struct service *s, const struct registry *r)
{
	return s->hub != NULL && r->t != NULL && !voices[s->nr][r - registries].apart;
}

static void announce_to(struct registry *r, const struct entry *e)
{
	struct service *s = alive(&e->owner);
	struct voice *v;
	struct entry seen;
	char why[256];

	HOLDS(registry_table_announce(r->t, SERVICE_KEY, e, now, &seen, why, sizeof(why)) == NULL);
	if (s == NULL || e->incarnation != s->life)
		return;
	if (seen.incarnation == s->life && seen.version > truth[s->nr].version) /* NOTED: go above it */
		truth[s->nr].version = seen.version + 1;
	v = &voices[s->nr][r - registries];
	if (v->life != r->life || (e->gone && e->version > v->withdrawn))
		v->withdrawn = e->gone ? e->version : 0;
	v->life = r->life;
	v->version = e->version;
}

/* Now and then a connection dies with an announcement that still arrives, after what the next connection brings. */
static void announce(struct service *s, struct registry *r)
{
	struct letterbox *box = &late[r - registries];
	struct entry e = entry_of(s);

	if (faults && !box->full && rnd(8) == 0) {
		*box = (struct letterbox){ true, e, r->life };
		return;
	}
	announce_to(r, &e);
}

static void speak(struct service *s, struct registry *r)
{
	struct voice *v = &voices[s->nr][r - registries];
	struct svc_id id = id_of(s);
	uint64_t version;

	if (!hears(s, r))
		return;
	if (v->life != r->life || v->version != truth[s->nr].version) {
		announce(s, r);
		v->renewed_ms = now;
		return;
	}
	if (!truth[s->nr].registered || now < v->renewed_ms + RENEW_MS)
		return;
	v->renewed_ms = now;
	if (registry_table_renew(r->t, SERVICE_KEY, &id, s->life, now, &version) != 1 || version != truth[s->nr].version)
		announce(s, r);
}

void registration_start(struct service *s)
{
	memset(voices[s->nr], 0, sizeof(voices[s->nr]));
	memset(&truth[s->nr], 0, sizeof(truth[s->nr]));
	truth[s->nr].version = 1;
	truth[s->nr].registered = true;
	truth[s->nr].weight = 1 + rnd(3);
}

/* It takes its domain back, or gives it again, or no more sessions, or a share of another size. */
static void change(struct service *s)
{
	uint32_t what = rnd(4);

	if (s->hub == NULL)
		return;
	truth[s->nr].version++;
	if (what < 2 && truth[s->nr].registered)
		truth[s->nr].withdrawn = truth[s->nr].version;
	if (what < 2)
		truth[s->nr].registered = !truth[s->nr].registered;
	else if (what == 2)
		truth[s->nr].draining = !truth[s->nr].draining;
	else
		truth[s->nr].weight = 1 + rnd(3);
}

/* ---- all of it ---- */

void control(void)
{
	if (now < controlled_ms + 250)
		return;
	controlled_ms = now;
	for (int i = 0; i < REGISTRIES; i++) {
		struct registry *r = &registries[i];

		for (int s = 0; s < SERVICES; s++)
			if (rnd(4) != 0)
				speak(&services[s], r);
		if (r->t != NULL && late[i].full && rnd(4) == 0) {
			late[i].full = false;
			if (late[i].life == r->life)
				announce_to(r, &late[i].e);
		}
		if (r->t == NULL)
			continue;
		(void)registry_table_tick(r->t, now);
		check_table(r);
	}
	for (int g = 0; g < GATEWAYS; g++)
		if (gateways[g].hub != NULL)
			directory_step(&gateways[g]);
}

void registries_fault(void)
{
	struct registry *r = &registries[rnd(REGISTRIES)];
	uint32_t what = rnd(8);

	if (what < 3 && r->t != NULL)
		registry_crash(r);
	else if (what < 3)
		registry_start(r);
	else if (what < 5)
		ears[rnd(GATEWAYS)][r - registries].apart ^= true;
	else if (what < 6)
		voices[rnd(SERVICES)][r - registries].apart ^= true;
	else
		change(&services[rnd(SERVICES)]);
}

void registries_start(void)
{
	memset(registries, 0, sizeof(registries));
	memset(ears, 0, sizeof(ears));
	memset(voices, 0, sizeof(voices));
	memset(late, 0, sizeof(late));
	directories_clear();
	controlled_ms = now;
	for (int i = 0; i < REGISTRIES; i++)
		registry_start(&registries[i]);
}

void registries_clear(void)
{
	for (int i = 0; i < REGISTRIES; i++)
		registry_table_free(registries[i].t);
}

/* The networks are whole again, and everybody has registered. */
void registries_heal(void)
{
	for (int i = 0; i < REGISTRIES; i++) {
		if (registries[i].t == NULL)
			registry_start(&registries[i]);
		for (int g = 0; g < GATEWAYS; g++)
			ears[g][i].apart = false;
		for (int s = 0; s < SERVICES; s++)
			voices[s][i].apart = false;
	}
	for (int s = 0; s < SERVICES; s++) {
		truth[s].version += !truth[s].registered || truth[s].draining;
		truth[s].registered = true;
		truth[s].draining = false;
	}
}

static int count(void *arg, const struct directory_registration *r)
{
	const struct service *s = alive(&r->instance);

	HOLDS(s != NULL && r->incarnation == s->life && r->weight == truth[s->nr].weight && !r->draining && r->reopens == s->reopens);
	++*(int *)arg;
	return 0;
}

/* Longer than any tombstone or lease, and all see the same: what there is. */
void registries_settle(void)
{
	for (int i = 0; i < 280; i++) {
		now += 250;
		control();
	}
	for (int g = 0; g < GATEWAYS; g++) {
		int nr = 0;

		(void)directory_every_registration(gateways[g].directory, count, &nr);
		HOLDS(nr == SERVICES);
	}
}
