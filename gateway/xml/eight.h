#ifndef GATEWAY_XML_EIGHT_H
#define GATEWAY_XML_EIGHT_H

/* Private to xml/: eight bytes looked at together. What is looked for is joined with '|', always with eight_odd(), and given to
 * eight_found(). */

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EIGHT_ONES UINT64_C(0x0101010101010101)
#define EIGHT_HIGH UINT64_C(0x8080808080808080)

static inline uint64_t eight_load(const char *p)
{
	uint64_t w;
	memcpy(&w, p, sizeof w);
	return le64toh(w);
}

/* One to seven of them, zeros behind. They are read from both ends, and what is read twice is the same. */
static inline uint64_t eight_load_less(const char *p, size_t n)
{
	uint32_t first, last;
	uint64_t w;

	if (n >= 4) {
		memcpy(&first, p, sizeof first);
		memcpy(&last, p + n - sizeof last, sizeof last);
		return le32toh(first) | (uint64_t)le32toh(last) << 8 * (n - sizeof last);
	}
	w = (unsigned char)p[0];
	w |= (uint64_t)(unsigned char)p[n / 2] << 8 * (n / 2);
	return w | (uint64_t)(unsigned char)p[n - 1] << 8 * (n - 1);
}

/* That ASCII character. */
static inline uint64_t eight_is(uint64_t w, char c)
{
	return (w ^ EIGHT_ONES * (unsigned char)c) - EIGHT_ONES;
}

/* Below ' ', or not ASCII. */
static inline uint64_t eight_odd(uint64_t w)
{
	return (w - EIGHT_ONES * ' ') | w;
}

/* 0 exactly when no byte is one that was looked for. A subtraction borrows only from behind such a byte, so that the lowest bit is the
 * first one's; the higher ones mean nothing. */
static inline uint64_t eight_found(uint64_t looked_for)
{
	return looked_for & EIGHT_HIGH;
}

/* How many bytes stand before the first one found; `found` is not 0. */
static inline size_t eight_before(uint64_t found)
{
	return (size_t)__builtin_ctzll(found) / 8;
}

#endif
