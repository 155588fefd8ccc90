#ifndef TESTS_LIVE_RELAY_H
#define TESTS_LIVE_RELAY_H

/* A TCP relay in a thread of its own, which counts what crosses it and may be slow. One connection at a time. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum relay_direction { RELAY_TO_SERVER, RELAY_TO_CLIENT };

struct relay {
	atomic_uint_fast64_t crossed[2]; /* bytes handed on to the far end's kernel, by direction; of all connections */
	uint32_t pace;                   /* bytes for each millisecond and direction; 0: as fast as it can */
	uint16_t server_port;            /* on 127.0.0.1, in host order */
	int listener, wake[2];
	pthread_t thread;
};

/* Listens on 127.0.0.1 and relays to server_port there, until relay_stop(). Returns its own port; aborts if it cannot. */
uint16_t relay_start(struct relay *r, uint16_t server_port, uint32_t pace);
void relay_stop(struct relay *r);

#endif
