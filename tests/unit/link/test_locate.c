/* Open questions: each answer finds its asker once, over its own link, and with a value that a client can follow. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/obj.h"
#include "link/locate.h"
#include "svcproto/link.h"
#include "check.h"

struct asker {
	struct locate_ask ask;
	unsigned answers;
	char host[64];
};

static struct locates *ls;

static void answered(struct locate_ask *a, const char *host)
{
	struct asker *asker = container_of(a, struct asker, ask);

	asker->answers++;
	snprintf(asker->host, sizeof asker->host, "%s", host ? host : "-");
}

static void answer(uint64_t link, uint32_t request, const char *host)
{
	locates_answer(ls, link, &(struct svc_located){.request = request, .see_other_host = host});
}

static void each_its_own(void)
{
	struct asker a = {.ask.answered = answered}, b = {.ask.answered = answered};
	uint32_t first, second;

	ls = locates_new();
	first = locates_open(ls, &a.ask, 1);
	second = locates_open(ls, &b.ask, 1);
	CHECK(first != 0 && second != 0 && first != second);
	answer(1, second, "[2001:db8::1]:5222");
	answer(1, first, NULL);
	CHECK_EQ(a.answers, 1);
	CHECK_EQ(b.answers, 1);
	CHECK_STR(a.host, "-");
	CHECK_STR(b.host, "[2001:db8::1]:5222");
	answer(1, first, "late.example");
	CHECK_EQ(a.answers, 1);
	first = locates_open(ls, &a.ask, 2); /* the same asker again */
	answer(2, first, "b.example");
	CHECK_STR(a.host, "b.example");
	locates_free(ls);
}

static void not_for_others(void)
{
	struct asker a = {.ask.answered = answered};
	uint32_t request;

	ls = locates_new();
	request = locates_open(ls, &a.ask, 5);
	answer(6, request, "evil.example");
	answer(5, request + 1, "evil.example");
	CHECK_EQ(a.answers, 0);
	answer(5, request, "no host at all");
	CHECK_EQ(a.answers, 1);
	CHECK_STR(a.host, "-");
	locates_free(ls);
}

static void dropped(void)
{
	struct asker a = {.ask.answered = answered};
	uint32_t request;

	ls = locates_new();
	locates_drop(ls, &a.ask);
	request = locates_open(ls, &a.ask, 1);
	locates_drop(ls, &a.ask);
	locates_drop(ls, &a.ask);
	answer(1, request, "b.example");
	CHECK_EQ(a.answers, 0);
	(void)locates_open(ls, &a.ask, 1);
	locates_free(ls); /* while one is open */
}

int main(void)
{
	RUN(each_its_own);
	RUN(not_for_others);
	RUN(dropped);
	return check_done("link/locate");
}
