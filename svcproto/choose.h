#ifndef SVCPROTO_CHOOSE_H
#define SVCPROTO_CHOOSE_H

/* Weighted rendezvous hashing (DESIGN.md 3.4, PROTOCOL.md section 13): the instance with the greatest score has the key, and with equal
 * scores the one with the greater id. Pure, unkeyed, the same at every gateway and service. */

#include <stddef.h>
#include <stdint.h>

double choose_score(const uint8_t instance[16], uint32_t weight, const char *key, size_t n);
/* Likewise a gateway worker's for a pair of domains, or a domain and a user of it (section 10): all instances of a service choose the
 * same. */
uint64_t choose_gateway_score(const uint8_t gateway[16], const char *from, const char *to);

#endif
