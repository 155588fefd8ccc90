#include "tests/unit/im/fake.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SENT_MAX = 16384 };

static int op_accept(void *arg, void *link, const char *full_jid)
{
	struct client *c = link;
	(void)arg;
	snprintf(c->jid, sizeof c->jid, "%s", full_jid);
	return 0;
}

static int op_refuse(void *arg, void *link, const char *type, const char *condition, const char *text)
{
	struct client *c = link;
	(void)arg, (void)type, (void)text;
	snprintf(c->refused, sizeof c->refused, "%s", condition);
	c->open = false;
	return 0;
}

static int op_close(void *arg, void *link, const char *condition, const char *text)
{
	struct client *c = link;
	(void)arg, (void)text;
	snprintf(c->closed, sizeof c->closed, "%s", condition ? condition : "");
	return 0;
}

static void note(struct fake *f, struct client *to, const char *from_domain, const char *to_domain, const char *xml, size_t n,
		 uint64_t cookie)
{
	ASSERT(f->nr_sent < SENT_MAX);
	struct sent *s = &f->sent[f->nr_sent++];
	*s = (struct sent){.to = to, .n = n, .cookie = cookie, .xml = mem_slicedup((struct slice){xml, n})};
	snprintf(s->from_domain, sizeof s->from_domain, "%s", from_domain);
	snprintf(s->to_domain, sizeof s->to_domain, "%s", to_domain);
}

static int op_send(void *arg, void *link, const char *xml, size_t n, uint64_t cookie)
{
	struct client *c = link;
	if (!c->open)
		return SVCPROTO_E_CLOSED;
	if (n > ((struct fake *)arg)->stanza_max)
		return SVCPROTO_E_INVALID;
	if (c->room == 0)
		return SVCPROTO_E_FULL;
	c->room--;
	note(arg, c, "", "", xml, n, cookie);
	return 0;
}

static int op_send_server(void *arg, const char *from_domain, const char *to_domain, const char *xml, size_t n, uint64_t cookie)
{
	struct fake *f = arg;
	if (n > f->stanza_max)
		return SVCPROTO_E_INVALID;
	if (f->server_room == 0)
		return SVCPROTO_E_FULL;
	f->server_room--;
	note(f, NULL, from_domain, to_domain, xml, n, cookie);
	return 0;
}

static void op_ack(void *arg, uint64_t ticket)
{
	struct fake *f = arg;
	ASSERT(!fake_acked(f, ticket) && ticket <= f->ticket && f->nr_acks < ARRAY_LEN(f->acks));
	if (f->watch_table)
		f->rows_at_ack = fake_rows(f, f->watch_table);
	f->acks[f->nr_acks++] = ticket;
}

static bool op_is_here(void *arg, const char *bare_jid, unsigned char instance[16])
{
	struct fake *f = arg;
	bool here = f->unknown || !f->away || strcmp(f->away, bare_jid) != 0;
	memset(instance, 0, 16);
	instance[0] = f->unknown ? 0 : here ? 0xff : f->away_to;
	return here;
}

static int op_send_peer(void *arg, const char *bare_jid, const char *xml, size_t n, uint64_t cookie)
{
	note(arg, NULL, "peer", bare_jid, xml, n, cookie);
	return 0;
}

static const struct im_ops ops = {op_accept, op_refuse, op_close, op_send, op_send_server, op_ack, NULL, NULL};
static const struct im_ops ops_several = {op_accept, op_refuse, op_close, op_send, op_send_server, op_ack, op_is_here, op_send_peer};

static void start(struct fake *f)
{
	char *domains[] = {(char[]){"a.example"}, (char[]){"b.example"}};
	char why[256] = "", database[128];
	snprintf(database, sizeof database, "%s%s", f->shared ? "shared=" : "", f->path);
	f->server_room = f->servers_full ? 0 : SIZE_MAX;
	f->stanza_max = SIZE_MAX;
	f->im = im_new(database, domains, 2, &f->limits, f->several ? &ops_several : &ops, f, why, sizeof why);
	if (!f->im) {
		fprintf(stderr, "cannot open %s: %s\n", f->path, why);
		exit(1);
	}
	fake_begin(f);
	im_linked(f->im);
	fake_end(f);
}

void fake_open(struct fake *f)
{
	*f = (struct fake){.limits = im_limits_default, .now_ms = 1000000};
	snprintf(f->dir, sizeof f->dir, "/tmp/im-test-XXXXXX");
	f->sent = mem_alloc(SENT_MAX * sizeof *f->sent); /* never moves: tests keep pointers into it */
	ASSERT(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/im.sqlite", f->dir);
	start(f);
}

static void forget(struct fake *f)
{
	for (size_t i = 0; i < f->nr_sent; i++)
		free(f->sent[i].xml);
	f->nr_sent = 0;
	f->nr_clients = 0;
	f->in_turn = false;
}

void fake_crash(struct fake *f)
{
	im_free(f->im);
	forget(f);
	start(f);
}

void fake_close(struct fake *f)
{
	static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
	char name[128];
	im_free(f->im);
	forget(f);
	free(f->sent);
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		snprintf(name, sizeof name, "%s%s", f->path, endings[i]);
		unlink(name);
	}
	rmdir(f->dir);
}

void fake_begin(struct fake *f)
{
	im_turn_begin(f->im, f->now_ms, 1700000000 + (int64_t)(f->now_ms / 1000));
	f->in_turn = true;
}

void fake_end(struct fake *f)
{
	f->in_turn = false;
	f->end_err = im_turn_end(f->im, &f->next_ms);
}

/* Begins a turn if the caller has not; true: ours to end. */
static bool turn(struct fake *f)
{
	bool ours = !f->in_turn;
	if (ours)
		fake_begin(f);
	return ours;
}

static void turn_done(struct fake *f, bool ours)
{
	if (ours)
		fake_end(f);
}

void fake_wait(struct fake *f, uint64_t ms)
{
	f->now_ms += ms;
	turn_done(f, turn(f));
}

struct client *fake_login(struct fake *f, const char *bare, const char *resource)
{
	ASSERT(f->nr_clients < ARRAY_LEN(f->clients));
	struct client *c = &f->clients[f->nr_clients++];
	struct svcproto_open o = {
		.bare_jid = bare, .resource = resource, .mechanism = "SCRAM-SHA-256", .address = "192.0.2.1", .secure = true};
	*c = (struct client){.fake = f, .room = SIZE_MAX, .open = true};
	bool ours = turn(f);
	c->session = im_session_open(f->im, c, &o);
	turn_done(f, ours);
	return c;
}

struct client *fake_online(struct fake *f, const char *bare, const char *resource, int priority)
{
	struct client *c = fake_login(f, bare, resource);
	char xml[512];
	snprintf(xml, sizeof xml, "<presence xmlns='jabber:client' from='%s'><priority>%d</priority></presence>", c->jid, priority);
	fake_from(c, xml);
	fake_deliver_all(f);
	fake_read_all(f);
	return c;
}

void fake_logout(struct client *c)
{
	struct fake *f = c->fake;
	bool ours = turn(f);
	c->open = false; /* as svcproto does: first what never arrived comes back, then the session ends */
	for (size_t i = 0; i < f->nr_sent; i++) {
		if (f->sent[i].to == c && !f->sent[i].answered)
			fake_undeliverable(f, &f->sent[i], "wait", "recipient-unavailable");
	}
	im_session_closed(c->session);
	c->session = NULL;
	turn_done(f, ours);
}

static uint64_t stanza(struct fake *f, struct client *c, const char *remote, bool peer, const char *xml)
{
	struct svcproto_stanza st = {.xml = xml, .length = strlen(xml), .remote_domain = remote, .peer = peer, .ticket = ++f->ticket};
	bool ours = turn(f);
	im_stanza(f->im, c ? c->session : NULL, &st);
	turn_done(f, ours);
	return st.ticket;
}

uint64_t fake_from(struct client *c, const char *xml)
{
	return stanza(c->fake, c, NULL, false, xml);
}

uint64_t fake_from_server(struct fake *f, const char *remote, const char *xml)
{
	return stanza(f, NULL, remote, false, xml);
}

uint64_t fake_from_peer(struct fake *f, const char *domain, const char *xml)
{
	return stanza(f, NULL, domain, true, xml);
}

bool fake_acked(const struct fake *f, uint64_t ticket)
{
	for (size_t i = 0; i < f->nr_acks; i++) {
		if (f->acks[i] == ticket)
			return true;
	}
	return false;
}

struct sent *fake_next(struct fake *f, struct client *c)
{
	for (size_t i = 0; i < f->nr_sent; i++) {
		if (f->sent[i].to != c || f->sent[i].read)
			continue;
		f->sent[i].read = true;
		return &f->sent[i];
	}
	return NULL;
}

size_t fake_unread(struct fake *f, struct client *c)
{
	size_t n = 0;
	for (size_t i = 0; i < f->nr_sent; i++)
		n += f->sent[i].to == c && !f->sent[i].read;
	return n;
}

void fake_read_all(struct fake *f)
{
	for (size_t i = 0; i < f->nr_sent; i++)
		f->sent[i].read = true;
}

void fake_delivered(struct fake *f, struct sent *s)
{
	bool ours = turn(f);
	ASSERT(!s->answered);
	s->answered = true;
	if (s->to && s->to->room < SIZE_MAX)
		s->to->room++;
	im_delivered(f->im, s->cookie);
	turn_done(f, ours);
}

void fake_undeliverable(struct fake *f, struct sent *s, const char *type, const char *condition)
{
	bool ours = turn(f);
	ASSERT(!s->answered);
	s->answered = true;
	im_undeliverable(f->im, s->cookie, type, condition, s->xml, s->n);
	turn_done(f, ours);
}

void fake_deliver_all(struct fake *f)
{
	for (size_t i = 0; i < f->nr_sent; i++) {
		if (!f->sent[i].answered)
			fake_delivered(f, &f->sent[i]);
	}
}

bool fake_got(struct fake *f, struct client *c, ...)
{
	va_list args;
	const char *word;
	bool all = true;
	struct sent *s = fake_next(f, c);
	if (!s) {
		fprintf(stderr, "nothing was sent to %s\n", c ? c->jid : "a server");
		return false;
	}
	va_start(args, c);
	while ((word = va_arg(args, const char *))) {
		if (!strstr(s->xml, word)) {
			fprintf(stderr, "no «%s» in %s\n", word, s->xml);
			all = false;
		}
	}
	va_end(args);
	return all;
}

size_t fake_rows(struct fake *f, const char *table)
{
	sqlite3 *db;
	sqlite3_stmt *st;
	char sql[128];
	size_t n = SIZE_MAX;
	snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
	if (sqlite3_open(f->path, &db) == SQLITE_OK && sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK) {
		if (sqlite3_step(st) == SQLITE_ROW)
			n = (size_t)sqlite3_column_int64(st, 0);
		sqlite3_finalize(st);
	}
	sqlite3_close(db);
	return n;
}

void fake_stored(struct fake *f, const char *bare, const char *xml)
{
	sqlite3 *db;
	char *sql =
	    sqlite3_mprintf("INSERT INTO offline (owner, at, xml) SELECT id, 0, CAST(%Q AS BLOB) FROM users WHERE jid = %Q", xml, bare);
	ASSERT(sqlite3_open(f->path, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK && sqlite3_changes(db) == 1);
	sqlite3_free(sql);
	sqlite3_close(db);
}
