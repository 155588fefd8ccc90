/*
 * redirect set, remove and list. Redirects are the registries' (svcproto/PROTOCOL.md, section 12): no gateway is asked. A change is over
 * when every registry has answered, and made when one has taken it: one that is down learns of it from nobody, and is waited for shortly.
 */
#include <stdio.h>
#include <stdlib.h>

#include "services/ctl/commands.h"
#include "xml/jid.h"

#define DEFAULT_SECONDS 86400u
#define SECONDS_MAX 2592000u /* 30 days, as the protocol has it */
#define OTHERS_MS 1000u      /* for the registries after the first */

/* As the registries name it: a bare JID or a domain, prepared; owned. Ends the process when it is neither. */
static char *name_of(const struct ctl *c, const char *text)
{
	struct jid jid;
	char *name = NULL;

	if (strchr(text, '@') == NULL) {
		name = jid_prep_domain(slice_str(text));
	} else if (jid_parse(&jid, slice_str(text)) == 0) {
		if (!slice_empty(jid.local) && slice_empty(jid.resource))
			name = mem_slicedup(jid.bare);
		jid_clear(&jid);
	}
	if (name == NULL)
		option_wrong(c->program, "redirect: \"%s\" is neither a user, as alice@example.org, nor a domain", text);
	return name;
}

static bool is_refused(const struct ask *a)
{
	return a->refused[0] != '\0';
}

static bool is_noted(struct ask *a)
{
	return is_refused(a) || svcproto_nr_redirects_unheard(a->sp) == 0;
}

static bool is_over(struct ask *a)
{
	return is_refused(a) || svcproto_nr_redirects_pending(a->sp) == 0;
}

/* Waits for the registries' answers to the only change of this process. The exit status. */
static int wait_noted(struct ctl *c, int error)
{
	struct ask *a = &c->ask;

	if (error != 0) {
		fprintf(stderr, "%s: redirect: %s\n", c->program->name, svcproto_strerror(error));
		return 1;
	}
	if (!ask_wait(a, is_noted, a->patience_ms)) {
		fprintf(stderr, "%s: redirect: no registry has answered in time\n", c->program->name);
		return 1;
	}
	if (!ask_wait(a, is_over, OTHERS_MS))
		fprintf(stderr, "%s: redirect: not every registry has answered; gateways know by those that have\n", c->program->name);
	if (is_refused(a))
		fprintf(stderr, "%s: redirect: %s\n", c->program->name, a->refused);
	return is_refused(a) ? 1 : 0;
}

/* --- what there is -------------------------------------------------------- */

static const struct column columns[] = {{"who", "WHO", COLUMN_TEXT}, {"host", "HOST", COLUMN_TEXT}, {"seconds", "FOR", COLUMN_SECONDS}};

static void put(struct rows *rows, const char *who, const char *host, uint64_t seconds)
{
	struct row *r = rows_add(rows);

	row_put(r, "who", who);
	row_put(r, "host", host);
	row_put_number(r, "seconds", seconds);
}

struct listing {
	struct rows rows;
	const char *domain;   /* of this one alone; NULL: all */
};

static void on_redirect(void *arg, const struct svcproto_redirect *r)
{
	struct listing *l = arg;
	const char *at = strchr(r->who, '@');

	if (l->domain == NULL || strcmp(at != NULL ? at + 1 : r->who, l->domain) == 0)
		put(&l->rows, r->who, r->host, r->seconds);
}

static int list(struct ctl *c)
{
	char *domain = c->o.domain != NULL ? jid_prep_domain(slice_str(c->o.domain)) : NULL;
	struct listing l = {.domain = domain};

	if (c->o.domain != NULL && domain == NULL)
		option_wrong(c->program, "redirect list: \"%s\" is no domain", c->o.domain);
	(void)svcproto_each_redirect(c->ask.sp, on_redirect, &l); /* a registry's snapshot is in force */
	rows_sort(&l.rows, "who");
	ctl_show(c, &l.rows, columns, ARRAY_LEN(columns));
	rows_clear(&l.rows);
	free(domain);
	return 0;
}

/* --- what changes --------------------------------------------------------- */

static void say(struct ctl *c, const char *who, const char *host, uint64_t seconds)
{
	struct rows r = {0};

	if (c->o.json) {
		put(&r, who, host, seconds);
		ctl_show(c, &r, columns, ARRAY_LEN(columns));
		rows_clear(&r);
	} else {
		printf("%s is sent to %s for %llu seconds\n", who, host, (unsigned long long)seconds);
	}
}

static int set(struct ctl *c)
{
	uint64_t seconds = c->o.seconds > 0 ? c->o.seconds : DEFAULT_SECONDS;
	const char *host = c->args[2];
	char *who;
	int error, status;

	if (seconds > SECONDS_MAX)
		option_wrong(c->program, "redirect set: --for takes at most %u seconds", SECONDS_MAX);
	who = name_of(c, c->args[1]);
	error = svcproto_set_redirect(c->ask.sp, who, host, (uint32_t)seconds);
	if (error == SVCPROTO_E_INVALID)
		option_wrong(c->program, "redirect set: \"%s\" is no host, as gw2.example.org, 192.0.2.7:5222 or [2001:db8::1]:5222", host);
	status = wait_noted(c, error);
	if (status == 0)
		say(c, who, host, seconds);
	free(who);
	return status;
}

/* One that no registry knows is removed too: gateways may still hold what registries lost when they started again. */
static int take_away(struct ctl *c)
{
	char *who = name_of(c, c->args[1]);
	int status = wait_noted(c, svcproto_remove_redirect(c->ask.sp, who));

	if (status == 0 && c->o.json)
		ctl_show(c, &(struct rows){0}, columns, ARRAY_LEN(columns));
	else if (status == 0)
		printf("%s is redirected no more\n", who);
	free(who);
	return status;
}

int command_redirect(struct ctl *c)
{
	static const struct {
		const char *name;
		int nr_args;
		int (*run)(struct ctl *c);
	} verbs[] = {{"set", 3, set}, {"remove", 2, take_away}, {"list", 1, list}};

	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		if (strcmp(c->args[0], verbs[i].name) == 0 && c->nr_args == verbs[i].nr_args)
			return verbs[i].run(c);
	}
	option_wrong(c->program, "redirect set USER|DOMAIN HOST[:PORT], redirect remove USER|DOMAIN, or redirect list");
}
