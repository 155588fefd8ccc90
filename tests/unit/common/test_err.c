#include "check.h"
#include "common/err.h"

static void test_texts(void)
{
	CHECK_STR(err_text(ERR_LIMIT), "a limit was reached");
	CHECK_STR(err_text(-ERR_LIMIT), "a limit was reached");
	CHECK_STR(err_text(0), "no error");
	CHECK_STR(err_text(ERR_XML_LIMIT), "element, depth, attribute or tag limit passed");
}

static void test_outside(void)
{
	CHECK_STR(err_text(ERR_MAX_), "unknown error");
	CHECK_STR(err_text(-ERR_MAX_), "unknown error");
	CHECK_STR(err_text(INT32_MIN), "unknown error");
	CHECK_STR(err_text(INT32_MAX), "unknown error");
}

static void test_every_code_has_text(void)
{
	for (int i = 0; i < ERR_MAX_; i++)
		CHECK(err_text(i) != NULL && strcmp(err_text(i), "unknown error") != 0);
}

int main(void)
{
	RUN(test_texts);
	RUN(test_outside);
	RUN(test_every_code_has_text);
	return check_done("unit.common.err");
}
