/*
 * Stored keys of SCRAM (RFC 5802 section 3) from a password. Pure but for OpenSSL. A made-up key for an unknown name takes the same way as
 * a real one, and the same time where it is to.
 */
#include "auth/scram_key.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "common/err.h"

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
	ASSERT(PKCS5_PBKDF2_HMAC(password.p, (int)password.n, salt, SCRAM_KEY_SALT, (int)rounds, md, (int)n, salted));
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
