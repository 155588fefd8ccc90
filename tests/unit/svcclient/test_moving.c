/* Which gateway a pair of domains falls to, and how it moves: stories, and seeds of anything. */
#include "check.h"
#include "svcclient/moving.h"
#include "svcproto/choose.h"

static void over(void)
{
	stop();
	CHECK_EQ(broken, 0);
}

static void test_the_best_of_those_that_are_up(void)
{
	struct gateway *best = &g[0];

	start(1, 3);
	for (unsigned i = 1; i < 3; i++)
		if (choose_gateway_score(g[i].id.b, "a.example", "b.example") > choose_gateway_score(best->id.b, "a.example", "b.example"))
			best = &g[i];
	write_some(1);
	pass(200);
	CHECK(holder() == best);
	over();
}

static void test_every_pair_reads_differently(void)
{
	struct svc_id id = { .b = { 1, 2, 3 } };

	CHECK(choose_gateway_score(id.b, "ab", "c") != choose_gateway_score(id.b, "a", "bc"));
	CHECK(choose_gateway_score(id.b, "a", "b") != choose_gateway_score(id.b, "b", "a"));
}

/* Each gateway gets its part of the pairs, and when one goes only its pairs move. */
static void test_fair_and_stable(void)
{
	unsigned nr[3] = { 0 }, moved = 0;
	struct svc_id id[3] = { { .b = { 1 } }, { .b = { 2 } }, { .b = { 3 } } };

	for (unsigned i = 0; i < 3000; i++) {
		uint64_t score[3];
		unsigned best, second;
		char to[32];

		snprintf(to, sizeof(to), "d%u.example", i);
		for (unsigned k = 0; k < 3; k++)
			score[k] = choose_gateway_score(id[k].b, "a.example", to);
		best = score[0] > score[1] ? 0 : 1;
		second = best;
		best = score[2] > score[best] ? 2 : best;
		nr[best]++;
		moved += best != 2 && second != best; /* without the third */
	}
	CHECK_EQ(moved, 0);
	for (unsigned k = 0; k < 3; k++)
		CHECK(nr[k] > 900 && nr[k] < 1100);
}

/* A better one comes: the stream stays; once it was idle and closed, the next one is there. */
static void test_a_busy_pair_stays(void)
{
	struct gateway *before;

	start(2, 1);
	write_some(1);
	pass(200);
	before = holder();
	do {
		if (g[1].cl != NULL) {
			die(&g[1]);
			bury(&g[1]);
		}
		come(&g[1]);
	} while (choose_gateway_score(g[1].id.b, "a.example", "b.example") < choose_gateway_score(g[0].id.b, "a.example", "b.example"));
	for (unsigned i = 0; i < 40; i++) { /* now and then, for 80 s */
		write_some(1);
		pass(2000);
		CHECK(holder() == before);
	}
	pass(62000);
	CHECK(holder() == NULL);
	write_some(1);
	pass(200);
	CHECK(holder() == &g[1]);
	CHECK_EQ(delivered, sent);
	CHECK_EQ(nr_repeated, 0);
	over();
}

/* Nothing is repeated, and the service goes on as soon as the old gateway has said that all is read. */
static void test_a_drain_repeats_nothing(void)
{
	struct gateway *before;

	start(3, 2);
	g[0].pace = g[1].pace = 2;
	write_some(200);
	pass(100);
	before = holder();
	write_some(56);
	CHECK(before->far.head < before->far.tail);
	drain(before);
	pass(100);
	write_some(100);
	pass(TOLD_MS + 256 / 2 * STEP_MS + 100);
	CHECK(holder() != NULL && holder() != before);
	CHECK_EQ(nr_opened, 2);
	pass(2000);
	CHECK_EQ(delivered, sent);
	CHECK_EQ(nr_repeated, 0);
	over();
}

/* There is nowhere to go: it stays where it is. */
static void test_the_last_gateway_drains(void)
{
	start(4, 1);
	write_some(10);
	pass(100);
	g[0].draining = g[0].cl->draining = true;
	g[0].leave_at_ms = UINT64_MAX;
	client_pairs_draining(&sp, g[0].cl);
	write_some(10);
	pass(1000);
	CHECK_EQ(delivered, 20);
	CHECK_EQ(nr_opened, 1);
	over();
}

/* A gateway that ends nothing does not hold a pair up for ever. */
static void test_a_gateway_that_only_says_it_drains(void)
{
	struct gateway *before;

	start(5, 2);
	write_some(10);
	pass(100);
	before = holder();
	drain(before);
	before->leave_at_ms = UINT64_MAX;
	write_some(10);
	pass(14000);
	CHECK_EQ(delivered, 10);
	pass(2000);
	CHECK(holder() != before);
	CHECK_EQ(delivered, 20);
	CHECK_EQ(nr_repeated, 0);
	over();
}

/* The old gateway has let go before the service opens elsewhere (gw_open checks), and only what left the service is marked. */
static void test_a_link_that_stays_away(void)
{
	struct gateway *before;
	uint64_t cut_at;

	start(6, 2);
	g[0].pace = g[1].pace = 0;
	write_some(10);
	pass(200);
	before = holder();
	cut(before, 60000);
	cut_at = now;
	write_some(20);
	while (nr_opened < 2 && now < cut_at + 30000)
		step();
	CHECK(now - cut_at > SVC_WAIT_SERVER_GATEWAY_MS && now - cut_at >= SVC_WAIT_SERVER_SERVICE_MS);
	CHECK(now - cut_at < SVC_WAIT_SERVER_SERVICE_MS + 2000);
	g[0].pace = g[1].pace = 20;
	pass(1000);
	CHECK_EQ(nr_repeated, 10);
	CHECK_EQ(delivered, 30);
	over();
}

static void test_a_link_that_comes_back(void)
{
	struct gateway *before;

	start(7, 2);
	write_some(10);
	pass(40);
	before = holder();
	cut(before, 3000);
	write_some(20);
	pass(4500);
	CHECK(holder() == before);
	CHECK_EQ(nr_opened, 1);
	CHECK_EQ(nr_repeated, 0);
	CHECK_EQ(delivered, 30);
	over();
}

/* Being old is no reason to come back when the stream is lost, as long as the queue moves. */
static void test_a_slow_one_moves(void)
{
	start(8, 1);
	g[0].pace = 1;
	write_some(STANZAS);
	CHECK_EQ(sent, STANZAS);
	pass(62000);
	CHECK(delivered > 2000 && delivered < STANZAS - 500);
	die(&g[0]);
	bury(&g[0]);
	pass(5000);
	come(&g[0]);
	pass(60000);
	CHECK_EQ(undeliverable, 0);
	CHECK_EQ(delivered, STANZAS);
	over();
}

/* Nor does it wait for ever: a minute after the last that moved. */
static void test_one_that_does_not_move(void)
{
	start(9, 1);
	g[0].pace = 1;
	write_some(STANZAS);
	pass(40000);
	die(&g[0]);
	bury(&g[0]);
	pass(59000);
	CHECK_EQ(undeliverable, 0);
	pass(2000);
	CHECK(delivered > 1500);
	CHECK_EQ(delivered + undeliverable, STANZAS);
	over();
}

/* One of these at a time, so that a gateway is there for the pair within the minute that stanzas wait. */
static void something_happens(void)
{
	struct gateway *q = rnd(3) > 0 && holder() != NULL ? holder() : &g[rnd(GATEWAYS)];

	if (!q->alive) {
		if (q->cl != NULL)
			bury(q);
		come(q);
		return;
	}
	if (q->cut)
		return;
	switch (rnd(4)) {
	case 0:
		die(q);
		break;
	case 1:
		cut(q, 1 + rnd(14000));
		break;
	case 2:
		if (!q->draining)
			drain(q);
		break;
	default:
		if (q->draining && q != holder()) { /* its drain is over */
			die(q);
			bury(q);
			come(q);
		}
	}
}

static void play(uint32_t with_seed)
{
	start(with_seed, GATEWAYS);
	while (sent < STANZAS || arrived + 256 < STANZAS) {
		write_some(rnd(8));
		step();
		if (rnd(80) == 0)
			something_happens();
	}
	for (unsigned i = 0; i < GATEWAYS; i++) {
		if (g[i].alive && g[i].draining) /* a drain ends, and where all drain nobody keeps a pair */
			die(&g[i]);
		if (!g[i].alive) {
			bury(&g[i]);
			come(&g[i]);
		}
	}
	for (unsigned i = 0; i < 6000 && delivered + undeliverable < STANZAS; i++)
		step();
	CHECK_EQ(delivered, STANZAS);
	CHECK_EQ(undeliverable, 0);
	CHECK_EQ(arrived, STANZAS);
	if (broken)
		fprintf(stderr, "seed %u\n", with_seed);
	over();
}

static void test_anything(void)
{
	unsigned repeated = 0, opened = 0, lost = 0;

	for (uint32_t i = 100; i < 170; i++) {
		play(i);
		repeated += nr_repeated;
		opened += nr_opened;
		lost += nr_lost_in_death;
	}
	/* or it has shown nothing */
	CHECK(repeated > 1000 && opened > 200 && lost > 200);
}

int main(void)
{
	RUN(test_every_pair_reads_differently);
	RUN(test_fair_and_stable);
	RUN(test_the_best_of_those_that_are_up);
	RUN(test_a_busy_pair_stays);
	RUN(test_a_drain_repeats_nothing);
	RUN(test_the_last_gateway_drains);
	RUN(test_a_gateway_that_only_says_it_drains);
	RUN(test_a_link_that_stays_away);
	RUN(test_a_link_that_comes_back);
	RUN(test_a_slow_one_moves);
	RUN(test_one_that_does_not_move);
	RUN(test_anything);
	return check_done("svcclient.moving");
}
