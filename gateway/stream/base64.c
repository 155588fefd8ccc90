#include "stream/base64.h"

#include "common/err.h"

/* The strict reader and the writer of base64 (RFC 4648 section 4). Branches on secrets are not hidden: the text came over the wire in the
 * same form. */

/* What a character stands for and one more; 0: nothing. */
static const unsigned char values[256] = {
	['+'] = 63,
	['/'] = 64, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
	['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
	['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
};

static inline int value_of(char c)
{
	return values[(unsigned char)c] - 1;
}

/* The 24 bits of four characters, of which the last `pad` are padding; or -1. */
static inline int group_of(const char *p, int pad)
{
	int a = value_of(p[0]), b = value_of(p[1]), c = pad == 2 ? 0 : value_of(p[2]), d = pad > 0 ? 0 : value_of(p[3]);

	return (a | b | c | d) < 0 ? -1 : a << 18 | b << 12 | c << 6 | d;
}

static inline void put_bytes(char *to, int bits)
{
	to[0] = (char)(bits >> 16);
	to[1] = (char)(bits >> 8);
	to[2] = (char)bits;
}

/* The last four, which alone may be padded, into up to three bytes; the number of bytes, or -ERR_SYNTAX. */
static int decode_last(const char *p, char out[3])
{
	int pad = p[3] != '=' ? 0 : p[2] == '=' ? 2 : 1;
	int bits = group_of(p, pad);

	if (bits < 0 || (bits & ((1 << 8 * pad) - 1)) != 0)
		return -ERR_SYNTAX;
	put_bytes(out, bits);
	return 3 - pad;
}

int base64_decode(struct buf *out, struct slice text)
{
	char bytes[3];
	int last;

	if (text.n % 4 != 0)
		return -ERR_SYNTAX;
	if (text.n == 0)
		return 0;
	last = decode_last(text.p + text.n - 4, bytes);
	if (last < 0)
		return last;
	size_t n = text.n / 4 * 3 - 3 + (size_t)last;
	char *to = buf_reserve(out, n);

	if (to == NULL)
		return -ERR_LIMIT;
	for (const char *p = text.p; p < text.p + text.n - 4; p += 4, to += 3) {
		int bits = group_of(p, 0);

		if (bits < 0)
			return -ERR_SYNTAX;
		put_bytes(to, bits);
	}
	memcpy(to, bytes, (size_t)last);
	buf_commit(out, n);
	return 0;
}

static inline void put_four(char *to, uint32_t bits)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	to[0] = set[bits >> 18];
	to[1] = set[bits >> 12 & 63];
	to[2] = set[bits >> 6 & 63];
	to[3] = set[bits & 63];
}

int base64_encode(struct buf *out, struct slice data)
{
	const unsigned char *p = (const unsigned char *)data.p;
	size_t n = (data.n + 2) / 3 * 4;
	char *four = n ? buf_reserve(out, n) : NULL;

	if (n == 0)
		return 0;
	if (four == NULL)
		return -ERR_LIMIT;
	for (const unsigned char *end = p + data.n / 3 * 3; p < end; p += 3, four += 4)
		put_four(four, (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2]);
	if (data.n % 3 == 1) {
		put_four(four, (uint32_t)p[0] << 16);
		memcpy(four + 2, "==", 2);
	} else if (data.n % 3 == 2) {
		put_four(four, (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8);
		four[3] = '=';
	}
	buf_commit(out, n);
	return 0;
}
