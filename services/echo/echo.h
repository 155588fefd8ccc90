#ifndef SERVICES_ECHO_ECHO_H
#define SERVICES_ECHO_ECHO_H

#include <ambrosia/svcproto.h>

/* Everything the echo service does; `arg` of svcproto_new() is where the struct svcproto * stands. log, linked and refused are the
 * program's to add. */
extern const struct svcproto_callbacks echo_callbacks;

#endif
