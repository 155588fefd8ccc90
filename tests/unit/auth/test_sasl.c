/*
 * Whole logins against Cyrus SASL with a user database in a temporary folder: a small SCRAM client plays the other side. Every failure must
 * be meant for the next multiple of FAILURE_MS, whatever its reason: what counts is what the loop's timer is asked for, by the loop's own
 * clock, and not how busy the machine is.
 */
/* lint: long file because one client and its server's cases share a login, cut they would share a header */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/auth_pool.h"
#include "auth/scram_key.h"
#include "check.h"
#include "common/log.h"

#define FAILURE_MS 500
#define JOB_MS 123456   /* and no other timer's time */
#define JOBS 4
#define LIFE_MS 60000
#define LOOPS_MAX 400

static char folder_[] = "/tmp/test_auth.XXXXXX";
static struct jobs *jobs_;
static struct auth_pool *pool_;
static struct loop *keys_loop_;         /* the pool's own: it turns when it is told to */
static struct loop *loops_[LOOPS_MAX];
static size_t nr_loops_;

enum quirk { STRAIGHT, WRONG_C, LATE_INITIAL, GARBAGE_FINAL, FREE_EARLY, FREE_EMPTY, STEP_TWICE };

struct login {
	const char *mech, *domain, *user, *password, *authzid, *cb, *address;
	enum quirk quirk;
	char flag;              /* GS2 flag; 0: by the mechanism */
	const char *raw;        /* instead of the first message */
	size_t raw_n;
	bool no_tls, no_cb;
	const char *const *external;
	enum auth_over over;    /* whose doing it is to give up */
	/* what came of it */
	bool ended, ok, refused;
	enum auth_failure failure;
	unsigned challenges, nr_unknown;
	uint64_t ms, due_ms;    /* since it began: when it ended, and when the timer that was last asked for is due */
	uint64_t waited_ms;     /* for how long that was asked for */
	char name[64], salt[64], text[64];
	bool server_proved;
	/* in between */
	struct auth *auth;
	uint64_t began;
	char first[512], header[64], nonce[32];
	unsigned char server_key[64], auth_message_mac[64];
};

static int left_, given_up_at_ = -1;     /* logins that have not ended; when there are so many left, give_up() */
static int hold_[2];                     /* faultydb.c waits at this pipe */
static struct loop *loop_;

/* --- time, linked by --wrap --- */

/* The last timer that each exchange of this play asked for. A step's own is never due, unless give_up() says so: a busy machine may be as
 * slow as a database that hangs. */
static struct asked {
	const void *who;
	struct loop_timer *timer;
	uint64_t due_at, in_ms;
} asked_[64];

static struct asked *asked_of(const void *who)
{
	for (size_t i = 0; i < ARRAY_LEN(asked_); i++) {
		if (asked_[i].who == who)
			return &asked_[i];
	}
	return NULL;
}

void __real_loop_timer_set(struct loop_timer *t, uint64_t in_ms);
void __wrap_loop_timer_set(struct loop_timer *t, uint64_t in_ms);

void __wrap_loop_timer_set(struct loop_timer *t, uint64_t in_ms)
{
	struct asked *a = asked_of(t->arg) ? asked_of(t->arg) : asked_of(NULL);

	ASSERT(a != NULL);
	__real_loop_timer_set(t, in_ms == JOB_MS ? UINT32_MAX : in_ms);
	*a = (struct asked){t->arg, t, t->due_at_, in_ms};
}

/* Whoever waits for its database has waited too long. */
static void give_up(void)
{
	for (size_t i = 0; i < ARRAY_LEN(asked_); i++) {
		if (asked_[i].who != NULL && asked_[i].in_ms == JOB_MS)
			__real_loop_timer_set(asked_[i].timer, 0);
	}
}

/* The key cache's clock: goes on when it is told to. */
static uint64_t cache_ms_ = 1000;

bool __real_keycache_get(struct keycache *k, struct slice key, uint64_t now_ms, char *out);
bool __wrap_keycache_get(struct keycache *k, struct slice key, uint64_t now_ms, char *out);
bool __real_keycache_put(struct keycache *k, struct slice key, uint64_t now_ms, const char *value);
bool __wrap_keycache_put(struct keycache *k, struct slice key, uint64_t now_ms, const char *value);
uint64_t __real_keycache_expire(struct keycache *k, uint64_t now_ms);
uint64_t __wrap_keycache_expire(struct keycache *k, uint64_t now_ms);
static unsigned nr_expired_;

bool __wrap_keycache_get(struct keycache *k, struct slice key, uint64_t now_ms, char *out)
{
	(void)now_ms;
	return __real_keycache_get(k, key, cache_ms_, out);
}

bool __wrap_keycache_put(struct keycache *k, struct slice key, uint64_t now_ms, const char *value)
{
	(void)now_ms;
	return __real_keycache_put(k, key, cache_ms_, value);
}

uint64_t __wrap_keycache_expire(struct keycache *k, uint64_t now_ms)
{
	(void)now_ms;
	nr_expired_++;
	return __real_keycache_expire(k, cache_ms_);
}

/* How many keys were derived, and at a time. Each waits for others, in vain where they have to wait for it. */
static _Atomic unsigned nr_derived_, deriving_, deriving_most_;
static atomic_bool held_up_;            /* and as long as this is so */

int __real_scram_key_derive(const char *mech, struct slice password, const unsigned char *salt, unsigned iterations, char *out);
int __wrap_scram_key_derive(const char *mech, struct slice password, const unsigned char *salt, unsigned iterations, char *out);

int __wrap_scram_key_derive(const char *mech, struct slice password, const unsigned char *salt, unsigned iterations, char *out)
{
	unsigned n = ++deriving_;
	int err;

	nr_derived_++;
	if (n > deriving_most_)
		deriving_most_ = n;
	do
		usleep(10000);
	while (held_up_);
	err = __real_scram_key_derive(mech, password, salt, iterations, out);
	deriving_--;
	return err;
}

/* Whatever the machine has, one key is derived at a time. */
long __real_sysconf(int name);
long __wrap_sysconf(int name);

long __wrap_sysconf(int name)
{
	return name == _SC_NPROCESSORS_ONLN ? 1 : __real_sysconf(name);
}

/* --- one login --- */

static void end(struct login *l)
{
	struct asked *a = l->auth != NULL ? asked_of(l->auth) : NULL;

	l->ended = true;
	l->ms = loop_now_ms(loop_) - l->began;
	if (a != NULL) {
		l->due_ms = a->due_at - l->began;
		l->waited_ms = a->in_ms;
		*a = (struct asked){0};
	}
	auth_free(l->auth, l->over);
	l->auth = NULL;
	if (--left_ == given_up_at_)
		give_up();
	if (left_ == 0)
		loop_stop(loop_);
}

static const EVP_MD *digest(const struct login *l)
{
	return strstr(l->mech, "512") ? EVP_sha512() : strstr(l->mech, "256") ? EVP_sha256() : EVP_sha1();
}

static void client_first(struct login *l, char *out, size_t size)
{
	bool plus = strstr(l->mech, "-PLUS") != NULL;
	char flag = l->flag ? l->flag : plus ? 'p' : 'n', cb[40] = "";

	if (flag == 'p')
		snprintf(cb, sizeof cb, "=%s", l->cb ? l->cb : "tls-exporter");
	snprintf(l->header, sizeof l->header, "%c%s,%s%s,", flag, cb, l->authzid ? "a=" : "", l->authzid ? l->authzid : "");
	snprintf(l->nonce, sizeof l->nonce, "c%lx", (unsigned long)random());
	snprintf(l->first, sizeof l->first, "n=%s,r=%s", l->user, l->nonce);
	snprintf(out, size, "%s%s", l->header, l->first);
}

static size_t c_value(const struct login *l, char *out)
{
	unsigned char bytes[128];
	size_t n = strlen(l->header);

	memcpy(bytes, l->header, n);
	if (l->header[0] == 'p') {
		memset(bytes + n, 'B', 32);
		n += 32;
	}
	if (l->quirk == WRONG_C)
		bytes[n++] = 'x';
	return (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)n);
}

static void client_final(struct login *l, const char *challenge, char *out, size_t size)
{
	const EVP_MD *md = digest(l);
	int n = EVP_MD_get_size(md), salt_n;
	unsigned char salt[64], salted[64], key[64], stored[64], sig[64];
	char nonce[128] = "", c[256], without[512], message[2400], proof[128];
	unsigned rounds = 0;

	CHECK_EQ(sscanf(challenge, "r=%127[^,],s=%63[^,],i=%u", nonce, l->salt, &rounds), 3);
	CHECK(strncmp(nonce, l->nonce, strlen(l->nonce)) == 0 && strlen(nonce) > strlen(l->nonce));
	CHECK(rounds >= 4096);
	salt_n = EVP_DecodeBlock(salt, (const unsigned char *)l->salt, (int)strlen(l->salt)) - (strstr(l->salt, "==")  ? 2
												: strchr(l->salt, '=') ? 1
														       : 0);
	CHECK_EQ(salt_n, 16);
	PKCS5_PBKDF2_HMAC(l->password, -1, salt, salt_n, (int)rounds, md, n, salted);
	HMAC(md, salted, n, (const unsigned char *)"Client Key", 10, key, NULL);
	HMAC(md, salted, n, (const unsigned char *)"Server Key", 10, l->server_key, NULL);
	EVP_Digest(key, (size_t)n, stored, NULL, md, NULL);
	c_value(l, c);
	snprintf(without, sizeof without, "c=%s,r=%s", c, nonce);
	snprintf(message, sizeof message, "%s,%s,%s", l->first, challenge, without);
	HMAC(md, stored, n, (const unsigned char *)message, strlen(message), sig, NULL);
	HMAC(md, l->server_key, n, (const unsigned char *)message, strlen(message), l->auth_message_mac, NULL);
	for (int i = 0; i < n; i++)
		key[i] ^= sig[i];
	EVP_EncodeBlock((unsigned char *)proof, key, n);
	snprintf(out, size, "%s,p=%s", without, proof);
}

static void on_challenge(void *arg, struct slice data)
{
	struct login *l = arg;
	char text[1024], out[1024];

	l->challenges++;
	snprintf(text, sizeof text, SLICE_FMT, SLICE_ARG(data));
	if (l->quirk == FREE_EARLY || l->quirk == FREE_EMPTY) {
		end(l);
	} else if (l->quirk == GARBAGE_FINAL) {
		auth_step(l->auth, SLICE("c=biws"));
	} else if (l->quirk == LATE_INITIAL && l->challenges == 1) {
		CHECK_EQ(data.n, 0);
		CHECK(data.p != NULL);
		if (strncmp(l->mech, "SCRAM", 5) == 0) {
			client_first(l, out, sizeof out);
			auth_step(l->auth, slice_str(out));
		} else {
			auth_step(l->auth, (struct slice){l->raw, l->raw_n});
		}
	} else {
		client_final(l, text, out, sizeof out);
		auth_step(l->auth, slice_str(out));
		if (l->quirk == STEP_TWICE)
			auth_step(l->auth, slice_str(out));
	}
}

static void on_success(void *arg, const char *user, struct slice data)
{
	struct login *l = arg;
	char want[128] = "v=";

	l->ok = true;
	snprintf(l->name, sizeof l->name, "%s", user);
	if (strncmp(l->mech, "SCRAM", 5) == 0) {
		EVP_EncodeBlock((unsigned char *)want + 2, l->auth_message_mac, EVP_MD_get_size(digest(l)));
		l->server_proved = slice_is(data, want);
	}
	end(l);
}

static void on_failure(void *arg, enum auth_failure f, const char *text)
{
	struct login *l = arg;

	l->failure = f;
	snprintf(l->text, sizeof l->text, "%s", text ? text : "");
	end(l);
}

static void on_unknown(void *arg, const char *user)
{
	struct login *l = arg;

	CHECK(!l->ended);
	l->nr_unknown++;
	snprintf(l->name, sizeof l->name, "%s", user);
}

static unsigned nr_spent_;               /* steps on job threads, told of */

static void note_spent(void *spent_arg, void *arg, uint64_t us)
{
	struct login *l = arg;

	(void)us;
	CHECK(spent_arg == &nr_spent_);
	CHECK(l == NULL || l->auth != NULL); /* who is gone is not told */
	nr_spent_++;
}

static void begin(struct login *l)
{
	static const struct auth_ops ops = {on_challenge, on_success, on_failure, on_unknown};
	l->mech = l->mech ? l->mech : "SCRAM-SHA-256";
	l->domain = l->domain ? l->domain : "a.example";
	l->user = l->user ? l->user : "alice";
	l->password = l->password ? l->password : "sesame";
	struct auth_params p = {
		.domain = l->domain, .address = l->address ? l->address : "192.0.2.1", .tls = !l->no_tls, .external = l->external};
	char out[1024];
	size_t n;

	p.spent = note_spent;
	p.spent_arg = &nr_spent_;
	if (!l->no_cb) {
		p.cb[0] = (struct auth_cb){.type = "tls-exporter", .n = 32};
		memset(p.cb[0].data, 'B', 32);
		p.cb[1] = (struct auth_cb){.type = "tls-server-end-point", .n = 32};
		p.nr_cb = 2;
	}
	l->began = loop_now_ms(loop_);
	if (l->raw) {
		memcpy(out, l->raw, n = l->raw_n);
	} else if (strncmp(l->mech, "SCRAM", 5) == 0) {
		client_first(l, out, sizeof out);
		n = strlen(out);
	} else {        /* PLAIN */
		n = (size_t)snprintf(out, sizeof out, "%s%c%s%c%s", l->authzid ? l->authzid : "", 0, l->user, 0, l->password);
	}
	bool late = l->quirk == LATE_INITIAL || l->quirk == FREE_EMPTY;
	l->auth = auth_start(pool_, loop_, &p, slice_str(l->mech), late ? SLICE_NONE : (struct slice){out, n}, &ops, l, &l->failure);
	if (!l->auth) {
		l->refused = l->ended = true;
		left_--;
	}
}

struct logins {
	struct login *v;
	size_t n;
};

static void begin_all(void *arg)
{
	struct logins *all = arg;

	for (size_t i = 0; i < all->n; i++)
		begin(&all->v[i]);
	if (left_ == 0)
		loop_stop(loop_);
}

/* All at once, in one turn of one loop, until each has ended. */
static void play(struct login *v, size_t n)
{
	struct logins all = {v, n};

	ASSERT(nr_loops_ < LOOPS_MAX);
	loop_ = loops_[nr_loops_++] = loop_new();
	left_ = (int)n;
	memset(asked_, 0, sizeof asked_);
	CHECK_EQ(loop_post(loop_, begin_all, &all), 0);
	loop_run(loop_);
}

#define LOGIN(...) (struct login){__VA_ARGS__}    /* what is not said is alice's own, by SCRAM-SHA-256 */

static struct login try(struct login l)
{
	play(&l, 1);
	return l;
}

static void check_ok(struct login l, const char *name)
{
	CHECK(l.ok);
	CHECK_STR(l.name, name);
	CHECK(strncmp(l.mech, "SCRAM", 5) != 0 || l.server_proved);
	if (!l.ok)
		fprintf(stderr, "  %s %s@%s: %s\n", l.mech, l.user, l.domain, auth_failure_name(l.failure));
}

/* To the millisecond: at the next multiple after it was known to have failed, and no earlier. */
static void check_time(struct login l)
{
	CHECK(l.due_ms > 0 && l.due_ms % FAILURE_MS == 0);
	CHECK(l.waited_ms <= FAILURE_MS);
	CHECK(l.ms >= l.due_ms);
}

static void check_fails(struct login l, enum auth_failure f)
{
	CHECK(l.ended && !l.ok && !l.refused);
	CHECK_STR(auth_failure_name(l.failure), auth_failure_name(f));
	check_time(l);
}

/* --- what is offered --- */

static void collect(void *arg, const char *mech)
{
	char *out = arg;
	size_t n = strlen(out);

	snprintf(out + n, 512 - n, "%s ", mech);
}

static void check_offer(const struct auth_params *p, const char *want)
{
	char out[512] = "";

	auth_each_mechanism(pool_, p, collect, out);
	CHECK_STR(out, want);
}

static void test_offer(void)
{
	static const char *const jids[] = {"alice@a.example", NULL};

	check_offer(&(struct auth_params){.domain = "a.example"}, "SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 ");
	check_offer(&(struct auth_params){.domain = "a.example", .tls = true}, "SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 PLAIN ");
	check_offer(&(struct auth_params){.domain = "a.example", .tls = true, .nr_cb = 1, .external = jids},
		    "SCRAM-SHA-512-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 EXTERNAL PLAIN ");
}

static void test_not_offered(void)
{
	static const char *const never[] = {"CRAM-MD5", "DIGEST-MD5", "LOGIN", "NTLM",        "ANONYMOUS",
					    "GSSAPI",   "EXTERNAL",   "",      "scram-sha-1", "SCRAM"};

	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		struct login l = try(LOGIN(.mech = never[i], .raw = "x", .raw_n = 1));

		CHECK(l.refused);
		CHECK_EQ(l.failure, AUTH_INVALID_MECHANISM);
	}
	CHECK_EQ(try(LOGIN(.mech = "PLAIN", .no_tls = true)).failure, AUTH_ENCRYPTION_REQUIRED);
	CHECK(try(LOGIN(.mech = "SCRAM-SHA-1-PLUS", .no_cb = true)).refused);
}

/* --- good logins --- */

static void test_each_mechanism(void)
{
	static const char *const mech[] = {
		"SCRAM-SHA-512-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"};

	for (size_t i = 0; i < ARRAY_LEN(mech); i++) {
		check_ok(try(LOGIN(.mech = mech[i])), "alice");
		check_ok(try(LOGIN(.mech = mech[i])), "alice");     /* from the cache */
		check_ok(try(LOGIN(.mech = mech[i], .user = "alice@a.example")), "alice");
		check_ok(try(LOGIN(.mech = mech[i], .user = "ALICE")), "alice");
		check_ok(try(LOGIN(.mech = mech[i], .authzid = "alice@a.example")), "alice");
		check_ok(try(LOGIN(.mech = mech[i], .authzid = "Alice@A.example")), "alice");
	}
	check_ok(try(LOGIN(.mech = "PLAIN", .quirk = LATE_INITIAL, .raw = "\0alice\0sesame", .raw_n = 13)), "alice");
	check_ok(try(LOGIN(.quirk = LATE_INITIAL)), "alice");
	check_ok(try(LOGIN(.mech = "SCRAM-SHA-256-PLUS", .quirk = LATE_INITIAL)), "alice");
}

static void test_many_at_once(void)
{
	struct login v[60];

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = LOGIN(.mech = i % 3 == 0   ? "PLAIN"
				     : i % 3 == 1 ? "SCRAM-SHA-1"
						  : "SCRAM-SHA-256-PLUS",
			     .password = i % 5 == 0 ? "wrong" : "sesame", .address = i % 2 ? "192.0.2.7" : "192.0.2.8");
	play(v, ARRAY_LEN(v));
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		CHECK(v[i].ended);
		CHECK_EQ(v[i].ok, i % 5 != 0);
	}
}

/* Job threads wait for databases, and more of them than that would take the processors from what passes stanzas on. */
static void test_few_keys_are_derived_at_a_time(void)
{
	struct login v[12];

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = LOGIN(.mech = i % 2 ? "SCRAM-SHA-1" : "SCRAM-SHA-256", .user = "nobody",
			     .domain = i % 4 < 2 ? "a.example" : "b.example", .address = "192.0.2.9");
	deriving_most_ = 0;
	play(v, ARRAY_LEN(v));
	CHECK_EQ(deriving_most_, 1);
}

/* Nobody's key is derived as those of others are: not as long as all who were found had stored ones. At first nothing is known. */
static void test_nobody_is_as_dear_as_others(void)
{
	const char *at = "192.0.2.10";
	unsigned derived = nr_derived_;
	struct login unknown;

	check_fails(try(LOGIN(.user = "first", .address = at)), AUTH_NOT_AUTHORIZED);
	CHECK_EQ(nr_derived_, derived + 1);
	check_ok(try(LOGIN(.user = "keeper")), "keeper");
	unknown = try(LOGIN(.user = "second", .address = at));
	check_fails(unknown, AUTH_NOT_AUTHORIZED);
	CHECK_EQ(unknown.challenges, 1);
	check_fails(try(LOGIN(.user = "keeper", .password = "wrong", .address = at)), AUTH_NOT_AUTHORIZED);
	check_fails(try(LOGIN(.user = "keeper", .mech = "SCRAM-SHA-1", .address = at)), AUTH_NOT_AUTHORIZED); /* of which it has no key */
	CHECK_EQ(nr_derived_, derived + 1);
	check_ok(try(LOGIN(.user = "alice")), "alice");
	CHECK_EQ(nr_derived_, derived + 2);
	CHECK_STR(try(LOGIN(.user = "second", .address = at)).salt, unknown.salt);
	CHECK_EQ(nr_derived_, derived + 3);
}

/* --- bad ones --- */

static void test_wrong_and_unknown_look_alike(void)
{
	static const char *const mech[] = {"PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA-256-PLUS"};

	for (size_t i = 0; i < ARRAY_LEN(mech); i++) {
		struct login v[] = {
			LOGIN(.mech = mech[i], .password = "wrong", .address = "192.0.2.20"),
			LOGIN(.mech = mech[i], .user = "nobody", .address = "192.0.2.21"),
		};

		play(v, 2);
		check_fails(v[0], AUTH_NOT_AUTHORIZED);
		check_fails(v[1], AUTH_NOT_AUTHORIZED);
		CHECK_EQ(v[0].challenges, v[1].challenges);
		CHECK_STR(v[0].text, v[1].text);
	}
}

/* Only a user who does not exist is told of, by every mechanism, also from the cache, and not without limit. */
static void test_unknown_is_told(void)
{
	static const char *const mech[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"};
	unsigned told = 0;

	for (size_t i = 0; i < ARRAY_LEN(mech); i++) {
		struct login v[] = {
			LOGIN(.mech = mech[i], .password = "wrong", .address = "192.0.2.23"),
			LOGIN(.mech = mech[i], .user = "NoOne", .address = "192.0.2.24"),
		};

		play(v, 2);
		CHECK_EQ(v[0].nr_unknown, 0);
		CHECK_EQ(v[1].nr_unknown, 1);
		CHECK_STR(v[1].name, "noone");
	}
	for (size_t i = 0; i < 12; i++) {
		struct login l = try(LOGIN(.mech = "PLAIN", .user = "noone", .address = "192.0.2.25"));

		check_fails(l, AUTH_NOT_AUTHORIZED);
		told += l.nr_unknown;
	}
	CHECK_EQ(told, 10);
}

static void test_salt_of_nobody_is_stable(void)
{
	struct login a = try(LOGIN(.user = "nobody", .address = "192.0.2.22")), b, c, d;

	cache_ms_ += LIFE_MS;   /* forgotten in between */
	b = try(LOGIN(.user = "nobody", .address = "192.0.2.22"));
	c = try(LOGIN(.user = "nobody", .address = "192.0.2.22", .domain = "b.example"));
	d = try(LOGIN(.user = "nobody", .address = "192.0.2.22", .mech = "SCRAM-SHA-1"));
	CHECK_STR(a.salt, b.salt);
	CHECK(strcmp(a.salt, c.salt) != 0);
	CHECK(strcmp(a.salt, d.salt) != 0);
	CHECK(a.salt[0] != '\0');
}

static void test_domains_are_apart(void)
{
	static const char *const mech[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-1"};

	for (size_t i = 0; i < ARRAY_LEN(mech); i++) {
		check_ok(try(LOGIN(.mech = mech[i], .domain = "b.example", .password = "other")), "alice");
		check_fails(try(LOGIN(.mech = mech[i], .domain = "b.example", .address = "192.0.2.30")), AUTH_NOT_AUTHORIZED);
		check_fails(try(LOGIN(.mech = mech[i], .domain = "b.example", .user = "alice@a.example", .address = "192.0.2.30")),
			    AUTH_NOT_AUTHORIZED);
		check_fails(try(LOGIN(.mech = mech[i], .user = "alice@", .address = "192.0.2.31")), AUTH_NOT_AUTHORIZED);
	}
}

static void test_foreign_authzid(void)
{
	static const char *const mech[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"};
	static const char *const whose[] = {"bob@a.example", "alice@b.example", "bob", "a.example", "nobody@a.example"};

	for (size_t i = 0; i < ARRAY_LEN(mech); i++)
		for (size_t k = 0; k < ARRAY_LEN(whose); k++)
			check_fails(try(LOGIN(.mech = mech[i], .authzid = whose[k], .address = k % 2 ? "192.0.2.40" : "192.0.2.41")),
				    AUTH_INVALID_AUTHZID);
}

static void test_bindings(void)
{
	const char *at = "192.0.2.50";

	check_fails(try(LOGIN(.mech = "SCRAM-SHA-256-PLUS", .cb = "tls-server-end-point", .address = at)),
		    AUTH_NOT_AUTHORIZED); /* other data */
	check_fails(try(LOGIN(.mech = "SCRAM-SHA-256-PLUS", .cb = "tls-unique", .address = at)), AUTH_NOT_AUTHORIZED);
	check_fails(try(LOGIN(.mech = "SCRAM-SHA-256-PLUS", .flag = 'n', .address = at)), AUTH_MALFORMED_REQUEST);
	check_fails(try(LOGIN(.mech = "SCRAM-SHA-256-PLUS", .flag = 'y', .address = at)), AUTH_MALFORMED_REQUEST);
	check_fails(try(LOGIN(.mech = "SCRAM-SHA-256", .flag = 'p', .address = at)), AUTH_MALFORMED_REQUEST);
	check_fails(try(LOGIN(.mech = "SCRAM-SHA-256", .flag = 'y', .address = at)), AUTH_NOT_AUTHORIZED);   /* -PLUS was offered */
	check_ok(try(LOGIN(.mech = "SCRAM-SHA-256", .flag = 'y', .no_cb = true)), "alice");
	check_fails(try(LOGIN(.mech = "SCRAM-SHA-256", .quirk = WRONG_C, .address = at)), AUTH_NOT_AUTHORIZED);
	check_fails(try(LOGIN(.mech = "SCRAM-SHA-256-PLUS", .quirk = WRONG_C, .address = at)), AUTH_NOT_AUTHORIZED);
}

static void test_malformed(void)
{
	static const struct {
		const char *mech, *raw;
		size_t n;
	} bad[] = {
		{"PLAIN", "", 0},
		{"PLAIN", "alice", 5},
		{"PLAIN", "\0alice", 6},
		{"PLAIN", "\0alice\0sesame\0", 14},
		{"SCRAM-SHA-1", "", 0},
		{"SCRAM-SHA-1", "n,,", 3},
		{"SCRAM-SHA-1", "n,,n=alice", 10},
		{"SCRAM-SHA-1", "n,,n=al\0ce,r=1", 14},
		{"SCRAM-SHA-1", "q,,n=alice,r=1", 14},
		{"SCRAM-SHA-1", "n,,n=al=ce,r=1", 14},
		{"SCRAM-SHA-1", "n,,m=x,n=alice,r=1", 18},
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct login l = try(LOGIN(.mech = bad[i].mech, .raw = bad[i].raw, .raw_n = bad[i].n, .address = "192.0.2.60"));

		CHECK(!l.ok && l.ended);
		CHECK(l.failure == AUTH_MALFORMED_REQUEST || l.failure == AUTH_NOT_AUTHORIZED);
		check_time(l);
	}
	check_fails(try(LOGIN(.quirk = GARBAGE_FINAL, .address = "192.0.2.60")), AUTH_NOT_AUTHORIZED);
	check_fails(try(LOGIN(.quirk = STEP_TWICE, .address = "192.0.2.60")), AUTH_MALFORMED_REQUEST);
}

static void test_free_early(void)
{
	struct login l = try(LOGIN(.quirk = FREE_EARLY));

	CHECK(l.ended && !l.ok);
}

static void free_now(void *arg)
{
	end(arg);
}

static void test_free_while_a_job_runs(void)
{
	struct login l = LOGIN(.mech = "PLAIN", .domain = "hang.example");
	struct loop_timer t;

	loop_ = loops_[nr_loops_++] = loop_new();
	loop_timer_init(loop_, &t, free_now, &l);
	loop_timer_set(&t, 50);
	left_ = 1;
	begin(&l);
	loop_run(loop_);
	CHECK(l.ended && !l.ok);
}

/* --- external --- */

static void test_external(void)
{
	static const char *const one[] = {"Alice@a.example", "alice@b.example", NULL}, *const two[] = {"alice@a.example", "bob@a.example",
												       NULL};
	static const char *const other[] = {"alice@b.example", NULL};
	const char *at = "192.0.2.70";

	check_ok(try(LOGIN(.mech = "EXTERNAL", .raw = "", .external = one)), "alice");
	check_ok(try(LOGIN(.mech = "EXTERNAL", .raw = "", .external = one, .quirk = LATE_INITIAL)), "alice");
	check_ok(try(LOGIN(.mech = "EXTERNAL", .raw = "bob@a.example", .raw_n = 13, .external = two)), "bob");
	check_fails(try(LOGIN(.mech = "EXTERNAL", .raw = "", .external = two, .address = at)), AUTH_INVALID_AUTHZID);
	check_fails(try(LOGIN(.mech = "EXTERNAL", .raw = "", .external = other, .address = at)), AUTH_INVALID_AUTHZID);
	check_fails(try(LOGIN(.mech = "EXTERNAL", .raw = "eve@a.example", .raw_n = 13, .external = two, .address = at)),
		    AUTH_INVALID_AUTHZID);
	check_fails(try(LOGIN(.mech = "EXTERNAL", .raw = "alice@b.example", .raw_n = 15, .external = one, .address = at)),
		    AUTH_INVALID_AUTHZID);
	check_fails(try(LOGIN(.mech = "EXTERNAL", .raw = "a\0b", .raw_n = 3, .external = one, .address = at)), AUTH_MALFORMED_REQUEST);
}

/* --- trouble on our side --- */

static void let_go(size_t nr)
{
	while (nr-- > 0)
		CHECK_EQ(write(hold_[1], "", 1), 1);
}

static void test_hung_database_delays_only_its_own(void)
{
	struct login v[8];

	for (size_t i = 0; i < 6; i++)
		v[i] = LOGIN(.mech = i % 2 ? "PLAIN" : "SCRAM-SHA-1", .domain = "hang.example", .address = "192.0.2.80");
	v[6] = LOGIN(.mech = "PLAIN");
	v[7] = LOGIN(.mech = "SCRAM-SHA-256");
	given_up_at_ = 6; /* only when the others are through; if these waited for them, this would never end */
	play(v, ARRAY_LEN(v));
	given_up_at_ = -1;
	for (size_t i = 0; i < 6; i++)
		check_fails(v[i], AUTH_TEMPORARY_FAILURE);
	check_ok(v[6], "alice");
	check_ok(v[7], "alice");
}

/* Right after that test: two of its look-ups are still inside the database, and four were given up before they began. They are not begun
 * when the two are let go, or this one would wait for them for good. */
static void test_given_up_is_not_begun(void)
{
	let_go(2);
	check_fails(try(LOGIN(.mech = "PLAIN", .domain = "hang.example", .user = "quick", .address = "192.0.2.83")), AUTH_NOT_AUTHORIZED);
}

static void test_database_down(void)
{
	check_fails(try(LOGIN(.mech = "PLAIN", .domain = "down.example", .address = "192.0.2.81")), AUTH_TEMPORARY_FAILURE);
	check_fails(try(LOGIN(.mech = "SCRAM-SHA-1", .domain = "down.example", .address = "192.0.2.81")), AUTH_TEMPORARY_FAILURE);
}

static void test_null_is_no_password(void)
{
	static const char *const mech[] = {"PLAIN", "SCRAM-SHA-256"};

	for (size_t i = 0; i < ARRAY_LEN(mech); i++) {
		struct login v[] = {
			LOGIN(.mech = mech[i], .domain = "null.example", .password = "", .address = "192.0.2.84"),
			LOGIN(.mech = mech[i], .domain = "null.example", .user = "word", .password = "NULL", .address = "192.0.2.84"),
			LOGIN(.mech = mech[i], .password = "", .address = "192.0.2.84"),
		};

		play(v, ARRAY_LEN(v));
		for (size_t k = 0; k < ARRAY_LEN(v); k++)
			check_fails(v[k], AUTH_NOT_AUTHORIZED);
	}
}

static void test_disabled_looks_unknown(void)
{
	check_fails(try(LOGIN(.mech = "PLAIN", .domain = "off.example", .address = "192.0.2.82")), AUTH_NOT_AUTHORIZED);
	check_fails(try(LOGIN(.mech = "SCRAM-SHA-1", .domain = "off.example", .address = "192.0.2.82")), AUTH_NOT_AUTHORIZED);
}

static void test_address_limit(void)
{
	struct login v[25];

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = LOGIN(.mech = "PLAIN", .password = "wrong", .address = "2001:db8::1");
	play(v, ARRAY_LEN(v));
	check_fails(try(LOGIN(.mech = "PLAIN", .address = "2001:db8::2")),
		    AUTH_TEMPORARY_FAILURE); /* the right password, from the same /64 */
	check_ok(try(LOGIN(.mech = "PLAIN", .address = "2001:db8:0:1::1")), "alice");
}

/* A look-up that the client had and gave up is a failed login, whoever it was for: of a hundred names one
 * address has no more keys derived than it may fail. */
static void test_given_up_counts(void)
{
	const char *at = "192.0.2.85";
	char names[75][16];
	struct login v[50];

	for (size_t i = 0; i < 30; i++)
		CHECK_EQ(try(LOGIN(.quirk = FREE_EMPTY, .address = at)).challenges, 1); /* nobody was asked for */
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		snprintf(names[i], sizeof names[i], i == 7 || i == 8 ? "alice" : "name%zu", i); /* one that is there counts alike */
	for (size_t i = 0; i < 25; i++)
		CHECK_EQ(try(LOGIN(.user = names[i], .quirk = FREE_EARLY, .address = at)).challenges, 1);
	size_t nr_keys = keycache_count(pool_->keys);
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = LOGIN(.user = names[25 + i], .quirk = FREE_EARLY, .address = at);
	play(v, ARRAY_LEN(v));
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		CHECK_EQ(v[i].challenges, 0);
		check_fails(v[i], AUTH_TEMPORARY_FAILURE);
	}
	CHECK_EQ(keycache_count(pool_->keys), nr_keys);
	check_ok(try(LOGIN(.address = "192.0.2.86")), "alice");
}

static void set_password(const char *user, const char *domain, const char *password)
{
	char command[512];

	snprintf(command, sizeof command, "printf %%s '%s' | saslpasswd2 -p -c -f %s/sasldb2 -u %s %s", password, folder_, domain, user);
	CHECK_EQ(system(command), 0);
}

static void test_password_change(void)
{
	set_password("carol", "a.example", "old");
	check_ok(try(LOGIN(.user = "carol", .password = "old")), "carol");
	set_password("carol", "a.example", "new");
	check_ok(try(LOGIN(.user = "carol", .password = "new", .mech = "PLAIN")), "carol");     /* PLAIN asks every time */
	cache_ms_ += LIFE_MS;
	check_ok(try(LOGIN(.user = "carol", .password = "new")), "carol");
	check_fails(try(LOGIN(.user = "carol", .password = "old", .address = "192.0.2.90")), AUTH_NOT_AUTHORIZED);
}

/* Who failed by a key that was kept is looked up again: a new password counts at the second try, a new account too. */
static void test_failed_key_is_not_kept(void)
{
	set_password("dora", "a.example", "old");
	check_ok(try(LOGIN(.user = "dora", .password = "old")), "dora");
	set_password("dora", "a.example", "new");
	check_fails(try(LOGIN(.user = "dora", .password = "new", .address = "192.0.2.91")), AUTH_NOT_AUTHORIZED);
	check_ok(try(LOGIN(.user = "dora", .password = "new")), "dora");
	check_fails(try(LOGIN(.user = "emil", .password = "mine", .address = "192.0.2.91")), AUTH_NOT_AUTHORIZED);
	set_password("emil", "a.example", "mine");
	check_ok(try(LOGIN(.user = "emil", .password = "mine")), "emil");
}

static void test_challenge_is_never_early(void)
{
	uint64_t quick = 1000;

	for (int i = 0; i < 3; i++) {
		struct login l = try(LOGIN(.user = "alice", .quirk = FREE_EARLY));

		if (l.ms < quick)
			quick = l.ms;
	}
	CHECK(quick >= 10);     /* though the key is at hand */
}

/* What does not come in ten seconds does not come. */
#define WAIT_FOR(cond, step)                                                 \
	do {                                                                 \
		for (unsigned i_ = 0; i_ < 100000 && !(cond); i_++) {        \
			step;                                                \
			usleep(100);                                         \
		}                                                            \
		CHECK(cond);                                                 \
	} while (0)

static int gate_[2];
static _Atomic unsigned nr_at_gate_;

static void wait_at_gate(struct job *j)
{
	char byte;

	(void)j;
	CHECK_EQ(read(gate_[0], &byte, 1), 0);
	nr_at_gate_--;
}

static void forget_job(struct job *j)
{
	(void)j;
}

static void keep_threads_busy(struct job *busy)
{
	CHECK_EQ(pipe(gate_), 0);
	nr_at_gate_ = JOBS;
	for (size_t i = 0; i < JOBS; i++) {
		busy[i] = (struct job){.run = wait_at_gate, .done = forget_job, .drop = forget_job};
		CHECK_EQ(jobs_submit(jobs_, loop_, &busy[i]), 0);
	}
}

static void open_gate(void)
{
	close(gate_[1]);
	WAIT_FOR(nr_at_gate_ == 0, (void)0);
	close(gate_[0]);
}

/* With every job thread busy, whose key is at hand logs in all the same. */
static void test_kept_key_needs_no_thread(void)
{
	static struct job busy[JOBS];

	check_ok(try(LOGIN(.user = "bob", .password = "bobs", .mech = "SCRAM-SHA-512")), "bob");
	keep_threads_busy(busy);
	check_ok(try(LOGIN(.user = "bob", .password = "bobs", .mech = "SCRAM-SHA-512")), "bob");
	open_gate();
}

/* A loop that turns when it is told to, so that nobody is answered before. */
static void begin_by_hand(void)
{
	ASSERT(nr_loops_ < LOOPS_MAX);
	loop_ = loops_[nr_loops_++] = loop_new();
	left_ = INT_MAX; /* nobody's end stops it: what it was told would be lost */
	memset(asked_, 0, sizeof asked_);
}

static void turn_until_spent(unsigned nr)
{
	WAIT_FOR(nr_spent_ >= nr, loop_turn(loop_));
}

static unsigned failures_of(const char *address)
{
	return failures_count(pool_->failures, address, loop_now_ms(loop_));
}

/* Who leaves before a thread was free had nothing done for it, and it is not its doing that there was none. */
static void test_given_up_in_the_queue_does_not_count(void)
{
	static struct job busy[JOBS];
	const char *at = "192.0.2.87";
	unsigned so_far = nr_spent_;
	struct login v[40];

	begin_by_hand();
	keep_threads_busy(busy);
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		v[i] = LOGIN(.mech = i % 2 ? "PLAIN" : "SCRAM-SHA-256", .user = "waits", .address = at);
		begin(&v[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		end(&v[i]);
	open_gate();
	turn_until_spent(so_far + ARRAY_LEN(v));
	CHECK_EQ(failures_of(at), 0);
	check_ok(try(LOGIN(.mech = "PLAIN", .address = at)), "alice");
}

/* It ends while a key is derived for it. */
static void leave_early(const char *user, enum auth_over over, const char *at)
{
	struct login l = LOGIN(.user = user, .over = over, .address = at);
	unsigned so_far = nr_spent_, derived = nr_derived_;

	begin_by_hand();
	begin(&l);
	WAIT_FOR(nr_derived_ > derived, (void)0);
	end(&l);
	turn_until_spent(so_far + 1);
	CHECK_EQ(l.challenges, 0);
}

/* Who leaves while a key is derived has had that, and so has who lets its time pass with the challenge; not who waits for us when its time
 * is over, nor who is sent away. */
static void test_given_up_counts_by_whose_doing_it_is(void)
{
	const char *at = "192.0.2.89";
	struct login v[40];

	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		v[i] = LOGIN(.quirk = FREE_EARLY, .over = AUTH_OURS, .address = at);
	play(v, ARRAY_LEN(v));
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		CHECK_EQ(v[i].challenges, 1);
	CHECK_EQ(failures_of(at), 0);
	CHECK_EQ(try(LOGIN(.quirk = FREE_EARLY, .over = AUTH_LATE, .address = at)).challenges, 1);
	CHECK_EQ(failures_of(at), 1);
	leave_early("leaves-early", AUTH_LEFT, at);
	CHECK_EQ(failures_of(at), 2);
	leave_early("is-too-late", AUTH_LATE, at);
	leave_early("is-sent-away", AUTH_OURS, at);
	CHECK_EQ(failures_of(at), 2);
}

/* A stored key needs no derivation, and does not show by that: it comes no sooner than those before it, and its own time from then. */
static void test_stored_key_overtakes_nobody(void)
{
	struct login nobody = LOGIN(.user = "queued", .domain = "b.example", .quirk = FREE_EARLY, .address = "192.0.2.11");
	struct login stored = LOGIN(.user = "keeper", .quirk = FREE_EARLY, .address = "192.0.2.11");
	unsigned so_far = nr_spent_, derived = nr_derived_;
	uint64_t held_until;

	cache_ms_ += LIFE_MS;
	begin_by_hand();
	held_up_ = true;
	begin(&nobody);
	WAIT_FOR(nr_derived_ > derived, (void)0);
	begin(&stored);
	for (unsigned i = 0; i < 40; i++) {
		loop_turn(loop_);
		usleep(5000);
	}
	CHECK_EQ(nr_spent_, so_far);
	loop_turn(loop_);
	held_until = loop_now_ms(loop_);
	held_up_ = false;
	WAIT_FOR(nobody.ended && stored.ended, loop_turn(loop_));
	CHECK_EQ(nobody.challenges + stored.challenges, 2);
	CHECK(stored.began + stored.ms >= held_until + 10);
}

/* --- the frame --- */

static char *prep_local(struct slice text)
{
	char *copy;

	if (text.n == 0 || memchr(text.p, '@', text.n) || memchr(text.p, ' ', text.n))
		return NULL;
	copy = mem_slicedup(text);
	for (char *p = copy; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p | 0x20);
	return copy;
}

static void note_scram(void *arg, const char *mech)
{
	*(bool *)arg |= strncmp(mech, "SCRAM-", 6) == 0;
}

static bool offers_scram(void)
{
	struct auth_params p = {.domain = "a.example", .tls = true};
	bool scram = false;

	auth_each_mechanism(pool_, &p, note_scram, &scram);
	return scram;
}

/* Its time has come: by the loop's clock too, and the cache's is where the test has put it. */
static void let_timer_fire(void)
{
	unsigned so_far = nr_expired_;

	__real_loop_timer_set(&pool_->forget, 0);
	while (nr_expired_ == so_far)
		loop_turn(keys_loop_);
}

/* A key goes when it is old, though nobody logs in; and where there is none, nothing is waited for. */
static void test_keys_go_by_time(void)
{
	struct login l[2] = {0};

	cache_ms_ += LIFE_MS;
	loop_turn(keys_loop_); /* what was posted so far */
	let_timer_fire();
	CHECK_EQ(keycache_count(pool_->keys), 0);
	CHECK(!loop_timer_pending(&pool_->forget));
	for (size_t i = 0; i < ARRAY_LEN(l); i++) {
		unsigned so_far = nr_expired_;

		l[0] = l[1] = LOGIN(.user = "alice");
		l[1].user = "bob";
		l[1].password = "bobs";
		play(&l[0], 1);
		cache_ms_ += 100;
		play(&l[1], 1);
		CHECK(l[0].ok && l[1].ok);
		CHECK_EQ(keycache_count(pool_->keys), 2);
		loop_turn(keys_loop_);
		CHECK_EQ(nr_expired_, so_far + 1); /* told once, not for each */
		CHECK(loop_timer_pending(&pool_->forget));
		CHECK_EQ(asked_of(pool_)->in_ms, LIFE_MS - 100);
		cache_ms_ += LIFE_MS - 100;
		let_timer_fire();
		CHECK_EQ(keycache_count(pool_->keys), 1);
		CHECK(loop_timer_pending(&pool_->forget));
		CHECK_EQ(asked_of(pool_)->in_ms, 1000); /* not for each of a crowd */
		cache_ms_ += 1000;
		let_timer_fire();
		CHECK_EQ(keycache_count(pool_->keys), 0);
		CHECK(!loop_timer_pending(&pool_->forget));
	}
}

static void set_up(void)
{
	static const unsigned char salt_key[32] = "a salt key for the tests";
	struct auth_pool_options o = {.loop = keys_loop_ = loop_new(),
				      .failure_ms = FAILURE_MS,
				      .prep_local = prep_local,
				      .job_ms = JOB_MS,
				      .key_life_ms = LIFE_MS,
				      .threads_per_domain = 2,
				      .per_address_failures_max = 25};
	char path[128], why[200] = "";
	FILE *f;

	ASSERT(mkdtemp(folder_));
	snprintf(path, sizeof path, "%s/xmpp.conf", folder_);
	f = fopen(path, "w");
	ASSERT(f);
	fprintf(f, "pwcheck_method: auxprop\nauxprop_plugin: sasldb faultydb\nsasldb_path: %s/sasldb2\n", folder_);
	fclose(f);
	setenv("SASL_CONF_PATH", folder_, 1);
	setenv("SASL_PATH", PLUGINS ":/usr/lib/x86_64-linux-gnu/sasl2:/usr/lib/aarch64-linux-gnu/sasl2:/usr/lib/sasl2", 1);
	ASSERT(pipe(hold_) == 0);
	snprintf(path, sizeof path, "%d", hold_[0]);
	setenv("FAULTYDB_HOLD", path, 1);
	set_password("alice", "a.example", "sesame");
	set_password("bob", "a.example", "bobs");
	set_password("alice", "b.example", "other");
	jobs_ = jobs_new(JOBS, 100);
	pool_ = auth_pool_new(jobs_, &o, why, sizeof why);
	if (!pool_)
		fprintf(stderr, "%s\n", why);
	ASSERT(pool_);
	CHECK(!offers_scram());
	auth_pool_set_salt_key(pool_, salt_key);
	CHECK(offers_scram());
}

static void tear_down(void)
{
	char command[128];

	let_go(1);
	jobs_free(jobs_);
	auth_pool_free(pool_);
	loop_free(keys_loop_);
	for (size_t i = 0; i < nr_loops_; i++)
		loop_free(loops_[i]);
	snprintf(command, sizeof command, "rm -r %s", folder_);
	CHECK_EQ(system(command), 0);
}

int main(void)
{
	log_set_level(LOG_ERROR);
	set_up();
	RUN(test_offer);
	RUN(test_not_offered);
	RUN(test_nobody_is_as_dear_as_others);
	RUN(test_each_mechanism);
	RUN(test_many_at_once);
	RUN(test_few_keys_are_derived_at_a_time);
	RUN(test_wrong_and_unknown_look_alike);
	RUN(test_unknown_is_told);
	RUN(test_salt_of_nobody_is_stable);
	RUN(test_domains_are_apart);
	RUN(test_foreign_authzid);
	RUN(test_bindings);
	RUN(test_malformed);
	RUN(test_free_early);
	RUN(test_external);
	RUN(test_database_down);
	RUN(test_null_is_no_password);
	RUN(test_disabled_looks_unknown);
	RUN(test_hung_database_delays_only_its_own);
	RUN(test_given_up_is_not_begun);
	RUN(test_address_limit);
	RUN(test_given_up_counts);
	RUN(test_password_change);
	RUN(test_failed_key_is_not_kept);
	RUN(test_challenge_is_never_early);
	RUN(test_kept_key_needs_no_thread);
	RUN(test_stored_key_overtakes_nobody);
	RUN(test_given_up_in_the_queue_does_not_count);
	RUN(test_given_up_counts_by_whose_doing_it_is);
	RUN(test_keys_go_by_time);
	RUN(test_free_while_a_job_runs);
	tear_down();
	return check_done("unit.auth.sasl");
}
