#ifndef GATEWAY_XML_EIGHT_H
#define GATEWAY_XML_EIGHT_H

/* Private to xml/: eight bytes looked at together. Each answer is zero exactly when no byte is as asked for. */

#include <stdint.h>
#include <string.h>

#define EIGHT_ONES UINT64_C(0x0101010101010101)
#define EIGHT_HIGH UINT64_C(0x8080808080808080)

static inline uint64_t eight_load(const char *p)
{
	uint64_t w;
	memcpy(&w, p, sizeof w);
	return w;
}

static inline uint64_t eight_is(uint64_t w, char c)
{
	uint64_t differs = w ^ EIGHT_ONES * (unsigned char)c;
	return (differs - EIGHT_ONES) & ~differs & EIGHT_HIGH;
}

/* Below ' ', or not ASCII. */
static inline uint64_t eight_odd(uint64_t w)
{
	return (((w - EIGHT_ONES * ' ') & ~w) | w) & EIGHT_HIGH;
}

#endif
