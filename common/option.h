#ifndef AMBROSIA_COMMON_OPTION_H
#define AMBROSIA_COMMON_OPTION_H

#include <stdint.h>

#include "common/obj.h"

enum option_type {
	OPTION_STRING,   /* char *, owned */
	OPTION_ENDPOINT, /* char *, owned: tcp://HOST:PORT for 0MQ to bind; HOST may be * or [ADDR6], PORT * or 0 to have one picked */
	OPTION_LIST,     /* struct option_list: may be repeated; the environment's value is split at spaces and commas */
	OPTION_NUMBER,   /* uint64_t within min..max */
	OPTION_LISTEN,   /* struct option_addr: ADDR:PORT, [ADDR6]:PORT, or none */
	OPTION_LEVEL,    /* enum log_level */
	OPTION_SWITCH,   /* bool: the flag alone, without a value; its variable is yes or no */
};

struct option_list {
	char **v;
	size_t nr;
};

struct option_addr {
	bool none;
	char host[64];   /* numeric address, IPv6 without brackets */
	uint16_t port;
};

/* One row for each flag: `--public-host` is also AMBROSIA_PUBLIC_HOST. A row with flag NULL ends the table. */
struct option_def {
	const char *flag;      /* "--public-host" */
	const char *arg;       /* "HOST", for --help */
	enum option_type type;
	size_t offset;         /* of the field in the caller's struct */
	const char *def;       /* default as text, parsed like a value; NULL: field stays zeroed/NULL */
	const char *def_text;  /* what --help shows as the default when def does not say it; or NULL */
	const char *help;      /* one line */
	uint64_t min, max;     /* OPTION_NUMBER */
};

struct option_program {
	const char *name;      /* "ambrosia-gateway" */
	const char *summary;   /* one line for --help */
	const struct option_def *defs;
	const char *arguments; /* for --help, behind the program's name: "COMMAND [ARGUMENT ...]"; NULL: none are taken */
	const char *notes;     /* for --help, before the flags: whole lines; or NULL */
	const char *const *env; /* flags that have a variable, ending with NULL, where others belong to one call only; NULL: all have */
};

/* Fills `out` from defaults, then environment (an empty variable counts as unset), then argv (`--flag VALUE` and `--flag=VALUE`).
 * Handles --help, --version (exit 0) itself, and --print-config when out is complete (prints `flag value` lines, exit 0). Wrong
 * usage: one line on stderr that says what and how to mend it, exit status 2. Positional arguments: refused, unless rest/nr_rest
 * are given (then they are moved to the front of argv). */
void option_parse(const struct option_program *prog, void *out, int argc, char **argv, char ***rest, int *nr_rest);
/* For what only the program can judge (`--domain is needed: …`): one line, exit status 2. */
_Noreturn void option_wrong(const struct option_program *prog, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Decimal digits only, as OPTION_NUMBER reads them. -ERR_SYNTAX, -ERR_LIMIT. */
MUST_CHECK int option_read_number(const char *text, uint64_t *out);
/* ADDR:PORT, [ADDR6]:PORT or none, as OPTION_LISTEN reads it. -ERR_SYNTAX. */
MUST_CHECK int option_read_addr(const char *text, struct option_addr *out);
/* tcp://HOST:PORT, as OPTION_ENDPOINT reads it. */
MUST_CHECK bool option_is_endpoint(const char *text);
void option_free(const struct option_program *prog, void *out);

#endif
