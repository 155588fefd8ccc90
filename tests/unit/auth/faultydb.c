/* An auxprop plugin for the tests: who asks about hang.example (but not for its user "quick") waits for a byte in the pipe that
 * FAULTYDB_HOLD names by its descriptor, about down.example gets an error, about null.example what SQL makes of NULL (for its user "word"
 * the word, else the empty text), about keeper@a.example a stored key, about anybody else hears that there is no such user. */
#include <sasl/sasl.h>
/* needs sasl.h before it */
#include <sasl/saslplug.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the password "sesame", computed apart. */
#define KEY "SCRAM-SHA-256$4096:c3RvcmVkIHNhbHQgMDAxNg==$" \
	    "fPs/1oKoeQ14/cMXio4oi730tmVtNrUTz/+GaMsr/qU=:jS9nhHMrUEOwdSl241r5mlDJFLTlXQHPBrApazQuOGA="

static int ends_with(const char *user, unsigned n, const char *end)
{
	size_t len = strlen(end);

	return n >= len && memcmp(user + n - len, end, len) == 0;
}

/* name NULL: all that are asked for. */
static int set(sasl_server_params_t *sparams, const char *name, const char *value)
{
	const struct propval *v = sparams->utils->prop_get(sparams->propctx);

	for (; v && v->name; v++)
		if (!name || strcmp(v->name, name) == 0)
			sparams->utils->prop_set(sparams->propctx, v->name, value, -1);
	return SASL_OK;
}

static void wait_for_a_byte(void)
{
	int fd = (int)strtol(getenv("FAULTYDB_HOLD"), NULL, 10);
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
}

static int lookup(void *ctx, sasl_server_params_t *sparams, unsigned flags, const char *user, unsigned n)
{
	(void)ctx;
	(void)flags;
	if (ends_with(user, n, "@hang.example") && !ends_with(user, n, "quick@hang.example"))
		wait_for_a_byte();
	if (ends_with(user, n, "@null.example"))
		return set(sparams, NULL, ends_with(user, n, "word@null.example") ? "NULL" : "");
	if (ends_with(user, n, "keeper@a.example"))
		return set(sparams, "*authPassword", KEY);
	return ends_with(user, n, "@down.example") ? SASL_UNAVAIL : ends_with(user, n, "@off.example") ? SASL_DISABLED : SASL_NOUSER;
}

__attribute__((visibility("default"))) int sasl_auxprop_plug_init(const sasl_utils_t *utils, int max, int *version,
								  sasl_auxprop_plug_t **plug, const char *name);

int sasl_auxprop_plug_init(const sasl_utils_t *utils, int max, int *version, sasl_auxprop_plug_t **plug, const char *name)
{
	static char ours[] = "faultydb";
	static sasl_auxprop_plug_t p = {.auxprop_lookup = lookup, .name = ours};

	(void)utils;
	(void)max;
	(void)name;
	*version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &p;
	return SASL_OK;
}
