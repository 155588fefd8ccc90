/* PROXY headers: what is taken lies within the bytes given, is an address, and does not change with what follows. */
#include <stdint.h>

#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)                                                     \
	do {                                                              \
		if (!(cond)) {                                            \
			fprintf(stderr, "violated: %s\n", #cond);         \
			abort();                                          \
		}                                                         \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole, again;
	int used = proxy_parse((struct slice){(const char *)data, size}, &whole);

	if (used <= 0) {
		REQUIRE(used != 0 || size < PROXY_HEADER_MAX);
		return 0;
	}
	REQUIRE((size_t)used <= size && used <= PROXY_HEADER_MAX);
	REQUIRE(whole.local || whole.peer.ss_family == AF_INET || whole.peer.ss_family == AF_INET6);
	REQUIRE(proxy_parse((struct slice){(const char *)data, (size_t)used}, &again) == used);
	REQUIRE(memcmp(&whole, &again, sizeof whole) == 0);
	REQUIRE(proxy_parse((struct slice){(const char *)data, (size_t)used - 1}, &again) <= 0);
	return 0;
}
