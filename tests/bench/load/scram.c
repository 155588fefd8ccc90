#include "tests/bench/load/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void hmac(const char *digest, const unsigned char *key, size_t n, const char *text, unsigned char *out)
{
	unsigned size = 0;

	if (HMAC(EVP_get_digestbyname(digest), key, (int)n, (const unsigned char *)text, strlen(text), out, &size) == NULL)
		abort();
}

void scram_first(struct scram *s, const char *digest, const char *user, struct scram_keys *keys, char *out)
{
	unsigned char bytes[12];
	char nonce[25] = "";

	if (RAND_bytes(bytes, sizeof bytes) != 1)
		abort();
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
	s->digest = digest;
	s->keys = keys;
	snprintf(s->first_bare, sizeof s->first_bare, "n=%s,r=%s", user, nonce);
	snprintf(out, 200, "n,,%s", s->first_bare);
}

/* Decimal digits, up to whatever else. */
static unsigned number_of(struct slice text)
{
	unsigned n = 0;

	for (size_t i = 0; i < text.n && i < 9 && text.p[i] >= '0' && text.p[i] <= '9'; i++)
		n = n * 10 + (unsigned)(text.p[i] - '0');
	return n;
}

/* The field `x=` of a message, up to the next comma or the end. */
static struct slice field(struct slice message, char name)
{
	const char *p = message.p, *end = message.p + message.n;

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;

		if (stop - p >= 2 && p[0] == name && p[1] == '=')
			return (struct slice){p + 2, (size_t)(stop - p) - 2};
		p = stop + 1;
	}
	return (struct slice){NULL, 0};
}

static int decode(struct slice text, unsigned char *out, size_t size)
{
	int n;

	if (text.n == 0 || text.n % 4 != 0 || text.n / 4 * 3 > size ||
	    (n = EVP_DecodeBlock(out, (const unsigned char *)text.p, (int)text.n)) < 0)
		return -1;
	return n - (text.p[text.n - 1] == '=') - (text.p[text.n - 2] == '=');
}

static bool derive(struct scram *s, struct slice salt, unsigned iterations, const char *password)
{
	struct scram_keys *k = s->keys;
	unsigned char raw[96], salted[32];
	const EVP_MD *md = EVP_get_digestbyname(s->digest);
	int n;

	if (k->iterations == iterations && strlen(k->salt) == salt.n && memcmp(k->salt, salt.p, salt.n) == 0)
		return true;
	if (salt.n >= sizeof k->salt || (n = decode(salt, raw, sizeof raw)) <= 0)
		return false;
	if (PKCS5_PBKDF2_HMAC(password, (int)strlen(password), raw, n, (int)iterations, md, EVP_MD_size(md), salted) != 1)
		return false;
	hmac(s->digest, salted, (size_t)EVP_MD_size(md), "Client Key", k->client);
	hmac(s->digest, salted, (size_t)EVP_MD_size(md), "Server Key", k->server);
	memcpy(k->salt, salt.p, salt.n);
	k->salt[salt.n] = '\0';
	k->iterations = iterations;
	return true;
}

bool scram_final(struct scram *s, struct slice challenge, const char *password, char *out, size_t size)
{
	struct slice nonce = field(challenge, 'r'), salt = field(challenge, 's'), count = field(challenge, 'i');
	const EVP_MD *md = EVP_get_digestbyname(s->digest);
	unsigned char stored[32], signature[32];
	char proof[64], final[320];
	size_t n = (size_t)EVP_MD_size(md);

	if (nonce.p == NULL || salt.p == NULL || count.p == NULL || nonce.n > 200 || !derive(s, salt, number_of(count), password))
		return false;
	snprintf(final, sizeof final, "c=biws,r=%.*s", (int)nonce.n, nonce.p);
	snprintf(s->proof_for, sizeof s->proof_for, "%s,%.*s,%s", s->first_bare, (int)challenge.n, challenge.p, final);
	if (EVP_Digest(s->keys->client, n, stored, NULL, md, NULL) != 1)
		return false;
	hmac(s->digest, stored, n, s->proof_for, signature);
	for (size_t i = 0; i < n; i++)
		signature[i] ^= s->keys->client[i];
	EVP_EncodeBlock((unsigned char *)proof, signature, (int)n);
	return (size_t)snprintf(out, size, "%s,p=%s", final, proof) < size;
}

bool scram_proven(const struct scram *s, struct slice success)
{
	struct slice v = field(success, 'v');
	unsigned char theirs[48], ours[32];
	int n = EVP_MD_size(EVP_get_digestbyname(s->digest));

	hmac(s->digest, s->keys->server, (size_t)n, s->proof_for, ours);
	return decode(v, theirs, sizeof theirs) == n && memcmp(theirs, ours, (size_t)n) == 0;
}
