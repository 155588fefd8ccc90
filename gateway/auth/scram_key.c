/*
 * Stored keys of SCRAM (RFC 5802 section 3) from a password. Pure but for OpenSSL. A made-up key for an unknown name takes the same way as
 * a real one, and the same time where it is to.
 */
#include "auth/scram_key.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <sched.h>
#include <stdio.h>

#include "common/err.h"

#define ROUNDS_A_PIECE 1024u  /* some 0.2 ms */

static const EVP_MD *digest_of(const char *mech)
{
	if (strcmp(mech, "SCRAM-SHA-1") == 0)
		return EVP_sha1();
	if (strcmp(mech, "SCRAM-SHA-256") == 0)
		return EVP_sha256();
	if (strcmp(mech, "SCRAM-SHA-512") == 0)
		return EVP_sha512();
	return NULL;
}

bool scram_key_knows(const char *mech)
{
	return digest_of(mech) != NULL;
}

/* HMAC-SHA-256 over the parts, each ended by a NUL, which no name can hold. */
static void keyed(const unsigned char *salt_key, const char *what, const char *mech, struct slice user, struct slice realm,
		  unsigned char *out)
{
	struct slice part[] = {slice_str(what), slice_str(mech), user, realm};
	unsigned char text[4096];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(part); i++) {
		size_t some = part[i].n < 1000 ? part[i].n : 1000;    /* prepared parts have at most 1023 bytes, Cyrus' buffers fewer */

		memcpy(text + n, part[i].p, some);
		n += some;
		text[n++] = 0;
	}
	ASSERT(HMAC(EVP_sha256(), salt_key, 32, text, n, out, NULL));
}

void scram_key_salt(const unsigned char *salt_key, const char *mech, struct slice user, struct slice realm, unsigned char *out)
{
	unsigned char mac[32];

	keyed(salt_key, "salt", mech, user, realm, mac);
	memcpy(out, mac, SCRAM_KEY_SALT);
}

void scram_key_nobody(const unsigned char *salt_key, const char *mech, struct slice user, struct slice realm, char *out)
{
	unsigned char mac[32];

	keyed(salt_key, "nobody", mech, user, realm, mac);
	for (size_t i = 0; i < sizeof mac; i++)
		snprintf(out + 2 * i, 3, "%02x", mac[i]);
	mem_wipe(mac, sizeof mac);
}

static void encode64(char *out, const unsigned char *p, size_t n)
{
	EVP_EncodeBlock((unsigned char *)out, p, (int)n);
}

/* Hi() of RFC 5802 section 2.2, in pieces: a thread that computes for a millisecond without a pause keeps whoever was woken up on its
 * processor waiting for as long, however nice it is. OpenSSL's PBKDF2 has no pieces, and is no faster. */
static void hi(const EVP_MD *md, struct slice password, const unsigned char *salt, unsigned rounds, unsigned char *out)
{
	static const unsigned char one[] = {0, 0, 0, 1};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *c = mac ? EVP_MAC_CTX_new(mac) : NULL;
	OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)EVP_MD_get0_name(md), 0),
			       OSSL_PARAM_construct_end()};
	unsigned char u[EVP_MAX_MD_SIZE];
	size_t n;

	ASSERT(c && EVP_MAC_init(c, (const unsigned char *)password.p, password.n, params));
	ASSERT(EVP_MAC_update(c, salt, SCRAM_KEY_SALT) && EVP_MAC_update(c, one, sizeof one) && EVP_MAC_final(c, u, &n, sizeof u));
	memcpy(out, u, n);
	for (unsigned i = 1; i < rounds; i++) {
		ASSERT(EVP_MAC_init(c, NULL, 0, NULL) && EVP_MAC_update(c, u, n) && EVP_MAC_final(c, u, &n, sizeof u));
		for (size_t k = 0; k < n; k++)
			out[k] ^= u[k];
		if (i % ROUNDS_A_PIECE == 0)
			sched_yield();
	}
	mem_wipe(u, sizeof u);
	EVP_MAC_CTX_free(c);
	EVP_MAC_free(mac);
}

/* rounds: of the iterations that it says to have. */
static int make(const char *mech, struct slice password, const unsigned char *salt, unsigned iterations, unsigned rounds, char *out)
{
	const EVP_MD *md = digest_of(mech);
	unsigned char salted[EVP_MAX_MD_SIZE], client[EVP_MAX_MD_SIZE], stored[EVP_MAX_MD_SIZE], server[EVP_MAX_MD_SIZE];
	char salt64[32], stored64[96], server64[96];
	size_t n;

	if (!md)
		return -ERR_INVALID;
	n = (size_t)EVP_MD_get_size(md);
	hi(md, password, salt, rounds, salted);
	ASSERT(HMAC(md, salted, (int)n, (const unsigned char *)"Client Key", 10, client, NULL));
	ASSERT(EVP_Digest(client, n, stored, NULL, md, NULL));
	ASSERT(HMAC(md, salted, (int)n, (const unsigned char *)"Server Key", 10, server, NULL));
	encode64(salt64, salt, SCRAM_KEY_SALT);
	encode64(stored64, stored, n);
	encode64(server64, server, n);
	snprintf(out, SCRAM_KEY_MAX, "%s$%u:%s$%s:%s", mech, iterations, salt64, stored64, server64);
	mem_wipe(salted, sizeof salted);
	mem_wipe(client, sizeof client);
	mem_wipe(stored, sizeof stored);
	mem_wipe(server, sizeof server);
	mem_wipe(stored64, sizeof stored64);
	mem_wipe(server64, sizeof server64);
	return 0;
}

int scram_key_made_up(const char *mech, struct slice nobody, const unsigned char *salt, unsigned iterations, char *out)
{
	return make(mech, nobody, salt, iterations, 1, out);
}

int scram_key_derive(const char *mech, struct slice password, const unsigned char *salt, unsigned iterations, char *out)
{
	return make(mech, password, salt, iterations, iterations, out);
}
