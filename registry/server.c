/*
 * The registry's thread: two sockets around the table, and the file of authorised keys. Its requests are in requests.c.
 */
#include "registry/server_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "common/log.h"
#include "common/stat.h"

#define BUDGET 500
#define REBIND_MS 500
#define DESCRIPTORS_SPARE 64

uint64_t registry_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t registry_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- keys ---- */

/* Each member has two connections. Members may share a key, so this is the least that is needed. */
static void check_descriptors(const struct registry_server *s)
{
	size_t needed = 2 * keyset_nr_keys(registry_table_keys(s->table)) + DESCRIPTORS_SPARE;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < needed)
		log_warn("registry", 0, "descriptors", "needed=%zu limit=%llu: raise it (LimitNOFILE in the unit, ulimit -n)", needed,
			 (unsigned long long)limit.rlim_cur);
}

/* Takes what was loaded over. */
static int use_keys(struct registry_server *s, struct authorized_keys *loaded)
{
	registry_table_set_keys(s->table, loaded->set, registry_now_ms());
	loaded->set = NULL;
	authorized_keys_clear(&s->keys);
	s->keys = *loaded;
	check_descriptors(s);
	return zap_set_keys(s->zap, registry_table_keys(s->table));
}

static int renew_sockets(struct registry_server *s)
{
	int rc = registry_sockets_renew(&s->sockets, &s->key);

	snapshots_clear(s->snapshots);
	members_clear(s->members);
	s->publisher.pub = s->sockets.pub;
	atomic_store(&s->bound, rc == 0);
	if (rc != 0)
		log_error("registry", 0, "bind", "endpoint=%s reason=%s: tried again", s->sockets.endpoint,
			  log_escape(slice_str(zmq_strerror(zmq_errno()))));
	return rc;
}

static void say_serial(const struct registry_server *s, uint64_t before)
{
	const struct keyset *keys = registry_table_keys(s->table);
	uint64_t serial = keyset_serial(keys);

	if (serial <= before)
		log_warn("registry", 0, "reload", "serial=%llu before=%llu: raise the serial in %s, or other registries keep theirs",
			 (unsigned long long)serial, (unsigned long long)before, log_escape(slice_str(s->keys_path)));
	log_info("registry", 0, "reload", "serial=%llu keys=%zu", (unsigned long long)serial, keyset_nr_keys(keys));
}

static void reload_keys(struct registry_server *s)
{
	struct authorized_keys loaded;
	uint64_t before = keyset_serial(registry_table_keys(s->table));
	char why[2600];
	bool lost;

	if (authorized_keys_load(s->keys_path, &loaded, why, sizeof(why)) != 0) {
		log_error("registry", 0, "reload", "kept=old reason=%s", log_escape(slice_str(why)));
		return;
	}
	if (loaded.n == s->keys.n && memcmp(loaded.text, s->keys.text, loaded.n) == 0) {
		authorized_keys_clear(&loaded);
		return;
	}
	lost = keyset_loses_key(registry_table_keys(s->table), loaded.set);
	if (use_keys(s, &loaded) != 0)
		log_error("registry", 0, "reload", "reason=%s", "out of memory");
	publish_keys(&s->publisher, s->keys.text, s->keys.n, keyset_serial(registry_table_keys(s->table)));
	say_serial(s, before);
	if (lost)
		(void)renew_sockets(s); /* the thread tries again */
}

/* ---- the thread ---- */

static void on_changed(void *arg, const struct entry *e)
{
	struct registry_server *s = arg;
	/* A gateway has one entry, and what changes in it, all the time, is its load. */
	enum log_level level = e->kind == DIR_GATEWAY && !e->gone && e->version > 1 ? LOG_DEBUG : LOG_INFO;

	publish_entry(&s->publisher, e);
	stat_add(STAT_registry_updates, 1);
	if (e->kind == DIR_REDIRECT) { /* as many as users */
		kept_redirects_changed(&s->kept, registry_now_ms());
		log_debug("registry", 0, e->gone ? "redirect-removed" : "redirect", "name=%s host=%s version=%llu",
			  log_escape(slice_str(e->name)), e->host != NULL ? log_escape(slice_str(e->host)) : "-",
			  (unsigned long long)e->version);
		return;
	}
	if (e->kind == DIR_REGISTRATION && !e->expired) { /* a service has hundreds: requests.c counts them, in a line for each message */
		s->nr_announced += !e->gone;
		s->nr_withdrawn += e->gone;
		level = LOG_DEBUG;
	}
	if (log_on(level))
		log_event(level, "registry", 0, e->expired ? "expired" : e->gone ? "withdrawn" : "entry", "kind=%s name=%s version=%llu",
			  e->kind == DIR_GATEWAY ? "gateway" : "registration", log_escape(slice_str(e->name)),
			  (unsigned long long)e->version);
}

static const struct registry_table_ops table_ops = { .changed = on_changed };

static void on_wake(struct registry_server *s)
{
	uint64_t count;

	if (read(s->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("registry", 0, "wake", "reason=%s", strerror(errno));
	if (atomic_exchange(&s->reload, false))
		reload_keys(s);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Once a beat, and only after a change: a walk of all there is. */
static void count_entries(struct registry_server *s)
{
	const struct entry *e = NULL;
	unsigned gateways = 0, registrations = 0;

	atomic_store(&s->nr_keys, (unsigned)keyset_nr_keys(registry_table_keys(s->table)));
	atomic_store(&s->serial, keyset_serial(registry_table_keys(s->table)));
	if (s->counted == s->publisher.number)
		return;
	s->counted = s->publisher.number;
	while ((e = registry_table_next(s->table, e)) != NULL) {
		gateways += e->kind == DIR_GATEWAY;
		registrations += e->kind == DIR_REGISTRATION;
	}
	atomic_store(&s->nr_gateways, gateways);
	atomic_store(&s->nr_registrations, registrations);
}

void registry_server_counts(const struct registry_server *s, struct registry_counts *out)
{
	*out = (struct registry_counts){ .gateways = atomic_load(&s->nr_gateways), .registrations = atomic_load(&s->nr_registrations),
					 .keys = atomic_load(&s->nr_keys), .serial = atomic_load(&s->serial),
					 .beat_at_ms = atomic_load(&s->beat_was_ms), .bound = atomic_load(&s->bound) };
}

/* When the next turn is due: in time for the members, a beat, or an entry that ends. */
static uint64_t do_what_is_due(struct registry_server *s, uint64_t now)
{
	uint64_t next;

	if (s->sockets.router == NULL && renew_sockets(s) != 0)
		return now + REBIND_MS;
	if (now >= s->beat_at_ms) {
		publish_beat(&s->publisher, now);
		count_entries(s);
		atomic_store(&s->beat_was_ms, now);
		s->beat_at_ms = now + REG_BEAT_MS;
	}
	next = earlier(snapshots_advance(s->snapshots, now), earlier(s->beat_at_ms, now + MEMBERS_TURN_MS));
	next = earlier(next, kept_redirects_tick(&s->kept, s->table, now));
	/* Leases end when no renewal can be waiting: a thread that was held up, or has much to do, must not take that for its members'
	 * end. */
	if (s->all_read) {
		next = earlier(next, members_tick(s->members, now));
		next = earlier(next, registry_table_tick(s->table, now));
	}
	publish_flush(&s->publisher);
	return next;
}

static void serve_requests(struct registry_server *s)
{
	int i = 0;

	while (i < BUDGET && s->sockets.router != NULL && requests_serve_one(s))
		i++;
	s->all_read = i < BUDGET;
	publish_flush(&s->publisher);
}

static void watch_connections(struct registry_server *s)
{
	int fd;

	members_turn(s->members, registry_now_ms());
	while (s->sockets.router != NULL && (fd = registry_sockets_ended(&s->sockets)) >= 0)
		members_ended(s->members, fd, registry_now_ms());
}

static void *server_main(void *arg)
{
	struct registry_server *s = arg;

	log_set_thread("registry");
	while (!atomic_load(&s->stopping)) {
		uint64_t now = registry_now_ms(), next = do_what_is_due(s, now);
		zmq_pollitem_t items[] = { { .fd = s->wake_fd, .events = ZMQ_POLLIN }, { .fd = s->watch.fd, .events = ZMQ_POLLIN },
					   { .socket = s->sockets.router, .events = ZMQ_POLLIN },
					   { .socket = s->sockets.monitor, .events = ZMQ_POLLIN } };

		/* A descriptor of -1 would be an error; sockets that are not open come last. */
		if (s->watch.fd < 0)
			items[1].fd = s->wake_fd;
		if (zmq_poll(items, s->sockets.router != NULL ? 4 : 2, (long)(next > now ? next - now : 0)) < 0 && zmq_errno() == ETERM)
			break;
		if (items[0].revents != 0)
			on_wake(s);
		if (watch_changed(&s->watch))
			reload_keys(s);
		serve_requests(s);
		watch_connections(s);
	}
	kept_redirects_close(&s->kept, s->table);
	return NULL;
}

/* ---- start and stop ---- */

/* One registry for each state folder: two would fight over the file that names the endpoint. */
static bool take_lock(struct registry_server *s, char *why, size_t why_size)
{
	char path[2304];

	snprintf(path, sizeof(path), "%s/registry.lock", s->state_dir);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0) {
		snprintf(why, why_size, "%s: %s: give another --state-dir", path, strerror(errno));
		return false;
	}
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	snprintf(why, why_size, "%s is in use by another gateway or registry: stop it, or give another --state-dir", s->state_dir);
	return false;
}

static bool load_all(struct registry_server *s, const struct registry_server_options *o, char *why, size_t why_size)
{
	struct authorized_keys loaded;
	char path[2304];

	snprintf(path, sizeof(path), "%s/master", s->state_dir);
	if (secrets_master_load(&s->master, o->master != NULL ? o->master : path, o->master == NULL, why, why_size) != 0)
		return false;
	if (o->authorized_keys != NULL)
		snprintf(s->keys_path, sizeof(s->keys_path), "%s", o->authorized_keys);
	else
		snprintf(s->keys_path, sizeof(s->keys_path), "%s/authorized_keys", s->state_dir);
	snprintf(path, sizeof(path), "%s/registry.key", s->state_dir);
	if (svc_key_load_or_make(path, &s->key) != 0) {
		snprintf(why, why_size, "%s: cannot be made, or is not a key file of this user with mode 0600", path);
		return false;
	}
	if (o->embedded ? authorized_keys_make(s->state_dir, s->keys_path, why, why_size) != 0 :
	    o->authorized_keys == NULL && authorized_keys_make_empty(s->keys_path, why, why_size) != 0)
		return false;
	if (authorized_keys_load(s->keys_path, &loaded, why, why_size) != 0)
		return false;
	if (use_keys(s, &loaded) == 0)
		return true;
	snprintf(why, why_size, "registry: out of memory");
	return false;
}

/* An epoch that no earlier start had: members see by it that this one knows nothing yet. */
static void start_publisher(struct registry_server *s)
{
	uint64_t epoch_ms = registry_wall_ms();

	s->publisher.pub = s->sockets.pub;
	s->publisher.epoch = (uint32_t)(epoch_ms ^ epoch_ms >> 32 << 16 ^ (uint64_t)getpid() << 20);
	s->publisher.started_ms = registry_now_ms();
}

/* Without notice of changes SIGHUP still works. */
static void start_watch(struct registry_server *s)
{
	if (watch_open(&s->watch, s->keys_path) != 0)
		log_warn("registry", 0, "watch", "file=%s reason=%s: changes are taken at SIGHUP only", log_escape(slice_str(s->keys_path)),
			 log_escape(slice_str(strerror(errno))));
}

static bool open_all(struct registry_server *s, const struct registry_server_options *o, char *why, size_t why_size)
{
	s->sockets.context = o->zmq_context;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0) {
		snprintf(why, why_size, "registry: %s", strerror(errno));
		return false;
	}
	if (registry_sockets_open(&s->sockets, o->bind, &s->key, why, why_size) != 0)
		return false;
	memcpy(s->endpoint, s->sockets.endpoint, sizeof(s->endpoint));
	atomic_store(&s->bound, true);
	atomic_store(&s->beat_was_ms, registry_now_ms());
	start_publisher(s);
	start_watch(s);
	return true;
}

struct registry_server *registry_server_start(const struct registry_server_options *o, char *why, size_t why_size)
{
	struct registry_server *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		snprintf(why, why_size, "registry: out of memory");
		return NULL;
	}
	s->wake_fd = s->lock_fd = s->watch.fd = -1;
	s->zap = o->zap;
	s->table = registry_table_new(&table_ops, s);
	s->snapshots = snapshots_new(&requests_snapshots, s);
	s->members = members_new(&requests_members, s);
	if (s->table == NULL || s->snapshots == NULL || s->members == NULL ||
	    (size_t)snprintf(s->state_dir, sizeof(s->state_dir), "%s", o->state_dir) >= sizeof(s->state_dir))
		snprintf(why, why_size, "registry: out of memory, or the state folder's name is too long");
	else if (take_lock(s, why, why_size) && load_all(s, o, why, why_size) && open_all(s, o, why, why_size)) {
		kept_redirects_open(&s->kept, s->state_dir, s->table);
		s->running = pthread_create(&s->thread, NULL, server_main, s) == 0;
		if (s->running)
			return s;
		snprintf(why, why_size, "registry: cannot start its thread");
	}
	registry_server_stop(s);
	return NULL;
}

static void wake(struct registry_server *s)
{
	uint64_t one = 1;

	if (write(s->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_error("registry", 0, "wake", "reason=%s", strerror(errno));
}

void registry_server_stop(struct registry_server *s)
{
	if (s == NULL)
		return;
	if (s->running) {
		atomic_store(&s->stopping, true);
		wake(s);
		pthread_join(s->thread, NULL);
	}
	registry_sockets_close(&s->sockets, 0);
	watch_close(&s->watch);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	authorized_keys_clear(&s->keys);
	registry_table_free(s->table);
	snapshots_free(s->snapshots);
	members_free(s->members);
	svc_key_wipe(&s->key);
	secrets_master_wipe(&s->master);
	free(s);
}

const char *registry_server_endpoint(const struct registry_server *s)
{
	return s->endpoint;
}

const char *registry_server_key(const struct registry_server *s)
{
	return s->key.public_z85;
}

int registry_server_each_secret(const struct registry_server *s, void (*fn)(void *arg, const struct reg_slot *slot), void *arg)
{
	return secrets_each(&s->master, registry_wall_ms(), fn, arg);
}

void registry_server_reload(struct registry_server *s)
{
	atomic_store(&s->reload, true);
	wake(s);
}

int registry_server_publish_local(struct registry_server *s)
{
	char path[2304], text[512];
	int n = snprintf(text, sizeof(text), "%s=%s\n", s->endpoint, s->key.public_z85);

	if ((size_t)snprintf(path, sizeof(path), "%s/registry", s->state_dir) >= sizeof(path))
		return SVCPROTO_E_INVALID;
	return svc_file_replace(path, text, (size_t)n);
}
