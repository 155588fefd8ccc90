#include "commands_int.h"

#include "common/option.h"
#include "role/drain.h"

/* drain and undrain. How far a drain is, `status` tells: connections that are left. */

#define SECONDS_DEFAULT 30u
#define SECONDS_MAX 86400u

void command_drain(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	const char *text = admin_arg(a, "seconds");
	uint64_t seconds = SECONDS_DEFAULT;
	struct row r = {.nr = 0};

	if (text != NULL && (option_read_number(text, &seconds) != 0 || seconds > SECONDS_MAX)) {
		admin_fail(q, "seconds is a number of seconds, a day at most");
		return;
	}
	drain_begin(c->o.env->drain, (unsigned)seconds * 1000);
	row_add_number(&r, "connections", c->o.env->nr_edges);
	admin_done(q, r.v, r.nr);
}

void command_undrain(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	struct row r = {.nr = 0};

	(void)a;
	if (c->o.env->leaving) {
		admin_fail(q, "the gateway is about to end: nothing takes that back");
		return;
	}
	drain_end(c->o.env->drain);
	row_add_number(&r, "connections", c->o.env->nr_edges);
	admin_done(q, r.v, r.nr);
}
