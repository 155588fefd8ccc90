/* Dialback keys (XEP-0185): whoever of the cluster knows the secret can make and verify them. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "auth/extern.h"

#define KEY_HEX (2 * SHA256_DIGEST_LENGTH)

static void to_hex(const unsigned char *p, char *out)
{
	for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
}

/* HMAC-SHA-256 over several parts. */
static void mac_parts(const char *key, const struct slice *part, size_t nr, unsigned char *out)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (const unsigned char *)key, strlen(key));
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = SHA256_DIGEST_LENGTH;

	ASSERT(pkey && ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1);
	for (size_t i = 0; i < nr; i++)
		ASSERT(EVP_DigestSignUpdate(ctx, part[i].p, part[i].n) == 1);
	ASSERT(EVP_DigestSignFinal(ctx, out, &n) == 1);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
}

void dialback_key(const unsigned char *secret, size_t secret_n, const char *receiving, const char *originating, struct slice stream_id,
		  char *out)
{
	const struct slice part[] = {slice_str(receiving), SLICE(" "), slice_str(originating), SLICE(" "), stream_id};
	unsigned char digest[SHA256_DIGEST_LENGTH];
	char key[KEY_HEX + 1];

	SHA256(secret, secret_n, digest);
	to_hex(digest, key);
	mac_parts(key, part, ARRAY_LEN(part), digest);
	to_hex(digest, out);
	mem_wipe(digest, sizeof digest);
	mem_wipe(key, sizeof key);
}

bool dialback_key_matches(const char *key, struct slice given)
{
	return given.n == KEY_HEX && strlen(key) == KEY_HEX && CRYPTO_memcmp(key, given.p, KEY_HEX) == 0;
}

bool dialback_make(const struct dialback_secrets *s, const char *receiving, const char *originating, struct slice stream_id, char *out)
{
	if (s->nr == 0)
		return false;
	dialback_key(s->secret[0], sizeof s->secret[0], receiving, originating, stream_id, out);
	return true;
}

bool dialback_is_ours(const struct dialback_secrets *s, const char *receiving, const char *originating, struct slice stream_id,
		      struct slice given)
{
	char want[KEY_HEX + 1];
	bool ours = false;

	for (unsigned i = 0; i < s->nr; i++) {
		dialback_key(s->secret[i], sizeof s->secret[i], receiving, originating, stream_id, want);
		ours |= dialback_key_matches(want, given);
	}
	mem_wipe(want, sizeof want);
	return ours;
}
