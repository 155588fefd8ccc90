#ifndef GATEWAY_AUTH_FAILURES_H
#define GATEWAY_AUTH_FAILURES_H

#include "common/obj.h"

/* Failed logins of the last minute for each address (IPv6: for each /64), in constant memory: when the table is crowded, who failed least
 * is forgotten. Thread-safe. */
struct failures;

struct failures *failures_new(void);
void failures_free(struct failures *f);
void failures_add(struct failures *f, const char *address, uint64_t now_ms);
unsigned failures_count(struct failures *f, const char *address, uint64_t now_ms);

#endif
