/*
 * Our auxprop plugin. getopt answers its name for "auxprop_plugin", so that Cyrus SASL asks it alone; it asks the configured ones in turn,
 * in the same way and order as the library would have. What it adds is for SCRAM: a plaintext password becomes a stored key, which is kept
 * a while, and a user who does not exist gets one that nobody can match, after the same work as others. A lookup for PLAIN passes through
 * untouched. What asks or derives runs on job threads only; a key that is kept is found on a loop, too.
 */
#include <sasl/sasl.h>
/* needs sasl.h before it */
#include <sasl/saslplug.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "auth/auth_pool.h"
#include "auth/scram_key.h"

#define NAME "ambrosia"
#define PLUGINS_MAX 16
#define ITERATIONS_MIN 4096     /* RFC 5802 section 5.1 */
#define ITERATIONS_MAX 1000000
#define NOBODY '-'            /* first character of a cached key */
#define SOMEBODY '+'
#define SECRET_PLAIN "*userPassword"
#define SECRET_STORED "*authPassword"

/* The library has one set of plugins for the process, so this is the process's too. */
static struct {
	struct auth_pool *pool;
	sasl_auxprop_plug_t plugin[PLUGINS_MAX];    /* in the order of asking */
	size_t nr;
	char *configured;       /* the value of auxprop_plugin; NULL: all */
	unsigned iterations;
	const sasl_utils_t *utils;      /* set once our plugin is in the library's list, where it stays */
	atomic_bool active;
	sem_t turns;            /* a key is derived by whoever has one */
	atomic_bool found_plain, found_stored;  /* a user's password, or key, in the database */
} aux_;

/* A look-up and the step that it belongs to run on one thread. */
static _Thread_local bool missed_, cache_only_, put_off_;
static _Thread_local uint64_t turn_ms_;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool auxprop_take_missed(void)
{
	bool missed = missed_;

	missed_ = false;
	return missed;
}

void auxprop_cache_only(bool only)
{
	cache_only_ = only;
}

bool auxprop_is_put_off(void)
{
	return put_off_;
}

bool auxprop_take_put_off(void)
{
	bool put_off = put_off_;

	put_off_ = false;
	return put_off;
}

uint64_t auxprop_take_turn_ms(void)
{
	uint64_t at = turn_ms_;

	turn_ms_ = 0;
	return at;
}

const char *auxprop_option(void)
{
	return atomic_load(&aux_.active) ? NAME : NULL;
}

/* As Cyrus SASL puts the answers of several plugins together: one that knows the user outweighs one that doesn't, and an error outweighs
 * all. */
static int combined(int so_far, int answer)
{
	if (answer == SASL_NOVERIFY)
		answer = SASL_OK;
	switch (answer) {
	case SASL_NOMECH:
		return so_far;
	case SASL_OK:
		return so_far == SASL_NOMECH || so_far == SASL_NOUSER ? SASL_OK : so_far;
	case SASL_NOUSER:
		return so_far == SASL_NOMECH ? SASL_NOUSER : so_far;
	case SASL_DISABLED:
		return so_far == SASL_NOMECH || so_far == SASL_NOUSER || so_far == SASL_OK ? SASL_DISABLED : so_far;
	default:
		return answer;
	}
}

/* Of a NULL in a table Cyrus SASL's sql plugin makes an empty text (PostgreSQL) or the word NULL (SQLite). Neither is a secret: the library
 * would let anybody in who says it. */
static void drop_null(sasl_server_params_t *sparams)
{
	for (const struct propval *v = sparams->utils->prop_get(sparams->propctx); v && v->name; v++)
		if (v->name[0] == '*' && v->values && v->values[0] && (!*v->values[0] || strcmp(v->values[0], "NULL") == 0))
			sparams->utils->prop_erase(sparams->propctx, v->name);
}

static int ask_configured(sasl_server_params_t *sparams, unsigned flags, struct slice name)
{
	int result = SASL_NOMECH;

	if (cache_only_) {
		put_off_ = true;
		return SASL_TRYAGAIN;
	}
	for (size_t i = 0; i < aux_.nr; i++) {
		sasl_auxprop_plug_t *plug = &aux_.plugin[i];

		result = combined(result, plug->auxprop_lookup(plug->glob_context, sparams, flags, name.p, (unsigned)name.n));
	}
	drop_null(sparams);
	return result;
}

static bool asks_for(sasl_server_params_t *sparams, const char *property, bool *anything)
{
	const struct propval *v = sparams->utils->prop_get(sparams->propctx);
	bool found = false;

	for (*anything = false; v && v->name; v++) {
		if (v->name[0] == '*')
			*anything = true;
		if (strcmp(v->name, property) == 0)
			found = true;
	}
	return found;
}

static const char *const *values_of(sasl_server_params_t *sparams, const char *property)
{
	for (const struct propval *v = sparams->utils->prop_get(sparams->propctx); v && v->name; v++)
		if (strcmp(v->name, property) == 0)
			return v->values && v->values[0] ? (const char *const *)v->values : NULL;
	return NULL;
}

/* A stored key of the database for this mechanism, as Cyrus SASL would find it. */
static bool stored_key(sasl_server_params_t *sparams, const char *mech, char *out)
{
	const char *const *v = values_of(sparams, SECRET_STORED);
	size_t n = strlen(mech);

	for (; v && *v; v++) {
		const char *text = *v + strspn(*v, " ");

		if (strncmp(text, mech, n) == 0 && text[n + strspn(text + n, " ")] == '$' && strlen(text) < KEYCACHE_VALUE_MAX) {
			memcpy(out, text, strlen(text) + 1);
			return true;
		}
	}
	return false;
}

static void take_turn(void)
{
	while (sem_wait(&aux_.turns) != 0)
		ASSERT(errno == EINTR);
	turn_ms_ = now_ms();
}

/* A key of nobody is as dear as one of somebody: where all that were found had a stored one, it is not derived. */
static int derive(const char *mech, const char *plain, const char *nobody, const unsigned char *salt, char *out)
{
	if (!plain && atomic_load(&aux_.found_stored) && !atomic_load(&aux_.found_plain))
		return scram_key_made_up(mech, slice_str(nobody), salt, aux_.iterations, out);
	return scram_key_derive(mech, slice_str(plain ? plain : nobody), salt, aux_.iterations, out);
}

/* From what the database gave: the plaintext wins, then a stored key; for anybody else a key of nobody. A stored one waits for its turn as
 * well: it would show by overtaking those that are derived. */
static void make_key(sasl_server_params_t *sparams, const char *mech, struct slice name, char *out)
{
	const char *at = memrchr(name.p, '@', name.n);
	const char *const *plain = values_of(sparams, SECRET_PLAIN);
	struct slice user = {name.p, at ? (size_t)(at - name.p) : name.n};
	struct slice realm = at ? (struct slice){at + 1, name.n - user.n - 1} : SLICE_NONE;
	bool stored = !plain && stored_key(sparams, mech, out);
	unsigned char salt[SCRAM_KEY_SALT];
	const struct salt_key *key = atomic_load(&aux_.pool->salt_key); /* there, or SCRAM would not have been offered */
	char nobody[65];

	if (plain)
		atomic_store(&aux_.found_plain, true);
	if (stored)
		atomic_store(&aux_.found_stored, true);
	scram_key_salt(key->bytes, mech, user, realm, salt);
	scram_key_nobody(key->bytes, mech, user, realm, nobody);
	take_turn();
	if (!stored && derive(mech, plain ? *plain : NULL, nobody, salt, out) < 0)
		*out = '\0';
	sem_post(&aux_.turns);
	mem_wipe(nobody, sizeof nobody);
}

static void erase_secrets(sasl_server_params_t *sparams)
{
	sparams->utils->prop_erase(sparams->propctx, SECRET_PLAIN);
	sparams->utils->prop_erase(sparams->propctx, SECRET_STORED);
}

/* What is cached begins with whether somebody of that name exists. */
static bool cached_key(struct slice key, char *out)
{
	char value[KEYCACHE_VALUE_MAX];
	bool found = keycache_get(aux_.pool->keys, key, now_ms(), value);

	if (found) {
		missed_ = missed_ || value[0] == NOBODY;
		memcpy(out, value + 1, strlen(value));
		mem_wipe(value, sizeof value);
	}
	return found;
}

static void cache_key(struct slice key, const char *stored, bool exists)
{
	char value[KEYCACHE_VALUE_MAX];

	if (strlen(stored) + 2 > sizeof value)
		return;
	value[0] = exists ? SOMEBODY : NOBODY;
	memcpy(value + 1, stored, strlen(stored) + 1);
	if (keycache_put(aux_.pool->keys, key, now_ms(), value))
		auth_pool_watch_keys(aux_.pool);
	mem_wipe(value, sizeof value);
}

struct key_name {
	char text[1100];        /* mechanism, NUL, name */
	size_t n;
};

static bool make_key_name(struct key_name *k, const char *mech, struct slice name)
{
	size_t m = strlen(mech) + 1;

	if (m + name.n > sizeof k->text)
		return false;
	memcpy(k->text, mech, m);
	memcpy(k->text + m, name.p, name.n);
	k->n = m + name.n;
	return true;
}

void auxprop_forget(const char *mech, struct slice name)
{
	struct key_name key;

	if (make_key_name(&key, mech, name))
		keycache_forget(aux_.pool->keys, (struct slice){key.text, key.n});
}

/* A key for `name`, from the cache or the database. */
static int find_key(sasl_server_params_t *sparams, unsigned flags, const char *mech, struct slice name, char *out)
{
	struct key_name key;
	int result;

	if (!make_key_name(&key, mech, name))
		return SASL_BUFOVER;
	if (cached_key((struct slice){key.text, key.n}, out))
		return SASL_OK;
	result = ask_configured(sparams, flags, name);
	/* An account that is disabled looks as if it were not there: who asks has proven nothing yet. */
	if (result == SASL_DISABLED)
		erase_secrets(sparams);
	else if (result != SASL_OK && result != SASL_NOUSER && result != SASL_NOMECH)
		return result;
	make_key(sparams, mech, name, out);
	if (!*out)
		return SASL_NOUSER;
	missed_ = missed_ || result == SASL_NOUSER;
	cache_key((struct slice){key.text, key.n}, out, result != SASL_NOUSER);
	return SASL_OK;
}

static int lookup_scram(sasl_server_params_t *sparams, unsigned flags, const char *mech, struct slice name)
{
	char stored[KEYCACHE_VALUE_MAX];
	int code = find_key(sparams, flags, mech, name, stored);

	erase_secrets(sparams);
	if (code == SASL_OK)
		code = sparams->utils->prop_set(sparams->propctx, SECRET_STORED, stored, (int)strlen(stored));
	mem_wipe(stored, sizeof stored);
	return code;
}

static int on_lookup(void *ctx, sasl_server_params_t *sparams, unsigned flags, const char *user, unsigned n)
{
	const void *mech = NULL;
	bool scram, anything;
	int code;

	(void)ctx;
	/* Properties of an authorization identity are never asked for, and it is the same user: no second question to the database. */
	if (flags & SASL_AUXPROP_AUTHZID)
		return SASL_OK;
	scram = asks_for(sparams, SECRET_STORED, &anything);
	if (!anything)
		return SASL_OK;
	if (scram && sasl_getprop(sparams->utils->conn, SASL_MECHNAME, &mech) == SASL_OK && mech && scram_key_knows(mech))
		return lookup_scram(sparams, flags, mech, (struct slice){user, n});
	code = ask_configured(sparams, flags, (struct slice){user, n});
	missed_ = missed_ || code == SASL_NOUSER;
	return code == SASL_DISABLED ? SASL_NOUSER : code;
}

static unsigned iterations_of(const char *text)
{
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;

	return n < ITERATIONS_MIN ? ITERATIONS_MIN : n > ITERATIONS_MAX ? ITERATIONS_MAX : (unsigned)n;
}

static char *option(const sasl_utils_t *utils, const char *name)
{
	const char *value = NULL;

	if (utils->getopt(utils->getopt_context, NULL, name, &value, NULL) != SASL_OK)
		return NULL;
	return mem_strdup(value);
}

static void read_options(const sasl_utils_t *utils)
{
	char *iterations = option(utils, "scram_iteration_counter");

	aux_.configured = option(utils, "auxprop_plugin");
	aux_.pool->mech_list = option(utils, "mech_list");
	aux_.pool->pwcheck = option(utils, "pwcheck_method");
	aux_.iterations = iterations_of(iterations);
	free(iterations);
}

static int on_init(const sasl_utils_t *utils, int max_version, int *out_version, sasl_auxprop_plug_t **plug, const char *name)
{
	static sasl_auxprop_plug_t ours = {.auxprop_lookup = on_lookup};
	static char our_name[] = NAME;

	(void)name;
	if (max_version < SASL_AUXPROP_PLUG_VERSION)
		return SASL_BADVERS;
	ours.name = our_name;
	*out_version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &ours;
	aux_.utils = utils;     /* the library's own, which live as long as it does */
	return SASL_OK;
}

static void on_plugin(sasl_auxprop_plug_t *plug, sasl_info_callback_stage_t stage, void *rock)
{
	const char *only = rock;

	if (stage != SASL_INFO_LIST_MECH || !plug || aux_.nr == PLUGINS_MAX || !plug->name || strcmp(plug->name, NAME) == 0)
		return;
	if (!only || strcasecmp(only, plug->name) == 0)
		aux_.plugin[aux_.nr++] = *plug;
}

/* In the order of the option; without it, all, in the order of the library's list. */
static void collect_plugins(void)
{
	char *copy, *rest;

	if (!aux_.configured) {
		(void)auxprop_plugin_info(NULL, on_plugin, NULL);
		return;
	}
	copy = rest = mem_strdup(aux_.configured);
	for (char *name = strsep(&rest, " \t"); name; name = strsep(&rest, " \t"))
		if (*name)
			(void)auxprop_plugin_info(NULL, on_plugin, name);
	free(copy);
}

int auxprop_add(struct auth_pool *p)
{
	int code = SASL_OK;

	ASSERT(aux_.pool == NULL);      /* one pool at a time */
	aux_.pool = p;
	sem_init(&aux_.turns, 0, jobs_computing_max());  /* job threads are more, for what waits for a database; keys are computed */
	atomic_store(&aux_.found_plain, false);
	atomic_store(&aux_.found_stored, false);
	if (!aux_.utils)
		code = sasl_auxprop_add_plugin(NAME, on_init);
	if (code != SASL_OK)
		return code;
	read_options(aux_.utils);
	collect_plugins();
	atomic_store(&aux_.active, true);
	return SASL_OK;
}

void auxprop_remove(void)
{
	atomic_store(&aux_.active, false);
	free(aux_.configured);
	aux_.configured = NULL;
	aux_.nr = 0;
	aux_.pool = NULL;
	sem_destroy(&aux_.turns);
}
