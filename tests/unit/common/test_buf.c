#include "check.h"
#include "common/buf.h"

static bool holds(const struct buf *b, const char *want)
{
	return slice_is(buf_slice(b), want);
}

static void test_empty(void)
{
	struct buf b;

	buf_init(&b, 10);
	CHECK_EQ(buf_len(&b), 0);
	CHECK_EQ(buf_room(&b), 10);
	CHECK(buf_slice(&b).p == NULL);
	CHECK_EQ(buf_add(&b, NULL, 0), 0);
	CHECK_EQ(b.cap_, 0);
	buf_drain(&b, 0);
	buf_clear(&b);
}

static void test_all_or_nothing(void)
{
	struct buf b;

	buf_init(&b, 10);
	CHECK_EQ(buf_add_str(&b, "12345678"), 0);
	CHECK_EQ(buf_add_str(&b, "90!"), -ERR_LIMIT);
	CHECK(holds(&b, "12345678"));
	CHECK_EQ(buf_add_slice(&b, SLICE("90")), 0);
	CHECK(holds(&b, "1234567890"));
	CHECK_EQ(buf_room(&b), 0);
	CHECK_EQ(buf_add_str(&b, "x"), -ERR_LIMIT);
	CHECK(b.cap_ <= 10);
	buf_clear(&b);
	CHECK_EQ(buf_room(&b), 10);
}

static void test_room_comes_back(void)
{
	struct buf b;

	buf_init(&b, 10);
	CHECK_EQ(buf_add_str(&b, "1234567890"), 0);
	buf_drain(&b, 4);
	CHECK(holds(&b, "567890"));
	CHECK_EQ(buf_room(&b), 4);
	CHECK_EQ(buf_add_str(&b, "abcd"), 0);
	CHECK(holds(&b, "567890abcd"));
	buf_truncate(&b, 3);
	CHECK(holds(&b, "567"));
	buf_reset(&b);
	CHECK_EQ(buf_len(&b), 0);
	CHECK(b.p_ != NULL);
	buf_release_if_empty(&b);
	CHECK(b.p_ == NULL);
}

/* A large thing that comes whole takes what it needs; what grows piece by piece is copied seldom. */
static void test_large(void)
{
	static char large[100000];
	unsigned moved = 0;
	struct buf b;

	buf_init(&b, 1 << 20);
	CHECK_EQ(buf_add(&b, large, sizeof large), 0);
	CHECK_EQ(b.cap_, sizeof large);
	for (size_t i = 0; i < 10000; i++) {
		moved += b.len_ == b.cap_;
		CHECK_EQ(buf_add_str(&b, "x"), 0);
	}
	CHECK_EQ(moved, 1);
	CHECK_EQ(buf_len(&b), sizeof large + 10000);
	buf_clear(&b);
}

static void test_release_keeps_content(void)
{
	struct buf b;

	buf_init(&b, 10);
	CHECK_EQ(buf_add_str(&b, "x"), 0);
	buf_release_if_empty(&b);
	CHECK(holds(&b, "x"));
	buf_wipe(&b);
	CHECK(b.p_ == NULL);
}

static void test_reserve(void)
{
	struct buf b;

	buf_init(&b, 1000);
	char *p = buf_reserve(&b, 600);
	CHECK(p != NULL);
	memset(p, 'a', 600); /* the sanitizer sees whether it is all ours */
	buf_commit(&b, 3);
	CHECK(holds(&b, "aaa"));
	CHECK(buf_reserve(&b, 998) == NULL);
	CHECK(buf_reserve(&b, SIZE_MAX) == NULL);
	CHECK(buf_reserve(&b, 997) != NULL);
	CHECK(holds(&b, "aaa"));
	buf_clear(&b);
}

static void test_printf(void)
{
	struct buf b;
	char longer[701];

	memset(longer, 'z', sizeof longer - 1);
	longer[700] = '\0';
	buf_init(&b, 705);
	CHECK_EQ(buf_printf(&b, "%s=%d", "n", 42), 0);
	CHECK(holds(&b, "n=42"));
	CHECK_EQ(buf_printf(&b, "%s", longer), 0);
	CHECK_EQ(buf_len(&b), 704);
	CHECK_EQ(buf_slice(&b).p[703], 'z');
	CHECK_EQ(buf_printf(&b, "ab"), -ERR_LIMIT);
	CHECK_EQ(buf_printf(&b, "c"), 0); /* to the last byte: no room for a NUL is wanted */
	CHECK_EQ(buf_room(&b), 0);
	buf_clear(&b);
}

/* A long life against a plain model: adds and drains of odd sizes, everything that leaves was what came. */
static void test_stream_through(void)
{
	struct buf b;
	unsigned in = 0, out = 0, seed = 1;

	buf_init(&b, 5000);
	for (int i = 0; i < 20000; i++) {
		seed = seed * 1103515245 + 12345;
		unsigned n = seed >> 16 & 1023;

		if (seed >> 30 & 1) {
			if (n > buf_room(&b))
				continue;
			char *p = buf_reserve(&b, n);
			for (unsigned k = 0; k < n; k++)
				p[k] = (char)(in++ % 251);
			buf_commit(&b, n);
		} else {
			struct slice s = buf_slice(&b);

			n = n < s.n ? n : (unsigned)s.n;
			for (unsigned k = 0; k < n; k++)
				if ((unsigned char)s.p[k] != out++ % 251)
					check_bad_ = 1;
			buf_drain(&b, n);
		}
	}
	CHECK(out > 1000000);
	CHECK(b.cap_ <= 5000);
	buf_clear(&b);
}

int main(void)
{
	RUN(test_empty);
	RUN(test_all_or_nothing);
	RUN(test_room_comes_back);
	RUN(test_large);
	RUN(test_release_keeps_content);
	RUN(test_reserve);
	RUN(test_printf);
	RUN(test_stream_through);
	return check_done("unit.common.buf");
}
