/*
 * The library's side of ambrosiactl: waits, with a limit, for the registry's list, for the links, and for the answers. A gateway that the
 * registry still knows but that does not link in time is a failure, and is named.
 */
#include "services/ctl/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/daemon.h"

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool ask_wait(struct ask *a, bool (*holds)(struct ask *a), uint64_t limit_ms)
{
	uint64_t end = now_ms() + limit_ms;

	while (!holds(a)) {
		struct pollfd p = {.fd = svcproto_fd(a->sp), .events = POLLIN};
		uint64_t now = now_ms();

		if (now >= end)
			return false;
		if (poll(&p, 1, (int)(end - now)) < 0 && errno != EINTR)
			return false;
		(void)svcproto_dispatch(a->sp);
	}
	return true;
}

/* --- who is there --------------------------------------------------------- */

static struct ask_gateway *gateway_by_id(struct ask *a, const char *id)
{
	for (size_t i = 0; i < a->nr_gateways; i++) {
		if (strcmp(a->gateways[i].id, id) == 0)
			return &a->gateways[i];
	}
	return NULL;
}

static void on_gateway(void *arg, const struct svcproto_gateway *g)
{
	struct ask *a = arg;
	struct ask_gateway *mine = gateway_by_id(a, g->id);

	if (mine == NULL) {
		a->gateways = mem_resize(a->gateways, (a->nr_gateways + 1) * sizeof *a->gateways);
		mine = &a->gateways[a->nr_gateways++];
		*mine = (struct ask_gateway){.id = mem_strdup(g->id), .endpoint = mem_strdup(g->endpoint),
					     .public_host = mem_strdup(g->public_host ? g->public_host : "")};
	}
	mine->load = g->load;
	mine->has_room = g->has_room;
	mine->room = g->room;
	mine->client_port = g->client_port;
	mine->draining = g->draining;
	mine->linked = g->linked;
}

static bool is_synced(struct ask *a)
{
	return a->refused[0] != '\0' || svcproto_each_gateway(a->sp, NULL, NULL) >= 0;
}

static bool all_linked(struct ask *a)
{
	(void)svcproto_each_gateway(a->sp, on_gateway, a);
	for (size_t i = 0; i < a->nr_gateways; i++) {
		if (a->gateways[i].chosen && !a->gateways[i].linked)
			return false;
	}
	return true;
}

static bool is_meant(const struct ask_gateway *g, const char *name)
{
	return strcmp(name, g->public_host) == 0 || strcmp(name, g->endpoint) == 0 ||
	       (strlen(name) >= 4 && strncmp(name, g->id, strlen(name)) == 0);
}

static void choose(struct ask *a, const struct option_list *names)
{
	for (size_t n = 0; n < names->nr; n++) {
		bool found = false;

		for (size_t i = 0; i < a->nr_gateways; i++) {
			if (is_meant(&a->gateways[i], names->v[n]))
				found = a->gateways[i].chosen = true;
		}
		if (!found)
			daemon_die("no gateway %s: `ambrosiactl gateways` lists them", names->v[n]);
	}
	for (size_t i = 0; names->nr == 0 && i < a->nr_gateways; i++)
		a->gateways[i].chosen = true;
}

/* --- the library's callbacks ---------------------------------------------- */

static void on_refused(void *arg, const char *what)
{
	struct ask *a = arg;

	if (a->refused[0] == '\0')
		snprintf(a->refused, sizeof a->refused, "%s", what);
}

static const struct svcproto_callbacks callbacks = {.refused = on_refused};

bool ask_begin(struct ask *a, const struct ask_options *o)
{
	struct svcproto_options so = {.registry = o->registry, .key_file = o->key_file, .state_dir = o->state_dir, .name = "ambrosiactl"};
	int error = 0;

	*a = (struct ask){.patience_ms = o->patience_seconds * UINT64_C(1000)};
	a->sp = svcproto_new(&so, &callbacks, a, &error);
	if (a->sp == NULL) {
		snprintf(a->refused, sizeof a->refused, "%s", svcproto_strerror(error));
		return false;
	}
	if (!ask_wait(a, is_synced, a->patience_ms) || svcproto_each_gateway(a->sp, on_gateway, a) < 0) {
		if (a->refused[0] == '\0')
			snprintf(a->refused, sizeof a->refused, "no registry answers");
		return false;
	}
	if (!o->no_gateways)
		choose(a, o->gateways);
	(void)ask_wait(a, all_linked, a->patience_ms);
	return true;
}

/* --- questions ------------------------------------------------------------ */

static void on_reply(void *arg, const struct svcproto_reply *r)
{
	struct ask *a = arg;
	struct ask_gateway *g = gateway_by_id(a, r->gateway);
	struct row *row;

	if (g == NULL)
		return;
	if (r->error != NULL) {
		free(g->error);
		g->error = mem_strdup(r->error);
	} else {
		row = rows_add(r->more ? &a->rows : &a->ends);
		row_put(row, "gateway", g->id);
		for (size_t i = 0; i < r->nr; i++)
			row_put(row, r->properties[i].name, r->properties[i].value);
	}
	g->done = !r->more;
}

static bool all_done(struct ask *a)
{
	for (size_t i = 0; i < a->nr_gateways; i++) {
		if (a->gateways[i].asked && !a->gateways[i].done)
			return false;
	}
	return true;
}

static void forget_answers(struct ask *a)
{
	rows_clear(&a->rows);
	rows_clear(&a->ends);
	for (size_t i = 0; i < a->nr_gateways; i++) {
		free(a->gateways[i].error);
		a->gateways[i].error = NULL;
		a->gateways[i].asked = a->gateways[i].done = false;
	}
}

/* Starts again with every part that arrives: a long list may take longer than patience, silence may not. */
static void wait_for_answers(struct ask *a)
{
	size_t before;

	do {
		before = a->rows.nr + a->ends.nr;
		if (ask_wait(a, all_done, a->patience_ms))
			return;
	} while (a->rows.nr + a->ends.nr > before);
}

bool ask_all(struct ask *a, const char *command, const struct svcproto_property *args, size_t nr)
{
	bool ok = true;

	forget_answers(a);
	for (size_t i = 0; i < a->nr_gateways; i++) {
		struct ask_gateway *g = &a->gateways[i];
		int error = g->chosen && g->linked ? svcproto_admin(a->sp, g->id, command, args, nr, on_reply, a) : SVCPROTO_E_CLOSED;

		if (!g->chosen)
			continue;
		g->asked = error == 0;
		if (error == SVCPROTO_E_CLOSED)
			g->error = mem_strdup(a->refused[0] ? a->refused : "no link came to be in time");
		else if (error != 0)
			g->error = mem_strdup(svcproto_strerror(error));
	}
	wait_for_answers(a);
	for (size_t i = 0; i < a->nr_gateways; i++) {
		struct ask_gateway *g = &a->gateways[i];

		if (g->asked && !g->done)
			g->error = mem_strdup("no answer in time");
		ok = ok && g->error == NULL;
	}
	return ok;
}

void ask_print_errors(const struct ask *a, const char *program)
{
	for (size_t i = 0; i < a->nr_gateways; i++) {
		const struct ask_gateway *g = &a->gateways[i];

		if (g->error != NULL)
			fprintf(stderr, "%s: gateway %s (%.8s): %s\n", program, g->public_host, g->id, g->error);
	}
}

void ask_end(struct ask *a)
{
	svcproto_free(a->sp);
	forget_answers(a);
	for (size_t i = 0; i < a->nr_gateways; i++) {
		free(a->gateways[i].id);
		free(a->gateways[i].endpoint);
		free(a->gateways[i].public_host);
	}
	free(a->gateways);
	*a = (struct ask){0};
}
