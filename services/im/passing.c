/*
 * Stanzas that were acknowledged while their next hop had not answered, and whose process then ended: an earlier one
 * of ours, or another instance on the same database. They go out again (they may arrive twice, never not at all); a message to a
 * user who is ours by now goes to offline storage; what else was for a client of ours bounces, since its session ended with that process.
 * They go in the order of their rows, and those that must wait for another instance's (behind.c) wait here.
 */
#include "common/log.h"
#include "services/im/core.h"

enum {
	RESUME_MAX = 200, /* read in one turn */
	AGAIN_MS = 50,    /* those that could not go; twice that while nothing moves, and again */
	AGAIN_MAX_MS = 400,
	ADOPT_MS = 5000,
	ADOPT_SOON_MS = 200,
};

/* Sender and recipient of a row, as the store has them. */
struct ends {
	struct im *im;
	int64_t at_s, row;
	struct slice xml;
};

static void add_element(void *arg, const struct xml_element *e)
{
	struct ends *a = arg;
	struct jid from, to;
	jid_init(&from);
	jid_init(&to);
	if (jid_parse(&from, xml_attr_get(&e->head, "from")) < 0)
		jid_init(&from);
	if (jid_parse(&to, stanza_to(e, &from)) < 0)
		jid_init(&to);
	a->row = store_passing_add(a->im->store, a->at_s, from.bare, to.bare, a->xml);
	sid_log("passing", a->xml, to.bare, a->row);
	jid_clear(&from);
	jid_clear(&to);
}

int64_t passing_store(struct im *im, int64_t at_s, struct slice xml)
{
	struct ends a = {.im = im, .at_s = at_s, .xml = xml};
	if (stanza_parse(xml, &im_xml_limits, add_element, &a) < 0)
		a.row = store_passing_add(im->store, at_s, SLICE_NONE, SLICE_NONE, xml);
	return a.row;
}

/* Sends what has a row. SVCPROTO_E_FULL: not now, the row stays; any other failure bounces it. */
static int send_row(struct im *im, int64_t row, const struct jid *from, const struct jid *to, struct slice xml)
{
	struct im_work *w = work_new(im, NULL);
	w->row = row;
	work_keep(w, IM_PASSING, NULL, xml);
	int err = send_remote(im, from, to, xml, w);
	if (err == SVCPROTO_E_FULL)
		w->fallback = IM_DROP;
	else if (err < 0)
		error_bounce(im, xml, "remote-server-not-found", w);
	work_release(w);
	return err;
}

/* Behind rows of the same two: a request that waits must not undo the one that took it back. */
static void send_behind(struct im *im, const struct jid *from, const struct jid *to, struct slice xml)
{
	if (behind_has_room(im, from->bare, xml.n))
		passing_wait(im, im->wall_s, from->bare, to->bare, xml);
	else
		error_bounce(im, xml, "resource-constraint", NULL);
}

bool passing_send(struct im *im, const struct jid *from, const struct jid *to, struct slice xml)
{
	if (behind_rows(im, from->bare, to->bare)) {
		send_behind(im, from, to, xml);
		return false;
	}
	int64_t row = passing_store(im, im->wall_s, xml);
	if (!row || send_row(im, row, from, to, xml) != SVCPROTO_E_FULL)
		return true;
	store_passing_del(im->store, row);
	error_bounce(im, xml, "resource-constraint", NULL);
	return false;
}

/* Presence of a session that ended with its process says nothing any more; a subscription stays one. */
static bool is_stale(const struct xml_element *e)
{
	struct slice type = xml_attr_get(&e->head, "type");
	return stanza_kind(e, NS_CLIENT) == STANZA_PRESENCE && !presence_is_subscription(type);
}

struct resume {
	struct im *im;
	int64_t row, at_s;
	struct slice xml;
	uint64_t pair;
	int err;
	bool readable;
};

/* Who has just started does not know yet who belongs to whom: stored as ours, it would wait for a client that is at another instance. */
static bool is_nobodys_yet(const struct im *im, const struct jid *to)
{
	static const unsigned char nobody[16];
	unsigned char instance[16];
	struct im_user *u = im_user_find(im, to->bare);
	if (!im->ops->is_here || slice_empty(to->local) || !im_is_local(im, to->domain) || (u && u->nr_sessions))
		return false;
	return im_whose(im, to->bare, instance) && memcmp(instance, nobody, sizeof instance) == 0;
}

static bool must_wait(const struct resume *r, const struct jid *from, const struct jid *to)
{
	return is_nobodys_yet(r->im, to) || behind_others(r->im, from->bare, to->bare, r->row);
}

static void resume_to(struct resume *r, const struct xml_element *e, const struct jid *from, const struct jid *to)
{
	bool here =
	    im_is_here(r->im, to) && !hash_get(r->im->peers, to->bare); /* what is on its way to another instance comes back first */
	if (must_wait(r, from, to)) {
		r->err = SVCPROTO_E_FULL;
		return;
	}
	if (!here && !is_stale(e)) {
		r->err = send_row(r->im, r->row, from, to, r->xml);
		if (r->err == 0 && stanza_kind(e, NS_CLIENT) == STANZA_PRESENCE)
			subscription_went(r->im, from, to, xml_attr_get(&e->head, "type"));
		return;
	}
	if (stanza_kind(e, NS_CLIENT) == STANZA_MESSAGE)
		route_stored(r->im, r->xml, r->at_s, NULL);
	else if (!is_stale(e))
		error_bounce(r->im, r->xml, "service-unavailable", NULL);
	store_passing_del(r->im->store, r->row);
}

static bool is_skipped(const struct im_resume *all, uint64_t pair)
{
	return pair && hash_get(all->skipped, hash_u64_key(&pair));
}

/* Behind one of the same sender and recipient that could not go, none goes until all are tried again. */
static void resume_pair(struct resume *r, const struct xml_element *e, const struct jid *from, const struct jid *to)
{
	struct im_resume *all = &r->im->resume;
	r->pair = behind_pair(from->bare, to->bare);
	if (is_skipped(all, r->pair))
		r->err = SVCPROTO_E_FULL;
	else
		resume_to(r, e, from, to);
	if (r->err == SVCPROTO_E_FULL)
		hash_put(all->skipped, hash_u64_key(&r->pair), all);
}

static void resume_element(void *arg, const struct xml_element *e)
{
	struct resume *r = arg;
	struct jid from, to;
	if (jid_parse(&from, xml_attr_get(&e->head, "from")) < 0)
		return;
	if (jid_parse(&to, stanza_to(e, &from)) == 0) {
		r->readable = true;
		resume_pair(r, e, &from, &to);
		jid_clear(&to);
	}
	jid_clear(&from);
}

static int by_number(const void *a, const void *b)
{
	int64_t x = ((const struct im_waiting *)a)->row, y = ((const struct im_waiting *)b)->row;
	return (x > y) - (x < y);
}

/* It has gone, or waits on, and its pair is known. */
static void resumed(const struct resume *r)
{
	struct im_resume *all = &r->im->resume;
	const struct im_waiting key = {.row = r->row};
	struct im_waiting *w = bsearch(&key, all->rows, all->nr, sizeof *all->rows, by_number);
	if (!w->sender)
		w->pair = r->pair;
	w->gone = r->err != SVCPROTO_E_FULL;
	all->moved |= w->gone;
	if (w->gone)
		behind_uncount(r->im, w);
}

/* What answers it may come to wait here: all->rows moves. */
static void resume_row(struct im *im, int64_t row, struct buf *xml)
{
	struct resume r = {.im = im, .row = row};
	if (store_passing_get(im->store, row, xml, &r.at_s)) {
		r.xml = buf_slice(xml);
		if (stanza_parse(r.xml, &im_xml_limits, resume_element, &r) < 0 || !r.readable) {
			log_warn("im", 0, "bad-row", "row=%lld bytes=%zu", (long long)row, r.xml.n);
			store_passing_del(im->store, row); /* not ours, or of a version that wrote something else */
		}
	}
	resumed(&r);
}

static void begin_again(struct im_resume *all)
{
	all->at = 0;
	all->moved = false;
	hash_free(all->skipped);
	all->skipped = hash_new();
}

/* All have been tried: those that wait on close up. */
static void end_round(struct im *im)
{
	struct im_resume *all = &im->resume;
	size_t kept = 0;
	for (size_t i = 0; i < all->nr; i++) {
		if (!all->rows[i].gone)
			all->rows[kept++] = all->rows[i];
	}
	all->nr = kept;
	all->pause_ms = all->moved || !all->pause_ms ? AGAIN_MS : 2 * all->pause_ms;
	if (all->pause_ms > AGAIN_MAX_MS)
		all->pause_ms = AGAIN_MAX_MS;
	all->due_ms = im->now_ms + all->pause_ms;
	begin_again(all);
}

void passing_resume(struct im *im)
{
	struct im_resume *all = &im->resume;
	struct buf xml;
	if (!im->linked || !all->nr || im->now_ms < all->due_ms)
		return;
	buf_init(&xml, IM_STANZA_MAX);
	for (size_t n = 0; n < RESUME_MAX && all->at < all->nr; all->at++) {
		const struct im_waiting *w = &all->rows[all->at];
		if (w->gone || is_skipped(all, w->pair))
			continue;
		resume_row(im, w->row, &xml);
		n++;
	}
	if (all->at == all->nr)
		end_round(im);
	buf_clear(&xml);
}

static void add(struct im *im, const struct store_passing *p)
{
	struct im_resume *all = &im->resume;
	struct im_waiting w = {.row = p->row, .bytes = p->bytes};
	if (p->sender.n) {
		w.sender = hash_bytes(p->sender);
		w.pair = behind_pair(p->sender, p->recipient);
	}
	if (all->nr == all->cap) {
		all->cap = all->cap ? 2 * all->cap : 64;
		all->rows = mem_resize(all->rows, all->cap * sizeof *all->rows);
	}
	all->rows[all->nr++] = w;
	behind_count(im, &w, p->at);
}

/* Left by another process: it is looked at at once. */
static void add_left(void *arg, const struct store_passing *p)
{
	struct im *im = arg;
	add(im, p);
	im->resume.due_ms = im->resume.pause_ms = 0;
}

/* As they stand there, finished ones too. */
static void sort_from(struct im_resume *all, size_t first)
{
	if (first == all->nr)
		return;
	qsort(all->rows + first, all->nr - first, sizeof *all->rows, by_number);
	if (first == 0 || all->rows[first].row > all->rows[first - 1].row)
		return;
	qsort(all->rows, all->nr, sizeof *all->rows, by_number);
	begin_again(all);
}

/* A row that was just made waits for its turn. */
static void wait_here(struct im *im, const struct store_passing *p)
{
	struct im_resume *all = &im->resume;
	size_t first = all->nr;
	if (first == 0) {
		all->due_ms = im->now_ms + AGAIN_MS;
		all->pause_ms = 0;
	}
	add(im, p);
	sort_from(all, first);
}

void passing_wait(struct im *im, int64_t at_s, struct slice sender, struct slice recipient, struct slice xml)
{
	struct store_passing p = {.at = at_s, .bytes = xml.n, .sender = sender, .recipient = recipient};
	p.row = store_passing_add(im->store, at_s, sender, recipient, xml);
	sid_log("passing", xml, recipient, p.row);
	if (p.row) /* else the store is dead, and so are we when the turn ends */
		wait_here(im, &p);
}

void passing_answer(struct im *im, const struct jid *from, const struct jid *to, struct slice xml)
{
	struct store_passing p = {.at = im->wall_s, .bytes = xml.n, .sender = from->bare, .recipient = to->bare};
	if (behind_rows(im, from->bare, to->bare)) {
		passing_wait(im, im->wall_s, from->bare, to->bare, xml);
		return;
	}
	p.row = passing_store(im, im->wall_s, xml);
	if (p.row && send_row(im, p.row, from, to, xml) == SVCPROTO_E_FULL)
		wait_here(im, &p);
}

void passing_init(struct im *im)
{
	im->resume.skipped = hash_new();
	im->resume.waits = hash_new();
	store_passing_all(im->store, add_left, im);
}

void passing_clear(struct im *im)
{
	if (im->resume.skipped) {
		hash_free(im->resume.skipped);
		behind_clear(im);
	}
	free(im->resume.rows);
}

void passing_adopt(struct im *im)
{
	size_t first = im->resume.nr;

	if (!store_shared(im->store) || !im->linked || im->now_ms < im->adopt_at_ms)
		return;
	im->adopt_at_ms = im->now_ms + ADOPT_MS;
	store_passing_adopt(im->store, add_left, im);
	sort_from(&im->resume, first);
}

/* Before the session's first stanza comes, what its user said at the other instance and was acknowledged there should be on its way. */
void passing_soon(struct im *im)
{
	uint64_t last_ms = im->adopt_at_ms > ADOPT_MS ? im->adopt_at_ms - ADOPT_MS : 0;

	if (im->adopt_at_ms > last_ms + ADOPT_SOON_MS)
		im->adopt_at_ms = last_ms + ADOPT_SOON_MS;
}
