#ifndef GATEWAY_AUTH_KEYCACHE_H
#define GATEWAY_AUTH_KEYCACHE_H

#include "common/obj.h"

/* Stored keys for a short while: bounded in number and age, wiped when forgotten. Thread-safe: job threads of all workers share it
 * (STYLE.md section 9). */
struct keycache;

#define KEYCACHE_VALUE_MAX 512

struct keycache *keycache_new(size_t max, uint64_t life_ms);
void keycache_free(struct keycache *k);
/* Copies a living value into out (KEYCACHE_VALUE_MAX bytes). */
bool keycache_get(struct keycache *k, struct slice key, uint64_t now_ms, char *out);
/* True: keycache_expire() is to be called, the first time since it said that nothing is left. */
MUST_CHECK bool keycache_put(struct keycache *k, struct slice key, uint64_t now_ms, const char *value);
/* Forgets what is too old now. In how many ms the next one is; UINT64_MAX: nothing is left. */
uint64_t keycache_expire(struct keycache *k, uint64_t now_ms);
void keycache_forget(struct keycache *k, struct slice key);
size_t keycache_count(struct keycache *k);

#endif
