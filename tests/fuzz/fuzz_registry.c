/*
 * What the registry's protocol takes in: authorised keys, messages at the registry's table and at a member's directory, and a directory's
 * file. The first byte chooses; messages come as [length u16][bytes]. Broken ones are refused, and what is shown is what the keys permit.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "registry/table.h"
#include "svcproto/directory_keep.h"
#include "svcproto/regmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) ((cond) ? (void)0 : abort())

static const char keys[] = "# serial 7\n"
			   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa service example.org:client,server *.example.org:server\n"
			   "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb service *:client\n"
			   "gggggggggggggggggggggggggggggggggggggggg gateway\n"
			   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx admin\n";

static void fuzz_keys(const uint8_t *p, size_t n)
{
	char why[100];
	struct keyset *k = keyset_parse((const char *)p, n, why, sizeof(why));

	if (k == NULL)
		REQUIRE(memchr(why, '\0', sizeof(why)) != NULL && strchr(why, '\n') == NULL);
	for (size_t i = 0; i < keyset_nr_keys(k); i++) {
		enum directory_role role;
		const char *key = keyset_key(k, i, &role);

		REQUIRE(role != DIR_ROLE_NONE && keyset_role(k, key) == role);
		REQUIRE(role == DIR_ROLE_SERVICE || !keyset_may(k, key, "example.org", SVCPROTO_CLIENT));
	}
	REQUIRE(!keyset_loses_key(k, k));
	keyset_free(k);
}

/* The next message's bytes, in memory of their own, so that a read behind them shows. */
static uint8_t *next_message(const uint8_t **p, size_t *n, size_t *length)
{
	uint8_t *m;

	if (*n < 2)
		return NULL;
	*length = (size_t)(*p)[0] << 8 | (*p)[1];
	*p += 2;
	*n -= 2;
	*length = *length < *n ? *length : *n;
	m = malloc(*length + 1);
	memcpy(m, *p, *length);
	*p += *length;
	*n -= *length;
	return m;
}

static void on_changed(void *arg, const struct entry *e)
{
	static struct reg_message m;

	(void)arg;
	reg_begin(&m, 1, 1);
	REQUIRE(reg_put_entry(&m, e)); /* whatever was let in can be published */
}

static void announce(struct registry_table *t, struct reg_frame *f, uint64_t now)
{
	static const char *const users[] = { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
					     "gggggggggggggggggggggggggggggggggggggggg" };
	struct entry seen;
	uint64_t version;
	char why[300];

	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		if (f->type == REG_ENTRY)
			(void)registry_table_announce(t, users[i], &f->e, now, &seen, why, sizeof(why));
		else if (f->type == REG_RENEW)
			(void)registry_table_renew(t, users[i], &f->e.owner, f->e.incarnation, now, &version);
	}
	(void)registry_table_tick(t, now);
}

static void feed(struct directory *d, const struct reg_frame *f, unsigned source, uint64_t now)
{
	if (f->type == REG_ENTRY)
		(void)directory_feed_entry(d, source, &f->e, now);
	else if (f->type == REG_KEYS)
		(void)directory_feed_keys(d, source, f);
	else if (f->type == REG_SNAPSHOT)
		directory_feed_begin(d, source);
	else if (f->type == REG_SNAPSHOT_END)
		directory_feed_end(d, source, f->up_ms, now);
	else if (f->type == REG_BEAT)
		directory_feed_lost(d, source);
	(void)directory_feed_tick(d, now);
}

static void check_shown(const struct directory *d)
{
	const struct entry *e = NULL;

	while ((e = directory_feed_next(d, e)) != NULL)
		REQUIRE(directory_role(d, e->key) == (e->kind == DIR_GATEWAY ? DIR_ROLE_GATEWAY : DIR_ROLE_SERVICE));
}

static void fuzz_messages(const uint8_t *p, size_t n)
{
	static const struct registry_table_ops ops = { .changed = on_changed };
	static struct reg_frame f;
	struct registry_table *t = registry_table_new(&ops, NULL);
	struct directory *d = directory_new(NULL, NULL);
	struct reg_frame k = { .serial = 7, .parts = 1, .keys = keys, .keys_n = sizeof(keys) - 1 };
	char why[100];
	uint64_t now = 0;
	uint8_t *m;
	size_t length;

	registry_table_set_keys(t, keyset_parse(keys, sizeof(keys) - 1, why, sizeof(why)), 0);
	REQUIRE(directory_feed_keys(d, 0, &k) == 0);
	while ((m = next_message(&p, &n, &length)) != NULL) {
		const uint8_t *at = m;
		struct wire_batch b;

		now += 1000;
		if (reg_header(&at, &length, &b) == 0) {
			now += b.number % 100000;
			while (reg_next(&at, &length, &f) > 0) {
				announce(t, &f, now);
				feed(d, &f, b.epoch % REG_SOURCES, now);
			}
		}
		check_shown(d);
		free(m);
	}
	registry_table_free(t);
	directory_free(d);
}

struct bytes {
	uint8_t b[1u << 20];
	size_t n;
};

static bool put(void *arg, const void *p, size_t n)
{
	struct bytes *b = arg;

	if (n > sizeof(b->b) - b->n)
		return false;
	memcpy(b->b + b->n, p, n);
	b->n += n;
	return true;
}

/* What is read from a file and written again is read to the same. */
static void fuzz_file(const uint8_t *p, size_t n)
{
	static struct bytes first, second;
	struct directory *d = directory_new(NULL, NULL), *again = directory_new(NULL, NULL);

	first.n = second.n = 0;
	if (directory_keep_read(d, p, n, 0) == 0 && directory_keep_write(d, put, &first)) {
		REQUIRE(directory_keep_read(again, first.b, first.n, 0) == 0);
		REQUIRE(directory_keep_write(again, put, &second));
		REQUIRE(first.n == second.n && memcmp(first.b, second.b, first.n) == 0);
	}
	check_shown(d);
	directory_free(d);
	directory_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 3 == 0)
		fuzz_keys(data + 1, size - 1);
	else if (data[0] % 3 == 1)
		fuzz_messages(data + 1, size - 1);
	else
		fuzz_file(data + 1, size - 1);
	return 0;
}
