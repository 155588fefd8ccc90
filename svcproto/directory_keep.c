/* Writing and reading what a directory knows. A file that was cut or changed is told as such before anything of it counts. */
#include "svcproto/directory_keep.h"

#include <stdlib.h>
#include <string.h>

#include "svcproto/keyset.h"

struct writer {
	struct reg_message message;
	struct reg_frame frame;
	bool (*put)(void *arg, const void *p, size_t n);
	void *arg;
};

static bool flush(struct writer *w)
{
	uint8_t length[4];
	bool ok;

	wire_put_u32(length, (uint32_t)w->message.n);
	ok = w->message.n == WIRE_BATCH_HEADER || (w->put(w->arg, length, sizeof(length)) && w->put(w->arg, w->message.b, w->message.n));
	reg_begin(&w->message, 0, 0);
	return ok;
}

static bool add(void *arg, const struct reg_frame *f)
{
	struct writer *w = arg;

	return reg_put(&w->message, f) || (flush(w) && reg_put(&w->message, f));
}

/* How a gateway fares is news of the moment, and so is the number of that news: any word of a registry is newer. */
static void leave_out_state(struct entry *gateway)
{
	gateway->version = 1;
	gateway->load = gateway->room = 0;
	gateway->has_room = false;
}

static bool write_all(const struct directory *d, struct writer *w)
{
	size_t n;
	const char *text = directory_feed_keys_text(d, &n);
	const struct entry *e = NULL;

	reg_begin(&w->message, 0, 0);
	if (text == NULL || !reg_keys_parts(&w->frame, text, n, keyset_serial(directory_keys(d)), add, w))
		return false;
	w->frame.type = REG_ENTRY;
	while ((e = directory_feed_next(d, e)) != NULL) {
		w->frame.e = *e;
		if (e->kind == DIR_GATEWAY)
			leave_out_state(&w->frame.e);
		if (!add(w, &w->frame))
			return false;
	}
	return flush(w);
}

bool directory_keep_write(const struct directory *d, bool (*put)(void *arg, const void *p, size_t n), void *arg)
{
	struct writer *w = malloc(sizeof(*w));
	bool ok;

	if (w == NULL)
		return false;
	w->put = put;
	w->arg = arg;
	ok = write_all(d, w);
	free(w);
	return ok;
}

static int take(struct directory *d, const struct reg_frame *f, uint64_t now_ms)
{
	if (f->type == REG_KEYS)
		return d == NULL ? 0 : directory_feed_keys(d, DIRECTORY_KEPT, f);
	if (f->type != REG_ENTRY || f->e.gone)
		return SVCPROTO_E_INVALID;
	return d == NULL ? 0 : directory_feed_entry(d, DIRECTORY_KEPT, &f->e, now_ms);
}

static int take_message(struct directory *d, const uint8_t *p, size_t n, struct reg_frame *f, uint64_t now_ms)
{
	struct wire_batch b;
	int rc = reg_header(&p, &n, &b), more;

	if (rc != 0)
		return SVCPROTO_E_INVALID;
	while ((more = reg_next(&p, &n, f)) > 0)
		if ((rc = take(d, f, now_ms)) != 0)
			return rc;
	return more < 0 ? SVCPROTO_E_INVALID : 0;
}

/* Every message; d NULL: only looked at. */
static int take_all(struct directory *d, const uint8_t *p, size_t n, struct reg_frame *f, uint64_t now_ms)
{
	int rc = 0;

	while (rc == 0 && n > 0) {
		size_t length = n >= 4 ? wire_get_u32(p) : 0;

		if (length == 0 || length > n - 4)
			return SVCPROTO_E_INVALID;
		rc = take_message(d, p + 4, length, f, now_ms);
		p += 4 + length;
		n -= 4 + length;
	}
	return rc;
}

int directory_keep_read(struct directory *d, const uint8_t *p, size_t n, uint64_t now_ms)
{
	struct reg_frame *f = malloc(sizeof(*f));
	int rc = f != NULL ? take_all(NULL, p, n, f, now_ms) : SVCPROTO_E_NOMEM;

	if (rc == 0)
		rc = take_all(d, p, n, f, now_ms);
	directory_feed_lost(d, DIRECTORY_KEPT);
	free(f);
	return rc;
}
