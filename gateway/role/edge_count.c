#include "role/edge_int.h"

#include "common/stat.h"
#include "role/counts.h"

/* Each count goes up once and down once for an edge; its fields say what is counted. */

static void count_managed(struct edge *e, bool managed)
{
	if (managed == e->managed)
		return;
	e->managed = managed;
	stat_add(count_stream_managed(e->kind), managed ? 1 : (uint64_t)-1);
}

void edge_count_begin(struct edge *e)
{
	e->counted = stream_state(e->stream);
	e->env->counts[e->kind][e->counted]++;
	stat_add(count_stream(e->kind, e->counted), 1);
}

void edge_count_end(struct edge *e)
{
	if (e->stream == NULL)
		return;
	e->env->counts[e->kind][e->counted]--;
	stat_add(count_stream(e->kind, e->counted), (uint64_t)-1);
	count_managed(e, false);
}

void edge_count_state(struct edge *e)
{
	enum stream_state state = stream_state(e->stream);

	count_managed(e, stream_managed(e->stream));
	if (state == e->counted)
		return;
	e->env->counts[e->kind][e->counted]--;
	e->env->counts[e->kind][state]++;
	stat_add(count_stream(e->kind, e->counted), (uint64_t)-1);
	stat_add(count_stream(e->kind, state), 1);
	e->counted = state;
	if (state == STREAM_ESTABLISHED && e->conn != NULL)
		conn_settled(e->conn);
}

void edge_count_held(struct edge *e, bool held)
{
	if (e->held != held)
		stat_add(STAT_streams_held, held ? 1 : (uint64_t)-1);
	e->held = held;
}

static size_t held_bytes(const struct edge *e, bool *moved)
{
	return stream_unfinished(e->stream, moved) + kept_bytes(e->kept);
}

void edge_count_kept(struct edge *e)
{
	bool moved;

	halves_set(&e->env->halves, &e->half, held_bytes(e, &moved), false);
}

bool edge_count_unfinished(struct edge *e)
{
	struct halves *all = &e->env->halves;
	bool moved;
	size_t bytes = held_bytes(e, &moved);
	struct half *victim;

	halves_set(all, &e->half, bytes, moved);
	while ((victim = halves_victim(all)) != NULL)
		stream_give_up(container_of(victim, struct edge, half)->stream, CLOSE_UNFINISHED);
	return moved;
}
