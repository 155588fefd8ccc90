/*
 * OpenSSL asks for a key by name when a ticket comes, and for the one to seal with when it gives one. An SSL without keys gives none: a
 * ticket under a key of the process's own could be opened nowhere else.
 */
#include "net/tls_tickets.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>

enum { NO_TICKET = 0, TICKET_OK = 1, TICKET_RENEW = 2, TICKET_FAILED = -1 };

static int tickets_index;

static void make_index(void)
{
	tickets_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	ASSERT(tickets_index >= 0);
}

static bool set_mac(EVP_MAC_CTX *mac, const struct tls_ticket_key *k)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)k->mac, sizeof k->mac),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int seal(const struct tls_tickets *t, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
	const struct tls_ticket_key *k = &t->key[0];

	if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1 || EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv) != 1 ||
	    !set_mac(mac, k))
		return TICKET_FAILED;
	memcpy(name, k->name, sizeof k->name);
	return TICKET_OK;
}

/* In TLS 1.3 a ticket serves once (RFC 8446 appendix C.4), so another one is given; before, only when its key grows old. */
static int open_ticket(const struct tls_tickets *t, bool once, const unsigned char *name, const unsigned char *iv, EVP_CIPHER_CTX *cipher,
		       EVP_MAC_CTX *mac)
{
	for (unsigned i = 0; i < t->nr; i++) {
		const struct tls_ticket_key *k = &t->key[i];

		if (memcmp(name, k->name, sizeof k->name) != 0)
			continue;
		if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv) != 1 || !set_mac(mac, k))
			return TICKET_FAILED;
		return i == 0 && !once ? TICKET_OK : TICKET_RENEW;
	}
	return NO_TICKET;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
	const struct tls_tickets *t = SSL_get_ex_data(ssl, tickets_index);

	if (t == NULL || t->nr == 0)
		return NO_TICKET;
	return sealing ? seal(t, name, iv, cipher, mac) :
			 open_ticket(t, SSL_version(ssl) >= TLS1_3_VERSION, name, iv, cipher, mac);
}

int tls_tickets_install(SSL_CTX *ctx)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_index);
	return SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1 ? 0 : -1;
}

void tls_tickets_use(SSL *ssl, const struct tls_tickets *t)
{
	/* Resumption would skip the certificate's chain, which we judge ourselves: no tickets where one is asked for. */
	if (t->nr == 0 || SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE || SSL_set_ex_data(ssl, tickets_index, (void *)(uintptr_t)t) != 1)
		return;
	SSL_clear_options(ssl, SSL_OP_NO_TICKET);
	SSL_set_num_tickets(ssl, 1); /* each costs 20 µs, and who reconnects needs one */
}

const struct tls_tickets *tls_tickets_use_copy(SSL *ssl, struct tls_tickets *copy)
{
	const struct tls_tickets *t = SSL_get_ex_data(ssl, tickets_index);

	if (t == NULL)
		return NULL;
	*copy = *t;
	tls_tickets_use_again(ssl, copy);
	return t;
}

/* There is a place for it already: nothing can fail. */
void tls_tickets_use_again(SSL *ssl, const struct tls_tickets *t)
{
	int ok = SSL_set_ex_data(ssl, tickets_index, (void *)(uintptr_t)t);

	ASSERT(ok == 1);
}
