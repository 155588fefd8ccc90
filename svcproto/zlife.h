#ifndef SVCPROTO_ZLIFE_H
#define SVCPROTO_ZLIFE_H

#include <stdbool.h>

/* A socket's connections end when their peer is silent for five seconds. Set before bind and connect. */
bool zlife_set(void *zmq_socket);

#endif
