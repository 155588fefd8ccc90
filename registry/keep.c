/* "ARD1", the time of day as u64, then messages of part II with ENTRY alone, each after its length as u32; lease-ms counts from that time.
 */
#include "registry/keep.h"

#include <stdlib.h>
#include <string.h>

#include "registry/redirecting.h"
#include "svcproto/regmsg.h"

#define MAGIC "ARD1"
#define HEADER 12u

struct writer {
	struct reg_message message;
	struct reg_frame frame;
	uint64_t now_ms;
	bool (*put)(void *arg, const void *p, size_t n);
	void *arg;
};

static void put_u64(uint8_t *p, uint64_t v)
{
	wire_put_u32(p, (uint32_t)(v >> 32));
	wire_put_u32(p + 4, (uint32_t)v);
}

static bool flush(struct writer *w)
{
	uint8_t length[4];
	bool ok;

	wire_put_u32(length, (uint32_t)w->message.n);
	ok = w->message.n == WIRE_BATCH_HEADER || (w->put(w->arg, length, sizeof(length)) && w->put(w->arg, w->message.b, w->message.n));
	reg_begin(&w->message, 0, 0);
	return ok;
}

static bool put_entry(struct writer *w, const struct entry *e)
{
	return reg_put_entry(&w->message, e) || (flush(w) && reg_put_entry(&w->message, e));
}

/* A removal lasts as long as what it removed would have, and its ENTRY says no time: so that comes before it, but for the host, which
 * nobody needs any more. */
static int add(void *arg, const struct redirect *r)
{
	struct writer *w = arg;
	struct entry e = redirecting_entry(r, w->now_ms), removed = e;

	removed.gone = false;
	removed.host = "removed.invalid";
	removed.version--;
	if (e.gone && e.version > 0 && !put_entry(w, &removed))
		return 1;
	return put_entry(w, &e) ? 0 : 1;
}

bool keep_write(const struct redirects *rs, uint64_t now_ms, uint64_t wall_ms, bool (*put)(void *arg, const void *p, size_t n), void *arg)
{
	struct writer *w = malloc(sizeof(*w));
	uint8_t header[HEADER] = MAGIC;
	bool ok;

	if (w == NULL)
		return false;
	w->now_ms = now_ms;
	w->put = put;
	w->arg = arg;
	reg_begin(&w->message, 0, 0);
	put_u64(header + 4, wall_ms);
	ok = put(arg, header, sizeof(header)) && redirects_each(rs, now_ms, add, w) == 0 && flush(w);
	free(w);
	return ok;
}

struct reader {
	struct registry_table *t;       /* NULL: only looked at */
	struct reg_frame *f;
	uint64_t now_ms, gone_by_ms;    /* gone_by_ms: since it was written */
};

static int take_message(const struct reader *r, const uint8_t *p, size_t n)
{
	struct wire_batch b;
	int rc = reg_header(&p, &n, &b) != 0 ? SVCPROTO_E_INVALID : 0, more = 0;

	while (rc == 0 && (more = reg_next(&p, &n, r->f)) > 0) {
		struct entry *e = &r->f->e;

		if (r->f->type != REG_ENTRY || e->kind != DIR_REDIRECT)
			return SVCPROTO_E_INVALID;
		if (r->t == NULL || (!e->gone && e->lease_ms <= r->gone_by_ms))
			continue;
		e->lease_ms -= e->gone ? e->lease_ms : (uint32_t)r->gone_by_ms;
		rc = registry_table_restore(r->t, e, r->now_ms);
	}
	return more < 0 ? SVCPROTO_E_INVALID : rc;
}

static int take_all(const struct reader *r, const uint8_t *p, size_t n)
{
	int rc = 0;

	while (rc == 0 && n > 0) {
		size_t length = n >= 4 ? wire_get_u32(p) : 0;

		if (length == 0 || length > n - 4)
			return SVCPROTO_E_INVALID;
		rc = take_message(r, p + 4, length);
		p += 4 + length;
		n -= 4 + length;
	}
	return rc;
}

int keep_read(struct registry_table *t, const uint8_t *p, size_t n, uint64_t now_ms, uint64_t wall_ms)
{
	struct reader r = { .now_ms = now_ms };
	uint64_t written_ms;
	int rc;

	if (n < HEADER || memcmp(p, MAGIC, 4) != 0)
		return SVCPROTO_E_INVALID;
	written_ms = (uint64_t)wire_get_u32(p + 4) << 32 | wire_get_u32(p + 8);
	r.gone_by_ms =
	    wall_ms > written_ms ? wall_ms - written_ms : 0; /* a clock that was set back makes none last longer than it was to */
	r.f = malloc(sizeof(*r.f));
	if (r.f == NULL)
		return SVCPROTO_E_NOMEM;
	rc = take_all(&r, p + HEADER, n - HEADER);
	r.t = t;
	if (rc == 0)
		rc = take_all(&r, p + HEADER, n - HEADER);
	free(r.f);
	return rc;
}
