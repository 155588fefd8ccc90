#include "member.h"

#include "common/err.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/zev.h"
#include "kept.h"
#include "svcproto/regmsg.h"

/*
 * Between the registries and a worker. The entry changes at a bounded rate, whatever the clients do: every change is a message to every
 * member. Not announced before authorized_keys are known: services that dialled in earlier would be turned away.
 */

#define SOCKETS_MAX (4 * REG_SOURCES)
#define TICK_MAX_MS 1000
#define LOAD_SOON_MS 2000       /* a large change */
#define LOAD_LATER_MS 15000     /* any */

struct member {
	const struct member_ops *ops;
	void *arg;
	struct loop *loop;
	struct directory *directory;
	struct announcer *announcer;
	struct zap *zap;
	void *zmq_context;
	char *registries, *public_host, *endpoint;
	struct svc_key key;
	struct svc_id id;
	uint64_t incarnation;
	struct kept *kept;          /* NULL: not kept */
	struct hash *strict;        /* domains that know others by their certificates only */
	struct secrets secrets;
	uint64_t warned_ms;
	uint16_t client_port;
	struct zev *zevs[SOCKETS_MAX];
	size_t nr_zevs;
	struct loop_timer timer;
	bool announced, draining;
	uint32_t load, room;        /* as announced */
	uint64_t announced_at_ms;
};

/* --- our entry ----------------------------------------------------------- */

/* To a power of two, so that it seldom changes. */
static uint32_t room_of(const struct member *m)
{
	uint32_t room = m->ops->room(m->arg), round = 1;

	if (room == UINT32_MAX || room == 0)
		return room;
	while (round <= room / 2)
		round *= 2;
	return round;
}

static void announce(struct member *m)
{
	struct directory_gateway g = {
		.owner = m->id,
		.incarnation = m->incarnation,
		.endpoint = m->endpoint,
		.key = m->key.public_z85,
		.public_host = m->public_host,
		.client_port = m->client_port,
		.draining = m->draining,
	};

	g.load = m->load = m->ops->load(m->arg);
	g.room = m->room = room_of(m);
	g.has_room = m->room != UINT32_MAX;
	m->announced_at_ms = loop_now_ms(m->loop);
	if (announcer_set_gateway(m->announcer, &g) != 0)
		log_error("registry", 0, "announce", "endpoint=%s why=\"refused by the library, or out of memory\"",
			  log_escape(slice_str(m->endpoint)));
	m->announced = true;
}

/* Each step of room_of() down, or more would come than there is room for; up more than one, so that what wavers about a power of two is
 * told once; from and to a mark. */
static bool room_is_news(uint32_t was, uint32_t is)
{
	if (was == 0 || is == 0 || was == UINT32_MAX || is == UINT32_MAX)
		return was != is;
	return is < was || is / 2 > was;
}

static bool load_is_due(const struct member *m)
{
	uint32_t load = m->ops->load(m->arg), change = load > m->load ? load - m->load : m->load - load;
	uint64_t since_ms = loop_now_ms(m->loop) - m->announced_at_ms;

	if (since_ms >= LOAD_SOON_MS && room_is_news(m->room, room_of(m)))
		return true;
	return change > 0 && since_ms >= (change > m->load / 8 ? LOAD_SOON_MS : LOAD_LATER_MS);
}

static void tick(void *arg)
{
	struct member *m = arg;
	uint64_t now = loop_now_ms(m->loop), at, in_ms;

	if (m->announced && load_is_due(m))
		announce(m);
	if (secrets_advance(&m->secrets, now))
		m->ops->secrets(m->arg, &m->secrets);
	at = announcer_tick(m->announcer, now);
	m->ops->heard(m->arg, announcer_heard_at(m->announcer));
	in_ms = at > now ? at - now : 0;
	loop_timer_set(&m->timer, in_ms < TICK_MAX_MS ? in_ms : TICK_MAX_MS);
}

void member_set_draining(struct member *m, bool draining)
{
	if (m->draining == draining)
		return;
	m->draining = draining;
	if (m->announced)
		announce(m);
	if (m->announcer != NULL)
		tick(m);
}

/* --- what the registries say --------------------------------------------- */

static bool on_readable(void *arg, void *zsock)
{
	struct member *m = arg;
	bool more = announcer_dispatch(m->announcer, loop_now_ms(m->loop));

	(void)zsock;
	tick(m);
	return more;
}

static const struct zev_ops zev_ops = {.readable = on_readable};

static void on_refused(void *arg, const char *what)
{
	const struct member *m = arg;

	log_error("registry", 0, "refused", "why=%s authorized_keys_line=\"%s gateway\"", log_escape(slice_str(what)), m->key.public_z85);
}

static void on_synced(void *arg)
{
	const struct member *m = arg;

	log_info("registry", 0, "synced", "view=complete");
	m->ops->synced(m->arg);
}

static void on_log(void *arg, enum svcproto_log level, const char *line)
{
	(void)arg;
	log_event((enum log_level)level, "registry", 0, "note", "text=%s", log_escape(slice_str(line)));
}

static void on_slot(void *arg, unsigned source, const struct reg_slot *slot)
{
	struct member *m = arg;
	bool first = !m->secrets.known;

	switch (secrets_take(&m->secrets, source, slot, loop_now_ms(m->loop))) {
	case SECRETS_CONTRADICTED:
		if (log_once_a_second(&m->warned_ms))
			log_error("registry", 0, "secrets", "registry=%u why=\"it has another master secret than the one before: give all "
				  "registries the same --master\"", source + 1);
		return;
	case SECRETS_CHANGED:
		if (first)
			log_info("registry", 0, "secrets", "registry=%u slot=%llu", source + 1, (unsigned long long)slot->number);
		m->ops->secrets(m->arg, &m->secrets);
		return;
	case SECRETS_SAME:
		return;
	}
}

static const struct announcer_ops announcer_ops = {.refused = on_refused, .synced = on_synced, .secrets = on_slot, .log = on_log};

static void changed(struct member *m)
{
	if (m->kept != NULL)
		kept_changed(m->kept);
}

static void on_gateway(void *arg, const struct directory_gateway *g, bool gone)
{
	(void)g;
	(void)gone;
	changed(arg);
}

static void on_keys(void *arg)
{
	struct member *m = arg;

	changed(m);
	if (m->zap != NULL && zap_set_keys(m->zap, directory_keys(m->directory)) != 0)
		log_error("registry", 0, "keys", "why=\"out of memory: who may link stays as it was\"");
	m->ops->keys(m->arg);
	if (!m->announced && m->announcer != NULL)
		announce(m);
}

static int is_of(void *arg, const struct directory_registration *r)
{
	const struct directory_registration *gone = arg;

	return memcmp(&gone->instance, &r->instance, sizeof r->instance) == 0 && strcmp(gone->key, r->key) == 0;
}

static int is_strict(void *arg, const struct directory_registration *r)
{
	(void)arg;
	return r->certificates_only;
}

/* Told once when it becomes so, however many instances say it. */
static void note_policy(struct member *m, const char *domain)
{
	struct slice key = slice_str(domain);

	if (directory_each_registration(m->directory, domain, SVCPROTO_SERVER, is_strict, NULL) == 0)
		(void)hash_del(m->strict, key);
	else if (hash_put(m->strict, key, m) == NULL)
		m->ops->restricted(m->arg, domain);
}

/* With its last registration an instance has ended: a lease ran out, or it said so. What one says of its domain may be new. */
static void on_registration(void *arg, const struct directory_registration *r, bool gone)
{
	struct member *m = arg;
	struct directory_registration last = *r;

	changed(m);
	note_policy(m, r->domain);
	if (gone && directory_every_registration(m->directory, is_of, &last) == 0)
		m->ops->gone(m->arg, r->key, &r->instance);
}

static const struct directory_ops directory_ops = {.gateway = on_gateway, .registration = on_registration, .keys = on_keys};

/* --- life ---------------------------------------------------------------- */

struct member *member_new(const struct member_options *o, const struct member_ops *ops, void *arg)
{
	struct member *m = NEW(struct member);

	m->ops = ops;
	m->arg = arg;
	m->loop = o->loop;
	m->zap = o->zap;
	m->zmq_context = o->zmq_context;
	m->registries = mem_strdup(o->registries);
	m->public_host = mem_strdup(o->public_host);
	m->client_port = o->client_port;
	m->key = *o->key;
	m->id = o->id;
	m->incarnation = o->incarnation;
	loop_timer_init(m->loop, &m->timer, tick, m);
	m->strict = hash_new();
	m->directory = directory_new(&directory_ops, m);
	ASSERT(m->directory != NULL);
	if (o->keep_path != NULL)
		m->kept = kept_new(m->loop, o->jobs, m->directory, o->keep_path);
	if (o->secrets != NULL)
		m->secrets = *o->secrets;
	return m;
}

struct directory *member_directory(struct member *m)
{
	return m->directory;
}

static int watch_sockets(struct member *m)
{
	void *zsocks[SOCKETS_MAX];

	m->nr_zevs = announcer_sockets(m->announcer, zsocks, SOCKETS_MAX);
	for (size_t i = 0; i < m->nr_zevs; i++) {
		m->zevs[i] = zev_new(m->loop, zsocks[i], &zev_ops, m);
		if (m->zevs[i] == NULL)
			return -ERR_SYSTEM;
	}
	return 0;
}

int member_join(struct member *m, const char *endpoint, char *why, size_t why_size)
{
	struct announcer_options o = {
		.zmq_context = m->zmq_context,
		.registries = m->registries,
		.public_key = m->key.public_z85,
		.secret_key = m->key.secret_z85,
		.owner = m->id,
		.incarnation = m->incarnation,
		.role = DIR_ROLE_GATEWAY,
	};
	int error = 0;

	m->endpoint = mem_strdup(endpoint);
	m->announcer = announcer_new(&o, m->directory, &announcer_ops, m, &error);
	if (m->announcer == NULL || watch_sockets(m) != 0) {
		snprintf(why, why_size, "cannot speak to the registry %s: %s", m->registries, svcproto_strerror(error));
		return -1;
	}
	if (m->secrets.known)
		m->ops->secrets(m->arg, &m->secrets);
	else
		log_info("registry", 0, "secrets", "have=none why=\"SCRAM, dialback and TLS tickets wait until a registry gives them\"");
	if (directory_has_keys(m->directory))
		announce(m);
	tick(m);
	return 0;
}

void member_free(struct member *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->nr_zevs; i++)
		zev_free(m->zevs[i]);
	announcer_free(m->announcer);
	loop_timer_cancel(&m->timer);
	kept_free(m->kept);
	directory_free(m->directory);
	hash_free(m->strict);
	svc_key_wipe(&m->key);
	secrets_wipe(&m->secrets);
	free(m->registries);
	free(m->public_host);
	free(m->endpoint);
	free(m);
}
