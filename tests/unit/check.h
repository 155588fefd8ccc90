#ifndef AMBROSIA_TESTS_CHECK_H
#define AMBROSIA_TESTS_CHECK_H

/* The unit tests' harness: one program for each module, a function for each test, a line for each failure. */

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Is malloc() the C library's? A sanitizer's own counts and keeps otherwise. gcc defines the first names, clang answers the question. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECK_OWN_MALLOC false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CHECK_OWN_MALLOC false
#endif
#endif
#ifndef CHECK_OWN_MALLOC
#define CHECK_OWN_MALLOC true
#endif

static int check_passed_, check_failed_, check_bad_;

#define CHECK(cond)                                                                          \
	do {                                                                                 \
		if (!(cond)) {                                                               \
			check_bad_ = 1;                                                      \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond);   \
		}                                                                            \
	} while (0)

#define CHECK_EQ(got, want)                                                                                                                \
	do {                                                                                                                               \
		intmax_t got_ = (intmax_t)(got), want_ = (intmax_t)(want);                                                                 \
		if (got_ != want_) {                                                                                                       \
			check_bad_ = 1;                                                                                                    \
			fprintf(stderr, "%s:%d: %s is %" PRIdMAX ", not %s (%" PRIdMAX ")\n", __FILE__, __LINE__, #got, got_, #want,       \
				want_);                                                                                                    \
		}                                                                                                                          \
	} while (0)

#define CHECK_STR(got, want)                                                                             \
	do {                                                                                             \
		const char *got_ = (got), *want_ = (want);                                               \
		if (got_ == NULL || strcmp(got_, want_) != 0) {                                          \
			check_bad_ = 1;                                                                  \
			fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #got, got_ ? got_ : "(null)", want_); \
		}                                                                                        \
	} while (0)

#define RUN(fn)                                                   \
	do {                                                      \
		check_bad_ = 0;                                   \
		fn();                                             \
		if (check_bad_) {                                 \
			check_failed_++;                          \
			fprintf(stderr, "FAIL %s\n", #fn);        \
		} else {                                          \
			check_passed_++;                          \
		}                                                 \
	} while (0)

static inline int check_done(const char *name)
{
	printf("%s: %d passed, %d failed\n", name, check_passed_, check_failed_);
	return check_failed_ ? 1 : 0;
}

#endif
