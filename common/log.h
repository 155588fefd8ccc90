#ifndef AMBROSIA_COMMON_LOG_H
#define AMBROSIA_COMMON_LOG_H

#include <stdint.h>

#include "common/obj.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* `time level worker role id event key=value…` on standard error. Thread-safe. Never give it a stanza's body or a secret. */
void log_set_level(enum log_level level);
MUST_CHECK int log_level_parse(struct slice name, enum log_level *out); /* error, warn, info, debug; -ERR_INVALID */
const char *log_level_name(enum log_level level);
enum log_level log_get_level(void);
bool log_on(enum log_level level);
void log_set_thread(const char *worker);  /* the "worker" column of this thread; static or living string */

/* fmt gives `key=value` pairs; peer text goes through log_escape() first. role: "c2s", "link"…; id: 0 when there is none.
 * fmt may be NULL. errno is kept. */
void log_event(enum log_level level, const char *role, uint64_t id, const char *event, const char *fmt, ...)
	PRINTF_LIKE(5, 6);
/* Peer text made harmless: printable ASCII kept, the rest and quotes as \xNN, cut at ~200 bytes, quoted if it holds spaces.
 * Returns one of several per-thread static buffers (four calls stay valid at once). */
const char *log_escape(struct slice text);
/* True at most once a second for each `last` (which the caller keeps, zeroed): for repeated warnings. */
bool log_once_a_second(uint64_t *last);

#define log_error(role, id, event, ...) log_event(LOG_ERROR, role, id, event, __VA_ARGS__)
#define log_warn(role, id, event, ...) log_event(LOG_WARN, role, id, event, __VA_ARGS__)
#define log_info(role, id, event, ...) \
	do { if (log_on(LOG_INFO)) log_event(LOG_INFO, role, id, event, __VA_ARGS__); } while (0)
#define log_debug(role, id, event, ...) \
	do { if (log_on(LOG_DEBUG)) log_event(LOG_DEBUG, role, id, event, __VA_ARGS__); } while (0)

#endif
