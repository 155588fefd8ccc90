#include "stream/base64.h"

#include "common/err.h"

/* The strict reader and the writer of base64 (RFC 4648 section 4). Branches on secrets are not hidden: the text came over the wire in the
 * same form. */

/* From '+' on, what a character stands for and one more; 0: nothing. */
static const unsigned char values[] = {
	63, 0, 0, 0, 64, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 0, 0, 0, 0, 0, 0, 0,                                          /* + to @ */
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 0, 0, 0, 0, 0, 0,       /* A to ` */
	27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,                /* a to z */
};

static int value_of(char c)
{
	unsigned at = (unsigned char)c - (unsigned)'+';

	return at < sizeof values ? values[at] - 1 : -1;
}

/* Four characters into up to three bytes; the number of bytes, or -ERR_SYNTAX. Padding is allowed in the last group only. */
static int decode_group(const char *p, bool last, unsigned char out[3])
{
	int pad = 0;

	if (last && p[3] == '=')
		pad = p[2] == '=' ? 2 : 1;
	int a = value_of(p[0]), b = value_of(p[1]), c = pad == 2 ? 0 : value_of(p[2]), d = pad > 0 ? 0 : value_of(p[3]);

	if ((a | b | c | d) < 0)
		return -ERR_SYNTAX;
	uint32_t bits = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | (uint32_t)d;

	out[0] = (unsigned char)(bits >> 16);
	out[1] = (unsigned char)(bits >> 8);
	out[2] = (unsigned char)bits;
	if ((pad == 1 && out[2] != 0) || (pad == 2 && (out[1] | out[2]) != 0))
		return -ERR_SYNTAX;
	return 3 - pad;
}

int base64_decode(struct buf *out, struct slice text)
{
	unsigned char bytes[3];
	int last;

	if (text.n % 4 != 0)
		return -ERR_SYNTAX;
	if (text.n == 0)
		return 0;
	last = decode_group(text.p + text.n - 4, true, bytes);
	if (last < 0)
		return last;
	size_t n = text.n / 4 * 3 - 3 + (size_t)last;
	char *to = buf_reserve(out, n);

	if (to == NULL)
		return -ERR_LIMIT;
	for (const char *p = text.p; p < text.p + text.n - 4; p += 4, to += 3)
		if (decode_group(p, false, (unsigned char *)to) < 0)
			return -ERR_SYNTAX;
	memcpy(to, bytes, (size_t)last);
	buf_commit(out, n);
	return 0;
}

int base64_encode(struct buf *out, struct slice data)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	size_t n = (data.n + 2) / 3 * 4;
	char *four = n ? buf_reserve(out, n) : NULL;

	if (n == 0)
		return 0;
	if (four == NULL)
		return -ERR_LIMIT;
	for (size_t i = 0; i < data.n; i += 3, four += 4) {
		size_t left = data.n - i;
		uint32_t bits = (uint32_t)(unsigned char)data.p[i] << 16;

		if (left > 1)
			bits |= (uint32_t)(unsigned char)data.p[i + 1] << 8;
		if (left > 2)
			bits |= (unsigned char)data.p[i + 2];
		four[0] = set[bits >> 18];
		four[1] = set[bits >> 12 & 63];
		four[2] = left > 1 ? set[bits >> 6 & 63] : '=';
		four[3] = left > 2 ? set[bits & 63] : '=';
	}
	buf_commit(out, n);
	return 0;
}
