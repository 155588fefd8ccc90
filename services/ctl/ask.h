#ifndef SERVICES_CTL_ASK_H
#define SERVICES_CTL_ASK_H

/* One question to every gateway worker that is meant, and what they answer. */

#include "common/option.h"
#include "services/ctl/rows.h"

struct ask_gateway {
	char *id, *endpoint, *public_host;
	uint32_t load, room;
	uint16_t client_port; /* 0: it takes no clients */
	bool draining, linked;
	bool has_room;        /* it said one */
	bool chosen;          /* is asked */
	bool asked, done;
	char *error;          /* of its answer, or why there is none */
};

struct ask {
	struct svcproto *sp;
	uint64_t patience_ms;
	struct ask_gateway *gateways;
	size_t nr_gateways;
	struct rows rows;     /* the lists, all gateways' together; the first column is `gateway`, an id */
	struct rows ends;     /* a summary for each gateway that answered without an error */
	char refused[256];    /* what the registry or a gateway said no to, "" for nothing */
};

struct ask_options {
	const char *registry, *key_file, *state_dir;
	const struct option_list *gateways;  /* public hosts, endpoints or beginnings of ids; none: all */
	bool no_gateways;     /* the registries alone are meant: no gateway is waited for */
	unsigned patience_seconds;
};

/* Finds the gateways and links to those that are meant. False: nothing can be asked; `refused` says why. */
bool ask_begin(struct ask *a, const struct ask_options *o);
/* Asks them all and waits. `ends` and `rows` are of this question alone. False when any of them failed. */
bool ask_all(struct ask *a, const char *command, const struct svcproto_property *args, size_t nr);
/* One line on standard error for each gateway that failed. */
void ask_print_errors(const struct ask *a, const char *program);
/* Runs the library until the condition holds: true; or a time has passed. */
bool ask_wait(struct ask *a, bool (*holds)(struct ask *a), uint64_t limit_ms);
void ask_end(struct ask *a);

#endif
