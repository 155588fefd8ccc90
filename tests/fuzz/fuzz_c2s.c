#include "stream_owner.h"

/* The whole client negotiation. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	fuzz_stream(STREAM_C2S, data, n);
	return 0;
}
