#include "auth/gs2.h"
#include "check.h"

static int flag_of(const char *text)
{
	struct gs2 g;

	return gs2_parse(slice_str(text), &g) < 0 ? -1 : g.flag;
}

static void test_flags(void)
{
	struct gs2 g;

	CHECK_EQ(flag_of("n,,n=u,r=x"), 'n');
	CHECK_EQ(flag_of("y,,n=u,r=x"), 'y');
	CHECK_EQ(gs2_parse(SLICE("p=tls-exporter,a=me@x,n=u,r=x"), &g), 0);
	CHECK(slice_is(g.type, "tls-exporter"));
	CHECK(slice_is(g.header, "p=tls-exporter,a=me@x,"));
	CHECK_EQ(gs2_parse(SLICE("n,,n=u"), &g), 0);
	CHECK(slice_is(g.header, "n,,"));
}

static void test_malformed(void)
{
	static const char *const bad[] = {"",        "n",         "n,",       "x,,n=u", "p,,n=u", "p=,,n=u", "p=tls exporter,,n=u",
					  "n=u,r=x", "n,b=x,n=u", "n,a=,n=u", "n,a=me", "nn,,"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_EQ(flag_of(bad[i]), -1);
	CHECK(gs2_parse((struct slice){"n,,n=\0u", 7}, &(struct gs2){0}) < 0);
}

static void test_confirms(void)
{
	struct slice header = SLICE("n,,"), bound = SLICE("p=t,,");

	CHECK(gs2_confirms(SLICE("c=biws,r=x,p=y"), header, SLICE_NONE));
	CHECK(!gs2_confirms(SLICE("c=eSws,r=x,p=y"), header, SLICE_NONE));         /* y,, */
	CHECK(!gs2_confirms(SLICE("c=biwsanVuaw==,r=x"), header, SLICE_NONE));     /* n,,juni: a header with something after it */
	CHECK(gs2_confirms(SLICE("c=cD10LCxkYXRh,r=x"), bound, SLICE("data")));
	CHECK(!gs2_confirms(SLICE("c=cD10LCxkYXRi,r=x"), bound, SLICE("data")));
	CHECK(!gs2_confirms(SLICE("c=cD10LCw=,r=x"), bound, SLICE("data")));
	CHECK(!gs2_confirms(SLICE("c=biw,r=x"), header, SLICE_NONE));
	CHECK(!gs2_confirms(SLICE("c=biws"), header, SLICE_NONE));
	CHECK(!gs2_confirms(SLICE("c= biws,r=x"), header, SLICE_NONE));
	CHECK(!gs2_confirms(SLICE("c=bi=s,r=x"), header, SLICE_NONE));
	CHECK(!gs2_confirms(SLICE("c=,r=x"), header, SLICE_NONE));
	CHECK(!gs2_confirms(SLICE_NONE, header, SLICE_NONE));
}

int main(void)
{
	RUN(test_flags);
	RUN(test_malformed);
	RUN(test_confirms);
	return check_done("unit.auth.gs2");
}
