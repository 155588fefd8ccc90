/* What an option table looks like to a reader: --help, wrapped for a terminal, and --print-config, one line for each value in force. */
#include "common/option_help.h"

#include <ctype.h>
#include <inttypes.h>

#include "common/log.h"

enum { WIDTH = 79, INDENT = 8 };

void option_env_name(const struct option_def *d, char name[OPTION_ENV_MAX])
{
	int n = snprintf(name, OPTION_ENV_MAX, "AMBROSIA_%s", d->flag + 2);

	ASSERT(n > 0 && n < OPTION_ENV_MAX);
	for (; *name; name++)
		*name = *name == '-' ? '_' : (char)toupper((unsigned char)*name);
}

bool option_has_env(const struct option_program *prog, const struct option_def *d)
{
	if (prog->env == NULL)
		return true;
	for (const char *const *p = prog->env; *p; p++) {
		if (strcmp(*p, d->flag) == 0)
			return true;
	}
	return false;
}

/* Words of `text`, indented, in lines that fit; a word longer than a line gets one of its own. */
static void print_wrapped(const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t n = strcspn(text, " ");

		if (column != 0 && column + 1 + n > WIDTH) {
			putchar('\n');
			column = 0;
		}
		if (column == 0)
			column = (size_t)printf("%*s%.*s", INDENT, "", (int)n, text);
		else
			column += (size_t)printf(" %.*s", (int)n, text);
		text += n;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static const char *default_text(const struct option_def *d)
{
	return d->def_text ? d->def_text : d->def ? d->def : NULL;
}

static void print_flag(const struct option_program *prog, const struct option_def *d)
{
	char env[OPTION_ENV_MAX], facts[512];
	const char *def = default_text(d);

	option_env_name(d, env);
	printf("  %s%s%s%s\n", d->flag, d->arg ? " " : "", d->arg ? d->arg : "", d->type == OPTION_LIST ? " ..." : "");
	print_wrapped(d->help);
	if (!option_has_env(prog, d) && def)
		snprintf(facts, sizeof facts, "[default: %s]", def);
	else if (!option_has_env(prog, d))
		return;
	else if (def)
		snprintf(facts, sizeof facts, "[default: %s; environment: %s]", def, env);
	else
		snprintf(facts, sizeof facts, "[environment: %s]", env);
	print_wrapped(facts);
}

void option_print_help(const struct option_program *prog)
{
	printf("%s - %s\n\nUsage: %s [flag ...]%s%s\n\n", prog->name, prog->summary, prog->name, prog->arguments ? " " : "",
	       prog->arguments ? prog->arguments : "");
	if (prog->notes)
		puts(prog->notes);
	for (const struct option_def *d = prog->defs; d->flag; d++)
		print_flag(prog, d);
	puts("  --print-config");
	print_wrapped("print the values in force, one in a line, and exit");
	puts("  --version");
	print_wrapped("print the version and exit");
	puts("  --help");
	print_wrapped("print this and exit");
	puts("\nA flag wins over its environment variable, and that over the default. A flag with \"...\" may be\n"
	     "given more than once; its variable takes several values with commas or spaces between them.");
}

static void print_addr(const char *flag, const struct option_addr *a)
{
	if (a->none || a->host[0] == '\0')
		printf("%s none\n", flag);
	else
		printf(strchr(a->host, ':') ? "%s [%s]:%u\n" : "%s %s:%u\n", flag, a->host, a->port);
}

/* Nothing given and no default that is plain text: what the program will choose, in words. */
static void print_unset(const struct option_def *d)
{
	const char *def = default_text(d);

	printf("%s (%s)\n", d->flag, def ? def : "not set");
}

static void print_list(const struct option_def *d, const struct option_list *list)
{
	if (list->nr == 0)
		print_unset(d);
	for (size_t i = 0; i < list->nr; i++)
		printf("%s %s\n", d->flag, list->v[i]);
}

void option_print_config(const struct option_program *prog, const void *out)
{
	for (const struct option_def *d = prog->defs; d->flag; d++) {
		const void *at = (const char *)out + d->offset;

		switch (d->type) {
		case OPTION_STRING:
		case OPTION_ENDPOINT:
			if (*(char *const *)at)
				printf("%s %s\n", d->flag, *(char *const *)at);
			else
				print_unset(d);
			break;
		case OPTION_LIST:
			print_list(d, at);
			break;
		case OPTION_NUMBER:
			if (*(const uint64_t *)at == 0 && d->def == NULL)
				print_unset(d);
			else
				printf("%s %" PRIu64 "\n", d->flag, *(const uint64_t *)at);
			break;
		case OPTION_LISTEN:
			print_addr(d->flag, at);
			break;
		case OPTION_SWITCH:
			printf("%s %s\n", d->flag, *(const bool *)at ? "yes" : "no");
			break;
		case OPTION_LEVEL:
			printf("%s %s\n", d->flag, log_level_name(*(const enum log_level *)at));
			break;
		}
	}
}
