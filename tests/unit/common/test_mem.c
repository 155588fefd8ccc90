#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
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

static long nr_page_faults(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return use.ru_minflt;
}

static char *filled(size_t n)
{
	char *p = mem_alloc(n);

	mem_wipe(p, n); /* each page is touched: before a free() a memset() may be left out */
	return p;
}

struct load {
	size_t kept_bytes, each;
	unsigned nr;
};

/* So many pieces, five times again. The number of page faults is written. */
static void take_again(void *arg)
{
	const struct load *l = arg;
	char *p[4];
	long before = 0;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* each page is to be a fault */
	mem_keep_freed(l->kept_bytes);
	for (int round = 0; round <= 5; round++) {
		for (unsigned i = 0; i < l->nr; i++)
			p[i] = filled(l->each);
		for (unsigned i = 0; i < l->nr; i++)
			free(p[i]);
		before = round == 0 ? nr_page_faults() : before;
	}
	fprintf(stderr, "%ld", nr_page_faults() - before);
}

/* How many pieces the kernel gave anew. In a process of its own, where nothing else was asked for before. */
static long nr_anew(size_t kept_bytes, size_t each, unsigned nr)
{
	static struct child c;
	struct load l = {kept_bytes, each, nr};

	child_run(&c, STDERR_FILENO, take_again, &l);
	CHECK_EQ(c.status, 0);
	return strtol(c.text, NULL, 10) * sysconf(_SC_PAGESIZE) / (long)each;
}

/* Whatever the limit of a stanza is, what it takes again and again comes from the kernel once; what is beyond, each time. */
static void test_keep_freed(void)
{
	enum { KIB = 1 << 10, MIB = 1 << 20 };

	if (!CHECK_OWN_MALLOC)
		return;
	CHECK_EQ(nr_anew(4 * MIB, MIB, 3), 0);
	CHECK_EQ(nr_anew(80000, 100 * KIB, 1), 0);      /* no less than malloc() keeps by itself */
	CHECK_EQ(nr_anew(128 * MIB, 16 * MIB, 4), 0);   /* more than it allows for one piece */
	CHECK_EQ(nr_anew(4 * MIB, 5 * MIB, 1), 5);
	CHECK(nr_anew(4 * MIB, 3 * MIB, 2) >= 5);
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
