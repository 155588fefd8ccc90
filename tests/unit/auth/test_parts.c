#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "auth/auth_pool.h"
#include "auth/failures.h"
#include "auth/keycache.h"
#include "auth/scram_key.h"
#include "check.h"

/* --- failures' names --- */

/* RFC 6120 section 6.5, whole, and what Cyrus SASL's codes become of it. */
static void test_conditions(void)
{
	static const struct {
		int code;
		const char *condition;
	} of[] = {
		{SASL_BADAUTH, "not-authorized"},
		{SASL_NOUSER, "not-authorized"},
		{SASL_BADBINDING, "not-authorized"},
		{SASL_TRANS, "not-authorized"},
		{SASL_NOAUTHZ, "invalid-authzid"},
		{SASL_BADPROT, "malformed-request"},
		{SASL_NOMECH, "invalid-mechanism"},
		{SASL_TOOWEAK, "mechanism-too-weak"},
		{SASL_ENCRYPT, "encryption-required"},
		{SASL_EXPIRED, "credentials-expired"},
		{SASL_DISABLED, "account-disabled"},
		{SASL_PWLOCK, "account-disabled"},
		{SASL_UNAVAIL, "temporary-auth-failure"},
		{SASL_FAIL, "temporary-auth-failure"},
		{SASL_NOMEM, "temporary-auth-failure"},
		{SASL_TRYAGAIN, "temporary-auth-failure"},
	};

	for (size_t i = 0; i < ARRAY_LEN(of); i++)
		CHECK_STR(auth_failure_name(exchange_failure(of[i].code)), of[i].condition);
	/* this one no back end says: it is of the XML */
	CHECK_STR(auth_failure_name(AUTH_INCORRECT_ENCODING), "incorrect-encoding");
}

/* --- stored keys --- */

/* The keys of RFC 7677 section 3's example, computed apart: password "pencil", 4096 rounds, a salt of sixteen bytes. */
static void test_derive(void)
{
	unsigned char salt[16] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};
	char out[SCRAM_KEY_MAX], made_up[SCRAM_KEY_MAX];

	CHECK_EQ(scram_key_derive("SCRAM-SHA-256", SLICE("pencil"), salt, 4096, out), 0);
	CHECK_STR(out, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
		       "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
	CHECK_EQ(scram_key_made_up("SCRAM-SHA-256", SLICE("pencil"), salt, 4096, made_up), 0);
	CHECK_EQ(strlen(made_up), strlen(out));
	CHECK(strncmp(made_up, out, strlen("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")) == 0);
	CHECK(strcmp(made_up, out) != 0);
	CHECK(scram_key_derive("CRAM-MD5", SLICE("pencil"), salt, 4096, out) < 0);
}

/* As OpenSSL's PBKDF2 has it in one piece. */
static void check_derived(const char *mech, const EVP_MD *md, struct slice password, unsigned rounds)
{
	static const unsigned char salt[16] = "sixteen of salt";
	unsigned char salted[EVP_MAX_MD_SIZE], key[EVP_MAX_MD_SIZE], stored[EVP_MAX_MD_SIZE];
	char out[SCRAM_KEY_MAX], stored64[96];
	int n = EVP_MD_get_size(md);

	CHECK(PKCS5_PBKDF2_HMAC(password.p, (int)password.n, salt, sizeof salt, (int)rounds, md, n, salted));
	CHECK(HMAC(md, salted, n, (const unsigned char *)"Client Key", 10, key, NULL) != NULL);
	CHECK(EVP_Digest(key, (size_t)n, stored, NULL, md, NULL));
	EVP_EncodeBlock((unsigned char *)stored64, stored, n);
	CHECK_EQ(scram_key_derive(mech, password, salt, rounds, out), 0);
	CHECK(strstr(out, stored64) != NULL);
}

static void test_derived(void)
{
	static const unsigned rounds[] = {1, 2, 255, 256, 257, 513, 4096};
	static const char password[] = "a password of more bytes than a block of any of these has, at most a hundred and twenty-eight: "
				       "then it is hashed before it is a key";
	static const size_t lengths[] = {0, 1, 64, 65, 128, sizeof password - 1};

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
		for (size_t k = 0; k < ARRAY_LEN(rounds); k++) {
			check_derived("SCRAM-SHA-1", EVP_sha1(), (struct slice){password, lengths[i]}, rounds[k]);
			check_derived("SCRAM-SHA-256", EVP_sha256(), (struct slice){password, lengths[i]}, rounds[k]);
			check_derived("SCRAM-SHA-512", EVP_sha512(), (struct slice){password, lengths[i]}, rounds[k]);
		}
}

static void test_salts(void)
{
	unsigned char key[32] = {1}, other_key[32] = {2}, a[16], b[16];

	scram_key_salt(key, "SCRAM-SHA-1", SLICE("alice"), SLICE("a.example"), a);
	scram_key_salt(key, "SCRAM-SHA-1", SLICE("alice"), SLICE("a.example"), b);
	CHECK(memcmp(a, b, 16) == 0);
	scram_key_salt(key, "SCRAM-SHA-1", SLICE("alice"), SLICE("b.example"), b);
	CHECK(memcmp(a, b, 16) != 0);
	scram_key_salt(key, "SCRAM-SHA-1", SLICE("alicea"), SLICE(".example"), b);
	CHECK(memcmp(a, b, 16) != 0);
	scram_key_salt(key, "SCRAM-SHA-256", SLICE("alice"), SLICE("a.example"), b);
	CHECK(memcmp(a, b, 16) != 0);
	scram_key_salt(other_key, "SCRAM-SHA-1", SLICE("alice"), SLICE("a.example"), b);
	CHECK(memcmp(a, b, 16) != 0);
}

/* --- the cache --- */

static void test_cache_life(void)
{
	struct keycache *k = keycache_new(10, 100);
	char out[KEYCACHE_VALUE_MAX];

	CHECK(keycache_put(k, SLICE("a"), 1000, "one"));
	CHECK(keycache_get(k, SLICE("a"), 1099, out));
	CHECK_STR(out, "one");
	CHECK(!keycache_get(k, SLICE("a"), 1100, out));     /* being used has not made it younger */
	CHECK_EQ(keycache_count(k), 0);
	CHECK(!keycache_put(k, SLICE("a"), 2000, "two"));
	CHECK(!keycache_put(k, SLICE("a"), 2050, "three"));
	CHECK_EQ(keycache_count(k), 1);
	CHECK(keycache_get(k, SLICE("a"), 2049, out));      /* another thread, whose look at the clock was earlier */
	CHECK(keycache_get(k, SLICE("a"), 2149, out));
	CHECK_STR(out, "three");
	keycache_free(k);
}

static void test_cache_bound(void)
{
	struct keycache *k = keycache_new(3, 1000);
	char out[KEYCACHE_VALUE_MAX];

	for (int i = 0; i < 5; i++)
		CHECK_EQ(keycache_put(k, (struct slice){&"abcde"[i], 1}, (uint64_t)i, "v"), i == 0);
	CHECK_EQ(keycache_count(k), 3);
	CHECK(!keycache_get(k, SLICE("b"), 5, out));
	CHECK(keycache_get(k, SLICE("c"), 5, out));
	keycache_free(k);
}

/* Who is told that there is something is told once, until he is told that nothing is left. */
static void test_cache_forgets_by_time(void)
{
	struct keycache *k = keycache_new(10, 100);
	char out[KEYCACHE_VALUE_MAX];

	CHECK_EQ(keycache_expire(k, 1000), UINT64_MAX);
	CHECK(keycache_put(k, SLICE("a"), 1000, "one"));
	CHECK(!keycache_put(k, SLICE("b"), 1040, "two"));
	CHECK_EQ(keycache_expire(k, 990), 110);     /* a loop whose look at the clock was earlier */
	CHECK_EQ(keycache_expire(k, 1099), 1);
	CHECK_EQ(keycache_count(k), 2);
	CHECK_EQ(keycache_expire(k, 1100), 40);
	CHECK_EQ(keycache_count(k), 1);
	CHECK(!keycache_get(k, SLICE("b"), 1140, out));
	CHECK_EQ(keycache_count(k), 0);
	CHECK(!keycache_put(k, SLICE("c"), 1150, "three")); /* the last word was 40 ms */
	CHECK_EQ(keycache_expire(k, 1160), 90);
	keycache_forget(k, SLICE("c"));
	CHECK_EQ(keycache_expire(k, 1170), UINT64_MAX);
	CHECK(keycache_put(k, SLICE("d"), 1180, "four"));
	CHECK_EQ(keycache_expire(k, 9999), UINT64_MAX);
	CHECK(keycache_put(k, SLICE("d"), 9999, "five"));
	keycache_free(k);
}

/* --- what memory holds when it is given back, linked by --wrap --- */

#define SECRET "a stored key"

static char *secret_;                   /* the cache's own copy of SECRET; NULL: given back */
static unsigned nr_wiped_, nr_left_;    /* copies that were given back without and with something of it */

char *__real_mem_strdup(const char *s);
char *__wrap_mem_strdup(const char *s);
void __real_free(void *p);
void __wrap_free(void *p);

char *__wrap_mem_strdup(const char *s)
{
	char *copy = __real_mem_strdup(s);

	if (s && strcmp(s, SECRET) == 0)
		secret_ = copy;
	return copy;
}

void __wrap_free(void *p)
{
	static const char wiped[sizeof SECRET];

	if (p && p == secret_) {
		if (memcmp(p, wiped, sizeof wiped) == 0)
			nr_wiped_++;
		else
			nr_left_++;
		secret_ = NULL;
	}
	__real_free(p);
}

/* Whichever way a key goes, nothing of it stays behind. */
static void test_cache_wipes(void)
{
	struct keycache *k = keycache_new(1, 100);

	for (unsigned way = 0; way < 4; way++) {
		(void)!keycache_put(k, SLICE("a"), 1000, SECRET);
		CHECK(secret_ != NULL);
		if (way == 0)
			CHECK_EQ(keycache_expire(k, 1100), UINT64_MAX);
		else if (way == 1)
			keycache_forget(k, SLICE("a"));
		else if (way == 2)
			(void)!keycache_put(k, SLICE("b"), 1000, "takes its place");
		else
			keycache_free(k);
		CHECK(secret_ == NULL);
		CHECK_EQ(nr_wiped_, way + 1);
	}
	CHECK_EQ(nr_left_, 0);
}

/* --- failures by address --- */

static void test_failures(void)
{
	struct failures *f = failures_new();

	failures_add(f, "192.0.2.1", 1000);
	failures_add(f, "::ffff:192.0.2.1", 1000);
	CHECK_EQ(failures_count(f, "192.0.2.1", 2000), 2);
	CHECK_EQ(failures_count(f, "192.0.2.2", 2000), 0);
	failures_add(f, "192.0.2.1", 999);      /* another worker, whose loop woke up earlier */
	CHECK_EQ(failures_count(f, "192.0.2.1", 998), 3);
	CHECK_EQ(failures_count(f, "192.0.2.1", 61000), 0);
	failures_add(f, "2001:db8:0:1::1", 1000);
	CHECK_EQ(failures_count(f, "2001:db8:0:1:ffff::9", 1000), 1);
	CHECK_EQ(failures_count(f, "2001:db8:0:2::1", 1000), 0);
	failures_free(f);
}

static void test_failures_crowded(void)
{
	struct failures *f = failures_new();
	char address[64];

	for (int i = 0; i < 100; i++)
		failures_add(f, "192.0.2.1", 1000);
	for (unsigned i = 0; i < 200000; i++) {
		snprintf(address, sizeof address, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		failures_add(f, address, 1000);
	}
	CHECK_EQ(failures_count(f, "192.0.2.1", 1000), 100);    /* who failed once is forgotten first */
	failures_free(f);
}

int main(void)
{
	RUN(test_conditions);
	RUN(test_derive);
	RUN(test_derived);
	RUN(test_salts);
	RUN(test_cache_life);
	RUN(test_cache_bound);
	RUN(test_cache_forgets_by_time);
	RUN(test_cache_wipes);
	RUN(test_failures);
	RUN(test_failures_crowded);
	return check_done("unit.auth.parts");
}
