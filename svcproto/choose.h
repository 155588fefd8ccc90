#ifndef SVCPROTO_CHOOSE_H
#define SVCPROTO_CHOOSE_H

/* Weighted rendezvous hashing (DESIGN.md 3.4, PROTOCOL.md section 7): the instance with the greatest score has the key, and with equal
 * scores the one with the greater id. Pure, unkeyed, the same at every gateway and service. */

#include <stddef.h>
#include <stdint.h>

double choose_score(const uint8_t instance[16], uint32_t weight, const char *key, size_t n);

#endif
