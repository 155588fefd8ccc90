#ifndef GATEWAY_COMMANDS_INT_H
#define GATEWAY_COMMANDS_INT_H

/* What the files of commands share. */

#include "commands.h"
#include "role/edge.h"

struct commands {
	struct commands_options o;
	uint64_t since_ms;
};

/* A row or summary that is being filled; values are copied. */
#define ROW_MAX 32
struct row {
	struct svcproto_property v[ROW_MAX];
	size_t nr, used;
	char text[6144];
};
void row_add(struct row *r, const char *name, const char *value);    /* NULL: left out; cut where it does not fit */
void row_add_slice(struct row *r, const char *name, struct slice value);
void row_add_number(struct row *r, const char *name, uint64_t value);
void row_add_bool(struct row *r, const char *name, bool value);      /* yes or no */
void row_add_id(struct row *r, const char *name, const struct svc_id *id);

/* Reads its arguments and answers, now or later. */
typedef void command_fn(struct commands *c, struct admin_request *q, const struct admin_args *a);

/* commands_act.c */
command_fn command_kick, command_log_level, command_reload, command_block, command_unblock, command_blocks;

/* commands_directory.c */
command_fn command_gateways, command_services;

/* commands_drain.c */
command_fn command_drain, command_undrain;

/* commands_streams.c */
command_fn command_streams;

/* Which streams are meant. */
struct filter {
	struct jid jid;            /* empty: any; bare: all resources */
	char *domain;              /* ours or the peer's, prepared */
	int role;                  /* enum stream_role, -1: any */
	uint64_t id;               /* 0: any */
};
/* False with a line in *wrong: nothing to clear. */
bool filter_init(struct filter *f, const struct admin_args *a, const char **wrong);
void filter_clear(struct filter *f);
bool filter_takes(const struct filter *f, const struct edge *e);

/* A walk over connections, or over the directory, on behalf of a request: first in q->data of every command that walks. */
struct walking {
	bool of_directory;
	struct directory_walk directory;
	struct edge_walk walk;
	struct filter filter;
};
/* Allocates q->data (size bytes, zeroed); false: the request has been answered. */
bool walking_begin(struct commands *c, struct admin_request *q, const struct admin_args *a, size_t size);
void walking_free(struct admin_request *q);

#endif
