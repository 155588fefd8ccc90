#ifndef SERVICES_ECHO_ECHO_H
#define SERVICES_ECHO_ECHO_H

#include <ambrosia/svcproto.h>

struct echo {
	struct svcproto *sp;
	unsigned sessions;  /* so far: a resource for clients that want none */
};

/* Everything the echo service does; `arg` of svcproto_new() is a struct echo. log, linked and refused are the program's to add. */
void echo_set_callbacks(struct svcproto_callbacks *cb);

#endif
