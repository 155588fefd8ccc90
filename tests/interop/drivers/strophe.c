/*
 * libstrophe, unmodified, under the commands of lib/peer.py. It takes the strongest mechanism that it is offered, so the one in the login
 * is only what the test expects.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strophe.h>
#include <unistd.h>

#define ROSTER "jabber:iq:roster"
#define DISCO "http://jabber.org/protocol/disco#info"
#define PING "urn:xmpp:ping"

enum { FIELDS = 6, POLL_MS = 10 };

static xmpp_ctx_t *ctx;
static xmpp_conn_t *conn;
static unsigned nr_requests;

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

static xmpp_stanza_t *element(const char *name, const char *ns)
{
	xmpp_stanza_t *s = xmpp_stanza_new(ctx);
	xmpp_stanza_set_name(s, name);
	if (ns)
		xmpp_stanza_set_ns(s, ns);
	return s;
}

static void attribute(xmpp_stanza_t *s, const char *name, const char *value)
{
	if (*value)
		xmpp_stanza_set_attribute(s, name, value);
}

static void adopt(xmpp_stanza_t *parent, xmpp_stanza_t *child)
{
	xmpp_stanza_add_child(parent, child);
	xmpp_stanza_release(child);
}

static void add_text(xmpp_stanza_t *parent, const char *name, const char *text)
{
	if (!*text)
		return;
	xmpp_stanza_t *child = element(name, NULL), *inner = xmpp_stanza_new(ctx);
	xmpp_stanza_set_text(inner, text);
	adopt(child, inner);
	adopt(parent, child);
}

static void send_off(xmpp_stanza_t *s)
{
	xmpp_send(conn, s);
	xmpp_stanza_release(s);
}

/* Prints a child's text, or nothing, and the field's end. */
static void say_text(xmpp_stanza_t *s, const char *name, char end)
{
	xmpp_stanza_t *child = xmpp_stanza_get_child_by_name(s, name);
	char *text = child ? xmpp_stanza_get_text(child) : NULL;
	printf("%s%c", or_empty(text), end);
	if (text)
		xmpp_free(ctx, text);
}

static const char *condition(xmpp_stanza_t *s)
{
	xmpp_stanza_t *error = xmpp_stanza_get_child_by_name(s, "error");
	xmpp_stanza_t *child = error ? xmpp_stanza_get_children(error) : NULL;
	return child ? or_empty(xmpp_stanza_get_name(child)) : "";
}

static void say_item(const char *event, xmpp_stanza_t *item, bool group)
{
	static const char *const names[] = {"jid", "subscription", "ask", "name"};
	printf("%s", event);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		printf("\t%s", or_empty(xmpp_stanza_get_attribute(item, names[i])));
	printf("\t");
	if (group)
		say_text(item, "group", '\n');
	else
		printf("\n");
}

static void say_items(const char *event, xmpp_stanza_t *iq, bool group)
{
	xmpp_stanza_t *query = xmpp_stanza_get_child_by_name(iq, "query"), *item = query ? xmpp_stanza_get_children(query) : NULL;
	for (; item; item = xmpp_stanza_get_next(item))
		say_item(event, item, group);
}

static int on_presence(xmpp_conn_t *c, xmpp_stanza_t *s, void *arg)
{
	(void)c, (void)arg;
	printf("presence\t%s\t%s\t", or_empty(xmpp_stanza_get_from(s)), or_empty(xmpp_stanza_get_type(s)));
	say_text(s, "show", '\t');
	printf("%s\n", condition(s));
	return 1;
}

static int on_message(xmpp_conn_t *c, xmpp_stanza_t *s, void *arg)
{
	(void)c, (void)arg;
	xmpp_stanza_t *delay = xmpp_stanza_get_child_by_name_and_ns(s, "delay", "urn:xmpp:delay");
	printf("message\t%s\t%s\t", or_empty(xmpp_stanza_get_from(s)), or_empty(xmpp_stanza_get_type(s)));
	say_text(s, "body", '\t');
	printf("%s\t%s\n", delay ? or_empty(xmpp_stanza_get_attribute(delay, "stamp")) : "", condition(s));
	return 1;
}

static int on_set(xmpp_conn_t *c, xmpp_stanza_t *s, void *arg)
{
	(void)c, (void)arg;
	if (xmpp_stanza_get_child_by_ns(s, ROSTER))
		say_items("push", s, false);
	xmpp_stanza_t *answer = xmpp_iq_new(ctx, "result", or_empty(xmpp_stanza_get_id(s)));
	send_off(answer);
	return 1;
}

/* XEP-0199: peers ping us too. */
static int on_ping(xmpp_conn_t *c, xmpp_stanza_t *s, void *arg)
{
	(void)c, (void)arg;
	xmpp_stanza_t *answer = xmpp_stanza_reply(s);
	xmpp_stanza_set_type(answer, "result");
	send_off(answer);
	return 1;
}

/* A request and what its answer means. */
struct request {
	char *to;
	void (*told)(xmpp_stanza_t *iq, const char *to);
};

static int on_answer(xmpp_conn_t *c, xmpp_stanza_t *iq, void *arg)
{
	struct request *r = arg;
	(void)c;
	if (strcmp(or_empty(xmpp_stanza_get_type(iq)), "result") == 0)
		r->told(iq, r->to);
	else
		printf("iq-error\t%s\t%s\n", r->to, condition(iq));
	free(r->to);
	free(r);
	return 0;
}

static void ask(const char *type, const char *to, xmpp_stanza_t *child, const char *name, void (*told)(xmpp_stanza_t *iq, const char *to))
{
	char id[32];
	struct request *r = malloc(sizeof *r);
	snprintf(id, sizeof id, "q%u", ++nr_requests);
	*r = (struct request){strdup(name), told};
	xmpp_stanza_t *iq = xmpp_iq_new(ctx, type, id);
	attribute(iq, "to", to);
	adopt(iq, child);
	xmpp_id_handler_add(conn, on_answer, id, r);
	send_off(iq);
}

static void told_roster(xmpp_stanza_t *iq, const char *to)
{
	(void)to;
	say_items("item", iq, true);
	printf("roster\n");
}

static void told_done(xmpp_stanza_t *iq, const char *to)
{
	(void)iq;
	printf("done\t%s\n", to);
}

static void told_pong(xmpp_stanza_t *iq, const char *to)
{
	(void)iq;
	printf("pong\t%s\n", to);
}

static void told_disco(xmpp_stanza_t *iq, const char *to)
{
	xmpp_stanza_t *query = xmpp_stanza_get_child_by_name(iq, "query");
	xmpp_stanza_t *identity = query ? xmpp_stanza_get_child_by_name(query, "identity") : NULL;
	if (!identity)
		return;
	printf("disco\t%s\t%s/%s\t", to, xmpp_stanza_get_attribute(identity, "category"), xmpp_stanza_get_attribute(identity, "type"));
	for (xmpp_stanza_t *n = xmpp_stanza_get_children(query); n; n = xmpp_stanza_get_next(n))
		printf("%s ", or_empty(xmpp_stanza_get_attribute(n, "var")));
	printf("\n");
}

static void on_event(xmpp_conn_t *c, xmpp_conn_event_t event, int error, xmpp_stream_error_t *stream_error, void *arg)
{
	static bool online;
	(void)stream_error, (void)arg;
	if (event == XMPP_CONN_CONNECT) {
		online = xmpp_conn_is_secured(c);
		printf("%s\t%s\n", online ? "online" : "refused", online ? xmpp_conn_get_bound_jid(c) : "not encrypted");
	} else if (online) {
		printf("closed\n");
	} else {
		printf("refused\t%d\n", error);
	}
}

static int on_bad_certificate(const xmpp_tlscert_t *cert, const char *why)
{
	(void)cert;
	printf("refused\tcertificate: %s\n", why);
	return 0;
}

static void do_login(char **f)
{
	xmpp_conn_set_jid(conn, f[0]);
	xmpp_conn_set_pass(conn, f[1]);
	xmpp_conn_set_flags(conn, XMPP_CONN_FLAG_MANDATORY_TLS);
	xmpp_conn_set_cafile(conn, getenv("INTEROP_CA"));
	xmpp_conn_set_certfail_handler(conn, on_bad_certificate);
	xmpp_handler_add(conn, on_presence, NULL, "presence", NULL, NULL);
	xmpp_handler_add(conn, on_message, NULL, "message", NULL, NULL);
	xmpp_handler_add(conn, on_set, ROSTER, "iq", "set", NULL);
	xmpp_handler_add(conn, on_ping, PING, "iq", "get", NULL);
	if (xmpp_connect_client(conn, f[2], (unsigned short)strtoul(f[3], NULL, 10), on_event, NULL) != XMPP_EOK)
		printf("refused\tno connection\n");
}

static void do_roster(char **f)
{
	(void)f;
	ask("get", "", element("query", ROSTER), "", told_roster);
}

static void do_add(char **f)
{
	xmpp_stanza_t *query = element("query", ROSTER), *item = element("item", NULL);
	attribute(item, "jid", f[0]);
	attribute(item, "name", f[1]);
	add_text(item, "group", f[2]);
	adopt(query, item);
	ask("set", "", query, f[0], told_done);
}

static void do_remove(char **f)
{
	xmpp_stanza_t *query = element("query", ROSTER), *item = element("item", NULL);
	attribute(item, "jid", f[0]);
	attribute(item, "subscription", "remove");
	adopt(query, item);
	ask("set", "", query, f[0], told_done);
}

static void do_presence(char **f)
{
	xmpp_stanza_t *p = xmpp_presence_new(ctx);
	attribute(p, "type", f[0]);
	attribute(p, "to", f[1]);
	add_text(p, "show", f[2]);
	add_text(p, "priority", f[3]);
	send_off(p);
}

static void do_message(char **f)
{
	xmpp_stanza_t *m = xmpp_message_new(ctx, f[1], f[0], NULL);
	xmpp_message_set_body(m, f[2]);
	send_off(m);
}

static void do_ping(char **f)
{
	ask("get", f[0], element("ping", PING), f[0], told_pong);
}

static void do_disco(char **f)
{
	ask("get", f[0], element("query", DISCO), f[0], told_disco);
}

static void do_close(char **f)
{
	(void)f;
	xmpp_disconnect(conn);
}

static const struct {
	const char *verb;
	void (*run)(char **fields);
} commands[] = {
	{"login", do_login},       {"roster", do_roster},   {"add", do_add},   {"remove", do_remove}, {"presence", do_presence},
	{"message", do_message},   {"ping", do_ping},       {"disco", do_disco}, {"close", do_close},
};

static void command(char *line)
{
	char *verb = strsep(&line, "\t"), *fields[FIELDS];
	for (size_t i = 0; i < FIELDS; i++) {
		char *field = strsep(&line, "\t");
		fields[i] = field ? field : "";
	}
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (strcmp(verb, commands[i].verb) == 0)
			commands[i].run(fields);
	}
}

/* What stdin holds, line by line; false at its end. */
static bool read_commands(void)
{
	static char text[65536];
	static size_t used;
	ssize_t n = read(STDIN_FILENO, text + used, sizeof text - used);
	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	used += (size_t)n;
	char *end;
	while ((end = memchr(text, '\n', used))) {
		size_t length = (size_t)(end + 1 - text);
		*end = 0;
		command(text);
		used -= length;
		memmove(text, text + length, used);
	}
	return used < sizeof text;
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	xmpp_initialize();
	ctx = xmpp_ctx_new(NULL, xmpp_get_default_logger(XMPP_LEVEL_WARN));
	conn = xmpp_conn_new(ctx);
	while (read_commands())
		xmpp_run_once(ctx, POLL_MS);
	xmpp_conn_release(conn);
	xmpp_ctx_free(ctx);
	xmpp_shutdown();
	return 0;
}
