#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "check.h"
#include "child.h"
#include "common/mem.h"
#include "common/obj.h"

static void test_alloc_zeroed(void)
{
	unsigned char *p = mem_alloc(1000);
	unsigned sum = 0;

	for (int i = 0; i < 1000; i++)
		sum += p[i];
	CHECK_EQ(sum, 0);
	free(p);
	p = mem_alloc(0);
	CHECK(p != NULL);
	free(p);
}

static void test_copies(void)
{
	char *copy = mem_slicedup((struct slice){"hello there", 5});

	CHECK_STR(copy, "hello");
	free(copy);
	copy = mem_slicedup(SLICE_NONE);
	CHECK_STR(copy, "");
	free(copy);
	CHECK(mem_strdup(NULL) == NULL);
	copy = mem_strdup("x");
	CHECK_STR(copy, "x");
	copy = mem_resize(copy, 100);
	CHECK_STR(copy, "x");
	free(copy);
}

static void test_random(void)
{
	static unsigned char a[10000], b[10000];
	unsigned distinct = 0;
	bool seen[256] = {false};

	mem_random(a, sizeof a);
	mem_random(b, sizeof b);
	CHECK(memcmp(a, b, sizeof a) != 0);
	for (size_t i = sizeof a - 2000; i < sizeof a; i++) /* the tail too was filled */
		seen[a[i]] = true;
	for (int i = 0; i < 256; i++)
		distinct += seen[i];
	CHECK(distinct > 200);
}

static void test_wipe(void)
{
	char secret[] = "secret";

	mem_wipe(secret, sizeof secret);
	for (size_t i = 0; i < sizeof secret; i++)
		CHECK_EQ(secret[i], 0);
	mem_wipe(NULL, 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static long nr_page_faults(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return use.ru_minflt;
}
#endif

static char *filled(size_t n)
{
	char *p = mem_alloc(n);

	memset(p, 1, n);
	return p;
}

/* What a large stanza takes again and again comes from the kernel once. */
static void test_keep_freed(void)
{
	enum { BUFFERS = 3, EACH = 1 << 20, PAGES = EACH / 4096, ROUNDS = 10 };
	char *p[BUFFERS];
	long before = 0;

	mem_keep_freed(4 * EACH);
	for (int round = 0; round <= ROUNDS; round++) {
		for (int i = 0; i < BUFFERS; i++)
			p[i] = filled(EACH);
		for (int i = 0; i < BUFFERS; i++)
			free(p[i]);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their malloc has its own mind */
		if (round == 0)
			before = nr_page_faults();
		else
			CHECK(nr_page_faults() - before < PAGES);
#endif
	}
	(void)before;
}

static void fail_assertion(void *arg)
{
	struct rlimit none = {0, 0};

	(void)arg;
	setrlimit(RLIMIT_CORE, &none);
	signal(SIGABRT, SIG_DFL); /* without a sanitizer's report */
	ASSERT(1 + 1 == 3);
}

static void test_assert_kept(void)
{
	static struct child c;

	child_run(&c, STDERR_FILENO, fail_assertion, NULL);
	CHECK_EQ(c.status, 128 + SIGABRT);
	CHECK(strstr(c.text, "bug: ") == c.text);
	CHECK(strstr(c.text, "test_mem.c") != NULL);
	CHECK(strstr(c.text, "1 + 1 == 3") != NULL);
}

struct outer {
	int before;
	struct { uint32_t magic; } inner;
};

static void test_container_of(void)
{
	struct outer o = {.before = 7, .inner = {.magic = 42}};
	struct outer *back = container_of(&o.inner, struct outer, inner);

	CHECK_EQ(back->before, 7);
	OBJ_CHECK(&o.inner, 42);
}

static void test_slices(void)
{
	CHECK(slice_eq(SLICE_NONE, slice_str("")));
	CHECK(slice_is(SLICE("abc"), "abc"));
	CHECK(!slice_is(SLICE("abc"), "abcd"));
	CHECK(!slice_is(SLICE("abc"), "abd"));
	CHECK(slice_empty(slice_str(NULL)));
}

int main(void)
{
	RUN(test_alloc_zeroed);
	RUN(test_copies);
	RUN(test_random);
	RUN(test_wipe);
	RUN(test_keep_freed);
	RUN(test_assert_kept);
	RUN(test_container_of);
	RUN(test_slices);
	return check_done("unit.common.mem");
}
