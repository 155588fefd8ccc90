#include "commands_int.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"
#include "common/option.h"
#include "role/blocks.h"
#include "route/backoff.h"
#include "stream/close.h"

/* The commands that change something, but for drains (commands_drain.c). Each says in the log what was done. */

#define LOOKED_AT_A_TURN 256u

/* --- kick ----------------------------------------------------------------- */

struct kicking {
	struct walking w;            /* first */
	const char *condition;       /* static */
	char text[256];
	uint64_t nr;
};

static bool kick_step(struct admin_request *q)
{
	struct kicking *k = q->data;
	struct row r = {.nr = 0};

	for (unsigned i = 0; i < LOOKED_AT_A_TURN; i++) {
		struct edge *e = edge_walk_next(&k->w.walk);

		if (e == NULL) {
			log_info("admin", 0, "kick", "streams=%llu", (unsigned long long)k->nr);
			row_add_number(&r, "kicked", k->nr);
			walking_free(q);
			admin_done(q, r.v, r.nr);
			return true;
		}
		if (!filter_takes(&k->w.filter, e))
			continue;
		stream_close_with(e->stream, k->condition, k->text[0] ? k->text : NULL);
		edge_kick(e);
		k->nr++;
	}
	return false;
}

void command_kick(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	const char *condition = admin_arg(a, "condition"), *text = admin_arg(a, "text");
	struct kicking *k;

	if (!admin_arg(a, "jid") && !admin_arg(a, "domain") && !admin_arg(a, "role") && !admin_arg(a, "stream")) {
		admin_fail(q, "say whom: jid, domain, role or stream");
		return;
	}
	if (condition != NULL && strcmp(close_stream_condition(condition), condition) != 0) {
		admin_fail(q, "condition is none of RFC 6120 section 4.9.3");
		return;
	}
	if (!walking_begin(c, q, a, sizeof *k))
		return;
	k = q->data;
	k->condition = close_stream_condition(condition ? condition : "policy-violation");
	snprintf(k->text, sizeof k->text, "%s", text ? text : "");
	admin_list(links_admin(c->o.env->links), q, kick_step);
}

/* --- log level ------------------------------------------------------------ */

void command_log_level(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	const char *name = admin_arg(a, "level"), *before = log_level_name(log_get_level());
	struct row r = {.nr = 0};
	enum log_level level;

	(void)c;
	if (name == NULL || log_level_parse(slice_str(name), &level) != 0) {
		admin_fail(q, "level is error, warn, info or debug");
		return;
	}
	log_set_level(level);
	log_info("admin", 0, "log-level", "before=%s now=%s", before, name);
	row_add(&r, "before", before);
	row_add(&r, "log-level", name);
	admin_done(q, r.v, r.nr);
}

/* --- reload --------------------------------------------------------------- */

void command_reload(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	(void)a;
	if (c->o.ops->reload(c->o.arg, q->id) != 0)
		admin_fail(q, "the process is stopping");
}

void commands_reloaded(struct commands *c, uint64_t request, const char *error)
{
	struct admin_request *q = admin_find(links_admin(c->o.env->links), request);

	if (q == NULL)
		return;
	if (error != NULL)
		admin_fail(q, "%s", error);
	else
		admin_done(q, NULL, 0);
}

/* --- blocks --------------------------------------------------------------- */

static uint64_t now_of(const struct commands *c)
{
	return loop_now_ms(c->o.env->loop);
}

struct cutting {
	struct walking w;            /* first */
	uint64_t nr;
};

static bool peer_address(const struct edge *e, struct sockaddr_storage *out)
{
	struct sockaddr_in *four = (struct sockaddr_in *)out;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	const char *text = e->conn != NULL ? conn_peer_text(e->conn) : "";

	*out = (struct sockaddr_storage){.ss_family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET};
	return inet_pton(out->ss_family, text, out->ss_family == AF_INET6 ? (void *)&six->sin6_addr : &four->sin_addr) == 1;
}

static bool is_blocked(struct role_env *env, const struct edge *e)
{
	struct sockaddr_storage address;
	const char *peer = e->kind != STREAM_C2S && e->stream != NULL ? stream_peer_domain(e->stream) : NULL;
	uint64_t now = loop_now_ms(env->loop);

	if (e->stream == NULL || e->ended)
		return false;
	return (peer_address(e, &address) && blocks_address(env->blocks, (struct sockaddr *)&address, now)) ||
	       (peer != NULL && blocks_domain(env->blocks, peer, now));
}

/* Who is here already and is blocked now has to go. */
static bool cut_step(struct admin_request *q)
{
	struct cutting *k = q->data;
	struct row r = {.nr = 0};

	for (unsigned i = 0; i < LOOKED_AT_A_TURN; i++) {
		struct edge *e = edge_walk_next(&k->w.walk);

		if (e == NULL) {
			row_add_number(&r, "closed", k->nr);
			walking_free(q);
			admin_done(q, r.v, r.nr);
			return true;
		}
		if (is_blocked(k->w.walk.env, e)) {
			edge_close(e, CLOSE_POLICY);
			k->nr++;
		}
	}
	return false;
}

static bool is_ours(const struct commands *c, const char *target)
{
	char *domain = jid_prep_domain(slice_str(target));
	bool ours = domain != NULL && directory_is_local(c->o.env->directory, domain);

	free(domain);
	return ours;
}

void command_block(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	static const struct admin_args no_filter = {NULL, 0};
	const char *target = admin_arg(a, "target"), *seconds = admin_arg(a, "seconds");
	uint64_t s = 0, now = now_of(c);
	int err;

	if (seconds != NULL && (option_read_number(seconds, &s) != 0 || s == 0 || s > 10 * 365 * 86400)) {
		admin_fail(q, "seconds is a number of seconds, ten years at most");
		return;
	}
	if (target == NULL || is_ours(c, target)) {
		admin_fail(q, "%s", target == NULL ? "target is missing: an address, a range or a remote domain" :
						     "that domain is one of this cluster's; take its registration away instead");
		return;
	}
	err = blocks_add(c->o.env->blocks, slice_str(target), s > 0 ? now + s * 1000 : UINT64_MAX, now);
	if (err == -ERR_LIMIT)
		admin_fail(q, "%u targets are blocked already; unblock some, or give a wider range", BLOCKS_MAX);
	else if (err != 0)
		admin_fail(q, "target is no address, no range (with no bits set beyond its length) and no domain");
	if (err != 0)
		return;
	log_info("admin", 0, "block", "target=%s seconds=%llu", log_escape(slice_str(target)), (unsigned long long)s);
	if (walking_begin(c, q, &no_filter, sizeof(struct cutting)))
		admin_list(links_admin(c->o.env->links), q, cut_step);
}

void command_unblock(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	const char *target = admin_arg(a, "target");
	int err = target != NULL ? blocks_remove(c->o.env->blocks, slice_str(target)) : -ERR_INVALID;

	if (err == -ERR_NOTFOUND) {
		admin_fail(q, "that target is not blocked here");
	} else if (err != 0) {
		admin_fail(q, "target is no address, no range and no domain");
	} else {
		log_info("admin", 0, "unblock", "target=%s", log_escape(slice_str(target)));
		/* That its streams broke off was our doing: it may be dialled at once. */
		backoff_worked(c->o.env->backoff, target);
		admin_done(q, NULL, 0);
	}
}

struct telling_blocks {
	struct admin_request *q;
	uint64_t now, nr;
};

static void tell_block(void *arg, const char *target, uint64_t until_ms)
{
	struct telling_blocks *t = arg;
	struct row r = {.nr = 0};

	row_add(&r, "target", target);
	if (until_ms != UINT64_MAX)
		row_add_number(&r, "seconds", (until_ms - t->now + 999) / 1000);
	admin_row(t->q, r.v, r.nr);
	t->nr++;
}

void command_blocks(struct commands *c, struct admin_request *q, const struct admin_args *a)
{
	struct telling_blocks t = {.q = q, .now = now_of(c)};
	struct row r = {.nr = 0};

	(void)a;
	blocks_each(c->o.env->blocks, t.now, tell_block, &t);
	row_add_number(&r, "rows", t.nr);
	admin_done(q, r.v, r.nr);
}
