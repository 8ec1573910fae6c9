/*
 * log.h - leveled messages for people, on standard error.
 *
 * Layer:   base
 * Threads: any. One message is one write(2): lines of several threads do not mix.
 * Errors:  none: a message that cannot be written is dropped.
 * Spec:    none.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Messages above @level are dropped. LOG_LEVEL_WARN at start. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Print "vmm: <message>\n"; the message carries no newline of its own. */
void log_at(enum log_level level, const char *fmt, ...) PRINTF(2, 3);

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Memory that several processes share (mmap(2), MAP_SHARED): an error in the very words of another
 * that one of them said less than LOG_SAID_S ago is not said again. Zero-initialised is ready to
 * use. NULL, as at start: everything is said. Not while another thread has an error to say.
 */
#define LOG_SAID_LINES 16
#define LOG_SAID_S     10
struct log_said {
	_Atomic uint64_t lines[LOG_SAID_LINES]; /* hash, second: 32 bits each */
};
void log_share_errors(struct log_said *said);

/*
 * For what a guest can provoke: at most LOG_RATE_BURST messages in a second per limiter, and none
 * that would wait for whoever reads standard error, for the guest's threads hold locks meanwhile.
 * A zero-initialised limiter is ready to use.
 */
#define LOG_RATE_BURST 5
struct log_rate {
	_Atomic uint64_t second; /* of the current window, CLOCK_MONOTONIC */
	_Atomic uint32_t used;   /* messages in it */
};
bool log_rate_ok(struct log_rate *r);
bool log_would_wait(void);
#define log_guest(rate, ...)                                                                       \
	do {                                                                                       \
		if (log_rate_ok(rate) && !log_would_wait())                                        \
			log_at(LOG_LEVEL_WARN, __VA_ARGS__);                                       \
	} while (0)

#endif
