#include "fuzz_marks.h"
#include "stream_owner.h"

/* The whole server negotiation, inbound and outbound: the first byte says which. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	fuzz_stream(n > 0 && data[0] & FUZZ_OUT ? STREAM_S2S_OUT : STREAM_S2S_IN, data, n);
	return 0;
}
