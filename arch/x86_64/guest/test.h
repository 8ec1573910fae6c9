/*
 * test.h - a test is a function and a name; the command line chooses.
 */
#ifndef GUEST_TEST_H
#define GUEST_TEST_H
#include <stdbool.h>
#include <stdint.h>
#include "print.h"

enum verdict {
	PASS,
	FAIL,
	SKIP,
};

struct test {
	const char *name; /* group.behaviour */
	enum verdict (*fn)(void);
};

/* Each table ends with { NULL, NULL }. */
extern const struct test platform_tests[], serial_tests[], pci_tests[], transport_tests[],
	irq_tests[], queue_tests[], blk_tests[], blk_load_tests[], rng_tests[], console_tests[],
	hostile_tests[], reset_tests[], faults_tests[], torture_tests[], kills_tests[];

/* Record why a test failed (the first reason counts) or was skipped. */
PRINTF_LIKE(1, 2) enum verdict test_fail(const char *fmt, ...);
PRINTF_LIKE(1, 2) enum verdict test_skip(const char *fmt, ...);

/* `strict=1`: ask also for what the specification leaves to the device and ours do. */
bool is_strict(void);

/* FAIL, with the place and the claim that does not hold. */
enum verdict test_fail_at(const char *claim, const char *file, unsigned line);
/* Are they equal? If not, that is recorded as the reason. */
bool test_equal(uint64_t a, uint64_t b, const char *what, const char *file, unsigned line);

/* Leave the test function unless @cond holds. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			return test_fail_at(#cond, __FILE_NAME__, __LINE__);                       \
	} while (0)

/* The same for two unsigned numbers, which are shown. */
#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		if (!test_equal((a), (b), #a, __FILE_NAME__, __LINE__))                            \
			return FAIL;                                                               \
	} while (0)

/* Leave with the verdict of @call unless it passes. */
#define CHECK_PASS(call)                                                                           \
	do {                                                                                       \
		enum verdict v_ = (call);                                                          \
		if (v_ != PASS)                                                                    \
			return v_;                                                                 \
	} while (0)

#endif
