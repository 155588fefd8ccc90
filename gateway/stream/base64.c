#include "stream/base64.h"

#include "common/err.h"

/* The strict reader and the writer of base64 (RFC 4648 section 4). Branches on secrets are not hidden: the text came over the wire in the
 * same form. */

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Four characters into up to three bytes; the number of bytes, or -ERR_SYNTAX. Padding is allowed in the last group only. */
static int decode_group(const char *p, bool last, unsigned char out[3])
{
	int pad = 0;
	uint32_t bits = 0;

	if (last && p[3] == '=')
		pad = p[2] == '=' ? 2 : 1;
	for (int i = 0; i < 4; i++) {
		int v = i >= 4 - pad ? 0 : value_of(p[i]);

		if (v < 0)
			return -ERR_SYNTAX;
		bits = bits << 6 | (uint32_t)v;
	}
	out[0] = (unsigned char)(bits >> 16);
	out[1] = (unsigned char)(bits >> 8);
	out[2] = (unsigned char)bits;
	if ((pad == 1 && out[2] != 0) || (pad == 2 && (out[1] | out[2]) != 0))
		return -ERR_SYNTAX;
	return 3 - pad;
}

int base64_decode(struct buf *out, struct slice text)
{
	if (text.n % 4 != 0)
		return -ERR_SYNTAX;
	for (size_t i = 0; i < text.n; i += 4) {
		unsigned char bytes[3];
		int n = decode_group(text.p + i, i + 4 == text.n, bytes);
		int err = n < 0 ? n : buf_add(out, bytes, (size_t)n);

		if (err != 0)
			return err;
	}
	return 0;
}

int base64_encode(struct buf *out, struct slice data)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < data.n; i += 3) {
		size_t left = data.n - i;
		uint32_t bits = (uint32_t)(unsigned char)data.p[i] << 16;
		char four[4];
		int err;

		if (left > 1)
			bits |= (uint32_t)(unsigned char)data.p[i + 1] << 8;
		if (left > 2)
			bits |= (unsigned char)data.p[i + 2];
		four[0] = set[bits >> 18];
		four[1] = set[bits >> 12 & 63];
		four[2] = left > 1 ? set[bits >> 6 & 63] : '=';
		four[3] = left > 2 ? set[bits & 63] : '=';
		err = buf_add(out, four, sizeof four);
		if (err != 0)
			return err;
	}
	return 0;
}
