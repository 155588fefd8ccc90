#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "check.h"
#include "child.h"
#include "common/err.h"
#include "common/log.h"

static struct child c;

static void say_one(void *arg)
{
	(void)arg;
	log_set_thread("w0");
	log_info("c2s", 17, "bind", "jid=%s resumed=%d", "alice@a.example/phone", 0);
}

/* 2026-11-22T23:59:59.123Z */
static bool is_time(const char *s)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";

	for (size_t i = 0; i < sizeof shape - 1; i++)
		if (shape[i] == 'd' ? !isdigit((unsigned char)s[i]) : s[i] != shape[i])
			return false;
	return true;
}

static void test_line(void)
{
	child_run(&c, STDERR_FILENO, say_one, NULL);
	CHECK(c.n > 25 && is_time(c.text));
	CHECK_STR(c.text + 24, " info w0 c2s 17 bind jid=alice@a.example/phone resumed=0\n");
}

static void say_bare(void *arg)
{
	(void)arg;
	errno = EBADF;
	log_event(LOG_WARN, NULL, 0, "start", NULL);
	if (errno != EBADF)
		abort();
}

static void test_empty_columns(void)
{
	child_run(&c, STDERR_FILENO, say_bare, NULL);
	CHECK_STR(c.text + 24, " warn - - - start\n");
	CHECK_EQ(c.status, 0);
}

static void say_levels(void *arg)
{
	(void)arg;
	log_set_level(LOG_WARN);
	log_debug("a", 1, "debug", "x=%d", 1);
	log_info("a", 1, "info", "x=%d", 1);
	log_warn("a", 1, "warn", "x=%d", 1);
	log_error("a", 1, "error", "x=%d", 1);
}

static void test_levels(void)
{
	enum log_level level;

	child_run(&c, STDERR_FILENO, say_levels, NULL);
	CHECK(strstr(c.text, " debug ") == NULL);
	CHECK(strstr(c.text, " info ") == NULL);
	CHECK(strstr(c.text, " warn - a 1 warn x=1\n") != NULL);
	CHECK(strstr(c.text, " error - a 1 error x=1\n") != NULL);
	CHECK_EQ(log_level_parse(SLICE("debug"), &level), 0);
	CHECK_EQ(level, LOG_DEBUG);
	CHECK_EQ(log_level_parse(SLICE("Debug"), &level), -ERR_INVALID);
	CHECK_EQ(log_level_parse(SLICE(""), &level), -ERR_INVALID);
	CHECK_STR(log_level_name(LOG_WARN), "warn");
}

static void say_dangerous(void *arg)
{
	char longer[5000];

	(void)arg;
	log_info("a", 1, "forged", "x=%s", "1\n2026-01-01T00:00:00.000Z error\033[31m");
	memset(longer, 'y', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	log_info("a", 1, "long", "x=%s", longer);
}

static void test_one_line_whatever(void)
{
	child_run(&c, STDERR_FILENO, say_dangerous, NULL);
	char *end = strchr(c.text, '\n');
	CHECK(end != NULL && strchr(end + 1, '\n') == c.text + c.n - 1);
	CHECK(strchr(c.text, '\033') == NULL);
	CHECK(strstr(end + 1, "yyy cut=1\n") != NULL);
	CHECK(c.n - (size_t)(end + 1 - c.text) <= 2048);
}

static void *say_often(void *arg)
{
	log_set_thread(arg);
	for (int i = 0; i < 100; i++)
		log_info("t", 1, "tick", "who=%s", (const char *)arg);
	return NULL;
}

static void say_threads(void *arg)
{
	pthread_t t[4];
	static char names[4][3] = {"w0", "w1", "w2", "w3"};

	(void)arg;
	for (int i = 0; i < 4; i++)
		if (pthread_create(&t[i], NULL, say_often, names[i]) != 0)
			abort();
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

static void test_threads_dont_mix(void)
{
	int nr[4] = {0};

	child_run(&c, STDERR_FILENO, say_threads, NULL);
	for (char *line = c.text; *line; line = strchr(line, '\n') + 1) {
		char tail[40];
		int who = line[31] - '0';

		CHECK(is_time(line) && who >= 0 && who < 4);
		snprintf(tail, sizeof tail, " info w%d t 1 tick who=w%d\n", who, who);
		CHECK(strncmp(line + 24, tail, strlen(tail)) == 0);
		if (check_bad_)
			return;
		nr[who]++;
	}
	for (int i = 0; i < 4; i++)
		CHECK_EQ(nr[i], 100);
}

static void test_escape(void)
{
	CHECK_STR(log_escape(SLICE("alice@a.example")), "alice@a.example");
	CHECK_STR(log_escape(SLICE("two words")), "\"two words\"");
	CHECK_STR(log_escape(SLICE("")), "\"\"");
	CHECK_STR(log_escape(SLICE_NONE), "\"\"");
	CHECK_STR(log_escape((struct slice){"a\0\n\"\\", 5}), "a\\x00\\x0a\\x22\\x5c");
	CHECK_STR(log_escape(SLICE("\xc3\xa9")), "\\xc3\\xa9");
}

static void test_escape_long(void)
{
	char longer[1000];

	memset(longer, '\1', sizeof longer);
	const char *s = log_escape((struct slice){longer, sizeof longer});
	CHECK(strlen(s) >= 200 && strlen(s) < 215);
	CHECK_STR(s + strlen(s) - 3, "...");
	longer[0] = ' ';
	s = log_escape((struct slice){longer, sizeof longer});
	CHECK_STR(s + strlen(s) - 4, "...\"");
}

static void test_escape_four_at_once(void)
{
	const char *a = log_escape(SLICE("a")), *b = log_escape(SLICE("b")), *d = log_escape(SLICE("d")), *e = log_escape(SLICE("e"));

	CHECK_STR(a, "a");
	CHECK_STR(b, "b");
	CHECK_STR(d, "d");
	CHECK_STR(e, "e");
}

static void test_once_a_second(void)
{
	uint64_t last = 0, other = 0;
	int nr = 0;
	const struct timespec step = {.tv_nsec = 10000000};

	CHECK(log_once_a_second(&last));
	CHECK(!log_once_a_second(&last));
	CHECK(log_once_a_second(&other));
	for (int i = 0; i < 130; i++) {
		nanosleep(&step, NULL);
		nr += log_once_a_second(&last);
	}
	CHECK(nr >= 1); /* a busy machine sleeps longer, so no upper mark */
}

int main(void)
{
	RUN(test_line);
	RUN(test_empty_columns);
	RUN(test_levels);
	RUN(test_one_line_whatever);
	RUN(test_threads_dont_mix);
	RUN(test_escape);
	RUN(test_escape_long);
	RUN(test_escape_four_at_once);
	RUN(test_once_a_second);
	return check_done("unit.common.log");
}
