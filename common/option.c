/*
 * One table for each program: a flag's default, its environment variable and its value on the command line all go through the same
 * reader, the later replacing the earlier. Nothing here returns an error: wrong usage is told in one line, with how to mend it.
 */
#include "common/option.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>

#include "common/err.h"
#include "common/log.h"
#include "common/option_help.h"

enum { WRONG_USAGE = 2 };

/* Where a value came from, for messages: the flag or the variable. */
struct source {
	const struct option_program *prog;
	const struct option_def *def;
	const char *name;
};

void option_wrong(const struct option_program *prog, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s: %s\n", prog->name, text);
	exit(WRONG_USAGE);
}

static void *field(const struct option_def *d, void *out)
{
	return (char *)out + d->offset;
}

static const struct option_def *find_def(const struct option_program *prog, struct slice flag)
{
	for (const struct option_def *d = prog->defs; d->flag; d++) {
		if (slice_is(flag, d->flag))
			return d;
	}
	return NULL;
}

static void list_clear(struct option_list *list)
{
	for (size_t i = 0; i < list->nr; i++)
		free(list->v[i]);
	free(list->v);
	*list = (struct option_list){0};
}

static void list_add(struct option_list *list, struct slice item)
{
	list->v = mem_resize(list->v, (list->nr + 1) * sizeof *list->v);
	list->v[list->nr++] = mem_slicedup(item);
}

static void list_split(struct option_list *list, const char *text)
{
	static const char separators[] = " \t,";

	while (*text) {
		size_t n = strcspn(text, separators);

		if (n != 0)
			list_add(list, (struct slice){text, n});
		text += n + strspn(text + n, separators);
	}
}

/* Decimal digits only: no sign, no space, nothing after them. */
int option_read_number(const char *text, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -ERR_SYNTAX;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno != 0 ? -ERR_LIMIT : *end != '\0' ? -ERR_SYNTAX : 0;
}

int option_read_addr(const char *text, struct option_addr *out)
{
	const char *colon = strrchr(text, ':');
	bool six = text[0] == '[';
	unsigned char binary[sizeof(struct in6_addr)];
	uint64_t port;

	*out = (struct option_addr){0};
	if (strcmp(text, "none") == 0) {
		out->none = true;
		return 0;
	}
	if (colon == NULL || option_read_number(colon + 1, &port) < 0 || port > UINT16_MAX)
		return -ERR_SYNTAX;
	struct slice host = {text, (size_t)(colon - text)};
	if (six) {
		if (host.n < 2 || host.p[host.n - 1] != ']')
			return -ERR_SYNTAX;
		host = (struct slice){host.p + 1, host.n - 2};
	}
	if (host.n == 0 || host.n >= sizeof out->host)
		return -ERR_SYNTAX;
	memcpy(out->host, host.p, host.n);
	out->port = (uint16_t)port;
	return inet_pton(six ? AF_INET6 : AF_INET, out->host, binary) == 1 ? 0 : -ERR_SYNTAX;
}

bool option_is_endpoint(const char *text)
{
	static const char host_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:[]*";
	const char *host = text + strlen("tcp://"), *colon = strrchr(text, ':');
	uint64_t port;

	if (strncmp(text, "tcp://", strlen("tcp://")) != 0 || colon <= host || strspn(host, host_letters) < (size_t)(colon - host))
		return false;
	return strcmp(colon, ":*") == 0 || (option_read_number(colon + 1, &port) == 0 && port <= UINT16_MAX);
}

static void set_text(char **to, const char *text)
{
	free(*to);
	*to = mem_strdup(text);
}

static void set_number(const struct source *from, const char *text, uint64_t *out)
{
	const struct option_def *d = from->def;
	uint64_t max = d->max ? d->max : UINT64_MAX;

	if (option_read_number(text, out) < 0 || *out < d->min || *out > max)
		option_wrong(from->prog, "%s wants a number from %llu to %llu, not \"%s\"", from->name, (unsigned long long)d->min,
			     (unsigned long long)max, text);
}

static void set_value(const struct source *from, const char *text, void *out)
{
	void *to = field(from->def, out);

	switch (from->def->type) {
	case OPTION_STRING:
		set_text(to, text);
		break;
	case OPTION_ENDPOINT:
		if (!option_is_endpoint(text))
			option_wrong(from->prog, "%s wants tcp://HOST:PORT, not \"%s\"", from->name, text);
		set_text(to, text);
		break;
	case OPTION_LIST:
		list_add(to, slice_str(text));
		break;
	case OPTION_NUMBER:
		set_number(from, text, to);
		break;
	case OPTION_LISTEN:
		if (option_read_addr(text, to) < 0)
			option_wrong(from->prog, "%s wants a numeric ADDR:PORT such as 0.0.0.0:5222 or [::]:5222, or none; not \"%s\"",
				     from->name, text);
		break;
	case OPTION_SWITCH:
		if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
			option_wrong(from->prog, "%s wants yes or no, not \"%s\"", from->name, text);
		*(bool *)to = text[0] == 'y';
		break;
	case OPTION_LEVEL:
		if (log_level_parse(slice_str(text), to) < 0)
			option_wrong(from->prog, "%s wants error, warn, info or debug, not \"%s\"", from->name, text);
		break;
	}
}

/* A default or a variable: one text for the whole field. */
static void set_whole(const struct source *from, const char *text, void *out)
{
	if (from->def->type != OPTION_LIST) {
		set_value(from, text, out);
		return;
	}
	list_clear(field(from->def, out));
	list_split(field(from->def, out), text);
}

static void clear_fields(const struct option_program *prog, void *out)
{
	static const size_t sizes[] = {
		[OPTION_STRING] = sizeof(char *),
		[OPTION_ENDPOINT] = sizeof(char *),
		[OPTION_LIST] = sizeof(struct option_list),
		[OPTION_NUMBER] = sizeof(uint64_t),
		[OPTION_LISTEN] = sizeof(struct option_addr),
		[OPTION_LEVEL] = sizeof(enum log_level),
		[OPTION_SWITCH] = sizeof(bool),
	};

	for (const struct option_def *d = prog->defs; d->flag; d++)
		memset(field(d, out), 0, sizes[d->type]);
}

static void take_defaults(const struct option_program *prog, void *out)
{
	for (const struct option_def *d = prog->defs; d->flag; d++) {
		if (d->def)
			set_whole(&(struct source){prog, d, d->flag}, d->def, out);
	}
}

static void take_environment(const struct option_program *prog, void *out)
{
	for (const struct option_def *d = prog->defs; d->flag; d++) {
		char name[OPTION_ENV_MAX];
		const char *value;

		if (!option_has_env(prog, d))
			continue;
		option_env_name(d, name);
		value = getenv(name);
		if (value && value[0]) /* container files set empty variables to mean none */
			set_whole(&(struct source){prog, d, name}, value, out);
	}
}

struct line {
	char **argv;
	int argc, at;
	const struct option_program *prog;
	void *out;
	bool print_config;
	bool *seen; /* one for each row: the first use of a list replaces what the variable or the default said */
};

static void take_flag(struct line *l, const char *arg)
{
	struct slice flag = {arg, strcspn(arg, "=")};
	const struct option_def *d = find_def(l->prog, flag);
	const char *value = arg[flag.n] == '=' ? arg + flag.n + 1 : NULL;

	if (d == NULL)
		option_wrong(l->prog, "unknown flag \"" SLICE_FMT "\": %s --help lists them", SLICE_ARG(flag), l->prog->name);
	if (value == NULL && d->type == OPTION_SWITCH)
		value = "yes";
	if (value == NULL) {
		/* a value that looks like a flag is a value that was forgotten; --flag=--value says it is meant */
		if (l->at >= l->argc || strncmp(l->argv[l->at], "--", 2) == 0)
			option_wrong(l->prog, "%s needs a value: %s %s", d->flag, d->flag, d->arg);
		value = l->argv[l->at++];
	}
	bool *seen = &l->seen[d - l->prog->defs];
	if (d->type == OPTION_LIST && !*seen)
		list_clear(field(d, l->out));
	*seen = true;
	set_value(&(struct source){l->prog, d, d->flag}, value, l->out);
}

/* Flags that need nothing else to be right, so they win over anything wrong after them. */
static bool take_special(struct line *l, const char *arg)
{
	if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
		option_print_help(l->prog);
		exit(0);
	}
	if (strcmp(arg, "--version") == 0) {
		printf("%s %s\n", l->prog->name, AMBROSIA_VERSION);
		exit(0);
	}
	if (strcmp(arg, "--print-config") == 0)
		return l->print_config = true;
	return false;
}

/* Positional arguments move to the front of argv; returns how many there are. */
static int take_arguments(struct line *l, bool positional)
{
	int nr_rest = 0;
	bool flags = true;

	while (l->at < l->argc) {
		char *arg = l->argv[l->at++];

		if (flags && strcmp(arg, "--") == 0) {
			flags = false;
		} else if (!flags || arg[0] != '-' || arg[1] == '\0') {
			if (!positional)
				option_wrong(l->prog, "\"%s\" is not expected: every setting has a flag, see %s --help", arg,
					     l->prog->name);
			l->argv[1 + nr_rest++] = arg;
		} else if (!take_special(l, arg)) {
			take_flag(l, arg);
		}
	}
	return nr_rest;
}

void option_parse(const struct option_program *prog, void *out, int argc, char **argv, char ***rest, int *nr_rest)
{
	size_t nr_defs = 0;

	while (prog->defs[nr_defs].flag)
		nr_defs++;
	struct line l = {.argv = argv, .argc = argc, .at = 1, .prog = prog, .out = out, .seen = mem_alloc(nr_defs * sizeof(bool))};

	clear_fields(prog, out);
	take_defaults(prog, out);
	take_environment(prog, out);
	int nr = take_arguments(&l, rest != NULL);
	free(l.seen);
	if (l.print_config) {
		option_print_config(prog, out);
		option_free(prog, out);
		exit(0);
	}
	if (rest) {
		*rest = argv + 1;
		*nr_rest = nr;
	}
}

void option_free(const struct option_program *prog, void *out)
{
	for (const struct option_def *d = prog->defs; d->flag; d++) {
		char **text = field(d, out);

		if (d->type == OPTION_STRING || d->type == OPTION_ENDPOINT) {
			free(*text);
			*text = NULL;
		} else if (d->type == OPTION_LIST) {
			list_clear(field(d, out));
		}
	}
}
