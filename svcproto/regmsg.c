/*
 * Encoding and decoding of the registry's frames. What comes in is checked here for form (each property once, of its length, texts in
 * UTF-8, what the type needs is there); whether the sender may say it is the table's and the directory's business.
 */
#include "svcproto/regmsg.h"

#include <string.h>

#include "svcproto/otherhost.h"
#include "svcproto/redirects.h"

enum { KIND, OWNER, INCARNATION, VERSION, KEY, NAME, LEASE, HOST, PUBLIC_HOST, CLIENT_PORT, LOAD, ROOM, TYPES, POLICY, WEIGHT, LOCATE_OPEN,
       CERTIFICATES_ONLY, FAILOVER, DRAINING, REFUSED, COUNT, NUMBER, UP, SERIAL, PART, PARTS, TEXT, SLOT, CURRENT, LEFT, SALT_KEY,
       DIALBACK_KEY, TICKET_KEYS, NR_FIELDS };

/* size: exact for numbers, greatest for texts. */
static const struct field {
	const char *name;
	uint16_t size;
	bool text;
} fields[NR_FIELDS] = {
	[KIND] = { "kind", 4, false },
	[OWNER] = { "owner", 16, false },
	[INCARNATION] = { "incarnation", 8, false },
	[VERSION] = { "version", 8, false },
	[KEY] = { "key", 40, true },
	[NAME] = { "name", REDIRECT_NAME_MAX, true },
	[LEASE] = { "lease-ms", 4, false },
	[HOST] = { "see-other-host", OTHER_HOST_MAX, true },
	[PUBLIC_HOST] = { "public-host", ENTRY_TEXT_MAX, true },
	[CLIENT_PORT] = { "client-port", 4, false },
	[LOAD] = { "load", 4, false },
	[ROOM] = { "room", 4, false },
	[TYPES] = { "types", 4, false },
	[POLICY] = { "policy", 31, true },
	[WEIGHT] = { "weight", 4, false },
	[LOCATE_OPEN] = { "locate-open", 1, false },
	[CERTIFICATES_ONLY] = { "certificates-only", 1, false },
	[FAILOVER] = { "failover", 31, true },
	[DRAINING] = { "draining", 1, false },
	[REFUSED] = { "refused", 255, true },
	[COUNT] = { "count", 8, false },
	[NUMBER] = { "number", 8, false },
	[UP] = { "up-ms", 8, false },
	[SERIAL] = { "serial", 8, false },
	[PART] = { "part", 4, false },
	[PARTS] = { "parts", 4, false },
	[TEXT] = { "text", REG_KEYS_PART, true },
	[SLOT] = { "slot", 8, false },
	[CURRENT] = { "current", 8, false },
	[LEFT] = { "left-ms", 8, false },
	[SALT_KEY] = { "salt-key", REG_SECRET, false },
	[DIALBACK_KEY] = { "dialback-key", REG_SECRET, false },
	[TICKET_KEYS] = { "ticket-keys", REG_TICKET, false },
};

#define F(x) (UINT64_C(1) << (x))
static const struct {
	uint64_t required, optional;
	uint8_t flags;
} rules[] = {
	[REG_ENTRY - REG_ENTRY] = {F(KIND) | F(OWNER) | F(INCARNATION) | F(VERSION) | F(KEY) | F(NAME),
				   F(LEASE) | F(HOST) | F(PUBLIC_HOST) | F(CLIENT_PORT) | F(LOAD) | F(ROOM) |
					   F(TYPES) | F(POLICY) | F(WEIGHT) |
					   F(LOCATE_OPEN) | F(CERTIFICATES_ONLY) | F(FAILOVER) | F(DRAINING),
				   REG_GONE | REG_EXPIRED},
	[REG_NOTED - REG_ENTRY] = {F(KIND) | F(OWNER) | F(INCARNATION) | F(VERSION) | F(NAME), F(REFUSED), 0},
	[REG_RENEW - REG_ENTRY] = {F(OWNER) | F(INCARNATION), 0, 0},
	[REG_RENEWED - REG_ENTRY] = {F(OWNER) | F(INCARNATION) | F(VERSION) | F(COUNT), F(REFUSED), 0},
	[REG_SNAPSHOT - REG_ENTRY] = {0, 0, 0},
	[REG_SNAPSHOT_END - REG_ENTRY] = {F(NUMBER) | F(UP), 0, 0},
	[REG_KEYS - REG_ENTRY] = {F(SERIAL) | F(PART) | F(PARTS) | F(TEXT), 0, 0},
	[REG_BEAT - REG_ENTRY] = {F(UP), 0, 0},
	[REG_SECRETS - REG_ENTRY] = {0, 0, 0},
	[REG_SECRETS_SLOT - REG_ENTRY] = {F(SLOT) | F(CURRENT) | F(LEFT) | F(SALT_KEY) | F(DIALBACK_KEY) | F(TICKET_KEYS), 0, 0},
};

void reg_begin(struct reg_message *m, uint32_t epoch, uint64_t number)
{
	struct wire_batch b = { .version = WIRE_VERSION_MAX, .epoch = epoch, .number = number };

	wire_put_batch(m->b, &b);
	m->n = WIRE_BATCH_HEADER;
}

static void put_number(struct props_writer *w, int field, uint64_t v)
{
	uint8_t b[8];

	wire_put_u64(b, v);
	props_write(w, fields[field].name, b + 8 - fields[field].size, fields[field].size);
}

static void put_text(struct props_writer *w, int field, const char *text)
{
	if (text != NULL)
		props_write(w, fields[field].name, text, strlen(text));
}

static void put_identity(struct props_writer *w, const struct entry *e)
{
	props_write(w, fields[OWNER].name, e->owner.b, sizeof(e->owner.b));
	put_number(w, INCARNATION, e->incarnation);
}

static void put_entry(struct props_writer *w, const struct entry *e)
{
	put_number(w, KIND, e->kind);
	put_identity(w, e);
	put_number(w, VERSION, e->version);
	put_text(w, KEY, e->key);
	put_text(w, NAME, e->name);
	if (e->gone)
		return;
	if (e->lease_ms != 0)
		put_number(w, LEASE, e->lease_ms);
	if (e->draining)
		put_number(w, DRAINING, 1);
	if (e->kind == DIR_GATEWAY) {
		put_text(w, PUBLIC_HOST, e->public_host);
		if (e->client_port != 0)
			put_number(w, CLIENT_PORT, e->client_port);
		put_number(w, LOAD, e->load);
		if (e->has_room)
			put_number(w, ROOM, e->room);
	} else if (e->kind == DIR_REDIRECT) {
		put_text(w, HOST, e->host);
	} else {
		put_number(w, TYPES, e->types);
		put_text(w, POLICY, e->policy);
		put_number(w, WEIGHT, e->weight);
		if (e->locate_open)
			put_number(w, LOCATE_OPEN, 1);
		if (e->certificates_only)
			put_number(w, CERTIFICATES_ONLY, 1);
		if (e->reopens)
			put_text(w, FAILOVER, "reopen");
	}
}

static void put_slot(struct props_writer *w, const struct reg_slot *s)
{
	put_number(w, SLOT, s->number);
	put_number(w, CURRENT, s->current);
	put_number(w, LEFT, s->left_ms);
	props_write(w, fields[SALT_KEY].name, s->salt_key, REG_SECRET);
	props_write(w, fields[DIALBACK_KEY].name, s->dialback_key, REG_SECRET);
	props_write(w, fields[TICKET_KEYS].name, s->ticket_keys, REG_TICKET);
}

static void put_body(struct props_writer *w, const struct reg_frame *f)
{
	switch ((enum reg_type)f->type) {
	case REG_ENTRY:
		put_entry(w, &f->e);
		break;
	case REG_NOTED:
		put_number(w, KIND, f->e.kind);
		put_text(w, NAME, f->e.name);
		__attribute__((fallthrough));
	case REG_RENEWED:
		put_identity(w, &f->e);
		put_number(w, VERSION, f->e.version);
		if (f->type == REG_RENEWED)
			put_number(w, COUNT, f->count);
		put_text(w, REFUSED, f->refused);
		break;
	case REG_RENEW:
		put_identity(w, &f->e);
		break;
	case REG_SNAPSHOT:
	case REG_SECRETS:
		break;
	case REG_SNAPSHOT_END:
		put_number(w, NUMBER, f->number);
		__attribute__((fallthrough));
	case REG_BEAT:
		put_number(w, UP, f->up_ms);
		break;
	case REG_KEYS:
		put_number(w, SERIAL, f->serial);
		put_number(w, PART, f->part);
		put_number(w, PARTS, f->parts);
		props_write(w, fields[TEXT].name, f->keys, f->keys_n);
		break;
	case REG_SECRETS_SLOT:
		put_slot(w, &f->slot);
		break;
	}
}

bool reg_put(struct reg_message *m, const struct reg_frame *f)
{
	struct wire_frame head = { .type = f->type };
	struct props_writer w;
	size_t room = sizeof(m->b) - m->n;

	if (room < WIRE_FRAME_HEADER)
		return false;
	w = (struct props_writer){ .p = m->b + m->n + WIRE_FRAME_HEADER, .max = room - WIRE_FRAME_HEADER };
	put_body(&w, f);
	if (w.overflow)
		return false;
	if (f->type == REG_ENTRY)
		head.flags = (uint8_t)((f->e.gone ? REG_GONE : 0) | (f->e.expired ? REG_EXPIRED : 0) | (f->e.ended ? REG_ENDED : 0));
	head.length = (uint32_t)w.n;
	wire_put_frame(m->b + m->n, &head);
	m->n += WIRE_FRAME_HEADER + w.n;
	return true;
}

bool reg_put_entry(struct reg_message *m, const struct entry *e)
{
	struct reg_frame f;

	f.type = REG_ENTRY;
	f.e = *e;
	return reg_put(m, &f);
}

int reg_header(const uint8_t **p, size_t *n, struct wire_batch *b)
{
	int rc = wire_get_batch(*p, *n, b);

	if (rc != WIRE_OK)
		return rc;
	*p += WIRE_BATCH_HEADER;
	*n -= WIRE_BATCH_HEADER;
	return b->version <= WIRE_VERSION_MAX ? WIRE_OK : WIRE_E_VERSION;
}

static int field_find(const struct props_value *name)
{
	for (int i = 0; i < NR_FIELDS; i++)
		if (strlen(fields[i].name) == name->n && memcmp(fields[i].name, name->p, name->n) == 0)
			return i;
	return -1;
}

static int parse(const uint8_t *p, size_t n, uint64_t required, uint64_t optional, struct props_value v[NR_FIELDS])
{
	struct props_value name, value;
	uint64_t seen = 0;
	int rc;

	memset(v, 0, NR_FIELDS * sizeof(*v));
	while ((rc = props_next(&p, &n, &name, &value)) > 0) {
		int i = field_find(&name);

		if (i < 0 || ((required | optional) & F(i)) == 0) {
			if (name.p[0] == '!')
				return WIRE_E_CRITICAL;
			continue;
		}
		if ((seen & F(i)) != 0)
			return WIRE_E_TWICE;
		if (fields[i].text ? value.n > fields[i].size || !props_utf8_ok(value.p, value.n) : value.n != fields[i].size)
			return WIRE_E_VALUE;
		seen |= F(i);
		v[i] = value;
	}
	return rc < 0 ? rc : (required & ~seen) != 0 ? WIRE_E_MISSING : WIRE_OK;
}

static uint64_t number(const struct props_value *v)
{
	uint64_t n = 0;

	for (uint32_t i = 0; v->p != NULL && i < v->n; i++)
		n = n << 8 | v->p[i];
	return n;
}

static void take_slot(struct reg_slot *s, const struct props_value v[NR_FIELDS])
{
	s->number = number(&v[SLOT]);
	s->current = number(&v[CURRENT]);
	s->left_ms = number(&v[LEFT]);
	s->salt_key = v[SALT_KEY].p;
	s->dialback_key = v[DIALBACK_KEY].p;
	s->ticket_keys = v[TICKET_KEYS].p;
}

/* A copy in the frame's own text space, which holds the longest of each. */
static const char *text(struct reg_frame *f, size_t *used, const struct props_value *v)
{
	char *at = f->text + *used;

	if (v->p == NULL)
		return NULL;
	memcpy(at, v->p, v->n);
	at[v->n] = '\0';
	*used += v->n + 1;
	return at;
}

static int take(struct reg_frame *f, const struct props_value v[NR_FIELDS])
{
	struct entry *e = &f->e;
	size_t used = 0;

	e->kind = (enum directory_kind)number(&v[KIND]);
	if (v[OWNER].p != NULL)
		memcpy(e->owner.b, v[OWNER].p, sizeof(e->owner.b));
	e->incarnation = number(&v[INCARNATION]);
	e->version = number(&v[VERSION]);
	if (v[KEY].p != NULL)
		memcpy(e->key, v[KEY].p, v[KEY].n);
	e->name = text(f, &used, &v[NAME]);
	e->host = text(f, &used, &v[HOST]);
	e->public_host = text(f, &used, &v[PUBLIC_HOST]);
	f->refused = text(f, &used, &v[REFUSED]);
	e->lease_ms = (uint32_t)number(&v[LEASE]);
	e->client_port = (uint32_t)number(&v[CLIENT_PORT]);
	if (e->client_port > UINT16_MAX)
		return WIRE_E_VALUE;
	e->load = (uint32_t)number(&v[LOAD]);
	e->has_room = v[ROOM].p != NULL;
	e->room = (uint32_t)number(&v[ROOM]);
	e->types = (unsigned)number(&v[TYPES]);
	e->weight = (uint32_t)number(&v[WEIGHT]);
	e->locate_open = number(&v[LOCATE_OPEN]) != 0;
	e->certificates_only = number(&v[CERTIFICATES_ONLY]) != 0;
	e->draining = number(&v[DRAINING]) != 0;
	/* What is newer than we are is not lost: the default takes its place. */
	e->policy = v[POLICY].p != NULL ? entry_policy((const char *)v[POLICY].p, v[POLICY].n) : NULL;
	if (e->policy == NULL)
		e->policy = entry_policy("round-robin", 11);
	e->reopens = false;
	if (v[FAILOVER].p != NULL)
		(void)entry_failover((const char *)v[FAILOVER].p, v[FAILOVER].n, &e->reopens);
	f->count = number(&v[COUNT]);
	f->number = number(&v[NUMBER]);
	f->up_ms = number(&v[UP]);
	f->serial = number(&v[SERIAL]);
	f->part = (uint32_t)number(&v[PART]);
	f->parts = (uint32_t)number(&v[PARTS]);
	f->keys = (const char *)v[TEXT].p;
	f->keys_n = v[TEXT].n;
	take_slot(&f->slot, v);
	return e->name != NULL && e->name[0] == '\0' ? WIRE_E_VALUE : 1;
}

int reg_next(const uint8_t **p, size_t *n, struct reg_frame *f)
{
	struct props_value v[NR_FIELDS];
	struct wire_frame head;
	size_t used;
	unsigned i;
	int rc;

	do {
		if (*n == 0)
			return 0;
		rc = wire_get_frame(*p, *n, &head, &used);
		if (rc != WIRE_OK)
			return rc;
		*p += used;
		*n -= used;
	} while (head.type >= WIRE_OPTIONAL_TYPES);
	i = (unsigned)head.type - REG_ENTRY;
	if (head.type < REG_ENTRY || i >= sizeof(rules) / sizeof(rules[0]))
		return WIRE_E_TYPE;
	if ((head.flags & WIRE_CRITICAL_FLAGS & ~rules[i].flags) != 0)
		return WIRE_E_FLAGS;
	rc = parse(head.body, head.length, rules[i].required, rules[i].optional, v);
	if (rc != WIRE_OK)
		return rc;
	memset(f, 0, offsetof(struct reg_frame, text));
	f->type = head.type;
	f->e.gone = (head.flags & REG_GONE) != 0 && head.type == REG_ENTRY;
	f->e.expired = f->e.gone && (head.flags & REG_EXPIRED) != 0;
	f->e.ended = f->e.expired && (head.flags & REG_ENDED) != 0;
	return take(f, v);
}

/* A part ends where it is full: the receiver puts them together before it reads. A character is not cut. */
static size_t keys_part(const char *text, size_t left)
{
	size_t n = left < REG_KEYS_PART ? left : REG_KEYS_PART;

	while (n < left && n > 1 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

static uint32_t count_parts(const char *text, size_t n)
{
	uint32_t parts = 0;

	do {
		size_t one = keys_part(text, n);

		text += one;
		n -= one;
		parts++;
	} while (n > 0);
	return parts;
}

bool reg_keys_parts(struct reg_frame *f, const char *text_of_all, size_t n, uint64_t serial,
		    bool (*put)(void *arg, const struct reg_frame *f), void *arg)
{
	memset(f, 0, offsetof(struct reg_frame, text));
	f->type = REG_KEYS;
	f->serial = serial;
	f->parts = count_parts(text_of_all, n);
	for (; f->part < f->parts; f->part++) {
		f->keys = text_of_all;
		f->keys_n = keys_part(text_of_all, n);
		if (!put(arg, f))
			return false;
		text_of_all += f->keys_n;
		n -= f->keys_n;
	}
	return true;
}
