/*
 * One line, one write(2), so that the lines of threads never mix and nothing waits for a lock. A line that grows too long is cut and
 * says so; bytes that could fake a line or a terminal command are replaced even if a caller forgot log_escape().
 */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"

enum {
	LINE_MAX_BYTES = 2048,
	ESCAPE_MAX = 200,
	ESCAPE_BUFS = 4,
};

static const char *const level_names[] = {
	[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

static _Atomic int current_level = LOG_INFO;
static _Thread_local const char *thread_name = "-";

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

int log_level_parse(struct slice name, enum log_level *out)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (slice_is(name, level_names[i])) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -ERR_INVALID;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

bool log_on(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

void log_set_thread(const char *worker)
{
	thread_name = worker;
}

static size_t put_time(char *to, size_t max)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(to, max, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)snprintf(to + n, max - n, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

static size_t put_head(char *to, size_t max, enum log_level level, const char *role, uint64_t id, const char *event)
{
	char id_text[24] = "-";
	size_t n = put_time(to, max);

	if (id != 0)
		snprintf(id_text, sizeof id_text, "%llu", (unsigned long long)id);
	int more = snprintf(to + n, max - n, " %s %s %s %s %s", level_names[level], thread_name, role ? role : "-", id_text, event);
	n += more > 0 ? (size_t)more : 0;
	return n < max ? n : max - 1;
}

static void write_line(char *line, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)line[i];

		if (c < 0x20 || c == 0x7f)
			line[i] = '?';
	}
	line[n++] = '\n';
	/* a log that cannot be written must not stop the daemon, and there is nobody to tell */
	ssize_t ignored = write(STDERR_FILENO, line, n);
	(void)ignored;
}

void log_event(enum log_level level, const char *role, uint64_t id, const char *event, const char *fmt, ...)
{
	static const char cut[] = " cut=1";
	enum { TEXT_MAX = LINE_MAX_BYTES - sizeof cut }; /* room for the mark and the line's end */
	char line[LINE_MAX_BYTES];
	int saved_errno = errno;

	if (!log_on(level))
		return;
	size_t n = put_head(line, TEXT_MAX, level, role, id, event);

	if (fmt != NULL && fmt[0] != '\0') {
		va_list ap;

		line[n++] = ' ';
		va_start(ap, fmt);
		int more = vsnprintf(line + n, TEXT_MAX - n, fmt, ap);
		va_end(ap);
		if (more == 0) {
			n--;
		} else if (more > 0 && (size_t)more < TEXT_MAX - n) {
			n += (size_t)more;
		} else {
			n = TEXT_MAX - 1;
			memcpy(line + n, cut, sizeof cut - 1);
			n += sizeof cut - 1;
		}
	}
	write_line(line, n);
	errno = saved_errno;
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\' && c != '\'';
}

const char *log_escape(struct slice text)
{
	static const char digits[] = "0123456789abcdef", dots[] = "...";
	static _Thread_local char bufs[ESCAPE_BUFS][ESCAPE_MAX + 4 + sizeof dots + 2];
	static _Thread_local unsigned turn;
	char *out = bufs[turn++ % ESCAPE_BUFS], *at = out;
	bool quoted = text.n == 0 || memchr(text.p, ' ', text.n) != NULL;
	size_t i = 0;

	if (quoted)
		*at++ = '"';
	for (; i < text.n && at - out < ESCAPE_MAX; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (is_plain(c)) {
			*at++ = (char)c;
		} else {
			*at++ = '\\';
			*at++ = 'x';
			*at++ = digits[c >> 4];
			*at++ = digits[c & 15];
		}
	}
	if (i < text.n) {
		memcpy(at, dots, sizeof dots - 1);
		at += sizeof dots - 1;
	}
	if (quoted)
		*at++ = '"';
	*at = '\0';
	return out;
}

bool log_once_a_second(uint64_t *last)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 1; /* never 0: that means "not yet" */
	uint64_t before = __atomic_load_n(last, __ATOMIC_RELAXED);

	if (before != 0 && now_ms - before < 1000)
		return false;
	/* where threads share `last`, one of them wins */
	return __atomic_compare_exchange_n(last, &before, now_ms, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
