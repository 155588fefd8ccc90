/* A loop for programs that have none of their own. */
#include "svcproto/client.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

int svcproto_run(struct svcproto *sp)
{
	struct pollfd p = { .fd = sp->epoll_fd, .events = POLLIN };
	int rc = 0;

	while (rc == 0 && !atomic_load(&sp->stopping)) {
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return SVCPROTO_E_INVALID;
		rc = svcproto_dispatch(sp);
	}
	return rc;
}

void svcproto_stop(struct svcproto *sp)
{
	uint64_t one = 1;
	int saved = errno;

	atomic_store(&sp->stopping, true);
	if (write(sp->kick_fd, &one, sizeof(one)) < 0) {
		/* only when the descriptor is readable already */
	}
	errno = saved;
}
