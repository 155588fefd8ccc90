/* What is gathered: control frames that leave with each other or with whatever else does, or when the time of the first is over. */
#include "pair.h"

#include <stdlib.h>

#include "tests/unit/check.h"

static struct pair p;
static struct svc_stream *s, *far; /* the gateway's end and the service's of one stream */

static void begin(void)
{
	pair_init(&p, NULL, NULL);
	pair_up(&p);
	s = pair_open(&p, "a@b");
	far = p.sv.last;
	CHECK(s != NULL && far != NULL);
	pair_log(&p.sv);
}

/* What is queued leaves and arrives, with no time passing. */
static void exchange(void)
{
	do
		pair_flush(&p);
	while (pair_deliver_one(&p, &p.gw) || pair_deliver_one(&p, &p.sv));
}

static size_t nr_left(const struct end *e)
{
	return e->out.tail - e->out.head;
}

static void close_gathered(struct svc_stream *stream)
{
	svc_link_gather(p.gw.l, true);
	CHECK_EQ(svc_stream_close(stream, NULL, NULL), 0);
	svc_link_gather(p.gw.l, false);
}

static struct svc_stream *open_one(const char *bare_jid, bool gathered)
{
	struct svc_open o = { .kind = SVC_KIND_CLIENT, .bare_jid = bare_jid };

	svc_link_gather(p.gw.l, gathered);
	struct svc_stream *opened = svc_stream_open(p.gw.l, &o, NULL);
	svc_link_gather(p.gw.l, false);
	CHECK(opened != NULL);
	return opened;
}

/* Control frames that are gathered leave together, when the first has waited for its time. */
static void what_is_gathered_leaves_together(void)
{
	begin();
	p.now += 500;
	close_gathered(s);
	CHECK(svc_link_wants_flush(p.gw.l)); /* to be given the time */
	svc_link_flush(p.gw.l, p.now);
	CHECK(!svc_link_wants_flush(p.gw.l));
	CHECK_EQ(svc_link_tick(p.gw.l, p.now), p.now + SVC_GATHER_MS);
	CHECK_EQ(nr_left(&p.gw), 0);

	p.now += SVC_GATHER_MS - 1;
	struct svc_stream *s2 = open_one("c@b", true);
	CHECK_EQ(svc_link_tick(p.gw.l, p.now), p.now + 1);
	CHECK(!svc_link_wants_flush(p.gw.l));
	exchange();
	CHECK_EQ(s2->state, STREAM_OPENING);
	CHECK_EQ(far->state, STREAM_OPEN);

	p.now++;
	CHECK(svc_link_tick(p.gw.l, p.now) > p.now);
	CHECK(svc_link_wants_flush(p.gw.l));
	svc_link_flush(p.gw.l, p.now);
	CHECK_EQ(nr_left(&p.gw), 1);
	exchange();
	CHECK_EQ(s2->state, STREAM_OPEN);
	CHECK_STR(pair_log(&p.sv), "closed - - 0; open 4 c@b/  "); /* in their order */
	CHECK(!svc_link_wants_flush(p.gw.l));
	pair_clear(&p);
}

/* What does not wait takes along what does, in their order. */
static void what_is_gathered_leaves_in_company(void)
{
	begin();
	close_gathered(s);
	exchange();
	CHECK_EQ(far->state, STREAM_OPEN);
	struct svc_stream *s2 = open_one("c@b", false);
	svc_link_flush(p.gw.l, p.now);
	CHECK_EQ(nr_left(&p.gw), 1);
	exchange();
	CHECK_EQ(s2->state, STREAM_OPEN);

	/* Behind what does not wait nothing waits. */
	struct svc_stream *s3 = open_one("d@b", false);
	close_gathered(s2);
	svc_link_flush(p.gw.l, p.now);
	CHECK_EQ(nr_left(&p.gw), 1);
	exchange();
	CHECK_EQ(s3->state, STREAM_OPEN);

	/* A stanza. */
	struct svc_stream *s4 = open_one("e@b", true);
	exchange();
	CHECK_EQ(s4->state, STREAM_OPENING);
	CHECK_EQ(svc_stream_send(s3, "<a/>", 4, 0, NULL), 0);
	exchange();
	CHECK_EQ(s4->state, STREAM_OPEN);

	/* Who leaves. */
	s4 = open_one("f@b", true);
	exchange();
	CHECK_EQ(s4->state, STREAM_OPENING);
	svc_link_hurry(p.gw.l);
	CHECK(svc_link_wants_flush(p.gw.l));
	exchange();
	CHECK_EQ(s4->state, STREAM_OPEN);
	pair_clear(&p);
}

int main(void)
{
	RUN(what_is_gathered_leaves_together);
	RUN(what_is_gathered_leaves_in_company);
	return check_done("svcproto/gather");
}
