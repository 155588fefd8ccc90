/*
 * SCRAM's channel binding, as far as the server must read it before Cyrus SASL does: the binding's type has to be set on the connection
 * before the exchange starts, and the c= attribute that ends it must repeat the header exactly. Nothing here looks at names or secrets.
 */
#include "auth/gs2.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "common/err.h"

#define BINDING_MAX 1024

static bool is_type_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

int gs2_parse(struct slice in, struct gs2 *out)
{
	size_t at = 1;

	if (in.n < 3 || (in.p[0] != 'p' && in.p[0] != 'y' && in.p[0] != 'n') || memchr(in.p, '\0', in.n))
		return -ERR_INVALID;
	*out = (struct gs2){.flag = in.p[0]};
	if (out->flag == 'p') {
		if (in.p[at++] != '=')
			return -ERR_INVALID;
		while (at < in.n && is_type_char(in.p[at]))
			at++;
		out->type = (struct slice){in.p + 2, at - 2};
		if (out->type.n == 0)
			return -ERR_INVALID;
	}
	if (at >= in.n || in.p[at++] != ',')
		return -ERR_INVALID;
	if (at < in.n && in.p[at] != ',' && (in.n - at < 3 || memcmp(in.p + at, "a=", 2) != 0 || in.p[at + 2] == ','))
		return -ERR_INVALID;
	while (at < in.n && in.p[at] != ',')
		at++;
	if (at >= in.n)
		return -ERR_INVALID;
	out->header = (struct slice){in.p, at + 1};
	return 0;
}

/* Strict base64, padding included: the number of bytes, or -ERR_INVALID. */
static int decode64(struct slice in, unsigned char *out, size_t room)
{
	size_t pad = 0;
	int n;

	if (in.n == 0 || in.n % 4 != 0 || in.n / 4 * 3 > room)
		return -ERR_INVALID;
	for (size_t i = 0; i < in.n; i++) {     /* OpenSSL would skip white space */
		if (in.p[i] == '=' && i + 2 >= in.n)
			pad++;
		else if (pad > 0 || !((in.p[i] >= 'A' && in.p[i] <= 'Z') || (in.p[i] >= 'a' && in.p[i] <= 'z') ||
				      (in.p[i] >= '0' && in.p[i] <= '9') || in.p[i] == '+' || in.p[i] == '/'))
			return -ERR_INVALID;
	}
	n = EVP_DecodeBlock(out, (const unsigned char *)in.p, (int)in.n);
	return n < (int)pad ? -ERR_INVALID : n - (int)pad;
}

bool gs2_confirms(struct slice in, struct slice header, struct slice binding)
{
	unsigned char got[BINDING_MAX + 3];
	const char *comma;
	int n;

	if (in.n < 3 || memcmp(in.p, "c=", 2) != 0 || (comma = memchr(in.p, ',', in.n)) == NULL)
		return false;
	n = decode64((struct slice){in.p + 2, (size_t)(comma - in.p) - 2}, got, sizeof got);
	return n >= 0 && (size_t)n == header.n + binding.n && memcmp(got, header.p, header.n) == 0 &&
	       CRYPTO_memcmp(got + header.n, binding.p ? binding.p : "", binding.n) == 0;
}
